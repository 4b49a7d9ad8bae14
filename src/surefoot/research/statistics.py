"""How much of a result may be luck: the best Sharpe ratio of many trials, and the same round trips in other orders.

Sharpe ratios here are those of one period of the returns, never annualised: divide an annual one by the root of the
periods a year. Kurtosis is that of the normal distribution, 3, not its excess. Chance is an argument: a numpy
`Generator` made from a seed gives the same figures again. A figure that is not defined is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EULER_MASCHERONI = 0.577_215_664_901_532_9
BLOCKS = 16
SPLITS_MAX = 12_870  # all ways to choose 8 of 16 blocks
ALTERNATIVES = 1_000  # draws of each kind
MISSED_FILLS_PCT = 5.0
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
CELLS_AT_ONCE = 4_000_000  # floats of one working array, 32 MB

# Returns that are equal still differ in their last digits; what is smaller than this share of them is no deviation.
DEVIATION_SHARE_MIN = 1e-12

_NORMAL = NormalDist()
_Draw = Callable[[int], Floats]  # so many rows of returns


# -- one Sharpe ratio -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moments:
    """The shape of a series of returns. `sharpe` is the mean over the sample deviation (n - 1), of one period."""

    periods: int
    sharpe: float
    skewness: float
    kurtosis: float


def moments_of(returns: Sequence[float] | Floats) -> Moments | None:
    """Sharpe ratio, and skewness and kurtosis as third and fourth standardised moment (divisor n).

    None under two returns, or where all are equal.
    """
    values = np.asarray(returns, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    mean = float(values.mean())
    centred = values - mean
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= DEVIATION_SHARE_MIN * float(np.abs(values).max()):
        return None
    return Moments(
        periods=len(values),
        sharpe=mean / math.sqrt(variance * len(values) / (len(values) - 1)),
        skewness=float(np.mean(centred**3)) / variance**1.5,
        kurtosis=float(np.mean(centred**4)) / variance**2,
    )


def probabilistic_sharpe(moments: Moments, benchmark: float = 0.0) -> float | None:
    """The probability that the true Sharpe ratio is above `benchmark`, given its estimate and the shape of the returns.

    Z[(SR - SR*) sqrt(T - 1) / sqrt(1 - skewness SR + (kurtosis - 1) / 4 SR^2)]: Bailey and Lopez de Prado, "The Sharpe
    Ratio Efficient Frontier", Journal of Risk 15 (2012). None where the root is of no positive number.
    """
    spread = _spread(moments)
    if spread is None:
        return None
    distance = (moments.sharpe - benchmark) * math.sqrt(moments.periods - 1) / spread
    return math.erfc(-distance / math.sqrt(2)) / 2  # NormalDist.cdf loses the digits of small probabilities


def min_track_record(moments: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """How many periods it takes to say with `confidence` that the true Sharpe ratio is above `benchmark`.

    1 + (1 - skewness SR + (kurtosis - 1) / 4 SR^2) (Z^-1[confidence] / (SR - SR*))^2: Bailey and Lopez de Prado (2012).
    None where the estimate is not above the benchmark: then no length is enough.
    """
    spread = _spread(moments)
    if spread is None or moments.sharpe <= benchmark:
        return None
    return 1 + (spread * _NORMAL.inv_cdf(confidence) / (moments.sharpe - benchmark)) ** 2


def _spread(moments: Moments) -> float | None:
    """The deviation of the estimated Sharpe ratio, times the root of T - 1 (Mertens 2002)."""
    square = 1 - moments.skewness * moments.sharpe + (moments.kurtosis - 1) / 4 * moments.sharpe**2
    return math.sqrt(square) if square > 0 else None


# -- the best of many -------------------------------------------------------------------------------------------------


def expected_max_sharpe(trials: int, variance: float) -> float:
    """What the best Sharpe ratio of `trials` independent ones is expected to be where none of them has any edge.

    sqrt(V) ((1 - g) Z^-1[1 - 1/N] + g Z^-1[1 - 1/(N e)]), g the Euler-Mascheroni constant, V the variance of the
    trials' Sharpe ratios: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40
    (2014). It is 0 for one trial; as an approximation it is 8 % low for two, 2.5 % high for five, 1 % for a hundred.
    Raises ValueError for none.
    """
    if trials < 1 or not variance >= 0:
        raise ValueError(f"{trials} trials with a variance of {variance}: give at least one, and no negative variance")
    if trials == 1:
        return 0.0
    low, high = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER_MASCHERONI) * low + EULER_MASCHERONI * high)


def deflated_sharpe(moments: Moments, trials: int, variance: float) -> float | None:
    """The probability that the chosen trial has an edge at all, given that it is the best of `trials`.

    The probabilistic Sharpe ratio against `expected_max_sharpe`, Bailey and Lopez de Prado (2014). `variance` is that
    of the Sharpe ratios of all trials, of one period like everything here. `trials` are independent ones: counting all
    that were looked at, which resemble each other, errs on the safe side.
    """
    return probabilistic_sharpe(moments, expected_max_sharpe(trials, variance))


# -- overfitting ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Overfitting:
    """What became of the best trial of one half of the periods in the other half, over many splits.

    `probability` (of overfitting): how often it was not above the median of all. `loss_probability`: how often its
    Sharpe ratio there was below zero. `slope`: how much of a Sharpe ratio in the one half was found again in the other,
    by least squares; None where the best ones were all equally good. `logits` are those of its relative rank.
    """

    probability: float
    loss_probability: float
    slope: float | None
    splits: int
    blocks: int
    trials: int
    logits: Floats


def overfitting(
    returns: Floats, rng: np.random.Generator, *, blocks: int = BLOCKS, splits_max: int = SPLITS_MAX
) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

    `returns` has a row for each period and a column for each trial. The periods are cut into `blocks` equal blocks (the
    oldest ones that are too many for that are left out); each choice of half of them is the period in which the best
    trial is looked for, by Sharpe ratio, and the rest that in which it is judged. Where there are more choices than
    `splits_max`, so many are drawn by `rng`. A trial that did the same in every period of a half (no round trip) has a
    Sharpe ratio of 0 there. Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest Overfitting", Journal
    of Computational Finance 20 (2017; as a working paper 2015).

    Raises ValueError for fewer than two trials, an odd number of blocks, or fewer than two periods a block.
    """
    table = np.asarray(returns, dtype=np.float64)
    _check_table(table, blocks)
    length = len(table) // blocks
    sums, squares = _block_sums(table[len(table) - length * blocks :], blocks, length)
    chosen = _splits(blocks, splits_max, rng)
    trials = table.shape[1]
    rows = max(1, CELLS_AT_ONCE // trials)
    parts = [_judge(chosen[at : at + rows], sums, squares, length) for at in range(0, len(chosen), rows)]
    within, beyond, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Overfitting(
        probability=float(np.mean(logits <= 0)),
        loss_probability=float(np.mean(beyond < 0)),
        slope=_slope(within, beyond),
        splits=len(chosen),
        blocks=blocks,
        trials=trials,
        logits=logits,
    )


def _check_table(table: Floats, blocks: int) -> None:
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError("give a row for each period and a column for each trial, at least two")
    if not np.isfinite(table).all():
        raise ValueError("a return is not finite")
    if blocks < 2 or blocks % 2:
        raise ValueError(f"{blocks} blocks: give an even number, half of which is chosen")
    if len(table) < 2 * blocks:
        raise ValueError(f"{len(table)} periods are too few for {blocks} blocks of at least two")


def _block_sums(table: Floats, blocks: int, length: int) -> tuple[Floats, Floats]:
    """Sum and sum of squares of each block and trial: those of any choice of blocks follow by adding."""
    cut = table.reshape(blocks, length, table.shape[1])
    return cut.sum(axis=1), (cut**2).sum(axis=1)


def _splits(blocks: int, splits_max: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A row for each split: which blocks are those that are chosen from."""
    half = blocks // 2
    if math.comb(blocks, half) > splits_max:
        # Each row in an order of its own; the first half of the places is chosen. One may come twice: a sample.
        return rng.permuted(np.tile(np.arange(blocks) < half, (splits_max, 1)), axis=1)
    chosen = np.zeros((math.comb(blocks, half), blocks), dtype=np.bool_)
    for row, picked in enumerate(combinations(range(blocks), half)):
        chosen[row, list(picked)] = True
    return chosen


def _judge(chosen: NDArray[np.bool_], sums: Floats, squares: Floats, length: int) -> tuple[Floats, Floats, Floats]:
    """For each split: the best Sharpe ratio in the chosen half, that of the same trial in the other, and its logit."""
    count = length * chosen.shape[1] // 2
    inside, outside = chosen.astype(np.float64), (~chosen).astype(np.float64)
    found = _sharpes(inside @ sums, inside @ squares, count)
    judged = _sharpes(outside @ sums, outside @ squares, count)
    rows = np.arange(len(chosen))
    best = np.argmax(found, axis=1)
    beyond = judged[rows, best]
    below = (judged < beyond[:, None]).sum(axis=1)
    equal = (judged == beyond[:, None]).sum(axis=1)  # itself at least; equal ones share the middle of their ranks
    relative = (below + (equal + 1) / 2) / (judged.shape[1] + 1)
    return found[rows, best], beyond, np.log(relative / (1 - relative))


def _sharpes(sums: Floats, squares: Floats, count: int) -> Floats:
    mean = sums / count
    power = squares / count
    variance = (power - mean**2) * count / (count - 1)
    moves = variance > DEVIATION_SHARE_MIN * power
    ratios: Floats = np.where(moves, mean / np.sqrt(np.where(moves, variance, 1)), 0.0)
    return ratios


def _slope(within: Floats, beyond: Floats) -> float | None:
    centred = within - within.mean()
    power = float(centred @ centred)
    return float(centred @ beyond) / power if power > 0 else None


# -- the same round trips, otherwise ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What else could have become of an account: one final equity and one deepest fall, in percent, for each draw."""

    initial_equity: float
    final_equity: Floats
    max_drawdown_pct: Floats

    def as_dict(self) -> dict[str, object]:
        """Percentiles by name (`p5`: 5 % of the draws were lower), and the share of draws that ended with a loss."""
        return {
            "draws": len(self.final_equity),
            "final_equity": _percentiles(self.final_equity),
            "max_drawdown_pct": _percentiles(self.max_drawdown_pct),
            "loss_pct": float(100 * np.mean(self.final_equity < self.initial_equity)),
        }


def trip_returns(pnl: Sequence[float] | Floats, initial_equity: float) -> Floats:
    """Each round trip's result as a share of the equity before it, in the order of their ends.

    Equity counts what was closed. Raises ValueError where it is not above zero before a round trip.
    """
    results = np.asarray(pnl, dtype=np.float64)
    before = initial_equity + np.concatenate(([0.0], np.cumsum(results)[:-1])) if len(results) else results
    if initial_equity <= 0 or np.any(before <= 0):
        raise ValueError("equity is not above zero before a round trip: its result is no share of it")
    return results / before


def reordered(returns: Floats, initial_equity: float, draws: int, rng: np.random.Generator) -> Outcomes:
    """The same round trips in random orders: the end is the same each time, the way there is not."""
    return _drawn(returns, initial_equity, draws, lambda rows: rng.permuted(np.tile(returns, (rows, 1)), axis=1))


def resampled(returns: Floats, initial_equity: float, draws: int, rng: np.random.Generator) -> Outcomes:
    """As many round trips, each drawn from those that were, with repetition (bootstrap, Efron 1979).

    It holds as far as they are independent of each other.
    """
    count = len(returns)
    return _drawn(returns, initial_equity, draws, lambda rows: returns[rng.integers(count, size=(rows, count))])


def with_missed_fills(
    returns: Floats, initial_equity: float, draws: int, probability: float, rng: np.random.Generator
) -> Outcomes:
    """The same round trips in their order, each left out with `probability`, since its entry was not filled."""
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability of {probability}: give one of 0 to 1")
    count = len(returns)
    return _drawn(returns, initial_equity, draws, lambda rows: returns * (rng.random((rows, count)) >= probability))


def alternatives(pnl: Sequence[float] | Floats, initial_equity: float, seed: int) -> dict[str, Any] | None:
    """What a result hangs on besides skill: `order` of the round trips, and `missed_fills` of some of them.

    Each as `Outcomes.as_dict`, the latter with the percentage missed; None without round trips, or where they lost
    everything on the way.
    """
    try:
        returns = trip_returns(pnl, initial_equity)
        chance = np.random.default_rng(seed)
        order = reordered(returns, initial_equity, ALTERNATIVES, chance)
        missed = with_missed_fills(returns, initial_equity, ALTERNATIVES, MISSED_FILLS_PCT / 100, chance)
    except ValueError:
        return None
    return {"order": order.as_dict(), "missed_fills": missed.as_dict() | {"missed_pct": MISSED_FILLS_PCT}, "seed": seed}


def _drawn(returns: Floats, initial_equity: float, draws: int, draw: _Draw) -> Outcomes:
    if not len(returns) or draws < 1 or initial_equity <= 0:
        raise ValueError("give at least one round trip, one draw and an equity above zero")
    rows = max(1, CELLS_AT_ONCE // len(returns))
    parts = [_walk(draw(min(rows, draws - at))) for at in range(0, draws, rows)]
    ends, falls = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Outcomes(initial_equity, initial_equity * ends, 100 * falls)


def _walk(returns: Floats) -> tuple[Floats, Floats]:
    """Growth and deepest fall of each row; who has lost everything stays there."""
    growth: Floats = np.maximum(1.0 + returns, 0.0).cumprod(axis=1)
    peaks = np.maximum(np.maximum.accumulate(growth, axis=1), 1)
    falls: Floats = 1 - growth / peaks
    return growth[:, -1].copy(), falls.max(axis=1)


def _percentiles(values: Floats) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES).tolist()
    return {f"p{percent}": value for percent, value in zip(PERCENTILES, found, strict=True)}
