"""The rule tables of MACD, Bollinger, volume and stochastic, line by line, long and mirrored short."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.signals.compiled import over_arrays
from surefoot.signals.strategy import STRATEGIES, Strategy, strategy_named
from tests.signals.market import columns_of, random_candles

Values = tuple[float, ...]


class Row(NamedTuple):
    strategy: str
    values: Values
    rule: str
    score: float
    target: float | None


def mirrored(strategy: str, values: Values) -> Values:
    """The same market seen from above."""
    match strategy:
        case "macd":
            return tuple(-value for value in values)
        case "bollinger":
            position, width, previous, close, confirm, middle = values
            return 1 - position, width, previous, 2 * middle - close, 1 - confirm, middle
        case "volume":
            ratio, share, close, control = values
            return ratio, 1 - share, 2 * control - close, control
        case _:
            return tuple(100 - value for value in values)


TABLE = [
    # histogram, previous, confirming, its previous; threshold 0.1
    Row("macd", (0.1, -0.1, 0.2, 0.1), "macd strong long", 0.89, 1.0),
    Row("macd", (0.1, 0.0, 0.2, 0.1), "macd strong long", 0.89, 1.0),
    Row("macd", (0.1, -0.1, 0.1, 0.0), "macd moderate long", 0.71, 1.0),  # the confirming one is not above 0.1
    Row("macd", (0.3, 0.2, 0.2, 0.1), "macd moderate long", 0.71, 1.0),  # no cross, both large and rising
    Row("macd", (0.3, 0.2, 0.2, 0.2), "macd weak long", 0.55, 1.0),  # the confirming one does not rise
    Row("macd", (0.055, 0.05, -0.1, 0.0), "macd weak long", 0.55, 1.0),
    Row("macd", (0.054, 0.05, 0.0, 0.0), "neutral", 0.0, None),  # grew by less than a tenth
    Row("macd", (0.3, 0.2, -0.2, 0.0), "neutral", 0.0, None),  # the confirming one is against it
    Row("macd", (-0.1, -0.2, 0.0, 0.1), "neutral", 0.0, None),  # rising below the signal line
    # position, width, previous width, close, confirming position, confirming middle
    Row("bollinger", (1.1, 0.02, 0.019, 101, 0.6, 100), "bollinger breakout long", 0.87, 1.0),
    Row("bollinger", (1.1, 0.03, 0.02, 101, 0.7, 100), "bollinger trend long", 0.69, 1.0),  # it was not squeezed
    Row("bollinger", (1.1, 0.02, 0.019, 101, 0.5, 100), "neutral", 0.0, None),  # not beyond the confirming middle
    Row("bollinger", (0.1, 0.03, 0.03, 99, 0.29, 100), "bollinger reversion long", 0.73, 1.0),
    Row("bollinger", (0.1, 0.03, 0.03, 99, 0.3, 100), "neutral", 0.0, None),
    Row("bollinger", (0.1, 0.03, 0.03, 101, 0.3, 100), "bollinger weak long", 0.58, 1.0),
    Row("bollinger", (0.81, 0.03, 0.028, 101, 0.61, 100), "bollinger trend long", 0.69, 1.0),
    Row("bollinger", (0.81, 0.03, 0.029, 101, 0.61, 100), "neutral", 0.0, None),  # grew by less than 5 %
    Row("bollinger", (0.24, 0.03, 0.03, 101, 0.5, 100), "bollinger weak long", 0.58, 1.0),
    Row("bollinger", (0.25, 0.03, 0.03, 101, 0.5, 100), "neutral", 0.0, None),
    # volume in means, share of rising candles, close, point of control
    Row("volume", (2.0, 0.7, 101, 100), "volume spike long", 0.91, 1.0),
    Row("volume", (2.0, 0.7, 100, 100), "volume accumulation long", 0.71, 1.0),  # not above the point of control
    Row("volume", (1.99, 0.7, 101, 100), "volume accumulation long", 0.71, 1.0),
    Row("volume", (1.5, 0.6, 99, 100), "volume accumulation long", 0.71, 1.0),
    Row("volume", (1.49, 0.6, 99, 100), "volume weak long", 0.51, 1.0),
    Row("volume", (1.21, 0.55, 99, 100), "volume weak long", 0.51, 1.0),
    Row("volume", (1.2, 0.55, 99, 100), "neutral", 0.0, None),
    Row("volume", (3.0, 0.54, 101, 100), "neutral", 0.0, None),
    # %K, %D, their previous, confirming %K and %D
    Row("stochastic", (15, 12, 9, 11, 15, 14), "stochastic cross long", 0.89, 1.0),
    Row("stochastic", (15, 12, 9, 11, 15, 15), "stochastic near long", 0.72, 1.0),  # the confirming one has not crossed
    Row("stochastic", (10, 12, 9, 11, 15, 16), "stochastic extreme long", 0.85, 1.0),
    Row("stochastic", (10, 12, 10, 11, 15, 16), "neutral", 0.0, None),  # does not rise
    Row("stochastic", (10, 12, 9, 11, 16, 18), "neutral", 0.0, None),  # the confirming one is not in its zone
    Row("stochastic", (25, 24, 20, 21, 49, 50), "stochastic near long", 0.72, 1.0),
    Row("stochastic", (25.1, 24, 20, 21, 49, 50), "neutral", 0.0, None),
    Row("stochastic", (25, 24, 20, 21, 50, 50), "neutral", 0.0, None),
    Row("stochastic", (25, 24, 22, 21, 49, 50), "neutral", 0.0, None),  # was above before
]  # fmt: skip


def answer(strategy: Strategy, values: Values) -> tuple[str, float, float | None]:
    rule = strategy.rules[strategy.rule(*values, *strategy.thresholds)]
    return rule.name, rule.score, rule.target


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.rule} {row.values}")
def test_each_line_of_the_table_fires_where_it_says_long_and_short(row: Row) -> None:
    strategy = strategy_named(row.strategy)
    assert answer(strategy, row.values) == (row.rule, row.score, row.target)
    short = row.rule.replace("long", "short").replace("accumulation", "distribution")
    assert answer(strategy, mirrored(row.strategy, row.values)) == (short, row.score, row.target and -row.target)


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_compiled_rule_answers_as_the_plain_one(name: str) -> None:
    strategy = strategy_named(name)
    rows = [row.values for row in TABLE if row.strategy == name] or [(25.0, 24.0, 40.0), (75.0, 76.0, 60.0)]
    rows += [mirrored(name, values) for values in rows]
    quick = over_arrays(strategy.rule)(*np.array(rows, dtype=np.float64).T, *strategy.thresholds)
    assert quick.tolist() == [strategy.rule(*row, *strategy.thresholds) for row in rows]


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize("name", ["macd", "volume", "stochastic"])
@given(st.data())
def test_long_and_short_never_fire_on_the_same_values(name: str, data: st.DataObject) -> None:
    points: dict[str, Callable[[], st.SearchStrategy[Values]]] = {
        "macd": lambda: st.tuples(*[st.floats(-1, 1)] * 4),
        "volume": lambda: st.tuples(st.floats(0, 5), st.floats(0, 1), st.floats(90, 110), st.just(100.0)),
        "stochastic": lambda: st.tuples(*[st.floats(0, 100)] * 6),
    }
    strategy, values = strategy_named(name), data.draw(points[name]().map(lambda row: tuple(round(v, 6) for v in row)))
    ours, theirs = answer(strategy, values), answer(strategy, mirrored(name, values))
    assert (ours[1], ours[2]) == (theirs[1], theirs[2] and -theirs[2])


@pytest.mark.spec("SIG-6")
@pytest.mark.parametrize(
    ("name", "counts"),
    [("macd", (35, 70, 175)), ("bollinger", (21, 42, 105)), ("volume", (48, 96, 240)), ("stochastic", (19, 38, 95))],
)
def test_readiness_counts_are_what_the_first_values_need_and_multiples(name: str, counts: tuple[int, ...]) -> None:
    warmup = strategy_named(name).warmup
    assert (warmup.minimum, warmup.warm, warmup.best) == counts


@pytest.mark.spec("SIG-2")
@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("macd", {"fast_candles": 26}, "fast_candles must be below slow_candles"),
        ("macd", {"signal_candles": 9.5}, "signal_candles = 9.5 is not a whole number of candles"),
        ("bollinger", {"deviations": 9}, "deviations = 9 is outside 0.5 to 5"),
        ("volume", {"spike": 2}, "volume has no parameter 'spike'; it has period_candles"),
        ("stochastic", {"extreme_low_points": 20}, "extreme_low_points must not be above oversold_points"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_range(name: str, parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        strategy_named(name, parameters)


@pytest.mark.spec("SIG-2", "SIG-6")
@pytest.mark.parametrize("name", STRATEGIES)
def test_values_are_named_and_there_once_the_minimum_is_passed(name: str) -> None:
    strategy = strategy_named(name)
    columns = columns_of(random_candles(5, strategy.warmup.minimum + 1))
    sides = (*strategy.primary(columns), *strategy.confirm(columns))
    assert len(sides) == len(strategy.values)
    assert all(array[-1] == array[-1] for array in sides)
