"""Indicators against the tables that others published, and wrong variants that must not agree with them.

The difference is |ours - theirs| / max(|theirs|, 1): values below 1 are compared as they are. Where TA-Lib begins an
average elsewhere than the table does, the first values are left out, and the table says how many.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from surefoot.signals.indicators import adx, atr, bollinger, ema, macd, obv, rolling_mean, rsi, sma, stochastic
from surefoot.signals.kernels import supertrend
from surefoot.signals.window import FloatArray
from tests.signals.market import csv_column, shared

SKENDER, STOCKCHARTS, TALIB = "open/indicators/skender", "open/indicators/stockcharts", "open/indicators/talib"
QUOTES = f"{SKENDER}/quotes_default.csv"
EXACT, PRINTED = 1e-9, 5e-3


class Reference(NamedTuple):
    """One column of a published table, and our function for it. A wrong variant must differ by more than it allows."""

    indicator: str
    table: str
    ours: Callable[[], FloatArray]
    theirs: Callable[[], FloatArray]
    allowed: float = EXACT
    leave_out: int = 0

    def difference(self) -> tuple[int, float]:
        """How many values were compared, and the worst difference. Each of theirs must have one of ours."""
        ours, theirs = self.ours(), self.theirs()
        known = ~np.isnan(theirs)
        known[: self.leave_out] = False
        assert known.sum() > 10
        assert not np.isnan(ours[known]).any()
        apart = np.abs(ours[known] - theirs[known]) / np.maximum(np.abs(theirs[known]), 1.0)
        return int(known.sum()), float(apart.max())


def quotes(name: str) -> FloatArray:
    return csv_column(shared(QUOTES), name)


def range_columns() -> tuple[FloatArray, FloatArray, FloatArray]:
    return quotes("high"), quotes("low"), quotes("close")


def excel(file: str, name: str) -> Callable[[], FloatArray]:
    return lambda: csv_column(shared(f"{SKENDER}/excel_{file}.csv"), name)


def library(file: str, name: str) -> Callable[[], FloatArray]:
    def read() -> FloatArray:
        with gzip.open(shared(f"{SKENDER}/json/{file}.standard.json.gz"), "rt", encoding="utf-8") as place:
            rows = json.load(place)
        return np.array([np.nan if row.get(name) is None else row[name] for row in rows], dtype=np.float64)

    return read


def hours(name: str) -> FloatArray:
    column = pl.read_parquet(shared(f"{TALIB}/BTCUSDT_1h_2023Q1.parquet"))[name]
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def hour_ranges() -> tuple[FloatArray, FloatArray, FloatArray]:
    return hours("high"), hours("low"), hours("close")


def stockcharts_atr(column: str) -> FloatArray:
    return csv_column(shared(f"{STOCKCHARTS}/atr_14.csv"), column)


def stockcharts_ranges() -> FloatArray:
    """Their first true range is high less low; TA-Lib's needs a close before, so it gets one inside that range."""
    close = stockcharts_atr("close")
    highs, lows, closes = (np.concatenate((close[:1], stockcharts_atr(name))) for name in ("high", "low", "close"))
    return atr(highs, lows, closes, 14)[1:]


def upper(closes: FloatArray) -> FloatArray:
    bands = bollinger(closes, 20, 2.0)
    return bands.middle * (1 + bands.width / 2)


