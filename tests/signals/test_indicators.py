"""Indicators against what others computed or published, and where they have no value."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest

from surefoot.signals.indicators import before, rsi, wilder_window
from surefoot.signals.window import FloatArray
from tests.signals.market import csv_column, real_candles, shared


def greatest_difference(ours: FloatArray, theirs: FloatArray) -> float:
    """Over all values that the reference has; ours must be there as well."""
    known = ~np.isnan(theirs)
    assert known.sum() > 15
    assert not np.isnan(ours[known]).any()
    return float(np.abs(ours[known] - theirs[known]).max())


def rsi_with_exponential_start(closes: FloatArray, period: int) -> FloatArray:
    """A wrong variant that is in wide use: its averages start at zero instead of at a mean."""
    gain = loss = 0.0
    values = [np.nan]
    for change in np.diff(closes):
        gain += (max(change, 0) - gain) / period
        loss += (max(-change, 0) - loss) / period
        values.append(100 * gain / (gain + loss) if gain + loss else np.nan)
    return np.array(values)


@pytest.mark.spec("SIG-1")
def test_rsi_equals_the_spreadsheet_worked_step_by_step() -> None:
    place = shared("open/indicators/skender/excel_rsi_14.csv")
    theirs = csv_column(place, "RSI(14)")
    assert greatest_difference(rsi(csv_column(place, "close"), 14), theirs) < 1e-12
    assert greatest_difference(rsi_with_exponential_start(csv_column(place, "close"), 14), theirs) > 1


@pytest.mark.spec("SIG-1")
def test_rsi_equals_another_library_at_full_precision() -> None:
    closes = csv_column(shared("open/indicators/skender/quotes_default.csv"), "close")
    with gzip.open(shared("open/indicators/skender/json/rsi.standard.json.gz"), "rt", encoding="utf-8") as file:
        rows = json.load(file)
    theirs = np.array([np.nan if row.get("rsi") is None else row["rsi"] for row in rows], dtype=np.float64)
    assert greatest_difference(rsi(closes, 14), theirs) < 1e-9


@pytest.mark.spec("SIG-1")
def test_rsi_equals_the_published_example_and_the_known_wrong_column_does_not() -> None:
    place = shared("open/indicators/stockcharts/rsi_14.csv")
    ours, published = rsi(csv_column(place, "close"), 14), csv_column(place, "rsi_published")
    assert greatest_difference(ours, published) <= 0.005
    assert greatest_difference(csv_column(place, "rsi_unseeded_ewm_of_ta"), published) > 1


@pytest.mark.spec("SIG-1")
def test_rsi_equals_ta_lib_on_real_hours() -> None:
    frame = pl.read_parquet(shared("open/indicators/talib/BTCUSDT_1h_2023Q1.parquet"))
    assert greatest_difference(rsi(frame["close"].to_numpy(), 14), frame["rsi_14"].to_numpy()) < 1e-10


@pytest.mark.spec("SIG-1")
@pytest.mark.parametrize("count", [0, 1, 2, 13, 14])
def test_too_little_history_has_no_value(count: int) -> None:
    values = rsi(np.linspace(100.0, 120.0, count), 14)
    assert values.size == count
    assert np.isnan(values).all()


@pytest.mark.spec("SIG-1")
def test_a_flat_series_has_no_value_instead_of_reading_as_oversold() -> None:
    assert np.isnan(rsi(np.full(60, 5.0), 14)).all()


@pytest.mark.spec("SIG-1")
def test_a_flat_period_inside_a_moving_series_has_no_value_until_it_moves_again() -> None:
    moving = 100 + np.sin(np.arange(30.0))
    closes = np.concatenate((moving, np.full(20, moving[-1]), [101.0]))
    values = rsi(closes, 14)
    # The last move closed candle 29; at candle 43 the last fourteen changes are all zero for the first time.
    assert not np.isnan(values[14:43]).any()
    assert np.isnan(values[43:50]).all()
    assert not np.isnan(values[50])


@pytest.mark.spec("SIG-1")
def test_still_candles_that_are_not_a_whole_period_keep_their_value() -> None:
    closes = np.repeat(100 + np.sin(np.arange(30.0)), 10)
    assert not np.isnan(rsi(closes, 14)[14:]).any()


@pytest.mark.spec("SIG-1")
def test_tiny_prices_give_the_same_index_as_large_ones() -> None:
    closes = 100 + np.cumsum(np.random.default_rng(3).normal(size=400))
    assert greatest_difference(rsi(closes * 1e-9, 14), rsi(closes, 14)) < 1e-9


@pytest.mark.parametrize("period", [2, 7, 14, 50])
def test_where_the_window_starts_moves_no_value_by_more_than_one_in_a_trillion(period: int) -> None:
    length = wilder_window(period)
    closes = np.array([float(one.close) for one in real_candles("measure/klines/spot_15m/BTCUSDT.parquet", 12_000)])
    whole = rsi(closes, period)
    for end in range(length, closes.size, 37):
        rolling = rsi(closes[end - length : end], period)
        assert rolling[-2:] == pytest.approx(whole[end - 2 : end], rel=1e-12, abs=0, nan_ok=True)


def test_a_window_of_a_third_of_that_length_would_move_values() -> None:
    closes = np.array([float(one.close) for one in real_candles("measure/klines/spot_15m/BTCUSDT.parquet", 3_000)])
    whole, length = rsi(closes, 14), wilder_window(14) // 3
    differences = [abs(rsi(closes[end - length : end], 14)[-1] / whole[end - 1] - 1) for end in range(600, 3_000, 37)]
    assert max(differences) > 1e-9


def test_before_is_the_value_one_candle_earlier() -> None:
    assert before(np.array([1.0, 2.0, 3.0])).tolist()[1:] == [1.0, 2.0]
    assert np.isnan(before(np.array([1.0]))).all()
    assert before(np.array([])).size == 0
