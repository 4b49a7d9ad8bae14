"""Ensemble modes by their formulas; that dissent never helps; and what an ensemble tells about its members."""

from __future__ import annotations

from itertools import product
from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.model import Readiness, Vote
from surefoot.signals.compiled import compiled
from surefoot.signals.decision import readiness
from surefoot.signals.ensemble import MODES, Ensemble, combine_loop, combined, place
from surefoot.signals.strategy import strategy_named

NAMES = ("rsi", "macd", "bollinger", "volume")
LONG, SHORT, FLAT, SILENT = 1.0, -1.0, 0.0, nan


def ensemble(mode: str, agree_min: int = 2, weights: tuple[float, ...] = ()) -> Ensemble:
    return Ensemble(tuple(strategy_named(name) for name in NAMES), mode, weights, agree_min)


def result(of: Ensemble, *said: tuple[float, float]) -> float:
    votes = [Vote(name, None if t != t else t, s, "x") for name, (t, s) in zip(NAMES, said, strict=False)]
    votes += [Vote(name, None, 0.0, "x") for name in NAMES[len(said) :]]
    return of.result(votes)


@pytest.mark.spec("SIG-4")
def test_weighted_is_the_weighted_mean_of_those_who_have_an_opinion() -> None:
    of = ensemble("weighted", weights=(2.0, 1.0, 1.0, 1.0))
    assert result(of, (LONG, 0.9)) == pytest.approx(0.9)
    assert result(of, (LONG, 0.9), (LONG, 0.6)) == pytest.approx((1.8 + 0.6) / 3)
    assert result(of, (LONG, 0.9), (SHORT, 0.6)) == pytest.approx((1.8 - 0.6) / 3)
    assert result(of, (LONG, 0.3), (SHORT, 0.9)) == pytest.approx((0.6 - 0.9) / 3)
    assert result(of, (LONG, 0.9), (FLAT, 0.6)) == pytest.approx(1.8 / 3)
    assert result(of, (SILENT, 0.0), (LONG, 0.7), (SHORT, 0.7)) == 0


@pytest.mark.spec("SIG-4")
def test_consensus_needs_its_number_and_pays_for_those_against() -> None:
    of = ensemble("consensus", agree_min=2)
    assert result(of, (LONG, 0.9)) == 0
    assert result(of, (LONG, 0.9), (LONG, 0.5)) == pytest.approx(0.7)
    assert result(of, (SHORT, 0.9), (SHORT, 0.5)) == pytest.approx(-0.7)
    assert result(of, (LONG, 0.9), (LONG, 0.5), (SHORT, 0.1)) == pytest.approx(0.7 / 3)
    assert result(of, (LONG, 0.9), (LONG, 0.5), (SHORT, 0.1), (SHORT, 0.1)) == 0
    assert result(ensemble("consensus", agree_min=3), (LONG, 0.9), (LONG, 0.5)) == 0


@pytest.mark.spec("SIG-4")
def test_best_takes_the_highest_score_less_the_highest_against_it() -> None:
    of = ensemble("best")
    assert result(of, (LONG, 0.9), (LONG, 0.5)) == pytest.approx(0.9)
    assert result(of, (LONG, 0.9), (SHORT, 0.5), (SHORT, 0.4)) == pytest.approx(0.9 * 0.5)
    assert result(of, (LONG, 0.4), (SHORT, 0.5)) == pytest.approx(-0.5 * 0.6)
    assert result(of, (LONG, 0.9), (SHORT, 0.9)) == 0


@pytest.mark.spec("SIG-4")
def test_conservative_wants_two_and_nobody_against() -> None:
    of = ensemble("conservative")
    assert result(of, (LONG, 0.9)) == 0
    assert result(of, (LONG, 0.9), (LONG, 0.7)) == pytest.approx(0.9 * 0.8)
    assert result(of, (SHORT, 0.9), (SHORT, 0.7)) == pytest.approx(-0.9 * 0.8)
    assert result(of, (LONG, 0.9), (LONG, 0.7), (SHORT, 0.1)) == 0
    assert result(of, (LONG, 0.9), (LONG, 0.7), (FLAT, 0.1)) == 0


MEMBERS = st.lists(st.tuples(st.sampled_from((LONG, SHORT, FLAT, SILENT)), st.floats(0.01, 1)), min_size=2, max_size=6)


@pytest.mark.spec("SIG-4")
@pytest.mark.parametrize("mode", range(len(MODES)))
@given(MEMBERS, st.floats(0.01, 1), st.sampled_from((LONG, SHORT)), st.integers(1, 4))
def test_dissent_never_raises_the_score_of_a_direction(
    mode: int, said: list[tuple[float, float]], score: float, side: float, agree_min: int
) -> None:
    targets, scores = [*zip(*said, strict=True)]
    weights = tuple(1.0 + at % 3 for at in range(len(said) + 1))
    silent = combined(mode, (*targets, SILENT), (*scores, 0.0), weights, agree_min)
    for against in (-side, FLAT):
        dissenting = combined(mode, (*targets, against), (*scores, score), weights, agree_min)
        assert max(dissenting * side, 0.0) <= max(silent * side, 0.0) + 1e-12
        assert abs(dissenting) <= 1


@pytest.mark.spec("SIG-4")
def test_the_compiled_formulas_equal_the_plain_ones_bit_for_bit() -> None:
    rows = list(product((LONG, SHORT, FLAT, SILENT), repeat=4))
    scores = np.random.default_rng(1).uniform(0, 1, (len(rows), 4))
    targets, weights = np.array(rows), np.array((2.0, 1.0, 0.5, 1.0))
    for mode in range(len(MODES)):
        plain, quick = np.zeros(len(rows)), np.zeros(len(rows))
        combine_loop(mode, targets, scores, weights, 2, plain)
        compiled(combine_loop)(mode, targets, scores, weights, 2, quick)
        assert np.array_equal(plain, quick)
        assert {place(value) for value in plain} == {0, 1, 2}


@pytest.mark.spec("SIG-6")
def test_an_ensemble_is_as_ready_as_its_least_ready_member() -> None:
    of = ensemble("weighted")
    levels = {(candles, hours): readiness(of, candles, hours) for candles, hours in ((300, 34), (300, 35), (300, 105))}
    assert list(levels.values()) == [Readiness.NOT_READY, Readiness.MINIMUM, Readiness.WARM]
    assert readiness(of, 240, 175) is Readiness.BEST
    assert readiness(of, 239, 175) is Readiness.WARM  # the volume profile looks at the primary interval only
    assert readiness(strategy_named("volume"), 240, 0) is Readiness.BEST


@pytest.mark.parametrize(
    ("mode", "weights", "agree_min", "said"),
    [
        ("average", (), 2, "no mode is called 'average'; known are weighted, consensus, best, conservative"),
        ("weighted", (1.0,), 2, "4 members need as many weights, all above 0"),
        ("weighted", (1.0, 1.0, 0.0, 1.0), 2, "all above 0"),
        ("consensus", (), 5, "agree_min = 5 is outside 1 to 4 members"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    mode: str, weights: tuple[float, ...], agree_min: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ensemble(mode, agree_min, weights)
    with pytest.raises(ValueError, match="members, each of them once"):
        Ensemble((strategy_named("rsi"), strategy_named("rsi")))
