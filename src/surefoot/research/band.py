"""The band: how much of a result hangs on the path that prices took inside their candles, which no candle tells.

The same run is made twice, on the worst and on the best path (see the fill model). A round trip of the one that has no
twin in the other (same symbol, entry, exit and reason) depends on the path. Times are equal when they are in the same
candle: in which part of it an extreme comes is what the two paths differ in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from surefoot.config import Settings
from surefoot.core.model import INTERVAL_MS

Result = dict[str, Any]
Progress = Callable[[int, int], None]


def run_with_band(
    settings: Settings, run: Callable[[Settings, Progress | None], Result], progress: Progress | None = None
) -> Result:
    """The result of `run` on the path of the settings, with the other path's beside it as its band."""
    first, second = (None, None) if progress is None else (_half(progress, 0), _half(progress, 1))
    result = run(settings, first)
    values = settings.model_dump()
    values["costs"]["path"] = "best" if settings.costs.path == "worst" else "worst"
    return with_band(result, run(Settings.model_validate(values), second))


def with_band(result: Result, other: Result) -> Result:
    """A result with "band" and with "path_dependent" in each of its round trips; `other` is on the other path."""
    path = result["settings"]["costs"]["path"]
    depends = dependent(result, other)
    trips = [trip | {"path_dependent": at in depends} for at, trip in enumerate(result["round_trips"])]
    sides = {path: _side(result), "best" if path == "worst" else "worst": _side(other)}
    return result | {"round_trips": trips, "band": sides | {"dependent": sorted(depends)}}


def dependent(result: Mapping[str, Any], other: Mapping[str, Any]) -> set[int]:
    """Places of the round trips in `result` that `other` does not have."""
    # The coarsest: finer candles, where they are given, need not cover the whole period.
    candle_ms = max(INTERVAL_MS[file["interval"]] for file in result["data"])
    twins = Counter(_outcome(trip, candle_ms) for trip in other["round_trips"])
    alone = set()
    for at, trip in enumerate(result["round_trips"]):
        outcome = _outcome(trip, candle_ms)
        if twins[outcome]:
            twins[outcome] -= 1
        else:
            alone.add(at)
    return alone


def _outcome(trip: Mapping[str, Any], candle_ms: int) -> tuple[str, int, int, str]:
    # An exit at the very end of a candle is told in the first millisecond of the next one.
    return trip["symbol"], trip["entry_ms"] // candle_ms, (trip["exit_ms"] - 1) // candle_ms, trip["reason"]


def _side(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "final_equity": result["final_equity"],
        "return_pct": result["return_pct"],
        "max_drawdown_pct": result["metrics"].get("max_drawdown_pct"),
        "round_trips": len(result["round_trips"]),
        "equity_curve": result["equity_curve"],
    }


def _half(progress: Progress, before: int) -> Progress:
    return lambda done, total: progress(before * total + done, 2 * total)
