"""What a futures position has to have behind it, and the price at which the venue would take it away.

Formulas as Binance states them for positions in one-way mode; maintenance margin goes by the bracket of the notional at
the price that is asked about. Everything is in quote. The venue's own figure wins where it is known; these are for
deciding before there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from surefoot.core.model import ZERO, Bracket


@dataclass(frozen=True, slots=True)
class MarginSettings:
    """`isolated`: each position has a wallet of its own, else all share one (crossed).

    A position is left when the price is less than `distance_min_pct` of the liquidation price away from that.
    """

    leverage: int
    isolated: bool
    distance_min_pct: Decimal


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind a position: a wallet, and what the other positions on that wallet need and earn."""

    wallet: Decimal
    others_maintenance: Decimal = ZERO
    others_profit: Decimal = ZERO


def bracket_of(brackets: Sequence[Bracket], notional: Decimal) -> Bracket:
    """The bracket that a notional falls into; beyond the last, the last. IndexError without brackets."""
    return next((each for each in brackets if notional <= each.cap), brackets[-1])


def maintenance(brackets: Sequence[Bracket], notional: Decimal) -> Decimal:
    """Margin that has to be maintained for a notional."""
    bracket = bracket_of(brackets, notional)
    return notional * bracket.rate - bracket.deduction


def notional_max(brackets: Sequence[Bracket], leverage: int) -> Decimal:
    """The most notional that the venue lets a position have at this leverage; 0 when none."""
    return max((each.cap for each in brackets if each.leverage_max >= leverage), default=ZERO)


def liquidation_price(
    quantity: Decimal, entry_price: Decimal, backing: Backing, brackets: Sequence[Bracket]
) -> Decimal | None:
    """Where what is left of the wallet equals the maintenance margin; `quantity` is negative when short.

    None where no price above zero does it: a long position with enough behind it cannot be liquidated.
    """
    for price in _candidates(quantity, entry_price, backing, brackets):
        if price > 0:
            return price
    return None


def _candidates(
    quantity: Decimal, entry_price: Decimal, backing: Backing, brackets: Sequence[Bracket]
) -> Iterator[Decimal]:
    """The bracket at the liquidation price decides, and is not known before: the price that lies in its own counts."""
    free = backing.wallet - backing.others_maintenance + backing.others_profit
    size = abs(quantity)
    for bracket in brackets:
        divisor = size * bracket.rate - quantity
        if not divisor:
            continue
        price = (free + bracket.deduction - quantity * entry_price) / divisor
        notional = size * price
        if bracket.floor <= notional <= bracket.cap or (bracket is brackets[-1] and notional > bracket.cap):
            yield price
