"""Orders and order lists as the exchange keeps them.

A ticket is what the client asked for and never changes; an order is what became of it and changes only in the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from simex.accounts import Account

Side = Literal["BUY", "SELL"]
Status = Literal[
    "PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"
]
ZERO: Final = Decimal(0)
BIPS: Final = Decimal(10_000)
STOP_TYPES: Final = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
LOSS_TYPES: Final = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})
MARKET_TYPES: Final = frozenset({"MARKET", "STOP_LOSS", "TAKE_PROFIT"})
OPEN_STATUSES: Final = frozenset({"PENDING_NEW", "NEW", "PARTIALLY_FILLED"})


def opposite(side: Side) -> Side:
    return "SELL" if side == "BUY" else "BUY"


@dataclass(frozen=True, slots=True)
class Peg:
    """A price taken from the book when the order enters it: `found` then, zero before; `asked_price` as it was sent."""

    price_type: str
    offset: int | None  # price levels behind the best
    asked_price: Decimal
    found: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Ticket:
    """A wish to trade, already checked for its form; zero means that a price or amount was not given."""

    symbol: str
    side: Side
    type: str
    time_in_force: str = "GTC"
    quantity: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    client_id: str | None = None
    prevention: str = "EXPIRE_MAKER"
    strategy_id: int | None = None
    strategy_type: int | None = None
    trailing_bips: int = 0
    iceberg_quantity: Decimal = ZERO
    peg: Peg | None = None

    @property
    def shown_price(self) -> Decimal:
        """The price as it was sent."""
        return self.price if self.peg is None else self.peg.asked_price

    @property
    def is_stop(self) -> bool:
        return self.type in STOP_TYPES

    @property
    def triggers_above(self) -> bool:
        """Whether the stop waits for the price to rise to it."""
        return (self.type in LOSS_TYPES) == (self.side == "BUY")


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of one order."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    at_ms: int

    @property
    def cost(self) -> Decimal:
        return self.price * self.quantity


@dataclass(frozen=True, slots=True)
class PreventedMatch:
    """A match that self-trade prevention did not let happen.

    `quantity` would have been traded; a side that lost nothing has none of its own.
    """

    match_id: int
    symbol: str
    taker_id: int
    maker_id: int
    trade_group: int
    mode: str
    price: Decimal
    quantity: Decimal
    taker_quantity: Decimal | None
    maker_quantity: Decimal | None
    at_ms: int

    def rival_of(self, order_id: int) -> int:
        return self.maker_id if order_id == self.taker_id else self.taker_id

    def loss_of(self, order_id: int) -> Decimal:
        loss = self.taker_quantity if order_id == self.taker_id else self.maker_quantity
        return ZERO if loss is None else loss


@dataclass(frozen=True, slots=True)
class Amendment:
    """One reduction of an order's quantity."""

    execution_id: int
    old_client_id: str
    new_client_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    at_ms: int


@dataclass(slots=True, eq=False)
class Order:
    """An order in its life; `locked` is the part of the account's locked balance that stands for it."""

    account: Account
    ticket: Ticket
    order_id: int
    client_id: str
    quantity: Decimal
    created_ms: int
    updated_ms: int
    status: Status = "NEW"
    working_ms: int = -1
    is_triggered: bool = False
    is_taking: bool = False
    executed: Decimal = ZERO
    cost: Decimal = ZERO
    locked: Decimal = ZERO
    earned: Decimal = ZERO
    prevented: Decimal = ZERO
    expiry_reason: str = "NONE"
    trailing_ms: int = -1
    extreme: Decimal = ZERO  # of the prices since a trailing stop is tracking
    guide_price: Decimal = ZERO  # by which funds are locked when no price was given
    slice_left: Decimal = ZERO  # of an iceberg: what of its visible part is left
    prevented_match_id: int | None = None
    fills: list[Fill] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    list: OrderList | None = None

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed - self.prevented

    @property
    def visible(self) -> Decimal:
        """What the book shows of it."""
        return min(self.slice_left, self.remaining) if self.ticket.iceberg_quantity else self.remaining

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def is_pending(self) -> bool:
        return self.status == "PENDING_NEW"

    @property
    def waits_for_trigger(self) -> bool:
        return self.ticket.is_stop and not self.is_triggered

    @property
    def trigger_price(self) -> Decimal:
        """Where it fires: of a trailing stop by the extreme so far, zero before it is tracking."""
        if not self.ticket.trailing_bips:
            return self.ticket.stop_price
        delta = self.extreme * self.ticket.trailing_bips / BIPS
        return self.extreme + delta if self.ticket.side == "BUY" else self.extreme - delta

    @property
    def is_market(self) -> bool:
        """Whether it takes any price once it works."""
        return self.ticket.type in MARKET_TYPES

    @property
    def limit(self) -> Decimal | None:
        """The worst price it accepts."""
        return None if self.is_market else self.ticket.price


@dataclass(frozen=True, slots=True)
class ListTicket:
    """A wish for an order list: OCO has legs only; OTO and OTOCO have a working order before their legs."""

    symbol: str
    legs: tuple[Ticket, ...]
    working: Ticket | None = None
    client_id: str | None = None
    sells_received: bool = False  # OPO and OPOCO: the legs' quantity is what the working order brings in.

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        return self.legs if self.working is None else (self.working, *self.legs)


@dataclass(slots=True, eq=False)
class OrderList:
    """An order list in its life."""

    list_id: int
    client_id: str
    ticket: ListTicket
    at_ms: int
    working: Order | None = None
    legs: list[Order] = field(default_factory=list)
    is_done: bool = False

    @property
    def orders(self) -> list[Order]:
        return self.legs if self.working is None else [self.working, *self.legs]

    @property
    def contingency(self) -> str:
        return "OCO" if self.working is None else "OTO"

    def partner(self, order: Order) -> Order | None:
        """The leg that must go when this one trades or triggers; None for working orders and single legs."""
        if order is self.working:
            return None
        return next((leg for leg in self.legs if leg is not order and leg.is_open), None)
