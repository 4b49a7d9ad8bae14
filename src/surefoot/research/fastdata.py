"""Candles as the fast loop takes them: whole ticks in one block for all symbols, and when each primary candle closes.

What depends on candles only is made once (`Market`); what depends on a strategy's parameters as well is made once for
each set of them (`Opinions`), so that a sweep over exits and risk computes no signal twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR
from surefoot.research.data import DataError
from surefoot.research.fastcode import asked
from surefoot.research.fastleap import BLOCK
from surefoot.research.instruments import InstrumentRules, instrument_rules
from surefoot.research.tape import Tape, TapeColumns, resample_tape
from surefoot.signals.correlation import correlations_for
from surefoot.signals.decision import Decider, range_of
from surefoot.signals.filters import Filters
from surefoot.signals.history import Look, gaps_of, sides_for
from surefoot.signals.window import Columns, FloatArray, IntArray, resample

Truths = npt.NDArray[np.bool_]

DECIMALS_MAX = 10
SAMPLE = 1_000  # candles that say how many decimals there are at least
TICKS_MAX = 10_000_000_000  # so that products of prices with shares stay within 64 bits


class Ticks(NamedTuple):
    """The tape of all symbols, one after the other; prices in ticks of their symbol, volume in base."""

    open_ms: IntArray
    length_ms: IntArray
    open: IntArray
    high: IntArray
    low: IntArray
    close: IntArray
    volume: FloatArray


class Closes(NamedTuple):
    """Primary candles of all symbols, one symbol after the other; prices in ticks."""

    open_ms: IntArray
    close_ms: IntArray
    close: IntArray
    high: IntArray


class Events(NamedTuple):
    """When the venue tells that a primary candle closed: at the first print after it. In order of time and symbol.

    `late` is set where the candle does not follow the one before: what may be missing is read first. `at` is where the
    print stands on the tape.
    """

    at_ms: IntArray
    symbol: IntArray
    candle: IntArray
    late: Truths
    at: IntArray


class Leaps(NamedTuple):
    """What the loop needs to take many candles at once. `kind` 0: it may not; 1: while nothing is held; 2: always.

    `breaks` are closes that are not told a step after the one before, `lows` and `highs` those of blocks of candles.
    """

    kind: int
    breaks: IntArray
    lows: IntArray
    highs: IntArray


@dataclass(frozen=True, slots=True)
class Market:
    """What several runs over the same candles share. `spans` are the places of each symbol on the tape, `firsts` of its
    first primary candle, `rolls` the candles that end with the tape. `curve_ms` is when the equity is looked at; `gaps`
    are primary candles before which others are missing; `unfiltered` says of each that no filter forbids an entry."""

    symbols: tuple[str, ...]
    interval: str
    rules: tuple[InstrumentRules, ...]
    ticks: Ticks
    spans: tuple[tuple[int, int], ...]
    closes: Closes
    firsts: tuple[int, ...]
    columns: tuple[Columns, ...]
    events: Events
    rolls: Events
    leaps: Leaps
    start_ms: int
    end_ms: int
    curve_ms: IntArray
    gaps: Truths
    unfiltered: Truths

    @property
    def candles(self) -> int:
        return int(self.ticks.open_ms.size)


class Opinions(NamedTuple):
    """What the strategy says at each primary candle: kind 1 long, -1 short or flat, 0 nothing; how ready it is, and
    whether a filter forbids an entry. `spoken` are the candles with a kind, and only they have a score."""

    kinds: npt.NDArray[np.int8]
    scores: FloatArray
    ready: npt.NDArray[np.int8]
    filtered: Truths
    spoken: IntArray


def market_of(tapes: Sequence[Tape], interval: str) -> Market:
    """All that candles alone decide. DataError when prices are too fine to be counted."""
    rules, blocks, closes, columns, events, rolls = [], [], [], [], [], []
    spans, firsts, begin, first = [], [], 0, 0
    end_ms = max(int(tape.columns.open_ms[-1] + tape.columns.length_ms[-1]) for tape in tapes)
    for number, tape in enumerate(tapes):
        rule = _rules_of(tape)
        block = _ticks(tape.columns, rule)
        primary = _primary(tape.columns, interval)
        groups = _closes(block, primary, interval)
        told, rest = _events(block, groups, number, begin, first, INTERVAL_MS[interval], end_ms)
        rules.append(rule)
        blocks.append(block)
        closes.append(groups)
        columns.append(primary)
        events.append(told)
        rolls.append(rest)
        spans.append((begin, begin + len(tape)))
        firsts.append(first)
        begin, first = begin + len(tape), first + groups.close.size
    ticks, told = Ticks(*_joined(blocks)), _in_order(events)
    (gaps,) = _joined([(gaps_of(one, interval),) for one in columns])
    start_ms = min(int(tape.columns.open_ms[0]) for tape in tapes)
    return Market(
        symbols=tuple(tape.symbol for tape in tapes),
        interval=interval,
        rules=tuple(rules),
        ticks=ticks,
        spans=tuple(spans),
        closes=Closes(*_joined(closes)),
        firsts=tuple(firsts),
        columns=tuple(columns),
        events=told,
        rolls=_in_order(rolls),
        leaps=_leaps(ticks, told, INTERVAL_MS[interval], len(tapes)),
        start_ms=start_ms,
        end_ms=end_ms,
        curve_ms=_curve_times(start_ms, end_ms, INTERVAL_MS[interval]),
        gaps=gaps,
        unfiltered=np.zeros(gaps.size, dtype=np.bool_),
    )


def opinions_of(
    market: Market, strategy: Decider, confirm_interval: str, filters: Filters, looks: Sequence[Look]
) -> Opinions:
    """What a strategy with its parameters says at each primary candle of a market; `looks` are one a symbol."""
    parts = [
        sides_for(strategy, market.interval, confirm_interval, columns, filters, asked, look)
        for columns, look in zip(market.columns, looks, strict=True)
    ]
    spoken = [part.spoken + first if first else part.spoken for part, first in zip(parts, market.firsts, strict=True)]
    told = [(part.kinds, part.scores, part.readiness, at) for part, at in zip(parts, spoken, strict=True)]
    kinds, scores, ready, at = _joined(told)
    if all(part.filtered is None for part in parts):
        return Opinions(kinds, scores, ready, market.unfiltered, at)
    (filtered,) = _joined([(part.filtered,) for part in parts])
    return Opinions(kinds, scores, ready, filtered, at)


def ranges_of(market: Market) -> FloatArray:
    """The average true range at each primary candle."""
    (ranges,) = _joined([(range_of(columns),) for columns in market.columns])
    return np.asarray(ranges)


def alike_of(market: Market, confirm_interval: str) -> FloatArray:
    """For each primary candle the correlation of its symbol with every other, as known when the candle is heard."""
    count = len(market.symbols)
    alike = np.full((market.closes.close.size, count), np.nan)
    confirm = [resample(columns, market.interval, confirm_interval)[0] for columns in market.columns]
    for ours in range(count):
        for theirs in range(ours + 1, count):
            times, values = correlations_for(confirm[ours], confirm[theirs], confirm_interval)
            for one, other in ((ours, theirs), (theirs, ours)):
                held = slice(market.firsts[one], market.firsts[one] + market.columns[one].open_ms.size)
                alike[held, other] = _as_heard(market, one, other, times, values, INTERVAL_MS[confirm_interval])
    return alike


def _as_heard(market: Market, one: int, other: int, times: IntArray, values: FloatArray, length_ms: int) -> FloatArray:
    """The entry of the newest candle that had ended when the newest primary candle of the two opened."""
    our_open, their_open = market.columns[one].open_ms, market.columns[other].open_ms
    told_ms, their_told_ms = _told_ms(market, one), _told_ms(market, other)
    heard = np.searchsorted(their_told_ms, told_ms, side="right" if other < one else "left") - 1
    until_ms = np.maximum(our_open, their_open[np.maximum(heard, 0)])
    place = ((until_ms // length_ms - 1) * length_ms - (times[0] if times.size else 0)) // length_ms
    known = (heard >= 0) & (place >= 0) & (place < times.size)
    return np.where(known, np.append(values, np.nan)[np.where(known, place, -1)], np.nan)


def _told_ms(market: Market, number: int) -> IntArray:
    """When each primary candle of a symbol is told; those that end with the tape at its end."""
    told = market.events.at_ms[market.events.symbol == number]
    missing = market.columns[number].open_ms.size - told.size
    return np.append(told, np.full(missing, market.end_ms))


# ---------------------------------------------------------------------------------------------------------------
# From floats to ticks


def _rules_of(tape: Tape) -> InstrumentRules:
    """The venue's rules of a replayed symbol: they follow from its first price and from its finest one."""
    prices = tape.columns[2:6]
    few = [column[:SAMPLE] for column in prices]
    least = next((at for at in range(DECIMALS_MAX) if all(_is_on_grid(column, at) for column in few)), DECIMALS_MAX)
    for decimals in range(least, DECIMALS_MAX + 1):
        if all(_is_on_grid(column, decimals) for column in prices):
            break
    else:
        raise DataError(f"{tape.symbol}: prices have more than {DECIMALS_MAX} decimals; use the exact engine")
    first = Decimal(repr(float(prices[0][0])))
    return instrument_rules(tape.symbol, (first, Decimal(1).scaleb(-decimals)))  # a step stands for what lies on it


