"""Every strategy, ensemble and filter: streaming equals the whole history, and no candle sees a later one.

`python -m tests.signals.figures` does the same over long histories and prints the worst difference.
"""

from __future__ import annotations

import pytest

from surefoot.core.model import Candle, Signal
from surefoot.signals.decision import Decider
from surefoot.signals.ensemble import MODES, Ensemble
from surefoot.signals.filters import Filters
from surefoot.signals.history import decisions_for
from surefoot.signals.replay import STRETCH_CANDLES
from surefoot.signals.source import SignalSource
from surefoot.signals.strategy import STRATEGIES, strategy_named
from tests.signals.agreement import assert_arrays_equal_signals, replayed, worst_difference
from tests.signals.market import columns_of, random_candles, real_candles

REAL = "measure/klines/spot_15m/BTCUSDT.parquet"
HALTED = 7_800  # candles into that file, past the halt of 2023-03-24
OFF = Filters()
# Averages short enough to have a value within a test, and both filters at once.
BLOCK = Filters(trend="block", trend_intervals=("1h", "4h"), trend_candles=20, choppy_candles=30, choppy_max_flips=16)
DAMP = Filters(trend="damp", trend_intervals=("1h", "4h"), trend_candles=20)


def ensemble(mode: str) -> Ensemble:
    return Ensemble(tuple(strategy_named(name) for name in STRATEGIES), mode, (1.0, 2.0, 0.5, 1.0, 1.0))


DECIDERS: dict[str, Decider] = {
    **{name: strategy_named(name) for name in STRATEGIES},
    **{f"ensemble {mode}": ensemble(mode) for mode in MODES},
}


def streamed(decider: Decider, given: list[Candle], filters: Filters = OFF) -> list[Signal]:
    feed = SignalSource(decider, ("BTCUSDT",), "15m", "1h", filters)
    return [feed.on_candle(one) for one in given]


def at_once(
    decider: Decider, given: list[Candle], filters: Filters = OFF, stretch: int = STRETCH_CANDLES
) -> list[Signal]:
    return replayed(decider, "15m", "1h", given, filters, stretch)


@pytest.mark.spec("SIG-1", "SIG-4", "SAFE-7", "SAFE-8")
@pytest.mark.parametrize(("seed", "name"), list(enumerate(DECIDERS)))
def test_streaming_equals_the_whole_history_on_random_candles(seed: int, name: str) -> None:
    given = random_candles(seed, 900, missing=(0.0, 0.05)[seed % 2], still=(0.3, 0.9)[seed % 2])
    ours = streamed(DECIDERS[name], given)
    assert worst_difference(ours, at_once(DECIDERS[name], given)) <= 1e-12
    assert_arrays_equal_signals(decisions_for(DECIDERS[name], "BTCUSDT", "15m", "1h", columns_of(given)), ours)


@pytest.mark.spec("SIG-1", "SIG-4", "SIG-5", "SAFE-7", "SAFE-8")
@pytest.mark.parametrize(
    ("name", "filters"),
    [*((name, OFF) for name in DECIDERS), ("macd", BLOCK), ("macd", DAMP), ("ensemble weighted", BLOCK)],
)
def test_streaming_equals_the_whole_history_on_real_candles_with_a_halt(name: str, filters: Filters) -> None:
    given = real_candles(REAL, HALTED + 200)[HALTED - 1_000 :]
    ours = streamed(DECIDERS[name], given, filters)
    for stretch in (2, 97, STRETCH_CANDLES):
        count = min(20 * stretch, len(given))
        assert worst_difference(ours[:count], at_once(DECIDERS[name], given[:count], filters, stretch)) <= 1e-12
    arrays = decisions_for(DECIDERS[name], "BTCUSDT", "15m", "1h", columns_of(given), filters)
    assert_arrays_equal_signals(arrays, ours)
    # The comparison means something only where rules fire, and filters stand in their way.
    assert sum(signal.gap for signal in ours) == 1
    assert {signal.target for signal in ours} >= {1.0, -1.0}
    assert (filters is BLOCK) == any(signal.filtered for signal in ours)


@pytest.mark.spec("SAFE-7", "SIG-5")
@pytest.mark.parametrize("name", DECIDERS)
def test_no_candle_sees_a_later_one(name: str) -> None:
    given = random_candles(100, 900, missing=0.1)
    whole = at_once(DECIDERS[name], given, BLOCK)
    for cut in (1, 16, 61, 64, 200, 333, 650, 899):
        assert at_once(DECIDERS[name], given[:cut], BLOCK) == whole[:cut]
