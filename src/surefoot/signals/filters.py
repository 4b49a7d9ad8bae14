"""Filters: when the greater trend or a choppy market says that no entry may follow a signal.

A filter never silences a signal: it sets `Signal.filtered` with its numbers, on which an entry is refused later, while
an exit may still use the signal; or it damps the score. The trend of an interval is the side of its average on which
its newest closed candle closed. The average is taken over a bounded trailing window and begins with a plain mean, so
that a live window and a whole history give the same number bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

import numpy as np

from surefoot.core.model import INTERVAL_MS
from surefoot.signals.indicators import Truths, ema
from surefoot.signals.window import Columns, FloatArray, IntArray

TREND_MODES = ("off", "damp", "block")
TREND_WINDOW_CANDLES = 1_000


@dataclass(frozen=True, slots=True)
class Filters:
    """What is filtered and how. `choppy_candles` 0 switches the filter of choppy markets off."""

    trend: str = "off"
    trend_intervals: tuple[str, ...] = ("4h", "1d")
    trend_candles: int = 200
    trend_damping_ratio: float = 0.7
    choppy_candles: int = 0
    choppy_max_flips: int = 10

    def context_of(self, interval: str) -> tuple[str, ...]:
        """The intervals whose trend is looked at, of those that can be built from candles of `interval`."""
        if self.trend == "off":
            return ()
        return tuple(one for one in self.trend_intervals if INTERVAL_MS[one] % INTERVAL_MS[interval] == 0)


class Trend(NamedTuple):
    """An interval's newest close and its average, quote per base; NaN where there is none."""

    interval: str
    close: float
    average: float


def filtered(
    filters: Filters, target: float | None, score: float, trends: Sequence[Trend], flips: int
) -> tuple[float, str]:
    """The score, damped, and why no entry may follow ("" when one may); without a side there is nothing to filter."""
    if not target:
        return score, ""
    reasons, unknown = [], []
    for trend in trends:
        if isnan(trend.average):
            unknown.append(trend.interval)
        elif (trend.close - trend.average) * target < 0:
            score = score * filters.trend_damping_ratio if filters.trend == "damp" else score
            side = "below" if target > 0 else "above"
            reasons.append(
                f"trend: {trend.interval} close {trend.close:.8g} is {side} its average of {filters.trend_candles} "
                f"candles, {trend.average:.8g}"
            )
    if unknown:
        reasons.append(f"trend unknown: no average of {filters.trend_candles} candles of {' and '.join(unknown)} yet")
    if filters.trend != "block":
        reasons = []
    if filters.choppy_candles and flips > filters.choppy_max_flips:
        most = filters.choppy_max_flips
        reasons.append(f"choppy: {flips} flips of direction in {filters.choppy_candles} candles, {most} are the most")
    return score, "; ".join(reasons)


def filtered_columns(
    filters: Filters,
    targets: FloatArray,
    scores: FloatArray,
    trends: Sequence[tuple[FloatArray, FloatArray]],
    flips: IntArray,
) -> tuple[FloatArray, Truths]:
    """The same over a history: damped scores, and where no entry may follow. `trends` are closes and averages."""
    sided = (targets > 0) | (targets < 0)
    blocked = np.zeros(targets.size, dtype=np.bool_)
    for closes, averages in trends:
        against = sided & ((closes - averages) * targets < 0)
        if filters.trend == "damp":
            scores = np.where(against, scores * filters.trend_damping_ratio, scores)
        else:
            blocked |= against | (sided & np.isnan(averages))
    if filters.choppy_candles:
        blocked |= sided & (flips > filters.choppy_max_flips)
    return scores, blocked


def trailing_average(closes: FloatArray, candles: int) -> FloatArray:
    """Exponential average at each close, of the last `TREND_WINDOW_CANDLES` closes only."""
    averages = ema(closes[:TREND_WINDOW_CANDLES], candles)
    later = [newest_average(closes[:end], candles) for end in range(TREND_WINDOW_CANDLES + 1, closes.size + 1)]
    return np.concatenate((averages, later))


def newest_average(closes: FloatArray, candles: int) -> float:
    """The last value of `trailing_average`; NaN for too little history."""
    if closes.size < candles:
        return float("nan")
    return float(ema(closes[-TREND_WINDOW_CANDLES:], candles)[-1])


def flips_at_end(columns: Columns, candles: int) -> int:
    """How often two neighbouring changes of the last `candles` closes had opposite signs; a still candle has none."""
    return int(_flips(columns.close[-candles - 1 :]).sum()) if candles else 0


def flips_at_each(columns: Columns, candles: int) -> IntArray:
    """`flips_at_end` at each candle of a history."""
    if not candles:
        return np.zeros(columns.close.size, dtype=np.int64)
    # The first flip belongs to the third close, hence three zeros; as many sums as closes and one.
    seen: IntArray = np.concatenate((np.zeros(3), np.cumsum(_flips(columns.close)))).astype(np.int64)
    ends = np.arange(1, columns.close.size + 1)
    return seen[ends] - seen[np.maximum(ends - candles + 1, 0)]


def _flips(closes: FloatArray) -> Truths:
    """Whether the direction flipped, for each close but the first two."""
    sides = np.sign(closes[1:] - closes[:-1])
    return sides[1:] * sides[:-1] < 0
