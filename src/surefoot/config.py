"""Settings: one TOML file, environment variables over it, command-line flags over both; strict, and never a secret.

Rules. Every setting has a unit in its name where it has one, a range and a description. A key that nobody knows, a
value out of its range or of another unit stops the start with one line for each problem. API keys and other secrets
come from the environment or a mounted file only, and are shown to nobody. The mode alone decides hosts, keys and data.

The variable of `risk.risk_pct_of_equity` is SUREFOOT_RISK__RISK_PCT_OF_EQUITY. Variables are collected here rather than
by pydantic-settings, which reads this process's own environment only, passes over names that it does not know, and
takes as long to load as everything else that the settings need.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from surefoot.core.model import Market
from surefoot.keystore import KeyStoreError, key_for, keys_path, read_keys
from surefoot.presets import filled_in
from surefoot.sections import AlertSettings as AlertSettings
from surefoot.sections import LogSettings as LogSettings
from surefoot.sections import Section as Section
from surefoot.sections import StoreSettings
from surefoot.sections import WebSettings as WebSettings
from surefoot.settings import RULES
from surefoot.settings import Mode as Mode
from surefoot.settings import Settings as Settings
from surefoot.settings import is_loopback as is_loopback

PREFIX = "SUREFOOT_"
MASK = "**********"
VENUE_SECRETS = ("api_key", "api_secret")
PASSPHRASE = "keys_passphrase"  # of the key store; no setting, because nothing but `load` may have it
GUARD_SECRETS = ("guard_api_key", "guard_api_secret")
SECRETS = (*VENUE_SECRETS, "alert_urls", "metrics_token", *GUARD_SECRETS, "guard_alert_urls")
SECTIONS_KEPT = 4_096  # different ones of a search
_SECRET_WORDS = re.compile(r"secret|password|passphrase|token|api_?key|private_?key|alert\w*\W+url", re.IGNORECASE)


class ConfigError(Exception):
    """The settings cannot be used; one line for each problem: key, value, what is allowed."""


@dataclass(frozen=True, slots=True)
class Venue:
    """Where a venue is reached: bases of its REST, WebSocket API and market streams."""

    rest: str
    ws_api: str
    streams: str


# Futures have one host for testnet and demo.
_FUTURES_WITHOUT_MONEY = Venue(
    "https://demo-fapi.binance.com", "wss://testnet.binancefuture.com/ws-fapi/v1", "wss://fstream.binancefuture.com"
)

# Only these are reached over the network, with keys of one's own. Paper's exchange gets its address when it starts.
VENUES: Mapping[Mode, Mapping[Market, Venue]] = {
    Mode.LIVE: {
        Market.SPOT: Venue(
            "https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3", "wss://stream.binance.com:9443"
        ),
        Market.FUTURES: Venue(
            "https://fapi.binance.com", "wss://ws-fapi.binance.com/ws-fapi/v1", "wss://fstream.binance.com"
        ),
    },
    Mode.TESTNET: {
        Market.SPOT: Venue(
            "https://testnet.binance.vision",
            "wss://ws-api.testnet.binance.vision/ws-api/v3",
            "wss://stream.testnet.binance.vision",
        ),
        Market.FUTURES: _FUTURES_WITHOUT_MONEY,
    },
    Mode.DEMO: {
        Market.SPOT: Venue(
            "https://demo-api.binance.com",
            "wss://demo-ws-api.binance.com/ws-api/v3",
            "wss://demo-stream.binance.com",
        ),
        Market.FUTURES: _FUTURES_WITHOUT_MONEY,
    },
}
_WS_API_PATHS = {Market.SPOT: "/ws-api/v3", Market.FUTURES: "/ws-fapi/v1"}


def venue_for(mode: Mode, paper_base: str | None = None, market: Market = Market.SPOT) -> Venue:
    """The venue of a mode and a market. `paper_base` is the simulated exchange's address, like http://127.0.0.1:9443.

    Raises ConfigError where mode and address do not belong together, and for a backtest, which has no hosts.
    """
    if mode is Mode.BACKTEST:
        raise ConfigError("mode = backtest: it reaches no hosts")
    if mode is not Mode.PAPER:
        if paper_base is not None:
            raise ConfigError(f"mode = {mode}: its hosts are fixed, {paper_base} is for mode = paper only")
        return VENUES[mode][market]
    if paper_base is None:
        raise ConfigError("mode = paper: the address of the simulated exchange is missing")
    address = urlsplit(paper_base)
    if address.scheme != "http" or address.path.strip("/") or not address.hostname:
        # A real venue asks for https, so that this also keeps paper away from real hosts.
        raise ConfigError(f"mode = paper: {paper_base} is not the address of a simulated exchange, http://HOST:PORT")
    stream_base = f"ws://{address.netloc}"
    return Venue(f"http://{address.netloc}", stream_base + _WS_API_PATHS[market], stream_base)


# ---------------------------------------------------------------------------------------------------------------
# Where it comes from


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each dotted key where its value came from."""

    settings: Settings
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    source: str