def _is_on_grid(prices: FloatArray, decimals: int) -> bool:
    """Whether no price has more decimals; a whole number over a power of ten is the float nearest to it."""
    scale = 10.0**decimals
    return bool((np.rint(prices * scale) / scale == prices).all())


def _primary(columns: TapeColumns, interval: str) -> Columns:
    """The primary candles; the tape's own where it has no others."""
    open_ms, length_ms, *values = columns
    if (length_ms == INTERVAL_MS[interval]).all():
        return Columns(open_ms, *values)
    return resample_tape(columns, interval)[0]


def _ticks(columns: TapeColumns, rules: InstrumentRules) -> Ticks:
    scale = float(1 / rules.tick_size)
    opens, highs, lows, closes = (np.rint(column * scale).astype(np.int64) for column in columns[2:6])
    if int(highs.max()) > TICKS_MAX:
        raise DataError(f"{rules.symbol}: a price of {highs.max()} ticks is too high to be counted; use exact")
    return Ticks(columns.open_ms, columns.length_ms, opens, highs, lows, closes, columns.volume)


def _closes(block: Ticks, primary: Columns, interval: str) -> Closes:
    """The primary candles in ticks."""
    close_ms = primary.open_ms + INTERVAL_MS[interval] - 1
    if primary.open_ms is block.open_ms:
        return Closes(primary.open_ms, close_ms, block.close, block.high)
    starts = np.searchsorted(block.open_ms, primary.open_ms)
    return Closes(
        open_ms=primary.open_ms,
        close_ms=close_ms,
        close=block.close[np.append(starts[1:], block.open_ms.size) - 1],
        high=np.maximum.reduceat(block.high, starts),
    )


