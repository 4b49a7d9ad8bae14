"""The portfolio: what is held and worth, how much of it is at work, and each position with what protects it and cost.

From the trader's picture; times and fees of positions from its journal. What is not known is null, and so is a sum of
which a part is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from surefoot.api.desk import Desk
from surefoot.core.view import PositionView, View

PLACES_PCT = 4


@dataclass(frozen=True, slots=True)
class Held:
    """What the account holds of an asset; `price` and `value` are in quote."""

    asset: str
    amount: Decimal
    price: Decimal | None
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class Protection:
    """`stop_price` and `target_price` rest at the venue; `stop_distance_pct` is from the mark to the stop, in per cent
    of the mark. `unprotected_ms` is null while a stop rests, `unprotected_in_all_ms` counts earlier gaps, too. Spot has
    no liquidation."""

    stop_price: Decimal | None
    stop_distance_pct: Decimal | None
    target_price: Decimal | None
    unprotected_ms: int | None
    unprotected_in_all_ms: int
    liquidation_price: Decimal | None


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """`quantity` is negative when short. In quote: `notional` at the mark, `open_profit` after what was paid, `fees` of
    its fills so far. `share_pct` is the notional in per cent of equity, `open_profit_pct` of what was paid for it."""

    symbol: str
    quantity: Decimal
    opened_ms: int | None
    entry_price: Decimal | None
    mark: Decimal | None
    notional: Decimal | None
    share_pct: Decimal | None
    open_profit: Decimal | None
    open_profit_pct: Decimal | None
    fees: Decimal | None
    protection: Protection


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Money in quote. `cash` is what is held of the quote asset, `exposure` the notional of all positions. `running` is
    false when this is what the trader's journal left. All else is null while nothing is known."""

    at_ms: int | None
    running: bool
    quote: str | None
    equity: Decimal | None
    cash: Decimal | None
    exposure: Decimal | None
    exposure_pct: Decimal | None
    open_profit: Decimal | None
    holdings: tuple[Held, ...] | None
    positions: tuple[HeldPosition, ...] | None


def portfolio_of(desk: Desk) -> Portfolio:
    """The portfolio of now; without a picture there is nothing to tell."""
    view = desk.view
    if view is None:
        return Portfolio(None, desk.running, None, None, None, None, None, None, None, None)
    positions = tuple(_position(desk, view, each) for each in view.positions)
    exposure = total(each.notional for each in positions)
    return Portfolio(
        at_ms=view.at_ms,
        running=desk.running,
        quote=view.quote,
        equity=view.equity,
        cash=dict(view.balances).get(view.quote, Decimal(0)) if view.balances else None,
        exposure=exposure,
        exposure_pct=per_cent(exposure, view.equity),
        open_profit=total(each.open_profit for each in positions),
        holdings=_holdings(desk, view),
        positions=positions,
    )


def notional_of(position: PositionView) -> Decimal | None:
    """What a position is worth at its mark, without sign."""
    return None if position.mark is None else abs(position.quantity) * position.mark


def per_cent(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    """Null for what is not known, and of nothing."""
    return None if part is None or not whole else round(part * 100 / whole, PLACES_PCT)


def total(values: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; null when one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known, Decimal(0)) if len(known) == len(found) else None


def _holdings(desk: Desk, view: View) -> tuple[Held, ...]:
    instruments = {} if desk.records is None else desk.records.instruments
    prices: dict[str, Decimal | None] = {
        instruments[each.symbol].base: each.price
        for each in view.prices
        if each.symbol in instruments and instruments[each.symbol].quote == view.quote
    }
    prices[view.quote] = Decimal(1)
    held = []
    for asset, amount in view.balances:
        price = prices.get(asset)
        held.append(Held(asset, amount, price, None if price is None else amount * price))
    return tuple(held)


def _position(desk: Desk, view: View, position: PositionView) -> HeldPosition:
    opened_ms, fees = (None, None) if desk.records is None else desk.records.cost_of(position.symbol)
    notional, mark, stop, entry = notional_of(position), position.mark, position.stop_price, position.entry_price
    return HeldPosition(
        symbol=position.symbol,
        quantity=position.quantity,
        opened_ms=opened_ms,
        entry_price=entry,
        mark=mark,
        notional=notional,
        share_pct=per_cent(notional, view.equity),
        open_profit=position.profit,
        open_profit_pct=per_cent(position.profit, None if entry is None else entry * abs(position.quantity)),
        fees=fees,
        protection=Protection(
            stop_price=stop,
            stop_distance_pct=None if mark is None or stop is None else per_cent(abs(mark - stop), mark),
            target_price=position.target_price,
            unprotected_ms=position.unprotected_ms,
            unprotected_in_all_ms=position.unprotected_in_all_ms,
            liquidation_price=position.liquidation_price,
        ),
    )
