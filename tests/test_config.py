"""Settings: who wins, what is refused and in which words, and that a secret is shown to nobody."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from surefoot.config import (
    SECRETS,
    VENUES,
    ConfigError,
    Loaded,
    Mode,
    Settings,
    Venue,
    allowed,
    load,
    settings_digest,
    to_toml,
    venue_for,
)
from surefoot.core.model import INTERVAL_MS, Market
from surefoot.sections import Interval

EXAMPLE = Path(__file__).resolve().parent.parent / "surefoot.example.toml"
KEYS = {"SUREFOOT_API_KEY": "the-key-itself", "SUREFOOT_API_SECRET": "the-secret-itself"}
LIVE = {"mode": "live", "live_confirmed": "true"}


def fields_of(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted key, secrets left out."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{name}.")
        elif name not in SECRETS:
            yield prefix + name, field


FIELDS = dict(fields_of())
RANGES: dict[str, tuple[Any, Any]] = {
    key: (
        next(bound.ge for bound in field.metadata if hasattr(bound, "ge")),
        next(bound.le for bound in field.metadata if hasattr(bound, "le")),
    )
    for key, field in FIELDS.items()
    if field.annotation in (int, float, Decimal)
}

# A number without a unit in its name, and why that is no loss.
UNITLESS = {
    "strategy.score_min_backtest": "a rule score has no unit",
    "strategy.score_min_paper": "a rule score has no unit",
    "strategy.score_min_live": "a rule score has no unit",
    "rsi.period": "called so wherever the index is explained",
    "rsi.oversold": "points of the index",
    "rsi.overbought": "points of the index",
    "rsi.extreme_low": "points of the index",
    "rsi.extreme_high": "points of the index",
    "bollinger.deviations": "population deviations",
    "futures.leverage": "a multiple has no unit",
    "risk.positions_max": "a number of positions",
    "risk.correlation_max": "a correlation has no unit",
    "risk.loss_streak_max": "a number of losses",
    "exits.reversal_closes": "a number of candles, of which the closes count",
    "exits.opposite_score_min": "a rule score has no unit",
    "breaker.venue_errors_max": "a number of errors",
    "breaker.refusals_max": "a number of refusals",
    "paper.seed": "a seed has no unit",
    "web.port": "a number by which the system tells listeners apart",
}
UNITS = (
    "_candles",
    "_s",
    "_ms",
    "_h",
    "_multiple",
    "_after_r",
    "_bps",
    "_pct",
    "_pct_of_equity",
    "_pct_of_balance",
    "_pct_of_price",
    "_quote",
    "_usdt",
    "_atr",
    "_points",
    "_ratio",
    "_votes",
    "_flips",
    "_kib",
)


def loaded(text: str = "", flags: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> Loaded:
    """Settings from a file's text, flags and environment."""
    path = Path("surefoot.toml")
    path.write_text(text)
    return load(path, flags or {}, env or {})


