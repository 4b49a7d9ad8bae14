"""What agreement of two sets of signals means, and how far apart they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan
from unittest.mock import patch

import pytest

from surefoot.core.model import Candle, Signal
from surefoot.signals import replay
from surefoot.signals.decision import Decider
from surefoot.signals.filters import Filters
from surefoot.signals.history import NOT_READY, Decisions
from surefoot.signals.source import OFF
from surefoot.signals.strategy import LEVELS
from tests.signals.market import columns_of

RELATIVE = 1e-12


def replayed(
    decider: Decider,
    interval: str,
    confirm_interval: str,
    given: Sequence[Candle],
    filters: Filters = OFF,
    stretch_candles: int = replay.STRETCH_CANDLES,
) -> list[Signal]:
    """The signal at each of these candles of one symbol, all of them known beforehand."""
    columns = {given[0].symbol: columns_of(given)}
    with patch.object(replay, "STRETCH_CANDLES", stretch_candles):
        source = replay.ReplayedSignals(decider, columns, interval, confirm_interval, filters)
        return [source.on_candle(one) for one in given]


def worst_difference(ours: Sequence[Signal], theirs: Sequence[Signal]) -> float:
    """The greatest relative difference of any number in two lists of signals that decide alike; asserts that they do.

    Numbers below 1 are compared as they are: the values of rules are points, shares and multiples of a range.
    """
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        bare, other_bare = (replace(signal, values=(), votes=(), atr=None) for signal in (one, other))
        assert bare == other_bare, (one, other)
        for (name, value), (other_name, other_value) in zip(_numbers(one), _numbers(other), strict=True):
            assert name == other_name
            assert (value is None) == (other_value is None), (one, other)
            if value is not None and other_value is not None:
                worst = max(worst, abs(value - other_value) / max(abs(other_value), 1.0))
    return worst


def assert_same_decisions(ours: Sequence[Signal], theirs: Sequence[Signal]) -> None:
    """Equal in all that is decided; the numbers to one in a trillion."""
    assert worst_difference(ours, theirs) <= RELATIVE


def assert_arrays_equal_signals(arrays: Decisions, signals: Sequence[Signal]) -> None:
    """Every array of a batch says what the signals say."""
    for at, signal in enumerate(signals):
        target, ranges = arrays.target.item(at), arrays.atr.item(at)
        assert arrays.close_ms.item(at) == signal.at_ms
        assert (None if isnan(target) else target) == signal.target
        assert arrays.score.item(at) == signal.score
        assert LEVELS[arrays.readiness.item(at)] is signal.readiness
        assert ranges == pytest.approx(nan if signal.atr is None else signal.atr, rel=RELATIVE, nan_ok=True)
        assert arrays.filtered.item(at) == bool(signal.filtered)
        assert arrays.gap.item(at) == signal.gap
        rule = arrays.rules[arrays.rule.item(at)]
        assert signal.rule.startswith(NOT_READY) if rule == NOT_READY else rule == signal.rule


def _numbers(signal: Signal) -> list[tuple[str, float | None]]:
    votes = [(f"{vote.strategy} {name}", value) for vote in signal.votes for name, value in vote.values]
    said = [(f"{vote.strategy} {vote.rule} {vote.target}", vote.score) for vote in signal.votes]
    return [("atr", signal.atr), *signal.values, *votes, *said]
