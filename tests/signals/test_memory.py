"""Indicators that are remembered are those that would be made: what is read for them is compared, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.signals.custom import Parameter, Rule, custom_strategy
from surefoot.signals.history import plainly
from surefoot.signals.memory import Seen
from surefoot.signals.rsi import Rsi
from surefoot.signals.strategy import Strategy
from surefoot.signals.window import Columns
from surefoot.strategies import own_strategy

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/rsi_threshold.py"
CLOSES = 100 + np.cumsum(np.random.default_rng(3).normal(size=300))
COLUMNS = Columns(60_000 * np.arange(300), *[CLOSES] * 5)


def agree(seen: Seen, strategy: Strategy, columns: Columns = COLUMNS) -> tuple[Any, ...]:
    """What is remembered, after it was held against what the strategy makes itself."""
    for which in ("primary", "confirm"):
        for ours, theirs in zip(seen.look(strategy, which, columns), plainly(strategy, which, columns), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    return seen.look(strategy, "primary", columns)


@pytest.mark.spec("PERF-2")
def test_thresholds_share_their_indicators_and_periods_do_not() -> None:
    seen = Seen()
    for make in (
        lambda period, low: own_strategy(str(EXAMPLE), {"period": period, "low": low}),
        lambda period, low: Rsi(period=int(period), oversold=low),
    ):
        first = agree(seen, make(14, 30))
        assert agree(seen, make(14, 25))[0] is first[0]
        other = agree(seen, make(7, 30))
        assert other[0] is not first[0]
        assert agree(seen, make(14, 20))[0] is first[0], "still known"


@pytest.mark.spec("PERF-2")
def test_other_candles_have_other_indicators() -> None:
    seen = Seen()
    agree(seen, Rsi())
    agree(seen, Rsi(), COLUMNS._replace(close=CLOSES[::-1].copy()))


class Roundabout:
    """Reads its parameters all at once."""

    RULES = (Rule("neutral", 0.0, None), Rule("long", 1.0, 1.0))
    PARAMETERS = (Parameter("a", 1, 0, 9, "", ""), Parameter("b", 2, 0, 9, "", ""))

    @staticmethod
    def window(p: Any) -> int:
        return 5

    @staticmethod
    def indicators(candles: Columns, p: Any) -> dict[str, Any]:
        return {"value": candles.close * sum(vars(p).values())}

    @staticmethod
    def rule(value: float, a: float) -> int:
        return 1 if value > a else 0


@pytest.mark.spec("PERF-2")
def test_parameters_that_are_read_in_a_roundabout_way_all_count() -> None:
    seen = Seen()
    first = agree(seen, custom_strategy("roundabout", Roundabout, {"a": 1, "b": 2}))
    other = agree(seen, custom_strategy("roundabout", Roundabout, {"a": 1, "b": 3}))
    assert other[0][0] != first[0][0]
