"""What the bench times is the work it says: ours trades its rules as a loop of a few lines does, in both engines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.ground import FIELDS, MINUTES, RULES
from surefoot.signals.indicators import rsi

PEER = Path(__file__).resolve().parents[2] / "bench" / "peers" / "run_surefoot.py"
CANDLES = 6_000
TIGHT = {"stop": 0.01, "target": 0.02}
VARIANTS: tuple[dict[str, Any], ...] = ({}, TIGHT, TIGHT | {"rearm_by_exit": True})
COMBINATIONS = [(14, 30, 70, 0.01, 0.02), (7, 24, 76, 0.035, 0.07)]
NAMES = ("period", "low", "high", "stop", "target")


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first days of the bench's month, as it lays them out."""
    laid = tmp_path_factory.mktemp("ground")
    frame = pl.read_parquet(shared_data / MINUTES, columns=list(FIELDS)).head(CANDLES)
    frame.write_parquet(laid / "BTCUSDT.parquet")
    for name in FIELDS:
        np.save(laid / f"{name}.npy", frame[name].to_numpy())
    return laid


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What ours answers, asked as the bench asks: one process, a line for each run."""
    works: list[tuple[str, dict[str, Any], list[Any]]] = [("single", other, []) for other in VARIANTS]
    works += [("single", dict(zip(NAMES, each, strict=True)), []) for each in COMBINATIONS]
    works += [("sweep", {}, COMBINATIONS), ("strategy", {}, []), ("exact", {}, [])]
    lines = [
        json.dumps({"work": work, "candles": str(folder), "rules": RULES | other, "combinations": combinations})
        for work, other, combinations in works
    ]
    told = subprocess.run(
        [sys.executable, str(PEER)], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for (work, *_), line in zip(works, told.stdout.splitlines(), strict=True):
        found.setdefault(work, []).append(json.loads(line))
    return found


def entries_of(folder: Path, rules: dict[str, Any]) -> list[int]:
    """Times of entry by the rules as bench/README.md tells them."""
    open_ms, opens, highs, lows, closes, _ = (np.load(folder / f"{name}.npy") for name in FIELDS)
    index = rsi(closes, rules["period"])
    entries, held, stop, target, armed = [], False, 0.0, 0.0, True
    for at in range(1, len(closes) - 1):
        if held and (lows[at] <= stop or highs[at] > target):
            held = False
        below = index[at] < rules["low"] <= index[at - 1]
        if index[at] > rules["high"]:
            held, armed = False, True
        elif below and (armed or not rules.get("rearm_by_exit")):
            if not held:
                entries.append(int(open_ms[at + 1]))
                held, stop, target = True, opens[at + 1] * (1 - rules["stop"]), opens[at + 1] * (1 + rules["target"])
            armed = False
    return entries


@pytest.mark.spec("PERF-1")
def test_the_fast_loop_enters_when_the_rules_say_so(folder: Path, answers: dict[str, list[dict[str, Any]]]) -> None:
    runs = answers["single"][: len(VARIANTS)]
    for other, run in zip(VARIANTS, runs, strict=True):
        wanted = entries_of(folder, RULES | other)
        assert run["candles"] == CANDLES
        assert run["trades"] == len(wanted) > 10
        assert run["first"] == wanted[:5]
    assert runs[1]["trades"] > runs[2]["trades"], "not to enter again after a stop has bound"


@pytest.mark.spec("PERF-2")
def test_a_combination_of_the_sweep_comes_to_what_it_comes_to_by_itself(
    answers: dict[str, list[dict[str, Any]]],
) -> None:
    alone, (sweep,) = answers["single"][len(VARIANTS) :], answers["sweep"]
    assert sweep["trades"] == [run["trades"] for run in alone]
    assert sweep["equities"] == [run["final_equity"] for run in alone]


@pytest.mark.spec("PERF-3")
def test_plain_python_and_the_exact_engine_trade_the_same(answers: dict[str, list[dict[str, Any]]]) -> None:
    fast = answers["single"][0]
    for other in (*answers["strategy"], *answers["exact"]):
        assert [other[key] for key in ("trades", "first", "last")] == [fast[key] for key in ("trades", "first", "last")]
        assert other["final_equity"] == pytest.approx(fast["final_equity"], rel=1e-6)
