"""The real-time driver: one task owns engine, session and journal; everything else only moves bytes into its inbox.

Order of things, for every arrival: events are appended to the journal before the engine sees them, commands before they
leave, and whatever moves money leaves only after the journal is on disk. When the journal cannot be written, entries
are taken back and stay off, while exits go on; what happened meanwhile is written when it can be again.

Time is the wall clock, or, under a replaying exchange (`paced`), the market's: what the exchange last said, moving on
by itself only while the exchange is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot import __version__
from surefoot.assembly import InForce, build_session
from surefoot.binance.dialogue import (
    ACCOUNT,
    Arrival,
    Frame,
    HttpFailed,
    Keys,
    LinkDown,
    SessionFailed,
    Wake,
)
from surefoot.binance.gateway import PACE_MARK, Addresses, ClockTold, Gateway, Pinged
from surefoot.binance.session import Session
from surefoot.binance.signing import sign_rest
from surefoot.changes import differences
from surefoot.config import VENUES, ConfigError, Mode, Settings, Venue, settings_digest
from surefoot.control import (
    ADOPT_KINDS,
    LIVE_KINDS,
    SETTINGS_KINDS,
    Answer,
    ControlError,
    ControlServer,
    Wish,
    event_of,
    socket_path,
)
from surefoot.core.adopt import adoption, said
from surefoot.core.messages import (
    ClockRead,
    Event,
    LinkLost,
    LinkRestored,
    PauseRequested,
    RunStarted,
    SettingsChanged,
    Woke,
)
from surefoot.core.tally import Tally
from surefoot.core.view import AnswerView, LinkView, SeriesView, TrafficView, VenueLimitView, View, view_of
from surefoot.deeds import Deeds, deeds_path
from surefoot.selfcheck import CheckFailed, active_lines, key_lines, key_verdict
from surefoot.store.journal import Journal, StoreError

if TYPE_CHECKING:
    from surefoot.logs import TraderLog

INBOX_MERGES_AT = 64  # from here on, of best prices and of candles that go on only the newest of a stream is kept
PACED_INBOX_MERGES_AT = 4_096  # in a replay every price has been asked to be digested
STREAM_NAME_MAX = 80
INBOX_MAX = 16_384  # from here on, the link that overflows counts as lost
STORE_RETRY_S = 1.0
KEY_AGAIN_S = 60.0
GARBAGE_AT = 700  # objects since the last look at the youngest; a look is taken where nothing waits
GARBAGE_LOOKS = 1_000  # at the younger ones, to one at all
GARBAGE_MAX = 50_000  # where there is no such moment
FLUSH_AFTER_S = 0.05  # how long what the market said, and what was not done about it, may wait for the disk
CLOCK_GRACE_S = 1.0
FIRST_TIME_TRIES = 20
FIRST_TIME_PAUSE_S = 0.25

# Where there are both, the monotonic clock stands still while the machine sleeps.
_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

EXIT_OK, EXIT_USE, EXIT_STORE, EXIT_VENUE = 0, 2, 3, 4

Say = Callable[[str], None]


class WallClock:
    """UTC milliseconds of this machine as they were at the start, and what has passed since: a step of its clock
    neither holds up what is due nor ends a wait early. The session keeps the venue's offset."""

    def __init__(self) -> None:
        self._began_ms = _machine_ms() - _passed_ms()

    def now_ms(self) -> int:
        return self._began_ms + _passed_ms()

    def behind_ms(self) -> int:
        """By how much the machine's clock was put forward since, or back."""
        return _machine_ms() - self.now_ms()

    def follow_machine(self) -> None:
        """Show the machine's time again: only where nothing that is due, and no wait, goes by the time before."""
        self._began_ms += self.behind_ms()

    def observe(self, market_ms: int) -> None:
        """The wall clock does not follow the market."""


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


def _passed_ms() -> int:
    """Milliseconds since some moment, those in which the machine slept among them."""
    return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


