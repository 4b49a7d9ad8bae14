"""Calm stretches: candles of a backtest that come to nothing are passed over together, closes and all.

Between two moments that matter a bot in virtual time hears prices and closes and does nothing about them. Such a
stretch begins and ends when a candle has opened and all that was said has arrived. What the engine has to hear of it is
told from here and not by way of exchange, wire and session: the first price of an hour, closes whose opinion is only
written down, the comparison of the books, which says what it said the last time. Exchange, session and signals then
stand where they would have come to. Whatever might come to more ends the stretch a candle before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import add

from simex.exchange import Exchange
from simex.market import CandleTape
from simex.strip import Strip
from surefoot.core.engine import Engine
from surefoot.core.messages import CandleClosed, PriceMarked, Woke
from surefoot.core.model import INTERVAL_MS, MS_PER_HOUR, MS_PER_MINUTE, Candle
from surefoot.research.exact import NEVER_MS, VirtualTime
from surefoot.signals.replay import Ahead, ReplayedSignals


class Stretches:
    """The calm stretches of one backtest. `interval` is that of its signals."""

    def __init__(
        self, driver: VirtualTime, exchange: Exchange, tape: CandleTape, signals: ReplayedSignals, interval: str
    ) -> None:
        self._driver = driver
        self._exchange = exchange
        self._tape = tape
        self._signals = signals
        self._interval = interval
        driver.looks_between = True
        self._evenness: dict[str, tuple[Strip, list[int]]] = {}

    def next_try_ms(self, until_ms: int) -> int:
        """When it is next worth a try to pass over something, but not after a time."""
        now_ms = self._driver.now_ms
        opens_ms = [ms for lane in self._tape.lanes() if (ms := lane.next_opening_ms) > now_ms]
        return min([*opens_ms, until_ms])

    def pass_over(self, marks: Sequence[int], at: int) -> Sequence[float]:
        """Go on from where the driver is as far as nothing matters; the equity at the marks from `at` on that were
        passed. Nothing is done where something might matter at once."""
        driver, opens_ms = self._driver, self._opening_ms()
        if opens_ms is None or at == len(marks) or opens_ms + driver.latency_ms >= marks[at]:
            return []
        driver.run(opens_ms + driver.latency_ms)
        courses = self._courses()
        if not courses:
            return []
        walk = _Walk(driver, self._exchange, self._signals, courses, marks, at)
        end = walk.go(self._even_candles(courses))
        if not end:
            return []
        end_ms = courses[0].opens_ms(end)
        self._tape.pass_to(self._exchange, end_ms)
        for course in courses:
            driver.session.pass_candles(course.symbol, end_ms - end_ms % course.interval_ms)
        driver.resume(end_ms + driver.latency_ms)
        return walk.equities

    def _opening_ms(self) -> int | None:
        """When candles of all symbols that have candles now have just opened, at the soonest; None when none has."""
        until_ms = self._driver.now_ms + INTERVAL_MS[self._interval]
        return max((ms for lane in self._tape.lanes() if (ms := lane.opening_ms) <= until_ms), default=None)

    def _courses(self) -> list[_Course]:
        """The symbols' candles from one that has just opened everywhere; none when that is not where the tape is."""
        latency_ms, exchange, interval_ms = self._driver.latency_ms, self._exchange, INTERVAL_MS[self._interval]
        opened_ms = self._driver.now_ms - latency_ms
        courses = []
        for lane in self._tape.lanes():
            strip, at, symbol = lane.strip, lane.at, lane.symbol
            if lane.stage == 0:
                continue  # it has no candles now, see `_even_candles`
            calm, candle_ms = exchange.calm(symbol), strip.length_ms[at]
            primary_ms = opened_ms - opened_ms % interval_ms
            if (
                lane.stage != 1
                or strip.open_ms[at] != opened_ms
                or not MS_PER_MINUTE <= candle_ms <= MS_PER_HOUR
                or calm is None
                or primary_ms < strip.open_ms[0]
                or not self._driver.session.is_level(symbol, primary_ms)
            ):
                return []
            watched, side = not exchange.is_idle(symbol), exchange.stop_side(symbol)
            ahead = self._signals.ahead(symbol)
            courses.append(
                _Course(
                    symbol, self._interval, self._tape, exchange, strip, at, opened_ms, candle_ms, watched, side,
                    strip.steps_within(*calm), latency_ms, ahead, opened_ms, self._driver.engine.asks_on_closes(symbol),
                )
            )  # fmt: skip
        return courses if len({course.candle_ms for course in courses}) == 1 else []

    def _even_candles(self, courses: Sequence[_Course]) -> int:
        """How many candles can be passed at most: the one behind them is there, and each follows the one before."""
        first = courses[0]
        until_ms = min(
            (lane.strip.open_ms[lane.at] for lane in self._tape.lanes() if lane.stage == 0), default=NEVER_MS
        )
        until_ms = min([until_ms - 1, *(course.ahead.end_ms for course in courses)])
        even = min(self._even_until(course) - course.at for course in courses)
        return min(even, (until_ms - first.opened_ms) // first.candle_ms)

    def _even_until(self, course: _Course) -> int:
        """The last candle of the strip up to which, from the course's first on, all are of one length without a gap."""
        strip, symbol = course.strip, course.symbol
        if symbol not in self._evenness or self._evenness[symbol][0] is not strip:
            opens_ms, lengths_ms = strip.open_ms, strip.length_ms
            breaks = [
                at
                for at in range(len(strip) - 1)
                if opens_ms[at + 1] - opens_ms[at] != lengths_ms[at] or lengths_ms[at + 1] != lengths_ms[at]
            ]
            self._evenness[symbol] = strip, [*breaks, len(strip) - 1]
        breaks = self._evenness[symbol][1]
        return breaks[bisect_right(breaks, course.at - 1)]


@dataclass(slots=True)
class _Course:
    """One symbol on a stretch: its candles by their number from the one on that is open, and what is heard of them."""

    symbol: str
    interval: str
    tape: CandleTape
    exchange: Exchange
    strip: Strip
    at: int
    opened_ms: int
    candle_ms: int
    watched: bool  # prices are heard, not only closes
    stop_side: int
    calm: tuple[int, int]  # prices between which nobody's order notices, in steps
    latency_ms: int
    ahead: Ahead
    closed_ms: int  # closes up to here were heard
    counts_closes: bool  # a position is asked at each close how its candles went

    @property
    def interval_ms(self) -> int:
        return INTERVAL_MS[self.interval]

    def opens_ms(self, number: int) -> int:
        return self.opened_ms + number * self.candle_ms

    def price(self, steps: int) -> Decimal:
        return Decimal(steps).scaleb(-self.strip.price_decimals)

    def outside(self, start: int, end: int, low: Decimal, high: Decimal) -> int:
        """The first candle from `start` to `end`, exclusive, that reaches an order or leaves a range; else `end`."""
        strip, first, last = self.strip, self.at + start, self.at + end
        steps = strip.steps_within(low, high)
        low_steps, high_steps = max(steps[0], self.calm[0]), min(steps[1], self.calm[1])
        if min(strip.low[first:last]) > low_steps and max(strip.high[first:last]) < high_steps:
            return end
        lows, highs = strip.low, strip.high
        return next(n for n in range(first, last) if lows[n] <= low_steps or highs[n] >= high_steps) - self.at

    def heard(self, at_ms: int) -> tuple[int, int]:
        """The newest print that has arrived by a time, not before the first of the stretch: when it did, its price in
        steps."""
        behind_ms = at_ms - self.latency_ms - self.opened_ms
        number, inside_ms = divmod(behind_ms, self.candle_ms)
        strip, at, arrived_ms = self.strip, self.at + number, at_ms - inside_ms
        if inside_ms == self.candle_ms - 1:
            return at_ms, strip.close[at]
        if inside_ms < self.candle_ms // 4:
            return arrived_ms, strip.open[at]
        second = self.tape.second_extreme(strip, at, self.stop_side)
        if inside_ms >= self.candle_ms // 2:
            return arrived_ms + self.candle_ms // 2, second
        return arrived_ms + self.candle_ms // 4, strip.low[at] + strip.high[at] - second

    def closed_by(self, at_ms: int) -> int:
        """The end of the newest candle of the signals' interval whose close has arrived by a time."""
        heard_ms = at_ms - self.latency_ms
        return heard_ms - heard_ms % self.interval_ms

    def close_before(self, end_ms: int) -> int:
        """The last price before a time at which a candle ends, in steps."""
        return self.strip.close[self.at + (end_ms - self.opened_ms) // self.candle_ms - 1]

    def mark(self, at_ms: int, steps: int) -> PriceMarked:
        return PriceMarked(at_ms, self.symbol, *self.exchange.quote_at(self.symbol, self.price(steps)), at_ms)

    def close(self, end_ms: int) -> CandleClosed:
        """The close of the signals' candle that ends at a time, as it arrives."""
        strip, open_ms = self.strip, end_ms - self.interval_ms
        end = self.at + (end_ms - self.opened_ms) // self.candle_ms
        start = self.at + (open_ms - self.opened_ms) // self.candle_ms if open_ms >= self.opened_ms else (
            strip.first_from(open_ms)
        )  # fmt: skip
        candle = Candle(
            self.symbol, self.interval, open_ms, end_ms - 1, self.price(strip.open[start]),
            self.price(max(strip.high[start:end])), self.price(min(strip.low[start:end])),
            self.price(strip.close[end - 1]), Decimal(sum(strip.volume[start:end])).scaleb(-strip.volume_decimals),
        )  # fmt: skip
        return CandleClosed(end_ms + self.latency_ms, candle)


class _Walk:
    """The way through one stretch: from one moment that the engine has to hear of to the next."""

    def __init__(
        self,
        driver: VirtualTime,
        exchange: Exchange,
        signals: ReplayedSignals,
        courses: Sequence[_Course],
        marks: Sequence[int],
        at: int,
    ) -> None:
        self.equities: Sequence[float] = []  # at each mark that was passed
        self._driver = driver
        self._engine: Engine = driver.engine
        self._signals = signals
        self._courses = courses
        self._first = courses[0]
        self._latency_ms = driver.latency_ms
        self._until_ms = min(driver.quiet_until_ms(), exchange.due_ms())
        self._marks = marks
        self._mark = at
        self._before = dict(self._engine.marks)

    def go(self, count: int) -> int:
        """How many candles were passed, of at most so many."""
        number, hour_ms, calm = 0, 0, None
        while True:
            if hour_ms != self._next_hour_ms(number):  # for as long as prices lie there, where they lie is the same
                hour_ms, calm = self._next_hour_ms(number), self._engine.calm_prices(self._heard_ms(number))
            if calm is None:
                break
            stop = self._next_stop(number)
            end = self._end(number, min(stop, count), calm)
            if stop > end or not self._is_harmless(stop):
                number = self._compare_books(number, min(end, stop - 1))
                break
            number = self._compare_books(number, stop)
            if number < stop:
                break
            self._hear(stop)
        if number:
            self._catch_up(self._heard_ms(number))
            self._note_points(number)
        return number

    # -- how far ----------------------------------------------------------------------------------------------

    def _heard_ms(self, number: int) -> int:
        """When all has arrived that was said when a candle opened."""
        return self._first.opens_ms(number) + self._latency_ms

    def _number_before(self, at_ms: int) -> int:
        """The last candle of whose opening all has arrived before a time."""
        return (at_ms - 1 - self._latency_ms - self._first.opened_ms) // self._first.candle_ms

    def _next_hour_ms(self, number: int) -> int:
        return (self._heard_ms(number) // MS_PER_HOUR + 1) * MS_PER_HOUR

    def _next_stop(self, number: int) -> int:
        """The next candle with whose opening an hour begins, or a close is told that has an opinion."""
        opens_ms = self._first.opens_ms(number)
        stops_ms = [self._next_hour_ms(number)]
        for course in self._courses:
            if course.counts_closes:
                stops_ms.append(opens_ms - opens_ms % course.interval_ms + course.interval_ms)
                continue
            ends_ms = course.ahead.ends_ms
            at = bisect_right(ends_ms, opens_ms)
            stops_ms += ends_ms[at : at + 1]
        return -(-(min(stops_ms) - self._first.opened_ms) // self._first.candle_ms)

    def _end(self, number: int, most: int, calm: tuple[int, Mapping[str, tuple[Decimal, Decimal]]]) -> int:
        """The last candle, up to `most`, that opens before anything happens and lies between the calm prices."""
        until_ms, ranges = calm
        end = min(most, self._number_before(min(self._until_ms, until_ms)))
        for course in self._courses:
            if course.symbol in ranges and end > number:
                end = course.outside(number, end + 1, *ranges[course.symbol]) - 1
            elif course.watched and course.symbol not in ranges:
                return number
        return max(end, number)

    def _is_harmless(self, stop: int) -> bool:
        """Whether what is heard when a candle opens is only written down."""
        at_ms, heard_ms = self._first.opens_ms(stop), self._heard_ms(stop)
        for course in self._courses:
            opinion = course.ahead.opinions.get(at_ms)
            if opinion is not None and not self._engine.only_refuses(course.symbol, *opinion, heard_ms):
                return False
            is_asked = course.counts_closes and not at_ms % course.interval_ms
            if is_asked and self._engine.may_reverse(course.close(at_ms).candle):
                return False
        if at_ms % MS_PER_HOUR:
            return True
        prices = {}
        for course in self._courses:
            steps = [course.close_before(at_ms)]
            if course.watched:
                steps.append(course.strip.open[course.at + stop])
            heard = [self._price_at(course, self._eve_ms(at_ms)), *map(course.price, steps)]
            prices[course.symbol] = min(heard), max(heard)
        return self._engine.turns_calmly(at_ms // MS_PER_HOUR, prices)

    def _eve_ms(self, at_ms: int) -> int:
        """Just before the last price before a time arrives, or just before that time."""
        return at_ms + max(self._latency_ms - 2, -1)

    # -- what the engine hears ----------------------------------------------------------------------------------

    def _compare_books(self, number: int, stop: int) -> int:
        """Compare the books as often as it is due on the way to a candle; the last one that this allows to come to."""
        engine, driver = self._engine, self._driver
        trips = driver.session.reading_trips()
        takes_ms = 0 if trips is None else 2 * trips * self._latency_ms
        while (due_ms := engine.deadline_ms()) is not None and due_ms <= self._heard_ms(stop):
            reading = driver.last_reading
            is_reading = due_ms == engine.reading_due_ms() and due_ms > self._heard_ms(number)
            if (
                reading is None
                or trips is None
                or not is_reading
                or due_ms + takes_ms >= self._first.opens_ms(stop) - 1
            ):
                return max(number, min(stop, self._number_before(due_ms)))
            self._catch_up(due_ms)
            driver.hear(Woke(due_ms))
            driver.hear(replace(reading, at_ms=due_ms + takes_ms))
        return stop

    def _hear(self, stop: int) -> None:
        """What arrives with the opening of a candle, in its order; only the first judgement of an hour and opinions are
        more than facts."""
        at_ms = self._first.opens_ms(stop)
        to_judge = not at_ms % MS_PER_HOUR
        self._catch_up(self._eve_ms(at_ms))
        if self._latency_ms:
            for course in self._courses:
                if course.watched:
                    self._take(course.mark(at_ms - 1 + self._latency_ms, course.close_before(at_ms)), to_judge)
                    to_judge = False
        for course in self._courses:
            if not at_ms % course.interval_ms:
                has_opinion = at_ms in course.ahead.opinions
                self._take_close(course, at_ms, to_judge or has_opinion)
                to_judge = False
            if course.watched:
                mark = course.mark(at_ms + self._latency_ms, course.strip.open[course.at + stop])
                self._take(mark, to_judge)
                to_judge = False

    def _catch_up(self, at_ms: int) -> None:
        """Let the engine know what it would have heard last by a time."""
        for course in self._courses:
            end_ms = course.closed_by(at_ms)
            if end_ms > course.closed_ms:
                self._take_close(course, end_ms, judges=False)
            if course.watched:
                self._engine.fold(course.mark(*course.heard(at_ms)))

    def _take_close(self, course: _Course, end_ms: int, judges: bool) -> None:
        course.closed_ms = end_ms
        if not judges:
            self._signals.pass_to(course.symbol, end_ms - course.interval_ms)
        self._take(course.close(end_ms), judges)

    def _take(self, event: PriceMarked | CandleClosed, judges: bool) -> None:
        if judges:
            self._driver.hear(event)
        else:
            self._engine.fold(event)

    # -- what was passed ------------------------------------------------------------------------------------------

    def _price_at(self, course: _Course, at_ms: int) -> Decimal:
        """What the engine takes for a symbol's price at a time."""
        steps = self._steps_at(course, at_ms)
        return self._before[course.symbol] if steps is None else course.price(steps)

    def _steps_at(self, course: _Course, at_ms: int) -> int | None:
        """The same in steps; None while it is what it was before the stretch."""
        if course.watched:
            return course.heard(at_ms)[1]
        end_ms = course.closed_by(at_ms)
        return course.close_before(end_ms) if end_ms > course.opened_ms else None

    def _note_points(self, number: int) -> None:
        """The equity at each mark up to the opening of a candle."""
        end_ms = self._first.opens_ms(number)
        marks = self._marks[self._mark : bisect_right(self._marks, end_ms, self._mark)]
        if not marks:
            return
        lever = self._engine.equity_lever(course.symbol for course in self._courses)
        assert lever is not None, "equity is known on a calm stretch"
        still, amounts = lever
        equities = [still] * len(marks)
        for course in self._courses:
            amount = amounts[course.symbol]
            if amount:
                before, step = self._before[course.symbol] * amount, course.price(1) * amount
                steps = [self._steps_at(course, mark_ms) for mark_ms in marks]
                moved = (before if each is None else step * each for each in steps)
                equities = list(map(add, equities, moved))
        self.equities = [*map(float, equities)]
