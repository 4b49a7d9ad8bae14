"""The connection to the exchange is cut while the trader trades; orders and market go on at the other end.

`SUREFOOT_FULL=1` makes it twenty cuts instead of a few.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from surefoot.core.messages import LinkLost
from tests.e2e.processes import (
    BUSY,
    FULL,
    SYMBOLS,
    candle_files,
    check_end,
    check_orders,
    exchange,
    minutes_before_end,
    trader,
)
from tests.e2e.wire import wire

SPEED = 1_200
SEED = 31
CUTS = 20 if FULL else 3
SECONDS_A_CUT = 4.5
ORDERS_MIN = 150 if FULL else 20


@pytest.mark.spec("SAFE-1", "NET-4", "NET-5", "NET-6")
@pytest.mark.timeout(600 if FULL else 180)
@pytest.mark.parametrize("way", ["rest", "socket"])
def test_cut_off_at_random_moments_it_finds_its_way_back(tmp_path: Path, way: str) -> None:
    rng = random.Random(SEED)
    seconds = CUTS * SECONDS_A_CUT
    minutes = int(seconds * SPEED / 60)
    files = candle_files(tmp_path, SEED, SYMBOLS, minutes // 1_440 + 2)
    options = ("--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no")
    with (
        exchange("--replay", *files, *options, "--start-ms", str(minutes_before_end(minutes))) as venue,
        wire(venue.rest) as line,
        trader(venue, tmp_path / "journal.sqlite", BUSY | {"orders.transport": way}, line.rest) as bot,
    ):
        bot.start()
        bot.wait_for_agreement()
        for _ in range(CUTS):
            time.sleep(rng.uniform(0.2, 1.2))
            assert line.cut() >= 2
            bot.wait_until("it has noticed", lambda view: not view.links)
            time.sleep(rng.uniform(0.0, 3.0) * rng.choice((0, 1)))
            line.mend()
            bot.wait_for_agreement(within_s=30)
            check_orders(bot)
        venue.wait_for_end(2 * seconds + 60)
        check_end(bot)
        orders, fills = len(venue.orders()), len(venue.trades())
        lost = [message.link for message in bot.record() if isinstance(message, LinkLost)]
        bot.stop()
    print(f"{CUTS} cuts, {orders} orders, {fills} fills, links lost: {lost}")
    assert lost.count("account") >= CUTS
    assert lost.count("market") >= CUTS
    assert orders >= ORDERS_MIN