def _events(
    block: Ticks, groups: Closes, symbol: int, begin: int, first: int, interval_ms: int, end_ms: int
) -> tuple[Events, Events]:
    """What is told while the tape runs, and what is told at its end: each candle by the first print after it."""
    count = groups.open_ms.size
    starts = np.searchsorted(block.open_ms, groups.open_ms)
    late = np.diff(groups.open_ms, prepend=-interval_ms) != interval_ms
    late[0] = True
    number = np.full(count, symbol, dtype=np.int64)
    candle = np.arange(first, first + count, dtype=np.int64)
    after = starts[1:]
    told = Events(block.open_ms[after], number[:-1], candle[:-1], late[:-1], after + begin)
    ends = groups.open_ms[-1:] + interval_ms <= end_ms
    rest = Events(np.array([end_ms])[ends], number[-1:][ends], candle[-1:][ends], late[-1:][ends], starts[-1:][ends])
    return told, rest


def _leaps(ticks: Ticks, told: Events, interval_ms: int, symbols: int) -> Leaps:
    none = np.zeros(0, dtype=np.int64)
    if symbols > 1 or MS_PER_HOUR % interval_ms:
        return Leaps(0, none, none, none)
    breaks = np.flatnonzero(told.late | (np.diff(told.at_ms, prepend=told.at_ms[:1]) != interval_ms))
    if not (ticks.length_ms == interval_ms).all():
        return Leaps(1, breaks, none, none)
    starts = np.arange(0, ticks.low.size, BLOCK)
    return Leaps(2, breaks, np.minimum.reduceat(ticks.low, starts), np.maximum.reduceat(ticks.high, starts))


def _curve_times(start_ms: int, end_ms: int, step_ms: int) -> IntArray:
    """The start, each primary close, the end of the tape and the very end, which a run may put later."""
    count = -(-(end_ms - start_ms) // step_ms)
    times = start_ms + step_ms * np.arange(count + 2, dtype=np.int64)
    times[count:] = end_ms
    return times


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The columns of all parts end to end; those of one part as they are, since a year of minutes is large."""
    return [column[0] if len(parts) == 1 else np.concatenate(column) for column in zip(*parts, strict=True)]


def _in_order(parts: Sequence[Events]) -> Events:
    joined = Events(*_joined(parts))
    if len(parts) == 1:
        return joined
    order = np.lexsort((joined.symbol, joined.at_ms))
    at_ms, symbol, candle, late, at = joined
    return Events(at_ms[order], symbol[order], candle[order], late[order], at[order])
