"""The gate: how much, and whether at all.

`review` is the only maker of `Approved`, and it reads the final, rounded numbers: nothing changes them afterwards. Each
refusal has its own name and its numbers. Exits never come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from surefoot.core import rules
from surefoot.core.exits import ExitSettings, Plan, ahead, exit_side, plan_for
from surefoot.core.margin import Backing, MarginSettings, liquidation_price, notional_max
from surefoot.core.model import ZERO, FeeRates, Instrument, Readiness, Side, Signal

SIZE_FACTOR = {Readiness.MINIMUM: Decimal("0.25"), Readiness.WARM: Decimal("0.5"), Readiness.BEST: Decimal(1)}
SAME_DIRECTION_FACTORS = (Decimal(1), Decimal("0.7"), Decimal("0.5"))  # with none, one, two others in that direction
KELLY_ROUND_TRIPS_MIN = 200


class Sizing(StrEnum):
    """What a trade's risk is measured by: its stop, half of Kelly's share at most, or the average true range."""

    FIXED = "fixed"
    HALF_KELLY = "half_kelly"
    ATR = "atr"


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """`score_min` is the mode's; `entry_limit_offset_pct` is how much worse than the decision price an entry may be.

    A `capital_max_quote` or `loss_streak_max` of 0, a `correlation_max` of 1 and a `spread_max_pct` of None switch
    their rules off. `spread_assumed_pct` stands for a spread that was not heard; None refuses.
    """

    risk_pct_of_equity: Decimal
    notional_max_pct_of_equity: Decimal
    notional_max_quote: Decimal
    reserve_pct_of_balance: Decimal
    score_min: float
    signal_expiry_ms: int
    entry_limit_offset_pct: Decimal
    capital_max_quote: Decimal = ZERO
    sizing: Sizing = Sizing.FIXED
    positions_max: int = 20
    portfolio_risk_max_pct: Decimal = Decimal(100)
    correlation_max: float = 1.0
    loss_streak_max: int = 0
    cooldown_ms: int = 3_600_000
    entry_gap_min_ms: int = 0
    price_age_max_ms: int = 5_000
    spread_max_pct: Decimal | None = None
    spread_assumed_pct: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A position, or an entry on its way, of another symbol. `risk` is what it loses at its stop, never below 0.

    `correlation` is that of its returns with those of the symbol that is decided on; None where it is not known.
    `direction` is 1 for long and -1 for short.
    """

    symbol: str
    risk: Decimal
    correlation: float | None
    direction: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What the closed round trips say: how many, the share that won, and the average win and loss in quote."""

    round_trips: int
    win_rate: Decimal
    average_win: Decimal
    average_loss: Decimal


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the gate looks at besides the signal. `price` is the close that was decided on; None is never traded on.

    Each `…_off`, `busy` and `order_budget` is the reason why not, or None. `price_ms` is when the venue told the newest
    price of the symbol, `spread_pct` bid to ask in per cent, `last_entry_ms` when an entry was last approved. `margin`
    is there for futures, `backing` is the shared wallet's where the account's other prices are known.
    """

    now_ms: int
    entries_off: str | None
    breaker_off: str | None
    instrument: Instrument | None
    fees: FeeRates | None
    price: Decimal | None
    equity: Decimal | None
    free_quote: Decimal
    busy: str | None
    price_ms: int | None = None
    pause_off: str | None = None
    cooldown_until_ms: int = 0
    last_entry_ms: int | None = None
    spread_pct: Decimal | None = None
    others: tuple[Other, ...] = ()
    record: Record | None = None
    order_budget: str | None = None
    margin: MarginSettings | None = None
    backing: Backing | None = None


@dataclass(frozen=True, slots=True)
class Sized:
    """A quantity in lots and the cap that bound it."""

    quantity: Decimal
    cap: str


@dataclass(frozen=True, slots=True)
class Approved:
    """An entry with its protection: it may be sent as it stands."""

    symbol: str
    quantity: Decimal
    limit_price: Decimal
    plan: Plan
    detail: str
    direction: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    rule: str
    detail: str


# ---------------------------------------------------------------------------------------------------------------
# How much


