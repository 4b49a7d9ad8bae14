"""The venue refuses what it let us do before, while something is held: a person has to see to it, and until then the
bot lives on, looks after what it holds as far as it may, and buys nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from simex.venue import HttpRequest as VenueRequest
from simex.venue import HttpResponse, KeyRights
from surefoot.core.facts import Books
from surefoot.core.messages import FlattenRequested, LinkLost
from surefoot.research.exact import Fate
from surefoot.store.records import decode
from tests.scenarios.test_futures_safety import SYMBOL, Trench
from tests.stage import KEYS, Stage, stage_settings

D = Decimal


def holding(**settings: str) -> Stage:
    """A bot on spot that holds a protected position and trades another symbol besides."""
    stage = Stage(stage_settings(["BTCUSDT", "ETHUSDT"], **settings))
    stage.price("ETHUSDT", D(3_000))
    stage.start_holding("BTCUSDT", D(60_000))
    return stage


def losses(stage: Stage) -> list[str]:
    """Of which links it was said that they are lost."""
    lost = [decode(kind, body) for kind, body in stage.journal if kind == "LinkLost"]
    return [each.link for each in lost if isinstance(each, LinkLost)]


@pytest.mark.spec("SAFE-3", "NET-3")
def test_a_key_that_may_not_trade_any_more_ends_entries_and_nothing_else() -> None:
    stage = holding()
    stage.exchange.change_key(KEYS.api_key, KeyRights(may_trade_spot=False))
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("ETHUSDT")
    stage.wait(3_000)
    assert losses(stage) == ["rights"]
    assert stage.counts["alarm key-refused"] == 1
    assert (stage.engine.entries_off() or "").startswith("the venue refuses the key")
    stage.price("BTCUSDT", D(58_000))
    stage.wait(3_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["stop"]
    assert stage.engine.books is Books.AGREE


@pytest.mark.spec("SAFE-3", "NET-3")
@pytest.mark.parametrize("path", ["/api/v3/openOrders", "/api/v3/account"])
def test_a_read_that_the_firewall_refuses_once_is_said_and_made_again(path: str) -> None:
    stage = holding()
    stage.planned.requests.append(("GET", path, Fate(arrives=False, instead=403)))
    stage.wait(400_000)
    assert not stage.planned.requests
    assert losses(stage) == ["venue"]
    assert stage.counts["alarm read-refused"] == 1
    assert stage.engine.entries_off() is None
    assert stage.engine.books is Books.AGREE


@pytest.mark.spec("SAFE-3", "NET-3")
def test_a_key_that_got_its_rights_back_is_known_to_have_them_when_any_order_is_taken() -> None:
    stage = holding()
    stage.exchange.change_key(KEYS.api_key, KeyRights(may_trade_spot=False))
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("ETHUSDT")
    stage.wait(3_000)
    assert "restart" in (stage.engine.entries_off() or "")
    stage.exchange.change_key(KEYS.api_key, KeyRights())
    stage.driver.tell(FlattenRequested(stage.now_ms, "owner", "out"))
    stage.wait(5_000)
    assert stage.engine.entries_off() is None
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("ETHUSDT")
    stage.wait(3_000)
    assert "ETHUSDT" in stage.engine.portfolio.positions


FIREWALL = HttpResponse(403, {}, b"")
BAD_KEY = HttpResponse(401, {}, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}')


@pytest.mark.spec("SAFE-3", "NET-3")
@pytest.mark.parametrize("said", [(FIREWALL, BAD_KEY), (BAD_KEY, FIREWALL)])
def test_entries_are_off_from_when_the_key_is_refused_until_the_same_is_answered(
    said: tuple[HttpResponse, ...],
) -> None:
    stage = holding()
    asked, left = stage.exchange.rest, list(said)

    def rest(request: VenueRequest, now_ms: int) -> HttpResponse:
        if not left or not request.target.startswith("/api/v3/account?"):
            return asked(request, now_ms)
        return left.pop(0)

    stage.exchange.rest = rest  # type: ignore[method-assign]
    while left:
        stage.wait(1_000)
    stage.wait(1_000)
    assert (stage.engine.entries_off() or "").startswith("the venue refuses the key")
    stage.wait(60_000)
    assert stage.engine.entries_off() is None
    assert stage.counts["alarm key-refused"] == 1


@pytest.mark.spec("SAFE-3", "NET-3")
def test_an_order_that_the_firewall_refuses_to_tell_of_is_asked_for_more_and_more_seldom() -> None:
    stage = holding()
    stage.kill()
    asked, refused = stage.exchange.rest, []

    def rest(request: VenueRequest, now_ms: int) -> HttpResponse:
        if request.method == "GET" and request.target.startswith("/api/v3/order?"):
            refused.append(now_ms)
            return HttpResponse(403, {}, b"")
        return asked(request, now_ms)

    stage.exchange.rest = rest  # type: ignore[method-assign]
    stage.start()
    stage.wait(600_000)
    assert losses(stage)[-1] == "venue"
    assert 20 < len(refused) < 60, "two orders: each soon, then twice a minute"


@pytest.mark.spec("SAFE-3", "SAFE-6")
def test_a_start_at_which_the_firewall_refuses_a_read_goes_on_where_something_is_held() -> None:
    stage = holding()
    stage.kill()
    stage.planned.requests.append(("GET", "/api/v3/exchangeInfo", Fate(arrives=False, instead=403)))
    stage.start()
    stage.wait(60_000)
    assert losses(stage)[-1] == "venue"
    assert stage.engine.entries_off() is None


@pytest.mark.spec("SAFE-3", "SAFE-6", "MODE-3")
def test_a_leverage_that_cannot_be_set_back_while_a_position_is_held_keeps_nobody_from_starting() -> None:
    trench = Trench(futures__leverage="3")
    stage = trench.stage
    stage.ask("/fapi/v1/leverage", "POST", symbol=SYMBOL, leverage="20")
    stage.wait(1_000)
    stage.kill()
    stage.start()
    stage.wait(20_000)
    assert stage.engine.links == {"market", "account"}
    assert stage.counts["alarm margin-differs"] == 2
    trench.beat.price = D(58_000)
    stage.wait(5_000)
    assert trench.last_exit() == "stop"
    stage.script.say(SYMBOL, 1.0)
    stage.wait(900_000)
    assert "leverage 20" in stage.engine.decisions[-1].detail


@pytest.mark.spec("SAFE-3", "SAFE-6", "MODE-3")
def test_a_contract_that_is_about_to_be_delivered_is_not_bought_and_keeps_nobody_from_starting() -> None:
    stage = Stage(stage_settings(["BTCUSDT", "ETHUSDT"], market__venue="futures", futures__leverage="1"))
    stage.price("BTCUSDT", D(60_000))
    stage.price("ETHUSDT", D(3_000))
    stage.start()
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.next_candle("BTCUSDT")
    stage.wait(5_000)
    assert "BTCUSDT" in stage.engine.portfolio.positions
    asked = stage.exchange.rest

    def rest(request: VenueRequest, now_ms: int) -> HttpResponse:
        answer = asked(request, now_ms)
        if "fapi/v1/exchangeInfo" not in request.target:
            return answer
        told = json.loads(answer.body)
        for contract in told["symbols"]:
            if contract["symbol"] == "ETHUSDT":
                contract["contractType"] = "PERPETUAL_DELIVERING"
        return replace(answer, body=json.dumps(told).encode())

    stage.exchange.rest = rest  # type: ignore[method-assign]
    stage.kill()
    stage.start()
    stage.wait(30_000)
    assert (stage.engine.links, stage.engine.books) == ({"market", "account"}, Books.AGREE)
    assert not stage.engine.instruments["ETHUSDT"].trading
    stage.script.say("ETHUSDT", 1.0)
    stage.next_candle("ETHUSDT")
    stage.wait(5_000)
    assert "ETHUSDT" not in stage.engine.portfolio.positions
    assert "BTCUSDT" in stage.engine.portfolio.positions


@pytest.mark.spec("SAFE-3", "SAFE-6")
@pytest.mark.parametrize("venue", ["spot", "futures"])
def test_a_symbol_that_the_venue_does_not_know_any_more_keeps_nobody_from_starting(venue: str) -> None:
    more = {"futures__leverage": "1"} if venue == "futures" else {}
    stage = holding(market__venue=venue, **more)
    asked = stage.exchange.rest

    def rest(request: VenueRequest, now_ms: int) -> HttpResponse:
        answer, path = asked(request, now_ms), request.target
        if "ETHUSDT" in path:
            return replace(answer, status=400, body=b'{"code":-1121,"msg":"Invalid symbol."}')
        if "exchangeInfo" in path:
            told = json.loads(answer.body)
            told["symbols"] = [each for each in told["symbols"] if each["symbol"] != "ETHUSDT"]
            return replace(answer, body=json.dumps(told).encode())
        if "symbolConfig" in path:
            configs = [each for each in json.loads(answer.body) if each["symbol"] != "ETHUSDT"]
            return replace(answer, body=json.dumps(configs).encode())
        return answer

    stage.exchange.rest = rest  # type: ignore[method-assign]
    stage.kill()
    stage.start()
    stage.wait(40_000)
    assert "account" in stage.engine.links
    assert stage.engine.books is Books.AGREE
    assert "venue" in losses(stage), "its candles are missing, and that is said"
    stage.price("BTCUSDT", D(58_000))
    stage.wait(5_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["stop"]
