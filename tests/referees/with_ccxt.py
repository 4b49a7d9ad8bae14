"""ccxt and ccxt.pro, spot and USDⓈ-M, unmodified, as asyncio clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt.pro

from tests.referees.checks import Referee, Venue, expect, venue

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"


def client(at: Venue, kind: str) -> Any:
    """An exchange object pointed at the venue by its address tables and nothing else."""
    made = ccxt.pro.binance(
        {
            "apiKey": at.key,
            "secret": at.secret,
            "options": {
                "defaultType": kind,
                "fetchCurrencies": False,
                "fetchMargins": False,
                "fetchMarkets": {"types": ["spot" if kind == "spot" else "linear"]},
            },
            "urls": {
                "api": {
                    "public": f"{at.rest}/api/v3",
                    "private": f"{at.rest}/api/v3",
                    "sapi": f"{at.rest}/sapi/v1",
                    "fapiPublic": f"{at.rest}/fapi/v1",
                    "fapiPublicV2": f"{at.rest}/fapi/v2",
                    "fapiPublicV3": f"{at.rest}/fapi/v3",
                    "fapiPrivate": f"{at.rest}/fapi/v1",
                    "fapiPrivateV2": f"{at.rest}/fapi/v2",
                    "fapiPrivateV3": f"{at.rest}/fapi/v3",
                    "fapiData": f"{at.rest}/futures/data",
                }
            },
        }
    )
    # Its tables of futures errors are chosen by the host's name, which is not Binance's here.
    made.exceptions["exact"].update(made.exceptions["linear"]["exact"])
    made.urls["api"]["ws"]["spot"] = f"{at.socket}/stream-sim/ws"
    made.urls["api"]["ws"]["linear"] = f"{at.socket}/ws"
    made.urls["api"]["ws"]["ws-api"]["spot"] = f"{at.socket}/ws-api/v3"
    made.urls["api"]["ws"]["ws-api"]["linear"] = f"{at.socket}/ws-fapi/v1"
    return made


@contextlib.asynccontextmanager
async def opened(at: Venue, kind: str) -> AsyncIterator[Any]:
    made = client(at, kind)
    try:
        yield made
    finally:
        await made.close()


async def main() -> None:
    at = venue()
    async with opened(at, "spot") as spot:
        await on_spot(Referee("ccxt", "spot"), spot)
    async with opened(at, "swap") as swap:
        await on_futures(Referee("ccxt", "um"), swap)


async def read_market(referee: Referee, it: Any, symbol: str) -> float | None:
    """Public data; the last price."""
    markets = await referee.sees("load markets", it.load_markets)
    if markets is None:
        return None
    await referee.sees("clock", it.fetch_time)

    async def candles() -> float:
        rows = await it.fetch_ohlcv(symbol, "1m", limit=50)
        expect(len(rows) == 50, f"50 candles, not {len(rows)}")
        expect(all(low <= close <= high for _, _, high, low, close, _ in rows), "closes within high and low")
        return float(rows[-1][4])

    async def book() -> None:
        found = await it.fetch_order_book(symbol, 20)
        expect(found["bids"][0][0] < found["asks"][0][0], "a book that is not crossed")

    async def trades() -> None:
        expect(await it.fetch_trades(symbol, limit=10), "public trades")

    async def ticker() -> None:
        expect((await it.fetch_ticker(symbol))["last"] > 0, "a last price")

    async def all_tickers() -> None:
        expect(symbol in await it.fetch_tickers(), "the symbol among all tickers")

    async def best() -> None:
        expect(symbol in await it.fetch_bids_asks([symbol]), "best bid and ask")

    await referee.sees_all(
        {
            "book": book,
            "public trades": trades,
            "ticker": ticker,
            "all tickers": all_tickers,
            "best bid and ask": best,
        }
    )
    return await referee.sees("candles", candles)


async def watch_market(referee: Referee, it: Any, symbol: str) -> None:
    """Public streams."""

    async def klines() -> None:
        expect(await it.watch_ohlcv(symbol, "1m"), "a candle")

    async def trades() -> None:
        expect(await it.watch_trades(symbol), "a trade")

    async def ticker() -> None:
        expect((await it.watch_ticker(symbol))["last"], "a last price")

    async def book() -> None:
        for _ in range(3):
            found = await it.watch_order_book(symbol)
            expect(found["bids"][0][0] < found["asks"][0][0], "a book that is not crossed")

    async def best() -> None:
        expect(await it.watch_bids_asks([symbol]), "best bid and ask")

    asks = {"candles": klines, "trades": trades, "ticker": ticker, "book": book, "best": best}
    await referee.sees_all({f"stream: {what}": ask for what, ask in asks.items()})


def far(price: float, share: float) -> float:
    """A price so far away, on any grid."""
    return round(price * (1 + share), 0)


async def placed_and_cancelled(
    referee: Referee, it: Any, symbol: str, name: str, place: Callable[[], Awaitable[Any]], **params: Any
) -> None:
    """An order that rests is placed, found again, and cancelled."""

    async def round_trip() -> None:
        order = await place()
        found = await it.fetch_order(order["id"], symbol, params)
        expect(found["status"] == "open", f"an open order, not {found['status']}")
        await it.cancel_order(order["id"], symbol, params)
        gone = await it.fetch_order(order["id"], symbol, params)
        expect(gone["status"] == "canceled", f"a cancelled order, not {gone['status']}")

    await referee.sees(f"place, query, cancel: {name}", round_trip)


async def on_spot(referee: Referee, it: Any) -> None:
    price = await read_market(referee, it, SPOT)
    if price is None:
        return

    async def balance() -> None:
        expect((await it.fetch_balance())["USDT"]["free"] > 0, "some USDT")

    async def buys() -> dict[str, Any]:
        order: dict[str, Any] = await it.create_market_order(SPOT, "buy", 0.05)
        expect(order["status"] == "closed" and order["filled"] == 0.05, "a filled order")
        expect(order["fee"]["cost"] > 0, "its fee")
        return order

    async def buys_for_money() -> None:
        order = await it.create_market_buy_order_with_cost(SPOT, 1000)
        expect(0 < order["cost"] <= 1000, "a cost up to 1000")

    async def sells() -> None:
        expect((await it.create_market_order(SPOT, "sell", 0.01))["status"] == "closed", "a filled order")

    async def my_trades() -> None:
        expect(await it.fetch_my_trades(SPOT), "own trades")

    async def orders() -> None:
        expect(await it.fetch_orders(SPOT), "own orders")

    async def edits() -> None:
        order = await it.create_limit_order(SPOT, "buy", 0.01, far(price, -0.2))
        changed = await it.edit_order(order["id"], SPOT, "limit", "buy", 0.01, far(price, -0.25))
        await it.cancel_order(changed["id"], SPOT)

    async def cancels_all() -> None:
        await it.create_limit_order(SPOT, "buy", 0.01, far(price, -0.2))
        await it.cancel_all_orders(SPOT)
        expect(not await it.fetch_open_orders(SPOT), "no open orders")

    async def refused() -> None:
        try:
            await it.create_limit_order(SPOT, "buy", 2, far(price, -0.01))
        except ccxt.InsufficientFunds:
            return
        raise AssertionError("a refusal for want of funds")

    await referee.sees("balance", balance)
    await referee.sees("market order, by quantity", buys)
    await referee.sees("market order, by cost", buys_for_money)
    await referee.sees("market order, sale", sells)
    below, above = far(price, -0.1), far(price, 0.1)
    resting = {
        "limit": lambda: it.create_limit_order(SPOT, "buy", 0.01, below),
        "post only": lambda: it.create_order(SPOT, "limit", "buy", 0.01, below, {"postOnly": True}),
        "stop loss": lambda: it.create_order(SPOT, "market", "sell", 0.01, None, {"stopLossPrice": below}),
        "stop loss limit": lambda: it.create_order(SPOT, "limit", "sell", 0.01, below, {"stopLossPrice": below}),
        "take profit": lambda: it.create_order(SPOT, "market", "sell", 0.01, None, {"takeProfitPrice": above}),
        "take profit limit": lambda: it.create_order(SPOT, "limit", "sell", 0.01, above, {"takeProfitPrice": above}),
        "trailing": lambda: it.create_order(
            SPOT, "market", "sell", 0.01, None, {"trailingPercent": 2, "stopLossOrTakeProfit": "stopLoss"}
        ),
    }
    for name, place in resting.items():
        await placed_and_cancelled(referee, it, SPOT, name, place)
    referee.cannot("order lists", "has no call for them")
    await referee.sees("cancel and replace", edits)
    await referee.sees("cancel all", cancels_all)
    await referee.sees("own trades", my_trades)
    await referee.sees("own orders", orders)
    await referee.sees("refusal understood", refused)
    await referee.sees("trading fees", it.fetch_trading_fees)
    await watch_market(referee, it, SPOT)
    await watch_account(referee, it, SPOT)
    await order_by_socket(referee, it, SPOT, below)


async def watch_account(referee: Referee, it: Any, symbol: str) -> None:
    """Own fills, heard by stream."""

    async def fills() -> None:
        heard = asyncio.ensure_future(it.watch_my_trades(symbol))
        orders = asyncio.ensure_future(it.watch_orders(symbol))
        await asyncio.sleep(2)
        order = await it.create_market_order(symbol, "buy", 0.02)
        found = await heard
        expect(any(trade["order"] == order["id"] for trade in found), "the fill of this order")
        expect(await orders, "a report of the order")

    async def balance() -> None:
        heard = asyncio.ensure_future(it.watch_balance())
        await asyncio.sleep(1)
        await it.create_market_order(symbol, "sell", 0.02)
        expect((await heard)["USDT"], "a balance")

    await referee.sees("stream: own fills", fills)
    await referee.sees("stream: balance", balance)


async def order_by_socket(referee: Referee, it: Any, symbol: str, price: float) -> None:
    async def round_trip() -> None:
        order = await it.create_order_ws(symbol, "limit", "buy", 0.01, price)
        await it.cancel_order_ws(order["id"], symbol)

    await referee.sees("order and cancel by socket", round_trip)


async def on_futures(referee: Referee, it: Any) -> None:
    price = await read_market(referee, it, SWAP)
    if price is None:
        return

    async def balance() -> None:
        expect((await it.fetch_balance())["USDT"]["free"] > 0, "some USDT")

    async def leverage() -> None:
        await it.set_leverage(5, SWAP)
        expect((await it.fetch_leverage(SWAP))["longLeverage"] == 5, "leverage 5")

    async def margin_mode() -> None:
        await it.set_margin_mode("isolated", SWAP)
        expect((await it.fetch_margin_mode(SWAP))["marginMode"] == "isolated", "isolated margin")
        await it.set_margin_mode("cross", SWAP)

    async def position_mode() -> None:
        expect(not (await it.fetch_position_mode(SWAP))["hedged"], "one-way mode")

    async def opens() -> None:
        order = await it.create_market_order(SWAP, "sell", 0.05)
        expect(order["filled"] == 0.05, f"a filled order, not {order['filled']}")
        positions = await it.fetch_positions([SWAP])
        expect(positions[0]["side"] == "short" and positions[0]["contracts"] == 0.05, "a short position of 0.05")
        expect(positions[0]["liquidationPrice"] > price, "a liquidation price above")

    async def closes() -> None:
        await it.create_order(SWAP, "market", "buy", 0.05, None, {"reduceOnly": True})
        expect(not [p for p in await it.fetch_positions([SWAP]) if p["contracts"]], "no position")

    async def my_trades() -> None:
        expect(await it.fetch_my_trades(SWAP), "own trades")

    async def income() -> None:
        expect(await it.fetch_ledger("USDT"), "income")

    async def funding() -> None:
        expect((await it.fetch_funding_rate(SWAP))["fundingRate"] is not None, "a funding rate")
        await it.fetch_funding_rate_history(SWAP)

    async def tiers() -> None:
        expect((await it.fetch_leverage_tiers([SWAP]))[SWAP], "leverage tiers")

    async def edits() -> None:
        order = await it.create_limit_order(SWAP, "buy", 0.01, far(price, -0.1))
        changed = await it.edit_order(order["id"], SWAP, "limit", "buy", 0.02, far(price, -0.12))
        await it.cancel_order(changed["id"], SWAP)

    async def batch() -> None:
        one = {"symbol": SWAP, "type": "limit", "side": "buy", "amount": 0.01, "price": far(price, -0.1)}
        made = await it.create_orders([one, {**one, "price": far(price, -0.11)}])
        await it.cancel_orders([order["id"] for order in made], SWAP)
        expect(not await it.fetch_open_orders(SWAP), "no open orders")

    async def refused() -> None:
        try:
            await it.create_limit_order(SWAP, "buy", 100, far(price, -0.01))
        except ccxt.InsufficientFunds:
            return
        raise AssertionError("a refusal for want of margin")

    await referee.sees_all(
        {
            "balance": balance,
            "leverage": leverage,
            "margin mode": margin_mode,
            "position mode": position_mode,
            "funding rates": funding,
            "leverage tiers": tiers,
            "open a short position": opens,
        }
    )
    below, above = far(price, -0.1), far(price, 0.1)
    await placed_and_cancelled(referee, it, SWAP, "limit", lambda: it.create_limit_order(SWAP, "buy", 0.01, below))
    conditional: dict[str, dict[str, Any]] = {
        "stop market": {"stopLossPrice": above},
        "take profit market": {"takeProfitPrice": below},
        "trailing": {"trailingPercent": 2},
        "stop market, close position": {"stopPrice": above, "closePosition": True},
    }
    for name, params in conditional.items():
        quantity = None if "closePosition" in params else 0.05

        def place(params: Any = params, quantity: Any = quantity) -> Awaitable[Any]:
            more = {} if "closePosition" in params else {"reduceOnly": True}
            made: Awaitable[Any] = it.create_order(SWAP, "market", "buy", quantity, None, {**params, **more})
            return made

        await placed_and_cancelled(referee, it, SWAP, name, place, trigger=True)
    await referee.sees_all(
        {
            "close it, reduce only": closes,
            "modify": edits,
            "batch": batch,
            "own trades": my_trades,
            "income": income,
            "refusal understood": refused,
        }
    )
    await watch_market(referee, it, SWAP)
    await watch_account(referee, it, SWAP)
    await order_by_socket(referee, it, SWAP, below)


if __name__ == "__main__":
    asyncio.run(main())
