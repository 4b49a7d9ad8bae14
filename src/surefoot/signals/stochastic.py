"""The stochastic strategy: buy where %K turns up through %D at the bottom of the range, sell at its top.

A cross is %K above %D where it was not at the candle before. Where the specification is short: %K decides whether a
cross lies inside the zone; a cross is "near" the zone within ten points of it; "inside the zone on both" asks the
confirming interval for %K above %D inside its zone, since an hour's own cross seldom falls into the same quarter;
"extreme" means %K at an extreme and rising while the confirming %K is in its zone (as the strong rule of the RSI);
the "right side" of the confirming interval is below the middle. The short side mirrors every value in 50.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from surefoot.signals.indicators import before, stochastic, stochastic_window
from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import Columns, FloatArray

# Points. TA-Lib's running sums of three values carry some 1e-12 along.
NOISE = 1e-9
MIDDLE = 50.0
NEAR_POINTS = 10.0

NEUTRAL, CROSS, EXTREME, NEAR = 0, 1, 2, 3
SHORT = 3  # a short rule stands this far behind its long one

RULES = (
    Rule("neutral", 0.0, None),
    Rule("stochastic cross long", 0.89, 1.0),
    Rule("stochastic extreme long", 0.85, 1.0),
    Rule("stochastic near long", 0.72, 1.0),
    Rule("stochastic cross short", 0.89, -1.0),
    Rule("stochastic extreme short", 0.85, -1.0),
    Rule("stochastic near short", 0.72, -1.0),
)

PARAMETERS = (
    Parameter("period_candles", 14, 3, 100, "candles", "range that raw %K is measured in", whole=True),
    Parameter("smoothing_candles", 3, 1, 20, "candles", "length of the means of %K and %D", whole=True),
    Parameter("oversold_points", 15, 1, 49, "points", "at or below is oversold"),
    Parameter("overbought_points", 85, 51, 99, "points", "at or above is overbought"),
    Parameter("extreme_low_points", 10, 0, 49, "points", "at or below is extremely oversold"),
    Parameter("extreme_high_points", 90, 51, 100, "points", "at or above is extremely overbought"),
)


def ladder(
    k: float,
    d: float,
    k_previous: float,
    d_previous: float,
    confirm_k: float,
    confirm_d: float,
    zone: float,
    extreme: float,
) -> int:
    """The step of the long side that fires, 0 for none; all in points."""
    crosses = k - d > NOISE and k_previous - d_previous <= NOISE
    confirm_in_zone = confirm_k <= zone + NOISE
    if crosses and k <= zone + NOISE and confirm_in_zone and confirm_k - confirm_d > NOISE:
        return CROSS
    if k <= extreme + NOISE and k - k_previous > NOISE and confirm_in_zone:
        return EXTREME
    if crosses and k <= zone + NEAR_POINTS + NOISE and confirm_k < MIDDLE - NOISE:
        return NEAR
    return NEUTRAL


def stochastic_rule(
    k: float,
    d: float,
    k_previous: float,
    d_previous: float,
    confirm_k: float,
    confirm_d: float,
    oversold: float,
    overbought: float,
    extreme_low: float,
    extreme_high: float,
) -> int:
    """Position in `RULES`: long and short cannot both fire, the confirming %K is on one side of the middle."""
    step = ladder(k, d, k_previous, d_previous, confirm_k, confirm_d, oversold, extreme_low)
    if step != NEUTRAL:
        return step
    step = ladder(
        100.0 - k,
        100.0 - d,
        100.0 - k_previous,
        100.0 - d_previous,
        100.0 - confirm_k,
        100.0 - confirm_d,
        100.0 - overbought,
        100.0 - extreme_high,
    )
    return step + SHORT if step != NEUTRAL else NEUTRAL


@dataclass(frozen=True, slots=True)
class Stochastic:
    """The stochastic strategy with its parameters set; see `PARAMETERS` for units and ranges."""

    period_candles: int = 14
    smoothing_candles: int = 3
    oversold_points: float = 15.0
    overbought_points: float = 85.0
    extreme_low_points: float = 10.0
    extreme_high_points: float = 90.0

    name: ClassVar[str] = "stochastic"
    parameters: ClassVar[tuple[Parameter, ...]] = PARAMETERS
    values: ClassVar[tuple[str, ...]] = ("k", "d", "k_previous", "d_previous", "confirm_k", "confirm_d")
    rules: ClassVar[tuple[Rule, ...]] = RULES
    confirms: ClassVar[bool] = True

    @classmethod
    def from_parameters(cls, given: Mapping[str, float]) -> Stochastic:
        """Unknown names, values out of range and extremes inside their zone are a ValueError."""
        chosen = checked_parameters(cls.name, PARAMETERS, given)
        low, high = chosen["extreme_low_points"], chosen["extreme_high_points"]
        if low > chosen["oversold_points"] or high < chosen["overbought_points"]:
            raise ValueError(
                "stochastic: extreme_low_points must not be above oversold_points, "
                "nor extreme_high_points below overbought_points"
            )
        return cls(**chosen)

    @property
    def warmup(self) -> Warmup:
        return Warmup.multiples(stochastic_window(self.period_candles, self.smoothing_candles))

    @property
    def window(self) -> int:
        return stochastic_window(self.period_candles, self.smoothing_candles)

    @property
    def rule(self) -> Callable[..., int]:
        return stochastic_rule

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.oversold_points, self.overbought_points, self.extreme_low_points, self.extreme_high_points

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        k, d = self.confirm(columns)
        return k, d, before(k), before(d)

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        return stochastic(columns.high, columns.low, columns.close, self.period_candles, self.smoothing_candles)
