"""Market streams: they come as often as documented, and tell the same as REST."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simex.venue import HttpRequest
from tests.simex.wire import START_MS, Client, Floor, accepted, floor, public

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
def at() -> Floor:
    made = floor()
    made.tick("60000", volume="2")
    return made


def pass_time(at: Floor, ms: int) -> None:
    """Let time go on as a server does: it wakes the exchange whenever the exchange asks for it."""
    until_ms = at.now_ms + ms
    while (due_ms := at.exchange.deadline_ms()) is not None and due_ms <= until_ms:
        at.now_ms = max(at.now_ms, due_ms)
        at.exchange.wake(at.now_ms)
    at.now_ms = until_ms
    at.exchange.wake(at.now_ms)


def print_at_once(at: Floor, price: str, symbol: str = "BTCUSDT", liquidity: str = "100") -> None:
    at.exchange.tick(symbol, D(price), D(1), D(liquidity), at.now_ms)


def get(at: Floor, target: str) -> Any:
    return accepted(public(at, target))


def test_aggregate_trade_is_told_with_each_print(at: Floor) -> None:
    link = at.open("/ws/btcusdt@aggTrade")
    at.tick("59999", volume="0.5")
    (frame,) = at.heard(link)
    assert frame == {
        "e": "aggTrade", "E": at.now_ms, "s": "BTCUSDT", "a": 2, "p": "59999.00000000", "q": "0.50000000", "f": 2,
        "l": 2, "T": at.now_ms, "m": True, "M": True,
    }  # fmt: skip
    assert {key: frame[key] for key in "apqflTmM"} == get(at, "aggTrades?symbol=BTCUSDT&limit=1")[0]


@pytest.mark.parametrize(
    ("kind", "period_ms"),
    [
        ("miniTicker", 1000), ("ticker", 1000), ("ticker_1h", 1000), ("avgPrice", 1000), ("kline_1m", 2000),
        ("depth", 1000), ("depth@100ms", 100), ("depth5", 1000), ("depth20@100ms", 100),
    ],
)  # fmt: skip
def test_a_stream_is_sent_at_once_and_then_not_before_its_period_is_over(at: Floor, kind: str, period_ms: int) -> None:
    link = at.open(f"/ws/btcusdt@{kind}")
    assert at.exchange.deadline_ms() is None
    heard_ms = []
    for number in range(100):
        print_at_once(at, str(60_001 + number))
        heard_ms += [at.now_ms] * len(at.heard(link))
        pass_time(at, 37)
        heard_ms += [at.now_ms] * len(at.heard(link))
    gaps = [later - earlier for earlier, later in pairwise(heard_ms)]
    assert min(gaps) >= period_ms - 37
    assert len(heard_ms) >= 3700 // (period_ms + 37)
    pass_time(at, period_ms)
    at.heard(link)
    pass_time(at, 10 * period_ms)
    assert at.heard(link) == [], "nothing happened, nothing is told"


def test_tickers_agree_with_rest(at: Floor) -> None:
    for number in range(5):
        at.now_ms += 7 * MINUTE_MS
        at.tick(str(60_000 + 13 * (number % 3)), volume="0.75")
    link = at.open("/stream?streams=btcusdt@ticker/btcusdt@miniTicker/btcusdt@ticker_1h/btcusdt@avgPrice")
    at.now_ms += 40 * MINUTE_MS
    at.tick("60100", volume="3")
    heard = {frame["stream"].partition("@")[2]: frame["data"] for frame in at.heard(link)}
    day = get(at, "ticker/24hr?symbol=BTCUSDT")
    ticker = heard["ticker"]
    names = {
        "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice",
        "c": "lastPrice", "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty",
        "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume", "O": "openTime",
        "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count", "s": "symbol",
    }  # fmt: skip
    assert {names[key]: value for key, value in ticker.items() if key not in "eE"} == day
    assert heard["miniTicker"] == {
        "e": "24hrMiniTicker", "E": at.now_ms, "s": "BTCUSDT", **{key: ticker[key] for key in "cohlvq"},
    }  # fmt: skip
    hour, shown = heard["ticker_1h"], get(at, "ticker?symbol=BTCUSDT&windowSize=1h")
    assert {names[key]: value for key, value in hour.items() if key not in "eE"} == shown
    assert hour["e"] == "1hTicker"
    assert shown["count"] < day["count"]
    average = get(at, "avgPrice?symbol=BTCUSDT")
    assert heard["avgPrice"] == {
        "e": "avgPrice", "E": at.now_ms, "s": "BTCUSDT", "i": "5m", "w": average["price"], "T": average["closeTime"],
    }  # fmt: skip


def test_arrays_tell_of_the_symbols_that_changed(at: Floor) -> None:
    link = at.open("/stream?streams=!miniTicker@arr/!ticker_4h@arr/!ticker@arr")
    print_at_once(at, "60000")
    frames = at.heard(link)
    assert [frame["stream"] for frame in frames] == ["!miniTicker@arr", "!ticker_4h@arr"], "the retired one is silent"
    assert [[entry["s"] for entry in frame["data"]] for frame in frames] == [["BTCUSDT"], ["BTCUSDT"]]
    print_at_once(at, "3000", "ETHUSDT")
    print_at_once(at, "150", "SOLUSDT")
    assert at.heard(link) == []
    pass_time(at, 1000)
    mini, _ = at.heard(link)
    last = {entry["s"]: entry["c"] for entry in mini["data"]}
    assert last == {"ETHUSDT": "3000.00000000", "SOLUSDT": "150.00000000"}
    at.say(link, {"method": "UNSUBSCRIBE", "params": ["!miniTicker@arr", "!ticker_4h@arr"], "id": 1})
    assert at.exchange.is_idle("BTCUSDT")


def test_klines_of_utc_plus_eight(at: Floor) -> None:
    link = at.open("/stream?streams=btcusdt@kline_1d@+08:00/btcusdt@kline_1d")
    at.tick("60001")
    klines = {frame["stream"]: frame["data"]["k"] for frame in at.heard(link)}
    east, plain = klines["btcusdt@kline_1d@+08:00"], klines["btcusdt@kline_1d"]
    assert (east["i"], plain["i"]) == ("1d", "1d")
    assert (east["t"] + 8 * HOUR_MS) % (24 * HOUR_MS) == plain["t"] % (24 * HOUR_MS) == 0
    assert east["T"] - east["t"] == 24 * HOUR_MS - 1
    at.exchange.roll(east["T"] + 1)
    assert [frame["data"]["k"]["x"] for frame in at.heard(link) if frame["stream"].endswith("+08:00")] == [True]


def test_partial_depth_is_the_top_of_the_book(at: Floor) -> None:
    link = at.open("/ws/btcusdt@depth5/btcusdt@depth10@100ms/btcusdt@depth7")
    at.tick("60000")
    five, ten = at.heard(link)
    assert five == get(at, "depth?symbol=BTCUSDT&limit=5")
    assert ten == get(at, "depth?symbol=BTCUSDT&limit=10")


class LocalBook:
    """A client's book by the documented algorithm."""

    def __init__(self, snapshot: Any) -> None:
        self.update_id = snapshot["lastUpdateId"]
        self.sides = [dict(snapshot[side]) for side in ("bids", "asks")]
        self.applied = 0

    def apply(self, event: Any) -> None:
        if event["u"] <= self.update_id:
            return
        assert event["U"] <= self.update_id + 1 <= event["u"], "the chain has a break"
        if self.applied:
            assert event["U"] == self.update_id + 1
        for side, changes in zip(self.sides, (event["b"], event["a"]), strict=True):
            for price, quantity in changes:
                if D(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.update_id = event["u"]
        self.applied += 1

    def matches(self, snapshot: Any) -> bool:
        shown = [dict(snapshot[side]) for side in ("bids", "asks")]
        return self.sides == shown


prices = st.integers(59_000, 61_000)
moves = st.one_of(
    st.tuples(st.just("tick"), prices),
    st.tuples(st.sampled_from(["BUY", "SELL"]), prices),
    st.tuples(st.sampled_from(["cancel", "amend"]), st.just(0)),
    st.tuples(st.sampled_from(["iceberg", "decrement"]), prices),
    st.tuples(st.just("wait"), st.integers(1, 1500)),
    st.tuples(st.just("snapshot"), st.just(0)),
)


@example([("snapshot", 0), ("BUY", 59_000), ("amend", 0)], "depth")
@given(st.lists(moves, max_size=40), st.sampled_from(["depth", "depth@100ms"]))
def test_a_book_kept_by_the_documented_algorithm_equals_every_later_snapshot_and_best_price(
    done: list[tuple[str, int]], kind: str
) -> None:
    at = floor()
    at.tick("60000", liquidity="0.02")
    link = at.open(f"/stream?streams=btcusdt@{kind}/btcusdt@bookTicker")
    client = Client(at)
    kept: LocalBook | None = None
    bests: dict[int, Any] = {}
    for move, value in [*done, ("wait", 1500)]:
        if move == "tick":
            print_at_once(at, str(value), liquidity="0.02")
        elif move == "cancel":
            client.call("DELETE", "openOrders", symbol="BTCUSDT")
        elif move == "wait":
            pass_time(at, value)
        elif move == "snapshot":
            kept = kept or LocalBook(get(at, "depth?symbol=BTCUSDT&limit=5000"))
        elif move == "amend":
            for order in client.get("openOrders"):
                client.call(
                    "PUT", "order/amend/keepPriority", symbol="BTCUSDT", orderId=order["orderId"], newQty="0.02"
                )
        else:
            place(client, move, value)
        at.exchange.wake(at.now_ms)
        for frame in at.heard(link):
            data = frame["data"]
            if frame["stream"].endswith("bookTicker"):
                bests[data["u"]] = data
            elif kept is not None:
                kept.apply(data)
                if data["u"] in bests:
                    best = bests[data["u"]]
                    assert max(kept.sides[0], key=D) == best["b"]
                    assert min(kept.sides[1], key=D) == best["a"]
                    assert (kept.sides[0][best["b"]], kept.sides[1][best["a"]]) == (best["B"], best["A"])
    if kept is not None:
        snapshot = get(at, "depth?symbol=BTCUSDT&limit=5000")
        assert kept.matches(snapshot)


def place(client: Client, move: str, price: int) -> None:
    wish = {"side": move, "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.05", "price": price}
    if move == "iceberg":
        wish |= {"side": "SELL", "icebergQty": "0.01"}
    elif move == "decrement":
        wish |= {"side": "BUY", "selfTradePreventionMode": "DECREMENT", "quantity": "0.02"}
    client.call("POST", "order", symbol="BTCUSDT", **wish)


def test_best_prices_are_told_when_a_client_changes_them(at: Floor) -> None:
    link = at.open("/ws/btcusdt@bookTicker")
    client = Client(at)
    client.buy(type="LIMIT_MAKER", quantity="0.3", price="60001")
    at.exchange.wake(at.now_ms)
    (frame,) = at.heard(link)
    assert (frame["b"], frame["B"]) == ("60001.00000000", "0.30000000")
    client.buy(type="LIMIT_MAKER", quantity="0.3", price="50000")
    at.exchange.wake(at.now_ms)
    assert at.heard(link) == [], "an order behind the best one does not"
    client.delete("openOrders", symbol="BTCUSDT")
    at.exchange.wake(at.now_ms)
    assert at.heard(link)[0]["b"] == "59994.00000000"


def test_microseconds_are_a_matter_of_the_connection(at: Floor) -> None:
    micro = at.open("/stream?streams=btcusdt@trade/btcusdt@kline_1m/btcusdt@depth@100ms&timeUnit=MICROSECOND")
    plain = at.open("/ws/btcusdt@trade?timeUnit=millisecond")
    at.tick("60001")
    events = {frame["data"]["e"]: frame["data"] for frame in at.heard(micro)}
    assert at.heard(plain)[0]["T"] == at.now_ms
    assert (events["trade"]["E"], events["trade"]["T"]) == (at.now_ms * 1000, at.now_ms * 1000)
    assert events["depthUpdate"]["E"] == at.now_ms * 1000
    kline = events["kline"]["k"]
    assert (kline["t"], kline["T"]) == (START_MS * 1000, (START_MS + MINUTE_MS) * 1000 - 1)


def test_a_time_unit_that_does_not_exist_is_refused_with_its_code(at: Floor) -> None:
    target = "/ws/btcusdt@trade?timeUnit=FORTNIGHT"
    assert not at.exchange.ws_open(7, target, at.now_ms)
    answer = at.exchange.rest(HttpRequest("GET", target), at.now_ms)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, -1194)


