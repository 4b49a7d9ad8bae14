"""A desk for the core's tests: one symbol's rules, ordinary settings, a scripted strategy, and an engine that is fed.

Nothing here stands in for a part of the core: the engine, its order book and its portfolio are the real ones. The
journal that a desk keeps is what a real journal keeps: price marks, wake-ups and history are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, TypeVar

from surefoot.core.breaker import BreakerSettings, Limit
from surefoot.core.engine import Engine
from surefoot.core.exits import ExitSettings
from surefoot.core.facts import EngineSettings
from surefoot.core.margin import MarginSettings
from surefoot.core.messages import (
    AccountSnapshot,
    CandleClosed,
    Command,
    Event,
    HistoryLoaded,
    InstrumentsLoaded,
    LinkRestored,
    MarkPriceTold,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    PriceMarked,
    RecordAlarm,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
    Woke,
)
from surefoot.core.model import (
    Balance,
    Bracket,
    Candle,
    FeeRates,
    Fill,
    Instrument,
    Market,
    OrderRequest,
    OrderType,
    Purpose,
    Readiness,
    Side,
    Signal,
    Tier,
    VenueOrder,
    VenuePosition,
)
from surefoot.core.orders import Order
from surefoot.core.risk import RiskSettings

START_MS = 1_790_000_000_000  # some Monday, 14:13:20 UTC
INTERVAL_MS = 900_000
FEES = FeeRates(maker=Decimal("0.001"), taker=Decimal("0.001"))
NOT_JOURNALED = PriceMarked | MarkPriceTold | Woke | HistoryLoaded

T = TypeVar("T")


def dec(text: str | int) -> Decimal:
    return Decimal(text)


BTC = Instrument(
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    trading=True,
    tick_size=dec("0.01"),
    price_min=dec("0.01"),
    price_max=dec("1000000"),
    lot_size=dec("0.00001"),
    quantity_min=dec("0.00001"),
    quantity_max=dec("9000"),
    market_quantity_max=dec("100"),
    notional_min=dec("5"),
    notional_max=dec("9000000"),
    bid_multiplier_down=dec("0.2"),
    bid_multiplier_up=dec("5"),
    ask_multiplier_down=dec("0.2"),
    ask_multiplier_up=dec("5"),
    orders_max=200,
    order_types=("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"),
    oco_allowed=True,
    oto_allowed=True,
    opo_allowed=True,
)

_BRACKET_ROWS = (  # of the protocol's example table: cap, most leverage, rate, deduction
    ("300000", 150, "0.004", "0"),
    ("800000", 100, "0.005", "300"),
    ("3000000", 75, "0.0065", "1500"),
    ("12000000", 50, "0.01", "12000"),
    ("70000000", 25, "0.02", "132000"),
    ("100000000", 20, "0.025", "482000"),
    ("230000000", 10, "0.05", "2982000"),
    ("480000000", 5, "0.1", "14482000"),
    ("600000000", 4, "0.125", "26482000"),
    ("800000000", 3, "0.15", "41482000"),
    ("1200000000", 2, "0.25", "121482000"),
    ("1800000000", 1, "0.5", "421482000"),
)
_FLOORS = ("0", *(cap for cap, *_ in _BRACKET_ROWS))
BRACKETS = tuple(
    Bracket(dec(floor), dec(cap), leverage, dec(rate), dec(deduction))
    for floor, (cap, leverage, rate, deduction) in zip(_FLOORS, _BRACKET_ROWS, strict=False)
)
PERP = replace(
    BTC,
    tick_size=dec("0.1"),
    lot_size=dec("0.001"),
    quantity_min=dec("0.001"),
    quantity_max=dec("1000"),
    notional_min=dec("100"),
    notional_max=dec(0),
    bid_multiplier_down=dec(0),
    bid_multiplier_up=dec("1.05"),
    ask_multiplier_down=dec("0.95"),
    ask_multiplier_up=dec(0),
    order_types=("LIMIT", "MARKET", "STOP_MARKET", "TAKE_PROFIT_MARKET"),
    oco_allowed=False,
    oto_allowed=False,
    opo_allowed=False,
    market=Market.FUTURES,
    brackets=BRACKETS,
)
MARGIN = MarginSettings(leverage=3, isolated=False, distance_min_pct=dec(1))

RISK = RiskSettings(
    risk_pct_of_equity=dec("2.0"),
    notional_max_pct_of_equity=dec("20"),
    notional_max_quote=dec("100000"),
    reserve_pct_of_balance=dec("10"),
    score_min=0.6,
    signal_expiry_ms=1_800_000,
    entry_limit_offset_pct=dec("0.1"),
)
BREAKER = BreakerSettings(
    day_loss=Limit(dec("5"), Tier.NO_ENTRIES),
    rolling_loss=Limit(dec("5"), Tier.NO_ENTRIES),
    week_loss=Limit(dec("7"), Tier.NO_ENTRIES),
    drawdown=Limit(dec("15"), Tier.NO_ENTRIES),
    venue_errors_max=0,
    stale_data_max_ms=0,
    clock_skew_max_ms=0,
    refusals_max=0,
)
EXITS = ExitSettings(stop_pct_of_price=dec("2"), target_pct_of_price=dec("4"))
SETTINGS = EngineSettings(
    symbols=("BTCUSDT",),
    quote="USDT",
    risk=RISK,
    exits=EXITS,
    breaker=BREAKER,
    recv_window_ms=5_000,
    entry_timeout_ms=15_000,
    partial_fill_wait_ms=2_000,
    unprotected_max_ms=10_000,
    reconcile_every_ms=300_000,
)
LOST_AFTER_MS = 20_000  # receive window 5 s, server limit 10 s, margin 5 s


def request(
    client_order_id: str,
    side: Side = Side.BUY,
    purpose: Purpose = Purpose.ENTRY,
    quantity: str | None = "2",
    price: str = "100",
    symbol: str = "BTCUSDT",
) -> OrderRequest:
    size = None if quantity is None else dec(quantity)
    return OrderRequest(client_order_id, symbol, side, OrderType.LIMIT, purpose, size, dec(price))


def fill(
    client_order_id: str,
    trade_id: int,
    quantity: str,
    price: str = "100",
    side: Side = Side.BUY,
    fee: str = "0",
    fee_asset: str = "BNB",
    at_ms: int = START_MS,
    symbol: str = "BTCUSDT",
) -> Fill:
    return Fill(
        client_order_id,
        symbol,
        trade_id,
        side,
        dec(price),
        dec(quantity),
        dec(fee),
        fee_asset,
        maker=False,
        at_ms=at_ms,
    )


@dataclass(slots=True)
class Script:
    """A strategy that says what the test tells it to; nothing unless told."""

    target: float | None = None
    score: float = 0.9
    readiness: Readiness = Readiness.BEST
    atr: float | None = None
    correlations: dict[frozenset[str], float] = field(default_factory=dict)
    warmed: list[Candle] = field(default_factory=list)

    def warm(self, candles: Sequence[Candle]) -> None:
        self.warmed += candles

    def on_candle(self, candle: Candle) -> Signal:
        rule = "scripted" if self.target is not None else "no opinion"
        values = (("close", float(candle.close)),)
        return Signal(candle.symbol, candle.close_ms, self.target, self.score, rule, values, self.readiness, self.atr)

    def correlation(self, symbol: str, other: str) -> float | None:
        return self.correlations.get(frozenset((symbol, other)))

    def prepare(self) -> bool:
        return False


def of(kind: type[T], messages: Iterable[object]) -> list[T]:
    """The messages of one kind, in order."""
    return [message for message in messages if isinstance(message, kind)]


def only(kind: type[T], messages: Iterable[object]) -> T:
    """The one message of a kind; fails when there is none, or are several."""
    found = of(kind, messages)
    assert len(found) == 1, found
    return found[0]


def sent(commands: Iterable[Command]) -> list[OrderRequest]:
    """Every order that the commands place."""
    orders: list[OrderRequest] = []
    for command in commands:
        if isinstance(command, (SubmitOrder, ReplaceOrder)):
            orders.append(command.order)
        elif isinstance(command, SubmitList):
            orders += command.orders
    return orders


def codes(commands: Iterable[Command]) -> list[str]:
    """The alarms that were raised."""
    return [alarm.code for alarm in of(RecordAlarm, commands)]


@dataclass(slots=True)
class Desk:
    """An engine that is told events one by one, the clock it is told with, and what a journal would hold."""

    settings: EngineSettings = SETTINGS
    instrument: Instrument = BTC
    script: Script = field(default_factory=Script)
    now_ms: int = START_MS
    run: str = "r1"
    journal: list[Event | Command] = field(default_factory=list)
    trades: int = 0
    mode: str = "paper"
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings, self.script)

    # -- telling ----------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Command]:
        if not isinstance(event, NOT_JOURNALED):
            self.journal.append(event)
        commands = self.engine.step(event)
        self.journal += commands
        return commands

    def start(self, **balances: str) -> list[Command]:
        """A process life up to books that agree; what the account holds is given by asset."""
        commands = self.begin()
        commands += self.link("market") + self.link("account")
        return commands + self.snapshot(**balances or {"USDT": "1000"})

    def begin(self) -> list[Command]:
        commands = self.tell(RunStarted(self.now_ms, self.run, self.mode, self.settings.symbols, "digest", "0.1.0"))
        return commands + self.tell(InstrumentsLoaded(self.now_ms, (self.instrument,), (("BTCUSDT", FEES),)))

    def link(self, name: str) -> list[Command]:
        return self.tell(LinkRestored(self.now_ms, name))

    def snapshot(self, orders: tuple[VenueOrder, ...] = (), /, **balances: str) -> list[Command]:
        held = tuple(Balance(asset, dec(free), dec(0)) for asset, free in balances.items())
        return self.tell(AccountSnapshot(self.now_ms, held, orders))

    def true_snapshot(self) -> list[Command]:
        """What a venue would say that agrees with our books."""
        balances = tuple(Balance(a, amount, dec(0)) for a, amount in self.engine.portfolio.wallets().items())
        positions = tuple(
            VenuePosition(symbol, each.signed_quantity, each.entry_price or dec(0), None, None)
            for symbol, each in self.engine.portfolio.positions.items()
            if each.contract and each.quantity
        )
        return self.tell(AccountSnapshot(self.now_ms, balances, self.resting(), positions))

    def resting(self) -> tuple[VenueOrder, ...]:
        """Our open orders as the venue tells them."""
        return tuple(
            VenueOrder(
                o.id, o.order_id or 0, o.symbol, o.request.side, o.request.type, o.quantity or dec(0), o.filled,
                o.request.price or dec(0), o.request.stop_price or dec(0), o.resting,
            )
            for o in self.engine.orders.open_orders()
            if not o.finished
        )  # fmt: skip

    def candle(self, close: str, target: float | None = None, score: float = 0.9) -> list[Command]:
        """The next candle closes; the strategy says `target`."""
        self.script.target, self.script.score = target, score
        price = dec(close)
        open_ms = self.now_ms - INTERVAL_MS
        candle = Candle("BTCUSDT", "15m", open_ms, self.now_ms - 1, price, price, price, price, dec(10))
        return self.tell(CandleClosed(self.now_ms, candle))

    def mark(self, price: str) -> list[Command]:
        return self.tell(PriceMarked(self.now_ms, "BTCUSDT", dec(price), dec(price), self.now_ms))

    def mark_price(self, price: str) -> list[Command]:
        return self.tell(MarkPriceTold(self.now_ms, "BTCUSDT", dec(price), self.now_ms))

    def wait(self, ms: int) -> list[Command]:
        """Time passes: the engine is woken at each deadline of its own, as a driver does."""
        commands: list[Command] = []
        end_ms = self.now_ms + ms
        while (due_ms := self.engine.deadline_ms()) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            commands += self.tell(Woke(self.now_ms))
            after_ms = self.engine.deadline_ms()
            assert after_ms is None or after_ms > self.now_ms, "woken, and the deadline is still due"
        self.now_ms = end_ms
        return commands

    # -- what the venue says about an order -------------------------------------------------------------------

    def order(self, client_order_id: str) -> Order:
        order = self.engine.orders.get(client_order_id)
        assert order is not None
        return order

    def accept(
        self, client_order_id: str, resting: bool = True, quantity: str | None = None, executed: str | None = None
    ) -> list[Command]:
        size = self.order(client_order_id).request.quantity if quantity is None else dec(quantity)
        done = None if executed is None else dec(executed)
        return self.tell(OrderAccepted(self.now_ms, client_order_id, len(self.journal), resting, size, done))

    def fill(
        self,
        client_order_id: str,
        quantity: str,
        price: str,
        fee: str = "0",
        fee_asset: str = "USDT",
        realised: str | None = None,
    ) -> list[Command]:
        self.trades += 1
        order = self.order(client_order_id)
        traded = fill(
            client_order_id, self.trades, quantity, price, order.request.side, fee, fee_asset, at_ms=self.now_ms
        )
        traded = replace(traded, realised=None if realised is None else dec(realised))
        return self.tell(OrderFilled(self.now_ms, traded, order.order_id or 1, order.quantity))

    def cancel(self, client_order_id: str, executed: str | None = None) -> list[Command]:
        return self.tell(OrderCanceled(self.now_ms, client_order_id, None if executed is None else dec(executed)))

    # -- longer stories ---------------------------------------------------------------------------------------

    def enter(self, price: str = "30000") -> list[OrderRequest]:
        """A candle that leads to an entry: its orders as they were sent."""
        return sent(self.candle(price, 1.0))

    def hold(self, price: str = "30000") -> tuple[OrderRequest, OrderRequest, OrderRequest]:
        """An entry that is filled and protected: entry, target, stop."""
        entry, target, stop = self.enter(price)
        self.accept(entry.client_order_id)
        self.accept(target.client_order_id, resting=False)
        self.accept(stop.client_order_id, resting=False)
        assert entry.quantity is not None
        self.fill(entry.client_order_id, str(entry.quantity), price)
        for leg in (target, stop):
            self.accept(leg.client_order_id, quantity=str(entry.quantity))
        return entry, target, stop

    def restarted(self, run: str = "r2") -> Desk:
        """A new process life on this desk's journal, begun and not yet linked."""
        desk = replace(self, script=Script(), run=run, journal=list(self.journal))
        for message in self.journal:
            desk.engine.fold(message)
        desk.begin()
        return desk


