"""Random orders of every kind by two accounts of one trade group: after each step the books add up."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, PREVENTIONS, AccountSpec, FillModel, Undocumented
from tests.simex.wire import ALICE, BOB, Client, Floor, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
STEPS = 400
OPEN = {"NEW", "PARTIALLY_FILLED", "PENDING_NEW"}


def started(chance: Random) -> tuple[Floor, list[Client]]:
    rules = Undocumented(
        pending_funds=chance.choice(["release", "placement"]), iceberg_refill=chance.choice(["back", "front"])
    )
    held = {"USDT": D(200_000), "BTC": D(4)}
    accounts = [AccountSpec(key, secret_of(key), held, trade_group=5) for key in (ALICE, BOB)]
    exchange = Exchange(DEFAULT_INSTRUMENTS, accounts, model=FillModel(slippage_bps=D(3)), rules=rules)
    at = Floor(exchange)
    at.tick("60000")
    return at, [Client(at, ALICE), Client(at, BOB)]


def price(chance: Random, around: int, spread: int = 600) -> str:
    return str(around + chance.randrange(-spread, spread + 1))


def single(chance: Random, around: int) -> dict[str, Any]:
    kind = chance.choice(["LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT"])
    wish: dict[str, Any] = {
        "symbol": "BTCUSDT", "side": chance.choice(["BUY", "SELL"]), "type": kind,
        "quantity": f"0.{chance.randrange(1, 999):03}", "selfTradePreventionMode": chance.choice(PREVENTIONS),
    }  # fmt: skip
    if kind in ("LIMIT", "STOP_LOSS_LIMIT"):
        wish["timeInForce"] = chance.choice(["GTC", "GTC", "IOC", "FOK"])
    if kind in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"):
        wish["price"] = price(chance, around)
        if chance.random() < 0.3:
            wish["icebergQty"] = f"{D(wish['quantity']) / chance.randrange(2, 9):.5f}"
        if chance.random() < 0.2:
            wish["pegPriceType"] = chance.choice(["PRIMARY_PEG", "MARKET_PEG"])
    if kind.startswith(("STOP", "TAKE")):
        if chance.random() < 0.5:
            wish["trailingDelta"] = chance.randrange(10, 200)
        if "trailingDelta" not in wish or chance.random() < 0.5:
            wish["stopPrice"] = price(chance, around)
    return wish


def pair(chance: Random, around: int) -> tuple[str, dict[str, Any]]:
    quantity = f"0.{chance.randrange(1, 99):02}"
    legs = {"AboveType": "LIMIT_MAKER", "AbovePrice": str(around + chance.randrange(20, 400)),
            "BelowType": "STOP_LOSS", "BelowStopPrice": str(around - chance.randrange(20, 400))}  # fmt: skip
    if chance.random() < 0.4:
        return "orderList/oco", {
            "symbol": "BTCUSDT", "side": "SELL", "quantity": quantity,
            **{name[0].lower() + name[1:]: value for name, value in legs.items()},
        }  # fmt: skip
    wish: dict[str, Any] = {
        "symbol": "BTCUSDT", "workingType": "LIMIT", "workingSide": "BUY", "workingTimeInForce": "GTC",
        "workingPrice": price(chance, around, 200), "workingQuantity": quantity, "pendingSide": "SELL",
        **{f"pending{name}": value for name, value in legs.items()},
    }  # fmt: skip
    if chance.random() < 0.5:
        return "orderList/opoco", wish
    return "orderList/otoco", wish | {"pendingQuantity": quantity}


def act(chance: Random, client: Client, around: int) -> None:
    """One request of a client; what it asks for may be refused."""
    what = chance.random()
    if what < 0.55:
        client.call("POST", "order", **single(chance, around))
        return
    if what < 0.7:
        path, wish = pair(chance, around)
        client.call("POST", path, **wish)
        return
    resting = client.get("openOrders", symbol="BTCUSDT")
    if not resting:
        return
    order = chance.choice(resting)
    where = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    if what < 0.8:
        client.call("DELETE", "order", **where)
    elif what < 0.9:
        less = f"{D(order['origQty']) * chance.randrange(1, 10) / 10:.5f}"
        client.call("PUT", "order/amend/keepPriority", **where, newQty=less)
    else:
        client.call("POST", "order/cancelReplace", **single(chance, around), cancelOrderId=order["orderId"],
                    cancelReplaceMode=chance.choice(["STOP_ON_FAILURE", "ALLOW_FAILURE"]))  # fmt: skip


def check(at: Floor, client: Client) -> None:
    """Every order's quantities add up, and the account's queries agree with each other."""
    at.exchange.check_books()
    resting = {order["orderId"] for order in client.get("openOrders", symbol="BTCUSDT")}
    for order in client.get("allOrders", symbol="BTCUSDT", limit=1000):
        left = D(order["origQty"]) - D(order["executedQty"]) - D(order.get("preventedQuantity", "0"))
        assert left >= 0, order
        assert (order["status"] in OPEN) == (order["orderId"] in resting), order
        assert left > 0 or order["status"] not in OPEN or order["status"] == "PENDING_NEW", order
        assert order["status"] != "FILLED" or left == 0, order


@pytest.mark.parametrize("seed", range(6))
def test_the_books_add_up_whatever_is_asked(seed: int) -> None:
    chance = Random(seed)
    at, clients = started(chance)
    around = 60_000
    for step in range(STEPS):
        if chance.random() < 0.4:
            around += chance.randrange(-150, 151)
            at.tick(str(around), liquidity=f"{chance.random() * 2:.5f}")
        else:
            at.now_ms += 250
            act(chance, chance.choice(clients), around)
        at.exchange.check_books()
        if step % 20 == 0:
            check(at, chance.choice(clients))
    kinds = {order["status"] for client in clients for order in client.get("allOrders", symbol="BTCUSDT", limit=1000)}
    assert {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"} <= kinds
    for client in clients:
        if client.get("openOrders", symbol="BTCUSDT"):
            client.delete("openOrders", symbol="BTCUSDT")
        assert all(D(entry["locked"]) == 0 for entry in client.get("account")["balances"])
    at.exchange.check_books()