def test_every_connection_hears_that_the_server_will_go(at: Floor) -> None:
    raw, combined, api = at.open("/ws"), at.open("/stream"), at.open("/ws-api/v3")
    micro = at.open("/ws?timeUnit=MICROSECOND")
    at.exchange.announce_shutdown(at.now_ms)
    event = {"e": "serverShutdown", "E": at.now_ms}
    assert at.heard(raw) == [event]
    assert at.heard(combined) == [{"stream": "!serverShutdown", "data": event}]
    assert at.heard(api) == [{"event": event}]
    assert at.heard(micro)[0]["E"] == at.now_ms * 1000


@pytest.mark.parametrize("request_id", [1.5, 1 << 63, "x" * 37, [1], {"a": 1}, True])
def test_ids_that_are_none_are_refused(at: Floor, request_id: Any) -> None:
    link = at.open("/ws")
    at.say(link, {"method": "LIST_SUBSCRIPTIONS", "id": request_id})
    (answer,) = at.heard(link)
    assert (answer["code"], "id" in answer) == (2, False)


def test_too_many_streams_in_a_path_open_no_connection(at: Floor) -> None:
    names = "/".join(f"s{number}@trade" for number in range(1025))
    assert not at.exchange.ws_open(3, f"/ws/{names}", at.now_ms)
    assert at.exchange.ws_open(3, f"/ws/{names.removesuffix('/s1024@trade')}", at.now_ms)


def test_numbered_connections_of_ccxt_are_spot_connections(at: Floor) -> None:
    link = at.open("/stream-sim/ws/0")
    at.say(link, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
    at.say(link, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
    assert [answer["result"] for answer in at.heard(link)] == [None, ["btcusdt@trade"]]


def test_nobody_listens_and_nothing_waits(at: Floor) -> None:
    link = at.open("/ws/btcusdt@depth@100ms/btcusdt@ticker/btcusdt@kline_1m/!miniTicker@arr")
    print_at_once(at, "60000")
    print_at_once(at, "60001")
    assert at.exchange.deadline_ms() is not None
    at.exchange.ws_close(link)
    assert at.exchange.deadline_ms() is None
    assert at.exchange.is_idle("BTCUSDT")
