"""Funding rates as they were settled, from files: what a backtest on futures books in place of one rate for all times.

Read are Binance's archives (`BTCUSDT-fundingRate-2024-01.zip` or the CSV in it: calc_time, funding_interval_hours,
last_funding_rate), and CSV or Parquet with funding_time and funding_rate; times are UTC ms. A settlement that the files
do not have is missing: it is not booked, unless the constant rate is asked for in its place, and it is counted.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from math import gcd
from pathlib import Path

from surefoot.core.model import MS_PER_HOUR, MS_PER_MINUTE, ZERO
from surefoot.research.candlefile import DataError, named, parquet_faults, sha256_of, unpacked

USUAL_HOURS = 8
_TIMES, _RATES = ("calc_time", "funding_time", "fundingtime"), ("last_funding_rate", "funding_rate", "fundingrate")
_HOURS = "funding_interval_hours"
_SYMBOL = re.compile(r"([A-Z0-9]{5,24})[-_.]")


@dataclass(frozen=True, slots=True)
class Rate:
    """One settlement: what longs paid shorts, as a share; `hours` is how far apart settlements were, where told."""

    at_ms: int
    rate: Decimal
    hours: int | None


@dataclass(slots=True)
class Rates:
    """What files tell of a symbol, oldest first; a file is its name and sha256."""

    files: list[tuple[str, str]] = field(default_factory=list)
    rows: list[Rate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settlements:
    """A period's settlements of a symbol: the rate at each full `hours`, zero where nothing is booked.

    `files` are those that told them, as name and sha256; `constant` is what was taken for a missing one, if anything.
    """

    rates: tuple[tuple[int, Decimal], ...]
    hours: int
    known: int
    missing_ms: tuple[int, ...]
    files: tuple[tuple[str, str], ...]
    constant: Decimal | None


@dataclass(frozen=True, slots=True)
class Funding:
    """Rates by symbol; a settlement that they lack is booked at the constant rate, or not at all."""

    rates: Mapping[str, Rates]
    is_constant_for_missing: bool = False


def load_funding(files: Sequence[str], gaps: str = "skip") -> Funding:
    """One or more files a symbol. DataError for what cannot be read, or where two files disagree."""
    found: dict[str, dict[int, Rate]] = {}
    sources: dict[str, list[tuple[str, str]]] = {}
    for text in files:
        given = named(text)
        told = _SYMBOL.match(given.path.name)
        symbol = given.symbol or (told[1] if told else None)
        if symbol is None:
            raise DataError(f"{given.path}: its name does not tell the symbol; give it as SYMBOL=FILE")
        sources.setdefault(symbol, []).append((given.path.name, sha256_of(given.path)))
        known = found.setdefault(symbol, {})
        for row in _rows(given.path):
            if known.setdefault(row.at_ms, row).rate != row.rate:
                raise DataError(f"{given.path}: another rate of {row.at_ms} than a file before it has")
    rates = {
        symbol: Rates(sources[symbol], [known[at_ms] for at_ms in sorted(known)]) for symbol, known in found.items()
    }
    return Funding(rates, gaps == "constant")


def settlements(known: Rates | None, from_ms: int, until_ms: int, constant: Decimal | None) -> Settlements:
    """Those after `from_ms` up to `until_ms`; a missing one has the constant rate, and none where that is None."""
    rows, files = ([], []) if known is None else (known.rows, known.files)
    missing = [at_ms for at_ms in _missing(rows, from_ms, until_ms) if from_ms < at_ms <= until_ms]
    booked = {row.at_ms: row.rate for row in rows if from_ms < row.at_ms <= until_ms}
    hours = gcd(24, *(at_ms // MS_PER_HOUR for at_ms in (*booked, *missing)))
    step_ms = hours * MS_PER_HOUR
    instead = dict.fromkeys(missing, ZERO if constant is None else constant)
    times = range((from_ms // step_ms + 1) * step_ms, until_ms + 1, step_ms)
    rates = tuple((at_ms, booked.get(at_ms, instead.get(at_ms, ZERO))) for at_ms in times)
    return Settlements(rates, hours, len(booked), tuple(missing), tuple(files), constant)


def _missing(rows: Sequence[Rate], from_ms: int, until_ms: int) -> Iterator[int]:
    """Times between, before and after the rows at which something should have been settled."""
    if not rows:
        step_ms = USUAL_HOURS * MS_PER_HOUR
        yield from range((from_ms // step_ms + 1) * step_ms, until_ms + 1, step_ms)
        return
    steps_ms = _steps_ms(rows)
    yield from reversed(range(rows[0].at_ms - steps_ms[0], from_ms, -steps_ms[0]))
    for (before, step_ms), (after, next_ms) in pairwise(zip(rows, steps_ms, strict=True)):
        # Where the interval changes, the longer of the two may have been in force in between.
        yield from range(before.at_ms + max(step_ms, next_ms), after.at_ms, max(step_ms, next_ms))
    yield from range(rows[-1].at_ms + steps_ms[-1], until_ms + 1, steps_ms[-1])


def _steps_ms(rows: Sequence[Rate]) -> list[int]:
    """How far apart settlements were at each row; where it is not told, as near as they ever came."""
    apart_ms = [after.at_ms - before.at_ms for before, after in pairwise(rows)]
    nearest_ms = min(apart_ms, default=USUAL_HOURS * MS_PER_HOUR)
    return [nearest_ms if row.hours is None else row.hours * MS_PER_HOUR for row in rows]


# ---------------------------------------------------------------------------------------------------------------
# Files


def _rows(path: Path) -> list[Rate]:
    """In the file's own order."""
    match path.suffix.lower():
        case ".csv":
            return _read_csv(path, path.read_text(encoding="utf-8-sig", errors="replace"))
        case ".zip":
            return _read_csv(path, unpacked(path).decode("utf-8-sig", errors="replace"))
        case ".parquet":
            return list(_read_parquet(path))
        case _:
            raise DataError(f"{path}: only .csv, .zip and .parquet are read; unpack or convert it first")


