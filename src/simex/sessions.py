"""What the WebSocket APIs of both markets do alike: who logged on to a link, and one answer to each request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qs

from simex import refusal, signing, timeunit
from simex.frames import Outbox, as_params, decode, echoed, encode
from simex.gate import AnyOwner, Credentials
from simex.limits import WeightBudget
from simex.params import Params
from simex.refusal import Refusal


@dataclass(slots=True)
class Session(Generic[AnyOwner]):
    """One connection: who logged on, and whether its answers carry the rate limits."""

    opened_ms: int
    shows_limits: bool
    units_per_ms: int = 1
    session: AnyOwner | None = None
    authorized_ms: int | None = None

    def log_on(self, account: AnyOwner, now_ms: int) -> None:
        """Refusal -4056 for a key of another kind than Ed25519."""
        kind = account.spec.key_type
        if kind != "ED25519":
            raise Refusal(-4056, f"{'HMAC_SHA256' if kind == 'HMAC' else kind} API key is not supported.")
        self.session, self.authorized_ms = account, now_ms

    def log_out(self) -> None:
        self.session, self.authorized_ms = None, None

    def status(self, now_ms: int) -> dict[str, object]:
        return {
            "apiKey": self.session.spec.api_key if self.session is not None else None,
            "authorizedSince": self.authorized_ms,
            "connectedSince": self.opened_ms,
            "returnRateLimits": self.shows_limits,
            "serverTime": now_ms,
        }


class Counted(Protocol):
    """The orders of an account, which some answers show."""

    def as_limits(self, now_ms: int) -> list[dict[str, object]]: ...


AnySession = TypeVar("AnySession", bound=Session[Any])


class Sessions(ABC, Generic[AnySession]):
    """The connections of one API."""

    def __init__(self, weights: WeightBudget, outbox: Outbox) -> None:
        self._weights = weights
        self._outbox = outbox
        self._links: dict[int, AnySession] = {}

    def has(self, link: int) -> bool:
        return link in self._links

    def receive(self, link: int, text: str, now_ms: int) -> None:
        """One request, one answer."""
        message = decode(text)
        if message is None:
            self._answer(link, None, _failure(Refusal(-1135, "Invalid JSON Request"), now_ms), None, True, now_ms)
            return
        request_id = echoed(message.get("id"))
        values = as_params(message.get("params"))
        # The parameter is signed like any other, so the payload is made of what was sent.
        payload = signing.api_payload(values)
        shows_limits = values.pop("returnRateLimits", "true") != "false" and self._links[link].shows_limits
        credentials = Credentials(values.get("apiKey"), payload)
        count: Counted | None = None
        try:
            result, count = self._serve(link, message.get("method"), Params(values), credentials, now_ms)
            outcome: dict[str, object] = {"status": 200, "result": result}
        except Refusal as refused:
            outcome = _failure(refused, now_ms)
            # A key that became invalid ends the session at the next request that relies on it.
            if refused.code == -2015 and self._links[link].session is not None and credentials.api_key is None:
                self._end_session(link, now_ms)
                request_id = None
        self._answer(link, request_id, outcome, count, shows_limits, now_ms)

    @abstractmethod
    def _serve(
        self, link: int, method: object, params: Params, credentials: Credentials, now_ms: int
    ) -> tuple[object, Counted | None]:
        """The result, and which orders to show with it; Refusal when there is none."""

    def _end_session(self, link: int, now_ms: int) -> None:
        self._links[link].log_out()

    def _answer(
        self, link: int, request_id: object, outcome: dict[str, object], count: Counted | None, shows_limits: bool,
        now_ms: int,
    ) -> None:  # fmt: skip
        units = self._links[link].units_per_ms
        answer: dict[str, object] = {"id": request_id, **outcome}
        if units != 1:
            answer = {name: timeunit.answer_in(units, value) for name, value in answer.items()}
        if shows_limits:
            orders = count.as_limits(now_ms) if count is not None else []
            answer["rateLimits"] = [*orders, self._weights.as_limit(now_ms)]
        self._outbox.account.append((link, encode(answer)))


def shows_limits(query: str) -> bool:
    """Whether the answers on a connection carry the rate limits, by its address."""
    return parse_qs(query).get("returnRateLimits", ["true"])[-1] != "false"


def want_key(params: Params) -> None:
    """Refusal -1102 without a key."""
    if not params.has("apiKey"):
        raise refusal.missing("apiKey")


def _failure(refused: Refusal, now_ms: int) -> dict[str, object]:
    error: dict[str, object] = {"code": refused.code, "msg": refused.text}
    if refused.data is not None:
        error["data"] = refused.data
    elif refused.retry_at_ms is not None:
        error["data"] = {"serverTime": now_ms, "retryAfter": refused.retry_at_ms}
    return {"status": refused.status, "error": error}
