"""What a backtest lives through: each symbol's candles, the finer ones in place of those that they decide.

Inside a candle the path is unknown, and the fill model assumes one. Where finer candles of the same symbol cover a
candle completely and agree with it, they say more, so they take its place: the tape then has candles of different
lengths. Signals stay those of `market.interval`; they are built from the tape (`resample_tape`), in both engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS
from surefoot.research.data import ROWS_AT_A_TIME, CandleFile, DataError
from surefoot.signals.window import Columns, FloatArray, IntArray, resample_mixed

Row = tuple[int, int, Decimal, Decimal, Decimal, Decimal, Decimal]
DECIMALS_MAX = 10
COUNTED_MAX = 1e15
# Prices lie on the tick grid, so that two of them are a whole number of ticks apart; half a tick is for the floats.
AGREES_WITHIN_TICKS = 1.5


class TapeColumns(NamedTuple):
    """Candles, oldest first, as contiguous arrays of one length; `open_ms` and `length_ms` int64, the others float64.

    A candle ends where the next one begins, or earlier where candles are missing.
    """

    open_ms: IntArray
    length_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


@dataclass(frozen=True, slots=True)
class Tape:
    """One symbol's candles for a backtest.

    `given` counts the candles of the base file, `replaced` those of them that finer candles decide, and
    `disagreeing_ms` has the open times of those whose finer candles tell other prices, so that they were kept.
    """

    symbol: str
    columns: TapeColumns
    given: int
    replaced: int = 0
    disagreeing_ms: tuple[int, ...] = ()

    def __len__(self) -> int:
        return int(self.columns.open_ms.size)

    @property
    def end_ms(self) -> int:
        return int(self.columns.open_ms[-1] + self.columns.length_ms[-1])

    def blocks(self) -> Iterator[TapeColumns]:
        """The columns in pieces of at most `ROWS_AT_A_TIME` candles, oldest first."""
        open_ms, length_ms, *values = self.columns
        for start in range(0, len(self), ROWS_AT_A_TIME):
            span = slice(start, start + ROWS_AT_A_TIME)
            yield TapeColumns(open_ms[span], length_ms[span], *(column[span] for column in values))

    def rows(self) -> Iterator[Row]:
        """(open_ms, length_ms, open, high, low, close, volume) of each candle, oldest first; in bounded memory."""
        for block in self.blocks():
            open_ms, length_ms, *values = (column.tolist() for column in block)
            yield from zip(open_ms, length_ms, *(map(Decimal, map(repr, column)) for column in values), strict=True)


def tape_of(base: CandleFile, detail: CandleFile | None = None) -> Tape:
    """The tape of one file, with the finer candles of another in place of those that they cover and agree with.

    DataError when the other is of another symbol or not finer.
    """
    whole = _with_length(base.columns, base.interval)
    if detail is None:
        return Tape(base.symbol, whole, len(base))
    _check_finer(base, detail)
    members = INTERVAL_MS[base.interval] // INTERVAL_MS[detail.interval]
    covered, first = _covered(base.columns.open_ms, detail.columns.open_ms, INTERVAL_MS[detail.interval], members)
    agrees = _agrees(base.columns, detail.columns, covered, first, members)
    replaced, doubted = covered[agrees], covered[~agrees]
    finer = _with_length(detail.columns, detail.interval)
    inside = (first[agrees, np.newaxis] + np.arange(members)).ravel()
    joined = [
        np.concatenate([np.delete(ours, replaced), theirs[inside]]) for ours, theirs in zip(whole, finer, strict=True)
    ]
    order = np.argsort(joined[0], kind="stable")
    columns = TapeColumns(*(np.ascontiguousarray(column[order]) for column in joined))
    disagreeing_ms = tuple(base.columns.open_ms[doubted].tolist())
    return Tape(base.symbol, columns, len(base), int(replaced.size), disagreeing_ms)


def counted(numbers: FloatArray) -> tuple[int, list[list[int]]]:
    """A table of floats in steps of 10^-decimals, the coarsest that its shortest texts all lie on, row by row.

    A whole number of up to 15 digits over a power of ten is the float nearest to it, so the check tells the text.
    """
    for decimals in range(DECIMALS_MAX + 1):
        steps = np.rint(numbers * 10.0**decimals)
        if steps.max() >= COUNTED_MAX:
            break
        if np.array_equal(steps / 10.0**decimals, numbers):
            whole: list[list[int]] = steps.astype(np.int64).tolist()
            return decimals, whole
    exact = [[Decimal(repr(number)) for number in row] for row in numbers.tolist()]
    finest = max(max(0, -int(number.as_tuple().exponent)) for row in exact for number in row)
    return finest, [[int(number.scaleb(finest)) for number in row] for row in exact]


def resample_tape(columns: TapeColumns, interval: str) -> tuple[Columns, IntArray]:
    """Closed candles of an interval for signals, and for each candle of the tape how many had finished when it closed.

    The interval is at least as long as the longest candle of the tape, and a multiple of each.
    """
    open_ms, length_ms, *values = columns
    return resample_mixed(Columns(open_ms, *values), length_ms, INTERVAL_MS[interval])


def told_of(tapes: Sequence[Tape]) -> dict[str, Any]:
    """How much of a backtest finer candles decided; for the result of a run."""
    given, replaced = sum(tape.given for tape in tapes), sum(tape.replaced for tape in tapes)
    return {
        "candles_replaced": replaced,
        "share_pct": round(100 * replaced / given, 2),
        "candles_disagreeing": sum(len(tape.disagreeing_ms) for tape in tapes),
        "first_disagreeing_ms": {tape.symbol: tape.disagreeing_ms[0] for tape in tapes if tape.disagreeing_ms},
    }


def _with_length(columns: Columns, interval: str) -> TapeColumns:
    open_ms, *values = columns
    return TapeColumns(open_ms, np.full_like(open_ms, INTERVAL_MS[interval]), *values)


def _check_finer(base: CandleFile, detail: CandleFile) -> None:
    if base.symbol != detail.symbol:
        raise DataError(f"{detail.path}: has candles of {detail.symbol}, which cannot say more about {base.symbol}")
    base_ms, detail_ms = INTERVAL_MS[base.interval], INTERVAL_MS[detail.interval]
    if detail_ms >= base_ms or base_ms % detail_ms:
        raise DataError(f"{detail.path}: candles of {detail.interval} do not divide those of {base.interval}")


def _covered(base_ms: IntArray, detail_ms: IntArray, step_ms: int, members: int) -> tuple[IntArray, IntArray]:
    """Which base candles have all their finer ones, and where in the detail these begin.

    Both are ascending and on their grids, so the first and the last one in their places prove those between.
    """
    first = np.searchsorted(detail_ms, base_ms)
    last = np.minimum(first + members - 1, detail_ms.size - 1)
    begins = detail_ms[np.minimum(first, detail_ms.size - 1)] == base_ms
    whole = begins & (last - first == members - 1) & (detail_ms[last] == base_ms + (members - 1) * step_ms)
    covered = np.flatnonzero(whole)
    return covered, first[covered]


def _agrees(base: Columns, detail: Columns, covered: IntArray, first: IntArray, members: int) -> npt.NDArray[np.bool_]:
    """Whether open, high, low and close of each covered candle are those of its finer ones within a tick."""
    inside = first[:, np.newaxis] + np.arange(members)
    told = (
        detail.open[first],
        detail.high[inside].max(axis=1, initial=-np.inf),
        detail.low[inside].min(axis=1, initial=np.inf),
        detail.close[first + members - 1],
    )
    slack = AGREES_WITHIN_TICKS * _tick([*base[1:5], *detail[1:5]])
    apart = np.vstack([ours[covered] - theirs for ours, theirs in zip(base[1:5], told, strict=True)])
    agrees: npt.NDArray[np.bool_] = (np.abs(apart) <= slack).all(axis=0)
    return agrees


def _tick(prices: Sequence[FloatArray]) -> float:
    """The coarsest decimal step on which all these prices lie."""
    for decimals in range(DECIMALS_MAX):
        if all(np.array_equal(np.round(column, decimals), column) for column in prices):
            return float(10.0**-decimals)
    return float(10.0**-DECIMALS_MAX)
