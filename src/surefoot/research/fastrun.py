"""The fast backtest: candles prepared once, then any number of runs over them, and a result like the exact engine's.

`prepare` turns tapes into arrays; `Prepared.run` compiles the loop at its first call on a machine and takes it from the
cache on disk afterwards. Runs share nothing that they write to, and the loop holds no interpreter lock, so that threads
may run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np

from surefoot.assembly import QUOTE
from surefoot.config import SECTIONS, Settings
from surefoot.research import faststate as state
from surefoot.research.fastcode import fill_table, run_loop, table_of
from surefoot.research.fastdata import Market, Opinions, alike_of, market_of, opinions_of, ranges_of
from surefoot.research.fastrules import Beginnings, Records
from surefoot.research.tape import Tape
from surefoot.signals.memory import Seen
from surefoot.signals.window import FloatArray, IntArray
from surefoot.strategies import decider_of, filters_of

Found = TypeVar("Found")

OPINIONS_KEPT = 16
GIVEN = (*Opinions._fields, "alike", "atrs")  # what differs between runs, as the loop's table calls it
ROOM_FIRST = 32_768  # round trips; when it is too small, the run is made again with more
HANDED_OVER_BYTES = 1 << 20  # a longer curve is given away rather than copied
UNIT = Decimal(1) / state.UNIT
UNSEEN_BY_SIGNALS = {"exits", "risk", "breaker", "costs", "paper", "orders", "store"}
SEEN_BY_SIGNALS = tuple(name for name in SECTIONS if name not in UNSEEN_BY_SIGNALS)


@dataclass(slots=True, eq=False)
class Outcome:
    """What a run came to, as arrays; prices in ticks, quantities in lots, money and base in units of 1e-8.

    `trips` are round trips in the order in which they ended (`faststate.TRIP`), `alarms` what the breaker did, `levels`
    where stops and targets were to rest. `curve` is the equity in quote at `curve_ms`: the start, each primary close,
    the end of the tape and the very end. `world`, `records` (of the symbols) and `counts` are the loop's own at the
    end, which the properties put into words. `quote` and `base` are the wallets then.
    """

    market: Market
    trips: Any
    alarms: Any
    levels: Any
    curve_ms: IntArray
    curve: FloatArray
    world: Any
    records: Any
    counts: IntArray

    @property
    def quote(self) -> int:
        return int(self.world["quote"][0])

    @property
    def base(self) -> tuple[int, ...]:
        return tuple(self.records["e_base"].tolist())

    @property
    def orders(self) -> int:
        return int(self.world["orders"][0])

    @property
    def fills(self) -> int:
        return int(self.world["fills"][0])

    @property
    def flagged(self) -> int:
        """Round trips in which the exact engine may differ."""
        return int(self.world["flagged"][0])

    @property
    def fees_in_quote(self) -> float:
        return float(self.world["fees_in_quote"][0])

    @property
    def taken(self) -> float:
        """What was bought and sold as a taker, in quote."""
        return float(self.world["taken"][0])

    @property
    def refusals(self) -> dict[str, int]:
        counts = zip(state.OUTCOMES, self.counts.tolist(), strict=True)
        return {name: count for name, count in counts if count and name != "approved"}

    @property
    def fees(self) -> dict[str, Decimal]:
        """By asset; those of buying are taken from what was bought."""
        named = zip(self.market.rules, self.records, strict=True)
        fees = {rules.base: int(one["e_fees"]) * UNIT for rules, one in named if one["e_order"]}
        if self.world["fills"] > self.world["opened"]:  # something was sold
            fees[QUOTE] = int(self.world["fees"][0]) * UNIT
        return fees

    @property
    def open_since_ms(self) -> dict[str, int]:
        """Of what is still held, since when."""
        if not self.records["e_held"].any():
            return {}
        named = zip(self.market.symbols, self.records, strict=True)
        return {name: int(one["e_opened_ms"]) for name, one in named if one["e_held"]}

    @property
    def final_equity(self) -> Decimal:
        """In quote, exact."""
        total = self.quote * UNIT
        for rules, (_, end), base in zip(self.market.rules, self.market.spans, self.base, strict=True):
            total += base * UNIT * int(self.market.ticks.close[end - 1]) * rules.tick_size
        return total

    def symbols(self) -> list[str]:
        """The symbol of each round trip."""
        return [self.market.symbols[at] for at in self.trips["symbol"].tolist()]

    def pnl(self) -> FloatArray:
        """What each round trip earned, in quote after fees."""
        return np.asarray(self.trips["pnl"] / state.UNIT)

    def prices(self) -> tuple[FloatArray, FloatArray]:
        """Average entry and exit price of each round trip, in quote per base."""
        ticks = np.array([float(rules.tick_size) for rules in self.market.rules])[self.trips["symbol"]]
        return self.trips["entry"] * ticks, self.trips["received"] / state.UNIT / self.quantities(sold_only=True)

    def quantities(self, *, sold_only: bool = False) -> FloatArray:
        """Base quantity of each round trip: what was sold, or bought where nothing was."""
        lots = np.array([float(rules.lot_size) for rules in self.market.rules])[self.trips["symbol"]]
        sold = self.trips["sold"]
        return np.asarray((sold if sold_only else np.where(sold, sold, self.trips["bought"])) * lots)

    def reasons(self) -> list[str]:
        """What ended each round trip."""
        return [state.REASONS[reason] for reason in self.trips["reason"].tolist()]


@dataclass(slots=True)
class Prepared:
    """A market in arrays, ready to be run with any settings of the same symbols and interval, by several threads."""

    market: Market
    _opinions: list[tuple[tuple[Any, ...], Opinions]] = field(default_factory=list)
    _alike: dict[str, FloatArray] = field(default_factory=dict)
    _idle: list[_Arrays] = field(default_factory=list)
    _beginnings: Beginnings = field(init=False)
    _seen: list[Seen] = field(init=False)
    _unranged: FloatArray = field(init=False)
    _ranges: FloatArray | None = None

    def __post_init__(self) -> None:
        self._beginnings = Beginnings(self.market)
        self._seen = [Seen() for _ in self.market.symbols]
        self._unranged = np.zeros(self.market.gaps.size)  # nobody writes or reads it: it takes no memory

    def opinions_for(self, settings: Settings) -> Opinions:
        """What the strategy says, remembered by all settings that it could depend on."""
        # Values of sections rather than sections: what is the same object is then passed over.
        key = tuple(vars(getattr(settings, name)) for name in SEEN_BY_SIGNALS)
        for known, opinions in self._opinions:
            if known == key:
                return opinions
        decider, confirm_interval = decider_of(settings), settings.market.confirm_interval
        looks = [seen.look for seen in self._seen]
        opinions = opinions_of(self.market, decider, confirm_interval, filters_of(settings), looks)
        # The newest first, since a search asks for them in a row; it has thousands of them, some megabytes each.
        self._opinions = [(key, opinions), *self._opinions[: OPINIONS_KEPT - 1]]
        return opinions

    def alike_for(self, settings: Settings) -> FloatArray:
        """The correlations of all symbols; an empty array where nothing asks for them."""
        interval = settings.market.confirm_interval
        if settings.risk.correlation_max >= 1 or len(self.market.symbols) == 1:
            return self._alike.setdefault("", np.zeros((0, len(self.market.symbols))))
        if interval not in self._alike:
            self._alike[interval] = alike_of(self.market, interval)
        return self._alike[interval]

    def ranges_for(self, settings: Settings) -> FloatArray:
        """The average true ranges; nothing where nothing asks for them, which is still read once an entry."""
        if settings.exits.mode != "atr" and settings.risk.sizing != "atr":
            return self._unranged
        if self._ranges is None:
            self._ranges = ranges_of(self.market)
        return self._ranges

    def run(self, settings: Settings, say: Callable[[str], None] | None = None) -> Outcome:
        """One backtest; `say` hears when the loop has to be compiled first.

        Raises ConfigError for settings that only the exact engine can run.
        """
        return self._lived(settings, _Arrays.taken, say)

    def glance(self, settings: Settings, take: Callable[[Outcome], Found]) -> Found:
        """The same for a sweep, which wants a few figures of each run: what `take` makes of the outcome.

        The next run writes over the arrays of the outcome: `take` must keep none of them.
        """
        return self._lived(settings, lambda arrays: take(arrays.outcome()), None)

    def _lived(self, settings: Settings, take: Callable[[_Arrays], Found], say: Callable[[str], None] | None) -> Found:
        room = ROOM_FIRST
        while True:
            arrays = self._arrays(room)
            self._beginnings.write(arrays.records, settings)
            arrays.equity[0] = float(settings.paper.balance_usdt)
            given = self.opinions_for(settings), self.alike_for(settings), self.ranges_for(settings)
            why = run_loop(arrays.table_of(*given), say)
            if why == state.DONE:
                found = take(arrays)
                self._idle.append(arrays)
                return found
            if why == state.QUEUE_FULL:
                raise RuntimeError("too many messages were on their way at once")
            room *= 4

    def _arrays(self, room: int) -> _Arrays:
        """Those of an earlier run of any thread, if they are large enough."""
        try:
            arrays = self._idle.pop()
        except IndexError:
            return _Arrays(self.market, room)
        return arrays if arrays.room >= room else _Arrays(self.market, room)


def prepare(tapes: Sequence[Tape], settings: Settings) -> Prepared:
    """Arrays of these tapes for the interval of the settings; the tapes in the order of the settings' symbols."""
    return Prepared(market_of(tapes, settings.market.interval))


