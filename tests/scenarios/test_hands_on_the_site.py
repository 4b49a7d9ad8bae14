"""What the owner of the account does on the venue's site, past the bot: its orders are not where it left them."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import pytest

from surefoot.core.adopt import adoption, said
from surefoot.core.facts import Books
from surefoot.core.messages import BreakerResetRequested, KillRequested
from surefoot.core.model import MS_PER_DAY, Adoption, Purpose
from tests.scenarios.test_futures_safety import SYMBOL, Trench
from tests.stage import KEYS, Stage, stage_settings

D = Decimal
ORDERS, AMEND = "/api/v3/openOrders", "/api/v3/order/amend/keepPriority"


def holding(balances: dict[str, Decimal] | None = None) -> Stage:
    """A spot bot that holds a position of 2000 USDT, bought at 60000, with its stop and target at rest."""
    stage = Stage(stage_settings([SYMBOL]), balances=balances)
    stage.start_holding(SYMBOL, D(60_000))
    assert len(resting(stage)) == 2
    return stage


def resting(stage: Stage) -> dict[str, Decimal]:
    """Open orders of the account: quantity by name."""
    rows = stage.ask(ORDERS)
    assert isinstance(rows, list)
    return {row["clientOrderId"]: D(row["origQty"]) for row in rows}


def halve_the_stop(stage: Stage) -> None:
    rows = stage.ask(ORDERS)
    assert isinstance(rows, list)
    stop = next(row for row in rows if row["type"] == "STOP_LOSS")
    half = str(D(stop["origQty"]) / 2)
    stage.ask(AMEND, "PUT", symbol=SYMBOL, orderId=str(stop["orderId"]), newQty=half)


def covered_by_stops(stage: Stage) -> bool:
    """Whether the venue would close all of the position, by what the engine holds for its stops."""
    venue, position = resting(stage), stage.engine.portfolio.positions[SYMBOL]
    stops = [o for o in stage.engine.orders.open_orders(SYMBOL) if o.request.purpose is Purpose.STOP]
    whole = stage.engine.instruments[SYMBOL].lots_down(position.quantity)
    return [venue.get(order.name) for order in stops] == [whole]


@pytest.mark.spec("SAFE-2", "ORD-9")
@pytest.mark.parametrize("heard", [True, False], ids=["told", "while dead"])
def test_a_stop_that_the_owner_made_smaller_gets_its_whole_quantity_back(heard: bool) -> None:
    stage = holding()
    if not heard:
        stage.kill()
    halve_the_stop(stage)
    stage.exchange.take_frames() if not heard else stage.driver.take_frames()
    if not heard:
        stage.start()
    stage.wait(5_000)
    assert covered_by_stops(stage), (resting(stage), list(stage.engine.orders.open_orders(SYMBOL)))
    assert stage.engine.unprotected_since == {}
    assert stage.counts["alarm order-amended"] >= 1
    stage.price(SYMBOL, D(58_000))
    stage.wait(5_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["stop"]
    stage.wait(5_000)
    assert stage.engine.books is Books.AGREE
    stage.check_books()


@pytest.mark.spec("SAFE-2", "ORD-9")
def test_a_fill_of_a_stop_under_its_new_name_is_ours() -> None:
    stage = holding()
    halve_the_stop(stage)
    stage.price(SYMBOL, D(58_000))  # before anything can be mended
    stage.wait(15_000)
    assert SYMBOL not in stage.engine.portfolio.positions
    assert stage.engine.books is Books.AGREE
    stage.check_books()


def sell_on_the_site(stage: Stage, quantity: Decimal) -> None:
    text = str(quantity.quantize(D("0.00001"), rounding=ROUND_FLOOR))
    stage.ask("/api/v3/order", "POST", symbol=SYMBOL, side="SELL", type="MARKET", quantity=text)


@pytest.mark.spec("ORD-5", "SAFE-2")
@pytest.mark.parametrize("heard", [True, False], ids=["told", "while dead"])
def test_coins_that_the_owner_sold_by_hand_are_not_made_good_with_his_own(heard: bool) -> None:
    stage = holding({"BTC": D(1)})
    quantity = stage.engine.portfolio.positions[SYMBOL].quantity
    if not heard:
        stage.kill()
    stage.ask(ORDERS, "DELETE", symbol=SYMBOL)
    sell_on_the_site(stage, quantity)
    if heard:
        stage.driver.take_frames()
    else:
        stage.exchange.take_frames()
        stage.start()
    stage.wait(30_000)
    assert resting(stage) == {}
    assert stage.venue_balances()["BTC"] >= 1
    assert stage.engine.books is Books.DIFFER
    assert stage.counts["alarm books-differ"] == 1
    assert stage.counts["alarm not-ours-to-sell"] == 1
    stage.price(SYMBOL, D(58_000))
    stage.driver.tell(KillRequested(stage.now_ms, "ada", "out of it"))
    stage.wait(60_000)
    assert stage.venue_balances()["BTC"] >= 1, "the owner keeps what was his"
    assert stage.counts["Woke"] < 100, "nothing is looked at over and over"


@pytest.mark.spec("ORD-5", "SAFE-2")
def test_what_the_owner_left_of_a_position_is_protected() -> None:
    stage = holding({"BTC": D(1)})
    quantity = stage.engine.portfolio.positions[SYMBOL].quantity
    stage.ask(ORDERS, "DELETE", symbol=SYMBOL)
    sell_on_the_site(stage, quantity / 2)
    stage.driver.take_frames()
    stage.wait(5_000)
    left = stage.engine.instruments[SYMBOL].lots_down(stage.venue_balances()["BTC"] - 1)
    assert list(resting(stage).values()) == [left, left]
    stage.price(SYMBOL, D(58_000))
    stage.wait(30_000)
    assert stage.venue_balances()["BTC"] >= 1


def left_with_half_of_it(**settings: str) -> Stage:
    """The owner, who has a BTC, took the stop away and sold half of the bot's position; the rest is protected."""
    stage = Stage(stage_settings([SYMBOL], **settings), balances={"BTC": D(1)})
    stage.start_holding(SYMBOL, D(60_000))
    quantity = stage.engine.portfolio.positions[SYMBOL].quantity
    stage.ask(ORDERS, "DELETE", symbol=SYMBOL)
    sell_on_the_site(stage, quantity / 2)
    stage.driver.take_frames()
    stage.wait(20_000)
    assert resting(stage)
    return stage


