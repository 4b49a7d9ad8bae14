"""The books of a journal as tables for a spreadsheet or a notebook: fills, round trips, ledger, equity, tax lots.

Rules. The journal is folded as a restart folds it, by the same facts and the same portfolio: a table shows what the bot
booked, once, and nothing that it ignored. Money and quantities are text in CSV and in Parquet, with all their digits;
no float is made of them. What is not known is an empty cell or null. Files are complete or not there.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from surefoot.assembly import engine_settings
from surefoot.changes import Changed
from surefoot.config import Settings
from surefoot.core.facts import Facts
from surefoot.core.messages import AdoptRequested, BalanceMoved, CandleClosed, IncomePaid, RecordEquity, RecordTransfer
from surefoot.core.model import ZERO, Balance, Fill, Instrument, RoundTrip
from surefoot.core.portfolio import Portfolio, Posting
from surefoot.research.tax_lots import Disposal, Lot, Method, Moved, TaxLots, Traded, plain_text, tax_lots
from surefoot.store.journal import Entry, JournalReader

# Columns that are moments; each gets a column beside it that a person can read.
MOMENTS = frozenset({"at_ms", "entry_ms", "exit_ms", "bought_ms", "sold_ms"})


class What(StrEnum):
    """Which table."""

    FILLS = "fills"
    ROUND_TRIPS = "round-trips"
    LEDGER = "ledger"
    EQUITY = "equity"
    TAX_LOTS = "tax-lots"
    ALL = "all"


class Format(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class FillRow:
    """One execution of ours. `fee_in_quote` is the fee's worth then; None where no price of its asset was known."""

    at_ms: int
    symbol: str
    side: str
    purpose: str
    price: Decimal
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    fee_asset: str
    fee_in_quote: Decimal | None
    role: str  # maker, taker
    client_order_id: str
    trade_id: int | None  # the venue tells none of some of its own trades


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One posting. Those with the same number of `entry` sum to zero in every asset."""

    entry: int
    at_ms: int
    source: str  # opening, transfer, fill
    symbol: str | None
    trade_id: int | None
    account: str
    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class EquityRow:
    """What the account was worth: as the bot saw it at the first price of an hour and at a new peak (`mark`), else at
    the newest prices that the journal knows. `peak` is what the breaker measures falls from, where it was recorded.
    `transferred` is what came without a trade since the row before, in quote; negative when it went."""

    at_ms: int
    equity: Decimal
    peak: Decimal | None
    after: str  # opening, candle, fill, transfer, mark
    transferred: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one dataclass, and the file that they go to, without its ending."""

    name: str
    kind: type[Any]
    rows: Sequence[Any]


