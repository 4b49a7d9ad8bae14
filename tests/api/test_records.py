"""Read models of a journal: the same rows as the books have, page by page, kept up to date, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from surefoot.api import records as module
from surefoot.api.performance import performance_of
from surefoot.api.reading import told_curve
from surefoot.api.records import Records, Wanted, journal_page, order_ids
from surefoot.config import Settings, load
from surefoot.core.messages import BalanceMoved, RecordDecision, RecordTransfer, SubmitList, SubmitOrder
from surefoot.research.export import EquityRow, books_of
from surefoot.store.journal import Entry, Journal, JournalReader, StoreError
from tests.core.desk import Desk
from tests.journals import OFTEN, kept, two_days
from tests.store.samples import alarm, closed, decided, entry_list, filled, started

ALL = Wanted(limit=500)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(None, OFTEN, {}).settings


@pytest.fixture(scope="module")
def traded(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return two_days(tmp_path_factory.mktemp("records"), settings)


def read(path: Path, settings: Settings, hear: Callable[[Entry], None] | None = None) -> Records:
    """All that there is."""
    records = Records(path, settings, hear)
    with JournalReader(path) as reader:
        for entry in reader.read():
            records.take(entry)
    return records


@pytest.fixture(scope="module")
def records(traded: tuple[Path, dict[str, Any]], settings: Settings) -> Records:
    return read(traded[0], settings)


@pytest.mark.spec("API-1")
def test_fills_round_trips_and_equity_are_those_of_the_books(
    records: Records, traded: tuple[Path, dict[str, Any]], settings: Settings
) -> None:
    books = books_of(traded[0], settings)
    fills, trips = records.fill_page(ALL)[0], records.round_trip_page(ALL)[0]
    assert len(fills) == len(books.fills) >= 10, "the test proves nothing without trades"
    assert [(each.trade_id, each.price, each.fee_in_quote) for each in reversed(fills)] == [
        (row.trade_id, row.price, row.fee_in_quote) for row in books.fills
    ]
    assert [(each.exit_ms, each.pnl) for each in reversed(trips)] == [
        (trip.exit_ms, trip.pnl) for trip in books.all_round_trips
    ]
    assert list(records.equity_rows) == books.equity_rows


@pytest.mark.spec("API-1")
def test_pages_bring_every_row_once_newest_first(records: Records) -> None:
    whole = records.fill_page(ALL)[0]
    seqs, before = [], None
    for _ in range(len(whole)):
        page, following = records.fill_page(Wanted(before=before, limit=3))
        seqs += [fill.seq for fill in page]
        if following is None:
            break
        before = following
    assert seqs == [fill.seq for fill in whole] == sorted(seqs, reverse=True)


@pytest.mark.spec("API-1")
def test_rows_are_chosen_by_symbol_and_by_time(records: Records) -> None:
    fills = records.fill_page(ALL)[0]
    middle = fills[len(fills) // 2]
    chosen = records.fill_page(Wanted(symbol=middle.symbol, since_ms=middle.at_ms, limit=500))[0]
    assert chosen == [fill for fill in fills if fill.symbol == middle.symbol and fill.at_ms >= middle.at_ms]
    assert 0 < len(chosen) < len(fills)
    assert records.fill_page(Wanted(until_ms=fills[-1].at_ms - 1))[0] == []


@pytest.mark.spec("SIG-8")
def test_every_decision_is_there_with_what_the_rules_saw_and_which_gate_refused(
    records: Records, traded: tuple[Path, dict[str, Any]]
) -> None:
    with JournalReader(traded[0]) as reader:
        written = {entry.seq: entry.message for entry in reader.read(kinds=[RecordDecision])}
    outcomes = {decision.outcome for decision in written.values() if isinstance(decision, RecordDecision)}
    assert {"approved", "none"} < outcomes, "the test needs refusals too"
    refused, _ = records.decision_page(ALL, "refused")
    assert refused
    assert {each.outcome for each in refused} == outcomes - {"approved", "none"}
    rule = refused[0].outcome
    assert {each.outcome for each in records.decision_page(ALL, rule)[0]} == {rule}
    newest = records.decision_page(Wanted(limit=1), None)[0][0]
    assert newest.seq == max(written)
    assert newest.signal.values
    assert {each.signal.symbol for each in records.signals()} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.spec("API-1")
def test_the_life_line_of_an_order_is_every_record_about_it(
    records: Records, traded: tuple[Path, dict[str, Any]]
) -> None:
    with JournalReader(traded[0]) as reader:
        entries = list(reader.read())
    sent = [each for each in entries if isinstance(each.message, SubmitOrder | SubmitList)]
    assert sent
    for submission in sent:
        for client_order_id in order_ids(submission.message):
            found = records.order(client_order_id)
            assert found is not None
            order, life = found
            assert order.seq == life[0].seq == submission.seq
            assert [each.seq for each in life] == [
                entry.seq for entry in entries if client_order_id in order_ids(entry.message)
            ]
    finished = records.order_page(ALL, is_open=False)[0]
    assert {order.state for order in finished} <= {"FILLED", "CANCELED", "EXPIRED", "REJECTED", "LOST"}
    assert records.order("sf-nobody-1e") is None


@pytest.mark.spec("PNL-3")
def test_metrics_are_those_of_the_one_implementation(records: Records, traded: tuple[Path, dict[str, Any]]) -> None:
    figures, told = records.metrics(), traded[1]["metrics"]
    assert figures.round_trips == told["round_trips"] > 0
    assert figures.win_rate_pct == told["win_rate_pct"]
    assert figures.profit_factor == pytest.approx(told["profit_factor"])


@pytest.mark.spec("API-1")
def test_what_a_position_cost_is_what_its_own_fills_cost(
    traded: tuple[Path, dict[str, Any]], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, spent, begun, seen = Records(traded[0], settings), dict[str, Decimal](), dict[str, int](), 0
    with JournalReader(traded[0]) as reader:
        for entry in reader.read():
            fills, trips = len(records.fills), len(records.round_trips)
            records.take(entry)
            for line in list(records.fills)[fills:]:
                begun.setdefault(line.symbol, line.at_ms)
                spent[line.symbol] = spent.get(line.symbol, Decimal(0)) + line.row.fee_in_quote
            for line in list(records.round_trips)[trips:]:
                del spent[line.symbol], begun[line.symbol]
            for symbol in settings.market.symbols:
                expected = (begun[symbol], spent[symbol]) if symbol in spent else (None, None)
                assert records.cost_of(symbol) == expected
            seen = max(seen, len(spent))
            if spent:
                held = next(iter(spent))
                with monkeypatch.context() as patch:  # where earlier fills may have been forgotten, nobody knows
                    patch.setattr(records.fills, "from_ms", 1)
                    only_its_own = all(line.at_ms >= begun[held] for line in records.fills)
                    assert (records.cost_of(held)[1] is None) == only_its_own
    assert seen, "the test proves nothing without a position"
    records.close()


@pytest.mark.spec("API-1")
def test_a_long_curve_is_thinned_to_the_last_of_each_span(records: Records) -> None:
    whole = records.equity(None, None, 5_000)
    thin = records.equity(None, None, 20)
    assert len(whole) > 100
    assert 10 < len(thin) <= 20
    assert thin[-1] == whole[-1]
    assert set(thin) <= set(whole)
    assert [point.at_ms for point in thin] == sorted(point.at_ms for point in thin)


@pytest.mark.spec("API-1", "PERF-5")
def test_a_curve_is_told_again_as_it_was_until_it_has_a_new_row(
    settings: Settings, traded: tuple[Path, dict[str, Any]]
) -> None:
    records, rows, made = Records(traded[0], settings), list[EquityRow | None](), 0

    def curve() -> list[EquityRow]:
        nonlocal made
        made += 1
        return []

    with JournalReader(traded[0]) as reader:
        for entry in reader.read():
            records.take(entry)
            last = next(iter(deque(records.equity_rows, maxlen=1)), None)
            if not rows or rows[-1] != last:
                rows.append(last)
            told_curve(records, 200, make=curve, from_ms=None)
    records.close()
    assert 100 < made == len(rows) < records.seq / 2


@pytest.mark.spec("API-1", "PNL-3")
def test_a_transfer_stays_in_equity_and_is_none_of_what_trading_made(settings: Settings, tmp_path: Path) -> None:
    path, _ = two_days(tmp_path, settings)
    before = read(path, settings)
    last = before.equity(None, None, 5_000)[-1]
    at_ms, equity = last.at_ms + 60_000, last.equity
    with Journal.open(path) as journal:
        journal.append(started(at_ms=at_ms, run="next"))
        for number, moved in enumerate((Decimal(10_000), Decimal(-15_000))):
            journal.append(BalanceMoved(at_ms + number, "USDT", moved))
            journal.append(RecordTransfer(at_ms + number, moved, equity := equity + moved))
    after = read(path, settings)
    points = after.equity(None, None, 5_000)[-2:]
    assert [(each.equity - last.equity, each.transferred, each.after) for each in points] == [
        (Decimal(10_000), Decimal(10_000), "transfer"),
        (Decimal(-5_000), Decimal(-5_000), "transfer"),
    ]
    assert {each.without_transfers for each in (*points, last)} == {last.equity}
    assert (after.metrics().return_pct, after.metrics().max_drawdown_pct) == (
        before.metrics().return_pct,
        before.metrics().max_drawdown_pct,
    )
    assert after.equity(at_ms, None, 10)[0].transferred == 10_000, "counted from the first point that is kept"
    before.close()
    after.close()


@pytest.mark.spec("PERF-6")
def test_only_the_newest_rows_are_kept(
    traded: tuple[Path, dict[str, Any]], settings: Settings, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROWS_KEPT", "ORDERS_KEPT", "EQUITY_KEPT"):
        monkeypatch.setattr(module, name, 4)
    few = read(traded[0], settings)
    assert few.fill_page(ALL)[0] == records.fill_page(ALL)[0][:4]
    assert len(few.order_page(ALL, is_open=None)[0]) == 4
    assert len(list(few.equity_rows)) == 5  # the last one may still change
    assert few.decision_page(ALL, None)[0] == records.decision_page(ALL, None)[0][:4]


@pytest.mark.spec("API-1", "PERF-6")
def test_a_list_says_since_when_it_is_whole_and_figures_are_of_one_time(
    traded: tuple[Path, dict[str, Any]], settings: Settings, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert records.fills.from_ms is records.curve.from_ms is records.orders_from_ms is records.figures_from_ms is None
    assert performance_of(records)["truncated"] is False
    monkeypatch.setattr(module, "ROWS_KEPT", 6)
    monkeypatch.setattr(module, "EQUITY_KEPT", 40)
    few = read(traded[0], settings)
    assert few.fills.from_ms == records.fill_page(ALL)[0][6].at_ms + 1
    assert few.curve.from_ms == list(records.equity_rows)[-42].at_ms + 1
    since_ms = few.figures_from_ms
    assert since_ms == max(few.fills.from_ms, few.curve.from_ms, few.round_trips.from_ms or 0)
    assert since_ms > min(few.fills.from_ms, few.curve.from_ms, few.round_trips.from_ms or since_ms), "of several times"
    figures = performance_of(few)
    trips = [trip for trip in records.round_trip_page(ALL)[0] if trip.exit_ms >= since_ms]
    fills = [fill for fill in records.fill_page(ALL)[0] if fill.at_ms >= since_ms]
    rows = [row for row in records.equity_rows if row.at_ms >= since_ms]
    assert figures["truncated"] is True
    assert (figures["from_ms"], figures["round_trips"]) == (rows[0].at_ms, len(trips))
    assert figures["fees"] == sum((fill.fee_in_quote or Decimal(0) for fill in fills), Decimal(0))
    assert figures["return_pct"] == pytest.approx(float(100 * (rows[-1].equity / rows[0].equity - 1)))


@pytest.mark.spec("API-1", "PERF-6")
def test_an_open_order_is_never_dropped(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ORDERS_KEPT", 1)
    desk = Desk()
    desk.start()
    for _ in range(2):
        entry, target, stop = desk.hold()
        desk.now_ms += 60_000
        desk.fill(target.client_order_id, str(entry.quantity), "31000")
        desk.cancel(stop.client_order_id)
        desk.true_snapshot()
    entry, target, stop = desk.hold()
    few = read(kept(tmp_path / "journal.sqlite", desk.journal), settings)
    open_ids = {order.client_order_id for order in few.order_page(ALL, is_open=True)[0]}
    assert open_ids == {target.client_order_id, stop.client_order_id}
    assert {order.client_order_id for order in few.order_page(ALL, is_open=None)[0]} == {
        *open_ids,
        entry.client_order_id,
    }
    assert few.orders_from_ms == desk.now_ms - 60_000 + 1, "those of the second round trip are gone, too"
    few.close()


@pytest.mark.spec("API-1")
async def test_what_is_written_later_is_heard_and_the_past_is_not(tmp_path: Path, settings: Settings) -> None:
    heard: list[int] = []
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        journal.append(started(), closed(), decided())
        journal.flush()
        records = Records(tmp_path / "journal.sqlite", settings, lambda entry: heard.append(entry.seq))
        follow = asyncio.create_task(records.follow())
        while not records.caught_up:
            await asyncio.sleep(0.01)
        past = records.seq
        journal.append(alarm("later"))
        journal.flush()
        while records.seq == past:
            await asyncio.sleep(0.01)
        follow.cancel()
    assert past == 3
    assert heard == [past + 1]
    assert records.alarm_page(Wanted(limit=1))[0][0].text == "later"


async def test_a_record_that_makes_no_sense_is_named(tmp_path: Path, settings: Settings) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        journal.append(started(), entry_list(), filled())  # of a symbol that was never loaded
    with pytest.raises(StoreError, match=r"record 3 of .* cannot be folded: KeyError"):
        await Records(tmp_path / "journal.sqlite", settings).follow()


@pytest.mark.spec("API-1")
def test_the_journal_itself_is_read_by_kind_and_number(traded: tuple[Path, dict[str, Any]]) -> None:
    first = journal_page(traded[0], [RecordDecision], None, 3)
    assert [item.kind for item in first] == ["RecordDecision"] * 3
    following = journal_page(traded[0], [RecordDecision], None, 1, since_seq=first[1].seq)
    assert following == first[2:]


def test_without_a_journal_there_are_no_records(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(StoreError, match="no journal here"):
        Records(tmp_path / "none.sqlite", settings)
