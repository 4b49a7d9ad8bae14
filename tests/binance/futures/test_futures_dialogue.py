"""The session on futures: the account is set and read back first, its stream lives by a key, and orders go out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from surefoot.binance.dialect import Heard
from surefoot.binance.dialogue import (
    ACCOUNT,
    BOOK,
    MARKET,
    Frame,
    HttpAnswer,
    HttpRequest,
    Keys,
    LinkDown,
    LinkUp,
    OpenLink,
    Request,
    SendText,
    SessionFailed,
    Wake,
)
from surefoot.binance.futures.dialect import Futures, order_params
from surefoot.binance.futures.preparation import MarginWishes
from surefoot.binance.session import KEEP_KEY_MS, Session, SessionSettings
from surefoot.core.messages import (
    AccountSnapshot,
    CancelOrder,
    Command,
    Event,
    IncomePaid,
    InstrumentsLoaded,
    LinkLost,
    LinkRestored,
    MarginCalled,
    MarkPriceTold,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderNotFound,
    PriceDropped,
    QueryOrder,
    ReadAccount,
    ReadFills,
    StreamSilent,
    SubmitOrder,
    VenueTraded,
    WatchPrice,
)
from surefoot.core.model import Income, OrderRequest, OrderType, Purpose, Side
from tests.payloads.reading import payload

NOW = 1_790_000_000_000
D = Decimal
Answer = tuple[int, Any]


class Account:
    """A futures account as far as its settings go: what a venue would answer, by method and path."""

    def __init__(self, *, leverage: int = 20, margin_type: str = "CROSSED", hedged: bool = False) -> None:
        self.leverage, self.margin_type, self.hedged = leverage, margin_type, hedged
        self.answers: dict[str, Callable[[dict[str, str]], Answer]] = {}
        self.asked: list[str] = []
        self.requests: list[HttpRequest] = []

    def answer(self, request: HttpRequest) -> Answer:
        self.requests.append(request)
        path, _, query = request.target.partition("?")
        name, params = f"{request.method} {path}", dict(parse_qsl(query))
        self.asked.append(name)
        if name in self.answers:
            return self.answers[name](params)
        known: Callable[[dict[str, str]], Answer] = getattr(self, name.replace(" /fapi/", "_").replace("/", "_"))
        return known(params)

    def GET_v1_time(self, params: dict[str, str]) -> Answer:
        return 200, {"serverTime": NOW}

    def GET_v1_exchangeInfo(self, params: dict[str, str]) -> Answer:
        return 200, payload("um_exchange_info")

    def GET_v1_leverageBracket(self, params: dict[str, str]) -> Answer:
        row = {"bracket": 1, "initialLeverage": 150, "notionalCap": 300000, "notionalFloor": 0, "cum": 0.0}
        return 200, [{"symbol": "BTCUSDT", "brackets": [row | {"maintMarginRatio": 0.004}]}]

    def GET_v1_commissionRate(self, params: dict[str, str]) -> Answer:
        rates = {"makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}
        return 200, {"symbol": params["symbol"], **rates}

    def GET_v1_positionSide_dual(self, params: dict[str, str]) -> Answer:
        return 200, {"dualSidePosition": self.hedged}

    def POST_v1_positionSide_dual(self, params: dict[str, str]) -> Answer:
        self.hedged = params["dualSidePosition"] == "true"
        return 200, {"code": 200, "msg": "success"}

    def GET_v1_symbolConfig(self, params: dict[str, str]) -> Answer:
        return 200, [{"symbol": "BTCUSDT", "marginType": self.margin_type, "leverage": self.leverage}]

    def POST_v1_marginType(self, params: dict[str, str]) -> Answer:
        self.margin_type = params["marginType"]
        return 200, {"code": 200, "msg": "success"}

    def POST_v1_leverage(self, params: dict[str, str]) -> Answer:
        self.leverage = int(params["leverage"])
        return 200, {"symbol": "BTCUSDT", "leverage": self.leverage, "maxNotionalValue": "1"}

    def POST_v1_listenKey(self, params: dict[str, str]) -> Answer:
        return 200, {"listenKey": f"key{len(self.asked)}"}

    def PUT_v1_listenKey(self, params: dict[str, str]) -> Answer:
        return 200, {"listenKey": "key"}

    def GET_v1_klines(self, params: dict[str, str]) -> Answer:
        return 200, []

    def GET_v1_income(self, params: dict[str, str]) -> Answer:
        row = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-3", "asset": "USDT", "info": ""}
        return 200, [row | {"time": NOW - 5, "tranId": 7, "tradeId": ""}]

    def GET_v3_account(self, params: dict[str, str]) -> Answer:
        return 200, {"assets": [{"asset": "USDT", "walletBalance": "1000"}]}

    def GET_v3_positionRisk(self, params: dict[str, str]) -> Answer:
        return 200, payload("um_position_risk")

    def GET_v1_openOrders(self, params: dict[str, str]) -> Answer:
        return 200, [payload("um_order_new")]

    def GET_v1_openAlgoOrders(self, params: dict[str, str]) -> Answer:
        return 200, [payload("um_algo_new")]


class Talk:
    """A session and an account that answers at once; connections open when they are asked for."""

    def __init__(self, account: Account, wishes: MarginWishes | None = None, **supervision: Any) -> None:
        self.account, self.now_ms = account, NOW
        settings = SessionSettings(("BTCUSDT",), "1m", 20, 5_000, watch_always=False, **supervision)
        dialect = Futures(wishes or MarginWishes(3, "ISOLATED"))
        self.session = Session(settings, Keys("key", "secret"), lambda: 0.5, dialect)
        self.events: list[Event] = []
        self.opened: dict[str, str] = {}
        self.said: list[SendText] = []

    def start(self) -> Talk:
        self.session.start()
        self.run()
        return self

    def run(self) -> list[Event]:
        before = len(self.events)
        while requests := self.session.take_requests(self.now_ms):
            for request in requests:
                self._serve(request)
        return self.events[before:]

    def _serve(self, request: Request) -> None:
        match request:
            case HttpRequest():
                status, body = self.account.answer(request)
                answer = HttpAnswer(request.request_id, status, {}, json.dumps(body).encode())
                self.events += self.session.receive(answer, self.now_ms)
            case OpenLink(link=link, target=target):
                self.opened[link] = target
                self.events += self.session.receive(LinkUp(link), self.now_ms)
            case SendText(link=link, text=text):
                self.said.append(request)
                reply = json.dumps({"result": None, "id": json.loads(text)["id"]})
                self.events += self.session.receive(Frame(link, reply), self.now_ms)
            case _:
                self.opened.pop(request.link, None)

    def do(self, *commands: Command) -> list[Event]:
        self.session.submit(commands, self.now_ms)
        return self.run()

    def hear(self, event: dict[str, Any]) -> list[Event]:
        events = self.session.receive(Frame(ACCOUNT, json.dumps(event)), self.now_ms)
        self.events += events
        return events + self.run()

    def wait(self, ms: int) -> list[Event]:
        self.now_ms += ms
        events = self.session.receive(Wake(), self.now_ms)
        return events + self.run()


def of(kind: type, events: Sequence[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# ---------------------------------------------------------------------------------------------------------------
# Before the first entry


@pytest.mark.spec("MODE-3", "NET-7")
def test_mode_margin_type_and_leverage_are_set_and_read_back_before_any_connection() -> None:
    account = Account(leverage=20, margin_type="CROSSED", hedged=True)
    talk = Talk(account).start()
    asked = account.asked
    settings = [name for name in asked if "dual" in name or "symbolConfig" in name or name.startswith("POST /fapi/v1/")]
    assert settings == [
        "GET /fapi/v1/positionSide/dual",
        "POST /fapi/v1/positionSide/dual",
        "GET /fapi/v1/positionSide/dual",
        "GET /fapi/v1/symbolConfig",
        "POST /fapi/v1/marginType",
        "POST /fapi/v1/leverage",
        "GET /fapi/v1/symbolConfig",
        "POST /fapi/v1/listenKey",
    ]
    assert (account.hedged, account.margin_type, account.leverage) == (False, "ISOLATED", 3)
    (loaded,) = of(InstrumentsLoaded, talk.events)
    (bitcoin,) = loaded.instruments
    assert [bracket.rate for bracket in bitcoin.brackets] == [D("0.004")]
    assert {(limit.interval_ms, limit.orders) for limit in loaded.order_limits} == {(10_000, 300), (60_000, 1200)}


@pytest.mark.spec("MODE-3")
def test_an_account_that_is_as_wished_is_left_alone() -> None:
    account = Account(leverage=3, margin_type="ISOLATED")
    Talk(account).start()
    assert [name for name in account.asked if name.startswith("POST")] == ["POST /fapi/v1/listenKey"]


def hourly(**changes: object) -> tuple[Account, Talk]:
    """An account whose contract has other rules from now on, and an hour later."""
    account = Account(leverage=3, margin_type="ISOLATED")
    talk = Talk(account, rereads_rules=True).start()
    told = payload("um_exchange_info")
    told["symbols"] = [one | changes for one in told["symbols"]]
    account.answers["GET /fapi/v1/exchangeInfo"] = lambda params: (200, told)
    account.asked.clear()
    return account, talk


@pytest.mark.spec("SAFE-3", "ORD-8")
def test_rules_are_read_again_every_hour_and_told_when_they_changed() -> None:
    account, talk = hourly(status="SETTLING")
    assert not of(InstrumentsLoaded, talk.wait(3_599_000))
    (loaded,) = of(InstrumentsLoaded, talk.wait(1_000))
    (contract,) = loaded.instruments
    assert (contract.symbol, contract.trading, len(contract.brackets)) == ("BTCUSDT", False, 1)
    assert not of(InstrumentsLoaded, talk.wait(3_600_000)), "nothing is new"
    assert account.asked.count("GET /fapi/v1/exchangeInfo") == 2


@pytest.mark.spec("EXIT-1")
def test_brackets_that_changed_are_learned() -> None:
    account, talk = hourly()
    row = {"bracket": 1, "initialLeverage": 20, "notionalCap": 300000, "notionalFloor": 0, "cum": 0.0}
    answer = 200, [{"symbol": "BTCUSDT", "brackets": [row | {"maintMarginRatio": 0.1}]}]
    account.answers["GET /fapi/v1/leverageBracket"] = lambda params: answer
    (loaded,) = of(InstrumentsLoaded, talk.wait(3_600_000))
    assert [bracket.rate for bracket in loaded.instruments[0].brackets] == [D("0.1")]


@pytest.mark.spec("SAFE-3")
def test_contract_that_is_no_longer_listed_is_not_traded() -> None:
    _, talk = hourly(contractType="CURRENT_QUARTER")
    (loaded,) = of(InstrumentsLoaded, talk.wait(3_600_000))
    assert not loaded.instruments[0].trading


@pytest.mark.spec("MODE-3", "SAFE-6")
@pytest.mark.parametrize(
    ("call", "answer", "told"),
    [
        ("POST /fapi/v1/leverage", (200, {"leverage": 3}), "says it is not so"),
        ("POST /fapi/v1/marginType", (400, {"code": -4048, "msg": "position"}), "close the position"),
        ("POST /fapi/v1/leverage", (400, {"code": -4028, "msg": "Leverage 3 is not valid"}), "futures.leverage"),
        ("POST /fapi/v1/positionSide/dual", (400, {"code": -4068, "msg": "position"}), "one-way mode"),
        ("POST /fapi/v1/positionSide/dual", (200, {"code": 200}), "stays in hedge mode"),
        ("GET /fapi/v1/symbolConfig", (200, []), "no leverage of BTCUSDT"),
        ("GET /fapi/v1/exchangeInfo", (200, {"rateLimits": [], "symbols": []}), "no perpetual contract BTCUSDT"),
    ],
)
def test_what_cannot_be_set_stops_the_start(call: str, answer: Answer, told: str) -> None:
    account = Account(hedged=True)
    account.answers[call] = lambda params: answer
    with pytest.raises(SessionFailed, match=told):
        Talk(account).start()


@pytest.mark.spec("MODE-3")
@pytest.mark.parametrize(("call", "code"), [("marginType", -4046), ("positionSide/dual", -4059)])
def test_that_something_is_so_already_is_no_refusal(call: str, code: int) -> None:
    account = Account(hedged=True)

    def already(params: dict[str, str]) -> Answer:
        account.hedged, account.margin_type = False, "ISOLATED"
        return 400, {"code": code, "msg": "No need to change."}

    account.answers[f"POST /fapi/v1/{call}"] = already
    assert of(InstrumentsLoaded, Talk(account).start().events)


# ---------------------------------------------------------------------------------------------------------------
# Connections


@pytest.mark.spec("NET-4", "NET-5")
def test_each_stream_is_asked_for_on_its_own_prefix() -> None:
    talk = Talk(Account()).start()
    key = next(at for at, name in enumerate(talk.account.asked, start=1) if name == "POST /fapi/v1/listenKey")
    assert talk.opened == {
        MARKET: "/market/stream", BOOK: "/public/stream", ACCOUNT: f"/private/ws/key{key}",
    }  # fmt: skip
    assert {event.link for event in of(LinkRestored, talk.events)} == {MARKET, ACCOUNT}
    assert [(each.link, json.loads(each.text)["params"]) for each in talk.said] == [(MARKET, ["btcusdt@kline_1m"])]
    talk.do(WatchPrice(NOW, "BTCUSDT", wanted=True))
    assert (talk.said[-1].link, json.loads(talk.said[-1].text)["params"]) == (BOOK, ["btcusdt@bookTicker"])


@pytest.mark.spec("NET-4", "DATA-3")
def test_the_market_counts_as_lost_without_its_best_prices_and_comes_back_with_them() -> None:
    talk = Talk(Account()).start()
    (lost,) = talk.session.receive(LinkDown(BOOK, "reset"), NOW)
    assert lost == LinkLost(NOW, MARKET, "reset")
    assert of(LinkRestored, talk.wait(1_000)) == [LinkRestored(NOW + 1_000, MARKET)]


@pytest.mark.spec("NET-5")
def test_the_key_of_the_account_is_kept_alive_and_replaced_when_it_died() -> None:
    talk = Talk(Account()).start()
    due_ms = talk.session.deadline_ms()
    assert due_ms == NOW + KEEP_KEY_MS
    for _ in range(3):
        talk.wait(KEEP_KEY_MS)
        assert talk.account.asked[-1] == "PUT /fapi/v1/listenKey"
    before = talk.opened[ACCOUNT]
    talk.account.answers["PUT /fapi/v1/listenKey"] = lambda params: (400, {"code": -1125, "msg": "no such key"})
    assert of(LinkLost, talk.wait(KEEP_KEY_MS))[0].link == ACCOUNT
    assert of(LinkRestored, talk.wait(2_000)) == [LinkRestored(talk.now_ms, ACCOUNT)]
    assert talk.opened[ACCOUNT] != before
    (lost,) = of(LinkLost, talk.hear({"e": "listenKeyExpired", "E": NOW, "listenKey": "key"}))
    assert lost.text == "the key of the account stream has expired"


@pytest.mark.spec("NET-5")
def test_a_key_is_asked_for_without_a_signature() -> None:
    talk = Talk(Account())
    talk.start()
    seen = talk.account.requests
    (request,) = [request for request in seen if request.target.startswith("/fapi/v1/listenKey")]
    assert request.target == "/fapi/v1/listenKey"
    assert request.headers == {"X-MBX-APIKEY": "key"}


# ---------------------------------------------------------------------------------------------------------------
# Orders and the account


STOP = OrderRequest(
    "sf-1-2s", "BTCUSDT", Side.SELL, OrderType.STOP_MARKET, Purpose.STOP, D("0.050"), stop_price=D("58000.00")
)
ENTRY = OrderRequest("sf-1-1e", "BTCUSDT", Side.SELL, OrderType.LIMIT, Purpose.ENTRY, D("0.050"), D("60000.0"))
EXIT = OrderRequest("sf-1-3x", "BTCUSDT", Side.BUY, OrderType.MARKET, Purpose.EXIT, D("0.050"))


def sent(talk: Talk, name: str, command: Command, answer: Any) -> tuple[dict[str, str], list[Event]]:
    """The parameters of a command's request, without signature and times, and what its answer means."""
    seen: list[dict[str, str]] = []

    def take(params: dict[str, str]) -> Answer:
        seen.append(params)
        return 200, answer

    talk.account.answers[name] = take
    events = talk.do(command)
    (params,) = seen
    assert list(params)[-1] == "signature"
    return {key: value for key, value in params.items() if key not in ("signature", "timestamp", "recvWindow")}, events


