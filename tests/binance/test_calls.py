"""Calls from their queueing to their answer: what the venue's limits do to them, and what is repeated when."""

from __future__ import annotations

import pytest

from surefoot.binance.budget import Lane
from surefoot.binance.calls import RETRY_CAP_MS, Call, Calls, Read, delay_ms
from surefoot.binance.codec import VenueError
from surefoot.binance.dialogue import HttpAnswer, HttpFailed, Keys
from surefoot.core.messages import VenueLimited

NOON = 1_790_000_040_000 // 60_000 * 60_000


def calls(jitter: float = 0.5) -> Calls:
    return Calls(Keys("k", "s"), 5_000, lambda: jitter)


def read(lane: Lane = Lane.DATA) -> Call:
    return Call("GET", "/api/v3/klines", [], False, 2, lane, Read.CANDLES)


def answer(status: int, **headers: str) -> HttpAnswer:
    return HttpAnswer(1, status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


@pytest.mark.spec("NET-2")
def test_limit_is_told_once_and_everything_waits_until_it_ends() -> None:
    some = calls()
    limited = some.limited(answer(429, retry_after="7"), VenueError(-1003, "Too much."), "limited", NOON)
    assert limited == VenueLimited(NOON, NOON + 7_000, False, "429 Too much.")
    assert some.limited(answer(429, retry_after="6"), VenueError(-1003, "Too much."), "limited", NOON + 1_000) is None
    some.add(read(Lane.EXIT))
    assert some.take(NOON + 6_999) == []
    assert some.due_ms() == NOON + 7_000
    assert len(some.take(NOON + 7_000)) == 1


@pytest.mark.spec("NET-2")
def test_ban_is_told_although_a_limit_was_told_before_and_stops_every_lane() -> None:
    some = calls()
    some.limited(answer(429, retry_after="600"), VenueError(-1003, "Too much."), "limited", NOON)
    banned = some.limited(answer(418, retry_after="120"), VenueError(-1003, "Banned."), "banned", NOON)
    assert banned == VenueLimited(NOON, NOON + 600_000, True, "418 Banned.")
    assert some.budget.banned_until_ms == NOON + 600_000


@pytest.mark.spec("NET-2", "SAFE-3")
def test_too_many_orders_hold_up_neither_reads_nor_exits() -> None:
    some = calls()
    limited = some.limited(answer(429, retry_after="3"), VenueError(-1015, "Too many new orders"), "limited", NOON)
    assert limited == VenueLimited(NOON, NOON + 3_000, False, "429 Too many new orders")
    some.add(Call("POST", "/api/v3/order", [], True, 1, Lane.ENTRY, orders=1))
    some.add(Call("POST", "/api/v3/order", [], True, 1, Lane.EXIT, orders=1))
    some.add(read())
    assert [request.method for request in some.take(NOON)] == ["POST", "GET"]
    assert [call.lane for call in some.take_late()] == [Lane.ENTRY]


@pytest.mark.spec("NET-3")
def test_waits_double_up_to_thirty_seconds_a_quarter_more_or_less() -> None:
    assert [delay_ms(tries, RETRY_CAP_MS) for tries in range(1, 9)] == [
        1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
    ]  # fmt: skip
    assert [calls(jitter).jittered(1_000) for jitter in (0.0, 0.5, 1.0)] == [750, 1_000, 1_250]
    assert delay_ms(10_000, RETRY_CAP_MS) == RETRY_CAP_MS


@pytest.mark.spec("NET-3")
def test_repeated_read_is_signed_anew() -> None:
    some = calls()
    call = Call("GET", "/api/v3/account", [], True, 20, Lane.DATA, Read.BALANCES)
    some.add(call)
    (first,) = some.take(NOON)
    some.failed(HttpFailed(first.request_id, True, "reset"))
    call.tries = 1
    some.repeat(call, NOON)
    assert some.take(NOON + 999) == []
    (second,) = some.take(NOON + 1_000)
    assert f"timestamp={NOON + 1_000}" in second.target
    assert first.target.partition("signature=")[2] != second.target.partition("signature=")[2]
