"""Candles from files: Binance's CSV archives and Parquet, checked before anything is computed on them.

A file is refused with one line that names the file, the row or time, and what to do. A gap is refused as well, unless
the venue was halted then or the caller keeps gaps on purpose; nothing is filled in, sorted or dropped silently.
Numbers are held as floats in columns and handed out as `Decimal` made from their shortest exact text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.research.candlefile import (
    COLUMN_NAMES,
    MICROSECONDS_FROM,
    Cells,
    DataError,
    Named,
    named,
    read_cells,
    sha256_of,
)
from surefoot.signals.window import Columns

__all__ = ["COLUMN_NAMES", "CandleFile", "DataError", "Gaps", "find_gaps", "load_candles", "utc_text"]

Gaps = Literal["refuse", "keep"]
Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]

ROWS_AT_A_TIME = 4_096


class EvaluationError(Exception):
    """A run over candles did what none may do, such as looking ahead; the text says which, in one line."""


@dataclass(frozen=True, slots=True)
class Halt:
    """A time in which the venue had no trading, so that candles are missing for everybody."""

    from_ms: int
    to_ms: int
    why: str


KNOWN_HALTS = (
    # 2023-03-24 12:30 to 14:00 UTC
    Halt(1_679_661_000_000, 1_679_666_400_000, "Binance spot halt of 2023-03-24"),
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing candles: the first missing open time, the next open time that exists, and the halt that explains it."""

    from_ms: int
    to_ms: int
    candles: int
    halt: str | None


@dataclass(frozen=True, slots=True)
class CandleFile:
    """Checked candles of one symbol and interval, oldest first; `sha256` is that of the file's bytes."""

    path: Path
    symbol: str
    interval: str
    columns: Columns
    gaps: tuple[Gap, ...]
    sha256: str

    def __len__(self) -> int:
        return int(self.columns.open_ms.size)

    def rows(self) -> Iterator[Row]:
        """(open_ms, open, high, low, close, volume) of each candle, oldest first; in bounded memory."""
        for start in range(0, len(self), ROWS_AT_A_TIME):
            open_ms, *values = (column[start : start + ROWS_AT_A_TIME].tolist() for column in self.columns)
            yield from zip(open_ms, *(map(Decimal, map(repr, column)) for column in values), strict=True)

    def candles(self) -> Iterator[Candle]:
        """The same as the bot's own candles."""
        last_ms = INTERVAL_MS[self.interval] - 1
        for open_ms, *values in self.rows():
            yield Candle(self.symbol, self.interval, open_ms, open_ms + last_ms, *values)


def load_candles(
    path: str | Path, symbol: str | None = None, interval: str | None = None, gaps: Gaps = "refuse"
) -> CandleFile:
    """Read and check one file: `BTCUSDT-15m-2024-01.zip`, `BTCUSDT.parquet` or `SYMBOL=any/path.csv`.

    DataError says why not. Symbol and interval come from the arguments, else from the name; failing that, the interval
    is the usual distance of the candles.
    """
    source = named(str(path))
    place = source.path
    symbol = symbol_of(source, symbol)
    digest = sha256_of(place)
    columns = readable(place, read_cells(place))
    for fault in (*number_faults(columns), *_order_faults(columns.open_ms)):
        refuse(place, columns.open_ms, fault)
    length = interval_of(source, interval, columns.open_ms)
    refuse(place, columns.open_ms, grid_fault(columns.open_ms, length))
    found = find_gaps(columns.open_ms, INTERVAL_MS[length])
    if gaps == "refuse":
        _refuse_gaps(place, found)
    return CandleFile(place, symbol, length, columns, found, digest)


