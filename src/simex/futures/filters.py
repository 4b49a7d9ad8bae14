"""The filters of a contract: what exchangeInfo announces, and the refusals of what does not pass."""

from __future__ import annotations

from decimal import Decimal

from simex.futures.contracts import ContractSpec
from simex.futures.orders import Ticket
from simex.refusal import Refusal


def check_price(spec: ContractSpec, price: Decimal, name: str = "Price") -> None:
    if price < spec.min_price:
        raise Refusal(-4013, f"{name} less than min price.")
    if price > spec.max_price:
        raise Refusal(-4002, f"{name} greater than max price.")
    _check_precision(price, spec.price_precision)
    if (price - spec.min_price) % spec.tick_size:
        raise Refusal(-4014, f"{name} not increased by tick size.")


def check_quantity(spec: ContractSpec, quantity: Decimal, is_market: bool) -> None:
    if quantity < spec.min_qty:
        raise Refusal(-4004, "Quantity less than min quantity.")
    if quantity > (spec.market_max_qty if is_market else spec.max_qty):
        raise Refusal(-4005, "Quantity greater than max quantity.")
    _check_precision(quantity, spec.quantity_precision)
    if (quantity - spec.min_qty) % spec.lot_size:
        raise Refusal(-4023, "Quantity not increased by step size.")


def check_notional(spec: ContractSpec, price: Decimal, quantity: Decimal) -> None:
    if price * quantity < spec.min_notional:
        text = f"Order's notional must be no smaller than {spec.min_notional} (unless you choose reduce only)."
        raise Refusal(-4164, text)


def check_band(spec: ContractSpec, ticket: Ticket, mark: Decimal) -> None:
    """PERCENT_PRICE: one-sided, around the mark price."""
    if ticket.side == "BUY" and ticket.price > mark * spec.multiplier_up:
        limit = _on_tick(spec, mark * spec.multiplier_up)
        raise Refusal(-4016, f"Limit price can't be higher than {limit}.")
    if ticket.side == "SELL" and ticket.price < mark * spec.multiplier_down:
        limit = _on_tick(spec, mark * spec.multiplier_down)
        raise Refusal(-4024, f"Limit price can't be lower than {limit}.")


def check_trigger(spec: ContractSpec, ticket: Ticket, times: Decimal, price: Decimal) -> None:
    """The band of trigger prices around the current price, and that of the limit price around the trigger."""
    trigger = ticket.stop_price
    if trigger > price * times:
        raise Refusal(-4210, f"Stop price can't be higher than {_on_tick(spec, price * times)}.")
    if trigger < price / times:
        raise Refusal(-4211, f"Stop price can't be lower than {_on_tick(spec, price / times)}.")
    if not ticket.price:
        return
    if ticket.side == "BUY" and ticket.price > trigger * spec.multiplier_up:
        raise Refusal(-4183, f"Limit price can't be higher than {_on_tick(spec, trigger * spec.multiplier_up)}.")
    if ticket.side == "SELL" and ticket.price < trigger * spec.multiplier_down:
        raise Refusal(-4184, f"Limit price can't be lower than {_on_tick(spec, trigger * spec.multiplier_down)}.")


def announced(spec: ContractSpec) -> list[dict[str, object]]:
    """The filters as exchangeInfo lists them."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": str(spec.min_price),
            "maxPrice": str(spec.max_price),
            "tickSize": str(spec.tick_size),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": str(spec.min_qty),
            "maxQty": str(spec.max_qty),
            "stepSize": str(spec.lot_size),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": str(spec.min_qty),
            "maxQty": str(spec.market_max_qty),
            "stepSize": str(spec.lot_size),
        },
        {"filterType": "MAX_NUM_ORDERS", "limit": spec.max_num_orders},
        {"filterType": "MIN_NOTIONAL", "notional": str(spec.min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": f"{spec.multiplier_up:.4f}",
            "multiplierDown": f"{spec.multiplier_down:.4f}",
            "multiplierDecimal": "4",
        },
    ]


def _check_precision(value: Decimal, decimals: int) -> None:
    if value != value.quantize(Decimal(1).scaleb(-decimals)):
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")


def _on_tick(spec: ContractSpec, price: Decimal) -> Decimal:
    return price.quantize(spec.tick_size)
