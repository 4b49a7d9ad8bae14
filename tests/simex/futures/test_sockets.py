"""The futures market behind real sockets: orders by REST and by WebSocket API, their events on a private link."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from simex.faultplan import read_fault
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.server import Server
from simex.venue import AccountSpec
from tests.simex.sockets import KEY, PATIENCE_S, SECRET, Recording, Venue, eventually, playing, tape, ws_request

pytestmark = [pytest.mark.spec("SIM-1")]


@asynccontextmanager
async def listening(minutes: int, **options: Any) -> AsyncIterator[Venue]:
    account = AccountSpec(KEY, SECRET, {}, wallet={"USDT": Decimal(10_000)})
    exchange = Recording((), (account,), contracts=DEFAULT_CONTRACTS)
    server = Server(exchange, tape(minutes), **options)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield Venue(server, exchange, http, port)
    finally:
        await server.stop()


async def listen_key(venue: Venue) -> str:
    async with venue.http.post(venue.url("/fapi/v1/listenKey"), headers={"X-MBX-APIKEY": KEY}) as answer:
        key: str = (await answer.json(content_type=None))["listenKey"]
        return key


async def heard(link: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads((await link.receive(PATIENCE_S)).data)


async def test_a_paced_market_waits_for_somebody_who_hears_the_account_on_a_private_link() -> None:
    async with listening(3, speed=float("inf"), wait_for_account=True) as venue, playing(venue.server) as play:
        klines = await venue.link("/ws/btcusdt@kline_1m")
        await asyncio.sleep(0.1)
        assert not play.done()
        link = await venue.link(f"/private/ws?listenKey={await listen_key(venue)}")
        drain = asyncio.create_task(drained(klines, link))
        assert await asyncio.wait_for(asyncio.shield(play), PATIENCE_S) > 0
        drain.cancel()


async def drained(*links: aiohttp.ClientWebSocketResponse) -> None:
    """Clients that read, so that they pong."""
    await asyncio.gather(*(link.receive() for link in links for _ in range(10_000)), return_exceptions=True)


async def test_orders_and_their_events_over_sockets() -> None:
    async with listening(5, speed=60.0) as venue, playing(venue.server):
        await asyncio.sleep(0.2)  # the first print
        link = await venue.link(f"/private/stream?listenKey={await listen_key(venue)}")
        status, order = await venue.post(
            "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newOrderRespType=RESULT"
        )
        assert (status, order["status"]) == (200, "FILLED")
        kinds = [(await heard(link))["data"]["e"] for _ in range(4)]
        assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]
        api = await venue.link("/ws-fapi/v1")
        wish = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.010", "reduceOnly": "true"}
        await api.send_str(json.dumps(ws_request("order.place", wish, venue.server.now_ms())))
        assert (await heard(api))["status"] == 200
        await heard(link)
        assert (await heard(link))["data"]["e"] == "TRADE_LITE"
        venue.exchange.check_books()


async def test_an_unknown_path_is_no_link() -> None:
    async with listening(1, speed=60.0) as venue:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await venue.link("/private/other")


@pytest.mark.spec("SIM-2")
@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"kind": "error-after"}, 503, (-1000, "Unknown error, please check your request or try again later.")),
        ({"kind": "error-before"}, 503, (-1000, "Unknown error, please check your request or try again later.")),
        ({"kind": "error-before", "says": "unavailable"}, 503, (-1000, "Service Unavailable.")),
        (
            {"kind": "error-before", "says": "internal"},
            503,
            (-1000, "Internal error; unable to process your request. Please try again."),
        ),
        ({"kind": "error-before", "says": "busy"}, 503, (-1008, "Request throttled by system-level protection.")),
        ({"kind": "timeout-after", "after_ms": 10}, 408, (-1007, "Timeout waiting for response")),
    ],
)
async def test_faults_speak_the_futures_markets_words(
    fault: dict[str, Any], status: int, error: tuple[int, str]
) -> None:
    buy = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010", "newOrderRespType": "RESULT"}
    async with listening(5, speed=60.0) as venue, playing(venue.server):
        await eventually(lambda: venue.exchange.last_price("BTCUSDT") is not None)
        venue.server.faults.arm(read_fault(fault | {"every": 1}))
        told, body = await venue.post("/fapi/v1/order", "&".join(f"{name}={value}" for name, value in buy.items()))
        assert (told, body["code"], body["msg"].startswith(error[1])) == (status, error[0], True)
        api = await venue.link("/ws-fapi/v1")
        await api.send_str(json.dumps(ws_request("order.place", buy, venue.server.now_ms())))
        answer = await heard(api)
        assert (answer["id"], answer["status"], answer["error"]["code"]) == ("order.place", status, error[0])
        async with venue.http.get(
            venue.url(f"/fapi/v2/positionRisk?{venue.signed('symbol=BTCUSDT')}"), headers={"X-MBX-APIKEY": KEY}
        ) as positions:
            (position,) = await positions.json(content_type=None)
        wanted = Decimal("0.020") if fault["kind"].endswith("after") else Decimal(0)
        assert Decimal(position["positionAmt"]) == wanted


@pytest.mark.spec("SIM-2")
async def test_what_only_closes_a_position_is_not_told_that_the_venue_is_busy() -> None:
    closing = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.010&reduceOnly=true&newOrderRespType=RESULT"
    buy = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.030"
    async with listening(5, speed=60.0) as venue, playing(venue.server):
        await eventually(lambda: venue.exchange.last_price("BTCUSDT") is not None)
        assert (await venue.post("/fapi/v1/order", buy))[0] == 200
        venue.server.faults.arm(read_fault({"kind": "error-before", "says": "busy", "every": 1}))
        assert (await venue.post("/fapi/v1/order", buy))[0] == 503
        assert (await venue.post("/fapi/v1/order", closing))[1]["status"] == "FILLED"
        api = await venue.link("/ws-fapi/v1")
        wish = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.010", "reduceOnly": "true"}
        await api.send_str(json.dumps(ws_request("order.place", wish, venue.server.now_ms())))
        assert (await heard(api))["status"] == 200
        shut = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&closePosition=true&triggerPrice=100"
        assert (await venue.post("/fapi/v1/algoOrder", shut))[0] != 503
