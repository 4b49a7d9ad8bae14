"""Keys: RSA signatures, what a key may do, and sessions of the WebSocket API (§1.3, §3.7, §7.7, §8.1, §12.7)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simex.exchange import Exchange
from simex.signing import api_payload, key_type_of, verify
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, HttpRequest, KeyRights
from tests.simex.wire import ALICE, BOB, START_MS, Client, Floor, accepted, floor, public, secret_of, signed_message

pytestmark = [pytest.mark.spec("NET-1", "SIM-1")]
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LOGON_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CAROL = "carol-key"


def body_of(public_key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> str:
    return base64.b64encode(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def rsa_signature(payload: bytes) -> str:
    return base64.b64encode(RSA_KEY.sign(payload, padding.PKCS1v15(), SHA256())).decode()


RSA_BODY = body_of(RSA_KEY.public_key())


def test_rsa_signatures_hold_and_nothing_near_them() -> None:
    """§1.3: RSASSA-PKCS1-v1_5 with SHA-256, not PSS."""
    payload = b"symbol=BTCUSDT&timestamp=1668481559918"
    good = rsa_signature(payload)
    assert verify("RSA", RSA_BODY, payload, good)
    assert not verify("RSA", RSA_BODY, payload + b"0", good)
    assert not verify("RSA", RSA_BODY, payload, good.swapcase())
    assert not verify("RSA", RSA_BODY, payload, "not base64!")
    assert not verify("RSA", RSA_BODY, payload, base64.b64encode(bytes(256)).decode())
    pss = RSA_KEY.sign(payload, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    assert not verify("RSA", RSA_BODY, payload, base64.b64encode(pss).decode())
    sha1 = RSA_KEY.sign(payload, padding.PKCS1v15(), SHA1())
    assert not verify("RSA", RSA_BODY, payload, base64.b64encode(sha1).decode())


@pytest.mark.parametrize("size", [2048, 4096])
def test_rsa_keys_of_documented_sizes_are_taken(size: int) -> None:
    """§1.3: 2048 to 4096 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=size)
    signature = base64.b64encode(key.sign(b"a=1", padding.PKCS1v15(), SHA256())).decode()
    assert key_type_of(body_of(key.public_key())) == "RSA"
    assert verify("RSA", body_of(key.public_key()), b"a=1", signature)


def test_other_keys_are_no_rsa_keys() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="2048 to 4096"):
        key_type_of(body_of(small.public_key()))
    with pytest.raises(ValueError):
        key_type_of(base64.b64encode(b"x" * 100).decode())
    assert key_type_of(body_of(LOGON_KEY.public_key())) == "ED25519"
    assert not verify("RSA", body_of(LOGON_KEY.public_key()), b"", rsa_signature(b""))
    assert not verify("RSA", RSA_BODY[:40], b"", rsa_signature(b""))


def test_rsa_account_signs_rest_with_encoded_base64_and_the_socket_without() -> None:
    """§1.5."""
    exchange = Exchange(DEFAULT_INSTRUMENTS, [AccountSpec(CAROL, RSA_BODY, {}, key_type="RSA")])
    query = f"timestamp={START_MS}"
    target = f"/api/v3/account?{query}&signature={quote(rsa_signature(query.encode()), safe='')}"
    assert exchange.rest(HttpRequest("GET", target, {"x-mbx-apikey": CAROL}), START_MS).status == 200
    at = Floor(exchange)
    link = at.open("/ws-api/v3")
    params: dict[str, Any] = {"apiKey": CAROL, "timestamp": str(START_MS)}
    at.say(link, {"id": 1, "method": "account.status",
                  "params": params | {"signature": rsa_signature(api_payload(params))}})  # fmt: skip
    assert at.heard(link)[0]["status"] == 200


def with_rights(**rights: Any) -> Client:
    accounts = [AccountSpec(ALICE, secret_of(ALICE), {"USDT": Decimal(100)}, rights=KeyRights(**rights))]
    return Client(Floor(Exchange(DEFAULT_INSTRUMENTS, accounts)))


BAD_KEY = (-2015, "Invalid API-key, IP, or permissions for action.")
WISH = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001",
        "price": "50000"}  # fmt: skip


@pytest.mark.spec("SAFE-1")
def test_a_key_without_the_right_to_trade_reads_only() -> None:
    """§1.3: TRADE calls need a key with trading enabled."""
    client = with_rights(may_trade_spot=False)
    assert client.get("account")["uid"] == 1_000_001
    for method, path in [("POST", "order"), ("POST", "order/test"), ("DELETE", "openOrders")]:
        response = client.call(method, path, **WISH)
        assert (response.status, json.loads(response.body)["code"]) == (401, -2015), path