def refusal(text: str = "", flags: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines that the start stops with."""
    with pytest.raises(ConfigError) as caught:
        loaded(text, flags, env)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value).splitlines()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------------------------------------------------------
# Who wins


@pytest.mark.spec("CFG-1")
def test_flag_wins_over_environment_over_file_over_default() -> None:
    text = "[exits]\nstop_pct_of_price = 3\n[orders]\nentry_timeout_s = 20\n[paper]\nseed = 1\n"
    env = {"SUREFOOT_ORDERS__ENTRY_TIMEOUT_S": "30", "SUREFOOT_PAPER__SEED": "2"}
    given = loaded(text, {"paper.seed": "3"}, env)
    assert given.settings.exits.target_pct_of_price == 4
    assert given.settings.exits.stop_pct_of_price == 3
    assert given.settings.orders.entry_timeout_s == 30
    assert given.settings.paper.seed == 3
    assert given.sources["exits.target_pct_of_price"] == "default"
    assert given.sources["exits.stop_pct_of_price"] == "file surefoot.toml"
    assert given.sources["orders.entry_timeout_s"] == "environment SUREFOOT_ORDERS__ENTRY_TIMEOUT_S"
    assert given.sources["paper.seed"] == "flag"
    assert set(given.sources) == {*FIELDS, *SECRETS}


@pytest.mark.spec("CFG-1")
@pytest.mark.parametrize("key", FIELDS)
def test_every_setting_can_be_said_in_a_file_a_variable_and_a_flag(key: str) -> None:
    section, _, name = key.rpartition(".")
    example = tomllib.loads(EXAMPLE.read_text())
    value = example[section][name] if section else example[name]
    lines = _of(section) if section else EXAMPLE.read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name} = "))
    text = ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    variable = f"SUREFOOT_{key.replace('.', '__').upper()}"
    for given, source in (
        (loaded(f"[{section}]\n{line}\n" if section else line), "file surefoot.toml"),
        (loaded(env={variable: text}), f"environment {variable}"),
        (loaded(flags={key: text}), "flag"),
    ):
        assert given.sources[key] == source
        assert given.settings == Settings()


def _of(section: str) -> list[str]:
    """The lines of a section of the example."""
    return EXAMPLE.read_text().split(f"[{section}]\n")[1].split("\n\n")[0].splitlines()


@pytest.mark.spec("CFG-1")
def test_the_process_environment_is_not_read_behind_the_callers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_PAPER__SEED", "99")
    monkeypatch.setenv("PAPER__SEED", "99")
    monkeypatch.setenv("MODE", "live")
    assert load(None, {}, {}).settings == Settings()
    assert Settings().paper.seed == 5


@pytest.mark.spec("CFG-1")
def test_decimals_keep_the_digits_that_were_written() -> None:
    assert str(loaded("[risk]\nrisk_pct_of_equity = 0.1\n").settings.risk.risk_pct_of_equity) == "0.1"
    assert str(loaded(flags={"risk.risk_pct_of_equity": "0.30"}).settings.risk.risk_pct_of_equity) == "0.30"


@pytest.mark.spec("CFG-1")
def test_variables_of_other_programs_are_left_alone_but_a_slip_of_the_pen_is_not() -> None:
    assert loaded(env={"SUREFOOT_PORT": "tcp://10.0.0.1:80", "SUREFOOT_DATA": "x", "HOME": "y"}).settings == Settings()
    assert refusal(env={"SUREFOOT_MDOE": "live"}) == [
        'mdoe = "live" (environment SUREFOOT_MDOE): unknown key; the nearest known one is mode'
    ]
    assert refusal(env={"SUREFOOT_API_KEYS": "abc"}) == [
        "api_keys = ********** (environment SUREFOOT_API_KEYS): unknown key; the nearest known one is api_key"
    ]


# ---------------------------------------------------------------------------------------------------------------
# The example, and what every setting owes its reader


@pytest.mark.spec("CFG-1")
def test_the_example_holds_every_setting_and_equals_the_defaults() -> None:
    example = load(EXAMPLE, {}, {})
    assert example.settings == Settings()
    assert {key for key, source in example.sources.items() if source == f"file {EXAMPLE}"} == set(FIELDS)


@pytest.mark.spec("CFG-3")
@pytest.mark.parametrize("key", FIELDS)
def test_the_example_says_above_each_setting_what_it_is_and_what_is_allowed(key: str) -> None:
    section, _, name = key.rpartition(".")
    lines = _of(section) if section else EXAMPLE.read_text().split("[market]")[0].splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(f"{name} = "))
    assert lines[at - 1] == f"# {FIELDS[key].description}: {allowed(FIELDS[key])}"


@pytest.mark.spec("CFG-3")
def test_every_setting_has_a_description_and_every_number_a_range_and_a_unit() -> None:
    assert all(field.description for field in FIELDS.values())
    assert all(allowed(field) for field in FIELDS.values())
    assert all(low < high for low, high in RANGES.values())
    assert {key for key in RANGES if not key.endswith(UNITS)} == set(UNITLESS)


def test_intervals_are_the_ones_the_core_knows() -> None:
    assert list(get_args(Interval)) == list(INTERVAL_MS)


# ---------------------------------------------------------------------------------------------------------------
# What is refused, and in which words


@pytest.mark.spec("CFG-2")
@pytest.mark.parametrize("key", RANGES)
def test_number_outside_its_range_is_refused_with_key_value_and_range(key: str) -> None:
    low, high = RANGES[key]
    for value in (low - 1, high + 1):
        (line,) = refusal(flags={key: str(value)})
        assert line.startswith(f'{key} = "{value}" (flag): allowed is ')
        assert f"{low} to {high} ({FIELDS[key].description})" in line


@pytest.mark.spec("CFG-2")
@pytest.mark.parametrize("key", RANGES)
@pytest.mark.parametrize("value", ["", "x", "15s", "nan", "inf", "true"])
def test_what_is_no_number_is_refused_where_a_number_is_wanted(key: str, value: str) -> None:
    (line,) = refusal(flags={key: value})
    assert line.startswith(f'{key} = "{value}" (flag): allowed is ')
    section, _, name = key.partition(".")
    (line,) = refusal(f"[{section}]\n{name} = true\n")
    assert line.startswith(f"{key} = true (file surefoot.toml): allowed is ")


@pytest.mark.spec("CFG-2")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mode = 'real'", 'mode = "real" (file surefoot.toml): allowed is backtest, paper, testnet, demo, live (where'),
        ("mode = ['live']", 'mode = ["live"] (file surefoot.toml): allowed is backtest, paper, testnet, demo, live ('),
        ("live_confirmed = 1", "live_confirmed = 1 (file surefoot.toml): allowed is true, false (second"),
        ("live_confirmed = 'yes'", 'live_confirmed = "yes" (file surefoot.toml): allowed is true, false (second'),
        ("[market]\nsymbols = []", "market.symbols = [] (file surefoot.toml): allowed is 1 to 20 different upper-case"),
        ("[market]\nsymbols = ['btcusdt']", 'market.symbols = ["btcusdt"] (file surefoot.toml): allowed is 1 to 20'),
        ("[market]\nsymbols = [1, 2]", "market.symbols = [1, 2] (file surefoot.toml): allowed is 1 to 20"),
        ("[market]\ninterval = '7m'", 'market.interval = "7m" (file surefoot.toml): allowed is 1m, 3m, 5m, 15m'),
        ("[strategy]\nname = ''", 'strategy.name = "" (file surefoot.toml): allowed is rsi, macd'),
        ("[strategy]\nparameters = 3", "strategy.parameters = 3 (file surefoot.toml): allowed is numbers by name"),
        ("[strategy.parameters]\nfast = 'x'", 'strategy.parameters = {"fast": "x"} (file surefoot.toml): allowed is n'),
        ("[paper]\nspeed = 'fast'", 'paper.speed = "fast" (file surefoot.toml): allowed is 1 to 100000, or "max"'),
        ("[paper]\nspeed = 0.5", 'paper.speed = 0.5 (file surefoot.toml): allowed is 1 to 100000, or "max"'),
        ("[paper]\nspeed = true", 'paper.speed = true (file surefoot.toml): allowed is 1 to 100000, or "max"'),
        ("[paper]\nseed = 1.5", "paper.seed = 1.5 (file surefoot.toml): allowed is a whole number from 0 to"),
        ("[costs]\npath = 'middle'", 'costs.path = "middle" (file surefoot.toml): allowed is worst, best'),
        ("[store]\njournal_path = ''", 'store.journal_path = "" (file surefoot.toml): allowed is the name of a file'),
        ("[store]\njournal_path = 3", "store.journal_path = 3 (file surefoot.toml): allowed is the name of a file"),
        ("exits = 2", "exits = 2 (file surefoot.toml): this is a section; in it are preset"),
        ("[risk]\nmax_notional = 5", "risk.max_notional = 5 (file surefoot.toml): unknown key; the nearest known one "
         "is risk.notional_max_quote"),
        ("[orders]\nentry_timeout_ms = 15000", "orders.entry_timeout_ms = 15000 (file surefoot.toml): unknown key; the "
         "nearest known one is orders.entry_timeout_s"),
        ("[rsk]\nrisk_pct_of_equity = 1", "rsk.risk_pct_of_equity = 1 (file surefoot.toml): unknown key; the nearest "
         "known one is risk.risk_pct_of_equity"),
        ("[exists]", "exists = {} (file surefoot.toml): unknown key; the nearest known one is exits"),
        ("symbols = ['BTCUSDT']", 'symbols = ["BTCUSDT"] (file surefoot.toml): unknown key; the nearest known one is '
         "market.symbols"),
        ("[paper]\nspeed.factor = 3", "paper.speed.factor = 3 (file surefoot.toml): unknown key; the nearest known one "
         "is paper.speed"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line(text: str, line: str) -> None:
    (said,) = refusal(text)
    assert said.startswith(line)


@pytest.mark.spec("CFG-2")
def test_all_mistakes_are_told_at_once_one_line_each() -> None:
    lines = refusal("[risk]\nrisk_pct_of_equity = 50\nmax_loss = 1\n", {"paper.seed": "-1"}, {"SUREFOOT_MODE": "real"})
    assert [line.split(" = ")[0] for line in lines] == [
        "risk.max_loss",
        "mode",
        "risk.risk_pct_of_equity",
        "paper.seed",
    ]


@pytest.mark.spec("CFG-2")
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"market.symbols": "BTCUSDT,ETHUSDT,BTCUSDT"}, "market.symbols: BTCUSDT is named more than once"),
        (
            {"market.confirm_interval": "5m"},
            'market.confirm_interval = "5m": must be a multiple of market.interval = "15m"',
        ),
        ({"market.interval": "8h", "market.confirm_interval": "12h"}, "market.confirm_interval = "),
        (
            {"market.warmup_candles": "20", "rsi.period": "20"},
            "market.warmup_candles = 20: must be above rsi.period = 20",
        ),
        ({"rsi.extreme_low": "31"}, "rsi.extreme_low = 31, rsi.extreme_high = 80: must lie outside rsi.oversold = 30"),
        ({"rsi.extreme_high": "69"}, "rsi.extreme_low = 20, rsi.extreme_high = 69: must lie outside rsi.oversold = 30"),
        ({"stochastic.extreme_low_points": "16"}, "stochastic.extreme_low_points = 16, stochastic.extreme_high_points"),
        ({"macd.fast_candles": "26"}, "macd.fast_candles = 26: must be below macd.slow_candles = 26"),
        ({"ensemble.members": "rsi,rsi"}, "ensemble.members = rsi, rsi: each once"),
        ({"ensemble.members": "rsi,ensemble"}, "ensemble.members = rsi, ensemble: each once, and not the ensemble"),
        ({"ensemble.weights": "1,2"}, "ensemble.weights: 2 of them; 5 members need as many, all above 0"),
        ({"ensemble.weights": "1,2,0,1,1"}, "ensemble.weights: 5 of them; 5 members need as many, all above 0"),
        ({"ensemble.agree_min_votes": "6"}, "ensemble.agree_min_votes = 6: there are 5 members"),
        (
            {"orders.partial_fill_wait_s": "10"},
            "orders.partial_fill_wait_s = 10: must be below orders.unprotected_max_s",
        ),
        (
            {"guard.silent_max_s": "60", "guard.act_after_s": "60"},
            "guard.act_after_s = 60: must be above guard.silent_max_s = 60",
        ),
        ({"guard.countdown_s": "4"}, "guard.countdown_s = 4: 0 is off; less than 5 cancels at a slow answer"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(flags: dict[str, str], line: str) -> None:
    (said,) = refusal(flags=flags)
    assert said.startswith(line)


@pytest.mark.spec("CFG-2")
def test_slots_of_all_symbols_must_fit_into_the_money_there_is() -> None:
    five = "BTCUSDT ETHUSDT BNBUSDT SOLUSDT ADAUSDT"
    (line,) = refusal(flags={"market.symbols": five})
    assert "5 symbols x 20 % = 100 % is more than the 90 %" in line
    assert line.endswith("at most 18.00 with 5 symbols, or 4 symbols with 20")
    fitting = loaded(flags={"market.symbols": five, "risk.notional_max_pct_of_equity": "18"}).settings
    assert len(fitting.market.symbols) * fitting.risk.notional_max_pct_of_equity == 90
    assert refusal(flags={"market.symbols": five, "risk.notional_max_pct_of_equity": "18.01"})


@pytest.mark.spec("CFG-2")
def test_file_that_is_missing_or_no_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load(tmp_path / "nowhere.toml", {}, {})
    (line,) = refusal("mode = = 'paper'")
    assert line.startswith("surefoot.toml: cannot be read as TOML: ")
    assert "line 1" in line
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load(tmp_path / "binary.toml", {}, {})


# ---------------------------------------------------------------------------------------------------------------
# Secrets


@pytest.mark.spec("CFG-1")
@pytest.mark.parametrize(
    "text",
    [
        "api_secret = 'abc123'",
        "[live]\napi_key = 'abc123'",
        "[notify]\ntelegram_token = 'abc123'",
        "[alerts]\nurls = 'abc123'",
    ],
)
def test_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    (line,) = refusal(text)
    assert "secrets are never read from surefoot.toml; set SUREFOOT_API_KEY[_FILE] or SUREFOOT_API_SE" in line
    assert "abc123" not in line


@pytest.mark.spec("CFG-1")
def test_secret_in_a_flag_is_refused_and_not_repeated() -> None:
    (line,) = refusal(flags={"api_secret": "abc123"})
    assert line == "api_secret: never by a flag, which every user can see"


@pytest.mark.spec("CFG-1")
def test_secret_comes_from_the_environment_or_from_a_mounted_file(tmp_path: Path) -> None:
    mounted = tmp_path / "secret"
    mounted.write_text("the-secret-itself\n")
    env = {"SUREFOOT_API_KEY": "the-key-itself", "SUREFOOT_API_SECRET_FILE": str(mounted)}
    given = load(None, {"mode": "testnet"}, env)
    assert given.settings.api_key is not None
    assert given.settings.api_secret is not None
    assert given.settings.api_key.get_secret_value() == "the-key-itself"
    assert given.settings.api_secret.get_secret_value() == "the-secret-itself"
    assert given.sources["api_key"] == "environment SUREFOOT_API_KEY"
    assert given.sources["api_secret"] == "environment SUREFOOT_API_SECRET_FILE"


@pytest.mark.spec("CFG-2")
def test_secret_that_cannot_be_one_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00abc123")
    for env, line in (
        ({"SUREFOOT_API_SECRET_FILE": "nowhere"}, "api_secret: SUREFOOT_API_SECRET_FILE = nowhere cannot be read: "),
        ({"SUREFOOT_API_SECRET_FILE": "empty"}, "api_secret: the file of SUREFOOT_API_SECRET_FILE holds no key"),
        ({"SUREFOOT_API_SECRET_FILE": "binary"}, "api_secret: the file of SUREFOOT_API_SECRET_FILE holds no key"),
        ({"SUREFOOT_API_SECRET": "abc123ü"}, "api_secret: SUREFOOT_API_SECRET holds no key"),
        ({**KEYS, "SUREFOOT_API_SECRET_FILE": "empty"}, "api_secret: both SUREFOOT_API_SECRET and"),
    ):
        (said,) = refusal(flags={"mode": "testnet"}, env={"SUREFOOT_API_KEY": "k", **env})
        assert said.startswith(line)
        assert "abc123" not in said


@pytest.mark.spec("CFG-2")
def test_secret_shows_nowhere() -> None:
    given = loaded(flags=LIVE, env=KEYS)
    shown = [repr(given), str(given.settings), to_toml(given.settings, given.sources), given.settings.model_dump_json()]
    shown += refusal(flags={**LIVE, "paper.seed": "-1", "market.interval": "1d"}, env=KEYS)
    shown += refusal(flags={**LIVE, "market.interval": "1d"}, env=KEYS)
    for text in shown:
        assert "itself" not in text
    assert "# api_secret: **********  # environment SUREFOOT_API_SECRET" in to_toml(given.settings, given.sources)
    other = {**KEYS, "SUREFOOT_API_SECRET": "another"}
    assert settings_digest(given.settings) == settings_digest(loaded(flags=LIVE, env=other).settings)


# ---------------------------------------------------------------------------------------------------------------
# Modes and venues


@pytest.mark.spec("SAFE-6", "MODE-1")
def test_real_money_needs_the_mode_the_keys_and_a_second_confirmation() -> None:
    assert refusal(flags={"mode": "live"}, env=KEYS) == [
        "live_confirmed = false: mode = live trades real money; set live_confirmed = true as well to start it"
    ]
    (line,) = refusal(flags=LIVE)
    assert line.startswith("api_key, api_secret not set: mode = live needs the venue's API key")
    (line,) = refusal(flags=LIVE, env={"SUREFOOT_API_KEY": "k", "SUREFOOT_API_SECRET": ""})
    assert line.startswith("api_secret not set")
    assert loaded(flags=LIVE, env=KEYS).settings.mode is Mode.LIVE
    assert load(None, {}, {}).settings.mode is Mode.PAPER


@pytest.mark.spec("MODE-1")
def test_modes_without_a_real_venue_do_not_even_hold_the_keys() -> None:
    for mode in (Mode.BACKTEST, Mode.PAPER):
        given = loaded(flags={"mode": mode}, env={**KEYS, "SUREFOOT_API_SECRET_FILE": "nowhere"})
        assert given.settings.api_key is None
        assert given.settings.api_secret is None
    (line,) = refusal(flags={"mode": "testnet"})
    assert "mode = testnet needs the venue's API key" in line


@pytest.mark.spec("MODE-1")
def test_mode_alone_decides_the_hosts() -> None:
    assert venue_for(Mode.LIVE) == Venue(
        "https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3", "wss://stream.binance.com:9443"
    )
    assert venue_for(Mode.TESTNET) == Venue(
        "https://testnet.binance.vision",
        "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "wss://stream.testnet.binance.vision",
    )
    assert venue_for(Mode.DEMO) == Venue(
        "https://demo-api.binance.com", "wss://demo-ws-api.binance.com/ws-api/v3", "wss://demo-stream.binance.com"
    )
    assert venue_for(Mode.DEMO, market=Market.FUTURES) == venue_for(Mode.TESTNET, market=Market.FUTURES)
    assert venue_for(Mode.PAPER, "http://127.0.0.1:8123/") == Venue(
        "http://127.0.0.1:8123", "ws://127.0.0.1:8123/ws-api/v3", "ws://127.0.0.1:8123"
    )
    assert venue_for(Mode.LIVE, market=Market.FUTURES).rest == "https://fapi.binance.com"
    assert venue_for(Mode.PAPER, "http://127.0.0.1:8123", Market.FUTURES) == Venue(
        "http://127.0.0.1:8123", "ws://127.0.0.1:8123/ws-fapi/v1", "ws://127.0.0.1:8123"
    )
    (line,) = refusal("[venue]\nrest = 'https://api.binance.com'\n", {"mode": "paper"})
    assert "venue.rest" in line
    assert "unknown key" in line


@pytest.mark.spec("MODE-1", "SAFE-6")
def test_mixing_venues_is_refused() -> None:
    for venue in (venue for markets in VENUES.values() for venue in markets.values()):
        with pytest.raises(ConfigError, match="is not the address of a simulated exchange"):
            venue_for(Mode.PAPER, venue.rest)
    for mode in VENUES:
        with pytest.raises(ConfigError, match="its hosts are fixed"):
            venue_for(mode, "http://127.0.0.1:8123")
    with pytest.raises(ConfigError, match="is missing"):
        venue_for(Mode.PAPER)
    with pytest.raises(ConfigError, match="reaches no hosts"):
        venue_for(Mode.BACKTEST)


# ---------------------------------------------------------------------------------------------------------------
# What is shown


@pytest.mark.spec("CFG-2")
def test_what_is_shown_loads_again_and_says_where_it_came_from() -> None:
    flags = {"mode": "backtest", "risk.risk_pct_of_equity": "0.30", "paper.speed": "max", "market.symbols": "BTCUSDT"}
    given = loaded(flags=flags)
    shown = to_toml(given.settings, given.sources)
    assert "risk_pct_of_equity = 0.30  # flag" in shown.splitlines()
    assert 'journal_path = "var/surefoot.sqlite"  # default' in shown.splitlines()
    assert "# api_secret: not set  # default" in shown.splitlines()
    assert loaded(shown).settings == given.settings
    assert loaded(to_toml(given.settings)).settings == given.settings


@pytest.mark.spec("BT-6")
def test_digest_is_of_values_not_of_how_they_were_written() -> None:
    digest = settings_digest(Settings())
    assert digest == "c775f9f342462da9a76eb512e4254ea031e744f9a8e409b078d84d75e73189da"
    assert settings_digest(loaded("[risk]\nrisk_pct_of_equity = 2\nnotional_max_quote = 1e5\n").settings) == digest
    assert settings_digest(loaded("[rsi]\noversold = 30\n").settings) == digest
    assert settings_digest(loaded(to_toml(Settings())).settings) == digest
    about_trading = [key for key in FIELDS if not key.startswith(("web.", "alerts.", "guard.", "log.", "traces."))]
    changed = {settings_digest(with_other_value(key)) for key in about_trading}
    assert len(changed | {digest}) == len(about_trading) + 1
    assert {settings_digest(with_other_value(key)) for key in set(FIELDS) - set(about_trading)} == {digest}


def with_other_value(key: str) -> Settings:
    """The defaults with one value that no default has."""
    section, _, name = key.rpartition(".")
    if not section:
        return Settings().model_copy(update={name: "another"})
    return Settings().model_copy(update={section: getattr(Settings(), section).model_copy(update={name: "another"})})


# ---------------------------------------------------------------------------------------------------------------
# Where the web process may listen


@pytest.mark.spec("AUTH-3")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_leaving_loopback_needs_tls_or_a_proxy_that_has_it(host: str) -> None:
    (line,) = refusal(flags={"web.host": host})
    assert line.startswith(f"web.host = {host}: others could read along; set web.tls_cert_file")
    assert loaded(flags={"web.host": host, "web.behind_proxy": "true"}).settings.web.host == host
    tls = {"web.tls_cert_file": "cert.pem", "web.tls_key_file": "key.pem"}
    assert loaded(flags={"web.host": host} | tls).settings.web.host == host
    (line,) = refusal(flags={"web.tls_cert_file": "cert.pem"})
    assert "TLS needs both" in line


@pytest.mark.spec("AUTH-3")
@pytest.mark.parametrize(
    "origin", ["*", "https://*", "bot.example.com", "null", "https://bot.example.com/", "file://x"]
)
def test_origins_are_sites_and_never_all_of_them(origin: str) -> None:
    (line,) = refusal(flags={"web.origins": origin})
    assert line.startswith("web.origins = ")
    assert "never *" in line


def test_a_process_without_keys_loads_the_settings_of_every_mode() -> None:
    assert load(None, LIVE, KEYS, keyless=True).settings.api_key is None
    assert load(None, {"mode": "testnet"}, {}, keyless=True).settings.mode is Mode.TESTNET


GUARD = {"SUREFOOT_GUARD_API_KEY": "the-guards-key", "SUREFOOT_GUARD_API_SECRET": "the-guards-secret"}


@pytest.mark.spec("OPS-2", "CFG-1")
def test_the_guardian_has_a_key_of_its_own_and_not_the_traders() -> None:
    own = load(None, LIVE, KEYS | GUARD, keyless=True, guard=True).settings
    assert own.api_key is own.api_secret is None
    assert own.guard_api_key is not None
    assert own.guard_api_key.get_secret_value() == "the-guards-key"
    web = load(None, LIVE, KEYS | GUARD, keyless=True).settings
    assert web.guard_api_key is web.guard_api_secret is None
    assert load(None, {}, GUARD, keyless=True, guard=True).settings.guard_api_key is None, "paper takes no real key"


@pytest.mark.spec("OPS-2", "CFG-2")
def test_half_a_key_of_the_guardian_is_refused() -> None:
    (line,) = refusal(flags=LIVE, env=KEYS | {"SUREFOOT_GUARD_API_KEY": "the-guards-key"})
    assert line == "guard_api_key and guard_api_secret: one is set; the guardian's key needs both"
