"""Signals of candles that are all known: what `source.SignalSource` answers to each, from arrays over long stretches.

An exact backtest asks for one signal a candle, as a live loop does, but it knows the candles beforehand: so the arrays
are made for some thousand of them at once, by the same functions. A stretch begins with as many candles before it as
the strategies look back, so that what is kept does not grow with the history. Two stretches share a candle, which one
sees as its newest and the other with later ones behind it: a value that differs there sees the future.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from surefoot.core.model import INTERVAL_MS, Candle, Readiness, Signal
from surefoot.signals.correlation import CORRELATION_MS, correlation_at
from surefoot.signals.decision import ATR_WINDOW, Decider, Moment, decided, members_of, range_of, readiness
from surefoot.signals.filters import Filters, Trend, flips_at_each
from surefoot.signals.history import at_finished, opinions, trend_columns
from surefoot.signals.source import OFF
from surefoot.signals.strategy import Strategy
from surefoot.signals.window import Columns, FloatArray, resample, span

STRETCH_CANDLES = 5_120  # enough for what is compiled over long histories only, see `compiled`
# Two stretches may differ by rounding only; values below 1 are compared as they are.
TOLERANCE = 1e-9


class SeesFuture(ValueError):
    """A value of a strategy changed when later candles came: what it made of a history would be hindsight."""


class ReplayedSignals:
    """Closed candles in, one signal a candle out; the candles are those of `columns`, oldest first."""

    def __init__(
        self,
        strategy: Decider,
        columns: Mapping[str, Columns],
        interval: str,
        confirm_interval: str,
        filters: Filters = OFF,
    ) -> None:
        self._confirm_interval = confirm_interval
        self._pasts = {
            symbol: _Past(strategy, symbol, interval, confirm_interval, each, filters)
            for symbol, each in columns.items()
        }
        self._alike: dict[tuple[str, str], tuple[tuple[int, int, int], float | None]] = {}

    def warm(self, candles: Sequence[Candle]) -> None:
        """Nothing: what is known needs no warming up."""

    def on_candle(self, candle: Candle) -> Signal:
        """The signal at this candle's close. ValueError for a candle that is not the known one; SeesFuture."""
        return self._pasts[candle.symbol].signal(candle)

    def ahead(self, symbol: str) -> Ahead:
        """What is known of a symbol's next candles. SeesFuture as for a signal."""
        return self._pasts[symbol].ahead()

    def pass_to(self, symbol: str, open_ms: int) -> None:
        """The candle that opens then has closed, without an opinion, as have those before it. SeesFuture."""
        self._pasts[symbol].pass_to(open_ms)

    def correlation(self, a: str, b: str) -> float | None:
        """As `SignalSource.correlation`, reckoned once for as long as no candle of the confirming interval ends."""
        a, b = sorted((a, b))
        ours, theirs = self._pasts[a], self._pasts[b]
        if ours.at < 0 or theirs.at < 0:
            return None
        until_ms = max(ours.open_ms(), theirs.open_ms())
        now = until_ms // INTERVAL_MS[self._confirm_interval], ours.finished(), theirs.finished()
        if (a, b) not in self._alike or self._alike[a, b][0] != now:
            value = correlation_at(ours.newest_confirm(), theirs.newest_confirm(), self._confirm_interval, until_ms)
            self._alike[a, b] = now, value
        return self._alike[a, b][1]

    def prepare(self) -> bool:
        """Nothing: in a backtest nobody waits."""
        return False


