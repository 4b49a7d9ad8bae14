"""Conditional ("algo") orders: they wait outside the book for the last or the mark price, and bind no margin.

When one is hit a plain order with an id of its own comes to be, or the refusal becomes the algo order's end.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from simex.futures import filters
from simex.futures.accounts import Account
from simex.futures.book import ContractBook
from simex.futures.lifecycle import Lifecycle
from simex.futures.orders import GTE_GONE, Algo, PositionSide, Ticket
from simex.orders import ZERO
from simex.refusal import Refusal

if TYPE_CHECKING:
    from simex.futures.engine import Engine

OPEN_ALGOS_MAX: Final = 200
ALGO_IDS_FROM: Final = 3_000_001  # no order has such a number, so that no client can take one for the other
LIMIT_TYPES: Final = ("STOP", "TAKE_PROFIT")


class Algos:
    """All conditional orders of all accounts."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle) -> None:
        self._engine = engine
        self._lifecycle = lifecycle
        self._algo_id = ALGO_IDS_FROM - 1

    def place(self, account: Account, ticket: Ticket, now_ms: int) -> Algo:
        """Accept a conditional order, or raise the Refusal."""
        book = self._engine.books[ticket.symbol]
        price = _price(book, ticket.working_type)
        self._engine.refuse_closed(book)
        if price is None:
            raise Refusal(-1112, "No orders on book for symbol.")
        named = account.algo_named(ticket.client_id) if ticket.client_id is not None else None
        if named is not None and named.algo_id in account.open_algos:
            raise Refusal(-4116, "ClientOrderId is duplicated.")
        self._check(book, ticket, price)
        if len(account.open_algos) >= OPEN_ALGOS_MAX:
            raise Refusal(-4045, "Reach max stop order limit.")
        self._algo_id += 1
        name = ticket.client_id or self._engine.new_client_id()
        algo = Algo(account, ticket, self._algo_id, name, now_ms, now_ms)
        if algo.is_trailing:
            _refuse_activation(ticket, price)
        elif algo.has_reached(price):
            raise Refusal(-2021, "Order would immediately trigger.")
        account.add_algo(algo)
        book.algos.append(algo)
        book.guard = None
        self._engine.outlet.algo(algo, now_ms)
        if algo.is_trailing and not ticket.activate_price:
            algo.ticket = replace(ticket, activate_price=price)
            self._activate(algo, price, now_ms)
        return algo

    def cancel(self, algo: Algo, now_ms: int) -> None:
        self._lifecycle.end_algo(algo, "CANCELED", now_ms)

    def look(self, book: ContractBook, now_ms: int) -> None:
        """Fire what the present prices reach, the one that the price met first at the front, then the older one."""
        if not book.algos:
            return
        before = book.previous if book.previous is not None else ZERO
        fired = [algo for algo in book.algos if self._is_hit(book, algo, now_ms)]
        fired.sort(key=lambda algo: (abs(algo.trigger - before), algo.algo_id))
        for algo in fired:
            if algo.status == "NEW":
                self._fire(book, algo, now_ms)

    def position_closed(self, account: Account, symbol: str, side: PositionSide, now_ms: int) -> None:
        """What was good till the position's end is over."""
        for algo in account.algos_on(symbol):
            if algo.ticket.time_in_force == "GTE_GTC" and algo.ticket.position_side == side and algo.status == "NEW":
                self._lifecycle.end_algo(algo, "EXPIRED", now_ms)
        for order in account.open_on(symbol, side):
            if order.ticket.time_in_force == "GTE_GTC":
                self._lifecycle.finish(order, "EXPIRED", now_ms, GTE_GONE)

    def expire(self, now_ms: int) -> None:
        """End the untriggered orders whose date has come."""
        for book in self._engine.books.values():
            for algo in [algo for algo in book.algos if 0 < algo.ticket.good_till_ms <= now_ms]:
                self._lifecycle.end_algo(algo, "EXPIRED", now_ms)

    def _check(self, book: ContractBook, ticket: Ticket, price: Decimal) -> None:
        spec = book.spec
        if ticket.price:
            filters.check_price(spec, ticket.price)
        if ticket.activate_price:
            filters.check_price(spec, ticket.activate_price, "Activation price")
        if ticket.stop_price:
            filters.check_price(spec, ticket.stop_price, "Stop price")
            filters.check_trigger(spec, ticket, self._engine.rules.trigger_band_times, price)
        if not ticket.close_position:
            filters.check_quantity(spec, ticket.quantity, ticket.type == "MARKET")
            if not ticket.closes:
                filters.check_notional(spec, ticket.price or ticket.stop_price or price, ticket.quantity)

    def _is_hit(self, book: ContractBook, algo: Algo, now_ms: int) -> bool:
        price = _price(book, algo.ticket.working_type)
        assert price is not None, "an algo order is placed after the first print"
        if algo.is_trailing and not self._trail(book, algo, price, now_ms):
            return False
        return algo.has_reached(price) and not self._is_protected(book, algo)

    def _trail(self, book: ContractBook, algo: Algo, price: Decimal, now_ms: int) -> bool:
        """Follow the price; whether the order is active."""
        is_better = price < algo.extreme if algo.ticket.side == "BUY" else price > algo.extreme
        if algo.is_active and is_better:
            algo.extreme = price
            book.guard = None
        if not algo.is_active and (algo.ticket.activate_price - price) * algo.ticket.sign >= 0:
            self._activate(algo, price, now_ms)
        return algo.is_active

    def _activate(self, algo: Algo, price: Decimal, now_ms: int) -> None:
        algo.is_active = True
        algo.extreme = price
        algo.updated_ms = now_ms
        self._engine.books[algo.ticket.symbol].guard = None
        self._engine.outlet.algo(algo, now_ms)

    def _is_protected(self, book: ContractBook, algo: Algo) -> bool:
        """priceProtect holds an order back while mark and last price are too far apart."""
        assert book.mark is not None, "an algo order is placed after the first print"
        assert book.last is not None, "an algo order is placed after the first print"
        return algo.ticket.price_protect and abs(book.mark - book.last) > book.spec.trigger_protect * book.mark

    def _fire(self, book: ContractBook, algo: Algo, now_ms: int) -> None:
        account, ticket = algo.account, algo.ticket
        algo.status = "TRIGGERING"
        algo.triggered_ms = algo.updated_ms = now_ms
        account.open_algos.pop(algo.algo_id)
        self._lifecycle.forget_algo(algo)
        self._engine.outlet.algo(algo, now_ms)
        if ticket.close_position:
            held = -account.position(ticket.symbol, ticket.position_side).amount * ticket.sign
            if held <= 0:
                self._lifecycle.end_algo(algo, "EXPIRED", now_ms)
                return
            ticket = replace(ticket, quantity=held)
        name = algo.client_id if self._engine.rules.triggered_keeps_client_id else None
        try:
            self._engine.place(account, replace(ticket, client_id=name), now_ms, algo)
        except Refusal as refused:
            self._lifecycle.end_algo(algo, "REJECTED", now_ms, refused.text)


def _price(book: ContractBook, working_type: str) -> Decimal | None:
    return book.mark if working_type == "MARK_PRICE" else book.last


def _refuse_activation(ticket: Ticket, price: Decimal) -> None:
    if ticket.activate_price and (price - ticket.activate_price) * ticket.sign <= 0:
        raise Refusal(-2021, "Order would immediately trigger.")
