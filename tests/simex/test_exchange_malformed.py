"""Malformed calls (§3.7), the order of the checks, and parameters wherever they may stand (§1.4, §12.1)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from simex.venue import HttpRequest
from tests.simex.wire import ALICE, Client, Floor, floor, secret_of, sign, signed_message

pytestmark = [pytest.mark.spec("SIM-1")]
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59000"}
MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
CLIENT_ID = (
    "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'."
)  # fmt: skip


@pytest.fixture
def at() -> Floor:
    made = floor()
    made.tick("60000")
    return made


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"symbol": None}, -1102, MISSING.format("symbol")),
        ({"symbol": ""}, -1102, MISSING.format("symbol")),
        ({"timestamp": ""}, -1102, MISSING.format("timestamp")),
        ({"recvWindow": "60001"}, -1102, "'recvWindow' contains unexpected value. Cannot be greater than 60000."),
        ({"timestamp": 1}, -1021, "Timestamp for this request is outside of the recvWindow."),
        ({"timestamp": 1 << 45}, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"type": "STOP"}, -1116, "Invalid orderType."),
        ({"side": "LONG"}, -1117, "Invalid side."),
        ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"newClientOrderId": "no blanks"}, -1100, CLIENT_ID),
        ({"newClientOrderId": "x" * 37}, -1100, CLIENT_ID),
    ],
    ids=str,
)
def test_malformed_orders_get_the_tables_answers(alice: Client, change: dict[str, Any], code: int, text: str) -> None:
    response = alice.call("POST", "order", **BUY | change)
    assert (response.status, json.loads(response.body)) == (400, {"code": code, "msg": text})
    assert alice.get("rateLimit/order")[0]["count"] == 0


def test_what_was_not_asked_for_is_ignored(alice: Client) -> None:
    assert alice.post("order", **BUY, colour="blue", workingFloor="")["status"] == "NEW"


def test_checks_come_in_the_plausible_order(alice: Client) -> None:
    """Key, mandatory parameters, timestamp, signature, enums, precision, filters, count, engine."""
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"timestamp": 1}, -1021),
        ({"symbol": "NOPE"}, -1121),
        ({"side": "LONG"}, -1117),
        ({"quantity": "0.123456789"}, -1111),
        ({"price": "59000.001"}, -1013),
        ({"quantity": "9"}, -2010),
    ]
    for number, (_, code) in enumerate(wrong):
        everything_after: dict[str, Any] = {}
        for change, _ in reversed(wrong[number:]):
            everything_after |= change
        assert alice.refused("POST", "order", **BUY | everything_after)[0] == code


def test_parameters_may_be_split_in_any_way_numbers_may_have_a_point_and_lists_either_comma(at: Floor) -> None:
    """§12.1: each client has its own style."""

    def call(method: str, query: dict[str, Any], body: dict[str, Any]) -> int:
        raw = urlencode(query)
        text = urlencode(body | {"timestamp": at.now_ms})
        text += f"&signature={sign(secret_of(ALICE), raw + text)}"
        request = HttpRequest(method, f"/api/v3/order?{raw}", {"x-mbx-apikey": ALICE}, text.encode())
        return at.exchange.rest(request, at.now_ms).status

    assert call("POST", {"symbol": "BTCUSDT", "side": "BUY"}, {"type": "MARKET", "quantity": "0.010"}) == 200
    assert call("POST", {}, BUY | {"price": "59000.0", "newClientOrderId": "x-HNA2TXFJ-1"}) == 200
    assert call("DELETE", {}, {"symbol": "BTCUSDT", "origClientOrderId": "x-HNA2TXFJ-1"}) == 200
    for comma in (",", "%2C", "%2c"):
        target = f"/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22{comma}%22ETHUSDT%22%5D"
        assert at.exchange.rest(HttpRequest("GET", target), at.now_ms).status == 200


def test_socket_values_may_be_numbers_or_text_and_methods_carry_their_version(at: Floor) -> None:
    """§7.7."""
    link = at.open("/ws-api/v3")
    base: dict[str, Any] = {"apiKey": ALICE, "timestamp": at.now_ms, "symbol": "BTCUSDT"}
    at.say(link, signed_message("1", "v3/order.place", base | BUY | {"quantity": 0.5}, secret_of(ALICE)))
    (placed,) = at.heard(link)
    assert (placed["id"], placed["result"]["origQty"]) == ("1", "0.50000000")
    order_id = placed["result"]["orderId"]
    for shown in (order_id, str(order_id)):
        at.say(link, signed_message(7, "order.status", base | {"orderId": shown}, secret_of(ALICE)))
        assert at.heard(link)[0]["result"]["orderId"] == order_id
