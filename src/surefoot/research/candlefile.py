"""The bytes of a candle file as columns: Binance's CSV, the zip archives that hold one, and Parquet.

Nothing is judged here but whether it can be read: a cell that is not a number stays empty, and the caller says so. All
errors are one line that names the file and what to do.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from surefoot.signals.window import Columns, IntArray

if TYPE_CHECKING:
    import polars as pl

COLUMN_NAMES = ("open_time", "open", "high", "low", "close", "volume")
# The archives of spot count in microseconds since 2025; 1e14 is the year 5138 in milliseconds and 1973 in micro-.
MICROSECONDS_FROM = 10**14
FILE_BYTES_MAX = 4 * 1024**3

_FILE_NAME = re.compile(
    r"(?P<symbol>[A-Z0-9]{5,24})(?:-(?P<interval>\d{1,2}[mhd]))?(?:-\d{4}[-\d]*)?\.(?:csv|parquet|zip)"
)
_NAMED_PATH = re.compile(r"(?P<symbol>[A-Z0-9]{2,24})=(?P<path>.+)", re.DOTALL)


class DataError(Exception):
    """A file that cannot be used, in one line: which, where, and what to do about it."""


class Named(NamedTuple):
    """A file, and what its name says of the candles in it."""

    path: Path
    symbol: str | None
    interval: str | None


class Unreadable(NamedTuple):
    """A cell that is missing or not a number."""

    row: int
    column: str


@dataclass(frozen=True, slots=True)
class Cells:
    """What could be read: candles in the file's own order, the row of each, and the cells that could not.

    Rows with such a cell are not in the columns. Rows are counted from 1, the header of a CSV included.
    """

    columns: Columns
    rows: IntArray
    unreadable: tuple[Unreadable, ...]


def named(text: str) -> Named:
    """`SYMBOL=any/path` or a path whose name tells symbol and interval, as `BTCUSDT-15m-2024-01.zip` does."""
    given = _NAMED_PATH.fullmatch(text)
    path = Path(given["path"] if given else text)
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    stem = _FILE_NAME.fullmatch(path.name)
    symbol = given["symbol"] if given else stem["symbol"] if stem else None
    return Named(path, symbol, stem["interval"] if stem else None)


def sha256_of(path: Path) -> str:
    """Of the file's bytes."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DataError(f"{path}: larger than {FILE_BYTES_MAX} bytes; split it by year")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_cells(path: Path) -> Cells:
    """The candles of a file; times in ms. DataError when it is no such file or holds no rows."""
    readers: dict[str, Callable[[Path], tuple[Iterable[pl.Series], int]]] = {
        ".csv": _read_csv,
        ".zip": _read_zip,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: only .csv, .zip and .parquet are read; unpack or convert it first")
    columns, first_row = reader(path)
    cells = _cells(columns, first_row)
    if not cells.rows.size and not cells.unreadable:
        raise DataError(f"{path}: holds no candles")
    return cells


def _cells(given: Iterable[pl.Series], first_row: int) -> Cells:
    """From the columns in the order of `COLUMN_NAMES`; each is let go before the next one is asked for."""
    import polars as pl

    columns, empty = [], []
    for series, kind in zip(given, [pl.Int64] + [pl.Float64] * 5, strict=True):
        typed = series.cast(kind, strict=False)
        empty.append(np.flatnonzero(typed.is_null().to_numpy()))
        columns.append(np.array((typed.fill_null(0) if typed.null_count() else typed).to_numpy()))
        del series, typed
    whole = np.arange(columns[0].size)
    unreadable = tuple(
        Unreadable(row + first_row, name)
        for name, rows in zip(COLUMN_NAMES, empty, strict=True)
        for row in rows.tolist()
    )
    if unreadable:
        whole = np.delete(whole, np.unique(np.concatenate(empty)))
        columns = [column[whole] for column in columns]
    open_ms, *values = columns
    if open_ms.size and open_ms[0] >= MICROSECONDS_FROM:
        open_ms //= 1000
    return Cells(Columns(open_ms, *values), whole + first_row, unreadable)


def _read_csv(path: Path) -> tuple[Iterable[pl.Series], int]:
    with path.open("rb") as file:
        head = file.readline(4_096)
    return _parse_csv(path, head, path)


def unpacked(path: Path) -> bytes:
    """What is in an archive of the venue: one CSV, named as the archive is. DataError where it is no such archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.lower().endswith(".csv")]
            if len(members) != 1:
                raise DataError(f"{path}: holds {len(members)} CSV files instead of one; unpack it first")
            if members[0].file_size > FILE_BYTES_MAX:
                raise DataError(f"{path}: unpacks to more than {FILE_BYTES_MAX} bytes; split it by year")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: is not a whole zip archive ({_first_line(error)}); download it again") from None


def _read_zip(path: Path) -> tuple[Iterable[pl.Series], int]:
    text = unpacked(path)
    return _parse_csv(path, text[:4_096].split(b"\n")[0], text)


def _parse_csv(path: Path, head: bytes, source: Path | bytes) -> tuple[Iterable[pl.Series], int]:
    # Polars takes a third of a second to load; who never reads a file does not pay for it.
    import polars as pl

    header = _csv_header(path, head)
    places = _csv_places(path, header)
    try:
        cells = pl.read_csv(
            source, has_header=False, skip_rows=1 if header else 0, columns=sorted(places), infer_schema=False
        )
    except pl.exceptions.NoDataError:
        raise DataError(f"{path}: holds no candles; download it again") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: is not a CSV of candles ({_first_line(error)}); download it again") from None
    # Columns come in the order of the file, whatever their order in the header means to us.
    cells.columns = [COLUMN_NAMES[places.index(place)] for place in sorted(places)]
    return [cells[name] for name in COLUMN_NAMES], 2 if header else 1


def _csv_header(path: Path, head: bytes) -> list[str] | None:
    """The column names of the first line, or None where it is a candle already."""
    cells = [cell.strip().strip('"') for cell in head.decode("utf-8-sig", errors="replace").split(",")]
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


def _read_parquet(path: Path) -> tuple[Iterable[pl.Series], int]:
    import polars as pl

    with parquet_faults(path):
        names = pl.read_parquet_schema(path)
    missing = [name for name in COLUMN_NAMES if name not in names]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r}; wanted are {', '.join(COLUMN_NAMES)}")
    return _parquet_columns(path), 1


def _parquet_columns(path: Path) -> Iterator[pl.Series]:
    """One after the other: a file read at once takes four times the memory of its numbers."""
    import polars as pl

    for name in COLUMN_NAMES:
        with parquet_faults(path):
            series = pl.read_parquet(path, columns=[name], parallel="none")[name]
        yield series.dt.epoch("ms") if isinstance(series.dtype, pl.Datetime) else series
        del series


@contextmanager
def parquet_faults(path: Path) -> Iterator[None]:
    """DataError, within, for what is no Parquet file."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: is not a Parquet file ({_first_line(error)}); download it again") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
