"""A backtest may pass over whole stretches of candles on which nothing happens: it stays the same to the letter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simex.strip import CANDLES_A_STRIP
from surefoot.config import load
from surefoot.core.messages import (
    AccountSnapshot,
    CandleClosed,
    Command,
    Event,
    PriceMarked,
    RecordDecision,
    RecordTrip,
    ReplaceOrder,
)
from surefoot.research.backtest import run_loaded
from surefoot.research.data import CandleFile, load_candles
from surefoot.signals import replay
from surefoot.signals.window import span
from tests.research.configurations import configuration
from tests.research.exit_settings import MANAGED, TIGHT, TIMED
from tests.signals.market import shared

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT")
MINUTES = CANDLES_A_STRIP + 800  # so that a strip of tape ends among them
STRETCH = 1_024  # so that signals are asked for in several parts

OFTEN = {
    "strategy.name": str(Path(__file__).parents[2] / "examples" / "rsi_threshold.py"),
    "strategy.parameters": "period=14,low=30,high=70",
    "strategy.score_min_backtest": "0.5",
    "market.interval": "1m",
    "market.confirm_interval": "5m",
    "exits.stop_pct_of_price": "0.8",
    "exits.target_pct_of_price": "1.2",
}
QUARTERS = {"market.interval": "15m", "market.confirm_interval": "1h"}
FUTURES = {"market.venue": "futures", "futures.leverage": "3", "exits.opposite_score_min": "0.5"}


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "STRETCH_CANDLES", STRETCH)


def minutes(count: int, first: int = 0) -> list[CandleFile]:
    """Real minutes of so many symbols; of the others than the first they begin and end somewhat later."""
    files = []
    for number, symbol in enumerate(SYMBOLS[:count]):
        file = load_candles(shared(f"open/klines/um_1m/{symbol}.parquet"), symbol, "1m", gaps="keep")
        start = first + 100 * number
        files.append(replace(file, columns=span(file.columns, start, start + MINUTES), gaps=()))
    return files


def run(files: list[CandleFile], settings: Any, every_close: bool) -> tuple[dict[str, Any], list[Event | Command]]:
    told: list[Event | Command] = []
    result = run_loaded(settings, files, sink=told.append, every_close=every_close)
    return {name: value for name, value in result.items() if "second" not in name}, told


def what_matters(told: list[Event | Command]) -> list[Event | Command]:
    """All but prices, closes and decisions without an opinion."""
    return [
        but_for_prices(message)
        for message in told
        if not isinstance(message, (PriceMarked, CandleClosed))
        and not (isinstance(message, RecordDecision) and message.outcome == "none")
    ]


def but_for_prices(message: Event | Command) -> Event | Command:
    """A trip's curve is of the moments that were looked at; a price of liquidation moves with other symbols' prices."""
    if isinstance(message, RecordTrip):
        return replace(message, curve=())
    if isinstance(message, AccountSnapshot):
        return replace(message, positions=tuple(replace(one, liquidation_price=None) for one in message.positions))
    return message


def compare(files: list[CandleFile], settings: Any) -> tuple[dict[str, Any], list[Event | Command], float]:
    """The result and its records, once they are the same; and how many times fewer closes were told."""
    result, told = run(files, settings, every_close=False)
    full, everything = run(files, settings, every_close=True)
    ours, theirs = what_matters(told), what_matters(everything)
    for one, other in zip(ours, theirs, strict=False):
        assert one == other
    assert len(ours) == len(theirs)
    assert result == full
    closes, all_closes = (sum(isinstance(each, CandleClosed) for each in record) for record in (told, everything))
    return result, told, all_closes / max(closes, 1)


@pytest.mark.spec("BT-1", "BT-6", "PERF-3")
@pytest.mark.parametrize(
    ("count", "changes", "fewer"),
    [
        (1, {}, 5),
        (1, {"costs.latency_ms": "0", "costs.path": "best"}, 4),
        (1, {"costs.latency_ms": "1", "exits.opposite_score_min": "0.5"}, 4),
        (1, MANAGED | TIMED | TIGHT, 1.5),
        (1, {"costs.latency_ms": "0", "exits.hold_max_s": "1800"}, 1.5),  # time is up when an hour begins
        (4, QUARTERS | {"strategy.name": "ensemble", "strategy.parameters": "", "exits.preset": "balanced"}, 1.1),
        (4, QUARTERS | {"costs.latency_ms": "900", "costs.half_spread_bps": "10", **MANAGED, **TIGHT}, 1.1),
        (2, {"filters.trend": "block", "filters.trend_intervals": "1h", "filters.trend_candles": "10"}, 2),
        (2, {"costs.volume_share_pct": "0.1", "paper.balance_usdt": "5000000"}, 2),
    ],
)
def test_candles_on_which_nothing_happens_can_be_passed_over(count: int, changes: dict[str, str], fewer: float) -> None:
    settings = load(None, OFTEN | changes, {}).settings
    result, told, times = compare(minutes(count), settings)
    assert result["round_trips"], "without trades this compares little"
    assert times > fewer
    if "exits.trail_activate_pct" in changes:
        assert any(isinstance(message, ReplaceOrder) for message in told), "no stop was moved"
    if changes.keys() >= (MANAGED | TIMED | TIGHT).keys():
        assert result["trips"], "the breaker never tripped"


@pytest.mark.spec("BT-1", "BT-6", "MODE-3", "PERF-3")
@pytest.mark.parametrize(
    ("count", "changes", "fewer"),
    [
        (1, {}, 2),
        (1, MANAGED | TIMED | TIGHT | {"futures.margin_type": "ISOLATED"}, 1.2),
        (2, {"futures.leverage": "25", "futures.liquidation_distance_min_pct": "1.5"}, 1.1),
    ],
)
def test_candles_of_futures_on_which_nothing_happens_can_be_passed_over(
    count: int, changes: dict[str, str], fewer: float
) -> None:
    settings = load(None, OFTEN | FUTURES | changes, {}).settings
    result, _, times = compare(minutes(count), settings)
    assert {trip["side"] for trip in result["round_trips"]} == {"long", "short"}
    assert times > fewer


@pytest.mark.spec("BT-1", "BT-6", "PERF-3")
@pytest.mark.parametrize("number", range(5_000, 5_010))
def test_with_random_settings_too(number: int, shared_data: Path) -> None:
    chosen = configuration(number, shared_data, 0.7)
    compare(list(chosen.files), chosen.settings)
