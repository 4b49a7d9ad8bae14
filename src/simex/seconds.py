"""Candles of one second, made of single trades: all longer ones are kept in pieces of a minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Final

from simex.klines import Bar
from simex.trades import Trade, TradeLog

SECOND_MS: Final = 1_000


def oldest(log: TradeLog, start_ms: int, end_ms: int, limit: int) -> list[Bar]:
    """The oldest that open in [start, end]; seconds without a trade are left out."""
    first_ms = -(-start_ms // SECOND_MS) * SECOND_MS
    last_ms = end_ms - end_ms % SECOND_MS + SECOND_MS - 1
    return list(islice(_bars(log.since(first_ms, last_ms)), limit))


def newest(log: TradeLog, end_ms: int, limit: int) -> list[Bar]:
    """The newest that open at or before a time, oldest first."""
    last_ms = end_ms - end_ms % SECOND_MS + SECOND_MS - 1
    wanted, found = limit, log.newest(limit, last_ms)
    while len(found) == wanted:
        bars = list(_bars(found))
        if len(bars) > limit:  # the first one may be cut
            return bars[-limit:]
        wanted *= 2
        found = log.newest(wanted, last_ms)
    return list(_bars(found))[-limit:]


def _bars(trades: Iterable[Trade]) -> Iterator[Bar]:
    for second, inside in groupby(trades, key=lambda trade: trade.at_ms // SECOND_MS):
        first, *others = inside
        open_ms, price = second * SECOND_MS, first.price
        quote = price * first.quantity
        bar = Bar(
            open_ms, open_ms + SECOND_MS, price, price, price, price, first.quantity, quote, 1, first.trade_id
        )  # fmt: skip
        for each in others:
            bar.add(each.price, each.price, each.price, each.quantity, each.price * each.quantity, 1, each.trade_id)
        yield bar
