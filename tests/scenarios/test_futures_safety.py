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
from tests.stage import KEYS, PLENTY, START_MS, Planned, Stage, stage_settings

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

    def skip_to(self, at_ms: int) -> None:
        """Nothing is printed until then."""
        self._due_ms = at_ms


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


class Cutting:
    """While it lasts, nothing of the account is heard: its connection is gone, and there is no key for another. Told to
    be `unnoticed`, the connection stands, and nothing comes on it."""

    def __init__(self, planned: Planned) -> None:
        self.lasts = self.unnoticed = False
        self._planned = planned

    def request(self, request: HttpRequest | SocketRequest, at_ms: int) -> Fate:
        is_key = isinstance(request, HttpRequest) and "listenKey" in request.target
        return Fate(arrives=False, instead=503) if self.lasts and is_key else self._planned.request(request, at_ms)

    def frame(self, link: str, text: str, at_ms: int) -> tuple[int, ...]:
        return () if self.unnoticed and link == "account" else self._planned.frame(link, text, at_ms)


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

    def live_without_the_bot(self, share_pct: str) -> None:
        """The exchange goes on alone: the market jumps against the position and comes back."""
        before = self.beat.price
        for price in (before * (100 - self.way * D(share_pct)) / 100, before):
            self.beat.price = price.quantize(D("0.1"))
            self.go_on_alone(1)

    def go_on_alone(self, seconds: int) -> None:
        """The exchange goes on, and nobody listens."""
        stage = self.stage
        for _ in range(seconds):
            stage.now_ms += SECOND_MS
            self.beat.advance(stage.exchange)
            stage.exchange.take_frames()
        stage.driver.now_ms = stage.now_ms

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


# ---------------------------------------------------------------------------------------------------------------
# Liquidated while nobody listened


def gap(trench: Trench, share_pct: str) -> None:
    """The market jumps against the position, over stop and liquidation at once, and comes back a little later."""
    before = trench.beat.price
    trench.beat.price = (before * (100 - trench.way * D(share_pct)) / 100).quantize(D("0.1"))
    trench.stage.wait(2_000)
    trench.beat.price = before


def check_that_the_liquidation_is_booked(trench: Trench) -> None:
    """Once, with fee and profit as the venue told them; ledger and wallet agree, and entries are on again."""
    stage = trench.stage
    assert len(trench.liquidations) == 1  # type: ignore[arg-type]
    assert SYMBOL not in stage.engine.portfolio.positions
    assert trench.last_exit() == "liquidation"
    assert stage.counts["alarm venue-traded"] == 1
    assert stage.counts["alarm books-differ"] == 0
    trench.check_books()
    (trip,) = stage.engine.portfolio.round_trips
    rows = stage.ask("/fapi/v1/income", limit="1000")
    assert isinstance(rows, list)
    assert trip.pnl == sum(D(row["income"]) for row in rows if row["incomeType"] != "TRANSFER")
    assert stage.engine.entries_off() is None
    assert not [order for order in stage.engine.orders.open_orders() if not order.finished]
    assert stage.ask("/fapi/v1/openAlgoOrders") == []
    booked = stage.counts["VenueTraded"]
    stage.wait(700_000)
    assert stage.counts["VenueTraded"] == booked, "what is booked is not asked for again"


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4")
@pytest.mark.parametrize("margin_type", ["ISOLATED", "CROSSED"])
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_a_liquidation_while_the_account_stream_is_down_is_booked_when_it_is_back(
    target: float, margin_type: str
) -> None:
    trench = Trench(target, breaker__refusals_max="5", futures__margin_type=margin_type)
    stage = trench.stage
    if margin_type == "CROSSED":
        withdraw_what_stands_behind(trench)
    cutting = stage.driver.fates = Cutting(stage.planned)
    cutting.lasts = True
    stage.driver.cut("account", "the connection broke")
    stage.wait(3_000)
    gap(trench, "12")
    assert SYMBOL in stage.engine.portfolio.positions, "nothing was heard"
    stage.wait(3_000)
    cutting.lasts = False
    stage.wait(40_000)
    check_that_the_liquidation_is_booked(trench)