@pytest.mark.spec("ORD-5", "SAFE-3")
def test_of_a_position_that_the_owner_sold_in_part_only_the_rest_is_left() -> None:
    stage = left_with_half_of_it()
    stage.driver.tell(KillRequested(stage.now_ms, "ada", "out of it"))
    stage.wait(30_000)
    assert resting(stage) == {}
    assert 1 <= stage.venue_balances()["BTC"] < D("1.00002")


@pytest.mark.spec("ORD-5", "EXIT-6")
def test_a_part_is_taken_only_of_what_the_owner_left_of_a_position() -> None:
    stage = left_with_half_of_it(exits__take_1_at_pct="2", exits__take_1_share_pct="25")
    before = stage.venue_balances()["BTC"]
    part = stage.engine.instruments[SYMBOL].lots_down(stage.engine.portfolio.positions[SYMBOL].bought / 4)
    stage.price(SYMBOL, D(61_300))
    stage.wait(10_000)
    assert stage.venue_balances()["BTC"] == before - part
    assert sum(resting(stage).values()) == stage.engine.instruments[SYMBOL].lots_down(before - part - 1)
    stage.price(SYMBOL, D(58_000))
    stage.wait(10_000)
    assert 1 <= stage.venue_balances()["BTC"] < D("1.00002")


