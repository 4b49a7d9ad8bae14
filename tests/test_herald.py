"""A trader that is watched from outside: what its journal, its pictures and its silence make people hear."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot import herald
from surefoot.alerts import Alert, Level
from surefoot.config import Settings, load
from surefoot.core.messages import RecordAlarm, RunStarted
from surefoot.herald import Herald
from surefoot.notify import alerts_path, recent_alerts
from surefoot.store.journal import Journal
from surefoot.supervise import Job, Run, StartError
from tests.receivers import web_hooks
from tests.views import empty_view, position

STARTED = RunStarted(5, "a1", "paper", ("BTCUSDT",), "d", "0.1")


class Heard:
    name, level_min = "Ear (1)", Level.INFO

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def send(self, alert: Alert) -> str | None:
        self.alerts.append(alert)
        return None

    @property
    def kinds(self) -> list[str]:
        return [alert.kind for alert in self.alerts]


def settings(**flags: str) -> Settings:
    return load(None, {key.replace("__", "."): value for key, value in flags.items()}, {}).settings


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(50):
        while not happened():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald, "READ_EVERY_S", 0.01)


@pytest.mark.spec("NOTE-1")
async def test_records_are_told_as_they_are_written_and_old_ones_are_not(tmp_path: Path) -> None:
    path, ear = tmp_path / "j.sqlite", Heard()
    with Journal.open(path) as journal:
        journal.append(STARTED, RecordAlarm(6, "unprotected", "long ago"))
        journal.flush()
        one = Herald(settings(), path, [ear])
        running = asyncio.create_task(one.run())
        journal.append(replace(STARTED, run="a2"))
        journal.flush()
        await until(lambda: ear.kinds == ["start"])
        journal.append(RecordAlarm(8, "books-differ", "BTC: 1 and 2"))
        journal.flush()
        await until(lambda: ear.kinds == ["start", "books-differ"])
        await one.close()
        running.cancel()
    assert [each["kind"] for each in recent_alerts(alerts_path(path))] == ["books-differ", "start"]


@pytest.mark.spec("NOTE-1")
async def test_a_journal_that_comes_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, ear = tmp_path / "j.sqlite", Heard()
    one = Herald(settings(), path, [ear])
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0.05)
    with Journal.open(path) as journal:
        journal.append(STARTED)
        journal.flush()
        await until(lambda: ear.kinds == ["start"])
    running.cancel()


@pytest.mark.spec("NOTE-1")
async def test_pictures_are_looked_at_and_silence_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald, "SILENT_S", 0.2)
    ear = Heard()
    one = Herald(settings(), tmp_path / "j.sqlite", [ear])
    running = asyncio.create_task(one.run())
    one.see(replace(empty_view(), positions=(position(unprotected_ms=5_000),)))
    await until(lambda: len(ear.kinds) == 2)
    await asyncio.sleep(0.3)
    assert ear.kinds == ["unprotected", "trader-silent"]
    one.see(empty_view())
    one.gone()
    await asyncio.sleep(0.3)
    assert ear.kinds == ["unprotected", "trader-silent", "protected"]
    running.cancel()


@pytest.mark.spec("NOTE-1")
async def test_a_journal_of_something_else_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herald, "UNREAD_S", 0.05)
    path, ear = tmp_path / "j.sqlite", Heard()
    path.write_text("no journal at all, but long enough to be looked at " * 40)
    one = Herald(settings(), path, [ear])
    running = asyncio.create_task(one.run())
    await until(lambda: ear.kinds == ["journal-unread"])
    await asyncio.sleep(0.05)
    assert ear.kinds == ["journal-unread"]
    running.cancel()


class Lines:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, view: object) -> None:
        pass


@pytest.mark.spec("NOTE-1", "OPS-3")
async def test_a_run_tells_of_its_start_a_crash_and_its_end(tmp_path: Path) -> None:
    """With real processes; the trader is killed once. No web process is there."""
    path = tmp_path / "j.sqlite"
    with web_hooks() as hooks:
        env = {"SUREFOOT_ALERT_URLS": f"json://127.0.0.1:{hooks.port}/hook nonsense://x"}
        flags = {"store.journal_path": str(path), "paper.speed": "600"}
        given = load(None, flags, env).settings
        sets = tuple(word for key, value in flags.items() for word in ("--set", f"{key}={value}"))
        lines = Lines()
        run = Run(Job(given, sets, True, {**os.environ, **env}, web=False), lines)
        running = asyncio.create_task(run.go())
        await until(lambda: run._last_view is not None and bool(hooks.posts))
        assert run._trader is not None
        assert run._trader.child is not None
        trader_env = Path(f"/proc/{run._trader.child.pid}/environ").read_bytes() if sys.platform == "linux" else b""
        os.kill(run._trader.child.pid, 9)
        await until(lambda: run._trader is not None and run._trader.restarts == 1 and len(hooks.posts) >= 2)
        run._signalled(signal.SIGTERM)
        await running
    titles = [body["title"] for _, body in hooks.posts]
    assert titles[0] == "Surefoot, info: The trader has started"
    assert "Surefoot, critical: The trader has crashed" in titles
    assert titles[-1] == "Surefoot, info: The run has ended"
    assert "alerts: address 2: nothing that alerts can be sent to; it begins like slack://, json://" in lines.notes
    assert b"ALERT_URLS" not in trader_env


@pytest.mark.spec("NOTE-1")
async def test_a_run_that_cannot_begin_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with web_hooks() as hooks:
        env = {"SUREFOOT_ALERT_URLS": f"json://127.0.0.1:{hooks.port}/hook"}
        given = load(None, {"store.journal_path": str(path)}, env).settings
        with pytest.raises(StartError):
            await Run(
                Job(given, (), True, dict(os.environ), replay=(str(tmp_path / "none.parquet"),), web=False), Lines()
            ).go()
    ((_, body),) = hooks.posts
    assert body["title"] == "Surefoot, critical: The run has ended"
    assert "none.parquet" in json.dumps(body)
