"""The life of an order: one complete table, and the book of all orders of ours.

Rules of this file. An order changes only by looking its (state, report) up in `TABLE`; every pair is there. A fill is
recognised by the venue's trade id and counts once, whatever state the order is in. An order is *settled* when it is
finished and no fill that the venue reported is missing. Finished orders stay addressable for a while, because the
stream's fill regularly overtakes the response's acceptance. What the venue no longer knows by its name counts as
resting no more; it is over when a list of open orders, asked for after that, lacks it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum, auto

from surefoot.core.messages import (
    CancelRefused,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
)
from surefoot.core.model import ZERO, Fill, OrderLimit, OrderRequest, VenueOrder

FINISHED_ORDERS_KEPT = 1_000
STREAM_GRACE_MS = 500  # the stream usually tells a fill within this time after a response announced it
REREAD_FILLS_MS = 5_000
LAG_MS = 5_000  # so long after the venue told of an order, its not knowing it may only be a read that lags
ENTRY_SHARE_PCT = 85  # of the venue's limits of orders


class State(StrEnum):
    """Binance's and FIX's names where the meaning is the same; SUBMITTED, IN_DOUBT, CANCEL_SENT and LOST are ours."""

    SUBMITTED = "SUBMITTED"
    IN_DOUBT = "IN_DOUBT"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCEL_SENT = "CANCEL_SENT"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    LOST = "LOST"


FINISHED = frozenset({State.FILLED, State.CANCELED, State.EXPIRED, State.REJECTED, State.LOST})


class Report(Enum):
    """What can be heard about an order."""

    ACCEPTED = auto()
    FILLED_PART = auto()
    FILLED_ALL = auto()
    REJECTED = auto()
    CANCELED = auto()
    EXPIRED = auto()
    CANCEL_REFUSED = auto()
    OUTCOME_UNKNOWN = auto()
    NOT_FOUND = auto()


class Note(Enum):
    """What a row of the table means beyond the next state."""

    FINE = auto()
    LATE = auto()  # an old or repeated report: nothing changes
    ASK = auto()  # the venue has to be asked
    ALARM = auto()  # possible, but a person should hear of it
    ERROR = auto()  # cannot be if we and the venue count alike: entries stop, and it is said


S, R, N = State, Report, Note
LIVE = frozenset({S.NEW, S.PARTIALLY_FILLED, S.CANCEL_SENT})

TABLE: dict[tuple[State, Report], tuple[State, Note]] = (
    {
        (S.SUBMITTED, R.ACCEPTED): (S.NEW, N.FINE),
        (S.SUBMITTED, R.FILLED_PART): (S.PARTIALLY_FILLED, N.FINE),
        (S.SUBMITTED, R.FILLED_ALL): (S.FILLED, N.FINE),
        (S.SUBMITTED, R.REJECTED): (S.REJECTED, N.FINE),
        (S.SUBMITTED, R.CANCELED): (S.CANCELED, N.FINE),
        (S.SUBMITTED, R.EXPIRED): (S.EXPIRED, N.FINE),
        (S.SUBMITTED, R.CANCEL_REFUSED): (S.SUBMITTED, N.ERROR),
        (S.SUBMITTED, R.OUTCOME_UNKNOWN): (S.IN_DOUBT, N.ASK),
        (S.SUBMITTED, R.NOT_FOUND): (S.SUBMITTED, N.ERROR),
        (S.IN_DOUBT, R.ACCEPTED): (S.NEW, N.FINE),
        (S.IN_DOUBT, R.FILLED_PART): (S.PARTIALLY_FILLED, N.FINE),
        (S.IN_DOUBT, R.FILLED_ALL): (S.FILLED, N.FINE),
        (S.IN_DOUBT, R.REJECTED): (S.REJECTED, N.FINE),
        (S.IN_DOUBT, R.CANCELED): (S.CANCELED, N.FINE),
        (S.IN_DOUBT, R.EXPIRED): (S.EXPIRED, N.FINE),
        (S.IN_DOUBT, R.CANCEL_REFUSED): (S.IN_DOUBT, N.LATE),
        (S.IN_DOUBT, R.OUTCOME_UNKNOWN): (S.IN_DOUBT, N.ASK),
        (S.IN_DOUBT, R.NOT_FOUND): (S.LOST, N.FINE),  # only past the bound, see `apply`
        (S.NEW, R.ACCEPTED): (S.NEW, N.LATE),
        (S.NEW, R.FILLED_PART): (S.PARTIALLY_FILLED, N.FINE),
        (S.NEW, R.FILLED_ALL): (S.FILLED, N.FINE),
        (S.NEW, R.REJECTED): (S.NEW, N.ERROR),
        (S.NEW, R.CANCELED): (S.CANCELED, N.FINE),
        (S.NEW, R.EXPIRED): (S.EXPIRED, N.FINE),
        (S.NEW, R.CANCEL_REFUSED): (S.NEW, N.LATE),
        (S.NEW, R.OUTCOME_UNKNOWN): (S.NEW, N.LATE),
        (S.NEW, R.NOT_FOUND): (S.NEW, N.ALARM),
        (S.PARTIALLY_FILLED, R.ACCEPTED): (S.PARTIALLY_FILLED, N.LATE),
        (S.PARTIALLY_FILLED, R.FILLED_PART): (S.PARTIALLY_FILLED, N.FINE),
        (S.PARTIALLY_FILLED, R.FILLED_ALL): (S.FILLED, N.FINE),
        (S.PARTIALLY_FILLED, R.REJECTED): (S.PARTIALLY_FILLED, N.ERROR),
        (S.PARTIALLY_FILLED, R.CANCELED): (S.CANCELED, N.FINE),
        (S.PARTIALLY_FILLED, R.EXPIRED): (S.EXPIRED, N.FINE),
        (S.PARTIALLY_FILLED, R.CANCEL_REFUSED): (S.PARTIALLY_FILLED, N.LATE),
        (S.PARTIALLY_FILLED, R.OUTCOME_UNKNOWN): (S.PARTIALLY_FILLED, N.LATE),
        (S.PARTIALLY_FILLED, R.NOT_FOUND): (S.PARTIALLY_FILLED, N.ALARM),
        (S.CANCEL_SENT, R.ACCEPTED): (S.CANCEL_SENT, N.LATE),  # back when asked after the cancel, see `apply`
        (S.CANCEL_SENT, R.FILLED_PART): (S.CANCEL_SENT, N.FINE),
        (S.CANCEL_SENT, R.FILLED_ALL): (S.FILLED, N.FINE),
        (S.CANCEL_SENT, R.REJECTED): (S.CANCEL_SENT, N.ERROR),
        (S.CANCEL_SENT, R.CANCELED): (S.CANCELED, N.FINE),
        (S.CANCEL_SENT, R.EXPIRED): (S.EXPIRED, N.FINE),
        (S.CANCEL_SENT, R.CANCEL_REFUSED): (S.NEW, N.ASK),  # back to where it was, see `apply`
        (S.CANCEL_SENT, R.OUTCOME_UNKNOWN): (S.CANCEL_SENT, N.ASK),
        (S.CANCEL_SENT, R.NOT_FOUND): (S.NEW, N.ALARM),  # nothing is there to be cancelled
        (S.FILLED, R.ACCEPTED): (S.FILLED, N.LATE),
        (S.FILLED, R.FILLED_PART): (S.FILLED, N.ALARM),  # a trade we did not know: overfill
        (S.FILLED, R.FILLED_ALL): (S.FILLED, N.ALARM),
        (S.FILLED, R.REJECTED): (S.FILLED, N.ERROR),
        (S.FILLED, R.CANCELED): (S.FILLED, N.LATE),
        (S.FILLED, R.EXPIRED): (S.FILLED, N.LATE),
        (S.FILLED, R.CANCEL_REFUSED): (S.FILLED, N.LATE),
        (S.FILLED, R.OUTCOME_UNKNOWN): (S.FILLED, N.LATE),
        (S.FILLED, R.NOT_FOUND): (S.FILLED, N.ALARM),
    }
    | {
        (gone, report): (gone, note)
        for gone in (S.CANCELED, S.EXPIRED)
        for report, note in {
            R.ACCEPTED: N.LATE,
            R.FILLED_PART: N.ALARM,  # the fill is kept; silent when the venue had announced it, see `apply`
            R.FILLED_ALL: N.ALARM,
            R.REJECTED: N.LATE,
            R.CANCELED: N.LATE,
            R.EXPIRED: N.LATE,
            R.CANCEL_REFUSED: N.LATE,
            R.OUTCOME_UNKNOWN: N.LATE,
            R.NOT_FOUND: N.LATE,
        }.items()
    }
    | {
        (never, report): (state or never, note)
        for never in (S.REJECTED, S.LOST)
        for report, (state, note) in {
            R.ACCEPTED: (S.NEW, N.ALARM),  # it lives after all: reopen
            R.FILLED_PART: (S.PARTIALLY_FILLED, N.ALARM),
            R.FILLED_ALL: (S.FILLED, N.ALARM),
            R.REJECTED: (None, N.LATE),
            R.CANCELED: (None, N.LATE),
            R.EXPIRED: (None, N.LATE),
            R.CANCEL_REFUSED: (None, N.LATE),
            R.OUTCOME_UNKNOWN: (None, N.LATE),
            R.NOT_FOUND: (None, N.LATE),
        }.items()
    }
)


@dataclass(slots=True)
class Order:
    """An order of ours and all we have heard about it. Quantities are base, `submitted_ms` is when it was decided,
    `sent_ms` when it left, if that turned out to be later."""

    request: OrderRequest
    submitted_ms: int
    list_id: str | None
    sent_ms: int | None = None
    state: State = State.SUBMITTED
    order_id: int | None = None
    quantity: Decimal | None = None
    filled: Decimal = ZERO
    reported: Decimal = ZERO  # the most that the venue said has filled
    resting: bool = False  # live at the venue, not waiting for its entry
    renamed: str = ""  # how the venue calls it now, if otherwise
    missing_ms: int | None = None  # since when the venue says that it knows no such order
    first_fill_ms: int | None = None
    finished_ms: int | None = None
    reason: str = ""
    asked_ms: int | None = None  # when we last asked the venue about it
    heard_ms: int | None = None  # when the venue last told of it
    asks: int = 0
    cancelled_ms: int | None = None  # when this process last sent a cancel for it
    cancel_again_ms: int | None = None  # from when on the cancel may go that the venue has not judged
    read_fills_ms: int | None = None  # when to read the fills that are owed
    owed_since_ms: int | None = None  # since when there are some
    trades: set[int] = field(default_factory=set)

    @property
    def id(self) -> str:
        return self.request.client_order_id

    @property
    def name(self) -> str:
        """What to call it before the venue."""
        return self.renamed or self.id

    @property
    def symbol(self) -> str:
        return self.request.symbol

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def owed(self) -> Decimal:
        """What the venue reported as filled and we have not seen as fills."""
        return max(self.reported - self.filled, ZERO)

    @property
    def settled(self) -> bool:
        """Finished, and every reported fill is booked: nothing can come of it any more."""
        return self.state in FINISHED and self.reported <= self.filled

    @property
    def unanswered(self) -> bool:
        """The venue has to say what became of it."""
        return self.state in (State.SUBMITTED, State.IN_DOUBT, State.CANCEL_SENT)


@dataclass(slots=True)
class OrderCount:
    """Orders that we sent, in the venue's windows. Entries leave the last part of each limit to exits."""

    limits: tuple[OrderLimit, ...] = ()
    _counts: dict[int, tuple[int, int]] = field(default_factory=dict)  # by length: number of the window, orders in it

    def add(self, at_ms: int) -> None:
        for limit in self.limits:
            window, count = self._counts.get(limit.interval_ms, (0, 0))
            now = at_ms // limit.interval_ms
            self._counts[limit.interval_ms] = now, count + 1 if now == window else 1

    def refusal(self, orders: int, now_ms: int) -> str | None:
        """Why that many more orders of an entry would be too many; None when they are not."""
        for limit in self.limits:
            window, count = self._counts.get(limit.interval_ms, (0, 0))
            used = count if now_ms // limit.interval_ms == window else 0
            most = limit.orders * ENTRY_SHARE_PCT // 100
            if used + orders > most:
                return f"{used} of {most} orders for entries were sent in this window of {limit.interval_ms} ms"
        return None


