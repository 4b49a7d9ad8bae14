"""The volume strategy: follow the side that much is traded on.

The share is of the volume of the last candles that was traded in candles that rose; the short side mirrors it. Where
the specification is short: a ratio compares a candle's volume with the mean of the last candles, its own included; the
share is over as many candles as that mean; the volume profile covers half a day of 15m candles. The table names no
condition on the confirming interval, so there is none, and none has to be warm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from surefoot.signals.indicators import rolling_mean, up_share, up_share_window
from surefoot.signals.kernels import point_of_control, point_of_control_window
from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import Columns, FloatArray

# Shares and ratios. Each window is summed anew, so that this only decides about values that lie exactly on a threshold.
NOISE = 1e-9
PROFILE_BINS = 24

NEUTRAL, SPIKE, ACCUMULATION, WEAK = 0, 1, 2, 3
SHORT = 3  # a short rule stands this far behind its long one

RULES = (
    Rule("neutral", 0.0, None),
    Rule("volume spike long", 0.91, 1.0),
    Rule("volume accumulation long", 0.71, 1.0),
    Rule("volume weak long", 0.51, 1.0),
    Rule("volume spike short", 0.91, -1.0),
    Rule("volume distribution short", 0.71, -1.0),
    Rule("volume weak short", 0.51, -1.0),
)

PARAMETERS = (
    Parameter("period_candles", 20, 5, 200, "candles", "length of the mean and of the share", whole=True),
    Parameter("spike_ratio", 2.0, 1.2, 20.0, "times the mean volume", "at or above is a spike"),
    Parameter("profile_candles", 48, 10, 500, "candles", "length of the volume profile", whole=True),
)


def ladder(ratio: float, share: float, above_control: float, spike_ratio: float) -> int:
    """The step of the long side that fires, 0 for none."""
    if ratio >= spike_ratio - NOISE and share >= 0.7 - NOISE and above_control > NOISE:
        return SPIKE
    if ratio >= 1.5 - NOISE and share >= 0.6 - NOISE:
        return ACCUMULATION
    if share >= 0.55 - NOISE and ratio > 1.2 + NOISE:
        return WEAK
    return NEUTRAL


def volume_rule(ratio: float, share: float, close: float, control: float, spike_ratio: float) -> int:
    """Position in `RULES`: long and short cannot both fire, one side has more than half of the volume."""
    above = close / control - 1.0
    step = ladder(ratio, share, above, spike_ratio)
    if step != NEUTRAL:
        return step
    step = ladder(ratio, 1.0 - share, -above, spike_ratio)
    return step + SHORT if step != NEUTRAL else NEUTRAL


@dataclass(frozen=True, slots=True)
class Volume:
    """The volume strategy with its parameters set; see `PARAMETERS` for units and ranges."""

    period_candles: int = 20
    spike_ratio: float = 2.0
    profile_candles: int = 48

    name: ClassVar[str] = "volume"
    parameters: ClassVar[tuple[Parameter, ...]] = PARAMETERS
    values: ClassVar[tuple[str, ...]] = ("volume_ratio", "up_share", "close", "point_of_control")
    rules: ClassVar[tuple[Rule, ...]] = RULES
    confirms: ClassVar[bool] = False

    @classmethod
    def from_parameters(cls, given: Mapping[str, float]) -> Volume:
        """Unknown names and values out of range are a ValueError."""
        return cls(**checked_parameters(cls.name, PARAMETERS, given))

    @property
    def warmup(self) -> Warmup:
        return Warmup.multiples(max(self.period_candles, self.profile_candles))

    @property
    def window(self) -> int:
        return max(up_share_window(self.period_candles), point_of_control_window(self.profile_candles))

    @property
    def rule(self) -> Callable[..., int]:
        return volume_rule

    @property
    def thresholds(self) -> tuple[float, ...]:
        return (self.spike_ratio,)

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        mean = rolling_mean(columns.volume, self.period_candles)
        mean[~(mean > 0)] = float("nan")
        share = up_share(columns.open, columns.close, columns.volume, self.period_candles)
        control = point_of_control(
            columns.high, columns.low, columns.close, columns.volume, self.profile_candles, PROFILE_BINS
        )
        return columns.volume / mean, share, columns.close, control

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        return ()
