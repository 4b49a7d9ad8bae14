"""Plain orders of the futures market: times in force, reduce-only, hedge mode, changes, batches, filters, queries."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import Undocumented
from tests.simex.futures.wire import Trader, floor, market_of
from tests.simex.wire import PATIENT, Floor

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal


def states(at: Floor, link: int) -> list[tuple[str, str, str]]:
    events = [event["o"] for event in at.heard(link) if event["e"] == "ORDER_TRADE_UPDATE"]
    return [(event["x"], event["X"], event["er"]) for event in events]


# -- times in force -----------------------------------------------------------------------------------------------


def test_the_rest_of_an_ioc_order_expires_with_reason_two(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    at.tick("100000", liquidity="0.004")
    answer = alice.order("BUY", "0.010", "100100", timeInForce="IOC", newOrderRespType="RESULT")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.004")
    assert states(at, link) == [
        ("NEW", "NEW", "0"), ("TRADE", "PARTIALLY_FILLED", "0"), ("EXPIRED", "EXPIRED", "2"),
    ]  # fmt: skip


def test_the_rest_of_an_opening_market_order_expires_with_reason_nine(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    at.tick("100000", liquidity="0.004")
    alice.order("BUY", "0.010")
    assert states(at, link)[-1] == ("EXPIRED", "EXPIRED", "9")


def test_the_rest_of_a_closing_market_order_expires(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    at.tick("99000", liquidity="0.004")
    link = alice.listen()
    order = alice.order("SELL", "0.010", reduceOnly="true")
    seen = alice.seen(order["orderId"])
    assert (seen["status"], seen["executedQty"]) == ("EXPIRED", "0.004")
    assert states(at, link)[-1] == ("EXPIRED", "EXPIRED", "9")
    assert alice.amount() == D("0.006")


def test_the_rest_of_a_stop_that_fired_expires(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    algo = alice.algo("SELL", "STOP_MARKET", "99000", closePosition="true")
    at.tick("98000", liquidity="0.004")
    done = alice.get("algoOrder", algoId=algo["algoId"])
    assert alice.seen(int(done["actualOrderId"]))["status"] == "EXPIRED"
    assert done["algoStatus"] == "FINISHED"
    assert alice.amount() == D("0.006")


def test_the_rest_of_a_closing_market_order_waits_for_the_next_print_in_a_patient_model() -> None:
    at = floor(model=PATIENT)
    alice = Trader(at)
    alice.order("BUY", "0.010")
    at.tick("99000", liquidity="0.004")
    order = alice.order("SELL", "0.010", reduceOnly="true")
    assert alice.seen(order["orderId"])["status"] == "PARTIALLY_FILLED"
    at.tick("98000")
    assert alice.seen(order["orderId"])["status"] == "FILLED"
    assert alice.amount() == 0


def test_a_fok_order_that_does_not_fill_and_a_gtx_order_that_would_take_are_never_stored(
    at: Floor, alice: Trader
) -> None:
    at.tick("100000", liquidity="0.004")
    assert alice.no_order("BUY", "0.010", "100100", timeInForce="FOK") == -5021
    assert alice.no_order("BUY", "0.010", "100100", timeInForce="GTX") == -5022
    assert alice.get("allOrders", symbol="BTCUSDT") == []
    assert alice.order("BUY", "0.004", "100100", timeInForce="FOK", newOrderRespType="RESULT")["status"] == "FILLED"
    assert alice.order("BUY", "0.010", "99999.9", timeInForce="GTX")["status"] == "NEW"


def test_a_gtd_order_is_cancelled_at_its_date_cut_to_seconds(at: Floor, alice: Trader) -> None:
    assert alice.no_order("BUY", "0.010", "99000", timeInForce="GTD", goodTillDate=at.now_ms + 600_000) == -5040
    wanted = at.now_ms + 700_123
    order = alice.order("BUY", "0.010", "99000", timeInForce="GTD", goodTillDate=wanted)
    assert order["goodTillDate"] == wanted - wanted % 1000
    at.now_ms = wanted - wanted % 1000 - 1
    assert alice.seen(order["orderId"])["status"] == "NEW"
    assert at.exchange.deadline_ms() == at.now_ms + 1
    at.now_ms += 1
    assert alice.seen(order["orderId"])["status"] == "CANCELED"


def test_a_limit_order_needs_its_time_in_force_and_a_market_order_must_not_have_one(alice: Trader) -> None:
    assert alice.no_order("BUY", "0.010", "99000", timeInForce=None) == -1102
    assert alice.no_order("BUY", "0.010", "99000", timeInForce="GTE") == -1115
    assert alice.no_order("BUY", "0.010", timeInForce="GTC") == -1106
    assert alice.no_order("BUY", "0.010", "99000", goodTillDate=1) == -1106


# -- what the filters refuse --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "quantity", "price", "code"),
    [
        ("BUY", "0.0005", "99000", -4004),
        ("BUY", "1001", "99000", -4005),
        ("BUY", "0.0101", "99000", -1111),
        ("BUY", "0", "99000", -4003),
        ("BUY", "0.010", "99000.05", -4014),
        ("BUY", "0.010", "99000.001", -1111),
        ("BUY", "0.010", "0", -4001),
        ("BUY", "0.010", "0.05", -4013),
        ("BUY", "0.010", "105000.1", -4016),
        ("SELL", "0.010", "94999.9", -4024),
        ("BUY", "0.001", "99000", -4164),
        ("BUY", "0.0000000001", "99000", -1111),
        ("BUY", "121", None, -4005),
    ],
)
def test_filters(alice: Trader, side: str, quantity: str, price: str | None, code: int) -> None:
    assert alice.no_order(side, quantity, price) == code


def test_conditional_types_are_sent_elsewhere(alice: Trader) -> None:
    assert alice.no_order("SELL", "0.010", type="STOP_MARKET", stopPrice="95000") == -4120
    assert alice.no_order("SELL", "0.010", type="PEGGED") == -1116


def test_client_order_ids_are_unique_among_open_orders(alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000", newClientOrderId="mine")
    assert alice.no_order("BUY", "0.010", "99000", newClientOrderId="mine") == -4116
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId="mine")["orderId"] == order["orderId"]
    alice.delete("order", symbol="BTCUSDT", origClientOrderId="mine")
    assert alice.order("BUY", "0.010", "99000", newClientOrderId="mine")["orderId"] != order["orderId"]
    assert alice.no_order("BUY", "0.010", "99000", newClientOrderId="x" * 37) == -4015


def test_two_hundred_open_orders_are_the_most(at: Floor, alice: Trader) -> None:
    for _ in range(200):
        alice.order("BUY", "0.002", "95000")
    assert alice.no_order("BUY", "0.002", "95000") == -2025


def test_a_market_order_goes_no_further_than_its_bound_around_the_mark_price() -> None:
    at = floor(contracts=[replace(DEFAULT_CONTRACTS[0], market_take_bound=D("0.03"))])
    alice = Trader(at)
    # The mark is 96500: three per cent above it is 99395, below the ask, and five per cent are allowed.
    market_of(at).set_basis("BTCUSDT", D(-3500), at.now_ms)
    order = alice.order("BUY", "0.010", newOrderRespType="RESULT")
    assert (order["status"], order["executedQty"]) == ("EXPIRED", "0.000")


def test_a_market_order_is_refused_when_the_best_price_is_outside_the_filter(at: Floor, alice: Trader) -> None:
    market_of(at).set_basis("BTCUSDT", D(-5100), at.now_ms)
    assert alice.no_order("BUY", "0.010") == -4131
    market_of(at).set_basis("BTCUSDT", D(5300), at.now_ms)
    assert alice.no_order("SELL", "0.010") == -4131


# -- reduce-only and hedge mode -----------------------------------------------------------------------------------


def test_reduce_only_is_cut_to_the_position_and_refused_without_one(alice: Trader) -> None:
    assert alice.no_order("SELL", "0.010", reduceOnly="true") == -2022
    alice.order("BUY", "0.010")
    assert alice.no_order("BUY", "0.010", "99000", reduceOnly="true") == -2022
    order = alice.order("SELL", "0.030", "101000", reduceOnly="true")
    assert order["origQty"] == "0.010"
    assert alice.no_order("SELL", "0.010", "101000", reduceOnly="true") == -2022


def test_a_better_reduce_only_order_pushes_the_other_out_with_reason_four(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    far = alice.order("SELL", "0.010", "103000", reduceOnly="true")
    link = alice.listen()
    alice.order("SELL", "0.010", "101000", reduceOnly="true")
    assert states(at, link) == [("NEW", "NEW", "0"), ("EXPIRED", "EXPIRED", "4")]
    assert alice.seen(far["orderId"])["status"] == "EXPIRED"


def test_reduce_only_orders_that_no_longer_fit_the_position_go(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    resting = alice.order("SELL", "0.010", "101000", reduceOnly="true")
    alice.order("SELL", "0.004")
    assert alice.seen(resting["orderId"])["status"] == "EXPIRED"
    assert alice.amount() == D("0.006")


def test_hedge_mode_keeps_long_and_short_apart(at: Floor, alice: Trader) -> None:
    alice.post("positionSide/dual", dualSidePosition="true")
    assert alice.no_order("BUY", "0.010") == -4061
    alice.order("BUY", "0.020", positionSide="LONG")
    alice.order("SELL", "0.010", positionSide="SHORT")
    assert (alice.amount(side="LONG"), alice.amount(side="SHORT")) == (D("0.020"), D("-0.010"))
    assert alice.no_order("SELL", "0.010", positionSide="LONG", reduceOnly="true") == -1106
    assert alice.no_order("SELL", "0.030", positionSide="LONG") == -2022
    alice.order("SELL", "0.020", positionSide="LONG")
    assert (alice.amount(side="LONG"), alice.amount(side="SHORT")) == (0, D("-0.010"))
    at.exchange.check_books()


def test_a_position_side_does_not_belong_into_one_way_mode(alice: Trader) -> None:
    assert alice.no_order("BUY", "0.010", positionSide="LONG") == -4061
    assert alice.no_order("BUY", "0.010", positionSide="UP") == -4060
    assert alice.order("BUY", "0.010", positionSide="BOTH")["positionSide"] == "BOTH"


# -- self-trades and matched prices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
    ],
)
def test_self_trade_prevention(at: Floor, alice: Trader, mode: str, maker: str, taker: str) -> None:
    resting = alice.order("SELL", "0.010", "100000.1")
    taking = alice.order("BUY", "0.010", "100000.1", selfTradePreventionMode=mode)
    assert [alice.seen(order["orderId"])["status"] for order in (resting, taking)] == [maker, taker]
    at.exchange.check_books()


def test_an_order_cannot_ask_to_trade_with_itself(alice: Trader) -> None:
    assert alice.no_order("BUY", "0.010", selfTradePreventionMode="NONE") == -5039


def test_matched_prices_come_from_the_book(at: Floor, alice: Trader, bob: Trader) -> None:
    bob.order("BUY", "0.010", "99000")
    queue = alice.order("BUY", "0.010", type="LIMIT", timeInForce="GTX", priceMatch="QUEUE")
    assert (queue["price"], queue["priceMatch"]) == ("99999.90", "QUEUE")
    opponent = alice.order("BUY", "0.010", type="LIMIT", timeInForce="GTC", priceMatch="OPPONENT")
    assert alice.seen(opponent["orderId"])["status"] == "FILLED"
    wish = {"type": "LIMIT", "timeInForce": "GTC"}
    assert alice.no_order("BUY", "0.010", priceMatch="OPPONENT_5", **wish) == -5041
    assert alice.no_order("BUY", "0.010", priceMatch="OPPONENT_10", **wish) == -5037
    assert alice.no_order("BUY", "0.010", "99000", priceMatch="QUEUE") == -1106
    assert alice.no_order("BUY", "0.010", priceMatch="QUEUE") == -5038


def test_the_deeper_matches_can_be_switched_on() -> None:
    alice = Trader(floor(rules=Undocumented(opponent_depths="all")))
    assert alice.no_order("BUY", "0.010", priceMatch="OPPONENT_10", type="LIMIT", timeInForce="GTC") == -5041


# -- modification -------------------------------------------------------------------------------------------------


def modify(alice: Trader, order: Any, price: str, quantity: str, **more: object) -> dict[str, object]:
    return {"symbol": "BTCUSDT", "orderId": order["orderId"], "side": order["side"], "price": price,
            "quantity": quantity} | more  # fmt: skip


def test_a_modified_order_has_its_new_price_and_goes_to_the_back(at: Floor, alice: Trader, bob: Trader) -> None:
    first = alice.order("BUY", "0.010", "99000")
    at.now_ms += 1
    second = bob.order("BUY", "0.010", "99000")
    at.now_ms += 1
    link = alice.listen()
    answer = alice.put("order", **modify(alice, first, "99000", "0.020", modifyId=7))
    assert (answer["origQty"], answer["status"]) == ("0.020", "NEW")
    (event,) = at.heard(link)
    assert (event["o"]["x"], event["o"]["q"], event["o"]["M"]) == ("AMENDMENT", "0.02", 7)
    at.tick("98999.9", liquidity="0.010")
    assert bob.seen(second["orderId"])["status"] == "FILLED"
    assert alice.seen(first["orderId"])["status"] == "NEW"
    (amendment,) = alice.get("orderAmendment", symbol="BTCUSDT", orderId=first["orderId"])
    assert amendment["amendment"]["origQty"] == {"before": "0.010", "after": "0.020"}


def test_a_refused_modification_leaves_the_order_as_it_was(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000")
    assert alice.refused("PUT", "order", **modify(alice, order, "99000", "0.010")) == -5027
    assert alice.refused("PUT", "order", **modify(alice, order, "99000.05", "0.010")) == -4014
    assert alice.refused("PUT", "order", **modify(alice, order, "99000", "30")) == -2019
    assert alice.refused("PUT", "order", **modify(alice, order, "99000", "0.020", reduceOnly="true")) == -5047
    assert alice.refused("PUT", "order", symbol="BTCUSDT", orderId=order["orderId"], side="BUY", price="99") == -1102
    seen = alice.seen(order["orderId"])
    assert (seen["price"], seen["origQty"], seen["status"]) == ("99000.00", "0.010", "NEW")


def test_a_modification_cancels_a_post_only_order_that_would_take(alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000", timeInForce="GTX")
    assert alice.put("order", **modify(alice, order, "100001", "0.010"))["status"] == "CANCELED"


def test_a_modification_to_what_is_filled_already_cancels_the_order(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000")
    at.tick("98999", liquidity="0.004")
    assert alice.put("order", **modify(alice, order, "99000", "0.004"))["status"] == "CANCELED"
    assert alice.amount() == D("0.004")


def test_a_modification_may_make_an_order_take(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000")
    alice.put("order", **modify(alice, order, "100001", "0.010"))
    assert alice.seen(order["orderId"])["status"] == "FILLED"
    at.exchange.check_books()


# -- batches and countdown ----------------------------------------------------------------------------------------


def test_a_batch_answers_each_wish_in_order_by_an_order_or_a_refusal(alice: Trader) -> None:
    wishes = [alice.wish("BUY", "0.010", "99000"), alice.wish("BUY", "0.0001", "99000"), alice.wish("SELL", "0.010")]
    response = alice.call("POST", "batchOrders", batchOrders=json.dumps(wishes))
    assert response.status == 200
    first, second, third = json.loads(response.body)
    assert (first["status"], second["code"], third["type"]) == ("NEW", -4004, "MARKET")
    assert (response.headers["X-MBX-ORDER-COUNT-10S"], response.headers["X-MBX-ORDER-COUNT-1M"]) == ("5", "1")
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == "5"
    assert alice.refused("POST", "batchOrders", batchOrders=json.dumps(wishes * 2)) == -4082
    changed = alice.put("batchOrders", batchOrders=json.dumps([modify(alice, first, "98000", "0.020"), {}]))
    assert (changed[0]["price"], changed[1]["code"]) == ("98000.00", -1102)
    gone = alice.delete("batchOrders", symbol="BTCUSDT", orderIdList=json.dumps([first["orderId"], 77]))
    assert (gone[0]["status"], gone[1]["code"]) == ("CANCELED", -2011)


def test_batches_are_cancelled_by_names_as_clients_write_them(alice: Trader) -> None:
    for name in ("one", "two", "three", "four"):
        alice.order("BUY", "0.010", "99000", newClientOrderId=name)
    gone = alice.delete("batchOrders", symbol="BTCUSDT", origclientorderidlist="[one,two]")
    gone += alice.delete("batchOrders", symbol="BTCUSDT", origClientOrderIdList='["three"]')
    gone += alice.delete("batchOrders", symbol="BTCUSDT", orderidlist="[4]")
    assert [order["status"] for order in gone] == ["CANCELED"] * 4
    assert alice.refused("DELETE", "batchOrders", symbol="BTCUSDT", orderIdList="[4") == -1130
    assert alice.refused("DELETE", "batchOrders", symbol="BTCUSDT") == -1102


def test_the_countdown_cancels_unless_it_is_renewed(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000")
    assert alice.post("countdownCancelAll", symbol="BTCUSDT", countdownTime=2000) == {
        "symbol": "BTCUSDT", "countdownTime": "2000",
    }  # fmt: skip
    at.now_ms += 1500
    alice.post("countdownCancelAll", symbol="BTCUSDT", countdownTime=2000)
    at.now_ms += 1500
    assert alice.seen(order["orderId"])["status"] == "NEW"
    at.now_ms += 500
    assert alice.seen(order["orderId"])["status"] == "CANCELED"
    order = alice.order("BUY", "0.010", "99000")
    alice.post("countdownCancelAll", symbol="BTCUSDT", countdownTime=2000)
    alice.post("countdownCancelAll", symbol="BTCUSDT", countdownTime=0)
    at.now_ms += 5000
    assert alice.seen(order["orderId"])["status"] == "NEW"


def test_order_counts_never_fall_and_refuse_the_three_hundred_and_first(at: Floor, alice: Trader) -> None:
    for _ in range(300):
        alice.call("POST", "order", **alice.wish("BUY", "0.0001", "99000"))
    response = alice.call("POST", "order", **alice.wish("BUY", "0.010", "99000"))
    assert response.status == 429
    assert json.loads(response.body)["code"] == -1015
    assert response.headers["Retry-After"] == "9"
    ten_seconds, minute = alice.get("rateLimit/order")
    assert (ten_seconds["count"], minute["count"], minute["limit"]) == (300, 300, 1200)


# -- queries ------------------------------------------------------------------------------------------------------


def test_open_orders_and_all_orders(at: Floor, alice: Trader) -> None:
    at.tick("3000", symbol="ETHUSDT")
    resting = alice.order("BUY", "0.010", "99000")
    filled = alice.order("BUY", "0.010")
    other = alice.order("BUY", "0.100", "2900", symbol="ETHUSDT")
    assert [order["orderId"] for order in alice.get("openOrders")] == [resting["orderId"], other["orderId"]]
    assert [order["orderId"] for order in alice.get("openOrders", symbol="BTCUSDT")] == [resting["orderId"]]
    assert alice.get("openOrder", symbol="BTCUSDT", orderId=resting["orderId"])["status"] == "NEW"
    assert alice.refused("GET", "openOrder", symbol="BTCUSDT", orderId=filled["orderId"]) == -2013
    assert len(alice.get("allOrders")) == 3
    assert [o["orderId"] for o in alice.get("allOrders", symbol="BTCUSDT", limit=1)] == [filled["orderId"]]
    assert alice.refused("GET", "allOrders", symbol="BTCUSDT", startTime=1, endTime=604_800_002) == -4165
    alice.delete("allOpenOrders", symbol="BTCUSDT")
    assert [order["orderId"] for order in alice.get("openOrders")] == [other["orderId"]]


def test_orders_without_a_fill_are_forgotten_after_three_days(at: Floor, alice: Trader) -> None:
    order = alice.order("BUY", "0.010", "99000")
    alice.delete("order", symbol="BTCUSDT", orderId=order["orderId"])
    filled = alice.order("BUY", "0.010")
    at.now_ms += 3 * 86_400_000
    assert alice.refused("GET", "order", symbol="BTCUSDT", orderId=order["orderId"]) == -2013
    assert alice.seen(filled["orderId"])["status"] == "FILLED"


def test_trades_by_order_by_id_and_by_time(at: Floor, alice: Trader) -> None:
    first = alice.order("BUY", "0.010")
    at.now_ms += 1000
    second = alice.order("SELL", "0.010")
    trades = alice.get("userTrades", symbol="BTCUSDT")
    assert [trade["orderId"] for trade in trades] == [first["orderId"], second["orderId"]]
    assert alice.get("userTrades", symbol="BTCUSDT", orderId=first["orderId"]) == trades[:1]
    assert alice.get("userTrades", symbol="BTCUSDT", fromId=trades[1]["id"]) == trades[1:]
    assert alice.get("userTrades", symbol="BTCUSDT", startTime=at.now_ms) == trades[1:]
    assert alice.refused("GET", "userTrades", symbol="BTCUSDT", fromId=1, startTime=1) == -1128
    assert (trades[1]["realizedPnl"], trades[1]["side"], trades[1]["buyer"]) == ("-0.00200000", "SELL", False)


def test_an_order_test_places_nothing(alice: Trader) -> None:
    assert alice.post("order/test", **alice.wish("BUY", "0.010")) == {}
    assert alice.refused("POST", "order/test", **alice.wish("BUY", "0.0001")) == -4004
    assert alice.get("allOrders") == []
