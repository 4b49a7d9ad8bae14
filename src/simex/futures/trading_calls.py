"""Signed calls that place, modify and cancel orders, plain and conditional.

Every attempt counts, whatever becomes of it. The checks come in Binance's order: enums and combinations, filters,
then the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from simex import refusal
from simex.frames import RawNumber, as_params
from simex.futures import reports, tickets
from simex.futures.calls import API, Ask, Call, trading
from simex.futures.contracts import CONDITIONAL_TYPES
from simex.futures.orders import Algo
from simex.futures.query_calls import find_algo, find_order
from simex.params import Params
from simex.refusal import Refusal
from simex.reports import Json

BATCH_MAX: Final = 5
CANCEL_BATCH_MAX: Final = 10
_BARE_NAMES: Final = re.compile(r"\[[\.A-Za-z0-9:/_-]+(,[\.A-Za-z0-9:/_-]+)*\]")


def place(ask: Ask) -> object:
    ask.account.order_count.admit(1, 1, ask.now_ms)
    return _place(ask)


def test(ask: Ask) -> object:
    """Everything that placing checks before the engine is asked."""
    book = ask.book
    if ask.params.maybe("type") in CONDITIONAL_TYPES:
        return {}
    ticket = tickets.plain(ask.params, book.spec, ask.account, ask.engine.rules, ask.now_ms)
    tickets.response_kind(ask.params)
    ask.engine.check(ask.account, ticket)
    return {}


def modify(ask: Ask) -> object:
    ask.account.order_count.admit(1, 1, ask.now_ms)
    return _modify(ask)


def cancel(ask: Ask) -> object:
    order = find_order(ask)
    if order is None or not order.is_open:
        raise refusal.unknown_order()
    ask.engine.cancel(order, ask.now_ms)
    return reports.placed(ask.book.spec, order)


def cancel_all(ask: Ask) -> object:
    for order in ask.account.open_on(ask.book.spec.symbol):
        if order.is_open:
            ask.engine.cancel(order, ask.now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def place_batch(ask: Ask) -> object:
    wishes = _batch(ask)
    ask.account.order_count.admit(BATCH_MAX, 1, ask.now_ms)
    return [_attempt(ask, wish, _place) for wish in wishes]


def modify_batch(ask: Ask) -> object:
    wishes = _batch(ask)
    ask.account.order_count.admit(BATCH_MAX, 1, ask.now_ms)
    return [_attempt(ask, wish, _modify) for wish in wishes]


def cancel_batch(ask: Ask) -> object:
    ids, names = _json_list(ask, "orderIdList"), _json_list(ask, "origClientOrderIdList")
    if not ids and not names:
        raise Refusal(-1102, "Param 'origClientOrderIdList' or 'orderIdList' must be sent, but both were empty/null!")
    if max(len(ids), len(names)) > CANCEL_BATCH_MAX:
        raise Refusal(-4082, "Invalid number of batch orders.")
    symbol = ask.book.spec.symbol
    wishes = [{"symbol": symbol, "orderId": str(entry)} for entry in ids]
    wishes += [{"symbol": symbol, "origClientOrderId": str(entry)} for entry in names if not ids]
    return [_attempt(ask, wish, cancel) for wish in wishes]


def countdown(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    span_ms = ask.params.maybe_integer("countdownTime")
    if span_ms is None:
        raise refusal.missing("countdownTime")
    ask.engine.clock.count_down(ask.account, symbol, span_ms, ask.now_ms)
    return {"symbol": symbol, "countdownTime": str(span_ms)}


def place_algo(ask: Ask) -> object:
    ask.account.order_count.admit(1, 1, ask.now_ms)
    book = ask.book
    ticket = tickets.conditional(ask.params, book.spec, ask.account, ask.engine.rules, ask.now_ms)
    tickets.response_kind(ask.params)
    algo = ask.engine.algos.place(ask.account, ticket, ask.now_ms)
    ask.engine.clock.wake_at(ticket.good_till_ms)
    return reports.algo_placed(book.spec, algo)


def cancel_algo(ask: Ask) -> object:
    algo = _open_algo(ask)
    ask.engine.algos.cancel(algo, ask.now_ms)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def cancel_all_algos(ask: Ask) -> object:
    for algo in ask.account.algos_on(ask.book.spec.symbol):
        ask.engine.algos.cancel(algo, ask.now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _open_algo(ask: Ask) -> Algo:
    algo = find_algo(ask)
    if algo is not None and algo.status == "TRIGGERING":
        raise Refusal(-4117, "Stop order is triggering.")
    if algo is None or algo.status != "NEW":
        raise refusal.unknown_order()
    return algo


def _place(ask: Ask) -> Json:
    book = ask.book
    ticket = tickets.plain(ask.params, book.spec, ask.account, ask.engine.rules, ask.now_ms)
    kind = tickets.response_kind(ask.params)
    order = ask.engine.place(ask.account, ticket, ask.now_ms)
    ask.engine.clock.wake_at(ticket.good_till_ms)
    shows_end = ticket.type == "MARKET" or ticket.time_in_force in ("IOC", "FOK")
    if kind == "RESULT" and shows_end:
        return reports.placed(book.spec, order)
    return reports.acknowledged(book.spec, order)


def _modify(ask: Ask) -> Json:
    book = ask.book
    order = find_order(ask)
    if order is None or not order.is_open:
        raise refusal.no_such_order()
    ticket = tickets.modified(ask.params, order, ask.engine.rules)
    ask.engine.modify(order, ticket, ask.params.maybe_integer("modifyId"), ask.now_ms)
    return reports.placed(book.spec, order)


def _attempt(ask: Ask, wish: dict[str, str], act: Callable[[Ask], object]) -> object:
    try:
        return act(replace(ask, params=Params(wish)))
    except Refusal as refused:
        return {"code": refused.code, "msg": refused.text}


def _batch(ask: Ask) -> list[dict[str, str]]:
    wishes = _json_list(ask, "batchOrders")
    if not wishes:
        raise refusal.missing("batchOrders")
    if len(wishes) > BATCH_MAX:
        raise Refusal(-4082, "Invalid number of batch orders.")
    if not all(isinstance(wish, dict) for wish in wishes):
        raise Refusal(-1130, "Data sent for parameter 'batchOrders' is not valid.")
    return [as_params(wish) for wish in wishes]


def _json_list(ask: Ask, name: str) -> list[object]:
    """A parameter that is a JSON array; numbers stay as they were written.

    A widespread client writes the names of the lists in lower case, and their texts without quotation marks.
    """
    text = ask.params.maybe(name) or ask.params.maybe(name.lower())
    if text is None:
        return []
    entries: object
    try:
        entries = json.loads(text, parse_int=RawNumber, parse_float=RawNumber)
    except ValueError:
        entries = text[1:-1].split(",") if _BARE_NAMES.fullmatch(text) else None
    if not isinstance(entries, list):
        raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
    return entries


REST: Final[dict[tuple[str, str], Call]] = {
    ("POST", f"{API}/order"): trading(place, 0, shows_counts=True),
    ("POST", f"{API}/order/test"): trading(test, 0),
    ("PUT", f"{API}/order"): trading(modify, 0, shows_counts=True),
    ("DELETE", f"{API}/order"): trading(cancel, 1),
    ("DELETE", f"{API}/allOpenOrders"): trading(cancel_all, 1),
    ("POST", f"{API}/batchOrders"): trading(place_batch, 5, shows_counts=True),
    ("PUT", f"{API}/batchOrders"): trading(modify_batch, 5, shows_counts=True),
    ("DELETE", f"{API}/batchOrders"): trading(cancel_batch, 1),
    ("POST", f"{API}/countdownCancelAll"): trading(countdown, 10),
    ("POST", f"{API}/algoOrder"): trading(place_algo, 0, shows_counts=True),
    ("DELETE", f"{API}/algoOrder"): trading(cancel_algo, 1),
    ("DELETE", f"{API}/algoOpenOrders"): trading(cancel_all_algos, 1),
}
SOCKET: Final[dict[str, Call]] = {
    "order.place": REST["POST", f"{API}/order"],
    "order.modify": REST["PUT", f"{API}/order"],
    "order.cancel": REST["DELETE", f"{API}/order"],
    "algoOrder.place": REST["POST", f"{API}/algoOrder"],
    "algoOrder.cancel": REST["DELETE", f"{API}/algoOrder"],
}
