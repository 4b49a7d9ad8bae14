"""Calls from their queueing to their answer: what the venue's limits do to them, and what is repeated when."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest

from surefoot.assembly import build_session
from surefoot.binance.budget import Lane
from surefoot.binance.calls import RETRY_CAP_MS, Call, Calls, Read, delay_ms
from surefoot.binance.clock import VenueClock
from surefoot.binance.codec import VenueError
from surefoot.binance.dialect import Ask
from surefoot.binance.dialogue import Arrival, HttpAnswer, HttpFailed, HttpRequest, Keys, SessionFailed, Wake
from surefoot.binance.session import Session
from surefoot.core.messages import (
    CancelRefused,
    Command,
    OrderRejected,
    OutcomeUnknown,
    QueryOrder,
    ReplaceOrder,
    SubmitOrder,
    VenueLimited,
)
from surefoot.core.model import OrderRequest, OrderType, Purpose, Side
from tests.stage import stage_settings

NOON = 1_790_000_040_000 // 60_000 * 60_000


def calls(jitter: float = 0.5) -> Calls:
    return Calls(Keys("k", "s"), 5_000, lambda: jitter, VenueClock(0))


def read(lane: Lane = Lane.DATA) -> Call:
    return Call(Ask("GET", "/api/v3/klines", [], 2, lane, signed=False), Read.CANDLES)


def over_http(some: Calls, now_ms: int) -> list[HttpRequest]:
    return [request for request in some.take(now_ms) if isinstance(request, HttpRequest)]


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
    some.add(Call(Ask("POST", "/api/v3/order", [], 1, Lane.ENTRY, orders=1)))
    some.add(Call(Ask("POST", "/api/v3/order", [], 1, Lane.EXIT, orders=1)))
    some.add(read())
    assert [request.method for request in over_http(some, NOON)] == ["POST", "GET"]
    assert [call.ask.lane for call in some.take_late()] == [Lane.ENTRY]


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
    call = Call(Ask("GET", "/api/v3/account", [], 20), Read.ACCOUNT)
    some.add(call)
    (first,) = over_http(some, NOON)
    some.failed(HttpFailed(first.request_id, True, "reset"))
    call.tries = 1
    some.repeat(call, NOON)
    assert some.take(NOON + 999) == []
    (second,) = over_http(some, NOON + 1_000)
    assert f"timestamp={NOON + 1_000}" in second.target
    assert first.target.partition("signature=")[2] != second.target.partition("signature=")[2]


# ---------------------------------------------------------------------------------------------------------------
# What is repeated, as the table says: a read, an exit, an entry

SALE = OrderRequest("bot-1", "BTCUSDT", Side.SELL, OrderType.MARKET, Purpose.EXIT, Decimal(1))
ENTRY = OrderRequest("bot-2", "BTCUSDT", Side.BUY, OrderType.LIMIT, Purpose.ENTRY, Decimal(1), Decimal(1))
COMMANDS: dict[str, Command] = {
    "read": QueryOrder(NOON, "BTCUSDT", "bot-3"),
    "exit": SubmitOrder(NOON, SALE),
    "entry": SubmitOrder(NOON, ENTRY),
}
LOST, UNSENT = "lost", "unsent"

REPEATED = [
    # what came of it: status and code, no answer, never left; and who asks again
    (400, -1100, ()),
    (400, -1013, ()),
    (401, -1099, ()),
    (403, None, ()),
    (404, -5000, ()),
    (400, -1021, ("read", "exit")),
    (429, -1003, ("read", "exit")),
    (429, -1015, ("read", "exit")),
    (418, -1003, ("read", "exit")),
    (400, -1007, ("read",)),
    (408, None, ("read",)),
    (500, None, ("read",)),
    (502, None, ("read",)),
    (503, -1008, ("read",)),
    (504, None, ("read",)),
    (LOST, None, ("read",)),
    (UNSENT, None, ("read", "exit")),
]


def session_with(command: Command) -> tuple[Session, HttpRequest]:
    made = build_session(stage_settings(["BTCUSDT"]), Keys("key", "secret"), lambda: 0.5, watch_always=True)
    made.submit([command], NOON)
    (request,) = (each for each in made.take_requests(NOON) if isinstance(each, HttpRequest))
    return made, request


def outcome_of(request: HttpRequest, status: int | str, code: int | None) -> Arrival:
    if isinstance(status, str):
        return HttpFailed(request.request_id, status == LOST, "no answer")
    body = b"" if code is None else b'{"code":%d,"msg":"no"}' % code
    return HttpAnswer(request.request_id, status, {"retry-after": "1"} if status in (418, 429) else {}, body)


@pytest.mark.spec("NET-3", "SAFE-1")
@pytest.mark.parametrize("who", COMMANDS)
@pytest.mark.parametrize(("status", "code", "repeated"), REPEATED)
def test_only_what_did_nothing_is_asked_again(
    status: int | str, code: int | None, repeated: tuple[str, ...], who: str
) -> None:
    made, request = session_with(COMMANDS[who])
    again: list[HttpRequest] = []
    with suppress(SessionFailed):  # a read that the venue refuses for good is for a person
        made.receive(outcome_of(request, status, code), NOON)
        again = [
            each
            for each in made.take_requests(NOON + 1_250)
            if isinstance(each, HttpRequest) and each.target.partition("?")[0] == "/api/v3/order"
        ]
    assert bool(again) == (who in repeated)
    for each in again:
        assert each.method == request.method
        assert ids_in(each) == ids_in(request)
        assert f"timestamp={NOON + 1_250}" in each.target


def ids_in(request: HttpRequest) -> list[str]:
    return [part for part in request.target.split("&") if "lientOrderId" in part]


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize(("who", "status"), [("read", LOST), ("read", 503), ("exit", UNSENT)])
def test_third_failure_is_told_to_the_core(who: str, status: int | str) -> None:
    made, request = session_with(COMMANDS[who])
    now_ms, events = NOON, made.receive(outcome_of(request, status, None), NOON)
    for wait_ms in (1_000, 2_000):
        assert events == []
        now_ms += wait_ms
        (request,) = (each for each in made.take_requests(now_ms) if isinstance(each, HttpRequest))
        events = made.receive(outcome_of(request, status, None), now_ms)
    assert [type(event) for event in events] == [OutcomeUnknown if who == "read" else OrderRejected]
    assert made.take_requests(now_ms + 60_000) == []


@pytest.mark.spec("NET-2", "SAFE-2")
@pytest.mark.parametrize(
    ("status", "code", "again_ms"),
    [(429, -1003, NOON + 60_000), (429, -1015, NOON + 1_000), (400, -1021, NOON + 1_000), (400, -2010, None)],
)
def test_moved_stop_that_the_venue_did_not_judge_may_go_again_when_it_listens(
    status: int, code: int, again_ms: int | None
) -> None:
    stop = replace(SALE, type=OrderType.STOP_LOSS, purpose=Purpose.STOP, stop_price=Decimal(1))
    moved = ReplaceOrder(NOON, "bot-4", stop)
    made, request = session_with(moved)
    body = b'{"code":%d,"msg":"no"}' % code
    told = made.receive(HttpAnswer(request.request_id, status, {"retry-after": "60"}, body), NOON)
    by_type = {type(event): event for event in told}
    for answer_to in (CancelRefused, OrderRejected):
        event = by_type[answer_to]
        assert isinstance(event, CancelRefused | OrderRejected)
        assert event.again_ms == again_ms


@pytest.mark.spec("NET-2", "SAFE-1")
def test_exit_that_would_leave_long_after_it_was_decided_is_given_back() -> None:
    made, request = session_with(COMMANDS["exit"])
    made.receive(HttpAnswer(request.request_id, 429, {"retry-after": "60"}, b'{"code":-1003,"msg":"no"}'), NOON)
    assert made.take_requests(NOON + 1_000) == []
    assert made.deadline_ms() == 0
    (event,) = made.receive(Wake(), NOON + 1_000)
    assert isinstance(event, OrderRejected)
    assert event.text.startswith("not sent")
    assert event.again_ms == NOON + 60_000
    assert made.take_requests(NOON + 120_000) == []
