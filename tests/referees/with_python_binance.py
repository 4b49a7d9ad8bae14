"""python-binance, spot and USDⓈ-M, unmodified, as an asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from binance.ws.depthcache import DepthCacheManager

from tests.referees.checks import Referee, Venue, expect, venue

SYMBOL = "BTCUSDT"
NO_FUNDS, NO_MARGIN = -2010, -2019


def client(at: Venue) -> AsyncClient:
    """A client whose addresses are the venue's."""
    made = AsyncClient(at.key, at.secret)
    made.API_URL = f"{at.rest}/api"
    made.MARGIN_API_URL = f"{at.rest}/sapi"
    made.FUTURES_URL = f"{at.rest}/fapi"
    made.FUTURES_DATA_URL = f"{at.rest}/futures/data"
    made.ws_api._url = f"{at.socket}/ws-api/v3"
    return made


def sockets(it: AsyncClient, at: Venue) -> BinanceSocketManager:
    made = BinanceSocketManager(it)
    made.STREAM_URL = f"{at.socket}/"
    made.FSTREAM_URL = f"{at.socket}/"
    return made


async def main() -> None:
    at = venue()
    it = client(at)
    try:
        await on_spot(Referee("python-binance", "spot"), it, at)
        await on_futures(Referee("python-binance", "um"), it, at)
    finally:
        await it.close_connection()


