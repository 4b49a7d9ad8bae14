"""The exact backtest as a whole: files in, the same result every time, and plain words for what it cannot do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.market import GeneratedMarket
from surefoot.config import ConfigError, Settings, load
from surefoot.research.backtest import run_backtest
from surefoot.research.data import DataError

START_MS = 1_790_000_100_000 // 3_600_000 * 3_600_000
OFTEN = {
    "rsi.oversold": "45",
    "rsi.overbought": "55",
    "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.5",
}


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four days of generated minutes of two symbols, as Binance's CSV."""
    folder = tmp_path_factory.mktemp("minutes")
    market = GeneratedMarket(15, ["BTCUSDT", "ETHUSDT"], START_MS, history_days=4)
    for symbol, candles in market.history.items():
        rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.end_ms - 1},0,0,0,0,0" for c in candles)
        (folder / f"{symbol}-1m.csv").write_text("\n".join(rows) + "\n")
    return [str(folder / f"{symbol}-1m.csv") for symbol in market.history]


def settings_with(**values: str) -> Settings:
    overrides = {name.replace("__", ".", 1): value for name, value in values.items()}
    return load(None, OFTEN | overrides, {}).settings


@pytest.fixture(scope="module")
def result(minutes: list[str]) -> dict[str, Any]:
    return run_backtest(settings_with(), minutes)


@pytest.mark.spec("BT-1", "BT-5")
def test_a_backtest_trades_and_tells_what_the_report_needs(result: dict[str, Any], minutes: list[str]) -> None:
    assert result["candles"] == 2 * 4 * 1_440
    assert len(result["round_trips"]) >= 5, "the test proves nothing without trades"
    assert {"symbol", "side", "entry_ms", "exit_ms", "entry_price", "exit_price", "quantity", "reason", "pnl"} <= set(
        result["round_trips"][0]
    )
    assert {trip["reason"] for trip in result["round_trips"]} == {"stop", "target"}
    assert [Path(file).name for file in minutes] == [data["file"] for data in result["data"]]
    json.dumps(result)  # money is text, times are numbers: a program can read all of it


@pytest.mark.spec("PNL-1", "BT-1")
def test_equity_is_what_the_round_trips_and_the_open_positions_made_of_it(result: dict[str, Any]) -> None:
    earned = sum((Decimal(trip["pnl"]) for trip in result["round_trips"]), Decimal(0))
    gain = Decimal(result["final_equity"]) - Decimal(result["initial_equity"])
    assert not result["open_positions"], "the run ends flat, or this compares nothing"
    assert 0 <= gain - earned < 1  # what is too little to be sold is still owned: less than a lot of each symbol


@pytest.mark.spec("BT-6")
def test_the_digest_does_not_depend_on_the_order_of_the_files(result: dict[str, Any], minutes: list[str]) -> None:
    assert run_backtest(settings_with(), minutes[::-1])["digest"] == result["digest"]


@pytest.mark.spec("BT-6")
def test_the_digest_tells_settings_apart_that_trade_differently(result: dict[str, Any], minutes: list[str]) -> None:
    assert run_backtest(settings_with(costs__slippage_bps="3"), minutes)["digest"] != result["digest"]


@pytest.mark.spec("BT-6")
def test_the_digest_is_the_same_in_another_process_under_another_hash_seed(
    result: dict[str, Any], minutes: list[str]
) -> None:
    code = (
        "import sys, json; from surefoot.config import load; from surefoot.research.backtest import run_backtest;"
        "print(run_backtest(load(None, json.loads(sys.argv[1]), {}).settings, sys.argv[2:])['digest'])"
    )
    for seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, json.dumps(OFTEN), *minutes]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
        assert done.stdout.strip() == result["digest"]


@pytest.mark.spec("SAFE-7", "BT-1")
def test_what_comes_later_changes_nothing_that_was_decided_before(
    result: dict[str, Any], minutes: list[str], tmp_path: Path
) -> None:
    cut = []
    for file in minutes:
        lines = Path(file).read_text().splitlines()[: 3 * 1_440]
        cut.append(str(tmp_path / Path(file).name))
        Path(cut[-1]).write_text("\n".join(lines) + "\n")
    end_ms = START_MS - 1_440 * 60_000
    early = [trip for trip in result["round_trips"] if trip["exit_ms"] < end_ms]
    assert len(early) >= 3
    assert run_backtest(settings_with(), cut)["round_trips"][: len(early)] == early


def test_files_of_different_intervals_are_refused(minutes: list[str], tmp_path: Path) -> None:
    other = tmp_path / "ETHUSDT.csv"
    other.write_text("".join(f"{START_MS + at * 300_000},1,1,1,1,1\n" for at in range(50)))
    with pytest.raises(DataError, match="one interval"):
        run_backtest(settings_with(), [minutes[0], str(other)])


def test_one_symbol_twice_is_refused(minutes: list[str]) -> None:
    with pytest.raises(DataError, match="BTCUSDT is given 2 times"):
        run_backtest(settings_with(), [minutes[0], minutes[0]])


def test_candles_too_coarse_for_the_interval_are_refused(minutes: list[str]) -> None:
    coarse = Path(minutes[0]).with_name("SOLUSDT.csv")
    coarse.write_text("".join(f"{START_MS + at * 300_000},1,1,1,1,1\n" for at in range(50)))
    settings = settings_with(market__interval="1m", market__confirm_interval="5m")
    with pytest.raises(ConfigError, match=r"cannot be built from candles of 5m"):
        run_backtest(settings, [str(coarse)])


def test_more_symbols_than_slots_are_refused_in_words(minutes: list[str], tmp_path: Path) -> None:
    files = [*minutes]
    for symbol in ("BNBUSDT", "SOLUSDT", "XRPUSDT"):
        files.append(str(tmp_path / f"{symbol}.csv"))
        Path(files[-1]).write_text("".join(f"{START_MS + at * 60_000},1,1,1,1,1\n" for at in range(50)))
    with pytest.raises(ConfigError, match=r"risk.notional_max_pct_of_equity"):
        run_backtest(settings_with(), files)
