"""The books of a journal as files: what was booked, once, with all its digits, and sums that agree."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from surefoot.cli import main
from surefoot.config import Settings, load
from surefoot.core.messages import BalanceMoved, CandleClosed, InstrumentsLoaded, SettingsChanged, VenueTraded
from surefoot.core.model import Candle, Side
from surefoot.core.portfolio import fill_postings
from surefoot.research.export import (
    Bookkeeping,
    Books,
    EquityRow,
    Format,
    Table,
    What,
    books_of,
    tables_of,
    tax_report,
    without_transfers,
    write_table,
)
from surefoot.research.tax_lots import Method, total
from surefoot.store.journal import JournalReader
from tests.core.desk import BTC, FEES, INTERVAL_MS, Desk, dec, fill
from tests.journals import OFTEN, kept, two_days

BNB = replace(BTC, symbol="BNBUSDT", base="BNB")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(None, OFTEN, {}).settings


@pytest.fixture(scope="module")
def traded(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The journal and the result of two simulated days: fees of purchases in the base, those of sales in the quote."""
    return two_days(tmp_path_factory.mktemp("traded"), settings)


@pytest.fixture(scope="module")
def books(traded: tuple[Path, dict[str, Any]], settings: Settings) -> Books:
    return books_of(traded[0], settings)


@pytest.fixture
def paid_in_bnb(tmp_path: Path) -> Path:
    """The journal of a round trip whose fees were paid in BNB, of which the account held one; its price is known."""
    desk = Desk()
    desk.begin()
    desk.tell(InstrumentsLoaded(desk.now_ms, (BTC, BNB), (("BTCUSDT", FEES), ("BNBUSDT", FEES))))
    price = dec("600")
    candle = Candle("BNBUSDT", "15m", desk.now_ms - INTERVAL_MS, desk.now_ms - 1, price, price, price, price, dec(10))
    desk.tell(CandleClosed(desk.now_ms, candle))
    desk.link("market")
    desk.link("account")
    desk.snapshot(USDT="1000", BNB="1")
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    for leg in (target, stop):
        desk.accept(leg.client_order_id, resting=False)
    desk.fill(entry.client_order_id, str(entry.quantity), "30000", "0.0002", "BNB")
    for leg in (target, stop):
        desk.accept(leg.client_order_id, quantity=str(entry.quantity))
    desk.now_ms += 60_000
    desk.fill(target.client_order_id, str(entry.quantity), "31000", "0.0003", "BNB")
    desk.cancel(stop.client_order_id)
    desk.now_ms += 60_000
    desk.tell(BalanceMoved(desk.now_ms, "USDT", dec("-100.5")))
    desk.tell(CandleClosed(desk.now_ms + INTERVAL_MS, replace(candle, open_ms=desk.now_ms)))
    return kept(tmp_path / "bnb.sqlite", desk.journal)


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.spec("SAFE-5", "PNL-4")
def test_a_trade_that_the_venue_told_without_its_number_has_none_in_any_table(tmp_path: Path) -> None:
    desk = Desk()
    desk.start()
    desk.hold()
    held = desk.engine.portfolio.positions["BTCUSDT"].quantity
    desk.now_ms += 60_000
    sold = fill("liquidation", 0, str(held), "29000", Side.SELL, at_ms=desk.now_ms)
    desk.tell(VenueTraded(desk.now_ms, sold, "liquidation", 77, held))
    settings = load(None, OFTEN, {}).settings
    books = books_of(kept(tmp_path / "j.sqlite", desk.journal), settings)
    assert [row.trade_id for row in books.fills] == [books.fills[0].trade_id, None]
    assert {row.trade_id for row in books.ledger_rows} >= {None}
    assert 0 not in {row.trade_id for row in books.ledger_rows}
    (disposal, *_) = [each for each in tax_report(books, Method.FIFO).disposals if each.kind == "sale"]
    assert (disposal.trade_id, disposal.bought_trade_id) == (None, books.fills[0].trade_id)


# -- what the tables hold ---------------------------------------------------------------------------------------------


