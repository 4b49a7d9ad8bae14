"""What befalls messages on their way: a seeded stream of losses, delays and refusals, which can be switched off.

A TCP connection neither reorders nor loses silently: frames of one link keep their order, and a link that stalls is
cut soon after. Between the two links, and between links and HTTP answers, any order is possible.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.research.exact import Fate

HTTP_TIMEOUT_MS = 12_000  # as in the gateway
ANSWER_MS = 2_000  # an answer that nothing holds up has come by then
LOST_MS = 20_000  # a request that did not arrive can be known to be lost only then
MINUTE_MS = 60_000
SYMBOL = re.compile(r'symbol(?:=|":")([A-Z]+)')


@dataclass(frozen=True, slots=True)
class Refusal(Fate):
    """A fate with a Retry-After header."""

    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reset(Fate):
    """The connection breaks at once, while the request is still on its way and will arrive."""


@dataclass(frozen=True, slots=True)
class Climate:
    """Chances for each message; `jitter_ms` is harmless scatter that is always there."""

    jitter_ms: int
    lost: float
    answer_lost: float
    answer_late: float
    reset: float
    late: float
    unavailable: float
    limited: float
    frame_late: float
    frame_twice: float

    @classmethod
    def drawn(cls, rng: random.Random, severity: float) -> Climate:
        def chance(most: float) -> float:
            return severity * most * rng.choice((0.0, 0.3, 1.0))

        return cls(
            jitter_ms=rng.choice((0, 5, 200)),
            lost=chance(0.10),
            answer_lost=chance(0.15),
            answer_late=chance(0.15),
            reset=chance(0.15),
            late=chance(0.10),
            unavailable=chance(0.15),
            limited=chance(0.05),
            frame_late=chance(0.05),
            frame_twice=chance(0.10),
        )


class Weather:
    """Fates of requests and frames, and until when what goes wrong may be a fault's doing: a fault of one symbol's
    request is to blame for nothing but that symbol; limits and what befalls the account's frames are for all."""

    def __init__(self, rng: random.Random, climate: Climate) -> None:
        self.on = True
        self.stalled: set[str] = set()
        self.refused_until_ms: dict[str, int] = {}
        self._blamed_until_ms: dict[str, int] = {}
        self.faults = 0
        self._rng = rng
        self._climate = climate
        self._busy_until_ms: dict[str, int] = {}

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        fate = self._fate() if self.on else Fate()
        if fate != Fate():
            self.faults += 1
            self._blame_request(request, fate, at_ms)
            return fate
        jitter_ms = self._climate.jitter_ms
        return Fate(extra_ms=self._rng.randint(0, jitter_ms), answer_extra_ms=self._rng.randint(0, jitter_ms))

    def frame(self, link: str, text: str, at_ms: int) -> Sequence[int]:
        if link in self.stalled:
            return ()
        delay_ms, copies = 0, 1
        if self.on:
            if self._rng.random() < self._climate.frame_late:
                delay_ms = int(10 ** self._rng.uniform(0, 4.3))
                if link == "account":
                    self.blame(at_ms + delay_ms)
            if self._rng.random() < self._climate.frame_twice:
                copies = 2
        due_ms = max(at_ms + delay_ms, self._busy_until_ms.get(link, 0))
        self._busy_until_ms[link] = due_ms
        return (due_ms - at_ms,) * copies

    def blame(self, until_ms: int, symbol: str = "") -> None:
        """Of one symbol, or of all."""
        self._blamed_until_ms[symbol] = max(self._blamed_until_ms.get(symbol, 0), until_ms)

    def blamed_until_ms(self, symbol: str = "") -> int:
        return max(self._blamed_until_ms.get(symbol, 0), self._blamed_until_ms.get("", 0))

    def _blame_request(self, request: HttpRequest | SocketRequest, fate: Fate, at_ms: int) -> None:
        if isinstance(fate, Refusal):  # without a time it holds until the minute after the answer is over
            minute_ms = ((at_ms + ANSWER_MS) // MINUTE_MS + 1) * MINUTE_MS
            self.blame(minute_ms if fate.retry_after_s is None else at_ms + ANSWER_MS + fate.retry_after_s * 1_000)
            return
        took_ms = fate.extra_ms + min(fate.answer_extra_ms, HTTP_TIMEOUT_MS)
        if fate.instead == 0:
            took_ms = HTTP_TIMEOUT_MS
        if not fate.arrives:
            took_ms = LOST_MS
        named = SYMBOL.search(request.text if isinstance(request, SocketRequest) else request.target)
        self.blame(at_ms + took_ms, named[1] if named else "")

    def reconnected(self, link: str) -> None:
        """A new connection is not held up by the old one's frames."""
        self._busy_until_ms.pop(link, None)

    def clear(self) -> None:
        """No faults from now on."""
        self.on = False
        self.stalled.clear()
        self.refused_until_ms.clear()

    def _fate(self) -> Fate:
        rng, climate = self._rng, self._climate
        jitter_ms = rng.randint(0, climate.jitter_ms)
        draw = rng.random()
        fates: tuple[tuple[float, Callable[[], Fate]], ...] = (
            (climate.lost, lambda: Fate(arrives=False, instead=0)),
            (climate.answer_lost, lambda: Fate(extra_ms=jitter_ms, instead=0)),
            (climate.answer_late, lambda: Fate(answer_extra_ms=int(10 ** rng.uniform(2, 4.3)))),
            (climate.reset, lambda: Reset(extra_ms=int(10 ** rng.uniform(2, 3.75)))),
            (climate.late, lambda: Fate(extra_ms=int(10 ** rng.uniform(2, 4.1)))),
            (climate.unavailable, lambda: Fate(arrives=rng.random() < 0.5, instead=rng.choice((500, 502, 503, 504)))),
            (climate.limited, lambda: Refusal(arrives=False, instead=429, retry_after_s=rng.choice((None, 1, 5, 30)))),
        )
        for chance, fate in fates:
            if draw < chance:
                return fate()
            draw -= chance
        return Fate()
