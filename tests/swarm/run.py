"""One run of the swarm: a seed becomes a market, an account, rules of the venue, weather and mishaps.

The bot is the real one; it trades on signals made by chance, so that it trades often. Invariants are looked at after
everything that happens, from the venue's own books; at the end the weather clears and everything must come together.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from decimal import Decimal

from simex.accounts import Account
from simex.orders import Order as VenueOrder
from simex.signing import hmac_signature
from simex.venue import DEFAULT_INSTRUMENTS, ORDER_TYPES, InstrumentSpec
from simex.venue import HttpRequest as VenueRequest
from surefoot.assembly import build_session, engine_settings
from surefoot.binance.dialogue import (
    Arrival,
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    LinkDown,
    LinkUp,
    OpenLink,
    Request,
    SessionFailed,
    SocketRequest,
)
from surefoot.config import Settings
from surefoot.core.engine import ALONE_ASK_MS, ASK_CAP_MS, Engine
from surefoot.core.facts import Books
from surefoot.core.messages import (
    BreakerResetRequested,
    CancelAllRequested,
    CandleClosed,
    CloseRequested,
    Command,
    Event,
    FlattenRequested,
    HistoryLoaded,
    KillRequested,
    OrderFilled,
    PauseRequested,
    QueryOrder,
    ReplaceOrder,
    ResumeRequested,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import ZERO, Candle, Purpose, Signal
from surefoot.core.orders import State
from surefoot.core.reconcile import OUR_PREFIX
from surefoot.research.exact import NEVER_MS, Fate, VirtualTime
from surefoot.research.exact import _Told as Told
from surefoot.research.exact import _Travelling as Travelling
from surefoot.store.records import decode
from tests.stage import KEYS, START_MS, Script, Stage, stage_settings
from tests.swarm.market import RestlessMarket
from tests.swarm.weather import HTTP_TIMEOUT_MS, LOST_MS, Climate, Refusal, Reset, Weather

MINUTE_MS = 60_000
NOBODY = -1  # a connection that nobody hears
LINES_SHOWN = 40
SETTLE_MS = 6 * MINUTE_MS  # clear weather, market open, no new signals: longest back-offs run out
OPERATOR = ("flatten", "pause", "close", "cancel-all", "kill-switch")
WAKES_MAX = 20  # at one millisecond
QUIET_MS = 3 * MINUTE_MS  # no market either

# How long a position may be without a resting stop that no fault explains: past the bound of SAFE-2 the bot closes it.
# What stands in the way of that is cancelled first, so it takes two answers.
UNPROTECTED_MAX_MS = 10_000
CLOSING_MS = 3_000
AGAIN_MS = 2_000  # a sale that found nobody is tried again after a second
FINDS_BUYERS = ("MARKET", "STOP_LOSS")


class Found(AssertionError):
    """An invariant does not hold; the text says which, what happened last, and how to see it again."""


class Killed(Exception):
    """The process dies here."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that happens at a time: to a link, to the process, to the account."""

    at_ms: int
    kind: str
    link: str = ""
    stall_ms: int = 0
    refused_ms: int = 0
    records: int = 0  # the process dies after that many more records
    lost_tail: float = 0.0  # share of the unflushed journal that is lost


class Coin:
    """Signals by chance, the same for the same candle, whoever asks."""

    def __init__(self, seed: int, chance: float, gate: list[bool]) -> None:
        self._seed = seed
        self._chance = chance
        self._gate = gate

    def warm(self, candles: Sequence[Candle]) -> None:
        """The past changes nothing for a coin."""

    def on_candle(self, candle: Candle) -> Signal:
        draw = random.Random(f"{self._seed} {candle.symbol} {candle.open_ms}").random()
        wanted = self._gate[0] and draw < self._chance
        target = 1.0 if wanted else -1.0 if draw > 0.97 else None
        return Signal(candle.symbol, candle.close_ms, target, 0.9, "coin", atr=float(candle.close) / 200)

    def correlation(self, symbol: str, other: str) -> float | None:
        return 0.0

    def prepare(self) -> bool:
        return False


class Orphan:
    """A request whose sender is dead: it arrives, nobody hears the answer."""

    def __init__(self, request: HttpRequest | SocketRequest, fate: Fate) -> None:
        self.request = request
        self.fate = fate


class Broken:
    """The connection that a request left by breaks, behind the request."""

    def __init__(self, link: str, number: int) -> None:
        self.link = link
        self.number = number


