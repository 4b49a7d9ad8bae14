"""The bench's rules with a rule that cannot be compiled: it stays plain Python and is called at each candle."""

from __future__ import annotations

from typing import Any

from surefoot.signals.custom import Parameter, Rule
from surefoot.signals.indicators import before, rsi, wilder_window
from surefoot.signals.window import Columns, FloatArray

PARAMETERS = (
    Parameter("period", 14, 2, 100, "candles", "length of the averages", whole=True),
    Parameter("low", 30, 1, 50, "points", "crossed downwards, it is time to buy"),
    Parameter("high", 70, 50, 99, "points", "above it, it is time to sell"),
)
RULES = (Rule("neutral", 0.0, None), Rule("below", 1.0, 1.0), Rule("above", 1.0, -1.0))
PLACES = {rule.name: place for place, rule in enumerate(RULES)}


def window(p: Any) -> int:
    return wilder_window(p.period)


def warmup(p: Any) -> int:
    return int(p.period) + 2


def indicators(candles: Columns, p: Any) -> dict[str, FloatArray]:
    value = rsi(candles.close, p.period)
    return {"value": value, "previous": before(value)}


def rule(value: float, previous: float, low: float, high: float) -> int:
    if value > high:
        return PLACES["above"]
    return PLACES["below" if value < low <= previous else "neutral"]
