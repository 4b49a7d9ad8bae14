"""How alike two symbols moved: Pearson's correlation of their log returns over the last thirty days.

A return belongs to a candle and needs the candle right before it; a return counts when both symbols have it. One
function answers for a moment (live), one for every moment of a history; they agree to 1e-9.
"""

from __future__ import annotations

import numpy as np

from surefoot.core.model import INTERVAL_MS, MS_PER_DAY
from surefoot.signals.indicators import Truths
from surefoot.signals.window import Columns, FloatArray, IntArray

CORRELATION_MS = 30 * MS_PER_DAY
RETURNS_MIN = 48
# A variance below this share of the mean square is rounding: the symbol stood still, or moved by the same share always.
VARIANCE_SHARE_MIN = 1e-9


def correlation_at(ours: Columns, theirs: Columns, interval: str, until_ms: int) -> float | None:
    """The correlation of the candles of `interval` that had ended at `until_ms`; None where there is no value."""
    length_ms = INTERVAL_MS[interval]
    last_ms = (until_ms // length_ms - 1) * length_ms  # open time of the newest candle that may count
    our_times, our_returns = _returns(ours, length_ms)
    their_times, their_returns = _returns(theirs, length_ms)
    times, at, their_at = np.intersect1d(our_times, their_times, assume_unique=True, return_indices=True)
    recent = (times > last_ms - CORRELATION_MS) & (times <= last_ms)
    x, y = our_returns[at[recent]], their_returns[their_at[recent]]
    value = _pearson(*(np.array([sums]) for sums in (x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y)))
    return None if np.isnan(value[0]) else float(value[0])


def correlations_for(ours: Columns, theirs: Columns, interval: str) -> tuple[IntArray, FloatArray]:
    """Open times of every candle of `interval` from the first to the last of both, and the correlation as of each.

    What a primary candle that opens at `t` is told is the entry whose open time is `(t // length - 1) * length`; NaN
    where there is no value. The columns are those of `interval` itself (see `window.resample`).
    """
    length_ms = INTERVAL_MS[interval]
    our_times, our_returns = _returns(ours, length_ms)
    their_times, their_returns = _returns(theirs, length_ms)
    if not our_times.size or not their_times.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    first_ms, last_ms = min(our_times[0], their_times[0]), max(our_times[-1], their_times[-1])
    times = np.arange(first_ms, last_ms + 1, length_ms, dtype=np.int64)
    x, y = np.zeros(times.size), np.zeros(times.size)
    x_known, y_known = np.zeros(times.size, dtype=np.bool_), np.zeros(times.size, dtype=np.bool_)
    x[(our_times - first_ms) // length_ms] = our_returns
    y[(their_times - first_ms) // length_ms] = their_returns
    x_known[(our_times - first_ms) // length_ms] = True
    y_known[(their_times - first_ms) // length_ms] = True
    common: Truths = x_known & y_known
    x, y = np.where(common, x, 0.0), np.where(common, y, 0.0)
    window = CORRELATION_MS // length_ms
    return times, _pearson(*(_windows(part, window) for part in (common.astype(np.float64), x, y, x * x, y * y, x * y)))


def _returns(columns: Columns, length_ms: int) -> tuple[IntArray, FloatArray]:
    """Open times and log returns of the candles that follow right upon another."""
    follows = np.flatnonzero(np.diff(columns.open_ms) == length_ms) + 1
    return columns.open_ms[follows], np.log(columns.close[follows] / columns.close[follows - 1])


def _windows(values: FloatArray, window: int) -> FloatArray:
    """The sum of the last `window` values, or of as many as there are, at each."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, sums.size)
    return sums[ends] - sums[np.maximum(ends - window, 0)]


def _pearson(n: FloatArray, x: FloatArray, y: FloatArray, xx: FloatArray, yy: FloatArray, xy: FloatArray) -> FloatArray:
    """From the count and the sums; NaN for too few or for a symbol that stood still."""
    n = np.where(n >= RETURNS_MIN, n, np.nan)
    x_spread, y_spread = xx - x * x / n, yy - y * y / n
    known = (x_spread > VARIANCE_SHARE_MIN * xx) & (y_spread > VARIANCE_SHARE_MIN * yy)
    spread = np.where(known, x_spread * y_spread, np.nan)
    return np.clip((xy - x * y / n) / np.sqrt(spread), -1.0, 1.0)
