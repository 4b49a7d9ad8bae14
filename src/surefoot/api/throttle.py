"""How often one address may ask: for anything, and much less often for what lets somebody in.

Rules. Who is signed in is counted by session where an exit may depend on it: others behind the same address, and the
reads of one's own pages, cannot use that up.
"""

from __future__ import annotations

import time
from collections import Counter, deque

from surefoot.api.problems import Problem
from surefoot.config import WebSettings

WINDOW_S = 10
MINUTE_S = 60
SIGN_INS_MAX_PER_MINUTE = 20
REFRESHES_MAX_PER_MINUTE = 120
RESERVED_MAX_PER_WINDOW = 30


class Throttle:
    """Counts requests by address, in memory: a restart forgets, and lock-outs are kept elsewhere."""

    def __init__(self, web: WebSettings) -> None:
        self._requests_max = web.requests_max_per_s * WINDOW_S
        self._window = 0
        self._requests = Counter[str]()  # of this window, by address
        self._reserved = Counter[str]()  # by session, of those for which the address had no request left
        self._sign_ins = _Minutes(SIGN_INS_MAX_PER_MINUTE)
        self._refreshes = _Minutes(REFRESHES_MAX_PER_MINUTE)

    def request(self, address: str) -> None:
        """Count a request. Raises Problem (429) for one too many."""
        self._begin_window()
        self._requests[address] += 1
        if self._requests[address] > self._requests_max:
            raise _too_many(WINDOW_S)

    def reserved(self, session_id: str) -> None:
        """Count a request out of the reserve of a session. Raises Problem (429) for one too many."""
        self._begin_window()
        self._reserved[session_id] += 1
        if self._reserved[session_id] > RESERVED_MAX_PER_WINDOW:
            raise _too_many(WINDOW_S)

    def _begin_window(self) -> None:
        window = int(time.monotonic() / WINDOW_S)
        if window != self._window:
            self._window = window
            self._requests.clear()
            self._reserved.clear()

    def sign_in(self, who: str) -> None:
        """Count an attempt to prove who one is; of an address or a session. Raises Problem (429) for one too many."""
        self._sign_ins.count(who)

    def refresh(self, who: str) -> None:
        """Count a refresh of tokens; of an address or a session. Raises Problem (429) for one too many."""
        self._refreshes.count(who)


class _Minutes:
    """At most so many in any minute, by who asks; what is refused does not count."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._counted_s: dict[str, deque[float]] = {}
        self._swept_s = 0.0

    def count(self, who: str) -> None:
        now_s = time.monotonic()
        if now_s - self._swept_s >= MINUTE_S:
            self._swept_s = now_s
            self._counted_s = {name: each for name, each in self._counted_s.items() if now_s - each[-1] < MINUTE_S}
        counted_s = self._counted_s.setdefault(who, deque(maxlen=self._at_most))
        if len(counted_s) == self._at_most and now_s - counted_s[0] < MINUTE_S:
            raise _too_many(MINUTE_S)
        counted_s.append(now_s)


def _too_many(wait_s: int) -> Problem:
    return Problem(429, "too_many_requests", f"too many requests; wait {wait_s} s", {"Retry-After": str(wait_s)})