def load(
    path: Path | None,
    overrides: Mapping[str, str],
    env: Mapping[str, str],
    *,
    keyless: bool = False,
    guard: bool = False,
) -> Loaded:
    """Settings from defaults, a file, environment variables and flags; what comes later in this list wins.

    `overrides` are flags by dotted key. `keyless` is a process that holds no keys of the venue in any mode; with
    `guard` it is the guardian, which has one of its own. Raises ConfigError with all problems at once.
    """
    given = _from_file(path) | _from_environment(env) | _from_flags(overrides)
    added = filled_in({key: entry.value for key, entry in given.items()})
    given = {key: _Given(value, source) for key, (value, source) in added.items()} | given
    problems = [problem for key, entry in given.items() if (problem := _unknown(key, entry))]
    known = {key: entry for key, entry in given.items() if key in _FIELDS}
    # Other modes have no use for real keys, so that not even a mistake can send them anywhere.
    mode = str(_mode_of(known))
    needs_keys = mode in VENUES and not keyless
    unwanted = (() if needs_keys else VENUE_SECRETS, () if mode in VENUES and (guard or not keyless) else GUARD_SECRETS)
    known |= _secrets([name for name in SECRETS if not any(name in names for names in unwanted)], env)
    if needs_keys:
        known |= _stored_keys(mode, known, env)
        problems += _missing_keys(mode, known)
    try:
        settings = Settings(**_nested(known))
    except ValidationError as error:
        # Not chained: pydantic's own text could show what was given for a key.
        raise ConfigError("\n".join([*problems, *_lines_of(error, known)])) from None
    if problems:
        raise ConfigError("\n".join(problems))
    return Loaded(settings, {key: known[key].source if key in known else "default" for key in _FIELDS})


def _from_file(path: Path | None) -> dict[str, _Given]:
    if path is None:
        return {}
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path}: cannot be read as TOML: {problem}") from None
    given = {key: _Given(value, f"file {path}") for key, value in _flat(values)}
    secrets = [key for key in given if key not in _OPEN_FIELDS and _SECRET_WORDS.search(key)]
    if secrets:
        ways = " or ".join(f"{PREFIX}{name.upper()}[_FILE]" for name in SECRETS)
        raise ConfigError("\n".join(f"{key}: secrets are never read from {path}; set {ways}" for key in secrets))
    return given


def _from_environment(env: Mapping[str, str]) -> dict[str, _Given]:
    names = {name.removeprefix(PREFIX).lower().replace("__", "."): name for name in env if name.startswith(PREFIX)}
    return {
        key: _Given(env[name], f"environment {name}")
        for key, name in names.items()
        if key not in _SECRET_VARIABLES and _is_meant_for_us(key)
    }


def _from_flags(overrides: Mapping[str, str]) -> dict[str, _Given]:
    secrets = [key for key in overrides if key not in _OPEN_FIELDS and _SECRET_WORDS.search(key)]
    if secrets:
        raise ConfigError("\n".join(f"{key}: never by a flag, which every user can see" for key in secrets))
    return {key: _Given(value, "flag") for key, value in overrides.items()}


def _missing_keys(mode: str, known: Mapping[str, _Given]) -> list[str]:
    missing = [name for name in VENUE_SECRETS if name not in known]
    if not missing:
        return []
    ways = ", ".join(f"{PREFIX}{name.upper()} or {PREFIX}{name.upper()}_FILE" for name in missing)
    other = f"or put a key into the key store: surefoot keys add {mode}"
    return [f"{', '.join(missing)} not set: mode = {mode} needs the venue's API key; set {ways}; {other}"]


