"""What is worth telling a person who does not look: decided from pictures of the trader and records of its journal.

Rules. Nothing here sends anything or reads a clock. The same pictures and records give the same alerts. A record is
told once, when it is read; a condition of a picture (no resting stop, an order in doubt) is told when it has lasted and
again when it is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import get_args

from surefoot.core import rules
from surefoot.core.messages import (
    BreakerResetRequested,
    Command,
    Event,
    KillRequested,
    LiveSwitched,
    OperatorEvent,
    OrderFilled,
    RecordAlarm,
    RecordReset,
    RecordTransfer,
    RecordTrip,
    RunStarted,
    SettingsChanged,
)
from surefoot.core.model import MS_PER_DAY, ZERO, Tier
from surefoot.core.view import View

UNPROTECTED_MS = 3_000
NEAR_SHARE_PCT = 80
SMALL_LIMIT = 10  # four fifths of less is one or two requests
IN_DOUBT = "IN_DOUBT"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    def reaches(self, least: Level) -> bool:
        """Whether it is at least as grave."""
        levels = list(Level)
        return levels.index(self) >= levels.index(least)


@dataclass(frozen=True, slots=True)
class Alert:
    """`kind` is what alerts are grouped by; `count` is how many became this one. `at_ms` is the trader's time."""

    at_ms: int
    level: Level
    kind: str
    title: str
    text: str
    count: int = 1


# The engine's alarms by their codes: how grave, of which kind, and their title. `breaker` is told by its own record.
ALARMS: dict[str, tuple[Level, str, str]] = {
    "breaker-near": (Level.WARNING, "limit-near", "80 % of a limit"),
    "unprotected": (Level.CRITICAL, "unprotected", "A position had no resting stop and is being sold"),
    "books-differ": (Level.CRITICAL, "books-differ", "Books and account differ: entries are off"),
    "stream-silent": (Level.WARNING, "stream-silent", "A stream is silent"),
    "link-lost": (Level.WARNING, "link-lost", "A link is lost"),
    "key-refused": (Level.CRITICAL, "key-refused", "The venue refuses the key: nothing is bought"),
    "read-refused": (Level.WARNING, "read-refused", "The venue refuses to tell something: it is asked again"),
    "rate-limited": (Level.WARNING, "rate-limit", "The venue wants less of us"),
    "banned": (Level.CRITICAL, "banned", "The venue has banned us for a while"),
    "venue-traded": (Level.CRITICAL, "venue-traded", "A position was closed by the venue, or by the guardian"),
    "margin-call": (Level.CRITICAL, "margin-call", "The venue says that margin runs short"),
    "liquidation-near": (Level.CRITICAL, "liquidation-near", "A position comes near its liquidation and is being left"),
    "liquidation-differs": (
        Level.CRITICAL,
        "liquidation-near",
        "The venue would liquidate sooner than it was reckoned",
    ),
    "margin-differs": (Level.CRITICAL, "margin-differs", "The venue holds positions otherwise than it was told to"),
    "mark-price-missing": (Level.WARNING, "mark-price-missing", "No mark price: the last price decides"),
    "withdrawal": (Level.WARNING, "transfer", "Money has left the account"),
    "deposit": (Level.INFO, "transfer", "Money has come into the account"),
    "rules-changed": (Level.WARNING, "rules-changed", "The venue changed the rules of a symbol"),
    "price-dropped": (Level.WARNING, "price-dropped", "A price that cannot be was dropped"),
}
RECORDS: tuple[type[Event] | type[Command], ...] = (
    RunStarted,
    RecordTrip,
    RecordReset,
    RecordAlarm,
    RecordTransfer,
    OrderFilled,
    *get_args(OperatorEvent),
)


