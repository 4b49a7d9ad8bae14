"""What moves the prices of the simulated exchange: replayed candles or a seeded generator.

Rules: a market knows when its next event is due (`next_ms`) and performs it on the exchange (`advance`); it never
reads a clock. Chance comes from `random.Random(seed)` only, so the same seed is the same market at any speed. Prices
lie on the symbol's tick grid, quantities on its lot grid.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal, NamedTuple, Protocol, TypeVar

from simex.strip import Spool, Strip, spool_of
from simex.venue import DEFAULT_INSTRUMENTS, Candle, InstrumentSpec

MINUTE_MS = 60_000
TOLD_FROM = 2  # of the four prints of a stride's last candle
VOLUME_STEP = Decimal("0.00000001")
DEFAULT_VOLUME_SHARE = Decimal("0.10")

Path = Literal["worst", "best"]
Price = TypeVar("Price", int, Decimal)  # whole steps or amounts
# Asked between two events: until when, and by symbol between which prices (exclusive), a print would change nothing for
# whoever watches but the price itself, as long as all of them stay there; None when it would.
Ranges = Callable[[], tuple[int, Mapping[str, tuple[Decimal, Decimal]]] | None]


class PrintTaker(Protocol):
    """What a market needs of an exchange; `simex.exchange.Exchange` is one."""

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None: ...

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None: ...

    def next_close_ms(self, symbol: str) -> int: ...

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None: ...

    def is_idle(self, symbol: str) -> bool: ...

    def stop_side(self, symbol: str) -> int: ...


class QuietTaker(PrintTaker, Protocol):
    """What passing over candles needs of one, klines and all."""

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int, told: bool = True) -> None: ...


class Market(Protocol):
    """A source of market events in market time."""

    @property
    def end_ms(self) -> int | None:
        """When the last candle ends (UTC ms); None for a market without end."""

    def next_ms(self) -> int | None:
        """When the next event is due (UTC ms); None when there is no more."""

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        """Perform every event due at `next_ms()`.

        Nothing but the market happens before `before_ms`: what nobody would notice may be performed up to there, too.
        With `ranges`, watched prints may be left out as well, so that the last ones before `before_ms` are made.
        """


# -- replay ----------------------------------------------------------------------------------------------------------


class CandleTape:
    """Replay of candles of several symbols under one clock, four ticks a candle.

    A candle [t, t+I) prints its open at t, one extreme at t+I//4, the other at t+I//2 and its close at t+I-1.
    With `always_tick` false, a symbol nobody watches or trades is finished in one go at t+I//4, and with it as many
    candles after it as nobody would notice.
    """

    def __init__(
        self,
        candles: Mapping[str, Sequence[Candle] | Spool],
        *,
        path: Path = "worst",
        always_tick: bool,
        volume_share: Decimal = DEFAULT_VOLUME_SHARE,
    ) -> None:
        given = {symbol: each for symbol, each in candles.items() if each}
        spools = {symbol: each if isinstance(each, Spool) else spool_of(each) for symbol, each in given.items()}
        self._reels = [_Reel(symbol, spool.strips) for symbol, spool in spools.items()]
        self._path = path
        self._always_tick = always_tick
        self._volume_share = volume_share
        self.start_ms = min((reel.due_ms for reel in self._reels), default=0)
        self.end_ms = max((spool.end_ms for spool in spools.values()), default=0)
        self._next_ms = self._soonest_ms()

    def next_ms(self) -> int | None:
        return self._next_ms

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        at_ms = self._next_ms
        if at_ms is None:
            raise RuntimeError("the tape has ended")
        if ranges is not None:
            self._stride(exchange, before_ms, ranges)
        for reel in self._reels:
            if reel.due_ms == at_ms:
                self._play(reel, exchange, before_ms)
        self._next_ms = self._soonest_ms()

    def _play(self, reel: _Reel, exchange: PrintTaker, before_ms: int) -> None:
        if reel.stage == 1 and not self._always_tick and exchange.is_idle(reel.symbol):
            reel.pass_to(exchange, reel.end_of_begun(before_ms, exchange.next_close_ms(reel.symbol)))
        else:
            self._print(reel, exchange, told=True)

    def _print(self, reel: _Reel, exchange: PrintTaker, told: bool) -> None:
        if reel.stage == 1:
            candle = reel.candle
            stop_side = exchange.stop_side(reel.symbol)
            reel.low_first = self._is_low_first(candle.low, candle.high, candle.close, stop_side)
        volume = reel.last_volume if reel.stage == 3 else reel.quarter_volume
        liquidity = self._volume_share * reel.candle.volume
        exchange.tick(reel.symbol, reel.price(), volume, liquidity, reel.due_ms, told)
        reel.next_tick()

    def _stride(self, exchange: PrintTaker, before_ms: int, ranges: Ranges) -> None:
        """Go over candles of watched symbols that reach neither an order nor the ranges, together on one clock.

        Of each symbol's last candle before anything happens every print is made, and the second half of them told:
        whoever watches knows then what was printed last.
        """
        watched, until_ms = [], before_ms
        for reel in self._reels:
            if reel.is_over:
                continue
            if not exchange.is_idle(reel.symbol):
                if reel.stage > 1:
                    return
                watched.append(reel)
            close_ms = exchange.next_close_ms(reel.symbol)
            if close_ms < until_ms:
                until_ms = close_ms
        if not any(reel.last_whole(until_ms) >= reel.at for reel in watched):
            return
        wanted = ranges()
        if wanted is None:
            return
        until_ms = min(until_ms, wanted[0])
        for reel in watched:
            calm, narrow = exchange.calm(reel.symbol), wanted[1].get(reel.symbol)
            if calm is None or narrow is None:
                return
            until_ms = min(until_ms, reel.inside_until_ms(max(calm[0], narrow[0]), min(calm[1], narrow[1]), until_ms))
        for reel in watched:
            last = reel.last_whole(until_ms)
            if last > reel.at:
                reel.pass_to(exchange, last)
            while last >= reel.at and reel.stage < TOLD_FROM:
                self._print(reel, exchange, told=False)

    def _is_low_first(self, low: Price, high: Price, close: Price, stop_side: int) -> bool:
        # The worst path runs into the stop first; without a stop, it visits the extreme further from the close first.
        worst = stop_side < 0 if stop_side else close - low > high - close
        return worst if self._path == "worst" else not worst

    # -- for a driver that passes over candles by itself ----------------------------------------------------------

    def lanes(self) -> Sequence[Lane]:
        """Where each symbol is whose last candle has not ended."""
        return [Lane(reel.symbol, reel.strip, reel.at, reel.stage) for reel in self._reels if not reel.is_over]

    def second_extreme(self, strip: Strip, at: int, stop_side: int) -> int:
        """The third print of a candle, in the strip's steps."""
        low, high = strip.low[at], strip.high[at]
        return high if self._is_low_first(low, high, strip.close[at], stop_side) else low

    def pass_to(self, exchange: QuietTaker, until_ms: int) -> None:
        """Let the exchange take all candles before those that open at a time, and these opening prints; nobody is told.

        The strip of what has begun has such a candle.
        """
        for reel in self._reels:
            if not reel.is_over and reel.due_ms < until_ms:
                end = reel.strip.first_from(until_ms, reel.at)
                exchange.pass_candles(reel.symbol, reel.strip, reel.at, end, told=False)
                reel.go_to(end)
                self._print(reel, exchange, told=False)
        self._next_ms = self._soonest_ms()

    def _soonest_ms(self) -> int | None:
        soonest_ms = None
        for reel in self._reels:
            if not reel.is_over and (soonest_ms is None or reel.due_ms < soonest_ms):
                soonest_ms = reel.due_ms
        return soonest_ms


