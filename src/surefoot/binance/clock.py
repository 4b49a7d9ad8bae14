"""The venue's clock, as what it says tells it: nothing here reads a clock, times come in as arguments.

The venue's time is asked for, and its answer says how far its clock is ahead of ours, as exactly as the answer was
quick. What it says besides only bounds that: an event or an answer cannot be from later than now at the venue, and an
answer cannot be from before we asked. What lies outside of these bounds shows that one of the clocks has moved: then
the time is asked for anew, since a bound is no measure.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping

ASK_EVERY_MS = 60_000
ASK_AGAIN_MS = 5_000  # how soon after an answer doubt asks anew: it cannot make us ask without end
DOUBT_MS = 500  # hosts of one venue differ a little
DATE_STEP_MS = 1_000  # a `Date` header tells whole seconds, rounded down

_date = re.compile(r"\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII).fullmatch
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_ms(text: str) -> int | None:
    """The second that a `Date` header tells; None when it tells none."""
    found = _date(text)
    if found is None or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[at]) for at in (1, 3, 4, 5, 6))
    return timegm((year, 1 + _MONTHS.index(found[2]), day, hour, minute, second)) * 1_000


class VenueClock:
    """`offset_ms` is how far the venue's clock is ahead of ours, give or take `error_ms`. `told_ms` is what it last
    answered: its clock shows more by now, whatever has become of ours.

    `ask_every_ms` of 0 is where our clock is the market's own, as in a replay: then nothing is asked of its own accord.
    """

    def __init__(self, ask_every_ms: int) -> None:
        self.offset_ms = 0
        self.error_ms = 0
        self.told_ms = 0
        self.ask_at_ms: int | None = None
        self._ask_every_ms = ask_every_ms
        self._doubt_from_ms = 0

    def told(self, venue_ms: int, asked_ms: int, now_ms: int) -> None:
        """The venue's answer to the question that left at `asked_ms` of our clock."""
        self.offset_ms = venue_ms - (asked_ms + now_ms) // 2
        self.error_ms = (now_ms - asked_ms + 1) // 2
        self.told_ms = venue_ms
        self._ask_later(now_ms)

    def follow(self, offset_ms: int) -> None:
        """Our clock was set by the market's: what was measured before is of no use any more."""
        self.offset_ms, self.error_ms = offset_ms, 0

    def venue_ms(self, now_ms: int) -> int:
        """What the venue's clock shows now, as far as we know."""
        return now_ms + self.offset_ms

    def heard(self, venue_ms: int, now_ms: int) -> int:
        """The venue said at `venue_ms` of its clock what we hear now. When that was by ours, which is not after now."""
        said_ms = venue_ms - self.offset_ms
        if said_ms <= now_ms:
            return said_ms
        if said_ms - now_ms > self.error_ms + DOUBT_MS:
            self._doubt(now_ms)
        return now_ms

    def bound_answer(self, headers: Mapping[str, str], asked_ms: int, now_ms: int) -> None:
        """An answer has come: the venue made it after it was asked and before now, in the second of its `Date`."""
        venue_ms = date_ms(headers.get("date", "")) if self._ask_every_ms else None
        if venue_ms is None:
            return
        self.heard(venue_ms, now_ms)
        if venue_ms + DATE_STEP_MS - asked_ms < self.offset_ms - self.error_ms - DOUBT_MS:
            self._doubt(now_ms)

    def is_due(self, now_ms: int) -> bool:
        """Whether the time is to be asked for; asked, it is due later."""
        if self.ask_at_ms is None or now_ms < self.ask_at_ms:
            return False
        self._ask_later(now_ms)
        return True

    def _doubt(self, now_ms: int) -> None:
        if self.ask_at_ms is not None:  # where our clock was set back, both times may be far away
            from_ms = min(self._doubt_from_ms, now_ms + ASK_AGAIN_MS)
            self.ask_at_ms = min(self.ask_at_ms, max(now_ms, from_ms))

    def _ask_later(self, now_ms: int) -> None:
        self._doubt_from_ms = now_ms + ASK_AGAIN_MS
        if self._ask_every_ms:
            self.ask_at_ms = now_ms + self._ask_every_ms
