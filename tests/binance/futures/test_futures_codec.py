"""Futures messages in the core's words: the document's own samples, and what its tables say besides them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from surefoot.binance.codec import Ignored, VenueError
from surefoot.binance.futures import codec
from surefoot.binance.wire import BadFrame
from surefoot.core.messages import (
    IncomePaid,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    VenueTraded,
)
from surefoot.core.model import (
    Balance,
    Bracket,
    FeeRates,
    Fill,
    Income,
    Market,
    Side,
    VenueOrder,
    VenuePosition,
)
from tests.payloads.reading import payload, payload_bytes

NOW = 1_790_000_005_000
D = Decimal


def order_update(**changes: Any) -> tuple[OrderEvent | VenueTraded, ...]:
    """What the document's fill means when these fields differ."""
    told = payload("um_event_order_trade_update")
    told["o"] |= changes
    update = codec.read_account_frame(json.dumps(told))
    assert isinstance(update, codec.OrderTradeUpdate)
    return codec.order_events(update.order, update.order.client_order_id, NOW)


def algo_update(**changes: Any) -> tuple[OrderEvent, ...]:
    told = payload("um_event_algo_update")
    told["o"] |= changes
    update = codec.read_account_frame(json.dumps(told))
    assert isinstance(update, codec.AlgoUpdate)
    return codec.algo_events(update.order, NOW)


# ---------------------------------------------------------------------------------------------------------------
# Events of the account


@pytest.mark.spec("NET-1", "MODE-3")
def test_fill_tells_price_fee_and_what_it_realised() -> None:
    fill = Fill(
        "bot-f-1", "BTCUSDT", 7700001, Side.BUY, D(60000), D("0.050"), D("0.60000000"), "USDT", True,
        1790000002000, D(0),
    )  # fmt: skip
    assert order_update() == (OrderFilled(NOW, fill, 910001, D("0.050")),)


@pytest.mark.spec("ORD-3", "ORD-6")
def test_last_fill_of_what_only_reduces_says_that_the_order_is_over() -> None:
    filled, over = order_update(R=True, z="0.030", l="0.030")
    assert isinstance(filled, OrderFilled)
    assert over == OrderExpired(NOW, "bot-f-1", D("0.030"), "finished")
    (part,) = order_update(R=True, X="PARTIALLY_FILLED")
    assert isinstance(part, OrderFilled)


@pytest.mark.spec("ORD-3")
def test_other_executions() -> None:
    new = {"x": "NEW", "X": "NEW", "l": "0", "L": "0", "z": "0.000", "t": 0}
    assert order_update(**new) == (OrderAccepted(NOW, "bot-f-1", 910001, True, D("0.050"), D("0.000")),)
    gone = new | {"x": "CANCELED", "X": "CANCELED", "z": "0.020"}
    assert order_update(**gone) == (OrderCanceled(NOW, "bot-f-1", D("0.020")),)
    expired = new | {"x": "EXPIRED", "X": "EXPIRED", "er": "4"}
    assert order_update(**expired) == (OrderExpired(NOW, "bot-f-1", D("0.000"), "EXPIRED, reason 4"),)
    assert order_update(**new | {"x": "AMENDMENT"}) == ()


@pytest.mark.spec("EXIT-1", "PNL-2")
@pytest.mark.parametrize(
    ("name", "execution", "why"),
    [
        ("autoclose-1790000002000", "CALCULATED", "liquidation"),
        ("autoclose-1790000002000", "TRADE", "liquidation"),
        ("adl_autoclose", "TRADE", "auto-deleveraging"),
        ("settlement_autoclose-1", "TRADE", "settlement"),
    ],
)
def test_what_the_venue_trades_for_us_is_told_as_such(name: str, execution: str, why: str) -> None:
    (event,) = order_update(c=name, x=execution, S="SELL", rp="-500.10", t=0, q="0.080", z="0.070")
    assert isinstance(event, VenueTraded)
    assert (event.why, event.fill.realised, event.fill.trade_id) == (why, D("-500.10"), 0)
    assert (event.order_id, event.fill.quantity, event.executed) == (910001, D("0.050"), D("0.070"))


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("changes", [{"l": "0"}, {"L": "-1"}, {"n": "NaN"}, {"l": "1e40"}, {"n": "1", "N": ""}])
def test_impossible_fill_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(BadFrame):
        order_update(**changes)


