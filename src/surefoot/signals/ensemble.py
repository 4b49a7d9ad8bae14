"""Several strategies asked together, and how one answer is made of theirs.

Each member gives a target and a score; no target (NaN here) is no opinion and counts neither way. A target of 0 asks to
be flat: it opposes both sides. Every formula answers with the score of the result, signed by its direction, 0 for none.
More dissent never raises the score of a direction. The formulas are plain functions of short sequences, so that a live
signal calls them as they are and a history compiles them.

An ensemble is as ready as its least ready member: what it says with a member missing is another strategy, which nobody
has tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign
from typing import Any

import numpy as np

from surefoot.core.model import Vote
from surefoot.signals.compiled import for_length
from surefoot.signals.strategy import Rule, Strategy
from surefoot.signals.window import FloatArray

MODES = ("weighted", "consensus", "best", "conservative")
CONSERVATIVE_SHARE = 0.9
CONSERVATIVE_AGREE_MIN = 2
TIE = 1e-12  # sums of scores this near to each other are equal: rounding must not take a side

Numbers = Any  # a sequence of floats: a tuple as it is, a row of an array when compiled


def weighted(targets: Numbers, scores: Numbers, weights: Numbers) -> float:
    """Sum of weight x score, with the sign of each target, over the sum of the weights of all that have an opinion."""
    total = weight = 0.0
    for at in range(len(targets)):
        if targets[at] == targets[at]:
            weight += weights[at]
            total += weights[at] * scores[at] * sign(targets[at])
    return total / weight if weight > 0.0 and abs(total) > TIE else 0.0


def consensus(targets: Numbers, scores: Numbers, agree_min: int) -> float:
    """Mean score of those who agree x (agreeing - opposing) / (agreeing + opposing), if `agree_min` or more agree."""
    side = majority(targets)
    if side == 0.0:
        return 0.0
    agreeing, opposing, total = 0, 0, 0.0
    for at in range(len(targets)):
        if sign(targets[at]) == side:
            agreeing += 1
            total += scores[at]
        elif targets[at] == targets[at]:
            opposing += 1
    if agreeing < agree_min or opposing >= agreeing:
        return 0.0
    return side * total / agreeing * (agreeing - opposing) / (agreeing + opposing)


def best(targets: Numbers, scores: Numbers) -> float:
    """The highest score x (1 - the highest score against it); equal ones against each other cancel out."""
    long = short = flat = 0.0
    for at in range(len(targets)):
        side = sign(targets[at])
        if side > 0.0:
            long = max(long, scores[at])
        elif side < 0.0:
            short = max(short, scores[at])
        elif targets[at] == targets[at]:
            flat = max(flat, scores[at])
    if abs(long - short) <= TIE:
        return 0.0
    if long > short:
        return long * (1.0 - max(short, flat))
    return -short * (1.0 - max(long, flat))


def conservative(targets: Numbers, scores: Numbers) -> float:
    """0.9 x the mean score, where at least two agree and none opposes."""
    side = majority(targets)
    agreeing, total = 0, 0.0
    for at in range(len(targets)):
        if targets[at] == targets[at]:
            if sign(targets[at]) != side:
                return 0.0
            agreeing += 1
            total += scores[at]
    return side * CONSERVATIVE_SHARE * total / agreeing if agreeing >= CONSERVATIVE_AGREE_MIN else 0.0


def combined(mode: int, targets: Numbers, scores: Numbers, weights: Numbers, agree_min: int) -> float:
    """The answer of the formula at that place in `MODES`."""
    if mode == 0:
        return weighted(targets, scores, weights)
    if mode == 1:
        return consensus(targets, scores, agree_min)
    if mode == 2:
        return best(targets, scores)
    return conservative(targets, scores)


def combine_loop(
    mode: int, targets: FloatArray, scores: FloatArray, weights: FloatArray, agree_min: int, results: FloatArray
) -> None:
    """The formula at each candle: `targets` and `scores` have a row a candle and a column a member."""
    for at in range(len(results)):
        results[at] = combined(mode, targets[at], scores[at], weights, agree_min)


def sign(target: float) -> float:
    """1, 0 or -1; 0 for no opinion as well."""
    return 1.0 if target > 0.0 else -1.0 if target < 0.0 else 0.0


def majority(targets: Numbers) -> float:
    """The side that more members are on; 0 when they are even."""
    balance = 0.0
    for at in range(len(targets)):
        balance += sign(targets[at])
    return sign(balance)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members with their weights, and the way they are heard. See the module for the formulas."""

    members: tuple[Strategy, ...]
    mode: str = "weighted"
    weights: tuple[float, ...] = ()
    agree_min: int = 2

    def __post_init__(self) -> None:
        """`weights` may be left out: all are 1 then. ValueError for what does not fit together."""
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.members))
        if self.mode not in MODES:
            raise ValueError(f"ensemble: no mode is called {self.mode!r}; known are {', '.join(MODES)}")
        if not self.members or len({member.name for member in self.members}) != len(self.members):
            raise ValueError("ensemble: it needs members, each of them once")
        if len(self.weights) != len(self.members) or not all(weight > 0 for weight in self.weights):
            raise ValueError(f"ensemble: {len(self.members)} members need as many weights, all above 0")
        if not 1 <= self.agree_min <= len(self.members):
            raise ValueError(f"ensemble: agree_min = {self.agree_min} is outside 1 to {len(self.members)} members")

    @property
    def name(self) -> str:
        return "ensemble"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What the result is called; its score is the formula's."""
        return (
            Rule("neutral", 0.0, None),
            Rule(f"ensemble {self.mode} long", 1.0, 1.0),
            Rule(f"ensemble {self.mode} short", 1.0, -1.0),
        )

    def result(self, votes: Sequence[Vote]) -> float:
        """The signed score of what the members said; 0 is no opinion."""
        targets = tuple(float("nan") if vote.target is None else vote.target for vote in votes)
        scores = tuple(vote.score for vote in votes)
        return combined(MODES.index(self.mode), targets, scores, self.weights, self.agree_min)

    def results(self, targets: FloatArray, scores: FloatArray) -> FloatArray:
        """The same over a history, a row a candle and a column a member."""
        results = np.zeros(len(targets))
        loop = for_length(combine_loop, len(targets))
        loop(MODES.index(self.mode), targets, scores, np.array(self.weights), self.agree_min, results)
        return results


def place(result: float) -> int:
    """Where in `Ensemble.rules` a signed score stands."""
    return 0 if result == 0.0 else 1 if copysign(1.0, result) > 0 else 2