def _stored_keys(mode: str, known: Mapping[str, _Given], env: Mapping[str, str]) -> dict[str, _Given]:
    """Key and secret from the key store, where neither is given otherwise and its passphrase is."""
    if any(name in known for name in VENUE_SECRETS):
        return {}
    passphrase = passphrase_of(env)
    if passphrase is None:
        return {}
    journal = known["store.journal_path"].value if "store.journal_path" in known else StoreSettings().journal_path
    path = keys_path(Path(str(journal)))
    venue = known["market.venue"].value if "market.venue" in known else Market.SPOT
    try:
        found = key_for(read_keys(path, passphrase), mode, str(venue))
    except KeyStoreError as problem:
        raise ConfigError(f"key store: {problem}") from None
    if found is None:
        return {}
    name, key = found
    source = f"key store {path} ({name})"
    return {"api_key": _Given(key.api_key, source), "api_secret": _Given(key.api_secret, source)}


def passphrase_of(env: Mapping[str, str]) -> str | None:
    """The passphrase of the key store, from its variable or mounted file. Raises ConfigError."""
    given = _secret(PASSPHRASE, env)
    return None if given is None else str(given.value)


def _secrets(names: Sequence[str], env: Mapping[str, str]) -> dict[str, _Given]:
    found = ((name, _secret(name, env)) for name in names)
    return {name: given for name, given in found if given is not None}