class MarketClock:
    """The replaying exchange's time, never going back."""

    def __init__(self) -> None:
        self._market_ms = 0
        self._heard_s = time.monotonic()

    def now_ms(self) -> int:
        silent_s = time.monotonic() - self._heard_s - CLOCK_GRACE_S
        return self._market_ms + max(0, int(silent_s * 1_000))

    def observe(self, market_ms: int) -> None:
        """The exchange said what time it is."""
        self._market_ms = max(self.now_ms(), market_ms)
        self._heard_s = time.monotonic()


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks for. `answered` is told when the engine has taken it."""

    wish: Wish
    who: str
    answered: asyncio.Future[Answer]

    def answer(self, answer: Answer) -> None:
        """Tell it to whoever asked, who may be gone."""
        if not self.answered.done():
            self.answered.set_result(answer)


class Inbox:
    """Bounded, in order of arrival. What is superseded by a newer frame of its stream is dropped once much waits;
    nothing else is ever dropped singly: when even that is too much, the link counts as lost and is read anew. An
    operator comes before everything, and so does that something never left: behind the end of its link, which may be
    waiting here, it would count as sent."""

    def __init__(self, merges_at: int = INBOX_MERGES_AT) -> None:
        self._merges_at = merges_at
        self._items: deque[Arrival | Pinged | ClockTold | Asked] = deque()
        self._newest: dict[bytes, Frame] = {}
        self._filled = asyncio.Event()
        self.merged = 0

    def __len__(self) -> int:
        """How many arrivals wait."""
        return len(self._items) + len(self._newest)

    def put(self, arrival: Arrival | Pinged | ClockTold | Asked) -> None:
        items = self._items
        if not items:
            self._filled.set()
        if isinstance(arrival, Asked) or (isinstance(arrival, HttpFailed) and not arrival.sent):
            items.appendleft(arrival)
        elif not isinstance(arrival, Frame) or (len(items) < self._merges_at and not self._newest):
            items.append(arrival)
        elif (key := _stream_of_passing(arrival)) is not None:
            newest = self._newest
            self.merged += key in newest
            newest[key] = arrival
        elif len(items) < INBOX_MAX:
            items.append(arrival)
        else:
            self._overflow(arrival.link)

    def _overflow(self, link: str) -> None:
        self._items = deque(item for item in self._items if not (isinstance(item, Frame) and item.link == link))
        self._items.append(LinkDown(link, "more came than could be taken"))

    def take(self) -> Arrival | Pinged | ClockTold | Asked | None:
        """The next arrival, or None."""
        if self._items:
            return self._items.popleft()
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        self._filled.clear()
        return None

    async def wait(self, timeout_s: float | None) -> None:
        """Until something is there, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._filled.wait()

    def nudge(self) -> None:
        """Let whoever waits look up."""
        self._filled.set()


def _stream_of_passing(frame: Frame) -> bytes | None:
    """The stream of a frame that means nothing once a newer one of it is there: a price, or a candle that goes on. None
    for all others."""
    data = frame.data
    if frame.link == ACCOUNT or not isinstance(data, bytes):
        return None
    for kind in (b"@bookTicker", b"@markPrice"):
        at = data.find(kind, 0, STREAM_NAME_MAX)
        if at > 0:
            return data[: at + len(kind)]
    at = data.find(b"@kline_", 0, STREAM_NAME_MAX)
    if at > 0 and b'"x":false' in data:
        return data[: data.find(b'"', at)]
    return None


