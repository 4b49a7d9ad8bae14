"""A whole backtest: files in, the exact engine over them, a result that a report or a program can read."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np

from surefoot import __version__
from surefoot.assembly import QUOTE, build_engine, build_replay, build_session
from surefoot.config import ConfigError, Settings, settings_digest
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    BreakerResetRequested,
    CandleClosed,
    Command,
    Event,
    IncomePaid,
    OrderFilled,
    PriceMarked,
    RecordDecision,
    RecordReset,
    RecordTrip,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR, ZERO, Income, Market, RoundTrip, Tier
from surefoot.research.data import CandleFile, DataError, Gaps, utc_text
from surefoot.research.exact import BOOT_MS, DEMO_KEYS, Costs, Sink, VirtualTime, candle_exchange
from surefoot.research.funding import Funding, Settlements, settlements
from surefoot.research.inputs import load_detail, load_files, settings_for, tapes_of
from surefoot.research.metrics import Curve, measure
from surefoot.research.result import Ran, result_of, thinned, trip_row
from surefoot.research.stretch import Stretches
from surefoot.research.tape import Tape, resample_tape
from surefoot.research.traces import Traces
from surefoot.signals.replay import SeesFuture
from surefoot.store.records import RunDigest

Progress = Callable[[int, int], None]

PROGRESS_STEPS = 200


@dataclass(slots=True)
class _Notes:
    """What is remembered of a run besides the engine's own books."""

    listener: Sink | None
    traces: Traces = field(default_factory=Traces)
    digest: RunDigest = field(default_factory=RunDigest)
    refusals: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    fees_in_quote: Decimal = ZERO
    in_force: set[str] = field(default_factory=set)  # rules of the breaker that wait for a reset
    funding: Decimal = ZERO  # received; negative when paid
    _booked: set[tuple[str, int]] = field(default_factory=set)
    _paid: set[tuple[Income, int]] = field(default_factory=set)

    def take(self, message: Event | Command) -> None:
        if self.listener is not None:
            self.listener(message)
        if isinstance(message, (PriceMarked, CandleClosed)):
            return  # most messages
        if isinstance(message, OrderFilled) and self._is_repeated(message):
            self.digest.feed(message)
            return
        if isinstance(message, IncomePaid):
            key = message.kind, message.income_id
            if key in self._paid:  # listed again with the next reading
                return
            self._paid.add(key)
            self.funding += message.amount if message.kind is Income.FUNDING else ZERO
        self.traces.take(message)
        match message:
            case RecordDecision(outcome=outcome):
                if outcome == "none":
                    return  # most candles; a run that differs there differs in what follows as well
                if outcome != "approved":
                    self.refusals[outcome] += 1
            case SubmitOrder():
                self.orders += 1
            case SubmitList(orders=orders):
                self.orders += len(orders)
            case ReplaceOrder():
                self.orders += 1
            case RecordTrip():
                if message.tier is not Tier.WARN:
                    self.in_force.add(message.rule)
                return
            case RecordReset():
                self.in_force.clear()
                return
            case OrderFilled(fill=fill):
                self.fills += 1
                in_quote = fill.fee_asset == QUOTE
                self.fees_in_quote += fill.fee if in_quote else fill.fee * fill.price
            case VenueTraded(fill=fill):
                self.fills += 1
                self.fees_in_quote += fill.fee
            case IncomePaid():
                pass
            case _:
                return
        self.digest.feed(message)

    def _is_repeated(self, event: OrderFilled) -> bool:
        """An answer and the account stream both tell a fill: it is booked, and costs its fee, once."""
        key = event.fill.symbol, event.fill.trade_id
        repeated = key in self._booked
        self._booked.add(key)
        return repeated


def run_backtest(
    settings: Settings,
    files: Sequence[str],
    *,
    detail: Sequence[str] = (),
    gaps: Gaps = "refuse",
    funding: Funding | None = None,
    progress: Progress | None = None,
    sink: Sink | None = None,
) -> dict[str, Any]:
    """Run the exact engine over candle files, one a symbol. `sink` is told every event and command.

    Files of `detail` have finer candles, which decide what happens inside those that they cover; `funding` has the
    rates that were settled, for futures. Raises DataError or ConfigError for what cannot be run.
    """
    loaded = load_files(files, gaps)
    return run_loaded(settings, loaded, load_detail(detail, loaded), funding=funding, progress=progress, sink=sink)


