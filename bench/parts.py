"""How fast the parts are by themselves: exact engine, frames, decisions, the durable write."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from bench.figures import Figure
from bench.ground import NoData, market_data
from surefoot import __version__
from surefoot.assembly import build_engine
from surefoot.binance import codec
from surefoot.config import Settings, load
from surefoot.core.messages import CandleClosed, OrderAccepted, RunStarted
from surefoot.core.model import Candle
from surefoot.research.backtest import run_backtest
from surefoot.store.journal import Journal

GROUP = "parts"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
ROUNDS = 3
KLINE = (
    b'{"stream":"btcusdt@kline_15m","data":{"e":"kline","E":1790000900000,"s":"BTCUSDT","k":{"t":1790000000000,'
    b'"T":1790000899999,"s":"BTCUSDT","i":"15m","f":1,"L":9,"o":"60000.00","c":"60021.50","h":"60030.00",'
    b'"l":"59990.00","v":"12.34500000","n":421,"x":true,"q":"740812.66","V":"7.1","Q":"426101.2","B":"0"}}}'
)
BOOK = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"60000.00","B":"1","a":"60000.01","A":"2"}}'


def makers() -> list[Callable[[], list[Figure]]]:
    """What can be measured, each on its own."""
    settings = load(None, {}, {}).settings
    return [lambda: exact_backtest(settings), frames, lambda: decisions(settings), journal]


def exact_backtest(settings: Settings) -> list[Figure]:
    """Candles a second of the exact engine over real minutes, where there are some."""
    try:
        files = [str(file) for file in market_data(*(f"demo/um_1m/{symbol}.parquet" for symbol in SYMBOLS))]
    except NoData as error:
        return [Figure(GROUP, "exact backtest", "not measured", remark=str(error))]
    results = [run_backtest(settings, files) for _ in range(ROUNDS)]
    digest = hashlib.sha256("".join(data["sha256"] for data in results[0]["data"]).encode()).hexdigest()[:12]
    rate = statistics.median(result["candles_per_second"] for result in results)
    trips = len(results[0]["round_trips"])
    on = f"{results[0]['candles']:,} candles of 1m, 4 symbols, {trips} round trips, data {digest}"
    return [Figure(GROUP, "exact backtest", f"{rate:,.0f} candles/s", remark=on, numbers={"candles_per_second": rate})]


def frames() -> list[Figure]:
    """Decoding of the two commonest frames."""
    return [
        _timed("closed kline frame to candle", lambda: codec.read_stream(KLINE)),
        _timed("best-price frame to prices", lambda: codec.read_stream(BOOK)),
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
    on = f"{len(candles):,} candles, RSI on 15m and 1h"
    return [Figure(GROUP, "closed candle to recorded decision", f"{micros:,.1f} µs", remark=on)]


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
        Figure(GROUP, "durable write of an intent", flush, remark="300 writes"),
        Figure(GROUP, "journal read back", f"{seconds:.2f} s", remark=f"{count:,} entries"),
    ]


def _timed(what: str, call: Callable[[], object]) -> Figure:
    count = 20_000
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - began) / count * 1e6)
    return Figure(GROUP, what, f"{statistics.median(rounds):.2f} µs", remark="1 frame")
