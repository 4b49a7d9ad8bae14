"""Prices that an order takes from the market: where a stop fires, how far a trailing one has come, what a peg finds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from simex import refusal
from simex.book import Book
from simex.depth import levels
from simex.orders import Order, Peg, Ticket, opposite


def fires(order: Order, price: Decimal, now_ms: int) -> bool:
    """Whether a price fires a waiting stop; a trailing one also remembers how far the price has gone."""
    ticket = order.ticket
    if not ticket.trailing_bips:
        return has_reached(ticket, price)
    if order.trailing_ms < 0:
        if not ticket.stop_price or has_reached(ticket, price):
            order.trailing_ms, order.extreme = now_ms, price
        return False
    if ticket.side == "BUY":
        order.extreme = min(order.extreme, price)
        return price >= order.trigger_price
    order.extreme = max(order.extreme, price)
    return price <= order.trigger_price


def with_peg(book: Book, ticket: Ticket, peg: Peg) -> Ticket:
    """The ticket at the price level it is pegged to; Refusal -2010 when the book has none."""
    offset = peg.offset or 0
    shown = levels(book, ticket.side if peg.price_type == "PRIMARY_PEG" else opposite(ticket.side), offset + 1)
    if offset >= len(shown):
        raise refusal.rejected("Order book liquidity is too low for this pegged order.")
    found = shown[offset][0]
    return replace(ticket, price=found, peg=replace(peg, found=found))


def has_reached(ticket: Ticket, price: Decimal) -> bool:
    return price >= ticket.stop_price if ticket.triggers_above else price <= ticket.stop_price
