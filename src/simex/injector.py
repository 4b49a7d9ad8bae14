"""Carries a plan of faults out where networks and front ends misbehave: between the exchange and its clients.

Rules: the exchange itself stays exact. What strikes is counted, and told to whoever wants to hear of it, as it happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from simex.faults import COUNTED_ONLY, Armed, Fault, FaultKind, FaultPlan
from simex.link import Link
from simex.links import Links
from simex.requests import Asked
from simex.venue import HttpResponse, SymbolStatus

JSON: Final = {"Content-Type": "application/json;charset=UTF-8"}
HTML: Final = {"Content-Type": "text/html"}
TIMED_OUT: Final = (
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
)
FUTURES_UNKNOWN: Final = (-1000, "Unknown error, please check your request or try again later.")
BUSY: Final = (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.")
FUTURES_BUSY: Final = (-1008, "Request throttled by system-level protection. Please try again.")
FUTURES_UNAVAILABLE: Final = (-1000, "Service Unavailable.")
FUTURES_INTERNAL: Final = (-1000, "Internal error; unable to process your request. Please try again.")
INTERNAL: Final = (-1000, "An unknown error occurred while processing the request.")
LIMITED: Final = (-1003, "Too many requests; please use WebSocket Streams for live updates to avoid polling the API.")
BANNED: Final = "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates."
GATEWAY_PAGES: Final = {502: "502 Bad Gateway", 503: "503 Service Temporarily Unavailable", 504: "504 Gateway Time-out"}
MAINTENANCE_CODE: Final = 1001
STATUSES: Final[dict[FaultKind, SymbolStatus]] = {"cancel-only": "CANCEL_ONLY", "halt": "HALT"}
_ANSWERS: Final = ('{"id":', '{"result":', '{"error":', '{"code":')
_SERVER_TIME: Final = re.compile(r'("serverTime":)(\d+)')
_EVENT_TIME: Final = re.compile(r'("E":)(\d+)')
_MICROSECONDS_FROM: Final = 10**15

Say = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Instead:
    """What becomes of a request instead of its answer, `after_s` real seconds later."""

    how: Literal["answer", "hang", "reset"]
    after_s: float = 0.0
    status: int = 0
    error: tuple[int, str] = TIMED_OUT
    retry_after_s: int = 0
    is_page: bool = False

    def over_http(self) -> HttpResponse:
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        if self.is_page:
            page = GATEWAY_PAGES[self.status]
            text = f"<html><head><title>{page}</title></head><body><h1>{page}</h1></body></html>"
            return HttpResponse(self.status, headers | HTML, text.encode())
        body = {"code": self.error[0], "msg": self.error[1]}
        return HttpResponse(self.status, headers | JSON, json.dumps(body, separators=(",", ":")).encode())

    def over_socket(self, asked: Asked, now_ms: int) -> str:
        error: dict[str, object] = {"code": self.error[0], "msg": self.error[1]}
        if self.retry_after_s:
            error["data"] = {"serverTime": now_ms, "retryAfter": now_ms + 1_000 * self.retry_after_s}
        answer = {"id": asked.id[0] if asked.id else None, "status": self.status, "error": error}
        return json.dumps(answer, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a request or its answer: how long it takes on top, and what comes in its place."""

    delay_s: float = 0.0
    instead: Instead | None = None


HARMLESS: Final = Fate()
CLOSED: Final = Instead("answer", status=503, is_page=True)


class Operated(Protocol):
    """What can be done to the exchange; KeyError for a symbol that it has not."""

    def set_clock_skew(self, skew_ms: int) -> None: ...

    def set_symbol_status(self, symbol: str, status: SymbolStatus) -> None: ...

    def announce_delisting(self, symbol: str, at_ms: int) -> None: ...

    def delist(self, symbol: str, now_ms: int) -> None: ...


@dataclass(slots=True)
class _Lasting:
    """Something in force until a time."""

    fault: Fault
    ends_ms: int
    links: list[Link]