@dataclass(frozen=True, slots=True)
class Ahead:
    """The candles of one stretch that have an opinion, by the time at which they end: target, and the most that its
    score may be. Nothing is known of candles that end after `end_ms`."""

    opinions: Mapping[int, tuple[float, float]]
    ends_ms: Sequence[int]  # of those with an opinion, in order
    end_ms: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What decisions look at from candle `start` on, by candle; `seen` by member and candle, `trends` by interval."""

    start: int
    ahead: Ahead
    seen: Sequence[Sequence[tuple[float, ...]]]
    ranges: Sequence[float]
    gaps: Sequence[bool]
    flips: Sequence[int]
    trends: Sequence[Sequence[Trend]]


class _Past:
    """One symbol's candles; `at` is the place of the newest that was asked about, -1 before the first."""

    def __init__(
        self,
        strategy: Decider,
        symbol: str,
        interval: str,
        confirm_interval: str,
        columns: Columns,
        filters: Filters,
    ) -> None:
        self.at = -1
        self._strategy = strategy
        self._members = members_of(strategy)
        self._symbol = symbol
        self._interval_ms = INTERVAL_MS[interval]
        self._confirm_interval = confirm_interval
        self._columns = columns
        self._filters = filters
        self._confirm, self._finished = resample(columns, interval, confirm_interval)
        self._contexts = [
            (one, *trend_columns(columns, interval, one, filters)) for one in filters.context_of(interval)
        ]
        self._stretch: _Stretch | None = None

    def signal(self, candle: Candle) -> Signal:
        self.at = at = self._place(candle)
        stretch = self._stretch_of(at)
        row = at - stretch.start
        counts = at + 1, self.finished()
        moment = Moment(
            candle.close_ms,
            *counts,
            readiness=readiness(self._strategy, *counts),
            atr=stretch.ranges[row],
            gap=stretch.gaps[row],
            trends=[trends[row] for trends in stretch.trends],
            flips=stretch.flips[row],
        )
        seen = [values[row] for values in stretch.seen]
        return decided(self._strategy, self._symbol, self._confirm_interval, moment, seen, self._filters)

    def ahead(self) -> Ahead:
        return self._stretch_of(min(self.at + 1, self._columns.open_ms.size - 1)).ahead

    def pass_to(self, open_ms: int) -> None:
        self.at = int(np.searchsorted(self._columns.open_ms, open_ms))
        self._stretch_of(self.at)

    def open_ms(self) -> int:
        return self._columns.open_ms.item(self.at)

    def finished(self) -> int:
        """How many candles of the confirming interval had ended when the newest candle closed."""
        return self._finished.item(self.at)

    def newest_confirm(self) -> Columns:
        """Those of them that a correlation may look at."""
        end = self.finished()
        return span(self._confirm, max(0, end - CORRELATION_MS // INTERVAL_MS[self._confirm_interval] - 3), end)

    def _place(self, candle: Candle) -> int:
        open_ms, at = self._columns.open_ms, self.at + 1
        if at >= open_ms.size or open_ms.item(at) != candle.open_ms:
            at = int(np.searchsorted(open_ms, candle.open_ms))
            if at <= self.at or at >= open_ms.size or open_ms.item(at) != candle.open_ms:
                raise ValueError(f"{self._symbol}: a candle of {candle.open_ms} closed, which is not the next known")
        known = self._columns.close.item(at)
        if known != float(candle.close):
            raise ValueError(f"{self._symbol}: a candle of {candle.open_ms} closed at {candle.close:f}, not at {known}")
        return at

    def _stretch_of(self, at: int) -> _Stretch:
        known = self._stretch
        if known is not None and at < known.start + len(known.ranges):
            return known
        follows = known is not None and known.start + len(known.ranges) == at
        start = at - 1 if follows else at
        self._stretch = self._made(start, min(start + STRETCH_CANDLES, self._columns.open_ms.size))
        if known is not None and follows:
            self._refuse_foresight(known, self._stretch)
        return self._stretch

    def _made(self, start: int, end: int) -> _Stretch:
        columns, flips_back = self._columns, self._filters.choppy_candles
        before = max(0, start - max(ATR_WINDOW, flips_back, 1))
        nearby = span(columns, before, end)
        gaps = np.diff(nearby.open_ms, prepend=nearby.open_ms[:1]) > self._interval_ms
        seen = [self._seen(member, start, end) for member in self._members]
        return _Stretch(
            start=start,
            ahead=self._ahead(seen, start, end),
            seen=[_rows(arrays) for arrays in seen],
            ranges=range_of(nearby)[start - before :].tolist(),
            gaps=gaps[start - before :].tolist(),
            flips=flips_at_each(nearby, flips_back)[start - before :].tolist(),
            trends=[
                [
                    Trend(one, *pair)
                    for pair in zip(closes[start:end].tolist(), averages[start:end].tolist(), strict=True)
                ]
                for one, closes, averages in self._contexts
            ],
        )

    def _ahead(self, seen: Sequence[Sequence[FloatArray]], start: int, end: int) -> Ahead:
        ready = bisect_left(range(start, end), True, key=self._is_ready)
        targets, scores = opinions(self._strategy, seen, ready)
        spoken = np.flatnonzero(targets == targets)
        ends_ms = (self._columns.open_ms[start + spoken] + self._interval_ms).tolist()
        said = zip(targets[spoken].tolist(), scores[spoken].tolist(), strict=True)
        last_ms = self._columns.open_ms.item(end - 1) + self._interval_ms
        return Ahead(dict(zip(ends_ms, said, strict=True)), ends_ms, last_ms)

    def _is_ready(self, at: int) -> bool:
        return readiness(self._strategy, at + 1, self._finished.item(at)) is not Readiness.NOT_READY

    def _seen(self, member: Strategy, start: int, end: int) -> list[FloatArray]:
        """What the member's rule sees at each candle from `start` to `end`, exclusive."""
        before = max(0, start + 1 - member.window)
        primary = [array[start - before :] for array in member.primary(span(self._columns, before, end))]
        finished = self._finished[start:end]
        first = max(0, finished.item(0) - member.window)
        confirm = member.confirm(span(self._confirm, first, max(finished.item(-1), 1)))
        return [*primary, *(at_finished(array, finished - first) for array in confirm)]

    def _refuse_foresight(self, before: _Stretch, after: _Stretch) -> None:
        """The newest values of a stretch were made without any later candle: with later ones they are the same."""
        for member, ours, theirs in zip(self._members, before.seen, after.seen, strict=True):
            for name, value, again in zip(member.values, ours[-1], theirs[0], strict=True):
                if isnan(value) != isnan(again) or abs(value - again) > TOLERANCE * max(abs(value), 1.0):
                    raise SeesFuture(
                        f"{member.name}: {name} of candle {after.start} of {self._symbol} was {value:.10g} as the "
                        f"newest and is {again:.10g} with later ones: it sees the future, or its window is too short"
                    )


def _rows(arrays: Sequence[FloatArray]) -> list[tuple[float, ...]]:
    return list(zip(*(array.tolist() for array in arrays), strict=True))
