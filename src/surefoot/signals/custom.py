"""A strategy of one's own: a plain Python module with parameters, indicators and one rule, made into a strategy.

    PARAMETERS = (Parameter("fast", 10, 2, 100, "candles", "the quick average", whole=True), ...)
    RULES = (Rule("neutral", 0.0, None), Rule("cross up", 0.8, 1.0), ...)
    def window(p): ...             candles after which older ones change no value
    def indicators(candles, p): ...  the primary interval's values by name, arrays as long as candles.close
    def rule(gap, gap_before): ... place in RULES; asks for values and parameters by their names

Optional: `confirm(candles, p)` gives values of the confirming interval, whose names begin with `confirm_`; `warmup(p)`
is the number of candles before the first signal, or a triple of minimum, warm and best, where `window(p)` is too long
to wait. A rule asks for primary values first, then for confirming ones, then for parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from surefoot.signals.strategy import Parameter, Rule, Warmup, checked_parameters
from surefoot.signals.window import WINDOW_CANDLES_MAX, Columns, FloatArray

__all__ = ["Custom", "Parameter", "Rule", "custom_strategy"]

CONFIRM = "confirm_"
NEEDED = ("RULES", "window", "indicators", "rule")

Values = Callable[[Columns, Any], Mapping[str, FloatArray]]


@dataclass(frozen=True, slots=True)
class Custom:
    """A strategy made of a module; `chosen` are its parameters as attributes."""

    name: str
    parameters: tuple[Parameter, ...]
    rules: tuple[Rule, ...]
    rule: Callable[..., int]
    warmup: Warmup
    window: int
    chosen: Any
    indicators: Values
    confirmation: Values | None
    primary_names: tuple[str, ...]
    confirm_names: tuple[str, ...]
    threshold_names: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        return self.primary_names + self.confirm_names

    @property
    def thresholds(self) -> tuple[float, ...]:
        return tuple(float(getattr(self.chosen, name)) for name in self.threshold_names)

    @property
    def confirms(self) -> bool:
        return bool(self.confirm_names)

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        return _asked("indicators", self.indicators(columns, self.chosen), self.primary_names, columns)

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        if self.confirmation is None:
            return ()
        return _asked("confirm", self.confirmation(columns, self.chosen), self.confirm_names, columns)


def custom_strategy(name: str, module: Any, given: Mapping[str, float]) -> Custom:
    """The strategy that a module describes, with its parameters set; ValueError says what is wrong with it."""
    missing = [needed for needed in NEEDED if not hasattr(module, needed)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    parameters = tuple(getattr(module, "PARAMETERS", ()))
    chosen = SimpleNamespace(**checked_parameters(name, parameters, given))
    window = _counted("window", module.window(chosen))
    primary, confirm, thresholds = _arguments(module.rule, frozenset(parameter.name for parameter in parameters))
    confirmation = getattr(module, "confirm", None)
    if confirm and confirmation is None:
        raise ValueError(f"its rule asks for {confirm[0]}, and there is no confirm(candles, p) to give it")
    return Custom(
        name=name,
        parameters=parameters,
        rules=_checked_rules(module.RULES),
        rule=module.rule,
        warmup=_warmup(module.warmup(chosen) if hasattr(module, "warmup") else window),
        window=window,
        chosen=chosen,
        indicators=module.indicators,
        confirmation=confirmation if confirm else None,
        primary_names=primary,
        confirm_names=confirm,
        threshold_names=thresholds,
    )


@cache
def _arguments(
    rule: Callable[..., int], parameters: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    names = list(inspect.signature(rule).parameters)
    kinds = [2 if name in parameters else 1 if name.startswith(CONFIRM) else 0 for name in names]
    if kinds != sorted(kinds):
        raise ValueError("its rule must ask for primary values first, then for confirm_ values, then for parameters")
    if 0 not in kinds:
        raise ValueError("its rule asks for no value of the primary interval")
    primary, confirm, thresholds = (
        tuple(name for name, its in zip(names, kinds, strict=True) if its == kind) for kind in range(3)
    )
    return primary, confirm, thresholds


def _checked_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    table = tuple(rules)
    if not table or table[0].target is not None:
        raise ValueError('the first of its RULES must be the neutral one, Rule("neutral", 0.0, None)')
    for rule in table:
        if not 0 <= rule.score <= 1 or (rule.target is not None and not -1 <= rule.target <= 1):
            raise ValueError(f"rule {rule.name!r}: a score is 0 to 1, a target None or -1 to 1")
    return table


def _warmup(given: Any) -> Warmup:
    counts = given if isinstance(given, tuple) else (given,) * 3
    if len(counts) != 3 or list(counts) != sorted(counts):
        raise ValueError("warmup must give a number of candles, or minimum, warm and best of them")
    return Warmup(*(_counted("warmup", count) for count in counts))


def _counted(what: str, count: Any) -> int:
    if not isinstance(count, int) or not 1 <= count <= WINDOW_CANDLES_MAX:
        raise ValueError(f"{what} = {count!r} is not a whole number of candles from 1 to {WINDOW_CANDLES_MAX}")
    return count


def _asked(
    giver: str, given: Mapping[str, FloatArray], names: tuple[str, ...], columns: Columns
) -> tuple[FloatArray, ...]:
    arrays = []
    for name in names:
        if name not in given:
            raise ValueError(f"the rule asks for {name}, {giver} gives {', '.join(given)}")
        array = np.asarray(given[name], dtype=np.float64)
        if array.shape != columns.close.shape:
            raise ValueError(f"{giver}: {name} has the shape {array.shape}, the closes {columns.close.shape}")
        arrays.append(array)
    return tuple(arrays)
