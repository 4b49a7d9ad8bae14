"""What the guardian leaves for the trader, and what the trader makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.assembly import InForce, build_session
from surefoot.binance.dialogue import Keys, Wake
from surefoot.core.messages import PauseRequested, RunStarted, VenueTraded
from surefoot.core.model import Fill, Side
from surefoot.deeds import WHY, Deeds, add_deed, deeds_path
from surefoot.live import Trader, WallClock
from surefoot.store.journal import Journal
from surefoot.store.records import decode
from tests.stage import Stage, instrument, stage_settings


def deed(trade_id: int) -> VenueTraded:
    fill = Fill("sfg-BTCUSDT-1-1", "BTCUSDT", trade_id, Side.SELL, Decimal("70000.10"), Decimal("0.0300"),
                Decimal("2.1"), "USDT", False, 7)  # fmt: skip
    return VenueTraded(8, fill, WHY, 12, Decimal("0.0300"))


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_deeds_are_read_as_they_were_written_and_only_their_owner_may(tmp_path: Path) -> None:
    path = deeds_path(tmp_path / "j.sqlite")
    deeds = Deeds(path)
    assert deeds.read() == []
    add_deed(path, deed(1))
    assert deeds.read() == [deed(1)]
    add_deed(path, deed(2))
    assert deeds.read() == [deed(1), deed(2)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_a_line_that_a_crash_cut_short_hides_no_other(tmp_path: Path) -> None:
    path = deeds_path(tmp_path / "j.sqlite")
    add_deed(path, deed(1))
    path.write_bytes(path.read_bytes() + b'{"at_ms":8,"fil\n')
    add_deed(path, deed(2))
    assert Deeds(path).read() == [deed(1), deed(2)]


@contextmanager
def restarted(folder: Path) -> Iterator[Trader]:
    """A trader that finds a position in its journal: 0.0665334 BTC, behind target and stop."""
    settings = stage_settings(["BTCUSDT"], store__journal_path=str(folder / "j.sqlite"))
    stage = Stage(settings, instruments=[instrument("BTCUSDT")])
    stage.price("BTCUSDT", Decimal(30_000))
    stage.start()
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.next_candle("BTCUSDT")
    stage.wait(5_000)
    with Journal.open(settings.store.journal_path) as journal:
        session = build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
        trader = Trader(InForce(settings), session, journal, WallClock())
        for kind, body in stage.journal:
            trader.engine.fold(decode(kind, body))
        trader._react(RunStarted(stage.now_ms, "again", settings.mode, settings.market.symbols, "digest", "0"))
        assert trader.engine.portfolio.positions["BTCUSDT"].quantity == Decimal("0.0665334")
        yield trader


def told_of(trader: Trader) -> list[object]:
    """What the trader journaled of the guardian."""
    trader.journal.flush()
    entries = trader.journal.read(kinds=(VenueTraded, PauseRequested))
    return [type(entry.message) for entry in entries]


def sold(trader: Trader, trade_id: int, quantity: str, after_ms: int = 1_000) -> VenueTraded:
    """A sale so long after the position was opened."""
    at_ms = trader.engine.portfolio.positions["BTCUSDT"].opened_ms + after_ms
    fill = replace(deed(trade_id).fill, quantity=Decimal(quantity), at_ms=at_ms, price=Decimal(30_000))
    return replace(deed(trade_id), fill=fill, order_id=trade_id, executed=Decimal(quantity))


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_the_trader_books_each_deed_once_and_pauses_until_a_person_resumes(tmp_path: Path) -> None:
    with restarted(tmp_path) as trader:
        path = deeds_path(tmp_path / "j.sqlite")
        trader._take(Wake())
        assert told_of(trader) == []
        add_deed(path, sold(trader, 1, "0.02"))
        add_deed(path, sold(trader, 2, "0.01"))
        trader._take(Wake())
        trader._take(Wake())
        assert told_of(trader) == [VenueTraded, VenueTraded, PauseRequested]
        assert trader.engine.portfolio.positions["BTCUSDT"].quantity == Decimal("0.0365334")
        assert trader.engine.paused is not None
        assert trader.engine.paused.endswith("SELL 0.02 BTCUSDT, SELL 0.01 BTCUSDT")
        add_deed(path, sold(trader, 3, "0.03653"))
        trader._take(Wake())
        assert told_of(trader)[3:] == [VenueTraded, PauseRequested]


@pytest.mark.spec("OPS-2", "SAFE-4")
def test_a_deed_about_an_earlier_position_is_not_booked_on_a_later_one(tmp_path: Path) -> None:
    with restarted(tmp_path) as trader:
        add_deed(deeds_path(tmp_path / "j.sqlite"), sold(trader, 1, "0.02", after_ms=-1))
        trader._take(Wake())
        assert told_of(trader) == []
        assert trader.engine.paused is None