@pytest.mark.spec("ORD-6")
def test_conditional_order_from_its_placement_to_its_end() -> None:
    assert algo_update(X="NEW", ai="") == (OrderAccepted(NOW, "bot-sl-1", 3000001, True, D("0.050"), D("0.00000")),)
    assert algo_update(X="TRIGGERING") == algo_update() == ()  # the plain order speaks for itself
    assert algo_update(X="FINISHED", aq="0.030") == (OrderExpired(NOW, "bot-sl-1", D("0.030"), "finished"),)
    assert algo_update(X="CANCELED") == (OrderCanceled(NOW, "bot-sl-1", D("0.00000")),)
    refused = algo_update(X="REJECTED", rm="Margin is insufficient.")
    assert refused == (OrderExpired(NOW, "bot-sl-1", D("0.00000"), "Margin is insufficient."),)


@pytest.mark.spec("PNL-2", "NET-5")
@pytest.mark.parametrize(
    ("reason", "wanted"), [("ORDER", False), ("FUNDING_FEE", True), ("DEPOSIT", True), ("INSURANCE_CLEAR", True)]
)
def test_a_wallet_that_moved_without_a_trade_calls_for_the_income(reason: str, wanted: bool) -> None:
    told = payload("um_event_account_update")
    told["a"]["m"] = reason
    update = codec.read_account_frame(json.dumps({"stream": "key", "data": told}))
    assert isinstance(update, codec.AccountUpdate)
    assert codec.wants_income(update) is wanted


@pytest.mark.spec("NET-5")
def test_other_events() -> None:
    expired = codec.read_account_frame('{"e":"listenKeyExpired","E":1790000000000,"listenKey":"x"}')
    assert isinstance(expired, codec.KeyExpired)
    assert codec.read_account_frame('{"e":"TRADE_LITE","E":1,"s":"BTCUSDT"}') == Ignored("TRADE_LITE")
    for broken in (b"", b"{}", b"[]", b'{"e":"ORDER_TRADE_UPDATE"}', b'{"e":1}'):
        with pytest.raises(BadFrame):
            codec.read_account_frame(broken)


# ---------------------------------------------------------------------------------------------------------------
# Rules of the market


@pytest.mark.spec("ORD-1", "MODE-3")
def test_perpetual_contracts_become_instruments_and_nothing_else_does() -> None:
    (bitcoin,) = codec.read_instruments(payload_bytes("um_exchange_info"))
    assert (bitcoin.symbol, bitcoin.market, bitcoin.trading) == ("BTCUSDT", Market.FUTURES, True)
    assert (bitcoin.tick_size, bitcoin.price_min, bitcoin.price_max) == (D("0.1"), D("556.80"), D("4529764"))
    assert (bitcoin.lot_size, bitcoin.quantity_min, bitcoin.quantity_max) == (D("0.001"), D("0.001"), D("1000"))
    assert (bitcoin.market_quantity_max, bitcoin.notional_min, bitcoin.orders_max) == (D("120"), D("100"), 200)
    assert (bitcoin.bid_multiplier_up, bitcoin.bid_multiplier_down) == (D("1.0500"), D(0))
    assert (bitcoin.ask_multiplier_up, bitcoin.ask_multiplier_down) == (D(0), D("0.9500"))
    assert bitcoin.reduces_only
    assert (bitcoin.oco_allowed, bitcoin.oto_allowed, bitcoin.opo_allowed) == (False, False, False)