class Lane(NamedTuple):
    """A symbol's place on the tape: the candle of its strip, and how many of its prints were made."""

    symbol: str
    strip: Strip
    at: int
    stage: int

    @property
    def next_opening_ms(self) -> int:
        """When the next candle opens."""
        return self.strip.end_ms(self.at) if self.stage else self.strip.open_ms[self.at]

    @property
    def opening_ms(self) -> int:
        """When its candle opens, or the next one if more than the opening was printed of it."""
        return self.strip.open_ms[self.at] if self.stage <= 1 else self.strip.end_ms(self.at)


class _Reel:
    """The position of the tape in one symbol's candles."""

    __slots__ = (
        "_strips",
        "at",
        "candle",
        "due_ms",
        "is_over",
        "last_volume",
        "low_first",
        "quarter_volume",
        "stage",
        "strip",
        "symbol",
    )

    def __init__(self, symbol: str, strips: Iterator[Strip]) -> None:
        """There is at least one candle."""
        self.symbol = symbol
        self.low_first = False
        self.is_over = False
        self._strips = strips
        self.strip = next(strips)
        self.go_to(0)

    def next_candle(self) -> None:
        self.go_to(self.at + 1)

    def pass_to(self, exchange: PrintTaker, end: int) -> None:
        """Let the exchange take the present candle and those up to `end`, exclusive, in one go."""
        exchange.pass_candles(self.symbol, self.strip, self.at, end)
        self.go_to(end)

    def end_of_begun(self, before_ms: int, close_ms: int) -> int:
        """Behind the present candle and those that open before `close_ms` and are a quarter over before `before_ms`."""
        strip, after = self.strip, self.at + 1
        end = strip.first_from(min(before_ms, close_ms), after)
        while end > after and strip.open_ms[end - 1] + strip.length_ms[end - 1] // 4 >= before_ms:
            end -= 1
        return end

    def last_whole(self, until_ms: int) -> int:
        """The last candle of this strip that is over by a time; it may be the one before the present one.

        Nothing is passed over before it but minutes: of longer candles the exchange keeps when each print was.
        """
        strip = self.strip
        end = strip.first_from(until_ms, self.at)
        if end > self.at and strip.end_ms(end - 1) > until_ms:
            end -= 1
        if end <= self.at + 1 or max(strip.length_ms[self.at : end]) <= MINUTE_MS:
            return end - 1
        return self.at

    def inside_until_ms(self, low: Decimal, high: Decimal, until_ms: int) -> int:
        """When the first candle opens that does not lie between two prices, exclusive, or the strip ends."""
        strip = self.strip
        end = strip.first_from(until_ms, self.at)
        outside = strip.first_outside(self.at, end, low, high)
        if outside < end:
            return strip.open_ms[outside]
        return until_ms if end < len(strip) else min(until_ms, strip.end_ms(end - 1))

    def go_to(self, at: int) -> None:
        """Go on with a candle of this strip; behind its last one, with the first of the next."""
        if at == len(self.strip):
            strip = next(self._strips, None)
            if strip is None:
                self.is_over = True
                self.due_ms = -1
                return
            self.strip, at = strip, 0
        self.at = at
        self.candle = candle = self.strip.candle(at)
        self.stage = 0
        self.due_ms = candle.open_ms
        self.quarter_volume = (candle.volume / 4).quantize(VOLUME_STEP, ROUND_DOWN)
        self.last_volume = candle.volume - 3 * self.quarter_volume

    def next_tick(self) -> None:
        self.stage += 1
        candle = self.candle
        if self.stage == 1:
            self.due_ms = candle.open_ms + candle.interval_ms // 4
        elif self.stage == 2:
            self.due_ms = candle.open_ms + candle.interval_ms // 2
        elif self.stage == 3:
            self.due_ms = candle.open_ms + candle.interval_ms - 1
        else:
            self.next_candle()

    def price(self) -> Decimal:
        candle = self.candle
        if self.stage == 0:
            return candle.open
        if self.stage == 3:
            return candle.close
        return candle.low if self.low_first == (self.stage == 1) else candle.high