@pytest.mark.spec("ORD-6", "ORD-7", "NET-1")
def test_entry_is_a_plain_order_and_what_leaves_may_only_reduce() -> None:
    talk, told = Talk(Account()).start(), payload("um_order_new")
    params, events = sent(talk, "POST /fapi/v1/order", SubmitOrder(NOW, ENTRY), told | {"clientOrderId": "sf-1-1e"})
    assert params == {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "price": "60000",
        "quantity": "0.05", "reduceOnly": "false", "newClientOrderId": "sf-1-1e", "newOrderRespType": "RESULT",
    }  # fmt: skip
    assert events == [OrderAccepted(NOW, "sf-1-1e", 910001, True, D("0.050"), D("0.000"))]
    params, _ = sent(talk, "POST /fapi/v1/order", SubmitOrder(NOW, EXIT), told | {"clientOrderId": "sf-1-3x"})
    assert (params["type"], params["reduceOnly"], "price" in params) == ("MARKET", "true", False)


@pytest.mark.spec("ORD-6", "SAFE-2")
def test_stop_is_a_conditional_order_that_may_only_reduce() -> None:
    talk, told = Talk(Account()).start(), payload("um_algo_new") | {"clientAlgoId": "sf-1-2s"}
    params, events = sent(talk, "POST /fapi/v1/algoOrder", SubmitOrder(NOW, STOP), told)
    assert params == {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.05",
        "triggerPrice": "58000", "workingType": "CONTRACT_PRICE", "reduceOnly": "true", "clientAlgoId": "sf-1-2s",
    }  # fmt: skip
    assert events == [OrderAccepted(NOW, "sf-1-2s", 3000001, True, D("0.050"), None)]
    done = {"algoId": 3000001, "clientAlgoId": "sf-1-2s", "code": "200", "msg": "success"}
    cancel = CancelOrder(NOW, "BTCUSDT", "sf-1-2s", conditional=True)
    params, events = sent(talk, "DELETE /fapi/v1/algoOrder", cancel, done)
    assert (params, events) == ({"clientAlgoId": "sf-1-2s"}, [OrderCanceled(NOW, "sf-1-2s", None)])


