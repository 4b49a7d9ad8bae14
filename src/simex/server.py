"""Real sockets over one exchange: HTTP, WebSocket links, and the pacing of market time.

Rules: the exchange decides everything, this module moves bytes and time. Targets and bodies reach the exchange exactly
as received. At speed 1 the clock is the wall clock. At any other speed the clock is market time: it stands still
between events, and after each event a barrier (ping, wait for pong) makes sure that every client has digested what it
was sent, account frames before market frames, before time goes on. What time it is stands in those pings and, for a
client whose handshake has the header `X-Market-Clock: yes`, in an unasked pong ahead of the frames.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Literal, Protocol
from urllib.parse import unquote

from aiohttp import WSCloseCode, WSMsgType, web

from simex.faults import (
    FaultKind,
    FaultPlan,
    is_accepted_answer,
    places_order,
    placing_id,
    unknown_outcome_answer,
    unknown_outcome_body,
)
from simex.market import Market
from simex.strip import Strip
from simex.venue import HttpRequest, HttpResponse

HOST = "127.0.0.1"
MAX_QUEUED_FRAMES = 4_096
MAX_TEXT_BYTES = 1_048_576
KEEPALIVE_PING_S = 20.0
KEEPALIVE_PONG_S = 60.0
LINK_LIFE_S = 86_400.0
BARRIER_TIMEOUT_S = 5.0
CATCH_UP_S = 1.0
CLOSE_GRACE_S = 0.5
# Without frames there is no barrier; other tasks must still get their turn now and then.
EVENTS_PER_TURN = 64
CLOCK_HEADER = "X-Market-Clock"
ACCOUNT_PREFIXES = ("/ws-api/", "/ws-fapi/", "/private/")  # links that carry what accounts are told

REAL_TIME = 1.0
MAX_SPEED = math.inf

LinkKind = Literal["ws_api", "stream"]
Frames = Iterable[tuple[int, str]]


class Venue(Protocol):
    """The exchange as the sockets see it; `simex.exchange.Exchange` is one."""

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse: ...

    def ws_open(self, link: int, target: str, now_ms: int) -> bool: ...

    def ws_text(self, link: int, text: str, now_ms: int) -> None: ...

    def ws_close(self, link: int) -> None: ...

    def hears_account(self, link: int) -> bool: ...

    def take_frames(self) -> list[tuple[int, str]]: ...

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None: ...

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None: ...

    def next_close_ms(self, symbol: str) -> int: ...

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None: ...

    def is_idle(self, symbol: str) -> bool: ...

    def stop_side(self, symbol: str) -> int: ...

    def roll(self, now_ms: int) -> None: ...


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Server:
    """One exchange and one market behind HTTP and WebSocket on the loopback address.

    `speed`: market time over real time; 1 follows the wall clock, `math.inf` knows no waiting but the barriers.
    `wait_for_klines`, `wait_for_account`: hold the market until some link subscribed to a kline stream, or to user
    data. At unlimited speed the market also holds whenever no such link is left, for it would be over in a blink.
    """

    def __init__(
        self,
        exchange: Venue,
        market: Market,
        *,
        speed: float = REAL_TIME,
        wait_for_klines: bool = False,
        wait_for_account: bool = False,
        faults: FaultPlan | None = None,
        wall_ms: Callable[[], int] = wall_clock_ms,
        max_queued_frames: int = MAX_QUEUED_FRAMES,
        keepalive_ping_s: float = KEEPALIVE_PING_S,
        keepalive_pong_s: float = KEEPALIVE_PONG_S,
        barrier_timeout_s: float = BARRIER_TIMEOUT_S,
    ) -> None:
        self.faults = faults if faults is not None else FaultPlan()
        self._exchange = exchange
        self._market = market
        self._speed = speed
        self._wait_for_klines = wait_for_klines or speed == MAX_SPEED
        self._wait_for_account = wait_for_account
        self._wall_ms = wall_ms
        self._max_queued_frames = max_queued_frames
        self._keepalive_ping_s = keepalive_ping_s
        self._keepalive_pong_s = keepalive_pong_s
        self._barrier_timeout_s = barrier_timeout_s
        self._links: dict[int, _Link] = {}
        self._last_link = 0
        self._last_digest = 0
        self._held_market_frames: list[tuple[int, str]] | None = None
        self._something_changed = asyncio.Event()
        self._clock_ms = self._first_clock_ms()
        self._ended_s: float | None = None
        self._runner: web.ServerRunner | None = None
        self._keepalive: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self, host: str = HOST, port: int = 0) -> int:
        """Listen; the port that was bound. OSError when the port is taken."""
        runner = web.ServerRunner(
            web.Server(self._serve, access_log=None, auto_decompress=False), shutdown_timeout=CLOSE_GRACE_S
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        if self._is_real_time:
            self._keepalive = asyncio.create_task(self._keep_alive())
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every link and stop listening; takes less than two seconds whatever the clients do."""
        if self._keepalive is not None:
            self._keepalive.cancel()
        closing = [asyncio.create_task(link.close(WSCloseCode.GOING_AWAY)) for link in self._links.values()]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_GRACE_S)
        self.drop_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def drop_connections(self, kind: LinkKind | None = None) -> int:
        """Cut the WebSocket links (of one kind) without a close frame, as a failing network does; how many."""
        dropped = [link for link in self._links.values() if kind in (None, link.kind)]
        for link in dropped:
            link.abort()
        return len(dropped)

    def now_ms(self) -> int:
        """The exchange's clock: UTC ms, wall time at speed 1, market time otherwise; it never goes back."""
        if self._is_real_time:
            self._clock_ms = max(self._clock_ms, self._wall_ms())
        if self._ended_s is None:
            return self._clock_ms
        # The market is over, but clients live on and must not find their clocks ahead of a time that stands still.
        return self._clock_ms + int((time.monotonic() - self._ended_s) * 1_000)

    @property
    def _is_real_time(self) -> bool:
        return self._speed == REAL_TIME

    def _first_clock_ms(self) -> int:
        return self._wall_ms() if self._is_real_time else self._market.next_ms() or 0

    # -- market time -------------------------------------------------------------------------------------------------

    async def play(self) -> int:
        """Run the market to its end; the clock at the end (UTC ms). A generated market has none."""
        if self._is_real_time:
            await self._play_along_the_wall_clock()
        else:
            await self._play_paced()
        if self._market.end_ms is not None:
            self._clock_ms = max(self._clock_ms, self._market.end_ms)
        self._exchange.roll(self._clock_ms)
        await self._deliver()
        self._ended_s = time.monotonic()
        return self._clock_ms

    async def _play_along_the_wall_clock(self) -> None:
        while (at_ms := self._market.next_ms()) is not None:
            await asyncio.sleep(max(0, at_ms - self._wall_ms()) / 1_000)
            self._perform_due()
            self._send_by_kind(self._exchange.take_frames())

    def _perform_due(self) -> None:
        """At speed 1 a request must not see a market that is late, so what is due comes first."""
        now_ms = self.now_ms()
        while (at_ms := self._market.next_ms()) is not None and at_ms <= now_ms:
            self._market.advance(self._exchange)

    async def _play_paced(self) -> None:
        pause = _Pause(self._speed)
        turn = 0
        await self._clients_are_ready()
        while (at_ms := self._market.next_ms()) is not None:
            if self._speed == MAX_SPEED:
                await self._clients_are_ready()
            # What clients were sent before, such as answers to their subscriptions, is digested before time moves.
            await self._barrier()
            await self._wake_clients(pause, at_ms)
            await pause.until(at_ms)
            self._clock_ms = at_ms
            self._market.advance(self._exchange)
            await self._deliver()
            turn = (turn + 1) % EVENTS_PER_TURN
            if not turn:
                await asyncio.sleep(0)

    async def _wake_clients(self, pause: _Pause, before_ms: int) -> None:
        """Stop at every time between events that a client asked for with its pong, so that it can act at it."""
        while True:
            wishes = [link.wake_ms for link in self._links.values() if link.wake_ms is not None]
            at_ms = max(min(wishes, default=before_ms), self._clock_ms)
            if at_ms >= before_ms:
                return
            await pause.until(at_ms)
            self._clock_ms = at_ms
            for link in self._links.values():
                if link.wake_ms is not None and link.wake_ms <= at_ms:
                    link.wake()
            await self._barrier()

    async def _clients_are_ready(self) -> None:
        while not self._is_ready():
            self._something_changed.clear()
            await self._something_changed.wait()

    def _is_ready(self) -> bool:
        links = self._links.values()
        has_klines = not self._wait_for_klines or any(link.kline_streams for link in links)
        return has_klines and (not self._wait_for_account or any(link.has_account for link in links))

    async def _deliver(self) -> None:
        """Account frames, barrier, market frames, barrier."""
        frames = self._exchange.take_frames()
        if not frames:
            return
        if self._is_real_time:
            self._send_by_kind(frames)
            return
        # Market frames that requests cause meanwhile queue up behind this event's own.
        self._held_market_frames = []
        self._send_by_kind(frames)
        await self._barrier()
        held, self._held_market_frames = self._held_market_frames, None
        self._send(held)
        await self._barrier()

    async def _barrier(self) -> None:
        """Ping every link that got frames since its last answered ping, until none is left."""
        while owing := [link for link in self._links.values() if link.owes_pong]:
            self._last_digest += 1
            payload = b"digest %d %d" % (self._last_digest, self._clock_ms)
            for link in owing:
                link.ping(payload)
            if not await self._answered(owing):
                self._stop_pacing(owing)

    async def _answered(self, links: list[_Link]) -> bool:
        try:
            async with asyncio.timeout(self._barrier_timeout_s):
                while any(link.awaits_pong for link in links):
                    self._something_changed.clear()
                    await self._something_changed.wait()
        except TimeoutError:
            return False
        return True

    def _stop_pacing(self, links: list[_Link]) -> None:
        for link in links:
            if link.awaits_pong:
                link.is_pacing = False
                print(
                    f"simex: link {link.number} did not pong for {self._barrier_timeout_s:g} s; "
                    "the market no longer waits for it",
                    file=sys.stderr,
                    flush=True,
                )

    # -- frames ------------------------------------------------------------------------------------------------------

    def _send_by_kind(self, frames: list[tuple[int, str]]) -> None:
        held = self._held_market_frames
        if held is None:
            self._send(frames)
            return
        account = {number for number, link in self._links.items() if link.kind == "ws_api"}
        held.extend(frame for frame in frames if frame[0] not in account)
        self._send(frame for frame in frames if frame[0] in account)

    def _note_account(self, link: _Link) -> None:
        has_account = self._exchange.hears_account(link.number)
        if has_account != link.has_account:
            link.has_account = has_account
            self._something_changed.set()

    def _send(self, frames: Frames) -> None:
        for number, text in frames:
            link = self._links.get(number)
            if link is not None:
                if link.wants_clock and not self._is_real_time:
                    link.tell_clock(self._clock_ms)
                link.send(text)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_link(request)
        wire_request = HttpRequest(
            method=request.method,
            target=request.raw_path,
            headers=_lower_names(request.headers),
            body=await request.read(),
        )
        return self._answer(wire_request, request)

    def _answer(self, wire_request: HttpRequest, request: web.BaseRequest) -> web.Response:
        if self._is_real_time:
            self._perform_due()
        answer = self._exchange.rest(wire_request, self.now_ms())
        self._send_by_kind(self._exchange.take_frames())
        fault: FaultKind | None = None
        if answer.status == 200 and places_order(wire_request.method, wire_request.target):
            fault = self.faults.on_accepted_order()
        if fault == "drop-response-after-accept" and request.transport is not None:
            request.transport.abort()
        if fault == "http-503-executed":
            return web.Response(status=503, headers=answer.headers, body=unknown_outcome_body())
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    # -- links -------------------------------------------------------------------------------------------------------

    async def _serve_link(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        self._last_link += 1
        number = self._last_link
        if not self._exchange.ws_open(number, target, self.now_ms()):
            refused = HttpRequest(request.method, target, _lower_names(request.headers), b"")
            return self._answer(refused, request)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MAX_TEXT_BYTES)
        try:
            await socket.prepare(request)
        except BaseException:
            self._exchange.ws_close(number)
            raise
        link = _Link(number, target, socket, request, self._max_queued_frames)
        self._links[number] = link
        self._something_changed.set()
        writer = asyncio.create_task(link.write_on())
        try:
            # Opening may have queued frames already.
            self._send_by_kind(self._exchange.take_frames())
            self._note_account(link)
            await self._read_on(link)
        finally:
            writer.cancel()
            del self._links[number]
            self._exchange.ws_close(number)
            self._something_changed.set()
        return socket

    async def _read_on(self, link: _Link) -> None:
        while True:
            message = await link.socket.receive()
            if message.type is WSMsgType.TEXT:
                self._on_text(link, message.data)
            elif message.type is WSMsgType.PONG:
                link.on_pong(bytes(message.data))
                self._something_changed.set()
            elif message.type is WSMsgType.PING:
                link.pong(bytes(message.data))
            elif message.type is WSMsgType.BINARY:
                await link.socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
            else:
                return

    def _on_text(self, link: _Link, text: str) -> None:
        if self._is_real_time:
            self._perform_due()
        if link.kind == "stream":
            link.note_subscriptions(text)
            self._something_changed.set()
        self._exchange.ws_text(link.number, text, self.now_ms())
        if link.kind == "ws_api":
            self._note_account(link)
        frames = self._exchange.take_frames()
        if link.kind == "stream":
            # Answers to commands are never held: a client may wait for them before it pongs.
            self._send(frames)
            return
        if self.faults.is_armed:
            frames = self._with_fault(link, text, frames)
        self._send_by_kind(frames)

    def _with_fault(self, link: _Link, text: str, frames: list[tuple[int, str]]) -> list[tuple[int, str]]:
        placing = placing_id(text)
        if placing is None:
            return frames
        answer = next((f for f in frames if f[0] == link.number and is_accepted_answer(f[1], placing[0])), None)
        fault = self.faults.on_accepted_order() if answer is not None else None
        if answer is None or fault is None:
            return frames
        if fault == "drop-response-after-accept":
            link.abort()
            return [frame for frame in frames if frame[0] != link.number]
        lost = (link.number, unknown_outcome_answer(placing[0]))
        return [lost if frame is answer else frame for frame in frames]

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._keepalive_ping_s)
            now_s = loop.time()
            for link in list(self._links.values()):
                silent_s = now_s - link.pong_heard_s
                if silent_s > self._keepalive_pong_s or now_s - link.opened_s > LINK_LIFE_S:
                    link.abort()
                else:
                    link.ping(b"%d" % self.now_ms())


