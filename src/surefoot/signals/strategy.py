"""What a strategy is, and the source that turns closed candles into its signals.

A strategy has arrays and a rule. The arrays are causal functions of candles: a value at a candle depends on that
candle and earlier ones only. The rule is a plain function of floats that answers with a small number, the place in the
strategy's table of rules. `SignalSource` (streaming, a bounded window) and `signals_for` (a whole history) call the
same arrays and the same rule, so that they agree; a live loop and a backtest decide alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isnan
from typing import Protocol

import numpy as np

from surefoot.core.model import INTERVAL_MS, Candle, Readiness, Signal
from surefoot.signals.window import Columns, FloatArray, IntArray, Placement, Resampler, Series, resample

# Known by name: where the class is. Import happens when it is asked for.
STRATEGIES = {"rsi": "surefoot.signals.rsi:Rsi"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a strategy can be tuned by, with the range it makes sense in."""

    name: str
    default: float
    low: float
    high: float
    unit: str
    meaning: str


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


class Strategy(Protocol):
    """Arrays from candles, and one rule over their values.

    The rule is called as `rule(*primary values, *confirm values, *thresholds)` with finite floats only, and answers
    with a position in `rules`; position 0 is "neutral". `values` names the primary and confirm values in that order.
    `window` is the number of candles after which older ones no longer change any value.
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


def checked_parameters(owner: str, known: Iterable[Parameter], given: Mapping[str, float]) -> dict[str, float]:
    """Every parameter with its given or default value; ValueError names the one that is unknown or out of range."""
    table = {parameter.name: parameter for parameter in known}
    for name, value in given.items():
        if name not in table:
            raise ValueError(f"{owner} has no parameter {name!r}; it has {', '.join(table)}")
        low, high = table[name].low, table[name].high
        if not low <= value <= high:
            raise ValueError(f"{owner}: {name} = {value:g} is outside {low:g} to {high:g} {table[name].unit}")
    return {name: float(given.get(name, parameter.default)) for name, parameter in table.items()}


class SignalSource:
    """Closed candles in, one signal a candle out, for several symbols."""

    def __init__(self, strategy: Strategy, symbols: Sequence[str], interval: str, confirm_interval: str) -> None:
        self.strategy = strategy
        self.symbols = tuple(symbols)
        self.interval = interval
        self.confirm_interval = confirm_interval
        self._charts = {symbol: _Chart(strategy, symbol, interval, confirm_interval) for symbol in self.symbols}

    @property
    def history_candles(self) -> int:
        """Primary candles to warm up with, so that signals equal those of the whole history."""
        return self.strategy.window * (INTERVAL_MS[self.confirm_interval] // INTERVAL_MS[self.interval])

    def warm(self, candles: Sequence[Candle]) -> None:
        """Take history, oldest first; nothing is decided on it. Candles already known are harmless."""
        for candle in candles:
            self._chart(candle).take(candle)
        for chart in self._charts.values():
            chart.refresh()

    def on_candle(self, candle: Candle) -> Signal:
        """The signal at this candle's close. Always answers; target None comes with the reason as its rule."""
        return self._chart(candle).decide(candle)

    def gap_before(self, candle: Candle) -> tuple[int, int] | None:
        """Open times from (inclusive) and to (exclusive) of what is missing before this candle; None if nothing."""
        return self._chart(candle).series.gap_before(candle)

    def readiness(self, symbol: str) -> Readiness:
        """How far the symbol is warmed up, by the lesser of its two intervals."""
        return self._charts[symbol].readiness()

    def _chart(self, candle: Candle) -> _Chart:
        if candle.interval != self.interval or candle.symbol not in self._charts:
            wanted = f"{', '.join(self.symbols)} {self.interval}"
            raise ValueError(f"a candle of {candle.symbol} {candle.interval} came; wanted are {wanted}")
        return self._charts[candle.symbol]


