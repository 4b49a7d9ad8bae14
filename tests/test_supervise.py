"""Processes that are started, heard, started again and stopped: with real ones."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot import children
from surefoot.children import Child, Kept, ended
from surefoot.config import ConfigError, Settings, load
from surefoot.control import CONTROL_KEY, control_key
from surefoot.spans import SpanSender
from surefoot.supervise import LASTING, Job, Run, StartError, milestones
from tests.views import empty_view, order, rich_view


def python(code: str, on_line: Callable[[str], None] = lambda _: None, **env: str) -> Child:
    return Child("the child", [sys.executable, "-u", "-c", code], {**os.environ, **env}, on_line)


def kept(code: str, report: Callable[[str], None] = lambda _: None, pauses_s: tuple[float, ...] = (0.01,)) -> Kept:
    return Kept(lambda: python(code), LASTING.__contains__, report, pauses_s)


def settings(**flags: str) -> Settings:
    return load(None, {key.replace("__", "."): value for key, value in flags.items()}, {}).settings


async def test_a_child_is_heard_and_its_end_known() -> None:
    lines: list[str] = []
    child = python(
        "import sys; print('one'); print('two'); sys.stderr.write('a\\nbad luck\\n'); sys.exit(7)", lines.append
    )
    await child.start()
    assert await child.wait() == 7
    assert lines == ["one", "two"]
    assert ended(child, 7) == "the child ended with code 7: bad luck"


async def test_a_line_without_end_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LINE_BYTES_MAX", 1_000)
    lines: list[str] = []
    child = python("print('x' * 100_000); print('after')", lines.append)
    await child.start()
    assert await child.wait() == 0
    assert lines[-1] == "after"


async def test_a_child_that_listens_is_asked_and_not_killed() -> None:
    heard: list[str] = []
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up'); signal.pause()"
    child = python(code, heard.append)
    await child.start()
    while not heard:
        await asyncio.sleep(0.01)
    assert await child.stop(10)
    assert await child.wait() == 0


async def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    heard: list[str] = []
    child = python(
        "import signal; signal.signal(15, signal.SIG_IGN); print('up')\nwhile True: signal.pause()", heard.append
    )
    await child.start()
    while not heard:
        await asyncio.sleep(0.01)
    started_s = time.monotonic()
    assert not await child.stop(0.2)
    assert time.monotonic() - started_s < 3
    assert ended(child, await child.wait()) == "the child was ended by SIGKILL"


async def test_a_child_has_a_session_of_its_own_so_that_ctrl_c_reaches_the_parent_alone() -> None:
    child = python("import time; time.sleep(30)")
    await child.start()
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    await child.stop(5)


@pytest.mark.spec("OPS-3")
async def test_a_crash_is_restarted_with_back_off_and_reported(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    code = f"log = open({str(log)!r}, 'a'); log.write('x'); raise SystemExit(0 if log.tell() > 3 else 9)"
    reports: list[str] = []
    child = kept(code, reports.append, (0.01, 0.02, 0.04))
    assert await child.run() == 0
    assert child.restarts == 3
    assert log.read_text() == "xxxx"
    assert reports == [
        f"the child ended with code 9; starting it again in {pause} s" for pause in ("0.01", "0.02", "0.04")
    ]


@pytest.mark.spec("OPS-3")
async def test_a_killed_process_is_restarted() -> None:
    reports: list[str] = []
    child = kept("import time; time.sleep(30)", reports.append)
    running = asyncio.create_task(child.run())
    while child.child is None or child.child._process is None:
        await asyncio.sleep(0.01)
    first = child.child.pid
    os.kill(first, 9)
    while child.restarts == 0 or child.child._process is None:  # until the next one has started
        await asyncio.sleep(0.01)
    assert child.child.pid != first
    await child.stop(5)
    await running
    assert reports == ["the child was ended by SIGKILL; starting it again in 0.01 s"]


@pytest.mark.parametrize("started", [False, True])
async def test_who_cancels_the_keeping_leaves_no_process_behind(started: bool) -> None:
    child = kept("import time; time.sleep(30)")
    running = asyncio.create_task(child.run())
    while child.child is None or (started and child.child._process is None):
        await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await running
    process = child.child._process
    assert (process is not None) == started
    assert process is None or process.returncode in (-9, -15)


@pytest.mark.spec("OPS-3")
def test_pauses_grow_to_half_a_minute() -> None:
    assert children.PAUSES_S == (1, 2, 4, 8, 16, 30)


@pytest.mark.parametrize("code", sorted(LASTING))
async def test_an_end_that_a_restart_cannot_mend_is_final(code: int) -> None:
    child = kept(f"raise SystemExit({code})")
    assert await child.run() == code
    assert child.restarts == 0


async def test_stop_during_a_pause_ends_the_waiting() -> None:
    child = kept("raise SystemExit(9)", pauses_s=(60.0,))
    running = asyncio.create_task(child.run())
    while child.child is None or child.child._process is None or child.child._process.returncode is None:
        await asyncio.sleep(0.01)
    await child.stop(5)
    async with asyncio.timeout(3):
        assert await running == 9
    assert child.restarts == 0


def test_milestones_come_in_order() -> None:
    assert [name for name, happened in milestones(empty_view()) if happened] == ["trader up"]
    priced = replace(rich_view(), positions=(), orders=(), round_trips=(), round_trip_count=0)
    assert [name for name, happened in milestones(priced) if happened] == ["trader up", "first price"]
    ordered = replace(priced, orders=(order(1, "entry"),))
    assert [name for name, happened in milestones(ordered) if happened][-1] == "first order"
    assert all(happened for _, happened in milestones(rich_view()))


@pytest.mark.parametrize(("speed", "paced"), [("1", False), ("1.0", False), ("60", True), ("max", True)])
def test_only_at_real_speed_is_the_traders_clock_its_own(speed: str, paced: bool) -> None:
    assert Job(settings(paper__speed=speed), (), True, {}).is_paced is paced


class Silent:
    def note(self, text: str) -> None: ...

    def show(self, view: object) -> None: ...


@pytest.mark.spec("SAFE-6")
async def test_real_keys_are_given_to_no_process_of_paper_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A program in the place of Python that writes down what it is given, and ends.
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\necho no >&2\nexit 2\n")
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    keys = {f"SUREFOOT_API_{name}": "real" for name in ("KEY", "SECRET", "KEY_FILE", "SECRET_FILE")}
    job = Job(settings(), (), True, {**os.environ, **keys, "SUREFOOT_RISK__RISK_PCT_OF_EQUITY": "1"})
    with pytest.raises(StartError, match="no"):
        await Run(job, Silent()).go()
    given = (tmp_path / "env").read_text()
    assert "SUREFOOT_RISK__RISK_PCT_OF_EQUITY=1" in given
    assert "SUREFOOT_API" not in given


@pytest.mark.spec("OPS-1")
async def test_each_run_has_a_key_for_signed_wishes_and_the_exchange_never_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\nenv > "{tmp_path}/$2"\necho "$@" >> {tmp_path}/arguments\necho no >&2\nexit 2\n')
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    job = Job(settings(), (), True, {**os.environ, CONTROL_KEY: "of another run"})
    given = []
    for _ in range(2):
        run = Run(job, Silent())
        with pytest.raises(StartError, match="no"):
            await run.go()
        assert CONTROL_KEY not in (tmp_path / "simex").read_text()
        market = {"rest": "http://127.0.0.1:1", "symbols": [], "api_key": "k", "secret": "s"}
        run._listening = asyncio.get_running_loop().create_future()
        run._listening.set_result(market)
        trader = run._make_trader()
        await trader.start()
        assert await trader.wait() == 2
        lines = (tmp_path / "surefoot").read_text().splitlines()
        given.append(control_key(dict(line.split("=", 1) for line in lines if line.startswith(CONTROL_KEY))))
    assert None not in given
    assert given[0] != given[1]
    assert all(key is not None and key.hex() not in (tmp_path / "arguments").read_text() for key in given)


async def exchange_arguments(folder: Path, monkeypatch: pytest.MonkeyPatch, **flags: str) -> str:
    """How the simulated exchange is started under these settings."""
    spy = folder / "python"
    spy.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\necho no >&2\nexit 2\n')
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    job = Job(settings(**flags), (), True, dict(os.environ))
    with pytest.raises(StartError, match="no"):
        await Run(job, Silent()).go()
    return (folder / "arguments").read_text()


async def test_paper_has_the_costs_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = await exchange_arguments(tmp_path, monkeypatch, costs__slippage_bps="5", costs__volume_share_pct="0.5")
    assert "--slippage-bps 5 --volume-share-pct 0.5" in given
    assert "--wait-for-account" in given
    assert "--relay" not in given


@pytest.mark.spec("MODE-2")
async def test_paper_relays_the_hosts_of_mode_live_in_real_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await exchange_arguments(tmp_path, monkeypatch, paper__market="relay")
    assert "--speed 1 " in given
    assert "--relay wss://stream.binance.com:9443 --relay-rest https://api.binance.com --symbols BTCUSDT," in given
    assert "--wait-for-account" not in given
    given = await exchange_arguments(tmp_path, monkeypatch, paper__market="relay", market__venue="futures")
    assert "--market futures " in given
    assert "--relay wss://fstream.binance.com --relay-rest https://fapi.binance.com --symbols BTCUSDT," in given
    assert not Job(settings(paper__market="relay"), (), True, {}).is_paced


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"paper__market": "files"}, 'paper.market = "files": paper.files names none'),
    ],
)
def test_a_paper_market_that_cannot_be_is_refused(flags: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings(**flags)


@pytest.mark.spec("AUTH-3", "CFG-1")
@pytest.mark.parametrize("mode", ["paper", "testnet", "live"])
def test_the_web_process_is_given_no_key_of_the_venue_in_any_mode(mode: str) -> None:
    names = ("API_KEY", "API_SECRET", "KEYS_PASSPHRASE")
    secrets = {f"SUREFOOT_{name}{end}": "secret" for name in names for end in ("", "_FILE")}
    chosen = load(None, {"mode": mode, "live_confirmed": "true"}, {}, keyless=True).settings
    run = Run(Job(chosen, (), True, {"HOME": "x", **secrets}), Silent())
    given = run._web_env()
    assert given["HOME"] == "x"
    assert "secret" not in given.values()


@pytest.mark.spec("OPS-2", "OPS-3", "CFG-1")
@pytest.mark.parametrize("mode", ["testnet", "demo", "live"])
def test_keys_of_trader_and_guardian_are_given_to_nobody_else(mode: str) -> None:
    def given(*names: str) -> dict[str, str]:
        return {f"SUREFOOT_{name}{end}": "secret" for name in names for end in ("", "_FILE")}

    traders = given("API_KEY", "API_SECRET", "KEYS_PASSPHRASE")
    guards = given("GUARD_API_KEY", "GUARD_API_SECRET", "GUARD_ALERT_URLS")
    others = given("ALERT_URLS", "METRICS_TOKEN")
    chosen = load(None, {"mode": mode, "live_confirmed": "true", "guard.enabled": "true"}, {}, keyless=True).settings
    run = Run(Job(chosen, (), True, {"HOME": "x", **traders, **guards, **others}), Silent())
    envs = {"trader": run._make_trader()._env, "web": run._web_env(), "guardian": run._guard_env()}
    secret = {name: {key for key, value in env.items() if value == "secret"} for name, env in envs.items()}
    assert secret == {"trader": set(traders), "web": set(others), "guardian": set(guards)}
    assert CONTROL_KEY not in envs["guardian"]


@pytest.mark.spec("OPS-3", "OBS-2")
async def test_traces_that_break_are_told_and_end_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(sender: SpanSender) -> None:
        raise RuntimeError("no more spans")

    told: list[str] = []
    screen = Silent()
    monkeypatch.setattr(screen, "note", told.append)
    monkeypatch.setattr(SpanSender, "run", broken)
    spy = tmp_path / "python"
    spy.write_text("#!/bin/sh\nsleep 0.5\necho no >&2\nexit 2\n")
    spy.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(spy))
    job = Job(settings(traces__otlp_url="http://127.0.0.1:9/v1/traces"), (), True, dict(os.environ))
    with pytest.raises(StartError, match="no"):
        await Run(job, screen).go()
    assert told == ["traces have stopped: RuntimeError('no more spans')"]
