"""Which strategy the settings mean: a built-in one, an installed one, a file of one's own, or an ensemble of them.

A strategy that is not built in is checked on the built-in sample at every load (see `signals.check`), so that a file
that was changed since, or never checked, cannot run unchecked.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from stat import S_ISREG
from types import ModuleType
from typing import Any

from surefoot.config import ConfigError, Section, Settings
from surefoot.signals.check import check
from surefoot.signals.custom import Custom, custom_strategy
from surefoot.signals.decision import Decider
from surefoot.signals.ensemble import Ensemble
from surefoot.signals.filters import Filters
from surefoot.signals.strategy import STRATEGIES, Strategy, strategy_named

ENSEMBLE = "ensemble"
ENTRY_POINTS = "surefoot.strategies"

# Rules of one's own that passed their checks in this process. A search tries a thousand parameters of one file: the
# first stand for all, and who trades with the best of them begins a process, in which those are the first.
_passed: set[Any] = set()

# Files of strategies by their names, each as it was when it was loaded.
_modules: dict[Path, tuple[tuple[int, ...], ModuleType]] = {}


def decider_of(settings: Settings) -> Decider:
    """The strategy or ensemble that the settings name. Raises ConfigError."""
    name = settings.strategy.name
    if name != ENSEMBLE:
        return _strategy(settings, name, settings.strategy.parameters)
    own = settings.ensemble
    if settings.strategy.parameters:
        raise ConfigError("strategy.parameters: members of an ensemble have sections of their own, or their defaults")
    members = tuple(_strategy(settings, member, {}) for member in own.members)
    return Ensemble(members, own.mode, own.weights, own.agree_min_votes)


def filters_of(settings: Settings) -> Filters:
    """What the settings filter."""
    own = settings.filters
    return Filters(
        trend=own.trend,
        trend_intervals=own.trend_intervals,
        trend_candles=own.trend_candles,
        trend_damping_ratio=own.trend_damping_ratio,
        choppy_candles=own.choppy_candles,
        choppy_max_flips=own.choppy_max_flips,
    )


def own_strategy(name: str, parameters: Mapping[str, float]) -> Custom:
    """A strategy from a file or an entry point, unchecked. Raises ConfigError with one line."""
    module = _module(Path(name)) if _is_file(name) else _installed(name)
    try:
        return custom_strategy(Path(name).stem if _is_file(name) else name, module, parameters)
    except Exception as error:
        raise ConfigError(f"{name}: {_told(error)}") from error


def installed_names() -> tuple[str, ...]:
    """Strategies that other packages bring along."""
    return tuple(sorted(point.name for point in entry_points(group=ENTRY_POINTS)))


def _strategy(settings: Settings, name: str, parameters: Mapping[str, float]) -> Strategy:
    if name in STRATEGIES:
        if parameters:
            raise ConfigError(f"strategy.parameters: {name} is built in, its parameters stand in [{name}]")
        try:
            return strategy_named(name, _sections(settings)[name].model_dump())
        except ValueError as error:
            raise ConfigError(str(error)) from None
    strategy = own_strategy(name, parameters)
    if strategy.rule not in _passed:
        failed = [finding for finding in check(strategy) if not finding.passed]
        if failed:
            raise ConfigError(f"{name} must not run: {failed[0].test}: {failed[0].detail}; see surefoot strategy check")
        _passed.add(strategy.rule)
    return strategy


def _sections(settings: Settings) -> Mapping[str, Section]:
    return {
        "rsi": settings.rsi,
        "macd": settings.macd,
        "bollinger": settings.bollinger,
        "volume": settings.volume,
        "stochastic": settings.stochastic,
    }


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _module(path: Path) -> ModuleType:
    """The file's module; a search that asks for it a thousand times does not read it as often."""
    try:
        told = path.stat()
    except OSError:
        told = None
    if told is None or not S_ISREG(told.st_mode):
        raise ConfigError(f"{path}: there is no such file")
    # Who writes the file, or puts another one in its place, changes one of these.
    state = told.st_mtime_ns, told.st_ctime_ns, told.st_size, told.st_ino, told.st_dev
    known = _modules.get(path)
    if known is None or known[0] != state:
        known = _modules[path] = state, _loaded(path)
    return known[1]


def _loaded(path: Path) -> ModuleType:
    # A name of its own, so that it neither hides another module nor is taken for one that was loaded before.
    text = path.read_bytes()
    name = f"surefoot_strategy_{path.stem}_{sha256(str(path.resolve()).encode() + text).hexdigest()[:16]}"
    if name in sys.modules:  # the same bytes: what was compiled of them stays in use
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: {_told(error)}") from error
    return module


def _installed(name: str) -> Any:
    found = [point for point in entry_points(group=ENTRY_POINTS) if point.name == name]
    if not found:
        known = ", ".join((*STRATEGIES, ENSEMBLE, *installed_names()))
        raise ConfigError(f'strategy "{name}": not known; known are {known}, or give the name of a file.py')
    return found[0].load()


def _told(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
