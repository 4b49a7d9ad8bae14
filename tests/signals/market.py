"""Candles for the tests of signals: seeded random ones, and real ones from the folder that SUREFOOT_DATA names."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.signals.window import Columns, FloatArray

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC


def shared(name: str) -> Path:
    """A file of the shared market data; skips the test where it is not there."""
    place = Path(os.environ.get("SUREFOOT_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not place.exists():
        pytest.skip(f"market data is not here: {place} (set SUREFOOT_DATA)")
    return place


def candle(number: int, close: str | Decimal = "100", interval: str = "15m", symbol: str = "BTCUSDT") -> Candle:
    """The `number`-th candle since the start of 2024; flat at its close."""
    price, length_ms = Decimal(close), INTERVAL_MS[interval]
    open_ms = START_MS + number * length_ms
    return Candle(symbol, interval, open_ms, open_ms + length_ms - 1, price, price, price, price, Decimal(1))


def candles(closes: Sequence[float | str], interval: str = "15m") -> list[Candle]:
    return [candle(number, str(close), interval) for number, close in enumerate(closes)]


def random_candles(seed: int, count: int, missing: float = 0.0, still: float = 0.0, tick: str = "0.01") -> list[Candle]:
    """A random walk on the tick grid; shares of candles are missing (a halt), or repeat the close before."""
    chance = np.random.default_rng(seed)
    price, made = Decimal("1000") * Decimal(tick) * 100, []
    for number in range(count):
        if chance.random() >= still:
            price = max(price + int(chance.integers(-200, 201)) * Decimal(tick), Decimal(tick))
        if chance.random() < missing:
            continue
        spread, base = int(chance.integers(0, 50)) * Decimal(tick), candle(number, price)
        made.append(
            Candle(
                "BTCUSDT", "15m", base.open_ms, base.close_ms, price, price + spread, price, price, Decimal(number % 7)
            )
        )
    return made


def columns_of(given: Sequence[Candle]) -> Columns:
    values = ([float(getattr(one, name)) for one in given] for name in ("open", "high", "low", "close", "volume"))
    return Columns(np.array([one.open_ms for one in given], dtype=np.int64), *map(np.array, values))


def real_candles(name: str, count: int, symbol: str = "BTCUSDT", interval: str = "15m") -> list[Candle]:
    """The first `count` candles of a Parquet file."""
    frame = pl.read_parquet(shared(name)).head(count)
    last_ms = INTERVAL_MS[interval] - 1
    rows = frame.select("open_time", "open", "high", "low", "close", "volume").iter_rows()
    return [Candle(symbol, interval, at, at + last_ms, *(Decimal(repr(value)) for value in row)) for at, *row in rows]


def csv_column(place: Path, name: str) -> FloatArray:
    """A column of a CSV as floats; NaN for an empty cell."""
    with place.open(encoding="utf-8") as file:
        return np.array([float(row[name]) if row[name] else np.nan for row in csv.DictReader(file)])