@pytest.mark.spec("EXIT-1", "ORD-9", "SAFE-4")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_that_the_venue_refuses_to_close_what_is_gone_makes_the_books_be_looked_at(target: float) -> None:
    """Nothing says that the stream is dead; the next comparison by the clock is five minutes away."""
    trench = Trench(target)
    stage = trench.stage
    cutting = stage.driver.fates = Cutting(stage.planned)
    cutting.unnoticed = True
    gap(trench, "12")
    stage.wait(15_000)
    check_that_the_liquidation_is_booked(trench)


# ---------------------------------------------------------------------------------------------------------------
# Auto-deleveraged


def deleverage(trench: Trench, share: str, price: str = "60600") -> Decimal:
    """So much of what is held now; how much that was."""
    futures = trench.stage.exchange.futures
    assert futures is not None
    quantity = (trench.stage.engine.portfolio.positions[SYMBOL].quantity * D(share)).quantize(D("0.001"))
    futures.deleverage(KEYS.api_key, SYMBOL, quantity, D(price), trench.stage.now_ms)
    trench.stage.driver.take_frames()
    return quantity


def check_deleveraging(trench: Trench, left: Decimal) -> None:
    """It was booked and said once, without a difference, and so much is still held."""
    counts, positions = trench.stage.counts, trench.stage.engine.portfolio.positions
    assert (counts["alarm venue-traded"], counts["alarm books-differ"]) == (1, 0)
    if left:
        assert positions[SYMBOL].quantity == left
        trench.check_books()
    else:
        check_trip(trench, "auto-deleveraging")


def check_trip(trench: Trench, reason: str) -> None:
    """One round trip, with what the venue says that it brought."""
    stage = trench.stage
    trench.check_books()
    (trip,) = stage.engine.portfolio.round_trips
    rows = stage.ask("/fapi/v1/income", limit="1000")
    assert isinstance(rows, list)
    assert (trip.reason, trip.pnl) == (reason, sum(D(row["income"]) for row in rows if row["incomeType"] != "TRANSFER"))
    assert stage.ask("/fapi/v1/openAlgoOrders") == []
    assert not [order for order in stage.engine.orders.open_orders() if not order.finished]


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-3")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_what_is_left_of_a_deleveraged_position_stays_protected_and_its_stop_closes_no_more(target: float) -> None:
    trench = Trench(target)
    stage = trench.stage
    before = stage.engine.portfolio.positions[SYMBOL].quantity
    gone = deleverage(trench, "0.4")
    stage.wait(5_000)
    position = stage.engine.portfolio.positions[SYMBOL]
    assert (position.quantity, stage.counts["alarm venue-traded"]) == (before - gone, 1)
    assert stage.engine.unprotected_since == {}
    trench.check_books()
    gap(trench, "2.5")
    stage.wait(5_000)
    assert trench.last_exit() == "stop"
    check_trip(trench, "stop")


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_a_wholly_deleveraged_position_is_a_round_trip_and_its_stop_and_target_are_cancelled(target: float) -> None:
    trench = Trench(target)
    deleverage(trench, "0.5", "60300")
    trench.stage.wait(1_000)
    deleverage(trench, "1")
    trench.stage.wait(5_000)
    check_trip(trench, "auto-deleveraging")


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4")
@pytest.mark.parametrize("share", ["0.4", "1"], ids=["part", "all"])
@pytest.mark.parametrize("deaf", ["down", "unnoticed"])
def test_deleveraging_that_nobody_heard_is_booked_when_it_is_read(deaf: str, share: str) -> None:
    trench = Trench()
    stage = trench.stage
    before = stage.engine.portfolio.positions[SYMBOL].quantity
    cutting = stage.driver.fates = Cutting(stage.planned)
    cutting.lasts, cutting.unnoticed = deaf == "down", deaf == "unnoticed"
    if deaf == "down":
        stage.driver.cut("account", "the connection broke")
    stage.wait(3_000)
    gone = deleverage(trench, share)
    stage.wait(20_000)
    assert stage.counts["VenueTraded"] == (deaf == "down"), "without a stream the account is read"
    cutting.lasts = False
    stage.wait(310_000)
    check_deleveraging(trench, before - gone)


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4")
@pytest.mark.parametrize("share", ["0.4", "1"], ids=["part", "all"])
def test_deleveraging_while_the_process_was_down_is_booked_after_the_restart(share: str) -> None:
    trench = Trench(-1.0)
    stage = trench.stage
    before = stage.engine.portfolio.positions[SYMBOL].quantity
    stage.kill()
    gone = deleverage(trench, share, "59000")
    stage.exchange.take_frames()
    stage.start()
    stage.wait(40_000)
    check_deleveraging(trench, before - gone)