@pytest.mark.spec("PNL-4")
def test_fills_and_round_trips_are_those_of_the_run(books: Books, traded: tuple[Path, dict[str, Any]]) -> None:
    result = traded[1]
    assert len(books.fills) == result["fills"] >= 10, "the test proves nothing without trades"
    assert len(books.all_round_trips) == len(result["round_trips"])
    for row, told in zip(books.all_round_trips, result["round_trips"], strict=True):
        assert (row.symbol, row.entry_ms, row.exit_ms, row.reason) == tuple(
            told[name] for name in ("symbol", "entry_ms", "exit_ms", "reason")
        )
        assert round(row.pnl, 8) == dec(told["pnl"])
    assert {row.fee_asset for row in books.fills if row.side == "BUY"} == {"BTC", "ETH"}
    assert {row.fee_asset for row in books.fills if row.side == "SELL"} == {"USDT"}
    fees = total(row.fee_in_quote for row in books.fills)
    assert float(fees) == pytest.approx(result["metrics"]["fees"])


@pytest.mark.spec("PNL-1", "PNL-4")
def test_postings_of_each_ledger_entry_sum_to_zero_and_all_of_them_to_the_wallet(books: Books) -> None:
    entries: defaultdict[tuple[int, str], Decimal] = defaultdict(Decimal)
    wallets: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in books.ledger_rows:
        entries[row.entry, row.asset] += row.amount
        if row.account == "wallet":
            wallets[row.asset] += row.amount
    assert not any(entries.values())
    assert dict(wallets) == books.wallets()
    by_fills = [row for row in books.ledger_rows if row.source == "fill"]
    expected = [posting for trade in books.trades for posting in fill_postings(trade.fill, trade.instrument)]
    assert [(row.account, row.asset, row.amount) for row in by_fills] == [
        (posting.account, posting.asset, posting.amount) for posting in expected
    ]


@pytest.mark.spec("PNL-4")
def test_equity_begins_with_the_balance_and_ends_where_the_run_ended(
    books: Books, traded: tuple[Path, dict[str, Any]]
) -> None:
    result, rows = traded[1], books.equity_rows
    assert [row.at_ms for row in rows] == sorted({row.at_ms for row in rows})
    assert (rows[0].after, rows[0].equity) == ("opening", dec(result["initial_equity"]))
    assert {row.after for row in rows} == {"opening", "candle", "fill", "mark"}
    peaks = [row.peak for row in rows if row.peak is not None]
    assert peaks
    assert peaks == sorted(peaks)
    assert all(row.equity <= row.peak for row in rows if row.after == "mark" and row.peak is not None)
    if not result["open_positions"]:
        assert float(rows[-1].equity) == pytest.approx(float(result["final_equity"]), rel=1e-6)


@pytest.mark.spec("PNL-4")
@pytest.mark.parametrize("method", Method)
def test_tax_lots_reconcile_with_the_ledger(books: Books, method: Method) -> None:
    report = tax_report(books, method)
    earned = total(row.amount for row in books.ledger_rows
                   if (row.source, row.account, row.asset) == ("fill", "wallet", "USDT"))  # fmt: skip
    remaining_cost = total(lot.cost for lot in report.lots)
    assert all(each.gain is not None for each in report.disposals)
    assert total(each.gain for each in report.disposals) - remaining_cost == earned
    for asset in ("BTC", "ETH"):
        assert total(lot.quantity for lot in report.lots if lot.asset == asset) == books.wallet(asset)
    if not books.positions:  # then dust is all that is left, and round trips count its cost as lost
        assert abs(total(trip.pnl for trip in books.all_round_trips) - earned) < dec("1e-15")


@pytest.mark.spec("PNL-4")
def test_fees_in_bnb_are_valued_at_its_close_and_belong_to_cost_and_proceeds(
    paid_in_bnb: Path, settings: Settings
) -> None:
    books = books_of(paid_in_bnb, settings)
    bought, sold = books.fills
    assert (bought.fee_in_quote, sold.fee_in_quote) == (dec("0.12"), dec("0.18"))  # 0.0002 and 0.0003 at 600
    report = tax_report(books, Method.FIFO)
    sale = next(each for each in report.disposals if each.kind == "sale")
    assert sale.cost == bought.quantity * 30_000 + dec("0.12")
    assert sale.proceeds == bought.quantity * 31_000 - dec("0.18")
    fees = [(each.quantity, each.proceeds, each.cost) for each in report.disposals if each.kind == "fee"]
    assert fees == [(dec("0.0002"), dec("0.12"), None), (dec("0.0003"), dec("0.18"), None)]
    assert books.wallet("BNB") == dec("0.9995")
    assert report.lots == ()