class Books(Portfolio):
    """The portfolio that facts are folded into, which also writes down what it books. `now_ms` is the fold's time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.closes: dict[str, Decimal] = {}
        self.instruments: dict[str, Instrument] = {}
        self.fills: list[FillRow] = []
        self.ledger_rows: list[LedgerRow] = []
        self.equity_rows: list[EquityRow] = []
        self.all_round_trips: list[RoundTrip] = []
        self.trades: list[Traded] = []
        self.moves: list[Moved] = []
        self._entry = 0
        self._fill: Fill | None = None
        self._transferred = ZERO  # what no row of equity tells yet

    def apply(self, fill: Fill, instrument: Instrument, reason: str, *, closes: bool = False) -> None:
        self._fill = fill
        super().apply(fill, instrument, reason, closes=closes)
        self._fill = None
        trade = Traded(fill, instrument, self._fee_in_quote(fill, instrument))
        self.trades.append(trade)
        self.fills.append(_fill_row(trade, reason))

    def open(self, balances: Iterable[Balance]) -> None:
        held = list(balances)
        super().open(held)
        self.moves += [Moved(self.now_ms, balance.asset, balance.total) for balance in held]

    def transfer(self, asset: str, delta: Decimal) -> None:
        super().transfer(asset, delta)
        self.moves.append(Moved(self.now_ms, asset, delta))

    def close(self, symbol: str, unprotected_ms: int | None = None) -> RoundTrip:
        trip = super().close(symbol, unprotected_ms)
        self.all_round_trips.append(trip)
        return trip

    def _post(self, postings: Iterable[Posting]) -> None:
        sides, fill = tuple(postings), self._fill
        super()._post(sides)
        self._entry += 1
        source = "fill" if fill is not None else next(side.account for side in sides if side.account != "wallet")
        self.ledger_rows += [
            LedgerRow(
                entry=self._entry,
                at_ms=self.now_ms if fill is None else fill.at_ms,
                source=source,
                symbol=None if fill is None else fill.symbol,
                trade_id=None if fill is None else fill.told_id,
                account=side.account,
                asset=side.asset,
                amount=side.amount,
            )
            for side in sides
        ]

    def _fee_in_quote(self, fill: Fill, instrument: Instrument) -> Decimal | None:
        if fill.fee_asset == instrument.quote or not fill.fee:
            return fill.fee
        if fill.fee_asset == instrument.base:
            return fill.fee * fill.price
        for other in self.instruments.values():
            if (other.base, other.quote) == (fill.fee_asset, instrument.quote) and other.symbol in self.closes:
                return fill.fee * self.closes[other.symbol]
        return None

    def see_equity(self, equity: Decimal | None, after: str, peak: Decimal | None = None) -> None:
        """Several changes of one moment leave one row, the last."""
        if equity is None:
            return
        transferred, self._transferred = self._transferred, ZERO
        if self.equity_rows and self.equity_rows[-1].at_ms == self.now_ms:
            replaced = self.equity_rows.pop()
            peak = replaced.peak if peak is None else peak
            transferred += replaced.transferred
        self.equity_rows.append(EquityRow(self.now_ms, equity, peak, after, transferred))

    def see_transfer(self, value: Decimal, equity: Decimal | None) -> None:
        """What came or went without a trade was worth this much; where `equity` is not known, the next row tells it."""
        self._transferred += value
        self.see_equity(equity, "transfer")


def _fill_row(trade: Traded, purpose: str) -> FillRow:
    fill = trade.fill
    return FillRow(
        at_ms=fill.at_ms,
        symbol=fill.symbol,
        side=str(fill.side),
        purpose=purpose,
        price=fill.price,
        quantity=fill.quantity,
        notional=fill.price * fill.quantity,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        fee_in_quote=trade.fee_in_quote,
        role="maker" if fill.maker else "taker",
        client_order_id=fill.client_order_id,
        trade_id=fill.told_id,
    )


class Bookkeeping:
    """Facts that are folded line by line, and the books that they fill."""

    def __init__(self, settings: Settings) -> None:
        changed = Changed(settings)
        self.facts = Facts(engine_settings(settings), lambda event: engine_settings(changed.take(event)))
        self.books = Books()
        self.facts.portfolio = self.books
        # The facts' own: they grow as it is folded.
        self.books.closes, self.books.instruments = self.facts.closes, self.facts.instruments

    def take(self, entry: Entry) -> None:
        """The next line of the journal."""
        facts, books, message = self.facts, self.books, entry.message
        booked = len(books.fills), len(books.moves)
        books.now_ms = entry.at_ms
        facts.fold(message)
        if len(books.fills) > booked[0]:
            books.see_equity(facts.equity(), "fill")
        elif len(books.moves) > booked[1]:
            moved = isinstance(message, BalanceMoved | IncomePaid | AdoptRequested)
            books.see_equity(facts.equity(), "transfer" if moved else "opening")
        elif isinstance(message, RecordTransfer):
            books.see_transfer(message.value, facts.equity() if message.equity is None else message.equity)
        elif isinstance(message, RecordEquity):
            books.see_equity(message.equity, "mark", message.peak)
        elif isinstance(message, CandleClosed):
            books.see_equity(facts.equity(), "candle")


def books_of(path: Path, settings: Settings) -> Books:
    """Everything that the journal's account booked. Raises StoreError when it cannot be read."""
    kept = Bookkeeping(settings)
    with JournalReader(path) as reader:
        for entry in reader.read():
            kept.take(entry)
    return kept.books


