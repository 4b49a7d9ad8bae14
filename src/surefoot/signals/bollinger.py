"""The Bollinger strategy: a band that opens is followed, a band that is quiet is traded back to its middle.

Position is 0 at the lower band and 1 at the upper one, width is the share of the middle between them. The rules of
both sides are tried from the strongest to the weakest, long before short: "position > 0.8" of a long trend and
"position > 0.75" of a weak short can hold together, and the stronger one then speaks. The short side mirrors positions
in the middle of the band. Where the specification is short: "was squeezed" means the candle before; "beyond the middle"
is the confirming interval's position; "above confirm's middle" compares the price with the confirming middle band.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from surefoot.signals.indicators import before, bollinger, bollinger_window
from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import Columns, FloatArray

# Shares of a band. Each window is summed anew, so that this only decides about values that lie exactly on a threshold.
NOISE = 1e-9

NEUTRAL, BREAKOUT, REVERSION, TREND, WEAK = 0, 1, 2, 3, 4
SHORT = 4  # a short rule stands this far behind its long one

RULES = (
    Rule("neutral", 0.0, None),
    Rule("bollinger breakout long", 0.87, 1.0),
    Rule("bollinger reversion long", 0.73, 1.0),
    Rule("bollinger trend long", 0.69, 1.0),
    Rule("bollinger weak long", 0.58, 1.0),
    Rule("bollinger breakout short", 0.87, -1.0),
    Rule("bollinger reversion short", 0.73, -1.0),
    Rule("bollinger trend short", 0.69, -1.0),
    Rule("bollinger weak short", 0.58, -1.0),
)

PARAMETERS = (
    Parameter("period_candles", 20, 5, 200, "candles", "length of the band's mean", whole=True),
    Parameter("deviations", 2.0, 0.5, 5.0, "population deviations", "from the middle to a band"),
    Parameter("squeeze_pct", 2.0, 0.05, 20.0, "percent of the middle", "a narrower band is squeezed"),
    Parameter("expansion_ratio", 1.05, 1.0, 3.0, "times the width before", "a band that grew by more expands"),
)


def fires(
    step: int,
    position: float,
    squeezed: bool,
    expanding: bool,
    confirm_position: float,
    above_confirm_middle: float,
) -> bool:
    """Whether a step of the long side fires."""
    if step == BREAKOUT:
        return squeezed and expanding and position > 1.0 + NOISE and confirm_position > 0.5 + NOISE
    if step == REVERSION:
        return position <= 0.1 + NOISE and confirm_position < 0.3 - NOISE and not expanding
    if step == TREND:
        return position > 0.8 + NOISE and confirm_position > 0.6 + NOISE and expanding
    return position < 0.25 - NOISE and above_confirm_middle > NOISE


def bollinger_rule(
    position: float,
    width: float,
    width_previous: float,
    close: float,
    confirm_position: float,
    confirm_middle: float,
    squeeze_pct: float,
    expansion_ratio: float,
) -> int:
    """Position in `RULES`: the strongest step of either side that fires."""
    squeezed = width_previous < squeeze_pct / 100.0 - NOISE
    expanding = width > expansion_ratio * width_previous * (1.0 + NOISE)
    above = close / confirm_middle - 1.0
    for step in range(BREAKOUT, WEAK + 1):
        if fires(step, position, squeezed, expanding, confirm_position, above):
            return step
        if fires(step, 1.0 - position, squeezed, expanding, 1.0 - confirm_position, -above):
            return step + SHORT
    return NEUTRAL


@dataclass(frozen=True, slots=True)
class Bollinger:
    """The Bollinger strategy with its parameters set; see `PARAMETERS` for units and ranges."""

    period_candles: int = 20
    deviations: float = 2.0
    squeeze_pct: float = 2.0
    expansion_ratio: float = 1.05

    name: ClassVar[str] = "bollinger"
    parameters: ClassVar[tuple[Parameter, ...]] = PARAMETERS
    values: ClassVar[tuple[str, ...]] = (
        "position",
        "width",
        "width_previous",
        "close",
        "confirm_position",
        "confirm_middle",
    )
    rules: ClassVar[tuple[Rule, ...]] = RULES
    confirms: ClassVar[bool] = True

    @classmethod
    def from_parameters(cls, given: Mapping[str, float]) -> Bollinger:
        """Unknown names and values out of range are a ValueError."""
        return cls(**checked_parameters(cls.name, PARAMETERS, given))

    @property
    def warmup(self) -> Warmup:
        return Warmup.multiples(self.period_candles + 1)

    @property
    def window(self) -> int:
        return bollinger_window(self.period_candles)

    @property
    def rule(self) -> Callable[..., int]:
        return bollinger_rule

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.squeeze_pct, self.expansion_ratio

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        bands = bollinger(columns.close, self.period_candles, self.deviations)
        return bands.position, bands.width, before(bands.width), columns.close

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        bands = bollinger(columns.close, self.period_candles, self.deviations)
        return bands.position, bands.middle
