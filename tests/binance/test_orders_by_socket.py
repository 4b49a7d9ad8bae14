"""Orders by the WebSocket API: which way each goes in which state of the link, and what becomes of it then."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from surefoot.assembly import build_session
from surefoot.binance.calls import SOCKET_ANSWER_MS
from surefoot.binance.dialogue import (
    CloseLink,
    Frame,
    HttpFailed,
    HttpRequest,
    Keys,
    LinkDown,
    LinkUp,
    Request,
    SendText,
    SocketRequest,
    Wake,
)
from surefoot.binance.session import Session
from surefoot.core.messages import (
    CancelOrder,
    Command,
    OrderAccepted,
    OrderRejected,
    OutcomeUnknown,
    QueryOrder,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
    VenueLimited,
)
from surefoot.core.model import ListType, OrderRequest, OrderType, Purpose, Side
from tests.stage import Stage, stage_settings

NOW = 1_790_000_040_000
D = Decimal


def order(id: str, type: OrderType, purpose: Purpose, side: Side = Side.SELL) -> OrderRequest:
    stop = D("58500") if type is OrderType.STOP_LOSS else None
    price = D("60000") if type in (OrderType.LIMIT, OrderType.LIMIT_MAKER) else None
    return OrderRequest(id, "BTCUSDT", side, type, purpose, D("0.01"), price, stop)


ENTRY = SubmitOrder(NOW, order("sf-1e", OrderType.LIMIT, Purpose.ENTRY, Side.BUY))
EXIT = SubmitOrder(NOW, order("sf-2x", OrderType.MARKET, Purpose.EXIT))
TARGET, STOP = order("sf-3t", OrderType.LIMIT_MAKER, Purpose.TARGET), order("sf-4s", OrderType.STOP_LOSS, Purpose.STOP)
CANCEL = CancelOrder(NOW, "BTCUSDT", "sf-1e")
MOVE = ReplaceOrder(NOW, "sf-4s", order("sf-5s", OrderType.STOP_LOSS, Purpose.STOP))
ASK = QueryOrder(NOW, "BTCUSDT", "sf-1e")
PROTECT = SubmitList(NOW, ListType.OCO, "sf-l", (TARGET, STOP))
WRITES: dict[Command, tuple[str, str]] = {
    ENTRY: ("order.place", "POST /api/v3/order"),
    EXIT: ("order.place", "POST /api/v3/order"),
    PROTECT: ("orderList.place.oco", "POST /api/v3/orderList/oco"),
    CANCEL: ("order.cancel", "DELETE /api/v3/order"),
    MOVE: ("order.cancelReplace", "POST /api/v3/order/cancelReplace"),
}


def session(transport: str = "socket", market: str = "spot") -> Session:
    settings = stage_settings(["BTCUSDT"], orders__transport=transport, market__venue=market)
    return build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True)


def come_up(made: Session) -> None:
    """The account's link opens, and its subscription is granted."""
    made.receive(LinkUp("account"), NOW)
    (hello,) = (each for each in made.take_requests(NOW) if isinstance(each, SendText))
    answer(made, json.loads(hello.text)["id"], {"status": 200, "result": {"subscriptionId": 0}})


def answer(made: Session, request_id: int, said: dict[str, object], at_ms: int = NOW) -> list[object]:
    return [*made.receive(Frame("account", json.dumps({"id": request_id, **said})), at_ms)]


def leaves(made: Session, command: Command, at_ms: int = NOW) -> Request:
    """How the only request of a command leaves."""
    made.submit([command], at_ms)
    (request,) = made.take_requests(at_ms)
    return request


def by_socket(made: Session, command: Command) -> SocketRequest:
    request = leaves(made, command)
    assert isinstance(request, SocketRequest)
    return request


def way(request: Request) -> str:
    if isinstance(request, SocketRequest):
        return f"{request.link}: {json.loads(request.text)['method']}"
    assert isinstance(request, HttpRequest)
    return f"{request.method} {request.target.partition('?')[0]}"


def in_state(state: str) -> Session:
    made = session("rest" if state == "always by REST" else "socket")
    if state == "connected":
        made.receive(LinkUp("account"), NOW)
        made.take_requests(NOW)
    elif state != "not there":
        come_up(made)
    if state == "lost":
        made.receive(LinkDown("account", "reset"), NOW)
    return made


