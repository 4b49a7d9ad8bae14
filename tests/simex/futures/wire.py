"""A client of the simulated futures market for tests: it knows nothing but the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS, ContractSpec
from simex.futures.exchange import Futures
from simex.venue import AccountSpec, FillModel, HttpRequest, HttpResponse, Undocumented
from tests.simex.wire import ALICE, BOB, SHARP, Caller, Floor, secret_of

D = Decimal


@dataclass
class Trader(Caller):
    """One account's futures client."""

    def target(self, path: str) -> str:
        """A path without a version is one of /fapi/v1."""
        return f"/fapi/{path}" if path[:1] == "v" else f"/fapi/v1/{path}"

    def refused(self, method: str, path: str, **params: object) -> int:
        """The code of a refusal."""
        response = self.call(method, path, **params)
        body = json.loads(response.body)
        assert response.status >= 400, body
        code: int = body["code"]
        return code

    def order(self, side: str, quantity: object, price: object = None, **more: object) -> Any:
        return self.post("order", **self.wish(side, quantity, price, **more))

    def no_order(self, side: str, quantity: object, price: object = None, **more: object) -> int:
        return self.refused("POST", "order", **self.wish(side, quantity, price, **more))

    def wish(self, side: str, quantity: object, price: object = None, **more: object) -> dict[str, object]:
        """Market without a price, else limit, good till cancelled."""
        wish: dict[str, object] = {"symbol": "BTCUSDT", "side": side, "quantity": quantity}
        wish |= {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": price, "timeInForce": "GTC"}
        return wish | more

    def algo(self, side: str, kind: str, trigger: object = None, **more: object) -> Any:
        return self.post("algoOrder", **self.algo_wish(side, kind, trigger, **more))

    def no_algo(self, side: str, kind: str, trigger: object = None, **more: object) -> int:
        return self.refused("POST", "algoOrder", **self.algo_wish(side, kind, trigger, **more))

    def algo_wish(self, side: str, kind: str, trigger: object = None, **more: object) -> dict[str, object]:
        wish: dict[str, object] = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": side, "type": kind}
        return wish | {"triggerPrice": trigger} | more

    def position(self, symbol: str = "BTCUSDT", side: str = "BOTH") -> Any:
        rows = self.get("v2/positionRisk", symbol=symbol)
        return next(row for row in rows if row["positionSide"] == side)

    def amount(self, symbol: str = "BTCUSDT", side: str = "BOTH") -> Any:
        return D(self.position(symbol, side)["positionAmt"])

    def wallet(self, asset: str = "USDT") -> Any:
        return D(self.row(asset)["balance"])

    def available(self) -> Any:
        return D(self.row("USDT")["availableBalance"])

    def row(self, asset: str) -> Any:
        return next(row for row in self.get("v3/balance") if row["asset"] == asset)

    def seen(self, order_id: int) -> Any:
        return self.get("order", symbol="BTCUSDT", orderId=order_id)

    def listen(self, form: str = "/private/ws?listenKey={}") -> int:
        """A private link that hears the account."""
        return self.floor.open(form.format(self.listen_key()))

    def listen_key(self) -> str:
        key: str = self.post("listenKey")["listenKey"]
        return key


def floor(
    *,
    wallet: dict[str, Decimal] | None = None,
    model: FillModel = SHARP,
    contracts: Sequence[ContractSpec] = DEFAULT_CONTRACTS,
    maker_bps: str = "2",
    taker_bps: str = "5",
    rules: Undocumented | None = None,
    price: str | None = "100000",
) -> Floor:
    """A futures market with two clients, each with the given wallet, after one print of BTCUSDT."""
    held = {"USDT": D(10_000)} if wallet is None else wallet
    accounts = [
        AccountSpec(
            key, secret_of(key), {}, wallet=held, futures_maker_bps=D(maker_bps), futures_taker_bps=D(taker_bps)
        )
        for key in (ALICE, BOB)
    ]
    made = Floor(Exchange((), accounts, model=model, contracts=contracts, rules=rules))
    if price is not None:
        made.tick(price)
    return made


def market_of(at: Floor) -> Futures:
    assert at.exchange.futures is not None
    return at.exchange.futures


def public(at: Floor, target: str) -> HttpResponse:
    return at.exchange.rest(HttpRequest("GET", f"/fapi/{target}", {}), at.now_ms)
