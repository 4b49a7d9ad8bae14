"""The fast backtest from outside: its command, its digest, its threads, its code on disk, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.config import ConfigError, Settings, load
from surefoot.research import fastcode
from surefoot.research.data import CandleFile, DataError, load_candles
from surefoot.research.evaluation import ExactEvaluator, Period
from surefoot.research.fastbacktest import differences, run_fast_loaded
from surefoot.research.fastevaluation import FastEvaluator, outcome_of
from surefoot.research.fastrun import Outcome, Prepared, prepare
from surefoot.research.inputs import settings_for, tapes_of
from surefoot.signals.strategy import strategy_named
from surefoot.strategies import own_strategy
from tests.conftest import ROOT

BUSY = {"mode": "backtest", "rsi.oversold": "45", "rsi.overbought": "55", "exits.target_pct_of_price": "0.8",
        "exits.stop_pct_of_price": "0.6", "market.interval": "5m", "market.confirm_interval": "15m"}  # fmt: skip
DEMO = "demo/um_1m"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine compiles


@pytest.fixture(scope="module")
def files(shared_data: Path) -> list[CandleFile]:
    return [load_candles(shared_data / DEMO / f"{symbol}.parquet") for symbol in ("BTCUSDT", "SOLUSDT")]


def chosen(**values: object) -> Settings:
    return load(None, BUSY | {name.replace("__", "."): str(value) for name, value in values.items()}, {}).settings


def prepared(settings: Settings, files: list[CandleFile]) -> tuple[Settings, Prepared]:
    settings = settings_for(settings, files)
    return settings, prepare(tapes_of(settings, files, ()), settings)


def surefoot(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "surefoot", *words], capture_output=True, text=True, check=False)


# -- the same inputs, the same digest ----------------------------------------------------------------------------------


@pytest.mark.spec("BT-6")
def test_same_inputs_give_the_same_digest_in_any_order_of_files_and_runs_and_in_another_process(
    files: list[CandleFile], shared_data: Path
) -> None:
    first = run_fast_loaded(chosen(), files)
    run_fast_loaded(chosen(exits__stop_pct_of_price=1), files)
    again = run_fast_loaded(chosen(), files[::-1])
    assert len(first["round_trips"]) > 20
    assert again["digest"] == first["digest"]
    assert again["final_equity"] == first["final_equity"]
    words = [word for key, value in BUSY.items() if key != "mode" for word in ("--set", f"{key}={value}")]
    paths = [str(shared_data / DEMO / f"{symbol}.parquet") for symbol in ("SOLUSDT", "BTCUSDT")]
    done = surefoot("backtest", "--candles", paths[0], "--candles", paths[1], "--engine", "fast", "--json", *words)
    assert json.loads(done.stdout)["digest"] == first["digest"], done.stderr


@pytest.mark.spec("BT-6")
def test_runs_side_by_side_in_threads_do_not_touch_each_other(files: list[CandleFile]) -> None:
    settings, arrays = prepared(chosen(), files)
    stops = [settings.model_copy(update={"exits": settings.exits.model_copy(update={"stop_pct_of_price": stop})})
             for stop in (settings.exits.stop_pct_of_price, settings.exits.stop_pct_of_price * 2) * 8]  # fmt: skip
    alone = [arrays.run(one).final_equity for one in stops]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: arrays.run(one).final_equity, stops))
    assert together == alone
    assert len(set(alone)) == 2


@pytest.mark.spec("PERF-2", "BT-6")
def test_a_sweep_finds_for_each_settings_what_a_run_of_them_alone_finds(files: list[CandleFile]) -> None:
    def figures(run: Outcome) -> tuple[Any, ...]:
        arrays = (run.trips, run.alarms, run.levels, run.curve_ms, run.curve, run.counts)
        return *(array.tolist() for array in arrays), run.final_equity, run.open_since_ms, run.fees, run.refusals

    others: list[dict[str, object]] = [
        {"exits__take_1_at_pct": "0.3", "exits__take_1_share_pct": "40"},
        {"exits__target_pct_of_price": "2", "risk__positions_max": 1},
        {"breaker__day_loss_max_pct": "0.2", "breaker__backtest_reset_after_h": 3, "rsi__oversold": 48},
        {"exits__mode": "atr", "exits__trail_activate_pct": "0.3", "exits__trail_distance_pct": "0.2"},
        {"paper__fee_bps": 1, "paper__balance_usdt": 20_000, "costs__latency_ms": 0},
        {},
    ]
    every = [settings_for(chosen(**values), files) for values in others]
    shared = prepare(tapes_of(every[0], files, ()), every[0])
    alone = [figures(prepare(tapes_of(settings, files, ()), settings).run(settings)) for settings in every]
    assert len({trips[-1][3] for trips, *_ in alone if trips}) > 1
    for at in [0, 5, 1, 5, 2, 3, 0, 4, 5, 4, 3, 2]:
        assert shared.glance(every[at], figures) == alone[at], others[at]
        kept = shared.run(every[at])
        shared.glance(every[at - 1], figures)
        assert figures(kept) == alone[at], "what was taken away is not written over"


@pytest.mark.spec("BT-2")
def test_a_run_with_more_round_trips_than_there_is_room_for_is_made_again_with_more(
    files: list[CandleFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, arrays = prepared(chosen(), files)
    whole = arrays.run(settings)
    monkeypatch.setattr("surefoot.research.fastrun.ROOM_FIRST", 2)
    again = arrays.run(settings)
    assert len(whole.trips) > 2
    assert np.array_equal(again.trips, whole.trips)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-2", "PERF-1")
def test_the_fast_command_loads_neither_numba_nor_the_simulated_exchange_nor_a_session(shared_data: Path) -> None:
    program = (
        "import sys; from surefoot.cli import main;"
        "main(['backtest', '--candles', sys.argv[1], '--engine', 'fast']);"
        "print([name for name in ('numba', 'simex.engine', 'surefoot.binance.session') if name in sys.modules])"
    )
    file = str(shared_data / DEMO / "BTCUSDT.parquet")
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.spec("BT-2")
def test_both_engines_side_by_side_say_that_they_agree(shared_data: Path) -> None:
    done = surefoot("backtest", "--candles", str(shared_data / DEMO / "BTCUSDT.parquet"), "--engine", "both", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["engine"] == "exact"
    assert result["notes"] == [f"Both engines make the same {len(result['round_trips'])} round trips."]


@pytest.mark.spec("BT-2")
def test_an_engine_that_does_not_exist_is_refused() -> None:
    done = surefoot("backtest", "--candles", "x.csv", "--engine", "quick")
    assert done.returncode == 2
    assert done.stderr == "surefoot: --engine quick: give exact, fast, both\n"


@pytest.mark.spec("BT-2")
def test_differences_between_two_results_are_told_one_line_each() -> None:
    trip = {"symbol": "BTCUSDT", "side": "long", "entry_ms": 1, "exit_ms": 2, "reason": "stop"}
    exact: dict[str, Any] = {"round_trips": [trip], "final_equity": "100"}
    assert differences(exact, {"round_trips": [trip], "final_equity": "100.00009"}) == []
    assert differences(exact, {"round_trips": [trip | {"exit_ms": 3}], "final_equity": "101"}) == [
        "round trip 1: BTCUSDT 1 to 2 stop by the exact engine, BTCUSDT 1 to 3 stop by the fast one",
        "final equity 100 by the exact engine, 101 by the fast one",
    ]


# -- what is inherent --------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-2", "BT-3")
def test_a_fill_larger_than_its_tick_offers_is_flagged_and_noted(files: list[CandleFile]) -> None:
    thin = [replace(file, columns=file.columns._replace(volume=file.columns.volume * 1e-4)) for file in files]
    result = run_fast_loaded(chosen(), thin)
    flagged = [trip for trip in result["round_trips"] if trip.get("flagged")]
    assert flagged
    assert result["notes"][0].startswith(f"{len(flagged)} round trips took more than their tick offered")
    assert not any(trip.get("flagged") for trip in run_fast_loaded(chosen(), files)["round_trips"])


@pytest.mark.spec("BT-2")
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"costs__latency_ms": 5_001}, "costs.latency_ms = 5001: the fast engine takes at most 5000; use exact"),
        (
            {"market__venue": "futures"},
            "market.venue = futures: the fast engine trades spot only; use --engine exact",
        ),
        ({"paper__fee_bps": "1.00001"}, "paper.fee_bps = 1.00001: the fast engine takes 4 decimals; use exact"),
    ],
)
def test_what_only_the_exact_engine_can_run_is_refused(
    values: dict[str, object], told: str, files: list[CandleFile]
) -> None:
    with pytest.raises(ConfigError) as refused:
        run_fast_loaded(chosen(**values), files)
    assert str(refused.value) == told


@pytest.mark.spec("BT-2")
def test_prices_too_fine_to_be_counted_are_refused(files: list[CandleFile]) -> None:
    columns = files[0].columns
    fine = replace(files[0], columns=columns._replace(high=columns.high * (1 + 1e-13)))
    with pytest.raises(DataError):
        run_fast_loaded(chosen(), [fine])


# -- the code on disk --------------------------------------------------------------------------------------------------


def test_machine_code_is_kept_in_the_first_folder_that_can_be_written_and_broken_code_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, mine = tmp_path / "file", tmp_path / "mine"
    closed.write_text("no folder")
    monkeypatch.setattr(fastcode, "folders", lambda: iter((closed / "cache", mine)))
    code = fastcode.Code("test", [], ("loop",))
    assert code.from_disk() is None
    code.to_disk(b"name and code")
    assert code.from_disk() == b"name and code"
    (kept,) = mine.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert code.from_disk() is None


@pytest.mark.spec("SIG-7", "PERF-3")
def test_a_rule_answers_by_machine_code_what_it_answers_in_python_and_one_that_cannot_be_compiled_is_asked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastcode, "folders", lambda: iter((tmp_path,)))
    chance = np.random.default_rng(7)
    values = [chance.uniform(0, 100, fastcode.ASKED_FROM) for _ in range(3)]
    rsi = strategy_named("rsi")
    says = np.array([0, 1, 1, 1, 1, 1, 1, 0], dtype=np.int8)
    answers = fastcode.asked(rsi.rule, values, rsi.thresholds, 0, says)
    assert answers is not None
    rows = zip(*(column.tolist() for column in values), strict=True)
    assert answers[0].tolist() == [rsi.rule(*row, *rsi.thresholds) for row in rows]
    assert answers[1].tolist() == np.flatnonzero(answers[0]).tolist()
    assert fastcode.asked(rsi.rule, [column[:-1] for column in values], rsi.thresholds, 0, says) is None
    with pytest.raises(IndexError, match="rsi_rule answers with what is no place in its RULES"):
        fastcode.asked(rsi.rule, values, rsi.thresholds, 0, says[:2])
    plain = own_strategy(str(ROOT / "bench/strategies/rsi_plain.py"), {})
    assert fastcode.asked(plain.rule, values[:2], plain.thresholds, 0, says[:4]) is None
    assert fastcode.asked(plain.rule, values[:2], plain.thresholds, 0, says[:4]) is None  # known by now


@pytest.mark.spec("PERF-2")
def test_a_rule_asked_about_few_candles_often_is_asked_by_machine_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastcode, "ASKED_OFTEN_FROM", 300)
    monkeypatch.setattr(fastcode, "_questions", Counter())  # other tests ask this rule, too
    rule = own_strategy(str(ROOT / "examples/rsi_threshold.py"), {})
    values = [np.linspace(0, 100, 100), np.linspace(100, 0, 100)]
    values[0][[3, 50]] = np.nan
    says = np.array([0, 1, 1, 0], dtype=np.int8)
    answers = [fastcode.asked(rule.rule, values, rule.thresholds, 7, says) for _ in range(4)]
    assert answers[:2] == [None, None]
    wanted = [rule.rule(*row, *rule.thresholds) for row in zip(*values, strict=True)]
    wanted[:7] = [3] * 7
    wanted[50] = 3
    for found in answers[2:]:
        assert found is not None
        places, spoken = found
        assert places.tolist() == wanted
        assert spoken.tolist() == [row for row, place in enumerate(wanted) if place in {1, 2}]


@pytest.mark.spec("PERF-3")
def test_a_rule_that_cannot_be_compiled_is_asked_about_a_long_history_without_loading_numba() -> None:
    script = """
    import sys
    import numpy as np
    from surefoot.research.fastcode import asked
    from surefoot.signals.history import decisions_for
    from surefoot.signals.window import Columns
    from surefoot.strategies import own_strategy
    count = 300_000
    close = 100 + np.abs(np.arange(count) % 400 - 200) / 10
    columns = Columns(60_000 * np.arange(count), close, close, close, close, np.ones(count))
    plain = own_strategy("bench/strategies/rsi_plain.py", {})
    said = decisions_for(plain, "BTCUSDT", "1m", "15m", columns, ask=asked)
    assert "numba" not in sys.modules
    rows = zip(*(column.tolist() for column in plain.primary(columns)), strict=True)
    rules = [plain.rule(*row, *plain.thresholds) for row in list(rows)[1_000:]]
    assert said.rule[1_000:].tolist() == rules
    assert {0, 1, 2} <= set(rules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=ROOT)


