"""A stage for scenarios and the swarm: the bot and the simulated exchange in virtual time, with faults on the way.

It wraps the driver of the exact backtest. Signals come from a script, prices from the test; everything else is the
real engine, session, codec, exchange and journal encoding.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.market import Market as Prints
from simex.signing import hmac_signature
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, FillModel, InstrumentSpec
from simex.venue import HttpRequest as VenueRequest
from surefoot.assembly import build_session, engine_settings
from surefoot.binance.dialogue import HttpRequest, Keys, SocketRequest
from surefoot.config import Settings, load
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    Command,
    Event,
    QueryOrder,
    RecordAlarm,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import Candle, Market, Signal
from surefoot.research.exact import FINE, Fate, VirtualTime
from surefoot.store.journal import NOT_JOURNALED
from surefoot.store.records import decode, encode

KEYS = Keys("stage-key", "stage-secret")
START_MS = 1_790_000_100_000 // 900_000 * 900_000
QUARTER_HOUR_MS = 900_000
PLENTY = Decimal(1_000_000)


class Script:
    """Signals that a test puts in: the next candle of a symbol gets the next one."""

    def __init__(self) -> None:
        self.next: dict[str, deque[tuple[float, float]]] = {}

    def say(self, symbol: str, target: float, score: float = 0.9) -> None:
        self.next.setdefault(symbol, deque()).append((target, score))

    def warm(self, candles: Sequence[Candle]) -> None:
        """History changes nothing in a script."""

    def correlation(self, symbol: str, other: str) -> float | None:
        return 0.0

    def prepare(self) -> bool:
        return False

    def on_candle(self, candle: Candle) -> Signal:
        waiting = self.next.get(candle.symbol)
        if not waiting:
            return Signal(candle.symbol, candle.close_ms, None, 0.0, "silent")
        target, score = waiting.popleft()
        return Signal(candle.symbol, candle.close_ms, target, score, "scripted")


@dataclass(slots=True)
class Planned:
    """Fates by the first request whose method and path match (SOCKET and its method for one by the WebSocket API);
    frames by link. Each plan is used once."""

    requests: list[tuple[str, str, Fate]] = field(default_factory=list)
    frames: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        for plan in self.requests:
            method, path, fate = plan
            if isinstance(request, SocketRequest):
                matches = method == "SOCKET" and f'"method":"{path}' in request.text
            else:
                matches = request.method == method and request.target.startswith(path)
            if matches:
                self.requests.remove(plan)
                return fate
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        for plan in self.frames:
            if plan[0] == link and plan[1] in text:
                self.frames.remove(plan)
                return plan[2]
        return (0,)


# A story is told without what would only get in its way; one that is about them sets them itself.
PLAIN = {
    "orders.transport": "rest",
    "risk.loss_streak_max": "0",
    "risk.entry_gap_min_s": "0",
    "risk.spread_max_pct": "10",
    "risk.price_age_max_ms": "3600000",
    "breaker.venue_errors_max": "0",
    "breaker.refusals_max": "0",
    "breaker.stale_data_max_s": "0",
}


def stage_settings(symbols: Sequence[str], **overrides: str) -> Settings:
    values = {"market.symbols": ",".join(symbols), "market.warmup_candles": "20", "rsi.period": "14"} | PLAIN
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return load(None, values | dotted, {}).settings


class Stage:
    """One account, one bot, one exchange. Times go on only when a test lets them."""

    def __init__(
        self,
        settings: Settings,
        *,
        usdt: str = "10000",
        instruments: Sequence[InstrumentSpec] | None = None,
        fates: Planned | None = None,
        engine_maker: Callable[[Settings, Script], Engine] | None = None,
        tape: Prints | None = None,
        balances: Mapping[str, Decimal] | None = None,
        latency_ms: int = 10,
        supervised: bool = False,
        others: Sequence[str] = (),
    ) -> None:
        """`others` are contracts that the exchange has besides those that are traded."""
        self.settings = settings
        self.script = Script()
        self.planned = fates if fates is not None else Planned()
        owned = {"USDT": Decimal(usdt), **(balances or {})}
        self.exchange = _exchange(settings, owned, instruments, supervised, others)
        self.journal: list[tuple[str, bytes]] = []
        self.sent: list[Command] = []  # commands since the last look
        self.counts: Counter[str] = Counter()
        self.runs = 0
        self._tape = tape
        self._latency_ms = latency_ms
        self._supervised = supervised
        self._maker = engine_maker or scripted_engine
        self.now_ms = START_MS
        self.driver = self._new_driver()

    # -- life and death of the bot ----------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        return self.driver.engine

    def _new_driver(self) -> VirtualTime:
        engine = self._maker(self.settings, self.script)
        for kind, body in self.journal:
            engine.fold(decode(kind, body))
        session = build_session(self.settings, KEYS, lambda: 0.5, watch_always=True, supervised=self._supervised)
        return VirtualTime(
            engine, session, self.exchange, self._tape, self._latency_ms, self._record, self.planned, self.now_ms
        )

    def start(self) -> None:
        """Begin a run and let it come up."""
        self.runs += 1
        held = sorted(self.engine.portfolio.positions)
        extra = [symbol for symbol in held if symbol not in self.settings.market.symbols]
        started = RunStarted(self.now_ms, f"r{self.runs}", "paper", self.settings.market.symbols, "stage", "0")
        self.driver.begin(started, extra, holds=bool(held))

    def kill(self) -> None:
        """The process dies: what it had in memory is gone, what it had sent is on its way, connections break."""
        self.driver.now_ms = max(self.driver.now_ms, self.now_ms)
        self.driver.deliver_requests_on_their_way()
        for line in self.driver.session.lines.values():
            self.driver.cut(line.name, None)
        self.now_ms = self.driver.now_ms
        self.driver = self._new_driver()

    def revive(self) -> None:
        """Begin a run after a time in which the exchange went on alone."""
        self.driver = self._new_driver()
        self.start()

    def _record(self, message: Event | Command) -> None:
        kind, body = encode(message)
        if type(message) not in NOT_JOURNALED:
            self.journal.append((kind, body))
        self.counts[kind] += 1
        if not isinstance(message, Event):
            self.sent.append(message)
            if isinstance(message, RecordAlarm):
                self.counts[f"alarm {message.code}"] += 1

    # -- the market -------------------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.driver.run(self.now_ms)

    def price(self, symbol: str, price: Decimal, liquidity: Decimal = PLENTY) -> None:
        """A print now."""
        self.driver.run(self.now_ms)
        self.exchange.tick(symbol, price, Decimal(1), liquidity, self.now_ms)
        self.driver.take_frames()
        self.driver.run(self.now_ms)

    def start_holding(self, symbol: str, price: Decimal) -> None:
        """Start, and let it buy at this price and protect what it bought."""
        self.price(symbol, price)
        self.start()
        self.wait(3_000)
        self.script.say(symbol, 1.0)
        self.next_candle(symbol)
        self.wait(3_000)
        assert symbol in self.engine.portfolio.positions

    def next_candle(self, symbol: str, liquidity: Decimal = PLENTY) -> None:
        """Go to the next quarter of an hour; its first print, at the last price, closes the candle."""
        price = self.exchange.last_price(symbol)
        assert price is not None, "a price first"
        self.now_ms = (self.now_ms // QUARTER_HOUR_MS + 1) * QUARTER_HOUR_MS
        self.price(symbol, price, liquidity)

    # -- the venue's word -------------------------------------------------------------------------------------

    def ask(self, path: str, method: str = "GET", **params: str) -> object:
        """A signed read of the account, or what its owner does on the site, past all faults."""
        query = "&".join(
            f"{name}={value}"
            for name, value in {**params, "recvWindow": "60000", "timestamp": str(self.now_ms)}.items()
        )
        target = f"{path}?{query}&signature={hmac_signature(KEYS.secret, query.encode())}"
        answer = self.exchange.rest(VenueRequest(method, target, {"x-mbx-apikey": KEYS.api_key}), self.now_ms)
        body: object = json.loads(answer.body)
        assert answer.status == 200, body
        if method != "GET":
            self.driver.take_frames()
        return body

    def venue_orders(self, symbol: str) -> list[dict[str, object]]:
        orders = self.ask("/api/v3/allOrders", symbol=symbol, limit="1000")
        assert isinstance(orders, list)
        return orders

    def venue_balances(self) -> dict[str, Decimal]:
        account = self.ask("/api/v3/account", omitZeroBalances="true")
        assert isinstance(account, dict)
        totals = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in account["balances"]}
        return {asset: total for asset, total in totals.items() if total}

    # -- invariants -------------------------------------------------------------------------------------------

    def submitted(self) -> list[str]:
        """Client order ids that the bot ever decided to send."""
        ids: list[str] = []
        for kind, body in self.journal:
            if kind in ("SubmitOrder", "SubmitList", "ReplaceOrder"):
                message = decode(kind, body)
                if isinstance(message, SubmitOrder | ReplaceOrder):
                    ids.append(message.order.client_order_id)
                elif isinstance(message, SubmitList):
                    ids += [order.client_order_id for order in message.orders]
        return ids

    def check_orders(self) -> None:
        """At most one order of the venue for each intent, and none that the journal does not know."""
        ours = Counter(self.submitted())
        assert not [name for name, count in ours.items() if count > 1], "an id was used twice"
        for symbol in self.settings.market.symbols:
            theirs = Counter(str(order["clientOrderId"]) for order in self.venue_orders(symbol))
            assert not [name for name, count in theirs.items() if count > 1], f"{symbol}: doubled orders {theirs}"
            assert not set(theirs) - set(ours), f"{symbol}: forgotten orders {set(theirs) - set(ours)}"

    def check_books(self) -> None:
        """The ledger equals the venue's balances, to the last digit."""
        wallets = {asset: amount for asset, amount in self.engine.portfolio.wallets().items() if amount}
        assert wallets == self.venue_balances()
        self.exchange.check_books()

    def queries(self) -> int:
        return sum(isinstance(command, QueryOrder) for command in self.sent)


