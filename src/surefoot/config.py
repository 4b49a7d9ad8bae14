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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum, StrEnum
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from surefoot.core.model import INTERVAL_MS, Market
from surefoot.keystore import KeyStoreError, key_for, keys_path, read_keys
from surefoot.presets import filled_in

PREFIX = "SUREFOOT_"
MASK = "**********"
VENUE_SECRETS = ("api_key", "api_secret")
PASSPHRASE = "keys_passphrase"  # of the key store; no setting, because nothing but `load` may have it
SECRETS = (*VENUE_SECRETS, "alert_urls", "metrics_token")
SECTIONS_KEPT = 4_096  # different ones of a search
_SECRET_WORDS = re.compile(r"secret|password|passphrase|token|api_?key|private_?key|alert\w*\W+url", re.IGNORECASE)


class ConfigError(Exception):
    """The settings cannot be used; one line for each problem: key, value, what is allowed."""


class Mode(StrEnum):
    BACKTEST = "backtest"
    PAPER = "paper"
    TESTNET = "testnet"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Venue:
    """Where a venue is reached: bases of its REST, WebSocket API and market streams."""

    rest: str
    ws_api: str
    streams: str


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
        Market.FUTURES: Venue(
            "https://demo-fapi.binance.com",
            "wss://testnet.binancefuture.com/ws-fapi/v1",
            "wss://fstream.binancefuture.com",
        ),
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
# What can be set


