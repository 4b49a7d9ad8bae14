"""What the venue refuses a sale for: rules that changed, a market that is closed, coins that are locked.

A sale that is refused for anything but its own stop would be refused without that stop as well: so the stop stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from simex.venue import HttpRequest, HttpResponse
from surefoot.core.messages import FlattenRequested
from surefoot.research.exact import Fate
from tests.scenarios.test_futures_safety import SYMBOL as CONTRACT
from tests.scenarios.test_futures_safety import Beat
from tests.stage import Stage, stage_settings

BTC = "BTCUSDT"
STOP_TYPES = ["LIMIT_MAKER", "STOP_LOSS"]


def holding(usdt: str = "10000") -> Stage:
    """A stage that bought at 60000; its stop rests at 58800."""
    stage = Stage(stage_settings([BTC]), usdt=usdt, supervised=True)
    stage.start_holding(BTC, Decimal(60_000))
    assert resting(stage) == STOP_TYPES
    return stage


def resting(stage: Stage) -> list[str]:
    orders = stage.ask("/api/v3/openOrders")
    assert isinstance(orders, list)
    return [order["type"] for order in orders]


def flatten(stage: Stage) -> None:
    stage.driver.tell(FlattenRequested(stage.now_ms, "owner", "out"))


@pytest.mark.spec("SAFE-2", "SAFE-3", "ORD-8")
def test_lot_that_is_made_coarser_while_holding_is_learned_from_the_refusal_and_the_rest_is_dust() -> None:
    stage = holding()
    held = stage.engine.portfolio.positions[BTC].quantity
    stage.exchange.change_rules(BTC, lot_size=Decimal("0.001"), min_qty=Decimal("0.001"))
    flatten(stage)
    stage.wait(1_000)
    assert resting(stage) == STOP_TYPES, "nothing was cancelled for a sale that was refused"
    stage.wait(5_000)
    (trip,) = stage.engine.portfolio.round_trips
    assert (trip.reason, trip.quantity) == ("flatten", Decimal("0.033"))
    assert stage.engine.portfolio.dust[BTC] == held - Decimal("0.033")
    assert (stage.engine.portfolio.positions, resting(stage)) == ({}, [])
    assert stage.counts["alarm rules-changed"] == 1
    assert stage.counts["alarm unprotected"] == 0
    stage.check_books()


@pytest.mark.spec("SAFE-2", "SAFE-3")
def test_market_that_only_takes_cancels_keeps_its_stop_and_what_was_due_is_sold_when_it_opens() -> None:
    stage = holding()
    stage.exchange.set_symbol_status(BTC, "CANCEL_ONLY")
    stage.wait(61_000)
    assert not stage.engine.instruments[BTC].trading
    flatten(stage)
    stage.wait(30_000)
    assert resting(stage) == STOP_TYPES
    assert stage.counts["alarm unprotected"] == 0
    stage.exchange.set_symbol_status(BTC, "TRADING")
    stage.price(BTC, Decimal(60_000))
    stage.wait(61_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["flatten"]
    stage.check_books()


@pytest.mark.spec("SAFE-3")
def test_sale_that_is_refused_because_its_market_closed_a_moment_ago_is_tried_as_soon_as_it_is_known_to_be_open() -> (
    None
):
    stage = holding()
    stage.exchange.set_symbol_status(BTC, "CANCEL_ONLY")
    flatten(stage)
    stage.wait(15_000)
    assert not stage.engine.instruments[BTC].trading, "read at once, not when its time comes"
    assert resting(stage) == []  # nobody could know: the venue took the one half and not the other
    stage.wait(60_000)
    stage.exchange.set_symbol_status(BTC, "TRADING")
    stage.price(BTC, Decimal(60_000))
    stage.wait(31_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["flatten"]


@pytest.mark.spec("SAFE-3")
def test_symbol_that_the_venue_no_longer_knows_is_not_traded_and_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = holding()
    stage.planned.requests.append(("GET", "/api/v3/exchangeInfo", Fate(arrives=False, instead=500)))
    monkeypatch.setattr(stage.exchange, "rest", unknown(stage.exchange.rest))
    stage.wait(70_000)
    assert not stage.engine.instruments[BTC].trading
    assert resting(stage) == STOP_TYPES


def unknown(rest: Callable[[HttpRequest, int], HttpResponse]) -> Callable[[HttpRequest, int], HttpResponse]:
    """The exchange as it answers when a symbol is gone from its lists."""

    def answer(request: HttpRequest, now_ms: int) -> HttpResponse:
        if "exchangeInfo" in request.target:
            request = replace(request, target=request.target.replace(BTC, "GONEUSDT"))
        return rest(request, now_ms)

    return answer


@pytest.mark.spec("ORD-8", "SAFE-2")
def test_what_a_thin_market_left_of_a_stop_and_is_worth_too_little_by_now_is_dust() -> None:
    stage = holding(usdt="100")
    stage.price(BTC, Decimal(45_000), Decimal("0.00023"))
    stage.wait(9_000)
    assert (stage.engine.portfolio.positions, stage.engine.portfolio.dust) == ({}, {BTC: Decimal("0.00009967")})
    assert (stage.counts["OrderRejected"], stage.counts["alarm unprotected"]) == (4, 0)  # a list of two, two sales
    (trip,) = stage.engine.portfolio.round_trips
    assert trip.dust_loss > 0
    stage.check_books()


BUSY = {
    "unavailable": (503, b'{"code":-1000,"msg":"Service Unavailable."}'),
    "late": (400, b'{"code":-5028,"msg":"Timestamp for this request is outside of the ME recvWindow."}'),
}


@pytest.mark.spec("NET-3", "SAFE-2")
@pytest.mark.parametrize("says", BUSY)
def test_stop_that_a_busy_venue_did_not_look_at_is_placed_a_moment_later(
    says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = stage_settings([CONTRACT], market__venue="futures", futures__leverage="1")
    stage = Stage(settings, tape=Beat(), supervised=True)
    stage.start()
    stage.wait(5_000)
    rest, left = stage.exchange.rest, [5]

    def busy(request: HttpRequest, now_ms: int) -> HttpResponse:
        if request.method != "POST" or "STOP_MARKET" not in request.target or not left[0]:
            return rest(request, now_ms)
        left[0] -= 1
        status, body = BUSY[says]
        return HttpResponse(status, {}, body)

    monkeypatch.setattr(stage.exchange, "rest", busy)
    stage.script.say(CONTRACT, 1.0)
    stage.wait(895_000 + 20_000)
    assert (left, len(stage.engine.portfolio.round_trips)) == ([0], 0)
    assert CONTRACT in stage.engine.portfolio.positions
    assert stage.engine.unprotected_since == {}
    assert stage.counts["alarm unprotected"] == 0


@pytest.mark.spec("SAFE-2", "ORD-8")
def test_tick_that_is_made_coarser_moves_the_plan_onto_it() -> None:
    stage = holding()
    stage.exchange.change_rules(BTC, tick_size=Decimal(70))
    stage.wait(61_000)
    plan = stage.engine.plans[BTC]
    assert (plan.stop_price, plan.target_price) == (Decimal(58_800), Decimal(62_440))
    assert stage.engine.instruments[BTC].tick_size == 70
