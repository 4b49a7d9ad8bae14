"""One symbol's order book, kept from its changes by the venue's own algorithm for either market; without I/O.

Changes are taken as they come; while `wants_depth` is set they are kept back until a `Depth` that fits has been read.
A change that does not follow the last one empties the book and sets it again. Levels below those of the read depth are
unknown until they change, so what lies far from the best price is a lower bound.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from decimal import Decimal

from surefoot.binance.quotes import Depth, DepthChange, Level
from surefoot.core.model import ZERO

KEPT_BACK_MAX = 1_000  # a minute and a half of changes; older ones are before any depth that is still to come


class OrderBook:
    """State of one book. `resyncs` counts the gaps, `last_id` is None while the book is not in step."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.last_id: int | None = None
        self.resyncs = 0
        self._bids = _Side()
        self._asks = _Side()
        self._kept: deque[DepthChange] = deque(maxlen=KEPT_BACK_MAX)
        self._first = False  # the next change is the first after a depth, which may begin before it

    @property
    def wants_depth(self) -> bool:
        return self.last_id is None

    @property
    def bid(self) -> Level | None:
        return self._bids.at(-1)

    @property
    def ask(self) -> Level | None:
        return self._asks.at(0)

    def link_lost(self) -> None:
        """What changes from now on is not told."""
        self._empty()

    def take_change(self, change: DepthChange) -> None:
        """Apply a change, keep it back, or find that one before it is missing."""
        if self.last_id is None:
            self._kept.append(change)
        elif self._has(change, self.last_id):
            return
        elif self._follows(change, self.last_id):
            self._apply(change)
        else:
            self.resyncs += 1
            self._empty()
            self._kept.append(change)

    def take_depth(self, depth: Depth) -> None:
        """Begin from a depth that was read, unless it is older than what was kept back: then another is wanted."""
        if self._kept and depth.last_id < _earliest_start(self._kept[0]):
            return
        self.last_id, self._first = depth.last_id, True
        self._bids.fill(depth.bids)
        self._asks.fill(depth.asks)
        kept, self._kept = self._kept, deque(maxlen=KEPT_BACK_MAX)
        for change in kept:
            self.take_change(change)

    def within(self, share: Decimal) -> tuple[Decimal, Decimal]:
        """The quote amounts that could be sold to the bids and bought from the asks within a share of the best price.

        0.001 is a tenth of a per cent. Zero and zero while the book is not in step.
        """
        bid, ask = self.bid, self.ask
        if bid is None or ask is None:
            return ZERO, ZERO
        return self._bids.worth(bid[0] * (1 - share), None), self._asks.worth(None, ask[0] * (1 + share))

    def buy_price(self, notional: Decimal) -> Decimal | None:
        """The mean price of buying so much quote's worth from the known asks; None when they are not enough."""
        spent, bought = ZERO, ZERO
        for price, quantity in self._asks.levels():
            part = min(quantity * price, notional - spent)
            spent, bought = spent + part, bought + part / price
            if spent >= notional:
                return spent / bought
        return None

    def _has(self, change: DepthChange, last_id: int) -> bool:
        # Futures count the very update of the depth as the first one to apply.
        is_applied_again = self._first and change.previous_id is not None
        return change.last_id < last_id if is_applied_again else change.last_id <= last_id

    def _follows(self, change: DepthChange, last_id: int) -> bool:
        if change.previous_id is None:
            return change.first_id <= last_id + 1
        if self._first:
            return change.first_id <= last_id
        return change.previous_id == last_id

    def _apply(self, change: DepthChange) -> None:
        self.last_id, self._first = change.last_id, False
        self._bids.change(change.bids)
        self._asks.change(change.asks)

    def _empty(self) -> None:
        self.last_id = None
        self._bids.fill(())
        self._asks.fill(())
        self._kept.clear()


def _earliest_start(change: DepthChange) -> int:
    """The least last id of a depth that this change can be applied to."""
    return change.first_id - 1 if change.previous_id is None else change.first_id


class _Side:
    """Quantities by price, prices ascending."""

    def __init__(self) -> None:
        self._quantities: dict[Decimal, Decimal] = {}
        self._prices: list[Decimal] = []

    def fill(self, levels: tuple[Level, ...]) -> None:
        self._quantities = dict(levels)
        self._prices = sorted(self._quantities)

    def change(self, levels: tuple[Level, ...]) -> None:
        for price, quantity in levels:
            known = price in self._quantities
            if quantity:
                self._quantities[price] = quantity
                if not known:
                    self._prices.insert(bisect_left(self._prices, price), price)
            elif known:
                del self._quantities[price]
                del self._prices[bisect_left(self._prices, price)]

    def at(self, index: int) -> Level | None:
        if not self._prices:
            return None
        price = self._prices[index]
        return price, self._quantities[price]

    def levels(self) -> list[Level]:
        return [(price, self._quantities[price]) for price in self._prices]

    def worth(self, low: Decimal | None, high: Decimal | None) -> Decimal:
        """The sum of price times quantity between two prices."""
        inside = (p for p in self._prices if (low is None or p >= low) and (high is None or p <= high))
        return sum((price * self._quantities[price] for price in inside), ZERO)