def _list_of_words(value: object) -> object:
    """A variable or a flag is one text: "BTCUSDT,ETHUSDT"."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _no_truth(value: object) -> object:
    # Python's True is the number 1, a person's is not.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "not a number")
    return value


def _plain_truth(value: object) -> object:
    # A confirmation is worth something only if it cannot be given by a stray 1 or "y".
    truths: dict[object, bool] = {"true": True, "false": False}
    if isinstance(value, bool) or (isinstance(value, str) and value in truths):
        return value if isinstance(value, bool) else truths[value]
    raise PydanticCustomError("not_a_truth", "neither true nor false")


def _numbers_by_name(value: object) -> object:
    """A variable or a flag is one text: "fast=10,slow=30"; empty is {} as in the file."""
    if not isinstance(value, str):
        return value
    pairs = [word.partition("=") for word in value.strip("{}").replace(",", " ").split()]
    return {name: number for name, _, number in pairs}


def _strategy_name(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[\w./~ -]{1,200}", value) and value.strip() == value:
        return value
    raise PydanticCustomError("strategy_name", "not the name of a strategy")


def _speed(value: object) -> object:
    if value == "max":
        return value
    try:
        factor = Decimal(str(value))
    except ArithmeticError:
        factor = Decimal(0)
    if isinstance(value, bool) or not factor.is_finite() or not 1 <= factor <= 100_000:
        raise PydanticCustomError("speed", "not a speed")
    return str(value)


def _expiry(value: object) -> object:
    if value == "auto" or isinstance(value, bool):
        return value
    text = str(value)
    if not text.isdecimal() or not 10 <= int(text) <= 86_400:
        raise PydanticCustomError("expiry", "not an expiry")
    return int(text)


def _hours(value: object) -> object:
    if value == "" or (
        isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value)
    ):
        return value
    raise PydanticCustomError("hours", "not hours of a day")


def _time_zone(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w+/-]{0,59}", value):
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, OSError):
            pass
    raise PydanticCustomError("time_zone", "not a time zone")


def _file_name(value: object) -> object:
    if not isinstance(value, str | Path) or not Path(value).name or "\0" in str(value):
        raise PydanticCustomError("file_name", "not the name of a file")
    return value


def _host(value: object) -> object:
    if value == "localhost":
        return value
    with suppress(ValueError):
        return str(ip_address(str(value)))
    raise PydanticCustomError("host", "not an address")


def _origin(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(
        r"https?://[\w.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?", value
    ):
        return value
    raise PydanticCustomError("origin", "not the address of a site")


def _file_name_or_empty(value: object) -> object:
    return value if value == "" else str(_file_name(value))


Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
Truth = Annotated[bool, BeforeValidator(_plain_truth)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Exact = Annotated[Decimal, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{5,20}$")]
Symbols = Annotated[tuple[Symbol, ...], BeforeValidator(_list_of_words), Field(min_length=1, max_length=20)]
Speed = Annotated[str, BeforeValidator(_speed)]
StrategyName = Annotated[str, BeforeValidator(_strategy_name)]
Numbers = Annotated[Mapping[str, Real], BeforeValidator(_numbers_by_name)]
Intervals = Annotated[tuple[Interval, ...], BeforeValidator(_list_of_words), Field(min_length=1, max_length=4)]
Words = Annotated[tuple[StrategyName, ...], BeforeValidator(_list_of_words), Field(min_length=1, max_length=10)]
Host = Annotated[str, BeforeValidator(_host)]
Origins = Annotated[
    tuple[Annotated[str, BeforeValidator(_origin)], ...], BeforeValidator(_list_of_words), Field(max_length=20)
]
MaybeFile = Annotated[str, BeforeValidator(_file_name_or_empty)]
Files = Annotated[tuple[str, ...], BeforeValidator(_list_of_words), Field(max_length=100)]
Weights = Annotated[tuple[Real, ...], BeforeValidator(_list_of_words), Field(max_length=10)]
Expiry = Annotated[int | Literal["auto"], BeforeValidator(_expiry)]
Hours = Annotated[str, BeforeValidator(_hours)]
TimeZone = Annotated[str, BeforeValidator(_time_zone)]
FileName = Annotated[Path, BeforeValidator(_file_name)]


def _allowed(text: str) -> dict[str, Any]:
    return {"allowed": text}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class MarketSettings(Section):
    """What is traded, and on which candles"""

    venue: Market = Field(
        default=Market.SPOT, description="spot trades coins, long only; futures trade USDⓈ-M contracts, long and short"
    )
    symbols: Symbols = Field(
        default=("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"),
        description="symbols traded; those that close together are decided in this order",
        json_schema_extra=_allowed("1 to 20 different upper-case symbols"),
    )
    interval: Interval = Field(default="15m", description="length of the candles that signals are made from")
    confirm_interval: Interval = Field(
        default="1h", description="length of the candles that confirm; a multiple of interval"
    )
    warmup_candles: Whole = Field(
        default=600, ge=20, le=5000, description="candles of interval read before the first signal"
    )
    stream_silence_max_s: Whole = Field(
        default=60, ge=0, le=3600, description="seconds that a stream may be silent in real time; 0 watches none"
    )


class FuturesSettings(Section):
    """How positions in futures are held; read when market.venue = futures"""

    leverage: Whole = Field(
        default=1,
        ge=1,
        le=125,
        description="times its margin that a position may be; it does not change the risk",
    )
    margin_type: Literal["CROSSED", "ISOLATED"] = Field(
        default="CROSSED", description="whether all positions share one wallet or each has its own"
    )
    liquidation_distance_min_pct: Exact = Field(
        default=Decimal(1),
        ge=Decimal("0.1"),
        le=50,
        description="percent of the liquidation price that a price may not come nearer to it; then all is closed",
    )
    fee_bps: Exact = Field(
        default=Decimal(5), ge=0, le=100, description="fee of a fill in backtests and paper, hundredths of a percent"
    )
    funding_bps: Exact = Field(
        default=Decimal(1),
        ge=-200,
        le=200,
        description="what longs pay shorts every 8 hours in backtests and paper, hundredths of a percent",
    )


class StrategySettings(Section):
    """Which strategy speaks, and how strongly it must"""

    name: StrategyName = Field(
        default="rsi",
        description="strategy that makes the signals",
        json_schema_extra=_allowed(
            "rsi, macd, bollinger, volume, stochastic, ensemble, one that is installed, file.py"
        ),
    )
    parameters: Numbers = Field(
        default={},
        description="parameters of a strategy of your own",
        json_schema_extra=_allowed("numbers by name, within the ranges that surefoot strategy list shows"),
    )
    score_min_backtest: Real = Field(
        default=0.50, ge=0, le=1, description="lowest rule score that may enter in a backtest"
    )
    score_min_paper: Real = Field(
        default=0.60, ge=0, le=1, description="lowest rule score that may enter in paper mode"
    )
    score_min_live: Real = Field(
        default=0.70, ge=0, le=1, description="lowest rule score that may enter live and on testnet"
    )
    signal_expiry_s: Expiry = Field(
        default="auto",
        description="seconds after which a signal enters no more; auto: 120 for 1m, 600 for 3m and 5m, else 1800",
        json_schema_extra=_allowed('a whole number from 10 to 86400, or "auto"'),
    )


class RsiSettings(Section):
    """Parameters of the RSI strategy; thresholds are points of the index, 0 to 100"""

    period: Whole = Field(default=14, ge=2, le=100, description="candles that the index looks back on")
    oversold: Real = Field(default=30.0, ge=5, le=49, description="at or below it the moderate rule goes long")
    overbought: Real = Field(default=70.0, ge=51, le=95, description="at or above it the moderate rule goes short")
    extreme_low: Real = Field(default=20.0, ge=1, le=49, description="at or below it the strong rule goes long")
    extreme_high: Real = Field(default=80.0, ge=51, le=99, description="at or above it the strong rule goes short")


class MacdSettings(Section):
    """Parameters of the MACD strategy"""

    fast_candles: Whole = Field(default=12, ge=2, le=100, description="candles of the quick average")
    slow_candles: Whole = Field(default=26, ge=3, le=200, description="candles of the slow average")
    signal_candles: Whole = Field(default=9, ge=2, le=100, description="candles of the signal line's average")
    threshold_atr: Real = Field(
        default=0.1, ge=0, le=2, description="a histogram above it is large, in average true ranges"
    )


class BollingerSettings(Section):
    """Parameters of the Bollinger strategy"""

    period_candles: Whole = Field(default=20, ge=5, le=200, description="candles of the band's mean")
    deviations: Real = Field(default=2.0, ge=0.5, le=5, description="population deviations from the middle to a band")
    squeeze_pct: Real = Field(
        default=2.0, ge=0.05, le=20, description="a band narrower than this percent of its middle is squeezed"
    )
    expansion_ratio: Real = Field(
        default=1.05, ge=1, le=3, description="a band that grew by more than this factor expands"
    )


class VolumeSettings(Section):
    """Parameters of the volume strategy"""

    period_candles: Whole = Field(default=20, ge=5, le=200, description="candles of the mean and the share of volume")
    spike_ratio: Real = Field(default=2.0, ge=1.2, le=20, description="volume that is a spike, in means of the volume")
    profile_candles: Whole = Field(default=48, ge=10, le=500, description="candles of the volume profile")


class StochasticSettings(Section):
    """Parameters of the stochastic strategy; thresholds are points, 0 to 100"""

    period_candles: Whole = Field(default=14, ge=3, le=100, description="candles whose range %K is measured in")
    smoothing_candles: Whole = Field(default=3, ge=1, le=20, description="candles of the means of %K and %D")
    oversold_points: Real = Field(default=15.0, ge=1, le=49, description="at or below it is oversold")
    overbought_points: Real = Field(default=85.0, ge=51, le=99, description="at or above it is overbought")
    extreme_low_points: Real = Field(default=10.0, ge=0, le=49, description="at or below it is extremely oversold")
    extreme_high_points: Real = Field(default=90.0, ge=51, le=100, description="at or above it is extremely overbought")


class EnsembleSettings(Section):
    """How several strategies make one signal, where strategy.name = "ensemble"; each has its own section"""

    members: Words = Field(
        default=("rsi", "macd", "bollinger", "volume", "stochastic"),
        description="strategies that are asked",
        json_schema_extra=_allowed("1 to 10 different ones: rsi, macd, bollinger, volume, stochastic, file.py"),
    )
    mode: Literal["weighted", "consensus", "best", "conservative"] = Field(
        default="weighted", description="how their scores become one; dissent lowers it in all of them"
    )
    weights: Weights = Field(
        default=(),
        description="weights of the members in mode = weighted; none are all equal",
        json_schema_extra=_allowed("none, or as many numbers above 0 as there are members"),
    )
    agree_min_votes: Whole = Field(default=2, ge=1, le=10, description="members that must agree in mode = consensus")


class FilterSettings(Section):
    """When no entry may follow a signal"""

    trend: Literal["off", "damp", "block"] = Field(
        default="off", description="what becomes of a signal against the trend of the greater intervals"
    )
    trend_intervals: Intervals = Field(
        default=("4h", "1d"),
        description="intervals whose trend is looked at, of those that candles of market.interval make up",
        json_schema_extra=_allowed("1 to 4 intervals"),
    )
    trend_candles: Whole = Field(
        default=200, ge=10, le=500, description="candles of the average that a trend is above or below"
    )
    trend_damping_ratio: Real = Field(
        default=0.7, ge=0, le=1, description="factor of the score for each interval against it, for trend = damp"
    )
    choppy_candles: Whole = Field(
        default=0, ge=0, le=400, description="candles in which flips of direction are counted; 0 counts none"
    )
    choppy_max_flips: Whole = Field(
        default=16, ge=0, le=400, description="flips of direction in choppy_candles that still allow an entry"
    )


class RiskSettings(Section):
    """How much may be lost, and how much may be held"""

    sizing: Literal["fixed", "half_kelly", "atr"] = Field(
        default="fixed", description="what a trade's quantity is made from: its stop, at most half of Kelly, or ATR"
    )
    capital_max_quote: Exact = Field(
        default=Decimal(0),
        ge=0,
        le=1_000_000_000,
        description="equity that counts, in quote currency; 0 is all",
    )

    risk_pct_of_equity: Exact = Field(
        default=Decimal("2.0"),
        ge=Decimal("0.01"),
        le=10,
        description="percent of equity that a trade loses at its stop",
    )
    notional_max_pct_of_equity: Exact = Field(
        default=Decimal(20), ge=Decimal("0.1"), le=100, description="largest position of a symbol, percent of equity"
    )
    notional_max_quote: Exact = Field(
        default=Decimal(100_000), ge=10, le=100_000_000, description="largest position of a symbol, in quote currency"
    )
    reserve_pct_of_balance: Exact = Field(
        default=Decimal(10), ge=0, le=90, description="percent of the quote balance that is never spent"
    )
    positions_max: Whole = Field(default=3, ge=1, le=20, description="positions held at the same time")
    portfolio_risk_max_pct: Exact = Field(
        default=Decimal(10), ge=Decimal("0.1"), le=100, description="percent of equity that all stops together may lose"
    )
    correlation_max: Real = Field(
        default=0.8, ge=0, le=1, description="correlation of returns above which two symbols are one position; 1 is off"
    )
    loss_streak_max: Whole = Field(
        default=3, ge=0, le=100, description="losses in a row that begin a cool-down; 0 is off"
    )
    cooldown_s: Whole = Field(default=3600, ge=1, le=604_800, description="seconds that a cool-down lasts")
    entry_gap_min_s: Whole = Field(
        default=300, ge=0, le=86_400, description="seconds between two entries of a symbol, at least"
    )
    price_age_max_ms: Whole = Field(
        default=5000, ge=100, le=3_600_000, description="milliseconds that the newest price may be old at an entry"
    )
    spread_max_pct: Exact = Field(
        default=Decimal("0.05"),
        ge=0,
        le=10,
        description="percent from bid to ask, at most, where the interval is 5m or less; 10 is off",
    )


class ExitSettings(Section):
    """Where a position is closed; a 0 switches a rule off"""

    preset: Literal["off", "conservative", "balanced", "aggressive"] = Field(
        default="off", description="rules beyond stop and target; fills in what is not set here"
    )
    mode: Literal["fixed", "atr"] = Field(
        default="fixed", description="where stop and target come from: percent of price, or multiples of ATR(14)"
    )

    stop_pct_of_price: Exact = Field(
        default=Decimal("2.0"),
        ge=Decimal("0.5"),
        le=10,
        description="distance of the stop from the entry, percent of price",
    )
    target_pct_of_price: Exact = Field(
        default=Decimal("4.0"),
        ge=Decimal("0.1"),
        le=100,
        description="distance of the target from the entry, percent of price",
    )
    atr_stop_multiple: Exact = Field(
        default=Decimal("1.5"), ge=Decimal("0.1"), le=20, description="distance of an ATR stop, in ATR"
    )
    atr_target_multiple: Exact = Field(
        default=Decimal(3), ge=Decimal("0.1"), le=100, description="distance of an ATR target, in ATR"
    )
    trail_activate_pct: Exact = Field(
        default=Decimal(0), ge=0, le=100, description="profit, percent of price, at which the stop begins to follow"
    )
    trail_distance_pct: Exact = Field(
        default=Decimal("1.0"), ge=Decimal("0.05"), le=50, description="percent of price that it follows behind"
    )
    trail_step_pct: Exact = Field(
        default=Decimal("0.5"), ge=0, le=50, description="percent of price that it moves at a time, at least"
    )
    reversal_fall_pct: Exact = Field(
        default=Decimal("0.5"), ge=0, le=50, description="percent below the highest price at which a reversal counts"
    )
    reversal_closes: Whole = Field(default=0, ge=0, le=100, description="falling closes in a row that make a reversal")
    reversal_profit_min_pct: Exact = Field(
        default=Decimal(0), ge=-100, le=100, description="profit, percent of price, that a reversal exit must leave"
    )
    take_1_at_pct: Exact = Field(
        default=Decimal(0), ge=0, le=100, description="profit, percent of price, at which the first part is sold"
    )
    take_1_share_pct: Exact = Field(
        default=Decimal(0), ge=0, le=99, description="percent of what was bought that is the first part"
    )
    take_2_at_pct: Exact = Field(
        default=Decimal(0), ge=0, le=100, description="profit, percent of price, at which the second part is sold"
    )
    take_2_share_pct: Exact = Field(
        default=Decimal(0), ge=0, le=99, description="percent of what was bought that is the second part"
    )
    hold_max_s: Whole = Field(
        default=0, ge=0, le=31_536_000, description="seconds after which a position is left, unless it earns enough"
    )
    hold_keep_pct: Exact = Field(
        default=Decimal(100), ge=-100, le=100, description="profit, percent of price, that keeps it beyond its time"
    )
    opposite_score_min: Real = Field(
        default=0, ge=0, le=1, description="score from which a signal for the other side closes"
    )
    break_even_after_r: Exact = Field(
        default=Decimal(0),
        ge=0,
        le=100,
        description="profit, in R, at which the stop moves to entry plus fees",
    )


TierName = Literal["warn", "no_entries", "shrink", "flatten"]


class BreakerSettings(Section):
    """When trading stops by itself; each limit says what it does: warn, no_entries, shrink (sell half), flatten"""

    preset: Literal["conservative", "standard", "aggressive"] = Field(
        default="standard", description="limits of day and drawdown; fills in what is not set here"
    )
    day_loss_max_pct: Exact = Field(
        default=Decimal(5), ge=Decimal("0.1"), le=100, description="percent lost since 00:00 UTC"
    )
    day_loss_tier: TierName = Field(default="no_entries", description="what the loss of the day does")
    rolling_loss_max_pct: Exact = Field(
        default=Decimal(5), ge=Decimal("0.1"), le=100, description="percent lost in the last 24 hours"
    )
    rolling_loss_tier: TierName = Field(default="no_entries", description="what the loss of 24 hours does")
    week_loss_max_pct: Exact = Field(
        default=Decimal(7), ge=Decimal("0.1"), le=100, description="percent lost since Monday 00:00 UTC"
    )
    week_loss_tier: TierName = Field(default="no_entries", description="what the loss of the week does")
    drawdown_max_pct: Exact = Field(
        default=Decimal(15), ge=Decimal("0.1"), le=100, description="percent below the highest equity so far"
    )
    drawdown_tier: TierName = Field(default="no_entries", description="what the drawdown does")
    venue_errors_max: Whole = Field(
        default=5, ge=0, le=1000, description="errors of the venue within a minute that stop entries; 0 is off"
    )
    refusals_max: Whole = Field(
        default=5, ge=0, le=1000, description="equal refusals in a row that stop entries; 0 is off"
    )
    stale_data_max_s: Whole = Field(
        default=60, ge=0, le=86_400, description="seconds without a price of what is held that stop entries; 0 is off"
    )
    clock_skew_max_ms: Whole = Field(
        default=1000,
        ge=0,
        le=60_000,
        description="milliseconds between the venue's clock and ours that stop entries; 0 is off",
    )
    backtest_reset_after_h: Whole = Field(
        default=24, ge=0, le=8760, description="hours after a trip at which a backtest's operator lets go; 0 is never"
    )


class OrderSettings(Section):
    """How orders are placed, and how long anything is waited for"""

    entry_limit_offset_pct: Exact = Field(
        default=Decimal("0.1"),
        ge=0,
        le=5,
        description="percent that an entry may cost above the price it was decided at",
    )
    entry_timeout_s: Whole = Field(default=15, ge=1, le=600, description="seconds until an unfilled entry is canceled")
    partial_fill_wait_s: Whole = Field(
        default=2, ge=0, le=60, description="seconds that a partly filled entry may take to fill before it is protected"
    )
    transport: Literal["socket", "rest"] = Field(
        default="socket",
        description="how orders go to the venue: by a socket, and by REST while it is down, or always by REST",
    )
    recv_window_ms: Whole = Field(
        default=5000, ge=100, le=60_000, description="milliseconds that the venue may take to admit a request"
    )
    unprotected_max_s: Whole = Field(
        default=10, ge=1, le=60, description="seconds after which a position without a resting stop is closed"
    )
    reconcile_every_s: Whole = Field(
        default=300, ge=10, le=3600, description="seconds between two comparisons of the books with the venue"
    )


class PaperSettings(Section):
    """The simulated market of paper mode"""

    market: Literal["generated", "relay", "files"] = Field(
        default="generated",
        description="a made-up market, Binance's own prices as they come (spot, needs a network), or files",
    )
    files: Files = Field(
        default=(),
        description="files of candles or trades that market = files replays; market = generated reads none",
        json_schema_extra=_allowed("none, or up to 100 names of files, or SYMBOL=FILE"),
    )
    seed: Whole = Field(default=5, ge=0, le=4_294_967_295, description="number that the market is made from")
    speed: Speed = Field(
        default="60",
        description="how many times faster than real time",
        json_schema_extra=_allowed('1 to 100000, or "max"'),
    )
    balance_usdt: Exact = Field(
        default=Decimal(10_000), ge=10, le=1_000_000_000, description="USDT on the account at first"
    )
    fee_bps: Exact = Field(default=Decimal(10), ge=0, le=100, description="fee of the venue, hundredths of a percent")


class CostSettings(Section):
    """What fills cost in backtests and in paper mode"""

    half_spread_bps: Exact = Field(
        default=Decimal(1), ge=0, le=100, description="half of bid to ask, hundredths of a percent of price"
    )
    slippage_bps: Exact = Field(
        default=Decimal(2), ge=0, le=500, description="worsening of a taker's price, hundredths of a percent"
    )
    volume_share_pct: Exact = Field(
        default=Decimal(10), ge=Decimal("0.1"), le=100, description="percent of a candle's volume that fills may take"
    )
    path: Literal["worst", "best"] = Field(
        default="worst", description="order of a candle's extremes, for the position held"
    )
    latency_ms: Whole = Field(default=50, ge=0, le=60_000, description="milliseconds from a decision to the venue")


class StoreSettings(Section):
    """What is kept"""

    journal_path: FileName = Field(
        default=Path("var/surefoot.sqlite"),
        description="file of the journal, from the folder that the program is started in",
        json_schema_extra=_allowed("the name of a file"),
    )


class AlertSettings(Section):
    """What is told to people, and when; where to is secret, see SUREFOOT_ALERT_URLS"""

    level_min: Literal["info", "warning", "critical"] = Field(
        default="info", description="least level that is sent; an address may ask for more with LEVEL=ADDRESS"
    )
    grouping_s: Whole = Field(
        default=60, ge=0, le=86_400, description="seconds in which more alerts of a kind become one; 0 sends each"
    )
    quiet_hours: Hours = Field(
        default="",
        description="hours in which only what is critical is sent, the rest afterwards; empty is none",
        json_schema_extra=_allowed("none, or HH:MM-HH:MM"),
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="time zone of the quiet hours",
        json_schema_extra=_allowed("a name such as UTC or Europe/Vienna"),
    )
    doubt_max_s: Whole = Field(
        default=30, ge=1, le=3600, description="seconds that an order may be in doubt before it is told"
    )
    daily_summary: Truth = Field(default=True, description="whether each day is summed up at 00:00 UTC")


class WebSettings(Section):
    """The web process: dashboard and API"""

    host: Host = Field(
        default="127.0.0.1",
        description="address that it listens at; any but loopback needs TLS or behind_proxy",
        json_schema_extra=_allowed("an IP address, or localhost"),
    )
    port: Whole = Field(default=8650, ge=0, le=65_535, description="port that it listens at; 0 takes a free one")
    origins: Origins = Field(
        default=(),
        description="addresses of other pages that may use the API, and of a proxy in front",
        json_schema_extra=_allowed("none, or up to 20 like https://bot.example.com; never *"),
    )
    tls_cert_file: MaybeFile = Field(
        default="",
        description="certificate chain for HTTPS, as PEM; empty is none",
        json_schema_extra=_allowed("empty, or the name of a file"),
    )
    tls_key_file: MaybeFile = Field(
        default="",
        description="the certificate's key, as PEM; empty is none",
        json_schema_extra=_allowed("empty, or the name of a file"),
    )
    behind_proxy: Truth = Field(
        default=False, description="a proxy of yours speaks HTTPS and names the client in X-Forwarded-For"
    )
    requests_max_per_s: Whole = Field(
        default=100, ge=1, le=100_000, description="requests of one address in a second, measured over ten of them"
    )
    data_folder: MaybeFile = Field(
        default="data",
        description="folder of candle files that backtests of the dashboard may read; empty is none",
        json_schema_extra=_allowed("empty, or the name of a folder"),
    )
    body_max_kib: Whole = Field(default=256, ge=1, le=65_536, description="size of a request's body, KiB")


class LogSettings(Section):
    """Log lines on stderr; the journal holds everything whatever stands here"""

    level: Literal["off", "debug", "info", "warning", "error"] = Field(
        default="off", description="least level that is logged; debug has every candle too"
    )
    format: Literal["json", "text"] = Field(default="json", description="what a line looks like")


class Settings(BaseModel):
    """Everything that can be set. Made by `load`; by itself it reads neither files nor the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    mode: Mode = Field(default=Mode.PAPER, description="where trading happens; decides hosts, keys and data together")
    profile: Literal["none", "testnet", "conservative", "scale", "full"] = Field(
        default="none", description="step of a roll-out; fills in capital, losses, positions and risk"
    )
    live_confirmed: Truth = Field(default=False, description="second confirmation that mode = live trades real money")
    market: MarketSettings = MarketSettings()
    futures: FuturesSettings = FuturesSettings()
    strategy: StrategySettings = StrategySettings()
    rsi: RsiSettings = RsiSettings()
    macd: MacdSettings = MacdSettings()
    bollinger: BollingerSettings = BollingerSettings()
    volume: VolumeSettings = VolumeSettings()
    stochastic: StochasticSettings = StochasticSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    filters: FilterSettings = FilterSettings()
    risk: RiskSettings = RiskSettings()
    exits: ExitSettings = ExitSettings()
    breaker: BreakerSettings = BreakerSettings()
    orders: OrderSettings = OrderSettings()
    paper: PaperSettings = PaperSettings()
    costs: CostSettings = CostSettings()
    store: StoreSettings = StoreSettings()
    alerts: AlertSettings = AlertSettings()
    log: LogSettings = LogSettings()
    web: WebSettings = WebSettings()
    api_key: SecretStr | None = Field(default=None, description="the venue's API key; from the environment or a file")
    api_secret: SecretStr | None = Field(default=None, description="the key's secret; from the environment or a file")
    alert_urls: SecretStr | None = Field(
        default=None, description="addresses that alerts are sent to, one a line; from the environment or a file"
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="what Prometheus must show to read metrics; from the environment or a file"
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        problems = [problem for rule in _RULES if (problem := rule(self))]
        if problems:
            raise PydanticCustomError("disagreement", "{problems}", {"problems": "\n".join(problems)})
        return self


# ---------------------------------------------------------------------------------------------------------------
# What must fit together


def _paper_market_fits(settings: Settings) -> str | None:
    paper = settings.paper
    if settings.mode is not Mode.PAPER:
        return None
    if paper.market == "relay" and settings.market.venue is not Market.SPOT:
        return f'paper.market = "relay": it takes Binance\'s spot market, and market.venue = {settings.market.venue}'
    if paper.market == "files" and not paper.files:
        return 'paper.market = "files": paper.files names none'
    return None


def _live_is_confirmed(settings: Settings) -> str | None:
    if settings.mode is Mode.LIVE and not settings.live_confirmed:
        return "live_confirmed = false: mode = live trades real money; set live_confirmed = true as well to start it"
    return None


def _symbols_differ(settings: Settings) -> str | None:
    symbols = settings.market.symbols
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    return f"market.symbols: {', '.join(twice)} is named more than once; every symbol once" if twice else None


def _intervals_fit(settings: Settings) -> str | None:
    interval, confirm = settings.market.interval, settings.market.confirm_interval
    if INTERVAL_MS[confirm] % INTERVAL_MS[interval] == 0:
        return None
    fitting = [name for name, length in INTERVAL_MS.items() if length % INTERVAL_MS[interval] == 0]
    return (
        f'market.confirm_interval = "{confirm}": must be a multiple of market.interval = "{interval}", '
        f"because it is built from those candles: {', '.join(fitting)}"
    )


def _warmup_is_enough(settings: Settings) -> str | None:
    if settings.market.warmup_candles > settings.rsi.period:
        return None
    return (
        f"market.warmup_candles = {settings.market.warmup_candles}: must be above rsi.period = {settings.rsi.period}, "
        f"or there is no first value"
    )


def _thresholds_are_in_order(settings: Settings) -> str | None:
    rsi = settings.rsi
    if rsi.extreme_low <= rsi.oversold and rsi.overbought <= rsi.extreme_high:
        return None
    return (
        f"rsi.extreme_low = {rsi.extreme_low:g}, rsi.extreme_high = {rsi.extreme_high:g}: must lie outside "
        f"rsi.oversold = {rsi.oversold:g} to rsi.overbought = {rsi.overbought:g}"
    )


def _stochastic_is_in_order(settings: Settings) -> str | None:
    own = settings.stochastic
    if own.extreme_low_points <= own.oversold_points and own.overbought_points <= own.extreme_high_points:
        return None
    return (
        f"stochastic.extreme_low_points = {own.extreme_low_points:g}, stochastic.extreme_high_points = "
        f"{own.extreme_high_points:g}: must lie outside stochastic.oversold_points = {own.oversold_points:g} to "
        f"stochastic.overbought_points = {own.overbought_points:g}"
    )


def _macd_is_in_order(settings: Settings) -> str | None:
    fast, slow = settings.macd.fast_candles, settings.macd.slow_candles
    return None if fast < slow else f"macd.fast_candles = {fast}: must be below macd.slow_candles = {slow}"


def _ensemble_fits(settings: Settings) -> str | None:
    own = settings.ensemble
    count = len(own.members)
    if len(set(own.members)) != count or "ensemble" in own.members:
        return f"ensemble.members = {', '.join(own.members)}: each once, and not the ensemble itself"
    if own.weights and (len(own.weights) != count or not all(weight > 0 for weight in own.weights)):
        return f"ensemble.weights: {len(own.weights)} of them; {count} members need as many, all above 0"
    if own.agree_min_votes > count:
        return f"ensemble.agree_min_votes = {own.agree_min_votes}: there are {count} members"
    return None


def _slots_fit(settings: Settings) -> str | None:
    """Each symbol has a slot of its own, so that order of arrival never decides who gets the money."""
    risk, count = settings.risk, len(settings.market.symbols)
    slot, available = risk.notional_max_pct_of_equity, 100 - risk.reserve_pct_of_balance
    if count * slot <= available:
        return None
    return (
        f"risk.notional_max_pct_of_equity = {slot}: every symbol has a slot of its own, so that the order of arrival "
        f"never decides who gets the money, and {count} symbols x {slot} % = {count * slot} % is more than the "
        f"{available} % that risk.reserve_pct_of_balance = {risk.reserve_pct_of_balance} leaves; "
        f"at most {_floored(available / count)} with {count} symbols, or {int(available / slot)} symbols with {slot}"
    )


def _parts_leave_a_rest(settings: Settings) -> str | None:
    exits = settings.exits
    if exits.take_1_share_pct + exits.take_2_share_pct < 100:
        return None
    return (
        f"exits.take_1_share_pct = {exits.take_1_share_pct}, exits.take_2_share_pct = {exits.take_2_share_pct}: must "
        "be less than 100 together, because the rest runs on"
    )


def _part_filled_entry_is_protected_in_time(settings: Settings) -> str | None:
    orders = settings.orders
    if orders.partial_fill_wait_s < orders.unprotected_max_s:
        return None
    return (
        f"orders.partial_fill_wait_s = {orders.partial_fill_wait_s}: must be below orders.unprotected_max_s = "
        f"{orders.unprotected_max_s}, or a partly filled entry is closed while it still waits"
    )


def _web_is_safe(settings: Settings) -> str | None:
    web = settings.web
    if bool(web.tls_cert_file) != bool(web.tls_key_file):
        return "web.tls_cert_file and web.tls_key_file: one is set; TLS needs both"
    if is_loopback(web.host) or web.tls_cert_file or web.behind_proxy:
        return None
    return (
        f"web.host = {web.host}: others could read along; set web.tls_cert_file and web.tls_key_file, "
        f"or web.behind_proxy = true where a proxy speaks HTTPS"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or ip_address(host).is_loopback


def _floored(value: Decimal) -> Decimal:
    return (value // Decimal("0.01")) * Decimal("0.01")


# Each with the settings that it reads: of two settings that agree in those, it says the same.
_RULES: Mapping[Callable[[Settings], str | None], frozenset[str]] = {
    _paper_market_fits: frozenset({"mode", "paper", "market"}),
    _live_is_confirmed: frozenset({"mode", "live_confirmed"}),
    _symbols_differ: frozenset({"market"}),
    _intervals_fit: frozenset({"market"}),
    _warmup_is_enough: frozenset({"market", "rsi"}),
    _thresholds_are_in_order: frozenset({"rsi"}),
    _stochastic_is_in_order: frozenset({"stochastic"}),
    _macd_is_in_order: frozenset({"macd"}),
    _ensemble_fits: frozenset({"ensemble"}),
    _slots_fit: frozenset({"market", "risk"}),
    _parts_leave_a_rest: frozenset({"exits"}),
    _part_filled_entry_is_protected_in_time: frozenset({"orders"}),
    _web_is_safe: frozenset({"web"}),
}


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


def load(path: Path | None, overrides: Mapping[str, str], env: Mapping[str, str], *, keyless: bool = False) -> Loaded:
    """Settings from defaults, a file, environment variables and flags; what comes later in this list wins.

    `overrides` are flags by dotted key. `keyless` is a process that holds no keys of the venue in any mode. Raises
    ConfigError with all problems at once.
    """
    given = _from_file(path) | _from_environment(env) | _from_flags(overrides)
    added = filled_in({key: entry.value for key, entry in given.items()})
    given = {key: _Given(value, source) for key, (value, source) in added.items()} | given
    problems = [problem for key, entry in given.items() if (problem := _unknown(key, entry))]
    known = {key: entry for key, entry in given.items() if key in _FIELDS}
    # Other modes have no use for real keys, so that not even a mistake can send them anywhere.
    mode = str(_mode_of(known))
    needs_keys = mode in VENUES and not keyless
    names = SECRETS if needs_keys else tuple(name for name in SECRETS if name not in VENUE_SECRETS)
    known |= _secrets(names, env)
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
    if problems := [problem for rule in _RULES if (problem := rule(result))]:
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
        if any(not reads.isdisjoint(parts) and rule(result) for rule, reads in _RULES.items()):
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

    Left out are the web process, alerts and logs, which change nothing about the trading.
    """
    others = ("web.", "alerts.", "log.")
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
