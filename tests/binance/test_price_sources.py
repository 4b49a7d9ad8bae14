"""What a price must be to be used: from when the venue said it, and on the tick of its symbol."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest

from surefoot.binance.codec import BookFrame, read_klines, read_stream
from surefoot.binance.dialogue import BOOK, MARKET, Frame, HttpRequest
from surefoot.binance.numbers import is_off
from surefoot.binance.session import OFF_TICK_MAX
from surefoot.core.messages import MarkPriceTold, PriceDropped, PriceMarked, RecordAlarm
from tests.payloads.reading import shared_file
from tests.stage import QUARTER_HOUR_MS, Planned, Stage, stage_settings

LAG_MS = 20_000


def started(**overrides: str) -> Stage:
    stage = Stage(stage_settings(["BTCUSDT"], **overrides), supervised=True)
    stage.start()
    stage.wait(5_000)
    stage.price("BTCUSDT", Decimal(60_000))
    stage.wait(1_000)
    return stage


def futures(**overrides: str) -> Stage:
    return started(market__venue="futures", **overrides)


def book(stage: Stage, bid: str, ask: str, event_ms: int | None = None) -> Frame:
    """A frame of the best prices, as futures send it where it tells a time."""
    data = {"u": 1, "s": "BTCUSDT", "b": bid, "B": "2.507", "a": ask, "A": "2.510"}
    if event_ms is not None:
        data |= {"e": "bookTicker", "T": event_ms, "E": event_ms}
    link = BOOK if BOOK in stage.driver.session.lines else MARKET
    return Frame(link, json.dumps({"stream": "btcusdt@bookTicker", "data": data}))


@pytest.mark.spec("DATA-3")
@pytest.mark.parametrize(("lag_ms", "offset_ms", "age_ms"), [(0, 0, 0), (40, 0, 40), (40, 30, 70), (0, -900, 0)])
def test_price_of_futures_is_from_when_the_venue_said_it_by_our_clock_and_never_from_later_than_now(
    lag_ms: int, offset_ms: int, age_ms: int
) -> None:
    stage = futures()
    session, now_ms = stage.driver.session, stage.now_ms
    session.clock.follow(offset_ms)
    (marked,) = session.receive(book(stage, "60000.10", "60000.20", now_ms - lag_ms), now_ms)
    assert marked == PriceMarked(now_ms, "BTCUSDT", Decimal("60000.10"), Decimal("60000.20"), now_ms - age_ms)
    mark = {"e": "markPriceUpdate", "E": now_ms - lag_ms, "s": "BTCUSDT", "p": "60000.12345678"}
    frame = Frame(MARKET, json.dumps({"stream": "btcusdt@markPrice@1s", "data": mark}))
    (told,) = session.receive(frame, now_ms)
    assert told == MarkPriceTold(now_ms, "BTCUSDT", Decimal("60000.12345678"), now_ms - age_ms)


@pytest.mark.spec("DATA-3")
def test_price_of_spot_tells_no_time_and_is_from_when_it_came() -> None:
    stage = started()
    (marked,) = stage.driver.session.receive(book(stage, "60000.10", "60000.20"), stage.now_ms)
    assert marked == PriceMarked(
        stage.now_ms, "BTCUSDT", Decimal("60000.10"), Decimal("60000.20"), source_ms=stage.now_ms
    )


class Lagging(Planned):
    """Best prices come late, once `lag_ms` is set."""

    lag_ms = 0

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        return (self.lag_ms if "@bookTicker" in text else 0,)


@pytest.mark.spec("DATA-3", "NET-4", "SAFE-5")
def test_best_prices_that_lag_are_old_an_alarm_and_the_end_of_entries_though_they_never_stop() -> None:
    fates = Lagging()
    stage = Stage(
        stage_settings(["BTCUSDT"], market__venue="futures", market__stream_silence_max_s="15"),
        fates=fates, supervised=True,
    )  # fmt: skip
    stage.start()
    for _ in range(10):
        stage.price("BTCUSDT", Decimal(60_000))
        stage.wait(1_000)
    assert stage.engine.entries_off() is None
    fates.lag_ms = LAG_MS
    for _ in range(LAG_MS // 1_000 + 16):
        if stage.counts["alarm link-lost"]:
            break
        stage.price("BTCUSDT", Decimal(60_000))
        stage.wait(1_000)
    assert stage.counts["alarm link-lost"] == 1
    assert stage.engine.entries_off() == "no link to market"


@pytest.mark.spec("DATA-6")
@pytest.mark.parametrize(("bid", "ask"), [("60000.00512300", "60000.02"), ("60000.00", "60000.01712300")])
def test_best_price_off_the_tick_of_its_symbol_is_dropped(bid: str, ask: str) -> None:
    stage = started()
    (dropped,) = stage.driver.session.receive(book(stage, bid, ask), stage.now_ms)
    assert isinstance(dropped, PriceDropped)
    text = f"BTCUSDT: bid {bid} or ask {ask} is not on the tick of 0.01"
    assert [each for each in stage.engine.step(dropped) if isinstance(each, RecordAlarm)] == [
        RecordAlarm(stage.now_ms, "price-dropped", text)
    ]


@pytest.mark.spec("DATA-6")
def test_where_the_rules_of_a_symbol_are_not_known_there_is_no_tick() -> None:
    stage = Stage(stage_settings(["BTCUSDT"]))
    (marked,) = stage.driver.session.receive(book(stage, "60000.00512300", "60000.02"), stage.now_ms)
    assert isinstance(marked, PriceMarked)


@pytest.mark.spec("DATA-6", "DATA-2")
@pytest.mark.parametrize("letter", "ohlc")
def test_candle_with_a_price_off_the_tick_is_dropped_and_read_before_the_next_is_let_through(letter: str) -> None:
    stage = started()
    session, now_ms = stage.driver.session, stage.now_ms
    open_ms = now_ms // QUARTER_HOUR_MS * QUARTER_HOUR_MS
    texts = {"o": "60000", "h": "60002", "l": "59998", "c": "60000"}

    def frame(number: int, texts: dict[str, str]) -> Frame:
        from_ms = open_ms + number * QUARTER_HOUR_MS
        candle = {"t": from_ms, "T": from_ms + QUARTER_HOUR_MS - 1, "s": "BTCUSDT", "i": "15m", "v": "1", "x": True}
        data = {"E": now_ms, "k": candle | texts}
        return Frame(MARKET, json.dumps({"stream": "btcusdt@kline_15m", "data": data}))

    (dropped,) = session.receive(frame(0, texts | {letter: texts[letter] + ".00012345"}), now_ms)
    assert isinstance(dropped, PriceDropped)
    assert "is not on the tick of 0.01" in dropped.text
    assert session.receive(frame(1, texts), now_ms) == []
    (asked,) = [each for each in session.take_requests(now_ms) if isinstance(each, HttpRequest)]
    assert "/klines?symbol=BTCUSDT&interval=15m&startTime=" in asked.target


@pytest.mark.spec("DATA-6")
def test_prices_of_coins_that_cost_next_to_nothing_are_fine_and_what_has_no_exact_quotient_is_not() -> None:
    assert not is_off(Decimal("0.00000637"), Decimal("1E-8"))
    assert not is_off(Decimal("61800.20"), Decimal("0.1"))
    assert not is_off(Decimal("7000"), Decimal("1E+1"))
    assert is_off(Decimal("7001"), Decimal("1E+1"))
    assert is_off(Decimal("999999999999999999.5"), Decimal("1E-18"))


# The ticks that Binance told of these symbols at the time.
RECORDED = [
    ("spot/btcusdt", "0.01"),
    ("spot/ethusdt", "0.01"),
    ("usdm/btcusdt", "0.10"),
    ("usdm/ethusdt", "0.01"),
]


@pytest.mark.spec("DATA-6", "DATA-3")
@pytest.mark.parametrize(("file", "tick"), RECORDED)
def test_every_recorded_best_price_is_on_its_tick_and_tells_its_time_on_futures(file: str, tick: str) -> None:
    step, count = Decimal(tick), 0
    with gzip.open(shared_file(f"open/ticks/{file}_20240808.gz"), "rt") as lines:
        for line in lines:
            text = line.partition(" ")[2]
            if "@bookTicker" not in text[:60]:
                continue
            read = read_stream(text)
            assert isinstance(read, BookFrame)
            assert (is_off(read.bid, step), is_off(read.ask, step)) == (False, False), text
            assert (read.event_ms is not None) is file.startswith("usdm")
            count += 1
    assert count > 5_000


@pytest.mark.spec("DATA-6")
def test_every_recorded_candle_is_on_its_tick() -> None:
    body = shared_file("measure/raw_klines_json/BTCUSDT-15m-2023-03-20.json").read_bytes()
    rows = read_klines(body, "BTCUSDT", "15m")
    assert len(rows) > 500
    prices = [price for row in rows for price in (row.open, row.high, row.low, row.close)]
    assert not any(is_off(price, Decimal("0.01")) for price in prices)


@pytest.mark.spec("DATA-6", "SAFE-5")
def test_a_tick_that_the_venue_makes_finer_does_not_leave_the_bot_without_prices() -> None:
    stage = started()
    session = stage.driver.session
    for number in range(OFF_TICK_MAX):
        assert isinstance(session.receive(book(stage, "60000.01", "60000.02"), stage.now_ms)[0], PriceMarked)
        for _ in range(OFF_TICK_MAX - 1):  # not in a row: the tick is what it was
            (dropped,) = session.receive(book(stage, "60000.005", "60000.02"), stage.now_ms)
            assert isinstance(dropped, PriceDropped), number
    (last,) = session.receive(book(stage, "60000.005", "60000.02"), stage.now_ms)
    assert isinstance(last, PriceDropped)
    assert last.text.endswith("so that it seems to have changed: prices are taken as they come")
    (marked,) = session.receive(book(stage, "60000.005", "60000.02"), stage.now_ms)
    assert isinstance(marked, PriceMarked)
