"""Answers of the WebSocket API, trading answers and refusals have the fields that the published examples have."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simex.exchange import Exchange
from simex.signing import api_payload
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, ExchangeFilters, FillModel
from tests.simex.test_exchange_documented_shapes import LEGS, OPTIONAL, WORKING, example, examples, shape
from tests.simex.wire import PLENTY, Client, Floor

__all__ = ["examples"]  # a fixture
pytestmark = [pytest.mark.spec("SIM-1")]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CAROL = "carol-key"
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "59000"}
MARKET = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}
OCO = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "abovePrice": "61000",
       "belowType": "STOP_LOSS", "belowStopPrice": "59000"}  # fmt: skip
BTC = {"symbol": "BTCUSDT"}
Examples = list[dict[str, Any]]


class Session:
    """Carol, logged on to one link."""

    def __init__(self) -> None:
        body = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        carol = AccountSpec(CAROL, body.decode(), PLENTY, key_type="ED25519", max_asset={"USDT": Decimal(10**6)})
        model = FillModel(half_spread_bps=Decimal(0), slippage_bps=Decimal(0))
        filters = ExchangeFilters(max_num_orders=1000)
        self.at = Floor(Exchange(DEFAULT_INSTRUMENTS, [carol], model=model, exchange_filters=filters))
        self.at.tick("60000")
        self.link = self.at.open("/ws-api/v3")
        params: dict[str, Any] = {"apiKey": CAROL, "timestamp": str(self.at.now_ms)}
        signature = base64.b64encode(KEY.sign(api_payload(params))).decode()
        self.logon = self.raw("session.logon", params | {"signature": signature})

    def raw(self, method: str, params: dict[str, Any]) -> Any:
        self.at.say(self.link, {"id": method, "method": method, "params": params})
        return next(frame for frame in self.at.heard(self.link) if "status" in frame)

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a request that succeeds."""
        answer = self.raw(method, params | {"timestamp": self.at.now_ms})
        assert answer["status"] == 200, answer
        return answer["result"]

    def placed(self, **change: Any) -> int:
        return int(self.ask("order.place", **BUY | change)["orderId"])


@pytest.fixture
def carol() -> Session:
    return Session()


