"""Figures of a run against tables worked by hand, and what must hold for any run."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.model import MS_PER_DAY, ZERO, RoundTrip
from surefoot.research.metrics import (
    SHARPE_BASIS,
    Curve,
    Trips,
    cagr_pct,
    calmar,
    daily_returns,
    drawdown_curve,
    exposure_pct,
    longest_streaks,
    max_drawdown,
    measure,
    return_pct,
    sharpe,
    sortino,
    sqn,
    volatility_pct,
)

NOON_MS = MS_PER_DAY // 2
HOUR_MS = 3_600_000


def trip(pnl: str, entry_ms: int = 0, exit_ms: int = 1) -> RoundTrip:
    price = Decimal(100)
    return RoundTrip("BTCUSDT", "long", entry_ms, exit_ms, price, price, Decimal(1), "target", Decimal(pnl), ZERO)


def days(*equities: float) -> list[tuple[int, float]]:
    """One mark a day at noon."""
    return [(day * MS_PER_DAY + NOON_MS, equity) for day, equity in enumerate(equities)]


@pytest.mark.spec("PNL-3")
def test_round_trips_worked_by_hand() -> None:
    figures = measure(days(1000, 1025), [trip("30"), trip("-10"), trip("20"), trip("-15"), trip("0")], fees=3.5)
    assert figures.round_trips == 5
    assert figures.win_rate_pct == pytest.approx(40)
    assert figures.profit_factor == pytest.approx(2)  # 50 / 25
    assert figures.expectancy == pytest.approx(5)  # 25 / 5
    assert figures.average_win == pytest.approx(25)
    assert figures.average_loss == pytest.approx(-12.5)
    assert figures.return_pct == pytest.approx(2.5)
    assert figures.fees == 3.5


@pytest.mark.spec("PNL-3")
def test_what_is_not_defined_is_none_and_never_zero() -> None:
    nothing = measure([], []).as_dict()
    assert {name for name, value in nothing.items() if value is not None} == {"sharpe_basis", "round_trips"}
    only_wins = measure(days(100), [trip("1"), trip("2")])
    assert (only_wins.profit_factor, only_wins.average_loss, only_wins.return_pct) == (None, None, None)
    assert only_wins.win_rate_pct == 100
    only_losses = measure([], [trip("-1")])
    assert (only_losses.profit_factor, only_losses.average_win, only_losses.win_rate_pct) == (0, None, 0)


@pytest.mark.spec("PNL-3")
def test_the_deepest_fall_is_measured_from_its_peak_to_its_recovery() -> None:
    # From 120 to 90 is 25 %; from 200 to 160 is 20 %. 120 was left on day 1 and seen again on day 4.
    fall = max_drawdown(days(100, 120, 90, 110, 120, 200, 160, 199))
    assert fall is not None
    assert fall.depth_pct == pytest.approx(25)
    assert fall.length_ms == 3 * MS_PER_DAY


@pytest.mark.spec("PNL-3")
def test_a_fall_that_never_recovered_lasts_to_the_end() -> None:
    fall = max_drawdown(days(100, 80, 90, 70, 95))
    assert fall is not None
    assert fall.depth_pct == pytest.approx(30)
    assert fall.length_ms == 4 * MS_PER_DAY


@pytest.mark.spec("PNL-3")
def test_a_peak_that_is_reached_twice_counts_from_its_last_touch() -> None:
    fall = max_drawdown(days(100, 90, 95, 100, 50, 100))
    assert fall is not None
    assert fall.depth_pct == pytest.approx(50)
    assert fall.length_ms == 2 * MS_PER_DAY


@pytest.mark.spec("PNL-3")
def test_a_curve_that_never_fell_has_a_drawdown_of_zero_that_was_measured() -> None:
    fall = max_drawdown(days(100, 100, 101))
    assert fall is not None
    assert (fall.depth_pct, fall.length_ms) == (0, 0)


@pytest.mark.spec("PNL-3")
def test_drawdown_is_negative_percent_below_the_highest_so_far() -> None:
    assert [value for _, value in drawdown_curve(days(100, 120, 90, 120))] == pytest.approx([0, 0, -25, 0])


@pytest.mark.spec("PNL-3")
def test_sharpe_worked_by_hand() -> None:
    # The first day has no change, then +10 %, -10 %, +20 %: mean 5 %, squares 25 + 25 + 225 + 225 = 500, a third of it.
    curve = days(100, 110, 99, 118.8)
    expected = 5 / math.sqrt(500 / 3) * math.sqrt(365)
    assert sharpe(curve) == pytest.approx(expected, rel=1e-9)
    assert "365 days a year" in SHARPE_BASIS
    assert measure(curve, []).sharpe_basis == SHARPE_BASIS


@pytest.mark.spec("PNL-3")
def test_sharpe_uses_the_last_mark_of_each_day_however_many_there_are() -> None:
    few = days(100, 110, 99, 118.8)
    noise = [(at_ms - 60_000 * step, 104.0) for at_ms, _ in few[1:] for step in (1, 2, 3)]
    assert sharpe(sorted([*few, *noise])) == pytest.approx(sharpe(few))


@pytest.mark.spec("PNL-3")
def test_a_mark_at_midnight_ends_its_day_just_as_the_millisecond_before_it() -> None:
    equities = (100.0, 110.0, 99.0, 118.8)
    sharp = [(day * MS_PER_DAY, equity) for day, equity in enumerate(equities)]
    before = [(max(at_ms - 1, 0), equity) for at_ms, equity in sharp]
    assert sharpe(sharp) == pytest.approx(sharpe(before))
    # Three returns of 10, -10 and 20 %: mean 20/3, squares 100/9 + 2500/9 + 1600/9 = 4200/9, half of it.
    assert sharpe(sharp) == pytest.approx(20 / 3 / math.sqrt(4200 / 18) * math.sqrt(365), rel=1e-9)


@pytest.mark.spec("PNL-3")
def test_days_without_a_mark_count_as_days_without_change() -> None:
    gap = [(NOON_MS, 100.0), (NOON_MS + 3 * MS_PER_DAY, 110.0)]
    assert sharpe(gap) == pytest.approx(sharpe(days(100, 100, 100, 110)))


@pytest.mark.spec("PNL-3")
@pytest.mark.parametrize("curve", [[], days(100), days(100, 100, 100), [(0, 100.0), (1, 110.0)], days(0, 1, 2)])
def test_sharpe_is_none_without_two_days_or_without_any_change(curve: list[tuple[int, float]]) -> None:
    assert sharpe(curve) is None


@pytest.mark.spec("PNL-3")
def test_equal_returns_have_no_sharpe_though_their_last_digits_differ() -> None:
    curve = [(day * MS_PER_DAY, 100 * 1.01**day) for day in range(50)]
    assert sharpe(curve) is None


def test_without_money_at_the_start_there_is_no_return() -> None:
    assert return_pct(days(0, 10)) is None
    assert max_drawdown(days(0, 10)) is None


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        ([(5, 1.0), (4, 1.0)], "goes back from 5 to 4"),
        ([(5, math.nan)], "equity at 5 is not finite"),
        ([(5, 1.0), (6, math.inf)], "equity at 6 is not finite"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(curve: list[tuple[int, float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measure(curve, [])


# -- figures of the curve, worked by hand -----------------------------------------------------------------------------


@pytest.mark.spec("PNL-3")
def test_growth_a_year_worked_by_hand() -> None:
    # 1000 becomes 1210 in two years of 365 days: the root of 1.21 is 1.1.
    assert cagr_pct([(0, 1000.0), (730 * MS_PER_DAY, 1210.0)]) == pytest.approx(10)
    # 1000 becomes 1100 in 73 days, a fifth of a year: 1.1 ** 5 = 1.61051.
    assert cagr_pct([(0, 1000.0), (73 * MS_PER_DAY, 1100.0)]) == pytest.approx(61.051)
    assert cagr_pct([(0, 1000.0), (73 * MS_PER_DAY, 0.0)]) == -100


@pytest.mark.spec("PNL-3")
@pytest.mark.parametrize(
    "curve",
    [
        [],
        [(0, 100.0)],
        [(0, 100.0), (MS_PER_DAY - 1, 101.0)],  # less than a day says nothing of a year
        [(0, 0.0), (MS_PER_DAY, 1.0)],
        [(0, 100.0), (MS_PER_DAY, -1.0)],
        [(0, 1.0), (MS_PER_DAY, 1e10)],  # 1e10 ** 365 is more than a float holds
    ],
)
def test_growth_a_year_is_none_where_it_is_not_defined(curve: list[tuple[int, float]]) -> None:
    assert cagr_pct(curve) is None


@pytest.mark.spec("PNL-3")
def test_volatility_worked_by_hand() -> None:
    # No change, +10 %, -10 %, +20 %: mean 5 %, squares 25 + 25 + 225 + 225 = 500, a third of it, a year of 365 days.
    assert volatility_pct(days(100, 110, 99, 118.8)) == pytest.approx(math.sqrt(500 / 3 * 365), rel=1e-9)
    assert volatility_pct(days(100, 100, 100)) == 0  # measured, and it is 0
    assert volatility_pct(days(100)) is None


@pytest.mark.spec("PNL-3")
def test_sortino_divides_by_the_number_of_all_returns() -> None:
    # No change, +10 %, -10 %, +20 %: mean 5 %; the one loss squared is 100, over all four 25, its root 5.
    assert sortino(days(100, 110, 99, 118.8)) == pytest.approx(5 / 5 * math.sqrt(365), rel=1e-9)


@pytest.mark.spec("PNL-3")
@pytest.mark.parametrize("curve", [days(100, 110, 120), days(100), [], days(0, 1, 2)])
def test_sortino_is_none_where_no_day_lost(curve: list[tuple[int, float]]) -> None:
    assert sortino(curve) is None


@pytest.mark.spec("PNL-3")
def test_calmar_worked_by_hand() -> None:
    # 10 % a year for two years, and on the way from 1200 to 960, which is 20 %: 10 / 20.
    curve = [(0, 1000.0), (200 * MS_PER_DAY, 1200.0), (300 * MS_PER_DAY, 960.0), (730 * MS_PER_DAY, 1210.0)]
    assert calmar(curve) == pytest.approx(0.5)
    assert calmar([(0, 1000.0), (730 * MS_PER_DAY, 1210.0)]) is None  # it never fell


@pytest.mark.spec("PNL-3")
def test_exposure_is_the_share_of_time_with_a_position_and_counts_two_at_once_only_once() -> None:
    curve = [(0, 1000.0), (100, 1000.0)]
    # 10-30 and 20-40 cover 10-40; 22-25 lies within; 90-120 reaches beyond the end: 30 + 10 of 100.
    trips = [trip("1", 20, 40), trip("1", 10, 30), trip("1", 22, 25), trip("1", 90, 120)]
    assert exposure_pct(curve, trips) == pytest.approx(40)
    # A position that is held since 60 and still open at the end covers 60-100: 30 + 40.
    assert exposure_pct(curve, trips, [60]) == pytest.approx(70)
    assert exposure_pct(curve, []) == 0
    assert exposure_pct([(0, 1000.0)], trips) is None


# -- figures of the round trips, worked by hand -----------------------------------------------------------------------

TABLE = [
    # entry at hour, exit at hour, result
    trip("30", 0, 1 * HOUR_MS),
    trip("10", 1 * HOUR_MS, 3 * HOUR_MS),
    trip("-10", 3 * HOUR_MS, 4 * HOUR_MS),
    trip("-20", 4 * HOUR_MS, 8 * HOUR_MS),
    trip("-5", 8 * HOUR_MS, 9 * HOUR_MS),
    trip("0", 9 * HOUR_MS, 10 * HOUR_MS),
    trip("20", 10 * HOUR_MS, 12 * HOUR_MS),
    trip("15", 12 * HOUR_MS, 20 * HOUR_MS),
]


@pytest.mark.spec("PNL-3")
def test_a_table_of_round_trips_worked_by_hand() -> None:
    figures = measure([(0, 1000.0), (25 * HOUR_MS, 1040.0)], TABLE, slippage=1.5, funding=-0.25)
    # Wins 30, 10, 20, 15: sum 75, mean 18.75. Losses 10, 20, 5: sum 35, mean 11 2/3. All eight: 40, mean 5.
    assert figures.profit_factor == pytest.approx(75 / 35)
    assert figures.payoff_ratio == pytest.approx(18.75 / (35 / 3))
    assert figures.expectancy == pytest.approx(5)
    assert (figures.largest_win, figures.largest_loss) == (30, -20)
    assert (figures.longest_wins, figures.longest_losses) == (2, 3)  # 30 10 | -10 -20 -5 | 0 | 20 15
    # Hours: 1, 2, 1, 4, 1, 1, 2, 8: sum 20, mean 2.5; sorted 1 1 1 1 2 2 4 8, in the middle 1 and 2.
    assert figures.duration_mean_ms == 2.5 * HOUR_MS
    assert figures.duration_median_ms == 1.5 * HOUR_MS
    assert figures.exposure_pct == pytest.approx(80)  # 20 of 25 hours
    assert (figures.slippage, figures.funding, figures.fees) == (1.5, -0.25, None)


@pytest.mark.spec("PNL-3")
def test_system_quality_number_worked_by_hand() -> None:
    # Mean 5; squares 625 25 225 625 100 25 225 100 = 1950, over 7; the root of 8 times 5 over that deviation.
    assert measure([], TABLE).sqn == pytest.approx(math.sqrt(8) * 5 / math.sqrt(1950 / 7))
    assert sqn(np.array([1.0])) is None
    assert sqn(np.array([2.0, 2.0, 2.0])) is None
    # Of 400 round trips of +3 and -1 only 100 count: 10 times the mean 1, over a deviation of the root of 1600 / 399.
    assert sqn(np.array([3.0, -1.0] * 200)) == pytest.approx(10 / math.sqrt(1600 / 399))


@pytest.mark.spec("PNL-3")
def test_streaks_follow_the_order_of_the_ends_whatever_order_the_round_trips_are_given_in() -> None:
    assert longest_streaks(TABLE[::-1]) == longest_streaks(TABLE) == (2, 3)
    assert longest_streaks([trip("1"), trip("2")]) == (2, 0)
    assert longest_streaks([]) is None


@dataclass(frozen=True, slots=True)
class Watched:
    """A round trip that knows how far it ran for and against us."""

    entry_ms: int
    exit_ms: int
    pnl: float
    mfe_pct: float | None
    mae_pct: float | None


@pytest.mark.spec("PNL-3")
def test_excursions_are_told_only_where_every_round_trip_carries_them() -> None:
    seen = [Watched(0, 1, 5.0, 4.0, -1.0), Watched(1, 2, -3.0, 1.0, -2.5)]
    assert (measure([], seen).mfe_pct, measure([], seen).mae_pct) == (2.5, -1.75)
    unseen = [*seen, Watched(2, 3, 1.0, None, -1.0)]
    assert (measure([], unseen).mfe_pct, measure([], unseen).mae_pct) == (None, -1.5)
    assert (measure([], TABLE).mfe_pct, measure([], TABLE).mae_pct) == (None, None)


@pytest.mark.spec("PNL-3")
def test_without_round_trips_their_figures_are_none() -> None:
    figures = measure(days(100, 90, 95), []).as_dict()
    of_trips = ("win_rate_pct", "profit_factor", "payoff_ratio", "expectancy", "sqn", "average_win", "average_loss")
    more = ("largest_win", "largest_loss", "longest_wins", "longest_losses", "duration_mean_ms", "duration_median_ms")
    assert {figures[name] for name in (*of_trips, *more)} == {None}
    assert figures["exposure_pct"] == 0  # it is known that nothing was held


def test_a_round_trip_whose_end_was_told_before_its_start_took_no_time() -> None:
    assert measure([], [trip("1", 10, 8), trip("1", 10, 14)]).duration_mean_ms == 2


# -- what must hold for any run ---------------------------------------------------------------------------------------

EQUITIES = st.lists(st.floats(1, 1_000), min_size=2, max_size=30)
RESULTS = st.lists(st.integers(-5, 5), min_size=1, max_size=40)
SPANS = st.lists(st.tuples(st.integers(-5, 40), st.integers(0, 15)), max_size=12)


@pytest.mark.spec("PNL-3")
@given(EQUITIES, st.integers(-3, 3))
def test_what_is_a_ratio_does_not_change_with_the_size_of_the_account(equities: list[float], power: int) -> None:
    small, large = days(*equities), days(*(equity * 2.0**power for equity in equities))  # exact in binary
    for figure in (return_pct, cagr_pct, volatility_pct, sharpe, sortino, calmar, max_drawdown):
        assert figure(small) == figure(large)


@pytest.mark.spec("PNL-3")
@given(EQUITIES)
def test_the_deepest_fall_is_the_worst_of_all_pairs_of_moments(equities: list[float]) -> None:
    fall = max_drawdown(days(*equities))
    pairs = [(1 - low / high) for at, high in enumerate(equities) for low in equities[at:]]
    assert fall is not None
    assert fall.depth_pct == pytest.approx(100 * max(0.0, *pairs))
    assert 0 <= fall.length_ms <= (len(equities) - 1) * MS_PER_DAY
    assert -fall.depth_pct == pytest.approx(min(value for _, value in drawdown_curve(days(*equities))))


@pytest.mark.spec("PNL-3")
@given(EQUITIES)
def test_the_daily_returns_multiply_to_the_whole_return(equities: list[float]) -> None:
    curve = days(*equities)
    returns, whole = daily_returns(curve), return_pct(curve)
    assert returns is not None
    assert whole is not None
    assert math.prod(1 + change for change in returns) == pytest.approx(1 + whole / 100)


@pytest.mark.spec("PNL-3")
@given(SPANS)
def test_exposure_equals_counting_every_millisecond(spans: list[tuple[int, int]]) -> None:
    held = [any(start <= at < start + length for start, length in spans) for at in range(30)]
    trips = [trip("1", start, start + length) for start, length in spans]
    assert exposure_pct([(0, 1.0), (30, 1.0)], trips) == pytest.approx(100 * sum(held) / 30)


@pytest.mark.spec("PNL-3")
@given(RESULTS)
def test_the_figures_of_round_trips_agree_with_each_other_and_with_plain_counting(results: list[int]) -> None:
    figures = measure([], [trip(str(result), at, at + 1) for at, result in enumerate(results)])
    runs = [(sign, len(list(run))) for sign, run in groupby(results, key=lambda result: (result > 0) - (result < 0))]
    assert figures.longest_wins == max((length for sign, length in runs if sign > 0), default=0)
    assert figures.longest_losses == max((length for sign, length in runs if sign < 0), default=0)
    assert figures.expectancy is not None
    assert figures.win_rate_pct is not None
    assert figures.expectancy * len(results) == pytest.approx(sum(results))
    if figures.profit_factor is not None:
        assert (figures.profit_factor > 1) == (sum(results) > 0)
    if figures.payoff_ratio is not None and figures.profit_factor is not None:
        lost = sum(result < 0 for result in results)
        won = sum(result > 0 for result in results)
        assert figures.payoff_ratio * won / lost == pytest.approx(figures.profit_factor)


@given(RESULTS, EQUITIES)
def test_columns_give_the_figures_that_rows_give(results: list[int], equities: list[float]) -> None:
    rows = [trip(str(result), at, at + 2) for at, result in enumerate(results)]
    at = np.arange(len(results), dtype=np.int64)
    columns = Trips(at, at + 2, np.array(results, dtype=np.float64))
    times = np.array([at_ms for at_ms, _ in days(*equities)], dtype=np.int64)
    assert measure(Curve(times, np.array(equities)), columns) == measure(days(*equities), rows)


@pytest.mark.spec("PNL-3")
def test_a_hundred_thousand_points_and_round_trips_take_a_moment() -> None:
    rng = np.random.default_rng(1)
    steps = (1 + rng.normal(0, 1e-3, 100_000)).cumprod().tolist()
    curve = [(at * 900_000, 1_000 * step) for at, step in enumerate(steps)]
    trips: Sequence[RoundTrip] = [
        trip(f"{pnl:.2f}", at * 900_000, (at + 1) * 900_000) for at, pnl in enumerate(rng.normal(0, 5, 100_000))
    ]
    began_s = time.process_time()
    figures = measure(curve, trips)
    assert time.process_time() - began_s < 3  # some 0.2 s on an idle desk
    assert figures.round_trips == 100_000
    assert figures.exposure_pct == pytest.approx(100)