@pytest.mark.spec("ORD-4", "SAFE-1")
def test_a_conditional_order_in_doubt_is_asked_for_and_so_is_the_plain_one_that_it_became() -> None:
    talk, told = Talk(Account()).start(), payload("um_algo_new") | {"clientAlgoId": "sf-1-2s"}
    query = QueryOrder(NOW, "BTCUSDT", "sf-1-2s", conditional=True)
    talk.account.answers["GET /fapi/v1/algoOrder"] = lambda params: (400, {"code": -2013, "msg": "no such order"})
    assert talk.do(query) == [OrderNotFound(NOW, "sf-1-2s")]
    talk.account.answers["GET /fapi/v1/algoOrder"] = lambda params: (200, told | {"actualOrderId": "910007"})
    plain = payload("um_order_new") | {
        "orderId": 910007,
        "clientOrderId": "x",
        "status": "FILLED",
        "executedQty": "0.050",
    }
    talk.account.answers["GET /fapi/v1/order"] = lambda params: (200, plain | {"orderId": int(params["orderId"])})
    assert talk.do(query) == [OrderAccepted(NOW, "sf-1-2s", 910007, True, D("0.050"), D("0.050"))]


@pytest.mark.spec("ORD-3", "ORD-6")
@pytest.mark.parametrize("name", ["sf-1-2s", "another-name"])
def test_a_triggered_stop_fills_under_our_name_whatever_the_venue_calls_it(name: str) -> None:
    talk = Talk(Account()).start()
    algo = payload("um_event_algo_update")
    algo["o"] |= {"caid": "sf-1-2s"}
    assert talk.hear(algo) == []
    update = payload("um_event_order_trade_update")
    update["o"] |= {"c": name, "i": 910007, "S": "SELL"}
    (filled,) = of(OrderFilled, talk.hear(update))
    assert filled.fill.client_order_id == "sf-1-2s"


