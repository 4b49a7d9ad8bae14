"""The filters: what exchangeInfo and myFilters announce, and the refusals of what does not pass.

Order: precision was checked while reading; then price, lot, notional, percent price, then the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from simex import refusal
from simex.accounts import Account
from simex.orders import STOP_TYPES, ZERO, Order, Ticket
from simex.venue import ExchangeFilters, InstrumentSpec

Json = dict[str, object]


def check_ticket(spec: InstrumentSpec, account: Account, ticket: Ticket, average: Decimal | None) -> None:
    """Prices, quantities and notional of one order; Refusal -1013 with the filter's name.

    A ticket without quantity (a leg that will sell what another order receives) is only checked for its prices.
    """
    if ticket.price:
        _check_price(spec, ticket.price)
        _check_percent_price(spec, ticket, average)
    if ticket.stop_price:
        _check_price(spec, ticket.stop_price)
    if ticket.trailing_bips:
        least, most = spec.trailing_above_bips if ticket.triggers_above else spec.trailing_below_bips
        if not least <= ticket.trailing_bips <= most:
            raise refusal.filter_failure("TRAILING_DELTA")
    if ticket.quantity:
        _check_lot(spec, ticket)
    _check_notional(spec, ticket, average)
    _check_assets(spec, account, ticket)


def check_counts(
    spec: InstrumentSpec, exchange: ExchangeFilters, account: Account, tickets: Sequence[Ticket], is_list: bool
) -> None:
    """What the account may have open on the symbol and on the exchange, and the most it may hold."""
    limits = (spec.max_num_orders, spec.max_num_algo_orders, spec.max_num_iceberg_orders, spec.max_num_order_lists)
    lists = sum(entry.ticket.symbol == spec.symbol for entry in account.open_lists.values())
    resting = account.open_on(spec.symbol)
    _check_open("MAX_NUM", limits, resting, tickets, lists, is_list)
    limits = (
        exchange.max_num_orders,
        exchange.max_num_algo_orders,
        exchange.max_num_iceberg_orders,
        exchange.max_num_order_lists,
    )
    if any(limits):
        _check_open("EXCHANGE_MAX_NUM", limits, list(account.open.values()), tickets, len(account.open_lists), is_list)
    bought = sum((ticket.quantity for ticket in tickets if ticket.side == "BUY"), ZERO)
    if spec.max_position and bought:
        held = account.balances[spec.base]
        bought += sum((order.remaining for order in resting if order.ticket.side == "BUY"), ZERO)
        if held.free + held.locked + bought > spec.max_position:
            raise refusal.filter_failure("MAX_POSITION")


def check_relation(legs: Sequence[Ticket], last: Decimal | None) -> None:
    """Prices of an OCO's legs around the last price: upper leg above, lower leg below."""
    if len(legs) < 2:
        return
    above, below = (leg.stop_price or leg.price for leg in legs)
    # A trailing stop without a stop price, or a price that will come from the book, stands nowhere yet.
    are_ordered = not above or not below or above > below
    fit_market = last is None or ((not above or last < above) and (not below or below < last))
    if not are_ordered or not fit_market:
        raise refusal.wrong_price_relation()


def lots_down(spec: InstrumentSpec, quantity: Decimal) -> Decimal:
    """The largest multiple of the lot that is not more than the quantity."""
    return quantity - quantity % spec.lot_size


def announced(spec: InstrumentSpec) -> list[Json]:
    """The filters as exchangeInfo lists them."""
    entries: list[Json] = [
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
        {"filterType": "ICEBERG_PARTS", "limit": spec.iceberg_parts},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": f"{spec.market_min_qty:.8f}",
            "maxQty": f"{spec.market_max_qty:.8f}",
            "stepSize": f"{spec.market_lot_size:.8f}",
        },
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": spec.trailing_above_bips[0],
            "maxTrailingAboveDelta": spec.trailing_above_bips[1],
            "minTrailingBelowDelta": spec.trailing_below_bips[0],
            "maxTrailingBelowDelta": spec.trailing_below_bips[1],
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
            "applyMinToMarket": spec.min_applies_to_market,
            "maxNotional": f"{spec.max_notional:.8f}",
            "applyMaxToMarket": spec.max_applies_to_market,
            "avgPriceMins": spec.avg_price_mins,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": spec.max_num_orders},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": spec.max_num_order_lists},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": spec.max_num_algo_orders},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": spec.max_num_order_amends},
    ]
    if spec.multiplier_up:
        entries.append(
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": str(spec.multiplier_up),
                "multiplierDown": str(spec.multiplier_down),
                "avgPriceMins": spec.avg_price_mins,
            }
        )
    if spec.max_num_iceberg_orders:
        entries.append({"filterType": "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders": spec.max_num_iceberg_orders})
    if spec.max_position:
        entries.append({"filterType": "MAX_POSITION", "maxPosition": f"{spec.max_position:.8f}"})
    return entries


