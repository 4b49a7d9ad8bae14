"""How far the price went for and against each round trip while it was held: MFE and MAE, of both engines alike.

Known are the prints that the fill model makes of a candle and when it makes them (`simex.market.CandleTape`); those
between the two fills count, and the fills themselves. Sweeney, Maximum Adverse Excursion (1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surefoot.research.metrics import Floats, Times
from surefoot.research.tape import Tape, TapeColumns

EXCURSIONS = ("mfe_pct", "mae_pct")
DECIMALS = 4


def with_excursions(
    trips: Sequence[Mapping[str, Any]], tapes: Sequence[Tape], stop_comes_first: bool
) -> list[dict[str, Any]]:
    """Rows of round trips with `mfe_pct` (0 or more) and `mae_pct` (0 or less), in % of the entry price."""
    rows = [dict(trip) for trip in trips]
    for tape in tapes:
        of_tape = [row for row in rows if row["symbol"] == tape.symbol]
        if not of_tape:
            continue
        direction = np.array([1.0 if row["side"] == "long" else -1.0 for row in of_tape])
        entry, leaving = (np.array([float(row[name]) for row in of_tape]) for name in ("entry_price", "exit_price"))
        leaving = np.where(leaving > 0, leaving, entry)  # nothing was sold
        entry_ms, exit_ms = (np.array([row[name] for row in of_tape]) for name in ("entry_ms", "exit_ms"))
        low, high = np.minimum(entry, leaving), np.maximum(entry, leaving)
        _see_prints(tape.columns, entry_ms, exit_ms, (direction > 0) == stop_comes_first, low, high)
        up, down = 100 * (high / entry - 1), 100 * (low / entry - 1)
        best, worst = np.where(direction > 0, up, -down), np.where(direction > 0, down, -up)
        for row, mfe, mae in zip(of_tape, best.round(DECIMALS).tolist(), worst.round(DECIMALS).tolist(), strict=True):
            row |= dict(zip(EXCURSIONS, (mfe, mae), strict=True))
    return rows


def _see_prints(
    columns: TapeColumns, entry_ms: Times, exit_ms: Times, low_first: Any, low: Floats, high: Floats
) -> None:
    """Widen `low` and `high` of each round trip to the prints from its entry to its exit."""
    first, last = (np.maximum(np.searchsorted(columns.open_ms, at_ms, "right") - 1, 0) for at_ms in (entry_ms, exit_ms))
    between = np.flatnonzero(last - first > 1)
    if between.size:  # whole candles: from behind the first to before the last, and the pieces in between are not asked
        edges = np.column_stack([first[between] + 1, last[between]]).ravel()
        low[between] = np.minimum(low[between], np.minimum.reduceat(columns.low, edges)[::2])
        high[between] = np.maximum(high[between], np.maximum.reduceat(columns.high, edges)[::2])
    for candle in (first, last):
        open_ms, length_ms = columns.open_ms[candle], columns.length_ms[candle]
        one_ms, other_ms = open_ms + length_ms // 4, open_ms + length_ms // 2
        prints = (
            (open_ms, columns.open),
            (np.where(low_first, one_ms, other_ms), columns.low),
            (np.where(low_first, other_ms, one_ms), columns.high),
            (open_ms + length_ms - 1, columns.close),
        )
        for at_ms, prices in prints:
            seen = np.flatnonzero((at_ms >= entry_ms) & (at_ms <= exit_ms))
            price = prices[candle[seen]]
            low[seen], high[seen] = np.minimum(low[seen], price), np.maximum(high[seen], price)
