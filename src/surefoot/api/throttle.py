"""How often one address may ask: for anything, and much less often for what lets somebody in."""

from __future__ import annotations

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from surefoot.api.problems import Problem
from surefoot.config import WebSettings

WINDOW_S = 10
SIGN_INS_MAX_PER_MINUTE = 20
REFRESHES_MAX_PER_MINUTE = 120


class Throttle:
    """Counts requests by address, in memory: a restart forgets, and lock-outs are kept elsewhere."""

    def __init__(self, web: WebSettings) -> None:
        storage = MemoryStorage()
        self._counts = FixedWindowRateLimiter(storage)
        self._moments = MovingWindowRateLimiter(storage)
        self._any: RateLimitItem = RateLimitItemPerSecond(web.requests_max_per_s * WINDOW_S, WINDOW_S)
        self._sign_in: RateLimitItem = RateLimitItemPerMinute(SIGN_INS_MAX_PER_MINUTE, namespace="sign-in")
        self._refresh: RateLimitItem = RateLimitItemPerMinute(REFRESHES_MAX_PER_MINUTE, namespace="refresh")

    async def request(self, address: str) -> None:
        """Count a request. Raises Problem (429) for one too many."""
        if not await self._counts.hit(self._any, address):
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
