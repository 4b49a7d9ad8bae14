"""A day of streams in virtual time, with everything that befalls connections: what is missing afterwards, and for how
long nothing was seen. Without `SUREFOOT_FULL=1` an hour of it is ten minutes long."""

from __future__ import annotations

import math
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import pytest

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.market import PrintTaker, Ranges
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, FillModel
from surefoot.assembly import build_session
from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.binance.links import kind_of
from surefoot.core.facts import Books
from surefoot.core.messages import (
    CandleClosed,
    Command,
    Event,
    HistoryLoaded,
    LinkLost,
    LinkRestored,
    OrderFilled,
    PriceMarked,
    RunStarted,
    StreamSilent,
)
from surefoot.core.model import Candle, Signal
from surefoot.research.exact import FINE, Fate, VirtualTime
from tests.stage import KEYS, START_MS, Script, scripted_engine, stage_settings

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS if os.environ.get("SUREFOOT_FULL") else 10 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SECOND_MS = 1_000
PRINT_EVERY_MS = 4 * SECOND_MS
SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKET_KINDS = ("market", "book")  # futures have best prices on a connection of their own
CUTS = ((2 * HOUR_MS, "market"), (5 * HOUR_MS, "account"), (9 * HOUR_MS, "market"), (14 * HOUR_MS + 1, "account"))
SHUTDOWN_MS = 18 * HOUR_MS  # announced to both links: two planned changes
# When frames go nowhere although the connection stands: all of the market, one stream of it, fills of the account.
SILENT = (
    (7 * HOUR_MS, 7 * HOUR_MS + 90_000, MARKET_KINDS, ""),
    (11 * HOUR_MS, 11 * HOUR_MS + 150_000, MARKET_KINDS, "btcusdt@bookTicker"),
    (12 * HOUR_MS, 12 * HOUR_MS + 150_000, MARKET_KINDS, "ethusdt@kline"),
    (16 * HOUR_MS, 16 * HOUR_MS + 60_000, ("account",), "executionReport"),
    (16 * HOUR_MS, 16 * HOUR_MS + 60_000, ("account",), "ORDER_TRADE_UPDATE"),
)


class Walk:
    """Prints of all symbols every few seconds, wandering; what is told each second is told between them."""

    def __init__(self, rng: random.Random, exchange: Exchange) -> None:
        self.end_ms: int | None = None
        self._rng = rng
        self._exchange = exchange
        self._levels = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0}
        self._due_ms = START_MS

    def next_ms(self) -> int | None:
        return self._due_ms

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        now_ms, self._due_ms = self._due_ms, self._due_ms + SECOND_MS
        if now_ms % PRINT_EVERY_MS:
            self._exchange.wake(now_ms)
            return
        for symbol, level in self._levels.items():
            self._levels[symbol] = level * math.exp(self._rng.gauss(0, 0.0008))
            price = Decimal(round(self._levels[symbol] * 100)) / 100
            exchange.tick(symbol, price, Decimal(1), Decimal(1_000_000), now_ms)


class Weather:
    """Frames of the market are lost, repeated and late; those of the account are repeated and late."""

    def __init__(self, rng: random.Random) -> None:
        self.lost = self.repeated = self.late = 0
        self._rng = rng

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> Sequence[int]:
        kind, day_ms = kind_of(link), at_ms - START_MS
        if '"result"' in text:
            return (0,)
        if any(a <= day_ms < b and kind in silent and what in text for a, b, silent, what in SILENT):
            self.lost += 1
            return ()
        chance = self._rng.random()
        if kind in MARKET_KINDS and chance < 0.005:
            self.lost += 1
            return ()
        if chance < 0.03:
            self.repeated += 1
            return (0, self._rng.randint(0, 2_000))
        if chance < 0.06:
            self.late += 1
            return (self._rng.randint(1, 2_000),)
        return (0,)


class EagerScript(Script):
    """Long whenever it is asked."""

    def on_candle(self, candle: Candle) -> Signal:
        return Signal(candle.symbol, candle.close_ms, 1.0, 0.9, "scripted")


class Record:
    """What the engine heard."""

    def __init__(self) -> None:
        self.opens: dict[str, list[int]] = defaultdict(list)
        self.fills: set[tuple[str, int]] = set()
        self.told_late_ms = 0
        self.silent: list[str] = []
        self.blind_ms: dict[str, int] = {"market": 0, "account": 0, "price": 0}
        self._lost_ms: dict[str, int] = {}
        self._marked_ms: dict[str, int] = {}

    def __call__(self, message: Event | Command) -> None:
        match message:
            case CandleClosed():
                self.opens[message.candle.symbol].append(message.candle.open_ms)
            case HistoryLoaded():
                self.opens[message.candles[0].symbol] += [candle.open_ms for candle in message.candles]
            case OrderFilled():
                if (message.fill.symbol, message.fill.trade_id) not in self.fills:
                    self.told_late_ms = max(self.told_late_ms, message.at_ms - message.fill.at_ms)
                self.fills.add((message.fill.symbol, message.fill.trade_id))
            case StreamSilent():
                self.silent.append(message.stream)
            case LinkLost():
                self._lost_ms[message.link] = message.at_ms
            case LinkRestored() if message.link in self._lost_ms:
                self._blind(message.link, message.at_ms - self._lost_ms.pop(message.link))
            case PriceMarked():
                before_ms = self._marked_ms.get(message.symbol, message.at_ms)
                self._blind("price", message.at_ms - before_ms)
                self._marked_ms[message.symbol] = message.at_ms
            case _:
                pass

    def _blind(self, what: str, for_ms: int) -> None:
        self.blind_ms[what] = max(self.blind_ms[what], for_ms)


