"""The circuit breaker: what losses are measured from, when it trips and at which tier, and what ends a trip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from surefoot.core.breaker import Breaker, BreakerSettings, Limit, Near
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    AccountSnapshot,
    Event,
    InstrumentsLoaded,
    PriceMarked,
    RecordEquity,
    RecordReset,
    RecordTransfer,
    RecordTrip,
    RunStarted,
)
from surefoot.core.model import MS_PER_DAY, MS_PER_HOUR, Balance, Tier
from tests.core.desk import BREAKER, BTC, FEES, SETTINGS, Script, dec

MONDAY_MS = 20_717 * MS_PER_DAY  # 2026-09-21 00:00 UTC
FAR = Limit(dec(99), Tier.NO_ENTRIES)
QUIET = replace(BREAKER, day_loss=FAR, rolling_loss=FAR, week_loss=FAR, drawdown=FAR)


class Life:
    """A breaker that is told equities, hour by hour from a Monday on, and what it records."""

    def __init__(self, settings: BreakerSettings = BREAKER) -> None:
        self.breaker = Breaker(settings)
        self.records: list[RecordEquity | RecordTrip | RecordTransfer | RecordReset] = []
        self.near: list[Near] = []

    def at(self, hour: float, equity: str) -> list[RecordTrip]:
        trips = []
        for judged in self.breaker.judge(dec(equity), MONDAY_MS + round(hour * MS_PER_HOUR)):
            if isinstance(judged, Near):
                self.near.append(judged)
                continue
            self.take(judged)
            if isinstance(judged, RecordTrip):
                trips.append(judged)
        return trips

    def take(self, record: RecordEquity | RecordTrip | RecordTransfer | RecordReset) -> None:
        self.records.append(record)
        self.breaker.note(record)

    def restarted(self) -> Life:
        """A new process that knows what was recorded, and nothing else."""
        life = Life(self.breaker.settings)
        for record in self.records:
            life.take(record)
        return life


def told(trips: list[RecordTrip]) -> list[tuple[str, str]]:
    return [(trip.rule, f"{trip.value:.4f}") for trip in trips]


@pytest.mark.spec("BRK-1")
@pytest.mark.parametrize(
    ("rule", "limits", "equities", "loss"),
    [
        # From the equity at 00:00 UTC, not from the day's best.
        ("day loss", {"day_loss": 5}, [(0, "1000"), (3, "1100"), (5, "950.01"), (6, "950")], "5.0000"),
        ("day loss", {"day_loss": 5}, [(0, "2000"), (24, "1000"), (30, "950.01"), (31, "950")], "5.0000"),
        # From the equity 24 hours before this hour, though both days lost less.
        ("rolling loss", {"rolling_loss": 5}, [(0, "1000"), (12, "1000"), (24, "970"), (36, "950")], "5.0000"),
        # From Monday 00:00 UTC, over days that each lost less.
        ("week loss", {"week_loss": 7}, [(0, "1000"), (24, "970"), (48, "950"), (72, "930")], "7.0000"),
        # From the highest equity that was ever marked, weeks ago and between two hours.
        ("drawdown", {"drawdown": 15}, [(0, "1000"), (1.5, "1200"), (400, "1021"), (401, "1020")], "15.0000"),
    ],
)
def test_each_rule_measures_from_its_own_start_and_trips_at_its_limit(
    rule: str, limits: dict[str, int], equities: list[tuple[float, str]], loss: str
) -> None:
    chosen: dict[str, Any] = {name: Limit(dec(pct), Tier.NO_ENTRIES) for name, pct in limits.items()}
    life = Life(replace(QUIET, **chosen))
    for hour, equity in equities[:-1]:
        assert life.at(hour, equity) == []
    assert told(life.at(*equities[-1])) == [(rule, loss)]


@pytest.mark.spec("BRK-1")
def test_no_rolling_loss_is_known_before_a_day_has_passed() -> None:
    life = Life(replace(QUIET, rolling_loss=Limit(dec(5), Tier.NO_ENTRIES)))
    life.at(0.5, "1000")
    assert life.at(23, "900") == []
    assert told(life.at(24, "900")) == [("rolling loss", "10.0000")]


@pytest.mark.spec("BRK-1")
def test_a_new_week_begins_on_monday() -> None:
    life = Life(replace(QUIET, week_loss=Limit(dec(7), Tier.NO_ENTRIES)))
    life.at(-1, "1000")
    assert life.at(0, "935") == []
    assert life.at(30, "890") == []
    assert told(life.at(31, "869")) == [("week loss", "7.0588")]


@pytest.mark.spec("BRK-3")
def test_a_trip_says_its_tier_and_is_in_force_only_once_it_is_noted() -> None:
    breaker = Breaker(replace(QUIET, day_loss=Limit(dec(5), Tier.FLATTEN)))
    first, *_ = breaker.judge(dec(1000), MONDAY_MS)
    assert isinstance(first, RecordEquity)
    breaker.note(first)
    (trip,) = breaker.judge(dec(900), MONDAY_MS + 1)
    assert isinstance(trip, RecordTrip)
    assert (trip.tier, trip.limit, trip.equity, trip.text) == (
        Tier.FLATTEN, dec(5), dec(900), "day loss: 10.00 % reached 5 %",
    )  # fmt: skip
    assert breaker.off_text() is None
    breaker.note(trip)
    assert breaker.off_text() == "day loss: 10.00 % reached 5 %; surefoot breaker reset lets go"


@pytest.mark.spec("BRK-3")
def test_a_warning_stops_nothing_and_is_given_once_a_day() -> None:
    life = Life(replace(QUIET, day_loss=Limit(dec(5), Tier.WARN)))
    life.at(0, "1000")
    assert len(life.at(1, "900")) == 1
    assert life.at(2, "800") == []
    assert life.breaker.off_text() is None
    life.at(24, "800")
    assert len(life.at(25, "700")) == 1


@pytest.mark.spec("BRK-5")
def test_a_trip_outlives_the_day_recovery_and_a_restart() -> None:
    life = Life()
    life.at(0, "1000")
    assert len(life.at(1, "940")) == 1
    life = life.restarted()
    for hour, equity in ((2, "940"), (3, "1200"), (50, "1200"), (300, "1300")):
        assert life.at(hour, equity) == []
        assert life.breaker.off_text() is not None


@pytest.mark.spec("BRK-5")
def test_a_reset_lets_go_and_losses_are_measured_from_there() -> None:
    life = Life()
    life.at(0, "1000")
    assert told(life.at(1, "840")) == [("day loss", "16.0000"), ("week loss", "16.0000"), ("drawdown", "16.0000")]
    life.take(RecordReset(MONDAY_MS + 2 * MS_PER_HOUR, "ada", "looked at it", dec(840)))
    for each in (life, life.restarted()):
        assert each.breaker.off_text() is None
        assert each.at(3, "820") == []
        assert told(each.at(4, "798")) == [("day loss", "5.0000")]
        assert [type(turn) for turn in each.breaker.history] == [RecordTrip] * 3 + [RecordReset, RecordTrip]


@pytest.mark.spec("BRK-1", "BRK-5")
def test_anchors_and_the_peak_survive_a_restart() -> None:
    life = Life()
    life.at(0, "1000")
    life.at(1.5, "1100")
    life.at(30, "1060")
    after = life.restarted()
    rules = [rule for rule, _ in BREAKER.losses()]
    assert [after.breaker.start_of(rule) for rule in rules] == [life.breaker.start_of(rule) for rule in rules]
    assert [life.breaker.start_of(rule) for rule in rules] == [dec(1060), None, dec(1000), dec(1100)]
    assert after.breaker == life.breaker


def test_equity_is_recorded_each_hour_and_at_a_new_peak_worth_it() -> None:
    life = Life()
    for hour, equity in ((0, "1000"), (0.1, "1000.5"), (0.2, "1001.1"), (0.3, "900"), (1, "990")):
        life.at(hour, equity)
    told_of = [(record.equity, record.peak) for record in life.records if isinstance(record, RecordEquity)]
    assert told_of == [(dec(1000), dec(1000)), (dec("1001.1"), dec("1001.1")), (dec(990), dec("1001.1"))]


@pytest.mark.spec("BRK-6")
def test_four_fifths_of_a_limit_are_said_once_a_day() -> None:
    life = Life(replace(QUIET, day_loss=Limit(dec(5), Tier.NO_ENTRIES)))
    life.at(0, "1000")
    life.at(1, "960.01")
    assert life.near == []
    life.at(2, "960")
    life.at(3, "955")
    assert life.near == [Near("day loss", dec(4), dec(5))]
    life.at(24, "1000")
    life.at(25, "959")
    assert len(life.near) == 2


@pytest.mark.spec("BRK-6")
def test_nobody_is_told_that_a_limit_is_near_which_the_day_has_already_reached() -> None:
    life = Life(replace(QUIET, day_loss=Limit(dec(5), Tier.WARN)))
    life.at(0, "1000")
    assert told(life.at(1, "950")) == [("day loss", "5.0000")]
    life.at(2, "958")
    assert life.near == []


@pytest.mark.spec("BRK-6")
def test_a_trip_carries_the_equity_of_the_hour_before_it() -> None:
    life = Life()
    for minute in range(120):
        life.at(minute / 60, str(1000 - minute / 10))
    (trip,) = life.at(2, "940")
    assert len(trip.curve) == 60
    assert trip.curve[-1] == (MONDAY_MS + 2 * MS_PER_HOUR, dec(940))
    assert trip.curve[0] == (MONDAY_MS + 61 * 60_000, dec("993.9"))


@pytest.mark.spec("BRK-1")
def test_money_that_comes_or_goes_is_neither_profit_nor_loss() -> None:
    life = Life()
    life.at(0, "1000")
    life.take(RecordTransfer(MONDAY_MS + 1, dec(-500)))
    assert life.at(1, "500") == []
    assert [life.breaker.start_of(rule) for rule in ("day loss", "week loss", "drawdown")] == [dec(500)] * 3
    assert told(life.at(2, "475")) == [("day loss", "5.0000")]


@pytest.mark.spec("CFG-4", "BRK-2")
def test_limit_that_is_tightened_counts_at_the_next_equity_and_one_that_is_loosened_keeps_the_trip() -> None:
    life = Life()
    life.at(0, "1000")
    assert life.at(0.1, "985") == []
    life.breaker.adopt(replace(BREAKER, day_loss=Limit(dec(1), Tier.NO_ENTRIES)))
    assert told(life.at(0.2, "985")) == [("day loss", "1.5000")]
    life.breaker.adopt(BREAKER)
    assert "day loss" in life.breaker.trips
    assert life.at(0.3, "985") == []


def test_day_that_began_with_nothing_cannot_be_lost() -> None:
    life = Life()
    life.at(0, "0")
    assert life.at(1, "-1") == []


@pytest.mark.spec("BRK-1", "BRK-2")
def test_losses_are_not_measured_before_the_price_of_every_coin_that_is_owned_has_been_heard() -> None:
    eth = replace(BTC, symbol="ETHUSDT", base="ETH")
    engine = Engine(replace(SETTINGS, symbols=("BTCUSDT", "ETHUSDT")), Script())

    def told_of(event: Event) -> list[RecordEquity]:
        return [command for command in engine.step(event) if isinstance(command, RecordEquity)]

    at = MONDAY_MS
    told_of(RunStarted(at, "r1", "paper", ("BTCUSDT", "ETHUSDT"), "digest", "0.1.0"))
    told_of(InstrumentsLoaded(at, (BTC, eth), (("BTCUSDT", FEES), ("ETHUSDT", FEES))))
    told_of(AccountSnapshot(at, (Balance("ETH", dec(3), dec(0)), Balance("USDT", dec(1000), dec(0))), ()))
    assert told_of(PriceMarked(at + 1, "BTCUSDT", dec(60_000), dec(60_000), at + 1)) == []
    (first,) = told_of(PriceMarked(at + 2, "ETHUSDT", dec(3_000), dec(3_000), at + 2))
    assert first.equity == 10_000