@pytest.mark.spec("ORD-9", "PNL-2")
def test_the_account_is_read_with_its_income_positions_and_both_kinds_of_orders() -> None:
    talk = Talk(Account()).start()
    events = talk.do(ReadAccount(NOW))
    paid = IncomePaid(NOW, 7, Income.FUNDING, "BTCUSDT", "USDT", D(-3), NOW - 5)
    assert events[0] == paid
    (snapshot,) = of(AccountSnapshot, events)
    assert [(held.asset, held.total) for held in snapshot.balances] == [("USDT", D(1000))]
    assert [order.client_order_id for order in snapshot.open_orders] == ["bot-f-1", "bot-sl-1"]
    assert [(each.symbol, each.quantity) for each in snapshot.positions] == [("BTCUSDT", D("0.050"))]


def forced_fill(order_id: int, trade_id: int, realised: str) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "id": trade_id, "orderId": order_id, "side": "SELL", "price": "57120.5", "qty": "0.05",
        "realizedPnl": realised, "commission": "1.42801250", "commissionAsset": "USDT", "time": NOW - 9,
        "maker": False,
    }  # fmt: skip


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4")
def test_of_a_position_in_question_what_the_venue_itself_traded_is_read_along() -> None:
    account = Account()
    orders = payload("um_force_orders")
    unfilled = orders[0] | {"orderId": 5, "executedQty": "0"}
    earlier = orders[0] | {"orderId": 6, "updateTime": orders[0]["updateTime"] - 100_000}
    account.answers["GET /fapi/v1/forceOrders"] = lambda params: (200, [earlier, unfilled, *orders])
    settled = orders[0] | {"orderId": 6071833000, "clientOrderId": "settlement_autoclose-1"}
    ours = orders[0] | {"orderId": 910001, "clientOrderId": "sf-1-1e"}
    account.answers["GET /fapi/v1/allOrders"] = lambda params: (200, [ours, *orders, settled])
    first, second = forced_fill(6071832819, 10, "-143.97500000"), forced_fill(6071832819, 11, "-143.97500000")
    trades = {"6071832819": [second, first], "6071832900": [forced_fill(6071832900, 12, "-50")]}
    trades["6071833000"] = [forced_fill(6071833000, 13, "-5")]
    account.answers["GET /fapi/v1/userTrades"] = lambda params: (200, trades[params["orderId"]])
    talk = Talk(account).start()
    talk.do(ReadAccount(NOW))
    assert "GET /fapi/v1/forceOrders" not in account.asked
    events = talk.do(ReadAccount(NOW, None, (("BTCUSDT", orders[0]["time"]),)))
    asked = next(each.target for each in account.requests if "forceOrders" in each.target)
    assert {"symbol": "BTCUSDT", "limit": "100"}.items() <= dict(parse_qsl(asked.partition("?")[2])).items()
    before, liquidated, deleveraged, delivered = of(VenueTraded, events)
    assert (before.order_id, before.fill.trade_id, before.executed) == (6071832819, 10, D("0.05"))
    assert (liquidated.order_id, liquidated.executed) == (6071832819, D("0.10"))
    assert (liquidated.why, liquidated.fill.trade_id, liquidated.fill.realised, liquidated.fill.fee) == (
        "liquidation", 11, D("-143.975"), D("1.4280125"),
    )  # fmt: skip
    assert (deleveraged.why, deleveraged.fill.trade_id) == ("auto-deleveraging", 12)
    assert (delivered.why, delivered.fill.trade_id) == ("settlement", 13)
    assert isinstance(events[-1], AccountSnapshot), "the books are compared when all is booked"


