"""Public calls: time, rules, candles, book and trades."""

from __future__ import annotations

from itertools import islice
from typing import Final

from simex import filters, limits, refusal, reports, seconds
from simex.book import Book
from simex.calls import API, Ask, Call
from simex.klines import SECOND, SPOT_INTERVALS, Bar, in_zone
from simex.params import Params
from simex.trades import Trade, log_of

DEFAULT_PERMISSIONS: Final = ("SPOT", "MARGIN", "LEVERAGED")
_END_OF_TIME_MS: Final = 1 << 47


def ping(ask: Ask) -> object:
    return {}


def time(ask: Ask) -> object:
    return {"serverTime": ask.now_ms}


def exchange_info(ask: Ask) -> object:
    shows_permissions = ask.params.flag("showPermissionSets", default=True)
    return {
        "timezone": "UTC",
        "serverTime": ask.now_ms,
        "rateLimits": limits.announced(ask.engine.rules),
        "exchangeFilters": filters.announced_of_exchange(ask.engine.exchange_filters),
        "symbols": [reports.instrument(book, shows_permissions) for book in _listed(ask)],
    }


def _listed(ask: Ask) -> list[Book]:
    """By symbol, or by permissions and status; without permissions those that spot or margin accounts may trade."""
    params = ask.params
    is_by_symbol = params.has("symbol") or params.has("symbols")
    if is_by_symbol and (params.has("symbolStatus") or params.has("permissions")):
        raise refusal.bad_combination()
    if is_by_symbol:
        return ask.books
    wanted = set(params.words("permissions") or DEFAULT_PERMISSIONS)
    return [book for book in ask.books if any(wanted & set(names) for names in book.spec.permission_sets)]


def execution_rules(ask: Ask) -> object:
    if ask.params.has("symbolStatus") and (ask.params.has("symbol") or ask.params.has("symbols")):
        raise refusal.bad_combination()
    ruled = [(book.spec.symbol, book.spec.price_range) for book in ask.books]
    return {
        "symbolRules": [
            {
                "symbol": symbol,
                "rules": [
                    {
                        "ruleType": "PRICE_RANGE",
                        "bidLimitMultUp": str(rule[0][0]),
                        "bidLimitMultDown": str(rule[0][1]),
                        "askLimitMultUp": str(rule[1][0]),
                        "askLimitMultDown": str(rule[1][1]),
                    }
                ],
            }
            for symbol, rule in ruled
            if rule is not None
        ]
    }


def execution_rules_weight(params: Params) -> int:
    if params.has("symbol"):
        return 2
    return min(40, 2 * len(params.symbols())) if params.has("symbols") else 40


def reference_price(ask: Ask) -> object:
    book = ask.book
    if book.reference_ms is None:
        raise refusal.no_reference_price()
    price = book.reference_price
    return {
        "symbol": book.spec.symbol,
        "referencePrice": None if price is None else reports.amount(price),
        "timestamp": book.reference_ms,
    }


def reference_calculation(ask: Ask) -> object:
    """The operator sets it, so it is reckoned outside."""
    ask.params.text("symbol")
    (book,) = ask.books
    if book.reference_ms is None:
        raise refusal.no_reference_price()
    return {"symbol": book.spec.symbol, "calculationType": "EXTERNAL", "externalCalculationId": 1}


def klines(ask: Ask) -> object:
    """Rows by the paging rule of all lists: oldest from startTime, else newest up to endTime."""
    book, now_ms = ask.book, ask.now_ms
    plain = ask.params.choice("interval", SPOT_INTERVALS, -1120, "Invalid interval.")
    interval = in_zone(plain, ask.params.zone_minutes())
    limit = ask.params.limit(500, 1000)
    start_ms, end_ms = ask.params.maybe_time_ms("startTime"), ask.params.maybe_time_ms("endTime")
    until_ms = now_ms if end_ms is None else min(now_ms, end_ms)
    if start_ms is not None and start_ms > until_ms:
        bars = []
    elif plain == SECOND:
        log = log_of(book)
        bars = (
            seconds.newest(log, until_ms, limit) if start_ms is None else seconds.oldest(log, start_ms, until_ms, limit)
        )
    elif start_ms is None:
        bars = book.series.newest(interval, until_ms, limit)
    else:
        bars = list(islice(book.series.bars(interval, start_ms, until_ms), limit))
    return [_row(bar) for bar in bars]


