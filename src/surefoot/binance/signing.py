"""What we say to the venue, and how it is signed: orders as parameters, decimals as plain text, HMAC, RSA or Ed25519.

Rules: parameters are made here without timestamp, recvWindow and signature, which the session adds when it sends.
REST is encoded first and then signed, over the very bytes that are sent; the WebSocket API is signed over unencoded
text in the order of the names. One key, two rules: mixing them up is answered with -1022.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from urllib.parse import quote, urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from surefoot.core.messages import ReplaceOrder, SubmitList
from surefoot.core.model import ListType, OrderRequest, OrderType, Side

Params = list[tuple[str, str]]

PEM_MARK = "-----BEGIN "
RSA_BITS = (2048, 4096)


def sign_rest(secret: str, payload: bytes) -> str:
    """The signature over the raw query followed by the raw body, nothing between them, without `signature`.

    Lower-case hex by a shared secret; base64 where the secret is a private key in PEM form, Ed25519 or RSA.
    """
    if secret.startswith(PEM_MARK):
        key = _private_key(secret)
        if isinstance(key, Ed25519PrivateKey):
            return b64encode(key.sign(payload)).decode()
        return b64encode(key.sign(payload, PKCS1v15(), SHA256())).decode()
    return hmac.digest(secret.encode(), payload, "sha256").hex()


@lru_cache(maxsize=4)
def _private_key(pem: str) -> Ed25519PrivateKey | RSAPrivateKey:
    """ValueError for a key that the venue would not take."""
    key = load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey) or not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        raise ValueError(
            f"{type(key).__name__}: a private key is Ed25519, or RSA of {RSA_BITS[0]} to {RSA_BITS[1]} bits"
        )
    return key


def sign_ws(secret: str, params: Mapping[str, str | int]) -> str:
    """The signature over all `params` but `signature` (so with `apiKey`), by name, not percent-encoded."""
    # Python compares text by code point, which is the byte order of UTF-8 too.
    text = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    return sign_rest(secret, text.encode())


_plain = re.compile(r"[0-9A-Za-z_.~-]*").fullmatch  # nothing that would be escaped: nearly every order


def query_text(params: Sequence[tuple[str, str]]) -> str:
    """The parameters in the given order, percent-encoded once as UTF-8: what is signed, and sent byte for byte."""
    if _plain("".join([part for pair in params for part in pair])):
        return "&".join([f"{name}={value}" for name, value in params])
    return urlencode(params, quote_via=quote, safe="")


def decimal_text(value: Decimal) -> str:
    """Plain digits without exponent and without trailing zeros: 0.00001, never 1E-5. ValueError unless finite."""
    if not value.is_finite():
        raise ValueError(f"{value} cannot be sent")
    text = format(value, "f")
    # Zeros at the end count as decimals at the venue, which refuses more of them than the asset has (-1111).
    return text.rstrip("0").rstrip(".") if "." in text else text


# ---------------------------------------------------------------------------------------------------------------
# Orders and subscriptions

_PRICED = frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_STOPPED = frozenset({OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_TIMED = frozenset({OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})


def order_params(order: OrderRequest) -> Params:
    """The parameters of a plain order (POST /api/v3/order, order.place). ValueError when the order is incomplete."""
    return [
        ("symbol", order.symbol),
        ("side", order.side),
        *_terms(order),
        ("quantity", _needed(order.quantity, order, "quantity")),
        ("newClientOrderId", order.client_order_id),
        # Without it, stop orders are answered by a bare ACK.
        ("newOrderRespType", "FULL"),
    ]


def replace_params(command: ReplaceOrder) -> Params:
    """The parameters of a cancel-replace: the new order is tried only when the cancel succeeded."""
    cancel = [("cancelReplaceMode", "STOP_ON_FAILURE"), ("cancelOrigClientOrderId", command.cancel_id)]
    # What fills meanwhile would be sold twice, out of coins that are not the position's.
    return [*order_params(command.order), *cancel, ("cancelRestrictions", "ONLY_NEW")]


def list_request(command: SubmitList) -> tuple[str, Params]:
    """The path and parameters of an order list that sells. ValueError when the list is incomplete or buys to close.

    Orders come as (target, stop) for OCO and (entry, target, stop) for OTOCO and OPOCO.
    """
    *entries, target, stop = command.orders
    if target.side is not Side.SELL or stop.side is not Side.SELL:
        raise ValueError("spot protection sells: the target stands above the price, the stop below")
    head = [("symbol", target.symbol), ("listClientOrderId", command.list_id), ("newOrderRespType", "FULL")]
    return f"/api/v3/orderList/{command.type.lower()}", head + _list_legs(command.type, entries, target, stop)


def _list_legs(type: ListType, entries: Sequence[OrderRequest], target: OrderRequest, stop: OrderRequest) -> Params:
    if type is ListType.OCO:
        shared = [("side", str(target.side)), ("quantity", _needed(target.quantity, target, "quantity"))]
        return shared + _leg("above", target) + _leg("below", stop)
    (entry,) = entries
    pending = [("pendingSide", str(target.side))]
    if type is ListType.OTOCO:
        # An OPOCO sells what the entry received; naming a quantity there is refused.
        pending.append(("pendingQuantity", _needed(target.quantity, target, "quantity")))
    return _working(entry) + pending + _leg("pendingAbove", target) + _leg("pendingBelow", stop)


def _working(entry: OrderRequest) -> Params:
    quantity = ("workingQuantity", _needed(entry.quantity, entry, "quantity"))
    return [*_leg("working", entry), ("workingSide", entry.side), quantity]


def _leg(prefix: str, order: OrderRequest) -> Params:
    named = [*_terms(order), ("clientOrderId", order.client_order_id)]
    return [(prefix + name[0].upper() + name[1:], value) for name, value in named]


def _terms(order: OrderRequest) -> Params:
    """Type, time in force and the prices that the type takes; any other would be refused with -1106."""
    terms = [("type", str(order.type))]
    if order.type in _TIMED:
        terms.append(("timeInForce", "GTC"))
    if order.type in _PRICED:
        terms.append(("price", _needed(order.price, order, "price")))
    if order.type in _STOPPED:
        terms.append(("stopPrice", _needed(order.stop_price, order, "stop price")))
    return terms


def _needed(value: Decimal | None, order: OrderRequest, what: str) -> str:
    if value is None:
        raise ValueError(f"{order.type} order {order.client_order_id} has no {what}")
    return decimal_text(value)


def subscribe_text(id: int, streams: Sequence[str]) -> str:
    return _json({"method": "SUBSCRIBE", "params": list(streams), "id": id})


def unsubscribe_text(id: int, streams: Sequence[str]) -> str:
    return _json({"method": "UNSUBSCRIBE", "params": list(streams), "id": id})


def ws_request_text(id: int | str, method: str, params: Mapping[str, str | int]) -> str:
    """A WebSocket API request; `params` are sent as they were signed, numbers as numbers, texts as texts."""
    return _json({"id": id, "method": method, "params": dict(params)})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def kline_stream(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def book_stream(symbol: str) -> str:
    return f"{symbol.lower()}@bookTicker"


def mark_price_stream(symbol: str) -> str:
    return f"{symbol.lower()}@markPrice@1s"
