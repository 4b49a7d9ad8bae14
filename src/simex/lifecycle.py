"""Beginnings and ends of orders: funds are locked and released, list partners go, everything is reported.

What a list does when one of its orders ends is not decided in the middle of a match: the list is noted in `ended` and
looked at when the match is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Protocol

from simex.accounts import Account, Ledger
from simex.book import Book
from simex.orders import ZERO, Fill, Order, OrderList, PreventedMatch, Status

ReportKind = Literal["NEW", "TRADE", "CANCELED", "EXPIRED", "TRADE_PREVENTION", "REPLACED"]


class Outlet(Protocol):
    """Where account events go."""

    def order(
        self,
        order: Order,
        kind: ReportKind,
        now_ms: int,
        *,
        fill: Fill | None = None,
        cancel_id: str | None = None,
        prevented: PreventedMatch | None = None,
        old_client_id: str | None = None,
    ) -> int:
        """One report; its execution id."""
        ...

    def order_list(self, order_list: OrderList, now_ms: int, is_update: bool = False) -> None: ...

    def balances(self, account: Account, assets: list[str], now_ms: int) -> None: ...


class Lifecycle:
    """Starts and ends orders."""

    def __init__(self, ledger: Ledger, books: Mapping[str, Book], outlet: Outlet) -> None:
        self.ended: deque[OrderList] = deque()
        self._ledger = ledger
        self._books = books
        self._outlet = outlet

    def lock_asset(self, order: Order) -> str:
        spec = self._books[order.ticket.symbol].spec
        return spec.quote if order.ticket.side == "BUY" else spec.base

    def need(self, order: Order) -> Decimal:
        """What must be locked for the rest of an order that works or waits for its trigger."""
        if order.ticket.side == "SELL":
            return order.remaining
        return (order.ticket.price or order.ticket.stop_price or order.guide_price) * order.remaining

    def relock(self, order: Order, amount: Decimal) -> None:
        """Lock that much for the order, no more and no less; Refusal when it is not there."""
        change = amount - order.locked
        if change > 0:
            order.account.lock(self.lock_asset(order), change)
        elif change < 0:
            order.account.unlock(self.lock_asset(order), -change)
        order.locked = amount

    def expire_partner(self, order: Order, now_ms: int) -> None:
        """An OCO leg trades or triggers: the other one goes, its lock passes on."""
        partner = order.list.partner(order) if order.list is not None else None
        if partner is not None and not partner.is_pending:
            self.finish(partner, "EXPIRED", now_ms, reason="OCO_TRIGGER")

    def finish(
        self, order: Order, status: Status, now_ms: int, reason: str = "NONE", cancel_id: str | None = None
    ) -> None:
        """End an order that is not filled: report it, free its funds or pass them to the leg that shares them."""
        order.status = status
        order.expiry_reason = reason
        order.updated_ms = now_ms
        self.close(order)
        kind: ReportKind = "CANCELED" if status == "CANCELED" else "EXPIRED"
        self._outlet.order(order, kind, now_ms, cancel_id=cancel_id)

    def prevent(self, order: Order, match: PreventedMatch, now_ms: int) -> None:
        """Take from an order what would have met another one of its own account or group; it may end by that."""
        order.prevented += match.loss_of(order.order_id)
        order.prevented_match_id = match.match_id
        order.updated_ms = now_ms
        if order.remaining <= 0:
            order.status = "EXPIRED_IN_MATCH"
            self.close(order)
        elif not order.is_market:
            self.relock(order, self.need(order))
        self._outlet.order(order, "TRADE_PREVENTION", now_ms, prevented=match)

    def close(self, order: Order) -> None:
        """Take a finished order off the book and let go of its lock."""
        book = self._books[order.ticket.symbol]
        book.remove(order)
        book.open_count -= 1
        order.account.open.pop(order.order_id)
        self._pass_lock_on(order)
        if order.earned and order.status != "FILLED":
            order.account.unlock(book.spec.base, order.earned)
            order.earned = ZERO
        if order.list is not None:
            self.ended.append(order.list)

    def flush(self, now_ms: int) -> None:
        """Report the balances that changed since the last time."""
        for account in self._ledger.accounts.values():
            if account.touched:
                assets = list(account.touched)
                account.touched.clear()
                account.updated_ms = now_ms
                self._outlet.balances(account, assets, now_ms)

    def _pass_lock_on(self, order: Order) -> None:
        amount, order.locked = order.locked, ZERO
        heir = order.list.partner(order) if order.list is not None else None
        if heir is not None and not heir.is_pending:
            heir.locked += amount
            self.relock(heir, self.need(heir))
        elif amount:
            order.account.unlock(self.lock_asset(order), amount)
