"""Whether a profile of the roll-out has shown what its gate asks for, as far as a journal can tell.

What counts, condition by condition, says the text of each. Evidence is what was recorded since the settings were last
changed: the journal knows a digest of the settings of each run, not the profile. What a journal cannot tell is said in
`UNKNOWABLE`, so that nobody takes a passed gate for more than it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from surefoot.config import Settings, settings_digest
from surefoot.core.messages import LinkLost, LinkRestored, OrderRejected, RecordAlarm, RecordTrip, RunStarted
from surefoot.core.model import MS_PER_DAY, MS_PER_HOUR, Tier
from surefoot.presets import Gate
from surefoot.research.export import EquityRow, books_of, without_transfers
from surefoot.research.figures import Metrics
from surefoot.research.metrics import measure
from surefoot.store.journal import JournalReader

STREAMS = frozenset({"market", "account"})
BREAK_MAX_MS = 60_000  # the venue ends every connection once a day: coming back at once is no interruption
# Alarms that something went wrong which the bot has no rule for, or could not keep its promise in.
ERROR_ALARMS = frozenset({"order-error", "books-differ", "unprotected"})
BAN_CODE = -1003  # also the answer of a venue that has banned the address

UNKNOWABLE = (
    "which profile the runs of other settings had: the journal has a digest of the settings, not their names",
    "a crash of the process: the journal shows that a run ended, not why",
    "a ban that only hit reads: what the venue answers to reads is not kept",
    "falls of equity between two records of it: the drawdown rests on candles, fills, hours, new peaks and trips",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something the gate asks for, what there is of it, and what counts. `value` says "not known" where it is not."""

    name: str
    wanted: str
    value: str
    met: bool
    counts: str


@dataclass(slots=True)
class Evidence:
    """What a journal shows since the settings were last changed; times in ms."""

    since_ms: int | None = None
    runs: int = 0
    other_runs: int = 0
    running_ms: int = 0
    stream_ms: int = 0  # the longest stretch with both streams up
    trips: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    metrics: Metrics | None = None


def evidence_of(path: Path, settings: Settings, *, all_settings: bool = False) -> Evidence:
    """What the journal shows. With `all_settings`, runs of other settings count, too. Raises StoreError."""
    digests, found, uptime = _digests(path, settings), Evidence(), _Uptime()
    with JournalReader(path) as reader:
        for entry in reader.read():
            message = entry.message
            if isinstance(message, RunStarted):
                if message.settings_digest not in digests and not all_settings:
                    found, uptime = Evidence(other_runs=found.other_runs + found.runs + 1), _Uptime()
                    continue
                found.runs += 1
                found.since_ms = message.at_ms if found.since_ms is None else found.since_ms
                uptime.begin(message.at_ms)
            elif found.since_ms is not None:
                uptime.see(entry.at_ms)
                _take(message, found, uptime)
    uptime.end()
    found.running_ms, found.stream_ms = uptime.running_ms, uptime.longest_ms
    if found.since_ms is not None:
        found.metrics = _metrics(path, settings, found.since_ms)
    return found


def _digests(path: Path, settings: Settings) -> set[str]:
    """Of these settings; a run may have been told where its journal is besides."""
    placed = settings.store.model_copy(update={"journal_path": path})
    return {settings_digest(settings), settings_digest(settings.model_copy(update={"store": placed}))}


def _take(message: object, found: Evidence, uptime: _Uptime) -> None:
    match message:
        case LinkRestored(link=link) if link in STREAMS:
            uptime.up(link)
        case LinkLost(link=link) if link in STREAMS:
            uptime.down(link)
        case LinkLost(link="store"):
            found.errors.append(f"the journal could not be written: {message.text}")
        case RecordTrip() if message.tier is not Tier.WARN:
            found.trips.append(message.text)
        case RecordAlarm(code=code) if code in ERROR_ALARMS:
            found.errors.append(f"{code}: {message.text}")
        case OrderRejected(code=code) if code == BAN_CODE:
            found.errors.append(f"too many requests, or a ban: {message.text}")
        case _:
            pass