def test_a_key_for_other_addresses_or_without_reading_is_refused_everywhere() -> None:
    """§1.6: IP not allowed, no permission."""
    assert with_rights(addresses=("10.1.2.3",)).refused("GET", "account") == BAD_KEY
    assert with_rights(addresses=("10.1.2.3", "127.0.0.1")).get("account")
    assert with_rights(may_read=False).refused("GET", "account") == BAD_KEY


def test_the_right_to_trade_can_end() -> None:
    """§12.7: the key's restrictions say when."""
    client = with_rights(expires_ms=START_MS + 1000)
    assert client.post("order", **WISH)["status"] == "NEW"
    client.floor.now_ms += 1000
    assert client.refused("DELETE", "openOrders", symbol="BTCUSDT") == BAD_KEY
    assert client.get("openOrders")


@pytest.mark.spec("SAFE-1")
def test_key_restrictions_tell_the_rights() -> None:
    """§12.7: what a bot reads before it trades with a key."""
    client = with_rights(addresses=("127.0.0.1",), may_withdraw=True, may_trade_futures=False, created_ms=7,
                         expires_ms=START_MS * 2)  # fmt: skip
    answer = client.get("/sapi/v1/account/apiRestrictions")
    assert answer == {
        "ipRestrict": True, "createTime": 7, "enableReading": True, "enableWithdrawals": True,
        "enableInternalTransfer": False, "enableMargin": False, "enableFutures": False,
        "permitsUniversalTransfer": False, "enableVanillaOptions": False, "enableFixApiTrade": False,
        "enableFixReadOnly": False, "enableSpotAndMarginTrading": True, "enablePortfolioMarginTrading": False,
        "tradingAuthorityExpirationTime": START_MS * 2,
    }  # fmt: skip
    assert "tradingAuthorityExpirationTime" not in with_rights().get("/sapi/v1/account/apiRestrictions")


def test_start_up_calls_of_other_clients_are_answered() -> None:
    """§12.7: stubs for what third-party clients call before they do anything."""
    at = floor()
    client = Client(at)
    for path in ("margin/allPairs", "margin/isolated/allPairs", "spot/delist-schedule", "capital/config/getall"):
        assert client.get(f"/sapi/v1/{path}") == []
    assert len(client.get("/sapi/v1/asset/tradeFee")) == 4
    assert client.get("/sapi/v1/asset/tradeFee", symbol="BTCUSDT") == [
        {"symbol": "BTCUSDT", "makerCommission": "0.00100000", "takerCommission": "0.00100000"},
    ]
    coin = at.exchange.rest(HttpRequest("GET", "/dapi/v1/exchangeInfo"), at.now_ms)
    assert accepted(coin) == {"symbols": []}
    assert public(at, "userDataStream").status == 404, "§8.1: listen keys of spot are gone"


# -- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def at() -> Floor:
    carol = AccountSpec(CAROL, body_of(LOGON_KEY.public_key()), {"USDT": Decimal(1000)}, key_type="ED25519")
    alice = AccountSpec(ALICE, secret_of(ALICE), {"USDT": Decimal(1000)})
    made = Floor(Exchange(DEFAULT_INSTRUMENTS, [carol, alice]))
    made.tick("60000")
    return made


def ask(at: Floor, link: int, method: str, **params: object) -> Any:
    at.say(link, {"id": method, "method": method, "params": params})
    return at.heard(link)[-1]


def logon(at: Floor, link: int) -> Any:
    params: dict[str, Any] = {"apiKey": CAROL, "timestamp": str(at.now_ms)}
    signature = base64.b64encode(LOGON_KEY.sign(api_payload(params))).decode()
    return ask(at, link, "session.logon", **params, signature=signature)


