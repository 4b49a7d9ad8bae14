"""How a run did, from its equity curve and its round trips: the one implementation, used everywhere.

A figure that is not defined (no trade, no loss, a day too few) is None, never 0. Floats: these are descriptions, no
order is made of them. Percentages are of 100: 2.5 means 2.5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean, stdev

from surefoot.core.model import MS_PER_DAY, RoundTrip

DAYS_PER_YEAR = 365
# Equal daily returns still differ in their last digit, some 1e-16; a ratio to that is no figure.
DEVIATION_MIN = 1e-14
SHARPE_BASIS = f"daily returns, days end at midnight UTC, {DAYS_PER_YEAR} days a year, risk-free rate 0"

EquityCurve = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a peak, and how long it lasted: from the peak to its recovery, or to the end."""

    depth_pct: float
    length_ms: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """None stands for "not defined". Money is in the quote asset, after fees."""

    from_ms: int | None
    to_ms: int | None
    return_pct: float | None
    max_drawdown_pct: float | None
    max_drawdown_ms: int | None
    sharpe: float | None
    sharpe_basis: str
    round_trips: int
    win_rate_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    fees: float | None

    def as_dict(self) -> dict[str, float | int | str | None]:
        return asdict(self)


def measure(curve: EquityCurve, round_trips: Sequence[RoundTrip], fees: float | None = None) -> Metrics:
    """All figures of a run. `curve` is (at_ms, equity), ascending in time; `fees` in quote where they are known.

    A curve out of order or with an equity that is not finite is a ValueError.
    """
    _check(curve)
    fall = max_drawdown(curve)
    results = [float(trip.pnl) for trip in round_trips]
    wins = [result for result in results if result > 0]
    losses = [-result for result in results if result < 0]
    return Metrics(
        from_ms=curve[0][0] if curve else None,
        to_ms=curve[-1][0] if curve else None,
        return_pct=return_pct(curve),
        max_drawdown_pct=fall.depth_pct if fall else None,
        max_drawdown_ms=fall.length_ms if fall else None,
        sharpe=sharpe(curve),
        sharpe_basis=SHARPE_BASIS,
        round_trips=len(results),
        win_rate_pct=100 * len(wins) / len(results) if results else None,
        profit_factor=math.fsum(wins) / math.fsum(losses) if losses else None,
        expectancy=fmean(results) if results else None,
        average_win=fmean(wins) if wins else None,
        average_loss=-fmean(losses) if losses else None,
        fees=fees,
    )


def return_pct(curve: EquityCurve) -> float | None:
    """From the first to the last equity; None without two points or without money at the start."""
    if len(curve) < 2 or curve[0][1] <= 0:
        return None
    return 100 * (curve[-1][1] / curve[0][1] - 1)


def max_drawdown(curve: EquityCurve) -> Drawdown | None:
    """The deepest fall; the earlier of two that are equal. A curve that never fell has depth 0 and length 0."""
    if len(curve) < 2 or curve[0][1] <= 0:
        return None
    (peak_ms, peak), depth, bottom_peak = curve[0], 0.0, curve[0]
    for at_ms, equity in curve:
        if equity >= peak:
            peak_ms, peak = at_ms, equity
        elif 1 - equity / peak > depth:
            depth, bottom_peak = 1 - equity / peak, (peak_ms, peak)
    return Drawdown(100 * depth, _recovered_ms(curve, bottom_peak) - bottom_peak[0] if depth else 0)


def drawdown_curve(curve: EquityCurve) -> list[tuple[int, float]]:
    """(at_ms, percent below the highest equity so far), 0 or negative."""
    falls, peak = [], -math.inf
    for at_ms, equity in curve:
        peak = max(peak, equity)
        falls.append((at_ms, 100 * (equity / peak - 1) if peak > 0 else 0.0))
    return falls


def sharpe(curve: EquityCurve) -> float | None:
    """Annualised by `SHARPE_BASIS`, with the sample deviation; None under two days, or where no day differs.

    The first and the last day count as days even where the curve covers only a part of them.
    """
    marks = _daily_marks(curve)
    if len(marks) < 3 or min(marks[:-1]) <= 0:
        return None
    returns = [after / before - 1 for before, after in pairwise(marks)]
    deviation = stdev(returns)
    if deviation < DEVIATION_MIN:
        return None
    return fmean(returns) / deviation * math.sqrt(DAYS_PER_YEAR)


def _daily_marks(curve: EquityCurve) -> list[float]:
    """The first equity, then that at each day's end; a day without a point keeps the equity of the day before."""
    if not curve:
        return []
    # A mark at midnight sharp is the end of the day before it.
    ends = {(at_ms - 1) // MS_PER_DAY: equity for at_ms, equity in curve}
    marks = [curve[0][1]]
    for day in range(curve[0][0] // MS_PER_DAY, (curve[-1][0] - 1) // MS_PER_DAY + 1):
        marks.append(ends.get(day, marks[-1]))
    return marks


def _recovered_ms(curve: EquityCurve, peak: tuple[int, float]) -> int:
    peak_ms, height = peak
    return next((at_ms for at_ms, equity in curve if at_ms > peak_ms and equity >= height), curve[-1][0])


def _check(curve: EquityCurve) -> None:
    for at_ms, equity in curve:
        if not math.isfinite(equity):
            raise ValueError(f"the equity at {at_ms} is not finite")
    for (at_ms, _), (next_ms, _) in pairwise(curve):
        if next_ms < at_ms:
            raise ValueError(f"the equity curve goes back from {at_ms} to {next_ms}")
