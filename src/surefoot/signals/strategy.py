"""What a strategy is: arrays, one rule, and parameters with ranges.

The arrays are causal functions of candles: a value at a candle depends on that candle and earlier ones only. The rule
is a plain function of floats that answers with a small number, the place in the strategy's table of rules. `source`
(streaming, a bounded window) and `history` (all candles at once) call the same arrays and the same rule, so that they
agree; a live loop and a backtest decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from surefoot.core.model import Readiness
from surefoot.signals.window import Columns, FloatArray

# Known by name: where the class is. Import happens when it is asked for.
STRATEGIES = {
    "rsi": "surefoot.signals.rsi:Rsi",
    "macd": "surefoot.signals.macd:Macd",
    "bollinger": "surefoot.signals.bollinger:Bollinger",
    "volume": "surefoot.signals.volume:Volume",
    "stochastic": "surefoot.signals.stochastic:Stochastic",
}
LEVELS = tuple(Readiness)  # from not ready to best


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a strategy can be tuned by, with the range it makes sense in; `whole` ones are integers."""

    name: str
    default: float
    low: float
    high: float
    unit: str
    meaning: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a strategy's table: what it is called, its score 0 to 1, and the exposure it wants."""

    name: str
    score: float
    target: float | None


@dataclass(frozen=True, slots=True)
class Warmup:
    """Candles that a strategy needs before it may speak, before it is warm, and before it is at its best."""

    minimum: int
    warm: int
    best: int

    @classmethod
    def multiples(cls, first: int) -> Warmup:
        """From the candles that the first values need: warm at twice, best at five times as many, as for MACD."""
        return cls(minimum=first, warm=2 * first, best=5 * first)

    def level(self, candles: Any) -> Any:
        """Place in `LEVELS` for a count of candles, or for an array of counts."""
        return (candles >= self.minimum) * 1 + (candles >= self.warm) * 1 + (candles >= self.best) * 1


class Strategy(Protocol):
    """Arrays from candles, and one rule over their values.

    The rule is called as `rule(*primary values, *confirm values, *thresholds)` with finite floats only, and answers
    with a position in `rules`; position 0 is "neutral". `values` names the primary and confirm values in that order.
    `window` is the number of candles after which older ones no longer change any value. `confirms` says whether the
    confirming interval is looked at: where it is not, none of its candles are waited for.
    """

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def warmup(self) -> Warmup: ...
    @property
    def window(self) -> int: ...
    @property
    def values(self) -> tuple[str, ...]: ...
    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def rule(self) -> Callable[..., int]: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def confirms(self) -> bool: ...

    def primary(self, columns: Columns) -> tuple[FloatArray, ...]:
        """What the rule sees of the primary interval: arrays as long as the columns, NaN for no value."""
        ...

    def confirm(self, columns: Columns) -> tuple[FloatArray, ...]:
        """What the rule sees of the confirming interval."""
        ...


def strategy_named(name: str, parameters: Mapping[str, float] | None = None) -> Strategy:
    """The strategy of that name with its parameters set; ValueError for an unknown name or a value out of range."""
    if name not in STRATEGIES:
        raise ValueError(f"no strategy is called {name!r}; known are {', '.join(sorted(STRATEGIES))}")
    module, _, attribute = STRATEGIES[name].partition(":")
    maker: Callable[[Mapping[str, float]], Strategy] = getattr(import_module(module), attribute).from_parameters
    return maker(parameters or {})


def checked_parameters(owner: str, known: Iterable[Parameter], given: Mapping[str, float]) -> dict[str, Any]:
    """Every parameter with its given or default value; ValueError names the one that is unknown or out of range."""
    table = {parameter.name: parameter for parameter in known}
    for name, value in given.items():
        if name not in table:
            raise ValueError(f"{owner} has no parameter {name!r}; it has {', '.join(table)}")
        low, high, unit = table[name].low, table[name].high, table[name].unit
        if not low <= value <= high:
            raise ValueError(f"{owner}: {name} = {value:g} is outside {low:g} to {high:g} {unit}")
        if table[name].whole and value % 1:
            raise ValueError(f"{owner}: {name} = {value:g} is not a whole number of {unit}")
    chosen = {name: given.get(name, parameter.default) for name, parameter in table.items()}
    return {name: int(value) if table[name].whole else float(value) for name, value in chosen.items()}
