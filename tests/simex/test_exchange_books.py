"""Whatever is ordered and wherever the price goes: nothing is made, nothing is lost, nobody owes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.venue import FillModel
from tests.simex.wire import ALICE, BOB, Client, Floor, floor

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
START = {"USDT": D(5000), "BTC": D("0.08")}

prices = st.integers(58_000, 62_000)
quantities = st.integers(8, 8000).map(lambda lots: str(D(lots).scaleb(-5)))
sides = st.sampled_from(["BUY", "SELL"])
orders = st.fixed_dictionaries(
    {
        "side": sides,
        "type": st.sampled_from(
            ["MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
        ),
        "quantity": quantities,
        "price": prices,
        "stopPrice": prices,
        "timeInForce": st.sampled_from(["GTC", "GTC", "IOC", "FOK"]),
        "selfTradePreventionMode": st.sampled_from(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]),
    }
)
lists = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["oco", "otoco", "opoco"]),
        "side": sides,
        "quantity": quantities,
        "price": prices,
        "far": st.integers(1, 2000),
        "near": st.integers(1, 2000),
    }
)
clients = st.sampled_from([ALICE, BOB])
steps = st.one_of(
    st.tuples(st.just("tick"), prices, st.integers(0, 5000).map(lambda lots: str(D(lots).scaleb(-5)))),
    st.tuples(st.just("order"), clients, orders),
    st.tuples(st.just("list"), clients, lists),
    st.tuples(st.just("quote"), clients, sides),
    st.tuples(st.just("cancel"), clients, st.integers(0, 5)),
    st.tuples(st.just("deposit"), clients, st.integers(1, 500)),
)


def place(at: Floor, key: str, wish: dict[str, Any]) -> None:
    kind = wish["type"]
    unwanted = set()
    if kind in ("MARKET", "STOP_LOSS", "TAKE_PROFIT"):
        unwanted |= {"price"}
    if kind in ("MARKET", "LIMIT", "LIMIT_MAKER"):
        unwanted |= {"stopPrice"}
    if not kind.endswith("LIMIT"):
        unwanted |= {"timeInForce"}
    sent = {name: value for name, value in wish.items() if name not in unwanted}
    Client(at, key).call("POST", "order", symbol="BTCUSDT", **sent)


def place_list(at: Floor, key: str, wish: dict[str, Any]) -> None:
    above, below = wish["price"] + wish["far"], wish["price"] - wish["near"]
    limit_above = wish["side"] == "SELL" or wish["kind"] != "oco"
    legs: dict[str, object]
    if limit_above:
        legs = {"aboveType": "LIMIT_MAKER", "abovePrice": above, "belowType": "STOP_LOSS", "belowStopPrice": below}
    else:
        legs = {"aboveType": "STOP_LOSS", "aboveStopPrice": above, "belowType": "LIMIT_MAKER", "belowPrice": below}
    client = Client(at, key)
    if wish["kind"] == "oco":
        client.call("POST", "orderList/oco", symbol="BTCUSDT", side=wish["side"], quantity=wish["quantity"], **legs)
        return
    pending = {f"pending{name[0].upper()}{name[1:]}": value for name, value in legs.items()}
    if wish["kind"] == "otoco":
        pending["pendingQuantity"] = wish["quantity"]
    client.call(
        "POST", f"orderList/{wish['kind']}", symbol="BTCUSDT", workingType="LIMIT", workingSide="BUY",
        workingTimeInForce="GTC", workingPrice=wish["price"], workingQuantity=wish["quantity"], pendingSide="SELL",
        **pending,
    )  # fmt: skip


def cancel(at: Floor, key: str, which: int) -> None:
    client = Client(at, key)
    resting = client.get("openOrders")
    if resting:
        client.call("DELETE", "order", symbol="BTCUSDT", orderId=resting[which % len(resting)]["orderId"])


def perform(at: Floor, step: tuple[Any, ...]) -> None:
    match step:
        case ("tick", price, liquidity):
            at.tick(str(price), liquidity=liquidity)
        case ("order", key, wish):
            place(at, key, wish)
        case ("list", key, wish):
            place_list(at, key, wish)
        case ("quote", key, side):
            Client(at, key).call("POST", "order", symbol="BTCUSDT", side=side, type="MARKET", quoteOrderQty="777.77")
        case ("cancel", key, which):
            cancel(at, key, which)
        case ("deposit", key, amount):
            at.exchange.deposit(key, "USDT", D(amount), at.now_ms)


def deposited(done: list[tuple[Any, ...]]) -> Decimal:
    return sum((D(step[2]) for step in done if step[0] == "deposit"), D(0))


@given(st.lists(steps, max_size=60), st.sampled_from([FillModel(), FillModel(D(0), D(0)), FillModel(D(3), D(30))]))
def test_assets_are_conserved_and_balances_never_negative(done: list[tuple[Any, ...]], model: FillModel) -> None:
    at = floor(balances=START, model=model)
    at.tick("60000", liquidity="0.02")
    before = at.exchange.totals()
    for step in done:
        perform(at, step)
        at.exchange.check_books()
    expected = before | {"USDT": before["USDT"] + deposited(done)}
    assert at.exchange.totals() == expected
    balances_match_the_wire(at)


def balances_match_the_wire(at: Floor) -> None:
    """What an account shows follows from its trades, and nothing stays locked once everything is cancelled."""
    for key in (ALICE, BOB):
        client = Client(at, key)
        client.call("DELETE", "openOrders", symbol="BTCUSDT")
        trades = json.loads(client.call("GET", "myTrades", symbol="BTCUSDT", limit=1000).body)
        change = D(0)
        for trade in trades:
            sign = 1 if trade["isBuyer"] else -1
            change += sign * D(trade["qty"]) - (D(trade["commission"]) if trade["commissionAsset"] == "BTC" else 0)
        free, locked = client.balance("BTC")
        assert (free, locked) == (START["BTC"] + change, 0)
        assert client.balance("USDT")[1] == 0
    assert at.exchange.is_idle("BTCUSDT")
    at.exchange.check_books()


@given(st.lists(steps, max_size=40))
def test_user_events_tell_the_whole_story(done: list[tuple[Any, ...]]) -> None:
    at = floor(balances=START)
    at.tick("60000", liquidity="0.02")
    client = Client(at)
    link = client.listen()
    for step in done:
        perform(at, step)
    held: dict[str, tuple[Decimal, Decimal]] = {}
    state: dict[int, tuple[str, Decimal]] = {}
    for event in client.events(link):
        if event["e"] == "outboundAccountPosition":
            held |= {entry["a"]: (D(entry["f"]), D(entry["l"])) for entry in event["B"]}
        elif event["e"] == "executionReport":
            earlier = state.get(event["i"], ("", D(0)))
            assert D(event["z"]) == earlier[1] + D(event["l"]), "executed quantities add up fill by fill"
            assert earlier[0] not in ("FILLED", "CANCELED", "EXPIRED"), "nothing follows an end"
            state[event["i"]] = (event["X"], D(event["z"]))
    for asset, balance in held.items():
        assert client.balance(asset) == balance
    shown = {order["orderId"]: order for order in client.get("allOrders", symbol="BTCUSDT", limit=1000)}
    assert {number: entry[0] for number, entry in state.items()} == {
        number: order["status"] for number, order in shown.items()
    }


@given(st.lists(steps, max_size=25))
def test_same_steps_give_the_same_frames(done: list[tuple[Any, ...]]) -> None:
    def run() -> list[tuple[int, str]]:
        at = floor(balances=START)
        at.tick("60000", liquidity="0.02")
        at.open("/ws/btcusdt@bookTicker/btcusdt@trade/btcusdt@kline_1m")
        Client(at).listen()
        for step in done:
            perform(at, step)
        return at.exchange.take_frames()

    assert run() == run()
