"""What the web process knows of the bot, over a real socket and a real journal: while the trader runs, and after it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest

import surefoot.api.desk as desk_module
from surefoot.api.candles import candles_of
from surefoot.api.desk import Desk
from surefoot.api.roles import Role
from surefoot.api.topics import StreamAge, connection_of
from surefoot.chronicle import view_from_journal
from surefoot.config import Settings
from surefoot.control import socket_path
from surefoot.core.view import View
from tests.api.desks import FIRST_RUN, SECOND_RUN, begun, paper, told, trading, until
from tests.api.served import code_of, place
from tests.store.samples import closed
from tests.test_telemetry import traffic
from tests.views import NOON_MS, rich_view


@pytest.mark.spec("API-1")
async def test_without_trader_and_journal_nothing_is_made_up(tmp_path: Path) -> None:
    async with Desk(paper(tmp_path)) as desk:
        await asyncio.sleep(0.05)
        status = told(desk, "status")
        assert (status["running"], status["entries_off"]) == (False, "the trader is not running")
        assert {status[name] for name in ("at_ms", "run", "journal", "equity", "open_profit", "books")} == {None}
        assert told(desk, "breaker") is told(desk, "positions") is told(desk, "orders") is None
        assert "no journal yet" in status["problem"]
        assert desk.records is None


@pytest.mark.spec("SAFE-5", "SAFE-2")
async def test_what_is_held_is_not_known_while_the_journal_is_read_or_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path)
    read = Event()

    def slowly(path: Path, settings: Settings) -> View:
        read.wait(5)
        return view_from_journal(path, settings)

    monkeypatch.setattr(desk_module, "view_from_journal", slowly)
    async with place(tmp_path) as here:
        viewer, desk = await here.signed_in(Role.VIEWER), here.parts.desk
        await until(lambda: desk.is_ready)
        assert told(desk, "positions") is None
        assert told(desk, "status")["problem"] == "the journal is being read"
        refused = await viewer.get("/positions")
        assert (refused.status_code, code_of(refused)) == (503, "not_known")
        assert [(await viewer.get(f"/{path}")).json()["positions"] for path in ("portfolio", "risk")] == [None, None]
        read.set()
        await until(lambda: told(desk, "positions") == [])
        assert told(desk, "status")["problem"] is None
        assert (await viewer.get("/positions")).json()["items"] == []

        (tmp_path / SECOND_RUN).write_text("not a journal")
        await until(lambda: told(desk, "positions") is None)
        await until(lambda: "cannot be opened" in str(told(desk, "status")["problem"]))
        assert code_of(await viewer.get("/positions")) == "not_known"
        assert code_of(await viewer.get("/fills")) == "no_journal"  # not those of the run before


@pytest.mark.spec("API-1")
async def test_the_running_traders_picture_is_told_with_every_digit(tmp_path: Path) -> None:
    async with trading(begun(tmp_path)), Desk(paper(tmp_path)) as desk:
        await until(lambda: desk.running and desk.is_ready)
        status, (position, _) = told(desk, "status"), told(desk, "positions")
        assert (status["running"], status["equity"], status["at_ms"]) == (True, "10012.34000000", NOON_MS)
        assert status["balances"] == [
            {"asset": "BTC", "amount": "0.02979"},
            {"asset": "USDT", "amount": "8001.10"},
        ]
        assert status["open_profit"] == "26.4430"
        assert position["stop_price"] == "65660.09"
        prices = {price["symbol"]: price["age_ms"] for price in told(desk, "connection")["prices"]}
        assert prices == {"BTCUSDT": 400, "ETHUSDT": 400, "BNBUSDT": 400, "SOLUSDT": 61_000}


@pytest.mark.spec("SAFE-5")
async def test_a_profit_that_is_not_known_is_not_counted_as_zero(tmp_path: Path) -> None:
    view = rich_view()
    without = replace(view, positions=(replace(view.positions[0], mark=None, profit=None), view.positions[1]))
    async with trading(begun(tmp_path), lambda: without), Desk(paper(tmp_path)) as desk:
        await until(lambda: desk.running)
        assert told(desk, "status")["open_profit"] is None


@pytest.mark.spec("OPS-3")
async def test_when_the_trader_goes_what_its_journal_left_is_told_and_it_is_found_again(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    async with Desk(paper(tmp_path)) as desk:
        async with trading(journal):
            await until(lambda: desk.running)
        await until(lambda: not desk.running)
        status = told(desk, "status")
        assert (status["running"], status["entries_off"]) == (False, "the trader is not running")
        assert told(desk, "connection")["links"] == []
        await until(lambda: told(desk, "status")["run"] == "k3f9")  # the journal's run, not the picture's
        async with trading(journal):
            await until(lambda: desk.running)
            assert told(desk, "status")["run"] == "a1b2"


@pytest.mark.spec("OPS-3")
async def test_a_trader_of_another_version_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path)
    monkeypatch.chdir(journal.parent)  # the address of a socket has a bound, and folders of tests have long names

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"at_ms": "noon"}\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, socket_path(journal).name)
    async with server, Desk(paper(tmp_path)) as desk:
        await until(lambda: desk.problem is not None and "another version" in desk.problem)
        assert not desk.running


@pytest.mark.spec("API-1")
async def test_the_newest_paper_run_is_followed(tmp_path: Path) -> None:
    begun(tmp_path)
    async with Desk(paper(tmp_path)) as desk:
        await until(lambda: desk.is_ready and desk.journal_name == FIRST_RUN)
        begun(tmp_path, SECOND_RUN)
        await until(lambda: desk.journal_name == SECOND_RUN and desk.is_ready)
        assert told(desk, "status")["journal"] == SECOND_RUN


async def test_a_file_that_is_no_journal_is_a_problem_and_no_end(tmp_path: Path) -> None:
    (tmp_path / FIRST_RUN).write_text("not a journal")
    async with Desk(paper(tmp_path)) as desk:
        await until(lambda: desk.problem is not None)
        assert "cannot be opened" in str(desk.problem)
        begun(tmp_path, SECOND_RUN)
        await until(lambda: desk.is_ready and desk.problem is None)


@pytest.mark.spec("API-1")
async def test_candles_are_the_traders_while_it_runs_and_the_journals_afterwards(tmp_path: Path) -> None:
    candle = closed().candle
    held = (replace(candle, open_ms=candle.open_ms - 900_000, close=Decimal(1)), candle)
    journal = begun(tmp_path)
    async with Desk(paper(tmp_path)) as desk:
        async with trading(journal, charts=lambda symbol, _, limit: held[-limit:] if symbol == "BTCUSDT" else None):
            await until(lambda: desk.running and desk.is_ready)
            assert [each.close for each in await candles_of(desk, "BTCUSDT", "15m", 9)] == [Decimal(1), candle.close]
            assert await candles_of(desk, "XRPUSDT", "15m", 9) == []
        await until(lambda: not desk.running)
        assert [each.open_ms for each in await candles_of(desk, "BTCUSDT", "15m", 9)] == [candle.open_ms]


@pytest.mark.spec("UI-1")
def test_the_connection_tells_how_long_each_stream_has_been_silent() -> None:
    view = replace(rich_view(), traffic=traffic(4))
    told = connection_of(view, None, 5_000, running=True)
    assert told.streams == (StreamAge("btcusdt@kline_15m", 904),)
    assert (
        connection_of(view, None, 5_000, running=False).streams
        == connection_of(rich_view(), None, 5_000, running=True).streams
        == ()
    )
