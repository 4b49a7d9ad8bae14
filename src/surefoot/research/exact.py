"""The virtual-time driver: the live engine, session and codec against the simulated exchange, without sockets or clock.

One heap of (time, sequence) moves things between the machines; ties break by sequence, so a run is the same every time.
A request takes `latency_ms` to the exchange and its answer as long back; frames take it once. What the real-time driver
does over sockets, in the same order, this does in memory: nothing else differs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal, Protocol

import numpy as np

from simex.exchange import Exchange
from simex.futures.contracts import ContractSpec, contract_for
from simex.market import CandleTape, GeneratedMarket
from simex.market import Market as Prints
from simex.strip import VOLUME_DECIMALS_MIN, Spool, Strip
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, FillModel, instrument_for
from simex.venue import HttpRequest as VenueRequest
from simex.venue import HttpResponse as VenueResponse
from surefoot.binance.dialogue import (
    Arrival,
    CloseLink,
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    Keys,
    LinkDown,
    LinkUp,
    OpenLink,
    Request,
    SendText,
    SocketRequest,
    Wake,
)
from surefoot.binance.session import Session
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    AccountSnapshot,
    CandleClosed,
    Command,
    Event,
    PriceMarked,
    ReadAccount,
    RecordDecision,
    RecordEquity,
    RunStarted,
    Woke,
)
from surefoot.core.model import MS_PER_DAY, MS_PER_HOUR, ZERO, Market
from surefoot.research.funding import Settlements
from surefoot.research.tape import Tape, TapeColumns, counted

NEVER_MS = 1 << 62
STRIDE_LATENCY_MAX_MS = 1_000  # what a stride leaves to be told last has to arrive before anything else happens
KEPT_MS = 7 * MS_PER_DAY  # the bot reads candles only at its start, when there are none yet
BOOT_MS = 60_000  # how long before the first candle the bot starts, to be ready when it opens
DEMO_KEYS = Keys("surefoot-backtest-key", "surefoot-backtest-secret")
RECORDS = RecordDecision, RecordEquity, ReadAccount  # what a calm stretch comes to

Sink = Callable[[Event | Command], None]


class Fates(Protocol):
    """What may befall a message on its way. The default lets everything through; tests bring their own."""

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate: ...

    def frame(self, link: str, text: str, at_ms: int) -> Sequence[int]: ...


@dataclass(frozen=True, slots=True)
class _Travelling:
    """A request on its way, and what will become of it; by a socket, `number` is the exchange's of its connection."""

    request: HttpRequest | SocketRequest
    fate: Fate
    number: int = 0


