"""What is known: orders, portfolio, breaker, protection, links and books, and the only two ways in which they change.

An event changes facts by `_apply`, a command of ours by `_note`, the moment it is decided. A restart folds the journal
through the same two, line by line, and so knows what the dead process knew. Nothing is decided here. What depends on
prices alone (marks, signals) is not kept in the journal: prices come anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from surefoot.core.breaker import Breaker, BreakerSettings
from surefoot.core.exits import Course, ExitSettings, Plan
from surefoot.core.margin import MarginSettings
from surefoot.core.messages import (
    AccountSnapshot,
    AdoptRequested,
    BalanceMoved,
    BreakerResetRequested,
    CancelAllRequested,
    CancelOrder,
    CancelRefused,
    CandleClosed,
    ClockRead,
    CloseRequested,
    Command,
    Event,
    FlattenRequested,
    HistoryLoaded,
    IncomePaid,
    InstrumentsLoaded,
    KillRequested,
    LinkLost,
    LinkRestored,
    LiveSwitched,
    MarginCalled,
    MarkPriceTold,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PauseRequested,
    PriceDropped,
    PriceMarked,
    QueryOrder,
    ReadAccount,
    ReadFills,
    RecordAlarm,
    RecordBooks,
    RecordDecision,
    RecordEquity,
    RecordPlan,
    RecordReset,
    RecordStopPassed,
    RecordTransfer,
    RecordTrip,
    ReplaceOrder,
    ResumeRequested,
    RunStarted,
    SettingsChanged,
    StreamSilent,
    SubmitList,
    SubmitOrder,
    VenueLimited,
    VenueTraded,
    WatchPrice,
    Woke,
)
from surefoot.core.model import (
    ZERO,
    Adoption,
    Candle,
    FeeRates,
    Fill,
    Income,
    Instrument,
    OrderRequest,
    Purpose,
    Side,
    Tier,
)
from surefoot.core.orders import Applied, Note, Order, OrderBook, OrderCount, State
from surefoot.core.portfolio import Portfolio
from surefoot.core.risk import RiskSettings

SERVER_LIMIT_MS = 10_000  # the venue gives a request up after this time
LOST_MARGIN_MS = 5_000
ASK_FIRST_MS = 1_000
CANCEL_ANSWER_MS = 5_000
RETRY_FIRST_MS = 1_000
RETRY_CAP_MS = 30_000
BOOKS_QUIET_MS = 2_000
ALONE_AFTER_MS = 3_000  # most broken links are back by then; from there on reads have to tell what the stream does not
ALONE_READ_MS = 30_000
LOOK_FIRST_MS = 3_000  # how long a new stop waits for a look at the account, where somebody else cancelled the old one
REMEMBERED = 50  # decisions and alarms that a view shows
ERRORS_REMEMBERED = 100
INCOMES_REMEMBERED = 1_000
OPENING_MS = 300_000  # what was paid so long before the books opened is surely in them, whatever the two clocks say
SHORT_PCT = Decimal(1)  # of a position, which its stop may leave out for fees that were reckoned too high
# Refusals of a sale in its stop's place that go away when the stop is cancelled first; any other is there after that.
REJECTED = -2010
BAD_FILTER = -1013
SMALL_REFUSALS = 2  # sales in a row, with nothing at rest, that the venue says are worth too little
SMALL_TIMES = 10  # the least that an order has to be worth: what was worth more when it was bought is never dust
LOCKED_TEXTS = ("insufficient balance", "cancel-replace is not supported")
GUARDS = frozenset({Purpose.STOP, Purpose.EXIT})  # what ends a position by itself at any price
LIVE = "live"  # the mode with real money
LIVE_NOT_ON = "real money is not switched on yet"
BY_HAND = "by hand"  # why a position ended that somebody else closed
SHRINK = "shrink"  # why a part is sold, when the breaker wants it


@dataclass(frozen=True, slots=True)
class EngineSettings:
    symbols: tuple[str, ...]
    quote: str
    risk: RiskSettings
    exits: ExitSettings
    breaker: BreakerSettings
    recv_window_ms: int
    entry_timeout_ms: int
    partial_fill_wait_ms: int
    unprotected_max_ms: int
    reconcile_every_ms: int
    margin: MarginSettings | None = None  # futures only


# What the engine's settings are after a change of settings, whose names it does not know.
SettingsAfter = Callable[[SettingsChanged], EngineSettings]


class Books(StrEnum):
    """Whether our ledger and the venue's account are known to agree. Entries need AGREE."""

    UNKNOWN = "not compared yet"
    AGREE = "agree"
    DIFFER = "differ"


