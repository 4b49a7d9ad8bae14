"""What a run of the exact engine leaves for its report besides the books: stops, targets, trips, costs.

It listens to events and commands as they pass; nothing depends on it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from surefoot.core.breaker import RULES
from surefoot.core.messages import (
    Command,
    Event,
    OrderFilled,
    RecordTrip,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import ZERO, OrderRequest, Purpose, RoundTrip

Levels = list[tuple[int, Decimal]]
BPS = Decimal(10_000)


@dataclass(slots=True)
class Traces:
    """Prices of protective orders by symbol, oldest first, and the notional that takers traded, in quote."""

    stops: defaultdict[str, Levels] = field(default_factory=lambda: defaultdict(list))
    targets: defaultdict[str, Levels] = field(default_factory=lambda: defaultdict(list))
    trips: list[dict[str, Any]] = field(default_factory=list)
    taken: Decimal = ZERO

    def take(self, message: Event | Command) -> None:
        match message:
            case SubmitOrder(at_ms=at_ms, order=order) | ReplaceOrder(at_ms=at_ms, order=order):
                self._order(at_ms, order)
            case SubmitList(at_ms=at_ms, orders=orders):
                for order in orders:
                    self._order(at_ms, order)
            case OrderFilled(fill=fill) | VenueTraded(fill=fill) if not fill.maker:
                self.taken += fill.quantity * fill.price
            case RecordTrip(at_ms=at_ms, rule=rule, tier=tier, value=value, limit=limit):
                told = {"rule": f"{rule}, {RULES[rule]}", "tier": str(tier)}
                self.trips.append({"at_ms": at_ms, **told, "value": f"{value:.4f}", "limit": f"{limit:f}"})

    def _order(self, at_ms: int, order: OrderRequest) -> None:
        if order.purpose is Purpose.STOP and order.stop_price is not None:
            self.stops[order.symbol].append((at_ms, order.stop_price))
        elif order.purpose is Purpose.TARGET:
            price = order.price if order.stop_price is None else order.stop_price
            if price is not None:
                self.targets[order.symbol].append((at_ms, price))

    def of(self, trip: RoundTrip) -> dict[str, Any]:
        """`stops` and `target` of a round trip; a key is missing where no such order was sent."""
        stops, targets = (levels_during(made[trip.symbol], trip) for made in (self.stops, self.targets))
        found: dict[str, Any] = {}
        if stops:
            found["stops"] = [[at_ms, f"{price:f}"] for at_ms, price in stops]
        if targets:
            found["target"] = f"{targets[-1][1]:f}"
        return found

    def costs(
        self, fees: Decimal, half_spread_bps: Decimal, slippage_bps: Decimal, funding: Decimal | None = None
    ) -> dict[str, str | None]:
        """In quote. Spread and slippage are what the fill model charged at most; spot has no funding."""
        return {
            "fees": f"{fees:.8f}",
            "spread": f"{self.taken * half_spread_bps / BPS:.8f}",
            "slippage": f"{self.taken * slippage_bps / BPS:.8f}",
            "funding": None if funding is None else f"{funding:.8f}",
        }


def levels_during(levels: Sequence[tuple[int, Decimal]], trip: RoundTrip) -> Levels:
    """Those that were in force between entry and exit, each from when it was sent; repeated prices count once.

    What was sent last before the entry filled protects it, so it counts from the entry on.
    """
    begun = bisect_right(levels, trip.entry_ms, key=lambda level: level[0])
    ended = bisect_right(levels, trip.exit_ms, key=lambda level: level[0])
    # Older ones belong to another round trip or to an entry that never filled.
    before = [(trip.entry_ms, levels[begun - 1][1])] if begun else []
    return _changes([*before, *levels[begun:ended]])


def _changes(levels: Iterable[tuple[int, Decimal]]) -> Levels:
    kept: Levels = []
    for at_ms, price in levels:
        if not kept or kept[-1][1] != price:
            kept.append((at_ms, price))
    return kept