def without_transfers(rows: Iterable[EquityRow]) -> Iterator[tuple[EquityRow, Decimal, Decimal | None]]:
    """Each row, oldest first, with what was transferred since the first one, and the worth of trading alone.

    Just before and just after a transfer count as the same worth, and returns are chained across it, as time-weighted
    return does: with equities E, each after its transfer T, worth_k = worth_(k-1) × (E_k − T_k) / E_(k-1). It begins as
    the first equity above zero, and is None before; where all was withdrawn, it stays until something is there again.
    """
    total, worth = ZERO, None
    factor: Decimal | None = Decimal(1)  # the worth of one unit of equity; None while nothing is left
    for count, row in enumerate(rows):
        total += row.transferred if count else ZERO
        if worth is None:
            worth = row.equity if row.equity > 0 else None
        elif row.transferred:
            worth = worth if factor is None else (row.equity - row.transferred) * factor
            factor = worth / row.equity if worth > 0 and row.equity > 0 else None
        elif factor is not None:
            worth = row.equity * factor
        yield row, total, worth


def tables_of(books: Books, what: What, report: TaxLots | None) -> list[Table]:
    """The tables that were asked for; tax lots are two of them."""
    known = {
        What.FILLS: [Table("fills", FillRow, books.fills)],
        What.ROUND_TRIPS: [Table("round-trips", RoundTrip, books.all_round_trips)],
        What.LEDGER: [Table("ledger", LedgerRow, books.ledger_rows)],
        What.EQUITY: [Table("equity", EquityRow, books.equity_rows)],
        What.TAX_LOTS: []
        if report is None
        else [Table("tax-disposals", Disposal, report.disposals), Table("tax-lots", Lot, report.lots)],
    }
    return [table for tables in known.values() for table in tables] if what is What.ALL else known[what]


def tax_report(books: Books, method: Method) -> TaxLots:
    """Purchases and disposals of everything that was booked."""
    return tax_lots(books.trades, books.moves, method)


def write_table(table: Table, folder: Path, format: Format) -> Path:
    """Write one table, in place of an older one of the same name. Raises OSError."""
    file = folder / f"{table.name}.{format}"
    part = file.with_name(f"{file.name}.part")
    try:
        (_write_csv if format is Format.CSV else _write_parquet)(part, table)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file


def _write_csv(file: Path, table: Table) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(name for name, _ in _columns(table.kind))
        writer.writerows(["" if cell is None else cell for cell in _cells(row)] for row in table.rows)


def _write_parquet(file: Path, table: Table) -> None:
    import polars as pl

    types = {int: pl.Int64, bool: pl.Boolean}
    schema = {name: types.get(kind, pl.String) for name, kind in _columns(table.kind)}
    pl.DataFrame([list(_cells(row)) for row in table.rows], schema=schema, orient="row").write_parquet(file)


def _columns(kind: type[Any]) -> list[tuple[str, type[Any]]]:
    """Names and types of a table's columns: whole numbers and truth are themselves, all else is text."""
    hints = get_type_hints(kind)
    columns: list[tuple[str, type[Any]]] = []
    for each in fields(kind):
        hint = hints[each.name]
        columns.append((each.name, next((plain for plain in (bool, int) if hint in (plain, plain | None)), str)))
        if each.name in MOMENTS:
            columns.append((each.name.removesuffix("_ms") + "_utc", str))
    return columns


def _cells(row: Any) -> Iterable[object]:
    for each in fields(row):
        value = getattr(row, each.name)
        yield value if value is None or isinstance(value, int) else _text(value)
        if each.name in MOMENTS:
            yield None if value is None else _moment(value)


def _text(value: object) -> str:
    return plain_text(value) if isinstance(value, Decimal) else str(value)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
