"""From options to the market to run and the exchange to run it on."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from simex import signing
from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS, ContractSpec, MarkTold, contract_for
from simex.market import MINUTE_MS, CandleTape, GeneratedMarket, Market
from simex.pause import MAX_SPEED
from simex.relay import RelayMarket
from simex.relaysource import Source, look_at, source_of
from simex.scenario import ScriptedMarket, load_scenario
from simex.tapefile import load_tape
from simex.timeline import REAL_TIME
from simex.tradefile import holds_trades, load_trades
from simex.tradetape import TradeTape
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, Candle, FillModel, InstrumentSpec, SymbolStatus, answered

QUARTER_MS: Final = 15 * MINUTE_MS
DEFAULT_BALANCE: Final = ("USDT", Decimal(10_000))


@dataclass(frozen=True, slots=True)
class Relaying:
    """The market of a relay, where it comes from, how far that clock is ahead of ours, and its first mark prices."""

    market: RelayMarket
    source: Source
    ahead_ms: int
    marks: Mapping[str, MarkTold]


@dataclass(frozen=True, slots=True)
class Scene:
    """The market to run and what the exchange must know before it starts."""

    market: Market
    start_ms: int
    instruments: Sequence[InstrumentSpec]
    contracts: Sequence[ContractSpec]
    history: Mapping[str, Sequence[Candle]]
    relay: Relaying | None = None


class UsageError(ValueError):
    """A command that cannot be carried out as given; the text tells what to change."""


def scene_of(options: argparse.Namespace) -> Scene:
    """The market that the options ask for. Raises UsageError, TapeError, ScenarioError or RelayError."""
    if options.history and not (options.replay and holds_trades(options.replay[0])):
        raise UsageError("--history goes with a --replay of trades; candle files are history before --start-ms")
    if options.relay is None and options.relay_rest is not None:
        raise UsageError("--relay-rest goes with --relay")
    if options.relay is not None:
        return _relayed(options)
    if not options.replay:
        return _generated(options)
    trades = [holds_trades(source) for source in options.replay]
    if all(trades):
        return _traded(options)
    if any(trades):
        raise UsageError("--replay: candles and trades cannot be mixed; give candles before trades as --history")
    return _replayed(options)


def _generated(options: argparse.Namespace) -> Scene:
    if options.speed is None:
        options.speed = REAL_TIME
    if options.end_ms is not None or options.exit_at_end:
        raise UsageError("a generated market has no end; --end-ms and --exit-at-end need --replay")
    if options.history_days < 0:
        raise UsageError("--history-days cannot be negative")
    start_ms = _generated_start_ms(options)
    symbols = options.symbols or tuple(spec.symbol for spec in DEFAULT_INSTRUMENTS)
    try:
        market = GeneratedMarket(
            options.seed,
            symbols,
            start_ms,
            print_every_ms=options.print_every_ms,
            history_days=options.history_days,
            volume_share=options.volume_share_pct / 100,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    instruments = [spec for spec in DEFAULT_INSTRUMENTS if spec.symbol in symbols]
    contracts = [spec for spec in DEFAULT_CONTRACTS if spec.symbol in symbols]
    return Scene(market, start_ms, instruments, contracts, market.history)


def _generated_start_ms(options: argparse.Namespace) -> int:
    now_ms = time.time_ns() // 1_000_000
    if options.speed == REAL_TIME:
        if options.start_ms is not None:
            raise UsageError("--speed 1 follows the wall clock; --start-ms needs another speed")
        # From the full minute on, the market is caught up before anybody can ask.
        return now_ms - now_ms % MINUTE_MS
    return now_ms - now_ms % QUARTER_MS if options.start_ms is None else int(options.start_ms)


def _replayed(options: argparse.Namespace) -> Scene:
    if options.speed is None:
        options.speed = MAX_SPEED
    if options.speed == REAL_TIME:
        raise UsageError("a replay does not run on the wall clock; give --speed N or --speed max")
    if options.symbols:
        raise UsageError("--symbols chooses generated symbols; a replay takes its symbols from the files")
    tape = load_tape(options.replay, gaps=options.gaps)
    start_ms = min(series[0].open_ms for series in tape.candles.values())
    start_ms = start_ms if options.start_ms is None else max(start_ms, options.start_ms)
    end_ms = options.end_ms or max(series[-1].end_ms for series in tape.candles.values())
    played = {s: [c for c in series if start_ms <= c.open_ms < end_ms] for s, series in tape.candles.items()}
    silent = [symbol for symbol, series in played.items() if not series]
    if silent:
        raise UsageError(f"{silent[0]} has no candle from --start-ms {start_ms} to {end_ms}")
    # Watchers see every tick at a finite speed; at unlimited speed only those on which something depends.
    always_tick = options.speed != MAX_SPEED
    volume_share = options.volume_share_pct / 100
    market = CandleTape(played, path=options.path, always_tick=always_tick, volume_share=volume_share)
    history = {symbol: [c for c in series if c.open_ms < start_ms] for symbol, series in tape.candles.items()}
    contracts = [contract_for(spec.symbol, _prices(tape.candles[spec.symbol])) for spec in tape.instruments]
    return Scene(market, market.start_ms, tape.instruments, contracts, history)


def _traded(options: argparse.Namespace) -> Scene:
    if options.speed is None:
        options.speed = MAX_SPEED
    if options.speed == REAL_TIME:
        raise UsageError("a replay does not run on the wall clock; give --speed N or --speed max")
    if options.symbols:
        raise UsageError("--symbols chooses generated symbols; a replay takes its symbols from the files")
    files = load_trades(options.replay)
    start_ms = files.first_ms if options.start_ms is None else max(options.start_ms, files.first_ms)
    end_ms = files.last_ms + 1 if options.end_ms is None else options.end_ms

    def played(symbol: str) -> Iterator[tuple[int, Decimal, Decimal]]:
        return (trade for trade in files.trades(symbol) if start_ms <= trade.at_ms < end_ms)

    market = TradeTape(
        {symbol: played(symbol) for symbol in files.paths}, end_ms, volume_share=options.volume_share_pct / 100
    )
    first_ms = market.next_ms()
    if first_ms is None:
        raise UsageError(f"there is no trade from --start-ms {start_ms} to {end_ms}")
    before = load_tape(options.history, gaps=options.gaps).candles if options.history else {}
    strange = [symbol for symbol in before if symbol not in files.paths]
    if strange:
        raise UsageError(f"--history: {strange[0]} has no trades in --replay")
    history = {s: [c for c in series if c.end_ms <= first_ms] for s, series in before.items()}
    contracts = [contract_for(spec.symbol, files.prices[spec.symbol]) for spec in files.instruments]
    return Scene(market, first_ms, files.instruments, contracts, history)


def _relayed(options: argparse.Namespace) -> Scene:
    if options.speed is None:
        options.speed = REAL_TIME
    if options.speed != REAL_TIME or options.start_ms is not None or options.replay or options.exit_at_end:
        raise UsageError("--relay follows the source's clock; --speed, --start-ms and --replay do not go with it")
    if options.market == "both":
        options.market = "spot"
    source = source_of(options.relay, options.relay_rest, is_futures=options.market == "futures")
    symbols = options.symbols or tuple(spec.symbol for spec in DEFAULT_INSTRUMENTS)
    start = asyncio.run(look_at(source, symbols, options.history_days))
    now_ms = time.time_ns() // 1_000_000 + start.ahead_ms
    market = RelayMarket(symbols, now_ms - now_ms % MINUTE_MS, options.volume_share_pct / 100)
    relay = Relaying(market, source, start.ahead_ms, start.marks)
    return Scene(market, now_ms, start.instruments, start.contracts, start.history, relay)


def scripted(scene: Scene, name: str, exchange: Exchange) -> Scene:
    """The scene with a scenario over its market. Raises ScenarioError."""
    ticks = {spec.symbol: spec.tick_size for spec in scene.instruments}
    traded = exchange.tick_sizes

    def set_status(symbol: str, status: SymbolStatus) -> None:
        if symbol in traded:
            exchange.set_symbol_status(symbol, status)

    return replace(scene, market=ScriptedMarket(scene.market, load_scenario(name), ticks, set_status))


def _prices(candles: Sequence[Candle]) -> list[Decimal]:
    return [price for candle in candles for price in (candle.open, candle.high, candle.low, candle.close)]


def account_of(options: argparse.Namespace) -> AccountSpec:
    try:
        key_type = signing.key_type_of(options.public_key) if options.public_key else "HMAC"
    except ValueError as error:
        raise UsageError(f"--public-key is not the body of a public PEM file: {error}") from None
    return AccountSpec(
        api_key=options.api_key or _derived("key", options.seed),
        secret=options.public_key or options.secret or _derived("secret", options.seed),
        key_type=key_type,
        balances=dict(options.balance or [DEFAULT_BALANCE]),
        wallet=dict(options.wallet or [DEFAULT_BALANCE]),
        maker_bps=options.fee_bps,
        taker_bps=options.fee_bps,
        futures_maker_bps=Decimal(2) if options.futures_fee_bps is None else options.futures_fee_bps,
        futures_taker_bps=Decimal(5) if options.futures_fee_bps is None else options.futures_fee_bps,
    )


def _derived(what: str, seed: int) -> str:
    return hashlib.sha256(f"simex demo {what} {seed}".encode()).hexdigest()


def exchange_of(options: argparse.Namespace, scene: Scene, account: AccountSpec) -> Exchange:
    model = FillModel(
        half_spread_bps=options.half_spread_bps,
        slippage_bps=options.slippage_bps,
        volume_share=options.volume_share_pct / 100,
        path=options.path,
        market_rest=options.market_rest,
    )
    exchange = Exchange(
        scene.instruments if options.market != "futures" else (),
        (account,),
        model=model,
        forming_klines=options.forming_klines == "yes",
        contracts=[replace(spec, funding_rate=options.funding_bps / 10_000) for spec in scene.contracts]
        if options.market != "spot"
        else (),
        rules=answered(options.undocumented),
    )
    for symbol, candles in scene.history.items():
        exchange.load_history(symbol, candles)
    if scene.relay is not None and exchange.futures is not None:
        for symbol, told in scene.relay.marks.items():
            exchange.futures.tell_mark(symbol, told, scene.start_ms)
    return exchange
