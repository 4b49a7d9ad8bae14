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

Kinds = npt.NDArray[np.int8]

# A rule, its values as columns, its thresholds, the first row that is asked about, and for each place in the rules, and
# one behind them for "not asked or no value", whether it says something: the place of each row, and the rows that do.
Ask = Callable[[Callable[..., int], Sequence[FloatArray], Sequence[float], int, Kinds], tuple[Places, IntArray] | None]


# A strategy, "primary" or "confirm", and candles of that interval: the arrays that its rule sees of them.
Look = Callable[[Strategy, str, Columns], tuple[FloatArray, ...]]


def plainly(strategy: Strategy, which: str, columns: Columns) -> tuple[FloatArray, ...]:
    """Asks the strategy."""
    return strategy.primary(columns) if which == "primary" else strategy.confirm(columns)


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


class Sides(NamedTuple):
    """The same in less: `kinds` are 1 for long, -1 for short or flat, 0 for no opinion; `spoken` are the candles that
    have one, and only their scores are to be looked at."""

    kinds: Kinds
    scores: FloatArray
    readiness: npt.NDArray[np.int8]
    filtered: Truths | None
    spoken: IntArray


def sides_for(
    strategy: Decider,
    interval: str,
    confirm_interval: str,
    columns: Columns,
    filters: Filters = OFF,
    ask: Ask | None = None,
    look: Look = plainly,
) -> Sides:
    """What a loop needs that looks at opinions only. `filtered` None: nothing is. `look` may remember what it made."""
    if isinstance(strategy, Ensemble) or filters.trend != "off" or filters.choppy_candles:
        said = decisions_for(strategy, "", interval, confirm_interval, columns, filters, ask)
        kinds = (said.target > 0).astype(np.int8)
        kinds[said.target <= 0] = -1  # no opinion is neither
        return Sides(kinds, said.score, said.readiness, said.filtered, np.flatnonzero(kinds))
    scene = _Scene(strategy, interval, confirm_interval, columns, look)
    places, spoken = _answers(strategy, scene.seen[0], scene.first, ask)
    sides = [0 if rule.target is None else 1 if rule.target > 0 else -1 for rule in strategy.rules]
    kinds, scores, fired = np.zeros(places.size, dtype=np.int8), np.empty(places.size), places[spoken]
    kinds[spoken] = np.array(sides, dtype=np.int8)[fired]
    scores[spoken] = np.array([rule.score for rule in strategy.rules])[fired]
    return Sides(kinds, scores, scene.level, None, spoken)


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
    scene = _Scene(strategy, interval, confirm_interval, columns, plainly)
    asked = [
        _answers(member, seen, scene.first, ask)[0] for member, seen in zip(scene.members, scene.seen, strict=True)
    ]
    names = (*(rule.name for rule in strategy.rules), NO_VALUE, NOT_READY)
    if isinstance(strategy, Ensemble):
        target, score, place = _together(strategy, scene.members, asked)
    else:
        place = asked[0]
        target, score = _looked_up(strategy, place)
    target[: scene.first], score[: scene.first], place[: scene.first] = np.nan, 0.0, len(names) - 1
    trends = [trend_columns(columns, interval, one, filters) for one in filters.context_of(interval)]
    score, blocked = filtered_columns(filters, target, score, trends, flips_at_each(columns, filters.choppy_candles))
    return Decisions(
        close_ms=columns.open_ms + INTERVAL_MS[interval] - 1,
        target=target,
        score=score,
        readiness=scene.level,
        atr=range_of(columns),
        filtered=blocked,
        gap=gaps_of(columns, interval),
        rule=place,
        rules=names,
    )


class _Scene:
    """Everything that decisions look at, as arrays of one length. `first` is the candle from which on all are ready."""

    def __init__(self, strategy: Decider, interval: str, confirm_interval: str, columns: Columns, look: Look) -> None:
        self.members = members_of(strategy)
        self.seen = [look(member, "primary", columns) for member in self.members]
        finished = None
        if any(member.confirms for member in self.members):
            confirm, finished = resample(columns, interval, confirm_interval)
            self.seen = [
                (*own, *(at_finished(array, finished) for array in look(member, "confirm", confirm)))
                for own, member in zip(self.seen, self.members, strict=True)
            ]
        self.level, self.first = _levels(self.members, columns.open_ms.size, finished)


def gaps_of(columns: Columns, interval: str) -> Truths:
    """Whether candles are missing before each."""
    return np.diff(columns.open_ms, prepend=columns.open_ms[:1]) > INTERVAL_MS[interval]


def _levels(members: Sequence[Strategy], count: int, finished: IntArray | None) -> tuple[npt.NDArray[np.int8], int]:
    """How ready the least ready member is, at each candle: it never gets less. And the first candle with all ready."""
    begins = [0, 0, 0]
    for member in members:
        for step, needed in enumerate((member.warmup.minimum, member.warmup.warm, member.warmup.best)):
            begin = needed - 1
            if member.confirms and finished is not None:
                begin = max(begin, int(np.searchsorted(finished, needed)))
            begins[step] = max(begins[step], begin)
    level = np.zeros(count, dtype=np.int8)
    for begin in begins:
        level[begin:] += 1
    return level, min(begins[0], count)


def at_finished(values: FloatArray, finished: IntArray) -> FloatArray:
    """Each candle's newest finished value of a higher interval; NaN before the first."""
    return np.concatenate(([np.nan], values))[finished]


def trend_columns(columns: Columns, interval: str, context: str, filters: Filters) -> tuple[FloatArray, FloatArray]:
    """The newest close of a greater interval and its average, at each candle; NaN for none."""
    higher, finished = resample(columns, interval, context)
    averages = trailing_average(higher.close, filters.trend_candles)
    return at_finished(higher.close, finished), at_finished(averages, finished)


def opinions(decider: Decider, seen: Sequence[Sequence[FloatArray]], first: int) -> tuple[FloatArray, FloatArray]:
    """Target (NaN for none) and score, before any filter, of what each member's rule sees; none before `first`."""
    members = members_of(decider)
    asked = [_answers(member, arrays, first, None)[0] for member, arrays in zip(members, seen, strict=True)]
    if isinstance(decider, Ensemble):
        targets, scores, _ = _together(decider, members, asked)
    else:
        targets, scores = _looked_up(decider, asked[0])
    targets[:first] = np.nan
    return targets, scores


def _answers(strategy: Strategy, seen: Sequence[FloatArray], first: int, ask: Ask | None) -> tuple[Places, IntArray]:
    """The place in the strategy's rules at each candle, one behind the last where it is not ready or there is no value;
    and the candles whose rule has a target. A rule is asked only about what it would be asked live."""
    none, thresholds, count = len(strategy.rules), strategy.thresholds, seen[0].size
    says = np.array([*(rule.target is not None for rule in strategy.rules), False], dtype=np.int8)
    answers = None if ask is None else ask(strategy.rule, seen, thresholds, first, says)
    if answers is not None:
        return answers
    known = np.arange(count) >= first
    for array in seen:
        known &= array == array
    places = np.full(count, none, dtype=np.int32)
    for start in range(0, count, ROWS_AT_A_TIME):
        rows = start + np.flatnonzero(known[start : start + ROWS_AT_A_TIME])
        columns = (array[rows].tolist() for array in seen)
        places[rows] = np.fromiter(map(strategy.rule, *columns, *map(repeat, thresholds)), np.int64, rows.size)
    return places, np.flatnonzero(says[places])


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
