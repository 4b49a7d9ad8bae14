"""From request parameters to tickets: which parameters an order needs, which it must not have.

Single orders, legs and working orders name the same things differently; `Names` says how. Enums and combinations are
checked here, prices and quantities by the filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from simex import refusal
from simex.orders import LOSS_TYPES, MARKET_TYPES, STOP_TYPES, ZERO, ListTicket, Peg, Side, Ticket
from simex.params import Params
from simex.refusal import Refusal
from simex.venue import ORDER_TYPES, InstrumentSpec

TIMES_IN_FORCE: Final = ("GTC", "IOC", "FOK")
RESPONSE_KINDS: Final = ("ACK", "RESULT", "FULL")
_LIMIT_TYPES: Final = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
PEG_PRICE_TYPES: Final = ("PRIMARY_PEG", "MARKET_PEG")
PEG_OFFSET_MAX: Final = 100
_STRATEGY_TYPE_MIN: Final = 1_000_000
_LEG_TYPES: Final = frozenset({"LIMIT_MAKER", *STOP_TYPES})


@dataclass(frozen=True, slots=True)
class Names:
    """What the parameters of one order are called."""

    prefix: str = ""
    side: str = "side"
    quantity: str = "quantity"

    def of(self, name: str) -> str:
        """`price` with the prefix `above` is `abovePrice`."""
        return self.prefix + name[0].upper() + name[1:] if self.prefix else name

    @property
    def client_id(self) -> str:
        return f"{self.prefix}ClientOrderId" if self.prefix else "newClientOrderId"


SINGLE: Final = Names()


def single(params: Params, spec: InstrumentSpec) -> Ticket:
    """The ticket of POST /order."""
    return _ticket(params, spec, SINGLE, has_quantity=True)


def oco(params: Params, spec: InstrumentSpec) -> ListTicket:
    if not spec.oco_allowed:
        raise refusal.rejected("OCO orders are not supported for this symbol.")
    legs = _legs(params, spec, Names("above"), Names("below"), has_quantity=True)
    return ListTicket(spec.symbol, legs, client_id=params.client_id("listClientOrderId"))


def old_oco(params: Params, spec: InstrumentSpec) -> ListTicket:
    """The tickets of the deprecated POST /order/oco: a limit and a stop, which the new call names by their places."""
    is_buy = params.text("side") == "BUY"
    limit, stop = ("below", "above") if is_buy else ("above", "below")
    names = {
        "price": f"{limit}Price",
        "limitClientOrderId": f"{limit}ClientOrderId",
        "limitStrategyId": f"{limit}StrategyId",
        "limitStrategyType": f"{limit}StrategyType",
        "limitIcebergQty": f"{limit}IcebergQty",
        "stopPrice": f"{stop}StopPrice",
        "stopLimitPrice": f"{stop}Price",
        "stopLimitTimeInForce": f"{stop}TimeInForce",
        "stopClientOrderId": f"{stop}ClientOrderId",
        "stopStrategyId": f"{stop}StrategyId",
        "stopStrategyType": f"{stop}StrategyType",
        "stopIcebergQty": f"{stop}IcebergQty",
        "trailingDelta": f"{stop}TrailingDelta",
    }
    for name in ("price", "stopPrice"):
        params.text(name)
    has_limit = params.has("stopLimitPrice")
    if has_limit:
        params.text("stopLimitTimeInForce")
    translated = {names.get(name, name): value for name, value in params.values.items()}
    translated |= {f"{limit}Type": "LIMIT_MAKER", f"{stop}Type": "STOP_LOSS_LIMIT" if has_limit else "STOP_LOSS"}
    return oco(Params(translated), spec)


def oto(params: Params, spec: InstrumentSpec, kind: Literal["OTO", "OTOCO", "OPO", "OPOCO"]) -> ListTicket:
    """The tickets of a working order and the legs that follow it."""
    is_opo = kind.startswith("OPO")
    _refuse_unavailable(spec, is_opo, needs_oco=kind.endswith("OCO"))
    working = _ticket(params, spec, Names("working", "workingSide", "workingQuantity"), has_quantity=True)
    if working.type not in ("LIMIT", "LIMIT_MAKER"):
        raise refusal.unsupported_combination()
    legs: tuple[Ticket, ...]
    if kind.endswith("OCO"):
        above = Names("pendingAbove", "pendingSide", "pendingQuantity")
        below = Names("pendingBelow", "pendingSide", "pendingQuantity")
        legs = _legs(params, spec, above, below, has_quantity=not is_opo)
    else:
        legs = (_ticket(params, spec, Names("pending", "pendingSide", "pendingQuantity"), has_quantity=not is_opo),)
    if is_opo:
        _refuse_opo(params, working, legs)
    return ListTicket(spec.symbol, legs, working, params.client_id("listClientOrderId"), sells_received=is_opo)


def response_kind(params: Params, default: str) -> str:
    kind = params.maybe("newOrderRespType")
    if kind is None:
        return default
    if kind not in RESPONSE_KINDS:
        raise refusal.illegal("newOrderRespType", "ACK, RESULT, FULL")
    return kind


def _ticket(params: Params, spec: InstrumentSpec, names: Names, has_quantity: bool) -> Ticket:
    side: Side = "BUY" if params.choice(names.side, ("BUY", "SELL"), -1117, "Invalid side.") == "BUY" else "SELL"
    kind = params.choice(names.of("type"), ORDER_TYPES, -1116, "Invalid orderType.")
    if kind not in spec.order_types:
        raise refusal.rejected(f"{kind.replace('_', ' ').capitalize()} orders are not supported for this symbol.")
    quantity, quote_quantity = _quantities(params, spec, names, kind) if has_quantity else (ZERO, ZERO)
    time_in_force = _time_in_force(params, names, kind)
    peg = _peg(params, spec, names, kind, time_in_force)
    trailing_bips = _trailing(params, spec, names, kind)
    has_price = kind not in MARKET_TYPES
    strategy_type = params.maybe_integer(names.of("strategyType"))
    if strategy_type is not None and strategy_type < _STRATEGY_TYPE_MIN:
        raise Refusal(-1134, f"strategyType was less than {_STRATEGY_TYPE_MIN}.")
    return Ticket(
        symbol=spec.symbol,
        side=side,
        type=kind,
        time_in_force=time_in_force,
        quantity=quantity,
        quote_quantity=quote_quantity,
        price=_wanted(params, names.of("price"), has_price, "Invalid price.", is_optional=peg is not None),
        stop_price=_wanted(
            params, names.of("stopPrice"), kind in STOP_TYPES, "Invalid stopPrice.", is_optional=trailing_bips > 0
        ),
        client_id=params.client_id(names.client_id),
        prevention=_prevention(params, spec),
        strategy_id=params.maybe_integer(names.of("strategyId")),
        strategy_type=strategy_type,
        trailing_bips=trailing_bips,
        iceberg_quantity=_iceberg(params, spec, names, kind, quantity, time_in_force),
        peg=peg,
    )


def _quantities(params: Params, spec: InstrumentSpec, names: Names, kind: str) -> tuple[Decimal, Decimal]:
    quantity = params.maybe_decimal(names.quantity)
    quote_quantity = params.maybe_decimal("quoteOrderQty")
    if quote_quantity is not None and (kind != "MARKET" or names.prefix):
        raise refusal.not_required("quoteOrderQty")
    if quote_quantity is not None and not spec.quote_quantity_allowed:
        raise refusal.rejected("Quote order qty market orders are not support for this symbol.")
    if quantity is None and quote_quantity is None:
        raise refusal.missing(names.quantity)
    if quantity is not None and quote_quantity is not None:
        raise refusal.bad_combination()
    if quantity == 0:
        raise Refusal(-1013, "Invalid quantity.")
    if quote_quantity == 0:
        raise Refusal(-1013, "Invalid quoteOrderQty.")
    return quantity or ZERO, quote_quantity or ZERO


def _wanted(params: Params, name: str, is_wanted: bool, if_zero: str, is_optional: bool) -> Decimal:
    """A price that this type of order needs, may have, or must not have."""
    if not is_wanted:
        if params.has(name):
            raise refusal.not_required(name)
        return ZERO
    if is_optional and not params.has(name):
        return ZERO
    value = params.decimal(name)
    if value == 0:
        raise Refusal(-1013, if_zero)
    return value


def _time_in_force(params: Params, names: Names, kind: str) -> str:
    name = names.of("timeInForce")
    if kind in _LIMIT_TYPES:
        return params.choice(name, TIMES_IN_FORCE, -1115, "Invalid timeInForce.")
    if params.has(name):
        raise refusal.not_required(name)
    return "GTC"


def _trailing(params: Params, spec: InstrumentSpec, names: Names, kind: str) -> int:
    """The distance of a trailing stop in hundredths of a per cent; zero for an order that is none."""
    name = names.of("trailingDelta")
    bips = params.maybe_integer(name)
    if bips is None:
        return 0
    if kind not in STOP_TYPES:
        raise refusal.not_required(name)
    if not spec.trailing_allowed:
        raise refusal.rejected("Trailing stop orders are not supported for this symbol.")
    if bips == 0:
        raise refusal.filter_failure("TRAILING_DELTA")
    return bips


def _iceberg(
    params: Params, spec: InstrumentSpec, names: Names, kind: str, quantity: Decimal, time_in_force: str
) -> Decimal:
    name = names.of("icebergQty")
    visible = params.maybe_decimal(name) or ZERO
    if not visible:
        return ZERO
    if kind in MARKET_TYPES:
        raise refusal.not_required(name)
    if not spec.iceberg_allowed:
        raise refusal.rejected("Iceberg orders are not supported for this symbol.")
    if time_in_force != "GTC":
        if names.prefix:
            tif = names.of("timeInForce")
            raise Refusal(-1160, f"Parameter '{name}' is not supported if '{tif}' is not GTC.")
        raise refusal.unsupported_combination()
    if quantity and visible > quantity:
        raise refusal.rejected("IcebergQty exceeds QTY.")
    return visible


def _peg(params: Params, spec: InstrumentSpec, names: Names, kind: str, time_in_force: str) -> Peg | None:
    price_type = params.maybe(names.of("pegPriceType"))
    offset_type, offset = params.maybe(names.of("pegOffsetType")), params.maybe_integer(names.of("pegOffsetValue"))
    if (offset_type is None) != (offset is None) or (offset is not None and price_type is None):
        raise refusal.bad_combination()
    if price_type is None:
        return None
    if not spec.peg_allowed:
        raise refusal.rejected("Pegged orders are not supported for this symbol.")
    if price_type not in PEG_PRICE_TYPES:
        raise Refusal(-1210, "Invalid pegPriceType.")
    if offset_type not in (None, "PRICE_LEVEL"):
        raise Refusal(-1211, "Invalid pegOffsetType.")
    if offset is not None and offset > PEG_OFFSET_MAX:
        raise refusal.invalid(names.of("pegOffsetValue"))
    if kind in MARKET_TYPES:
        raise refusal.rejected("This order type may not use pegged price.")
    if kind == "LIMIT_MAKER" and price_type == "MARKET_PEG":
        raise refusal.rejected("This price peg cannot be used with this order type.")
    if kind == "LIMIT" and price_type == "PRIMARY_PEG" and time_in_force != "GTC":
        raise refusal.unsupported_combination()
    return Peg(price_type, offset, params.maybe_decimal(names.of("price")) or ZERO)


def _prevention(params: Params, spec: InstrumentSpec) -> str:
    mode = params.maybe("selfTradePreventionMode")
    if mode is None:
        return spec.default_prevention
    if mode not in spec.preventions:
        raise Refusal(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    return mode


def _refuse_unavailable(spec: InstrumentSpec, is_opo: bool, needs_oco: bool) -> None:
    if is_opo and not spec.opo_allowed:
        raise refusal.rejected("OPO orders are not supported for this symbol.")
    if not spec.oto_allowed:
        raise refusal.rejected("OTO orders are not supported for this symbol.")
    if needs_oco and not spec.oco_allowed:
        raise refusal.rejected("OCO orders are not supported for this symbol.")


def _refuse_opo(params: Params, working: Ticket, legs: tuple[Ticket, ...]) -> None:
    if params.has("pendingQuantity"):
        raise Refusal(-1225, "The pending orders of an OPO take no quantity.")
    if working.side != "BUY":
        raise Refusal(-1222, "The working order of an OPO must be a BUY.")
    if any(leg.side != "SELL" for leg in legs):
        raise Refusal(-1223, "The pending orders of an OPO must be SELLs.")


def _legs(
    params: Params, spec: InstrumentSpec, above: Names, below: Names, has_quantity: bool
) -> tuple[Ticket, Ticket]:
    for names in (above, below):
        if params.text(names.of("type")) not in _LEG_TYPES:
            raise Refusal(-1158, f"Order type for '{names.of('type')}' rejected.")
    legs = _ticket(params, spec, above, has_quantity), _ticket(params, spec, below, has_quantity)
    _refuse_composition(*legs)
    return legs


def _refuse_composition(above: Ticket, below: Ticket) -> None:
    """One leg takes the profit, the other stops the loss, each on its side of the market."""
    if above.type == below.type == "LIMIT_MAKER":
        raise Refusal(-1168, "At least one of the OCO orders must be contingent.")
    is_buy = above.side == "BUY"
    profit, loss = (below, above) if is_buy else (above, below)
    if loss.type == "LIMIT_MAKER":
        raise _misplaced(is_buy, -1165, -1166, "LIMIT_MAKER", "below" if is_buy else "above")
    if profit.type in LOSS_TYPES:
        raise _misplaced(is_buy, -1196, -1197, "STOP_LOSS", "above" if is_buy else "below")
    if loss.type not in LOSS_TYPES:
        raise _misplaced(is_buy, -1198, -1199, "TAKE_PROFIT", "below" if is_buy else "above")


def _misplaced(is_buy: bool, buy_code: int, sell_code: int, kind: str, where: str) -> Refusal:
    side = "buy" if is_buy else "sell"
    return Refusal(buy_code if is_buy else sell_code, f"A {kind} order in a {side} OCO must be {where}.")