@dataclass(frozen=True, slots=True)
class Stake:
    """What a size is made from: equity that counts, per cent of it at risk, over which distance, and by which factor.

    `distance` is in quote per base; `factor` shrinks what the caps leave, and `why` says so.
    """

    money: Decimal
    risk_pct: Decimal
    distance: Decimal
    factor: Decimal
    why: str


def size(
    limit_price: Decimal,
    stake: Stake,
    free_quote: Decimal,
    instrument: Instrument,
    settings: RiskSettings,
    leverage: int = 1,
) -> Sized:
    """The smallest of the risk's own quantity and every cap, shrunk by the factor, in whole lots.

    Leverage makes no quantity larger than its risk allows: it only says how much of the balance a notional binds.
    """
    notional_pct = stake.money * settings.notional_max_pct_of_equity / 100
    spendable = free_quote * (100 - settings.reserve_pct_of_balance) / 100
    candidates = [
        ("risk_pct_of_equity", rules.risk_quantity(stake.money, stake.risk_pct, stake.distance)),
        ("notional_max_pct_of_equity", notional_pct / limit_price),
        ("notional_max_quote", settings.notional_max_quote / limit_price),
        ("free balance less reserve", spendable * leverage / limit_price),
    ]
    if instrument.brackets:
        candidates.append(("leverage bracket", notional_max(instrument.brackets, leverage) / limit_price))
    if instrument.quantity_max > 0:
        candidates.append(("LOT_SIZE", instrument.quantity_max))
    if instrument.market_quantity_max > 0:  # the stop sells at the market
        candidates.append(("MARKET_LOT_SIZE", instrument.market_quantity_max))
    if instrument.notional_max > 0:
        candidates.append(("NOTIONAL", instrument.notional_max / limit_price))
    cap, quantity = min(candidates, key=lambda candidate: candidate[1])
    return Sized(instrument.lots_down(max(quantity * stake.factor, ZERO)), cap + stake.why)


def _stake(
    signal: Signal,
    at: Circumstances,
    equity: Decimal,
    distance: Decimal,
    settings: RiskSettings,
    exits: ExitSettings,
) -> Stake | Refused:
    money = min(equity, settings.capital_max_quote) if settings.capital_max_quote else equity
    risk_pct = settings.risk_pct_of_equity
    if settings.sizing is Sizing.ATR and signal.atr:
        distance = exits.atr_stop_multiple * Decimal(repr(signal.atr))
    if settings.sizing is Sizing.HALF_KELLY and at.record and at.record.round_trips >= KELLY_ROUND_TRIPS_MIN:
        half = half_kelly_pct(at.record)
        if half <= 0:
            return Refused("size", f"half of Kelly's share is {half:.2f} %: the last round trips had no edge")
        risk_pct = min(risk_pct, half)
    alike = len(_same_direction(at.others, direction_of(signal)))
    factor = SAME_DIRECTION_FACTORS[alike] * SIZE_FACTOR[signal.readiness]
    why = f", times {factor:f} ({alike} in the same direction, {signal.readiness})" if factor != 1 else ""
    return Stake(money, risk_pct, distance, factor, why)


def half_kelly_pct(record: Record) -> Decimal:
    """Half of Kelly's share in per cent of equity; 0 or less when there is no edge, and when nothing was ever won."""
    if not record.average_win:
        return ZERO
    return 50 * rules.kelly_share(record.win_rate, record.average_win, record.average_loss)


# ---------------------------------------------------------------------------------------------------------------
# Whether


def direction_of(signal: Signal) -> int:
    """1 for a signal that wants to be long, -1 for one that wants to be short, 0 for one that wants neither."""
    if signal.target is None:
        return 0
    return 1 if signal.target > 0 else -1 if signal.target < 0 else 0  # a target that is no number wants neither


def _same_direction(others: Sequence[Other], direction: int) -> list[Other]:
    return [other for other in others if other.direction == direction]


def review(signal: Signal, at: Circumstances, settings: RiskSettings, exits: ExitSettings) -> Approved | Refused:
    """Whether an entry in the signal's direction may be sent; the checks in the order of RISK-1."""
    if at.entries_off:
        return Refused("entries-off", at.entries_off)
    if at.instrument is None or at.fees is None:
        return Refused("no-instrument", f"the venue has not told us the rules of {signal.symbol}")
    if at.price is None or at.equity is None:
        return Refused("no-price", "a price that equity depends on is missing")
    refusal = (
        _data(signal, at, settings)
        or _brakes(at)
        or _opinion(signal, at, settings)
        or _place(signal, at, at.instrument, settings)
    )
    return refusal or _fit(signal, at, at.instrument, at.fees, at.price, at.equity, settings, exits)


