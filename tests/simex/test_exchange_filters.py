"""Filters (§6.1): each one announced and refused by its name."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, ExchangeFilters, InstrumentSpec
from tests.simex.test_exchange_documented_shapes import read_examples
from tests.simex.wire import ALICE, PLENTY, Client, Floor, accepted, public, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
BITCOIN = DEFAULT_INSTRUMENTS[0]
LIMIT = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59000"}
STOP = {"side": "SELL", "type": "STOP_LOSS", "quantity": "0.1", "stopPrice": "50000"}
OCO = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
       "belowType": "STOP_LOSS", "belowStopPrice": "59000"}  # fmt: skip


def trader(
    *, exchange: ExchangeFilters | None = None, max_asset: dict[str, Decimal] | None = None, **rules: Any
) -> Client:
    """A client on a market at 60 000 whose bitcoin has special rules."""
    instruments: list[InstrumentSpec] = [replace(BITCOIN, **rules), *DEFAULT_INSTRUMENTS[1:]]
    accounts = [AccountSpec(ALICE, secret_of(ALICE), PLENTY | {"ETH": D(9)}, max_asset=max_asset or {})]
    at = Floor(Exchange(instruments, accounts, exchange_filters=exchange))
    at.tick("60000")
    at.tick("3000", symbol="ETHUSDT")
    return Client(at)


def failure(client: Client, **change: Any) -> str:
    """The filter that refuses an order."""
    code, text = client.refused("POST", "order", **({"symbol": "BTCUSDT", "side": "BUY", **LIMIT} | change))
    assert code == -1013
    return text.removeprefix("Filter failure: ")


MARKET = {"type": "MARKET", "price": None, "timeInForce": None}


@pytest.mark.parametrize(
    ("rules", "wish", "name"),
    [
        ({"min_price": D(59_001)}, {}, "PRICE_FILTER"),
        ({"max_price": D(58_999)}, {}, "PRICE_FILTER"),
        ({"tick_size": D("0.5")}, {"price": "59000.2"}, "PRICE_FILTER"),
        ({"bid_multiplier_down": D("0.99")}, {}, "PERCENT_PRICE_BY_SIDE"),
        ({"ask_multiplier_up": D("1.01")}, {"side": "SELL", "price": "61000"}, "PERCENT_PRICE_BY_SIDE"),
        ({"multiplier_up": D("1.01"), "multiplier_down": D("0.99")}, {}, "PERCENT_PRICE"),
        ({"multiplier_up": D("1.01"), "multiplier_down": D("0.99")}, {"side": "SELL", "price": "61000"},
         "PERCENT_PRICE"),
        ({"min_qty": D("0.2")}, {}, "LOT_SIZE"),
        ({"max_qty": D("0.05")}, {}, "LOT_SIZE"),
        ({"lot_size": D("0.03")}, {}, "LOT_SIZE"),
        ({"market_min_qty": D("0.2")}, MARKET, "MARKET_LOT_SIZE"),
        ({"market_max_qty": D("0.05")}, MARKET, "MARKET_LOT_SIZE"),
        ({"market_lot_size": D("0.03")}, MARKET, "MARKET_LOT_SIZE"),
        ({"min_notional": D(5901)}, {}, "NOTIONAL"),
        ({"max_notional": D(5899)}, {}, "NOTIONAL"),
        ({"min_notional": D(7000)}, MARKET, "NOTIONAL"),
        ({"max_notional": D(5000), "max_applies_to_market": True}, MARKET, "NOTIONAL"),
        ({"max_position": D("10.05")}, {}, "MAX_POSITION"),
    ],
    ids=str,
)  # fmt: skip
def test_a_filter_refuses_by_its_name(rules: dict[str, Any], wish: dict[str, Any], name: str) -> None:
    assert failure(trader(**rules), **wish) == name


def test_notional_of_market_orders_may_be_exempt() -> None:
    client = trader(min_notional=D(7000), min_applies_to_market=False)
    assert client.buy(type="MARKET", quantity="0.1")["status"] == "FILLED"


def test_position_counts_open_buys_and_ignores_sales() -> None:
    """MAX_POSITION: free, locked and all open buys."""
    client = trader(max_position=D("10.25"))
    client.sell(type="LIMIT", timeInForce="GTC", quantity="5", price="61000")
    client.buy(**LIMIT)
    client.buy(**LIMIT)
    assert failure(client) == "MAX_POSITION"
    client.delete("openOrders", symbol="BTCUSDT")
    client.buy(**LIMIT)


def test_counts_of_open_orders_on_a_symbol() -> None:
    client = trader(max_num_orders=3, max_num_algo_orders=1, max_num_iceberg_orders=1, max_num_order_lists=1)
    client.buy(**LIMIT, icebergQty="0.05")
    assert failure(client, icebergQty="0.05") == "MAX_NUM_ICEBERG_ORDERS"
    client.post("orderList/oco", **OCO)
    assert failure(client) == "MAX_NUM_ORDERS"
    client.delete("openOrders", symbol="BTCUSDT")
    client.post("order", symbol="BTCUSDT", **STOP)
    assert client.refused("POST", "orderList/oco", **OCO) == (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")


def test_a_list_is_refused_as_a_whole_when_it_would_exceed_the_count() -> None:
    client = trader(max_num_orders=1)
    assert client.refused("POST", "orderList/oco", **OCO) == (-1013, "Filter failure: MAX_NUM_ORDERS")
    assert client.get("openOrders") == []


@pytest.mark.parametrize(
    ("limits", "first", "second", "name"),
    [
        (ExchangeFilters(max_num_orders=1), {}, {}, "EXCHANGE_MAX_NUM_ORDERS"),
        (ExchangeFilters(max_num_algo_orders=1), STOP, STOP | {"price": None, "timeInForce": None, "stopPrice": "2000"},
         "EXCHANGE_MAX_NUM_ALGO_ORDERS"),
        (ExchangeFilters(max_num_iceberg_orders=1), {"icebergQty": "0.05"}, {"icebergQty": "0.05"},
         "EXCHANGE_MAX_NUM_ICEBERG_ORDERS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_counts_over_all_symbols(
    limits: ExchangeFilters, first: dict[str, Any], second: dict[str, Any], name: str
) -> None:
    client = trader(exchange=limits)
    wish = {"symbol": "BTCUSDT", "side": "BUY", **LIMIT} | first
    if "stopPrice" in wish:
        wish |= {"price": None, "timeInForce": None}
    client.post("order", **wish)
    assert failure(client, **({"symbol": "ETHUSDT", "price": "2900"} | second)) == name


def test_lists_over_all_symbols() -> None:
    client = trader(exchange=ExchangeFilters(max_num_order_lists=1))
    client.post("orderList/oco", **OCO)
    other = OCO | {"symbol": "ETHUSDT", "abovePrice": "3100", "belowStopPrice": "2900"}
    assert client.refused("POST", "orderList/oco", **other) == (-1013, "Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS")


def test_an_account_may_be_limited_in_an_asset() -> None:
    """MAX_ASSET: base by quantity, quote by notional."""
    client = trader(max_asset={"BTC": D("0.05"), "USDT": D(5000)})
    assert failure(client) == "MAX_ASSET"
    assert client.buy(**LIMIT | {"quantity": "0.05"})
    assert failure(client, symbol="ETHUSDT", quantity="2", price="2900") == "MAX_ASSET"


def test_announced_filters_have_the_documented_fields(shared_data: Path) -> None:
    """Every example of the filter page, against what exchangeInfo announces."""
    documented = {
        entry["json"]["filterType"]: set(entry["json"])
        for entry in read_examples(shared_data)
        if entry["file"] == "filters.md"
    }
    everything = ExchangeFilters(1, 1, 1, 1)
    client = trader(exchange=everything, max_position=D(100), multiplier_up=D(5), multiplier_down=D("0.2"),
                    max_num_iceberg_orders=5)  # fmt: skip
    info = accepted(public(client.floor, "exchangeInfo?symbol=BTCUSDT"))
    announced = {entry["filterType"]: set(entry) for entry in info["symbols"][0]["filters"] + info["exchangeFilters"]}
    # MIN_NOTIONAL is the older form of NOTIONAL; MAX_ASSET shows in myFilters alone.
    elsewhere = {"MIN_NOTIONAL", "MAX_ASSET"}
    assert announced == {name: fields for name, fields in documented.items() if name not in elsewhere}
