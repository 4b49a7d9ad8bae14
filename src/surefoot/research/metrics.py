"""How a run did, from its equity curve and its round trips: the one implementation, used everywhere.

A figure that is not defined (no trade, no loss, a day too few) is None, never 0. Floats: these are descriptions, no
order is made of them. Percentages are of 100: 2.5 means 2.5 %. Money is in the quote asset, after fees.

What describes returns by their spread (volatility, Sharpe, Sortino) rests on daily returns, as `SHARPE_BASIS` says;
what compares two moments (return, growth a year, drawdown) on the curve itself, point by point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import fmean
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from surefoot.core.model import MS_PER_DAY
from surefoot.research.figures import Metrics

DAYS_PER_YEAR = 365
MS_PER_YEAR = DAYS_PER_YEAR * MS_PER_DAY
# Equal daily returns still differ in their last digit, some 1e-16; a ratio to that is no figure.
DEVIATION_MIN = 1e-14
SHARPE_BASIS = f"daily returns, days end at midnight UTC, {DAYS_PER_YEAR} days a year, risk-free rate 0"
# Tharp's scale of quality numbers is made for samples of at most so many round trips.
SQN_ROUND_TRIPS_MAX = 100

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


class Trip(Protocol):
    """What is read of a round trip. Where it also has `mfe_pct` and `mae_pct`, those are read, too."""

    @property
    def entry_ms(self) -> int: ...

    @property
    def exit_ms(self) -> int: ...

    @property
    def pnl(self) -> Decimal | float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Equity by time as columns, ascending in time. A loop over arrays has them already."""

    at_ms: Times
    equity: Floats

    def __len__(self) -> int:
        return len(self.at_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Trips:
    """Round trips as columns, in any order. The excursions are percent of the entry price, where they are known."""

    entry_ms: Times
    exit_ms: Times
    pnl: Floats
    mfe_pct: Floats | None = None
    mae_pct: Floats | None = None

    def __len__(self) -> int:
        return len(self.pnl)


class _Checked(Curve):
    """One that `curve_of` has looked through: what asks for several figures of a curve has it checked once."""

    __slots__ = ()


EquityCurve = Sequence[tuple[int, float]] | Curve


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a peak, and how long it lasted: from the peak to its recovery, or to the end."""

    depth_pct: float
    length_ms: int


def measure(
    curve: EquityCurve,
    round_trips: Sequence[Trip] | Trips,
    fees: float | None = None,
    *,
    slippage: float | None = None,
    funding: float | None = None,
    open_since_ms: Iterable[int] = (),
) -> Metrics:
    """All figures of a run.

    `curve` is (at_ms, equity) or a `Curve`, ascending in time. `fees`, `slippage` and `funding` are sums in quote,
    where they are known. `open_since_ms` are the starts of positions that are still open at the end: they count as
    exposure. A curve out of order or with an equity that is not finite is a ValueError.
    """
    points = curve_of(curve)
    trips = trips_of(round_trips)
    returns = daily_returns(points)
    deviation = _deviation(returns)
    fall, growth = max_drawdown(points), cagr_pct(points)
    wins, losses = trips.pnl[trips.pnl > 0].tolist(), trips.pnl[trips.pnl < 0].tolist()
    spans = (trips.exit_ms - trips.entry_ms).tolist()
    streaks = longest_streaks(trips)
    return Metrics(
        from_ms=int(points.at_ms[0]) if len(points) else None,
        to_ms=int(points.at_ms[-1]) if len(points) else None,
        return_pct=return_pct(points),
        cagr_pct=growth,
        volatility_pct=_volatility(deviation),
        max_drawdown_pct=fall.depth_pct if fall else None,
        max_drawdown_ms=fall.length_ms if fall else None,
        sharpe=_sharpe(returns, deviation),
        sortino=_sortino(returns),
        calmar=_calmar(growth, fall),
        sharpe_basis=SHARPE_BASIS,
        exposure_pct=exposure_pct(points, trips, open_since_ms),
        round_trips=len(trips),
        win_rate_pct=100 * len(wins) / len(trips) if len(trips) else None,
        profit_factor=-math.fsum(wins) / math.fsum(losses) if losses else None,
        payoff_ratio=-fmean(wins) / fmean(losses) if wins and losses else None,
        expectancy=_mean(trips.pnl),
        sqn=sqn(trips.pnl),
        average_win=fmean(wins) if wins else None,
        average_loss=fmean(losses) if losses else None,
        largest_win=max(wins, default=None),
        largest_loss=min(losses, default=None),
        longest_wins=streaks[0] if streaks else None,
        longest_losses=streaks[1] if streaks else None,
        duration_mean_ms=fmean(spans) if spans else None,
        duration_median_ms=float(np.median(spans)) if spans else None,
        mfe_pct=_mean(trips.mfe_pct),
        mae_pct=_mean(trips.mae_pct),
        fees=fees,
        slippage=slippage,
        funding=funding,
    )


# -- from the equity curve --------------------------------------------------------------------------------------------


def return_pct(curve: EquityCurve) -> float | None:
    """From the first to the last equity; None without two points or without money at the start."""
    equity = curve_of(curve).equity
    if len(equity) < 2 or equity[0] <= 0:
        return None
    return float(100 * (equity[-1] / equity[0] - 1))


def cagr_pct(curve: EquityCurve) -> float | None:
    """Compound growth a year of 365 days: (last / first) ** (year / elapsed) - 1.

    None under a day, which says nothing of a year, after a loss of more than everything, and beyond what a float holds.
    """
    points = curve_of(curve)
    if len(points) < 2 or points.equity[0] <= 0 or points.equity[-1] < 0:
        return None
    elapsed_ms = int(points.at_ms[-1] - points.at_ms[0])
    if elapsed_ms < MS_PER_DAY:
        return None
    try:
        return float(100 * (float(points.equity[-1] / points.equity[0]) ** (MS_PER_YEAR / elapsed_ms) - 1))
    except OverflowError:
        return None


def volatility_pct(curve: EquityCurve) -> float | None:
    """Sample deviation of the daily returns (divisor n - 1), times the root of the days a year; None under two days."""
    return _volatility(_deviation(daily_returns(curve)))


def _volatility(deviation: float | None) -> float | None:
    return None if deviation is None else 100 * deviation * math.sqrt(DAYS_PER_YEAR)


def _deviation(returns: Sequence[float] | None) -> float | None:
    """The sample deviation (n - 1); sums are exact, so that only the roundings of their terms are left."""
    if returns is None or len(returns) < 2:
        return None
    mean = fmean(returns)
    return math.sqrt(math.fsum([(change - mean) ** 2 for change in returns]) / (len(returns) - 1))


def sharpe(curve: EquityCurve) -> float | None:
    """Mean daily return over its sample deviation (n - 1), annualised by the root of the days a year; risk-free rate 0.

    None under two days, or where no day differs. The first and the last day count as days even where the curve covers
    only a part of them. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994).
    """
    returns = daily_returns(curve)
    return _sharpe(returns, _deviation(returns))


def _sharpe(returns: Sequence[float] | None, deviation: float | None) -> float | None:
    if returns is None or deviation is None or deviation < DEVIATION_MIN:
        return None
    return fmean(returns) / deviation * math.sqrt(DAYS_PER_YEAR)


def sortino(curve: EquityCurve) -> float | None:
    """Mean daily return over its target semideviation, annualised by the root of the days a year; the target is 0.

    The semideviation is the root of the sum of squared negative returns over the number n of *all* returns, not of the
    negative ones only: Sortino and Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing
    3 (1994). None under two days, or where no day lost.
    """
    return _sortino(daily_returns(curve))


def _sortino(returns: Sequence[float] | None) -> float | None:
    if returns is None or len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum(change * change for change in returns if change < 0) / len(returns))
    return fmean(returns) / downside * math.sqrt(DAYS_PER_YEAR) if downside >= DEVIATION_MIN else None


def calmar(curve: EquityCurve) -> float | None:
    """Growth a year over the deepest fall, both of the whole curve (Young, Futures, October 1991, took 36 months).

    None where the one has no value or the curve never fell.
    """
    points = curve_of(curve)
    return _calmar(cagr_pct(points), max_drawdown(points))


def _calmar(growth: float | None, fall: Drawdown | None) -> float | None:
    return growth / fall.depth_pct if growth is not None and fall is not None and fall.depth_pct > 0 else None


def max_drawdown(curve: EquityCurve) -> Drawdown | None:
    """The deepest fall; the earlier of two that are equal. A curve that never fell has depth 0 and length 0."""
    points = curve_of(curve)
    equity = points.equity
    if len(equity) < 2 or equity[0] <= 0:
        return None
    peaks = np.maximum.accumulate(equity)
    falls = 1 - equity / peaks
    bottom = int(np.argmax(falls))
    if falls[bottom] <= 0:
        return Drawdown(0.0, 0)
    # A peak that was touched more than once counts from its last touch before the bottom.
    peak = int(np.flatnonzero(equity[:bottom] == peaks[bottom])[-1])
    recovered = np.flatnonzero(equity[bottom:] >= peaks[bottom])
    end = bottom + int(recovered[0]) if len(recovered) else len(equity) - 1
    return Drawdown(float(100 * falls[bottom]), int(points.at_ms[end] - points.at_ms[peak]))


def drawdown_curve(curve: EquityCurve) -> list[tuple[int, float]]:
    """(at_ms, percent below the highest equity so far), 0 or negative; 0 while no equity was above zero."""
    points = curve_of(curve)
    peaks = np.maximum.accumulate(points.equity)
    falls = np.where(peaks > 0, 100 * (points.equity / np.where(peaks > 0, peaks, 1) - 1), 0.0)
    return list(zip(points.at_ms.tolist(), falls.tolist(), strict=True))


def daily_returns(curve: EquityCurve) -> list[float] | None:
    """The change of each day, the first one from the first equity on; None where a day begins without money.

    A day without a point keeps the equity of the day before; a mark at midnight sharp is the end of the day before it.
    """
    points = curve_of(curve)
    if not len(points):
        return []
    first_day, last_day = int(points.at_ms[0]) // MS_PER_DAY, int(points.at_ms[-1] - 1) // MS_PER_DAY
    midnights = np.arange(first_day + 1, last_day + 2, dtype=np.int64) * MS_PER_DAY
    marks = points.equity[np.searchsorted(points.at_ms, midnights, side="right") - 1]
    before = np.concatenate((points.equity[:1], marks[:-1]))
    if np.any(before <= 0):
        return None
    changes: list[float] = (marks / before[: len(marks)] - 1).tolist()
    return changes


def exposure_pct(
    curve: EquityCurve, round_trips: Sequence[Trip] | Trips, open_since_ms: Iterable[int] = ()
) -> float | None:
    """The share of the curve's time in which at least one position was held; several at once count once.

    None where the curve has no length.
    """
    points, trips = curve_of(curve), trips_of(round_trips)
    if len(points) < 2 or points.at_ms[-1] == points.at_ms[0]:
        return None
    from_ms, to_ms = points.at_ms[0], points.at_ms[-1]
    still_open = np.array(sorted(open_since_ms), dtype=np.int64)
    starts = np.concatenate((trips.entry_ms, still_open)).clip(from_ms, to_ms)
    ends = np.concatenate((trips.exit_ms, np.full(len(still_open), to_ms))).clip(from_ms, to_ms)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    # What of a position lies beyond the end of all that began before it is the time that it alone adds.
    covered = np.maximum.accumulate(np.concatenate(([from_ms], ends)))
    added = np.maximum(ends - np.maximum(starts, covered[:-1]), 0)
    return float(100 * added.sum() / (to_ms - from_ms))


# -- from the round trips ---------------------------------------------------------------------------------------------


def sqn(pnl: Floats) -> float | None:
    """System quality number: root of n, times the mean result over its sample deviation (n - 1).

    n counts at most 100: Tharp, "The Definitive Guide to Position Sizing" (2008), whose results are in R; ours are in
    quote, which is the same where each round trip risks the same. None under two, or where all are equal.
    """
    if len(pnl) < 2:
        return None
    deviation = float(np.std(pnl, ddof=1))
    if deviation < DEVIATION_MIN * max(1.0, float(np.abs(pnl).max())):
        return None
    return math.sqrt(min(len(pnl), SQN_ROUND_TRIPS_MAX)) * math.fsum(pnl.tolist()) / len(pnl) / deviation


def longest_streaks(round_trips: Sequence[Trip] | Trips) -> tuple[int, int] | None:
    """How many won, and how many lost, one after the other in the order of their ends; a result of 0 ends both.

    None without round trips.
    """
    trips = trips_of(round_trips)
    if not len(trips):
        return None
    results = trips.pnl[np.lexsort((trips.entry_ms, trips.exit_ms))]
    return _longest_run(results > 0), _longest_run(results < 0)


def _longest_run(hits: NDArray[np.bool_]) -> int:
    edges = np.diff(np.concatenate(([0], hits.astype(np.int8), [0])))
    return int((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)).max(initial=0))


def _mean(values: Floats | None) -> float | None:
    return fmean(values.tolist()) if values is not None and len(values) else None


# -- columns ----------------------------------------------------------------------------------------------------------


def curve_of(curve: EquityCurve) -> Curve:
    """The curve as columns. Raises ValueError where it goes back in time or its equity is not finite."""
    if isinstance(curve, _Checked):
        return curve
    if isinstance(curve, Curve):
        points = _Checked(curve.at_ms, curve.equity)
    else:
        at_ms = np.fromiter((at for at, _ in curve), np.int64, len(curve))
        points = _Checked(at_ms, np.fromiter((equity for _, equity in curve), np.float64, len(curve)))
    odd = np.flatnonzero(~np.isfinite(points.equity))
    if len(odd):
        raise ValueError(f"the equity at {points.at_ms[odd[0]]} is not finite")
    back = np.flatnonzero(np.diff(points.at_ms) < 0)
    if len(back):
        raise ValueError(f"the equity curve goes back from {points.at_ms[back[0]]} to {points.at_ms[back[0] + 1]}")
    return points


def trips_of(round_trips: Sequence[Trip] | Trips) -> Trips:
    """The round trips as columns.

    An excursion is known where every round trip has it: a mean over some of them would describe others than it says.
    """
    if isinstance(round_trips, Trips):
        trips = round_trips
    else:
        count = len(round_trips)
        trips = Trips(
            np.fromiter((trip.entry_ms for trip in round_trips), np.int64, count),
            np.fromiter((trip.exit_ms for trip in round_trips), np.int64, count),
            np.fromiter((float(trip.pnl) for trip in round_trips), np.float64, count),
            _excursions(round_trips, "mfe_pct"),
            _excursions(round_trips, "mae_pct"),
        )
    # After an outage fills may be told in any order: a round trip whose end came to be before its start took no time.
    return replace(trips, exit_ms=np.maximum(trips.entry_ms, trips.exit_ms))


def _excursions(round_trips: Sequence[Trip], name: str) -> Floats | None:
    known = [getattr(trip, name, None) for trip in round_trips]
    return None if not known or None in known else np.array(known, dtype=np.float64)