def _secret(name: str, env: Mapping[str, str]) -> _Given | None:
    variable, file_variable = f"{PREFIX}{name.upper()}", f"{PREFIX}{name.upper()}_FILE"
    text, file = env.get(variable), env.get(file_variable)
    if text and file:
        raise ConfigError(f"{name}: both {variable} and {file_variable} are set; set one")
    if text:
        return _Given(_printable(name, text, variable), f"environment {variable}")
    if not file:
        return None
    try:
        text = Path(file).read_text("ascii")
    except OSError as problem:
        raise ConfigError(f"{name}: {file_variable} = {file} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    return _Given(_printable(name, text, f"the file of {file_variable}"), f"environment {file_variable}")


def _printable(name: str, text: str, place: str) -> str:
    """A key without the line end that editors add. What a header could not carry is a mistake in copying."""
    text = text.strip()
    if not text or not text.isascii() or not text.replace("\n", "").isprintable():
        raise ConfigError(f"{name}: {place} holds no key; it must be printable ASCII text")
    return text


def _is_meant_for_us(key: str) -> bool:
    """Whether a variable is ours to judge: other programs and orchestrators set SUREFOOT_… names of their own.

    Ours are those with a section, and those that look like a slip of the pen for a setting without one.
    """
    plain = [name for name in (*_FIELDS, *_SECRET_VARIABLES) if "." not in name]
    return "." in key or bool(get_close_matches(key, plain, n=1, cutoff=0.7))


def _mode_of(known: Mapping[str, _Given]) -> object:
    return known["mode"].value if "mode" in known else Settings.model_fields["mode"].default


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value and prefix + name not in _TABLES:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _nested(given: Mapping[str, _Given]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, entry in given.items():
        section, _, name = key.rpartition(".")
        place = values.setdefault(section, {}) if section else values
        place[name] = entry.value
    return values


# ---------------------------------------------------------------------------------------------------------------
# What is said about a problem


def _unknown(key: str, given: _Given) -> str | None:
    if key in _FIELDS or (key in SECTIONS and given.value == {}):
        return None
    if key in SECTIONS:
        return f"{_told(key, given)}: this is a section; in it are {', '.join(SECTIONS[key].model_fields)}"
    nearest = get_close_matches(key, (*_FIELDS, *SECTIONS, *_SECRET_VARIABLES), n=1, cutoff=0)[0]
    return f"{_told(key, given)}: unknown key; the nearest known one is {nearest}"


def _lines_of(error: ValidationError, given: Mapping[str, _Given], section: str = "") -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        words = [str(word) for word in (section, *problem["loc"]) if word]
        key = next((key for key in (".".join(words[:2]), ".".join(words[:1])) if key in _FIELDS), None)
        lines.append(problem["msg"] if key is None else _refused(key, given.get(key)))
    return list(dict.fromkeys(lines))


def _refused(key: str, given: _Given | None) -> str:
    field = _FIELDS[key]
    told = _told(key, given) if given else key
    return f"{told}: allowed is {allowed(field)} ({field.description})"


def _told(key: str, given: _Given) -> str:
    value = MASK if key not in _OPEN_FIELDS and _SECRET_WORDS.search(key) else _shown(given.value)
    return f"{key} = {value} ({given.source})"


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def allowed(field: FieldInfo) -> str:
    """The range or the values of a setting, in words."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["allowed"])
    if isinstance(field.annotation, type) and issubclass(field.annotation, Enum):
        return ", ".join(member.value for member in field.annotation)
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    low = next(str(bound.ge) for bound in field.metadata if hasattr(bound, "ge"))
    high = next(str(bound.le) for bound in field.metadata if hasattr(bound, "le"))
    return f"{'a whole number from ' if field.annotation is int else ''}{low} to {high}"


def described() -> Iterator[tuple[str, Any, str, str]]:
    """Every setting that is no secret: its dotted key, its default, what it is, and what is allowed, in words."""
    for key, field in _FIELDS.items():
        if key not in SECRETS:
            yield key, field.get_default(call_default_factory=True), field.description or "", allowed(field)


def check_value(key: str, value: object, source: str) -> None:
    """ConfigError for a key that nobody knows, and for a value that the setting never takes, whatever others are."""
    given = _Given(value, source)
    if problem := _unknown(key, given):
        raise ConfigError(problem)
    section, _, name = key.rpartition(".")
    try:
        (SECTIONS[section] if section else Settings).model_validate({name: value})
    except ValidationError:
        raise ConfigError(_refused(key, given)) from None


def is_secret_name(name: str) -> bool:
    """Whether what is called so may be a secret, and is shown to nobody."""
    return _SECRET_WORDS.search(name) is not None


def bounds_of(key: str) -> tuple[Decimal, Decimal] | None:
    """The lowest and the highest value of a setting that is a number; None for any other."""
    lows = [bound.ge for bound in _FIELDS[key].metadata if hasattr(bound, "ge")]
    highs = [bound.le for bound in _FIELDS[key].metadata if hasattr(bound, "le")]
    return (Decimal(str(lows[0])), Decimal(str(highs[0]))) if lows and highs else None


def is_whole(key: str) -> bool:
    """Whether a setting takes whole numbers only."""
    return _FIELDS[key].annotation is int


def is_setting(key: str) -> bool:
    """Whether a dotted key names a setting."""
    return key in _FIELDS


def changed(settings: Settings, values: Mapping[str, object]) -> Settings:
    """The same settings with some values, by dotted key, in place of their own; ConfigError where they disagree.

    `strategy.parameters.fast` is one entry of a table. Only the sections that change are validated anew; the rules
    between sections all are.
    """
    given = _merged(settings, values)
    if unknown := [problem for key, entry in given.items() if (problem := _unknown(key, entry))]:
        raise ConfigError("\n".join(unknown))
    parts: dict[str, Section] = {}
    for section, own in _nested(given).items():
        whole = getattr(settings, section)
        try:
            parts[section] = type(whole).model_validate(dict(whole) | own)
        except ValidationError as error:
            raise ConfigError("\n".join(_lines_of(error, given, section))) from None
    result = settings.model_copy(update=parts)
    if problems := [problem for rule in RULES if (problem := rule(result))]:
        raise ConfigError("\n".join(problems))
    return result


class Variants:
    """Settings that differ from valid ones in some values, as `changed` makes them, for a search of thousands.

    A text that was validated once is remembered, and only rules about sections that differ are asked. Where anything is
    wrong, `changed` says so.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, ...], Section] = {}

    def of(self, values: Mapping[str, object]) -> Settings:
        """See `changed`. Equal texts for a section give the same section, not a copy of it."""
        given: dict[str, list[str]] = {}
        for key, value in values.items():
            if type(value) is not str:  # 1, True and 1.0 are equal, but not equally valid
                return changed(self._settings, values)
            section, _, name = key.partition(".")
            given.setdefault(section, [section]).extend((name, value))
        parts: dict[str, Section] = {}
        for section, words in given.items():
            known = tuple(words)
            part = self._known.get(known) or self._section(known)
            if part is None:
                return changed(self._settings, values)
            parts[section] = part
        result = self._settings.model_copy(update=parts)
        if any(not reads.isdisjoint(parts) and rule(result) for rule, reads in RULES.items()):
            return changed(self._settings, values)
        return result

    def _section(self, words: tuple[str, ...]) -> Section | None:
        """A section with some values: its name, then names and texts in turn; None where not all of it is valid."""
        section = words[0]
        whole: Section | None = getattr(self._settings, section, None)
        raw: dict[str, Any] = {}
        for name, text in zip(words[1::2], words[2::2], strict=True):
            field, _, entry = name.partition(".")
            if not entry:
                raw[name] = text
            elif f"{section}.{field}" in _TABLES and not isinstance(raw.get(field), str):
                raw[field] = {**raw.get(field, getattr(whole, field)), entry: text}
            else:
                return None
        fresh = {}
        for name, value in raw.items():
            validator = _validator_of(f"{section}.{name}")
            if validator is None or whole is None:
                return None
            try:
                fresh[name] = validator.validate_python(value)
            except ValidationError:
                return None
        assert whole is not None, "values have names"
        if len(self._known) >= SECTIONS_KEPT:
            self._known.clear()
        part = self._known[words] = whole.model_copy(update=fresh)
        return part