def facts(engine: Engine) -> dict[str, Any]:
    """Everything that has to survive a restart, as plain values."""
    portfolio, book = engine.portfolio, engine.orders
    known = {order_id: _values(order) for order_id, order in book._orders.items()}
    return {
        "orders": known,
        "open": [order.id for order in book.open_orders()],
        "settled": list(book._settled),
        "ledger": dict(portfolio.ledger),
        "positions": {symbol: _values(position) for symbol, position in portfolio.positions.items()},
        "dust": dict(portfolio.dust),
        "fees paid": dict(portfolio.fees),
        "round trips": list(portfolio.round_trips),
        "opened": portfolio.opened,
        "plans": dict(engine.plans),
        "stages": dict(engine.taken),
        "courses": dict(engine.courses),
        "leaving": (dict(engine._to_leave), set(engine._to_cancel)),
        "cool-down": (engine.cooldown_until_ms, engine._losses_in_row),
        "real money": (engine.live_off, engine._live_on),
        "pause": (engine.paused, dict(engine.last_entry_ms)),
        "errors": (list(engine._errors_ms), dict(engine._same_refusals), engine.order_count),
        "breaker": _values(engine.breaker),
        "instruments": dict(engine.instruments),
        "fee rates": dict(engine.fees),
        "closes": dict(engine.closes),
        "books": (engine.books, engine.differences, engine._reading_account),
        "links": set(engine.links),
        "income": (engine.income_since_ms(), list(engine._incomes)),
        "venue": (set(engine._venue_trades), {order: list(each) for order, each in engine._venue_shares.items()}),
        "run": (engine.run, engine._counter),
        "watched": set(engine._watched),
        "bare": (dict(engine.bare_since), dict(engine._unheard), set(engine._passed)),
        "was bare": (dict(engine.bare_ms), engine.bare_total_ms),
        "round trips bare": [trip.unprotected_ms for trip in engine.portfolio.round_trips],
        "refusals": (
            dict(engine._refusals),
            dict(engine._locked_refusals),
            dict(engine._small_refusals),
            dict(engine._retry_ms),
        ),
        "decisions": list(engine.decisions),
        "alarms": list(engine.alarms),
    }


def _values(thing: Any) -> dict[str, Any]:
    values = {each.name: getattr(thing, each.name) for each in fields(thing) if each.compare}
    return {name: set(value) if isinstance(value, set) else value for name, value in values.items()}
