"""Matching: takers meet other clients' orders by price and time, then the market.

The taker's mode decides what becomes of a trade with oneself. A market order is a limit order that may go as far as the
symbol's bound around the mark price.
"""

from __future__ import annotations

from decimal import Decimal

from simex.futures.book import ContractBook
from simex.futures.lifecycle import Lifecycle
from simex.futures.orders import SELF_TRADE, Order
from simex.orders import ZERO


class Matcher:
    """Lets orders trade."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def take(self, book: ContractBook, order: Order, now_ms: int) -> None:
        """Fill a taker as far as its limit, the clients' orders and the market's liquidity allow."""
        while order.is_open and order.remaining > 0:
            price = book.taker_price(order.ticket.side, order.limit)
            quantity = book.available(order) if price is not None else ZERO
            rival = book.rival(order.ticket.side, price if quantity else order.limit)
            if rival is not None:
                self._meet(book, order, rival, now_ms)
            elif price is not None and quantity:
                book.liquidity -= quantity
                self._lifecycle.fill(book, order, price, quantity, next_trade_id(book), False, now_ms)
            else:
                return

    def fill_resting(self, book: ContractBook, order: Order, now_ms: int) -> None:
        """The market went through a resting order: it trades at its own price, as far as the liquidity goes."""
        quantity = book.available(order)
        if quantity:
            book.liquidity -= quantity
            self._lifecycle.fill(book, order, order.ticket.price, quantity, next_trade_id(book), True, now_ms)

    def fillable(self, book: ContractBook, order: Order) -> bool:
        """Whether a fill-or-kill order would fill completely now."""
        side, limit = order.ticket.side, order.limit
        found = book.available(order) if book.taker_price(side, limit) is not None else ZERO
        for rival in book.asks if side == "BUY" else book.bids:
            if (rival.ticket.price - limit) * order.ticket.sign <= 0:
                found += rival.remaining
        return found >= order.remaining

    def _meet(self, book: ContractBook, taker: Order, rival: Order, now_ms: int) -> None:
        mode = taker.ticket.prevention
        # Self-trade prevention has no effect on FOK and GTX.
        if rival.account is taker.account and mode != "NONE" and taker.ticket.time_in_force not in ("FOK", "GTX"):
            if mode in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
                self._lifecycle.finish(rival, "EXPIRED_IN_MATCH", now_ms, SELF_TRADE)
            if mode in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                self._lifecycle.finish(taker, "EXPIRED_IN_MATCH", now_ms, SELF_TRADE)
            return
        quantity: Decimal = min(taker.remaining, rival.remaining)
        price, trade_id = rival.ticket.price, next_trade_id(book)
        self._lifecycle.fill(book, taker, price, quantity, trade_id, False, now_ms)
        self._lifecycle.fill(book, rival, price, quantity, trade_id, True, now_ms)


def next_trade_id(book: ContractBook) -> int:
    book.series.trade_id += 1
    return book.series.trade_id
