"""What listeners of one stream share: when it may be sent again, and who makes its frames.

A stream with a period is sent at once when something happens, and after that not before its period is over; what
happens meanwhile waits until then. A steady stream is sent at each full period, whether anything happens or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

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
