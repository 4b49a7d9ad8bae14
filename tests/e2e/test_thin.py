"""A market with little volume: a stop fires, finds less than it needs, and its rest expires as at Binance.

What is shown: what is left is sold or protected again, nothing is sold twice, and the ledger is equal to the account's.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.core.messages import OrderExpired, SubmitOrder
from surefoot.core.model import OrderType, Purpose
from tests.e2e.processes import BUSY, candle_files, check_end, exchange, minutes_before_end, requests_of, trader

SEED, SPEED, MINUTES = 41, 1_200, 240
SHARE_PCT = "0.02"
NEAR = BUSY | {"exits.target_pct_of_price": "3"}
MARKETS = {"spot": NEAR, "futures": NEAR | {"market.venue": "futures", "futures.leverage": "3"}}


@pytest.mark.spec("SAFE-3", "ORD-5", "SIM-1")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("market", MARKETS)
def test_what_a_stop_could_not_sell_is_sold_or_protected_again(tmp_path: Path, market: str) -> None:
    files = candle_files(tmp_path, SEED, ["BTCUSDT", "SOLUSDT"], 2)
    options = ["--market", market, "--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no"]
    options += ["--volume-share-pct", SHARE_PCT, "--start-ms", str(minutes_before_end(MINUTES))]
    with (
        exchange("--replay", *files, *options) as venue,
        trader(venue, tmp_path / "journal.sqlite", MARKETS[market]) as bot,
    ):
        bot.start()
        venue.wait_for_end(100)
        check_end(bot)
        record = bot.record()
        bot.stop()
    asked = {request.client_order_id: request for request in requests_of(record)}
    fell_short = [
        (order.symbol, (order.quantity or Decimal(0)) - message.executed, message.at_ms)
        for message in record
        if isinstance(message, OrderExpired) and message.executed
        if (order := asked[message.client_order_id]).purpose is Purpose.STOP and message.executed != order.quantity
    ]
    rests = {
        (message.order.symbol, message.order.quantity): message.at_ms
        for message in record
        if isinstance(message, SubmitOrder) and message.order.type is OrderType.MARKET
    }
    assert fell_short
    assert all(rests[symbol, rest] >= at_ms for symbol, rest, at_ms in fell_short)
    assert {symbol for symbol, _, _ in fell_short} <= {trip.symbol for trip in bot.folded().portfolio.round_trips}
