"""What can be searched: how it is written, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from surefoot.config import ConfigError, changed, load
from surefoot.research.evaluation import Refused
from surefoot.research.plateau import neighbours, plateau_map
from surefoot.research.samplers import METHODS, sampler_of
from surefoot.research.space import Point, space_of

pytestmark = pytest.mark.spec("BT-4")

WORDS = ("rsi.period=5:30:5", "exits.stop_pct_of_price=1:2:0.25", "market.interval=15m,1h")


def values_of(text: str) -> tuple[str, ...]:
    return space_of([text], "rsi").dimensions[0].values


def test_a_range_is_cut_into_steps_that_are_exact_text() -> None:
    assert values_of("rsi.period=5:30:10") == ("5", "15", "25")
    assert values_of("exits.stop_pct_of_price=1:1.3:0.1") == ("1", "1.1", "1.2", "1.3")
    assert values_of("market.interval=15m,1h") == ("15m", "1h")


def test_without_a_step_whole_numbers_go_by_one_and_others_by_a_power_of_ten() -> None:
    assert values_of("rsi.period=5:8") == ("5", "6", "7", "8")
    stops = values_of("exits.stop_pct_of_price=1:5")
    assert (stops[0], stops[1], stops[-1], len(stops)) == ("1", "1.01", "5", 401)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rsi.period=5:300", "2 to 100"),
        ("rsi.period=5:30:0.5", "step"),
        ("rsi.period=30:5", "FROM below TO"),
        ("rsi.period=a:b", "numbers"),
        ("rsi.period", "KEY=FROM:TO"),
        ("rsi.perod=5:30", "rsi.period"),
        ("market.interval=15m,16m", "1m, 3m"),
        ("market.interval=1:5", "15m"),
        ("costs.slippage_bps=0:1", "cannot|not a decision"),
        ("paper.balance_usdt=100:1000", "not a decision"),
        ("market.symbols=BTCUSDT", "not a decision"),
        ("api_key=x", "not a decision"),
        ("exits.stop_pct_of_price=1:5:0.0001", "values"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space_of([text], "rsi")


def test_a_space_from_a_file_is_that_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        '[space]\n"rsi.period" = "5:30:5"\nexits.stop_pct_of_price = "1:2:0.25"\nmarket.interval = ["15m", "1h"]\n'
    )
    assert space_of([str(file)], "rsi").digest == space_of(WORDS, "rsi").digest
    assert space_of(WORDS[:2], "rsi").digest != space_of(WORDS, "rsi").digest


def test_the_default_space_has_every_parameter_of_the_strategy_with_stop_and_target() -> None:
    keys = {dimension.key for dimension in space_of((), "rsi").dimensions}
    assert {"rsi.period", "rsi.oversold", "exits.stop_pct_of_price", "exits.target_pct_of_price"} <= keys


def test_a_grid_has_every_point_once_and_needs_its_steps() -> None:
    points = sampler_of("grid", space_of(WORDS, "rsi"), seed=1, trials=100).ask(100)
    assert len({tuple(point.items()) for point in points}) == len(points) == 6 * 5 * 2
    with pytest.raises(ConfigError, match="60 points"):
        sampler_of("grid", space_of(WORDS, "rsi"), seed=1, trials=59)
    with pytest.raises(ConfigError, match="step"):
        sampler_of("grid", space_of(["exits.stop_pct_of_price=1:2"], "rsi"), seed=1, trials=1000)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "grid"])
def test_the_same_seed_asks_for_the_same_points(method: str) -> None:
    def asked(seed: int) -> list[Point]:
        sampler, points = sampler_of(method, space_of(WORDS, "rsi"), seed, 40), []
        for _ in range(5):
            batch = sampler.ask(8)
            sampler.tell([Refused("a reason"), None, *(-abs(int(point["rsi.period"]) - 20) for point in batch[2:])])
            points += batch
        return points

    assert asked(3) == asked(3)
    assert asked(3) != asked(4)


def test_a_model_finds_what_chance_seldom_does() -> None:
    space = space_of(["rsi.period=2:100", "exits.stop_pct_of_price=1:8"], "rsi")

    def best(method: str) -> float:
        sampler, scores = sampler_of(method, space, 1, 96), []
        for _ in range(6):
            points = sampler.ask(16)
            told = [-abs(int(p["rsi.period"]) - 60) / 10 - abs(float(p["exits.stop_pct_of_price"]) - 5) for p in points]
            sampler.tell(told)
            scores += told
        return sum(sorted(scores)[-20:]) / 20

    assert best("tpe") > best("random")
    assert best("cmaes") > best("random")


def test_cmaes_needs_two_ranges() -> None:
    with pytest.raises(ConfigError, match="two ranges"):
        sampler_of("cmaes", space_of(["rsi.period=2:100"], "rsi"), 1, 10)


def test_the_map_shows_the_two_settings_that_scores_depend_on() -> None:
    space = space_of(["risk.risk_pct_of_equity=1:2:0.5", "rsi.period=5:30:5", "exits.stop_pct_of_price=1:4:1"], "rsi")
    scored = [(p, float(p["rsi.period"]) + float(p["exits.stop_pct_of_price"])) for p in space.grid()]
    told = plateau_map(space, scored)
    assert (told["x"], told["y"]) == ("rsi.period", "exits.stop_pct_of_price")
    assert told["x_values"] == ["5", "10", "15", "20", "25", "30"]
    assert told["scores"][1][2] == 15 + 2
    assert [part["trials"] for part in told["dimensions"]["rsi.period"]] == [12] * 6
    assert plateau_map(space, scored[:1])["scores"][0][1] is None
    assert plateau_map(space, []) == {}


def test_neighbours_move_one_setting_each_and_stay_in_the_range() -> None:
    space = space_of(["rsi.period=5:30:5", "exits.stop_pct_of_price=1:2:0.5", "market.interval=15m,1h"], "rsi")
    near = neighbours(space, {"rsi.period": "5", "exits.stop_pct_of_price": "1.5", "market.interval": "1h"})
    assert [(p["rsi.period"], p["exits.stop_pct_of_price"]) for p in near] == [("10", "1.5"), ("5", "1"), ("5", "2")]


OWN = Path(__file__).parents[2] / "examples" / "ma_cross.py"


def test_the_parameters_of_a_strategy_of_ones_own_are_searched_in_their_ranges() -> None:
    space = space_of((), str(OWN))
    values = {dimension.key: dimension.values for dimension in space.dimensions}
    assert values["strategy.parameters.fast"] == tuple(map(str, range(2, 101)))
    base = load(None, {"strategy.name": str(OWN)}, {}).settings
    chosen = changed(base, {"strategy.parameters.fast": "9", "strategy.parameters.slow": "21"})
    assert dict(chosen.strategy.parameters) == {"fast": 9, "slow": 21}
    for word, told in (("fast=1:9", "2 to 100 candles"), ("fast=2.5", "whole number"), ("quick=1:9", "fast, slow")):
        with pytest.raises(ConfigError, match=told):
            space_of([f"strategy.parameters.{word}"], str(OWN))
    with pytest.raises(ConfigError, match="is built in"):
        space_of(["strategy.parameters.period=5:9"], "rsi")


def test_parameters_of_strategies_that_are_not_chosen_are_left_out() -> None:
    space = space_of(["rsi.period=5,6", "macd.fast_candles=8,9", "strategy.name=rsi,macd,ensemble"], "rsi")
    keys = {(point["strategy.name"], *sorted(point)[:-1]) for point in space.grid()}
    assert keys == {
        ("rsi", "rsi.period"),
        ("macd", "macd.fast_candles"),
        ("ensemble", "macd.fast_candles", "rsi.period"),
    }


def test_an_ensemble_has_a_space_by_default() -> None:
    assert "ensemble.mode" in {dimension.key for dimension in space_of((), "ensemble").dimensions}


def test_only_what_changes_is_validated_but_all_that_must_fit_together_is() -> None:
    base = load(None, {}, {}).settings
    assert (
        changed(base, {"rsi.period": "9", "exits.stop_pct_of_price": "3"})
        == load(None, {"rsi.period": "9", "exits.stop_pct_of_price": "3"}, {}).settings
    )
    with pytest.raises(ConfigError, match=r'rsi.period = "1" \(chosen\): allowed is a whole number from 2'):
        changed(base, {"rsi.period": "1"})
    with pytest.raises(ConfigError, match="must lie outside"):
        changed(base, {"rsi.extreme_low": "40"})
    with pytest.raises(ConfigError, match="unknown key"):
        changed(base, {"rsi.perod": "9"})
