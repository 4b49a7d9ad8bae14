"""The exact backtest makes its signals from arrays of known candles, and does what streamed ones make it do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surefoot.config import ConfigError, load
from surefoot.core.messages import Command, Event, RecordDecision
from surefoot.core.model import Signal
from surefoot.research.backtest import run_loaded
from surefoot.research.data import CandleFile, load_candles
from surefoot.signals import replay
from surefoot.signals.strategy import STRATEGIES
from surefoot.signals.window import span
from tests.signals.agreement import worst_difference
from tests.signals.market import shared

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SYMBOLS = ("BTCUSDT", "SOLUSDT")
CANDLES = 1_200
STRETCH = 1_024  # so that candles are asked for twice
FILTERED = {
    "filters.trend": "block",
    "filters.trend_intervals": "1h,4h",
    "filters.trend_candles": "20",
    "filters.choppy_candles": "30",
    "filters.choppy_max_flips": "16",
}
OFTEN = {"strategy.score_min_backtest": "0.5", "exits.preset": "balanced", "risk.correlation_max": "0.9"}
CASES = {
    **{name: {"strategy.name": name} for name in STRATEGIES},
    **{f"ensemble {mode}": {"strategy.name": "ensemble", "ensemble.mode": mode} for mode in ("weighted", "best")},
    "ensemble filtered": {"strategy.name": "ensemble", **FILTERED},
    **{f"example {place.stem}": {"strategy.name": str(place)} for place in EXAMPLES},
}
FORESIGHT = """
import numpy as np
from surefoot.signals.custom import Rule
RULES = (Rule("neutral", 0.0, None), Rule("will rise", 0.8, 1.0))
def window(p): return 2
def indicators(candles, p):
    later = np.append(candles.close[1:], candles.close[-1:])
    return {"gain": np.where(candles.close > 1_000, later - candles.close, 0.0)}
def rule(gain): return 1 if gain > 0 else 0
"""


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "STRETCH_CANDLES", STRETCH)


def candles(first: int = 0) -> list[CandleFile]:
    """Real quarters of an hour; the second symbol's begin and end somewhat later."""
    files = []
    for number, symbol in enumerate(SYMBOLS):
        file = load_candles(shared(f"open/klines/um_15m/{symbol}.parquet"), symbol, "15m", gaps="keep")
        start = first + 40 * number
        files.append(replace(file, columns=span(file.columns, start, start + CANDLES), gaps=()))
    return files


def run(changes: dict[str, str], streamed: bool) -> tuple[dict[str, Any], list[Event | Command]]:
    told: list[Event | Command] = []
    result = run_loaded(load(None, OFTEN | changes, {}).settings, candles(), sink=told.append, streamed=streamed)
    return {name: value for name, value in result.items() if "second" not in name}, told


def signals(told: list[Event | Command]) -> list[Signal]:
    return [message.signal for message in told if isinstance(message, RecordDecision)]


def without_signals(told: list[Event | Command]) -> list[Event | Command]:
    blank = Signal("", 0, None, 0.0, "")
    return [replace(one, signal=blank) if isinstance(one, RecordDecision) else one for one in told]


@pytest.mark.spec("BT-1", "BT-6", "SIG-1", "SIG-7", "SAFE-7", "PERF-3")
@pytest.mark.parametrize("name", CASES)
def test_known_candles_decide_like_streamed_ones(name: str) -> None:
    streamed, theirs = run(CASES[name], streamed=True)
    known, ours = run(CASES[name], streamed=False)
    assert worst_difference(signals(ours), signals(theirs)) <= 1e-12
    assert without_signals(ours) == without_signals(theirs)
    assert known == streamed
    assert len(signals(ours)) == len(SYMBOLS) * CANDLES
    assert known["round_trips"] or name == "ensemble filtered", "without trades this compares little"
    assert name != "ensemble filtered" or any(signal.filtered for signal in signals(ours))


@pytest.mark.spec("SIG-7", "SAFE-7", "BT-1")
def test_a_strategy_that_sees_the_future_where_its_check_did_not_look_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "oracle.py"
    place.write_text(FORESIGHT)
    settings = load(None, OFTEN | {"strategy.name": str(place)}, {}).settings  # its prices are above the sample's
    with pytest.raises(ConfigError, match=r"oracle: gain of candle 1023 of BTCUSDT was 0 as the newest .* the future"):
        run_loaded(settings, candles()[:1])
