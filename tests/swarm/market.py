"""A market that never rests: prints at odd moments, jumps, halts, and books that are often too thin.

Its swings are a hundred times those of a real market, so that stops and targets a percent away are reached within
minutes. Chance comes from one generator; the same seed is the same market.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from simex.market import PrintTaker, Ranges
from simex.venue import InstrumentSpec

PLENTY = Decimal(1_000_000)
TYPICAL_NOTIONAL = 2_000  # what an entry of the swarm's account is worth, in quote


@dataclass(slots=True)
class _Walk:
    """One symbol: its price in ticks wanders about its anchor."""

    spec: InstrumentSpec
    anchor: float
    level: float = 0.0
    due_ms: int = 0


class RestlessMarket:
    """Prints of several symbols on one clock, from `start_ms` until it is told to stop."""

    def __init__(self, rng: random.Random, specs: Sequence[InstrumentSpec], start_ms: int) -> None:
        self.end_ms: int | None = None
        self.thin = rng.choice((0.0, 0.2, 0.6, 0.9))  # how often a print has less to trade than an entry wants
        self._rng = rng
        self._step_sd = rng.choice((0.0007, 0.0015, 0.003))
        self._jump = rng.choice((0.0, 0.002, 0.01))
        self._halt = rng.choice((0.0, 0.0, 0.002))
        self._pause_ms = rng.choice((4_000, 8_000, 16_000))
        self._walks = [_Walk(spec, math.log(_price(spec)), due_ms=start_ms + 7 * at) for at, spec in enumerate(specs)]
        self._stopped = False

    def next_ms(self) -> int | None:
        return None if self._stopped else min(walk.due_ms for walk in self._walks)

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        walk = min(self._walks, key=lambda each: each.due_ms)
        at_ms = walk.due_ms
        price = self._next_price(walk)
        lot = walk.spec.lot_size
        volume = lot * self._rng.randint(1, 50)
        exchange.tick(walk.spec.symbol, price, volume, self._liquidity(walk, price), at_ms)
        walk.due_ms = at_ms + self._rng.randint(200, 2 * self._pause_ms)
        if self._rng.random() < self._halt:
            walk.due_ms += self._rng.randint(60_000, 600_000)

    def calm_down(self) -> None:
        """No halts and deep books from now on."""
        self.thin = self._halt = 0.0

    def stop(self) -> None:
        """Not one more print."""
        self._stopped = True

    def _next_price(self, walk: _Walk) -> Decimal:
        rng = self._rng
        walk.level += rng.gauss(0, self._step_sd) - 0.002 * walk.level
        if rng.random() < self._jump:
            walk.level += rng.choice((-1, 1)) * rng.uniform(0.005, 0.06)
        ticks = round(math.exp(walk.anchor + walk.level) / float(walk.spec.tick_size))
        return walk.spec.tick_size * ticks

    def _liquidity(self, walk: _Walk, price: Decimal) -> Decimal:
        if self._rng.random() >= self.thin:
            return PLENTY
        notional = TYPICAL_NOTIONAL * self._rng.choice((0.0, 0.002, 0.01, 0.1, 0.4, 0.8))
        lots = round(notional / float(price * walk.spec.lot_size))
        return walk.spec.lot_size * lots


def _price(spec: InstrumentSpec) -> float:
    return {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "BNBUSDT": 600.0, "SOLUSDT": 150.0}[spec.symbol]
