"""The fast backtest: candles prepared once, then any number of runs over them, and a result like the exact engine's.

`prepare` turns tapes into arrays; `Prepared.run` compiles the loop at its first call on a machine and takes it from the
cache on disk afterwards. Runs share nothing that they write to, and the loop holds no interpreter lock, so that threads
may run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from surefoot.assembly import QUOTE, build_signals, engine_settings
from surefoot.config import ConfigError, Settings
from surefoot.core.breaker import BreakerSettings
from surefoot.core.facts import EngineSettings
from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR, Tier
from surefoot.core.risk import Sizing
from surefoot.research import faststate as state
from surefoot.research.fastcode import run_loop, table_of
from surefoot.research.fastdata import Market, Opinions, alike_of, market_of, opinions_of
from surefoot.research.instruments import InstrumentRules
from surefoot.research.tape import Tape
from surefoot.signals.window import FloatArray, IntArray

LATENCY_MAX_MS = 5_000
DECIMALS_OF_BPS = 4
OPINIONS_KEPT = 16
ROOM_FIRST = 32_768  # round trips; when it is too small, the run is made again with more
LIMITS = 4  # of the breaker
UNIT = Decimal(1) / state.UNIT
UNSEEN_BY_SIGNALS = {"exits", "risk", "breaker", "costs", "paper", "orders", "store"}
SEEN_BY_SIGNALS = tuple(name for name in Settings.model_fields if name not in UNSEEN_BY_SIGNALS)
TIERS = {Tier.WARN: state.WARN, Tier.NO_ENTRIES: state.NO_ENTRIES, Tier.SHRINK: state.SHRINK_TIER}
SIZINGS = {Sizing.FIXED: 0, Sizing.HALF_KELLY: 1, Sizing.ATR: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run came to, as arrays; prices in ticks, quantities in lots, money and base in units of 1e-8.

    `trips` are round trips in the order in which they ended (`faststate.TRIP`), `alarms` what the breaker did, `levels`
    where stops and targets were to rest. `curve` is the equity in quote at `curve_ms`: the start, each primary close,
    the end of the tape and the very end. `quote` and `base` are the wallets at the end.
    """

    market: Market
    trips: Any
    alarms: Any
    levels: Any
    curve_ms: IntArray
    curve: FloatArray
    refusals: dict[str, int]
    quote: int
    base: tuple[int, ...]
    fees: dict[str, Decimal]
    fees_in_quote: float
    taken: float
    orders: int
    fills: int
    flagged: int
    open_since_ms: dict[str, int]

    @property
    def final_equity(self) -> Decimal:
        """In quote, exact."""
        total = self.quote * UNIT
        for rules, (_, end), base in zip(self.market.rules, self.market.spans, self.base, strict=True):
            total += base * UNIT * int(self.market.ticks.close[end - 1]) * rules.tick_size
        return total

    def symbols(self) -> list[str]:
        """The symbol of each round trip."""
        return [self.market.symbols[at] for at in self.trips["symbol"].tolist()]

    def pnl(self) -> FloatArray:
        """What each round trip earned, in quote after fees."""
        return np.asarray(self.trips["pnl"] / state.UNIT)

    def prices(self) -> tuple[FloatArray, FloatArray]:
        """Average entry and exit price of each round trip, in quote per base."""
        ticks = np.array([float(rules.tick_size) for rules in self.market.rules])[self.trips["symbol"]]
        return self.trips["entry"] * ticks, self.trips["received"] / state.UNIT / self.quantities(sold_only=True)

    def quantities(self, *, sold_only: bool = False) -> FloatArray:
        """Base quantity of each round trip: what was sold, or bought where nothing was."""
        lots = np.array([float(rules.lot_size) for rules in self.market.rules])[self.trips["symbol"]]
        sold = self.trips["sold"]
        return np.asarray((sold if sold_only else np.where(sold, sold, self.trips["bought"])) * lots)

    def reasons(self) -> list[str]:
        """What ended each round trip."""
        return [state.REASONS[reason] for reason in self.trips["reason"].tolist()]


