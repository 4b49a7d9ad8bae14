"""Cancel-replace, from the parameters to what the engine hears: both halves, one half, neither, and no answer.

What the venue answers is in `tests/payloads`; the simulated exchange is held against the same files.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from surefoot.assembly import build_session
from surefoot.binance.codec import BadFrame, read_replace, read_replace_failure
from surefoot.binance.dialogue import HttpAnswer, HttpFailed, HttpRequest, Keys
from surefoot.binance.session import Session
from surefoot.binance.signing import replace_params
from surefoot.core.messages import (
    CancelRefused,
    Event,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    OutcomeUnknown,
    ReplaceOrder,
    SubmitOrder,
    VenueLimited,
)
from surefoot.core.model import Fill, OrderRequest, OrderType, Purpose, Side
from tests.payloads.reading import payload, payload_bytes
from tests.simex.wire import Client, Floor, floor
from tests.stage import stage_settings

NOW = 1790000005000
D = Decimal


def order(id: str, type: OrderType, purpose: Purpose, stop_price: str | None = None) -> OrderRequest:
    stop = None if stop_price is None else D(stop_price)
    return OrderRequest(id, "BTCUSDT", Side.SELL, type, purpose, D("0.01"), None, stop)


MOVE = ReplaceOrder(NOW, "bot-sl-1", order("bot-sl-2", OrderType.STOP_LOSS, Purpose.STOP, "58500"))
LEAVE = ReplaceOrder(NOW, "bot-oco-1-sl", order("bot-x-1", OrderType.MARKET, Purpose.EXIT))


def test_new_order_is_tried_only_when_the_cancel_succeeded() -> None:
    assert dict(replace_params(MOVE)) == {
        "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.01", "stopPrice": "58500",
        "newClientOrderId": "bot-sl-2", "newOrderRespType": dict(replace_params(LEAVE))["newOrderRespType"],
        "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "bot-sl-1", "cancelRestrictions": "ONLY_NEW",
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------
# Answers


@pytest.mark.spec("EXIT-4")
def test_moved_stop_is_a_cancel_and_an_acceptance() -> None:
    assert read_replace(payload_bytes("rest_replace"), NOW) == (
        OrderCanceled(NOW, "bot-sl-1", D(0)),
        OrderAccepted(NOW, "bot-sl-2", 7030, True, D("0.01"), D(0)),
    )


def test_leg_takes_its_list_with_it_and_a_sale_tells_its_fills() -> None:
    fill = Fill("bot-x-1", "BTCUSDT", 9001, Side.SELL, D(60000), D("0.01"), D("0.6"), "USDT", False, 1790000000300)
    assert read_replace(payload_bytes("rest_replace_list"), NOW) == (
        OrderCanceled(NOW, "bot-oco-1-tp", D(0)),
        OrderCanceled(NOW, "bot-oco-1-sl", D(0)),
        OrderAccepted(NOW, "bot-x-1", 7031, True, D("0.01"), D("0.01")),
        OrderFilled(NOW, fill, 7031, D("0.01")),
    )


@pytest.mark.spec("SAFE-2")
def test_half_done_tells_of_the_cancel_and_of_the_refusal() -> None:
    assert read_replace_failure(payload_bytes("rest_replace_in_part"), MOVE, NOW) == (
        OrderCanceled(NOW, "bot-sl-1", D(0)),
        OrderRejected(NOW, "bot-sl-2", -2010, "Account has insufficient balance for requested action."),
    )


def test_refused_cancel_means_that_the_new_order_was_never_tried() -> None:
    refused, never = read_replace_failure(payload_bytes("rest_replace_failed"), MOVE, NOW)
    assert refused == CancelRefused(NOW, "bot-sl-1", -2011, "Unknown order sent.")
    assert isinstance(never, OrderRejected)
    assert (never.client_order_id, never.code) == ("bot-sl-2", None), "no refusal of the venue's that could repeat"


@pytest.mark.parametrize("name", ["cancelResponse", "newOrderResponse"])
def test_success_that_lacks_a_half_is_a_bad_frame(name: str) -> None:
    with pytest.raises(BadFrame):
        read_replace(json.dumps(payload("rest_replace") | {name: None}).encode(), NOW)


# ---------------------------------------------------------------------------------------------------------------
# The session


def session() -> Session:
    return build_session(stage_settings(["BTCUSDT"]), Keys("key", "secret"), lambda: 0.5, watch_always=True)


def write(command: ReplaceOrder) -> tuple[Session, HttpRequest]:
    """A session whose only request is that one."""
    made = session()
    made.submit([command], NOW)
    (request,) = (r for r in made.take_requests(NOW) if isinstance(r, HttpRequest))
    return made, request


def heard(answer: tuple[int, bytes] | bool, command: ReplaceOrder = MOVE) -> list[Event]:
    """What the engine hears of the orders by an answer, or by its absence: whether it had left."""
    made, request = write(command)
    if isinstance(answer, bool):
        return made.receive(HttpFailed(request.request_id, answer, "broken"), NOW)
    events = made.receive(HttpAnswer(request.request_id, answer[0], {}, answer[1]), NOW)
    return [event for event in events if not isinstance(event, VenueLimited)]


def kinds(events: list[Event]) -> list[tuple[type[Event], str]]:
    return [(type(event), getattr(event, "client_order_id", "")) for event in events]


@pytest.mark.spec("EXIT-4", "NET-1")
def test_one_signed_request_does_both() -> None:
    _, request = write(MOVE)
    parts = urlsplit(request.target)
    assert (request.method, parts.path) == ("POST", "/api/v3/order/cancelReplace")
    assert {"cancelOrigClientOrderId", "signature", "timestamp"} <= parse_qs(parts.query).keys()


BOTH = ["bot-sl-1", "bot-sl-2"]


@pytest.mark.spec("SAFE-1", "SAFE-2", "ORD-4")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, payload_bytes("rest_replace")), [OrderCanceled, OrderAccepted]),
        ((409, payload_bytes("rest_replace_in_part")), [OrderCanceled, OrderRejected]),
        ((400, payload_bytes("rest_replace_failed")), [CancelRefused, OrderRejected]),
        ((429, payload_bytes("rest_replace_limited")), [CancelRefused, OrderRejected]),
        ((400, b'{"code":-1013,"msg":"Filter failure: LOT_SIZE"}'), [CancelRefused, OrderRejected]),
        ((200, b"{}"), [OutcomeUnknown, OutcomeUnknown]),
        ((409, b'{"code":-2021,"msg":"Order cancel-replace partially failed."}'), [OutcomeUnknown, OutcomeUnknown]),
        ((503, b'{"code":-1000,"msg":"Unknown error"}'), [OutcomeUnknown, OutcomeUnknown]),
        ((504, b"<html>"), [OutcomeUnknown, OutcomeUnknown]),
        (True, [OutcomeUnknown, OutcomeUnknown]),
        (False, [CancelRefused, OrderRejected]),
    ],
    ids=[
        "done",
        "half",
        "not cancelled",
        "over the limit",
        "filter",
        "unreadable",
        "half of what",
        "unknown",
        "gateway",
        "no answer",
        "never left",
    ],
)
def test_every_answer_tells_of_both_orders(answer: tuple[int, bytes] | bool, expected: list[type[Event]]) -> None:
    assert kinds(heard(answer)) == list(zip(expected, BOTH, strict=True))


@pytest.mark.spec("SAFE-3", "EXIT-6")
def test_sale_of_a_part_is_no_entry_when_entries_are_taken_back() -> None:
    made = session()
    part = order("bot-p-1", OrderType.MARKET, Purpose.PART)
    made.submit([SubmitOrder(NOW, part)], NOW)
    assert made.withdraw_entries(NOW) == []
    assert [r.target for r in made.take_requests(NOW) if isinstance(r, HttpRequest) and "bot-p-1" in r.target]


# ---------------------------------------------------------------------------------------------------------------
# The simulated exchange answers as these files do


@pytest.fixture
def at() -> Floor:
    made = floor(balances={"USDT": D(1_000_000), "BTC": D("0.015")})
    made.tick("60000")
    return made


def shape(value: Any) -> Any:
    """Fields, and the kinds of their values, without what depends on the order itself."""
    optional = {"workingTime", "stopPrice", "fills", "strategyId", "trailingDelta", "icebergQty"}
    if isinstance(value, dict):
        return {name: shape(entry) for name, entry in value.items() if name not in optional}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def answered(client: Client, command: ReplaceOrder) -> tuple[int, Any]:
    response = client.call("POST", "order/cancelReplace", **dict(replace_params(command)))
    return response.status, json.loads(response.body)


def rest_stop(client: Client) -> None:
    client.sell(type="STOP_LOSS", quantity="0.01", stopPrice="58000", newClientOrderId="bot-sl-1")


@pytest.mark.spec("SIM-1")
def test_simulated_move_of_a_stop_is_the_documented_answer(at: Floor) -> None:
    alice = Client(at)
    rest_stop(alice)
    status, body = answered(alice, MOVE)
    assert (status, shape(body)) == (200, shape(payload("rest_replace")))
    assert [event.client_order_id for event in read_replace(json.dumps(body).encode(), NOW)] == BOTH  # type: ignore[union-attr]


@pytest.mark.spec("SIM-1")
def test_simulated_leg_takes_its_list_with_it(at: Floor) -> None:
    alice = Client(at)
    alice.post(
        "orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.01", aboveType="LIMIT_MAKER", abovePrice="61000",
        aboveClientOrderId="bot-oco-1-tp", belowType="STOP_LOSS", belowStopPrice="58000",
        belowClientOrderId="bot-oco-1-sl", listClientOrderId="bot-oco-1",
    )  # fmt: skip
    status, body = answered(alice, LEAVE)
    assert (status, shape(body)) == (200, shape(payload("rest_replace_list")))
    told = read_replace(json.dumps(body).encode(), NOW)
    assert {event.client_order_id for event in told if isinstance(event, OrderCanceled)} == {
        "bot-oco-1-tp", "bot-oco-1-sl",
    }  # fmt: skip
    assert sum((event.fill.quantity for event in told if isinstance(event, OrderFilled)), D(0)) == D("0.01")
    assert alice.get("openOrders") == []


@pytest.mark.spec("SIM-1")
def test_simulated_half_is_the_documented_answer(at: Floor) -> None:
    alice = Client(at)
    rest_stop(alice)
    alice.sell(type="STOP_LOSS", quantity="0.005", stopPrice="50000")
    greedy = ReplaceOrder(NOW, "bot-sl-1", order("bot-sl-2", OrderType.STOP_LOSS, Purpose.STOP, "60500"))
    status, body = answered(alice, greedy)
    assert (status, shape(body)) == (409, shape(payload("rest_replace_in_part")))
    cancelled, refused = read_replace_failure(json.dumps(body).encode(), greedy, NOW)
    assert isinstance(cancelled, OrderCanceled)
    assert refused == OrderRejected(NOW, "bot-sl-2", -2010, "Order would trigger immediately.")


@pytest.mark.spec("SIM-1")
def test_simulated_cancel_of_what_is_gone_is_the_documented_answer(at: Floor) -> None:
    alice = Client(at)
    status, body = answered(alice, MOVE)
    assert (status, body) == (400, payload("rest_replace_failed"))
    assert alice.get("openOrders") == []


@pytest.mark.spec("SIM-1")
@pytest.mark.parametrize("story", ["moved", "half", "failed"])
def test_simulated_order_count_goes_up_by_one_whatever_became_of_it(at: Floor, story: str) -> None:
    alice = Client(at)
    if story != "failed":
        rest_stop(alice)
    before = [window["count"] for window in alice.get("rateLimit/order")]
    price = "60500" if story == "half" else "58500"
    answered(alice, ReplaceOrder(NOW, "bot-sl-1", order("bot-sl-2", OrderType.STOP_LOSS, Purpose.STOP, price)))
    assert [window["count"] for window in alice.get("rateLimit/order")] == [count + 1 for count in before]
