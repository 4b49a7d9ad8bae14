"""What the guardian does at the venue, against the simulated exchange in memory: the trader is dead by then.

The trader of each story ran in virtual time; its journal is all that the guardian has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import pytest

from simex.venue import HttpRequest as VenueRequest
from surefoot import rescue
from surefoot.alerts import Level
from surefoot.assembly import build_books, dialect_of
from surefoot.binance.calls import http_request
from surefoot.binance.codec import VenueError
from surefoot.binance.dialect import Ask
from surefoot.core.engine import Engine
from surefoot.core.messages import VenueTraded
from surefoot.deeds import Pledges
from surefoot.rescue import Over, Rescue
from surefoot.store.records import decode
from surefoot.venuedesk import Fate, Reply, reply_of
from tests.stage import KEYS, Stage, instrument, stage_settings

SYMBOL = "BTCUSDT"
D = Decimal
WRITES = {"POST", "DELETE"}
NOWHERE = Path("no such folder") / "sent.json"  # what is kept there is kept in memory


class StageDesk:
    """Asks the exchange of a stage. `lose` is for the next writes to a path: `before` or `after` it was carried out."""

    def __init__(self, stage: Stage) -> None:
        self.dialect = dialect_of(stage.settings)
        self.recv_window_ms = stage.settings.orders.recv_window_ms
        self.asked: list[Ask] = []
        self.lose: dict[str, list[str]] = {}
        self._stage = stage

    def now_ms(self) -> int:
        return self._stage.now_ms

    async def ask(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        plan = self.lose.get(ask.path, []) if ask.method in WRITES else []
        fate = plan.pop(0) if plan else ""
        if fate == "before":
            return Reply(Fate.UNKNOWN, self.now_ms(), text="no answer")
        request = http_request(len(self.asked), ask, KEYS, self.recv_window_ms, self.now_ms())
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._stage.exchange.rest(VenueRequest(request.method, request.target, headers), self.now_ms())
        if fate == "after":
            return Reply(Fate.UNKNOWN, self.now_ms(), text="no answer")
        return reply_of(self.dialect, answer.status, answer.body, self.now_ms())

    @property
    def writes(self) -> list[str]:
        return [f"{ask.method} {ask.path}" for ask in self.asked if ask.method in WRITES]


class Scene:
    """A trader that died, and what the guardian said and kept."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.desk = StageDesk(stage)
        self.told: list[tuple[Level, str, str]] = []
        self.deeds: list[VenueTraded] = []
        self.pledges = Pledges(NOWHERE)

    def books(self) -> Engine:
        engine = build_books(self.stage.settings)
        for kind, body in self.stage.journal:
            engine.fold(decode(kind, body))
        return engine

    def rescue(self, is_still: Callable[[], bool] = lambda: True, books: Engine | None = None) -> Rescue:
        async def read_books() -> Engine:
            return books or self.books()

        return Rescue(
            self.desk, read_books, is_still, lambda *words: self.told.append(words), self.deeds.append, self.pledges
        )

    @property
    def titles(self) -> list[str]:
        return [title for _, title, _ in self.told]

    @property
    def sales(self) -> list[dict[str, object]]:
        """Orders of the guardian at the venue, oldest first."""
        path = "/fapi/v1/allOrders" if self.stage.settings.market.venue == "futures" else "/api/v3/allOrders"
        orders = self.stage.ask(path, symbol=SYMBOL, limit="1000")
        assert isinstance(orders, list)
        return [order for order in orders if str(order["clientOrderId"]).startswith("sfg-")]

    def open_orders(self) -> list[str]:
        orders = self.stage.ask("/api/v3/openOrders", symbol=SYMBOL)
        assert isinstance(orders, list)
        return [str(order["clientOrderId"]) for order in orders]


def scene(
    thin: str = "",
    balances: dict[str, Decimal] | None = None,
    target: float = 1.0,
    settings: Mapping[str, str] | None = None,
    rise: str = "",
) -> Scene:
    """A trader that has bought for a fifth of its money, or what the market offered, and died then, or after a rise."""
    specs = None if settings and "market__venue" in settings else [instrument(SYMBOL)]
    stage = Stage(stage_settings([SYMBOL], **(settings or {})), instruments=specs, balances=balances)
    stage.price(SYMBOL, D(30_000))
    stage.start()
    stage.wait(5_000)
    stage.script.say(SYMBOL, target)
    if thin:
        stage.next_candle(SYMBOL, D(thin))
        stage.wait(500)
    else:
        stage.next_candle(SYMBOL)
        stage.wait(5_000)
    if rise:
        stage.price(SYMBOL, D(rise))
        stage.wait(5_000)
    stage.kill()
    return Scene(stage)


