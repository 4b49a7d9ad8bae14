"""The gates of the roll-out, held against journals of lives that are told here day by day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from surefoot.api.records import Records
from surefoot.cli import main
from surefoot.config import Settings, load, settings_digest
from surefoot.core.messages import (
    BalanceMoved,
    Command,
    Event,
    InstrumentsLoaded,
    LinkLost,
    LinkRestored,
    OrderRejected,
    RecordAlarm,
    RecordEquity,
    RecordTransfer,
    RecordTrip,
    RunStarted,
)
from surefoot.core.model import MS_PER_DAY, MS_PER_HOUR, Tier
from surefoot.presets import PROFILES
from surefoot.research.promotion import Condition, Evidence, conditions_of, evidence_of
from surefoot.store.journal import Journal, JournalReader
from tests.core.desk import BTC, FEES, Desk, dec

START_MS = 1_790_000_100_000 // MS_PER_DAY * MS_PER_DAY
HALF_DAY_MS = MS_PER_DAY // 2
MINUTE_MS = 60_000


def settings_of(profile: str) -> Settings:
    return load(None, {"profile": profile}, {}).settings


def kept(path: Path, messages: Sequence[Event | Command]) -> Path:
    with Journal.open(path) as journal:
        journal.append(*messages)
    return path


def trading_life(settings: Settings, days: int, wins: Sequence[bool]) -> list[Event | Command]:
    """A run with a round trip every half day, won or lost by turns."""
    desk = Desk(now_ms=START_MS)
    desk.tell(RunStarted(desk.now_ms, "r1", "testnet", ("BTCUSDT",), settings_digest(settings), "0.1.0"))
    desk.tell(InstrumentsLoaded(desk.now_ms, (BTC,), (("BTCUSDT", FEES),)))
    desk.link("market")
    desk.link("account")
    desk.snapshot(USDT="10000")
    for half_day in range(2 * days):
        desk.now_ms = START_MS + half_day * HALF_DAY_MS + MS_PER_HOUR
        entry, target, stop = desk.enter()
        for order, resting in ((entry, True), (target, False), (stop, False)):
            desk.accept(order.client_order_id, resting=resting)
        desk.fill(entry.client_order_id, str(entry.quantity), "30000", "0", "BNB")
        for leg in (target, stop):
            desk.accept(leg.client_order_id, quantity=str(entry.quantity))
        desk.now_ms += MS_PER_HOUR
        won = wins[half_day % len(wins)]
        filled, price = (target, "31200") if won else (stop, "29400")
        desk.fill(filled.client_order_id, str(entry.quantity), price, "0", "USDT")
        desk.cancel((stop if won else target).client_order_id)
        desk.true_snapshot()
    desk.now_ms = START_MS + days * MS_PER_DAY
    desk.link("market")
    return desk.journal


def still_life(settings: Settings, run: str, from_ms: int, *told: Event | Command) -> list[Event | Command]:
    """A run that trades nothing; both its streams come up at once."""
    begun = RunStarted(from_ms, run, "testnet", ("BTCUSDT",), settings_digest(settings), "0.1.0")
    return [begun, LinkRestored(from_ms, "market"), LinkRestored(from_ms, "account"), *told]


def read_records(path: Path, settings: Settings) -> Records:
    records = Records(path, settings)
    with JournalReader(path) as reader:
        for entry in reader.read():
            records.take(entry)
    return records


def alarm(at_ms: int, code: str = "price-dropped") -> RecordAlarm:
    return RecordAlarm(at_ms, code, "what happened")


def conditions(path: Path, settings: Settings) -> dict[str, Condition]:
    gate = PROFILES[settings.profile].gate
    assert gate is not None
    return {condition.name: condition for condition in conditions_of(gate, evidence_of(path, settings))}


def missing(path: Path, settings: Settings) -> list[str]:
    return [name for name, condition in conditions(path, settings).items() if not condition.met]


def promoted(capsys: pytest.CaptureFixture[str], path: Path, profile: str) -> tuple[int, dict[str, Any]]:
    code = main(["promote", "--set", f"profile={profile}", "--journal", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.spec("MODE-4")
def test_a_profile_that_showed_what_its_gate_wants_may_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept(tmp_path / "j.sqlite", trading_life(settings_of("conservative"), 15, (True, True, False)))
    code, answer = promoted(capsys, path, "conservative")
    values = {condition["name"]: condition["value"] for condition in answer["conditions"]}
    assert (code, answer["passed"], answer["next"]) == (0, True, "scale")
    assert (values["days of running"], values["trips"], values["win rate, %"]) == ("15.00", "none", "66.67")
    assert float(values["Sharpe"]) > 0.5
    assert 0 < float(values["drawdown, %"]) < 10
    assert answer["unknowable"]
    assert main(["promote", "--set", "profile=conservative", "--journal", str(path)]) == 0
    assert "scale may be tried" in capsys.readouterr().out


@pytest.mark.spec("MODE-4")
@pytest.mark.parametrize(
    ("days", "wins", "lacks"),
    [
        (13, (True, True, False), ["days of running"]),
        (15, (True, False, False), ["win rate, %", "Sharpe"]),
    ],
)
def test_each_condition_that_is_not_met_is_named(
    tmp_path: Path, days: int, wins: tuple[bool, ...], lacks: list[str]
) -> None:
    settings = settings_of("conservative")
    found = missing(kept(tmp_path / "j.sqlite", trading_life(settings, days, wins)), settings)
    assert set(lacks) <= set(found)
    assert "trips" not in found
    if wins[1]:
        assert found == lacks


@pytest.mark.spec("MODE-4", "PNL-3")
@pytest.mark.parametrize(
    ("marks", "moved", "drawdown"),
    [
        (("10000", "2500"), "-7500", "0.00"),  # three quarters are withdrawn
        (("8000", "38000", "34200"), "30000", "28.00"),  # -20 %, a deposit, -10 %: 0.8 × 0.9 is left
        (("12000", "3000", "2700"), "-9000", "10.00"),
    ],
)
def test_what_came_and_went_is_no_fall_and_hides_none(
    tmp_path: Path, marks: Sequence[str], moved: str, drawdown: str
) -> None:
    settings, desk = settings_of("scale"), Desk(now_ms=START_MS)
    desk.tell(RunStarted(desk.now_ms, "r1", "testnet", ("BTCUSDT",), settings_digest(settings), "0.1.0"))
    desk.tell(InstrumentsLoaded(desk.now_ms, (BTC,), (("BTCUSDT", FEES),)))
    desk.snapshot(USDT="10000")
    life = list(desk.journal)
    for hour, equity in enumerate(marks, START_MS // MS_PER_HOUR + 1):
        at_ms = hour * MS_PER_HOUR
        if hour == START_MS // MS_PER_HOUR + 2:
            life += [BalanceMoved(at_ms, "USDT", dec(moved)), RecordTransfer(at_ms, dec(moved), dec(equity))]
        life.append(RecordEquity(at_ms, hour, dec(equity), dec(equity)))
    path = kept(tmp_path / "j.sqlite", life)
    found = evidence_of(path, settings).metrics
    assert found is not None
    assert f"{found.max_drawdown_pct:.2f}" == drawdown
    told = read_records(path, settings).metrics()
    assert (told.max_drawdown_pct, told.return_pct) == (found.max_drawdown_pct, found.return_pct)


@pytest.mark.spec("MODE-4")
def test_a_trip_is_missing_a_warning_is_not(tmp_path: Path) -> None:
    settings, at_ms = settings_of("conservative"), START_MS + MS_PER_HOUR
    for tier, met in ((Tier.WARN, True), (Tier.NO_ENTRIES, False)):
        trip = RecordTrip(at_ms, "day loss", tier, dec(3), dec(3), dec(970), "day loss: 3.00 % reached 3 %")
        path = kept(tmp_path / f"{tier}.sqlite", still_life(settings, "r1", START_MS, trip))
        assert conditions(path, settings)["trips"].met is met


@pytest.mark.spec("MODE-4")
@pytest.mark.parametrize(
    ("told", "met"),
    [
        (alarm(START_MS + 1), True),
        (alarm(START_MS + 1, "order-error"), False),
        (alarm(START_MS + 1, "books-differ"), False),
        (alarm(START_MS + 1, "unprotected"), False),
        (LinkLost(START_MS + 1, "store", "disk full"), False),
        (LinkLost(START_MS + 1, "market", "gone"), True),
        (OrderRejected(START_MS + 1, "sf-r1-1e", -1003, "banned until"), False),
        (OrderRejected(START_MS + 1, "sf-r1-1e", -2010, "insufficient balance"), True),
    ],
)
def test_what_counts_as_an_unhandled_error(tmp_path: Path, told: Event | Command, met: bool) -> None:
    settings = settings_of("testnet")
    path = kept(tmp_path / "j.sqlite", still_life(settings, "r1", START_MS, told))
    assert conditions(path, settings)["unhandled errors and bans"].met is met


@pytest.mark.spec("MODE-4")
@pytest.mark.parametrize(("break_ms", "hours"), [(MINUTE_MS, "30.00"), (MINUTE_MS + 1, "20.00")])
def test_hours_of_stream_are_of_one_stretch_that_a_short_break_does_not_end(
    tmp_path: Path, break_ms: int, hours: str
) -> None:
    settings, lost_ms = settings_of("testnet"), START_MS + 20 * MS_PER_HOUR
    told = (
        LinkLost(lost_ms, "account", "24 hours are over"),
        LinkRestored(lost_ms + break_ms, "account"),
        alarm(START_MS + 30 * MS_PER_HOUR),
    )
    path = kept(tmp_path / "j.sqlite", still_life(settings, "r1", START_MS, *told))
    found = conditions(path, settings)["hours of stream"]
    assert (found.value, found.met) == (hours, hours == "30.00")


@pytest.mark.spec("MODE-4")
def test_days_are_of_running_and_a_stretch_of_stream_is_of_one_run(tmp_path: Path) -> None:
    settings, day_ms = settings_of("testnet"), MS_PER_DAY
    lives = [
        *still_life(settings, "r1", START_MS, alarm(START_MS + day_ms // 2)),
        *still_life(settings, "r2", START_MS + 5 * day_ms, alarm(START_MS + 6 * day_ms)),
    ]
    path = kept(tmp_path / "j.sqlite", lives)
    found = conditions(path, settings)
    assert found["days of running"].value == "1.50"
    assert found["hours of stream"].value == "24.00"


@pytest.mark.spec("MODE-4")
def test_runs_of_other_settings_count_only_when_asked(tmp_path: Path) -> None:
    settings, other = settings_of("testnet"), settings_of("conservative")
    lives = [
        *still_life(other, "r1", START_MS, alarm(START_MS + MS_PER_DAY, "order-error")),
        *still_life(settings, "r2", START_MS + 2 * MS_PER_DAY, alarm(START_MS + 4 * MS_PER_DAY)),
    ]
    path = kept(tmp_path / "j.sqlite", lives)
    found, everything = evidence_of(path, settings), evidence_of(path, settings, all_settings=True)
    assert (found.runs, found.other_runs, found.running_ms, found.errors) == (1, 1, 2 * MS_PER_DAY, [])
    assert (everything.runs, everything.running_ms, len(everything.errors)) == (2, 3 * MS_PER_DAY, 1)


@pytest.mark.spec("MODE-4")
def test_what_is_not_known_is_not_met(tmp_path: Path) -> None:
    gate = PROFILES["scale"].gate
    assert gate is not None
    found = {condition.name: condition for condition in conditions_of(gate, Evidence())}
    assert [(found[name].value, found[name].met) for name in ("Sharpe", "win rate, %", "drawdown, %")] == [
        ("not known", False)
    ] * 3


@pytest.mark.spec("MODE-4")
@pytest.mark.parametrize(("profile", "said"), [("none", "choose one of them first"), ("full", "it is the last one")])
def test_a_profile_without_a_gate_says_so(capsys: pytest.CaptureFixture[str], profile: str, said: str) -> None:
    assert main(["promote", "--set", f"profile={profile}"]) == 2
    assert capsys.readouterr().err.rstrip().endswith(said)


@pytest.mark.spec("MODE-4")
def test_the_gate_of_a_profile_that_is_not_in_use_can_be_asked_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(None, {"mode": "testnet"}, {}, keyless=True).settings
    path = kept(tmp_path / "j.sqlite", still_life(settings, "r1", START_MS, alarm(START_MS + 8 * MS_PER_DAY)))
    asked = ["promote", "--gate", "testnet", "--set", "mode=testnet", "--journal", str(path), "--json"]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["profile"], answer["next"], answer["passed"], answer["runs"]) == ("testnet", "conservative", True, 1)
    assert main(["promote", "--gate", "nothing"]) == 2
    assert "testnet, conservative, scale" in capsys.readouterr().err
