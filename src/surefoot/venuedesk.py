"""The venue, asked over REST by one who has no session: a request at a time, three outcomes, nothing sent twice.

Rules. The venue's clock is read before each signed request, so that no clock has to be kept. A request that was refused
for its timestamp did nothing and is signed anew; nothing else is ever repeated here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from surefoot.binance.calls import http_request
from surefoot.binance.codec import VenueError, read_error
from surefoot.binance.dialect import Ask, Dialect
from surefoot.binance.dialogue import HttpAnswer, HttpFailed, Keys
from surefoot.binance.gateway import Addresses, Gateway
from surefoot.config import Venue

TIMESTAMP_REFUSED = -1021
SIGNED_AGAIN_MAX = 20


class Fate(Enum):
    """LATER: not judged, the venue wants less of us just now, or the request never left."""

    DONE = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    LATER = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request; `text` says why it was not done. `at_ms` is the venue's time when it was signed."""

    fate: Fate
    at_ms: int
    body: bytes = b""
    error: VenueError | None = None
    text: str = ""

    @property
    def code(self) -> int | None:
        return None if self.error is None else self.error.code


class Desk(Protocol):
    """Where the venue is asked."""

    dialect: Dialect
    recv_window_ms: int

    def now_ms(self) -> int:
        """The venue's time, as far as it is known."""
        ...

    async def ask(self, ask: Ask) -> Reply:
        """Send it once. A write whose outcome is UNKNOWN may have been carried out."""
        ...


class VenueDesk:
    """The real one; see the module's rules. To be started and closed."""

    def __init__(self, venue: Venue, keys: Keys, dialect: Dialect, recv_window_ms: int) -> None:
        self.dialect = dialect
        self.recv_window_ms = recv_window_ms
        self._keys = keys
        self._gateway = Gateway(Addresses(venue.rest, venue.ws_api, venue.streams), self._take)
        self._waiting: dict[int, asyncio.Future[HttpAnswer | HttpFailed]] = {}
        self._last_id = 0
        self._ahead_ms = 0  # how far the venue's clock was ahead of ours when it was read

    async def start(self) -> None:
        await self._gateway.start()

    async def close(self) -> None:
        await self._gateway.close()

    def now_ms(self) -> int:
        """See `Desk`."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    async def answers(self) -> bool:
        """Whether the venue tells its time just now."""
        return await self._gateway.server_time_ms(self.dialect.time().path) is not None

    async def ask(self, ask: Ask) -> Reply:
        """See `Desk`."""
        for _ in range(SIGNED_AGAIN_MAX):
            venue_ms = await self._gateway.server_time_ms(self.dialect.time().path)
            if venue_ms is None:
                return Reply(Fate.LATER, self.now_ms(), text="the venue does not tell its time")
            self._ahead_ms = venue_ms - time.time_ns() // 1_000_000
            reply = await self._send(ask, venue_ms)
            if reply.code != TIMESTAMP_REFUSED:
                break
        return reply

    async def _send(self, ask: Ask, venue_ms: int) -> Reply:
        self._last_id += 1
        answered = self._waiting[self._last_id] = asyncio.get_running_loop().create_future()
        self._gateway.send(http_request(self._last_id, ask, self._keys, self.recv_window_ms, venue_ms))
        answer = await answered
        if isinstance(answer, HttpFailed):
            return Reply(Fate.UNKNOWN if answer.sent else Fate.LATER, venue_ms, text=answer.text)
        return reply_of(self.dialect, answer.status, answer.body, venue_ms)

    def _take(self, arrival: object) -> None:
        if isinstance(arrival, HttpAnswer | HttpFailed):
            answered = self._waiting.pop(arrival.request_id, None)
            if answered is not None and not answered.done():
                answered.set_result(arrival)


def reply_of(dialect: Dialect, status: int, body: bytes, at_ms: int) -> Reply:
    """What an answer over HTTP means."""
    if status == 200:
        return Reply(Fate.DONE, at_ms, body)
    error = read_error(status, body)
    fates = {"refused": Fate.REFUSED, "unknown": Fate.UNKNOWN}
    fate = fates.get(dialect.outcome(status, error), Fate.LATER)
    return Reply(fate, at_ms, body, error, f"{error.code or status} {error.text}")
