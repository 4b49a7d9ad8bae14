"""Requests are written and signed as the venue documents it: its own examples are the referee."""

from __future__ import annotations

import json
from base64 import b64decode
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.signing import (
    book_stream,
    decimal_text,
    kline_stream,
    list_request,
    order_params,
    query_text,
    sign_rest,
    sign_ws,
    subscribe_text,
    unsubscribe_text,
    ws_request_text,
)
from surefoot.core.messages import SubmitList
from surefoot.core.model import ListType, OrderRequest, OrderType, Purpose, Side
from tests.payloads.reading import documented, shared_file

# The key pair that the documentation prints; no account is behind it.
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
FULL_WIDTH = "１２３４５６"

HEAD = [("side", "BUY"), ("type", "LIMIT"), ("timeInForce", "GTC")]
TAIL = [("quantity", "1"), ("price", "0.1"), ("recvWindow", "5000"), ("timestamp", "1499827319559")]


@pytest.mark.spec("NET-1")
def test_documented_query_is_signed_as_documented() -> None:
    payload = query_text([("symbol", "LTCBTC"), *HEAD, *TAIL])
    assert payload == (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )
    expected = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert sign_rest(SECRET, payload.encode()) == expected


@pytest.mark.spec("NET-1")
def test_query_and_body_are_signed_without_anything_between_them() -> None:
    query, body = query_text([("symbol", "LTCBTC"), *HEAD]), query_text(TAIL)
    expected = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    assert sign_rest(SECRET, (query + body).encode()) == expected


@pytest.mark.spec("NET-1")
def test_foreign_letters_are_encoded_before_they_are_signed() -> None:
    payload = query_text([("symbol", FULL_WIDTH), *HEAD, *TAIL])
    assert payload.startswith("symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY")
    signed = sign_rest(SECRET, payload.encode())
    assert signed == "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
    # The venue refuses (-1022) what is signed unencoded.
    unencoded = payload.replace("%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96", FULL_WIDTH)
    refused = "ca2cdfbf21d2e2958de492c7f2dd1f059dd2ed4d4459d26a5ec7928db50c8d4f"
    assert sign_rest(SECRET, unencoded.encode()) == refused


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"symbol": "BTCUSDT", "side": "SELL", "price": "52000.00", "quantity": "0.01000000", "recvWindow": 100},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"symbol": FULL_WIDTH, "side": "BUY", "price": "0.10000000", "quantity": "1.00000000", "recvWindow": 5000},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)
def test_websocket_request_is_signed_sorted_and_unencoded(params: dict[str, str | int], expected: str) -> None:
    params = params | {"type": "LIMIT", "timeInForce": "GTC", "apiKey": API_KEY, "timestamp": 1645423376532}
    assert sign_ws(SECRET, params) == expected
    assert sign_ws(SECRET, params | {"signature": expected}) == expected


@pytest.mark.spec("NET-1")
def test_published_vectors_are_reproduced() -> None:
    vectors = json.loads(shared_file("measure/fixtures/signing_vectors.json").read_text())
    assert len(vectors) == 4
    for vector in vectors:
        assert sign_rest(vector["example_secret"], vector["payload"].encode()) == vector["signature"]
        if vector["api"] == "ws-api":
            params = dict(pair.split("=") for pair in vector["payload"].split("&"))
            assert sign_ws(vector["example_secret"], params) == vector["signature"]


