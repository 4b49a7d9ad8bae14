"""The gate: how much, and whether at all.

`review` is the only maker of `Approved`, and it reads the final, rounded numbers: nothing changes them afterwards. Each
refusal has its own name and its numbers. Exits never come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from surefoot.core import rules
from surefoot.core.exits import ExitSettings, Plan, plan_long
from surefoot.core.model import FeeRates, Instrument, Side, Signal


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """`score_min` is the mode's; `entry_limit_offset_pct` is how far above the decision price an entry may pay."""

    risk_pct_of_equity: Decimal
    notional_max_pct_of_equity: Decimal
    notional_max_quote: Decimal
    reserve_pct_of_balance: Decimal
    score_min: float
    signal_expiry_ms: int
    entry_limit_offset_pct: Decimal


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the gate looks at besides the signal. `price` is the close that was decided on; None is never traded on."""

    now_ms: int
    entries_off: str | None
    breaker_off: str | None
    instrument: Instrument | None
    fees: FeeRates | None
    price: Decimal | None
    equity: Decimal | None
    free_quote: Decimal
    busy: str | None


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


@dataclass(frozen=True, slots=True)
class Refused:
    rule: str
    detail: str


def size(
    entry_price: Decimal,
    limit_price: Decimal,
    stop_price: Decimal,
    equity: Decimal,
    free_quote: Decimal,
    instrument: Instrument,
    settings: RiskSettings,
) -> Sized:
    """The smallest of the risk's own quantity and every cap, in whole lots."""
    notional_pct = equity * settings.notional_max_pct_of_equity / 100
    spendable = free_quote * (100 - settings.reserve_pct_of_balance) / 100
    candidates = [
        ("risk_pct_of_equity", rules.risk_quantity(equity, settings.risk_pct_of_equity, entry_price, stop_price)),
        ("notional_max_pct_of_equity", notional_pct / limit_price),
        ("notional_max_quote", settings.notional_max_quote / limit_price),
        ("free balance less reserve", spendable / limit_price),
    ]
    if instrument.quantity_max > 0:
        candidates.append(("LOT_SIZE", instrument.quantity_max))
    if instrument.market_quantity_max > 0:  # the stop sells at the market
        candidates.append(("MARKET_LOT_SIZE", instrument.market_quantity_max))
    if instrument.notional_max > 0:
        candidates.append(("NOTIONAL", instrument.notional_max / limit_price))
    cap, quantity = min(candidates, key=lambda candidate: candidate[1])
    return Sized(instrument.lots_down(max(quantity, Decimal(0))), cap)


def review(signal: Signal, at: Circumstances, settings: RiskSettings, exits: ExitSettings) -> Approved | Refused:
    """Whether a long entry may be sent; the checks in the order of RISK-1."""
    if at.entries_off:
        return Refused("entries-off", at.entries_off)
    if at.instrument is None or at.fees is None:
        return Refused("no-instrument", f"the venue has not told us the rules of {signal.symbol}")
    if at.price is None or at.equity is None:
        return Refused("no-price", "a price that equity depends on is missing")
    if at.breaker_off:
        return Refused("breaker", at.breaker_off)
    if not signal.score >= settings.score_min:  # so that a score that is no number is refused, too
        return Refused("score", f"{signal.score:.2f} is below {settings.score_min:.2f}")
    age_ms = at.now_ms - signal.at_ms
    if age_ms > settings.signal_expiry_ms:
        return Refused("expired", f"the candle closed {age_ms} ms ago, {settings.signal_expiry_ms} ms is the most")
    if not at.instrument.trading:
        return Refused("not-trading", f"{signal.symbol} is not open for trading")
    if at.busy:
        return Refused("position", at.busy)
    return _fit(signal, at, at.instrument, at.fees, at.price, at.equity, settings, exits)


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
    limit = instrument.price_down(rules.limit_price_long(price, settings.entry_limit_offset_pct))
    plan = plan_long(price, exits, instrument)
    sized = size(price, limit, plan.stop_price, equity, at.free_quote, instrument, settings)
    refusal = instrument.refusal(Side.BUY, sized.quantity, limit, price) or instrument.list_refusal()
    if refusal:
        return Refused("filters", f"{refusal} (bound by {sized.cap})")
    refusal = exit_refusal(instrument, sized.quantity, plan, price, fees)
    if refusal:
        return Refused("exitability", refusal)
    risk = sized.quantity * (price - plan.stop_price)
    detail = (
        f"{sized.quantity:f} {instrument.base} at up to {limit:f}, stop {plan.stop_price:f}, target"
        f" {plan.target_price:f}, at risk {risk:.2f} of {equity:.2f} {instrument.quote}, bound by {sized.cap}"
    )
    return Approved(signal.symbol, sized.quantity, limit, plan, detail)


def exit_refusal(instrument: Instrument, quantity: Decimal, plan: Plan, price: Decimal, fees: FeeRates) -> str | None:
    """Why the position could not be protected, or sold at its own stop or target; None when it could."""
    if not instrument.oco_allowed:
        return f"{instrument.symbol} takes no OCO, so nothing could protect it"
    received = instrument.lots_down(quantity * (1 - fees.taker))
    for name, exit_price in (("stop", plan.stop_price), ("target", plan.target_price)):
        refusal = instrument.refusal(Side.SELL, received, exit_price, price)
        if refusal:
            return f"its {name} would be refused: {refusal}"
    return None
