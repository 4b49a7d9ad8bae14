"""Read models of a journal: orders with their life lines, fills, round trips, decisions, equity, trips.

Rules. The journal is read only, and followed as it grows; it is folded by the same facts as a restart folds it, so a
row here is what the bot booked. Memory is bounded: rows are kept up to the numbers below, the newest, and each list
knows since when it is whole; an order that is open is always kept. What is larger than a row (a decision, a life line)
is read from the journal when it is asked for. A row is known by the number of the journal's record that made it, which
is also where the next page begins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from surefoot.api.topics import Clock
from surefoot.config import Settings
from surefoot.control import CANDLES_MAX
from surefoot.core.messages import (
    CandleClosed,
    ClockRead,
    OrderFilled,
    RecordAlarm,
    RecordDecision,
    RecordReset,
    RecordTrip,
    ReplaceOrder,
    RunStarted,
    SettingsChanged,
    SubmitList,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import Candle, Instrument, RoundTrip
from surefoot.core.orders import Order
from surefoot.research.export import Bookkeeping, EquityRow, FillRow, without_transfers
from surefoot.store.journal import Entry, JournalReader, StoreError
from surefoot.store.records import Edge, Message

if TYPE_CHECKING:
    from surefoot.research.figures import Metrics

ROWS_KEPT = 20_000
ORDERS_KEPT = 5_000
LIFE_LINE_MAX = 500
EQUITY_KEPT = 50_000
TRIPS_KEPT = 500
FOLD_AT_A_TIME = 50  # then others have their turn
LOOK_EVERY_S = 0.2
PAGE_MAX = 500

Row = TypeVar("Row")


class _Timed(Protocol):
    @property
    def at_ms(self) -> int: ...


Timed = TypeVar("Timed", bound=_Timed)


class Newest(deque[Timed]):
    """Rows up to a number, the newest. `from_ms` is since when none was dropped, None while all are there."""

    def __init__(self, most: int) -> None:
        super().__init__(maxlen=most)
        self.from_ms: int | None = None

    def take(self, row: Timed) -> None:
        if len(self) == self.maxlen:
            self.from_ms = max(self.from_ms or 0, self[0].at_ms + 1)
        self.append(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class FillItem(FillRow):
    """`seq` is the number of the journal's record."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTripItem(RoundTrip):
    """`seq` is the number of the journal's record that ended it."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionItem(RecordDecision):
    """`seq` is the number of the journal's record."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmItem(RecordAlarm):
    """`seq` is the number of the journal's record."""

    seq: int


@dataclass(frozen=True, slots=True)
class OrderItem:
    """An order of ours and what became of it. `seq` is the journal's record that submitted it, `changed_ms` when the
    last record about it was written, `open` whether something may still come of it."""

    seq: int
    client_order_id: str
    order_id: int | None
    list_id: str | None
    symbol: str
    side: str
    type: str
    purpose: str
    reason: str
    state: str
    open: bool
    resting: bool
    quantity: Decimal | None
    filled: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    submitted_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class JournalItem:
    """A record of the journal; `body` has the fields of its kind."""

    seq: int
    run: str
    at_ms: int
    edge: Edge
    kind: str
    body: Any


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """`after` says what changed it: opening, candle, fill, transfer, mark. `peak` is null where it was not recorded.

    `transferred` is what came without a trade since the first point that is kept (negative: went), and
    `without_transfers` what the first equity would have become by trading alone, null before there was any: profits and
    falls in per cent are those of this curve.
    """

    at_ms: int
    equity: Decimal
    peak: Decimal | None
    after: str
    transferred: Decimal
    without_transfers: Decimal | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a list: newest first, older than record `before`, up to `limit` and what the last record made with
    them. Times are those of the rows."""

    symbol: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    before: int | None = None
    limit: int = 50

    def takes(self, seq: int, at_ms: int, symbol: str) -> bool:
        return (
            (self.before is None or seq < self.before)
            and (self.symbol is None or symbol == self.symbol)
            and (self.since_ms is None or at_ms >= self.since_ms)
            and (self.until_ms is None or at_ms <= self.until_ms)
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of a list. `row` is None where it is read from the journal."""

    seq: int
    at_ms: int
    symbol: str
    row: Any = None
    word: str = ""


@dataclass(slots=True)
class _Life:
    order: Order
    seq: int
    changed_ms: int
    seqs: list[int] = field(default_factory=list)