@dataclass(slots=True)
class Prepared:
    """A market in arrays, ready to be run with any settings of the same symbols and interval, by several threads."""

    market: Market
    _opinions: list[tuple[tuple[Any, ...], Opinions]] = field(default_factory=list)
    _alike: dict[str, FloatArray] = field(default_factory=dict)
    _idle: list[_Arrays] = field(default_factory=list)

    def opinions_for(self, settings: Settings) -> Opinions:
        """What the strategy says, remembered by all settings that it could depend on."""
        key = tuple(getattr(settings, name) for name in SEEN_BY_SIGNALS)
        for known, opinions in self._opinions:
            if all(one is other or one == other for one, other in zip(known, key, strict=True)):
                return opinions
        source = build_signals(settings)
        opinions = opinions_of(self.market, source.strategy, source.confirm_interval, source.filters)
        # The newest first, since a search asks for them in a row; it has thousands of them, some megabytes each.
        self._opinions = [(key, opinions), *self._opinions[: OPINIONS_KEPT - 1]]
        return opinions

    def alike_for(self, settings: Settings) -> FloatArray:
        """The correlations of all symbols; an empty array where nothing asks for them."""
        interval = settings.market.confirm_interval
        if settings.risk.correlation_max >= 1 or len(self.market.symbols) == 1:
            return self._alike.setdefault("", np.zeros((0, len(self.market.symbols))))
        if interval not in self._alike:
            self._alike[interval] = alike_of(self.market, interval)
        return self._alike[interval]

    def run(self, settings: Settings, say: Callable[[str], None] | None = None) -> Outcome:
        """One backtest; `say` hears when the loop has to be compiled first.

        Raises ConfigError for settings that only the exact engine can run.
        """
        check(settings, self.market)
        opinions, alike = self.opinions_for(settings), self.alike_for(settings)
        room = ROOM_FIRST
        while True:
            arrays = self._arrays(room)
            arrays.begin(settings)
            why = run_loop(arrays.table_of(opinions, alike), say)
            if why == state.DONE:
                found = arrays.outcome()
                self._idle.append(arrays)
                return found
            if why == state.QUEUE_FULL:
                raise RuntimeError("too many messages were on their way at once")
            room *= 4

    def _arrays(self, room: int) -> _Arrays:
        """Those of an earlier run of any thread, if they are large enough."""
        try:
            arrays = self._idle.pop()
        except IndexError:
            return _Arrays(self.market, room)
        return arrays if arrays.room >= room else _Arrays(self.market, room)


def prepare(tapes: Sequence[Tape], settings: Settings) -> Prepared:
    """Arrays of these tapes for the interval of the settings; the tapes in the order of the settings' symbols."""
    return Prepared(market_of(tapes, settings.market.interval))


def check(settings: Settings, market: Market) -> None:
    """What only the exact engine can run is refused by name."""
    if settings.market.venue == "futures":
        raise ConfigError("market.venue = futures: the fast engine trades spot only; use --engine exact")
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
    if settings.market.symbols != market.symbols or settings.market.interval != market.interval:
        raise ConfigError("market: other symbols or another interval than what was prepared")


def curve_times(market: Market, step_ms: int) -> IntArray:
    """When the equity is looked at, the start left out."""
    times = np.arange(market.start_ms + step_ms, market.end_ms, step_ms, dtype=np.int64)
    return np.append(times, market.end_ms)


