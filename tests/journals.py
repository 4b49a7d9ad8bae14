"""Journals for tests of what reads them: two simulated days of trading, and messages as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simex.market import GeneratedMarket
from surefoot.config import Settings
from surefoot.core.messages import Command, Event
from surefoot.research.backtest import run_backtest
from surefoot.store.journal import Journal

START_MS = 1_790_000_100_000 // 3_600_000 * 3_600_000
OFTEN = {
    "rsi.oversold": "45",
    "rsi.overbought": "55",
    "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.5",
}


def kept(path: Path, messages: Iterable[Event | Command]) -> Path:
    """A journal with these messages."""
    with Journal.open(path) as journal:
        journal.append(*messages)
    return path


def two_days(folder: Path, settings: Settings, name: str = "journal.sqlite") -> tuple[Path, dict[str, Any]]:
    """The journal and the result of two simulated days: fees of purchases in the base, those of sales in the quote."""
    market = GeneratedMarket(15, ["BTCUSDT", "ETHUSDT"], START_MS, history_days=2)
    for symbol, candles in market.history.items():
        rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume},{c.end_ms - 1},0,0,0,0,0" for c in candles)
        (folder / f"{symbol}-1m.csv").write_text("\n".join(rows) + "\n")
    files = [str(folder / f"{symbol}-1m.csv") for symbol in market.history]
    with Journal.open(folder / name) as journal:
        result = run_backtest(settings, files, sink=journal.append)
    return folder / name, result