def withdraw_what_stands_behind(trench: Trench) -> None:
    futures = trench.stage.exchange.futures
    assert futures is not None
    spare = trench.stage.engine.portfolio.wallet("USDT") - 150
    futures.transfer(KEYS.api_key, "USDT", -spare.quantize(D(1)), trench.stage.now_ms)
    trench.stage.wait(10_000)


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4", "SAFE-6")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_a_liquidation_while_the_process_was_down_is_booked_after_the_restart(target: float) -> None:
    trench = Trench(target)
    stage = trench.stage
    stage.kill()
    trench.live_without_the_bot("12")
    assert SYMBOL in stage.engine.portfolio.positions, "the journal knows nothing of it"
    stage.start()
    stage.wait(40_000)
    check_that_the_liquidation_is_booked(trench)


@pytest.mark.spec("PNL-2", "SAFE-4", "SAFE-6")
def test_the_first_funding_is_booked_after_the_restart_however_long_the_process_was_down() -> None:
    trench = Trench()
    stage, futures = trench.stage, trench.stage.exchange.futures
    assert futures is not None
    stage.kill()
    paid_ms = stage.now_ms - stage.now_ms % (8 * 3_600_000) + 8 * 3_600_000
    trench.go_on_alone((paid_ms - stage.now_ms) // SECOND_MS + 1_800)  # half an hour past the payment
    income = stage.ask("/fapi/v1/income", incomeType="FUNDING_FEE")
    assert isinstance(income, list)
    assert [row["time"] for row in income] == [paid_ms]
    stage.start()
    stage.wait(40_000)
    assert stage.counts["alarm books-differ"] == 0
    assert stage.engine.portfolio.positions[SYMBOL].funding == D(income[0]["income"])
    trench.check_books()


# ---------------------------------------------------------------------------------------------------------------
# What the owner changes at the venue


def flat_stage(tape: Beat, **settings: str) -> Stage:
    plain = {"market__venue": "futures", "risk__price_age_max_ms": "5000", "exits__stop_pct_of_price": "8"}
    plain |= {"exits__target_pct_of_price": "16"}
    stage = Stage(stage_settings([SYMBOL], **plain | settings), tape=tape, supervised=True, others=["ETHUSDT"])
    stage.start()
    stage.wait(5_000)
    return stage


@pytest.mark.spec("EXIT-1", "MODE-3")
def test_nothing_is_bought_while_the_venue_has_another_leverage_than_was_set() -> None:
    stage = flat_stage(Beat(), futures__leverage="2", futures__margin_type="ISOLATED")
    stage.ask("/fapi/v1/leverage", "POST", symbol=SYMBOL, leverage="20")
    stage.wait(2_000)
    assert stage.counts["alarm margin-differs"] == 1
    stage.script.say(SYMBOL, 1.0)
    stage.wait(900_000)
    assert stage.engine.decisions[-1].outcome == "entries-off"
    assert "ISOLATED with leverage 20" in stage.engine.decisions[-1].detail
    stage.ask("/fapi/v1/leverage", "POST", symbol=SYMBOL, leverage="2")
    stage.wait(2_000)
    stage.script.say(SYMBOL, 1.0)
    stage.wait(900_000)
    assert SYMBOL in stage.engine.portfolio.positions
    assert stage.counts["alarm margin-differs"] == 1


@pytest.mark.spec("EXIT-1", "MODE-3", "NET-5")
def test_a_leverage_that_was_changed_while_nobody_listened_is_found_when_the_stream_is_back() -> None:
    stage = flat_stage(Beat(), futures__leverage="2", futures__margin_type="ISOLATED")
    cutting = stage.driver.fates = Cutting(stage.planned)
    cutting.lasts = True
    stage.driver.cut("account", "the connection broke")
    stage.ask("/fapi/v1/leverage", "POST", symbol=SYMBOL, leverage="20")
    stage.wait(3_000)
    cutting.lasts = False
    stage.wait(40_000)
    assert stage.counts["alarm margin-differs"] == 1


@pytest.mark.spec("EXIT-1", "PNL-2")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
def test_where_the_venue_would_liquidate_sooner_than_we_reckon_its_word_counts(target: float) -> None:
    """The owner took margin off an isolated position, which leverage and entry do not tell."""
    trench = Trench(target, futures__leverage="2", exits__stop_pct_of_price="8", exits__target_pct_of_price="16")
    stage = trench.stage
    reckoned = stage.engine.liquidation_price(SYMBOL, stage.now_ms)
    stage.ask("/fapi/v1/leverage", "POST", symbol=SYMBOL, leverage="20")
    stage.ask("/fapi/v1/positionMargin", "POST", symbol=SYMBOL, amount="880", type="2")
    stage.wait(2_000)
    rows = stage.ask("/fapi/v3/positionRisk")
    assert isinstance(rows, list)
    assert stage.engine.liquidation_price(SYMBOL, stage.now_ms) == D(rows[0]["liquidationPrice"]) != reckoned
    assert stage.counts["alarm liquidation-differs"] == 1
    trench.slide("6", 60)
    stage.wait(5_000)
    assert (trench.last_exit(), trench.liquidations) == ("liquidation", [])


class TwoBeats(Beat):
    """Beside it another contract has its prices."""

    def __init__(self) -> None:
        super().__init__()
        self.eth = D(3_000)

    def advance(self, exchange: PrintTaker, before_ms: int = 0, ranges: Ranges | None = None) -> None:
        exchange.tick("ETHUSDT", self.eth, D(1), PLENTY, self._due_ms)
        super().advance(exchange, before_ms, ranges)


@pytest.mark.spec("EXIT-1", "SAFE-3")
def test_a_position_is_left_before_one_of_the_owner_on_the_same_wallet_takes_it_along() -> None:
    tape = TwoBeats()
    stage = flat_stage(tape, futures__leverage="3", futures__margin_type="CROSSED")
    stage.script.say(SYMBOL, 1.0)
    stage.wait(900_000)
    assert SYMBOL in stage.engine.portfolio.positions
    stage.ask("/fapi/v1/leverage", "POST", symbol="ETHUSDT", leverage="20")
    stage.ask("/fapi/v1/order", "POST", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="40")
    stage.wait(5_000)
    assert SYMBOL in stage.engine.portfolio.positions
    while tape.eth > 2_750:
        tape.eth -= D(3)
        stage.wait(1_000)
    assert [row["symbol"] for row in stage.ask("/fapi/v1/forceOrders")] == ["ETHUSDT"]  # type: ignore[attr-defined]
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["liquidation"]
    assert stage.counts["alarm liquidation-near"] == 1
