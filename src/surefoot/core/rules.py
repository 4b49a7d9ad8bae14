"""Scalar formulas of sizing and exits, stated once.

They are plain arithmetic without branches on type, so that the core can call them with exact decimals and a compiled
loop with floats. Percentages are of price or of equity as their names say; nothing here rounds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

Number = TypeVar("Number", float, Decimal)


def stop_price_long(entry_price: Number, stop_pct_of_price: Number) -> Number:
    """Where a long position is given up: `stop_pct_of_price` below the entry."""
    return entry_price * (100 - stop_pct_of_price) / 100


def target_price_long(entry_price: Number, target_pct_of_price: Number) -> Number:
    """Where a long position takes its profit: `target_pct_of_price` above the entry."""
    return entry_price * (100 + target_pct_of_price) / 100


def limit_price_long(reference_price: Number, offset_pct_of_price: Number) -> Number:
    """The most a marketable entry pays: `offset_pct_of_price` above the price it was decided on."""
    return reference_price * (100 + offset_pct_of_price) / 100


def risk_quantity(equity: Number, risk_pct_of_equity: Number, entry_price: Number, stop_price: Number) -> Number:
    """Base quantity that loses `risk_pct_of_equity` of equity between entry and stop, before fees."""
    return equity * risk_pct_of_equity / 100 / abs(entry_price - stop_price)


def loss_pct(start: Number, now: Number) -> Number:
    """How far `now` is below `start`, in per cent of `start`; negative when above."""
    return (start - now) * 100 / start
