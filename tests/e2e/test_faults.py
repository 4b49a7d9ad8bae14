"""Answers get lost after the exchange has acted: asking, never repeating, finds out what became of each order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from surefoot.core.messages import OutcomeUnknown, QueryOrder
from tests.e2e.processes import (
    BUSY,
    FULL,
    SYMBOLS,
    candle_files,
    check_end,
    exchange,
    minutes_before_end,
    trader,
)

SPEED = 1_200
SECONDS = 60 if FULL else 7
SEED = 41
DROPPED, FAILED = "reset-after=2", "error-after=2"


@pytest.mark.spec("SAFE-1", "ORD-5", "NET-3", "NET-6")
@pytest.mark.timeout(300 if FULL else 180)
@pytest.mark.parametrize("way", ["rest", "socket"])
@pytest.mark.parametrize("faults", [(DROPPED,), (FAILED, "reset-after=3")], ids=" and ".join)
def test_lost_answers_leave_no_order_doubled_or_forgotten(tmp_path: Path, faults: tuple[str, ...], way: str) -> None:
    settings = BUSY | {"orders.transport": way}
    minutes = SECONDS * SPEED // 60
    files = candle_files(tmp_path, SEED, SYMBOLS, minutes // 1_440 + 2)
    options = ["--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no"]
    options += ["--start-ms", str(minutes_before_end(minutes))]
    options += [word for fault in faults for word in ("--fault", fault)]
    with exchange("--replay", *files, *options) as venue, trader(venue, tmp_path / "journal.sqlite", settings) as bot:
        bot.start()
        venue.wait_for_end(3 * SECONDS + 60)
        check_end(bot)
        record, orders = bot.record(), len(venue.orders())
        bot.stop()
    doubts = Counter(message.client_order_id for message in record if isinstance(message, OutcomeUnknown))
    asked = sum(isinstance(message, QueryOrder) for message in record)
    print(f"{orders} orders, {len(doubts)} answers lost, {asked} questions")
    assert len(doubts) >= 6
    assert orders >= 15


# What never arrived is known to be lost only after a while of the market's time, which is short behind its end.
PLAN = """
seed = 41

[[fault]]
kind = "error-after"
every = 3
status = 502

[[fault]]
kind = "error-before"
every = 5
says = "busy"
windows_s = [[0, 7800]]

[[fault]]
kind = "timeout-after"
every = 4
after_ms = 30

[[fault]]
kind = "reset-before"
every = 6
windows_s = [[0, 6000]]

[[fault]]
kind = "answer-late"
of = "orders"
probability = 0.2
delay_ms = [1, 40]

[[fault]]
kind = "frame-repeated"
of = "account"
probability = 0.2

[[fault]]
kind = "silent"
of = "account"
windows_s = [[1500, 1560]]
then = "cut"

[[fault]]
kind = "disconnect"
windows_s = [[3000, 3001], [4500, 4501]]

[[fault]]
kind = "close"
of = "market"
windows_s = [[6000, 6001]]

[[fault]]
kind = "banned"
times = 1
windows_s = [[6200, 8000]]

[[fault]]
kind = "clock-skew"
skew_ms = -1500
windows_s = [[7000, 7300], [7600, 7900]]
"""


@pytest.mark.spec("SIM-2", "SAFE-1", "ORD-5", "NET-3", "NET-4")
@pytest.mark.timeout(300 if FULL else 180)
def test_a_plan_of_many_faults_leaves_equal_books(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    minutes = SECONDS * SPEED // 60
    files = candle_files(tmp_path, SEED, SYMBOLS, minutes // 1_440 + 2)
    options = ["--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no", "--faults", str(plan)]
    options += ["--start-ms", str(minutes_before_end(minutes))]
    with exchange("--replay", *files, *options) as venue, trader(venue, tmp_path / "journal.sqlite", BUSY) as bot:
        bot.start()
        venue.wait_for_end(3 * SECONDS + 90)
        check_end(bot)
        orders, struck = len(venue.orders()), venue.faults
        bot.stop()
    print(f"{orders} orders; {', '.join(f'{count} {kind}' for kind, count in sorted(struck.items()))}")
    assert {"error-after", "timeout-after", "silent", "disconnect", "close", "banned", "clock-skew"} <= set(struck)
    assert orders >= 8