def test_after_logon_requests_need_neither_key_nor_signature(at: Floor) -> None:
    """§7.7."""
    link = at.open("/ws-api/v3")
    before = ask(at, link, "session.status")["result"]
    assert (before["apiKey"], before["authorizedSince"]) == (None, None)
    assert ask(at, link, "account.status", timestamp=at.now_ms)["error"]["code"] == -1102
    answer = logon(at, link)
    assert answer["result"] == {
        "apiKey": CAROL, "authorizedSince": at.now_ms, "connectedSince": at.now_ms, "returnRateLimits": True,
        "serverTime": at.now_ms, "userDataStream": False,
    }  # fmt: skip
    placed = ask(at, link, "order.place", timestamp=at.now_ms, **WISH | {"quantity": "0.01"})
    assert placed["result"]["status"] == "NEW"
    assert ask(at, link, "account.status")["error"]["code"] == -1102, "a timestamp is needed all the same"
    assert ask(at, link, "account.status", timestamp=1)["error"]["code"] == -1021
    other = signed_message(1, "account.status", {"apiKey": ALICE, "timestamp": at.now_ms}, secret_of(ALICE))
    at.say(link, other)
    assert at.heard(link)[0]["result"]["uid"] == 1_000_002, "a request may still bring its own key"
    assert ask(at, link, "session.logout")["result"]["apiKey"] is None
    assert ask(at, link, "account.status", timestamp=at.now_ms)["error"]["code"] == -1102


def test_only_ed25519_keys_log_on(at: Floor) -> None:
    """§1.3."""
    link = at.open("/ws-api/v3")
    at.say(link, signed_message(1, "session.logon", {"apiKey": ALICE, "timestamp": at.now_ms}, secret_of(ALICE)))
    (answer,) = at.heard(link)
    assert (answer["status"], answer["error"]["msg"]) == (400, "HMAC_SHA256 API key is not supported.")


def test_logout_ends_the_sessions_subscription_and_no_other(at: Floor) -> None:
    """§8.1."""
    link = at.open("/ws-api/v3")
    assert ask(at, link, "userDataStream.subscribe")["status"] == 401, "nobody has logged on"
    logon(at, link)
    assert ask(at, link, "userDataStream.subscribe")["result"] == {"subscriptionId": 0}
    assert ask(at, link, "userDataStream.subscribe")["error"]["code"] == -2035
    params = {"apiKey": ALICE, "timestamp": at.now_ms}
    at.say(link, signed_message(1, "userDataStream.subscribe.signature", params, secret_of(ALICE)))
    assert at.heard(link)[0]["result"] == {"subscriptionId": 1}
    assert ask(at, link, "session.status")["result"]["userDataStream"] is True
    ask(at, link, "order.place", timestamp=at.now_ms, **WISH | {"quantity": "0.01"})
    at.say(link, {"id": 9, "method": "session.logout"})
    terminated, answer = at.heard(link)
    assert terminated == {"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": at.now_ms}}
    assert answer["result"]["userDataStream"] is True, "the one by signature lives on"
    assert ask(at, link, "session.subscriptions")["result"] == [{"subscriptionId": 1}]


def test_events_of_a_session_arrive_among_the_answers(at: Floor) -> None:
    link = at.open("/ws-api/v3")
    logon(at, link)
    ask(at, link, "userDataStream.subscribe")
    at.say(link, {"id": 1, "method": "order.place", "params": {"timestamp": at.now_ms, **WISH, "quantity": "0.01"}})
    frames = at.heard(link)
    assert [frame["event"]["e"] for frame in frames if "event" in frame] == [
        "executionReport", "outboundAccountPosition",
    ]  # fmt: skip
    assert [frame["id"] for frame in frames if "id" in frame] == [1]


@pytest.mark.parametrize("change", [None, KeyRights(addresses=("10.0.0.1",))], ids=["deleted", "other address"])
def test_an_invalid_key_ends_the_session_at_the_next_request(at: Floor, change: KeyRights | None) -> None:
    """§3.4, -2015."""
    link = at.open("/ws-api/v3")
    logon(at, link)
    ask(at, link, "userDataStream.subscribe")
    at.exchange.change_key(CAROL, change)
    at.say(link, {"id": 5, "method": "account.status", "params": {"timestamp": at.now_ms}})
    terminated, answer = at.heard(link)
    assert terminated["event"]["e"] == "eventStreamTerminated"
    assert {name: answer[name] for name in ("id", "status", "error")} == {
        "id": None, "status": 401, "error": {"code": BAD_KEY[0], "msg": BAD_KEY[1]},
    }  # fmt: skip
    assert ask(at, link, "session.status")["result"]["apiKey"] is None


def test_a_deleted_key_is_unknown_to_rest(at: Floor) -> None:
    client = Client(at)
    at.exchange.change_key(ALICE, None)
    assert client.refused("GET", "account") == BAD_KEY
    at.exchange.change_key(ALICE, replace(KeyRights(), may_trade_spot=False))
    assert client.get("account")
    with pytest.raises(KeyError):
        at.exchange.change_key(BOB, None)
