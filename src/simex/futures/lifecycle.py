"""What happens to orders, positions and wallets: fills are settled at once, ends are noted, everything is reported.

What a changed position means for other orders is not decided in the middle of a match: the position is noted in
`changed` and looked at when the match is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import ROUND_FLOOR, ROUND_UP, Decimal
from typing import Literal, Protocol

from simex.futures.accounts import STEP, Account, Ledger, Position
from simex.futures.book import ContractBook
from simex.futures.contracts import ContractSpec
from simex.futures.orders import Algo, AlgoStatus, Fill, Order, PositionSide, Status
from simex.orders import ZERO

OrderEvent = Literal["NEW", "TRADE", "CALCULATED", "CANCELED", "EXPIRED", "AMENDMENT"]
BURN_FACTOR = Decimal("0.9")


class Outlet(Protocol):
    """Where account events go."""

    def order(self, order: Order, kind: OrderEvent, now_ms: int, fill: Fill | None = None) -> None: ...

    def algo(self, algo: Algo, now_ms: int) -> None: ...

    def account(
        self, account: Account, reason: str, changes: Mapping[str, Decimal], positions: list[Position], now_ms: int,
        symbol: str = "",
    ) -> None: ...  # fmt: skip

    def margin_call(self, account: Account, positions: list[Position], now_ms: int) -> None: ...

    def leverage(self, account: Account, symbol: str, leverage: int, now_ms: int) -> None: ...

    def multi_asset(self, account: Account, now_ms: int) -> None: ...


class Lifecycle:
    """Begins, fills and ends orders."""

    def __init__(self, ledger: Ledger, books: Mapping[str, ContractBook], outlet: Outlet) -> None:
        self.changed: deque[tuple[Account, str, PositionSide]] = deque()
        self._ledger = ledger
        self._books = books
        self._outlet = outlet

    def register(self, book: ContractBook, order: Order, now_ms: int) -> None:
        order.account.add_order(order)
        book.open_count += 1
        order.working_ms = now_ms
        self._outlet.order(order, "NEW", now_ms)

    def finish(self, order: Order, status: Status, now_ms: int, reason: str = "0") -> None:
        """End an order that is not filled."""
        order.status = status
        order.expiry_reason = reason
        order.updated_ms = now_ms
        self._close(order)
        self._outlet.order(order, "CANCELED" if status == "CANCELED" else "EXPIRED", now_ms)
        self._finish_algo_of(order, now_ms)

    def end_algo(self, algo: Algo, status: AlgoStatus, now_ms: int, reason: str = "") -> None:
        """End a conditional order, before or after it was triggered."""
        algo.status = status
        algo.reason = reason
        algo.updated_ms = now_ms
        algo.account.open_algos.pop(algo.algo_id, None)
        self.forget_algo(algo)
        self._outlet.algo(algo, now_ms)

    def forget_algo(self, algo: Algo) -> None:
        """No print is watched for it any more."""
        book = self._books[algo.ticket.symbol]
        if algo in book.algos:
            book.algos.remove(algo)
            book.guard = None

    def fill(
        self, book: ContractBook, order: Order, price: Decimal, quantity: Decimal, trade_id: int, is_maker: bool,
        now_ms: int, kind: OrderEvent = "TRADE",
    ) -> None:  # fmt: skip
        """Settle one execution: position, profit, fee, events."""
        account, ticket, spec = order.account, order.ticket, book.spec
        book.update_id += 1
        order.executed += quantity
        order.cost += price * quantity
        order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
        order.updated_ms = now_ms
        position = account.position(ticket.symbol, ticket.position_side)
        leverage = account.setup(ticket.symbol).leverage if account.is_isolated(position) else None
        before = position.amount
        realised = position.trade(ticket.sign * quantity, price, leverage)
        fee, asset = self._fee(account, spec, price * quantity, is_maker)
        clearance = ZERO
        if order.purse is not None:
            left = (order.purse * quantity / order.quantity + realised).quantize(STEP, ROUND_FLOOR)
            fee, asset = max(ZERO, min(self._full_fee(account, price * quantity, is_maker), left)), spec.margin_asset
            clearance = (price * quantity * spec.liquidation_fee).quantize(STEP, ROUND_UP)
            clearance = max(ZERO, min(clearance, left - fee))
        closed = min(abs(before), quantity) if before * ticket.sign < 0 else ZERO
        position.fees += self._full_fee(account, price * (quantity - closed), is_maker)
        position.updated_ms = now_ms
        self._ledger.market_amounts[ticket.symbol] -= ticket.sign * quantity
        if realised:
            self._ledger.book(account, spec.margin_asset, realised, "REALIZED_PNL", now_ms, ticket.symbol,
                              str(trade_id), trade_id)  # fmt: skip
        self._ledger.book(account, asset, -fee, "COMMISSION", now_ms, ticket.symbol, str(trade_id), trade_id)
        if clearance:
            self._ledger.book(account, asset, -clearance, "INSURANCE_CLEAR", now_ms, ticket.symbol)
        fill = Fill(trade_id, price, quantity, fee, asset, is_maker, now_ms, realised)
        order.fills.append(fill)
        account.trades.setdefault(ticket.symbol, []).append((order, fill))
        if order.status == "FILLED":
            self._close(order)
        self._note(book, account, position)
        self._outlet.order(order, kind, now_ms, fill)
        self._outlet.account(account, "ORDER", {spec.margin_asset: ZERO, asset: ZERO}, [position], now_ms)
        if order.status == "FILLED":
            self._finish_algo_of(order, now_ms)

    def stir(self, account: Account) -> None:
        """Something about an account's margin changed: what was reckoned of it holds no longer."""
        account.safe = None
        account.warned.clear()
        for position in account.held():
            self._books[position.symbol].guard = None

    def _note(self, book: ContractBook, account: Account, position: Position) -> None:
        self.stir(account)
        book.guard = None
        if any(account.held(book.spec.symbol)):
            book.holders[account] = None
        else:
            book.holders.pop(account, None)
        self.changed.append((account, position.symbol, position.side))

    def _close(self, order: Order) -> None:
        book = self._books[order.ticket.symbol]
        book.remove(order)
        book.open_count -= 1
        order.account.open.pop(order.order_id)

    def _finish_algo_of(self, order: Order, now_ms: int) -> None:
        if order.algo is not None and order.algo.status == "TRIGGERED":
            self.end_algo(order.algo, "FINISHED", now_ms)

    def _full_fee(self, account: Account, cost: Decimal, is_maker: bool) -> Decimal:
        rate = account.maker_rate if is_maker else account.taker_rate
        return (cost * rate).quantize(STEP, ROUND_UP)

    def _fee(self, account: Account, spec: ContractSpec, cost: Decimal, is_maker: bool) -> tuple[Decimal, str]:
        """The fee of a fill and its asset: the margin asset, or BNB at a discount while that suffices."""
        bnb = self._books.get(f"BNB{spec.margin_asset}")
        if account.burns_bnb and bnb is not None and bnb.index:
            burnt = (self._full_fee(account, cost, is_maker) * BURN_FACTOR / bnb.index).quantize(STEP, ROUND_UP)
            if burnt <= account.wallets.get("BNB", ZERO):
                return burnt, "BNB"
        return self._full_fee(account, cost, is_maker), spec.margin_asset
