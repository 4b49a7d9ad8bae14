"""Changing orders: amend keep priority, cancel-replace in all its outcomes, the deprecated OCO (§7.5, §7.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.venue import DEFAULT_INSTRUMENTS
from tests.simex.wire import BOB, Client, Floor, floor

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
BUY = {"type": "LIMIT", "timeInForce": "GTC", "price": "59000"}


def amend(client: Client, **params: object) -> Any:
    return client.put("order/amend/keepPriority", symbol="BTCUSDT", **params)


def not_amended(client: Client, **params: object) -> tuple[int, str]:
    return client.refused("PUT", "order/amend/keepPriority", **({"symbol": "BTCUSDT"} | params))


# -- amend keep priority ---------------------------------------------------------------------------------------------


def test_an_amended_order_keeps_its_place(at: Floor, alice: Client) -> None:
    """§7.5, §10.1."""
    bob = Client(at, BOB)
    first = alice.buy(**BUY, quantity="0.5")["orderId"]
    second = bob.buy(**BUY, quantity="0.5")["orderId"]
    answer = amend(alice, orderId=first, newQty="0.2")
    assert answer["amendedOrder"]["qty"] == "0.20000000"
    assert alice.balance("USDT") == (D(100_000) - D(11_800), D(11_800))
    at.tick("58000", liquidity="0.3")
    assert alice.order(first)["status"] == "FILLED"
    assert bob.order(second)["executedQty"] == "0.10000000"
    at.exchange.check_books()


def test_an_amend_answers_reports_and_is_remembered(at: Floor, alice: Client) -> None:
    """§7.5, §8.2: a new client id unless the old one is passed."""
    order_id = alice.buy(**BUY, quantity="0.5", newClientOrderId="first")["orderId"]
    link = alice.listen()
    answer = amend(alice, origClientOrderId="first", newQty="0.4", newClientOrderId="second")
    (report, position) = alice.events(link)
    assert (report["x"], report["X"], report["c"], report["C"], report["q"]) == (
        "REPLACED", "NEW", "second", "first", "0.40000000",
    )  # fmt: skip
    assert answer["executionId"] == report["I"]
    assert position["e"] == "outboundAccountPosition"
    assert "listStatus" not in answer
    renamed = amend(alice, orderId=order_id, newQty="0.3")["amendedOrder"]["clientOrderId"]
    assert renamed not in ("first", "second")
    amend(alice, orderId=order_id, newQty="0.2", newClientOrderId=renamed)
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId=renamed)["origQty"] == "0.20000000"
    assert alice.refused("GET", "order", symbol="BTCUSDT", origClientOrderId="first")[0] == -2013
    history = alice.get("order/amendments", symbol="BTCUSDT", orderId=order_id)
    assert [(entry["origClientOrderId"], entry["newClientOrderId"], entry["origQty"], entry["newQty"])
            for entry in history] == [
        ("first", "second", "0.50000000", "0.40000000"),
        ("second", renamed, "0.40000000", "0.30000000"),
        (renamed, renamed, "0.30000000", "0.20000000"),
    ]  # fmt: skip
    assert alice.get("order/amendments", symbol="BTCUSDT", orderId=order_id,
                     fromExecutionId=history[1]["executionId"], limit=1) == history[1:2]  # fmt: skip
    assert alice.refused("GET", "order/amendments", symbol="BTCUSDT")[0] == -1102
    assert [entry["count"] for entry in alice.get("rateLimit/order")] == [1, 1], "§2.2: an amend does not count"


def test_an_amend_costs_its_weight_unless_it_ends_the_order(at: Floor, alice: Client) -> None:
    """§2.1."""
    order_id = alice.buy(**BUY, quantity="0.5")["orderId"]
    at.tick("58000", liquidity="0.2")
    at.tick("60000")
    where = {"symbol": "BTCUSDT", "orderId": order_id}
    used = int(alice.call("GET", "ping").headers["X-MBX-USED-WEIGHT-1M"])
    response = alice.call("PUT", "order/amend/keepPriority", **where, newQty="0.4")
    assert int(response.headers["X-MBX-USED-WEIGHT-1M"]) == used + 4
    response = alice.call("PUT", "order/amend/keepPriority", **where, newQty="0.1")
    assert int(response.headers["X-MBX-USED-WEIGHT-1M"]) == used + 4
    order = alice.order(order_id)
    assert (order["status"], order["origQty"], order["executedQty"]) == ("EXPIRED", "0.20000000", "0.20000000")
    assert alice.balance("USDT")[1] == 0
    at.exchange.check_books()


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"newQty": "0.5"}, -2038, "The requested action would change no state; rejecting"),
        ({"newQty": "0.6"}, -2038, "Order amend (quantity increase) is not supported."),
        ({"newQty": "0.100001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"newQty": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
        ({"newQty": "0"}, -1013, "Invalid quantity."),
        ({"newQty": None}, -1102, None),
        ({"orderId": 999}, -2038, "Unknown order sent."),
        ({"orderId": None}, -1102, None),
        ({"newClientOrderId": "other"}, -2038, "Duplicate order sent."),
    ],
    ids=str,
)
def test_bad_amends_change_nothing(alice: Client, change: dict[str, Any], code: int, text: str | None) -> None:
    """§3.5, -2038."""
    order_id = alice.buy(**BUY, quantity="0.5")["orderId"]
    alice.buy(**BUY, quantity="0.1", newClientOrderId="other")
    found = not_amended(alice, **({"orderId": order_id, "newQty": "0.4"} | change))
    assert found[0] == code
    assert text is None or found[1] == text
    assert alice.order(order_id)["origQty"] == "0.50000000"


def test_an_order_can_be_amended_ten_times_and_where_the_symbol_allows_it(alice: Client) -> None:
    """§6.1, MAX_NUM_ORDER_AMENDS; §4.2, amendAllowed."""
    order_id = alice.buy(**BUY, quantity="0.5")["orderId"]
    for number in range(10):
        amend(alice, orderId=order_id, newQty=f"0.{49 - number}")
    assert not_amended(alice, orderId=order_id, newQty="0.1") == (-2038, "Filter failure: MAX_NUM_ORDER_AMENDS")
    at = floor(instruments=[replace(DEFAULT_INSTRUMENTS[0], amend_allowed=False)])
    refused = not_amended(Client(at), orderId=1, newQty="1")
    assert refused == (-2038, "Order amend is not supported for this symbol.")


def test_amending_one_leg_of_an_oco_amends_both(at: Floor, alice: Client) -> None:
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="1", aboveType="LIMIT_MAKER", abovePrice="61000",
        aboveClientOrderId="target", belowType="STOP_LOSS", belowStopPrice="59000", belowClientOrderId="stop",
    )  # fmt: skip
    link = alice.listen()
    answer = amend(alice, origClientOrderId="target", newQty="0.4", newClientOrderId="target-2")
    events = alice.events(link)
    assert [(e.get("x"), e.get("c"), e.get("q")) for e in events if e["e"] == "executionReport"] == [
        ("REPLACED", "target-2", "0.40000000"), ("REPLACED", "stop", "0.40000000"),
    ]  # fmt: skip
    (listed,) = [event for event in events if event["e"] == "listStatus"]
    assert (listed["l"], listed["L"]) == ("UPDATED", "EXECUTING")
    assert [order["clientOrderId"] for order in answer["listStatus"]["orders"]] == ["target-2", "stop"]
    assert alice.balance("BTC") == (D("9.6"), D("0.4"))
    at.tick("58000")
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId="stop")["executedQty"] == "0.40000000"
    at.exchange.check_books()


def test_pending_orders_are_amended_one_by_one_but_not_those_of_an_opo(at: Floor, alice: Client) -> None:
    wish = {"symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59000",
            "workingQuantity": "0.5", "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingType": "LIMIT_MAKER",
            "pendingPrice": "61000", "pendingClientOrderId": "out"}  # fmt: skip
    alice.post("orderList/oto", **wish, pendingQuantity="0.4")
    answer = amend(alice, origClientOrderId="out", newQty="0.3", newClientOrderId="out")
    assert (answer["amendedOrder"]["status"], "workingTime" in answer["amendedOrder"]) == ("PENDING_NEW", False)
    alice.delete("openOrders", symbol="BTCUSDT")
    alice.post("orderList/opo", **wish)
    assert not_amended(alice, origClientOrderId="out", newQty="0")[0] == -1013
    assert not_amended(alice, origClientOrderId="out", newQty="0.0001")[0] == -2038


def test_an_amended_iceberg_shows_less_only_below_its_slice(at: Floor, alice: Client) -> None:
    order_id = alice.sell(type="LIMIT", timeInForce="GTC", quantity="1", price="61000.37", icebergQty="0.3")["orderId"]
    amend(alice, orderId=order_id, newQty="0.5")
    assert alice.order(order_id)["icebergQty"] == "0.30000000"
    amend(alice, orderId=order_id, newQty="0.2")
    at.tick("61500")
    assert alice.order(order_id)["executedQty"] == "0.20000000"


# -- cancel-replace --------------------------------------------------------------------------------------------------

GOOD = {"symbol": "BTCUSDT", "side": "BUY", **BUY, "quantity": "0.1"}
BAD = GOOD | {"quantity": "9"}  # more than the money


@contextmanager
def order_limit_reached(client: Client) -> Iterator[None]:
    """Uses up the ten seconds' order count."""
    at = client.floor
    at.now_ms += 10_000 - at.now_ms % 10_000
    for _ in range(100):
        client.post("order", **GOOD | {"quantity": "0.0001"}, newOrderRespType="ACK")
    yield


