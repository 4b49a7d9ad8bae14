"""Indicators against what others computed or published, where they have no value, and how far back they reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from surefoot.signals.check import first
from surefoot.signals.compiled import compiled
from surefoot.signals.indicators import (
    adx,
    adx_window,
    atr,
    before,
    bollinger,
    bollinger_window,
    ema,
    ema_window,
    macd,
    macd_window,
    obv_change,
    obv_change_window,
    rolling_mean,
    rsi,
    sma,
    sma_window,
    stochastic,
    up_share,
    up_share_window,
    wilder_window,
)
from surefoot.signals.kernels import (
    point_of_control,
    point_of_control_window,
    profile_loop,
    supertrend,
    supertrend_loop,
    supertrend_window,
)
from surefoot.signals.window import Columns, FloatArray, newest
from tests.signals.market import columns_of, random_candles, real_candles
from tests.signals.references import Reference, controls, references

REAL = "measure/klines/spot_15m/BTCUSDT.parquet"

# Name, all arrays of an indicator over candles, and its window.
INDICATORS: list[tuple[str, Callable[[Columns], tuple[FloatArray, ...]], int]] = [
    ("sma", lambda c: (sma(c.close, 20),), sma_window(20)),
    ("rolling mean", lambda c: (rolling_mean(c.volume, 20),), 20),
    ("ema", lambda c: (ema(c.close, 26),), ema_window(26)),
    ("rsi", lambda c: (rsi(c.close, 14),), wilder_window(14)),
    # A histogram is a difference of nearly equal prices: its precision is that of a price.
    ("macd", lambda c: tuple((array + c.close) for array in macd(c.close, 12, 26, 9)), macd_window(26, 9)),
    ("bollinger", lambda c: bollinger(c.close, 20, 2.0), bollinger_window(20)),
    ("atr", lambda c: (atr(c.high, c.low, c.close, 14),), wilder_window(14)),
    ("stochastic", lambda c: tuple(100 + array for array in stochastic(c.high, c.low, c.close, 14, 3)), 19),
    ("adx", lambda c: (adx(c.high, c.low, c.close, 14),), adx_window(14)),
    ("obv change", lambda c: (obv_change(c.close, c.volume, 20),), obv_change_window(20)),
    ("up share", lambda c: (up_share(c.open, c.close, c.volume, 20),), up_share_window(20)),
    (
        "point of control",
        lambda c: (point_of_control(c.high, c.low, c.close, c.volume, 48, 24),),
        point_of_control_window(48),
    ),
    ("supertrend", lambda c: supertrend(c.high, c.low, c.close, 10, 3.0), supertrend_window(10)),
]
by_name = pytest.mark.parametrize(("name", "arrays", "window"), INDICATORS, ids=[one[0] for one in INDICATORS])


@pytest.mark.spec("SIG-1")
@pytest.mark.parametrize("reference", list(references()), ids=lambda one: f"{one.indicator}, {one.table}")
def test_indicator_equals_the_published_table(reference: Reference) -> None:
    assert reference.difference()[1] <= reference.allowed


@pytest.mark.spec("SIG-1")
@pytest.mark.parametrize("control", list(controls()), ids=lambda one: one.indicator)
def test_a_wrong_variant_does_not_equal_the_published_table(control: Reference) -> None:
    assert control.difference()[1] > 100 * control.allowed or control.difference()[1] > 0.05


@pytest.mark.spec("SIG-1")
@by_name
def test_where_the_window_of_an_indicator_starts_moves_no_value(
    name: str, arrays: Callable[[Columns], tuple[FloatArray, ...]], window: int
) -> None:
    columns = columns_of(real_candles(REAL, 8_000)[-4_500:])
    whole = arrays(columns)
    for end in range(window + 1, columns.close.size, 61):
        rolling = arrays(newest(first(columns, end), window))
        for ours, theirs in zip(rolling, whole, strict=True):
            assert ours[-1] == pytest.approx(theirs[end - 1], rel=1e-12, abs=0, nan_ok=True)


@pytest.mark.spec("SIG-1")
@by_name
@pytest.mark.parametrize("count", [0, 1, 2, 7, 14])
def test_too_little_history_or_a_flat_market_has_no_value_and_raises_nothing(
    name: str, arrays: Callable[[Columns], tuple[FloatArray, ...]], window: int, count: int
) -> None:
    assert all(array.size == count for array in arrays(columns_of(random_candles(1, count))))
    fives = np.full(80, 5.0)
    flat = Columns(np.arange(80), fives, fives, fives, fives, np.zeros(80))
    values = arrays(flat)
    if name in ("rsi", "atr", "stochastic", "adx", "up share", "point of control", "supertrend"):
        assert all(np.isnan(array).all() for array in values)
    if name == "bollinger":
        assert not np.isnan(values[0][19:]).any()
        assert np.isnan(values[1:]).all()


@pytest.mark.spec("SIG-1")
def test_a_flat_stretch_has_no_value_for_as_long_as_it_is_all_that_an_indicator_sees() -> None:
    moving = 100 + np.sin(np.arange(40.0))
    closes = np.concatenate((moving, np.full(30, moving[-1]), 100 + np.cos(np.arange(20.0))))
    highs, lows = closes + (closes != moving[-1]), closes - (closes != moving[-1])
    k, d = stochastic(highs, lows, closes, 14, 3)
    # Candles 39 to 69 stand still, so that the range of fourteen is zero from candle 52 to 69.
    assert np.flatnonzero(np.isnan(k[20:])).tolist() == list(range(52 - 20, 72 - 20))
    assert np.flatnonzero(np.isnan(d[20:])).tolist() == list(range(52 - 20, 74 - 20))
    position = bollinger(closes, 20, 2.0).position
    assert np.flatnonzero(np.isnan(position[20:])).tolist() == list(range(58 - 20, 70 - 20))


@pytest.mark.spec("SIG-1")
@pytest.mark.parametrize("seed", range(3))
def test_the_point_of_control_is_the_fullest_bin_of_a_plain_histogram(seed: int) -> None:
    columns = columns_of(random_candles(seed, 200, still=0.2))
    values = point_of_control(columns.high, columns.low, columns.close, columns.volume, 48, 24)
    typical = (columns.high + columns.low + columns.close) / 3
    for at in range(47, 200):
        seen = slice(at - 47, at + 1)
        weights, edges = np.histogram(typical[seen], bins=24, weights=columns.volume[seen])
        fullest = np.flatnonzero(weights >= weights.max() - 1e-9)
        # numpy puts a price on the edge of two bins into the one above; rounding may put it into the one below.
        assert min(abs(values[at] - (edges[one] + edges[one + 1]) / 2) for one in fullest) <= edges[1] - edges[0]


@pytest.mark.spec("SIG-1")
def test_compiled_loops_equal_plain_ones_bit_for_bit() -> None:
    columns = columns_of(random_candles(3, 700, still=0.1))
    typical = (columns.high + columns.low + columns.close) / 3
    plain, quick = np.full(700, np.nan), np.full(700, np.nan)
    profile_loop(typical, columns.volume, 48, np.zeros(24), plain)
    compiled(profile_loop)(typical, columns.volume, 48, np.zeros(24), quick)
    assert np.array_equal(plain, quick, equal_nan=True)
    distance = 3 * atr(columns.high, columns.low, columns.close, 10)
    lines = [np.full(700, np.nan) for _ in range(4)]
    supertrend_loop(typical, columns.close, distance, lines[0], lines[1])
    compiled(supertrend_loop)(typical, columns.close, distance, lines[2], lines[3])
    assert np.array_equal(lines[:2], lines[2:], equal_nan=True)


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
    assert rsi(closes * 1e-9, 14) == pytest.approx(rsi(closes, 14), abs=1e-9, nan_ok=True)


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


@pytest.mark.spec("SIG-1")
def test_a_few_windows_summed_one_by_one_equal_many_summed_at_once_bit_for_bit() -> None:
    columns = columns_of(real_candles(REAL, 8_000)[-1_000:])
    means, bands = rolling_mean(columns.volume, 20), bollinger(columns.close, 20, 2.0)
    for end in range(22, columns.close.size):
        few = newest(first(columns, end), 21)
        assert rolling_mean(few.volume, 20)[-2:].tolist() == means[end - 2 : end].tolist()
        for ours, theirs in zip(bollinger(few.close, 20, 2.0), bands, strict=True):
            assert np.array_equal(ours[-2:], theirs[end - 2 : end], equal_nan=True)


def test_before_is_the_value_one_candle_earlier() -> None:
    assert before(np.array([1.0, 2.0, 3.0])).tolist()[1:] == [1.0, 2.0]
    assert np.isnan(before(np.array([1.0]))).all()
    assert before(np.array([])).size == 0


@pytest.mark.spec("PERF-6")
def test_who_computes_indicators_does_not_load_polars_and_can_still_do_so() -> None:
    words = (
        "import sys, surefoot.signals.indicators;"
        "assert 'polars' not in sys.modules, 'Polars came along';"
        "import polars; assert polars.Series([1]).sum() == 1"
    )
    subprocess.run([sys.executable, "-c", words], check=True)
