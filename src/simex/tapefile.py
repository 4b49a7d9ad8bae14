"""Candle files for replays: Parquet and Binance's CSV become exact candles, or one clear refusal.

Rules: prices are Decimals of the text in the file (floats: their shortest text); rows are in order, without
duplicates, possible, and on one grid of times; what is missing is refused unless the exchange itself stood still or
the caller keeps gaps. Every refusal names file and row (CSV: the line; Parquet: the row, counted from one).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Literal

from simex.venue import Candle, InstrumentSpec, decimals_of, instrument_for

Gaps = Literal["refuse", "keep"]
Row = tuple[int, str, str, str, str, str, str]  # row number, open time, open, high, low, close, volume

COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
MINUTE_MS = 60_000
INTERVALS_MS: Mapping[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1_440 * MINUTE_MS,
}

# When Binance's spot market stood still: [from, to) in UTC ms. 2023-03-24 12:30 to 14:00.
KNOWN_HALTS: tuple[tuple[int, int], ...] = ((1_679_661_000_000, 1_679_666_400_000),)

# A time above this counts microseconds: as milliseconds it would lie beyond the year 5000.
MICROSECONDS_FROM = 100_000_000_000_000
MAX_PRICE_DECIMALS = 8


class TapeError(ValueError):
    """A candle file that cannot be replayed; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Tape:
    """What a replay plays: candles by symbol in the order the files were given, and each symbol's rules."""

    candles: Mapping[str, Sequence[Candle]]
    instruments: tuple[InstrumentSpec, ...]


def load_tape(sources: Iterable[str], *, gaps: Gaps = "refuse") -> Tape:
    """Read candle files, each `PATH` (named after its symbol) or `SYMBOL=PATH`; files of one symbol are joined.

    Raises TapeError with one line naming file and row.
    """
    parts: dict[str, list[tuple[Path, list[Candle]]]] = {}
    for source in sources:
        symbol, path = symbol_and_path(source)
        parts.setdefault(symbol, []).append((path, read_candles(path, gaps=gaps)))
    candles = {symbol: _joined(files, gaps) for symbol, files in parts.items()}
    return Tape(candles, tuple(_instrument(symbol, series) for symbol, series in candles.items()))


def symbol_and_path(source: str) -> tuple[str, Path]:
    """Split `SYMBOL=PATH`, or take the symbol from a name such as BTCUSDT.parquet or BTCUSDT-15m-2024-01.csv."""
    named, separator, rest = source.partition("=")
    if separator and re.fullmatch(r"[A-Z0-9]{5,20}", named):
        return named, Path(rest)
    path = Path(source)
    found = re.match(r"[A-Z0-9]{5,20}(?=[-_.]|$)", path.name)
    if found is None:
        raise TapeError(f"{path}: the name does not start with a symbol; say SYMBOL={path}")
    return found.group(), path


def read_candles(path: Path, *, gaps: Gaps = "refuse") -> list[Candle]:
    """The candles of one file, checked; raises TapeError."""
    rows = list(_rows(path))
    if not rows:
        raise TapeError(f"{path}: the file has no candles")
    opens_ms = [_open_ms(path, row) for row in rows]
    interval_ms = _interval_ms(path, rows, opens_ms)
    candles = [_candle(path, row, at_ms, interval_ms) for row, at_ms in zip(rows, opens_ms, strict=True)]
    for (before, candle), row in zip(pairwise(candles), rows[1:], strict=True):
        _check_gap(path, row[0], before, candle, gaps)
    return candles


# -- files to rows ---------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise TapeError(f"{path}: no such file")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".csv":
        return _csv_rows(path)
    raise TapeError(f"{path}: candle files end in .parquet or .csv")


def _parquet_rows(path: Path) -> Iterator[Row]:
    # Imported here: polars costs a second and only replays of Parquet files need it.
    import polars

    try:
        table = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise TapeError(f"{path}: not a readable Parquet file ({_first_line(error)})") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise TapeError(f"{path}: column {missing[0]} is missing; needed are {', '.join(COLUMNS)}")
    if isinstance(table.schema["open_time"], polars.Datetime):
        table = table.with_columns(polars.col("open_time").dt.epoch("ms"))
    for number, row in enumerate(table.select(COLUMNS).iter_rows(), start=1):
        time, price_open, high, low, close, volume = map(_text, row)
        yield number, time, price_open, high, low, close, volume


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            places: Sequence[int] = range(len(COLUMNS))
            for number, fields in enumerate(csv.reader(file), start=1):
                if number == 1 and fields and not fields[0].strip().isdigit():
                    places = _places(path, fields)
                    continue
                if fields:
                    yield _csv_row(path, number, fields, places)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TapeError(f"{path}: not a readable CSV file ({_first_line(error)})") from None