def _data(signal: Signal, at: Circumstances, settings: RiskSettings) -> Refused | None:
    """Age and gaps of what was decided on, and whether there was enough of it."""
    age_ms = None if at.price_ms is None else at.now_ms - at.price_ms
    if age_ms is None or age_ms > settings.price_age_max_ms:
        return Refused("price-age", f"the newest price is {age_ms} ms old, {settings.price_age_max_ms} ms is the most")
    if signal.gap:
        return Refused("gap", "the candle before this one is missing")
    if signal.readiness is Readiness.NOT_READY:
        return Refused("readiness", "there is not enough history")
    return None


def _brakes(at: Circumstances) -> Refused | None:
    if at.breaker_off:
        return Refused("breaker", at.breaker_off)
    if at.pause_off:
        return Refused("paused", at.pause_off)
    if at.now_ms < at.cooldown_until_ms:
        return Refused("cool-down", f"{at.cooldown_until_ms - at.now_ms} ms are left after a streak of losses")
    return None


def _opinion(signal: Signal, at: Circumstances, settings: RiskSettings) -> Refused | None:
    """Whether the signal is strong, fresh and free of objections."""
    if not signal.score >= settings.score_min:  # so that a score that is no number is refused, too
        return Refused("score", f"{signal.score:.2f} is below {settings.score_min:.2f}")
    age_ms = at.now_ms - signal.at_ms
    if age_ms > settings.signal_expiry_ms:
        return Refused("expired", f"the candle closed {age_ms} ms ago, {settings.signal_expiry_ms} ms is the most")
    if at.last_entry_ms is not None and at.now_ms - at.last_entry_ms < settings.entry_gap_min_ms:
        since_ms = at.now_ms - at.last_entry_ms
        return Refused("too-soon", f"{since_ms} ms after the last entry, {settings.entry_gap_min_ms} ms is the least")
    if signal.filtered:
        return Refused("filter", signal.filtered)
    if settings.spread_max_pct is None:
        return None
    spread_pct = settings.spread_assumed_pct if at.spread_pct is None else at.spread_pct
    if spread_pct is None:
        return Refused("spread", "bid and ask have not been heard")
    if spread_pct > settings.spread_max_pct:
        return Refused("spread", f"{spread_pct:.4f} % is above {settings.spread_max_pct:f} %")
    return None


def _place(signal: Signal, at: Circumstances, instrument: Instrument, settings: RiskSettings) -> Refused | None:
    """Whether there is room for the position beside the others."""
    if not instrument.trading:
        return Refused("not-trading", f"{signal.symbol} is not open for trading")
    if at.busy:
        return Refused("position", at.busy)
    held = ", ".join(other.symbol for other in at.others)
    if len(at.others) >= settings.positions_max:
        return Refused("positions", f"{len(at.others)} are held ({held}), {settings.positions_max} are the most")
    direction = direction_of(signal)
    alike = _same_direction(at.others, direction)
    if len(alike) >= len(SAME_DIRECTION_FACTORS):
        word, names = "long" if direction > 0 else "short", ", ".join(other.symbol for other in alike)
        most = len(SAME_DIRECTION_FACTORS) - 1
        return Refused("same-direction", f"{len(alike)} others are {word} ({names}), {most} are the most")
    return _alike(at.others, direction, settings.correlation_max)


def _alike(others: Sequence[Other], direction: int, correlation_max: float) -> Refused | None:
    """Two symbols that move together are one position, and so are two that move apart when one of them is short."""
    if correlation_max >= 1:
        return None
    for other in others:
        if other.correlation is None:
            return Refused("correlation", f"with {other.symbol} it is not known yet, and {other.symbol} is held")
        if other.correlation * other.direction * direction > correlation_max:
            text = f"{other.correlation:.2f} with {other.symbol}, which is held, is above {correlation_max:.2f}"
            return Refused("correlation", text)
    return None


