"""Limits (§2): order counts with the documented changes by fills, raw requests, growing bans, weights by call."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from simex.limits import DAY_MS, FIRST_BAN_MS, LONGEST_BAN_MS, MINUTE_MS, WeightBudget
from simex.refusal import Refusal
from tests.simex.wire import BOB, SHARP, START_MS, Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1")]


@pytest.fixture
def at() -> Floor:
    made = floor(model=SHARP)
    made.tick("60000")
    made.now_ms += 10_000 - made.now_ms % 10_000
    return made


def limit(price: str, quantity: str = "0.01", tif: str = "GTC") -> dict[str, str]:
    return {"type": "LIMIT", "timeInForce": tif, "quantity": quantity, "price": price}


def count(client: Client) -> int:
    """The unfilled orders of the running day."""
    short, day = client.get("rateLimit/order")
    assert short["count"] <= day["count"]
    return int(day["count"])


def fill_at(at: Floor, price: str, liquidity: str) -> None:
    """A print within the same ten seconds."""
    at.exchange.tick("BTCUSDT", Decimal(price), Decimal(1), Decimal(liquidity), at.now_ms)


# -- unfilled orders (§2.2) ------------------------------------------------------------------------------------------


def test_a_takers_first_fill_gives_one_back_and_later_ones_nothing(at: Floor, alice: Client) -> None:
    """The table of a taker."""
    alice.buy(**limit("50000"))
    fill_at(at, "60000", "0.01")
    alice.buy(**limit("60100", "0.03"))
    assert count(alice) == 1, "1, 2, and the first fill takes one off"
    alice.buy(**limit("50000"))
    fill_at(at, "60000", "0.01")
    fill_at(at, "60000", "0.01")
    assert count(alice) == 2
    fill_at(at, "60000", "1")
    alice.sell(type="MARKET", quantity="0.001")
    assert count(alice) == 2


def test_a_makers_first_fill_gives_five_back(at: Floor, alice: Client) -> None:
    """The table of a maker."""
    for price in ("59000", "58000", "50000", "50000", "50000"):
        alice.buy(**limit(price, "0.03"))
    assert count(alice) == 5
    fill_at(at, "58999", "0.01")
    assert count(alice) == 0
    alice.buy(**limit("50000"))
    alice.buy(**limit("50000"))
    fill_at(at, "58999", "0.01")
    fill_at(at, "58999", "0.01")
    assert count(alice) == 2, "later fills of the same order change nothing"
    fill_at(at, "57999", "0.03")
    assert count(alice) == 0, "never below zero"
    alice.buy(**limit("50000"))
    assert count(alice) == 1


def test_cancels_and_expiries_change_nothing(at: Floor, alice: Client) -> None:
    """The table of cancels and expiries."""
    first = alice.buy(**limit("50000"))["orderId"]
    alice.delete("order", symbol="BTCUSDT", orderId=first)
    alice.buy(**limit("50000"))
    assert count(alice) == 2
    alice.buy(**limit("60100", tif="FOK"))
    assert count(alice) == 2, "filled at once"
    assert alice.buy(**limit("50000", tif="FOK"))["status"] == "EXPIRED"
    assert count(alice) == 3


def test_a_fill_today_reduces_todays_count_whenever_the_order_was_placed(at: Floor, alice: Client) -> None:
    """The table of two days."""
    for _ in range(5):
        alice.buy(**limit("59000"))
    at.now_ms += DAY_MS
    assert count(alice) == 0
    for _ in range(10):
        alice.buy(**limit("50000"))
    fill_at(at, "58999", "0.01")
    assert count(alice) == 5


@pytest.mark.parametrize(("path", "orders"), [("oco", 2), ("oto", 2), ("otoco", 3), ("opo", 2), ("opoco", 3)])
def test_lists_count_their_orders(alice: Client, path: str, orders: int) -> None:
    """§7.6."""
    legs = {"AboveType": "LIMIT_MAKER", "AbovePrice": "61000", "BelowType": "STOP_LOSS", "BelowStopPrice": "58000"}
    wish: dict[str, str] = {"symbol": "BTCUSDT"}
    if path == "oco":
        wish |= {"side": "SELL", "quantity": "0.1"} | {name[0].lower() + name[1:]: v for name, v in legs.items()}
    else:
        wish |= {"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59000", "workingQuantity": "0.1",
                 "workingTimeInForce": "GTC", "pendingSide": "SELL"}  # fmt: skip
        wish |= {f"pending{name}": v for name, v in legs.items()} if path.endswith("oco") else {"pendingType": "MARKET"}
        wish |= {} if path.startswith("opo") else {"pendingQuantity": "0.05"}
    alice.post(f"orderList/{path}", **wish)
    assert count(alice) == orders


def test_the_order_count_is_per_account_over_all_ways_and_says_when_to_come_back(at: Floor, alice: Client) -> None:
    for _ in range(100):
        alice.post("order", symbol="BTCUSDT", side="BUY", **limit("50000", "0.0002"))
    response = alice.call("POST", "order", symbol="BTCUSDT", side="BUY", **limit("50000"))
    assert (response.status, response.headers["Retry-After"]) == (429, "10")
    assert json.loads(response.body)["code"] == -1015
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == "1", "§2.1: what fails costs its weight"
    assert alice.delete("openOrders", symbol="BTCUSDT"), "§2.5: cancels go on"
    assert Client(at, BOB).buy(**limit("50000"))["status"] == "NEW"


# -- requests (§2.1, §2.5) -------------------------------------------------------------------------------------------


def refused(budget: WeightBudget, now_ms: int, weight: int = 1) -> tuple[int, int | None]:
    with pytest.raises(Refusal) as caught:
        budget.charge(weight, now_ms)
    return caught.value.status, caught.value.retry_at_ms


def test_raw_requests_are_limited_whatever_they_weigh() -> None:
    """RAW_REQUESTS: per five minutes, aligned to the clock."""
    budget = WeightBudget(raw_limit=3)
    for _ in range(3):
        budget.charge(0, START_MS + 1)
    with pytest.raises(Refusal, match="Too many requests; current limit is 3 requests per 5 MINUTE"):
        budget.charge(0, START_MS + 2)
    assert refused(budget, START_MS + 2, 0) == (429, START_MS + 5 * MINUTE_MS)
    budget.charge(0, START_MS + 5 * MINUTE_MS)


def banned_for(budget: WeightBudget, now_ms: int) -> int:
    """Goes on in spite of 429 until there is a ban; for how long."""
    for _ in range(30):
        status, retry_at_ms = refused(budget, now_ms, 7000)
        if status == 418:
            assert retry_at_ms is not None
            return retry_at_ms - now_ms
    raise AssertionError("no ban")


def test_bans_grow_from_two_minutes_to_three_days() -> None:
    budget = WeightBudget()
    now_ms, lengths = START_MS, []
    for _ in range(13):
        lengths.append(banned_for(budget, now_ms))
        now_ms += lengths[-1] + MINUTE_MS
    assert lengths[:3] == [FIRST_BAN_MS, 2 * FIRST_BAN_MS, 4 * FIRST_BAN_MS]
    assert lengths[-1] == LONGEST_BAN_MS == 3 * DAY_MS
    budget.charge(1, now_ms)


def test_calls_while_banned_lengthen_the_ban() -> None:
    budget = WeightBudget()
    assert banned_for(budget, START_MS) == FIRST_BAN_MS
    for _ in range(20):
        assert refused(budget, START_MS + 1000) == (418, START_MS + FIRST_BAN_MS)
    assert refused(budget, START_MS + 1000) == (418, START_MS + 1000 + 2 * FIRST_BAN_MS)


WEIGHTS = [
    ("ping", {}, 1), ("time", {}, 1), ("exchangeInfo", {}, 20), ("klines", {"symbol": "BTCUSDT", "interval": "1m"}, 2),
    ("depth", {"symbol": "BTCUSDT", "limit": 100}, 5), ("depth", {"symbol": "BTCUSDT", "limit": 101}, 25),
    ("depth", {"symbol": "BTCUSDT", "limit": 501}, 50), ("depth", {"symbol": "BTCUSDT", "limit": 5000}, 250),
    ("ticker/price", {"symbol": "BTCUSDT"}, 2), ("ticker/price", {}, 4), ("ticker/bookTicker", {}, 4),
    ("order", {"symbol": "BTCUSDT", "orderId": 1}, 4), ("openOrders", {"symbol": "BTCUSDT"}, 6), ("openOrders", {}, 80),
    ("allOrders", {"symbol": "BTCUSDT"}, 20), ("myTrades", {"symbol": "BTCUSDT"}, 20),
    ("myTrades", {"symbol": "BTCUSDT", "orderId": 1}, 5), ("orderList", {"orderListId": 500_001}, 4),
    ("allOrderList", {}, 20), ("openOrderList", {}, 6), ("account", {}, 20),
    ("account/commission", {"symbol": "BTCUSDT"}, 20),
    ("rateLimit/order", {}, 40), ("myPreventedMatches", {"symbol": "BTCUSDT", "preventedMatchId": 1}, 2),
    ("myPreventedMatches", {"symbol": "BTCUSDT", "orderId": 1}, 20), ("myAllocations", {"symbol": "BTCUSDT"}, 20),
    ("order/amendments", {"symbol": "BTCUSDT", "orderId": 1}, 4), ("myFilters", {"symbol": "BTCUSDT"}, 40),
]  # fmt: skip


@pytest.mark.parametrize(("path", "params", "weight"), WEIGHTS)
def test_reading_calls_weigh_what_is_documented(path: str, params: dict[str, Any], weight: int) -> None:
    """§4.1, §7.4."""
    at = floor()
    at.tick("60000")
    client = Client(at)
    client.buy(type="MARKET", quantity="0.01")
    client.post("orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.01", aboveType="LIMIT_MAKER",
                abovePrice="61000", belowType="STOP_LOSS", belowStopPrice="59000")  # fmt: skip
    response = client.call("GET", path, **params)
    assert response.status == 200
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == response.headers["X-MBX-USED-WEIGHT"] == str(weight)


def test_order_test_weighs_more_when_it_reckons_rates(alice: Client) -> None:
    """§7.1."""
    wish = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    assert alice.call("POST", "order/test", **wish).headers["X-MBX-USED-WEIGHT-1M"] == "1"
    rates = alice.call("POST", "order/test", **wish, computeCommissionRates="true")
    assert rates.headers["X-MBX-USED-WEIGHT-1M"] == "21"
    assert "X-MBX-ORDER-COUNT-10S" not in rates.headers


# -- microseconds (§1.5) ---------------------------------------------------------------------------------------------


def test_the_header_asks_for_microseconds(at: Floor, alice: Client) -> None:
    placed = alice.buy(**limit("59000"))
    alice.buy(type="MARKET", quantity="0.001")
    micro = {"x-mbx-time-unit": "microsecond"}
    fine = Client(at, headers=micro)
    for path, params in (("account", {}), ("openOrders", {}), ("myTrades", {"symbol": "BTCUSDT"})):
        assert scaled(alice.get(path, **params)) == fine.get(path, **params)
    assert accepted(public(at, "time", micro)) == {"serverTime": at.now_ms * 1000}
    assert accepted(public(at, "time", {"x-mbx-time-unit": "MILLISECOND"})) == {"serverTime": at.now_ms}
    row = accepted(public(at, "klines?symbol=BTCUSDT&interval=1m", micro))[-1]
    assert (row[0] % 60_000_000, row[6]) == (0, row[0] + 59_999_999)
    answer = fine.sell(type="STOP_LOSS", quantity="0.01", stopPrice="50000", newOrderRespType="RESULT")
    assert (answer["transactTime"], answer["workingTime"]) == (at.now_ms * 1000, -1)
    assert placed["transactTime"] < answer["transactTime"]
    bad = public(at, "time", {"x-mbx-time-unit": "HOUR"})
    assert (bad.status, json.loads(bad.body)["code"]) == (400, -1194)


def scaled(answer: Any) -> Any:
    if isinstance(answer, list):
        return [scaled(entry) for entry in answer]
    times = {"time", "updateTime", "workingTime"}
    return {name: value * 1000 if name in times else value for name, value in answer.items()}


def test_a_link_can_be_in_microseconds(at: Floor, alice: Client) -> None:
    link = alice.listen("?timeUnit=MICROSECOND")
    at.say(link, {"id": 1, "method": "time"})
    at.say(link, {"id": 2, "method": "session.status"})
    time, status = at.heard(link)
    assert time["result"] == {"serverTime": at.now_ms * 1000}
    assert status["result"]["connectedSince"] == at.now_ms * 1000
    alice.sell(type="STOP_LOSS", quantity="0.01", stopPrice="50000", trailingDelta=100)
    alice.buy(type="LIMIT", timeInForce="GTC", quantity="0.01", price="59000")
    stop, _, order, position = alice.events(link)
    assert (stop["T"], stop["D"], order["E"], order["O"], order["W"]) == (
        at.now_ms * 1000, -1, at.now_ms * 1000, at.now_ms * 1000, at.now_ms * 1000,
    )  # fmt: skip
    assert (position["u"], position["E"]) == (at.now_ms * 1000, at.now_ms * 1000)
    assert not at.exchange.ws_open(99, "/ws-api/v3?timeUnit=HOUR", at.now_ms)
