"""Counting how long things take, at the cost of a few additions each."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


@dataclass(frozen=True, slots=True)
class Spread:
    """`counts` are how many fell between two of `BOUNDS_MS`, the upper one included; the last were above them all."""

    counts: tuple[int, ...]
    sum_ms: float


class Tally:
    """Counts durations in ms by `BOUNDS_MS`."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def add(self, value_ms: float) -> None:
        self._counts[bisect_left(BOUNDS_MS, value_ms)] += 1
        self._sum_ms += value_ms

    def spread(self) -> Spread:
        """What was counted so far."""
        return Spread(tuple(self._counts), self._sum_ms)