class Injector:
    """A plan at work on one server."""

    def __init__(self, plan: FaultPlan, links: Links, exchange: Operated, now_ms: Callable[[], int]) -> None:
        self.plan = plan
        self.say: Say | None = None
        self.announce_shutdown: Callable[[int | None], None] | None = None
        self.skew_ms = 0
        self.is_in_maintenance = False
        self.takes_orders: Callable[[], bool] = lambda: True
        self._links = links
        self._exchange = exchange
        self._now_ms = now_ms
        self._lasting: list[_Lasting] = []
        links.filter = self._frame

    @property
    def is_calm(self) -> bool:
        """Nothing can befall a request or its answer."""
        return not self.plan.armed and not self.skew_ms and not self.is_in_maintenance and self.takes_orders()

    def begin(self) -> None:
        """Market time begins, and the plan with it. KeyError for a symbol that the exchange has not."""
        self.plan.begin(self._now_ms())
        for armed in self.plan.armed:
            self._announce(armed)
        self.advance(self._now_ms())

    def arm(self, fault: Fault) -> None:
        """Add a fault now; what it does at once is done. KeyError for a symbol that the exchange has not."""
        self._announce(self.plan.arm(fault, self._now_ms()))
        self.advance(self._now_ms())

    def _announce(self, armed: Armed) -> None:
        at_ms = armed.next_moment_ms()
        if armed.fault.kind == "delist" and at_ms is not None:
            self._exchange.announce_delisting(armed.fault.symbol, at_ms)

    def clear(self) -> None:
        """End everything that is planned or lasts."""
        self.plan.clear()
        for lasting in self._lasting:
            self._end(lasting)
        self._lasting = []

    def state(self) -> dict[str, object]:
        """What is in force and what has struck, for people."""
        return {
            "done": dict(sorted(self.plan.done.items())),
            "armed": [{"kind": armed.fault.kind, "struck": armed.struck} for armed in self.plan.armed],
            "skew_ms": self.skew_ms,
            "maintenance": self.is_in_maintenance,
        }

    # -- requests ----------------------------------------------------------------------------------------------------

    def before(self, asked: Asked) -> Fate:
        """What befalls a request on its way to the exchange; with an `instead` it does not arrive."""
        if self.is_in_maintenance:
            return Fate(instead=CLOSED)
        if asked.target == "orders" and not self.takes_orders():
            return Fate(instead=Instead("answer", status=503, error=FUTURES_BUSY if asked.is_futures else BUSY))
        return self._fate("request", asked, False)

    def after(self, asked: Asked, accepted: bool) -> Fate:
        """What befalls the answer of the exchange."""
        return self._fate("answer", asked, accepted)

    def _fate(self, scene: Literal["request", "answer"], asked: Asked, accepted: bool) -> Fate:
        if not self.plan.armed:
            return HARMLESS
        delay_s, instead = 0.0, None
        spared = "busy" if asked.is_spared else ""
        for armed in self.plan.strike(scene, asked.targets, accepted, self._now_ms(), spared):
            fault = armed.fault
            if fault.kind in ("request-late", "answer-late"):
                delay_s += fault.delay_ms.draw(armed.rng) / 1_000
            elif instead is None:
                instead = self._instead(fault, asked)
            else:
                continue
            self._note(fault, asked.name)
        return Fate(delay_s, instead)

    def _instead(self, fault: Fault, asked: Asked) -> Instead:
        match fault.kind:
            case "reset-before" | "reset-after":
                return Instead("reset")
            case "timeout-before" | "timeout-after":
                # Spot counts a time-out among the 400s, futures have a status for it.
                how: Literal["answer", "hang", "reset"] = fault.then  # type: ignore[assignment]
                return Instead(how, fault.after_ms / 1_000, 408 if asked.is_futures else 400)
            case "limited":
                return Instead("answer", status=429, error=LIMITED, retry_after_s=fault.retry_after_s)
            case "banned":
                until_ms = self._now_ms() + 1_000 * fault.retry_after_s
                error = (-1003, BANNED.format(until_ms))
                return Instead("answer", status=418, error=error, retry_after_s=fault.retry_after_s)
        if fault.says == "busy":
            return Instead("answer", status=fault.status, error=FUTURES_BUSY if asked.is_futures else BUSY)
        if asked.is_futures and fault.status == 503 and fault.says != "unknown":
            error = FUTURES_UNAVAILABLE if fault.says == "unavailable" else FUTURES_INTERNAL
            return Instead("answer", status=503, error=error)
        if fault.status == 500:
            return Instead("answer", status=500, error=INTERNAL)
        if fault.status == 503:
            return Instead("answer", status=503, error=FUTURES_UNKNOWN if asked.is_futures else TIMED_OUT)
        return Instead("answer", status=fault.status, is_page=True)

    def skewed(self, text: str) -> str:
        """An answer with the time that the server believes it is."""
        return self._shifted(text, _SERVER_TIME) if self.skew_ms else text

    def skew(self, skew_ms: int) -> None:
        """What the exchange's clock is off from now on: in what it tells, and in how it judges time stamps."""
        self.skew_ms = skew_ms
        self._exchange.set_clock_skew(skew_ms)

    def _shifted(self, text: str, where: re.Pattern[str]) -> str:
        def shifted(found: re.Match[str]) -> str:
            at = int(found[2])
            return f"{found[1]}{at + self.skew_ms * (1_000 if at >= _MICROSECONDS_FROM else 1)}"

        return where.sub(shifted, text)

    # -- frames ------------------------------------------------------------------------------------------------------

    def _frame(self, link: Link, text: str) -> list[str]:
        """What really goes out for a frame; a late one makes its link wait."""
        if text.startswith(_ANSWERS):
            return [text]
        if self.skew_ms:
            text = self._shifted(text, _EVENT_TIME)
        if not self.plan.armed:
            return [text]
        target: Literal["account", "market"] = "account" if link.kind == "ws_api" else "market"
        now_ms = self._now_ms()
        for armed in self.plan.strike("link", (target, "all"), False, now_ms):
            self._note(armed.fault, link.target)
            self._strike_link(armed.fault, link, self._end_of(armed, now_ms))
        texts, aside = [text], False
        for armed in self.plan.strike("frame", (target, "all"), False, now_ms):
            fault = armed.fault
            if not texts:
                continue
            match fault.kind:
                case "frame-late":
                    link.delay(fault.delay_ms.draw(armed.rng) / 1_000)
                case "frame-lost":
                    texts = []
                case "frame-repeated":
                    texts = texts + texts[:1]
                case "frame-reordered":
                    aside = True
            self._note(fault, link.target)
        if aside and texts and link.set_aside is None:
            link.set_aside = texts
            return []
        if texts and link.set_aside is not None:
            texts, link.set_aside = texts + link.set_aside, None
        return texts

    # -- links and the venue -----------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """A connection is new; what lasts holds for it too."""
        for lasting in self._lasting:
            if lasting.fault.kind == "silent" and self._is_of(link, lasting.fault):
                link.silence()
                self._links.changed()
                lasting.links.append(link)

    def deadline_ms(self) -> int | None:
        """When `advance` is next due; None when nothing is planned for a time."""
        moments = [ms for armed in self.plan.armed if (ms := armed.next_moment_ms()) is not None]
        return min([*moments, *(lasting.ends_ms for lasting in self._lasting)], default=None)

    def advance(self, now_ms: int) -> None:
        """Begin and end what is due."""
        if not self.plan.armed and not self._lasting:
            return
        for armed in list(self.plan.armed):
            while (ends_ms := armed.take_moment(now_ms)) is not None:
                self._note(armed.fault, "")
                self._begin(armed.fault, ends_ms)
        self.plan.armed = [armed for armed in self.plan.armed if not armed.is_spent]
        over = [lasting for lasting in self._lasting if lasting.ends_ms <= now_ms]
        self._lasting = [lasting for lasting in self._lasting if lasting.ends_ms > now_ms]
        for lasting in over:
            self._end(lasting)

    def _begin(self, fault: Fault, ends_ms: int) -> None:
        match fault.kind:
            case "clock-skew":
                self.skew(fault.skew_ms)
                self._lasting.append(_Lasting(fault, ends_ms, []))
            case "maintenance":
                self.is_in_maintenance = True
                self._lasting.append(_Lasting(fault, ends_ms, []))
                for link in self._links:
                    link.close_soon(MAINTENANCE_CODE, b"Maintenance")
            case "cancel-only" | "halt":
                self._exchange.set_symbol_status(fault.symbol, STATUSES[fault.kind])
                self._lasting.append(_Lasting(fault, ends_ms, []))
            case "delist":
                self._exchange.delist(fault.symbol, self._now_ms())
            case "shutdown-notice":
                if self.announce_shutdown is not None:
                    self.announce_shutdown(None if fault.for_ms is None and not fault.windows_ms else ends_ms)
            case _:
                struck = [link for link in self._links if self._is_of(link, fault)]
                for link in struck:
                    self._strike_link(fault, link, None)
                if fault.kind == "silent":
                    self._lasting.append(_Lasting(fault, ends_ms, struck))

    def _end(self, lasting: _Lasting) -> None:
        match lasting.fault.kind:
            case "clock-skew":
                self.skew(0)
            case "maintenance":
                self.is_in_maintenance = False
            case "cancel-only" | "halt":
                self._exchange.set_symbol_status(lasting.fault.symbol, "TRADING")
            case _:
                for link in lasting.links:
                    link.abort() if lasting.fault.then == "cut" else link.speak()

    def _strike_link(self, fault: Fault, link: Link, ends_ms: int | None) -> None:
        match fault.kind:
            case "disconnect":
                link.abort()
            case "close":
                link.close_soon(fault.code, b"")
            case _:
                link.silence()
                self._links.changed()
                if ends_ms is not None:
                    self._lasting.append(_Lasting(fault, ends_ms, [link]))

    @staticmethod
    def _end_of(armed: Armed, now_ms: int) -> int:
        """Of a stroke at an occasion: its own length, or until its window is over."""
        if armed.fault.for_ms is not None:
            return now_ms + armed.fault.for_ms
        return next((end for start, end in armed.windows_ms if start <= now_ms < end), 2**62)

    @staticmethod
    def _is_of(link: Link, fault: Fault) -> bool:
        return fault.target in ("all", "account" if link.kind == "ws_api" else "market")

    def _note(self, fault: Fault, what: str) -> None:
        self.plan.note(fault.kind)
        if self.say is not None and fault.kind not in COUNTED_ONLY:
            line: dict[str, object] = {"event": "fault", "kind": fault.kind, "at_ms": self._now_ms()}
            self.say(line | ({"what": what} if what else {}))
