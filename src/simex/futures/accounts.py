"""Futures accounts, and the ledger in which every unit that leaves one owner arrives at another.

Besides the clients there are counter-accounts: what came from outside, the market against which profits and losses are
made, fees, funding and the insurance fund. Each booking changes one wallet and one counter-account by the same amount,
so the sum over all of them is zero at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_UP, Decimal
from typing import Final

from simex.futures.contracts import ContractSpec
from simex.futures.limits import OrderCount
from simex.futures.orders import Algo, Fill, Order, PositionSide
from simex.orders import ZERO
from simex.venue import AccountSpec, KeyRights

FIRST_UID: Final = 2_000_001
DEFAULT_LEVERAGE: Final = 20
STEP: Final = Decimal("0.00000001")
COUNTERS: Final = {
    "TRANSFER": "outside",
    "REALIZED_PNL": "market",
    "COMMISSION": "fees",
    "FUNDING_FEE": "funding",
    "INSURANCE_CLEAR": "insurance",
}


@dataclass(frozen=True, slots=True)
class Income:
    """One change of a wallet."""

    symbol: str
    kind: str
    amount: Decimal
    asset: str
    info: str
    at_ms: int
    transaction_id: int
    trade_id: int | None


@dataclass(slots=True)
class Setup:
    """How an account trades one symbol."""

    leverage: int = DEFAULT_LEVERAGE
    is_isolated: bool = False


@dataclass(slots=True)
class Position:
    """Signed amount at an average entry; `fees` are what opening it has cost, `isolated` is its own wallet."""

    symbol: str
    side: PositionSide
    amount: Decimal = ZERO
    entry: Decimal = ZERO
    fees: Decimal = ZERO
    realised: Decimal = ZERO
    isolated: Decimal = ZERO
    updated_ms: int = 0

    @property
    def sign(self) -> int:
        return 1 if self.amount >= 0 else -1

    @property
    def break_even(self) -> Decimal:
        """The entry with the fees of opening; what closing will cost is not in it."""
        return self.entry + self.sign * self.fees / abs(self.amount) if self.amount else ZERO

    def profit(self, mark: Decimal) -> Decimal:
        """Unrealised, at a mark price."""
        return self.amount * (mark - self.entry)

    def trade(self, change: Decimal, price: Decimal, leverage: int | None) -> Decimal:
        """Let a fill change it; the profit that it realises. With a leverage its own wallet follows."""
        realised = ZERO
        if self.amount * change < 0:
            closed = min(abs(self.amount), abs(change))
            realised = (closed * self.sign * (price - self.entry)).quantize(STEP, ROUND_FLOOR)
            left = (abs(self.amount) - closed) / abs(self.amount)
            self.isolated = (self.isolated * left).quantize(STEP, ROUND_FLOOR)
            self.fees *= left
            change += closed * self.sign
            self.amount -= closed * self.sign
            if not self.amount:
                self.entry = ZERO
        if change:
            opened = abs(change)
            self.entry = (abs(self.amount) * self.entry + opened * price) / (abs(self.amount) + opened)
            self.amount += change
            if leverage is not None:
                self.isolated += (opened * price / leverage).quantize(STEP, ROUND_UP)
        self.realised += realised
        return realised


class Account:
    """A client: wallets, positions, orders, settings, counts, income."""

    def __init__(self, spec: AccountSpec, uid: int) -> None:
        self.spec = spec
        self.rights: KeyRights | None = spec.rights
        self.uid = uid
        self.alias = f"SimX{uid}"
        self.maker_rate = spec.futures_maker_bps / 10_000
        self.taker_rate = spec.futures_taker_bps / 10_000
        self.wallets: dict[str, Decimal] = {}
        self.positions: dict[tuple[str, PositionSide], Position] = {}
        self.is_dual = False
        self.is_multi_asset = False
        self.burns_bnb = False
        self.updated_ms: dict[str, int] = {}  # of each asset's wallet
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.algos: dict[int, Algo] = {}
        self.open_algos: dict[int, Algo] = {}
        self.trades: dict[str, list[tuple[Order, Fill]]] = {}
        self.income: list[Income] = []
        self.margin_changes: list[tuple[str, PositionSide, Decimal, int]] = []
        self.liquidations: list[Order] = []
        self.countdowns: dict[str, int] = {}
        self.order_count = OrderCount()
        self.warned: set[tuple[str, PositionSide]] = set()  # margin calls made since something changed
        self.safe: dict[str, tuple[Decimal, Decimal]] | None = None  # see `Margins.safe_range`
        self._setups: dict[str, Setup] = {}
        self._by_client_id: dict[tuple[str, str], Order] = {}
        self._algo_by_client_id: dict[str, Algo] = {}

    def setup(self, symbol: str) -> Setup:
        return self._setups.setdefault(symbol, Setup())

    def position(self, symbol: str, side: PositionSide) -> Position:
        key = symbol, side
        held = self.positions.get(key)
        if held is None:
            held = self.positions[key] = Position(symbol, side)
        return held

    def held(self, symbol: str | None = None) -> Iterator[Position]:
        """The positions that are not empty (of one symbol)."""
        for position in self.positions.values():
            if position.amount and (symbol is None or position.symbol == symbol):
                yield position

    def is_isolated(self, position: Position) -> bool:
        return self.setup(position.symbol).is_isolated

    def cross_wallet(self, asset: str) -> Decimal:
        """The wallet without what isolated positions hold of it."""
        apart = sum((p.isolated for p in self.positions.values() if p.isolated), ZERO)
        return self.wallets.get(asset, ZERO) - apart

    def add_order(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.open[order.order_id] = order
        self._by_client_id[order.ticket.symbol, order.client_id] = order

    def add_algo(self, algo: Algo) -> None:
        self.algos[algo.algo_id] = algo
        self.open_algos[algo.algo_id] = algo
        self._algo_by_client_id[algo.client_id] = algo

    def order_named(self, symbol: str, client_id: str) -> Order | None:
        """The newest order on a symbol with this client id."""
        return self._by_client_id.get((symbol, client_id))

    def algo_named(self, client_id: str) -> Algo | None:
        return self._algo_by_client_id.get(client_id)

    def open_on(self, symbol: str, side: PositionSide | None = None) -> list[Order]:
        """Open orders of a symbol (and of one position side)."""
        return [
            order
            for order in self.open.values()
            if order.ticket.symbol == symbol and (side is None or order.ticket.position_side == side)
        ]

    def algos_on(self, symbol: str) -> list[Algo]:
        return [algo for algo in self.open_algos.values() if algo.ticket.symbol == symbol]


class Ledger:
    """All owners of all money, and the positions that the market holds against the clients."""

    def __init__(self, contracts: Sequence[ContractSpec], specs: Sequence[AccountSpec]) -> None:
        self.assets = tuple(sorted({spec.margin_asset for spec in contracts} | {"BNB"}))
        self.accounts = {spec.api_key: Account(spec, FIRST_UID + number) for number, spec in enumerate(specs)}
        if len(self.accounts) < len(specs):
            raise ValueError("two accounts have the same key")
        self.counters: dict[str, dict[str, Decimal]] = {name: {} for name in COUNTERS.values()}
        self.market_amounts: dict[str, Decimal] = {spec.symbol: ZERO for spec in contracts}
        self._transaction_id = 0
        for account in self.accounts.values():
            for asset, amount in account.spec.wallet.items():
                self.book(account, asset, amount, "TRANSFER", 0)

    def open(self, now_ms: int) -> None:
        """The first moment: until then nobody knew when the wallets were filled."""
        for account in self.accounts.values():
            account.updated_ms = dict.fromkeys(account.wallets, now_ms)

    def book(
        self,
        account: Account,
        asset: str,
        amount: Decimal,
        kind: str,
        now_ms: int,
        symbol: str = "",
        info: str = "",
        trade_id: int | None = None,
    ) -> None:
        """Change a wallet and the counter-account of this kind of income."""
        self._transaction_id += 1
        account.wallets[asset] = account.wallets.get(asset, ZERO) + amount
        account.updated_ms[asset] = now_ms
        counter = self.counters[COUNTERS[kind]]
        counter[asset] = counter.get(asset, ZERO) - amount
        account.income.append(Income(symbol, kind, amount, asset, info, now_ms, self._transaction_id, trade_id))

    def insure(self, asset: str, amount: Decimal) -> None:
        """What the insurance fund gains (or loses) on a position that it took over, against the market."""
        for name, change in (("insurance", amount), ("market", -amount)):
            counter = self.counters[name]
            counter[asset] = counter.get(asset, ZERO) + change

    def totals(self) -> dict[str, Decimal]:
        """Each asset over clients and counter-accounts: always zero."""
        totals: dict[str, Decimal] = {}
        owners = [account.wallets for account in self.accounts.values()]
        for wallets in (*owners, *self.counters.values()):
            for asset, amount in wallets.items():
                totals[asset] = totals.get(asset, ZERO) + amount
        return totals

    def check(self) -> None:
        """AssertionError when money was made or lost, or a wallet, position or isolated wallet does not add up."""
        totals = self.totals()
        assert not any(totals.values()), f"money was made or lost: {totals}"
        amounts = dict(self.market_amounts)
        for account in self.accounts.values():
            self._check_account(account)
            for position in account.held():
                amounts[position.symbol] += position.amount
        assert not any(amounts.values()), f"positions without a counterpart: {amounts}"

    def _check_account(self, account: Account) -> None:
        earned: dict[str, Decimal] = {}
        for row in account.income:
            earned[row.asset] = earned.get(row.asset, ZERO) + row.amount
        assert earned == account.wallets, f"{account.uid}: income {earned} is not the wallet {account.wallets}"
        filled: dict[tuple[str, PositionSide], Decimal] = {}
        for trades in account.trades.values():
            for order, fill in trades:
                key = order.ticket.symbol, order.ticket.position_side
                filled[key] = filled.get(key, ZERO) + order.ticket.sign * fill.quantity
        for key, position in account.positions.items():
            assert position.amount == filled.get(key, ZERO), f"{account.uid} holds {position.amount} of {key}"
            assert position.amount or not position.isolated, f"{account.uid} has margin in the empty position {key}"
            assert position.side != "LONG" or position.amount >= 0, f"{account.uid} is short in a LONG position"
            assert position.side != "SHORT" or position.amount <= 0, f"{account.uid} is long in a SHORT position"
