"""Margin calls, liquidation, isolated and cross, at the mark price, and auto-deleveraging.

A position whose margin balance is down to its maintenance margin is closed by an immediate limit order at its
bankruptcy price, the price at which its margin is gone. What the market does not take at that price or better the
insurance fund takes over at it. Fee and clearance fee are paid as far as the margin lasts.

The insurance fund is bottomless, so nobody is deleveraged unless the operator says so: then some of a position is
closed at a price that he names, for a taker's fee.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from simex.futures.accounts import Account, Position
from simex.futures.book import ContractBook
from simex.futures.lifecycle import Lifecycle
from simex.futures.matching import Matcher, next_trade_id
from simex.futures.orders import LIQUIDATED, Order, Ticket
from simex.orders import ZERO

DELEVERAGED = "adl_autoclose"  # the name that all such orders bear

if TYPE_CHECKING:
    from simex.futures.engine import Engine


class Liquidator:
    """Watches margins and takes over what has none."""

    def __init__(self, engine: Engine, matcher: Matcher, lifecycle: Lifecycle) -> None:
        self._engine = engine
        self._margins = engine.margins
        self._matcher = matcher
        self._lifecycle = lifecycle

    def look(self, account: Account, book: ContractBook, now_ms: int) -> None:
        """Liquidate or warn an account that holds this contract."""
        account.safe = None
        called: list[Position] = []
        for position in list(account.held(book.spec.symbol)):
            if not position.amount:
                continue  # gone with another one that shared its wallet
            if self._margins.is_over(account, position):
                self._liquidate(account, position, now_ms)
            elif (position.symbol, position.side) not in account.warned and self._margins.is_near(account, position):
                account.warned.add((position.symbol, position.side))
                called.append(position)
        if called:
            self._engine.outlet.margin_call(account, called, now_ms)

    def clear_debt(self, account: Account, asset: str, now_ms: int) -> None:
        """What an account owes that has nothing left to lose is the insurance fund's."""
        debt = -account.wallets.get(asset, ZERO)
        if debt > 0 and not self._margins.cross_positions(account, asset) and not account.is_multi_asset:
            self._engine.ledger.book(account, asset, debt, "INSURANCE_CLEAR", now_ms)
            self._engine.outlet.account(account, "INSURANCE_CLEAR", {asset: debt}, [], now_ms)

    def deleverage(self, account: Account, position: Position, quantity: Decimal, price: Decimal, now_ms: int) -> None:
        """Close so much of a position, which must have it."""
        account.liquidations.append(self._close(account, position, quantity, price, DELEVERAGED, now_ms))
        self._engine.settle(now_ms)

    def deliver(self, account: Account, position: Position, now_ms: int) -> None:
        """Close a position at the mark price, as a contract that ends does; a taker's fee is paid."""
        tick = self._margins.spec(position.symbol).tick_size
        price = (self._margins.mark(position.symbol) / tick).to_integral_value(ROUND_HALF_EVEN) * tick
        name = f"settlement_autoclose-{now_ms}{position.symbol}{position.side}"
        self._close(account, position, abs(position.amount), price, name, now_ms)

    def _close(
        self, account: Account, position: Position, quantity: Decimal, price: Decimal, name: str, now_ms: int
    ) -> Order:
        book = self._engine.books[position.symbol]
        ticket = Ticket(
            symbol=position.symbol,
            side="SELL" if position.amount > 0 else "BUY",
            type="MARKET",
            orig_type="MARKET",
            quantity=quantity,
            position_side=position.side,
            reduce_only=position.side == "BOTH",
            client_id=name,
        )
        order = Order(account, ticket, self._engine.new_order_id(), name, quantity, now_ms, now_ms)
        self._lifecycle.register(book, order, now_ms)
        self._lifecycle.fill(book, order, price, quantity, next_trade_id(book), False, now_ms)
        return order

    def _liquidate(self, account: Account, position: Position, now_ms: int) -> None:
        if account.is_isolated(position):
            self._cancel(account, [position.symbol], now_ms)
            self._take_over(account, position, self._margins.isolated_balance(position), position.isolated, now_ms)
            return
        asset = self._margins.spec(position.symbol).margin_asset
        shared = self._margins.cross_positions(account, asset)
        self._cancel(account, [*self._engine.books], now_ms)
        # The one that binds most goes first; the rest stays if that is enough.
        for entry in sorted(shared, key=self._margins.maintenance, reverse=True):
            if entry.amount and self._margins.is_over(account, entry):
                balance = self._margins.cross_balance(account, asset)
                self._take_over(account, entry, balance, balance - self._margins.profit(entry), now_ms)

    def _cancel(self, account: Account, symbols: list[str], now_ms: int) -> None:
        for order in list(account.open.values()):
            if order.ticket.symbol in symbols:
                self._lifecycle.finish(order, "EXPIRED", now_ms, LIQUIDATED)

    def _take_over(self, account: Account, position: Position, balance: Decimal, purse: Decimal, now_ms: int) -> None:
        book = self._engine.books[position.symbol]
        order = self._order(account, position, book, balance, now_ms)
        order.purse = purse
        account.liquidations.append(order)
        book.liquidations.append(order)
        sign = position.sign
        self._lifecycle.register(book, order, now_ms)
        self._matcher.take(book, order, now_ms)
        if order.is_open:
            taken, price = order.remaining, order.ticket.price
            self._lifecycle.fill(book, order, price, taken, next_trade_id(book), True, now_ms, "CALCULATED")
            gain = sign * taken * (self._margins.mark(position.symbol) - price)
            self._engine.ledger.insure(book.spec.margin_asset, gain)
        self._engine.settle(now_ms)

    def _order(self, account: Account, position: Position, book: ContractBook, balance: Decimal, now_ms: int) -> Order:
        tick = book.spec.tick_size
        exact = self._margins.mark(position.symbol) - balance / position.amount
        rounding = ROUND_CEILING if position.amount > 0 else ROUND_FLOOR
        price = max((exact / tick).to_integral_value(rounding) * tick, tick)
        order_id = self._engine.new_order_id()
        name = f"autoclose-{now_ms}{order_id}"
        ticket = Ticket(
            symbol=position.symbol,
            side="SELL" if position.amount > 0 else "BUY",
            type="LIMIT",
            orig_type="LIMIT",
            quantity=abs(position.amount),
            price=price,
            position_side=position.side,
            time_in_force="IOC",
            reduce_only=position.side == "BOTH",
            client_id=name,
        )
        return Order(account, ticket, order_id, name, ticket.quantity, now_ms, now_ms, expiry_reason=LIQUIDATED)
