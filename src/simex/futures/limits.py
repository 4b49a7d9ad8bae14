"""Limits of the futures market: request weight of the address, order counts of an account.

Every order that is attempted counts, and no fill takes it off again.
"""

from __future__ import annotations

from typing import Final

from simex.limits import MINUTE_MS, Window, described, too_many_orders
from simex.refusal import Refusal

WEIGHT_PER_MINUTE: Final = 2400
ORDERS_PER_10S: Final = 300
ORDERS_PER_MINUTE: Final = 1200
FUNDING_CALLS: Final = 500
FUNDING_WINDOW_MS: Final = 5 * MINUTE_MS


class OrderCount:
    """The orders of one account in the running ten seconds and the running minute."""

    def __init__(self) -> None:
        self._short = Window(10_000)
        self._minute = Window(MINUTE_MS)

    def counts(self, now_ms: int) -> tuple[int, int]:
        return self._short.count(now_ms), self._minute.count(now_ms)

    def admit(self, short: int, minute: int, now_ms: int) -> None:
        """Count orders before they are looked at; Refusal -1015 when they would go over a limit."""
        if self._short.count(now_ms) + short > ORDERS_PER_10S:
            raise too_many_orders(ORDERS_PER_10S, "10 SECOND", self._short.ends_ms(now_ms))
        if self._minute.count(now_ms) + minute > ORDERS_PER_MINUTE:
            raise too_many_orders(ORDERS_PER_MINUTE, "1 MINUTE", self._minute.ends_ms(now_ms))
        self._short.add(short, now_ms)
        self._minute.add(minute, now_ms)

    def as_limits(self, now_ms: int) -> list[dict[str, object]]:
        short, minute = self.counts(now_ms)
        return [
            described("ORDERS", "SECOND", 10, ORDERS_PER_10S) | {"count": short},
            described("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE) | {"count": minute},
        ]


class FundingCalls:
    """Calls about funding weigh nothing and have a limit of their own, that of the address."""

    def __init__(self) -> None:
        self._made = Window(FUNDING_WINDOW_MS)

    def admit(self, now_ms: int) -> None:
        """Count a call; Refusal -1003 when it is one too many."""
        if self._made.count(now_ms) >= FUNDING_CALLS:
            text = f"Too many requests; current limit is {FUNDING_CALLS} requests per 5 MINUTE."
            raise Refusal(-1003, text, status=429, retry_at_ms=self._made.ends_ms(now_ms))
        self._made.add(1, now_ms)


def announced() -> list[dict[str, object]]:
    """The limits as exchangeInfo lists them."""
    return [
        described("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_PER_MINUTE),
        described("ORDERS", "MINUTE", 1, ORDERS_PER_MINUTE),
        described("ORDERS", "SECOND", 10, ORDERS_PER_10S),
    ]
