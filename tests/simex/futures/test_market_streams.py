"""Market streams and market data of the futures market."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, HttpRequest, Undocumented
from tests.simex.futures.wire import Trader, floor, market_of, public
from tests.simex.test_exchange_market_streams import pass_time
from tests.simex.wire import ALICE, START_MS, Floor, accepted, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal
HOUR_MS = 3_600_000


def get(at: Floor, target: str) -> Any:
    return accepted(public(at, target))


def one(at: Floor, target: str, price: str = "100000.1") -> Any:
    link = at.open(target)
    at.tick(price, volume="0.5")
    (frame,) = at.heard(link)
    return frame


def test_trade_is_served_on_the_public_path_as_recorded(at: Floor) -> None:
    assert one(at, "/public/ws/btcusdt@trade") == {
        "e": "trade", "E": at.now_ms, "T": at.now_ms, "s": "BTCUSDT", "t": 2, "p": "100000.10", "q": "0.500",
        "X": "MARKET", "m": False,
    }  # fmt: skip


@pytest.mark.parametrize(("path", "heard"), [("public", []), ("market", ["trade"]), ("nowhere", [])])
def test_where_trade_is_served_is_an_open_question(path: Any, heard: list[str]) -> None:
    at = floor(rules=Undocumented(futures_trade_path=path))
    link = at.open("/market/ws/btcusdt@trade")
    at.tick("100001")
    assert [frame["e"] for frame in at.heard(link)] == heard


def test_aggregate_trade_agrees_with_rest(at: Floor) -> None:
    frame = one(at, "/market/ws/btcusdt@aggTrade")
    assert frame == {
        "e": "aggTrade", "E": at.now_ms, "a": 2, "s": "BTCUSDT", "p": "100000.10", "q": "0.500", "nq": "0.500",
        "f": 2, "l": 2, "T": at.now_ms, "m": False, "st": 1,
    }  # fmt: skip
    (row,) = get(at, "v1/aggTrades?symbol=BTCUSDT&limit=1")
    assert row == {key: frame[key] for key in ("a", "p", "q", "nq", "f", "l", "T", "m")}
    (trade,) = get(at, "v1/trades?symbol=BTCUSDT&limit=1")
    assert trade == {
        "id": 2, "price": "100000.10", "qty": "0.500", "quoteQty": "50000.05000000", "time": at.now_ms,
        "isBuyerMaker": False, "isRPITrade": False,
    }  # fmt: skip


def test_historical_trades_want_a_key(at: Floor) -> None:
    assert json.loads(public(at, "v1/historicalTrades?symbol=BTCUSDT").body)["code"] == -2014
    target = "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=1"
    answer = at.exchange.rest(HttpRequest("GET", target, {"x-mbx-apikey": ALICE}), at.now_ms)
    assert [trade["id"] for trade in json.loads(answer.body)] == [1]
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "400", "a refused call weighs the same"


def test_aggregate_trades_reach_back_two_days_and_span_less_than_an_hour(at: Floor) -> None:
    at.now_ms += 47 * HOUR_MS
    assert len(get(at, "v1/aggTrades?symbol=BTCUSDT")) == 1
    at.now_ms += 2 * HOUR_MS
    assert get(at, "v1/aggTrades?symbol=BTCUSDT") == []
    refused = public(at, f"v1/aggTrades?symbol=BTCUSDT&startTime={START_MS}&endTime={START_MS + HOUR_MS}")
    assert json.loads(refused.body)["code"] == -1127


def test_best_prices_have_a_name_and_times(at: Floor) -> None:
    frame = one(at, "/public/ws/btcusdt@bookTicker")
    assert frame == {
        "e": "bookTicker", "u": frame["u"], "s": "BTCUSDT", "b": "100000.00", "B": "100.000", "a": "100000.20",
        "A": "100.000", "T": at.now_ms, "E": at.now_ms, "st": 1, "ps": "BTCUSDT",
    }  # fmt: skip


def test_klines_of_contract_and_pair_are_the_same_candle(at: Floor) -> None:
    link = at.open("/market/stream?streams=btcusdt@kline_1m/btcusdt_perpetual@continuousKline_1m")
    at.tick("100000.1", volume="0.5")
    kline, pair = at.heard(link)
    assert (kline["stream"], pair["stream"]) == ("btcusdt@kline_1m", "btcusdt_perpetual@continuousKline_1m")
    assert {key: pair["data"][key] for key in ("e", "ps", "ct")} == {
        "e": "continuous_kline", "ps": "BTCUSDT", "ct": "PERPETUAL",
    }  # fmt: skip
    assert kline["data"]["k"] == pair["data"]["k"] | {"s": "BTCUSDT"}
    assert (kline["data"]["k"]["c"], kline["data"]["k"]["x"]) == ("100000.10", False)
    at.exchange.roll(START_MS + 60_000)
    assert [frame["data"]["k"]["x"] for frame in at.heard(link)] == [True, True]
    row = get(at, "v1/klines?symbol=BTCUSDT&interval=1m")[0]
    assert [D(value) for value in row[1:6]] == [D(kline["data"]["k"][key]) for key in "ohlcv"]


def test_tickers_agree_with_rest_and_have_no_best_prices(at: Floor) -> None:
    link = at.open("/market/stream?streams=btcusdt@ticker/btcusdt@miniTicker/!ticker@arr")
    at.tick("100100", volume="3")
    frames = {frame["stream"]: frame["data"] for frame in at.heard(link)}
    names = {
        "s": "symbol", "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "c": "lastPrice",
        "Q": "lastQty", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
        "O": "openTime", "C": "closeTime", "F": "firstId", "L": "lastId", "n": "count",
    }  # fmt: skip
    ticker = frames["btcusdt@ticker"]
    assert set(ticker) == {*names, "e", "E", "st", "ps"}
    assert {names[key]: ticker[key] for key in names} == get(at, "v1/ticker/24hr?symbol=BTCUSDT")
    assert frames["!ticker@arr"] == [ticker]
    mini = frames["btcusdt@miniTicker"]
    assert mini == {key: ticker[key] for key in "Esohlcvq"} | {"e": "24hrMiniTicker", "st": 1, "ps": "BTCUSDT"}
    assert len(get(at, "v1/ticker/24hr")) == 4


def test_mark_price_comes_at_each_full_period_whether_or_not_something_happens(at: Floor) -> None:
    link = at.open("/market/stream?streams=btcusdt@markPrice/btcusdt@markPrice@1s/!markPrice@arr@1s")
    assert at.heard(link) == []
    market_of(at).set_basis("BTCUSDT", D("12.5"), at.now_ms)
    pass_time(at, 6_000)
    heard: dict[str, list[Any]] = {}
    for frame in at.heard(link):
        heard.setdefault(frame["stream"], []).append(frame["data"])
    assert {name: len(frames) for name, frames in heard.items()} == {
        "btcusdt@markPrice": 2, "btcusdt@markPrice@1s": 6, "!markPrice@arr@1s": 6,
    }  # fmt: skip
    mark = heard["btcusdt@markPrice@1s"][-1]
    premium = get(at, "v1/premiumIndex?symbol=BTCUSDT")
    assert mark == {
        "e": "markPriceUpdate", "E": at.now_ms, "s": "BTCUSDT", "p": premium["markPrice"], "ap": "100012.50000000",
        "P": premium["estimatedSettlePrice"], "i": premium["indexPrice"], "r": premium["lastFundingRate"],
        "T": premium["nextFundingTime"], "st": 1,
    }  # fmt: skip
    assert all(frame["E"] % 1000 == 0 for frame in heard["btcusdt@markPrice@1s"])
    assert heard["!markPrice@arr@1s"][-1] == [mark], "symbols without a price are left out"


def test_best_prices_of_all_symbols_come_every_five_seconds(at: Floor) -> None:
    link = at.open("/public/ws/!bookTicker")
    at.tick("100001")
    assert [frame["s"] for frame in at.heard(link)] == ["BTCUSDT"]
    at.tick("3000", symbol="ETHUSDT")
    at.tick("100002")
    assert at.heard(link) == []
    pass_time(at, 5_000)
    assert [frame["s"] for frame in at.heard(link)] == ["ETHUSDT", "BTCUSDT"]


def test_market_streams_are_silent_on_the_public_path_and_the_other_way_round(at: Floor) -> None:
    names = ["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@depth", "btcusdt@kline_1m", "!miniTicker@arr"]
    both = {group: at.open(f"/{group}/ws") for group in ("public", "market")}
    for link in both.values():
        at.say(link, {"method": "SUBSCRIBE", "params": names, "id": 1})
        assert at.heard(link) == [{"result": None, "id": 1}]
        at.say(link, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert at.heard(link)[0]["result"] == names
    at.tick("100002")
    heard = {group: [frame for _, frame in sorted(kinds(at.heard(link)).items())] for group, link in both.items()}
    assert heard == {"public": ["bookTicker", "depthUpdate"], "market": ["24hrMiniTicker", "aggTrade", "kline"]}


def kinds(frames: list[Any]) -> dict[str, str]:
    names = [frame[0]["e"] if isinstance(frame, list) else frame["e"] for frame in frames]
    return dict(zip(names, names, strict=True))


def test_paths_without_a_prefix_deliver_public_streams_only(at: Floor) -> None:
    link = at.open("/stream?streams=btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@markPrice@1s")
    at.tick("100002")
    pass_time(at, 2_000)
    assert {frame["stream"] for frame in at.heard(link)} == {"btcusdt@bookTicker"}


def test_paths_without_a_prefix_are_the_spot_markets_where_there_is_one() -> None:
    account = AccountSpec(ALICE, secret_of(ALICE), {})
    at = Floor(Exchange(DEFAULT_INSTRUMENTS, [account], contracts=DEFAULT_CONTRACTS))
    spot, futures = at.open("/ws/btcusdt@aggTrade"), at.open("/market/ws/0/btcusdt@aggTrade")
    at.tick("100002")
    assert [set("M") & set(at.heard(link)[0]) for link in (spot, futures)] == [{"M"}, set()]


prices = st.integers(99_000, 101_000)
moves = st.one_of(
    st.tuples(st.just("tick"), prices),
    st.tuples(st.sampled_from(["BUY", "SELL"]), prices),
    st.tuples(st.just("cancel"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.tuples(st.just("snapshot"), st.just(0)),
)


@given(st.lists(moves, max_size=40), st.sampled_from(["depth", "depth@100ms", "depth@500ms"]))
def test_a_book_kept_by_the_documented_algorithm_equals_every_later_snapshot(
    done: list[tuple[str, int]], kind: str
) -> None:
    at = floor()
    link, trader = at.open(f"/public/ws/btcusdt@{kind}"), Trader(at)
    events: list[Any] = []
    snapshot: Any = None
    for move, value in [*done, ("wait", 500)]:
        if move == "tick":
            at.exchange.tick("BTCUSDT", D(value), D(1), D("0.02"), at.now_ms)
        elif move == "cancel":
            trader.call("DELETE", "allOpenOrders", symbol="BTCUSDT")
        elif move == "wait":
            pass_time(at, value)
        elif move == "snapshot":
            snapshot = snapshot or get(at, "v1/depth?symbol=BTCUSDT&limit=1000")
        else:
            trader.call("POST", "order", **trader.wish(move, "0.01", value))
        at.exchange.wake(at.now_ms)
        events += at.heard(link)
    assert all(later["pu"] == earlier["u"] for earlier, later in pairwise(events))
    if snapshot is None:
        return
    rest = [event for event in events if event["u"] >= snapshot["lastUpdateId"]]
    assert not rest or rest[0]["U"] <= snapshot["lastUpdateId"] + 1
    sides = [dict(snapshot[side]) for side in ("bids", "asks")]
    for event in rest:
        for side, changes in zip(sides, (event["b"], event["a"]), strict=True):
            side |= dict(changes)
    final = get(at, "v1/depth?symbol=BTCUSDT&limit=1000")
    shown = [{price: quantity for price, quantity in side.items() if D(quantity)} for side in sides]
    assert shown == [dict(final[side]) for side in ("bids", "asks")]


def test_partial_depth_has_the_form_of_a_difference(at: Floor) -> None:
    link = at.open("/public/ws/btcusdt@depth5@100ms")
    at.tick("100001")
    at.tick("100002")
    first, second = at.heard(link)
    assert set(second) == {"e", "E", "T", "s", "U", "u", "pu", "b", "a", "st", "ps"}
    assert second["pu"] == first["u"]
    rest = get(at, "v1/depth?symbol=BTCUSDT&limit=5")
    assert (second["b"], second["a"], second["u"]) == (rest["bids"], rest["asks"], rest["lastUpdateId"])


def test_the_largest_liquidation_of_a_second_is_told(at: Floor) -> None:
    link = at.open("/market/stream?streams=btcusdt@forceOrder/!forceOrder@arr")
    for key, quantity in ((ALICE, "0.9"), ("bob-key", "0.5")):
        trader = Trader(at, key)
        trader.post("leverage", symbol="BTCUSDT", leverage=20)
        trader.order("BUY", quantity)
    at.tick("80000")
    frames = {frame["stream"]: frame["data"] for frame in at.heard(link)}
    order = frames["btcusdt@forceOrder"]["o"]
    assert frames["btcusdt@forceOrder"]["e"] == "forceOrder"
    assert {key: order[key] for key in "sSofqXz"} == {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.900", "X": "FILLED", "z": "0.900",
    }  # fmt: skip
    assert set(order) == set("sSofqXlzT") | {"p", "ap"}
    assert frames["!forceOrder@arr"] == frames["btcusdt@forceOrder"] | {"st": 1, "ps": "BTCUSDT"}
    pass_time(at, 3_000)
    assert at.heard(link) == []


def test_nobody_listens_and_nobody_is_woken(at: Floor) -> None:
    market = market_of(at)
    before_ms = market.deadline_ms()
    link = at.open("/market/ws/btcusdt@markPrice@1s/!markPrice@arr")
    assert market.deadline_ms() < before_ms
    assert not at.exchange.is_idle("BTCUSDT")
    at.exchange.ws_close(link)
    assert market.deadline_ms() == before_ms
    assert at.exchange.is_idle("BTCUSDT")
