"""A backtest may leave out prices that change nothing: what it decides and reports is the same to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simex.market import GeneratedMarket
from surefoot.config import load
from surefoot.core.messages import Command, Event, PriceMarked, RecordTrip, ReplaceOrder
from surefoot.research.backtest import run_loaded
from surefoot.research.inputs import load_files
from tests.research.exit_settings import MANAGED, TIGHT, TIMED

START_MS = 1_790_000_100_000 // 3_600_000 * 3_600_000
DAYS = 4
OFTEN = {
    "strategy.score_min_backtest": "0.5",
    "rsi.oversold": "45",
    "rsi.overbought": "55",
    "exits.stop_pct_of_price": "0.8",
    "exits.target_pct_of_price": "1.2",
}


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Days of generated minutes of three symbols, which do not begin on a quarter of an hour."""
    folder = tmp_path_factory.mktemp("minutes")
    market = GeneratedMarket(33, ["BTCUSDT", "ETHUSDT", "SOLUSDT"], START_MS + 7 * 60_000, history_days=DAYS)
    for symbol, candles in market.history.items():
        rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in candles)
        (folder / f"{symbol}-1m.csv").write_text("\n".join(rows) + "\n")
    return [str(folder / f"{symbol}-1m.csv") for symbol in market.history]


def run(files: list[str], changes: dict[str, str], every_price: bool) -> tuple[dict[str, Any], list[Event | Command]]:
    told: list[Event | Command] = []
    settings = load(None, OFTEN | changes, {}).settings
    result = run_loaded(settings, load_files(files, "refuse"), sink=told.append, every_price=every_price)
    return {name: value for name, value in result.items() if "second" not in name}, told


def but_for_prices(told: list[Event | Command]) -> list[Event | Command]:
    """A trip's curve is of the moments that were looked at, so it has fewer points."""
    return [
        replace(message, curve=()) if isinstance(message, RecordTrip) else message
        for message in told
        if not isinstance(message, PriceMarked)
    ]


@pytest.mark.spec("BT-1", "BT-6", "PERF-3")
@pytest.mark.parametrize(
    ("changes", "fewer"),
    [
        ({}, 4),
        ({"costs.path": "best", "costs.latency_ms": "0"}, 4),
        ({"costs.latency_ms": "900", "costs.half_spread_bps": "10"}, 4),
        (MANAGED, 1.5),
        (MANAGED | TIMED | TIGHT, 1.5),
        ({"costs.volume_share_pct": "0.1", "paper.balance_usdt": "5000000", "orders.unprotected_max_s": "60"}, 1.2),
    ],
)
def test_prices_that_change_nothing_can_be_left_out(minutes: list[str], changes: dict[str, str], fewer: float) -> None:
    result, told = run(minutes, changes, every_price=False)
    full, everything = run(minutes, changes, every_price=True)
    assert but_for_prices(told) == but_for_prices(everything)
    assert result == full
    marks, all_marks = (sum(isinstance(each, PriceMarked) for each in record) for record in (told, everything))
    assert result["round_trips"]
    assert marks * fewer < all_marks
    if "exits.trail_activate_pct" in changes:
        assert any(isinstance(message, ReplaceOrder) for message in told), "no stop was moved"
    if "breaker.day_loss_max_pct" in changes:
        assert any(isinstance(message, RecordTrip) for message in told), "the breaker never tripped"


FUTURES = {
    "market.venue": "futures",
    "futures.leverage": "3",
    "futures.margin_type": "ISOLATED",
    "exits.opposite_score_min": "0.5",
    "exits.stop_pct_of_price": "0.5",
}


@pytest.mark.spec("BT-1", "BT-6", "MODE-3", "PERF-3")
@pytest.mark.parametrize(
    ("changes", "fewer"),
    [
        ({}, 2),
        ({"futures.margin_type": "CROSSED"} | MANAGED, 1.2),
        (MANAGED | TIMED | TIGHT, 1.2),
        ({"futures.leverage": "25", "futures.liquidation_distance_min_pct": "1.5"}, 2),
    ],
)
def test_prices_of_futures_that_change_nothing_can_be_left_out(
    minutes: list[str], changes: dict[str, str], fewer: float
) -> None:
    result, told = run(minutes[:2], FUTURES | changes, every_price=False)
    full, everything = run(minutes[:2], FUTURES | changes, every_price=True)
    assert but_for_prices(told) == but_for_prices(everything)
    assert result == full
    marks, all_marks = (sum(isinstance(each, PriceMarked) for each in record) for record in (told, everything))
    assert {trip["side"] for trip in result["round_trips"]} == {"long", "short"}
    assert marks * fewer < all_marks


def test_with_a_latency_longer_than_a_stride_allows_every_price_is_told(minutes: list[str]) -> None:
    changes = {"costs.latency_ms": "2000"}
    assert run(minutes[:1], changes, every_price=False)[1] == run(minutes[:1], changes, every_price=True)[1]
