"""Filters: what they say, with which numbers, and that a live window says what a whole history says."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.signals.filters import (
    TREND_WINDOW_CANDLES,
    Filters,
    Trend,
    filtered,
    flips_at_each,
    flips_at_end,
    newest_average,
    trailing_average,
)
from surefoot.signals.rsi import Rsi
from surefoot.signals.source import SignalSource
from surefoot.signals.window import newest, resample
from tests.signals.agreement import replayed, worst_difference
from tests.signals.market import candles, columns_of, random_candles, real_candles

REAL = "measure/klines/spot_15m/BTCUSDT.parquet"
BELOW, ABOVE, UNKNOWN = Trend("4h", 90.0, 100.0), Trend("4h", 110.0, 100.0), Trend("1d", 90.0, nan)
BLOCK, DAMP = Filters(trend="block"), Filters(trend="damp", trend_damping_ratio=0.7)


@pytest.mark.spec("SIG-5")
def test_a_signal_against_the_trend_is_blocked_with_the_numbers() -> None:
    said = "trend: 4h close 90 is below its average of 200 candles, 100"
    assert filtered(BLOCK, 1.0, 0.8, [BELOW], 0) == (0.8, said)
    assert filtered(BLOCK, 1.0, 0.8, [ABOVE], 0) == (0.8, "")
    assert filtered(BLOCK, -1.0, 0.8, [ABOVE], 0)[1].startswith("trend: 4h close 110 is above its average")
    assert filtered(BLOCK, -1.0, 0.8, [BELOW], 0) == (0.8, "")


@pytest.mark.spec("SIG-5")
def test_damping_lowers_the_score_once_for_each_interval_against_it() -> None:
    day = replace_interval(BELOW, "1d")
    assert filtered(DAMP, 1.0, 0.8, [BELOW], 0) == (0.8 * 0.7, "")
    assert filtered(DAMP, 1.0, 0.8, [BELOW, day], 0) == (0.8 * 0.7 * 0.7, "")
    assert filtered(DAMP, 1.0, 0.8, [ABOVE, UNKNOWN], 0) == (0.8, "")


@pytest.mark.spec("SIG-5", "SAFE-5")
def test_an_unknown_trend_blocks_and_is_said_and_never_damps() -> None:
    said = "trend unknown: no average of 200 candles of 1d yet"
    assert filtered(BLOCK, 1.0, 0.8, [ABOVE, UNKNOWN], 0) == (0.8, said)
    assert filtered(BLOCK, 1.0, 0.8, [BELOW, UNKNOWN], 0)[1].endswith(f"; {said}")


@pytest.mark.spec("SIG-5")
def test_a_choppy_market_blocks_above_the_most_flips_allowed() -> None:
    choppy = Filters(choppy_candles=30, choppy_max_flips=10)
    assert filtered(choppy, 1.0, 0.8, [], 10) == (0.8, "")
    assert filtered(choppy, 1.0, 0.8, [], 11)[1] == "choppy: 11 flips of direction in 30 candles, 10 are the most"


@pytest.mark.spec("SIG-5")
@pytest.mark.parametrize("target", [None, 0.0])
def test_without_a_side_there_is_nothing_to_filter(target: float | None) -> None:
    both = Filters(trend="block", choppy_candles=30, choppy_max_flips=10)
    assert filtered(both, target, 0.0, [BELOW, UNKNOWN], 99) == (0.0, "")


@pytest.mark.spec("SIG-5")
def test_flips_count_neighbouring_changes_of_opposite_sign() -> None:
    up_and_down = columns_of(candles(["1", "2", "1", "2", "3", "4", "3", "3", "4"]))
    assert flips_at_each(up_and_down, 8).tolist() == [0, 0, 1, 2, 2, 2, 3, 3, 3]
    assert flips_at_end(up_and_down, 8) == 3
    assert flips_at_end(up_and_down, 5) == 1
    assert flips_at_end(up_and_down, 0) == 0


@pytest.mark.spec("SIG-5", "SAFE-8")
@pytest.mark.parametrize("count", [2, 7, 30])
def test_flips_of_a_window_equal_those_of_the_whole_history(count: int) -> None:
    columns = columns_of(random_candles(5, 200, still=0.3))
    whole = flips_at_each(columns, count)
    for end in range(1, 200):
        seen = newest(columns_of(random_candles(5, 200, still=0.3)[:end]), count + 1)
        assert flips_at_end(seen, count) == whole[end - 1]


@pytest.mark.spec("SIG-5", "SAFE-8")
def test_the_trend_of_a_bounded_window_is_that_of_the_whole_history_bit_for_bit() -> None:
    hours, _ = resample(columns_of(real_candles(REAL, 6_000)), "15m", "1h")
    averages = trailing_average(hours.close, 200)
    assert np.isnan(averages[:199]).all()
    for end in (1, 199, 200, 700, TREND_WINDOW_CANDLES, TREND_WINDOW_CANDLES + 1, 1_400):
        kept = hours.close[max(end - TREND_WINDOW_CANDLES, 0) : end]
        assert newest_average(kept, 200) == pytest.approx(averages[end - 1], rel=0, abs=0, nan_ok=True)
    # By hand, from the definition.
    value = float(hours.close[:200].mean())
    for close in hours.close[200:700].tolist():
        value += (close - value) * 2 / 201
    assert averages[699] == pytest.approx(value, rel=1e-12)


@pytest.mark.spec("SIG-5", "MODE-5")
def test_history_of_the_context_makes_a_late_start_know_the_trend() -> None:
    given = real_candles(REAL, 6_000)
    filters = Filters(trend="block", trend_intervals=("4h",), trend_candles=200)
    whole = replayed(Rsi(), "15m", "1h", given, filters)
    late = SignalSource(Rsi(), ("BTCUSDT",), "15m", "1h", filters)
    late.warm(given[3_000:5_000])
    assert late.on_candle(given[5_000]).filtered == "trend unknown: no average of 200 candles of 4h yet"
    # The context may be told after the candles that continue it, as it happens when reads are answered in any order.
    late.warm(context(given[:5_000], "4h"))
    late.warm(given[5_001:5_100])
    ours = [late.on_candle(one) for one in given[5_100:]]
    assert worst_difference(ours, whole[5_100:]) <= 1e-12
    assert any(signal.filtered.startswith("trend: 4h") for signal in ours)


@pytest.mark.spec("SIG-5")
def test_only_intervals_that_the_candles_make_up_are_looked_at() -> None:
    filters = Filters(trend="block")
    assert filters.context_of("15m") == ("4h", "1d")
    assert filters.context_of("8h") == ("1d",)
    assert Filters().context_of("15m") == ()
    with pytest.raises(ValueError, match="wanted are those of 15m"):
        SignalSource(Rsi(), ("BTCUSDT",), "15m", "1h").warm(context(random_candles(1, 40), "4h"))


def replace_interval(trend: Trend, interval: str) -> Trend:
    return trend._replace(interval=interval)


def context(given: list[Candle], interval: str) -> list[Candle]:
    """Closed candles of a greater interval, as a venue has them."""
    length_ms = INTERVAL_MS[interval]
    lasts = [one for one in given if (one.close_ms + 1) % length_ms == 0]
    return [replace(one, interval=interval, open_ms=one.close_ms + 1 - length_ms) for one in lasts]
