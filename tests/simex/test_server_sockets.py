"""The exchange behind real sockets: bytes pass untouched, links live and die as Binance's do, and time waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import aiohttp
import picows
import pytest

from simex.faults import Fault
from simex.linkrules import RULES, LinkRules
from simex.market import GeneratedMarket
from simex.venue import Candle
from tests.simex.sockets import (
    KEY,
    MINUTE_MS,
    PATIENCE_S,
    T0_MS,
    Json,
    Recording,
    candles,
    eventually,
    listening,
    opened,
    playing,
    signature,
    tape,
    ws_request,
)

# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("SIM-1")
async def test_a_signed_order_over_rest_fills_and_bears_the_exchanges_headers() -> None:
    async with opened() as venue:
        target = f"/api/v3/order?{venue.signed('symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001')}"
        async with venue.http.post(venue.url(target), headers={"X-MBX-APIKEY": KEY}) as answer:
            order = await answer.json()
            assert (answer.status, order["status"], order["executedQty"]) == (200, "FILLED", "0.00100000")
            assert any(name.lower().startswith("x-mbx-used-weight") for name in answer.headers)


async def test_target_and_body_reach_the_exchange_byte_for_byte() -> None:
    async with opened() as venue:
        assert isinstance(venue.exchange, Recording)
        target = "/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5d&x=a+b%20c%2b//../%7E;&&y="
        await venue.get(target)
        assert venue.exchange.seen[-1].target == target
        body = b"symbol=BTCUSDT&newClientOrderId=a%2Db+c%zz&\xc3\xa9"
        headers = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
        async with venue.http.post(venue.url("/api/v3/order?side=B%55Y"), data=body, headers=headers):
            pass
        seen = venue.exchange.seen[-1]
        assert (seen.method, seen.target, seen.body) == ("POST", "/api/v3/order?side=B%55Y", body)
        assert seen.headers["x-mbx-apikey"] == KEY


async def test_the_signature_covers_the_encoded_text_as_it_was_sent() -> None:
    async with opened() as venue:
        status, order = await venue.buy(newClientOrderId="bot%2D17")
        assert (status, order["clientOrderId"]) == (200, "bot-17")
        query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001&timestamp={venue.server.now_ms()}"
        signed_plain = signature(query + "&newClientOrderId=bot-18")
        target = f"/api/v3/order?{query}&newClientOrderId=bot%2D18&signature={signed_plain}"
        async with venue.http.post(venue.url(target), headers={"X-MBX-APIKEY": KEY}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, -1022)


async def test_a_signed_body_is_joined_to_the_query_as_it_came() -> None:
    async with opened() as venue:
        query, form = "symbol=BTCUSDT&side=BUY", f"type=MARKET&quantity=0.001&timestamp={venue.server.now_ms()}"
        body = f"{form}&signature={signature(query + form)}".encode()
        headers = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}
        async with venue.http.post(venue.url(f"/api/v3/order?{query}"), data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "FILLED")


async def test_unknown_paths_are_answered_404_with_code_and_message() -> None:
    async with opened() as venue:
        for target in ("/api/v3/nope", "/"):
            status, body = await venue.get(target)
            assert status == 404
            assert set(body) == {"code", "msg"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await venue.link("/nope")
        assert refused.value.status == 404


# -- links -----------------------------------------------------------------------------------------------------------


async def test_fills_reach_the_user_data_subscription() -> None:
    async with opened() as venue:
        link = await venue.account_link()
        await venue.buy()
        events = [json.loads((await link.receive(PATIENCE_S)).data)["event"] for _ in range(3)]
        kinds = [event["e"] for event in events]
        assert "outboundAccountPosition" in kinds
        assert [event["X"] for event in events if event["e"] == "executionReport"] == ["NEW", "FILLED"]


async def test_orders_over_the_ws_api_are_answered_on_their_link() -> None:
    async with opened() as venue:
        link = await venue.link("/ws-api/v3")
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001"}
        await link.send_json(ws_request("order.place", order, venue.server.now_ms()))
        answer = json.loads((await link.receive(PATIENCE_S)).data)
        assert (answer["status"], answer["result"]["status"]) == (200, "FILLED")


async def test_a_clients_ping_is_answered_with_its_payload_and_binary_is_refused() -> None:
    async with opened() as venue:
        link = await venue.link("/ws", autoping=False)
        await link.ping(b"are you there")
        message = await link.receive(PATIENCE_S)
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"are you there")
        await link.send_bytes(b"\x00")
        await link.receive(PATIENCE_S)
        assert link.close_code == aiohttp.WSCloseCode.UNSUPPORTED_DATA


async def test_at_real_time_the_server_pings_and_closes_links_that_never_pong() -> None:
    market = GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=0)
    async with listening(market, speed=1.0, rules=dict.fromkeys(RULES, LinkRules(0.05, 1.0))) as venue:
        silent = await venue.link("/ws", autoping=False)
        alive = await venue.link("/ws")
        reader = asyncio.create_task(alive.receive())
        assert (await silent.receive(PATIENCE_S)).type is aiohttp.WSMsgType.PING
        async with asyncio.timeout(PATIENCE_S):
            while (await silent.receive()).type is aiohttp.WSMsgType.PING:
                await silent.pong(b"unsolicited")
        assert silent.closed
        assert not reader.done()
        reader.cancel()


def deaf_client(port: int, target: str) -> socket.socket:
    """A client with a small receive buffer that shakes hands and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    return client


