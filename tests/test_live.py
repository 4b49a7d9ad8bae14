"""The real-time driver's inbox and clocks: what is merged, what never is, and which way time goes."""

from __future__ import annotations

import asyncio
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from surefoot import live
from surefoot.assembly import InForce, build_session
from surefoot.binance.dialogue import (
    ACCOUNT,
    MARKET,
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    Keys,
    LinkDown,
    Wake,
)
from surefoot.binance.gateway import Pinged
from surefoot.config import Venue, load
from surefoot.control import Answer, Wish
from surefoot.core.messages import OperatorEvent, RunStarted
from surefoot.core.model import Candle, OrderRequest, OrderType, Purpose, Side
from surefoot.core.view import SeriesView
from surefoot.live import (
    EXIT_USE,
    FLUSH_AFTER_S,
    INBOX_MAX,
    INBOX_MERGES_AT,
    Asked,
    Inbox,
    MarketClock,
    Trader,
    WallClock,
    _market_ms,
)
from surefoot.store.journal import Journal


def price_of(symbol: str, bid: int) -> Frame:
    data = f'{{"u":1,"s":"{symbol.upper()}","b":"{bid}","B":"1","a":"9","A":"1"}}'
    text = f'{{"stream":"{symbol}@bookTicker","data":{data}}}'
    return Frame(MARKET, text.encode())


def mark_price_of(symbol: str, number: int) -> Frame:
    return Frame(MARKET, f'{{"stream":"{symbol}@markPrice@1s","data":{{"E":{number},"p":"{number}"}}}}'.encode())


def candle_frame(number: int) -> Frame:
    return Frame(MARKET, b'{"stream":"btcusdt@kline_15m","data":%d}' % number)


def kline_of(symbol: str, number: int, *, closed: bool) -> Frame:
    said = "true" if closed else "false"
    return Frame(MARKET, f'{{"stream":"{symbol}@kline_1m","data":{{"E":{number},"k":{{"x":{said}}}}}}}'.encode())


def data_of(frame: Frame) -> bytes:
    assert isinstance(frame.data, bytes)
    return frame.data


def everything(inbox: Inbox) -> list[object]:
    taken: list[object] = []
    while (item := inbox.take()) is not None:
        taken.append(item)
    return taken


def test_few_frames_keep_their_order_and_number() -> None:
    inbox = Inbox()
    frames = [price_of("btcusdt", bid) for bid in range(50)]
    for frame in frames:
        inbox.put(frame)
    assert everything(inbox) == frames
    assert inbox.merged == 0


@pytest.mark.spec("NET-4")
def test_a_flood_of_prices_keeps_only_the_newest_of_each_symbol_and_every_candle_and_account_frame() -> None:
    inbox = Inbox()
    for number in range(INBOX_MERGES_AT):
        inbox.put(candle_frame(number))
    for bid in range(5_000):
        inbox.put(price_of("btcusdt", bid))
        inbox.put(price_of("ethusdt", bid))
    account = [Frame(ACCOUNT, b'{"subscriptionId":0,"event":{"n":%d}}' % number) for number in range(1_000)]
    for frame in account:
        inbox.put(frame)
    taken = everything(inbox)
    assert taken[:INBOX_MERGES_AT] == [candle_frame(number) for number in range(INBOX_MERGES_AT)]
    assert [item for item in taken if isinstance(item, Frame) and item.link == ACCOUNT] == account
    assert taken[-2:] == [price_of("btcusdt", 4_999), price_of("ethusdt", 4_999)]
    assert inbox.merged == 2 * 4_999