# -- generator -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Profile:
    """How a generated symbol behaves: price level, volatility, tie to the market, traded quantity."""

    price: float
    daily_volatility: float  # standard deviation of a day's log return, from noise alone
    market_weight: float  # correlation of its noise with the market factor
    base_per_minute: float  # base quantity traded in an ordinary minute


PROFILES: Mapping[str, Profile] = {
    "BTCUSDT": Profile(60_000.0, 0.022, 0.88, 14.0),
    "ETHUSDT": Profile(3_000.0, 0.028, 0.84, 190.0),
    "BNBUSDT": Profile(600.0, 0.024, 0.72, 110.0),
    "SOLUSDT": Profile(150.0, 0.034, 0.78, 2_600.0),
}
OTHER_PROFILE = Profile(100.0, 0.030, 0.75, 1_000.0)

# Log volatility is the sum of a slow (about a day) and a fast (about half an hour) mean-reverting part.
SLOW_VOL_KEEP, SLOW_VOL_SD = math.exp(-1 / 1200), 0.30
FAST_VOL_KEEP, FAST_VOL_SD = math.exp(-1 / 40), 0.35
OWN_VOL_KEEP, OWN_VOL_SD = math.exp(-1 / 90), 0.20
VOL_MEAN_CORRECTION = SLOW_VOL_SD**2 + FAST_VOL_SD**2 + OWN_VOL_SD**2

