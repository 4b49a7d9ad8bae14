"""The loss of the day: where it is measured from, when it trips, and for how long."""

from __future__ import annotations

import pytest

from surefoot.core.breaker import Breaker
from surefoot.core.messages import RecordDayStart, RecordTrip
from surefoot.core.model import MS_PER_DAY
from tests.core.desk import dec

DAY = 20_000
MORNING_MS = DAY * MS_PER_DAY
NOON_MS = MORNING_MS + MS_PER_DAY // 2


def begun(equity: str = "1000") -> Breaker:
    breaker = Breaker(dec(5))
    record = breaker.judge(dec(equity), MORNING_MS)
    assert record == RecordDayStart(MORNING_MS, DAY, dec(equity))
    breaker.note(record)
    return breaker


def test_first_equity_of_a_day_is_its_anchor_and_nothing_happens_until_it_is_recorded() -> None:
    breaker = Breaker(dec(5))
    assert breaker.judge(dec(1000), MORNING_MS) == breaker.judge(dec(1000), MORNING_MS)
    assert breaker.day_start_equity is None


@pytest.mark.spec("BRK-1")
@pytest.mark.parametrize(("equity", "loss_pct"), [("950", "5"), ("949.99", "5.001"), ("0", "100"), ("-5", "100.5")])
def test_loss_at_the_limit_trips(equity: str, loss_pct: str) -> None:
    breaker = begun()
    trip = breaker.judge(dec(equity), NOON_MS)
    assert trip == RecordTrip(NOON_MS, DAY, dec(loss_pct), dec(5))
    assert not breaker.stops_entries(NOON_MS)
    breaker.note(trip)
    assert breaker.stops_entries(NOON_MS)


@pytest.mark.spec("BRK-1")
@pytest.mark.parametrize("equity", ["950.01", "1000", "2000"])
def test_less_than_the_limit_does_not_trip(equity: str) -> None:
    assert begun().judge(dec(equity), NOON_MS) is None


def test_trip_is_said_once() -> None:
    breaker = begun()
    breaker.note(RecordTrip(NOON_MS, DAY, dec(6), dec(5)))
    assert breaker.judge(dec(900), NOON_MS + 1) is None


@pytest.mark.spec("BRK-1")
def test_next_day_begins_with_its_own_equity_and_entries() -> None:
    breaker = begun()
    breaker.note(RecordTrip(NOON_MS, DAY, dec(6), dec(5)))
    last_ms = MORNING_MS + MS_PER_DAY - 1
    assert breaker.stops_entries(last_ms)
    assert breaker.judge(dec(940), last_ms) is None
    assert not breaker.stops_entries(last_ms + 1)
    start = breaker.judge(dec(940), last_ms + 1)
    assert start == RecordDayStart(last_ms + 1, DAY + 1, dec(940))
    breaker.note(start)
    assert breaker.judge(dec("893.01"), last_ms + 2) is None
    assert isinstance(breaker.judge(dec(893), last_ms + 2), RecordTrip)


def test_day_that_began_with_nothing_cannot_be_lost() -> None:
    assert begun("0").judge(dec(-1), NOON_MS) is None
