"""Signed reading calls about orders and trades. They change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from simex import refusal
from simex.futures import reports
from simex.futures.calls import API, Ask, Call, one_or_all, reading
from simex.futures.contracts import ContractSpec
from simex.futures.liquidation import DELEVERAGED
from simex.futures.orders import Algo, Fill, Order
from simex.limits import DAY_MS
from simex.params import Params
from simex.refusal import Refusal
from simex.reports import Json

WEEK_MS: Final = 7 * DAY_MS
UNFILLED_KEPT_MS: Final = 3 * DAY_MS
ORDERS_KEPT_MS: Final = 90 * DAY_MS
MONTHS_MS: Final = 90 * DAY_MS
Row = TypeVar("Row")


def order(ask: Ask) -> object:
    found = find_order(ask)
    if found is None or not _is_kept(found, ask.now_ms):
        raise refusal.no_such_order()
    return reports.query(ask.book.spec, found)


def open_order(ask: Ask) -> object:
    found = find_order(ask)
    if found is None or not found.is_open:
        raise refusal.no_such_order()
    return reports.query(ask.book.spec, found)


def open_orders(ask: Ask) -> object:
    resting = ask.account.open_on(ask.book.spec.symbol) if ask.params.has("symbol") else ask.account.open.values()
    return [reports.query(_spec(ask, entry.ticket.symbol), entry) for entry in resting]


def all_orders(ask: Ask) -> object:
    symbol = ask.book.spec.symbol if ask.params.has("symbol") else None
    from_id = ask.params.maybe_integer("orderId")
    start_ms, end_ms = times(ask.params)
    kept = [
        entry
        for entry in ask.account.orders.values()
        if (symbol is None or entry.ticket.symbol == symbol)
        and (from_id is None or entry.order_id >= from_id)
        and _is_within(entry.created_ms, start_ms, end_ms)
        and _is_kept(entry, ask.now_ms)
    ]
    chosen = page(kept, ask.params.limit(500, 1000), from_id is not None or start_ms is not None)
    return [reports.query(_spec(ask, entry.ticket.symbol), entry) for entry in chosen]


def user_trades(ask: Ask) -> object:
    spec = ask.book.spec
    order_id, from_id = ask.params.maybe_integer("orderId"), ask.params.maybe_integer("fromId")
    start_ms, end_ms = times(ask.params)
    if from_id is not None and (start_ms is not None or end_ms is not None):
        raise refusal.bad_combination()

    def is_wanted(placed: Order, fill: Fill) -> bool:
        return (
            (order_id is None or placed.order_id == order_id)
            and (from_id is None or fill.trade_id >= from_id)
            and _is_within(fill.at_ms, start_ms, end_ms)
            and fill.at_ms > ask.now_ms - MONTHS_MS
        )

    kept = [entry for entry in ask.account.trades.get(spec.symbol, []) if is_wanted(*entry)]
    chosen = page(kept, ask.params.limit(500, 1000), from_id is not None or start_ms is not None)
    return [reports.trade(spec, *entry) for entry in chosen]


def force_orders(ask: Ask) -> object:
    """What the venue itself closed of the account."""
    kind = ask.params.maybe("autoCloseType")
    if kind not in (None, "LIQUIDATION", "ADL"):
        raise Refusal(-1130, "Data sent for parameter 'autoCloseType' is not valid.")
    symbol = ask.book.spec.symbol if ask.params.has("symbol") else None
    start_ms, end_ms = times(ask.params)
    kept = [
        entry
        for entry in ask.account.liquidations
        if kind in (None, "ADL" if entry.client_id == DELEVERAGED else "LIQUIDATION")
        and (symbol is None or entry.ticket.symbol == symbol)
        and _is_within(entry.created_ms, start_ms, end_ms)
        and _is_kept(entry, ask.now_ms)
    ]
    chosen = page(kept, ask.params.limit(50, 100), start_ms is not None)
    return [reports.query(_spec(ask, entry.ticket.symbol), entry) for entry in chosen]


def amendments(ask: Ask) -> object:
    spec = ask.book.spec
    order_id, name = ask.params.maybe_integer("orderId"), ask.params.maybe("origClientOrderId")
    start_ms, end_ms = times(ask.params)
    rows = [
        reports.amendment(spec, placed, entry)
        for placed in ask.account.orders.values()
        if placed.ticket.symbol == spec.symbol
        and (order_id is None or placed.order_id == order_id)
        and (name is None or placed.client_id == name)
        for entry in placed.amendments
        if _is_within(entry.at_ms, start_ms, end_ms) and entry.at_ms > ask.now_ms - MONTHS_MS
    ]
    return page(rows, ask.params.limit(50, 100), start_ms is not None)


def algo_order(ask: Ask) -> object:
    found = find_algo(ask)
    if found is None or not _is_algo_kept(found, ask.now_ms):
        raise refusal.no_such_order()
    return reports.algo_query(_spec(ask, found.ticket.symbol), found)


def open_algos(ask: Ask) -> object:
    symbol, algo_id = ask.params.maybe("symbol"), ask.params.maybe_integer("algoId")
    _refuse_algo_type(ask.params)
    if symbol is not None:
        ask.book_of(symbol)
    return _algo_rows(
        ask,
        (
            entry
            for entry in ask.account.open_algos.values()
            if (symbol is None or entry.ticket.symbol == symbol) and (algo_id is None or entry.algo_id == algo_id)
        ),
    )


def all_algos(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    algo_id = ask.params.maybe_integer("algoId")
    start_ms, end_ms = times(ask.params)
    kept = [
        entry
        for entry in ask.account.algos.values()
        if entry.ticket.symbol == symbol
        and (algo_id is None or entry.algo_id >= algo_id)
        and _is_within(entry.created_ms, start_ms, end_ms)
        and _is_algo_kept(entry, ask.now_ms)
    ]
    return _algo_rows(ask, page(kept, ask.params.limit(500, 1000), algo_id is not None or start_ms is not None))


def order_counts(ask: Ask) -> object:
    return ask.account.order_count.as_limits(ask.now_ms)


def find_order(ask: Ask) -> Order | None:
    """The order that orderId or origClientOrderId names; Refusal -1102 for neither."""
    symbol = ask.book.spec.symbol
    order_id, client_id = ask.params.maybe_integer("orderId"), ask.params.maybe("origClientOrderId")
    if order_id is None and client_id is None:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    if order_id is None:
        return ask.account.order_named(symbol, client_id or "")
    found = ask.account.orders.get(order_id)
    return found if found is not None and found.ticket.symbol == symbol else None


def find_algo(ask: Ask) -> Algo | None:
    """The conditional order that algoId or clientAlgoId names; Refusal -1102 for neither."""
    algo_id, client_id = ask.params.maybe_integer("algoId"), ask.params.maybe("clientAlgoId")
    if algo_id is None and client_id is None:
        raise Refusal(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    return ask.account.algos.get(algo_id) if algo_id is not None else ask.account.algo_named(client_id or "")


def times(params: Params, longest_ms: int = WEEK_MS) -> tuple[int | None, int | None]:
    """startTime and endTime; Refusal -1023 when they are in the wrong order, -4165 when they are too far apart."""
    start_ms, end_ms = params.maybe_integer("startTime"), params.maybe_integer("endTime")
    if start_ms is not None and end_ms is not None:
        if start_ms > end_ms:
            raise Refusal(-1023, "Start time is greater than end time.")
        if end_ms - start_ms > longest_ms:
            raise Refusal(-4165, f"Maximum time interval is {longest_ms // DAY_MS} days.")
    return start_ms, end_ms


def page(rows: list[Row], limit: int, from_start: bool) -> list[Row]:
    """The oldest rows from a start, else the newest; always oldest first."""
    return rows[:limit] if from_start else rows[-limit:]


def _is_within(at_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)


def _is_kept(entry: Order, now_ms: int) -> bool:
    """Orders that ended without a fill are forgotten after three days, all others after ninety."""
    if entry.is_open:
        return True
    kept_ms = ORDERS_KEPT_MS if entry.executed else UNFILLED_KEPT_MS
    return entry.updated_ms > now_ms - kept_ms


def _is_algo_kept(entry: Algo, now_ms: int) -> bool:
    """The same of conditional orders, which fill nothing themselves."""
    ended = entry.order is None and entry.status in ("CANCELED", "EXPIRED", "REJECTED")
    return not ended or entry.updated_ms > now_ms - UNFILLED_KEPT_MS


def _spec(ask: Ask, symbol: str) -> ContractSpec:
    return ask.engine.books[symbol].spec


def _algo_rows(ask: Ask, entries: Iterable[Algo]) -> list[Json]:
    return [reports.algo_query(_spec(ask, entry.ticket.symbol), entry) for entry in entries]


def _refuse_algo_type(params: Params) -> None:
    if params.maybe("algoType") not in (None, "CONDITIONAL"):
        raise Refusal(-1130, "Data sent for parameter 'algoType' is not valid.")


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API}/order"): reading(order, 1),
    ("GET", f"{API}/openOrder"): reading(open_order, 1),
    ("GET", f"{API}/openOrders"): reading(open_orders, one_or_all(1, 40)),
    ("GET", f"{API}/allOrders"): reading(all_orders, 5),
    ("GET", f"{API}/userTrades"): reading(user_trades, 5),
    ("GET", f"{API}/forceOrders"): reading(force_orders, one_or_all(20, 50)),
    ("GET", f"{API}/orderAmendment"): reading(amendments, 1),
    ("GET", f"{API}/algoOrder"): reading(algo_order, 1),
    ("GET", f"{API}/openAlgoOrders"): reading(open_algos, one_or_all(1, 40)),
    ("GET", f"{API}/allAlgoOrders"): reading(all_algos, 5),
    ("GET", f"{API}/rateLimit/order"): reading(order_counts, 1),
}
SOCKET: Final[dict[str, Call]] = {"order.status": REST["GET", f"{API}/order"]}
