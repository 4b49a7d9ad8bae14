"""The circuit breaker: limits on marked equity and on how things go, what each does when reached, and trips that stay.

It is judged at every change of equity. Exits and resting protection never ask it. What must survive a restart (hourly
equity, the peak, trips, resets) is recorded by the engine and taken back by `note`. A trip ends by the operator's reset
and by nothing else: not by a restart, not by a new day. After a reset losses are measured from that moment on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from surefoot.core import rules
from surefoot.core.messages import RecordEquity, RecordReset, RecordTransfer, RecordTrip
from surefoot.core.model import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, ZERO, Tier

HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168
FIRST_MONDAY_HOUR = 96  # 1970-01-05 00:00 UTC
PEAK_STEP = Decimal("1.001")  # a peak is recorded again when it has grown by a tenth of a per cent
NEAR_SHARE = Decimal("0.8")
CURVE_POINTS = 60  # minutes of equity that a trip carries
TRIPS_KEPT = 100

RULES = {
    "day loss": "%",
    "rolling loss": "%",
    "week loss": "%",
    "drawdown": "%",
    "venue errors": "a minute",
    "stale data": "s",
    "books differ": "differences",
    "clock skew": "ms",
    "repeated refusals": "in a row",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """From `value_pct` of loss on, `tier` is what happens."""

    value_pct: Decimal
    tier: Tier


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Limits on equity, and on how things go; a 0 among the latter switches a rule off."""

    day_loss: Limit
    rolling_loss: Limit
    week_loss: Limit
    drawdown: Limit
    venue_errors_max: int = 5
    stale_data_max_ms: int = 60_000
    clock_skew_max_ms: int = 1_000
    refusals_max: int = 5

    def losses(self) -> tuple[tuple[str, Limit], ...]:
        """The rules on equity by their names."""
        return (
            ("day loss", self.day_loss),
            ("rolling loss", self.rolling_loss),
            ("week loss", self.week_loss),
            ("drawdown", self.drawdown),
        )


@dataclass(frozen=True, slots=True)
class Near:
    """A loss that has come to four fifths of its limit."""

    rule: str
    value_pct: Decimal
    limit_pct: Decimal


