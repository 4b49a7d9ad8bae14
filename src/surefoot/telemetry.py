"""The bot as Prometheus reads it: rendered, when asked, from the trader's picture, its journal and the alerts' file.

Rules. The trader listens on no network port and knows nothing of Prometheus; the process that renders holds no key.
What is not known is left out, and never zero. Totals come from the journal, so that they go on over restarts; what the
trader counts in memory begins anew with it, as Prometheus expects of a process. Time in a paper market is the market's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from surefoot.core.messages import RecordAlarm, RecordDecision, RecordTrip
from surefoot.core.tally import BOUNDS_MS, Spread, Tally
from surefoot.core.view import TrafficView, View
from surefoot.notify import alerts_path, recent_alerts
from surefoot.store.journal import JournalReader, StoreError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NAME = "surefoot"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Labels = dict[str, str]


@dataclass(slots=True)
class Totals:
    """What a journal has counted up to a record; read on from there at each look."""

    path: Path | None = None
    seq: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=dict)

    # What is told apart by a field of its messages, and by which.
    FIELDS = ((RecordDecision, "outcome"), (RecordAlarm, "code"), (RecordTrip, "rule"))

    def read(self, path: Path | None) -> None:
        """Take in what was written since; raises StoreError when it cannot be read."""
        if path != self.path:
            self.path, self.seq, self.kinds, self.by = path, 0, Counter(), {}
        if path is None:
            return
        with JournalReader(path) as reader:
            last_seq = reader.last_seq
            self.kinds.update(reader.counts(self.seq, last_seq))
            for kind, name in self.FIELDS:
                self.by.setdefault(kind.__name__, Counter()).update(reader.counts_by(kind, name, self.seq, last_seq))
            self.seq = last_seq


class Visits:
    """What the web process was asked, how it answered and how long that took. Counted in one thread, read in any."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], int] = {}  # by method and status
        self.answer_ms = Tally()
        self.streams = 0  # that are open

    def answered(self, method: str, status: int, took_ms: float) -> None:
        """Note an answer, at its beginning."""
        key = method if method in METHODS else "other", status
        self.answers[key] = self.answers.get(key, 0) + 1
        self.answer_ms.add(took_ms)


class Telemetry:
    """Renders. One for a process, since it remembers how far it has read the journal."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._lock = Lock()
        self._own = CollectorRegistry()
        ProcessCollector(namespace=f"{NAME}_web", registry=self._own)

    def render(self, view: View | None, journal: Path | None, visits: Visits | None = None) -> bytes:
        """The text format. `view` is None while no trader answers; blocks for as long as the journal is read."""
        registry = CollectorRegistry()
        with self._lock:
            registry.register(_Given([*self._metrics(view, journal), *([] if visits is None else _of_visits(visits))]))
        return generate_latest(registry) + generate_latest(self._own)

    def _metrics(self, view: View | None, journal: Path | None) -> Iterator[Metric]:
        yield _gauge("up", "Whether the trader answers", [({}, 1 if view is not None else 0)])
        if view is not None:
            yield from _of_view(view)
        if view is not None and view.traffic is not None:
            yield from _of_traffic(view.traffic)
        with suppress(StoreError):  # then the totals are missing, and an alert rule says so
            self._totals.read(journal)
            if journal is not None:
                yield from self._of_journal()
        if journal is not None:
            yield from _of_alerts(recent_alerts(alerts_path(journal)))

    def _of_journal(self) -> Iterator[Metric]:
        totals = self._totals
        yield _counter("records", "Records of the journal: what came in and went out", _named("kind", totals.kinds))
        for kind, name, text in (
            ("RecordDecision", "decisions", "Signals and what became of them"),
            ("RecordAlarm", "alarms", "Alarms of the engine by their code"),
            ("RecordTrip", "trips", "Trips of the breaker by their rule"),
        ):
            label = {"decisions": "outcome", "alarms": "code", "trips": "rule"}[name]
            yield _counter(name, text, _named(label, totals.by.get(kind, {})))


class _Given:
    """A collector of metrics that are made already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _of_visits(visits: Visits) -> Iterator[Metric]:
    answers = sorted(visits.answers.copy().items())
    counted = [({"method": method, "status": str(status)}, count) for (method, status), count in answers]
    yield _counter("web_answers", "Answers of the web process by their status", counted)
    spread = visits.answer_ms.spread()
    yield _histogram("web_answer_seconds", "From a request to the beginning of its answer", [({}, spread)])
    yield _gauge("web_streams", "Streams that are open", [({}, visits.streams)])