def announced_of_exchange(exchange: ExchangeFilters) -> list[Json]:
    """Those of all symbols together that are switched on."""
    entries: list[tuple[str, str, int]] = [
        ("EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders", exchange.max_num_orders),
        ("EXCHANGE_MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", exchange.max_num_algo_orders),
        ("EXCHANGE_MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders", exchange.max_num_iceberg_orders),
        ("EXCHANGE_MAX_NUM_ORDER_LISTS", "maxNumOrderLists", exchange.max_num_order_lists),
    ]
    return [{"filterType": kind, name: limit} for kind, name, limit in entries if limit]


def announced_of_assets(spec: InstrumentSpec, account: Account) -> list[Json]:
    """The account's limits on the assets of a symbol."""
    limits = account.spec.max_asset
    return [
        {"filterType": "MAX_ASSET", "asset": asset, "limit": f"{limits[asset]:.8f}"}
        for asset in (spec.base, spec.quote)
        if asset in limits
    ]


def _check_open(
    prefix: str,
    limits: tuple[int, int, int, int],
    resting: Sequence[Order],
    tickets: Sequence[Ticket],
    lists: int,
    is_list: bool,
) -> None:
    orders, algos, icebergs, most_lists = limits
    if orders and len(resting) + len(tickets) > orders:
        raise refusal.filter_failure(f"{prefix}_ORDERS")
    added = sum(ticket.is_stop for ticket in tickets)
    if algos and added and added + sum(order.ticket.type in STOP_TYPES for order in resting) > algos:
        raise refusal.filter_failure(f"{prefix}_ALGO_ORDERS")
    added = sum(bool(ticket.iceberg_quantity) for ticket in tickets)
    if icebergs and added and added + sum(bool(order.ticket.iceberg_quantity) for order in resting) > icebergs:
        raise refusal.filter_failure(f"{prefix}_ICEBERG_ORDERS")
    if most_lists and is_list and lists >= most_lists:
        raise refusal.filter_failure(f"{prefix}_ORDER_LISTS")


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
    if spec.multiplier_up and not average * spec.multiplier_down <= ticket.price <= average * spec.multiplier_up:
        raise refusal.filter_failure("PERCENT_PRICE")


def _check_lot(spec: InstrumentSpec, ticket: Ticket) -> None:
    for quantity in (ticket.quantity, ticket.iceberg_quantity):
        if quantity and not _fits(quantity, spec.min_qty, spec.max_qty, spec.lot_size):
            raise refusal.filter_failure("LOT_SIZE")
    is_market = ticket.type == "MARKET"
    if is_market and not _fits(ticket.quantity, spec.market_min_qty, spec.market_max_qty, spec.market_lot_size):
        raise refusal.filter_failure("MARKET_LOT_SIZE")
    if ticket.iceberg_quantity:
        parts = (ticket.quantity / ticket.iceberg_quantity).to_integral_value(ROUND_CEILING)
        if parts > spec.iceberg_parts:
            raise refusal.filter_failure("ICEBERG_PARTS")


def _fits(quantity: Decimal, least: Decimal, most: Decimal, step: Decimal) -> bool:
    return quantity >= least and (not most or quantity <= most) and not (step and quantity % step)


def _check_notional(spec: InstrumentSpec, ticket: Ticket, average: Decimal | None) -> None:
    if ticket.quote_quantity:
        notional, is_market = ticket.quote_quantity, True
    elif ticket.quantity and ticket.price:
        notional, is_market = ticket.price * ticket.quantity, False
    elif ticket.quantity and average is not None:
        notional, is_market = average * ticket.quantity, True
    else:
        return
    is_too_low = notional < spec.min_notional and (not is_market or spec.min_applies_to_market)
    is_too_high = notional > spec.max_notional and (not is_market or spec.max_applies_to_market)
    if is_too_low or (spec.max_notional and is_too_high):
        raise refusal.filter_failure("NOTIONAL")


def _check_assets(spec: InstrumentSpec, account: Account, ticket: Ticket) -> None:
    """The most of an asset that the account may move with one order: base by quantity, quote by notional."""
    limits = account.spec.max_asset
    if not limits:
        return
    notional = ticket.quote_quantity or ticket.price * ticket.quantity
    for asset, moved in ((spec.base, ticket.quantity), (spec.quote, notional)):
        if asset in limits and moved > limits[asset]:
            raise refusal.filter_failure("MAX_ASSET")
