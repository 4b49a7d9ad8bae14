"""The session under bad luck of its own: candles through cuts, pages and halts; entries that the limits hold up."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import TypeGuard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.binance import candles
from surefoot.binance.candles import CandleFeed
from surefoot.core.messages import (
    CandleClosed,
    Event,
    HistoryLoaded,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
)
from surefoot.core.model import Candle, OrderRequest, OrderType, Purpose, Side
from surefoot.core.orders import OrderBook, State
from surefoot.research.exact import Fate
from surefoot.store.records import decode
from tests.stage import QUARTER_HOUR_MS, Planned, Stage, instrument, stage_settings

MINUTE_MS = 60_000
PAGE = 4
LATENCY_MS = 10
CLOCK_ERROR_MS = 5_000

Step = str
STEPS = st.lists(
    st.sampled_from(("print", "close", "close", "halt", "deliver", "twice", "cut", "connect", "serve", "answer")),
    max_size=80,
)


class Venue:
    """Candles as the venue makes them, a link that is up or down, and one read on its way, which also returns the
    running candle, of which less was traded than will be.
    """

    def __init__(self) -> None:
        self.now_ms = 100 * MINUTE_MS
        self.closed: list[Candle] = []
        self.running: Candle | None = None
        self.stream: deque[Candle] = deque()
        self.feed = CandleFeed("BTCUSDT", MINUTE_MS, 10)
        self.heard: list[Event] = []
        self.up = False
        self.asked_from_ms: int | None = None
        self.asked_ms = 0
        self.page: tuple[Candle, ...] | None = None
        self.connect()

    def print(self) -> None:
        """Something is traded in the interval that runs."""
        one = Decimal(1)
        self.running = Candle("BTCUSDT", "1m", self.now_ms, self.now_ms + MINUTE_MS - 1, one, one, one, one, one)

    def close(self) -> None:
        """An interval ends with a candle."""
        self.print()
        assert self.running is not None
        candle, self.running = replace(self.running, volume=Decimal(2)), None
        self.now_ms += MINUTE_MS
        self.closed.append(candle)
        if self.up:
            self.stream.append(candle)

    def halt(self) -> None:
        """An interval ends, and if nothing was traded in it, there is no candle."""
        if self.running is not None:
            self.close()
        else:
            self.now_ms += MINUTE_MS

    def deliver(self) -> None:
        if self.stream:
            self._hear(self.feed.take_closed(self.stream.popleft(), self.now_ms))

    def twice(self) -> None:
        if self.stream:
            self._hear(self.feed.take_closed(self.stream[0], self.now_ms))
            self.deliver()

    def cut(self) -> None:
        self.up = False
        self.stream.clear()
        self.page = self.asked_from_ms = None  # the session does not take what was read before
        self.feed.link_lost()

    def connect(self) -> None:
        if not self.up:
            self.up = True
            self._ask(self.feed.start_reading(self.now_ms))

    def serve(self) -> None:
        """The read arrives at the venue."""
        if self.asked_from_ms is not None and self.page is None:
            there = self.closed if self.running is None else [*self.closed, self.running]
            rows = [candle for candle in there if candle.open_ms >= self.asked_from_ms]
            self.page = tuple(rows[:PAGE])

    def answer(self) -> None:
        if self.page is not None:
            rows = self.page
            self.page = self.asked_from_ms = None
            self._hear(self.feed.take_page(rows, self.asked_ms, self.now_ms))

    def _hear(self, events: list[Event]) -> None:
        self.heard += events
        if self.feed.read_from_ms is not None:
            self._ask(self.feed.read_from_ms)

    def _ask(self, from_ms: int) -> None:
        if self.asked_from_ms is None:
            self.asked_from_ms, self.asked_ms = from_ms, self.now_ms - CLOCK_ERROR_MS

    def settle(self) -> None:
        """Everything arrives, and one more candle closes."""
        self.connect()
        self.close()
        for _ in range(200):
            self.deliver()
            self.serve()
            self.answer()

    def told(self) -> list[Candle]:
        candles: list[Candle] = []
        for event in self.heard:
            if isinstance(event, HistoryLoaded):
                candles += event.candles
            elif isinstance(event, CandleClosed):
                candles.append(event.candle)
        return candles


@pytest.mark.spec("DATA-2", "DATA-4")
@settings(max_examples=300)
@given(STEPS)
def test_candles_come_in_order_without_gap_or_repeat_through_cuts_pages_and_halts(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candles, "PAGE_CANDLES", PAGE)
        venue = Venue()
        for step in steps:
            getattr(venue, step)()
            assert venue.told() == venue.closed[: len(venue.told())]
        venue.settle()
    assert venue.told() == venue.closed


@pytest.mark.spec("SAFE-1")
def test_entry_that_the_venues_limits_hold_up_is_refused_instead_of_sent_late() -> None:
    planned = Planned([("POST", "/api/v3/orderList", Fate(arrives=False, instead=429))])
    stage = Stage(stage_settings(["BTCUSDT", "ETHUSDT"]), fates=planned)
    stage.start()
    stage.price("BTCUSDT", Decimal(60_000))
    stage.price("ETHUSDT", Decimal(3_000))
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("BTCUSDT")
    stage.wait(1_000)  # the venue says 429 to the first entry
    stage.price("ETHUSDT", Decimal(3_000))
    stage.wait(QUARTER_HOUR_MS - 2_000)
    rejected = [message for message in map(decode, *zip(*stage.journal, strict=True)) if _is_rejection(message)]
    assert [message.client_order_id for message in rejected] == stage.submitted()
    assert "not sent" in rejected[-1].text
    assert not stage.venue_orders("ETHUSDT")
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("ETHUSDT")
    stage.wait(1_000)
    assert len(stage.venue_orders("ETHUSDT")) == 3


@pytest.mark.spec("SAFE-2", "NET-2")
@pytest.mark.parametrize(("held_s", "sold"), [(3, False), (7, False), (30, True), (55, True)])
def test_position_is_protected_or_past_the_bound_sold_the_moment_the_limits_allow_it(held_s: int, sold: bool) -> None:
    """A limit without a time holds until the minute is over."""
    planned = Planned([("POST", "/api/v3/orderList/oco", Fate(arrives=False, instead=429))])
    no_lists = [instrument("BTCUSDT", opo_allowed=False, oto_allowed=False)]
    settings = stage_settings(["BTCUSDT"], orders__entry_timeout_s="60")
    stage = Stage(settings, instruments=no_lists, fates=planned, latency_ms=LATENCY_MS)
    stage.start()
    stage.price("BTCUSDT", Decimal(60_000))
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.next_candle("BTCUSDT", Decimal(0))
    stage.wait(MINUTE_MS - held_s * 1_000)
    stage.price("BTCUSDT", Decimal(60_000))  # the entry fills, and its protection is one request too many
    stage.wait(held_s * 1_000 - 1)
    assert [order["type"] for order in stage.venue_orders("BTCUSDT")] == ["LIMIT"]
    stage.wait(1 + LATENCY_MS)
    states = [(order["type"], order["status"]) for order in stage.venue_orders("BTCUSDT")[1:]]
    assert states == ([("MARKET", "FILLED")] if sold else [("LIMIT_MAKER", "NEW"), ("STOP_LOSS", "NEW")])


def _is_rejection(message: object) -> TypeGuard[OrderRejected]:
    return isinstance(message, OrderRejected)


@pytest.mark.spec("ORD-4")
def test_order_that_left_late_is_lost_only_when_it_can_no_longer_arrive() -> None:
    request = OrderRequest("sf-r1-1x", "BTCUSDT", Side.SELL, OrderType.MARKET, Purpose.EXIT, Decimal(1))
    book = OrderBook(lost_after_ms=20_000)
    order = book.submit(request, 0)
    book.apply(OutcomeUnknown(51_000, order.id, "reset", sent_ms=50_000))
    states = []
    for at_ms in (51_500, 69_999, 70_000):
        book.apply(OrderNotFound(at_ms, order.id))
        states.append(order.state)
    assert states == [State.IN_DOUBT, State.IN_DOUBT, State.LOST]
