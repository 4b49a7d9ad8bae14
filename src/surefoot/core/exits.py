"""The protection plan of a position: where it is given up, where it takes its profit, and with which orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from surefoot.core import rules
from surefoot.core.model import Instrument, OrderRequest, OrderType, Purpose, Side

STOP_LIMIT_GAP_PCT = Decimal(1)  # how far below its trigger a stop-limit still sells, where plain stops are not offered


@dataclass(frozen=True, slots=True)
class ExitSettings:
    stop_pct_of_price: Decimal
    target_pct_of_price: Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices on the instrument's tick grid."""

    stop_price: Decimal
    target_price: Decimal


def plan_long(entry_price: Decimal, settings: ExitSettings, instrument: Instrument) -> Plan:
    """The plan of a long position entered at `entry_price`: both prices are rounded away from it."""
    stop = rules.stop_price_long(entry_price, settings.stop_pct_of_price)
    target = rules.target_price_long(entry_price, settings.target_pct_of_price)
    return Plan(instrument.price_down(stop), instrument.price_up(target))


def target_order(client_order_id: str, instrument: Instrument, plan: Plan, quantity: Decimal | None) -> OrderRequest:
    """The resting order that takes the profit."""
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=Side.SELL,
        type=OrderType.LIMIT_MAKER,
        purpose=Purpose.TARGET,
        quantity=quantity,
        price=plan.target_price,
    )


def stop_order(client_order_id: str, instrument: Instrument, plan: Plan, quantity: Decimal | None) -> OrderRequest:
    """The resting order that limits the loss: it sells at the market where the symbol allows that."""
    plain = OrderType.STOP_LOSS in instrument.order_types
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=Side.SELL,
        type=OrderType.STOP_LOSS if plain else OrderType.STOP_LOSS_LIMIT,
        purpose=Purpose.STOP,
        quantity=quantity,
        price=None if plain else instrument.price_down(rules.stop_price_long(plan.stop_price, STOP_LIMIT_GAP_PCT)),
        stop_price=plan.stop_price,
    )