class Watcher:
    """See the module's rules. `doubt_max_ms` is how long an order may be in doubt before it is told."""

    def __init__(self, doubt_max_ms: int, *, daily_summary: bool) -> None:
        self._doubt_max_ms = doubt_max_ms
        self._daily_summary = daily_summary
        self._view: View | None = None
        self._unprotected: set[str] = set()  # symbols of which it was told
        self._doubts_since_ms: dict[str, int] = {}
        self._doubts_told: set[str] = set()
        self._near: set[tuple[str, int]] = set()
        self._day = _Day()

    def read(self, record: Event | Command) -> Iterator[Alert]:
        """What a record of the journal says to a person; it comes before the picture that already shows it."""
        match record:
            case RunStarted():
                text = f"run {record.run}, mode {record.mode}, {', '.join(record.symbols)}, version {record.version}"
                yield Alert(record.at_ms, Level.INFO, "start", "The trader has started", text)
            case RecordTrip():
                self._day.trips += 1
                level = Level.WARNING if record.tier is Tier.WARN else Level.CRITICAL
                equity = "" if record.equity is None else f"; equity {record.equity:.2f}"
                yield Alert(
                    record.at_ms, level, "trip", "The breaker has tripped", f"{record.text} ({record.tier}){equity}"
                )
            case RecordReset():
                text = f"by {record.who}: {record.reason}"
                yield Alert(record.at_ms, Level.INFO, "reset", "The breaker was reset", text)
            case RecordAlarm(code="breaker"):
                pass
            case RecordAlarm():
                known = ALARMS.get(
                    record.code, (Level.WARNING, record.code, "Something about an order is not as it was")
                )
                yield Alert(record.at_ms, *known, record.text)
            case RecordTransfer():
                self._day.take(record)  # told by its alarm
            case OrderFilled():
                self._day.fills += 1
            case BreakerResetRequested():
                pass  # told by what came of it
            case _ if isinstance(record, get_args(OperatorEvent)):
                yield _asked_for(record)

    def look(self, view: View) -> list[Alert]:
        """What a picture says that the one before it did not."""
        told = [*self._protection(view), *self._doubts(view), *self._venue_limits(view), *self._new_day(view)]
        self._view = view
        return told

    def _protection(self, view: View) -> Iterator[Alert]:
        for position in view.positions:
            symbol, open_ms = position.symbol, position.unprotected_ms
            if open_ms is not None and open_ms >= UNPROTECTED_MS and symbol not in self._unprotected:
                self._unprotected.add(symbol)
                text = f"{symbol}: {position.quantity:f} without a resting stop for {open_ms / 1_000:.1f} s"
                yield Alert(view.at_ms, Level.CRITICAL, "unprotected", "A position has no resting stop", text)
        exposed = {position.symbol for position in view.positions if position.unprotected_ms is not None}
        for symbol in sorted(self._unprotected - exposed):
            self._unprotected.discard(symbol)
            held = any(position.symbol == symbol for position in view.positions)
            text = f"{symbol}: {'a stop rests again' if held else 'nothing is held any more'}"
            yield Alert(view.at_ms, Level.INFO, "protected", "No position is without its stop", text)

    def _doubts(self, view: View) -> Iterator[Alert]:
        doubted = {order.client_order_id: order for order in view.orders if order.state == IN_DOUBT}
        for name, order in doubted.items():
            age_ms = view.at_ms - self._doubts_since_ms.setdefault(name, view.at_ms)
            if age_ms >= self._doubt_max_ms and name not in self._doubts_told:
                self._doubts_told.add(name)
                text = (
                    f"{name}: {order.purpose} of {order.symbol}, what became of it is unknown for {age_ms // 1_000} s"
                )
                yield Alert(view.at_ms, Level.CRITICAL, "doubt", "An order is in doubt", text)
        for name in sorted(self._doubts_since_ms.keys() - doubted.keys()):
            del self._doubts_since_ms[name]
            if name in self._doubts_told:
                self._doubts_told.discard(name)
                yield Alert(view.at_ms, Level.INFO, "doubt-over", "An order is known again", name)

    def _venue_limits(self, view: View) -> Iterator[Alert]:
        for limit in view.venue_limits:
            key = limit.kind, limit.interval_ms
            if limit.kind == "requests" or limit.limit < SMALL_LIMIT:
                continue  # our own, and used up at every start
            if limit.used * 100 < limit.limit * NEAR_SHARE_PCT:
                self._near.discard(key)
            elif key not in self._near:
                self._near.add(key)
                text = f"{limit.kind} in {limit.interval_ms // 1_000} s: {limit.used} of {limit.limit} are used"
                yield Alert(view.at_ms, Level.WARNING, "limit-near", "80 % of a limit", f"the venue's {text}")

    def _new_day(self, view: View) -> Iterator[Alert]:
        before, day = self._view, view.at_ms // MS_PER_DAY
        if before is None:
            self._day.begin(view)
        elif day > before.at_ms // MS_PER_DAY:
            if self._daily_summary:
                text = self._day.text(view)
                yield Alert(view.at_ms, Level.INFO, "day", "The day in short", text)
            self._day = _Day()
            self._day.begin(view)


def _asked_for(record: OperatorEvent) -> Alert:
    wish = type(record).__name__.removesuffix("Requested")
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", wish).lower()
    if isinstance(record, LiveSwitched):
        words = f"real money {'on' if record.on else 'off'}"
    text = f"by {record.who}: {record.reason}"
    if isinstance(record, SettingsChanged):
        text += "".join(f"; {key} = {value}" for key, value in record.changes.items())
    level = Level.WARNING if isinstance(record, (KillRequested, LiveSwitched)) else Level.INFO
    return Alert(record.at_ms, level, "operator", f"Asked for: {words}", text)


@dataclass(slots=True)
class _Day:
    """What is counted since midnight, or since the watch began. `equity` is what the change is measured from: that of
    the beginning, which moves along with transfers."""

    equity: Decimal | None = None
    round_trips: int = 0
    unprotected_ms: int = 0
    fills: int = 0
    trips: int = 0
    transferred: Decimal = ZERO

    def begin(self, view: View) -> None:
        """What grows over all days is counted from here on."""
        self.equity, self.round_trips = view.equity, view.round_trip_count
        self.unprotected_ms = view.unprotected_in_all_ms

    def take(self, transfer: RecordTransfer) -> None:
        """Money came or went: that is no profit and no loss."""
        self.transferred += transfer.value
        if self.equity is not None:
            self.equity = rules.moved_along(self.equity, transfer.value, transfer.equity)

    def text(self, view: View) -> str:
        held = ", ".join(f"{position.quantity:f} {position.symbol}" for position in view.positions) or "nothing"
        counts = f"{view.round_trip_count - self.round_trips} round trips, {self.fills} fills, {self.trips} trips"
        moved = f"; {self.transferred:+.2f} {view.quote} transferred" if self.transferred else ""
        bare_s = (view.unprotected_in_all_ms - self.unprotected_ms) / 1_000
        return f"{self._equity_text(view)}{moved}; {counts}; {bare_s:.1f} s without a resting stop; held: {held}"

    def _equity_text(self, view: View) -> str:
        if view.equity is None:
            return "equity unknown, a price is missing"
        if self.equity is None or self.equity <= 0:
            return f"equity {view.equity:.2f} {view.quote}"
        change_pct = (view.equity / self.equity - 1) * 100
        return f"equity {view.equity:.2f} {view.quote} ({change_pct:+.2f} %)"
