"""The dialogue with the venue, without I/O: commands and arrivals in, requests and events out.

Rules of this file. Reads may be repeated. A write whose answer is lost is never repeated, it becomes `OutcomeUnknown`;
one that certainly did nothing (it never left, the venue was busy, our clock was wrong) is repeated within seconds or
becomes a rejection. Requests are signed when they are taken, not when they are queued. Account
state is read only after the account stream is subscribed, so that nothing falls between the two; a reading during
which an account event arrived is thrown away and made again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from surefoot.binance import codec, signing
from surefoot.binance.budget import Lane
from surefoot.binance.calls import TRIES_MAX, Call, Calls, Read, delay_ms
from surefoot.binance.candles import CandleFeed
from surefoot.binance.dialogue import (
    ACCOUNT,
    MARKET,
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
from surefoot.core.messages import (
    AccountSnapshot,
    BalanceMoved,
    CancelOrder,
    CancelRefused,
    ClockRead,
    Command,
    Event,
    HistoryLoaded,
    InstrumentsLoaded,
    LinkLost,
    LinkRestored,
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
    RecordTransfer,
    RecordTrip,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
    WatchPrice,
)
from surefoot.core.model import INTERVAL_MS, Balance, FeeRates, Instrument, OrderLimit, Purpose, VenueOrder

RECONNECT_CAP_MS = 64_000
STEADY_MS = 60_000  # a link that lived this long starts its back-off anew
LINK_READY_MS = 10_000
TRANSFERS_REMEMBERED = 100
READINGS_MAX = 5  # disturbed account readings in a row before one is taken as it is

NO_SUCH_ORDER = -2013
BAD_TIMESTAMP = -1021
REPLACE_FAILED = (-2021, -2022)  # the body tells what became of each half
TOO_MANY_ORDERS = -1015
FATAL_CODES = {
    -1002: "this key may not do that: check the key's permissions at the venue",
    -1022: "the signature was refused: check that the API secret belongs to the API key",
    -2014: "the API key has a wrong format: check SUREFOOT_API_KEY",
    -2015: "the venue does not know this API key, its permissions or this IP address: check the key at the venue",
    -1121: "the venue does not know one of the symbols: check market.symbols",
}


# -- state ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """`watch_always` subscribes best prices of all symbols for good; else only while the engine wants them."""

    symbols: tuple[str, ...]
    interval: str
    warmup_candles: int
    recv_window_ms: int
    watch_always: bool
    context_intervals: tuple[str, ...] = ()  # greater intervals whose past is read once, ahead of the candles


@dataclass(slots=True)
class _Link:
    target: str
    up: bool = False
    ready: bool = False
    announced: bool = False  # the engine was told that it is restored
    reply_id: int | None = None
    up_ms: int = 0
    failures: int = 0
    open_at_ms: int | None = None
    ready_by_ms: int | None = None


class Session:
    """One dialogue: `start`, then `receive`, `submit` and `take_requests` in turns. See the module's rules.

    `jitter` returns numbers from 0 to 1. `venue_ms` is the newest time that the venue has told.
    """

    def __init__(self, settings: SessionSettings, keys: Keys, jitter: Callable[[], float]) -> None:
        self.settings = settings
        self.venue_ms = 0
        self.calls = Calls(keys, settings.recv_window_ms, jitter)
        self._keys = keys
        self._interval_ms = INTERVAL_MS[settings.interval]
        self._feeds = {
            symbol: CandleFeed(symbol, self._interval_ms, settings.warmup_candles) for symbol in settings.symbols
        }
        self._context_left = {(symbol, one) for symbol in settings.symbols for one in settings.context_intervals}
        self._links = {MARKET: _Link("/stream"), ACCOUNT: _Link("/ws-api/v3")}
        self._requests: list[Request] = []
        self._instruments: tuple[Instrument, ...] | None = None
        self._fees: dict[str, FeeRates] = {}
        self._limits: tuple[codec.RateLimit, ...] = ()
        self._watched: set[str] = set()
        self._balances: tuple[Balance, ...] = ()
        self._transfers: deque[codec.BalanceUpdate] = deque(maxlen=TRANSFERS_REMEMBERED)
        self._account_events = 0
        self._events_at_reading = 0
        self._disturbed = 0

    # -- the machine ------------------------------------------------------------------------------------------

    def start(self, extra_symbols: Sequence[str] = ()) -> None:
        """Begin: clock, then rules and fees, then the links. `extra_symbols` are held but no longer traded."""
        self._rule_symbols = (*self.settings.symbols, *extra_symbols)
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
            case Frame(link="account"):
                return self._on_account_frame(arrival, now_ms)
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
                case SubmitOrder():
                    lane = Lane.ENTRY if command.order.purpose is Purpose.ENTRY else Lane.EXIT
                    params = signing.order_params(command.order)
                    self._write("POST", "/api/v3/order", params, lane, command, now_ms)
                case SubmitList():
                    path, params = signing.list_request(command)
                    lane = Lane.PROTECTION if command.orders[0].purpose is Purpose.TARGET else Lane.ENTRY
                    self._write("POST", path, params, lane, command, now_ms)
                case CancelOrder():
                    params = [("symbol", command.symbol), ("origClientOrderId", command.client_order_id)]
                    self._write("DELETE", "/api/v3/order", params, Lane.EXIT, command, now_ms)
                case ReplaceOrder():
                    params = signing.replace_params(command)
                    self._write("POST", "/api/v3/order/cancelReplace", params, Lane.EXIT, command, now_ms)
                case QueryOrder():
                    params = [("symbol", command.symbol), ("origClientOrderId", command.client_order_id)]
                    self._ask(Read.ORDER, "/api/v3/order", params, 4, command)
                case ReadFills():
                    params = [("symbol", command.symbol), ("orderId", str(command.order_id))]
                    self._ask(Read.FILLS, "/api/v3/myTrades", params, 5, command)
                case ReadAccount():
                    self._disturbed = 0
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
                    | RecordReset()
                    | RecordBooks()
                ):
                    pass
                case _:
                    assert_never(command)

    def has_writes(self) -> bool:
        """Whether something that moves money is about to leave: the journal has to be on disk before."""
        return self.calls.has_writes()

    def take_requests(self, now_ms: int) -> list[Request]:
        """All that may leave now, signed with this moment's timestamp."""
        calls = self.calls.take(now_ms)
        if not calls and not self._requests:
            return []
        requests, self._requests = [*self._requests, *calls], []
        return requests

    def deadline_ms(self) -> int | None:
        """When `receive(Wake())` or `take_requests` has something to do although nothing arrives."""
        due = self.calls.due_ms()
        for link in self._links.values():
            for link_due in (link.open_at_ms, link.ready_by_ms):
                if link_due is not None:
                    due = link_due if due is None else min(due, link_due)
        return due

    def idle(self, now_ms: int) -> bool:
        """Whether nothing is waiting for an answer and nothing could leave now."""
        return not self._requests and self.calls.idle(now_ms)

    def withdraw_entries(self, now_ms: int) -> list[Event]:
        """Take back entries that have not left: they could not be made durable. Exits and protection stay."""
        withdrawn = self.calls.take_back_entries()
        return [event for call in withdrawn for event in self._refused(call, None, "not sent: no journal", now_ms)]

    # -- calls ------------------------------------------------------------------------------------------------

    def _read(
        self, read: Read, path: str, params: signing.Params, weight: int, *, signed: bool = True, symbol: str = ""
    ) -> None:
        self.calls.add(Call("GET", path, params, signed, weight, Lane.DATA, read, symbol=symbol))

    def _read_time(self) -> None:
        self._read(Read.TIME, "/api/v3/time", [], weight=1, signed=False)

    def _ask(self, read: Read, path: str, params: signing.Params, weight: int, command: Command) -> None:
        if not any(call.read is read and call.params == params for call in self.calls.pending()):
            self.calls.add(Call("GET", path, params, True, weight, Lane.EXIT, read, command))

    def _write(self, method: str, path: str, params: signing.Params, lane: Lane, command: Command, now_ms: int) -> None:
        orders = _orders_in(command)
        self.calls.add(Call(method, path, params, True, 1, lane, command=command, orders=orders, queued_ms=now_ms))

    def _on_answer(self, answer: HttpAnswer, now_ms: int) -> list[Event]:
        call = self.calls.answered(answer)
        if 200 <= answer.status < 300:
            return [] if call.outdated else self._on_success(call, answer.body, now_ms)
        error = codec.read_error(answer.status, answer.body)
        kind = codec.outcome(answer.status, error)
        limited = self.calls.limited(answer, error, kind, now_ms)
        told: list[Event] = [] if limited is None else [limited]
        if error.code == BAD_TIMESTAMP:
            self._read_time()
        if call.outdated:
            return told
        if call.read is not None:
            return told + self._on_read_refused(call, error, kind, now_ms)
        if (kind in ("limited", "banned") or error.code == BAD_TIMESTAMP) and self._may_repeat(call, now_ms):
            return told
        return told + self._on_write_refused(call, answer.body, error, kind, now_ms)

    def _on_failure(self, failure: HttpFailed, now_ms: int) -> list[Event]:
        call = self.calls.failed(failure)
        if call.outdated:
            return []
        if call.read is not None:
            return self._repeat(call, failure.text, now_ms)
        if failure.sent:
            return self._outcome_unknown(call, failure.text, now_ms)
        if self._may_repeat(call, now_ms):
            return []
        return self._refused(call, None, f"not sent: {failure.text}", now_ms)

    def _may_repeat(self, call: Call, now_ms: int) -> bool:
        """Queue again what did nothing. A cancel-replace is told half by half, so that it is left to the core."""
        return not isinstance(call.command, ReplaceOrder) and self.calls.repeat_write(call, now_ms)

    # -- answers to writes ------------------------------------------------------------------------------------

    def _on_write_refused(
        self, call: Call, body: bytes, error: codec.VenueError, kind: str, now_ms: int
    ) -> list[Event]:
        if isinstance(call.command, ReplaceOrder) and error.code in REPLACE_FAILED:
            return self._replaced_in_part(call, call.command, body, now_ms)
        if error.code in FATAL_CODES and error.code != -1121:
            raise SessionFailed(f"{FATAL_CODES[error.code]} ({error.code} {error.text})")
        if kind == "unknown":
            return self._outcome_unknown(call, error.text, now_ms)
        return self._refused(call, error.code, error.text, now_ms)

    def _replaced_in_part(self, call: Call, command: ReplaceOrder, body: bytes, now_ms: int) -> list[Event]:
        """One half of a cancel-replace failed, or both did: the answer tells of each."""
        try:
            return list(codec.read_replace_failure(body, command, now_ms))
        except codec.BadFrame as problem:
            return self._outcome_unknown(call, str(problem), now_ms)

    def _outcome_unknown(self, call: Call, text: str, now_ms: int) -> list[Event]:
        return [OutcomeUnknown(now_ms, order_id, text, call.sent_ms) for order_id in _orders_of(call.command)]

    def _refused(self, call: Call, code: int | None, text: str, now_ms: int) -> list[Event]:
        if isinstance(call.command, CancelOrder):
            return [CancelRefused(now_ms, call.command.client_order_id, code, text)]
        if isinstance(call.command, ReplaceOrder):  # neither half was tried
            new_id = call.command.order.client_order_id
            return [
                CancelRefused(now_ms, call.command.cancel_id, code, text),
                OrderRejected(now_ms, new_id, code, text),
            ]
        return [OrderRejected(now_ms, order_id, code, text) for order_id in _orders_of(call.command)]

    def _on_success(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        try:
            return self._understand(call, body, now_ms)
        except codec.BadFrame as problem:
            if call.read is None:  # it was done, but we cannot read what: the venue has to be asked
                return self._outcome_unknown(call, str(problem), now_ms)
            return [PriceDropped(now_ms, str(problem)), *self._repeat(call, str(problem), now_ms)]

    def _understand(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        match call.command:
            case SubmitOrder():
                return list(codec.read_order(body, now_ms))
            case SubmitList():
                return list(codec.read_list(body, now_ms))
            case CancelOrder():
                return list(codec.read_cancel(body, now_ms))
            case ReplaceOrder():
                return list(codec.read_replace(body, now_ms))
            case ReadFills():
                return list(codec.read_trades(body, call.command.client_order_id, now_ms))
            case QueryOrder():
                return list(codec.read_order(body, now_ms))
            case _:
                return self._on_read(call, body, now_ms)

    # -- answers to reads -------------------------------------------------------------------------------------

    def _on_read(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        match call.read:
            case Read.TIME:
                return self._on_time(codec.read_time(body), call, now_ms)
            case Read.RULES:
                self._instruments = codec.read_instruments(body)
                self._limits = codec.read_rate_limits(body)
                self.calls.budget.announce(self._limits)
                return self._rules_complete(now_ms)
            case Read.FEES:
                symbol, rates = codec.read_fee_rates(body)
                self._fees[symbol] = rates
                return self._rules_complete(now_ms)
            case Read.CANDLES:
                return self._on_candle_page(call.symbol, body, now_ms)
            case Read.CONTEXT:
                return self._on_context(call, body, now_ms)
            case Read.BALANCES:
                self._balances, _ = codec.read_account(body)
                self._read(Read.OPEN_ORDERS, "/api/v3/openOrders", [], weight=80)
                return []
            case Read.OPEN_ORDERS:
                return self._on_reading_done(codec.read_open_orders(body), now_ms)
            case _:
                raise AssertionError(f"no reader for {call.read}")

    def _on_read_refused(self, call: Call, error: codec.VenueError, kind: str, now_ms: int) -> list[Event]:
        if kind != "refused" or error.code == BAD_TIMESTAMP:
            return self._repeat(call, f"{error.code} {error.text}", now_ms)
        if isinstance(call.command, QueryOrder) and error.code == NO_SUCH_ORDER:
            return [OrderNotFound(now_ms, call.command.client_order_id)]
        advice = FATAL_CODES.get(error.code or 0, f"the venue refuses {call.method} {call.path}")
        raise SessionFailed(f"{advice} ({error.code} {error.text})")

    def _repeat(self, call: Call, text: str, now_ms: int) -> list[Event]:
        """Read again later. A query gives up after some tries and leaves asking to the engine; before the first answer
        of all, giving up is for a person to know."""
        call.tries += 1
        if call.tries >= TRIES_MAX:
            if isinstance(call.command, QueryOrder):
                return [OutcomeUnknown(now_ms, call.command.client_order_id, text)]
            if isinstance(call.command, ReadFills):
                return []
            if not self.venue_ms:
                raise SessionFailed(f"the venue does not answer ({text}): check the network and the address")
        self.calls.repeat(call, now_ms)
        return []

    def _on_time(self, server_ms: int, call: Call, now_ms: int) -> list[Event]:
        self.calls.offset_ms, error_ms = server_ms - (call.sent_ms + now_ms) // 2, (now_ms - call.sent_ms + 1) // 2
        first = not self.venue_ms
        self._hear_time(server_ms)
        if first:
            symbols = "[" + ",".join(f'"{symbol}"' for symbol in self._rule_symbols) + "]"
            self._read(Read.RULES, "/api/v3/exchangeInfo", [("symbols", symbols)], weight=20, signed=False)
            for symbol in self._rule_symbols:
                self._read(Read.FEES, "/api/v3/account/commission", [("symbol", symbol)], weight=20)
        return [ClockRead(now_ms, self.calls.offset_ms, error_ms)]

    def _hear_time(self, venue_ms: int) -> None:
        self.venue_ms = max(self.venue_ms, venue_ms)

    def _rules_complete(self, now_ms: int) -> list[Event]:
        if self._instruments is None or len(self._fees) < len(self._rule_symbols):
            return []
        for name, link in self._links.items():
            self._requests.append(OpenLink(name, link.target))
        limits = tuple(OrderLimit(each.interval_ms, each.limit) for each in self._limits if each.kind == "orders")
        return [InstrumentsLoaded(now_ms, self._instruments, tuple(sorted(self._fees.items())), limits)]

    # -- the account, read at a quiet moment --------------------------------------------------------------------

    def _begin_reading(self) -> None:
        if any(c.read in (Read.BALANCES, Read.OPEN_ORDERS) for c in self.calls.pending()):
            return
        self._events_at_reading = self._account_events
        self._read(Read.BALANCES, "/api/v3/account", [("omitZeroBalances", "true")], weight=20)

    def _on_reading_done(self, orders: tuple[VenueOrder, ...], now_ms: int) -> list[Event]:
        if not self._links[ACCOUNT].ready:
            return []
        if self._events_at_reading != self._account_events and self._disturbed < READINGS_MAX:
            self._disturbed += 1
            self._begin_reading()
            return []
        return [AccountSnapshot(now_ms, self._balances, orders)]

    # -- links ------------------------------------------------------------------------------------------------

    def _on_link_up(self, arrival: LinkUp, now_ms: int) -> list[Event]:
        link = self._links[arrival.link]
        link.up, link.up_ms, link.ready_by_ms = True, now_ms, now_ms + LINK_READY_MS
        reply_id = link.reply_id = self.calls.next_id()
        if arrival.link == MARKET:
            text = codec.subscribe_text(reply_id, self._streams())
        else:
            text = self._subscribe_account(reply_id, now_ms)
        self._requests.append(SendText(arrival.link, text))
        return []

    def _streams(self) -> list[str]:
        klines = [codec.kline_stream(symbol, self.settings.interval) for symbol in self.settings.symbols]
        watched = self.settings.symbols if self.settings.watch_always else sorted(self._watched)
        return [*klines, *(codec.book_stream(symbol) for symbol in watched)]

    def _subscribe_account(self, request_id: int, now_ms: int) -> str:
        params: dict[str, str | int] = {
            "apiKey": self._keys.api_key,
            "recvWindow": self.settings.recv_window_ms,
            "timestamp": now_ms + self.calls.offset_ms,
        }
        params["signature"] = signing.sign_ws(self._keys.secret, params)
        return codec.ws_request_text(request_id, "userDataStream.subscribe.signature", params)

    def _on_link_down(self, arrival: LinkDown, now_ms: int) -> list[Event]:
        link = self._links[arrival.link]
        was_announced = link.announced
        link.failures = 0 if link.up and now_ms - link.up_ms >= STEADY_MS else link.failures + 1
        link.up = link.ready = link.announced = False
        link.ready_by_ms = None
        link.open_at_ms = now_ms + self.calls.jittered(delay_ms(link.failures, RECONNECT_CAP_MS))
        if arrival.link == MARKET:
            for feed in self._feeds.values():
                feed.link_lost()
            self.calls.outdate(Read.CANDLES)
            self.calls.outdate(Read.CONTEXT)
        else:
            self._account_events += 1  # what is being read may miss what the stream will not tell
            self.calls.forget(Read.BALANCES, Read.OPEN_ORDERS)
        return [LinkLost(now_ms, arrival.link, arrival.text)] if was_announced else []

    def _on_wake(self, now_ms: int) -> list[Event]:
        late = self.calls.take_late()
        text = "not sent: the venue's limits would have held it up"
        events = [event for call in late for event in self._refused(call, None, text, now_ms)]
        for name, link in self._links.items():
            if link.open_at_ms is not None and now_ms >= link.open_at_ms:
                link.open_at_ms = None
                self._requests.append(OpenLink(name, link.target))
            if link.ready_by_ms is not None and now_ms >= link.ready_by_ms:
                events += self._give_up_link(name, "the subscription was not answered", now_ms)
        return events

    def _give_up_link(self, name: str, text: str, now_ms: int) -> list[Event]:
        self._requests.append(CloseLink(name))
        return self._on_link_down(LinkDown(name, text), now_ms)

    def _link_ready(self, name: str) -> None:
        link = self._links[name]
        link.ready, link.ready_by_ms, link.reply_id = True, None, None

    # -- market frames ----------------------------------------------------------------------------------------

    def _on_market_frame(self, frame: Frame, now_ms: int) -> list[Event]:
        try:
            message = codec.read_stream(frame.data)
        except (codec.BadFrame, codec.BadPrice) as problem:
            return [PriceDropped(now_ms, str(problem))]
        match message:
            case codec.KlineFrame():
                self._hear_time(message.event_ms)
                return self._on_kline(message, now_ms) if message.closed else []
            case codec.BookFrame():
                return [PriceMarked(now_ms, message.symbol, message.bid, message.ask, now_ms)]
            case codec.StreamReply():
                return self._on_stream_reply(message, now_ms)
            case codec.Shutdown():
                return self._give_up_link(MARKET, "the venue shuts this connection down", now_ms)
            case _:
                return []

    def _on_stream_reply(self, reply: codec.StreamReply, now_ms: int) -> list[Event]:
        if reply.id != self._links[MARKET].reply_id:
            return []
        if reply.error is not None:
            return self._give_up_link(MARKET, f"the subscription was refused: {reply.error}", now_ms)
        self._link_ready(MARKET)
        if self._context_left:
            self._read_context()
        else:
            self._start_feeds(now_ms)
        return []

    def _read_context(self) -> None:
        """The context comes first: what is heard last of a symbol is then its newest candle, no price of a day ago."""
        for symbol, interval in sorted(self._context_left):
            params = [("symbol", symbol), ("interval", interval), ("limit", "1000")]
            self._read(Read.CONTEXT, "/api/v3/klines", params, weight=2, signed=False, symbol=symbol)

    def _on_context(self, call: Call, body: bytes, now_ms: int) -> list[Event]:
        interval = dict(call.params)["interval"]
        rows = codec.read_klines(body, call.symbol, interval)
        closed = tuple(row for row in rows if row.close_ms < now_ms + self.calls.offset_ms)
        self._context_left.discard((call.symbol, interval))
        if not self._context_left:
            self._start_feeds(now_ms)
        return [HistoryLoaded(now_ms, closed)] if closed else []

    def _start_feeds(self, now_ms: int) -> None:
        for feed in self._feeds.values():
            self._read_candles(feed, feed.start_reading(now_ms + self.calls.offset_ms))

    def _on_kline(self, frame: codec.KlineFrame, now_ms: int) -> list[Event]:
        feed = self._feeds.get(frame.candle.symbol)
        if feed is None or frame.candle.interval != self.settings.interval:
            return []
        events = feed.take_closed(frame.candle, now_ms)
        if feed.read_from_ms is not None and not self._reads_candles(feed.symbol):
            self._read_candles(feed, feed.read_from_ms)
        return events

    def _reads_candles(self, symbol: str) -> bool:
        calls = self.calls.pending()
        return any(call.read is Read.CANDLES and call.symbol == symbol and not call.outdated for call in calls)

    def _read_candles(self, feed: CandleFeed, from_ms: int) -> None:
        if self._reads_candles(feed.symbol):
            return
        params = [
            ("symbol", feed.symbol),
            ("interval", self.settings.interval),
            ("startTime", str(from_ms)),
            ("limit", "1000"),
        ]
        self._read(Read.CANDLES, "/api/v3/klines", params, weight=2, signed=False, symbol=feed.symbol)

    def _on_candle_page(self, symbol: str, body: bytes, now_ms: int) -> list[Event]:
        feed = self._feeds[symbol]
        rows = codec.read_klines(body, symbol, self.settings.interval)
        events = feed.take_page(rows, now_ms + self.calls.offset_ms, now_ms)
        if feed.read_from_ms is not None:
            self._read_candles(feed, feed.read_from_ms)
        else:
            events += self._market_whole(now_ms)
        return events

    def _market_whole(self, now_ms: int) -> list[Event]:
        """The market link counts as restored when the candles of every symbol are without a hole again."""
        link = self._links[MARKET]
        if link.announced or not link.ready or not all(feed.caught_up for feed in self._feeds.values()):
            return []
        link.announced = True
        return [LinkRestored(now_ms, MARKET)]

    def _watch(self, command: WatchPrice) -> None:
        (self._watched.add if command.wanted else self._watched.discard)(command.symbol)
        if self.settings.watch_always or not self._links[MARKET].up:
            return
        say = codec.subscribe_text if command.wanted else codec.unsubscribe_text
        self._requests.append(SendText(MARKET, say(self.calls.next_id(), [codec.book_stream(command.symbol)])))

    # -- account frames ---------------------------------------------------------------------------------------

    def _on_account_frame(self, frame: Frame, now_ms: int) -> list[Event]:
        try:
            message = codec.read_account_frame(frame.data)
        except (codec.BadFrame, codec.BadPrice) as problem:
            # An account event that we cannot read may be a fill: what happened has to be read anew.
            return self._give_up_link(ACCOUNT, f"unreadable account event: {problem}", now_ms)
        match message:
            case codec.WsReply():
                return self._on_account_reply(message, now_ms)
            case codec.ExecutionReport():
                self._account_events += 1
                self._hear_time(message.event_ms)
                if message.execution == "TRADE" and message.executed == message.last_quantity:
                    self.calls.budget.filled(now_ms + self.calls.offset_ms)
                return list(codec.order_events(message, now_ms))
            case codec.AccountPosition() | codec.ListStatus():
                self._account_events += 1
                return []
            case codec.BalanceUpdate():
                self._account_events += 1
                return self._on_transfer(message, now_ms)
            case codec.StreamTerminated() | codec.Shutdown():
                return self._give_up_link(ACCOUNT, "the venue ended the account stream", now_ms)
            case _:
                return []

    def _on_transfer(self, update: codec.BalanceUpdate, now_ms: int) -> list[Event]:
        """A transfer has no number; one of the same asset, amount and millisecond is the same one told again."""
        if update in self._transfers:
            return []
        self._transfers.append(update)
        return [BalanceMoved(now_ms, update.asset, update.delta)]

    def _on_account_reply(self, reply: codec.WsReply, now_ms: int) -> list[Event]:
        if reply.id != self._links[ACCOUNT].reply_id:
            return []
        if reply.error is None:
            self._link_ready(ACCOUNT)
            self._links[ACCOUNT].announced = True
            return [LinkRestored(now_ms, ACCOUNT)]
        if reply.error.code in FATAL_CODES:
            raise SessionFailed(f"{FATAL_CODES[reply.error.code]} ({reply.error.code} {reply.error.text})")
        if reply.error.code == BAD_TIMESTAMP:
            self._read_time()
        return self._give_up_link(ACCOUNT, f"the subscription was refused: {reply.error.text}", now_ms)


def _orders_in(command: Command) -> int:
    """How many orders a write adds to the venue's count."""
    return len(command.orders) if isinstance(command, SubmitList) else int(not isinstance(command, CancelOrder))


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
