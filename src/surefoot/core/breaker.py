"""The circuit breaker's first rule: the loss of the day, on marked equity.

It stops entries for the rest of the UTC day. Exits and resting protection never ask it. Its two facts (the equity that
the day began with, and a trip) are recorded by the engine, so that a restart knows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from surefoot.core import rules
from surefoot.core.messages import RecordDayStart, RecordTrip
from surefoot.core.model import MS_PER_DAY


@dataclass(slots=True)
class Breaker:
    day_loss_max_pct: Decimal
    day: int | None = None
    day_start_equity: Decimal | None = None
    tripped_day: int | None = None

    def judge(self, equity: Decimal, now_ms: int) -> RecordDayStart | RecordTrip | None:
        """What a change of equity means: the day's anchor, a trip, or nothing new."""
        day = now_ms // MS_PER_DAY
        if self.day_start_equity is None or self.day != day:
            return RecordDayStart(now_ms, day, equity)
        if self.tripped_day == day or self.day_start_equity <= 0:
            return None
        loss_pct = rules.loss_pct(self.day_start_equity, equity)
        if loss_pct < self.day_loss_max_pct:
            return None
        return RecordTrip(now_ms, day, loss_pct, self.day_loss_max_pct)

    def note(self, record: RecordDayStart | RecordTrip) -> None:
        match record:
            case RecordDayStart():
                self.day, self.day_start_equity = record.day, record.equity
            case RecordTrip():
                self.tripped_day = record.day

    def stops_entries(self, now_ms: int) -> bool:
        return self.tripped_day == now_ms // MS_PER_DAY
