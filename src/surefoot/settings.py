"""All settings as one, and what must fit together between its sections. `surefoot.config` reads and changes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from ipaddress import ip_address
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from surefoot.core.model import INTERVAL_MS
from surefoot.sections import (
    AlertSettings,
    BollingerSettings,
    BreakerSettings,
    CostSettings,
    EnsembleSettings,
    ExitSettings,
    FilterSettings,
    FuturesSettings,
    GuardSettings,
    LogSettings,
    MacdSettings,
    MarketSettings,
    OrderSettings,
    PaperSettings,
    RiskSettings,
    RsiSettings,
    StochasticSettings,
    StoreSettings,
    StrategySettings,
    TraceSettings,
    Truth,
    VolumeSettings,
    WebSettings,
)

COUNTDOWN_MIN_S = 5


class Mode(StrEnum):
    BACKTEST = "backtest"
    PAPER = "paper"
    TESTNET = "testnet"
    DEMO = "demo"
    LIVE = "live"


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
    guard: GuardSettings = GuardSettings()
    log: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()
    web: WebSettings = WebSettings()
    api_key: SecretStr | None = Field(default=None, description="the venue's API key; from the environment or a file")
    api_secret: SecretStr | None = Field(default=None, description="the key's secret; from the environment or a file")
    alert_urls: SecretStr | None = Field(
        default=None, description="addresses that alerts are sent to, one a line; from the environment or a file"
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="what Prometheus must show to read metrics; from the environment or a file"
    )
    guard_api_key: SecretStr | None = Field(
        default=None, description="the guardian's own API key; from the environment or a file"
    )
    guard_api_secret: SecretStr | None = Field(
        default=None, description="that key's secret; from the environment or a file"
    )
    guard_alert_urls: SecretStr | None = Field(
        default=None, description="addresses that the guardian tells, one a line; from the environment or a file"
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        problems = [problem for rule in RULES if (problem := rule(self))]
        if problems:
            raise PydanticCustomError("disagreement", "{problems}", {"problems": "\n".join(problems)})
        return self


# ---------------------------------------------------------------------------------------------------------------
# What must fit together


def _paper_market_fits(settings: Settings) -> str | None:
    paper = settings.paper
    if settings.mode is not Mode.PAPER:
        return None
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


def _guardian_fits(settings: Settings) -> str | None:
    guard = settings.guard
    if guard.act_after_s <= guard.silent_max_s:
        return (
            f"guard.act_after_s = {guard.act_after_s}: must be above guard.silent_max_s = {guard.silent_max_s}, "
            f"or the guardian acts before a trader that restarts could answer"
        )
    if 0 < guard.countdown_s < COUNTDOWN_MIN_S:
        return (
            f"guard.countdown_s = {guard.countdown_s}: 0 is off; less than {COUNTDOWN_MIN_S} cancels at a slow answer"
        )
    if bool(settings.guard_api_key) != bool(settings.guard_api_secret):
        return "guard_api_key and guard_api_secret: one is set; the guardian's key needs both"
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or ip_address(host).is_loopback


def _floored(value: Decimal) -> Decimal:
    return (value // Decimal("0.01")) * Decimal("0.01")


# Each with the settings that it reads: of two settings that agree in those, it says the same.
RULES: Mapping[Callable[[Settings], str | None], frozenset[str]] = {
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
    _guardian_fits: frozenset({"guard", "guard_api_key", "guard_api_secret"}),
}
