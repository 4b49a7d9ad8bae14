"""Binance's own connectors for spot and USDⓈ-M, unmodified; their blocking REST clients are asked in a thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_spot.spot import Spot

from tests.referees.checks import Referee, expect, venue

SYMBOL = "BTCUSDT"
NO_FUNDS, NO_MARGIN = -2010, -2019
REST_TIMEOUT_MS = 10_000  # its default of one second is a busy machine's


async def main() -> None:
    at = venue()
    rest = ConfigurationRestAPI(api_key=at.key, api_secret=at.secret, base_path=at.rest, timeout=REST_TIMEOUT_MS)
    await on_spot(
        Referee("binance-sdk", "spot"),
        Spot(
            config_rest_api=rest,
            config_ws_api=ConfigurationWebSocketAPI(
                api_key=at.key, api_secret=at.secret, stream_url=f"{at.socket}/ws-api/v3"
            ),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=at.socket),
        ),
    )
    await on_futures(
        Referee("binance-sdk", "um"),
        DerivativesTradingUsdsFutures(
            config_rest_api=rest,
            config_ws_api=ConfigurationWebSocketAPI(
                api_key=at.key, api_secret=at.secret, stream_url=f"{at.socket}/ws-fapi/v1"
            ),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=at.socket),
        ),
    )


async def asked(call: Callable[..., Any], **params: Any) -> Any:
    """The data of a blocking call."""
    return await asyncio.to_thread(lambda: call(**params).data())


async def heard(stream: Any, act: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """The first message of a stream."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[Any] = loop.create_future()

    def keep(message: Any) -> None:
        if not first.done():
            first.set_result(message)

    def hear(message: Any) -> None:
        loop.call_soon_threadsafe(keep, message)

    stream.on("message", hear)
    if act is not None:
        await act()
    return await first


@contextlib.asynccontextmanager
async def connected(api: Any) -> AsyncIterator[Any]:
    connection = await api.create_connection()
    try:
        yield connection
    finally:
        await connection.close_connection(close_session=True)


async def with_stream(api: Any, subscribe: Callable[[Any], Awaitable[Any]]) -> None:
    async with connected(api) as connection:
        expect(await heard(await subscribe(connection)), "a message")


