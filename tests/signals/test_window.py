"""The bounded window of candles, and higher candles built from closed lower ones."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.signals.window import Placement, Resampler, Series, resample
from tests.signals.market import START_MS, candle, candles, columns_of, random_candles, real_candles

QUARTER_MS = INTERVAL_MS["15m"]


@pytest.mark.spec("DATA-2")
def test_the_window_keeps_the_newest_candles_in_order_and_contiguous() -> None:
    series = Series("15m", capacity=7)
    for number in range(50):
        assert series.append(candle(number, str(100 + number))) is Placement.APPENDED
        held = series.columns()
        first = max(0, number - 6)
        assert held.close.tolist() == [100.0 + at for at in range(first, number + 1)]
        assert held.open_ms.tolist() == [START_MS + at * QUARTER_MS for at in range(first, number + 1)]
        assert all(column.flags.c_contiguous for column in held)
    assert len(series) == 7


@pytest.mark.spec("DATA-2")
def test_every_column_holds_what_the_candle_had() -> None:
    series = Series("15m")
    series.append(Candle("BTCUSDT", "15m", START_MS, START_MS + 1, *map(Decimal, ("1.1", "4.4", "0.1", "2.2", "9"))))
    assert [column.tolist() for column in series.columns()] == [[START_MS], [1.1], [4.4], [0.1], [2.2], [9.0]]


@pytest.mark.spec("DATA-2")
def test_a_known_open_time_is_replaced_and_makes_no_duplicate() -> None:
    series = Series("15m", capacity=5)
    for one in candles([1, 2, 3, 4, 5, 6, 7]):
        series.append(one)
    assert series.append(candle(6, "70")) is Placement.REPLACED
    assert series.append(candle(3, "40")) is Placement.REPLACED
    assert series.columns().close.tolist() == [3, 40, 5, 6, 70]


@pytest.mark.spec("DATA-5")
def test_a_look_up_counts_as_found_when_all_that_is_wanted_is_held() -> None:
    series = Series("15m", capacity=5)
    for one in candles([1, 2, 3]):
        series.append(one)
    for count in (1, 3, 4, 6):
        series.look_up(count)
    assert (series.looked_up, series.found) == (4, 2)


@pytest.mark.spec("DATA-2")
def test_a_late_unknown_candle_is_ignored_and_counted() -> None:
    series = Series("15m", capacity=3)
    for number in (0, 1, 3, 4):
        series.append(candle(number))
    assert series.append(candle(2)) is Placement.IGNORED
    assert series.append(candle(0)) is Placement.IGNORED
    assert series.ignored == 2
    assert len(series) == 3


@pytest.mark.spec("DATA-2")
def test_a_gap_is_told_with_the_open_times_that_are_missing() -> None:
    series = Series("15m")
    assert series.gap_before(candle(9)) is None
    series.append(candle(0))
    assert series.gap_before(candle(1)) is None
    assert series.gap_before(candle(0)) is None
    assert series.gap_before(candle(4)) == (START_MS + QUARTER_MS, START_MS + 4 * QUARTER_MS)


def test_a_capacity_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity 0"):
        Series("15m", capacity=0)


@pytest.mark.spec("DATA-2")
def test_a_higher_candle_comes_when_its_last_member_closed_not_before() -> None:
    resampler = Resampler("15m", "1h")
    members = candles(["10", "30", "5", "20"])
    assert [resampler.append(one) for one in members[:3]] == [(), (), ()]
    (hour,) = resampler.append(members[3])
    ten, thirty, five, twenty = map(Decimal, ("10", "30", "5", "20"))
    assert hour == Candle("BTCUSDT", "1h", START_MS, START_MS + 3_599_999, ten, thirty, five, twenty, Decimal(4))


@pytest.mark.spec("DATA-2")
def test_an_hour_cut_by_a_halt_is_finished_by_the_next_candle_with_what_exists() -> None:
    resampler = Resampler("15m", "1h")
    resampler.append(candle(0, "10"))
    resampler.append(candle(1, "12"))
    (cut,) = resampler.append(candle(9, "11"))
    assert (cut.open_ms, cut.open, cut.close, cut.volume) == (START_MS, Decimal(10), Decimal(12), Decimal(2))
    # The next one ends its own hour and shows that the one before it is over.
    cut, whole = resampler.append(candle(15, "13"))
    assert (cut.open_ms, whole.open_ms) == (START_MS + 2 * 3_600_000, START_MS + 3 * 3_600_000)


@pytest.mark.spec("DATA-2")
def test_a_repeated_member_of_a_finished_hour_yields_the_hour_again_corrected() -> None:
    resampler = Resampler("15m", "1h")
    for one in candles(["10", "11", "12", "13"]):
        resampler.append(one)
    (hour,) = resampler.append(candle(3, "99"))
    assert (hour.open_ms, hour.close, hour.volume) == (START_MS, Decimal(99), Decimal(4))
    (hour,) = resampler.append(candle(1, "200"))
    assert (hour.high, hour.close, hour.volume) == (Decimal(200), Decimal(99), Decimal(4))
    resampler.append(candle(4))
    assert resampler.append(candle(3, "1")) == ()


def test_intervals_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="candles of 6h cannot be built from candles of 4h"):
        Resampler("4h", "6h")


@pytest.mark.spec("DATA-2")
@pytest.mark.parametrize("seed", range(5))
def test_building_from_a_history_equals_building_one_by_one(seed: int) -> None:
    given = random_candles(seed, 400, missing=0.3)
    resampler = Resampler("15m", "1h")
    built: dict[int, Candle] = {}
    counts = []
    for one in given:
        built |= {hour.open_ms: hour for hour in resampler.append(one)}
        counts.append(len(built))
    whole, finished = resample(columns_of(given), "15m", "1h")
    assert finished.tolist() == counts
    expected = columns_of(list(built.values()))
    for name, column in expected._asdict().items():
        assert np.array_equal(getattr(whole, name)[: len(built)], column), name


@pytest.mark.spec("DATA-2")
def test_hours_built_from_real_quarters_equal_the_hours_that_the_venue_sent() -> None:
    quarters = real_candles("measure/klines/spot_15m/BTCUSDT.parquet", 4_000)
    whole, finished = resample(columns_of(quarters), "15m", "1h")
    hours = columns_of(real_candles("measure/klines/spot_1h/BTCUSDT.parquet", 60_000, interval="1h"))
    at = np.searchsorted(hours.open_ms, whole.open_ms[: finished[-1]])
    assert at.size == 1_000
    for name in ("open_ms", "open", "high", "low", "close"):
        assert np.array_equal(getattr(hours, name)[at], getattr(whole, name)[: finished[-1]]), name
    assert whole.volume[: finished[-1]] == pytest.approx(hours.volume[at], rel=1e-12)


def test_an_empty_history_has_no_higher_candles() -> None:
    whole, finished = resample(columns_of([]), "15m", "1h")
    assert (whole.open_ms.size, finished.size) == (0, 0)
