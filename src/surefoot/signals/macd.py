"""The MACD strategy: go with a histogram that turns or grows, when the confirming interval goes along.

The histogram is told in average true ranges of its candle, so that one threshold serves every symbol. The two lines
cross where the histogram changes its sign. "Rising" compares a histogram with the one before it, both in the present
average true range. Where the specification is short: the confirming interval is "not against" a weak signal while its
histogram is not beyond the threshold on the other side. The short side is the same ladder on values of changed sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from surefoot.signals.indicators import atr, before, macd, macd_window, wilder_window
from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import Columns, FloatArray

# Average true ranges. Rounding moves a histogram, the difference of nearly equal prices, by less than that.
NOISE = 1e-7
GROWTH = 1.10
ATR_CANDLES = 14

NEUTRAL, STRONG, MODERATE, WEAK = 0, 1, 2, 3
SHORT = 3  # a short rule stands this far behind its long one

RULES = (
    Rule("neutral", 0.0, None),
    Rule("macd strong long", 0.89, 1.0),
    Rule("macd moderate long", 0.71, 1.0),
    Rule("macd weak long", 0.55, 1.0),
    Rule("macd strong short", 0.89, -1.0),
    Rule("macd moderate short", 0.71, -1.0),
    Rule("macd weak short", 0.55, -1.0),
)

PARAMETERS = (
    Parameter("fast_candles", 12, 2, 100, "candles", "length of the quick average", whole=True),
    Parameter("slow_candles", 26, 3, 200, "candles", "length of the slow average", whole=True),
    Parameter("signal_candles", 9, 2, 100, "candles", "length of the signal line's average", whole=True),
    Parameter("threshold_atr", 0.1, 0.0, 2.0, "average true ranges", "a histogram above it is large"),
)


def ladder(value: float, previous: float, confirm: float, confirm_previous: float, threshold: float) -> int:
    """The step of the long side that fires, 0 for none; all in average true ranges."""
    if value - previous <= NOISE:
        return NEUTRAL
    crosses = previous <= NOISE and value > NOISE
    large = value > threshold + NOISE
    confirm_rises = confirm - confirm_previous > NOISE
    confirm_large = confirm > threshold + NOISE
    if crosses and confirm_large and confirm_rises:
        return STRONG
    if (crosses or (large and confirm_large)) and confirm_rises:
        return MODERATE
    if previous > NOISE and value >= GROWTH * previous - NOISE and confirm >= -threshold - NOISE:
        return WEAK
    return NEUTRAL


def macd_rule(value: float, previous: float, confirm: float, confirm_previous: float, threshold: float) -> int:
    """Position in `RULES`: long and short cannot both fire, the histogram rises or falls."""
    step = ladder(value, previous, confirm, confirm_previous, threshold)
    if step != NEUTRAL:
        return step
    step = ladder(-value, -previous, -confirm, -confirm_previous, threshold)
    return step + SHORT if step != NEUTRAL else NEUTRAL


@dataclass(frozen=True, slots=True)
class Macd:
    """The MACD strategy with its parameters set; see `PARAMETERS` for units and ranges."""

    fast_candles: int = 12
    slow_candles: int = 26
    signal_candles: int = 9
    threshold_atr: float = 0.1

    name: ClassVar[str] = "macd"
    parameters: ClassVar[tuple[Parameter, ...]] = PARAMETERS
    values: ClassVar[tuple[str, ...]] = (
        "histogram_atr",
        "histogram_previous_atr",
        "confirm_histogram_atr",
        "confirm_histogram_previous_atr",
    )
    rules: ClassVar[tuple[Rule, ...]] = RULES
    confirms: ClassVar[bool] = True

    @classmethod
    def from_parameters(cls, given: Mapping[str, float]) -> Macd:
        """Unknown names, values out of range and a quick average that is not the quicker one are a ValueError."""
        chosen = checked_parameters(cls.name, PARAMETERS, given)
        if chosen["fast_candles"] >= chosen["slow_candles"]:
            raise ValueError("macd: fast_candles must be below slow_candles")
        return cls(**chosen)

    @property
    def warmup(self) -> Warmup:
        return Warmup.multiples(max(self.slow_candles + self.signal_candles, ATR_CANDLES + 1))

    @property
    def window(self) -> int:
        return max(macd_window(self.slow_candles, self.signal_candles), wilder_window(ATR_CANDLES))

    @property
    def rule(self) -> Callable[..., int]:
        return macd_rule

    @property
    def thresholds(self) -> tuple[float, ...]:
        return (self.threshold_atr,)

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        histogram = macd(columns.close, self.fast_candles, self.slow_candles, self.signal_candles).histogram
        ranges = atr(columns.high, columns.low, columns.close, ATR_CANDLES)
        return histogram / ranges, before(histogram) / ranges

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        return self.primary(columns)