# ---------------------------------------------------------------------------------------------------------------
# What the engine knows


def _of_view(view: View) -> Iterator[Metric]:
    breaker, now_ms = view.breaker, view.at_ms
    yield _gauge("equity", "What everything is worth, in quote", [({"quote": view.quote}, view.equity)])
    yield _gauge("balance", "Balances", [({"asset": asset}, amount) for asset, amount in view.balances])
    yield _gauge("price", "Newest prices", [({"symbol": each.symbol}, each.price) for each in view.prices])
    ages = [({"symbol": each.symbol}, _age_s(now_ms, each.at_ms)) for each in view.prices]
    yield _gauge("price_age_seconds", "How old the newest prices are", ages)
    yield from _of_positions(view)
    states = Counter((order.purpose, order.state) for order in view.orders)
    counted = [({"purpose": purpose, "state": state}, count) for (purpose, state), count in sorted(states.items())]
    yield _gauge("open_orders", "Orders that are not finished", counted)
    doubts = [now_ms - order.submitted_ms for order in view.orders if order.state == "IN_DOUBT"]
    yield _gauge("orders_in_doubt", "Orders of which nobody knows what became of them", [({}, len(doubts))])
    yield _counter("round_trips", "Positions that were opened and closed", [({}, view.round_trip_count)])
    yield _gauge("entries_off", "Whether something keeps new positions away", [({}, int(view.entries_off is not None))])
    yield _gauge(
        "breaker_off", "Whether breaker, pause or cool-down keep them away", [({}, int(breaker.off is not None))]
    )
    trips = sum(turn.in_force for turn in breaker.history)
    yield _gauge("breaker_trips_in_force", "Trips that nobody has reset", [({}, trips)])
    losses = [({"rule": limit.rule}, limit.loss_pct) for limit in breaker.limits]
    yield _gauge("breaker_loss_percent", "Loss by each rule of the breaker", losses)
    limits = [({"rule": limit.rule}, limit.limit_pct) for limit in breaker.limits]
    yield _gauge("breaker_limit_percent", "Loss at which it trips", limits)
    yield _gauge("books_differences", "Differences between ledger and account", [({}, len(view.differences))])
    yield _gauge("foreign_findings", "What is on the account and not ours", [({}, len(view.foreign))])
    links = [({"link": link}, int(link in view.links)) for link in ("account", "market")]
    yield _gauge("link_ready", "Links that trading needs", links)
    budget = [({"kind": each.kind, "window": f"{each.interval_ms // 1_000}s"}, each) for each in view.venue_limits]
    yield _gauge("venue_limit", "What the venue allows in a window", [(labels, each.limit) for labels, each in budget])
    yield _gauge("venue_used", "What is used of it", [(labels, each.used) for labels, each in budget])
    yield _gauge("venue_banned", "Whether the venue has banned us", [({}, int(view.banned_until_ms is not None))])
    series = [({"symbol": each.symbol, "interval": each.interval}, each) for each in view.series]
    yield _gauge("series_candles", "Closed candles that are held", [(labels, each.candles) for labels, each in series])
    aged = [(labels, None if each.age_ms is None else each.age_ms / 1_000) for labels, each in series]
    yield _gauge("series_age_seconds", "How long ago the newest of them closed", aged)
    found = [
        ({**labels, "found": found}, count)
        for labels, each in series
        for found, count in (("all", each.found), ("less", each.looked_up - each.found))
    ]
    yield _counter("series_lookups", "How often candles were wanted, and whether all were held", found)


def _of_positions(view: View) -> Iterator[Metric]:
    held = [({"symbol": each.symbol}, each) for each in view.positions]
    quantities = [(labels, each.quantity) for labels, each in held]
    yield _gauge("position", "Positions, below zero when short", quantities)
    profits = [(labels, each.profit) for labels, each in held]
    yield _gauge("position_profit", "Open profit, in quote", profits)
    exposed = [(labels, (each.unprotected_ms or 0) / 1_000) for labels, each in held]
    yield _counter(
        "unprotected_seconds",
        "How long positions had no resting stop, in all",
        [({}, view.unprotected_in_all_ms / 1_000)],
    )
    yield _gauge("position_unprotected_seconds", "How long a position has had no resting stop; 0 with one", exposed)