class Trader:
    """Engine, session, gateway and journal of one run."""

    def __init__(self, in_force: InForce, session: Session, journal: Journal, clock: WallClock | MarketClock) -> None:
        self.in_force = in_force
        self.engine = in_force.engine
        self.session = session
        self.journal = journal
        self.clock = clock
        self.inbox = Inbox(PACED_INBOX_MERGES_AT if isinstance(clock, MarketClock) else INBOX_MERGES_AT)
        self.stopping = asyncio.Event()
        self._store_failed_s: float | None = None
        self._unflushed_s: float | None = None  # since when something has waited for the disk
        self._more_than_market = True  # whether more than market data may wait for it
        self._pings: list[Pinged] = []
        self._reaction_ms = Tally()
        self._flush_ms = Tally()
        self._flush_failures = 0
        self._studying: Asked | None = None  # a change of settings that waits for what the venue says of new symbols
        self.log: TraderLog | None = None
        self.key_doubt: str | None = None  # why it is not known at the start what the key may do, where it has to be
        self.key_refused = False
        self._deeds = Deeds(deeds_path(in_force.settings.store.journal_path))

    def view(self) -> View:
        """The engine's picture, with what the connection knows of the venue's limits."""
        now_ms = self.clock.now_ms()
        budget, offset_ms = self.session.calls.budget, self.session.clock.offset_ms
        limits = (VenueLimitView(*astuple(usage)) for usage in budget.usage(now_ms + offset_ms))
        until_ms = budget.banned_until_ms
        banned_until_ms = None if until_ms is None or until_ms <= now_ms + offset_ms else until_ms
        return replace(
            view_of(self.engine, now_ms),
            venue_limits=tuple(limits),
            banned_until_ms=banned_until_ms,
            traffic=self._traffic(now_ms),
            series=tuple(self._series(now_ms)),
        )

    def _series(self, now_ms: int) -> Iterator[SeriesView]:
        for symbol, interval, held in self.in_force.signals.series():
            last_ms = held.last_open_ms
            age_ms = None if last_ms is None else now_ms - last_ms - held.interval_ms
            yield SeriesView(symbol, interval, len(held), held.capacity, age_ms, held.looked_up, held.found)

    def _traffic(self, now_ms: int) -> TrafficView:
        calls, journal = self.session.calls, self.journal
        queued, sent = calls.waiting()
        links = (LinkView(each.kind, each.up, each.reconnects, each.planned) for each in self.session.lines.values())
        outcomes = ((lane.name.lower(), kind, count) for (lane, kind), count in sorted(calls.outcomes.items()))
        return TrafficView(
            links=tuple(links),
            streams=tuple(self.session.stream_ages_ms(now_ms)),
            inbox_waiting=len(self.inbox),
            inbox_merged=self.inbox.merged,
            calls_queued=queued,
            calls_sent=sent,
            calls_repeated=calls.repeated,
            answers=tuple(AnswerView(*outcome) for outcome in outcomes),
            answer_ms=tuple((lane.name.lower(), tally.spread()) for lane, tally in calls.answer_ms.items()),
            reaction_ms=self._reaction_ms.spread(),
            flush_ms=self._flush_ms.spread(),
            flush_failures=self._flush_failures,
            journal_pending=journal.pending,
            clock_offset_ms=self.session.clock.offset_ms,
            clock_skew_ms=self.engine.clock_skew_ms,
        )

    async def ask(self, wish: Wish, who: str) -> Answer:
        """Let the engine hear of an operator's wish, before everything that waits; back when it is on disk."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.inbox.put(Asked(wish, who, answered))
        return await answered

    def stop(self) -> None:
        self.stopping.set()
        self.inbox.nudge()

    def key_is_known(self) -> None:
        """The venue has told by now what the key may do, and a bot may hold it."""
        self._react(LinkRestored(self.clock.now_ms(), "key"))
        self.inbox.nudge()

    def refuse_key(self) -> None:
        """A bot must not hold the key: the run ends as it would not have begun."""
        self.key_refused = True
        self.stop()

    async def drive(self, gateway: Gateway, started: RunStarted) -> None:
        """Until `stop`: the loop of the module's first paragraph."""
        _keep_garbage_out_of_the_way()
        self._react(started)
        if self.key_doubt is not None:
            self._react(LinkLost(started.at_ms, "key", self.key_doubt))
        held = set(self.engine.portfolio.positions) | {order.symbol for order in self.engine.orders.open_orders()}
        self.session.start(sorted(held - set(self.engine.settings.symbols)), holds=bool(held))
        self._send(gateway)
        while not self.stopping.is_set():
            arrival = self.inbox.take()
            if arrival is None:
                gateway.read_on()
                self._flush_in_time()
                self._answer_pings(gateway)
                if self.log is not None:
                    self.log.wake()
                _look_for_garbage()
                self.journal.tidy()
                if self.engine.prepare():  # a part at a time: something may have come meanwhile
                    await asyncio.sleep(0)
                    continue
                await self.inbox.wait(self._patience_s())
                arrival = self.inbox.take() or Wake()
            taken_s = time.perf_counter()
            self._take(arrival)
            if self._send(gateway):  # the tasks and sockets that carry it have their turn before anything else
                self._reaction_ms.add((time.perf_counter() - taken_s) * 1_000)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    def _take(self, arrival: Arrival | Pinged | ClockTold | Asked) -> None:
        if isinstance(arrival, Asked):
            self._take_wish(arrival)
            return
        if isinstance(arrival, Pinged):
            self._pings.append(arrival)
            self._follow(_market_ms(arrival.payload))
            return
        if isinstance(arrival, ClockTold):
            self._follow(arrival.market_ms)
            return
        now_ms = self.clock.now_ms()
        if not isinstance(arrival, Frame) or arrival.link == ACCOUNT:
            self._more_than_market = True
            self._hear_guardian(now_ms)
        for event in self.session.receive(arrival, now_ms):
            # The market's clock moves in leaps and we follow it: how far it is ahead says nothing.
            if not (isinstance(event, ClockRead) and isinstance(self.clock, MarketClock)):
                self._react(event)
                if isinstance(event, ClockRead):
                    self._follow_machine(now_ms)
        self._end_study()
        if isinstance(arrival, Wake):
            self._react(Woke(now_ms))

    def _follow_machine(self, now_ms: int) -> None:
        """Where our time is wrong and the machine's has been set right since: nothing may be held or on its way."""
        clock, engine, of_venue = self.clock, self.engine, self.session.clock
        limit_ms = engine.breaker.settings.clock_skew_max_ms
        if isinstance(clock, MarketClock) or not 0 < limit_ms <= engine.clock_skew_ms:
            return
        behind_ms = clock.behind_ms()
        is_right = abs(of_venue.offset_ms - behind_ms) < limit_ms
        if is_right and not engine.portfolio.positions and engine.orders.quiet() and self.session.idle(now_ms):
            clock.follow_machine()
            of_venue.follow(of_venue.offset_ms - behind_ms)
            of_venue.ask_at_ms = clock.now_ms()

    def _hear_guardian(self, now_ms: int) -> None:
        """Book what it sold while we hung or were dead, before anything else is heard of the account: we would sell it
        again. Then nothing is bought until a person says so."""
        sold = []
        for deed in self._deeds.read():
            fill, position = deed.fill, self.engine.portfolio.positions.get(deed.fill.symbol)
            # One that was opened after the sale is another position.
            if position is None or position.opened_ms > fill.at_ms:
                continue
            if not self.engine.knows_venue_trade(fill):
                self._react(replace(deed, at_ms=now_ms))
                sold.append(f"{fill.side} {fill.quantity:f} {fill.symbol}")
        if sold:
            text = f"it traded while this trader did not work: {', '.join(sold)}"
            self._react(PauseRequested(now_ms, "the guardian", text))

    def _take_wish(self, asked: Asked) -> None:
        wish = asked.wish
        if wish.kind in SETTINGS_KINDS:
            self._take_settings(asked)
            return
        if wish.kind in ADOPT_KINDS:
            self._take_adoption(asked)
            return
        if wish.kind == "close" and not self.engine.involves(wish.symbol):
            asked.answer(Answer(False, f"nothing of {wish.symbol} is held or on its way"))
            return
        mode = self.in_force.settings.mode
        if wish.kind in LIVE_KINDS and mode is not Mode.LIVE:
            asked.answer(Answer(False, f"mode = {mode} trades no real money: there is nothing to switch"))
            return
        self._react(event_of(wish, asked.who, self.clock.now_ms()))
        asked.answer(Answer(True, f"{wish.kind} taken from {asked.who}{self._kept()}"))

    def _kept(self) -> str:
        """Put what was taken on disk; what there is to say when that cannot be."""
        return "" if self._flush() else "; the journal cannot be written now, so that a restart may not know of it"

    def _take_settings(self, asked: Asked, *, is_studied: bool = False) -> None:
        """Validate, and change. Of symbols that are new, the venue is asked first."""
        wish = asked.wish
        try:
            differing = differences(self.in_force.settings, self.in_force.after(wish.settings))
        except ConfigError as problem:
            asked.answer(Answer(False, str(problem)))
            return
        if wish.kind == "settings-check":
            asked.answer(Answer(True, _said(differing), differing))
        elif self._studying is not None and not is_studied:
            asked.answer(Answer(False, "the venue is being asked about other new symbols: try again in a moment"))
        elif not is_studied and (new := self._new_symbols(wish)):
            self._studying = asked
            self.session.study(new)
        else:
            now_ms = self.clock.now_ms()
            self._react(SettingsChanged(now_ms, asked.who, wish.reason, wish.settings))
            for event in self.in_force.settle(self.session, now_ms):
                self._react(event)
            asked.answer(Answer(True, f"{_said(differing)}, taken from {asked.who}{self._kept()}", differing))

    def _take_adoption(self, asked: Asked) -> None:
        wish, now_ms = asked.wish, self.clock.now_ms()
        event = adoption(
            self.engine, wish.adoption, wish.symbol, wish.amount, wish.price, now_ms, asked.who, wish.reason
        )
        if isinstance(event, str):
            asked.answer(Answer(False, event))
            return
        self._react(event)
        asked.answer(Answer(True, f"{said(self.engine, event)}{self._kept()}"))

    def _new_symbols(self, wish: Wish) -> list[str]:
        traded = self.in_force.settings.market.symbols
        return [symbol for symbol in self.in_force.after(wish.settings).market.symbols if symbol not in traded]

    def _end_study(self) -> None:
        """The venue has told what new symbols are like, or that it has none of that name: then nothing changes."""
        asked, studied = self._studying, self.session.studied
        if asked is None or studied is None:
            return
        self._studying = None
        if studied.problem:
            asked.answer(Answer(False, studied.problem))
        elif not asked.answered.done():  # whoever asked may have given up, and then nothing is expected any more
            self._take_settings(asked, is_studied=True)

    def _follow(self, market_ms: int) -> None:
        """The replaying exchange said what time it is."""
        self.clock.observe(market_ms)
        self.session.clock.follow(market_ms - self.clock.now_ms())

    def _react(self, event: Event) -> None:
        self.journal.append(event)
        commands = self.engine.step(event)
        self.journal.append(*commands)
        self.session.submit(commands, event.at_ms)
        if self.log is not None:
            self.log.note(event, *commands)

    def _send(self, gateway: Gateway) -> bool:
        """Let leave what may; whether anything did."""
        if self.session.has_writes() and not self._flush():
            for event in self.session.withdraw_entries(self.clock.now_ms()):
                self._react(event)
        requests = self.session.take_requests(self.clock.now_ms())
        for request in requests:
            gateway.send(request)
        return bool(requests)

    def _flush_in_time(self) -> None:
        """Nothing waits: put on disk what happened to us, and what the market said once it has waited long enough, so
        that the candles of one moment cost one write."""
        if self._more_than_market or (
            self._unflushed_s is not None and time.monotonic() - self._unflushed_s >= FLUSH_AFTER_S
        ):
            self._flush()
        elif self.journal.pending and self._unflushed_s is None:
            self._unflushed_s = time.monotonic()

    def _flush(self) -> bool:
        """Put the journal on disk; False when it cannot be. A failure and its end are facts for the engine."""
        if self._store_failed_s is not None and time.monotonic() - self._store_failed_s < STORE_RETRY_S:
            return False
        waiting, began_s = self.journal.pending, time.perf_counter()
        try:
            self.journal.flush()
        except StoreError as problem:
            self._flush_failures += 1
            first, self._store_failed_s = self._store_failed_s is None, time.monotonic()
            if first:
                self._react(LinkLost(self.clock.now_ms(), "store", str(problem)))
            return False
        if waiting:
            self._flush_ms.add((time.perf_counter() - began_s) * 1_000)
        self._unflushed_s, self._more_than_market = None, False
        if self._store_failed_s is not None:
            self._store_failed_s = None
            self._react(LinkRestored(self.clock.now_ms(), "store"))
        return True

    def _deadlines_ms(self) -> list[int]:
        """When engine and session want to be woken although nothing arrives."""
        return [ms for ms in (self.engine.deadline_ms(), self.session.deadline_ms()) if ms is not None]

    def _patience_s(self) -> float | None:
        now_ms = self.clock.now_ms()
        waits = [max(0.0, (ms - now_ms) / 1_000) for ms in self._deadlines_ms()]
        if isinstance(self.clock, MarketClock):  # the market moves the clock, or its silence does
            waits = [max(wait, CLOCK_GRACE_S / 4) for wait in waits]
        if self._store_failed_s is not None:
            waits.append(STORE_RETRY_S)
        elif self._unflushed_s is not None:
            waits.append(max(0.0, self._unflushed_s + FLUSH_AFTER_S - time.monotonic()))
        return min(waits, default=None)

    def _answer_pings(self, gateway: Gateway) -> None:
        """Tell the replaying exchange that all is digested, and when we want to be woken at the latest."""
        if not self._pings:
            return
        now_ms = self.clock.now_ms()
        deadlines = self._deadlines_ms()
        if any(ms <= now_ms for ms in deadlines):
            self.inbox.put(Wake())
        elif self.session.idle(now_ms):
            wanted = b" %d" % min(deadlines) if deadlines else b""
            for ping in self._pings:
                gateway.pong(ping.link, ping.payload + wanted)
            self._pings.clear()