@pytest.mark.spec("NET-4", "PERF-4")
@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_between_no_account_frame_or_closed_candle_is_lost_and_no_price_is_followed_by_an_older(
    seed: int,
) -> None:
    chance, inbox = random.Random(seed), Inbox()
    put: list[Frame] = []
    taken: list[Frame] = []
    for number in range(20_000):
        symbol = chance.choice(("btcusdt", "ethusdt"))
        kind = chance.random()
        if kind < 0.02:
            frame = Frame(ACCOUNT, b'{"subscriptionId":0,"event":{"n":%d}}' % number)
        elif kind < 0.8:
            frame = price_of(symbol, number)
        elif kind < 0.9:
            frame = mark_price_of(symbol, number)
        else:
            frame = kline_of(symbol, number, closed=kind > 0.99)
        put.append(frame)
        inbox.put(frame)
        for _ in range(chance.choice((0, 0, 0, 0, 0, 1, 2))):  # taken more slowly than they come
            one = inbox.take()
            if isinstance(one, Frame):
                taken.append(one)
        if chance.random() < 0.001:
            taken += [one for one in everything(inbox) if isinstance(one, Frame)]
    taken += [one for one in everything(inbox) if isinstance(one, Frame)]

    assert [one for one in taken if one.link == ACCOUNT] == [one for one in put if one.link == ACCOUNT]
    assert [one for one in taken if b'"x":true' in data_of(one)] == [one for one in put if b'"x":true' in data_of(one)]
    assert len(put) - len(taken) == inbox.merged > 1_000
    place = {id(frame): at for at, frame in enumerate(put)}
    for stream in (b"btcusdt@bookTicker", b"ethusdt@bookTicker", b"btcusdt@markPrice", b"ethusdt@markPrice"):
        prices = [place[id(one)] for one in taken if stream in data_of(one)]
        assert prices == sorted(prices)
        assert prices[-1] == max(at for at, one in enumerate(put) if stream in data_of(one))


@pytest.mark.spec("NET-4", "SAFE-4")
def test_when_even_that_is_too_much_the_link_counts_as_lost_instead_of_missing_a_frame() -> None:
    inbox = Inbox()
    inbox.put(Frame(MARKET, b"kept"))
    for number in range(INBOX_MAX + 10):
        inbox.put(Frame(ACCOUNT, b'{"event":%d}' % number))
    taken = everything(inbox)
    assert taken[0] == Frame(MARKET, b"kept")
    downs = [item for item in taken if isinstance(item, LinkDown)]
    assert [down.link for down in downs] == [ACCOUNT]
    after = taken[taken.index(downs[0]) + 1 :]
    assert len(after) < INBOX_MAX, "what came before the loss is not half told"


@pytest.mark.spec("NET-6", "SAFE-1")
def test_that_an_order_never_left_is_heard_before_the_end_of_the_link_that_it_did_not_take() -> None:
    inbox = Inbox()
    ended, never_left, lost = LinkDown(ACCOUNT, "reset"), HttpFailed(7, False, "down"), HttpFailed(6, True, "reset")
    for arrival in (ended, lost, never_left):
        inbox.put(arrival)
    assert everything(inbox) == [never_left, ended, lost]


async def test_whoever_waits_is_woken_by_an_arrival_a_nudge_or_the_time() -> None:
    inbox = Inbox()
    began = time.monotonic()
    await inbox.wait(0.02)
    assert time.monotonic() - began < 1
    asyncio.get_running_loop().call_later(0.01, inbox.put, Wake())
    await inbox.wait(None)
    assert inbox.take() == Wake()
    assert inbox.take() is None
    asyncio.get_running_loop().call_later(0.01, inbox.nudge)
    await inbox.wait(None)


@pytest.mark.spec("SAFE-1", "SAFE-2", "ORD-4")
@pytest.mark.parametrize("step_s", [-3_600, 3_600])
def test_a_step_of_the_machines_clock_moves_no_bound(monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    machine_ns, passed_ns = 1_790_000_000_000_000_000, 5_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: machine_ns)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: passed_ns)
    clock = WallClock()
    assert clock.now_ms() == 1_790_000_000_000
    machine_ns += step_s * 10**9 + 2 * 10**9
    passed_ns += 2 * 10**9
    assert clock.now_ms() == 1_790_000_002_000
    assert clock.behind_ms() == step_s * 1_000