@dataclass(frozen=True, slots=True)
class _Told:
    """Something that reaches the engine without the venue: what an operator asks for."""

    event: Event


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a request: whether it arrives, how much later, and what comes back instead of the answer."""

    arrives: bool = True
    extra_ms: int = 0  # later to the exchange
    answer_extra_ms: int = 0  # later back
    instead: int | None = None  # this HTTP status comes back, whatever the exchange said; 0 is no answer at all


class Faultless:
    """Nothing ever goes wrong on the way."""

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> Sequence[int]:
        return ON_TIME


FINE = Fate()
ON_TIME = (0,)  # one delivery, no delay; an empty tuple is a loss, two entries a repeat


@dataclass(slots=True)
class VirtualTime:
    """Engine, session and exchange on one heap. `sink` sees every event before the engine does, every command after."""

    engine: Engine
    session: Session
    exchange: Exchange
    tape: Prints | None
    latency_ms: int
    sink: Sink
    fates: Fates = field(default_factory=Faultless)
    now_ms: int = 0
    strides: bool = False  # what changes nothing is passed over, see `CandleTape` and `Engine.calm_prices`
    looks_between: bool = False  # the tape is looked at between two runs: no symbol is ahead of the time
    last_reading: AccountSnapshot | None = None  # of the account, while nothing has happened to it since
    _heap: list[tuple[int, int, _Travelling | _Told | Request | Arrival]] = field(default_factory=list)
    _sequence: int = 0
    _links: dict[str, int] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _last_link: int = 0
    _wake_ms: int = NEVER_MS
    _until_ms: int = 0

    @property
    def strides_allowed(self) -> bool:
        return self.strides and self.latency_ms <= STRIDE_LATENCY_MAX_MS

    def begin(self, started: RunStarted, extra_symbols: Sequence[str] = (), *, holds: bool = False) -> None:
        """Start the run at its own time. The rest as in `Session.start`."""
        self.now_ms = started.at_ms
        self._react(started)
        self.session.start(extra_symbols, holds=holds)
        self._send_requests()

    def run(self, until_ms: int) -> None:
        """Go on to a time. Deadlines are met exactly; at the same millisecond messages come before the market, and the
        market before deadlines."""
        self._until_ms = until_ms
        while True:
            arrival_ms = self._heap[0][0] if self._heap else NEVER_MS
            market_ms = self._market_ms()
            due_ms = min(arrival_ms, market_ms, self._wake_ms)
            if due_ms > until_ms:
                break
            self._turn(due_ms, arrival_ms, market_ms)
        self.now_ms = max(self.now_ms, until_ms)

    def drain(self) -> None:
        """Let everything arrive that is on its way; no deadline is waited for."""
        while self._heap:
            self._turn(self._heap[0][0], self._heap[0][0], NEVER_MS)

    def mark_all(self, symbols: Iterable[str]) -> None:
        """Tell the engine every symbol's last price, also of those whose price it does not watch: for a last look."""
        for symbol in symbols:
            price = self.exchange.last_price(symbol)
            if price is not None:
                price = Decimal(repr(float(price)))  # written as in a candle file: a last equity has these digits, too
                self._react(PriceMarked(self.now_ms, symbol, price, price, self.now_ms))

    def tell(self, event: Event) -> None:
        """Let the engine hear of something at the event's own time, which is not over yet."""
        self._push(event.at_ms - self.now_ms, _Told(event))

    def deliver_requests_on_their_way(self) -> None:
        """What has left arrives at the exchange although nobody is there to hear the answer."""
        for _, _, item in sorted(self._heap, key=lambda entry: entry[:2]):
            if isinstance(item, _Travelling):
                self._deliver(item)
        self._heap.clear()

    def _market_ms(self) -> int:
        next_ms = self.tape.next_ms() if self.tape else None
        return NEVER_MS if next_ms is None else next_ms

    def _turn(self, now_ms: int, arrival_ms: int, market_ms: int) -> None:
        self.now_ms = max(self.now_ms, now_ms)
        if arrival_ms == now_ms:
            self._deliver(heapq.heappop(self._heap)[2])
        elif market_ms == now_ms:
            assert self.tape is not None
            strides = self.strides_allowed
            # What nobody watches is not looked at between two runs either.
            looks_ms = NEVER_MS if strides and not self.looks_between else self._until_ms + 1
            before_ms = min(arrival_ms, self._wake_ms + 1, looks_ms)
            self.tape.advance(self.exchange, before_ms, self._calm_prices if strides else None)
            self.take_frames()
        else:
            self._receive(Wake())
            self._react(Woke(self.now_ms))
            self._send_requests()

    def _calm_prices(self) -> tuple[int, Mapping[str, tuple[Decimal, Decimal]]] | None:
        calm = self.engine.calm_prices(self.now_ms)
        hour_ends_ms = (self.now_ms // MS_PER_HOUR + 1) * MS_PER_HOUR
        return None if calm is None else (min(calm[0], hour_ends_ms, self._until_ms + 1), calm[1])

    # -- towards the exchange ---------------------------------------------------------------------------------

    def _send_requests(self) -> None:
        for request in self.session.take_requests(self.now_ms):
            if isinstance(request, HttpRequest):
                fate = self.fates.request(request, self.now_ms)
                self._push(self.latency_ms + fate.extra_ms, _Travelling(request, fate))
            elif isinstance(request, SocketRequest):
                self._send_by_socket(request)
            else:
                self._push(self.latency_ms, request)
        engine_ms, session_ms = self.engine.deadline_ms(), self.session.deadline_ms()
        self._wake_ms = NEVER_MS if engine_ms is None else engine_ms
        if session_ms is not None and session_ms < self._wake_ms:
            self._wake_ms = session_ms

    def _send_by_socket(self, request: SocketRequest) -> None:
        number = self._links.get(request.link)
        if number is None:
            self._push(0, HttpFailed(request.request_id, False, f"the {request.link} link is down"))
            return
        fate = self.fates.request(request, self.now_ms)
        self._push(self.latency_ms + fate.extra_ms, _Travelling(request, fate, number))

    def _push(self, delay_ms: int, item: _Travelling | _Told | Request | Arrival) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._sequence, item))

    def _deliver(self, item: _Travelling | _Told | Request | Arrival) -> None:
        match item:
            case _Travelling(request=HttpRequest() as request):
                self._execute(request, item.fate)
            case _Travelling():
                assert isinstance(item.request, SocketRequest)
                self._execute_by_socket(item.request, item.fate, item.number)
            case _Told():
                self._react(item.event)
                self._send_requests()
            case OpenLink():
                self._open(item)
            case CloseLink():
                self.cut(item.link, None)
            case SendText():
                if item.link in self._links:
                    self.exchange.ws_text(self._links[item.link], item.text, self.now_ms)
                    self.take_frames()
            case HttpRequest() | SocketRequest():
                raise AssertionError("a request travels with its fate")
            case _:
                self._receive(item)
                self._send_requests()

    def _execute(self, request: HttpRequest, fate: Fate) -> None:
        response: VenueResponse | None = None
        if fate.arrives:
            headers = {name.lower(): value for name, value in request.headers.items()}
            response = self.exchange.rest(VenueRequest(request.method, request.target, headers, b""), self.now_ms)
        delay_ms = self.latency_ms + fate.answer_extra_ms
        if fate.instead is not None and fate.instead > 0:
            self._push(delay_ms, HttpAnswer(request.request_id, fate.instead, {}, b""))
        elif response is None or fate.instead == 0:
            self._push(delay_ms, HttpFailed(request.request_id, True, "the answer was lost"))
        else:
            self._push(delay_ms, HttpAnswer(request.request_id, response.status, _lower(response), response.body))
        self.take_frames()

    def _execute_by_socket(self, request: SocketRequest, fate: Fate, number: int) -> str | None:
        """The answer, if one goes back. What reaches no connection is lost with it."""
        if number not in self._names:
            return None
        if fate.arrives:
            self.exchange.ws_text(number, request.text, self.now_ms)
        frames = self.exchange.take_frames()
        mark = f'{{"id":{request.request_id},'
        answer = next((text for link, text in frames if link == number and text.startswith(mark)), None)
        self._send_on([frame for frame in frames if frame != (number, answer)])
        told = answer if fate.instead is None else self._told_instead(request, fate)
        if told is not None:
            self._send_on([(number, told)], fate.answer_extra_ms)
        return told

    def _told_instead(self, request: SocketRequest, fate: Fate) -> str | None:
        return f'{{"id":{request.request_id},"status":{fate.instead}}}' if fate.instead else None

    def _open(self, request: OpenLink) -> None:
        self._last_link += 1
        if not self.exchange.ws_open(self._last_link, request.target, self.now_ms):
            self._push(self.latency_ms, LinkDown(request.link, "no such path"))
            return
        self._links[request.link], self._names[self._last_link] = self._last_link, request.link
        self._push(self.latency_ms, LinkUp(request.link))

    def cut(self, link: str, text: str | None) -> None:
        """End a connection; with a text the session hears of it."""
        number = self._links.pop(link, None)
        if number is None:
            return
        self._names.pop(number)
        self.exchange.ws_close(number)
        if text is not None:
            self._push(0, LinkDown(link, text))

    # -- towards the engine -----------------------------------------------------------------------------------

    def take_frames(self) -> None:
        """Send on what the exchange has queued."""
        self._send_on(self.exchange.take_frames())

    def _send_on(self, frames: Iterable[tuple[int, str]], extra_ms: int = 0) -> None:
        for number, text in frames:
            link = self._names.get(number)
            if link is None:
                continue
            for delay_ms in self.fates.frame(link, text, self.now_ms):
                self._push(self.latency_ms + delay_ms + extra_ms, Frame(link, text))

    def _receive(self, arrival: Arrival) -> None:
        if isinstance(arrival, Frame) and arrival.link not in self._links:
            return  # it was on its way when the connection broke
        for event in self.session.receive(arrival, self.now_ms):
            self._react(event)

    def hear(self, event: Event) -> None:
        """Let the engine hear of something on a calm stretch, where nothing follows for the venue."""
        self.sink(event)
        for command in self.engine.step(event):
            assert isinstance(command, RECORDS), f"a calm stretch was not calm: {command}"
            self.sink(command)

    def quiet_until_ms(self) -> int:
        """When the next message arrives or the session is to be woken, if nothing happens before."""
        session_ms = self.session.deadline_ms()
        arrival_ms = self._heap[0][0] if self._heap else NEVER_MS
        return arrival_ms if session_ms is None else min(arrival_ms, session_ms)

    def resume(self, now_ms: int) -> None:
        """Go on from a time up to which nothing has happened."""
        self.now_ms = now_ms
        self._send_requests()

    def _react(self, event: Event) -> None:
        if isinstance(event, AccountSnapshot):
            self.last_reading = event
        elif not isinstance(event, (PriceMarked, CandleClosed, Woke)):
            self.last_reading = None
        self.sink(event)
        commands = self.engine.step(event)
        if not commands:
            return
        for command in commands:
            self.sink(command)
        self.session.submit(commands, self.now_ms)


