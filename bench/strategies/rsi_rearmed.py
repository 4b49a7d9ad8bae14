"""The bench's rules as raptorbt takes them: an entry counts only when an exit signal has come since the last entry.

Whether it does is seen from the signals alone, whatever stops and targets did in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from surefoot.signals.custom import Parameter, Rule
from surefoot.signals.indicators import before, rsi, wilder_window
from surefoot.signals.window import Columns, FloatArray

PARAMETERS = (
    Parameter("period", 14, 2, 100, "candles", "length of the averages", whole=True),
    Parameter("low", 30, 1, 50, "points", "crossed downwards, it is time to buy"),
    Parameter("high", 70, 50, 99, "points", "above it, it is time to sell"),
)
RULES = (Rule("neutral", 0.0, None), Rule("below", 1.0, 1.0), Rule("above", 1.0, -1.0))


def window(p: Any) -> int:
    return wilder_window(p.period)


def warmup(p: Any) -> int:
    return int(p.period) + 2


def indicators(candles: Columns, p: Any) -> dict[str, FloatArray]:
    value = rsi(candles.close, p.period)
    previous = before(value)
    entries = (value < p.low) & (previous >= p.low)
    # Of the signals before each candle, the last says whether the next entry counts.
    places = np.arange(value.size)
    last = np.maximum.accumulate(np.where(entries | (value > p.high), places, -1))
    armed = np.where(last < 0, True, value[last] > p.high)
    return {"value": value, "armed": np.append(1.0, armed[:-1].astype(np.float64)), "previous": previous}


def rule(value: float, armed: float, previous: float, low: float, high: float) -> int:
    if value > high:
        return 2
    return 1 if armed > 0 and value < low <= previous else 0
