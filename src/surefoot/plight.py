"""Whether a trader works, judged from its pictures by somebody else's watch. Without a clock of its own: a table.

Rules. Times are those of whoever looks (ms, of a clock that never goes back), except where a picture itself says how
long something lasts. A trouble is an emergency where something is at stake: something held, or an order on its way. A
trader that was stopped in order and left nothing at stake is no trouble at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from surefoot.core.view import View

LINKS = frozenset({"market", "account"})


class Kind(StrEnum):
    """SILENT: no picture comes. STILL: they come, and show one and the same moment. PRICES: no price is new. LINK: no
    connection to the venue. BARE: a position has no stop for longer than the trader itself would bear."""

    SILENT = "silent"
    STILL = "still"
    PRICES = "prices"
    LINK = "link"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long each may last. `bare_ms` is of the trader's time: its own bound and a margin."""

    silent_ms: int
    idle_ms: int
    bare_ms: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that has lasted too long; `text` says what, in a line."""

    kind: Kind
    text: str


def at_stake(view: View) -> str:
    """What is held and what is on its way, in words; empty where there is nothing."""
    held = [f"{position.quantity:f} {position.symbol}" for position in view.positions]
    return ", ".join(held + ([f"{len(view.orders)} orders"] if view.orders else []))


class Judge:
    """See it all, and ask for the troubles there are. `now_ms` never goes back."""

    def __init__(self, bounds: Bounds, now_ms: int) -> None:
        self._bounds = bounds
        self._view: View | None = None
        self._journaled: str | None = None
        self._seen_ms = now_ms
        self._begin(now_ms)

    def see(self, view: View, now_ms: int) -> None:
        """A picture came. After a silence everything is measured anew: a trader that is back has its time to work."""
        before = self._view
        if before is None or self.is_silent(now_ms) or view.run != before.run:
            self._begin(now_ms)
        else:
            if view.at_ms > before.at_ms:
                self._moved_ms = now_ms
            if _newest_price_ms(view) > _newest_price_ms(before):
                self._priced_ms = now_ms
            if view.links and not LINKS - set(view.links):
                self._linked_ms = now_ms
        self._view, self._journaled, self._seen_ms = view, None, now_ms

    def bound(self, bounds: Bounds) -> None:
        """From now on these bounds count."""
        self._bounds = bounds

    def learn(self, stake: str) -> None:
        """What the journal of a silent trader says to be at stake; it is newer than the last picture."""
        self._journaled = stake

    def excuse(self, gap_ms: int) -> None:
        """Whoever looks was itself held up for so long: that is not the trader's fault."""
        self._seen_ms += gap_ms
        self._moved_ms += gap_ms
        self._priced_ms += gap_ms
        self._linked_ms += gap_ms

    @property
    def stake(self) -> str:
        """What is at stake, in words; empty where there is nothing, or nothing is known."""
        if self._journaled is not None:
            return self._journaled
        return "" if self._view is None else at_stake(self._view)

    @property
    def symbols(self) -> frozenset[str]:
        """Of which the last picture shows something held or an order."""
        if self._view is None:
            return frozenset()
        held, ordered = self._view.positions, self._view.orders
        return frozenset([position.symbol for position in held] + [order.symbol for order in ordered])

    def has_seen(self) -> bool:
        """Whether a picture ever came."""
        return self._view is not None

    def troubles(self, now_ms: int) -> tuple[Trouble, ...]:
        """What has lasted too long by now, what is worst first."""
        if self.is_silent(now_ms):
            silent_s = (now_ms - self._seen_ms) // 1_000
            return (Trouble(Kind.SILENT, f"it has not answered for {silent_s} s"),)
        return () if self._view is None else tuple(self._idle(self._view, now_ms))

    def _idle(self, view: View, now_ms: int) -> Iterator[Trouble]:
        for position in view.positions:
            bare_ms = position.unprotected_ms
            if bare_ms is not None and bare_ms > self._bounds.bare_ms:
                text = f"{position.symbol}: {position.quantity:f} without a resting stop for {bare_ms // 1_000} s"
                yield Trouble(Kind.BARE, text)
        for kind, since_ms, text in (
            (Kind.STILL, self._moved_ms, "its pictures show one moment"),
            (Kind.LINK, self._linked_ms, f"no link to {' and '.join(sorted(LINKS - set(view.links)))}"),
            (Kind.PRICES, self._priced_ms, "no price is new"),
        ):
            if now_ms - since_ms > self._bounds.idle_ms:
                yield Trouble(kind, f"{text} for {(now_ms - since_ms) // 1_000} s")

    def _begin(self, now_ms: int) -> None:
        self._moved_ms = self._priced_ms = self._linked_ms = now_ms

    def is_silent(self, now_ms: int) -> bool:
        """Whether no picture has come for longer than may be."""
        return now_ms - self._seen_ms > self._bounds.silent_ms


def _newest_price_ms(view: View) -> int:
    return max((price.at_ms for price in view.prices if price.at_ms is not None), default=0)
