"""A client of the simulated exchange for tests: it knows nothing but the wire."""

from __future__ import annotations

import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from simex.exchange import Exchange
from simex.venue import (
    DEFAULT_INSTRUMENTS,
    AccountSpec,
    FillModel,
    HttpRequest,
    HttpResponse,
    InstrumentSpec,
    Undocumented,
)

START_MS = 1_790_000_100_000  # A full minute, and five.
ALICE, BOB = "alice-key", "bob-key"
PLENTY = {"USDT": Decimal(100_000), "BTC": Decimal(10)}
# One tick of half spread and no slippage, so that prices can be read off.
SHARP = FillModel(half_spread_bps=Decimal(0), slippage_bps=Decimal(0))
PATIENT = replace(SHARP, market_rest="waits")


@dataclass
class Floor:
    """An exchange with a clock that the test moves."""

    exchange: Exchange
    now_ms: int = START_MS
    links: int = 0
    frames: dict[int, list[Any]] = field(default_factory=dict)

    def tick(self, price: str, liquidity: str = "100", volume: str = "1", symbol: str = "BTCUSDT") -> None:
        """A print one second later."""
        self.now_ms += 1000
        self.exchange.tick(symbol, Decimal(price), Decimal(volume), Decimal(liquidity), self.now_ms)

    def open(self, target: str) -> int:
        self.links += 1
        assert self.exchange.ws_open(self.links, target, self.now_ms)
        return self.links

    def say(self, link: int, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.exchange.ws_text(link, text, self.now_ms)

    def heard(self, link: int) -> list[Any]:
        """All frames of a link since the last time it was asked, decoded."""
        for number, text in self.exchange.take_frames():
            self.frames.setdefault(number, []).append(json.loads(text))
        return self.frames.pop(link, [])


@dataclass
class Caller(ABC):
    """Whoever sends signed requests with one account's key."""

    floor: Floor
    key: str = ALICE
    headers: Mapping[str, str] = field(default_factory=dict)

    @abstractmethod
    def target(self, path: str) -> str:
        """The whole path of a short one."""

    def get(self, path: str, **params: object) -> Any:
        return accepted(self.call("GET", path, **params))

    def post(self, path: str, **params: object) -> Any:
        return accepted(self.call("POST", path, **params))

    def put(self, path: str, **params: object) -> Any:
        return accepted(self.call("PUT", path, **params))

    def delete(self, path: str, **params: object) -> Any:
        return accepted(self.call("DELETE", path, **params))

    def call(self, method: str, path: str, **params: object) -> HttpResponse:
        """A signed request with its parameters in the query."""
        query = urlencode(
            {name: value for name, value in params.items() if value is not None}
            | {"timestamp": params.get("timestamp", self.floor.now_ms)}
        )
        query += f"&signature={sign(secret_of(self.key), query)}"
        request = HttpRequest(method, f"{self.target(path)}?{query}", {"x-mbx-apikey": self.key, **self.headers})
        return self.floor.exchange.rest(request, self.floor.now_ms)


@dataclass
class Client(Caller):
    """One account's REST client."""

    def target(self, path: str) -> str:
        return path if path.startswith("/") else f"/api/v3/{path}"

    def refused(self, method: str, path: str, **params: object) -> tuple[int, str]:
        """Code and text of a refusal."""
        response = self.call(method, path, **params)
        body = json.loads(response.body)
        assert response.status >= 400, body
        return body["code"], body["msg"]

    def buy(self, **params: object) -> Any:
        return self.post("order", symbol="BTCUSDT", side="BUY", **params)

    def sell(self, **params: object) -> Any:
        return self.post("order", symbol="BTCUSDT", side="SELL", **params)

    def balance(self, asset: str) -> tuple[Decimal | int, Decimal | int]:
        """Free and locked."""
        held = {entry["asset"]: entry for entry in self.get("account")["balances"]}
        return Decimal(held[asset]["free"]), Decimal(held[asset]["locked"])

    def order(self, order_id: int) -> Any:
        return self.get("order", symbol="BTCUSDT", orderId=order_id)

    def listen(self, query: str = "") -> int:
        """A WebSocket API link that is subscribed to the account's events."""
        link = self.floor.open(f"/ws-api/v3{query}")
        params: dict[str, Any] = {"apiKey": self.key, "timestamp": self.floor.now_ms}
        self.floor.say(link, signed_message("sub", "userDataStream.subscribe.signature", params, secret_of(self.key)))
        (answer,) = self.floor.heard(link)
        assert answer["result"] == {"subscriptionId": 0}
        return link

    def events(self, link: int) -> list[Any]:
        return [frame["event"] for frame in self.floor.heard(link)]


def floor(
    *,
    balances: dict[str, Decimal] | None = None,
    model: FillModel | None = None,
    instruments: Sequence[InstrumentSpec] = DEFAULT_INSTRUMENTS,
    forming_klines: bool = True,
    rules: Undocumented | None = None,
) -> Floor:
    """An exchange with two clients, each with the given balances."""
    held = PLENTY if balances is None else balances
    accounts = [AccountSpec(key, secret_of(key), held) for key in (ALICE, BOB)]
    return Floor(Exchange(instruments, accounts, model=model, forming_klines=forming_klines, rules=rules))


def secret_of(key: str) -> str:
    return f"{key}-secret"


def sign(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed_message(request_id: object, method: str, params: dict[str, Any], secret: str) -> dict[str, Any]:
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {"id": request_id, "method": method, "params": params | {"signature": sign(secret, payload)}}


def accepted(response: HttpResponse) -> Any:
    body = json.loads(response.body)
    assert response.status == 200, body
    return body


def public(at: Floor, target: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return at.exchange.rest(HttpRequest("GET", f"/api/v3/{target}", headers or {}), at.now_ms)


def json_list(*symbols: str) -> str:
    return quote(json.dumps(symbols))