def jump(scene: Scene, price: str, liquidity: str = "1000") -> None:
    """The market goes on, and no trader hears it."""
    scene.stage.now_ms += 1_000
    scene.stage.exchange.tick(SYMBOL, D(price), D(1), D(liquidity), scene.stage.now_ms)
    scene.stage.exchange.take_frames()


TRAILING = {"exits__trail_activate_pct": "1", "exits__trail_distance_pct": "1"}
MARKETS = {"spot": {}, "futures": {"market__venue": "futures", "futures__leverage": "2"}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "PAUSES_S", (0.0,))


@pytest.mark.spec("OPS-2", "SAFE-1")
async def test_what_is_held_is_sold_in_the_place_of_its_stop_in_one_request() -> None:
    here = scene(balances={"BTC": D("0.5")})
    assert len(here.open_orders()) == 2
    await here.rescue().flatten()
    assert here.desk.writes == ["POST /api/v3/order/cancelReplace"]
    assert D("0.5") <= here.stage.venue_balances()["BTC"] < D("0.50001")
    assert here.open_orders() == []
    assert sum(deed.fill.quantity for deed in here.deeds) == D(str(here.sales[0]["executedQty"]))


@pytest.mark.spec("OPS-2", "SAFE-1")
async def test_a_stop_that_the_owner_made_smaller_gives_way_to_the_sale_under_its_new_name() -> None:
    here = scene(balances={"BTC": D("0.5")})
    stage = here.stage
    stage.start()
    stage.wait(1_000)
    rows = stage.ask("/api/v3/openOrders")
    assert isinstance(rows, list)
    stop = next(row for row in rows if row["type"] == "STOP_LOSS")
    smaller = str(D(stop["origQty"]) - D("0.00001"))
    path = "/api/v3/order/amend/keepPriority"
    stage.ask(path, "PUT", symbol=SYMBOL, orderId=str(stop["orderId"]), newQty=smaller)
    stage.wait(1_000)
    stage.kill()
    assert stop["clientOrderId"] not in here.open_orders()
    await here.rescue().flatten()
    assert here.desk.writes == ["POST /api/v3/order/cancelReplace"]
    assert here.open_orders() == []
    assert D("0.5") <= stage.venue_balances()["BTC"] < D("0.50002")


@pytest.mark.spec("OPS-2")
async def test_an_entry_that_the_owner_made_smaller_is_cancelled_under_its_new_name() -> None:
    here = scene(thin="0")
    stage = here.stage
    stage.start()
    stage.wait(1_000)
    rows = stage.ask("/api/v3/openOrders")
    assert isinstance(rows, list)
    entry = next(row for row in rows if row["side"] == "BUY")
    smaller = str(D(entry["origQty"]) - D("0.00001"))
    path = "/api/v3/order/amend/keepPriority"
    stage.ask(path, "PUT", symbol=SYMBOL, orderId=str(entry["orderId"]), newQty=smaller)
    stage.wait(1_000)
    stage.kill()
    await here.rescue().cancel_entries()
    assert here.open_orders() == []


@pytest.mark.spec("OPS-2", "SAFE-1")
@pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])
async def test_futures_are_reduced_first_and_their_stops_cancelled_then(target: float) -> None:
    here = scene(target=target, settings=MARKETS["futures"])
    held = here.books().portfolio.positions[SYMBOL]
    await here.rescue().flatten()
    assert here.desk.writes == ["POST /fapi/v1/order", *2 * ["DELETE /fapi/v1/algoOrder"]]
    (sale,) = here.sales
    assert (sale["side"], sale["reduceOnly"]) == ("SELL" if target > 0 else "BUY", True)
    assert D(str(sale["executedQty"])) == held.quantity
    assert here.stage.ask("/fapi/v3/positionRisk") == []
    assert here.stage.ask("/fapi/v1/openAlgoOrders") == []