class Facts:
    """All that is known of one account. Change it by `fold` only; the engine, which is one, does so as it decides."""

    def __init__(self, settings: EngineSettings, settings_after: SettingsAfter | None = None) -> None:
        """`settings_after` is needed where settings may change."""
        self.settings = settings
        self._settings_after = settings_after
        self.orders = OrderBook(settings.recv_window_ms + SERVER_LIMIT_MS + LOST_MARGIN_MS)
        self.portfolio = Portfolio()
        self.breaker = Breaker(settings.breaker)
        self.instruments: dict[str, Instrument] = {}
        self.fees: dict[str, FeeRates] = {}
        self.order_count = OrderCount()
        self.plans: dict[str, Plan] = {}
        self.taken: dict[str, int] = {}  # stages of the partial take profit that are behind a position
        self.courses: dict[str, Course] = {}
        self.cooldown_until_ms = 0
        self.paused: str | None = None
        self.live_off: str | None = None  # why no entry is made with real money; None also where there is none
        self._live_on = False
        self.last_entry_ms: dict[str, int] = {}
        self.clock_skew_ms = 0
        self.closes: dict[str, Decimal] = {}
        self.marks: dict[str, Decimal] = {}
        self.marked_ms: dict[str, int] = {}
        self.spreads_pct: dict[str, Decimal] = {}
        self.mark_prices: dict[str, tuple[int, Decimal]] = {}  # when the venue said it, and what
        self.locked: dict[str, Decimal] = {}  # by asset: what orders hold fast, ours and others', as last read
        self.books = Books.UNKNOWN
        self.differences: tuple[str, ...] = ()
        self.off: dict[str, Decimal] = {}  # by how much the venue has more, of an asset or of a symbol's contracts
        self.links: set[str] = set()
        self.deaf_since_ms: int | None = None  # since when the account's link is missing, though the market is known
        self.run = ""
        self.decisions: deque[RecordDecision] = deque(maxlen=REMEMBERED)
        self.alarms: deque[RecordAlarm] = deque(maxlen=REMEMBERED)
        self.bare_since: dict[str, int] = {}  # since when nothing at rest ends a position at any price
        self.bare_ms: dict[str, int] = {}  # for how long that was so before, by position
        self.bare_total_ms = 0  # the same of all positions there ever were
        self._passed: set[str] = set()  # symbols whose stop the price went through
        self.unprotected_since: dict[str, int] = {}  # as this process sees it
        self._counter = 0
        self._watched: set[str] = set()
        self._to_ask: dict[str, int] = {}
        self._unheard: dict[str, int] = {}  # not heard of since the account's link came back: when that was
        self._refusals: dict[str, int] = {}  # by symbol: exits and protections refused in a row
        self._locked_refusals: dict[str, int] = {}  # sales refused in a row for what their own stop locks or is
        self._small_refusals: dict[str, int] = {}  # see SMALL_REFUSALS
        self._retry_ms: dict[str, int] = {}
        self._short: dict[str, Decimal] = {}  # of spot positions: what somebody else sold of them, by all we know
        self._look_first_ms: dict[str, int] = {}  # until when the account is to be looked at before a new stop
        self._overdue: set[str] = set()  # unprotected for too long: to be sold
        self._to_leave: dict[str, str] = {}  # to be sold whatever the rules say, and why
        self._to_shrink: set[str] = set()  # half of it is to be sold
        self._to_cancel: set[str] = set()  # ids of entries that the operator wants cancelled
        self._unvalued: set[str] = set()  # symbols added while running, before their first price
        # What the stop no longer covers is to be sold: why, and how many stages are behind the position then.
        self._parts_due: dict[str, tuple[str, int]] = {}
        self._losses_in_row = 0
        self._errors_ms: deque[int] = deque(maxlen=ERRORS_REMEMBERED)
        self._same_refusals: dict[tuple[str, str], tuple[int, int]] = {}  # (symbol, purpose): code, times in a row
        self._compare_ms: int | None = None
        self._begun_ms = 0  # when this process began: it has heard no price before
        self._reading_account = False
        self._asked_account_ms = 0
        self._income_ms: int | None = None  # what was paid before is known
        self._opened_ms: int | None = None  # since when there are books
        self._incomes: deque[tuple[str, int]] = deque(maxlen=INCOMES_REMEMBERED)
        self._income_was_news = False
        self._venue_trades: set[tuple[str, int]] = set()  # (symbol, trade id) of what the venue itself closed
        self._venue_shares: dict[tuple[str, int], list[tuple[Decimal, Decimal]]] = {}  # what that is of each order
        self._venue_trade_was_news = False
        self._store_failed = False  # intents cannot be made durable
        self._refused_key: str | None = (
            None  # what the venue says to our key, while it refuses what it let us do before
        )
        self._key_doubt: str | None = None  # why it is not known what the key may do, where it has to be

    def fold(self, message: Event | Command) -> None:
        """Take one line of the journal back in; nothing is decided."""
        if isinstance(message, Event):
            for _ in self._apply(message):
                pass
        else:
            self._note(message)

    # -- facts ------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> Iterable[RecordAlarm]:
        match event:
            case RunStarted():
                self._begin_run(event)
            case InstrumentsLoaded():
                self.fees.update(dict(event.fee_rates))
                if "account" not in self.links and self.deaf_since_ms is None:
                    self.deaf_since_ms = event.at_ms
                self.order_count.limits = event.order_limits or self.order_count.limits
                return [alarm for each in event.instruments for alarm in self._learn_rules(each, event.at_ms)]
            case HistoryLoaded():
                for candle in event.candles[-1:]:
                    self.closes[candle.symbol] = candle.close
                    if candle.close_ms >= self.marked_ms.get(candle.symbol, 0):  # read anew, it may be behind a price
                        self._see_close(candle)
            case CandleClosed():
                self._see_close(event.candle)
                self._follow_course(event.candle)
            case PriceMarked():
                mark = self.marks[event.symbol] = (event.bid + event.ask) / 2
                self.marked_ms[event.symbol] = event.source_ms
                self.spreads_pct[event.symbol] = (event.ask - event.bid) * 100 / mark
            case MarkPriceTold():
                self.mark_prices[event.symbol] = event.source_ms, event.price
            case AccountSnapshot():
                self._reading_account = False
                self.locked = {balance.asset: balance.locked for balance in event.balances if balance.locked}
                self._income_ms = max(self._income_ms or 0, self._asked_account_ms)  # it was read along
                if not self.portfolio.opened:
                    self.portfolio.open(event.balances)
                    self._opened_ms = event.at_ms
                return self._see_listed(event)
            case BalanceMoved():
                if self.portfolio.opened:  # what moved before is part of what the books open with
                    self.portfolio.transfer(event.asset, event.delta)
                self._await_confirmation(event.at_ms)
            case IncomePaid():
                self._take_income(event)
            case VenueTraded():
                self._take_venue_trade(event)
            case LinkRestored():
                self._restore_link(event)
            case LinkLost():
                self.links.discard(event.link)
                self._store_failed = self._store_failed or event.link == "store"
                self._key_doubt = event.text if event.link == "key" else self._key_doubt
                self._refused_key = event.text if event.link == "rights" else self._refused_key
                if event.link == "account":
                    self._reading_account = False
                    self.deaf_since_ms = self._compare_ms = event.at_ms
            case ClockRead():
                self.clock_skew_ms = max(abs(event.offset_ms) - event.error_ms, 0)
            case PauseRequested():
                self.paused = f"paused by {event.who}: {event.reason}"
            case ResumeRequested():
                self.paused = None
            case LiveSwitched():
                self._live_on = event.on
                self.live_off = None if event.on else f"real money was switched off by {event.who}: {event.reason}"
            case FlattenRequested():
                self._leave_all("flatten")
            case CloseRequested():
                if self.involves(event.symbol):
                    self._to_leave.setdefault(event.symbol, "close")
            case CancelAllRequested():
                self._to_cancel.update(order.id for order in self._entries() if not order.finished)
            case KillRequested():
                self.paused = f"kill switch of {event.who}: {event.reason}"
                self._leave_all("kill")
            case BreakerResetRequested():
                self.cooldown_until_ms = self._losses_in_row = 0
                self._errors_ms.clear()
                self._same_refusals.clear()
            case AdoptRequested():
                self._adopt(event)
            case SettingsChanged():
                self._take_settings(event)
            case MarginCalled():  # the venue reckons otherwise than we do, or knows of more
                self._compare_ms = event.at_ms
            case PriceDropped() | StreamSilent() | VenueLimited() | Woke():
                pass
            case _:
                return self._hear(event)
        return ()

    def _learn_rules(self, instrument: Instrument, now_ms: int) -> Iterable[RecordAlarm]:
        """What the venue says of a symbol. What it refused under other rules is tried again at once, and what can no
        longer be sold under these is dust."""
        symbol = instrument.symbol
        before = self.instruments.get(symbol, instrument)
        self.instruments[symbol] = instrument
        if before == instrument:
            return ()
        for by_symbol in (self._refusals, self._locked_refusals, self._small_refusals, self._retry_ms):
            by_symbol.pop(symbol, None)
        plan = self.plans.get(symbol)
        if plan is not None and before.tick_size != instrument.tick_size:
            direction = self._entering_direction(symbol)
            stop_price = instrument.price_back(plan.stop_price, direction)
            target_price = instrument.price_ahead(plan.target_price, direction)
            self.plans[symbol] = replace(plan, stop_price=stop_price, target_price=target_price)
        if symbol in self.portfolio.positions:
            self._close_if_flat(symbol, now_ms)
            self._note_bare(symbol, now_ms)
        text = "; ".join(
            f"{name} {value} is now {getattr(instrument, name)}"
            for name, value in asdict(replace(before, brackets=())).items()
            if name != "brackets" and value != getattr(instrument, name)
        )
        return (RecordAlarm(now_ms, "rules-changed", f"{symbol}: {text or 'other brackets'}"),)

    def _take_settings(self, event: SettingsChanged) -> None:
        assert self._settings_after is not None, "these settings were said not to change"
        before, self.settings = self.settings, self._settings_after(event)
        self.breaker.adopt(self.settings.breaker)
        new = set(self.settings.symbols) - set(before.symbols)
        if new:  # what the account has of them is to be looked at before anything is bought
            self._await_confirmation(event.at_ms)
            self._unvalued |= new - self.marks.keys()

    def _adopt(self, event: AdoptRequested) -> None:
        """Book what the operator says. What is known to differ becomes less by it; the next comparison has the word."""
        before = self.portfolio.wallets()
        if event.what is Adoption.TRANSFER:
            self.portfolio.transfer(event.subject, event.amount)
        else:
            self._adopt_position(event)
        wallets = self.portfolio.wallets()
        for asset in wallets:
            self._explain(asset, wallets[asset] - before.get(asset, ZERO))
        self._await_confirmation(event.at_ms)

    def _adopt_position(self, event: AdoptRequested) -> None:
        symbol, instrument, price = event.subject, self.instruments[event.subject], event.price
        assert price is not None, "what is closed or entered has a price"
        gone, held = event.what is Adoption.GONE, self.portfolio.positions.get(symbol)
        change = -event.amount * held.direction if gone and held is not None else event.amount
        if not gone:  # what is left of an entry that bought nothing is no plan for this
            self.plans.pop(symbol, None)
        side, quantity = (Side.BUY if change > 0 else Side.SELL), abs(change)
        fill = Fill("", symbol, 0, side, price, quantity, ZERO, instrument.quote, False, event.at_ms)
        if not gone and not instrument.reduces_only:  # the coins are there, and are paid: they change hands only
            self.portfolio.transfer(instrument.base, -quantity)
            self.portfolio.transfer(instrument.quote, quantity * price)
        self.portfolio.apply(fill, instrument, BY_HAND, closes=gone)
        if instrument.reduces_only:
            self._explain(symbol, change)
        if gone:
            self._short.pop(symbol, None)
            self._to_cancel.update(order.id for order in self.orders.open_orders(symbol) if not order.finished)
            self._close_if_flat(symbol, event.at_ms)
        self._note_bare(symbol, event.at_ms)

    def _explain(self, subject: str, change: Decimal) -> None:
        left = self.off.pop(subject, ZERO) - change
        if left:
            self.off[subject] = left

    def _await_confirmation(self, now_ms: int) -> None:
        """Sizes rest on what we own: none is made from a transfer that the account has not confirmed."""
        self.books = Books.UNKNOWN if self.books is Books.AGREE else self.books
        self._doubt_books(now_ms)

    def income_since_ms(self) -> int | None:
        """Since when futures may have paid what was not told; None before anything is known."""
        return None if self.settings.margin is None else self._income_ms

    def _take_income(self, event: IncomePaid) -> None:
        """Book it once. What was paid before the books opened is part of what they open with."""
        key = event.kind.value, event.income_id
        self._income_was_news = False
        if key in self._incomes:
            return
        self._incomes.append(key)
        self._income_ms = max(self._income_ms or 0, event.paid_ms)
        if self._opened_ms is None or event.paid_ms < self._opened_ms - OPENING_MS:
            return
        self._income_was_news = True
        if event.kind is Income.TRANSFER:
            self.portfolio.transfer(event.asset, event.amount)
            self._await_confirmation(event.at_ms)
        else:
            self.portfolio.book_income(event.kind, event.symbol, event.asset, event.amount)

    def knows_venue_trade(self, fill: Fill) -> bool:
        """Whether a trade that was not made by us is booked."""
        return (fill.symbol, fill.trade_id) in self._venue_trades

    def _take_venue_trade(self, event: VenueTraded) -> None:
        fill = event.fill
        self._doubt_books(event.at_ms)
        shares = self._venue_shares.setdefault((fill.symbol, event.order_id), [])
        since, until = event.executed - fill.quantity, event.executed
        told = bool(fill.trade_id) and (fill.symbol, fill.trade_id) in self._venue_trades
        if event.order_id:  # an older journal does not tell it
            told = told or any(since < booked_until and booked_since < until for booked_since, booked_until in shares)
        self._venue_trade_was_news = not told
        if told or fill.symbol not in self.portfolio.positions:
            return
        self._venue_trades.add((fill.symbol, fill.trade_id))
        shares.append((since, until))
        self.portfolio.apply(fill, self.instruments[fill.symbol], event.why, closes=True)
        self._close_if_flat(fill.symbol, event.at_ms)

    def _begin_run(self, event: RunStarted) -> None:
        self.run, self._counter = event.run, 0
        if event.mode == LIVE and not self._live_on:
            self.live_off = self.live_off or LIVE_NOT_ON
        self._unvalued.clear()
        self._key_doubt = self._refused_key = None  # each process asks
        self.books = Books.UNKNOWN
        self.links.clear()
        self.deaf_since_ms = None  # not before the market is known again
        self._watched.clear()
        self._compare_ms = self._begun_ms = event.at_ms
        self._reading_account = False  # its answer went to the process that asked
        self.orders.doubt_unanswered(event.at_ms)
        # Where the clock was set back since, nothing is due by a time that is far away.
        self.bare_since = {symbol: min(since, event.at_ms) for symbol, since in self.bare_since.items()}
        self._retry_ms = {symbol: min(ms, event.at_ms + RETRY_CAP_MS) for symbol, ms in self._retry_ms.items()}

    def _restore_link(self, event: LinkRestored) -> None:
        if event.link == "store":
            self._store_failed = False
            return
        if event.link == "key":
            self._key_doubt = None
            return
        if event.link == "rights":
            self._refused_key = None
            return
        self.links.add(event.link)
        if event.link == "account":  # whatever happened meanwhile, the stream will not tell
            self.deaf_since_ms = None
            self.books = Books.UNKNOWN
            self._compare_ms = event.at_ms
            self._to_ask = {
                order.id: event.at_ms
                for order in self.orders.open_orders()
                # What was just sent has its answer still to come; asked now, the venue might not know it yet.
                if not order.finished and order.state is not State.SUBMITTED
            }
            self._unheard = dict(self._to_ask)

    def _see_close(self, candle: Candle) -> None:
        self.closes[candle.symbol] = self.marks[candle.symbol] = candle.close
        self.marked_ms[candle.symbol] = candle.close_ms

    def _follow_course(self, candle: Candle) -> None:
        """A position's candles since its entry; one that had begun before says nothing of it."""
        position = self.portfolio.positions.get(candle.symbol)
        if position is not None and candle.close_ms > position.opened_ms:
            course = self.courses.setdefault(candle.symbol, Course(direction=position.direction))
            course.take(candle.high, candle.low, candle.close)

    def _entries(self) -> Iterable[Order]:
        return (order for order in self.orders.open_orders() if order.request.purpose is Purpose.ENTRY)

    def _leave_all(self, reason: str) -> None:
        """Everything held, and every entry on its way, is to go."""
        busy = {order.symbol for order in self.orders.open_orders()}
        for symbol in (*self.portfolio.positions, *sorted(busy - self.portfolio.positions.keys())):
            self._to_leave.setdefault(symbol, reason)

    def _hear(self, event: OrderEvent) -> Iterable[RecordAlarm]:
        client_order_id = event.fill.client_order_id if isinstance(event, OrderFilled) else event.client_order_id
        known = self.orders.get(client_order_id)
        awaited = known is not None and known.state in (State.SUBMITTED, State.IN_DOUBT)
        rested = known is not None and known.resting
        unasked = rested and known is not None and known.cancelled_ms is None and known.state is not State.CANCEL_SENT
        applied = self.orders.apply(event)
        self._count_errors(event, known, awaited)
        if applied is None:
            if isinstance(event, OrderFilled):  # somebody else traded on this account: our ledger no longer tells all
                self._doubt_books(event.at_ms)
                self._see_foreign_fill(event.fill)
            return ()
        order = applied.order
        if isinstance(event, OrderCanceled) and unasked:
            self._see_foreign_cancel(order, event.at_ms)
        self._unheard.pop(order.id, None)
        if not isinstance(event, OutcomeUnknown | OrderNotFound):
            order.heard_ms = event.at_ms
        if isinstance(event, CancelRefused) and event.again_ms is not None and order.list_id is not None:
            for member in list(self.orders.list_members(order.list_id)):  # it would have gone with the order
                self.orders.apply(replace(event, client_order_id=member.id))
        if applied.fill is not None:
            self._small_refusals.pop(order.symbol, None)
            reason = order.request.reason or order.request.purpose.value
            closes = order.request.purpose is not Purpose.ENTRY
            self.portfolio.apply(applied.fill, self.instruments[order.symbol], reason, closes=closes)
        if applied.fill is not None or order.owed:
            self._doubt_books(event.at_ms)
        if isinstance(event, OrderRejected) and order.symbol in self.portfolio.positions:
            self._count_refusal(order, event)
            if event.again_ms is None and self.instruments[order.symbol].reduces_only:  # there may be nothing to close
                self._compare_by(event.at_ms + BOOKS_QUIET_MS)
        if isinstance(event, OrderExpired) and order.request.purpose is Purpose.EXIT and order.symbol in self._retry_ms:
            # Nobody was there to buy the rest; soon somebody may be.
            self._retry_ms[order.symbol] = min(self._retry_ms[order.symbol], event.at_ms + RETRY_FIRST_MS)
        if order.request.purpose is Purpose.STOP and order.resting and not rested:
            self._refusals.pop(order.symbol, None)
            self._locked_refusals.pop(order.symbol, None)
        if applied.note is Note.ERROR:
            self.books, self._compare_ms = Books.UNKNOWN, event.at_ms
        self._mark_for_asking(applied, event)
        if order.settled:
            self._to_ask.pop(order.id, None)
            self._to_cancel.discard(order.id)
        self._close_if_flat(order.symbol, event.at_ms)
        self._note_bare(order.symbol, event.at_ms)
        if isinstance(event, OrderNotFound) and order.missing_ms is not None:  # the list of open orders decides
            self._compare_by(event.at_ms)
        if isinstance(event, OrderAmended):
            text = f"{order.id}: somebody else made it smaller, {event.quantity:f}, and it is called {event.name} now"
            return (RecordAlarm(event.at_ms, "order-amended", text),)
        if applied.note in (Note.ALARM, Note.ERROR):
            return (RecordAlarm(event.at_ms, f"order-{applied.note.name.lower()}", applied.text),)
        return ()

    def _see_foreign_cancel(self, order: Order, at_ms: int) -> None:
        """Whoever takes a stop away may be about to sell: what is left is to be known before the next one."""
        symbol = order.symbol
        if symbol in self.portfolio.positions and not self.instruments[symbol].reduces_only:
            self._look_first_ms[symbol] = at_ms + LOOK_FIRST_MS
            self._compare_by(at_ms)

    def _see_foreign_fill(self, fill: Fill) -> None:
        if fill.side is Side.SELL and fill.symbol in self.portfolio.positions:
            self._fall_short(fill.symbol, self._short.get(fill.symbol, ZERO) + fill.quantity)

    def _learn_what_is_short(self, off: Mapping[str, Decimal]) -> None:
        """By the account: a position of which it has less than the ledger was sold by somebody else."""
        for symbol in self.portfolio.positions:
            self._fall_short(symbol, max(-off.get(self.instruments[symbol].base, ZERO), ZERO))

    def _fall_short(self, symbol: str, lacking: Decimal) -> None:
        """So much base is lacking. What an order of ours holds fast is there: the rest of a position may be what lacks,
        and whatever else the account has is not ours to sell in its place."""
        if self.instruments[symbol].reduces_only:
            return
        sales = (order for order in self.orders.open_orders(symbol) if order.resting and not order.finished)
        fast = max(((o.quantity or ZERO) - o.filled for o in sales if o.request.side is Side.SELL), default=ZERO)
        self._short[symbol] = min(lacking, max(self.portfolio.positions[symbol].quantity - fast, ZERO))

    def own_lots(self, symbol: str) -> Decimal:
        """What of a position may be sold that no order of ours holds fast, in lots."""
        own = self.portfolio.sellable(symbol) - self._short.get(symbol, ZERO)
        return self.instruments[symbol].lots_down(max(own, ZERO))

    def _lacks(self, symbol: str) -> bool:
        """Whether some of a position was sold by somebody else."""
        return self.own_lots(symbol) < self.instruments[symbol].lots_down(self.portfolio.sellable(symbol))

    def _see_listed(self, event: AccountSnapshot) -> Iterable[RecordAlarm]:
        """What the list of open orders says of ours, besides that they rest."""
        for order, text in list(self.orders.see_listed(event.open_orders, self._asked_account_ms, event.at_ms)):
            if order.settled:
                self._to_ask.pop(order.id, None)
                self._to_cancel.discard(order.id)
            self._close_if_flat(order.symbol, event.at_ms)
            self._note_bare(order.symbol, event.at_ms)
            yield RecordAlarm(event.at_ms, "order-gone" if order.finished else "order-amended", f"{order.id}: {text}")

    def _mark_for_asking(self, applied: Applied, event: OrderEvent) -> None:
        """What a lost or odd answer leaves open has to be asked; doubt itself is a standing duty with a back-off. A
        cancel that the venue has not judged leaves nothing open."""
        if isinstance(event, CancelRefused) and event.again_ms is not None:
            return
        order = applied.order
        if order.state not in (State.NEW, State.PARTIALLY_FILLED):
            return
        if isinstance(event, OutcomeUnknown):  # asked in vain, it may be refused for long
            self._to_ask[order.id] = event.at_ms + min(ASK_FIRST_MS << min(order.asks, 8), RETRY_CAP_MS)
        elif applied.note in (Note.ALARM, Note.ASK, Note.ERROR):
            self._to_ask[order.id] = event.at_ms + ASK_FIRST_MS

    def _count_errors(self, event: OrderEvent, order: Order | None, awaited: bool) -> None:
        """What the breaker looks at: errors of the venue by their time, one request counted once, and refusals that
        repeat until the venue takes such an order. `awaited` says that the order's first answer was still to come."""
        code = event.code if isinstance(event, OrderRejected) else None
        failed = code is not None or isinstance(event, OutcomeUnknown)
        if failed and not (self._errors_ms and self._errors_ms[-1] == event.at_ms):
            self._errors_ms.append(event.at_ms)
        if order is None:
            return
        key = order.symbol, order.request.purpose.value
        judged = not isinstance(event, OrderRejected) or event.again_ms is None
        if code is not None and judged:
            before, times = self._same_refusals.get(key, (0, 0))
            self._same_refusals[key] = code, times + 1 if code == before else 1
        elif awaited and order.state in (State.NEW, State.PARTIALLY_FILLED, State.FILLED):
            self._same_refusals.pop(key, None)

    def _count_refusal(self, order: Order, event: OrderRejected) -> None:
        """Refused, the next try has to wait, longer each time; not judged, only until the venue listens again."""
        symbol = order.symbol
        if event.again_ms is not None:
            self._retry_ms[symbol] = event.again_ms
            return
        count = self._refusals[symbol] = self._refusals.get(symbol, 0) + 1
        locked = event.code == REJECTED and any(each in event.text for each in LOCKED_TEXTS)
        self._locked_refusals[symbol] = self._locked_refusals.get(symbol, 0) + 1 if locked else 0
        if order.request.purpose is Purpose.EXIT:
            small = event.code == BAD_FILTER and "NOTIONAL" in event.text and not any(self._guards(symbol))
            self._small_refusals[symbol] = self._small_refusals.get(symbol, 0) + 1 if small else 0
        wait_ms = min(RETRY_FIRST_MS << min((count - 1) // 2, 8), RETRY_CAP_MS)
        self._retry_ms[symbol] = event.at_ms + wait_ms

    def _close_if_flat(self, symbol: str, now_ms: int) -> None:
        """End the round trip when nothing of it can be sold any more and no order of it is left."""
        if self.orders.busy(symbol):
            return
        if symbol not in self.portfolio.positions:
            self._to_leave.pop(symbol, None)  # its entry is gone, and nothing was bought
            return
        if self._worth_selling(symbol):
            return
        self._end_bare(symbol, now_ms)
        trip = self.portfolio.close(symbol, self.bare_ms.pop(symbol, 0))
        self._losses_in_row = self._losses_in_row + 1 if trip.pnl < 0 else 0
        if self._losses_in_row == self.settings.risk.loss_streak_max != 0:
            self._losses_in_row = 0
            self.cooldown_until_ms = now_ms + self.settings.risk.cooldown_ms
        for by_symbol in (
            self.plans, self.taken, self.courses, self.unprotected_since, self._to_leave, self._parts_due, self._short,
            self._refusals, self._locked_refusals, self._small_refusals, self._retry_ms, self._look_first_ms,
        ):  # fmt: skip
            by_symbol.pop(symbol, None)
        for symbols in (self._overdue, self._to_shrink, self._passed):
            symbols.discard(symbol)

    def _worth_selling(self, symbol: str) -> bool:
        """Whether the position is large enough to be sold, at the price it was bought for, and as the venue says."""
        position, instrument = self.portfolio.positions[symbol], self.instruments[symbol]
        entry_price = position.entry_price or ZERO
        small = self._small_refusals.get(symbol, 0) >= SMALL_REFUSALS
        if small and position.quantity * entry_price < instrument.notional_min * SMALL_TIMES:
            return False
        return instrument.can_close(position.quantity, entry_price)

    def _entering_direction(self, symbol: str) -> int:
        """Which way a symbol is held, or an entry of it goes."""
        position = self.portfolio.positions.get(symbol)
        if position is not None:
            return position.direction
        sides: Iterable[Side] = (
            order.request.side for order in self.orders.open_orders(symbol) if order.request.purpose is Purpose.ENTRY
        )
        return -1 if Side.SELL in sides else 1

    def _note_bare(self, symbol: str, now_ms: int) -> None:
        """The bound of an unprotected position counts over a restart: so its begin is what the journal tells."""
        if symbol not in self.portfolio.positions:
            return
        guarded = any(self._guards(symbol))
        if not guarded:
            self._passed.discard(symbol)
        if (guarded and symbol not in self._passed) or not self._worth_selling(symbol):
            self._end_bare(symbol, now_ms)
        else:
            self.bare_since.setdefault(symbol, now_ms)

    def _end_bare(self, symbol: str, now_ms: int) -> None:
        lasted_ms = self._bare_for_ms(symbol, now_ms)
        self.bare_since.pop(symbol, None)
        self.bare_ms[symbol] = self.bare_ms.get(symbol, 0) + lasted_ms
        self.bare_total_ms += lasted_ms

    def _bare_for_ms(self, symbol: str, now_ms: int) -> int:
        return max(now_ms - self.bare_since.get(symbol, now_ms), 0)

    def unprotected_ms(self, symbol: str, now_ms: int) -> int:
        """For how long, in all, no order at rest would have ended the position of a symbol at any price."""
        return self.bare_ms.get(symbol, 0) + self._bare_for_ms(symbol, now_ms)

    def unprotected_total_ms(self, now_ms: int) -> int:
        """The same of all positions since the books were opened."""
        return self.bare_total_ms + sum(self._bare_for_ms(symbol, now_ms) for symbol in self.bare_since)

    def _guards(self, symbol: str) -> Iterable[Order]:
        """Orders at rest that end a position by themselves; a target alone protects nothing."""
        if self.instruments[symbol].reduces_only:
            return (each for each in self.orders.open_orders(symbol) if self._covers(each, Purpose.STOP))
        return (
            each
            for each in self.orders.open_orders(symbol)
            if each.request.purpose in GUARDS and each.resting and not each.finished and not self._falls_short(each)
        )

    def _falls_short(self, order: Order) -> bool:
        """Whether a leg at rest (spot) leaves so much of its position out that this alone would be worth selling."""
        position, instrument = self.portfolio.positions.get(order.symbol), self.instruments[order.symbol]
        if position is None or instrument.reduces_only or order.symbol in self._parts_due:
            return False
        if order.quantity is None or order.request.purpose not in (Purpose.STOP, Purpose.TARGET):
            return False
        held = position.quantity - self._short.get(order.symbol, ZERO)
        out = instrument.lots_down(held) - (order.quantity - order.filled)
        return out * 100 > position.quantity * SHORT_PCT and instrument.can_close(out, position.entry_price or ZERO)

    def _covers(self, order: Order, purpose: Purpose) -> bool:
        """Whether an order rests at the venue that closes all that is held of its symbol."""
        if order.request.purpose is not purpose or order.finished or not order.resting:
            return False
        position = self.portfolio.positions.get(order.symbol)
        held = ZERO if position is None else position.quantity
        return order.state is not State.CANCEL_SENT and (order.quantity or ZERO) - order.filled >= held

    @property
    def hears(self) -> bool:
        """Whether the account's link tells what becomes of orders."""
        return "account" in self.links

    def acts_from_ms(self) -> int | None:
        """From when on what is held is looked after: always while the account's link is there; without it by reads
        alone, a little later. None before anything is known of the market."""
        if self.hears:
            return 0
        return None if self.deaf_since_ms is None else self.deaf_since_ms + ALONE_AFTER_MS

    def _compare_by(self, due_ms: int) -> None:
        """The books are to be compared then, if not sooner."""
        self._compare_ms = due_ms if self._compare_ms is None else min(self._compare_ms, due_ms)

    def _doubt_books(self, now_ms: int) -> None:
        self._compare_ms = now_ms + BOOKS_QUIET_MS

    # -- commands ---------------------------------------------------------------------------------------------

    def _note(self, command: Command) -> None:
        """What a command of ours changes in our own state, the moment it is decided."""
        match command:
            case SubmitOrder():
                self._submitted((command.order,), None, command.at_ms)
                if command.taken:
                    self.taken[command.order.symbol] = command.taken
            case SubmitList():
                self._submitted(command.orders, command.list_id, command.at_ms)
            case CancelOrder():
                self._cancel_noted(command.client_order_id, command.at_ms)
                self._sale_noted(command.client_order_id)
            case ReplaceOrder():
                self._replace_noted(command)
            case QueryOrder():
                asked = self.orders.asked(command.client_order_id, command.at_ms)
                self._to_ask.pop(asked.id, None)
            case ReadFills():
                self.orders.fills_asked(command.client_order_id, command.at_ms)
            case ReadAccount():
                self._reading_account = True
                self._asked_account_ms = command.at_ms
                every_ms = self.settings.reconcile_every_ms
                self._compare_ms = command.at_ms + (every_ms if self.hears else min(every_ms, ALONE_READ_MS))
            case WatchPrice():
                (self._watched.add if command.wanted else self._watched.discard)(command.symbol)
            case RecordDecision():
                self.decisions.append(command)
                if command.outcome == "approved":
                    self.last_entry_ms[command.signal.symbol] = command.at_ms
            case RecordAlarm():
                self.alarms.append(command)
            case RecordPlan():
                self.plans[command.symbol] = Plan(command.stop_price, command.target_price, command.stop_price)
            case RecordStopPassed():
                (self._passed.add if command.passed else self._passed.discard)(command.symbol)
                self._note_bare(command.symbol, command.at_ms)
            case RecordEquity() | RecordTransfer() | RecordReset():
                self.breaker.note(command)
            case RecordTrip():
                self.breaker.note(command)
                if command.tier is Tier.FLATTEN:
                    self._leave_all("flatten")
                elif command.tier is Tier.SHRINK:
                    self._to_shrink.update(self.portfolio.positions)
            case RecordBooks():
                self.differences = command.differences
                self.books = Books.DIFFER if command.differences else Books.AGREE
                self.off = dict(command.off)
                self._learn_what_is_short(self.off)
            case _:
                assert_never(command)

    def _submitted(self, requests: Iterable[OrderRequest], list_id: str | None, at_ms: int) -> None:
        for request in requests:
            self.orders.submit(request, at_ms, list_id)
            self.order_count.add(at_ms)
            self._counter += 1
            match request.purpose:
                case Purpose.EXIT:
                    self._retry_ms[request.symbol] = at_ms + CANCEL_ANSWER_MS
                case Purpose.PART:
                    self._part_noted(request)
                case Purpose.STOP:
                    self._stop_noted(request)
                case Purpose.TARGET | Purpose.ENTRY:
                    pass

    def _part_noted(self, request: OrderRequest) -> None:
        """A part is on its way to be sold; that it was sold is known when the stop covers all that is held."""
        why, stage = self._parts_due.get(request.symbol, ("", 0))
        if stage:
            self.taken[request.symbol] = stage
        if SHRINK in (why, request.reason):
            self._to_shrink.discard(request.symbol)

    def _stop_noted(self, request: OrderRequest) -> None:
        """A stop that is sent is where the position is given up from now on."""
        plan, stop_price = self.plans.get(request.symbol), request.stop_price
        if plan is not None and stop_price is not None and stop_price != plan.stop_price:
            self.plans[request.symbol] = replace(plan, stop_price=stop_price)

    def _cancel_noted(self, client_order_id: str, at_ms: int) -> None:
        order = self.orders.get(client_order_id)
        list_id = order.list_id if order else None
        members = list(self.orders.list_members(list_id)) if list_id else []
        for member in members or ([order] if order else []):
            self.orders.cancel_sent(member.id, at_ms)

    def _sale_noted(self, cancelled_id: str) -> None:
        """On spot a leg is cancelled alone only where it stands in the way of a sale: of what nothing else says that it
        is to be left, it was unprotected for too long, and a restart goes on with that sale."""
        order = self.orders.get(cancelled_id)
        if order is not None and (order.id in self._to_cancel or self._falls_short(order)):
            return  # its position is gone, or it makes way for a whole one
        if order is None or order.symbol not in self.portfolio.positions or order.symbol in self._to_leave:
            return
        if order.request.purpose in (Purpose.STOP, Purpose.TARGET) and not self.instruments[order.symbol].reduces_only:
            self._overdue.add(order.symbol)

    def _replace_noted(self, command: ReplaceOrder) -> None:
        request = command.order
        self._cancel_noted(command.cancel_id, command.at_ms)
        self._submitted((request,), None, command.at_ms)
        if command.part:
            self._parts_due[request.symbol] = command.part, command.stage
        if request.purpose is Purpose.EXIT:  # what is to be left is left, also when this request is refused or lost
            self._to_leave.setdefault(request.symbol, request.reason)

    # -- what follows ------------------------------------------------------------------------------------------

    def involves(self, symbol: str) -> bool:
        """Whether something of a symbol is held or on its way."""
        return symbol in self.portfolio.positions or self.orders.busy(symbol)

    def entries_off(self) -> str | None:
        """Why no entry may be made, whatever the signal; None when entries are on."""
        if self.live_off is not None:
            return self.live_off
        if self.books is Books.DIFFER:
            return f"ledger and venue differ: {'; '.join(self.differences)}"
        if self.books is Books.UNKNOWN:
            return "ledger and venue have not been compared since the start, a transfer or a loss of the account link"
        if self._store_failed:
            return "the journal cannot be written, and no intent is sent that is not on disk"
        if self._key_doubt is not None:
            return f"it is not known what the key may do: {self._key_doubt}"
        if self._refused_key is not None:
            return f"the venue refuses the key: {self._refused_key}"
        missing = {"market", "account"} - self.links
        return f"no link to {' and '.join(sorted(missing))}" if missing else None

    def _by_asset(self, prices: dict[str, Decimal]) -> dict[str, Decimal]:
        instruments = self.instruments
        return {instruments[symbol].base: price for symbol, price in prices.items() if symbol in instruments}

    def equity(self) -> Decimal | None:
        """What the account is worth at the newest marks, in the quote asset; None when a price is missing."""
        if not self.portfolio.opened or self._owns_unheard():
            return None
        return self._equity_at(self.marks)

    def _equity_at(self, prices: dict[str, Decimal]) -> Decimal | None:
        contract_prices = None if self.settings.margin is None else prices
        return self.portfolio.equity(self.settings.quote, self._by_asset(prices), contract_prices)

    def _owns_unheard(self) -> bool:
        """Whether we own coins of a symbol of ours whose first price is still to come.

        Left out, they would make the account look poorer than it is, and losses would be measured from there.
        """
        for symbol in self.settings.symbols:
            if symbol not in self.marks:
                unheard = self.instruments.get(symbol)
                if unheard is not None and unheard.trading and self.portfolio.wallet(unheard.base):
                    return True
        return False
