"""Whether the best is a plateau or a needle: scores over the space, and of the best one's nearest neighbours.

A setting that earns only at one value earned by chance. The map has, for each setting, the trials in some bins of its
values, and for the two settings that scores depend on most the middle score of each pair of bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median, pvariance
from typing import Any

from surefoot.research.space import Dimension, Point, Space

BINS_MAX = 8
# How far a neighbour is away: this share of the range, at least a step.
NEIGHBOUR_SHARE = 0.05

Scored = tuple[Point, float]


def plateau_map(space: Space, scored: Sequence[Scored]) -> dict[str, Any]:
    """By setting and by pair, as `optimize` tells it; empty pairs are None. {} without two settings that vary."""
    if not scored:
        return {}
    dimensions = [dimension for dimension in space.dimensions if len(dimension.values) > 1]
    told: dict[str, Any] = {"dimensions": {d.key: _profile(d, scored) for d in dimensions}}
    first_two = sorted(dimensions, key=lambda dimension: -_importance(dimension, scored))[:2]
    if len(first_two) < 2:
        return told
    x, y = first_two
    across, down = _bins(x), _bins(y)
    cells: dict[tuple[int, int], list[float]] = {}
    for point, score in scored:
        if x.key in point and y.key in point:
            place = _bin_at(x, across, point), _bin_at(y, down, point)
            cells.setdefault(place, []).append(score)
    rows = [
        [median(cells[at, row]) if (at, row) in cells else None for at in range(len(across))]
        for row in range(len(down))
    ]
    return told | {
        "x": x.key,
        "y": y.key,
        "x_values": [_label(part) for part in across],
        "y_values": [_label(part) for part in down],
        "scores": rows,
    }


def neighbours(space: Space, point: Point) -> list[Point]:
    """The points beside one, each with one setting of a range moved down or up."""
    near = []
    for dimension in space.dimensions:
        if not dimension.is_range or dimension.key not in point:
            continue
        at, step = dimension.values.index(point[dimension.key]), max(1, round(NEIGHBOUR_SHARE * len(dimension.values)))
        for place in (at - step, at + step):
            if 0 <= place < len(dimension.values):
                near.append(point | {dimension.key: dimension.values[place]})
    return near


def _bins(dimension: Dimension) -> list[tuple[str, ...]]:
    """The values in bins of about one size; a list is not cut, since its order means nothing."""
    values = dimension.values
    count = min(BINS_MAX, len(values)) if dimension.is_range else len(values)
    edges = [len(values) * at // count for at in range(count + 1)]
    return [values[start:end] for start, end in pairwise(edges)]


def _bin_at(dimension: Dimension, parts: Sequence[tuple[str, ...]], point: Point) -> int:
    return next(at for at, part in enumerate(parts) if point[dimension.key] in part)


def _label(part: tuple[str, ...]) -> str:
    return part[0] if len(part) == 1 else f"{part[0]} to {part[-1]}"


def _grouped(dimension: Dimension, scored: Sequence[Scored]) -> list[tuple[str, list[float]]]:
    parts = _bins(dimension)
    groups: list[tuple[str, list[float]]] = [(_label(part), []) for part in parts]
    for point, score in scored:
        if dimension.key in point:
            groups[_bin_at(dimension, parts, point)][1].append(score)
    return groups


def _profile(dimension: Dimension, scored: Sequence[Scored]) -> list[dict[str, Any]]:
    return [
        {
            "values": label,
            "trials": len(scores),
            "median": median(scores) if scores else None,
            "best": max(scores, default=None),
        }
        for label, scores in _grouped(dimension, scored)
    ]


def _importance(dimension: Dimension, scored: Sequence[Scored]) -> float:
    """How much of the scores' variance lies between the bins of a setting."""
    groups = [scores for _, scores in _grouped(dimension, scored) if scores]
    total = [score for scores in groups for score in scores]
    whole = pvariance(total) if total else 0.0
    if not whole:
        return 0.0
    middle = fmean(total)
    return sum(len(scores) * (fmean(scores) - middle) ** 2 for scores in groups) / len(total) / whole
