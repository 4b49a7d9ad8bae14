"""The only place where the parts meet: events in, commands out, no clock, no I/O.

How it stays the same after a restart: what is known changes only in `facts.py`, by events and by commands of ours, and
a restart takes every line of the journal in there. Deciding happens here, in `_react` and `_duties`, which a restart
does not call: so the journal holds everything that a decision rests on, and nothing is ever decided twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol, assert_never

from surefoot.core.exits import Plan, plan_long, stop_order, target_order
from surefoot.core.facts import ASK_FIRST_MS, CANCEL_ANSWER_MS, Books, EngineSettings, Facts
from surefoot.core.messages import (
    AccountSnapshot,
    BalanceMoved,
    CancelOrder,
    CancelRefused,
    CandleClosed,
    Command,
    Event,
    HistoryLoaded,
    InstrumentsLoaded,
    LinkLost,
    LinkRestored,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PriceDropped,
    PriceMarked,
    QueryOrder,
    ReadAccount,
    ReadFills,
    RecordAlarm,
    RecordBooks,
    RecordDecision,
    RecordTrip,
    Request,
    RunStarted,
    SubmitList,
    SubmitOrder,
    WatchPrice,
    Woke,
)
from surefoot.core.model import (
    ZERO,
    Candle,
    Instrument,
    ListType,
    OrderRequest,
    OrderType,
    Purpose,
    Side,
    Signal,
)
from surefoot.core.orders import Order, State
from surefoot.core.reconcile import OUR_PREFIX, Finding, Label, compare
from surefoot.core.risk import Approved, Circumstances, review

LEG_ASK_MS = 3_000  # how long a stop may be silent after its entry filled before we ask for it
ASK_CAP_MS = 8_000
FEE_ROUNDING = Decimal("0.00000001")  # the venue may round a fee up by this much


class SignalSource(Protocol):
    """Where signals come from: closed candles in, one opinion out."""

    def warm(self, candles: Sequence[Candle]) -> None: ...

    def on_candle(self, candle: Candle) -> Signal: ...


class Engine(Facts):
    """Decides; owns orders, portfolio, breaker and protection. See the module's rules."""

    def __init__(self, settings: EngineSettings, signals: SignalSource) -> None:
        super().__init__(settings)
        self.foreign: tuple[str, ...] = ()
        self._signals = signals
        self._suspicion: frozenset[str] = frozenset()  # what differed in the last reading
        self._out: list[Command] = []
        self._deadline: tuple[int | None] | None = None  # known until something other than a price comes

    # -- the machine ------------------------------------------------------------------------------------------

    def step(self, event: Event) -> list[Command]:
        """Take one event in; the commands that follow, in order."""
        self._out = []
        for alarm in self._apply(event):
            self._do(alarm)
        self._react(event)
        if not self._only_looked(event) or _due(self.deadline_ms(), event.at_ms):
            self._deadline = None
            self._duties(event.at_ms)
        return self._out

    def _only_looked(self, event: Event) -> bool:
        """Whether the event was market data that moved nothing of ours: then no duty is nearer than it was."""
        return isinstance(event, PriceMarked | CandleClosed) and not any(isinstance(c, Request) for c in self._out)

    def deadline_ms(self) -> int | None:
        """When to be woken although nothing came; None when nothing is pending."""
        if self._deadline is None:
            self._deadline = (min(self._deadlines(), default=None),)
        return self._deadline[0]

    def _react(self, event: Event) -> None:
        match event:
            case CandleClosed():
                self._on_candle(event)
            case HistoryLoaded():
                self._signals.warm(event.candles)
            case PriceMarked():
                self._judge_equity(event.at_ms)
            case AccountSnapshot():
                self._on_account(event)
            case PriceDropped():
                self._alarm(event.at_ms, "price-dropped", event.text)
            case LinkLost():
                self._alarm(event.at_ms, "link-lost", f"{event.link}: {event.text}")
            case (
                RunStarted()
                | InstrumentsLoaded()
                | OrderAccepted()
                | OrderFilled()
                | OrderRejected()
                | OrderCanceled()
                | OrderExpired()
                | CancelRefused()
                | OutcomeUnknown()
                | OrderNotFound()
                | BalanceMoved()
                | LinkRestored()
                | Woke()
            ):
                pass  # facts: what follows from them is a standing duty
            case _:
                assert_never(event)

    # -- commands ---------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        self._note(command)
        self._out.append(command)

    def _alarm(self, at_ms: int, code: str, text: str) -> None:
        self._do(RecordAlarm(at_ms, code, text))

    # -- deciding on a candle ---------------------------------------------------------------------------------

    def _on_candle(self, event: CandleClosed) -> None:
        signal = self._signals.on_candle(event.candle)
        self._judge_equity(event.at_ms)
        if signal.target is None:
            self._do(RecordDecision(event.at_ms, signal, "none", signal.rule))
        elif not signal.target > 0:  # so that a target that is no number buys nothing
            detail = "spot is long only; a position leaves by its stop or its target"
            self._do(RecordDecision(event.at_ms, signal, "long-only", detail))
        else:
            self._consider_entry(event, signal)

    def _consider_entry(self, event: CandleClosed, signal: Signal) -> None:
        verdict = review(signal, self._circumstances(signal.symbol, event), self.settings.risk, self.settings.exits)
        match verdict:
            case Approved():
                self._do(RecordDecision(event.at_ms, signal, "approved", verdict.detail))
                self._enter(verdict, event.at_ms)
            case _:
                self._do(RecordDecision(event.at_ms, signal, verdict.rule, verdict.detail))

    def _circumstances(self, symbol: str, event: CandleClosed) -> Circumstances:
        return Circumstances(
            now_ms=event.at_ms,
            entries_off=self.entries_off(),
            breaker_off=self.breaker_off(event.at_ms),
            instrument=self.instruments.get(symbol),
            fees=self.fees.get(symbol),
            price=event.candle.close,
            equity=self.portfolio.equity(self.settings.quote, self._by_asset(self.closes)),
            free_quote=self.portfolio.wallet(self.settings.quote) - self._reserved_quote(),
            busy=self._busy_text(symbol),
        )

    def _busy_text(self, symbol: str) -> str | None:
        position = self.portfolio.positions.get(symbol)
        if position is not None:
            return f"already holding {position.quantity:f}"
        for order in self.orders.open_orders(symbol):
            return f"order {order.id} is {order.state}"
        return None

    def _reserved_quote(self) -> Decimal:
        """Quote that our open entries may still spend."""
        return sum(
            (
                (order.quantity - order.filled) * order.request.price
                for order in self.orders.open_orders()
                if order.request.purpose is Purpose.ENTRY
                and not order.finished
                and order.quantity is not None
                and order.request.price is not None
            ),
            ZERO,
        )

    def _judge_equity(self, now_ms: int) -> None:
        equity = self.equity()
        record = self.breaker.judge(equity, now_ms) if equity is not None else None
        if record is not None:
            self._do(record)
        if isinstance(record, RecordTrip):
            text = f"day's loss {record.loss_pct:.2f} % reached {record.limit_pct} %: no entries until 00:00 UTC"
            self._alarm(now_ms, "breaker", text)

    # -- orders -----------------------------------------------------------------------------------------------

    def _next_id(self, offset: int, role: str) -> str:
        return f"{OUR_PREFIX}{self.run}-{self._counter + offset}{role}"

    def _enter(self, approved: Approved, at_ms: int) -> None:
        """Entry and protection in one request where the symbol allows it; else protection follows the fill."""
        instrument = self.instruments[approved.symbol]
        entry = OrderRequest(
            client_order_id=self._next_id(1, "e"),
            symbol=approved.symbol,
            side=Side.BUY,
            type=OrderType.LIMIT,
            purpose=Purpose.ENTRY,
            quantity=approved.quantity,
            price=approved.limit_price,
        )
        lists = instrument.oco_allowed and instrument.oto_allowed
        if not lists:
            self._do(SubmitOrder(at_ms, entry))
            return
        received = approved.quantity * (1 - self.fees[approved.symbol].taker) - FEE_ROUNDING
        along = instrument.lots_down(received + max(self.portfolio.dust.get(approved.symbol, ZERO), ZERO))
        # OPOCO sells what the entry brought and no more; dust that makes a lot with it goes along in an OTOCO.
        opo = instrument.opo_allowed and along == instrument.lots_down(received)
        legs = self._legs(instrument, approved.plan, None if opo else along, 2)
        kind = ListType.OPOCO if opo else ListType.OTOCO
        self._do(SubmitList(at_ms, kind, self._next_id(1, "l"), (entry, *legs)))

    def _legs(
        self, instrument: Instrument, plan: Plan, quantity: Decimal | None, offset: int
    ) -> tuple[OrderRequest, OrderRequest]:
        return (
            target_order(self._next_id(offset, "t"), instrument, plan, quantity),
            stop_order(self._next_id(offset + 1, "s"), instrument, plan, quantity),
        )

    # -- standing duties: what is due whatever came ------------------------------------------------------------

    def _duties(self, now_ms: int) -> None:
        if "account" in self.links:
            for symbol in list(self.portfolio.positions):  # first: what is overdue decides over its orders
                self._tend_position(symbol, now_ms)
            for order in list(self.orders.open_orders()):
                self._tend_order(order, now_ms)
            self._tend_books(now_ms)
        self._tend_watches(now_ms)

    def _tend_order(self, order: Order, now_ms: int) -> None:
        if _due(self._ask_ms(order), now_ms):
            self._do(QueryOrder(now_ms, order.symbol, order.id))
        if order.order_id is not None and _due(order.read_fills_ms, now_ms):  # else it is asked for, see `_ask_ms`
            self._do(ReadFills(now_ms, order.symbol, order.id, order.order_id))
        if _due(self._cancel_ms(order), now_ms):
            self._do(CancelOrder(now_ms, order.symbol, order.id))

    def _ask_ms(self, order: Order) -> int | None:
        """When the venue is to be asked what became of the order."""
        if order.state is State.IN_DOUBT:
            if order.asked_ms is None:
                return 0
            return order.asked_ms + min(ASK_FIRST_MS << min(order.asks, 8), ASK_CAP_MS)
        if order.state is State.CANCEL_SENT and order.asked_ms is not None:
            return order.asked_ms + CANCEL_ANSWER_MS
        if self._is_silent_stop(order):
            return max(self.unprotected_since[order.symbol] + LEG_ASK_MS, (order.asked_ms or 0) + CANCEL_ANSWER_MS)
        if order.read_fills_ms is not None and order.order_id is None:  # fills are read by the venue's id: learn it
            return max(order.read_fills_ms, (order.asked_ms or 0) + CANCEL_ANSWER_MS)
        return self._to_ask.get(order.id)

    def _is_silent_stop(self, order: Order) -> bool:
        """Whether its position is held and the venue has not said that this stop rests."""
        waits = order.state is State.NEW and not order.resting and order.request.purpose is Purpose.STOP
        return waits and order.symbol in self.unprotected_since

    def _cancel_ms(self, order: Order) -> int | None:
        """When an entry that does not get (wholly) filled is given up, or an order stands in the way of a sale."""
        if order.state not in (State.NEW, State.PARTIALLY_FILLED) or order.reported == order.quantity:
            return None  # what is said to be filled has nothing left to cancel
        if order.symbol in self._overdue and order.request.purpose is not Purpose.EXIT:
            due = 0  # its quantity is needed for the sale
        elif order.request.purpose is Purpose.ENTRY:
            due = order.submitted_ms + self.settings.entry_timeout_ms
            if order.first_fill_ms is not None:  # what was bought is not protected before the entry ends
                due = min(due, order.first_fill_ms + self.settings.partial_fill_wait_ms)
        else:
            return None
        if order.cancels and order.asked_ms is not None:
            due = max(due, order.asked_ms + CANCEL_ANSWER_MS)
        return due

    def _tend_position(self, symbol: str, now_ms: int) -> None:
        resting = any(order.resting and not order.finished for order in self._exits(symbol))
        if resting or not self._worth_selling(symbol):
            self.unprotected_since.pop(symbol, None)
            return
        since = self.unprotected_since.setdefault(symbol, now_ms)
        if now_ms >= since + self.settings.unprotected_max_ms and symbol not in self._overdue:
            self._overdue.add(symbol)
            self._alarm(now_ms, "unprotected", f"{symbol} had no resting stop for {now_ms - since} ms: selling it")
        if self._may_act(symbol) and now_ms >= self._retry_ms.get(symbol, 0):
            self._protect(symbol, now_ms)

    def _exits(self, symbol: str) -> Iterable[Order]:
        """Orders that end a position by themselves; a target alone protects nothing."""
        return (o for o in self.orders.open_orders(symbol) if o.request.purpose in (Purpose.STOP, Purpose.EXIT))

    def _may_act(self, symbol: str) -> bool:
        """A new exit is sent when nothing of the symbol is open. When overdue, doubt about the protection does not hold
        it up, where the venue itself would refuse to sell more than there is. Doubt about a sale always does: it might
        be done twice."""
        if symbol not in self._overdue or not self._holds_nothing_else(symbol):
            return not self.orders.busy(symbol)
        return all(
            order.finished or (order.state is State.IN_DOUBT and order.request.purpose is not Purpose.EXIT)
            for order in self.orders.open_orders(symbol)
        )

    def _holds_nothing_else(self, symbol: str) -> bool:
        """Whether the account is known to hold no base beyond our position, from which a second sale could be made."""
        instrument = self.instruments[symbol]
        sale = instrument.lots_down(self.portfolio.sellable(symbol))
        beyond = self.portfolio.wallet(instrument.base) - sale
        return self.books is Books.AGREE and beyond < instrument.lot_size

    def _protect(self, symbol: str, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        quantity = instrument.lots_down(self.portfolio.sellable(symbol))
        plan = self._plan(symbol, instrument)
        mark = self.marks.get(symbol)
        passed = mark is not None and not plan.stop_price < mark < plan.target_price
        hopeless = self._refusals.get(symbol, 0) >= 2  # both legs of one list refused
        if passed or hopeless or symbol in self._overdue or not instrument.oco_allowed:
            self._do(SubmitOrder(now_ms, self._sale(instrument, quantity)))
        else:
            legs = self._legs(instrument, plan, quantity, 1)
            self._do(SubmitList(now_ms, ListType.OCO, self._next_id(1, "l"), legs))

    def _plan(self, symbol: str, instrument: Instrument) -> Plan:
        plan = self.plans.get(symbol)
        if plan is not None:
            return plan
        # A fill that came after its round trip had ended: its plan went with that.
        entry_price = self.portfolio.positions[symbol].entry_price
        assert entry_price is not None, f"{symbol} is held and was never bought"
        return plan_long(entry_price, self.settings.exits, instrument)

    def _sale(self, instrument: Instrument, quantity: Decimal) -> OrderRequest:
        return OrderRequest(
            client_order_id=self._next_id(1, "x"),
            symbol=instrument.symbol,
            side=Side.SELL,
            type=OrderType.MARKET,
            purpose=Purpose.EXIT,
            quantity=quantity,
        )

    def _tend_watches(self, now_ms: int) -> None:
        for symbol in self.settings.symbols:
            wanted = symbol in self.portfolio.positions or self.orders.busy(symbol)
            if wanted != (symbol in self._watched):
                self._do(WatchPrice(now_ms, symbol, wanted))

    # -- books ------------------------------------------------------------------------------------------------

    def _tend_books(self, now_ms: int) -> None:
        if self._may_compare() and _due(self._compare_ms, now_ms):
            self._do(ReadAccount(now_ms))

    def _may_compare(self) -> bool:
        """Comparing makes sense while nothing is on its way."""
        return not self._reading_account and not any(o.unanswered or o.owed for o in self.orders.open_orders())

    def _on_account(self, event: AccountSnapshot) -> None:
        if not self._may_compare():  # something was sent meanwhile: look again when it is answered
            self._doubt_books(event.at_ms)
            return
        findings = compare(self.portfolio.wallets(), self.orders.open_orders(), event.balances, event.open_orders)
        self.foreign = tuple(finding.text for finding in findings if finding.label is Label.FOREIGN)
        for finding in findings:
            if finding.label is Label.ASK:
                self._to_ask[finding.subject] = event.at_ms
        serious = tuple(f for f in findings if f.label in (Label.DIFFERS, Label.UNKNOWN))
        if any(f.label is Label.ASK for f in findings):
            self._doubt_books(event.at_ms)
        elif not serious:
            self._books_agree(event.at_ms)
        else:
            self._books_differ(serious, event.at_ms)

    def _books_agree(self, now_ms: int) -> None:
        self._suspicion = frozenset()
        if self.books is not Books.AGREE:
            self._do(RecordBooks(now_ms, ()))

    def _books_differ(self, serious: tuple[Finding, ...], now_ms: int) -> None:
        """A difference counts when its subject differs in two readings, by whatever: a fill may have been on its way
        during the first."""
        before, self._suspicion = self._suspicion, frozenset(finding.subject for finding in serious)
        if before.isdisjoint(self._suspicion):
            self._doubt_books(now_ms)
            return
        texts = tuple(finding.text for finding in serious)
        if self.books is not Books.DIFFER or self.differences != texts:
            self._do(RecordBooks(now_ms, texts))
            self._alarm(now_ms, "books-differ", "; ".join(texts))

    # -- deadlines --------------------------------------------------------------------------------------------

    def _deadlines(self) -> Iterable[int]:
        if "account" not in self.links:
            return
        for order in self.orders.open_orders():
            read_fills_ms = order.read_fills_ms if order.order_id is not None else None
            for due in (self._ask_ms(order), read_fills_ms, self._cancel_ms(order)):
                if due is not None:
                    yield due
        for symbol, since in self.unprotected_since.items():
            if symbol not in self._overdue:
                yield since + self.settings.unprotected_max_ms
            if self._may_act(symbol):
                yield self._retry_ms.get(symbol, since)
        if self._compare_ms is not None and self._may_compare():
            yield self._compare_ms


def _due(due_ms: int | None, now_ms: int) -> bool:
    return due_ms is not None and now_ms >= due_ms
