"""What a run of the fast loop begins with, as words of 64 bits in one block, so that beginning is copying.

The block holds the records that settings and candles decide: symbols, world, rules, limits, anchors of hours, counts.
Most of it is the same in all runs over a market. The rest is in parts, each of which is made of a few sections of the
settings; what was made of sections is kept, since a search changes few of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from surefoot.assembly import breaker_settings, entry_expiry_ms, exit_settings, risk_settings, score_min
from surefoot.config import ConfigError, Settings
from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR, Tier
from surefoot.core.risk import Sizing
from surefoot.research import faststate as state
from surefoot.research.fastdata import Market
from surefoot.research.instruments import InstrumentRules
from surefoot.signals.window import IntArray

LATENCY_MAX_MS = 5_000
DECIMALS_OF_BPS = 4
PARTS_KEPT = 1_024
LIMITS = 4  # of the breaker
TIERS = {Tier.WARN: state.WARN, Tier.NO_ENTRIES: state.NO_ENTRIES, Tier.SHRINK: state.SHRINK_TIER}
SIZINGS = {Sizing.FIXED: 0, Sizing.HALF_KELLY: 1, Sizing.ATR: 2}

Numbers = Mapping[str, Any]
Maker = Callable[[Settings, Market], Numbers]


_Key = tuple[int, ...]


class Begun(NamedTuple):
    """What a block began with the last time, and for each part of it which sections it was made of, and its words."""

    words: IntArray
    parts: list[tuple[_Key, _Part]]


class _Part(NamedTuple):
    """Where in a block the numbers of a part stand, and the words there. The sections that it was made of are kept, so
    that no other section can come to lie where they are."""

    sections: tuple[Any, ...]
    slots: IntArray
    words: IntArray


class Records:
    """Views of a block, in the kinds that the loop takes. `begun` is the beginning of the last run in them."""

    def __init__(self, symbols: int) -> None:
        kinds: dict[str, tuple[Any, int]] = {
            "symbols": (state.SYMBOL, symbols),
            "world": (state.WORLD, 1),
            "rules": (state.RULES, 1),
            "limits": (state.LIMIT, LIMITS),
            "hours": (np.dtype(np.int64), state.TRIP_HOURS),
            "anchors": (np.dtype(np.float64), state.TRIP_HOURS),
            "counts": (np.dtype(np.int64), len(state.OUTCOMES)),
        }
        ends = np.cumsum([kind.itemsize * count for kind, count in kinds.values()])
        self.block = np.zeros(int(ends[-1]) // 8, dtype=np.int64)
        self.begun: Begun | None = None
        of = {
            name: self.block[(end - kind.itemsize * count) // 8 : end // 8].view(kind)
            for (name, (kind, count)), end in zip(kinds.items(), ends.tolist(), strict=True)
        }
        self.symbols, self.world, self.rules, self.limits = of["symbols"], of["world"], of["rules"], of["limits"]
        self.hours, self.anchors, self.counts = of["hours"], of["anchors"], of["counts"]


class Beginnings:
    """The words that each run over a market begins with."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._fresh = _fresh(market)
        self._known: dict[_Key, _Part] = {}

    def write(self, records: Records, settings: Settings) -> None:
        """Into their block. ConfigError for what only the exact engine can run.

        Parts that are those of the last run in these records are not written again.
        """
        begun = records.begun
        if begun is None:
            none = _Part((), *(np.zeros(0, dtype=np.int64) for _ in range(2)))
            begun = records.begun = Begun(self._fresh.block.copy(), [((), none)] * len(PARTS))
        for number, (names, make) in enumerate(PARTS):
            sections = tuple([getattr(settings, name) for name in names])
            key = (number, *map(id, sections))
            last_key, last = begun.parts[number]
            if key == last_key:
                continue
            part = self._known.get(key)
            if part is None:
                if len(self._known) >= PARTS_KEPT:
                    self._known.clear()
                part = self._known[key] = _Part(
                    sections, *_words(make(settings, self._market), len(self._market.symbols))
                )
            begun.words[last.slots] = self._fresh.block[last.slots]
            begun.words[part.slots] = part.words
            begun.parts[number] = key, part
        records.block[:] = begun.words


