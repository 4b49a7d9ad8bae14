"""The rules of replayed symbols, as the simulated exchange makes them: for the fast loop, which trades there on paper.

They come from the exchange's own plain data, so that the two engines cannot disagree about a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from simex.venue import instrument_for


@dataclass(frozen=True, slots=True)
class InstrumentRules:
    """The simulated exchange's rules of a symbol; a maximum or minimum of 0 is switched off."""

    symbol: str
    base: str
    tick_size: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    market_quantity_max: Decimal
    notional_min: Decimal
    notional_max: Decimal
    price_min: Decimal
    price_max: Decimal
    band_low: Decimal
    band_high: Decimal


def instrument_rules(symbol: str, prices: Sequence[Decimal]) -> InstrumentRules:
    """The rules that a replay of these prices has. The first price and one of the finest are enough."""
    spec = instrument_for(symbol, prices)
    return InstrumentRules(
        symbol=symbol,
        base=spec.base,
        tick_size=spec.tick_size,
        lot_size=spec.lot_size,
        quantity_min=spec.min_qty,
        quantity_max=spec.max_qty,
        market_quantity_max=spec.market_max_qty,
        notional_min=spec.min_notional,
        notional_max=spec.max_notional,
        price_min=spec.min_price,
        price_max=spec.max_price,
        band_low=max(spec.bid_multiplier_down, spec.ask_multiplier_down),
        band_high=min(spec.bid_multiplier_up, spec.ask_multiplier_up),
    )
