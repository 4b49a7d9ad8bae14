"""Every recorded message and documented example in the shared data, and what the codec makes of it.

`python -m tests.binance.coverage` prints the table per source. An example either has a reader here or a reason why it
has none; `outside` are messages of other services (wallet, margin, convert), which the bot does not talk to.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from surefoot.binance import codec, quotes
from surefoot.binance.futures import codec as futures
from surefoot.core.messages import ReplaceOrder
from surefoot.core.model import OrderRequest, OrderType, Purpose, Side
from tests.payloads.reading import DATA

AT_MS = 1_790_000_000_000
SALE = OrderRequest("bot-2", "BTCUSDT", Side.SELL, OrderType.MARKET, Purpose.EXIT, Decimal(1))
REPLACE = ReplaceOrder(AT_MS, "bot-1", SALE)

Reader = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Example:
    """One message: where it is from, what it is (see the tables below), and its bytes."""

    source: str
    key: str
    body: bytes


# ---------------------------------------------------------------------------------------------------------------
# Readers


_read_order = partial(codec.read_order, at_ms=AT_MS)
_read_list = partial(codec.read_list, at_ms=AT_MS)
_read_cancel = partial(codec.read_cancel, at_ms=AT_MS)
_read_replace = partial(codec.read_replace, at_ms=AT_MS)
_read_futures_order = partial(futures.read_order, at_ms=AT_MS)
_read_futures_cancel = partial(futures.read_cancel, at_ms=AT_MS)
_read_algo_cancel = partial(futures.read_algo_cancel, at_ms=AT_MS)
_read_trades = partial(codec.read_trades, client_order_id="bot-1", at_ms=AT_MS)
_read_futures_trades = partial(futures.read_trades, client_order_id="bot-1", at_ms=AT_MS)
_read_klines = partial(codec.read_klines, symbol="BTCUSDT", interval="1h")


def _read_rules(body: bytes) -> object:
    return codec.read_instruments(body), codec.read_rate_limits(body)


def _read_symbols(body: bytes) -> object:
    return codec.read_instruments(body)


def _read_filter(body: bytes) -> object:
    symbol = {
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8, "quoteAsset": "USDT",
        "quoteAssetPrecision": 8, "orderTypes": [], "isSpotTradingAllowed": True, "filters": [json.loads(body)],
    }  # fmt: skip
    return codec.read_instruments(json.dumps({"symbols": [symbol]}).encode())


def _read_replace_failure(body: bytes) -> object:
    return codec.read_replace_failure(body, REPLACE, AT_MS)


def _read_refusal(body: bytes) -> object:
    error = codec.read_error(400, body)
    if error.code is None:
        raise codec.BadFrame(error.text)
    return error


def _read_event(body: bytes) -> object:
    """An event of the account, with what it means to the engine."""
    event = codec.read_account_frame(body)
    if isinstance(event, codec.Ignored):
        raise codec.BadFrame(f"nobody reads {event.kind}")
    return (event, codec.order_events(event, AT_MS)) if isinstance(event, codec.ExecutionReport) else event


def _read_candle(body: bytes) -> object:
    frame = codec.read_stream(body)
    if isinstance(frame, codec.Ignored):
        raise codec.BadFrame(f"nobody reads {frame.kind}")
    return frame


def _read_best(body: bytes) -> object:
    """A best price as the session reads it, and as the order book is held against."""
    return codec.read_stream(body), quotes.read_quote(body)


def _read_quote(body: bytes) -> object:
    quote = quotes.read_quote(body)
    if quote is None:
        raise codec.BadFrame("nobody reads it")
    return quote


def _read_contracts(body: bytes) -> object:
    return futures.read_instruments(body), codec.read_rate_limits(body)


def _read_futures_event(body: bytes) -> object:
    """An event of the account as the session reads it, with what it means to the engine."""
    event = futures.read_account_frame(body)
    if isinstance(event, codec.Ignored):
        raise codec.BadFrame(f"nobody reads {event.kind}")
    if isinstance(event, futures.OrderTradeUpdate):
        return event, futures.order_events(event.order, event.order.client_order_id, AT_MS)
    return (event, futures.algo_events(event.order, AT_MS)) if isinstance(event, futures.AlgoUpdate) else event


# ---------------------------------------------------------------------------------------------------------------
# What is read. Keys are the documentation's headings, calls (`spot GET /api/v3/time`), methods of the WebSocket API
# (`spot order.place`) and streams (`spot @kline`).

READ: dict[str, Reader] = {
    "refusal": _read_refusal,
    "cancel-replace refusal": _read_replace_failure,
    "stream answer": codec.read_stream,
    # documentation, REST and WebSocket API
    "Check server time": codec.read_time,
    "How to show/hide rate limit information": codec.read_time,
    "Order book": quotes.read_depth,
    "Kline/Candlestick data": _read_klines,
    "Klines": _read_klines,
    "UIKlines": _read_klines,
    "UI Klines": _read_klines,
    "Symbol order book ticker": quotes.read_best,
    "New order (TRADE)": _read_order,
    "Place new order (TRADE)": _read_order,
    "New order using SOR (TRADE)": _read_order,
    "Response format": _read_order,
    "Unfilled Order Count": _read_order,
    "Cancel order (TRADE)": _read_cancel,
    "Cancel Order list (TRADE)": _read_cancel,
    "Cancel an Existing Order and Send a New Order (TRADE)": _read_replace,
    "Cancel and replace order (TRADE)": _read_replace,
    "New OCO - Deprecated (TRADE)": _read_list,
    "Place new OCO - Deprecated (TRADE)": _read_list,
    "New Order list - OCO (TRADE)": _read_list,
    "Place new Order list - OCO (TRADE)": _read_list,
    "New Order list - OTO (TRADE)": _read_list,
    "Place new Order list - OTO (TRADE)": _read_list,
    "New Order list - OTOCO (TRADE)": _read_list,
    "Place new Order list - OTOCO (TRADE)": _read_list,
    "New Order List - OPO (TRADE)": _read_list,
    "OPO (TRADE)": _read_list,
    "New Order List - OPOCO (TRADE)": _read_list,
    "OPOCO (TRADE)": _read_list,
    "Account information (USER_DATA)": codec.read_account,
    "Query order (USER_DATA)": _read_order,
    "Current open orders (USER_DATA)": codec.read_open_orders,
    "All orders (USER_DATA)": codec.read_open_orders,
    "Account order history (USER_DATA)": codec.read_open_orders,
    "Account trade list (USER_DATA)": _read_trades,
    "Account trade history (USER_DATA)": _read_trades,
    "Query Commission Rates (USER_DATA)": codec.read_fee_rates,
    "Account Commission Rates (USER_DATA)": codec.read_fee_rates,
    # documentation, events and streams
    "event": _read_event,
    "Exchange information": _read_rules,
    "Server Shutdown": codec.read_stream,
    "Kline/Candlestick Streams for UTC": _read_candle,
    "Kline/Candlestick Streams with timezone offset": _read_candle,
    "Individual Symbol Book Ticker Streams": _read_best,
    "Aggregate Trade Streams": _read_quote,
    "Trade Streams": _read_quote,
    "Individual Symbol Ticker Streams": _read_quote,
    "Partial Book Depth Streams": _read_quote,
    "Diff. Depth Stream": _read_quote,
    # documentation, filters
    "PRICE_FILTER": _read_filter,
    "PERCENT_PRICE": _read_filter,
    "PERCENT_PRICE_BY_SIDE": _read_filter,
    "LOT_SIZE": _read_filter,
    "MARKET_LOT_SIZE": _read_filter,
    "MIN_NOTIONAL": _read_filter,
    "NOTIONAL": _read_filter,
    "MAX_NUM_ORDERS": _read_filter,
    # examples of calls
    "spot GET /api/v3/account": codec.read_account,
    "spot GET /api/v3/account/commission": codec.read_fee_rates,
    "spot GET /api/v3/allOrders": codec.read_open_orders,
    "spot GET /api/v3/depth": quotes.read_depth,
    "spot GET /api/v3/klines": _read_klines,
    "spot GET /api/v3/myTrades": _read_trades,
    "spot DELETE /api/v3/order": _read_cancel,
    "spot DELETE /api/v3/orderList": _read_cancel,
    "spot POST /api/v3/orderList/oco": _read_list,
    "spot POST /api/v3/orderList/oto": _read_list,
    "usdm GET /fapi/v1/depth": quotes.read_depth,
    "usdm GET /fapi/v1/klines": _read_klines,
    "usdm GET /fapi/v1/ticker/bookTicker": quotes.read_best,
    "usdm GET /fapi/v1/premiumIndex": futures.read_mark_price,
    "spot GET /api/v3/exchangeInfo": _read_rules,
    "spot account.status": codec.read_account,
    "spot depth": quotes.read_depth,
    "spot klines": _read_klines,
    "spot uiKlines": _read_klines,
    "spot order.place": _read_order,
    "spot order.cancel": _read_cancel,
    "spot orderList.cancel": _read_cancel,
    "usdm depth": quotes.read_depth,
    # examples and recordings of streams
    "spot @aggTrade": _read_quote,
    "spot @trade": _read_quote,
    "spot @bookTicker": _read_best,
    "spot @depth": _read_quote,
    "spot @depth5": _read_quote,
    "spot @kline": _read_candle,
    "usdm @aggTrade": _read_quote,
    "usdm @trade": _read_quote,
    "usdm @bookTicker": _read_best,
    "usdm @markPrice": codec.read_stream,
    "usdm @depth": _read_quote,
    "usdm @depth5": _read_quote,
    "usdm @kline": _read_candle,
    # futures: calls and events of the account
    "usdm GET /fapi/v1/exchangeInfo": _read_contracts,
    "usdm GET /fapi/v1/leverageBracket": futures.read_brackets,
    "usdm GET /fapi/v1/commissionRate": futures.read_fee_rates,
    "usdm GET /fapi/v1/symbolConfig": futures.read_symbol_configs,
    "usdm POST /fapi/v1/listenKey": futures.read_listen_key,
    "usdm GET /fapi/v3/positionRisk": futures.read_positions,
    "usdm v2/account.position": futures.read_positions,
    "usdm v2/account.status": futures.read_balances,
    "usdm GET /fapi/v1/openOrders": futures.read_open_orders,
    "usdm GET /fapi/v1/allAlgoOrders": futures.read_open_algo_orders,
    "usdm GET /fapi/v1/order": _read_futures_order,
    "usdm order.status": _read_futures_order,
    "usdm DELETE /fapi/v1/order": _read_futures_cancel,
    "usdm order.cancel": _read_futures_cancel,
    "usdm DELETE /fapi/v1/algoOrder": _read_algo_cancel,
    "usdm GET /fapi/v1/userTrades": _read_futures_trades,
    "usdm ACCOUNT_UPDATE": _read_futures_event,
    "usdm MARGIN_CALL": _read_futures_event,
    "usdm ACCOUNT_CONFIG_UPDATE": _read_futures_event,
}

# ---------------------------------------------------------------------------------------------------------------
# What is not read, and why

REQUEST = "what a client says: ours are held against the documentation in test_signing"
UNASKED = "the bot does not ask for it"
NO_FILTER = "a filter of orders that the bot does not place"
ALL_THERE_IS = "that it was done is all there is to it"
TORN = "a comment where the fields were"

LOW_ABOVE_OPEN = ("impossible candle", "its low is above its open")
COMMENTED = ("missing required field", "a comment where the limits were")

LEFT: dict[str, str] = {
    "request": REQUEST,
    "text": "no JSON: a rule in words or code",
    "empty": "an empty object: there is nothing in it to read",
    "IP limits": UNASKED,
    "How to interpret rate limits": UNASKED,
    "Rolling window price change statistics": UNASKED,
    "Query Execution Rules": UNASKED,
    "Recent trades list": "trades are read from streams",
    "Recent trades": "trades are read from streams",
    "Old trade lookup": "trades are read from streams",
    "Historical trades": "trades are read from streams",
    "Compressed/Aggregate trades list": "trades are read from streams",
    "Aggregate trades": "trades are read from streams",
    "Historical Block Trades": UNASKED,
    "Block Trade Streams": UNASKED,
    "Current average price": UNASKED,
    "Average Price": UNASKED,
    "24hr ticker price change statistics": "the day's ticker is read from its stream",
    "Trading Day Ticker": UNASKED,
    "Symbol price ticker": "the last price is read with the trades",
    "several best prices": "best prices are asked for one symbol at a time",
    "Query Reference Price": UNASKED,
    "Query Reference Price Calculation": UNASKED,
    "Reference Price Streams": UNASKED,
    "Test new order (TRADE)": UNASKED,
    "Test new order using SOR (TRADE)": UNASKED,
    "Place new order using SOR (TRADE)": "one row in a list where an order should be: only for a router we do not use",
    "Cancel All Open Orders on a Symbol (TRADE)": "orders are cancelled by their ids, never those of others",
    "Cancel open orders (TRADE)": "orders are cancelled by their ids, never those of others",
    "Order Amend Keep Priority (TRADE)": "orders are replaced, not amended",
    "Query Order Amendments (USER_DATA)": "orders are replaced, not amended",
    "Query Order list (USER_DATA)": "the orders of a list are read by themselves",
    "Query all Order lists (USER_DATA)": "the orders of a list are read by themselves",
    "Query Open Order lists (USER_DATA)": "the orders of a list are read by themselves",
    "Current open Order lists (USER_DATA)": "the orders of a list are read by themselves",
    "Account order list history (USER_DATA)": "the orders of a list are read by themselves",
    "Query Unfilled Order Count (USER_DATA)": "each placement's headers tell it",
    "Unfilled Order Count (USER_DATA)": "each placement's headers tell it",
    "Query Prevented Matches (USER_DATA)": UNASKED,
    "Account prevented matches (USER_DATA)": UNASKED,
    "Query Allocations (USER_DATA)": UNASKED,
    "Account allocations (USER_DATA)": UNASKED,
    "Query relevant filters (USER_DATA)": UNASKED,
    "Query Relevant Filters (USER_DATA)": UNASKED,
    "Log in with API key (SIGNED)": "requests are signed one by one; no session is logged on",
    "Query session status": "requests are signed one by one; no session is logged on",
    "Log out of the session": "requests are signed one by one; no session is logged on",
    "External Lock Update": "the account is read anew instead",
    "Listing all subscriptions": UNASKED,
    "Subscribe to User Data Stream (USER_STREAM)": ALL_THERE_IS,
    "Subscribe to User Data Stream through signature subscription (USER_STREAM)": ALL_THERE_IS,
    "Individual Symbol Mini Ticker Stream": UNASKED,
    "All Market Mini Tickers Stream": TORN,
    "Individual Symbol Rolling Window Statistics Streams": UNASKED,
    "All Market Rolling Window Statistics Streams": TORN,
    "ICEBERG_PARTS": NO_FILTER,
    "MAX_NUM_ALGO_ORDERS": "how many stops may rest is refused by the venue when it is too many: one a position here",
    "MAX_NUM_ICEBERG_ORDERS": NO_FILTER,
    "MAX_NUM_ORDER_AMENDS": NO_FILTER,
    "MAX_NUM_ORDER_LISTS": "one list a position: far below",
    "TRAILING_DELTA": NO_FILTER,
    "MAX_POSITION": "of no symbol that is traded; a refusal of the entry is what would come of it",
    "MAX_ASSET": "of no asset that is traded; a refusal of the entry is what would come of it",
    "EXCHANGE_MAX_NUM_ORDERS": "far above what the bot may hold",
    "EXCHANGE_MAX_NUM_ALGO_ORDERS": "far above what the bot may hold",
    "EXCHANGE_MAX_NUM_ICEBERG_ORDERS": NO_FILTER,
    "EXCHANGE_MAX_NUM_ORDER_LISTS": "far above what the bot may hold",
    # examples of calls and streams
    "spot DELETE /api/v3/openOrders": "orders are cancelled by their ids, never those of others",
    "spot openOrders.cancelAll": "orders are cancelled by their ids, never those of others",
    "spot GET /api/v3/aggTrades": "trades are read from streams",
    "spot GET /api/v3/historicalTrades": "trades are read from streams",
    "spot trades.recent": "trades are read from streams",
    "spot GET /api/v3/allOrderList": "the orders of a list are read by themselves",
    "spot orderList.status": "the orders of a list are read by themselves",
    "spot GET /api/v3/referencePrice": UNASKED,
    "spot GET /api/v3/ticker": UNASKED,
    "spot GET /api/v3/ticker/24hr": "the day's ticker is read from its stream",
    "spot GET /api/v3/ticker/price": "the last price is read with the trades",
    "spot GET /api/v3/ticker/tradingDay": UNASKED,
    "spot POST /api/v3/order/test": UNASKED,
    "spot PUT /api/v3/order/amend/keepPriority": "orders are replaced, not amended",
    "spot order.amend.keepPriority": "orders are replaced, not amended",
    "spot avgPrice": UNASKED,
    "spot myPreventedMatches": UNASKED,
    "spot ticker.book": "best prices are asked for one symbol at a time",
    "spot @miniTicker": UNASKED,
    "usdm DELETE /fapi/v1/algoOpenOrders": "orders are cancelled by their ids, never those of others",
    "usdm GET /fapi/v1/fundingRate": "what was paid is read from the income",
    "usdm GET /fapi/v2/positionRisk": "positions are read in the newer form",
    "usdm POST /fapi/v1/marginType": "what was set is read back",
    "usdm CONDITIONAL_ORDER_TRIGGER_REJECT": "withdrawn: the update of the conditional order says it",
    "usdm TRADE_LITE": "the full update of the order follows",
    "usdm DELETE /fapi/v1/listenKey": UNASKED,
    "usdm GET /fapi/v1/aggTrades": "trades are read from streams",
    "usdm GET /fapi/v1/historicalTrades": "trades are read from streams",
    "usdm GET /fapi/v1/apiTradingStatus": UNASKED,
    "usdm GET /fapi/v1/feeBurn": UNASKED,
    "usdm GET /fapi/v1/fundingInfo": UNASKED,
    "usdm GET /fapi/v1/income/asyn": UNASKED,
    "usdm GET /fapi/v1/indexInfo": UNASKED,
    "usdm GET /fapi/v1/indexPriceKlines": UNASKED,
    "usdm GET /fapi/v1/multiAssetsMargin": UNASKED,
    "usdm GET /fapi/v1/order/asyn": UNASKED,
    "usdm GET /fapi/v1/positionMargin/history": UNASKED,
    "usdm GET /fapi/v1/premiumIndexKlines": UNASKED,
    "usdm GET /fapi/v2/ticker/price": "the last price is read with the trades",
    "usdm GET /futures/data/basis": UNASKED,
    "usdm GET /futures/data/topLongShortPositionRatio": UNASKED,
    "usdm POST /fapi/v1/batchOrders": "orders are placed one by one",
    "usdm PUT /fapi/v1/batchOrders": "orders are placed one by one",
    "usdm POST /fapi/v1/feeBurn": UNASKED,
    "usdm POST /fapi/v1/multiAssetsMargin": UNASKED,
    "usdm PUT /fapi/v1/order": "orders are replaced, not amended",
    "usdm order.modify": "orders are replaced, not amended",
    "usdm ticker.book": "best prices are asked for one symbol at a time",
    "usdm ticker.price": "the last price is read with the trades",
    "usdm !assetIndex@arr": UNASKED,
    "usdm GRID_UPDATE": UNASKED,
    "usdm STRATEGY_UPDATE": UNASKED,
}

# What the codec refuses, as it should: what its complaint holds, and why the example is not like the venue's messages.
REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("documentation web-socket-streams.md", "Kline/Candlestick Streams for UTC"): LOW_ABOVE_OPEN,
    ("documentation web-socket-streams.md", "Kline/Candlestick Streams with timezone offset"): LOW_ABOVE_OPEN,
    ("binance_net Subscriptions UsdFutures", "usdm @kline"): LOW_ABOVE_OPEN,
    ("binance_net Subscriptions Spot", "spot @kline"): ("missing required field", "shortened to its open time"),
    ("binance_net Endpoints Spot", "spot GET /api/v3/exchangeInfo"): COMMENTED,
    ("documentation rest-api.md", "Exchange information"): COMMENTED,
    ("binance_net Endpoints UsdFutures", "usdm GET /fapi/v3/positionRisk"): (
        "hedge mode",
        "a hedged account: the bot requires one-way mode",
    ),
    ("documentation rest-api.md", "New order using SOR (TRADE)"): (
        "fill -1",
        "fills of a router we do not use: no trade id",
    ),
}

# ---------------------------------------------------------------------------------------------------------------
# Sources


def examples(data: Path = DATA, every: int = 1) -> Iterator[Example]:
    """Every example in the shared data, in a fixed order; of the long recordings only every so many'th."""
    yield from _documented(data / "measure/fixtures/binance_docs_examples.jsonl")
    for folder, read in (("Endpoints", _endpoint), ("Socket", _dialogue), ("Subscriptions", _dialogue)):
        for market in ("Spot", "UsdFutures"):
            for file in sorted((data / "open/fixtures/binance_net" / folder / market).rglob("*.txt")):
                yield from read(
                    f"binance_net {folder} {market}", "spot" if market == "Spot" else "usdm", file.read_text()
                )
    for file in sorted((data / "open/fixtures/cryptofeed").glob("*.gz")):
        yield from _recorded(f"cryptofeed {file.name}", "usdm" if "FUTURES" in file.name else "spot", file)
    for file in sorted((data / "open/ticks").rglob("*.gz")):
        yield from islice(_recorded(f"ticks {file.parent.name} {file.name}", file.parent.name, file), 0, None, every)
    for file in sorted((data / "measure/raw_klines_json").glob("*.json")):
        yield Example("raw klines", "spot GET /api/v3/klines", file.read_bytes())
    basana = data / "open/fixtures/basana"
    yield Example(
        "basana", "spot GET /api/v3/exchangeInfo", (basana / "binance_btc_usdt_exchange_info.json").read_bytes()
    )
    yield Example(
        "basana", "spot @depth", _wrapped("spot@depth", json.loads((basana / "binance_depth_update.json").read_text()))
    )
    for name in ("cross", "isolated"):
        body = (basana / f"binance_{name}_margin_account_details.json").read_bytes()
        yield Example("basana", "spot GET /sapi/v1/margin", body)


