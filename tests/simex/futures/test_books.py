"""Whatever is ordered and wherever the price goes: no money is made, none is lost, and the events tell it all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.venue import FillModel
from tests.simex.futures.wire import Trader, floor, market_of
from tests.simex.wire import ALICE, BOB, Floor

pytestmark = [pytest.mark.spec("SIM-1", "PNL-2")]
D = Decimal

symbols = st.sampled_from(["BTCUSDT", "ETHUSDT"])
# In tenths of a per cent of the first price.
levels = st.integers(-80, 80)
sizes = st.integers(1, 60)
clients = st.sampled_from([ALICE, BOB])
sides = st.sampled_from(["BUY", "SELL"])
orders = st.fixed_dictionaries(
    {
        "symbol": symbols,
        "side": sides,
        "type": st.sampled_from(["LIMIT", "LIMIT", "MARKET"]),
        "timeInForce": st.sampled_from(["GTC", "GTC", "IOC", "FOK", "GTX"]),
        "level": st.integers(-40, 40),
        "size": sizes,
        "reduceOnly": st.sampled_from(["false", "false", "true"]),
        "selfTradePreventionMode": st.sampled_from(["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]),
    }
)
algos = st.fixed_dictionaries(
    {
        "symbol": symbols,
        "side": sides,
        "type": st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET"]),
        "level": st.integers(-40, 40),
        "size": sizes,
        "workingType": st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"]),
        "closes": st.booleans(),
    }
)
steps = st.one_of(
    st.tuples(st.just("tick"), symbols, levels, st.integers(0, 200)),
    st.tuples(st.just("tick"), symbols, levels, st.integers(0, 200)),
    st.tuples(st.just("order"), clients, orders),
    st.tuples(st.just("algo"), clients, algos),
    st.tuples(st.just("cancel"), clients, symbols),
    st.tuples(st.just("modify"), clients, st.integers(-40, 40), sizes),
    st.tuples(st.just("leverage"), clients, symbols, st.integers(5, 100)),
    st.tuples(st.just("isolate"), clients, symbols),
    st.tuples(st.just("basis"), symbols, st.integers(-20, 20)),
    st.tuples(st.just("hours"), st.integers(1, 9)),
    st.tuples(st.just("transfer"), clients, st.integers(-50, 50)),
)
FIRST = {"BTCUSDT": D(100_000), "ETHUSDT": D(4000)}
LOTS = {"BTCUSDT": D("0.001"), "ETHUSDT": D("0.025")}


def price_at(symbol: str, level: int) -> Decimal:
    return FIRST[symbol] * (1000 + level) / 1000


def in_its_mode(at: Floor, key: str, wish: dict[str, Any]) -> dict[str, Any]:
    """In hedge mode a position side takes the place of reduce-only: reduce-only orders close, others open."""
    if not Trader(at, key).get("positionSide/dual")["dualSidePosition"]:
        return wish
    opens = (wish["side"] == "BUY") == (wish.get("reduceOnly") != "true")
    kept = {name: value for name, value in wish.items() if name != "reduceOnly"}
    return kept | {"positionSide": "LONG" if opens else "SHORT"}


def place(at: Floor, key: str, asked: dict[str, Any]) -> None:
    wish = in_its_mode(at, key, asked)
    sent = {name: value for name, value in wish.items() if name not in ("level", "size")}
    sent["quantity"] = LOTS[wish["symbol"]] * wish["size"]
    if wish["type"] == "LIMIT":
        sent["price"] = price_at(wish["symbol"], wish["level"])
    else:
        del sent["timeInForce"]
    Trader(at, key).call("POST", "order", **sent)


def place_algo(at: Floor, key: str, asked: dict[str, Any]) -> None:
    wish = in_its_mode(at, key, asked)
    sent = {name: value for name, value in wish.items() if name not in ("level", "size", "closes")}
    price = price_at(wish["symbol"], wish["level"])
    if wish["closes"] and wish["type"] in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        sent["closePosition"] = "true"
    else:
        sent["quantity"] = LOTS[wish["symbol"]] * wish["size"]
    if wish["type"] in ("STOP", "TAKE_PROFIT"):
        sent["price"] = price
    if wish["type"] == "TRAILING_STOP_MARKET":
        sent |= {"callbackRate": "1.5"}
    else:
        sent["triggerPrice"] = price
    Trader(at, key).call("POST", "algoOrder", algoType="CONDITIONAL", **sent)


def perform(at: Floor, step: tuple[Any, ...]) -> None:
    match step:
        case ("tick", symbol, level, lots):
            at.tick(str(price_at(symbol, level)), liquidity=str(LOTS[symbol] * lots), symbol=symbol)
        case ("order", key, wish):
            place(at, key, wish)
        case ("algo", key, wish):
            place_algo(at, key, wish)
        case ("cancel", key, symbol):
            Trader(at, key).call("DELETE", "allOpenOrders", symbol=symbol)
        case ("modify", key, level, size):
            for order in Trader(at, key).get("openOrders")[:1]:
                symbol = order["symbol"]
                Trader(at, key).call(
                    "PUT", "order", symbol=symbol, orderId=order["orderId"], side=order["side"],
                    price=price_at(symbol, level), quantity=LOTS[symbol] * size,
                )  # fmt: skip
        case ("leverage", key, symbol, leverage):
            Trader(at, key).call("POST", "leverage", symbol=symbol, leverage=leverage)
        case ("isolate", key, symbol):
            Trader(at, key).call("POST", "marginType", symbol=symbol, marginType="ISOLATED")
        case ("basis", symbol, level):
            market_of(at).set_basis(symbol, FIRST[symbol] * level / 1000, at.now_ms)
        case ("hours", hours):
            at.now_ms += hours * 3_600_000
        case ("transfer", key, amount):
            if amount > 0 or -amount <= Trader(at, key).available():
                try_transfer(at, key, D(amount))


def try_transfer(at: Floor, key: str, amount: Decimal) -> None:
    row = Trader(at, key).row("USDT")
    if -amount <= D(row["maxWithdrawAmount"]):
        market_of(at).transfer(key, "USDT", amount, at.now_ms)


def busy_floor(is_dual: bool) -> Floor:
    at = floor(wallet={"USDT": D(500)}, model=FillModel())
    at.tick("4000", symbol="ETHUSDT")
    if is_dual:
        for key in (ALICE, BOB):
            Trader(at, key).post("positionSide/dual", dualSidePosition="true")
    return at


@settings(max_examples=200)
@given(st.lists(steps, max_size=50), st.booleans())
def test_money_is_conserved_and_every_wallet_is_its_income(done: list[tuple[Any, ...]], is_dual: bool) -> None:
    at = busy_floor(is_dual)
    for step in done:
        perform(at, step)
        at.exchange.check_books()
    for key in (ALICE, BOB):
        the_wire_adds_up(at, key)


def the_wire_adds_up(at: Floor, key: str) -> None:
    """No position below its maintenance margin is left, and trades explain positions and profits."""
    trader = Trader(at, key)
    account = trader.get("v3/account")
    trades = [trade for symbol in FIRST for trade in trader.get("userTrades", symbol=symbol, limit=1000)]
    for row in trader.get("v2/positionRisk"):
        mine = [t for t in trades if (t["symbol"], t["positionSide"]) == (row["symbol"], row["positionSide"])]
        signs = [(1 if trade["side"] == "BUY" else -1) * D(trade["qty"]) for trade in mine]
        assert D(row["positionAmt"]) == sum(signs, D(0))
    earned = sum((D(trade["realizedPnl"]) for trade in trades), D(0))
    cash = sum(((-1 if t["side"] == "BUY" else 1) * D(t["price"]) * D(t["qty"]) for t in trades), D(0))
    open_cost = sum((D(r["positionAmt"]) * D(r["entryPrice"]) for r in trader.get("v2/positionRisk")), D(0))
    assert abs(cash + open_cost - earned) < D("0.0001") * (1 + len(trades))
    assert D(account["availableBalance"]) >= 0


@settings(max_examples=60)
@given(st.lists(steps, max_size=40))
def test_private_events_tell_the_whole_story(done: list[tuple[Any, ...]]) -> None:
    at = busy_floor(is_dual=False)
    trader = Trader(at)
    link = trader.listen()
    for step in done:
        if step[0] != "hours":  # the key would expire
            perform(at, step)
    wallet = None
    amounts: dict[str, Decimal] = {}
    ended: dict[int, str] = {}
    for event in at.heard(link):
        if event["e"] == "ACCOUNT_UPDATE":
            wallet = next((D(entry["wb"]) for entry in event["a"]["B"] if entry["a"] == "USDT"), wallet)
            amounts |= {entry["s"]: D(entry["pa"]) for entry in event["a"]["P"]}
        elif event["e"] == "ORDER_TRADE_UPDATE":
            order = event["o"]
            assert ended.get(order["i"], "NEW") in ("NEW", "PARTIALLY_FILLED"), "nothing follows an end"
            ended[order["i"]] = order["X"]
    if wallet is not None:
        assert wallet == trader.wallet()
    for symbol, amount in amounts.items():
        assert amount == trader.amount(symbol)
    shown = {order["orderId"]: order["status"] for order in trader.get("allOrders", limit=1000)}
    assert ended == shown