def _lower(response: VenueResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


@dataclass(frozen=True, slots=True)
class Costs:
    """The account and the fill model of a backtest; shares and fees as the names say. Funding is of 8 hours."""

    balances: Mapping[str, Decimal]
    fee_bps: Decimal
    half_spread_bps: Decimal
    slippage_bps: Decimal
    volume_share: Decimal
    path: Literal["worst", "best"]
    market: Market = Market.SPOT
    funding_bps: Decimal = Decimal(0)
    funding: Mapping[str, Settlements] = field(default_factory=dict)  # instead, where there is one


def candle_exchange(tapes: Iterable[Tape], costs: Costs, keys: Keys = DEMO_KEYS) -> tuple[Exchange, CandleTape]:
    """An exchange in memory that will live through these candles, and the tape that makes it."""
    known = list(tapes)
    exchange = _exchange([_steps(tape) for tape in known], costs, keys)
    spools = {tape.symbol: Spool(map(_strip, tape.blocks()), tape.end_ms) for tape in known}
    return exchange, CandleTape(spools, path=costs.path, always_tick=False, volume_share=costs.volume_share)


def bare_exchange(prices: Mapping[str, Decimal], costs: Costs, keys: Keys = DEMO_KEYS) -> Exchange:
    """An exchange in memory without a market: whoever has it makes every print. `prices` say how fine its ticks are."""
    return _exchange([(symbol, [price]) for symbol, price in prices.items()], costs, keys)


def _exchange(listed: Sequence[tuple[str, Sequence[Decimal]]], costs: Costs, keys: Keys) -> Exchange:
    """An exchange that lists these symbols, with prices that say how fine their ticks are, on one market."""
    model = FillModel(costs.half_spread_bps, costs.slippage_bps, costs.volume_share, costs.path, "waits")
    if costs.market is Market.SPOT:
        instruments = [instrument_for(symbol, prices) for symbol, prices in listed]
        account = AccountSpec(keys.api_key, keys.secret, costs.balances, costs.fee_bps, costs.fee_bps)
        return Exchange(instruments, [account], model=model, forming_klines=False, kept_ms=KEPT_MS, kept_trades=0)
    rate = costs.funding_bps / 10_000
    contracts = [replace(contract_for(symbol, prices), funding_rate=rate) for symbol, prices in listed]
    contracts = [_funded(contract, costs.funding.get(contract.symbol)) for contract in contracts]
    account = AccountSpec(
        keys.api_key, keys.secret, {}, wallet=costs.balances, futures_maker_bps=costs.fee_bps,
        futures_taker_bps=costs.fee_bps,
    )  # fmt: skip
    return Exchange(
        [], [account], model=model, forming_klines=False, kept_ms=KEPT_MS, kept_trades=0, contracts=contracts
    )


def _funded(contract: ContractSpec, settled: Settlements | None) -> ContractSpec:
    if settled is None:
        return contract
    rates = [rate for _, rate in settled.rates]
    return replace(
        contract,
        funding_rates=settled.rates,
        funding_hours=settled.hours,
        funding_cap=max(contract.funding_cap, *rates, ZERO),
        funding_floor=min(contract.funding_floor, *rates, ZERO),
    )


def generated_prices(symbols: Sequence[str], seed: int) -> dict[str, Decimal]:
    """Prices as the generated market has them at its start, of those symbols that it knows."""
    known = [spec.symbol for spec in DEFAULT_INSTRUMENTS if spec.symbol in symbols]
    if not known:
        return {}
    market = GeneratedMarket(seed, known, MS_PER_DAY, history_days=1)
    return {symbol: candles[-1].close for symbol, candles in market.history.items()}


def _steps(tape: Tape) -> tuple[str, Sequence[Decimal]]:
    """All four prices of each candle count: any of them may need a finer tick than the others do."""
    decimals = max(counted(np.vstack(block[2:6]))[0] for block in tape.blocks())
    first = Decimal(repr(tape.columns.open.item(0)))
    return tape.symbol, [first, Decimal(1).scaleb(-decimals)]  # a step stands for what lies on it


def _strip(block: TapeColumns) -> Strip:
    price_decimals, (opens, highs, lows, closes) = counted(np.vstack(block[2:6]))
    volume_decimals, (volumes,) = counted(block.volume[np.newaxis])
    finer = 10 ** max(0, VOLUME_DECIMALS_MIN - volume_decimals)
    return Strip(
        price_decimals,
        max(volume_decimals, VOLUME_DECIMALS_MIN),
        block.open_ms.tolist(),
        block.length_ms.tolist(),
        opens,
        highs,
        lows,
        closes,
        [volume * finer for volume in volumes],
    )
