"""A flood in virtual time: entries at ten times the venue's limits, and every exit goes out in time all the same.

It lasts two minutes, and ten with `SUREFOOT_FULL=1`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

import pytest

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, FillModel, HttpResponse
from simex.venue import HttpRequest as VenueRequest
from surefoot.assembly import build_session
from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    CancelOrder,
    Command,
    Event,
    LinkRestored,
    OrderAccepted,
    OrderRejected,
    ReadAccount,
    RunStarted,
    SubmitOrder,
    VenueLimited,
    Woke,
)
from surefoot.core.model import OrderRequest, OrderType, Purpose, Side
from surefoot.research.exact import FINE, Fate, VirtualTime
from tests.stage import KEYS, START_MS, stage_settings

D = Decimal
EVERY_MS = 100
ENTRIES_EACH = {"spot": 10, "futures": 30}  # ten times what the venue takes: 100 and 300 in ten seconds
ENTRY_PRICES = {"spot": D(50_000), "futures": D(60_600)}  # those of futures fill, so that there is something to reduce
EXIT_EVERY_MS = 1_000
FLOOD_MS = 600_000 if os.environ.get("SUREFOOT_FULL") else 120_000
LATENCY_MS = 10


class Flooder:
    """Stands in for the engine: asks for entries without end, cancels what was taken, and for an exit each second."""

    def __init__(self, market: str) -> None:
        self.ready = False
        self._market, self._entries_each, self._entry_price = market, ENTRIES_EACH[market], ENTRY_PRICES[market]
        self.asked: dict[str, int] = {}
        self.heard: Counter[str] = Counter()
        self.limited: list[VenueLimited] = []
        self._next_ms = 0
        self._until_ms = 0
        self._number = 0

    def deadline_ms(self) -> int | None:
        return self._next_ms if self.ready and self._next_ms <= self._until_ms else None

    def step(self, event: Event) -> Sequence[Command]:
        self.heard[type(event).__name__] += 1
        match event:
            case LinkRestored(link="account") if not self.ready:
                self.ready, self._next_ms, self._until_ms = True, event.at_ms, event.at_ms + FLOOD_MS
            case Woke() if self.ready and event.at_ms >= self._next_ms:
                self._next_ms += EVERY_MS
                return self._flood(event.at_ms)
            case OrderAccepted() if event.client_order_id.startswith("entry") and event.resting:
                return [CancelOrder(event.at_ms, "BTCUSDT", event.client_order_id)] if self._market == "spot" else ()
            case OrderRejected():
                self.heard[event.text.partition(":")[0]] += 1
            case VenueLimited():
                self.limited.append(event)
            case _:
                pass
        return ()

    def _flood(self, now_ms: int) -> list[Command]:
        entries: list[Command] = [
            SubmitOrder(now_ms, self._order("entry", Side.BUY, OrderType.LIMIT, Purpose.ENTRY, self._entry_price))
            for _ in range(self._entries_each)
        ]
        if now_ms // EVERY_MS * EVERY_MS % EXIT_EVERY_MS:
            return [*entries, ReadAccount(now_ms)]
        exit = SubmitOrder(now_ms, self._order("exit", Side.SELL, OrderType.MARKET, Purpose.EXIT, None))
        self.asked[exit.order.client_order_id] = now_ms
        return [*entries, exit]

    def _order(self, name: str, side: Side, type: OrderType, purpose: Purpose, price: Decimal | None) -> OrderRequest:
        self._number += 1
        return OrderRequest(f"{name}{self._number}", "BTCUSDT", side, type, purpose, D("0.002"), price)


class Watched:
    """Lets everything through, and notes when each exit leaves."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.sent: Counter[str] = Counter()

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        assert isinstance(request, HttpRequest), "the settings say so"
        path, _, query = request.target.partition("?")
        self.sent[f"{request.method} {path}"] += 1
        params = dict(pair.split("=", 1) for pair in query.split("&") if pair)
        self.left[params.get("newClientOrderId", "")] = at_ms
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> Sequence[int]:
        return (0,)


class Counting(Exchange):
    """The simulated exchange, counting its answers by status. A neighbour behind the same address reads what weighs
    20 or 30 every `neighbour_ms`, where that is set."""

    def __init__(self, market: str, neighbour_ms: int | None) -> None:
        account = AccountSpec(
            KEYS.api_key, KEYS.secret, {"USDT": D(10_000_000), "BTC": D(100)}, wallet={"USDT": D(10_000_000)}
        )
        specs = [spec for spec in DEFAULT_INSTRUMENTS if spec.symbol == "BTCUSDT" and market == "spot"]
        contracts = [spec for spec in DEFAULT_CONTRACTS if spec.symbol == "BTCUSDT" and market == "futures"]
        super().__init__(specs, [account], model=FillModel(), forming_klines=False, contracts=contracts)
        self._weighs = "/api/v3/exchangeInfo" if market == "spot" else "/fapi/v1/income"
        self.tick("BTCUSDT", D(60_000), D(1), D(1_000_000), START_MS)
        self.statuses: Counter[int] = Counter()
        self._neighbour_ms = neighbour_ms
        self._next_ms = START_MS

    def rest(self, request: VenueRequest, now_ms: int) -> HttpResponse:
        while self._neighbour_ms is not None and self._next_ms <= now_ms:
            self._next_ms += self._neighbour_ms
            super().rest(VenueRequest("GET", self._weighs, {}, b""), now_ms)
        response = super().rest(request, now_ms)
        self.statuses[response.status] += 1
        return response


@pytest.mark.spec("NET-2", "SAFE-3")
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("market", "neighbour_ms"), [("spot", None), ("spot", 1_000), ("futures", None)])
def test_ten_times_the_limits_for_minutes_bans_nobody_and_holds_up_no_exit(
    market: str, neighbour_ms: int | None
) -> None:
    flooder, watched, exchange = Flooder(market), Watched(), Counting(market, neighbour_ms)
    settings = stage_settings(["BTCUSDT"], market__venue=market)
    session = build_session(settings, KEYS, lambda: 0.5, watch_always=False)
    engine = cast(Engine, flooder)
    driver = VirtualTime(engine, session, exchange, None, LATENCY_MS, lambda message: None, watched, START_MS)
    driver.begin(RunStarted(START_MS, "r1", "paper", ("BTCUSDT",), "flood", "0"))
    driver.run(START_MS + FLOOD_MS + 30_000)
    waits = [watched.left[order_id] - asked_ms for order_id, asked_ms in flooder.asked.items()]
    print(
        f"\nentries asked for {FLOOD_MS // EVERY_MS * ENTRIES_EACH[market]}, given back {flooder.heard['not sent']}, "
        f"requests {dict(watched.sent)}, answers {dict(exchange.statuses)}, "
        f"exits {len(waits)}, longest wait of an exit {max(waits)} ms"
    )
    assert flooder.heard["not sent"] > FLOOD_MS // EVERY_MS * ENTRIES_EACH[market] * 8 // 10
    assert (exchange.statuses[418], exchange.statuses[429], flooder.limited) == (0, 0, [])
    assert len(waits) >= FLOOD_MS // EXIT_EVERY_MS
    assert max(waits) == 0
    assert flooder.heard["OrderFilled"] >= len(waits)
