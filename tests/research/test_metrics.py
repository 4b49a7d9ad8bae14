"""Figures of a run against tables worked by hand."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from surefoot.core.model import MS_PER_DAY, ZERO, RoundTrip
from surefoot.research.metrics import SHARPE_BASIS, drawdown_curve, max_drawdown, measure, return_pct, sharpe

NOON_MS = MS_PER_DAY // 2


def trip(pnl: str) -> RoundTrip:
    price = Decimal(100)
    return RoundTrip("BTCUSDT", "long", 0, 1, price, price, Decimal(1), "target", Decimal(pnl), ZERO)


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