async def first(socket: Any, wanted: Callable[[Any], bool], act: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """The first message of a socket that is wanted; `act` is done once it is open."""
    async with socket as stream:
        if act is not None:
            await act()
        while True:
            message = await stream.recv()
            if wanted(message):
                return message


def is_kind(kind: str) -> Callable[[Any], bool]:
    return lambda message: message.get("e", message.get("data", {}).get("e")) == kind


async def on_spot(referee: Referee, it: AsyncClient, at: Venue) -> None:
    streams = sockets(it, at)

    async def candles() -> float:
        rows = await it.get_historical_klines(SYMBOL, "1m", "1 hour ago UTC")
        expect(len(rows) >= 59, f"an hour of candles, not {len(rows)}")
        return float(rows[-1][4])

    async def rules() -> None:
        expect((await it.get_symbol_info(SYMBOL))["filters"], "filters")

    async def account() -> None:
        held = {row["asset"]: float(row["free"]) for row in (await it.get_account())["balances"]}
        expect(held["USDT"] > 0, "some USDT")

    price = await referee.sees("candles", candles)
    await referee.sees_all(
        {
            "ping": it.ping,
            "clock": it.get_server_time,
            "symbol rules": rules,
            "book": lambda: it.get_order_book(symbol=SYMBOL),
            "public trades": lambda: it.get_recent_trades(symbol=SYMBOL),
            "aggregate trades": lambda: it.get_aggregate_trades(symbol=SYMBOL),
            "average price": lambda: it.get_avg_price(symbol=SYMBOL),
            "ticker": lambda: it.get_ticker(symbol=SYMBOL),
            "all prices": it.get_all_tickers,
            "best bid and ask": lambda: it.get_orderbook_ticker(symbol=SYMBOL),
            "account": account,
            "key permissions": it.get_account_api_permissions,
            "trading fees": lambda: it.get_trade_fee(symbol=SYMBOL),
        }
    )
    if price is None:
        return
    below, lower, above, higher = (str(round(price * share)) for share in (0.9, 0.89, 1.1, 1.11))

    async def buys() -> None:
        order = await it.order_market_buy(symbol=SYMBOL, quantity="0.05")
        expect(order["status"] == "FILLED" and order["fills"], "a filled order with its fills")

    async def sells() -> None:
        expect((await it.order_market_sell(symbol=SYMBOL, quantity="0.01"))["status"] == "FILLED", "a filled order")

    await referee.sees_all(
        {
            "test order": lambda: it.create_test_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01"),
            "market order, by quantity": buys,
            "market order, by cost": lambda: it.order_market_buy(symbol=SYMBOL, quoteOrderQty="500"),
            "market order, sale": sells,
        }
    )
    sale = {"symbol": SYMBOL, "side": "SELL", "quantity": "0.01"}
    resting: dict[str, dict[str, str]] = {
        "limit": {**sale, "type": "LIMIT", "timeInForce": "GTC", "price": above},
        "limit maker": {**sale, "type": "LIMIT_MAKER", "price": above},
        "iceberg": {**sale, "type": "LIMIT", "timeInForce": "GTC", "price": above, "icebergQty": "0.002"},
        "stop loss": {**sale, "type": "STOP_LOSS", "stopPrice": below},
        "stop loss limit": {
            **sale, "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "stopPrice": below, "price": lower,
        },
        "take profit": {**sale, "type": "TAKE_PROFIT", "stopPrice": above},
        "take profit limit": {
            **sale, "type": "TAKE_PROFIT_LIMIT", "timeInForce": "GTC", "stopPrice": above, "price": above,
        },
        "trailing stop": {**sale, "type": "STOP_LOSS", "trailingDelta": "200"},
    }  # fmt: skip
    for name, params in resting.items():

        async def round_trip(params: dict[str, str] = params) -> None:
            order = await it.create_order(**params)
            found = await it.get_order(symbol=SYMBOL, orderId=order["orderId"])
            expect(found["status"] == "NEW", f"a new order, not {found['status']}")
            gone = await it.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
            expect(gone["status"] == "CANCELED", "a cancelled order")

        await referee.sees(f"place, query, cancel: {name}", round_trip)

    async def oco() -> None:
        made = await it.create_oco_order(
            symbol=SYMBOL, side="SELL", quantity="0.01", aboveType="LIMIT_MAKER", abovePrice=higher,
            belowType="STOP_LOSS_LIMIT", belowStopPrice=below, belowPrice=lower, belowTimeInForce="GTC",
        )  # fmt: skip
        expect(len(made["orders"]) == 2, "two orders")
        expect(len(await it.get_open_orders(symbol=SYMBOL)) == 2, "both open")
        await it.v3_delete_order_list(symbol=SYMBOL, orderListId=made["orderListId"])
        expect(not await it.get_open_orders(symbol=SYMBOL), "none open")

    async def replaces() -> None:
        order = await it.create_order(**resting["limit"])
        made = await it.cancel_replace_order(
            symbol=SYMBOL, side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.01", price=higher,
            cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=order["orderId"],
        )  # fmt: skip
        expect(made["newOrderResult"] == "SUCCESS", "a new order")
        await it.cancel_all_open_orders(symbol=SYMBOL)

    async def refused() -> None:
        try:
            await it.order_limit_buy(symbol=SYMBOL, quantity="2", price=str(round(price * 0.99)))
        except BinanceAPIException as problem:
            expect(problem.code == NO_FUNDS, f"code {NO_FUNDS}, not {problem.code}")
            return
        raise AssertionError("a refusal for want of funds")

    async def by_socket() -> None:
        order = await it.ws_create_order(**resting["limit"])
        await it.ws_cancel_order(symbol=SYMBOL, orderId=order["orderId"])

    async def own_fill() -> None:
        await first(
            streams.user_socket(),
            lambda message: message.get("e") == "executionReport" and message["X"] == "FILLED",
            lambda: it.order_market_buy(symbol=SYMBOL, quantity="0.01"),
        )

    async def book_cache() -> None:
        async with DepthCacheManager(it, symbol=SYMBOL, bm=streams) as cache:
            for _ in range(3):
                found = await cache.recv()
                expect(found.get_bids()[0][0] < found.get_asks()[0][0], "a book that is not crossed")

    await referee.sees_all(
        {
            "order list (OCO)": oco,
            "cancel and replace": replaces,
            "refusal understood": refused,
            "own trades": lambda: it.get_my_trades(symbol=SYMBOL),
            "own orders": lambda: it.get_all_orders(symbol=SYMBOL),
            "order and cancel by socket": by_socket,
            "stream: candles": lambda: first(streams.kline_socket(SYMBOL), is_kind("kline")),
            "stream: trades": lambda: first(streams.trade_socket(SYMBOL), is_kind("trade")),
            "stream: aggregate trades": lambda: first(streams.aggtrade_socket(SYMBOL), is_kind("aggTrade")),
            "stream: ticker": lambda: first(streams.symbol_ticker_socket(SYMBOL), is_kind("24hrTicker")),
            "stream: mini ticker": lambda: first(streams.symbol_miniticker_socket(SYMBOL), is_kind("24hrMiniTicker")),
            "stream: book": book_cache,
            "stream: partial book": lambda: first(streams.depth_socket(SYMBOL, depth="5"), lambda m: bool(m["bids"])),
            "stream: best": lambda: first(streams.symbol_book_ticker_socket(SYMBOL), lambda m: bool(m["b"])),
            "stream: combined": lambda: first(
                streams.multiplex_socket([f"{SYMBOL.lower()}@trade", "ethusdt@kline_1m"]), lambda m: "stream" in m
            ),
            "stream: own fills": own_fill,
        }
    )


async def on_futures(referee: Referee, it: AsyncClient, at: Venue) -> None:
    streams = sockets(it, at)

    async def candles() -> float:
        rows = await it.futures_historical_klines(SYMBOL, "1m", "1 hour ago UTC")
        expect(len(rows) >= 59, f"an hour of candles, not {len(rows)}")
        return float(rows[-1][4])

    async def leverage() -> None:
        made = await it.futures_change_leverage(symbol=SYMBOL, leverage=5)
        expect(made["leverage"] == 5, "leverage 5")

    async def margin_type() -> None:
        await it.futures_change_margin_type(symbol=SYMBOL, marginType="ISOLATED")
        await it.futures_change_margin_type(symbol=SYMBOL, marginType="CROSSED")

    price = await referee.sees("candles", candles)
    await referee.sees_all(
        {
            "symbol rules": it.futures_exchange_info,
            "clock": it.futures_time,
            "book": lambda: it.futures_order_book(symbol=SYMBOL),
            "public trades": lambda: it.futures_recent_trades(symbol=SYMBOL),
            "aggregate trades": lambda: it.futures_aggregate_trades(symbol=SYMBOL),
            "ticker": lambda: it.futures_ticker(symbol=SYMBOL),
            "prices": lambda: it.futures_symbol_ticker(symbol=SYMBOL),
            "best bid and ask": lambda: it.futures_orderbook_ticker(symbol=SYMBOL),
            "mark price": lambda: it.futures_mark_price(symbol=SYMBOL),
            "mark price candles": lambda: it.futures_mark_price_klines(symbol=SYMBOL, interval="1m"),
            "funding rates": lambda: it.futures_funding_rate(symbol=SYMBOL),
            "leverage brackets": it.futures_leverage_bracket,
            "account": it.futures_account,
            "balance": it.futures_account_balance,
            "leverage": leverage,
            "margin type": margin_type,
            "position mode": it.futures_get_position_mode,
            "commission rate": lambda: it.futures_commission_rate(symbol=SYMBOL),
        }
    )
    if price is None:
        return
    below, above = (str(round(price * share)) for share in (0.9, 1.1))

    async def amount() -> float:
        return float((await it.futures_position_information(symbol=SYMBOL))[0]["positionAmt"])

    async def opens() -> None:
        await it.futures_create_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.05")
        expect(await amount() == -0.05, "a short position of 0.05")

    async def closes() -> None:
        await it.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.05", reduceOnly="true")
        expect(not [p for p in await it.futures_position_information() if float(p["positionAmt"])], "no position")

    async def limit() -> None:
        order = await it.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=below
        )
        found = await it.futures_get_order(symbol=SYMBOL, orderId=order["orderId"])
        expect(found["status"] == "NEW", "a new order")
        await it.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"])

    await referee.sees("open a short position", opens)
    await referee.sees("place, query, cancel: limit", limit)
    cover = {"symbol": SYMBOL, "side": "BUY"}
    conditional: dict[str, dict[str, str]] = {
        "stop market": {**cover, "type": "STOP_MARKET", "stopPrice": above, "closePosition": "true"},
        "take profit market": {**cover, "type": "TAKE_PROFIT_MARKET", "stopPrice": below, "closePosition": "true"},
        "stop": {
            **cover, "type": "STOP", "stopPrice": above, "price": above, "quantity": "0.05", "timeInForce": "GTC",
            "reduceOnly": "true",
        },
        "take profit": {
            **cover, "type": "TAKE_PROFIT", "stopPrice": below, "price": below, "quantity": "0.05",
            "timeInForce": "GTC", "reduceOnly": "true",
        },
        "trailing": {
            **cover, "type": "TRAILING_STOP_MARKET", "callbackRate": "1", "quantity": "0.05", "reduceOnly": "true",
        },
    }  # fmt: skip
    for name, params in conditional.items():

        async def round_trip(params: dict[str, str] = params) -> None:
            order = await it.futures_create_order(**params)
            found = await it.futures_get_algo_order(algoId=order["algoId"])
            expect(found["algoStatus"] == "NEW", f"a new order, not {found['algoStatus']}")
            await it.futures_cancel_algo_order(algoId=order["algoId"])

        await referee.sees(f"place, query, cancel: {name}", round_trip)

    async def refused() -> None:
        try:
            await it.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="100", price=str(round(price))
            )
        except BinanceAPIException as problem:
            expect(problem.code == NO_MARGIN, f"code {NO_MARGIN}, not {problem.code}")
            return
        raise AssertionError("a refusal for want of margin")

    async def own_fill() -> None:
        await first(
            streams.futures_user_socket(),
            lambda message: message.get("e") == "ORDER_TRADE_UPDATE" and message["o"]["X"] == "FILLED",
            lambda: it.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01"),
        )

    await referee.sees_all(
        {
            "close it, reduce only": closes,
            "refusal understood": refused,
            "own trades": lambda: it.futures_account_trades(symbol=SYMBOL),
            "own orders": lambda: it.futures_get_all_orders(symbol=SYMBOL),
            "income": it.futures_income_history,
            "stream: candles": lambda: first(
                streams.kline_futures_socket(SYMBOL), lambda m: m.get("data", m).get("e") == "continuous_kline"
            ),
            "stream: aggregate trades": lambda: first(streams.aggtrade_futures_socket(SYMBOL), is_kind("aggTrade")),
            "stream: mark price": lambda: first(streams.symbol_mark_price_socket(SYMBOL), is_kind("markPriceUpdate")),
            "stream: ticker": lambda: first(streams.symbol_ticker_futures_socket(SYMBOL), lambda m: bool(m)),
            "stream: book": lambda: first(streams.futures_depth_socket(SYMBOL), is_kind("depthUpdate")),
            "stream: own fills": own_fill,
        }
    )


if __name__ == "__main__":
    asyncio.run(main())