def results(carol: Session) -> dict[str, Any]:
    """One real result for each documented heading, `heading|label` where there are several."""
    ask, placed = carol.ask, carol.placed
    listed = ask("orderList.place.oco", **OCO)
    other = ask("orderList.place.oco", **OCO)
    amended = placed()
    return {
        "Test connectivity": ask("ping"),
        "Check server time": ask("time"),
        "Order book": ask("depth", **BTC),
        "Recent trades": ask("trades.recent", **BTC),
        "Historical trades": ask("trades.historical", **BTC),
        "Aggregate trades": ask("trades.aggregate", **BTC),
        "Klines": ask("klines", **BTC, interval="1m"),
        "UI Klines": ask("uiKlines", **BTC, interval="1m"),
        "Current average price": ask("avgPrice", **BTC),
        "Symbol price ticker": ask("ticker.price", **BTC),
        "Symbol order book ticker": ask("ticker.book", **BTC),
        "Query session status": ask("session.status"),
        "Place new order (TRADE)|ACK": ask("order.place", **MARKET, newOrderRespType="ACK"),
        "Place new order (TRADE)|RESULT": ask("order.place", **MARKET, newOrderRespType="RESULT"),
        "Place new order (TRADE)|FULL": ask("order.place", **MARKET),
        "Test new order (TRADE)|Without": ask("order.test", **MARKET),
        "Test new order (TRADE)|With `": ask("order.test", **MARKET, computeCommissionRates=True),
        "Cancel order (TRADE)|individual": ask("order.cancel", **BTC, orderId=placed()),
        "Cancel order (TRADE)|list": ask("order.cancel", **BTC, orderId=listed["orders"][0]["orderId"]),
        "Cancel and replace order (TRADE)|both cancel": ask(
            "order.cancelReplace", **BUY, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=placed(),
            newOrderRespType="RESULT",
        ),
        "Order Amend Keep Priority (TRADE)|single": ask(
            "order.amend.keepPriority", **BTC, orderId=amended, newQty="0.05"
        ),
        "Order Amend Keep Priority (TRADE)|part of an Order li": ask(
            "order.amend.keepPriority", **BTC, orderId=other["orders"][0]["orderId"], newQty="0.05"
        ),
        "Query Order Amendments (USER_DATA)": ask("order.amendments", **BTC, orderId=amended),
        "Place new OCO - Deprecated (TRADE)": ask(
            "orderList.place", **BTC, side="BUY", quantity="0.1", price="59000", stopPrice="61000"
        ),
        "Place new Order list - OCO (TRADE)": ask(
            "orderList.place.oco", **BTC, side="BUY", quantity="0.1", aboveType="STOP_LOSS", aboveStopPrice="61000",
            belowType="LIMIT_MAKER", belowPrice="59000",
        ),
        "Place new Order list - OTO (TRADE)": ask(
            "orderList.place.oto", **BTC, **WORKING, pendingType="MARKET", pendingSide="SELL", pendingQuantity="0.01"
        ),
        "Place new Order list - OTOCO (TRADE)": ask("orderList.place.otoco", **BTC, **WORKING, **LEGS,
                                                    pendingQuantity="0.01"),
        "OPO (TRADE)": ask("orderList.place.opo", **BTC, **WORKING, pendingType="MARKET", pendingSide="SELL"),
        "OPOCO (TRADE)": ask("orderList.place.opoco", **BTC, **WORKING, **LEGS),
        "Account information (USER_DATA)": ask("account.status"),
        "Query order (USER_DATA)": ask("order.status", **BTC, orderId=amended),
        "Current open orders (USER_DATA)": ask("openOrders.status", **BTC),
        "Account order history (USER_DATA)": ask("allOrders", **BTC),
        "Query Order list (USER_DATA)": ask("orderList.status", orderListId=500_001),
        "Current open Order lists (USER_DATA)": ask("openOrderLists.status"),
        "Account order list history (USER_DATA)": ask("allOrderLists"),
        "Account trade history (USER_DATA)": ask("myTrades", **BTC),
        "Unfilled Order Count (USER_DATA)": ask("account.rateLimits.orders"),
        "Account Commission Rates (USER_DATA)": ask("account.commission", **BTC),
        "Cancel Order list (TRADE)": ask("orderList.cancel", **BTC, orderListId=other["orderListId"]),
        "Cancel open orders (TRADE)": ask("openOrders.cancelAll", **BTC),
        "Subscribe to User Data Stream (USER_STREAM)": ask("userDataStream.subscribe"),
        "Listing all subscriptions": ask("session.subscriptions"),
        "Unsubscribe from User Data Stream": ask("userDataStream.unsubscribe"),
        "Log out of the session": ask("session.logout"),
    }  # fmt: skip


def answered(examples: Examples, heading: str) -> Any:
    """The documented result under a heading: its requests have no result."""
    section, _, label = heading.partition("|")
    file = "web-socket-api.md"
    fitting = [entry for entry in examples if isinstance(entry.get("json"), dict) and "result" in entry["json"]]
    return example(fitting, file, section, label)["result"]


def normal(value: Any) -> Any:
    """The shape, without what our example order has or has not by chance."""
    chance = OPTIONAL | {"workingTime", "orderReports", "trailingTime", "preventedMatchId", "preventedQuantity"}
    if isinstance(value, dict):
        return {name: normal(entry) for name, entry in value.items() if name not in chance}
    if isinstance(value, list):
        return [normal(value[0])] if value else []
    return shape(value)


def test_results_of_the_socket_have_the_documented_shape(examples: Examples, carol: Session) -> None:
    """§7.7: every method of the table that this exchange has, against its example."""
    assert normal(carol.logon["result"]) == normal(answered(examples, "Log in with API key"))
    found = results(carol)
    assert len(found) > 40
    for heading, result in found.items():
        shown = normal(result)
        if heading == "Place new order (TRADE)|FULL":
            # The page forgets it in this one example; its own RESULT and the REST page have it.
            del shown["selfTradePreventionMode"]
        assert shown == normal(answered(examples, heading)), heading


def test_reports_of_lists_have_the_documented_shape(examples: Examples, carol: Session) -> None:
    """The orders inside a list's answer, leg by leg."""
    wishes: dict[str, Any] = {
        "Place new Order list - OCO (TRADE)": ("oco", OCO),
        "Place new Order list - OTO (TRADE)": (
            "oto", BTC | WORKING | {"pendingType": "MARKET", "pendingSide": "SELL", "pendingQuantity": "0.01"},
        ),
        "Place new Order list - OTOCO (TRADE)": ("otoco", BTC | WORKING | LEGS | {"pendingQuantity": "0.01"}),
        "OPOCO (TRADE)": ("opoco", BTC | WORKING | LEGS),
    }  # fmt: skip
    for heading, (kind, wish) in wishes.items():
        documented = answered(examples, heading)["orderReports"]
        found = carol.ask(f"orderList.place.{kind}", **wish)["orderReports"]
        assert [shape(report) for report in found] == [shape(report) for report in documented], heading


