"""How much may still be asked of the venue this minute, and who goes first when it is little.

Rules: windows are fixed and aligned to the venue's clock, so every time here is the venue's, in UTC ms. Each lane may
use the limit up to its own share, so what is less urgent stops first and an exit always finds room. What the venue
counts overrules what we counted.
"""

from __future__ import annotations

from enum import IntEnum

WEIGHT_LIMIT = 6000
MINUTE_MS = 60_000

EXIT_SHARE_PCT = 100
PROTECTION_SHARE_PCT = 95
ENTRY_SHARE_PCT = 85
DATA_SHARE_PCT = 70

# The shortest ban that the venue documents.
BAN_MIN_S = 120


class Lane(IntEnum):
    """What a request is for; the greater lane goes first."""

    DATA = 0
    ENTRY = 1
    PROTECTION = 2
    EXIT = 3


_SHARE_PCT = {
    Lane.EXIT: EXIT_SHARE_PCT,
    Lane.PROTECTION: PROTECTION_SHARE_PCT,
    Lane.ENTRY: ENTRY_SHARE_PCT,
    Lane.DATA: DATA_SHARE_PCT,
}


class WeightBudget:
    """One announced limit of the venue: `limit` weight in each window of `interval_ms`.

    `limit` may be set anew when the venue announces another. `banned_until_ms` is None unless the venue banned us.
    """

    def __init__(self, limit: int = WEIGHT_LIMIT, interval_ms: int = MINUTE_MS) -> None:
        self.limit = limit
        self.banned_until_ms: int | None = None
        self._interval_ms = interval_ms
        self._window = 0
        self._used = 0
        self._held_until_ms = 0

    def ceiling(self, lane: Lane) -> int:
        """The weight up to which a lane may fill a window."""
        return self.limit * _SHARE_PCT[lane] // 100

    def used(self, now_ms: int) -> int:
        """The weight used in the window of `now_ms`, as far as we know."""
        # A time before the latest window can only come from a clock that was set back: what we know still holds.
        return 0 if now_ms // self._interval_ms > self._window else self._used

    def wait_ms(self, weight: int, lane: Lane, now_ms: int) -> int:
        """How long a request must wait, 0 for go; ask again after it. ValueError for one that can never go."""
        if weight > self.ceiling(lane):
            raise ValueError(f"a request of weight {weight} never fits the {self.ceiling(lane)} of lane {lane.name}")
        at_ms = max(now_ms, self._held_until_ms)
        if self.used(at_ms) + weight > self.ceiling(lane):
            at_ms = self._next_window_ms(at_ms)
        return at_ms - now_ms

    def spend(self, weight: int, now_ms: int) -> None:
        """Count a request as it is sent, whatever becomes of it."""
        self._enter_window(now_ms)
        self._used += weight

    def correct(self, used_weight: int, now_ms: int, unanswered: int = 0) -> None:
        """Take over the venue's count, plus the weight of requests that it had not seen then.

        `now_ms` is best the time when the answered request was sent: a count from an earlier window is not taken over.
        """
        if now_ms // self._interval_ms < self._window:
            return
        self._enter_window(now_ms)
        self._used = used_weight + unanswered

    def limited(self, retry_after_s: int | None, now_ms: int) -> None:
        """HTTP 429: every lane waits as long as told, or until the next window when nothing was told."""
        until_ms = self._next_window_ms(now_ms) if retry_after_s is None else now_ms + retry_after_s * 1000
        self._held_until_ms = max(self._held_until_ms, until_ms)

    def banned(self, retry_after_s: int | None, now_ms: int) -> None:
        """HTTP 418: every lane waits as long as told, and `banned_until_ms` says so."""
        self.limited(BAN_MIN_S if retry_after_s is None else retry_after_s, now_ms)
        self.banned_until_ms = self._held_until_ms

    def _enter_window(self, now_ms: int) -> None:
        self._used = self.used(now_ms)
        self._window = max(self._window, now_ms // self._interval_ms)

    def _next_window_ms(self, at_ms: int) -> int:
        return (max(self._window, at_ms // self._interval_ms) + 1) * self._interval_ms
