"""Candles for a chart, oldest first: those that the running trader holds, else those that its journal has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from surefoot.api.desk import Desk
from surefoot.control import ControlError, read_candles, socket_path
from surefoot.core.model import Candle


@dataclass(frozen=True, slots=True)
class CandleItem:
    """A closed candle; `volume` is of the base asset."""

    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


async def candles_of(desk: Desk, symbol: str, interval: str, limit: int) -> list[CandleItem]:
    """The newest closed candles of a series; none where it is not known."""
    path = desk.journal()
    if desk.running and path is not None:
        with suppress(ControlError):
            held = await read_candles(socket_path(path), symbol, interval, limit)
            if held.candles:
                return list(map(_item, held.candles))
    known = () if desk.records is None else desk.records.candles.get((symbol, interval), ())
    return list(map(_item, list(known)[-limit:]))


def _item(candle: Candle) -> CandleItem:
    return CandleItem(
        candle.open_ms, candle.close_ms, candle.open, candle.high, candle.low, candle.close, candle.volume
    )
