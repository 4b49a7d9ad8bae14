"""REST answers: refusals, rules of a symbol, the account, and what became of orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.codec import (
    BadFrame,
    RateLimit,
    VenueError,
    outcome,
    read_account,
    read_cancel,
    read_error,
    read_fee_rates,
    read_instruments,
    read_klines,
    read_list,
    read_open_orders,
    read_order,
    read_rate_limits,
    read_replace,
    read_replace_failure,
    read_time,
    read_trades,
)
from surefoot.core.messages import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    ReplaceOrder,
)
from surefoot.core.model import Balance, FeeRates, Fill, Instrument, OrderRequest, OrderType, Purpose, Side, VenueOrder
from tests.payloads.reading import FOLDER, documented, payload, payload_bytes, shared_file

NOW = 1790000005000
D = Decimal
SALE = OrderRequest("bot-2", "BTCUSDT", Side.SELL, OrderType.MARKET, Purpose.EXIT, D(1))
REPLACE = ReplaceOrder(NOW, "bot-1", SALE)


def example(path: str) -> bytes:
    """The JSON of a shared endpoint example, whose first three lines name the call."""
    return shared_file(f"open/fixtures/binance_net/Endpoints/Spot/{path}.txt").read_bytes().split(b"\n", 3)[3]


# ---------------------------------------------------------------------------------------------------------------
# Refusals


def test_refusal_is_read_with_its_code() -> None:
    assert read_error(400, payload_bytes("rest_error")) == VenueError(-1121, "Invalid symbol.")


@pytest.mark.parametrize(
    "body", [b"<html>blocked</html>", b"", b"\xff", b"[]", b'"x"', b"{}", b'{"code":"x"}', b"[" * 9999]
)
def test_refusal_that_is_not_the_venues_has_no_code_but_its_status(body: bytes) -> None:
    error = read_error(403, body)
    assert error.code is None
    assert error.text.startswith("HTTP 403: ")
    assert len(error.text) <= 210


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, -2010, "refused"),
        (400, -1013, "refused"),
        (400, -1021, "refused"),
        (401, -2015, "refused"),
        (403, None, "refused"),
        (404, None, "refused"),
        (400, -1000, "unknown"),
        (400, -1001, "unknown"),
        (400, -1006, "unknown"),
        (400, -1007, "unknown"),
        (408, None, "unknown"),
        (409, -2021, "unknown"),
        (500, None, "unknown"),
        (503, -1008, "unknown"),
        (504, -1007, "unknown"),
        (302, None, "unknown"),
        (429, -1003, "limited"),
        (429, -1015, "limited"),
        (418, -1003, "banned"),
    ],
)
def test_failed_order_call_is_refused_unknown_limited_or_banned(status: int, code: int | None, expected: str) -> None:
    assert outcome(status, VenueError(code, "")) == expected


@pytest.mark.spec("NET-3")
def test_duplicate_means_that_the_earlier_sending_arrived() -> None:
    assert outcome(400, VenueError(-2010, "Duplicate order sent.")) == "unknown"


@given(st.integers(500, 599), st.integers(-9999, 0) | st.none())
@pytest.mark.spec("NET-3")
def test_failing_server_never_settles_an_order(status: int, code: int | None) -> None:
    assert outcome(status, VenueError(code, "Service Unavailable.")) == "unknown"


# ---------------------------------------------------------------------------------------------------------------
# Rules


@pytest.mark.spec("NET-1")
def test_time_is_read() -> None:
    assert read_time(payload_bytes("rest_time")) == 1790000000123


@pytest.mark.spec("NET-2")
def test_announced_limits_are_read() -> None:
    assert read_rate_limits(payload_bytes("rest_exchange_info")) == (
        RateLimit("weight", 60_000, 6000),
        RateLimit("orders", 10_000, 100),
        RateLimit("orders", 86_400_000, 200_000),
        RateLimit("requests", 300_000, 300_000),
    )


@pytest.mark.spec("NET-2")
def test_limit_of_an_unknown_kind_is_left_out() -> None:
    row = {"rateLimitType": "PIGEONS", "interval": "DAY", "intervalNum": 1, "limit": 1}
    assert read_rate_limits(json.dumps({"rateLimits": [row]}).encode()) == ()


def test_symbol_is_read_with_all_its_filters() -> None:
    btc, _, _ = read_instruments(payload_bytes("rest_exchange_info"))
    assert btc == Instrument(
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        trading=True,
        tick_size=D("0.01"),
        price_min=D("0.01"),
        price_max=D("1000000"),
        lot_size=D("0.00001"),
        quantity_min=D("0.00001"),
        quantity_max=D("9000"),
        market_quantity_max=D("120"),
        notional_min=D("5"),
        notional_max=D("9000000"),
        bid_multiplier_down=D("0.2"),
        bid_multiplier_up=D("5"),
        ask_multiplier_down=D("0.3"),
        ask_multiplier_up=D("4"),
        orders_max=200,
        order_types=(
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ),
        oco_allowed=True,
        oto_allowed=True,
        opo_allowed=True,
    )


def test_older_filters_are_read_too() -> None:
    _, pepe, _ = read_instruments(payload_bytes("rest_exchange_info"))
    assert (pepe.notional_min, pepe.notional_max) == (D("0.001"), D(0))
    assert (pepe.bid_multiplier_down, pepe.bid_multiplier_up) == (D("0.7"), D("1.3"))
    assert (pepe.ask_multiplier_down, pepe.ask_multiplier_up) == (D("0.7"), D("1.3"))
    assert (pepe.oco_allowed, pepe.oto_allowed, pepe.opo_allowed) == (False, False, False)


@pytest.mark.spec("SAFE-5")
def test_symbol_without_filters_has_no_bounds_but_its_decimals() -> None:
    _, _, old = read_instruments(payload_bytes("rest_exchange_info"))
    assert not old.trading
    assert old.tick_size == old.lot_size == D("1E-8")
    bounds = (old.price_max, old.quantity_max, old.market_quantity_max, old.notional_min, old.bid_multiplier_up)
    assert set(bounds) == {D(0)}
    assert old.orders_max == 0


@pytest.mark.parametrize("status", ["HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY"])
def test_symbol_in_any_other_state_is_not_trading(status: str) -> None:
    info = payload("rest_exchange_info")
    info["symbols"][0]["status"] = status
    assert not read_instruments(json.dumps(info).encode())[0].trading


@pytest.mark.spec("SAFE-5")
def test_filter_with_an_impossible_number_is_a_bad_frame() -> None:
    info = payload("rest_exchange_info")
    info["symbols"][0]["filters"][0]["tickSize"] = "NaN"
    with pytest.raises(BadFrame):
        read_instruments(json.dumps(info).encode())


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("precision", [-1, 31, 10**30])
def test_asset_with_impossible_decimals_is_a_bad_frame(precision: int) -> None:
    info = payload("rest_exchange_info")
    info["symbols"][2]["quoteAssetPrecision"] = precision
    with pytest.raises(BadFrame):
        read_instruments(json.dumps(info).encode())


def test_documented_filters_are_read() -> None:
    filters = [each for name in ("PRICE_FILTER", "LOT_SIZE") for each in documented("filters.md", f"> {name}")]
    filters += documented("filters.md", "> NOTIONAL") + documented("filters.md", "> PERCENT_PRICE_BY_SIDE")
    filters += documented("filters.md", "> MAX_NUM_ALGO_ORDERS")
    info = payload("rest_exchange_info")
    info["symbols"][2]["filters"] = filters
    read = read_instruments(json.dumps(info).encode())[2]
    assert (read.tick_size, read.price_max) == (D("0.000001"), D("100000"))
    assert (read.lot_size, read.quantity_min) == (D("0.001"), D("0.001"))
    assert read.notional_min == D("10")
    assert (read.bid_multiplier_up, read.ask_multiplier_down) == (D("1.2"), D("0.8"))


def test_recorded_exchange_info_is_read() -> None:
    body = shared_file("open/fixtures/basana/binance_btc_usdt_exchange_info.json").read_bytes()
    (btc,) = read_instruments(body)
    assert (btc.tick_size, btc.lot_size, btc.notional_min) == (D("0.01"), D("0.00001"), D("10"))
    assert (btc.bid_multiplier_up, btc.trading, btc.oto_allowed) == (D("5"), True, False)
    assert RateLimit("weight", 60_000, 1200) in read_rate_limits(body)


@pytest.mark.spec("SAFE-5")
def test_fee_is_the_sum_of_all_blocks_with_the_dearer_side_and_no_discount() -> None:
    # maker 0.0008 + 0.0001, taker 0.0010 + 0.0001 + 0.00002; buyer 0.00001 is less than seller 0.00003.
    rates = FeeRates(D("0.00093"), D("0.00115"))
    assert read_fee_rates(payload_bytes("rest_commission")) == ("BTCUSDT", rates)


def test_fee_rates_without_a_special_block_are_read() -> None:
    symbol, rates = read_fee_rates(example("Account/GetCommissionRates"))
    # Sellers pay 0.0000004 + 0.00000116, buyers 0.0000003 + 0.00000118.
    assert (symbol, rates) == ("BTCUSDT", FeeRates(D("0.00000278"), D("0.00000290")))
    (answer,) = documented("rest-api.md", "Query Commission Rates")
    assert read_fee_rates(json.dumps(answer).encode())[0] == "BTCUSDT"


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("rate", ["NaN", "sNaN", "-0.001", "1", "Infinity"])
@pytest.mark.parametrize("part", ["maker", "taker", "buyer", "seller"])
def test_fee_rate_that_is_no_share_is_a_bad_frame(part: str, rate: str) -> None:
    answer = payload("rest_commission")
    answer["standardCommission"][part] = rate
    with pytest.raises(BadFrame):
        read_fee_rates(json.dumps(answer).encode())


# ---------------------------------------------------------------------------------------------------------------
# The account


@pytest.mark.spec("NET-1")
def test_account_tells_balances_and_whether_it_may_trade() -> None:
    balances = (Balance("BTC", D("0.00999"), D("0.001")), Balance("USDT", D("9399.88"), D(0)))
    assert read_account(payload_bytes("rest_account")) == (balances, True)


def test_documented_account_is_read() -> None:
    expected = (Balance("BTC", D("4723846.89208129"), D(0)), Balance("LTC", D("4763368.68006011"), D(0)))
    (answer,) = documented("rest-api.md", "Account information (USER_DATA)")
    assert read_account(json.dumps(answer).encode()) == (expected, True)
    assert read_account(example("Account/GetAccountInfo")) == (expected, True)


@pytest.mark.spec("ORD-6")
def test_open_orders_tell_what_rests_and_what_waits() -> None:
    assert read_open_orders(payload_bytes("rest_open_orders")) == (
        VenueOrder("bot-3", 7003, "BTCUSDT", Side.BUY, "LIMIT", D("0.01"), D("0.003"), D("59000"), D(0), resting=True),
        VenueOrder(
            "bot-oco-1-sl", 7021, "BTCUSDT", Side.SELL, "STOP_LOSS", D("0.01"), D(0), D(0), D("58000"), resting=True
        ),
        VenueOrder("bot-5-tp", 7022, "BTCUSDT", Side.SELL, "LIMIT_MAKER", D(0), D(0), D("61000"), D(0), resting=False),
    )


def test_documented_open_orders_are_read() -> None:
    (rows,) = documented("rest-api.md", "Current open orders")
    (order,) = read_open_orders(json.dumps(rows).encode())
    assert (order.client_order_id, order.order_id, order.quantity) == ("myOrder1", 1, D("1.0"))
    assert read_open_orders(example("Trading/GetOrders")) == (order,)


# ---------------------------------------------------------------------------------------------------------------
# Orders


def fill(id: str, trade: int, price: str, quantity: str, fee: str, asset: str = "BTC", **other: Any) -> Fill:
    fields: dict[str, Any] = {"side": Side.BUY, "maker": False, "at_ms": 1790000000200} | other
    return Fill(id, "BTCUSDT", trade, fields["side"], D(price), D(quantity), D(fee), asset, *list(fields.values())[1:])


@pytest.mark.spec("NET-1")
def test_full_answer_accepts_and_then_fills() -> None:
    id = "bot-20260922-0002"
    accepted, *filled = read_order(payload_bytes("rest_order_full"), NOW)
    assert accepted == OrderAccepted(NOW, id, 7002, True, D("0.01"), D("0.01"))
    assert filled == [
        OrderFilled(NOW, fill(id, 81, "60010", "0.004", "0.000004"), 7002, D("0.01")),
        OrderFilled(NOW, fill(id, 82, "60012", "0.005", "0.000005"), 7002, D("0.01")),
        OrderFilled(NOW, fill(id, 83, "60020", "0.001", "0.000001"), 7002, D("0.01")),
    ]


@pytest.mark.spec("NET-1")
def test_market_order_on_a_thin_book_fills_and_then_expires() -> None:
    accepted, filled, expired = read_order(payload_bytes("rest_order_full_exhausted"), NOW)
    assert isinstance(accepted, OrderAccepted)
    assert isinstance(filled, OrderFilled)
    assert expired == OrderExpired(NOW, "bot-20260922-0002", D("0.004"), "INSUFFICIENT_LIQUIDITY")


@pytest.mark.spec("SAFE-5")
def test_bare_acknowledgement_invents_no_amounts() -> None:
    expected = OrderAccepted(NOW, "bot-20260922-0001", 7001, True, None, None)
    assert read_order(payload_bytes("rest_order_ack"), NOW) == (expected,)


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("missing", ["side", "transactTime"])
def test_fills_without_their_side_or_time_are_a_bad_frame(missing: str) -> None:
    body = payload("rest_order_full")
    del body[missing]
    with pytest.raises(BadFrame):
        read_order(json.dumps(body).encode(), NOW)


@pytest.mark.spec("NET-1")
def test_queried_order_tells_how_much_has_filled_but_invents_no_fills() -> None:
    expected = OrderAccepted(NOW, "bot-3", 7003, True, D("0.01"), D("0.003"))
    assert read_order(payload_bytes("rest_order_queried"), NOW) == (expected,)


@pytest.mark.spec("NET-1")
def test_queried_order_that_expired_is_accepted_and_ended() -> None:
    accepted, expired = read_order(payload_bytes("rest_order_queried_expired"), NOW)
    assert isinstance(accepted, OrderAccepted)
    assert expired == OrderExpired(NOW, "bot-3", D("0.004"), "INSUFFICIENT_LIQUIDITY")


@pytest.mark.parametrize("status", ["EXPIRED", "EXPIRED_IN_MATCH"])
def test_expiry_without_a_reason_names_the_state(status: str) -> None:
    body = payload("rest_order_queried") | {"status": status, "expiryReason": "NONE"}
    assert read_order(json.dumps(body).encode(), NOW)[1] == OrderExpired(NOW, "bot-3", D("0.003"), status)


@pytest.mark.spec("NET-1")
def test_queried_order_that_was_cancelled_keeps_what_filled() -> None:
    body = payload("rest_order_queried") | {"status": "CANCELED"}
    assert read_order(json.dumps(body).encode(), NOW)[1] == OrderCanceled(NOW, "bot-3", D("0.003"))


def test_rejected_order_was_never_accepted() -> None:
    expected = OrderRejected(NOW, "bot-20260922-0002", None, "REJECTED")
    assert read_order(payload_bytes("rest_order_rejected"), NOW) == (expected,)


@pytest.mark.spec("NET-1")
def test_cancelled_order_is_named_by_its_own_id() -> None:
    assert read_cancel(payload_bytes("rest_cancel"), NOW) == (OrderCanceled(NOW, "bot-3", D("0.003")),)


@pytest.mark.spec("NET-1")
def test_cancelled_member_takes_its_list_with_it() -> None:
    assert read_cancel(payload_bytes("rest_cancel_list"), NOW) == (
        OrderCanceled(NOW, "bot-oco-1-tp", D(0)),
        OrderCanceled(NOW, "bot-oco-1-sl", D(0)),
    )


def test_cancel_that_found_the_order_filled_tells_so() -> None:
    body = payload("rest_cancel") | {"status": "FILLED", "executedQty": "0.01000000"}
    expected = OrderAccepted(NOW, "bot-3", 7003, True, D("0.01"), D("0.01"))
    assert read_cancel(json.dumps(body).encode(), NOW) == (expected,)


@pytest.mark.spec("ORD-6")
def test_placed_oco_rests_on_both_sides() -> None:
    assert read_list(payload_bytes("rest_list_oco"), NOW) == (
        OrderAccepted(NOW, "bot-oco-1-tp", 7020, True, D("0.01"), D(0)),
        OrderAccepted(NOW, "bot-oco-1-sl", 7021, True, D("0.01"), D(0)),
    )


@pytest.mark.spec("ORD-6")
def test_placed_otoco_fills_its_entry_while_its_legs_still_wait() -> None:
    filled = fill("bot-5", 90, "60010", "0.01", "0.00001", at_ms=1790000000300)
    assert read_list(payload_bytes("rest_list_otoco"), NOW) == (
        OrderAccepted(NOW, "bot-5", 7030, True, D("0.01"), D("0.01")),
        OrderFilled(NOW, filled, 7030, D("0.01")),
        OrderAccepted(NOW, "bot-5-tp", 7031, False, None, D(0)),
        OrderAccepted(NOW, "bot-5-sl", 7032, False, None, D(0)),
    )


@pytest.mark.spec("ORD-6", "SAFE-5")
def test_placed_opoco_has_legs_without_a_quantity() -> None:
    entry, target, stop = read_list(payload_bytes("rest_list_opoco"), NOW)
    assert entry == OrderAccepted(NOW, "bot-6", 7040, True, D("0.01"), D(0))
    assert target == OrderAccepted(NOW, "bot-6-tp", 7041, False, None, D(0))
    assert stop == OrderAccepted(NOW, "bot-6-sl", 7042, False, None, D(0))


def test_list_answer_without_reports_is_a_bad_frame() -> None:
    body = payload("rest_list_oco")
    del body["orderReports"]
    with pytest.raises(BadFrame):
        read_list(json.dumps(body).encode(), NOW)


@pytest.mark.spec("NET-1")
def test_fills_are_read_with_their_own_side_and_fee_asset() -> None:
    assert read_trades(payload_bytes("rest_my_trades"), "bot-2", NOW) == (
        OrderFilled(NOW, fill("bot-2", 81, "60010", "0.004", "0.000004"), 7002, None),
        OrderFilled(
            NOW,
            fill("bot-2", 82, "60012", "0.006", "0.012", "BNB", side=Side.SELL, maker=True, at_ms=1790000000205),
            7002,
            None,
        ),
    )


@pytest.mark.spec("SAFE-5")
@pytest.mark.parametrize("change", [{"price": "0"}, {"qty": "-1"}, {"commission": "NaN"}, {"price": "Infinity"}])
def test_fill_that_nobody_could_have_made_is_a_bad_frame(change: dict[str, str]) -> None:
    rows = payload("rest_my_trades")
    rows[1] |= change
    with pytest.raises(BadFrame):
        read_trades(json.dumps(rows).encode(), "bot-2", NOW)


@pytest.mark.spec("NET-1")
def test_documented_order_answers_are_read() -> None:
    ack, result, full = documented("rest-api.md", "Trading endpoints > New order (TRADE)")
    accepted = OrderAccepted(NOW, "6gCrw2kRUAF9CvJDGP16IP", 28, True, None, None)
    assert read_order(json.dumps(ack).encode(), NOW) == (accepted,)
    assert read_order(json.dumps(result).encode(), NOW)[0] == OrderAccepted(
        NOW, "6gCrw2kRUAF9CvJDGP16IP", 28, True, D(10), D(10)
    )
    assert len(read_order(json.dumps(full).encode(), NOW)) == 1 + len(full["fills"])
    (query,) = documented("rest-api.md", "Query order (USER_DATA)")
    assert read_order(json.dumps(query).encode(), NOW) == (OrderAccepted(NOW, "myOrder1", 1, True, D(1), D(0)),)


@pytest.mark.spec("NET-1", "ORD-6")
def test_documented_lists_and_cancels_are_read() -> None:
    for section, resting in [
        ("New Order list - OCO", [True, True]),
        ("New Order list - OTOCO", [True, False, False]),
        ("New Order List - OPOCO", [True, False, False]),
    ]:
        (answer,) = documented("rest-api.md", section)
        events = read_list(json.dumps(answer).encode(), NOW)
        assert [event.resting for event in events if isinstance(event, OrderAccepted)] == resting
    (cancel,) = documented("rest-api.md", "Trading endpoints > Cancel order (TRADE)")[:1]
    assert read_cancel(json.dumps(cancel).encode(), NOW) == (OrderCanceled(NOW, "myOrder1", D(0)),)
    assert read_cancel(example("Trading/CancelOrder"), NOW) == (OrderCanceled(NOW, "myOrder1", D(0)),)
    (listed,) = documented("rest-api.md", "Cancel Order list")
    for body in (json.dumps(listed).encode(), example("Trading/CancelOcoOrder")):
        ended = [event for event in read_cancel(body, NOW) if isinstance(event, OrderCanceled)]
        assert [event.client_order_id for event in ended] == ["pO9ufTiFGg3nw2fOdgeOXa", "TXOvglzXuaubXAaENpaRCB"]
    assert len(read_list(example("Trading/PlaceOcoOrderList"), NOW)) == 2
    assert len(read_list(example("Trading/PlaceOtoOrderList"), NOW)) == 2
    (rows,) = documented("rest-api.md", "Account trade list")
    assert [trade.fill.fee_asset for trade in read_trades(json.dumps(rows).encode(), "x", NOW)] == ["BNB"]


# ---------------------------------------------------------------------------------------------------------------
# Junk

READERS: dict[str, Callable[[bytes], object]] = {
    "rest_time": read_time,
    "rest_exchange_info": lambda body: (read_instruments(body), read_rate_limits(body)),
    "rest_commission": read_fee_rates,
    "rest_klines": lambda body: read_klines(body, "BTCUSDT", "15m"),
    "rest_account": read_account,
    "rest_open_orders": read_open_orders,
    "rest_order_full": lambda body: read_order(body, NOW),
    "rest_cancel_list": lambda body: read_cancel(body, NOW),
    "rest_list_otoco": lambda body: read_list(body, NOW),
    "rest_my_trades": lambda body: read_trades(body, "bot-1", NOW),
    "rest_replace_list": lambda body: read_replace(body, NOW),
    "rest_replace_in_part": lambda body: read_replace_failure(body, REPLACE, NOW),
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["NaN", "1e999", "-1"])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value, by the keys that lead to it."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, child in children for place in places(child, (*path, key))]


@st.composite
def damaged_answers(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good answer with the value at one place replaced by anything."""
    name = draw(st.sampled_from(sorted(READERS)))
    answer = payload(name)
    *path, last = draw(st.sampled_from(places(answer)))
    inner = answer
    for key in path:
        inner = inner[key]
    inner[last] = draw(scalars | st.just([]) | st.just({}))
    return name, json.dumps(answer).encode()


@pytest.mark.spec("SAFE-5", "DATA-6")
@given(damaged_answers() | st.tuples(st.sampled_from(sorted(READERS)), st.binary()))
def test_junk_raises_nothing_but_bad_frame(case: tuple[str, bytes]) -> None:
    name, body = case
    with suppress(BadFrame):
        READERS[name](body)


def test_every_payload_names_its_source_first() -> None:
    files = sorted(FOLDER.glob("*.json"))
    assert files
    for file in files:
        (first, source), *_ = json.loads(file.read_text()).items()
        assert first == "source"
        assert source
