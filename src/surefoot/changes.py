"""Settings that change while the trader runs: which may, what a change leads to, and what a journal tells of changes.

Rules. A change is a text by dotted key, as a flag gives it; None takes back what was changed of a key, so that the
start's value is in force again. Changes lie over file, environment and flags, and outlive a restart. What they lead to
is always made from the settings of the start and all changes together, and validated as a whole. Nothing can be changed
this way that says where trading happens, with which keys, or whose code makes the signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from surefoot.config import SECTIONS, ConfigError, Loaded, Settings, changed, is_setting, value_of, value_text
from surefoot.core.messages import SettingsChanged

KEYS_MAX = 100
TEXT_LENGTH_MAX = 500

_SECTIONS = ("risk", "exits", "breaker", "filters", "rsi", "macd", "bollinger", "volume", "stochastic")
_NOT_OF_THEM = frozenset({"exits.preset", "breaker.preset", "breaker.backtest_reset_after_h"})
CHANGEABLE: frozenset[str] = frozenset(
    {f"{section}.{name}" for section in _SECTIONS for name in SECTIONS[section].model_fields} - _NOT_OF_THEM
    | {"market.symbols", "market.interval", "market.confirm_interval"}
    | {"strategy.score_min_paper", "strategy.score_min_live", "strategy.signal_expiry_s"}
    | {"ensemble.mode", "ensemble.weights", "ensemble.agree_min_votes"}
    | {"orders.entry_limit_offset_pct", "orders.entry_timeout_s", "orders.partial_fill_wait_s"}
    | {"orders.unprotected_max_s", "orders.reconcile_every_s"}
)


def check_keys(changes: Mapping[str, str | None]) -> None:
    """Raises ConfigError where one of them cannot be changed while the trader runs."""
    if not 0 < len(changes) <= KEYS_MAX:
        raise ConfigError(f"name 1 to {KEYS_MAX} settings")
    for key, text in changes.items():
        if is_setting(key) and key not in CHANGEABLE:
            raise ConfigError(f"{key}: cannot be changed while the trader runs; change the file and start it again")
        if text is not None and (len(text) > TEXT_LENGTH_MAX or not text.isprintable()):
            raise ConfigError(f"{key}: give one line of at most {TEXT_LENGTH_MAX} characters")


def merged(earlier: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """All that is changed after a change."""
    both = {**earlier, **changes}
    return {key: text for key, text in both.items() if text is not None}


def applied(start: Settings, changes: Mapping[str, str]) -> Settings:
    """The settings of the start with all that was changed since. Raises ConfigError where they do not go together."""
    return changed(start, changes) if changes else start


class Changed:
    """The settings in force over a journal, change by change.

    `problem` says why what was changed does not go with the settings of the start; then the ones before are in force.
    """

    def __init__(self, start: Settings) -> None:
        self.settings = self._start = start
        self.problem: str | None = None
        self._changes: dict[str, str] = {}

    def after(self, wanted: Mapping[str, str | None]) -> Settings:
        """What would be in force after a change. Raises ConfigError where that cannot be."""
        check_keys(wanted)
        return applied(self._start, merged(self._changes, wanted))

    def take(self, event: SettingsChanged) -> Settings:
        """What is in force after a change that a journal tells of."""
        self._changes = merged(self._changes, event.changes)
        try:
            self.settings, self.problem = applied(self._start, self._changes), None
        except ConfigError as problem:
            self.problem = f"{problem} (changed at run time, see the journal: SettingsChanged)"
        return self.settings


def differences(old: Settings, new: Settings) -> dict[str, tuple[str, str]]:
    """Each setting that differs: its old and its new value, as the file would say it."""
    pairs = {key: (value_of(old, key), value_of(new, key)) for key in sorted(CHANGEABLE)}
    return {key: (value_text(was), value_text(will)) for key, (was, will) in pairs.items() if was != will}


def overlaid(loaded: Loaded, events: Iterable[SettingsChanged]) -> Loaded:
    """The settings in force after what a journal tells of. Raises ConfigError where they do not go together."""
    changes: dict[str, str] = {}
    by: dict[str, str] = {}
    for event in events:
        changes = merged(changes, event.changes)
        by |= dict.fromkeys(event.changes, event.who)
    sources = {key: f"changed at run time by {by[key]}" for key in changes}
    return Loaded(applied(loaded.settings, changes), {**loaded.sources, **sources})
