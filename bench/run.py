"""What `make bench` runs: how fast the parts are on this machine, with what they were measured on.

Figures are for reading, never asserted: machines differ and are shared. Each is the median of a few rounds in one
process. Comparisons with other programs on the same rules come with the fast backtest.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from surefoot import __version__
from surefoot.assembly import build_engine
from surefoot.binance import codec
from surefoot.config import Settings, load
from surefoot.core.messages import CandleClosed, OrderAccepted, RunStarted
from surefoot.core.model import Candle
from surefoot.research.backtest import run_backtest
from surefoot.store.journal import Journal

ROOT = Path(__file__).resolve().parent.parent
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
ROUNDS = 3
KLINE = (
    b'{"stream":"btcusdt@kline_15m","data":{"e":"kline","E":1790000900000,"s":"BTCUSDT","k":{"t":1790000000000,'
    b'"T":1790000899999,"s":"BTCUSDT","i":"15m","f":1,"L":9,"o":"60000.00","c":"60021.50","h":"60030.00",'
    b'"l":"59990.00","v":"12.34500000","n":421,"x":true,"q":"740812.66","V":"7.1","Q":"426101.2","B":"0"}}}'
)
BOOK = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"60000.00","B":"1","a":"60000.01","A":"2"}}'

Figure = tuple[str, str, str]


def main() -> int:
    settings = load(None, {}, {}).settings
    console = Console()
    makers: list[Callable[[], list[Figure]]] = [
        lambda: exact_backtest(settings),
        lambda: frames(),
        lambda: decisions(settings),
        journal,
    ]
    figures = [figure for maker in track(makers, "measuring", console=Console(stderr=True)) for figure in maker()]
    table = Table("what", "figure", "on", title=f"Surefoot {__version__}: speed of the parts")
    for figure in figures:
        table.add_row(*figure)
    console.print(table)
    console.print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    return 0


def exact_backtest(settings: Settings) -> list[Figure]:
    """Candles a second of the exact engine over real minutes, where there are some."""
    folder = Path(os.environ.get("SUREFOOT_DATA", ROOT / "../shared/data")) / "demo" / "um_1m"
    files = [str(folder / f"{symbol}.parquet") for symbol in SYMBOLS]
    if not all(Path(file).is_file() for file in files):
        return [("exact backtest", "not measured", "needs market data: set SUREFOOT_DATA")]
    results = [run_backtest(settings, files) for _ in range(ROUNDS)]
    digest = hashlib.sha256("".join(data["sha256"] for data in results[0]["data"]).encode()).hexdigest()[:12]
    rate = statistics.median(result["candles_per_second"] for result in results)
    trips = len(results[0]["round_trips"])
    on = f"{results[0]['candles']:,} candles of 1m, 4 symbols, {trips} round trips, data {digest}"
    return [("exact backtest", f"{rate:,.0f} candles/s", on)]


def frames() -> list[Figure]:
    """Decoding of the two commonest frames."""
    return [
        ("closed kline frame to candle", _micros(lambda: codec.read_stream(KLINE)), "1 frame"),
        ("best-price frame to prices", _micros(lambda: codec.read_stream(BOOK)), "1 frame"),
    ]


def decisions(settings: Settings) -> list[Figure]:
    """One closed candle through signal, gate and record."""
    engine = build_engine(settings)
    engine.step(RunStarted(0, "bench", "paper", settings.market.symbols, "", __version__))
    price, step_ms = Decimal(60_000), 900_000
    candles = [
        Candle(
            "BTCUSDT", "15m", at * step_ms, (at + 1) * step_ms - 1, price, price + 50, price - 50, price + at % 7, price
        )
        for at in range(6_000)
    ]
    began = time.perf_counter()
    for candle in candles:
        engine.step(CandleClosed(candle.close_ms + 1, candle))
    micros = (time.perf_counter() - began) / len(candles) * 1e6
    return [("closed candle to recorded decision", f"{micros:,.1f} µs", f"{len(candles):,} candles, RSI on 15m and 1h")]


def journal() -> list[Figure]:
    """The durable write that stands before every order, and reading all back."""
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "bench.sqlite") as book:
        book.append(RunStarted(0, "bench", "paper", SYMBOLS, "", __version__))
        book.flush()
        times = []
        for at in range(300):
            book.append(OrderAccepted(at, f"sf-bench-{at}e", at, True, Decimal(1), Decimal(0)))
            began = time.perf_counter()
            book.flush()
            times.append((time.perf_counter() - began) * 1e3)
        for at in range(100_000):
            book.append(OrderAccepted(at, f"sf-bench-{at}", at, True, Decimal(1), Decimal(0)))
        book.flush()
        began = time.perf_counter()
        count = sum(1 for _ in book.read())
        seconds = time.perf_counter() - began
    times.sort()
    flush = f"p50 {times[150]:.2f} ms, p99 {times[297]:.2f} ms"
    return [
        ("durable write of an intent", flush, "300 writes"),
        ("journal read back", f"{seconds:.2f} s", f"{count:,}"),
    ]


def _micros(call: Callable[[], object]) -> str:
    count = 20_000
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - began) / count * 1e6)
    return f"{statistics.median(rounds):.2f} µs"


if __name__ == "__main__":
    sys.exit(main())