@cache
def _validator_of(key: str) -> TypeAdapter[Any] | None:
    """What makes the value of one setting from a text; None for what is not one in a section."""
    if key not in _FIELDS or "." not in key:
        return None
    field = _FIELDS[key]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind, config=Section.model_config)


def _merged(settings: Settings, values: Mapping[str, object]) -> dict[str, _Given]:
    """By key; entries of a table together, with those that it has."""
    given: dict[str, _Given] = {}
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        if table in _TABLES:
            section, _, field = table.partition(".")
            old: Any = given[table].value if table in given else getattr(getattr(settings, section), field)
            given[table] = _Given({**old, name: value}, "chosen")
        else:
            given[key] = _Given(value, "chosen")
    return given


# ---------------------------------------------------------------------------------------------------------------
# What is shown


def settings_digest(settings: Settings) -> str:
    """SHA-256 of all values that are not secret: equal for equal settings, however their numbers were written.

    Left out are the web process, alerts, the guardian, logs and traces, which change nothing about the trading.
    """
    others = ("web.", "alerts.", "guard.", "log.", "traces.")
    about_trading = (pair for pair in _values(settings) if pair[0] not in SECRETS and not pair[0].startswith(others))
    values = {key: _plain(value) for key, value in about_trading}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_toml(settings: Settings, sources: Mapping[str, str] | None = None) -> str:
    """Settings as a file that loads again, with where each value came from; secrets are comments, and masked."""
    lines, section = [], ""
    for key, value in sorted(_values(settings), key=lambda pair: "." in pair[0]):
        of, _, name = key.rpartition(".")
        if of != section:
            lines += ["", f"[{of}]"]
            section = of
        origin = f"  # {sources[key]}" if sources else ""
        if key in SECRETS:
            lines.append(f"# {name}: {'not set' if value is None else MASK}{origin}")
        else:
            lines.append(f"{name} = {value_text(value)}{origin}")
    return "\n".join(lines) + "\n"


def _values(settings: Settings) -> Iterator[tuple[str, Any]]:
    return ((key, value_of(settings, key)) for key in _FIELDS)


def value_of(settings: Settings, key: str) -> Any:
    """The value of a setting, by dotted key."""
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, Mapping):
        return {name: _plain(value[name]) for name in sorted(value)}
    return list(value) if isinstance(value, tuple) else value if isinstance(value, bool | int | float) else str(value)


def value_text(value: object) -> str:
    """A value of a setting that is no secret, as the file would say it."""
    if isinstance(value, Mapping):
        return (
            f"{{ {', '.join(f'{name} = {value_text(number)}' for name, number in value.items())} }}" if value else "{}"
        )
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(_plain(value), ensure_ascii=False)


def _dotted() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            yield from ((f"{name}.{inner}", inner_field) for inner, inner_field in SECTIONS[name].model_fields.items())
        else:
            yield name, field


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
_FIELDS: dict[str, FieldInfo] = dict(_dotted())
_TABLES = frozenset(key for key, field in _FIELDS.items() if get_origin(field.annotation) is Mapping)
_OPEN_FIELDS = tuple(key for key in _FIELDS if key not in SECRETS)
_SECRET_VARIABLES = tuple(name + end for name in (*SECRETS, PASSPHRASE) for end in ("", "_file"))
