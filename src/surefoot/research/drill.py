"""The breaker's fire drill: the real engine, session and simulated exchange in virtual time, and prices that fall.

Each rule on equity has a scene of its own, with the user's settings and the other rules out of the way. An account of
today's worth lives through a quiet day, so that every rule has something to measure from. Prices then fall in steps;
shortly before the limit the bot buys what is held today, and prices fall on until the rule trips. What follows is held
against the rule's tier. Times are UTC ms, shares and losses per cent.

Most of the account is coins that the bot does not trade. Stops and caps let positions alone lose little: it is these
coins that take the account's worth down as far as any limit, while what the bot holds is still behind its stops. A
futures wallet has no such coins: there, what they would have lost is taken out of it as funding is. All positions are
long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from surefoot import __version__
from surefoot.assembly import QUOTE, build_session, engine_settings
from surefoot.binance.session import Session
from surefoot.config import Settings, settings_digest
from surefoot.core.breaker import BreakerSettings, Limit
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    BreakerResetRequested,
    Command,
    Event,
    RecordAlarm,
    RecordDecision,
    RecordTrip,
    RunStarted,
)
from surefoot.core.model import INTERVAL_MS, MS_PER_DAY, MS_PER_HOUR, ZERO, Candle, Market, Purpose, Signal, Tier
from surefoot.research.data import DataError
from surefoot.research.exact import DEMO_KEYS, Costs, VirtualTime, bare_exchange, generated_prices
from surefoot.store.journal import NOT_JOURNALED
from surefoot.store.records import decode, encode

START_MS = 20_712 * MS_PER_DAY  # a Wednesday, 00:00 UTC
FALL_MS = START_MS + 30 * MS_PER_HOUR  # the next day, 06:00: no rule gets a new start in what follows
QUIET_STEP_MS = 900_000
TICK_MS = 30_000  # while something is held, no price may grow stale
FALL_STEP_MS = 10_000
SETTLE_MS = 30_000
COINS_PCT = Decimal(80)
DRILLED_MAX_PCT = Decimal(60)  # coins alone cannot take the account much further down
FIRST_STEPS, LAST_STEPS, LAST_STEPS_MAX = 10, 8, 40
LIQUIDITY = Decimal(1_000_000_000)
NO_LIMIT = Limit(Decimal(100), Tier.WARN)
FIELDS = {"day loss": "day_loss", "rolling loss": "rolling_loss", "week loss": "week_loss", "drawdown": "drawdown"}
REASON = "the drill's own"


@dataclass(frozen=True, slots=True)
class Book:
    """What there is today: what the account is worth, prices, the symbols held, and where that is known from."""

    equity: Decimal
    prices: Mapping[str, Decimal]
    held: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it did, and what was seen."""

    what: str
    passed: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What became of one rule. Losses and equities are None where it did not trip; `skipped` says why it was left."""

    rule: str
    tier: Tier
    limit_pct: Decimal
    loss_pct: Decimal | None = None
    equity_before: Decimal | None = None
    equity_after: Decimal | None = None
    held: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        return self.skipped is not None or all(check.passed for check in self.checks)


def book_of(
    settings: Settings, equity: Decimal | None, prices: Mapping[str, Decimal], held: Sequence[str], source: str
) -> Book:
    """Today's book for the drill; what is not known of it comes from the settings and the generated market.

    Raises DataError when no symbol of the settings has a price.
    """
    made = generated_prices(settings.market.symbols, settings.paper.seed)
    known = {symbol: price for symbol in settings.market.symbols if (price := prices.get(symbol, made.get(symbol)))}
    if not known:
        raise DataError(f"no price of {', '.join(settings.market.symbols)} is known: start the trader first")
    kept = tuple(symbol for symbol in held if symbol in known) or tuple(known)[:1]
    return Book(equity if equity else settings.paper.balance_usdt, known, kept, source)


def drill(settings: Settings, book: Book) -> Iterator[Scene]:
    """One scene after the other, in the order of the rules."""
    settings = _drilled(settings, book)
    limits = engine_settings(settings).breaker
    for rule, limit in limits.losses():
        if limit.value_pct > DRILLED_MAX_PCT:
            why = f"a limit of {limit.value_pct:f} % lies beyond the {DRILLED_MAX_PCT} % that the drill can lose"
            yield Scene(rule, limit.tier, limit.value_pct, skipped=why)
        else:
            yield _Stage(settings, book, rule, limit).play()


def _drilled(settings: Settings, book: Book) -> Settings:
    """The user's settings for the symbols that have a price; candles of more than an hour would cross a midnight."""
    changes: dict[str, object] = {"symbols": tuple(book.prices)}
    if INTERVAL_MS[settings.market.interval] > MS_PER_HOUR:
        changes["interval"] = "1h"
    return settings.model_copy(update={"market": settings.market.model_copy(update=changes)})


