"""Order lists: OCO, OTOCO and OPOCO from placement to their end."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.venue import DEFAULT_INSTRUMENTS
from tests.simex.wire import BOB, SHARP, Client, Floor, floor

pytestmark = [pytest.mark.spec("SIM-1", "ORD-6")]
D = Decimal
OCO = {
    "symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "listClientOrderId": "exit",
    "aboveType": "LIMIT_MAKER", "abovePrice": "61000", "aboveClientOrderId": "target",
    "belowType": "STOP_LOSS", "belowStopPrice": "59000", "belowClientOrderId": "stop",
}  # fmt: skip
WORKING = {
    "symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59900", "workingQuantity": "1",
    "workingTimeInForce": "GTC", "workingClientOrderId": "entry", "pendingSide": "SELL",
    "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "61000", "pendingAboveClientOrderId": "target",
    "pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "59000", "pendingBelowClientOrderId": "stop",
}  # fmt: skip


def told(events: list[Any]) -> list[str]:
    """Events in short: `target NEW/NEW`, `list EXEC_STARTED`, `balances`."""
    lines = []
    for event in events:
        if event["e"] == "executionReport":
            name = event["C"] or event["c"]
            reason = f" {event['eR']}" if "eR" in event else ""
            lines.append(f"{name} {event['x']}/{event['X']}{reason}")
        elif event["e"] == "listStatus":
            lines.append(f"list {event['l']}/{event['L']}")
        else:
            lines.append("balances")
    return lines


def statuses(client: Client) -> dict[str, str]:
    return {order["clientOrderId"]: order["status"] for order in client.get("allOrders", symbol="BTCUSDT")}


def test_no_list_has_the_number_of_an_order(at: Floor, alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    names = {"listClientOrderId": "exit-2", "aboveClientOrderId": "target-2", "belowClientOrderId": "stop-2"}
    answer = alice.post("orderList/oco", **OCO | names)
    for order in answer["orders"]:
        assert alice.refused("GET", "orderList", orderListId=order["orderId"])[0] == -2013
    assert alice.refused("GET", "order", symbol="BTCUSDT", orderId=answer["orderListId"])[0] == -2013


def test_oco_answers_reports_and_locks_once(at: Floor, alice: Client) -> None:
    link = alice.listen()
    answer = alice.post("orderList/oco", **OCO)
    assert (answer["contingencyType"], answer["listStatusType"], answer["listOrderStatus"]) == (
        "OCO", "EXEC_STARTED", "EXECUTING",
    )  # fmt: skip
    assert [report["status"] for report in answer["orderReports"]] == ["NEW", "NEW"]
    assert [report["workingTime"] for report in answer["orderReports"]] == [at.now_ms, -1]
    assert alice.balance("BTC") == (9, 1)
    assert told(alice.events(link)) == ["target NEW/NEW", "stop NEW/NEW", "list EXEC_STARTED/EXECUTING", "balances"]
    assert alice.get("openOrderList") == [alice.get("orderList", orderListId=answer["orderListId"])]
    assert [entry["count"] for entry in alice.get("rateLimit/order")] == [2, 2]
    at.exchange.check_books()


def test_oco_of_a_buyer_locks_the_larger_need(at: Floor, alice: Client) -> None:
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="BUY", quantity="1", aboveType="STOP_LOSS", aboveStopPrice="61000",
        belowType="LIMIT_MAKER", belowPrice="59000",
    )  # fmt: skip
    assert alice.balance("USDT") == (39_000, 61_000)
    at.tick("58000")
    assert alice.balance("USDT") == (41_000, 0)
    at.exchange.check_books()


def test_first_partial_fill_of_the_target_expires_the_stop(at: Floor, alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    link = alice.listen()
    at.tick("61001", liquidity="0.25")
    assert told(alice.events(link)) == [
        "stop EXPIRED/EXPIRED OCO_TRIGGER", "target TRADE/PARTIALLY_FILLED", "balances",
    ]  # fmt: skip
    at.tick("61001", liquidity="5")
    assert told(alice.events(link)) == ["target TRADE/FILLED", "list ALL_DONE/ALL_DONE", "balances"]
    assert alice.balance("BTC") == (9, 0)
    assert alice.get("openOrderList") == []


def test_triggered_stop_expires_the_target_and_fills_at_the_print(at: Floor, alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    link = alice.listen()
    at.tick("58000")
    assert told(alice.events(link)) == [
        "target EXPIRED/EXPIRED OCO_TRIGGER", "stop NEW/NEW", "stop TRADE/FILLED", "list ALL_DONE/ALL_DONE", "balances",
    ]  # fmt: skip
    assert alice.get("myTrades", symbol="BTCUSDT")[0]["price"] == "57999.99000000"


def test_target_touched_but_not_passed_leaves_the_list_alone(at: Floor, alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    at.tick("61000")
    assert statuses(alice) == {"target": "NEW", "stop": "NEW"}


def test_another_clients_taker_that_meets_the_target_expires_the_stop(at: Floor, alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    at.tick("60999.99", liquidity="0")
    bob = Client(at, BOB)
    bob.buy(type="LIMIT", timeInForce="IOC", quantity="0.4", price="61000")
    assert statuses(alice) == {"target": "PARTIALLY_FILLED", "stop": "EXPIRED"}
    at.exchange.check_books()


@pytest.mark.parametrize("path", ["order", "orderList"])
def test_cancelling_one_leg_or_the_list_cancels_both(at: Floor, alice: Client, path: str) -> None:
    alice.post("orderList/oco", **OCO)
    link = alice.listen()
    named = {"origClientOrderId": "stop"} if path == "order" else {"listClientOrderId": "exit"}
    answer = alice.delete(path, symbol="BTCUSDT", newClientOrderId="enough", **named)
    assert answer["listStatusType"] == "ALL_DONE"
    assert [(report["status"], report["clientOrderId"]) for report in answer["orderReports"]] == [
        ("CANCELED", "enough"), ("CANCELED", "enough"),
    ]  # fmt: skip
    assert told(alice.events(link)) == [
        "target CANCELED/CANCELED", "stop CANCELED/CANCELED", "list ALL_DONE/ALL_DONE", "balances",
    ]  # fmt: skip
    assert alice.balance("BTC") == (10, 0)
    assert alice.refused("DELETE", "orderList", symbol="BTCUSDT", listClientOrderId="exit") == (
        -2011,
        "Unknown order sent.",
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"abovePrice": "60000"}, -2010),
        ({"belowStopPrice": "60000"}, -2010),
        ({"belowType": "LIMIT_MAKER", "belowPrice": "59000", "belowStopPrice": None}, -1168),
        ({"aboveType": "STOP_LOSS", "aboveStopPrice": "61000", "abovePrice": None}, -1197),
        ({"belowType": "TAKE_PROFIT"}, -1199),
        ({"aboveType": "STOP_LOSS", "aboveStopPrice": "61000", "abovePrice": None, "side": "BUY",
          "belowType": "STOP_LOSS"}, -1196),
        ({"aboveType": "TAKE_PROFIT", "aboveStopPrice": "61000", "abovePrice": None, "side": "BUY",
          "belowType": "LIMIT_MAKER", "belowPrice": "59000", "belowStopPrice": None}, -1198),
        ({"aboveType": "LIMIT"}, -1158),
        ({"quantity": "11"}, -2010),
        ({"quantity": None}, -1102),
        ({"aboveClientOrderId": "same", "belowClientOrderId": "same"}, -2010),
    ],
    ids=str,
)  # fmt: skip
def test_bad_oco_is_refused_as_a_whole(at: Floor, alice: Client, change: dict[str, Any], code: int) -> None:
    assert alice.refused("POST", "orderList/oco", **(OCO | change))[0] == code
    assert alice.get("allOrders", symbol="BTCUSDT") == []
    assert alice.balance("BTC") == (10, 0)


def test_list_client_id_is_unique_among_open_lists(alice: Client) -> None:
    alice.post("orderList/oco", **OCO)
    other = OCO | {"aboveClientOrderId": "t2", "belowClientOrderId": "s2"}
    assert alice.refused("POST", "orderList/oco", **other) == (-2010, "Duplicate order sent.")


def test_otoco_legs_wait_until_the_entry_is_completely_filled(at: Floor, alice: Client) -> None:
    link = alice.listen()
    answer = alice.post("orderList/otoco", **WORKING, pendingQuantity="0.9")
    assert answer["contingencyType"] == "OTO"
    assert [report["status"] for report in answer["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert told(alice.events(link)) == [
        "entry NEW/NEW", "target NEW/PENDING_NEW", "stop NEW/PENDING_NEW", "list EXEC_STARTED/EXECUTING", "balances",
    ]  # fmt: skip
    assert at.exchange.stop_side("BTCUSDT") == 0
    at.tick("59800", liquidity="0.4")
    assert statuses(alice) == {"entry": "PARTIALLY_FILLED", "target": "PENDING_NEW", "stop": "PENDING_NEW"}
    assert alice.balance("BTC") == (D("10.3996"), 0)
    alice.events(link)
    at.tick("59800", liquidity="5")
    assert told(alice.events(link)) == [
        "entry TRADE/FILLED", "target NEW/NEW", "stop NEW/NEW", "list EXEC_STARTED/EXECUTING", "balances",
    ]  # fmt: skip
    assert alice.balance("BTC") == (D("10.999") - D("0.9"), D("0.9"))
    assert at.exchange.stop_side("BTCUSDT") == -1
    at.tick("58000")
    assert statuses(alice) == {"entry": "FILLED", "target": "EXPIRED", "stop": "FILLED"}
    assert told(alice.events(link))[-2:] == ["list ALL_DONE/ALL_DONE", "balances"]
    at.exchange.check_books()


def test_entry_that_fills_at_once_is_answered_with_pending_legs_that_then_go_live(at: Floor, alice: Client) -> None:
    answer = alice.post("orderList/opoco", **(WORKING | {"workingPrice": "60100"}))
    reports = answer["orderReports"]
    assert [report["status"] for report in reports] == ["FILLED", "PENDING_NEW", "PENDING_NEW"]
    assert "origQty" not in reports[1]
    assert [report["workingTime"] for report in reports[1:]] == [-1, -1]
    assert statuses(alice) == {"entry": "FILLED", "target": "NEW", "stop": "NEW"}


def test_opoco_sells_what_was_received_less_commission_in_whole_lots(at: Floor, alice: Client) -> None:
    alice.post("orderList/opoco", **(WORKING | {"workingQuantity": "0.12345"}))
    at.tick("59800", liquidity="0.1")
    # 0.1 less 0.0001 of commission stays locked while the entry is working.
    assert alice.balance("BTC") == (10, D("0.0999"))
    at.tick("59800", liquidity="1")
    legs = [order for order in alice.get("openOrders", symbol="BTCUSDT") if order["side"] == "SELL"]
    # Received: 0.0999 + (0.02345 - 0.00002345) = 0.12332655.
    assert [leg["origQty"] for leg in legs] == ["0.12332000", "0.12332000"]
    assert alice.balance("BTC") == (D("10.00000655"), D("0.12332"))
    at.tick("61001")
    assert alice.balance("BTC") == (D("10.00000655"), 0)
    assert statuses(alice) == {"entry": "FILLED", "target": "FILLED", "stop": "EXPIRED"}
    at.exchange.check_books()


def test_opoco_cancelled_after_a_partial_fill_frees_what_was_received(at: Floor, alice: Client) -> None:
    alice.post("orderList/opoco", **WORKING)
    at.tick("59800", liquidity="0.5")
    assert alice.balance("BTC") == (10, D("0.4995"))
    link = alice.listen()
    alice.delete("order", symbol="BTCUSDT", origClientOrderId="target")
    assert told(alice.events(link)) == [
        "entry CANCELED/CANCELED",
        "target CANCELED/CANCELED",
        "stop CANCELED/CANCELED",
        "list ALL_DONE/ALL_DONE",
        "balances",
    ]
    assert alice.balance("BTC") == (D("10.4995"), 0)
    assert alice.balance("USDT") == (D(100_000) - D("0.5") * 59_900, 0)
    at.exchange.check_books()


def test_expired_entry_expires_its_pending_legs(at: Floor, alice: Client) -> None:
    link = alice.listen()
    at.tick("60000", liquidity="0.3")
    alice.events(link)
    alice.post("orderList/opoco", **(WORKING | {"workingTimeInForce": "IOC", "workingPrice": "60100"}))
    assert told(alice.events(link))[-5:] == [
        "entry EXPIRED/EXPIRED UNFILLED_IOC_QUANTITY_EXPIRED",
        "target EXPIRED/EXPIRED OTO_PHASE_ONE_EXPIRED",
        "stop EXPIRED/EXPIRED OTO_PHASE_ONE_EXPIRED",
        "list ALL_DONE/ALL_DONE",
        "balances",
    ]
    assert alice.balance("BTC") == (D("10.2997"), 0)


def test_legs_that_no_longer_fit_the_market_expire_as_rejected(at: Floor, alice: Client) -> None:
    alice.post("orderList/opoco", **WORKING)
    link = alice.listen()
    at.tick("58500")
    assert told(alice.events(link)) == [
        "entry TRADE/FILLED", "target EXPIRED/EXPIRED REJECTED", "stop EXPIRED/EXPIRED REJECTED",
        "list ALL_DONE/ALL_DONE", "balances",
    ]  # fmt: skip
    assert alice.balance("BTC") == (D("10.999"), 0)


def test_legs_too_small_for_the_filters_expire_as_rejected(at: Floor, alice: Client) -> None:
    alice.post("orderList/otoco", **WORKING, pendingQuantity="0.00009", newOrderRespType="ACK")
    alice.delete("openOrders", symbol="BTCUSDT")
    small = WORKING | {"workingQuantity": "0.00009", "workingPrice": "59000", "pendingBelowStopPrice": "50000"}
    alice.post("orderList/opoco", **small)
    at.tick("58000")
    # 0.00009 less commission is 0.00008991: one lot less, and that is below the minimum notional at the stop.
    assert statuses(alice)["stop"] == "EXPIRED"
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId="stop")["expiryReason"] == "REJECTED"


def test_pending_legs_without_funds_expire_as_rejected() -> None:
    at = floor(balances={"USDT": D(100_000)}, model=SHARP)
    at.tick("60000")
    alice = Client(at)
    alice.post("orderList/otoco", **WORKING, pendingQuantity="1")
    at.tick("59800")
    # 1 BTC less commission was received, 1 BTC was promised.
    assert statuses(alice) == {"entry": "FILLED", "target": "EXPIRED", "stop": "EXPIRED"}
    assert alice.balance("BTC") == (D("0.999"), 0)


@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        ("opoco", {"pendingQuantity": "1"}, -1225),
        ("opoco", {"workingSide": "SELL"}, -1222),
        ("opoco", {"workingType": "MARKET", "workingPrice": None, "workingTimeInForce": None}, -1014),
        ("opoco", {"pendingAbovePrice": "58000"}, -2010),
        ("otoco", {}, -1102),
        ("otoco", {"pendingQuantity": "1", "workingTimeInForce": None}, -1102),
        ("opoco", {"workingType": "LIMIT_MAKER", "workingPrice": "60100", "workingTimeInForce": None}, -2010),
        ("opoco", {"workingPrice": "59900.001"}, -1013),
        ("opoco", {"workingQuantity": "2"}, -2010),
    ],
    ids=str,
)
def test_bad_entry_lists_are_refused_as_a_whole(alice: Client, path: str, change: dict[str, Any], code: int) -> None:
    assert alice.refused("POST", f"orderList/{path}", **(WORKING | change))[0] == code
    assert alice.get("allOrders", symbol="BTCUSDT") == []


def test_symbol_without_opo_refuses_it() -> None:
    at = floor(instruments=[replace(DEFAULT_INSTRUMENTS[0], opo_allowed=False)])
    at.tick("60000")
    refused = Client(at).refused("POST", "orderList/opoco", **WORKING)
    assert refused == (-2010, "OPO orders are not supported for this symbol.")


def test_oto_and_opo_carry_a_single_pending_order(at: Floor, alice: Client) -> None:
    single = {name: value for name, value in WORKING.items() if not name.startswith(("pendingAbove", "pendingBelow"))}
    alice.post("orderList/opo", **single, pendingType="MARKET", pendingClientOrderId="out")
    at.tick("59800", liquidity="5")
    assert statuses(alice) == {"entry": "FILLED", "out": "FILLED"}
    assert alice.balance("BTC") == (10, 0)
    again = single | {"workingClientOrderId": "entry-2", "workingPrice": "59000"}
    alice.post("orderList/oto", **again, pendingType="LIMIT_MAKER", pendingPrice="61000", pendingQuantity="0.5",
               pendingClientOrderId="out-2")  # fmt: skip
    at.tick("58000", liquidity="5")
    assert statuses(alice)["out-2"] == "NEW"
    at.exchange.check_books()


def test_lists_are_counted_and_limited(at: Floor, alice: Client) -> None:
    bare = {name: value for name, value in OCO.items() if "lientOrderId" not in name} | {"quantity": "0.01"}
    for _ in range(5):
        alice.post("orderList/oco", **bare)
    assert alice.refused("POST", "orderList/oco", **bare) == (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
    assert alice.refused("GET", "orderList", orderListId=999) == (-2013, "Order list does not exist.")
    assert alice.refused("GET", "orderList")[0] == -1102