def _documented(file: Path) -> Iterator[Example]:
    for line in file.read_text().splitlines():
        row = json.loads(line)
        source, title = f"documentation {row['file']}", row["section"].rpartition(" > ")[2]
        if "json" not in row:
            yield Example(source, "text", row["text"].encode())
            continue
        value = row["json"]
        if isinstance(value, dict) and "method" in value:
            yield Example(source, "request", json.dumps(value).encode())
        elif isinstance(value, dict) and ("event" in value or row["file"] == "user-data-stream.md"):
            key = "event" if "externalLockUpdate" not in line else title
            yield Example(source, key, json.dumps(value).encode())
        elif row["file"] == "web-socket-streams.md":
            yield _documented_frame(source, title, value)
        else:
            yield Example(source, _key_of(title, value), json.dumps(value).encode())


# What a stream is called when its documented data is put into a combined frame.
STREAM_OF = {
    "Kline/Candlestick Streams for UTC": "bnbbtc@kline_1m",
    "Kline/Candlestick Streams with timezone offset": "bnbbtc@kline_1m",
    "Individual Symbol Book Ticker Streams": "bnbusdt@bookTicker",
    "Aggregate Trade Streams": "bnbbtc@aggTrade",
    "Trade Streams": "bnbbtc@trade",
    "Individual Symbol Ticker Streams": "bnbbtc@ticker",
    "Partial Book Depth Streams": "bnbbtc@depth5",
    "Diff. Depth Stream": "bnbbtc@depth",
}


