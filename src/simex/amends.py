"""Amend keep priority: an open order loses quantity and keeps its place."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from simex import filters, refusal
from simex.book import Book
from simex.lifecycle import Lifecycle, Outlet
from simex.orders import Amendment, Order


class Amender:
    """Reduces orders."""

    def __init__(self, lifecycle: Lifecycle, outlet: Outlet) -> None:
        self._lifecycle = lifecycle
        self._outlet = outlet

    def check(
        self, book: Book, order: Order, quantity: Decimal, client_id: str | None, average: Decimal | None
    ) -> None:
        """Refusal -2038, or -1013 when the rest would not pass a filter."""
        if not book.takes_cancels:
            raise refusal.amend_rejected(refusal.MARKET_IS_CLOSED)
        if not order.account.may_trade:
            raise refusal.amend_rejected(refusal.ACCOUNT_IS_CLOSED)
        if quantity == order.quantity:
            raise refusal.amend_rejected("The requested action would change no state; rejecting")
        if quantity > order.quantity:
            raise refusal.amend_rejected("Order amend (quantity increase) is not supported.")
        if order.is_pending and order.list is not None and order.list.ticket.sells_received:
            raise refusal.amend_rejected("Order amend (pending OPO order) is not supported.")
        if book.spec.max_num_order_amends and len(order.amendments) >= book.spec.max_num_order_amends:
            raise refusal.amend_rejected("Filter failure: MAX_NUM_ORDER_AMENDS")
        named = order.account.order_named(order.ticket.symbol, client_id) if client_id is not None else None
        if named is not None and named is not order and named.is_open:
            raise refusal.amend_rejected("Duplicate order sent.")
        if quantity > order.executed + order.prevented:
            filters.check_ticket(book.spec, order.account, replace(order.ticket, quantity=quantity), average)

    def amend(self, order: Order, quantity: Decimal, client_id: str, now_ms: int) -> Amendment:
        """Reduce the order and the other leg of its pair; one of which nothing is left expires."""
        is_renamed = client_id != order.client_id
        amendment = self._reduce(order, quantity, client_id, now_ms)
        partner = order.list.partner(order) if order.list is not None else None
        if partner is not None:
            self._reduce(partner, quantity, partner.client_id, now_ms)
        if order.list is not None and is_renamed:
            self._outlet.order_list(order.list, now_ms, is_update=True)
        if order.remaining <= 0:
            self._lifecycle.finish(order, "EXPIRED", now_ms)
        return amendment

    def _reduce(self, order: Order, quantity: Decimal, client_id: str, now_ms: int) -> Amendment:
        old_name, old_quantity = order.client_id, order.quantity
        order.quantity = max(quantity, order.executed + order.prevented)
        order.ticket = replace(order.ticket, quantity=order.quantity)
        order.updated_ms = now_ms
        order.account.rename(order, client_id)
        if order.locked and (not order.is_market or order.waits_for_trigger):
            self._lifecycle.relock(order, self._lifecycle.need(order))
        number = self._outlet.order(order, "REPLACED", now_ms, old_client_id=old_name)
        amendment = Amendment(number, old_name, client_id, old_quantity, order.quantity, now_ms)
        order.amendments.append(amendment)
        return amendment
