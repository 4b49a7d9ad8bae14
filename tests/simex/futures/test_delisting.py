"""A contract that is halted, takes cancels only, or is delisted by the operator."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.simex.futures.wire import Trader, public
from tests.simex.wire import Floor

pytestmark = [pytest.mark.spec("SIM-2")]
D = Decimal


def shown(at: Floor) -> dict[str, Any]:
    """BTCUSDT in exchangeInfo."""
    rows = json.loads(public(at, "v1/exchangeInfo").body)["symbols"]
    (row,) = [row for row in rows if row["symbol"] == "BTCUSDT"]
    return dict(row)


@pytest.mark.parametrize(("status", "told"), [("CANCEL_ONLY", "PRE_SETTLE"), ("HALT", "PENDING_TRADING")])
def test_a_contract_that_does_not_trade_takes_cancels_only(at: Floor, alice: Trader, status: Any, told: str) -> None:
    resting = alice.order("BUY", "0.010", "98000")
    algo = alice.algo("SELL", "STOP_MARKET", "95000", quantity="0.010")
    at.exchange.set_symbol_status("BTCUSDT", status)
    assert shown(at)["status"] == told
    assert alice.no_order("BUY", "0.010") == alice.no_algo("SELL", "STOP_MARKET", "95000", quantity="0.010") == -1122
    at.tick("90000")
    assert alice.seen(resting["orderId"])["status"] == "NEW"
    alice.delete("order", symbol="BTCUSDT", orderId=resting["orderId"])
    alice.delete("algoOrder", algoId=algo["algoId"])
    at.exchange.set_symbol_status("BTCUSDT", "TRADING")
    at.tick("90000")
    assert alice.order("BUY", "0.010", newOrderRespType="RESULT")["status"] == "FILLED"


def test_a_contract_that_ends_closes_every_position_at_its_mark_price(at: Floor, alice: Trader, bob: Trader) -> None:
    alice.order("BUY", "0.050")
    bob.order("SELL", "0.020")
    resting = alice.order("SELL", "0.010", "101000")
    algo = alice.algo("SELL", "STOP_MARKET", "95000", closePosition="true")
    link = alice.listen()
    at.exchange.announce_delisting("BTCUSDT", at.now_ms + 60_000)
    assert shown(at)["deliveryDate"] == at.now_ms + 60_000
    at.tick("100400")
    at.exchange.delist("BTCUSDT", at.now_ms)
    assert (shown(at)["status"], alice.amount(), bob.amount()) == ("CLOSE", 0, 0)
    assert alice.seen(resting["orderId"])["status"] == "EXPIRED"
    assert alice.get("algoOrder", algoId=algo["algoId"])["algoStatus"] == "EXPIRED"
    events = [event["o"] for event in at.heard(link) if event["e"] == "ORDER_TRADE_UPDATE"]
    assert [(event["x"], event["er"]) for event in events] == [("EXPIRED", "7"), ("NEW", "0"), ("TRADE", "0")]
    forced = events[-1]
    assert forced["c"].startswith("settlement_autoclose-")
    assert (forced["S"], D(forced["q"]), D(forced["L"])) == ("SELL", D("0.05"), D(100_400))
    assert alice.no_order("BUY", "0.010") == -1122
    at.exchange.check_books()


def test_a_symbol_that_nobody_trades_cannot_be_delisted(at: Floor) -> None:
    for act in (at.exchange.announce_delisting, at.exchange.delist):
        with pytest.raises(KeyError):
            act("NOPEUSDT", at.now_ms)