def bytes_until_the_end(client: socket.socket) -> int:
    client.settimeout(PATIENCE_S)
    received = 0
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65_536):
            received += len(chunk)
    return received


async def test_a_client_that_does_not_read_is_disconnected_and_others_go_on() -> None:
    async with listening(tape(6_000), speed=math.inf, max_queued_frames=50, barrier_timeout_s=2.0) as venue:
        with deaf_client(venue.port, "/ws/btcusdt@kline_1m") as deaf:
            listener = Listener()
            transport, _ = await picows.ws_connect(lambda: listener, str(venue.url("/ws/btcusdt@kline_1m", "ws")))
            async with playing(venue.server) as end:
                await asyncio.wait_for(end, 60)
            assert closed_candles(listener.frames) == candles(6_000)
            sent = sum(len(json.dumps(frame, separators=(",", ":"))) for frame in listener.frames)
            assert await asyncio.to_thread(bytes_until_the_end, deaf) < sent
            transport.disconnect()


async def test_dropped_connections_end_without_a_close_frame() -> None:
    async with opened() as venue:
        stream, account = await venue.link("/ws/btcusdt@kline_1m"), await venue.account_link()
        assert venue.server.drop_connections("stream") == 1
        await stream.receive(PATIENCE_S)
        assert stream.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        await venue.buy()
        assert json.loads((await account.receive(PATIENCE_S)).data)["event"]
        assert venue.server.drop_connections() == 1


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("SIM-2")
async def test_a_dropped_response_leaves_an_executed_order_behind() -> None:
    async with opened() as venue:
        venue.server.faults.arm(Fault("reset-after", "orders", every=2))
        assert (await venue.buy(newClientOrderId="one"))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await venue.buy(newClientOrderId="two")
        query = venue.signed("symbol=BTCUSDT&origClientOrderId=two")
        assert (await venue.get(f"/api/v3/order?{query}"))[1]["status"] == "FILLED"


@pytest.mark.spec("SIM-2")
async def test_a_503_leaves_an_executed_order_behind_and_refused_orders_do_not_count() -> None:
    async with opened() as venue:
        venue.server.faults.arm(Fault("error-after", "orders", every=2, times=1))
        assert (await venue.buy())[0] == 200
        assert (await venue.buy("0.0000001"))[0] == 400
        assert (await venue.buy(newClientOrderId="lost"))[0] == 503
        query = venue.signed("symbol=BTCUSDT&origClientOrderId=lost")
        assert (await venue.get(f"/api/v3/order?{query}"))[1]["status"] == "FILLED"
        assert [(await venue.buy())[0] for _ in range(3)] == [200, 200, 200]