def _age_s(now_ms: int, at_ms: int | None) -> float | None:
    return None if at_ms is None else max(0, now_ms - at_ms) / 1_000


# ---------------------------------------------------------------------------------------------------------------
# What the trader's process counts


def _of_traffic(traffic: TrafficView) -> Iterator[Metric]:
    links = [({"link": each.kind}, each) for each in traffic.links]
    yield _gauge("connection_up", "Connections to the venue", [(labels, int(each.up)) for labels, each in links])
    again = [
        ({**labels, "planned": planned}, count)
        for labels, each in links
        for planned, count in (("yes", each.planned), ("no", each.reconnects - each.planned))
    ]
    yield _counter("reconnects", "Connections after the first", again)
    ages = [({"stream": stream}, age_ms / 1_000) for stream, age_ms in traffic.streams]
    yield _gauge("stream_age_seconds", "How long watched streams have been silent", ages)
    yield _gauge("inbox_waiting", "Arrivals that the engine has not seen", [({}, traffic.inbox_waiting)])
    yield _counter("inbox_merged", "Prices that a newer one replaced while they waited", [({}, traffic.inbox_merged)])
    waiting = [({"where": "queued"}, traffic.calls_queued), ({"where": "sent"}, traffic.calls_sent)]
    yield _gauge("calls_waiting", "Requests to the venue that wait to leave, or for an answer", waiting)
    yield _counter("calls_repeated", "Requests that were queued again", [({}, traffic.calls_repeated)])
    answers = [({"lane": each.lane, "outcome": each.outcome}, each.count) for each in traffic.answers]
    yield _counter("calls", "What became of requests", answers)
    spreads = [({"lane": lane}, spread) for lane, spread in traffic.answer_ms]
    yield _histogram("call_seconds", "From a request to its answer", spreads)
    yield _histogram("reaction_seconds", "From an arrival to the requests it caused", [({}, traffic.reaction_ms)])
    yield _histogram("journal_flush_seconds", "To put the journal on disk", [({}, traffic.flush_ms)])
    yield _counter("journal_flush_failures", "How often the disk refused", [({}, traffic.flush_failures)])
    yield _gauge("journal_pending", "Records that are not on disk", [({}, traffic.journal_pending)])
    yield _gauge("clock_offset_seconds", "How far the venue's clock is ahead", [({}, traffic.clock_offset_ms / 1_000)])
    yield _gauge("clock_skew_seconds", "How wrong our clock is at least", [({}, traffic.clock_skew_ms / 1_000)])


def _of_alerts(alerts: list[dict[str, Any]]) -> Iterator[Metric]:
    total = max((alert["number"] for alert in alerts), default=0)
    yield _counter("alerts", "Alerts that were told to people", [({}, total)])
    lost = sum(any(way["problem"] is not None for way in alert["deliveries"]) for alert in alerts)
    yield _gauge("alerts_undelivered", "Recent alerts that did not reach every address", [({}, lost)])


# ---------------------------------------------------------------------------------------------------------------
# How it is said


def _named(label: str, counts: dict[str, int]) -> list[tuple[Labels, int]]:
    return [({label: str(name)}, count) for name, count in sorted(counts.items(), key=lambda pair: str(pair[0]))]


def _gauge(name: str, text: str, samples: Iterable[tuple[Labels, Decimal | float | None]]) -> Metric:
    return _family(GaugeMetricFamily, name, text, samples)


def _counter(name: str, text: str, samples: Iterable[tuple[Labels, Decimal | float | None]]) -> Metric:
    return _family(CounterMetricFamily, name, text, samples)


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    text: str,
    samples: Iterable[tuple[Labels, Decimal | float | None]],
) -> Metric:
    known = [(labels, float(value)) for labels, value in samples if value is not None]
    names = list(known[0][0]) if known else []
    family = kind(f"{NAME}_{name}", text, labels=names)
    for labels, value in known:
        family.add_metric(list(labels.values()), value)
    return family


def _histogram(name: str, text: str, samples: list[tuple[Labels, Spread]]) -> Metric:
    names = list(samples[0][0]) if samples else []
    family = HistogramMetricFamily(f"{NAME}_{name}", text, labels=names)
    for labels, spread in samples:
        total, buckets = 0, []
        for bound, count in zip((*BOUNDS_MS, None), spread.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound is None else str(bound / 1_000), float(total)))
        family.add_metric(list(labels.values()), buckets, spread.sum_ms / 1_000)
    return family