ROW = {
    "bracket": 1,
    "initialLeverage": 150,
    "notionalCap": 300000,
    "notionalFloor": 0,
    "maintMarginRatio": 0.004,
    "cum": 0.0,
}
SECOND = ROW | {"bracket": 2, "initialLeverage": 100, "notionalCap": 800000, "notionalFloor": 300000, "cum": 300.0}


@pytest.mark.spec("PNL-2")
@pytest.mark.parametrize("wrapped", [True, False])
def test_brackets_are_read_whether_one_symbol_is_told_or_many(wrapped: bool) -> None:
    told: Any = {"symbol": "BTCUSDT", "notionalCoef": 1.0, "brackets": [SECOND | {"maintMarginRatio": 0.005}, ROW]}
    first = Bracket(D(0), D(300000), 150, D("0.004"), D(0))
    second = Bracket(D(300000), D(800000), 100, D("0.005"), D(300))
    assert codec.read_brackets(json.dumps([told] if wrapped else told).encode()) == {"BTCUSDT": (first, second)}


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("changes", [{"maintMarginRatio": 1.5}, {"maintMarginRatio": -0.1}, {"notionalCap": 0}])
def test_impossible_bracket_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(BadFrame):
        codec.read_brackets(json.dumps([{"symbol": "BTCUSDT", "brackets": [ROW | changes]}]).encode())


