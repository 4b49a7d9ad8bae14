"""What a person may see of the engine at one moment: an immutable picture, made only when somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from surefoot.core import rules
from surefoot.core.engine import Engine
from surefoot.core.messages import RecordAlarm, RecordDecision, RecordReset, RecordTrip
from surefoot.core.model import Purpose, RoundTrip, Tier
from surefoot.core.orders import Order
from surefoot.core.tally import Spread

ROUND_TRIPS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PriceView:
    symbol: str
    price: Decimal | None
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class OrderView:
    client_order_id: str
    symbol: str
    side: str
    type: str
    purpose: str
    state: str
    quantity: Decimal | None
    filled: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    resting: bool
    submitted_ms: int


@dataclass(frozen=True, slots=True)
class PositionView:
    """`stop_price` and `target_price` are those of orders that rest at the venue; None when there is none.

    `quantity` is negative when short. `profit` is open profit in quote after what was paid, at the newest mark; None
    without a mark. `liquidation_price` is None for spot, and where no price would liquidate. `mark_price` is what the
    venue liquidates by; None for spot, and where it is not told: then the last price is looked at. `unprotected_ms` is
    since when it has no stop, None with one; `unprotected_in_all_ms` also what was so before.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal | None
    mark: Decimal | None
    profit: Decimal | None
    stop_price: Decimal | None
    target_price: Decimal | None
    unprotected_ms: int | None
    liquidation_price: Decimal | None = None
    mark_price: Decimal | None = None
    unprotected_in_all_ms: int = 0


@dataclass(frozen=True, slots=True)
class LimitView:
    """A rule of the breaker on equity: what it measures from, the loss now, and what happens at which loss.

    `start` and `loss_pct` are None where there is nothing to measure from yet, or a price is missing.
    """

    rule: str
    start: Decimal | None
    loss_pct: Decimal | None
    limit_pct: Decimal
    tier: Tier


@dataclass(frozen=True, slots=True)
class TurnView:
    """A trip or a reset, in words; `in_force` is set while a trip holds entries back."""

    at_ms: int
    text: str
    equity: Decimal | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class BreakerView:
    """`off` says why there are no entries, whether by a trip, a pause or a cool-down; `history` is oldest first.

    `paused` is who paused and why, `cooldown_until_ms` when a cool-down ends; both None where there is none.
    """

    off: str | None
    limits: tuple[LimitView, ...]
    history: tuple[TurnView, ...]
    paused: str | None = None
    cooldown_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class VenueLimitView:
    """A limit of the venue (`weight`, `requests`, `orders`), and how much of it is used in the running window."""

    kind: str
    interval_ms: int
    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class LinkView:
    """`reconnects` are connections after the first, `planned` those of them that took over while the old one lived."""

    kind: str
    up: bool
    reconnects: int
    planned: int


@dataclass(frozen=True, slots=True)
class AnswerView:
    """How often the venue answered requests of a lane in one way (`done`, `refused`, `unknown`, `limited`, `banned`, or
    none came: `lost`, `not sent`)."""

    lane: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class TrafficView:
    """What moved since the trader's process began, and what waits now. `answer_ms` is from a request to its answer, by
    lane; `reaction_ms` from an arrival to the requests that it caused, the journal on disk; `flush_ms` the disk alone.

    `streams` are the watched ones with how long each has been silent, in ms; none are watched in a replay.
    `clock_offset_ms` is how far the venue's clock is ahead.
    """

    links: tuple[LinkView, ...]
    streams: tuple[tuple[str, int], ...]
    inbox_waiting: int
    inbox_merged: int
    calls_queued: int
    calls_sent: int
    calls_repeated: int
    answers: tuple[AnswerView, ...]
    answer_ms: tuple[tuple[str, Spread], ...]
    reaction_ms: Spread
    flush_ms: Spread
    flush_failures: int
    journal_pending: int
    clock_offset_ms: int
    clock_skew_ms: int


@dataclass(frozen=True, slots=True)
class SeriesView:
    """The closed candles that are held of a symbol and interval, at most `capacity` of them.

    `age_ms` is since the newest one closed, None without any. Of `looked_up` times that signals or charts wanted some,
    all that they wanted were there `found` times.
    """

    symbol: str
    interval: str
    candles: int
    capacity: int
    age_ms: int | None
    looked_up: int
    found: int


@dataclass(frozen=True, slots=True)
class View:
    """`venue_limits`, `banned_until_ms`, `traffic` and `series` are what a running trader knows; else there is none.

    `unprotected_in_all_ms` is for how long positions had no resting stop since the books were opened, those that are
    over too; several at once count each.
    """

    at_ms: int
    run: str
    equity: Decimal | None
    quote: str
    balances: tuple[tuple[str, Decimal], ...]
    prices: tuple[PriceView, ...]
    positions: tuple[PositionView, ...]
    orders: tuple[OrderView, ...]
    round_trips: tuple[RoundTrip, ...]
    round_trip_count: int
    decisions: tuple[RecordDecision, ...]
    alarms: tuple[RecordAlarm, ...]
    books: str
    differences: tuple[str, ...]
    foreign: tuple[str, ...]
    links: tuple[str, ...]
    entries_off: str | None
    breaker: BreakerView
    venue_limits: tuple[VenueLimitView, ...] = ()
    banned_until_ms: int | None = None
    traffic: TrafficView | None = None
    series: tuple[SeriesView, ...] = ()
    live_off: str | None = None  # why there are no entries with real money; None also where no real money trades
    unprotected_in_all_ms: int = 0


