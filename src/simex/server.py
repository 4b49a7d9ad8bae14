"""Real sockets over one exchange: HTTP, WebSocket links, and the pacing of market time.

Rules: the exchange decides everything, this module moves bytes and time. Targets and bodies reach the exchange exactly
as received. At speed 1 the clock is the wall clock. At any other speed the clock is market time: it stands still
between events, and after each event a barrier (ping, wait for pong) makes sure that every client has digested what it
was sent, account frames before market frames, before time goes on. What time it is stands in those pings and, for a
client whose handshake has the header `X-Market-Clock: yes`, in an unasked pong ahead of the frames.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Protocol

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
from simex.link import FrameKind, Link
from simex.linkrules import RULES, Arrivals, LinkKind, LinkRules, kind_of
from simex.market import Market
from simex.pause import MAX_SPEED, Pause
from simex.strip import Strip
from simex.venue import HttpRequest, HttpResponse

HOST = "127.0.0.1"
MAX_QUEUED_FRAMES = 4_096
MAX_TEXT_BYTES = 1_048_576
BARRIER_TIMEOUT_S = 5.0
CLOSE_GRACE_S = 0.5
# Without frames there is no barrier; other tasks must still get their turn now and then.
EVENTS_PER_TURN = 64
COUNTED = (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG)
TOO_MANY_CONNECTIONS = "Too many connection attempts; current limit is 300 per 5 MINUTE."

REAL_TIME = 1.0

Frames = Iterable[tuple[int, str]]


class Venue(Protocol):
    """The exchange as the sockets see it; `simex.exchange.Exchange` is one."""

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse: ...

    def ws_open(self, link: int, target: str, now_ms: int) -> bool: ...

    def ws_text(self, link: int, text: str, now_ms: int) -> None: ...

    def ws_close(self, link: int) -> None: ...

    def hears_account(self, link: int) -> bool: ...

    def wake(self, now_ms: int) -> None: ...

    def deadline_ms(self) -> int | None: ...

    def announce_shutdown(self, now_ms: int) -> None: ...

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
        rules: Mapping[LinkKind, LinkRules] = RULES,
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
        self._rules = rules
        self._arrivals = Arrivals()
        self._barrier_timeout_s = barrier_timeout_s
        self._links: dict[int, Link] = {}
        self._last_link = 0
        self._last_digest = 0
        self._held_market_frames: list[tuple[int, str]] | None = None
        self._something_changed = asyncio.Event()
        self._clock_ms = self._first_clock_ms()
        self._ended_s: float | None = None
        self._runner: web.ServerRunner | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

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
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every link and stop listening; takes less than two seconds whatever the clients do."""
        if self._wake is not None:
            self._wake.cancel()
        for task in self._closing:
            task.cancel()
        closing = [asyncio.create_task(link.close(WSCloseCode.GOING_AWAY)) for link in self._links.values()]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_GRACE_S)
        self.drop_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def drop_connections(self, kind: FrameKind | None = None) -> int:
        """Cut the WebSocket links (of one kind) without a close frame, as a failing network does; how many."""
        dropped = [link for link in self._links.values() if kind in (None, link.kind)]
        for link in dropped:
            link.abort()
        return len(dropped)

    def announce_shutdown(self, lead_s: float) -> None:
        """Tell the links that the server will go, and close them when that time is over; new ones stay."""
        self._exchange.announce_shutdown(self.now_ms())
        self._send_by_kind(self._exchange.take_frames())
        told = [link for link in self._links.values() if self._rules[link.wire_kind].announces_shutdown]
        task = asyncio.create_task(self._close_after(lead_s, told))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_after(self, lead_s: float, links: list[Link]) -> None:
        await asyncio.sleep(lead_s)
        await asyncio.gather(*(link.close(WSCloseCode.GOING_AWAY) for link in links))

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
            self._tell()

    def _perform_due(self) -> None:
        """At speed 1 a request must not see a market that is late, so what is due comes first."""
        now_ms = self.now_ms()
        while (at_ms := self._market.next_ms()) is not None and at_ms <= now_ms:
            self._market.advance(self._exchange)

    def _tell(self) -> None:
        """Send what the exchange has to say by now; on the wall clock, come back when it will have more."""
        self._exchange.wake(self.now_ms())
        self._send_by_kind(self._exchange.take_frames())
        self._plan_wake()

    def _plan_wake(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        due_ms = self._exchange.deadline_ms() if self._is_real_time else None
        if due_ms is not None:
            delay_s = max(0, due_ms - self.now_ms()) / 1_000
            self._wake = asyncio.get_running_loop().call_later(delay_s, self._tell)

    async def _play_paced(self) -> None:
        pause = Pause(self._speed)
        turn = 0
        await self._clients_are_ready()
        while (at_ms := self._market.next_ms()) is not None:
            if self._speed == MAX_SPEED:
                await self._clients_are_ready()
            # What clients were sent before, such as answers to their subscriptions, is digested before time moves.
            await self._barrier()
            await self._wake_clients(pause, at_ms)
            await self._wake_exchange(pause, at_ms)
            await pause.until(at_ms)
            self._clock_ms = at_ms
            self._market.advance(self._exchange)
            await self._deliver()
            turn = (turn + 1) % EVENTS_PER_TURN
            if not turn:
                await asyncio.sleep(0)

    async def _wake_clients(self, pause: Pause, before_ms: int) -> None:
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

    async def _wake_exchange(self, pause: Pause, before_ms: int) -> None:
        """Stop between events, too, where a stream has something to tell that had to wait."""
        while (due_ms := self._exchange.deadline_ms()) is not None and due_ms < before_ms:
            await pause.until(due_ms)
            self._clock_ms = max(self._clock_ms, due_ms)
            self._exchange.wake(self._clock_ms)
            await self._deliver()

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

    async def _answered(self, links: list[Link]) -> bool:
        try:
            async with asyncio.timeout(self._barrier_timeout_s):
                while any(link.awaits_pong for link in links):
                    self._something_changed.clear()
                    await self._something_changed.wait()
        except TimeoutError:
            return False
        return True

    def _stop_pacing(self, links: list[Link]) -> None:
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

    def _note_account(self, link: Link) -> None:
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
        self._tell()
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
        kind = kind_of(target)
        if not self._arrivals.admits(request.remote or "", kind, self._rules[kind], self._wall_ms()):
            return web.json_response({"code": -1034, "msg": TOO_MANY_CONNECTIONS}, status=429)
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
        link = Link(number, target, socket, request, self._max_queued_frames, self._rules[kind])
        self._links[number] = link
        self._something_changed.set()
        writer = asyncio.create_task(link.write_on())
        keeper = asyncio.create_task(self._keep_alive(link))
        try:
            # Opening may have queued frames already.
            self._tell()
            self._note_account(link)
            await self._read_on(link)
        finally:
            writer.cancel()
            keeper.cancel()
            del self._links[number]
            self._exchange.ws_close(number)
            self._something_changed.set()
        return socket

    async def _keep_alive(self, link: Link) -> None:
        """In a paced market the barrier pings, and time that stands still ends nobody's life."""
        if self._is_real_time:
            await link.keep_alive(lambda: b"%d" % self.now_ms())

    async def _read_on(self, link: Link) -> None:
        while True:
            message = await link.socket.receive()
            answers = message.type is WSMsgType.PONG and link.on_pong(bytes(message.data))
            counts = self._is_real_time and message.type in COUNTED and not answers
            if counts and not link.admits(message.type is WSMsgType.TEXT):
                await link.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                return
            if message.type is WSMsgType.TEXT:
                self._on_text(link, message.data)
            elif message.type is WSMsgType.PONG:
                self._something_changed.set()
            elif message.type is WSMsgType.PING:
                link.pong(bytes(message.data))
            elif message.type is WSMsgType.BINARY:
                await link.socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
            else:
                return

    def _on_text(self, link: Link, text: str) -> None:
        if self._is_real_time:
            self._perform_due()
        if link.kind == "stream":
            link.note_subscriptions(text)
            self._something_changed.set()
        self._exchange.ws_text(link.number, text, self.now_ms())
        if link.kind == "ws_api":
            self._note_account(link)
        self._exchange.wake(self.now_ms())
        frames = self._exchange.take_frames()
        self._plan_wake()
        if link.kind == "stream":
            # Answers to commands are never held: a client may wait for them before it pongs.
            self._send(frames)
            return
        if self.faults.is_armed:
            frames = self._with_fault(link, text, frames)
        self._send_by_kind(frames)

    def _with_fault(self, link: Link, text: str, frames: list[tuple[int, str]]) -> list[tuple[int, str]]:
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


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
