"""The band between the worst and the best path, and what a run leaves for its report."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from surefoot.config import Settings, load
from surefoot.core.model import RoundTrip
from surefoot.research.backtest import run_backtest
from surefoot.research.band import dependent, run_with_band
from surefoot.research.traces import levels_during

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
START_MS = 1_790_000_100_000 // HOUR_MS * HOUR_MS
# Stop and target so near that one candle of an hour often reaches both: then the path decides.
NEAR = {
    "mode": "backtest", "rsi.oversold": "45", "rsi.overbought": "55", "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.5", "market.interval": "1h",
}  # fmt: skip


def trip(exit_ms: int, reason: str = "stop", symbol: str = "BTCUSDT") -> dict[str, Any]:
    return {"symbol": symbol, "entry_ms": 0, "exit_ms": exit_ms, "reason": reason}


def run_of(*trips: dict[str, Any]) -> dict[str, Any]:
    return {"round_trips": list(trips), "data": [{"interval": "1m"}]}


@pytest.mark.spec("BT-3")
def test_a_round_trip_depends_on_the_path_when_the_other_run_has_no_twin() -> None:
    worst = run_of(trip(MINUTE_MS), trip(2 * MINUTE_MS), trip(3 * MINUTE_MS, symbol="ETHUSDT"), trip(9 * MINUTE_MS))
    best = run_of(trip(MINUTE_MS), trip(2 * MINUTE_MS, "target"), trip(4 * MINUTE_MS, symbol="ETHUSDT"))
    assert dependent(worst, best) == {1, 2, 3}
    assert dependent(worst, worst) == set()


@pytest.mark.spec("BT-3")
def test_two_exits_in_the_same_candle_are_the_same_and_each_twin_counts_once() -> None:
    first, last = trip(MINUTE_MS + 1), trip(2 * MINUTE_MS)  # the end of a candle is the next one's first millisecond
    assert dependent(run_of(first), run_of(last)) == set()
    assert dependent(run_of(first, first), run_of(last)) == {1}
    assert dependent(run_of(first), run_of(trip(2 * MINUTE_MS + 1))) == {0}


@pytest.fixture(scope="module")
def banded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A random walk of hours whose candles reach far up and down."""
    file, chance, close, rows = tmp_path_factory.mktemp("hours") / "BTCUSDT-1h.csv", Random(5), 30_000, []
    for open_ms in range(START_MS, START_MS + 500 * HOUR_MS, HOUR_MS):
        opened, close = close, close + chance.randint(-150, 150)
        high, low = max(opened, close) + chance.randint(0, 150), min(opened, close) - chance.randint(0, 150)
        rows.append(f"{open_ms},{opened},{high},{low},{close},1000,{open_ms + HOUR_MS - 1},0,0,0,0,0")
    file.write_text("\n".join(rows) + "\n")
    return run_with_band(load(None, NEAR, {}).settings, lambda settings, _: _run(settings, file))


def _run(settings: Settings, file: Path) -> dict[str, Any]:
    return run_backtest(settings, [str(file)])


@pytest.mark.spec("BT-3")
def test_the_default_is_the_worst_path_and_the_best_one_is_better(banded: dict[str, Any]) -> None:
    band = banded["band"]
    assert banded["settings"]["costs"]["path"] == "worst"
    assert band["worst"]["final_equity"] == banded["final_equity"]
    assert Decimal(band["best"]["final_equity"]) > Decimal(band["worst"]["final_equity"])
    assert 0 < len(band["dependent"]) < len(banded["round_trips"])
    marked = [at for at, trip in enumerate(banded["round_trips"]) if trip["path_dependent"]]
    assert marked == band["dependent"]


@pytest.mark.spec("BT-5")
def test_every_round_trip_tells_the_stop_and_the_target_that_rested(banded: dict[str, Any]) -> None:
    for trip in banded["round_trips"]:
        first_ms, stop = trip["stops"][0]
        entry = Decimal(trip["entry_price"])
        assert first_ms == trip["entry_ms"]
        assert Decimal(stop) < entry < Decimal(trip["target"])
        # Half a per cent, up to one and a half times as much while there is little history.
        assert Decimal(stop) / entry == pytest.approx(Decimal("0.9937"), abs=Decimal("0.0025"))


@pytest.mark.spec("BT-5")
def test_costs_are_of_what_takers_traded(banded: dict[str, Any]) -> None:
    costs, settings = banded["costs"], banded["settings"]
    assert costs["funding"] is None
    assert float(costs["fees"]) == pytest.approx(banded["metrics"]["fees"])
    halves = Decimal(settings["costs"]["slippage_bps"]) / Decimal(settings["costs"]["half_spread_bps"])
    assert Decimal(costs["slippage"]) == pytest.approx(Decimal(costs["spread"]) * halves, abs=Decimal("1e-6"))
    # Entries and stops take, targets rest: at least all entries did.
    entries = sum(Decimal(trip["entry_price"]) * Decimal(trip["quantity"]) for trip in banded["round_trips"])
    assert Decimal(costs["spread"]) > entries * Decimal(settings["costs"]["half_spread_bps"]) / 10_000 * Decimal("0.99")


def test_stops_of_a_round_trip_begin_at_its_entry_and_end_at_its_exit() -> None:
    price = [Decimal(number) for number in range(10)]
    own = RoundTrip("BTCUSDT", "long", 100, 200, price[9], price[9], price[1], "stop", price[1], price[0])
    sent = [(10, price[1]), (99, price[2]), (120, price[3]), (130, price[3]), (150, price[4]), (201, price[5])]
    assert levels_during(sent, own) == [(100, price[2]), (120, price[3]), (150, price[4])]
    assert levels_during([], own) == []