class _Arrays:
    """The records of a run, and the table of where they are. They are used for one run after the other."""

    def __init__(self, market: Market, room: int) -> None:
        self.market = market
        self.room = room
        step_ms = INTERVAL_MS[market.interval]
        self.curve_ms = np.concatenate(([market.start_ms], curve_times(market, step_ms), [market.end_ms]))
        self.equity = np.empty(self.curve_ms.size)
        self.fresh = np.zeros(len(market.symbols), state.SYMBOL)
        for record, rules, (begin, end) in zip(self.fresh, market.rules, market.spans, strict=True):
            _fill_symbol(record, rules)
            record["first"] = record["v_at"] = record["v_hint"] = begin
            record["last"] = end
            record["v_due"] = market.ticks.open_ms[begin]
        self.candle_ms = int(market.ticks.length_ms.max())
        self.symbols = np.empty_like(self.fresh)
        self.world = np.empty(1, state.WORLD)
        self.rules = np.empty(1, state.RULES)
        self.limits = np.empty(LIMITS, state.LIMIT)
        self.hours = np.empty(state.TRIP_HOURS, dtype=np.int64)
        self.anchors = np.empty(state.TRIP_HOURS)
        self.bounds = np.empty(2)
        self.queue = np.empty((state.QUEUE, 9), dtype=np.int64)
        self.trips = np.empty(room, state.TRIP)
        self.alarms = np.empty(room, state.ALARM)
        self.levels = np.empty(4 * room, state.LEVEL)
        self.counts = np.empty(len(state.OUTCOMES), dtype=np.int64)
        self._given: tuple[Any, ...] = ()
        self._table: Any = None

    def begin(self, settings: Settings) -> None:
        """As they are before the first candle."""
        engine = engine_settings(settings)
        self.symbols[:] = self.fresh
        self.world[0] = _world(settings, self.candle_ms)
        self.rules[0] = _rules(settings, engine, self.market)
        self.limits[:] = _limits(engine.breaker)
        self.hours.fill(-1)
        self.anchors.fill(np.nan)
        self.counts.fill(0)
        self.equity[0] = float(settings.paper.balance_usdt)

    def table_of(self, opinions: Opinions, alike: FloatArray) -> Any:
        """Where everything is that the loop takes, made anew for other opinions."""
        if self._table is None or self._given[0] is not opinions or self._given[1] is not alike:
            self._given = opinions, alike  # kept, so that no other array can come to lie there
            self._table = table_of(self._all(opinions, alike))
        return self._table

    def _all(self, opinions: Opinions, alike: FloatArray) -> tuple[Any, ...]:
        market = self.market
        events, rolls, closes = market.events, market.rolls, market.closes
        return (
            self.symbols, self.world, self.rules, self.limits, self.hours, self.anchors, self.bounds, self.queue,
            self.trips, self.alarms, self.levels, self.counts, self.equity[1:], self.curve_ms[1:-1], *market.ticks,
            *events, rolls.symbol, rolls.candle, rolls.late, closes.close, closes.high, closes.close_ms, opinions.kind,
            opinions.score, opinions.atr, opinions.readiness, opinions.filtered, opinions.gap, alike, opinions.spoken,
            market.leaps.breaks, market.leaps.lows, market.leaps.highs,
        )  # fmt: skip

    def outcome(self) -> Outcome:
        market = self.market
        world = dict(zip(state.WORLD.names or (), self.world[0].tolist(), strict=True))
        named = list(zip(market.symbols, market.rules, self.symbols, strict=True))
        counts = zip(state.OUTCOMES, self.counts.tolist(), strict=True)
        fees = {rules.base: int(one["e_fees"]) * UNIT for _, rules, one in named if one["e_order"]}
        if world["fills"] > world["opened"]:  # something was sold
            fees[QUOTE] = world["fees"] * UNIT
        curve_ms = self.curve_ms.copy()
        curve_ms[-1] = max(market.end_ms, world["now"])
        return Outcome(
            market=market,
            trips=self.trips[: world["round_trips"]].copy(),
            alarms=self.alarms[: world["alarms"]].copy(),
            levels=self.levels[: world["levels"]].copy(),
            curve_ms=curve_ms,
            curve=self.equity.copy(),
            refusals={name: count for name, count in counts if count and name != "approved"},
            quote=world["quote"],
            base=tuple(self.symbols["e_base"].tolist()),
            fees=fees,
            fees_in_quote=world["fees_in_quote"],
            taken=world["taken"],
            orders=world["orders"],
            fills=world["fills"],
            flagged=world["flagged"],
            open_since_ms={name: int(one["e_opened_ms"]) for name, _, one in named if one["e_held"]},
        )


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


