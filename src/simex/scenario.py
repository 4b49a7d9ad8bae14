"""Scripted scenarios over any market: a table of what happens, one line each, in a trader's words.

    # a flash crash: a fifth down in a minute, back within ten
    wait 10m
    liquidity 10% for 3m
    fall 20% over 60s
    wait 90s
    recover over 10m

Lines: `wait D`, `fall [SYMBOL] P% [over D]`, `rise [SYMBOL] P% [over D]`, `price SYMBOL X [over D]`, `recover [SYMBOL]
[over D]`, `halt [SYMBOL] for D`, `silence [SYMBOL] for D`, `liquidity [SYMBOL] P% for D`. Times are market time, D is
like 500ms, 30s, 10m or 2h; a line without a symbol is for all. Only `wait` lets time pass before the next line.

Prices are moved by a factor that changes evenly, on the tick grid; what the market does of its own stays in them. A
halt closes a symbol and prints nothing; silence prints nothing while the symbol can be traded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final

from simex.market import Market, PrintTaker, Ranges
from simex.strip import Strip
from simex.venue import SymbolStatus

STORIES: Final[Mapping[str, str]] = {
    "flash-crash": "wait 10m\nliquidity 10% for 3m\nfall 20% over 60s\nwait 90s\nrecover over 10m\n",
    "gap": "wait 10m\nsilence for 5m\nfall 8%\n",
    "halt": "wait 10m\nhalt for 15m\nfall 3%\n",
}
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
VERBS: Final = ("wait", "fall", "rise", "price", "recover", "halt", "silence", "liquidity")
ONE: Final = Decimal(1)
_FACTOR_STEP: Final = Decimal("0.000000000001")

SetStatus = Callable[[str, SymbolStatus], None]


class ScenarioError(ValueError):
    """A table that cannot be carried out; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line: what happens to which symbol (empty: all), `at_ms` after the start, for how long."""

    at_ms: int
    verb: str
    symbol: str = ""
    amount: Decimal = ONE
    for_ms: int = 0


def load_scenario(name: str) -> list[Step]:
    """The steps of a built-in scenario or of a file. Raises ScenarioError."""
    if name in STORIES:
        return read_scenario(STORIES[name], name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(STORIES)
        raise ScenarioError(f"{name}: no scenario of that name ({known}) and no readable file ({error})") from None
    return read_scenario(text, name)


def read_scenario(text: str, name: str) -> list[Step]:
    """The steps of a table, in order. Raises ScenarioError with the number of the line."""
    steps: list[Step] = []
    at_ms = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            step = _step(words, at_ms)
        except ScenarioError as error:
            raise ScenarioError(f"{name}:{number}: {line.strip()}: {error}") from None
        if step.verb == "wait":
            at_ms += step.for_ms
        else:
            steps.append(step)
    return steps


def _step(words: Sequence[str], at_ms: int) -> Step:
    verb, *rest = words
    if verb not in VERBS:
        raise ScenarioError(f"unknown verb {verb}; known are {', '.join(VERBS)}")
    if verb == "wait":
        if len(rest) != 1:
            raise ScenarioError("say wait and how long, as in wait 30s")
        return Step(at_ms, verb, for_ms=_duration_ms(rest[0]))
    symbol = rest.pop(0) if rest and re.fullmatch(r"[A-Z0-9]*[A-Z][A-Z0-9]*", rest[0]) else ""
    link = "for" if verb in ("halt", "silence", "liquidity") else "over"
    for_ms = 0
    if len(rest) >= 2 and rest[-2] == link:
        for_ms = _duration_ms(rest[-1])
        rest = rest[:-2]
    elif link == "for":
        raise ScenarioError(f"say how long, as in {verb} for 10m")
    wants_amount = verb in ("fall", "rise", "price", "liquidity")
    if len(rest) != wants_amount or (verb == "price" and not symbol):
        raise ScenarioError(_FORMS[verb])
    return Step(at_ms, verb, symbol, _amount(verb, rest[0]) if wants_amount else ONE, for_ms)


_FORMS: Final = {
    "fall": "say it like fall [SYMBOL] 20% [over 60s]",
    "rise": "say it like rise [SYMBOL] 20% [over 60s]",
    "price": "say it like price SYMBOL 58000 [over 60s]",
    "recover": "say it like recover [SYMBOL] [over 10m]",
    "halt": "say it like halt [SYMBOL] for 15m",
    "silence": "say it like silence [SYMBOL] for 5m",
    "liquidity": "say it like liquidity [SYMBOL] 10% for 3m",
}


def _duration_ms(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})(ms|s|m|h)", text)
    if found is None or not int(found[1]):
        raise ScenarioError(f"{text} is no duration; give one like 500ms, 30s, 10m or 2h")
    return int(found[1]) * UNITS_MS[found[2]]


def _amount(verb: str, text: str) -> Decimal:
    """The factor of a change in percent, or a price."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,8})?)(%?)", text)
    if found is None or bool(found[2]) == (verb == "price"):
        raise ScenarioError(_FORMS[verb])
    value = Decimal(found[1])
    factor = {"price": value, "liquidity": value / 100, "rise": 1 + value / 100, "fall": 1 - value / 100}[verb]
    if factor <= 0 and not (verb == "liquidity" and factor == 0):
        raise ScenarioError(f"{text} leaves no price")
    return factor