# The level is pulled back to its anchor over about two months, so that prices stay plausible in long runs. Nothing
# pulls within hours or days: a market that swings back by itself would pay whoever buys dips, and paper would lie.
LEVEL_PULL_PER_MINUTE = 1 / 86_400

MARKET_JUMPS_PER_MINUTE = 1 / 2_000
OWN_JUMPS_PER_MINUTE = 1 / 3_500
JUMP_SD_MINUTES = 5.0  # size of a jump in standard deviations of a minute's noise

HISTORY_STEPS_PER_MINUTE = 6


class GeneratedMarket:
    """A seeded market: closed 1m candles before `start_ms`, then a print per symbol every `print_every_ms`.

    `start_ms` is a full minute (UTC ms); `print_every_ms` divides a minute. The market never ends. Raises ValueError
    for a start or step off the minute grid, or when no symbol is given.
    """

    def __init__(
        self,
        seed: int,
        symbols: Sequence[str],
        start_ms: int,
        *,
        print_every_ms: int = 1_000,
        history_days: int = 10,
        volume_share: Decimal = DEFAULT_VOLUME_SHARE,
        instruments: Sequence[InstrumentSpec] = DEFAULT_INSTRUMENTS,
    ) -> None:
        if start_ms % MINUTE_MS:
            raise ValueError(f"start_ms must be a full minute, not {start_ms}")
        if print_every_ms <= 0 or MINUTE_MS % print_every_ms:
            raise ValueError(f"print_every_ms must divide 60000, {print_every_ms} does not")
        if not symbols:
            raise ValueError("a market needs at least one symbol")
        specs = {spec.symbol: spec for spec in instruments}
        unknown = [symbol for symbol in symbols if symbol not in specs]
        if unknown:
            raise ValueError(f"no instrument for {', '.join(unknown)}; known: {', '.join(specs)}")
        self.start_ms = start_ms
        self.end_ms: int | None = None
        self._print_every_ms = print_every_ms
        self._volume_share = volume_share
        self._process = _PriceProcess(random.Random(seed), [specs[symbol] for symbol in symbols])
        self.history: Mapping[str, Sequence[Candle]] = self._generate_history(history_days * 1_440)
        self._next_ms = start_ms
        self._minute = self._process.next_minute(self._steps_per_minute)

    @property
    def _steps_per_minute(self) -> int:
        return MINUTE_MS // self._print_every_ms

    def next_ms(self) -> int | None:
        return self._next_ms

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        at_ms = self._next_ms
        step = (at_ms % MINUTE_MS) // self._print_every_ms
        for lane in self._minute:
            volume = lane.spec.lot_size * lane.step_lots[step]
            # What the book offers is a share of the whole minute: depth is refilled between prints.
            liquidity = self._volume_share * lane.minute_volume
            exchange.tick(lane.spec.symbol, lane.spec.tick_size * lane.step_ticks[step], volume, liquidity, at_ms)
        self._next_ms = at_ms + self._print_every_ms
        if step == self._steps_per_minute - 1:
            self._minute = self._process.next_minute(self._steps_per_minute)

    def _generate_history(self, minutes: int) -> dict[str, list[Candle]]:
        history: dict[str, list[Candle]] = {spec.symbol: [] for spec in self._process.specs}
        for open_ms in range(self.start_ms - minutes * MINUTE_MS, self.start_ms, MINUTE_MS):
            for lane in self._process.next_minute(HISTORY_STEPS_PER_MINUTE):
                history[lane.spec.symbol].append(lane.candle(open_ms))
        return history


@dataclass(frozen=True, slots=True)
class _Lane:
    """One symbol's generated minute: prices in ticks and volumes in lots, step by step."""

    spec: InstrumentSpec
    step_ticks: list[int]
    step_lots: list[int]
    minute_volume: Decimal

    def candle(self, open_ms: int) -> Candle:
        ticks = self.step_ticks
        size = self.spec.tick_size
        return Candle(
            open_ms=open_ms,
            interval_ms=MINUTE_MS,
            open=size * ticks[0],
            high=size * max(ticks),
            low=size * min(ticks),
            close=size * ticks[-1],
            volume=self.minute_volume,
        )