@dataclass(slots=True)
class _Uptime:
    """How long processes ran, and how long both streams were up without a break worth the name."""

    running_ms: int = 0
    longest_ms: int = 0
    _up: set[str] = field(default_factory=set)
    _run_ms: int | None = None  # when the run began
    _now_ms: int = 0
    _since_ms: int | None = None  # when the stretch began
    _lost_ms: int | None = None  # when a stream went that has not come back

    def begin(self, at_ms: int) -> None:
        """A process began: the one before ended with its last record."""
        self.end()
        self._run_ms = self._now_ms = at_ms

    def see(self, at_ms: int) -> None:
        self._now_ms = max(self._now_ms, at_ms)

    def up(self, link: str) -> None:
        self._up.add(link)
        if self._up != STREAMS:
            return
        if self._lost_ms is None or self._now_ms - self._lost_ms > BREAK_MAX_MS or self._since_ms is None:
            self._since_ms = self._now_ms
        self._lost_ms = None

    def down(self, link: str) -> None:
        if self._up == STREAMS:
            self._close_stretch()
            self._lost_ms = self._now_ms
        self._up.discard(link)

    def end(self) -> None:
        if self._run_ms is None:
            return
        self.running_ms += self._now_ms - self._run_ms
        if self._up == STREAMS:
            self._close_stretch()
        self._up.clear()
        self._run_ms = self._since_ms = self._lost_ms = None

    def _close_stretch(self) -> None:
        if self._since_ms is not None:
            self.longest_ms = max(self.longest_ms, self._now_ms - self._since_ms)


def _metrics(path: Path, settings: Settings, since_ms: int) -> Metrics:
    books = books_of(path, settings)
    with JournalReader(path) as reader:
        trips = [entry.message for entry in reader.read(kinds=[RecordTrip])]
    rows = [row for row in books.equity_rows if row.at_ms >= since_ms]
    rows += [
        EquityRow(trip.at_ms, trip.equity, None, "trip")
        for trip in trips
        if isinstance(trip, RecordTrip) and trip.equity is not None and trip.at_ms >= since_ms
    ]
    worths = without_transfers(sorted(rows, key=attrgetter("at_ms")))
    curve = [(row.at_ms, float(worth)) for row, _, worth in worths if worth is not None]
    return measure(curve, [trip for trip in books.all_round_trips if trip.entry_ms >= since_ms])


def conditions_of(gate: Gate, found: Evidence) -> list[Condition]:
    """Everything the gate asks for, in its order."""
    days, metrics = found.running_ms / MS_PER_DAY, found.metrics
    conditions = [
        Condition(
            "days of running",
            f"at least {gate.days_min}",
            f"{days:.2f}",
            days >= gate.days_min,
            "from the start of each run to its last record; time between runs does not count",
        )
    ]
    if gate.no_trip:
        counts = "trips of the breaker of every rule; warnings do not count"
        conditions.append(Condition("trips", "none", _listed(found.trips), not found.trips, counts))
    if gate.no_error:
        counts = f"alarms {', '.join(sorted(ERROR_ALARMS))}; a journal that could not be written; rejections {BAN_CODE}"
        conditions.append(
            Condition("unhandled errors and bans", "none", _listed(found.errors), not found.errors, counts)
        )
    if gate.stream_hours_min:
        hours = found.stream_ms / MS_PER_HOUR
        counts = f"longest stretch of one run with both streams up; breaks up to {BREAK_MAX_MS // 1_000} s do not count"
        wanted = f"at least {gate.stream_hours_min}"
        conditions.append(Condition("hours of stream", wanted, f"{hours:.2f}", hours >= gate.stream_hours_min, counts))
    for name, value, above, below in (
        ("Sharpe", None if metrics is None else metrics.sharpe, gate.sharpe_above, None),
        ("win rate, %", None if metrics is None else metrics.win_rate_pct, gate.win_rate_above_pct, None),
        ("drawdown, %", None if metrics is None else metrics.max_drawdown_pct, None, gate.drawdown_below_pct),
    ):
        conditions += _figure(name, value, above, below, metrics)
    return conditions


def _figure(
    name: str, value: float | None, above: float | None, below: float | None, metrics: Metrics | None
) -> Iterable[Condition]:
    if above is None and below is None:
        return
    is_above = value is not None and (above is None or value > above)
    is_below = value is not None and (below is None or value < below)
    wanted = f"above {above:g}" if above is not None else f"below {below:g}"
    shown = "not known" if value is None else f"{value:.2f}"
    if name.startswith("win"):
        counts = f"of {0 if metrics is None else metrics.round_trips} round trips that began in this time"
    elif name == "Sharpe":
        counts = "not known yet" if metrics is None else metrics.sharpe_basis
    else:
        counts = "deepest fall from a peak of recorded equity; deposits and withdrawals do not count"
    yield Condition(name, wanted, shown, is_above and is_below, counts)


def _listed(texts: Sequence[str]) -> str:
    return "none" if not texts else f"{len(texts)}: {texts[-1]}"
