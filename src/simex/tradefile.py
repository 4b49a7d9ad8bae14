"""Trade files for replays: Binance's CSV of trades and aggregate trades, and recorded streams, become exact trades.

Rules: prices and quantities are Decimals of the text in the file; times never go back. A file is looked through once
before anything is played, so that what is wrong with it is said at the start, with file and line; playing reads it
again, and holds no more than a line in memory. CSV files may be packed (.zip with one file in it). A recording (.gz)
has lines of `<local time in ns> <message of a combined stream>`; its trades are played, its books are not.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from simex.tapefile import MAX_PRICE_DECIMALS, MICROSECONDS_FROM, TapeError, symbol_and_path
from simex.venue import InstrumentSpec, decimals_of, instrument_for

TRADES: Final = re.compile(r"trades", re.IGNORECASE)
_TIME_FROM: Final = 10**11  # more than any trade's id, less than any time
_NAMES: Final = {"price": "price", "qty": "quantity", "quantity": "quantity", "time": "time", "transact_time": "time"}


class Print(NamedTuple):
    """One trade of a file."""

    at_ms: int
    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class TradeFiles:
    """The files of each symbol in order of time, what is traded, and from when to when (UTC ms, both inclusive)."""

    paths: Mapping[str, Sequence[Path]]
    instruments: tuple[InstrumentSpec, ...]
    prices: Mapping[str, Sequence[Decimal]]  # of each symbol: the first, and the finest
    first_ms: int
    last_ms: int

    def trades(self, symbol: str) -> Iterator[Print]:
        """All trades of a symbol, oldest first."""
        for path in self.paths[symbol]:
            yield from read_trades(path)


def holds_trades(source: str) -> bool:
    """Whether a file given for a replay is one of trades: a recording, or a name like BTCUSDT-aggTrades-2024-08.csv."""
    path = _symbol_and_path(source)[1]
    return path.suffix == ".gz" or TRADES.search(path.name) is not None


def load_trades(sources: Iterable[str]) -> TradeFiles:
    """Look through trade files, each `PATH` or `SYMBOL=PATH`. Raises TapeError with one line naming file and line."""
    looks: dict[str, list[_Look]] = {}
    for source in sources:
        symbol, path = _symbol_and_path(source)
        looks.setdefault(symbol, []).append(_look(path))
    for symbol, files in looks.items():
        files.sort(key=lambda look: look.first_ms)
        for before, after in pairwise(files):
            if after.first_ms < before.last_ms:
                raise TapeError(f"{after.path}: it begins before {before.path} of {symbol} is over")
    prices = {symbol: [price for look in files for price in look.prices] for symbol, files in looks.items()}
    try:
        instruments = tuple(instrument_for(symbol, prices[symbol]) for symbol in looks)
    except ValueError as error:
        raise TapeError(str(error)) from None
    every = [look for files in looks.values() for look in files]
    return TradeFiles(
        paths={symbol: [look.path for look in files] for symbol, files in looks.items()},
        instruments=instruments,
        prices=prices,
        first_ms=min(look.first_ms for look in every),
        last_ms=max(look.last_ms for look in every),
    )


def _symbol_and_path(source: str) -> tuple[str, Path]:
    named, separator, _ = source.partition("=")
    if separator and named.isupper():
        return symbol_and_path(source)
    path = Path(source)
    found = re.match(r"[A-Za-z0-9]{5,20}(?=[-_.]|$)", path.name)  # recordings are named in lower case
    if found is None:
        raise TapeError(f"{path}: the name does not start with a symbol; say SYMBOL={path}")
    return found.group().upper(), path


@dataclass(frozen=True, slots=True)
class _Look:
    path: Path
    first_ms: int
    last_ms: int
    prices: tuple[Decimal, ...]


def _look(path: Path) -> _Look:
    first: Print | None = None
    last_ms, finest = 0, 0
    prices: list[Decimal] = []
    for trade in read_trades(path):
        first = first or trade
        last_ms = trade.at_ms
        decimals = decimals_of(trade.price.normalize())
        if not prices or decimals > finest:
            finest = decimals
            prices.append(trade.price)
    if first is None:
        raise TapeError(f"{path}: the file has no trades")
    return _Look(path, first.at_ms, last_ms, tuple(prices))


def read_trades(path: Path) -> Iterator[Print]:
    """The trades of one file, checked. Raises TapeError."""
    rows = _recorded(path) if path.suffix == ".gz" else _listed(path)
    before_ms = 0
    for number, time, price, quantity in rows:
        trade = _print(path, number, time, price, quantity)
        if trade.at_ms < before_ms:
            raise TapeError(f"{path} line {number}: time {trade.at_ms} comes after {before_ms}; sort the file by time")
        before_ms = trade.at_ms
        yield trade


def _print(path: Path, number: int, time: str, price_text: str, quantity_text: str) -> Print:
    try:
        at, price, quantity = int(time), Decimal(price_text), Decimal(quantity_text)
    except (ValueError, InvalidOperation):
        told = f"{time}, {price_text}, {quantity_text}"
        raise TapeError(f"{path} line {number}: {told} are not a time, a price and a quantity") from None
    if not price.is_finite() or price <= 0 or decimals_of(price.normalize()) > MAX_PRICE_DECIMALS:
        raise TapeError(f"{path} line {number}: {price} is not a price of at most {MAX_PRICE_DECIMALS} decimals")
    if not quantity.is_finite() or quantity <= 0:
        raise TapeError(f"{path} line {number}: {quantity} is not a quantity")
    return Print(at // 1_000 if at >= MICROSECONDS_FROM else at, price, quantity)


Row = tuple[int, str, str, str]  # line, time, price, quantity


def _recorded(path: Path) -> Iterator[Row]:
    before = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if "rade" not in line:
                    continue
                event = json.loads(line.partition(" ")[2])
                event = event.get("data", event)
                # Futures also tell of prints that are no trades of the book.
                if event.get("e") not in ("trade", "aggTrade") or event.get("X", "MARKET") != "MARKET":
                    continue
                # A recording has events in the order in which they came.
                before = max(before, int(event["T"]))
                yield number, str(before), event["p"], event["q"]
    except (OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, TapeError):
            raise
        raise TapeError(f"{path}: not a recording of streams ({error!r})") from None


def _listed(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        places: tuple[int, int, int] | None = None
        for number, fields in enumerate(csv.reader(file), 1):
            if not fields:
                continue
            if number == 1 and not fields[0].strip().isdigit():
                places = _named_places(path, fields)
                continue
            if places is None:
                places = _found_places(path, fields)
            if len(fields) <= max(places):
                raise TapeError(f"{path} line {number}: {len(fields)} columns are too few")
            yield number, fields[places[0]], fields[places[1]], fields[places[2]]


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix != ".zip":
            with path.open(encoding="utf-8", newline="") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise TapeError(f"{path}: {len(names)} files are in it; one is expected")
            with archive.open(names[0]) as packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as file:
                yield file
    except (OSError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile) as error:
        raise TapeError(f"{path}: cannot be read ({error})") from None


def _named_places(path: Path, names: Sequence[str]) -> tuple[int, int, int]:
    places = {_NAMES[name.strip()]: at for at, name in enumerate(names) if name.strip() in _NAMES}
    if set(places) != {"time", "price", "quantity"}:
        raise TapeError(f"{path}: columns price, qty (or quantity) and time (or transact_time) are needed")
    return places["time"], places["price"], places["quantity"]


def _found_places(path: Path, fields: Sequence[str]) -> tuple[int, int, int]:
    """Without a header: id, price, quantity, quote, time; or id, price, quantity, first id, last id, time."""
    for at in (4, 5):
        if len(fields) > at and fields[at].isdigit() and int(fields[at]) >= _TIME_FROM:
            return at, 1, 2
    raise TapeError(f"{path}: neither the columns of trades nor those of aggregate trades")
