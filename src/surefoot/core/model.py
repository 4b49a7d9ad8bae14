"""The nouns of trading: instrument, candle, signal, order, fill. Values only; nothing here does I/O or keeps time.

Money, prices and quantities are `Decimal` made from text. Rounding says which way and why. Times are UTC milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

ZERO = Decimal(0)
MS_PER_MINUTE = 60_000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000
ENTRY_LIST_ORDERS = 3  # entry, target and stop

INTERVAL_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class Market(StrEnum):
    """SPOT trades the asset itself, long only; FUTURES are perpetual contracts settled in quote, long and short."""

    SPOT = "spot"
    FUTURES = "futures"


class OrderType(StrEnum):
    """The last two are the futures' own: they wait apart from plain orders, and trade at the market when triggered."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


CONDITIONAL = frozenset({OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET})


class ListType(StrEnum):
    """Which orders of a list wait for which: OCO protects, OTOCO and OPOCO enter and protect in one request."""

    OCO = "OCO"
    OTOCO = "OTOCO"
    OPOCO = "OPOCO"


class Purpose(StrEnum):
    """What an order of ours is for. EXIT closes a whole position at the market, PART some of it."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    EXIT = "exit"
    PART = "part"


class Income(StrEnum):
    """What moves a futures wallet without a trade of ours. TRANSFER is neither profit nor loss."""

    FUNDING = "funding"
    INSURANCE = "insurance"
    TRANSFER = "transfer"


class Adoption(StrEnum):
    """What an operator says that the ledger is to take in: money that came or went without a trade, a position that was
    closed by hand, one that is to be the bot's."""

    TRANSFER = "transfer"
    GONE = "gone"
    POSITION = "position"


class Tier(StrEnum):
    """What a limit of the breaker does when it is reached, mildest first. Each one does what those before it do."""

    WARN = "warn"
    NO_ENTRIES = "no_entries"
    SHRINK = "shrink"
    FLATTEN = "flatten"


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


@dataclass(frozen=True, slots=True)
class Bracket:
    """From `floor` of notional on, up to the next bracket: the most leverage, and what has to be maintained.

    Maintenance margin is notional × `rate` − `deduction`, which makes it continuous where brackets meet.
    """

    floor: Decimal
    cap: Decimal
    leverage_max: int
    rate: Decimal
    deduction: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """A symbol's own rules, as the venue announces them; a bound of 0 is switched off.

    Prices are quote per base, quantities base, notionals quote.
    """

    symbol: str
    base: str
    quote: str
    trading: bool
    tick_size: Decimal
    price_min: Decimal
    price_max: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    market_quantity_max: Decimal
    notional_min: Decimal
    notional_max: Decimal
    bid_multiplier_down: Decimal
    bid_multiplier_up: Decimal
    ask_multiplier_down: Decimal
    ask_multiplier_up: Decimal
    orders_max: int
    order_types: tuple[str, ...]
    oco_allowed: bool
    oto_allowed: bool
    opo_allowed: bool
    market: Market = Market.SPOT
    brackets: tuple[Bracket, ...] = ()

    @property
    def reduces_only(self) -> bool:
        """Whether the venue lets exits make a position smaller and no more: then several may rest beside each other."""
        return self.market is Market.FUTURES

    def price_down(self, price: Decimal) -> Decimal:
        """To the tick at or below: for a price we must not exceed."""
        return floor_to(price, self.tick_size)

    def price_up(self, price: Decimal) -> Decimal:
        """To the tick at or above: for a price we must not undercut."""
        return ceil_to(price, self.tick_size)

    def price_back(self, price: Decimal, direction: int) -> Decimal:
        """To the tick at or behind, as a position of that direction sees it: below for a long one."""
        return self.price_down(price) if direction > 0 else self.price_up(price)

    def price_ahead(self, price: Decimal, direction: int) -> Decimal:
        """To the tick at or ahead: above for a long position."""
        return self.price_up(price) if direction > 0 else self.price_down(price)

    def lots_down(self, quantity: Decimal) -> Decimal:
        """To the lot at or below: never spend, nor sell, more than there is."""
        return floor_to(quantity, self.lot_size)

    def refusal(self, side: Side, quantity: Decimal, price: Decimal, reference: Decimal) -> str | None:
        """The first filter that an order would fail, with the numbers; None when it passes all.

        `reference` is the price that the percent band is measured from (the venue uses a recent average).
        """
        return self._price_refusal(side, price, reference) or self._quantity_refusal(quantity, price)

    def tick_refusal(self, price: Decimal) -> str | None:
        """Why no order may bear a price; None when one may."""
        if price <= 0 or price % self.tick_size != 0:
            return f"PRICE_FILTER: {price} is not on the tick of {self.tick_size}"
        if price < self.price_min or (self.price_max > 0 and price > self.price_max):
            return f"PRICE_FILTER: {price} is outside {self.price_min} to {self.price_max}"
        return None

    def _price_refusal(self, side: Side, price: Decimal, reference: Decimal) -> str | None:
        refusal = self.tick_refusal(price)
        if refusal:
            return refusal
        down, up = self._band(side)
        if down > 0 and price < reference * down:
            return f"PERCENT_PRICE_BY_SIDE: {price} is below {reference * down}"
        if up > 0 and price > reference * up:
            return f"PERCENT_PRICE_BY_SIDE: {price} is above {reference * up}"
        return None

    def _band(self, side: Side) -> tuple[Decimal, Decimal]:
        if side is Side.BUY:
            return self.bid_multiplier_down, self.bid_multiplier_up
        return self.ask_multiplier_down, self.ask_multiplier_up

    def _quantity_refusal(self, quantity: Decimal, price: Decimal) -> str | None:
        if quantity <= 0 or quantity % self.lot_size != 0:
            return f"LOT_SIZE: {quantity} is not on the lot of {self.lot_size}"
        if quantity < self.quantity_min or (self.quantity_max > 0 and quantity > self.quantity_max):
            return f"LOT_SIZE: {quantity} is outside {self.quantity_min} to {self.quantity_max}"
        notional = quantity * price
        if notional < self.notional_min:
            return f"NOTIONAL: {notional} is below {self.notional_min}"
        if self.notional_max > 0 and notional > self.notional_max:
            return f"NOTIONAL: {notional} is above {self.notional_max}"
        return None

    def list_refusal(self) -> str | None:
        """Why an entry with its target and stop, none of them there yet, is more orders than the symbol takes."""
        if 0 < self.orders_max < ENTRY_LIST_ORDERS:
            return f"MAX_NUM_ORDERS: {ENTRY_LIST_ORDERS} orders, {self.orders_max} are the most"
        return None

    def can_close(self, quantity: Decimal, price: Decimal) -> bool:
        """Whether `quantity`, rounded down to lots, is large enough for an exit at `price`."""
        if self.reduces_only:  # what only makes a position smaller may have any notional
            return self.lots_down(quantity) >= max(self.quantity_min, self.lot_size)
        return self._quantity_refusal(self.lots_down(quantity), price) is None


