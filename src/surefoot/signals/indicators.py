"""Indicators of the strategies: the same function for a whole history and for a rolling window.

Thin over TA-Lib where its values do not depend on where a series starts. Where it keeps a running sum (the deviation
of Bollinger's bands, an average of volumes) the rounding of all that went before stays in the sum, up to 6e-11 of a
band of real closes; there each window is summed anew, and its value is the same bit for bit wherever a series starts.

Where an indicator has no value (too little history, a flat band, a zero range) the array holds NaN, and callers turn
that into "no value" before anything is compared. Nothing here raises for ordinary input. Beside each indicator stands
its window: the candles after which its start moves its last two values by no more than 1e-12 of themselves (of the
price, for differences of prices). What TA-Lib has beyond these is at hand for a strategy of one's own: `import talib`.
"""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from surefoot.signals.window import FloatArray

# TA-Lib loads Polars where it is installed, to wrap each of its functions: 33 MB and a fifth of a second for each
# process, and time for each call, for series that nobody here hands to it. While it is imported, there is no Polars.
_polars = sys.modules.pop("polars", None)
sys.modules["polars"] = cast(ModuleType, None)
try:
    import talib
finally:
    del sys.modules["polars"]
    if _polars is not None:
        sys.modules["polars"] = _polars

# What may remain of the first average of a window in its last value. A move in the old history may be a thousand times
# the present one, and the value still agrees with that of the whole history to 1e-12.
SEED_SHARE_MAX = 1e-15
# A band narrower than this share of the price is flat: rounding alone can make it so wide, no tick of a venue can.
FLAT_BAND = 1e-12
# Up to so many windows, as a live signal asks for, each is summed by itself; more are summed step by step all at once.
FEW_WINDOWS = 4
PLAIN_MEAN: Any = 0  # TA-Lib takes the number, its stubs an enum of theirs

Truths = npt.NDArray[np.bool_]


class Macd(NamedTuple):
    """The difference of two averages, its own average, and the difference of those; quote per base."""

    line: FloatArray
    signal: FloatArray
    histogram: FloatArray


class Bands(NamedTuple):
    """Bollinger's bands: middle in quote per base, position 0 (lower band) to 1 (upper), width as a share of the
    middle."""

    middle: FloatArray
    position: FloatArray
    width: FloatArray


class Stochastic(NamedTuple):
    """Slow %K and its average %D, 0 to 100."""

    k: FloatArray
    d: FloatArray


# -- averages ----------------------------------------------------------------------------------------------------------


def sma(values: FloatArray, period: int) -> FloatArray:
    """Simple moving average, by TA-Lib; for prices, whose size changes little within a window."""
    average: FloatArray = talib.SMA(values, timeperiod=period)
    return average


def sma_window(period: int) -> int:
    return period + 1


def ema(values: FloatArray, period: int) -> FloatArray:
    """Exponential moving average, by TA-Lib; it begins with the plain mean of the first `period` values."""
    average: FloatArray = talib.EMA(values, timeperiod=period)
    return average


def ema_window(period: int) -> int:
    """The average keeps 1 - 2 / (period + 1) of itself at each candle."""
    return period + 1 + _forgetting(1 - 2 / (period + 1))


def rolling_mean(values: FloatArray, period: int) -> FloatArray:
    """Simple moving average whose every window is summed anew: for volumes, which differ by orders of magnitude."""
    return _rolling_sum(values, period) / period


# -- price -------------------------------------------------------------------------------------------------------------


def rsi(closes: FloatArray, period: int) -> FloatArray:
    """Relative strength index by Wilder, 0 to 100, as long as `closes`; NaN where there is no value.

    There is none before `period` changes are known, nor where the last `period` changes are all zero: TA-Lib answers
    0 for a series that never moved, which would read as "oversold".
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978); the first average is a plain mean.
    """
    values: FloatArray = talib.RSI(closes, timeperiod=period)
    return _without_runs(values, closes[1:] == closes[:-1], period)


def wilder_window(period: int) -> int:
    """Closes that a window needs so that where it starts no longer shows in its last two values.

    Wilder's average keeps 1 - 1/period of itself at each candle.
    """
    return period + 2 + _forgetting(1 - 1 / period)


def macd(closes: FloatArray, fast: int, slow: int, signal: int) -> Macd:
    """Moving average convergence divergence, by TA-Lib. Source: G. Appel (1979)."""
    return Macd(*talib.MACD(closes, fastperiod=fast, slowperiod=slow, signalperiod=signal))


def macd_window(slow: int, signal: int) -> int:
    """An average of an average: after both windows nothing of either seed is left."""
    return ema_window(slow) + ema_window(signal)


def bollinger(closes: FloatArray, period: int, deviations: float) -> Bands:
    """Bollinger's bands around the mean of `period` closes, `deviations` population deviations apart from it.

    Where the band is flat there is a middle, but neither position nor width.
    Source: J. Bollinger, Bollinger on Bollinger Bands (2001): the deviation divides by n.
    """
    middle = rolling_mean(closes, period)
    squares = np.zeros(max(closes.size - period + 1, 0))
    if squares.size <= FEW_WINDOWS:
        for at in range(squares.size):
            apart = closes[at : at + period] - middle[at + period - 1]
            squares[at] = _added_up(apart * apart)
    else:
        for offset in range(period):
            apart = closes[offset : offset + squares.size] - middle[period - 1 :]
            squares += apart * apart
    half = np.full_like(middle, np.nan)
    half[period - 1 :] = deviations * np.sqrt(squares / period)
    half[half <= FLAT_BAND * np.abs(middle)] = np.nan
    return Bands(middle, (closes - middle + half) / (2 * half), 2 * half / middle)


