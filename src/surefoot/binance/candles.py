"""One symbol's candles in order, without a hole: what closes is let through only after what came before it.

A candle that does not follow the last one is held until the missing ones have been read; an old or repeated one is
dropped. Where the venue has nothing for a gap (it was halted), the series goes on behind it.

Whether the last row of an answer had closed is judged by the time that the venue itself had told before it was asked,
never by our clock: what closes later, the stream tells, and a running candle that is taken for a closed one stays wrong
for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from surefoot.core.messages import CandleClosed, Event, HistoryLoaded
from surefoot.core.model import Candle

PAGE_CANDLES = 1_000  # the most that one read returns
HELD_MAX = 1_000


def closed_rows(rows: Sequence[Candle], asked_ms: int) -> Sequence[Candle]:
    """Those of the rows of an answer, oldest first, that had certainly closed: one that another follows, and the last
    if it closed before `asked_ms` of the venue's clock.
    """
    return rows if not rows or rows[-1].close_ms < asked_ms else rows[:-1]


@dataclass(slots=True)
class CandleFeed:
    """State of one (symbol, interval); `next_open_ms` is the open of the candle that must come next."""

    symbol: str
    interval_ms: int
    warmup_candles: int
    next_open_ms: int | None = None
    read_from_ms: int | None = None  # a read is wanted or under way from here
    caught_up: bool = False
    _held: list[Candle] = field(default_factory=list)

    def start_reading(self, now_ms: int) -> int:
        """Begin (again) to catch up; returns the open time to read from."""
        self.caught_up = False
        if self.next_open_ms is None:
            self.next_open_ms = (now_ms // self.interval_ms - self.warmup_candles) * self.interval_ms
        self.read_from_ms = self.next_open_ms
        return self.read_from_ms

    def link_lost(self) -> None:
        """The stream ended: what closes from now on is not told, and has to be read, together with what was held."""
        self.caught_up = False
        self._held.clear()

    def take_page(self, rows: Sequence[Candle], asked_ms: int, now_ms: int) -> list[Event]:
        """Rows that a read returned, oldest first. History is what closed before the candles held back; these are
        passed on as closed just now. `read_from_ms` becomes what is to be read next, None when the series is whole.

        `asked_ms` is what the venue's clock had shown before it was asked, `now_ms` is ours, which events are stamped
        with.
        """
        assert self.next_open_ms is not None
        if self._held:  # an answer is never as old as an interval is long: all before a closed candle had closed
            closed: Sequence[Candle] = [row for row in rows if row.open_ms < self._held[0].open_ms]
        else:
            closed = closed_rows(rows, asked_ms)
        fresh = tuple(row for row in closed if row.open_ms >= self.next_open_ms)
        if fresh:
            self.next_open_ms = fresh[-1].open_ms + self.interval_ms
        elif rows and not closed and not self._held:  # the running candle is the first there is
            self.next_open_ms = max(self.next_open_ms, rows[-1].open_ms)
        events: list[Event] = [HistoryLoaded(now_ms, fresh)] if fresh else []
        if len(rows) >= PAGE_CANDLES and fresh:
            self.read_from_ms = self.next_open_ms
            return events
        self.read_from_ms, self.caught_up = None, True
        return events + self._release(now_ms)

    def pass_to(self, next_open_ms: int) -> None:
        """Candles closed in their order of which the stream was not listened to, since nothing depends on them."""
        self.next_open_ms = next_open_ms

    def take_closed(self, candle: Candle, now_ms: int) -> list[Event]:
        """A candle that the stream says has closed. When it does not fit, `read_from_ms` asks for the missing ones."""
        if self.next_open_ms is not None and candle.open_ms < self.next_open_ms:
            return []
        if self.caught_up and candle.open_ms == self.next_open_ms:
            return self._pass(candle, now_ms)
        self._held = [*self._held[-HELD_MAX:], candle]
        if self.caught_up:
            self.start_reading(now_ms)
        return []

    def _release(self, now_ms: int) -> list[Event]:
        """What was held back can go: the venue has told all it has of the time before."""
        held, self._held = self._held, []
        events: list[Event] = []
        for candle in held:
            if self.next_open_ms is None or candle.open_ms >= self.next_open_ms:
                events += self._pass(candle, now_ms)
        return events

    def _pass(self, candle: Candle, now_ms: int) -> list[Event]:
        self.next_open_ms = candle.open_ms + self.interval_ms
        return [CandleClosed(now_ms, candle)]
