"""listenKeys, private streams and the WebSocket API of the futures market."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import AccountSpec, HttpRequest
from tests.simex.futures.wire import Trader
from tests.simex.wire import ALICE, BOB, SHARP, Floor, secret_of, signed_message

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
HOUR_MS = 3_600_000


def names(events: list[Any]) -> list[str]:
    return [event["e"] for event in events]


# -- listenKeys ---------------------------------------------------------------------------------------------------


def test_a_key_needs_no_signature_lives_an_hour_and_stays_the_same(at: Floor, alice: Trader) -> None:
    answer = at.exchange.rest(HttpRequest("POST", "/fapi/v1/listenKey", {"x-mbx-apikey": ALICE}), at.now_ms)
    key = json.loads(answer.body)["listenKey"]
    at.now_ms += HOUR_MS - 1
    assert alice.listen_key() == key
    at.now_ms += HOUR_MS - 1
    assert alice.put("listenKey")["listenKey"] == key
    at.now_ms += HOUR_MS
    assert alice.refused("PUT", "listenKey") == -1125
    assert alice.listen_key() != key


def test_an_expired_key_is_told_and_its_link_is_dead(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    key = alice.listen_key()
    at.now_ms += HOUR_MS
    at.exchange.roll(at.now_ms)
    assert at.heard(link) == [{"e": "listenKeyExpired", "E": at.now_ms, "listenKey": key}]
    assert not at.exchange.hears_account(link)
    alice.order("BUY", "0.010", "99000")
    assert at.heard(link) == []


def test_a_deleted_key_falls_silent_for_everybody(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    assert alice.delete("listenKey") == {}
    alice.order("BUY", "0.010", "99000")
    assert at.heard(link) == []


# -- private streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["/private/ws/{}", "/private/ws?listenKey={}"])
def test_raw_links(at: Floor, alice: Trader, form: str) -> None:
    link = alice.listen(form)
    assert at.exchange.hears_account(link)
    alice.order("BUY", "0.010", "99000")
    assert names(at.heard(link)) == ["ORDER_TRADE_UPDATE"]


@pytest.mark.parametrize("form", ["/private/stream?listenKey={}", "/private/stream?streams={}"])
def test_combined_links_wrap_events_under_the_key(at: Floor, alice: Trader, form: str) -> None:
    link = alice.listen(form)
    alice.order("BUY", "0.010", "99000")
    (frame,) = at.heard(link)
    assert (frame["stream"], frame["data"]["e"]) == (alice.listen_key(), "ORDER_TRADE_UPDATE")


def test_only_the_events_that_were_asked_for_come(at: Floor, alice: Trader) -> None:
    link = alice.listen("/private/ws?listenKey={}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE")
    alice.order("BUY", "0.010")
    assert names(at.heard(link)) == ["ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]


def test_two_keys_on_one_link(at: Floor, alice: Trader) -> None:
    bob = Trader(at, BOB)
    target = f"/private/stream?listenKey={alice.listen_key()}&events=ACCOUNT_UPDATE&listenKey={bob.listen_key()}"
    link = at.open(target)
    alice.order("SELL", "0.010", "100000.1")
    bob.order("BUY", "0.010")
    heard = [(frame["stream"], frame["data"]["e"]) for frame in at.heard(link)]
    assert heard.count((alice.listen_key(), "ACCOUNT_UPDATE")) == 1
    assert (alice.listen_key(), "ORDER_TRADE_UPDATE") not in heard
    assert (bob.listen_key(), "TRADE_LITE") in heard


def test_keys_are_subscribed_and_unsubscribed_on_a_living_link(at: Floor, alice: Trader) -> None:
    link = at.open("/private/stream")
    key = alice.listen_key()
    at.say(link, {"method": "SUBSCRIBE", "params": [key, "no-such-key"], "id": "a"})
    at.say(link, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
    assert at.heard(link) == [{"result": None, "id": "a"}, {"result": [key, "no-such-key"], "id": 2}]
    alice.order("BUY", "0.010", "99000")
    assert [frame["stream"] for frame in at.heard(link)] == [key]
    at.say(link, {"method": "SET_PROPERTY", "params": ["combined", False], "id": 3})
    alice.order("BUY", "0.010", "99000")
    assert names(at.heard(link)[1:]) == ["ORDER_TRADE_UPDATE"]
    at.say(link, {"method": "UNSUBSCRIBE", "params": [key], "id": 4})
    alice.order("BUY", "0.010", "99000")
    assert at.heard(link) == [{"result": None, "id": 4}]


def test_a_link_without_prefix_stays_silent(at: Floor, alice: Trader) -> None:
    link = alice.listen("/ws/{}")
    alice.order("BUY", "0.010")
    assert at.heard(link) == []


def test_a_closed_link_hears_nothing_and_costs_nothing(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    at.exchange.ws_close(link)
    alice.order("BUY", "0.010")
    assert at.exchange.take_frames() == []


@pytest.mark.parametrize(
    ("said", "code"),
    [("{", 3), ({"id": 1}, 2), ({"method": "JUMP", "id": 1}, 2), ({"method": "SUBSCRIBE", "params": "x", "id": 1}, 2)],
)
def test_bad_commands(at: Floor, said: object, code: int) -> None:
    link = at.open("/private/ws")
    at.say(link, said)
    assert at.heard(link)[0]["code"] == code


# -- the WebSocket API --------------------------------------------------------------------------------------------


def asked(at: Floor, link: int, method: str, params: dict[str, Any] | None = None, key: str = ALICE) -> Any:
    given = {"apiKey": key, "timestamp": at.now_ms} | (params or {})
    at.say(link, signed_message(7, method, given, secret_of(key)))
    (answer,) = at.heard(link)
    assert answer["id"] == 7
    return answer


def test_orders_over_the_socket(at: Floor, alice: Trader) -> None:
    link = at.open("/ws-fapi/v1")
    wish = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "99000"}
    placed = asked(at, link, "order.place", wish | {"quantity": "0.010"})
    order_id = placed["result"]["orderId"]
    assert placed["status"] == 200
    assert [(limit["rateLimitType"], limit["interval"], limit["count"]) for limit in placed["rateLimits"]] == [
        ("ORDERS", "SECOND", 1), ("ORDERS", "MINUTE", 1), ("REQUEST_WEIGHT", "MINUTE", 5),
    ]  # fmt: skip
    change = {"symbol": "BTCUSDT", "orderId": order_id, "side": "BUY", "price": 98000, "quantity": "0.020"}
    assert asked(at, link, "order.modify", change)["result"]["price"] == "98000.00"
    status = asked(at, link, "order.status", {"symbol": "BTCUSDT", "orderId": order_id})
    assert status["result"]["origQty"] == "0.020"
    canceled = asked(at, link, "order.cancel", {"symbol": "BTCUSDT", "orderId": order_id})
    assert canceled["result"]["status"] == "CANCELED"
    refused = asked(at, link, "order.cancel", {"symbol": "BTCUSDT", "orderId": order_id})
    assert (refused["status"], refused["error"]["code"]) == (400, -2011)


def test_conditional_orders_over_the_socket(at: Floor, alice: Trader) -> None:
    link = at.open("/ws-fapi/v1")
    wish = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET"}
    placed = asked(at, link, "algoOrder.place", wish | {"quantity": "0.010", "triggerPrice": "95000"})
    algo_id = placed["result"]["algoId"]
    assert asked(at, link, "algoOrder.cancel", {"algoId": algo_id})["result"]["msg"] == "success"


def test_the_account_over_the_socket(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010")
    link = at.open("/ws-fapi/v1?returnRateLimits=false")
    first = asked(at, link, "v2/account.status")
    assert "rateLimits" not in first
    assert first["result"]["positions"][0]["positionAmt"] == "0.010"
    assert len(asked(at, link, "account.position")["result"]) == 4
    assert len(asked(at, link, "v2/account.position")["result"]) == 1
    assert asked(at, link, "account.balance")["result"] == alice.get("v3/balance")


def test_public_methods_over_the_socket(at: Floor) -> None:
    link = at.open("/ws-fapi/v1")
    for method, field in (("depth", "bids"), ("ticker.price", "price"), ("ticker.book", "bidPrice")):
        at.say(link, {"id": 1, "method": method, "params": {"symbol": "BTCUSDT"}})
        (answer,) = at.heard(link)
        assert field in answer["result"]


def test_user_streams_are_started_over_the_socket_with_a_key_alone(at: Floor, alice: Trader) -> None:
    link = at.open("/ws-fapi/v1")
    for method in ("userDataStream.start", "userDataStream.ping"):
        at.say(link, {"id": 1, "method": method, "params": {"apiKey": ALICE}})
        (answer,) = at.heard(link)
        assert answer["result"] == {"listenKey": alice.listen_key()}
    at.say(link, {"id": 1, "method": "userDataStream.stop", "params": {"apiKey": ALICE}})
    assert at.heard(link)[0]["result"] == {}


def test_what_the_socket_refuses(at: Floor) -> None:
    link = at.open("/ws-fapi/v1")
    at.say(link, {"id": 1, "method": "order.dance", "params": {}})
    at.say(link, {"id": 2, "method": "order.place", "params": {}})
    at.say(link, "no json")
    assert [frame["error"]["code"] for frame in at.heard(link)] == [-1020, -1102, -1135]


def test_a_session_needs_an_ed25519_key_and_then_no_signatures() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public_key = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + private.public_key().public_bytes_raw())
    account = AccountSpec("ed-key", public_key.decode(), {}, key_type="ED25519", wallet={"USDT": D(1000)})
    at = Floor(Exchange((), [account], model=SHARP, contracts=DEFAULT_CONTRACTS))
    at.tick("100000")
    link = at.open("/ws-fapi/v1")
    params: dict[str, object] = {"apiKey": "ed-key", "timestamp": at.now_ms}
    payload = f"apiKey=ed-key&timestamp={at.now_ms}"
    params["signature"] = base64.b64encode(private.sign(payload.encode())).decode()
    at.say(link, {"id": 1, "method": "session.logon", "params": params})
    at.say(link, {"id": 2, "method": "account.balance", "params": {"timestamp": at.now_ms}})
    at.say(link, {"id": 3, "method": "session.logout"})
    at.say(link, {"id": 4, "method": "account.balance", "params": {"timestamp": at.now_ms}})
    logon, balance, logout, refused = at.heard(link)
    assert (logon["result"]["apiKey"], logout["result"]["apiKey"]) == ("ed-key", None)
    assert balance["result"][1]["balance"] == "1000.00000000"
    assert refused["error"]["code"] == -1102


def test_a_session_is_not_for_hmac_keys(at: Floor) -> None:
    link = at.open("/ws-fapi/v1")
    assert asked(at, link, "session.logon")["error"]["code"] == -4056