@pytest.mark.spec("OPS-2", "SAFE-1")
@pytest.mark.parametrize("venue", ["spot", "futures"])
async def test_a_guardian_that_died_in_the_middle_goes_on_where_it_was(venue: str) -> None:
    here = scene(settings=MARKETS[venue])
    await here.rescue().flatten()
    sold = list(here.deeds)
    assert len(sold) >= 1
    await here.rescue().flatten()  # a second life: it knows the journal only
    assert len(here.sales) == 1
    assert here.deeds == sold * 2, "it finds what the first one did"


@pytest.mark.spec("OPS-2", "SAFE-1", "ORD-5")
@pytest.mark.parametrize("venue", ["spot", "futures"])
async def test_a_sale_whose_answer_is_lost_is_found_by_asking(venue: str) -> None:
    here = scene(settings=MARKETS[venue])
    path = "/fapi/v1/order" if venue == "futures" else "/api/v3/order/cancelReplace"
    here.desk.lose[path] = ["after"]
    await here.rescue().flatten()
    assert len(here.sales) == 1
    assert here.desk.writes.count(f"POST {path}") == 1
    assert here.deeds


@pytest.mark.spec("OPS-2", "SAFE-1", "ORD-5")
@pytest.mark.parametrize("dies", [False, True], ids=["it lives on", "it dies and is started again"])
async def test_a_sale_that_may_still_arrive_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dies: bool
) -> None:
    clock_ms = [1_000_000]
    for clock in ("_now_ms", "_passed_ms"):
        monkeypatch.setattr(f"surefoot.deeds.{clock}", lambda: clock_ms[0])
    here = scene()
    here.pledges = Pledges(tmp_path / "sent.json")
    here.desk.lose["/api/v3/order/cancelReplace"] = ["before"]
    waits = 0

    def is_still() -> bool:
        nonlocal waits
        waits += "The guardian tries again" in here.titles
        if waits == 1 and dies:
            raise RuntimeError("dead")
        if waits == 5:
            assert len(here.desk.writes) == 1
            clock_ms[0] += 5_000 + 10_000 + 5_000
        return True

    if dies:
        with pytest.raises(RuntimeError):
            await here.rescue(is_still).flatten()
        here.pledges = Pledges(tmp_path / "sent.json")
    await here.rescue(is_still).flatten()
    assert here.desk.writes == ["POST /api/v3/order/cancelReplace"] * 2
    assert len(here.sales) == 1
    assert any("may still arrive" in text for _, _, text in here.told)


@pytest.mark.spec("OPS-2", "SAFE-1")
def test_a_step_of_the_machines_clock_ends_no_pledge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pledges = Pledges(tmp_path / "sent.json")
    pledges.make("sfg-1", 20_000)
    stepped_ns = time.time_ns() + 3_600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: stepped_ns)
    assert pledges.left_ms("sfg-1") > 0
    pledges.release("sfg-1")
    assert pledges.left_ms("sfg-1") == 0


@pytest.mark.spec("OPS-2", "SAFE-1")
async def test_a_sale_that_was_taken_and_is_not_found_at_once_is_not_sent_again() -> None:
    here = scene()
    asked = here.desk.ask
    hidden = 3

    async def slow(ask: Ask) -> Reply:
        nonlocal hidden
        name = dict(ask.params).get("origClientOrderId", "")
        if name.startswith("sfg-") and here.desk.writes and hidden:
            hidden -= 1
            return Reply(Fate.REFUSED, here.desk.now_ms(), error=VenueError(-2013, "Order does not exist."))
        return await asked(ask)

    here.desk.ask = slow  # type: ignore[method-assign]
    await here.rescue().flatten()
    assert hidden == 0
    assert here.desk.writes == ["POST /api/v3/order/cancelReplace"]
    assert len(here.sales) == 1


@pytest.mark.spec("OPS-2")
async def test_what_its_stop_sold_unheard_is_not_sold_again_from_coins_of_others() -> None:
    here = scene(balances={"BTC": D("0.5")})
    jump(here, "28000")
    await here.rescue().flatten()
    assert here.desk.writes == []
    assert here.sales == []
    assert here.stage.venue_balances()["BTC"] >= D("0.5")
    assert here.told[-1][1:] == ("The guardian is done with a symbol", "BTCUSDT: the bot holds nothing of it")