class RoughTime(VirtualTime):
    """The virtual-time driver on bad ground: refused connections, a gateway that gives up waiting, sudden death."""

    weather: Weather
    stage: Swarm
    durable: int = 0
    woken_ms: int = 0
    wakes_in_a_row: int = 0

    def _send_requests(self) -> None:
        if self.session.has_writes():
            self.durable = len(self.stage.journal)
            self.stage.may_die_before_sending()
        elif not self.stage.rng.randrange(3):  # flushed at leisure
            self.durable = len(self.stage.journal)
        super()._send_requests()

    def _push(self, delay_ms: int, item: Travelling | Told | Request | Arrival) -> None:
        super()._push(delay_ms, item)
        if isinstance(item, Travelling):
            self.stage.see_request(item.request)
        if isinstance(item, Travelling) and isinstance(item.fate, Reset):
            if isinstance(item.request, SocketRequest):
                super()._push(self.latency_ms, Broken(item.request.link, item.number))  # type: ignore[arg-type]
            else:
                super()._push(self.latency_ms, HttpFailed(item.request.request_id, True, "reset"))

    def _turn(self, now_ms: int, arrival_ms: int, market_ms: int) -> None:
        woken = now_ms not in (arrival_ms, market_ms)
        super()._turn(now_ms, arrival_ms, market_ms)
        self.stage.look()
        self.wakes_in_a_row = self.wakes_in_a_row + 1 if woken and self.now_ms == self.woken_ms else 0
        self.woken_ms = self.now_ms
        assert self.wakes_in_a_row < WAKES_MAX, "it is woken again and again and has nothing to do"

    def _deliver(self, item: Travelling | Told | Request | Arrival) -> None:
        if isinstance(item, Broken):
            if self._links.get(item.link) == item.number:
                self.cut(item.link, "reset")
        elif isinstance(item, Orphan | Travelling) and self._is_unheard(item):
            if item.fate.arrives:
                self._reach_exchange(item.request)
                self.take_frames()
        else:
            super()._deliver(item)

    def _is_unheard(self, item: Orphan | Travelling) -> bool:
        if isinstance(item, Orphan) or isinstance(item.fate, Reset):
            return True
        # Of what was on a connection when it broke, some arrives and some does not.
        request = item.request
        return isinstance(request, SocketRequest) and item.number not in self._names and request.request_id % 2 == 0

    def _reach_exchange(self, request: HttpRequest | SocketRequest) -> None:
        """It arrives, and nobody is there to hear the answer."""
        if isinstance(request, HttpRequest):
            self._ask_exchange(request)
        elif self.exchange.ws_open(NOBODY, "/ws-api/v3", self.now_ms):
            self.exchange.ws_text(NOBODY, request.text, self.now_ms)
            self.exchange.ws_close(NOBODY)

    def _execute_by_socket(self, request: SocketRequest, fate: Fate, number: int) -> str | None:
        answer = super()._execute_by_socket(request, fate, number)
        told = {} if answer is None else json.loads(answer)
        if told.get("status") in (418, 429) or told.get("error", {}).get("code") == -1021:
            self.stage.sent_for_nothing(request)
        return answer

    def _told_instead(self, request: SocketRequest, fate: Fate) -> str | None:
        if not isinstance(fate, Refusal) or fate.retry_after_s is None:
            return super()._told_instead(request, fate)
        times = {"serverTime": self.now_ms, "retryAfter": self.now_ms + fate.retry_after_s * 1_000}
        error = {"code": -1003, "msg": "Too much request weight used.", "data": times}
        return json.dumps({"id": request.request_id, "status": fate.instead, "error": error})

    def _ask_exchange(self, request: HttpRequest) -> HttpAnswer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = self.exchange.rest(VenueRequest(request.method, request.target, headers, b""), self.now_ms)
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(request.request_id, response.status, lowered, response.body)

    def _execute(self, request: HttpRequest, fate: Fate) -> None:
        answer: HttpAnswer | HttpFailed | None = self._ask_exchange(request) if fate.arrives else None
        delay_ms = self.latency_ms + fate.answer_extra_ms
        waited_ms = self.latency_ms + fate.extra_ms
        if fate.instead is not None and fate.instead > 0:
            retry = fate.retry_after_s if isinstance(fate, Refusal) else None
            headers = {} if retry is None else {"retry-after": str(retry)}
            answer = HttpAnswer(request.request_id, fate.instead, headers, b"")
        elif answer is None or fate.instead == 0 or waited_ms + delay_ms > HTTP_TIMEOUT_MS:
            answer = HttpFailed(request.request_id, True, "time-out")
            delay_ms = max(0, HTTP_TIMEOUT_MS - waited_ms)
        if isinstance(answer, HttpAnswer) and (answer.status in (418, 429) or b":-1021," in answer.body):
            self.stage.sent_for_nothing(request)
        self._push(delay_ms, answer)
        self.take_frames()

    def _open(self, request: OpenLink) -> None:
        assert request.link not in self._links, f"a second {request.link} link is opened"
        if self.now_ms < self.weather.refused_until_ms.get(request.link, 0):
            self._push(self.latency_ms, LinkDown(request.link, "refused"))
        else:
            super()._open(request)

    def cut(self, link: str, text: str | None) -> None:
        self._heap = [entry for entry in self._heap if not _belongs(entry[2], link)]
        heapq.heapify(self._heap)
        self.weather.stalled.discard(link)
        self.weather.reconnected(link)
        super().cut(link, text)

    def orphans(self) -> Iterator[tuple[int, Orphan]]:
        """What the dying process had sent and what has not arrived yet."""
        for due_ms, _, item in sorted(self._heap, key=lambda entry: entry[:2]):
            if isinstance(item, Travelling):
                yield due_ms, Orphan(item.request, item.fate)
            elif isinstance(item, Orphan):
                yield due_ms, item

    def adopt(self, due_ms: int, orphan: Orphan) -> None:
        self._push(max(0, due_ms - self.now_ms), orphan)  # type: ignore[arg-type]


def _belongs(item: object, link: str) -> bool:
    """Whether something on its way dies with the connection."""
    return isinstance(item, Frame | LinkUp) and item.link == link


