"""Replay of single trades as a market."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from decimal import Decimal

from simex.market import DEFAULT_VOLUME_SHARE, MINUTE_MS, PrintTaker, Ranges


def _named(
    number: int, symbol: str, trades: Iterator[tuple[int, Decimal, Decimal]]
) -> Iterator[tuple[int, int, str, Decimal, Decimal]]:
    return ((at_ms, number, symbol, price, quantity) for at_ms, price, quantity in trades)


class TradeTape:
    """Replay of trades of several symbols under one clock, each a print of its own.

    What clients may trade until the next print is a share of the quantity traded in the minute before.
    """

    def __init__(
        self,
        trades: Mapping[str, Iterator[tuple[int, Decimal, Decimal]]],
        end_ms: int,
        *,
        volume_share: Decimal = DEFAULT_VOLUME_SHARE,
    ) -> None:
        """`trades` are time (UTC ms, never going back), price and quantity."""
        self.end_ms: int | None = end_ms
        self._volume_share = volume_share
        self._minutes = {symbol: TradedMinute() for symbol in trades}
        self._queue = heapq.merge(
            *(_named(number, symbol, each) for number, (symbol, each) in enumerate(trades.items())),
            key=lambda entry: entry[:2],
        )
        self._next = next(self._queue, None)

    def next_ms(self) -> int | None:
        return None if self._next is None else self._next[0]

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        if self._next is None:
            raise RuntimeError("the tape has ended")
        at_ms = self._next[0]
        while self._next is not None and self._next[0] == at_ms:
            _, _, symbol, price, quantity = self._next
            traded = self._minutes[symbol].add(quantity, at_ms)
            exchange.tick(symbol, price, quantity, self._volume_share * traded, at_ms)
            self._next = next(self._queue, None)


class TradedMinute:
    """What one symbol traded in the last minute."""

    __slots__ = ("_total", "_trades")

    def __init__(self) -> None:
        self._trades: deque[tuple[int, Decimal]] = deque()
        self._total = Decimal(0)

    def add(self, quantity: Decimal, at_ms: int) -> Decimal:
        self._trades.append((at_ms, quantity))
        self._total += quantity
        while self._trades[0][0] <= at_ms - MINUTE_MS:
            self._total -= self._trades.popleft()[1]
        return self._total