@pytest.mark.spec("SIM-2")
async def test_faults_strike_ws_api_orders_too() -> None:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001"}
    async with opened() as venue:
        venue.server.faults.arm(Fault("error-after", "orders", every=1, times=1))
        link = await venue.link("/ws-api/v3")
        await link.send_json(ws_request("order.place", {**order, "newClientOrderId": "a"}, venue.server.now_ms()))
        answer = json.loads((await link.receive(PATIENCE_S)).data)
        assert (answer["id"], answer["status"], answer["error"]["code"]) == ("order.place", 503, -1007)
        venue.server.faults.arm(Fault("reset-after", "orders", every=1))
        await link.send_json(ws_request("order.place", {**order, "newClientOrderId": "b"}, venue.server.now_ms()))
        await link.receive(PATIENCE_S)
        assert link.closed
        for client_order_id in "ab":
            query = venue.signed(f"symbol=BTCUSDT&origClientOrderId={client_order_id}")
            assert (await venue.get(f"/api/v3/order?{query}"))[1]["status"] == "FILLED"


# -- pacing ----------------------------------------------------------------------------------------------------------


def closed_candles(frames: Sequence[Json]) -> list[Candle]:
    klines = [frame["k"] for frame in frames if frame["e"] == "kline" and frame["k"]["x"]]
    return [Candle(k["t"], MINUTE_MS, *(Decimal(k[name]) for name in ("o", "h", "l", "c", "v"))) for k in klines]


@dataclass
class Listener(picows.WSListener):
    """A picows client that answers pings by itself, as the trader's library does."""

    frames: list[Json] = field(default_factory=list)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            self.frames.append(json.loads(frame.get_payload_as_bytes()))


@pytest.mark.spec("SIM-3")
@pytest.mark.parametrize("forming", [True, False])
async def test_a_replay_at_full_speed_delivers_the_tape_and_ends(forming: bool) -> None:
    options: Json = {"speed": math.inf, "wait_for_account": True, "forming_klines": forming}
    async with listening(tape(200, always_tick=False), **options) as venue, playing(venue.server) as end:
        listener = Listener()
        transport, _ = await picows.ws_connect(lambda: listener, str(venue.url("/ws/btcusdt@kline_1m", "ws")))
        account = await venue.account_link()
        reader = asyncio.create_task(account.receive())
        assert await asyncio.wait_for(end, PATIENCE_S) == T0_MS + 200 * MINUTE_MS
        # The end is behind the last barrier, so everything has been digested already.
        assert closed_candles(listener.frames) == candles(200)
        assert any(not frame["k"]["x"] for frame in listener.frames) == forming
        assert venue.server.now_ms() >= T0_MS + 200 * MINUTE_MS  # and goes on from there
        transport.disconnect()
        reader.cancel()


async def test_the_tape_waits_until_somebody_watches_and_owns_an_account() -> None:
    options: Json = {"speed": math.inf, "wait_for_account": True}
    async with listening(tape(3), **options) as venue, playing(venue.server) as end:
        stream = await venue.link("/ws")
        await stream.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
        assert json.loads((await stream.receive(PATIENCE_S)).data) == {"result": None, "id": 1}
        reader = asyncio.create_task(stream.receive())
        await asyncio.sleep(0.1)
        assert not reader.done()
        account = await venue.account_link()
        pinged = asyncio.create_task(account.receive())
        assert json.loads((await asyncio.wait_for(reader, PATIENCE_S)).data)["k"]["t"] == T0_MS
        first_after_start = asyncio.create_task(stream.receive())
        await asyncio.wait_for(first_after_start, PATIENCE_S)
        while not end.done():
            await stream.receive(PATIENCE_S)
            await asyncio.sleep(0)
            if venue.server.now_ms() == T0_MS + 3 * MINUTE_MS:
                break
        pinged.cancel()