def time_told(trader: Trader, venue_ms: int) -> None:
    """The venue answers what time it is, if it was asked, and nothing else."""
    for request in trader.session.take_requests(trader.clock.now_ms()):
        assert isinstance(request, HttpRequest)
        if request.target.endswith("/time"):
            trader._take(HttpAnswer(request.request_id, 200, {}, b'{"serverTime":%d}' % venue_ms))
        else:
            trader._take(HttpFailed(request.request_id, True, "busy"))


@pytest.mark.spec("SAFE-1", "BRK-4")
@pytest.mark.parametrize("at_stake", [False, True])
def test_a_machine_that_finds_out_its_time_late_is_followed_where_nothing_goes_by_the_time_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_stake: bool
) -> None:
    right_ms, late_ms = 1_790_000_000_000, 7_200_000
    machine_ns = (right_ms - late_ms) * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: machine_ns)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: 0)
    settings = load(None, {"market.symbols": "BTCUSDT"}, {}).settings
    session = build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = Trader(InForce(settings), session, journal, WallClock())
        trader._react(RunStarted(1, "run", settings.mode, settings.market.symbols, "digest", "0"))
        if at_stake:
            request = OrderRequest("sf-r-1s", "BTCUSDT", Side.SELL, OrderType.MARKET, Purpose.EXIT, Decimal(1))
            trader.engine.orders.submit(request, 1)
        session.start()
        time_told(trader, right_ms)
        assert trader.engine.clock_skew_ms == late_ms
        assert trader.clock.now_ms() == right_ms - late_ms
        machine_ns = right_ms * 1_000_000  # the machine asked somebody
        time_told(trader, right_ms)
        session.clock.ask_at_ms = trader.clock.now_ms()
        trader._take(Wake())
        time_told(trader, right_ms)
        assert trader.clock.now_ms() == (right_ms - late_ms if at_stake else right_ms)
        assert session.clock.venue_ms(trader.clock.now_ms()) == right_ms
        trader._take(Wake())
        time_told(trader, right_ms)
        assert trader.engine.clock_skew_ms == (late_ms if at_stake else 0)


def test_the_market_clock_never_goes_back() -> None:
    clock = MarketClock()
    clock.observe(1_790_000_000_000)
    assert clock.now_ms() == 1_790_000_000_000
    clock.observe(1_789_999_999_999)
    assert clock.now_ms() >= 1_790_000_000_000
    clock.observe(1_790_000_900_000)
    assert clock.now_ms() == 1_790_000_900_000


def test_a_ping_of_the_replaying_exchange_tells_the_market_time() -> None:
    assert _market_ms(Pinged(MARKET, b"digest 17 1790000000123").payload) == 1_790_000_000_123


@pytest.mark.spec("PERF-4")
def test_what_the_market_says_reaches_the_disk_in_bursts_and_what_happens_to_us_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    settings = load(None, {"market.symbols": "BTCUSDT"}, {}).settings
    session = build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = Trader(InForce(settings), session, journal, WallClock())
        trader._react(RunStarted(1, "run", settings.mode, settings.market.symbols, "digest", "0"))
        trader._flush_in_time()
        at_start = journal.last_seq
        assert at_start >= 1
        for _ in range(3):
            trader._take(Frame(MARKET, b"not readable"))
            trader._flush_in_time()
        assert (journal.last_seq, journal.pending) == (at_start, 6), "each time an event and an alarm"
        wait_s = trader._patience_s()
        assert wait_s is not None
        assert 0 < wait_s <= FLUSH_AFTER_S, "it looks up by itself"
        now_s += 2 * FLUSH_AFTER_S
        trader._flush_in_time()
        assert (journal.last_seq, journal.pending) == (at_start + 6, 0)
        trader._take(Frame(MARKET, b"not readable"))
        trader._take(Frame(ACCOUNT, b"not readable"))
        trader._flush_in_time()
        assert (journal.last_seq, journal.pending) == (at_start + 8, 0)


@pytest.mark.spec("OPS-1")
async def test_an_operator_comes_before_everything_that_waits() -> None:
    inbox = Inbox()
    for number in range(INBOX_MAX):
        inbox.put(candle_frame(number))
    asked = Asked(Wish("flatten", "now"), "ada", asyncio.get_running_loop().create_future())
    inbox.put(asked)
    assert inbox.take() is asked
    assert inbox.take() == candle_frame(0)