def test_failed_replacements_have_the_documented_data(examples: Examples, carol: Session) -> None:
    """§7.5."""
    wish = BUY | {"quantity": "9", "timestamp": carol.at.now_ms}
    failures = {
        "and returns the following": {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": 999},
        "If both operations fail": {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": 999},
        "which operation s": {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": carol.placed()},
    }  # fmt: skip
    for label, params in failures.items():
        documented = example(examples, "web-socket-api.md", "Cancel and replace order (TRADE)", label)
        answer = carol.raw("order.cancelReplace", wish | params)
        assert (answer["status"], answer["error"]["code"]) == (documented["status"], documented["error"]["code"]), label
        assert shape(answer["error"]["data"]) == shape(documented["error"]["data"]), label


@pytest.mark.parametrize(
    ("heading", "path", "params"),
    [("Query Prevented Matches (USER_DATA)", "myPreventedMatches", {"preventedMatchId": 0}),
     ("Query relevant filters (USER_DATA)", "myFilters", {}),
     ("Query Order Amendments (USER_DATA)", "order/amendments", None),
     ("Query all Order lists (USER_DATA)", "allOrderList", None),
     ("All orders (USER_DATA)", "allOrders", {})],
)  # fmt: skip
def test_other_rest_answers_have_the_documented_shape(
    examples: Examples, heading: str, path: str, params: dict[str, Any] | None
) -> None:
    accounts = [AccountSpec("alice-key", "alice-key-secret", PLENTY, max_asset={"USDT": Decimal(10**6)})]
    at = Floor(Exchange(DEFAULT_INSTRUMENTS, accounts, exchange_filters=ExchangeFilters(max_num_orders=1000)))
    at.tick("60000", liquidity="0")
    alice = Client(at)
    alice.post("order", **BUY | {"price": "60000"})
    kept = alice.post("order", **BUY)["orderId"]
    alice.post("order", **BUY | {"side": "SELL", "price": "60000"})
    alice.put("order/amend/keepPriority", symbol="BTCUSDT", orderId=kept, newQty="0.05")
    alice.post("orderList/oco", **OCO)
    chosen = {"order/amendments": {**BTC, "orderId": kept}, "allOrderList": {}}.get(path, {**BTC, **(params or {})})
    found = alice.get(path, **chosen)
    documented = example(examples, "rest-api.md", heading)
    if path == "myFilters":
        assert {name: bool(entries) for name, entries in found.items()} == dict.fromkeys(documented, True)
        assert found["assetFilters"] == [{"filterType": "MAX_ASSET", "asset": "USDT", "limit": "1000000.00000000"}]
        return
    chance = {"preventedMatchId", "preventedQuantity", "expiryReason"} if path == "allOrders" else set()
    assert {name: kind for name, kind in shape(found)[0].items() if name not in chance} == shape(documented)[0]


def test_account_events_have_the_documented_shape(examples: Examples) -> None:
    """§8.2."""
    carol = Session()
    carol.ask("userDataStream.subscribe")
    exchange, now_ms = carol.at.exchange, carol.at.now_ms
    exchange.deposit(CAROL, "BTC", Decimal(1), now_ms)
    exchange.lock_externally(CAROL, "BTC", Decimal(1), now_ms)
    carol.at.say(carol.link, {"id": 1, "method": "userDataStream.unsubscribe"})
    heard = {frame["event"]["e"]: frame for frame in carol.at.heard(carol.link) if "event" in frame}
    for kind, heading in (("balanceUpdate", "Balance Update"), ("externalLockUpdate", "External Lock Update"),
                          ("eventStreamTerminated", "Event Stream Terminated")):  # fmt: skip
        assert shape(heard[kind]) == shape(example(examples, "user-data-stream.md", heading)), kind


def test_refusals_have_the_documented_form(examples: Examples, carol: Session) -> None:
    """§3: code and text, over REST and over the socket."""
    documented = example(examples, "web-socket-api.md", "Response format", "failed")
    answer = carol.raw("order.place", BUY | {"quantity": "9", "timestamp": carol.at.now_ms})
    assert answer["error"] == documented["error"]
    assert answer["status"] == documented["status"]
    assert json.dumps(answer["rateLimits"])
