"""A leap over many closes leaves behind what living through them one by one does, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.config import Settings, changed
from surefoot.research.fastrun import Outcome, Prepared, prepare
from surefoot.research.inputs import settings_for, tapes_of
from tests.research.configurations import Configuration, configuration

NUMBERS = range(14)
# What keeps a leap short, taken away, so that positions are held for long.
CALM = {
    "exits.preset": "off",
    "exits.reversal_closes": "0",
    "exits.stop_pct_of_price": "3",
    "exits.target_pct_of_price": "6",
    "exits.trail_activate_pct": "0",
    "exits.break_even_after_r": "0",
}


def run_both(chosen: Configuration, values: dict[str, str]) -> tuple[int, Outcome, Outcome]:
    """The kind of the market's leaps, and a run with them and without them."""
    files = [chosen.files[0]]
    words = values | {"market.interval": files[0].interval}
    settings: Settings = settings_for(changed(chosen.settings, words), files)
    prepared = prepare(tapes_of(settings, files, ()), settings)
    market = prepared.market
    one_by_one = Prepared(replace(market, leaps=market.leaps._replace(kind=0)))
    return market.leaps.kind, prepared.run(settings), one_by_one.run(settings)


def told(outcome: Outcome) -> dict[str, Any]:
    return {
        "trips": outcome.trips.tolist(),
        "alarms": outcome.alarms.tolist(),
        "levels": outcome.levels.tolist(),
        "curve_ms": outcome.curve_ms.tolist(),
        "refusals": outcome.refusals,
        "wallets": (outcome.quote, outcome.base, outcome.fees, outcome.fees_in_quote, outcome.taken),
        "counts": (outcome.orders, outcome.fills, outcome.flagged, outcome.open_since_ms),
    }


@pytest.mark.spec("BT-2", "PERF-1")
@pytest.mark.parametrize(("latency_ms", "path"), [("0", "worst"), ("1", "best"), ("50", "worst"), ("50", "best")])
def test_leaps_leave_what_living_close_by_close_leaves(shared_data: Path, latency_ms: str, path: str) -> None:
    kinds, trips, refused = set(), 0, 0
    for number in NUMBERS:
        chosen = configuration(number, shared_data, 1.0)
        words = {"costs.latency_ms": latency_ms, "costs.path": path} | (CALM if number % 2 else {})
        if chosen.files[0].interval == "1m":
            words["market.confirm_interval"] = "5m"
        kind, leaping, walking = run_both(chosen, words)
        kinds.add(kind)
        trips += len(leaping.trips)
        refused += sum(leaping.refusals.values())
        assert told(leaping) == told(walking), f"configuration {number}"
        assert np.array_equal(leaping.curve, walking.curve), f"configuration {number}"
    assert 2 in kinds, "candles that are even may be leapt over"
    assert trips > 100, "agreement about nothing would show nothing"
    assert refused > 100, "agreement about nothing would show nothing"
