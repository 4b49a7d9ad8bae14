"""A strip of tape: candles of one symbol as columns of whole numbers, which cost little to hold, compare and add up.

Rules: nothing is rounded. Prices are counted in steps of 10^-price_decimals, volumes in steps of 10^-volume_decimals;
Decimals are made of them only where a print, an order or a frame needs one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, NamedTuple

from simex.venue import Candle, decimals_of

VOLUME_DECIMALS_MIN: Final = 8  # what a print trades is rounded to the eighth decimal
CANDLES_A_STRIP: Final = 4_096


class Sum(NamedTuple):
    """Several candles as one; `quote` is what they turned over in quote when each is four prints."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote: Decimal


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Candles in order of time, all columns of one length; `volume_decimals` is at least `VOLUME_DECIMALS_MIN`."""

    price_decimals: int
    volume_decimals: int
    open_ms: Sequence[int]
    length_ms: Sequence[int]
    open: Sequence[int]
    high: Sequence[int]
    low: Sequence[int]
    close: Sequence[int]
    volume: Sequence[int]

    def __len__(self) -> int:
        return len(self.open_ms)

    def candle(self, at: int) -> Candle:
        price, volume = -self.price_decimals, -self.volume_decimals
        return Candle(
            self.open_ms[at],
            self.length_ms[at],
            Decimal(self.open[at]).scaleb(price),
            Decimal(self.high[at]).scaleb(price),
            Decimal(self.low[at]).scaleb(price),
            Decimal(self.close[at]).scaleb(price),
            Decimal(self.volume[at]).scaleb(volume),
        )

    def end_ms(self, at: int) -> int:
        """The end of a candle, exclusive."""
        return self.open_ms[at] + self.length_ms[at]

    def first_from(self, at_ms: int, start: int = 0) -> int:
        """The first candle from `start` on that opens at a time or later."""
        return bisect_left(self.open_ms, at_ms, lo=start)

    def lies_within(self, start: int, end: int, low: Decimal, high: Decimal) -> bool:
        """Whether all prices of the candles from `start` to `end`, exclusive, lie between two others, exclusive."""
        low_steps, high_steps = self.steps_within(low, high)
        return min(self.low[start:end]) > low_steps and max(self.high[start:end]) < high_steps

    def first_outside(self, start: int, end: int, low: Decimal, high: Decimal) -> int:
        """The first candle from `start` to `end`, exclusive, that does not lie between two prices; else `end`."""
        if start >= end or self.lies_within(start, end, low, high):
            return end
        low_steps, high_steps = self.steps_within(low, high)
        return next(at for at in range(start, end) if self.low[at] <= low_steps or self.high[at] >= high_steps)

    def steps_within(self, low: Decimal, high: Decimal) -> tuple[int, int]:
        """Two prices in steps, so rounded that exactly what lies between the prices lies between the steps."""
        below = low.scaleb(self.price_decimals).to_integral_value(ROUND_FLOOR)
        above = high.scaleb(self.price_decimals).to_integral_value(ROUND_CEILING)
        return int(below), int(above)

    def total(self, start: int, end: int) -> Sum:
        """The candles from `start` to `end`, exclusive, as one; there is at least one."""
        span = slice(start, end)
        highs, lows, closes, volumes = self.high[span], self.low[span], self.close[span], self.volume[span]
        step = 10 ** (self.volume_decimals - VOLUME_DECIMALS_MIN)
        quote = 0
        for first, high, low, close, volume in zip(self.open[span], highs, lows, closes, volumes, strict=True):
            quarter = volume // (4 * step) * step
            quote += quarter * (first + high + low) + (volume - 3 * quarter) * close
        price = -self.price_decimals
        return Sum(
            Decimal(self.open[start]).scaleb(price),
            Decimal(max(highs)).scaleb(price),
            Decimal(min(lows)).scaleb(price),
            Decimal(closes[-1]).scaleb(price),
            Decimal(sum(volumes)).scaleb(-self.volume_decimals),
            Decimal(quote).scaleb(price - self.volume_decimals),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Spool:
    """All candles of one symbol: strips that are made one after the other as they are asked for, and their end."""

    strips: Iterator[Strip]
    end_ms: int


def spool_of(candles: Sequence[Candle]) -> Spool:
    """Candles as a spool; there is at least one."""
    starts = range(0, len(candles), CANDLES_A_STRIP)
    return Spool((_strip_of(candles[start : start + CANDLES_A_STRIP]) for start in starts), candles[-1].end_ms)


def _strip_of(candles: Sequence[Candle]) -> Strip:
    columns = list(zip(*((c.open, c.high, c.low, c.close) for c in candles), strict=True))
    volumes = [candle.volume for candle in candles]
    price_decimals = max(decimals_of(price) for column in columns for price in column)
    volume_decimals = max(VOLUME_DECIMALS_MIN, *map(decimals_of, volumes))
    opens, highs, lows, closes = ([int(price.scaleb(price_decimals)) for price in column] for column in columns)
    return Strip(
        price_decimals,
        volume_decimals,
        [candle.open_ms for candle in candles],
        [candle.interval_ms for candle in candles],
        opens,
        highs,
        lows,
        closes,
        [int(volume.scaleb(volume_decimals)) for volume in volumes],
    )
