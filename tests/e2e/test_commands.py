"""Whole commands with everything behind them: real processes, sockets and files, and a made market of candles."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from surefoot.control import read_view, socket_path
from surefoot.notify import alerts_path, recent_alerts
from surefoot.store.journal import Journal, JournalReader

SOURCE = Path(__file__).parents[2] / "src"
START_MS = 1_748_736_000_000  # 2025-06-01 00:00 UTC
QUARTER_MS = 900_000
CANDLES = 300
PATIENCE_S = 60
EAGER = (
    "--set",
    "strategy.score_min_paper=0",
    "strategy.score_min_backtest=0",
    "breaker.backtest_reset_after_h=0",  # a replay has no operator
)


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SUREFOOT_", "SIMEX_"))}
    return {**clean, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1", **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "surefoot", *words]


def surefoot(*words: str, cwd: Path, said: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """A command to its end; `said` is what it hears on stdin."""
    run, seen = subprocess.run, environment(**env)
    return run(command(*words), input=said, capture_output=True, text=True, cwd=cwd, env=seen, timeout=PATIENCE_S)


@contextmanager
def going(*words: str, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(*words), stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment(**env))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came: {lines}")


def journal_of(folder: Path) -> Path:
    (path,) = (folder / "var").glob("paper-*.sqlite")
    return path


def child_pids(pid: int) -> dict[str, int]:
    """Pids of the processes that a run started: simex, trade, web. One that is just being made is none yet."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "-m" not in words:
            continue
        at = words.index("-m") + 1
        found[words[at + 1] if words[at] == "surefoot" else words[at]] = int(child)
    return found


def is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """A market that swings: every rule of the strategy speaks now and then, and stops and targets are reached."""
    rows, before = [], 100_000
    for number in range(CANDLES):
        close = round(100_000 + 4_000 * math.sin(number / 9) + 700 * math.sin(number * 1.7))
        high, low = max(before, close) + 150, min(before, close) - 150
        open_ms = START_MS + number * QUARTER_MS
        rows.append(f"{open_ms},{before},{high},{low},{close},500,{open_ms + QUARTER_MS - 1},0,0,0,0,0")
        before = close
    path = tmp_path / "BTCUSDT-15m.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


