"""Market frames: read exactly, dropped loudly."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surefoot.binance.codec import (
    BadFrame,
    BadPrice,
    BookFrame,
    Ignored,
    KlineFrame,
    Shutdown,
    StreamReply,
    read_klines,
    read_stream,
)
from surefoot.core.model import Candle
from tests.payloads.reading import documented, payload, payload_bytes, shared_file

CANDLE = Candle(
    symbol="BTCUSDT",
    interval="15m",
    open_ms=1790000100000,
    close_ms=1790000999999,
    open=Decimal("60000.00000000"),
    high=Decimal("60030.00000000"),
    low=Decimal("59990.00000000"),
    close=Decimal("60021.50000000"),
    volume=Decimal("12.34500000"),
)


def frame(stream: str, data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize("form", [bytes, bytes.decode])
def test_closed_candle_is_read_from_bytes_and_from_text(form: Callable[[bytes], bytes | str]) -> None:
    assert read_stream(form(payload_bytes("stream_kline_closed"))) == KlineFrame(1790001000003, True, CANDLE)


def test_running_candle_is_not_called_closed() -> None:
    assert read_stream(payload_bytes("stream_kline_running")) == KlineFrame(1790000400007, False, CANDLE)


@pytest.mark.spec("SAFE-5")
def test_amounts_keep_every_digit_of_their_text() -> None:
    kline = read_stream(payload_bytes("stream_kline_closed"))
    assert isinstance(kline, KlineFrame)
    assert str(kline.candle.open) == "60000.00000000"
    assert str(kline.candle.volume) == "12.34500000"


def test_best_bid_and_ask_are_read() -> None:
    expected = BookFrame("BTCUSDT", Decimal("60010.10000000"), Decimal("60010.20000000"))
    assert read_stream(payload_bytes("stream_book")) == expected


def test_answers_tell_whether_the_command_was_done() -> None:
    assert read_stream(payload_bytes("stream_reply")) == StreamReply(1, None)
    assert read_stream(b'{"result":null,"id":null}') == StreamReply(None, None)
    refused = StreamReply(7, "2 Invalid request: unknown variant")
    assert read_stream(payload_bytes("stream_reply_refused")) == refused
    nested = StreamReply("b2", "3 Invalid JSON: expected value")
    assert read_stream(payload_bytes("stream_reply_refused_nested")) == nested
    assert read_stream(b'{"code":3,"msg":"Invalid JSON"}') == StreamReply(None, "3 Invalid JSON")


@pytest.mark.parametrize("name", ["stream_shutdown", "stream_shutdown_raw"])
def test_shutdown_notice_is_heard_wrapped_or_not(name: str) -> None:
    assert read_stream(payload_bytes(name)) == Shutdown(1790000000000)


def test_streams_that_nobody_needs_are_ignored() -> None:
    assert read_stream(payload_bytes("stream_trade")) == Ignored("btcusdt@trade")
    # A kline with shifted days has other candles than ours.
    kline = payload("stream_kline_closed")
    shifted = json.dumps(kline | {"stream": "btcusdt@kline_1d@+08:00"}).encode()
    assert read_stream(shifted) == Ignored("btcusdt@kline_1d@+08:00")


IMPOSSIBLE_PRICES = ["NaN", "sNaN", "Infinity", "-Infinity", "inf", "-1.5", "0", "0.00000000", "", " ", "1e3", "1e-9"]
IMPOSSIBLE_PRICES += [
    "1_000",
    " 1",
    "1\n",
    "１２",
    "0x10",
    "1.2.3",
    ".5",
    "5.",
    "+5",
    "abc",
    "9" * 400,
    "1e999999999999",
]


@pytest.mark.spec("DATA-6", "SAFE-5")
@pytest.mark.parametrize("text", IMPOSSIBLE_PRICES)
@pytest.mark.parametrize("key", ["b", "a"])
def test_book_with_an_impossible_price_is_a_bad_price(key: str, text: str) -> None:
    data = payload("stream_book")["data"] | {key: text}
    with pytest.raises(BadPrice):
        read_stream(frame("btcusdt@bookTicker", data))


@pytest.mark.spec("DATA-6", "SAFE-5")
@pytest.mark.parametrize("text", IMPOSSIBLE_PRICES)
@pytest.mark.parametrize("key", ["o", "h", "l", "c"])
def test_candle_with_an_impossible_price_is_a_bad_price(key: str, text: str) -> None:
    event = payload("stream_kline_closed")["data"]
    event["k"][key] = text
    with pytest.raises(BadPrice):
        read_stream(frame("btcusdt@kline_15m", event))


@pytest.mark.spec("DATA-6")
def test_price_of_a_coin_far_below_a_cent_is_valid() -> None:
    data = payload("stream_book")["data"] | {"b": "0.00000001", "a": "0.00000002"}
    book = read_stream(frame("pepeusdt@bookTicker", data))
    assert isinstance(book, BookFrame)
    assert (str(book.bid), str(book.ask)) == ("1E-8", "2E-8")
    assert (book.bid, book.ask) == (Decimal("0.00000001"), Decimal("0.00000002"))


@pytest.mark.spec("DATA-6")
def test_crossed_book_is_a_bad_price() -> None:
    data = payload("stream_book")["data"] | {"b": "60010.30000000"}
    with pytest.raises(BadPrice):
        read_stream(frame("btcusdt@bookTicker", data))


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize(
    "change",
    [
        {"h": "59989.00000000"},
        {"l": "60031.00000000"},
        {"h": "60010.00000000"},
        {"l": "60005.00000000"},
        {"T": 1790000100000},
        {"t": -1, "T": 5},
        {"v": "-1.0"},
        {"v": "NaN"},
    ],
)
def test_candle_that_cannot_have_been_is_a_bad_price(change: dict[str, Any]) -> None:
    event = payload("stream_kline_closed")["data"]
    event["k"] |= change
    with pytest.raises(BadPrice):
        read_stream(frame("btcusdt@kline_15m", event))


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b'{"stream":"btcusdt@bookTicker"}',
        b'{"stream":"btcusdt@bookTicker","data":null}',
        b'{"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","b":60010.1,"a":"60010.2"}}',
        b'{"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","b":"60010.1"}}',
        b'{"stream":"btcusdt@kline_15m","data":{"e":"kline"}}',
        b'{"stream":5,"data":{}}',
        b'{"lastUpdateId":160,"bids":[],"asks":[]}',
        b'{"stream":"a@b","data":' + b"[" * 100_000,
        b'{"id":1e400}',
        '{"id":"\ud800"}',
    ],
)
def test_frame_without_the_documented_shape_is_a_bad_frame(junk: bytes | str) -> None:
    with pytest.raises(BadFrame):
        read_stream(junk)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
STREAMS = st.sampled_from(["btcusdt@bookTicker", "btcusdt@kline_15m", "!serverShutdown", "btcusdt@trade", "x"])


@st.composite
def damaged_frames(draw: st.DrawFn) -> bytes:
    """A good frame with one of its values replaced by anything."""
    good = payload(draw(st.sampled_from(["stream_book", "stream_kline_closed", "stream_shutdown"])))
    place = good["data"]
    if "k" in place and draw(st.booleans()):
        place = place["k"]
    place[draw(st.sampled_from(sorted(place)))] = draw(json_values | st.sampled_from(IMPOSSIBLE_PRICES))
    return json.dumps(good).encode()


@pytest.mark.spec("DATA-6", "SAFE-5")
@given(
    st.binary()
    | st.text()
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.builds(frame, STREAMS, json_values)
    | damaged_frames()
)
@example(b'{"stream":"a@bookTicker","data":{"s":"A","b":"1","a":"2"},"id":' + b"9" * 5000 + b"}")
def test_junk_raises_bad_frame_or_is_read_soundly(junk: bytes | str) -> None:
    try:
        read = read_stream(junk)
    except BadFrame:
        return
    if isinstance(read, BookFrame):
        assert 0 < read.bid <= read.ask < Decimal(10**18)
    if isinstance(read, KlineFrame):
        candle = read.candle
        assert 0 < candle.low <= candle.open <= candle.high < Decimal(10**18)
        assert candle.low <= candle.close <= candle.high
        assert candle.volume >= 0


@pytest.mark.spec("NET-1", "DATA-6")
def test_documented_kline_is_read_once_its_impossible_low_is_mended() -> None:
    (event,) = documented("web-socket-streams.md", "Kline/Candlestick Streams for UTC")
    # The documentation prints a low above the open.
    with pytest.raises(BadPrice):
        read_stream(frame("bnbbtc@kline_1m", event))
    event["k"]["l"] = "0.0009"
    prices = (Decimal("0.0010"), Decimal("0.0025"), Decimal("0.0009"), Decimal("0.0020"))
    candle = Candle("BNBBTC", "1m", 1672515780000, 1672515839999, *prices, Decimal("1000"))
    assert read_stream(frame("bnbbtc@kline_1m", event)) == KlineFrame(1672515782136, False, candle)


@pytest.mark.spec("NET-1")
def test_documented_book_ticker_is_read() -> None:
    (book,) = documented("web-socket-streams.md", "Individual Symbol Book Ticker Streams")
    expected = BookFrame("BNBUSDT", Decimal("25.35190000"), Decimal("25.36520000"))
    assert read_stream(frame("bnbusdt@bookTicker", book)) == expected


@pytest.mark.spec("NET-1")
def test_documented_answers_and_notices_are_read() -> None:
    for section, id in [("Subscribe to a stream", 1), ("Unsubscribe to a stream", 312), ("Listing Subscr", 3)]:
        _, answer = documented("web-socket-streams.md", section)
        assert read_stream(json.dumps(answer)) == StreamReply(id, None)
    for notice in documented("web-socket-streams.md", "Server Shutdown"):
        assert read_stream(json.dumps(notice)) == Shutdown(1770123456789)


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize("section", ["Aggregate Trade", "Trade Streams", "Ticker Streams", "Diff. Depth", "Average"])
def test_other_documented_streams_are_ignored(section: str) -> None:
    for data in documented("web-socket-streams.md", section):
        if "b" not in data or "e" in data:
            assert read_stream(frame("bnbbtc@other", data)) == Ignored("bnbbtc@other")


@pytest.mark.spec("NET-1", "DATA-6")
@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_recorded_stream_reads_without_a_loss(symbol: str) -> None:
    kinds: Counter[str] = Counter()
    with gzip.open(shared_file(f"open/ticks/spot/{symbol}_20240808.gz"), "rt") as lines:
        for line in lines:
            text = line.partition(" ")[2]
            if text.startswith('{"stream"'):
                read = read_stream(text)
                kinds[read.kind if isinstance(read, Ignored) else type(read).__name__] += 1
            else:
                # One line a file is an order book that was asked for over REST: no stream frame.
                with pytest.raises(BadFrame):
                    read_stream(text)
                kinds["snapshot"] += 1
    assert set(kinds) == {"BookFrame", f"{symbol}@trade", f"{symbol}@depth@100ms", "snapshot"}
    assert kinds["BookFrame"] > 20_000
    assert kinds[f"{symbol}@trade"] > 5_000
    assert kinds["snapshot"] == 1


# ---------------------------------------------------------------------------------------------------------------
# Candles over REST


@pytest.mark.spec("NET-1")
def test_rest_candles_equal_the_streamed_one_and_keep_a_quiet_interval() -> None:
    closed, quiet = read_klines(payload_bytes("rest_klines"), "BTCUSDT", "15m")
    assert closed == CANDLE
    assert (quiet.open, quiet.close, quiet.volume) == (Decimal("60021.5"), Decimal("60021.5"), Decimal(0))


@pytest.mark.spec("NET-1")
def test_documented_klines_are_read_exactly() -> None:
    (rows,) = documented("rest-api.md", "Kline/Candlestick data")
    (candle,) = read_klines(json.dumps(rows).encode(), "BNBBTC", "1w")
    assert (str(candle.open), str(candle.volume)) == ("0.01634790", "148976.11427815")
    assert (candle.open_ms, candle.close_ms) == (1499040000000, 1499644799999)


@pytest.mark.spec("NET-1", "SAFE-5")
@pytest.mark.parametrize(
    "name", ["BTCUSDT-15m-2023-03-20", "ETHUSDT-1h-2024-03-01", "SOLUSDT-15m-2024-08-05", "BNBUSDT-1d-2022-01-01"]
)
def test_recorded_klines_keep_every_digit(name: str) -> None:
    body = shared_file(f"measure/raw_klines_json/{name}.json").read_bytes()
    candles = read_klines(body, *name.split("-")[:2])
    texts = [[format(value, "f") for value in (c.open, c.high, c.low, c.close, c.volume)] for c in candles]
    assert texts == [row[1:6] for row in json.loads(body)]
    assert [c.close_ms for c in candles] == [row[6] for row in json.loads(body)]


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize("text", ["NaN", "-1", "0", "", "1e3"])
def test_rest_candle_with_an_impossible_price_is_a_bad_price(text: str) -> None:
    rows = payload("rest_klines")
    rows[1][4] = text
    with pytest.raises(BadPrice):
        read_klines(json.dumps(rows).encode(), "BTCUSDT", "15m")


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize("junk", [b"", b"{}", b"[[1]]", b'[["a","1","1","1","1","1",2]]', b"<html>"])
def test_rest_candles_without_the_documented_shape_are_a_bad_frame(junk: bytes) -> None:
    with pytest.raises(BadFrame):
        read_klines(junk, "BTCUSDT", "15m")
