"""Connections: market streams and their commands, the WebSocket API and its user events."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from simex.venue import Candle, HttpRequest
from tests.simex.wire import ALICE, BOB, START_MS, Client, Floor, floor, secret_of, signed_message

pytestmark = [pytest.mark.spec("SIM-1")]
MINUTE_MS = 60_000


@pytest.fixture
def at() -> Floor:
    made = floor()
    made.tick("60000")
    made.exchange.take_frames()
    return made


def ask(at: Floor, link: int, method: str, **params: Any) -> dict[str, Any]:
    at.say(link, {"id": "r1", "method": method, "params": params})
    (answer,) = at.heard(link)
    assert isinstance(answer, dict)
    return answer


def signed(at: Floor, link: int, method: str, key: str = ALICE, **params: Any) -> dict[str, Any]:
    at.say(link, signed_message("r2", method, {"apiKey": key, "timestamp": at.now_ms} | params, secret_of(key)))
    answers = [frame for frame in at.heard(link) if "id" in frame]
    assert len(answers) == 1
    assert isinstance(answers[0], dict)
    return answers[0]


@pytest.mark.parametrize("target", ["/", "/ws2", "/stream/btcusdt@trade", "/ws-api/v2", "/api/v3/ping"])
def test_other_paths_are_not_there(target: str) -> None:
    assert not floor().exchange.ws_open(1, target, START_MS)


@pytest.mark.parametrize("target", ["/ws/btcusdt@kline_1m", "/ws/btcusdt@trade/btcusdt@kline_1m"])
def test_raw_path_gives_bare_events(at: Floor, target: str) -> None:
    link = at.open(target)
    at.tick("60001")
    assert {frame["e"] for frame in at.heard(link)} >= {"kline"}


def test_combined_path_wraps_events(at: Floor) -> None:
    link = at.open("/stream?streams=btcusdt@trade/ethusdt@kline_5m")
    at.tick("60001", volume="0.5")
    (frame,) = at.heard(link)
    assert frame["stream"] == "btcusdt@trade"
    assert frame["data"] | {"t": 0} == {
        "e": "trade", "E": at.now_ms, "s": "BTCUSDT", "t": 0, "p": "60001.00000000", "q": "0.50000000",
        "T": at.now_ms, "m": False, "M": True,
    }  # fmt: skip
    at.tick("3000", symbol="ETHUSDT")
    assert [frame["stream"] for frame in at.heard(link)] == ["ethusdt@kline_5m"]


def test_book_ticker_has_no_event_name_and_shows_the_best_prices(at: Floor) -> None:
    link = at.open("/ws/btcusdt@bookTicker")
    at.tick("60000", liquidity="3")
    (frame,) = at.heard(link)
    assert frame == {
        "u": frame["u"], "s": "BTCUSDT", "b": "59994.00000000", "B": "3.00000000", "a": "60006.00000000",
        "A": "3.00000000",
    }  # fmt: skip
    at.tick("60000")
    assert at.heard(link)[0]["u"] > frame["u"]


def test_commands_are_answered_as_documented(at: Floor) -> None:
    link = at.open("/ws")
    said = [
        {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "nope@trade", "BTCUSDT@trade"], "id": 1},
        {"method": "LIST_SUBSCRIPTIONS", "id": "b2"},
        {"method": "UNSUBSCRIBE", "params": ["nope@trade"], "id": None},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 5},
        {"method": "SET_PROPERTY", "params": ["combined", True], "id": 6},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 7},
        {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 8},
        {"method": "DANCE", "id": 9},
        {"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 10},
        {"id": 11},
    ]
    for message in said:
        at.say(link, message)
    at.say(link, "not json")
    answers = at.heard(link)
    assert answers[:6] == [
        {"result": None, "id": 1},
        {"result": ["btcusdt@trade", "nope@trade", "BTCUSDT@trade"], "id": "b2"},
        {"result": None, "id": None},
        {"result": False, "id": 5},
        {"result": None, "id": 6},
        {"result": True, "id": 7},
    ]
    assert [(answer["code"], answer.get("id")) for answer in answers[6:]] == [
        (1, 8),
        (2, 9),
        (2, 10),
        (2, 11),
        (3, None),
    ]
    at.tick("60000")
    assert [frame["stream"] for frame in at.heard(link)] == ["btcusdt@trade"], "the wrong case stays silent"


def test_unsubscribed_and_closed_links_hear_nothing(at: Floor) -> None:
    link, other = at.open("/ws/btcusdt@trade"), at.open("/ws/btcusdt@trade")
    at.say(link, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
    at.exchange.take_frames()
    at.tick("60000")
    at.exchange.ws_close(other)
    assert at.exchange.take_frames() == []
    assert at.exchange.is_idle("BTCUSDT")


@pytest.mark.spec("DATA-1")
def test_closed_kline_comes_with_the_first_print_after_it_and_before_that_prints_frames() -> None:
    at = floor()
    link = at.open("/ws/btcusdt@kline_1m/btcusdt@trade")
    for price in ("100", "103", "99", "101"):
        at.tick(price, volume="0.25")
    at.heard(link)
    at.now_ms = START_MS + MINUTE_MS
    at.exchange.tick("BTCUSDT", Decimal(200), Decimal(1), Decimal(1), at.now_ms)
    closed, trade, forming = at.heard(link)
    assert closed == {
        "e": "kline", "E": at.now_ms, "s": "BTCUSDT",
        "k": {
            "t": START_MS, "T": START_MS + MINUTE_MS - 1, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 4,
            "o": "100.00000000", "c": "101.00000000", "h": "103.00000000", "l": "99.00000000", "v": "1.00000000",
            "n": 4, "x": True, "q": "100.75000000", "V": "0.50000000", "Q": "50.37500000", "B": "0",
        },
    }  # fmt: skip
    assert trade["e"] == "trade"
    assert (forming["k"]["x"], forming["k"]["o"]) == (False, "200.00000000")


@pytest.mark.spec("DATA-1")
def test_roll_closes_what_has_ended_and_nothing_twice() -> None:
    at = floor(forming_klines=False)
    link = at.open("/stream?streams=btcusdt@kline_1m/btcusdt@kline_5m")
    at.tick("100")
    at.exchange.roll(START_MS + MINUTE_MS - 1)
    assert at.heard(link) == []
    at.exchange.roll(START_MS + MINUTE_MS)
    assert [frame["data"]["k"]["i"] for frame in at.heard(link)] == ["1m"]
    at.exchange.roll(START_MS + 10 * MINUTE_MS)
    assert [frame["data"]["k"]["i"] for frame in at.heard(link)] == ["5m"]


@pytest.mark.spec("DATA-1")
def test_kline_subscribed_in_the_middle_of_its_interval_is_whole() -> None:
    at = floor(forming_klines=False)
    hour_ms = START_MS - START_MS % 3_600_000
    history = [
        Candle(hour_ms + number * MINUTE_MS, MINUTE_MS, *(Decimal(100 + number),) * 4, Decimal(2))
        for number in range(30)
    ]
    at.exchange.load_history("BTCUSDT", history)
    at.now_ms = hour_ms + 30 * MINUTE_MS
    link = at.open("/ws/btcusdt@kline_1h/btcusdt@kline_30m")
    at.exchange.tick("BTCUSDT", Decimal(500), Decimal(1), Decimal(1), at.now_ms)
    assert at.heard(link) == [], "the half hour that ended before the subscription is not told"
    at.exchange.roll(hour_ms + 60 * MINUTE_MS)
    klines = {frame["k"]["i"]: frame["k"] for frame in at.heard(link)}
    assert (klines["1h"]["o"], klines["1h"]["c"], klines["1h"]["v"]) == ("100.00000000", "500.00000000", "61.00000000")
    assert (klines["30m"]["o"], klines["30m"]["v"]) == ("500.00000000", "1.00000000")


def test_idle_means_that_nobody_would_see_the_prints_inside_a_candle() -> None:
    at = floor(forming_klines=False)
    at.tick("60000")
    assert at.exchange.is_idle("BTCUSDT")
    link = at.open("/ws/btcusdt@kline_1m")
    assert at.exchange.is_idle("BTCUSDT")
    at.say(link, {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})
    assert not at.exchange.is_idle("BTCUSDT")
    assert at.exchange.is_idle("ETHUSDT")
    forming = floor()
    forming.open("/ws/btcusdt@kline_1m")
    assert not forming.exchange.is_idle("BTCUSDT")


def test_account_frames_are_taken_before_market_frames(at: Floor) -> None:
    market = at.open("/ws/btcusdt@trade")
    client = Client(at)
    account = client.listen()
    client.buy(type="LIMIT", timeInForce="GTC", quantity="0.01", price="59000")
    at.exchange.take_frames()
    at.tick("58000")
    assert [link for link, _ in at.exchange.take_frames()] == [account, account, market]


def test_socket_ping_time_and_limits(at: Floor) -> None:
    link = at.open("/ws-api/v3")
    answer = ask(at, link, "ping")
    assert answer == {
        "id": "r1", "status": 200, "result": {},
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 3},
        ],
    }  # fmt: skip
    assert ask(at, link, "v3/time")["result"] == {"serverTime": at.now_ms}
    assert "rateLimits" not in ask(at, link, "time", returnRateLimits=False)
    assert "rateLimits" not in ask(at, at.open("/ws-api/v3?returnRateLimits=false"), "time")
    at.say(link, {"id": 7, "method": "ticker.price", "params": {"symbol": "BTCUSDT"}})
    assert at.heard(link)[0]["id"] == 7


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ('{"id":1,"method":"session.dance"}', 400, -1020),
        ('{"id":1}', 400, -1020),
        ('{"id":1', 400, -1135),
        ("[]", 400, -1135),
        ('{"id":1,"method":"order.place"}', 400, -1102),
        ('{"id":1,"method":"order.place","params":{"apiKey":"unknown"}}', 401, -2015),
        ('{"id":1,"method":"userDataStream.subscribe.signature","params":{}}', 400, -1102),
        ('{"id":1,"method":"userDataStream.unsubscribe"}', 400, -2036),
        ('{"id":1,"method":"depth","params":{"symbol":"NOPE"}}', 400, -1121),
    ],
)
def test_bad_socket_requests_get_proper_errors(at: Floor, text: str, status: int, code: int) -> None:
    link = at.open("/ws-api/v3")
    at.say(link, text)
    (answer,) = at.heard(link)
    assert (answer["status"], answer["error"]["code"]) == (status, code)


def test_socket_orders_are_placed_queried_and_cancelled(at: Floor) -> None:
    link = at.open("/ws-api/v3")
    wish: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01",
        "price": 59000,
    }
    placed = signed(at, link, "order.place", **wish, newClientOrderId="ws-1")
    assert (placed["status"], placed["result"]["status"]) == (200, "NEW")
    limits = [(limit["rateLimitType"], limit["count"]) for limit in placed["rateLimits"]]
    assert limits == [("ORDERS", 1), ("ORDERS", 1), ("REQUEST_WEIGHT", 2)]
    order_id = placed["result"]["orderId"]
    assert signed(at, link, "order.status", symbol="BTCUSDT", orderId=order_id)["result"]["clientOrderId"] == "ws-1"
    gone = signed(at, link, "order.cancel", symbol="BTCUSDT", origClientOrderId="ws-1")
    assert gone["result"]["status"] == "CANCELED"
    again = signed(at, link, "order.cancel", symbol="BTCUSDT", origClientOrderId="ws-1")
    assert (again["status"], again["error"]) == (400, {"code": -2011, "msg": "Unknown order sent."})
    half = signed(at, link, "order.cancelReplace", **wish, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=order_id)
    assert half["error"]["data"]["newOrderResult"] == "NOT_ATTEMPTED"


def test_wrong_socket_signature_is_refused(at: Floor) -> None:
    link = at.open("/ws-api/v3")
    message = signed_message(1, "account.status", {"apiKey": ALICE, "timestamp": at.now_ms}, "wrong")
    at.say(link, message)
    assert at.heard(link)[0]["error"] == {"code": -1022, "msg": "Signature for this request is not valid."}


def test_over_the_weight_the_socket_says_when_to_come_back(at: Floor) -> None:
    link = at.open("/ws-api/v3")
    for _ in range(299):
        ask(at, link, "exchangeInfo")
    answer = ask(at, link, "exchangeInfo")
    assert answer["status"] == 429
    assert answer["error"]["data"] == {"serverTime": at.now_ms, "retryAfter": START_MS + MINUTE_MS}


def test_user_events_reach_each_subscriber_and_only_its_own_account(at: Floor) -> None:
    alice, bob = Client(at), Client(at, BOB)
    link, other = alice.listen(), bob.listen()
    again = signed(at, link, "userDataStream.subscribe.signature")
    assert again["error"]["code"] == -2035
    both = signed(at, link, "userDataStream.subscribe.signature", BOB)
    assert both["result"] == {"subscriptionId": 1}
    bob.sell(type="MARKET", quantity="0.01")
    assert {frame["subscriptionId"] for frame in at.heard(link)} == {1}
    assert len(at.heard(other)) == 3
    alice.sell(type="MARKET", quantity="0.01")
    assert at.heard(other) == []
    at.heard(link)
    assert ask(at, link, "session.status")["result"]["userDataStream"] is True
    assert ask(at, link, "session.subscriptions")["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]


def test_unsubscribing_ends_events(at: Floor) -> None:
    alice = Client(at)
    link = alice.listen()
    at.say(link, {"id": 1, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}})
    terminated, answer = at.heard(link)
    assert terminated["event"]["e"] == "eventStreamTerminated"
    assert answer["result"] == {}
    alice.sell(type="MARKET", quantity="0.01")
    assert at.heard(link) == []


def test_execution_report_carries_all_documented_keys(at: Floor) -> None:
    alice = Client(at)
    link = alice.listen()
    alice.buy(type="MARKET", quantity="0.01", newClientOrderId="m-1", strategyId=7, strategyType=1_000_001)
    new, trade, balances = alice.events(link)
    keys = "e E s c S o f q p P F g C x X r i l z L n N T t I w m M O Z Y Q W V j J"
    assert set(new) == set(trade) == set(keys.split())
    assert (new["c"], new["t"], new["N"], new["n"], new["j"], new["J"]) == ("m-1", -1, None, "0", 7, 1_000_001)
    assert (trade["l"], trade["L"], trade["n"], trade["N"]) == ("0.01000000", "60018.01000000", "0.00001000", "BTC")
    assert trade["Y"] == trade["Z"] == "600.18010000"
    assert trade["T"] == new["T"]
    assert [entry["a"] for entry in balances["B"]] == ["BTC", "USDT"]


def test_raw_frames_are_one_json_object_each(at: Floor) -> None:
    link = at.open("/ws/btcusdt@kline_1m")
    at.tick("60001")
    frames = at.exchange.take_frames()
    assert [number for number, _ in frames] == [link]
    assert isinstance(json.loads(frames[0][1]), dict)


def test_closed_api_link_hears_no_events_and_a_full_budget_opens_none(at: Floor) -> None:
    alice = Client(at)
    link = alice.listen()
    at.exchange.ws_close(link)
    alice.sell(type="MARKET", quantity="0.01")
    assert at.exchange.take_frames() == []
    for _ in range(299):
        at.exchange.rest(HttpRequest("GET", "/api/v3/exchangeInfo"), at.now_ms)
    alice.get("ping")
    while json.loads(at.exchange.rest(HttpRequest("GET", "/api/v3/ping"), at.now_ms).body) == {}:
        pass
    assert not at.exchange.ws_open(9, "/ws-api/v3", at.now_ms)


def test_a_link_carries_a_bounded_number_of_streams(at: Floor) -> None:
    link = at.open("/ws")
    at.say(link, {"method": "SUBSCRIBE", "params": [f"s{number}@trade" for number in range(1024)], "id": 1})
    at.say(link, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 2})
    at.say(link, {"method": "GET_PROPERTY", "params": ["colour"], "id": 3})
    at.say(link, {"method": "SET_PROPERTY", "params": ["colour", 1], "id": 4})
    at.say(link, {"method": "GET_PROPERTY", "params": ["combined"], "id": [1]})
    assert [answer.get("code") for answer in at.heard(link)] == [None, 2, 0, 0, 2]
