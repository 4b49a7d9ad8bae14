"""The life of a link's connections: make before break, back-off, and silence that is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.binance.dialogue import CloseLink, SendText
from surefoot.binance.links import (
    LIFE_MS,
    LIFE_SPREAD_MS,
    OVERLAP_MS,
    READY_WITHIN_MS,
    RECONNECT_CAP_MS,
    STEADY_MS,
    Line,
    kind_of,
)
from surefoot.binance.watchdog import LOOK_EVERY_MS, Watchdog

T0 = 1_790_000_000_000


def line(jitter: float = 0.0) -> Line:
    return Line("market", lambda: jitter, lambda wait_ms: wait_ms)


def opened(made: Line) -> list[str]:
    names, made.to_open = made.to_open, []
    return names


def ready(jitter: float = 0.0, now_ms: int = T0) -> Line:
    made = line(jitter)
    made.open()
    assert opened(made) == ["market"]
    connect(made, "market", now_ms)
    return made


def connect(made: Line, name: str, now_ms: int) -> bool:
    assert made.went_up(name, 7, now_ms)
    assert made.reply_id_of(name) == 7
    return made.subscribed(name, now_ms)


@pytest.mark.spec("NET-4")
@pytest.mark.parametrize(("jitter", "earlier_ms"), [(0.0, 0), (1.0, LIFE_SPREAD_MS)])
def test_successor_takes_over_before_the_venue_ends_the_connection(jitter: float, earlier_ms: int) -> None:
    made = ready(jitter)
    end_ms = T0 + LIFE_MS - earlier_ms
    assert made.due_ms() == end_ms
    assert end_ms <= T0 + 23 * 3_600_000
    assert made.wake(end_ms) == ([], None)
    assert opened(made) == ["market+"]
    assert made.ready, "the old one is listened to meanwhile"
    assert connect(made, "market+", end_ms + 300) is False  # nothing was lost
    assert (made.name, made.planned, made.reconnects) == ("market+", 1, 1)
    assert made.wake(end_ms + 300 + OVERLAP_MS - 1) == ([], None)
    assert made.wake(end_ms + 300 + OVERLAP_MS) == ([CloseLink("market")], None)
    made.replace(end_ms + 60_000)
    assert opened(made) == ["market"]  # the names take turns


@pytest.mark.spec("NET-4")
def test_successor_that_does_not_come_up_is_tried_again_while_the_old_one_lives() -> None:
    made = ready()
    made.replace(T0)
    assert opened(made) == ["market+"]
    assert made.replace(T0) == []
    assert opened(made) == []  # one at a time
    for failures, wait_ms in enumerate((1_000, 2_000, 4_000), start=1):
        now_ms = T0 + failures * 10_000
        assert made.went_down("market+", now_ms) is False
        assert made.ready
        made.wake(now_ms + wait_ms - 1)
        assert opened(made) == []
        made.wake(now_ms + wait_ms)
        assert opened(made) == ["market+"]


@pytest.mark.spec("NET-4")
def test_old_connection_that_breaks_while_the_successor_comes_is_a_loss_that_the_successor_ends() -> None:
    made = ready()
    made.replace(T0)
    opened(made)
    assert made.went_down("market", T0 + 10) is True
    assert connect(made, "market+", T0 + 20) is True
    assert (made.planned, made.reconnects) == (0, 1)


@pytest.mark.spec("NET-4")
def test_new_connection_that_breaks_at_once_leaves_the_old_one_that_is_still_there() -> None:
    made = ready()
    made.replace(T0)
    opened(made)
    connect(made, "market+", T0 + 20)
    assert made.went_down("market+", T0 + 30) is False
    assert (made.name, made.ready) == ("market", True)
    made.wake(T0 + 30)
    assert opened(made) == ["market+"]
    assert made.went_down("market", T0 + 40) is True


@pytest.mark.spec("NET-4")
def test_back_off_doubles_up_to_its_cap_and_begins_anew_after_a_minute_of_life() -> None:
    made, now_ms, waits = ready(), T0, []
    for _ in range(9):
        made.went_down("market", now_ms)
        due_ms = made.due_ms()
        assert due_ms is not None
        waits.append(due_ms - now_ms)
        now_ms = due_ms
        made.wake(now_ms)
        assert opened(made) == ["market"]
        made.went_up("market", 1, now_ms)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, *[RECONNECT_CAP_MS] * 3]
    made.subscribed("market", now_ms)
    made.went_down("market", now_ms + STEADY_MS)
    assert made.due_ms() == now_ms + STEADY_MS + 1_000


@pytest.mark.spec("NET-4")
def test_subscription_that_nobody_answers_is_told() -> None:
    made = line()
    made.open()
    made.went_up("market", 7, T0)
    assert made.wake(T0 + READY_WITHIN_MS - 1) == ([], None)
    assert made.wake(T0 + READY_WITHIN_MS) == ([], "market")


@pytest.mark.spec("NET-4")
def test_change_of_subscription_is_said_on_every_connection_that_listens() -> None:
    made = ready()
    made.replace(T0)
    assert made.say("x") == [SendText("market", "x")]
    made.went_up("market+", 8, T0)
    assert made.say("x") == [SendText("market", "x"), SendText("market+", "x")]


STEPS = st.lists(st.sampled_from(("up", "ready", "down", "down old", "replace", "wait", "wake")), max_size=60)


@pytest.mark.spec("NET-4")
@given(STEPS)
def test_whatever_happens_there_is_a_connection_or_a_time_for_the_next(steps: list[str]) -> None:
    made, now_ms = ready(), T0
    alive, waiting = {"market"}, set[str]()
    for step in steps:
        now_ms += 1_000
        if step == "wait":
            now_ms += 30_000
        elif step == "replace":
            closing = made.replace(now_ms)
            alive -= {each.link for each in closing if isinstance(each, CloseLink)}
        elif step == "wake":
            closing, late = made.wake(now_ms)
            alive -= {each.link for each in closing if isinstance(each, CloseLink)}
            if late is not None:
                alive.discard(late)
                waiting.discard(late)
                made.went_down(late, now_ms)
        elif step == "up" and waiting:
            name = waiting.pop()
            if made.went_up(name, 7, now_ms):
                alive.add(name)
        elif step == "ready":
            for name in sorted(alive):
                if made.reply_id_of(name) is not None:
                    made.subscribed(name, now_ms)
        elif step.startswith("down") and alive:
            name = sorted(alive)[-1 if step == "down" else 0]
            alive.discard(name)
            made.went_down(name, now_ms)
        for name in opened(made):
            assert name not in alive, "a second connection of that name is opened"
            waiting.add(name)
        assert {kind_of(name) for name in alive | waiting} <= {"market"}
        assert made.ready <= bool(alive)
        assert alive or waiting or made.due_ms() is not None


@pytest.mark.spec("NET-4", "DATA-3")
def test_watchdog_tells_silent_streams_and_when_it_is_all_of_them() -> None:
    dog = Watchdog(60_000)
    assert dog.look_at_ms is None
    dog.want(["a", "b"], T0)
    assert dog.look_at_ms == T0 + LOOK_EVERY_MS
    dog.heard("b", T0 + 30_000)
    dog.heard("stranger", T0 + 30_000)
    assert (dog.age_ms("b", T0 + 31_000), dog.age_ms("stranger", T0)) == (1_000, None)
    assert dog.look(T0 + 59_999) == ([], False)
    assert dog.look(T0 + 60_000) == (["a"], False)
    assert dog.look(T0 + 60_001) == ([], False)  # it has another minute
    assert dog.look(T0 + 120_000) == (["a", "b"], True)
    dog.unwant("b")
    dog.want_too("c", T0 + 120_000)
    assert dog.look(T0 + 180_000) == (["a", "c"], True)
    dog.rest()
    assert dog.look_at_ms is None


@pytest.mark.spec("NET-4")
def test_watchdog_that_is_off_never_looks() -> None:
    dog = Watchdog(0)
    dog.want(["a"], T0)
    assert dog.look_at_ms is None


@pytest.mark.spec("NET-2", "NET-4")
def test_while_it_is_held_no_connection_is_opened_and_those_that_are_there_go_on() -> None:
    made = ready()
    made.hold(T0 + 600_000)
    assert made.replace(T0) == []
    assert (opened(made), made.ready, made.due_ms()) == ([], True, T0 + 600_000)
    assert made.went_down("market", T0 + 1_000)
    assert made.due_ms() == T0 + 600_000
    assert made.wake(T0 + 599_999) == ([], None)
    assert opened(made) == []
    assert made.wake(T0 + 600_000) == ([], None)
    assert opened(made) == ["market"]
    connect(made, "market", T0 + 600_100)
    made.hold(T0 + 900_000)
    made.replace(T0 + 601_000)
    assert made.due_ms() == T0 + 900_000
    assert made.wake(T0 + 900_000) == ([], None)
    assert opened(made) == ["market+"]
