"""Our figures against those of an independent library, on random runs: `make referee-metrics`.

The library lives in an environment of its own, which that target makes; where it is not, the test is skipped. CI does
not make it: what is compared are formulas, and those are held by tables worked by hand in `test_metrics.py`.

What is left out: the library counts a result of 0 as no round trip at all, so no result is 0 here; its exposure and its
round trips are days; length of a drawdown, SQN and durations it does not have.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.core.model import MS_PER_DAY
from surefoot.research.metrics import Curve, Trips, measure
from surefoot.research.statistics import moments_of, probabilistic_sharpe
from tests.conftest import ROOT

REFEREE = ROOT / ".referee" / "bin" / "python"
SEEDS = range(200)
TOLERANCE = 1e-9  # relative; both compute with floats of 16 digits
PATIENCE_S = 110


def case(seed: int) -> dict[str, list[float]]:
    """A run of 20 to 1000 days, and the results of 20 to 400 round trips as shares, none of them 0."""
    rng = np.random.default_rng(seed)
    changes = rng.standard_t(4, int(rng.integers(20, 1_000))) * 0.01 + rng.normal(0, 0.001)
    results = rng.standard_t(4, int(rng.integers(20, 400))) * 0.02
    equity = 10_000 * np.concatenate(([1.0], np.maximum(1 + changes, 0.5))).cumprod()
    return {"equity": equity.tolist(), "results": np.clip(results, -0.9, 0.9).tolist()}


def ours(run: dict[str, list[float]], theirs: dict[str, float]) -> dict[str, Any]:
    equity, results = np.array(run["equity"]), np.array(run["results"])
    at = np.arange(len(results), dtype=np.int64)
    figures = measure(Curve(np.arange(len(equity), dtype=np.int64) * MS_PER_DAY, equity), Trips(at, at + 1, results))
    moments = moments_of(equity[1:] / equity[:-1] - 1)
    assert moments is not None
    shaped = replace(moments, skewness=theirs["skewness"], kurtosis=theirs["kurtosis"])
    return figures.as_dict() | {"probabilistic_sharpe": probabilistic_sharpe(shaped)}


@pytest.mark.spec("PNL-3")
def test_figures_equal_those_of_an_independent_library() -> None:
    if not REFEREE.is_file():
        pytest.skip("needs the independent library in an environment of its own: make referee-metrics")
    runs = [case(seed) for seed in SEEDS]
    script = Path(__file__).with_name("referee.py")
    done = subprocess.run(
        [str(REFEREE), "-I", str(script)],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    worst: dict[str, float] = {}
    for run, theirs in zip(runs, json.loads(done.stdout), strict=True):
        figures = ours(run, theirs)
        for name in theirs.keys() - {"skewness", "kurtosis"}:
            difference = abs(figures[name] - theirs[name]) / max(abs(theirs[name]), 1e-12)
            worst[name] = max(worst.get(name, 0.0), difference)
    print(f"\nworst relative difference to quantstats over {len(runs)} random runs")
    print("\n".join(f"  {name:<22}{difference:.1e}" for name, difference in sorted(worst.items())))
    assert len(worst) == 18
    assert not {name: difference for name, difference in worst.items() if not difference <= TOLERANCE}
