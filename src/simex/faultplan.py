"""Reading plans of faults: strict TOML from a file, the same tables as JSON from the admin port, `KIND=N` in short.

Every mistake is one line that names the fault, the key, its value and what is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args

from simex.faults import KINDS, Delay, Fault, FaultKind, FaultPlan

DELAY_MAX_MS: Final = 600_000
WINDOW_MAX_S: Final = 366 * 86_400
STATUSES: Final = (500, 502, 503, 504)
TIMINGS: Final = ("every", "probability", "times", "windows_s")
SAYS: Final = ("unknown", "unavailable", "internal", "busy")
THEN: Final[dict[str, tuple[str, ...]]] = {
    "timeout-before": ("answer", "hang", "reset"),
    "timeout-after": ("answer", "hang", "reset"),
    "silent": ("flush", "cut"),
}
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "request-late": ("delay_ms",),
    "answer-late": ("delay_ms",),
    "frame-late": ("delay_ms",),
    "clock-skew": ("skew_ms",),
    "cancel-only": ("symbol",),
    "halt": ("symbol",),
    "delist": ("symbol",),
}
Value = TypeVar("Value")


class PlanError(ValueError):
    """A plan that cannot be carried out; the text is one line for the user."""


def load_plan(path: Path) -> FaultPlan:
    """The plan in a TOML file: `seed`, and any number of `[[fault]]`. Raises PlanError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{path}: not TOML: {error}") from None
    try:
        return read_plan(table)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None


def read_plan(table: Mapping[str, Any]) -> FaultPlan:
    """A plan from its table. Raises PlanError."""
    for key in table:
        if key not in ("seed", "fault"):
            raise PlanError(f"{key}: unknown key; allowed are seed and [[fault]]")
    seed = table.get("seed", 7)
    if not _is_whole(seed, 0, 2**32 - 1):
        raise PlanError(f"seed = {seed!r}: allowed is a whole number from 0 to {2**32 - 1}")
    faults = table.get("fault", [])
    if not isinstance(faults, list) or not all(isinstance(entry, dict) for entry in faults):
        raise PlanError("fault: allowed are tables, each under [[fault]]")
    return FaultPlan([read_fault(entry, f"fault {number}") for number, entry in enumerate(faults, 1)], seed)


def read_fault(table: Mapping[str, Any], name: str = "fault") -> Fault:
    """One fault from its table. Raises PlanError."""
    kind = table.get("kind")
    if kind not in KINDS:
        raise PlanError(f"{name}: kind = {kind!r}: allowed are {', '.join(KINDS)}")
    rule = KINDS[cast(FaultKind, kind)]
    name = f"{name} ({kind})"
    is_venue = rule.scene == "venue"
    timings = ("windows_s",) if is_venue else TIMINGS
    allowed = ("kind", *(("of",) if len(rule.targets) > 1 else ()), *timings, *rule.settings)
    for key in table:
        if key == "of" and len(rule.targets) == 1 and not is_venue:
            _check_only_target(name, kind, table[key])
        elif key not in allowed:
            raise PlanError(f"{name}: {key}: unknown key; allowed are {', '.join(allowed)}")
    for key in NEEDED.get(kind, ()):
        if key not in table:
            raise PlanError(f"{name}: {key} is missing; allowed is {_SETTINGS[key].allowed}")
    if not is_venue and not any(key in table for key in timings):
        raise PlanError(f"{name}: it never strikes; give at least one of {', '.join(timings)}")
    values: dict[str, Any] = {
        _FIELDS.get(key, key): _read(name, key, value, kind) for key, value in table.items() if key != "kind"
    }
    values.setdefault("target", rule.targets[0])
    if "then" in rule.settings:
        values.setdefault("then", THEN[kind][0])
    if kind == "banned":
        values.setdefault("retry_after_s", 120)
    return Fault(kind=cast(FaultKind, kind), **values)


def parse_fault(text: str) -> Fault:
    """Read `KIND=N`, every N-th time; raises PlanError."""
    kind, _, count = text.partition("=")
    if not count.isdecimal():
        raise PlanError(f"{text!r} is not KIND=N, as in error-after=3; kinds are {', '.join(KINDS)}")
    return read_fault({"kind": kind, "every": int(count)})


