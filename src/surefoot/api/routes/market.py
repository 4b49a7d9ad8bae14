"""The market as the trader sees it: symbols with their rules, candles, and the lines that its strategies look at."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from surefoot.api.candles import CandleItem, candles_of
from surefoot.api.guard import Viewer
from surefoot.api.indicators import Lines, lines_of
from surefoot.api.reading import Page, Symbol, TheDesk, TheRecords, told, told_page
from surefoot.control import CANDLES_MAX

router = APIRouter(prefix="/market", tags=["market"])

Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
Count = Annotated[int, Query(ge=1, le=CANDLES_MAX)]


@dataclass(frozen=True, slots=True)
class SymbolItem:
    """A symbol that is traded, and its rules; a bound of 0 is switched off. `intervals` are those of its candles."""

    symbol: str
    base: str
    quote: str
    trading: bool
    market: str
    tick_size: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    notional_min: Decimal
    intervals: tuple[str, ...]


@router.get("/symbols", response_model=Page[SymbolItem])
async def symbols(person: Viewer, desk: TheDesk, records: TheRecords) -> Response:
    """The symbols that are traded, in the order in which they are decided."""
    market = desk.in_force.settings.market
    traded = records.symbols if desk.view is None else [price.symbol for price in desk.view.prices]
    known = [records.instruments[symbol] for symbol in traded if symbol in records.instruments]
    intervals = (market.interval, market.confirm_interval)
    return told_page(
        [
            SymbolItem(
                each.symbol,
                each.base,
                each.quote,
                each.trading,
                each.market,
                each.tick_size,
                each.lot_size,
                each.quantity_min,
                each.notional_min,
                intervals,
            )
            for each in known
        ]
    )


@router.get("/candles", response_model=Page[CandleItem])
async def candles(
    person: Viewer, desk: TheDesk, symbol: Symbol, interval: Interval | None = None, limit: Count = 300
) -> Response:
    """Closed candles, oldest first; `interval` is that of the signals where none is given."""
    return told_page(await candles_of(desk, symbol, interval or desk.in_force.settings.market.interval, limit))


@router.get("/indicators", response_model=Lines)
async def indicators(
    person: Viewer, desk: TheDesk, symbol: Symbol, interval: Interval | None = None, limit: Count = 300
) -> Response:
    """The indicators that the strategies look at, as lines over the same candles; null where there is no value."""
    found = await candles_of(desk, symbol, interval or desk.in_force.settings.market.interval, CANDLES_MAX)
    return told(lines_of(desk.in_force.settings, found, limit))
