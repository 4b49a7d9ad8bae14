"""The account's link is gone and REST works: what is held is protected, left and obeyed for all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from simex.venue import HttpRequest as VenueRequest
from simex.venue import HttpResponse
from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.core.messages import KillRequested
from surefoot.research.exact import FINE, ON_TIME, Fate
from tests.scenarios.test_futures_safety import SYMBOL, Cutting, Trench
from tests.stage import Stage, stage_settings

D = Decimal
OWN_BTC = D(1)  # the owner's: a sale that is made twice would be made of it


class Apart:
    """Nothing comes on the account's connection any more, and no answer either; `meanwhile` happens as a request whose
    target has the text leaves, once."""

    def __init__(self, text: str, meanwhile: Callable[[], None] | None) -> None:
        self._text, self._meanwhile = text, meanwhile

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        if self._meanwhile is not None and isinstance(request, HttpRequest) and self._text in request.target:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        return () if link == "account" else ON_TIME


def spot(**settings: str) -> Stage:
    """A bot on spot that holds a position beside the owner's own coins."""
    stage = Stage(stage_settings([SYMBOL], **settings), balances={"BTC": OWN_BTC})
    stage.start_holding(SYMBOL, D(60_000))
    return stage


def lose_account_link(stage: Stage, text: str = "", meanwhile: Callable[[], None] | None = None) -> None:
    """Its host is gone for good."""
    stage.driver.fates = Apart(text, meanwhile)
    stage.driver.cut("account", "host down")


def cut_off_trench() -> Trench:
    """A bot on futures that holds a position; its account's host is gone for good."""
    trench = Trench(futures__leverage="1")
    cutting = trench.stage.driver.fates = Cutting(trench.stage.planned)
    cutting.lasts = True
    trench.stage.driver.cut("account", "host down")
    return trench


def kill(stage: Stage) -> None:
    stage.driver.tell(KillRequested(stage.now_ms, "owner", "3 a.m."))


def check_left(stage: Stage, reason: str) -> None:
    """What was held is gone once, the owner's coins are there, and the venue has no order of ours any more."""
    engine = stage.engine
    assert "account" not in engine.links
    assert engine.portfolio.positions == {}
    assert [trip.reason for trip in engine.portfolio.round_trips] == [reason]
    assert stage.ask("/api/v3/openOrders") == []
    dust = stage.venue_balances()["BTC"] - OWN_BTC
    assert 0 <= dust < D("0.00001")
    stage.check_books()


@pytest.mark.spec("SAFE-2", "NET-5")
def test_futures_without_a_stop_are_closed_within_the_bound() -> None:
    trench = Trench(futures__leverage="1")
    stage = trench.stage
    stage.planned.requests += [("POST", "/fapi/v1/algoOrder", Fate(arrives=False, instead=503))] * 2
    stop = next(order for order in stage.engine.orders.open_orders(SYMBOL) if order.id.endswith("s"))
    stage.ask("/fapi/v1/algoOrder", "DELETE", clientAlgoId=stop.id)
    stage.wait(300)
    assert SYMBOL in stage.engine.unprotected_since
    cutting = stage.driver.fates = Cutting(stage.planned)
    cutting.lasts = True
    stage.driver.cut("account", "host down")
    stage.wait(15_000)
    assert stage.counts["alarm unprotected"] == 1
    assert stage.engine.portfolio.positions[SYMBOL].quantity == 0, "an order that only reduces is still in doubt"
    stage.wait(15_000)
    assert stage.engine.portfolio.positions == {}
    assert stage.engine.entries_off() == "no link to account"
    assert stage.ask("/fapi/v3/positionRisk") == []


@pytest.mark.spec("SAFE-2", "NET-5")
def test_that_a_stop_is_gone_is_found_out_by_asking() -> None:
    trench = cut_off_trench()
    stage = trench.stage
    stage.wait(5_000)
    stop = next(order for order in stage.engine.orders.open_orders(SYMBOL) if order.id.endswith("s"))
    stage.ask("/fapi/v1/algoOrder", "DELETE", clientAlgoId=stop.id)
    stage.wait(5_000)
    resting = stage.ask("/fapi/v1/openAlgoOrders")
    assert isinstance(resting, list)
    assert [row["orderType"] for row in resting if row["side"] == "SELL"].count("STOP_MARKET") == 1
    assert stage.engine.unprotected_since == {}


