"""The book of one contract: the shared order book, its mark price, its conditional orders and who holds it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from simex.book import PRICE_MAX, OrderBook
from simex.futures.accounts import Account
from simex.futures.contracts import ContractSpec
from simex.futures.orders import Algo, Order
from simex.orders import ZERO
from simex.venue import FillModel

Range = tuple[Decimal, Decimal]
ContractStatus = Literal["TRADING", "PENDING_TRADING", "PRE_SETTLE", "CLOSE"]
NEVER_DELIVERED_MS: Final = 4_133_404_800_000  # perpetuals are delivered at the end of the century
EVERYTHING: Range = (ZERO, PRICE_MAX)
NOTHING: Range = (PRICE_MAX, ZERO)


class ContractBook(OrderBook[Order, ContractSpec]):
    """One contract's market. The index price is the last print, and the mark price lies a basis above the last print;
    where both are told, they are what was told last."""

    def __init__(self, spec: ContractSpec, model: FillModel, kept_ms: int) -> None:
        super().__init__(spec, model, kept_ms)
        self.status: ContractStatus = "TRADING"
        self.delivery_ms = NEVER_DELIVERED_MS
        self.basis = ZERO
        self.told: tuple[Decimal, Decimal] | None = None  # mark and index price
        self.algos: list[Algo] = []
        self.holders: dict[Account, None] = {}
        self.liquidations: list[Order] = []
        self.guard: Range | None = None  # prints that reach no algo and no margin; known until something changes

    @property
    def index(self) -> Decimal | None:
        return self.last if self.told is None else self.told[1]

    @property
    def mark(self) -> Decimal | None:
        """None before the first price."""
        return None if self.last is None else self.last + self.basis

    @property
    def is_quiet(self) -> bool:
        """Nobody has an order, a conditional order or a position here."""
        return not (self.open_count or self.algos or self.holders)

    def algo_range(self) -> Range:
        """Prints between these two prices, exclusive, reach no conditional order."""
        low, high = EVERYTHING
        for algo in self.algos:
            shift = self.basis if algo.ticket.working_type == "MARK_PRICE" else ZERO
            for bound, is_above in _bounds(algo):
                if is_above:
                    high = min(high, bound - shift)
                else:
                    low = max(low, bound - shift)
        return low, high


def _bounds(algo: Algo) -> list[tuple[Decimal, bool]]:
    """The prices at which something happens to a conditional order, and whether they lie above."""
    if not algo.is_trailing:
        return [(algo.trigger, algo.rises_to_trigger)]
    is_buy = algo.ticket.side == "BUY"
    if not algo.is_active:
        return [(algo.ticket.activate_price, not is_buy)]
    return [(algo.trigger, is_buy), (algo.extreme, not is_buy)]
