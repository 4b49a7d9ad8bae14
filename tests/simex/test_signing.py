"""Signatures: the documented examples hold, and what is not byte for byte the same does not."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from simex.exchange import Exchange
from simex.signing import api_payload, rest_payload, verify
from simex.venue import AccountSpec, HttpRequest, InstrumentSpec

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SIGNED_MS = 1499827319559
HEAD = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
TAIL = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
WHOLE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
SPLIT = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
WIDE = "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT&timeInForce=GTC"
WIDE_ENCODED = "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
WIDE_UNENCODED = "ca2cdfbf21d2e2958de492c7f2dd1f059dd2ed4d4459d26a5ec7928db50c8d4f"

pytestmark = [pytest.mark.spec("NET-1", "SIM-1")]


@pytest.fixture
def exchange() -> Exchange:
    litecoin = InstrumentSpec(
        "LTCBTC", "LTC", "BTC", Decimal("0.0001"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(1000),
        min_notional=Decimal("0.0001"), min_price=Decimal("0.0001"),
    )  # fmt: skip
    bitcoin = InstrumentSpec(
        "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), Decimal(9000), Decimal(120)
    )
    return Exchange([litecoin, bitcoin], [AccountSpec(KEY, SECRET, {"BTC": Decimal(1)})])


def code(exchange: Exchange, query: str, body: str = "", now_ms: int = SIGNED_MS) -> int:
    """0 when the order was accepted, else the refusal's code."""
    request = HttpRequest(
        "POST", f"/api/v3/order?{query}" if query else "/api/v3/order", {"x-mbx-apikey": KEY}, body.encode()
    )
    answer: dict[str, Any] = json.loads(exchange.rest(request, now_ms).body)
    found = answer.get("code", 0)
    assert isinstance(found, int)
    return found


def test_documented_query_example_is_accepted(exchange: Exchange) -> None:
    assert code(exchange, f"{HEAD}&{TAIL}&signature={WHOLE}") == 0


def test_same_example_is_accepted_as_form_body(exchange: Exchange) -> None:
    assert code(exchange, "", f"{HEAD}&{TAIL}&signature={WHOLE}") == 0


def test_split_example_is_signed_without_separator(exchange: Exchange) -> None:
    assert code(exchange, HEAD, f"{TAIL}&signature={SPLIT}") == 0


def test_split_request_with_the_signature_of_the_joined_one_is_refused(exchange: Exchange) -> None:
    assert code(exchange, HEAD, f"{TAIL}&signature={WHOLE}") == -1022


@pytest.mark.parametrize(
    "query",
    [
        f"signature={WHOLE}&{HEAD}&{TAIL}",
        f"{HEAD}&signature={WHOLE}&{TAIL}",
        f"{HEAD}&{TAIL}&signature={WHOLE.upper()}",
    ],
    ids=["first", "in the middle", "upper case"],
)
def test_signature_may_stand_anywhere_and_in_either_case(exchange: Exchange, query: str) -> None:
    assert code(exchange, query) == 0


def test_non_ascii_symbol_is_signed_as_encoded(exchange: Exchange) -> None:
    assert code(exchange, f"{WIDE}&{TAIL}&signature={WIDE_ENCODED}") == -1121, (
        "the signature holds, the symbol is unknown"
    )


def test_signature_over_the_unencoded_text_is_refused(exchange: Exchange) -> None:
    assert code(exchange, f"{WIDE}&{TAIL}&signature={WIDE_UNENCODED}") == -1022


def test_reordered_parameters_need_their_own_signature(exchange: Exchange) -> None:
    assert code(exchange, f"{TAIL}&{HEAD}&signature={WHOLE}") == -1022


def test_tampered_price_is_refused(exchange: Exchange) -> None:
    assert code(exchange, f"{HEAD}&{TAIL.replace('price=0.1', 'price=0.2')}&signature={WHOLE}") == -1022


def socket_answer(exchange: Exchange, params: dict[str, object]) -> dict[str, Any]:
    assert exchange.ws_open(1, "/ws-api/v3", 1645423376532)
    exchange.ws_text(1, json.dumps({"id": 1, "method": "order.place", "params": params}), 1645423376532)
    ((link, text),) = exchange.take_frames()
    assert link == 1
    answer = json.loads(text)
    assert isinstance(answer, dict)
    return answer


