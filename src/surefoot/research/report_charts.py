"""Drawings of a report that need no script to be seen: curves, months, bars, and the map of a plateau.

Texts stand beside a drawing, not in it, so that it may stretch to a phone or a wide screen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Any

from surefoot.research.report_words import (
    NO_VALUE,
    Markup,
    date,
    note,
    number,
    section,
    table,
    unmeasured,
    with_unit,
)

Curve = Sequence[tuple[int, float]]

CURVE_POINTS_MAX = 1_200
MARKS_MAX = 2_000
WIDTH, HEIGHT, MARKS_HEIGHT = 1_000, 240, 24
LEVELS_AIM = 4
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAP_CELLS_MAX = 2_500
# The colour of a cell is at full strength at this part of the largest value, so that one outlier dims nothing.
TINT_MIX_MAX = 60


def curve_chart(title: str, name: str, curve: Curve, trips: Sequence[Mapping[str, Any]] = (), best: Curve = ()) -> str:
    """A curve of (at_ms, value) that tells its values where the pointer is.

    `trips` are marked below; `best` is the same curve on the best path inside the candles.
    """
    if len(curve) < 2:
        return unmeasured(title, "there are too few points to draw")
    points = thinned(curve, CURVE_POINTS_MAX)
    second = thinned(best, CURVE_POINTS_MAX) if len(best) > 1 else []
    frame = _Frame([*points, *second])
    marks = "".join(frame.mark(trip) for trip in trips[:MARKS_MAX])
    lines = f'<polyline class="best-path" points="{frame.line(second)}"/>' if second else ""
    lines += f'<polyline class="{name}" points="{frame.line(points)}"/>'
    legend = [f"{date(points[0][0])} to {date(points[-1][0])} UTC"]
    legend += ["thin: the best path inside the candles"] if second else []
    legend += ["ticks below: round trips won (upper) and lost (lower)"] if marks else []
    return section(
        title,
        f'<figure class="chart" data-name="{name}"><output>{" · ".join(legend)}</output>'
        f'<div class="plot">{frame.levels()}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + MARKS_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{lines}{marks}</svg></div>'
        f'<script type="application/json">{json.dumps(points)}</script></figure>',
        name,
    )


class _Frame:
    """Where a time and a value lie in the drawing."""

    def __init__(self, points: Curve) -> None:
        self.first_ms, self.last_ms = min(at for at, _ in points), max(at for at, _ in points)
        self.low, self.high = min(value for _, value in points), max(value for _, value in points)

    def line(self, points: Curve) -> str:
        return " ".join(
            f"{_share(at_ms, self.first_ms, self.last_ms) * WIDTH:.1f},"
            f"{(1 - _share(value, self.low, self.high)) * HEIGHT:.1f}"
            for at_ms, value in points
        )

    def levels(self) -> str:
        """Horizontal lines at round values, each with its value."""
        values = round_values(self.low, self.high, LEVELS_AIM)
        places = 0 if self.high - self.low >= 10 else 2
        tops = [(1 - _share(value, self.low, self.high)) * 100 * HEIGHT / (HEIGHT + MARKS_HEIGHT) for value in values]
        shown = zip(values, tops, strict=True)
        return "".join(f'<span style="top:{top:.2f}%">{number(value, places)}</span>' for value, top in shown)

    def mark(self, trip: Mapping[str, Any]) -> str:
        at = _share(float(trip["exit_ms"]), self.first_ms, self.last_ms)
        if not 0 <= at <= 1:
            return ""
        won = float(trip["pnl"]) > 0
        top, x = HEIGHT + (2 if won else 13), f"{at * WIDTH:.1f}"
        return f'<line class="{"won" if won else "lost"}" x1="{x}" x2="{x}" y1="{top}" y2="{top + 9}"/>'


def months(curve: Curve) -> str:
    """A table of years and months, each cell tinted by what the month gained or lost."""
    returns = monthly_returns(curve)
    if not returns:
        return unmeasured("Months")
    most = max(abs(value) for value in returns.values())
    rows = []
    for year in sorted({year for year, _ in returns}):
        cells = [returns.get((year, month)) for month in range(1, 13)]
        whole = 100 * (math.prod(1 + (value or 0.0) / 100 for value in cells) - 1)
        shown = [NO_VALUE if value is None else _tinted(value, most, with_unit(value, "%")) for value in cells]
        rows.append([str(year), *shown, with_unit(whole, "%")])
    return section("Months", table(["Year", *MONTHS, "Year as a whole"], rows), "months")


def bars(title: str, name: str, counts: Mapping[str, int] | None) -> str:
    """How often each thing happened, the most frequent first."""
    if counts is None:
        return unmeasured(title)
    if not counts:
        return section(title, note("none"), name)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most, total = max(ordered[0][1], 1), sum(counts.values())
    rows = [
        [what, number(count, 0), _bar(count / most, f"{100 * count / max(total, 1):.0f} % of all")]
        for what, count in ordered
    ]
    return section(title, table(["", "Number", ""], rows), name)


def _bar(share: float, text: str) -> str:
    return Markup(f'<span class="bar" style="--share:{share:.3f}"></span><span class="note">{text}</span>')


def heat_map(title: str, plateau: Mapping[str, Any] | None) -> str:
    """Scores over two parameters: a plateau of good values is worth more than a peak.

    `plateau` has "x", "y" (names), "x_values", "y_values", "scores" (a row for each y; None where nothing was tried).
    """
    if not plateau or not plateau.get("scores"):
        return unmeasured(title)
    known = [score for row in plateau["scores"] for score in row if score is not None]
    columns = plateau["x_values"]
    if not known:
        return unmeasured(title, "no combination has a score")
    if len(columns) * len(plateau["y_values"]) > MAP_CELLS_MAX:
        return unmeasured(title, "there are too many combinations to draw")
    most = max(abs(score) for score in known)
    best = max(known)
    rows = [
        [str(value), *(_scored(score, most, is_best=score == best) for score in row)]
        for value, row in zip(plateau["y_values"], plateau["scores"], strict=True)
    ]
    head = [f"{plateau['y']} ↓ {plateau['x']} →", *map(str, columns)]
    legend = note(f"the best is framed; {NO_VALUE} was not tried")
    return section(title, f'<div class="map">{table(head, rows)}</div>{legend}', "plateau")


def _scored(score: float | None, most: float, *, is_best: bool) -> str:
    if score is None:
        return NO_VALUE
    return _tinted(score, most, number(score), "top" if is_best else "")


def _tinted(value: float, most: float, text: str, kind: str = "") -> str:
    colour = "won" if value >= 0 else "lost"
    strength = TINT_MIX_MAX * math.sqrt(abs(value) / most) if most else 0
    return Markup(f'<span class="tint {kind}" style="--c:var(--{colour});--s:{strength:.0f}%">{escape(text)}</span>')


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def monthly_returns(curve: Curve) -> dict[tuple[int, int], float]:
    """Percent gained in each (year, month) of the curve, from the last equity before the month to its last one."""
    ends: dict[tuple[int, int], float] = {}
    for at_ms, equity in curve:
        moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
        ends[moment.year, moment.month] = equity
    marks = [(None, curve[0][1]) if curve else (None, 0.0), *ends.items()]
    return {
        month: 100 * (equity / before - 1) for (_, before), (month, equity) in pairwise(marks) if month and before > 0
    }


def thinned(curve: Curve, points_max: int) -> list[tuple[int, float]]:
    """At most `points_max` points that keep the first, the last, and every stretch's lowest and highest."""
    if len(curve) <= points_max:
        return list(curve)
    stretches = points_max // 2 - 1
    kept = {0, len(curve) - 1}
    for stretch in range(stretches):
        places = range(stretch * len(curve) // stretches, (stretch + 1) * len(curve) // stretches)
        kept.add(min(places, key=lambda at: curve[at][1]))
        kept.add(max(places, key=lambda at: curve[at][1]))
    return [curve[at] for at in sorted(kept)]


def round_values(low: float, high: float, aim: int) -> list[float]:
    """About `aim` round values from `low` to `high`; the one value there is when both are the same."""
    if not high > low:
        return [low]
    rough = (high - low) / aim
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two bounds; in the middle where they are one."""
    return (value - low) / (high - low) if high > low else 0.5