class _Chart:
    """One symbol: its two series, and what the rule last saw of the confirming one."""

    def __init__(self, strategy: Strategy, symbol: str, interval: str, confirm_interval: str) -> None:
        self._strategy = strategy
        self._symbol = symbol
        self._confirm_interval = confirm_interval
        self.series = Series(interval, strategy.window)
        self._confirm = Series(confirm_interval, strategy.window)
        self._resampler = Resampler(interval, confirm_interval)
        self._confirm_values: tuple[float, ...] = ()
        self._stale = False

    def take(self, candle: Candle) -> Placement:
        placement = self.series.append(candle)
        if placement is not Placement.IGNORED:
            for higher in self._resampler.append(candle):
                self._confirm.append(higher)
                self._stale = True
        return placement

    def refresh(self) -> None:
        # The confirming values change once an hour, not with each primary candle.
        if self._stale:
            self._confirm_values = tuple(array.item(-1) for array in self._strategy.confirm(self._confirm.columns()))
            self._stale = False

    def decide(self, candle: Candle) -> Signal:
        self.take(candle)
        self.refresh()
        last_ms = self.series.last_open_ms
        if last_ms is not None and candle.open_ms < last_ms:
            return _silent(self._symbol, candle.close_ms, "old candle: a newer one was decided on")
        unready = _not_ready(self._strategy.warmup, len(self.series), len(self._confirm), self._confirm_interval)
        if unready:
            return _silent(self._symbol, candle.close_ms, unready)
        primary = (array.item(-1) for array in self._strategy.primary(self.series.columns()))
        return _decided(self._strategy, self._symbol, candle.close_ms, (*primary, *self._confirm_values))

    def readiness(self) -> Readiness:
        count, warmup = min(len(self.series), len(self._confirm)), self._strategy.warmup
        if count < warmup.minimum:
            return Readiness.NOT_READY
        if count < warmup.warm:
            return Readiness.MINIMUM
        return Readiness.WARM if count < warmup.best else Readiness.BEST


def signals_for(
    strategy: Strategy, symbol: str, interval: str, confirm_interval: str, columns: Columns
) -> list[Signal]:
    """The signal at each candle of a whole history: what `SignalSource` answers when it is fed one by one."""
    confirm, finished = resample(columns, interval, confirm_interval)
    arrays = [array.tolist() for array in strategy.primary(columns)]
    arrays += [_at(array, finished).tolist() for array in strategy.confirm(confirm)]
    closes_ms = (columns.open_ms + INTERVAL_MS[interval] - 1).tolist()
    signals = []
    for at, (at_ms, confirmed, values) in enumerate(
        zip(closes_ms, finished.tolist(), zip(*arrays, strict=True), strict=True)
    ):
        unready = _not_ready(strategy.warmup, at + 1, confirmed, confirm_interval)
        signals.append(_silent(symbol, at_ms, unready) if unready else _decided(strategy, symbol, at_ms, values))
    return signals


def _at(values: FloatArray, finished: IntArray) -> FloatArray:
    """Each candle's newest finished value; NaN before the first."""
    return np.concatenate(([np.nan], values))[finished]


def _not_ready(warmup: Warmup, candles: int, confirm_candles: int, confirm_interval: str) -> str | None:
    if candles < warmup.minimum:
        return f"not ready: {candles} of {warmup.minimum} candles"
    if confirm_candles < warmup.minimum:
        return f"not ready: {confirm_candles} of {warmup.minimum} candles of {confirm_interval}"
    return None


def _silent(symbol: str, at_ms: int, why: str) -> Signal:
    return Signal(symbol=symbol, at_ms=at_ms, target=None, score=0.0, rule=why)


def _decided(strategy: Strategy, symbol: str, at_ms: int, values: tuple[float, ...]) -> Signal:
    seen = tuple(zip(strategy.values, values, strict=True))
    if any(map(isnan, values)):
        return Signal(symbol, at_ms, None, 0.0, "no value", tuple(pair for pair in seen if not isnan(pair[1])))
    fired = strategy.rules[strategy.rule(*values, *strategy.thresholds)]
    return Signal(symbol, at_ms, fired.target, fired.score, fired.name, seen)