def _exchange(
    settings: Settings,
    owned: Mapping[str, Decimal],
    instruments: Sequence[InstrumentSpec] | None,
    forming: bool,
    others: Sequence[str],
) -> Exchange:
    if settings.market.venue is Market.FUTURES:
        contracts = [spec for spec in DEFAULT_CONTRACTS if spec.symbol in (*settings.market.symbols, *others)]
        account = AccountSpec(KEYS.api_key, KEYS.secret, {}, wallet=owned)
        return Exchange([], [account], model=FillModel(), forming_klines=forming, contracts=contracts)
    specs = instruments or [spec for spec in DEFAULT_INSTRUMENTS if spec.symbol in settings.market.symbols]
    account = AccountSpec(KEYS.api_key, KEYS.secret, owned)
    return Exchange(specs, [account], model=FillModel(), forming_klines=forming)


def scripted_engine(settings: Settings, script: Script) -> Engine:
    """An engine of the settings that listens to the script."""
    return Engine(engine_settings(settings), script)


def instrument(symbol: str, **changes: object) -> InstrumentSpec:
    """A default instrument with other rules."""
    spec = next(spec for spec in DEFAULT_INSTRUMENTS if spec.symbol == symbol)
    return replace(spec, **changes)  # type: ignore[arg-type]
