"""Self-trade prevention (§10.7): modes, prevented matches, trade groups."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec
from tests.simex.wire import ALICE, BOB, PLENTY, SHARP, Client, Floor, floor, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
D = Decimal


def grouped(group: int = 7) -> Floor:
    """Alice and Bob in one trade group, at a market of 60 000 without liquidity of its own."""
    accounts = [AccountSpec(key, secret_of(key), PLENTY, trade_group=group) for key in (ALICE, BOB)]
    at = Floor(Exchange(DEFAULT_INSTRUMENTS, accounts, model=SHARP))
    at.tick("60000", liquidity="0")
    return at


@pytest.fixture
def at() -> Floor:
    made = floor(model=SHARP)
    made.tick("60000", liquidity="0")
    return made


def limit(quantity: str, mode: str = "EXPIRE_MAKER", price: str = "60000") -> dict[str, str]:
    return {"type": "LIMIT", "timeInForce": "GTC", "quantity": quantity, "price": price,
            "selfTradePreventionMode": mode}  # fmt: skip


def state(client: Client, order_id: int) -> tuple[str, str, str, str | None]:
    """Status, what was asked for, executed and prevented."""
    order = client.order(order_id)
    return order["status"], order["origQty"], order["executedQty"], order.get("preventedQuantity")


@pytest.mark.parametrize(
    ("maker", "taker", "maker_state", "taker_state"),
    [("0.3", "0.2", ("NEW", "0.2"), ("EXPIRED_IN_MATCH", "0.2")),
     ("0.2", "0.3", ("EXPIRED_IN_MATCH", "0.2"), ("NEW", "0.2")),
     ("0.2", "0.2", ("EXPIRED_IN_MATCH", "0.2"), ("EXPIRED_IN_MATCH", "0.2"))],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["DECREMENT", "TRANSFER"])
def test_decrement_takes_the_match_from_both_and_ends_the_smaller(
    at: Floor, alice: Client, mode: str, maker: str, taker: str, maker_state: tuple[str, str],
    taker_state: tuple[str, str],
) -> None:  # fmt: skip
    """§10.7: orig − executed − prevented = available; a transfer within one account is a decrement."""
    resting = alice.sell(**limit(maker, mode))["orderId"]
    taking = alice.buy(**limit(taker, mode))["orderId"]
    for order_id, quantity, (status, prevented) in ((resting, maker, maker_state), (taking, taker, taker_state)):
        expected = (status, f"{D(quantity):.8f}", "0.00000000", f"{D(prevented):.8f}")
        assert state(alice, order_id) == expected
    left = D("60000") * (D(taker) - D("0.2"))
    assert alice.balance("USDT")[1] == left
    assert alice.balance("BTC")[1] == D(maker) - D("0.2")
    at.exchange.check_books()
    if alice.get("openOrders"):
        alice.delete("openOrders", symbol="BTCUSDT")
    assert (alice.balance("USDT"), alice.balance("BTC")) == ((100_000, 0), (10, 0)), "nothing was traded"


def test_a_decremented_rest_trades_on_and_ends_filled(at: Floor, alice: Client) -> None:
    bob = Client(at, BOB)
    alice.sell(**limit("0.2"))
    taking = alice.buy(**limit("0.3", "DECREMENT"))["orderId"]
    bob.sell(**limit("0.1"))
    assert state(alice, taking) == ("FILLED", "0.30000000", "0.10000000", "0.20000000")
    at.exchange.check_books()


@pytest.mark.parametrize(
    ("mode", "fields"),
    [("EXPIRE_TAKER", {"takerPreventedQuantity": "0.30000000"}),
     ("EXPIRE_MAKER", {"makerPreventedQuantity": "0.20000000"}),
     ("EXPIRE_BOTH", {"takerPreventedQuantity": "0.30000000", "makerPreventedQuantity": "0.20000000"}),
     ("DECREMENT", {"takerPreventedQuantity": "0.20000000", "makerPreventedQuantity": "0.20000000"})],
)  # fmt: skip
def test_prevented_matches_are_kept_and_found(at: Floor, alice: Client, mode: str, fields: dict[str, str]) -> None:
    """§7.4: GET myPreventedMatches."""
    resting = alice.sell(**limit("0.2"))["orderId"]
    taking = alice.buy(**limit("0.3", mode))["orderId"]
    (match,) = alice.get("myPreventedMatches", symbol="BTCUSDT", orderId=taking)
    assert match == {
        "symbol": "BTCUSDT", "preventedMatchId": 0, "takerOrderId": taking, "makerSymbol": "BTCUSDT",
        "makerOrderId": resting, "tradeGroupId": -1, "selfTradePreventionMode": mode, "price": "60000.00000000",
        "transactTime": at.now_ms, **fields,
    }  # fmt: skip
    assert alice.get("myPreventedMatches", symbol="BTCUSDT", preventedMatchId=0) == [match]
    assert alice.get("myPreventedMatches", symbol="BTCUSDT", orderId=resting, fromPreventedMatchId=1) == []
    assert alice.refused("GET", "myPreventedMatches", symbol="BTCUSDT")[0] == -1128
    assert Client(at, BOB).get("myPreventedMatches", symbol="BTCUSDT", preventedMatchId=0) == []
    ended = alice.order(taking if "taker" in mode.lower() or mode == "EXPIRE_BOTH" else resting)
    assert (ended["status"], ended["preventedMatchId"]) == ("EXPIRED_IN_MATCH", 0)
    assert ended["selfTradePreventionMode"] == (mode if ended["orderId"] == taking else "EXPIRE_MAKER")


def test_reports_of_a_prevention_carry_the_documented_keys(at: Floor, alice: Client) -> None:
    """§8.2."""
    resting = alice.sell(**limit("0.2"))["orderId"]
    link = alice.listen()
    taking = alice.buy(**limit("0.3", "DECREMENT"))["orderId"]
    prevented = [event for event in alice.events(link) if event.get("x") == "TRADE_PREVENTION"]
    keys = ("i", "X", "v", "A", "B", "u", "U", "Cs", "pl", "pL", "pY")
    tail = ("BTCUSDT", "0.20000000", "60000.00000000", "12000.00000000")
    assert [tuple(event[key] for key in keys) for event in prevented] == [
        (resting, "EXPIRED_IN_MATCH", 0, "0.20000000", "0.20000000", -1, taking, *tail),
        (taking, "NEW", 0, "0.20000000", "0.20000000", -1, resting, *tail),
    ]
    assert not [event for event in alice.events(link) if event.get("x") == "TRADE"]


def test_a_trade_group_counts_as_one_account() -> None:
    """§10.7: the same tradeGroupId; −1 is none."""
    at = grouped()
    alice, bob = Client(at), Client(at, BOB)
    resting = alice.sell(**limit("0.2"))["orderId"]
    taking = bob.buy(**limit("0.2"))
    assert (taking["status"], state(alice, resting)[0]) == ("NEW", "EXPIRED_IN_MATCH")
    assert alice.get("account")["tradeGroupId"] == 7
    (match,) = alice.get("myPreventedMatches", symbol="BTCUSDT", orderId=resting)
    assert match["tradeGroupId"] == 7
    assert bob.get("myPreventedMatches", symbol="BTCUSDT", preventedMatchId=0) == [match]
    at = grouped(group=-1)
    alice, bob = Client(at), Client(at, BOB)
    alice.sell(**limit("0.2"))
    assert bob.buy(**limit("0.2"))["status"] == "FILLED"
    assert "tradeGroupId" not in alice.get("account")


def test_a_transfer_between_accounts_swaps_the_assets_without_a_trade() -> None:
    """§10.7: TRANSFER on both sides, different accounts of a group."""
    at = grouped()
    alice, bob = Client(at), Client(at, BOB)
    alice.sell(**limit("0.2", "TRANSFER"))
    taking = bob.buy(**limit("0.3", "TRANSFER", "60001"))["orderId"]
    assert state(bob, taking) == ("NEW", "0.30000000", "0.00000000", "0.20000000")
    assert (alice.balance("BTC"), alice.balance("USDT")) == ((D("9.8"), 0), (112_000, 0))
    assert bob.balance("BTC") == (D("10.2"), 0)
    assert bob.balance("USDT") == (D(88_000) - D("6000.1"), D("6000.1"))
    assert alice.get("myTrades", symbol="BTCUSDT") == []
    at.exchange.check_books()


def test_a_transfer_needs_both_sides() -> None:
    at = grouped()
    alice, bob = Client(at), Client(at, BOB)
    alice.sell(**limit("0.2", "EXPIRE_MAKER"))
    bob.buy(**limit("0.2", "TRANSFER"))
    (match,) = bob.get("myPreventedMatches", symbol="BTCUSDT", preventedMatchId=0)
    assert match["selfTradePreventionMode"] == "DECREMENT"
    assert bob.balance("BTC") == (10, 0)


def test_market_taker_loses_what_it_would_have_met_and_trades_the_rest(at: Floor, alice: Client) -> None:
    alice.sell(**limit("0.2"))
    Client(at, BOB).sell(**limit("0.2", price="60000.01"))
    taken = alice.buy(type="MARKET", quantity="0.3", selfTradePreventionMode="DECREMENT")
    assert (taken["executedQty"], taken["preventedQuantity"], taken["status"]) == ("0.10000000", "0.20000000", "FILLED")
    at.exchange.check_books()


def test_iceberg_loses_slice_after_slice(at: Floor, alice: Client) -> None:
    berg = alice.sell(**limit("0.5"), icebergQty="0.2")["orderId"]
    taking = alice.buy(**limit("0.3", "DECREMENT"))["orderId"]
    assert state(alice, berg) == ("NEW", "0.50000000", "0.00000000", "0.30000000")
    assert state(alice, taking)[0] == "EXPIRED_IN_MATCH"
    assert len(alice.get("myPreventedMatches", symbol="BTCUSDT", orderId=berg)) == 2


def test_the_symbol_decides_what_is_allowed_and_what_is_the_default() -> None:
    """§4.2, §3.5."""
    spec = replace(DEFAULT_INSTRUMENTS[0], default_prevention="NONE", preventions=("NONE", "EXPIRE_TAKER"))
    at = floor(instruments=[spec], model=SHARP)
    at.tick("60000", liquidity="0")
    alice = Client(at)
    wish: dict[str, Any] = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.2", "price": "60000"}
    alice.sell(**wish)
    assert alice.buy(**wish)["status"] == "FILLED"
    refused = alice.refused("POST", "order", symbol="BTCUSDT", side="BUY", **limit("0.2", "EXPIRE_MAKER"))
    assert refused == (-1013, "This symbol does not allow the specified self-trade prevention mode.")
