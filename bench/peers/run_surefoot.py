"""The bench's rules in Surefoot: the example strategy in the fast loop, with every gate of surefoot.toml open.

Nothing here is special to the bench: settings, a strategy file, candles made into arrays beforehand, and a run, as the
backtest and the optimiser do it. Signals are computed anew in each run.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from protocol import Candles, Outcome, Peer, serve

from surefoot.config import Settings, Variants, changed, load
from surefoot.research.backtest import run_loaded
from surefoot.research.data import CandleFile
from surefoot.research.fastdata import Market, market_of
from surefoot.research.fastrun import Prepared
from surefoot.research.inputs import load_files
from surefoot.research.tape import Tape, TapeColumns

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = Path(__file__).with_name("surefoot.toml")
STRATEGY = ROOT / "examples" / "rsi_threshold.py"
PLAIN = ROOT / "bench" / "strategies" / "rsi_plain.py"
REARMED = ROOT / "bench" / "strategies" / "rsi_rearmed.py"
INTERVALS = {60_000: "1m", 3_600_000: "1h"}
CONFIRM = {"1m": "15m", "1h": "4h"}  # not looked at by these strategies
THREADS = int(os.environ.get("SUREFOOT_BENCH_THREADS", "1"))


def settings_of(base: Settings, rules: dict[str, Any], strategy: Path) -> Settings:
    """The rules as settings: what of `base` changes is checked again."""
    return changed(base, values_of(rules, strategy))


def values_of(rules: dict[str, Any], strategy: Path) -> dict[str, str]:
    return {
        "strategy.name": str(strategy),
        "strategy.parameters": f"period={rules['period']},low={rules['low']},high={rules['high']}",
        "risk.notional_max_pct_of_equity": _pct(rules["share"]),
        "exits.stop_pct_of_price": _pct(rules["stop"]),
        "exits.target_pct_of_price": _pct(rules["target"]),
    }


def base_settings(rules: dict[str, Any], interval: str) -> Settings:
    words = {
        "market.interval": interval,
        "market.confirm_interval": CONFIRM[interval],
        "paper.balance_usdt": f"{rules['cash']:.0f}",
        "paper.fee_bps": f"{rules['fee'] * 10_000:g}",
    }
    return load(SETTINGS, words, {}).settings


@dataclass
class Own:
    """Candles as arrays for the fast loop, and the file for the exact engine, which is read when first asked for."""

    base: Settings
    market: Market
    file: Path
    loaded: list[CandleFile] = field(default_factory=list)


def prepare(candles: Candles, rules: dict[str, Any]) -> Own:
    open_ms = candles["open_time"]
    count, step_ms = len(open_ms), int(np.diff(open_ms).min())
    columns = (candles[name] for name in ("open", "high", "low", "close", "volume"))
    tape = Tape("BTCUSDT", TapeColumns(open_ms, np.full(count, step_ms, dtype=np.int64), *columns), count)
    base = base_settings(rules, INTERVALS[step_ms])
    return Own(base, market_of([tape], base.market.interval), candles["folder"] / "BTCUSDT.parquet")


def single(own: Own, rules: dict[str, Any]) -> Outcome:
    return _run(own, rules, REARMED if rules.get("rearm_by_exit") else STRATEGY)


def strategy(own: Own, rules: dict[str, Any]) -> Outcome:
    return _run(own, rules, PLAIN)


def exact(own: Own, rules: dict[str, Any]) -> Outcome:
    if not own.loaded:
        own.loaded = load_files([str(own.file)], "refuse")
    result = run_loaded(settings_of(own.base, rules, STRATEGY), own.loaded)
    opened = [trip["entry_ms"] for trip in result["round_trips"]]
    entries = np.searchsorted(own.market.ticks.open_ms, opened)
    return Outcome(entries, len(result["open_positions"]), float(result["final_equity"]))


def sweep(own: Own, rules: dict[str, Any], combinations: list[list[float]]) -> tuple[list[int], list[float]]:
    """As a search does it: settings by `Variants`, signals once for each period and thresholds. The runs are shared out
    among threads."""
    variants, prepared = Variants(own.base), Prepared(own.market)
    file = REARMED if rules.get("rearm_by_exit") else STRATEGY
    names = ("period", "low", "high", "stop", "target")

    def result_of(combination: list[float]) -> tuple[int, float]:
        settings = variants.of(values_of(rules | dict(zip(names, combination, strict=True)), file))
        return prepared.glance(settings, lambda run: (len(run.trips) + len(run.open_since_ms), float(run.final_equity)))

    if THREADS == 1:
        results = list(map(result_of, combinations))
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(result_of, combinations))
    return [trades for trades, _ in results], [equity for _, equity in results]


def _run(own: Own, rules: dict[str, Any], file: Path) -> Outcome:
    base, prepared = own.base, Prepared(own.market)
    run = prepared.run(settings_of(base, rules, file))
    entries = np.searchsorted(own.market.ticks.open_ms, run.trips["entry_ms"])
    return Outcome(entries, len(run.open_since_ms), float(run.final_equity))


def _pct(share: float) -> str:
    return f"{share * 100:.6g}"


if __name__ == "__main__":
    serve(
        Peer(
            ("surefoot", "numpy", "numba", "ta-lib"),
            prepare,
            single=single,
            strategy=strategy,
            exact=exact,
            sweep=sweep,
        )
    )