@pytest.mark.spec("NET-6")
@pytest.mark.parametrize("command", WRITES, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("state", ["not there", "connected", "subscribed", "lost", "always by REST"])
def test_writes_go_by_the_socket_only_while_it_is_there_and_subscribed(state: str, command: Command) -> None:
    method, rest = WRITES[command]
    assert way(leaves(in_state(state), command)) == (f"account: {method}" if state == "subscribed" else rest)


@pytest.mark.spec("NET-6")
def test_reads_go_over_http_even_so() -> None:
    assert way(leaves(in_state("subscribed"), ASK)) == "GET /api/v3/order"


@pytest.mark.spec("NET-6")
def test_futures_have_a_link_of_its_own_for_orders() -> None:
    made = session(market="futures")
    assert way(leaves(made, EXIT)) == "POST /fapi/v1/order"
    made.receive(LinkUp("orders"), NOW)
    stop = SubmitOrder(NOW, replace(order("sf-6s", OrderType.STOP_MARKET, Purpose.STOP), stop_price=D("58500")))
    assert way(leaves(made, stop)) == "orders: algoOrder.place"
    assert way(leaves(made, EXIT)) == "orders: order.place"
    assert way(leaves(made, CANCEL)) == "orders: order.cancel"
    assert [type(each) for each in made.receive(LinkDown("orders", "reset"), NOW)] == [OutcomeUnknown] * 3
    assert way(leaves(made, stop)) == "POST /fapi/v1/algoOrder"


# ---------------------------------------------------------------------------------------------------------------
# What becomes of it


@pytest.mark.spec("NET-6", "SAFE-1")
def test_link_that_ends_before_the_answer_leaves_the_outcome_unknown_and_nothing_is_sent_again() -> None:
    made = in_state("subscribed")
    request = by_socket(made, EXIT)
    events = made.receive(LinkDown("account", "reset"), NOW + 5)
    assert [event for event in events if isinstance(event, OutcomeUnknown)] == [
        OutcomeUnknown(NOW + 5, "sf-2x", "the link ended before the answer came", NOW)
    ]
    assert not made.has_writes()
    come_up(made)
    assert answer(made, request.request_id, {"status": 200, "result": {}}) == [], "nobody waits for it any more"


@pytest.mark.spec("NET-6", "SAFE-1")
def test_answer_that_does_not_come_gives_up_the_link() -> None:
    made = in_state("subscribed")
    by_socket(made, PROTECT)
    assert made.deadline_ms() == NOW + SOCKET_ANSWER_MS
    assert made.receive(Wake(), NOW + SOCKET_ANSWER_MS - 1) == []
    events = made.receive(Wake(), NOW + SOCKET_ANSWER_MS)
    unknown = [event.client_order_id for event in events if isinstance(event, OutcomeUnknown)]
    assert unknown == ["sf-3t", "sf-4s"]
    assert CloseLink("account") in made.take_requests(NOW + SOCKET_ANSWER_MS)


@pytest.mark.spec("NET-6")
@pytest.mark.parametrize("command", [ENTRY, EXIT])
def test_what_found_the_link_gone_goes_by_rest_at_once_and_bears_the_same_name(command: SubmitOrder) -> None:
    made = in_state("subscribed")
    request = by_socket(made, command)
    assert made.receive(HttpFailed(request.request_id, False, "the account link is down"), NOW + 1) == []
    (again,) = made.take_requests(NOW + 1)
    assert isinstance(again, HttpRequest)
    assert f"newClientOrderId={command.order.client_order_id}&" in again.target
    assert made.receive(HttpFailed(again.request_id, True, "reset"), NOW + 2) == [
        OutcomeUnknown(NOW + 2, command.order.client_order_id, "reset", NOW + 1)
    ]


@pytest.mark.spec("NET-6", "SAFE-1")
def test_that_it_never_left_ends_nothing_when_the_end_of_the_link_was_heard_before() -> None:
    made = in_state("subscribed")
    request = by_socket(made, EXIT)
    assert any(isinstance(event, OutcomeUnknown) for event in made.receive(LinkDown("account", "reset"), NOW))
    made.take_requests(NOW)
    assert made.receive(HttpFailed(request.request_id, False, "the account link is down"), NOW + 1) == []
    assert not made.has_writes(), "it is in doubt, and asked about"


@pytest.mark.spec("NET-6")
def test_answers_mean_what_they_mean_over_http_and_the_second_one_nothing() -> None:
    made = in_state("subscribed")
    first, second = by_socket(made, EXIT), by_socket(made, ENTRY)
    refused = {"status": 400, "error": {"code": -2010, "msg": "Account has insufficient balance."}}
    for heard in ([OrderRejected(NOW, "sf-1e", -2010, "Account has insufficient balance.")], []):
        assert answer(made, second.request_id, refused) == heard
    done = {"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": "sf-2x", "transactTime": NOW}
    assert answer(made, first.request_id, {"status": 200, "result": done}) == [
        OrderAccepted(NOW, "sf-2x", 7, True, None, None)
    ]


@pytest.mark.spec("NET-6", "NET-2")
def test_limit_told_on_the_socket_holds_up_all_calls() -> None:
    made = in_state("subscribed")
    request = by_socket(made, ENTRY)
    times = {"serverTime": NOW, "retryAfter": NOW + 6_500}
    limited = {"status": 429, "error": {"code": -1003, "msg": "Too much.", "data": times}}
    told, refused = answer(made, request.request_id, limited)
    assert told == VenueLimited(NOW, NOW + 7_000, False, "429 Too much.")
    assert isinstance(refused, OrderRejected)
    made.submit([ASK], NOW + 6_999)
    assert made.take_requests(NOW + 6_999) == []
    assert len(made.take_requests(NOW + 7_000)) == 1


@pytest.mark.spec("NET-6")
@pytest.mark.parametrize("transport", ["socket", "rest"])
def test_exchange_takes_what_is_sent_either_way(transport: str) -> None:
    stage = Stage(stage_settings(["BTCUSDT"], orders__transport=transport))
    stage.start()
    stage.price("BTCUSDT", D(60_000))
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.next_candle("BTCUSDT")
    stage.wait(5_000)
    assert stage.submitted() == [str(order["clientOrderId"]) for order in stage.venue_orders("BTCUSDT")] != []
    assert stage.counts["OrderFilled"] >= 1
    stage.check_books()
