"""Signed calls that place and cancel orders and order lists.

The checks come in Binance's order: enums and combinations, filters, order count, then the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from simex import refusal, reports, tickets
from simex.account_calls import find_list, find_order
from simex.calls import API, Ask, Call
from simex.orders import ListTicket, Order, OrderList, Ticket
from simex.params import Params
from simex.refusal import Refusal

Placed = TypeVar("Placed", Order, OrderList)
CANCEL_RESTRICTIONS: Final = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}


def place(ask: Ask) -> object:
    ticket = tickets.single(ask.params, ask.book.spec)
    kind = tickets.response_kind(ask.params, "FULL" if ticket.type in ("MARKET", "LIMIT") else "ACK")
    return _report(_placed(ask, ticket), kind, ask.now_ms)


def test(ask: Ask) -> object:
    ticket = tickets.single(ask.params, ask.book.spec)
    ask.engine.check(ask.account, [ticket], ask.now_ms)
    if ask.params.flag("computeCommissionRates", default=False):
        return reports.test_commission(ask.account)
    return {}


def cancel(ask: Ask) -> object:
    return _cancel(ask, find_order(ask), ask.params.client_id("newClientOrderId"))


def cancel_all(ask: Ask) -> object:
    resting = ask.account.open_on(ask.book.spec.symbol)
    if not resting:
        raise refusal.unknown_order()
    answers: list[object] = []
    for order in resting:
        if order.is_open:
            answers.append(_canceled(ask, order, None))
    return answers


def cancel_replace(ask: Ask) -> object:
    """Cancel one order and place another; filters and order count are checked before either."""
    if not ask.book.spec.cancel_replace_allowed:
        raise refusal.rejected("Order cancel-replace is not supported for this symbol.")
    mode = ask.params.choice(
        "cancelReplaceMode", ("STOP_ON_FAILURE", "ALLOW_FAILURE"), *_malformed("cancelReplaceMode")
    )
    ticket = tickets.single(ask.params, ask.book.spec)
    kind = tickets.response_kind(ask.params, "FULL" if ticket.type in ("MARKET", "LIMIT") else "ACK")
    found = find_order(ask, "cancelOrderId", "cancelOrigClientOrderId")
    ask.engine.check(ask.account, [ticket], ask.now_ms)
    over_limit = _over_limit(ask)
    cancel_id = ask.params.client_id("cancelNewClientOrderId")
    cancelled = _attempt(lambda: _cancel(ask, found, cancel_id))
    if isinstance(cancelled, Refusal) and mode == "STOP_ON_FAILURE":
        if over_limit is None:
            ask.account.order_count.placed(1, ask.now_ms)
        raise ReplaceRefusal(cancelled, None, over_limit)
    if over_limit is not None:
        raise ReplaceRefusal(cancelled, over_limit, over_limit if mode == "STOP_ON_FAILURE" else None)
    placed = _attempt(lambda: _report(_placed(ask, ticket), kind, ask.now_ms))
    if isinstance(placed, Refusal):
        ask.account.order_count.placed(1, ask.now_ms)  # it counts whatever becomes of it
    if isinstance(cancelled, Refusal) or isinstance(placed, Refusal):
        raise ReplaceRefusal(cancelled, placed)
    return {
        "cancelResult": "SUCCESS",
        "newOrderResult": "SUCCESS",
        "cancelResponse": cancelled,
        "newOrderResponse": placed,
    }


def _over_limit(ask: Ask) -> Refusal | None:
    """The refusal of one more order, where the client wants the cancel all the same; else it is raised."""
    name = "orderRateLimitExceededMode"
    mode = ask.params.maybe(name) or "DO_NOTHING"
    if mode not in ("DO_NOTHING", "CANCEL_ONLY"):
        raise refusal.missing(name)
    try:
        ask.account.order_count.admit(1, ask.now_ms)
    except Refusal as refused:
        if mode == "DO_NOTHING":
            raise
        return refused
    return None


class ReplaceRefusal(Refusal):
    """A cancel-replace that failed in part (-2021) or wholly (-2022); `data` tells both halves.

    `over_limit` makes it a matter of the order count, status 429.
    """

    def __init__(self, cancelled: object, placed: object, over_limit: Refusal | None = None) -> None:
        is_partial = not isinstance(cancelled, Refusal) or not (placed is None or isinstance(placed, Refusal))
        status, retry_at_ms = (429, over_limit.retry_at_ms) if over_limit is not None else (0, None)
        if is_partial:
            super().__init__(-2021, "Order cancel-replace partially failed.", status or 409, retry_at_ms)
        else:
            super().__init__(-2022, "Order cancel-replace failed.", status or 400, retry_at_ms)
        self.data = {
            "cancelResult": "FAILURE" if isinstance(cancelled, Refusal) else "SUCCESS",
            "newOrderResult": _outcome(placed),
            "cancelResponse": _half(cancelled),
            "newOrderResponse": _half(placed),
        }


def amend(ask: Ask) -> object:
    """Reduce an order's quantity; it keeps its place. An amend that ends the order costs nothing."""
    if not ask.book.spec.amend_allowed:
        raise refusal.amend_rejected("Order amend is not supported for this symbol.")
    quantity = ask.params.decimal("newQty")
    if quantity == 0:
        raise Refusal(-1013, "Invalid quantity.")
    client_id = ask.params.client_id("newClientOrderId")
    order = find_order(ask)
    if order is None or not order.is_open:
        raise refusal.amend_rejected("Unknown order sent.")
    amendment = ask.engine.amend(order, quantity, client_id, ask.now_ms)
    return reports.amended(order, amendment)