@dataclass(slots=True)
class Tally:
    """What a run has seen, for the report."""

    orders: int = 0
    by_socket: int = 0
    fills: int = 0
    partial: int = 0
    kills: int = 0
    cuts: int = 0
    faults: int = 0
    doubts: int = 0
    held_up: int = 0  # orders that the venue did not judge
    lost: int = 0
    round_trips: int = 0
    manual: int = 0
    alarms: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    unexplained_ms: int = 0  # the longest that a position was unprotected and no fault explains
    unprotected_ms: int = 0  # the longest, explained or not


@dataclass(slots=True)
class Bare:
    """A stretch in which a position has no resting stop, and how much of it no fault explains."""

    since_ms: int
    looked_ms: int
    explained_until_ms: int
    unexplained_ms: int = 0

    def go_on(self, now_ms: int) -> None:
        self.unexplained_ms += now_ms - min(now_ms, max(self.looked_ms, self.explained_until_ms))
        self.looked_ms = now_ms


class Swarm(Stage):
    """A stage that draws everything from its seed."""

    def __init__(self, seed: int, minutes: int | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        specs = _instruments(rng)
        self.specs = {spec.symbol: spec for spec in specs}
        self.gate = [True]
        self.chance = rng.choice((0.3, 0.6, 0.9))
        self.minutes = minutes if minutes is not None else rng.randint(40, 120)
        self.severity = rng.choice((0.0, 0.2, 0.5, 1.0, 2.0))
        self.manual = rng.random() < 0.2
        self.weather = Weather(random.Random(rng.random()), Climate.drawn(rng, self.severity))
        self.market = RestlessMarket(random.Random(rng.random()), specs, START_MS + 30_000)
        self.watch_always = rng.random() < 0.5
        self.tally = Tally()
        self.deposited: Counter[str] = Counter()
        self._die_in: int | None = None
        self._die_before_sending = False
        self._lost_tail = 0.0
        self._names: set[str] = set()
        self._last_candle: dict[str, Candle] = {}
        self._sent_names: set[str] = set()
        self._seen_orders = 0
        self._bare: dict[str, Bare] = {}
        self._alive = False
        foreign = {spec.base: Decimal(rng.choice(("0", "0", "0.5"))) for spec in specs}
        self.foreign = {asset: amount for asset, amount in foreign.items() if amount}
        super().__init__(
            _settings(rng, [spec.symbol for spec in specs], random.Random(f"{seed} transport").choice(TRANSPORTS)),
            usdt=rng.choice(("10000", "10000", "300")),
            instruments=specs,
            tape=self.market,
            balances=self.foreign,
            latency_ms=rng.choice((1, 10, 80, 400)),
            engine_maker=self._coin_engine,
        )

    # -- the bot ----------------------------------------------------------------------------------------------

    def _coin_engine(self, settings: Settings, script: Script) -> Engine:
        return Engine(engine_settings(settings), Coin(self.seed, self.chance, self.gate))

    def _new_driver(self) -> RoughTime:
        engine = self._maker(self.settings, self.script)
        for kind, body in self.journal:
            engine.fold(decode(kind, body))
        session = build_session(self.settings, KEYS, lambda: 0.5, watch_always=self.watch_always)
        driver = RoughTime(
            engine, session, self.exchange, self._tape, self._latency_ms, self._record, self.weather, self.now_ms
        )
        driver.weather, driver.stage, driver.durable = self.weather, self, len(self.journal)
        return driver

    @property
    def rough(self) -> RoughTime:
        assert isinstance(self.driver, RoughTime)
        return self.driver

    @property
    def account(self) -> Account:
        """The venue's own book of our account."""
        return self.exchange._engine.ledger.accounts[KEYS.api_key]

    def _record(self, message: Event | Command) -> None:
        super()._record(message)
        if isinstance(message, HistoryLoaded | CandleClosed):
            for candle in message.candles if isinstance(message, HistoryLoaded) else (message.candle,):
                self._check_candle(candle)
            self._check_closed(candle)
        if isinstance(message, SubmitOrder | SubmitList | ReplaceOrder):
            self._check_submission(message)
        if self._die_in is not None:
            self._die_in -= 1
            if self._die_in <= 0:
                raise Killed

    def _check_candle(self, candle: Candle) -> None:
        """Within one life candles come in order, none twice, and none that the venue has is left out."""
        last = self._last_candle.get(candle.symbol)
        self._last_candle[candle.symbol] = candle
        if last is None or candle.open_ms == last.close_ms + 1:
            return
        if candle.open_ms <= last.close_ms:
            self._fail(f"{candle.symbol}: candle {_clock(candle.open_ms)} after {_clock(last.open_ms)}")
        series = self.exchange._books[candle.symbol].series
        missing = list(series.bars(candle.interval, last.close_ms + 1, candle.open_ms - 1))
        if missing:
            self._fail(f"{candle.symbol}: candle {_clock(missing[0].open_ms)} was left out")

    def _check_closed(self, candle: Candle) -> None:
        """The newest candle that is told is one that has closed, as the venue has it."""
        (bar,) = self.exchange._books[candle.symbol].series.bars(candle.interval, candle.open_ms, candle.open_ms)
        has = (bar.end_ms - 1, bar.open, bar.high, bar.low, bar.close, bar.volume)
        if self.rough.now_ms <= candle.close_ms or has != astuple(candle)[3:]:
            self._fail(f"{candle.symbol}: told {candle}, the venue has {bar}")

    def may_die_before_sending(self) -> None:
        if self._die_before_sending:
            raise Killed

    def die(self, down_ms: int) -> None:
        """The process is gone, with what it had not flushed; after a while another one starts."""
        self.tally.kills += 1
        self._alive = False
        for bare in self._bare.values():
            bare.go_on(self.rough.now_ms)
            bare.explained_until_ms = NEVER_MS
        self._die_in, self._die_before_sending = None, False
        old = self.rough
        self.now_ms = old.now_ms
        keep = len(self.journal) - int((len(self.journal) - old.durable) * self._lost_tail)
        del self.journal[keep:]
        self._last_candle.clear()
        orphans = list(old.orphans())
        for link in ("market", "account"):
            old.cut(link, None)
        self.driver = self._new_driver()
        for due_ms, orphan in orphans:
            self.rough.adopt(due_ms, orphan)
        self.pass_time(self.now_ms + down_ms)
        self.start()

    def start(self) -> None:
        self._alive = True
        try:
            super().start()
        except Killed:
            self.die(1_000)

    # -- time -------------------------------------------------------------------------------------------------

    def pass_time(self, until_ms: int) -> None:
        """Go on to a time, through deaths."""
        while self.now_ms < until_ms:
            try:
                self.driver.run(until_ms)
                self.now_ms = max(self.now_ms, until_ms)
            except Killed:
                self.die(self.rng.choice((100, 3_000, 30_000)))
            except SessionFailed as problem:
                if "does not answer" not in str(problem):
                    raise
                self.die(5_000)

    def play(self) -> Tally:
        """The whole run. Raises Found."""
        try:
            self._play()
        except Found:
            raise
        except (AssertionError, ArithmeticError, LookupError, ValueError, SessionFailed, TypeError) as problem:
            raise Found(self._story(f"{type(problem).__name__}: {problem}")) from problem
        return self.tally

    def _play(self) -> None:
        end_ms = START_MS + self.minutes * MINUTE_MS
        mishaps = _mishaps(self.rng, end_ms, self.severity, self.manual)
        self.start()
        for mishap in mishaps:
            self.pass_time(mishap.at_ms)
            self._befall(mishap)
        self.pass_time(end_ms)
        self._converge()
        self._check_end()

    def _befall(self, mishap: Mishap) -> None:
        match mishap.kind:
            case "cut":
                self.tally.cuts += 1
                self.weather.stalled.add(mishap.link)
                self.weather.blame(self.now_ms + mishap.stall_ms)
                self.pass_time(self.now_ms + mishap.stall_ms)
                self.weather.refused_until_ms[mishap.link] = self.now_ms + mishap.refused_ms
                self.rough.cut(mishap.link, "cut by the swarm")
            case "kill":
                self._die_in, self._lost_tail = mishap.records, mishap.lost_tail
            case "kill-before-send":
                self._die_before_sending, self._lost_tail = True, mishap.lost_tail
            case "deposit":
                self._deposit()
            case "reset":
                self.rough.tell(BreakerResetRequested(self.now_ms, "swarm", "goes on"))
            case "flatten":
                self.rough.tell(FlattenRequested(self.now_ms, "swarm", "had enough"))
            case "close":
                self.rough.tell(CloseRequested(self.now_ms, "swarm", "enough of it", self.rng.choice(list(self.specs))))
            case "cancel-all":
                self.rough.tell(CancelAllRequested(self.now_ms, "swarm", "no more of these"))
            case "kill-switch":
                self.rough.tell(KillRequested(self.now_ms, "swarm", "something is wrong"))
                self.rough.tell(ResumeRequested(self.now_ms + 120_000, "swarm", "nothing was"))
            case "pause":
                self.rough.tell(PauseRequested(self.now_ms, "swarm", "looks at it"))
                self.rough.tell(ResumeRequested(self.now_ms + 120_000, "swarm", "has seen it"))
            case "manual-order":
                self._trade_by_hand()
            case "manual-cancel":
                self._cancel_by_hand()

    def _converge(self) -> None:
        self.weather.clear()
        self._die_in, self._die_before_sending = None, False
        self.gate[0] = False
        self.market.calm_down()
        self.pass_time(self.now_ms + SETTLE_MS)
        self.market.stop()
        self.pass_time(self.now_ms + QUIET_MS)

    # -- other people's doings --------------------------------------------------------------------------------

    def _deposit(self) -> None:
        assets = ["USDT", *(spec.base for spec in self.specs.values())]
        asset = self.rng.choice(assets)
        amount = Decimal(self.rng.choice(("25.5", "0.31415926", "-1.25") if asset == "USDT" else ("0.00314159", "0.2")))
        if self.account.balances[asset].free + amount < 0:
            return
        self.exchange.deposit(KEYS.api_key, asset, amount, self.now_ms)
        self.deposited[asset] += amount  # type: ignore[assignment]
        self.rough.take_frames()

    def _trade_by_hand(self) -> None:
        spec = self.rng.choice(list(self.specs.values()))
        last = self.exchange.last_price(spec.symbol)
        if last is None:
            return
        self.tally.manual += 1
        notional = max(spec.min_notional, Decimal(10)) * 2
        quantity = (notional / last / spec.lot_size).to_integral_value() * spec.lot_size + spec.lot_size
        price = last * Decimal(self.rng.choice(("0.5", "0.97", "1.01"))) // spec.tick_size * spec.tick_size
        self._by_hand(
            "POST", "/api/v3/order",
            symbol=spec.symbol, side="BUY", type="LIMIT", timeInForce="GTC", quantity=f"{quantity:f}",
            price=f"{price:f}", newClientOrderId=f"manual-{self.tally.manual}",
        )  # fmt: skip

    def _cancel_by_hand(self) -> None:
        ours = [order for order in self.account.open.values() if order.client_id.startswith(OUR_PREFIX)]
        if ours:
            self.tally.manual += 1
            order = self.rng.choice(ours)
            self._by_hand("DELETE", "/api/v3/order", symbol=order.ticket.symbol, orderId=str(order.order_id))

    def _by_hand(self, method: str, path: str, **params: str) -> None:
        """A signed request of a person with the same account."""
        query = "&".join(f"{name}={value}" for name, value in {**params, "timestamp": str(self.now_ms)}.items())
        target = f"{path}?{query}&signature={hmac_signature(KEYS.secret, query.encode())}"
        self.exchange.rest(VenueRequest(method, target, {"x-mbx-apikey": KEYS.api_key}), self.now_ms)
        self.rough.take_frames()
        self.look()

    # -- invariants all along ---------------------------------------------------------------------------------

    def see_request(self, request: HttpRequest | SocketRequest) -> None:
        """A placement leaves once, unless the venue says that it did nothing."""
        names = self._names_in(request)
        self.tally.by_socket += isinstance(request, SocketRequest)
        if names & self._sent_names:
            self._fail(f"{sorted(names & self._sent_names)} was sent again")
        self._sent_names |= names

    def sent_for_nothing(self, request: HttpRequest | SocketRequest) -> None:
        """The venue had too much of us, or our clock was wrong: it will say so, and did nothing."""
        self._sent_names -= self._names_in(request)

    def _names_in(self, request: HttpRequest | SocketRequest) -> set[str]:
        if isinstance(request, SocketRequest):
            said = json.loads(request.text)
            params = said["params"] if said["method"] != "order.cancel" else {}
            named = " ".join(str(value) for name, value in params.items() if name != "cancelOrigClientOrderId")
            return set(OUR_NAMES.findall(named))
        if request.method != "POST":
            return set()
        return set(OUR_NAMES.findall(REPLACED_NAME.sub("", request.target)))

    def look(self) -> None:
        """The venue's truth, after anything that happened."""
        now_ms = self.rough.now_ms
        if len(self.account.orders) > self._seen_orders:
            self._look_at_new_orders()
        for spec in self.specs.values():
            self._look_at_protection(spec, now_ms)

    def _look_at_new_orders(self) -> None:
        new = list(self.account.orders.values())[self._seen_orders :]
        self._seen_orders = len(self.account.orders)
        for order in new:
            if not order.client_id.startswith(OUR_PREFIX):
                continue
            if order.client_id in self._names:
                self._fail(f"{order.client_id} stands at the venue twice")
            self._names.add(order.client_id)
            if order.ticket.side == "BUY":
                rivals = [o for o in self._ours(order.ticket.symbol) if o.ticket.side == "BUY" and o is not order]
                if rivals:
                    self._fail(f"a second entry {order.client_id} beside {rivals[0].client_id}")

    def _ours(self, symbol: str) -> list[VenueOrder]:
        return [o for o in self.account.open_on(symbol) if o.client_id.startswith(OUR_PREFIX)]

    def held(self, spec: InstrumentSpec) -> Decimal:
        """Base at the venue that the bot bought, dust of earlier round trips left out."""
        balance = self.account.balances[spec.base]
        foreign = self.foreign.get(spec.base, ZERO) + self.deposited[spec.base]
        bought_by_hand = sum(
            (
                (fill.quantity if order.ticket.side == "BUY" else -fill.quantity) - fill.fee
                for order, fill in self.account.trades.get(spec.symbol, [])
                if not order.client_id.startswith(OUR_PREFIX)
            ),
            ZERO,
        ) if self.tally.manual else ZERO  # fmt: skip
        total = balance.free + balance.locked - foreign - bought_by_hand
        if total < 0:
            self._fail(f"{spec.base}: the bot sold {-total} that was not its own")
        return total - max(self.engine.portfolio.dust.get(spec.symbol, ZERO), ZERO)

    def _look_at_protection(self, spec: InstrumentSpec, now_ms: int) -> None:
        held = self.held(spec)
        symbol = spec.symbol
        if not _worth_protecting(spec, held, self.exchange.last_price(symbol)) or self._is_protected(symbol):
            bare = self._bare.pop(symbol, None)
            if bare is not None:
                bare.go_on(now_ms)
                self.tally.unexplained_ms = max(self.tally.unexplained_ms, bare.unexplained_ms)
                self.tally.unprotected_ms = max(self.tally.unprotected_ms, now_ms - bare.since_ms)
            return
        bare = self._bare.setdefault(symbol, Bare(now_ms, now_ms, now_ms))
        bare.go_on(now_ms)
        if bare.unexplained_ms > UNPROTECTED_MAX_MS + CLOSING_MS:
            whole_ms = now_ms - bare.since_ms
            self._fail(f"{symbol} has had no resting stop for {whole_ms} ms, {bare.unexplained_ms} ms without a fault")
        bare.explained_until_ms = self._explained_until_ms(symbol, now_ms)

    def _explained_until_ms(self, symbol: str, now_ms: int) -> int:
        """Until when a fault is to blame, if nothing more happens."""
        alone_ms = self.engine.acts_from_ms()
        if not self._alive or alone_ms is None or "account" in self.weather.stalled:
            return NEVER_MS
        # Without the account's link reads tell all, a little later.
        until_ms = max(self.weather.blamed_until_ms(symbol), alone_ms + ALONE_ASK_MS if alone_ms else 0)
        for order in self.engine.orders.open_orders(symbol):
            if order.state is State.IN_DOUBT:
                until_ms = max(until_ms, max(order.submitted_ms, order.sent_ms or 0) + LOST_MS)
                if order.asks > 1 and order.asked_ms is not None:  # answers were lost, and it asks less often then
                    until_ms = max(until_ms, order.asked_ms + ASK_CAP_MS)
        # Where nobody buys, no stop and no sale helps: the next try finds out.
        for theirs in reversed(self.account.orders.values()):
            if theirs.updated_ms < now_ms - AGAIN_MS:
                break
            if theirs.ticket.symbol == symbol and theirs.ticket.type in FINDS_BUYERS and theirs.status == "EXPIRED":
                until_ms = max(until_ms, theirs.updated_ms + AGAIN_MS)
        # After a fault of a question about an order the next try waits a second or two: over many faults, that adds up.
        for call in self.rough.session.calls.pending():
            if isinstance(call.command, QueryOrder) and call.command.symbol == symbol and call.tries:
                until_ms = max(until_ms, call.not_before_ms)
        return until_ms

    def _is_protected(self, symbol: str) -> bool:
        return any(
            order.ticket.side == "SELL"
            and not order.is_pending
            and (order.ticket.type in ("STOP_LOSS", "STOP_LOSS_LIMIT", "MARKET"))
            for order in self._ours(symbol)
        )

    def _check_submission(self, command: SubmitOrder | SubmitList | ReplaceOrder) -> None:
        """Limits of an entry, and that no exit sells more than there is, by the venue's books."""
        orders = command.orders if isinstance(command, SubmitList) else (command.order,)
        entries = [order for order in orders if order.purpose is Purpose.ENTRY]
        if not entries:
            for order in orders:
                sellable = self.engine.portfolio.sellable(order.symbol)
                if order.quantity is None or order.quantity > sellable:
                    self._fail(f"{order.client_order_id} sells {order.quantity} of {sellable}")
            return
        if self.engine.books is not Books.AGREE:
            self._fail(f"an entry although the books {self.engine.books}")
        entry = entries[0]
        assert entry.quantity is not None
        assert entry.price is not None
        notional = entry.quantity * entry.price
        equity, risk = self._equity(), self.settings.risk
        slack = Decimal("1.08")  # the bot reckons with the last closes, the venue is at the last prints
        if notional > equity * risk.notional_max_pct_of_equity / 100 * slack or notional > risk.notional_max_quote:
            self._fail(f"{entry.client_order_id} is worth {notional} of {equity}")
        usdt = self.account.balances["USDT"]
        spendable = usdt.free * (100 - risk.reserve_pct_of_balance) / 100 + (usdt.free + usdt.locked) / 1000
        if not self.manual and notional > spendable:  # what a person's own orders lock is not in our books
            self._fail(f"{entry.client_order_id} spends {notional} of {usdt.free} free and spares no reserve")
        stop = next((order.stop_price for order in orders if order.stop_price is not None), None)
        if stop is not None:
            at_risk = entry.quantity * (entry.price - stop)
            offset = entry.quantity * entry.price * self.settings.orders.entry_limit_offset_pct / 100
            if at_risk - offset > equity * risk.risk_pct_of_equity / 100 * slack:
                self._fail(f"{entry.client_order_id} puts {at_risk} of {equity} at risk")

    def _equity(self) -> Decimal:
        total = self.account.balances["USDT"].free + self.account.balances["USDT"].locked
        for spec in self.specs.values():
            balance = self.account.balances[spec.base]
            total += (balance.free + balance.locked) * (self.exchange.last_price(spec.symbol) or ZERO)
        return total

    # -- the end ----------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        self._count()
        self.exchange.check_books()
        self._check_orders_settled()
        self._check_ledger()
        self._check_protection()
        self._check_fold()

    def _check_orders_settled(self) -> None:
        open_here = {}
        for order in self.engine.orders.open_orders():
            open_here[order.id] = order
            if order.state not in (State.NEW, State.PARTIALLY_FILLED) or order.owed:
                self._fail(f"{order.id} is still {order.state}, owed {order.owed}")
        open_there = {o.client_id for o in self.account.open.values() if o.client_id.startswith(OUR_PREFIX)}
        if set(open_here) != open_there:
            self._fail(f"open here {sorted(open_here)}, open at the venue {sorted(open_there)}")
        ids = self.submitted()
        if len(ids) != len(set(ids)):
            self._fail("a client order id was decided on twice")
        unknown = self._names - set(ids)
        if unknown:
            self._fail(f"orders at the venue that the journal does not know: {sorted(unknown)}")

    def _check_ledger(self) -> None:
        here = {asset: amount for asset, amount in self.engine.portfolio.wallets().items() if amount}
        there = {a: b.free + b.locked for a, b in self.account.balances.items() if b.free + b.locked}
        interfered = self.tally.manual or self.deposited
        if here == there:
            if self.engine.books is not Books.AGREE:
                self._fail(f"the books {self.engine.books} although they are equal: {self.engine.differences}")
        elif not interfered:
            self._fail(f"ledger {here}, venue {there}")
        elif self.engine.books is not Books.DIFFER:
            self._fail(f"ledger {here}, venue {there}, and the books {self.engine.books}")
        booked: Counter[tuple[str, int]] = Counter()
        for kind, body in self.journal:
            if kind == "OrderFilled":
                message = decode(kind, body)
                assert isinstance(message, OrderFilled)
                if message.fill.client_order_id.startswith(OUR_PREFIX):
                    booked[message.fill.symbol, message.fill.trade_id] += 1
        made = Counter(
            (symbol, fill.trade_id)
            for symbol, trades in self.account.trades.items()
            for order, fill in trades
            if order.client_id.startswith(OUR_PREFIX)
        )
        if set(booked) != set(made):
            self._fail(f"fills of which only one side knows: {set(booked) ^ set(made)}")

    def _check_protection(self) -> None:
        for spec in self.specs.values():
            held = self.held(spec)
            if spec.symbol in self.engine.portfolio.positions:
                ours = self.engine.portfolio.positions[spec.symbol].quantity
                if ours != held:
                    self._fail(f"{spec.symbol}: position {ours} here, {held} at the venue")
            if not _worth_protecting(spec, held, self.exchange.last_price(spec.symbol)):
                continue
            covered = sum(
                (
                    order.remaining
                    for order in self._ours(spec.symbol)
                    if order.ticket.side == "SELL" and order.ticket.type in ("STOP_LOSS", "STOP_LOSS_LIMIT", "MARKET")
                ),
                start=ZERO,
            )
            if covered < held // spec.lot_size * spec.lot_size:
                self._fail(f"{spec.symbol}: holds {held}, a stop covers {covered}")

    def _check_fold(self) -> None:
        """What the journal tells is what the bot knows."""
        again = self._maker(self.settings, self.script)
        for kind, body in self.journal:
            again.fold(decode(kind, body))
        for name in FOLDED:
            live, folded = getattr(self.engine, name), getattr(again, name)
            if live != folded:
                self._fail(f"{name} is {live} and folds to {folded}")
        live_orders = {order.id: order for order in self.engine.orders.open_orders()}
        folded_orders = {order.id: order for order in again.orders.open_orders()}
        if live_orders != folded_orders:
            self._fail(f"open orders are {live_orders} and fold to {folded_orders}")

    def _count(self) -> None:
        tally = self.tally
        tally.orders = len(self._names)
        tally.fills = sum(len(trades) for trades in self.account.trades.values())
        tally.partial = sum(len(order.fills) > 1 for order in self.account.orders.values())
        tally.faults = self.weather.faults
        tally.doubts = self.counts["OutcomeUnknown"]
        tally.held_up = sum(kind == "OrderRejected" and b'"again_ms":1' in body for kind, body in self.journal)
        tally.lost = sum(order.state is State.LOST for order in self.engine.orders._orders.values())
        tally.round_trips = len(self.engine.portfolio.round_trips)
        for name, count in self.counts.items():
            if name.startswith("alarm "):
                tally.alarms[name] += count

    def digest(self) -> str:
        """A fingerprint of the whole journal."""
        whole = hashlib.sha256()
        for kind, body in self.journal:
            whole.update(kind.encode() + body)
        return whole.hexdigest()

    # -- a failure --------------------------------------------------------------------------------------------

    def _fail(self, what: str) -> None:
        raise Found(self._story(what))

    def _story(self, what: str) -> str:
        lines = [f"seed {self.seed}: {what}", "", f"the world: {self.world()}", "the last of the journal:"]
        lines += [_readable(kind, body) for kind, body in self.journal[-LINES_SHOWN:]]
        lines += ["", "see it again: make swarm SEED=%d" % self.seed]  # noqa: UP031
        return "\n".join(lines)

    def world(self) -> str:
        rules = "; ".join(_rules_text(spec) for spec in self.specs.values())
        return (
            f"{self.minutes} min of {self.settings.market.interval} ({rules}), severity {self.severity}, thin "
            f"{self.market.thin}, latency {self._latency_ms} ms, manual {self.manual}, now "
            f"{_clock(self.rough.now_ms)}, faults to blame until {_clock(self.weather.blamed_until_ms())}"
        )


TRANSPORTS = ("socket", "socket", "rest")
REPLACED_NAME = re.compile(r"cancelOrigClientOrderId=[^&]*")  # named to be cancelled, not to be placed
OUR_NAMES = re.compile(rf"{OUR_PREFIX}[0-9a-z-]+")
FOLDED = ("portfolio", "breaker", "books", "plans", "instruments", "fees", "links", "run", "_counter",
          "_refusals", "_retry_ms")  # fmt: skip


def _worth_protecting(spec: InstrumentSpec, held: Decimal, last: Decimal | None) -> bool:
    lots = held // spec.lot_size * spec.lot_size
    return last is not None and lots >= spec.min_qty and lots * last * Decimal("0.9") >= spec.min_notional


def _rules_text(spec: InstrumentSpec) -> str:
    flags = {"opo": spec.opo_allowed, "oto": spec.oto_allowed, "oco": spec.oco_allowed}
    lists = " ".join(name for name, allowed in flags.items() if allowed) or "no lists"
    stops = "" if "STOP_LOSS" in spec.order_types else ", stop-limit only"
    return f"{spec.symbol} {lists}{stops}, lot {spec.lot_size}, notional {spec.min_notional}"


def _clock(at_ms: int) -> str:
    seconds, ms = divmod(at_ms - START_MS, 1_000)
    return f"{seconds // 3600:d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"


def _readable(kind: str, body: bytes) -> str:
    fields = json.loads(body)
    at_ms = fields.pop("at_ms", START_MS)
    if kind == "InstrumentsLoaded":
        fields = {}
    text = json.dumps(fields, separators=(", ", ": ")).replace('"', "")
    return f"  {_clock(at_ms)} {kind} {text[:330]}"


def _instruments(rng: random.Random) -> list[InstrumentSpec]:
    names = rng.sample(["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"], rng.choice((1, 2)))
    return [_variant(rng, next(spec for spec in DEFAULT_INSTRUMENTS if spec.symbol == name)) for name in names]


def _variant(rng: random.Random, spec: InstrumentSpec) -> InstrumentSpec:
    lists = rng.choice(("opo", "opo", "oto", "oto", "oco", "oco", "none"))
    stops = tuple(name for name in ORDER_TYPES if name != "STOP_LOSS" or rng.random() < 0.7)
    lot = spec.lot_size * rng.choice((1, 1, 10, 100))
    return replace(
        spec,
        opo_allowed=lists == "opo",
        oto_allowed=lists in ("opo", "oto"),
        oco_allowed=lists != "none",
        order_types=stops,
        lot_size=lot,
        min_qty=lot,
        min_notional=Decimal(rng.choice((5, 5, 10, 100))),
    )


def _settings(rng: random.Random, symbols: Sequence[str], transport: str) -> Settings:
    return stage_settings(
        symbols,
        orders__transport=transport,
        market__interval=rng.choice(("1m", "1m", "3m", "5m")),
        exits__stop_pct_of_price=rng.choice(("0.5", "1.0", "2.0")),
        exits__target_pct_of_price=rng.choice(("0.3", "1.0", "4.0")),
        exits__mode=rng.choice(("fixed", "fixed", "atr")),
        exits__trail_activate_pct=rng.choice(("0", "0.2", "0.5")),
        exits__trail_distance_pct=rng.choice(("0.2", "0.5")),
        exits__trail_step_pct=rng.choice(("0", "0.1")),
        exits__break_even_after_r=rng.choice(("0", "0.6")),
        exits__take_1_at_pct=rng.choice(("0", "0.1", "0.2")),
        exits__take_1_share_pct=rng.choice(("30", "60")),
        exits__take_2_at_pct=rng.choice(("0", "0.4")),
        exits__take_2_share_pct="20",
        exits__reversal_closes=rng.choice(("0", "0", "2")),
        exits__reversal_fall_pct="0.1",
        exits__hold_max_s=rng.choice(("0", "0", "240")),
        exits__hold_keep_pct=rng.choice(("100", "0.2")),
        exits__opposite_score_min=rng.choice(("0", "0.8")),
        breaker__day_loss_max_pct=rng.choice(("50", "50", "50", "0.5", "1")),
        breaker__day_loss_tier=rng.choice(("no_entries", "shrink", "flatten")),
        breaker__rolling_loss_max_pct="50",
        breaker__week_loss_max_pct="50",
        breaker__drawdown_max_pct=rng.choice(("50", "50", "50", "0.7")),
        breaker__drawdown_tier=rng.choice(("warn", "shrink", "flatten")),
        breaker__venue_errors_max=rng.choice(("0", "0", "0", "5")),
        risk__loss_streak_max=rng.choice(("0", "0", "3")),
        orders__entry_timeout_s=rng.choice(("5", "15", "40")),
        orders__partial_fill_wait_s=rng.choice(("0", "2")),
        orders__reconcile_every_s=rng.choice(("60", "300")),
        orders__entry_limit_offset_pct=rng.choice(("0.05", "0.1", "0.5")),
    )


def _mishaps(rng: random.Random, end_ms: int, severity: float, manual: bool) -> list[Mishap]:
    """What happens when, oldest first."""
    found: list[Mishap] = []
    minutes = (end_ms - START_MS) // MINUTE_MS

    def times(per_hour: float) -> list[int]:
        count = sum(rng.random() < per_hour / 60 for _ in range(minutes))
        return [rng.randrange(START_MS + 2_000, end_ms) for _ in range(count)]

    for at_ms in times(4 * severity):
        link = rng.choice(("market", "account"))
        stall_ms = rng.choice((0, 200, 3_000, 30_000))
        found.append(Mishap(at_ms, "cut", link, stall_ms, rng.choice((0, 0, 5_000, 60_000))))
    for at_ms in times(4 * severity):
        lost_tail = rng.choice((0.0, 0.5, 1.0))
        if rng.random() < 0.5:
            found.append(Mishap(at_ms, "kill", records=rng.randint(1, 30), lost_tail=lost_tail))
        else:
            found.append(Mishap(at_ms, "kill-before-send", lost_tail=lost_tail))
    found += [Mishap(at_ms, "reset") for at_ms in times(20)]
    found += [Mishap(at_ms, rng.choice(OPERATOR)) for at_ms in times(1)]
    if rng.random() < 0.3:
        found += [Mishap(at_ms, "deposit") for at_ms in times(3)]
    if manual:
        found += [Mishap(at_ms, rng.choice(("manual-order", "manual-cancel"))) for at_ms in times(6)]
    return sorted(found, key=lambda mishap: mishap.at_ms)
