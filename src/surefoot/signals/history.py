"""Signals of a whole history at once: what a live loop would have said at each candle, without waiting for it.

`decisions_for` gives arrays to loops that have no time for objects; `replay.ReplayedSignals` gives the signals
themselves, with their values and reasons. They agree with `source.SignalSource` fed one by one, and with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS
from surefoot.signals.decision import NO_VALUE, Decider, members_of, range_of
from surefoot.signals.ensemble import Ensemble
from surefoot.signals.filters import Filters, filtered_columns, flips_at_each, trailing_average
from surefoot.signals.indicators import Truths
from surefoot.signals.source import OFF
from surefoot.signals.strategy import Strategy
from surefoot.signals.window import Columns, FloatArray, IntArray, resample

NOT_READY = "not ready"
ROWS_AT_A_TIME = 4_096  # of which Python's own numbers are made

Places = npt.NDArray[np.int32]

# A rule, its values as columns and its thresholds: the rule's answer for each row.
Ask = Callable[[Callable[..., int], Sequence[FloatArray], Sequence[float]], IntArray | None]


class Decisions(NamedTuple):
    """Arrays of one length, an entry a primary candle; what a loop over them needs of the signals.

    `target` is NaN for no opinion, `atr` (quote per base) for no value; `readiness` counts in the order of its enum;
    `filtered` says that no entry may follow; `rule` is a place in `rules`.
    """

    close_ms: IntArray
    target: FloatArray
    score: FloatArray
    readiness: npt.NDArray[np.int8]
    atr: FloatArray
    filtered: Truths
    gap: Truths
    rule: Places
    rules: tuple[str, ...]


def decisions_for(
    strategy: Decider,
    symbol: str,
    interval: str,
    confirm_interval: str,
    columns: Columns,
    filters: Filters = OFF,
    ask: Ask | None = None,
) -> Decisions:
    """The decision at each candle. `ask` knows a quicker way to some rules' answers than to call them candle by candle,
    and says None where it does not."""
    scene = _Scene(strategy, interval, confirm_interval, columns, filters)
    ready = scene.level > 0
    asked = [_answers(member, seen, ready, ask) for member, seen in zip(scene.members, scene.seen, strict=True)]
    names = (*(rule.name for rule in strategy.rules), NO_VALUE, NOT_READY)
    if isinstance(strategy, Ensemble):
        target, score, place = _together(strategy, scene.members, asked)
    else:
        place = asked[0]
        target, score = _looked_up(strategy, place)
    target[~ready], score[~ready], place[~ready] = np.nan, 0.0, len(names) - 1
    score, blocked = filtered_columns(filters, target, score, scene.trends, scene.flips)
    return Decisions(
        close_ms=scene.close_ms,
        target=target,
        score=score,
        readiness=scene.level,
        atr=scene.atr,
        filtered=blocked,
        gap=scene.gap,
        rule=place,
        rules=names,
    )


class _Scene:
    """Everything that decisions look at, as arrays of one length."""

    def __init__(
        self, strategy: Decider, interval: str, confirm_interval: str, columns: Columns, filters: Filters
    ) -> None:
        count = columns.open_ms.size
        self.members = members_of(strategy)
        self.seen = [member.primary(columns) for member in self.members]
        if any(member.confirms for member in self.members):
            confirm, finished = resample(columns, interval, confirm_interval)
            self.seen = [
                (*own, *(at_finished(array, finished) for array in member.confirm(confirm)))
                for own, member in zip(self.seen, self.members, strict=True)
            ]
        self.close_ms = columns.open_ms + INTERVAL_MS[interval] - 1
        self.atr = range_of(columns)
        self.gap = np.diff(columns.open_ms, prepend=columns.open_ms[:1]) > INTERVAL_MS[interval]
        self.flips = flips_at_each(columns, filters.choppy_candles)
        self.context_intervals = filters.context_of(interval)
        self.trends = [trend_columns(columns, interval, one, filters) for one in self.context_intervals]
        counts = np.arange(1, count + 1)
        self.level = np.minimum.reduce(
            [
                member.warmup.level(np.minimum(counts, finished) if member.confirms else counts).astype(np.int8)
                for member in self.members
            ]
        )


def at_finished(values: FloatArray, finished: IntArray) -> FloatArray:
    """Each candle's newest finished value of a higher interval; NaN before the first."""
    return np.concatenate(([np.nan], values))[finished]


def trend_columns(columns: Columns, interval: str, context: str, filters: Filters) -> tuple[FloatArray, FloatArray]:
    """The newest close of a greater interval and its average, at each candle; NaN for none."""
    higher, finished = resample(columns, interval, context)
    averages = trailing_average(higher.close, filters.trend_candles)
    return at_finished(higher.close, finished), at_finished(averages, finished)


def _answers(strategy: Strategy, seen: Sequence[FloatArray], ready: Truths, ask: Ask | None) -> Places:
    """The place in the strategy's rules at each candle; one behind the last where there is no value.

    The quicker way is asked about every candle; what it says of those that are not ready or have no value is not looked
    at. A plain rule is asked only about what it would be asked live.
    """
    known = ready.copy()
    for array in seen:
        known &= array == array
    none, thresholds = len(strategy.rules), strategy.thresholds
    answers = None if ask is None else ask(strategy.rule, seen, thresholds)
    if answers is not None:
        places = answers.astype(np.int32)
        places[~known] = none
        return places
    places = np.full(ready.size, none, dtype=np.int32)
    for start in range(0, ready.size, ROWS_AT_A_TIME):
        rows = start + np.flatnonzero(known[start : start + ROWS_AT_A_TIME])
        columns = (array[rows].tolist() for array in seen)
        places[rows] = np.fromiter(map(strategy.rule, *columns, *map(repeat, thresholds)), np.int64, rows.size)
    return places


def _looked_up(strategy: Strategy, places: Places) -> tuple[FloatArray, FloatArray]:
    """Target and score of each place; no opinion one behind the last."""
    targets = [np.nan if rule.target is None else rule.target for rule in strategy.rules]
    scores = [rule.score for rule in strategy.rules]
    return np.array([*targets, np.nan])[places], np.array([*scores, 0.0])[places]


def _together(
    ensemble: Ensemble, members: Sequence[Strategy], asked: Sequence[Places]
) -> tuple[FloatArray, FloatArray, Places]:
    pairs = [_looked_up(member, places) for member, places in zip(members, asked, strict=True)]
    targets, scores = (np.array(arrays).T for arrays in zip(*pairs, strict=True))
    results = ensemble.results(targets, scores)
    place = np.where(results > 0, 1, np.where(results < 0, 2, 0))
    silent = np.logical_and.reduce([places == len(one.rules) for one, places in zip(members, asked, strict=True)])
    place = np.where(silent, len(ensemble.rules), place)
    return np.where(results == 0, np.nan, np.sign(results)), np.abs(results), place.astype(np.int32)