def _fresh(market: Market) -> Records:
    records = Records(len(market.symbols))
    for record, rules, (begin, end) in zip(records.symbols, market.rules, market.spans, strict=True):
        _fill_symbol(record, rules)
        record["first"] = record["v_at"] = record["v_hint"] = begin
        record["last"] = end
        record["v_due"] = market.ticks.open_ms[begin]
    world = records.world[0]
    world["deadline"] = world["reset_ms"] = state.NEVER
    world["hour"] = world["opposed"] = -1
    world["candle_ms"] = int(market.ticks.length_ms.max())
    world["peak"] = world["day_start"] = world["week_start"] = np.nan
    records.hours.fill(-1)
    records.anchors.fill(np.nan)
    return records


def _fill_symbol(record: Any, rules: InstrumentRules) -> None:
    unit = Decimal(state.UNIT)
    lot = rules.lot_size * unit
    record["lot"], record["lot_size"], record["tick"] = int(lot), float(rules.lot_size), float(rules.tick_size)
    record["value"] = int(rules.tick_size * lot)
    largest = min(rules.quantity_max, rules.market_quantity_max or rules.quantity_max)
    record["lots_min"] = int(rules.quantity_min / rules.lot_size)
    record["lots_max"] = int(largest / rules.lot_size) if largest else state.NEVER
    record["notional_min"] = int(rules.notional_min * unit)
    record["notional_max"] = int(rules.notional_max * unit) if rules.notional_max else state.NEVER // 4
    record["price_min"] = int(rules.price_min / rules.tick_size)
    record["price_max"] = int(rules.price_max / rules.tick_size) if rules.price_max else state.NEVER
    record["band_low"], record["band_high"] = float(rules.band_low), float(rules.band_high)
    record["e_bare_ms"] = record["e_crossed_ms"] = record["e_last_entry_ms"] = record["e_known"] = -1
    record["e_deadline"] = state.NEVER


def _words(numbers: Numbers, symbols: int) -> tuple[IntArray, IntArray]:
    """Where in a block numbers stand, and the words there. `world.quote` is one of the world's, `limits` are rows, the
    others are of the rules."""
    written, marked = Records(symbols), Records(symbols)
    for name, number in numbers.items():
        if name == "limits":
            written.limits[:] = number
            marked.limits.view(np.int64)[:] = 1
            continue
        record, _, field = name.rpartition(".")
        for records, word in ((written, number), (marked, 1)):
            (records.world if record else records.rules)[field] = word
    slots = np.flatnonzero(marked.block)
    return slots, written.block[slots]


# -- parts -------------------------------------------------------------------------------------------------------------


def _market(settings: Settings, market: Market) -> Numbers:
    if settings.market.venue == "futures":
        raise ConfigError("market.venue = futures: the fast engine trades spot only; use --engine exact")
    if settings.market.symbols != market.symbols or settings.market.interval != market.interval:
        raise ConfigError("market: other symbols or another interval than what was prepared")
    return {"end_ms": market.end_ms, "interval_ms": INTERVAL_MS[market.interval]}


