"""The rules of WebSocket connections: pings, life, messages a second, connections in five minutes.

A breach of the message rate ends a connection; the venue does not say what becomes of those who repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from simex.limits import Window

LinkKind = Literal["spot_stream", "spot_api", "um_stream", "um_api"]

CONNECTIONS_MAX: Final = 300
CONNECTIONS_PER_MS: Final = 5 * 60_000


@dataclass(frozen=True, slots=True)
class LinkRules:
    """How the venue treats one kind of connection; a limit of None is none."""

    ping_every_s: float
    pong_within_s: float
    life_s: float = 86_400.0
    messages_per_s: int | None = None
    counts_texts: bool = True  # else pings and pongs alone
    connections_max: int | None = None
    announces_shutdown: bool = False


RULES: Final[dict[LinkKind, LinkRules]] = {
    "spot_stream": LinkRules(20, 60, messages_per_s=5, connections_max=CONNECTIONS_MAX, announces_shutdown=True),
    "spot_api": LinkRules(20, 60, connections_max=CONNECTIONS_MAX, announces_shutdown=True),
    "um_stream": LinkRules(180, 600, messages_per_s=10),
    "um_api": LinkRules(180, 600, messages_per_s=5, counts_texts=False),
}


def kind_of(target: str) -> LinkKind:
    """By the path of a connection."""
    if target.startswith("/ws-api/"):
        return "spot_api"
    if target.startswith("/ws-fapi/"):
        return "um_api"
    return "um_stream" if target.startswith(("/public/", "/market/", "/private/")) else "spot_stream"


class Life:
    """One connection under its rules; times in seconds of whichever clock the driver keeps."""

    def __init__(self, rules: LinkRules, now_s: float) -> None:
        self._rules = rules
        self._ends_s = now_s + rules.life_s
        self._next_ping_s = now_s + rules.ping_every_s
        self._unanswered_since_s: float | None = None
        self._second = -1
        self._messages = 0

    @property
    def due_s(self) -> float:
        """When `is_over` or `pings` may change."""
        due_s = min(self._ends_s, self._next_ping_s)
        waits_since_s = self._unanswered_since_s
        return due_s if waits_since_s is None else min(due_s, waits_since_s + self._rules.pong_within_s)

    def is_over(self, now_s: float) -> bool:
        """Too old, or silent for too long."""
        waits_since_s = self._unanswered_since_s
        is_silent = waits_since_s is not None and now_s >= waits_since_s + self._rules.pong_within_s
        return is_silent or now_s >= self._ends_s

    def pings(self, now_s: float) -> bool:
        """Whether it is to be pinged now; it is counted as pinged then."""
        if now_s < self._next_ping_s:
            return False
        self._next_ping_s = now_s + self._rules.ping_every_s
        if self._unanswered_since_s is None:
            self._unanswered_since_s = now_s
        return True

    def answered(self) -> None:
        """A pong to one of the pings."""
        self._unanswered_since_s = None

    def admits(self, now_s: float, is_text: bool) -> bool:
        """Count a text, a ping or an unasked pong from the client; False when it is one too many in this second."""
        allowed = self._rules.messages_per_s
        if allowed is None or (is_text and not self._rules.counts_texts):
            return True
        second = int(now_s)
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        return self._messages <= allowed


class Arrivals:
    """New connections by address and kind."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, LinkKind], Window] = {}

    def admits(self, address: str, kind: LinkKind, rules: LinkRules, now_ms: int) -> bool:
        """Count an attempt; False when it is one too many in its five minutes."""
        if rules.connections_max is None:
            return True
        window = self._counts.setdefault((address, kind), Window(CONNECTIONS_PER_MS))
        window.add(1, now_ms)
        return window.count(now_ms) <= rules.connections_max
