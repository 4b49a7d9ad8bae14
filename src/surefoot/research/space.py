"""What a search may choose from: dotted settings, each with a list of values or a range cut into steps.

Written `rsi.period=5:30:1` (from, to, step), `exits.stop_pct_of_price=1:5` (the step is then 1 for whole numbers, else
a power of ten of which some hundred fit) or `strategy.name=rsi,macd`; in a file the same under [space]. So every point
is finite text, equal on every machine. Settings of costs, of the account or of the data cannot be searched:
a strategy does not choose what it pays.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from pathlib import Path

from surefoot.config import ConfigError, bounds_of, check_value, is_setting, is_whole
from surefoot.signals.strategy import STRATEGIES, Parameter, strategy_named
from surefoot.strategies import ENSEMBLE, own_strategy

# A point of the space: a value by dotted key, both as text.
Point = dict[str, str]

STRATEGY = "strategy.name"
OWN_PARAMETERS = "strategy.parameters"
SECTIONS = ("strategy", "ensemble", "filters", "risk", "exits", "breaker", "market")
NOT_CHOSEN = ("market.symbols", "market.warmup_candles")
VALUES_MAX = 10_000  # of one setting
STEPS_BY_DEFAULT = 100
# Where a search looks when it is told nothing: what lies outside is seldom meant.
ENSEMBLE_BY_DEFAULT = (
    "ensemble.mode=weighted,consensus,best,conservative",
    "ensemble.agree_min_votes=1:3",
    "strategy.score_min_backtest=0.3:0.8:0.05",
)
EXITS_BY_DEFAULT = ("exits.stop_pct_of_price=1:8", "exits.target_pct_of_price=1:16")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting and the values it may take. Those of a range are in order, so that neighbours mean something."""

    key: str
    values: tuple[str, ...]
    is_range: bool
    is_stepped: bool = True


@dataclass(frozen=True, slots=True)
class Space:
    """All dimensions; the choice of the strategy comes first, because others depend on it."""

    dimensions: tuple[Dimension, ...]
    strategy: str

    @property
    def digest(self) -> str:
        """SHA-256, equal for equal spaces however they were written."""
        parts = sorted((d.key, d.values, d.is_range) for d in self.dimensions)
        return hashlib.sha256(json.dumps([self.strategy, parts]).encode()).hexdigest()

    @property
    def size(self) -> int:
        """How many points there are, those of parameters that a strategy does not have counted too."""
        return prod(len(dimension.values) for dimension in self.dimensions)

    def speaks(self, dimension: Dimension, chosen: Mapping[str, str]) -> bool:
        """Whether a setting means anything beside what is chosen: another strategy's parameters do not."""
        section, name = dimension.key.partition(".")[0], chosen.get(STRATEGY, self.strategy)
        return section not in STRATEGIES or name not in STRATEGIES or section == name

    def grid(self) -> Iterator[Point]:
        """Every point once, the last setting changing fastest."""
        seen = set()
        for values in product(*(dimension.values for dimension in self.dimensions)):
            chosen = dict(zip((d.key for d in self.dimensions), values, strict=True))
            point = {d.key: chosen[d.key] for d in self.dimensions if self.speaks(d, chosen)}
            if (key := tuple(point.values())) not in seen:
                seen.add(key)
                yield point

    def told(self) -> dict[str, str]:
        """The space for people: the ends of a range, or the list."""
        return {
            d.key: f"{d.values[0]} to {d.values[-1]}, {len(d.values)} values" if d.is_range else ", ".join(d.values)
            for d in self.dimensions
        }


def space_of(texts: Sequence[str], strategy: str) -> Space:
    """The space that is given, or the default one of a strategy; ConfigError says what cannot be searched, and why."""
    given = dict(pair for text in texts for pair in _pairs(text)) or dict(map(_pair, default_space(strategy)))
    dimensions = [_dimension(key, value, strategy) for key, value in given.items()]
    return Space(tuple(sorted(dimensions, key=lambda dimension: dimension.key != STRATEGY)), strategy)


def default_space(strategy: str) -> tuple[str, ...]:
    """All parameters of a strategy in their whole ranges, or how an ensemble decides; and stop and target."""
    if strategy == ENSEMBLE:
        return ENSEMBLE_BY_DEFAULT + EXITS_BY_DEFAULT
    known = strategy_named(strategy).parameters if strategy in STRATEGIES else own_strategy(strategy, {}).parameters
    table = strategy if strategy in STRATEGIES else OWN_PARAMETERS
    return tuple(f"{table}.{one.name}={one.low:g}:{one.high:g}" for one in known) + EXITS_BY_DEFAULT