class _Arrays:
    """The records of a run, and the table of where they are. They are used for one run after the other."""

    def __init__(self, market: Market, room: int) -> None:
        self.market = market
        self.room = room
        self.records = Records(len(market.symbols))
        self.equity = np.empty(market.curve_ms.size)
        self.bounds = np.empty(2)
        self.queue = np.empty((state.QUEUE, 9), dtype=np.int64)
        self.trips = np.empty(room, state.TRIP)
        self.alarms = np.empty(room, state.ALARM)
        self.levels = np.empty(4 * room, state.LEVEL)
        self._given: tuple[Any, ...] = ()
        self._table: Any = None

    def table_of(self, opinions: Opinions, alike: FloatArray, ranges: FloatArray) -> Any:
        """Where everything is that the loop takes; what is another array than in the last run is put in anew."""
        given = (*opinions, alike, ranges)  # kept, so that no other array can come to lie there
        if self._table is None:
            self._table = table_of(self._all(opinions, alike, ranges))
        else:
            fresh = zip(GIVEN, given, self._given, strict=True)
            fill_table(self._table, {name: one for name, one, other in fresh if one is not other})
        self._given = given
        return self._table

    def _all(self, opinions: Opinions, alike: FloatArray, ranges: FloatArray) -> tuple[Any, ...]:
        market, records = self.market, self.records
        events, rolls, closes = market.events, market.rolls, market.closes
        return (
            records.symbols, records.world, records.rules, records.limits, records.hours, records.anchors, self.bounds,
            self.queue, self.trips, self.alarms, self.levels, records.counts, self.equity[1:], market.curve_ms[1:-1],
            *market.ticks, *events, rolls.symbol, rolls.candle, rolls.late, closes.close, closes.high, closes.close_ms,
            opinions.kinds, opinions.scores, ranges, opinions.ready, opinions.filtered, market.gaps, alike,
            opinions.spoken, market.leaps.breaks, market.leaps.lows, market.leaps.highs,
        )  # fmt: skip

    def outcome(self) -> Outcome:
        """Of the last run, in the arrays that the next one writes to."""
        market, records = self.market, self.records
        world = records.world[0]
        curve_ms, now = market.curve_ms, int(world["now"])
        if now > market.end_ms:
            curve_ms = curve_ms.copy()
            curve_ms[-1] = now
        return Outcome(
            market,
            self.trips[: world["round_trips"]],
            self.alarms[: world["alarms"]],
            self.levels[: world["levels"]],
            curve_ms,
            self.equity,
            records.world,
            records.symbols,
            records.counts,
        )

    def taken(self) -> Outcome:
        """The same, taken away: what the next run writes is elsewhere."""
        seen = self.outcome()
        if seen.curve.nbytes < HANDED_OVER_BYTES:
            seen.curve = seen.curve.copy()
        else:
            self.equity = np.empty(seen.curve.size)
            fill_table(self._table, {"curve": self.equity[1:]})
        seen.trips, seen.alarms, seen.levels = _copied(seen.trips), _copied(seen.alarms), _copied(seen.levels)
        seen.world, seen.records, seen.counts = _copied(seen.world), _copied(seen.records), seen.counts.copy()
        return seen


def _copied(records: Any) -> Any:
    """A copy word by word: NumPy would go field by field, which takes longer than a run."""
    return records.view(np.int64).copy().view(records.dtype)
