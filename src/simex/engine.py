"""The matching engine: places, triggers, cancels and ends orders and order lists of all symbols.

Refusals are raised before anything changes. Every public method leaves the books settled: lists have moved on and
changed balances are reported.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from itertools import takewhile
from typing import Final

from simex import filters, refusal
from simex.accounts import Account, Ledger
from simex.amends import Amender
from simex.book import Book
from simex.lifecycle import Lifecycle, Outlet
from simex.matching import Matcher, is_prevented
from simex.orders import BIPS, ZERO, Amendment, ListTicket, Order, OrderList, Ticket
from simex.prices import fires, has_reached, with_peg
from simex.refusal import Refusal
from simex.venue import AccountSpec, ExchangeFilters, FillModel, InstrumentSpec, Undocumented

_CLIENT_ID_LENGTH: Final = 22
LIST_IDS_FROM: Final = 500_001  # no order has such a number, so that no client can take one for the other


class Engine:
    """All books and all accounts."""

    def __init__(
        self,
        instruments: Sequence[InstrumentSpec],
        accounts: Sequence[AccountSpec],
        model: FillModel,
        outlet: Outlet,
        kept_ms: int,
        exchange_filters: ExchangeFilters,
        rules: Undocumented,
    ) -> None:
        self.rules = rules
        self.exchange_filters = exchange_filters
        self.delistings: dict[str, int] = {}  # announced ones: when each is due
        self.books = {spec.symbol: Book(spec, model, kept_ms) for spec in instruments}
        self.ledger = Ledger(instruments, accounts, rules)
        self._outlet = outlet
        self._lifecycle = Lifecycle(self.ledger, self.books, outlet)
        self._amender = Amender(self._lifecycle, outlet)
        self._matcher = Matcher(self.ledger, self._lifecycle, outlet, rules)
        self._rest_waits = model.market_rest == "waits"
        self._order_id = 0
        self._list_id = LIST_IDS_FROM - 1
        self._named = 0

    # -- clients ------------------------------------------------------------------------------------------------

    def check(self, account: Account, tickets: Sequence[Ticket], now_ms: int, is_list: bool = False) -> None:
        """The filters, for one order or for all orders of a list; Refusal -1013."""
        book = self.books[tickets[0].symbol]
        average = self.average_price(book, now_ms)
        for ticket in tickets:
            if ticket.peg is None or ticket.peg.asked_price:
                filters.check_ticket(book.spec, account, ticket, average)
            if ticket.peg is not None:
                filters.check_ticket(book.spec, account, self._pegged(book, ticket), average)
        filters.check_counts(book.spec, self.exchange_filters, account, tuple(tickets), is_list)

    def place(self, account: Account, ticket: Ticket, now_ms: int) -> Order:
        """Accept one order and let it trade; Refusal -2010 when the engine does not take it."""
        book = self.books[ticket.symbol]
        _refuse_closed(book, account)
        self._refuse_duplicate(account, ticket)
        ticket = self._pegged(book, ticket)
        self._refuse_by_price(book, ticket)
        order = self._new_order(account, ticket, now_ms)
        if ticket.quote_quantity:
            order.quantity = self._quantity_for(book, order)
        self._lifecycle.relock(order, self._first_need(book, order))
        self._register(book, order)
        self._activate(order, now_ms)
        self._enter(book, order, now_ms)
        self._settle(now_ms)
        return order

    def place_list(self, account: Account, ticket: ListTicket, now_ms: int) -> OrderList:
        """Accept an order list as a whole or refuse it as a whole."""
        book = self.books[ticket.symbol]
        _refuse_closed(book, account)
        ticket = self._pegged_list(book, ticket)
        self._refuse_list(book, account, ticket)
        order_list = self._new_list(account, ticket, now_ms)
        if order_list.working is not None:
            self._lifecycle.relock(order_list.working, self._first_need(book, order_list.working))
            if self.rules.pending_funds == "placement" and not ticket.sells_received:
                self._lock_pending(book, order_list)
        else:
            self._lock_legs(order_list)
        account.add_list(order_list)
        for order in order_list.orders:
            self._register(book, order)
        for order in order_list.orders:
            self._activate(order, now_ms)
        self._outlet.order_list(order_list, now_ms)
        for order in order_list.orders:
            if not order.is_pending:
                self._enter(book, order, now_ms)
        self._settle(now_ms)
        return order_list

    def cancel(self, order: Order, cancel_id: str | None, now_ms: int) -> str:
        """Cancel an open order, with its whole list if it is in one; the cancel's own client id."""
        if not self.books[order.ticket.symbol].takes_cancels:
            raise refusal.cancel_rejected(refusal.MARKET_IS_CLOSED)
        if not order.account.may_trade:
            raise refusal.cancel_rejected(refusal.ACCOUNT_IS_CLOSED)
        name = cancel_id or self.new_client_id()
        members = order.list.orders if order.list is not None else [order]
        for member in members:
            if member.is_open:
                self._lifecycle.finish(member, "CANCELED", now_ms, cancel_id=name)
        self._settle(now_ms)
        return name

    def amend(self, order: Order, quantity: Decimal, client_id: str | None, now_ms: int) -> Amendment:
        """Reduce an open order, which keeps its place; the other leg of a pair follows. Refusal -2038 or -1013."""
        book = self.books[order.ticket.symbol]
        average = self.average_price(book, now_ms)
        self._amender.check(book, order, quantity, client_id, average)
        book.update_id += 1
        amendment = self._amender.amend(order, quantity, client_id or self.new_client_id(), now_ms)
        self._settle(now_ms)
        return amendment

    def deposit(self, account: Account, asset: str, amount: Decimal, now_ms: int) -> None:
        self.ledger.deposit(account, asset, amount)
        self._lifecycle.flush(now_ms)

    def lock_externally(self, account: Account, asset: str, amount: Decimal, now_ms: int) -> None:
        self.ledger.lock_externally(account, asset, amount)
        self._lifecycle.flush(now_ms)

    def expire_all(self, book: Book, now_ms: int) -> None:
        """End every order of a symbol by the exchange's own will."""
        for account in self.ledger.accounts.values():
            for order in account.open_on(book.spec.symbol):
                if order.is_open:
                    self._lifecycle.finish(order, "EXPIRED", now_ms, reason="EXCHANGE_CANCELED")
        self._settle(now_ms)

    def new_client_id(self) -> str:
        """A name for what the client did not name."""
        self._named += 1
        return hashlib.sha256(b"client id %d" % self._named).hexdigest()[:_CLIENT_ID_LENGTH]

    def average_price(self, book: Book, now_ms: int) -> Decimal | None:
        """The price that notional and percent-price filters measure against."""
        if book.reference_price is not None:
            return book.reference_price
        if not book.spec.avg_price_mins:
            return book.last
        return book.series.average_price(now_ms, book.spec.avg_price_mins) or book.last

    # -- the market ---------------------------------------------------------------------------------------------

    def print(self, book: Book, price: Decimal, liquidity: Decimal, now_ms: int) -> None:
        """A public trade: stops fire, resting orders that it went through fill, takers' rests go on."""
        book.print(price, liquidity)
        if book.open_count and not _is_calm(book, price):
            self._see_who_still_takes(book)
            self._fire_stops(book, price, now_ms)
            self._fill_resting(book, price, now_ms)
            self._go_on_taking(book, now_ms)

    def _fire_stops(self, book: Book, price: Decimal, now_ms: int) -> None:
        before = book.previous if book.previous is not None else price
        fired = [order for order in book.stops if fires(order, price, now_ms)]
        # Which of several stops goes first is not documented: the one the price met first, then the older one.
        fired.sort(key=lambda order: (abs(order.trigger_price - before), order.order_id))
        for order in fired:
            if order.is_open:
                self._trigger(book, order, now_ms)
                self._settle(now_ms)

    def _trigger(self, book: Book, order: Order, now_ms: int) -> None:
        book.remove(order)
        self._lifecycle.expire_partner(order, now_ms)
        order.is_triggered = True
        try:
            if order.ticket.peg is not None:
                order.ticket = with_peg(book, order.ticket, order.ticket.peg)
            filters.check_ticket(book.spec, order.account, order.ticket, self.average_price(book, now_ms))
            if order.is_market:
                self._relock_market(book, order)
            else:
                self._lifecycle.relock(order, self._lifecycle.need(order))
        except Refusal:
            self._lifecycle.finish(order, "EXPIRED", now_ms, reason="REJECTED")
            return
        order.updated_ms = order.working_ms = now_ms
        if self.rules.trigger_report == "new":
            self._outlet.order(order, "NEW", now_ms)
        self._enter(book, order, now_ms)

    def _fill_resting(self, book: Book, price: Decimal, now_ms: int) -> None:
        tick = book.spec.tick_size
        reached = deque(order for order in book.bids if order.ticket.price - tick >= price)
        reached += [order for order in book.asks if order.ticket.price + tick <= price]
        while reached:
            order = reached.popleft()
            if order.is_open and not order.is_taking:
                has_filled = self._matcher.fill_resting(book, order, now_ms)
                self._settle(now_ms)
                if has_filled and order.is_open and order.ticket.iceberg_quantity:
                    is_last = self.rules.iceberg_refill == "back"
                    reached.insert(_equals_ahead(reached, order.ticket) if is_last else 0, order)

    def _see_who_still_takes(self, book: Book) -> None:
        """A limit order that the market moved away from is a taker no longer: it has become part of the book."""
        for order in (*book.bids, *book.asks):
            if order.is_taking:
                order.is_taking = book.taker_price(order.ticket.side, order.limit) is not None

    def _go_on_taking(self, book: Book, now_ms: int) -> None:
        for order in [order for order in (*book.bids, *book.asks) if order.is_taking]:
            if order.is_open:
                self._matcher.take(book, order, now_ms)
                self._settle(now_ms)
        for order in list(book.waiting):
            if order.is_open:
                self._take_waiting(book, order, now_ms)
                self._settle(now_ms)

    def _take_waiting(self, book: Book, order: Order, now_ms: int) -> None:
        """The rest of a market order meets a new price: a buy must be able to pay it."""
        try:
            self._relock_market(book, order)
        except Refusal:
            self._lifecycle.finish(order, "EXPIRED", now_ms, reason="REJECTED")
            return
        self._matcher.take(book, order, now_ms)

    # -- one order ----------------------------------------------------------------------------------------------

    def _refuse_duplicate(self, account: Account, *tickets: Ticket) -> None:
        names = [ticket.client_id for ticket in tickets if ticket.client_id is not None]
        if len(set(names)) < len(names):
            raise refusal.duplicate_order()
        for name in names:
            earlier = account.order_named(tickets[0].symbol, name)
            if earlier is not None and earlier.is_open:
                raise refusal.duplicate_order()

    def _refuse_by_price(self, book: Book, ticket: Ticket) -> None:
        if ticket.stop_price and book.last is not None and has_reached(ticket, book.last):
            raise refusal.rejected("Order would trigger immediately.")
        if ticket.type == "LIMIT_MAKER" and self._would_take(book, ticket):
            raise refusal.rejected("Order would immediately match and take.")

    def _would_take(self, book: Book, ticket: Ticket) -> bool:
        meets_market = book.taker_price(ticket.side, ticket.price) is not None
        return meets_market or book.rival(ticket.side, ticket.price) is not None

    def _new_order(self, account: Account, ticket: Ticket, now_ms: int) -> Order:
        self._order_id += 1
        name = ticket.client_id or self.new_client_id()
        order = Order(account, ticket, self._order_id, name, ticket.quantity, now_ms, now_ms)
        if ticket.trailing_bips and not ticket.stop_price:
            book = self.books[ticket.symbol]
            guide = (book.last or ZERO) * (1 + ticket.trailing_bips / BIPS)
            order.guide_price = (guide / book.spec.tick_size).to_integral_value(ROUND_CEILING) * book.spec.tick_size
        return order

    def _pegged(self, book: Book, ticket: Ticket) -> Ticket:
        """With its price from the book, if it is pegged and enters at once; Refusal -2010 when there is none."""
        return ticket if ticket.peg is None or ticket.is_stop else with_peg(book, ticket, ticket.peg)

    def _pegged_list(self, book: Book, ticket: ListTicket) -> ListTicket:
        if ticket.working is not None:
            return replace(ticket, working=self._pegged(book, ticket.working))
        return replace(ticket, legs=tuple(self._pegged(book, leg) for leg in ticket.legs))

    def _register(self, book: Book, order: Order) -> None:
        order.account.add_order(order)
        book.open_count += 1

    def _first_need(self, book: Book, order: Order) -> Decimal:
        if order.ticket.type == "MARKET" and order.ticket.side == "BUY":
            if order.ticket.quote_quantity:
                return order.ticket.quote_quantity
            return (book.taker_price("BUY", None) or ZERO) * order.quantity
        return self._lifecycle.need(order)

    def _relock_market(self, book: Book, order: Order) -> None:
        if order.ticket.side == "BUY":
            self._lifecycle.relock(order, (book.taker_price("BUY", None) or ZERO) * order.remaining)

    def _quantity_for(self, book: Book, order: Order) -> Decimal:
        """The quantity whose cost comes nearest to a quote amount without exceeding it, at today's book."""
        left, quantity = order.ticket.quote_quantity, ZERO
        side = order.ticket.side
        price = book.taker_price(side, None)
        if price is None:
            raise refusal.rejected("Order book liquidity is less than symbol minimum quantity.")
        for rival in book.asks if side == "BUY" else book.bids:
            is_better = rival.ticket.price <= price if side == "BUY" else rival.ticket.price >= price
            if is_better and not is_prevented(order, rival):
                met = min(rival.remaining, filters.lots_down(book.spec, left / rival.ticket.price))
                quantity += met
                left -= met * rival.ticket.price
        quantity += filters.lots_down(book.spec, left / price)
        if quantity < book.spec.min_qty:
            raise refusal.rejected("Order book liquidity is less than LOT_SIZE filter minimum quantity.")
        return quantity

    def _activate(self, order: Order, now_ms: int) -> None:
        """Report an order as new: working at once, or waiting for its trigger or for its list."""
        if not order.is_pending and not order.waits_for_trigger:
            order.working_ms = now_ms
        self._outlet.order(order, "NEW", now_ms)

    def _enter(self, book: Book, order: Order, now_ms: int) -> None:
        """Let an order work: take what it may take, then rest, wait or expire as its kind demands."""
        if order.waits_for_trigger:
            book.wait_for_trigger(order)
            return
        if order.ticket.time_in_force == "FOK" and not self._matcher.fillable(book, order):
            self._lifecycle.finish(order, "EXPIRED", now_ms, reason="UNFILLED_FOK_ORDER_EXPIRED")
            return
        order.is_taking = not order.is_market and book.taker_price(order.ticket.side, order.limit) is not None
        self._matcher.take(book, order, now_ms)
        if not order.is_open:
            return
        if order.is_market:
            self._wait_or_expire(book, order, now_ms)
        elif order.ticket.time_in_force == "GTC":
            book.rest(order)
        else:
            self._lifecycle.finish(order, "EXPIRED", now_ms, reason="UNFILLED_IOC_QUANTITY_EXPIRED")

    def _wait_or_expire(self, book: Book, order: Order, now_ms: int) -> None:
        """A market order found no more liquidity; in a model where rests wait, those of sales and stops do."""
        if self._rest_waits and (order.ticket.side == "SELL" or order.ticket.is_stop):
            book.wait_for_liquidity(order)
        else:
            self._lifecycle.finish(order, "EXPIRED", now_ms, reason="INSUFFICIENT_LIQUIDITY")

    # -- order lists --------------------------------------------------------------------------------------------

    def _refuse_list(self, book: Book, account: Account, ticket: ListTicket) -> None:
        self._refuse_duplicate(account, *ticket.tickets)
        named = account.list_named(ticket.client_id) if ticket.client_id is not None else None
        if named is not None and not named.is_done:
            raise refusal.duplicate_order()
        if ticket.working is not None:
            filters.check_relation(ticket.legs, None)
            self._refuse_by_price(book, ticket.working)
            return
        filters.check_relation(ticket.legs, book.last)
        for leg in ticket.legs:
            self._refuse_by_price(book, leg)

    def _new_list(self, account: Account, ticket: ListTicket, now_ms: int) -> OrderList:
        self._list_id += 1
        order_list = OrderList(self._list_id, ticket.client_id or self.new_client_id(), ticket, now_ms)
        if ticket.working is not None:
            order_list.working = self._new_order(account, ticket.working, now_ms)
        order_list.legs = [self._new_order(account, leg, now_ms) for leg in ticket.legs]
        for order in order_list.orders:
            order.list = order_list
        if ticket.working is not None:
            for leg in order_list.legs:
                leg.status = "PENDING_NEW"
        return order_list

    def _lock_pending(self, book: Book, order_list: OrderList) -> None:
        """Lock the legs' funds too; when they are not there nothing stays locked."""
        try:
            self._lock_released(book, order_list)
        except Refusal:
            assert order_list.working is not None
            self._lifecycle.relock(order_list.working, ZERO)
            raise

    def _lock_released(self, book: Book, order_list: OrderList) -> None:
        if len(order_list.legs) > 1:
            self._lock_legs(order_list)
        else:
            self._lifecycle.relock(order_list.legs[0], self._first_need(book, order_list.legs[0]))

    def _lock_legs(self, order_list: OrderList) -> None:
        """Legs share one lock, as large as the larger need; it stands with the leg that needs it."""
        carrier = max(order_list.legs, key=self._lifecycle.need)
        self._lifecycle.relock(carrier, self._lifecycle.need(carrier))

    def _settle(self, now_ms: int) -> None:
        """Let lists move on whose orders ended, then report changed balances."""
        ended = self._lifecycle.ended
        while ended:
            self._move_on(ended.popleft(), now_ms)
        self._lifecycle.flush(now_ms)

    def _move_on(self, order_list: OrderList, now_ms: int) -> None:
        working = order_list.working
        if working is not None and not working.is_open and any(leg.is_pending for leg in order_list.legs):
            if working.status == "FILLED":
                self._release(order_list, working, now_ms)
            else:
                self._expire_pending(order_list, "OTO_PHASE_ONE_EXPIRED", now_ms)
        if not order_list.is_done and not any(order.is_open for order in order_list.orders):
            order_list.is_done = True
            order_list.at_ms = now_ms
            order_list.orders[0].account.open_lists.pop(order_list.list_id)
            self._outlet.order_list(order_list, now_ms)

    def _release(self, order_list: OrderList, working: Order, now_ms: int) -> None:
        """The working order is filled: its legs go live, or expire when they no longer fit."""
        book = self.books[order_list.ticket.symbol]
        if order_list.ticket.sells_received:
            self._hand_over_received(book, order_list, working)
        try:
            self._recheck(book, order_list, now_ms)
        except Refusal:
            self._expire_pending(order_list, "REJECTED", now_ms)
            return
        for leg in order_list.legs:
            leg.status = "NEW"
            leg.updated_ms = now_ms
            self._activate(leg, now_ms)
        self._outlet.order_list(order_list, now_ms)
        for leg in order_list.legs:
            if leg.is_open:
                self._enter(book, leg, now_ms)

    def _hand_over_received(self, book: Book, order_list: OrderList, working: Order) -> None:
        quantity = filters.lots_down(book.spec, working.earned)
        working.account.unlock(book.spec.base, working.earned)
        working.earned = ZERO
        for leg in order_list.legs:
            leg.quantity = quantity
            leg.ticket = replace(leg.ticket, quantity=quantity)

    def _recheck(self, book: Book, order_list: OrderList, now_ms: int) -> None:
        """Filters, price relation, triggers and funds, as if the legs were placed now."""
        average = self.average_price(book, now_ms)
        for leg in order_list.legs:
            if leg.quantity <= 0:
                raise refusal.filter_failure("LOT_SIZE")
            leg.ticket = self._pegged(book, leg.ticket)
            filters.check_ticket(book.spec, leg.account, leg.ticket, average)
        filters.check_relation([leg.ticket for leg in order_list.legs], book.last)
        for leg in order_list.legs:
            self._refuse_by_price(book, leg.ticket)
        self._lock_released(book, order_list)

    def _expire_pending(self, order_list: OrderList, reason: str, now_ms: int) -> None:
        for leg in order_list.legs:
            if leg.is_open:
                self._lifecycle.finish(leg, "EXPIRED", now_ms, reason=reason)


def _refuse_closed(book: Book, account: Account) -> None:
    """Refusal -2010 when the symbol takes no orders, or none of this account."""
    if book.status != "TRADING":
        raise refusal.rejected(refusal.MARKET_IS_CLOSED)
    if not account.may_trade:
        raise refusal.rejected(refusal.ACCOUNT_IS_CLOSED)
    if not all(any(name in account.spec.permissions for name in names) for names in book.spec.permission_sets):
        raise refusal.rejected("This symbol is not permitted for this account.")


def _is_calm(book: Book, price: Decimal) -> bool:
    calm = book.calm
    return calm is not None and calm[0] < price < calm[1]


def _equals_ahead(reached: Iterable[Order], ticket: Ticket) -> int:
    """How many orders at the front of a queue have the side and price of a ticket."""
    equals = takewhile(lambda o: (o.ticket.side, o.ticket.price) == (ticket.side, ticket.price), reached)
    return sum(1 for _ in equals)