def _fit(
    signal: Signal,
    at: Circumstances,
    instrument: Instrument,
    fees: FeeRates,
    price: Decimal,
    equity: Decimal,
    settings: RiskSettings,
    exits: ExitSettings,
) -> Approved | Refused:
    direction = direction_of(signal)
    limit = instrument.price_back(ahead(price, settings.entry_limit_offset_pct, direction), direction)
    plan = plan_for(price, exits, instrument, signal.atr, signal.readiness, direction)
    stake = _stake(signal, at, equity, abs(price - plan.stop_price), settings, exits)
    if isinstance(stake, Refused):
        return stake
    sized = size(limit, stake, at.free_quote, instrument, settings, at.margin.leverage if at.margin else 1)
    risk = sized.quantity * abs(price - plan.stop_price)
    at_risk, most = risk + sum((other.risk for other in at.others), ZERO), _portfolio_risk_max(stake.money, settings)
    if at_risk > most:
        return Refused("portfolio-risk", f"{at_risk:.2f} would be lost at all stops, {most:.2f} is the most")
    side = Side.BUY if direction > 0 else Side.SELL
    refusal = instrument.refusal(side, sized.quantity, limit, price) or instrument.list_refusal()
    if refusal:
        return Refused("filters", f"{refusal} (bound by {sized.cap})")
    refusal = exit_refusal(instrument, sized.quantity, plan, price, fees, direction)
    if refusal:
        return Refused("exitability", refusal)
    refusal = liquidation_refusal(instrument, sized.quantity * direction, limit, plan, at)
    if refusal:
        return Refused("liquidation", refusal)
    if at.order_budget:
        return Refused("order-budget", at.order_budget)
    up_to = "up to" if direction > 0 else "down to"
    detail = (
        f"{sized.quantity:f} {instrument.base} at {up_to} {limit:f}, stop {plan.stop_price:f}, target"
        f" {plan.target_price:f}, at risk {risk:.2f} of {equity:.2f} {instrument.quote}, bound by {sized.cap}"
    )
    return Approved(signal.symbol, sized.quantity, limit, plan, detail, direction)


def _portfolio_risk_max(money: Decimal, settings: RiskSettings) -> Decimal:
    return money * settings.portfolio_risk_max_pct / 100


def exit_refusal(
    instrument: Instrument, quantity: Decimal, plan: Plan, price: Decimal, fees: FeeRates, direction: int = 1
) -> str | None:
    """Why the position could not be protected, or left at its own stop or target; None when it could."""
    if instrument.reduces_only:  # what only makes a position smaller trades at the market, whatever its notional
        return _trigger_refusal(instrument, plan)
    if not instrument.oco_allowed:
        return f"{instrument.symbol} takes no OCO, so nothing could protect it"
    received = instrument.lots_down(quantity * (1 - fees.taker))
    for name, exit_price in (("stop", plan.stop_price), ("target", plan.target_price)):
        refusal = instrument.refusal(exit_side(direction), received, exit_price, price)
        if refusal:
            return f"its {name} would be refused: {refusal}"
    return None


def _trigger_refusal(instrument: Instrument, plan: Plan) -> str | None:
    for name, price in (("stop", plan.stop_price), ("target", plan.target_price)):
        refusal = instrument.tick_refusal(price)
        if refusal:
            return f"its {name} would be refused: {refusal}"
    return None


def liquidation_refusal(
    instrument: Instrument, quantity: Decimal, entry_price: Decimal, plan: Plan, at: Circumstances
) -> str | None:
    """Why the venue would take the position before its stop could close it; `quantity` is negative when short."""
    if at.margin is None:
        return None
    if not instrument.brackets or at.backing is None:
        return f"the margin of {instrument.symbol} is not known"
    margin, backing = at.margin, at.backing
    if margin.isolated:
        backing = Backing(abs(quantity) * entry_price / margin.leverage)
    price = liquidation_price(quantity, entry_price, backing, instrument.brackets)
    if price is None:
        return None
    nearest = ahead(price, margin.distance_min_pct, 1 if quantity > 0 else -1)
    if (plan.stop_price - nearest) * quantity > 0:
        return None
    return (
        f"its stop at {plan.stop_price:f} is beyond {nearest:f}, {margin.distance_min_pct:f} % ahead of the"
        f" liquidation price {price:.8f}"
    )
