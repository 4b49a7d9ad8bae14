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


@pytest.mark.spec("SAFE-1", "ORD-5", "NET-3")
@pytest.mark.timeout(240 if FULL else 90)
@pytest.mark.parametrize("faults", [(DROPPED,), (FAILED, "reset-after=3")], ids=" and ".join)
def test_lost_answers_leave_no_order_doubled_or_forgotten(tmp_path: Path, faults: tuple[str, ...]) -> None:
    minutes = SECONDS * SPEED // 60
    files = candle_files(tmp_path, SEED, SYMBOLS, minutes // 1_440 + 2)
    options = ["--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no"]
    options += ["--start-ms", str(minutes_before_end(minutes))]
    options += [word for fault in faults for word in ("--fault", fault)]
    with exchange("--replay", *files, *options) as venue, trader(venue, tmp_path / "journal.sqlite", BUSY) as bot:
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
