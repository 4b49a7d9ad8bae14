"""The sections of the settings: each value with its unit, range and description. `surefoot.config` reads them.

A number is a number and a truth a truth: nothing is taken for the other. Variables and flags are texts, so that lists
and tables have a form as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from surefoot.core.model import Market


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


def _address_or_empty(value: object) -> object:
    if value == "" or (isinstance(value, str) and re.fullmatch(r"https?://[\w.\[\]:-]+(/[\w./-]*)?", value)):
        return value
    raise PydanticCustomError("address", "not an address")


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
MaybeAddress = Annotated[str, BeforeValidator(_address_or_empty)]
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
        default=0.70, ge=0, le=1, description="lowest rule score that may enter live, on testnet and in demo"
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
        default=0.0, ge=0, le=1, description="score from which a signal for the other side closes"
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
        description="a made-up market, Binance's own prices as they come (needs a network), or files",
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


class GuardSettings(Section):
    """The guardian, which watches the trader from outside; key and addresses are secret, see SUREFOOT_GUARD_…"""

    enabled: Truth = Field(default=False, description="whether surefoot run starts the guardian, too")
    silent_max_s: Whole = Field(
        default=30, ge=1, le=3600, description="seconds that the trader may not answer before that is an emergency"
    )
    idle_max_s: Whole = Field(
        default=90, ge=5, le=86_400, description="seconds without a new price or without a link that are an emergency"
    )
    act: Literal["tell", "cancel", "flatten"] = Field(
        default="tell",
        description="what follows: only alerts, the bot's entries are cancelled, or what it holds is sold, too",
    )
    act_after_s: Whole = Field(
        default=120, ge=2, le=86_400, description="seconds that an emergency lasts before the guardian acts"
    )
    countdown_s: Whole = Field(
        default=0,
        ge=0,
        le=3600,
        description="seconds after which futures' plain orders of all symbols, anybody's, are cancelled by the venue "
        "unless trader and guardian live; 0 is off",
    )


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


class TraceSettings(Section):
    """Traces for OpenTelemetry, from a candle to the venue's answer"""

    otlp_url: MaybeAddress = Field(
        default="",
        description="where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; empty is off",
        json_schema_extra=_allowed("empty, or an address with http:// or https://"),
    )
