"""Moves bytes between the session and the venue's sockets; decides nothing.

Every HTTP request of the session ends as exactly one arrival, every connection as one `LinkDown`. Nothing is ever sent
twice: aiohttp's own resending after a dropped connection is switched off.

`paced` is for a replay by the simulated exchange only. It asks, by WebSocket pings, whether all it has sent is
digested; such pings become `Pinged` arrivals, which the driver answers when that is so, instead of at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

import aiohttp
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from yarl import URL

from surefoot.binance.codec import BadFrame, read_time
from surefoot.binance.dialogue import (
    ACCOUNT,
    Arrival,
    CloseLink,
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    LinkDown,
    LinkUp,
    OpenLink,
    Request,
    SendText,
    SocketRequest,
)

HTTP_TIMEOUT_S = 12.0  # the venue gives up after 10
CONNECT_TIMEOUT_S = 5.0
CLIENT_PING_S = 15.0
TCP_ESTABLISHED = 1
READ_AT_ONCE = 500
RECEIVE_BUFFER_BYTES = 256 * 1024
PACE_MARK = b"digest "
CLOCK_MARK = b"clock "
CLOCK_WANTED = {"X-Market-Clock": "yes"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the three services of one venue are; `ws_api` is complete, to the others a path is added."""

    rest: str
    ws_api: str
    streams: str


@dataclass(frozen=True, slots=True)
class Pinged:
    """The replaying exchange asks whether everything it sent is digested; `payload` says at what market time."""

    link: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ClockTold:
    """The replaying exchange says what time it is, ahead of what it sends at that time."""

    market_ms: int


Deliver = Callable[[Arrival | Pinged | ClockTold], None]


