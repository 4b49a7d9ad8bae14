"""Options of single orders: trailing stops, icebergs, pegged prices, features that a symbol does not allow."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.venue import DEFAULT_INSTRUMENTS
from tests.simex.wire import SHARP, Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
BITCOIN = DEFAULT_INSTRUMENTS[0]


def limit(quantity: str, price: str, tif: str = "GTC") -> dict[str, str]:
    return {"type": "LIMIT", "timeInForce": tif, "quantity": quantity, "price": price}


def reports(events: list[Any]) -> list[Any]:
    return [event for event in events if event["e"] == "executionReport"]


# -- trailing stops (§10.5) ------------------------------------------------------------------------------------------

# Side, type, stop price, delta, the path to the last extreme and back, and where it fires.
PATHS = [
    ("BUY", "STOP_LOSS_LIMIT", "44000", 500, ["37000", "46000", "42000"], "44100"),
    ("SELL", "STOP_LOSS_LIMIT", "39000", 1000, ["41500", "37000", "41000"], "36900"),
    ("BUY", "TAKE_PROFIT_LIMIT", "38000", 850, ["42000", "37000", "39000", "38000"], "40145"),
    ("SELL", "TAKE_PROFIT_LIMIT", "42000", 750, ["41500", "39000", "45000", "44000", "46500"], "43012.5"),
    ("SELL", "STOP_LOSS_LIMIT", None, 700, ["42000", "39500", "45500"], "42315"),
]


@pytest.mark.parametrize(("side", "kind", "stop", "delta", "path", "fires_at"), PATHS)
def test_the_five_documented_trailing_stops_fire_where_they_should(
    side: str, kind: str, stop: str | None, delta: int, path: list[str], fires_at: str
) -> None:
    """§10.5: worked examples."""
    at = floor(model=SHARP)
    at.tick("40000")
    alice = Client(at)
    # The limit is out of the market's reach, so that a fired order rests.
    price = "30000" if side == "BUY" else "50000"
    order_id = alice.post(
        "order", symbol="BTCUSDT", side=side, type=kind, timeInForce="GTC", quantity="0.1", price=price,
        stopPrice=stop, trailingDelta=delta,
    )["orderId"]  # fmt: skip
    for step in path:
        at.tick(step)
        assert alice.order(order_id)["isWorking"] is False, step
    just_before = D(fires_at) - D("0.01") if side == "BUY" else D(fires_at) + D("0.01")
    at.tick(str(just_before))
    assert alice.order(order_id)["isWorking"] is False
    at.tick(fires_at)
    assert alice.order(order_id)["isWorking"] is True


def test_trailing_time_is_minus_one_until_it_tracks(at: Floor, alice: Client) -> None:
    """§7.1, §10.5."""
    link = alice.listen()
    placed = alice.sell(type="STOP_LOSS", quantity="0.1", stopPrice="58000", trailingDelta=100,
                        newOrderRespType="RESULT")  # fmt: skip
    assert (placed["trailingDelta"], placed["trailingTime"], placed["stopPrice"]) == (100, -1, "58000.00000000")
    (new,) = reports(alice.events(link))
    assert (new["d"], new["D"], new["w"]) == (100, -1, False)
    assert at.exchange.calm("BTCUSDT") is None, "every price may move it"
    at.tick("57900")
    assert alice.order(placed["orderId"])["trailingTime"] == at.now_ms
    at.tick("57320.99")  # below 57 900 × 0.99 = 57 321
    assert alice.order(placed["orderId"])["status"] == "FILLED"
    trade = reports(alice.events(link))[-1]
    assert (trade["x"], trade["D"]) == ("TRADE", at.now_ms - 1000)
    at.exchange.check_books()


def test_trailing_buy_without_a_price_locks_what_it_would_cost_now(at: Floor, alice: Client) -> None:
    order_id = alice.buy(type="STOP_LOSS", quantity="0.1", trailingDelta=100)["orderId"]
    assert alice.balance("USDT") == (D(100_000) - D("6060.0"), D(6060))
    assert "stopPrice" not in alice.post("order", symbol="BTCUSDT", side="SELL", type="TAKE_PROFIT", quantity="0.1",
                                         trailingDelta=100, newOrderRespType="RESULT")  # fmt: skip
    at.tick("60000")
    at.tick("50000")
    at.tick("50500")
    assert alice.order(order_id)["status"] == "FILLED"
    at.exchange.check_books()


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"trailingDelta": 9}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"trailingDelta": 2001}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"trailingDelta": 0}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"trailingDelta": "1.5"}, -1100, None),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "59000", "trailingDelta": 100}, -1106, None),
        ({"trailingDelta": 100, "stopPrice": "60000"}, -2010, "Order would trigger immediately."),
    ],
    ids=str,
)
def test_bad_trailing_stops_are_refused(alice: Client, change: dict[str, Any], code: int, text: str | None) -> None:
    wish = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.1"} | change
    found = alice.refused("POST", "order", **wish)
    assert found[0] == code
    assert text is None or found[1] == text


def test_trailing_delta_has_bounds_on_either_side() -> None:
    """§6.1: above for buys that stop losses and sales that take profits, below for the others."""
    at = floor(instruments=[replace(BITCOIN, trailing_above_bips=(50, 60), trailing_below_bips=(10, 20))])
    at.tick("60000")
    alice = Client(at)
    for side, kind, delta in [("BUY", "STOP_LOSS", 55), ("SELL", "TAKE_PROFIT", 55), ("SELL", "STOP_LOSS", 15),
                              ("BUY", "TAKE_PROFIT", 15)]:  # fmt: skip
        wish = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": "0.1"}
        assert alice.post("order", **wish, trailingDelta=delta)
        assert alice.refused("POST", "order", **wish, trailingDelta=70 - delta)[0] == -1013


def test_a_leg_of_an_oco_can_trail(at: Floor, alice: Client) -> None:
    """§7.6."""
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.1", aboveType="LIMIT_MAKER", abovePrice="66000",
        belowType="STOP_LOSS", belowTrailingDelta=200, belowClientOrderId="trail",
    )  # fmt: skip
    for price in ("60000", "64000", "62720"):
        at.tick(price)
    assert alice.get("order", symbol="BTCUSDT", origClientOrderId="trail")["status"] == "FILLED"
    at.exchange.check_books()


# -- icebergs (§7.1, §10.1) ------------------------------------------------------------------------------------------


PRICE = "61000.37"  # where nothing else is shown


def shown(at: Floor) -> str:
    """What the book shows at the price."""
    asks = dict(accepted(public(at, "depth?symbol=BTCUSDT&limit=5000"))["asks"])
    return str(asks[f"{PRICE}000000"])


def test_iceberg_shows_one_slice_and_refills_behind_its_equals(at: Floor, alice: Client, bob: Client) -> None:
    """§10.1: depth shows only the visible part; a refill goes to the back of its level."""
    berg = alice.sell(**limit("1", PRICE), icebergQty="0.3")
    assert berg["icebergQty"] == "0.30000000"
    bob.sell(**limit("0.2", PRICE), newClientOrderId="plain")
    assert shown(at) == "0.50000000"
    at.tick("61000", liquidity="0")
    taken = Client(at).buy(**limit("0.4", PRICE), selfTradePreventionMode="NONE")
    assert taken["executedQty"] == "0.40000000"
    assert alice.order(berg["orderId"])["executedQty"] == "0.30000000"
    assert bob.get("order", symbol="BTCUSDT", origClientOrderId="plain")["executedQty"] == "0.10000000"
    assert shown(at) == "0.40000000", "0.1 of the plain one, then the next slice"
    alice.buy(**limit("0.2", PRICE), selfTradePreventionMode="NONE")
    assert bob.get("order", symbol="BTCUSDT", origClientOrderId="plain")["status"] == "FILLED"
    assert alice.order(berg["orderId"])["executedQty"] == "0.40000000"
    assert shown(at) == "0.20000000"
    at.exchange.check_books()


def test_a_print_through_an_iceberg_fills_slice_after_slice(at: Floor, alice: Client, bob: Client) -> None:
    berg = alice.sell(**limit("0.5", "61000"), icebergQty="0.2")["orderId"]
    plain = bob.sell(**limit("0.2", "61000"))["orderId"]
    behind = bob.sell(**limit("0.2", "61001"))["orderId"]
    at.tick("61500", liquidity="0.65")
    assert alice.order(berg)["executedQty"] == "0.45000000"
    assert bob.order(plain)["executedQty"] == "0.20000000"
    assert bob.order(behind)["executedQty"] == "0.00000000", "the better price first, hidden or not"
    quantities = [trade["qty"] for trade in alice.get("myTrades", symbol="BTCUSDT")]
    assert quantities == ["0.20000000", "0.20000000", "0.05000000"]
    at.tick("61500", liquidity="5")
    assert alice.order(berg)["status"] == "FILLED"
    at.exchange.check_books()


def test_iceberg_reports_carry_its_slice(at: Floor, alice: Client) -> None:
    """§8.2, key F."""
    link = alice.listen()
    order_id = alice.sell(type="LIMIT_MAKER", quantity="1", price="61000", icebergQty="0.5")["orderId"]
    assert reports(alice.events(link))[0]["F"] == "0.50000000"
    assert alice.order(order_id)["icebergQty"] == "0.50000000"


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"icebergQty": "2"}, -2010, "IcebergQty exceeds QTY."),
        ({"icebergQty": "0.5", "timeInForce": "IOC"}, -1014, "Unsupported order combination."),
        ({"icebergQty": "0.009"}, -1013, "Filter failure: ICEBERG_PARTS"),
        ({"icebergQty": "0.500001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"icebergQty": "0.5", "type": "MARKET", "price": None, "timeInForce": None}, -1106, None),
    ],
    ids=str,
)
def test_bad_icebergs_are_refused(alice: Client, change: dict[str, Any], code: int, text: str | None) -> None:
    wish = {"symbol": "BTCUSDT", "side": "SELL", **limit("1", "61000")} | change
    found = alice.refused("POST", "order", **wish)
    assert found[0] == code
    assert text is None or found[1] == text


def test_iceberg_leg_of_an_oco_must_be_good_till_cancelled(alice: Client) -> None:
    """§3.3, -1160."""
    oco = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
           "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "59000", "belowPrice": "58900",
           "belowIcebergQty": "0.5"}  # fmt: skip
    assert alice.refused("POST", "orderList/oco", **oco, belowTimeInForce="IOC")[0] == -1160
    placed = alice.post("orderList/oco", **oco, belowTimeInForce="GTC")
    assert placed["orderReports"][1]["icebergQty"] == "0.50000000"


# -- pegged orders (§7.1, §10.2) -------------------------------------------------------------------------------------


def test_primary_peg_joins_the_best_price_of_its_side(at: Floor, alice: Client, bob: Client) -> None:
    bob.buy(**limit("0.1", "59999"))
    link = alice.listen()
    peg = {"pegPriceType": "PRIMARY_PEG"}
    first = alice.buy(type="LIMIT", timeInForce="GTC", quantity="0.1", **peg)
    assert (first["price"], first["peggedPrice"], first["pegPriceType"]) == (
        "0.00000000", "59999.99000000", "PRIMARY_PEG",
    )  # fmt: skip
    (new,) = reports(alice.events(link))
    assert (new["p"], new["gp"], new["gP"], "gOT" in new) == ("0.00000000", "59999.99000000", "PRIMARY_PEG", False)
    assert alice.balance("USDT")[1] == D("5999.999")
    second = alice.buy(type="LIMIT_MAKER", quantity="0.1", price="59000", pegOffsetType="PRICE_LEVEL",
                       pegOffsetValue=1, newOrderRespType="RESULT", **peg)  # fmt: skip
    assert (second["price"], second["peggedPrice"], second["pegOffsetType"], second["pegOffsetValue"]) == (
        "59000.00000000", "59999.00000000", "PRICE_LEVEL", 1,
    )  # fmt: skip
    at.tick("59990")
    assert alice.order(first["orderId"])["status"] == "FILLED"
    assert alice.get("myTrades", symbol="BTCUSDT")[0]["price"] == "59999.99000000"


def test_market_peg_takes_the_best_price_of_the_other_side(at: Floor, alice: Client) -> None:
    answer = alice.buy(type="LIMIT", timeInForce="IOC", quantity="0.1", pegPriceType="MARKET_PEG")
    assert (answer["status"], answer["peggedPrice"]) == ("FILLED", "60000.01000000")


def test_pegged_stop_takes_its_price_when_it_fires(at: Floor, alice: Client) -> None:
    order_id = alice.sell(type="STOP_LOSS_LIMIT", timeInForce="GTC", quantity="0.1", stopPrice="59000",
                          pegPriceType="PRIMARY_PEG")["orderId"]  # fmt: skip
    assert "peggedPrice" not in alice.order(order_id)
    at.tick("58000")
    order = alice.order(order_id)
    assert (order["peggedPrice"], order["isWorking"]) == ("58000.01000000", True)
    at.exchange.check_books()


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"pegPriceType": "SOME_PEG"}, -1210, "Invalid pegPriceType."),
        ({"pegOffsetType": "TICKS", "pegOffsetValue": 1}, -1211, "Invalid pegOffsetType."),
        ({"pegOffsetType": "PRICE_LEVEL"}, -1128, None),
        ({"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": 101}, -1130, None),
        ({"symbol": "ETHUSDT"}, -2010,
         "Order book liquidity is too low for this pegged order."),
        ({"type": "MARKET", "timeInForce": None}, -2010, "This order type may not use pegged price."),
        ({"type": "LIMIT_MAKER", "timeInForce": None, "pegPriceType": "MARKET_PEG"}, -2010,
         "This price peg cannot be used with this order type."),
        ({"timeInForce": "IOC"}, -1014, None),
        ({"price": "59000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_pegs_are_refused(alice: Client, change: dict[str, Any], code: int, text: str | None) -> None:
    wish = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1",
            "pegPriceType": "PRIMARY_PEG"} | change  # fmt: skip
    found = alice.refused("POST", "order", **wish)
    assert found[0] == code
    assert text is None or found[1] == text


def test_pending_pegged_order_takes_its_price_when_it_goes_live(at: Floor, alice: Client) -> None:
    placed = alice.post(
        "orderList/oto", symbol="BTCUSDT", workingType="LIMIT", workingSide="BUY", workingPrice="59000",
        workingQuantity="0.1", workingTimeInForce="GTC", pendingType="LIMIT_MAKER", pendingSide="SELL",
        pendingQuantity="0.05", pendingPegPriceType="PRIMARY_PEG", pendingClientOrderId="out",
    )  # fmt: skip
    assert "peggedPrice" not in placed["orderReports"][1]
    at.tick("58000")
    out = alice.get("order", symbol="BTCUSDT", origClientOrderId="out")
    assert (out["status"], out["peggedPrice"]) == ("NEW", "58000.01000000")


# -- what a symbol does not allow (§3.5, §4.2) -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "field", "wish", "text"),
    [
        ({"iceberg_allowed": False}, "icebergAllowed", limit("1", "59000") | {"icebergQty": "0.5"},
         "Iceberg orders are not supported for this symbol."),
        ({"trailing_allowed": False}, "allowTrailingStop",
         {"type": "STOP_LOSS", "quantity": "0.1", "trailingDelta": "100"},
         "Trailing stop orders are not supported for this symbol."),
        ({"peg_allowed": False}, "pegInstructionsAllowed", limit("1", "59000") | {"pegPriceType": "PRIMARY_PEG"},
         "Pegged orders are not supported for this symbol."),
        ({"quote_quantity_allowed": False}, "quoteOrderQtyMarketAllowed", {"type": "MARKET", "quoteOrderQty": "100"},
         "Quote order qty market orders are not support for this symbol."),
        ({"order_types": ("LIMIT", "MARKET")}, None, {"type": "STOP_LOSS_LIMIT"},
         "Stop loss limit orders are not supported for this symbol."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_features_can_be_off(spec: dict[str, Any], field: str | None, wish: dict[str, str], text: str) -> None:
    at = floor(instruments=[replace(BITCOIN, **spec)])
    at.tick("60000")
    assert Client(at).refused("POST", "order", symbol="BTCUSDT", side="BUY", **wish) == (-2010, text)
    (symbol,) = accepted(public(at, "exchangeInfo"))["symbols"]
    assert field is None or symbol[field] is False
