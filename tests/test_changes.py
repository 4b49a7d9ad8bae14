"""Settings that change while the trader runs: which may, what follows, and what a restart makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.assembly import InForce, build_session, engine_settings
from surefoot.binance.dialogue import Keys
from surefoot.changes import CHANGEABLE, applied, check_keys, differences, merged, overlaid
from surefoot.config import ConfigError, Settings, bounds_of, load
from surefoot.control import Answer, Wish
from surefoot.core.messages import RunStarted, SettingsChanged
from surefoot.live import Asked, Trader, WallClock
from surefoot.store.journal import Journal

START = load(None, {"market.symbols": "BTCUSDT", "risk.positions_max": "3"}, {})
AT_MS = 1_790_000_000_000


def changed(changes: Mapping[str, str | None], who: str = "ada") -> SettingsChanged:
    return SettingsChanged(AT_MS, who, "a test", changes)


@pytest.mark.spec("CFG-4")
@pytest.mark.parametrize(
    "key",
    [
        *("mode", "profile", "live_confirmed", "api_key", "api_secret", "store.journal_path", "orders.transport"),
        *(
            "market.venue",
            "strategy.name",
            "strategy.parameters",
            "ensemble.members",
            "futures.leverage",
            "paper.speed",
        ),
    ],
)
def test_what_decides_where_with_which_key_and_whose_code_trades_cannot_change_while_it_runs(key: str) -> None:
    assert key not in CHANGEABLE
    with pytest.raises(ConfigError, match=f"^{key}: cannot be changed while the trader runs"):
        check_keys({key: "x"})


def another_value(old: Settings, key: str) -> Settings:
    """The settings with some other value of one key."""
    bounds = bounds_of(key) or ()
    texts = [str(each) for each in bounds] + ["1.5", "9", "45", "75", "15", "0.6", "block", "1d", "atr", "half_kelly"]
    for text in [*texts, "shrink", "best", "1,2,3,4,5", "3m", "4h", "ETHUSDT"]:
        with suppress(ConfigError):
            new = applied(old, {key: text})
            if new != old:
                return new
    raise AssertionError(f"no other value of {key} is known")


@pytest.mark.spec("CFG-4")
@pytest.mark.parametrize("strategy", ["rsi", "macd", "bollinger", "volume", "stochastic", "ensemble"])
def test_every_key_that_may_change_reaches_the_engine_or_the_signals(strategy: str) -> None:
    takes = {"exits.take_1_at_pct": "2", "exits.take_1_share_pct": "30", "exits.take_2_at_pct": "3"}
    flags = {**takes, "exits.take_2_share_pct": "20", "market.interval": "1m", "strategy.name": strategy}
    old = load(None, {**flags, "market.symbols": "BTCUSDT"}, {}).settings
    of_strategies = {"rsi", "macd", "bollinger", "volume", "stochastic", "ensemble"} - {strategy}
    for key in sorted(CHANGEABLE - {"strategy.score_min_live"}):
        if key.partition(".")[0] in of_strategies:
            continue
        new = another_value(old, key)
        ((name, (_, text)),) = differences(old, new).items()
        assert name == key
        in_force = InForce(old)
        in_force.engine.fold(changed({key: text.strip('"[]').replace('"', "")}))
        assert in_force.settings == new, key
        assert engine_settings(new) != engine_settings(old) or in_force._signals_are_cold, key


@pytest.mark.spec("CFG-4")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"risk.positions_max": "99"}, 'risk.positions_max = "99"'),
        ({"risk.position_max": "2"}, "the nearest known one is risk.positions_max"),
        ({"rsi.extreme_low": "40"}, "must lie outside"),
        ({}, "name 1 to 100 settings"),
        ({"risk.positions_max": "2\n"}, "one line"),
        ({"risk.notional_max_pct_of_equity": "95"}, "every symbol has a slot"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_the_reason_and_changes_nothing(
    changes: dict[str, str | None], told: str
) -> None:
    in_force = InForce(START.settings)
    with pytest.raises(ConfigError, match=told):
        in_force.after(changes)
    assert in_force.settings == START.settings


@pytest.mark.spec("CFG-4")
def test_a_change_lies_over_the_start_until_it_is_taken_back() -> None:
    first = merged({}, {"risk.positions_max": "2", "risk.cooldown_s": "60"})
    second = merged(first, {"risk.positions_max": None, "rsi.period": "9"})
    assert second == {"risk.cooldown_s": "60", "rsi.period": "9"}
    settings = applied(START.settings, second)
    assert (settings.risk.positions_max, settings.risk.cooldown_s, settings.rsi.period) == (3, 60, 9)
    assert differences(START.settings, settings) == {"risk.cooldown_s": ("3600", "60"), "rsi.period": ("14", "9")}
    assert applied(START.settings, merged(second, dict.fromkeys(second))) == START.settings


@pytest.mark.spec("CFG-4", "CFG-2")
def test_what_is_in_force_says_who_changed_it() -> None:
    events = [
        changed({"risk.positions_max": "2", "rsi.period": "9"}, "ada"),
        changed({"risk.positions_max": "1"}, "eve (web)"),
        changed({"rsi.period": None}, "ada"),
    ]
    now = overlaid(START, events)
    assert now.settings.risk.positions_max == 1
    assert now.sources["risk.positions_max"] == "changed at run time by eve (web)"
    assert now.sources["rsi.period"] == "default"
    assert now.settings.rsi.period == 14
    assert overlaid(START, []) == START


def trader_on(journal: Journal, settings: Settings = START.settings) -> Trader:
    in_force = InForce(settings)
    for entry in journal.read():
        in_force.engine.fold(entry.message)
    session = build_session(in_force.settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
    trader = Trader(in_force, session, journal, WallClock())
    trader._react(RunStarted(AT_MS, f"run{journal.run_count}", "paper", ("BTCUSDT",), "digest", "0"))
    return trader


def answer_to(trader: Trader, changes: Mapping[str, str | None], kind: str = "settings") -> Answer:
    asked = Asked(Wish(kind, "a quiet week", settings=changes), "ada", asyncio.get_running_loop().create_future())
    trader._take(asked)
    return asked.answered.result()


@pytest.mark.spec("CFG-4")
async def test_a_change_is_on_disk_with_who_and_why_when_it_is_answered_and_a_restart_knows_it(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = trader_on(journal)
        wanted = {"risk.positions_max": "2", "breaker.day_loss_max_pct": "1.5"}
        differing = {"breaker.day_loss_max_pct": ("5", "1.5"), "risk.positions_max": ("3", "2")}
        said = "breaker.day_loss_max_pct: 5 -> 1.5, risk.positions_max: 3 -> 2"
        assert answer_to(trader, wanted, "settings-check") == Answer(True, said, differing)
        assert trader.engine.settings.risk.positions_max == 3, "a check changes nothing"
        assert not list(journal.read(kinds=[SettingsChanged]))
        assert answer_to(trader, wanted) == Answer(True, f"{said}, taken from ada", differing)
        refused = answer_to(trader, {"mode": "live"})
        assert (refused.taken, refused.text.partition(":")[0]) == (False, "mode")
        (event,) = (entry.message for entry in journal.read(kinds=[SettingsChanged]))
        assert isinstance(event, SettingsChanged)
        assert (event.who, event.reason, event.changes) == ("ada", "a quiet week", wanted)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = trader_on(journal)
        assert trader.engine.settings.risk.positions_max == 2
        assert trader.engine.settings.breaker.day_loss.value_pct == Decimal("1.5")
        assert trader.engine.breaker.settings == trader.engine.settings.breaker
        assert answer_to(trader, {"risk.positions_max": None}).changes == {"risk.positions_max": ("2", "3")}


@pytest.mark.spec("CFG-4")
def test_what_was_changed_and_no_longer_goes_with_the_start_is_a_problem_and_the_engine_keeps_what_did() -> None:
    in_force = InForce(load(None, {"market.symbols": "BTCUSDT,ETHUSDT"}, {}).settings)
    in_force.engine.fold(changed({"risk.notional_max_pct_of_equity": "80"}))
    assert in_force.problem is not None
    assert "every symbol has a slot" in in_force.problem
    assert "changed at run time" in in_force.problem
    assert in_force.engine.settings.risk.notional_max_pct_of_equity == 20
    in_force.engine.fold(changed({"risk.notional_max_pct_of_equity": None, "risk.positions_max": "1"}))
    assert in_force.problem is None
    assert in_force.engine.settings.risk.positions_max == 1


@pytest.mark.spec("CFG-4")
def test_only_numbers_of_the_chosen_strategy_and_filters_let_the_signals_begin_anew() -> None:
    in_force = InForce(START.settings)
    for changes, cold in (
        ({"risk.positions_max": "1"}, False),
        ({"macd.fast_candles": "5"}, False),
        ({"rsi.period": "5"}, True),
        ({"filters.trend": "block"}, True),
    ):
        in_force._signals_are_cold = False
        in_force.engine.fold(changed(changes))
        assert in_force._signals_are_cold is cold, changes
