"""Answers about points of a space, wherever they come from: the study that knows them, or workers that find them out.

Also what is asked for: how to search (`Quest`), and what became of one point (`Trial`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from surefoot.config import ConfigError, Settings, Variants
from surefoot.research.data import CandleFile
from surefoot.research.evaluation import Measured, Outcome, Period, Refused, Source, live_through, look
from surefoot.research.inputs import settings_for
from surefoot.research.samplers import Score
from surefoot.research.space import Point
from surefoot.research.study import Study, text_of
from surefoot.research.walkforward import Plan
from surefoot.research.workers import Executor, each

Progress = Callable[[int, int, str], None]  # looks done, of so many, and what they are for

SCORES: Mapping[str, str] = {"sharpe": "sharpe", "sortino": "sortino", "calmar": "calmar", "return": "return_pct"}


@dataclass(frozen=True, slots=True)
class Quest:
    """How to search. `batch` points are asked for at once; it is fixed, so that workers do not change the trials."""

    method: str = "tpe"
    trials: int = 200
    seed: int = 1
    score: str = "sharpe"
    trades_min: int = 30
    batch: int = 16
    engine: str = "exact"
    walk: Plan | None = Plan()  # noqa: RUF009 (frozen)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a point; `found` is None where its settings contradict each other."""

    number: int
    point: Point
    score: Score
    found: Measured | None


class Looks:
    """Answers about points: from the study where it is known, else from the workers."""

    def __init__(
        self, settings: Settings, files: Sequence[CandleFile], source: Source, study: Study, executor: Executor,
        quest: Quest, progress: Progress | None, total: int,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._variants = Variants(settings)
        self._files = files
        self._source = source
        self._study = study
        self._executor = executor
        self._quest = quest
        self._progress = progress
        self._total = total
        self._done = 0
        self._part = ""
        self.evaluations = 0
        self.reused = 0

    def begin(self, part: str) -> None:
        """What follows is for another part of the search: progress says so."""
        self._part = part
        self.advance(0)

    def at(self, points: Sequence[Point], period: Period, purpose: str) -> list[Measured | Refused]:
        """What each point comes to over a period; a point that comes twice is looked at once."""
        found: dict[str, Measured | Refused] = {}
        wanted: list[Point] = []
        for key, point in {text_of(point): point for point in points}.items():
            known = self._study.known(point, period)
            answer = known or self._refused(point)
            if answer is None:
                wanted.append(point)
            else:
                found[key] = answer
            self.reused += known is not None
        self.advance(len(points) - len(wanted))

        def take(at: int, answer: Measured | Refused) -> None:
            found[text_of(wanted[at])] = answer
            if isinstance(answer, Measured):
                self._study.record(wanted[at], period, purpose, answer, self.score(answer))
                self.evaluations += 1
            self.advance(1)

        tasks = [_task(self._source, point, period) for point in wanted]
        each(self._executor, look, tasks, self._quest.batch, take)
        return [found[text_of(point)] for point in points]

    def without_future(self, point: Point, period: Period) -> Measured | Refused:
        """The same look by an evaluator that has no candle after the period."""
        answers: list[Measured | Refused] = []
        blindfolded = replace(self._source, until_ms=period.to_ms)
        task = _task(blindfolded, point, period)
        each(self._executor, look, [task], 1, lambda _, answer: answers.append(answer))
        self.advance(1)
        return answers[0]

    def outcomes(self, source: Source, points: Sequence[Point], period: Period) -> list[Outcome]:
        """Whole runs with their round trips."""
        found: dict[int, Outcome] = {}
        self._live_through(source, points, period, found.__setitem__)
        return [found[at] for at in range(len(points))]

    def exact_runs(self, source: Source, points: Sequence[Point], period: Period) -> list[Outcome]:
        """The same by the exact engine, which takes minutes a run on years of candles: the study keeps each."""
        found: dict[str, Outcome] = {}
        wanted = []
        for point in points:
            known = self._study.known_run(point, period)
            if known is None:
                wanted.append(point)
            else:
                found[text_of(point)] = known
                self.advance(1)

        def take(at: int, run: Outcome) -> None:
            found[text_of(wanted[at])] = run
            self._study.record_run(wanted[at], period, run)

        self._live_through(source, wanted, period, take)
        return [found[text_of(point)] for point in points]

    def _live_through(
        self, source: Source, points: Sequence[Point], period: Period, take: Callable[[int, Outcome], None]
    ) -> None:
        def taken(at: int, run: Outcome) -> None:
            take(at, run)
            self.advance(1)

        each(self._executor, live_through, [_task(source, point, period) for point in points], self._quest.batch, taken)

    def score(self, found: Measured, trades_min: int | None = None) -> Score:
        """None for too few round trips, after a total loss, and where the figure is not defined."""
        least = self._quest.trades_min if trades_min is None else trades_min
        value = found.metrics[SCORES[self._quest.score]]
        if found.returns is None or found.round_trips < least or value is None or not math.isfinite(value):
            return None
        return float(value)

    def advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done), self._part)

    def _refused(self, point: Point) -> Refused | None:
        """What can be said without a worker."""
        try:
            settings = self._variants.of(point)
            if settings.market != self._settings.market:
                settings_for(settings, self._files)
        except ConfigError as problem:
            return Refused(str(problem))
        return None


def _task(source: Source, point: Point, period: Period) -> tuple[Source, tuple[tuple[str, str], ...], Period]:
    return source, tuple(point.items()), period
