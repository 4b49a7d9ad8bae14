"""Public calls: time, rules, candles, book and prices."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from simex import limits, reports
from simex.book import Book
from simex.calls import API, Ask, Call
from simex.klines import INTERVALS, Bar
from simex.orders import ZERO
from simex.params import Params
from simex.refusal import Refusal

_END_OF_TIME_MS: Final = 1 << 47


def ping(ask: Ask) -> object:
    return {}


def time(ask: Ask) -> object:
    return {"serverTime": ask.now_ms}


def exchange_info(ask: Ask) -> object:
    if ask.params.has("symbol") and ask.params.has("symbols"):
        raise Refusal(-1128, "Combination of optional parameters invalid.")
    return {
        "timezone": "UTC",
        "serverTime": ask.now_ms,
        "rateLimits": limits.announced(),
        "exchangeFilters": [],
        "symbols": [reports.instrument(book.spec) for book in _books(ask)],
    }


def klines(ask: Ask) -> object:
    """Rows by the paging rule of all lists: oldest from startTime, else newest up to endTime."""
    series = ask.book.series
    interval = ask.params.choice("interval", INTERVALS, -1120, "Invalid interval.")
    limit = ask.params.limit(500, 1000)
    start_ms, end_ms = ask.params.maybe_time_ms("startTime"), ask.params.maybe_time_ms("endTime")
    if start_ms is None:
        bars = series.newest(interval, ask.now_ms if end_ms is None else end_ms, limit)
    else:
        until_ms = min(ask.now_ms, _END_OF_TIME_MS if end_ms is None else end_ms)
        bars = list(islice(series.bars(interval, start_ms, until_ms), limit)) if start_ms <= until_ms else []
    return [_row(bar) for bar in bars]


def depth(ask: Ask) -> object:
    return reports.depth(ask.book, ask.params.limit(100, 5000))


def ticker_price(ask: Ask) -> object:
    return _one_or_many(ask, lambda book: {"symbol": book.spec.symbol, "price": reports.amount(book.last or ZERO)})


def ticker_book(ask: Ask) -> object:
    return _one_or_many(ask, _book_ticker)


def depth_weight(params: Params) -> int:
    limit = params.limit(100, 5000)
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def ticker_weight(params: Params) -> int:
    return 2 if params.has("symbol") else 4


def _books(ask: Ask) -> list[Book]:
    if ask.params.has("symbol"):
        return [ask.book]
    if ask.params.has("symbols"):
        return [ask.book_of(symbol) for symbol in ask.params.symbols()]
    return list(ask.engine.books.values())


def _one_or_many(ask: Ask, shown: Callable[[Book], reports.Json]) -> object:
    answers = [shown(book) for book in _books(ask)]
    return answers[0] if ask.params.has("symbol") else answers


def _book_ticker(book: Book) -> reports.Json:
    best = book.best()
    (bid, bid_qty), (ask, ask_qty) = best if best is not None else ((ZERO, ZERO), (ZERO, ZERO))
    return {
        "symbol": book.spec.symbol,
        "bidPrice": reports.amount(bid),
        "bidQty": reports.amount(bid_qty),
        "askPrice": reports.amount(ask),
        "askQty": reports.amount(ask_qty),
    }


def _row(bar: Bar) -> list[object]:
    return [
        bar.open_ms,
        reports.amount(bar.open),
        reports.amount(bar.high),
        reports.amount(bar.low),
        reports.amount(bar.close),
        reports.amount(bar.volume),
        bar.end_ms - 1,
        reports.amount(bar.quote),
        bar.trades,
        reports.amount(bar.volume / 2),
        reports.amount(bar.quote / 2),
        "0",
    ]


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API}/ping"): Call(ping, 1),
    ("GET", f"{API}/time"): Call(time, 1),
    ("GET", f"{API}/exchangeInfo"): Call(exchange_info, 20),
    ("GET", f"{API}/klines"): Call(klines, 2),
    ("GET", f"{API}/depth"): Call(depth, depth_weight),
    ("GET", f"{API}/ticker/price"): Call(ticker_price, ticker_weight),
    ("GET", f"{API}/ticker/bookTicker"): Call(ticker_book, ticker_weight),
}
SOCKET: Final[dict[str, Call]] = {
    "ping": REST["GET", f"{API}/ping"],
    "time": REST["GET", f"{API}/time"],
    "exchangeInfo": REST["GET", f"{API}/exchangeInfo"],
    "klines": REST["GET", f"{API}/klines"],
    "depth": REST["GET", f"{API}/depth"],
    "ticker.price": REST["GET", f"{API}/ticker/price"],
    "ticker.book": REST["GET", f"{API}/ticker/bookTicker"],
}
