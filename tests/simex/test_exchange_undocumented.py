"""What the documents leave open about the spot market (Appendix B, and what is marked as a guess) can be switched."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import pytest

from simex.venue import Undocumented, answered
from tests.simex.wire import BOB, SHARP, Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59000"}


def market(**rules: Any) -> Floor:
    at = floor(model=SHARP, rules=Undocumented(**rules))
    at.tick("60000")
    at.now_ms += 10_000 - at.now_ms % 10_000
    return at


def test_order_limits_are_those_of_practice_or_of_the_samples() -> None:
    """B 1."""
    at = market(spot_orders_per_10s=2, spot_orders_per_day=3)
    alice = Client(at)
    limits = accepted(public(at, "exchangeInfo"))["rateLimits"]
    assert [limit["limit"] for limit in limits if limit["rateLimitType"] == "ORDERS"] == [2, 3]
    for _ in range(2):
        alice.post("order", **BUY)
    text = "Too many new orders; current limit is {} orders per {}."
    assert alice.refused("POST", "order", **BUY) == (-1015, text.format(2, "10 SECOND"))
    at.now_ms += 10_000
    alice.post("order", **BUY)
    assert alice.refused("POST", "order", **BUY) == (-1015, text.format(3, "1 DAY"))
    assert [entry["limit"] for entry in alice.get("rateLimit/order")] == [2, 3]


def test_the_makers_bonus() -> None:
    """B 13."""
    at = market(spot_maker_credit=2)
    alice = Client(at)
    for _ in range(4):
        alice.post("order", **BUY | {"price": "50000"})
    alice.post("order", **BUY)
    at.exchange.tick("BTCUSDT", D(58_000), D(1), D(5), at.now_ms)
    assert alice.get("rateLimit/order")[0]["count"] == 3


@pytest.mark.parametrize("counts", [1, 2])
def test_what_the_deprecated_oco_counts(counts: int) -> None:
    """B 16."""
    alice = Client(market(old_oco_counts=counts))
    alice.post("order/oco", symbol="BTCUSDT", side="SELL", quantity="0.1", price="61000", stopPrice="59000")
    assert alice.get("rateLimit/order")[0]["count"] == counts


@pytest.mark.parametrize(("report", "kinds"), [("new", ["NEW", "TRADE"]), ("none", ["TRADE"])])
def test_what_a_stop_reports_when_it_fires(report: Literal["new", "none"], kinds: list[str]) -> None:
    """B 6: a further report, or the trade at once."""
    at = market(trigger_report=report)
    alice = Client(at)
    alice.sell(type="STOP_LOSS", quantity="0.1", stopPrice="59000")
    link = alice.listen()
    at.tick("59000")
    events = [event for event in alice.events(link) if event["e"] == "executionReport"]
    assert [event["x"] for event in events] == kinds
    assert events[-1]["W"] == at.now_ms


OTO = {"symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59000",
       "workingQuantity": "0.1", "workingTimeInForce": "GTC", "pendingSide": "SELL", "pendingType": "LIMIT_MAKER",
       "pendingPrice": "61000", "pendingQuantity": "3"}  # fmt: skip


def test_when_the_pending_order_of_an_oto_is_paid_for() -> None:
    """B 14."""
    assert Client(market()).post("orderList/oto", **OTO)
    at = market(pending_funds="placement")
    alice = Client(at)
    listed = alice.post("orderList/oto", **OTO)
    assert (alice.balance("BTC"), alice.balance("USDT")[1]) == ((7, 3), 5900)
    too_much = OTO | {"pendingQuantity": "8"}
    assert alice.refused("POST", "orderList/oto", **too_much)[0] == -2010
    assert (alice.balance("BTC"), alice.balance("USDT")[1]) == ((7, 3), 5900)
    at.tick("58000")
    assert alice.balance("BTC") == (D("7.0999"), 3)
    at.exchange.check_books()
    alice.delete("orderList", symbol="BTCUSDT", orderListId=listed["orderListId"])
    assert alice.balance("BTC") == (D("10.0999"), 0)
    pair = {name: value for name, value in OTO.items() if name not in ("pendingType", "pendingPrice")}
    alice.post("orderList/otoco", **pair | {"workingPrice": "57000"}, pendingAboveType="LIMIT_MAKER",
               pendingAbovePrice="61000", pendingBelowType="STOP_LOSS", pendingBelowStopPrice="50000")  # fmt: skip
    assert alice.balance("BTC") == (D("7.0999"), 3)
    alice.delete("openOrders", symbol="BTCUSDT")
    assert alice.balance("BTC") == (D("10.0999"), 0)
    at.exchange.check_books()


@pytest.mark.parametrize(("place", "berg", "plain"), [("back", "0.4", "0.2"), ("front", "0.6", "0")])
def test_where_the_next_slice_of_an_iceberg_stands(place: Literal["back", "front"], berg: str, plain: str) -> None:
    """§10.1."""
    at = market(iceberg_refill=place)
    alice, bob = Client(at), Client(at, BOB)
    wish = BUY | {"side": "SELL", "price": "61000", "quantity": "1"}
    first = alice.post("order", **wish, icebergQty="0.3")["orderId"]
    second = bob.post("order", **wish | {"quantity": "0.2"})["orderId"]
    at.tick("61500", liquidity="0.6")
    assert (D(alice.order(first)["executedQty"]), D(bob.order(second)["executedQty"])) == (D(berg), D(plain))
    at.exchange.check_books()


def test_answers_to_open_questions_are_read_from_text() -> None:
    rules = answered([("spot_orders_per_10s", "50"), ("pending_funds", "placement"), ("trigger_report", "none")])
    assert (rules.spot_orders_per_10s, rules.pending_funds, rules.trigger_report) == (50, "placement", "none")
    for name, text in (("spot_orders_per_10s", "some"), ("spot_orders_per_10s", "0"), ("pending_funds", "never")):
        with pytest.raises(ValueError, match=name):
            answered([(name, text)])