def view_of(engine: Engine, now_ms: int) -> View:
    """The engine as it stands; newest decisions, alarms and round trips last."""
    portfolio = engine.portfolio
    return View(
        at_ms=now_ms,
        run=engine.run,
        equity=engine.equity(),
        quote=engine.settings.quote,
        balances=tuple(sorted((asset, amount) for asset, amount in portfolio.wallets().items() if amount)),
        prices=tuple(
            PriceView(symbol, engine.marks.get(symbol), engine.marked_ms.get(symbol))
            for symbol in engine.settings.symbols
        ),
        positions=tuple(_position_view(engine, symbol, now_ms) for symbol in sorted(portfolio.positions)),
        orders=tuple(_order_view(order) for order in engine.orders.open_orders()),
        round_trips=tuple(portfolio.round_trips)[-ROUND_TRIPS_SHOWN:],
        round_trip_count=len(portfolio.round_trips),
        decisions=tuple(engine.decisions),
        alarms=tuple(engine.alarms),
        books=str(engine.books),
        differences=engine.differences,
        foreign=engine.foreign,
        links=tuple(sorted(engine.links)),
        entries_off=engine.entries_off(),
        live_off=engine.live_off,
        unprotected_in_all_ms=engine.unprotected_total_ms(now_ms),
        breaker=_breaker_view(engine, now_ms),
    )


def _breaker_view(engine: Engine, now_ms: int) -> BreakerView:
    breaker, equity = engine.breaker, engine.equity()
    limits = []
    for rule, limit in breaker.settings.losses():
        start = breaker.start_of(rule)
        known = equity is not None and start is not None and start > 0
        loss_pct = rules.loss_pct(start, equity) if known and start is not None and equity is not None else None
        limits.append(LimitView(rule, start, loss_pct, limit.value_pct, limit.tier))
    return BreakerView(
        off=breaker.off_text() or engine.paused or _cooldown_text(engine, now_ms),
        limits=tuple(limits),
        history=tuple(_turn_view(turn, breaker.trips) for turn in breaker.history),
        paused=engine.paused,
        cooldown_until_ms=engine.cooldown_until_ms if engine.cooldown_until_ms > now_ms else None,
    )


def _cooldown_text(engine: Engine, now_ms: int) -> str | None:
    left_s = (engine.cooldown_until_ms - now_ms + 999) // 1_000
    return f"cool-down after a streak of losses, {left_s} s are left" if left_s > 0 else None


def _turn_view(turn: RecordTrip | RecordReset, in_force: Mapping[str, RecordTrip]) -> TurnView:
    match turn:
        case RecordTrip():
            return TurnView(turn.at_ms, f"{turn.text} ({turn.tier})", turn.equity, in_force.get(turn.rule) is turn)
        case RecordReset():
            return TurnView(turn.at_ms, f"reset by {turn.who}: {turn.reason}", turn.equity, False)


def _position_view(engine: Engine, symbol: str, now_ms: int) -> PositionView:
    position = engine.portfolio.positions[symbol]
    mark = engine.marks.get(symbol)
    resting = {
        order.request.purpose: order
        for order in engine.orders.open_orders(symbol)
        if order.resting and not order.finished and order.request.purpose is not Purpose.ENTRY
    }
    stop, target = resting.get(Purpose.STOP), resting.get(Purpose.TARGET)
    since_ms = engine.unprotected_since.get(symbol)
    return PositionView(
        symbol=symbol,
        quantity=position.signed_quantity,
        entry_price=position.entry_price,
        mark=mark,
        profit=None if mark is None else position.profit(mark),
        stop_price=stop.request.stop_price if stop else None,
        target_price=(target.request.price or target.request.stop_price) if target else None,
        liquidation_price=engine.liquidation_price(symbol, now_ms),
        mark_price=engine.mark_price(symbol, now_ms),
        unprotected_ms=None if since_ms is None else now_ms - since_ms,
        unprotected_in_all_ms=engine.unprotected_ms(symbol, now_ms),
    )


def _order_view(order: Order) -> OrderView:
    request = order.request
    return OrderView(
        client_order_id=order.id,
        symbol=order.symbol,
        side=request.side,
        type=request.type,
        purpose=request.purpose,
        state=order.state,
        quantity=order.quantity,
        filled=order.filled,
        price=request.price,
        stop_price=request.stop_price,
        resting=order.resting,
        submitted_ms=order.submitted_ms,
    )
