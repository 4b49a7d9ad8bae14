"""The protection plan of a position: where it is given up, where it takes its profit, and what moves the two.

A plan is made with the entry and rests at the venue as stop and target. `levels` are the prices at which the position
would have to do something, put on the tick grid; `decide` says what, in the order of EXIT-1 to EXIT-8. A stop only ever
comes nearer. Nothing here sends anything: the engine does, without a moment in which no stop rests.

A `direction` is 1 for a long position and -1 for a short one, which is a long one in the mirror: what is `ahead` of a
price is where its profit lies. `peak` is the best price, not the highest.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from surefoot.core import rules
from surefoot.core.model import ZERO, Instrument, OrderRequest, OrderType, Purpose, Readiness, Side

STOP_LIMIT_GAP_PCT = Decimal(1)  # how far below its trigger a stop-limit still sells, where plain stops are not offered
STOP_PCT_MIN, STOP_PCT_MAX = Decimal(str(rules.STOP_PCT_MIN)), Decimal(str(rules.STOP_PCT_MAX))
STOP_FACTOR = {Readiness.MINIMUM: Decimal("1.5"), Readiness.WARM: Decimal("1.25"), Readiness.BEST: Decimal(1)}


@dataclass(frozen=True, slots=True)
class Take:
    """One stage of a partial take profit: at this profit, this share of what was bought is sold."""

    at_pct: Decimal
    share_pct: Decimal


@dataclass(frozen=True, slots=True)
class ExitSettings:
    """A 0 switches a rule off. Percentages are of price, but `share_pct`; multiples are of ATR or of R."""

    stop_pct_of_price: Decimal
    target_pct_of_price: Decimal
    by_atr: bool = False
    atr_stop_multiple: Decimal = Decimal("1.5")
    atr_target_multiple: Decimal = Decimal(3)
    trail_activate_pct: Decimal = ZERO
    trail_distance_pct: Decimal = ZERO
    trail_step_pct: Decimal = ZERO
    break_even_after_r: Decimal = ZERO
    takes: tuple[Take, ...] = ()
    reversal_fall_pct: Decimal = ZERO
    reversal_closes: int = 0
    reversal_profit_min_pct: Decimal = ZERO
    hold_max_ms: int = 0
    hold_keep_pct: Decimal = Decimal(100)
    opposite_score_min: float = 0.0

    @property
    def only_rests(self) -> bool:
        """Whether stop and target at the venue are all there is, so that no price has to be looked at."""
        moves = self.trail_activate_pct or self.break_even_after_r or self.takes
        return not (moves or self.reversal_closes or self.hold_max_ms or self.opposite_score_min)


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices on the instrument's tick grid. `first_stop_price` is what R is measured with."""

    stop_price: Decimal
    target_price: Decimal
    first_stop_price: Decimal


class Move(StrEnum):
    """Why a stop was moved; a position that leaves by such a stop says so."""

    TRAIL = "trail"
    BREAK_EVEN = "break-even"


def ahead(price: Decimal, pct_of_price: Decimal, direction: int) -> Decimal:
    """So many per cent ahead of a price."""
    formula = rules.profit_price_long if direction > 0 else rules.stop_price_long
    return formula(price, pct_of_price)


def behind(price: Decimal, pct_of_price: Decimal, direction: int) -> Decimal:
    """So many per cent behind a price."""
    return ahead(price, pct_of_price, -direction)


def plan_for(
    price: Decimal,
    settings: ExitSettings,
    instrument: Instrument,
    atr: float | None = None,
    readiness: Readiness = Readiness.BEST,
    direction: int = 1,
) -> Plan:
    """The plan of a position entered at `price`: both prices are rounded away from it.

    The distance of the stop is fixed or a multiple of ATR (fixed where there is no ATR), wider with little history, and
    always from 0.5 to 10 per cent of price.
    """
    stop_pct, target_pct = settings.stop_pct_of_price, settings.target_pct_of_price
    if settings.by_atr and atr is not None:
        atr_pct = Decimal(repr(atr)) * 100 / price
        stop_pct, target_pct = settings.atr_stop_multiple * atr_pct, settings.atr_target_multiple * atr_pct
    stop_pct = min(max(stop_pct * STOP_FACTOR[readiness], STOP_PCT_MIN), STOP_PCT_MAX)
    stop = instrument.price_back(behind(price, stop_pct, direction), direction)
    return Plan(stop, instrument.price_ahead(ahead(price, target_pct, direction), direction), stop)


