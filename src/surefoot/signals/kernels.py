"""Indicators that TA-Lib lacks: the volume profile's point of control, and SuperTrend.

The loops are plain functions over arrays, quick enough as they are for the last candles of a live window, and compiled
over a history (see `compiled`). Both add in the same order, so that they agree bit for bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from surefoot.signals.compiled import for_length
from surefoot.signals.indicators import atr, wilder_window
from surefoot.signals.window import FloatArray

Floats = Any  # a list as it is, an array when compiled

# A trend keeps its band for as long as it lasts. Real candles have turned both ways within this many.
SUPERTREND_TURN_CANDLES = 1_000


class SuperTrend(NamedTuple):
    """The line that follows the price, quote per base, and its side: 1 below a rising price, -1 above a falling one."""

    line: FloatArray
    direction: FloatArray


def point_of_control(
    highs: FloatArray, lows: FloatArray, closes: FloatArray, volumes: FloatArray, window: int, bins: int
) -> FloatArray:
    """The price around which most was traded in the last `window` candles, quote per base.

    The range of the window's typical prices (high + low + close) / 3 is cut into `bins` of one height; each candle's
    volume lies in the bin of its typical price; the answer is the middle of the fullest bin, the lowest of equals.
    NaN for too little history, a range of zero, or no volume.
    Source: J. P. Steidlmayer's market profile, with volume in the place of time.
    """
    typical = (highs + lows + closes) / 3
    values = np.full(typical.size, np.nan)
    loop = for_length(profile_loop, typical.size)
    if loop is profile_loop:  # not compiled: a list's floats are at hand, an array's are made one by one
        loop(typical.tolist(), volumes.tolist(), window, [0.0] * bins, values)
    else:
        loop(typical, volumes, window, np.zeros(bins), values)
    return values


def point_of_control_window(window: int) -> int:
    """For the last value only: each value costs a loop over its window."""
    return window


def supertrend(highs: FloatArray, lows: FloatArray, closes: FloatArray, period: int, multiplier: float) -> SuperTrend:
    """SuperTrend: bands of `multiplier` average true ranges around the middle of the candle that only ever tighten.

    NaN before the first average true range and from the first candle without one until there is one again.
    Source: O. Seban; the first average true range is the mean of `period` true ranges, without the first candle.
    """
    ranges = atr(highs, lows, closes, period)
    line, direction = np.full(closes.size, np.nan), np.full(closes.size, np.nan)
    for_length(supertrend_loop, closes.size)((highs + lows) / 2, closes, ranges * multiplier, line, direction)
    return SuperTrend(line, direction)


def supertrend_window(period: int) -> int:
    """Its bands remember the last turn, so that no length is certain; see `SUPERTREND_TURN_CANDLES`."""
    return wilder_window(period) + SUPERTREND_TURN_CANDLES


def profile_loop(typical: Floats, volumes: Floats, window: int, filled: Floats, values: FloatArray) -> None:
    """Fills `values`; `filled` is room for the volumes of the bins."""
    bins = len(filled)
    for at in range(window - 1, len(typical)):
        first = at - window + 1
        low = high = typical[first]
        for one in range(first + 1, at + 1):
            if typical[one] < low:
                low = typical[one]
            elif typical[one] > high:
                high = typical[one]
        if not high > low:
            continue
        for one in range(bins):
            filled[one] = 0.0
        for one in range(first, at + 1):
            place = int((typical[one] - low) / (high - low) * bins)
            if place >= bins:
                place = bins - 1
            filled[place] += volumes[one]
        fullest = 0
        for one in range(1, bins):
            if filled[one] > filled[fullest]:
                fullest = one
        if filled[fullest] > 0.0:
            values[at] = low + (high - low) * (fullest + 0.5) / bins


def supertrend_loop(
    middle: FloatArray, closes: FloatArray, distance: FloatArray, line: FloatArray, direction: FloatArray
) -> None:
    """Fills `line` and `direction`."""
    begun, rising = False, True
    upper = lower = 0.0
    for at in range(1, len(closes)):
        if not distance[at] > 0.0:
            begun = False
            continue
        above, below, previous = middle[at] + distance[at], middle[at] - distance[at], closes[at - 1]
        if not begun:
            begun, rising = True, closes[at] >= middle[at]
            upper, lower = above, below
        if above < upper or previous > upper:
            upper = above
        if below > lower or previous < lower:
            lower = below
        rising = closes[at] > lower if rising else closes[at] > upper
        line[at] = lower if rising else upper
        direction[at] = 1.0 if rising else -1.0
