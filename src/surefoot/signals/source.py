"""Signals as a live loop makes them: closed candles in, one signal a candle out, from bounded windows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from itertools import combinations

import numpy as np

from surefoot.core.model import INTERVAL_MS, Candle, Readiness, Signal
from surefoot.signals.correlation import CORRELATION_MS, correlation_at
from surefoot.signals.decision import ATR_WINDOW, Decider, Moment, decided, members_of, range_of, readiness
from surefoot.signals.filters import TREND_WINDOW_CANDLES, Filters, Trend, flips_at_end, newest_average
from surefoot.signals.window import WINDOW_CANDLES_DEFAULT, Columns, Placement, Resampler, Series, newest

OFF = Filters()
NAN = float("nan")


class SignalSource:
    """Closed candles in, one signal a candle out, for several symbols."""

    def __init__(
        self,
        strategy: Decider,
        symbols: Sequence[str],
        interval: str,
        confirm_interval: str,
        filters: Filters = OFF,
    ) -> None:
        self.begin(strategy, symbols, interval, confirm_interval, filters)

    def begin(
        self, strategy: Decider, symbols: Sequence[str], interval: str, confirm_interval: str, filters: Filters
    ) -> None:
        """Anew, and without any history: what is known so far is forgotten."""
        self.strategy = strategy
        self.interval = interval
        self.confirm_interval = confirm_interval
        self.filters = filters
        self.context_intervals = filters.context_of(interval)
        self._charts = {symbol: _Chart(strategy, symbol, interval, confirm_interval, filters) for symbol in symbols}

        # By two symbols and the confirming candle that they are asked in: it changes once in such a candle.
        self._correlations: dict[tuple[str, str, int], float | None] = {}

    def keep(self, symbols: Collection[str]) -> None:
        """Forget all others. A symbol that is not known yet begins with its first candle."""
        self._charts = {symbol: chart for symbol, chart in self._charts.items() if symbol in symbols}
        self._correlations = {
            key: value for key, value in self._correlations.items() if key[0] in symbols and key[1] in symbols
        }

    @property
    def history_candles(self) -> int:
        """Primary candles to warm up with, so that signals equal those of the whole history."""
        needed = max(member.window for member in members_of(self.strategy))
        return max(WINDOW_CANDLES_DEFAULT, needed) * (INTERVAL_MS[self.confirm_interval] // INTERVAL_MS[self.interval])

    def warm(self, candles: Sequence[Candle]) -> None:
        """Take history, oldest first; nothing is decided on it. Candles already known are harmless.

        Candles of a context interval are history of that interval, in any order with the others.
        """
        for candle in candles:
            if candle.interval != self.interval and candle.interval in self.context_intervals:
                self._chart_of(candle.symbol).take_context(candle)
            else:
                self._chart(candle).take(candle)
        for chart in self._charts.values():
            chart.refresh()

    def on_candle(self, candle: Candle) -> Signal:
        """The signal at this candle's close. Always answers; target None comes with the reason as its rule."""
        return self._chart(candle).decide(candle)

    def gap_before(self, candle: Candle) -> tuple[int, int] | None:
        """Open times from (inclusive) and to (exclusive) of what is missing before this candle; None if nothing."""
        return self._chart(candle).series.gap_before(candle)

    def held(self, symbol: str, interval: str, limit: int) -> tuple[Candle, ...] | None:
        """The newest closed candles of a series, oldest first; None for one that is not held.

        Held are floats: their shortest decimal form is the venue's text, up to 15 digits.
        """
        chart = self._charts.get(symbol)
        if chart is None or interval not in (self.interval, self.confirm_interval):
            return None
        series = chart.series if interval == self.interval else chart.confirm
        series.look_up(limit)
        rows = zip(*(column.tolist() for column in newest(series.columns(), limit)), strict=True)
        length_ms = INTERVAL_MS[interval]
        return tuple(
            Candle(symbol, interval, open_ms, open_ms + length_ms - 1, *(Decimal(repr(value)) for value in values))
            for open_ms, *values in rows
        )

    def series(self) -> Iterator[tuple[str, str, Series]]:
        """All that is held, by symbol and interval; each is bounded by its capacity."""
        for symbol, chart in sorted(self._charts.items()):
            yield symbol, self.interval, chart.series
            yield symbol, self.confirm_interval, chart.confirm

    def readiness(self, symbol: str) -> Readiness:
        """How far the symbol is warmed up, by the lesser of its two intervals."""
        return self._chart_of(symbol).readiness()

    def correlation(self, a: str, b: str) -> float | None:
        """How alike two symbols moved, -1 to 1: log returns of the confirming interval over 30 days.

        Only candles that had ended when the newest primary candle of the two opened count, so that the answer does
        not depend on which of two symbols is told first. None where too few returns are common or one stood still.
        """
        ours, theirs = self._charts.get(a), self._charts.get(b)
        if ours is None or theirs is None:
            return None
        if ours.series.last_open_ms is None or theirs.series.last_open_ms is None:
            return None
        until_ms = max(ours.series.last_open_ms, theirs.series.last_open_ms)
        return self._correlation(min(a, b), max(a, b), until_ms)

    def prepare(self) -> bool:
        """Work out one correlation that the next candles may ask for; False when all are known.

        For a moment in which nothing waits: answers are the same without it, only later.
        """
        opens_ms = [chart.series.last_open_ms for chart in self._charts.values()]
        newest_ms = max((open_ms for open_ms in opens_ms if open_ms is not None), default=None)
        if newest_ms is None:
            return False
        next_ms = newest_ms + INTERVAL_MS[self.interval]
        self._forget_changed()
        for a, b in combinations(sorted(self._charts), 2):
            if (a, b, self._number(next_ms)) not in self._correlations:
                self._correlation(a, b, next_ms)
                return True
        return False

    def _correlation(self, a: str, b: str, until_ms: int) -> float | None:
        self._forget_changed()
        key = a, b, self._number(until_ms)
        if key not in self._correlations:
            ours, theirs = self._charts[a].confirm.columns(), self._charts[b].confirm.columns()
            self._correlations[key] = correlation_at(ours, theirs, self.confirm_interval, until_ms)
        return self._correlations[key]

    def _number(self, at_ms: int) -> int:
        """The number of the confirming candle that a time lies in: what was before it may be looked at."""
        return at_ms // INTERVAL_MS[self.confirm_interval]

    def _forget_changed(self) -> None:
        """Drop what a confirming candle has changed that came since, and what is of the past."""
        for symbol, chart in self._charts.items():
            if chart.changed_ms is None:
                continue
            changed, chart.changed_ms = self._number(chart.changed_ms), None
            self._correlations = {
                (a, b, number): value
                for (a, b, number), value in self._correlations.items()
                if changed - 1 <= number and not (symbol in (a, b) and changed < number)
            }

    def _chart(self, candle: Candle) -> _Chart:
        if candle.interval != self.interval:
            raise ValueError(f"a candle of {candle.symbol} {candle.interval} came; wanted are those of {self.interval}")
        return self._chart_of(candle.symbol)

    def _chart_of(self, symbol: str) -> _Chart:
        if symbol not in self._charts:
            intervals = self.interval, self.confirm_interval
            self._charts[symbol] = _Chart(self.strategy, symbol, *intervals, self.filters)
        return self._charts[symbol]


