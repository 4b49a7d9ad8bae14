"""The command line of the simulated exchange: `python -m simex`.

Rules: stdout carries JSON lines only, one when the exchange listens and one when a replay ends; what goes wrong is one
line on stderr. Exit codes: 0 ended as asked, 2 the command cannot be carried out as given, 3 the port is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Never

from simex import signing
from simex.exchange import Exchange
from simex.faultplan import PlanError, load_plan, parse_fault
from simex.faults import KINDS, Fault, FaultPlan
from simex.futures.contracts import DEFAULT_CONTRACTS, ContractSpec, contract_for
from simex.market import MINUTE_MS, CandleTape, GeneratedMarket, Market
from simex.pause import MAX_SPEED
from simex.server import HOST, Server
from simex.tapefile import TapeError, load_tape
from simex.timeline import REAL_TIME
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, Candle, FillModel, InstrumentSpec, Undocumented, answered

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_PORT = 3
QUARTER_MS = 15 * MINUTE_MS
PARENT_LOOK_S = 0.3
DEFAULT_BALANCE = ("USDT", Decimal(10_000))

EXAMPLES = """examples:
  python -m simex --seed 7
      a generated market in real time on any free port
  python -m simex --seed 7 --speed 60 --start-ms 1717200000000
      the same market at a minute a second, from a fixed start
  python -m simex --replay BTCUSDT.parquet ETHUSDT.parquet --speed max --wait-for-account --exit-at-end
      candle files, as fast as the clients digest them
  python -m simex --replay BTCUSDT=prices.csv --start-ms 1748563200000
      what lies before the start is served as history
  python -m simex --fault error-after=3
      every third order is executed, but answered with a 503
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """The market to run and what the exchange must know before it starts."""

    market: Market
    start_ms: int
    instruments: Sequence[InstrumentSpec]
    contracts: Sequence[ContractSpec]
    history: Mapping[str, Sequence[Candle]]


class UsageError(ValueError):
    """A command that cannot be carried out as given; the text tells what to change."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exchange until it is told to stop; the exit code."""
    options = _parser().parse_args(argv)
    try:
        scene = _replayed(options) if options.replay else _generated(options)
        account = _account(options)
    except (UsageError, TapeError) as error:
        return _complain(str(error), EXIT_USAGE)
    exchange = _exchange(options, scene, account)
    return asyncio.run(_run(options, scene, account, exchange))


# -- options ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:
        _complain(f"{message}; see python -m simex --help", EXIT_USAGE)
        raise SystemExit(EXIT_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m simex",
        description="A simulated Binance exchange, spot and USDⓈ-M futures, on the loopback address.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--port", type=_port, default=0, help="port to listen on; 0 takes any free one (default)")
    option("--seed", type=int, default=7, help="seed of the generated market and of the demo key (default 7)")
    option("--speed", type=_speed, help="1 is real time, N is N times as fast, max waits for clients only")
    option("--symbols", type=_symbols, help="comma-separated symbols of the generated market (default: all listed)")
    option("--start-ms", type=int, help="where market time starts, UTC ms; of a replay, earlier candles are history")
    option("--end-ms", type=int, help="where a replay ends, UTC ms")
    option("--print-every-ms", type=int, default=1_000, help="market time between generated prints (default 1000)")
    option("--history-days", type=int, default=10, help="days of generated candles before the start (default 10)")
    option("--replay", nargs="+", action="extend", metavar="FILE", help="candle files, or SYMBOL=FILE")
    option("--gaps", choices=("refuse", "keep"), default="refuse", help="missing candles in files (default refuse)")
    option("--path", choices=("worst", "best"), default="worst", help="order of a candle's extremes (default worst)")
    option("--balance", nargs="+", action="extend", type=_balance, metavar="ASSET=AMOUNT", help="default USDT=10000")
    option("--market", choices=("spot", "futures", "both"), default="both", help="what is traded (default both)")
    option("--wallet", nargs="+", action="extend", type=_balance, metavar="ASSET=AMOUNT", help="default USDT=10000")
    option(
        "--undocumented", nargs="+", action="extend", type=_named, default=[], metavar="QUESTION=ANSWER",
        help=f"how to take what the documents leave open: {', '.join(field.name for field in fields(Undocumented))}",
    )  # fmt: skip
    option("--fee-bps", type=_amount, default=Decimal(10), help="maker and taker fee in basis points (default 10)")
    option("--futures-fee-bps", type=_amount, help="maker and taker fee of futures (default 2 and 5)")
    option("--funding-bps", type=_rate, default=Decimal(1), help="what longs pay shorts every 8 hours (default 1)")
    option("--half-spread-bps", type=_amount, default=Decimal(1), help="half of bid to ask (default 1)")
    option("--slippage-bps", type=_amount, default=Decimal(2), help="worsening of a taker's price (default 2)")
    option("--volume-share-pct", type=_share, default=Decimal(10), help="share of volume for clients (default 10)")
    option("--api-key", help="default: derived from the seed")
    option("--secret", help="default: derived from the seed")
    option("--public-key", help="Ed25519 or RSA key instead of a secret: the body of its public PEM file")
    option("--forming-klines", choices=("yes", "no"), default="yes", help="send klines that are not closed yet")
    option("--wait-for-account", action="store_true", help="hold the market until somebody subscribed to user data")
    option("--exit-at-end", action="store_true", help="end with the replay")
    option("--parent-pid", type=int, help="end when this process is gone")
    option("--fault", action="append", type=_fault, default=[], metavar="KIND=N", help="a fault every N-th time")
    option("--faults", type=_plan, metavar="PLAN.toml", help=f"a plan of faults: {', '.join(KINDS)}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    if text == "max":
        return MAX_SPEED
    with contextlib.suppress(ValueError):
        if 0 < float(text) < MAX_SPEED:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a speed; give 1 for real time, a number such as 60, or max")


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.upper().split(",")))


