"""Settings that differ in some values, made by the thousand: what is remembered changes nothing, errors included."""

from __future__ import annotations

from random import Random

import pytest

from surefoot.config import SECRETS, ConfigError, Settings, Variants, allowed, bounds_of, changed, load
from tests.test_config import fields_of

STRANGE = ("", "abc", "-1", "0", "1", "1e99", "nan", "inf", "true", "7.5", " 9 ", "1_000", "ensemble", "rsi,macd")
FIELDS = {key: field for key, field in fields_of() if "." in key and key not in SECRETS}
OWN = ("strategy.parameters.fast", "strategy.parameters.slow", "strategy.parameters")


def text_for(chance: Random, key: str) -> object:
    """A value of which one in three or so is wrong by itself, and others are beside those they meet."""
    if chance.random() < 0.25:
        return chance.choice((*STRANGE, True, 1, 1.0, 40))
    if key not in FIELDS:
        return f"{chance.randint(1, 50)}"
    if (bounds := bounds_of(key)) is not None:
        low, high = bounds
        share = chance.choice((0, 1, 2, 5, 50, 98, 100))
        value = low + (high - low) * share / 100
        return f"{round(value)}" if FIELDS[key].annotation is int else f"{value:f}"
    return chance.choice(allowed(FIELDS[key]).split(", "))


def said(make: object, values: dict[str, object]) -> Settings | str:
    assert callable(make)
    try:
        made = make(values)
    except ConfigError as problem:
        return str(problem)
    assert isinstance(made, Settings)
    return made


@pytest.mark.spec("PERF-2")
@pytest.mark.parametrize("seed", range(2))
def test_variants_are_what_changed_makes_and_refuse_in_the_same_words(seed: int) -> None:
    chance = Random(seed)
    base = load(None, {"mode": "backtest", "market.symbols": "BTCUSDT,ETHUSDT"}, {}).settings
    variants = Variants(base)
    keys = [*FIELDS, *OWN, *(key for key in FIELDS if key.startswith(("rsi.", "exits.", "risk.", "market.")))]
    refused = made = 0
    for _ in range(500):
        chosen = chance.sample(keys, chance.randint(1, 5))
        values = {key: text_for(chance, key) for key in chosen}
        if chance.random() < 0.02:
            values["rsi.perod"] = "9"
        if {"strategy.parameters", OWN[0]} <= set(values) or {"strategy.parameters", OWN[1]} <= set(values):
            values.pop("strategy.parameters")  # a table and its entries at once
        ours = said(variants.of, values)
        assert ours == said(lambda given: changed(base, given), values), values
        if isinstance(ours, Settings):
            whole = Settings.model_validate(ours.model_dump())
            assert whole == ours, "valid as a whole"
            for section in {key.partition(".")[0] for key in values}:
                for name in {key.split(".")[1] for key in values if key.startswith(f"{section}.")}:
                    kinds = [repr(getattr(getattr(each, section), name)) for each in (ours, whole)]
                    assert kinds[0] == kinds[1], "of the same type"
            made += 1
        refused += isinstance(ours, str)
    assert min(refused, made) > 80


@pytest.mark.spec("PERF-2")
def test_what_is_equal_to_a_text_that_was_accepted_is_not_accepted_for_it() -> None:
    base = load(None, {"mode": "backtest"}, {}).settings
    variants = Variants(base)
    assert variants.of({"rsi.period": "20"}).rsi.period == 20
    assert variants.of({"rsi.period": 20}).rsi.period == 20
    with pytest.raises(ConfigError, match=r"exits\.hold_max_s = true"):
        variants.of({"exits.hold_max_s": True})


@pytest.mark.spec("PERF-2")
def test_a_section_made_of_equal_texts_is_the_same_object() -> None:
    """What is made of a section is then found again without comparing all its values."""
    variants = Variants(load(None, {"mode": "backtest"}, {}).settings)
    one = variants.of({"exits.stop_pct_of_price": "3", "rsi.period": "9"})
    other = variants.of({"exits.stop_pct_of_price": "3", "rsi.period": "10"})
    assert one.exits is other.exits
    assert one.rsi is not other.rsi
    assert one.risk is other.risk