def _world(settings: Settings, candle_ms: int) -> tuple[Any, ...]:
    given = {
        "deadline": state.NEVER,
        "reset_ms": state.NEVER,
        "hour": -1,
        "opposed": -1,
        "candle_ms": candle_ms,
        "quote": int(settings.paper.balance_usdt * state.UNIT),
        "peak": np.nan,
        "day_start": np.nan,
        "week_start": np.nan,
    }
    return tuple(given.get(name, 0) for name in state.WORLD.names or ())


def _rules(settings: Settings, engine: EngineSettings, market: Market) -> tuple[Any, ...]:
    costs, risk, exits = settings.costs, engine.risk, engine.exits
    scale = 10**DECIMALS_OF_BPS
    whole: dict[str, Any] = {
        "latency_ms": costs.latency_ms,
        "end_ms": market.end_ms,
        "interval_ms": INTERVAL_MS[settings.market.interval],
        "leaps": min(market.leaps.kind, 1) if exits.reversal_closes > 0 else market.leaps.kind,
        "half_spread": costs.half_spread_bps * scale,
        "slippage": costs.slippage_bps * scale,
        "fee": settings.paper.fee_bps * scale,
        "worst": costs.path == "worst",
        "entry_timeout_ms": engine.entry_timeout_ms,
        "unprotected_max_ms": engine.unprotected_max_ms,
        "expiry_ms": risk.signal_expiry_ms,
        "price_age_max_ms": risk.price_age_max_ms,
        "entry_gap_min_ms": risk.entry_gap_min_ms,
        "positions_max": risk.positions_max,
        "loss_streak_max": risk.loss_streak_max,
        "cooldown_ms": risk.cooldown_ms,
        "sizing": SIZINGS[risk.sizing],
        "by_atr": exits.by_atr,
        "only_rests": exits.only_rests,
        "reversal_closes": exits.reversal_closes,
        "hold_max_ms": exits.hold_max_ms,
        "takes": len(exits.takes),
        "reset_after_ms": settings.breaker.backtest_reset_after_h * MS_PER_HOUR,
        "spread_matters": risk.spread_max_pct is not None,
    }
    real: dict[str, Any] = {
        "volume_share": costs.volume_share_pct / 100,
        "taker_fee": settings.paper.fee_bps / 10_000,
        "risk_pct": risk.risk_pct_of_equity,
        "notional_max_pct": risk.notional_max_pct_of_equity,
        "notional_max": risk.notional_max_quote,
        "reserve_pct": risk.reserve_pct_of_balance,
        "score_min": risk.score_min,
        "limit_offset_pct": risk.entry_limit_offset_pct,
        "capital_max": risk.capital_max_quote,
        "portfolio_risk_max_pct": risk.portfolio_risk_max_pct,
        "correlation_max": risk.correlation_max if len(market.symbols) > 1 else 1.0,
        "spread_max_pct": risk.spread_max_pct or 0,
        "spread_assumed_pct": risk.spread_assumed_pct or 0,
        "stop_pct": exits.stop_pct_of_price,
        "target_pct": exits.target_pct_of_price,
        "atr_stop": exits.atr_stop_multiple,
        "atr_target": exits.atr_target_multiple,
        "trail_activate": exits.trail_activate_pct,
        "trail_distance": exits.trail_distance_pct,
        "trail_step": exits.trail_step_pct,
        "break_even_after_r": exits.break_even_after_r,
        "reversal_fall": exits.reversal_fall_pct,
        "reversal_profit_min": exits.reversal_profit_min_pct,
        "hold_keep": exits.hold_keep_pct,
        "opposite_score_min": exits.opposite_score_min,
    }
    for number, take in enumerate(exits.takes, start=1):
        real |= {f"take_{number}_at": take.at_pct, f"take_{number}_share": take.share_pct}
    given = {name: int(value) for name, value in whole.items()} | {name: float(value) for name, value in real.items()}
    return tuple(given.get(name, 0) for name in state.RULES.names or ())


def _limits(breaker: BreakerSettings) -> list[tuple[float, int, int]]:
    return [(float(limit.value_pct), TIERS.get(limit.tier, state.FLATTEN_TIER), -1) for _, limit in breaker.losses()]
