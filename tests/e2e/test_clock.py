"""Two clocks, ours and the venue's: a session that is told the time was wrong asks for it again."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from surefoot.binance.candles import CandleFeed
from surefoot.binance.dialogue import (
    ACCOUNT,
    Frame,
    HttpAnswer,
    HttpRequest,
    Keys,
    LinkUp,
    SendText,
)
from surefoot.binance.session import Session, SessionSettings
from surefoot.binance.spot import Spot
from surefoot.core.model import Candle
from tests.e2e.processes import PATIENCE_S, T0_MS, candle_files, exchange, minutes_before_end

NOW_MS = 1_790_000_100_000
MINUTE_MS = 60_000
AHEAD_MS = 30_000


def started_session() -> Session:
    """A session that has asked for the time and been told that it is the same."""
    session = Session(SessionSettings(("BTCUSDT",), "1m", 20, 5_000, True), Keys("key", "secret"), lambda: 0.5, Spot())
    session.start()
    answer_time(session, NOW_MS)
    return session


def answer_time(session: Session, venue_ms: int) -> None:
    asked = [r for r in session.take_requests(NOW_MS) if isinstance(r, HttpRequest) and "/time" in r.target]
    body = json.dumps({"serverTime": venue_ms}).encode()
    for request in asked:
        session.receive(HttpAnswer(request.request_id, 200, {}, body), NOW_MS)


@pytest.mark.spec("NET-4")
def test_subscription_refused_for_its_timestamp_makes_the_clock_be_read_anew() -> None:
    session = started_session()
    session.receive(LinkUp(ACCOUNT), NOW_MS)
    (subscribe,) = [r for r in session.take_requests(NOW_MS) if isinstance(r, SendText)]
    refusal = {"id": json.loads(subscribe.text)["id"], "status": 400, "error": {"code": -1021, "msg": "Timestamp"}}
    session.receive(Frame(ACCOUNT, json.dumps(refusal).encode()), NOW_MS)
    answer_time(session, NOW_MS + AHEAD_MS)
    assert session.clock.offset_ms == AHEAD_MS


@pytest.mark.spec("SAFE-8")
def test_events_of_candles_that_were_read_carry_our_own_clock_like_all_others() -> None:
    feed = CandleFeed("BTCUSDT", MINUTE_MS, 3)
    feed.start_reading(NOW_MS + AHEAD_MS)
    one = Decimal(1)
    opened_ms = NOW_MS - MINUTE_MS
    row = Candle("BTCUSDT", "1m", opened_ms, opened_ms + MINUTE_MS - 1, one, one, one, one, one)
    (history,) = feed.take_page([row], NOW_MS + AHEAD_MS, NOW_MS)
    assert history.at_ms == NOW_MS


@pytest.mark.spec("MODE-2")
async def test_when_a_replay_has_ended_the_clock_of_the_exchange_goes_on(tmp_path: Path) -> None:
    (file,) = candle_files(tmp_path, 1, ["BTCUSDT"], 1)
    with exchange("--replay", file, "--speed", "max", "--start-ms", str(minutes_before_end(3))) as venue:
        async with ClientSession() as client, client.ws_connect(f"{venue.rest}/ws/btcusdt@kline_1m") as link:
            ended = asyncio.ensure_future(asyncio.to_thread(venue.wait_for_end, PATIENCE_S))
            while not ended.done():
                with suppress(TimeoutError):
                    await link.receive(timeout=0.1)
            first_ms = venue.now_ms()
            await asyncio.sleep(0.2)
            assert venue.now_ms() >= first_ms + 200
            assert venue.now_ms() < T0_MS + 60_000
