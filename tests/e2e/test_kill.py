"""The trader is killed while it trades, at random moments and around each write: nothing is doubled, nothing forgotten.

The market goes on while the trader is dead. `SUREFOOT_FULL=1` makes it fifty random deaths instead of a few.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.e2e.processes import (
    BUSY,
    FULL,
    SYMBOLS,
    Trader,
    candle_files,
    check_end,
    check_orders,
    eventually,
    exchange,
    has_equal_ledger,
    minutes_before_end,
    requests_of,
    trader,
)

SPEED = 1_200  # market minutes for every three real seconds: sixty
SEED = 20
KILLS = 50 if FULL else 6
SECONDS_A_KILL = 5  # of market; lives and starts take half of it, on a slow machine more; the last life has the rest
ORDERS_MIN = 200 if FULL else 25
FILLS_MIN = 100 if FULL else 12
REAL_TIME_KILLS = 4
NUMBERS = (1, 2, 3, 5, 8) if FULL else (1, 3)
BOUNDARIES = [(moment, number) for number in NUMBERS for moment in ("before", "sent", "answered")]
MINUTES_A_BOUNDARY = 60


FUTURES = BUSY | {
    "market.venue": "futures",
    "futures.leverage": "5",
    "rsi.overbought": "51",
    "rsi.extreme_high": "51",
    "exits.opposite_score_min": "0.5",
}


def market_of(folder: Path, seed: int, minutes: int, speed: str, market: str = "spot") -> list[str]:
    """What the exchange is told for so many minutes of market."""
    files = candle_files(folder, seed, SYMBOLS, minutes // 1_440 + 2)
    options = ["--speed", speed, "--wait-for-account", "--forming-klines", "no", "--market", market]
    return [*options, "--start-ms", str(minutes_before_end(minutes)), "--replay", *files]


def live_on(bot: Trader) -> None:
    """A life that finds its books in order."""
    bot.start()
    bot.wait_for_agreement()
    check_orders(bot)


@pytest.mark.spec("SAFE-1", "SAFE-4", "SAFE-6", "ORD-9", "DB-2")
@pytest.mark.timeout(900 if FULL else 180)
@pytest.mark.parametrize(("market", "kills"), [("spot", KILLS), ("futures", KILLS // 2)])
def test_killed_at_random_moments_it_doubles_and_forgets_nothing(tmp_path: Path, market: str, kills: int) -> None:
    rng = random.Random(SEED)
    seconds = kills * SECONDS_A_KILL
    options = market_of(tmp_path, SEED, int(seconds * SPEED / 60), str(SPEED), market)
    settings = FUTURES if market == "futures" else BUSY
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", settings) as bot:
        for kill in range(kills):
            if kill % 3 == 2:  # while it still finds its feet
                bot.start()
                time.sleep(rng.uniform(0.2, 1.2))
            else:
                live_on(bot)
                time.sleep(rng.uniform(0.0, 1.2))
            bot.kill()
        live_on(bot)
        venue.wait_for_end(2 * seconds + 60)
        check_end(bot)
        orders, fills = len(venue.orders()), len(venue.trades())
        bot.stop()
    print(f"{kills} kills, {orders} orders, {fills} fills")
    assert orders >= ORDERS_MIN * kills // KILLS
    assert fills >= FILLS_MIN * kills // KILLS


@pytest.mark.spec("SAFE-1", "DB-2", "ORD-9", "NET-6")
@pytest.mark.timeout(900 if FULL else 180)
@pytest.mark.parametrize(("market", "way"), [("spot", "rest"), ("spot", "socket"), ("futures", "socket")])
def test_killed_between_journal_and_exchange_it_doubles_and_forgets_nothing(
    tmp_path: Path, market: str, way: str
) -> None:
    # At this speed the market waits for the trader, so there is something to do in every life.
    options = market_of(tmp_path, SEED + 1, len(BOUNDARIES) * MINUTES_A_BOUNDARY, "max", market)
    settings = (FUTURES if market == "futures" else BUSY) | {"orders.transport": way}
    unsent = arrived = 0
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", settings) as bot:
        for moment, number in BOUNDARIES:
            bot.start("--die", f"{moment}={number}")
            bot.died(within_s=60)
            were_unsent, had_arrived = unsent, arrived
            arrived, unsent = check_orders(bot), missing_at_exchange(bot)
            assert moment != "before" or unsent > were_unsent
            assert moment != "answered" or arrived > had_arrived
        live_on(bot)
        venue.wait_for_end(90)
        check_end(bot)
        shorts = sum(trip.side == "short" for trip in bot.folded().portfolio.round_trips)
        assert bool(shorts) == (market == "futures")
        print(f"{len(BOUNDARIES)} deaths, {unsent} orders never sent, {len(venue.orders())} orders at the exchange")
        bot.stop()


def missing_at_exchange(bot: Trader) -> int:
    """How many orders the journal has that the exchange never saw."""
    theirs = {order["clientOrderId"] for order in bot.venue.orders()}
    return len({request.client_order_id for request in requests_of(bot.record())} - theirs)


@pytest.mark.skipif(not FULL, reason="takes minutes of real time: SUREFOOT_FULL=1")
@pytest.mark.spec("SAFE-1", "MODE-1")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("market", ["spot", "futures"])
def test_killed_by_the_wall_clock_when_candles_close_it_doubles_and_forgets_nothing(
    tmp_path: Path, market: str
) -> None:
    rng = random.Random(SEED)
    # A seed whose prices begin with falls: what is bought is decided in the first minutes.
    prices = ("--seed", "23", "--history-days", "1", "--print-every-ms", "100")
    options = ("--speed", "1", "--forming-klines", "no", "--market", market, *prices)
    settings = FUTURES if market == "futures" else BUSY
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", settings) as bot:
        for _ in range(REAL_TIME_KILLS):
            bot.start("--by-the-wall-clock")
            bot.wait_for_agreement()
            check_orders(bot)
            time.sleep(60 - time.time() % 60 + rng.uniform(0.0, 0.3))
            bot.kill()
        bot.start("--by-the-wall-clock")
        bot.wait_for_agreement()
        eventually("ledger equals the account", lambda: has_equal_ledger(bot))
        check_orders(bot)
        print(f"{REAL_TIME_KILLS} kills, {len(venue.orders())} orders, {len(venue.trades())} fills")
        assert venue.orders()
        bot.stop()
