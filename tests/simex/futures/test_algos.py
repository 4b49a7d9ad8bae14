"""Conditional orders: triggers by last and mark price, trailing, whole-position stops, refusals, expiry."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from simex.venue import Undocumented
from tests.simex.futures.wire import Trader, floor, market_of
from tests.simex.wire import Floor

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal


def seen(alice: Trader, algo: Any) -> Any:
    return alice.get("algoOrder", algoId=algo["algoId"])


def told(at: Floor, link: int) -> list[tuple[str, str]]:
    """Algo states and order executions in the order in which they came."""
    lines = []
    for event in at.heard(link):
        if event["e"] == "ALGO_UPDATE":
            lines.append(("algo", event["o"]["X"]))
        elif event["e"] == "ORDER_TRADE_UPDATE":
            lines.append(("order", event["o"]["x"]))
    return lines


def test_a_stop_goes_through_its_documented_states_and_becomes_an_order_of_its_own(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.050")
    link = alice.listen()
    algo = alice.algo("SELL", "STOP_MARKET", "95000", quantity="0.050", reduceOnly="true", clientAlgoId="sl-1")
    assert (algo["algoStatus"], algo["triggerPrice"], algo["quantity"]) == ("NEW", "95000.00", "0.050")
    assert seen(alice, algo)["actualOrderId"] == ""
    at.tick("95000.1")
    assert seen(alice, algo)["algoStatus"] == "NEW"
    at.tick("95000")
    assert told(at, link) == [
        ("algo", "NEW"), ("algo", "TRIGGERING"), ("algo", "TRIGGERED"), ("order", "NEW"), ("order", "TRADE"),
        ("algo", "FINISHED"),
    ]  # fmt: skip
    done = seen(alice, algo)
    assert (done["algoStatus"], done["actualPrice"], done["actualType"]) == ("FINISHED", "94999.90000", "MARKET")
    order = alice.seen(int(done["actualOrderId"]))
    assert (order["type"], order["origType"], order["clientOrderId"]) == ("MARKET", "STOP_MARKET", "sl-1")
    assert (order["stopPrice"], alice.amount()) == ("95000.00", 0)
    at.exchange.check_books()


def test_no_conditional_order_has_the_number_of_an_order(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "90000")
    algo = alice.algo("SELL", "STOP_MARKET", "80000", quantity="0.010")
    assert alice.refused("GET", "algoOrder", algoId=order["orderId"]) == -2013
    assert alice.refused("DELETE", "order", symbol="BTCUSDT", orderId=algo["algoId"]) == -2011


def test_the_triggered_order_may_get_an_id_of_its_own() -> None:
    at = floor(rules=Undocumented(triggered_keeps_client_id=False))
    alice = Trader(at)
    algo = alice.algo("BUY", "STOP_MARKET", "101000", quantity="0.010", clientAlgoId="in-1")
    at.tick("101000")
    assert alice.seen(int(seen(alice, algo)["actualOrderId"]))["clientOrderId"] != "in-1"


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "before", "at_it"),
    [
        ("BUY", "STOP_MARKET", "101000", "100999.9", "101000"),
        ("SELL", "STOP_MARKET", "99000", "99000.1", "99000"),
        ("BUY", "TAKE_PROFIT_MARKET", "99000", "99000.1", "99000"),
        ("SELL", "TAKE_PROFIT_MARKET", "101000", "100999.9", "101000"),
    ],
)
def test_triggers(at: Floor, alice: Trader, side: str, kind: str, trigger: str, before: str, at_it: str) -> None:
    algo = alice.algo(side, kind, trigger, quantity="0.010")
    at.tick(before)
    assert seen(alice, algo)["algoStatus"] == "NEW"
    at.tick(at_it)
    assert seen(alice, algo)["algoStatus"] == "FINISHED"
    assert alice.amount() == D("0.010" if side == "BUY" else "-0.010")


@pytest.mark.parametrize(("kind", "trigger"), [("STOP_MARKET", "100000"), ("TAKE_PROFIT_MARKET", "100000")])
def test_what_would_trigger_at_once_is_refused(alice: Trader, kind: str, trigger: str) -> None:
    assert alice.no_algo("SELL", kind, trigger, quantity="0.010") == -2021
    assert alice.no_algo("BUY", kind, trigger, quantity="0.010") == -2021


def test_limit_legs_rest_at_their_price_after_the_trigger(at: Floor, alice: Trader) -> None:
    algo = alice.algo("BUY", "TAKE_PROFIT", "99000", quantity="0.010", price="98500")
    at.tick("99000")
    assert seen(alice, algo)["algoStatus"] == "TRIGGERED"
    (order,) = alice.get("openOrders")
    assert (order["type"], order["origType"], order["price"]) == ("LIMIT", "TAKE_PROFIT", "98500.00")
    at.tick("98499")
    assert seen(alice, algo)["algoStatus"] == "FINISHED"
    assert alice.position()["entryPrice"] == "98500.00000000"


def test_the_mark_price_triggers_only_what_asked_for_it(at: Floor, alice: Trader) -> None:
    by_mark = alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010", workingType="MARK_PRICE")
    by_last = alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010")
    market_of(at).set_basis("BTCUSDT", D(-1000), at.now_ms)
    assert seen(alice, by_mark)["algoStatus"] == "FINISHED"
    assert seen(alice, by_last)["algoStatus"] == "NEW"
    assert alice.no_algo("SELL", "STOP_MARKET", "99500", quantity="0.010", workingType="MARK_PRICE") == -2021


def test_price_protection_holds_a_trigger_back_while_mark_and_last_are_apart(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    algo = alice.algo("SELL", "STOP_MARKET", "94000", quantity="0.010", priceProtect="true", reduceOnly="true")
    market_of(at).set_basis("BTCUSDT", D(5000), at.now_ms)
    at.tick("93000")  # the mark is 98000: 5.1 % away
    assert seen(alice, algo)["algoStatus"] == "NEW"
    market_of(at).set_basis("BTCUSDT", D(4000), at.now_ms)
    assert seen(alice, algo)["algoStatus"] == "FINISHED"


# -- trailing -----------------------------------------------------------------------------------------------------


def test_a_trailing_sell_follows_the_highest_price(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    algo = alice.algo("SELL", "TRAILING_STOP_MARKET", quantity="0.010", callbackRate="1", reduceOnly="true")
    for price in ("101000", "100500", "102000", "101000"):
        at.tick(price)
    assert seen(alice, algo)["algoStatus"] == "NEW"
    at.tick("100980.1")
    assert seen(alice, algo)["algoStatus"] == "NEW"
    at.tick("100980")  # 102000 × 0.99
    assert seen(alice, algo)["algoStatus"] == "FINISHED"
    assert alice.amount() == 0


def test_a_trailing_buy_waits_for_its_activation_and_tells_it(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    alice.algo("BUY", "TRAILING_STOP_MARKET", quantity="0.010", callbackRate="2", activatePrice="98000")
    at.tick("98000.1")
    at.tick("100000.2")
    at.tick("97000")
    at.tick("98000")
    assert alice.amount() == 0
    at.tick("98940")  # 97000 × 1.02
    assert alice.amount() == D("0.010")
    updates = [event["o"] for event in at.heard(link) if event["e"] == "ALGO_UPDATE"]
    assert [(update["X"], update["ia"]) for update in updates[:3]] == [
        ("NEW", False), ("NEW", True), ("TRIGGERING", True),
    ]  # fmt: skip


def test_what_a_trailing_order_must_look_like(alice: Trader) -> None:
    wish = {"quantity": "0.010", "callbackRate": "1"}
    assert alice.no_algo("BUY", "TRAILING_STOP_MARKET", activatePrice="100001", **wish) == -2021
    assert alice.no_algo("SELL", "TRAILING_STOP_MARKET", activatePrice="99999", **wish) == -2021
    assert alice.no_algo("SELL", "TRAILING_STOP_MARKET", quantity="0.010") == -1102
    assert alice.no_algo("SELL", "TRAILING_STOP_MARKET", quantity="0.010", callbackRate="20.1") == -1130
    assert alice.no_algo("SELL", "TRAILING_STOP_MARKET", quantity="0.010", callbackRate="0.09") == -1130
    assert alice.no_algo("SELL", "STOP_MARKET", "95000", activatePrice="99999", **wish) == -1106
    answer = alice.algo("SELL", "TRAILING_STOP_MARKET", quantity="0.010", callbackRate="20")
    assert (answer["callbackRate"], answer["activatePrice"]) == ("20", "100000.00")


# -- whole positions ----------------------------------------------------------------------------------------------


def test_close_position_closes_whatever_is_there(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    algo = alice.algo("SELL", "STOP_MARKET", "99000", closePosition="true")
    assert (algo["quantity"], algo["closePosition"]) == ("0.000", True)
    alice.order("BUY", "0.020")
    at.tick("98000")
    assert alice.amount() == 0
    assert seen(alice, algo)["actualQty"] == "0.030"


def test_close_position_without_a_position_expires(at: Floor, alice: Trader) -> None:
    algo = alice.algo("SELL", "STOP_MARKET", "99000", closePosition="true")
    at.tick("98000")
    assert seen(alice, algo)["algoStatus"] == "EXPIRED"


def test_close_position_excludes_quantity_and_reduce_only(alice: Trader) -> None:
    assert alice.no_algo("SELL", "STOP_MARKET", "99000", closePosition="true", quantity="0.010") == -4137
    assert alice.no_algo("SELL", "STOP_MARKET", "99000", closePosition="true", reduceOnly="true") == -4138
    assert alice.no_algo("SELL", "STOP", "99000", closePosition="true", price="98000") == -1128
    alice.post("positionSide/dual", dualSidePosition="true")
    assert alice.no_algo("BUY", "STOP_MARKET", "101000", closePosition="true", positionSide="LONG") == -1128


def test_good_till_the_end_of_the_position(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    stop = alice.algo("SELL", "STOP_MARKET", "95000", closePosition="true", timeInForce="GTE_GTC")
    stays = alice.algo("SELL", "STOP_MARKET", "95000", closePosition="true")
    alice.order("SELL", "0.010")
    assert seen(alice, stop)["algoStatus"] == "EXPIRED"
    assert seen(alice, stays)["algoStatus"] == "NEW"


# -- refusals, queries, cancels -----------------------------------------------------------------------------------


def test_no_margin_is_checked_before_the_trigger_and_a_refusal_then_is_the_end(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    before = alice.available()
    algo = alice.algo("BUY", "STOP_MARKET", "101000", quantity="50")
    assert alice.available() == before
    at.tick("101000")
    assert seen(alice, algo)["algoStatus"] == "REJECTED"
    last = [event["o"] for event in at.heard(link) if event["e"] == "ALGO_UPDATE"][-1]
    assert (last["X"], last["rm"]) == ("REJECTED", "Margin is insufficient.")


def test_a_stop_that_finds_nothing_to_reduce_is_rejected(at: Floor, alice: Trader) -> None:
    algo = alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010", reduceOnly="true")
    at.tick("98000")
    assert seen(alice, algo)["algoStatus"] == "REJECTED"


def test_several_hit_by_one_print_fire_from_the_nearest_on(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.030")
    far = alice.algo("SELL", "STOP_MARKET", "98000", quantity="0.020", reduceOnly="true")
    near = alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.020", reduceOnly="true")
    at.tick("97000")
    assert [seen(alice, algo)["actualQty"] for algo in (near, far)] == ["0.020", "0.010"]
    assert alice.amount() == 0


def test_plain_queries_and_cancels_do_not_see_conditional_orders(at: Floor, alice: Trader) -> None:
    algo = alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010", clientAlgoId="mine")
    assert alice.get("openOrders") == []
    alice.delete("allOpenOrders", symbol="BTCUSDT")
    (row,) = alice.get("openAlgoOrders", symbol="BTCUSDT")
    assert (row["algoId"], row["clientAlgoId"]) == (algo["algoId"], "mine")
    assert alice.no_algo("SELL", "STOP_MARKET", "99000", quantity="0.010", clientAlgoId="mine") == -4116
    answer = alice.delete("algoOrder", clientAlgoId="mine", symbol="BTCUSDT")
    assert answer == {"algoId": algo["algoId"], "clientAlgoId": "mine", "code": "200", "msg": "success"}
    assert alice.refused("DELETE", "algoOrder", clientAlgoId="mine") == -2011
    assert alice.get("allAlgoOrders", symbol="BTCUSDT")[0]["algoStatus"] == "CANCELED"
    alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010")
    assert alice.delete("algoOpenOrders", symbol="BTCUSDT")["code"] == 200
    assert alice.get("openAlgoOrders") == []
    assert alice.refused("GET", "algoOrder", algoId=77) == -2013


def test_two_hundred_conditional_orders_are_the_most(alice: Trader) -> None:
    for _ in range(200):
        alice.algo("SELL", "STOP_MARKET", "99000", quantity="0.010")
    assert alice.no_algo("SELL", "STOP_MARKET", "99000", quantity="0.010") == -4045


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"quantity": "0.010", "triggerPrice": "99000.05"}, -4014),
        ({"quantity": "0.0001", "triggerPrice": "99000"}, -4004),
        ({"quantity": "0.001", "triggerPrice": "99000"}, -4164),
        ({"quantity": "0.010", "triggerPrice": "9000"}, -4211),
        ({"quantity": "0.010", "triggerPrice": "1000001"}, -4210),
        ({"quantity": "0.010", "triggerPrice": None}, -1102),
        ({"quantity": "0.010", "triggerPrice": "99000", "workingType": "INDEX"}, -4031),
        ({"quantity": "0.010", "triggerPrice": "99000", "price": "99000"}, -1106),
        ({"quantity": "0.010", "triggerPrice": "99000", "algoType": "VP"}, -1130),
        ({"quantity": "0.010", "triggerPrice": "99000", "timeInForce": "IOC"}, -1115),
        ({"quantity": "0.010", "triggerPrice": "99000", "type": "STOP", "price": "94000"}, -4184),
        ({"quantity": "0.010", "triggerPrice": "99000", "type": "LIMIT"}, -1116),
        ({"quantity": "0.010", "triggerPrice": "99000", "positionSide": "LONG"}, -4061),
    ],
)
def test_malformed_wishes(alice: Trader, wish: dict[str, object], code: int) -> None:
    assert alice.refused("POST", "algoOrder", **alice.algo_wish("SELL", "STOP_MARKET")) == -1102
    assert alice.refused("POST", "algoOrder", **(alice.algo_wish("SELL", "STOP_MARKET") | wish)) == code


def test_a_dated_stop_expires(at: Floor, alice: Trader) -> None:
    ends_ms = at.now_ms - at.now_ms % 1000 + 700_000
    algo = alice.algo(
        "SELL", "STOP", "99000", quantity="0.010", price="98000", timeInForce="GTD", goodTillDate=ends_ms
    )  # fmt: skip
    at.now_ms = ends_ms
    assert seen(alice, algo)["algoStatus"] == "EXPIRED"


def test_a_conditional_order_counts_like_an_order(alice: Trader) -> None:
    response = alice.call("POST", "algoOrder", **alice.algo_wish("SELL", "STOP_MARKET", "99000", quantity="0.010"))
    assert response.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == "0"
