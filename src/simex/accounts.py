"""Accounts, and the ledger in which every unit that leaves one owner arrives at another.

Besides the clients there are two counter-accounts: the market, against which clients trade, and the fee account. So the
total of each asset only ever changes by deposits, which `check` asserts exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from simex import refusal
from simex.limits import OrderCount
from simex.orders import ZERO, Fill, Order, OrderList, PreventedMatch
from simex.venue import AccountSpec, InstrumentSpec, KeyRights, Undocumented

FIRST_UID: Final = 1_000_001
NO_GROUP: Final = -1


class Balance:
    """What an account holds of one asset."""

    __slots__ = ("free", "locked")

    def __init__(self, free: Decimal = ZERO) -> None:
        self.free = free
        self.locked = ZERO


class Subscription(NamedTuple):
    """Who hears an account's events, and in which units of time."""

    link: int
    number: int
    units_per_ms: int


class Account:
    """A client: balances, orders, lists, order counts."""

    def __init__(self, spec: AccountSpec, uid: int, assets: Iterable[str], rules: Undocumented) -> None:
        self.spec = spec
        self.rights: KeyRights | None = spec.rights  # None when the key was deleted
        self.uid = uid
        self.maker_rate = spec.maker_bps / 10_000
        self.taker_rate = spec.taker_bps / 10_000
        self.balances = {asset: Balance(spec.balances.get(asset, ZERO)) for asset in assets}
        self.balances.update({asset: Balance(held) for asset, held in spec.balances.items()})
        self.may_trade = True
        self.external: dict[str, Decimal] = {}  # locked by other systems of the venue
        self.updated_ms = 0
        self.touched: dict[str, None] = {}
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.lists: dict[int, OrderList] = {}
        self.open_lists: dict[int, OrderList] = {}
        self.order_count = OrderCount(rules)
        self.trades: dict[str, list[tuple[Order, Fill]]] = {}
        self.prevented_matches: list[PreventedMatch] = []
        self.subscriptions: list[Subscription] = []
        self._by_client_id: dict[tuple[str, str], Order] = {}
        self._list_by_client_id: dict[str, OrderList] = {}

    def lock(self, asset: str, amount: Decimal) -> None:
        """Move free to locked; Refusal when there is not enough."""
        balance = self.balances[asset]
        if amount > balance.free:
            raise refusal.insufficient_balance()
        balance.free -= amount
        balance.locked += amount
        self.touched[asset] = None

    def unlock(self, asset: str, amount: Decimal) -> None:
        balance = self.balances[asset]
        balance.locked -= amount
        balance.free += amount
        self.touched[asset] = None

    def spend_locked(self, asset: str, amount: Decimal) -> None:
        self.balances[asset].locked -= amount
        self.touched[asset] = None

    def receive(self, asset: str, amount: Decimal, locked: bool = False) -> None:
        balance = self.balances[asset]
        if locked:
            balance.locked += amount
        else:
            balance.free += amount
        self.touched[asset] = None

    def add_order(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.open[order.order_id] = order
        self._by_client_id[order.ticket.symbol, order.client_id] = order

    def rename(self, order: Order, client_id: str) -> None:
        """An amended order is known by its new client id only."""
        names = self._by_client_id
        symbol = order.ticket.symbol
        if names.get((symbol, order.client_id)) is order:
            del names[symbol, order.client_id]
        order.client_id = client_id
        names[symbol, client_id] = order

    def shares_group_with(self, other: Account) -> bool:
        """Whether the two do not trade with each other unless they ask for it."""
        group = self.spec.trade_group
        return other is self or (group != NO_GROUP and group == other.spec.trade_group)

    def add_list(self, order_list: OrderList) -> None:
        self.lists[order_list.list_id] = order_list
        self.open_lists[order_list.list_id] = order_list
        self._list_by_client_id[order_list.client_id] = order_list

    def order_named(self, symbol: str, client_id: str) -> Order | None:
        """The newest order on a symbol with this client id."""
        return self._by_client_id.get((symbol, client_id))

    def list_named(self, client_id: str) -> OrderList | None:
        return self._list_by_client_id.get(client_id)

    def open_on(self, symbol: str) -> list[Order]:
        return [order for order in self.open.values() if order.ticket.symbol == symbol]


class Ledger:
    """All owners of all assets."""

    def __init__(
        self, instruments: Sequence[InstrumentSpec], specs: Sequence[AccountSpec], rules: Undocumented
    ) -> None:
        assets = sorted({asset for spec in instruments for asset in (spec.base, spec.quote)})
        self.accounts = {
            spec.api_key: Account(spec, FIRST_UID + number, assets, rules) for number, spec in enumerate(specs)
        }
        if len(self.accounts) < len(specs):
            raise ValueError("two accounts have the same key")
        self.market: dict[str, Decimal] = dict.fromkeys(assets, ZERO)
        self.fees: dict[str, Decimal] = dict.fromkeys(assets, ZERO)
        self._specs = {spec.symbol: spec for spec in instruments}
        self._endowed = self.totals()

    def deposit(self, account: Account, asset: str, amount: Decimal) -> None:
        """Money from or to outside; ValueError when more is withdrawn than is free."""
        balance = account.balances.setdefault(asset, Balance())
        if balance.free + amount < 0:
            raise ValueError(f"only {balance.free} {asset} are free")
        account.receive(asset, amount)
        self._endowed[asset] = self._endowed.get(asset, ZERO) + amount

    def lock_externally(self, account: Account, asset: str, amount: Decimal) -> None:
        """Lock for another system, or let go (negative); ValueError when that much is not free, or not locked so."""
        locked = account.external.get(asset, ZERO) + amount
        if locked < 0 or amount > account.balances[asset].free:
            raise ValueError(f"{amount} {asset} cannot be locked")
        account.external[asset] = locked
        account.unlock(asset, -amount)

    def totals(self) -> dict[str, Decimal]:
        """Each asset over clients, market and fees."""
        totals: dict[str, Decimal] = {}
        for account in self.accounts.values():
            for asset, balance in account.balances.items():
                totals[asset] = totals.get(asset, ZERO) + balance.free + balance.locked
        for counter in (self.market, self.fees):
            for asset, amount in counter.items():
                totals[asset] = totals.get(asset, ZERO) + amount
        return totals

    def check(self) -> None:
        """AssertionError when an asset was made or lost, a client's balance is negative, or a lock has no order."""
        totals = self.totals()
        assert totals == self._endowed, f"assets were made or lost: {totals} is not {self._endowed}"
        for account in self.accounts.values():
            self._check_account(account)

    def _check_account(self, account: Account) -> None:
        needed: dict[str, Decimal] = {}
        for order in account.orders.values():
            spec = self._specs[order.ticket.symbol]
            paid = spec.quote if order.ticket.side == "BUY" else spec.base
            needed[paid] = needed.get(paid, ZERO) + order.locked
            needed[spec.base] = needed.get(spec.base, ZERO) + order.earned
        for asset, balance in account.balances.items():
            assert balance.free >= 0, f"{account.uid} has {balance.free} {asset} free"
            expected = needed.get(asset, ZERO) + account.external.get(asset, ZERO)
            assert balance.locked == expected, f"{account.uid} has {balance.locked} {asset} locked, not {expected}"
