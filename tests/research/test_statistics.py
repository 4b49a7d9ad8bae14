"""How much may be luck: the papers' own examples, what must hold on noise and on an edge, and tables worked by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.research.statistics import (
    Floats,
    Moments,
    alternatives,
    deflated_sharpe,
    expected_max_sharpe,
    min_track_record,
    moments_of,
    overfitting,
    probabilistic_sharpe,
    reordered,
    resampled,
    trip_returns,
    with_missed_fills,
)

# The example of "The Deflated Sharpe Ratio" (2014): 2.5 a year over five years of 250 days, a variance of 1/2 a year.
DAYS = 250
CHOSEN = Moments(5 * DAYS, 2.5 / math.sqrt(DAYS), -3, 10)
VARIANCE = 0.5 / DAYS


def noise(seed: int, periods: int = 800, trials: int = 50) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.01, (periods, trials))


# -- Sharpe ratios ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4")
def test_the_paper_example_of_a_deflated_sharpe_ratio() -> None:
    assert expected_max_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(CHOSEN, 100, VARIANCE) == pytest.approx(0.9004, abs=5e-5)
    # With 46 trials it would have passed at 95 %; with normal returns even with 88.
    assert deflated_sharpe(CHOSEN, 46, VARIANCE) == pytest.approx(0.9505, abs=5e-5)
    assert deflated_sharpe(Moments(5 * DAYS, 2.5 / math.sqrt(DAYS), 0, 3), 88, VARIANCE) == pytest.approx(
        0.9505, abs=5e-5
    )


@pytest.mark.spec("BT-4")
def test_the_paper_example_of_a_probabilistic_sharpe_ratio() -> None:
    # "The Sharpe Ratio Efficient Frontier" (2012): 24 months of 0.458 a month.
    assert probabilistic_sharpe(Moments(24, 0.458, 0, 3)) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(Moments(24, 0.458, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.spec("BT-4")
@pytest.mark.parametrize(("periods_a_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_the_paper_example_of_a_minimum_track_record(periods_a_year: int, years: float) -> None:
    # A Sharpe ratio of 2 a year above one of 1 at 95 %, normal returns (2012).
    root = math.sqrt(periods_a_year)
    periods = min_track_record(Moments(100, 2 / root, 0, 3), 1 / root)
    assert periods is not None
    assert periods / periods_a_year == pytest.approx(years, abs=5e-3)


@given(st.floats(0.02, 0.3), st.floats(-2, 2), st.floats(5, 12))
def test_at_the_minimum_track_record_the_probability_is_the_confidence(sharpe: float, skew: float, kurt: float) -> None:
    periods = min_track_record(Moments(100, sharpe, skew, kurt), 0.01)
    assert periods is not None
    # What is asked of the formula has no whole number of periods; between the two whole ones lies the confidence.
    low, high = (probabilistic_sharpe(Moments(n, sharpe, skew, kurt), 0.01) for n in (int(periods), int(periods) + 1))
    assert low is not None
    assert high is not None
    assert low <= 0.95 + 1e-9
    assert high >= 0.95 - 1e-9


@pytest.mark.spec("BT-4")
def test_the_expected_best_of_trials_without_an_edge_is_about_what_is_drawn() -> None:
    rng = np.random.default_rng(3)
    for trials in (10, 50, 400):
        drawn = rng.normal(0, 0.3, (4_000, trials)).max(axis=1).mean()
        assert expected_max_sharpe(trials, 0.09) == pytest.approx(drawn, rel=0.04)
    assert expected_max_sharpe(1, 0.09) == 0
    assert expected_max_sharpe(7, 0.0) == 0
    with pytest.raises(ValueError, match="0 trials"):
        expected_max_sharpe(0, 0.1)


@pytest.mark.spec("BT-4")
def test_more_trials_deflate_more() -> None:
    values = [deflated_sharpe(CHOSEN, trials, VARIANCE) for trials in (1, 2, 10, 100, 10_000)]
    assert values == sorted(values, key=lambda value: -(value or 0))
    assert values[0] == probabilistic_sharpe(CHOSEN)


def test_moments_worked_by_hand() -> None:
    # 1, 1, 1, 5: mean 2, deviations -1 -1 -1 3, squares 12, cubes 24, fourth powers 84.
    moments = moments_of([1.0, 1.0, 1.0, 5.0])
    assert moments is not None
    assert moments.sharpe == pytest.approx(2 / math.sqrt(12 / 3))
    assert moments.skewness == pytest.approx((24 / 4) / (12 / 4) ** 1.5)
    assert moments.kurtosis == pytest.approx((84 / 4) / (12 / 4) ** 2)


def test_what_is_not_defined_is_none() -> None:
    assert moments_of([]) is None
    assert moments_of([0.1]) is None
    assert moments_of([0.1] * 20) is None
    assert moments_of([0.1, math.nan, 0.2]) is None
    assert min_track_record(Moments(100, 0.1, 0, 3), 0.1) is None  # no length says that it is above what it equals
    assert probabilistic_sharpe(Moments(100, 1.0, 3.0, 3.0)) is None  # 1 - 3 + 0.5 has no root


# -- overfitting ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4")
def test_on_noise_the_best_trial_is_below_the_median_half_of_the_time() -> None:
    found = [overfitting(noise(seed), np.random.default_rng(seed), blocks=8).probability for seed in range(40)]
    # One table of noise says little (its splits share their periods): the mean of 40 does.
    assert np.mean(found) == pytest.approx(0.5, abs=float(3 * np.std(found) / math.sqrt(40)))
    assert np.std(found) < 0.3


@pytest.mark.spec("BT-4")
def test_one_trial_that_is_truly_better_is_not_overfitted() -> None:
    table = noise(1, 1_600)
    table[:, 7] += 0.003  # a Sharpe ratio of 0.3 a period
    found = overfitting(table, np.random.default_rng(1))
    assert found.probability < 0.001
    assert found.loss_probability < 0.001
    assert (found.splits, found.blocks, found.trials) == (12_870, 16, 50)


@pytest.mark.spec("BT-4")
def test_splits_worked_by_hand() -> None:
    # Two blocks of two periods, three trials. First half: means 2, 1, 0, so the first trial is chosen; it is last in
    # the second half, rank 1 of 3. Second half: means 0, 1, 2 (all deviations equal): the third is chosen, last before.
    table = np.array([[3, 2, 1], [1, 0, -1], [1, 2, 3], [-1, 0, 1]], dtype=float)
    found = overfitting(table, np.random.default_rng(0), blocks=2)
    assert found.splits == 2
    assert found.logits.tolist() == pytest.approx([math.log((1 / 4) / (3 / 4))] * 2)
    assert found.probability == 1
    assert found.loss_probability == 0  # a Sharpe ratio of 0 is no loss
    assert found.slope is None  # the best were equally good


def plain_cscv(table: Floats, blocks: int) -> float:
    """The paper's steps one by one, in plain loops."""
    parts = np.split(table, blocks)
    below = 0
    ways = list(combinations(range(blocks), blocks // 2))
    for way in ways:
        inside = np.concatenate([parts[at] for at in way])
        outside = np.concatenate([parts[at] for at in range(blocks) if at not in way])
        best = int(np.argmax(inside.mean(0) / inside.std(0, ddof=1)))
        judged = outside.mean(0) / outside.std(0, ddof=1)
        rank = 1 + int((judged < judged[best]).sum())
        below += rank / (table.shape[1] + 1) <= 0.5
    return below / len(ways)


@pytest.mark.spec("BT-4")
@pytest.mark.parametrize("seed", range(5))
def test_the_fast_way_equals_the_papers_steps(seed: int) -> None:
    table = noise(seed, 60, 8)
    assert overfitting(table, np.random.default_rng(0), blocks=6).probability == pytest.approx(plain_cscv(table, 6))


def test_too_many_splits_are_drawn_and_the_seed_repeats_them() -> None:
    table = noise(2, 320)
    one, same, other = (overfitting(table, np.random.default_rng(seed), splits_max=500) for seed in (5, 5, 6))
    assert one.splits == 500
    assert one.logits.tolist() == same.logits.tolist()
    assert one.logits.tolist() != other.logits.tolist()
    whole = overfitting(table, np.random.default_rng(5))
    assert one.probability == pytest.approx(whole.probability, abs=0.1)


def test_trials_without_a_round_trip_are_neither_good_nor_bad() -> None:
    table = noise(3, 320, 10)
    table[:, :4] = 0.0
    found = overfitting(table, np.random.default_rng(0), blocks=4)
    assert np.isfinite(found.logits).all()
    idle = overfitting(np.zeros((320, 3)), np.random.default_rng(0), blocks=4)
    assert idle.logits.tolist() == [0.0] * 6  # all equal: each has the middle rank


@pytest.mark.parametrize(
    ("table", "blocks", "said"),
    [
        (np.zeros((100, 1)), 4, "two"),
        (np.zeros(100), 4, "column"),
        (np.full((100, 2), np.nan), 4, "not finite"),
        (np.zeros((100, 2)), 5, "even"),
        (np.zeros((7, 2)), 4, "too few"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused(table: Floats, blocks: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        overfitting(table, np.random.default_rng(0), blocks=blocks)


# -- other orders -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("BT-4")
def test_results_become_shares_of_the_equity_before_them() -> None:
    # 1000 + 100 = 1100, - 110 = 990, + 99 = 1089: 10 %, -10 %, 10 %.
    assert trip_returns([100, -110, 99], 1_000).tolist() == pytest.approx([0.1, -0.1, 0.1])
    assert trip_returns([], 1_000).tolist() == []
    with pytest.raises(ValueError, match="not above zero"):
        trip_returns([-1_000, 5], 1_000)


@pytest.mark.spec("BT-4")
def test_all_orders_of_three_round_trips_worked_by_hand() -> None:
    returns = np.array([0.5, -0.5, -0.2])
    found = reordered(returns, 1_000, 3_000, np.random.default_rng(0))
    # 1.5 * 0.5 * 0.8 = 0.6 whatever the order.
    assert found.final_equity == pytest.approx(600)
    # Where both losses follow each other, in 4 of 6 orders, the fall is 1 - 0.5 * 0.8 = 60 %. With the win between them
    # it is the larger loss alone, 50 %.
    falls, counts = np.unique(found.max_drawdown_pct.round(9), return_counts=True)
    assert falls.tolist() == [50, 60]
    assert counts[0] / 3_000 == pytest.approx(2 / 6, abs=0.03)
    assert found.as_dict()["loss_pct"] == 100


@pytest.mark.spec("BT-4")
def test_a_bootstrap_of_wins_and_losses_has_the_spread_of_its_binomial() -> None:
    # Two of +10 % and -10 % drawn with repetition: 1.21, 0.99 (twice as often) or 0.81.
    found = resampled(np.array([0.1, -0.1]), 100, 8_000, np.random.default_rng(0))
    ends, counts = np.unique(found.final_equity.round(9), return_counts=True)
    assert ends.tolist() == [81, 99, 121]
    assert (counts / 8_000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    assert found.as_dict()["loss_pct"] == pytest.approx(75, abs=2)


@pytest.mark.spec("BT-4")
def test_missed_fills_leave_out_as_many_as_said() -> None:
    returns = np.full(50, 0.01)
    found = with_missed_fills(returns, 1.0, 4_000, 0.3, np.random.default_rng(0))
    taken = np.log(found.final_equity) / math.log(1.01)
    assert taken.mean() == pytest.approx(35, abs=0.3)
    assert with_missed_fills(returns, 1.0, 5, 0.0, np.random.default_rng(0)).final_equity == pytest.approx(1.01**50)
    assert with_missed_fills(returns, 1.0, 5, 1.0, np.random.default_rng(0)).final_equity == pytest.approx(1)
    with pytest.raises(ValueError, match="probability"):
        with_missed_fills(returns, 1.0, 5, 1.5, np.random.default_rng(0))


@given(st.lists(st.floats(-0.9, 2), min_size=1, max_size=20), st.integers(0, 5))
def test_the_same_seed_draws_the_same_and_no_order_changes_the_end(changes: list[float], seed: int) -> None:
    returns = np.array(changes)
    one, again = (reordered(returns, 50, 20, np.random.default_rng(seed)) for _ in range(2))
    assert one.max_drawdown_pct.tolist() == again.max_drawdown_pct.tolist()
    assert one.final_equity == pytest.approx(50 * math.prod(1 + change for change in changes))
    assert ((one.max_drawdown_pct >= 0) & (one.max_drawdown_pct <= 100)).all()


def test_who_has_lost_everything_wins_nothing_back() -> None:
    found = reordered(np.array([-1.0, 0.5]), 100, 10, np.random.default_rng(0))
    assert found.final_equity.tolist() == [0] * 10
    assert found.max_drawdown_pct.tolist() == [100] * 10


def test_no_round_trips_have_no_other_orders() -> None:
    with pytest.raises(ValueError, match="at least one round trip"):
        resampled(np.array([]), 100, 10, np.random.default_rng(0))


def test_percentiles_are_in_order_and_json_can_take_them() -> None:
    said = resampled(np.array([0.1, -0.1, 0.05]), 100, 500, np.random.default_rng(0)).as_dict()
    ends = said["final_equity"]
    assert isinstance(ends, dict)
    assert list(ends) == ["p1", "p5", "p25", "p50", "p75", "p95", "p99"]
    assert list(ends.values()) == sorted(ends.values())


@pytest.mark.spec("BT-4")
def test_alternatives_of_a_result_are_the_same_for_the_same_seed_and_none_without_round_trips() -> None:
    pnl = [50.0, -40.0, 30.0, -35.0, 60.0, -20.0]
    found = alternatives(pnl, 1_000.0, 1)
    assert found == alternatives(pnl, 1_000.0, 1) != alternatives(pnl, 1_000.0, 2)
    assert found is not None
    assert found["order"]["final_equity"]["p1"] == pytest.approx(1_045.0)
    assert found["order"]["final_equity"]["p99"] == pytest.approx(1_045.0)
    assert found["missed_fills"]["final_equity"]["p1"] < 1_045.0 < found["missed_fills"]["final_equity"]["p99"]
    assert found["missed_fills"]["missed_pct"] == 5
    assert alternatives([], 1_000.0, 1) is None
    assert alternatives([-1_000.0, 5.0], 1_000.0, 1) is None