def _costs(settings: Settings, market: Market) -> Numbers:
    costs = settings.costs
    most_ms = min(LATENCY_MAX_MS, (INTERVAL_MS[settings.market.interval] - 1) // 3)
    if costs.latency_ms > most_ms:
        raise ConfigError(f"costs.latency_ms = {costs.latency_ms}: the fast engine takes at most {most_ms}; use exact")
    for name, value in (
        ("costs.half_spread_bps", costs.half_spread_bps),
        ("costs.slippage_bps", costs.slippage_bps),
        ("paper.fee_bps", settings.paper.fee_bps),
    ):
        if value != round(value, DECIMALS_OF_BPS):
            raise ConfigError(f"{name} = {value}: the fast engine takes {DECIMALS_OF_BPS} decimals; use exact")
    scale = 10**DECIMALS_OF_BPS
    return {
        "world.quote": int(settings.paper.balance_usdt * state.UNIT),
        "latency_ms": costs.latency_ms,
        "half_spread": int(costs.half_spread_bps * scale),
        "slippage": int(costs.slippage_bps * scale),
        "fee": int(settings.paper.fee_bps * scale),
        "worst": costs.path == "worst",
        "volume_share": float(costs.volume_share_pct / 100),
        "taker_fee": float(settings.paper.fee_bps / 10_000),
    }


def _signals(settings: Settings, market: Market) -> Numbers:
    return {"score_min": score_min(settings), "expiry_ms": entry_expiry_ms(settings)}


def _risk(settings: Settings, market: Market) -> Numbers:
    risk, orders = risk_settings(settings), settings.orders
    return {
        "entry_timeout_ms": orders.entry_timeout_s * 1_000,
        "unprotected_max_ms": orders.unprotected_max_s * 1_000,
        "price_age_max_ms": risk.price_age_max_ms,
        "entry_gap_min_ms": risk.entry_gap_min_ms,
        "positions_max": risk.positions_max,
        "loss_streak_max": risk.loss_streak_max,
        "cooldown_ms": risk.cooldown_ms,
        "sizing": SIZINGS[risk.sizing],
        "spread_matters": risk.spread_max_pct is not None,
        "risk_pct": float(risk.risk_pct_of_equity),
        "notional_max_pct": float(risk.notional_max_pct_of_equity),
        "notional_max": float(risk.notional_max_quote),
        "reserve_pct": float(risk.reserve_pct_of_balance),
        "limit_offset_pct": float(risk.entry_limit_offset_pct),
        "capital_max": float(risk.capital_max_quote),
        "portfolio_risk_max_pct": float(risk.portfolio_risk_max_pct),
        "correlation_max": risk.correlation_max if len(market.symbols) > 1 else 1.0,
        "spread_max_pct": float(risk.spread_max_pct or 0),
        "spread_assumed_pct": float(risk.spread_assumed_pct or 0),
    }


def _exits(settings: Settings, market: Market) -> Numbers:
    exits = exit_settings(settings)
    numbers: dict[str, Any] = {
        "leaps": min(market.leaps.kind, 1) if exits.reversal_closes > 0 else market.leaps.kind,
        "by_atr": exits.by_atr,
        "only_rests": exits.only_rests,
        "reversal_closes": exits.reversal_closes,
        "hold_max_ms": exits.hold_max_ms,
        "takes": len(exits.takes),
        "stop_pct": float(exits.stop_pct_of_price),
        "target_pct": float(exits.target_pct_of_price),
        "atr_stop": float(exits.atr_stop_multiple),
        "atr_target": float(exits.atr_target_multiple),
        "trail_activate": float(exits.trail_activate_pct),
        "trail_distance": float(exits.trail_distance_pct),
        "trail_step": float(exits.trail_step_pct),
        "break_even_after_r": float(exits.break_even_after_r),
        "reversal_fall": float(exits.reversal_fall_pct),
        "reversal_profit_min": float(exits.reversal_profit_min_pct),
        "hold_keep": float(exits.hold_keep_pct),
        "opposite_score_min": exits.opposite_score_min,
    }
    for number, take in enumerate(exits.takes, start=1):
        numbers |= {f"take_{number}_at": float(take.at_pct), f"take_{number}_share": float(take.share_pct)}
    return numbers


def _breaker(settings: Settings, market: Market) -> Numbers:
    limits = [limit for _, limit in breaker_settings(settings).losses()]
    return {
        "reset_after_ms": settings.breaker.backtest_reset_after_h * MS_PER_HOUR,
        "limits": [(float(limit.value_pct), TIERS.get(limit.tier, state.FLATTEN_TIER), -1) for limit in limits],
    }


# Each with the settings that it reads.
PARTS: tuple[tuple[tuple[str, ...], Maker], ...] = (
    (("market",), _market),
    (("market", "costs", "paper"), _costs),
    (("mode", "market", "strategy"), _signals),
    (("mode", "market", "risk", "orders", "costs"), _risk),
    (("exits",), _exits),
    (("mode", "breaker"), _breaker),
)