# Mode, limit mode, whether the limit is exceeded, whether the cancel can succeed, whether the new order can;
# then status, code, and what became of both.
OUTCOMES = [
    ("STOP_ON_FAILURE", "DO_NOTHING", False, True, True, 200, None, "SUCCESS", "SUCCESS"),
    ("ALLOW_FAILURE", "DO_NOTHING", False, True, True, 200, None, "SUCCESS", "SUCCESS"),
    ("STOP_ON_FAILURE", "DO_NOTHING", False, False, True, 400, -2022, "FAILURE", "NOT_ATTEMPTED"),
    ("STOP_ON_FAILURE", "CANCEL_ONLY", False, False, True, 400, -2022, "FAILURE", "NOT_ATTEMPTED"),
    ("STOP_ON_FAILURE", "DO_NOTHING", False, True, False, 409, -2021, "SUCCESS", "FAILURE"),
    ("ALLOW_FAILURE", "CANCEL_ONLY", False, True, False, 409, -2021, "SUCCESS", "FAILURE"),
    ("ALLOW_FAILURE", "DO_NOTHING", False, False, True, 409, -2021, "FAILURE", "SUCCESS"),
    ("ALLOW_FAILURE", "DO_NOTHING", False, False, False, 400, -2022, "FAILURE", "FAILURE"),
    ("STOP_ON_FAILURE", "DO_NOTHING", True, True, True, 429, -1015, None, None),
    ("ALLOW_FAILURE", "DO_NOTHING", True, True, True, 429, -1015, None, None),
    ("STOP_ON_FAILURE", "CANCEL_ONLY", True, True, True, 429, -2021, "SUCCESS", "FAILURE"),
    ("STOP_ON_FAILURE", "CANCEL_ONLY", True, False, True, 429, -2022, "FAILURE", "NOT_ATTEMPTED"),
    ("ALLOW_FAILURE", "CANCEL_ONLY", True, True, True, 409, -2021, "SUCCESS", "FAILURE"),
    ("ALLOW_FAILURE", "CANCEL_ONLY", True, False, True, 400, -2022, "FAILURE", "FAILURE"),
]


