"""Signed reading calls: the account, its orders, lists and trades. They change nothing."""

from __future__ import annotations

from typing import Final

from simex import filters, refusal, reports
from simex.calls import API, Ask, Call
from simex.limits import DAY_MS
from simex.orders import Fill, Order, OrderList
from simex.params import Params
from simex.refusal import Refusal

ARCHIVED_AFTER_MS: Final = 90 * DAY_MS


def account(ask: Ask) -> object:
    return reports.account(ask.account, ask.params.flag("omitZeroBalances", default=False))


def commission(ask: Ask) -> object:
    return reports.commission(ask.account, ask.book.spec.symbol)


def order(ask: Ask) -> object:
    found = find_order(ask)
    if found is None:
        raise refusal.no_such_order()
    if not found.is_open and not found.executed and ask.now_ms - found.updated_ms > ARCHIVED_AFTER_MS:
        raise refusal.archived_order()
    return reports.query(found)


def open_orders(ask: Ask) -> object:
    resting = ask.account.open_on(ask.book.spec.symbol) if ask.params.has("symbol") else ask.account.open.values()
    return [reports.query(entry) for entry in resting]


def all_orders(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    from_id = ask.params.maybe_integer("orderId")
    start_ms, end_ms = _times(ask.params)
    limit = ask.params.limit(500, 1000)
    chosen = [
        entry
        for entry in ask.account.orders.values()
        if entry.ticket.symbol == symbol
        and (from_id is None or entry.order_id >= from_id)
        and (start_ms is None or entry.created_ms >= start_ms)
        and (end_ms is None or entry.created_ms <= end_ms)
    ]
    is_from_start = from_id is not None or start_ms is not None
    return [reports.query(entry) for entry in (chosen[:limit] if is_from_start else chosen[-limit:])]


def my_trades(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    order_id, from_id = ask.params.maybe_integer("orderId"), ask.params.maybe_integer("fromId")
    start_ms, end_ms = _times(ask.params)
    has_times = start_ms is not None or end_ms is not None
    if has_times and (from_id is not None or order_id is not None):
        raise refusal.bad_combination()
    limit = ask.params.limit(500, 1000)

    def is_wanted(placed: Order, fill: Fill) -> bool:
        return (
            (order_id is None or placed.order_id == order_id)
            and (from_id is None or fill.trade_id >= from_id)
            and (start_ms is None or fill.at_ms >= start_ms)
            and (end_ms is None or fill.at_ms <= end_ms)
        )

    chosen = [entry for entry in ask.account.trades.get(symbol, []) if is_wanted(*entry)]
    is_from_start = from_id is not None or start_ms is not None
    return [reports.trade(*entry) for entry in (chosen[:limit] if is_from_start else chosen[-limit:])]


def order_list(ask: Ask) -> object:
    found = find_list(ask, "origClientOrderId")
    if found is None:
        raise refusal.no_such_list()
    return reports.order_list(found)


def open_order_lists(ask: Ask) -> object:
    return [reports.order_list(entry) for entry in ask.account.open_lists.values()]


def all_order_lists(ask: Ask) -> object:
    from_id = ask.params.maybe_integer("fromId")
    start_ms, end_ms = _times(ask.params)
    if from_id is not None and (start_ms is not None or end_ms is not None):
        raise refusal.bad_combination()
    limit = ask.params.limit(500, 1000)
    chosen = [
        entry
        for entry in ask.account.lists.values()
        if (from_id is None or entry.list_id >= from_id)
        and (start_ms is None or entry.at_ms >= start_ms)
        and (end_ms is None or entry.at_ms <= end_ms)
    ]
    is_from_start = from_id is not None or start_ms is not None
    return [reports.order_list(entry) for entry in (chosen[:limit] if is_from_start else chosen[-limit:])]


def prevented_matches(ask: Ask) -> object:
    """By one match, or by an order from a match on."""
    symbol, params = ask.book.spec.symbol, ask.params
    match_id, order_id = params.maybe_integer("preventedMatchId"), params.maybe_integer("orderId")
    from_id = params.maybe_integer("fromPreventedMatchId")
    if (match_id is None) == (order_id is None) or (from_id is not None and order_id is None):
        raise refusal.bad_combination()
    chosen = [
        match
        for match in ask.account.prevented_matches
        if match.symbol == symbol
        and (match_id is None or match.match_id == match_id)
        and (order_id is None or order_id in (match.taker_id, match.maker_id))
        and (from_id is None or match.match_id >= from_id)
    ]
    return [reports.prevented_match(match) for match in chosen[: params.limit(500, 1000)]]


def allocations(ask: Ask) -> object:
    """None for any symbol: this exchange routes no order to another one."""
    ask.book_of(ask.params.text("symbol"))
    return []


def amendments(ask: Ask) -> object:
    if not ask.params.has("orderId"):
        raise refusal.missing("orderId")
    found = find_order(ask)
    if found is None:
        raise refusal.no_such_order()
    from_id = ask.params.maybe_integer("fromExecutionId") or 0
    chosen = [entry for entry in found.amendments if entry.execution_id >= from_id]
    return [reports.amendment(found, entry) for entry in chosen[: ask.params.limit(500, 1000)]]


def relevant_filters(ask: Ask) -> object:
    spec = ask.book.spec
    return {
        "exchangeFilters": filters.announced_of_exchange(ask.engine.exchange_filters),
        "symbolFilters": filters.announced(spec),
        "assetFilters": filters.announced_of_assets(spec, ask.account),
    }


def order_counts(ask: Ask) -> object:
    return ask.account.order_count.as_limits(ask.now_ms)


def find_order(ask: Ask, id_name: str = "orderId", client_name: str = "origClientOrderId") -> Order | None:
    """The order that orderId or origClientOrderId names; -1102 for neither, -2039 when they name different ones."""
    symbol = ask.book.spec.symbol
    order_id, client_id = ask.params.maybe_integer(id_name), ask.params.maybe(client_name)
    if order_id is None and client_id is None:
        raise Refusal(-1102, f"Param '{client_name}' or '{id_name}' must be sent, but both were empty/null!")
    if order_id is None:
        return ask.account.order_named(symbol, client_id or "")
    found = ask.account.orders.get(order_id)
    if found is None or found.ticket.symbol != symbol:
        return None
    if client_id is not None and found.client_id != client_id:
        raise Refusal(-2039, "Client order ID is not correct for this order ID.")
    return found


def find_list(ask: Ask, client_name: str) -> OrderList | None:
    list_id, client_id = ask.params.maybe_integer("orderListId"), ask.params.maybe(client_name)
    if list_id is None and client_id is None:
        raise Refusal(-1102, f"Param '{client_name}' or 'orderListId' must be sent, but both were empty/null!")
    if list_id is None:
        return ask.account.list_named(client_id or "")
    return ask.account.lists.get(list_id)


def open_orders_weight(params: Params) -> int:
    return 6 if params.has("symbol") else 80


def prevented_matches_weight(params: Params) -> int:
    return 20 if params.has("orderId") else 2


def my_trades_weight(params: Params) -> int:
    return 5 if params.has("orderId") else 20


def _times(params: Params) -> tuple[int | None, int | None]:
    start_ms, end_ms = params.maybe_time_ms("startTime"), params.maybe_time_ms("endTime")
    if start_ms is not None and end_ms is not None and end_ms - start_ms > DAY_MS:
        raise Refusal(-1127, "More than 24 hours between startTime and endTime.")
    return start_ms, end_ms


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API}/account"): Call(account, 20, is_signed=True),
    ("GET", f"{API}/account/commission"): Call(commission, 20, is_signed=True),
    ("GET", f"{API}/order"): Call(order, 4, is_signed=True),
    ("GET", f"{API}/openOrders"): Call(open_orders, open_orders_weight, is_signed=True),
    ("GET", f"{API}/allOrders"): Call(all_orders, 20, is_signed=True),
    ("GET", f"{API}/myTrades"): Call(my_trades, my_trades_weight, is_signed=True),
    ("GET", f"{API}/orderList"): Call(order_list, 4, is_signed=True),
    ("GET", f"{API}/openOrderList"): Call(open_order_lists, 6, is_signed=True),
    ("GET", f"{API}/allOrderList"): Call(all_order_lists, 20, is_signed=True),
    ("GET", f"{API}/rateLimit/order"): Call(order_counts, 40, is_signed=True),
    ("GET", f"{API}/myPreventedMatches"): Call(prevented_matches, prevented_matches_weight, is_signed=True),
    ("GET", f"{API}/myAllocations"): Call(allocations, 20, is_signed=True),
    ("GET", f"{API}/order/amendments"): Call(amendments, 4, is_signed=True),
    ("GET", f"{API}/myFilters"): Call(relevant_filters, 40, is_signed=True),
}
SOCKET: Final[dict[str, Call]] = {
    "account.status": REST["GET", f"{API}/account"],
    "account.commission": REST["GET", f"{API}/account/commission"],
    "order.status": REST["GET", f"{API}/order"],
    "openOrders.status": REST["GET", f"{API}/openOrders"],
    "allOrders": REST["GET", f"{API}/allOrders"],
    "myTrades": REST["GET", f"{API}/myTrades"],
    "orderList.status": REST["GET", f"{API}/orderList"],
    "openOrderLists.status": REST["GET", f"{API}/openOrderList"],
    "allOrderLists": REST["GET", f"{API}/allOrderList"],
    "account.rateLimits.orders": REST["GET", f"{API}/rateLimit/order"],
    "myPreventedMatches": REST["GET", f"{API}/myPreventedMatches"],
    "myAllocations": REST["GET", f"{API}/myAllocations"],
    "order.amendments": REST["GET", f"{API}/order/amendments"],
    "myFilters": REST["GET", f"{API}/myFilters"],
}
