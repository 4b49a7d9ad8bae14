"""How often one address may ask: for anything, and much less often for what lets somebody in."""

from __future__ import annotations

import time
from collections import Counter

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from surefoot.api.problems import Problem
from surefoot.config import WebSettings

WINDOW_S = 10
SIGN_INS_MAX_PER_MINUTE = 20
REFRESHES_MAX_PER_MINUTE = 120


class Throttle:
    """Counts requests by address, in memory: a restart forgets, and lock-outs are kept elsewhere."""

    def __init__(self, web: WebSettings) -> None:
        self._requests_max = web.requests_max_per_s * WINDOW_S
        self._window = 0
        self._requests = Counter[str]()  # of this window, by address
        self._moments = MovingWindowRateLimiter(MemoryStorage())
        self._sign_in: RateLimitItem = RateLimitItemPerMinute(SIGN_INS_MAX_PER_MINUTE, namespace="sign-in")
        self._refresh: RateLimitItem = RateLimitItemPerMinute(REFRESHES_MAX_PER_MINUTE, namespace="refresh")

    def request(self, address: str) -> None:
        """Count a request. Raises Problem (429) for one too many."""
        window = int(time.monotonic() / WINDOW_S)
        if window != self._window:
            self._window = window
            self._requests.clear()
        self._requests[address] += 1
        if self._requests[address] > self._requests_max:
            raise _too_many(WINDOW_S)

    async def sign_in(self, address: str) -> None:
        """Count an attempt to prove who one is. Raises Problem (429) for one too many."""
        if not await self._moments.hit(self._sign_in, address):
            raise _too_many(60)

    async def refresh(self, address: str) -> None:
        """Count a refresh of tokens. Raises Problem (429) for one too many."""
        if not await self._moments.hit(self._refresh, address):
            raise _too_many(60)


def _too_many(wait_s: int) -> Problem:
    return Problem(429, "too_many_requests", f"too many requests; wait {wait_s} s", {"Retry-After": str(wait_s)})