@pytest.mark.spec("ORD-5", "SAFE-3")
def test_the_owners_sale_of_his_own_coins_leaves_the_position_and_its_exits_alone() -> None:
    stage = holding({"BTC": D(1)})
    before = resting(stage)
    sell_on_the_site(stage, D("0.5"))
    stage.driver.take_frames()
    stage.wait(400_000)
    assert resting(stage) == before
    stage.driver.tell(KillRequested(stage.now_ms, "ada", "out of it"))
    stage.wait(30_000)
    assert SYMBOL not in stage.engine.portfolio.positions
    assert D("0.5") <= stage.venue_balances()["BTC"] < D("0.50001")


def adopt(stage: Stage, what: Adoption, subject: str, amount: str = "", price: str = "") -> str:
    """What the trader would say to the operator, who is heard when it makes sense."""
    number, paid = D(amount) if amount else None, D(price) if price else None
    event = adoption(stage.engine, what, subject, number, paid, stage.now_ms, "ada", "a test")
    if isinstance(event, str):
        return f"no: {event}"
    stage.driver.tell(event)
    stage.wait(1)
    return said(stage.engine, event)


def agrees_after_a_reset(stage: Stage) -> None:
    """Books agree, a restart knows it, and entries are let on by a reset of the breaker alone."""
    stage.wait(5_000)
    assert stage.engine.books is Books.AGREE, stage.engine.differences
    stage.check_books()
    stage.kill()
    stage.start()
    stage.wait(5_000)
    assert stage.engine.books is Books.AGREE, stage.engine.differences
    assert "books differ" in stage.engine.breaker.trips
    stage.driver.tell(BreakerResetRequested(stage.now_ms, "ada", "a test"))
    stage.wait(1)
    assert stage.engine.entries_off() is None
    assert stage.engine.breaker.off_text() is None


@pytest.mark.spec("ORD-5", "ORD-9")
def test_a_deposit_that_nobody_told_of_is_booked_by_its_name_and_amount() -> None:
    stage = holding()
    stage.kill()
    stage.exchange.deposit(KEYS.api_key, "USDT", D("0.01"), stage.now_ms)
    stage.exchange.take_frames()
    stage.start()
    stage.wait(10_000)
    assert stage.engine.books is Books.DIFFER
    equity = stage.engine.equity()
    for asset, amount, why in [
        ("USDT", "0.02", "no: USDT differs by 0.01"),
        ("BTC", "0.01", "no: no difference of BTC between ledger and account is known: what differs is USDT by 0.01"),
    ]:
        assert adopt(stage, Adoption.TRANSFER, asset, amount).startswith(why)
    assert adopt(stage, Adoption.TRANSFER, "USDT", "0.01") == (
        "0.01 USDT booked as a transfer; nothing that was known to differ is left"
    )
    assert equity is not None
    assert stage.engine.equity() == equity + D("0.01")
    assert stage.counts["RecordTransfer"] == 1
    assert adopt(stage, Adoption.TRANSFER, "USDT", "0.01").startswith("no: no difference of USDT between")
    assert len(resting(stage)) == 2
    agrees_after_a_reset(stage)


@pytest.mark.spec("ORD-5", "ORD-9")
def test_a_position_that_was_sold_by_hand_leaves_the_books_at_its_price() -> None:
    stage = holding({"BTC": D(1)})
    quantity = stage.engine.portfolio.positions[SYMBOL].quantity
    assert adopt(stage, Adoption.GONE, SYMBOL).startswith(f"no: {SYMBOL}: nothing is known to lack")
    assert adopt(stage, Adoption.GONE, "ETHUSDT").startswith("no: nothing of ETHUSDT is held")
    sell_on_the_site(stage, quantity)  # from coins of their own: the stop rests meanwhile, until they say so
    stage.driver.take_frames()
    stage.wait(10_000)
    assert len(resting(stage)) == 2
    answer = adopt(stage, Adoption.GONE, SYMBOL, price="60000")
    assert "booked as closed by hand at 60000; still off: USDT by -" in answer
    stage.wait(5_000)
    assert resting(stage) == {}
    (trip,) = stage.engine.portfolio.round_trips
    assert (trip.reason, trip.exit_price) == ("by hand", D(60_000))
    assert SYMBOL not in stage.engine.portfolio.positions
    off = stage.engine.off["USDT"]
    assert adopt(stage, Adoption.TRANSFER, "USDT", str(off)).endswith("nothing that was known to differ is left")
    assert stage.venue_balances()["BTC"] >= 1
    agrees_after_a_reset(stage)


