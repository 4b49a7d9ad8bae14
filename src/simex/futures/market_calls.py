"""Public calls of the futures market: time, rules, candles, prices, marks and funding."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Final

from simex import tickers
from simex.depth import snapshot
from simex.futures import limits, reports
from simex.futures.book import ContractBook
from simex.futures.calls import API, API2, Ask, Call, one_or_all
from simex.klines import DAY_MS, INTERVALS, Bar
from simex.orders import ZERO
from simex.params import Params
from simex.refusal import Refusal
from simex.reports import Json, amount
from simex.tickers import HOUR_MS
from simex.trades import Trade, log_of

INTEREST: Final = Decimal("0.0001")
DEPTHS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
_END_OF_TIME_MS: Final = 1 << 47
_UNKNOWN: Final = "Data sent for parameter 'contractType' is not valid."


def ping(ask: Ask) -> object:
    return {}


def time(ask: Ask) -> object:
    return {"serverTime": ask.now_ms}


def exchange_info(ask: Ask) -> object:
    return {
        "timezone": "UTC",
        "serverTime": ask.now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits.announced(),
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
            for asset in ask.engine.ledger.assets
        ],
        "symbols": [reports.contract(book) for book in ask.engine.books.values()],
    }


def klines(ask: Ask) -> object:
    return [_row(bar) for bar in _bars(ask, ask.book)]


def pair_klines(ask: Ask) -> object:
    """Continuous candles of the perpetual contract of a pair."""
    ask.params.choice("contractType", ("PERPETUAL",), -1130, _UNKNOWN)
    return [_row(bar) for bar in _bars(ask, _pair(ask))]


def mark_klines(ask: Ask) -> object:
    """The basis of today is taken for all of the past: earlier ones are not kept."""
    book = ask.book
    return [_row_of(bar, [price + book.basis for price in _prices(bar)]) for bar in _bars(ask, book)]


def index_klines(ask: Ask) -> object:
    return [_row_of(bar, _prices(bar)) for bar in _bars(ask, _pair(ask))]


def premium_klines(ask: Ask) -> object:
    book = ask.book
    return [_row_of(bar, [book.basis / price for price in _prices(bar)]) for bar in _bars(ask, book)]


def depth(ask: Ask) -> object:
    limit = ask.params.maybe_integer("limit") or 500
    if limit not in DEPTHS:
        raise Refusal(-4021, f"{limit} is an invalid limit.")
    book = ask.book
    update_id, bids, asks = snapshot(book, limit)
    return {
        "lastUpdateId": update_id,
        "E": ask.now_ms,
        "T": ask.now_ms,
        "bids": _levels(book, bids),
        "asks": _levels(book, asks),
    }


def trades(ask: Ask) -> object:
    return [_trade(ask.book, trade) for trade in log_of(ask.book).newest(ask.params.limit(500, 1000))]


def historical_trades(ask: Ask) -> object:
    """Without an id the newest ones."""
    limit, from_id, log = ask.params.limit(100, 500), ask.params.maybe_integer("fromId"), log_of(ask.book)
    found = log.newest(limit) if from_id is None else log.from_id(from_id, limit)
    return [_trade(ask.book, trade) for trade in found]


def aggregate_trades(ask: Ask) -> object:
    """By the paging rule of all lists, or from an id on; of the last two days or so."""
    params, log = ask.params, log_of(ask.book)
    limit, from_id = params.limit(500, 1000), params.maybe_integer("fromId")
    start_ms, end_ms = params.maybe_integer("startTime"), params.maybe_integer("endTime")
    if start_ms is not None and end_ms is not None and end_ms - start_ms >= HOUR_MS:
        raise Refusal(-1127, "More than 1 hours between startTime and endTime.")
    if from_id is not None:
        found = log.from_id(from_id, limit)
    elif start_ms is None:
        found = log.newest(limit, end_ms)
    else:
        found = log.between(start_ms, _END_OF_TIME_MS if end_ms is None else end_ms, limit)
    earliest_ms = ask.now_ms - ask.engine.rules.futures_aggregate_hours * HOUR_MS
    return [_aggregate(ask.book, trade) for trade in found if trade.at_ms >= earliest_ms]


def ticker_day(ask: Ask) -> object:
    return _one_or_many(ask, lambda book: _day(book, ask.now_ms))


def ticker_price(ask: Ask) -> object:
    return _one_or_many(
        ask,
        lambda book: {
            "symbol": book.spec.symbol, "price": reports.price_text(book.spec, book.last or ZERO), "time": ask.now_ms,
        },
    )  # fmt: skip


def ticker_book(ask: Ask) -> object:
    return _one_or_many(ask, lambda book: _book_ticker(book, ask.now_ms))


def premium_index(ask: Ask) -> object:
    return _one_or_many(ask, lambda book: _premium(book, ask.now_ms))


def funding_rates(ask: Ask) -> object:
    """What was settled, as far back as prices are known; rows of several symbols are in order of time."""
    start_ms, end_ms = ask.params.maybe_integer("startTime"), ask.params.maybe_integer("endTime")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise Refusal(-1023, "Start time is greater than end time.")
    limit = ask.params.limit(100, 1000)
    rows = [row for book in ask.books for row in _settlements(book, start_ms, end_ms, limit, ask.now_ms)]
    rows.sort(key=lambda row: (row[0], row[1]["symbol"]))
    chosen = rows[:limit] if start_ms is not None else rows[-limit:]
    return [row for _, row in chosen]


def funding_info(ask: Ask) -> object:
    """Only symbols whose values differ from the usual ones."""
    return [
        {
            "symbol": spec.symbol,
            "adjustedFundingRateCap": f"{spec.funding_cap:.8f}",
            "adjustedFundingRateFloor": f"{spec.funding_floor:.8f}",
            "fundingIntervalHours": spec.funding_hours,
            "disclaimer": False,
        }
        for spec in (book.spec for book in ask.engine.books.values())
        if spec.funding_hours != 8
    ]


def open_interest(ask: Ask) -> object:
    """Half of what all clients and the market hold against each other."""
    spec = ask.book.spec
    held = sum((abs(p.amount) for a in ask.book.holders for p in a.held(spec.symbol)), ZERO)
    total = (held + abs(ask.engine.ledger.market_amounts[spec.symbol])) / 2
    return {"openInterest": reports.quantity_text(spec, total), "symbol": spec.symbol, "time": ask.now_ms}


def kline_weight(params: Params) -> int:
    limit = params.limit(500, 1500)
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def depth_weight(params: Params) -> int:
    return DEPTHS.get(params.maybe_integer("limit") or 500, 1)


def _pair(ask: Ask) -> ContractBook:
    return ask.book_of(ask.params.text("pair"))


def _bars(ask: Ask, book: ContractBook) -> list[Bar]:
    """Rows by the paging rule of all lists: oldest from startTime, else newest up to endTime."""
    interval = ask.params.choice("interval", INTERVALS, -1120, "Invalid interval.")
    limit = ask.params.limit(500, 1500)
    start_ms, end_ms = ask.params.maybe_integer("startTime"), ask.params.maybe_integer("endTime")
    if start_ms is None:
        return book.series.newest(interval, ask.now_ms if end_ms is None else end_ms, limit)
    until_ms = min(ask.now_ms, _END_OF_TIME_MS if end_ms is None else end_ms)
    return list(islice(book.series.bars(interval, start_ms, until_ms), limit)) if start_ms <= until_ms else []


def _prices(bar: Bar) -> list[Decimal]:
    return [bar.open, bar.high, bar.low, bar.close]


def _row(bar: Bar) -> list[object]:
    return [
        bar.open_ms,
        *(amount(price) for price in _prices(bar)),
        amount(bar.volume),
        bar.end_ms - 1,
        amount(bar.quote),
        bar.trades,
        amount(bar.volume / 2),
        amount(bar.quote / 2),
        "0",
    ]


def _row_of(bar: Bar, prices: list[Decimal]) -> list[object]:
    """A candle of a price that is not traded."""
    texts = [amount(price) for price in prices]
    return [bar.open_ms, *texts, "0", bar.end_ms - 1, "0", bar.trades, "0", "0", "0"]


def _levels(book: ContractBook, levels: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    spec = book.spec
    return [[reports.price_text(spec, price), reports.quantity_text(spec, quantity)] for price, quantity in levels]


def _one_or_many(ask: Ask, shown: Callable[[ContractBook], Json]) -> object:
    answers = [shown(book) for book in ask.books]
    return answers[0] if ask.params.has("symbol") else answers


def _book_ticker(book: ContractBook, now_ms: int) -> Json:
    (bid, bid_qty), (ask, ask_qty) = book.best() or ((ZERO, ZERO), (ZERO, ZERO))
    return {
        "symbol": book.spec.symbol,
        "bidPrice": reports.price_text(book.spec, bid),
        "bidQty": reports.quantity_text(book.spec, bid_qty),
        "askPrice": reports.price_text(book.spec, ask),
        "askQty": reports.quantity_text(book.spec, ask_qty),
        "time": now_ms,
        "lastUpdateId": book.update_id,
    }


def _trade(book: ContractBook, trade: Trade) -> Json:
    spec = book.spec
    return {
        "id": trade.trade_id,
        "price": reports.price_text(spec, trade.price),
        "qty": reports.quantity_text(spec, trade.quantity),
        "quoteQty": amount(trade.price * trade.quantity),
        "time": trade.at_ms,
        "isBuyerMaker": trade.is_buyer_maker,
        "isRPITrade": False,
    }


def _aggregate(book: ContractBook, trade: Trade) -> Json:
    quantity = reports.quantity_text(book.spec, trade.quantity)
    return {
        "a": trade.trade_id,
        "p": reports.price_text(book.spec, trade.price),
        "q": quantity,
        "nq": quantity,
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.at_ms,
        "m": trade.is_buyer_maker,
    }


def _day(book: ContractBook, now_ms: int) -> Json:
    spec, day = book.spec, tickers.rolling(book, DAY_MS, now_ms)
    return {
        "symbol": spec.symbol,
        "priceChange": reports.price_text(spec, day.change),
        "priceChangePercent": f"{day.change_pct:.3f}",
        "weightedAvgPrice": reports.price_text(spec, day.average),
        "lastPrice": reports.price_text(spec, day.last),
        "lastQty": reports.quantity_text(spec, tickers.last_quantity(book)),
        "openPrice": reports.price_text(spec, day.open),
        "highPrice": reports.price_text(spec, day.high),
        "lowPrice": reports.price_text(spec, day.low),
        "volume": reports.quantity_text(spec, day.volume),
        "quoteVolume": amount(day.quote),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def _premium(book: ContractBook, now_ms: int) -> Json:
    spec, next_ms = book.spec, book.spec.next_funding_ms(now_ms)
    return {
        "symbol": spec.symbol,
        "markPrice": amount(book.mark or ZERO),
        "indexPrice": amount(book.index or ZERO),
        "estimatedSettlePrice": amount(book.index or ZERO),
        "lastFundingRate": amount(spec.rate_at(next_ms)),
        "interestRate": amount(INTEREST),
        "nextFundingTime": next_ms,
        "time": now_ms,
    }


def _settlements(
    book: ContractBook, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int
) -> list[tuple[int, Json]]:
    """Oldest first; from a start onwards, else the newest."""
    spec, step_ms = book.spec, book.spec.funding_interval_ms
    last_ms = min(now_ms, _END_OF_TIME_MS if end_ms is None else end_ms)
    first_ms = max(spec.onboard_ms, book.series.begins_ms() or now_ms, start_ms or 0)
    times = range(-(-first_ms // step_ms) * step_ms, last_ms + 1, step_ms)
    chosen = times[:limit] if start_ms is not None else times[-limit:]
    rows: list[tuple[int, Json]] = []
    for at_ms in chosen:
        before = book.series.newest("1m", at_ms - 1, 1)
        if before:
            row: Json = {
                "symbol": spec.symbol,
                "fundingRate": amount(spec.rate_at(at_ms)),
                "fundingTime": at_ms,
                "markPrice": amount(before[-1].close + book.basis),
                "rateType": "Regular",
            }
            rows.append((at_ms, row))
    return rows


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API}/ping"): Call(ping, 1),
    ("GET", f"{API}/time"): Call(time, 1),
    ("GET", f"{API}/exchangeInfo"): Call(exchange_info, 1),
    ("GET", f"{API}/klines"): Call(klines, kline_weight),
    ("GET", f"{API}/continuousKlines"): Call(pair_klines, kline_weight),
    ("GET", f"{API}/markPriceKlines"): Call(mark_klines, kline_weight),
    ("GET", f"{API}/indexPriceKlines"): Call(index_klines, kline_weight),
    ("GET", f"{API}/premiumIndexKlines"): Call(premium_klines, kline_weight),
    ("GET", f"{API}/depth"): Call(depth, depth_weight),
    ("GET", f"{API}/trades"): Call(trades, 5),
    ("GET", f"{API}/historicalTrades"): Call(historical_trades, 200, "key"),
    ("GET", f"{API}/aggTrades"): Call(aggregate_trades, 20),
    ("GET", f"{API}/ticker/24hr"): Call(ticker_day, one_or_all(1, 40)),
    ("GET", f"{API}/ticker/price"): Call(ticker_price, one_or_all(1, 2)),
    ("GET", f"{API2}/ticker/price"): Call(ticker_price, one_or_all(1, 2)),
    ("GET", f"{API}/ticker/bookTicker"): Call(ticker_book, one_or_all(2, 5)),
    ("GET", f"{API}/premiumIndex"): Call(premium_index, one_or_all(1, 10)),
    ("GET", f"{API}/fundingRate"): Call(funding_rates, 0, is_about_funding=True),
    ("GET", f"{API}/fundingInfo"): Call(funding_info, 0, is_about_funding=True),
    ("GET", f"{API}/openInterest"): Call(open_interest, 1),
}
SOCKET: Final[dict[str, Call]] = {
    "depth": REST["GET", f"{API}/depth"],
    "ticker.price": REST["GET", f"{API2}/ticker/price"],
    "ticker.book": REST["GET", f"{API}/ticker/bookTicker"],
}
