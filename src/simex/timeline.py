"""The pacing of market time: one exchange, one market, and the clock that both live by.

At speed 1 the clock is the wall clock. At any other speed the clock is market time: it stands still between events, and
after each event the links' clients digest what they were sent before time goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from simex.links import Links
from simex.market import Market, PrintTaker
from simex.pause import MAX_SPEED, Pause
from simex.venue import HttpRequest, HttpResponse, SymbolStatus

REAL_TIME: Final = 1.0
# Without frames there is no barrier; other tasks must still get their turn now and then.
EVENTS_PER_TURN: Final = 64


# From here on two milliseconds are a receive window. Who has lost its links would sign for a time that is over, again
# and again: so the market holds until it is back.
HOLDS_FROM_SPEED: Final = 2_500.0


class Venue(PrintTaker, Protocol):
    """The exchange as the sockets see it; `simex.exchange.Exchange` is one."""

    def rest(self, request: HttpRequest, now_ms: int) -> HttpResponse: ...

    def ws_open(self, link: int, target: str, now_ms: int) -> bool: ...

    def ws_text(self, link: int, text: str, now_ms: int) -> None: ...

    def ws_close(self, link: int) -> None: ...

    def hears_account(self, link: int) -> bool: ...

    def wake(self, now_ms: int) -> None: ...

    def deadline_ms(self) -> int | None: ...

    def announce_shutdown(self, now_ms: int) -> None: ...

    def set_clock_skew(self, skew_ms: int) -> None: ...

    def set_symbol_status(self, symbol: str, status: SymbolStatus) -> None: ...

    def announce_delisting(self, symbol: str, at_ms: int) -> None: ...

    def delist(self, symbol: str, now_ms: int) -> None: ...

    def take_frames(self) -> list[tuple[int, str]]: ...

    def roll(self, now_ms: int) -> None: ...


class Planned(Protocol):
    """What else happens at times of the market."""

    def advance(self, now_ms: int) -> None: ...

    def deadline_ms(self) -> int | None: ...


class Timeline:
    """Moves market time; `wait_for_klines` and `wait_for_account` hold it until somebody listens to those, and from
    `HOLDS_FROM_SPEED` on whenever nobody does."""

    def __init__(
        self,
        exchange: Venue,
        market: Market,
        speed: float,
        wall_ms: Callable[[], int],
        barrier_timeout_s: float,
        *,
        wait_for_klines: bool,
        wait_for_account: bool,
    ) -> None:
        self.is_real_time = speed == REAL_TIME
        self.links = Links(None if self.is_real_time else lambda: self._clock_ms, barrier_timeout_s)
        self.planned: Planned | None = None
        self._exchange = exchange
        self._market = market
        self._speed = speed
        self._wall_ms = wall_ms
        self._wait_for_klines = wait_for_klines or speed == MAX_SPEED
        self._wait_for_account = wait_for_account
        self._clock_ms = wall_ms() if self.is_real_time else market.next_ms() or 0
        self._ended_s: float | None = None
        self._wake: asyncio.TimerHandle | None = None

    def now_ms(self) -> int:
        """The exchange's clock: UTC ms, wall time at speed 1, market time otherwise; it never goes back."""
        if self.is_real_time:
            self._clock_ms = max(self._clock_ms, self._wall_ms())
        if self._ended_s is None:
            return self._clock_ms
        # The market is over, but clients live on and must not find their clocks ahead of a time that stands still.
        return self._clock_ms + int((time.monotonic() - self._ended_s) * 1_000)

    def stop(self) -> None:
        """Nothing is told any more by itself."""
        if self._wake is not None:
            self._wake.cancel()

    def catch_up(self) -> None:
        """At speed 1 a request must not see a market that is late, so what is due comes first."""
        if not self.is_real_time:
            return
        now_ms = self.now_ms()
        while (at_ms := self._market.next_ms()) is not None and at_ms <= now_ms:
            self._market.advance(self._exchange)

    def tell(self) -> None:
        """Send what the exchange has to say by now; on the wall clock, come back when it will have more."""
        self.links.send_by_kind(self.take())

    def take(self) -> list[tuple[int, str]]:
        """What the exchange has to say by now."""
        now_ms = self.now_ms()
        if self.planned is not None:
            self.planned.advance(now_ms)
        self._exchange.wake(now_ms)
        frames = self._exchange.take_frames()
        self._plan_wake()
        return frames

    def _plan_wake(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        due_ms = self._deadline_ms() if self.is_real_time else None
        if due_ms is not None:
            delay_s = max(0, due_ms - self.now_ms()) / 1_000
            self._wake = asyncio.get_running_loop().call_later(delay_s, self.tell)

    def _deadline_ms(self) -> int | None:
        due_ms = self._exchange.deadline_ms()
        planned_ms = self.planned.deadline_ms() if self.planned is not None else None
        return min((ms for ms in (due_ms, planned_ms) if ms is not None), default=None)

    # -- playing -----------------------------------------------------------------------------------------------------

    async def play(self) -> int:
        """Run the market to its end; the clock at the end (UTC ms). A generated market has none."""
        if self.is_real_time:
            await self._play_along_the_wall_clock()
        else:
            await self._play_paced()
        if self._market.end_ms is not None:
            self._clock_ms = max(self._clock_ms, self._market.end_ms)
        self._exchange.roll(self._clock_ms)
        await self._deliver()
        self._ended_s = time.monotonic()
        return self._clock_ms

    async def _play_along_the_wall_clock(self) -> None:
        while (at_ms := self._market.next_ms()) is not None:
            await asyncio.sleep(max(0, at_ms - self._wall_ms()) / 1_000)
            self.catch_up()
            self.tell()

    async def _play_paced(self) -> None:
        pause = Pause(self._speed)
        turn = 0
        await self._clients_are_ready()
        while (at_ms := self._market.next_ms()) is not None:
            if self._speed >= HOLDS_FROM_SPEED:
                await self._clients_are_ready()
            # What clients were sent before, such as answers to their subscriptions, is digested before time moves.
            await self.links.barrier()
            await self._wake_clients(pause, at_ms)
            await self._wake_exchange(pause, at_ms)
            await pause.until(at_ms)
            self._clock_ms = at_ms
            self._market.advance(self._exchange)
            if self.planned is not None:
                self.planned.advance(at_ms)
            await self._deliver()
            turn = (turn + 1) % EVENTS_PER_TURN
            if not turn:
                await asyncio.sleep(0)

    async def _wake_clients(self, pause: Pause, before_ms: int) -> None:
        """Stop at every time between events that a client asked for with its pong, so that it can act at it."""
        while True:
            wishes = [link.wake_ms for link in self.links if link.wake_ms is not None]
            at_ms = max(min(wishes, default=before_ms), self._clock_ms)
            if at_ms >= before_ms:
                return
            await pause.until(at_ms)
            self._clock_ms = at_ms
            for link in self.links:
                if link.wake_ms is not None and link.wake_ms <= at_ms:
                    link.wake()
            await self.links.barrier()

    async def _wake_exchange(self, pause: Pause, before_ms: int) -> None:
        """Stop between events, too, where a stream has something to tell that had to wait."""
        while (due_ms := self._deadline_ms()) is not None and due_ms < before_ms:
            await pause.until(due_ms)
            self._clock_ms = max(self._clock_ms, due_ms)
            if self.planned is not None:
                self.planned.advance(self._clock_ms)
            self._exchange.wake(self._clock_ms)
            await self._deliver()

    async def _clients_are_ready(self) -> None:
        await self.links.until(self._is_ready)

    def _is_ready(self) -> bool:
        has_klines = not self._wait_for_klines or any(link.kline_streams for link in self.links)
        return has_klines and (not self._wait_for_account or any(link.has_account for link in self.links))

    async def _deliver(self) -> None:
        await self.links.deliver(self._exchange.take_frames())
