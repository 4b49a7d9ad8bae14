"""Auto-deleveraging over real sockets: the exchange closes some of a position, then all, unasked by the trader."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from surefoot.core.messages import VenueTraded
from tests.e2e.processes import (
    BUSY,
    Exchange,
    Trader,
    booked_trades,
    candle_files,
    check_orders,
    check_protection,
    eventually,
    exchange,
    has_equal_ledger,
    minutes_before_end,
    trader,
    trades_of,
)
from tests.e2e.wire import Wire, wire

SEED, MINUTES = 41, 600
MARKET = ("--market", "futures", "--speed", "300", "--wait-for-account", "--forming-klines", "no", "--admin-port", "0")
# What is bought is held: neither stop nor target is near, and no signal ends it.
PATIENT = BUSY | {
    "market.venue": "futures",
    "futures.leverage": "5",
    "exits.stop_pct_of_price": "10",
    "exits.target_pct_of_price": "15",
    "rsi.overbought": "51",
    "rsi.extreme_high": "51",
    "exits.opposite_score_min": "1",
}


def deleverage(venue: Exchange, symbol: str, share: str) -> None:
    """So much of what is held, at the price of the moment."""
    held = abs(venue.contracts()[symbol])
    price = venue.call("GET", "/fapi/v1/ticker/price", {"symbol": symbol})["price"]
    quantity = (held * Decimal(share)).quantize(held)
    venue.command("/deleverage", {"symbol": symbol, "quantity": str(quantity), "price": price})


def deafen(bot: Trader, line: Wire, how: str) -> None:
    if how == "cut off":
        assert line.cut() >= 2
        bot.wait_until("it has noticed", lambda view: not view.links)
    elif how == "dead":
        bot.kill()


def mend(bot: Trader, line: Wire, how: str) -> None:
    if how == "cut off":
        line.mend()
    elif how == "dead":
        bot.start()


def check_that_all_is_booked(bot: Trader, times: int, why: str = "auto-deleveraging") -> None:
    """Every trade of the exchange, the forced ones once each; what is owned is equal to the last digit."""

    def forced() -> list[VenueTraded]:
        return [message for message in bot.record() if isinstance(message, VenueTraded)]

    eventually("it is booked", lambda: len({each.fill.trade_id for each in forced()}) == times)
    assert {each.why for each in forced()} == {why}
    bot.wait_for_agreement()
    eventually("ledger equals the account", lambda: has_equal_ledger(bot))
    eventually("every trade is booked", lambda: booked_trades(bot.record()) == trades_of(bot.venue))
    check_orders(bot)


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-3", "SAFE-4")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["heard", "cut off", "dead"])
def test_auto_deleveraging_is_booked_to_the_last_digit(tmp_path: Path, how: str) -> None:
    files = candle_files(tmp_path, SEED, ["BTCUSDT"], 2)
    tape = ("--start-ms", str(minutes_before_end(MINUTES)), "--replay", *files)
    with (
        exchange(*MARKET, *tape) as venue,
        wire(venue.rest) as line,
        trader(venue, tmp_path / "journal.sqlite", PATIENT, line.rest) as bot,
    ):
        bot.start()
        bot.wait_for_agreement()
        eventually("a protected position", lambda: bool(venue.contracts()) and len(venue.open_orders()) == 2)
        deafen(bot, line, how)
        deleverage(venue, "BTCUSDT", "0.4")
        mend(bot, line, how)
        check_that_all_is_booked(bot, 1)
        eventually("what is left is protected", lambda: is_protected(bot))
        deafen(bot, line, how)
        deleverage(venue, "BTCUSDT", "1")
        mend(bot, line, how)
        check_that_all_is_booked(bot, 2)
        first = bot.folded().portfolio.round_trips[0]
        stop, target = [order["clientAlgoId"] for order in venue.call("GET", "/fapi/v1/allAlgoOrders", BTC)][:2]
        eventually("stop and target are gone", lambda: {stop, target}.isdisjoint(open_ids(venue)))
        assert first.reason == "auto-deleveraging"
        bot.stop()


@pytest.mark.spec("ORD-9", "PNL-2", "SAFE-4", "SIM-2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["heard", "cut off", "dead"])
def test_a_contract_that_is_delisted_is_booked_to_the_last_digit(tmp_path: Path, how: str) -> None:
    files = candle_files(tmp_path, SEED, ["BTCUSDT"], 2)
    tape = ("--start-ms", str(minutes_before_end(MINUTES)), "--replay", *files)
    with (
        exchange(*MARKET, *tape) as venue,
        wire(venue.rest) as line,
        trader(venue, tmp_path / "journal.sqlite", PATIENT, line.rest) as bot,
    ):
        bot.start()
        bot.wait_for_agreement()
        eventually("a protected position", lambda: bool(venue.contracts()) and len(venue.open_orders()) == 2)
        deafen(bot, line, how)
        venue.command("/faults", {"kind": "delist", "symbol": "BTCUSDT"})
        mend(bot, line, how)
        check_that_all_is_booked(bot, 1, "settlement")
        assert venue.contracts() == {}
        assert bot.folded().portfolio.round_trips[0].reason == "settlement"
        assert open_ids(venue) == set()
        bot.stop()


BTC = {"symbol": "BTCUSDT"}


def open_ids(venue: Exchange) -> set[str]:
    return {order["clientAlgoId"] for order in venue.open_orders()}


def is_protected(bot: Trader) -> bool:
    check_protection(bot, bot.folded())
    return True
