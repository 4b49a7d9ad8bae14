"""Public calls: prices, best prices, averages and the statistics of a window."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from simex import refusal, tickers
from simex.book import Book
from simex.calls import API, Ask, Call
from simex.klines import DAY_MS, MINUTE_MS, in_zone, interval_bounds
from simex.orders import ZERO
from simex.params import Params
from simex.refusal import Refusal
from simex.reports import Json, amount
from simex.tickers import HOUR_MS, Window

SYMBOLS_MAX: Final = 100
_WINDOW: Final = re.compile("(?P<minutes>[1-9]|[1-5][0-9])m|(?P<hours>[1-9]|1[0-9]|2[0-3])h|(?P<days>[1-7])d")


def price(ask: Ask) -> object:
    return _one_or_many(ask, lambda book: {"symbol": book.spec.symbol, "price": amount(book.last or ZERO)})


def best(ask: Ask) -> object:
    return _one_or_many(ask, _best)


def average(ask: Ask) -> object:
    book = ask.book
    mean = tickers.average(book, ask.now_ms)
    return {"mins": tickers.AVERAGE_MINS, "price": amount(mean), "closeTime": book.series.last_trade_ms or 0}


def day(ask: Ask) -> object:
    """The rolling 24 hours."""
    is_mini = _is_mini(ask.params)
    return _one_or_many(ask, lambda book: _day(book, is_mini, ask.now_ms))


def trading_day(ask: Ask) -> object:
    """The calendar day of a time zone, so far."""
    is_mini = _is_mini(ask.params)
    open_ms, end_ms = interval_bounds(in_zone("1d", ask.params.zone_minutes()), ask.now_ms)
    _want_symbols(ask.params)
    return _one_or_many(ask, lambda book: _shown(book, tickers.window(book, open_ms, ask.now_ms, end_ms - 1), is_mini))


def rolling(ask: Ask) -> object:
    """A window of the caller's length up to now."""
    is_mini, length_ms = _is_mini(ask.params), _window_ms(ask.params)
    _want_symbols(ask.params)
    return _one_or_many(ask, lambda book: _shown(book, tickers.rolling(book, length_ms, ask.now_ms), is_mini))


def price_weight(params: Params) -> int:
    return 2 if params.has("symbol") else 4


def day_weight(params: Params) -> int:
    if params.has("symbol"):
        return 2
    count = len(params.symbols()) if params.has("symbols") else SYMBOLS_MAX + 1
    return 2 if count <= 20 else 40 if count <= SYMBOLS_MAX else 80


def window_weight(params: Params) -> int:
    return min(200, 4 * (1 if params.has("symbol") else len(params.symbols())))


def _one_or_many(ask: Ask, shown: Callable[[Book], Json]) -> object:
    answers = [shown(book) for book in ask.books]
    return answers[0] if ask.params.has("symbol") else answers


def _want_symbols(params: Params) -> None:
    if not params.has("symbol") and not params.has("symbols"):
        raise refusal.missing("symbol")
    if params.has("symbols") and len(params.symbols()) > SYMBOLS_MAX:
        raise Refusal(-1101, f"Too many parameters; expected '{SYMBOLS_MAX}' symbols at most.")


def _is_mini(params: Params) -> bool:
    return params.maybe_choice("type", ("FULL", "MINI"), "FULL") == "MINI"


def _window_ms(params: Params) -> int:
    found = _WINDOW.fullmatch(params.maybe("windowSize") or "1d")
    if found is None:
        raise refusal.invalid("windowSize")
    return (
        int(found["minutes"] or 0) * MINUTE_MS + int(found["hours"] or 0) * HOUR_MS + int(found["days"] or 0) * DAY_MS
    )


def _best(book: Book) -> Json:
    (bid, bid_qty), (ask, ask_qty) = book.best() or ((ZERO, ZERO), (ZERO, ZERO))
    return {
        "symbol": book.spec.symbol,
        "bidPrice": amount(bid),
        "bidQty": amount(bid_qty),
        "askPrice": amount(ask),
        "askQty": amount(ask_qty),
    }


def _day(book: Book, is_mini: bool, now_ms: int) -> Json:
    window = tickers.rolling(book, DAY_MS, now_ms)._replace(open_ms=now_ms - DAY_MS)
    shown = _shown(book, window, is_mini)
    if is_mini:
        return shown
    best_prices = {name: value for name, value in _best(book).items() if name != "symbol"}
    return shown | {
        "prevClosePrice": amount(tickers.price_before(book, window.open_ms)),
        "lastQty": amount(tickers.last_quantity(book)),
        **best_prices,
    }


def _shown(book: Book, window: Window, is_mini: bool) -> Json:
    changes: Json = {
        "priceChange": amount(window.change),
        "priceChangePercent": f"{window.change_pct:.3f}",
        "weightedAvgPrice": amount(window.average),
    }
    prices: Json = {
        "openPrice": amount(window.open),
        "highPrice": amount(window.high),
        "lowPrice": amount(window.low),
        "lastPrice": amount(window.last),
        "volume": amount(window.volume),
        "quoteVolume": amount(window.quote),
        "openTime": window.open_ms,
        "closeTime": window.close_ms,
        "firstId": window.first_id,
        "lastId": window.last_id,
        "count": window.trades,
    }
    return {"symbol": book.spec.symbol} | ({} if is_mini else changes) | prices


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API}/avgPrice"): Call(average, 2),
    ("GET", f"{API}/ticker/price"): Call(price, price_weight),
    ("GET", f"{API}/ticker/bookTicker"): Call(best, price_weight),
    ("GET", f"{API}/ticker/24hr"): Call(day, day_weight),
    ("GET", f"{API}/ticker/tradingDay"): Call(trading_day, window_weight),
    ("GET", f"{API}/ticker"): Call(rolling, window_weight),
}
SOCKET: Final[dict[str, Call]] = {
    "avgPrice": REST["GET", f"{API}/avgPrice"],
    "ticker.price": REST["GET", f"{API}/ticker/price"],
    "ticker.book": REST["GET", f"{API}/ticker/bookTicker"],
    "ticker.24hr": REST["GET", f"{API}/ticker/24hr"],
    "ticker.tradingDay": REST["GET", f"{API}/ticker/tradingDay"],
    "ticker": REST["GET", f"{API}/ticker"],
}
