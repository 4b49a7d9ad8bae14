"""Builds the machines from the settings: the same for backtest, paper, testnet and live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from surefoot.changes import Changed
from surefoot.config import Mode, Settings
from surefoot.core.breaker import BreakerSettings, Limit
from surefoot.core.exits import ExitSettings, Take
from surefoot.core.facts import EngineSettings
from surefoot.core.margin import MarginSettings
from surefoot.core.model import INTERVAL_MS, Candle, Market, Signal, Tier
from surefoot.core.risk import RiskSettings, Sizing

# Signals are imported where they are built: who only folds a journal needs no arrays and no indicators.
if TYPE_CHECKING:
    from surefoot.binance.dialect import Dialect
    from surefoot.binance.dialogue import Keys
    from surefoot.binance.session import Session
    from surefoot.core.engine import Engine
    from surefoot.core.messages import Event, SettingsChanged
    from surefoot.signals.decision import Decider
    from surefoot.signals.replay import ReplayedSignals
    from surefoot.signals.source import SignalSource
    from surefoot.signals.window import Columns

QUOTE = "USDT"
SPREAD_OFF_PCT = 10
SPREAD_MATTERS_MS = INTERVAL_MS["5m"]  # on longer intervals a wide spread is soon forgotten
# Up to this length of candles, a signal enters no more after this time.
EXPIRIES_MS = ((INTERVAL_MS["1m"], 120_000), (INTERVAL_MS["5m"], 600_000), (INTERVAL_MS["1d"], 1_800_000))


class InForce:
    """The settings in force, and the signals and the engine that follow from them."""

    def __init__(self, start: Settings) -> None:
        from surefoot.core.engine import Engine

        self.settings = start
        self.signals = build_signals(start)
        self._signals_are_cold = False
        self.engine = Engine(engine_settings(start), self.signals, self._take)
        self._changed = Changed(start)

    @property
    def problem(self) -> str | None:
        """Why what was changed does not go with the settings of the start; then the ones before are in force."""
        return self._changed.problem

    def after(self, wanted: Mapping[str, str | None]) -> Settings:
        """What would be in force after a change. Raises ConfigError where that cannot be."""
        settings = self._changed.after(wanted)
        self._decider(settings)
        return settings

    def settle(self, session: Session, now_ms: int) -> list[Event]:
        """Let the session follow what the engine took; signals that began anew get their history once more."""
        market = self.settings.market
        settings = replace(
            session.settings,
            symbols=market.symbols,
            interval=market.interval,
            warmup_candles=max(market.warmup_candles, self.signals.history_candles),
            context_intervals=self.signals.context_intervals,
            price_age_max_ms=self.settings.risk.price_age_max_ms,
        )
        afresh, self._signals_are_cold = self._signals_are_cold, False
        return session.adopt(settings, now_ms, afresh=afresh)

    def _take(self, event: SettingsChanged) -> EngineSettings:
        from surefoot.strategies import filters_of

        settings = self._changed.take(event)
        decider, market, filters = self._decider(settings), settings.market, filters_of(settings)
        wanted = decider, market.interval, market.confirm_interval, filters
        signals = self.signals
        if wanted != (signals.strategy, signals.interval, signals.confirm_interval, signals.filters):
            signals.begin(decider, market.symbols, market.interval, market.confirm_interval, filters)
            self._signals_are_cold = True
        signals.keep({*market.symbols, *self.engine.portfolio.positions})
        self.settings = settings
        return engine_settings(settings)

    def _decider(self, settings: Settings) -> Decider:
        """The strategy under other settings; the same object where none of its own differ. Raises ConfigError."""
        from surefoot.strategies import ENSEMBLE, decider_of

        name, members = settings.strategy.name, settings.ensemble.members
        sections = (ENSEMBLE, *members) if name == ENSEMBLE else (name,)
        if all(getattr(settings, section, None) == getattr(self.settings, section, None) for section in sections):
            return self.signals.strategy
        return decider_of(settings)


def build_engine(settings: Settings, known: ReplayedSignals | None = None) -> Engine:
    """An engine with empty books and cold signals. `known` are those of a backtest, whose candles are known."""
    if known is None:
        return InForce(settings).engine
    # Imported here: the fast backtest takes only settings and signals from this module, and is soon over.
    from surefoot.core.engine import Engine

    return Engine(engine_settings(settings), known)


def build_books(settings: Settings) -> Engine:
    """An engine for folding a journal: it has no signals, and decides nothing."""
    from surefoot.core.engine import Engine

    changed = Changed(settings)
    return Engine(engine_settings(settings), _NoSignals(), lambda event: engine_settings(changed.take(event)))


class _NoSignals:
    """Of an engine that is told what was decided."""

    def warm(self, candles: Sequence[Candle]) -> None:
        raise AssertionError("what is folded is not stepped")

    def on_candle(self, candle: Candle) -> Signal:
        raise AssertionError("what is folded is not stepped")

    def correlation(self, symbol: str, other: str) -> float | None:
        raise AssertionError("what is folded is not stepped")

    def prepare(self) -> bool:
        return False


def build_session(
    settings: Settings, keys: Keys, jitter: Callable[[], float], *, watch_always: bool, supervised: bool = False
) -> Session:
    """A dialogue that has not begun. It reads as much history as makes signals equal to those of the whole past.

    `supervised` is where time is real: there a stream that is silent for too long is no quiet market, mark prices are
    others than last prices, and our clock is another than the venue's.
    """
    from surefoot.binance.clock import ASK_EVERY_MS
    from surefoot.binance.session import Session, SessionSettings
    from surefoot.strategies import filters_of

    market = settings.market
    return Session(
        SessionSettings(
            symbols=market.symbols,
            interval=market.interval,
            warmup_candles=max(market.warmup_candles, build_signals(settings).history_candles),
            recv_window_ms=settings.orders.recv_window_ms,
            watch_always=watch_always,
            mark_prices=supervised,
            by_socket=settings.orders.transport == "socket",
            context_intervals=filters_of(settings).context_of(market.interval),
            stream_silence_max_ms=market.stream_silence_max_s * 1_000 if supervised else 0,
            clock_every_ms=ASK_EVERY_MS if supervised else 0,
            rereads_rules=supervised,
            price_age_max_ms=settings.risk.price_age_max_ms,
        ),
        keys,
        jitter,
        dialect_of(settings),
    )


def dialect_of(settings: Settings) -> Dialect:
    """How the venue of these settings is spoken to."""
    from surefoot.binance.futures.dialect import Futures
    from surefoot.binance.futures.preparation import MarginWishes
    from surefoot.binance.spot import Spot

    if settings.market.venue is Market.SPOT:
        return Spot()
    return Futures(MarginWishes(settings.futures.leverage, settings.futures.margin_type))


def build_signals(settings: Settings) -> SignalSource:
    from surefoot.signals.source import SignalSource
    from surefoot.strategies import decider_of, filters_of

    market = settings.market
    return SignalSource(
        decider_of(settings), market.symbols, market.interval, market.confirm_interval, filters_of(settings)
    )


def build_replay(settings: Settings, known: Mapping[str, Columns]) -> ReplayedSignals:
    """The same signals for a backtest, whose candles are known beforehand."""
    from surefoot.signals.replay import ReplayedSignals
    from surefoot.strategies import decider_of, filters_of

    market = settings.market
    return ReplayedSignals(decider_of(settings), known, market.interval, market.confirm_interval, filters_of(settings))


def score_min(settings: Settings) -> float:
    match settings.mode:
        case Mode.BACKTEST:
            return settings.strategy.score_min_backtest
        case Mode.PAPER:
            return settings.strategy.score_min_paper
        case Mode.TESTNET | Mode.DEMO | Mode.LIVE:
            return settings.strategy.score_min_live


def _interval_ms(settings: Settings) -> int:
    return INTERVAL_MS[settings.market.interval]


def entry_expiry_ms(settings: Settings) -> int:
    chosen_s = settings.strategy.signal_expiry_s
    if chosen_s != "auto":
        return chosen_s * 1_000
    return next(expiry_ms for longest_ms, expiry_ms in EXPIRIES_MS if _interval_ms(settings) <= longest_ms)


def _spread_max_pct(settings: Settings) -> Decimal | None:
    spread_max_pct = settings.risk.spread_max_pct
    matters = _interval_ms(settings) <= SPREAD_MATTERS_MS and spread_max_pct < SPREAD_OFF_PCT
    return spread_max_pct if matters else None


def _spread_assumed_pct(settings: Settings) -> Decimal | None:
    """A backtest hears no quotes while it holds nothing: there the spread is that of its own fill model."""
    return settings.costs.half_spread_bps * 2 / 100 if settings.mode is Mode.BACKTEST else None


def exit_settings(settings: Settings) -> ExitSettings:
    exits = settings.exits
    takes = ((exits.take_1_at_pct, exits.take_1_share_pct), (exits.take_2_at_pct, exits.take_2_share_pct))
    return ExitSettings(
        stop_pct_of_price=exits.stop_pct_of_price,
        target_pct_of_price=exits.target_pct_of_price,
        by_atr=exits.mode == "atr",
        atr_stop_multiple=exits.atr_stop_multiple,
        atr_target_multiple=exits.atr_target_multiple,
        trail_activate_pct=exits.trail_activate_pct,
        trail_distance_pct=exits.trail_distance_pct,
        trail_step_pct=exits.trail_step_pct,
        break_even_after_r=exits.break_even_after_r,
        takes=tuple(Take(at_pct, share_pct) for at_pct, share_pct in takes if at_pct and share_pct),
        reversal_fall_pct=exits.reversal_fall_pct,
        reversal_closes=exits.reversal_closes,
        reversal_profit_min_pct=exits.reversal_profit_min_pct,
        hold_max_ms=exits.hold_max_s * 1_000,
        hold_keep_pct=exits.hold_keep_pct,
        opposite_score_min=exits.opposite_score_min,
    )


def breaker_settings(settings: Settings) -> BreakerSettings:
    breaker = settings.breaker
    # The candles of a backtest are as old as they are; nothing can be late.
    stale_s = 0 if settings.mode is Mode.BACKTEST else breaker.stale_data_max_s
    return BreakerSettings(
        day_loss=Limit(breaker.day_loss_max_pct, Tier(breaker.day_loss_tier)),
        rolling_loss=Limit(breaker.rolling_loss_max_pct, Tier(breaker.rolling_loss_tier)),
        week_loss=Limit(breaker.week_loss_max_pct, Tier(breaker.week_loss_tier)),
        drawdown=Limit(breaker.drawdown_max_pct, Tier(breaker.drawdown_tier)),
        venue_errors_max=breaker.venue_errors_max,
        stale_data_max_ms=stale_s * 1_000,
        clock_skew_max_ms=breaker.clock_skew_max_ms,
        refusals_max=breaker.refusals_max,
    )


def risk_settings(settings: Settings) -> RiskSettings:
    """What the gate needs."""
    risk = settings.risk
    return RiskSettings(
        risk_pct_of_equity=risk.risk_pct_of_equity,
        notional_max_pct_of_equity=risk.notional_max_pct_of_equity,
        notional_max_quote=risk.notional_max_quote,
        reserve_pct_of_balance=risk.reserve_pct_of_balance,
        score_min=score_min(settings),
        signal_expiry_ms=entry_expiry_ms(settings),
        entry_limit_offset_pct=settings.orders.entry_limit_offset_pct,
        capital_max_quote=risk.capital_max_quote,
        sizing=Sizing(risk.sizing),
        positions_max=risk.positions_max,
        portfolio_risk_max_pct=risk.portfolio_risk_max_pct,
        correlation_max=risk.correlation_max,
        loss_streak_max=risk.loss_streak_max,
        cooldown_ms=risk.cooldown_s * 1_000,
        entry_gap_min_ms=risk.entry_gap_min_s * 1_000,
        price_age_max_ms=risk.price_age_max_ms,
        spread_max_pct=_spread_max_pct(settings),
        spread_assumed_pct=_spread_assumed_pct(settings),
    )


def engine_settings(settings: Settings) -> EngineSettings:
    """What the engine needs of the settings, times in milliseconds."""
    orders = settings.orders
    return EngineSettings(
        symbols=settings.market.symbols,
        quote=QUOTE,
        risk=risk_settings(settings),
        exits=exit_settings(settings),
        breaker=breaker_settings(settings),
        recv_window_ms=orders.recv_window_ms,
        entry_timeout_ms=orders.entry_timeout_s * 1_000,
        partial_fill_wait_ms=orders.partial_fill_wait_s * 1_000,
        unprotected_max_ms=orders.unprotected_max_s * 1_000,
        reconcile_every_ms=orders.reconcile_every_s * 1_000,
        margin=_margin_settings(settings),
    )


def _margin_settings(settings: Settings) -> MarginSettings | None:
    futures = settings.futures
    if settings.market.venue is Market.SPOT:
        return None
    return MarginSettings(
        leverage=futures.leverage,
        isolated=futures.margin_type == "ISOLATED",
        distance_min_pct=futures.liquidation_distance_min_pct,
    )