def _has_ended(answer: object) -> bool:
    return isinstance(answer, dict) and answer["amendedOrder"]["status"] == "EXPIRED"


def place_old_oco(ask: Ask) -> object:
    return _place_list(ask, tickets.old_oco(ask.params, ask.book.spec), ask.engine.rules.old_oco_counts)


def place_oco(ask: Ask) -> object:
    return _place_list(ask, tickets.oco(ask.params, ask.book.spec))


def place_oto(ask: Ask) -> object:
    return _place_list(ask, tickets.oto(ask.params, ask.book.spec, "OTO"))


def place_otoco(ask: Ask) -> object:
    return _place_list(ask, tickets.oto(ask.params, ask.book.spec, "OTOCO"))


def place_opo(ask: Ask) -> object:
    return _place_list(ask, tickets.oto(ask.params, ask.book.spec, "OPO"))


def place_opoco(ask: Ask) -> object:
    return _place_list(ask, tickets.oto(ask.params, ask.book.spec, "OPOCO"))


def cancel_list(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    found = find_list(ask, "listClientOrderId")
    if found is None or found.is_done or found.ticket.symbol != symbol:
        raise refusal.unknown_order()
    order = next(order for order in found.orders if order.is_open)
    return _canceled(ask, order, ask.params.client_id("newClientOrderId"))


def test_weight(params: Params) -> int:
    return 20 if params.flag("computeCommissionRates", default=False) else 1


def _placed(ask: Ask, ticket: Ticket) -> Order:
    return _counted(ask, [ticket], False, lambda: ask.engine.place(ask.account, ticket, ask.now_ms))


def _place_list(ask: Ask, ticket: ListTicket, orders: int | None = None) -> object:
    """`orders`: how many are counted, if not each."""
    kind = tickets.response_kind(ask.params, "RESULT")
    entry = _counted(ask, ticket.tickets, True, lambda: ask.engine.place_list(ask.account, ticket, ask.now_ms), orders)
    return reports.placed_list(entry, kind, ask.now_ms)


def _counted(
    ask: Ask, wanted: Sequence[Ticket], is_list: bool, act: Callable[[], Placed], orders: int | None = None
) -> Placed:
    """Filters, order count, engine; what the engine refuses is not counted."""
    ask.engine.check(ask.account, wanted, ask.now_ms, is_list)
    count = ask.account.order_count
    orders = len(wanted) if orders is None else orders
    count.admit(orders, ask.now_ms)
    count.placed(orders, ask.now_ms)
    try:
        return act()
    except Refusal:
        count.placed(-orders, ask.now_ms)
        raise


def _cancel(ask: Ask, order: Order | None, cancel_id: str | None) -> object:
    restriction = ask.params.maybe("cancelRestrictions")
    if restriction is not None and restriction not in CANCEL_RESTRICTIONS:
        raise Refusal(-1145, "Invalid cancelRestrictions")
    if order is None or not order.is_open:
        raise refusal.unknown_order()
    if restriction is not None and order.status != CANCEL_RESTRICTIONS[restriction]:
        raise Refusal(-2011, "Order was not canceled due to cancel restrictions.")
    return _canceled(ask, order, cancel_id)


def _canceled(ask: Ask, order: Order, cancel_id: str | None) -> object:
    """Cancel and report: an order that stands alone as itself, a member of a list as the whole list."""
    gone = [member for member in (order.list.orders if order.list is not None else [order]) if member.is_open]
    name = ask.engine.cancel(order, cancel_id, ask.now_ms)
    answers = [reports.canceled(member, name, ask.now_ms) for member in gone]
    return answers[0] if order.list is None else reports.order_list(order.list, answers)


def _report(order: Order, kind: str, now_ms: int) -> reports.Json:
    shown = {"ACK": reports.ack, "RESULT": reports.result, "FULL": reports.full}
    return shown[kind](order, now_ms)


def _malformed(name: str) -> tuple[int, str]:
    refused = refusal.missing(name)
    return refused.code, refused.text


def _attempt(act: Callable[[], object]) -> object:
    try:
        return act()
    except Refusal as refused:
        return refused


def _outcome(placed: object) -> str:
    if placed is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(placed, Refusal) else "SUCCESS"


def _half(answer: object) -> object:
    return {"code": answer.code, "msg": answer.text} if isinstance(answer, Refusal) else answer


REST: Final[dict[tuple[str, str], Call]] = {
    ("POST", f"{API}/order"): Call(place, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/order/test"): Call(test, test_weight, is_signed=True, wants_trading=True),
    ("DELETE", f"{API}/order"): Call(cancel, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/order/cancelReplace"): Call(cancel_replace, 1, is_signed=True, is_trading=True),
    ("PUT", f"{API}/order/amend/keepPriority"): Call(amend, 4, is_signed=True, wants_trading=True, free_if=_has_ended),
    ("POST", f"{API}/order/oco"): Call(place_old_oco, 1, is_signed=True, is_trading=True),
    ("DELETE", f"{API}/openOrders"): Call(cancel_all, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/orderList/oco"): Call(place_oco, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/orderList/oto"): Call(place_oto, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/orderList/otoco"): Call(place_otoco, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/orderList/opo"): Call(place_opo, 1, is_signed=True, is_trading=True),
    ("POST", f"{API}/orderList/opoco"): Call(place_opoco, 1, is_signed=True, is_trading=True),
    ("DELETE", f"{API}/orderList"): Call(cancel_list, 1, is_signed=True, is_trading=True),
}
SOCKET: Final[dict[str, Call]] = {
    "order.place": REST["POST", f"{API}/order"],
    "order.test": REST["POST", f"{API}/order/test"],
    "order.cancel": REST["DELETE", f"{API}/order"],
    "order.cancelReplace": REST["POST", f"{API}/order/cancelReplace"],
    "order.amend.keepPriority": REST["PUT", f"{API}/order/amend/keepPriority"],
    "orderList.place": REST["POST", f"{API}/order/oco"],
    "openOrders.cancelAll": REST["DELETE", f"{API}/openOrders"],
    "orderList.place.oco": REST["POST", f"{API}/orderList/oco"],
    "orderList.place.oto": REST["POST", f"{API}/orderList/oto"],
    "orderList.place.otoco": REST["POST", f"{API}/orderList/otoco"],
    "orderList.place.opo": REST["POST", f"{API}/orderList/opo"],
    "orderList.place.opoco": REST["POST", f"{API}/orderList/opoco"],
    "orderList.cancel": REST["DELETE", f"{API}/orderList"],
}
