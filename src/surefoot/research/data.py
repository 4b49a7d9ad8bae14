"""Candles from files: Binance's CSV archives and Parquet, checked before anything is computed on them.

A file is refused with one line that names the file, the row or time, and what to do. A gap is refused as well, unless
the venue was halted then or the caller keeps gaps on purpose; nothing is filled in, sorted or dropped silently.
Numbers are held as floats in columns and handed out as `Decimal` made from their shortest exact text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.signals.window import Columns

if TYPE_CHECKING:
    import polars as pl

Gaps = Literal["refuse", "keep"]
Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]

COLUMN_NAMES = ("open_time", "open", "high", "low", "close", "volume")
# The archives of spot count in microseconds since 2025; 1e14 is the year 5138 in milliseconds and 1973 in micro-.
MICROSECONDS_FROM = 10**14
ROWS_AT_A_TIME = 4_096
FILE_BYTES_MAX = 4 * 1024**3

_FILE_NAME = re.compile(r"(?P<symbol>[A-Z0-9]{5,24})(?:-(?P<interval>\d{1,2}[mhd]))?(?:-\d{4}[-\d]*)?\.(?:csv|parquet)")
_NAMED_PATH = re.compile(r"(?P<symbol>[A-Z0-9]{2,24})=(?P<path>.+)", re.DOTALL)


class DataError(Exception):
    """A file that cannot be used, in one line: which, where, and what to do about it."""


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
    """Read and check one file: `BTCUSDT-15m-2024-01.csv`, `BTCUSDT.parquet` or `SYMBOL=any/path`.

    DataError says why not. Symbol and interval come from the arguments, else from the name; failing that, the interval
    is the usual distance of the candles.
    """
    place, named = _split_name(str(path))
    stem = _FILE_NAME.fullmatch(place.name)
    if not place.exists():
        raise DataError(f"{place}: there is no such file")
    symbol = symbol or named or (stem["symbol"] if stem else None)
    if not symbol:
        raise DataError(f"{place}: the name does not say which symbol it is; write SYMBOL={place}")
    digest = _sha256(place)
    columns = _read(place)
    _check_numbers(place, columns)
    _check_order(place, columns.open_ms)
    length = interval or (stem["interval"] if stem else None) or _usual_interval(place, columns.open_ms)
    if length not in INTERVAL_MS:
        raise DataError(f"{place}: interval {length!r} is not one of {', '.join(INTERVAL_MS)}")
    _check_grid(place, columns.open_ms, length)
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


# ---------------------------------------------------------------------------------------------------------------
# Reading


def _split_name(text: str) -> tuple[Path, str | None]:
    named = _NAMED_PATH.fullmatch(text)
    return (Path(named["path"]), named["symbol"]) if named else (Path(text), None)


def _sha256(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DataError(f"{path}: larger than {FILE_BYTES_MAX} bytes; split it by year")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read(path: Path) -> Columns:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: only .csv and .parquet are read; unpack or convert it first")
    frame = reader(path)
    if not frame.height:
        raise DataError(f"{path}: holds no candles")
    open_ms = frame["open_time"].to_numpy().astype(np.int64)
    if open_ms[0] >= MICROSECONDS_FROM:
        open_ms = open_ms // 1000
    columns = (np.ascontiguousarray(frame[name].to_numpy(), dtype=np.float64) for name in COLUMN_NAMES[1:])
    return Columns(open_ms, *columns)


def _read_csv(path: Path) -> pl.DataFrame:
    # Polars takes a third of a second to load; who never reads a file does not pay for it.
    import polars as pl

    header = _csv_header(path)
    places = _csv_places(path, header)
    try:
        cells = pl.read_csv(
            path, has_header=False, skip_rows=1 if header else 0, columns=sorted(places), infer_schema=False
        )
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: holds no candles; download it again") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: is not a CSV of candles ({_first_line(error)}); download it again") from None
    # Columns come in the order of the file, whatever their order in the header means to us.
    cells.columns = [COLUMN_NAMES[places.index(place)] for place in sorted(places)]
    return _typed(path, cells, first_row=2 if header else 1)


def _csv_header(path: Path) -> list[str] | None:
    """The column names of the first line, or None where it is a candle already."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        cells = [cell.strip().strip('"') for cell in file.readline(4_096).split(",")]
    if cells == [""]:
        raise DataError(f"{path}: is empty; download it again")
    if len(cells) < len(COLUMN_NAMES):
        raise DataError(f"{path}: row 1 has {len(cells)} columns instead of at least {len(COLUMN_NAMES)}")
    return None if cells[0].lstrip("-").isdigit() else [cell.lower() for cell in cells]


