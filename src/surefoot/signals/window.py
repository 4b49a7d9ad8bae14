"""Closed candles as float columns: the bounded window of one series, and the higher interval built from it.

A series is keyed by open time, ordered oldest first and free of duplicates. A higher candle is made of closed lower
ones only; it comes out when its last member closed, or when a later candle shows that it is over (the venue halted).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS, ZERO, Candle

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WINDOW_CANDLES_DEFAULT = 500
WINDOW_CANDLES_MAX = 100_000


class Columns(NamedTuple):
    """Candles, oldest first, as contiguous arrays of one length; `open_ms` int64, the others float64."""

    open_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


def newest(columns: Columns, count: int) -> Columns:
    """The last `count` candles, as views; all of them where there are fewer."""
    return columns if columns.open_ms.size <= count else span(columns, -count, None)


def span(columns: Columns, start: int, end: int | None) -> Columns:
    """The candles from `start` to `end`, exclusive, as views."""
    open_ms, opens, highs, lows, closes, volumes = columns
    kept = slice(start, end)
    return Columns(open_ms[kept], opens[kept], highs[kept], lows[kept], closes[kept], volumes[kept])


class Placement(StrEnum):
    """What became of a candle that was given to a series."""

    APPENDED = "appended"
    REPLACED = "replaced"
    IGNORED = "ignored"


class Series:
    """The newest closed candles of one symbol and interval, at most `capacity` of them.

    The columns lie in buffers of twice the capacity, so that a window stays contiguous and is moved only once in
    `capacity` candles.
    """

    def __init__(self, interval: str, capacity: int = WINDOW_CANDLES_DEFAULT) -> None:
        """`last_open_ms` is None while there is no candle; `ignored` counts candles that came too late.

        `looked_up` counts how often candles were wanted, `found` how often all of them were held.
        """
        if not 0 < capacity <= WINDOW_CANDLES_MAX:
            raise ValueError(f"capacity {capacity} is outside 1 to {WINDOW_CANDLES_MAX} candles")
        self.interval_ms = INTERVAL_MS[interval]
        self.capacity = capacity
        self.ignored = self.looked_up = self.found = 0
        self.last_open_ms: int | None = None
        self._buffers = Columns(np.zeros(2 * capacity, dtype=np.int64), *np.zeros((5, 2 * capacity)))
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def append(self, candle: Candle) -> Placement:
        """Take a closed candle: a newer one goes to the end, a known open time is replaced, any other is ignored.

        An unknown candle older than the newest is not squeezed in: decisions were already made without it.
        """
        if self.last_open_ms is None or candle.open_ms > self.last_open_ms:
            self._make_room()
            self._write(self._end - 1, candle)
            self.last_open_ms = candle.open_ms
            return Placement.APPENDED
        at = self._position(candle.open_ms)
        if at is None:
            self.ignored += 1
            return Placement.IGNORED
        self._write(at, candle)
        return Placement.REPLACED

    def look_up(self, count: int) -> None:
        """So many of the newest candles are wanted."""
        self.looked_up += 1
        self.found += len(self) >= count

    def gap_before(self, candle: Candle) -> tuple[int, int] | None:
        """Missing candles between the newest one and this: first missing open time, and `candle.open_ms`, exclusive."""
        last_ms = self.last_open_ms
        if last_ms is None or candle.open_ms <= last_ms + self.interval_ms:
            return None
        return last_ms + self.interval_ms, candle.open_ms

    def columns(self) -> Columns:
        """Views of the window, not copies: they are valid until the next `append` and must not be written to."""
        held = slice(self._start, self._end)
        open_ms, opens, highs, lows, closes, volumes = self._buffers
        return Columns(open_ms[held], opens[held], highs[held], lows[held], closes[held], volumes[held])

    def _make_room(self) -> None:
        if self._end == 2 * self.capacity:
            for buffer in self._buffers:
                buffer[: self.capacity] = buffer[self.capacity :]
            self._end = self.capacity
        self._end += 1
        self._start = max(0, self._end - self.capacity)

    def _write(self, at: int, candle: Candle) -> None:
        open_ms, opens, highs, lows, closes, volumes = self._buffers
        open_ms[at] = candle.open_ms
        opens[at] = candle.open
        highs[at] = candle.high
        lows[at] = candle.low
        closes[at] = candle.close
        volumes[at] = candle.volume

    def _position(self, open_ms: int) -> int | None:
        held = self._buffers.open_ms[self._start : self._end]
        at = int(np.searchsorted(held, open_ms))
        return self._start + at if at < held.size and held[at] == open_ms else None


class Resampler:
    """Builds one symbol's higher candles, aligned to UTC, from its closed lower ones."""

    def __init__(self, interval: str, higher_interval: str) -> None:
        self._step_ms, self._higher_ms = _lengths_ms(interval, higher_interval)
        self._higher_interval = higher_interval
        self._open_ms: int | None = None
        self._members: dict[int, Candle] = {}
        self._told = False

    def append(self, candle: Candle) -> tuple[Candle, ...]:
        """Higher candles that this one finished: none, one, or two (an incomplete one, then its own).

        A repeated member that differs yields its higher candle again; members of an earlier one are ignored.
        """
        open_ms = candle.open_ms - candle.open_ms % self._higher_ms
        if self._open_ms is not None and open_ms < self._open_ms:
            return ()
        finished = self._begin(open_ms) if open_ms != self._open_ms else ()
        self._members[candle.open_ms] = candle
        if self._told or candle.open_ms + self._step_ms == open_ms + self._higher_ms:
            self._told = True
            return (*finished, self._built(open_ms))
        return finished

    def _begin(self, open_ms: int) -> tuple[Candle, ...]:
        """Start the higher candle of `open_ms`; the one before is over, even where members of it never came."""
        finished = () if self._open_ms is None or self._told else (self._built(self._open_ms),)
        self._open_ms, self._members, self._told = open_ms, {}, False
        return finished

    def _built(self, open_ms: int) -> Candle:
        members = [self._members[key] for key in sorted(self._members)]
        return Candle(
            symbol=members[0].symbol,
            interval=self._higher_interval,
            open_ms=open_ms,
            close_ms=open_ms + self._higher_ms - 1,
            open=members[0].open,
            high=max(member.high for member in members),
            low=min(member.low for member in members),
            close=members[-1].close,
            volume=sum((member.volume for member in members), ZERO),
        )