@pytest.mark.spec("MODE-2")
@pytest.mark.parametrize(("speed", "holds"), [(3_000.0, True), (math.inf, True), (600.0, False)])
async def test_a_fast_market_holds_while_nobody_owns_an_account_and_a_slower_one_goes_on(
    speed: float, holds: bool
) -> None:
    options: Json = {"speed": speed, "wait_for_account": True}
    async with listening(tape(5_000), **options) as venue, playing(venue.server):
        stream = await venue.link("/ws/btcusdt@kline_1m")
        reader = asyncio.create_task(_read_on(stream))
        await asyncio.sleep(0.1)
        assert venue.server.now_ms() == T0_MS
        account = await venue.account_link()
        pinged = asyncio.create_task(_read_on(account))
        await eventually(lambda: venue.server.now_ms() > T0_MS)
        pinged.cancel()
        await account.close()
        await asyncio.sleep(0.2)
        then_ms = venue.server.now_ms()
        await asyncio.sleep(0.3)
        assert (venue.server.now_ms() == then_ms) is holds
        again = await venue.account_link()
        pinged = asyncio.create_task(_read_on(again))
        await eventually(lambda: venue.server.now_ms() > then_ms)
        pinged.cancel()
        reader.cancel()


async def _read_on(link: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        await link.receive()


async def test_a_client_that_delays_its_pong_delays_the_tape() -> None:
    async with listening(tape(5), speed=math.inf) as venue, playing(venue.server) as end:
        link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        frame = json.loads((await link.receive(PATIENCE_S)).data)
        assert frame["k"]["o"] == "60000.00000000"
        ping = await link.receive(PATIENCE_S)
        assert ping.type is aiohttp.WSMsgType.PING
        assert bytes(ping.data).startswith(b"digest ")
        with pytest.raises(asyncio.TimeoutError):
            await link.receive(0.3)
        assert (venue.server.now_ms(), end.done()) == (T0_MS, False)


@dataclass
class Pacer:
    """A client that reads everything and pongs only when told."""

    link: aiohttp.ClientWebSocketResponse
    frames: list[Json] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)

    async def listen(self) -> None:
        async for message in self.link:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.frames.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.PING:
                self.pings.append(bytes(message.data))

    async def pong(self) -> None:
        await eventually(lambda: bool(self.pings))
        await self.link.pong(self.pings.pop(0))


@asynccontextmanager
async def pacer(link: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Pacer]:
    client = Pacer(link)
    task = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_account_frames_are_digested_before_market_frames_are_sent() -> None:
    """A resting order fills on the second tick; the market frame of that tick waits for the account's pong."""
    async with listening(tape(5), speed=math.inf, wait_for_account=True) as venue, playing(venue.server):
        stream_link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        account_link = await venue.account_link(autoping=False)
        async with pacer(stream_link) as stream, pacer(account_link) as account:
            await account.pong()  # the answer to the subscription
            await eventually(lambda: len(stream.frames) == 1)
            limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=59998"
            assert (await venue.post("/api/v3/order", limit))[1]["status"] == "NEW"
            await eventually(lambda: len(account.frames) == 2)
            await stream.pong()
            await account.pong()  # the barrier came again for the frames that the order caused
            await eventually(lambda: any(f["event"].get("X") == "FILLED" for f in account.frames))
            assert venue.server.now_ms() == T0_MS + MINUTE_MS // 4
            await eventually(lambda: bool(account.pings))
            await asyncio.sleep(0.1)
            assert len(stream.frames) == 1
            await account.pong()
            await eventually(lambda: len(stream.frames) == 2)


async def test_requests_during_a_barrier_see_the_frozen_clock_and_renew_the_barrier() -> None:
    async with listening(tape(5), speed=math.inf, wait_for_account=True) as venue, playing(venue.server):
        stream_link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        account_link = await venue.account_link(autoping=False)
        async with pacer(stream_link) as stream, pacer(account_link) as account:
            await account.pong()
            await eventually(lambda: bool(stream.pings))
            await asyncio.sleep(0.1)
            assert (await venue.get("/api/v3/time"))[1]["serverTime"] == T0_MS
            order = (await venue.buy())[1]
            assert order["transactTime"] == T0_MS
            await stream.pong()
            await eventually(lambda: bool(account.pings))
            assert venue.server.now_ms() == T0_MS
            await account.pong()
            await eventually(lambda: venue.server.now_ms() > T0_MS)


