"""RSI threshold: buy when the index crosses below a lower line, sell when it crosses above an upper one."""

from __future__ import annotations

from surefoot.signals.custom import Parameter, Rule
from surefoot.signals.indicators import before, rsi, wilder_window

PARAMETERS = (
    Parameter("period", 14, 2, 100, "candles", "length of the averages", whole=True),
    Parameter("low", 30, 1, 50, "points", "crossed downwards, it is time to buy"),
    Parameter("high", 70, 50, 99, "points", "crossed upwards, it is time to sell"),
)
RULES = (Rule("neutral", 0.0, None), Rule("below", 1.0, 1.0), Rule("above", 1.0, -1.0))


def window(p):
    return wilder_window(p.period)


def warmup(p):
    return p.period + 2


def indicators(candles, p):
    return {"value": (value := rsi(candles.close, p.period)), "previous": before(value)}


def rule(value, previous, low, high):
    return 1 if value < low <= previous else 2 if value > high >= previous else 0