@dataclass(frozen=True, slots=True)
class Applied:
    """What a report did: the order, whether a new fill is in it, and what its row of the table notes."""

    order: Order
    note: Note
    fill: Fill | None = None
    text: str = ""


@dataclass(slots=True)
class OrderBook:
    """All orders of ours by client order id. `lost_after_ms` is how long after its submission an order may still be
    admitted by the venue: receive window, server limit and a margin."""

    lost_after_ms: int
    _orders: dict[str, Order] = field(default_factory=dict)
    _open: dict[str, dict[str, Order]] = field(default_factory=dict)  # by symbol: what is not settled
    _settled: list[str] = field(default_factory=list)
    _renamed: dict[str, str] = field(default_factory=dict)  # our id by the name that the venue gave

    def submit(self, request: OrderRequest, at_ms: int, list_id: str | None = None) -> Order:
        """Enter an order that is about to be sent. Raises ValueError when its id was used before."""
        if request.client_order_id in self._orders:
            raise ValueError(f"client order id {request.client_order_id} was used before")
        order = Order(request, at_ms, list_id, quantity=request.quantity)
        self._orders[order.id] = order
        self._open.setdefault(order.symbol, {})[order.id] = order
        return order

    def cancel_sent(self, client_order_id: str, at_ms: int) -> None:
        """A cancel for it is about to be sent; for an order in doubt the doubt is the stronger state."""
        order = self._known(client_order_id)
        order.cancelled_ms = order.asked_ms = at_ms
        order.cancel_again_ms = None
        if order.state in (State.NEW, State.PARTIALLY_FILLED):
            order.state = State.CANCEL_SENT
            order.asks = 0

    def asked(self, client_order_id: str, at_ms: int) -> Order:
        """The venue is being asked about it."""
        order = self._known(client_order_id)
        order.asked_ms = at_ms
        order.asks += 1
        return order

    def fills_asked(self, client_order_id: str, at_ms: int) -> None:
        self._known(client_order_id).read_fills_ms = at_ms + REREAD_FILLS_MS

    def doubt_unanswered(self, at_ms: int) -> None:
        """A new process life: what was sent and not answered may or may not have arrived."""
        for order in self.open_orders():
            order.asked_ms, order.asks, order.cancelled_ms, order.cancel_again_ms = None, 0, None, None
            order.heard_ms = None
            order.submitted_ms = min(order.submitted_ms, at_ms)  # the clock may have been set back
            order.sent_ms = None if order.sent_ms is None else min(order.sent_ms, at_ms)
            order.read_fills_ms = order.owed_since_ms = at_ms if order.owed else None
            if order.state is State.SUBMITTED:
                order.state = State.IN_DOUBT

    def get(self, name: str) -> Order | None:
        """The order by its client order id, or by the name that the venue gave it since."""
        return self._orders.get(self._renamed.get(name, name))

    def _known(self, name: str) -> Order:
        return self._orders[self._renamed.get(name, name)]

    def open_orders(self, symbol: str | None = None) -> Iterator[Order]:
        """What is not settled, oldest first."""
        if symbol is not None:
            yield from self._open.get(symbol, {}).values()
            return
        for orders in self._open.values():
            yield from orders.values()

    def busy(self, symbol: str) -> bool:
        return bool(self._open.get(symbol))

    def quiet(self) -> bool:
        """No order of ours is open, in doubt or missing fills."""
        return not any(self._open.values())

    def list_members(self, list_id: str) -> Iterator[Order]:
        for orders in self._open.values():
            yield from (order for order in orders.values() if order.list_id == list_id)

    def apply(self, event: OrderEvent) -> Applied | None:
        """Bring a report in. None when the order is not ours. Money moves only when `fill` is set."""
        client_order_id = event.fill.client_order_id if isinstance(event, OrderFilled) else event.client_order_id
        order = self.get(client_order_id)
        if order is None:
            return None
        fill = self._learn(order, event)
        if isinstance(event, OrderFilled) and fill is None:
            return Applied(order, Note.LATE, text="repeated fill")
        report = _report(order, event)
        if report is Report.NOT_FOUND and (self._may_still_arrive(order, event.at_ms) or _may_lag(order, event.at_ms)):
            return Applied(order, Note.ASK, text="not found yet")
        announced = fill is not None and order.reported >= order.filled
        state, note = TABLE[order.state, report]
        if order.state is State.CANCEL_SENT and _outlived_its_cancel(order, report):
            state = State.PARTIALLY_FILLED if order.filled else State.NEW
        if note is Note.ALARM and order.finished and announced:
            note = Note.FINE
        text = f"{order.id} {order.state} heard {report.name.lower()}"
        self._move(order, state, event)
        return Applied(order, note, fill, text)

    def see_listed(self, listed: Iterable[VenueOrder], asked_ms: int, at_ms: int) -> Iterator[tuple[Order, str]]:
        """Look for open orders of ours in the venue's list, which was asked for at `asked_ms`: what differs, in words.

        An order that bears another name there is known by its number; one that the venue did not know before, and does
        not list now, is over.
        """
        theirs = list(listed)
        names = {each.client_order_id: each for each in theirs}
        numbers = {(each.symbol, each.order_id, each.type): each for each in theirs}
        for order in list(self.open_orders()):
            at_venue = names.get(order.name)
            if at_venue is None and order.order_id is not None:
                at_venue = numbers.get((order.symbol, order.order_id, order.request.type))
            if at_venue is not None:
                if order.missing_ms is not None:
                    order.missing_ms, order.resting = None, at_venue.resting
                if self._amend(order, at_venue.client_order_id, at_venue.quantity):
                    yield order, f"the venue lists it as {at_venue.client_order_id}, for {at_venue.quantity:f}"
            elif order.missing_ms is not None and order.missing_ms <= asked_ms and not order.finished:
                state, order.state, order.finished_ms = order.state, State.LOST, at_ms
                if order.settled:
                    self._settle(order)
                yield order, f"it was {state}, and the venue neither knows nor lists it any more"

    def _amend(self, order: Order, name: str, quantity: Decimal) -> bool:
        """Whether the name or the quantity is another one than we knew."""
        renamed = name != order.name
        smaller = order.quantity is not None and 0 < quantity < order.quantity
        if renamed:
            order.renamed = name
            self._renamed[name] = order.id
        if smaller:
            order.quantity = quantity
        return renamed or smaller

    def _may_still_arrive(self, order: Order, now_ms: int) -> bool:
        left_ms = max(order.submitted_ms, order.sent_ms or 0)  # a write may have had to wait for the venue's limits
        return order.state is State.IN_DOUBT and now_ms < left_ms + self.lost_after_ms

    def _learn(self, order: Order, event: OrderEvent) -> Fill | None:
        """Take over what the report says besides the state; the fill, when it is a new one."""
        match event:
            case OrderFilled(fill=fill):
                order.order_id = event.order_id
                order.quantity = order.quantity or event.order_quantity
                return fill if self._count(order, fill) else None
            case OrderAccepted():
                order.order_id = event.order_id
                order.quantity = order.quantity or event.quantity
                order.resting = order.resting or event.resting
                order.missing_ms = None
                self._hear(order, event.executed, event.at_ms)
            case OrderCanceled() | OrderExpired():
                self._hear(order, event.executed, event.at_ms)
            case OutcomeUnknown(sent_ms=sent_ms):
                order.sent_ms = sent_ms if order.sent_ms is None else order.sent_ms
            case CancelRefused(again_ms=again_ms):
                order.cancel_again_ms = again_ms
            case OrderNotFound():
                if order.state in LIVE and not _may_lag(order, event.at_ms):
                    order.resting = False
                    order.missing_ms = event.at_ms if order.missing_ms is None else order.missing_ms
            case OrderAmended():
                self._amend(order, event.name, event.quantity)
            case OrderRejected():
                pass
        return None

    def _count(self, order: Order, fill: Fill) -> bool:
        if fill.trade_id in order.trades:
            return False
        order.trades.add(fill.trade_id)
        order.filled += fill.quantity
        order.resting, order.missing_ms = True, None
        order.first_fill_ms = order.first_fill_ms if order.first_fill_ms is not None else fill.at_ms
        if not order.owed:
            order.read_fills_ms = order.owed_since_ms = None
        return True

    def _hear(self, order: Order, executed: Decimal | None, at_ms: int) -> None:
        if executed is None or executed <= order.reported:
            return
        order.reported = executed
        if order.owed and order.read_fills_ms is None:
            order.read_fills_ms = at_ms + STREAM_GRACE_MS
            order.owed_since_ms = at_ms

    def _move(self, order: Order, state: State, event: OrderEvent) -> None:
        if state is not order.state:
            order.state = state
            order.asks = 0
            order.asked_ms = event.at_ms if state is State.IN_DOUBT else order.asked_ms
        if isinstance(event, OrderExpired | OrderRejected):
            order.reason = event.reason if isinstance(event, OrderExpired) else event.text
        if order.finished and order.finished_ms is None:
            order.finished_ms = event.at_ms
        if order.settled:
            self._settle(order)
        elif order.id not in self._open.get(order.symbol, {}):
            self._reopen(order)

    def _settle(self, order: Order) -> None:
        if self._open.get(order.symbol, {}).pop(order.id, None) is None:
            return
        self._settled.append(order.id)
        if len(self._settled) > FINISHED_ORDERS_KEPT:
            forgotten = self._orders.pop(self._settled.pop(0), None)
            if forgotten is not None and forgotten.renamed:
                self._renamed = {name: its for name, its in self._renamed.items() if its != forgotten.id}

    def _reopen(self, order: Order) -> None:
        order.finished_ms = order.finished_ms if order.finished else None
        if order.id in self._settled:
            self._settled.remove(order.id)
        self._open.setdefault(order.symbol, {})[order.id] = order


