"""The market streams' host is down and REST works: the prices of what is held are read, and exits go by them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.research.exact import FINE, ON_TIME, Fate
from tests.scenarios.test_futures_safety import SYMBOL, Trench
from tests.stage import Stage, stage_settings

D = Decimal


class Blind:
    """Nothing comes on the connections for market data, nor any answer; `reads` counts what is read instead."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        if isinstance(request, HttpRequest):
            self.reads[request.target.partition("?")[0]] += 1
        return FINE

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        return ON_TIME if link == "account" else ()


def lose_market_links(stage: Stage) -> Blind:
    """Their host is gone for good."""
    blind = stage.driver.fates = Blind()
    for link in [link for link in stage.driver.session.lines if link in ("market", "book")]:
        stage.driver.cut(link, "host down")
    return blind


@pytest.mark.spec("DATA-3", "EXIT-1", "NET-4")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_a_position_is_left_before_its_liquidation_by_prices_that_are_read(target: float) -> None:
    trench = Trench(target)
    stage = trench.stage
    lose_market_links(stage)
    stage.wait(10_000)
    trench.slide("4.2", 60)
    stage.wait(5_000)
    assert (trench.last_exit(), trench.liquidations) == ("liquidation", [])
    assert stage.counts["alarm liquidation-near"] == 1
    assert stage.counts["alarm mark-price-missing"] == 0
    assert stage.engine.links == {"account"}
    trench.check_books()


@pytest.mark.spec("DATA-3", "EXIT-7")
def test_a_time_exit_on_spot_comes_by_prices_that_are_read() -> None:
    stage = Stage(stage_settings([SYMBOL], exits__hold_max_s="60"), supervised=True)
    stage.start_holding(SYMBOL, D(60_000))
    blind = lose_market_links(stage)
    stage.wait(65_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["time"]
    reads = blind.reads["/api/v3/ticker/bookTicker"]
    assert reads >= 20
    stage.wait(60_000)
    assert blind.reads["/api/v3/ticker/bookTicker"] <= reads + 1, "where nothing is held nothing is read"
    stage.check_books()
