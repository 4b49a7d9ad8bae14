"""Perpetual contracts: what exchangeInfo and leverageBracket say about each, and its funding rates.

Rules: nothing here acts; all numbers are Decimals made from text. A replayed symbol gets the steps its prices need.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from simex.venue import DEFAULT_INSTRUMENTS, InstrumentSpec, decimals_of, instrument_for

HOUR_MS: Final = 3_600_000
_HIGHEST_PRICE: Final = Decimal(4_529_764)
CONDITIONAL_TYPES: Final = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
# The plain order endpoint refuses the conditional types, and exchangeInfo goes on listing them.
ORDER_TYPES: Final = ("LIMIT", "MARKET", *CONDITIONAL_TYPES)
TIMES_IN_FORCE: Final = ("GTC", "IOC", "FOK", "GTX", "GTD")


@dataclass(frozen=True, slots=True)
class Bracket:
    """One step of the maintenance margin; notionals in the margin asset, `rate` and `cum` as the venue prints them."""

    number: int
    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal


def brackets(*steps: tuple[int, int, str]) -> tuple[Bracket, ...]:
    """From (cap, largest leverage, maintenance rate): floors and the amounts that keep the margin continuous follow."""
    made: list[Bracket] = []
    for number, (cap, leverage, text) in enumerate(steps, start=1):
        rate = Decimal(text)
        floor, cum = Decimal(0), Decimal(0)
        if made:
            floor = made[-1].cap
            cum = floor * (rate - made[-1].rate) + made[-1].cum
        made.append(Bracket(number, leverage, floor, Decimal(cap), rate, cum))
    return tuple(made)


BRACKETS: Final = brackets(
    (300_000, 150, "0.004"), (800_000, 100, "0.005"), (3_000_000, 75, "0.0065"), (12_000_000, 50, "0.01"),
    (70_000_000, 25, "0.02"), (100_000_000, 20, "0.025"), (230_000_000, 10, "0.05"), (480_000_000, 5, "0.1"),
    (600_000_000, 4, "0.125"), (800_000_000, 3, "0.15"), (1_200_000_000, 2, "0.25"), (1_800_000_000, 1, "0.5"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MarkTold:
    """Mark and index price as a market tells them, and the funding rate that it expects at the next settlement."""

    mark: Decimal
    index: Decimal
    rate: Decimal
    settles_ms: int


@dataclass(frozen=True, slots=True)
class ContractSpec:
    """A perpetual contract; `funding_rates` are (from UTC ms, rate an interval) in order of time, else the one rate."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_price: Decimal
    max_price: Decimal
    price_precision: int
    quantity_precision: int
    min_notional: Decimal = Decimal(5)
    multiplier_up: Decimal = Decimal("1.05")
    multiplier_down: Decimal = Decimal("0.95")
    trigger_protect: Decimal = Decimal("0.05")
    liquidation_fee: Decimal = Decimal("0.0125")
    market_take_bound: Decimal = Decimal("0.05")
    max_num_orders: int = 200
    brackets: tuple[Bracket, ...] = BRACKETS
    onboard_ms: int = 1_569_398_400_000
    funding_rate: Decimal = Decimal("0.0001")
    funding_rates: tuple[tuple[int, Decimal], ...] = ()
    funding_hours: int = 8
    funding_cap: Decimal = Decimal("0.02")
    funding_floor: Decimal = Decimal("-0.02")

    @property
    def margin_asset(self) -> str:
        return self.quote

    @property
    def funding_interval_ms(self) -> int:
        return self.funding_hours * HOUR_MS

    def next_funding_ms(self, now_ms: int) -> int:
        """The first settlement after a time; they are aligned to midnight UTC."""
        return (now_ms // self.funding_interval_ms + 1) * self.funding_interval_ms

    def rate_at(self, at_ms: int) -> Decimal:
        """The funding rate of the settlement at a time."""
        known = bisect_right(self.funding_rates, at_ms, key=lambda entry: entry[0])
        rate = self.funding_rates[known - 1][1] if known else self.funding_rate
        return max(self.funding_floor, min(self.funding_cap, rate))

    def bracket(self, notional: Decimal) -> Bracket:
        """The bracket of an absolute notional; beyond the last cap the last one."""
        return next((entry for entry in self.brackets if notional <= entry.cap), self.brackets[-1])

    def maintenance(self, notional: Decimal) -> Decimal:
        """Maintenance margin of an absolute notional."""
        bracket = self.bracket(notional)
        return notional * bracket.rate - bracket.cum

    def largest_notional(self, leverage: int) -> Decimal:
        """What a position may be worth at a leverage: the cap of the last bracket that allows it."""
        return max((entry.cap for entry in self.brackets if entry.leverage >= leverage), default=Decimal(0))

    @property
    def largest_leverage(self) -> int:
        return self.brackets[0].leverage


def contract_of(spec: InstrumentSpec) -> ContractSpec:
    """The perpetual contract on what an instrument trades, with the same steps."""
    return ContractSpec(
        symbol=spec.symbol,
        base=spec.base,
        quote=spec.quote,
        tick_size=spec.tick_size,
        lot_size=spec.lot_size,
        min_qty=spec.lot_size,
        max_qty=spec.max_qty,
        market_max_qty=spec.market_max_qty,
        min_price=spec.tick_size,
        max_price=spec.max_price,
        price_precision=max(2, decimals_of(spec.tick_size)),
        quantity_precision=decimals_of(spec.lot_size),
    )


def _listed(spec: InstrumentSpec) -> ContractSpec:
    tick, lot, max_qty, market_max_qty, min_notional = {
        "BTCUSDT": ("0.10", "0.001", 1000, 120, 100),
        "ETHUSDT": ("0.01", "0.001", 10_000, 2000, 20),
        "BNBUSDT": ("0.01", "0.01", 100_000, 2000, 5),
        "SOLUSDT": ("0.01", "0.01", 1_000_000, 30_000, 5),
    }[spec.symbol]
    steps = replace(
        spec, tick_size=Decimal(tick), lot_size=Decimal(lot), max_qty=Decimal(max_qty),
        market_max_qty=Decimal(market_max_qty), max_price=max(spec.max_price, _HIGHEST_PRICE),
    )  # fmt: skip
    return replace(contract_of(steps), min_notional=Decimal(min_notional))


DEFAULT_CONTRACTS: Final[tuple[ContractSpec, ...]] = tuple(_listed(spec) for spec in DEFAULT_INSTRUMENTS)


def contract_for(symbol: str, prices: Sequence[Decimal]) -> ContractSpec:
    """The contract of a replayed symbol: as listed, with a finer tick where its prices need one, or derived from them.

    ValueError as `simex.venue.instrument_for`.
    """
    derived = instrument_for(symbol, prices)
    for listed in DEFAULT_CONTRACTS:
        if listed.symbol == symbol:
            if all(price % listed.tick_size == 0 for price in prices):
                return listed
            tick = min(listed.tick_size, derived.tick_size)
            return replace(listed, tick_size=tick, min_price=tick, price_precision=max(2, decimals_of(tick)))
    return contract_of(derived)
