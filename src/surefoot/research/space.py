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
from surefoot.signals.strategy import STRATEGIES, strategy_named

# A point of the space: a value by dotted key, both as text.
Point = dict[str, str]

STRATEGY = "strategy.name"
SECTIONS = ("strategy", "ensemble", "filters", "risk", "exits", "breaker", "market")
NOT_CHOSEN = ("market.symbols", "market.warmup_candles")
VALUES_MAX = 10_000  # of one setting
STEPS_BY_DEFAULT = 100
# Where a search looks for stop and target when it is told nothing: what lies outside is seldom meant.
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
    dimensions = [_dimension(key, value) for key, value in given.items()]
    return Space(tuple(sorted(dimensions, key=lambda dimension: dimension.key != STRATEGY)), strategy)


def default_space(strategy: str) -> tuple[str, ...]:
    """All parameters of a strategy in their whole ranges, stop and target."""
    if strategy not in STRATEGIES:
        raise ConfigError(f'strategy.name = "{strategy}" has no space of its own; name one with --space')
    known = [(p, f"{strategy}.{p.name}") for p in strategy_named(strategy).parameters]
    return tuple(f"{key}={p.low:g}:{p.high:g}" for p, key in known if is_setting(key)) + EXITS_BY_DEFAULT


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


def _dimension(key: str, text: str) -> Dimension:
    section = key.partition(".")[0]
    if is_setting(key) and (section not in (*SECTIONS, *STRATEGIES) or key in NOT_CHOSEN):
        raise ConfigError(
            f"--space {key}: not a decision that can be searched; {', '.join(SECTIONS)} and strategies are"
        )
    if ":" in text:
        return _range(key, text)
    values = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
    for value in values:
        check_value(key, value, "--space")
    return Dimension(key, values, is_range=False)


def _range(key: str, text: str) -> Dimension:
    try:
        low, high, *steps = map(Decimal, text.split(":"))
    except (InvalidOperation, ValueError):
        raise ConfigError(f"--space {key}={text}: give FROM:TO or FROM:TO:STEP, all of them numbers") from None
    for value in (low, high):
        check_value(key, f"{value:f}", "--space")
    if bounds_of(key) is None:
        raise ConfigError(f"--space {key}={text}: not a number; give its values as A,B,C")
    if len(steps) > 1 or not low < high:
        raise ConfigError(f"--space {key}={text}: give FROM:TO or FROM:TO:STEP with FROM below TO")
    step = steps[0] if steps else _step(key, high - low)
    if not step.is_finite() or step <= 0 or step > high - low or (is_whole(key) and step % 1):
        raise ConfigError(
            f"--space {key}={text}: the step must be above 0, within the range, and whole for whole numbers"
        )
    count = int((high - low) / step) + 1
    if count > VALUES_MAX:
        raise ConfigError(f"--space {key}={text}: {count} values; at most {VALUES_MAX}, take a larger step")
    values = tuple(f"{(low + at * step).normalize():f}" for at in range(count))
    return Dimension(key, values, is_range=True, is_stepped=bool(steps) or is_whole(key))


def _step(key: str, span: Decimal) -> Decimal:
    """A power of ten of which at least `STEPS_BY_DEFAULT` fit into the range."""
    return Decimal(1) if is_whole(key) else Decimal(1).scaleb((span / STEPS_BY_DEFAULT).adjusted())