class Records:
    """What the journal at `path` tells. `follow` keeps it up to date."""

    def __init__(self, path: Path, settings: Settings, hear: Callable[[Entry], None] | None = None) -> None:
        """`hear` is told every record that comes once the past is read. Raises StoreError."""
        self.path = path
        self.seq = 0
        self.caught_up = False
        self.run: str | None = None
        self.symbols: tuple[str, ...] = ()
        self.clock: Clock | None = None
        self.fills: Newest[_Line] = Newest(ROWS_KEPT)
        self.round_trips: Newest[_Line] = Newest(ROWS_KEPT)
        self.decisions: Newest[_Line] = Newest(ROWS_KEPT)
        self.alarms: Newest[_Line] = Newest(ROWS_KEPT)
        self.trips: Newest[RecordTrip | RecordReset] = Newest(TRIPS_KEPT)
        self.curve: Newest[EquityRow] = Newest(EQUITY_KEPT)  # without the last row, see `equity_rows`
        self.orders_from_ms: int | None = None  # since when no order was dropped
        self.changes: list[SettingsChanged] = []
        self.candles: dict[tuple[str, str], deque[Candle]] = {}
        self.last_decisions: dict[str, int] = {}
        self.told: dict[tuple[object, ...], bytes] = {}  # pages as JSON, until there is a new record
        self.told_curves: dict[tuple[object, ...], bytes] = {}  # the curve as JSON, until its last row is another
        self._last_equity: EquityRow | None = None
        self._lives: dict[str, _Life] = {}
        self._kept = Bookkeeping(settings)
        self._hear = hear
        self._reader = JournalReader(path)

    def close(self) -> None:
        self._reader.close()

    async def follow(self) -> None:
        """Read what there is, and then what comes. Raises StoreError when the journal cannot be read, or not folded."""
        while True:
            for count, entry in enumerate(self._reader.read(since_seq=self.seq), 1):
                try:
                    self.take(entry)
                except Exception as problem:
                    raise StoreError(f"record {entry.seq} of {self.path} cannot be folded: {problem!r}") from problem
                if count % FOLD_AT_A_TIME == 0:
                    await asyncio.sleep(0)
            self.caught_up = True
            await asyncio.sleep(LOOK_EVERY_S)

    def take(self, entry: Entry) -> None:
        """The next record."""
        self._kept.take(entry)
        self.seq = entry.seq
        self.told.clear()
        self._keep_booked(entry)
        self._keep(entry)
        self._follow_orders(entry)
        if self.caught_up and self._hear is not None:
            self._hear(entry)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The symbols' rules as the venue announced them."""
        return self._kept.facts.instruments

    @property
    def losses_in_row(self) -> int:
        """How many round trips in a row were losses."""
        count = 0
        for line in reversed(self.round_trips):
            if line.row.pnl >= 0:
                break
            count += 1
        return count

    @property
    def equity_rows(self) -> Iterator[EquityRow]:
        """Oldest first; the last one may still be replaced by a change of the same moment."""
        yield from self.curve
        yield from self._kept.books.equity_rows

    @property
    def figures_from_ms(self) -> int | None:
        """Since when fills, round trips and equity are all whole, which figures are of; None where all are there."""
        return max((rows.from_ms for rows in (self.fills, self.round_trips, self.curve) if rows.from_ms), default=None)

    def counted_trips(self) -> list[RoundTrip]:
        """The round trips that figures are of, by when they ended."""
        return [line.row for line in self.round_trips if line.at_ms >= (self.figures_from_ms or 0)]

    def counted_fees(self) -> Decimal | None:
        """What the fills cost that figures are of; None where the price of a fee's asset was not known."""
        since_ms = self.figures_from_ms or 0
        fees = [line.row.fee_in_quote for line in self.fills if line.at_ms >= since_ms]
        return None if None in fees else sum(fees, Decimal(0))

    def cost_of(self, symbol: str) -> tuple[int | None, Decimal | None]:
        """When the position of a symbol was opened, and what its fills have cost in quote since; None for what is not
        known, which is all where nothing is held."""
        position = self._kept.facts.portfolio.positions.get(symbol)
        if position is None:
            return None, None
        since = list(takewhile(lambda line: line.at_ms >= position.opened_ms, reversed(self.fills)))
        fees = [line.row.fee_in_quote for line in since if line.symbol == symbol]
        is_whole = len(since) < len(self.fills) or self.fills.from_ms is None
        return position.opened_ms, sum(fees, Decimal(0)) if is_whole and None not in fees else None

    # -- lists --------------------------------------------------------------------------------------------------

    def fill_page(self, wanted: Wanted) -> tuple[list[FillItem], int | None]:
        lines, following = _chosen(self.fills, wanted)
        return [_with_seq(FillItem, line) for line in lines], following

    def round_trip_page(self, wanted: Wanted) -> tuple[list[RoundTripItem], int | None]:
        lines, following = _chosen(self.round_trips, wanted)
        return [_with_seq(RoundTripItem, line) for line in lines], following

    def alarm_page(self, wanted: Wanted) -> tuple[list[AlarmItem], int | None]:
        lines, following = _chosen(self.alarms, wanted)
        return [_with_seq(AlarmItem, line) for line in lines], following

    def decision_page(self, wanted: Wanted, outcome: str | None) -> tuple[list[DecisionItem], int | None]:
        """`outcome` is `approved`, `refused` (by any rule), `none`, or the name of a rule. Raises StoreError."""
        lines = (line for line in reversed(self.decisions) if outcome is None or _is(outcome, line.word))
        chosen, following = _cut(lines, wanted)
        return self._decisions([line.seq for line in chosen]), following

    def signals(self) -> list[DecisionItem]:
        """The newest decision of each symbol, by symbol. Raises StoreError."""
        seqs = sorted(self.last_decisions.values())
        return sorted(self._decisions(seqs), key=lambda decision: decision.signal.symbol)

    def _decisions(self, seqs: Sequence[int]) -> list[DecisionItem]:
        entries = self._reader.chosen(seqs)
        return [_with_seq(DecisionItem, _Line(entry.seq, 0, "", entry.message)) for entry in reversed(entries)]

    def order_page(self, wanted: Wanted, *, is_open: bool | None) -> tuple[list[OrderItem], int | None]:
        lines = (
            _Line(life.seq, life.order.submitted_ms, life.order.symbol, life)
            for life in reversed(self._lives.values())
            if is_open is None or life.order.settled is not is_open
        )
        chosen, following = _cut(lines, wanted)
        return [_order_item(line.row) for line in chosen], following

    def order(self, client_order_id: str) -> tuple[OrderItem, list[JournalItem]] | None:
        """An order and every record about it, oldest first; None for an order that is not known. Raises StoreError."""
        life = self._lives.get(client_order_id)
        if life is None:
            return None
        return _order_item(life), list(map(journal_item, self._reader.chosen(life.seqs)))

    def equity(self, since_ms: int | None, until_ms: int | None, points_max: int) -> list[EquityPoint]:
        """The curve, oldest first. Where it has more points, the last of each of `points_max` equal spans of time."""
        points = [
            point
            for point in without_transfers(self.equity_rows)
            if (since_ms is None or point[0].at_ms >= since_ms) and (until_ms is None or point[0].at_ms <= until_ms)
        ]
        if len(points) > points_max:
            first_ms, span_ms = points[0][0].at_ms, points[-1][0].at_ms - points[0][0].at_ms + 1
            points = list({(point[0].at_ms - first_ms) * points_max // span_ms: point for point in points}.values())
        return [
            EquityPoint(row.at_ms, row.equity, row.peak, row.after, transferred, worth)
            for row, transferred, worth in points
        ]

    def metrics(self) -> Metrics:
        """All figures since `figures_from_ms`. Imported here: numpy is only needed by who asks for them."""
        from surefoot.research.metrics import measure

        since_ms = self.figures_from_ms or 0
        curve: list[tuple[int, float]] = []
        for row, _, worth in without_transfers(row for row in self.equity_rows if row.at_ms >= since_ms):
            # A clock may have been put back between two runs.
            if worth is not None and (not curve or row.at_ms > curve[-1][0]):
                curve.append((row.at_ms, float(worth)))
        trips, fees = self.counted_trips(), self.counted_fees()
        return measure(
            curve,
            trips,
            None if fees is None else float(fees),
            funding=float(sum((trip.funding for trip in trips), Decimal(0))),
            open_since_ms=[position.opened_ms for position in self._kept.facts.portfolio.positions.values()],
        )

    # -- what a record changes ----------------------------------------------------------------------------------

    def _keep_booked(self, entry: Entry) -> None:
        books, seq = self._kept.books, entry.seq
        if books.fills:
            for row in books.fills:
                self.fills.take(_Line(seq, row.at_ms, row.symbol, row))
            books.fills.clear()
        if books.all_round_trips:
            for trip in books.all_round_trips:
                self.round_trips.take(_Line(seq, trip.exit_ms, trip.symbol, trip))
            books.all_round_trips.clear()
        while len(books.equity_rows) > 1:
            self.curve.take(books.equity_rows.pop(0))
        last = books.equity_rows[-1] if books.equity_rows else None
        if last != self._last_equity:
            self._last_equity = last
            self.told_curves.clear()
        for rows in (books.ledger_rows, books.trades, books.moves):
            rows.clear()

    def _keep(self, entry: Entry) -> None:
        match entry.message:
            case RecordDecision(signal=signal) as decision:
                self.decisions.take(_Line(entry.seq, entry.at_ms, signal.symbol, word=decision.outcome))
                self.last_decisions[signal.symbol] = entry.seq
            case RecordAlarm() as alarm:
                self.alarms.take(_Line(entry.seq, entry.at_ms, "", alarm))
            case RecordTrip() | RecordReset() as turn:
                self.trips.take(turn)
            case CandleClosed(candle=candle):
                kept = self.candles.setdefault((candle.symbol, candle.interval), deque(maxlen=CANDLES_MAX))
                if not kept or candle.open_ms > kept[-1].open_ms:
                    kept.append(candle)
            case ClockRead() as read:
                self.clock = Clock(read.at_ms, read.offset_ms, read.error_ms)
            case SettingsChanged() as change:
                self.changes.append(change)
            case RunStarted() as started:
                self.run, self.symbols = started.run, started.symbols
            case _:
                pass

    def _follow_orders(self, entry: Entry) -> None:
        for client_order_id in order_ids(entry.message):
            life = self._lives.get(client_order_id)
            if life is None:
                order = self._kept.facts.orders.get(client_order_id)
                if order is None:  # somebody else's
                    continue
                life = self._lives[client_order_id] = _Life(order, entry.seq, entry.at_ms)
                self._drop_orders()
            life.changed_ms = entry.at_ms
            if len(life.seqs) < LIFE_LINE_MAX:
                life.seqs.append(entry.seq)

    def _drop_orders(self) -> None:
        """The oldest of which nothing may come any more; more than the bound are kept while those are open."""
        more = len(self._lives) - ORDERS_KEPT
        if more <= 0:
            return
        settled = (each.order for each in self._lives.values() if each.order.settled)
        for order in list(islice(settled, more)):
            del self._lives[order.id]
            self.orders_from_ms = max(self.orders_from_ms or 0, order.submitted_ms + 1)


def order_ids(message: Message) -> Iterable[str]:
    """The orders that a record is about."""
    match message:
        case SubmitOrder(order=order):
            return (order.client_order_id,)
        case SubmitList(orders=orders):
            return [order.client_order_id for order in orders]
        case ReplaceOrder(cancel_id=cancel_id, order=order):
            return (cancel_id, order.client_order_id)
        case OrderFilled(fill=fill) | VenueTraded(fill=fill):
            return (fill.client_order_id,)
        case _:
            client_order_id = getattr(message, "client_order_id", None)
            return () if client_order_id is None else (client_order_id,)


def journal_item(entry: Entry) -> JournalItem:
    return JournalItem(entry.seq, entry.run, entry.at_ms, entry.edge, type(entry.message).__name__, entry.message)


def journal_page(
    path: Path,
    kinds: Sequence[type[Any]] | None,
    symbol: str | None,
    limit: int,
    *,
    since_seq: int = 0,
    before_seq: int | None = None,
    newest_first: bool = False,
) -> list[JournalItem]:
    """Records after one and before another; for a thread, because a rare kind is looked for in the whole journal."""
    with JournalReader(path) as reader:
        entries = reader.read(
            kinds=kinds,
            since_seq=since_seq,
            symbol=symbol,
            limit=limit,
            before_seq=before_seq,
            newest_first=newest_first,
        )
        return list(map(journal_item, entries))


def _chosen(lines: Newest[_Line], wanted: Wanted) -> tuple[list[_Line], int | None]:
    return _cut(reversed(lines), wanted)


def _cut(newest_first: Iterable[_Line], wanted: Wanted) -> tuple[list[_Line], int | None]:
    """A page, and where the next one begins; None when there is none. What one record made shares a page."""
    fitting = (line for line in newest_first if wanted.takes(line.seq, line.at_ms, line.symbol))
    chosen = list(islice(fitting, wanted.limit))
    for line in fitting:
        if line.seq != chosen[-1].seq:
            return chosen, chosen[-1].seq
        chosen.append(line)
    return chosen, None


def _with_seq(kind: Callable[..., Row], line: _Line) -> Row:
    return kind(**{each.name: getattr(line.row, each.name) for each in fields(line.row)}, seq=line.seq)


def _is(wanted: str, outcome: str) -> bool:
    return outcome not in ("approved", "none") if wanted == "refused" else outcome == wanted


def _order_item(life: _Life) -> OrderItem:
    order, request = life.order, life.order.request
    return OrderItem(
        seq=life.seq,
        client_order_id=order.id,
        order_id=order.order_id,
        list_id=order.list_id,
        symbol=order.symbol,
        side=request.side,
        type=request.type,
        purpose=request.purpose,
        reason=request.reason,
        state=order.state,
        open=not order.settled,
        resting=order.resting,
        quantity=order.quantity,
        filled=order.filled,
        price=request.price,
        stop_price=request.stop_price,
        submitted_ms=order.submitted_ms,
        changed_ms=life.changed_ms,
    )
