"""Presets and profiles: they fill in what nobody set, say so, hold what is promised, and may not promise nonsense."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from surefoot import presets
from surefoot.assembly import engine_settings
from surefoot.config import ConfigError, Loaded, is_setting, load
from surefoot.core.exits import Take
from surefoot.presets import BREAKER_PRESETS, EXIT_PRESETS, PROFILES, Gate, filled_in

TRAIL = ("trail_activate_pct", "trail_distance_pct", "trail_step_pct")
REVERSAL = ("reversal_fall_pct", "reversal_closes", "reversal_profit_min_pct")
PARTS = ("take_1_at_pct", "take_1_share_pct", "take_2_at_pct", "take_2_share_pct")
TIME = ("hold_max_s", "hold_keep_pct")

# The table of exit presets as it is specified: trailing, reversal, parts, time.
EXITS = {
    "conservative": (("1.5", "1.0", "0.5"), ("0.5", 3, "0.8"), (2, 50, 3, 25), (7_200, "1.5")),
    "balanced": (("1.8", "1.2", "0.5"), ("0.7", 4, 0), ("2.5", 40, 0, 0), (10_800, 100)),
    "aggressive": (("2.0", "1.5", "0.5"), ("1.0", 5, 0), (3, 30, 0, 0), (14_400, 100)),
}
# The table of profiles: capital, day loss, drawdown, positions, risk a trade. No capital means no bound.
ROLL_OUT = {
    "testnet": (5_000, 5, 15, 3, "2.0"),
    "conservative": (1_000, 3, 10, 2, "1.5"),
    "scale": (10_000, 5, 15, 3, "2.0"),
    "full": (0, 5, 15, 5, "2.0"),
}
GATES = {
    "testnet": Gate(days_min=7, no_error=True, stream_hours_min=24),
    "conservative": Gate(14, no_trip=True, sharpe_above=0.5, win_rate_above_pct=45, drawdown_below_pct=10),
    "scale": Gate(14, sharpe_above=1.0, win_rate_above_pct=50, drawdown_below_pct=15),
    "full": None,
}


def chosen(file: Path | None = None, env: dict[str, str] | None = None, **flags: str) -> Loaded:
    return load(file, {name.replace("__", "."): value for name, value in flags.items()}, env or {})


def exact(*values: Any) -> tuple[Decimal, ...]:
    return tuple(Decimal(value) for value in values)


@pytest.mark.spec("EXIT-4", "EXIT-5", "EXIT-6", "EXIT-7", "CFG-1")
@pytest.mark.parametrize("name", EXITS)
def test_exit_preset_is_the_specified_row(name: str) -> None:
    exits = chosen(exits__preset=name).settings.exits
    for fields, row in zip((TRAIL, REVERSAL, PARTS, TIME), EXITS[name], strict=True):
        assert exact(*(getattr(exits, field) for field in fields)) == exact(*row), fields
    assert exits.break_even_after_r == 1


def test_every_preset_and_profile_is_in_a_table_here() -> None:
    assert EXITS.keys() == EXIT_PRESETS.keys() - {"off"}
    assert ROLL_OUT.keys() == PROFILES.keys() - {"none"}
    assert GATES.keys() == ROLL_OUT.keys()


@pytest.mark.spec("EXIT-4", "EXIT-5", "EXIT-6", "EXIT-7", "EXIT-8")
def test_engine_is_given_what_the_preset_says() -> None:
    exits = engine_settings(chosen(exits__preset="conservative").settings).exits
    assert exits.takes == (Take(Decimal(2), Decimal(50)), Take(Decimal(3), Decimal(25)))
    assert (exits.trail_activate_pct, exits.reversal_closes, exits.hold_max_ms) == (Decimal("1.5"), 3, 7_200_000)
    assert engine_settings(chosen(exits__preset="off").settings).exits.only_rests
    assert engine_settings(chosen().settings).exits.only_rests, "off is what nobody has to ask for"


@pytest.mark.spec("BRK-1")
@pytest.mark.parametrize(
    ("name", "day", "drawdown"), [("conservative", 3, 10), ("standard", 5, 15), ("aggressive", 7, 20)]
)
def test_breaker_preset_is_the_specified_pair(name: str, day: int, drawdown: int) -> None:
    breaker = chosen(breaker__preset=name).settings.breaker
    assert exact(breaker.day_loss_max_pct, breaker.drawdown_max_pct) == exact(day, drawdown)
    assert exact(breaker.rolling_loss_max_pct, breaker.week_loss_max_pct) == exact(5, 7)
    assert len(BREAKER_PRESETS) == 3


@pytest.mark.spec("MODE-4")
@pytest.mark.parametrize("name", ROLL_OUT)
def test_profile_is_the_specified_row(name: str) -> None:
    settings = chosen(profile=name).settings
    risk, breaker = settings.risk, settings.breaker
    row = (
        risk.capital_max_quote, breaker.day_loss_max_pct, breaker.drawdown_max_pct,
        risk.positions_max, risk.risk_pct_of_equity,
    )  # fmt: skip
    assert exact(*row) == exact(*ROLL_OUT[name])


@pytest.mark.spec("MODE-4")
def test_each_profile_has_its_gate_and_leads_to_the_next() -> None:
    assert {name: PROFILES[name].gate for name in GATES} == GATES
    assert [PROFILES[name].next for name in ROLL_OUT] == ["conservative", "scale", "full", None]


@pytest.mark.spec("EXIT-2", "MODE-4")
def test_conservative_profile_has_the_wider_stop_and_target() -> None:
    exits = chosen(profile="conservative").settings.exits
    assert (exits.stop_pct_of_price, exits.target_pct_of_price) == (Decimal("3.5"), Decimal(7))
    plain = chosen().settings.exits
    assert exact(plain.stop_pct_of_price, plain.target_pct_of_price) == exact(2, 4)


@pytest.mark.spec("CFG-1", "CFG-2")
def test_whatever_is_set_elsewhere_wins_over_a_preset_and_the_rest_says_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[exits]\npreset = "conservative"\ntrail_step_pct = 0.6\n')
    env = {"SUREFOOT_EXITS__TRAIL_DISTANCE_PCT": "1.1"}
    loaded = chosen(file, env, exits__trail_activate_pct="1.7")
    exits, sources = loaded.settings.exits, loaded.sources
    assert (exits.trail_activate_pct, exits.trail_distance_pct, exits.trail_step_pct) == exact("1.7", "1.1", "0.6")
    assert [sources[f"exits.{field}"] for field in TRAIL] == [
        "flag", "environment SUREFOOT_EXITS__TRAIL_DISTANCE_PCT", f"file {file}",
    ]  # fmt: skip
    assert (exits.hold_max_s, sources["exits.hold_max_s"]) == (7_200, "exits.preset conservative")
    assert sources["exits.opposite_score_min"] == "default"


@pytest.mark.spec("MODE-4", "CFG-2")
def test_profile_wins_over_a_breaker_preset_and_a_preset_may_itself_be_set_by_any_way() -> None:
    loaded = chosen(None, {"SUREFOOT_BREAKER__PRESET": "aggressive"}, profile="conservative")
    assert loaded.settings.breaker.day_loss_max_pct == 3
    assert loaded.sources["breaker.day_loss_max_pct"] == "profile conservative"
    alone = chosen(None, {"SUREFOOT_BREAKER__PRESET": "aggressive"})
    assert alone.settings.breaker.day_loss_max_pct == 7
    assert alone.sources["breaker.day_loss_max_pct"] == "breaker.preset aggressive"


@pytest.mark.parametrize("key", ["profile", "exits.preset", "breaker.preset"])
def test_unknown_preset_is_refused_with_the_names_there_are(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} = .*conservative"):
        load(None, {key: "reckless"}, {})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"exits.no_such_thing": "1"}, "exits.no_such_thing"),
        ({"exits.trail_activate_pct": "1000"}, r"exits.trail_activate_pct = .*1000.* \(exits.preset off\)"),
        ({"exits.hold_max_s": -1}, "exits.hold_max_s = -1"),
    ],
)
def test_preset_that_names_nonsense_fails_like_anybody_who_does(
    values: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.CHOICES["exits.preset"], "off", values)
    with pytest.raises(ConfigError, match=words):
        chosen(exits__preset="off")


def test_every_preset_names_settings_that_exist_and_loads() -> None:
    for key, choices in presets.CHOICES.items():
        for name in choices:
            added = filled_in({key: name})
            assert all(is_setting(each) for each in added), (key, name)
            loaded = load(None, {key: name}, {})
            assert {each for each, source in loaded.sources.items() if source == f"{key} {name}"} == set(added)
