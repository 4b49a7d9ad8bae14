"""From request parameters to tickets: which parameters an order needs, which it must not have.

Single orders, legs and working orders name the same things differently; `Names` says how. Enums and combinations are
checked here, prices and quantities by the filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from simex import refusal
from simex.orders import LOSS_TYPES, MARKET_TYPES, STOP_TYPES, ZERO, ListTicket, Side, Ticket
from simex.params import Params
from simex.refusal import Refusal
from simex.venue import InstrumentSpec

TIMES_IN_FORCE: Final = ("GTC", "IOC", "FOK")
PREVENTIONS: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
RESPONSE_KINDS: Final = ("ACK", "RESULT", "FULL")
_LIMIT_TYPES: Final = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
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


def oto(params: Params, spec: InstrumentSpec, kind: Literal["OTO", "OTOCO", "OPO", "OPOCO"]) -> ListTicket:
    """The tickets of a working order and the legs that follow it."""
    is_opo = kind.startswith("OPO")
    _refuse_unavailable(spec, is_opo, needs_oco=kind.endswith("OCO"))
    working = _ticket(params, spec, Names("working", "workingSide", "workingQuantity"), has_quantity=True)
    if working.type not in ("LIMIT", "LIMIT_MAKER"):
        raise Refusal(-1014, "Unsupported order combination.")
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
    kind = params.choice(names.of("type"), spec.order_types, -1116, "Invalid orderType.")
    _refuse_unsupported(params, names)
    quantity, quote_quantity = _quantities(params, names, kind) if has_quantity else (ZERO, ZERO)
    strategy_type = params.maybe_integer(names.of("strategyType"))
    if strategy_type is not None and strategy_type < _STRATEGY_TYPE_MIN:
        raise Refusal(-1134, f"strategyType was less than {_STRATEGY_TYPE_MIN}.")
    return Ticket(
        symbol=spec.symbol,
        side=side,
        type=kind,
        time_in_force=_time_in_force(params, names, kind),
        quantity=quantity,
        quote_quantity=quote_quantity,
        price=_wanted(params, names.of("price"), kind not in MARKET_TYPES, "Invalid price."),
        stop_price=_wanted(params, names.of("stopPrice"), kind in STOP_TYPES, "Invalid stopPrice."),
        client_id=params.client_id(names.client_id),
        prevention=_prevention(params),
        strategy_id=params.maybe_integer(names.of("strategyId")),
        strategy_type=strategy_type,
    )


def _quantities(params: Params, names: Names, kind: str) -> tuple[Decimal, Decimal]:
    quantity = params.maybe_decimal(names.quantity)
    quote_quantity = params.maybe_decimal("quoteOrderQty")
    if quote_quantity is not None and (kind != "MARKET" or names.prefix):
        raise refusal.not_required("quoteOrderQty")
    if quantity is None and quote_quantity is None:
        raise refusal.missing(names.quantity)
    if quantity is not None and quote_quantity is not None:
        raise refusal.bad_combination()
    if quantity == 0:
        raise Refusal(-1013, "Invalid quantity.")
    if quote_quantity == 0:
        raise Refusal(-1013, "Invalid quoteOrderQty.")
    return quantity or ZERO, quote_quantity or ZERO


def _wanted(params: Params, name: str, is_wanted: bool, if_zero: str) -> Decimal:
    """A price that this type of order needs, or must not have."""
    if not is_wanted:
        if params.has(name):
            raise refusal.not_required(name)
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


def _prevention(params: Params) -> str:
    mode = params.maybe("selfTradePreventionMode")
    if mode is None:
        return "EXPIRE_MAKER"
    if mode not in PREVENTIONS:
        raise Refusal(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    return mode


def _refuse_unsupported(params: Params, names: Names) -> None:
    if params.has(names.of("trailingDelta")):
        raise refusal.rejected("Trailing stop orders are not supported for this symbol.")
    if params.has(names.of("icebergQty")):
        raise refusal.rejected("Iceberg orders are not supported for this symbol.")
    if params.has(names.of("pegPriceType")):
        raise refusal.rejected("Pegged orders are not supported for this symbol.")


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