@pytest.mark.spec("OPS-2")
async def test_what_an_entry_bought_unheard_is_sold_too() -> None:
    here = scene(thin="0.01")
    before = here.books().portfolio.positions[SYMBOL].quantity
    jump(here, "29990", "0.02")
    jump(here, "29995")
    await here.rescue().flatten()
    assert here.stage.venue_balances().get("BTC", D(0)) < D("0.00001")
    assert sum(deed.fill.quantity for deed in here.deeds) > before
    assert here.open_orders() == []


@pytest.mark.spec("OPS-2")
async def test_no_more_is_sold_than_the_account_has() -> None:
    here = scene()
    books, owned = here.books(), here.stage.venue_balances()["BTC"]
    books.portfolio.positions[SYMBOL].quantity *= 2  # as if half of it had been taken away since
    await here.rescue(books=books).flatten()
    assert [D(str(sale["executedQty"])) for sale in here.sales] == [owned.quantize(D("0.00001"), ROUND_DOWN)]
    assert "The account has less than the journal says" in here.titles


@pytest.mark.spec("OPS-2", "SAFE-1")
async def test_what_a_thin_market_does_not_take_of_a_sale_is_sold_again_and_each_bit_is_kept_once() -> None:
    here = scene()
    jump(here, "30000", "0.02")

    def is_still() -> bool:
        if "The guardian has sold" in here.titles:
            jump(here, "30000", "0.02")
        return True

    await here.rescue(is_still).flatten()
    bits = [D("0.02"), D("0.02"), D("0.02"), D("0.00653")]
    assert [D(str(sale["executedQty"])) for sale in here.sales] == bits
    assert [deed.fill.quantity for deed in here.deeds] == bits
    assert here.stage.venue_balances().get("BTC", D(0)) < D("0.00001")


@pytest.mark.spec("OPS-2", "SAFE-1")
async def test_more_than_the_venue_takes_at_a_time_is_sold_in_parts_with_names_of_their_own() -> None:
    here = scene()
    books = here.books()
    books.instruments[SYMBOL] = replace(books.instruments[SYMBOL], market_quantity_max=D("0.03"))
    await here.rescue(books=books).flatten()
    assert [(str(sale["clientOrderId"])[-2:], D(str(sale["executedQty"]))) for sale in here.sales] == [
        ("-1", D("0.03")), ("-2", D("0.03")), ("-3", D("0.00653")),
    ]  # fmt: skip
    assert here.stage.venue_balances().get("BTC", D(0)) < D("0.00001")


@pytest.mark.spec("OPS-2", "SAFE-2")
async def test_of_spot_an_entry_that_filled_in_part_is_left_since_its_stop_would_go_with_it() -> None:
    here = scene(thin="0.01")
    resting = here.open_orders()
    await here.rescue().cancel_entries()
    assert here.desk.writes == []
    assert here.open_orders() == resting
    assert here.titles == ["An entry was left"]


@pytest.mark.spec("OPS-2")
async def test_what_a_trader_that_lives_ordered_meanwhile_is_known_at_the_next_try() -> None:
    here = scene(settings=TRAILING, rise="31000")
    whole = list(here.stage.journal)
    moved = next(at for at, (kind, _) in enumerate(whole) if kind == "ReplaceOrder")
    del here.stage.journal[moved:]  # what the guardian reads first ends before the stop was moved that holds the coins

    def is_still() -> bool:
        if "The guardian tries again" in here.titles:
            here.stage.journal[:] = whole
        return True

    await here.rescue(is_still).flatten()
    assert here.desk.writes == ["POST /api/v3/order", "POST /api/v3/order/cancelReplace"]
    assert here.titles.count("A POSITION HAS NO STOP") == 1
    assert here.stage.venue_balances().get("BTC", D(0)) < D("0.00001")
    assert here.open_orders() == []


@pytest.mark.spec("OPS-2")
async def test_nothing_is_written_once_the_trader_works_again() -> None:
    here = scene()
    with pytest.raises(Over):
        await here.rescue(lambda: False).flatten()
    assert here.desk.writes == []
    assert len(here.open_orders()) == 2
