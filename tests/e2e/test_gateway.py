"""The gateway against real sockets that misbehave: one request is one arrival, one connection ends once.

The other end is written byte by byte, so that nothing between the test and the wire can be kind.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

import surefoot.binance.gateway as module
from surefoot.binance.dialogue import (
    ACCOUNT,
    MARKET,
    Arrival,
    CloseLink,
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    LinkDown,
    LinkUp,
    OpenLink,
    SendText,
)
from surefoot.binance.gateway import Addresses, ClockTold, Gateway, Pinged

HOST = "127.0.0.1"
PATIENCE_S = 5.0
QUIET_S = 0.3
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10

Delivered = Arrival | Pinged | ClockTold
Serve = Callable[["Wire", "Line"], Awaitable[None]]


@dataclass
class Line:
    """The far end of one connection, after its request head was read."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def shake_hands(self) -> None:
        """Accept a WebSocket."""
        key = next(
            row.split(b": ")[1] for row in self.head.split(b"\r\n") if row.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + WS_GUID).digest())
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def send(self, kind: int, payload: bytes, *, last: bool = True) -> None:
        size = len(payload)
        if size < 126:
            length = bytes([size])
        elif size < 65_536:
            length = b"\x7e" + struct.pack(">H", size)
        else:
            length = b"\x7f" + struct.pack(">Q", size)
        self.writer.write(bytes([kind | (0x80 if last else 0)]) + length + payload)

    async def take(self) -> tuple[int, bytes]:
        """The next frame of the client, unmasked; short ones only."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@dataclass
class Wire:
    """A gateway, the server it speaks to, and all that came out on either side."""

    serve: Serve
    heads: list[bytes] = field(default_factory=list)
    arrivals: list[Delivered] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    lines: list[Line] = field(default_factory=list)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                line = Line(head, reader, writer)
                self.lines.append(line)
                await self.serve(self, line)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def deliver(self, arrival: Delivered) -> None:
        self.arrivals.append(arrival)
        self.arrived.set()

    async def arrival(self) -> Delivered:
        """The next thing that the gateway delivers."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.arrivals:
                self.arrived.clear()
                await self.arrived.wait()
        return self.arrivals.pop(0)


@asynccontextmanager
async def wired(serve: Serve, *, paced: bool = False) -> AsyncIterator[tuple[Wire, Gateway]]:
    wire = Wire(serve)
    server = await asyncio.start_server(wire.welcome, HOST, 0)
    base = f"{HOST}:{server.sockets[0].getsockname()[1]}"
    gateway = Gateway(Addresses(f"http://{base}", f"ws://{base}/ws-api/v3", f"ws://{base}"), wire.deliver, paced=paced)
    await gateway.start()
    try:
        yield wire, gateway
    finally:
        await gateway.close()
        server.close()
        for line in wire.lines:
            line.writer.transport.abort()
        await asyncio.sleep(0.01)


def answering(status: int, body: bytes) -> Serve:
    async def serve(wire: Wire, line: Line) -> None:
        size = b"Content-Length: %d\r\n" % len(body)
        line.writer.write(b"HTTP/1.1 %d Whatever\r\nX-MBX-USED-WEIGHT-1M: 7\r\n" % status + size + b"\r\n" + body)
        await line.writer.drain()

    return serve


async def dropping(wire: Wire, line: Line) -> None:
    """Read the request, then break the connection."""
    line.writer.transport.abort()


async def dropping_after_one_answer(wire: Wire, line: Line) -> None:
    """A connection that is kept alive, and breaks when it is used again: where HTTP clients like to send again."""
    if len(wire.heads) == 1:
        await answering(200, b"{}")(wire, line)
    else:
        line.writer.transport.abort()


async def listening(wire: Wire, line: Line) -> None:
    """Accept a WebSocket and leave the rest to the test."""
    await line.shake_hands()
    await asyncio.sleep(60)


# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
async def test_request_whose_connection_breaks_arrives_exactly_once(method: str) -> None:
    async with wired(dropping) as (wire, gateway):
        gateway.send(HttpRequest(1, method, "/api/v3/order?a=1", {}))
        failure = await wire.arrival()
        assert isinstance(failure, HttpFailed)
        assert failure.sent
        await asyncio.sleep(QUIET_S)
        assert len(wire.heads) == 1
        assert not wire.arrivals


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
async def test_request_on_a_kept_connection_that_breaks_arrives_exactly_once(method: str) -> None:
    async with wired(dropping_after_one_answer) as (wire, gateway):
        gateway.send(HttpRequest(1, "GET", "/api/v3/time", {}))
        assert isinstance(await wire.arrival(), HttpAnswer)
        gateway.send(HttpRequest(2, method, "/api/v3/order?a=1", {}))
        failure = await wire.arrival()
        assert isinstance(failure, HttpFailed)
        assert failure.request_id == 2
        assert failure.sent
        await asyncio.sleep(QUIET_S)
        assert len(wire.heads) == 2
        assert not wire.arrivals


@pytest.mark.spec("NET-1", "NET-3")
@pytest.mark.parametrize(
    "target",
    [
        "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%2C%22ETHUSDT%22%5D",
        "/api/v3/order?symbol=%EF%BC%91%EF%BC%92&newClientOrderId=a%2Bb%20c&signature=ab",
        "/api/v3/order?a=1%2C2&b=~-_.&c=%7E&d=%2f%2F",
        "/api/v3/order?a=[x],{y}|z",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_target_arrives_byte_for_byte_as_it_was_signed(target: str, method: str) -> None:
    async with wired(answering(200, b"{}")) as (wire, gateway):
        gateway.send(HttpRequest(1, method, target, {"X-MBX-APIKEY": "key"}))
        await wire.arrival()
        line, *rows = wire.heads[0].split(b"\r\n")
        assert line == f"{method} {target} HTTP/1.1".encode()
        assert b"X-MBX-APIKEY: key" in rows


@pytest.mark.spec("NET-3")
@pytest.mark.parametrize("status", [200, 400, 418, 429, 503])
async def test_every_status_is_an_answer_with_its_body(status: int) -> None:
    async with wired(answering(status, b'{"code":-1007}')) as (wire, gateway):
        gateway.send(HttpRequest(9, "POST", "/api/v3/order", {}))
        answer = await wire.arrival()
        assert isinstance(answer, HttpAnswer)
        assert (answer.request_id, answer.status, answer.body) == (9, status, b'{"code":-1007}')
        assert answer.headers["x-mbx-used-weight-1m"] == "7"


@pytest.mark.spec("NET-3")
async def test_answer_that_never_comes_is_a_failure_of_a_request_that_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HTTP_TIMEOUT_S", 0.2)

    async def silent(wire: Wire, line: Line) -> None:
        await asyncio.sleep(60)

    async with wired(silent) as (wire, gateway):
        gateway.send(HttpRequest(1, "POST", "/api/v3/order", {}))
        failure = await wire.arrival()
        assert isinstance(failure, HttpFailed)
        assert failure.sent


@pytest.mark.spec("NET-3")
async def test_answer_that_breaks_off_is_a_failure_of_a_request_that_was_sent() -> None:
    async def half(wire: Wire, line: Line) -> None:
        line.writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"orderId":')
        await line.writer.drain()
        line.writer.close()

    async with wired(half) as (wire, gateway):
        gateway.send(HttpRequest(1, "POST", "/api/v3/order", {}))
        failure = await wire.arrival()
        assert isinstance(failure, HttpFailed)
        assert failure.sent


@pytest.mark.spec("NET-3")
async def test_refused_connection_is_a_request_that_never_left() -> None:
    async with wired(dropping) as (wire, _):
        server = await asyncio.start_server(wire.welcome, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        lonely = Gateway(Addresses(f"http://{HOST}:{port}", "", ""), wire.deliver)
        await lonely.start()
        lonely.send(HttpRequest(1, "POST", "/api/v3/order", {}))
        failure = await wire.arrival()
        await lonely.close()
        assert isinstance(failure, HttpFailed)
        assert not failure.sent
        assert not wire.heads


# -- WebSocket -------------------------------------------------------------------------------------------------------


async def opened(wire: Wire, gateway: Gateway, link: str = MARKET) -> Line:
    """A link that is up; its far end."""
    gateway.send(OpenLink(link, "/stream"))
    assert await wire.arrival() == LinkUp(link)
    return wire.lines[-1]


@pytest.mark.spec("NET-4")
@pytest.mark.parametrize("way", ["close frame", "end of stream", "reset"])
async def test_connection_that_ends_is_told_exactly_once(way: str) -> None:
    async with wired(listening) as (wire, gateway):
        line = await opened(wire, gateway)
        if way == "close frame":
            line.send(CLOSE, struct.pack(">H", 1001) + b"going away")
        elif way == "end of stream":
            line.writer.close()
        else:
            line.writer.transport.abort()
        down = await wire.arrival()
        assert isinstance(down, LinkDown)
        assert down.link == MARKET
        await asyncio.sleep(QUIET_S)
        assert not wire.arrivals


@pytest.mark.spec("NET-4")
async def test_connection_that_we_close_ourselves_is_not_told() -> None:
    async with wired(listening) as (wire, gateway):
        await opened(wire, gateway)
        gateway.send(CloseLink(MARKET))
        await asyncio.sleep(QUIET_S)
        assert not wire.arrivals


@pytest.mark.spec("NET-4")
async def test_handshake_that_fails_is_a_link_that_is_down() -> None:
    async with wired(answering(404, b"")) as (wire, gateway):
        gateway.send(OpenLink(ACCOUNT, "/ws-api/v3"))
        down = await wire.arrival()
        assert isinstance(down, LinkDown)
        assert down.link == ACCOUNT
        assert wire.heads[0].startswith(b"GET /ws-api/v3 HTTP/1.1")


@pytest.mark.spec("NET-4")
async def test_message_in_parts_is_joined_and_control_frames_may_come_between() -> None:
    async with wired(listening) as (wire, gateway):
        line = await opened(wire, gateway)
        line.send(TEXT, b'{"a":', last=False)
        line.send(PING, b"still there?")
        line.send(CONTINUATION, b"1,", last=False)
        line.send(CONTINUATION, b'"b":2}')
        line.send(TEXT, b"{}")
        assert await wire.arrival() == Frame(MARKET, b'{"a":1,"b":2}')
        assert await wire.arrival() == Frame(MARKET, b"{}")
        assert await asyncio.wait_for(line.take(), PATIENCE_S) == (PONG, b"still there?")


@pytest.mark.spec("NET-4")
async def test_frame_of_a_megabyte_passes() -> None:
    async with wired(listening) as (wire, gateway):
        line = await opened(wire, gateway)
        payload = b"x" * 1_000_000
        line.send(TEXT, payload)
        assert await wire.arrival() == Frame(MARKET, payload)


@pytest.mark.spec("NET-4")
@pytest.mark.parametrize("paced", [False, True])
async def test_pings_are_answered_with_their_own_payload(paced: bool) -> None:
    async with wired(listening, paced=paced) as (wire, gateway):
        line = await opened(wire, gateway)
        line.send(PING, b"1790000100000")
        assert await asyncio.wait_for(line.take(), PATIENCE_S) == (PONG, b"1790000100000")
        assert not wire.arrivals


async def test_texts_leave_as_they_are() -> None:
    async with wired(listening) as (wire, gateway):
        line = await opened(wire, gateway)
        gateway.send(SendText(MARKET, '{"method":"SUBSCRIBE","params":["币安usdt@trade"],"id":1}'))
        kind, payload = await asyncio.wait_for(line.take(), PATIENCE_S)
        assert (kind, payload.decode()) == (TEXT, '{"method":"SUBSCRIBE","params":["币安usdt@trade"],"id":1}')


@pytest.mark.spec("MODE-2")
async def test_paced_gateway_hands_the_question_on_and_answers_when_told_to() -> None:
    async with wired(listening, paced=True) as (wire, gateway):
        line = await opened(wire, gateway)
        assert b"X-Market-Clock: yes" in line.head
        line.send(PONG, b"clock 1790000100000")
        line.send(PING, b"digest 3 1790000100000")
        assert await wire.arrival() == ClockTold(1_790_000_100_000)
        assert await wire.arrival() == Pinged(MARKET, b"digest 3 1790000100000")
        gateway.pong(MARKET, b"digest 3 1790000100000 1790000115000")
        assert await asyncio.wait_for(line.take(), PATIENCE_S) == (PONG, b"digest 3 1790000100000 1790000115000")
