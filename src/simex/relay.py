"""Another exchange's public market, printed here as it happens, so that fills follow it.

Rules: no price is ever made up. What is printed is a trade of the source, at the source's time; the best prices are
the source's too. While the source is silent nothing is printed, no candle is closed and no order is taken, and it is
said, with the age of the price. After a break the trades that were missed are read and printed, at their own times;
those that cannot be read any more are said to be missing. Connections are tried again for ever, later each time.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from simex.market import MINUTE_MS, PrintTaker, Ranges
from simex.tradetape import TradedMinute
from simex.venue import Candle, InstrumentSpec, instrument_for

BEAT_MS: Final = 250
LATE_MS: Final = 1_500  # a candle is closed so long after its end, when no trade has closed it
STALE_S: Final = 10.0
ANSWER_S: Final = 10.0
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S: Final = 60.0
KLINES_PER_CALL: Final = 1_000
TRADES_PER_CALL: Final = 1_000
PAGES_MAX: Final = 30  # of missed trades and symbol; what is older is said to be missing

Say = Callable[[Mapping[str, object]], None]


class RelayError(Exception):
    """The source cannot be used; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the source is reached: bases of its market streams and its REST."""

    streams: str
    rest: str


def source_of(streams: str, rest: str | None) -> Source:
    """The source of two addresses; RelayError when one is no address or REST is not known."""
    address = urlsplit(streams)
    if address.scheme not in ("ws", "wss") or not address.hostname or address.path.strip("/"):
        raise RelayError(f"--relay {streams}: give an address such as wss://stream.binance.com:9443")
    if rest is None:
        if address.scheme == "wss":
            raise RelayError("--relay: give the source's REST address too, as in --relay-rest https://api.binance.com")
        rest = f"http://{address.netloc}"
    if urlsplit(rest).scheme not in ("http", "https") or not urlsplit(rest).hostname:
        raise RelayError(f"--relay-rest {rest}: give an address such as https://api.binance.com")
    return Source(streams.rstrip("/"), rest.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of the source before anything is relayed; `ahead_ms` is its clock less ours."""

    instruments: tuple[InstrumentSpec, ...]
    history: Mapping[str, Sequence[Candle]]
    ahead_ms: int