def exit_side(direction: int) -> Side:
    return Side.SELL if direction > 0 else Side.BUY


def target_order(
    client_order_id: str, instrument: Instrument, plan: Plan, quantity: Decimal | None, direction: int = 1
) -> OrderRequest:
    """The resting order that takes the profit; of futures, one that trades at the market when its price is met."""
    triggered = instrument.reduces_only
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=exit_side(direction),
        type=OrderType.TAKE_PROFIT_MARKET if triggered else OrderType.LIMIT_MAKER,
        purpose=Purpose.TARGET,
        quantity=quantity,
        price=None if triggered else plan.target_price,
        stop_price=plan.target_price if triggered else None,
    )


def stop_order(
    client_order_id: str,
    instrument: Instrument,
    stop_price: Decimal,
    quantity: Decimal | None,
    reason: str = "",
    direction: int = 1,
) -> OrderRequest:
    """The resting order that limits the loss: it trades at the market where the symbol allows that."""
    price = None
    if instrument.reduces_only:
        type = OrderType.STOP_MARKET
    elif OrderType.STOP_LOSS in instrument.order_types:
        type = OrderType.STOP_LOSS
    else:
        type = OrderType.STOP_LOSS_LIMIT
        price = instrument.price_down(rules.stop_price_long(stop_price, STOP_LIMIT_GAP_PCT))
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=exit_side(direction),
        type=type,
        purpose=Purpose.STOP,
        quantity=quantity,
        price=price,
        stop_price=stop_price,
        reason=reason,
    )


def leaving_order(
    client_order_id: str,
    instrument: Instrument,
    quantity: Decimal,
    purpose: Purpose,
    reason: str,
    direction: int = 1,
) -> OrderRequest:
    """Out at the market, with all or with a part."""
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=exit_side(direction),
        type=OrderType.MARKET,
        purpose=purpose,
        quantity=quantity,
        reason=reason,
    )


# ---------------------------------------------------------------------------------------------------------------
# What a price, a candle or the time asks of a position


@dataclass(frozen=True, slots=True)
class Levels:
    """Prices, on the tick grid, from which on a rule has something to do; None where it never has.

    `watched_target` is set only while no target rests at the venue. `nearest` comes first of all: short of it, a price
    moves nothing.
    """

    watched_target: Decimal | None
    trail: Decimal | None
    break_even: Decimal | None
    break_even_stop: Decimal
    takes: tuple[tuple[int, Decimal, Decimal], ...]  # stage, price, share of what was bought
    nearest: Decimal | None


@dataclass(frozen=True, slots=True)
class Held:
    """What the rules look at of a position. `taken` is the number of take-profit stages that are behind it."""

    entry_price: Decimal
    opened_ms: int
    bought: Decimal
    sellable: Decimal
    plan: Plan
    taken: int
    target_rests: bool
    direction: int = 1

    def reached(self, price: Decimal, level: Decimal) -> bool:
        """Whether a price is at a level or ahead of it."""
        return price >= level if self.direction > 0 else price <= level

    def is_ahead(self, price: Decimal, of: Decimal) -> bool:
        return price > of if self.direction > 0 else price < of


def levels_of(held: Held, settings: ExitSettings, instrument: Instrument, taker_fee: Decimal) -> Levels:
    """The levels of a position as it stands; they change only when it does."""
    entry, plan, direction = held.entry_price, held.plan, held.direction
    target = None if held.target_rests else plan.target_price + direction * instrument.tick_size

    def level(price: Decimal) -> Decimal:
        return instrument.price_ahead(price, direction)

    trail = break_even = None
    if settings.trail_activate_pct:
        trail = level(ahead(entry, settings.trail_activate_pct, direction))
    break_even_stop = level(_break_even_price(entry, taker_fee, instrument, direction))
    if settings.break_even_after_r and held.is_ahead(break_even_stop, plan.stop_price):
        break_even = level(rules.r_price_long(entry, plan.first_stop_price, settings.break_even_after_r))
    takes = tuple(
        (stage, level(ahead(entry, take.at_pct, direction)), take.share_pct)
        for stage, take in enumerate(settings.takes)
        if stage >= held.taken
    )
    every = [price for price in (target, trail, break_even, *(price for _, price, _ in takes)) if price is not None]
    nearest = min(every, default=None) if direction > 0 else max(every, default=None)
    return Levels(target, trail, break_even, break_even_stop, takes, nearest)


