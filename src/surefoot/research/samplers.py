"""Which points of a space to try next: a grid, chance, or a model that learns from scores (Optuna's TPE and CMA-ES).

Rules. Points are asked for in batches of a fixed size and their scores told in the same order, so that the same seed
asks for the same points with any number of workers. A range is searched as its steps are numbered. Every asked point
counts as a trial, also one that was refused or has no score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from surefoot.config import ConfigError
from surefoot.research.evaluation import Refused
from surefoot.research.space import Dimension, Point, Space

METHODS = ("tpe", "cmaes", "random", "grid")
# How many trials are chosen by chance before the model is asked: Optuna's own number for TPE.
CHANCE_TRIALS = 10

# A score; None for a run that has none, such as one with too few round trips.
Score = float | None


class Sampler(Protocol):
    def ask(self, count: int) -> list[Point]:
        """The next points, fewer where there are no more."""
        ...

    def tell(self, scores: Sequence[Score | Refused]) -> None:
        """What became of the points that were asked for last, in their order."""
        ...


def sampler_of(method: str, space: Space, seed: int, trials: int) -> Sampler:
    """ConfigError where the method cannot search this space."""
    if method == "grid":
        return Grid(space, trials)
    return Learner(space, _optuna_sampler(method, space, seed))


class Grid:
    """Every point once."""

    def __init__(self, space: Space, trials: int) -> None:
        loose = [dimension.key for dimension in space.dimensions if not dimension.is_stepped]
        if loose:
            raise ConfigError(f"--space {loose[0]}: a grid needs a step, as in {loose[0]}=FROM:TO:STEP")
        if space.size > trials:
            raise ConfigError(f"the grid has {space.size} points: give --trials {space.size}, or larger steps")
        self._points: Iterator[Point] = space.grid()

    def ask(self, count: int) -> list[Point]:
        return list(islice(self._points, count))

    def tell(self, scores: Sequence[Score | Refused]) -> None:
        pass


class Learner:
    """Optuna, asked in batches. Higher scores are better."""

    def __init__(self, space: Space, sampler: BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[Trial] = []

    def ask(self, count: int) -> list[Point]:
        self._asked = []
        points = []
        for _ in range(count):
            trial = self._study.ask()
            self._asked.append(trial)
            points.append(self._point(trial))
        return points

    def tell(self, scores: Sequence[Score | Refused]) -> None:
        for trial, score in zip(self._asked, scores, strict=True):
            match score:
                case Refused():
                    self._study.tell(trial, state=TrialState.FAIL)
                case None:
                    # Worse than any score, to the model: there is nothing to be found where hardly anything is traded.
                    self._study.tell(trial, state=TrialState.PRUNED)
                case _:
                    self._study.tell(trial, score)

    def _point(self, trial: Trial) -> Point:
        point: Point = {}
        for dimension in self._space.dimensions:
            if self._space.speaks(dimension, point):
                point[dimension.key] = _suggested(trial, dimension)
        return point


def _suggested(trial: Trial, dimension: Dimension) -> str:
    if dimension.is_range:
        return dimension.values[trial.suggest_int(dimension.key, 0, len(dimension.values) - 1)]
    return str(trial.suggest_categorical(dimension.key, dimension.values))


def _optuna_sampler(method: str, space: Space, seed: int) -> BaseSampler:
    match method:
        case "tpe":
            # Points of a batch know of each other, or they would all be the same.
            return TPESampler(seed=seed, n_startup_trials=CHANCE_TRIALS, constant_liar=True)
        case "random":
            return RandomSampler(seed=seed)
        case "cmaes":
            if sum(dimension.is_range for dimension in space.dimensions) < 2:
                raise ConfigError("--method cmaes: needs at least two ranges in the space; take tpe")
            return CmaEsSampler(seed=seed, n_startup_trials=CHANCE_TRIALS, warn_independent_sampling=False)
        case _:
            raise ConfigError(f"--method {method}: give one of {', '.join(METHODS)}")
