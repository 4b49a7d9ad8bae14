"""Evaluators for the tests of searching: real candles in, a moving average for a strategy, some microseconds a run.

They are made by name in worker processes, as the engines are. `Toy` plays fair; each of the others does one thing that
a search must find out. SUREFOOT_TOY_PAUSE_S makes a run last; SUREFOOT_TOY_NOTES names a folder for the workers' pids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simex.market import GeneratedMarket
from surefoot.config import Settings, changed
from surefoot.core.model import INTERVAL_MS
from surefoot.research.data import CandleFile
from surefoot.research.evaluation import Ledger, Outcome, Period, cut
from surefoot.research.metrics import Curve, Floats, Times

START_MS = 1_790_000_100_000 // 86_400_000 * 86_400_000
HOUR_MS = INTERVAL_MS["1h"]

TOY = "tests.research.toys:Toy"
EXACT = "tests.research.toys:Exact"
FALTERING = "tests.research.toys:Faltering"
PEEKING = "tests.research.toys:Peeking"
LYING = "tests.research.toys:Lying"
FLAGGING = "tests.research.toys:Flagging"
FALLING = "tests.research.toys:Falling"
TIMELESS = "tests.research.toys:Timeless"


def walk_csv(folder: Path, symbol: str, days: int, seed: int) -> str:
    """Hourly candles of a random walk, as Binance's CSV; the name of the file."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 24 * days)))
    opens = np.concatenate(([100.0], closes[:-1]))
    rows = []
    for at, (first, last) in enumerate(zip(opens.round(2).tolist(), closes.round(2).tolist(), strict=True)):
        open_ms = START_MS + at * HOUR_MS
        rows.append(
            f"{open_ms},{first},{max(first, last)},{min(first, last)},{last},1000,{open_ms + HOUR_MS - 1},0,0,0,0,0"
        )
    path = folder / f"{symbol}-1h.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def quarters_csv(folder: Path, symbol: str, days: int) -> str:
    """15m candles of the generated market, which the exact engine can trade."""
    minutes = GeneratedMarket(15, [symbol], START_MS, history_days=days).history[symbol]
    rows = []
    for at in range(0, len(minutes), 15):
        part = minutes[at : at + 15]
        high, low = max(candle.high for candle in part), min(candle.low for candle in part)
        volume = sum(candle.volume for candle in part)
        first, last = part[0], part[-1]
        rows.append(f"{first.open_ms},{first.open},{high},{low},{last.close},{volume},{last.end_ms - 1},0,0,0,0,0")
    path = folder / f"{symbol}-15m.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


class Toy:
    """Long while the close is below its average of rsi.period candles; the stop's percentage sets its share."""

    def __init__(self, settings: Settings, files: Sequence[CandleFile]) -> None:
        self.settings = settings
        self.files = files
        if folder := os.environ.get("SUREFOOT_TOY_NOTES"):
            Path(folder, str(os.getpid())).touch()

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        time.sleep(float(os.environ.get("SUREFOOT_TOY_PAUSE_S", "0")))
        return self.traded(values, cut(self.files, period)[0])

    def traded(self, values: Mapping[str, str], file: CandleFile) -> Outcome:
        settings = changed(self.settings, values)
        closes = file.columns.close
        share = float(settings.exits.stop_pct_of_price) / 10
        held = np.concatenate(([False], self.wanted(closes, settings.rsi.period)[:-1]))
        growth = 1 + share * held * np.diff(closes, prepend=closes[0]) / np.concatenate((closes[:1], closes[:-1]))
        # Each change of mind costs a tenth of a percent.
        growth *= 1 - 0.001 * share * np.abs(np.diff(held, prepend=False).astype(float))
        equity = np.cumprod(growth, dtype=np.float64) * 10_000.0
        ends_ms = file.columns.open_ms + HOUR_MS
        return Outcome(
            Curve(np.concatenate((file.columns.open_ms[:1], ends_ms)), np.concatenate(([10_000.0], equity))),
            ledger_of(file.symbol, held, file.columns.open_ms, closes, equity),
        )

    def wanted(self, closes: Floats, period: int) -> npt.NDArray[np.bool_]:
        sums = np.cumsum(np.concatenate(([0.0], closes)))
        average = np.full(len(closes), -np.inf)
        average[period - 1 :] = (sums[period:] - sums[:-period]) / period
        return closes < average


def ledger_of(symbol: str, held: npt.NDArray[np.bool_], open_ms: Times, closes: Floats, equity: Floats) -> Ledger:
    """A round trip for each stretch in which something was held; one that is not over at the end is none."""
    edges = np.diff(held.astype(int), prepend=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    starts = starts[: len(ends)]
    return Ledger(
        symbol=(symbol,) * len(ends),
        entry_ms=open_ms[starts],
        exit_ms=open_ms[ends],
        entry_price=closes[starts - 1],
        exit_price=closes[ends - 1],
        quantity=np.ones(len(ends)),
        pnl=equity[ends] - equity[starts - 1],
        reason=("average",) * len(ends),
    )


class Exact(Toy):
    """Stands for the exact engine; it tells the same."""


class Faltering(Exact):
    """Stands for the exact engine and fails at its third run in this process; before and afterwards it works."""

    runs = 0

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        Faltering.runs += 1
        if Faltering.runs == 3:
            raise ArithmeticError("the third run fails")
        return super().run(values, period)


class Peeking(Toy):
    """Knows where the price will be after the period, and is long only if that is higher: a planted look-ahead."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        later = self.files[0].columns.close[-1]
        (seen,) = cut(self.files, period)
        honest = self.traded(values, seen)
        if later <= seen.columns.close[-1]:
            return honest
        return Outcome(
            Curve(honest.curve.at_ms, honest.curve.equity * np.linspace(1, 1.5, len(honest.curve))), honest.trips
        )


class Lying(Toy):
    """Sells everything an hour later than it says."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        told = super().run(values, period)
        trips = told.trips
        late = Ledger(
            trips.symbol, trips.entry_ms, trips.exit_ms + HOUR_MS, trips.entry_price, trips.exit_price, trips.quantity,
            trips.pnl, trips.reason,
        )  # fmt: skip
        return Outcome(told.curve, late)


class Flagging(Lying):
    """The same, but it says that it may be wrong."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        return replace(super().run(values, period), flagged=3)


class Falling(Toy):
    """Fails in the middle of its work."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        raise ArithmeticError(f"no figure for {values['rsi.period']}")


class Timeless(Toy):
    """Tells of candles that it was not given."""

    def run(self, values: Mapping[str, str], period: Period) -> Outcome:
        return self.traded(values, self.files[0])