@pytest.mark.parametrize(
    ("mode", "on_limit", "is_over", "can_cancel", "can_place", "status", "code", "cancelled", "placed"), OUTCOMES
)
def test_cancel_replace_in_all_its_outcomes(
    alice: Client, mode: str, on_limit: str, is_over: bool, can_cancel: bool, can_place: bool, status: int,
    code: int | None, cancelled: str | None, placed: str | None,
) -> None:  # fmt: skip
    """§7.5: the table of results."""
    old = alice.post("order", **GOOD)["orderId"]
    if is_over:
        with order_limit_reached(alice):
            pass
    before = alice.get("rateLimit/order")[1]["count"]
    answer = alice.call(
        "POST", "order/cancelReplace", **(GOOD if can_place else BAD), cancelReplaceMode=mode,
        orderRateLimitExceededMode=on_limit, cancelOrderId=old if can_cancel else 999,
    )  # fmt: skip
    body = json.loads(answer.body)
    assert (answer.status, body.get("code")) == (status, code)
    data = body if status == 200 else body.get("data", {})
    assert (data.get("cancelResult"), data.get("newOrderResult")) == (cancelled, placed)
    assert alice.order(old)["status"] == ("CANCELED" if cancelled == "SUCCESS" else "NEW")
    if placed == "NOT_ATTEMPTED":
        assert data["newOrderResponse"] is None
    if cancelled == "FAILURE":
        assert data["cancelResponse"] == {"code": -2011, "msg": "Unknown order sent."}
    if placed == "FAILURE":
        assert data["newOrderResponse"]["code"] == (-1015 if is_over else -2010)
    assert ("Retry-After" in answer.headers) == (status == 429)
    after = alice.get("rateLimit/order")[1]["count"]
    assert after - before == (0 if is_over else 1), "one order is counted even if it was not attempted"


def test_cancel_replace_checks_filters_before_either(alice: Client) -> None:
    old = alice.post("order", **GOOD)["orderId"]
    wish = GOOD | {"price": "59000.001"}
    refused = alice.refused("POST", "order/cancelReplace", **wish, cancelReplaceMode="ALLOW_FAILURE", cancelOrderId=old)
    assert refused == (-1013, "Filter failure: PRICE_FILTER")
    assert alice.order(old)["status"] == "NEW"