def _csv_places(path: Path, header: list[str] | None) -> tuple[int, ...]:
    if header is None:
        return tuple(range(len(COLUMN_NAMES)))
    missing = [name for name in COLUMN_NAMES if name not in header]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r}; wanted are {', '.join(COLUMN_NAMES)}")
    return tuple(header.index(name) for name in COLUMN_NAMES)


def _read_parquet(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        names = pl.read_parquet_schema(path)
        missing = [name for name in COLUMN_NAMES if name not in names]
        if missing:
            raise DataError(f"{path}: has no column {missing[0]!r}; wanted are {', '.join(COLUMN_NAMES)}")
        frame = pl.read_parquet(path, columns=list(COLUMN_NAMES))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: is not a Parquet file ({_first_line(error)}); download it again") from None
    if isinstance(frame.schema["open_time"], pl.Datetime):
        frame = frame.with_columns(pl.col("open_time").dt.epoch("ms"))
    return _typed(path, frame, first_row=1)


def _typed(path: Path, frame: pl.DataFrame, first_row: int) -> pl.DataFrame:
    """Whole numbers and floats in every cell, or the first row where one is not."""
    import polars as pl

    kinds = [pl.Int64] + [pl.Float64] * 5
    typed = frame.select(pl.col(name).cast(kind, strict=False) for name, kind in zip(COLUMN_NAMES, kinds, strict=True))
    for name in COLUMN_NAMES:
        if typed[name].null_count():
            row = int(typed[name].is_null().arg_max() or 0) + first_row
            raise DataError(f"{path}: row {row}: {name} is missing or not a number; download the file again")
    return typed


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# ---------------------------------------------------------------------------------------------------------------
# Checks


def _check_numbers(path: Path, columns: Columns) -> None:
    prices = np.vstack(columns[1:5])
    finite = np.isfinite(np.vstack(columns[1:])).all(axis=0)
    _refuse(path, columns.open_ms, ~finite, "a price or volume is not finite", "download the file again")
    lowest, highest = np.minimum.reduce(prices), np.maximum.reduce(prices)
    _refuse(
        path, columns.open_ms, lowest <= 0, "a price is not above zero", "remove the row or download the file again"
    )
    _refuse(path, columns.open_ms, columns.volume < 0, "the volume is negative", "download the file again")
    impossible = (highest > columns.high) | (lowest < columns.low)
    _refuse(path, columns.open_ms, impossible, "high and low do not enclose open and close", "download the file again")


def _check_order(path: Path, open_ms: npt.NDArray[np.int64]) -> None:
    unknown = (open_ms < 0) | (open_ms >= MICROSECONDS_FROM)
    _refuse(path, open_ms, unknown, "the open time is in another unit than the first", "keep to one unit, ms or µs")
    steps = np.diff(open_ms, prepend=open_ms[0] - 1)
    _refuse(path, open_ms, steps == 0, "the candle comes twice", "remove the repeated row")
    _refuse(path, open_ms, steps < 0, "the candle is older than the one before it", "sort the file by open time")


def _check_grid(path: Path, open_ms: npt.NDArray[np.int64], interval: str) -> None:
    off = open_ms % INTERVAL_MS[interval] != 0
    _refuse(path, open_ms, off, f"a {interval} candle cannot open then", "give the interval that the file has")


def _refuse(path: Path, open_ms: npt.NDArray[np.int64], bad: npt.ArrayLike, what: str, remedy: str) -> None:
    at_fault = np.flatnonzero(bad)
    if not at_fault.size:
        return
    at, others = int(at_fault[0]), at_fault.size - 1
    more = f" (and {others} more)" if others else ""
    raise DataError(f"{path}: candle {at + 1}, {_time(int(open_ms[at]))}: {what}{more}; {remedy}")


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


def _usual_interval(path: Path, open_ms: npt.NDArray[np.int64]) -> str:
    """The interval whose length most candles are apart."""
    steps, counts = np.unique(np.diff(open_ms), return_counts=True)
    usual_ms = int(steps[counts.argmax()]) if steps.size else 0
    for interval, length_ms in INTERVAL_MS.items():
        if length_ms == usual_ms:
            return interval
    raise DataError(f"{path}: the candles are {usual_ms} ms apart, which is no interval; name the interval")


def _time(at_ms: int) -> str:
    # A time that no calendar knows is told as the number it is.
    return f"{utc_text(at_ms)} UTC" if 0 <= at_ms < MICROSECONDS_FROM else f"time {at_ms}"