async def on_spot(referee: Referee, it: Spot) -> None:
    rest = it.rest_api

    async def candles() -> float:
        rows = await asked(rest.klines, symbol=SYMBOL, interval="1m", limit=50)
        expect(len(rows) == 50, f"50 candles, not {len(rows)}")
        return float(rows[-1][4])

    async def account() -> None:
        held = {row.asset: float(row.free) for row in (await asked(rest.get_account)).balances}
        expect(held["USDT"] > 0, "some USDT")

    price = await referee.sees("candles", candles)
    await referee.sees_all(
        {
            "ping": lambda: asked(rest.ping),
            "clock": lambda: asked(rest.time),
            "symbol rules": lambda: asked(rest.exchange_info, symbol=SYMBOL),
            "book": lambda: asked(rest.depth, symbol=SYMBOL, limit=20),
            "public trades": lambda: asked(rest.get_trades, symbol=SYMBOL),
            "aggregate trades": lambda: asked(rest.agg_trades, symbol=SYMBOL),
            "average price": lambda: asked(rest.avg_price, symbol=SYMBOL),
            "ticker": lambda: asked(rest.ticker24hr, symbol=SYMBOL),
            "rolling ticker": lambda: asked(rest.ticker, symbol=SYMBOL),
            "ticker of the trading day": lambda: asked(rest.ticker_trading_day, symbol=SYMBOL),
            "prices": lambda: asked(rest.ticker_price, symbol=SYMBOL),
            "best bid and ask": lambda: asked(rest.ticker_book_ticker, symbol=SYMBOL),
            "account": account,
            "commission": lambda: asked(rest.account_commission, symbol=SYMBOL),
            "order limits": lambda: asked(rest.rate_limit_order),
        }
    )
    if price is None:
        return
    below, lower, above, higher = (round(price * share) for share in (0.9, 0.89, 1.1, 1.11))

    async def buys() -> None:
        order = await asked(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.05)
        expect(order.status == "FILLED" and order.fills, "a filled order with its fills")

    async def by_cost() -> None:
        order = await asked(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quote_order_qty=500)
        expect(order.status == "FILLED", "a filled order")

    await referee.sees("market order, by quantity", buys)
    await referee.sees("market order, by cost", by_cost)
    sale = {"symbol": SYMBOL, "side": "SELL", "quantity": 0.01}
    resting: dict[str, dict[str, Any]] = {
        "limit": {**sale, "type": "LIMIT", "time_in_force": "GTC", "price": above},
        "limit maker": {**sale, "type": "LIMIT_MAKER", "price": above},
        "iceberg": {**sale, "type": "LIMIT", "time_in_force": "GTC", "price": above, "iceberg_qty": 0.002},
        "stop loss": {**sale, "type": "STOP_LOSS", "stop_price": below},
        "stop loss limit": {
            **sale, "type": "STOP_LOSS_LIMIT", "time_in_force": "GTC", "stop_price": below, "price": lower,
        },
        "take profit": {**sale, "type": "TAKE_PROFIT", "stop_price": above},
        "take profit limit": {
            **sale, "type": "TAKE_PROFIT_LIMIT", "time_in_force": "GTC", "stop_price": above, "price": above,
        },
        "trailing stop": {**sale, "type": "STOP_LOSS", "trailing_delta": 200},
    }  # fmt: skip
    for name, params in resting.items():

        async def round_trip(params: dict[str, Any] = params) -> None:
            order = await asked(rest.new_order, **params)
            found = await asked(rest.get_order, symbol=SYMBOL, order_id=order.order_id)
            expect(found.status == "NEW", f"a new order, not {found.status}")
            gone = await asked(rest.delete_order, symbol=SYMBOL, order_id=order.order_id)
            expect(gone.status == "CANCELED", "a cancelled order")

        await referee.sees(f"place, query, cancel: {name}", round_trip)

    async def list_of(call: Callable[..., Any], count: int, **params: Any) -> None:
        made = await asked(call, symbol=SYMBOL, **params)
        expect(len(made.orders) == count, f"{count} orders, not {len(made.orders)}")
        found = await asked(rest.get_order_list, order_list_id=made.order_list_id)
        expect(found.list_order_status == "EXECUTING", "a list that is executing")
        await asked(rest.delete_order_list, symbol=SYMBOL, order_list_id=made.order_list_id)

    working = {"working_type": "LIMIT", "working_side": "BUY", "working_price": below, "working_quantity": 0.01}
    working["working_time_in_force"] = "GTC"
    pending = {"pending_side": "SELL", "pending_quantity": 0.01}
    legs = {
        "pending_above_type": "LIMIT_MAKER",
        "pending_above_price": above,
        "pending_below_type": "STOP_LOSS",
        "pending_below_stop_price": lower,
    }
    later: dict[str, Any] = {"pending_type": "LIMIT_MAKER", "pending_side": "SELL", "pending_price": above}

    async def replaces() -> None:
        order = await asked(rest.new_order, **resting["limit"])
        made = await asked(
            rest.order_cancel_replace, symbol=SYMBOL, side="SELL", type="LIMIT", time_in_force="GTC", quantity=0.01,
            price=higher, cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=order.order_id,
        )  # fmt: skip
        expect(made.new_order_result == "SUCCESS", "a new order")
        await asked(rest.delete_open_orders, symbol=SYMBOL)

    async def amends() -> None:
        order = await asked(rest.new_order, **{**resting["limit"], "quantity": 0.02})
        made = await asked(rest.order_amend_keep_priority, symbol=SYMBOL, new_qty=0.01, order_id=order.order_id)
        expect(float(made.amended_order.qty) == 0.01, "half the quantity")
        await asked(rest.delete_order, symbol=SYMBOL, order_id=order.order_id)

    async def refused() -> None:
        try:
            await asked(
                rest.new_order, symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=2,
                price=round(price * 0.99),
            )  # fmt: skip
        except Exception as problem:
            expect(str(NO_FUNDS) in str(problem), f"code {NO_FUNDS}, not {problem}")
            return
        raise AssertionError("a refusal for want of funds")

    async def by_socket() -> None:
        async with connected(it.websocket_api) as connection:
            made = (await connection.order_place(**resting["limit"])).data().result
            await connection.order_cancel(symbol=SYMBOL, order_id=made.order_id)
            expect((await connection.account_status()).data().result.balances, "balances")

    async def own_fill() -> None:
        async with connected(it.websocket_api) as connection:
            subscribed = await connection.user_data_stream_subscribe_signature()
            told = await heard(
                subscribed.stream,
                lambda: asked(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01),
            )
            expect(told, "an event")

    streams = it.websocket_streams
    await referee.sees_all(
        {
            "order list (OCO)": lambda: list_of(
                rest.order_list_oco, 2, side="SELL", quantity=0.01, above_type="LIMIT_MAKER", above_price=higher,
                below_type="STOP_LOSS_LIMIT", below_stop_price=below, below_price=lower, below_time_in_force="GTC",
            ),
            "order list (OTO)": lambda: list_of(rest.order_list_oto, 2, **working, **later, pending_quantity=0.01),
            "order list (OTOCO)": lambda: list_of(rest.order_list_otoco, 3, **working, **pending, **legs),
            "order list (OPO)": lambda: list_of(rest.order_list_opo, 2, **working, **later),
            "order list (OPOCO)": lambda: list_of(
                rest.order_list_opoco, 3, **working, **legs, pending_side="SELL"
            ),
            "cancel and replace": replaces,
            "amend, keep priority": amends,
            "refusal understood": refused,
            "open orders": lambda: asked(rest.get_open_orders, symbol=SYMBOL),
            "own orders": lambda: asked(rest.all_orders, symbol=SYMBOL),
            "own trades": lambda: asked(rest.my_trades, symbol=SYMBOL),
            "order and cancel by socket": by_socket,
            "stream: candles": lambda: with_stream(streams, lambda c: c.kline(symbol="btcusdt", interval="1m")),
            "stream: trades": lambda: with_stream(streams, lambda c: c.trade(symbol="btcusdt")),
            "stream: aggregate trades": lambda: with_stream(streams, lambda c: c.agg_trade(symbol="btcusdt")),
            "stream: ticker": lambda: with_stream(streams, lambda c: c.ticker(symbol="btcusdt")),
            "stream: book": lambda: with_stream(streams, lambda c: c.diff_book_depth(symbol="btcusdt")),
            "stream: partial book": lambda: with_stream(
                streams, lambda c: c.partial_book_depth(symbol="btcusdt", levels="5")
            ),
            "stream: best": lambda: with_stream(streams, lambda c: c.book_ticker(symbol="btcusdt")),
            "stream: own fills": own_fill,
        }
    )  # fmt: skip