def run_loaded(
    settings: Settings,
    loaded: Sequence[CandleFile],
    finer: Sequence[CandleFile] = (),
    *,
    funding: Funding | None = None,
    progress: Progress | None = None,
    sink: Sink | None = None,
    every_price: bool = False,
    every_close: bool | None = None,
    streamed: bool = False,
) -> dict[str, Any]:
    """The same over candles that are in memory, one file a symbol and all of one interval.

    `every_price` tells the engine also each price that changes nothing, `every_close` each close, which is the default
    where a sink listens; `streamed` makes the signals from the candles that the engine is told, so from all: slower,
    and the same result. ConfigError for a strategy that turns out to see the future.
    """
    settings = settings_for(settings, loaded)
    began_s = time.perf_counter()
    notes = _Notes(sink)
    tapes = tapes_of(settings, loaded, finer)
    costs = _costs(settings)
    if funding is not None:
        costs = replace(costs, funding=_settled(settings, tapes, funding))
    try:
        every_close = (sink is not None) if every_close is None else every_close
        engine, curve = _run(settings, tapes, costs, notes, progress, every_price, every_close or every_price, streamed)
    except SeesFuture as problem:
        raise ConfigError(str(problem)) from None
    seconds = time.perf_counter() - began_s
    ran = _ran(settings, engine, curve, notes)
    ran = replace(ran, notes=(*ran.notes, *_missing_text(settings, costs.funding)))
    told = {symbol: _told(settled) for symbol, settled in costs.funding.items()}
    return result_of(settings, [*loaded, *finer], tapes, ran, seconds, funding=told)


def _settled(settings: Settings, tapes: Sequence[Tape], funding: Funding) -> dict[str, Settlements]:
    """What is settled of each symbol in the time of its candles."""
    if settings.market.venue is Market.SPOT:
        raise ConfigError("funding rates are given, and market.venue = spot: only futures are funded")
    strange = sorted(funding.rates.keys() - {tape.symbol for tape in tapes})
    if strange:
        raise DataError(f"funding rates of {strange[0]}, of which no candles are given")
    constant = settings.futures.funding_bps / 10_000 if funding.is_constant_for_missing else None
    return {
        tape.symbol: settlements(funding.rates.get(tape.symbol), tape.columns.open_ms.item(0), tape.end_ms, constant)
        for tape in tapes
    }


def _missing_text(settings: Settings, settled: Mapping[str, Settlements]) -> Iterator[str]:
    """What funding the result lacks, or has from elsewhere."""
    for symbol, each in settled.items():
        if each.missing_ms:
            at = "not booked" if each.constant is None else f"booked at {settings.futures.funding_bps} bps"
            yield (
                f"{symbol}: of {each.known + len(each.missing_ms)} settlements {len(each.missing_ms)} are in no funding"
                f" file, the first at {utc_text(each.missing_ms[0])} UTC; a missing one is {at}."
            )


def _told(settled: Settlements) -> dict[str, Any]:
    files = [{"file": name, "sha256": digest} for name, digest in settled.files]
    return {"files": files, "settlements": settled.known, "missing_ms": list(settled.missing_ms)}


