"""Connections of the WebSocket API count like requests: while the venue will hear nothing of us, none is opened."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import pytest

from surefoot.binance.dialogue import Frame, OpenLink
from surefoot.core.messages import VenueLimited
from surefoot.research.exact import VirtualTime
from tests.stage import Stage, stage_settings

HOUR_S, MINUTE_MS = 3_600, 60_000


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a connection was opened, by its target's first part."""
    counts: Counter[str] = Counter()
    plainly = VirtualTime._open

    def open_and_count(driver: VirtualTime, request: OpenLink) -> None:
        counts[request.target.split("/")[1]] += 1
        plainly(driver, request)

    monkeypatch.setattr(VirtualTime, "_open", open_and_count)
    return counts


def started(**settings: str) -> Stage:
    stage = Stage(stage_settings(["BTCUSDT"], **settings))
    stage.price("BTCUSDT", Decimal(60_000))
    stage.start()
    stage.wait(3_000)
    assert stage.engine.links == {"market", "account"}
    return stage


@pytest.mark.spec("NET-2")
@pytest.mark.parametrize(
    ("venue", "link", "api"), [("spot", "account", "ws-api"), ("futures", "orders", "ws-fapi")], ids=["spot", "futures"]
)
def test_while_banned_no_connection_of_the_api_is_opened(opened: Counter[str], venue: str, link: str, api: str) -> None:
    stage = started(market__venue=venue, orders__transport="socket")
    session = stage.driver.session
    session.calls.budget.banned(HOUR_S, session.clock.venue_ms(stage.now_ms))
    opened.clear()
    stage.driver.cut(link, "the venue closes the connections of a banned address")
    stage.driver.cut("market", "broken as well")
    stage.wait(59 * MINUTE_MS)
    assert opened[api] == 0
    assert opened["stream" if venue == "spot" else "market"] == 1, "streams are not part of that limit"
    stage.wait(3 * MINUTE_MS)
    assert opened[api] == 1
    assert session.lines[link].ready


class Silent:
    """No frame of the account's connection arrives."""

    def __init__(self, stage: Stage) -> None:
        self.request = stage.planned.request

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        return () if link == "account" else (0,)


@pytest.mark.spec("NET-2")
def test_a_subscription_that_is_refused_for_haste_holds_everything(opened: Counter[str]) -> None:
    stage = started()
    stage.driver.fates = Silent(stage)
    stage.driver.cut("account", "broken")
    stage.wait(2_000)
    session, now_ms = stage.driver.session, stage.now_ms
    reply_id = session.lines["account"].reply_id_of("account")
    assert reply_id is not None, "it waits for the answer to its subscription"
    times = {"serverTime": now_ms, "retryAfter": now_ms + HOUR_S * 1_000}
    error = {"code": -1003, "msg": "Way too much request weight used; IP banned.", "data": times}
    answer = json.dumps({"id": reply_id, "status": 418, "error": error})
    (told,) = session.receive(Frame("account", answer), now_ms)
    assert isinstance(told, VenueLimited)
    assert (told.banned, told.until_ms) == (True, now_ms + HOUR_S * 1_000)
    stage.driver.fates = stage.planned
    stage.driver._send_requests()
    opened.clear()
    stage.wait(59 * MINUTE_MS)
    assert opened["ws-api"] == 0
    stage.wait(3 * MINUTE_MS)
    assert "account" in stage.engine.links
