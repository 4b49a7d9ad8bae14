"""What is told to people, as tables: records and pictures in, alerts out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest

from surefoot.alerts import ALARMS, RECORDS, Alert, Level, Watcher
from surefoot.core.messages import (
    BreakerResetRequested,
    Command,
    Event,
    FlattenRequested,
    KillRequested,
    LiveSwitched,
    OperatorEvent,
    PauseRequested,
    RecordAlarm,
    RecordReset,
    RecordTransfer,
    RecordTrip,
    RunStarted,
    SettingsChanged,
)
from surefoot.core.model import MS_PER_DAY, Tier
from surefoot.core.view import VenueLimitView, View
from tests.views import NOON_MS, empty_view, order, position, round_trip

HELD = replace(empty_view(), equity=Decimal(10_000))


def watcher(*, daily_summary: bool = True) -> Watcher:
    return Watcher(30_000, daily_summary=daily_summary)


def told(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.level, alert.kind) for alert in alerts]


def trip(tier: Tier) -> RecordTrip:
    return RecordTrip(
        5, "day loss", tier, Decimal("5.1"), Decimal(5), Decimal("9490.00"), "day loss: 5.10 % reached 5 %"
    )


RECORDS_TOLD: list[tuple[Event | Command, list[tuple[str, str]]]] = [
    (RunStarted(5, "a1", "paper", ("BTCUSDT",), "d", "0.1"), [("info", "start")]),
    (trip(Tier.NO_ENTRIES), [("critical", "trip")]),
    (trip(Tier.FLATTEN), [("critical", "trip")]),
    (trip(Tier.WARN), [("warning", "trip")]),
    (RecordReset(5, "ann", "looked into it", None), [("info", "reset")]),
    (RecordAlarm(5, "breaker", "told by its trip"), []),
    (RecordAlarm(5, "breaker-near", "day loss: 4.10 % of at most 5 %"), [("warning", "limit-near")]),
    (RecordAlarm(5, "unprotected", "BTCUSDT: selling it"), [("critical", "unprotected")]),
    (RecordAlarm(5, "books-differ", "BTC: 1 and 2"), [("critical", "books-differ")]),
    (RecordAlarm(5, "stream-silent", "btcusdt@kline for 60 s"), [("warning", "stream-silent")]),
    (RecordAlarm(5, "link-lost", "account: reset"), [("warning", "link-lost")]),
    (RecordAlarm(5, "rate-limited", "429"), [("warning", "rate-limit")]),
    (RecordAlarm(5, "banned", "418"), [("critical", "banned")]),
    (RecordAlarm(5, "venue-traded", "BTCUSDT: liquidation"), [("critical", "venue-traded")]),
    (RecordAlarm(5, "margin-call", "BTCUSDT"), [("critical", "margin-call")]),
    (RecordAlarm(5, "liquidation-near", "BTCUSDT: the mark price"), [("critical", "liquidation-near")]),
    (RecordAlarm(5, "key-refused", "the venue does not know this API key"), [("critical", "key-refused")]),
    (RecordAlarm(5, "read-refused", "the venue refuses GET /api/v3/account"), [("warning", "read-refused")]),
    (RecordAlarm(5, "liquidation-differs", "BTCUSDT: at 57000"), [("critical", "liquidation-near")]),
    (RecordAlarm(5, "margin-differs", "BTCUSDT is held CROSSED"), [("critical", "margin-differs")]),
    (RecordAlarm(5, "mark-price-missing", "BTCUSDT: no mark price"), [("warning", "mark-price-missing")]),
    (RecordAlarm(5, "rules-changed", "BTCUSDT: trading True is now False"), [("warning", "rules-changed")]),
    (RecordAlarm(5, "price-dropped", "NaN"), [("warning", "price-dropped")]),
    (RecordAlarm(5, "withdrawal", "5 BNB left the account without a trade"), [("warning", "transfer")]),
    (RecordAlarm(5, "deposit", "5 BNB came into the account without a trade"), [("info", "transfer")]),
    (RecordTransfer(5, Decimal(100), Decimal(1100)), []),
    (RecordAlarm(5, "order-overfill", "1 of 0.5"), [("warning", "order-overfill")]),
    (PauseRequested(5, "ann", "news"), [("info", "operator")]),
    (FlattenRequested(5, "ann", "news"), [("info", "operator")]),
    (KillRequested(5, "ann", "news"), [("warning", "operator")]),
    (LiveSwitched(5, "ann", "checked", on=True), [("warning", "operator")]),
    (BreakerResetRequested(5, "ann", "told by what came of it"), []),
]


@pytest.mark.spec("NOTE-1", "BRK-6")
@pytest.mark.parametrize(
    ("record", "expected"), RECORDS_TOLD, ids=lambda part: getattr(part, "code", type(part).__name__)
)
def test_a_record_is_told_at_its_level(record: Event | Command, expected: list[tuple[str, str]]) -> None:
    alerts = list(watcher().read(record))
    assert told(alerts) == expected
    assert all(alert.at_ms == 5 and alert.title and alert.text for alert in alerts)


@pytest.mark.spec("NOTE-1")
def test_every_alarm_that_is_known_by_name_stands_in_the_table() -> None:
    assert {record.code for record, _ in RECORDS_TOLD if isinstance(record, RecordAlarm)} >= ALARMS.keys()
    assert set(get_args(OperatorEvent)) < set(RECORDS)


@pytest.mark.spec("NOTE-1")
def test_a_reason_and_a_name_are_told_with_what_an_operator_asked_for() -> None:
    (alert,) = watcher().read(PauseRequested(5, "ann", "news at two"))
    assert (alert.title, alert.text) == ("Asked for: pause", "by ann: news at two")
    (alert,) = watcher().read(LiveSwitched(5, "ann", "away", on=False))
    assert (alert.title, alert.text) == ("Asked for: real money off", "by ann: away")


@pytest.mark.spec("NOTE-1")
def test_changed_settings_are_told_with_their_values() -> None:
    (alert,) = watcher().read(SettingsChanged(5, "ann", "too much", {"risk.risk_pct_of_equity": "1"}))
    assert (alert.title, alert.text) == ("Asked for: settings changed", "by ann: too much; risk.risk_pct_of_equity = 1")


@pytest.mark.spec("NOTE-1")
def test_a_position_without_a_stop_is_told_once_it_lasts_and_again_when_it_is_over() -> None:
    looks = watcher()
    exposed = [replace(HELD, positions=(position(unprotected_ms=ms),)) for ms in (500, 3_000, 9_000)]
    assert [told(looks.look(view)) for view in exposed] == [[], [("critical", "unprotected")], []]
    (over,) = looks.look(replace(HELD, positions=(position(),)))
    assert (over.level, over.text) == (Level.INFO, "BTCUSDT: a stop rests again")
    assert looks.look(replace(HELD, positions=(position(),))) == []


@pytest.mark.spec("NOTE-1")
def test_a_position_that_was_sold_is_not_said_to_be_protected() -> None:
    looks = watcher()
    assert looks.look(replace(HELD, positions=(position(unprotected_ms=4_000),)))
    (over,) = looks.look(HELD)
    assert over.text == "BTCUSDT: nothing is held any more"


@pytest.mark.spec("NOTE-1")
def test_a_doubt_is_told_past_its_bound_only_once_and_when_it_ends() -> None:
    looks, doubted = watcher(), replace(order(7, "entry"), state="IN_DOUBT")
    views = [replace(HELD, at_ms=NOON_MS + ms, orders=(doubted,)) for ms in (0, 29_999, 30_000, 45_000)]
    assert [told(looks.look(view)) for view in views] == [[], [], [("critical", "doubt")], []]
    assert told(looks.look(replace(HELD, at_ms=NOON_MS + 46_000))) == [("info", "doubt-over")]


@pytest.mark.spec("NOTE-1")
def test_a_doubt_that_ends_in_time_is_no_news() -> None:
    looks, doubted = watcher(), replace(order(7, "entry"), state="IN_DOUBT")
    assert looks.look(replace(HELD, orders=(doubted,))) == []
    assert looks.look(replace(HELD, at_ms=NOON_MS + 40_000)) == []
    assert (
        looks.look(replace(HELD, at_ms=NOON_MS + 41_000, orders=(doubted,))) == []
    )  # it counts from its own beginning


def using(used: int, kind: str = "weight", limit: int = 6000) -> View:
    return replace(HELD, venue_limits=(VenueLimitView(kind, 60_000, limit, used),))


@pytest.mark.spec("NOTE-1", "BRK-6")
def test_four_fifths_of_a_limit_of_the_venue_are_told_each_time_they_are_reached() -> None:
    looks = watcher()
    counts = (4_799, 4_800, 5_500, 10, 4_900)
    near = [("warning", "limit-near")]
    assert [told(looks.look(using(used))) for used in counts] == [[], near, [], [], near]
    assert looks.look(using(100, "requests", 100)) == []
    assert looks.look(using(4, "orders", 5)) == []


@pytest.mark.spec("NOTE-1")
def test_a_day_is_summed_up_when_the_next_one_begins() -> None:
    looks = watcher()
    assert looks.look(replace(HELD, unprotected_in_all_ms=9_000)) == []
    assert list(looks.read(trip(Tier.WARN)))
    later = replace(
        HELD,
        at_ms=NOON_MS + MS_PER_DAY,
        equity=Decimal("10150.00"),
        positions=(position(),),
        round_trips=(round_trip(1),),
        round_trip_count=1,
        unprotected_in_all_ms=9_460,
    )
    (day,) = looks.look(later)
    assert (day.level, day.kind) == (Level.INFO, "day")
    assert day.text == (
        "equity 10150.00 USDT (+1.50 %); 1 round trips, 0 fills, 1 trips; 0.5 s without a resting stop; "
        "held: 0.02979 BTCUSDT"
    )
    assert looks.look(later) == []
    (next_day,) = looks.look(replace(later, at_ms=NOON_MS + 2 * MS_PER_DAY, equity=None))
    assert next_day.text.startswith("equity unknown, a price is missing; 0 round trips, 0 fills, 0 trips")


@pytest.mark.spec("NOTE-1", "PNL-3")
@pytest.mark.parametrize(
    ("moved", "after", "at_end", "told"),
    [
        ("-5000", "5000", "5000", "equity 5000.00 USDT (+0.00 %); -5000.00 USDT transferred; "),
        ("5000", "14000", "14000", "equity 14000.00 USDT (-10.00 %); +5000.00 USDT transferred; "),
        ("-4500", "4500", "4950", "equity 4950.00 USDT (-1.00 %); -4500.00 USDT transferred; "),  # 0.9 × 1.1
        ("5000", None, "15000", "equity 15000.00 USDT (+0.00 %); +5000.00 USDT transferred; "),
    ],
)
def test_what_came_and_went_is_no_profit_and_no_loss_of_the_day(
    moved: str, after: str | None, at_end: str, told: str
) -> None:
    looks = watcher()
    looks.look(HELD)
    assert list(looks.read(RecordTransfer(5, Decimal(moved), None if after is None else Decimal(after)))) == []
    (day,) = looks.look(replace(HELD, at_ms=NOON_MS + MS_PER_DAY, equity=Decimal(at_end)))
    assert day.text.startswith(told)


@pytest.mark.spec("NOTE-1")
def test_nobody_has_to_take_the_daily_summary() -> None:
    looks = watcher(daily_summary=False)
    assert looks.look(HELD) == []
    assert looks.look(replace(HELD, at_ms=NOON_MS + MS_PER_DAY)) == []


def test_levels_are_ordered() -> None:
    assert [[level.reaches(least) for least in Level] for level in Level] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
