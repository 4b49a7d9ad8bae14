"""Matching: takers meet other clients' orders by price and time, then the market; fills are settled at once.

Fees are taken from the asset received and rounded up at the eighth decimal, in the house's favour. A trade with the
market moves units between the client and the market's counter-account; a trade between clients passes through it and
leaves nothing behind.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from typing import Final

from simex.accounts import Ledger
from simex.book import Book
from simex.lifecycle import Lifecycle, Outlet
from simex.orders import Fill, Order, PreventedMatch
from simex.venue import Undocumented

FEE_STEP: Final = Decimal("0.00000001")
EXPIRES_TAKER: Final = ("EXPIRE_TAKER", "EXPIRE_BOTH")
EXPIRES_MAKER: Final = ("EXPIRE_MAKER", "EXPIRE_BOTH")


class Matcher:
    """Lets orders trade."""

    def __init__(self, ledger: Ledger, lifecycle: Lifecycle, outlet: Outlet, rules: Undocumented) -> None:
        self._rules = rules
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._outlet = outlet

    def take(self, book: Book, order: Order, now_ms: int) -> None:
        """Fill a taker as far as its limit, the clients' orders and the market's liquidity allow."""
        bounds = book.taker_bounds(order.ticket.side)
        while order.is_open and order.remaining > 0:
            price = book.taker_price(order.ticket.side, order.limit)
            quantity = book.available(order) if price is not None else Decimal(0)
            # With the market's level used up, a limit order goes on to clients behind it; a market order does not.
            reach = price if quantity or order.is_market else order.limit
            rival = book.rival(order.ticket.side, reach)
            met = rival.ticket.price if rival is not None else price if quantity else None
            if bounds is not None and met is not None and not bounds[0] <= met <= bounds[1]:
                reason = "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"
                self._lifecycle.finish(order, "EXPIRED", now_ms, reason=reason)
            elif rival is not None:
                self._meet(book, order, rival, now_ms)
            elif price is not None and quantity:
                book.liquidity -= quantity
                self._fill(book, order, price, quantity, self._next_trade_id(book), False, now_ms)
            else:
                return

    def fill_resting(self, book: Book, order: Order, now_ms: int) -> bool:
        """The market went through a resting order: what is visible trades at its own price, as far as liquidity goes.

        False when nothing was left for it.
        """
        quantity = min(book.available(order), order.visible)
        if not quantity:
            return False
        book.liquidity -= quantity
        self._lifecycle.expire_partner(order, now_ms)
        self._fill(book, order, order.ticket.price, quantity, self._next_trade_id(book), True, now_ms)
        return True

    def fillable(self, book: Book, order: Order) -> bool:
        """Whether a fill-or-kill order would fill completely now."""
        side = order.ticket.side
        price = book.taker_price(side, order.limit)
        found = book.available(order) if price is not None else Decimal(0)
        for rival in book.asks if side == "BUY" else book.bids:
            beyond = rival.ticket.price - order.ticket.price
            reaches = beyond <= 0 if side == "BUY" else beyond >= 0
            if reaches and not is_prevented(order, rival):
                found += rival.remaining
        return found >= order.remaining

    def _meet(self, book: Book, taker: Order, rival: Order, now_ms: int) -> None:
        if is_prevented(taker, rival):
            self._prevent(book, taker, rival, now_ms)
            return
        quantity = min(taker.remaining, rival.visible)
        price = rival.ticket.price
        trade_id = self._next_trade_id(book)
        self._lifecycle.expire_partner(rival, now_ms)
        self._fill(book, taker, price, quantity, trade_id, False, now_ms)
        self._fill(book, rival, price, quantity, trade_id, True, now_ms)

    def _prevent(self, book: Book, taker: Order, maker: Order, now_ms: int) -> None:
        """Self-trade prevention: the taker's mode decides, but a transfer takes two."""
        mode = taker.ticket.prevention
        if mode == "TRANSFER" and maker.ticket.prevention != "TRANSFER":
            mode = "DECREMENT"
        quantity = min(taker.remaining, maker.visible)
        is_shared = mode in ("DECREMENT", "TRANSFER")
        match = PreventedMatch(
            match_id=book.prevented_matches,
            symbol=book.spec.symbol,
            taker_id=taker.order_id,
            maker_id=maker.order_id,
            trade_group=taker.account.spec.trade_group,
            mode=mode,
            price=maker.ticket.price,
            quantity=quantity,
            taker_quantity=quantity if is_shared else taker.remaining if mode in EXPIRES_TAKER else None,
            maker_quantity=quantity if is_shared else maker.remaining if mode in EXPIRES_MAKER else None,
            at_ms=now_ms,
        )
        book.prevented_matches += 1
        book.update_id += 1
        for account in dict.fromkeys((taker.account, maker.account)):
            account.prevented_matches.append(match)
        if mode == "TRANSFER" and taker.account is not maker.account:
            self._transfer(book, taker, match)
            self._transfer(book, maker, match)
        if match.maker_quantity is not None:
            self._lifecycle.prevent(maker, match, now_ms)
            if maker.is_open and maker.ticket.iceberg_quantity:
                self._show_next(book, maker, quantity)
        if match.taker_quantity is not None:
            self._lifecycle.prevent(taker, match, now_ms)

    def _transfer(self, book: Book, order: Order, match: PreventedMatch) -> None:
        """What would have been traded changes hands without a trade and without a fee."""
        spec, cost = book.spec, match.price * match.quantity
        buys = order.ticket.side == "BUY"
        paid, paid_asset = (cost, spec.quote) if buys else (match.quantity, spec.base)
        order.account.spend_locked(paid_asset, paid)
        order.locked -= paid
        order.account.receive(spec.base if buys else spec.quote, match.quantity if buys else cost)

    def _show_next(self, book: Book, order: Order, quantity: Decimal) -> None:
        """An iceberg lost some of what it shows; when that is gone the next slice appears."""
        order.slice_left -= quantity
        if order.slice_left <= 0:
            book.refill(order, keeps_place=self._rules.iceberg_refill == "front")

    def _fill(
        self, book: Book, order: Order, price: Decimal, quantity: Decimal, trade_id: int, is_maker: bool, now_ms: int
    ) -> None:
        account = order.account
        book.update_id += 1
        if not order.fills:
            account.order_count.first_filled(is_maker, now_ms)
        order.executed += quantity
        order.cost += price * quantity
        order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
        order.updated_ms = now_ms
        fill = self._settle(book, order, price, quantity, trade_id, is_maker, now_ms)
        order.fills.append(fill)
        account.trades.setdefault(order.ticket.symbol, []).append((order, fill))
        if order.status == "FILLED":
            self._lifecycle.close(order)
        elif is_maker and order.ticket.iceberg_quantity:
            self._show_next(book, order, quantity)
        self._outlet.order(order, "TRADE", now_ms, fill=fill)

    def _settle(
        self, book: Book, order: Order, price: Decimal, quantity: Decimal, trade_id: int, is_maker: bool, now_ms: int
    ) -> Fill:
        spec, account, market = book.spec, order.account, self._ledger.market
        rate = account.maker_rate if is_maker else account.taker_rate
        cost = price * quantity
        if order.ticket.side == "BUY":
            paid, paid_asset, received, received_asset = cost, spec.quote, quantity, spec.base
        else:
            paid, paid_asset, received, received_asset = quantity, spec.base, cost, spec.quote
        fee = (received * rate).quantize(FEE_STEP, ROUND_UP)
        account.spend_locked(paid_asset, paid)
        order.locked -= paid
        if not order.is_market:
            self._lifecycle.relock(order, self._lifecycle.need(order))
        keeps = order.list is not None and order.list.ticket.sells_received and order is order.list.working
        account.receive(received_asset, received - fee, locked=keeps)
        if keeps:
            order.earned += received - fee
        market[paid_asset] += paid
        market[received_asset] -= received
        self._ledger.fees[received_asset] += fee
        return Fill(trade_id, price, quantity, fee, received_asset, is_maker, now_ms)

    def _next_trade_id(self, book: Book) -> int:
        book.series.trade_id += 1
        return book.series.trade_id


def is_prevented(taker: Order, maker: Order) -> bool:
    """Whether two orders that meet must not trade."""
    return taker.ticket.prevention != "NONE" and taker.account.shares_group_with(maker.account)