@pytest.mark.spec("ORD-5", "ORD-9")
def test_of_a_position_that_is_gone_in_part_the_rest_gets_a_new_stop() -> None:
    stage = holding()
    quantity = stage.engine.portfolio.positions[SYMBOL].quantity
    stage.ask(ORDERS, "DELETE", symbol=SYMBOL)
    sell_on_the_site(stage, quantity / 2)
    stage.driver.take_frames()
    stage.wait(10_000)
    adopt(stage, Adoption.GONE, SYMBOL)
    stage.wait(5_000)
    left = stage.engine.instruments[SYMBOL].lots_down(stage.venue_balances()["BTC"])
    assert list(resting(stage).values()) == [left, left]
    assert stage.engine.portfolio.positions[SYMBOL].quantity == stage.venue_balances()["BTC"]
    adopt(stage, Adoption.TRANSFER, "USDT", str(stage.engine.off["USDT"]))
    agrees_after_a_reset(stage)


@pytest.mark.spec("ORD-5", "SAFE-2")
def test_a_position_of_the_owners_gets_a_stop_when_the_bot_takes_it_over() -> None:
    stage = Stage(stage_settings([SYMBOL]), balances={"BTC": D(1)})
    stage.price(SYMBOL, D(60_000))
    stage.start()
    stage.wait(3_000)
    stage.next_candle(SYMBOL)
    stage.wait(1_000)
    for amount, price, why in [
        ("", "", "name how much of the 1 BTC"),
        ("1.5", "", "name how much of the 1 BTC"),
        ("0.00001", "", "too little"),
        ("0.05", "70000", "it is sold"),
    ]:
        answer = adopt(stage, Adoption.POSITION, SYMBOL, amount, price)
        assert answer.startswith("no: "), answer
        assert why in answer
    equity = stage.engine.equity()
    adopt(stage, Adoption.POSITION, SYMBOL, "0.05")
    assert stage.engine.equity() == equity
    stage.wait(3_000)
    assert list(resting(stage).values()) == [D("0.05"), D("0.05")]
    assert stage.engine.unprotected_since == {}
    assert adopt(stage, Adoption.POSITION, SYMBOL, "0.05").endswith("the bot's already, or on its way")
    stage.price(SYMBOL, D(58_000))
    stage.wait(5_000)
    assert [trip.reason for trip in stage.engine.portfolio.round_trips] == ["stop"]
    assert stage.venue_balances()["BTC"] == D("0.95")
    assert stage.engine.books is Books.AGREE
    stage.check_books()


@pytest.mark.spec("ORD-5", "SAFE-2")
def test_an_entry_that_bought_nothing_leaves_no_plan_for_what_is_taken_over() -> None:
    stage = Stage(stage_settings([SYMBOL]), balances={"BTC": D(1)})
    stage.price(SYMBOL, D(60_000))
    stage.start()
    stage.wait(3_000)
    stage.script.say(SYMBOL, 1.0)
    stage.next_candle(SYMBOL, D(0))
    for _ in range(10):
        stage.price(SYMBOL, D(62_000))
        stage.wait(30_000)
    assert list(stage.engine.orders.open_orders()) == []
    assert SYMBOL in stage.engine.plans
    stage.price(SYMBOL, D(70_000))
    stage.wait(3_000)
    for _ in range(4):
        stage.next_candle(SYMBOL)
        stage.wait(1_000)
    adopt(stage, Adoption.POSITION, SYMBOL, "0.05")
    stage.wait(5_000)
    assert stage.venue_balances()["BTC"] == 1
    assert list(resting(stage).values()) == [D("0.05"), D("0.05")]