# Equity, what of it was transferred since the row before; then, worked out by hand, all that was transferred and the
# worth of trading alone: +10 %, a deposit, -10 %, a withdrawal, +10 %, all withdrawn, nothing, a deposit, +10 %.
CHAINED = [
    ("0", "0", "0", None),
    ("1000", "1000", "1000", "1000"),
    ("1100", "0", "1000", "1100"),
    ("2000", "900", "1900", "1100"),
    ("1800", "0", "1900", "990"),
    ("450", "-1350", "550", "990"),
    ("495", "0", "550", "1089"),
    ("0", "-495", "55", "1089"),
    ("0", "0", "55", "1089"),
    ("200", "200", "255", "1089"),
    ("220", "0", "255", "1197.9"),
    ("440", "198", "453", "1317.69"),  # 220 became 242, and 198 came
    ("-10", "0", "453", "-29.95"),  # 1317.69 × -10 / 440: what a liquidation left
    ("500", "510", "453", None),
]


@pytest.mark.spec("PNL-3")
def test_what_came_and_went_is_no_profit_and_no_loss() -> None:
    rows = [EquityRow(at, dec(equity), None, "mark", dec(moved)) for at, (equity, moved, _, _) in enumerate(CHAINED)]
    found = list(without_transfers(rows[:-1]))
    assert [row for row, _, _ in found] == rows[:-1]
    assert [total for _, total, _ in found] == [dec(total) for _, _, total, _ in CHAINED[:-1]]
    cents = [None if worth is None else worth.quantize(dec("0.01")) for _, _, worth in found]
    assert cents == [None if worth is None else dec(worth).quantize(dec("0.01")) for *_, worth in CHAINED[:-1]]
    lost = [worth for _, _, worth in without_transfers([*rows, EquityRow(99, dec(600), None, "mark")])][-2:]
    assert lost[0] == lost[1] is not None, "who lost everything does not win it back with other money"


@pytest.mark.spec("PNL-4")
def test_the_ledger_tells_openings_and_transfers_from_fills(paid_in_bnb: Path, settings: Settings) -> None:
    books = books_of(paid_in_bnb, settings)
    rows = books.ledger_rows
    (at,) = [at for at, row in enumerate(books.equity_rows) if row.transferred]
    before, moved, after = books.equity_rows[at - 1 : at + 2]
    assert (moved.after, moved.transferred) == ("transfer", dec("-100.5"))
    assert moved.equity == before.equity - dec("100.5") == after.equity
    told = [(row.source, row.account, row.asset, row.amount) for row in rows if row.source != "fill"]
    assert told == [
        ("opening", "wallet", "USDT", dec("1000")),
        ("opening", "opening", "USDT", dec("-1000")),
        ("opening", "wallet", "BNB", dec("1")),
        ("opening", "opening", "BNB", dec("-1")),
        ("transfer", "wallet", "USDT", dec("-100.5")),
        ("transfer", "transfer", "USDT", dec("100.5")),
    ]


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("PNL-4")
def test_a_journal_in_which_settings_changed_is_folded_with_those_that_were_in_force(
    paid_in_bnb: Path, settings: Settings, tmp_path: Path
) -> None:
    with JournalReader(paid_in_bnb) as reader:
        messages = [entry.message for entry in reader.read()]
    at_ms = messages[1].at_ms
    changes = [
        SettingsChanged(at_ms, "ann", "wider", {"breaker.drawdown_max_pct": "40"}),
        SettingsChanged(at_ms, "ann", "of another program", {"risk.no_such_thing": "1"}),
    ]
    changed = kept(tmp_path / "changed.sqlite", [messages[0], *changes, *messages[1:]])
    assert books_of(changed, settings).fills == books_of(paid_in_bnb, settings).fills
    bookkeeping = Bookkeeping(settings)
    with JournalReader(changed) as reader:
        for entry in reader.read(limit=2):
            bookkeeping.take(entry)
    limits = dict(bookkeeping.facts.breaker.settings.losses())
    assert limits["drawdown"].value_pct == 40