def _may_lag(order: Order, now_ms: int) -> bool:
    """Whether "no such order" proves nothing yet of an order that the venue took."""
    return (
        order.state in LIVE
        and order.missing_ms is None
        and order.heard_ms is not None
        and now_ms - order.heard_ms < LAG_MS
    )


def _outlived_its_cancel(order: Order, report: Report) -> bool:
    """Whether the cancel did nothing: the venue refuses it, does not know the order, or works it still when asked after
    the cancel was sent."""
    return report in (Report.CANCEL_REFUSED, Report.NOT_FOUND) or (report is Report.ACCEPTED and order.asks > 0)


def _report(order: Order, event: OrderEvent) -> Report:
    """Which column of the table the event is, its own fill already counted."""
    whole = order.quantity is not None and order.filled >= order.quantity
    match event:
        case OrderAccepted() | OrderAmended():
            # The quantity of a leg that the venue sized may be heard only after its fills.
            return Report.FILLED_ALL if whole and not order.finished else Report.ACCEPTED
        case OrderFilled():
            return Report.FILLED_ALL if whole else Report.FILLED_PART
        case OrderRejected():
            return Report.REJECTED
        case OrderCanceled():
            return Report.CANCELED
        case OrderExpired():
            return Report.EXPIRED
        case CancelRefused():
            return Report.CANCEL_REFUSED
        case OutcomeUnknown():
            return Report.OUTCOME_UNKNOWN
        case OrderNotFound():
            return Report.NOT_FOUND
