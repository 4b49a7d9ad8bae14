"""The venue's clock is followed while a session lasts, whatever becomes of ours."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from surefoot.binance.clock import ASK_AGAIN_MS, ASK_EVERY_MS, DOUBT_MS, VenueClock, date_ms
from surefoot.binance.dialogue import MARKET, Frame, HttpAnswer, HttpRequest, Keys, Wake
from surefoot.binance.session import Session, SessionSettings
from surefoot.binance.spot import Spot
from surefoot.core.messages import ClockRead, Event
from tests.binance.test_pages_at_the_close import before_the_close, prices, staged, venue_candles

NOW_MS = 1_790_000_100_000
NOW_TEXT = "Mon, 21 Sep 2026 14:15:00 GMT"


def begun(every_ms: int = ASK_EVERY_MS) -> Session:
    """A session that has asked for the time and been told that it is the same."""
    settings = SessionSettings(("BTCUSDT",), "1m", 20, 5_000, True, clock_every_ms=every_ms)
    session = Session(settings, Keys("key", "secret"), lambda: 0.5, Spot())
    session.start()
    assert answered(session, NOW_MS, NOW_MS) == [ClockRead(NOW_MS, 0, 0)]
    session.take_requests(NOW_MS)
    return session


def answered(session: Session, now_ms: int, venue_ms: int) -> list[Event]:
    """What the session makes of the time that it is told, if it has asked."""
    asked = [r for r in session.take_requests(now_ms) if isinstance(r, HttpRequest) and "/time" in r.target]
    body = json.dumps({"serverTime": venue_ms}).encode()
    return [event for each in asked for event in session.receive(HttpAnswer(each.request_id, 200, {}, body), now_ms)]


def kline(event_ms: int) -> Frame:
    open_ms = event_ms // 60_000 * 60_000
    candle = {"t": open_ms, "T": open_ms + 59_999, "s": "BTCUSDT", "i": "1m", "v": "1", "x": False}
    data = {"E": event_ms, "k": candle | dict.fromkeys("ohlc", "60000")}
    return Frame(MARKET, json.dumps({"stream": "btcusdt@kline_1m", "data": data}).encode())


@pytest.mark.spec("NET-1", "BRK-4")
def test_clock_that_drifts_is_noticed_within_a_minute() -> None:
    session = begun()
    assert session.deadline_ms() == NOW_MS + ASK_EVERY_MS
    later_ms = NOW_MS + ASK_EVERY_MS
    session.receive(Wake(), later_ms)
    assert answered(session, later_ms, later_ms + 2_000) == [ClockRead(later_ms, 2_000, 0)]
    assert session.deadline_ms() == later_ms + ASK_EVERY_MS


@pytest.mark.spec("NET-1", "MODE-2")
def test_in_a_replay_the_time_is_the_markets_and_not_asked_for() -> None:
    session = begun(every_ms=0)
    session.receive(kline(NOW_MS + 900_000), NOW_MS)
    assert session.deadline_ms() is None


@pytest.mark.spec("NET-1", "BRK-4")
def test_event_from_later_than_we_thought_it_is_makes_the_time_be_asked_for_at_once_but_not_without_end() -> None:
    session = begun()
    late_ms = NOW_MS + ASK_AGAIN_MS
    session.receive(kline(late_ms + DOUBT_MS), late_ms)
    assert session.deadline_ms() == NOW_MS + ASK_EVERY_MS  # hosts may differ by so much
    session.receive(kline(late_ms + 900), late_ms)
    assert session.deadline_ms() == late_ms
    session.receive(Wake(), late_ms)
    assert answered(session, late_ms, late_ms + 900) == [ClockRead(late_ms, 900, 0)]
    session.receive(kline(late_ms + 9_000), late_ms)
    assert session.deadline_ms() == late_ms + ASK_AGAIN_MS


@pytest.mark.spec("NET-1")
def test_clock_that_was_set_back_by_hours_is_asked_for_within_seconds() -> None:
    session = begun()
    now_ms = NOW_MS - 7_200_000
    session.receive(kline(NOW_MS + 1), now_ms)
    assert session.deadline_ms() == now_ms + ASK_AGAIN_MS


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("offset_ms", "doubted"), [(0, False), (-400, False), (-600, True), (1_400, False), (1_600, True)]
)
def test_date_of_an_answer_bounds_the_venues_clock(offset_ms: int, doubted: bool) -> None:
    """It tells the whole second in which the answer was made."""
    clock = VenueClock(ASK_EVERY_MS)
    asked_ms = NOW_MS - ASK_AGAIN_MS
    clock.told(asked_ms + offset_ms, asked_ms, asked_ms)
    clock.bound_answer({"date": NOW_TEXT}, NOW_MS, NOW_MS)
    assert clock.is_due(NOW_MS) is doubted


@pytest.mark.spec("NET-1")
@pytest.mark.parametrize(
    ("text", "told_ms"),
    [
        (NOW_TEXT, NOW_MS),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 1_000),
        ("", None),
        ("Mon, 21 Foo 2026 14:15:00 GMT", None),
        ("Monday, 21-Sep-26 14:15:00 GMT", None),
    ],
)
def test_date_header_is_read_where_it_is_as_it_should(text: str, told_ms: int | None) -> None:
    assert date_ms(text) == told_ms


@pytest.mark.spec("DATA-1", "SAFE-7")
@pytest.mark.parametrize("offset_ms", [900, 4_000, -4_000])
@pytest.mark.parametrize("cut_before_ms", [1_750, 3_500])
def test_clock_that_has_moved_since_it_was_compared_makes_no_running_candle_a_closed_one(
    cut_before_ms: int, offset_ms: int
) -> None:
    stage, listener = staged("fine")
    stage.start()
    stage.wait(20_000)
    prices(stage, "60000", "60100")
    before_the_close(stage, 10_000)
    prices(stage, "60200")
    before_the_close(stage, cut_before_ms)
    stage.driver.session.clock.offset_ms = offset_ms
    stage.driver.cut("market", "cut")
    before_the_close(stage, 100)
    stage.price("BTCUSDT", Decimal(60_500))
    stage.wait(10_000)
    for price in ("60700", "60800"):
        before_the_close(stage, 0)
        prices(stage, price)
    assert stage.driver.session.clock.offset_ms == 0
    assert listener.heard["15m"] == venue_candles(stage, "15m")[:-1]