async def test_answers_to_stream_commands_are_not_held_by_a_barrier_of_the_account() -> None:
    """Otherwise a client that pongs only when nothing is outstanding would wait for itself."""
    async with listening(tape(5), speed=math.inf, wait_for_account=True) as venue, playing(venue.server):
        stream_link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        account_link = await venue.account_link(autoping=False)
        async with pacer(stream_link) as stream, pacer(account_link) as account:
            await account.pong()
            await eventually(lambda: len(stream.frames) == 1)
            limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=59998"
            await venue.post("/api/v3/order", limit)
            await stream.pong()
            await account.pong()
            await eventually(lambda: any(f["event"].get("X") == "FILLED" for f in account.frames))
            await stream_link.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 9})
            await eventually(lambda: {"result": None, "id": 9} in stream.frames)


async def test_the_market_stops_waiting_for_a_client_that_never_pongs(capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(tape(5), speed=math.inf, barrier_timeout_s=0.1) as venue, playing(venue.server) as end:
        link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        async with pacer(link) as client:
            await asyncio.wait_for(end, PATIENCE_S)
            await eventually(lambda: len(closed_candles(client.frames)) == 5)
            assert len(client.pings) == 1
    assert "no longer waits" in capsys.readouterr().err


async def test_a_link_that_dies_in_a_barrier_does_not_stop_the_tape_for_the_next() -> None:
    """At full speed the tape also holds while nobody watches, so the next client misses nothing but what was sent."""
    async with listening(tape(5), speed=math.inf) as venue, playing(venue.server) as end:
        link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
        await link.receive(PATIENCE_S)
        venue.server.drop_connections()
        await asyncio.sleep(0.2)
        assert (venue.server.now_ms(), end.done()) == (T0_MS, False)
        listener = Listener()
        transport, _ = await picows.ws_connect(lambda: listener, str(venue.url("/ws/btcusdt@kline_1m", "ws")))
        await asyncio.wait_for(end, PATIENCE_S)
        assert closed_candles(listener.frames) == candles(5)
        transport.disconnect()


async def test_market_time_runs_n_times_as_fast_as_real_time() -> None:
    market = GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=0)
    loop = asyncio.get_running_loop()
    async with listening(market, speed=60.0) as venue:
        started_s = loop.time()
        async with playing(venue.server):
            await eventually(lambda: venue.server.now_ms() >= T0_MS + 30_000)
        assert 0.4 < loop.time() - started_s < 5


async def test_at_speed_one_requests_see_the_wall_clock_and_a_market_that_is_not_late() -> None:
    wall = {"ms": T0_MS + 59_500}
    market = GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=1)
    async with listening(market, speed=1.0, wall_ms=lambda: wall["ms"], history=market.history) as venue:
        assert (await venue.get("/api/v3/time"))[1]["serverTime"] == T0_MS + 59_500
        assert market.next_ms() == T0_MS + 60_000
        wall["ms"] -= 5_000
        assert (await venue.get("/api/v3/time"))[1]["serverTime"] == T0_MS + 59_500
        assert len((await venue.get("/api/v3/klines?symbol=BTCUSDT&interval=15m&limit=10"))[1]) == 10


