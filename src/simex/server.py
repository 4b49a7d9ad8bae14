"""Real sockets over one exchange: HTTP and WebSocket links.

Rules: the exchange decides everything, this module moves bytes. Targets and bodies reach the exchange exactly as
received. How market time goes on is the timeline's matter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from simex.faults import FaultPlan
from simex.injector import CLOSED, HARMLESS, Injector, Instead
from simex.link import FrameKind, Link
from simex.linkrules import RULES, Arrivals, LinkKind, LinkRules, kind_of
from simex.market import Market
from simex.requests import Asked, answer_among, is_accepted, of_http, of_text
from simex.timeline import REAL_TIME, Timeline, Venue
from simex.venue import HttpRequest, HttpResponse

HOST: Final = "127.0.0.1"
MAX_QUEUED_FRAMES: Final = 4_096
MAX_TEXT_BYTES: Final = 1_048_576
BARRIER_TIMEOUT_S: Final = 5.0
CLOSE_GRACE_S: Final = 0.5
HANG_LOOK_S: Final = 0.2
COUNTED: Final = (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG)
BANNED_STATUS: Final = 418
BANNED_ANSWER: Final = f'"status":{BANNED_STATUS},"error":'
TOO_MANY_CONNECTIONS: Final = "Too many connection attempts; current limit is 300 per 5 MINUTE."


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Server:
    """One exchange and one market behind HTTP and WebSocket on the loopback address.

    `speed`: market time over real time; 1 follows the wall clock, `math.inf` knows no waiting but the barriers.
    `wait_for_klines`, `wait_for_account`: hold the market until some link subscribed to a kline stream, or to user
    data. At high speeds the market also holds whenever no such link is left: who comes back would never meet its clock.
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
        self._exchange = exchange
        self._speed = speed
        self._timeline = Timeline(
            exchange,
            market,
            speed,
            wall_ms,
            barrier_timeout_s,
            wait_for_klines=wait_for_klines,
            wait_for_account=wait_for_account,
        )
        self.links = self._timeline.links
        self.faults = Injector(faults if faults is not None else FaultPlan(), self.links, exchange, self.now_ms)
        self.faults.announce_shutdown = self._announce_shutdown_until
        self._timeline.planned = self.faults
        self._wall_ms = wall_ms
        self._max_queued_frames = max_queued_frames
        self._rules = rules
        self._arrivals = Arrivals()
        self._last_link = 0
        self._runner: web.ServerRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        self.faults.begin()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every link and stop listening; takes less than two seconds whatever the clients do."""
        self._timeline.stop()
        for task in self._tasks:
            task.cancel()
        closing = [asyncio.create_task(link.close(WSCloseCode.GOING_AWAY)) for link in self.links]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_GRACE_S)
        self.drop_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def drop_connections(self, kind: FrameKind | None = None) -> int:
        """Cut the WebSocket links (of one kind) without a close frame, as a failing network does; how many."""
        return self.links.drop(kind)

    def announce_shutdown(self, lead_s: float | None) -> None:
        """Tell the links that the server will go, and close them when that time is over, if there is one."""
        self._exchange.announce_shutdown(self.now_ms())
        self.links.send_by_kind(self._exchange.take_frames())
        if lead_s is not None:
            told = [link for link in self.links if self._rules[link.wire_kind].announces_shutdown]

            def close() -> None:
                for link in told:
                    link.close_soon(WSCloseCode.GOING_AWAY, b"")

            self._later(lead_s, close)

    def _announce_shutdown_until(self, at_ms: int | None) -> None:
        self.announce_shutdown(None if at_ms is None else max(0, at_ms - self.now_ms()) / 1_000 / self._speed)

    def _later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Do something after so many real seconds; never, once the server has stopped."""

        async def wait() -> None:
            await asyncio.sleep(delay_s)
            act()

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def now_ms(self) -> int:
        """The exchange's clock, UTC ms; it never goes back."""
        return self._timeline.now_ms()

    async def play(self) -> int:
        """Run the market to its end; the clock at the end (UTC ms). A generated market has none."""
        return await self._timeline.play()

    def catch_up(self) -> None:
        """Perform what is due on the market by now, and tell it."""
        self._timeline.catch_up()
        self._timeline.tell()

    def tell(self) -> None:
        """Send what the exchange has to say by now."""
        self._timeline.tell()

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
        return await self._serve_request(wire_request, request)

    async def _serve_request(self, wire_request: HttpRequest, request: web.BaseRequest) -> web.Response:
        asked = of_http(wire_request.method, wire_request.target, wire_request.body)
        fate = self.faults.before(asked)
        if fate.delay_s:
            await asyncio.sleep(fate.delay_s)
        if fate.instead is not None:
            self._heed_ban(fate.instead.status, asked.is_futures)
            return await self._answer_instead(fate.instead, request)
        answer = self._answer(wire_request)
        self._heed_ban(answer.status, asked.is_futures)
        fate = self.faults.after(asked, answer.status == 200)
        if fate.delay_s:
            await asyncio.sleep(fate.delay_s)
        if fate.instead is not None:
            return await self._answer_instead(fate.instead, request)
        body = self.faults.skewed(answer.body.decode()).encode() if self.faults.skew_ms else answer.body
        return web.Response(status=answer.status, headers=answer.headers, body=body)

    def _answer(self, wire_request: HttpRequest) -> HttpResponse:
        self._timeline.catch_up()
        answer = self._exchange.rest(wire_request, self.now_ms())
        self._timeline.tell()
        return answer

    def _heed_ban(self, status: int, is_futures: bool) -> None:
        """All clients here have one address: when it is banned, its connections to the WebSocket API are closed."""
        if status == BANNED_STATUS:
            for link in self.links:
                if link.wire_kind == ("um_api" if is_futures else "spot_api"):
                    link.close_soon(WSCloseCode.POLICY_VIOLATION, b"IP banned")

    async def _answer_instead(self, instead: Instead, request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(instead.after_s)
        while instead.how == "hang" and request.transport is not None:
            await asyncio.sleep(HANG_LOOK_S)
        if instead.how == "reset" and request.transport is not None:
            request.transport.abort()
        answer = instead.over_http() if instead.how == "answer" else HttpResponse(503, {}, b"")
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    # -- links -------------------------------------------------------------------------------------------------------

    async def _serve_link(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        kind = kind_of(target)
        if not self._arrivals.admits(request.remote or "", kind, self._rules[kind], self._wall_ms()):
            return web.json_response({"code": -1034, "msg": TOO_MANY_CONNECTIONS}, status=429)
        if self.faults.is_in_maintenance:
            return await self._answer_instead(CLOSED, request)
        self._last_link += 1
        number = self._last_link
        if not self._exchange.ws_open(number, target, self.now_ms()):
            refused = self._answer(HttpRequest(request.method, target, _lower_names(request.headers), b""))
            self._heed_ban(refused.status, kind == "um_api")
            return web.Response(status=refused.status, headers=refused.headers, body=refused.body)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MAX_TEXT_BYTES)
        try:
            await socket.prepare(request)
        except BaseException:
            self._exchange.ws_close(number)
            raise
        link = Link(number, target, socket, request, self._max_queued_frames, self._rules[kind])
        self.links.by_number[number] = link
        self.links.changed()
        self.faults.opened(link)
        writer = asyncio.create_task(link.write_on())
        keeper = asyncio.create_task(self._keep_alive(link))
        try:
            # Opening may have queued frames already.
            self._timeline.tell()
            self._note_account(link)
            await self._read_on(link)
        finally:
            writer.cancel()
            keeper.cancel()
            del self.links.by_number[number]
            self._exchange.ws_close(number)
            self.links.changed()
        return socket

    def _note_account(self, link: Link) -> None:
        has_account = self._exchange.hears_account(link.number)
        if has_account != link.has_account:
            link.has_account = has_account
            self.links.changed()

    async def _keep_alive(self, link: Link) -> None:
        """In a paced market the barrier pings, and time that stands still ends nobody's life."""
        if self._timeline.is_real_time:
            await link.keep_alive(lambda: b"%d" % self.now_ms())

    async def _read_on(self, link: Link) -> None:
        while True:
            message = await link.socket.receive()
            answers = message.type is WSMsgType.PONG and link.on_pong(bytes(message.data))
            counts = self._timeline.is_real_time and message.type in COUNTED and not answers
            if counts and not link.admits(message.type is WSMsgType.TEXT):
                await link.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                return
            if message.type is WSMsgType.TEXT:
                self._on_text(link, message.data)
            elif message.type is WSMsgType.PONG:
                self.links.changed()
            elif message.type is WSMsgType.PING:
                link.pong(bytes(message.data))
            elif message.type is WSMsgType.BINARY:
                await link.socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
            else:
                return

    def _on_text(self, link: Link, text: str) -> None:
        is_request = link.wire_kind in ("spot_api", "um_api") and not self.faults.is_calm
        asked = of_text(text, link.wire_kind == "um_api") if is_request else None
        if asked is not None:
            self._on_request(link, text, asked)
            return
        if link.kind == "stream":
            link.note_subscriptions(text)
            self.links.changed()
        frames = self._pass_on(link, text)
        # Answers to commands are never held: a client may wait for them before it pongs.
        self.links.send(frames) if link.kind == "stream" else self.links.send_by_kind(frames)
        if link.wire_kind in ("spot_api", "um_api") and any(BANNED_ANSWER in text for _, text in frames):
            self._heed_ban(BANNED_STATUS, link.wire_kind == "um_api")

    def _pass_on(self, link: Link, text: str) -> list[tuple[int, str]]:
        self._timeline.catch_up()
        self._exchange.ws_text(link.number, text, self.now_ms())
        if link.kind == "ws_api":
            self._note_account(link)
        return self._timeline.take()

    def _on_request(self, link: Link, text: str, asked: Asked) -> None:
        fate = self.faults.before(asked)

        def carry_out() -> None:
            if fate.instead is not None:
                self._reply_instead(link, asked, fate.instead)
            elif link.number in self.links.by_number:
                self._reply(link, text, asked)

        self._later_or_now(fate.delay_s, carry_out)

    def _reply(self, link: Link, text: str, asked: Asked) -> None:
        frames = self._pass_on(link, text)
        at = answer_among(frames, link.number, asked)
        if at is None:
            self.links.send_by_kind(frames)
            return
        answer = frames[at][1]
        fate = self.faults.after(asked, is_accepted(answer))
        if fate == HARMLESS:
            frames[at] = (link.number, self.faults.skewed(answer))
        else:
            del frames[at]
        if fate.instead is not None and fate.instead.how == "reset":
            # What the order caused is lost with the connection.
            frames = [frame for frame in frames if frame[0] != link.number]
        self.links.send_by_kind(frames)
        if BANNED_ANSWER in answer:
            self._heed_ban(BANNED_STATUS, asked.is_futures)
        if fate == HARMLESS:
            return

        def reply() -> None:
            if fate.instead is not None:
                self._reply_instead(link, asked, fate.instead)
            else:
                self.links.send([(link.number, self.faults.skewed(answer))])

        self._later_or_now(fate.delay_s, reply)

    def _reply_instead(self, link: Link, asked: Asked, instead: Instead) -> None:
        def act() -> None:
            if instead.how == "reset":
                link.abort()
            elif instead.how == "answer":
                self.links.send([(link.number, instead.over_socket(asked, self.now_ms()))])
                self._heed_ban(instead.status, asked.is_futures)

        self._later_or_now(instead.after_s, act)

    def _later_or_now(self, delay_s: float, act: Callable[[], object]) -> None:
        self._later(delay_s, act) if delay_s else act()


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
