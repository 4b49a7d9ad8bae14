"""The ground of the comparisons: candles laid to and fro, trades compared, and a peer that cannot run named as such."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import comparison, environments
from bench.environments import NotMeasured, Process
from bench.ground import COMBINATIONS, MINUTE_MS, first_combinations, to_and_fro

MONTH = {
    "open_time": MINUTE_MS * np.arange(5, 8),
    "open": np.array([10.0, 11.0, 12.5]),
    "high": np.array([11.5, 13.0, 14.0]),
    "low": np.array([9.5, 10.5, 12.0]),
    "close": np.array([11.0, 12.5, 13.0]),
    "volume": np.array([1.0, 2.0, 3.0]),
}
SAME = {"candles": 9, "trades": 3, "first": [1, 2, 3], "last": [1, 2, 3], "final_equity": 1000.0}


@pytest.mark.spec("PERF-1")
def test_candles_laid_to_and_fro_meet_where_they_turn_and_go_on_by_the_minute() -> None:
    laid = to_and_fro(MONTH, 8)
    assert laid["open"].tolist() == [10.0, 11.0, 12.5, 13.0, 12.5, 11.0, 10.0, 11.0]
    assert laid["close"].tolist() == [11.0, 12.5, 13.0, 12.5, 11.0, 10.0, 11.0, 12.5]
    assert laid["high"].tolist() == [11.5, 13.0, 14.0, 14.0, 13.0, 11.5, 11.5, 13.0]
    assert laid["open_time"].tolist() == [MINUTE_MS * minute for minute in range(5, 13)]
    assert (laid["low"] <= np.minimum(laid["open"], laid["close"])).all()
    assert (laid["high"] >= np.maximum(laid["open"], laid["close"])).all()


@pytest.mark.spec("PERF-2")
def test_the_sweep_has_a_thousand_different_combinations_and_a_slow_program_gets_some_from_all_over() -> None:
    assert len(set(COMBINATIONS)) == len(COMBINATIONS) == 1_000
    some = first_combinations(20)
    assert len(set(some)) == 20
    assert {period for period, *_ in some} == {period for period, *_ in COMBINATIONS}


def test_programs_that_trade_alike_are_said_to_and_others_are_not() -> None:
    assert comparison.agreement(SAME, SAME | {"final_equity": 1001.0}).startswith("same trades as ours, equity 1.0e-03")
    other = SAME | {"last": [1, 2, 4]}
    assert "5 of 6 first and last entries the same" in comparison.agreement(SAME, other)


def test_other_candles_are_not_the_same_work() -> None:
    with pytest.raises(NotMeasured, match="not the same work"):
        comparison.agreement(SAME, SAME | {"candles": 8})


def test_a_program_that_fails_is_not_measured_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run_broken.py").write_text("raise SystemExit('no such engine here')")
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(environments, "python_of", lambda peer: Path(sys.executable))
    with pytest.raises(NotMeasured, match="no such engine here"), Process("broken") as process:
        process.ask("single", tmp_path, {})


def test_a_program_that_cannot_be_installed_is_not_measured() -> None:
    pip = [sys.executable, "-c", "import sys; sys.exit('ERROR: No matching distribution found')"]
    with pytest.raises(NotMeasured, match="could not be installed: ERROR: No matching distribution found"):
        environments.install(pip)
