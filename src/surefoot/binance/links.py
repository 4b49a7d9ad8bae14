"""The life of a stream connection: opened, subscribed, replaced before the venue ends it, opened again after it broke.

A `Line` has one connection, and for a while two: the successor is opened and subscribed before the old one goes, and
both are listened to for some seconds, so that nothing falls between them. Connections of a line have two names in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from surefoot.binance.calls import delay_ms
from surefoot.binance.dialogue import CloseLink, Request, SendText

RECONNECT_CAP_MS = 64_000
STEADY_MS = 60_000  # a connection that lived this long starts the back-off anew
READY_WITHIN_MS = 10_000
LIFE_MS = 23 * 3_600_000  # the venue ends a connection after 24 hours
LIFE_SPREAD_MS = 1_800_000  # this much earlier at most, so that the lines do not change together
OVERLAP_MS = 5_000  # what the old connection still has on its way is heard


@dataclass(slots=True)
class Connection:
    """One connection of a line; `reply_id` is the subscription that it waits for."""

    name: str
    up_ms: int | None = None
    ready: bool = False
    reply_id: int | None = None
    ready_by_ms: int | None = None
    end_ms: int | None = None  # when it is replaced, or, once it is, closed


class Line:
    """One link of the session. `jitter` returns numbers from 0 to 1, `jittered` spreads a wait.

    `to_open` are names of connections that whoever owns the line has to open, and to forget here. `announced` is
    whether the engine was told that it is there; `reconnects` counts connections after the first, `planned` those of
    them that took over while the old one still lived.
    """

    def __init__(self, kind: str, jitter: Callable[[], float], jittered: Callable[[int], int]) -> None:
        self.kind = kind
        self.announced = False
        self.to_open: list[str] = []
        self.reconnects = 0
        self.planned = 0
        self._jitter = jitter
        self._jittered = jittered
        self._current = Connection(kind)
        self._successor: Connection | None = None
        self._retiring: Connection | None = None
        self._failures = 0
        self._open_at_ms: int | None = None
        self._held_until_ms = 0

    @property
    def up(self) -> bool:
        return self._current.up_ms is not None

    @property
    def name(self) -> str:
        """Of the connection that counts."""
        return self._current.name

    @property
    def ready(self) -> bool:
        return self._current.ready

    def open(self) -> None:
        """Begin with the first connection."""
        self.to_open.append(self._current.name)

    def hold(self, until_ms: int) -> None:
        """No connection is opened before; those that are there go on."""
        self._held_until_ms = until_ms

    def say(self, text: str) -> list[Request]:
        """Send it on every connection that listens: a subscription changes on both while there are two."""
        alive = (self._current, self._successor)
        return [SendText(each.name, text) for each in alive if each is not None and each.up_ms is not None]

    def went_up(self, name: str, reply_id: int, now_ms: int) -> bool:
        """A connection is open and about to be subscribed; False for one that is not wanted any more."""
        connection = self._find(name)
        if connection is None:
            return False
        connection.up_ms, connection.reply_id = now_ms, reply_id
        connection.ready_by_ms = now_ms + READY_WITHIN_MS
        return True

    def reply_id_of(self, name: str) -> int | None:
        """The subscription that a connection waits for."""
        connection = self._find(name)
        return None if connection is None else connection.reply_id

    def subscribed(self, name: str, now_ms: int) -> bool:
        """A connection is subscribed; whether the line is there anew, False when a successor merely took over."""
        connection = self._find(name)
        assert connection is not None
        connection.ready, connection.reply_id, connection.ready_by_ms = True, None, None
        connection.end_ms = now_ms + LIFE_MS - int(LIFE_SPREAD_MS * self._jitter())
        if connection is self._current:
            return True
        old, self._current, self._successor = self._current, connection, None
        self.reconnects += 1
        if old.ready:
            self.planned += 1
            old.end_ms = now_ms + OVERLAP_MS
            self._retiring = old
            return False
        return True

    def replace(self, now_ms: int) -> list[Request]:
        """Let a successor be opened, unless one is on its way; the old connection goes on meanwhile."""
        if not self._current.ready or self._successor is not None:
            return []
        if now_ms < self._held_until_ms:
            self._current.end_ms = now_ms
            return []
        requests: list[Request] = []
        if self._retiring is not None:
            requests.append(self._retire())
        self._current.end_ms = None
        other = self.kind if self._current.name != self.kind else f"{self.kind}+"
        self._successor = Connection(other, ready_by_ms=now_ms + 2 * READY_WITHIN_MS)
        self.to_open.append(other)
        return requests

    def went_down(self, name: str, now_ms: int) -> bool:
        """A connection ended; whether the line did, that is: nothing is listened to."""
        if self._retiring is not None and self._retiring.name == name:
            self._retiring = None
            return False
        if self._successor is not None and self._successor.name == name:
            self._successor, self._failures = None, self._failures + 1
            wait_ms = self._jittered(delay_ms(self._failures, RECONNECT_CAP_MS))
            if self._current.up_ms is not None:
                self._current.end_ms = now_ms + wait_ms
            else:
                self._open_at_ms = now_ms + wait_ms
            return False
        if self._current.name != name:
            return False
        if self._retiring is not None:  # the newer one broke first; what it missed the older one may have told
            self._current, self._retiring = self._retiring, None
            self._current.end_ms = now_ms
            return False
        lived = self._current.up_ms is not None and now_ms - self._current.up_ms >= STEADY_MS
        self._failures = 0 if lived else self._failures + 1
        self._current = Connection(name)
        if self._successor is None:
            self._open_at_ms = now_ms + self._jittered(delay_ms(self._failures, RECONNECT_CAP_MS))
        return True

    def due_ms(self) -> int | None:
        """When `wake` has something to do."""
        alone = self._successor is None and self._retiring is None and self._open_at_ms is None
        if alone and self._current.ready:  # nearly always
            return self._when_free(self._current.end_ms)
        times = [self._when_free(self._open_at_ms), self._retiring.end_ms if self._retiring else None]
        times += [each.ready_by_ms for each in self._waiting()]
        if self._successor is None:
            times.append(self._when_free(self._current.end_ms))
        return min((each for each in times if each is not None), default=None)

    def wake(self, now_ms: int) -> tuple[list[Request], str | None]:
        """What is due: connections to close, and the name of a connection that was not subscribed in time."""
        requests: list[Request] = []
        open_at_ms, end_ms = self._when_free(self._open_at_ms), self._when_free(self._current.end_ms)
        if open_at_ms is not None and now_ms >= open_at_ms:
            self._open_at_ms = None
            self.reconnects += 1
            self.open()
        if self._retiring is not None and self._retiring.end_ms is not None and now_ms >= self._retiring.end_ms:
            requests.append(self._retire())
        if end_ms is not None and now_ms >= end_ms:
            requests += self.replace(now_ms)
        late = (each.name for each in self._waiting() if each.ready_by_ms is not None and now_ms >= each.ready_by_ms)
        return requests, next(late, None)

    def _when_free(self, due_ms: int | None) -> int | None:
        return None if due_ms is None else max(due_ms, self._held_until_ms)

    def _retire(self) -> CloseLink:
        assert self._retiring is not None
        name, self._retiring = self._retiring.name, None
        return CloseLink(name)

    def _waiting(self) -> list[Connection]:
        return [each for each in (self._current, self._successor) if each is not None and not each.ready]

    def _find(self, name: str) -> Connection | None:
        return next((each for each in (self._current, self._successor) if each is not None and each.name == name), None)


def kind_of(name: str) -> str:
    """The line that a connection belongs to."""
    return name.removesuffix("+")
