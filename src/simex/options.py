"""The options of `python -m simex`: what may be said, and how each word is read."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Never

from simex.faultplan import PlanError, load_plan, parse_fault
from simex.faults import KINDS, Fault, FaultPlan
from simex.pause import MAX_SPEED
from simex.relay import STALE_S
from simex.scenario import STORIES
from simex.venue import Undocumented, answered

EXIT_USAGE: Final = 2

EXAMPLES = """examples:
  python -m simex --seed 7
      a generated market in real time on any free port
  python -m simex --seed 7 --speed 60 --start-ms 1717200000000
      the same market at a minute a second, from a fixed start
  python -m simex --replay BTCUSDT.parquet ETHUSDT.parquet --speed max --wait-for-account --exit-at-end
      candle files, as fast as the clients digest them
  python -m simex --replay BTCUSDT=prices.csv --start-ms 1748563200000
      what lies before the start is served as history
  python -m simex --replay BTCUSDT-aggTrades-2024-08-08.zip --history BTCUSDT-1m.csv --speed 10
      single trades, ten times as fast as they were
  python -m simex --scenario flash-crash --speed 60
      a fifth down in a minute, and back within ten
  python -m simex --relay wss://stream.binance.com:9443 --relay-rest https://api.binance.com
      the real market, with fills of our own; with --market futures, wss://fstream.binance.com and https://fapi.binance.com
  python -m simex --faults plan.toml --admin-port 0
      faults by plan, and more by command: curl -H "X-Admin-Key: KEY" http://127.0.0.1:PORT/state
  python -m simex --fault error-after=3
      every third order is executed, but answered with a 503
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:
        print(f"simex: {message}; see python -m simex --help", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_USAGE)


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="python -m simex",
        description="A simulated Binance exchange, spot and USDⓈ-M futures, on the loopback address.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--port", type=_port, default=0, help="port to listen on; 0 takes any free one (default)")
    option("--seed", type=int, default=7, help="seed of the generated market and of the demo key (default 7)")
    option("--speed", type=_speed, help="1 is real time, N is N times as fast, max waits for clients only")
    option("--symbols", type=_symbols, help="comma-separated symbols of the generated market (default: all listed)")
    option("--start-ms", type=int, help="where market time starts, UTC ms; of a replay, earlier candles are history")
    option("--end-ms", type=int, help="where a replay ends, UTC ms")
    option("--print-every-ms", type=int, default=1_000, help="market time between generated prints (default 1000)")
    option("--history-days", type=int, default=10, help="days of generated candles before the start (default 10)")
    option("--replay", nargs="+", action="extend", metavar="FILE", help="files of candles or trades, or SYMBOL=FILE")
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
    option(
        "--market-rest", choices=("expires", "waits"), default="expires",
        help="of a market order that sells or closes, where volume is short (default expires, as at Binance)",
    )  # fmt: skip
    option("--api-key", help="default: derived from the seed")
    option("--secret", help="default: derived from the seed")
    option("--public-key", help="Ed25519 or RSA key instead of a secret: the body of its public PEM file")
    option("--forming-klines", choices=("yes", "no"), default="yes", help="send klines that are not closed yet")
    option("--wait-for-account", action="store_true", help="hold the market until somebody subscribed to user data")
    option("--exit-at-end", action="store_true", help="end with the replay")
    option("--parent-pid", type=int, help="end when this process is gone")
    option("--fault", action="append", type=_fault, default=[], metavar="KIND=N", help="a fault every N-th time")
    option("--faults", type=_plan, metavar="PLAN.toml", help=f"a plan of faults: {', '.join(KINDS)}")
    option("--scenario", metavar="NAME", help=f"{' | '.join(STORIES)}, or a file with a table of what happens")
    option("--history", nargs="+", action="extend", metavar="FILE", help="candle files before a replay of trades")
    option(
        "--relay",
        metavar="URL",
        help="print another exchange's public market, spot or futures as --market says: its stream address",
    )
    option("--relay-rest", metavar="URL", help="the REST address that belongs to --relay")
    option(
        "--relay-stale-s", type=_seconds, default=STALE_S, help="silence that ends a relay's connection (default 10)"
    )
    option("--admin-port", type=_port, help="a second port, with a key of its own, for commands; 0 takes any free one")
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.1 <= float(text) <= 3_600:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} are no seconds; give 0.1 to 3600")


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