def test_documented_socket_example_verifies_whatever_the_order_of_its_parameters(exchange: Exchange) -> None:
    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": KEY,
        "signature": "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
    }  # fmt: skip
    assert socket_answer(exchange, params)["status"] == 200


def test_socket_example_with_raw_non_ascii_symbol_verifies(exchange: Exchange) -> None:
    params = {
        "symbol": "１２３４５６", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1.00000000",
        "price": "0.10000000", "recvWindow": 5000, "timestamp": 1645423376532, "apiKey": KEY,
        "signature": "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
    }  # fmt: skip
    assert socket_answer(exchange, params)["error"]["code"] == -1121, "the signature holds, the symbol is unknown"


def test_socket_numbers_are_signed_as_they_were_written(exchange: Exchange) -> None:
    params = {"apiKey": KEY, "price": "1.50", "timestamp": "1"}
    assert api_payload(params) == f"apiKey={KEY}&price=1.50&timestamp=1".encode()
    assert rest_payload("b=2&signature=x&a=1", b"c=%20") == b"b=2&a=1c=%20"


def test_every_published_hmac_vector_verifies(shared_data: Path) -> None:
    path = shared_data / "measure" / "fixtures" / "signing_vectors.json"
    vectors = json.loads(path.read_text())
    assert vectors
    for vector in vectors:
        assert verify("HMAC", vector["example_secret"], vector["payload"].encode(), vector["signature"])
        assert not verify("HMAC", vector["example_secret"], vector["payload"].encode() + b"x", vector["signature"])


def test_unknown_key_type_is_an_error() -> None:
    with pytest.raises(KeyError):
        verify("CARRIER-PIGEON", SECRET, b"", "")


ED25519_PUBLIC = "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
ED25519_QUERY = (
    "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2&timestamp=1668481559918&recvWindow=5000"
)
ED25519_SIGNATURE = "m5loLRxgkb9HyW0wkZ4KNrpck881bx5D0OrKNnPklvk4tlGjEJkhiP9DoyC0sc1lXA/TWugjVPrMb/bfNdmdBw=="


def test_documented_ed25519_examples_hold_and_nothing_near_them() -> None:
    assert verify("ED25519", ED25519_PUBLIC, ED25519_QUERY.encode(), ED25519_SIGNATURE)
    assert not verify("ED25519", ED25519_PUBLIC, ED25519_QUERY.replace("0.2", "0.3").encode(), ED25519_SIGNATURE)
    assert not verify("ED25519", ED25519_PUBLIC, ED25519_QUERY.encode(), ED25519_SIGNATURE.swapcase())
    assert not verify("ED25519", ED25519_PUBLIC, ED25519_QUERY.encode(), "not base64!")
    assert not verify("ED25519", "AAAA", ED25519_QUERY.encode(), ED25519_SIGNATURE)
    key = "4yNzx3yWC5bS6YTwEkSRaC0nRmSQIIStAUOh1b6kqaBrTLIhjCpI5lJH8q8R8WNO"
    logon = api_payload({"timestamp": "1668481559918", "apiKey": key})
    signature = "QsVYLIHMdnhE9Ak8YLl6J70Vo7j5uKbipaGDb7Vfcwkmyl+YORpsot4RvAR4KaqSmSzFpgPyKDGKZPfe6usuBw=="
    assert verify("ED25519", ED25519_PUBLIC, logon, signature)


def test_ed25519_signature_in_a_url_is_percent_encoded_text() -> None:
    bitcoin = InstrumentSpec(
        "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), Decimal(9000), Decimal(120)
    )
    account = AccountSpec(KEY, ED25519_PUBLIC, {"BTC": Decimal(2)}, key_type="ED25519")
    exchange = Exchange([bitcoin], [account])
    right, wrong = quote(ED25519_SIGNATURE, safe=""), quote(ED25519_SIGNATURE[:-4] + "AA==", safe="")
    assert code(exchange, f"{ED25519_QUERY}&signature={right}", now_ms=1668481559918) != -1022
    assert code(exchange, f"{ED25519_QUERY}&signature={wrong}", now_ms=1668481559918) == -1022


def test_documented_futures_examples_hold() -> None:
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    plain = (
        b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        b"&timestamp=1591702613943"
    )
    assert verify("HMAC", secret, plain, "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9")
    assert not verify("HMAC", secret, plain + b"0", "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9")
