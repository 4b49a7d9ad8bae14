"""What a strategy of one's own must show before it may run: no look into the future, and a window that is long enough.

The quick form runs on a built-in sample at every load, in well under a second; `surefoot strategy check` runs the same
tests, on real candles where they are given, and says besides whether the rule can be compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from surefoot.signals.strategy import Strategy
from surefoot.signals.window import Columns, FloatArray, newest

SAMPLE_START_MS = 1_704_067_200_000
SAMPLE_STEP_MS = 900_000
SAMPLE_BEYOND_WINDOW = 600
CUTS = 24
# Streaming may differ by rounding only; values below 1 are compared as they are.
TOLERANCE = 1e-9

Arrays = Callable[[Columns], tuple[FloatArray, ...]]


class Finding(NamedTuple):
    """One test, whether it was passed, and what it saw."""

    test: str
    passed: bool
    detail: str


def check(strategy: Strategy, columns: Columns | None = None) -> list[Finding]:
    """All tests on these candles, or on the sample. A test that cannot go on, because of an exception, has failed."""
    candles = sample(strategy.window + SAMPLE_BEYOND_WINDOW) if columns is None else columns
    tests: tuple[tuple[str, Callable[[Strategy, Columns], str]], ...] = (
        ("look-ahead", _look_ahead),
        ("streaming equals batch", _streaming),
        ("rule", _rule),
    )
    findings = []
    for name, test in tests:
        try:
            findings.append(Finding(name, True, test(strategy, candles)))
        except Exception as error:  # whatever a person's own code raises is a finding about it
            detail = str(error) if isinstance(error, _Failed) else f"{type(error).__name__}: {error}"
            findings.append(Finding(name, False, detail))
    return findings


def sample(count: int) -> Columns:
    """Made-up candles, always the same: a walk with calm and wild stretches, jumps, a stretch without any trade, and
    two gaps."""
    chance = np.random.default_rng(2024)
    steps = chance.integers(-30, 31, count) * np.repeat((1, 1, 4, 0, 2, 1, 12, 1), count // 8 + 1)[:count]
    closes = np.maximum(10_000 + np.cumsum(steps), 100) / 100
    opens = np.concatenate(([100.0], closes[:-1]))
    still = steps == 0
    highs = np.maximum(opens, closes) + np.where(still, 0, chance.integers(0, 40, count) / 100)
    lows = np.minimum(opens, closes) - np.where(still, 0, chance.integers(0, 40, count) / 100)
    volumes = np.where(still, 0.0, chance.integers(1, 500, count) / 10.0)
    numbers = np.arange(count) + 5 * (np.arange(count) > count // 3) + (np.arange(count) > count // 2)
    return Columns(SAMPLE_START_MS + numbers * SAMPLE_STEP_MS, opens, highs, lows, closes, volumes)


class _Failed(Exception):
    """A test was not passed; the text says where."""


def _sides(strategy: Strategy) -> Iterator[tuple[Arrays, Sequence[str]]]:
    confirming = len(strategy.confirm(sample(8))) if strategy.confirms else 0
    first = len(strategy.values) - confirming
    yield strategy.primary, strategy.values[:first]
    if confirming:
        yield strategy.confirm, strategy.values[first:]


def _look_ahead(strategy: Strategy, candles: Columns) -> str:
    count = candles.close.size
    cuts = sorted({*np.linspace(1, count - 1, CUTS).astype(int).tolist(), *range(max(count - 4, 1), count)})
    for arrays, names in _sides(strategy):
        whole = arrays(candles)
        for cut in cuts:
            for array, known in zip(arrays(first(candles, cut)), whole, strict=True):
                if not np.array_equal(array, known[:cut], equal_nan=True):
                    raise _Failed(_first_guilty(arrays, names, candles, whole))
    return f"no value changed when later candles were cut off at {len(cuts)} places of {count} candles"


def _first_guilty(arrays: Arrays, names: Sequence[str], candles: Columns, whole: tuple[FloatArray, ...]) -> str:
    """The first candle, and its first value, that change when everything after that candle is cut off."""
    for end in range(1, candles.close.size + 1):
        for name, array, known in zip(names, arrays(first(candles, end)), whole, strict=True):
            if not np.array_equal(array[-1:], known[end - 1 : end], equal_nan=True):
                return (
                    f"{name} of candle {end - 1} is {array[-1]:.10g} when that candle is the last, and "
                    f"{known[end - 1]:.10g} when later ones follow: it sees the future"
                )
    return "a value changed when later candles were cut off, though not of the last: it is not the same each time"


def _streaming(strategy: Strategy, candles: Columns) -> str:
    count, window, worst = candles.close.size, strategy.window, 0.0
    if count <= window + 1:
        raise _Failed(f"{count} candles are too few for a window of {window}")
    ends = np.unique(np.linspace(window + 1, count, 10 * CUTS).astype(int)).tolist()
    for arrays, names in _sides(strategy):
        whole = arrays(candles)
        for end in ends:
            rolling = arrays(newest(first(candles, end), window))
            for name, array, known in zip(names, rolling, whole, strict=True):
                ours, theirs = array.item(-1), known.item(end - 1)
                apart = abs(ours - theirs) / max(abs(theirs), 1.0)
                if np.isnan(ours) != np.isnan(theirs) or apart > TOLERANCE:
                    raise _Failed(
                        f"{name} of candle {end - 1} is {ours:.10g} in a window of {window} candles and {theirs:.10g} "
                        f"over the whole history: give it a longer window"
                    )
                worst = max(worst, 0.0 if np.isnan(apart) else apart)
    return f"a window of {window} candles gives the values of the whole history at {len(ends)} places, to {worst:.1e}"


def _rule(strategy: Strategy, candles: Columns) -> str:
    sides = [arrays(candles) for arrays, _ in _sides(strategy)]
    rows = list(zip(*(array.tolist() for side in sides for array in side), strict=True))
    fired = set()
    for row in rows:
        if any(value != value for value in row):
            continue
        place, again = (strategy.rule(*row, *strategy.thresholds) for _ in range(2))
        if place != again:
            raise _Failed(f"it answers {place} and then {again} to the same values")
        if int(place) != place or not 0 <= place < len(strategy.rules):
            raise _Failed(f"it answers {place!r}, a place from 0 to {len(strategy.rules) - 1} in RULES is wanted")
        fired.add(int(place))
    names = ", ".join(strategy.rules[place].name for place in sorted(fired))
    return f"it answers within RULES, the same each time; seen here: {names or 'no value at all'}"


def first(columns: Columns, count: int) -> Columns:
    """The first `count` candles, as views."""
    open_ms, opens, highs, lows, closes, volumes = columns
    return Columns(open_ms[:count], opens[:count], highs[:count], lows[:count], closes[:count], volumes[:count])