@pytest.mark.spec("MODE-3", "NET-5")
def test_a_leverage_that_is_changed_while_the_answer_about_it_is_under_way_is_read_again() -> None:
    account = Account(leverage=3, margin_type="ISOLATED")
    talk = Talk(account).start()
    changed = {"e": "ACCOUNT_CONFIG_UPDATE", "E": NOW, "T": NOW, "ac": {"s": "BTCUSDT", "l": 20}}

    def overtaken(params: dict[str, str]) -> Answer:
        answer = account.GET_v1_symbolConfig(params)
        if account.leverage == 3:
            account.leverage = 20
            talk.session.receive(Frame(ACCOUNT, json.dumps(changed)), NOW)
        return answer

    account.answers["GET /fapi/v1/symbolConfig"] = overtaken
    (snapshot,) = of(AccountSnapshot, talk.hear(changed))
    assert [terms.leverage for terms in snapshot.unlike] == [20]
    talk.do(ReadAccount(NOW))
    assert account.asked[-1] != "GET /fapi/v1/symbolConfig", "nothing has changed since"


@pytest.mark.spec("PNL-2", "NET-5")
def test_funding_that_is_told_of_is_read_from_the_income_once() -> None:
    talk = Talk(Account()).start()
    update = payload("um_event_account_update")
    update["a"]["m"] = "FUNDING_FEE"
    assert len(of(IncomePaid, talk.hear(update))) == 1
    assert not of(IncomePaid, talk.hear(update))
    assert not of(IncomePaid, talk.do(ReadAccount(NOW, NOW - 5)))
    update["a"]["m"] = "ORDER"
    assert talk.hear(update) == []