def references() -> Iterator[Reference]:
    """All of them; nothing is read before it is asked for."""
    yield Reference("SMA(20)", "skender json", lambda: sma(quotes("close"), 20), library("sma", "sma"))
    yield Reference(
        "rolling mean(20)", "skender json", lambda: rolling_mean(quotes("close"), 20), library("sma", "sma")
    )
    yield Reference("SMA(20)", "talib hours", lambda: sma(hours("close"), 20), lambda: hours("sma_20"))
    yield Reference("EMA(20)", "skender json", lambda: ema(quotes("close"), 20), library("ema", "ema"))
    yield Reference("EMA(20)", "talib hours", lambda: ema(hours("close"), 20), lambda: hours("ema_20"))
    yield Reference("RSI(14)", "skender excel", lambda: rsi(quotes("close"), 14), excel("rsi_14", "RSI(14)"))
    yield Reference("RSI(14)", "skender json", lambda: rsi(quotes("close"), 14), library("rsi", "rsi"))
    yield Reference(
        "RSI(14)",
        "stockcharts, 2 decimals printed",
        lambda: rsi(csv_column(shared(f"{STOCKCHARTS}/rsi_14.csv"), "close"), 14),
        lambda: csv_column(shared(f"{STOCKCHARTS}/rsi_14.csv"), "rsi_published"),
        PRINTED,
    )
    yield Reference("RSI(14)", "talib hours", lambda: rsi(hours("close"), 14), lambda: hours("rsi_14"))
    for name, at in (("MACD", 0), ("Signal", 1), ("Histo", 2)):
        yield Reference(
            f"MACD(12, 26, 9) {name}",
            "skender excel",
            lambda at=at: macd(quotes("close"), 12, 26, 9)[at],  # type: ignore[misc]
            excel("macd_12_26_9", name),
            leave_out=200,
        )
    for name, at in (("macd", 0), ("macd_signal", 1), ("macd_hist", 2)):
        yield Reference(
            f"MACD(12, 26, 9) {name}",
            "talib hours",
            lambda at=at: macd(hours("close"), 12, 26, 9)[at],  # type: ignore[misc]
            lambda name=name: hours(name),  # type: ignore[misc]
        )
    bands = (("middle", "sma"), ("position", "%b"), ("width", "width"))
    for at, (name, column) in enumerate(bands):
        yield Reference(
            f"Bollinger(20, 2) {name}",
            "skender excel",
            lambda at=at: bollinger(quotes("close"), 20, 2.0)[at],  # type: ignore[misc]
            excel("bbands_20_2", column),
        )
    yield Reference(
        "Bollinger(20, 2) upper", "skender excel", lambda: upper(quotes("close")), excel("bbands_20_2", "upper")
    )
    yield Reference("Bollinger(20, 2) upper", "talib hours", lambda: upper(hours("close")), lambda: hours("bb_upper"))
    yield Reference("ATR(14)", "skender excel", lambda: atr(*range_columns(), 14), excel("atr_14", "ATR"))
    yield Reference("ATR(14)", "skender json", lambda: atr(*range_columns(), 14), library("atr", "atr"))
    yield Reference("ATR(14)", "stockcharts", stockcharts_ranges, lambda: stockcharts_atr("atr"))
    yield Reference("ATR(14)", "talib hours", lambda: atr(*hour_ranges(), 14), lambda: hours("atr_14"))
    for name, at in (("%K", 0), ("%D", 1)):
        yield Reference(
            f"Stochastic(14, 3, 3) {name}",
            "skender excel",
            lambda at=at: stochastic(*range_columns(), 14, 3)[at],  # type: ignore[misc]
            excel("stoch_14_3_3", name),
            leave_out=17,  # TA-Lib tells no %K before the first %D
        )
        yield Reference(
            f"Stochastic(14, 3, 3) {name}",
            "talib hours",
            lambda at=at: stochastic(*hour_ranges(), 14, 3)[at],  # type: ignore[misc]
            lambda name=name: hours("stoch_" + name[1].lower()),  # type: ignore[misc]
        )
    yield Reference(
        "ADX(14)", "skender excel", lambda: adx(*range_columns(), 14), excel("adx_14", "ADX"), 1e-8, leave_out=300
    )
    yield Reference("ADX(14)", "talib hours", lambda: adx(*hour_ranges(), 14), lambda: hours("adx_14"))
    yield Reference(
        "OBV",
        "skender excel, which begins at 0",
        lambda: obv(quotes("close"), quotes("volume")) - quotes("volume")[0],
        excel("obv", "obv"),
    )
    yield Reference("OBV", "talib hours", lambda: obv(hours("close"), hours("volume")), lambda: hours("obv"))
    yield Reference(
        "SuperTrend(14, 3)",
        "skender excel",
        lambda: supertrend(*range_columns(), 14, 3.0).line,
        excel("supertrend_14_3", "SuperTrend"),
    )
    yield Reference(
        "SuperTrend(10, 3)",
        "skender json",
        lambda: supertrend(*range_columns(), 10, 3.0).line,
        library("supertrend", "superTrend"),
    )


def controls() -> Iterator[Reference]:
    """Wrong variants that are in use somewhere; each must differ by more than a right one may."""
    yield Reference("RSI(14) of averages that begin at 0", "skender excel", zero_seeded_rsi, excel("rsi_14", "RSI(14)"))
    yield Reference(
        "RSI(14), the column of another library",
        "stockcharts, 2 decimals printed",
        lambda: csv_column(shared(f"{STOCKCHARTS}/rsi_14.csv"), "rsi_unseeded_ewm_of_ta"),
        lambda: csv_column(shared(f"{STOCKCHARTS}/rsi_14.csv"), "rsi_published"),
        PRINTED,
    )
    yield Reference(
        "Bollinger(20, 2) width of the sample deviation",
        "skender excel",
        lambda: bollinger(quotes("close"), 20, 2.0 * (20 / 19) ** 0.5).width,
        excel("bbands_20_2", "width"),
    )
    yield Reference(
        "ATR(14) smoothed as an EMA of 14",
        "skender excel",
        lambda: ema(np.nan_to_num(csv_column(shared(f"{SKENDER}/excel_atr_14.csv"), "TR")), 14),
        excel("atr_14", "ATR"),
    )
    yield Reference(
        "SuperTrend(14, 3) with 2.9 ranges",
        "skender excel",
        lambda: supertrend(*range_columns(), 14, 2.9).line,
        excel("supertrend_14_3", "SuperTrend"),
    )


def zero_seeded_rsi() -> FloatArray:
    """Its averages start at zero instead of at a mean."""
    gain = loss = 0.0
    values = [np.nan]
    for change in np.diff(quotes("close")):
        gain += (max(change, 0) - gain) / 14
        loss += (max(-change, 0) - loss) / 14
        values.append(100 * gain / (gain + loss) if gain + loss else np.nan)
    return np.array(values)
