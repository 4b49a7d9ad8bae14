"""From what the rules saw at a candle to its signal: the same for a live candle and for one of a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from surefoot.core.model import Readiness, Signal, Vote
from surefoot.signals.ensemble import Ensemble, place
from surefoot.signals.filters import Filters, Trend, filtered
from surefoot.signals.indicators import atr, wilder_window
from surefoot.signals.strategy import LEVELS, Strategy
from surefoot.signals.window import Columns, FloatArray

ATR_CANDLES = 14
ATR_WINDOW = wilder_window(ATR_CANDLES)
NO_VALUE = "no value"

Decider = Strategy | Ensemble


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known at the close of a candle, beside the values of the rules; `atr` may be NaN."""

    at_ms: int
    candles: int
    confirm_candles: int
    readiness: Readiness
    atr: float
    gap: bool
    trends: Sequence[Trend]
    flips: int


def members_of(decider: Decider) -> tuple[Strategy, ...]:
    """The strategies that are asked: an ensemble's members, or the one."""
    return decider.members if isinstance(decider, Ensemble) else (decider,)


def range_of(columns: Columns) -> FloatArray:
    """The average true range that every signal carries, quote per base; NaN where there is none."""
    return atr(columns.high, columns.low, columns.close, ATR_CANDLES)


def decided(
    decider: Decider,
    symbol: str,
    confirm_interval: str,
    moment: Moment,
    seen: Sequence[tuple[float, ...]],
    filters: Filters,
) -> Signal:
    """The signal. `seen` holds each member's values; target None comes with the reason as its rule."""
    level = moment.readiness
    ranges = None if isnan(moment.atr) else moment.atr
    if level is Readiness.NOT_READY:
        why = _not_ready(decider, moment, confirm_interval)
        return Signal(symbol, moment.at_ms, None, 0.0, why, (), level, ranges, gap=moment.gap)
    votes = tuple(vote(member, values) for member, values in zip(members_of(decider), seen, strict=True))
    target, score, rule = _opinion(decider, votes)
    score, why = filtered(filters, target, score, moment.trends, moment.flips)
    values, told = ((), votes) if isinstance(decider, Ensemble) else (votes[0].values, ())
    return Signal(symbol, moment.at_ms, target, score, rule, values, level, ranges, why, moment.gap, told)


def vote(strategy: Strategy, values: tuple[float, ...]) -> Vote:
    """What a strategy says of the values that its rule sees."""
    seen = tuple(zip(strategy.values, values, strict=True))
    if any(map(isnan, values)):
        return Vote(strategy.name, None, 0.0, NO_VALUE, tuple(pair for pair in seen if not isnan(pair[1])))
    fired = strategy.rules[strategy.rule(*values, *strategy.thresholds)]
    return Vote(strategy.name, fired.target, fired.score, fired.name, seen)


def readiness(decider: Decider, candles: int, confirm_candles: int) -> Readiness:
    """How far a symbol is warmed up, by the least ready member and the lesser of the intervals that it looks at."""
    counts = ((one, min(candles, confirm_candles) if one.confirms else candles) for one in members_of(decider))
    return LEVELS[min(int(one.warmup.level(count)) for one, count in counts)]


def _opinion(decider: Decider, votes: tuple[Vote, ...]) -> tuple[float | None, float, str]:
    if not isinstance(decider, Ensemble):
        return votes[0].target, votes[0].score, votes[0].rule
    if all(one.rule == NO_VALUE for one in votes):
        return None, 0.0, NO_VALUE
    result = decider.result(votes)
    rule = decider.rules[place(result)]
    return rule.target, abs(result), rule.name


def _not_ready(decider: Decider, moment: Moment, confirm_interval: str) -> str:
    for member in members_of(decider):
        whose = f"{member.name} " if isinstance(decider, Ensemble) else ""
        minimum = member.warmup.minimum
        if moment.candles < minimum:
            return f"not ready: {whose}{moment.candles} of {minimum} candles"
        if member.confirms and moment.confirm_candles < minimum:
            return f"not ready: {whose}{moment.confirm_candles} of {minimum} candles of {confirm_interval}"
    raise AssertionError("every member is ready")
