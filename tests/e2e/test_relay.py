"""The trader on a simulated exchange that relays another one: it is told that one's prices."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.processes import BUSY, exchange, trader

SYMBOLS = "BTCUSDT,ETHUSDT"


@pytest.mark.spec("MODE-2", "SIM-3")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("market", "trades"), [("spot", "/api/v3/aggTrades"), ("futures", "/fapi/v1/aggTrades")])
def test_the_trader_hears_the_prices_of_the_source(tmp_path: Path, market: str, trades: str) -> None:
    common = ("--symbols", SYMBOLS, "--history-days", "1", "--market", market)
    with (
        exchange("--seed", "3", *common) as source,
        exchange("--relay", str(source.hello["stream"]), *common) as venue,
        trader(venue, tmp_path / "journal.sqlite", BUSY | {"market.venue": market}) as bot,
    ):
        bot.start("--by-the-wall-clock")
        bot.wait_for_agreement()
        view = bot.wait_until("all prices are there", lambda view: all(row.price is not None for row in view.prices))
        theirs = {
            symbol: {Decimal(row["p"]) for row in source.call("GET", trades, {"symbol": symbol})}
            for symbol in venue.symbols
        }
        assert {row.symbol for row in view.prices} == set(venue.symbols)
        assert all(row.price in theirs[row.symbol] for row in view.prices)
        bot.stop()