@pytest.mark.spec("NET-1")
def test_list_parameter_is_encoded_once() -> None:
    assert query_text([("symbols", '["A","B"]'), ("note", "a b+c/%")]) == (
        "symbols=%5B%22A%22%2C%22B%22%5D&note=a%20b%2Bc%2F%25"
    )


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_any_parameters_survive_the_query(params: list[tuple[str, str]]) -> None:
    text = query_text(params)
    assert text.isascii()
    assert parse_qsl(text, keep_blank_values=True, strict_parsing=bool(params)) == params


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E-5", "0.00001"), ("0.00001000", "0.00001"), ("1E+3", "1000"), ("60010.10", "60010.1"), ("100", "100")],
)
def test_decimal_is_written_plainly(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18, places=None))
def test_decimal_keeps_its_value_in_text(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value
    assert set(text) <= set("-0123456789.")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
@pytest.mark.spec("SAFE-5")
def test_number_that_is_none_is_never_sent(value: str) -> None:
    with pytest.raises(ValueError):
        decimal_text(Decimal(value))


# ---------------------------------------------------------------------------------------------------------------
# Orders


def order(type: OrderType, side: Side = Side.SELL, id: str = "bot-1", **amounts: str | None) -> OrderRequest:
    given = {"quantity": "0.01000", "price": None, "stop_price": None} | amounts
    exact = {name: None if text is None else Decimal(text) for name, text in given.items()}
    return OrderRequest(id, "BTCUSDT", side, type, Purpose.EXIT, exact["quantity"], exact["price"], exact["stop_price"])


COMMON = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", "newClientOrderId": "bot-1"}


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (order(OrderType.MARKET, price="5"), {"type": "MARKET"}),
        (order(OrderType.LIMIT, price="60000.10"), {"type": "LIMIT", "timeInForce": "GTC", "price": "60000.1"}),
        (order(OrderType.LIMIT_MAKER, price="61000"), {"type": "LIMIT_MAKER", "price": "61000"}),
        (order(OrderType.STOP_LOSS, stop_price="58000"), {"type": "STOP_LOSS", "stopPrice": "58000"}),
        (
            order(OrderType.STOP_LOSS_LIMIT, price="57900", stop_price="58000"),
            {"type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "price": "57900", "stopPrice": "58000"},
        ),
        (
            order(OrderType.TAKE_PROFIT_LIMIT, price="61000", stop_price="60900"),
            {"type": "TAKE_PROFIT_LIMIT", "timeInForce": "GTC", "price": "61000", "stopPrice": "60900"},
        ),
    ],
    ids=lambda value: value.type.lower() if isinstance(value, OrderRequest) else "",
)
def test_order_carries_what_its_type_takes_and_nothing_else(request_: OrderRequest, expected: dict[str, str]) -> None:
    params = order_params(request_)
    assert len(params) == len(dict(params))
    assert dict(params) == COMMON | {"newOrderRespType": "FULL"} | expected


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize(
    "incomplete",
    [
        order(OrderType.MARKET, quantity=None),
        order(OrderType.LIMIT),
        order(OrderType.STOP_LOSS),
        order(OrderType.STOP_LOSS_LIMIT, price="1"),
        order(OrderType.LIMIT_MAKER, price="NaN"),
    ],
)
def test_order_without_its_numbers_is_never_written(incomplete: OrderRequest) -> None:
    with pytest.raises(ValueError):
        order_params(incomplete)


ENTRY = order(OrderType.LIMIT, Side.BUY, "bot-5", price="60010")
TARGET = order(OrderType.LIMIT_MAKER, id="bot-5-tp", quantity="0.00999", price="61000")
STOP = order(OrderType.STOP_LOSS, id="bot-5-sl", quantity="0.00999", stop_price="58000")


@pytest.mark.spec("ORD-6")
def test_oco_names_the_target_above_and_the_stop_below() -> None:
    path, params = list_request(SubmitList(1, ListType.OCO, "list-5", (TARGET, STOP)))
    assert path == "/api/v3/orderList/oco"
    assert len(params) == len(dict(params))
    assert dict(params) == {
        "symbol": "BTCUSDT",
        "listClientOrderId": "list-5",
        "newOrderRespType": "FULL",
        "side": "SELL",
        "quantity": "0.00999",
        "aboveType": "LIMIT_MAKER",
        "aboveClientOrderId": "bot-5-tp",
        "abovePrice": "61000",
        "belowType": "STOP_LOSS",
        "belowClientOrderId": "bot-5-sl",
        "belowStopPrice": "58000",
    }


@pytest.mark.spec("ORD-6")
def test_otoco_enters_and_protects_in_one_request() -> None:
    path, params = list_request(SubmitList(1, ListType.OTOCO, "list-5", (ENTRY, TARGET, STOP)))
    assert path == "/api/v3/orderList/otoco"
    assert len(params) == len(dict(params))
    assert dict(params) == {
        "symbol": "BTCUSDT",
        "listClientOrderId": "list-5",
        "newOrderRespType": "FULL",
        "workingType": "LIMIT",
        "workingTimeInForce": "GTC",
        "workingPrice": "60010",
        "workingClientOrderId": "bot-5",
        "workingSide": "BUY",
        "workingQuantity": "0.01",
        "pendingSide": "SELL",
        "pendingQuantity": "0.00999",
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAboveClientOrderId": "bot-5-tp",
        "pendingAbovePrice": "61000",
        "pendingBelowType": "STOP_LOSS",
        "pendingBelowClientOrderId": "bot-5-sl",
        "pendingBelowStopPrice": "58000",
    }


@pytest.mark.spec("ORD-6")
def test_opoco_leaves_the_pending_quantity_to_the_venue() -> None:
    target = order(OrderType.TAKE_PROFIT_LIMIT, id="bot-6-tp", quantity=None, price="61000", stop_price="60990")
    stop = order(OrderType.STOP_LOSS_LIMIT, id="bot-6-sl", quantity=None, price="57900", stop_price="58000")
    path, params = list_request(SubmitList(1, ListType.OPOCO, "list-6", (ENTRY, target, stop)))
    assert path == "/api/v3/orderList/opoco"
    named = dict(params)
    assert "pendingQuantity" not in named
    assert named["pendingAboveTimeInForce"] == named["pendingBelowTimeInForce"] == "GTC"
    assert (named["pendingAbovePrice"], named["pendingAboveStopPrice"]) == ("61000", "60990")
    assert (named["pendingBelowPrice"], named["pendingBelowStopPrice"]) == ("57900", "58000")


