"""The bench's rules in raptorbt: a Rust engine over arrays of signals, and its strategy class in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import raptorbt
from protocol import Candles, Outcome, Peer, crossings, serve

BARS = ("open", "high", "low", "close", "volume")


def prepare(candles: Candles, rules: dict[str, Any]) -> dict[str, Any]:
    count = len(candles["close"])
    bars = [np.ascontiguousarray(candles["open_time"] * 1_000_000), *(candles[field] for field in BARS)]
    return {"bars": bars, "close": candles["close"], "sizes": np.full(count, rules["share"])}


def config_of(rules: dict[str, Any], stop: float, target: float) -> raptorbt.BacktestConfig:
    config = raptorbt.BacktestConfig(initial_capital=rules["cash"], fees=rules["fee"], fill_timing="next_bar_open")
    config.set_fixed_stop(stop)
    config.set_fixed_target(target)
    return config


def single(own: dict[str, Any], rules: dict[str, Any]) -> Outcome:
    rsi = raptorbt.rsi(own["close"], rules["period"])
    config = config_of(rules, rules["stop"], rules["target"])
    result = raptorbt.run_single_backtest(
        *own["bars"], crossings(rsi, rules["low"]), rsi > rules["high"], 1, 1.0, "BTCUSDT", config, own["sizes"]
    )
    return _outcome(result)


class Rules(raptorbt.Strategy):
    """The same as a strategy that is called at each candle; RSI comes from the engine's own batch function."""

    def __init__(self, rules: dict[str, Any]) -> None:
        super().__init__()
        self.rules = rules

    def on_start(self, ctx: Any) -> None:
        self.rsi = raptorbt.rsi(ctx.close, self.rules["period"]).tolist()

    def on_bar(self, ctx: Any) -> None:
        at = ctx.idx
        now = self.rsi[at]
        if now > self.rules["high"]:
            if ctx.position is not None:
                self.close_position()
        elif now < self.rules["low"] <= self.rsi[at - 1] and ctx.position is None:
            self.enter(size_frac=self.rules["share"])


def strategy(own: dict[str, Any], rules: dict[str, Any]) -> Outcome:
    config = config_of(rules, rules["stop"], rules["target"])
    return _outcome(raptorbt.run_strategy_backtest(Rules(rules), *own["bars"], config=config))


def sweep(own: dict[str, Any], rules: dict[str, Any], combinations: list[list[float]]) -> tuple[list[int], list[float]]:
    """Its own way for many combinations: one batch, as many threads as RAYON_NUM_THREADS allows."""
    rsi: dict[float, Any] = {}
    signals: dict[tuple[float, ...], tuple[Any, Any]] = {}
    items = []
    for period, low, high, stop, target in combinations:
        if period not in rsi:
            rsi[period] = raptorbt.rsi(own["close"], int(period))
        if (period, low, high) not in signals:
            signals[period, low, high] = crossings(rsi[period], low), rsi[period] > high
        config = config_of(rules, stop, target)
        items.append(
            raptorbt.BatchSingleItem("", *signals[period, low, high], config=config, position_sizes=own["sizes"])
        )
    results = [result for _, result in raptorbt.batch_single_backtest(*own["bars"], items)]
    trades = [result.metrics.total_trades for result in results]
    return trades, [rules["cash"] * (1 + result.metrics.total_return_pct / 100) for result in results]


def _outcome(result: Any) -> Outcome:
    trades = result.trades()
    entries = [trade.entry_idx for trade in trades if trade.exit_reason != "EndOfData"]
    return Outcome(entries, len(trades) - len(entries), result.equity_curve()[-1])


if __name__ == "__main__":
    serve(Peer(("raptorbt", "numpy"), prepare, single=single, strategy=strategy, sweep=sweep))