def bollinger_window(period: int) -> int:
    return period + 1


# -- range -------------------------------------------------------------------------------------------------------------


def atr(highs: FloatArray, lows: FloatArray, closes: FloatArray, period: int) -> FloatArray:
    """Average true range by Wilder, quote per base; NaN where the last `period` true ranges are all zero."""
    values: FloatArray = talib.ATR(highs, lows, closes, timeperiod=period)
    still = closes[1:] == closes[:-1]
    if np.count_nonzero(still) >= period:
        still &= (highs[1:] == lows[1:]) & (highs[1:] == closes[1:])
    return _without_runs(values, still, period)


def stochastic(highs: FloatArray, lows: FloatArray, closes: FloatArray, period: int, smoothing: int) -> Stochastic:
    """Slow stochastic, by TA-Lib: raw %K over `period` candles, %K its mean over `smoothing`, %D the mean of %K.

    A range of zero has no value, and no mean that it is part of has one; TA-Lib would say 0, "oversold".
    """
    k, d = talib.STOCH(highs, lows, closes, period, smoothing, PLAIN_MEAN, smoothing, PLAIN_MEAN)
    if highs.size < period:
        return Stochastic(k, d)
    flat = talib.MAX(highs, timeperiod=period) == talib.MIN(lows, timeperiod=period)
    if flat.any():
        k, d = k.copy(), d.copy()
        for reach, values in ((smoothing, k), (2 * smoothing - 1, d)):
            for offset in range(reach):
                values[offset:][flat[: flat.size - offset]] = np.nan
    return Stochastic(k, d)


def stochastic_window(period: int, smoothing: int) -> int:
    return period + 2 * smoothing - 1


def adx(highs: FloatArray, lows: FloatArray, closes: FloatArray, period: int) -> FloatArray:
    """Average directional index by Wilder, 0 to 100, by TA-Lib; NaN where nothing moved for a whole period."""
    values: FloatArray = talib.ADX(highs, lows, closes, timeperiod=period)
    still = (highs[1:] == highs[:-1]) & (lows[1:] == lows[:-1]) & (closes[1:] == closes[:-1])
    return _without_runs(values, still, period)


def adx_window(period: int) -> int:
    """Wilder's average of values that are made of Wilder's averages."""
    return 2 * wilder_window(period)


# -- volume ------------------------------------------------------------------------------------------------------------


def obv(closes: FloatArray, volumes: FloatArray) -> FloatArray:
    """On-balance volume, by TA-Lib; it counts from the first candle given, so that only differences mean anything."""
    values: FloatArray = talib.OBV(closes, volumes)
    return values


def obv_change(closes: FloatArray, volumes: FloatArray, period: int) -> FloatArray:
    """How on-balance volume changed over `period` candles: the same wherever the series starts."""
    signed = np.full_like(volumes, np.nan)
    signed[1:] = np.sign(closes[1:] - closes[:-1]) * volumes[1:]
    return _rolling_sum(signed, period)


def obv_change_window(period: int) -> int:
    return period + 2


def up_share(opens: FloatArray, closes: FloatArray, volumes: FloatArray, period: int) -> FloatArray:
    """Share of the volume of `period` candles that was traded in candles that rose, 0 to 1; NaN without volume.

    A candle that closed where it opened counts half: what is left is then the share of candles that fell.
    """
    rising = volumes * (0.5 + 0.5 * np.sign(closes - opens))
    total = _rolling_sum(volumes, period)
    total[~(total > 0)] = np.nan
    return _rolling_sum(rising, period) / total


def up_share_window(period: int) -> int:
    return period + 1


# -- parts -------------------------------------------------------------------------------------------------------------


def before(values: FloatArray) -> FloatArray:
    """Each candle's previous value; NaN for the first."""
    shifted = np.empty_like(values)
    shifted[:1] = np.nan
    shifted[1:] = values[:-1]
    return shifted


def _rolling_sum(values: FloatArray, period: int) -> FloatArray:
    """The sum of the last `period` values, added oldest first; NaN before there are so many."""
    sums = np.full(values.size, np.nan)
    count = values.size - period + 1
    if 0 < count <= FEW_WINDOWS:
        for at in range(count):
            sums[at + period - 1] = _added_up(values[at : at + period])
    elif count > 0:
        total = values[:count].copy()
        for offset in range(1, period):
            total += values[offset : offset + count]
        sums[period - 1 :] = total
    return sums


def _added_up(values: FloatArray) -> float:
    """The sum of values, added one by one from the first; a plain sum of numpy's would add them in pairs."""
    return float(np.add.accumulate(values)[-1])


def _forgetting(kept: float) -> int:
    """Candles after which nothing to speak of is left of an average that keeps this share of itself at each."""
    return math.ceil(math.log(SEED_SHARE_MAX) / math.log(kept)) if kept > 0 else 0


def _without_runs(values: FloatArray, still: Truths, period: int) -> FloatArray:
    """The values themselves, NaN where the last `period` steps were all still; `still[0]` leads to the second value."""
    # Fewer still steps than a period cannot hold a flat period: nearly every window takes this way out.
    if np.count_nonzero(still) >= period:
        at = np.flatnonzero(still)
        ends = at[period - 1 :]
        values[ends[ends - at[: ends.size] == period - 1] + 1] = np.nan
    return values