@pytest.mark.spec("ORD-6")
@pytest.mark.parametrize(
    ("type", "orders"), [(ListType.OTOCO, (ENTRY, TARGET, STOP)), (ListType.OPOCO, (ENTRY, TARGET, STOP))]
)
def test_list_uses_only_names_that_the_documentation_uses(type: ListType, orders: tuple[OrderRequest, ...]) -> None:
    documented_names = set()
    for section in ("Place new Order list - OTOCO", "OPOCO (TRADE)", "Place new Order list - OCO"):
        documented_names |= set(documented("web-socket-api.md", section)[0]["params"])
    _, params = list_request(SubmitList(1, type, "list-5", orders))
    ours = {name for name, _ in params if not name.endswith("ClientOrderId") and name != "newOrderRespType"}
    assert ours <= documented_names


@pytest.mark.spec("ORD-6")
def test_protection_that_buys_is_never_written() -> None:
    with pytest.raises(ValueError):
        list_request(SubmitList(1, ListType.OCO, "list-5", (order(OrderType.LIMIT_MAKER, Side.BUY, price="1"), STOP)))


def test_commands_on_a_stream_are_the_documented_ones() -> None:
    subscribe, _ = documented("web-socket-streams.md", "Subscribe to a stream")
    unsubscribe, _ = documented("web-socket-streams.md", "Unsubscribe to a stream")
    assert json.loads(subscribe_text(1, ["btcusdt@aggTrade", "btcusdt@depth"])) == subscribe
    assert json.loads(unsubscribe_text(312, ["btcusdt@depth"])) == unsubscribe


def test_websocket_request_keeps_numbers_and_texts_apart() -> None:
    text = ws_request_text("7", "order.status", {"symbol": FULL_WIDTH, "timestamp": 1790000000000})
    assert json.loads(text) == {
        "id": "7",
        "method": "order.status",
        "params": {"symbol": FULL_WIDTH, "timestamp": 1790000000000},
    }
    assert FULL_WIDTH in text


def test_streams_are_named_in_lower_case_but_months_stay_months() -> None:
    assert kline_stream("BTCUSDT", "15m") == "btcusdt@kline_15m"
    assert kline_stream("BTCUSDT", "1M") == "btcusdt@kline_1M"
    assert book_stream("BTCUSDT") == "btcusdt@bookTicker"


ED25519_PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
    "-----END PRIVATE KEY-----\n"
)


@pytest.mark.spec("NET-1")
def test_documented_ed25519_examples_are_signed_as_documented() -> None:
    query = (
        "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
        "&timestamp=1668481559918&recvWindow=5000"
    )
    signature = sign_rest(ED25519_PEM, query.encode())
    assert signature == "m5loLRxgkb9HyW0wkZ4KNrpck881bx5D0OrKNnPklvk4tlGjEJkhiP9DoyC0sc1lXA/TWugjVPrMb/bfNdmdBw=="
    in_the_url = "m5loLRxgkb9HyW0wkZ4KNrpck881bx5D0OrKNnPklvk4tlGjEJkhiP9DoyC0sc1lXA%2FTWugjVPrMb%2FbfNdmdBw%3D%3D"
    assert query_text([("signature", signature)]) == f"signature={in_the_url}"
    key = "4yNzx3yWC5bS6YTwEkSRaC0nRmSQIIStAUOh1b6kqaBrTLIhjCpI5lJH8q8R8WNO"
    logon = sign_ws(ED25519_PEM, {"timestamp": 1668481559918, "apiKey": key})
    assert logon == "QsVYLIHMdnhE9Ak8YLl6J70Vo7j5uKbipaGDb7Vfcwkmyl+YORpsot4RvAR4KaqSmSzFpgPyKDGKZPfe6usuBw=="


@pytest.mark.spec("NET-1")
def test_documented_futures_examples_are_signed_as_documented() -> None:
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    plain = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        "&timestamp=1591702613943"
    )
    assert sign_rest(secret, plain.encode()) == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    batch = (
        "batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT%22%2C%22quantity%22"
        "%3A%220.010%22%2C%22price%22%3A%2260000.0%22%2C%22timeInForce%22%3A%22GTX%22%7D%5D&recvWindow=5000"
        "&timestamp=1790000000000"
    )
    assert sign_rest(secret, batch.encode()) == "6061cbf0002b74727ee73f07f3e02f893d3afe8c9af8d65e397645375288298e"


@pytest.mark.spec("NET-1")
def test_a_private_key_of_another_kind_is_refused_in_words() -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65_537, 1_024)):
        with pytest.raises(ValueError, match="a private key is Ed25519, or RSA of 2048 to 4096 bits"):
            sign_rest(pem_of(key), b"payload")


@pytest.mark.spec("NET-1")
def test_rsa_signs_by_the_padding_that_the_venue_wants() -> None:
    key = rsa.generate_private_key(65_537, 2_048)
    signature = b64decode(sign_rest(pem_of(key), b"symbol=BTCUSDT"))
    key.public_key().verify(signature, b"symbol=BTCUSDT", PKCS1v15(), SHA256())


def pem_of(key: PrivateKeyTypes) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
