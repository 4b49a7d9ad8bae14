"""`surefoot doctor`: each thing that can be wrong is found, said with advice, and is the exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from surefoot.cli import main
from surefoot.config import load
from surefoot.control import ControlServer, socket_path
from surefoot.core.messages import CandleClosed, RunStarted
from surefoot.core.model import Candle
from surefoot.core.view import VenueLimitView
from surefoot.doctor import Finding, Patient, State, examine
from surefoot.store.journal import Journal
from tests.e2e.processes import exchange
from tests.e2e.test_commands import surefoot
from tests.views import empty_view, no_charts, no_engine, rich_view

QUARTER_MS = 900_000
STARTED = RunStarted(5, "a1", "paper", ("BTCUSDT",), "d", "0.1")
LIVE = {"SUREFOOT_API_KEY": "the-key-itself", "SUREFOOT_API_SECRET": "the-secret-itself"}


def found(journal: Path | None, env: Mapping[str, str] | None = None, **flags: str) -> dict[str, list[tuple[str, str]]]:
    """State and text of all findings, by what was checked."""
    findings = findings_of(journal, env, **flags)
    return {each.check: [(e.state, e.text) for e in findings if e.check == each.check] for each in findings}


def findings_of(journal: Path | None, env: Mapping[str, str] | None = None, **flags: str) -> list[Finding]:
    given = {key.replace("__", "."): value for key, value in flags.items()}
    if journal is not None:
        given["store.journal_path"] = str(journal)
    return examine(Patient(load(None, given, env or {}).settings, journal, env or {}, None, None))


def candle(number: int) -> CandleClosed:
    price, open_ms = Decimal(100), number * QUARTER_MS
    one = Candle("BTCUSDT", "15m", open_ms, open_ms + QUARTER_MS - 1, price, price, price, price, Decimal(1))
    return CandleClosed(open_ms + QUARTER_MS, one)


def journal_with(path: Path, *messages: RunStarted | CandleClosed) -> Path:
    with Journal.open(path) as journal:
        journal.append(STARTED, *messages)
    return path


@pytest.mark.spec("OBS-3")
def test_a_healthy_place_has_nothing_to_complain_of(tmp_path: Path) -> None:
    told = findings_of(journal_with(tmp_path / "var" / "j.sqlite", *map(candle, range(10))))
    assert {each.state for each in told} == {State.FINE, State.NOT_CHECKED}
    assert {each.check for each in told} == {
        "versions",
        "config",
        "disk",
        "store",
        "limits",
        "data",
        "clock",
        "keys",
        "alerts",
    }


@pytest.mark.spec("OBS-3")
def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    told = found(tmp_path / "nowhere.sqlite")
    assert told["store"] == [("not checked", "there is no journal yet")]
    assert told["data"][0][0] == told["clock"][0][0] == told["keys"][0][0] == "not checked"


@pytest.mark.spec("OBS-3")
def test_missing_candles_are_counted(tmp_path: Path) -> None:
    told = found(journal_with(tmp_path / "j.sqlite", *map(candle, (0, 1, 2, 200, 201, 205, 206))))
    assert told["data"] == [("warning", "candles that are missing in the last day of the journal: BTCUSDT: 3")]


@pytest.mark.spec("OBS-3")
def test_a_journal_that_is_broken_is_found(tmp_path: Path) -> None:
    path = journal_with(tmp_path / "j.sqlite", *map(candle, range(2_000)))
    whole = bytearray(path.read_bytes())
    for page in range(8, len(whole) // 4_096, 3):
        whole[page * 4_096 : page * 4_096 + 64] = b"\xff" * 64
    path.write_bytes(whole)
    ((state, text),) = found(path)["store"]
    assert state == "FAILED"
    assert str(path) in text or "cannot be read" in text


@pytest.mark.spec("OBS-3")
def test_a_file_that_is_no_journal_is_found(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_text("something else " * 100)
    assert found(path)["store"][0][0] == "FAILED"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.spec("OBS-3")
@pytest.mark.parametrize(("free", "state"), [(2_000_000_000, "fine"), (900_000_000, "warning"), (50_000_000, "FAILED")])
def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    assert found(tmp_path / "j.sqlite")["disk"][0][0] == state


@pytest.mark.spec("OBS-3")
def test_a_folder_that_others_may_write_into_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert found(tmp_path / "j.sqlite")["disk"][1][1].startswith("others may write into")


@pytest.mark.spec("OBS-3")
def test_another_version_of_a_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surefoot.doctor.version", lambda name: "9.9" if name == "aiohttp" else version(name))
    states = found(None)["versions"]
    assert states[-1][0] == "FAILED"
    assert "aiohttp 9.9, not " in states[-1][1]


@pytest.mark.spec("OBS-3", "SAFE-3")
def test_a_secret_that_others_may_read_is_found_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("json://127.0.0.1:9/hookSECRETpath\n")
    file.chmod(0o644)
    told = found(None, {"SUREFOOT_ALERT_URLS_FILE": str(file)})
    assert told["keys"][0] == ("warning", "others may read the file of SUREFOOT_ALERT_URLS_FILE")
    assert told["alerts"] == [("fine", "alerts go to JSON (1)")]
    assert "SECRET" not in str(told)


@pytest.mark.spec("OBS-3")
def test_an_address_that_is_none_is_found() -> None:
    assert found(None, {"SUREFOOT_ALERT_URLS": "nonsense"})["alerts"][0][0] == "FAILED"


@pytest.mark.spec("OBS-3")
async def test_what_a_running_trader_tells_is_looked_at(tmp_path: Path) -> None:
    import asyncio

    path = journal_with(tmp_path / "j.sqlite")
    full = (VenueLimitView("weight", 60_000, 6_000, 5_000), VenueLimitView("orders", 10_000, 100, 3))
    views = [
        replace(rich_view(), venue_limits=full, banned_until_ms=1, differences=("BTC: 1 and 2",)),
        empty_view(),
    ]
    for view in views:
        server = ControlServer(socket_path(path), lambda view=view: view, no_engine, no_charts)  # type: ignore[misc]
        await server.start()
        told = await asyncio.to_thread(found, path)
        await server.stop()
        if view is views[0]:
            assert told["limits"][1:] == [
                ("FAILED", "the venue has banned us for a while"),
                ("warning", "weight in 60 s: 5000 of 6000 are used"),
            ]
            assert ("FAILED", "ledger and account differ: BTC: 1 and 2") in told["store"]
    assert told["limits"][1] == ("fine", "no limit of the venue is near, of 0")
    assert "entries off: no link" in told["store"][1][1]


@pytest.mark.spec("OBS-3")
def test_real_money_without_keys_or_alerts_is_found() -> None:
    told = found(None, LIVE, mode="live", live_confirmed="true")
    assert told["keys"] == [("FAILED", "there are no keys")]
    assert told["alerts"] == [("warning", "nobody is told of anything at night")]


@pytest.mark.spec("OBS-3")
def test_clock_and_keys_are_asked_of_the_venue(tmp_path: Path) -> None:
    with exchange("--port", "0", "--seed", "7") as venue:
        secret = {"SIMEX_API_KEY": str(venue.hello["api_key"]), "SIMEX_API_SECRET": str(venue.hello["secret"])}
        told = surefoot("doctor", "--rest", venue.rest, "--json", cwd=tmp_path, **secret)
        findings = json.loads(told.stdout)["findings"]
        clock = next(each for each in findings if each["check"] == "clock")
        assert (clock["state"], "clock is" in clock["text"]) == ("fine", True)
        assert any(each["check"] == "keys" and "IP address" in each["text"] for each in findings)
        assert told.returncode == 0
        wrong = surefoot("doctor", "--rest", venue.rest, cwd=tmp_path, **{**secret, "SIMEX_API_SECRET": "x"})
    assert wrong.returncode == 1
    assert "FAILED" in wrong.stdout
    assert "→ surefoot keys check asks again" in wrong.stdout


@pytest.mark.spec("OBS-3")
def test_settings_that_cannot_be_used_end_it_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--set", "risk.risk_pct_of_equity=99"]) == 2
    assert "risk.risk_pct_of_equity" in capsys.readouterr().err
    assert main(["doctor", "--set", f"store.journal_path={tmp_path}/j.sqlite"]) == 0
    assert "every dependency has the version that was asked for" in capsys.readouterr().out
