"""Futures under the mark price, which goes its own way here: the venue liquidates by it, whatever was last traded.

A long position of 20 % of 10000 at leverage 20, isolated: its margin is a twentieth, gone some 4.6 % below. The stop of
2 % waits for traded prices and never sees one.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from simex.exchange import Exchange
from simex.market import PrintTaker, Ranges
from surefoot.binance.dialogue import HttpRequest, SocketRequest
from surefoot.core.facts import Books
from surefoot.research.exact import Fate
from tests.stage import PLENTY, START_MS, Planned, Stage, stage_settings

SYMBOL = "BTCUSDT"
SECOND_MS = 1_000
D = Decimal


class Beat:
    """A market that prints its price every second; the mark price lies as far from it as it is told."""

    end_ms: int | None = None

    def __init__(self) -> None:
        self.price, self.basis = D(60_000), D(0)
        self._due_ms = START_MS

    def next_ms(self) -> int | None:
        return self._due_ms

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        assert isinstance(exchange, Exchange)
        assert exchange.futures is not None
        exchange.tick(SYMBOL, self.price, D(1), PLENTY, self._due_ms)
        exchange.futures.set_basis(SYMBOL, self.basis, self._due_ms)
        exchange.wake(self._due_ms)
        self._due_ms += SECOND_MS


class Deaf:
    """Mark prices do not arrive by their stream, with `reads` not by questions either; all else as it was planned."""

    def __init__(self, planned: Planned, *, reads: bool = False) -> None:
        self.lost = 0
        self._planned, self._reads = planned, reads

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        if self._reads and isinstance(request, HttpRequest) and "premiumIndex" in request.target:
            self.lost += 1
            return Fate(instead=0)
        return self._planned.request(request, at_ms)

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        if "markPriceUpdate" in text:
            self.lost += 1
            return ()
        return self._planned.frame(link, text, at_ms)


class Trench:
    """A bot on futures that holds a position, and the market it is in."""

    def __init__(self, target: float = 1.0, *, supervised: bool = True, **settings: str) -> None:
        self.beat, self.way = Beat(), int(target)
        plain = {
            "market__venue": "futures", "futures__leverage": "20", "futures__margin_type": "ISOLATED",
            "risk__price_age_max_ms": "5000",
        }  # fmt: skip
        self.stage = Stage(stage_settings([SYMBOL], **plain | settings), tape=self.beat, supervised=supervised)
        self.stage.start()
        self.stage.wait(5_000)
        self.stage.script.say(SYMBOL, target)
        self.stage.wait(900_000)
        assert SYMBOL in self.stage.engine.portfolio.positions, "the story begins with a position"
        assert self.stage.engine.unprotected_since == {}

    def slide(self, share_pct: str, over_s: int) -> None:
        """The mark price leaves the last price behind, against the position, evenly."""
        goal = -self.way * self.beat.price * D(share_pct) / 100
        start = self.beat.basis
        for second in range(1, over_s + 1):
            self.beat.basis = (start + (goal - start) * second / over_s).quantize(D("0.1"))
            self.stage.wait(SECOND_MS)

    @property
    def liquidations(self) -> object:
        return self.stage.ask("/fapi/v1/forceOrders")

    def last_exit(self) -> str:
        return self.stage.engine.portfolio.round_trips[-1].reason

    def check_books(self) -> None:
        """The ledger has what the venue's wallet has, to the last digit."""
        futures = self.stage.exchange.futures
        assert futures is not None
        futures.check_books()
        assert self.stage.engine.books is Books.AGREE, self.stage.engine.differences
        account = self.stage.ask("/fapi/v3/account")
        assert isinstance(account, dict)
        wallets = {row["asset"]: D(row["walletBalance"]) for row in account["assets"]}
        assert self.stage.engine.portfolio.wallet("USDT") == wallets["USDT"]


@pytest.mark.spec("EXIT-1", "SAFE-3")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_when_only_the_mark_price_nears_the_liquidation_the_position_is_left_before(target: float) -> None:
    trench = Trench(target)
    trench.slide("4.2", 60)
    trench.stage.wait(5_000)
    assert SYMBOL not in trench.stage.engine.portfolio.positions
    assert trench.last_exit() == "liquidation"
    assert trench.stage.counts["alarm liquidation-near"] == 1
    assert trench.liquidations == []
    trip = trench.stage.engine.portfolio.round_trips[-1]
    assert abs(trip.exit_price / 60_000 - 1) < D("0.001"), "left where trades are, not where the mark price is"
    trench.check_books()


@pytest.mark.spec("EXIT-1")
def test_whoever_looks_at_last_prices_only_is_liquidated_in_the_same_market() -> None:
    """The story above needs the mark price: without it the venue is first."""
    trench = Trench(supervised=False)
    trench.slide("6", 60)
    trench.stage.wait(5_000)
    assert len(trench.liquidations) == 1  # type: ignore[arg-type]
    assert trench.last_exit() == "liquidation"
    assert trench.stage.counts["VenueTraded"] == 1


@pytest.mark.spec("EXIT-1", "DATA-3", "NET-4")
def test_a_silent_stream_of_mark_prices_is_noticed_and_they_are_read_from_elsewhere() -> None:
    trench = Trench()
    deaf = Deaf(trench.stage.planned)
    trench.stage.driver.fates = deaf
    trench.slide("2", 60)
    trench.stage.wait(5_000)
    assert deaf.lost > 50
    assert trench.stage.counts["alarm stream-silent"] == 1
    assert trench.stage.engine.mark_price(SYMBOL, trench.stage.now_ms) == 60_000 - D(60_000) * 2 / 100
    trench.slide("4.2", 60)
    trench.stage.wait(5_000)
    assert (trench.last_exit(), trench.liquidations) == ("liquidation", [])


@pytest.mark.spec("EXIT-1", "DATA-3")
def test_where_no_mark_price_comes_by_any_way_that_is_said_and_the_last_price_decides() -> None:
    trench = Trench()
    trench.stage.wait(2_000)
    assert trench.stage.engine.mark_price(SYMBOL, trench.stage.now_ms) == 60_000
    trench.stage.driver.fates = Deaf(trench.stage.planned, reads=True)
    trench.stage.wait(10_000)
    assert trench.stage.engine.mark_price(SYMBOL, trench.stage.now_ms) is None
    assert trench.stage.counts["alarm mark-price-missing"] == 1
    assert SYMBOL in trench.stage.engine.portfolio.positions