@pytest.mark.spec("SAFE-3", "NET-5")
def test_the_kill_switch_closes_futures() -> None:
    trench = cut_off_trench()
    stage = trench.stage
    stage.wait(1_000)
    kill(stage)
    stage.wait(5_000)
    assert (trench.last_exit(), stage.engine.portfolio.positions) == ("kill", {})
    stage.wait(20_000)
    assert stage.ask("/fapi/v1/openAlgoOrders") == [], "what is of no use any more is cancelled"
    assert stage.counts["SubmitOrder"] == 4, "entry, stop, target, and one exit"


@pytest.mark.spec("SAFE-1", "SAFE-3", "NET-5")
@pytest.mark.parametrize("transport", ["rest", "socket"])
def test_the_kill_switch_sells_on_spot(transport: str) -> None:
    stage = spot(orders__transport=transport)
    lose_account_link(stage)
    stage.wait(60_000)
    kill(stage)
    stage.wait(3_000)
    check_left(stage, "kill")


@pytest.mark.spec("SAFE-3", "EXIT-7")
def test_a_time_exit_comes_on_spot() -> None:
    stage = spot(exits__hold_max_s="60")
    lose_account_link(stage)
    for _ in range(70):
        stage.price(SYMBOL, D(60_000))
        stage.wait(1_000)
    check_left(stage, "time")


@pytest.mark.spec("SAFE-1", "SAFE-4", "NET-5")
def test_a_stop_that_fired_unheard_is_booked_and_nothing_is_sold_a_second_time() -> None:
    stage = spot()
    lose_account_link(stage)
    stage.wait(10_000)
    stage.price(SYMBOL, D(58_000))
    kill(stage)
    stage.wait(5_000)
    check_left(stage, "stop")


@pytest.mark.spec("SAFE-1", "SAFE-4", "NET-5")
@pytest.mark.parametrize("liquidity", ["1000", "0.02"], ids=["all", "part"])
def test_a_stop_that_fires_while_the_sale_is_on_its_way_sells_nothing_of_the_owner(liquidity: str) -> None:
    stage = spot()

    def fire() -> None:
        stage.exchange.tick(SYMBOL, D(58_000), D(1), D(liquidity), stage.driver.now_ms)

    lose_account_link(stage, "cancelReplace", fire)
    stage.wait(10_000)
    kill(stage)
    stage.wait(1_000)
    stage.price(SYMBOL, D(58_000))
    stage.wait(5_000)
    assert stage.engine.portfolio.positions == {}
    assert 0 <= stage.venue_balances()["BTC"] - OWN_BTC < D("0.00001")
    stage.check_books()


@pytest.mark.spec("ORD-9", "NET-5")
def test_back_again_it_goes_on_as_if_it_had_never_been_away() -> None:
    stage = spot()
    lose_account_link(stage)
    stage.wait(100_000)
    stage.driver.fates = stage.planned
    stage.wait(100_000)
    assert stage.engine.entries_off() is None
    assert (stage.counts["alarm unprotected"], stage.counts["alarm books-differ"]) == (0, 0)
    stage.check_books()


@pytest.mark.spec("SAFE-1", "SAFE-2", "ORD-4")
def test_a_read_that_lags_behind_what_was_placed_is_no_proof_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = spot()
    stage.driver.latency_ms = 10
    lose_account_link(stage)
    stage.wait(6_000)
    stage.ask("/api/v3/openOrders", "DELETE", symbol=SYMBOL)
    real, placed_ms = stage.exchange.rest, [0]

    def lagging(request: VenueRequest, at_ms: int) -> HttpResponse:
        answer, path = real(request, at_ms), request.target.partition("?")[0]
        if request.method == "POST" and path.startswith("/api/v3/orderList"):
            placed_ms[0] = at_ms
        if request.method == "GET" and at_ms < placed_ms[0] + 1_500:
            if path == "/api/v3/order":
                return replace(answer, status=400, body=b'{"code":-2013,"msg":"Order does not exist."}')
            if path == "/api/v3/openOrders":
                return replace(answer, body=b"[]")
        return answer

    monkeypatch.setattr(stage.exchange, "rest", lagging)
    stage.wait(30_000)
    resting = stage.ask("/api/v3/openOrders")
    assert isinstance(resting, list)
    assert sorted(row["type"] for row in resting) == ["LIMIT_MAKER", "STOP_LOSS"]
    assert {order.name for order in stage.engine.orders.open_orders(SYMBOL)} == {
        row["clientOrderId"] for row in resting
    }