@dataclass(frozen=True, slots=True)
class FeeRates:
    """Fees as a share of what is received: 0.001 is 0.1 %."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True, slots=True)
class Candle:
    """One closed interval of a symbol; `close_ms` is the last millisecond that belongs to it."""

    symbol: str
    interval: str
    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Readiness(StrEnum):
    """How much history the indicators have: below minimum nothing is traded, below best less is."""

    NOT_READY = "not ready"
    MINIMUM = "minimum"
    WARM = "warm"
    BEST = "best"


@dataclass(frozen=True, slots=True)
class Vote:
    """What one strategy of an ensemble said: the same fields as a signal has."""

    strategy: str
    target: float | None
    score: float
    rule: str
    values: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """What a strategy wants after a candle: an exposure from -1 to 1, not an action; None is no opinion.

    `score` is the strength of the rule that fired, 0 to 1; it is not a probability. `values` are what the rule saw,
    `votes` what each strategy of an ensemble said. `atr` is Wilder's average true range of 14 candles in quote per
    base, None where there is no value. `filtered` says why no entry may follow; a position may still be left on it.
    `gap` is set when the candle before this one is missing.
    """

    symbol: str
    at_ms: int
    target: float | None
    score: float
    rule: str
    values: tuple[tuple[str, float], ...] = ()
    readiness: Readiness = Readiness.BEST
    atr: float | None = None
    filtered: str = ""
    gap: bool = False
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as it is sent. A leg whose quantity the venue decides (OPOCO) has none.

    `reason` is why a round trip that it ends was left, where that is more than its purpose: `trail`, `time` …
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    purpose: Purpose
    quantity: Decimal | None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OrderLimit:
    """How many new orders the venue takes in each window of `interval_ms`, aligned to its clock."""

    interval_ms: int
    orders: int


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of ours; `trade_id` is the venue's and unique within the symbol, 0 where the venue tells none.

    `realised` is the profit in quote, before fees, that it brought by closing futures; None where it is not told.
    """

    client_order_id: str
    symbol: str
    trade_id: int
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    at_ms: int
    realised: Decimal | None = None

    @property
    def told_id(self) -> int | None:
        """The venue's number of it, for those who show it; None where the venue tells none."""
        return self.trade_id or None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the account holds of an asset, at the venue."""

    asset: str
    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An open order as the venue lists it, ours or foreign."""

    client_order_id: str
    order_id: int
    symbol: str
    side: Side
    type: str
    quantity: Decimal
    executed: Decimal
    price: Decimal
    stop_price: Decimal
    resting: bool


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A futures position as the venue lists it: `quantity` is negative when short.

    `liquidation_price` is None where the venue names none; `isolated` is the wallet of its own, None when crossed.
    `mark_price` is told of symbols that we do not trade: of the others we hear it.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None
    isolated: Decimal | None
    mark_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MarginTerms:
    """How the venue holds positions of a symbol."""

    symbol: str
    leverage: int
    isolated: bool


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat: average prices, what was earned after fees in quote, and what ended it.

    `dust_loss` is the cost of what was too little to be sold; it is already part of `pnl`, as is `funding`, which is
    what was received (negative: paid) for holding futures. `unprotected_ms` is for how long, in all, no order at rest
    would have ended it at any price; None where nobody watched that, as in the fast backtest.
    """

    symbol: str
    side: str
    entry_ms: int
    exit_ms: int
    entry_price: Decimal
    exit_price: Decimal
    quantity: Decimal
    reason: str
    pnl: Decimal
    dust_loss: Decimal
    funding: Decimal = ZERO
    unprotected_ms: int | None = field(default=None, compare=False)