async def on_futures(referee: Referee, it: DerivativesTradingUsdsFutures) -> None:
    rest = it.rest_api

    async def candles() -> float:
        rows = await asked(rest.kline_candlestick_data, symbol=SYMBOL, interval="1m", limit=50)
        expect(len(rows) == 50, f"50 candles, not {len(rows)}")
        return float(rows[-1][4])

    async def leverage() -> None:
        made = await asked(rest.change_initial_leverage, symbol=SYMBOL, leverage=5)
        expect(int(made.leverage) == 5, "leverage 5")

    async def margin_type() -> None:
        await asked(rest.change_margin_type, symbol=SYMBOL, margin_type="ISOLATED")
        await asked(rest.change_margin_type, symbol=SYMBOL, margin_type="CROSSED")

    price = await referee.sees("candles", candles)
    await referee.sees_all(
        {
            "clock": lambda: asked(rest.check_server_time),
            "symbol rules": lambda: asked(rest.exchange_information),
            "book": lambda: asked(rest.order_book, symbol=SYMBOL),
            "public trades": lambda: asked(rest.recent_trades_list, symbol=SYMBOL),
            "aggregate trades": lambda: asked(rest.compressed_aggregate_trades_list, symbol=SYMBOL),
            "ticker": lambda: asked(rest.ticker24hr_price_change_statistics, symbol=SYMBOL),
            "prices": lambda: asked(rest.symbol_price_ticker_v2, symbol=SYMBOL),
            "best bid and ask": lambda: asked(rest.symbol_order_book_ticker, symbol=SYMBOL),
            "mark price": lambda: asked(rest.mark_price, symbol=SYMBOL),
            "funding rates": lambda: asked(rest.get_funding_rate_history, symbol=SYMBOL),
            "leverage brackets": lambda: asked(rest.notional_and_leverage_brackets),
            "account": lambda: asked(rest.account_information_v3),
            "balance": lambda: asked(rest.futures_account_balance_v3),
            "account configuration": lambda: asked(rest.futures_account_configuration),
            "symbol configuration": lambda: asked(rest.symbol_configuration, symbol=SYMBOL),
            "leverage": leverage,
            "margin type": margin_type,
            "position mode": lambda: asked(rest.get_current_position_mode),
            "multi-assets mode": lambda: asked(rest.get_current_multi_assets_mode),
            "commission rate": lambda: asked(rest.user_commission_rate, symbol=SYMBOL),
        }
    )
    if price is None:
        return
    below, above = (round(price * share) for share in (0.9, 1.1))

    async def opens() -> None:
        await asked(rest.new_order, symbol=SYMBOL, side="SELL", type="MARKET", quantity=0.05)
        found = await asked(rest.position_information_v3, symbol=SYMBOL)
        expect(float(found[0].position_amt) == -0.05, "a short position of 0.05")

    async def closes() -> None:
        await asked(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.05, reduce_only="true")

    async def limit() -> None:
        order = await asked(
            rest.new_order, symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=below
        )
        await asked(rest.modify_order, symbol=SYMBOL, side="BUY", quantity=0.02, price=below, order_id=order.order_id)
        found = await asked(rest.query_order, symbol=SYMBOL, order_id=order.order_id)
        expect(found.status == "NEW" and float(found.orig_qty) == 0.02, "a new order of twice the quantity")
        await asked(rest.cancel_order, symbol=SYMBOL, order_id=order.order_id)

    await referee.sees("open a short position", opens)
    await referee.sees("place, modify, query, cancel: limit", limit)
    cover = {"algo_type": "CONDITIONAL", "symbol": SYMBOL, "side": "BUY"}
    conditional: dict[str, dict[str, Any]] = {
        "stop market": {**cover, "type": "STOP_MARKET", "trigger_price": above, "close_position": "true"},
        "take profit market": {**cover, "type": "TAKE_PROFIT_MARKET", "trigger_price": below, "close_position": "true"},
        "stop": {**cover, "type": "STOP", "trigger_price": above, "price": above, "quantity": 0.05},
        "take profit": {**cover, "type": "TAKE_PROFIT", "trigger_price": below, "price": below, "quantity": 0.05},
        "trailing": {**cover, "type": "TRAILING_STOP_MARKET", "callback_rate": 1, "quantity": 0.05},
    }
    for name, params in conditional.items():

        async def round_trip(params: dict[str, Any] = params) -> None:
            order = await asked(rest.new_algo_order, **params)
            found = await asked(rest.query_algo_order, algo_id=order.algo_id)
            expect(found.algo_status == "NEW", f"a new order, not {found.algo_status}")
            await asked(rest.cancel_algo_order, algo_id=order.algo_id)

        await referee.sees(f"place, query, cancel: {name}", round_trip)

    async def refused() -> None:
        try:
            await asked(
                rest.new_order, symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=100,
                price=round(price),
            )  # fmt: skip
        except Exception as problem:
            expect(str(NO_MARGIN) in str(problem), f"code {NO_MARGIN}, not {problem}")
            return
        raise AssertionError("a refusal for want of margin")

    async def by_socket() -> None:
        async with connected(it.websocket_api) as connection:
            made = (
                await connection.new_order(
                    symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=below
                )
            ).data()
            await connection.cancel_order(symbol=SYMBOL, order_id=made.result.order_id)

    async def own_fill() -> None:
        key = (await asked(rest.start_user_data_stream)).listen_key
        async with connected(it.websocket_streams) as connection:
            stream = await connection.user_data(key)
            await heard(stream, lambda: asked(rest.new_order, symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01))

    streams = it.websocket_streams
    await referee.sees_all(
        {
            "close it, reduce only": closes,
            "refusal understood": refused,
            "own trades": lambda: asked(rest.account_trade_list, symbol=SYMBOL),
            "own orders": lambda: asked(rest.all_orders, symbol=SYMBOL),
            "income": lambda: asked(rest.get_income_history),
            "order and cancel by socket": by_socket,
            "stream: candles": lambda: with_stream(
                streams, lambda c: c.kline_candlestick_streams(symbol="btcusdt", interval="1m")
            ),
            "stream: aggregate trades": lambda: with_stream(
                streams, lambda c: c.aggregate_trade_streams(symbol="btcusdt")
            ),
            "stream: mark price": lambda: with_stream(streams, lambda c: c.mark_price_stream(symbol="btcusdt")),
            "stream: ticker": lambda: with_stream(
                streams, lambda c: c.individual_symbol_ticker_streams(symbol="btcusdt")
            ),
            "stream: book": lambda: with_stream(streams, lambda c: c.diff_book_depth_streams(symbol="btcusdt")),
            "stream: best": lambda: with_stream(
                streams, lambda c: c.individual_symbol_book_ticker_streams(symbol="btcusdt")
            ),
            "stream: own fills": own_fill,
        }
    )


if __name__ == "__main__":
    asyncio.run(main())
