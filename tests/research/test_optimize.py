"""The search as a whole: the same answers however it is carried out, nothing lost, nothing seen too early, no lies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from surefoot.cli import main
from surefoot.config import ConfigError, Settings, load
from surefoot.research.data import CandleFile, DataError, EvaluationError
from surefoot.research.evaluation import Measured, Period, cut, look, source_of
from surefoot.research.inputs import load_files
from surefoot.research.looks import Quest
from surefoot.research.optimize import optimize
from surefoot.research.report_optimization import optimization_html
from surefoot.research.space import Space, space_of
from surefoot.research.verdict import verdict
from surefoot.research.walkforward import Plan
from surefoot.research.workers import Executor, local_pool
from surefoot.store.journal import StoreError
from tests.research.toys import (
    EXACT,
    FALLING,
    FALTERING,
    FLAGGING,
    HOUR_MS,
    LYING,
    PEEKING,
    START_MS,
    TIMELESS,
    TOY,
    Faltering,
    quarters_csv,
    walk_csv,
)

ROOT = Path(__file__).parents[2]
DAYS = 60
ENGINES = {"fast": TOY, "exact": EXACT}
SPACE = ("rsi.period=3:40", "exits.stop_pct_of_price=1:5:0.5", "rsi.oversold=20:40:5")
QUEST = Quest(trials=24, batch=8, trades_min=3, engine="fast", walk=Plan(folds=3))
# What a run took is not what it found.
PASSING = {"seconds", "evaluations_per_second", "evaluations", "reused", "study"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[CandleFile]:
    return load_files([walk_csv(tmp_path_factory.mktemp("walk"), "BTCUSDT", DAYS, seed=4)], "refuse")


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def settings() -> Settings:
    return load(None, {"market.interval": "1h", "market.warmup_candles": "110", "rsi.period": "14"}, {}).settings


def searched(
    files: list[CandleFile], executor: Executor, study: Path, quest: Quest = QUEST, **engines: str
) -> dict[str, Any]:
    return optimize(settings(), files, space(), quest, executor, study, engines=ENGINES | engines)


def space(*words: str) -> Space:
    return space_of(words or SPACE, "rsi")


def found(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in PASSING}


@pytest.fixture(scope="module")
def result(files: list[CandleFile], threads: Executor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return searched(files, threads, tmp_path_factory.mktemp("study") / "study.sqlite")


# -- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4", "BT-5")
def test_a_search_tells_trials_folds_luck_and_a_verdict(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    scores = [trial["score"] for trial in result["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert result["trials_count"] == 24
    assert len(result["walk_forward"]["folds"]) == 3
    assert 0 <= result["deflated_sharpe"]["probability"] <= 1
    assert result["deflated_sharpe"]["trials"] == result["looks"]
    assert 0 <= result["pbo"]["probability"] <= 1
    assert len(result["confirmed"]) == 5
    assert result["monte_carlo"]["order"]["draws"] == 1_000
    assert result["plateau"]["neighbours"]
    html = optimization_html(result)
    assert result["verdict"].partition(":")[0] in html
    assert "not measured" not in html


@pytest.mark.spec("BT-4")
def test_every_look_is_counted_and_a_second_search_adds_to_them(
    result: dict[str, Any], files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    first = searched(files, threads, tmp_path / "s.sqlite")
    asked = {json.dumps(trial["params"]) for trial in first["trials"]}
    asked |= {json.dumps(near["params"]) for near in first["plateau"]["neighbours"]}
    assert first["looks"] == len(asked) == result["looks"]
    assert [fold["test_looks"] for fold in first["walk_forward"]["folds"]] == [1, 1, 1]
    again = searched(files, threads, tmp_path / "s.sqlite")
    assert again["looks"] == first["looks"], "to look at what is known shows nothing new"
    assert again["evaluations"] == 0
    other = searched(files, threads, tmp_path / "s.sqlite", replace(QUEST, seed=2))
    assert other["looks"] > first["looks"] + 10
    assert other["deflated_sharpe"]["trials"] == other["looks"]
    assert other["walk_forward"]["looks"] > 3, "the second search chose otherwise and looked at the tests again"


@pytest.mark.spec("BT-4")
def test_a_search_of_noise_finds_no_edge_and_says_so(result: dict[str, Any]) -> None:
    assert not result["has_edge"]
    assert result["verdict"].startswith("No edge: ")


@pytest.mark.parametrize(
    ("return_pct", "probability", "pbo", "has_edge"),
    [(5.0, 0.96, 0.2, True), (-1.0, 0.96, 0.2, False), (5.0, 0.94, 0.2, False), (5.0, 0.96, 0.5, False)],
)
@pytest.mark.spec("BT-4")
def test_an_edge_needs_all_three(return_pct: float, probability: float, pbo: float, has_edge: bool) -> None:
    walked, deflated = {"return_pct": return_pct}, {"probability": probability, "trials": 9}
    edge, sentence = verdict(walked, deflated, {"probability": pbo})
    assert edge is has_edge
    assert sentence.startswith("An edge" if has_edge else "No edge")


@pytest.mark.spec("BT-4")
def test_without_walk_forward_there_is_never_an_edge(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    result = searched(files, threads, tmp_path / "s.sqlite", replace(QUEST, walk=None, trials=8))
    assert result["walk_forward"] is None
    assert "walk-forward was switched off" in result["verdict"]
    assert verdict(None, {"probability": 1.0, "trials": 1}, {"probability": 0.0})[0] is False


@pytest.mark.spec("BT-4")
def test_settings_that_contradict_each_other_are_refused_and_never_looked_at(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    words = ("rsi.extreme_low=10:40:10", "rsi.oversold=20:40:10")
    quest = replace(QUEST, method="grid", walk=None)
    result = optimize(settings(), files, space(*words), quest, threads, tmp_path / "s.sqlite", engines=ENGINES)
    assert (result["trials_count"], result["refused_count"]) == (12, 3)
    assert result["looks"] == 9


@pytest.mark.spec("BT-4")
def test_a_run_with_too_few_round_trips_has_no_score(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    result = searched(files, threads, tmp_path / "s.sqlite", replace(QUEST, trades_min=10_000))
    assert (result["trials"], result["unscored_count"]) == ([], 24)
    assert [fold["params"] for fold in result["walk_forward"]["folds"]] == [None] * 3
    assert result["walk_forward"]["return_pct"] == 0
    assert result["verdict"].startswith("No edge")


# -- the same however it is carried out -------------------------------------------------------------------------------


@pytest.mark.spec("BT-4", "BT-6")
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_processes_finds_the_same(
    result: dict[str, Any], files: list[CandleFile], tmp_path: Path, workers: int
) -> None:
    with local_pool(workers) as pool:
        assert found(searched(files, pool, tmp_path / "s.sqlite")) == found(result)


@pytest.mark.spec("BT-4")
def test_the_same_search_runs_unchanged_on_an_executor_of_somebody_else(
    result: dict[str, Any], files: list[CandleFile], tmp_path: Path
) -> None:
    class Cluster:
        """Only what is promised to be enough: submit, and answers with result, done and cancel."""

        def __init__(self, pool: ProcessPoolExecutor) -> None:
            self.submit = pool.submit

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert found(searched(files, Cluster(pool), tmp_path / "s.sqlite")) == found(result)


@pytest.mark.spec("BT-4")
def test_a_worker_on_another_machine_reads_the_file_itself_but_only_that_file(
    files: list[CandleFile], tmp_path: Path
) -> None:
    period = Period(START_MS, START_MS, START_MS + DAYS * 24 * HOUR_MS)
    source = source_of(TOY, settings(), files, tmp_path / "columns")
    mapped = look(source, (("rsi.period", "9"),), period)
    elsewhere = replace(source, files=tuple(replace(file, folder="not-there") for file in source.files))
    read = look(elsewhere, (("rsi.period", "9"),), period)
    assert isinstance(mapped, Measured)
    assert isinstance(read, Measured)
    assert read.returns == pytest.approx(mapped.returns)
    changed = replace(source, files=tuple(replace(file, folder="not-there", sha256="0") for file in source.files))
    with pytest.raises(DataError, match="not the file that the search began with"):
        look(changed, (("rsi.period", "9"),), period)


# -- a study on disk --------------------------------------------------------------------------------------------------

KILLED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from surefoot.research.inputs import load_files
from surefoot.research.workers import local_pool
from tests.research import test_optimize as t
from surefoot.research.optimize import optimize

if __name__ == "__main__":
    with local_pool(2) as pool:
        optimize(t.settings(), load_files([sys.argv[1]], "refuse"), t.space(), t.QUEST, pool, Path(sys.argv[2]),
                 lambda done, total, part: print(done, flush=True), t.ENGINES)
"""