@pytest.mark.spec("NET-7", "MODE-3")
def test_account_settings_are_read_back() -> None:
    rates = {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0004"}
    assert codec.read_fee_rates(json.dumps(rates).encode()) == ("BTCUSDT", FeeRates(D("0.0002"), D("0.0004")))
    assert codec.read_is_hedged(b'{"dualSidePosition": true}')
    config = {
        "symbol": "BTCUSDT",
        "marginType": "CROSSED",
        "isAutoAddMargin": False,
        "leverage": 21,
        "maxNotionalValue": "1",
    }
    assert codec.read_symbol_configs(json.dumps([config]).encode()) == {"BTCUSDT": ("CROSSED", 21)}
    assert codec.read_listen_key(b'{"listenKey": "abc"}') == "abc"


# ---------------------------------------------------------------------------------------------------------------
# The account and its orders


@pytest.mark.spec("ORD-9")
def test_positions_and_balances() -> None:
    prices = D("90361.44578313"), D("500.00000000"), D("100200.00000000")
    held = VenuePosition("BTCUSDT", D("0.050"), D("100000.0"), *prices)
    assert codec.read_positions(payload_bytes("um_position_risk")) == (held,)
    rows = payload("um_position_risk")
    short = rows[0] | {"positionAmt": "-0.050", "liquidationPrice": "0", "isolatedWallet": "0"}
    flat = rows[0] | {"positionAmt": "0.000"}
    (only,) = codec.read_positions(json.dumps([short, flat]).encode())
    assert (only.quantity, only.liquidation_price, only.isolated) == (D("-0.050"), None, None)
    with pytest.raises(BadFrame, match="hedge mode"):
        codec.read_positions(json.dumps([rows[0] | {"positionSide": "LONG"}]).encode())
    assets = {"assets": [{"asset": "USDT", "walletBalance": "10.5"}, {"asset": "BNB", "walletBalance": "0.00000000"}]}
    assert codec.read_balances(json.dumps(assets).encode()) == (Balance("USDT", D("10.5"), D(0)),)


@pytest.mark.spec("ORD-3", "ORD-9")
def test_plain_order_as_placed_queried_cancelled_and_listed() -> None:
    body = payload_bytes("um_order_new")
    accepted = OrderAccepted(NOW, "bot-f-1", 910001, True, D("0.050"), D("0.000"))
    assert codec.read_order(body, NOW) == (accepted,)
    assert codec.read_order(body, NOW, "sf-1-2s")[0] == OrderAccepted(
        NOW, "sf-1-2s", 910001, True, D("0.050"), D("0.000")
    )
    row = payload("um_order_new")
    cut = json.dumps(row | {"status": "FILLED", "executedQty": "0.050", "reduceOnly": True}).encode()
    assert codec.read_order(cut, NOW)[1:] == (OrderExpired(NOW, "bot-f-1", D("0.050"), "finished"),)
    gone = json.dumps(row | {"status": "CANCELED", "executedQty": "0.010"}).encode()
    assert codec.read_cancel(gone, NOW) == (OrderCanceled(NOW, "bot-f-1", D("0.010")),)
    (listed,) = codec.read_open_orders(json.dumps([row]).encode())
    assert listed == VenueOrder(
        "bot-f-1", 910001, "BTCUSDT", Side.BUY, "LIMIT", D("0.050"), D("0.000"), D("60000.00"), D("0.00"), True
    )


@pytest.mark.spec("ORD-6", "ORD-9")
def test_conditional_order_as_placed_queried_cancelled_and_listed() -> None:
    body, row = payload_bytes("um_algo_new"), payload("um_algo_new")
    assert codec.read_algo_order(body, NOW) == (
        (OrderAccepted(NOW, "bot-sl-1", 3000001, True, D("0.050"), None),),
        None,
    )
    triggered = json.dumps(row | {"algoStatus": "TRIGGERED", "actualOrderId": "910007"}).encode()
    assert codec.read_algo_order(triggered, NOW) == ((), 910007)
    expired = json.dumps(row | {"algoStatus": "EXPIRED", "actualOrderId": ""}).encode()
    assert codec.read_algo_order(expired, NOW) == ((OrderExpired(NOW, "bot-sl-1", None, "EXPIRED"),), None)
    done = b'{"algoId": 3000001, "clientAlgoId": "bot-sl-1", "code": "200", "msg": "success"}'
    assert codec.read_algo_cancel(done, NOW) == (OrderCanceled(NOW, "bot-sl-1", None),)
    with pytest.raises(BadFrame):
        codec.read_algo_cancel(done.replace(b"200", b"500"), NOW)
    (listed,) = codec.read_open_algo_orders(json.dumps([row]).encode())
    assert (listed.client_order_id, listed.type, listed.stop_price) == ("bot-sl-1", "STOP_MARKET", D("58000.00"))


@pytest.mark.spec("PNL-2", "SAFE-4")
def test_income_is_what_fills_do_not_tell() -> None:
    row = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-3.00000000", "asset": "USDT", "info": "",
           "time": 1790006400000, "tranId": 9689322392, "tradeId": ""}  # fmt: skip
    rows = [
        row | {"incomeType": "TRANSFER", "income": "50", "tranId": 2, "time": 1790006400001, "symbol": ""},
        row | {"incomeType": "REALIZED_PNL"},
        row | {"incomeType": "COMMISSION"},
        row,
        row | {"incomeType": "INSURANCE_CLEAR", "tranId": 1},
    ]
    paid = codec.read_income(json.dumps(rows).encode(), NOW)
    assert paid[1] == IncomePaid(NOW, 9689322392, Income.FUNDING, "BTCUSDT", "USDT", D("-3.00000000"), 1790006400000)
    assert [each.kind for each in paid] == [Income.INSURANCE, Income.FUNDING, Income.TRANSFER]


@pytest.mark.spec("SAFE-1", "NET-3")
@pytest.mark.parametrize(
    ("status", "code", "text", "outcome"),
    [
        (503, -1000, "Unknown error, please check your request or try again later.", "unknown"),
        (503, None, "Service Unavailable.", "busy"),
        (503, -1000, "Internal error; unable to process your request. Please try again.", "busy"),
        (503, -1008, "Request throttled by system-level protection.", "busy"),
        (408, -1007, "Timeout waiting for response from backend server.", "unknown"),
        (400, -4116, "ClientOrderId is duplicated.", "unknown"),
        (400, -2021, "Order would immediately trigger.", "refused"),
        (429, -1003, "Too many requests.", "limited"),
        (418, -1003, "Way too many requests.", "banned"),
    ],
)
def test_what_a_failed_call_means(status: int, code: int | None, text: str, outcome: str) -> None:
    assert codec.outcome(status, VenueError(code, text)) == outcome