class _Pause:
    """Real sleeps between events of market time: the gap over the speed, without drift."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._anchor_s = 0.0
        self._anchor_ms: int | None = None

    async def until(self, at_ms: int) -> None:
        if self._speed == MAX_SPEED:
            return
        now_s = time.monotonic()
        if self._anchor_ms is None:
            self._anchor_s, self._anchor_ms = now_s, at_ms
        due_s = self._anchor_s + (at_ms - self._anchor_ms) / (1_000 * self._speed)
        if now_s - due_s > CATCH_UP_S:
            # Far behind, after a long barrier: go on from here instead of rushing to make up for it.
            self._anchor_s, self._anchor_ms = now_s, at_ms
        elif due_s > now_s:
            await asyncio.sleep(due_s - now_s)


def _split_wish(payload: bytes) -> tuple[bytes, int | None]:
    """`digest <number> <ms>` may be followed by ` <ms>`: when the client wants to be pinged again."""
    echo, _, wish = payload.rpartition(b" ")
    if payload.startswith(b"digest ") and payload.count(b" ") == 3 and wish.isdigit():
        return echo, int(wish)
    return payload, None


class _Link:
    """One WebSocket link: a bounded queue out, what it subscribed to, and which frames its client has digested."""

    def __init__(
        self, number: int, target: str, socket: web.WebSocketResponse, request: web.BaseRequest, max_queued_frames: int
    ) -> None:
        self.number = number
        self.kind: LinkKind = "ws_api" if target.startswith(ACCOUNT_PREFIXES) else "stream"
        self.socket = socket
        self.kline_streams = {name for name in _streams_of(target) if "@kline_" in name}
        self.has_account = False
        self.is_pacing = True
        self.opened_s = self.pong_heard_s = asyncio.get_running_loop().time()
        self._request = request
        self._max_queued_frames = max_queued_frames
        self._queue: deque[tuple[WSMsgType, bytes]] = deque()
        self._queue_filled = asyncio.Event()
        self._is_aborted = False
        self._sent = 0
        self._sent_at_ping = 0
        self._digested = 0
        self._awaited: bytes | None = None
        self.wants_clock = request.headers.get(CLOCK_HEADER) == "yes"
        self._told_ms: int | None = None
        self.wake_ms: int | None = None
        # A pong nobody asked for does not keep a link alive.
        self._recent_pings: deque[bytes] = deque(maxlen=4)

    @property
    def owes_pong(self) -> bool:
        return self._can_pace and self._sent > self._digested

    @property
    def awaits_pong(self) -> bool:
        return self._can_pace and self._awaited is not None

    @property
    def _can_pace(self) -> bool:
        return self.is_pacing and not self._is_aborted and not self.socket.closed

    def send(self, text: str) -> None:
        self._sent += 1
        self._put(WSMsgType.TEXT, text.encode())

    def ping(self, payload: bytes) -> None:
        self._awaited = payload
        self._recent_pings.append(payload)
        self._sent_at_ping = self._sent
        self._put(WSMsgType.PING, payload)

    def pong(self, payload: bytes) -> None:
        self._put(WSMsgType.PONG, payload)

    def tell_clock(self, now_ms: int) -> None:
        """Ahead of the first frame of a moment, an unasked pong says what moment that is."""
        if now_ms != self._told_ms:
            self._told_ms = now_ms
            self._put(WSMsgType.PONG, b"clock %d" % now_ms)

    def wake(self) -> None:
        """Make the next barrier ping it, which tells it the time."""
        self.wake_ms = None
        self._sent += 1

    def on_pong(self, payload: bytes) -> None:
        """A plain echo, or in a paced market the echo and the market time at which the client wants to be pinged."""
        echo, wish_ms = _split_wish(payload)
        if echo in self._recent_pings:
            self.pong_heard_s = asyncio.get_running_loop().time()
        if echo == self._awaited:
            self._awaited = None
            self._digested = self._sent_at_ping
            self.wake_ms = wish_ms

    def note_subscriptions(self, text: str) -> None:
        """Keep track of kline streams, which tell the market that somebody watches."""
        try:
            command = json.loads(text)
        except ValueError:
            return
        params = command.get("params") if isinstance(command, dict) else None
        if not isinstance(params, list):
            return
        names = {name for name in params if isinstance(name, str) and "@kline_" in name}
        if command.get("method") == "SUBSCRIBE":
            self.kline_streams |= names
        elif command.get("method") == "UNSUBSCRIBE":
            self.kline_streams -= names

    def abort(self) -> None:
        """Cut the connection at once, as a failing network does."""
        self._is_aborted = True
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self, code: int) -> None:
        await self.socket.close(code=code)

    async def write_on(self) -> None:
        """Write queued frames until the link is gone."""
        try:
            while True:
                await self._queue_filled.wait()
                self._queue_filled.clear()
                while self._queue:
                    kind, payload = self._queue.popleft()
                    await self.socket.send_frame(payload, kind)
        except ConnectionError:
            self.abort()

    def _put(self, kind: WSMsgType, payload: bytes) -> None:
        if self._is_aborted:
            return
        if len(self._queue) >= self._max_queued_frames:
            self.abort()
            return
        self._queue.append((kind, payload))
        self._queue_filled.set()


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _streams_of(target: str) -> list[str]:
    path, _, query = unquote(target).partition("?")
    if path.startswith("/ws/"):
        return path[len("/ws/") :].split("/")
    streams = next((part for part in query.split("&") if part.startswith("streams=")), "streams=")
    return streams[len("streams=") :].split("/")
