"""Builds the machines from the settings: the same for backtest, paper, testnet and live."""

from __future__ import annotations

from collections.abc import Callable

from surefoot.binance.dialogue import Keys
from surefoot.binance.session import Session, SessionSettings
from surefoot.config import Mode, Settings
from surefoot.core.engine import Engine
from surefoot.core.exits import ExitSettings
from surefoot.core.facts import EngineSettings
from surefoot.core.risk import RiskSettings
from surefoot.signals.source import SignalSource
from surefoot.strategies import decider_of, filters_of

QUOTE = "USDT"


def build_engine(settings: Settings) -> Engine:
    """An engine with empty books and cold signals."""
    return Engine(engine_settings(settings), _signals(settings))


def build_session(settings: Settings, keys: Keys, jitter: Callable[[], float], *, watch_always: bool) -> Session:
    """A dialogue that has not begun. It reads as much history as makes signals equal to those of the whole past."""
    market = settings.market
    return Session(
        SessionSettings(
            symbols=market.symbols,
            interval=market.interval,
            warmup_candles=max(market.warmup_candles, _signals(settings).history_candles),
            recv_window_ms=settings.orders.recv_window_ms,
            watch_always=watch_always,
            context_intervals=filters_of(settings).context_of(market.interval),
        ),
        keys,
        jitter,
    )


def _signals(settings: Settings) -> SignalSource:
    market = settings.market
    return SignalSource(
        decider_of(settings), market.symbols, market.interval, market.confirm_interval, filters_of(settings)
    )


def _score_min(settings: Settings) -> float:
    match settings.mode:
        case Mode.BACKTEST:
            return settings.strategy.score_min_backtest
        case Mode.PAPER:
            return settings.strategy.score_min_paper
        case Mode.TESTNET | Mode.LIVE:
            return settings.strategy.score_min_live


def engine_settings(settings: Settings) -> EngineSettings:
    """What the engine needs of the settings, times in milliseconds."""
    risk, exits, orders = settings.risk, settings.exits, settings.orders
    return EngineSettings(
        symbols=settings.market.symbols,
        quote=QUOTE,
        risk=RiskSettings(
            risk_pct_of_equity=risk.risk_pct_of_equity,
            notional_max_pct_of_equity=risk.notional_max_pct_of_equity,
            notional_max_quote=risk.notional_max_quote,
            reserve_pct_of_balance=risk.reserve_pct_of_balance,
            score_min=_score_min(settings),
            signal_expiry_ms=settings.strategy.signal_expiry_s * 1_000,
            entry_limit_offset_pct=orders.entry_limit_offset_pct,
        ),
        exits=ExitSettings(exits.stop_pct_of_price, exits.target_pct_of_price),
        day_loss_max_pct=risk.day_loss_max_pct,
        recv_window_ms=orders.recv_window_ms,
        entry_timeout_ms=orders.entry_timeout_s * 1_000,
        partial_fill_wait_ms=orders.partial_fill_wait_s * 1_000,
        unprotected_max_ms=orders.unprotected_max_s * 1_000,
        reconcile_every_ms=orders.reconcile_every_s * 1_000,
    )
