"""Orders and conditional ("algo") orders of the futures market as the exchange keeps them.

A ticket is what the client asked for; only a modification replaces it. An order is what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from simex import orders
from simex.orders import ZERO, Side

if TYPE_CHECKING:
    from simex.futures.accounts import Account

Status = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"]
AlgoStatus = Literal["NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "REJECTED", "EXPIRED"]
PositionSide = Literal["BOTH", "LONG", "SHORT"]
OPEN_STATUSES: Final = frozenset({"NEW", "PARTIALLY_FILLED"})
# Expiry reasons of ORDER_TRADE_UPDATE.
SELF_TRADE, IOC_REST, REDUCE_ONLY_GONE, LIQUIDATED, GTE_GONE, DELISTED, MARKET_REST = "1", "2", "4", "5", "6", "7", "9"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A wish to trade, already checked for its form; `type` is what is executed, `orig_type` what was placed."""

    symbol: str
    side: Side
    type: str
    quantity: Decimal
    price: Decimal = ZERO
    position_side: PositionSide = "BOTH"
    time_in_force: str = "GTC"
    reduce_only: bool = False
    close_position: bool = False
    client_id: str | None = None
    prevention: str = "EXPIRE_MAKER"
    price_match: str = "NONE"
    good_till_ms: int = 0
    orig_type: str = ""
    stop_price: Decimal = ZERO
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    activate_price: Decimal = ZERO
    callback_rate: Decimal = ZERO

    @property
    def triggers_above(self) -> bool:
        """A plain order has no trigger; conditional orders stand outside the book."""
        return False

    @property
    def sign(self) -> int:
        return 1 if self.side == "BUY" else -1

    @property
    def closes(self) -> bool:
        """Whether it may only make a position smaller: by its flag, or by its direction in hedge mode."""
        return self.reduce_only or self.close_position or (self.position_side, self.side) in _CLOSING


_CLOSING: Final = {("LONG", "SELL"), ("SHORT", "BUY")}


@dataclass(frozen=True, slots=True)
class Fill(orders.Fill):
    """One execution of one order, and what it realised."""

    realised: Decimal


@dataclass(frozen=True, slots=True)
class Amendment:
    """One modification of an order."""

    amendment_id: int
    modify_id: int | None
    at_ms: int
    before: tuple[Decimal, Decimal]  # price, quantity
    after: tuple[Decimal, Decimal]


@dataclass(slots=True, eq=False)
class Order:
    """An order in its life; `margin_price` is the price at which its initial margin was reckoned."""

    account: Account
    ticket: Ticket
    order_id: int
    client_id: str
    quantity: Decimal
    created_ms: int
    updated_ms: int
    status: Status = "NEW"
    working_ms: int = -1
    is_taking: bool = False
    executed: Decimal = ZERO
    cost: Decimal = ZERO
    margin_price: Decimal = ZERO
    bound: Decimal = ZERO  # how far a market order may go
    expiry_reason: str = "0"
    fills: list[Fill] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    algo: Algo | None = None
    purse: Decimal | None = None  # what a liquidated position can lose and pay; None for every other order

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def is_market(self) -> bool:
        return self.ticket.type == "MARKET"

    @property
    def limit(self) -> Decimal:
        """The worst price it accepts."""
        return self.bound if self.is_market else self.ticket.price

    @property
    def average(self) -> Decimal:
        return self.cost / self.executed if self.executed else ZERO


@dataclass(slots=True, eq=False)
class Algo:
    """A conditional order in its life; `extreme` is a trailing order's best price since it was activated."""

    account: Account
    ticket: Ticket
    algo_id: int
    client_id: str
    created_ms: int
    updated_ms: int
    status: AlgoStatus = "NEW"
    is_active: bool = False
    extreme: Decimal = ZERO
    triggered_ms: int = 0
    order: Order | None = None
    reason: str = ""

    @property
    def is_trailing(self) -> bool:
        return self.ticket.orig_type == "TRAILING_STOP_MARKET"

    @property
    def rises_to_trigger(self) -> bool:
        """Whether it waits for the price to rise to its trigger."""
        stops = self.ticket.orig_type in ("STOP", "STOP_MARKET", "TRAILING_STOP_MARKET")
        return stops == (self.ticket.side == "BUY")

    @property
    def trigger(self) -> Decimal:
        """The price that fires it; a trailing order must be active."""
        if not self.is_trailing:
            return self.ticket.stop_price
        share = self.ticket.callback_rate / 100
        return self.extreme * (1 + share if self.ticket.side == "BUY" else 1 - share)

    def has_reached(self, price: Decimal) -> bool:
        return price >= self.trigger if self.rises_to_trigger else price <= self.trigger