def find_gaps(open_ms: npt.NDArray[np.int64], interval_ms: int) -> tuple[Gap, ...]:
    """Every place where candles are missing between two that exist; `open_ms` ascending and on the grid."""
    after = np.flatnonzero(np.diff(open_ms) > interval_ms)
    pairs = zip((open_ms[after] + interval_ms).tolist(), open_ms[after + 1].tolist(), strict=True)
    return tuple(Gap(first, end, (end - first) // interval_ms, _halt(first, end)) for first, end in pairs)


def utc_text(at_ms: int) -> str:
    """`2024-01-31 12:00` for people."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")


def time_text(at_ms: int) -> str:
    """The same, or the number where it is none."""
    # A time that no calendar knows is told as the number it is.
    return f"{utc_text(at_ms)} UTC" if 0 <= at_ms < MICROSECONDS_FROM else f"time {at_ms}"


# ---------------------------------------------------------------------------------------------------------------
# What a file is of


def symbol_of(source: Named, given: str | None) -> str:
    symbol = given or source.symbol
    if not symbol:
        raise DataError(f"{source.path}: the name does not say which symbol it is; write SYMBOL={source.path}")
    return symbol


def interval_of(source: Named, given: str | None, open_ms: npt.NDArray[np.int64]) -> str:
    """As given or named, else the interval whose length most candles are apart."""
    length = given or source.interval or _usual_interval(source.path, open_ms)
    if length not in INTERVAL_MS:
        raise DataError(f"{source.path}: interval {length!r} is not one of {', '.join(INTERVAL_MS)}")
    return length


def _usual_interval(path: Path, open_ms: npt.NDArray[np.int64]) -> str:
    steps, counts = np.unique(np.diff(open_ms), return_counts=True)
    usual_ms = int(steps[counts.argmax()]) if steps.size else 0
    for interval, length_ms in INTERVAL_MS.items():
        if length_ms == usual_ms:
            return interval
    raise DataError(f"{path}: the candles are {usual_ms} ms apart, which is no interval; name the interval")


# ---------------------------------------------------------------------------------------------------------------
# Checks


class Fault(NamedTuple):
    """What is wrong with some candles: a short name for programs, words for people, and which ones it is about."""

    kind: str
    what: str
    remedy: str
    bad: npt.NDArray[np.bool_]


def number_faults(columns: Columns) -> tuple[Fault, ...]:
    """Candles that no market can make, whatever their time."""
    finite = reduce(np.logical_and, map(np.isfinite, columns[1:]))
    prices = columns[1:5]
    lowest, highest = reduce(np.minimum, prices), reduce(np.maximum, prices)
    impossible = finite & ((highest > columns.high) | (lowest < columns.low))
    again, remove = "download the file again", "remove the row or download the file again"
    unknown = (columns.open_ms < 0) | (columns.open_ms >= MICROSECONDS_FROM)
    return (
        Fault("not-finite", "a price or volume is not finite", again, ~finite),
        Fault("price", "a price is not above zero", remove, finite & (lowest <= 0)),
        Fault("volume", "the volume is negative", again, finite & (columns.volume < 0)),
        Fault("impossible", "high and low do not enclose open and close", again, impossible),
        Fault("unit", "the open time is in another unit than the first", "keep to one unit, ms or µs", unknown),
    )


def grid_fault(open_ms: npt.NDArray[np.int64], interval: str) -> Fault:
    """Candles that open where none of this interval does."""
    off = open_ms % INTERVAL_MS[interval] != 0
    return Fault("off-grid", f"a {interval} candle cannot open then", "give the interval that the file has", off)


def _order_faults(open_ms: npt.NDArray[np.int64]) -> tuple[Fault, ...]:
    steps = np.diff(open_ms, prepend=open_ms[0] - 1)
    return (
        Fault("duplicate", "the candle comes twice", "remove the repeated row", steps == 0),
        Fault("order", "the candle is older than the one before it", "sort the file by open time", steps < 0),
    )


def readable(path: Path, cells: Cells) -> Columns:
    """The columns of a file in which every cell is a number; DataError names the first that is not."""
    if cells.unreadable:
        row, column = cells.unreadable[0]
        raise DataError(f"{path}: row {row}: {column} is missing or not a number; download the file again")
    return cells.columns


def refuse(place: Path | str, open_ms: npt.NDArray[np.int64], fault: Fault) -> None:
    """DataError for the first candle at fault, if there is one."""
    at_fault = np.flatnonzero(fault.bad)
    if not at_fault.size:
        return
    at, others = int(at_fault[0]), at_fault.size - 1
    more = f" (and {others} more)" if others else ""
    raise DataError(f"{place}: candle {at + 1}, {time_text(int(open_ms[at]))}: {fault.what}{more}; {fault.remedy}")


def _refuse_gaps(path: Path, gaps: tuple[Gap, ...]) -> None:
    unexplained = [gap for gap in gaps if gap.halt is None]
    if not unexplained:
        return
    gap = unexplained[0]
    more = f" (and {len(unexplained) - 1} more gaps)" if len(unexplained) > 1 else ""
    raise DataError(
        f"{path}: missing candles: {gap.candles}, from {utc_text(gap.from_ms)} to {utc_text(gap.to_ms)} UTC{more}; "
        'download them, or say gaps="keep"'
    )


def _halt(from_ms: int, to_ms: int) -> str | None:
    return next((halt.why for halt in KNOWN_HALTS if halt.from_ms <= from_ms and to_ms <= halt.to_ms), None)
