"""Margin: what positions and orders bind, what is left, and where the venue takes over.

Rules: everything is reckoned at mark prices from the positions as they are; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from simex.futures.accounts import Account, Position
from simex.futures.book import EVERYTHING, NOTHING, ContractBook, Range
from simex.futures.contracts import ContractSpec
from simex.futures.orders import Order, Ticket
from simex.orders import ZERO

_SELL_MARKUP: Final = Decimal("1.0015")
_BUY_MARKUP: Final = Decimal("1.0005")
_ONE: Final = Decimal(1)
_COLLATERAL: Final = Decimal("0.95")
_SHORT_SLACK: Final = Decimal("1.5")  # a short's maintenance margin grows with the price, by half of it at most


@dataclass(frozen=True, slots=True)
class Leg:
    """A position as the liquidation price sees it; the amount is signed."""

    spec: ContractSpec
    amount: Decimal
    entry: Decimal


def liquidation_price(
    wallet: Decimal, legs: Sequence[Leg], mark: Decimal, maintenance: Decimal = ZERO, profit: Decimal = ZERO
) -> Decimal:
    """The mark price at which the margin balance is the maintenance margin; zero when there is none.

    `legs` are the positions of the symbol that share the wallet (two in hedge mode), `maintenance` and `profit` those
    of all other positions that share it. The bracket is the one of the notional at the answer.
    """
    price = mark
    for _ in legs[0].spec.brackets:
        steps = [leg.spec.bracket(abs(leg.amount) * price) for leg in legs]
        base = wallet - maintenance + profit
        base += sum((step.cum - leg.amount * leg.entry for leg, step in zip(legs, steps, strict=True)), ZERO)
        slope = sum((abs(leg.amount) * step.rate - leg.amount for leg, step in zip(legs, steps, strict=True)), ZERO)
        if not slope or base / slope <= 0:
            return ZERO
        price = base / slope
        if steps == [leg.spec.bracket(abs(leg.amount) * price) for leg in legs]:
            break
    return price


class Margins:
    """Reckons margins from books and accounts."""

    def __init__(self, books: Mapping[str, ContractBook], sells_at_market: bool, warn_share: Decimal) -> None:
        self._books = books
        self._sells_at_market = sells_at_market
        self._warn_share = warn_share

    # -- positions ----------------------------------------------------------------------------------------------

    def mark(self, symbol: str) -> Decimal:
        """The mark price; zero before the first print, when nobody can hold anything."""
        return self._books[symbol].mark or ZERO

    def spec(self, symbol: str) -> ContractSpec:
        return self._books[symbol].spec

    def notional(self, position: Position) -> Decimal:
        """Signed, at mark."""
        return position.amount * self.mark(position.symbol)

    def profit(self, position: Position) -> Decimal:
        return position.profit(self.mark(position.symbol))

    def maintenance(self, position: Position) -> Decimal:
        return self.spec(position.symbol).maintenance(abs(self.notional(position)))

    def initial(self, account: Account, position: Position) -> Decimal:
        return abs(self.notional(position)) / account.setup(position.symbol).leverage

    def isolated_balance(self, position: Position) -> Decimal:
        return position.isolated + self.profit(position)

    def liquidation_price(self, account: Account, position: Position) -> Decimal:
        """Zero for an empty position, or when no price would liquidate it."""
        if not position.amount:
            return ZERO
        mark = self.mark(position.symbol)
        if account.is_isolated(position):
            return liquidation_price(position.isolated, [self._leg(position)], mark)
        asset = self.spec(position.symbol).margin_asset
        shared = self.cross_positions(account, asset)
        legs = [self._leg(entry) for entry in shared if entry.symbol == position.symbol]
        others = [entry for entry in shared if entry.symbol != position.symbol]
        unit = self._unit(account, asset)
        maintenance = self._sum(account, others, self.maintenance) / unit
        profit = self._sum(account, others, self.profit) / unit
        return liquidation_price(self._shared_wallet(account, asset) / unit, legs, mark, maintenance, profit)

    def _leg(self, position: Position) -> Leg:
        return Leg(self.spec(position.symbol), position.amount, position.entry)

    # -- the account --------------------------------------------------------------------------------------------

    def cross_positions(self, account: Account, asset: str) -> list[Position]:
        """The positions that share the wallet of an asset; in multi-assets mode all share everything."""
        return [
            position
            for position in account.held()
            if not account.is_isolated(position)
            and (account.is_multi_asset or self.spec(position.symbol).margin_asset == asset)
        ]

    def cross_profit(self, account: Account, asset: str) -> Decimal:
        """Of the positions whose margin is this asset."""
        shared = self.cross_positions(account, asset)
        return sum((self.profit(p) for p in shared if self.spec(p.symbol).margin_asset == asset), ZERO)

    def cross_balance(self, account: Account, asset: str) -> Decimal:
        """The margin balance that cross positions share: of one asset, in multi-assets mode of all in dollars."""
        shared = self.cross_positions(account, asset)
        return self._shared_wallet(account, asset) + self._sum(account, shared, self.profit)

    def cross_maintenance(self, account: Account, asset: str) -> Decimal:
        return self._sum(account, self.cross_positions(account, asset), self.maintenance)

    def _shared_wallet(self, account: Account, asset: str) -> Decimal:
        if not account.is_multi_asset:
            return account.cross_wallet(asset)
        return sum((account.cross_wallet(name) * self.dollars(name) for name in account.wallets), ZERO)

    def _sum(self, account: Account, positions: Sequence[Position], amount: Callable[[Position], Decimal]) -> Decimal:
        """An amount over positions, each in its margin asset, in multi-assets mode in dollars."""
        return sum((amount(p) * self._unit(account, self.spec(p.symbol).margin_asset) for p in positions), ZERO)

    def _unit(self, account: Account, asset: str) -> Decimal:
        return self.dollars(asset) if account.is_multi_asset else _ONE

    def cross_wallet_of(self, account: Account) -> Decimal:
        return account.cross_wallet("USDT")

    def dollars(self, asset: str) -> Decimal:
        """What an asset counts in multi-assets mode: others than the dollar with a buffer, unknown ones nothing."""
        if asset == "USDT":
            return Decimal(1)
        book = self._books.get(f"{asset}USDT")
        return (book.index or ZERO) * _COLLATERAL if book is not None else ZERO

    def available(self, account: Account, asset: str) -> Decimal:
        """What new orders may bind: the cross margin balance less what positions and orders bind, not below zero."""
        return max(ZERO, self.cross_balance(account, asset) - self.bound(account, asset))

    def bound(self, account: Account, asset: str) -> Decimal:
        """What cross positions and all orders bind of an asset."""
        held = self._sum(account, self.cross_positions(account, asset), lambda p: self.initial(account, p))
        assets = [*account.wallets] if account.is_multi_asset else [asset]
        ordered = (self.ordered_margin(account, name) * self._unit(account, name) for name in assets)
        return held + sum(ordered, ZERO)

    def withdrawable(self, account: Account, asset: str) -> Decimal:
        """What may leave the account: what is available, but no profit that is not realised."""
        return max(ZERO, min(self.available(account, asset), account.cross_wallet(asset)))

    def ordered_margin(self, account: Account, asset: str) -> Decimal:
        """What all open orders bind."""
        symbols = dict.fromkeys(order.ticket.symbol for order in account.open.values())
        mine = [symbol for symbol in symbols if self.spec(symbol).margin_asset == asset]
        return sum((self.order_margin(account, symbol) for symbol in mine), ZERO)

    def order_margin(self, account: Account, symbol: str, extra: Ticket | None = None) -> Decimal:
        """What the open orders of a symbol bind beyond its positions; `extra` is one that is still asked for."""
        leverage = account.setup(symbol).leverage
        wishes = [
            (order.ticket, order.margin_price * order.remaining)
            for order in account.open_on(symbol)
            if not order.ticket.closes
        ]
        if extra is not None and not extra.closes:
            wishes.append((extra, self.assumed_price(extra) * extra.quantity))
        buys = sum((amount for ticket, amount in wishes if ticket.side == "BUY"), ZERO)
        sells = sum((amount for ticket, amount in wishes if ticket.side == "SELL"), ZERO)
        if account.is_dual:
            return (buys + sells) / leverage
        held = self.notional(account.position(symbol, "BOTH"))
        return (max(abs(held + buys), abs(held - sells), abs(held)) - abs(held)) / leverage

    def order_cost(self, account: Account, ticket: Ticket) -> Decimal:
        """What a new order takes of the available balance: the margin it adds and the loss that it opens with."""
        symbol = ticket.symbol
        added = self.order_margin(account, symbol, ticket) - self.order_margin(account, symbol)
        if not added:
            return ZERO
        loss = min(ZERO, ticket.sign * (self.mark(symbol) - self.assumed_price(ticket)))
        return added + ticket.quantity * abs(loss)

    def assumed_price(self, ticket: Ticket) -> Decimal:
        """The price at which an order's margin is reckoned."""
        book = self._books[ticket.symbol]
        mark, quote = self.mark(ticket.symbol), book.quote
        assert quote is not None, "nothing is ordered before the first print"
        assert book.last is not None, "nothing is ordered before the first print"
        if ticket.side == "BUY":
            return ticket.price or quote[1] * _BUY_MARKUP
        market = max(book.last * _SELL_MARKUP, mark) if self._sells_at_market else quote[0]
        return max(ticket.price, market)

    def opened_notional(self, account: Account, ticket: Ticket) -> Decimal:
        """What the position could be worth when everything on the order's side filled."""
        held = account.position(ticket.symbol, ticket.position_side).amount * ticket.sign
        waiting = [
            order.remaining
            for order in account.open_on(ticket.symbol, ticket.position_side)
            if order.ticket.side == ticket.side and not order.ticket.closes
        ]
        return (held + ticket.quantity + sum(waiting, ZERO)) * self.mark(ticket.symbol)

    def bid_ask_notional(self, account: Account, symbol: str, side: str) -> tuple[Decimal, Decimal]:
        """The notional of the open buys and sells of a position side."""
        orders = [order for order in account.open_on(symbol) if order.ticket.position_side == side]
        return _notional(orders, "BUY"), _notional(orders, "SELL")

    # -- nearness -----------------------------------------------------------------------------------------------

    def is_near(self, account: Account, position: Position) -> bool:
        """Whether a margin call is due."""
        balance, maintenance = self._balance_and_maintenance(account, position)
        return maintenance >= balance * self._warn_share

    def is_over(self, account: Account, position: Position) -> bool:
        """Whether the position, or the account that it shares, is to be liquidated."""
        balance, maintenance = self._balance_and_maintenance(account, position)
        return balance <= maintenance

    def _balance_and_maintenance(self, account: Account, position: Position) -> tuple[Decimal, Decimal]:
        if account.is_isolated(position):
            return self.isolated_balance(position), self.maintenance(position)
        asset = self.spec(position.symbol).margin_asset
        return self.cross_balance(account, asset), self.cross_maintenance(account, asset)

    def safe_range(self, account: Account, symbol: str) -> Range:
        """Last prices between which no margin of the account can be called or lost, exclusive.

        A shared wallet is divided among its symbols, so that all of them may move at once; therefore the ranges of all
        symbols are reckoned together, until something changes.
        """
        if account.safe is None:
            account.safe = {name: self._safe_range(account, name) for name in {p.symbol for p in account.held()}}
        return account.safe[symbol]

    def _safe_range(self, account: Account, symbol: str) -> Range:
        if account.is_multi_asset:
            return NOTHING  # the prices of what stands in for it move, too
        low, high = EVERYTHING
        book = self._books[symbol]
        for position in account.held(symbol):
            balance, maintenance = self._balance_and_maintenance(account, position)
            share = Decimal(1) if (symbol, position.side) in account.warned else self._warn_share
            room = balance * share - maintenance
            if not account.is_isolated(position):
                room /= len(self.cross_positions(account, book.spec.margin_asset))
            if room < 0:
                return NOTHING
            distance = room / abs(position.amount)
            if position.amount > 0:
                low = max(low, self.mark(symbol) - distance - book.basis)
            else:
                high = min(high, self.mark(symbol) + distance / _SHORT_SLACK - book.basis)
        return low, high


def _notional(orders: Sequence[Order], side: str) -> Decimal:
    return sum((order.ticket.price * order.remaining for order in orders if order.ticket.side == side), ZERO)
