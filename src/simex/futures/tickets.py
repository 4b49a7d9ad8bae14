"""From request parameters to tickets: which parameters an order needs, which it must not have.

Enums and combinations are checked here, prices and quantities by the filters.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Final

from simex import refusal
from simex.futures.accounts import Account
from simex.futures.contracts import CONDITIONAL_TYPES, ContractSpec
from simex.futures.orders import Order, PositionSide, Ticket
from simex.orders import ZERO, Side
from simex.params import Params
from simex.refusal import Refusal
from simex.venue import Undocumented

PREVENTIONS: Final = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
PRICE_MATCHES: Final = (
    "NONE", "OPPONENT", "OPPONENT_5", "OPPONENT_10", "OPPONENT_20", "QUEUE", "QUEUE_5", "QUEUE_10", "QUEUE_20",
)  # fmt: skip
CLOSED_MATCHES: Final = ("OPPONENT_10", "OPPONENT_20")
GOOD_TILL_MIN_MS: Final = 600_000
GOOD_TILL_MAX_MS: Final = 253_402_300_799_000
CALLBACK_MIN: Final = Decimal("0.1")
CALLBACK_MAX: Final = Decimal(20)
_CLIENT_ID: Final = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
_STOP_TYPES: Final = ("STOP", "TAKE_PROFIT")
_BAD_PRECISION: Final = "Precision is over the maximum defined for this asset."


def plain(params: Params, spec: ContractSpec, account: Account, rules: Undocumented, now_ms: int) -> Ticket:
    """The ticket of POST /order."""
    side = _side(params)
    kind = params.text("type")
    if kind in CONDITIONAL_TYPES:
        text = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        raise Refusal(-4120, text)
    if kind not in ("LIMIT", "MARKET"):
        raise Refusal(-1116, "Invalid orderType.")
    position_side, reduce_only = position_side_of(params, account), _flag(params, "reduceOnly", -4062)
    for name in ("stopPrice", "triggerPrice", "activationPrice", "callbackRate"):
        if params.has(name):
            raise refusal.not_required(name)
    if _flag(params, "closePosition", -1130):
        raise refusal.not_required("closePosition")
    if reduce_only and account.is_dual:
        raise refusal.not_required("reduceOnly")
    is_limit = kind == "LIMIT"
    match, price = _price(params, is_limit, rules)
    good_till_ms, time_in_force = 0, "GTC"
    if is_limit:
        time_in_force = params.choice(
            "timeInForce", ("GTC", "IOC", "FOK", "GTX", "GTD"), -1115, "Invalid timeInForce."
        )  # fmt: skip
        good_till_ms = _good_till(params, time_in_force, now_ms)
    elif params.has("timeInForce"):
        raise refusal.not_required("timeInForce")
    return Ticket(
        symbol=spec.symbol,
        side=side,
        type=kind,
        orig_type=kind,
        quantity=_quantity(params),
        price=price,
        position_side=position_side,
        time_in_force=time_in_force,
        reduce_only=reduce_only,
        client_id=client_id(params, "newClientOrderId"),
        prevention=_prevention(params),
        price_match=match,
        good_till_ms=good_till_ms,
    )


def modified(params: Params, order: Order, rules: Undocumented) -> Ticket:
    """What PUT /order wants of an order; Refusal when the order is not of the kind that may be modified."""
    if order.ticket.type != "LIMIT":
        raise Refusal(-5025, "Only limit order is supported.")
    if _side(params) != order.ticket.side:
        raise Refusal(-1117, "Invalid side.")
    if _flag(params, "reduceOnly", -4062) and not order.ticket.reduce_only:
        raise Refusal(-5047, "The order is not a reduce-only order.")
    match, price = _price(params, True, rules)
    ticket = order.ticket
    return Ticket(
        symbol=ticket.symbol,
        side=ticket.side,
        type="LIMIT",
        orig_type=ticket.orig_type,
        quantity=_quantity(params),
        price=price,
        position_side=ticket.position_side,
        time_in_force=ticket.time_in_force,
        reduce_only=ticket.reduce_only,
        price_match=match,
        good_till_ms=ticket.good_till_ms,
    )


def conditional(params: Params, spec: ContractSpec, account: Account, rules: Undocumented, now_ms: int) -> Ticket:
    """The ticket of POST /algoOrder."""
    params.choice("algoType", ("CONDITIONAL",), -1130, "Data sent for parameter 'algoType' is not valid.")
    side = _side(params)
    kind = params.choice("type", CONDITIONAL_TYPES, -1116, "Invalid orderType.")
    position_side, reduce_only = position_side_of(params, account), _flag(params, "reduceOnly", -4062)
    closes = _flag(params, "closePosition", -1130)
    _refuse_closing(params, account, kind, (position_side, side), closes, reduce_only)
    is_limit, trails = kind in _STOP_TYPES, kind == "TRAILING_STOP_MARKET"
    match, price = _price(params, is_limit, rules)
    trigger = _positive(params, "triggerPrice", -4006, "Stop price less than zero.") if not trails else ZERO
    if trails and params.has("triggerPrice"):
        raise refusal.not_required("triggerPrice")
    if not trails:
        for name in ("activatePrice", "callbackRate"):
            if params.has(name):
                raise refusal.not_required(name)
    tif = params.maybe("timeInForce") or "GTC"
    allowed = ("GTC", "IOC", "FOK", "GTX", "GTD", "GTE_GTC") if is_limit else ("GTC", "GTE_GTC")
    if tif not in allowed:
        raise Refusal(-1115, "Invalid timeInForce.")
    working = params.maybe("workingType") or "CONTRACT_PRICE"
    if working not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise Refusal(-4031, "Invalid working type.")
    return Ticket(
        symbol=spec.symbol,
        side=side,
        type="LIMIT" if is_limit else "MARKET",
        orig_type=kind,
        quantity=ZERO if closes else _quantity(params),
        price=price,
        position_side=position_side,
        time_in_force=tif,
        reduce_only=reduce_only,
        close_position=closes,
        client_id=client_id(params, "clientAlgoId"),
        prevention=_prevention(params, rules.algo_prevention),
        price_match=match,
        good_till_ms=_good_till(params, tif, now_ms),
        stop_price=trigger,
        working_type=working,
        price_protect=_flag(params, "priceProtect", -1130),
        activate_price=_maybe_positive(params, "activatePrice", -4135, "Invalid activation price.") if trails else ZERO,
        callback_rate=_callback(params) if trails else ZERO,
    )


def position_side_of(params: Params, account: Account) -> PositionSide:
    """BOTH in one-way mode, LONG or SHORT in hedge mode; Refusal -4060 or -4061."""
    text = params.maybe("positionSide") or "BOTH"
    sides: dict[str, PositionSide] = {"BOTH": "BOTH", "LONG": "LONG", "SHORT": "SHORT"}
    if text not in sides:
        raise Refusal(-4060, "Invalid position side.")
    if (text == "BOTH") == account.is_dual:
        raise Refusal(-4061, "Order's position side does not match user's setting.")
    return sides[text]


def client_id(params: Params, name: str) -> str | None:
    text = params.maybe(name)
    if text is not None and not _CLIENT_ID.fullmatch(text):
        raise Refusal(-4015, "Client order id is not valid.")
    return text


def response_kind(params: Params) -> str:
    kind = params.maybe("newOrderRespType") or "ACK"
    if kind not in ("ACK", "RESULT"):
        raise Refusal(-1136, "Invalid newOrderRespType.")
    return kind


def amount(params: Params, name: str) -> Decimal:
    """A number with at most eight decimals; Refusal -1102, -1100 or -1111."""
    try:
        return params.decimal(name)
    except Refusal as refused:
        if refused.code == -1111:
            raise Refusal(-1111, _BAD_PRECISION) from None
        raise


def _side(params: Params) -> Side:
    return "BUY" if params.choice("side", ("BUY", "SELL"), -1117, "Invalid side.") == "BUY" else "SELL"


def _flag(params: Params, name: str, code: int) -> bool:
    text = (params.maybe(name) or "false").lower()
    if text not in ("true", "false"):
        raise Refusal(code, f"Data sent for parameter '{name}' is not valid.")
    return text == "true"


def _quantity(params: Params) -> Decimal:
    return _positive(params, "quantity", -4003, "Quantity less than or equal to zero.")


def _positive(params: Params, name: str, code: int, text: str) -> Decimal:
    value = amount(params, name)
    if value <= 0:
        raise Refusal(code, text)
    return value


def _maybe_positive(params: Params, name: str, code: int, text: str) -> Decimal:
    return _positive(params, name, code, text) if params.has(name) else ZERO


def _price(params: Params, is_limit: bool, rules: Undocumented) -> tuple[str, Decimal]:
    """The price match and the price: one of them on limit orders, neither on others."""
    match = params.maybe("priceMatch") or "NONE"
    if match not in PRICE_MATCHES or (match in CLOSED_MATCHES and rules.opponent_depths == "first"):
        raise Refusal(-5037, "Invalid price match.")
    if match != "NONE":
        if not is_limit:
            raise Refusal(-5038, "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT.")
        if params.has("price"):
            raise refusal.not_required("price")
        return match, ZERO
    if is_limit:
        return match, _positive(params, "price", -4001, "Price less than 0.")
    if params.has("price"):
        raise refusal.not_required("price")
    return match, ZERO


def _good_till(params: Params, time_in_force: str, now_ms: int) -> int:
    """Cut to whole seconds."""
    if time_in_force != "GTD":
        if params.maybe_integer("goodTillDate"):
            raise refusal.not_required("goodTillDate")
        return 0
    at_ms = params.maybe_integer("goodTillDate")
    if at_ms is None:
        raise refusal.missing("goodTillDate")
    at_ms -= at_ms % 1000
    if not now_ms + GOOD_TILL_MIN_MS < at_ms < GOOD_TILL_MAX_MS:
        raise Refusal(-5040, "The goodTillDate timestamp must be greater than the current time plus 600 seconds.")
    return at_ms


def _prevention(params: Params, default: str = "EXPIRE_MAKER") -> str:
    mode = params.maybe("selfTradePreventionMode")
    if mode is None:
        return default
    if mode not in PREVENTIONS:
        raise Refusal(-5039, "Invalid self trade prevention mode.")
    return mode


def _callback(params: Params) -> Decimal:
    rate = amount(params, "callbackRate")
    if not CALLBACK_MIN <= rate <= CALLBACK_MAX:
        raise Refusal(-1130, "Data sent for parameter 'callbackRate' is not valid.")
    return rate


def _refuse_closing(
    params: Params, account: Account, kind: str, direction: tuple[PositionSide, Side], closes: bool, reduce_only: bool
) -> None:
    if closes:
        if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
            raise refusal.bad_combination()
        if params.has("quantity"):
            raise Refusal(-4137, "Quantity must be zero with closePosition equals true.")
        if reduce_only:
            raise Refusal(-4138, "Reduce only must be true with closePosition equals true.")
        opening: Collection[tuple[PositionSide, Side]] = (("LONG", "BUY"), ("SHORT", "SELL"))
        if direction in opening:
            raise refusal.bad_combination()
    if reduce_only and account.is_dual:
        raise refusal.not_required("reduceOnly")