def _documented_frame(source: str, title: str, value: Any) -> Example:
    if isinstance(value, dict) and "id" in value:
        return Example(source, "stream answer", json.dumps(value).encode())
    if title in STREAM_OF:
        return Example(source, title, _wrapped(STREAM_OF[title], value))
    return Example(source, title, json.dumps(value).encode())


def _key_of(title: str, value: Any) -> str:
    answer = value.get("result", value) if isinstance(value, dict) else value
    if title == "Symbol order book ticker" and isinstance(answer, list):
        return "several best prices"
    if isinstance(value, dict) and ("error" in value or "code" in value):
        refusal = value.get("error", value)
        return "cancel-replace refusal" if "cancelResult" in refusal.get("data", {}) else "refusal"
    return "empty" if answer == {} else title


def _endpoint(source: str, market: str, text: str) -> Iterator[Example]:
    method, path, _, *rest = text.split("\n", 3)
    body = "".join(rest).strip()
    key = f"{market} {method.strip()} {path.strip()}"
    yield Example(source, "empty" if body in ("", "{}") and "/sapi/" not in key else key, body.encode())


def _dialogue(source: str, market: str, text: str) -> Iterator[Example]:
    """Requests (>), answers (<) and what follows (=); `|1|` stands for the number of a request."""
    text = re.sub(r'"?\|[^|]*\|"?', "1", text)
    method = ""
    for part in re.split(r"\n(?=[<>=])", text):
        kind, body = part[0], part.lstrip("<>=0123456789").strip()
        value = json.loads(body)
        if kind == ">":
            method = value["method"]
            yield Example(source, "request", body.encode())
        elif kind == "<":
            yield Example(source, "stream answer", body.encode())
        elif "stream" in value:
            yield Example(source, _stream_key(market, value), body.encode())
        elif "event" in value:
            yield Example(
                source, "event" if value["event"]["e"] == "balanceUpdate" else value["event"]["e"], body.encode()
            )
        else:
            yield Example(source, f"{market} {method}", body.encode())