# -- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("MODE-2")
def test_run_needs_no_key_no_network_and_no_file_and_ends_in_time(tmp_path: Path) -> None:
    began_s = time.monotonic()
    done = surefoot("run", "--for", "20s", "--no-terminal", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began_s < 45
    words = ("exchange up", "trader up", "first price")
    assert [word for line in done.stdout.splitlines() for word in words if f" s  {word}" in line] == list(words)
    assert "the 20 s are over" in done.stdout
    assert f"journal      {journal_of(tmp_path).relative_to(tmp_path)}" in done.stdout
    assert done.stderr == ""


@pytest.mark.spec("MODE-2")
def test_a_replay_trades_to_its_end_and_tells_it_as_json(tmp_path: Path, candles: Path) -> None:
    done = surefoot("run", "--replay", str(candles), "--speed", "max", "--json", *EAGER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ended"] == "the replay has ended"
    assert told["orders"] >= 3
    assert told["round_trips"]
    assert Decimal(told["final_equity"]) > 0
    assert 0 < told["exchange_up_s"] < told["trader_up_s"] <= told["first_price_s"] <= told["first_order_s"]
    assert told["first_fill_s"] <= told["seconds"]
    assert set(told["round_trips"][0]) >= {"symbol", "side", "entry_ms", "exit_ms", "entry_price", "pnl", "reason"}


@pytest.mark.spec("MODE-2")
def test_files_of_the_settings_are_replayed_too(tmp_path: Path, candles: Path) -> None:
    files = ("--set", "paper.market=files", "--set", f"paper.files={candles}", "--set", "paper.speed=max")
    done = surefoot("run", *files, "--json", *EAGER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended"] == "the replay has ended"
    refused = surefoot("run", "--set", "paper.market=relay", "--speed", "60", cwd=tmp_path)
    assert (refused.returncode, 'paper.market = "relay" follows the real market' in refused.stderr) == (2, True)


@pytest.mark.spec("SAFE-8")
def test_a_replay_and_a_backtest_of_the_same_candles_trade_alike(tmp_path: Path, candles: Path) -> None:
    replay = surefoot("run", "--replay", str(candles), "--json", *EAGER, cwd=tmp_path)
    backtest = surefoot("backtest", "--candles", str(candles), "--json", *EAGER, cwd=tmp_path)
    trades = [
        [
            (
                trip["symbol"],
                trip["reason"],
                *(Decimal(trip[name]) for name in ("quantity", "entry_price", "exit_price")),
            )
            for trip in json.loads(done.stdout)["round_trips"]
        ]
        for done in (replay, backtest)
    ]
    assert trades[0] == trades[1] != []


def test_ctrl_c_stops_the_trader_first_and_leaves_nothing_running(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "first price")
        children = child_pids(run.pid)
        assert set(children) - {"web"} == {"simex", "trade"}
        run.send_signal(signal.SIGINT)
        out, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert "stopped by Ctrl-C" in out
    assert complaints == ""
    assert all(is_gone(pid) for pid in children.values())
    # The trader ended by itself: it took its socket away, and its lock can be had.
    assert not socket_path(journal_of(tmp_path)).exists()
    Journal.open(journal_of(tmp_path)).close()


def test_sigterm_is_a_clean_stop(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "trader up")
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert "stopped by SIGTERM" in out


@pytest.mark.spec("OPS-3")
def test_a_killed_trader_is_started_again_and_goes_on_with_its_journal(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "entries on")
        os.kill(child_pids(run.pid)["trade"], signal.SIGKILL)
        lines = lines_until(run, "has taken over from")
        lines += lines_until(run, "entries on")
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=PATIENCE_S)
    assert "the trader was ended by SIGKILL; starting it again in 1 s" in lines
    assert "trader restarted 1 times" in out
    with JournalReader(journal_of(tmp_path)) as reader:
        assert reader.run_count == 2


@pytest.mark.spec("OPS-3", "NOTE-1")
def test_a_simulated_exchange_that_dies_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "trader up")
        children = child_pids(run.pid)
        os.kill(children["simex"], signal.SIGKILL)
        _, complaints = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    assert complaints.startswith("surefoot: the simulated exchange was ended by SIGKILL; its account is gone")
    assert complaints.count("\n") == 1
    assert is_gone(children["trade"])
    (told,) = [alert for alert in recent_alerts(alerts_path(journal_of(tmp_path))) if alert["kind"] == "stop"]
    assert told["level"] == "critical"
    assert told["text"].startswith("the simulated exchange was ended by SIGKILL; its account is gone")


def test_children_end_when_the_run_is_killed(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "first price")
        children = child_pids(run.pid)
        run.kill()
        run.wait()
        wait_for(lambda: all(is_gone(pid) for pid in children.values()), "children outlive the run")


def test_status_shows_what_the_running_trader_knows(tmp_path: Path) -> None:
    with going("run", "--no-terminal", cwd=tmp_path) as run:
        lines_until(run, "entries on")
        answer = json.loads(surefoot("status", "--json", cwd=tmp_path).stdout)
        view = read_view(socket_path(journal_of(tmp_path)))
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=PATIENCE_S)
    assert view is not None
    assert answer["running"] is True
    assert answer["view"]["run"] == view.run
    assert Decimal(answer["view"]["equity"]) == 10_000
    after = json.loads(surefoot("status", "--json", cwd=tmp_path).stdout)
    assert after["running"] is False
    assert after["view"]["run"] == view.run


