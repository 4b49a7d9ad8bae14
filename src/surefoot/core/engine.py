"""The only place where the parts meet: events in, commands out, no clock, no I/O.

How it stays the same after a restart: what is known changes only in `facts.py`, by events and by commands of ours, and
a restart takes every line of the journal in there. Deciding happens here, in `_react` and `_duties`, which a restart
does not call: so the journal holds everything that a decision rests on, and nothing is ever decided twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol, assert_never, get_args

from surefoot.core.breaker import Near
from surefoot.core.contracts import HOPELESS, PRICE_MAX, Contracts
from surefoot.core.exits import (
    Action,
    Course,
    Held,
    Leave,
    Levels,
    MoveStop,
    Plan,
    TakePart,
    leaving_order,
    levels_of,
    on_price,
    on_reversal,
    on_time,
    sellable_part,
    stop_order,
    target_order,
)
from surefoot.core.facts import ASK_FIRST_MS, CANCEL_ANSWER_MS, GUARDS, SHRINK, Books, EngineSettings, SettingsAfter
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
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
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
    RecordBooks,
    RecordDecision,
    RecordPlan,
    RecordReset,
    RecordStopPassed,
    RecordTransfer,
    RecordTrip,
    ReplaceOrder,
    Request,
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
    CONDITIONAL,
    ENTRY_LIST_ORDERS,
    MS_PER_MINUTE,
    ZERO,
    Adoption,
    Candle,
    Income,
    Instrument,
    ListType,
    OrderRequest,
    OrderType,
    Purpose,
    Side,
    Signal,
    Tier,
)
from surefoot.core.orders import Order, State
from surefoot.core.reconcile import Finding, Label, compare
from surefoot.core.risk import Approved, Circumstances, Other, Record, Sizing, direction_of, review

OWED_MAX_MS = 30_000  # fills that the venue told of are read every few seconds until they are there
LEG_ASK_MS = 3_000  # how long a stop may be silent after its entry filled before we ask for it
ASK_CAP_MS = 8_000
ASK_CAP_BARE_MS = 2_000  # while a position without a stop waits for the answer
ALONE_ASK_MS = 3_000  # without the account's link
ALONE_ASK_SOON_MS = 1_000  # where something is to be done
FRESH_MS = 2_000  # so long what a read told of an order is good enough to act on
DIFFERS_AGAIN_MS = 10_000
ONE = Decimal(1)
FEE_ROUNDING = Decimal("0.00000001")  # the venue may round a fee up by this much


NEVER_MS = 1 << 62
CALM_SHARE = Decimal("0.999999")
LEFT_OVER_SHARE = Decimal("0.001")
MOVES = (*get_args(Request), RecordTrip)  # commands after which a duty may be nearer


class SignalSource(Protocol):
    """Where signals come from: closed candles in, one opinion out."""

    def warm(self, candles: Sequence[Candle]) -> None: ...

    def on_candle(self, candle: Candle) -> Signal: ...

    def correlation(self, symbol: str, other: str) -> float | None:
        """How closely the returns of two symbols go together, −1 to 1; None where it is not known."""
        ...

    def prepare(self) -> bool:
        """Do a part of what the next candles will ask for, where nothing waits; False when nothing is left to do."""
        ...


class Engine(Contracts):
    """Decides; owns orders, portfolio, breaker and protection. See the module's rules."""

    def __init__(
        self, settings: EngineSettings, signals: SignalSource, settings_after: SettingsAfter | None = None
    ) -> None:
        super().__init__(settings, settings_after)
        self.foreign: tuple[str, ...] = ()
        self._signals = signals
        self._said_short: set[str] = set()  # symbols of which it was said that somebody else sold them
        self._suspicion: frozenset[str] = frozenset()  # what differed in the last reading
        self._agreed_ms: int | None = None  # when the books were last found to agree
        self._deadline: tuple[int | None] | None = None  # known until something other than a price comes
        self._levels: dict[str, tuple[Held, Levels] | None] = {}  # known until something other than a price comes

    # -- the machine ------------------------------------------------------------------------------------------

    def step(self, event: Event) -> list[Command]:
        """Take one event in; the commands that follow, in order."""
        self._out = []
        for alarm in self._apply(event):
            self._do(alarm)
        if self._unvalued:
            self._value_what_is_owned(event.at_ms)
        self._react(event)
        if not self._only_looked(event) or _due(self.deadline_ms(), event.at_ms):
            self._forget_what_was_known()
            self._duties(event.at_ms)
            if self._out:
                self._forget_what_was_known()
        return self._out

    def prepare(self) -> bool:
        """For a moment in which nothing waits: a part of what the next candles will need; False when all is done."""
        return self._correlation_matters() and self._signals.prepare()

    def _only_looked(self, event: Event) -> bool:
        """Whether the event was market data that moved nothing of ours: then no duty is nearer than it was."""
        if not isinstance(event, (PriceMarked, CandleClosed, MarkPriceTold)) or self._fell_through(event):
            return False
        return not any(isinstance(command, MOVES) for command in self._out)

    def _fell_through(self, event: PriceMarked | CandleClosed | MarkPriceTold) -> bool:
        """Whether the price has just gone past the limit of a stop that sells no lower: then it protects no more."""
        symbol = event.candle.symbol if isinstance(event, CandleClosed) else event.symbol
        if symbol not in self.portfolio.positions or symbol in self.unprotected_since:
            return False
        plain = OrderType.STOP_LOSS in self.instruments[symbol].order_types
        return not plain and any(self._is_left_behind(order) for order in self._guards(symbol))

    def _is_left_behind(self, order: Order) -> bool:
        """Whether an exit waits for a price above the market: a stop-limit that the price fell through."""
        mark, request = self.marks.get(order.symbol), order.request
        return request.type is OrderType.STOP_LOSS_LIMIT and mark is not None and mark < (request.price or ZERO)

    def _forget_what_was_known(self) -> None:
        self._deadline = None
        self._levels.clear()

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
                self._manage(event.symbol, event.at_ms)
            case MarkPriceTold():
                if event.symbol in self.portfolio.positions:
                    self._flees(event.symbol, event.at_ms)
            case OrderFilled():
                self._judge_equity(event.at_ms)
            case BalanceMoved():
                self._on_transfer(event.at_ms, event.asset, event.delta)
            case IncomePaid():
                self._on_income(event)
            case VenueTraded():
                if self._venue_trade_was_news:
                    text = f"{event.fill.symbol}: {event.why} of {event.fill.quantity:f} at {event.fill.price:f}"
                    self._alarm(event.at_ms, "venue-traded", text)
                self._judge_equity(event.at_ms)
            case MarginCalled():
                called = ", ".join(event.symbols)
                self._alarm(event.at_ms, "margin-call", f"{called}: the venue says that the margin runs short")
            case BreakerResetRequested():
                self._reset(event)
            case AdoptRequested():
                if event.what is Adoption.TRANSFER:
                    self._on_transfer(event.at_ms, event.subject, event.amount)
                self._judge_equity(event.at_ms)
            case AccountSnapshot():
                self._hear_margins(event)
                self._on_account(event)
            case PriceDropped():
                self._alarm(event.at_ms, "price-dropped", event.text)
            case StreamSilent():
                self._alarm(event.at_ms, "stream-silent", f"{event.stream} for {event.silent_ms // 1_000} s")
            case VenueLimited():
                wait_s = max(0, event.until_ms - event.at_ms) // 1_000
                code = "banned" if event.banned else "rate-limited"
                self._alarm(event.at_ms, code, f"{event.text} ({wait_s} s to wait)")
            case LinkLost():
                code = {"rights": "key-refused", "venue": "read-refused"}.get(event.link, "link-lost")
                self._alarm(event.at_ms, code, event.text if code != "link-lost" else f"{event.link}: {event.text}")
            case (
                RunStarted()
                | InstrumentsLoaded()
                | OrderAccepted()
                | OrderRejected()
                | OrderCanceled()
                | OrderExpired()
                | CancelRefused()
                | OutcomeUnknown()
                | OrderNotFound()
                | OrderAmended()
                | LinkRestored()
                | ClockRead()
                | PauseRequested()
                | ResumeRequested()
                | LiveSwitched()
                | FlattenRequested()
                | CloseRequested()
                | CancelAllRequested()
                | KillRequested()
                | SettingsChanged()
                | Woke()
            ):
                pass  # facts: what follows from them is a standing duty
            case _:
                assert_never(event)

    # -- deciding on a candle ---------------------------------------------------------------------------------

    def _on_candle(self, event: CandleClosed) -> None:
        signal = self._signals.on_candle(event.candle)
        self._judge_equity(event.at_ms)
        self._manage(event.candle.symbol, event.at_ms, signal)
        if signal.target is None:
            self._do(RecordDecision(event.at_ms, signal, "none", signal.rule))
        elif direction_of(signal) <= 0 and self.settings.margin is None:
            detail = "spot is long only; a position leaves by its stop, its target or an exit rule"
            self._do(RecordDecision(event.at_ms, signal, "long-only", detail))
        elif signal.symbol not in self.settings.symbols:
            self._do(RecordDecision(event.at_ms, signal, "removed", "no longer among market.symbols"))
        elif not direction_of(signal):
            self._do(RecordDecision(event.at_ms, signal, "flat", "the signal wants no exposure"))
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
        busy = self._busy_text(symbol)
        return Circumstances(
            now_ms=event.at_ms,
            entries_off=self.entries_off() or self._wallet_off() or self._margin_off(symbol),
            breaker_off=self.breaker.off_text(),
            instrument=self.instruments.get(symbol),
            fees=self.fees.get(symbol),
            price=event.candle.close,
            equity=self._equity_at(self.closes),
            free_quote=self._free_quote(),
            busy=busy,
            price_ms=self.marked_ms.get(symbol),
            pause_off=self.paused,
            cooldown_until_ms=self.cooldown_until_ms,
            last_entry_ms=self.last_entry_ms.get(symbol),
            spread_pct=self.spreads_pct.get(symbol),
            others=self._others(symbol, to_compare=busy is None),
            record=self._record() if self.settings.risk.sizing is Sizing.HALF_KELLY else None,
            order_budget=self.order_count.refusal(ENTRY_LIST_ORDERS, event.at_ms),
            margin=self.settings.margin,
            backing=None if self.settings.margin is None else self.backing(symbol, self.closes),
        )

    def _others(self, symbol: str, to_compare: bool) -> tuple[Other, ...]:
        """The other symbols in which we are invested, or about to be, and how alike they move if that is asked."""
        held = set(self.portfolio.positions)
        entering = {order.symbol for order in self.orders.open_orders() if order.request.purpose is Purpose.ENTRY}
        others = sorted((held | entering) - {symbol}, key=self._rank)
        matters = to_compare and self._correlation_matters()
        return tuple(
            Other(
                each,
                self._at_risk(each),
                self._signals.correlation(symbol, each) if matters else None,
                self._entering_direction(each),
            )
            for each in others
        )

    def _correlation_matters(self) -> bool:
        return self.settings.risk.correlation_max < 1  # 1 switches the rule off

    def _rank(self, symbol: str) -> tuple[int, str]:
        symbols = self.settings.symbols
        return (symbols.index(symbol) if symbol in symbols else len(symbols)), symbol

    def _at_risk(self, symbol: str) -> Decimal:
        """What would be lost from entry to stop; a stop ahead of the entry risks nothing."""
        direction = self._entering_direction(symbol)
        position, instrument = self.portfolio.positions.get(symbol), self.instruments[symbol]
        held = position is not None and position.entry_price is not None
        plan = self._plan(symbol, instrument) if held else self.plans.get(symbol)
        if plan is None:
            return ZERO
        risk = ZERO
        if position is not None and position.entry_price is not None:
            risk = position.quantity * (position.entry_price - self._stop_price(symbol, plan)) * direction
        for order in self.orders.open_orders(symbol):
            request = order.request
            if request.purpose is Purpose.ENTRY and request.quantity is not None and request.price is not None:
                risk += (request.quantity - order.filled) * (request.price - plan.stop_price) * direction
        return max(risk, ZERO)

    def _stop_price(self, symbol: str, plan: Plan) -> Decimal:
        """Where the position's stop rests, which need not be where we wanted it; the plan's while none rests."""
        for order in self.orders.open_orders(symbol):
            if order.request.purpose is Purpose.STOP and order.resting and order.request.stop_price is not None:
                return order.request.stop_price
        return plan.stop_price

    def _record(self) -> Record | None:
        results = [trip.pnl for trip in self.portfolio.round_trips]
        wins, losses = [pnl for pnl in results if pnl > 0], [-pnl for pnl in results if pnl < 0]
        if not results:
            return None
        return Record(
            len(results),
            Decimal(len(wins)) / len(results),
            sum(wins, ZERO) / len(wins) if wins else ZERO,
            sum(losses, ZERO) / len(losses) if losses else ZERO,
        )

    def _busy_text(self, symbol: str) -> str | None:
        position = self.portfolio.positions.get(symbol)
        if position is not None:
            return f"already holding {position.signed_quantity:f}"
        for order in self.orders.open_orders(symbol):
            return f"order {order.id} is {order.state}"
        return None

    def _free_quote(self) -> Decimal:
        """Quote for new positions: of futures, for their margin."""
        margin = self.settings.margin
        if margin is None:
            return self.portfolio.wallet(self.settings.quote) - self._reserved_quote()
        return self._free_margin(margin, self.closes) - self._reserved_quote() / margin.leverage

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

    # -- the breaker --------------------------------------------------------------------------------------------

    def _judge_equity(self, now_ms: int) -> None:
        equity = self.equity()
        if equity is None:
            return
        for judged in self.breaker.judge(equity, now_ms):
            if isinstance(judged, Near):
                text = f"{judged.rule}: {judged.value_pct:.2f} % of at most {judged.limit_pct:f} %"
                self._alarm(now_ms, "breaker-near", text)
                continue
            self._do(judged)
            if isinstance(judged, RecordTrip):
                self._alarm(now_ms, "breaker", f"{judged.text} ({judged.tier})")

    def _tend_breaker(self, now_ms: int) -> None:
        """Trips by what is no loss: how the venue answers, how old prices are, whether books and clocks agree."""
        limits = self.breaker.settings
        errors = sum(1 for at_ms in self._errors_ms if at_ms > now_ms - MS_PER_MINUTE)
        most = max((times for _, times in self._same_refusals.values()), default=0)
        stale_ms = max((now_ms - heard_ms for heard_ms in self._held_heard_ms()), default=0)
        for rule, value, limit in (
            ("venue errors", errors, limits.venue_errors_max),
            ("repeated refusals", most, limits.refusals_max),
            ("stale data", stale_ms, limits.stale_data_max_ms),
            ("books differ", len(self.differences) if self.books is Books.DIFFER else 0, 1),
            ("clock skew", self.clock_skew_ms, limits.clock_skew_max_ms),
        ):
            if 0 < limit <= value and rule not in self.breaker.trips:
                self._trip(rule, value, limit, now_ms)

    def _held_heard_ms(self) -> Iterable[int]:
        """When the newest price of each symbol was told that is held; before this process began nothing could be."""
        return (max(self.marked_ms.get(symbol, 0), self._begun_ms) for symbol in self.portfolio.positions)

    def _trip(self, rule: str, value: int, limit: int, now_ms: int) -> None:
        text = f"{rule}: {value} reached {limit}"
        trip = self.breaker.trip(rule, Tier.NO_ENTRIES, Decimal(value), Decimal(limit), self.equity(), now_ms, text)
        self._do(trip)
        self._alarm(now_ms, "breaker", text)

    def _on_transfer(self, at_ms: int, asset: str, delta: Decimal) -> None:
        price = ONE if asset == self.settings.quote else self._by_asset(self.marks).get(asset)
        if price is not None and self.portfolio.opened:
            self._do(RecordTransfer(at_ms, delta * price, self.equity()))
        code, what = ("withdrawal", "left") if delta < 0 else ("deposit", "came into")
        self._alarm(at_ms, code, f"{abs(delta).normalize():f} {asset} {what} the account without a trade")
        self._judge_equity(at_ms)

    def _value_what_is_owned(self, at_ms: int) -> None:
        """Coins that the account has of a symbol that was added count from its first price on: that is no profit."""
        for symbol in sorted(self._unvalued & self.marks.keys()):
            self._unvalued.discard(symbol)
            value = self.portfolio.wallet(self.instruments[symbol].base) * self.marks[symbol]
            if value and self.settings.margin is None and self.portfolio.opened:
                self._do(RecordTransfer(at_ms, value, self.equity()))

    def _on_income(self, event: IncomePaid) -> None:
        if event.kind is Income.TRANSFER and self._income_was_news:
            self._on_transfer(event.at_ms, event.asset, event.amount)
        self._judge_equity(event.at_ms)

    def _reset(self, event: BreakerResetRequested) -> None:
        self._do(RecordReset(event.at_ms, event.who, event.reason, self.equity()))

    # -- what a held position is asked by a price, a candle and the time ------------------------------------------

    def _manage(self, symbol: str, now_ms: int, signal: Signal | None = None) -> None:
        """The exit rules, in the order of their numbers; the first that acts is the last that is asked."""
        if symbol not in self.portfolio.positions:
            return
        if self._flees(symbol, now_ms):
            return
        if self.settings.exits.only_rests and self.settings.margin is None:  # a target of futures may stop resting
            return
        known, price = self._known_levels(symbol), self.marks.get(symbol)
        if known is None or price is None or now_ms < self._retry_ms.get(symbol, 0):
            return
        if not self._knows_orders(symbol, now_ms):
            return
        held, levels = known
        exits, instrument = self.settings.exits, self.instruments[symbol]
        action: Action | None = on_price(price, held, levels, exits, instrument)
        if action is None and signal is not None and symbol in self.courses:
            action = on_reversal(price, held, self.courses[symbol], exits)
        action = action or on_time(price, now_ms, held, exits)
        if action is None and signal is not None and self._opposes(signal, held.direction):
            action = Leave("opposite")
        if action is not None:
            self._act(symbol, action, now_ms)

    def calm_prices(self, now_ms: int) -> tuple[int, dict[str, tuple[Decimal, Decimal]]] | None:
        """Until when, and between which prices of each watched symbol, exclusive, marks would change only themselves.

        The time is that of the next exit by time; the end of the hour, with which the breaker begins a new one, is not
        in it. It holds while all of them stay there and nothing else comes; None when any mark might. So a driver of
        a backtest need not tell every price, if it tells the last one before anything else happens.
        """
        calm, equity = self.breaker.calm(now_ms), self.equity()
        if calm is None or equity is None or not calm[0] < equity <= calm[1] or self.mark_prices:
            return None
        (floor, peak), until_ms = calm, NEVER_MS
        if self._shares_margin() and not self._is_ample(floor):
            return None
        shares, ranges = self._shares_of_room(), {}
        for symbol in self._watched | shares.keys():
            low, high, exits_ms = self._calm_for_exits(symbol, now_ms)
            if symbol in shares:
                mark, share = self.marks[symbol], shares[symbol]
                falls, rises = mark - (equity - floor) * share, mark + (peak - equity) * share
                low, high = max(low, min(falls, rises)), min(high, max(falls, rises))
            ranges[symbol] = low, high
            until_ms = min(until_ms, exits_ms)
        return until_ms, ranges

    def _shares_of_room(self) -> dict[str, Decimal]:
        """For each symbol that equity moves with, the change of its price that changes equity by that symbol's share of
        one, or a little less. What is left over of coins gets little: it moves little."""
        owned = {symbol: amount for symbol in self.settings.symbols if (amount := self._owned(symbol))}
        left_over = owned.keys() - self._watched
        watched = len(owned) - len(left_over)
        rest = (CALM_SHARE - LEFT_OVER_SHARE * len(left_over)) / watched if watched else ZERO
        each = LEFT_OVER_SHARE if watched else CALM_SHARE / max(len(left_over), 1)
        return {symbol: (each if symbol in left_over else rest) / amount for symbol, amount in owned.items()}

    def turns_calmly(self, hour: int, prices: Mapping[str, tuple[Decimal, Decimal]]) -> bool:
        """Whether nothing follows from the beginning of the next hour, if it begins with marks between these."""
        worst, best = dict(self.marks), dict(self.marks)
        for symbol, (low, high) in prices.items():
            worst[symbol], best[symbol] = (low, high) if self._owned(symbol) >= 0 else (high, low)
        least, most = self._equity_at(worst), self._equity_at(best)
        return least is not None and most is not None and self.breaker.turns_calmly(hour, least, most)

    def equity_lever(self, symbols: Iterable[str]) -> tuple[Decimal, dict[str, Decimal]] | None:
        """How equity hangs on the prices of symbols: what it would be if all of them were 0, and what to add for each 1
        of each one's price. None when another price is missing."""
        amounts = {symbol: self._owned(symbol) for symbol in symbols}
        still = self._equity_at({**self.marks, **dict.fromkeys(amounts, ZERO)})
        return None if still is None else (still, amounts)

    def only_refuses(self, symbol: str, target: float, score: float, at_ms: int) -> bool:
        """Whether a signal would certainly come to a record and nothing else, as things are. `score` is the most that
        it may have."""
        position, margin, risk = self.portfolio.positions.get(symbol), self.settings.margin, self.settings.risk
        if position is not None:
            return not (self.settings.exits.opposite_score_min > 0 and target * position.direction <= 0)
        if not target or (target < 0 and margin is None):
            return True
        stopped = self.entries_off() or self.breaker.off_text() or self.paused or at_ms < self.cooldown_until_ms
        return bool(stopped) or score < risk.score_min or len(self.portfolio.positions) >= risk.positions_max

    def asks_on_closes(self, symbol: str) -> bool:
        """Whether a position is asked at each close of its candles how they went."""
        return bool(self.settings.exits.reversal_closes) and symbol in self.portfolio.positions

    def may_reverse(self, candle: Candle) -> bool:
        """Whether a position would end with this candle for how its candles went."""
        known, course = self._known_levels(candle.symbol), self.courses.get(candle.symbol)
        if known is None:
            return False
        course = Course(direction=known[0].direction) if course is None else replace(course)
        course.take(candle.high, candle.low, candle.close)
        return on_reversal(candle.close, known[0], course, self.settings.exits) is not None

    def reading_due_ms(self) -> int | None:
        """When the books are next to be compared, if they agree and nothing is on its way."""
        return self._compare_ms if self.books is Books.AGREE and self._may_compare_from_ms() == 0 else None

    def _calm_for_exits(self, symbol: str, now_ms: int) -> tuple[Decimal, Decimal, int]:
        """Between which prices, exclusive, and until when no exit rule has something to do."""
        if symbol not in self.portfolio.positions:
            return ZERO, PRICE_MAX, NEVER_MS
        if self.settings.margin is None:
            low, high = ZERO, PRICE_MAX
            if self.settings.exits.only_rests:
                return low, high, NEVER_MS
        else:
            low, high = self._calm_for_margin(symbol, now_ms)
        known = self._known_levels(symbol)
        if known is None:
            return low, high, NEVER_MS
        held, levels = known
        if levels.nearest is not None and held.direction > 0:
            high = min(high, levels.nearest)
        elif levels.nearest is not None:
            low = max(low, levels.nearest)
        hold_max_ms = self.settings.exits.hold_max_ms
        return low, high, held.opened_ms + hold_max_ms if hold_max_ms else NEVER_MS

    def _known_levels(self, symbol: str) -> tuple[Held, Levels] | None:
        if symbol not in self._levels:
            self._levels[symbol] = self._held_levels(symbol)
        return self._levels[symbol]

    def _opposes(self, signal: Signal, direction: int) -> bool:
        least = self.settings.exits.opposite_score_min
        return least > 0 and signal.target is not None and signal.target * direction <= 0 and signal.score >= least

    def _held_levels(self, symbol: str) -> tuple[Held, Levels] | None:
        """What the rules look at; None while something of the position is on its way or it is leaving anyway."""
        stop = self._quiet_stop(symbol)
        if stop is None or symbol in self._to_leave or symbol in self._to_shrink:
            return None
        held = self._held(symbol)
        return held, levels_of(held, self.settings.exits, self.instruments[symbol], self.fees[symbol].taker)

    def _held(self, symbol: str) -> Held:
        position, instrument = self.portfolio.positions[symbol], self.instruments[symbol]
        assert position.entry_price is not None, f"{symbol} is held and was never bought"
        plan = self._plan(symbol, instrument)
        return Held(
            entry_price=position.entry_price,
            opened_ms=position.opened_ms,
            bought=position.bought,
            sellable=self.own_lots(symbol),
            plan=replace(plan, stop_price=self._stop_price(symbol, plan)),
            taken=self.taken.get(symbol, 0),
            target_rests=any(order.request.purpose is Purpose.TARGET for order in self.orders.open_orders(symbol)),
            direction=position.direction,
        )

    def _quiet_stop(self, symbol: str) -> Order | None:
        """The position's resting stop, when nothing of the symbol is on its way and nothing else is due."""
        if symbol in self._overdue or symbol in self._parts_due:
            return None
        if not self._worth_selling(symbol) or self._keeps_its_stop(symbol):
            return None
        stop = None
        for order in self.orders.open_orders(symbol):
            if order.state is not State.NEW or not order.resting or order.reported or order.id in self._to_ask:
                return None
            if order.request.purpose is Purpose.STOP:
                stop = order
            elif order.request.purpose is not Purpose.TARGET:
                return None
        return stop

    def _keeps_its_stop(self, symbol: str) -> bool:
        """Whether the venue trades nothing of a symbol: it might cancel the stop and take nothing in its place."""
        instrument = self.instruments[symbol]
        return not instrument.trading and not instrument.reduces_only

    def _act(self, symbol: str, action: Action, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        if instrument.reduces_only:
            self._act_on_contracts(symbol, action, now_ms)
            return
        stop = self._quiet_stop(symbol)
        assert stop is not None, "a position without a quiet stop is not managed"
        match action:
            case MoveStop(stop_price=stop_price, why=why):
                order = stop_order(self._next_id(1, "s"), instrument, stop_price, stop.quantity, why)
                self._do(ReplaceOrder(now_ms, stop.name, order))
            case TakePart(quantity=quantity, stage=stage):
                self._free_part(stop, quantity, "part", stage + 1, now_ms)
            case Leave(reason=reason):
                own = max(self.own_lots(symbol), stop.quantity or ZERO)  # what the stop holds fast is there
                quantity = instrument.lots_down(own)
                order = leaving_order(self._next_id(1, "x"), instrument, quantity, Purpose.EXIT, reason)
                self._do(ReplaceOrder(now_ms, stop.name, order))
            case _:
                assert_never(action)

    def _free_part(self, stop: Order, quantity: Decimal, part: str, stage: int, now_ms: int) -> None:
        """First step of selling a part: a smaller stop in place of the old one. The sale follows when it rests."""
        rest = self.own_lots(stop.symbol) - quantity
        self._do(ReplaceOrder(now_ms, stop.name, self._same_stop(stop, rest), part, stage))

    def _same_stop(self, stop: Order, quantity: Decimal) -> OrderRequest:
        """A stop like the resting one, for another quantity."""
        assert stop.request.stop_price is not None, f"{stop.id} is a stop"
        instrument, request = self.instruments[stop.symbol], stop.request
        stop_price = instrument.price_down(stop.request.stop_price)
        return stop_order(self._next_id(1, "s"), instrument, stop_price, quantity, request.reason)

    def _tend_parts(self, symbol: str, now_ms: int) -> None:
        """Second step: what the resting stop does not cover is sold; when the venue will not have it, it is covered
        again. Without a resting stop there is no part any more: protection comes first."""
        if symbol not in self._parts_due or self._part_moves(symbol):
            return
        open_orders, instrument = list(self.orders.open_orders(symbol)), self.instruments[symbol]
        whole = self.own_lots(symbol)
        quantity = whole - sum(((o.quantity or ZERO) - o.filled for o in open_orders), ZERO)
        stop = open_orders[0] if len(open_orders) == 1 and open_orders[0].request.purpose is Purpose.STOP else None
        if stop is None or quantity <= 0 or not instrument.can_close(quantity, stop.request.stop_price or ZERO):
            self._parts_due.pop(symbol)  # done, or the stop was not replaced and nothing was freed
        elif now_ms < self._retry_ms.get(symbol, 0) or self._keeps_its_stop(symbol):
            return
        elif self._refusals.get(symbol, 0) >= HOPELESS:
            self._parts_due.pop(symbol)
            self._do(ReplaceOrder(now_ms, stop.name, self._same_stop(stop, whole)))
        else:
            why, _ = self._parts_due[symbol]
            self._do(SubmitOrder(now_ms, leaving_order(self._next_id(1, "p"), instrument, quantity, Purpose.PART, why)))

    def _part_moves(self, symbol: str) -> bool:
        """Whether a part's smaller stop, or its sale, is on its way."""
        orders = self.orders.open_orders(symbol)
        return any(order.unanswered or order.owed or order.request.purpose is Purpose.PART for order in orders)

    def _tend_wishes(self, symbol: str, now_ms: int) -> None:
        """What breaker or operator want of a position, as soon as nothing of it is on its way."""
        if symbol not in self._to_leave and symbol not in self._to_shrink:
            return
        if self.instruments[symbol].reduces_only:
            if symbol in self._to_leave and self._may_leave(symbol, now_ms) and self._worth_selling(symbol):
                self._leave(symbol, self._to_leave[symbol], now_ms)
            elif symbol in self._to_shrink and self._quiet_stop(symbol) is not None:
                self._shrink_contracts(symbol, now_ms)
            return
        stop = self._quiet_stop(symbol)
        if stop is None or now_ms < self._retry_ms.get(symbol, 0) or self._is_hopeless(symbol):
            return
        if not self._knows_orders(symbol, now_ms):
            return
        if symbol in self._to_leave:
            self._act(symbol, Leave(self._to_leave[symbol]), now_ms)
        elif symbol in self._to_shrink:
            held, price = self._held(symbol), self.marks.get(symbol)
            half = min(self.portfolio.positions[symbol].quantity, held.sellable) / 2
            quantity = None if price is None else sellable_part(half, held, price, self.instruments[symbol])
            if quantity is None:
                self._to_shrink.discard(symbol)  # too small to be halved
            else:
                self._free_part(stop, quantity, SHRINK, held.taken, now_ms)

    # -- orders -----------------------------------------------------------------------------------------------

    def _enter(self, approved: Approved, at_ms: int) -> None:
        """Entry and protection in one request where the symbol allows it; else protection follows the fill."""
        instrument = self.instruments[approved.symbol]
        plan = approved.plan
        self._do(RecordPlan(at_ms, approved.symbol, plan.stop_price, plan.target_price))
        entry = OrderRequest(
            client_order_id=self._next_id(1, "e"),
            symbol=approved.symbol,
            side=Side.BUY if approved.direction > 0 else Side.SELL,
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
            stop_order(self._next_id(offset + 1, "s"), instrument, plan.stop_price, quantity),
        )

    # -- standing duties: what is due whatever came ------------------------------------------------------------

    def _duties(self, now_ms: int) -> None:
        self._tend_breaker(now_ms)
        from_ms = self.acts_from_ms()
        if from_ms is not None:
            for symbol in list(self.portfolio.positions):  # first: what is overdue decides over its orders
                self._tend_position(symbol, now_ms, acts=now_ms >= from_ms)
        if from_ms is not None and now_ms >= from_ms:
            for order in list(self.orders.open_orders()):
                self._tend_order(order, now_ms)
            for symbol in list(self.portfolio.positions):
                self._tend_parts(symbol, now_ms)
                self._tend_wishes(symbol, now_ms)
            self._tend_books(now_ms)
        self._tend_watches(now_ms)

    def _tend_order(self, order: Order, now_ms: int) -> None:
        if _due(self._ask_ms(order), now_ms):
            self._do(QueryOrder(now_ms, order.symbol, order.name, order.request.type in CONDITIONAL))
        if order.order_id is not None and _due(order.read_fills_ms, now_ms):  # else it is asked for, see `_ask_ms`
            conditional = order.request.type in CONDITIONAL
            self._do(ReadFills(now_ms, order.symbol, order.name, order.order_id, conditional))
        if _due(self._cancel_ms(order), now_ms):
            self._do(CancelOrder(now_ms, order.symbol, order.name, order.request.type in CONDITIONAL))

    def _ask_ms(self, order: Order) -> int | None:
        """When the venue is to be asked what became of the order."""
        asked_for_ms, alone_ms = self._to_learn_ms(order), self._ask_alone_ms(order)
        if asked_for_ms is None or alone_ms is None:
            return alone_ms if asked_for_ms is None else asked_for_ms
        return min(asked_for_ms, alone_ms)

    def _ask_alone_ms(self, order: Order) -> int | None:
        """When an order that lives is asked for because nothing else tells of it."""
        if self.hears or order.state not in (State.NEW, State.PARTIALLY_FILLED):
            return None
        symbol = order.symbol
        wanted = symbol in self._to_leave or symbol in self._to_shrink or symbol in self.unprotected_since
        soon = wanted or order.request.purpose is Purpose.ENTRY
        last_ms = order.asked_ms or order.heard_ms or 0
        return last_ms + (ALONE_ASK_SOON_MS if soon else ALONE_ASK_MS)

    def _knows_orders(self, symbol: str, now_ms: int) -> bool:
        """Whether what becomes of a symbol's orders is known well enough to act on: the account's link tells it, or a
        read just did. What can only reduce a position needs no such knowledge."""
        if self.hears:
            return True
        from_ms = self.acts_from_ms()
        if from_ms is None or now_ms < from_ms:
            return False
        return self.instruments[symbol].reduces_only or all(
            order.heard_ms is not None and now_ms - order.heard_ms <= FRESH_MS
            for order in self.orders.open_orders(symbol)
        )

    def _to_learn_ms(self, order: Order) -> int | None:
        """When the order is asked for because something of it is open or in doubt."""
        if order.state is State.IN_DOUBT:
            if order.asked_ms is None:
                return 0
            cap_ms = ASK_CAP_BARE_MS if order.symbol in self.unprotected_since else ASK_CAP_MS
            return order.asked_ms + min(ASK_FIRST_MS << min(order.asks, 8), cap_ms)
        if order.state is State.CANCEL_SENT and order.asked_ms is not None:
            due_ms = order.asked_ms + CANCEL_ANSWER_MS  # sooner, where the answer went with the account's link
            return min(due_ms, self._to_ask.get(order.id, due_ms))
        if self._is_silent_stop(order):
            due_ms = max(self.unprotected_since[order.symbol] + LEG_ASK_MS, (order.asked_ms or 0) + CANCEL_ANSWER_MS)
            return min(due_ms, self._to_ask.get(order.id, due_ms))
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
        if self._is_of_no_use(order):  # one that has begun to fill ends by itself, if all goes well
            due = 0 if order.first_fill_ms is None else order.first_fill_ms + CANCEL_ANSWER_MS
        elif order.request.purpose is not Purpose.EXIT and self._stands_in_the_way(order):
            due = 0  # its quantity is needed for the sale
        elif order.id in self._to_cancel:
            due = 0  # nobody wants it
        elif order.resting and self._falls_short(order) and not self._keeps_its_stop(order.symbol):
            due = 0  # it makes way for a whole one
        elif order.request.purpose is Purpose.ENTRY:
            unwanted = order.symbol in self._to_leave or order.id in self._to_cancel
            unwanted = unwanted or order.symbol not in self.settings.symbols
            due = 0 if unwanted else order.submitted_ms + self.settings.entry_timeout_ms
            if order.first_fill_ms is not None:  # what was bought is not protected before the entry ends
                due = min(due, order.first_fill_ms + self.settings.partial_fill_wait_ms)
        else:
            return None
        if order.cancel_again_ms is not None:
            due = max(due, order.cancel_again_ms)
        elif order.cancelled_ms is not None:
            due = max(due, order.cancelled_ms + CANCEL_ANSWER_MS)
        return due

    def _stands_in_the_way(self, order: Order) -> bool:
        """Whether an order keeps a position from being sold: the sale cannot take its place in one request."""
        instrument = self.instruments[order.symbol]
        if (instrument.reduces_only or not instrument.trading) and order.request.purpose is not Purpose.ENTRY:
            return False
        if order.symbol in self._overdue:
            return True
        if order.symbol not in self._to_leave or order.symbol not in self.portfolio.positions:
            return False
        waits_for_its_price = order.state is State.PARTIALLY_FILLED and order.request.price is not None
        return waits_for_its_price or self._is_hopeless(order.symbol)

    def _is_hopeless(self, symbol: str) -> bool:
        """Whether the venue refused a sale in the stop's place so often that the stop is to be cancelled first. What it
        refuses for anything but the stop, it would refuse after that as well."""
        return symbol in self._to_leave and self._locked_refusals.get(symbol, 0) >= HOPELESS

    def _tend_position(self, symbol: str, now_ms: int, *, acts: bool) -> None:
        guards = list(self._guards(symbol))
        passed = bool(guards) and all(self._is_left_behind(order) for order in guards)
        if guards and symbol in self.marks and passed != (symbol in self._passed):
            self._do(RecordStopPassed(now_ms, symbol, passed))
        if (guards and not passed) or not self._worth_selling(symbol):
            self.unprotected_since.pop(symbol, None)
            return
        since = self.unprotected_since.setdefault(symbol, self._bare_from_ms(symbol, now_ms))
        too_long = symbol not in self._overdue and now_ms >= self._overdue_ms(symbol)
        if too_long:
            self._overdue.add(symbol)
            then = "it was sold by somebody else" if self._lacks(symbol) else "selling it"
            self._alarm(now_ms, "unprotected", f"{symbol} had no resting stop for {now_ms - since} ms: {then}")
        if now_ms < self._look_first_ms.get(symbol, 0):
            return
        self._say_what_is_short(symbol, now_ms)
        # A first sale is not held up by what held up the stop: exits have a greater part of the venue's limits.
        first_sale = too_long and self._refusals.get(symbol, 0) < HOPELESS
        if acts and self._may_act(symbol) and (first_sale or now_ms >= self._retry_ms.get(symbol, 0)):
            (self._cover if self.instruments[symbol].reduces_only else self._protect)(symbol, now_ms)

    def _say_what_is_short(self, symbol: str, now_ms: int) -> None:
        if not self._lacks(symbol):
            self._said_short.discard(symbol)
        elif symbol not in self._said_short:
            self._said_short.add(symbol)
            short, own = self._short[symbol], self.own_lots(symbol)
            text = f"{symbol}: somebody else sold {short:f} of it; no more than {own:f} is protected or sold"
            self._alarm(now_ms, "not-ours-to-sell", text)

    def _bare_from_ms(self, symbol: str, now_ms: int) -> int:
        """From when the bound counts of a position that this process finds without a stop. What an earlier one tried in
        vain is not tried for as long again; where it had tried nothing yet, protection comes first."""
        purposes = {order.request.purpose for order in self.orders.open_orders(symbol)}
        return self.bare_since.get(symbol, now_ms) if purposes and Purpose.ENTRY not in purposes else now_ms

    def _overdue_ms(self, symbol: str) -> int:
        """When a position without a stop is to be sold. One that may rest since we last heard is waited for as long."""
        since = self.unprotected_since[symbol]
        for order in self.orders.open_orders(symbol):
            if order.request.purpose in GUARDS:
                since = max(since, self._unheard.get(order.id, 0))
        return since + self.settings.unprotected_max_ms

    def _may_act(self, symbol: str) -> bool:
        """A new exit is sent when nothing of the symbol is open. When overdue, doubt about the protection does not hold
        it up, where the venue itself would refuse to sell more than there is. Doubt about a sale always does: it might
        be done twice."""
        if self.instruments[symbol].reduces_only:
            return self._may_cover(symbol)
        if self._lacks(symbol) and not self._may_sell_own(symbol):
            return False
        if symbol not in self._overdue or not self._holds_nothing_else(symbol):
            return not self.orders.busy(symbol)
        return all(
            order.finished
            or (order.request.purpose is not Purpose.EXIT and (order.state is State.IN_DOUBT or order.missing_ms))
            for order in self.orders.open_orders(symbol)
        )

    def _may_sell_own(self, symbol: str) -> bool:
        """Whether what somebody else left of a position is enough to be sold."""
        price = self.portfolio.positions[symbol].entry_price or ZERO
        return self.instruments[symbol].can_close(self.own_lots(symbol), price)

    def _holds_nothing_else(self, symbol: str) -> bool:
        """Whether the account is known to hold no base beyond our position, from which a second sale could be made."""
        instrument = self.instruments[symbol]
        sale = instrument.lots_down(self.portfolio.sellable(symbol))
        beyond = self.portfolio.wallet(instrument.base) - sale
        return self.books is Books.AGREE and self._compared_lately() and beyond < instrument.lot_size

    def _compared_lately(self) -> bool:
        """Whether the books agreed after the account's link was lost, if it is."""
        since_ms = self.deaf_since_ms
        return since_ms is None or (self._agreed_ms is not None and self._agreed_ms >= since_ms)

    def _protect(self, symbol: str, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        quantity = self.own_lots(symbol)
        plan = self._plan(symbol, instrument)
        mark = self.marks.get(symbol)
        passed = mark is not None and not plan.stop_price < mark < plan.target_price
        hopeless = self._refusals.get(symbol, 0) >= HOPELESS
        if passed or hopeless or self._must_leave(symbol) or not instrument.oco_allowed:
            reason = self._to_leave.get(symbol, "")
            order = leaving_order(self._next_id(1, "x"), instrument, quantity, Purpose.EXIT, reason)
            self._do(SubmitOrder(now_ms, order))
        else:
            legs = self._legs(instrument, plan, quantity, 1)
            self._do(SubmitList(now_ms, ListType.OCO, self._next_id(1, "l"), legs))

    def _must_leave(self, symbol: str) -> bool:
        return symbol in self._overdue or symbol in self._to_leave

    def _tend_watches(self, now_ms: int) -> None:
        # What is held is watched also when its symbol is no longer among those that are traded.
        for symbol in dict.fromkeys((*self.settings.symbols, *self.portfolio.positions, *sorted(self._watched))):
            wanted = self.involves(symbol)
            if wanted != (symbol in self._watched):
                self._do(WatchPrice(now_ms, symbol, wanted))

    # -- books ------------------------------------------------------------------------------------------------

    def _tend_books(self, now_ms: int) -> None:
        if _due(self._compare_due_ms(), now_ms):
            self._do(ReadAccount(now_ms, self.income_since_ms(), tuple(self._in_question())))

    def _in_question(self) -> Iterable[tuple[str, int]]:
        """Positions that the venue had otherwise in the last reading: it may have closed them while nobody heard it."""
        for symbol, position in self.portfolio.positions.items():
            if position.contract and symbol in self._suspicion:
                yield symbol, position.opened_ms

    def _compare_due_ms(self) -> int | None:
        """When the books are to be compared; None while it is not planned, or something on its way has no bound."""
        may_from_ms = self._may_compare_from_ms()
        if self._compare_ms is None or may_from_ms is None:
            return None
        if not self.hears and not self.portfolio.positions and self.orders.quiet():
            return None  # nothing hangs on it before the link is back
        return max(self._compare_ms, may_from_ms)

    def _may_compare_from_ms(self) -> int | None:
        """Comparing makes sense while nothing is on its way: 0 then, None while an answer is waited for. Fills that are
        owed for too long may never come, and then a difference has to be found out."""
        orders = list(self.orders.open_orders())
        if self._reading_account or any(order.unanswered for order in orders):
            return None
        return max(
            (order.owed_since_ms + OWED_MAX_MS for order in orders if order.owed_since_ms is not None), default=0
        )

    def _on_account(self, event: AccountSnapshot) -> None:
        may_from_ms = self._may_compare_from_ms()
        if may_from_ms is None or may_from_ms > event.at_ms:  # something is on its way: look again when it has come
            self._doubt_books(event.at_ms)
            return
        contracts = {symbol: each.signed_quantity for symbol, each in self.portfolio.positions.items() if each.contract}
        findings = compare(
            self.portfolio.wallets(), self.orders.open_orders(), event.balances, event.open_orders,
            contracts, event.positions, self.settings.symbols,
        )  # fmt: skip
        self.foreign = tuple(finding.text for finding in findings if finding.label is Label.FOREIGN)
        for finding in findings:
            if finding.label is Label.ASK:
                self._to_ask[finding.subject] = event.at_ms
        serious = tuple(f for f in findings if f.label in (Label.DIFFERS, Label.UNKNOWN))
        if any(f.label is Label.ASK for f in findings):
            self._doubt_books(event.at_ms)
            return
        self._look_first_ms.clear()
        self._learn_what_is_short({finding.subject: finding.off for finding in serious})
        if not serious:
            self._books_agree(event.at_ms)
        else:
            self._books_differ(serious, event.at_ms)

    def _books_agree(self, now_ms: int) -> None:
        self._suspicion = frozenset()
        self._agreed_ms = now_ms
        if self.books is not Books.AGREE:
            self._do(RecordBooks(now_ms, ()))

    def _books_differ(self, serious: tuple[Finding, ...], now_ms: int) -> None:
        """A difference counts when its subject differs in two readings, by whatever: a fill may have been on its way
        during the first. Without the account's link there may always be one on its way."""
        before, self._suspicion = self._suspicion, frozenset(finding.subject for finding in serious)
        if before.isdisjoint(self._suspicion):
            self._doubt_books(now_ms)
            return
        if not self.hears:
            self._compare_ms = now_ms + DIFFERS_AGAIN_MS
            return
        texts = tuple(finding.text for finding in serious)
        if self.books is not Books.DIFFER or self.differences != texts:
            off = tuple((finding.subject, finding.off) for finding in serious if finding.off)
            self._do(RecordBooks(now_ms, texts, off))
            self._alarm(now_ms, "books-differ", "; ".join(texts))

    # -- deadlines --------------------------------------------------------------------------------------------

    def _deadlines(self) -> Iterable[int]:
        if self.breaker.settings.stale_data_max_ms and "stale data" not in self.breaker.trips:
            for heard_ms in self._held_heard_ms():
                yield heard_ms + self.breaker.settings.stale_data_max_ms
        from_ms = self.acts_from_ms()
        if from_ms is None:
            return
        for symbol in self.unprotected_since:
            if symbol not in self._overdue:
                yield self._overdue_ms(symbol)
        for due in self._deadlines_of_acts():
            yield max(due, from_ms)

    def _deadlines_of_acts(self) -> Iterable[int]:
        for order in self.orders.open_orders():
            read_fills_ms = order.read_fills_ms if order.order_id is not None else None
            for due in (self._ask_ms(order), read_fills_ms, self._cancel_ms(order)):
                if due is not None:
                    yield due
        for symbol, since in self.unprotected_since.items():
            if self._may_act(symbol):
                yield max(self._retry_ms.get(symbol, since), self._look_first_ms.get(symbol, 0))
        for symbol in self.portfolio.positions:
            if self._waits_to_retry(symbol):
                yield self._retry_ms[symbol]
        if (compare_ms := self._compare_due_ms()) is not None:
            yield compare_ms

    def _waits_to_retry(self, symbol: str) -> bool:
        """Whether something that the venue refused is to be tried again, see `_tend_parts` and `_tend_wishes`."""
        if symbol not in self._retry_ms or self._keeps_its_stop(symbol):
            return False
        if symbol in self._parts_due:
            return not self._part_moves(symbol)
        wished = symbol in self._to_leave or symbol in self._to_shrink
        if self.instruments[symbol].reduces_only:
            return wished and not self._leaves(symbol)
        if not self.hears:  # what a read tells is what is acted on
            return False
        return wished and not self._is_hopeless(symbol) and self._quiet_stop(symbol) is not None


def _due(due_ms: int | None, now_ms: int) -> bool:
    return due_ms is not None and now_ms >= due_ms