def depth(ask: Ask) -> object:
    return reports.depth(ask.book, ask.params.limit(100, 5000))


def trades(ask: Ask) -> object:
    """The newest trades, or from an id on the oldest."""
    limit, from_id = ask.params.limit(500, 1000), ask.params.maybe_integer("fromId")
    log = log_of(ask.book)
    found = log.newest(limit) if from_id is None else log.from_id(from_id, limit)
    return [_trade(trade) for trade in found]


def aggregate_trades(ask: Ask) -> object:
    """By the paging rule of all lists, or from an id on."""
    limit, from_id = ask.params.limit(500, 1000), ask.params.maybe_integer("fromId")
    start_ms, end_ms = ask.params.maybe_time_ms("startTime"), ask.params.maybe_time_ms("endTime")
    log = log_of(ask.book)
    if from_id is not None:
        if start_ms is not None or end_ms is not None:
            raise refusal.bad_combination()
        found = log.from_id(from_id, limit)
    elif start_ms is None:
        found = log.newest(limit, end_ms)
    else:
        found = log.between(start_ms, _END_OF_TIME_MS if end_ms is None else end_ms, limit)
    return [_aggregate(trade) for trade in found]


def depth_weight(params: Params) -> int:
    limit = params.limit(100, 5000)
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _trade(trade: Trade) -> reports.Json:
    return {
        "id": trade.trade_id,
        "price": reports.amount(trade.price),
        "qty": reports.amount(trade.quantity),
        "quoteQty": reports.amount(trade.price * trade.quantity),
        "time": trade.at_ms,
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def _aggregate(trade: Trade) -> reports.Json:
    return {
        "a": trade.trade_id,
        "p": reports.amount(trade.price),
        "q": reports.amount(trade.quantity),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.at_ms,
        "m": trade.is_buyer_maker,
        "M": True,
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
    ("GET", f"{API}/executionRules"): Call(execution_rules, execution_rules_weight),
    ("GET", f"{API}/referencePrice"): Call(reference_price, 2),
    ("GET", f"{API}/referencePrice/calculation"): Call(reference_calculation, 2),
    ("GET", f"{API}/klines"): Call(klines, 2),
    ("GET", f"{API}/uiKlines"): Call(klines, 2),
    ("GET", f"{API}/depth"): Call(depth, depth_weight),
    ("GET", f"{API}/trades"): Call(trades, 25),
    ("GET", f"{API}/historicalTrades"): Call(trades, 25),
    ("GET", f"{API}/aggTrades"): Call(aggregate_trades, 4),
}
SOCKET: Final[dict[str, Call]] = {
    "ping": REST["GET", f"{API}/ping"],
    "time": REST["GET", f"{API}/time"],
    "exchangeInfo": REST["GET", f"{API}/exchangeInfo"],
    "executionRules": REST["GET", f"{API}/executionRules"],
    "referencePrice": REST["GET", f"{API}/referencePrice"],
    "referencePrice.calculation": REST["GET", f"{API}/referencePrice/calculation"],
    "klines": REST["GET", f"{API}/klines"],
    "uiKlines": REST["GET", f"{API}/uiKlines"],
    "depth": REST["GET", f"{API}/depth"],
    "trades.recent": REST["GET", f"{API}/trades"],
    "trades.historical": REST["GET", f"{API}/historicalTrades"],
    "trades.aggregate": REST["GET", f"{API}/aggTrades"],
}
