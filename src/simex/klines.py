"""Candles of one symbol: what was before the start, what was printed since, and the running ones.

Everything is kept in pieces of at most a minute (or a whole base candle where nobody watched inside it); longer
intervals are built from them exactly, on demand for REST and step by step for the streams that are subscribed.
Public prints do not say who was the aggressor, so half of every volume is shown as bought by takers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Final

from simex.packed import packed, unpacked
from simex.strip import Strip
from simex.venue import Candle

MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * MINUTE_MS
_FIXED_MS: Final = {
    "1s": 1_000,
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS, "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS,
}  # fmt: skip
SECOND: Final = "1s"
SPOT_INTERVALS: Final = frozenset((*_FIXED_MS, "1M"))
INTERVALS: Final = SPOT_INTERVALS - {SECOND}
# The epoch was a Thursday; weeks open on Monday.
_MONDAY_MS: Final = 4 * DAY_MS
KEPT_MS: Final = 100_000 * MINUTE_MS
_NEVER_MS: Final = 1 << 62
_QUARTER: Final = Decimal("0.25")
_EIGHT_DECIMALS: Final = Decimal("0.00000001")
TICKS_PER_CANDLE: Final = 4
TOTALS_KEPT: Final = 16
BARS_A_SHELF: Final = 720


def in_zone(interval: str, shift_minutes: int) -> str:
    """The name under which candles of another time zone are kept: they open when its clocks show a full interval."""
    return f"{interval}@{shift_minutes}" if shift_minutes else interval


def interval_bounds(interval: str, at_ms: int) -> tuple[int, int]:
    """Open of the candle that holds a time, and open of the next one."""
    if "@" in interval:
        plain, _, minutes = interval.partition("@")
        shift_ms = int(minutes) * MINUTE_MS
        open_ms, end_ms = interval_bounds(plain, at_ms + shift_ms)
        return open_ms - shift_ms, end_ms - shift_ms
    if interval == "1M":
        return _month_bounds(at_ms)
    length_ms = _FIXED_MS[interval]
    shift_ms = _MONDAY_MS if interval == "1w" else 0
    open_ms = at_ms - (at_ms - shift_ms) % length_ms
    return open_ms, open_ms + length_ms


class Bar:
    """A candle being built; `end_ms` is the open of the next one."""

    __slots__ = (
        "close", "end_ms", "first_id", "high", "last_id", "low", "open", "open_ms", "quote", "trades", "volume",
    )  # fmt: skip

    def __init__(
        self, open_ms: int, end_ms: int, open_: Decimal, high: Decimal, low: Decimal, close: Decimal,
        volume: Decimal, quote: Decimal, trades: int, first_id: int,
    ) -> None:  # fmt: skip
        self.open_ms = open_ms
        self.end_ms = end_ms
        self.open = open_
        self.high = high
        self.low = low
        self.close = close
        self.volume = volume
        self.quote = quote
        self.trades = trades
        self.first_id = first_id
        self.last_id = first_id + trades - 1

    def add(
        self, high: Decimal, low: Decimal, close: Decimal, volume: Decimal, quote: Decimal, trades: int, last_id: int
    ) -> None:
        """Let the next stretch of prints follow."""
        if high > self.high:
            self.high = high
        if low < self.low:
            self.low = low
        self.close = close
        self.volume += volume
        self.quote += quote
        self.trades += trades
        self.last_id = last_id


class Run:
    """Base candles in a row of which nobody saw the inside; their bars are built when somebody asks for them."""

    __slots__ = ("_end", "_first_id", "_start", "_strip", "end_ms", "open_ms")

    def __init__(self, strip: Strip, start: int, end: int, first_id: int) -> None:
        self.open_ms = strip.open_ms[start]
        self.end_ms = strip.end_ms(end - 1)
        self._strip = strip
        self._start = start
        self._end = end
        self._first_id = first_id

    def bars(self, start_ms: int, end_ms: int) -> Iterator[Bar]:
        """Those that open in [start, end)."""
        for at in range(self._strip.first_from(start_ms, self._start), self._end):
            candle = self._strip.candle(at)
            if candle.open_ms >= end_ms:
                return
            yield _from_candle(candle, self._first_id + TICKS_PER_CANDLE * (at - self._start))


class Shelf:
    """Bars in a row, packed."""

    __slots__ = ("_rows", "end_ms", "open_ms")

    def __init__(self, bars: Sequence[Bar]) -> None:
        self.open_ms, self.end_ms = bars[0].open_ms, bars[-1].end_ms
        self._rows = packed(
            (b.open_ms, b.end_ms, b.open, b.high, b.low, b.close, b.volume, b.quote, b.trades, b.first_id, b.last_id)
            for b in bars
        )

    def bars(self, start_ms: int, end_ms: int) -> Iterator[Bar]:
        """Those that open in [start, end)."""
        for open_ms, ends_ms, *numbers, trades, first_id, last_id in unpacked(self._rows):
            if int(open_ms) >= end_ms:
                return
            if int(open_ms) >= start_ms:
                open_, high, low, close, volume, quote = map(Decimal, numbers)
                bar = Bar(
                    int(open_ms), int(ends_ms), open_, high, low, close, volume, quote, int(trades), int(first_id)
                )
                bar.last_id = int(last_id)
                yield bar


class Series:
    """The candles of one symbol; of what was printed, the last `kept_ms` at least are kept."""

    def __init__(self, kept_ms: int = KEPT_MS) -> None:
        self.trade_id = 0
        self._history: list[Candle] = []
        self._history_first_id = 1
        self._kept_ms = kept_ms
        self._pieces: list[Bar | Run | Shelf] = []
        self._loose = 0  # bars at the end
        self._running: dict[str, Bar | None] = {}
        self.next_close_ms = _NEVER_MS
        self._at_ms = -1
        self._volume_at_ms = Decimal(0)
        self._totals: dict[tuple[int, int], Bar | None] = {}

    def load_history(self, candles: Sequence[Candle]) -> None:
        """Closed base candles before the first print, oldest first; ValueError when they overlap or come too late."""
        if self._pieces:
            raise ValueError("history comes before the first print")
        both = [*self._history, *candles]
        if any(later.open_ms < earlier.end_ms for earlier, later in pairwise(both)):
            raise ValueError("history candles overlap or are out of order")
        self._history = both
        self._totals.clear()
        self.trade_id = TICKS_PER_CANDLE * len(both)

    def print(self, price: Decimal, volume: Decimal, at_ms: int) -> None:
        """One public trade; intervals that ended by then must have been closed already."""
        self.trade_id += 1
        self._volume_at_ms = self._volume_at_ms + volume if at_ms == self._at_ms else volume
        self._at_ms = at_ms
        quote = price * volume
        piece = self._pieces[-1] if self._pieces else None
        if isinstance(piece, Bar) and at_ms < piece.end_ms:
            piece.add(price, price, price, volume, quote, 1, self.trade_id)
        else:
            self._begin_piece(price, volume, quote, at_ms)
        if self._running:
            self._extend_running(price, price, price, price, volume, quote, 1, at_ms)

    def finish(self, candle: Candle) -> None:
        """What is left of a base candle after its opening print, in one go.

        ValueError when prints later than the candle's open were made: then its volume can no longer be told apart.
        """
        if self._at_ms > candle.open_ms:
            raise ValueError("a candle can only be finished right after its opening print")
        if self._at_ms < candle.open_ms:
            self.print(candle.open, (candle.volume * _QUARTER).quantize(_EIGHT_DECIMALS, ROUND_DOWN), candle.open_ms)
        opened = self._volume_at_ms
        rest = candle.volume - opened
        quote = opened * (candle.high + candle.low) + (rest - opened - opened) * candle.close
        self.trade_id += TICKS_PER_CANDLE - 1
        self._totals.clear()
        piece = self._pieces[-1]
        assert isinstance(piece, Bar), "the opening print is in a bar"
        piece.add(candle.high, candle.low, candle.close, rest, quote, TICKS_PER_CANDLE - 1, self.trade_id)
        piece.end_ms = max(piece.end_ms, candle.end_ms)
        self._at_ms = candle.end_ms - 1
        self._volume_at_ms = Decimal(0)
        if self._running:
            self._extend_running(
                candle.high, candle.high, candle.low, candle.close, rest, quote, TICKS_PER_CANDLE - 1, candle.open_ms
            )

    def skip(self, strip: Strip, start: int, end: int) -> None:
        """Whole candles of a strip in one go; none has begun. Running ones that end before the last are forgotten."""
        self._keep(Run(strip, start, end, self.trade_id + 1))
        trades = TICKS_PER_CANDLE * (end - start)
        self.trade_id += trades
        self._totals.clear()
        self._at_ms = strip.end_ms(end - 1) - 1
        self._volume_at_ms = Decimal(0)
        for name, bar in self._running.items():
            open_ms, end_ms = interval_bounds(name, strip.open_ms[end - 1])
            first = strip.first_from(open_ms, start)
            total, trades = strip.total(first, end), TICKS_PER_CANDLE * (end - first)
            if bar is not None and bar.open_ms == open_ms:
                bar.add(*total[1:], trades, self.trade_id)
            else:
                self._running[name] = Bar(open_ms, end_ms, *total, trades, self.trade_id - trades + 1)
        self._note_next_close()

    def watch(self, interval: str, now_ms: int) -> None:
        """Keep a running candle of this interval, starting with what is known of the present one."""
        if interval in self._running:
            return
        open_ms, end_ms = interval_bounds(interval, now_ms)
        # What is kept is too coarse for seconds: the present one begins with its next print.
        bars = list(self.bars(interval, open_ms, end_ms - 1)) if end_ms - open_ms >= MINUTE_MS else []
        self._running[interval] = bars[-1] if bars else None
        self._note_next_close()

    def unwatch(self, interval: str) -> None:
        self._running.pop(interval, None)
        self._note_next_close()

    def running(self, interval: str) -> Bar | None:
        return self._running.get(interval)

    def close_until(self, now_ms: int) -> list[tuple[str, Bar]]:
        """Take the running candles whose interval has ended, shortest interval first."""
        if now_ms < self.next_close_ms:
            return []
        closed = [(name, bar) for name, bar in self._running.items() if bar is not None and bar.end_ms <= now_ms]
        for name, _ in closed:
            self._running[name] = None
        self._note_next_close()
        return sorted(closed, key=lambda entry: entry[1].end_ms - entry[1].open_ms)

    def bars(self, interval: str, start_ms: int, end_ms: int) -> Iterator[Bar]:
        """Candles whose open lies in [start, end], oldest first; intervals without a print are left out."""
        first_ms, next_ms = interval_bounds(interval, start_ms)
        if first_ms < start_ms:
            first_ms = next_ms
        _, after_ms = interval_bounds(interval, end_ms)
        bar: Bar | None = None
        for piece in self._stretch(first_ms, after_ms):
            if bar is not None and piece.open_ms < bar.end_ms:
                bar.add(piece.high, piece.low, piece.close, piece.volume, piece.quote, piece.trades, piece.last_id)
                continue
            if bar is not None:
                yield bar
            bar = _as_interval(piece, interval)
        if bar is not None:
            yield bar

    def newest(self, interval: str, end_ms: int, limit: int) -> list[Bar]:
        """The newest candles that open at or before a time, oldest first."""
        earliest_ms = self._earliest_ms()
        span_ms = limit * _FIXED_MS.get(interval.partition("@")[0], 31 * DAY_MS)
        while True:
            start_ms = max(earliest_ms, end_ms - span_ms)
            found = list(self.bars(interval, interval_bounds(interval, start_ms)[0], end_ms))
            if len(found) >= limit or start_ms == earliest_ms:
                return found[-limit:]
            # Gaps made it too short: look twice as far back.
            span_ms *= 2

    def total(self, start_ms: int, end_ms: int) -> Bar | None:
        """What opens in [start, end) as one bar; None when nothing was traded in it."""
        bar: Bar | None = None
        for piece in self._stretch(start_ms, end_ms):
            if bar is None:
                bar = _copied(piece, start_ms, end_ms)
            else:
                bar.add(piece.high, piece.low, piece.close, piece.volume, piece.quote, piece.trades, piece.last_id)
        return bar

    def total_until(self, start_ms: int, now_ms: int) -> Bar | None:
        """As `total` up to and with a moment that nothing was printed after; its full minutes are added up once."""
        minute_ms = now_ms - now_ms % MINUTE_MS
        key = start_ms, minute_ms
        if key not in self._totals:
            if len(self._totals) >= TOTALS_KEPT:
                self._totals.clear()
            self._totals[key] = self.total(start_ms, minute_ms)
        whole, rest = self._totals[key], self.total(max(start_ms, minute_ms), now_ms + 1)
        if whole is None or rest is None:
            return whole or rest
        both = _copied(whole, start_ms, now_ms + 1)
        both.add(rest.high, rest.low, rest.close, rest.volume, rest.quote, rest.trades, rest.last_id)
        return both

    @property
    def last_trade_ms(self) -> int | None:
        """When the last trade was, of the history its end; None before the first one."""
        if self._at_ms >= 0:
            return self._at_ms
        return self._history[-1].end_ms - 1 if self._history else None

    def begins_ms(self) -> int | None:
        """The open of the oldest candle that is known; None before the first."""
        return self._earliest_ms() or None

    def average_price(self, now_ms: int, minutes: int) -> Decimal | None:
        """Volume-weighted price of the last minutes; None when nothing was traded in them."""
        volume = quote = Decimal(0)
        for piece in self._stretch(now_ms - minutes * MINUTE_MS, now_ms + 1):
            volume += piece.volume
            quote += piece.quote
        return quote / volume if volume else None

    def _earliest_ms(self) -> int:
        if self._history:
            return self._history[0].open_ms
        return self._pieces[0].open_ms if self._pieces else 0

    def _begin_piece(self, price: Decimal, volume: Decimal, quote: Decimal, at_ms: int) -> None:
        open_ms = at_ms - at_ms % MINUTE_MS
        self._keep(Bar(open_ms, open_ms + MINUTE_MS, price, price, price, price, volume, quote, 1, self.trade_id))

    def _keep(self, piece: Bar | Run) -> None:
        self._pieces.append(piece)
        self._loose = self._loose + 1 if isinstance(piece, Bar) else 0
        if self._loose == 2 * BARS_A_SHELF:
            at = len(self._pieces) - self._loose
            bars = [bar for bar in self._pieces[at : at + BARS_A_SHELF] if isinstance(bar, Bar)]
            self._pieces[at : at + BARS_A_SHELF] = [Shelf(bars)]
            self._loose -= BARS_A_SHELF
        if piece.open_ms - self._pieces[0].open_ms > 2 * self._kept_ms:
            del self._pieces[: bisect_left(self._pieces, piece.open_ms - self._kept_ms, key=_open_ms)]
            self._loose = min(self._loose, len(self._pieces))

    def _extend_running(
        self, open_: Decimal, high: Decimal, low: Decimal, close: Decimal, volume: Decimal, quote: Decimal,
        trades: int, at_ms: int,
    ) -> None:  # fmt: skip
        for name, bar in self._running.items():
            if bar is not None:
                bar.add(high, low, close, volume, quote, trades, self.trade_id)
                continue
            open_ms, end_ms = interval_bounds(name, at_ms)
            first_id = self.trade_id - trades + 1
            self._running[name] = Bar(open_ms, end_ms, open_, high, low, close, volume, quote, trades, first_id)
            self._note_next_close()

    def _note_next_close(self) -> None:
        self.next_close_ms = min((bar.end_ms for bar in self._running.values() if bar is not None), default=_NEVER_MS)

    def _stretch(self, start_ms: int, end_ms: int) -> Iterator[Bar]:
        """History and pieces whose open lies in [start, end)."""
        low = bisect_left(self._history, start_ms, key=_candle_open_ms)
        high = bisect_left(self._history, end_ms, key=_candle_open_ms)
        for at in range(low, high):
            yield _from_candle(self._history[at], self._history_first_id + TICKS_PER_CANDLE * at)
        low = bisect_left(self._pieces, start_ms, key=_open_ms)
        high = bisect_left(self._pieces, end_ms, key=_open_ms)
        for piece in self._pieces[max(0, low - 1) : high]:  # what holds several may begin earlier
            if isinstance(piece, Run | Shelf):
                yield from piece.bars(start_ms, end_ms)
            elif piece.open_ms >= start_ms:
                yield piece


def _as_interval(piece: Bar, interval: str) -> Bar:
    return _copied(piece, *interval_bounds(interval, piece.open_ms))


def _copied(piece: Bar, open_ms: int, end_ms: int) -> Bar:
    bar = Bar(
        open_ms, end_ms, piece.open, piece.high, piece.low, piece.close,
        piece.volume, piece.quote, piece.trades, piece.first_id,
    )  # fmt: skip
    bar.last_id = piece.last_id
    return bar


def _from_candle(candle: Candle, first_id: int) -> Bar:
    """A candle as the four prints that the tape would have made of it."""
    quarter = (candle.volume * _QUARTER).quantize(_EIGHT_DECIMALS, ROUND_DOWN)
    quote = quarter * (candle.open + candle.high + candle.low) + (candle.volume - 3 * quarter) * candle.close
    return Bar(
        candle.open_ms, candle.end_ms, candle.open, candle.high, candle.low, candle.close,
        candle.volume, quote, TICKS_PER_CANDLE, first_id,
    )  # fmt: skip


def _open_ms(piece: Bar | Run | Shelf) -> int:
    return piece.open_ms


def _candle_open_ms(candle: Candle) -> int:
    return candle.open_ms


def _month_bounds(at_ms: int) -> tuple[int, int]:
    year, month = _year_month(at_ms // DAY_MS)
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return _days_before(year, month) * DAY_MS, _days_before(*following) * DAY_MS


def _year_month(day: int) -> tuple[int, int]:
    """Calendar year and month of a day counted from 1970 (Hinnant's civil-from-days)."""
    shifted = day + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    month += 3 if month < 10 else -9
    return year_of_era + era * 400 + (month <= 2), month


def _days_before(year: int, month: int) -> int:
    """Days from 1970 to the first of a month (Hinnant's days-from-civil)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
