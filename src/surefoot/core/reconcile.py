"""Compare our books with the venue's word: a pure function from both to a list of labelled findings.

It changes nothing and never opens exposure. A finding says what differs and what follows: `ask` (query that order),
`foreign` (somebody else's: shown, never touched), `unknown` (bears our prefix, but is not in our journal), `differs`
(a balance: entries stop).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from surefoot.core.model import ZERO, Balance, VenueOrder, VenuePosition
from surefoot.core.orders import Order, State

OUR_PREFIX = "sf-"


class Label(StrEnum):
    ASK = "ask"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Finding:
    label: Label
    subject: str  # a client order id, an asset, or a symbol
    text: str
    off: Decimal = ZERO  # of what differs: by how much the venue has more


def compare(
    wallets: Mapping[str, Decimal],
    open_orders: Iterable[Order],
    venue_balances: Iterable[Balance],
    venue_orders: Iterable[VenueOrder],
    contracts: Mapping[str, Decimal] | None = None,
    venue_positions: Iterable[VenuePosition] = (),
    symbols: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """All that differs between our books and the venue's, in a stable order; empty when they agree.

    `contracts` are our futures positions, negative when short; `symbols` are those that we trade, where a position of
    somebody else would be mixed up with ours.
    """
    ours = {order.name: order for order in open_orders}
    theirs = {order.client_order_id: order for order in venue_orders}
    return (
        *_missing_at_venue(ours, theirs),
        *_missing_here(ours, theirs),
        *_balances(wallets, {balance.asset: balance.total for balance in venue_balances}),
        *_positions(contracts or {}, {each.symbol: each.quantity for each in venue_positions}, set(symbols)),
    )


def _missing_at_venue(ours: Mapping[str, Order], theirs: Mapping[str, VenueOrder]) -> Iterable[Finding]:
    for order in ours.values():
        if order.name not in theirs and not order.finished and order.state not in (State.SUBMITTED, State.IN_DOUBT):
            yield Finding(Label.ASK, order.id, f"{order.id} is {order.state} here and not open at the venue")


def _missing_here(ours: Mapping[str, Order], theirs: Mapping[str, VenueOrder]) -> Iterable[Finding]:
    for order in theirs.values():
        if order.client_order_id in ours:
            continue
        what = f"{order.symbol} {order.side} {order.quantity} {order.type}, client order id {order.client_order_id}"
        label = Label.UNKNOWN if order.client_order_id.startswith(OUR_PREFIX) else Label.FOREIGN
        yield Finding(label, order.client_order_id, what)


def _balances(wallets: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> Iterable[Finding]:
    for asset in sorted(wallets.keys() | theirs.keys()):
        here, there = wallets.get(asset, ZERO), theirs.get(asset, ZERO)
        if here != there:
            text = f"{asset}: ledger {here:f}, venue {there:f}, off by {there - here:f}"
            yield Finding(Label.DIFFERS, asset, text, there - here)


def _positions(ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal], symbols: set[str]) -> Iterable[Finding]:
    for symbol in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(symbol, ZERO), theirs.get(symbol, ZERO)
        if here == there:
            continue
        if symbol not in ours and symbol not in symbols:
            yield Finding(Label.FOREIGN, symbol, f"{symbol}: a position of {there:f}")
        else:
            text = f"{symbol}: position here {here:f}, venue {there:f}"
            yield Finding(Label.DIFFERS, symbol, text, there - here)
