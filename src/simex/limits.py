"""Rate limits: request weight of the address, order counts of an account, the ban for going on regardless.

Windows are fixed and aligned to the clock, not sliding.
"""

from __future__ import annotations

from typing import Final

from simex.refusal import Refusal
from simex.venue import Undocumented

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
WEIGHT_PER_MINUTE: Final = 6000
RAW_WINDOW_MS: Final = 5 * MINUTE_MS
RAW_REQUESTS_PER_5M: Final = 300_000
# The venue does not say how many refused calls earn a ban; this many in one minute do here.
REFUSED_CALLS_BEFORE_BAN: Final = 20
FIRST_BAN_MS: Final = 2 * MINUTE_MS
LONGEST_BAN_MS: Final = 3 * DAY_MS
TAKER_FILL_CREDIT: Final = 1
_ADVICE: Final = "Please use WebSocket Streams for live updates to avoid polling the API."


class Window:
    """A counter that starts anew at each multiple of its length."""

    __slots__ = ("_count", "_length_ms", "_number")

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._number = -1
        self._count = 0

    def count(self, now_ms: int) -> int:
        return self._count if now_ms // self._length_ms == self._number else 0

    def add(self, amount: int, now_ms: int) -> None:
        number = now_ms // self._length_ms
        if number != self._number:
            self._number, self._count = number, 0
        self._count = max(0, self._count + amount)

    def ends_ms(self, now_ms: int) -> int:
        return (now_ms // self._length_ms + 1) * self._length_ms


class WeightBudget:
    """The request weight of one address, and whether it is banned."""

    def __init__(self, limit: int = WEIGHT_PER_MINUTE, raw_limit: int | None = None) -> None:
        """`raw_limit`: requests in five minutes, whatever they weigh."""
        self._limit = limit
        self._raw_limit = raw_limit
        self._used = Window(MINUTE_MS)
        self._raw = Window(RAW_WINDOW_MS)
        self._refused = 0
        self._refused_since_ms = 0
        self._banned_until_ms = 0
        self._next_ban_ms = FIRST_BAN_MS

    def used(self, now_ms: int) -> int:
        return self._used.count(now_ms)

    def as_limit(self, now_ms: int) -> dict[str, object]:
        return described("REQUEST_WEIGHT", "MINUTE", 1, self._limit) | {"count": self.used(now_ms)}

    def charge(self, weight: int, now_ms: int) -> None:
        """Count a request before it is served; Refusal 429, or 418 while banned."""
        if now_ms < self._banned_until_ms:
            raise self._refuse_banned(now_ms)
        if self._raw_limit is not None and self._raw.count(now_ms) >= self._raw_limit:
            text = f"Too many requests; current limit is {self._raw_limit} requests per 5 MINUTE. {_ADVICE}"
            raise self._refuse(text, self._raw.ends_ms(now_ms), now_ms)
        if self._used.count(now_ms) + weight > self._limit:
            text = (
                f"Too much request weight used; current limit is {self._limit} request weight per 1 MINUTE. {_ADVICE}"
            )
            raise self._refuse(text, self._used.ends_ms(now_ms), now_ms)
        self._raw.add(1, now_ms)
        self._used.add(weight, now_ms)

    def refund(self, weight: int, now_ms: int) -> None:
        """Successful trading calls cost nothing."""
        self._used.add(-weight, now_ms)

    def _refuse(self, text: str, retry_at_ms: int, now_ms: int) -> Refusal:
        if self._has_refused_too_often(now_ms):
            return self._ban()
        return Refusal(-1003, text, status=429, retry_at_ms=retry_at_ms)

    def _refuse_banned(self, now_ms: int) -> Refusal:
        """Who goes on while banned is banned for longer."""
        self._has_refused_too_often(now_ms)
        return self._ban()

    def _has_refused_too_often(self, now_ms: int) -> bool:
        """Count one more refused call; from a number on they earn a ban, each longer than the one before."""
        self._refused += 1
        if now_ms >= self._refused_since_ms + MINUTE_MS:
            self._refused_since_ms, self._refused = now_ms, 1
        if self._refused <= REFUSED_CALLS_BEFORE_BAN:
            return False
        self._refused = 0
        self._banned_until_ms = now_ms + self._next_ban_ms
        self._next_ban_ms = min(2 * self._next_ban_ms, LONGEST_BAN_MS)
        return True

    def _ban(self) -> Refusal:
        until_ms = self._banned_until_ms
        text = (
            f"Way too much request weight used; IP banned until {until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        return Refusal(-1003, text, status=418, retry_at_ms=until_ms)


class OrderCount:
    """The unfilled orders of one account in the running ten seconds and the running day."""

    def __init__(self, rules: Undocumented) -> None:
        self._rules = rules
        self._short = Window(10_000)
        self._day = Window(DAY_MS)

    def counts(self, now_ms: int) -> tuple[int, int]:
        return self._short.count(now_ms), self._day.count(now_ms)

    def admit(self, orders: int, now_ms: int) -> None:
        """Refusal -1015 when that many more orders would go over a limit."""
        per_10s, per_day = self._rules.spot_orders_per_10s, self._rules.spot_orders_per_day
        if self._short.count(now_ms) + orders > per_10s:
            raise too_many_orders(per_10s, "10 SECOND", self._short.ends_ms(now_ms))
        if self._day.count(now_ms) + orders > per_day:
            raise too_many_orders(per_day, "1 DAY", self._day.ends_ms(now_ms))

    def placed(self, orders: int, now_ms: int) -> None:
        self._short.add(orders, now_ms)
        self._day.add(orders, now_ms)

    def first_filled(self, is_maker: bool, now_ms: int) -> None:
        """The first fill of an order takes it off the count again, a maker's counts more."""
        self.placed(-(self._rules.spot_maker_credit if is_maker else TAKER_FILL_CREDIT), now_ms)

    def as_limits(self, now_ms: int) -> list[dict[str, object]]:
        short, day = self.counts(now_ms)
        per_10s, per_day = _of_orders(self._rules)
        return [per_10s | {"count": short}, per_day | {"count": day}]


def announced(rules: Undocumented) -> list[dict[str, object]]:
    """The limits as exchangeInfo lists them."""
    return [
        described("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE),
        *_of_orders(rules),
        described("RAW_REQUESTS", "MINUTE", 5, RAW_REQUESTS_PER_5M),
    ]


def _of_orders(rules: Undocumented) -> tuple[dict[str, object], dict[str, object]]:
    return (
        described("ORDERS", "SECOND", 10, rules.spot_orders_per_10s),
        described("ORDERS", "DAY", 1, rules.spot_orders_per_day),
    )


def described(kind: str, interval: str, number: int, limit: int) -> dict[str, object]:
    """One limit, as answers list it."""
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def too_many_orders(limit: int, per: str, retry_at_ms: int) -> Refusal:
    """Refusal -1015."""
    return Refusal(-1015, f"Too many new orders; current limit is {limit} orders per {per}.", 429, retry_at_ms)
