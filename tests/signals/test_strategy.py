"""Signals as the engine gets them: always an answer, the same streaming and at once, never from the future."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from surefoot.core.model import Candle, Readiness, Signal
from surefoot.signals.rsi import Rsi
from surefoot.signals.source import SignalSource
from surefoot.signals.strategy import STRATEGIES, strategy_named
from tests.signals.agreement import assert_same_decisions, replayed
from tests.signals.market import START_MS, candle, candles, random_candles, real_candles

REAL = "measure/klines/spot_15m/BTCUSDT.parquet"
HALTED = 7_800  # candles into that file, past the halt of 2023-03-24


def source(strategy: Rsi | None = None, symbols: Sequence[str] = ("BTCUSDT",)) -> SignalSource:
    return SignalSource(strategy or Rsi(), symbols, "15m", "1h")


def streamed(given: Sequence[Candle], strategy: Rsi | None = None) -> list[Signal]:
    feed = source(strategy)
    return [feed.on_candle(one) for one in given]


def at_once(given: Sequence[Candle], strategy: Rsi | None = None) -> list[Signal]:
    return replayed(strategy or Rsi(), "15m", "1h", given)


@pytest.mark.spec("SIG-1", "SAFE-7")
@pytest.mark.parametrize("seed", range(6))
def test_streaming_equals_the_whole_history_on_random_candles(seed: int) -> None:
    given = random_candles(seed, 1_600, missing=(0.0, 0.05)[seed % 2], still=(0.0, 0.5, 0.9)[seed % 3])
    assert_same_decisions(streamed(given), at_once(given))


@pytest.mark.spec("SIG-1", "SAFE-7")
def test_streaming_equals_the_whole_history_on_real_candles_with_a_halt() -> None:
    given = real_candles(REAL, HALTED + 2_000)
    gaps = np.diff([one.open_ms for one in given])
    assert (gaps > 900_000).sum() == 1
    ours = streamed(given)
    assert_same_decisions(ours, at_once(given))
    # The comparison means something only where rules fire.
    fired = Counter(signal.rule for signal in ours if signal.target is not None)
    assert len(fired) == 6, fired


@pytest.mark.spec("SIG-1")
def test_streaming_equals_the_whole_history_where_values_lie_exactly_on_a_threshold() -> None:
    # Up and down by the same step: RSI swings around 50, and stands at 50 exactly for the hours.
    given = candles([str(100 + number % 2) for number in range(1_500)])
    assert_same_decisions(streamed(given), at_once(given))


@pytest.mark.spec("SAFE-7")
@pytest.mark.parametrize("seed", range(3))
def test_no_candle_sees_a_later_one(seed: int) -> None:
    given = random_candles(100 + seed, 700, missing=0.1)
    whole = at_once(given)
    for cut in (1, 16, 61, 64, 200, 333, 650):
        assert at_once(given[:cut]) == whole[:cut]
    # Another future changes nothing either.
    other = [*given[:400], *(replace(one, close=one.close * 3, high=one.high * 3) for one in given[400:])]
    assert at_once(other)[:400] == whole[:400]
    assert at_once(other)[400:] != whole[400:]


@pytest.mark.spec("SIG-6")
def test_below_the_minimum_it_says_how_many_candles_are_missing() -> None:
    signals = streamed(random_candles(1, 70))
    assert signals[11].rule == "not ready: 12 of 15 candles"
    assert signals[14].rule == "not ready: 3 of 15 candles of 1h"
    assert signals[58].rule == "not ready: 14 of 15 candles of 1h"
    assert all(signal.target is None and signal.score == 0 and signal.values == () for signal in signals[:59])
    assert not signals[59].rule.startswith("not ready")


@pytest.mark.spec("SIG-6")
def test_readiness_climbs_with_the_lesser_interval() -> None:
    feed = source()
    levels = []
    for one in random_candles(1, 600):
        feed.on_candle(one)
        levels.append(feed.readiness("BTCUSDT"))
    changes = [levels.index(level) + 1 for level in Readiness]
    assert changes == [1, 15 * 4, 42 * 4, 140 * 4]


@pytest.mark.spec("SIG-8")
def test_a_signal_tells_what_its_rule_saw() -> None:
    for signal in streamed(real_candles(REAL, 2_000))[100:]:
        seen = dict(signal.values)
        assert set(seen) == {"rsi", "rsi_previous", "confirm_rsi"}
        if signal.rule == "rsi weak long":
            assert seen["rsi_previous"] < seen["rsi"] < 50
            assert (signal.target, signal.score) == (1.0, 0.51)


@pytest.mark.spec("SIG-1", "SIG-8")
def test_a_market_that_stands_still_has_no_value_and_no_opinion() -> None:
    signals = streamed(candles(["100"] * 100))
    assert {(signal.rule, signal.target, signal.values) for signal in signals[60:]} == {("no value", None, ())}


@pytest.mark.spec("SIG-8")
def test_the_signal_is_timed_at_the_close_of_its_candle() -> None:
    one = candle(0)
    assert source().on_candle(one).at_ms == one.close_ms == START_MS + 899_999
    assert at_once([one])[0].at_ms == one.close_ms


@pytest.mark.spec("DATA-2")
def test_a_repeated_candle_gets_the_same_answer_and_leaves_no_trace() -> None:
    given = random_candles(7, 300)
    once, twice = source(), source()
    for one in given:
        first = once.on_candle(one)
        assert twice.on_candle(one) == first
        assert twice.on_candle(one) == first


@pytest.mark.spec("DATA-2")
def test_an_old_candle_is_answered_without_an_opinion() -> None:
    given = random_candles(7, 300)
    feed = source()
    feed.warm(given)
    signal = feed.on_candle(given[100])
    assert (signal.target, signal.rule) == (None, "old candle: a newer one was decided on")


def test_warming_up_decides_as_if_every_candle_had_been_live() -> None:
    given = random_candles(9, 900)
    live, restarted = source(), source()
    for one in given[:800]:
        live.on_candle(one)
    restarted.warm(given[:500])
    restarted.warm(given[400:800])
    assert [restarted.on_candle(one) for one in given[800:]] == [live.on_candle(one) for one in given[800:]]


def test_the_history_that_is_asked_for_makes_a_late_start_equal_to_an_early_one() -> None:
    given = real_candles(REAL, 4_000)
    feed = source()
    assert feed.history_candles == 2_000
    feed.warm(given[1_000:3_000])
    assert_same_decisions([feed.on_candle(one) for one in given[3_000:]], at_once(given)[3_000:])


def test_symbols_do_not_share_a_series() -> None:
    feed = source(symbols=("BTCUSDT", "ETHUSDT"))
    alone = source()
    for one in random_candles(11, 200):
        feed.on_candle(replace(one, symbol="ETHUSDT", close=one.close * Decimal(2), high=one.high * Decimal(2)))
        assert feed.on_candle(one) == alone.on_candle(one)


@pytest.mark.spec("DATA-2")
def test_the_source_tells_a_gap_before_it_takes_the_candle() -> None:
    feed = source()
    feed.on_candle(candle(0))
    assert feed.gap_before(candle(3)) == (START_MS + 900_000, START_MS + 3 * 900_000)
    assert feed.gap_before(candle(1)) is None


def test_a_candle_that_nobody_subscribed_to_is_an_error() -> None:
    stranger = candle(0, interval="1h")
    with pytest.raises(ValueError, match="wanted are those of 15m"):
        source().on_candle(stranger)


@pytest.mark.spec("SIG-2")
def test_other_parameters_and_intervals_work_the_same_way() -> None:
    given = random_candles(13, 900)
    strategy = Rsi(period=5, oversold=40.0, overbought=60.0)
    assert_same_decisions(streamed(given, strategy), at_once(given, strategy))
    # A strategy that confirms itself: the same interval twice.
    own = SignalSource(strategy, ("BTCUSDT",), "15m", "15m")
    assert_same_decisions([own.on_candle(one) for one in given], replayed(strategy, "15m", "15m", given))


@pytest.mark.spec("DATA-5")
@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_series_holds_five_hundred_candles_and_never_less_than_a_strategy_wants(name: str) -> None:
    strategy = strategy_named(name, {})
    for _, _, series in SignalSource(strategy, ("BTCUSDT",), "15m", "1h").series():
        assert series.capacity >= max(500, strategy.window, strategy.warmup.best)
    long = Rsi(period=100)
    assert long.window > 500
    for _, _, series in SignalSource(long, ("BTCUSDT",), "15m", "1h").series():
        assert series.capacity >= max(long.window, long.warmup.best)