def _read_csv(path: Path, text: str) -> list[Rate]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        raise DataError(f"{path}: is empty; download it again")
    has_header = not rows[0][0].lstrip("-").isdigit()
    names = [name.strip().lower() for name in rows[0]] if has_header else _usual_names(path, len(rows[0]))
    time, rate = _place(path, names, _TIMES), _place(path, names, _RATES)
    hours = names.index(_HOURS) if _HOURS in names else None
    first = 1 if has_header else 0
    try:
        return [
            _rate(path, int(row[time]), row[rate], None if hours is None else int(row[hours])) for row in rows[first:]
        ]
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: is not a table of funding rates ({error})") from None


def _usual_names(path: Path, columns: int) -> list[str]:
    if columns not in (2, 3):
        raise DataError(f"{path}: has {columns} columns and no header; wanted are {_TIMES[1]} and {_RATES[1]}")
    return [_TIMES[0], _HOURS, _RATES[0]] if columns == 3 else [_TIMES[1], _RATES[1]]


def _place(path: Path, names: Sequence[str], wanted: Iterable[str]) -> int:
    for name in wanted:
        if name in names:
            return names.index(name)
    raise DataError(f"{path}: has none of the columns {', '.join(wanted)}")


def _read_parquet(path: Path) -> Iterator[Rate]:
    import polars as pl

    with parquet_faults(path):
        table = pl.read_parquet(path)
    time, rate = _place(path, table.columns, _TIMES), _place(path, table.columns, _RATES)
    for row in table.iter_rows():
        yield _rate(path, row[time], repr(row[rate]) if isinstance(row[rate], float) else str(row[rate]), None)


def _rate(path: Path, told_ms: int, text: str, hours: int | None) -> Rate:
    """The venue settles at full hours and notes it some milliseconds later."""
    at_ms = told_ms // MS_PER_MINUTE * MS_PER_MINUTE
    try:
        rate = Decimal(text)
    except InvalidOperation:
        raise DataError(f"{path}: {text!r} is no rate") from None
    if not rate.is_finite() or abs(rate) >= 1:
        raise DataError(f"{path}: {text} is no rate: it is a share, such as 0.0001")
    if at_ms % MS_PER_HOUR or (hours is not None and (hours < 1 or 24 % hours)):
        raise DataError(f"{path}: nothing is settled at {told_ms} every {hours or USUAL_HOURS} hours; times are UTC ms")
    return Rate(at_ms, rate, hours)
