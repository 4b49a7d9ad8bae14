"""Rules of WebSocket connections: pings, life, messages a second, connections in five minutes."""

from __future__ import annotations

import pytest

from simex.linkrules import RULES, Arrivals, Life, LinkKind, kind_of

pytestmark = [pytest.mark.spec("SIM-1")]
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/ws/btcusdt@trade", "spot_stream"),
        ("/stream?streams=btcusdt@trade", "spot_stream"),
        ("/ws-api/v3", "spot_api"),
        ("/ws-fapi/v1", "um_api"),
        ("/public/ws/btcusdt@depth", "um_stream"),
        ("/market/stream?streams=btcusdt@aggTrade", "um_stream"),
        ("/private/ws?listenKey=x", "um_stream"),
    ],
)
def test_rules_follow_from_the_path(target: str, kind: str) -> None:
    assert kind_of(target) == kind


@pytest.mark.parametrize(
    ("kind", "ping_s", "pong_s"), [("spot_stream", 20, 60), ("spot_api", 20, 60), ("um_stream", 180, 600)]
)
def test_a_silent_link_is_pinged_and_ends_when_its_first_unanswered_ping_is_too_old(
    kind: LinkKind, ping_s: float, pong_s: float
) -> None:
    life, now_s, pings = Life(RULES[kind], 0.0), 0.0, 0
    while not life.is_over(now_s):
        now_s = life.due_s
        pings += life.pings(now_s)
    assert now_s == ping_s + pong_s
    assert pings == pong_s // ping_s + (pong_s % ping_s > 0) + (pong_s % ping_s == 0)


def test_a_link_that_pongs_lives_for_a_day() -> None:
    life, now_s, pings = Life(RULES["spot_stream"], 5.0), 5.0, 0
    while not life.is_over(now_s):
        now_s = life.due_s
        if life.pings(now_s):
            pings += 1
            life.answered()
    assert (now_s, pings) == (5.0 + DAY_S, DAY_S / 20)


@pytest.mark.parametrize(("kind", "allowed"), [("spot_stream", 5), ("um_stream", 10)])
def test_so_many_messages_a_second_and_no_more(kind: LinkKind, allowed: int) -> None:
    life = Life(RULES[kind], 0.0)
    for second in range(3):
        assert all(life.admits(second + 0.09 * number, is_text=number % 2 == 0) for number in range(allowed))
    assert not life.admits(2.99, is_text=True)
    assert life.admits(3.0, is_text=False)


def test_apis_count_weight_instead_and_futures_ones_pings() -> None:
    spot, futures = Life(RULES["spot_api"], 0.0), Life(RULES["um_api"], 0.0)
    assert all(spot.admits(0.5, is_text=True) and futures.admits(0.5, is_text=True) for _ in range(1000))
    assert [futures.admits(0.5, is_text=False) for _ in range(6)] == [True] * 5 + [False]


def test_three_hundred_connections_in_five_minutes() -> None:
    arrivals, rules = Arrivals(), RULES["spot_stream"]
    at_ms = 1_790_000_100_000
    assert all(arrivals.admits("a", "spot_stream", rules, at_ms) for _ in range(300))
    assert not arrivals.admits("a", "spot_stream", rules, at_ms + 1)
    assert arrivals.admits("b", "spot_stream", rules, at_ms + 1)
    assert arrivals.admits("a", "spot_api", RULES["spot_api"], at_ms + 1)
    assert arrivals.admits("a", "spot_stream", rules, at_ms + 300_000)
    assert all(arrivals.admits("a", "um_stream", RULES["um_stream"], at_ms) for _ in range(1000))
