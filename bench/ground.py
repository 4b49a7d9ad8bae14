"""The peers' own ground: the candles and the rules on which every program runs.

Candles are real, from the shared data. A year of minutes is not there, so a month of them is laid end to end: forwards,
then backwards in time with open and close exchanged, then forwards again, and so on, cut to 365 days. Each part begins
at the price where the one before ended, every price is one that was traded, and nothing is drawn by chance.

Each program gets the same columns, as plain NumPy files; ours reads the same candles also as Parquet, for the command.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environments import CACHE, ROOT

RULES = {
    "period": 14,
    "low": 30,
    "high": 70,
    "stop": 0.035,
    "target": 0.07,
    "fee": 0.001,
    "share": 0.2,
    "cash": 1_000_000.0,
}
RULES_IN_WORDS = "RSI(14): buy 20 % of equity on crossing below 30, sell above 70; stop 3.5 %, target 7 %, fee 0.1 %"

# RSI period × thresholds × stop; the target is twice the stop, as above.
COMBINATIONS = [
    (period, low, 100 - low, stop_pct / 100, 2 * stop_pct / 100)
    for period in range(5, 25, 2)
    for low in range(20, 40, 2)
    for stop_pct in range(1, 11)
]

MINUTES = "open/klines/um_1m/BTCUSDT.parquet"
HOURS = "measure/klines/spot_1h/BTCUSDT.parquet"
MINUTE_MS = 60_000
YEAR_MINUTES = 365 * 24 * 60
YEAR_HOURS = 365 * 24
RECIPE = "1"  # changes when the recipe does, so that old files are not taken for new ones

FIELDS = ("open_time", "open", "high", "low", "close", "volume")
Columns = dict[str, Any]


@dataclass(frozen=True)
class Ground:
    """Candles in a folder, one NumPy file a column, and the same as one Parquet file of a symbol."""

    name: str
    folder: Path
    candles: int
    sha256: str  # of the columns' bytes, in the order of FIELDS

    @property
    def parquet(self) -> Path:
        return self.folder / "BTCUSDT.parquet"

    def __str__(self) -> str:
        return f"{self.candles:,} candles, {self.name}, data {self.sha256[:12]}"


class NoData(Exception):
    """Market data that is not there: which file, and how to say where it is."""


def month_of_minutes() -> Ground:
    return _laid("BTCUSDT 1m, 30 days", MINUTES, lambda columns: columns)


def year_of_minutes() -> Ground:
    return _laid(
        "BTCUSDT 1m, the 30 days to and fro for 365", MINUTES, lambda columns: to_and_fro(columns, YEAR_MINUTES)
    )


def year_of_hours() -> Ground:
    def last_year(columns: Columns) -> Columns:
        return {field: columns[field][-YEAR_HOURS:] for field in FIELDS}

    return _laid("BTCUSDT 1h, last 8,760", HOURS, last_year)


def to_and_fro(columns: Columns, count: int) -> Columns:
    """The candles laid end to end to `count` minutes, each second time backwards; times go on by the minute."""
    forwards = {field: columns[field] for field in FIELDS}
    backwards = {field: columns[field][::-1] for field in FIELDS}
    backwards["open"], backwards["close"] = backwards["close"], backwards["open"]
    parts = -(-count // len(columns["close"]))
    laid = [backwards if part % 2 else forwards for part in range(parts)]
    joined = {field: np.concatenate([part[field] for part in laid])[:count] for field in FIELDS}
    joined["open_time"] = columns["open_time"][0] + MINUTE_MS * np.arange(count, dtype=np.int64)
    return joined


def market_data(*paths: str) -> list[Path]:
    """Files of the shared market data. Raises NoData when one is missing."""
    folder = Path(os.environ.get("SUREFOOT_DATA", ROOT / "../shared/data"))
    files = [folder / path for path in paths]
    for file, path in zip(files, paths, strict=True):
        if not file.is_file():
            raise NoData(f"needs market data {path}: set SUREFOOT_DATA to the folder that has it")
    return files


def _laid(name: str, path: str, make: Any) -> Ground:
    import polars as pl

    (file,) = market_data(path)
    key = hashlib.sha256(RECIPE.encode() + name.encode() + file.read_bytes()).hexdigest()[:16]
    folder = CACHE / "candles" / key
    if not (folder / "BTCUSDT.parquet").is_file():
        frame = pl.read_parquet(file, columns=list(FIELDS))
        columns = make({field: frame[field].to_numpy() for field in FIELDS})
        folder.mkdir(parents=True, exist_ok=True)
        for field in FIELDS:
            np.save(folder / f"{field}.npy", np.ascontiguousarray(columns[field]))
        pl.DataFrame({field: columns[field] for field in FIELDS}).write_parquet(folder / "BTCUSDT.parquet")
    columns = [np.load(folder / f"{field}.npy") for field in FIELDS]
    digest = hashlib.sha256()
    for column in columns:
        digest.update(column.tobytes())
    return Ground(name, folder, len(columns[0]), digest.hexdigest())


def first_combinations(count: int) -> Sequence[tuple[float, ...]]:
    """Every so-manieth combination, for a program that is too slow for all of them."""
    return COMBINATIONS[:: len(COMBINATIONS) // count][:count]
