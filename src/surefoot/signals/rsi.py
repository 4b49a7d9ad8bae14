"""The RSI strategy: buy weakness that turns, sell strength that turns, never against the confirming interval.

The rule is a ladder, strongest step first. The short side is the same ladder seen from above: every value is taken
from 100. `rsi_rule` uses floats and integers only, so that it can be compiled and called from a loop over arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from surefoot.signals.indicators import before, rsi, wilder_window
from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import WINDOW_CANDLES_DEFAULT, Columns, FloatArray

# RSI points. A still candle shrinks both averages alike, and rounding then moves the RSI by some 1e-14: that is no
# rise. The same margin puts a value that lies exactly on a threshold on its side of it, wherever the window started.
NOISE = 1e-9
MIDDLE = 50.0

NEUTRAL, STRONG, MODERATE, WEAK = 0, 1, 2, 3
SHORT = 3  # a short rule stands this far behind its long one

RULES = (
    Rule("neutral", 0.0, None),
    Rule("rsi strong long", 0.87, 1.0),
    Rule("rsi moderate long", 0.73, 1.0),
    Rule("rsi weak long", 0.51, 1.0),
    Rule("rsi strong short", 0.87, -1.0),
    Rule("rsi moderate short", 0.73, -1.0),
    Rule("rsi weak short", 0.51, -1.0),
)

PARAMETERS = (
    Parameter("period", 14, 2, 100, "candles", "length of Wilder's averages", whole=True),
    Parameter("oversold", 30, 5, 49, "RSI points", "at or below is oversold"),
    Parameter("overbought", 70, 51, 95, "RSI points", "at or above is overbought"),
    Parameter("extreme_low", 20, 1, 49, "RSI points", "at or below is extremely oversold"),
    Parameter("extreme_high", 80, 51, 99, "RSI points", "at or above is extremely overbought"),
)


def ladder(value: float, previous: float, confirm: float, zone: float, extreme: float) -> int:
    """The step of the long side that fires, 0 for none; all in RSI points."""
    if value - previous <= NOISE:
        return NEUTRAL
    if value <= extreme + NOISE and confirm <= zone + NOISE:
        return STRONG
    if confirm >= MIDDLE - NOISE:
        return NEUTRAL
    if value <= zone + NOISE:
        return MODERATE
    if value < MIDDLE - NOISE:
        return WEAK
    return NEUTRAL


def rsi_rule(
    value: float,
    previous: float,
    confirm: float,
    oversold: float,
    overbought: float,
    extreme_low: float,
    extreme_high: float,
) -> int:
    """Position in `RULES`: long and short cannot both fire, the confirming value is on one side of the middle."""
    step = ladder(value, previous, confirm, oversold, extreme_low)
    if step != NEUTRAL:
        return step
    step = ladder(100.0 - value, 100.0 - previous, 100.0 - confirm, 100.0 - overbought, 100.0 - extreme_high)
    return step + SHORT if step != NEUTRAL else NEUTRAL


@dataclass(frozen=True, slots=True)
class Rsi:
    """The RSI strategy with its parameters set; see `PARAMETERS` for units and ranges."""

    period: int = 14
    oversold: float = 30.0
    overbought: float = 70.0
    extreme_low: float = 20.0
    extreme_high: float = 80.0

    name: ClassVar[str] = "rsi"
    parameters: ClassVar[tuple[Parameter, ...]] = PARAMETERS
    values: ClassVar[tuple[str, ...]] = ("rsi", "rsi_previous", "confirm_rsi")
    rules: ClassVar[tuple[Rule, ...]] = RULES
    confirms: ClassVar[bool] = True

    @classmethod
    def from_parameters(cls, given: Mapping[str, float]) -> Rsi:
        """Unknown names, values out of range and extremes inside their zone are a ValueError."""
        chosen = checked_parameters(cls.name, PARAMETERS, given)
        if chosen["extreme_low"] > chosen["oversold"] or chosen["extreme_high"] < chosen["overbought"]:
            raise ValueError("rsi: extreme_low must not be above oversold, nor extreme_high below overbought")
        return cls(**chosen)

    @property
    def warmup(self) -> Warmup:
        return Warmup(minimum=self.period + 1, warm=3 * self.period, best=10 * self.period)

    @property
    def window(self) -> int:
        return max(WINDOW_CANDLES_DEFAULT, wilder_window(self.period))

    @property
    def rule(self) -> Callable[..., int]:
        return rsi_rule

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.oversold, self.overbought, self.extreme_low, self.extreme_high

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        values = rsi(columns.close, self.period)
        return values, before(values)

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        return (rsi(columns.close, self.period),)
