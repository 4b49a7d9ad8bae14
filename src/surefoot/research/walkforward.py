"""Walk-forward: choose on the past, be judged on what came after, move on; the judged pieces in a row are the evidence.

Rules. A fold's test follows its training, with `embargo_days` between them, so that what a position or an indicator
carries over the border is in neither. Training is rolling (a window of one length) or anchored (from the beginning on).
Borders are midnights UTC. A fold in which nothing could be chosen stays in cash. The training of every fold is looked
at once more by an evaluator that has no later candles at all: another answer means that it looked ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surefoot.config import ConfigError
from surefoot.core.model import MS_PER_DAY
from surefoot.research.data import EvaluationError
from surefoot.research.evaluation import Measured, Period, Refused
from surefoot.research.metrics import Curve

# Under so many days no deviation of daily returns is known.
DAYS_MIN = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How a period is cut: so many tests of one length, after a training of `train_parts` such lengths."""

    folds: int = 5
    train_parts: int = 3
    embargo_days: int = 1
    is_anchored: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """Where it is chosen, and where it is judged."""

    train: Period
    test: Period


def folds_of(whole: Period, lead_ms: int, plan: Plan) -> list[Fold]:
    """The folds of a period, oldest first; the last test ends with the period. ConfigError when it is too short.

    Signals warm up on the `lead_ms` before each training and test, as far as there are candles.
    """
    first_day, end_day = -(-whole.from_ms // MS_PER_DAY), whole.to_ms // MS_PER_DAY
    days = end_day - first_day
    test_days = days // (plan.folds + plan.train_parts)
    train_days = days - plan.folds * test_days
    if test_days < DAYS_MIN or train_days - plan.embargo_days < DAYS_MIN:
        needed = (plan.folds + plan.train_parts) * DAYS_MIN + plan.embargo_days
        raise ConfigError(
            f"{days} days are too few for {plan.folds} folds: give candles of at least {needed} days (better years),"
            " fewer --folds, or --no-walk-forward"
        )

    def period(from_day: int, to_day: int) -> Period:
        from_ms, to_ms = from_day * MS_PER_DAY, to_day * MS_PER_DAY
        return Period(max(whole.lead_ms, from_ms - lead_ms), from_ms, to_ms)

    folds = []
    for at in range(plan.folds):
        border = first_day + train_days + at * test_days
        begin = first_day if plan.is_anchored else border - train_days
        folds.append(Fold(period(begin, border - plan.embargo_days), period(border, border + test_days)))
    return folds


def refuse_look_ahead(fold: int, seen: Measured, blindfolded: Measured | Refused) -> None:
    """EvaluationError when a training had another outcome with the candles after it taken away."""
    if isinstance(blindfolded, Refused) or not _are_equal(seen, blindfolded):
        raise EvaluationError(
            f"fold {fold}: the training has another result when the candles after it are taken away:"
            " the evaluation looks ahead, nothing that was found can be trusted"
        )


def stitched(folds: Sequence[Fold], found: Sequence[Measured | None], equity: float) -> Curve:
    """Equity over all tests in a row, at the end of each day, growing from `equity`; cash where nothing was chosen."""
    at_ms, marks = [folds[0].test.from_ms], [equity]
    for fold, measured in zip(folds, found, strict=True):
        days = (fold.test.to_ms - fold.test.from_ms) // MS_PER_DAY
        if measured is None:
            changes = np.zeros(days)
        elif measured.returns is None:
            changes = np.concatenate(([-1.0], np.zeros(days - 1)))  # everything was lost; which day tells no more
        else:
            changes = measured.returns
        at_ms += [fold.test.from_ms + (day + 1) * MS_PER_DAY for day in range(len(changes))]
        marks += (marks[-1] * np.cumprod(1 + changes)).tolist()
    return Curve(np.array(at_ms, dtype=np.int64), np.array(marks))


def _are_equal(one: Measured, other: Measured) -> bool:
    if one.returns is None or other.returns is None:
        return one.returns is other.returns
    return one.round_trips == other.round_trips and np.array_equal(one.returns, other.returns)
