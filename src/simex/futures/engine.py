"""The matching engine of the futures market: places, modifies, cancels and ends the orders of all contracts.

Refusals are raised before anything changes. Every public method leaves the books settled: reduce-only orders fit their
positions, what depended on a closed position is gone, what must be liquidated is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from simex.futures import filters
from simex.futures.accounts import Account, Ledger
from simex.futures.algos import Algos
from simex.futures.book import EVERYTHING, ContractBook, Range
from simex.futures.clock import Clock
from simex.futures.contracts import ContractSpec
from simex.futures.lifecycle import Lifecycle, Outlet
from simex.futures.liquidation import Liquidator
from simex.futures.margin import Margins
from simex.futures.matching import Matcher
from simex.futures.orders import (
    DELISTED,
    IOC_REST,
    MARKET_REST,
    REDUCE_ONLY_GONE,
    Algo,
    Amendment,
    Order,
    PositionSide,
    Ticket,
)
from simex.orders import ZERO, Side
from simex.refusal import Refusal
from simex.venue import AccountSpec, FillModel, Undocumented

_CLIENT_ID_LENGTH: Final = 22
AMENDMENTS_MAX: Final = 10_000


class Engine:
    """All books and all accounts of the futures market."""

    def __init__(
        self,
        contracts: Sequence[ContractSpec],
        accounts: Sequence[AccountSpec],
        model: FillModel,
        outlet: Outlet,
        kept_ms: int,
        rules: Undocumented,
    ) -> None:
        self.rules = rules
        self.outlet = outlet
        self.books = {spec.symbol: ContractBook(spec, model, kept_ms) for spec in contracts}
        self.ledger = Ledger(contracts, accounts)
        sells_at_market = rules.futures_sell_margin == "market"
        self.margins = Margins(self.books, sells_at_market, rules.margin_call_share)
        self.lifecycle = Lifecycle(self.ledger, self.books, outlet)
        self._matcher = Matcher(self.lifecycle)
        self.algos = Algos(self, self.lifecycle)
        self.clock = Clock(self)
        self.liquidator = Liquidator(self, self._matcher, self.lifecycle)
        self._rest_waits = model.market_rest == "waits"
        self._order_id = 0
        self._named = 0

    # -- clients ------------------------------------------------------------------------------------------------

    def place(self, account: Account, wish: Ticket, now_ms: int, algo: Algo | None = None) -> Order:
        """Accept one order and let it trade, or raise the Refusal."""
        order = self.accept(account, wish, now_ms, algo)
        self.enter(self.books[wish.symbol], order, now_ms)
        if order.ticket.closes:
            self.trim(account, wish.symbol, wish.position_side, now_ms)
        self.settle(now_ms)
        return order

    def accept(self, account: Account, wish: Ticket, now_ms: int, algo: Algo | None = None) -> Order:
        """Check an order and register it; it has not traded yet."""
        book = self.books[wish.symbol]
        ticket = self._with_matched_price(book, wish)
        self.check(account, ticket)
        ticket = replace(ticket, quantity=self._reducible(account, ticket)) if ticket.closes else ticket
        self._check_margin(account, ticket)
        order = self._new_order(account, ticket, now_ms)
        order.bound = self._bound(book, ticket.side)
        order.margin_price = self.margins.assumed_price(ticket)
        self._refuse_by_price(book, order)
        if algo is not None:
            order.algo, algo.order = algo, order
            algo.status = "TRIGGERED"
            algo.updated_ms = now_ms
            self.outlet.algo(algo, now_ms)
        self.lifecycle.register(book, order, now_ms)
        return order

    def check(self, account: Account, ticket: Ticket) -> None:
        """Filters and identity of a plain order; Refusal with the filter's code."""
        book = self.books[ticket.symbol]
        spec, mark = book.spec, book.mark
        self.refuse_closed(book)
        if mark is None:
            raise Refusal(-1112, "No orders on book for symbol.")
        named = account.order_named(ticket.symbol, ticket.client_id) if ticket.client_id is not None else None
        if named is not None and named.is_open:
            raise Refusal(-4116, "ClientOrderId is duplicated.")
        is_market = ticket.type == "MARKET"
        if not is_market:
            filters.check_price(spec, ticket.price)
        filters.check_quantity(spec, ticket.quantity, is_market)
        if not ticket.closes:
            filters.check_notional(spec, ticket.price or mark, ticket.quantity)
        if is_market:
            self._check_market_band(book, ticket.side, mark)
        else:
            filters.check_band(spec, ticket, mark)
        if len(account.open_on(ticket.symbol)) >= spec.max_num_orders:
            raise Refusal(-2025, "Reach max open order limit.")

    @staticmethod
    def refuse_closed(book: ContractBook) -> None:
        """Refusal -1122 when the contract takes no orders; they can be cancelled all the same."""
        if book.status != "TRADING":
            raise Refusal(-1122, "Invalid symbol status.")

    def delist(self, book: ContractBook, now_ms: int) -> None:
        """Expire all orders of a contract, close all positions in it at its mark price, and close it for good."""
        symbol = book.spec.symbol
        for algo in list(book.algos):
            self.lifecycle.end_algo(algo, "EXPIRED", now_ms)
        for account in self.ledger.accounts.values():
            for order in account.open_on(symbol):
                self.lifecycle.finish(order, "EXPIRED", now_ms, DELISTED)
            for position in list(account.held(symbol)):
                self.liquidator.deliver(account, position, now_ms)
        self.settle(now_ms)
        book.status = "CLOSE"

    def cancel(self, order: Order, now_ms: int) -> None:
        self.lifecycle.finish(order, "CANCELED", now_ms)
        self.settle(now_ms)

    def modify(self, order: Order, wish: Ticket, modify_id: int | None, now_ms: int) -> None:
        """Change price and quantity of a resting order; it goes to the back. A refusal leaves it as it was."""
        book = self.books[order.ticket.symbol]
        ticket = self._with_matched_price(book, wish)
        if (ticket.price, ticket.quantity) == (order.ticket.price, order.quantity):
            raise Refusal(-5027, "No need to modify the order.")
        if len(order.amendments) >= AMENDMENTS_MAX:
            raise Refusal(-5026, "Exceed maximum modify order limit.")
        self._check_modified(order, ticket)
        before = order.ticket.price, order.quantity
        if ticket.quantity <= order.executed or self._would_take(book, ticket):
            self.cancel(order, now_ms)
            return
        book.remove(order)
        order.ticket = replace(order.ticket, price=ticket.price, quantity=ticket.quantity, prevention="NONE")
        order.quantity = ticket.quantity
        order.margin_price = self.margins.assumed_price(order.ticket)
        order.updated_ms = order.working_ms = now_ms
        after = ticket.price, ticket.quantity
        order.amendments.append(Amendment(len(order.amendments) + 1, modify_id, now_ms, before, after))
        self.outlet.order(order, "AMENDMENT", now_ms)
        self.enter(book, order, now_ms)
        self.settle(now_ms)

    def new_client_id(self) -> str:
        """A name for what the client did not name."""
        self._named += 1
        return hashlib.sha256(b"futures client id %d" % self._named).hexdigest()[:_CLIENT_ID_LENGTH]

    # -- the market ---------------------------------------------------------------------------------------------

    def print(self, book: ContractBook, price: Decimal, liquidity: Decimal, now_ms: int) -> None:
        """A public trade: conditional orders fire, margins are looked at, resting orders fill, takers' rests go on."""
        is_calm = book.is_quiet or self._is_calm(book, price)
        book.print(price, liquidity)
        if not is_calm:
            self.look(book, now_ms)

    def look(self, book: ContractBook, now_ms: int) -> None:
        """See to everything that the present price asks for."""
        book.guard = None
        price = book.last
        assert price is not None, "nothing happens before the first print"
        for account in list(book.holders):
            self.liquidator.look(account, book, now_ms)
        self._see_who_still_takes(book)
        self.algos.look(book, now_ms)
        self._fill_resting(book, price, now_ms)
        self._go_on_taking(book, now_ms)
        self.settle(now_ms)

    def calm(self, book: ContractBook) -> Range | None:
        """Prints between these two prices, exclusive, change nobody's order, conditional order or margin."""
        inner = book.calm if book.open_count else EVERYTHING
        if inner is None:
            return None
        if book.guard is None:
            ranges = [book.algo_range(), *(self.margins.safe_range(a, book.spec.symbol) for a in book.holders)]
            book.guard = max(low for low, _ in ranges), min(high for _, high in ranges)
        return max(inner[0], book.guard[0]), min(inner[1], book.guard[1])

    def _is_calm(self, book: ContractBook, price: Decimal) -> bool:
        calm = self.calm(book)
        return calm is not None and calm[0] < price < calm[1]

    def _see_who_still_takes(self, book: ContractBook) -> None:
        for order in (*book.bids, *book.asks):
            if order.is_taking:
                order.is_taking = book.taker_price(order.ticket.side, order.limit) is not None

    def _fill_resting(self, book: ContractBook, price: Decimal, now_ms: int) -> None:
        tick = book.spec.tick_size
        reached = [order for order in book.bids if order.ticket.price - tick >= price]
        reached += [order for order in book.asks if order.ticket.price + tick <= price]
        for order in reached:
            if order.is_open and not order.is_taking:
                self._matcher.fill_resting(book, order, now_ms)
                self.settle(now_ms)

    def _go_on_taking(self, book: ContractBook, now_ms: int) -> None:
        taking = [order for order in (*book.bids, *book.asks) if order.is_taking]
        for order in [*taking, *book.waiting]:
            if order.is_open:
                order.bound = self._bound(book, order.ticket.side)
                self._matcher.take(book, order, now_ms)
                self.settle(now_ms)

    # -- one order ----------------------------------------------------------------------------------------------

    def enter(self, book: ContractBook, order: Order, now_ms: int) -> None:
        """Let an order work: take what it may take, then rest, wait or expire as its kind demands."""
        order.is_taking = not order.is_market and book.taker_price(order.ticket.side, order.limit) is not None
        self._matcher.take(book, order, now_ms)
        if not order.is_open:
            return
        if order.is_market and order.ticket.closes and self._rest_waits:
            book.wait_for_liquidity(order)
        elif order.is_market:
            self.lifecycle.finish(order, "EXPIRED", now_ms, MARKET_REST)
        elif order.ticket.time_in_force in ("IOC", "FOK"):
            self.lifecycle.finish(order, "EXPIRED", now_ms, IOC_REST)
        else:
            book.rest(order)

    def new_order_id(self) -> int:
        self._order_id += 1
        return self._order_id

    def _new_order(self, account: Account, ticket: Ticket, now_ms: int) -> Order:
        name = ticket.client_id or self.new_client_id()
        return Order(account, ticket, self.new_order_id(), name, ticket.quantity, now_ms, now_ms)

    def _with_matched_price(self, book: ContractBook, ticket: Ticket) -> Ticket:
        """A price taken from the book as it stands; levels of clients and the market's one count alike."""
        if ticket.price_match == "NONE":
            return ticket
        kind, _, depth = ticket.price_match.partition("_")
        other: Side = "SELL" if ticket.side == "BUY" else "BUY"
        levels = book.levels(other if kind == "OPPONENT" else ticket.side)
        rank = int(depth or 1)
        if len(levels) < rank:
            raise Refusal(-5041, "No depth matches this order.")
        return replace(ticket, price=levels[rank - 1][0])

    def _check_market_band(self, book: ContractBook, side: Side, mark: Decimal) -> None:
        quote = book.quote
        assert quote is not None, "there is a mark price, so there is a print"
        outside = quote[1] > mark * book.spec.multiplier_up if side == "BUY" else (
            quote[0] < mark * book.spec.multiplier_down
        )  # fmt: skip
        if outside:
            raise Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")

    def _bound(self, book: ContractBook, side: Side) -> Decimal:
        mark, bound, tick = book.mark or ZERO, book.spec.market_take_bound, book.spec.tick_size
        if side == "BUY":
            return (mark * (1 + bound) / tick).to_integral_value(ROUND_FLOOR) * tick
        return (mark * (1 - bound) / tick).to_integral_value(ROUND_CEILING) * tick

    def _check_margin(self, account: Account, ticket: Ticket) -> None:
        if ticket.closes:
            return
        spec = self.books[ticket.symbol].spec
        cap = spec.largest_notional(account.setup(ticket.symbol).leverage)
        held = account.position(ticket.symbol, ticket.position_side).amount * ticket.sign
        opens = held + ticket.quantity > 0
        if opens and self.margins.opened_notional(account, ticket) > cap:
            raise Refusal(-2027, "Exceeded the maximum allowable position at current leverage.")
        if self.margins.order_cost(account, ticket) > self.margins.available(account, spec.margin_asset):
            raise Refusal(-2019, "Margin is insufficient.")

    def _check_modified(self, order: Order, ticket: Ticket) -> None:
        """The filters, and the margin as if the order were not there."""
        book, account = self.books[ticket.symbol], order.account
        assert book.mark is not None, "there is an order, so there is a price"
        filters.check_price(book.spec, ticket.price)
        filters.check_quantity(book.spec, ticket.quantity, is_market=False)
        if not ticket.closes:
            filters.check_notional(book.spec, ticket.price, ticket.quantity)
        filters.check_band(book.spec, ticket, book.mark)
        rest = ticket.quantity - order.executed
        if rest <= 0:
            return
        account.open.pop(order.order_id)
        try:
            self._check_margin(account, replace(ticket, quantity=rest))
            if ticket.closes:
                self._reducible(account, replace(ticket, quantity=rest))
        finally:
            account.open[order.order_id] = order

    def _refuse_by_price(self, book: ContractBook, order: Order) -> None:
        if order.ticket.time_in_force == "GTX" and self._would_take(book, order.ticket):
            text = "Due to the order could not be executed as maker, the Post Only order will be rejected."
            raise Refusal(-5022, text + " The order will not be recorded in the order history.")
        if order.ticket.time_in_force == "FOK" and not self._matcher.fillable(book, order):
            text = "Due to the order could not be filled immediately, the FOK order has been rejected."
            raise Refusal(-5021, text + " The order will not be recorded in the order history.")

    def _would_take(self, book: ContractBook, ticket: Ticket) -> bool:
        if ticket.time_in_force != "GTX":
            return False
        meets_market = book.taker_price(ticket.side, ticket.price) is not None
        return meets_market or book.rival(ticket.side, ticket.price) is not None

    # -- reduce-only --------------------------------------------------------------------------------------------

    def _reducible(self, account: Account, ticket: Ticket) -> Decimal:
        """How much of a closing order the position leaves it, after those that come before it; Refusal -2022."""
        position = account.position(ticket.symbol, ticket.position_side)
        held = -position.amount * ticket.sign
        for order in self._closing(account, ticket.symbol, ticket.position_side, ticket.side):
            ahead = order.is_market or (ticket.price and (order.ticket.price - ticket.price) * ticket.sign >= 0)
            held -= order.remaining if ahead else ZERO
        is_hedged = ticket.position_side != "BOTH" and not ticket.close_position
        if held <= 0 or (is_hedged and held < ticket.quantity):
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        return min(ticket.quantity, held)

    def _closing(self, account: Account, symbol: str, position_side: PositionSide, side: Side) -> list[Order]:
        """Open closing orders of a position, the one that trades first at the front."""
        resting = [o for o in account.open_on(symbol, position_side) if o.ticket.side == side and o.ticket.closes]
        return sorted(resting, key=lambda o: (not o.is_market, -o.ticket.sign * o.ticket.price, o.working_ms))

    def settle(self, now_ms: int) -> None:
        """Let what depends on a changed position follow it."""
        changed = self.lifecycle.changed
        while changed:
            account, symbol, side = changed.popleft()
            self.trim(account, symbol, side, now_ms)
            if not account.position(symbol, side).amount:
                self.algos.position_closed(account, symbol, side, now_ms)
            if any(account.held(symbol)):
                self.liquidator.look(account, self.books[symbol], now_ms)
            else:
                self.liquidator.clear_debt(account, self.books[symbol].spec.margin_asset, now_ms)

    def trim(self, account: Account, symbol: str, position_side: PositionSide, now_ms: int) -> None:
        """Cancel the closing orders for which the position has become too small."""
        amount = account.position(symbol, position_side).amount
        sides: tuple[Side, Side] = ("BUY", "SELL")
        for side in sides:
            left = max(ZERO, -amount if side == "BUY" else amount)
            for order in self._closing(account, symbol, position_side, side):
                if order.remaining > left:
                    self.lifecycle.finish(order, "EXPIRED", now_ms, REDUCE_ONLY_GONE)
                else:
                    left -= order.remaining
