"""Random backtests over real candles, each from a number: settings, symbols and a stretch of time.

The same number is the same backtest everywhere, as long as the files are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from surefoot.config import ConfigError, Settings, load
from surefoot.core.model import INTERVAL_MS
from surefoot.research.data import CandleFile, load_candles
from surefoot.research.inputs import settings_for
from surefoot.signals.window import Columns

MINUTES = "open/klines/um_1m"
QUARTERS = ("open/klines/um_15m", "measure/klines/spot_15m")
MS_PER_HOUR = 3_600_000
CANDLES = 800  # of the primary interval, with one symbol
CONFIRM = {"1m": "5m", "3m": "15m", "5m": "1h", "15m": "1h", "30m": "2h", "1h": "4h"}

# Each setting is drawn from its list; what is often left as it is stands several times.
ALWAYS: Mapping[str, Sequence[object]] = {
    "paper.balance_usdt": (2_000, 10_000, 10_000, 50_000),
    "paper.fee_bps": (0, 1, "7.5", 10, 10),
    "costs.half_spread_bps": (0, "0.5", 1, 1, "2.5"),
    "costs.slippage_bps": (0, 1, 2, 2, 5),
    "costs.volume_share_pct": (10, 100, 100),
    "costs.path": ("worst", "best"),
    "costs.latency_ms": (0, 1, 50, 50, 50, 250, 1_000, 3_000, 4_900),
    "strategy.name": ("rsi", "rsi", "macd", "bollinger", "volume", "stochastic", "ensemble"),
    "strategy.score_min_backtest": ("0.5", "0.5", "0.5", "0.6", "0.73"),
    "rsi.period": (5, 9, 14, 14),
    "rsi.oversold": (30, 35, 40, 45),
    "rsi.overbought": (55, 60, 70),
    "filters.trend": ("off", "off", "damp", "block"),
    "filters.choppy_candles": (0, 0, 30),
    "orders.entry_limit_offset_pct": (0, "0.02", "0.1", "0.1"),
    "orders.entry_timeout_s": (5, 14, 15, 15, 16, 40, 300),
    "orders.unprotected_max_s": (10, 10, 3),
    "risk.risk_pct_of_equity": ("0.5", 1, 2, 5),
    "risk.reserve_pct_of_balance": (0, 10),
    "risk.notional_max_pct_of_equity": (5, 10, 20, 22),
    "risk.positions_max": (1, 2, 3, 4),
    "risk.correlation_max": (1, 1, 1, 1, "0.5", "0.9"),
    "risk.portfolio_risk_max_pct": (1, 3, 10, 100),
    "risk.sizing": ("fixed", "fixed", "half_kelly", "atr"),
    "risk.capital_max_quote": (0, 0, 1_500),
    "risk.loss_streak_max": (0, 0, 2, 3),
    "risk.cooldown_s": (600, 3_600),
    "risk.entry_gap_min_s": (0, 300, 1_200),
    "risk.spread_max_pct": ("0.05", "0.05", "0.02", 1),
    "exits.mode": ("fixed", "atr"),
    "exits.preset": ("off", "off", "off", "conservative", "balanced", "aggressive"),
    "breaker.backtest_reset_after_h": (0, 1, 1, 5, 5, 24),
}
SOMETIMES: Sequence[Mapping[str, Sequence[object]]] = (
    {
        "exits.trail_activate_pct": ("0.1", "0.35", "0.8", "1.5"),
        "exits.trail_distance_pct": ("0.1", "0.33", "0.7", "1.2"),
        "exits.trail_step_pct": (0, "0.05", "0.1", "0.5"),
    },
    {"exits.break_even_after_r": ("0.2", "0.5", "1", "1.5")},
    {"exits.take_1_at_pct": ("0.1", "0.2", "0.4", "0.9"), "exits.take_1_share_pct": (10, 30, 50)},
    {"exits.take_2_at_pct": ("0.3", "0.5", "1.1"), "exits.take_2_share_pct": (10, 25, 40)},
    {
        "exits.reversal_closes": (1, 2, 3),
        "exits.reversal_fall_pct": (0, "0.1", "0.3", "0.6"),
        "exits.reversal_profit_min_pct": (-1, "-0.2", 0, "0.5"),
    },
    {"exits.hold_max_s": (300, 1_800, 7_200, 30_000), "exits.hold_keep_pct": (-1, 0, "0.3", 100)},
    {"exits.opposite_score_min": ("0.5", "0.6", "0.8")},
)
TIERS = ("warn", "no_entries", "no_entries", "shrink", "flatten")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One backtest: settings that belong to these candles."""

    number: int
    settings: Settings
    files: tuple[CandleFile, ...]