@pytest.mark.spec("ORD-7")
def test_a_post_only_order_is_a_limit_order_that_never_takes() -> None:
    order = OrderRequest("sf-1-3", "BTCUSDT", Side.SELL, OrderType.LIMIT_MAKER, Purpose.TARGET, D("0.05"), D("61000"))
    params = dict(order_params(order))
    assert (params["type"], params["timeInForce"], params["price"]) == ("LIMIT", "GTX", "61000")
    assert params["reduceOnly"] == "true"


@pytest.mark.spec("ORD-8")
def test_fills_that_were_missed_are_read_by_the_id_of_the_plain_order() -> None:
    talk = Talk(Account()).start()
    row = {
        "symbol": "BTCUSDT", "id": 5, "orderId": 910007, "side": "SELL", "price": "58000", "qty": "0.05",
        "realizedPnl": "-100", "commission": "1.45", "commissionAsset": "USDT", "time": NOW, "maker": False,
    }  # fmt: skip
    params, events = sent(talk, "GET /fapi/v1/userTrades", ReadFills(NOW, "BTCUSDT", "sf-1-2s", 910007), [row])
    assert params == {"symbol": "BTCUSDT", "orderId": "910007"}
    (filled,) = of(OrderFilled, events)
    assert (filled.fill.realised, filled.fill.fee, filled.fill.client_order_id) == (D(-100), D("1.45"), "sf-1-2s")