def _places(path: Path, header: Sequence[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise TapeError(f"{path} row 1: column {missing[0]} is missing; needed are {', '.join(COLUMNS)}")
    return [names.index(name) for name in COLUMNS]


def _csv_row(path: Path, number: int, fields: Sequence[str], places: Sequence[int]) -> Row:
    if len(fields) <= max(places):
        raise TapeError(f"{path} row {number}: {len(fields)} fields, at least {max(places) + 1} are needed")
    time, price_open, high, low, close, volume = (fields[place].strip() for place in places)
    return number, time, price_open, high, low, close, volume


def _text(value: object) -> str:
    # repr of a float is its shortest exact text, so 0.1 stays 0.1.
    return repr(value) if isinstance(value, float) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# -- rows to candles -------------------------------------------------------------------------------------------------


def _open_ms(path: Path, row: Row) -> int:
    try:
        time = int(row[1])
    except ValueError:
        raise TapeError(f"{path} row {row[0]}: open_time {row[1]!r} is not a whole number") from None
    if time < MICROSECONDS_FROM:
        return time
    if time % 1_000:
        raise TapeError(f"{path} row {row[0]}: open_time {time} µs is not a whole millisecond")
    return time // 1_000


def _interval_ms(path: Path, rows: Sequence[Row], opens_ms: Sequence[int]) -> int:
    """The step of the times: the smallest one, which must be an interval of the exchange and divide all times."""
    for (before_ms, at_ms), row in zip(pairwise(opens_ms), rows[1:], strict=True):
        if at_ms == before_ms:
            raise TapeError(f"{path} row {row[0]}: open_time {at_ms} is there twice")
        if at_ms < before_ms:
            raise TapeError(f"{path} row {row[0]}: open_time {at_ms} comes after {before_ms}; sort the file by time")
    named = re.search(r"-(\d+[mhd])(?=[-_.])", path.name)
    named_ms = INTERVALS_MS.get(named.group(1)) if named else None
    if len(opens_ms) == 1 and named_ms is None:
        raise TapeError(f"{path}: one candle does not tell its interval; name the file like BTCUSDT-15m.csv")
    step_ms = min((after - before for before, after in pairwise(opens_ms)), default=named_ms or 0)
    if named_ms is not None and step_ms != named_ms:
        raise TapeError(f"{path}: the name says {named_ms} ms a candle, the times say {step_ms} ms")
    if step_ms not in INTERVALS_MS.values():
        raise TapeError(f"{path}: candles {step_ms} ms apart; known intervals are {', '.join(INTERVALS_MS)}")
    for at_ms, row in zip(opens_ms, rows, strict=True):
        if at_ms % step_ms:
            raise TapeError(f"{path} row {row[0]}: open_time {at_ms} is not on the grid of {step_ms} ms")
    return step_ms


def _candle(path: Path, row: Row, open_ms: int, interval_ms: int) -> Candle:
    number = row[0]
    try:
        first, high, low, close, volume = (Decimal(text) for text in row[2:])
    except InvalidOperation:
        raise TapeError(f"{path} row {number}: {', '.join(row[2:])} are not all numbers") from None
    for name, price in (("open", first), ("high", high), ("low", low), ("close", close)):
        if not price.is_finite() or price <= 0:
            raise TapeError(f"{path} row {number}: {name} {price} is not a positive price")
        if decimals_of(price) > MAX_PRICE_DECIMALS:
            raise TapeError(f"{path} row {number}: {name} {price} has more than {MAX_PRICE_DECIMALS} decimals")
    if not volume.is_finite() or volume < 0:
        raise TapeError(f"{path} row {number}: volume {volume} is not a quantity")
    if high < low:
        raise TapeError(f"{path} row {number}: high {high} is below low {low}")
    if not low <= first <= high or not low <= close <= high:
        raise TapeError(f"{path} row {number}: open {first} or close {close} is outside low {low} to high {high}")
    return Candle(open_ms, interval_ms, first, high, low, close, _rounded(volume))


def _rounded(volume: Decimal) -> Decimal:
    """Float files carry noise beyond the exchange's eight decimals in sums of volume; it is cut off."""
    return volume if decimals_of(volume) <= 8 else volume.quantize(Decimal("0.00000001"))


def _check_gap(path: Path, number: int, before: Candle, candle: Candle, gaps: Gaps) -> None:
    missing_from_ms, missing_to_ms = before.end_ms, candle.open_ms
    if missing_from_ms == missing_to_ms or gaps == "keep" or _is_halt(missing_from_ms, missing_to_ms):
        return
    count = (missing_to_ms - missing_from_ms) // candle.interval_ms
    raise TapeError(
        f"{path} row {number}: {count} candles are missing before open_time {candle.open_ms}; "
        "complete the file or allow it with --gaps keep"
    )


def _is_halt(from_ms: int, to_ms: int) -> bool:
    return any(halt_from <= from_ms and to_ms <= halt_to for halt_from, halt_to in KNOWN_HALTS)


# -- files of one symbol ---------------------------------------------------------------------------------------------


def _joined(files: list[tuple[Path, list[Candle]]], gaps: Gaps) -> list[Candle]:
    files.sort(key=lambda file: file[1][0].open_ms)
    for (before_path, before), (path, after) in pairwise(files):
        if before[0].interval_ms != after[0].interval_ms:
            raise TapeError(f"{path}: its interval differs from that of {before_path}")
        if after[0].open_ms <= before[-1].open_ms:
            raise TapeError(f"{path} row 1: open_time {after[0].open_ms} is already in {before_path}")
        _check_gap(path, 1, before[-1], after[0], gaps)
    return [candle for _, candles in files for candle in candles]


def _instrument(symbol: str, candles: Sequence[Candle]) -> InstrumentSpec:
    prices = [price for c in candles for price in (c.open, c.high, c.low, c.close)]
    try:
        return instrument_for(symbol, prices)
    except ValueError as error:
        raise TapeError(f"{symbol}: {error}") from None
