"""Positions and orders of the futures market: entry prices, profits, fees, and what the answers and events tell."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.simex.futures.wire import Trader, public
from tests.simex.wire import BOB, Floor, accepted

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal


def kinds(events: list[Any]) -> list[tuple[str, ...]]:
    return [(e["e"], e["o"]["x"], e["o"]["X"]) if e["e"] == "ORDER_TRADE_UPDATE" else (e["e"],) for e in events]


def test_a_market_order_opens_a_position_and_pays_its_fee_in_the_margin_asset(at: Floor, alice: Trader) -> None:
    answer = alice.order("BUY", "0.050")
    assert (answer["status"], answer["executedQty"]) == ("NEW", "0.000")  # an acknowledgement
    assert "avgPrice" not in answer
    assert "cumQuote" not in answer
    seen = alice.seen(answer["orderId"])
    assert (seen["status"], seen["avgPrice"], seen["cumQuote"]) == ("FILLED", "100000.10000", "5000.00500")
    # 5000.005 × 0.05 %
    assert alice.wallet() == D("10000") - D("2.5000025")
    row = alice.position()
    assert (row["positionAmt"], row["entryPrice"]) == ("0.050", "100000.10000000")
    assert row["breakEvenPrice"] == "100050.10005000"  # 100000.1 × 1.0005
    at.exchange.check_books()


def test_result_tells_the_end_of_a_market_order(alice: Trader) -> None:
    answer = alice.order("SELL", "0.010", newOrderRespType="RESULT")
    assert (answer["status"], answer["executedQty"]) == ("FILLED", "0.010")


def test_entry_price_is_the_average_of_what_was_added_and_stays_when_it_shrinks(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010", "100000")
    alice.order("BUY", "0.030", "98000")
    at.tick("97000")
    # 0.01 at 100000 and 0.03 at 98000
    assert alice.position()["entryPrice"] == "98500.00000000"
    alice.order("SELL", "0.015", "99000")
    at.tick("100000")
    assert alice.position()["entryPrice"] == "98500.00000000"
    rows = alice.get("income")
    assert [row["incomeType"] for row in rows] == ["COMMISSION", "COMMISSION", "REALIZED_PNL", "COMMISSION"]
    assert rows[2]["income"] == "7.50000000"  # 0.015 × 500
    at.exchange.check_books()


def test_a_fill_beyond_the_position_flips_it_and_opens_the_rest_at_the_price(at: Floor, alice: Trader) -> None:
    alice.order("BUY", "0.010", "100000")
    at.tick("99000")
    alice.order("SELL", "0.030", "101000")
    at.tick("102000")
    row = alice.position()
    assert (row["positionAmt"], row["entryPrice"]) == ("-0.020", "101000.00000000")
    trades = alice.get("userTrades", symbol="BTCUSDT")
    assert [trade["realizedPnl"] for trade in trades] == ["0.00000000", "10.00000000"]
    at.exchange.check_books()


def test_events_of_a_fill_come_in_the_documented_order(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    alice.order("BUY", "0.050")
    events = at.heard(link)
    assert kinds(events) == [
        ("ORDER_TRADE_UPDATE", "NEW", "NEW"),
        ("TRADE_LITE",),
        ("ORDER_TRADE_UPDATE", "TRADE", "FILLED"),
        ("ACCOUNT_UPDATE",),
    ]
    lite, full, account = events[1:]
    assert lite["t"] == full["o"]["t"]
    assert full["T"] == account["T"]
    assert (full["o"]["n"], full["o"]["N"]) == ("2.50000250", "USDT")
    assert account["a"]["m"] == "ORDER"
    alice.order("SELL", "0.050")
    (flat,) = at.heard(link)[-1]["a"]["P"]
    assert (flat["pa"], flat["ep"], flat["bep"], flat["cr"]) == ("0", "0", "0", "-0.01")
    assert account["a"]["B"] == [{"a": "USDT", "wb": "9997.49999750", "cw": "9997.49999750", "bc": "0"}]
    (position,) = account["a"]["P"]
    assert (position["pa"], position["ep"], position["bep"]) == ("0.05", "100000.1", "100050.10005")
    assert (position["mt"], position["ps"]) == ("cross", "BOTH")


def test_placing_and_cancelling_without_a_fill_sends_no_account_update(at: Floor, alice: Trader) -> None:
    link = alice.listen()
    placed = alice.order("BUY", "0.010", "99000")
    canceled = alice.delete("order", symbol="BTCUSDT", orderId=placed["orderId"])
    assert canceled["status"] == "CANCELED"
    assert kinds(at.heard(link)) == [
        ("ORDER_TRADE_UPDATE", "NEW", "NEW"),
        ("ORDER_TRADE_UPDATE", "CANCELED", "CANCELED"),
    ]
    assert alice.refused("DELETE", "order", symbol="BTCUSDT", orderId=placed["orderId"]) == -2011


def test_two_clients_meet_at_the_makers_price(at: Floor, alice: Trader) -> None:
    bob = Trader(at, BOB)
    alice.order("SELL", "0.020", "100000.1")
    bob.order("BUY", "0.020")
    assert bob.position()["entryPrice"] == "100000.10000000"
    assert (alice.amount(), bob.amount()) == (D("-0.020"), D("0.020"))
    (mine,), (theirs,) = (trader.get("userTrades", symbol="BTCUSDT") for trader in (alice, bob))
    assert (mine["maker"], theirs["maker"], mine["id"]) == (True, False, theirs["id"])
    assert (mine["commission"], theirs["commission"]) == ("0.40000040", "1.00000100")
    at.exchange.check_books()


def test_only_v2_lists_symbols_without_a_position(alice: Trader) -> None:
    assert alice.get("v3/positionRisk") == []
    assert len(alice.get("v2/positionRisk")) == 4
    alice.order("BUY", "0.010", "99000")
    (row,) = alice.get("v3/positionRisk")
    # 990 at the leverage of 20
    assert (row["positionAmt"], row["openOrderInitialMargin"], row["bidNotional"]) == (
        "0.000",
        "49.50000000",
        "990.00000000",
    )
    assert alice.available() == D("9950.5")


def test_every_answer_tells_the_weight_and_order_answers_the_counts(at: Floor, alice: Trader) -> None:
    response = alice.call("POST", "order", **alice.wish("BUY", "0.010", "99000"))
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == "0"
    assert (response.headers["X-MBX-ORDER-COUNT-10S"], response.headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    response = public(at, "v1/exchangeInfo")
    assert response.headers["X-MBX-USED-WEIGHT-1M"] == "1"
    info = accepted(response)
    assert {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300} in info["rateLimits"]


def test_an_unknown_path_is_answered_as_such(at: Floor) -> None:
    response = public(at, "v1/pmExchangeInfo")
    assert response.status == 404
    assert b'"code":-5000' in response.body