def _recorded(source: str, market: str, file: Path) -> Iterator[Example]:
    """Lines of `<url> -> <time>: <body>`, `<time>: <message>` or `<time> <message>`."""
    with gzip.open(file, "rt") as lines:
        for line in lines:
            head, _, rest = line.partition(" ")
            if head.startswith("http"):
                path = re.sub(r"^https://[^/]+([^?]+).*$", r"\1", head)
                yield Example(source, f"{market} GET {path}", rest.partition(": ")[2].strip().encode())
            elif head.rstrip(":").replace(".", "").isdigit():
                body = rest.strip().encode()
                is_read = rest.startswith('{"lastUpdateId"')
                path = "/api/v3/depth" if market == "spot" else "/fapi/v1/depth"
                key = f"{market} GET {path}" if is_read else _stream_key(market, msgspec.json.decode(body))
                yield Example(source, key, body)


def _stream_key(market: str, value: dict[str, Any]) -> str:
    stream = value["stream"]
    if "@" not in stream or stream.startswith("!"):
        return f"{market} {value['data'].get('e') if isinstance(value['data'], dict) else stream}"
    return f"{market} @{stream.partition('@')[2].partition('@')[0].partition('_')[0]}"


def _wrapped(stream: str, data: Any) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


# ---------------------------------------------------------------------------------------------------------------
# The verdict