@pytest.mark.spec("ORD-8", "SAFE-4")
def test_fills_of_a_conditional_order_are_read_under_the_order_that_it_became_also_after_a_restart() -> None:
    account, told = Account(), payload("um_algo_new") | {"clientAlgoId": "sf-1-2s"}
    account.answers["GET /fapi/v1/algoOrder"] = lambda params: (200, told | {"actualOrderId": "910007"})
    row = {
        "symbol": "BTCUSDT", "id": 5, "orderId": 910007, "side": "SELL", "price": "58000", "qty": "0.05",
        "realizedPnl": "-100", "commission": "1.45", "commissionAsset": "USDT", "time": NOW, "maker": False,
    }  # fmt: skip
    talk = Talk(account).start()
    missed = ReadFills(NOW, "BTCUSDT", "sf-1-2s", 3_000_001, conditional=True)
    params, events = sent(talk, "GET /fapi/v1/userTrades", missed, [row])
    assert params == {"symbol": "BTCUSDT", "orderId": "910007"}
    (filled,) = of(OrderFilled, events)
    assert (filled.fill.trade_id, filled.fill.client_order_id, filled.order_id) == (5, "sf-1-2s", 910007)
    account.answers["GET /fapi/v1/algoOrder"] = lambda params: (200, told | {"actualOrderId": ""})
    asked = len(account.requests)
    assert talk.do(missed) == []  # it became none yet
    assert [each.target.partition("?")[0] for each in account.requests[asked:]] == ["/fapi/v1/algoOrder"]


