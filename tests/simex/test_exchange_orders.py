"""Single orders: types, fills, stops, filters, cancels and queries."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.venue import DEFAULT_INSTRUMENTS, HttpRequest
from tests.simex.wire import ALICE, PATIENT, SHARP, Client, Floor, accepted, floor, secret_of, sign

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal


def limit(quantity: str, price: str, tif: str = "GTC") -> dict[str, str]:
    return {"type": "LIMIT", "timeInForce": tif, "quantity": quantity, "price": price}


def kinds(events: list[Any]) -> list[tuple[str, ...]]:
    return [(e["x"], e["X"]) if e["e"] == "executionReport" else (e["e"],) for e in events]


def test_market_buy_pays_half_spread_and_slippage_and_its_fee_in_what_it_gets() -> None:
    at = floor()
    at.tick("60000")
    alice = Client(at)
    answer = alice.buy(type="MARKET", quantity="0.01000")
    # 60006 plus 2 bps is 60018.0012, rounded up to the tick.
    assert answer["status"] == "FILLED"
    assert answer["fills"] == [
        {"price": "60018.01000000", "qty": "0.01000000", "commission": "0.00001000", "commissionAsset": "BTC",
         "tradeId": answer["fills"][0]["tradeId"]},
    ]  # fmt: skip
    assert alice.balance("BTC") == (D("10.00999"), 0)
    assert alice.balance("USDT") == (D("100000") - D("600.1801"), 0)
    at.exchange.check_books()


def test_market_sell_gets_the_bid_less_slippage() -> None:
    at = floor()
    at.tick("60000")
    answer = Client(at).sell(type="MARKET", quantity="0.01", newOrderRespType="FULL")
    # 59994 less 2 bps is 59982.0012, rounded down to the tick.
    assert answer["fills"][0]["price"] == "59982.00000000"
    assert answer["fills"][0]["commission"] == "0.59982000"
    assert answer["fills"][0]["commissionAsset"] == "USDT"


def test_fee_is_rounded_up_at_the_eighth_decimal(at: Floor, alice: Client) -> None:
    alice.sell(type="MARKET", quantity="0.00013")
    (trade,) = alice.get("myTrades", symbol="BTCUSDT")
    # 59999.99 × 0.00013 × 0.001 = 0.0077999987, which is more than 0.00779999.
    assert trade["commission"] == "0.00780000"


def test_market_buy_rest_expires_when_the_liquidity_is_used_up(at: Floor, alice: Client) -> None:
    link = alice.listen()
    at.tick("60000", liquidity="0.003")
    answer = alice.buy(type="MARKET", quantity="0.01")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.00300000")
    assert answer["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    events = alice.events(link)
    assert kinds(events) == [
        ("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED"), ("outboundAccountPosition",),
    ]  # fmt: skip
    assert events[2]["eR"] == "INSUFFICIENT_LIQUIDITY"
    assert alice.balance("USDT")[1] == 0


def test_market_sell_rest_expires_and_gives_back_what_it_locked(at: Floor, alice: Client) -> None:
    at.tick("60000", liquidity="0.4")
    answer = alice.sell(type="MARKET", quantity="1")
    told = (answer["status"], answer["executedQty"], answer["expiryReason"])
    assert told == ("EXPIRED", "0.40000000", "INSUFFICIENT_LIQUIDITY")
    assert alice.balance("BTC") == (D("9.6"), 0)
    answer = alice.sell(type="MARKET", quantity="1")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.00000000")
    at.exchange.check_books()


def test_market_sell_rest_waits_in_a_patient_model_and_goes_on_over_several_ticks() -> None:
    at = floor(model=PATIENT)
    alice = Client(at)
    at.tick("60000", liquidity="0.4")
    answer = alice.sell(type="MARKET", quantity="1")
    assert (answer["status"], answer["executedQty"]) == ("PARTIALLY_FILLED", "0.40000000")
    assert not at.exchange.is_idle("BTCUSDT")
    at.tick("59000", liquidity="0.4")
    at.tick("58000", liquidity="0.4")
    order = alice.order(answer["orderId"])
    assert (order["status"], order["executedQty"]) == ("FILLED", "1.00000000")
    prices = [(trade["price"], trade["qty"], trade["isMaker"]) for trade in alice.get("myTrades", symbol="BTCUSDT")]
    assert prices == [
        ("59999.99000000", "0.40000000", False), ("58999.99000000", "0.40000000", False),
        ("57999.99000000", "0.20000000", False),
    ]  # fmt: skip
    assert at.exchange.is_idle("BTCUSDT")


def test_quote_amount_buys_the_nearest_quantity_that_fits_the_lot(at: Floor, alice: Client) -> None:
    answer = alice.buy(type="MARKET", quoteOrderQty="100")
    assert answer["origQuoteOrderQty"] == "100.00000000"
    assert answer["executedQty"] == "0.00166000"
    assert answer["status"] == "FILLED"
    assert alice.balance("USDT") == (D(100_000) - D("0.00166") * D("60000.01"), 0)


def test_quote_amount_below_one_lot_finds_no_liquidity() -> None:
    at = floor(balances={"SOL": D(10)}, model=SHARP)
    at.tick("6000", symbol="SOLUSDT")
    refused = Client(at).refused("POST", "order", symbol="SOLUSDT", side="SELL", type="MARKET", quoteOrderQty="5.5")
    assert refused == (-2010, "Order book liquidity is less than LOT_SIZE filter minimum quantity.")


def test_limit_rests_locks_and_fills_only_when_the_price_goes_through(at: Floor, alice: Client) -> None:
    link = alice.listen()
    order_id = alice.buy(**limit("0.01", "59000"))["orderId"]
    assert alice.balance("USDT") == (D(99_410), D(590))
    at.tick("59000")
    assert alice.order(order_id)["status"] == "NEW", "touched is not through"
    at.tick("58999.99")
    order = alice.order(order_id)
    assert (order["status"], order["cummulativeQuoteQty"]) == ("FILLED", "590.00000000")
    (trade,) = alice.get("myTrades", symbol="BTCUSDT")
    assert (trade["price"], trade["isMaker"]) == ("59000.00000000", True)
    events = alice.events(link)
    assert kinds(events) == [
        ("NEW", "NEW"), ("outboundAccountPosition",), ("TRADE", "FILLED"), ("outboundAccountPosition",),
    ]  # fmt: skip
    assert events[0]["w"] is True
    assert events[0]["W"] == order["time"]
    assert events[2]["m"] is True
    assert events[1]["B"] == [{"a": "USDT", "f": "99410.00000000", "l": "590.00000000"}]


def test_sell_limit_fills_only_when_passed(at: Floor, alice: Client) -> None:
    order_id = alice.sell(**limit("0.01", "61000"))["orderId"]
    at.tick("61000")
    assert alice.order(order_id)["status"] == "NEW"
    at.tick("61000.01")
    assert alice.order(order_id)["status"] == "FILLED"


def test_resting_order_fills_piece_by_piece_with_the_liquidity(at: Floor, alice: Client) -> None:
    order_id = alice.buy(**limit("1", "59000"))["orderId"]
    for executed in ("0.30000000", "0.60000000", "0.90000000", "1.00000000"):
        at.tick("58000", liquidity="0.300004")
        assert alice.order(order_id)["executedQty"] == executed
    assert alice.order(order_id)["cummulativeQuoteQty"] == "59000.00000000"
    ids = [trade["id"] for trade in alice.get("myTrades", symbol="BTCUSDT")]
    assert ids == sorted(set(ids))
    at.exchange.check_books()


def test_marketable_limit_takes_below_its_limit_and_frees_the_difference(at: Floor, alice: Client) -> None:
    answer = alice.buy(**limit("0.01", "60500"))
    assert answer["fills"][0]["price"] == "60000.01000000"
    assert alice.balance("USDT") == (D(100_000) - D("600.0001"), 0)


def test_limit_between_quote_and_slippage_fills_at_the_limit() -> None:
    at = floor()
    at.tick("60000")
    assert Client(at).buy(**limit("0.01", "60010"))["fills"][0]["price"] == "60010.00000000"


def test_takers_rest_goes_on_taking_while_its_limit_reaches_the_quote(at: Floor, alice: Client) -> None:
    at.tick("60000", liquidity="0.1")
    order_id = alice.buy(**limit("0.3", "60100"))["orderId"]
    at.tick("60050", liquidity="0.1")
    at.tick("60200", liquidity="5")
    assert alice.order(order_id)["executedQty"] == "0.20000000", "the market left: it rests now"
    at.tick("60000", liquidity="5")
    trades = [(trade["price"], trade["isMaker"]) for trade in alice.get("myTrades", symbol="BTCUSDT")]
    assert trades == [("60000.01000000", False), ("60050.01000000", False), ("60100.00000000", True)]


@pytest.mark.parametrize(
    ("tif", "liquidity", "executed", "reason"),
    [
        ("IOC", "0.1", "0.10000000", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("FOK", "0.1", "0.00000000", "UNFILLED_FOK_ORDER_EXPIRED"),
        ("FOK", "0.3", "0.30000000", None),
    ],
)
def test_time_in_force_decides_about_the_rest(
    at: Floor, alice: Client, tif: str, liquidity: str, executed: str, reason: str | None
) -> None:
    at.tick("60000", liquidity=liquidity)
    answer = alice.buy(**limit("0.3", "60100", tif))
    assert answer["executedQty"] == executed
    assert answer["status"] == ("FILLED" if reason is None else "EXPIRED")
    assert answer.get("expiryReason") == reason
    assert alice.balance("USDT")[1] == 0
    assert alice.order(answer["orderId"])["status"] == answer["status"], "an expired order is kept"


def test_post_only_order_that_would_take_is_refused_and_not_kept(at: Floor, alice: Client) -> None:
    refused = alice.refused(
        "POST", "order", symbol="BTCUSDT", side="BUY", type="LIMIT_MAKER", quantity="0.01", price="60000.01"
    )
    assert refused == (-2010, "Order would immediately match and take.")
    assert alice.get("allOrders", symbol="BTCUSDT") == []
    assert alice.buy(type="LIMIT_MAKER", quantity="0.01", price="60000").keys() == {
        "symbol", "orderId", "orderListId", "clientOrderId", "transactTime",
    }  # fmt: skip


@pytest.mark.spec("SIM-1")
def test_clients_meet_by_price_then_time_at_the_makers_price(at: Floor, alice: Client, bob: Client) -> None:
    at.tick("60000", liquidity="0")
    late = alice.sell(**limit("0.1", "60000.01"), newClientOrderId="worse")
    second = alice.sell(**limit("0.1", "60000"), newClientOrderId="later")
    assert second["status"] == "NEW"
    at.tick("59990", liquidity="0")
    first = alice.sell(**limit("0.1", "59995"), newClientOrderId="better")
    answer = bob.buy(**limit("0.25", "60001"))
    assert [(fill["price"], fill["qty"]) for fill in answer["fills"]] == [
        ("59995.00000000", "0.10000000"), ("60000.00000000", "0.10000000"), ("60000.01000000", "0.05000000"),
    ]  # fmt: skip
    assert alice.order(first["orderId"])["status"] == "FILLED"
    assert alice.order(late["orderId"])["executedQty"] == "0.05000000"
    mine = alice.get("myTrades", symbol="BTCUSDT")
    assert [trade["id"] for trade in mine] == [fill["tradeId"] for fill in answer["fills"]]
    assert all(trade["isMaker"] for trade in mine)
    at.exchange.check_books()


def test_equal_prices_are_served_in_the_order_of_their_arrival(at: Floor, alice: Client, bob: Client) -> None:
    older = alice.buy(**limit("0.1", "59000"))["orderId"]
    newer = bob.buy(**limit("0.1", "59000"))["orderId"]
    at.tick("58999", liquidity="0.15")
    assert alice.order(older)["executedQty"] == "0.10000000"
    assert bob.order(newer)["executedQty"] == "0.05000000"


@pytest.mark.parametrize(
    ("mode", "resting", "taking"),
    [("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"), ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
     ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"), ("NONE", "FILLED", "FILLED")],
)  # fmt: skip
def test_own_orders_do_not_meet(at: Floor, alice: Client, mode: str, resting: str, taking: str) -> None:
    link = alice.listen()
    maker = alice.sell(**limit("0.1", "60000.01"))["orderId"]
    taker = alice.buy(**limit("0.1", "60000.01"), selfTradePreventionMode=mode)["orderId"]
    assert alice.order(maker)["status"] == resting
    assert alice.order(taker)["status"] == taking
    prevented = sum(event.get("x") == "TRADE_PREVENTION" for event in alice.events(link))
    assert prevented == [resting, taking].count("EXPIRED_IN_MATCH")
    at.exchange.check_books()


def test_stop_loss_waits_off_the_book_and_fires_at_the_print_that_reaches_it(at: Floor, alice: Client) -> None:
    link = alice.listen()
    order_id = alice.sell(type="STOP_LOSS", quantity="0.01", stopPrice="59000")["orderId"]
    order = alice.order(order_id)
    assert (order["isWorking"], order["workingTime"]) == (False, -1)
    assert at.exchange.stop_side("BTCUSDT") == -1
    at.tick("59000.01")
    assert alice.order(order_id)["status"] == "NEW"
    at.tick("59000")
    (trade,) = alice.get("myTrades", symbol="BTCUSDT")
    assert (trade["price"], trade["isMaker"]) == ("58999.99000000", False)
    assert at.exchange.stop_side("BTCUSDT") == 0
    events = alice.events(link)
    assert kinds(events) == [
        ("NEW", "NEW"), ("outboundAccountPosition",),
        ("NEW", "NEW"), ("TRADE", "FILLED"), ("outboundAccountPosition",),
    ]  # fmt: skip
    assert (events[0]["w"], "W" in events[0], events[2]["w"]) == (False, False, True)


def test_stop_that_the_market_jumps_over_fills_at_that_print(at: Floor, alice: Client) -> None:
    alice.sell(type="STOP_LOSS", quantity="0.01", stopPrice="59000")
    at.tick("55000")
    assert alice.get("myTrades", symbol="BTCUSDT")[0]["price"] == "54999.99000000"


def test_triggered_stop_takes_what_there_is_and_its_rest_expires(at: Floor, alice: Client) -> None:
    order_id = alice.sell(type="STOP_LOSS", quantity="1", stopPrice="59000")["orderId"]
    at.tick("58000", liquidity="0.4")
    order = alice.order(order_id)
    told = (order["status"], order["executedQty"], order["expiryReason"])
    assert told == ("EXPIRED", "0.40000000", "INSUFFICIENT_LIQUIDITY")
    assert alice.balance("BTC") == (D("9.6"), 0)


def test_triggered_stop_waits_for_more_in_a_patient_model() -> None:
    at = floor(model=PATIENT)
    at.tick("60000")
    alice = Client(at)
    order_id = alice.sell(type="STOP_LOSS", quantity="1", stopPrice="59000")["orderId"]
    at.tick("58000", liquidity="0.4")
    assert alice.order(order_id)["status"] == "PARTIALLY_FILLED"
    at.tick("58500", liquidity="4")
    assert alice.order(order_id)["status"] == "FILLED"


@pytest.mark.parametrize(
    ("side", "kind", "stop", "before", "at_it", "price"),
    [("BUY", "STOP_LOSS", "61000", "60999.99", "61000", "61000.01"),
     ("SELL", "TAKE_PROFIT", "61000", "60999.99", "61000", "60999.99"),
     ("BUY", "TAKE_PROFIT", "59000", "59000.01", "59000", "59000.01")],
)  # fmt: skip
def test_stops_compare_with_the_last_price_on_their_side(
    at: Floor, alice: Client, side: str, kind: str, stop: str, before: str, at_it: str, price: str
) -> None:
    alice.post("order", symbol="BTCUSDT", side=side, type=kind, quantity="0.01", stopPrice=stop)
    at.tick(before)
    assert alice.get("myTrades", symbol="BTCUSDT") == []
    at.tick(at_it)
    assert D(alice.get("myTrades", symbol="BTCUSDT")[0]["price"]) == D(price)
    at.exchange.check_books()


def test_stop_limit_becomes_a_limit_order(at: Floor, alice: Client) -> None:
    order_id = alice.sell(type="STOP_LOSS_LIMIT", timeInForce="GTC", quantity="0.01", stopPrice="59000", price="58990")[
        "orderId"
    ]
    at.tick("58000")
    order = alice.order(order_id)
    assert (order["status"], order["isWorking"]) == ("NEW", True), "jumped over: the limit is not reached"
    at.tick("58990.01")
    assert alice.order(order_id)["status"] == "FILLED"


def test_triggered_buy_stop_without_the_money_expires_as_rejected() -> None:
    at = floor(balances={"USDT": D(620)}, model=SHARP)
    at.tick("60000")
    alice = Client(at)
    order_id = alice.buy(type="STOP_LOSS", quantity="0.01", stopPrice="61000")["orderId"]
    at.tick("63000")
    order = alice.order(order_id)
    assert (order["status"], order["expiryReason"]) == ("EXPIRED", "REJECTED")
    assert alice.balance("USDT") == (620, 0)


def test_stop_on_the_wrong_side_would_trigger_immediately(alice: Client) -> None:
    refused = alice.refused(
        "POST", "order", symbol="BTCUSDT", side="SELL", type="STOP_LOSS", quantity="0.01", stopPrice="60000"
    )
    assert refused == (-2010, "Order would trigger immediately.")


REFUSED = [
    ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
    ({"side": "HOLD"}, -1117, "Invalid side."),
    ({"type": "WISH"}, -1116, "Invalid orderType."),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
    ({"price": None}, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
    ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
    ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
    ({"type": "MARKET", "price": None}, -1106, "Parameter 'timeInForce' sent when not required."),
    ({"quantity": "1e-3"}, -1100, None),
    ({"quantity": "0"}, -1013, "Invalid quantity."),
    ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
    ({"newClientOrderId": "not allowed"}, -1100, None),
    ({"newOrderRespType": "MORE"}, -1100, None),
    ({"strategyType": "5"}, -1134, None),
    ({"selfTradePreventionMode": "PERHAPS"}, -1013,
     "This symbol does not allow the specified self-trade prevention mode."),
    ({"price": "59000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "1"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0.010001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "9001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
    ({"type": "MARKET", "price": None, "timeInForce": None, "quantity": "121"}, -1013,
     "Filter failure: MARKET_LOT_SIZE"),
    ({"quantity": "2"}, -2010, "Account has insufficient balance for requested action."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "text"), REFUSED, ids=str)
def test_bad_orders_are_refused_with_code_and_text(
    at: Floor, alice: Client, change: dict[str, str | None], code: int, text: str | None
) -> None:
    wish = {"symbol": "BTCUSDT", "side": "BUY", **limit("0.01", "59000"), **change}
    found = alice.refused("POST", "order", **wish)
    assert found[0] == code
    assert text is None or found[1] == text
    assert alice.get("openOrders") == []
    at.exchange.check_books()


def test_open_order_counts_are_filtered(alice: Client) -> None:
    for number in range(5):
        alice.sell(type="STOP_LOSS", quantity="0.001", stopPrice=str(50_000 + number))
    refused = alice.refused(
        "POST", "order", symbol="BTCUSDT", side="SELL", type="STOP_LOSS", quantity="0.001", stopPrice="50010"
    )
    assert refused == (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
    assert alice.sell(**limit("0.001", "61000"))["status"] == "NEW"


def test_order_test_checks_and_places_nothing(alice: Client) -> None:
    wish = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
    assert alice.post("order/test", **wish, quantity="0.01") == {}
    rates = alice.post("order/test", **wish, quantity="0.01", computeCommissionRates="true")
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert alice.refused("POST", "order/test", **wish, quantity="0.00001")[1] == "Filter failure: NOTIONAL"
    assert alice.get("allOrders", symbol="BTCUSDT") == []


def test_client_id_is_unique_among_open_orders_only(alice: Client, bob: Client) -> None:
    mine = {"newClientOrderId": "mine-1"}
    first = alice.buy(**limit("0.01", "59000"), **mine)
    wish = {"symbol": "BTCUSDT", "side": "BUY", **limit("0.01", "59000"), **mine}
    assert alice.refused("POST", "order", **wish) == (-2010, "Duplicate order sent.")
    assert bob.post("order", **wish)["clientOrderId"] == "mine-1"
    alice.delete("order", symbol="BTCUSDT", origClientOrderId="mine-1")
    again = alice.post("order", **wish)
    assert again["orderId"] > first["orderId"]


def test_response_type_defaults_and_can_be_chosen(alice: Client) -> None:
    stop = {"type": "STOP_LOSS", "quantity": "0.001"}
    assert "status" not in alice.sell(**stop, stopPrice="50000")
    assert "fills" in alice.buy(**limit("0.001", "59000"))
    chosen = alice.buy(type="MARKET", quantity="0.001", newOrderRespType="RESULT")
    assert chosen["status"] == "FILLED"
    assert "fills" not in chosen
    assert alice.sell(**stop, stopPrice="50001", newOrderRespType="FULL")["fills"] == []


def test_cancel_frees_the_lock_and_names_both_ids(at: Floor, alice: Client) -> None:
    link = alice.listen()
    order_id = alice.buy(**limit("0.01", "59000"), newClientOrderId="order-1")["orderId"]
    answer = alice.delete("order", symbol="BTCUSDT", orderId=order_id, newClientOrderId="cancel-1")
    assert (answer["status"], answer["origClientOrderId"], answer["clientOrderId"]) == (
        "CANCELED",
        "order-1",
        "cancel-1",
    )
    assert alice.balance("USDT") == (100_000, 0)
    event = alice.events(link)[-2]
    assert (event["x"], event["c"], event["C"]) == ("CANCELED", "cancel-1", "order-1")
    assert alice.order(order_id)["clientOrderId"] == "order-1"


def test_partly_filled_order_can_be_cancelled_and_keeps_its_fill(at: Floor, alice: Client) -> None:
    order_id = alice.buy(**limit("1", "59000"))["orderId"]
    at.tick("58000", liquidity="0.25")
    answer = alice.delete("order", symbol="BTCUSDT", orderId=order_id)
    assert (answer["status"], answer["executedQty"]) == ("CANCELED", "0.25000000")
    assert alice.balance("USDT") == (D(100_000) - D("0.25") * 59_000, 0)
    at.exchange.check_books()


def test_cancel_refusals(at: Floor, alice: Client, bob: Client) -> None:
    order_id = alice.buy(**limit("0.01", "59000"))["orderId"]
    one = {"symbol": "BTCUSDT", "orderId": order_id}
    assert bob.refused("DELETE", "order", **one) == (-2011, "Unknown order sent.")
    assert alice.refused("DELETE", "order", symbol="BTCUSDT")[0] == -1102
    assert alice.refused("DELETE", "order", **one, origClientOrderId="other")[0] == -2039
    assert alice.refused("DELETE", "order", **one, cancelRestrictions="ONLY_SOME") == (
        -1145,
        "Invalid cancelRestrictions",
    )
    restricted = alice.refused("DELETE", "order", **one, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    assert restricted == (-2011, "Order was not canceled due to cancel restrictions.")
    alice.delete("order", **one, cancelRestrictions="ONLY_NEW")
    assert alice.refused("DELETE", "order", **one) == (-2011, "Unknown order sent.")
    assert alice.refused("DELETE", "openOrders", symbol="BTCUSDT") == (-2011, "Unknown order sent.")


def test_cancel_all_takes_single_orders_and_lists_of_the_symbol(at: Floor, alice: Client) -> None:
    alice.buy(**limit("0.01", "59000"))
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.01", aboveType="LIMIT_MAKER", abovePrice="61000",
        belowType="STOP_LOSS", belowStopPrice="59000",
    )  # fmt: skip
    answers = alice.delete("openOrders", symbol="BTCUSDT")
    assert [entry.get("contingencyType") for entry in answers] == [None, "OCO"]
    assert [report["status"] for report in answers[1]["orderReports"]] == ["CANCELED", "CANCELED"]
    assert alice.get("openOrders", symbol="BTCUSDT") == []


def test_queries_find_orders_or_say_that_there_is_none(at: Floor, alice: Client) -> None:
    order_id = alice.buy(**limit("0.01", "59000"), newClientOrderId="find-me")["orderId"]
    by_name = alice.get("order", symbol="BTCUSDT", origClientOrderId="find-me")
    assert by_name == alice.order(order_id)
    assert alice.get("openOrders", symbol="BTCUSDT") == [by_name] == alice.get("openOrders")
    assert alice.get("openOrders", symbol="ETHUSDT") == []
    assert alice.refused("GET", "order", symbol="BTCUSDT", orderId=999) == (-2013, "Order does not exist.")
    assert alice.refused("GET", "order", symbol="ETHUSDT", orderId=order_id) == (-2013, "Order does not exist.")
    assert alice.refused("GET", "order", symbol="BTCUSDT")[0] == -1102
    assert alice.refused("GET", "order", symbol="BTCUSDT", orderId=order_id, origClientOrderId="x")[0] == -2039


def test_all_orders_and_trades_are_paged(at: Floor, alice: Client) -> None:
    ids, times = [], []
    for _ in range(4):
        ids.append(alice.buy(type="MARKET", quantity="0.001")["orderId"])
        times.append(at.now_ms)
        at.tick("60000")

    def orders(**params: int) -> list[int]:
        return [entry["orderId"] for entry in alice.get("allOrders", symbol="BTCUSDT", **params)]

    assert orders() == ids
    assert orders(limit=2) == ids[2:]
    assert orders(orderId=ids[1], limit=2) == ids[1:3]
    assert orders(startTime=times[1], endTime=times[2]) == ids[1:3]
    assert alice.refused("GET", "allOrders", symbol="BTCUSDT", startTime=1, endTime=86_400_002)[0] == -1127

    def trades(**params: int) -> list[int]:
        return [entry["orderId"] for entry in alice.get("myTrades", symbol="BTCUSDT", **params)]

    trade_ids = [entry["id"] for entry in alice.get("myTrades", symbol="BTCUSDT")]
    assert trade_ids == sorted(set(trade_ids))
    assert trades(fromId=trade_ids[2]) == ids[2:]
    assert trades(orderId=ids[1]) == [ids[1]]
    assert trades(startTime=times[3]) == ids[3:]
    assert trades(endTime=times[1], limit=1) == [ids[1]]
    assert alice.refused("GET", "myTrades", symbol="BTCUSDT", fromId=1, startTime=1)[0] == -1128


def test_cancel_replace_reports_both_halves(at: Floor, alice: Client) -> None:
    stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "10"}
    old = alice.post("order", **stop, stopPrice="50000")["orderId"]
    moved = alice.post(
        "order/cancelReplace", **stop, stopPrice="51000", cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=old
    )
    assert (moved["cancelResult"], moved["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    again = alice.call(
        "POST", "order/cancelReplace", **stop, stopPrice="52000", cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=old
    )
    body = json.loads(again.body)
    assert (again.status, body["code"], body["data"]["newOrderResult"]) == (400, -2022, "NOT_ATTEMPTED")
    new = moved["newOrderResponse"]["orderId"]
    half = alice.call(
        "POST", "order/cancelReplace", **stop, stopPrice="60000", cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=new
    )
    body = json.loads(half.body)
    assert (half.status, body["code"]) == (409, -2021)
    assert body["data"]["newOrderResponse"] == {"code": -2010, "msg": "Order would trigger immediately."}
    assert alice.get("openOrders") == []


def test_market_order_before_the_first_price_expires_unfilled() -> None:
    alice = Client(floor())
    answer = alice.buy(type="MARKET", quantity="0.01")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.00000000")


def test_parameters_may_come_as_form_body(at: Floor) -> None:
    body = f"quantity=0.01&side=BUY&symbol=BTCUSDT&timestamp={at.now_ms}&type=MARKET"
    body += f"&signature={sign(secret_of(ALICE), body)}"
    request = HttpRequest("POST", "/api/v3/order", {"x-mbx-apikey": ALICE}, body.encode())
    assert accepted(at.exchange.rest(request, at.now_ms))["status"] == "FILLED"


def test_fill_or_kill_counts_other_clients_orders(at: Floor, alice: Client, bob: Client) -> None:
    at.tick("60000", liquidity="0.1")
    alice.sell(**limit("0.1", "60001"))
    alice.sell(**limit("0.1", "60002"))
    assert bob.buy(**limit("0.3", "60001", "FOK"))["status"] == "EXPIRED"
    answer = bob.buy(**limit("0.3", "60002", "FOK"))
    assert answer["status"] == "FILLED"
    assert [fill["price"] for fill in answer["fills"]] == ["60000.01000000", "60001.00000000", "60002.00000000"]
    at.exchange.check_books()


def test_waiting_buy_stop_that_can_no_longer_pay_expires_with_what_it_got() -> None:
    at = floor(balances={"USDT": D(620)}, model=PATIENT)
    at.tick("60000")
    alice = Client(at)
    order_id = alice.buy(type="STOP_LOSS", quantity="0.01", stopPrice="61000")["orderId"]
    at.tick("61500", liquidity="0.004")
    assert alice.order(order_id)["status"] == "PARTIALLY_FILLED"
    at.tick("70000")
    order = alice.order(order_id)
    assert (order["status"], order["executedQty"], order["expiryReason"]) == ("EXPIRED", "0.00400000", "REJECTED")
    at.exchange.check_books()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "MARKET", "quoteOrderQty": "10"}, -1128),
        ({"type": "MARKET", "quantity": None}, -1102),
        ({"type": "MARKET", "quantity": None, "quoteOrderQty": "0"}, -1013),
        ({"type": "MARKET", "quantity": None, "quoteOrderQty": "1"}, -1013),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "59000", "quoteOrderQty": "10"}, -1106),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "0"}, -1013),
        ({"type": "STOP_LOSS"}, -1102),
        ({"type": "STOP_LOSS", "stopPrice": "2000000"}, -1013),
    ],
    ids=str,
)
def test_bad_combinations_are_refused(alice: Client, change: dict[str, str | None], code: int) -> None:
    wish = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.01", **change}
    assert alice.refused("POST", "order", **wish)[0] == code


def test_open_orders_of_a_symbol_are_limited() -> None:
    at = floor(instruments=[replace(DEFAULT_INSTRUMENTS[0], max_num_orders=2)], model=SHARP)
    at.tick("60000")
    alice = Client(at)
    for _ in range(2):
        alice.buy(**limit("0.001", "59000"))
    wish = {"symbol": "BTCUSDT", "side": "BUY", **limit("0.001", "59000")}
    assert alice.refused("POST", "order", **wish) == (-1013, "Filter failure: MAX_NUM_ORDERS")


def test_seller_meets_the_highest_bid_first(at: Floor, alice: Client, bob: Client) -> None:
    for price in ("59950", "59990", "59970"):
        alice.buy(**limit("0.1", price))
    at.tick("59990", liquidity="0")
    answer = bob.sell(**limit("0.25", "59900"))
    assert [(fill["price"], fill["qty"]) for fill in answer["fills"]] == [
        ("59990.00000000", "0.10000000"), ("59970.00000000", "0.10000000"), ("59950.00000000", "0.05000000"),
    ]  # fmt: skip


def test_an_order_that_ended_unfilled_is_archived_after_ninety_days(at: Floor, alice: Client) -> None:
    """§3.4, -2026."""
    kept, gone, filled = (alice.buy(**limit("0.01", "59000"))["orderId"] for _ in range(3))
    at.tick("58000", liquidity="0.01")
    first = next(order_id for order_id in (kept, gone, filled) if alice.order(order_id)["status"] == "FILLED")
    resting, cancelled = (order_id for order_id in (kept, gone, filled) if order_id != first)
    alice.delete("order", symbol="BTCUSDT", orderId=cancelled)
    at.now_ms += 90 * 86_400_000
    assert alice.order(cancelled)["status"] == "CANCELED"
    at.now_ms += 1
    code, text = alice.refused("GET", "order", symbol="BTCUSDT", orderId=cancelled)
    assert (code, text.endswith("has been archived.")) == (-2026, True)
    assert (alice.order(first)["status"], alice.order(resting)["status"]) == ("FILLED", "NEW")