def _run(
    settings: Settings,
    tapes: Sequence[Tape],
    costs: Costs,
    notes: _Notes,
    progress: Progress | None,
    every_price: bool,
    every_close: bool,
    streamed: bool,
) -> tuple[Engine, Curve]:
    interval = settings.market.interval
    candles_of = {} if streamed else {tape.symbol: resample_tape(tape.columns, interval)[0] for tape in tapes}
    signals = build_replay(settings, candles_of) if candles_of else None
    engine = build_engine(settings, signals)
    session = build_session(settings, DEMO_KEYS, lambda: 0.5, watch_always=False)
    exchange, tape = candle_exchange(tapes, costs)
    reset_ms = settings.breaker.backtest_reset_after_h * MS_PER_HOUR

    def sink(message: Event | Command) -> None:
        notes.take(message)
        if isinstance(message, RecordTrip) and reset_ms and message.tier is not Tier.WARN and len(notes.in_force) == 1:
            reason = f"a simulated operator, {settings.breaker.backtest_reset_after_h} h after the trip"
            driver.tell(BreakerResetRequested(message.at_ms + reset_ms, "backtest", reason))

    driver = VirtualTime(engine, session, exchange, tape, settings.costs.latency_ms, sink, strides=not every_price)
    start_ms, end_ms = tape.start_ms, tape.end_ms
    digest = settings_digest(settings)
    driver.begin(RunStarted(start_ms - BOOT_MS, "bt", "backtest", settings.market.symbols, digest, __version__))
    # Arrays: of a long archive there is a point a candle.
    curve_ms, curve = array("q", [start_ms]), array("d", [float(settings.paper.balance_usdt)])
    step_ms = INTERVAL_MS[settings.market.interval]
    candles = sum(map(len, tapes))
    marks = array("q", range(start_ms + step_ms, end_ms, step_ms))
    marks.append(end_ms)
    stretches = None
    if signals is not None and not every_close and driver.strides_allowed:
        stretches = Stretches(driver, exchange, tape, signals, interval)
    at, told = 0, 0
    while at < len(marks):
        until_ms = marks[at] if stretches is None else stretches.next_try_ms(marks[at])
        driver.run(until_ms)
        if until_ms == marks[at]:
            equity = engine.equity()
            if equity is not None:
                curve_ms.append(until_ms)
                curve.append(float(equity))
            at += 1
        if stretches is not None:
            passed = stretches.pass_over(marks, at)
            curve.extend(passed)
            curve_ms.extend(marks[at : at + len(passed)])
            at += len(passed)
        if progress is not None and at >= told:
            progress(candles * at // len(marks), candles)
            told = at + max(1, len(marks) // PROGRESS_STEPS)
    exchange.roll(end_ms)
    driver.take_frames()
    driver.drain()
    driver.mark_all(settings.market.symbols)
    equity = engine.equity()
    assert equity is not None, "equity of a finished backtest"
    curve_ms.append(driver.now_ms)
    curve.append(float(equity))
    return engine, Curve(np.array(curve_ms), np.array(curve))


def _costs(settings: Settings) -> Costs:
    costs, paper, market = settings.costs, settings.paper, settings.market.venue
    return Costs(
        market=market,
        funding_bps=settings.futures.funding_bps,
        balances={QUOTE: paper.balance_usdt},
        fee_bps=paper.fee_bps if market is Market.SPOT else settings.futures.fee_bps,
        half_spread_bps=costs.half_spread_bps,
        slippage_bps=costs.slippage_bps,
        volume_share=costs.volume_share_pct / 100,
        path=costs.path,
    )


def _ran(settings: Settings, engine: Engine, curve: Curve, notes: _Notes) -> Ran:
    trips, costs = list(engine.portfolio.round_trips), settings.costs
    opened = {symbol: position.opened_ms for symbol, position in engine.portfolio.positions.items()}
    final_equity = engine.equity()
    assert final_equity is not None, "equity of a finished backtest"
    return Ran(
        engine="exact",
        period=(int(curve.at_ms[0]), int(curve.at_ms[-1])),
        points=thinned(curve.at_ms, curve.equity),
        trips=[trip_row(trip) | notes.traces.of(trip) for trip in trips],
        final_equity=final_equity,
        open_since_ms=opened,
        orders=notes.orders,
        fills=notes.fills,
        refusals=notes.refusals,
        fees=engine.portfolio.fees,
        fees_in_quote=float(notes.fees_in_quote),
        costs=notes.traces.costs(
            notes.fees_in_quote,
            costs.half_spread_bps,
            costs.slippage_bps,
            None if settings.market.venue is Market.SPOT else -notes.funding,
        ),
        breaker_trips=notes.traces.trips,
        metrics=measure(curve, trips, float(notes.fees_in_quote), open_since_ms=opened.values()),
        digest=_digest(notes, trips, final_equity),
    )


def _digest(notes: _Notes, trips: Sequence[RoundTrip], final_equity: Decimal | None) -> str:
    """One fingerprint of decisions, orders, fills, round trips and the end."""
    parts = [notes.digest.hexdigest(), *(repr(trip_row(trip)) for trip in trips), f"{final_equity}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
