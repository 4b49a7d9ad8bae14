"""What listeners of one stream share: when it may be sent again, and who makes its frames.

A stream with a period is sent at once when something happens, and after that not before its period is over; what
happens meanwhile waits until then. A steady stream is sent at each full period, whether anything happens or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from simex.depth import AnyBook, Chain, Level
from simex.klines import Bar

# Makes the event as JSON text, given how many units of its times a millisecond has.
Frame: TypeAlias = Callable[[int], str]
# Makes the frames of a moment (UTC ms); none when there is nothing to tell.
Compose: TypeAlias = Callable[[int], Sequence[Frame]]


class Channel:
    """One stream that somebody listens to."""

    __slots__ = ("compose", "due_ms", "end", "is_of_book", "is_steady", "links", "name", "period_ms")

    def __init__(
        self,
        period_ms: int,
        compose: Compose,
        *,
        is_of_book: bool = False,
        is_steady: bool = False,
        end: Callable[[], None] | None = None,
    ) -> None:
        """`is_of_book`: the depth, which changes between trades too. `end` is called when nobody listens any more."""
        self.name = ""
        self.links: list[int] = []
        self.period_ms = period_ms
        self.compose = compose
        self.end = end
        self.is_of_book = is_of_book
        self.is_steady = is_steady
        self.due_ms = 0

    def sent(self, now_ms: int) -> None:
        """It is due again a period later; a steady one at the next full period."""
        self.due_ms = now_ms + self.period_ms - (now_ms % self.period_ms if self.is_steady else 0)


def same(text: str) -> Frame:
    """An event without times, or of a market that tells them in milliseconds only."""
    return lambda units: text


# Writes an event: the update id before it, the changed bids and asks, its own update id, the moment (UTC ms).
Difference: TypeAlias = Callable[[int, Sequence[Level], Sequence[Level], int, int], Frame]


def differences(book: AnyBook, period_ms: int, write: Difference) -> Channel:
    """What changed in a book."""
    chain = Chain(book)

    def told(now_ms: int) -> list[Frame]:
        found = chain.next()
        return [] if found is None else [write(*found, chain.update_id, now_ms)]

    return Channel(period_ms, told, is_of_book=True, end=chain.end)


def forming(book: AnyBook, interval: str, period_ms: int, write: Callable[[Bar, int], Frame]) -> Channel:
    """The candle that is running."""

    def told(now_ms: int) -> list[Frame]:
        bar = book.series.running(interval)
        return [] if bar is None else [write(bar, now_ms)]

    return Channel(period_ms, told)
