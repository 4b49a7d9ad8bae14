"""The public trades of one symbol, for those who ask for them: single prints, and candles whose prints nobody saw.

Rules: a candle stands for the four prints that the tape would have made of it, and is taken apart only when somebody
asks. A print is one taker who met one maker, so each trade is an aggregate trade of its own, with the same id. Trades
of clients are a share of what was printed: they take an id from the same series and appear to their accounts only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import Final, NamedTuple, Protocol

from simex.packed import packed, unpacked
from simex.refusal import Refusal
from simex.strip import Strip
from simex.venue import Candle

KEPT_TRADES: Final = 50_000
PACKED_AT_ONCE: Final = 1_024
PRINTS_PER_CANDLE: Final = 4
_EIGHT_DECIMALS: Final = Decimal("0.00000001")


class Trade(NamedTuple):
    """One public trade."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    at_ms: int
    is_buyer_maker: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Single trades in a row, packed."""

    trade_id: int
    at_ms: int
    count: int
    rows: bytes

    def from_id(self, trade_id: int) -> Iterator[Trade]:
        """Its trades from an id on."""
        for number, price, quantity, at_ms, is_buyer_maker in unpacked(self.rows):
            if int(number) >= trade_id:
                yield Trade(int(number), Decimal(price), Decimal(quantity), int(at_ms), is_buyer_maker == "True")


class Span:
    """Candles in a row as the trades they stand for; the first `skipped` prints were made one by one."""

    __slots__ = ("_candles", "_end", "_skipped", "_start", "at_ms", "trade_id")

    def __init__(
        self, candles: Sequence[Candle] | Strip, start: int, end: int, first_id: int, skipped: int = 0
    ) -> None:
        self._candles = candles
        self._start = start
        self._end = end
        self._skipped = skipped
        self.trade_id = first_id
        self.at_ms = self._candle(start).open_ms

    def from_id(self, trade_id: int) -> Iterator[Trade]:
        """Its trades from an id on."""
        behind = max(0, trade_id - self.trade_id) + self._skipped
        first = self._start + behind // PRINTS_PER_CANDLE
        return islice(self._trades(first), behind % PRINTS_PER_CANDLE, None)

    def _trades(self, first: int) -> Iterator[Trade]:
        trade_id = self.trade_id - self._skipped + PRINTS_PER_CANDLE * (first - self._start)
        for at in range(first, self._end):
            yield from _four_trades(self._candle(at), trade_id)
            trade_id += PRINTS_PER_CANDLE

    def _candle(self, at: int) -> Candle:
        return self._candles.candle(at) if isinstance(self._candles, Strip) else self._candles[at]


class TradeLog:
    """The newest trades; at least `kept` single ones or spans, if there were so many. Older single ones are packed."""

    def __init__(self, kept: int = KEPT_TRADES) -> None:
        self._kept = kept
        self._entries: list[Trade | Block | Span] = []
        self._count = 0  # of single trades and spans
        self._loose = 0  # single trades at the end

    def add(self, entry: Trade | Span) -> None:
        self._entries.append(entry)
        self._count += 1
        self._loose = self._loose + 1 if isinstance(entry, Trade) else 0
        if self._loose == 2 * PACKED_AT_ONCE:
            self._pack(len(self._entries) - self._loose)
        if self._count > 2 * self._kept:
            self._drop()

    def _pack(self, start: int) -> None:
        end = start + PACKED_AT_ONCE
        trades = [entry for entry in self._entries[start:end] if isinstance(entry, Trade)]
        first = trades[0]
        self._entries[start:end] = [Block(first.trade_id, first.at_ms, len(trades), packed(trades))]
        self._loose -= len(trades)

    def _drop(self) -> None:
        at = 0
        while self._count - (count := _count(self._entries[at])) >= self._kept:
            self._count -= count
            at += 1
        del self._entries[:at]
        self._loose = min(self._loose, len(self._entries))

    def newest(self, limit: int, end_ms: int | None = None) -> list[Trade]:
        """The newest trades, up to a time, oldest first."""
        found: list[Trade] = []
        at = len(self._entries) if end_ms is None else bisect_right(self._entries, end_ms, key=_at_ms)
        while at and len(found) < limit:
            at -= 1
            found = [t for t in _trades(self._entries[at]) if end_ms is None or t.at_ms <= end_ms] + found
        return found[-limit:]

    def from_id(self, trade_id: int, limit: int) -> list[Trade]:
        """The oldest trades from an id on."""
        at = max(0, bisect_right(self._entries, trade_id, key=_first_id) - 1)
        return list(islice((t for t in self._from(at, trade_id) if t.trade_id >= trade_id), limit))

    def between(self, start_ms: int, end_ms: int, limit: int) -> list[Trade]:
        """The oldest trades from a time on, up to another, inclusive."""
        return list(islice(self.since(start_ms, end_ms), limit))

    def since(self, start_ms: int, end_ms: int) -> Iterator[Trade]:
        """All trades from a time on, up to another, inclusive."""
        at = max(0, bisect_right(self._entries, start_ms - 1, key=_at_ms) - 1)
        for trade in self._from(at, 0):
            if trade.at_ms > end_ms:
                return
            if trade.at_ms >= start_ms:
                yield trade

    def _from(self, at: int, trade_id: int) -> Iterator[Trade]:
        for number in range(at, len(self._entries)):
            yield from _trades(self._entries[number], trade_id)


class Logged(Protocol):
    """A book as far as its trades go."""

    @property
    def log(self) -> TradeLog | None: ...


def log_of(book: Logged) -> TradeLog:
    """Refusal -1020 where no trades are kept."""
    if book.log is None:
        raise Refusal(-1020, "This exchange keeps no trades.")
    return book.log


def _count(entry: Trade | Block | Span) -> int:
    return entry.count if isinstance(entry, Block) else 1


def _trades(entry: Trade | Block | Span, trade_id: int = 0) -> Iterator[Trade]:
    return iter((entry,)) if isinstance(entry, Trade) else entry.from_id(trade_id)


def _four_trades(candle: Candle, first_id: int) -> Iterator[Trade]:
    """Open, the extreme further from the close, the other one, close: as the tape goes when nobody has a stop."""
    quarter = (candle.volume / PRINTS_PER_CANDLE).quantize(_EIGHT_DECIMALS, ROUND_DOWN)
    low_first = candle.close - candle.low > candle.high - candle.close
    extremes = (candle.low, candle.high) if low_first else (candle.high, candle.low)
    prices = (candle.open, *extremes, candle.close)
    length_ms = candle.interval_ms
    times = (0, length_ms // 4, length_ms // 2, length_ms - 1)
    quantities = (quarter, quarter, quarter, candle.volume - 3 * quarter)
    before = candle.open
    for number, (price, offset_ms, quantity) in enumerate(zip(prices, times, quantities, strict=True)):
        yield Trade(first_id + number, price, quantity, candle.open_ms + offset_ms, price < before)
        before = price


def _first_id(entry: Trade | Block | Span) -> int:
    return entry.trade_id


def _at_ms(entry: Trade | Block | Span) -> int:
    return entry.at_ms