@pytest.mark.spec("ORD-5", "SAFE-2")
def test_dust_of_the_bots_is_not_among_what_can_be_taken_over() -> None:
    stage = holding({"BTC": D("0.1")})
    stage.price(SYMBOL, D(58_000))
    stage.wait(5_000)
    for _ in range(2):
        stage.next_candle(SYMBOL)
        stage.wait(2_000)
    dust = stage.engine.portfolio.dust[SYMBOL]
    assert dust > 0
    assert stage.venue_balances()["BTC"] == D("0.1") + dust
    assert "name how much of the 0.1 BTC" in adopt(stage, Adoption.POSITION, SYMBOL, str(D("0.1") + dust))
    adopt(stage, Adoption.POSITION, SYMBOL, "0.1")
    stage.wait(5_000)
    assert list(resting(stage).values()) == [D("0.1"), D("0.1")]


@pytest.mark.spec("ORD-5", "SAFE-2")
def test_contracts_that_the_owner_bought_or_sold_by_hand_are_taken_over_and_let_go() -> None:
    trench = Trench(futures__leverage="1")
    stage = trench.stage
    held = stage.engine.portfolio.positions[SYMBOL].quantity
    place = {"symbol": SYMBOL, "type": "MARKET", "quantity": str(held)}
    stage.ask("/fapi/v1/order", "POST", side="SELL", **place)
    stage.driver.take_frames()
    stage.wait(8_000)
    assert "booked as closed by hand" in adopt(stage, Adoption.GONE, SYMBOL)
    stage.wait(5_000)
    assert SYMBOL not in stage.engine.portfolio.positions
    assert stage.ask("/fapi/v1/openAlgoOrders") == []
    adopt(stage, Adoption.TRANSFER, "USDT", str(stage.engine.off["USDT"]))
    stage.wait(5_000)
    trench.check_books()
    stage.ask("/fapi/v1/order", "POST", side="SELL", **place)
    stage.driver.take_frames()
    stage.wait(400_000)
    assert "is the bot's from now on" in adopt(stage, Adoption.POSITION, SYMBOL)
    stage.wait(5_000)
    assert stage.engine.portfolio.positions[SYMBOL].signed_quantity == -held
    algos = stage.ask("/fapi/v1/openAlgoOrders")
    assert isinstance(algos, list)
    assert {algo["side"] for algo in algos} == {"BUY"}
    adopt(stage, Adoption.TRANSFER, "USDT", str(stage.engine.off["USDT"]))  # its fee
    stage.wait(5_000)
    trench.check_books()


@pytest.mark.spec("SAFE-2", "ORD-9")
def test_a_stop_that_the_venue_has_forgotten_rests_no_more() -> None:
    trench = Trench(futures__leverage="1")
    stage = trench.stage
    algos = stage.ask("/fapi/v1/openAlgoOrders")
    assert isinstance(algos, list)
    stage.kill()
    for algo in algos:
        stage.ask("/fapi/v1/algoOrder", "DELETE", clientAlgoId=algo["clientAlgoId"])
    stage.exchange.take_frames()
    stage.now_ms += 4 * MS_PER_DAY
    trench.beat.skip_to(stage.now_ms)
    trench.go_on_alone(3)
    stage.revive()
    stage.wait(5_000)
    assert SYMBOL in stage.engine.portfolio.positions
    now = stage.ask("/fapi/v1/openAlgoOrders")
    assert isinstance(now, list)
    assert "STOP_MARKET" in {algo["orderType"] for algo in now}
    assert stage.engine.unprotected_since == {}
    old = {algo["clientAlgoId"] for algo in algos}
    assert not old & {order.id for order in stage.engine.orders.open_orders()}
    assert stage.queries() < 10
    assert stage.engine.books is Books.AGREE
