"""The rule table of the RSI strategy, line by line, long and mirrored short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.signals.rsi import RULES, Rsi, rsi_rule
from surefoot.signals.strategy import strategy_named

POINTS = st.floats(0, 100).map(lambda points: round(points, 6))  # apart from the margin for rounding noise

# RSI, RSI before, confirming RSI -> rule, score, target
TABLE = [
    (20.0, 19.0, 30.0, "rsi strong long", 0.87, 1.0),
    (20.0, 19.0, 30.1, "rsi moderate long", 0.73, 1.0),
    (20.1, 19.0, 30.0, "rsi moderate long", 0.73, 1.0),
    (30.0, 29.0, 49.9, "rsi moderate long", 0.73, 1.0),
    (30.1, 29.0, 49.9, "rsi weak long", 0.51, 1.0),
    (49.9, 49.0, 49.9, "rsi weak long", 0.51, 1.0),
    (50.0, 49.0, 49.9, "neutral", 0.0, None),
    (30.0, 29.0, 50.0, "neutral", 0.0, None),
    (20.0, 20.0, 30.0, "neutral", 0.0, None),
    (20.0, 21.0, 30.0, "neutral", 0.0, None),
]


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize(("value", "previous", "confirm", "name", "score", "target"), TABLE)
def test_each_line_of_the_table_fires_where_it_says(
    value: float, previous: float, confirm: float, name: str, score: float, target: float | None
) -> None:
    rule = RULES[rsi_rule(value, previous, confirm, *Rsi().thresholds)]
    assert (rule.name, rule.score, rule.target) == (name, score, target)


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize(("value", "previous", "confirm", "name", "score", "target"), TABLE)
def test_the_short_side_mirrors_each_line(
    value: float, previous: float, confirm: float, name: str, score: float, target: float | None
) -> None:
    rule = RULES[rsi_rule(100 - value, 100 - previous, 100 - confirm, *Rsi().thresholds)]
    assert (rule.name, rule.score, rule.target) == (name.replace("long", "short"), score, target and -target)


@pytest.mark.spec("SIG-2")
@given(POINTS, POINTS, POINTS)
def test_mirrored_values_give_the_mirrored_answer(value: float, previous: float, confirm: float) -> None:
    long = RULES[rsi_rule(value, previous, confirm, 30.0, 70.0, 20.0, 80.0)]
    short = RULES[rsi_rule(100 - value, 100 - previous, 100 - confirm, 30.0, 70.0, 20.0, 80.0)]
    assert (long.score, long.target) == (short.score, short.target and -short.target)


@pytest.mark.spec("SIG-2")
def test_the_last_digit_of_a_still_candle_is_no_rise_and_moves_no_threshold() -> None:
    thresholds = Rsi().thresholds
    assert rsi_rule(25.000000000000004, 25.0, 40.0, *thresholds) == 0
    assert rsi_rule(30.000000000000004, 29.0, 40.0, *thresholds) == rsi_rule(30.0, 29.0, 40.0, *thresholds)
    assert rsi_rule(30.0, 29.0, 49.99999999999999, *thresholds) == rsi_rule(30.0, 29.0, 50.0, *thresholds)


@pytest.mark.spec("SIG-6")
def test_readiness_counts_are_those_of_the_specification() -> None:
    warmup = strategy_named("rsi").warmup
    assert (warmup.minimum, warmup.warm, warmup.best) == (15, 42, 140)


@pytest.mark.spec("SIG-2")
def test_parameters_have_the_defaults_of_the_specification_and_reach_the_rule() -> None:
    assert strategy_named("rsi") == Rsi(14, 30.0, 70.0, 20.0, 80.0)
    assert strategy_named("rsi", {"period": 7, "oversold": 35}) == Rsi(7, 35.0, 70.0, 20.0, 80.0)
    assert rsi_rule(34.0, 33.0, 40.0, *Rsi(oversold=35.0).thresholds) == 2


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no strategy is called 'rsl'; known are bollinger, macd, rsi"):
        strategy_named("rsl")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"periode": 14}, "has no parameter 'periode'; it has period, oversold"),
        ({"period": 1}, "period = 1 is outside 2 to 100 candles"),
        ({"period": 14.5}, "not a whole number of candles"),
        ({"oversold": float("nan")}, "oversold = nan is outside 5 to 49"),
        ({"oversold": 15}, "extreme_low must not be above oversold"),
        ({"overbought": 85}, "nor extreme_high below overbought"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_range(parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        strategy_named("rsi", parameters)
