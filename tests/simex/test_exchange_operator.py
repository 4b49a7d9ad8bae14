"""What the operator of the exchange can do: states of symbols, delisting, reference prices, locks, closed accounts."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, SymbolStatus
from tests.simex.wire import ALICE, BOB, PLENTY, SHARP, Client, Floor, accepted, floor, json_list, public, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
BITCOIN = DEFAULT_INSTRUMENTS[0]
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59000"}
OCO = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
       "belowType": "STOP_LOSS", "belowStopPrice": "59000"}  # fmt: skip
CLOSED = "Market is closed."


# -- states of a symbol (§4.2) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY"])
def test_a_symbol_that_does_not_trade_takes_no_orders_and_fills_none(
    at: Floor, alice: Client, status: SymbolStatus
) -> None:
    order_id = alice.post("order", **BUY)["orderId"]
    at.exchange.set_symbol_status("BTCUSDT", status)
    assert alice.refused("POST", "order", **BUY) == (-2010, CLOSED)
    assert alice.refused("POST", "orderList/oco", **OCO) == (-2010, CLOSED)
    (listed,) = accepted(public(at, "exchangeInfo?symbol=BTCUSDT"))["symbols"]
    assert listed["status"] == status
    at.tick("50000")
    assert alice.order(order_id)["status"] == "NEW"
    assert at.exchange.last_price("BTCUSDT") == 60_000
    assert alice.post("order", **BUY | {"symbol": "ETHUSDT", "price": "3000"})["status"] == "NEW"
    at.exchange.set_symbol_status("BTCUSDT", "TRADING")
    at.tick("50000")
    assert alice.order(order_id)["status"] == "FILLED"


def test_cancel_only_takes_cancels_and_amends(at: Floor, alice: Client) -> None:
    """§4.2: cancel and amend only, since July 2026."""
    first, second = (alice.post("order", **BUY)["orderId"] for _ in range(2))
    at.exchange.set_symbol_status("BTCUSDT", "CANCEL_ONLY")
    amended = alice.put("order/amend/keepPriority", symbol="BTCUSDT", orderId=first, newQty="0.05")
    assert amended["amendedOrder"]["qty"] == "0.05000000"
    assert alice.delete("order", symbol="BTCUSDT", orderId=first)["status"] == "CANCELED"
    half = alice.call("POST", "order/cancelReplace", **BUY, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=second)
    body = json.loads(half.body)
    assert (half.status, body["code"], body["data"]["newOrderResponse"]) == (409, -2021, {"code": -2010, "msg": CLOSED})
    assert alice.get("openOrders") == []


@pytest.mark.parametrize("status", ["HALT", "BREAK"])
def test_a_halted_symbol_takes_no_cancels_either(at: Floor, alice: Client, status: SymbolStatus) -> None:
    order_id = alice.post("order", **BUY)["orderId"]
    where = {"symbol": "BTCUSDT", "orderId": order_id}
    at.exchange.set_symbol_status("BTCUSDT", status)
    assert alice.refused("DELETE", "order", **where) == (-2011, CLOSED)
    assert alice.refused("DELETE", "openOrders", symbol="BTCUSDT") == (-2011, CLOSED)
    assert alice.refused("PUT", "order/amend/keepPriority", **where, newQty="0.05") == (-2038, CLOSED)
    assert alice.order(order_id)["status"] == "NEW"


def test_delisting_expires_all_orders_and_closes_the_symbol(at: Floor, alice: Client) -> None:
    """§7.2: reason EXCHANGE_CANCELED; §12.7: the schedule that clients read."""
    bob = Client(at, BOB)
    alice.post("order", **BUY)
    alice.post("orderList/oco", **OCO)
    bob.post("order", **BUY)
    kept = alice.post("order", **BUY | {"symbol": "ETHUSDT", "price": "3000"})
    link = alice.listen()
    at.exchange.announce_delisting("BTCUSDT", at.now_ms + 1000)
    at.exchange.announce_delisting("SOLUSDT", at.now_ms + 2000)
    schedule = [{"delistTime": at.now_ms + 1000, "symbols": ["BTCUSDT"]},
                {"delistTime": at.now_ms + 2000, "symbols": ["SOLUSDT"]}]  # fmt: skip
    assert alice.get("/sapi/v1/spot/delist-schedule") == schedule
    at.exchange.delist("BTCUSDT", at.now_ms)
    reports = [event for event in alice.events(link) if event["e"] == "executionReport"]
    assert [(event["x"], event["X"], event["eR"]) for event in reports] == [
        ("EXPIRED", "EXPIRED", "EXCHANGE_CANCELED"),
    ] * 3  # fmt: skip
    assert [order["orderId"] for order in alice.get("openOrders")] == [kept["orderId"]]
    assert bob.get("openOrders") == []
    assert alice.get("openOrderList") == []
    assert alice.balance("BTC") == (10, 0)
    assert alice.refused("POST", "order", **BUY) == (-2010, CLOSED)
    assert alice.get("/sapi/v1/spot/delist-schedule") == schedule[1:]
    at.exchange.check_books()
    with pytest.raises(KeyError):
        at.exchange.delist("NOPE", at.now_ms)


# -- exchangeInfo and its parameters (§4.1, §4.2) --------------------------------------------------------------------


def listed(at: Floor, query: str) -> list[str]:
    return [entry["symbol"] for entry in accepted(public(at, f"exchangeInfo?{query}"))["symbols"]]


def test_exchange_info_can_be_asked_by_state_and_permission() -> None:
    margin = replace(DEFAULT_INSTRUMENTS[1], permission_sets=(("MARGIN", "TRD_GRP_004"), ("SPOT", "LEVERAGED")))
    other = replace(DEFAULT_INSTRUMENTS[2], permission_sets=(("TRD_GRP_005",),))
    at = floor(instruments=[BITCOIN, margin, other])
    at.exchange.set_symbol_status("BTCUSDT", "HALT")
    assert listed(at, "") == ["BTCUSDT", "ETHUSDT"], "those that spot, margin or leveraged accounts may trade"
    assert listed(at, "permissions=TRD_GRP_005") == ["BNBUSDT"]
    assert listed(at, "permissions=" + json_list("SPOT", "TRD_GRP_005")) == ["BTCUSDT", "ETHUSDT", "BNBUSDT"]
    assert listed(at, "symbolStatus=HALT") == ["BTCUSDT"]
    assert listed(at, "symbolStatus=TRADING&permissions=SPOT") == ["ETHUSDT"]
    shown = accepted(public(at, "exchangeInfo?symbol=ETHUSDT"))["symbols"][0]
    assert shown["permissionSets"] == [["MARGIN", "TRD_GRP_004"], ["SPOT", "LEVERAGED"]]
    hidden = accepted(public(at, "exchangeInfo?symbol=ETHUSDT&showPermissionSets=false"))["symbols"][0]
    assert hidden["permissionSets"] == []


@pytest.mark.parametrize(
    ("target", "code"),
    [("exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", -1128),
     ("exchangeInfo?symbol=BTCUSDT&permissions=SPOT", -1128),
     ("exchangeInfo?symbolStatus=ASLEEP", -1122),
     ("exchangeInfo?permissions=%5B1%5D", -1100),
     ("exchangeInfo?permissions=spot", -1100),
     ("ticker/price?symbol=BTCUSDT&symbolStatus=TRADING", -1220)],
)  # fmt: skip
def test_parameters_that_do_not_go_together_are_refused(at: Floor, target: str, code: int) -> None:
    at.exchange.set_symbol_status("BTCUSDT", "HALT")
    response = public(at, target)
    assert (response.status, json.loads(response.body)["code"]) == (400, code)


def test_a_state_filters_many_symbols_silently(at: Floor) -> None:
    """§4.1: -1220 is for a single one."""
    at.exchange.set_symbol_status("BTCUSDT", "HALT")
    found = accepted(public(at, f"ticker/price?symbols={json_list('BTCUSDT', 'ETHUSDT')}&symbolStatus=TRADING"))
    assert [entry["symbol"] for entry in found] == ["ETHUSDT"]


def test_a_symbol_needs_one_of_each_permission_set() -> None:
    """§4.2: an AND of ORs; §3.5."""
    instruments = [replace(BITCOIN, permission_sets=(("SPOT", "MARGIN"), ("TRD_GRP_004",))), *DEFAULT_INSTRUMENTS[1:]]
    permissions: dict[str, tuple[str, ...]] = {ALICE: ("SPOT",), BOB: ("SPOT", "TRD_GRP_004")}
    accounts = [AccountSpec(key, secret_of(key), PLENTY, permissions=names) for key, names in permissions.items()]
    at = Floor(Exchange(instruments, accounts))
    at.tick("60000")
    refused = Client(at).refused("POST", "order", **BUY)
    assert refused == (-2010, "This symbol is not permitted for this account.")
    assert Client(at, BOB).post("order", **BUY)["status"] == "NEW"
    assert Client(at, BOB).get("account")["permissions"] == ["SPOT", "TRD_GRP_004"]


# -- reference price and price range (§6.1, §10.6) -------------------------------------------------------------------


RANGED = replace(BITCOIN, price_range=((D("1.01"), D("0.9")), (D("1.1"), D("0.99"))))


def test_execution_rules_list_the_price_range() -> None:
    at = floor(instruments=[RANGED, DEFAULT_INSTRUMENTS[1]])
    rule = {"ruleType": "PRICE_RANGE", "bidLimitMultUp": "1.01", "bidLimitMultDown": "0.9", "askLimitMultUp": "1.1",
            "askLimitMultDown": "0.99"}  # fmt: skip
    everything = public(at, "executionRules")
    assert accepted(everything) == {"symbolRules": [{"symbol": "BTCUSDT", "rules": [rule]}]}
    assert everything.headers["X-MBX-USED-WEIGHT-1M"] == "40"
    assert accepted(public(at, "executionRules?symbol=ETHUSDT")) == {"symbolRules": []}
    two = public(at, f"executionRules?symbols={json_list('ETHUSDT', 'BTCUSDT')}")
    assert two.headers["X-MBX-USED-WEIGHT-1M"] == "46"
    assert json.loads(public(at, "executionRules?symbol=ETHUSDT&symbolStatus=HALT").body)["code"] == -1128


def test_reference_price_is_told_once_it_was_set(at: Floor) -> None:
    for target in ("referencePrice?symbol=BTCUSDT", "referencePrice/calculation?symbol=BTCUSDT"):
        assert json.loads(public(at, target).body)["code"] == -2043
    at.exchange.set_reference_price("BTCUSDT", D("60001.5"), at.now_ms)
    assert accepted(public(at, "referencePrice?symbol=BTCUSDT")) == {
        "symbol": "BTCUSDT", "referencePrice": "60001.50000000", "timestamp": at.now_ms,
    }  # fmt: skip
    calculation = accepted(public(at, "referencePrice/calculation?symbol=BTCUSDT"))
    assert calculation["calculationType"] == "EXTERNAL"
    at.exchange.set_reference_price("BTCUSDT", None, at.now_ms)
    assert accepted(public(at, "referencePrice?symbol=BTCUSDT"))["referencePrice"] is None


def test_filters_measure_against_the_reference_price(at: Floor, alice: Client) -> None:
    """§6.1: since May 2026."""
    far = BUY | {"price": "13000"}
    assert alice.post("order", **far)["status"] == "NEW"
    at.exchange.set_reference_price("BTCUSDT", D(70_000), at.now_ms)
    assert alice.refused("POST", "order", **far) == (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_match_outside_the_price_range_expires_the_takers_rest(side: str) -> None:
    """§10.6: a limit per side of the taker, from the reference price."""
    at = floor(instruments=[RANGED], model=SHARP)
    at.tick("60000", liquidity="0")
    at.exchange.set_reference_price("BTCUSDT", D(60_000), at.now_ms)
    maker, taker = Client(at, BOB), Client(at)
    other = "SELL" if side == "BUY" else "BUY"
    step = 300 if side == "BUY" else -300
    for number in range(1, 4):
        wish = BUY | {"side": other, "price": str(60_000 + number * step)}
        maker.post("order", **wish)
    answer = taker.post("order", **BUY | {"side": side, "quantity": "0.3", "price": str(60_000 + 4 * step)})
    assert (answer["status"], answer["executedQty"], answer["expiryReason"]) == (
        "EXPIRED", "0.20000000", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED",
    )  # fmt: skip
    at.exchange.set_reference_price("BTCUSDT", None, at.now_ms)
    again = taker.post("order", **BUY | {"side": side, "quantity": "0.1", "price": str(60_000 + 4 * step)})
    assert again["status"] == "FILLED", "no reference price, no range"
    at.exchange.check_books()


# -- accounts --------------------------------------------------------------------------------------------------------


def test_a_closed_account_neither_places_nor_cancels(at: Floor, alice: Client) -> None:
    """§3.5."""
    order_id = alice.post("order", **BUY)["orderId"]
    at.exchange.allow_trading(ALICE, False)
    text = "This account may not place or cancel orders."
    where: dict[str, Any] = {"symbol": "BTCUSDT", "orderId": order_id}
    assert alice.refused("POST", "order", **BUY) == (-2010, text)
    assert alice.refused("DELETE", "order", **where) == (-2011, text)
    assert alice.refused("PUT", "order/amend/keepPriority", **where, newQty="0.05") == (-2038, text)
    assert alice.get("account")["canTrade"] is False
    at.exchange.allow_trading(ALICE, True)
    assert alice.delete("order", **where)["status"] == "CANCELED"


def test_other_systems_lock_and_let_go(at: Floor, alice: Client) -> None:
    """§8.2: externalLockUpdate."""
    link = alice.listen()
    at.exchange.lock_externally(ALICE, "USDT", D(99_000), at.now_ms)
    position, update = alice.events(link)
    assert position["B"] == [{"a": "USDT", "f": "1000.00000000", "l": "99000.00000000"}]
    assert update == {"e": "externalLockUpdate", "E": at.now_ms, "a": "USDT", "d": "99000.00000000", "T": at.now_ms}
    assert alice.refused("POST", "order", **BUY)[0] == -2010
    at.exchange.check_books()
    at.exchange.lock_externally(ALICE, "USDT", D(-98_000), at.now_ms)
    assert alice.events(link)[1]["d"] == "-98000.00000000"
    assert alice.balance("USDT") == (99_000, 1000)
    for amount in (D(-1001), D(99_001)):
        with pytest.raises(ValueError):
            at.exchange.lock_externally(ALICE, "USDT", amount, at.now_ms)
    at.exchange.check_books()
