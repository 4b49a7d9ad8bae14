"""Real sleeps between events of market time."""

from __future__ import annotations

import asyncio
import math
import time

CATCH_UP_S = 1.0
MAX_SPEED = math.inf


class Pause:
    """The gap between two events over the speed, without drift; no sleep at unlimited speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._anchor_s = 0.0
        self._anchor_ms: int | None = None

    async def until(self, at_ms: int) -> None:
        if self._speed == MAX_SPEED:
            return
        now_s = time.monotonic()
        if self._anchor_ms is None:
            self._anchor_s, self._anchor_ms = now_s, at_ms
        due_s = self._anchor_s + (at_ms - self._anchor_ms) / (1_000 * self._speed)
        if now_s - due_s > CATCH_UP_S:
            # Far behind, after a long barrier: go on from here instead of rushing to make up for it.
            self._anchor_s, self._anchor_ms = now_s, at_ms
        elif due_s > now_s:
            await asyncio.sleep(due_s - now_s)
