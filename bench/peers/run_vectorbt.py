"""The bench's rules in vectorbt, by its public `Portfolio.from_signals` with the Rust engine.

RSI comes from TA-Lib: the same values as everybody's, and quicker than vectorbt's own.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import talib
import vectorbt as vbt
import vectorbt_rust.portfolio as engine
from protocol import Candles, Outcome, Peer, crossings, serve
from vectorbt.portfolio.enums import TradeStatus

vbt.settings["engine"] = "rust"  # raises where a call has no Rust form, instead of falling back to Numba

# The time inside the Rust engine alone is told as well: everything around it is Python, pandas and broadcasting.
_simulate = engine.simulate_from_signals_rs
_engine_s = [0.0]


def _timed(*args: Any, **kwargs: Any) -> Any:
    began = time.perf_counter()
    done = _simulate(*args, **kwargs)
    _engine_s[0] = time.perf_counter() - began
    return done


engine.simulate_from_signals_rs = _timed


def prepare(candles: Candles, rules: dict[str, Any]) -> dict[str, Any]:
    index = pd.to_datetime(candles["open_time"], unit="ms")
    return {"series": pd.Series(candles["close"], index=index), **candles}


def portfolio(own: dict[str, Any], rules: dict[str, Any], entries: Any, exits: Any, stop: Any, target: Any) -> Any:
    """Signals are of the candle before, so that a decision at the close is filled at the next open."""
    return vbt.Portfolio.from_signals(
        own["series"],
        entries,
        exits,
        size=rules["share"],
        size_type="percent",
        price=_like(own["open"], entries),
        open=_like(own["open"], entries),
        high=_like(own["high"], entries),
        low=_like(own["low"], entries),
        sl_stop=stop,
        tp_stop=target,
        stop_entry_price="fillprice",
        fees=rules["fee"],
        init_cash=rules["cash"],
        freq="1min",
    )


def single(own: dict[str, Any], rules: dict[str, Any]) -> Outcome:
    rsi = talib.RSI(own["close"], rules["period"])
    entries, exits = _later(crossings(rsi, rules["low"])), _later(rsi > rules["high"])
    held = portfolio(own, rules, entries, exits, rules["stop"], rules["target"])
    trades = held.trades.records
    closed = trades["status"].to_numpy() == TradeStatus.Closed
    entries = trades["entry_idx"].to_numpy()[closed]
    return Outcome(entries, len(trades) - len(entries), held.final_value(), _engine_s[0])


def sweep(own: dict[str, Any], rules: dict[str, Any], combinations: list[list[float]]) -> tuple[list[int], list[float]]:
    """Its own way for many combinations: one column each."""
    shape = (len(own["close"]), len(combinations))
    entries, exits = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    rsi: dict[float, Any] = {}
    for column, (period, low, high, _, _) in enumerate(combinations):
        if period not in rsi:
            rsi[period] = talib.RSI(own["close"], int(period))
        entries[:, column] = _later(crossings(rsi[period], low))
        exits[:, column] = _later(rsi[period] > high)
    stops, targets = (np.array([[each[at] for each in combinations]]) for at in (3, 4))
    held = portfolio(own, rules, entries, exits, stops, targets)
    return list(held.trades.count()), list(held.final_value())


def _later(signal: Any) -> Any:
    moved = np.zeros(len(signal), dtype=bool)
    moved[1:] = signal[:-1]
    return moved


def _like(prices: Any, signals: Any) -> Any:
    """A column that broadcasts over the combinations without being copied for each."""
    return prices if signals.ndim == 1 else prices[:, None]


if __name__ == "__main__":
    serve(Peer(("vectorbt", "vectorbt-rust", "numpy", "pandas", "ta-lib"), prepare, single=single, sweep=sweep))
