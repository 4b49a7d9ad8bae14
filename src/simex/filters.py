"""The symbol filters: what exchangeInfo announces, and the refusals of what does not pass.

Order: precision was checked while reading; then price, lot, notional, percent price, then the counts.
"""

from __future__ import annotations

from decimal import Decimal

from simex import refusal
from simex.accounts import Account
from simex.orders import STOP_TYPES, ListTicket, Ticket
from simex.venue import InstrumentSpec


def check_ticket(spec: InstrumentSpec, ticket: Ticket, average: Decimal | None) -> None:
    """Prices, quantity and notional of one order; Refusal -1013 with the filter's name.

    A ticket without quantity (a leg that will sell what another order receives) is only checked for its prices.
    """
    if ticket.price:
        _check_price(spec, ticket.price)
        _check_percent_price(spec, ticket, average)
    if ticket.stop_price:
        _check_price(spec, ticket.stop_price)
    if ticket.quantity:
        _check_lot(spec, ticket)
    _check_notional(spec, ticket, average)


def check_counts(spec: InstrumentSpec, account: Account, tickets: tuple[Ticket, ...], is_list: bool) -> None:
    """Open orders, open stop orders and open lists that the account may have on the symbol."""
    resting = account.open_on(spec.symbol)
    if len(resting) + len(tickets) > spec.max_num_orders:
        raise refusal.filter_failure("MAX_NUM_ORDERS")
    algos = sum(order.ticket.type in STOP_TYPES for order in resting)
    added = sum(ticket.is_stop for ticket in tickets)
    if added and algos + added > spec.max_num_algo_orders:
        raise refusal.filter_failure("MAX_NUM_ALGO_ORDERS")
    lists = sum(entry.ticket.symbol == spec.symbol for entry in account.open_lists.values())
    if is_list and lists >= spec.max_num_order_lists:
        raise refusal.filter_failure("MAX_NUM_ORDER_LISTS")


def check_relation(ticket: ListTicket, last: Decimal | None) -> None:
    """Prices of an OCO's legs around the last price: upper leg above, lower leg below."""
    if len(ticket.legs) < 2:
        return
    above, below = (leg.stop_price or leg.price for leg in ticket.legs)
    if above <= below or (last is not None and not below < last < above):
        raise refusal.wrong_price_relation()


def lots_down(spec: InstrumentSpec, quantity: Decimal) -> Decimal:
    """The largest multiple of the lot that is not more than the quantity."""
    return quantity - quantity % spec.lot_size


def announced(spec: InstrumentSpec) -> list[dict[str, object]]:
    """The filters as exchangeInfo lists them."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": f"{spec.min_price:.8f}",
            "maxPrice": f"{spec.max_price:.8f}",
            "tickSize": f"{spec.tick_size:.8f}",
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": f"{spec.min_qty:.8f}",
            "maxQty": f"{spec.max_qty:.8f}",
            "stepSize": f"{spec.lot_size:.8f}",
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": f"{spec.market_max_qty:.8f}",
            "stepSize": "0.00000000",
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(spec.bid_multiplier_up),
            "bidMultiplierDown": str(spec.bid_multiplier_down),
            "askMultiplierUp": str(spec.ask_multiplier_up),
            "askMultiplierDown": str(spec.ask_multiplier_down),
            "avgPriceMins": spec.avg_price_mins,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": f"{spec.min_notional:.8f}",
            "applyMinToMarket": True,
            "maxNotional": f"{spec.max_notional:.8f}",
            "applyMaxToMarket": False,
            "avgPriceMins": spec.avg_price_mins,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": spec.max_num_orders},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": spec.max_num_order_lists},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": spec.max_num_algo_orders},
    ]


def _check_price(spec: InstrumentSpec, price: Decimal) -> None:
    too_low = spec.min_price and price < spec.min_price
    too_high = spec.max_price and price > spec.max_price
    if too_low or too_high or (spec.tick_size and price % spec.tick_size):
        raise refusal.filter_failure("PRICE_FILTER")


def _check_percent_price(spec: InstrumentSpec, ticket: Ticket, average: Decimal | None) -> None:
    if average is None:
        return
    if ticket.side == "BUY":
        low, high = average * spec.bid_multiplier_down, average * spec.bid_multiplier_up
    else:
        low, high = average * spec.ask_multiplier_down, average * spec.ask_multiplier_up
    if not low <= ticket.price <= high:
        raise refusal.filter_failure("PERCENT_PRICE_BY_SIDE")


def _check_lot(spec: InstrumentSpec, ticket: Ticket) -> None:
    quantity = ticket.quantity
    if quantity < spec.min_qty or (spec.max_qty and quantity > spec.max_qty) or quantity % spec.lot_size:
        raise refusal.filter_failure("LOT_SIZE")
    if ticket.type == "MARKET" and spec.market_max_qty and quantity > spec.market_max_qty:
        raise refusal.filter_failure("MARKET_LOT_SIZE")


def _check_notional(spec: InstrumentSpec, ticket: Ticket, average: Decimal | None) -> None:
    if ticket.quote_quantity:
        notional, is_market = ticket.quote_quantity, True
    elif ticket.quantity and ticket.price:
        notional, is_market = ticket.price * ticket.quantity, False
    elif ticket.quantity and average is not None:
        notional, is_market = average * ticket.quantity, True
    else:
        return
    if notional < spec.min_notional or (not is_market and spec.max_notional and notional > spec.max_notional):
        raise refusal.filter_failure("NOTIONAL")