def _amount(text: str) -> Decimal:
    with contextlib.suppress(InvalidOperation):
        amount = Decimal(text)
        if amount.is_finite() and amount >= 0:
            return amount
    raise argparse.ArgumentTypeError(f"{text!r} is not an amount")


def _rate(text: str) -> Decimal:
    with contextlib.suppress(InvalidOperation):
        rate = Decimal(text)
        if rate.is_finite() and abs(rate) <= 200:
            return rate
    raise argparse.ArgumentTypeError(f"{text!r} is not a funding rate; give -200 to 200 basis points")


def _share(text: str) -> Decimal:
    share = _amount(text)
    if not 0 < share <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share in percent; give more than 0, at most 100")
    return share


def _balance(text: str) -> tuple[str, Decimal]:
    asset, separator, amount = text.partition("=")
    if not separator or not asset.isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is not a balance; give one like USDT=10000")
    return asset.upper(), _amount(amount)


def _named(text: str) -> tuple[str, str]:
    name, separator, answer = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} answers nothing; give it like bracket_of_symbol=object")
    try:
        answered([(name, answer)])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, answer


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plan(text: str) -> FaultPlan:
    try:
        return load_plan(Path(text))
    except PlanError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# -- from options to parts -------------------------------------------------------------------------------------------


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


def _prices(candles: Sequence[Candle]) -> list[Decimal]:
    return [price for candle in candles for price in (candle.open, candle.high, candle.low, candle.close)]


def _account(options: argparse.Namespace) -> AccountSpec:
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


def _exchange(options: argparse.Namespace, scene: Scene, account: AccountSpec) -> Exchange:
    model = FillModel(
        half_spread_bps=options.half_spread_bps,
        slippage_bps=options.slippage_bps,
        volume_share=options.volume_share_pct / 100,
        path=options.path,
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
    return exchange


# -- running ---------------------------------------------------------------------------------------------------------


async def _run(options: argparse.Namespace, scene: Scene, account: AccountSpec, exchange: Exchange) -> int:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    plan: FaultPlan = options.faults or FaultPlan()
    plan.add(options.fault)
    server = Server(
        exchange,
        scene.market,
        speed=options.speed,
        wait_for_klines=bool(options.replay),
        wait_for_account=options.wait_for_account,
        faults=plan,
    )
    server.faults.say = _say
    unknown = [symbol for symbol in plan.symbols if symbol not in {spec.symbol for spec in scene.instruments}]
    if unknown:
        return _complain(f"--faults: symbol = {unknown[0]!r} is not traded here on the spot market", EXIT_USAGE)
    try:
        port = await server.start(HOST, options.port)
    except OSError as error:
        reason = error.strerror or str(error)
        return _complain(f"cannot listen on port {options.port} ({reason}); give another --port, or 0", EXIT_PORT)
    try:
        _say(_listening(options, scene, account, port))
        await _until_done(options, server, told_to_stop)
    finally:
        await server.stop()
    return EXIT_OK


async def _until_done(options: argparse.Namespace, server: Server, told_to_stop: asyncio.Event) -> None:
    """Play the market; return when told to stop, when the parent is gone, or at the end if that was asked for."""
    stop = asyncio.create_task(told_to_stop.wait())
    playing = asyncio.create_task(_play(server))
    enders: list[asyncio.Task[object]] = [stop]
    if options.parent_pid is not None:
        enders.append(asyncio.create_task(_parent_is_gone(options.parent_pid)))
    try:
        await asyncio.wait([playing, *enders], return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            # A failure of the market is ours to show, not to swallow.
            playing.result()
            if not options.exit_at_end:
                await asyncio.wait(enders, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (playing, *enders):
            task.cancel()
        await asyncio.gather(playing, *enders, return_exceptions=True)


async def _play(server: Server) -> None:
    at_ms = await server.play()
    _say({"event": "tape_end", "at_ms": at_ms})


async def _parent_is_gone(pid: int) -> None:
    # A child sees its parent change; the process of a stranger is asked for by its id.
    is_child = os.getppid() == pid
    while os.getppid() == pid if is_child else _is_alive(pid):
        await asyncio.sleep(PARENT_LOOK_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def _listening(options: argparse.Namespace, scene: Scene, account: AccountSpec, port: int) -> dict[str, object]:
    return {
        "event": "listening",
        "host": HOST,
        "port": port,
        "rest": f"http://{HOST}:{port}",
        "stream": f"ws://{HOST}:{port}",
        "ws_api": f"ws://{HOST}:{port}/ws-api/v3",
        "market": options.market,
        "api_key": account.api_key,
        "secret": account.secret,
        "seed": options.seed,
        "speed": _shown_speed(options.speed),
        "start_ms": scene.start_ms,
        "symbols": [spec.symbol for spec in scene.instruments],
    }


def _shown_speed(speed: float) -> str | float:
    if speed == MAX_SPEED:
        return "max"
    return int(speed) if speed == int(speed) else speed


def _say(line: Mapping[str, object]) -> None:
    print(json.dumps(line), flush=True)


def _complain(text: str, code: int) -> int:
    print(f"simex: {text}", file=sys.stderr, flush=True)
    return code