def _pairs(text: str) -> list[tuple[str, str]]:
    if "=" not in text and text.endswith(".toml"):
        return _from_file(Path(text))
    return [_pair(text)]


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key or not value:
        raise ConfigError(f"--space {text}: give it as KEY=FROM:TO, KEY=FROM:TO:STEP, KEY=A,B,C or a file.toml")
    return key, value


def _from_file(path: Path) -> list[tuple[str, str]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise ConfigError(f"{path}: cannot be read as TOML: {problem}") from None
    table = content.get("space")
    if not isinstance(table, Mapping) or not table or set(content) != {"space"}:
        raise ConfigError(f'{path}: wanted is one table [space], with lines like rsi.period = "5:30:1"')
    return [(key, _text(path, key, value)) for key, value in _flat(table)]


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _text(path: Path, key: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(item, str | int | float) for item in value):
        return ",".join(str(item).lower() if isinstance(item, bool) else str(item) for item in value)
    raise ConfigError(f'{path}: {key}: give "FROM:TO", "FROM:TO:STEP" or a list of values')


def _dimension(key: str, text: str, strategy: str) -> Dimension:
    section = key.partition(".")[0]
    if is_setting(key) and (section not in (*SECTIONS, *STRATEGIES) or key in NOT_CHOSEN):
        known = f"{', '.join(SECTIONS)} and strategies"
        raise ConfigError(f"--space {key}: not a decision that can be searched; what stands in {known} is")
    setting = _Setting(key, _own_parameter(key, strategy))
    if ":" in text:
        return _range(setting, text)
    values = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
    for value in values:
        setting.check(value)
    return Dimension(key, values, is_range=False)


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a value is held against: a setting of the program, or a parameter of a strategy of one's own."""

    key: str
    own: Parameter | None

    @property
    def is_number(self) -> bool:
        return self.own is not None or bounds_of(self.key) is not None

    @property
    def is_whole(self) -> bool:
        return self.own.whole if self.own is not None else is_whole(self.key)

    def check(self, value: str) -> None:
        if self.own is None:
            return check_value(self.key, value, "--space")
        low, high = self.own.low, self.own.high
        try:
            fits = low <= float(value) <= high and not (self.own.whole and float(value) % 1)
        except ValueError:
            fits = False
        if not fits:
            kind = "a whole number from " if self.own.whole else ""
            raise ConfigError(f"{self.key} = {value} (--space): allowed is {kind}{low:g} to {high:g} {self.own.unit}")
        return None


def _own_parameter(key: str, strategy: str) -> Parameter | None:
    table, _, name = key.rpartition(".")
    if table != OWN_PARAMETERS:
        return None
    if strategy in STRATEGIES or strategy == ENSEMBLE:
        raise ConfigError(f"--space {key}: {strategy} is built in, its parameters stand in [{strategy}]")
    known = {parameter.name: parameter for parameter in own_strategy(strategy, {}).parameters}
    if name not in known:
        raise ConfigError(f"--space {key}: {strategy} has no parameter {name}; it has {', '.join(known)}")
    return known[name]


def _range(setting: _Setting, text: str) -> Dimension:
    told = f"--space {setting.key}={text}"
    try:
        low, high, *steps = map(Decimal, text.split(":"))
    except (InvalidOperation, ValueError):
        raise ConfigError(f"{told}: give FROM:TO or FROM:TO:STEP, all of them numbers") from None
    for value in (low, high):
        setting.check(f"{value:f}")
    if not setting.is_number:
        raise ConfigError(f"{told}: not a number; give its values as A,B,C")
    if len(steps) > 1 or not low < high:
        raise ConfigError(f"{told}: give FROM:TO or FROM:TO:STEP with FROM below TO")
    step = steps[0] if steps else _step(setting, high - low)
    if not step.is_finite() or step <= 0 or step > high - low or (setting.is_whole and step % 1):
        raise ConfigError(f"{told}: the step must be above 0, within the range, and whole for whole numbers")
    count = int((high - low) / step) + 1
    if count > VALUES_MAX:
        raise ConfigError(f"{told}: {count} values; at most {VALUES_MAX}, take a larger step")
    values = tuple(f"{(low + at * step).normalize():f}" for at in range(count))
    return Dimension(setting.key, values, is_range=True, is_stepped=bool(steps) or setting.is_whole)


def _step(setting: _Setting, span: Decimal) -> Decimal:
    """A power of ten of which at least `STEPS_BY_DEFAULT` fit into the range."""
    return Decimal(1) if setting.is_whole else Decimal(1).scaleb((span / STEPS_BY_DEFAULT).adjusted())