class Gateway:
    """One HTTP pool and a few connections. `deliver` is called on the event loop, in the order of arrival."""

    def __init__(self, addresses: Addresses, deliver: Deliver, *, paced: bool = False) -> None:
        self._addresses = addresses
        self._deliver = deliver
        self._paced = paced
        self._http: aiohttp.ClientSession | None = None
        self._transports: dict[str, WSTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unread = 0  # arrivals since `read_on`
        self._paused: set[str] = set()

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._http = aiohttp.ClientSession(timeout=timeout, auto_decompress=True)
        # The only switch there is against aiohttp resending a DELETE whose connection dropped; a test counts arrivals.
        self._http._retry_connection = False

    async def close(self) -> None:
        """End every connection. What was still on its way is given up without an arrival."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in list(self._transports.values()):
            transport.disconnect()
        self._transports.clear()
        if self._http is not None:
            await self._http.close()

    async def server_time_ms(self, path: str) -> int | None:
        """The venue's clock, read once outside the dialogue; None when it does not answer."""
        answer = await self.read_once(path, {})
        try:
            return None if answer is None else read_time(answer[1])
        except BadFrame:
            return None

    async def read_once(self, target: str, headers: Mapping[str, str]) -> tuple[int, bytes] | None:
        """Status and body of one read outside the dialogue; None when nothing answers."""
        assert self._http is not None
        url = URL(self._addresses.rest + target, encoded=True)
        try:
            async with self._http.get(url, headers=headers) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def send(self, request: Request) -> None:
        """Let a request leave; its answer is delivered later."""
        match request:
            case HttpRequest():
                self._spawn(self._call(request))
            case OpenLink():
                self._drop(request.link)  # one that counts as lost may still be open
                self._spawn(self._open(request))
            case CloseLink():
                self._drop(request.link)
            case SendText():
                self._say(request.link, request.text)
            case SocketRequest():
                if not self._say(request.link, request.text):
                    self._deliver(HttpFailed(request.request_id, False, f"the {request.link} link is down"))

    def _say(self, link: str, text: str) -> bool:
        """Whether there was a connection to say it on."""
        transport = self._transports.get(link)
        if transport is None or not _is_open(transport):
            return False
        transport.send(WSMsgType.TEXT, text.encode())
        return True

    def pong(self, link: str, payload: bytes) -> None:
        """Answer a `Pinged`: everything up to it is digested."""
        transport = self._transports.get(link)
        if transport is not None:
            transport.send_pong(payload)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- HTTP -------------------------------------------------------------------------------------------------

    async def _call(self, request: HttpRequest) -> None:
        self._deliver(await self._exchange(request))

    async def _exchange(self, request: HttpRequest) -> HttpAnswer | HttpFailed:
        assert self._http is not None
        url = URL(self._addresses.rest + request.target, encoded=True)  # the bytes that were signed
        try:
            async with self._http.request(request.method, url, headers=request.headers) as response:
                body = await response.read()
                headers = {name.lower(): value for name, value in response.headers.items()}
                return HttpAnswer(request.request_id, response.status, headers, body)
        except aiohttp.ClientConnectorError as problem:  # no connection was made, so nothing was sent
            return HttpFailed(request.request_id, False, str(problem))
        except aiohttp.ConnectionTimeoutError as problem:
            return HttpFailed(request.request_id, False, f"no connection in time: {problem}")
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            return HttpFailed(request.request_id, True, f"{type(problem).__name__}: {problem}")

    # -- WebSocket --------------------------------------------------------------------------------------------

    async def _open(self, request: OpenLink) -> None:
        addresses = self._addresses
        url = addresses.ws_api if request.target.startswith("/ws-") else addresses.streams + request.target
        try:
            await ws_connect(
                lambda: _Listener(self, request.link, self._paced),
                url,
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                enable_auto_ping=True,
                auto_ping_idle_timeout=CLIENT_PING_S,
                auto_ping_reply_timeout=CLIENT_PING_S,
                enable_auto_pong=not self._paced,
                extra_headers=CLOCK_WANTED if self._paced else None,
            )
        except Exception as problem:  # whatever kept it from opening, the session tries again
            self._deliver(LinkDown(request.link, f"{type(problem).__name__}: {problem}"))

    def _drop(self, link: str) -> None:
        """Close on the session's own wish: it knows, so nothing is delivered."""
        transport = self._transports.pop(link, None)
        if transport is not None:
            transport.disconnect()

    def connected(self, link: str, transport: WSTransport) -> None:
        # What the system holds is delivered in one go, so that it bounds for how long nothing else is done.
        own_socket = transport.underlying_transport.get_extra_info("socket")
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._transports[link] = transport
        self._deliver(LinkUp(link))

    def disconnected(self, link: str, transport: WSTransport) -> None:
        if self._transports.get(link) is transport:
            del self._transports[link]
            self._deliver(LinkDown(link, "the connection ended"))

    def received(self, link: str, transport: WSTransport, arrival: Frame | Pinged | ClockTold) -> None:
        if self._transports.get(link) is transport:
            self._deliver(arrival)
            self._unread += 1
            if self._unread >= READ_AT_ONCE and link != ACCOUNT and link not in self._paused:
                self._paused.add(link)
                transport.underlying_transport.pause_reading()

    def read_on(self) -> None:
        """All that was delivered is taken: connections that said so much that they had to wait go on.

        Without the pause, one that floods would be read for as long as it has something, and nothing else done.
        """
        self._unread = 0
        for link in self._paused:
            transport = self._transports.get(link)
            if transport is not None:
                transport.underlying_transport.resume_reading()
        self._paused.clear()


def _is_open(transport: WSTransport) -> bool:
    """Whether the venue has not closed it yet. Writing to one that it closed can hide from uvloop that it is closed.

    Only Linux tells; elsewhere it counts as open until its end is heard.
    """
    if not hasattr(socket, "TCP_INFO"):
        return True
    handle = transport.underlying_transport.get_extra_info("socket")
    return bool(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED)


class _Listener(WSListener):
    """One connection's callbacks: hands whole messages on."""

    def __init__(self, gateway: Gateway, link: str, paced: bool) -> None:
        super().__init__()
        self._paced = paced
        self._gateway = gateway
        self._link = link
        self._parts = bytearray()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._gateway.connected(self._link, transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._gateway.disconnected(self._link, transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type == WSMsgType.TEXT and frame.fin and not self._parts:  # nearly all, and many of them
            self._gateway.received(self._link, transport, Frame(self._link, payload))
            return
        match frame.msg_type:
            case WSMsgType.TEXT | WSMsgType.BINARY | WSMsgType.CONTINUATION:
                self._take_part(transport, payload, whole=bool(frame.fin))
            case WSMsgType.PING if payload.startswith(PACE_MARK):
                self._gateway.received(self._link, transport, Pinged(self._link, payload))
            case WSMsgType.PING if self._paced:
                transport.send_pong(payload)
            case WSMsgType.PONG if self._paced and payload.startswith(CLOCK_MARK):
                self._gateway.received(self._link, transport, ClockTold(int(payload.removeprefix(CLOCK_MARK))))
            case WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

    def _take_part(self, transport: WSTransport, payload: bytes, *, whole: bool) -> None:
        if not whole or self._parts:
            self._parts += payload
            if not whole:
                return
            payload, self._parts = bytes(self._parts), bytearray()
        self._gateway.received(self._link, transport, Frame(self._link, payload))
