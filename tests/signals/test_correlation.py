"""Correlation of returns: against numpy, live against history, and never from candles that were not over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.signals.correlation import RETURNS_MIN, correlations_for
from surefoot.signals.rsi import Rsi
from surefoot.signals.source import SignalSource
from surefoot.signals.window import resample
from tests.signals.market import columns_of, random_candles, real_candles

HOUR_MS = INTERVAL_MS["1h"]


def pair(count: int, missing: float = 0.0) -> tuple[list[Candle], list[Candle]]:
    """Two symbols of which the second half follows the first, with candles of their own missing."""
    ours, steps = random_candles(1, count), random_candles(2, count)
    chance = np.random.default_rng(3)
    theirs = [replace(b, symbol="ETHUSDT", close=a.close + b.close) for a, b in zip(ours, steps, strict=True)]
    return (
        [one for one in ours if chance.random() >= missing],
        [one for one in theirs if chance.random() >= missing],
    )


def fed(ours: Sequence[Candle], theirs: Sequence[Candle], a_first: bool = True) -> list[tuple[int, float | None]]:
    """Open time and correlation at each primary candle, once every candle of that time has been told."""
    source = SignalSource(Rsi(), ("BTCUSDT", "ETHUSDT"), "15m", "1h")
    both = sorted((*ours, *theirs), key=lambda one: (one.open_ms, (one.symbol == "BTCUSDT") != a_first))
    told = []
    for at, one in enumerate(both):
        source.warm([one])
        if at + 1 == len(both) or both[at + 1].open_ms != one.open_ms:
            told.append((one.open_ms, source.correlation("BTCUSDT", "ETHUSDT")))
    return told


@pytest.mark.spec("PERF-4", "RISK-3")
def test_what_was_worked_out_ahead_is_what_would_be_answered_without() -> None:
    ours, theirs = pair(1_200, missing=0.02)
    symbols = ("BTCUSDT", "ETHUSDT")
    ahead, plain = (SignalSource(Rsi(), symbols, "15m", "1h") for _ in range(2))
    both = sorted((*ours, *theirs), key=lambda one: (one.open_ms, one.symbol))
    late = [both.pop(at) for at in range(700, 1_900, 400)]  # heard only after all others of their hours
    for at in (3, 2, 1):
        both.insert(700 + at * 380, late.pop())
    worked_out = known = 0
    for one in both:
        ahead.warm([one])
        plain.warm([one])
        while ahead.prepare():
            worked_out += 1
        answer = ahead.correlation("ETHUSDT", "BTCUSDT")
        plain._correlations.clear()
        assert answer == plain.correlation("BTCUSDT", "ETHUSDT")
        known += answer is not None
    assert worked_out > 200
    assert known > 1_000


def in_history(ours: Sequence[Candle], theirs: Sequence[Candle]) -> dict[int, float]:
    a, b = (resample(columns_of(given), "15m", "1h")[0] for given in (ours, theirs))
    times, values = correlations_for(a, b, "1h")
    return dict(zip(times.tolist(), values.tolist(), strict=True))


@pytest.mark.spec("RISK-3", "SAFE-7", "SAFE-8")
@pytest.mark.parametrize("missing", [0.0, 0.02])
def test_the_live_correlation_equals_that_of_the_history(missing: float) -> None:
    ours, theirs = pair(3_300, missing)
    whole, compared = in_history(ours, theirs), 0
    for open_ms, value in fed(ours, theirs):
        expected = whole.get((open_ms // HOUR_MS - 1) * HOUR_MS, np.nan)
        assert (np.nan if value is None else value) == pytest.approx(expected, abs=1e-9, nan_ok=True)
        compared += value is not None
    assert compared > 2_500


@pytest.mark.spec("RISK-3", "SAFE-8")
def test_it_does_not_matter_which_symbol_is_told_first() -> None:
    ours, theirs = pair(600)
    assert fed(ours, theirs) == fed(ours, theirs, a_first=False)


@pytest.mark.spec("RISK-3")
def test_it_is_pearsons_of_log_returns_over_thirty_days() -> None:
    ours = real_candles("measure/klines/spot_15m/BTCUSDT.parquet", 5_000)
    theirs = real_candles("measure/klines/spot_15m/ETHUSDT.parquet", 5_000, symbol="ETHUSDT")
    a, b = (resample(columns_of(given), "15m", "1h")[0] for given in (ours, theirs))
    times, values = correlations_for(a, b, "1h")
    returns = [np.diff(np.log(columns.close)) for columns in (a, b)]
    for at in (RETURNS_MIN - 1, 400, 719, 720, 1_200):
        seen = slice(max(at - 719, 0), at + 1)
        expected = np.corrcoef(returns[0][seen], returns[1][seen])[0, 1]
        assert values[at] == pytest.approx(expected, abs=1e-9)
        assert times[at] == a.open_ms[at + 1]
    assert values[1_200] > 0.5
    assert np.isnan(values[: RETURNS_MIN - 1]).all()


@pytest.mark.spec("RISK-3", "SAFE-5")
def test_a_symbol_that_stood_still_or_is_unknown_has_no_correlation() -> None:
    ours, theirs = pair(400)
    still = [replace(one, close=Decimal(5)) for one in theirs]
    assert fed(ours, still)[-1][1] is None
    assert np.isnan(list(in_history(ours, still).values())).all()
    source = SignalSource(Rsi(), ("BTCUSDT", "ETHUSDT"), "15m", "1h")
    source.warm(ours)
    assert source.correlation("BTCUSDT", "ETHUSDT") is None


@pytest.mark.spec("SAFE-7")
def test_no_correlation_changes_when_later_candles_are_cut_off() -> None:
    ours, theirs = pair(1_500)
    whole = in_history(ours, theirs)
    for cut in (200, 777, 1_400):
        for open_ms, value in in_history(ours[:cut], theirs[:cut]).items():
            if open_ms + HOUR_MS <= ours[cut].open_ms:
                assert value == pytest.approx(whole[open_ms], rel=1e-12, nan_ok=True)
