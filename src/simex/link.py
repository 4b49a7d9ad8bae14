"""One WebSocket link over a real socket: a bounded queue out, barrier pings, and its life under the venue's rules."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote

from aiohttp import WSMsgType, web

from simex.linkrules import Life, LinkRules, kind_of

CLOCK_HEADER = "X-Market-Clock"
ACCOUNT_PREFIXES = ("/ws-api/", "/ws-fapi/", "/private/")  # links that carry what accounts are told

FrameKind = Literal["ws_api", "stream"]
Entry = tuple[WSMsgType, bytes] | float | None  # a frame, a pause in seconds, or silence


def _split_wish(payload: bytes) -> tuple[bytes, int | None]:
    """`digest <number> <ms>` may be followed by ` <ms>`: when the client wants to be pinged again."""
    echo, _, wish = payload.rpartition(b" ")
    if payload.startswith(b"digest ") and payload.count(b" ") == 3 and wish.isdigit():
        return echo, int(wish)
    return payload, None


class Link:
    """One WebSocket link: a bounded queue out, what it subscribed to, and which frames its client has digested."""

    def __init__(
        self,
        number: int,
        target: str,
        socket: web.WebSocketResponse,
        request: web.BaseRequest,
        max_queued_frames: int,
        rules: LinkRules,
    ) -> None:
        self.number = number
        self.target = target
        self.wire_kind = kind_of(target)
        self.kind: FrameKind = "ws_api" if target.startswith(ACCOUNT_PREFIXES) else "stream"
        self.life = Life(rules, asyncio.get_running_loop().time())
        self.socket = socket
        self.kline_streams = {name for name in streams_of(target) if "@kline_" in name}
        self.has_account = False
        self.is_pacing = True
        self._request = request
        self._max_queued_frames = max_queued_frames
        self._queue: deque[Entry] = deque()
        self._queue_filled = asyncio.Event()
        self._may_speak = asyncio.Event()
        self._may_speak.set()
        self._closing: asyncio.Task[None] | None = None
        self.set_aside: list[str] | None = None  # what will be sent behind the next event
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
        return self.is_pacing and not self._is_aborted and not self.socket.closed and self._may_speak.is_set()

    def send(self, text: str) -> None:
        self._sent += 1
        self._put((WSMsgType.TEXT, text.encode()))

    def ping(self, payload: bytes) -> None:
        self._awaited = payload
        self._recent_pings.append(payload)
        self._sent_at_ping = self._sent
        self._put((WSMsgType.PING, payload))

    def pong(self, payload: bytes) -> None:
        self._put((WSMsgType.PONG, payload))

    def tell_clock(self, now_ms: int) -> None:
        """Ahead of the first frame of a moment, an unasked pong says what moment that is."""
        if now_ms != self._told_ms:
            self._told_ms = now_ms
            self._put((WSMsgType.PONG, b"clock %d" % now_ms))

    def wake(self) -> None:
        """Make the next barrier ping it, which tells it the time."""
        self.wake_ms = None
        self._sent += 1

    def on_pong(self, payload: bytes) -> bool:
        """A plain echo, or in a paced market the echo and the market time at which the client wants to be pinged.

        Whether it answers a ping of ours.
        """
        echo, wish_ms = _split_wish(payload)
        is_answer = echo in self._recent_pings
        if is_answer:
            self.life.answered()
        if echo == self._awaited:
            self._awaited = None
            self._digested = self._sent_at_ping
            self.wake_ms = wish_ms
        return is_answer

    def admits(self, is_text: bool) -> bool:
        """Whether a message of the client is within the rate."""
        return self.life.admits(asyncio.get_running_loop().time(), is_text)

    async def keep_alive(self, payload: Callable[[], bytes]) -> None:
        """Ping as the rules say, and cut the connection when its life is over."""
        loop = asyncio.get_running_loop()
        while not self._is_aborted:
            await asyncio.sleep(max(0.0, self.life.due_s - loop.time()))
            if self.life.is_over(loop.time()):
                self.abort()
            elif self.life.pings(loop.time()):
                self.ping(payload())

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

    async def close(self, code: int, reason: bytes = b"") -> None:
        await self.socket.close(code=code, message=reason)

    def close_soon(self, code: int, reason: bytes) -> None:
        """Close with a close frame, without waiting for the client's."""
        if self._closing is None:
            self._closing = asyncio.create_task(self.close(code, reason))

    def delay(self, seconds: float) -> None:
        """All that is sent from now on waits so long, and what is sent before it does not."""
        self._put(seconds)

    def silence(self) -> None:
        """Nothing that comes from now on leaves, pings and pongs included; the connection stays open."""
        self._may_speak.clear()
        self._put(None)

    def speak(self) -> None:
        """What was held back meanwhile leaves at once."""
        self._may_speak.set()

    async def write_on(self) -> None:
        """Write queued frames until the link is gone."""
        try:
            while True:
                await self._queue_filled.wait()
                self._queue_filled.clear()
                while self._queue:
                    entry = self._queue.popleft()
                    if entry is None:
                        await self._may_speak.wait()
                    elif isinstance(entry, float):
                        await asyncio.sleep(entry)
                    else:
                        await self.socket.send_frame(entry[1], entry[0])
        except ConnectionError:
            self.abort()

    def _put(self, entry: Entry) -> None:
        if self._is_aborted:
            return
        if len(self._queue) >= self._max_queued_frames:
            self.abort()
            return
        self._queue.append(entry)
        self._queue_filled.set()


def streams_of(target: str) -> list[str]:
    path, _, query = unquote(target).partition("?")
    if path.startswith("/ws/"):
        return path[len("/ws/") :].split("/")
    streams = next((part for part in query.split("&") if part.startswith("streams=")), "streams=")
    return streams[len("streams=") :].split("/")