@pytest.mark.spec("BT-2")
async def test_the_same_replay_with_the_same_client_gives_the_same_frames() -> None:
    async def one_run() -> list[Json]:
        async with listening(tape(60), speed=math.inf, wait_for_account=True) as venue, playing(venue.server) as end:
            account_link = await venue.account_link(autoping=False)
            stream_link = await venue.link("/ws/btcusdt@kline_1m", autoping=False)
            seen: list[Json] = []

            async def trade() -> None:
                """Buy on every tenth close, and pong only when the answer is there."""
                async for message in stream_link:
                    if message.type is aiohttp.WSMsgType.PING:
                        await stream_link.pong(bytes(message.data))
                        continue
                    seen.append(json.loads(message.data))
                    if seen[-1]["k"]["x"] and seen[-1]["k"]["t"] % (10 * MINUTE_MS) == 0:
                        seen.append((await venue.buy())[1])

            async def watch() -> None:
                async for message in account_link:
                    if message.type is aiohttp.WSMsgType.PING:
                        await account_link.pong(bytes(message.data))
                    else:
                        seen.append(json.loads(message.data))

            tasks = [asyncio.create_task(trade()), asyncio.create_task(watch())]
            await asyncio.wait_for(end, PATIENCE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return sorted(seen, key=lambda frame: json.dumps(frame, sort_keys=True))

    first = await one_run()
    assert sum("executedQty" in frame for frame in first) == 6
    assert await one_run() == first


def quiet() -> GeneratedMarket:
    """A market that makes its first print and then, as the clock of the test stands still, no other."""
    return GeneratedMarket(7, ("BTCUSDT",), T0_MS, history_days=0)


async def until_closed(link: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(PATIENCE_S):
        while (await link.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            pass
    return link.close_code


@pytest.mark.spec("SIM-1")
async def test_too_many_messages_in_a_second_end_a_stream_link() -> None:
    clock = lambda: T0_MS  # noqa: E731
    async with listening(quiet(), speed=1.0, wall_ms=clock) as venue:
        link, api = await venue.link("/ws"), await venue.link("/ws-api/v3")
        for number in range(50):
            await link.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            await api.send_json({"method": "time", "id": number})
        assert await until_closed(link) == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert json.loads((await api.receive(PATIENCE_S)).data)["status"] == 200
        assert not api.closed


@pytest.mark.spec("SIM-1")
async def test_too_many_connections_are_refused_for_a_while() -> None:
    rules = RULES | {"spot_stream": LinkRules(20, 60, connections_max=2)}
    async with listening(tape(5), speed=60.0, rules=rules) as venue:
        for _ in range(2):
            await venue.link("/ws")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await venue.link("/ws")
        assert refused.value.status == 429
        await venue.link("/ws-api/v3")


@pytest.mark.spec("SIM-1")
async def test_an_announced_shutdown_ends_the_links_that_were_told_and_keeps_the_new_ones() -> None:
    async with listening(quiet(), speed=1.0, wall_ms=lambda: T0_MS) as venue:
        old, api = await venue.link("/stream"), await venue.link("/ws-api/v3")
        venue.server.announce_shutdown(0.3)
        told = json.loads((await old.receive(PATIENCE_S)).data)
        assert (told["stream"], told["data"]["e"]) == ("!serverShutdown", "serverShutdown")
        assert json.loads((await api.receive(PATIENCE_S)).data)["event"]["e"] == "serverShutdown"
        new = await venue.link("/stream")
        assert await until_closed(old) == await until_closed(api) == aiohttp.WSCloseCode.GOING_AWAY
        await new.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert json.loads((await new.receive(PATIENCE_S)).data)["result"] == []


@pytest.mark.spec("SIM-1")
async def test_what_had_to_wait_for_its_period_is_sent_when_it_is_over() -> None:
    async with listening(quiet(), speed=1.0, wall_ms=lambda: T0_MS) as venue:
        await venue.get("/api/v3/time")  # which performs what is due
        link = await venue.link("/ws/btcusdt@depth@100ms")
        for price in ("50000", "50001"):
            await venue.post(
                "/api/v3/order", f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={price}"
            )
        venue.server._timeline._wall_ms = lambda: T0_MS + 100
        venue.server._timeline.tell()
        first, second = [json.loads((await link.receive(PATIENCE_S)).data) for _ in range(2)]
        assert first["b"][-1] == ["50000.00000000", "0.01000000"]
        assert ["50001.00000000", "0.01000000"] in second["b"]
        assert second["U"] == first["u"] + 1


@pytest.mark.spec("SIM-1")
async def test_in_paced_time_the_exchange_is_woken_between_events() -> None:
    async with listening(tape(3), speed=math.inf, wait_for_klines=True) as venue:
        link = await venue.link("/stream?streams=btcusdt@kline_1m/btcusdt@depth@100ms")
        status, _ = await venue.post(
            "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=50000"
        )
        assert status == 200
        depths = []
        async with playing(venue.server) as end:
            while not end.done():
                with contextlib.suppress(TimeoutError):
                    message = await link.receive(0.2)
                    if message.type is aiohttp.WSMsgType.TEXT:
                        frame = json.loads(message.data)
                        depths += [frame["data"]] if frame["stream"].endswith("100ms") else []
        assert depths
        assert all(later["U"] == earlier["u"] + 1 for earlier, later in itertools.pairwise(depths))
