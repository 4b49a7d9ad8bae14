"""What may be believed of a search: luck, overfitting, and one plain sentence.

There is an edge only if the tests of walk-forward in a row earned after costs, the deflated Sharpe ratio says skill
with at least 95 %, and the probability of overfitting is below a half. What was not measured is no edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import pvariance
from typing import Any

import numpy as np

from surefoot.research.evaluation import Measured, Period
from surefoot.research.metrics import DAYS_PER_YEAR, SHARPE_BASIS, Floats
from surefoot.research.statistics import (
    BLOCKS,
    deflated_sharpe,
    expected_max_sharpe,
    moments_of,
    overfitting,
)
from surefoot.research.study import Study

# What an edge must show: both are conventions, 95 % as for any test, and less than a coin's chance of overfitting.
DEFLATED_SHARPE_MIN = 0.95
PBO_MAX = 0.5


def verdict(
    walked: Mapping[str, Any] | None,
    deflated: Mapping[str, Any] | None,
    overfit: Mapping[str, Any] | None,
    differences: Sequence[str] = (),
) -> tuple[bool, str]:
    """Whether there is an edge, and the sentence that says so; what was not measured or confirmed is no edge either."""
    doubts = []
    if walked is None:
        doubts.append("walk-forward was switched off, so nothing was judged on candles that the search had not seen")
    elif walked["return_pct"] is None or walked["return_pct"] <= 0:
        doubts.append(f"walk-forward made {walked['return_pct'] or 0:+.2f} % after costs on candles it had not seen")
    if deflated is None:
        doubts.append("no Sharpe ratio could be deflated")
    elif deflated["probability"] < DEFLATED_SHARPE_MIN:
        doubts.append(
            f"the deflated Sharpe ratio says skill with {100 * deflated['probability']:.0f} %, after"
            f" {deflated['trials']} looks, where {100 * DEFLATED_SHARPE_MIN:.0f} % are needed"
        )
    if overfit is None:
        doubts.append("the probability of overfitting could not be measured")
    elif overfit["probability"] >= PBO_MAX:
        doubts.append(f"the probability of overfitting is {100 * overfit['probability']:.0f} %, not below 50 %")
    if differences:
        doubts.append(f"the exact engine did not confirm {len(differences)} of the best")
    if doubts:
        return False, f"No edge: {'; '.join(doubts)}."
    assert walked is not None, "doubted above"
    return True, (
        f"An edge on this period: walk-forward made {walked['return_pct']:+.2f} % after costs on candles it had not"
        " seen, and the figures hold after all looks are counted. That is no promise for another period."
    )


def deflated(best: Measured | None, study: Study, whole: Period) -> dict[str, Any] | None:
    """The Sharpe ratio of the best trial against what luck gives to as many looks; None where it has none."""
    moments = None if best is None or best.returns is None else moments_of(best.returns)
    if moments is None:
        return None
    every = [moments_of(found.returns) for found in study.all_known(whole) if found.returns is not None]
    variance = pvariance([one.sharpe for one in every if one is not None])
    count = study.looks(whole)
    probability = deflated_sharpe(moments, count, variance)
    if probability is None:
        return None
    annual = math.sqrt(DAYS_PER_YEAR)
    return {
        "probability": probability,
        "sharpe": annual * moments.sharpe,
        "expected_max_sharpe": annual * expected_max_sharpe(count, variance),
        "trials": count,
        "basis": f"{moments.periods} {SHARPE_BASIS}",
    }


def overfit(study: Study, whole: Period, seed: int) -> dict[str, Any] | None:
    """By cross-validation over everything that the whole period was looked at with; None for too little of it."""
    columns = [found.returns for found in study.all_known(whole) if found.returns is not None]
    length = min(map(len, columns), default=0)
    blocks = min(BLOCKS, length // 4 * 2)
    if len(columns) < 2 or blocks < 2:
        return None
    table: Floats = np.column_stack([column[:length] for column in columns])
    found = overfitting(table, np.random.default_rng(seed), blocks=blocks)
    return {
        "probability": found.probability,
        "loss_probability": found.loss_probability,
        "splits": found.splits,
        "trials": found.trials,
        "basis": f"cross-validation over {found.splits} splits of {found.blocks} blocks of {length // blocks} days",
    }
