"""The journal's disk really refuses while the trader trades: entries stop, exits go on, and later all is written.

The system itself refuses: from outside, the process is forbidden to write any byte into any file, and allowed again.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from surefoot.core.messages import LinkLost, LinkRestored
from tests.e2e.processes import (
    BUSY,
    SYMBOLS,
    Trader,
    candle_files,
    check_end,
    check_orders,
    eventually,
    exchange,
    minutes_before_end,
    requests_of,
    trader,
)

SPEED = 600
SECONDS = 11
SEED = 52
FAILING_S = 3.0
# Positions that live long enough to lose their protection in the middle.
PATIENT = {**BUSY, "exits.stop_pct_of_price": "3", "exits.target_pct_of_price": "3"}
UNLIMITED = resource.RLIM_INFINITY


def allow_writing(bot: Trader, allowed: bool) -> None:
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (UNLIMITED if allowed else 0, UNLIMITED))


def take_protection_away(bot: Trader) -> dict[str, Any]:
    """Cancel the orders behind one position, as somebody else with the same account could; the stop it was."""
    stop = eventually("a stop rests", lambda: next((o for o in bot.venue.open_orders() if is_stop(o)), None))
    bot.venue.call("DELETE", "/api/v3/orderList", {"symbol": stop["symbol"], "orderListId": stop["orderListId"]})
    return stop


def is_exit_after(stop: dict[str, Any], order: dict[str, Any]) -> bool:
    newer = order["symbol"] == stop["symbol"] and order["orderId"] > stop["orderId"]
    return newer and order["side"] == "SELL" and not is_pending(order)


def is_pending(order: dict[str, Any]) -> bool:
    return bool(order["status"] == "PENDING_NEW")


def is_stop(order: dict[str, str]) -> bool:
    return order["type"].startswith("STOP_LOSS") and order["status"] == "NEW"


@pytest.mark.spec("DB-2", "SAFE-1")
@pytest.mark.timeout(120)
def test_journal_that_cannot_be_written_stops_entries_and_nothing_else(tmp_path: Path) -> None:
    files = candle_files(tmp_path, SEED, SYMBOLS, 2)
    options = ["--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no"]
    options += ["--start-ms", str(minutes_before_end(SECONDS * SPEED // 60))]
    with exchange("--replay", *files, *options) as venue, trader(venue, tmp_path / "journal.sqlite", PATIENT) as bot:
        bot.start()
        bot.wait_until("it holds something", lambda view: any(p.stop_price for p in view.positions))
        allow_writing(bot, False)
        bot.wait_until("it says so", lambda view: "journal cannot be written" in (view.entries_off or ""))
        written = len(bot.record())
        entries = entry_ids(bot)
        stop = take_protection_away(bot)
        # A stop again, or a sale where the price has passed it: a fast market may fill either between two looks.
        eventually("an exit goes out again", lambda: any(is_exit_after(stop, order) for order in venue.orders()))
        time.sleep(FAILING_S)
        assert len(bot.record()) == written, "the disk did not refuse"
        assert entry_ids(bot) == entries, "an entry was sent that is not on disk"
        known = {request.client_order_id for request in requests_of(bot.record())}
        unwritten = {order["clientOrderId"] for order in venue.orders()} - known
        assert unwritten, "no exit went out"
        allow_writing(bot, True)
        bot.wait_until("entries are on again", lambda view: view.entries_off is None)
        check_orders(bot)
        venue.wait_for_end(3 * SECONDS + 60)
        check_end(bot)
        record = bot.record()
        later = entry_ids(bot) - entries
        bot.stop()
    assert unwritten <= {request.client_order_id for request in requests_of(record)}
    assert [message.link for message in record if isinstance(message, LinkLost)].count("store") == 1
    assert [message.link for message in record if isinstance(message, LinkRestored)].count("store") == 1
    print(f"{len(unwritten)} orders went out while nothing could be written, {len(later)} entries afterwards")


def entry_ids(bot: Trader) -> set[str]:
    return {order["clientOrderId"] for order in bot.venue.orders() if order["side"] == "BUY"}
