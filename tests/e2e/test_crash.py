"""A flash crash, with real processes: prices fall in one minute between two candles while something is held.

What is shown: the breaker trips on marked equity, at once; entries stop; the resting stop goes on and is hit later;
death by signal 9 and a restart change nothing; only a reset with a reason lets go, and is in the journal.
"""

from __future__ import annotations

import asyncio
import getpass
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from surefoot.control import CONTROL_KEY, Signer, Wish, ask_trader, read_candles, socket_path
from surefoot.core.messages import (
    BreakerResetRequested,
    CandleClosed,
    Command,
    Event,
    OrderFilled,
    RecordDecision,
    RecordReset,
    RecordTrip,
    ReplaceOrder,
    RunStarted,
)
from surefoot.core.model import Purpose, RoundTrip
from surefoot.core.view import View
from tests.e2e.processes import BUSY, T0_MS, Trader, environment, eventually, exchange, requests_of, trader

MINUTE_MS, QUARTER_MS = 60_000, 900_000
SPEED = 1_800  # two candles of a quarter of an hour a second
HISTORY_CANDLES, CANDLES = 200, 400
RISE, CRASH, LATER_FALL = range(3, 6), 6, 12  # candles after the start
CRASH_MS = T0_MS + CRASH * QUARTER_MS + 7 * MINUTE_MS
CRASH_SHARE, LATER_SHARE = 0.97, 0.96
CHANGES = BUSY | {
    "market.interval": "15m",
    "market.confirm_interval": "1h",
    "risk.notional_max_pct_of_equity": "50",
    "risk.risk_pct_of_equity": "2",
    "exits.stop_pct_of_price": "4",
    "exits.target_pct_of_price": "20",
    "breaker.day_loss_max_pct": "1",
}

CONTROL_KEY_OF_TEST = "5f" * 32

Kind = TypeVar("Kind", bound=Event | Command)