def test_a_symbol_that_is_not_on_the_tape_is_refused(tmp_path: Path, candles: Path) -> None:
    done = surefoot("run", "--replay", str(candles), "--set", "market.symbols=BTCUSDT,ETHUSDT", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "surefoot: market.symbols: ETHUSDT not in the replayed files; they hold BTCUSDT" in done.stderr
    assert "Traceback" not in done.stderr


# -- trade ------------------------------------------------------------------------------------------------------------


@contextmanager
def exchange(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with going("exchange", "--speed", "60", "--history-days", "8", cwd=tmp_path) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def refused(code: int, done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("surefoot: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.spec("MODE-1")
def test_an_exchange_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    keys = {"SIMEX_API_KEY": "k", "SIMEX_API_SECRET": "s"}
    done = surefoot("trade", "--rest", address, "--paced", cwd=tmp_path, **keys)
    assert address in refused(4, done)


def test_a_wrong_key_is_said_in_one_line(tmp_path: Path) -> None:
    with exchange(tmp_path) as market:
        keys = {"SIMEX_API_KEY": "wrong", "SIMEX_API_SECRET": "wrong"}
        done = surefoot("trade", "--rest", market["rest"], "--paced", cwd=tmp_path, **keys)
    assert "key" in refused(4, done)


def test_a_journal_in_use_is_said_in_one_line_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with exchange(tmp_path) as market, Journal.open(path):
        keys = {"SIMEX_API_KEY": market["api_key"], "SIMEX_API_SECRET": market["secret"]}
        words = ("trade", "--rest", market["rest"], "--paced", "--set", f"store.journal_path={path}")
        done = surefoot(*words, cwd=tmp_path, **keys)
    assert f"another trader holds it (pid {os.getpid()}); stop that one first" in refused(3, done)


# -- backtest ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-1", "BT-6")
def test_backtest_tells_the_same_twice_and_writes_its_report(tmp_path: Path, candles: Path) -> None:
    words = ("backtest", "--candles", str(candles), "--strategy", "rsi", "--json", *EAGER)
    one = json.loads(surefoot(*words, "--report", "out.html", cwd=tmp_path, PYTHONHASHSEED="1").stdout)
    two = json.loads(surefoot(*words, "--band", cwd=tmp_path, PYTHONHASHSEED="2").stdout)
    assert one["candles"] == CANDLES
    assert one["digest"] == two["digest"]
    assert one["round_trips"] == two["round_trips"] != []
    assert one["band"] == two["band"]
    assert one["monte_carlo"] == two["monte_carlo"]
    page = (tmp_path / "out.html").read_text()
    assert one["digest"] in page
    assert re.findall(r"<p class=\"note\">not measured", page) == []
    assert len(page) < 5_000_000


@pytest.mark.spec("BT-3")
def test_a_backtest_runs_once_without_a_report_or_where_no_band_is_wanted(tmp_path: Path, candles: Path) -> None:
    words = ("backtest", "--candles", str(candles), "--json", *EAGER)
    assert "band" not in json.loads(surefoot(*words, cwd=tmp_path).stdout)
    assert "band" not in json.loads(surefoot(*words, "--report", "out.html", "--no-band", cwd=tmp_path).stdout)
    assert "the run was not repeated on the other path" in (tmp_path / "out.html").read_text()


@pytest.mark.spec("BT-1", "PNL-2")
def test_a_backtest_on_futures_takes_funding_rates_from_files(tmp_path: Path, candles: Path) -> None:
    (tmp_path / "BTCUSDT-funding.csv").write_text("1717200000000,0.0001\n")
    futures = ("--set", "market.venue=futures")
    words = ("backtest", "--candles", str(candles), *EAGER, *futures, "--funding", "BTCUSDT-funding.csv")
    result = json.loads(surefoot(*words, "--json", cwd=tmp_path).stdout)
    assert result["funding"]["BTCUSDT"]["files"][0]["file"] == "BTCUSDT-funding.csv"
    missing = len(result["funding"]["BTCUSDT"]["missing_ms"])
    assert missing > 0
    assert f"settlements {missing} are in no funding file" in surefoot(*words, cwd=tmp_path).stdout
    assert "booked at 1 bps" in surefoot(*words, "--funding-gaps", "constant", cwd=tmp_path).stdout
    assert "give skip or constant" in refused(2, surefoot(*words, "--funding-gaps", "guess", cwd=tmp_path))
    assert "only the exact engine trades futures" in refused(2, surefoot(*words, "--engine", "fast", cwd=tmp_path))
    assert "there is no such file" in refused(5, surefoot(*words, "--funding", "ETHUSDT-funding.csv", cwd=tmp_path))


def test_backtest_for_a_person_is_short(tmp_path: Path, candles: Path) -> None:
    done = surefoot("backtest", "--candles", str(candles), *EAGER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "BTCUSDT  15m  2025-06-01 00:00:00 to 2025-06-04 03:00:00"
    assert [line.split()[0] for line in lines[1:8]] == [
        "candles", "equity", "return", "round", "exits", "refusals", "digest",
    ]  # fmt: skip
    assert len(lines) <= 20
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "expected"), [("time,price\nnow,dear\n", "BTCUSDT.csv"), (None, "BTCUSDT.csv"), ("", "BTCUSDT.csv")]
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(text: str | None, expected: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "BTCUSDT.csv").write_text(text)
    assert expected in refused(5, surefoot("backtest", "--candles", "BTCUSDT.csv", cwd=tmp_path))


@pytest.mark.spec("DATA-6")
def test_a_gap_is_refused_unless_it_is_kept_on_purpose(tmp_path: Path, candles: Path) -> None:
    rows = candles.read_text().splitlines()
    candles.write_text("\n".join(rows[:100] + rows[103:]) + "\n")
    words = ("backtest", "--candles", str(candles), "--json")
    assert "keep" in refused(5, surefoot(*words, cwd=tmp_path))
    assert surefoot(*words, "--gaps", "keep", cwd=tmp_path).returncode == 0
    assert surefoot("run", "--replay", str(candles), "--json", cwd=tmp_path).returncode == 5


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, candles: Path) -> None:
    done = surefoot("backtest", "--candles", str(candles), "--report", "no/such/out.html", cwd=tmp_path)
    assert "--report no/such/out.html" in refused(2, done)
