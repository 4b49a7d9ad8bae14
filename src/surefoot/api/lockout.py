"""Lock-out of who guesses: for how long after how many failures, and the guesses of one who is signed in.

Rules. Whoever knows a name can lock it out of signing in. What is asked of somebody who has signed in already is
counted by session, which nobody else can use up: nobody can keep another from an exit. It is counted in memory, so that
a full disk does not either.
"""

from __future__ import annotations

from collections.abc import Callable

from surefoot.api.problems import Problem

FAILURES_BEFORE_LOCK = 5
LOCK_MS, LOCK_MAX_MS = 60_000, 3_600_000
FAILURES_KEPT_MS = 86_400_000


def expect_open(locked_until_ms: int, now_ms: int) -> None:
    """Raises Problem (429) while the lock lasts."""
    if locked_until_ms > now_ms:
        wait_s = -(-(locked_until_ms - now_ms) // 1_000)
        text = f"too many failed attempts; try again in {wait_s} s"
        raise Problem(429, "locked", text, {"Retry-After": str(wait_s)})


def locked_until_ms(failures: int, now_ms: int) -> int:
    """When the lock after so many failures ends; 0 while there is none."""
    locks = failures - FAILURES_BEFORE_LOCK
    return now_ms + min(LOCK_MS << min(locks, 10), LOCK_MAX_MS) if locks >= 0 else 0


class Guesses:
    """Failed attempts of sessions to prove once more whose they are."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._failed: dict[str, tuple[int, int, int]] = {}  # count, time of the last, end of the lock; by session

    def count(self, session_id: str) -> None:
        """Count an attempt as failed, until `clear`. Raises Problem (429) while the session is locked."""
        now_ms = self._now_ms()
        self._failed = {who: each for who, each in self._failed.items() if each[1] >= now_ms - FAILURES_KEPT_MS}
        count, _, until_ms = self._failed.get(session_id, (0, 0, 0))
        expect_open(until_ms, now_ms)
        self._failed[session_id] = (count + 1, now_ms, locked_until_ms(count + 1, now_ms))

    def clear(self, session_id: str) -> None:
        """Forget the failed attempts of a session, after one that succeeded."""
        self._failed.pop(session_id, None)