@dataclass(slots=True)
class _Course:
    """What the script does to one symbol: a factor on its way from one value to another, and pauses."""

    start_ms: int = 0
    end_ms: int = 0
    origin: Decimal = ONE
    goal: Decimal = ONE
    silent_until_ms: int = 0
    halted_until_ms: int | None = None
    thin_until_ms: int = 0
    liquidity: Decimal = ONE
    raw: Decimal | None = None  # the last price of the market itself

    def factor(self, now_ms: int) -> Decimal:
        if now_ms >= self.end_ms:
            return self.goal
        share = Decimal(now_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return (self.origin + (self.goal - self.origin) * share).quantize(_FACTOR_STEP)

    def go(self, goal: Decimal, now_ms: int, for_ms: int) -> None:
        self.origin, self.goal = self.factor(now_ms), goal
        self.start_ms, self.end_ms = now_ms, now_ms + for_ms


class ScriptedMarket:
    """A market with a scenario over it; times of the scenario count from the market's first event."""

    def __init__(
        self, market: Market, steps: Sequence[Step], ticks: Mapping[str, Decimal], set_status: SetStatus | None = None
    ) -> None:
        """`ticks` are the price steps of the symbols. ScenarioError for a symbol that is not among them."""
        unknown = [step.symbol for step in steps if step.symbol and step.symbol not in ticks]
        if unknown:
            raise ScenarioError(f"{unknown[0]} is not in this market: {', '.join(ticks)}")
        self._market = market
        self._ticks = ticks
        self._set_status = set_status
        start_ms = market.next_ms() or 0
        self._steps = [(start_ms + step.at_ms, step) for step in steps]
        self._courses = {symbol: _Course() for symbol in ticks}

    @property
    def end_ms(self) -> int | None:
        return self._market.end_ms

    def next_ms(self) -> int | None:
        return self._market.next_ms()

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        now_ms = self._market.next_ms()
        if now_ms is not None:
            self._begin_steps(now_ms)
        self._market.advance(_Stage(exchange, self))

    def _begin_steps(self, now_ms: int) -> None:
        for symbol, course in self._courses.items():
            if course.halted_until_ms is not None and course.halted_until_ms <= now_ms:
                course.halted_until_ms = None
                self._tell_status(symbol, "TRADING")
        while self._steps and self._steps[0][0] <= now_ms:
            at_ms, step = self._steps.pop(0)
            for symbol in [step.symbol] if step.symbol else list(self._courses):
                self._begin(symbol, step, at_ms)

    def _begin(self, symbol: str, step: Step, at_ms: int) -> None:
        course, ends_ms = self._courses[symbol], at_ms + step.for_ms
        match step.verb:
            case "fall" | "rise":
                course.go(course.factor(at_ms) * step.amount, at_ms, step.for_ms)
            case "recover":
                course.go(ONE, at_ms, step.for_ms)
            case "price":
                if course.raw is None:
                    raise ScenarioError(f"price {symbol}: it has no price yet that could be moved")
                course.go((step.amount / course.raw).quantize(_FACTOR_STEP), at_ms, step.for_ms)
            case "liquidity":
                course.liquidity, course.thin_until_ms = step.amount, ends_ms
            case "silence":
                course.silent_until_ms = ends_ms
            case _:
                course.silent_until_ms = course.halted_until_ms = ends_ms
                self._tell_status(symbol, "HALT")

    def _tell_status(self, symbol: str, status: SymbolStatus) -> None:
        if self._set_status is not None:
            self._set_status(symbol, status)

    def told(self, symbol: str, price: Decimal, liquidity: Decimal, now_ms: int) -> tuple[Decimal, Decimal] | None:
        """Price and liquidity as the script has them; None when nothing is printed."""
        course = self._courses[symbol]
        course.raw = price
        if now_ms < course.silent_until_ms:
            return None
        factor, tick = course.factor(now_ms), self._ticks[symbol]
        if factor != ONE:
            price = max(tick, (price * factor / tick).to_integral_value(ROUND_HALF_EVEN) * tick)
        return price, liquidity * course.liquidity if now_ms < course.thin_until_ms else liquidity


class _Stage:
    """The exchange as the market below sees it: the script is in between, and wants every print."""

    def __init__(self, exchange: PrintTaker, script: ScriptedMarket) -> None:
        self._exchange = exchange
        self._script = script

    def tick(
        self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
    ) -> None:
        changed = self._script.told(symbol, price, liquidity, now_ms)
        if changed is not None:
            self._exchange.tick(symbol, changed[0], volume, changed[1], now_ms, told)

    def is_idle(self, symbol: str) -> bool:
        return False

    def calm(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        return None

    def next_close_ms(self, symbol: str) -> int:
        return self._exchange.next_close_ms(symbol)

    def stop_side(self, symbol: str) -> int:
        return self._exchange.stop_side(symbol)

    def pass_candles(self, symbol: str, strip: Strip, start: int, end: int) -> None:
        raise AssertionError("nobody passes over candles of a symbol that is not idle")
