"""The dialogue with the venue, without I/O: commands and arrivals in, requests and events out, whatever the market.

Rules of this file. Reads may be repeated. A write whose answer is lost is never repeated, it becomes `OutcomeUnknown`;
one that certainly did nothing (it never left, the venue was busy, our clock was wrong) is repeated within seconds, or
given back with the time from when on its like may go; one whose link was gone before it left goes over HTTP at once.
Requests are signed when they are taken, not when they are queued. Account state is read only after the account stream
is subscribed, so that nothing falls between the two; a reading during which an account event arrived is thrown away and
made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import assert_never

from surefoot.binance import codec
from surefoot.binance.calls import BUSY_FIRST_MS, RETRY_FIRST_MS, TRIES_MAX, Call, Calls, Read
from surefoot.binance.candles import CandleFeed, closed_rows
from surefoot.binance.clock import VenueClock
from surefoot.binance.dialect import Ask, Dialect, Ended, Ending, Heard, Preparation, Question, Reading
from surefoot.binance.dialogue import (
    ACCOUNT,
    MARKET,
    ORDERS,
    Arrival,
    CloseLink,
    Frame,
    HttpAnswer,
    HttpFailed,
    Keys,
    LinkDown,
    LinkUp,
    OpenLink,
    Request,
    SendText,
    SessionFailed,
    Wake,
)
from surefoot.binance.links import Line, kind_of
from surefoot.binance.numbers import is_off
from surefoot.binance.quotes import read_best
from surefoot.binance.rulebook import RuleBook
from surefoot.binance.watchdog import Watchdog
from surefoot.core.messages import (
    CancelOrder,
    CancelRefused,
    ClockRead,
    Command,
    Event,
    HistoryLoaded,
    IncomePaid,
    InstrumentsLoaded,
    LinkLost,
    LinkRestored,
    MarkPriceTold,
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
    RecordEquity,
    RecordPlan,
    RecordReset,
    RecordStopPassed,
    RecordTransfer,
    RecordTrip,
    ReplaceOrder,
    StreamSilent,
    SubmitList,
    SubmitOrder,
    WatchPrice,
)
from surefoot.core.model import INTERVAL_MS, Instrument, OrderLimit

OFF_TICK_MAX = 20
KEEP_KEY_MS = 1_800_000  # half of what a key of an account stream lives
PRICES_EVERY_MS = 2_000  # where a connection for them is missing
REFUSED_AGAIN_MS = 30_000  # what the venue refuses for a reason of its own is asked for again so much later
RIGHTS = "rights"  # the key's, told as a link to the engine
READINGS_MAX = 5  # disturbed account readings in a row before one is taken as it is

NO_SUCH_ORDER = -2013
BAD_TIMESTAMPS = (-1021, -5028)  # at the door, and where orders are matched
BAD_KEY = -1125
BAD_SYMBOL = -1121
RULE_TEXTS = ("Market is closed", "not supported for this symbol")


# -- state ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """`watch_always` subscribes prices of all symbols for good; else only while the engine wants them.

    `mark_prices` are told beside best prices, where the market has them; a backtest's are its last prices.
    """

    symbols: tuple[str, ...]
    interval: str
    warmup_candles: int
    recv_window_ms: int
    watch_always: bool
    mark_prices: bool = False
    by_socket: bool = False  # writes go by the WebSocket API while its link is there
    context_intervals: tuple[str, ...] = ()  # greater intervals whose past is read once, ahead of the candles
    stream_silence_max_ms: int = 0  # 0: streams may be silent, as those of a replay are
    clock_every_ms: int = 0  # how often the venue's time is asked for; 0: our clock is the market's own
    rereads_rules: bool = False  # of its own accord, not only when something was refused for them
    price_age_max_ms: int = 5_000  # from here on a watched price is read from elsewhere, where streams are watched


@dataclass(frozen=True, slots=True)
class Studied:
    """What came of a study: the symbols are known, or `problem` says why they cannot be traded."""

    problem: str = ""


class Session:
    """One dialogue: `start`, then `receive`, `submit` and `take_requests` in turns. See the module's rules.

    `jitter` returns numbers from 0 to 1. `venue_ms` is the newest time that the venue has told.
    """

    def __init__(self, settings: SessionSettings, keys: Keys, jitter: Callable[[], float], dialect: Dialect) -> None:
        self.settings = settings
        self.venue_ms = 0
        self.clock = VenueClock(settings.clock_every_ms)
        self.calls = Calls(keys, settings.recv_window_ms, jitter, self.clock)
        self._keys = keys
        self._dialect = dialect
        self._interval_ms = INTERVAL_MS[settings.interval]
        self._feeds = {
            symbol: CandleFeed(symbol, self._interval_ms, settings.warmup_candles) for symbol in settings.symbols
        }
        self._context_left = {(symbol, one) for symbol in settings.symbols for one in settings.context_intervals}
        own_link = settings.by_socket and dialect.order_target is not None
        kinds = (*dialect.market_links, ACCOUNT, *((ORDERS,) if own_link else ()))
        self.lines = {kind: Line(kind, jitter, self.calls.jittered) for kind in kinds}
        self._order_line = self.lines[ORDERS if own_link else ACCOUNT] if settings.by_socket else None
        self._watchdogs = {kind: Watchdog(settings.stream_silence_max_ms) for kind in dialect.market_links}
        self._mark_link = dialect.mark_link if settings.mark_prices else None
        self._account_opening = ACCOUNT  # the connection that the key of the account's stream is read for
        self._preparation = dialect.preparation(settings.symbols, ())
        self._requests: list[Request] = []
        self._watched: set[str] = set()
        self._rules = RuleBook(dialect.rules_every_ms if settings.rereads_rules else 0)
        self._tick_sizes: dict[str, Decimal] = {}  # what prices are multiples of; mark prices are not
        self._off_tick: dict[str, int] = {}  # prices in a row that were on no tick
        self._joining: set[tuple[str, int]] = set()  # subscriptions beside a connection's first, not answered yet
        self._holds = self._is_prepared = self._had_account = False
        self._refused_asks: dict[tuple[str, str], bool] = {}  # by method and path: whether the key is at fault
        self._study: Preparation | None = None
        self.studied: Studied | None = None
        self._reading: Reading | None = None
        self._reads = ReadAccount(0)  # why the account is being read
        self._reads_alone = False  # it is read though its stream is not there: the core wants it so
        self._usual_trips = len(dialect.reading(self._reads, None, 0).asks)
        self._income_ms: int | None = None  # of the newest income that was told
        self._keep_key_ms: int | None = None
        self._prices_at_ms: int | None = None  # when prices are read whose connection is missing
        self._history_from_ms: int | None = None  # candles wait for a time that the venue tells from here on
        self._account_events = 0
        self._events_at_reading = 0
        self._disturbed = 0

    # -- the machine ------------------------------------------------------------------------------------------

    def start(self, extra_symbols: Sequence[str] = (), *, holds: bool = False) -> None:
        """Begin: clock, then rules and fees, then the links. `extra_symbols` are held but no longer traded. Where
        something is held, what the venue refuses is asked for again, and what cannot be set stays as it is."""
        self._holds = holds
        self._preparation = self._dialect.preparation(self.settings.symbols, extra_symbols, holds=holds)
        self._read_time()

    def receive(self, arrival: Arrival, now_ms: int) -> list[Event]:
        """What an arrival means to the engine. Raises SessionFailed when a person has to act."""
        match arrival:
            case HttpAnswer():
                return self._on_answer(arrival, now_ms)
            case HttpFailed():
                return self._on_failure(arrival, now_ms)
            case LinkUp():
                return self._on_link_up(arrival, now_ms)
            case LinkDown():
                return self._on_link_down(arrival, now_ms)
            case Frame() if kind_of(arrival.link) == ACCOUNT:
                return self._on_account_frame(arrival, now_ms)
            case Frame() if kind_of(arrival.link) == ORDERS:
                return self._on_order_frame(arrival, now_ms)
            case Frame():
                return self._on_market_frame(arrival, now_ms)
            case Wake():
                return self._on_wake(now_ms)
            case _:
                assert_never(arrival)

    def submit(self, commands: Sequence[Command], now_ms: int) -> None:
        """Turn the engine's requests into calls; its records are not for the venue."""
        for command in commands:
            match command:
                case SubmitOrder() | SubmitList() | CancelOrder() | ReplaceOrder():
                    self.calls.add(Call(self._dialect.write(command), command=command, queued_ms=now_ms))
                case QueryOrder():
                    self._ask(Read.ORDER, command)
                case ReadFills():
                    self._ask(Read.FILLS, command)
                case ReadAccount():
                    self._disturbed, self._reads = 0, command
                    self._reads_alone = not self.lines[ACCOUNT].ready
                    self._income_ms = max(self._income_ms or 0, command.income_since_ms or 0) or None
                    self._begin_reading()
                case WatchPrice():
                    self._watch(command)
                case (
                    RecordDecision()
                    | RecordAlarm()
                    | RecordPlan()
                    | RecordEquity()
                    | RecordTrip()
                    | RecordTransfer()
                    | RecordStopPassed()
                    | RecordReset()
                    | RecordBooks()
                ):
                    pass
                case _:
                    assert_never(command)

    def study(self, symbols: Sequence[str]) -> None:
        """Learn what symbols to come are like; `studied` says what came of it."""
        self.studied = None
        self._study = self._dialect.preparation(symbols, ())
        for ask in self._study.begin():
            self._read(Read.STUDY, ask)

    def adopt(self, settings: SessionSettings, now_ms: int, *, afresh: bool) -> list[Event]:
        """Other settings from now on, for symbols that are known, see `study`.

        `afresh` reads the history of every symbol once more, which is then told anew.
        """
        streams = self._all_streams()
        self.settings = settings
        self._interval_ms = INTERVAL_MS[settings.interval]
        if afresh:
            self._feeds.clear()
            self._context_left.clear()
            self.calls.outdate(Read.CANDLES)
            self.calls.outdate(Read.CONTEXT)
        self._follow(streams, now_ms)
        return self._market_whole(now_ms)

    def _follow(self, streams_before: Mapping[str, Sequence[str]], now_ms: int) -> None:
        """Let candles and streams follow the symbols that are traded or watched, and what is new be read."""
        settings = self.settings
        followed = dict.fromkeys((*settings.symbols, *sorted(self._watched)))
        self._context_left = {each for each in self._context_left if each[0] in followed}
        self._context_left |= {
            (symbol, one) for symbol in followed if symbol not in self._feeds for one in settings.context_intervals
        }
        known, self._feeds = self._feeds, {}
        for symbol in followed:
            self._feeds[symbol] = known.get(symbol) or CandleFeed(symbol, self._interval_ms, settings.warmup_candles)
        waits = self._change_streams(streams_before, now_ms)
        if not waits and self._feeds.keys() - known.keys() and self.lines[MARKET].ready:
            self._ask_for_history(now_ms)

    def _all_streams(self) -> dict[str, list[str]]:
        return {kind: self._streams(kind) for kind in self._dialect.market_links}

    def _change_streams(self, before: Mapping[str, Sequence[str]], now_ms: int) -> bool:
        """Subscribe and unsubscribe what differs; whether the answer is to be waited for before candles are read."""
        waits = False
        for kind, wanted in self._all_streams().items():
            line, watchdog = self.lines[kind], self._watchdogs[kind]
            gone = [stream for stream in before[kind] if stream not in wanted]
            new = [stream for stream in wanted if stream not in before[kind]]
            if not line.up:
                continue
            for stream in gone:
                watchdog.unwant(stream)
            for stream in new:
                watchdog.want_too(stream, now_ms)
            if gone:
                self._requests += line.say(codec.unsubscribe_text(self.calls.next_id(), gone))
            if new:
                reply_id = self.calls.next_id()
                self._requests += line.say(codec.subscribe_text(reply_id, new))
                self._joining.add((kind, reply_id))
                waits = waits or kind == MARKET
        return waits

    @property
    def time_path(self) -> str:
        """Where the venue tells its time."""
        return self._dialect.time().path

    def has_writes(self) -> bool:
        """Whether something that moves money is about to leave: the journal has to be on disk before."""
        return self.calls.has_writes()

    def take_requests(self, now_ms: int) -> list[Request]:
        """All that may leave now, signed with this moment's timestamp."""
        line = self._order_line
        calls = self.calls.take(now_ms, line.name if line is not None and line.ready else None)
        if not calls and not self._requests:
            return []
        requests, self._requests = [*self._requests, *calls], []
        return requests

    def deadline_ms(self) -> int | None:
        """When `receive(Wake())` or `take_requests` has something to do although nothing arrives."""
        due = self.calls.due_ms()
        times = [line.due_ms() for line in self.lines.values()]
        times += [watchdog.look_at_ms for watchdog in self._watchdogs.values()]
        bells = self._keep_key_ms, self._prices_at_ms, self.clock.ask_at_ms, self._rules.look_at_ms
        for each in (*times, *bells):
            if each is not None and (due is None or each < due):
                due = each
        return due

    def stream_ages_ms(self, now_ms: int) -> list[tuple[str, int]]:
        """The watched streams by name, and how long each has been silent."""
        return sorted(age for watchdog in self._watchdogs.values() for age in watchdog.ages_ms(now_ms))

    def idle(self, now_ms: int) -> bool:
        """Whether nothing is waiting for an answer and nothing could leave now."""
        return not self._requests and self.calls.idle(now_ms)

    def is_level(self, symbol: str, open_ms: int) -> bool:
        """Whether the candle that opens then is the next that a symbol's stream has to tell."""
        feed = self._feeds[symbol]
        return feed.caught_up and feed.next_open_ms == open_ms

    def pass_candles(self, symbol: str, next_open_ms: int) -> None:
        """A driver of a backtest has passed over a symbol's candles: the next that comes is this one."""
        self._feeds[symbol].pass_to(next_open_ms)

    def withdraw_entries(self, now_ms: int) -> list[Event]:
        """Take back entries that have not left: they could not be made durable. Exits and protection stay."""
        withdrawn = self.calls.take_back_entries()
        return [event for call in withdrawn for event in self._refused(call, None, "not sent: no journal", now_ms)]

    # -- calls ------------------------------------------------------------------------------------------------

    def _read(self, read: Read, ask: Ask, symbol: str = "") -> None:
        self.calls.add(Call(ask, read, symbol=symbol))

    def _read_time(self) -> None:
        if not self.calls.is_queued(Read.TIME):
            self._read(Read.TIME, self._dialect.time())

    def _ask(self, read: Read, command: Question) -> None:
        ask = self._dialect.question(command)
        if not any(call.read is read and call.ask == ask for call in self.calls.pending()):
            self.calls.add(Call(ask, read, command))

    def _on_answer(self, answer: HttpAnswer, now_ms: int) -> list[Event]:
        call = self.calls.answered(answer)
        self.clock.bound_answer(answer.headers, call.sent_ms, now_ms)
        if 200 <= answer.status < 300:
            self.calls.count(call, "done", now_ms - call.sent_ms)
            mended = self._no_longer_refused(call, now_ms)
            return mended if call.outdated else mended + self._on_success(call, answer.body, now_ms)
        error = codec.read_error(answer.status, answer.body)
        kind = self._dialect.outcome(answer.status, error)
        self.calls.count(call, kind, now_ms - call.sent_ms)
        limited = self.calls.limited(answer, error, kind, now_ms)
        told: list[Event] = [] if limited is None else [limited]
        if error.code in BAD_TIMESTAMPS:
            self._read_time()
        if call.outdated:
            return told
        if call.read is not None:
            return told + self._on_read_refused(call, error, kind, now_ms)
        first_ms = BUSY_FIRST_MS if kind == "busy" else RETRY_FIRST_MS
        if _is_unjudged(error, kind) and self._may_repeat(call, now_ms, first_ms):
            return told
        events = self._on_write_refused(call, answer.body, error, kind, now_ms)
        self._doubt_rules(call.command, events, now_ms)
        return told + events

    def _on_failure(self, failure: HttpFailed, now_ms: int) -> list[Event]:
        if not self.calls.waits_for(failure.request_id):  # given up with its link, and asked about by now
            return []
        call = self.calls.failed(failure)
        if call.outdated:
            return []
        if call.read is not None:
            return self._repeat(call, failure.text, now_ms)
        if failure.sent:
            return self._outcome_unknown(call, failure.text, now_ms)
        if call.link is not None:  # it was gone already: the same order over HTTP, at once
            call.http_only = True
            self.calls.add(call)
            return []
        if self._may_repeat(call, now_ms):
            return []
        return self._not_done(call, None, f"not sent: {failure.text}", now_ms)

    def _may_repeat(self, call: Call, now_ms: int, first_ms: int = RETRY_FIRST_MS) -> bool:
        """Queue again what did nothing. A cancel-replace is told half by half, so that it is left to the core."""
        return not isinstance(call.command, ReplaceOrder) and self.calls.repeat_write(call, now_ms, first_ms)

    # -- answers to writes ------------------------------------------------------------------------------------

    def _on_write_refused(
        self, call: Call, body: bytes, error: codec.VenueError, kind: str, now_ms: int
    ) -> list[Event]:
        command = call.command
        if isinstance(command, SubmitOrder | SubmitList | CancelOrder | ReplaceOrder):
            try:
                half_done = self._dialect.half_done(command, error, body, now_ms)
            except codec.BadFrame as problem:
                return self._outcome_unknown(call, str(problem), now_ms)
            if half_done is not None:
                return half_done
        if kind == "unknown":
            return self._outcome_unknown(call, error.text, now_ms)
        if error.code in self._dialect.fatal and error.code != BAD_SYMBOL:  # no word on the order itself
            refused = self._refused(call, error.code, error.text, now_ms, now_ms + REFUSED_AGAIN_MS)
            return refused + self._say_refused(call.ask, error, now_ms)
        answer = self._not_done if _is_unjudged(error, kind) else self._refused
        return answer(call, error.code, error.text, now_ms)

    def _outcome_unknown(self, call: Call, text: str, now_ms: int) -> list[Event]:
        return [OutcomeUnknown(now_ms, order_id, text, call.sent_ms) for order_id in _orders_of(call.command)]

    def _not_done(self, call: Call, code: int | None, text: str, now_ms: int) -> list[Event]:
        """The venue did not judge it: it never left, or came while nothing was taken of us."""
        return self._refused(call, code, text, now_ms, self.calls.free_ms(call, now_ms))

    def _refused(
        self, call: Call, code: int | None, text: str, now_ms: int, again_ms: int | None = None
    ) -> list[Event]:
        if isinstance(call.command, CancelOrder):
            return [CancelRefused(now_ms, call.command.client_order_id, code, text, again_ms)]
        if isinstance(call.command, ReplaceOrder):  # neither half was tried
            new_id = call.command.order.client_order_id
            return [
                CancelRefused(now_ms, call.command.cancel_id, code, text, again_ms),
                OrderRejected(now_ms, new_id, code, text, again_ms),
            ]
        return [OrderRejected(now_ms, order_id, code, text, again_ms) for order_id in _orders_of(call.command)]

    def _on_success(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        try:
            return self._understand(call, body, now_ms)
        except codec.BadFrame as problem:
            if call.read is None:  # it was done, but we cannot read what: the venue has to be asked
                return self._outcome_unknown(call, str(problem), now_ms)
            return [PriceDropped(now_ms, str(problem)), *self._repeat(call, str(problem), now_ms)]

    def _understand(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        match call.command:
            case SubmitOrder() | SubmitList() | CancelOrder() | ReplaceOrder() | QueryOrder() | ReadFills():
                events, besides = self._dialect.understand(call.ask, call.command, body, now_ms)
                if besides is not None:
                    self.calls.add(Call(besides, Read.ORDER, call.command))
                return events
            case _:
                return self._on_read(call, body, now_ms)

    # -- answers to reads -------------------------------------------------------------------------------------

    def _on_read(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        match call.read:
            case Read.TIME:
                return self._on_time(codec.read_time(body), call, now_ms)
            case Read.PREPARATION:
                for ask in self._preparation.take(call.ask, body):
                    self._read(Read.PREPARATION, ask)
                return self._prepared(now_ms)
            case Read.STUDY:
                return self._on_study(call, body, now_ms)
            case Read.RULES:
                known = self._rules.known([call.symbol] if call.symbol else self._feeds)
                return self._on_rules(self._dialect.read_rules(call.ask, body, known), now_ms)
            case Read.CANDLES:
                return self._on_candle_page(call, body, now_ms)
            case Read.CONTEXT:
                return self._on_context(call, body, now_ms)
            case Read.ACCOUNT:
                return self._on_account_read(call, body, now_ms)
            case Read.INCOME:
                return self._on_income(list(self._dialect.read_income(body, now_ms)))
            case Read.ACCOUNT_KEY:
                self._keep_key_ms = now_ms + KEEP_KEY_MS
                self._requests.append(OpenLink(self._account_opening, self._dialect.account_target(body)))
                return []
            case Read.PRICE:
                best = read_best(body)
                return self._on_price(now_ms, best.symbol, best.bid[0], best.ask[0], call.sent_ms)
            case Read.MARK_PRICE:
                mark = self._dialect.read_mark_price(body)
                source_ms = call.sent_ms if mark.event_ms is None else self.clock.heard(mark.event_ms, now_ms)
                return [MarkPriceTold(now_ms, mark.symbol, mark.price, source_ms)]
            case Read.KEEP_KEY:
                return []
            case _:
                raise AssertionError(f"no reader for {call.read}")

    def _on_study(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        study = self._study
        assert study is not None, "something is studied"
        try:
            for ask in study.take(call.ask, body):
                self._read(Read.STUDY, ask)
        except SessionFailed as problem:
            return self._study_failed(str(problem))
        rules = study.rules()
        if rules is None:
            return []
        self._study, self.studied = None, Studied()
        self._learn_ticks(rules.instruments)
        self._rules.learn(rules.instruments, now_ms)
        return [InstrumentsLoaded(now_ms, rules.instruments, tuple(sorted(rules.fees.items())))]

    def _study_failed(self, problem: str) -> list[Event]:
        self.calls.outdate(Read.STUDY)
        self._study, self.studied = None, Studied(problem)
        return []

    def _on_study_refused(self, call: Call, error: codec.VenueError, now_ms: int) -> list[Event]:
        assert self._study is not None, "something is studied"
        try:
            if self._study.is_fine(call.ask, error):
                return self._on_study(call, b"", now_ms)
        except SessionFailed as problem:
            return self._study_failed(str(problem))
        return self._study_failed(f"the venue refuses {call.ask.path}: {error.code} {error.text}")

    def _on_read_refused(self, call: Call, error: codec.VenueError, kind: str, now_ms: int) -> list[Event]:
        if kind != "refused" or error.code in BAD_TIMESTAMPS:
            return self._repeat(call, f"{error.code} {error.text}", now_ms)
        if isinstance(call.command, QueryOrder) and error.code == NO_SUCH_ORDER:
            return [OrderNotFound(now_ms, call.command.client_order_id)]
        if call.read is Read.RULES:
            return self._on_rules_refused(call, error, now_ms)
        if call.read is Read.STUDY:
            return self._on_study_refused(call, error, now_ms)
        if call.read is Read.PREPARATION and self._preparation.is_fine(call.ask, error):
            return self._on_read(call, b"", now_ms)
        if call.read is Read.KEEP_KEY and error.code == BAD_KEY:
            name = self.lines[ACCOUNT].name
            return self._give_up_link(name, "the venue no longer knows the key of this stream", now_ms)
        if not self._is_prepared and not self._holds:
            raise SessionFailed(self._advice(call.ask, error))
        said = self._say_refused(call.ask, error, now_ms)
        if isinstance(call.command, QueryOrder):
            return [*said, OutcomeUnknown(now_ms, call.command.client_order_id, error.text)]
        if not isinstance(call.command, ReadFills):  # those the engine asks for anew
            self.calls.later(call, now_ms + REFUSED_AGAIN_MS)
        return said

    def _advice(self, ask: Ask, error: codec.VenueError) -> str:
        advice = self._dialect.fatal.get(error.code or 0, f"the venue refuses {ask.method} {ask.path}")
        return f"{advice} ({error.code} {error.text})"

    def _say_refused(self, ask: Ask, error: codec.VenueError, now_ms: int) -> list[Event]:
        """A refusal that a person has to do something about is said once. Where it is the key's fault, it is the end of
        entries; what is held is looked after as far as the venue lets us."""
        where = ask.method, ask.path
        by_key = error.code in self._dialect.fatal and error.code != BAD_SYMBOL
        was_by_key = self._refused_asks.get(where)
        self._refused_asks[where] = by_key or bool(was_by_key)
        if was_by_key or was_by_key == by_key:
            return []
        if not by_key:
            return [LinkLost(now_ms, "venue", self._advice(ask, error))]
        text = f"{self._advice(ask, error)}; restart if entries stay off when that is mended"
        return [LinkLost(now_ms, RIGHTS, text)]

    def _no_longer_refused(self, call: Call, now_ms: int) -> list[Event]:
        """What is answered again; a key that any order is taken of is as it was."""
        if not self._refused_asks:
            return []
        was_by_key, where = any(self._refused_asks.values()), (call.ask.method, call.ask.path)
        self._refused_asks = {
            each: by_key
            for each, by_key in self._refused_asks.items()
            if each != where and not (by_key and call.read is None)
        }
        return [LinkRestored(now_ms, RIGHTS)] if was_by_key and not any(self._refused_asks.values()) else []

    def _repeat(self, call: Call, text: str, now_ms: int) -> list[Event]:
        """Read again later. A query gives up after some tries and leaves asking to the engine; before the first answer
        of all, giving up is for a person to know."""
        call.tries += 1
        if call.tries >= TRIES_MAX:
            if isinstance(call.command, QueryOrder):
                return [OutcomeUnknown(now_ms, call.command.client_order_id, text)]
            if isinstance(call.command, ReadFills):
                return []
            if call.read is Read.RULES:  # its time comes again
                return []
            if call.read is Read.STUDY:
                return self._study_failed(f"the venue does not answer ({text})")
            if not self.venue_ms:
                raise SessionFailed(f"the venue does not answer ({text}): check the network and the address")
        self.calls.repeat(call, now_ms)
        return []

    def _on_time(self, server_ms: int, call: Call, now_ms: int) -> list[Event]:
        self.clock.told(server_ms, call.sent_ms, now_ms)
        first = not self.venue_ms
        self.venue_ms = max(self.venue_ms, server_ms)
        if self._history_from_ms is not None and call.sent_ms >= self._history_from_ms:
            self._history_from_ms = None
            self._read_history(now_ms)
        if first:
            for ask in self._preparation.begin():
                self._read(Read.PREPARATION, ask)
        return [ClockRead(now_ms, self.clock.offset_ms, self.clock.error_ms)]

    def _hear_time(self, venue_ms: int, now_ms: int) -> int:
        self.venue_ms = max(self.venue_ms, venue_ms)
        return self.clock.heard(venue_ms, now_ms)

    def _prepared(self, now_ms: int) -> list[Event]:
        rules = self._preparation.rules()
        if rules is None:
            return []
        self._is_prepared = True
        self.calls.budget.announce(rules.limits)
        self._learn_ticks(rules.instruments)
        self._rules.learn(rules.instruments, now_ms)
        for line in self.lines.values():
            line.open()
        self._open_wanted()
        self._await_prices(now_ms)
        limits = tuple(OrderLimit(each.interval_ms, each.limit) for each in rules.limits if each.kind == "orders")
        return [InstrumentsLoaded(now_ms, rules.instruments, tuple(sorted(rules.fees.items())), limits)]

    # -- rules that change ------------------------------------------------------------------------------------

    def _read_rules(self, symbols: Sequence[str]) -> None:
        for ask in self._dialect.rules(symbols) if symbols else ():
            if not any(call.read is Read.RULES and call.ask == ask for call in self.calls.pending()):
                self._read(Read.RULES, ask, dict(ask.params).get("symbol", ""))

    def _doubt_rules(self, command: Command | None, events: Sequence[Event], now_ms: int) -> None:
        """What was refused for a symbol's rules may have other rules by now."""
        if any(isinstance(event, OrderRejected) and self._is_about_rules(event) for event in events):
            self._read_rules(self._rules.doubted(_symbols_of(command), now_ms))

    def _is_about_rules(self, refusal: OrderRejected) -> bool:
        return refusal.code in self._dialect.rule_codes or any(each in refusal.text for each in RULE_TEXTS)

    def _on_rules(self, instruments: Sequence[Instrument], now_ms: int) -> list[Event]:
        news = self._rules.news(instruments)
        self._learn_ticks(news)
        return [InstrumentsLoaded(now_ms, news, ())] if news else []

    def _on_rules_refused(self, call: Call, error: codec.VenueError, now_ms: int) -> list[Event]:
        """A symbol that the venue no longer knows is not traded any more."""
        gone = self._rules.known([call.symbol]) if error.code == BAD_SYMBOL else ()
        return self._on_rules([replace(each, trading=False) for each in gone], now_ms)

    def _learn_ticks(self, instruments: Sequence[Instrument]) -> None:
        self._tick_sizes |= {each.symbol: each.tick_size for each in instruments}

    def _open_wanted(self) -> None:
        """Open the connections that are wanted; the account's may need a key first."""
        for line in self.lines.values():
            names, line.to_open = line.to_open, []
            for name in names:
                key = self._dialect.account_key() if line.kind == ACCOUNT else None
                if line.kind == ORDERS:
                    self._requests.append(OpenLink(name, self._dialect.order_target or ""))
                elif line.kind != ACCOUNT:
                    self._requests.append(OpenLink(name, self._dialect.market_links[line.kind]))
                elif key is None:
                    self._requests.append(OpenLink(name, self._dialect.account_target(b"")))
                else:
                    self._account_opening = name
                    self._read(Read.ACCOUNT_KEY, key)

    # -- the account, read at a quiet moment --------------------------------------------------------------------

    def reading_trips(self) -> int | None:
        """How many requests one after the other the next reading takes in which nothing is in question and nothing
        disturbs it; None when it will ask for more than is usual."""
        trips = len(self._dialect.reading(ReadAccount(0), None, 0).asks)
        return trips if trips == self._usual_trips else None

    def _begin_reading(self) -> None:
        if any(call.read is Read.ACCOUNT for call in self.calls.pending()):
            return
        self._events_at_reading = self._account_events
        self._reading = self._dialect.reading(self._reads, self._income_ms, self.venue_ms)
        self._read(Read.ACCOUNT, self._reading.asks[0])

    def _on_account_read(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        reading = self._reading
        assert reading is not None, "the account is being read"
        reading.take(call.ask, body, now_ms)
        next_step = 1 + next(at for at, ask in enumerate(reading.asks) if ask is call.ask)
        if next_step < len(reading.asks):
            self._read(Read.ACCOUNT, reading.asks[next_step])
            return []
        if not self.lines[ACCOUNT].ready and not self._reads_alone:
            return []
        if self._events_at_reading != self._account_events and self._disturbed < READINGS_MAX:
            self._disturbed += 1
            self._begin_reading()
            return []
        return self._on_income(reading.events(now_ms))

    def _on_income(self, events: list[Event]) -> list[Event]:
        paid_ms = max((event.paid_ms for event in events if isinstance(event, IncomePaid)), default=0)
        self._income_ms = max(self._income_ms or 0, paid_ms) or None
        return events

    def _read_income(self) -> None:
        ask = self._dialect.income(self._income_ms, self.venue_ms)
        if ask is not None and not any(call.read is Read.INCOME for call in self.calls.pending()):
            self._read(Read.INCOME, ask)

    # -- links ------------------------------------------------------------------------------------------------

    def _on_link_up(self, arrival: LinkUp, now_ms: int) -> list[Event]:
        line, reply_id = self.lines[kind_of(arrival.link)], self.calls.next_id()
        if not line.went_up(arrival.link, reply_id, now_ms):
            return []
        text: str | None
        if line.kind == ACCOUNT:
            venue_ms = self.clock.venue_ms(now_ms)
            text = self._dialect.account_hello(reply_id, self._keys, self.settings.recv_window_ms, venue_ms)
        else:
            streams = self._streams(line.kind)
            text = codec.subscribe_text(reply_id, streams) if streams else None
        if text is None:
            return self._link_ready(arrival.link, now_ms)
        self._requests.append(SendText(arrival.link, text))
        return []

    def _streams(self, link: str) -> list[str]:
        """What a connection for market data is to carry."""
        streams = []
        if link == MARKET:
            streams += [codec.kline_stream(symbol, self.settings.interval) for symbol in self._feeds]
        if link == self._dialect.book_link:
            streams += [codec.book_stream(symbol) for symbol in self._wanted_books()]
        if link == self._mark_link:
            streams += [codec.mark_price_stream(symbol) for symbol in self._wanted_books()]
        return streams

    def _on_link_down(self, arrival: LinkDown, now_ms: int) -> list[Event]:
        lost = self._lost_with(arrival.link, now_ms)
        line = self.lines[kind_of(arrival.link)]
        if not line.went_down(arrival.link, now_ms) or line.kind == ORDERS:
            return lost
        # The engine knows one link to the market, however many connections that is.
        told = self.lines[ACCOUNT if line.kind == ACCOUNT else MARKET]
        was_announced, told.announced = told.announced, False
        if line.kind in self._watchdogs:
            self._watchdogs[line.kind].rest()
            self._await_prices(now_ms)
            self._joining = {each for each in self._joining if each[0] != line.kind}
        if line.kind == MARKET:
            self._history_from_ms = None
            for feed in self._feeds.values():
                feed.link_lost()
            self.calls.outdate(Read.CANDLES)
            self.calls.outdate(Read.CONTEXT)
        elif line.kind == ACCOUNT:
            self._account_events += 1  # what is being read may miss what the stream will not tell
            self._keep_key_ms = None
            if was_announced:  # else it is read without a stream, and goes on
                self.calls.forget(Read.ACCOUNT)
                self._reads_alone = False
        return [*lost, *([LinkLost(now_ms, told.kind, arrival.text)] if was_announced else [])]

    def _lost_with(self, name: str, now_ms: int) -> list[Event]:
        """What left by a connection and will not be answered."""
        text = "the link ended before the answer came"
        return [event for call in self.calls.lost_with(name) for event in self._outcome_unknown(call, text, now_ms)]

    def _close_or_open(self, requests: Sequence[Request], now_ms: int) -> list[Event]:
        """What a line wants; by a connection that it closes nothing is answered any more."""
        self._requests += requests
        closed = [request.link for request in requests if isinstance(request, CloseLink)]
        return [event for name in closed for event in self._lost_with(name, now_ms)]

    def _on_wake(self, now_ms: int) -> list[Event]:
        late = self.calls.take_late()
        text = "not sent: the venue's limits would have held it up"
        events = [event for call in late for event in self._not_done(call, None, text, now_ms)]
        self._hold_lines()
        for line in self.lines.values():
            requests, unanswered = line.wake(now_ms)
            events += self._close_or_open(requests, now_ms)
            if unanswered is not None:
                events += self._give_up_link(unanswered, "the subscription was not answered", now_ms)
        for name in sorted(self.calls.overdue_links(now_ms)):
            events += self._give_up_link(name, "an order was not answered", now_ms)
        self._open_wanted()
        for kind, watchdog in self._watchdogs.items():
            if watchdog.look_at_ms is not None and now_ms >= watchdog.look_at_ms:
                events += self._look_at_streams(kind, watchdog, now_ms)
        if self._prices_at_ms is not None and now_ms >= self._prices_at_ms:
            self._read_missing_prices(now_ms)
        if self.clock.is_due(now_ms):
            self._read_time()
        if self._rules.look_at_ms is not None and now_ms >= self._rules.look_at_ms:
            self._read_rules(self._rules.due(self._feeds, self._watched, now_ms))
        keep = self._dialect.keep_key()
        if keep is not None and self._keep_key_ms is not None and now_ms >= self._keep_key_ms:
            self._keep_key_ms = now_ms + KEEP_KEY_MS
            self._read(Read.KEEP_KEY, keep)
        return events

    def _hold_lines(self) -> None:
        """Connections of the WebSocket API count like requests: while the venue has too much of us, none is opened."""
        for line in self.lines.values():
            if line.kind == ORDERS or (line.kind == ACCOUNT and self._dialect.account_key() is None):
                line.hold(self.calls.held_until_ms)

    def _give_up_link(self, name: str, text: str, now_ms: int) -> list[Event]:
        self._requests.append(CloseLink(name))
        return self._on_link_down(LinkDown(name, text), now_ms)

    def _replace_link(self, name: str, now_ms: int) -> list[Event]:
        """The venue will end this connection soon."""
        line = self.lines[kind_of(name)]
        if line.name != name:
            return []
        self._hold_lines()
        events = self._close_or_open(line.replace(now_ms), now_ms)
        self._open_wanted()
        return events

    def _link_ready(self, name: str, now_ms: int) -> list[Event]:
        """What was asked of a connection is granted, or there is nothing to ask."""
        line = self.lines[kind_of(name)]
        if not line.subscribed(name, now_ms):
            return []
        if line.kind == ACCOUNT:
            line.announced = self._had_account = True
            self._account_events += 1  # what is being read began before the stream told everything
            return [LinkRestored(now_ms, ACCOUNT)]
        if line.kind == ORDERS:
            return []
        self._watchdogs[line.kind].want(self._streams(line.kind), now_ms)
        if line.kind != MARKET:
            return self._market_whole(now_ms)
        self._ask_for_history(now_ms)
        return []

    def _ask_for_history(self, now_ms: int) -> None:
        """The time comes first: what has closed before is read, and what closes after that, the streams tell."""
        self._history_from_ms = now_ms
        self.calls.forget(Read.TIME)  # it may be waiting to be repeated
        self._read_time()

    def _read_history(self, now_ms: int) -> None:
        if self._context_left:
            self._read_context()
        else:
            self._start_feeds(now_ms)

    # -- streams that are silent ------------------------------------------------------------------------------

    def _look_at_streams(self, kind: str, watchdog: Watchdog, now_ms: int) -> list[Event]:
        """All silent: the connection is given up. Some: they are subscribed anew, and what they missed is read."""
        for symbol in self._wanted_books():
            if kind == self._dialect.book_link and self._is_old(watchdog, codec.book_stream(symbol), now_ms):
                self._read_price(Read.PRICE, self._dialect.best_prices(symbol), symbol)
            if kind == self._mark_link and self._is_old(watchdog, codec.mark_price_stream(symbol), now_ms):
                self._read_price(Read.MARK_PRICE, self._dialect.mark_price(symbol), symbol)
        silent, whole = watchdog.look(now_ms)
        if whole:
            text = f"silent for {watchdog.silence_max_ms // 1_000} s"
            return self._give_up_link(self.lines[kind].name, text, now_ms)
        if silent:
            for say in (codec.unsubscribe_text, codec.subscribe_text):
                self._requests += self.lines[kind].say(say(self.calls.next_id(), silent))
        for feed in self._feeds.values():
            if codec.kline_stream(feed.symbol, self.settings.interval) in silent:
                feed.start_reading(self.clock.venue_ms(now_ms))
                self._ask_for_history(now_ms)
        return [StreamSilent(now_ms, stream, watchdog.silence_max_ms) for stream in silent]

    def _await_prices(self, now_ms: int) -> None:
        """A connection for market data is missing: unless it comes soon, prices are read, where streams are watched."""
        if self.settings.stream_silence_max_ms and self._prices_at_ms is None:
            self._prices_at_ms = now_ms + PRICES_EVERY_MS

    def _read_missing_prices(self, now_ms: int) -> None:
        """What the core watches has a second source while there is no connection that tells it."""
        missing = [kind for kind in self._dialect.market_links if not self.lines[kind].ready]
        self._prices_at_ms = now_ms + PRICES_EVERY_MS if missing else None
        for symbol in sorted(self._watched):
            if self._dialect.book_link in missing:
                self._read_price(Read.PRICE, self._dialect.best_prices(symbol), symbol)
            if self._mark_link in missing:
                self._read_price(Read.MARK_PRICE, self._dialect.mark_price(symbol), symbol)

    def _is_old(self, watchdog: Watchdog, stream: str, now_ms: int) -> bool:
        age_ms = watchdog.age_ms(stream, now_ms)
        return age_ms is not None and age_ms >= self.settings.price_age_max_ms

    def _read_price(self, read: Read, ask: Ask, symbol: str) -> None:
        """The second source of a price whose stream is silent."""
        if not any(call.read is read and call.symbol == symbol for call in self.calls.pending()):
            self._read(read, ask, symbol)

    def _wanted_books(self) -> Sequence[str]:
        always = self.settings.symbols if self.settings.watch_always else ()
        return tuple(dict.fromkeys((*always, *sorted(self._watched))))

    # -- market frames ----------------------------------------------------------------------------------------

    def _on_market_frame(self, frame: Frame, now_ms: int) -> list[Event]:
        try:
            message = codec.read_stream(frame.data)
        except (codec.BadFrame, codec.BadPrice) as problem:
            return [PriceDropped(now_ms, str(problem))]
        match message:
            case codec.KlineFrame():
                said_ms = self._hear_time(message.event_ms, now_ms)
                if self.settings.stream_silence_max_ms:
                    stream = codec.kline_stream(message.candle.symbol, message.candle.interval)
                    self._watchdogs[kind_of(frame.link)].heard(stream, said_ms)
                return self._on_kline(message, now_ms) if message.closed else []
            case codec.BookFrame():
                said_ms = self._said_ms(message.event_ms, now_ms)
                if self.settings.stream_silence_max_ms:
                    self._watchdogs[kind_of(frame.link)].heard(codec.book_stream(message.symbol), said_ms)
                return self._on_price(now_ms, message.symbol, message.bid, message.ask, said_ms)
            case codec.MarkPriceFrame():
                said_ms = self._said_ms(message.event_ms, now_ms)
                if self.settings.stream_silence_max_ms:
                    self._watchdogs[kind_of(frame.link)].heard(codec.mark_price_stream(message.symbol), said_ms)
                return [MarkPriceTold(now_ms, message.symbol, message.price, said_ms)]
            case codec.StreamReply():
                return self._on_stream_reply(frame.link, message, now_ms)
            case codec.Shutdown():
                return self._replace_link(frame.link, now_ms)
            case _:
                return []

    def _said_ms(self, event_ms: int | None, now_ms: int) -> int:
        """When the venue said what comes now, by our clock; where it does not tell, no time is better than now."""
        return now_ms if event_ms is None else self.clock.heard(event_ms, now_ms)

    def _on_price(self, now_ms: int, symbol: str, bid: Decimal, ask: Decimal, said_ms: int) -> list[Event]:
        tick_size = self._tick_sizes.get(symbol)
        if tick_size is not None and (is_off(bid, tick_size) or is_off(ask, tick_size)):
            return self._drop(symbol, f"bid {bid} or ask {ask}", tick_size, now_ms)
        if self._off_tick:
            self._off_tick.pop(symbol, None)
        return [PriceMarked(now_ms, symbol, bid, ask, said_ms)]

    def _drop(self, symbol: str, what: str, tick_size: Decimal, now_ms: int) -> list[Event]:
        """Prices that are on no tick are none. Where all are, the venue has made the tick finer, and the old one no
        longer counts: without prices nothing would look after what is held."""
        text = f"{symbol}: {what} is not on the tick of {tick_size}"
        count = self._off_tick[symbol] = self._off_tick.get(symbol, 0) + 1
        if count == OFF_TICK_MAX:
            del self._tick_sizes[symbol], self._off_tick[symbol]
            self._read_rules(self._rules.doubted([symbol], now_ms))
            text += f"; {count} in a row are not, so that it seems to have changed: prices are taken as they come"
        return [PriceDropped(now_ms, text)]

    def _on_stream_reply(self, name: str, reply: codec.StreamReply, now_ms: int) -> list[Event]:
        kind = kind_of(name)
        first = reply.id == self.lines[kind].reply_id_of(name)
        if not first and (kind, reply.id) not in self._joining:
            return []
        if reply.error is not None:
            return self._give_up_link(name, f"the subscription was refused: {reply.error}", now_ms)
        if first:
            return self._link_ready(name, now_ms)
        self._joining = {each for each in self._joining if each != (kind, reply.id)}
        if kind == MARKET and self.lines[kind].ready:
            self._ask_for_history(now_ms)
        return []

    def _read_context(self) -> None:
        """The context comes first: what is heard last of a symbol is then its newest candle, no price of a day ago."""
        asked = [call.ask for call in self.calls.pending() if call.read is Read.CONTEXT and not call.outdated]
        for symbol, interval in sorted(self._context_left):
            ask = self._dialect.candles(symbol, interval, None)
            if ask not in asked:
                self._read(Read.CONTEXT, ask, symbol)

    def _on_context(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        interval = dict(call.ask.params)["interval"]
        rows = codec.read_klines(body, call.symbol, interval)
        closed = tuple(closed_rows(rows, call.asked_ms))
        if call.symbol not in self._feeds:
            return []
        self._context_left.discard((call.symbol, interval))
        if not self._context_left:
            self._start_feeds(now_ms)
        return [HistoryLoaded(now_ms, closed)] if closed else []

    def _start_feeds(self, now_ms: int) -> None:
        for feed in self._feeds.values():
            if not feed.caught_up:
                self._read_candles(feed, feed.start_reading(self.clock.venue_ms(now_ms)))

    def _on_kline(self, frame: codec.KlineFrame, now_ms: int) -> list[Event]:
        feed = self._feeds.get(frame.candle.symbol)
        if feed is None or frame.candle.interval != self.settings.interval:
            return []
        candle, tick_size = frame.candle, self._tick_sizes.get(frame.candle.symbol)
        prices = candle.open, candle.high, candle.low, candle.close
        if tick_size is not None and any(is_off(price, tick_size) for price in prices):
            return self._drop(candle.symbol, f"a candle of {', '.join(map(str, prices))}", tick_size, now_ms)
        events = feed.take_closed(candle, now_ms)
        if feed.read_from_ms is not None and not self._reads_candles(feed.symbol):
            self._read_candles(feed, feed.read_from_ms)
        return events

    def _reads_candles(self, symbol: str) -> bool:
        calls = self.calls.pending()
        return any(call.read is Read.CANDLES and call.symbol == symbol and not call.outdated for call in calls)

    def _read_candles(self, feed: CandleFeed, from_ms: int) -> None:
        if self._reads_candles(feed.symbol):
            return
        self._read(Read.CANDLES, self._dialect.candles(feed.symbol, self.settings.interval, from_ms), feed.symbol)

    def _on_candle_page(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        feed = self._feeds.get(call.symbol)
        if feed is None:  # it left meanwhile
            return []
        rows = codec.read_klines(body, call.symbol, self.settings.interval)
        events = feed.take_page(rows, call.asked_ms, now_ms)
        if feed.read_from_ms is not None:
            self._read_candles(feed, feed.read_from_ms)
        else:
            events += self._market_whole(now_ms)
        return events

    def _market_whole(self, now_ms: int) -> list[Event]:
        """The market link counts as restored when the candles of every symbol are without a hole again."""
        link = self.lines[MARKET]
        ready = all(self.lines[name].ready for name in self._dialect.market_links)
        if link.announced or not ready or not all(self._feeds[symbol].caught_up for symbol in self.settings.symbols):
            return []
        link.announced = True
        return [LinkRestored(now_ms, MARKET)]

    def _watch(self, command: WatchPrice) -> None:
        """A symbol that is no longer traded is followed for as long as it is watched."""
        streams = self._all_streams()
        (self._watched.add if command.wanted else self._watched.discard)(command.symbol)
        self._follow(streams, command.at_ms)

    # -- account frames ---------------------------------------------------------------------------------------

    def _on_account_frame(self, frame: Frame, now_ms: int) -> list[Event]:
        try:
            message = self._dialect.read_account_frame(frame.data, now_ms)
        except codec.BadFrame as problem:
            # An account event that we cannot read may be a fill: what happened has to be read anew.
            return self._give_up_link(frame.link, f"unreadable account event: {problem}", now_ms)
        match message:
            case codec.WsReply():
                return self._on_reply(frame.link, message, now_ms)
            case Ending():
                return self._replace_link(frame.link, now_ms)
            case Ended(text=text):
                return self._give_up_link(frame.link, text, now_ms)
            case Heard():
                self._account_events += message.moved
                if message.venue_ms is not None:
                    self._hear_time(message.venue_ms, now_ms)
                if message.uncounted:
                    self.calls.budget.filled(self.clock.venue_ms(now_ms))
                if message.income:
                    self._read_income()
                if message.rearranged and self.lines[ACCOUNT].ready:
                    self._begin_reading()
                return list(message.events)

    def _on_order_frame(self, frame: Frame, now_ms: int) -> list[Event]:
        try:
            message = codec.read_account_frame(frame.data)
        except codec.BadFrame as problem:
            return self._give_up_link(frame.link, f"unreadable answer: {problem}", now_ms)
        match message:
            case codec.WsReply():
                return self._on_reply(frame.link, message, now_ms)
            case codec.Shutdown():
                return self._replace_link(frame.link, now_ms)
            case _:
                return []

    def _on_reply(self, name: str, reply: codec.WsReply, now_ms: int) -> list[Event]:
        """An answer on a connection that takes requests: to an order, or to the subscription."""
        if isinstance(reply.id, int) and self.calls.waits_for(reply.id):
            return self._on_answer(HttpAnswer(reply.id, reply.status, reply.headers, reply.body), now_ms)
        if kind_of(name) == ORDERS or reply.id != self.lines[ACCOUNT].reply_id_of(name):
            return []
        if reply.error is None:
            return self._link_ready(name, now_ms)
        code = reply.error.code
        advice = self._dialect.fatal.get(code or 0)
        if advice is not None and not self._had_account and not self._holds:
            raise SessionFailed(f"{advice} ({code} {reply.error.text})")
        if code in BAD_TIMESTAMPS:
            self._read_time()
        answer = HttpAnswer(reply.id or 0, reply.status, reply.headers, reply.body)
        limited = self.calls.limited(answer, reply.error, self._dialect.outcome(reply.status, reply.error), now_ms)
        lost = self._give_up_link(name, f"the subscription was refused: {reply.error.text}", now_ms)
        return lost if limited is None else [limited, *lost]


def _is_unjudged(error: codec.VenueError, kind: str) -> bool:
    """Whether the venue turned a write away without a look at it: it had too much of us or of all, or our clock was
    wrong."""
    return kind in ("busy", "limited", "banned") or error.code in BAD_TIMESTAMPS


def _symbols_of(command: Command | None) -> list[str]:
    match command:
        case SubmitOrder() | ReplaceOrder():
            return [command.order.symbol]
        case SubmitList():
            return [command.orders[0].symbol]
        case _:
            return []


def _orders_of(command: Command | None) -> list[str]:
    """The client order ids that a write was about."""
    match command:
        case SubmitOrder():
            return [command.order.client_order_id]
        case SubmitList():
            return [order.client_order_id for order in command.orders]
        case CancelOrder():
            return [command.client_order_id]
        case ReplaceOrder():
            return [command.cancel_id, command.order.client_order_id]
        case _:
            return []
