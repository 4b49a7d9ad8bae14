"""MFE and MAE of round trips, by hand and for both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from surefoot.config import load
from surefoot.research.backtest import run_loaded
from surefoot.research.excursions import with_excursions
from surefoot.research.fastbacktest import run_fast_loaded
from surefoot.research.tape import Tape, TapeColumns
from tests.research.test_calm_stretches import FUTURES, OFTEN, minutes

MINUTE_MS = 60_000
#          open,  high,   low, close; the minutes 0, 1, 2 and, after a gap, 9
CANDLES = [
    (100.0, 104.0, 98.0, 101.0),
    (101.0, 110.0, 95.0, 102.0),
    (102.0, 106.0, 97.0, 103.0),
    (90.0, 120.0, 80.0, 99.0),
]
OPENS_MS = np.array([0, 1, 2, 9]) * MINUTE_MS


def tape() -> Tape:
    opens, highs, lows, closes = np.array(CANDLES).T.copy()
    lengths_ms, volumes = np.full(len(CANDLES), MINUTE_MS), np.ones(len(CANDLES))
    return Tape("BTCUSDT", TapeColumns(OPENS_MS, lengths_ms, opens, highs, lows, closes, volumes), len(CANDLES))


def excursions(
    entry_ms: int, exit_ms: int, entry: str, leaving: str, side: str = "long", *, worst: bool = True
) -> tuple[float, float]:
    row: dict[str, Any] = {"symbol": "BTCUSDT", "side": side, "entry_ms": entry_ms, "exit_ms": exit_ms}
    (found,) = with_excursions([row | {"entry_price": entry, "exit_price": leaving}], [tape()], worst)
    return found["mfe_pct"], found["mae_pct"]


@pytest.mark.spec("PNL-3")
@pytest.mark.parametrize(
    ("case", "found"),
    [
        # Entered at the opening print of the first candle, left at the close of the third: everything was seen.
        ((0, 179_999, "100", "103"), (10, -5)),
        # Entered behind the low of the first candle, which comes after a quarter of it; its high comes after half.
        ((20_000, 59_999, "100", "101"), (4, 0)),
        # Stopped at the low of the second candle: its high had not been yet.
        ((20_000, 75_000, "100", "95"), (4, -5)),
        # For a short the side of the stop is above: the high comes first.
        ((20_000, 75_000, "100", "110", "short"), (2, -10)),
        # Fills count, though no print was there.
        ((31_000, 32_000, "100", "99"), (0, -1)),
        # Over the gap, left at once at the opening print behind it.
        ((150_001, 540_000, "100", "90"), (3, -10)),
        # Nothing could be sold.
        ((179_999, 400_000, "100", "0"), (3, 0)),
    ],
)
def test_excursions_by_hand(case: tuple[Any, ...], found: tuple[float, float]) -> None:
    assert excursions(*case) == pytest.approx(found)


@pytest.mark.spec("PNL-3")
def test_on_the_best_path_the_target_comes_before_the_stop() -> None:
    assert excursions(20_000, 75_000, "100", "110", worst=False) == pytest.approx((10, -2))


@pytest.mark.spec("PNL-3", "BT-2")
def test_both_engines_tell_the_same_excursions_and_none_is_smaller_than_what_was_realised() -> None:
    settings, files = load(None, OFTEN, {}).settings, minutes(1)
    exact, fast = (run(settings, files) for run in (run_loaded, run_fast_loaded))
    pairs = [[(trip["mfe_pct"], trip["mae_pct"]) for trip in result["round_trips"]] for result in (exact, fast)]
    assert pairs[0]
    assert pairs[0] == pairs[1]
    for result in (exact, run_loaded(load(None, OFTEN | FUTURES, {}).settings, files)):
        for trip in result["round_trips"]:
            moved = 100 * (float(trip["exit_price"]) / float(trip["entry_price"]) - 1)
            realised = moved if trip["side"] == "long" else -moved
            assert trip["mae_pct"] - 1e-3 <= realised <= trip["mfe_pct"] + 1e-3
        mean = sum(trip["mfe_pct"] for trip in result["round_trips"]) / len(result["round_trips"])
        assert result["metrics"]["mfe_pct"] == pytest.approx(mean)
