"""A whole backtest: files in, the exact engine over them, a result that a report or a program can read."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from surefoot import __version__
from surefoot.assembly import QUOTE, build_engine, build_session
from surefoot.config import ConfigError, Mode, Settings, settings_digest
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    BreakerResetRequested,
    Command,
    Event,
    OrderFilled,
    RecordDecision,
    RecordReset,
    RecordTrip,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR, ZERO, RoundTrip, Tier
from surefoot.research.data import CandleFile, DataError, Gaps, load_candles
from surefoot.research.exact import BOOT_MS, DEMO_KEYS, Costs, Sink, VirtualTime, candle_exchange
from surefoot.research.metrics import measure
from surefoot.research.tape import Tape, tape_of, told_of
from surefoot.research.traces import Traces
from surefoot.store.records import RunDigest

Progress = Callable[[int, int], None]

RECONCILE_EVERY_S = 3_600  # nobody else trades on the simulated account
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
    _booked: set[tuple[str, int]] = field(default_factory=set)

    def take(self, message: Event | Command) -> None:
        if self.listener is not None:
            self.listener(message)
        if isinstance(message, OrderFilled) and self._is_repeated(message):
            self.digest.feed(message)
            return
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
    progress: Progress | None = None,
    sink: Sink | None = None,
    every_price: bool = False,
) -> dict[str, Any]:
    """Run the exact engine over candle files, one a symbol. `sink` is told every event and command.

    Files of `detail` have finer candles, which decide what happens inside those that they cover. Raises DataError or
    ConfigError for what cannot be run.
    """
    loaded = load_files(files, gaps)
    return run_loaded(settings, loaded, _load_detail(detail, loaded), progress=progress, sink=sink)


def run_loaded(
    settings: Settings,
    loaded: Sequence[CandleFile],
    finer: Sequence[CandleFile] = (),
    *,
    progress: Progress | None = None,
    sink: Sink | None = None,
    every_price: bool = False,
) -> dict[str, Any]:
    """The same over candles that are in memory, one file a symbol and all of one interval.

    `every_price` tells the engine also each price that changes nothing: slower, and the same result.
    """
    settings = settings_for(settings, loaded)
    began_s = time.perf_counter()
    notes = _Notes(sink)
    tapes = _tapes(settings, loaded, finer)
    engine, curve = _run(settings, tapes, notes, progress, every_price)
    seconds = time.perf_counter() - began_s
    return _result(settings, [*loaded, *finer], tapes, engine, curve, notes, seconds)


def load_files(files: Sequence[str], gaps: Gaps) -> list[CandleFile]:
    """Candles of one interval, one file a symbol; DataError for anything else."""
    loaded = [load_candles(file, gaps=gaps) for file in files]
    _refuse_repeated(loaded)
    intervals = {file.interval for file in loaded}
    if len(intervals) > 1:
        raise DataError(f"the files have candles of {', '.join(sorted(intervals))}: give files of one interval")
    return loaded


def _load_detail(files: Sequence[str], loaded: Sequence[CandleFile]) -> list[CandleFile]:
    """Finer candles may have gaps: what they do not cover is left to the others."""
    finer = [load_candles(file, gaps="keep") for file in files]
    _refuse_repeated(finer)
    known = {file.symbol for file in loaded}
    for file in finer:
        if file.symbol not in known:
            raise DataError(f"{file.path}: detail of {file.symbol}, of which no other candles are given")
    return finer


def _refuse_repeated(loaded: Sequence[CandleFile]) -> None:
    for symbol, count in Counter(file.symbol for file in loaded).items():
        if count > 1:
            raise DataError(f"{symbol} is given {count} times: give one file a symbol")


def _tapes(settings: Settings, loaded: Sequence[CandleFile], finer: Sequence[CandleFile]) -> list[Tape]:
    """One a symbol, in the order of the settings."""
    by_symbol, detail = {file.symbol: file for file in loaded}, {file.symbol: file for file in finer}
    return [tape_of(by_symbol[symbol], detail.get(symbol)) for symbol in settings.market.symbols]


def settings_for(settings: Settings, loaded: Sequence[CandleFile]) -> Settings:
    """The settings of a run over these files: their symbols, in the order of the configuration."""
    base = loaded[0].interval
    market = settings.market
    if INTERVAL_MS[market.interval] % INTERVAL_MS[base]:
        raise ConfigError(
            f"market.interval = {market.interval}: cannot be built from candles of {base};"
            f" give finer candles or set market.interval={base}"
        )
    given = {file.symbol for file in loaded}
    ordered = [symbol for symbol in market.symbols if symbol in given]
    symbols = (*ordered, *sorted(given - set(ordered)))
    for symbol in symbols:
        if not symbol.endswith(QUOTE):
            raise DataError(f"{symbol} is not quoted in {QUOTE}: only such symbols can share one account")
    values = settings.model_dump()
    values["mode"] = Mode.BACKTEST
    values["market"]["symbols"] = symbols
    values["orders"]["reconcile_every_s"] = RECONCILE_EVERY_S
    try:
        return Settings.model_validate(values)
    except ValidationError as problem:
        raise ConfigError("\n".join(error["msg"] for error in problem.errors())) from None


def _run(
    settings: Settings, tapes: Sequence[Tape], notes: _Notes, progress: Progress | None, every_price: bool
) -> tuple[Engine, list[tuple[int, float]]]:
    engine = build_engine(settings)
    session = build_session(settings, DEMO_KEYS, lambda: 0.5, watch_always=False)
    exchange, tape = candle_exchange(tapes, _costs(settings))
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
    curve = [(start_ms, float(settings.paper.balance_usdt))]
    step_ms = INTERVAL_MS[settings.market.interval]
    candles = sum(map(len, tapes))
    marks = [*range(start_ms + step_ms, end_ms, step_ms), end_ms]
    for at, until_ms in enumerate(marks):
        driver.run(until_ms)
        equity = engine.equity()
        if equity is not None:
            curve.append((until_ms, float(equity)))
        if progress is not None and at % max(1, len(marks) // PROGRESS_STEPS) == 0:
            progress(candles * at // len(marks), candles)
    exchange.roll(end_ms)
    driver.take_frames()
    driver.drain()
    driver.mark_all(settings.market.symbols)
    equity = engine.equity()
    assert equity is not None, "equity of a finished backtest"
    curve.append((driver.now_ms, float(equity)))
    return engine, curve


def _costs(settings: Settings) -> Costs:
    costs, paper = settings.costs, settings.paper
    return Costs(
        balances={QUOTE: paper.balance_usdt},
        fee_bps=paper.fee_bps,
        half_spread_bps=costs.half_spread_bps,
        slippage_bps=costs.slippage_bps,
        volume_share=costs.volume_share_pct / 100,
        path=costs.path,
    )


def _result(
    settings: Settings,
    files: Sequence[CandleFile],
    tapes: Sequence[Tape],
    engine: Engine,
    curve: list[tuple[int, float]],
    notes: _Notes,
    seconds: float,
) -> dict[str, Any]:
    candles = sum(map(len, tapes))
    trips = list(engine.portfolio.round_trips)
    final_equity = engine.equity()
    still_open = [position.opened_ms for position in engine.portfolio.positions.values()]
    metrics = measure(curve, trips, float(notes.fees_in_quote), open_since_ms=still_open)
    return {
        "candles": candles,
        "seconds": round(seconds, 3),
        "candles_per_second": round(candles / seconds) if seconds > 0 else None,
        "symbols": list(settings.market.symbols),
        "interval": settings.market.interval,
        "period": [curve[0][0], curve[-1][0]],
        "initial_equity": f"{settings.paper.balance_usdt:f}",
        "final_equity": None if final_equity is None else _money(final_equity),
        "return_pct": metrics.return_pct,
        "engine": "exact",
        "round_trips": [_trip(trip) | notes.traces.of(trip) for trip in trips],
        "open_positions": sorted(engine.portfolio.positions),
        "orders": notes.orders,
        "fills": notes.fills,
        "equity_curve": [[at_ms, equity] for at_ms, equity in _thinned(curve)],
        "refusals": dict(sorted(notes.refusals.items())),
        "exits": dict(sorted(Counter(trip.reason for trip in trips).items())),
        "fees": {asset: f"{fee:f}" for asset, fee in sorted(engine.portfolio.fees.items())},
        "costs": notes.traces.costs(notes.fees_in_quote, settings.costs.half_spread_bps, settings.costs.slippage_bps),
        "trips": notes.traces.trips,
        "metrics": metrics.as_dict(),
        "settings": settings.model_dump(mode="json", exclude={"api_key", "api_secret", "live_confirmed"}),
        "settings_digest": settings_digest(settings),
        "data": [
            {
                "file": file.path.name,
                "symbol": file.symbol,
                "interval": file.interval,
                "sha256": file.sha256,
                "rows": len(file),
                "gaps": [[gap.from_ms, gap.to_ms, gap.candles, gap.halt] for gap in file.gaps],
            }
            for file in sorted(files, key=lambda file: settings.market.symbols.index(file.symbol))
        ],
        "detail": told_of(tapes),
        "digest": _digest(notes, trips, final_equity),
        "fill_model": _fill_model_text(settings),
    }


def _digest(notes: _Notes, trips: Sequence[RoundTrip], final_equity: Decimal | None) -> str:
    """One fingerprint of decisions, orders, fills, round trips and the end."""
    parts = [notes.digest.hexdigest(), *(repr(_trip(trip)) for trip in trips), f"{final_equity}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _trip(trip: RoundTrip) -> dict[str, Any]:
    return {
        "symbol": trip.symbol,
        "side": trip.side,
        "entry_ms": trip.entry_ms,
        "exit_ms": trip.exit_ms,
        "entry_price": _money(trip.entry_price),
        "exit_price": _money(trip.exit_price),
        "quantity": _money(trip.quantity),
        "reason": trip.reason,
        "pnl": _money(trip.pnl),
        "dust_loss": _money(trip.dust_loss),
    }


def _money(value: Decimal) -> str:
    """To the eighth decimal, without zeros at the end."""
    return f"{round(value, 8).normalize():f}"


def _thinned(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Only the points where something changed, and their neighbours."""
    if len(curve) < 3:
        return list(curve)
    kept = [curve[0]]
    for (before, middle), (_, after) in pairwise(pairwise(curve)):
        if not before[1] == middle[1] == after[1]:
            kept.append(middle)
    return [*kept, curve[-1]]


def _fill_model_text(settings: Settings) -> list[str]:
    costs = settings.costs
    return [
        "A candle is four ticks: open, one extreme, the other, close; finer candles take its place where they are given"
        " and agree with it. "
        + (
            "Worst case: with a position open the extreme on the side of its stop comes first."
            if costs.path == "worst"
            else "Best case: with a position open the extreme on the side of its target comes first."
        ),
        f"A decision is made when its candle closes; its order reaches the exchange {costs.latency_ms} ms later.",
        f"Takers pay {costs.half_spread_bps} bps half spread and {costs.slippage_bps} bps slippage, never more than"
        " their limit.",
        "A stop that the market jumps over fills at the tick that jumped it; a target fills only when the price goes"
        " through it by a tick.",
        f"A fill takes at most {costs.volume_share_pct} % of the candle's volume at each tick; the rest waits.",
        f"Fees are {settings.paper.fee_bps} bps of what is received.",
    ]
