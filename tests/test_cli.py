"""The commands as a person meets them: real processes, one clear line for what is wrong, the promised exit code."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.chronicle import PAPER_JOURNALS_KEPT, fresh_journal
from surefoot.cli import _spread, main
from surefoot.control import Answer, ControlServer, Wish, socket_path
from surefoot.core.messages import (
    PauseRequested,
    RecordAlarm,
    RecordBooks,
    RecordEquity,
    RecordReset,
    RecordTrip,
    RunStarted,
    SettingsChanged,
)
from surefoot.core.model import Tier
from surefoot.store.journal import Journal
from tests.views import NOON_MS, no_charts, no_engine, rich_view

SOURCE = Path(__file__).parents[1] / "src"
COMMANDS = (
    *("run", "trade", "backtest", "status", "journal", "config show", "config set", "config unset", "export"),
    *("data download", "data import", "data check"),
    *("breaker status", "breaker reset", "breaker drill", "promote"),
    *(
        "pause",
        "resume",
        "flatten",
        "close",
        "cancel-all",
        "kill",
        "adopt transfer",
        "adopt gone",
        "adopt position",
        "web",
        "user add",
        "user password",
        "audit verify",
        "keys add",
    ),
)
PATIENCE_S = 30


def surefoot(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SUREFOOT_", "SIMEX_"))}
    command = [sys.executable, "-m", "surefoot", *words]
    env = {**clean, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1", **env}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=PATIENCE_S)


def refused(code: int, *words: str, cwd: Path, **env: str) -> str:
    """The one line that a refused command says."""
    done = surefoot(*words, cwd=cwd, **env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("surefoot: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("surefoot: ").rstrip("\n")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of two runs, as paper mode leaves one."""
    path = tmp_path / "var" / "paper-20250601-120000-000.sqlite"
    with Journal.open(path) as written:
        for run, at_ms in (("aaa", NOON_MS), ("bbb", NOON_MS + 3_600_000)):
            written.append(
                RunStarted(at_ms, run, "paper", ("BTCUSDT",), "digest", "0.1.0"),
                RecordAlarm(at_ms + 1, "link-lost", f"market: gone in {run}"),
                RecordBooks(at_ms + 2, ()),
            )
    return path


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands_and_the_exit_codes(tmp_path: Path) -> None:
    done = surefoot("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("run", "trade", "exchange", "backtest", "status", "journal", "config"):
        assert f"\n  {word} " in done.stdout
    for line in ("0    as asked", "2    wrong use or settings", "3    port or journal in use", "130  interrupted"):
        assert line in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, tmp_path: Path) -> None:
    done = surefoot(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert f"surefoot {command}" in done.stdout.partition("examples:")[2]


def test_the_exchange_shows_its_own_help(tmp_path: Path) -> None:
    done = surefoot("exchange", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--replay" in done.stdout
    assert "examples:" in done.stdout


def test_help_is_there_at_once(tmp_path: Path) -> None:
    def cpu_seconds() -> float:
        """Of the processor, not of the clock on the wall: a busy machine is not our fault."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        surefoot("--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_seconds() for _ in range(5)) < 0.5


def test_help_loads_no_part_of_the_trader() -> None:
    code = "import sys, surefoot.cli; print([n for n in ('pydantic', 'numpy', 'aiohttp', 'rich') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)})
    assert done.stdout.strip() == "[]"


# -- wrong use and settings -------------------------------------------------------------------------------------------


def test_a_command_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert refused(2, "fly", cwd=tmp_path) == "No such command 'fly'; see surefoot --help"


def test_an_option_that_does_not_exist_is_refused_with_the_place_to_look(tmp_path: Path) -> None:
    text = refused(2, "run", "--sped", "9", cwd=tmp_path)
    assert "--sped" in text
    assert text.endswith("see surefoot run --help")


@pytest.mark.spec("CFG-2")
def test_an_unknown_setting_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    text = refused(2, "run", "--set", "risk.risk_pct=1", cwd=tmp_path)
    assert "risk.risk_pct" in text
    assert "risk.risk_pct_of_equity" in text


@pytest.mark.spec("CFG-2")
def test_a_value_out_of_range_is_refused_with_the_range(tmp_path: Path) -> None:
    text = refused(2, "config", "show", cwd=tmp_path, SUREFOOT_RISK__RISK_PCT_OF_EQUITY="50")
    assert 'risk.risk_pct_of_equity = "50" (environment SUREFOOT_RISK__RISK_PCT_OF_EQUITY)' in text
    assert "0.01 to 10" in text


def test_a_config_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(2, "run", "--config", "no.toml", cwd=tmp_path) == "no.toml: there is no such file"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "--set", "seed"), "--set seed: give it as KEY=VALUE"),
        (("run", "--for", "soon"), "--for soon: not a time; give one like 60s"),
        (("run", "--for", "-5s"), "--for -5s: not a time"),
        (("run", "--gaps", "fill"), "--gaps fill: give refuse or keep"),
        (("run", "--replay", "x.csv", "--speed", "1"), "--speed 1: a replay does not run on the wall clock"),
        (("run", "--set", "mode=backtest"), "use surefoot backtest"),
        (("trade",), "give the exchange's address with --rest"),
        (("trade", "--rest", "https://api.binance.com"), "is not the address of a simulated exchange"),
        (("trade", "--rest", "http://127.0.0.1:1"), "SIMEX_API_KEY and SIMEX_API_SECRET not set"),
        (("trade", "--rest", "http://127.0.0.1:1", "--stream", "http://x"), "not an address of a stream"),
        (("status",), "no journal of a paper run in var: start one with surefoot run"),
        (("journal", "--journal", "none.sqlite"), "there is no journal here yet"),
    ],
)
def test_wrong_use_says_what_to_do(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    assert expected in refused(2, *words, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.spec("SAFE-6", "MODE-1")
def test_live_needs_its_second_confirmation_and_a_key(tmp_path: Path) -> None:
    done = surefoot("run", "--set", "mode=live", cwd=tmp_path)
    assert done.returncode == 2
    assert "live_confirmed" in done.stderr
    assert "SUREFOOT_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    text = refused(2, "trade", "--set", "mode=live", cwd=tmp_path, SUREFOOT_API_KEY="k", SUREFOOT_API_SECRET="s")
    assert text.startswith("live_confirmed = false: mode = live trades real money")
    text = refused(2, "run", "--set", "mode=live", "--set", "live_confirmed=true", cwd=tmp_path)
    assert "needs the venue's API key" in text


@pytest.mark.spec("MODE-1")
@pytest.mark.parametrize("option", [("--rest", "http://127.0.0.1:1"), ("--paced",), ("--stream", "ws://x")])
def test_a_real_venue_is_never_mixed_with_a_simulated_one(option: tuple[str, ...], tmp_path: Path) -> None:
    keys = {"SUREFOOT_API_KEY": "k", "SUREFOOT_API_SECRET": "s"}
    assert "paper only" in refused(2, "trade", "--set", "mode=testnet", *option, cwd=tmp_path, **keys)


@pytest.mark.spec("MODE-1")
def test_the_simulated_market_is_not_for_a_real_venue(tmp_path: Path) -> None:
    keys = {"SUREFOOT_API_KEY": "k", "SUREFOOT_API_SECRET": "s"}
    text = refused(2, "run", "--set", "mode=testnet", "--seed", "5", cwd=tmp_path, **keys)
    assert text == "mode = testnet: --seed are about the simulated market of mode = paper"


def test_a_failure_nobody_thought_of_is_one_line_unless_debugging() -> None:
    failing = "import sys, surefoot.config as c, surefoot.cli; c.load = lambda *_, **__: 1 / 0"
    code = f"{failing}; sys.exit(surefoot.cli.main())"
    command, env = [sys.executable, "-c", code, "config", "show"], {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("surefoot: unexpected failure: ZeroDivisionError")
    done = subprocess.run(command, capture_output=True, text=True, env={**env, "SUREFOOT_DEBUG": "1"})
    assert "Traceback" in done.stderr


# -- what is in use, what is not there --------------------------------------------------------------------------------


def test_a_port_in_use_is_said_by_the_exchange(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = surefoot("exchange", "--port", str(port), "--history-days", "0", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"simex: cannot listen on port {port}")
    assert done.stderr.count("\n") == 1


def test_a_replay_of_a_bad_file_is_refused_before_anything_trades(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT.csv").write_text("time,price\nnow,dear\n")
    done = surefoot("run", "--replay", "BTCUSDT.csv", "--no-terminal", cwd=tmp_path)
    assert done.returncode == 5
    assert done.stderr.startswith("surefoot: ")
    assert "BTCUSDT.csv" in done.stderr
    assert done.stderr.count("\n") == 1


# -- config show ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("CFG-1", "CFG-2")
def test_config_show_tells_value_and_source_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[rsi]\nperiod = 21\n[risk]\nrisk_pct_of_equity = 1.5\n")
    words = ("config", "show", "--config", "my.toml", "--set", "breaker.day_loss_max_pct=3", "--json")
    env = {"SUREFOOT_RISK__RISK_PCT_OF_EQUITY": "1"}
    shown = json.loads(surefoot(*words, cwd=tmp_path, **env).stdout)
    assert shown["rsi.period"] == {"value": 21, "source": "file my.toml"}
    assert shown["risk.risk_pct_of_equity"] == {
        "value": "1",
        "source": "environment SUREFOOT_RISK__RISK_PCT_OF_EQUITY",
    }
    assert shown["breaker.day_loss_max_pct"] == {"value": "3", "source": "flag"}
    assert shown["mode"] == {"value": "paper", "source": "default"}


@pytest.mark.spec("CFG-2")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_config_show_masks_secrets(form: tuple[str, ...], tmp_path: Path) -> None:
    env = {"SUREFOOT_API_KEY": "hush-key", "SUREFOOT_API_SECRET": "hush-secret"}
    done = surefoot("config", "show", "--set", "mode=testnet", *form, cwd=tmp_path, **env)
    assert done.returncode == 0
    assert "hush" not in done.stdout + done.stderr
    assert "**********" in done.stdout


def test_what_config_show_prints_is_a_settings_file(tmp_path: Path) -> None:
    shown = surefoot("config", "show", cwd=tmp_path).stdout
    assert tomllib.loads(shown)["mode"] == "paper"
    (tmp_path / "my.toml").write_text(shown)
    assert surefoot("config", "show", "--config", "my.toml", cwd=tmp_path).returncode == 0


# -- journal ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("DB-2")
def test_journal_prints_the_newest_records_oldest_first(journal: Path, tmp_path: Path) -> None:
    lines = surefoot("journal", "--limit", "2", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["5", "2025-06-01", "13:00:05", "command", "RecordAlarm"],
        ["6", "2025-06-01", "13:00:05", "command", "RecordBooks"],
    ]
    assert "code=link-lost text=market: gone in bbb" in lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), [1, 2, 3, 4, 5, 6]),
        (("--kind", "RecordAlarm", "RunStarted"), [1, 2, 4, 5]),
        (("--run", "aaa"), [1, 2, 3]),
        (("--run", "last", "--kind", "RunStarted"), [4]),
        (("--since", "4"), [5, 6]),
        (("--since", "2025-06-01T12:30"), [4, 5, 6]),
        (("--since", "2025-06-01T14:30+02:00", "--limit", "1"), [6]),
    ],
)
def test_journal_chooses(words: tuple[str, ...], expected: list[int], journal: Path, tmp_path: Path) -> None:
    done = surefoot("journal", "--journal", str(journal), *words, "--json", cwd=tmp_path)
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == expected


def test_journal_json_holds_the_whole_record(journal: Path, tmp_path: Path) -> None:
    line = surefoot("journal", "--since", "4", "--kind", "RecordAlarm", "--json", cwd=tmp_path).stdout
    assert json.loads(line) == {
        "seq": 5,
        "run": "bbb",
        "at_ms": NOON_MS + 3_600_001,
        "edge": "command",
        "kind": "RecordAlarm",
        "body": {"at_ms": NOON_MS + 3_600_001, "code": "link-lost", "text": "market: gone in bbb"},
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--kind", "RecordAlarms"), "no such kind of record; the nearest is RecordAlarm"),
        (("--run", "zzz"), "not in this journal; its newest runs are bbb, aaa"),
        (("--since", "lunch"), "give a record number, or a UTC time like 2025-06-01T12:00"),
    ],
)
def test_journal_refuses_what_it_cannot_choose(
    words: tuple[str, ...], expected: str, journal: Path, tmp_path: Path
) -> None:
    assert expected in refused(2, "journal", *words, cwd=tmp_path)


def test_journal_goes_on_with_what_is_written_and_ends_by_ctrl_c(journal: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "surefoot", "journal", "--follow", "--kind", "RecordAlarm", "--json"]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=env) as following:
        assert following.stdout is not None
        assert [json.loads(following.stdout.readline())["seq"] for _ in range(2)] == [2, 5]
        with Journal.open(journal) as written:
            written.append(
                RunStarted(NOON_MS, "ccc", "paper", ("BTCUSDT",), "digest", "0.1.0"), RecordAlarm(NOON_MS, "x", "new")
            )
        assert json.loads(following.stdout.readline())["body"]["text"] == "new"
        following.send_signal(signal.SIGINT)
        _, complaints = following.communicate(timeout=PATIENCE_S)
    assert following.returncode == 130
    assert complaints.count("\n") <= 1


def test_a_reader_that_has_enough_is_no_failure(journal: Path, tmp_path: Path) -> None:
    with Journal.open(journal) as written:
        started = RunStarted(NOON_MS, "ccc", "paper", ("BTCUSDT",), "digest", "0.1.0")
        written.append(started, *(RecordAlarm(NOON_MS, "x", "y" * 200) for _ in range(2_000)))
    command = f"{sys.executable} -m surefoot journal --limit 0 | head -1; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert done.stderr == ""


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_without_a_trader_says_so_and_reads_the_journal(journal: Path, tmp_path: Path) -> None:
    done = surefoot("status", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "The trader is not running. This is how var/paper-20250601-120000-000.sqlite left it:"
    )
    assert "run bbb" in done.stdout
    assert "No entries: the trader is not running" in done.stdout
    answer = json.loads(surefoot("status", "--json", cwd=tmp_path).stdout)
    assert answer["running"] is False
    assert answer["view"]["run"] == "bbb"
    assert [alarm["text"] for alarm in answer["view"]["alarms"]] == ["market: gone in aaa", "market: gone in bbb"]


async def test_status_of_a_running_trader_is_what_the_trader_says(journal: Path, tmp_path: Path) -> None:
    import asyncio

    server = ControlServer(socket_path(journal), rich_view, no_engine, no_charts)
    await server.start()
    try:
        done = await asyncio.to_thread(surefoot, "status", cwd=tmp_path)
        answer = json.loads((await asyncio.to_thread(surefoot, "status", "--json", cwd=tmp_path)).stdout)
    finally:
        await server.stop()
    assert "run a1b2" in done.stdout
    assert "not running" not in done.stdout
    assert answer["running"] is True
    assert answer["view"]["equity"] == "10012.34000000"


# -- the operator -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("OPS-1", "BRK-5")
async def test_an_operator_is_heard_by_the_running_trader_with_a_reason_and_a_name(
    journal: Path, tmp_path: Path
) -> None:
    import asyncio

    heard: list[tuple[str, str, str]] = []
    asked = [["pause"], ["resume"], ["flatten", "--yes"], ["close", "btcusdt"], ["cancel-all"], ["kill", "--yes"]]
    asked += [["live", "on", "--yes"], ["live", "off"], ["breaker", "reset"]]

    async def engine(wish: Wish, who: str) -> Answer:
        heard.append((f"{wish.kind} {wish.symbol}".strip(), wish.reason, who))
        return Answer(True, f"{wish.kind} taken from {who}")

    server, me = ControlServer(socket_path(journal), rich_view, engine, no_charts), getpass.getuser()
    await server.start()
    try:
        for words in asked:
            done = await asyncio.to_thread(surefoot, *words, "--reason", "a drill", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"{heard[-1][0].partition(' ')[0]} taken from {me}\n"
        for words in (["pause"], ["breaker", "reset"]):
            assert "a reason is needed" in await asyncio.to_thread(refused, 2, *words, "--reason", " ", cwd=tmp_path)
            assert "--reason" in await asyncio.to_thread(refused, 2, *words, cwd=tmp_path)
        text = await asyncio.to_thread(refused, 2, "flatten", "--reason", "a drill", cwd=tmp_path)
        assert text == "flatten sells everything that the bot holds, at the market: add --yes to do it"
        text = await asyncio.to_thread(refused, 2, "kill", "--reason", "a drill", cwd=tmp_path)
        assert text.endswith("and stops entries: add --yes")
        text = await asyncio.to_thread(refused, 2, "live", "on", "--reason", "a drill", cwd=tmp_path)
        assert text == "live on lets the bot open positions with real money: add --yes to do it"
    finally:
        await server.stop()
    kinds = ["pause", "resume", "flatten", "close BTCUSDT", "cancel-all", "kill"]
    kinds += ["live-on", "live-off", "breaker-reset"]
    assert heard == [(kind, "a drill", me) for kind in kinds]


@pytest.mark.spec("ORD-5", "OPS-1")
def test_what_an_operator_says_of_the_books_is_asked_of_the_trader_with_its_numbers(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Wish] = []

    def trader(path: Path, wish: Wish) -> Answer:
        assert path.resolve() == socket_path(journal)
        heard.append(wish)
        return Answer(wish.kind != "adopt-gone", "so it is")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("surefoot.control.ask_trader", trader)
    said = ["--reason", "a drill"]
    for words, wish, code in [
        (["transfer", "usdt", "-0.01"], Wish("adopt-transfer", "a drill", "USDT", amount=Decimal("-0.01")), 0),
        (["gone", "BTCUSDT", "--price", "60.5"], Wish("adopt-gone", "a drill", "BTCUSDT", price=Decimal("60.5")), 1),
        (["position", "BTCUSDT", "0.05"], Wish("adopt-position", "a drill", "BTCUSDT", amount=Decimal("0.05")), 0),
    ]:
        assert main(["adopt", *words, *said]) == 2
        assert capsys.readouterr().err.rstrip().endswith("add --yes to do it")
        assert main(["adopt", *words, *said, "--yes"]) == code
        assert heard.pop() == wish
        assert capsys.readouterr().out == "so it is\n"
    assert main(["adopt", "transfer", "USDT", "much", *said, "--yes"]) == 2
    assert "'much' is no number" in capsys.readouterr().err
    assert not heard


@pytest.mark.spec("CFG-4", "CFG-2")
async def test_a_setting_is_changed_on_the_running_trader_and_config_show_says_by_whom(
    journal: Path, tmp_path: Path
) -> None:
    import asyncio

    heard: list[tuple[str, str, Mapping[str, str | None]]] = []

    async def engine(wish: Wish, who: str) -> Answer:
        heard.append((wish.kind, wish.reason, wish.settings))
        return Answer("mode" not in wish.settings, "what is said", {"risk.positions_max": ("3", "2")})

    with Journal.open(journal) as written:
        changed = SettingsChanged(NOON_MS, "ada (web)", "a quiet week", {"risk.positions_max": "2"})
        written.append(RunStarted(NOON_MS, "ccc", "paper", ("BTCUSDT",), "digest", "0.1.0"), changed)
    before = json.loads(surefoot("config", "show", "--json", cwd=tmp_path).stdout)
    assert before["risk.positions_max"] == {"value": 3, "source": "default"}, "that run is over"
    server = ControlServer(socket_path(journal), rich_view, engine, no_charts)
    await server.start()
    try:
        words: list[list[str]] = [
            ["set", "risk.positions_max", "2", "--reason", "a quiet week"],
            ["set", "risk.positions_max", "2", "--check"],
            ["unset", "rsi.period", "--reason", "the week is over"],
        ]
        for each in words:
            done = await asyncio.to_thread(surefoot, "config", *each, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (0, "what is said\n"), done.stderr
        done = await asyncio.to_thread(surefoot, "config", "set", "mode", "live", "--check", "--json", cwd=tmp_path)
        assert (done.returncode, json.loads(done.stdout)["taken"]) == (1, False)
        text = await asyncio.to_thread(refused, 2, "config", "set", "risk.positions_max", "2", cwd=tmp_path)
        assert "a reason is needed" in text
        shown = json.loads((await asyncio.to_thread(surefoot, "config", "show", "--json", cwd=tmp_path)).stdout)
    finally:
        await server.stop()
    assert shown["risk.positions_max"] == {"value": 2, "source": "changed at run time by ada (web)"}
    assert heard == [
        ("settings", "a quiet week", {"risk.positions_max": "2"}),
        ("settings-check", "", {"risk.positions_max": "2"}),
        ("settings", "the week is over", {"rsi.period": None}),
        ("settings-check", "", {"mode": "live"}),
    ]


@pytest.mark.spec("BRK-5")
def test_without_a_trader_a_reset_is_refused_and_says_what_is_missing(journal: Path, tmp_path: Path) -> None:
    text = refused(1, "breaker", "reset", "--reason", "nobody is there", cwd=tmp_path)
    assert text.endswith(": breaker-reset needs one that is running")
    assert "no journal of a paper run" in refused(2, "pause", "--reason", "x", cwd=tmp_path / "var")


@pytest.mark.spec("BRK-6")
def test_breaker_status_shows_limits_what_is_in_force_and_each_trip_with_the_equity_around_it(
    journal: Path, tmp_path: Path
) -> None:
    hour_ms, curve = 3_600_000, tuple((NOON_MS + i * 60_000, Decimal(10_000 - i)) for i in range(60))
    trip_ms = NOON_MS + hour_ms
    trip = RecordTrip(
        trip_ms,
        "day loss",
        Tier.SHRINK,
        Decimal("5.2"),
        Decimal(5),
        Decimal(9_480),
        "day loss: 5.20 % reached 5 %",
        curve,
    )
    first = RecordEquity(NOON_MS, NOON_MS // hour_ms, Decimal(10_000), Decimal(10_000))
    later = RecordEquity(trip_ms + 1_000, trip_ms // hour_ms, Decimal(9_470), Decimal(10_000))
    with Journal.open(journal) as written:
        written.append(RunStarted(NOON_MS, "ccc", "paper", ("BTCUSDT",), "digest", "0.1.0"), first, trip, later)
        written.append(PauseRequested(trip_ms + 2_000, "ada", "to look at it"))
    done = surefoot("breaker", "status", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in (
        "The trader is not running. This is how var/paper-20250601-120000-000.sqlite left it:",
        "pause     paused by ada: to look at it",
        "day loss: 5.20 % reached 5 % (shrink)  in force",
    ):
        assert line in done.stdout
    assert re.search(r"before +[▁▂▃▄▅▆▇█]+ +9941.00 to 10000.00", done.stdout)
    answer = json.loads(surefoot("breaker", "status", "--json", cwd=tmp_path).stdout)
    assert answer["off"] == "day loss: 5.20 % reached 5 %; surefoot breaker reset lets go"
    assert answer["limits"][0]["rule"] == "day loss"
    assert answer["limits"][0]["start"] == "10000"
    (turn,) = answer["history"]
    assert turn["in_force"] is True
    assert turn["before"][-1] == [NOON_MS + 59 * 60_000, "9941"]
    assert turn["after"] == [[trip_ms + 1_000, "9470"]]
    with Journal.open(journal) as written:
        written.append(RunStarted(trip_ms + hour_ms, "ddd", "paper", ("BTCUSDT",), "digest", "0.1.0"))
        written.append(RecordReset(trip_ms + hour_ms, "ada", "looked at it", Decimal(9_470)))
    answer = json.loads(surefoot("breaker", "status", "--json", cwd=tmp_path).stdout)
    assert [(turn["kind"], turn["in_force"]) for turn in answer["history"]] == [("trip", False), ("reset", False)]
    assert answer["history"][1]["who"] == "ada"
    assert answer["off"] == "paused by ada: to look at it"


@pytest.mark.spec("BRK-6")
def test_a_fire_drill_needs_no_trader_and_its_exit_code_says_whether_all_held(tmp_path: Path) -> None:
    limits = [f"breaker.{rule}_max_pct=90" for rule in ("rolling_loss", "week_loss", "drawdown")]
    one = ("breaker", "drill", "--set", "market.symbols=BTCUSDT", *limits)
    done = surefoot(*one, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Today's book is made up, there is no journal yet: 10000.00 in all, BTCUSDT held.")
    assert "tripped at a loss of 5.0" in done.stdout
    assert done.stdout.endswith("1 of 4 rules drilled: all held\n")
    done = surefoot(*one, "breaker.day_loss_max_pct=90", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode == 1, "a drill that drilled nothing has shown nothing"
    assert [scene["rule"] for scene in answer["scenes"]] == ["day loss", "rolling loss", "week loss", "drawdown"]
    assert all("lies beyond" in scene["skipped"] for scene in answer["scenes"])
    assert "there is no journal" in refused(2, "breaker", "drill", "--journal", "none.sqlite", cwd=tmp_path)


# -- journals of paper mode -------------------------------------------------------------------------------------------


def test_paper_runs_keep_the_newest_journals_and_none_that_is_in_use(tmp_path: Path) -> None:
    old = [tmp_path / f"paper-20250601-1200{second:02d}-000.sqlite" for second in range(14)]
    for path in old:
        path.touch()
    with Path(f"{old[0]}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        new = fresh_journal(tmp_path, NOON_MS / 1_000 + 0.25)
    assert new.name == "paper-20250601-120005-250.sqlite"
    kept = sorted(tmp_path.glob("*.sqlite"))
    assert kept == [old[0], *old[-(PAPER_JOURNALS_KEPT - 1) :]]


def test_a_paper_run_does_not_go_on_with_another_accounts_journal(journal: Path, tmp_path: Path) -> None:
    assert "name a new file" in refused(2, "run", "--journal", str(journal), cwd=tmp_path)


# -- options with several values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("backtest --candles a b --json", "backtest --candles a --candles b --json"),
        ("run --replay a --speed max", "run --replay a --speed max"),
        ("run --set a=1 b=2 --for 5s", "run --set a=1 --set b=2 --for 5s"),
        ("exchange --replay a b", "exchange --replay a b"),
        ("config show", "config show"),
    ],
)
def test_options_take_several_values_as_a_shell_gives_them(words: str, expected: str) -> None:
    assert _spread(words.split()) == expected.split()