@pytest.mark.spec("DATA-5")
def test_the_picture_tells_how_many_candles_are_held_and_how_old_the_newest_is(tmp_path: Path) -> None:
    settings = load(None, {"market.symbols": "BTCUSDT"}, {}).settings
    session = build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = Trader(InForce(settings), session, journal, WallClock())
        assert trader.view().series == (
            SeriesView("BTCUSDT", "15m", 0, 500, None, 0, 0),
            SeriesView("BTCUSDT", "1h", 0, 723, None, 0, 0),
        )
        now_ms = trader.clock.now_ms()
        open_ms = now_ms - 900_000 - 5_000
        price = Decimal(100)
        closed = Candle("BTCUSDT", "15m", open_ms, open_ms + 899_999, price, price, price, price, price)
        trader.in_force.signals.warm([closed])
        held, _ = trader.view().series
        assert held.candles == 1
        assert held.age_ms is not None
        assert held.age_ms >= 5_000


@pytest.mark.spec("OPS-1")
async def test_each_wish_is_on_disk_with_who_when_and_why_when_it_is_answered_and_what_cannot_be_is_not(
    tmp_path: Path,
) -> None:
    settings = load(None, {"market.symbols": "BTCUSDT"}, {}).settings
    session = build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        trader = Trader(InForce(settings), session, journal, WallClock())
        trader._react(RunStarted(1, "run", settings.mode, settings.market.symbols, "digest", "0"))

        def answer_to(kind: str, symbol: str = "") -> Answer:
            asked = Asked(Wish(kind, "a drill", symbol), "ada", asyncio.get_running_loop().create_future())
            trader._take(asked)
            return asked.answered.result()

        nothing_gone = "nothing of BTCUSDT is held, so that nothing of it can be gone"
        assert answer_to("adopt-gone", "BTCUSDT") == Answer(False, nothing_gone)
        assert answer_to("close", "BTCUSDT") == Answer(False, "nothing of BTCUSDT is held or on its way")
        for kind in ("pause", "resume", "flatten", "cancel-all", "kill"):
            assert answer_to(kind) == Answer(True, f"{kind} taken from ada")
        no_money = "mode = paper trades no real money: there is nothing to switch"
        assert answer_to("live-on") == answer_to("live-off") == Answer(False, no_money)
        told = [entry.message for entry in journal.read(kinds=get_args(OperatorEvent))]
        assert [type(event).__name__ for event in told] == [
            *("PauseRequested", "ResumeRequested", "FlattenRequested", "CancelAllRequested", "KillRequested")
        ]
        assert {(event.who, event.reason) for event in told if isinstance(event, OperatorEvent)} == {("ada", "a drill")}
        assert trader.view().breaker.off == "kill switch of ada: a drill"


@pytest.mark.spec("SAFE-6", "MODE-1")
@pytest.mark.parametrize(("before", "mode"), [("paper", "live"), ("testnet", "live"), ("live", "paper")])
def test_what_was_held_in_one_mode_is_not_carried_into_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, mode: str
) -> None:
    path, said = tmp_path / "j.sqlite", list[str]()
    with Journal.open(path) as journal:
        journal.append(RunStarted(1, "r1", before, ("BTCUSDT",), "", "0"))

    async def may_hold(*_: object) -> bool:
        return True

    monkeypatch.setattr(live, "_may_hold", may_hold)
    flags = {"mode": mode, "live_confirmed": "true", "store.journal_path": str(path)}
    settings = load(None, flags, {}, keyless=True).settings
    nowhere = Venue(*["http://127.0.0.1:1"] * 3)
    assert (
        live.run_trader(settings, nowhere, Keys("k", "s"), paced=False, say=said.append, control_key=None) == EXIT_USE
    )
    assert said[-1:] == [
        f"{path} is a journal of mode = {before}, and mode = {mode}: choose another store.journal_path"
    ]
    with Journal.open(path) as journal:
        assert journal.run_count == 1