class _Chart:
    """One symbol: its series, and what the rules last saw of the confirming one."""

    def __init__(self, strategy: Decider, symbol: str, interval: str, confirm_interval: str, filters: Filters) -> None:
        self._strategy = strategy
        self._members = members_of(strategy)
        self._symbol = symbol
        self._confirm_interval = confirm_interval
        self._filters = filters
        self._wanted = max(max(one.window, one.warmup.best) for one in self._members)
        capacity = max(WINDOW_CANDLES_DEFAULT, ATR_WINDOW, self._wanted)
        self.series = Series(interval, max(capacity, filters.choppy_candles + 1))
        # A return needs two candles, and thirty days are counted back from the newest candle that may be looked at.
        self.confirm = Series(confirm_interval, max(capacity, CORRELATION_MS // INTERVAL_MS[confirm_interval] + 3))
        self._resampler = Resampler(interval, confirm_interval)
        self._contexts = {one: _Context(interval, one, filters) for one in filters.context_of(interval)}
        self._confirm_values: tuple[tuple[float, ...], ...] = ((),) * len(self._members)
        self._judged = (-1, -1), Readiness.NOT_READY
        self._stale = False
        self.changed_ms: int | None = None  # open time of the earliest confirming candle since this was last cleared

    def take(self, candle: Candle) -> Placement:
        placement = self.series.append(candle)
        if placement is not Placement.IGNORED:
            for higher in self._resampler.append(candle):
                self.confirm.append(higher)
                self.changed_ms = higher.open_ms if self.changed_ms is None else min(self.changed_ms, higher.open_ms)
                self._stale = True
            for context in self._contexts.values():
                context.take_lower(candle)
        return placement

    def take_context(self, candle: Candle) -> None:
        self._contexts[candle.interval].take(candle)

    def refresh(self) -> None:
        # The confirming values change once an hour, not with each primary candle.
        if self._stale:
            columns = self.confirm.columns()
            self._confirm_values = tuple(
                _last(member.confirm(newest(columns, member.window))) for member in self._members
            )
            self._stale = False

    def decide(self, candle: Candle) -> Signal:
        self.take(candle)
        self.refresh()
        last_ms = self.series.last_open_ms
        if last_ms is not None and candle.open_ms < last_ms:
            why = "old candle: a newer one was decided on"
            return Signal(self._symbol, candle.close_ms, None, 0.0, why, readiness=self.readiness())
        self.series.look_up(self._wanted)
        self.confirm.look_up(self._wanted)
        columns = self.series.columns()
        moment = self._moment(candle, columns)
        primary = (_last(member.primary(newest(columns, member.window))) for member in self._members)
        seen = [(*ours, *confirming) for ours, confirming in zip(primary, self._confirm_values, strict=True)]
        return decided(self._strategy, self._symbol, self._confirm_interval, moment, seen, self._filters)

    def readiness(self) -> Readiness:
        counts = len(self.series), len(self.confirm)
        if counts != self._judged[0]:  # once the series are full, they stay so
            self._judged = counts, readiness(self._strategy, *counts)
        return self._judged[1]

    def _moment(self, candle: Candle, columns: Columns) -> Moment:
        previous_ms = columns.open_ms.item(-2) if len(self.series) > 1 else candle.open_ms
        return Moment(
            at_ms=candle.close_ms,
            candles=len(self.series),
            confirm_candles=len(self.confirm),
            readiness=self.readiness(),
            atr=range_of(newest(columns, ATR_WINDOW)).item(-1),
            gap=candle.open_ms - previous_ms > self.series.interval_ms,
            trends=[context.trend() for context in self._contexts.values()],
            flips=flips_at_end(columns, self._filters.choppy_candles),
        )


class _Context:
    """Closes of a greater interval, from its own history and from closed lower candles, and their trend."""

    def __init__(self, interval: str, context_interval: str, filters: Filters) -> None:
        self._interval = context_interval
        self._candles = filters.trend_candles
        self._resampler = Resampler(interval, context_interval)
        self._closes: dict[int, float] = {}
        self._trend: Trend | None = None

    def take_lower(self, candle: Candle) -> None:
        for higher in self._resampler.append(candle):
            self.take(higher)

    def take(self, candle: Candle) -> None:
        self._closes[candle.open_ms] = float(candle.close)
        if len(self._closes) > TREND_WINDOW_CANDLES:
            del self._closes[min(self._closes)]
        self._trend = None

    def trend(self) -> Trend:
        if self._trend is None:
            closes = np.array([self._closes[open_ms] for open_ms in sorted(self._closes)])
            last = closes.item(-1) if closes.size else NAN
            self._trend = Trend(self._interval, last, newest_average(closes, self._candles))
        return self._trend


def _last(arrays: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> tuple[float, ...]:
    return tuple(array.item(-1) for array in arrays)
