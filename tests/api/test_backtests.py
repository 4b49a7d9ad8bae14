"""Backtests over HTTP: started, watched, done with a result and a report, canceled; and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simex.market import GeneratedMarket
from surefoot.api import jobs as module
from surefoot.api.roles import Role
from tests.api.desks import until
from tests.api.served import Place, Visitor, code_of, place
from tests.journals import START_MS

FILE = {"files": ["BTCUSDT-1m.csv"], "band": False}


def write_candles(folder: Path, days: int) -> None:
    folder.mkdir()
    market = GeneratedMarket(15, ["BTCUSDT"], START_MS, history_days=days)
    candles = market.history["BTCUSDT"]
    rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.end_ms - 1},0,0,0,0,0" for c in candles)
    (folder / "BTCUSDT-1m.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    write_candles(tmp_path / "data", 2)
    (tmp_path / "data" / "notes.txt").write_text("no candles")
    (tmp_path / "secret.csv").write_text("1,2,3")
    async with place(tmp_path, web__data_folder=str(tmp_path / "data"), rsi__oversold="45") as served:
        yield served


@pytest.fixture
async def trader(here: Place) -> Visitor:
    return await here.signed_in(Role.TRADER)


async def ended(trader: Visitor, job_id: str) -> dict[str, Any]:
    """The backtest once it neither waits nor runs."""
    while True:
        told: dict[str, Any] = (await trader.get(f"/backtests/{job_id}")).json()
        if told["job"]["state"] not in ("waiting", "running"):
            return told
        await asyncio.sleep(0.1)


@pytest.mark.spec("API-1")
async def test_a_backtest_runs_beside_and_leaves_a_result_and_a_report(here: Place, trader: Visitor) -> None:
    assert [each["name"] for each in (await trader.get("/backtests/files")).json()["items"]] == ["BTCUSDT-1m.csv"]
    wanted = FILE | {"engine": "exact", "settings": {"exits.stop_pct_of_price": "0.5"}}
    answer = await trader.post("/backtests", json=wanted, headers={"Idempotency-Key": "one"})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (await trader.post("/backtests", json=wanted, headers={"Idempotency-Key": "one"})).json() == job
    told = await ended(trader, job["id"])
    assert told["job"]["state"] == "done", told["job"]["problem"]
    assert told["job"]["by"] == "trader"
    assert told["result"]["settings"]["exits"]["stop_pct_of_price"] == "0.5"
    assert told["result"]["settings"]["rsi"]["oversold"] == 45.0  # of the settings in force
    assert told["job"]["summary"]["round_trips"] == len(told["result"]["round_trips"])
    page = await trader.get(f"/backtests/{job['id']}/report")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert "BTCUSDT" in page.text
    assert [each["id"] for each in (await trader.get("/backtests")).json()["items"]] == [job["id"]]
    assert (await trader.delete(f"/backtests/{job['id']}")).status_code == 204
    assert code_of(await trader.get(f"/backtests/{job['id']}")) == "backtest_unknown"
    assert list((here.parts.settings.store.journal_path.parent / "backtests").iterdir()) == []
    actions = [row.action for row in here.parts.trail.rows(None, 10)]
    assert {"backtest started", "backtest removed"} <= set(actions)


@pytest.mark.spec("API-1")
async def test_one_runs_at_a_time_and_a_running_one_can_be_canceled(trader: Visitor) -> None:
    jobs = [(await trader.post("/backtests", json=FILE | {"engine": "exact"})).json()["id"] for _ in range(2)]
    while (states := await _states(trader))[jobs[0]] != "running":
        await asyncio.sleep(0.05)
    assert states[jobs[1]] == "waiting"
    await trader.delete(f"/backtests/{jobs[0]}")
    while (states := await _states(trader))[jobs[1]] == "waiting":
        await asyncio.sleep(0.05)
    assert set(states) == {jobs[1]}
    await trader.delete(f"/backtests/{jobs[1]}")
    assert await _states(trader) == {}


async def _states(trader: Visitor) -> dict[str, str]:
    return {each["id"]: each["state"] for each in (await trader.get("/backtests")).json()["items"]}


@pytest.mark.spec("API-1")
async def test_one_that_fails_says_why(here: Place, trader: Visitor) -> None:
    (Path(here.parts.settings.web.data_folder) / "ETHUSDT-1m.csv").write_text("not a candle\n")
    job = (await trader.post("/backtests", json={"files": ["ETHUSDT-1m.csv"]})).json()
    told = await ended(trader, job["id"])
    assert told["job"]["state"] == "failed"
    assert "ETHUSDT-1m.csv" in told["job"]["problem"]
    assert told["result"] is None
    assert code_of(await trader.get(f"/backtests/{job['id']}/report")) == "not_done"


@pytest.mark.spec("API-1")
async def test_the_queue_goes_on_after_what_could_not_be_written_or_read(
    here: Place, trader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_wait = asyncio.Event()

    async def nothing_left(words: object, out: int, errors: int) -> asyncio.subprocess.Process:
        """As on a full disk: the command ends well, and its result is not there."""
        await both_wait.wait()
        if here.parts.jobs._running == one:
            here.parts.store.row("PRAGMA query_only = ON")
        return await asyncio.create_subprocess_exec("true", stdout=out, stderr=errors)

    monkeypatch.setattr(module, "started", nothing_left)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    one, two = [(await trader.post("/backtests", json=FILE)).json()["id"] for _ in range(2)]
    both_wait.set()
    await until(lambda: here.parts.jobs.problem)
    assert (await trader.get("/health")).json()["problem"].startswith("backtests wait: ")
    assert await _states(trader) == {one: "running", two: "waiting"}
    here.parts.store.row("PRAGMA query_only = OFF")
    for job_id in (one, two):
        assert (await ended(trader, job_id))["job"]["problem"].startswith("it could not be run: ")
    await until(lambda: here.parts.jobs.problem is None)
    assert (await trader.get("/health")).json()["problem"] is None


@pytest.mark.spec("AUTH-3")
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"files": ["../secret.csv"]}, 422, "invalid_request"),
        ({"files": ["x/../../secret.csv"]}, 404, "file_unknown"),
        ({"files": ["notes.txt"]}, 404, "file_unknown"),
        ({"files": ["none.csv"]}, 404, "file_unknown"),
        ({"settings": {"strategy.name": "mine.py"}}, 409, "setting_refused"),
        ({"settings": {"ensemble.members": "rsi, mine.py"}}, 409, "setting_refused"),
        ({"settings": {"store.journal_path": "elsewhere.sqlite"}}, 409, "setting_refused"),
        ({"settings": {"mode": "live"}}, 409, "setting_refused"),
        ({"settings": {"rsi.period": "1"}}, 409, "setting_refused"),
        ({"settings": {"nonsense.at_all": "1"}}, 409, "setting_refused"),
        ({"engine": "magic"}, 422, "invalid_request"),
    ],
)
async def test_what_must_not_be_run_is_refused(trader: Visitor, change: dict[str, Any], status: int, code: str) -> None:
    answer = await trader.post("/backtests", json=FILE | change)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert (await trader.get("/backtests")).json()["items"] == []


@pytest.mark.spec("API-1")
async def test_the_queue_has_an_end(trader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 1)
    answers = [await trader.post("/backtests", json=FILE) for _ in range(3)]
    assert code_of(answers[-1]) == "too_many_backtests"
    assert answers[-1].status_code == 429
    for job_id in await _states(trader):
        await trader.delete(f"/backtests/{job_id}")


@pytest.mark.spec("AUTH-1")
async def test_a_viewer_looks_and_starts_nothing(here: Place) -> None:
    viewer = await here.signed_in(Role.VIEWER)
    assert (await viewer.get("/backtests")).status_code == 200
    assert code_of(await viewer.post("/backtests", json=FILE)) == "role_too_low"


@pytest.mark.spec("API-1")
async def test_strategies_are_told_with_their_parameters_and_rules(trader: Visitor) -> None:
    answer = await trader.get("/strategies", timeout=60)
    assert answer.status_code == 200, answer.text
    known = {each["name"]: each for each in answer.json()["items"]}
    assert {"rsi", "macd", "bollinger", "volume", "stochastic"} <= set(known)
    assert {"name": "period", "default": 14} | known["rsi"]["parameters"][0] == known["rsi"]["parameters"][0]
    assert known["rsi"]["rules"]