class _Wave:
    """The state of one generated symbol."""

    __slots__ = ("anchor", "log_price", "minute_sd", "own_vol", "profile", "spec", "tick_size")

    def __init__(self, rng: random.Random, spec: InstrumentSpec) -> None:
        self.spec = spec
        self.profile = PROFILES.get(spec.symbol, OTHER_PROFILE)
        self.minute_sd = self.profile.daily_volatility / math.sqrt(1_440)
        self.anchor = math.log(self.profile.price) + rng.gauss(0, 0.03)
        self.log_price = self.anchor
        self.tick_size = float(spec.tick_size)
        self.own_vol = 0.0


class _PriceProcess:
    """The joint price process: clustered volatility, one market factor, rare jumps; one call a minute."""

    def __init__(self, rng: random.Random, specs: Sequence[InstrumentSpec]) -> None:
        self.specs = specs
        self._rng = rng
        self._slow_vol = rng.gauss(0, SLOW_VOL_SD)
        self._fast_vol = rng.gauss(0, FAST_VOL_SD)
        self._waves = [_Wave(rng, spec) for spec in specs]

    def next_minute(self, steps: int) -> list[_Lane]:
        rng = self._rng
        self._slow_vol = _pulled(rng, self._slow_vol, SLOW_VOL_KEEP, SLOW_VOL_SD)
        self._fast_vol = _pulled(rng, self._fast_vol, FAST_VOL_KEEP, FAST_VOL_SD)
        market_noise = [rng.gauss(0, 1) for _ in range(steps)]
        self._add_jump(market_noise, MARKET_JUMPS_PER_MINUTE)
        return [self._next_lane(wave, market_noise) for wave in self._waves]

    def _next_lane(self, wave: _Wave, market_noise: list[float]) -> _Lane:
        rng, profile = self._rng, wave.profile
        wave.own_vol = _pulled(rng, wave.own_vol, OWN_VOL_KEEP, OWN_VOL_SD)
        log_vol = self._slow_vol + self._fast_vol + wave.own_vol - VOL_MEAN_CORRECTION
        steps = len(market_noise)
        step_sd = wave.minute_sd * math.exp(log_vol) / math.sqrt(steps)
        own_weight = math.sqrt(1 - profile.market_weight**2)
        own_noise = [rng.gauss(0, 1) for _ in range(steps)]
        self._add_jump(own_noise, OWN_JUMPS_PER_MINUTE)

        drift = -LEVEL_PULL_PER_MINUTE * (wave.log_price - wave.anchor)
        market_sd, own_sd, step_drift = step_sd * profile.market_weight, step_sd * own_weight, drift / steps
        log_price, tick_size, before = wave.log_price, wave.tick_size, wave.log_price
        ticks = []
        for common, own in zip(market_noise, own_noise, strict=True):
            log_price += step_drift + market_sd * common + own_sd * own
            ticks.append(max(1, round(math.exp(log_price) / tick_size)))
        wave.log_price = log_price
        surprise = abs(log_price - before) / wave.minute_sd
        lots = self._lots(wave, log_vol, surprise, steps)
        return _Lane(wave.spec, ticks, lots, wave.spec.lot_size * sum(lots))

    def _lots(self, wave: _Wave, log_vol: float, surprise: float, steps: int) -> list[int]:
        rng = self._rng
        level = wave.profile.base_per_minute * math.exp(0.9 * log_vol + rng.gauss(0, 0.35)) * (0.6 + 0.5 * surprise)
        shares = [rng.expovariate(1.0) for _ in range(steps)]
        lots_per_share = level / sum(shares) / float(wave.spec.lot_size)
        return [max(1, round(share * lots_per_share)) for share in shares]

    def _add_jump(self, noise: list[float], chance: float) -> None:
        if self._rng.random() < chance:
            noise[self._rng.randrange(len(noise))] += self._rng.gauss(0, JUMP_SD_MINUTES) * math.sqrt(len(noise))


def _pulled(rng: random.Random, value: float, keep: float, sd: float) -> float:
    """One step of a mean-reverting walk around zero whose standard deviation in the long run is `sd`."""
    return keep * value + sd * math.sqrt(1 - keep * keep) * rng.gauss(0, 1)