@pytest.mark.spec("EXIT-1")
def test_margin_call_is_told_with_its_symbols() -> None:
    """The frame is the one of Binance's documentation, cross margin, but for its numbers."""
    called = {
        "s": "ETHUSDT", "ps": "LONG", "pa": "1.327", "mt": "CROSSED", "iw": "0", "mp": "187.17127",
        "up": "-1.166074", "mm": "1.614445",
    }  # fmt: skip
    frame = json.dumps({"e": "MARGIN_CALL", "E": 1_587_727_187_525, "cw": "3.16812045", "p": [called]})
    heard = Futures(MarginWishes(3, "CROSSED")).read_account_frame(frame, NOW)
    assert isinstance(heard, Heard)
    assert heard.events == (MarginCalled(NOW, ("ETHUSDT",)),)
    assert heard.venue_ms == 1_587_727_187_525


# ---------------------------------------------------------------------------------------------------------------
# The mark price


def mark_frame(price: str, at_ms: int = NOW) -> Frame:
    data = {"e": "markPriceUpdate", "E": at_ms, "s": "BTCUSDT", "p": price, "i": "60000.1", "r": "0.0001", "T": NOW}
    return Frame(MARKET, json.dumps({"stream": "btcusdt@markPrice@1s", "data": data}))


def watching(account: Account, **supervision: Any) -> Talk:
    talk = Talk(account, mark_prices=True, **supervision).start()
    talk.do(WatchPrice(NOW, "BTCUSDT", True))
    return talk


@pytest.mark.spec("EXIT-1", "NET-1", "DATA-6")
def test_the_mark_price_of_a_watched_symbol_is_subscribed_where_markets_are_and_told() -> None:
    talk = watching(Account())
    joined = [json.loads(each.text) for each in talk.said if "markPrice" in each.text]
    assert [(each["method"], each["params"]) for each in joined] == [("SUBSCRIBE", ["btcusdt@markPrice@1s"])]
    assert [each.link for each in talk.said if "markPrice" in each.text] == [MARKET]
    assert talk.session.receive(mark_frame("60002.25"), NOW) == [MarkPriceTold(NOW, "BTCUSDT", D("60002.25"), NOW)]
    for impossible in ("0.00000000", "-1", "NaN", ""):
        (dropped,) = talk.session.receive(mark_frame(impossible), NOW)
        assert isinstance(dropped, PriceDropped)
    talk.do(WatchPrice(NOW, "BTCUSDT", False))
    assert ["btcusdt@markPrice@1s"] in [
        json.loads(each.text)["params"] for each in talk.said if "UNSUBSCRIBE" in each.text
    ]


@pytest.mark.spec("EXIT-1")
def test_a_backtest_hears_no_mark_prices() -> None:
    talk = Talk(Account()).start()
    talk.do(WatchPrice(NOW, "BTCUSDT", True))
    assert not [each for each in talk.said if "markPrice" in each.text]


@pytest.mark.spec("EXIT-1", "DATA-3", "NET-4")
def test_where_the_stream_of_mark_prices_is_silent_they_are_asked_for_and_the_silence_is_told() -> None:
    account = Account()
    index = {"symbol": "BTCUSDT", "markPrice": "60001.50000000", "indexPrice": "60000.0", "time": NOW}
    account.answers["GET /fapi/v1/premiumIndex"] = lambda params: (200, index | params)
    account.answers["GET /fapi/v1/ticker/bookTicker"] = lambda params: (
        200, {"symbol": "BTCUSDT", "bidPrice": "1", "bidQty": "1", "askPrice": "2", "askQty": "1"},
    )  # fmt: skip
    talk = watching(account, stream_silence_max_ms=60_000, price_age_max_ms=5_000)
    for _ in range(3):
        talk.wait(1_000)
        talk.session.receive(mark_frame("60002", talk.now_ms), talk.now_ms)
    assert "GET /fapi/v1/premiumIndex" not in account.asked
    told = [event for _ in range(5) for event in talk.wait(1_000)]
    assert of(MarkPriceTold, told) == [MarkPriceTold(talk.now_ms, "BTCUSDT", D("60001.50000000"), NOW)]
    candle = payload("stream_kline_running")["data"]
    candle["k"]["i"] = "1m"
    silent = []
    for _ in range(56):
        candle["E"] = talk.now_ms
        talk.session.receive(Frame(MARKET, json.dumps({"stream": "btcusdt@kline_1m", "data": candle})), talk.now_ms)
        silent += of(StreamSilent, talk.wait(1_000))
    assert [each.stream for each in silent] == ["btcusdt@markPrice@1s"]
