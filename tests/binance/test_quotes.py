"""Books, trades and tickers of both markets: read exactly, refused loudly."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.quotes import Best, Depth, DepthChange, Ticker, Trade, read_best, read_depth, read_quote
from surefoot.binance.wire import BadFrame, BadPrice

D = Decimal


def frame(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


TRADE = {"e": "trade", "E": 3, "s": "BTCUSDT", "t": 7, "p": "60010.10", "q": "0.250", "T": 2, "m": False}
SEVERAL = {**TRADE, "e": "aggTrade", "a": 9, "f": 7, "l": 8}
CHANGE = {"e": "depthUpdate", "E": 3, "s": "BTCUSDT", "U": 5, "u": 7, "b": [["60000.00", "1.200"]], "a": []}
BEST = {"u": 5, "s": "BTCUSDT", "b": "60000.00", "B": "1.2", "a": "60000.10", "A": "0.7"}
TICKER = {"s": "BTCUSDT", "E": 3, "o": "1.0", "h": "2.0", "l": "0.5", "c": "1.50", "v": "10", "q": "12.5", "P": "50"}


@pytest.mark.spec("NET-1")
def test_quotes_of_both_markets_are_read_exactly() -> None:
    assert read_quote(frame("btcusdt@trade", TRADE)) == Trade("BTCUSDT", 7, 2, D("60010.10"), D("0.250"), False)
    assert read_quote(frame("btcusdt@aggTrade", SEVERAL)) == Trade("BTCUSDT", 9, 2, D("60010.10"), D("0.250"), False)
    change = DepthChange("BTCUSDT", 3, 5, 7, None, ((D("60000.00"), D("1.200")),), ())
    assert read_quote(frame("btcusdt@depth@100ms", CHANGE)) == change
    futures = read_quote(frame("btcusdt@depth", CHANGE | {"pu": 4, "T": 2}))
    assert isinstance(futures, DepthChange)
    assert futures.previous_id == 4
    expected = Best("BTCUSDT", 5, (D("60000.00"), D("1.2")), (D("60000.10"), D("0.7")))
    assert read_quote(frame("btcusdt@bookTicker", BEST)) == expected
    ticker = read_quote(frame("btcusdt@ticker", TICKER))
    assert ticker == Ticker("BTCUSDT", 3, D("1.0"), D("2.0"), D("0.5"), D("1.50"), D(10), D("12.5"))


def test_partial_book_and_read_depth_have_one_shape() -> None:
    data = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"]]}
    expected = Depth(160, ((D("0.0024"), D(10)),), ((D("0.0026"), D(100)),))
    assert read_quote(frame("bnbbtc@depth5", data)) == read_depth(json.dumps(data).encode()) == expected


def test_best_prices_are_read_from_an_answer_too() -> None:
    row = {"symbol": "LTCBTC", "bidPrice": "4.0", "bidQty": "431.0", "askPrice": "4.1", "askQty": "9.0"}
    assert read_best(json.dumps(row).encode()) == Best("LTCBTC", None, (D("4.0"), D("431.0")), (D("4.1"), D("9.0")))


def test_answers_and_streams_that_nobody_reads_are_passed_over() -> None:
    assert read_quote(b'{"result":null,"id":1}') is None
    assert read_quote(frame("btcusdt@avgPrice", {"w": "1"})) is None


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize("text", ["0", "-1", "NaN", "1e5", "", "Infinity", "0.000"])
def test_impossible_price_is_refused(text: str) -> None:
    for stream, data in (
        ("btcusdt@trade", TRADE | {"p": text}),
        ("btcusdt@aggTrade", SEVERAL | {"p": text}),
        ("btcusdt@depth", CHANGE | {"b": [[text, "1"]]}),
        ("btcusdt@bookTicker", BEST | {"b": text}),
        ("btcusdt@ticker", TICKER | {"c": text}),
    ):
        with pytest.raises(BadPrice):
            read_quote(frame(stream, data))


def test_crossed_best_prices_are_refused() -> None:
    with pytest.raises(BadPrice):
        read_quote(frame("btcusdt@bookTicker", BEST | {"b": "60000.11"}))


def test_updates_that_run_backwards_are_refused() -> None:
    with pytest.raises(BadFrame):
        read_quote(frame("btcusdt@depth", CHANGE | {"U": 8}))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_but_a_bad_frame_is_raised(data: bytes) -> None:
    for frame in (data, b'{"stream":"a@depth","data":%s}' % data, b'{"stream":"a@trade","data":%s}' % data):
        with suppress(BadFrame):
            read_quote(frame)