def _only(limits: BreakerSettings, rule: str, limit: Limit) -> BreakerSettings:
    """This rule as it is, the others on equity out of its way."""
    changes = dict.fromkeys(FIELDS.values(), NO_LIMIT) | {FIELDS[rule]: limit}
    return replace(
        limits,
        day_loss=changes["day_loss"],
        rolling_loss=changes["rolling_loss"],
        week_loss=changes["week_loss"],
        drawdown=changes["drawdown"],
    )


class _Wanted:
    """The signal source of a drill: at the next candle of a symbol that is wanted it says buy, once."""

    def __init__(self) -> None:
        self.symbols: set[str] = set()

    def warm(self, candles: Sequence[Candle]) -> None:
        """What was before says nothing to a drill."""

    def correlation(self, symbol: str, other: str) -> float | None:
        return 0.0

    def prepare(self) -> bool:
        return False

    def on_candle(self, candle: Candle) -> Signal:
        if candle.symbol not in self.symbols:
            return Signal(candle.symbol, candle.close_ms, None, 0.0, "silent")
        self.symbols.discard(candle.symbol)
        return Signal(candle.symbol, candle.close_ms, 1.0, 1.0, "fire drill")


@dataclass(slots=True)
class _Stage:
    """One scene: an account, an exchange and a bot that may be started anew."""

    settings: Settings
    book: Book
    rule: str
    limit: Limit
    wanted: _Wanted = field(default_factory=_Wanted)
    journal: list[tuple[str, bytes]] = field(default_factory=list)
    trips: list[RecordTrip] = field(default_factory=list)
    alarms: list[RecordAlarm] = field(default_factory=list)
    decisions: deque[RecordDecision] = field(default_factory=lambda: deque(maxlen=1))
    checks: list[Check] = field(default_factory=list)
    runs: int = 0
    _level: Decimal = Decimal(1)  # of prices, in today's
    _worth: Decimal = ZERO  # of what lies beside the positions, at today's prices
    _left_step: Decimal = ZERO  # of the last fall, in shares of today's prices
    _driver: VirtualTime = field(init=False)

    def __post_init__(self) -> None:
        costs, book, market = self.settings.costs, self.book, self.settings.market.venue
        self._worth = book.equity * COINS_PCT / 100
        exchange = bare_exchange(
            book.prices,
            Costs(
                market=market,
                balances={QUOTE: round(book.equity, 8)} if market is Market.FUTURES else self._coins_and_quote(),
                fee_bps=self.settings.paper.fee_bps if market is Market.SPOT else self.settings.futures.fee_bps,
                half_spread_bps=costs.half_spread_bps,
                slippage_bps=costs.slippage_bps,
                volume_share=costs.volume_share_pct / 100,
                path=costs.path,
            ),
        )
        self._driver = VirtualTime(self._engine(), self._session(), exchange, None, costs.latency_ms, self._hear)
        self._driver.now_ms = START_MS

    def _coins_and_quote(self) -> dict[str, Decimal]:
        book = self.book
        coins = next(
            (symbol for symbol in reversed(tuple(book.prices)) if symbol not in book.held), next(iter(book.prices))
        )
        amount = round(self._worth / book.prices[coins], 8)
        return {coins.removesuffix(QUOTE): amount, QUOTE: round(book.equity - self._worth, 8)}

    def play(self) -> Scene:
        """Quiet, fall, entry, fall, and what follows of it."""
        self._quiet_day()
        self._fall_near()
        held = self._buy()
        before, trip = self._fall_on()
        near = next((alarm.text for alarm in self.alarms if alarm.code == "breaker-near"), "no alarm")
        self._check("prices near the limit gave an alarm", near != "no alarm", near)
        self._check("the rule tripped between two candles", self._is_between(trip), self._when(trip))
        if trip is not None:
            self._follow(held)
        scene = Scene(self.rule, self.limit.tier, self.limit.value_pct, held=tuple(held), checks=tuple(self.checks))
        if trip is None:
            return scene
        return replace(scene, loss_pct=trip.value, equity_before=before, equity_after=trip.equity)

    def _is_between(self, trip: RecordTrip | None) -> bool:
        return trip is not None and self._after_candle_ms(trip) >= FALL_STEP_MS

    def _when(self, trip: RecordTrip | None) -> str:
        return "it did not" if trip is None else f"{self._after_candle_ms(trip) / 1_000:.1f} s after a candle's end"

    def _after_candle_ms(self, trip: RecordTrip) -> int:
        return trip.at_ms % INTERVAL_MS[self.settings.market.interval]

    # -- acts -------------------------------------------------------------------------------------------------

    def _quiet_day(self) -> None:
        self._print()
        self._begin()
        self._wait_until(FALL_MS - MS_PER_HOUR, QUIET_STEP_MS)
        self._wait_until(FALL_MS, TICK_MS)

    def _fall_near(self) -> None:
        """To shortly before the limit: what is left of it is lost before a stop is reached."""
        share = COINS_PCT - self.limit.value_pct  # what is still in coins then
        left_pct = min(self.limit.value_pct / 10, self._stop_pct() * share / 100 * Decimal("0.4"))
        step = (self.limit.value_pct - left_pct) / COINS_PCT / FIRST_STEPS
        for _ in range(FIRST_STEPS):
            self._fall(step)
        self._left_step = left_pct / share / LAST_STEPS * self._level

    def _stop_pct(self) -> Decimal:
        return max(self.settings.exits.stop_pct_of_price, Decimal("0.5"))

    def _buy(self) -> dict[str, Decimal]:
        """What is held today, as far as the gate lets it; quantities by symbol."""
        self._decide(self.book.held)
        held = {symbol: position.quantity for symbol, position in self._driver.engine.portfolio.positions.items()}
        text = ", ".join(held) or f"nothing: {self.decisions[-1].outcome if self.decisions else 'no signal'}"
        self._check("what is held today was bought, behind stops", bool(held) and self._is_protected(held), text)
        return held

    def _fall_on(self) -> tuple[Decimal | None, RecordTrip | None]:
        """On until it trips: the equity before the last step, and the trip."""
        for _ in range(LAST_STEPS_MAX):
            before = self._driver.engine.equity()
            self._fall(self._left_step)
            if self.trips:
                return before, self.trips[0]
        return None, None

    def _follow(self, held: Mapping[str, Decimal]) -> None:
        self._wait_until(self._driver.now_ms + SETTLE_MS, FALL_STEP_MS)
        self._check_positions(held)
        if self.limit.tier is Tier.WARN:
            outcome = self._outcome()
            self._check("a warning holds no entry back", outcome != "breaker", f"a signal was: {outcome}")
            return
        self._check_refused("a following signal was refused by the breaker")
        self._restart()
        kept = self._driver.engine.breaker.trips.get(self.rule) == self.trips[0]  # not one that tripped anew
        self._check("a restart keeps the trip", kept, "folded from the journal" if kept else "it was forgotten")
        self._check_refused("after the restart a signal was refused again")
        self._driver.tell(BreakerResetRequested(self._driver.now_ms, "fire drill", REASON))
        self._wait_until(self._driver.now_ms + SETTLE_MS, FALL_STEP_MS)
        outcome = self._outcome()
        let_go = self._driver.engine.breaker.off_text() is None and outcome != "breaker"
        self._check("a reset lets go", let_go, f"a signal was then: {outcome}")

    def _check_positions(self, held: Mapping[str, Decimal]) -> None:
        """What the tier does to what is held."""
        now = {symbol: position.quantity for symbol, position in self._driver.engine.portfolio.positions.items()}
        text = ", ".join(f"{symbol} {quantity:f} of {held[symbol]:f}" for symbol, quantity in now.items()) or "nothing"
        match self.limit.tier:
            case Tier.FLATTEN:
                self._check("everything was sold", not now, f"{text} left")
            case Tier.SHRINK:
                halved = now.keys() == held.keys() and all(now[symbol] <= held[symbol] * 3 / 5 for symbol in held)
                self._check("half was sold, the rest has its stop", halved and self._is_protected(now), text)
            case Tier.WARN | Tier.NO_ENTRIES:
                self._check("what is held kept its stop", now == held and self._is_protected(now), text)

    def _check_refused(self, what: str) -> None:
        outcome = self._outcome()
        self._check(what, outcome == "breaker", outcome)

    def _check(self, what: str, passed: bool, seen: str) -> None:
        self.checks.append(Check(what, passed, seen))

    def _outcome(self) -> str:
        """What becomes of a signal now: of a symbol that is not held, where there is one."""
        positions = self._driver.engine.portfolio.positions
        free = [symbol for symbol in self.book.prices if symbol not in positions] or list(self.book.prices)
        self.decisions.clear()
        self._decide(free[:1])
        return self.decisions[-1].outcome if self.decisions else "not asked"

    def _is_protected(self, held: Mapping[str, Decimal]) -> bool:
        engine = self._driver.engine
        return all(
            sum(
                ((order.quantity or ZERO) - order.filled)
                for order in engine.orders.open_orders(symbol)
                if order.request.purpose is Purpose.STOP and order.resting
            )
            >= engine.instruments[symbol].lots_down(quantity)
            for symbol, quantity in held.items()
        )

    # -- bot, exchange and time ---------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        base = engine_settings(self.settings)
        engine = Engine(replace(base, breaker=_only(base.breaker, self.rule, self.limit)), self.wanted)
        for kind, body in self.journal:
            engine.fold(decode(kind, body))
        return engine

    def _session(self) -> Session:
        return build_session(self.settings, DEMO_KEYS, lambda: 0.5, watch_always=True)

    def _begin(self) -> None:
        self.runs += 1
        symbols, digest = self.settings.market.symbols, settings_digest(self.settings)
        self._driver.begin(RunStarted(self._driver.now_ms, f"d{self.runs}", "paper", symbols, digest, __version__))

    def _restart(self) -> None:
        """The process dies and a new one begins, with nothing but what the journal kept."""
        old = self._driver
        old.deliver_requests_on_their_way()
        for line in old.session.lines.values():
            old.cut(line.name, None)
        self._driver = VirtualTime(self._engine(), self._session(), old.exchange, None, old.latency_ms, self._hear)
        self._driver.now_ms = old.now_ms
        self._begin()
        self._wait_until(self._driver.now_ms + SETTLE_MS, FALL_STEP_MS)

    def _hear(self, message: Event | Command) -> None:
        if type(message) not in NOT_JOURNALED:
            self.journal.append(encode(message))
        match message:
            case RecordTrip():
                self.trips += [message] if message.rule == self.rule else []
            case RecordAlarm():
                self.alarms.append(message)
            case RecordDecision() if message.outcome != "none":
                self.decisions.append(message)
            case _:
                pass

    def _decide(self, symbols: Sequence[str]) -> None:
        """Let the next candle of these symbols say buy, and wait for what comes of it."""
        self.wanted.symbols = set(symbols)
        step_ms = INTERVAL_MS[self.settings.market.interval]
        self._wait_until((self._driver.now_ms // step_ms + 1) * step_ms, TICK_MS)
        self._wait_until(self._driver.now_ms + SETTLE_MS, FALL_STEP_MS)

    def _wait_until(self, until_ms: int, step_ms: int) -> None:
        while self._driver.now_ms < until_ms:
            self._driver.run(min(self._driver.now_ms + step_ms, until_ms))
            self._print()

    def _fall(self, share: Decimal) -> None:
        """Prices fall by this share of today's, all at once."""
        self._level -= share
        driver = self._driver
        driver.run(driver.now_ms + FALL_STEP_MS)
        self._print()
        if driver.exchange.futures is not None:
            loss = round(self._worth * share, 8)
            driver.exchange.futures.charge(DEMO_KEYS.api_key, QUOTE, loss, driver.now_ms)
            driver.take_frames()
        driver.run(driver.now_ms + 1_000)

    def _print(self) -> None:
        """A print of every symbol at the level of now."""
        driver = self._driver
        for symbol, today in self.book.prices.items():
            instrument = driver.engine.instruments.get(symbol)
            price = today if instrument is None else instrument.price_down(today * self._level)
            driver.exchange.tick(symbol, price, Decimal(1), LIQUIDITY, driver.now_ms)
        driver.take_frames()
