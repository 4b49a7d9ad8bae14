"""Where walk-forward draws its borders, and that nothing of a test is known in its training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from surefoot.config import ConfigError
from surefoot.core.model import MS_PER_DAY
from surefoot.research.evaluation import Measured, Period
from surefoot.research.walkforward import Plan, folds_of, stitched

pytestmark = pytest.mark.spec("BT-4")

BEGIN_MS = 20_000 * MS_PER_DAY
LEAD_MS = 5 * 3_600_000


def whole(days: int, late_ms: int = 0) -> Period:
    return Period(BEGIN_MS + late_ms, BEGIN_MS + late_ms, BEGIN_MS + days * MS_PER_DAY)


@pytest.mark.parametrize("plan", [Plan(), Plan(is_anchored=True), Plan(3, 2, 4), Plan(1, 1, 0)])
@pytest.mark.parametrize("late_ms", [0, 7_000_000])
def test_a_test_follows_its_training_after_the_embargo_and_the_tests_are_one_stretch(plan: Plan, late_ms: int) -> None:
    period = whole(100, late_ms)
    folds = folds_of(period, LEAD_MS, plan)
    assert len(folds) == plan.folds
    for fold in folds:
        assert fold.test.from_ms - fold.train.to_ms == plan.embargo_days * MS_PER_DAY
        assert period.from_ms <= fold.train.from_ms < fold.train.to_ms
        assert fold.train.lead_ms >= period.lead_ms
        assert fold.test.lead_ms == fold.test.from_ms - LEAD_MS
        assert fold.test.from_ms % MS_PER_DAY == fold.test.to_ms % MS_PER_DAY == 0
    assert all(one.test.to_ms == other.test.from_ms for one, other in pairwise(folds))
    assert folds[-1].test.to_ms == period.to_ms


def test_rolling_trainings_have_one_length_and_anchored_ones_one_beginning() -> None:
    rolling, anchored = (folds_of(whole(100), 0, Plan(is_anchored=is_anchored)) for is_anchored in (False, True))
    assert len({fold.train.to_ms - fold.train.from_ms for fold in rolling}) == 1
    assert {fold.train.from_ms for fold in anchored} == {BEGIN_MS}


def test_too_few_days_are_said_with_what_is_needed() -> None:
    with pytest.raises(ConfigError, match="15 days are too few for 5 folds: give candles of at least 17"):
        folds_of(whole(15), 0, Plan())
    assert len(folds_of(whole(17), 0, Plan())) == 5


def test_tests_in_a_row_compound_and_a_fold_without_a_choice_stays_in_cash() -> None:
    folds = folds_of(whole(8), 0, Plan(2, 1, 0))
    days = (folds[0].test.to_ms - folds[0].test.from_ms) // MS_PER_DAY
    gained = Measured(np.full(days, 0.1), 1, {})
    curve = stitched(folds, [gained, None], 1_000.0)
    assert curve.equity[0] == 1_000
    assert curve.equity[-1] == pytest.approx(1_000 * 1.1**days)
    assert curve.at_ms[-1] == folds[-1].test.to_ms
    assert stitched(folds, [Measured(None, 1, {}), gained], 1_000.0).equity[-1] == 0
