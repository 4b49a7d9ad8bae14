"""Market data by REST: trades, depth, averages and tickers tell the same story as the candles."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.depth import LADDER_LEVELS, Chain, levels
from simex.market import CandleTape
from simex.orders import Side
from simex.venue import Candle
from tests.simex.wire import START_MS, Client, Floor, accepted, floor, json_list, public

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
SIDES: tuple[Side, Side] = ("BUY", "SELL")
MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS


def candle(number: int, price: int, volume: int = 8) -> Candle:
    at = D(price)
    return Candle(START_MS + number * MINUTE_MS, MINUTE_MS, at, at + 5, at - 5, at + 1, D(volume))


def get(at: Floor, target: str) -> Any:
    return accepted(public(at, target))


def test_trades_are_what_was_printed_newest_last() -> None:
    at = floor()
    for price in ("60000", "60001", "60000.5"):
        at.tick(price, volume="0.25")
    trades = get(at, "trades?symbol=BTCUSDT&limit=2")
    assert trades == [
        {
            "id": 2, "price": "60001.00000000", "qty": "0.25000000", "quoteQty": "15000.25000000",
            "time": START_MS + 2000, "isBuyerMaker": False, "isBestMatch": True,
        },
        {
            "id": 3, "price": "60000.50000000", "qty": "0.25000000", "quoteQty": "15000.12500000",
            "time": START_MS + 3000, "isBuyerMaker": True, "isBestMatch": True,
        },
    ]  # fmt: skip
    assert get(at, "historicalTrades?symbol=BTCUSDT&fromId=1&limit=2")[0]["id"] == 1
    assert [trade["a"] for trade in get(at, "aggTrades?symbol=BTCUSDT&fromId=2")] == [2, 3]


def test_aggregate_trades_follow_the_paging_rule() -> None:
    at = floor()
    for price in range(60_000, 60_010):
        at.tick(str(price))

    def ids(query: str) -> list[int]:
        return [trade["a"] for trade in get(at, f"aggTrades?symbol=BTCUSDT&limit=3{query}")]

    assert ids("") == [8, 9, 10]
    assert ids(f"&startTime={START_MS + 4000}") == [4, 5, 6]
    assert ids(f"&endTime={START_MS + 4000}") == [2, 3, 4]
    assert ids(f"&startTime={START_MS + 4000}&endTime={START_MS + 5000}") == [4, 5]
    assert ids(f"&startTime={START_MS + 5001}&endTime={START_MS + 5500}") == []
    refused = public(at, f"aggTrades?symbol=BTCUSDT&fromId=1&startTime={START_MS}")
    assert json.loads(refused.body)["code"] == -1128


def test_trades_before_the_start_and_of_skipped_candles_add_up_to_their_candles() -> None:
    at = floor(forming_klines=False)
    at.exchange.load_history("BTCUSDT", [candle(number, 100 + number) for number in range(-5, 0)])
    tape = CandleTape({"BTCUSDT": [candle(number, 100 + number, 9) for number in range(20)]}, always_tick=False)
    while tape.next_ms() is not None:
        tape.advance(at.exchange, before_ms=START_MS + 20 * MINUTE_MS)
    at.now_ms = START_MS + 20 * MINUTE_MS
    trades = get(at, "trades?symbol=BTCUSDT&limit=1000")
    assert [trade["id"] for trade in trades] == list(range(1, 101))
    assert [trade["time"] for trade in trades] == sorted(trade["time"] for trade in trades)
    for row in get(at, "klines?symbol=BTCUSDT&interval=1m"):
        inside = [trade for trade in trades if row[0] <= trade["time"] <= row[6]]
        prices = [D(trade["price"]) for trade in inside]
        assert [prices[0], max(prices), min(prices), prices[-1]] == [D(value) for value in row[1:5]]
        assert sum(D(trade["qty"]) for trade in inside) == D(row[5])
        assert sum(D(trade["quoteQty"]) for trade in inside) == D(row[7])
        assert len(inside) == row[8]
    assert [trade["id"] for trade in get(at, "historicalTrades?symbol=BTCUSDT&fromId=50&limit=3")] == [50, 51, 52]
    middle = trades[60]
    (found,) = get(at, f"aggTrades?symbol=BTCUSDT&limit=1&startTime={middle['time']}")
    assert (found["a"], found["p"]) == (middle["id"], middle["price"])


def test_depth_has_many_levels_in_order_and_none_inside_the_quote() -> None:
    at = floor()
    at.tick("60000", liquidity="2")
    depth = get(at, "depth?symbol=BTCUSDT&limit=5000")
    bids, asks = ([[D(price), D(quantity)] for price, quantity in depth[side]] for side in ("bids", "asks"))
    assert (bids[0], asks[0]) == ([D(59994), D(2)], [D(60006), D(2)])
    assert len(bids) == len(asks) == LADDER_LEVELS + 1
    assert all(quantity > 0 for _, quantity in bids + asks)
    assert [price for price, _ in bids] == sorted({price for price, _ in bids}, reverse=True)
    assert [price for price, _ in asks] == sorted({price for price, _ in asks})
    assert bids[-1][0] < D(60000) * D("0.995")
    assert get(at, "depth?symbol=BTCUSDT&limit=3")["bids"] == depth["bids"][:3]
    assert get(at, "depth?symbol=ETHUSDT") == {"lastUpdateId": 0, "bids": [], "asks": []}


def test_ladder_is_there_to_be_looked_at_and_not_to_be_traded_with() -> None:
    at = floor()
    at.tick("60000", liquidity="0.001")
    order = Client(at).buy(type="LIMIT", timeInForce="IOC", quantity="0.5", price="60600")
    assert D(order["executedQty"]) == D("0.001")


prices = st.integers(59_000, 61_000)
moves = st.one_of(
    st.tuples(st.just("tick"), prices),
    st.tuples(st.sampled_from(["BUY", "SELL"]), prices),
    st.tuples(st.just("cancel"), st.just(0)),
    st.tuples(st.just("look"), st.just(0)),
)


@given(st.lists(moves, max_size=30))
def test_differences_of_the_depth_chain_without_a_break_and_lead_to_every_snapshot(done: list[tuple[str, int]]) -> None:
    at = floor()
    at.tick("60000", liquidity="0.02")
    book = at.exchange._books["BTCUSDT"]
    chain, client = Chain(book), Client(at)
    known = {side: dict(levels(book, side, 5000)) for side in SIDES}
    update_id = book.update_id
    for kind, price in done:
        if kind == "tick":
            at.tick(str(price), liquidity="0.02")
        elif kind == "cancel":
            client.call("DELETE", "openOrders", symbol="BTCUSDT")
        elif kind != "look":
            wish = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.05", "price": price}
            client.call("POST", "order", symbol="BTCUSDT", side=kind, **wish)
        difference = chain.next()
        if difference is not None:
            before, *changed = difference
            assert before == update_id < chain.update_id == book.update_id
            update_id = chain.update_id
            for side, entries in zip(SIDES, changed, strict=True):
                for at_price, quantity in entries:
                    known[side][at_price] = quantity
        for side in SIDES:
            shown = {at_price: quantity for at_price, quantity in known[side].items() if quantity}
            assert shown == dict(levels(book, side, 5000))


def test_depth_changes_little_from_print_to_print() -> None:
    at = floor()
    at.tick("60000.17")
    chain = Chain(at.exchange._books["BTCUSDT"])
    changed = []
    for number in range(64):
        at.tick(str(60_000 + number % 2))
        difference = chain.next()
        assert difference is not None
        changed.append(len(difference[1]) + len(difference[2]))
    assert 20 < sum(changed) / len(changed) < 80


def test_average_price_is_that_of_five_minutes() -> None:
    at = floor()
    at.tick("100", volume="1")
    at.now_ms += 6 * MINUTE_MS
    at.tick("200", volume="3")
    at.tick("300", volume="1")
    assert get(at, "avgPrice?symbol=BTCUSDT") == {"mins": 5, "price": "225.00000000", "closeTime": at.now_ms}


def test_rolling_day_starts_anew_behind_what_is_older() -> None:
    at = floor()
    at.exchange.load_history("BTCUSDT", [candle(0, 50), candle(1, 100), candle(2, 110)])
    at.now_ms = START_MS + MINUTE_MS + DAY_MS
    at.exchange.tick("BTCUSDT", D(200), D(2), D(5), at.now_ms)
    ticker = get(at, "ticker/24hr?symbol=BTCUSDT")
    assert ticker == {
        "symbol": "BTCUSDT", "priceChange": "100.00000000", "priceChangePercent": "100.000",
        "weightedAvgPrice": ticker["weightedAvgPrice"], "prevClosePrice": "51.00000000", "lastPrice": "200.00000000",
        "lastQty": "2.00000000", "bidPrice": "199.98000000", "bidQty": "5.00000000", "askPrice": "200.02000000",
        "askQty": "5.00000000", "openPrice": "100.00000000", "highPrice": "200.00000000", "lowPrice": "95.00000000",
        "volume": "18.00000000", "quoteVolume": ticker["quoteVolume"], "openTime": at.now_ms - DAY_MS,
        "closeTime": at.now_ms, "firstId": 5, "lastId": 13, "count": 9,
    }  # fmt: skip
    quote = 2 * (100 + 105 + 95 + 101) + 2 * (110 + 115 + 105 + 111) + 400
    assert D(ticker["quoteVolume"]) == quote
    assert D(ticker["weightedAvgPrice"]) == (D(quote) / 18).quantize(D("1e-8"))
    mini = get(at, "ticker/24hr?symbol=BTCUSDT&type=MINI")
    wanted = "symbol openPrice highPrice lowPrice lastPrice volume quoteVolume openTime closeTime firstId lastId count"
    assert mini == {name: ticker[name] for name in wanted.split()}
    assert len(get(at, "ticker/24hr")) == 4
    silent = get(at, "ticker/24hr?symbol=ETHUSDT")
    assert (silent["count"], silent["firstId"], silent["lastPrice"]) == (0, -1, "0.00000000")


def test_windows_of_the_callers_choice() -> None:
    at = floor()
    at.tick("100")
    at.now_ms = START_MS + 10 * MINUTE_MS
    at.tick("150")
    short = get(at, "ticker?symbol=BTCUSDT&windowSize=5m")
    assert (short["openPrice"], short["count"], short["openTime"]) == (
        "150.00000000", 1, at.now_ms - at.now_ms % MINUTE_MS - 5 * MINUTE_MS,
    )  # fmt: skip
    assert get(at, "ticker?symbol=BTCUSDT")["openPrice"] == "100.00000000"
    assert set(short) == set(get(at, "ticker/24hr?symbol=BTCUSDT")) - {
        "prevClosePrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty",
    }  # fmt: skip


def test_trading_day_begins_at_the_midnight_of_its_zone() -> None:
    at = floor()
    midnight_ms = START_MS - START_MS % DAY_MS
    at.tick("100")
    assert get(at, "ticker/tradingDay?symbol=BTCUSDT")["openTime"] == midnight_ms
    east = get(at, f"ticker/tradingDay?symbols={json_list('BTCUSDT')}&timeZone=8")[0]["openTime"]
    assert (at.now_ms - east < DAY_MS, (east + 8 * 60 * MINUTE_MS) % DAY_MS) == (True, 0)
    west = get(at, "ticker/tradingDay?symbol=BTCUSDT&timeZone=-3:30")["openTime"]
    assert (west - 210 * MINUTE_MS) % DAY_MS == 0


def test_klines_of_another_time_zone_open_at_its_midnight() -> None:
    at = floor()
    at.tick("100")
    (row,) = get(at, "klines?symbol=BTCUSDT&interval=1d&timeZone=8")
    assert (row[0] + 8 * 60 * MINUTE_MS) % DAY_MS == 0
    assert row[6] - row[0] == DAY_MS - 1
    (minute,) = get(at, "uiKlines?symbol=BTCUSDT&interval=1m&timeZone=05:45")
    assert minute[0] == START_MS


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("trades", -1102),
        ("trades?symbol=NOPE", -1121),
        ("ticker", -1102),
        ("ticker/tradingDay", -1102),
        ("ticker?symbol=BTCUSDT&windowSize=60m", -1130),
        ("ticker/24hr?symbol=BTCUSDT&type=HALF", -1130),
        ("ticker/price?symbol=BTCUSDT&symbols=%5B%22BTCUSDT%22%5D", -1128),
        ("klines?symbol=BTCUSDT&interval=1d&timeZone=15", -1130),
        ("klines?symbol=BTCUSDT&interval=1d&timeZone=noon", -1130),
    ],
)
def test_malformed_questions_are_refused(target: str, code: int) -> None:
    assert json.loads(public(floor(), target).body)["code"] == code


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("trades?symbol=BTCUSDT", 25),
        ("aggTrades?symbol=BTCUSDT", 4),
        ("avgPrice?symbol=BTCUSDT", 2),
        ("ticker/24hr?symbol=BTCUSDT", 2),
        ("ticker/24hr", 80),
        ("ticker?symbols=%5B%22BTCUSDT%22,%22ETHUSDT%22%5D", 8),
        ("ticker/tradingDay?symbol=BTCUSDT", 4),
    ],
)
def test_questions_weigh_what_the_document_says(target: str, weight: int) -> None:
    assert public(floor(), target).headers["X-MBX-USED-WEIGHT-1M"] == str(weight)
