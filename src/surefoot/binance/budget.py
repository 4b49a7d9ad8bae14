"""How much may still be asked of the venue, by each of its limits, and who goes first when it is little.

Rules: windows are fixed and aligned to the venue's clock, so every time here is the venue's, in UTC ms. Each lane may
use a limit up to its own share, so what is less urgent stops first and an exit always finds room. What the venue
counts overrules what we counted. Weight, single requests and orders are counted apart; what is no order has no part in
the limits of orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from surefoot.binance.wire import RateLimit

WEIGHT, REQUESTS, ORDERS = "weight", "requests", "orders"
MINUTE_MS = 60_000
WEIGHT_LIMIT = 6000

# Ours, whatever the venue allows: nothing of what the bot does needs more at once.
BURST_LIMIT = 100
BURST_MS = 1_000

EXIT_SHARE_PCT = 100
PROTECTION_SHARE_PCT = 95
ENTRY_SHARE_PCT = 85
DATA_SHARE_PCT = 70

# The shortest ban that the venue documents.
BAN_MIN_S = 120


class Lane(IntEnum):
    """What a request is for; the greater lane goes first."""

    DATA = 0
    ENTRY = 1
    PROTECTION = 2
    EXIT = 3


_SHARE_PCT = {
    Lane.EXIT: EXIT_SHARE_PCT,
    Lane.PROTECTION: PROTECTION_SHARE_PCT,
    Lane.ENTRY: ENTRY_SHARE_PCT,
    Lane.DATA: DATA_SHARE_PCT,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request takes of the limits; it is one request whatever it weighs."""

    weight: int
    orders: int = 0

    def of(self, kind: str) -> int:
        """What it takes of limits of a kind."""
        return {WEIGHT: self.weight, ORDERS: self.orders}.get(kind, 1)


@dataclass(frozen=True, slots=True)
class Usage:
    """A limit and how much of it is used in the running window."""

    kind: str
    interval_ms: int
    limit: int
    used: int


class _Window:
    """The count of one limit in the window that runs."""

    def __init__(self, kind: str, interval_ms: int, limit: int) -> None:
        self.kind = kind
        self.interval_ms = interval_ms
        self.limit = limit
        self._number = 0
        self._used = 0

    def ceiling(self, lane: Lane) -> int:
        return self.limit * _SHARE_PCT[lane] // 100

    def used(self, now_ms: int) -> int:
        # A time before the latest window can only come from a clock that was set back: what we know still holds.
        return 0 if now_ms // self.interval_ms > self._number else self._used

    def next_ms(self, at_ms: int) -> int:
        return (max(self._number, at_ms // self.interval_ms) + 1) * self.interval_ms

    def add(self, amount: int, now_ms: int) -> None:
        self._used = max(0, self.used(now_ms) + amount)
        self._number = max(self._number, now_ms // self.interval_ms)

    def correct(self, used: int, now_ms: int) -> None:
        if now_ms // self.interval_ms >= self._number:
            self._number, self._used = now_ms // self.interval_ms, used


class Budget:
    """All limits of one venue. Before it announces them, they are the weight that it is known for and our own burst.

    `banned_until_ms` is None unless the venue banned us.
    """

    def __init__(self, weight_limit: int = WEIGHT_LIMIT) -> None:
        self.banned_until_ms: int | None = None
        self._windows = [_Window(WEIGHT, MINUTE_MS, weight_limit), _Window(REQUESTS, BURST_MS, BURST_LIMIT)]
        self._held_until_ms = 0
        self._orders_held_until_ms = 0

    def announce(self, limits: Iterable[RateLimit]) -> None:
        """Take over limits of the venue; what was counted of those known before still counts."""
        for each in limits:
            window = self._window(each.kind, each.interval_ms)
            if window is not None:
                window.limit = each.limit
            elif each.kind in (WEIGHT, REQUESTS, ORDERS):
                self._windows.append(_Window(each.kind, each.interval_ms, each.limit))

    @property
    def held_until_ms(self) -> int:
        """Before this nothing at all may be asked; long past where nothing holds."""
        return self._held_until_ms

    def usage(self, now_ms: int) -> tuple[Usage, ...]:
        """Every limit and what is used of it, in the order in which they became known."""
        return tuple(Usage(each.kind, each.interval_ms, each.limit, each.used(now_ms)) for each in self._windows)

    def used(self, kind: str, interval_ms: int, now_ms: int) -> int:
        """What is used of a limit in the window of `now_ms`, as far as we know; 0 for a limit that is not known."""
        window = self._window(kind, interval_ms)
        return 0 if window is None else window.used(now_ms)

    def wait_ms(self, cost: Cost, lane: Lane, now_ms: int) -> int:
        """How long a request must wait, 0 for go; ask again after it. ValueError for one that can never go."""
        at_ms = max(now_ms, self._held_until_ms)
        if cost.orders and lane <= Lane.ENTRY:
            at_ms = max(at_ms, self._orders_held_until_ms)
        for window in self._windows:
            amount = cost.of(window.kind)
            if amount > window.ceiling(lane):
                raise ValueError(f"{amount} {window.kind} never fit the {window.ceiling(lane)} of lane {lane.name}")
            if amount and window.used(at_ms) + amount > window.ceiling(lane):
                at_ms = window.next_ms(at_ms)
        return at_ms - now_ms

    def spend(self, cost: Cost, now_ms: int) -> None:
        """Count a request as it is sent, whatever becomes of it."""
        for window in self._windows:
            window.add(cost.of(window.kind), now_ms)

    def correct(self, kind: str, interval_ms: int, used: int, now_ms: int, unanswered: int = 0) -> None:
        """Take over the venue's count of a limit, plus what it had not seen then.

        `now_ms` is best the time when the answered request was sent: a count from an earlier window is not taken over.
        """
        window = self._window(kind, interval_ms)
        if window is not None:
            window.correct(used + unanswered, now_ms)

    def filled(self, now_ms: int) -> None:
        """The first fill of an order, at a venue that counts unfilled orders only: one less.

        A maker's counts for more there, by how much is not documented: the next header tells.
        """
        for window in self._windows:
            if window.kind == ORDERS:
                window.add(-1, now_ms)

    def limited(self, retry_after_s: int | None, now_ms: int) -> int:
        """HTTP 429: every lane waits as long as told, or until the next minute when nothing was told. Returns until
        when."""
        until_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS if retry_after_s is None else now_ms + retry_after_s * 1000
        self._held_until_ms = max(self._held_until_ms, until_ms)
        return self._held_until_ms

    def orders_limited(self, retry_after_s: int | None, now_ms: int) -> int:
        """Too many orders: entries wait as long as told, or until the shortest window of orders ends. Exits and
        protection go on trying, at the core's own pace. Returns until when."""
        ends = [each.next_ms(now_ms) for each in self._windows if each.kind == ORDERS]
        until_ms = min(ends, default=now_ms) if retry_after_s is None else now_ms + retry_after_s * 1000
        self._orders_held_until_ms = max(self._orders_held_until_ms, until_ms)
        return self._orders_held_until_ms

    def banned(self, retry_after_s: int | None, now_ms: int) -> int:
        """HTTP 418: every lane waits as long as told, and `banned_until_ms` says so. Returns until when."""
        self.banned_until_ms = self.limited(BAN_MIN_S if retry_after_s is None else retry_after_s, now_ms)
        return self.banned_until_ms

    def _window(self, kind: str, interval_ms: int) -> _Window | None:
        return next((each for each in self._windows if (each.kind, each.interval_ms) == (kind, interval_ms)), None)
