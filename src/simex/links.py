"""All WebSocket links of a server: what is sent on which, and whether their clients have digested it.

In a paced market a barrier (ping, wait for pong) makes sure that every client has digested what it was sent, account
frames before market frames, before time goes on. What time it is stands in those pings and, for a client whose
handshake has the header `X-Market-Clock: yes`, in an unasked pong ahead of the frames.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator

from simex.link import FrameKind, Link

Frames = Iterable[tuple[int, str]]


class Links:
    """The open links by number."""

    def __init__(self, clock: Callable[[], int] | None, barrier_timeout_s: float) -> None:
        """`clock` is the market's, which stands still between events; None on the wall clock: nothing is paced then."""
        self.by_number: dict[int, Link] = {}
        self._clock = clock
        self._barrier_timeout_s = barrier_timeout_s
        self._last_digest = 0
        self._held_market_frames: list[tuple[int, str]] | None = None
        self._changed = asyncio.Event()
        self.filter: Callable[[Link, str], list[str]] | None = None  # what really goes out for an event

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self.by_number.values()))

    def changed(self) -> None:
        """Whoever waits for something of a link shall look again."""
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so that only changes with the links."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def drop(self, kind: FrameKind | None = None) -> int:
        """Cut the links (of one kind) without a close frame, as a failing network does; how many."""
        dropped = [link for link in self if kind in (None, link.kind)]
        for link in dropped:
            link.abort()
        return len(dropped)

    # -- frames ------------------------------------------------------------------------------------------------------

    def send(self, frames: Frames) -> None:
        """Send now, whatever is held."""
        for number, text in frames:
            link = self.by_number.get(number)
            if link is not None:
                if link.wants_clock and self._clock is not None:
                    link.tell_clock(self._clock())
                for each in (text,) if self.filter is None else self.filter(link, text):
                    link.send(each)

    def send_by_kind(self, frames: list[tuple[int, str]]) -> None:
        """Send; market frames only when no account frames are being digested."""
        held = self._held_market_frames
        if held is None:
            self.send(frames)
            return
        account = {link.number for link in self if link.kind == "ws_api"}
        held.extend(frame for frame in frames if frame[0] not in account)
        self.send(frame for frame in frames if frame[0] in account)

    async def deliver(self, frames: list[tuple[int, str]]) -> None:
        """Account frames, barrier, market frames, barrier."""
        if not frames:
            return
        if self._clock is None:
            self.send_by_kind(frames)
            return
        # Market frames that requests cause meanwhile queue up behind this event's own.
        self._held_market_frames = []
        self.send_by_kind(frames)
        await self.barrier()
        held, self._held_market_frames = self._held_market_frames, None
        self.send(held)
        await self.barrier()

    async def barrier(self) -> None:
        """Ping every link that got frames since its last answered ping, until none is left."""
        assert self._clock is not None, "on the wall clock nobody is waited for"
        while owing := [link for link in self if link.owes_pong]:
            self._last_digest += 1
            payload = b"digest %d %d" % (self._last_digest, self._clock())
            for link in owing:
                link.ping(payload)
            if not await self._answered(owing):
                self._stop_pacing(owing)

    async def _answered(self, links: list[Link]) -> bool:
        try:
            async with asyncio.timeout(self._barrier_timeout_s):
                await self.until(lambda: not any(link.awaits_pong for link in links))
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
