"""Indicators over closes: thin over TA-Lib, the same function for a whole history and for a rolling window.

Where an indicator has no value (too little history, a flat series) the array holds NaN, and callers turn that into
"no value" before anything is compared. Nothing here raises for ordinary input.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import talib

from surefoot.signals.window import FloatArray

# What may remain of the first average of a window in its last value. A move in the old history may be a thousand times
# the present one, and the value still agrees with that of the whole history to 1e-12.
SEED_SHARE_MAX = 1e-15


def rsi(closes: FloatArray, period: int) -> FloatArray:
    """Relative strength index by Wilder, 0 to 100, as long as `closes`; NaN where there is no value.

    There is none before `period` changes are known, nor where the last `period` changes are all zero: TA-Lib answers
    0 for a series that never moved, which would read as "oversold".
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978); the first average is a plain mean.
    """
    values: FloatArray = talib.RSI(closes, timeperiod=period)
    unchanged = closes[1:] == closes[:-1]
    # Fewer still candles than a period cannot hold a flat period: nearly every window takes this way out.
    if np.count_nonzero(unchanged) >= period:
        values[_ends_of_flat_runs(unchanged, period)] = np.nan
    return values


def wilder_window(period: int) -> int:
    """Closes that a window needs so that where it starts no longer shows in its last two values.

    Wilder's average keeps 1 - 1/period of itself at each candle.
    """
    forgetting = math.ceil(math.log(SEED_SHARE_MAX) / math.log1p(-1 / period)) if period > 1 else 0
    return period + 2 + forgetting


def before(values: FloatArray) -> FloatArray:
    """Each candle's previous value; NaN for the first."""
    shifted = np.empty_like(values)
    shifted[:1] = np.nan
    shifted[1:] = values[:-1]
    return shifted


def _ends_of_flat_runs(unchanged: npt.NDArray[np.bool_], period: int) -> npt.NDArray[np.int64]:
    """Positions among the closes at which the last `period` changes are all zero."""
    still = np.concatenate(([0], np.cumsum(unchanged)))
    return np.flatnonzero(still[period:] - still[:-period] == period) + period