def _break_even_price(entry: Decimal, taker_fee: Decimal, instrument: Instrument, direction: int) -> Decimal:
    if instrument.reduces_only:
        return rules.break_even_price_of_contract(entry, direction * taker_fee)
    return rules.break_even_price_long(entry, taker_fee)


@dataclass(frozen=True, slots=True)
class MoveStop:
    """Rest the stop further ahead. Nothing else changes."""

    stop_price: Decimal
    why: Move


@dataclass(frozen=True, slots=True)
class TakePart:
    """Close this quantity at the market and go on with the rest; `stage` is behind it then."""

    quantity: Decimal
    stage: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Close everything at the market."""

    reason: str


Action = MoveStop | TakePart | Leave


def on_price(
    price: Decimal, held: Held, levels: Levels, settings: ExitSettings, instrument: Instrument
) -> Action | None:
    """What a price asks for: the watched target first, then the stop, then a part."""
    if levels.nearest is None or not held.reached(price, levels.nearest):
        return None
    if levels.watched_target is not None and held.reached(price, levels.watched_target):
        return Leave("target")
    return _moved_stop(price, held, levels, settings, instrument) or _part(price, held, levels, instrument)


def _moved_stop(
    price: Decimal, held: Held, levels: Levels, settings: ExitSettings, instrument: Instrument
) -> MoveStop | None:
    stop, direction = held.plan.stop_price, held.direction
    best: MoveStop | None = None
    if levels.trail is not None and held.reached(price, levels.trail):
        wanted = instrument.price_back(behind(price, settings.trail_distance_pct, direction), direction)
        step_pct = settings.trail_step_pct
        if held.is_ahead(wanted, stop) and held.reached(
            wanted, instrument.price_ahead(ahead(stop, step_pct, direction), direction)
        ):
            best = MoveStop(wanted, Move.TRAIL)
    if levels.break_even is not None and held.reached(price, levels.break_even):
        wanted = levels.break_even_stop
        if held.is_ahead(wanted, best.stop_price if best else stop):
            best = MoveStop(wanted, Move.BREAK_EVEN)
    return best if best and held.is_ahead(price, best.stop_price) else None


def _part(price: Decimal, held: Held, levels: Levels, instrument: Instrument) -> TakePart | None:
    for stage, level, share_pct in levels.takes:
        if not held.reached(price, level):
            continue
        quantity = sellable_part(held.bought * share_pct / 100, held, price, instrument)
        if quantity is not None:
            return TakePart(quantity, stage)
    return None


def sellable_part(wanted: Decimal, held: Held, price: Decimal, instrument: Instrument) -> Decimal | None:
    """The part in lots, when both it and the rest can be sold: it at the price, the rest also at its stop."""
    quantity = instrument.lots_down(wanted)
    rest = instrument.lots_down(held.sellable) - quantity
    fits = quantity > 0 and rest > 0 and instrument.can_close(quantity, price)
    return quantity if fits and instrument.can_close(rest, held.plan.stop_price) else None


def on_time(price: Decimal, now_ms: int, held: Held, settings: ExitSettings) -> Leave | None:
    """Whether the position has had its time and does not earn enough to be kept."""
    if not settings.hold_max_ms or now_ms < held.opened_ms + settings.hold_max_ms:
        return None
    profit_pct = held.direction * rules.profit_pct(held.entry_price, price)
    return Leave("time") if profit_pct < settings.hold_keep_pct else None


@dataclass(slots=True)
class Course:
    """How a position's candles went since its entry: the best price, and how many closes gave way in a row."""

    peak: Decimal = ZERO
    last_close: Decimal | None = None
    falls: int = 0
    direction: int = 1

    def take(self, high: Decimal, low: Decimal, close: Decimal) -> None:
        if self.direction > 0:
            self.peak = max(self.peak, high)
            fell = self.last_close is not None and close < self.last_close
        else:
            self.peak = min(self.peak, low) if self.peak else low
            fell = self.last_close is not None and close > self.last_close
        self.falls = self.falls + 1 if fell else 0
        self.last_close = close


def on_reversal(close: Decimal, held: Held, course: Course, settings: ExitSettings) -> Leave | None:
    """Whether the profit gives way: enough falling closes, far enough from the peak, and still enough profit."""
    if not settings.reversal_closes or course.falls < settings.reversal_closes or not course.peak:
        return None
    fallen = held.direction * rules.loss_pct(course.peak, close) >= settings.reversal_fall_pct
    earns = held.direction * rules.profit_pct(held.entry_price, close) >= settings.reversal_profit_min_pct
    return Leave("reversal") if fallen and earns else None