@dataclass(slots=True)
class Breaker:
    """See the module's rules. `trips` are those in force, by rule."""

    settings: BreakerSettings
    peak: Decimal | None = field(default=None, compare=False)  # what is recorded of it may be a little less
    trips: dict[str, RecordTrip] = field(default_factory=dict)
    history: deque[RecordTrip | RecordReset] = field(default_factory=lambda: deque(maxlen=TRIPS_KEPT))
    _hour: int | None = None
    _hours: dict[int, Decimal] = field(default_factory=dict)  # first equity of each of the last 24 hours
    _day_start: Decimal | None = None
    _week_start: Decimal | None = None
    _recorded_peak: Decimal = ZERO
    _warned: set[tuple[str, int]] = field(default_factory=set)  # (rule, day): a warning is given once a day
    _neared: set[tuple[str, int]] = field(default_factory=set, compare=False)
    _curve: deque[tuple[int, Decimal]] = field(default_factory=lambda: deque(maxlen=CURVE_POINTS), compare=False)
    # Each rule with the equity from which on it has something to say; None when an anchor has changed.
    _marks: tuple[tuple[str, Limit, Decimal], ...] | None = field(default=None, compare=False)

    def adopt(self, settings: BreakerSettings) -> None:
        """Other limits from now on. A trip stays."""
        self.settings, self._marks = settings, None

    # -- judging ----------------------------------------------------------------------------------------------

    def judge(self, equity: Decimal, now_ms: int) -> Iterator[RecordEquity | RecordTrip | Near]:
        """What a change of equity means: a record of it, trips, limits that are near. `note` takes each in."""
        hour = now_ms // MS_PER_HOUR
        if self.peak is None or equity > self.peak:
            self.peak, self._marks = equity, None
        if hour != self._hour or self.peak > self._recorded_peak * PEAK_STEP:
            yield RecordEquity(now_ms, hour, equity, self.peak)
        if not self._curve or now_ms - self._curve[-1][0] >= MS_PER_MINUTE:
            self._curve.append((now_ms, equity))
        for rule, limit, least in self._least():
            if equity <= least:
                yield from self._fallen(rule, limit, equity, now_ms)

    def _least(self) -> tuple[tuple[str, Limit, Decimal], ...]:
        """For each rule the equity at which it is near its limit; the list is made anew only when an anchor changed."""
        if self._marks is None:
            self._marks = tuple(
                (rule, limit, start * (1 - NEAR_SHARE * limit.value_pct / 100))
                for rule, limit in self.settings.losses()
                if (start := self.start_of(rule)) is not None and start > 0
            )
        return self._marks

    def calm(self, now_ms: int) -> tuple[Decimal, Decimal] | None:
        """Between which equities, the first exclusive and the last inclusive, a judgement is silent in this hour."""
        if self._hour is None or self.peak is None or now_ms // MS_PER_HOUR != self._hour:
            return None
        day = now_ms // MS_PER_DAY
        floors = [
            self._limit_of(rule, limit) if (rule, day) in self._neared else least
            for rule, limit, least in self._least()
            if not self._is_known(rule, limit.tier, day)
        ]
        return max(floors, default=ZERO), self.peak

    def turns_calmly(self, hour: int, low: Decimal, high: Decimal) -> bool:
        """Whether an hour that begins with an equity between two others says nothing but that it has begun."""
        if self.peak is None or high > self.peak:
            return False
        day = hour // HOURS_PER_DAY
        for rule, limit in self.settings.losses():
            start = self._start_in(rule, hour, high)
            if start is not None and start > 0 and not self._is_known(rule, limit.tier, day):
                least = start * (1 - NEAR_SHARE * limit.value_pct / 100)
                if low <= least:
                    return False
        return True

    def _start_in(self, rule: str, hour: int, high: Decimal) -> Decimal | None:
        """The most that a loss will be measured from in the hour that comes next."""
        begins_anew = self._hour is None or (
            _day(self._hour) != _day(hour) if rule == "day loss" else _week(self._hour) != _week(hour)
        )
        if rule in ("day loss", "week loss") and begins_anew:
            return high
        return self._hours.get(hour - HOURS_PER_DAY) if rule == "rolling loss" else self.start_of(rule)

    def _limit_of(self, rule: str, limit: Limit) -> Decimal:
        start = self.start_of(rule)
        assert start is not None, "a rule without a start has no limit"
        return start * (1 - limit.value_pct / 100)

    def _fallen(self, rule: str, limit: Limit, equity: Decimal, now_ms: int) -> Iterator[RecordTrip | Near]:
        start = self.start_of(rule)
        assert start is not None, "a rule without a start has no level to fall to"
        loss_pct, day = rules.loss_pct(start, equity), now_ms // MS_PER_DAY
        if self._is_known(rule, limit.tier, day):
            return
        if loss_pct >= limit.value_pct:
            text = f"{rule}: {loss_pct:.2f} % reached {limit.value_pct:f} %"
            yield self.trip(rule, limit.tier, loss_pct, limit.value_pct, equity, now_ms, text)
        elif (rule, day) not in self._neared:
            self._neared.add((rule, day))
            yield Near(rule, loss_pct, limit.value_pct)

    def _is_known(self, rule: str, tier: Tier, day: int) -> bool:
        return (rule, day) in self._warned if tier is Tier.WARN else rule in self.trips

    def trip(
        self, rule: str, tier: Tier, value: Decimal, limit: Decimal, equity: Decimal | None, now_ms: int, text: str
    ) -> RecordTrip:
        """The record of a trip; it is in force once it is noted."""
        return RecordTrip(now_ms, rule, tier, value, limit, equity, text, tuple(self._curve))

    def start_of(self, rule: str) -> Decimal | None:
        """The equity that a loss is measured from; None where there is none yet."""
        match rule:
            case "day loss":
                return self._day_start
            case "week loss":
                return self._week_start
            case "rolling loss":
                return None if self._hour is None else self._hours.get(self._hour - HOURS_PER_DAY)
            case _:
                return self.peak

    # -- remembering ------------------------------------------------------------------------------------------

    def note(self, record: RecordEquity | RecordTrip | RecordTransfer | RecordReset) -> None:
        match record:
            case RecordTransfer():
                self._moved(record)
            case RecordEquity():
                self._note_equity(record)
            case RecordTrip():
                self.history.append(record)
                if record.tier is Tier.WARN:
                    self._warned.add((record.rule, record.at_ms // MS_PER_DAY))
                else:
                    self.trips[record.rule] = record
            case RecordReset():
                self.history.append(record)
                self.trips.clear()
                self._warned.clear()
                self._neared.clear()
                self._begin_anew(record.equity)

    def _note_equity(self, record: RecordEquity) -> None:
        self.peak = record.peak if self.peak is None else max(self.peak, record.peak)
        self._recorded_peak, self._marks = record.peak, None
        before, self._hour = self._hour, record.hour
        if record.hour == before:
            return
        self._hours[record.hour] = record.equity
        for old in [hour for hour in self._hours if hour < record.hour - HOURS_PER_DAY]:
            del self._hours[old]
        if before is None or _day(before) != _day(record.hour):
            self._day_start = record.equity
        if before is None or _week(before) != _week(record.hour):
            self._week_start = record.equity
        self._neared = {(rule, day) for rule, day in self._neared if day == _day(record.hour)}

    def _begin_anew(self, equity: Decimal | None) -> None:
        self.peak = self._day_start = self._week_start = equity
        self._recorded_peak, self._marks = equity or ZERO, None
        self._hours.clear()
        if equity is None:  # the next judged equity is an anchor again
            self._hour = None

    def _moved(self, transfer: RecordTransfer) -> None:
        """Money came or went without a trade. Every anchor moves along, so that a loss stays what it was in per cent:
        else a withdrawal would make a small loss a great one, and a deposit would hide it."""

        def moved(anchor: Decimal) -> Decimal:
            return rules.moved_along(anchor, transfer.value, transfer.equity)

        self.peak = None if self.peak is None else moved(self.peak)
        self._day_start = None if self._day_start is None else moved(self._day_start)
        self._week_start = None if self._week_start is None else moved(self._week_start)
        self._hours = {hour: moved(equity) for hour, equity in self._hours.items()}
        self._recorded_peak, self._marks = moved(self._recorded_peak), None

    # -- answering --------------------------------------------------------------------------------------------

    def off_text(self) -> str | None:
        """What the breaker says against entries; None when it says nothing."""
        if not self.trips:
            return None
        return "; ".join(trip.text for trip in self.trips.values()) + "; surefoot breaker reset lets go"


def _day(hour: int) -> int:
    return hour // HOURS_PER_DAY


def _week(hour: int) -> int:
    return (hour - FIRST_MONDAY_HOUR) // HOURS_PER_WEEK
