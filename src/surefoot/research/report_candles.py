"""Candles and round trips of a report, small enough to be carried inside it.

A symbol has at most `COARSE_MAX` candles over the whole period, each merged from several where there are more, and the
original ones around entries and exits. Prices are whole numbers of the last digit that can be seen, each told as its
difference to the one before: some dozen bytes a candle. `page/candles.js` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from surefoot.research.report_words import note, section, unmeasured
from surefoot.signals.window import Columns

COARSE_MAX = 3_000  # a symbol
FINE_MAX = 12_000  # a symbol
CANDLES_MAX = 120_000  # a page
TRIPS_MAX = 5_000  # a page
STOP_STEPS_MAX = 40_000  # a page
MARGINS = (120, 60, 30, 15, 8, 4, 0)  # candles before and after an entry and an exit; the first that fits
VISIBLE_DIGITS = 6  # of a price

Longs = npt.NDArray[np.int64]

_HINT = (
    "Drag to move, pinch or use the wheel to zoom (click first), arrows and + − on the keyboard, double click for all."
)
_LEGEND = (
    "▲ ▼ entries, ● exits (won or lost), ○ around an exit that depends on the path inside a candle,"
    " solid line the stop as it rested, dashed line the target"
)


def candle_section(candles: Mapping[str, Columns] | None, trips: Sequence[Mapping[str, Any]]) -> str:
    """The chart of every symbol that has candles."""
    given = {symbol: columns for symbol, columns in (candles or {}).items() if columns.open_ms.size > 1}
    if not given:
        return unmeasured("Candles", "the report was written without candles")
    shown = list(enumerate(trips))[:TRIPS_MAX]
    steps_max = max(2, STOP_STEPS_MAX // max(1, len(shown)))
    fine_max = max(0, min(FINE_MAX, CANDLES_MAX // len(given) - COARSE_MAX))
    coarse_max = min(COARSE_MAX, CANDLES_MAX // len(given))
    parts = []
    for symbol, columns in given.items():
        own = [(at, trip) for at, trip in shown if trip.get("symbol") == symbol]
        moments = [int(trip[name]) for _, trip in own for name in ("entry_ms", "exit_ms")]
        told = [_trip(at, trip, steps_max) for at, trip in own]
        parts.append({"symbol": symbol, **levels(columns, moments, coarse_max, fine_max), "trips": told})
    # Symbols and reasons come from files: no "<" may end the script that carries them.
    data = json.dumps(parts, separators=(",", ":")).replace("<", "\\u003c")
    return section(
        "Candles, entries, exits and stops",
        f'<div class="candles"><div class="buttons"></div><output></output>'
        f'<canvas tabindex="0" role="img" aria-label="Candles with entries, exits and stops"></canvas>'
        f'<script type="application/json">{data}</script>{note(_LEGEND)}{note(_HINT)}</div>',
        "candles",
    )


def levels(columns: Columns, moments: Sequence[int], coarse_max: int, fine_max: int) -> dict[str, Any]:
    """The candles of a symbol on two levels; `moments` are the times that the fine one is wanted around.

    {"decimals", "coarse": {"step", "runs"}, "fine": the same or None}; a run is [open_ms, differences], its candles
    follow each other without a gap.
    """
    step_ms = int(np.diff(columns.open_ms).min())
    decimals = _decimals(columns)
    scaled = [np.rint(column * 10.0**decimals).astype(np.int64) for column in columns[1:5]]
    merge = _merge(int(columns.open_ms[-1] - columns.open_ms[0]) // step_ms + 1, coarse_max)
    coarse_ms = merge * step_ms
    coarse = {"step": coarse_ms, "runs": _runs(*_merged(columns.open_ms, scaled, coarse_ms), coarse_ms)}
    fine = None
    if merge > 1 and moments:
        kept = _around(columns.open_ms, sorted(moments), step_ms, coarse_ms, fine_max)
        own = [column[kept] for column in scaled]
        fine = {"step": step_ms, "runs": _runs(columns.open_ms[kept], own, step_ms)}
    return {"decimals": decimals, "coarse": coarse, "fine": fine}


def _decimals(columns: Columns) -> int:
    """As many as the prices have, but no more than can be seen."""
    sample = np.concatenate([column[:: max(1, column.size // 2_000)] for column in columns[1:5]])
    largest = float(np.abs(sample).max())
    for decimals in range(12):
        scaled = sample * 10.0**decimals
        if largest * 10.0**decimals >= 10.0**VISIBLE_DIGITS or np.abs(scaled - np.rint(scaled)).max() < 1e-6:
            return decimals
    return 12


def _merge(count: int, most: int) -> int:
    """How many candles become one, so that `count` places hold at most `most`; one place may be begun and ended."""
    return 1 if count <= most else -(-count // (most - 1))


def _merged(open_ms: Longs, scaled: Sequence[Longs], step_ms: int) -> tuple[Longs, list[Longs]]:
    places = open_ms // step_ms
    starts = np.flatnonzero(np.r_[True, np.diff(places) > 0])
    ends = np.r_[starts[1:], places.size] - 1
    opens, highs, lows, closes = scaled
    merged = [opens[starts], np.maximum.reduceat(highs, starts), np.minimum.reduceat(lows, starts), closes[ends]]
    return places[starts] * step_ms, merged


def _around(
    open_ms: Longs, moments: Sequence[int], step_ms: int, coarse_ms: int, fine_max: int
) -> npt.NDArray[np.bool_]:
    """Which candles are within a margin of a moment: whole coarse ones, so that the levels fit together."""
    places = open_ms // coarse_ms
    wanted = np.asarray(moments, dtype=np.int64)
    kept = np.zeros(open_ms.size, dtype=np.bool_)
    for margin in MARGINS:
        first, last = (wanted - margin * step_ms) // coarse_ms, (wanted + margin * step_ms) // coarse_ms
        count = np.zeros(open_ms.size + 1, dtype=np.int64)
        np.add.at(count, np.searchsorted(places, first, "left"), 1)
        np.add.at(count, np.searchsorted(places, last, "right"), -1)
        kept = np.cumsum(count)[:-1] > 0
        if kept.sum() <= fine_max:
            return kept
    # Not even the candles of the moments themselves fit: the earliest have them.
    kept[np.flatnonzero(kept)[fine_max // max(1, coarse_ms // step_ms) * (coarse_ms // step_ms) :]] = False
    return kept


def _runs(open_ms: Longs, scaled: Sequence[Longs], step_ms: int) -> list[list[Any]]:
    opens, highs, lows, closes = scaled
    breaks = np.flatnonzero(np.diff(open_ms) != step_ms) + 1
    runs = []
    for first, end in zip([0, *breaks.tolist()], [*breaks.tolist(), open_ms.size], strict=True):
        if end <= first:
            continue
        part = slice(first, end)
        before = np.r_[0, closes[part][:-1]]
        top, bottom = np.maximum(opens[part], closes[part]), np.minimum(opens[part], closes[part])
        flat = np.column_stack(
            [opens[part] - before, closes[part] - opens[part], highs[part] - top, bottom - lows[part]]
        )
        runs.append([int(open_ms[first]), flat.ravel().tolist()])
    return runs


def _trip(at: int, trip: Mapping[str, Any], steps_max: int) -> dict[str, Any]:
    """A round trip as the script wants it; stops are [ms after the entry, price]."""
    entry_ms = int(trip["entry_ms"])
    stops = list(trip.get("stops") or ())
    if len(stops) > steps_max:  # the first and the last remain, and every so many between
        stops = [stops[number * (len(stops) - 1) // (steps_max - 1)] for number in range(steps_max)]
    return {
        "number": at + 1,
        "from": entry_ms,
        "to": int(trip["exit_ms"]),
        "entry": float(trip["entry_price"]),
        "exit": float(trip["exit_price"]),
        "short": trip.get("side") == "short",
        "reason": str(trip.get("reason", "")),
        "pnl": float(trip["pnl"]),
        "depends": bool(trip.get("path_dependent")),
        "stops": [[int(at_ms) - entry_ms, float(price)] for at_ms, price in stops],
        "target": None if trip.get("target") is None else float(trip["target"]),
    }
