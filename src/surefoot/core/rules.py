"""Scalar formulas of sizing and exits, stated once.

They are plain arithmetic without branches on type, so that the core can call them with exact decimals and a compiled
loop with floats. Percentages are of price or of equity as their names say; nothing here rounds. A short position is a
long one in the mirror: its stop stands where a long one's target would, see `core.exits`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

Number = TypeVar("Number", float, Decimal)

STOP_PCT_MIN, STOP_PCT_MAX = 0.5, 10.0  # nearer, a stop is noise; further, it is none


def stop_price_long(entry_price: Number, stop_pct_of_price: Number) -> Number:
    """Where a long position is given up: `stop_pct_of_price` below the entry."""
    return entry_price * (100 - stop_pct_of_price) / 100


def target_price_long(entry_price: Number, target_pct_of_price: Number) -> Number:
    """Where a long position takes its profit: `target_pct_of_price` above the entry."""
    return entry_price * (100 + target_pct_of_price) / 100


def limit_price_long(reference_price: Number, offset_pct_of_price: Number) -> Number:
    """The most a marketable entry pays: `offset_pct_of_price` above the price it was decided on."""
    return reference_price * (100 + offset_pct_of_price) / 100


def profit_price_long(entry_price: Number, profit_pct_of_price: Number) -> Number:
    """The price at which a long position is `profit_pct_of_price` above its entry."""
    return entry_price * (100 + profit_pct_of_price) / 100


def r_price_long(entry_price: Number, first_stop_price: Number, after_r: Number) -> Number:
    """The price at which a long position earns `after_r` times what it risked at first."""
    return entry_price + after_r * (entry_price - first_stop_price)


def break_even_price_long(entry_price: Number, taker_fee: Number) -> Number:
    """The price that pays the entry and both fees, each taken from what is received; `taker_fee` is a share of it."""
    return entry_price / ((1 - taker_fee) * (1 - taker_fee))


def break_even_price_of_contract(entry_price: Number, taker_fee: Number) -> Number:
    """The same where both fees are taken from the quote, as with futures; for a short one `taker_fee` is negative."""
    return entry_price * (1 + taker_fee) / (1 - taker_fee)


def risk_quantity(equity: Number, risk_pct_of_equity: Number, distance: Number) -> Number:
    """Base quantity that loses `risk_pct_of_equity` of equity over a `distance` in price, before fees."""
    return equity * risk_pct_of_equity / 100 / distance


def kelly_share(win_rate: Number, average_win: Number, average_loss: Number) -> Number:
    """Share of equity to risk that grows it fastest: W − (1 − W) / R, R being average win over average loss.

    Source: J. L. Kelly, A New Interpretation of Information Rate (1956), for a bet that pays R to 1.
    """
    return win_rate - (1 - win_rate) * average_loss / average_win


def loss_pct(start: Number, now: Number) -> Number:
    """How far `now` is below `start`, in per cent of `start`; negative when above."""
    return (start - now) * 100 / start


def moved_along(anchor: Decimal, value: Decimal, equity: Decimal | None) -> Decimal:
    """An equity that losses and profits are measured from, after a transfer: in per cent they stay what they were.

    `value` came without a trade (negative: went), `equity` is what there is after it. Both sides of the transfer count
    as the same: anchor × equity / (equity − value). Where one of them is not known or not above zero: anchor + value.
    """
    before = None if equity is None else equity - value
    if equity is None or before is None or not (before > 0 and equity > 0):
        return anchor + value
    return anchor * equity / before


def profit_pct(entry_price: Number, price: Number) -> Number:
    """How far `price` is above the entry, in per cent of the entry; negative when below."""
    return (price - entry_price) * 100 / entry_price