def test_cancel_replace_of_a_leg_cancels_the_list_and_loses_the_place(at: Floor, alice: Client) -> None:
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="1", aboveType="LIMIT_MAKER", abovePrice="61000",
        aboveClientOrderId="target", belowType="STOP_LOSS", belowStopPrice="59000", belowClientOrderId="stop",
    )  # fmt: skip
    answer = alice.post(
        "order/cancelReplace", symbol="BTCUSDT", side="SELL", type="LIMIT_MAKER", quantity="1", price="62000",
        cancelReplaceMode="STOP_ON_FAILURE", cancelOrigClientOrderId="target", cancelNewClientOrderId="moved",
    )  # fmt: skip
    assert answer["cancelResponse"]["listStatusType"] == "ALL_DONE"
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId="stop")["status"] == "CANCELED"
    assert alice.balance("BTC") == (9, 1)


def test_cancel_replace_parameters_and_the_symbol_that_does_not_allow_it(alice: Client) -> None:
    for change in ({}, {"cancelReplaceMode": "MAYBE"}):
        assert alice.refused("POST", "order/cancelReplace", **GOOD, cancelOrderId=1, **change)[0] == -1102
    whole = GOOD | {"cancelReplaceMode": "ALLOW_FAILURE"}
    assert alice.refused("POST", "order/cancelReplace", **whole)[0] == -1102
    assert alice.refused(
        "POST", "order/cancelReplace", **whole, cancelOrderId=1, orderRateLimitExceededMode="PERHAPS"
    )[0] == -1102  # fmt: skip
    at = floor(instruments=[replace(DEFAULT_INSTRUMENTS[0], cancel_replace_allowed=False)])
    refused = Client(at).refused("POST", "order/cancelReplace", **whole, cancelOrderId=1)
    assert refused == (-2010, "Order cancel-replace is not supported for this symbol.")


# -- the deprecated OCO, queries of lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "stop", "limit_price", "types"),
    [("SELL", "61000", "59000", None, ["LIMIT_MAKER", "STOP_LOSS"]),
     ("SELL", "61000", "59000", "58900", ["LIMIT_MAKER", "STOP_LOSS_LIMIT"]),
     ("BUY", "59000", "61000", None, ["STOP_LOSS", "LIMIT_MAKER"])],
)  # fmt: skip
def test_the_deprecated_oco_is_the_new_one_by_other_names(
    alice: Client, side: str, price: str, stop: str, limit_price: str | None, types: list[str]
) -> None:
    """§7.6: POST /order/oco."""
    answer = alice.post(
        "order/oco", symbol="BTCUSDT", side=side, quantity="0.5", price=price, stopPrice=stop,
        stopLimitPrice=limit_price, stopLimitTimeInForce="GTC" if limit_price else None, limitClientOrderId="limit",
        stopClientOrderId="stop", listClientOrderId="both",
    )  # fmt: skip
    assert [report["type"] for report in answer["orderReports"]] == types
    assert answer["listClientOrderId"] == "both"
    assert {order["clientOrderId"] for order in answer["orders"]} == {"limit", "stop"}
    assert alice.get("rateLimit/order")[0]["count"] == 2


@pytest.mark.parametrize("missing", ["price", "stopPrice", "stopLimitTimeInForce", "side"])
def test_the_deprecated_oco_names_what_is_missing(alice: Client, missing: str) -> None:
    wish = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.5", "price": "61000", "stopPrice": "59000",
            "stopLimitPrice": "58900", "stopLimitTimeInForce": "GTC"}  # fmt: skip
    code, text = alice.refused("POST", "order/oco", **wish | {missing: None})
    assert code == -1102
    assert f"'{missing}'" in text


def test_lists_are_paged(at: Floor, alice: Client) -> None:
    """§7.4: GET allOrderList."""
    oco = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
           "belowType": "STOP_LOSS", "belowStopPrice": "59000"}  # fmt: skip
    ids, times = [], []
    for _ in range(3):
        ids.append(alice.post("orderList/oco", **oco)["orderListId"])
        times.append(at.now_ms)
        at.now_ms += 1000

    def found(**params: int) -> list[int]:
        return [entry["orderListId"] for entry in alice.get("allOrderList", **params)]

    assert found() == ids
    assert found(limit=2) == ids[1:]
    assert found(fromId=ids[1], limit=1) == ids[1:2]
    assert found(startTime=times[1]) == ids[1:]
    assert found(endTime=times[1], limit=1) == ids[1:2]
    assert alice.refused("GET", "allOrderList", fromId=1, startTime=times[0])[0] == -1128


def test_allocations_and_relevant_filters(alice: Client) -> None:
    """§7.4."""
    assert alice.get("myAllocations", symbol="BTCUSDT") == []
    assert alice.refused("GET", "myAllocations")[0] == -1102
    answer = alice.get("myFilters", symbol="BTCUSDT")
    assert "PRICE_FILTER" in {entry["filterType"] for entry in answer["symbolFilters"]}
    assert (answer["exchangeFilters"], answer["assetFilters"]) == ([], [])
