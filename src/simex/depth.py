"""The shown depth of a book: its first levels, and behind the market's own a ladder that is there to be looked at.

Rules: nothing here can be traded with, so nothing here moves a fill or a quote. The ladder follows from the book's
state and update id alone: it is made when somebody looks, and two who look at the same id see the same. Each of its
levels keeps its quantity for some updates, so that from one update to the next only few of them change.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, TypeAlias
from zlib import crc32

from simex.book import Listed, OrderBook
from simex.orders import Side

LADDER_LEVELS: Final = 500
UPDATES_PER_LEVEL: Final = 32
STEPS_PER_PRICE: Final = 50_000  # about: a step of the ladder is a fifth of a basis point
MIN_NOTIONALS_PER_LEVEL: Final = 1_000  # a level is worth about so many of the smallest orders
_ROUND: Final = (5, 2, 1)
_MASK: Final = (1 << 64) - 1

AnyBook: TypeAlias = OrderBook[Any, Any]
Level = tuple[Decimal, Decimal]  # price and quantity


def levels(book: AnyBook, side: Side, limit: int) -> list[Level]:
    """Best first, at most `limit`; empty before the first price."""
    near = book.levels(side)
    edge = book.shown_price(side)
    if edge is None or (len(near) >= limit and _is_behind(edge, near[limit - 1][0], side)):
        return near[:limit]
    everything = _all(book, side, limit)
    best = sorted(everything, reverse=side == "BUY")[:limit]
    return [_level(book.spec, ticks, everything[ticks]) for ticks in best]


class Chain:
    """The differences of one stream: what its listeners know of a book, up to which update id."""

    __slots__ = ("_asks", "_bids", "_book", "update_id")

    def __init__(self, book: AnyBook) -> None:
        self._book = book
        self.update_id = book.update_id
        self._bids, self._asks = _all(book, "BUY"), _all(book, "SELL")

    def next(self) -> tuple[int, list[Level], list[Level]] | None:
        """The id before the difference, and the changed levels of bids and asks; None when nothing has changed.

        A quantity of zero takes a level away.
        """
        book = self._book
        if book.update_id == self.update_id:
            return None
        known = self._bids, self._asks
        self._bids, self._asks = _all(book, "BUY"), _all(book, "SELL")
        bids, asks = _changed(known[0], self._bids), _changed(known[1], self._asks)
        if not bids and not asks:
            return None
        before, self.update_id = self.update_id, book.update_id
        return (
            before,
            [_level(book.spec, *bids[at]) for at in range(len(bids) - 1, -1, -1)],
            [_level(book.spec, *ask) for ask in asks],
        )


def _all(book: AnyBook, side: Side, limit: int = LADDER_LEVELS) -> dict[int, int]:
    """All that can be traded with and the first levels behind it: price in ticks to quantity in lots."""
    tick, lot = book.spec.tick_size, book.spec.lot_size
    edge = book.shown_price(side)
    found = {} if edge is None else _ladder(book.spec, side, int(edge / tick), book.update_id, limit)
    for price, quantity in book.levels(side):
        ticks = int(price / tick)
        found[ticks] = found.get(ticks, 0) + int(quantity / lot)
    return found


def _changed(before: dict[int, int], after: dict[int, int]) -> list[tuple[int, int]]:
    """Levels that are new, other or gone, the lowest price first."""
    return sorted((after.items() - before.items()) | {(ticks, 0) for ticks in before.keys() - after.keys()})


def _level(spec: Listed, ticks: int, lots: int) -> Level:
    return spec.tick_size * ticks, spec.lot_size * lots


def _is_behind(price: Decimal, other: Decimal, side: Side) -> bool:
    return price <= other if side == "BUY" else price >= other


def _ladder(spec: Listed, side: Side, edge_ticks: int, update_id: int, limit: int) -> dict[int, int]:
    """Levels strictly behind the market's own, on a grid of prices that stays where it is when the market moves."""
    step = _grid_step(edge_ticks)
    three_bases = 3 * _lots_per_level(spec, edge_ticks)
    seed = crc32(f"{spec.symbol} {side}".encode())
    if side == "SELL":
        first = (edge_ticks // step + 1) * step
        prices = range(first, first + limit * step, step)[:LADDER_LEVELS]
    else:
        prices = range((edge_ticks - 1) // step * step, 0, -step)[: min(limit, LADDER_LEVELS)]
    found = {}
    for ticks in prices:
        phase = _mixed(seed + ticks)
        turn = (update_id + phase % UPDATES_PER_LEVEL) // UPDATES_PER_LEVEL
        # A square of chance: many small levels, some large; in the mean the base.
        chance = _mixed(phase + turn) & 0xFFFF
        found[ticks] = 1 + (three_bases * chance * chance >> 32)
    return found


def _lots_per_level(spec: Listed, edge_ticks: int) -> int:
    """By the power of two below the price, which changes seldom: quantities must not follow each move."""
    notional = (spec.min_notional or spec.tick_size * spec.lot_size) * MIN_NOTIONALS_PER_LEVEL
    price = spec.tick_size * (1 << edge_ticks.bit_length() >> 1)
    return max(1, int(notional / (price * spec.lot_size)))


def _grid_step(ticks: int) -> int:
    """1, 2 or 5 times a power of ten of ticks, near the share of the price that a step is to have."""
    wanted = max(1, ticks // STEPS_PER_PRICE)
    power = int(10 ** (len(str(wanted)) - 1))
    return next(factor * power for factor in _ROUND if factor * power <= wanted)


def _mixed(value: int) -> int:
    """Sixty-four bits that look like chance (the mixer of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
