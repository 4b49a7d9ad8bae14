"""Answers and events have the fields that the published examples have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simex.wire import Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1")]
# What an example shows because its order had it, or what this exchange does not offer.
OPTIONAL = {"icebergQty", "stopPrice", "trailingDelta", "strategyId", "strategyType", "sors", "v", "origQty"}
LEGS = {
    "pendingSide": "SELL", "pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "61000",
    "pendingBelowType": "STOP_LOSS_LIMIT", "pendingBelowStopPrice": "59000", "pendingBelowPrice": "58900",
    "pendingBelowTimeInForce": "GTC",
}  # fmt: skip
WORKING = {
    "workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "59900", "workingQuantity": "0.01",
    "workingTimeInForce": "GTC",
}  # fmt: skip


def read_examples(shared_data: Path) -> list[dict[str, Any]]:
    path = shared_data / "measure" / "fixtures" / "binance_docs_examples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def examples(shared_data: Path) -> list[dict[str, Any]]:
    return read_examples(shared_data)


def example(examples: list[dict[str, Any]], file: str, section: str, label: str = "") -> Any:
    """The first JSON example under a heading."""
    for entry in examples:
        if entry["file"] == file and section in entry["section"] and label in entry["label"] and "json" in entry:
            return entry["json"]
    raise AssertionError(f"no example of {section} in {file}")


def shape(value: Any) -> Any:
    """Fields and kinds of values, without the optional ones; of a list, its first entry."""
    if isinstance(value, dict):
        return {name: shape(entry) for name, entry in value.items() if name not in OPTIONAL}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__ if value is not None else "none"


@pytest.fixture
def at() -> Floor:
    made = floor()
    made.tick("60000")
    return made


def answers(at: Floor, alice: Client) -> dict[str, Any]:
    """One real answer for each documented heading."""
    market = {"type": "MARKET", "quantity": "0.01"}
    resting = alice.buy(type="LIMIT", timeInForce="GTC", quantity="0.01", price="59000")
    found = {
        "Check server time": accepted(public(at, "time")),
        "Order book": accepted(public(at, "depth?symbol=BTCUSDT")),
        "Kline/Candlestick data": accepted(public(at, "klines?symbol=BTCUSDT&interval=1m")),
        "UIKlines": accepted(public(at, "uiKlines?symbol=BTCUSDT&interval=1m")),
        "Recent trades list": accepted(public(at, "trades?symbol=BTCUSDT")),
        "Old trade lookup": accepted(public(at, "historicalTrades?symbol=BTCUSDT")),
        "Compressed/Aggregate trades list": accepted(public(at, "aggTrades?symbol=BTCUSDT")),
        "Current average price": accepted(public(at, "avgPrice?symbol=BTCUSDT")),
        "24hr ticker price change statistics|FULL": accepted(public(at, "ticker/24hr?symbol=BTCUSDT")),
        "24hr ticker price change statistics|MINI": accepted(public(at, "ticker/24hr?symbol=BTCUSDT&type=MINI")),
        "Trading Day Ticker": accepted(public(at, "ticker/tradingDay?symbol=BTCUSDT")),
        "Rolling window price change statistics": accepted(public(at, "ticker?symbol=BTCUSDT")),
        "Symbol price ticker": accepted(public(at, "ticker/price?symbol=BTCUSDT")),
        "Symbol order book ticker": accepted(public(at, "ticker/bookTicker?symbol=BTCUSDT")),
        "New order (TRADE)|ACK": alice.sell(**market, newOrderRespType="ACK"),
        "New order (TRADE)|RESULT": alice.sell(**market, newOrderRespType="RESULT"),
        "New order (TRADE)|FULL": alice.sell(**market),
        "Query order (USER_DATA)": alice.order(resting["orderId"]),
        "Current open orders": alice.get("openOrders"),
        "Account trade list": alice.get("myTrades", symbol="BTCUSDT"),
        "Account information": alice.get("account"),
        "Query Commission Rates": alice.get("account/commission", symbol="BTCUSDT"),
        "Query Unfilled Order Count": alice.get("rateLimit/order"),
        "Cancel order (TRADE)": alice.delete("order", symbol="BTCUSDT", orderId=resting["orderId"]),
        "New Order list - OTOCO": alice.post(
            "orderList/otoco", symbol="BTCUSDT", **WORKING, **LEGS, pendingQuantity="0.01"
        ),
        "New Order List - OPOCO": alice.post("orderList/opoco", symbol="BTCUSDT", **WORKING, **LEGS),
    }  # fmt: skip
    oco = alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.01", aboveType="LIMIT_MAKER", abovePrice="61000",
        belowType="STOP_LOSS", belowStopPrice="59000",
    )  # fmt: skip
    found["New Order list - OCO"] = oco
    found["Query Order list"] = alice.get("orderList", orderListId=oco["orderListId"])
    found["Query Open Order lists"] = alice.get("openOrderList")
    found["Cancel Order list"] = alice.delete("orderList", symbol="BTCUSDT", orderListId=oco["orderListId"])
    return found


def test_rest_answers_have_the_documented_shape(examples: list[dict[str, Any]], at: Floor, alice: Client) -> None:
    for heading, answer in answers(at, alice).items():
        section, _, label = heading.partition("|")
        assert shape(answer) == shape(example(examples, "rest-api.md", section, label)), heading


def test_exchange_info_names_every_documented_field(examples: list[dict[str, Any]]) -> None:
    documented = example(examples, "rest-api.md", "Exchange information")
    answer = accepted(public(floor(), "exchangeInfo?symbol=BTCUSDT"))
    assert set(documented) - OPTIONAL == set(answer)
    assert set(documented["symbols"][0]) == set(answer["symbols"][0])


def test_events_have_the_documented_shape(examples: list[dict[str, Any]], at: Floor, alice: Client) -> None:
    link = alice.listen()
    alice.buy(type="LIMIT", timeInForce="GTC", quantity="0.01", price="59000")
    alice.post("orderList/opoco", symbol="BTCUSDT", **WORKING, **LEGS)
    heard = {frame["event"]["e"]: frame for frame in reversed(at.heard(link))}
    file = "user-data-stream.md"
    assert shape(heard["outboundAccountPosition"]) == shape(example(examples, file, "Account Update"))
    assert shape(heard["executionReport"]) == shape(example(examples, file, "Order Update"))
    assert shape(heard["listStatus"]) == shape(example(examples, file, "Order Reject Reason"))


STREAMS = {
    "trade": "> Trade Streams",
    "aggTrade": "Aggregate Trade Streams",
    "bookTicker": "Individual Symbol Book Ticker",
    "kline_1m": "Kline/Candlestick Streams for UTC",
    "kline_1m@+08:00": "Kline/Candlestick Streams with timezone offset",
    "miniTicker": "Individual Symbol Mini Ticker",
    "ticker": "Individual Symbol Ticker Streams",
    "ticker_1h": "Individual Symbol Rolling Window Statistics",
    "avgPrice": "Average Price",
    "depth5": "Partial Book Depth Streams",
    "depth@100ms": "Diff. Depth Stream",
}


@pytest.mark.parametrize(("kind", "section"), STREAMS.items())
def test_stream_payloads_have_the_documented_shape(
    examples: list[dict[str, Any]], at: Floor, kind: str, section: str
) -> None:
    link = at.open(f"/ws/btcusdt@{kind}")
    at.tick("60001")
    (event,) = at.heard(link)
    assert shape(event) == shape(example(examples, "web-socket-streams.md", section))