def resample(columns: Columns, interval: str, higher_interval: str) -> tuple[Columns, IntArray]:
    """The higher candles of a whole history, and for each lower candle how many of them had finished when it closed.

    Agrees with `Resampler`: the last higher candle is in the columns even if no lower candle saw it finished.
    """
    step_ms, higher_ms = _lengths_ms(interval, higher_interval)
    return resample_mixed(columns, np.broadcast_to(np.int64(step_ms), columns.open_ms.shape), higher_ms)


def resample_mixed(columns: Columns, length_ms: IntArray, higher_ms: int) -> tuple[Columns, IntArray]:
    """The same where the lower candles have lengths of their own, each of which divides the higher one's."""
    opens_ms = columns.open_ms - columns.open_ms % higher_ms
    first = np.flatnonzero(np.diff(opens_ms, prepend=-1))
    if not first.size:
        return columns, np.zeros(0, dtype=np.int64)
    last = np.append(first[1:], opens_ms.size) - 1
    higher = Columns(
        open_ms=opens_ms[first],
        open=columns.open[first],
        high=np.maximum.reduceat(columns.high, first),
        low=np.minimum.reduceat(columns.low, first),
        close=columns.close[last],
        volume=np.add.reduceat(columns.volume, first),
    )
    complete = columns.open_ms[last] + length_ms[last] == higher.open_ms + higher_ms
    seen_at = np.where(complete, last, last + 1)
    return higher, np.repeat(np.arange(seen_at.size + 1), np.diff(seen_at, prepend=0, append=opens_ms.size))


def _lengths_ms(interval: str, higher_interval: str) -> tuple[int, int]:
    step_ms, higher_ms = INTERVAL_MS[interval], INTERVAL_MS[higher_interval]
    if higher_ms % step_ms:
        raise ValueError(f"candles of {higher_interval} cannot be built from candles of {interval}")
    return step_ms, higher_ms
