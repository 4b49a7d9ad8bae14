"""Moving-average cross: in when the quick average rises through the slow one, out when it falls through it."""

from __future__ import annotations

from surefoot.signals.custom import Parameter, Rule
from surefoot.signals.indicators import before, rolling_mean

PARAMETERS = (
    Parameter("fast", 10, 2, 100, "candles", "the quick average", whole=True),
    Parameter("slow", 30, 3, 300, "candles", "the slow average", whole=True),
)
RULES = (Rule("neutral", 0.0, None), Rule("cross up", 0.8, 1.0), Rule("cross down", 0.8, -1.0))


def window(p):
    return p.slow + 1


def indicators(candles, p):
    gap = rolling_mean(candles.close, p.fast) - rolling_mean(candles.close, p.slow)
    return {"gap": gap, "gap_before": before(gap)}


def rule(gap, gap_before):
    if gap_before <= 0 < gap:
        return 1
    return 2 if gap < 0 <= gap_before else 0
