"""Indicators of a history remembered by the parameters that they were made of: thresholds of a rule change none.

What a strategy reads while it makes its arrays is noted. Another one of the same kind that has the same there would
make the same arrays, whatever its other parameters are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from surefoot.signals.custom import Custom
from surefoot.signals.history import plainly
from surefoot.signals.strategy import Strategy
from surefoot.signals.window import Columns, FloatArray

KEPT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Entry:
    """Arrays that were made of these candles, and the parameters that were read for it."""

    made_by: Any
    which: str
    columns: Columns
    read: Mapping[str, Any]
    arrays: tuple[FloatArray, ...]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Seen:
    """What strategies saw of one symbol's candles, the newest first."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def look(self, strategy: Strategy, which: str, columns: Columns) -> tuple[FloatArray, ...]:
        """See `history.Look`."""
        made_by, parameters = _parameters(strategy)
        for entry in self._entries:
            alike = entry.made_by == made_by and entry.which == which and _are_equal(entry.columns, columns)
            if alike and all(parameters[name] == value for name, value in entry.read.items()):
                return entry.arrays
        noted: set[str] = set()
        arrays = _made(strategy, which, columns, noted)
        # Who read a method, or all at once, may have read anything.
        read = {name: parameters[name] for name in noted} if noted <= set(parameters) else parameters
        self._entries.insert(0, _Entry(made_by, which, columns, read, arrays))
        while len(self._entries) > 1 and sum(entry.nbytes for entry in self._entries) > KEPT_BYTES:
            self._entries.pop()
        return arrays


def _parameters(strategy: Strategy) -> tuple[Any, dict[str, Any]]:
    """By whom arrays are made, and all that may be read of it."""
    if isinstance(strategy, Custom):
        asked = (strategy.primary_names, strategy.confirm_names)
        return (strategy.indicators, strategy.confirmation, asked), dict(vars(strategy.chosen))
    names = [parameter.name for parameter in strategy.parameters]
    return type(strategy), {name: getattr(strategy, name) for name in names}


def _made(strategy: Strategy, which: str, columns: Columns, noted: set[str]) -> tuple[FloatArray, ...]:
    """The arrays; what of the parameters was read for them is noted."""
    if isinstance(strategy, Custom):
        return plainly(replace(strategy, chosen=_Noting(strategy.chosen, noted)), which, columns)
    arrays: tuple[FloatArray, ...] = getattr(type(strategy), which)(_Noting(strategy, noted), columns)
    return arrays


class _Noting:
    """In the place of another object, and notes which of its attributes are read."""

    def __init__(self, instead_of: Any, noted: set[str]) -> None:
        self._instead_of = instead_of
        self._noted = noted

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        own(self, "_noted").add(name)
        return getattr(own(self, "_instead_of"), name)


def _are_equal(one: Columns, other: Columns) -> bool:
    return all(a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True))