def venue_of(market: str) -> Exchange:
    """Both symbols and 10 000 USDT."""
    if market == "spot":
        specs = [spec for spec in DEFAULT_INSTRUMENTS if spec.symbol in SYMBOLS]
        account = AccountSpec(KEYS.api_key, KEYS.secret, {"USDT": Decimal(10_000)})
        return Exchange(specs, [account], model=FillModel())
    contracts = [contract for contract in DEFAULT_CONTRACTS if contract.symbol in SYMBOLS]
    account = AccountSpec(KEYS.api_key, KEYS.secret, {}, wallet={"USDT": Decimal(10_000)})
    return Exchange((), [account], model=FillModel(), contracts=contracts)


def fills_at(exchange: Exchange, market: str) -> set[tuple[str, int]]:
    """Symbol and number of every trade of the account."""
    if market == "spot":
        spot = exchange._engine.ledger.accounts.values()
        return {(s, fill.trade_id) for account in spot for s, rows in account.trades.items() for _, fill in rows}
    assert exchange.futures is not None
    futures = exchange.futures.engine.ledger.accounts.values()
    return {(s, fill.trade_id) for account in futures for s, rows in account.trades.items() for _, fill in rows}


# The announcement that a server goes is of spot; the connections of futures are three, and replaced before they are a
# day old.
PLANNED = {"spot": 2, "futures": 0}
# What a connection of futures tells is missed stream by stream: best prices come by another one.
SINGLE = {"btcusdt@bookTicker", "ethusdt@kline"}
SILENT_STREAMS = {
    "spot": SINGLE,
    "futures": SINGLE | {"btcusdt@kline", "btcusdt@markPrice@1s", "ethusdt@markPrice@1s"},
}


@pytest.mark.timeout(400)
@pytest.mark.spec("NET-4", "NET-5", "DATA-2", "DATA-3", "DATA-4", "SAFE-4")
@pytest.mark.parametrize("market", ["spot", "futures"])
def test_after_a_day_of_broken_streams_no_candle_and_no_fill_is_missing(market: str) -> None:
    rng = random.Random(7)
    settings = stage_settings(
        SYMBOLS,
        market__venue=market,
        market__interval="1m",
        market__confirm_interval="3m",
        risk__price_age_max_ms="5000",
        exits__hold_max_s="1200",
        exits__stop_pct_of_price="0.5",
        exits__target_pct_of_price="0.5",
        breaker__day_loss_max_pct="100",
        breaker__rolling_loss_max_pct="100",
        breaker__week_loss_max_pct="100",
        breaker__drawdown_max_pct="100",
    )
    exchange = venue_of(market)
    engine, record, weather = scripted_engine(settings, EagerScript()), Record(), Weather(rng)
    session = build_session(settings, KEYS, lambda: 0.5, watch_always=True, supervised=True)
    driver = VirtualTime(engine, session, exchange, Walk(rng, exchange), 20, record, weather, START_MS)
    driver.begin(RunStarted(START_MS, "day", "paper", SYMBOLS, "stage", "0"))
    for day_ms, kind in CUTS:
        driver.run(START_MS + day_ms)
        driver.cut(session.lines[kind].name, "cut")
    driver.run(START_MS + SHUTDOWN_MS)
    exchange.announce_shutdown(driver.now_ms)
    driver.take_frames()
    driver.run(START_MS + DAY_MS)

    lines = session.lines.values()
    planned = sum(line.planned for line in lines)
    unplanned = sum(line.reconnects for line in lines) - planned
    traded = fills_at(exchange, market)
    print(
        f"\nframes lost {weather.lost}, repeated {weather.repeated}, late {weather.late}; "
        f"reconnects planned {planned}, unplanned {unplanned}; silent streams {record.silent}; "
        f"fills {len(traded)}, lost {len(traded - record.fills)}, latest told after {record.told_late_ms} ms; "
        f"longest blindness in ms {record.blind_ms}"
    )
    assert unplanned == 5
    assert planned == PLANNED[market]
    assert record.fills == traded
    assert len(traded) > 50
    assert engine.books is Books.AGREE
    last_ms = START_MS + DAY_MS - MINUTE_MS
    for symbol in SYMBOLS:
        opens = record.opens[symbol]
        assert opens == sorted(set(opens)), "in order, none twice"
        assert set(range(START_MS, last_ms, MINUTE_MS)) - set(opens) == set()
    assert record.blind_ms["price"] <= MINUTE_MS + 5_000  # a link that is silent as a whole is found out after a minute
    assert max(record.blind_ms["market"], record.blind_ms["account"]) <= 5_000
    assert {stream.partition("_")[0] for stream in record.silent} == SILENT_STREAMS[market]
