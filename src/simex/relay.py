"""Another exchange's public market, printed here as it happens, so that fills follow it.

Rules: no price is ever made up. What is printed is a trade of the source, at the source's time; the best prices are
the source's too. While the source is silent nothing is printed, no candle is closed and no order is taken, and it is
said, with the age of the price. After a break the trades that were missed are read and printed, at their own times;
those that cannot be read any more are said to be missing. Connections are tried again for ever, later each time. Of
futures the mark price, the index price and the funding rate are the source's, too.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import aiohttp

from simex.futures.contracts import MarkTold
from simex.market import PrintTaker, Ranges
from simex.relaysource import ANSWER_S, Relayed, RelayError, Source, SourceRest
from simex.tradetape import TradedMinute

BEAT_MS: Final = 250
LATE_MS: Final = 1_500  # a candle is closed so long after its end, when no trade has closed it
STALE_S: Final = 10.0
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S: Final = 60.0

Say = Callable[[Mapping[str, object]], None]


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

    `tell` is called when the market has got something; `quote` with symbol, bid and ask of the source, and `mark` with
    what it says of a contract.
    """

    source: Source
    market: RelayMarket
    tell: Callable[[], None]
    quote: Callable[[str, Decimal, Decimal], None]
    mark: Callable[[str, MarkTold], None]
    say: Say
    stale_s: float = STALE_S
    pauses_s: Sequence[float] = PAUSES_S
    connections: int = 0
    state: str = "connecting"
    missed: int = 0  # trades that the source numbered and did not tell
    _heard_s: dict[str, float] = field(default_factory=dict)
    _waits_for: set[str] = field(default_factory=set)  # connections on which nothing came yet
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
        """All connections, until one is over; why."""
        symbols = list(self.market.last_ms)
        targets = self.source.targets(symbols)
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(ANSWER_S):
                    links = [await stack.enter_async_context(http.ws_connect(target)) for target in targets]
                self.connections += 1
                self._waits_for = set(targets)
                await self._catch_up(SourceRest(self.source, http), symbols)
                listeners = [asyncio.create_task(self._listen(*each)) for each in zip(targets, links, strict=True)]
                try:
                    over, _ = await asyncio.wait(listeners, return_when=asyncio.FIRST_COMPLETED)
                    return next(iter(over)).result()
                finally:
                    for listener in listeners:
                        listener.cancel()
                    await asyncio.gather(*listeners, return_exceptions=True)
        except TimeoutError:
            return f"nothing came for {self.stale_s:g} s"
        except (aiohttp.ClientError, OSError, RelayError, ValueError, KeyError, TypeError, InvalidOperation) as error:
            return f"{type(error).__name__}: {error}"

    async def _listen(self, target: str, link: aiohttp.ClientWebSocketResponse) -> str:
        """One connection; why it is over."""
        while True:
            async with asyncio.timeout(self.stale_s):
                message = await link.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return f"the source ended the connection ({link.close_code})"
            self._hear(target, json.loads(message.data))

    def _hear(self, target: str, message: Mapping[str, Any]) -> None:
        event = message.get("data", {})
        symbol = event.get("s")
        if symbol not in self.market.last_ms:
            return
        self._heard_s[symbol] = time.monotonic()
        self._waits_for.discard(target)
        match event.get("e"):
            case "trade" | "aggTrade" as kind:
                number = event["t"] if kind == "trade" else event["a"]
                price, quantity = Decimal(event["p"]), Decimal(event["q"])
                before = self.market.last_ids.get(symbol, number - 1)
                self.missed += max(0, number - before - 1)
                self.market.take(Relayed(symbol, number, price, quantity, event["T"]))
            case "markPriceUpdate":
                mark, index = Decimal(event["p"]), Decimal(event["i"])
                self.mark(symbol, MarkTold(mark, index, Decimal(event["r"]), event["T"]))
            case None | "bookTicker":
                bid, ask = Decimal(event["b"]), Decimal(event["a"])
                if 0 < bid < ask:
                    self.quote(symbol, bid, ask)
        if not self.is_live and not self._waits_for:
            self._go("live")
        self.tell()

    async def _catch_up(self, rest: SourceRest, symbols: Iterable[str]) -> None:
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