def configuration(number: int, data: Path, hours_factor: float) -> Configuration:
    """The backtest of a number; `hours_factor` stretches the time that it covers."""
    chance = Random(number)
    minutes = chance.random() < 0.6
    folder = data / (MINUTES if minutes else chance.choice(QUARTERS))
    interval = chance.choice(("1m", "3m", "5m", "5m", "15m") if minutes else ("15m", "15m", "30m", "1h"))
    names = chance.sample(sorted(file.stem for file in folder.glob("*.parquet")), chance.choice((1, 1, 2, 3, 4)))
    hours = INTERVAL_MS[interval] / MS_PER_HOUR * CANDLES * hours_factor / len(names) ** 0.5
    files = _cut(chance, [_load(folder / f"{name}.parquet") for name in names], hours)
    while True:
        values = _values(chance) | {"market.interval": interval, "market.confirm_interval": CONFIRM[interval]}
        try:
            return Configuration(number, settings_for(load(None, values, {}).settings, files), tuple(files))
        except ConfigError:
            continue  # drawn values may contradict each other


def _values(chance: Random) -> dict[str, str]:
    values: dict[str, object] = {"mode": "backtest"}
    values |= {name: chance.choice(choices) for name, choices in ALWAYS.items()}
    values |= {
        "exits.stop_pct_of_price": round(chance.uniform(0.5, 3), chance.choice((1, 2, 3))),
        "exits.target_pct_of_price": round(chance.uniform(0.3, 5), chance.choice((1, 2))),
        "exits.atr_stop_multiple": round(chance.uniform(0.5, 4), 1),
        "exits.atr_target_multiple": round(chance.uniform(1, 8), 1),
    }
    for group in SOMETIMES:
        if chance.random() < 0.4:
            values |= {name: chance.choice(choices) for name, choices in group.items()}
    for rule, low, high in (
        ("day_loss", 0.05, 1.5),
        ("rolling_loss", 0.1, 2),
        ("week_loss", 0.2, 3),
        ("drawdown", 0.1, 4),
    ):
        values[f"breaker.{rule}_max_pct"] = round(chance.uniform(low, high), 2)
        values[f"breaker.{rule}_tier"] = chance.choice(TIERS)
    return {name: str(value) for name, value in values.items()}


def _cut(chance: Random, files: Sequence[CandleFile], hours: float) -> list[CandleFile]:
    """The same stretch of all files, though some begin later or end earlier by some hours."""
    length_ms = int(hours * MS_PER_HOUR)
    first_ms = max(int(file.columns.open_ms[0]) for file in files)
    last_ms = min(int(file.columns.open_ms[-1]) for file in files)
    start_ms = chance.randrange(first_ms, max(first_ms + 1, last_ms - length_ms))
    parts = []
    for file in files:
        late_ms, early_ms = (chance.choice((0, 0, 0, 3)) * MS_PER_HOUR for _ in range(2))
        bounds = start_ms + late_ms, start_ms + length_ms - early_ms
        begin, end = np.searchsorted(file.columns.open_ms, bounds).tolist()
        end = max(end, begin + 2 * 3_600_000 // INTERVAL_MS[file.interval])
        open_ms, *values = file.columns
        columns = Columns(open_ms[begin:end].copy(), *(column[begin:end].copy() for column in values))
        parts.append(replace(file, columns=columns, gaps=()))
    return parts


@cache
def _load(file: Path) -> CandleFile:
    return load_candles(file, gaps="keep")