async def look_at(source: Source, symbols: Sequence[str], history_days: int) -> Start:
    """Ask the source for its clock, the rules of its symbols and their past. Raises RelayError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
        rest = _Rest(source, http)
        ahead_ms = await rest.ahead_ms()
        told = await rest.get("exchangeInfo", symbols=json.dumps(list(symbols), separators=(",", ":")))
        now_ms = _wall_ms() + ahead_ms
        rules = {entry["symbol"]: entry for entry in told["symbols"]}
        missing = [symbol for symbol in symbols if symbol not in rules]
        if missing:
            raise RelayError(f"{source.rest} has no {missing[0]}")
        instruments = tuple(_instrument(rules[symbol]) for symbol in symbols)
        minute_ms = now_ms - now_ms % MINUTE_MS
        first_ms = minute_ms - history_days * 1_440 * MINUTE_MS
        pasts = await asyncio.gather(*(rest.candles(symbol, first_ms, minute_ms) for symbol in symbols))
        return Start(instruments, dict(zip(symbols, pasts, strict=True)), ahead_ms)


class Relayed(NamedTuple):
    """A trade of the source."""

    symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    at_ms: int


class RelayMarket:
    """The source's trades as a market: those that have come are due at their times, and a beat several times a second.

    `close_until` is told at each beat how far candles are over though nothing was traded.
    """

    end_ms: int | None = None

    def __init__(self, symbols: Sequence[str], start_ms: int, volume_share: Decimal) -> None:
        self.is_live = False
        self.close_until: Callable[[int], None] | None = None
        self.last_ids: dict[str, int] = {}
        self.last_ms = dict.fromkeys(symbols, start_ms)  # of what was printed
        self._floor_ms = start_ms
        self._beat_ms = start_ms
        self._volume_share = volume_share
        self._minutes = {symbol: TradedMinute() for symbol in symbols}
        self._queue: deque[Relayed] = deque()

    def take(self, trade: Relayed) -> None:
        """A trade has come; one that was there before is left out."""
        if trade.trade_id > self.last_ids.get(trade.symbol, -1):
            self.last_ids[trade.symbol] = trade.trade_id
            self._queue.append(trade)

    def next_ms(self) -> int:
        return min(self._beat_ms, max(self._queue[0].at_ms, self._floor_ms)) if self._queue else self._beat_ms

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        now_ms = self.next_ms()
        while self._queue and self._queue[0].at_ms <= now_ms:
            trade = self._queue.popleft()
            # Trades of two symbols come on one connection, but their times may cross by a little.
            at_ms = self._floor_ms = max(trade.at_ms, self._floor_ms)
            self.last_ms[trade.symbol] = at_ms
            traded = self._minutes[trade.symbol].add(trade.quantity, at_ms)
            exchange.tick(trade.symbol, trade.price, trade.quantity, self._volume_share * traded, at_ms)
        if now_ms >= self._beat_ms:
            self._beat_ms = now_ms + BEAT_MS
            if self.is_live and now_ms - LATE_MS > self._floor_ms:
                self._floor_ms = now_ms - LATE_MS
                if self.close_until is not None:
                    self.close_until(self._floor_ms)


@dataclass(slots=True)
class Relay:
    """Keeps a connection to the source and feeds a market with what comes.

    `tell` is called when the market has got something; `quote` with symbol, bid and ask of the source.
    """

    source: Source
    market: RelayMarket
    tell: Callable[[], None]
    quote: Callable[[str, Decimal, Decimal], None]
    say: Say
    stale_s: float = STALE_S
    pauses_s: Sequence[float] = PAUSES_S
    connections: int = 0
    state: str = "connecting"
    missed: int = 0  # trades that the source numbered and did not tell
    _heard_s: dict[str, float] = field(default_factory=dict)
    _rng: random.Random = field(default_factory=random.Random)

    def as_state(self) -> dict[str, object]:
        """For people: how it goes, and how old the newest news of each symbol is, in ms."""
        now_s = time.monotonic()
        ages = {symbol: round((now_s - at_s) * 1_000) for symbol, at_s in sorted(self._heard_s.items())}
        told = {"source": self.source.streams, "state": self.state, "connections": self.connections}
        return {**told, "missed_trades": self.missed, "age_ms": ages}

    @property
    def is_live(self) -> bool:
        return self.state == "live"

    async def run(self) -> None:
        """Relay until cancelled."""
        failures = 0
        async with aiohttp.ClientSession() as http:
            while True:
                began_s = time.monotonic()
                reason = await self._relay(http)
                failures = 0 if time.monotonic() - began_s > STEADY_S else failures
                pause_s = self.pauses_s[min(failures, len(self.pauses_s) - 1)] * self._rng.uniform(0.75, 1.25)
                self._go("silent", reason=reason, again_in_s=round(pause_s, 3))
                failures += 1
                await asyncio.sleep(pause_s)

    async def _relay(self, http: aiohttp.ClientSession) -> str:
        """One connection; why it is over."""
        symbols = list(self.market.last_ms)
        names = [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in ("trade", "bookTicker")]
        try:
            async with asyncio.timeout(ANSWER_S):
                link = await http.ws_connect(f"{self.source.streams}/stream?streams={'/'.join(names)}")
            async with link:
                self.connections += 1
                await self._catch_up(_Rest(self.source, http), symbols)
                while True:
                    async with asyncio.timeout(self.stale_s):
                        message = await link.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return f"the source ended the connection ({link.close_code})"
                    self._hear(json.loads(message.data))
        except TimeoutError:
            return f"nothing came for {self.stale_s:g} s"
        except (aiohttp.ClientError, OSError, RelayError, ValueError, KeyError, TypeError, InvalidOperation) as error:
            return f"{type(error).__name__}: {error}"

    def _hear(self, message: Mapping[str, Any]) -> None:
        event = message.get("data", {})
        symbol = event.get("s")
        if symbol not in self.market.last_ms:
            return
        self._heard_s[symbol] = time.monotonic()
        if event.get("e") == "trade":
            price, quantity = Decimal(event["p"]), Decimal(event["q"])
            before = self.market.last_ids.get(symbol, event["t"] - 1)
            self.missed += max(0, event["t"] - before - 1)
            self.market.take(Relayed(symbol, event["t"], price, quantity, event["T"]))
        elif "b" in event and "a" in event:
            bid, ask = Decimal(event["b"]), Decimal(event["a"])
            if 0 < bid < ask:
                self.quote(symbol, bid, ask)
        if not self.is_live:
            self._go("live")
        self.tell()

    async def _catch_up(self, rest: _Rest, symbols: Iterable[str]) -> None:
        """Read what was traded since the last print; what is too much is said to be missing."""
        missed: list[Relayed] = []
        for symbol in symbols:
            from_ms = self.market.last_ms[symbol]
            trades, is_whole = await rest.trades(symbol, from_ms)
            missed += trades
            if not is_whole:
                self.say({"event": "relay", "state": "gap", "symbol": symbol, "from_ms": from_ms})
        for trade in sorted(missed, key=lambda trade: trade.at_ms):
            self.market.take(trade)

    def _go(self, state: str, **more: object) -> None:
        self.state = state
        self.market.is_live = state == "live"
        self.say({"event": "relay", **self.as_state(), **more})
        self.tell()


# -- the source's REST -----------------------------------------------------------------------------------------------


class _Rest:
    """Public calls to the source."""

    def __init__(self, source: Source, http: aiohttp.ClientSession) -> None:
        self._base = f"{source.rest}/api/v3"
        self._http = http

    async def get(self, path: str, **params: object) -> Any:
        """RelayError when it does not answer with what was asked for."""
        query = {name: str(value) for name, value in params.items()}
        try:
            async with asyncio.timeout(ANSWER_S), self._http.get(f"{self._base}/{path}", params=query) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise RelayError(f"{self._base}/{path}: {answer.status} {body[:200].decode(errors='replace')}")
                return json.loads(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise RelayError(f"{self._base}/{path}: {str(error) or type(error).__name__}") from None

    async def ahead_ms(self) -> int:
        """The source's clock less ours, as good as the way there and back allows."""
        sent_ms = _wall_ms()
        told_ms = int((await self.get("time"))["serverTime"])
        return told_ms - (sent_ms + _wall_ms()) // 2

    async def candles(self, symbol: str, from_ms: int, before_ms: int) -> list[Candle]:
        """Closed candles of a minute, oldest first."""
        found: list[Candle] = []
        while from_ms < before_ms:
            rows = await self.get(
                "klines", symbol=symbol, interval="1m", startTime=from_ms, endTime=before_ms - 1, limit=KLINES_PER_CALL
            )
            found += [
                Candle(row[0], MINUTE_MS, *(Decimal(text) for text in row[1:6])) for row in rows if row[0] >= from_ms
            ]
            if len(rows) < KLINES_PER_CALL:
                break
            from_ms = rows[-1][0] + MINUTE_MS
        return [candle for candle in found if candle.end_ms <= before_ms]

    async def trades(self, symbol: str, from_ms: int) -> tuple[list[Relayed], bool]:
        """Trades from a time on, oldest first, and whether these are all."""
        found: list[Relayed] = []
        asked: dict[str, object] = {"startTime": from_ms}
        for _ in range(PAGES_MAX):
            rows = await self.get("aggTrades", symbol=symbol, limit=TRADES_PER_CALL, **asked)
            found += [Relayed(symbol, row["l"], Decimal(row["p"]), Decimal(row["q"]), row["T"]) for row in rows]
            if len(rows) < TRADES_PER_CALL:
                return found, True
            asked = {"fromId": rows[-1]["a"] + 1}
        return found, False


def _instrument(rules: Mapping[str, Any]) -> InstrumentSpec:
    """The source's own steps and smallest sizes."""
    filters = {entry["filterType"]: entry for entry in rules["filters"]}
    tick, lot = _step(filters["PRICE_FILTER"]["tickSize"]), filters["LOT_SIZE"]
    spec = replace(
        instrument_for(rules["symbol"], [tick]),
        tick_size=tick,
        lot_size=_step(lot["stepSize"]),
        min_qty=_step(lot["minQty"]),
        max_qty=Decimal(lot["maxQty"]),
    )
    with suppress(KeyError):
        spec = replace(spec, min_notional=_step(filters["NOTIONAL"]["minNotional"]))
    return spec


def _step(text: str) -> Decimal:
    """A number without trailing zeros, never in powers of ten."""
    return Decimal(f"{Decimal(text).normalize():f}")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