@pytest.mark.spec("PNL-4")
def test_csv_and_parquet_hold_the_same_digits(books: Books, tmp_path: Path) -> None:
    report = tax_report(books, Method.HIFO)
    tables = tables_of(books, What.ALL, report)
    assert [table.name for table in tables] == [
        "fills", "round-trips", "ledger", "equity", "tax-disposals", "tax-lots"
    ]  # fmt: skip
    for table in tables:
        rows = read_csv(write_table(table, tmp_path, Format.CSV))
        frame = pl.read_parquet(write_table(table, tmp_path, Format.PARQUET))
        assert not set(frame.dtypes) - {pl.Int64, pl.String, pl.Boolean}, "a float is not exact"
        as_text = [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in frame.to_dicts()]
        assert rows == as_text
        assert len(rows) == len(table.rows) > 0
    assert [dec(row["pnl"]) for row in read_csv(tmp_path / "round-trips.csv")] == [
        trip.pnl for trip in books.all_round_trips
    ]
    first = read_csv(tmp_path / "fills.csv")[0]
    assert first["at_utc"].endswith("+00:00")
    assert "E" not in first["fee"]


@pytest.mark.spec("PNL-4")
@pytest.mark.parametrize("format", Format)
def test_an_empty_table_still_has_its_columns(format: Format, tmp_path: Path) -> None:
    (table,) = tables_of(Books(), What.FILLS, None)
    assert not table.rows
    file = write_table(table, tmp_path, format)
    columns = pl.read_parquet(file).columns if format is Format.PARQUET else file.read_text().strip().split(",")
    assert columns[:4] == ["at_ms", "at_utc", "symbol", "side"]


def test_a_file_that_cannot_be_written_whole_leaves_the_older_one(books: Books, tmp_path: Path) -> None:
    (table,) = tables_of(books, What.FILLS, None)
    before = write_table(table, tmp_path, Format.CSV).read_text()
    broken = Table("fills", table.kind, [*table.rows, object()])
    with pytest.raises(TypeError):
        write_table(broken, tmp_path, Format.CSV)
    assert (tmp_path / "fills.csv").read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["fills.csv"]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("PNL-4")
def test_export_writes_what_was_asked_for_and_says_so(
    paid_in_bnb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["export", "--journal", str(paid_in_bnb), "--out", "made/books"]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {file["table"]: file["rows"] for file in answer["files"]} == {
        "fills": 2, "round-trips": 1, "ledger": 18, "equity": 4, "tax-disposals": 3, "tax-lots": 0
    }  # fmt: skip
    assert answer["tax_lots"]["method"] == "fifo"
    assert main([*words, "--what", "tax-lots", "--method", "lifo", "--format", "parquet"]) == 0
    said = capsys.readouterr().out
    assert "made/books/tax-disposals.parquet: 3 rows" in said
    assert "tax lots, lifo: realised gain" in said
    assert "2 disposals have no gain" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--what", "orders"), "--what orders: give fills, round-trips, ledger, equity, tax-lots or all"),
        (("--format", "xlsx"), "--format xlsx: give csv or parquet"),
        (("--what", "tax-lots", "--method", "average"), "--method average: give fifo, lifo or hifo"),
        (("--what", "fills", "--method", "lifo"), "--method lifo: it is about tax lots"),
        (("--journal", "none.sqlite"), "there is no journal here yet"),
    ],
)
def test_export_refuses_in_one_line_what_it_cannot_do(
    words: tuple[str, ...],
    said: str,
    paid_in_bnb: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--out", "books", "--journal", str(paid_in_bnb), *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "books").exists()


def test_export_says_when_its_folder_cannot_be_made(
    paid_in_bnb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert main(["export", "--out", str(tmp_path / "taken"), "--journal", str(paid_in_bnb)]) == 2
    assert "cannot be written" in capsys.readouterr().err