def test_an_array_of_another_kind_is_refused_before_the_machine_code_could_read_it(files: list[CandleFile]) -> None:
    settings, arrays = prepared(chosen(), files)
    ticks = arrays.market.ticks
    wrong = replace(arrays.market, ticks=ticks._replace(open=ticks.open.astype(np.int32)))
    with pytest.raises(TypeError, match="opens is int32"):
        Prepared(wrong).run(settings)


# -- a search ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4", "BT-2")
def test_a_search_sees_the_same_in_both_engines(files: list[CandleFile]) -> None:
    first_ms = int(files[0].columns.open_ms[0])
    period = Period(first_ms, first_ms + 86_400_000, first_ms + 3 * 86_400_000)
    exact, fast = (kind(chosen(), files) for kind in (ExactEvaluator, FastEvaluator))
    for values in ({}, {"rsi.period": "9"}, {"exits.stop_pct_of_price": "1.1", "market.interval": "15m",
                                             "market.confirm_interval": "1h"}):  # fmt: skip
        ours, theirs = exact.run(values, period), fast.run(values, period)
        assert ours.trips.symbol == theirs.trips.symbol
        assert ours.trips.reason == theirs.trips.reason
        for name in ("entry_ms", "exit_ms"):
            assert np.array_equal(getattr(ours.trips, name), getattr(theirs.trips, name))
        for name in ("entry_price", "exit_price", "quantity", "pnl"):
            assert np.allclose(getattr(ours.trips, name), getattr(theirs.trips, name), rtol=1e-12, atol=1e-9)
        assert ours.curve.equity[-1] == pytest.approx(theirs.curve.equity[-1], rel=1e-12)


@pytest.mark.spec("BT-4", "PERF-2")
def test_signals_are_computed_once_for_settings_that_they_do_not_depend_on(
    files: list[CandleFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, arrays = prepared(chosen(), files)
    first = arrays.opinions_for(settings)
    other = settings_for(chosen(exits__stop_pct_of_price=2, risk__risk_pct_of_equity=1, costs__latency_ms=0), files)
    assert arrays.opinions_for(other) is first
    assert arrays.opinions_for(settings_for(chosen(rsi__period=9), files)) is not first
    assert len(outcome_of(arrays.run(other)).trips) > 0
