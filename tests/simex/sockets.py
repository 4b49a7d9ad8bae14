"""A server on real sockets for tests, its market, and plain clients of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp
from yarl import URL

from simex.exchange import Exchange
from simex.market import CandleTape, GeneratedMarket, Market
from simex.server import Server
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, Candle, HttpRequest, HttpResponse

KEY, SECRET = "demo-key", "demo-secret"
MINUTE_MS = 60_000
T0_MS = 1_717_200_000_000
PATIENCE_S = 10.0
CLOSING_S = 0.2
Json = dict[str, Any]


def candles(count: int, start: int = 60_000) -> list[Candle]:
    def candle(index: int) -> Candle:
        price = Decimal(start + 10 * index)
        return Candle(
            T0_MS + index * MINUTE_MS, MINUTE_MS, price, price + 15, price - 5, price + 10, Decimal(8 + index % 3)
        )

    return [candle(index) for index in range(count)]


class Recording(Exchange):
    """The real exchange, which also keeps the requests as it got them."""

    seen: list[HttpRequest]

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse:
        self.__dict__.setdefault("seen", []).append(request)
        return super().rest(request, now_ms)


@dataclass
class Venue:
    """A server on the loopback address and a client session for it."""

    server: Server
    exchange: Exchange
    http: aiohttp.ClientSession
    port: int
    links: list[aiohttp.ClientWebSocketResponse] = field(default_factory=list)

    def url(self, target: str, scheme: str = "http") -> URL:
        return URL(f"{scheme}://127.0.0.1:{self.port}{target}", encoded=True)

    async def get(self, target: str) -> tuple[int, Any]:
        async with self.http.get(self.url(target), headers={"X-MBX-APIKEY": KEY}) as answer:
            return answer.status, json.loads(await answer.read())

    async def post(self, path: str, query: str, at_ms: int | None = None) -> tuple[int, Any]:
        target = f"{path}?{self.signed(query, at_ms)}"
        async with self.http.post(self.url(target), headers={"X-MBX-APIKEY": KEY}) as answer:
            return answer.status, json.loads(await answer.read())

    def signed(self, query: str, at_ms: int | None = None) -> str:
        query = f"{query}&timestamp={self.server.now_ms() if at_ms is None else at_ms}"
        return f"{query}&signature={signature(query)}"

    async def buy(self, quantity: str = "0.001", **more: str) -> tuple[int, Any]:
        extra = "".join(f"&{name}={value}" for name, value in more.items())
        return await self.post("/api/v3/order", f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity={quantity}{extra}")

    async def link(self, target: str, *, autoping: bool = True) -> aiohttp.ClientWebSocketResponse:
        link = await self.http.ws_connect(self.url(target, "ws"), autoping=autoping)
        self.links.append(link)
        return link

    async def leave(self) -> None:
        """Close what a test left open, also where the server says nothing any more."""
        for link in self.links:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_S):
                    await link.close()

    async def account_link(self, *, autoping: bool = True, skew_ms: int = 0) -> aiohttp.ClientWebSocketResponse:
        link = await self.link("/ws-api/v3", autoping=autoping)
        await link.send_str(json.dumps(subscription(self.server.now_ms() + skew_ms)))
        answer = json.loads((await link.receive(PATIENCE_S)).data)
        assert answer["result"] == {"subscriptionId": 0}, answer
        return link


def signature(payload: str) -> str:
    return hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def ws_request(method: str, params: Json, at_ms: int) -> Json:
    params = {**params, "apiKey": KEY, "timestamp": at_ms}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {"id": method, "method": method, "params": {**params, "signature": signature(payload)}}


def subscription(at_ms: int) -> Json:
    return ws_request("userDataStream.subscribe.signature", {}, at_ms)


@asynccontextmanager
async def listening(market: Market, **options: Any) -> AsyncIterator[Venue]:
    forming = options.pop("forming_klines", True)
    history: Mapping[str, Sequence[Candle]] = options.pop("history", {})
    account = AccountSpec(KEY, SECRET, {"USDT": Decimal(10_000)})
    exchange = Recording(DEFAULT_INSTRUMENTS, (account,), forming_klines=forming)
    for symbol, series in history.items():
        exchange.load_history(symbol, series)
    server = Server(exchange, market, **options)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            venue = Venue(server, exchange, http, port)
            yield venue
            await venue.leave()
    finally:
        await server.stop()


@asynccontextmanager
async def playing(server: Server) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(server.play())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def tape(count: int, **options: Any) -> CandleTape:
    return CandleTape({"BTCUSDT": candles(count)}, always_tick=options.pop("always_tick", True), **options)


def stopped_market() -> GeneratedMarket:
    """A market at market time that does not move unless the test plays it."""
    return GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=1)


@asynccontextmanager
async def opened() -> AsyncIterator[Venue]:
    """A venue whose market has printed once and then stands still."""
    market = stopped_market()
    async with listening(market, speed=60.0) as venue:
        market.advance(venue.exchange)
        yield venue


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
