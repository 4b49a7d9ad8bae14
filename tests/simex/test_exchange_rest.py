"""REST: public calls, admission and limits."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from simex.venue import Candle, HttpRequest
from tests.simex.wire import ALICE, BOB, START_MS, Client, accepted, floor, json_list, public, secret_of, sign

pytestmark = [pytest.mark.spec("SIM-1")]
MINUTE_MS = 60_000


def candle(number: int, price: int, start_ms: int = START_MS) -> Candle:
    at = Decimal(price)
    return Candle(start_ms + number * MINUTE_MS, MINUTE_MS, at, at + 5, at - 5, at + 1, Decimal(8))


def test_ping_and_time_answer() -> None:
    at = floor()
    assert accepted(public(at, "ping")) == {}
    assert accepted(public(at, "time")) == {"serverTime": START_MS}


def test_exchange_info_lists_limits_and_filters_of_the_symbols_asked_for() -> None:
    at = floor()
    everything = accepted(public(at, "exchangeInfo"))
    assert [entry["symbol"] for entry in everything["symbols"]] == ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"]
    assert {(limit["rateLimitType"], limit["limit"]) for limit in everything["rateLimits"]} == {
        ("REQUEST_WEIGHT", 6000), ("ORDERS", 100), ("ORDERS", 200_000), ("RAW_REQUESTS", 300_000),
    }  # fmt: skip
    (bitcoin,) = accepted(public(at, "exchangeInfo?symbol=BTCUSDT"))["symbols"]
    assert bitcoin["opoAllowed"] is True
    filters = {entry["filterType"]: entry for entry in bitcoin["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    two = accepted(public(at, f"exchangeInfo?symbols={json_list('SOLUSDT', 'BTCUSDT')}"))
    assert [entry["symbol"] for entry in two["symbols"]] == ["SOLUSDT", "BTCUSDT"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("exchangeInfo?symbol=NOPE", -1121),
        ("exchangeInfo?symbols=BTCUSDT", -1100),
        ("exchangeInfo?symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", -1151),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?interval=1m", -1102),
        ("klines?symbol=BTCUSDT&interval=1m&limit=x", -1100),
        ("depth?symbol=NOPE", -1121),
        ("ticker/price?symbol=BTCUSDT&symbol=ETHUSDT", -1101),
    ],
)
def test_malformed_public_calls_are_refused_with_their_codes(target: str, code: int) -> None:
    response = public(floor(), target)
    assert (response.status, json.loads(response.body)["code"]) == (400, code)


def test_unknown_path_is_not_found() -> None:
    response = public(floor(), "nothing")
    assert response.status == 404
    assert json.loads(response.body)["code"] == -5000


def test_prices_and_book_stand_symmetrically_around_the_last_print() -> None:
    at = floor()
    at.tick("60000", liquidity="2.5")
    assert accepted(public(at, "ticker/price?symbol=BTCUSDT")) == {"symbol": "BTCUSDT", "price": "60000.00000000"}
    book = accepted(public(at, "ticker/bookTicker?symbol=BTCUSDT"))
    assert (book["bidPrice"], book["askPrice"]) == ("59994.00000000", "60006.00000000")
    assert accepted(public(at, "depth?symbol=BTCUSDT"))["bids"][0] == ["59994.00000000", "2.50000000"]
    assert len(accepted(public(at, "ticker/price"))) == 4
    assert len(accepted(public(at, f"ticker/bookTicker?symbols={json_list('BTCUSDT')}"))) == 1


def test_depth_shows_clients_orders_by_price() -> None:
    at = floor()
    at.tick("60000", liquidity="1")
    client = Client(at)
    client.buy(type="LIMIT", timeInForce="GTC", quantity="0.1", price="59000")
    client.buy(type="LIMIT", timeInForce="GTC", quantity="0.2", price="59000")
    client.buy(type="LIMIT_MAKER", quantity="0.3", price="60001")
    bids = accepted(public(at, "depth?symbol=BTCUSDT&limit=5000"))["bids"]
    assert bids[:2] == [["60001.00000000", "0.30000000"], ["59994.00000000", "1.00000000"]]
    assert bids[-1] == ["59000.00000000", "0.30000000"]


@pytest.mark.spec("DATA-1")
def test_klines_follow_the_paging_rule() -> None:
    at = floor()
    at.exchange.load_history("BTCUSDT", [candle(number, 100 + number) for number in range(-10, 0)])

    def opens(**params: int) -> list[int]:
        extra = "".join(f"&{name}={value}" for name, value in params.items())
        rows = accepted(public(at, f"klines?symbol=BTCUSDT&interval=1m{extra}"))
        return [(row[0] - START_MS) // MINUTE_MS for row in rows]

    assert opens() == list(range(-10, 0))
    assert opens(limit=3) == [-3, -2, -1]
    assert opens(startTime=START_MS - 8 * MINUTE_MS, limit=3) == [-8, -7, -6]
    assert opens(endTime=START_MS - 5 * MINUTE_MS, limit=2) == [-6, -5]
    assert opens(startTime=START_MS - 8 * MINUTE_MS, endTime=START_MS - 7 * MINUTE_MS) == [-8, -7]
    assert opens(startTime=START_MS - 8 * MINUTE_MS + 1, limit=1) == [-7]
    assert opens(startTime=START_MS + 1) == []


@pytest.mark.spec("DATA-1")
def test_last_kline_row_is_the_running_candle() -> None:
    at = floor()
    at.exchange.load_history("BTCUSDT", [candle(-1, 100)])
    at.tick("120", volume="2")
    at.tick("118", volume="1")
    rows = accepted(public(at, "klines?symbol=BTCUSDT&interval=1m"))
    assert rows[0][:6] == [START_MS - MINUTE_MS, *(f"{price}.00000000" for price in (100, 105, 95, 101, 8))]
    assert rows[1] == [
        START_MS, "120.00000000", "120.00000000", "118.00000000", "118.00000000", "3.00000000",
        START_MS + MINUTE_MS - 1, "358.00000000", 2, "1.50000000", "179.00000000", "0",
    ]  # fmt: skip


def raw(key: str | None, query: str, now_ms: int = START_MS) -> tuple[int, int]:
    headers = {} if key is None else {"x-mbx-apikey": key}
    response = floor().exchange.rest(HttpRequest("GET", f"/api/v3/account?{query}", headers), now_ms)
    return response.status, json.loads(response.body).get("code", 0)


def signed(query: str) -> str:
    return f"{query}&signature={sign(secret_of(ALICE), query)}"


def test_admission_is_refused_in_binance_order() -> None:
    good = f"timestamp={START_MS}"
    assert raw(None, "") == (401, -2014)
    assert raw("bad key!", "") == (401, -2014)
    assert raw("unknown", "") == (401, -2015)
    assert raw(ALICE, good) == (400, -1102)
    assert raw(ALICE, "signature=00") == (400, -1102)
    assert raw(ALICE, f"{good}&signature=00") == (400, -1022)
    assert raw(ALICE, f"timestamp={START_MS - 6000}&signature=00") == (400, -1021), (
        "timing is checked before the signature"
    )
    assert raw(ALICE, signed(good)) == (200, 0)


@pytest.mark.parametrize(
    ("offset_ms", "window", "code"),
    [(-5000, None, 0), (-5001, None, -1021), (999, None, 0), (1000, "60000", -1021), (-59_999, "60000", 0),
     (-3, "2.5", -1021), (-2, "2.5", 0), (0, "60001", -1102), (0, "soon", -1102)],
)  # fmt: skip
def test_timestamp_must_lie_in_the_receive_window(offset_ms: int, window: str | None, code: int) -> None:
    query = f"timestamp={START_MS + offset_ms}" + (f"&recvWindow={window}" if window else "")
    assert raw(ALICE, signed(query))[1] == code


def test_timestamp_may_be_in_microseconds() -> None:
    assert raw(ALICE, signed(f"timestamp={START_MS * 1000}")) == (200, 0)


def test_query_value_wins_over_the_body() -> None:
    at = floor()
    at.tick("60000")
    query = f"symbol=BTCUSDT&side=BUY&timestamp={at.now_ms}"
    body = "side=SELL&type=MARKET&quantity=0.01"
    body += f"&signature={sign(secret_of(ALICE), query + body)}"
    request = HttpRequest("POST", f"/api/v3/order?{query}", {"x-mbx-apikey": ALICE}, body.encode())
    assert accepted(at.exchange.rest(request, at.now_ms))["side"] == "BUY"


def test_weight_is_counted_in_fixed_minutes_and_shown_in_headers() -> None:
    at = floor()
    assert public(at, "exchangeInfo").headers["X-MBX-USED-WEIGHT-1M"] == "20"
    assert public(at, "depth?symbol=BTCUSDT&limit=1000").headers["X-MBX-USED-WEIGHT-1M"] == "70"
    at.now_ms += MINUTE_MS
    assert public(at, "ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_successful_trading_calls_cost_nothing_and_failed_ones_do() -> None:
    at = floor()
    at.tick("60000")
    client = Client(at)
    placed = client.call("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    assert placed.headers["X-MBX-USED-WEIGHT-1M"] == "0"
    failed = client.call("POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="999")
    assert failed.headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_too_much_weight_is_429_and_going_on_is_418() -> None:
    at = floor()
    at.now_ms += 15_000
    for _ in range(300):
        assert public(at, "exchangeInfo").status == 200
    response = public(at, "ping")
    assert (response.status, response.headers["Retry-After"]) == (429, "45")
    assert json.loads(response.body)["code"] == -1003
    statuses = [public(at, "ping").status for _ in range(25)]
    assert statuses[0] == 429
    assert statuses[-1] == 418
    banned = public(at, "ping")
    assert json.loads(banned.body)["code"] == -1003
    assert banned.headers["Retry-After"] == "120"
    at.now_ms += 119_999
    assert public(at, "ping").status == 418
    at.now_ms += 1
    assert public(at, "ping").status == 200


def test_orders_are_counted_given_back_by_fills_and_limited() -> None:
    at = floor()
    at.tick("60000")
    client = Client(at)
    resting = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
    first = client.call("POST", "order", **resting, price="50000")
    assert (first.headers["X-MBX-ORDER-COUNT-10S"], first.headers["X-MBX-ORDER-COUNT-1D"]) == ("1", "1")
    client.buy(type="MARKET", quantity="0.001")
    assert [entry["count"] for entry in client.get("rateLimit/order")] == [1, 1], "a taker's first fill gives one back"
    for _ in range(99):
        client.call("POST", "order", **resting, price="50000")
    refused = client.call("POST", "order", **resting, price="50000")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "9")
    assert json.loads(refused.body)["msg"] == "Too many new orders; current limit is 100 orders per 10 SECOND."
    assert client.delete("openOrders", symbol="BTCUSDT"), "cancels go on"
    assert Client(at, BOB).call("POST", "order", **resting, price="50000").status == 200, "the limit is per account"
    at.now_ms += 10_000
    assert client.call("POST", "order", **resting, price="50000").status == 200


def test_account_and_commission_answer() -> None:
    client = Client(floor())
    account = client.get("account")
    assert account["makerCommission"] == 10
    assert {"asset": "BTC", "free": "10.00000000", "locked": "0.00000000"} in account["balances"]
    assert len(account["balances"]) == 5
    assert len(client.get("account", omitZeroBalances="true")["balances"]) == 2
    rates = client.get("account/commission", symbol="BTCUSDT")
    assert rates["standardCommission"]["taker"] == "0.00100000"
    assert client.refused("GET", "account/commission")[0] == -1102


def test_deposit_is_free_and_reported() -> None:
    at = floor()
    client = Client(at)
    link = client.listen()
    at.exchange.deposit(ALICE, "USDT", Decimal("12.5"), at.now_ms)
    assert client.balance("USDT") == (Decimal("100012.5"), 0)
    update = next(event for event in client.events(link) if event["e"] == "balanceUpdate")
    assert (update["a"], update["d"]) == ("USDT", "12.50000000")
    with pytest.raises(ValueError):
        at.exchange.deposit(ALICE, "USDT", Decimal(-999_999), at.now_ms)
    at.exchange.check_books()