def _check_only_target(name: str, kind: str, value: object) -> None:
    only = KINDS[cast(FaultKind, kind)].targets[0]
    if value != only:
        raise PlanError(
            f"{name}: of = {value!r}: allowed is {only!r}; what accounts are told is neither lost nor reordered within "
            'one connection: let it be late (frame-late), or lose it with its connection (silent, then = "cut")'
        )


# -- single values -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a key may be, in words, and how it is read; a value that may not be reads as None."""

    allowed: str
    read: Callable[[Any], object | None]


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(low: int, high: int) -> _Setting:
    return _Setting(
        f"a whole number from {low} to {high}", lambda value: value if _is_whole(value, low, high) else None
    )


def _delay(value: Any) -> Delay | None:
    if _is_number(value, 0, DELAY_MAX_MS):
        return Delay(value, value)
    if isinstance(value, list) and len(value) == 2 and all(_is_number(v, 0, DELAY_MAX_MS) for v in value):
        return Delay(value[0], value[1]) if value[0] <= value[1] else None
    if isinstance(value, dict) and set(value) == {"median", "p99"}:
        median, p99 = value["median"], value["p99"]
        if _is_number(median, 0.001, DELAY_MAX_MS) and _is_number(p99, median, DELAY_MAX_MS):
            return Delay(median=median, p99=p99)
    return None


def _windows_ms(value: Any) -> tuple[tuple[int, int], ...] | None:
    if not isinstance(value, list) or not value:
        return None
    ends = [-1.0]
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_number(v, 0, WINDOW_MAX_S) for v in pair):
            return None
        ends += pair
    if any(after <= before for before, after in pairwise(ends)):
        return None
    return tuple((round(start * 1_000), round(end * 1_000)) for start, end in value)


_SETTINGS: Final[dict[str, _Setting]] = {
    "every": _whole(1, 1_000_000_000),
    "times": _whole(1, 1_000_000_000),
    "probability": _Setting(
        "a number above 0, at most 1", lambda value: value if _is_number(value, 0, 1) and value else None
    ),
    "windows_s": _Setting(
        f"[[from, to], …] in rising seconds of market time, 0 to {WINDOW_MAX_S}",
        _windows_ms,
    ),
    "delay_ms": _Setting(
        f"0 to {DELAY_MAX_MS}, or [from, to], or {{median = …, p99 = …}}, real milliseconds",
        _delay,
    ),
    "after_ms": _whole(0, DELAY_MAX_MS),
    "status": _Setting(f"one of {', '.join(map(str, STATUSES))}", lambda value: value if value in STATUSES else None),
    "says": _Setting(f"one of {', '.join(SAYS)}", lambda value: value if value in SAYS else None),
    "retry_after_s": _Setting(
        "a whole number from 0 (it is not said) to 259200",
        lambda value: value if _is_whole(value, 0, 259_200) else None,
    ),
    "for_s": _Setting(
        f"seconds of market time above 0, at most {WINDOW_MAX_S}",
        lambda value: round(value * 1_000) if _is_number(value, 0.001, WINDOW_MAX_S) else None,
    ),
    "code": _Setting(
        "1000, 1001, 1003, 1007 to 1014, or 3000 to 4999",
        lambda value: value if _is_whole(value, 1_000, 4_999) and _may_be_sent(value) else None,
    ),
    "skew_ms": _whole(-3_600_000, 3_600_000),
    "symbol": _Setting(
        "a symbol such as BTCUSDT",
        lambda value: value if isinstance(value, str) and value.isalnum() and value == value.upper() else None,
    ),
}
_FIELDS: Final = {"of": "target", "windows_s": "windows_ms", "for_s": "for_ms"}


def _may_be_sent(code: int) -> bool:
    return code in (1_000, 1_001, 1_003, *range(1_007, 1_015)) or code >= 3_000


def _read(name: str, key: str, value: Any, kind: str) -> object:
    if key == "of":
        words: tuple[str, ...] = KINDS[cast(FaultKind, kind)].targets
    elif key == "then":
        words = THEN[kind]
    else:
        found = _SETTINGS[key].read(value)
        if found is None:
            raise PlanError(f"{name}: {key} = {value!r}: allowed is {_SETTINGS[key].allowed}")
        return found
    if value not in words:
        raise PlanError(f"{name}: {key} = {value!r}: allowed are {', '.join(words)}")
    return value


assert set(get_args(FaultKind)) == set(KINDS)