def is_outside(key: str) -> bool:
    """Whether a message is of a service that is neither market's."""
    return (
        "/sapi/" in key
        or "/convert/" in key
        or key in ("spot USER_LIABILITY_CHANGE", "spot MARGIN_LEVEL_STATUS_CHANGE")
    )


def problem_of(example: Example) -> str | None:
    """What is wrong with how an example is read; None when it is read exactly."""
    body = example.body
    try:
        as_it_stands = "@" in example.key or example.key in AS_IT_STANDS
        value = READ[example.key](body if as_it_stands else _result_of(body))
    except codec.BadFrame as problem:
        return str(problem)
    texts = set(_numbers.findall(body))
    invented = [amount for amount in _decimals(value) if format(amount, "f").encode() not in texts]
    if invented:  # steps are told without the zeros at their end
        known = _DEFAULTS | {Decimal(text.decode()) for text in texts}
        invented = [amount for amount in invented if amount not in known]
    if invented and READ[example.key] is not codec.read_fee_rates:  # fees are sums
        return f"{invented[:3]} stand nowhere in the message"
    return None


# What the codec takes as it stands; from all else of the WebSocket API it takes the result.
AS_IT_STANDS = frozenset({"event", "stream answer", "Server Shutdown"})


def _result_of(body: bytes) -> bytes:
    value = msgspec.json.decode(body)
    if not (isinstance(value, dict) and "status" in value and "id" in value):
        return body
    reply = codec.read_account_frame(body)
    assert isinstance(reply, codec.WsReply)
    if reply.error is None:
        return reply.body
    return json.dumps(value["error"]).encode()