def candle_file(path: Path) -> str:
    """One-minute candles: a slow decline in waves, a rise, the crash, another fall, and waves again.

    Its waves make the strategy buy again and again: whatever keeps it from buying is told by a refusal.
    """
    price, rows = 70_000.0, []
    for candle in range(-HISTORY_CANDLES, CANDLES):
        change = 0.002 if candle in RISE else -0.003 if candle % 2 else 0.002
        for minute in range(QUARTER_MS // MINUTE_MS):
            opened, price = price, price * (1 + change) ** (1 / 15)
            if (candle, minute) == (CRASH, 7):
                price *= CRASH_SHARE
            if (candle, minute) == (LATER_FALL, 7):
                price *= LATER_SHARE
            open_ms = T0_MS + candle * QUARTER_MS + minute * MINUTE_MS
            high, low = max(opened, price), min(opened, price)
            rows.append(f"{open_ms},{opened:.2f},{high:.2f},{low:.2f},{price:.2f},5000")
    path.write_text("\n".join(("open_time,open,high,low,close,volume", *rows)) + "\n")
    return str(path)


def surefoot(bot: Trader, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "surefoot", *words, "--journal", str(bot.journal)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=30)


def is_held(view: View) -> bool:
    return bool(view.positions)


def trips_of(bot: Trader) -> Sequence[RoundTrip]:
    return bot.folded().portfolio.round_trips


def told(bot: Trader, kind: type[Kind]) -> list[Kind]:
    return [message for message in bot.record() if isinstance(message, kind)]


def after(record: Sequence[Event | Command], moment: Event | Command) -> list[Event | Command]:
    return list(record[record.index(moment) + 1 :])


def outcomes(record: Sequence[Event | Command], outcome: str) -> list[RecordDecision]:
    return [message for message in record if isinstance(message, RecordDecision) and message.outcome == outcome]


def entries_of(record: Sequence[Event | Command]) -> list[str]:
    return [request.client_order_id for request in requests_of(record) if request.purpose is Purpose.ENTRY]


@pytest.mark.spec("BRK-2", "BRK-3", "BRK-5", "SAFE-3", "OPS-1")
def test_a_flash_crash_trips_between_two_candles_and_only_a_reset_with_a_reason_lets_go(tmp_path: Path) -> None:
    market = ["--replay", candle_file(tmp_path / "BTCUSDT-1m.csv"), "--start-ms", str(T0_MS), "--speed", str(SPEED)]
    with (
        exchange(*market, "--wait-for-account", "--forming-klines", "no") as venue,
        trader(venue, tmp_path / "journal.sqlite", CHANGES) as bot,
    ):
        bot.keys[CONTROL_KEY] = CONTROL_KEY_OF_TEST
        bot.start()
        bot.wait_until("something is held", is_held)
        view = bot.wait_until("the breaker trips", lambda view: view.breaker.off is not None)
        assert view.positions, "a trip without entries sells nothing"
        assert view.positions[0].stop_price is not None
        check_trip(bot)

        bot.wait_until("the stop is hit", lambda view: not view.positions)
        bot.kill()
        before = bot.record()
        bot.start()
        view = bot.wait_for_agreement()
        assert view.breaker.off is not None, "a restart lets go"
        eventually("an entry is refused again", lambda: outcomes(bot.record()[len(before) :], "breaker"))

        for words in ((), ("--reason", ""), ("--reason", "  ")):
            done = surefoot(bot, "breaker", "reset", *words)
            assert done.returncode == 2, done.stderr
            assert "reason" in done.stderr
        assert not told(bot, BreakerResetRequested)
        done = surefoot(bot, "breaker", "reset", "--reason", "a crash in a test")
        assert (done.returncode, done.stdout) == (0, f"breaker-reset taken from {getpass.getuser()}\n"), done.stderr
        bot.wait_until("something is held again", is_held)
        check_story(bot)
        check_hand(bot)
        bot.stop()


def check_hand(bot: Trader) -> None:
    """What an operator asks for besides: each is heard within a second, and entries stay off for as long as asked."""
    seconds = {}
    for kind in ("pause", "cancel-all", "flatten"):
        asked_s = time.monotonic()
        assert ask_trader(socket_path(bot.journal), Wish(kind, "the end of a test")).taken
        seconds[kind] = time.monotonic() - asked_s
    assert max(seconds.values()) < 1
    bot.wait_until("everything is sold", lambda view: not view.positions and not view.orders)
    sold_s = time.monotonic() - asked_s
    record = bot.record()
    eventually("the trip is on record", lambda: trips_of(bot)[-1].reason == "flatten")
    eventually("an entry is refused by the pause", lambda: outcomes(bot.record()[len(record) :], "paused"))
    assert entries_of(bot.record()[len(record) :]) == []
    done = surefoot(bot, "resume", "--reason", "the end of a test")
    assert done.returncode == 0, done.stderr
    bot.wait_until("something is held after the pause", is_held)
    done = surefoot(bot, "close", "BTCUSDT", "--reason", "the end of a test")
    assert (done.returncode, done.stdout) == (0, f"close taken from {getpass.getuser()}\n"), done.stderr
    eventually("the one symbol is sold", lambda: "close" in {trip.reason for trip in trips_of(bot)})
    bot.wait_until("something is held after the close", is_held)
    check_candles(bot)
    signer = Signer(bytes.fromhex(CONTROL_KEY_OF_TEST), "ada")
    assert ask_trader(socket_path(bot.journal), Wish("kill", "the end of a test"), signer=signer).taken
    view = bot.wait_until("the kill switch sold all", lambda view: not view.positions and not view.orders)
    assert view.breaker.off == "kill switch of ada (web): the end of a test"
    eventually("the trip is on record", lambda: trips_of(bot)[-1].reason == "kill")
    print(f"asked: {', '.join(f'{kind} {s * 1_000:.0f} ms' for kind, s in seconds.items())}; sold in {sold_s:.2f} s")


def check_candles(bot: Trader) -> None:
    """What the trader holds for charts is what the venue told, digit for digit."""
    held = asyncio.run(read_candles(socket_path(bot.journal), "BTCUSDT", "15m"))
    told_of = {event.candle.open_ms: event.candle for event in told(bot, CandleClosed)}
    assert len(held.candles) > len(told_of) > 10
    assert [c for c in held.candles if c.open_ms in told_of][:10] == [told_of[ms] for ms in sorted(told_of)][:10]
    hours = asyncio.run(read_candles(socket_path(bot.journal), "BTCUSDT", "1h", 5)).candles
    assert [after.open_ms - before.open_ms for before, after in pairwise(hours)] == [4 * QUARTER_MS] * 4


def check_trip(bot: Trader) -> None:
    """On a marked price inside the minute of the crash: no candle told of it."""
    record = eventually("the trip is on disk", lambda: bot.record() if told(bot, RecordTrip) else None)
    (trip,) = [message for message in record if isinstance(message, RecordTrip)]
    assert CRASH_MS <= trip.at_ms < CRASH_MS + MINUTE_MS
    closes = [message.candle.close_ms for message in record if isinstance(message, CandleClosed)]
    seen = [
        message.candle.close_ms
        for message in record[: record.index(trip)]
        if isinstance(message, CandleClosed)
    ]  # fmt: skip
    assert max(seen) < CRASH_MS, "a candle told of the crash before the breaker did"
    left_s = (CRASH_MS // QUARTER_MS * QUARTER_MS + QUARTER_MS - trip.at_ms) / 1_000
    print(
        f"tripped {(trip.at_ms - CRASH_MS) / 1_000:.1f} s into the minute of the crash, {left_s:.0f} s before the next"
        f" candle of {len(closes)}: {trip.text}, equity {trip.curve[-1][1]:.2f} before, {trip.equity:.2f} then"
    )


def check_story(bot: Trader) -> None:
    """The whole journal in order: crash, refusals, stop, death, refusals, reset, entry."""
    record = bot.record()
    (trip,) = [message for message in record if isinstance(message, RecordTrip)]
    (reset,) = [message for message in record if isinstance(message, RecordReset)]
    assert (reset.who, reset.reason) == (getpass.getuser(), "a crash in a test")
    tripped = after(record, trip)
    held_off, resumed = tripped[: tripped.index(reset)], after(tripped, reset)
    assert entries_of(held_off) == []
    assert not [message for message in held_off if isinstance(message, ReplaceOrder)], "the stop was left alone"
    refused = outcomes(held_off, "breaker")
    restart = next(index for index, message in enumerate(held_off) if isinstance(message, RunStarted))
    again = outcomes(held_off[restart:], "breaker")
    assert len(refused) > len(again) >= 1
    (stop,) = {
        message.fill.trade_id: message for message in held_off[:restart] if isinstance(message, OrderFilled)
    }.values()
    assert stop.fill.client_order_id in {r.client_order_id for r in requests_of(record) if r.purpose is Purpose.STOP}
    assert entries_of(resumed)
    round_trip = bot.folded().portfolio.round_trips[0]
    assert round_trip.reason == "stop"
    fall = 100 * (1 - stop.fill.price / round_trip.entry_price)
    assert fall > Decimal(4)
    first = next(
        message for message in resumed if isinstance(message, RecordDecision) and message.outcome == "approved"
    )
    print(
        f"{len(refused)} entries refused ({len(again)} after the restart), stopped out {fall:.2f} % below the entry"
        f" {(stop.fill.at_ms - trip.at_ms) / 60_000:.0f} min after the trip,"
        f" first entry {(first.at_ms - reset.at_ms) / 60_000:.0f} min of market after the reset"
    )