def _said(differing: Mapping[str, tuple[str, str]]) -> str:
    return ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in differing.items()) or "nothing changes"


def _market_ms(payload: bytes) -> int:
    """The market time in a replaying exchange's ping: `digest <number> <ms>`."""
    parts = payload.removeprefix(PACE_MARK).split()
    return int(parts[1])


def _look_for_garbage() -> None:
    """Nothing waits: through the youngest objects, when there are many; now and then through those that stayed."""
    young, _, looks = gc.get_count()
    if young > GARBAGE_AT:
        gc.collect(2 if looks > GARBAGE_LOOKS else 1)


def _keep_garbage_out_of_the_way() -> None:
    """What the start made stays for good and is not looked through again; new garbage waits for a quiet moment."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX, 10, 10)


def run_trader(
    settings: Settings, venue: Venue, keys: Keys, *, paced: bool, say: Say, control_key: bytes | None = None
) -> int:
    """Trade until SIGINT or SIGTERM; the exit code. Whatever protects positions is left resting.

    `control_key` is that of signed wishes, see `surefoot.control`.
    """
    import uvloop

    return uvloop.run(_trade(settings, venue, keys, paced=paced, say=say, control_key=control_key))


async def _trade(
    settings: Settings, venue: Venue, keys: Keys, *, paced: bool, say: Say, control_key: bytes | None
) -> int:
    if settings.mode is Mode.LIVE and not settings.live_confirmed:  # the settings check it too; money is asked twice
        say("live_confirmed = false: mode = live trades real money and needs the second confirmation")
        return EXIT_USE
    try:
        sign_rest(keys.secret, b"")
    except ValueError as problem:
        say(f"the API secret cannot sign: {problem}")
        return EXIT_USE
    key_doubt: str | None = None
    if settings.mode in VENUES:
        for line in active_lines(settings, venue):
            say(line)
        try:
            if not await _may_hold(settings, keys, say):
                return EXIT_USE
        except CheckFailed as problem:
            say(f"warning: the rights of the key are not known: {problem}")
            key_doubt = str(problem) if settings.mode is Mode.LIVE else None
    if key_doubt is not None:
        say("until the venue tells them, nothing is bought; what is held is protected and left as ever")
    path = settings.store.journal_path
    try:
        journal = Journal.open(path)
    except StoreError as problem:
        say(str(problem))
        return EXIT_STORE
    try:
        return await _trade_with(
            journal, path, settings, venue, keys, key_doubt, paced=paced, say=say, control_key=control_key
        )
    finally:
        with contextlib.suppress(StoreError):
            journal.close()


async def _may_hold(settings: Settings, keys: Keys, say: Say) -> bool:
    """Say what the key may do; False for a key that a bot must not hold. Raises CheckFailed where the venue does not
    tell: its testnets never do, and with real money nothing is bought meanwhile."""
    verdict, ahead_ms = await key_verdict(settings, keys, None)
    for line in key_lines(verdict, keys.secret, ahead_ms):
        say(line)
    return not verdict.refused


async def _ask_about_key(trader: Trader, settings: Settings, keys: Keys, say: Say) -> None:
    """Until the venue tells what the key may do."""
    while True:
        await asyncio.sleep(KEY_AGAIN_S)
        with contextlib.suppress(CheckFailed):
            (trader.key_is_known if await _may_hold(settings, keys, say) else trader.refuse_key)()
            return


async def _trade_with(
    journal: Journal,
    path: Path,
    settings: Settings,
    venue: Venue,
    keys: Keys,
    key_doubt: str | None,
    *,
    paced: bool,
    say: Say,
    control_key: bytes | None,
) -> int:
    in_force = InForce(settings)
    engine = in_force.engine
    before = next((run.mode for run in journal.last_runs(1)), settings.mode)
    if before != settings.mode:
        say(f"{path} is a journal of mode = {before}, and mode = {settings.mode}: choose another store.journal_path")
        return EXIT_USE
    log = _log_of(settings)
    for entry in journal.read():
        engine.fold(entry.message)
        if log is not None:
            log.learn(entry.message)
    if in_force.problem is not None:
        say(in_force.problem)
        return EXIT_USE
    settings = in_force.settings
    others = {each.market for each in engine.instruments.values()} - {settings.market.venue}
    if others:
        other, wanted = ", ".join(others), settings.market.venue
        say(f"{path} is a journal of {other}, and market.venue = {wanted}: choose another store.journal_path")
        return EXIT_USE
    clock = MarketClock() if paced else WallClock()
    session = build_session(settings, keys, random.random, watch_always=True, supervised=not paced)
    trader = Trader(in_force, session, journal, clock)
    trader.log, trader.key_doubt = log, key_doubt
    gateway = Gateway(Addresses(venue.rest, venue.ws_api, venue.streams), trader.inbox.put, paced=paced)
    control = ControlServer(socket_path(path), trader.view, trader.ask, in_force.signals.held, control_key)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, trader.stop)
    await gateway.start()
    if log is not None:
        log.start()
    try:
        await control.start()
    except ControlError as problem:  # nobody can look in, but what is held still needs its trader
        say(f"no view for others: {problem}")
    asking = None if key_doubt is None else asyncio.create_task(_ask_about_key(trader, settings, keys, say))
    try:
        if paced and not await _set_clock(clock, gateway, session.time_path):
            say(f"the venue does not answer at {venue.rest}: check the network and the address")
            return EXIT_VENUE
        await trader.drive(gateway, _started(settings, clock.now_ms()))
    except SessionFailed as problem:
        say(f"{problem} [{venue.rest}]")
        return EXIT_VENUE
    except StoreError as problem:  # the disk has refused for so long that memory is full of what waits for it
        say(str(problem))
        return EXIT_STORE
    finally:
        if asking is not None:
            asking.cancel()
        await control.stop()
        await gateway.close()
        if log is not None:
            log.close()
    return EXIT_USE if trader.key_refused else EXIT_OK


def _log_of(settings: Settings) -> TraderLog | None:
    """What logs for the trader; loaded only where somebody wants it."""
    if settings.log.level == "off":
        return None
    from surefoot.logs import TraderLog

    return TraderLog()


async def _set_clock(clock: WallClock | MarketClock, gateway: Gateway, time_path: str) -> bool:
    """Begin at the market's time."""
    for _ in range(FIRST_TIME_TRIES):
        market_ms = await gateway.server_time_ms(time_path)
        if market_ms is not None:
            clock.observe(market_ms)
            return True
        await asyncio.sleep(FIRST_TIME_PAUSE_S)
    return False


def _started(settings: Settings, now_ms: int) -> RunStarted:
    """The run's name is the moment of its start on the wall clock, so that no order id is ever used twice."""
    run = _base36(time.time_ns() // 1_000)
    return RunStarted(now_ms, run, settings.mode, settings.market.symbols, settings_digest(settings), __version__)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
