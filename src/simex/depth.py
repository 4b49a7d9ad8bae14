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


def snapshot(book: AnyBook, limit: int) -> tuple[int, list[Level], list[Level]]:
    """Update id, bids and asks as a client gets them who will apply differences to them."""
    for note in book.looked:
        note()
    return book.update_id, levels(book, "BUY", limit), levels(book, "SELL", limit)


class Chain:
    """The differences of one stream: what its listeners know of a book, up to which update id.

    A difference names each level that changed since the last one, also where a snapshot in between is all that would
    notice; whoever began with that snapshot must be put right, too.
    """

    __slots__ = ("_book", "_changed", "_known", "_noted_id", "update_id")

    def __init__(self, book: AnyBook) -> None:
        self._book = book
        self._known = _all(book, "BUY"), _all(book, "SELL")
        self._changed: tuple[set[int], set[int]] = set(), set()
        self.update_id = self._noted_id = book.update_id
        book.looked.append(self.note)

    def end(self) -> None:
        """Nobody listens any more."""
        self._book.looked.remove(self.note)

    def note(self) -> None:
        """Somebody looks at the book as it is now."""
        book = self._book
        if book.update_id == self._noted_id:
            return
        self._noted_id = book.update_id
        before, self._known = self._known, (_all(book, "BUY"), _all(book, "SELL"))
        for changed, old, new in zip(self._changed, before, self._known, strict=True):
            changed.update(ticks for ticks, _ in new.items() ^ old.items())

    def next(self) -> tuple[int, list[Level], list[Level]] | None:
        """The id before the difference, and the changed levels of bids and asks; None when nothing has changed.

        A quantity of zero takes a level away.
        """
        self.note()
        bids, asks = self._changed
        if not bids and not asks:
            return None
        before, self.update_id = self.update_id, self._noted_id
        self._changed = set(), set()
        return before, self._levels(sorted(bids, reverse=True), 0), self._levels(sorted(asks), 1)

    def _levels(self, changed: list[int], side: int) -> list[Level]:
        known, spec = self._known[side], self._book.spec
        return [_level(spec, ticks, known.get(ticks, 0)) for ticks in changed]


def _all(book: AnyBook, side: Side, limit: int = LADDER_LEVELS) -> dict[int, int]:
    """All that can be traded with and the first levels behind it: price in ticks to quantity in lots."""
    tick, lot = book.spec.tick_size, book.spec.lot_size
    edge = book.shown_price(side)
    found = {} if edge is None else _ladder(book.spec, side, int(edge / tick), book.update_id, limit)
    for price, quantity in book.levels(side):
        ticks = int(price / tick)
        found[ticks] = found.get(ticks, 0) + int(quantity / lot)
    return found


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
