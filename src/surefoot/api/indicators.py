"""Lines over candles for a chart: the built-in strategies' indicators, with the parameters of the settings.

The values are those of `signals.indicators`, so that a chart shows what a rule sees. Floats: a line is drawn, nothing
is decided on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surefoot.api.candles import CandleItem
from surefoot.config import Settings

if TYPE_CHECKING:
    from surefoot.signals.window import FloatArray

ATR_PERIOD = 14


@dataclass(frozen=True, slots=True)
class Line:
    """`pane` says where it is drawn: over the prices, or in a pane of its own with lines of the same name."""

    name: str
    pane: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """`open_ms` are the candles' times; each line has a value for each."""

    open_ms: tuple[int, ...]
    lines: tuple[Line, ...]


def lines_of(settings: Settings, candles: Sequence[CandleItem], limit: int) -> Lines:
    """The lines of the newest `limit` candles; older ones warm them up."""
    import numpy as np

    from surefoot.signals import indicators

    columns = [[float(getattr(candle, name)) for candle in candles] for name in ("high", "low", "close", "volume")]
    highs, lows, closes, volumes = (np.array(column, dtype=np.float64) for column in columns)
    if not candles:
        return Lines((), ())
    rsi, macd, bollinger, volume, stochastic = (
        settings.rsi,
        settings.macd,
        settings.bollinger,
        settings.volume,
        settings.stochastic,
    )
    difference = indicators.macd(closes, macd.fast_candles, macd.slow_candles, macd.signal_candles)
    bands = indicators.bollinger(closes, bollinger.period_candles, bollinger.deviations)
    half = bands.middle * bands.width / 2
    swing = indicators.stochastic(highs, lows, closes, stochastic.period_candles, stochastic.smoothing_candles)
    drawn: list[tuple[str, str, FloatArray]] = [
        ("middle band", "price", bands.middle),
        ("upper band", "price", bands.middle + half),
        ("lower band", "price", bands.middle - half),
        ("rsi", "rsi", indicators.rsi(closes, rsi.period)),
        ("macd", "macd", difference.line),
        ("signal", "macd", difference.signal),
        ("histogram", "macd", difference.histogram),
        ("%K", "stochastic", swing.k),
        ("%D", "stochastic", swing.d),
        ("mean volume", "volume", indicators.rolling_mean(volumes, volume.period_candles)),
        ("atr", "atr", indicators.atr(highs, lows, closes, ATR_PERIOD)),
    ]
    if settings.filters.trend != "off":
        drawn.append(("trend", "price", indicators.ema(closes, settings.filters.trend_candles)))
    return Lines(
        tuple(candle.open_ms for candle in candles[-limit:]),
        tuple(Line(name, pane, tuple(map(_known, values[-limit:].tolist()))) for name, pane, values in drawn),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
