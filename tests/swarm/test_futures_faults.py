"""Futures under faults: what goes wrong on the way leaves books that agree, and nothing unprotected once it is over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from simex.market import GeneratedMarket
from surefoot.assembly import build_engine, build_session
from surefoot.config import load
from surefoot.core.facts import Books
from surefoot.core.messages import Command, Event, OrderFilled, RunStarted, SubmitOrder
from surefoot.research.backtest import _costs
from surefoot.research.data import load_candles
from surefoot.research.exact import BOOT_MS, DEMO_KEYS, VirtualTime, candle_exchange
from surefoot.research.tape import tape_of
from tests.swarm.weather import Climate, Weather

SYMBOLS = ("BTCUSDT", "ETHUSDT")
START_MS = 1_790_000_100_000 // 3_600_000 * 3_600_000
MINUTE_MS = 60_000
MINUTES = 600
SETTINGS = {
    "mode": "backtest",
    "market.venue": "futures",
    "market.symbols": ",".join(SYMBOLS),
    "market.interval": "1m",
    "market.confirm_interval": "5m",
    "futures.leverage": "3",
    "rsi.oversold": "45",
    "rsi.overbought": "55",
    "exits.preset": "aggressive",
    "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.8",
    "exits.hold_max_s": "1200",
    "exits.opposite_score_min": "0.5",
    "risk.loss_streak_max": "0",
    "breaker.venue_errors_max": "0",
    "breaker.refusals_max": "0",
    "breaker.clock_skew_max_ms": "0",
}


def candle_files(folder: Path, seed: int) -> list[str]:
    market = GeneratedMarket(seed, SYMBOLS, START_MS, history_days=1)
    for symbol, candles in market.history.items():
        rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in candles[:MINUTES])
        (folder / f"{symbol}-1m.csv").write_text("\n".join(rows) + "\n")
    return [str(folder / f"{symbol}-1m.csv") for symbol in SYMBOLS]


@pytest.mark.spec("SAFE-1", "SAFE-2", "SAFE-4", "MODE-3", "ORD-4", "ORD-6", "NET-5", "NET-6")
@pytest.mark.parametrize(("seed", "way"), [(1, "rest"), (3, "rest"), (13, "socket"), (17, "socket")])
def test_after_hours_of_faults_the_books_of_futures_agree(tmp_path: Path, seed: int, way: str) -> None:
    rng = random.Random(seed)
    kind = rng.choice(("CROSSED", "ISOLATED"))
    settings = load(None, SETTINGS | {"futures.margin_type": kind, "orders.transport": way}, {}).settings
    messages: list[Event | Command] = []
    engine = build_engine(settings)
    session = build_session(settings, DEMO_KEYS, rng.random, watch_always=False)
    files = candle_files(tmp_path, seed)
    exchange, tape = candle_exchange([tape_of(load_candles(file)) for file in files], _costs(settings))
    weather = Weather(rng, Climate.drawn(rng, severity=1.0))
    weather.on = False
    driver = VirtualTime(engine, session, exchange, tape, 50, messages.append, fates=weather)
    driver.begin(RunStarted(tape.start_ms - BOOT_MS, "t", "backtest", SYMBOLS, "", ""))
    driver.run(tape.start_ms + 10 * MINUTE_MS)
    weather.on, clear_ms = True, tape.end_ms - 60 * MINUTE_MS
    while driver.now_ms < clear_ms:
        driver.run(min(driver.now_ms + rng.randint(1_000, MINUTE_MS), clear_ms))
        if rng.random() < 0.02:
            link = rng.choice(("market", "book", "account", *(("orders",) if way == "socket" else ())))
            weather.reconnected(link)
            driver.cut(link, "reset")
    weather.clear()
    driver.run(tape.end_ms)
    driver.drain()

    assert exchange.futures is not None
    exchange.futures.check_books()
    account = exchange.futures.engine.ledger.accounts[DEMO_KEYS.api_key]
    held = {symbol: each.signed_quantity for symbol, each in engine.portfolio.positions.items()}
    assert engine.books is Books.AGREE
    assert engine.portfolio.wallet("USDT") == account.wallets["USDT"]
    for symbol in SYMBOLS:
        assert held.get(symbol, 0) == sum(position.amount for position in account.held(symbol))
    ids = [message.order.client_order_id for message in messages if isinstance(message, SubmitOrder)]
    assert len(ids) == len(set(ids))
    assert not [order for order in engine.orders.open_orders() if order.unanswered]
    assert not engine.unprotected_since
    fills = [message.fill for message in messages if isinstance(message, OrderFilled)]
    assert all(fill.client_order_id in ids for fill in fills)
    assert weather.faults >= 100, "the test proves nothing without faults"
    assert len(engine.portfolio.round_trips) >= 15, "nor without trades"
