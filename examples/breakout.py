"""Breakout: in when the close leaves the range of the last candles upwards, out when it leaves it downwards."""

from __future__ import annotations

import talib

from surefoot.signals.custom import Parameter, Rule
from surefoot.signals.indicators import before

PARAMETERS = (Parameter("range_candles", 55, 5, 400, "candles", "the range to leave", whole=True),)
RULES = (Rule("neutral", 0.0, None), Rule("breaks out", 0.8, 1.0), Rule("breaks down", 0.8, -1.0))


def window(p):
    return p.range_candles + 1


def indicators(candles, p):
    highest = talib.MAX(candles.high, timeperiod=p.range_candles)
    lowest = talib.MIN(candles.low, timeperiod=p.range_candles)
    return {"close": candles.close, "highest": before(highest), "lowest": before(lowest)}


def rule(close, highest, lowest):
    return 1 if close > highest else 2 if close < lowest else 0