@pytest.mark.spec("BT-4")
def test_a_search_killed_in_the_middle_goes_on_where_it_was(
    result: dict[str, Any], files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    script, study, notes = tmp_path / "search.py", tmp_path / "s.sqlite", tmp_path / "pids"
    script.write_text(KILLED)
    notes.mkdir()
    env = os.environ | {"SUREFOOT_TOY_PAUSE_S": "0.02", "SUREFOOT_TOY_NOTES": str(notes)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, str(script), str(files[0].path), str(study)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT) as process:
        assert process.stdout is not None
        seen = 0
        while seen < 40:
            line = process.stdout.readline()
            assert line, "the search ended before it could be killed"
            seen = int(line)
        process.send_signal(signal.SIGKILL)
        process.wait()
    workers = [int(note.name) for note in notes.iterdir()]
    assert workers
    resumed = searched(files, threads, study)
    assert found(resumed) == found(result)
    blindfolded = 2  # looks at a training without the candles after it are not kept
    kept = 40 - blindfolded - QUEST.batch
    assert resumed["reused"] - result["reused"] >= kept, "at most what was in flight is lost"
    assert resumed["evaluations"] <= result["evaluations"] - kept
    deadline_s = time.monotonic() + 10
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline_s, "workers outlive the search that was killed"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.spec("BT-4")
def test_a_confirmation_that_broke_off_goes_on_where_it_was(
    result: dict[str, Any], files: list[CandleFile], tmp_path: Path
) -> None:
    study = tmp_path / "s.sqlite"
    with ThreadPoolExecutor(1) as one_by_one:
        with pytest.raises(ArithmeticError, match="the third run fails"):
            searched(files, one_by_one, study, exact=FALTERING)
        before = Faltering.runs
        resumed = searched(files, one_by_one, study, exact=FALTERING)
        assert Faltering.runs == before + 3, "two of five were confirmed, and are not asked for again"
        again = searched(files, one_by_one, study, exact=FALTERING)
    assert Faltering.runs == before + 3
    assert found(resumed) == found(again) == found(result)


@pytest.mark.spec("BT-4")
def test_every_part_of_a_search_says_what_it_is(files: list[CandleFile], threads: Executor, tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    optimize(settings(), files, space(), QUEST, threads, tmp_path / "s.sqlite", lambda *at: heard.append(at), ENGINES)
    folds = [f"walk-forward, fold {number} of 3" for number in (1, 2, 3)]
    after = ["search over the whole period", "neighbours of the best", "the best 5 by the exact engine"]
    assert list(dict.fromkeys(part for _, _, part in heard)) == [*folds, *after]
    assert all(done <= total for done, total, _ in heard)


@pytest.mark.spec("BT-4")
def test_a_study_of_something_else_is_refused_in_words(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    study, quest = tmp_path / "s.sqlite", replace(QUEST, trials=4, walk=None)
    searched(files, threads, study, quest)
    others = load_files([walk_csv(tmp_path, "BTCUSDT", DAYS, seed=5)], "refuse")
    with pytest.raises(StoreError, match="begun with other candles; give those"):
        searched(others, threads, study, quest)
    with pytest.raises(StoreError, match="begun with another space"):
        optimize(settings(), files, space("rsi.period=3:9"), quest, threads, study, engines=ENGINES)
    dear = load(None, {"market.interval": "1h", "market.warmup_candles": "110", "costs.slippage_bps": "9"}, {}).settings
    with pytest.raises(StoreError, match="begun with other settings"):
        optimize(dear, files, space(), quest, threads, study, engines=ENGINES)
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but a text that is long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="is not a study"):
        searched(files, threads, text, quest)


@pytest.mark.spec("BT-4")
def test_a_study_that_is_open_is_not_opened_twice(files: list[CandleFile], threads: Executor, tmp_path: Path) -> None:
    study, quest = tmp_path / "s.sqlite", replace(QUEST, trials=4, walk=None)

    def meanwhile(done: int, total: int, part: str) -> None:
        with pytest.raises(StoreError, match="another search has this study open"):
            searched(files, threads, study, quest)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(settings(), files, space(), quest, threads, study, meanwhile, ENGINES)


# -- what must not be believed ----------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4")
def test_an_evaluator_sees_the_candles_of_its_period_only(files: list[CandleFile]) -> None:
    lead_ms, from_ms, to_ms = (START_MS + hour * HOUR_MS for hour in (5, 48, 96))
    (seen,) = cut(files, Period(lead_ms, from_ms, to_ms))
    assert (seen.columns.open_ms[0], seen.columns.open_ms[-1]) == (lead_ms, to_ms - HOUR_MS)
    (whole,) = files
    assert len(cut(files, Period(0, 0, to_ms + HOUR_MS - 1))[0]) == len(cut(files, Period(0, 0, to_ms))[0])
    with pytest.raises(DataError, match="no file has candles"):
        cut([whole], Period(0, 0, START_MS))


@pytest.mark.spec("BT-4")
def test_an_evaluator_that_looks_ahead_is_found_out(files: list[CandleFile], threads: Executor, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="looks ahead"):
        searched(files, threads, tmp_path / "s.sqlite", fast=PEEKING)


@pytest.mark.spec("BT-4")
def test_an_evaluation_that_tells_of_another_time_is_found_out(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="outside that period"):
        searched(files, threads, tmp_path / "s.sqlite", fast=TIMELESS)


@pytest.mark.spec("BT-4", "BT-2")
def test_a_disagreement_with_the_exact_engine_is_an_error(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=r"trial \d+ .*the exact engine disagrees: round trip 1 is BTCUSDT"):
        searched(files, threads, tmp_path / "s.sqlite", replace(QUEST, trials=8, walk=None), exact=LYING)


@pytest.mark.spec("BT-4", "BT-2")
def test_a_difference_that_was_announced_is_told_and_is_no_confirmation(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    quest = replace(QUEST, trials=8, walk=None)
    result = searched(files, threads, tmp_path / "s.sqlite", quest, fast=FLAGGING)
    assert not result["trials"][0]["exact"]["agrees"]
    assert "as 3 round trips were flagged: round trip 1 is BTCUSDT" in result["notes"][0]
    assert "the exact engine did not confirm 5 of the best" in result["verdict"]


@pytest.mark.spec("BT-4")
def test_a_failure_in_a_worker_ends_the_search_with_its_reason(files: list[CandleFile], tmp_path: Path) -> None:
    with local_pool(1) as pool, pytest.raises(ArithmeticError, match="no figure for"):
        searched(files, pool, tmp_path / "s.sqlite", fast=FALLING)


@pytest.mark.spec("BT-4")
def test_what_cannot_be_searched_is_said_before_anything_runs(
    files: list[CandleFile], threads: Executor, tmp_path: Path
) -> None:
    loose = space("exits.stop_pct_of_price=1:5")
    with pytest.raises(ConfigError, match="a grid needs a step"):
        optimize(settings(), files, loose, replace(QUEST, method="grid"), threads, tmp_path / "s.sqlite")
    with pytest.raises(ConfigError, match="too few for 40 folds"):
        searched(files, threads, tmp_path / "s.sqlite", replace(QUEST, walk=Plan(folds=40)))
    assert not (tmp_path / "s.sqlite").exists()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4")
def test_the_command_searches_with_the_real_engines_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["optimize", "--candles", quarters_csv(tmp_path, "BTCUSDT", 2), "--no-walk-forward", "--method", "grid"]
    words += ["--space", "exits.stop_pct_of_price=0.5,1", "--trades-min", "1", "--workers", "1"]
    words += [
        "--set",
        "market.warmup_candles=20",
        "rsi.oversold=45",
        "exits.target_pct_of_price=0.5",
        "--report",
        "study.html",
        "--json",
    ]
    assert main(words) == 0
    printed = capsys.readouterr()
    first = json.loads(printed.out)
    lines = [line for line in printed.err.splitlines() if line.startswith("surefoot: ")]
    assert lines[0].startswith("surefoot: search over the whole period: 0 of 12 looks, 0:")
    assert any(line.startswith("surefoot: the best 2 by the exact engine: ") for line in lines)
    assert first["trials_count"] == 2
    assert len(first["confirmed"]) == len(first["trials"]) > 0
    assert first["evaluations"] == 2
    assert "No edge" in (tmp_path / "study.html").read_text()
    assert main(words[:-1]) == 0
    told = capsys.readouterr().out
    assert "No edge: walk-forward was switched off" in told
    assert "2 known before" in told


@pytest.mark.spec("BT-4")
def test_ctrl_c_ends_the_command_and_says_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("surefoot.research.optimize.optimize", interrupted)
    words = ["optimize", "--candles", walk_csv(tmp_path, "BTCUSDT", 3, seed=1), "--study", str(tmp_path / "s.sqlite")]
    assert main([*words, "--set", "market.interval=1h", "--workers", "1"]) == 130
    assert "s.sqlite keeps what was found, and the same command goes on" in capsys.readouterr().err


@pytest.mark.spec("BT-4")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--space", "rsi.period=5:300"], "allowed is a whole number from 2 to 100"),
        (["--method", "magic"], "--method magic: give one of tpe, cmaes, random, grid"),
        (["--score", "luck"], "--score luck: give one of sharpe"),
    ],
)
def test_the_command_refuses_in_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "--candles", "none.csv", *words]) == 2
    assert told in capsys.readouterr().err