_numbers = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


# What stands for a number that is missing: zero, and the smallest digit of an asset.
_DEFAULTS = frozenset({Decimal(0)} | {Decimal(1).scaleb(-places) for places in range(19)})


def _decimals(value: object) -> Iterator[Decimal]:
    """Every decimal in what a reader made; a float is a failure of the test."""
    assert not isinstance(value, float)
    if isinstance(value, Decimal):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _decimals(each)
    elif isinstance(value, msgspec.Struct) or hasattr(value, "__dataclass_fields__"):
        for each in msgspec.structs.astuple(value) if isinstance(value, msgspec.Struct) else _fields(value):
            yield from _decimals(each)


def _fields(value: Any) -> list[object]:
    return [getattr(value, name) for name in value.__dataclass_fields__]


@dataclass
class Tally:
    """Counts of one source, and of what is left by its reason."""

    read: int = 0
    left: int = 0
    outside: int = 0


def count(data: Path = DATA, every: int = 1) -> tuple[dict[str, Tally], Counter[tuple[str, str]], list[str]]:
    """Tallies by source, how often each (key, reason) was left, and the failures in words."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    left: Counter[tuple[str, str]] = Counter()
    failures = []
    for example in examples(data, every):
        tally = tallies[example.source]
        if is_outside(example.key):
            tally.outside += 1
        elif example.key in LEFT:
            tally.left += 1
            left[example.key, LEFT[example.key]] += 1
        elif example.key not in READ:
            failures.append(f"{example.source}: {example.key!r} has neither a reader nor a reason")
        elif (example.source, example.key) in REFUSED:
            complaint, reason = REFUSED[example.source, example.key]
            tally.left += 1
            left[example.key, f"refused: {reason}"] += 1
            if complaint not in (problem_of(example) or ""):
                failures.append(f"{example.source}: {example.key} should be refused")
        elif (problem := problem_of(example)) is not None:
            failures.append(f"{example.source}: {example.key}: {problem}")
        else:
            tally.read += 1
    return tallies, left, failures


def main() -> int:
    tallies, left, failures = count()
    print(f"{'source':52} {'messages':>9} {'read':>8} {'left':>6} {'outside':>8}")
    total = Tally()
    for source, tally in tallies.items():
        print(
            f"{source:52} {tally.read + tally.left + tally.outside:9} {tally.read:8} {tally.left:6} {tally.outside:8}"
        )
        total = Tally(total.read + tally.read, total.left + tally.left, total.outside + tally.outside)
    print(f"{'all':52} {total.read + total.left + total.outside:9} {total.read:8} {total.left:6} {total.outside:8}")
    print("\nleft, and why")
    for (key, reason), number in sorted(left.items(), key=lambda item: item[0]):
        print(f"{number:5}  {key}: {reason}")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
