"""The engine told stories: what arrives, and what must follow.

A desk (desk.py) feeds the real engine event by event; nothing is set from outside, and waiting wakes the engine at its
own deadlines only. One coin costs 30000, the account holds 1000: an entry is 0.00666 at up to 30030, its stop rests at
29400 and its target at 31200.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from surefoot.core.engine import FRESH_MS
from surefoot.core.facts import ALONE_AFTER_MS, Books
from surefoot.core.messages import (
    BalanceMoved,
    BreakerResetRequested,
    CancelOrder,
    CancelRefused,
    CandleClosed,
    Command,
    Event,
    FlattenRequested,
    HistoryLoaded,
    InstrumentsLoaded,
    KillRequested,
    LinkLost,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PriceDropped,
    QueryOrder,
    ReadAccount,
    ReadFills,
    RecordAlarm,
    RecordBooks,
    RecordDecision,
    RecordReset,
    RecordTrip,
    StreamSilent,
    SubmitList,
    SubmitOrder,
    VenueLimited,
    WatchPrice,
)
from surefoot.core.model import MS_PER_DAY, ListType, OrderRequest, OrderType, Purpose, Side
from surefoot.core.orders import State
from tests.core.desk import BTC, FEES, INTERVAL_MS, SETTINGS, START_MS, Desk, codes, dec, facts, of, only, sent

NO_OPO = replace(BTC, opo_allowed=False)
NO_LISTS_OF_THREE = replace(BTC, opo_allowed=False, oto_allowed=False)


def open_desk(instrument: object = BTC, **balances: str) -> Desk:
    desk = Desk(instrument=instrument)  # type: ignore[arg-type]
    desk.start(**balances or {"USDT": "1000"})
    return desk


def decision(commands: list[Command]) -> RecordDecision:
    return only(RecordDecision, commands)


def tell_all(desk: Desk, events: list[Event]) -> list[Command]:
    return [command for event in events for command in desk.tell(event)]


def doubt(desk: Desk, *orders: OrderRequest) -> list[Command]:
    return tell_all(desk, [OutcomeUnknown(desk.now_ms, order.client_order_id, "timed out") for order in orders])


def not_found(desk: Desk, *orders: OrderRequest) -> list[Command]:
    return tell_all(desk, [OrderNotFound(desk.now_ms, order.client_order_id) for order in orders])


def reject(desk: Desk, *orders: OrderRequest) -> list[Command]:
    return tell_all(desk, [OrderRejected(desk.now_ms, order.client_order_id, -2010, "no") for order in orders])


def bought_without_a_list(desk: Desk) -> list[Command]:
    """A plain entry is filled whole: what follows."""
    (entry,) = desk.enter()
    desk.accept(entry.client_order_id)
    return desk.fill(entry.client_order_id, "0.00666", "30000")


def resting_entry(desk: Desk) -> list[OrderRequest]:
    """Entry, target and stop of a list that the venue took: the entry rests, the others wait for it."""
    orders = desk.enter()
    for order in orders:
        desk.accept(order.client_order_id, resting=order is orders[0])
    return orders


def filled_in_part(desk: Desk) -> OrderRequest:
    """A held position's target, which has begun to fill: the stop is gone."""
    _, target, stop = desk.hold()
    desk.tell(OrderExpired(desk.now_ms, stop.client_order_id, dec(0), "OCO_TRIGGER"))
    desk.fill(target.client_order_id, "0.001", "31200")
    return target


# -- entries ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("ORD-6")
def test_entry_and_protection_are_one_opoco_where_the_symbol_allows_it() -> None:
    command = only(SubmitList, open_desk().candle("30000", 1.0))
    entry, target, stop = command.orders
    assert command.type is ListType.OPOCO
    assert (entry.side, entry.type, entry.quantity, entry.price) == (
        Side.BUY,
        OrderType.LIMIT,
        dec("0.00666"),
        dec(30_030),
    )
    assert (target.side, target.type, target.quantity, target.price) == (
        Side.SELL,
        OrderType.LIMIT_MAKER,
        None,
        dec(31_200),
    )
    assert (stop.side, stop.type, stop.quantity, stop.stop_price) == (Side.SELL, OrderType.STOP_LOSS, None, dec(29_400))
    assert [each.purpose for each in command.orders] == [Purpose.ENTRY, Purpose.TARGET, Purpose.STOP]


@pytest.mark.spec("ORD-6")
def test_entry_is_an_otoco_whose_legs_sell_what_is_left_after_the_fee() -> None:
    command = only(SubmitList, open_desk(NO_OPO).candle("30000", 1.0))
    assert command.type is ListType.OTOCO
    assert [each.quantity for each in command.orders] == [dec("0.00666"), dec("0.00665"), dec("0.00665")]


@pytest.mark.spec("ORD-6")
def test_entry_goes_alone_where_lists_of_three_are_not_allowed_and_an_oco_follows_its_fill() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    command = only(SubmitOrder, desk.candle("30000", 1.0))
    assert (command.order.purpose, command.order.quantity) == (Purpose.ENTRY, dec("0.00666"))
    desk.accept(command.order.client_order_id)
    oco = only(SubmitList, desk.fill(command.order.client_order_id, "0.00666", "30010", "0.00000666", "BTC"))
    assert oco.type is ListType.OCO
    assert [(each.purpose, each.quantity) for each in oco.orders] == [
        (Purpose.TARGET, dec("0.00665")),
        (Purpose.STOP, dec("0.00665")),
    ]
    assert oco.orders[0].price == dec(31_200)  # the plan is that of the decision, whatever the fill cost
    assert oco.orders[1].stop_price == dec(29_400)


@pytest.mark.spec("ORD-2")
def test_nothing_is_bought_that_no_oco_could_protect() -> None:
    commands = open_desk(replace(NO_LISTS_OF_THREE, oco_allowed=False)).candle("30000", 1.0)
    assert decision(commands).outcome == "exitability"
    assert sent(commands) == []


@pytest.mark.spec("SIG-8")
@pytest.mark.parametrize(
    ("target", "score", "outcome"),
    [(None, 0.9, "none"), (0.0, 0.9, "long-only"), (-1.0, 0.9, "long-only"), (float("nan"), 0.9, "long-only"),
     (1.0, 0.59, "score"), (1.0, 0.6, "approved")],
)  # fmt: skip
def test_every_candle_ends_in_one_decision_with_its_reason(target: float | None, score: float, outcome: str) -> None:
    desk = open_desk()
    commands = desk.candle("30000", target, score)
    record = decision(commands)
    assert record.outcome == outcome
    assert record.detail
    assert record.signal.values == (("close", 30_000.0),)
    assert bool(sent(commands)) == (outcome == "approved")
    assert list(desk.engine.decisions) == [record]


@pytest.mark.spec("SAFE-1", "ORD-4")
def test_no_second_intent_while_one_is_in_doubt() -> None:
    desk = open_desk()
    first = desk.enter()
    doubt(desk, *first)
    for _ in range(3):
        commands = desk.candle("30000", 1.0)
        assert (decision(commands).outcome, sent(commands)) == ("position", [])
        desk.wait(1_000)
        not_found(desk, *first)
    assert {order.state for order in desk.engine.orders.open_orders()} == {State.IN_DOUBT}


@pytest.mark.spec("SAFE-1", "ORD-4", "ORD-5")
def test_after_an_order_is_lost_the_next_signal_makes_a_new_intent_with_new_ids() -> None:
    desk = open_desk()
    first = desk.enter()
    doubt(desk, *first)
    asked = of(QueryOrder, desk.wait(20_000))
    assert {query.client_order_id for query in asked} == {order.client_order_id for order in first}
    not_found(desk, *first)
    second = desk.enter()
    assert [order.purpose for order in second] == [Purpose.ENTRY, Purpose.TARGET, Purpose.STOP]
    assert not {order.client_order_id for order in first} & {order.client_order_id for order in second}


@pytest.mark.spec("ORD-4")
def test_doubt_is_asked_about_less_and_less_often() -> None:
    desk = open_desk()
    (entry,) = [order for order in desk.enter() if order.purpose is Purpose.ENTRY]
    doubt(desk, entry)
    asked = [query.at_ms - START_MS for query in of(QueryOrder, desk.wait(32_000))]
    assert asked == [1_000, 3_000, 7_000, 15_000, 23_000, 31_000]


@pytest.mark.spec("ORD-1")
def test_wanting_the_same_exposure_again_changes_nothing() -> None:
    desk = open_desk()
    desk.hold()
    commands = desk.candle("30100", 1.0)
    assert (decision(commands).outcome, sent(commands)) == ("position", [])


@pytest.mark.spec("RISK-2")
def test_money_that_an_open_entry_may_spend_is_not_spent_twice() -> None:
    all_in = replace(SETTINGS.risk, risk_pct_of_equity=dec(100), notional_max_pct_of_equity=dec(100))
    desk = Desk(replace(SETTINGS, symbols=("BTCUSDT", "ETHUSDT"), risk=all_in))
    desk.start(USDT="1000")
    ether = replace(BTC, symbol="ETHUSDT", base="ETH")
    desk.tell(InstrumentsLoaded(desk.now_ms, (ether,), (("ETHUSDT", FEES),)))
    bitcoin_entry = desk.enter()[0]
    assert bitcoin_entry.quantity == dec("0.02997")  # 900 of 1000: a tenth is kept back
    candle = replace(of(CandleClosed, desk.journal)[-1].candle, symbol="ETHUSDT")
    ether_entry = sent(desk.tell(CandleClosed(desk.now_ms, candle)))[0]
    # 1000 less 0.02997 * 30030 leave 100.0009; nine tenths of that, and 70 % of it beside another long, buy this much.
    assert (ether_entry.symbol, ether_entry.quantity) == ("ETHUSDT", dec("0.00209"))


# -- the life of an entry --------------------------------------------------------------------------------------


@pytest.mark.spec("ORD-6", "ORD-8")
def test_entry_filled_in_part_is_cancelled_soon_and_what_was_received_is_protected() -> None:
    desk = open_desk()
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    desk.accept(target.client_order_id, resting=False)
    desk.accept(stop.client_order_id, resting=False)
    desk.fill(entry.client_order_id, "0.003", "30000", "0.000003", "BTC")
    assert of(CancelOrder, desk.wait(1_999)) == []
    cancel = only(CancelOrder, desk.wait(1))
    assert cancel.client_order_id == entry.client_order_id
    assert {desk.order(o.client_order_id).state for o in (entry, target, stop)} == {State.CANCEL_SENT}
    desk.cancel(entry.client_order_id, "0.003")
    desk.cancel(target.client_order_id)
    oco = only(SubmitList, desk.cancel(stop.client_order_id))
    assert (oco.type, [order.quantity for order in oco.orders]) == (ListType.OCO, [dec("0.00299")] * 2)


@pytest.mark.spec("ORD-6", "ORD-8")
def test_oco_after_a_cancel_waits_for_the_fills_that_the_cancel_announced() -> None:
    desk = open_desk()
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    desk.fill(entry.client_order_id, "0.002", "30000")
    desk.wait(2_000)
    desk.cancel(target.client_order_id)
    desk.cancel(stop.client_order_id)
    assert sent(desk.cancel(entry.client_order_id, executed="0.004")) == []
    read = only(ReadFills, desk.wait(500))
    assert read.client_order_id == entry.client_order_id
    assert [order.quantity for order in sent(desk.fill(entry.client_order_id, "0.002", "30000"))] == [dec("0.004")] * 2


@pytest.mark.spec("ORD-7")
def test_entry_that_does_not_fill_is_cancelled_after_its_time() -> None:
    desk = open_desk()
    entry, target, stop = resting_entry(desk)
    assert of(CancelOrder, desk.wait(14_999)) == []
    assert only(CancelOrder, desk.wait(1)).client_order_id == entry.client_order_id
    for order in (entry, target, stop):
        desk.cancel(order.client_order_id, "0")
    assert desk.engine.orders.quiet()
    assert sent(desk.wait(60_000)) == []


@pytest.mark.spec("ORD-3", "SAFE-1")
def test_cancel_whose_answer_is_lost_is_asked_about_and_sent_again_when_the_order_lives() -> None:
    desk = open_desk()
    entry = resting_entry(desk)[0]
    assert of(CancelOrder, desk.wait(15_000))
    doubt(desk, entry)
    queries = of(QueryOrder, desk.wait(5_000))
    assert entry.client_order_id in {query.client_order_id for query in queries}
    commands = desk.accept(entry.client_order_id)
    assert only(CancelOrder, commands).client_order_id == entry.client_order_id


@pytest.mark.spec("SAFE-2")
def test_question_about_an_order_does_not_put_off_the_cancel_that_is_due() -> None:
    desk = open_desk()
    target = filled_in_part(desk)
    assert of(CancelOrder, desk.wait(10_000))
    desk.tell(CancelRefused(desk.now_ms, target.client_order_id, -1000, "An unknown error occurred."))
    assert only(QueryOrder, desk.wait(1_000)).client_order_id == target.client_order_id
    desk.accept(target.client_order_id, executed="0.001")
    assert only(CancelOrder, desk.wait(4_000)).client_order_id == target.client_order_id


def test_cancel_that_is_refused_is_asked_about() -> None:
    desk = open_desk()
    entry = desk.enter()[0]
    desk.accept(entry.client_order_id)
    desk.wait(15_000)
    desk.tell(CancelRefused(desk.now_ms, entry.client_order_id, -2011, "Unknown order sent."))
    assert desk.order(entry.client_order_id).state is State.NEW
    assert of(QueryOrder, desk.wait(1_000))[0].client_order_id == entry.client_order_id


def test_rejected_entry_leaves_nothing_behind_and_its_legs_do_not_count_as_refused_protection() -> None:
    desk = open_desk(NO_OPO)
    reject(desk, *desk.enter())
    assert desk.engine.orders.quiet()
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    desk.fill(entry.client_order_id, "0.003", "30000")
    desk.wait(2_000)
    desk.cancel(entry.client_order_id, "0.003")
    desk.cancel(target.client_order_id)
    assert only(SubmitList, desk.cancel(stop.client_order_id)).type is ListType.OCO


@pytest.mark.spec("ORD-8")
def test_partial_fill_too_small_to_sell_becomes_dust_and_no_order_is_made_for_it() -> None:
    desk = open_desk()
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    desk.fill(entry.client_order_id, "0.00001", "30000")
    desk.wait(2_000)
    commands = desk.cancel(entry.client_order_id, "0.00001")
    commands += desk.cancel(target.client_order_id) + desk.cancel(stop.client_order_id) + desk.wait(30_000)
    assert (sent(commands), codes(commands)) == ([], [])
    assert desk.engine.portfolio.dust == {"BTCUSDT": dec("0.00001")}
    assert desk.engine.portfolio.round_trips[-1].reason == "dust"


# -- protection ------------------------------------------------------------------------------------------------


@pytest.mark.spec("EXIT-2", "PNL-1")
@pytest.mark.parametrize(("purpose", "price", "pnl"), [("stop", "29400", "-3.996"), ("target", "31200", "7.992")])
def test_filled_leg_ends_the_round_trip_with_its_reason(purpose: str, price: str, pnl: str) -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    leg, other = (stop, target) if purpose == "stop" else (target, stop)
    desk.fill(leg.client_order_id, "0.00666", price)
    commands = desk.tell(OrderExpired(desk.now_ms, other.client_order_id, dec(0), "OCO_TRIGGER"))
    trip = desk.engine.portfolio.round_trips[-1]
    assert (trip.reason, trip.pnl, trip.dust_loss) == (purpose, dec(pnl), dec(0))
    assert (desk.engine.portfolio.positions, desk.engine.plans, desk.engine.orders.quiet()) == ({}, {}, True)
    assert only(WatchPrice, commands).wanted is False
    assert desk.enter()


def test_stop_filled_while_the_other_leg_is_silent_is_no_unprotected_position() -> None:
    desk = open_desk()
    _, _, stop = desk.hold()
    commands = desk.fill(stop.client_order_id, "0.00666", "29400") + desk.wait(60_000)
    assert (codes(commands), sent(commands)) == ([], [])


@pytest.mark.spec("SAFE-2")
def test_resting_stop_protects_for_as_long_as_it_rests() -> None:
    desk = open_desk()
    desk.hold()
    assert desk.engine.unprotected_since == {}
    commands = desk.wait(3_600_000)
    assert (codes(commands), sent(commands), of(CancelOrder, commands)) == ([], [], [])


@pytest.mark.spec("SAFE-2")
def test_stop_that_stays_silent_after_the_fill_is_asked_for_then_replaced_by_a_sale() -> None:
    desk = open_desk()
    entry, target, stop = resting_entry(desk)
    desk.fill(entry.client_order_id, "0.00666", "30000")
    assert only(QueryOrder, desk.wait(3_000)).client_order_id == stop.client_order_id
    commands = desk.wait(7_000)
    assert codes(commands) == ["unprotected"]
    assert of(CancelOrder, commands)
    assert sent(commands) == []  # not while the venue might still hold the coins for the legs
    desk.cancel(target.client_order_id)
    (sale,) = sent(desk.cancel(stop.client_order_id))
    assert (sale.side, sale.type, sale.purpose, sale.quantity) == (
        Side.SELL,
        OrderType.MARKET,
        Purpose.EXIT,
        dec("0.00666"),
    )
    desk.accept(sale.client_order_id)
    desk.fill(sale.client_order_id, "0.00666", "29900")
    assert desk.engine.portfolio.round_trips[-1].reason == "exit"


@pytest.mark.spec("SAFE-2")
def test_protection_in_doubt_past_the_bound_is_an_alarm_and_a_market_sale() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    doubt(desk, *sent(bought_without_a_list(desk)))
    early = desk.wait(9_999)
    assert (codes(early), sent(early)) == ([], [])
    commands = desk.wait(1)
    assert codes(commands) == ["unprotected"]
    assert [order.purpose for order in sent(commands)] == [Purpose.EXIT]


@pytest.mark.spec("SAFE-1", "ORD-4")
def test_sale_in_doubt_is_not_followed_by_a_second_sale_until_it_is_lost() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    legs = sent(bought_without_a_list(desk))
    doubt(desk, *legs)
    (sale,) = sent(desk.wait(10_000))
    doubt(desk, sale)
    assert sent(desk.wait(19_999)) == []
    desk.wait(1)
    assert [order.purpose for order in sent(not_found(desk, *legs, sale))] == [Purpose.EXIT]


@pytest.mark.spec("SAFE-2", "SAFE-3")
def test_refused_oco_is_followed_by_a_market_sale() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    reject(desk, *sent(bought_without_a_list(desk)))
    (sale,) = sent(desk.wait(1_000))
    assert (sale.purpose, sale.type) == (Purpose.EXIT, OrderType.MARKET)


def hold_up(desk: Desk, until_ms: int, *orders: OrderRequest) -> list[Command]:
    text = "not sent: the venue's limits would have held it up"
    return tell_all(desk, [OrderRejected(desk.now_ms, o.client_order_id, None, text, until_ms) for o in orders])


@pytest.mark.spec("SAFE-2", "NET-2")
def test_protection_that_was_never_sent_is_no_refusal_and_goes_the_moment_the_venue_listens_again() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    commands = bought_without_a_list(desk)
    for wait_ms in (1_500, 5_500, 2_000):
        again_ms = desk.now_ms + wait_ms
        assert sent(hold_up(desk, again_ms, *sent(commands))) == []
        assert sent(desk.wait(wait_ms - 1)) == []
        commands = desk.wait(1)
        assert only(SubmitList, commands).type is ListType.OCO
    assert desk.engine.breaker.trips == {}


@pytest.mark.spec("SAFE-2", "SAFE-3")
def test_position_without_a_stop_is_sold_past_the_bound_whatever_held_up_its_stop() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    hold_up(desk, desk.now_ms + 60_000, *sent(bought_without_a_list(desk)))
    assert sent(desk.wait(9_999)) == []
    (sale,) = sent(desk.wait(1))
    assert (sale.purpose, sale.type) == (Purpose.EXIT, OrderType.MARKET)
    hold_up(desk, desk.now_ms + 30_000, sale)
    assert sent(desk.wait(29_999)) == []
    assert [order.purpose for order in sent(desk.wait(1))] == [Purpose.EXIT]


@pytest.mark.spec("SAFE-2", "ORD-3")
def test_cancel_that_was_never_sent_goes_the_moment_the_venue_listens_again_and_leaves_nothing_to_ask() -> None:
    desk = open_desk()
    entry, target, stop = resting_entry(desk)
    desk.fill(entry.client_order_id, "0.003", "30000")
    assert of(CancelOrder, desk.wait(2_000))
    desk.tell(CancelRefused(desk.now_ms, entry.client_order_id, None, "not sent", desk.now_ms + 1_000))
    assert [desk.order(order.client_order_id).state for order in (entry, target, stop)] == [
        State.PARTIALLY_FILLED, State.NEW, State.NEW,
    ]  # fmt: skip
    commands = desk.wait(999)
    assert (of(CancelOrder, commands), of(QueryOrder, commands)) == ([], [])
    assert only(CancelOrder, desk.wait(1)).client_order_id == entry.client_order_id


@pytest.mark.spec("SAFE-2", "ORD-4")
def test_doubt_about_the_stop_of_a_held_position_is_asked_about_every_two_seconds() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    doubt(desk, *sent(bought_without_a_list(desk)))
    asked = [desk.now_ms for _ in range(16) if of(QueryOrder, desk.wait(1_000))]
    assert [later - earlier for earlier, later in pairwise(asked)] == [2_000] * (len(asked) - 1)
    assert len(asked) >= 7


@pytest.mark.spec("SAFE-3")
def test_refused_sale_is_tried_again_with_a_pause_that_grows_to_a_bound() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    reject(desk, *sent(bought_without_a_list(desk)))
    pauses = []
    for _ in range(14):
        before_ms = desk.now_ms
        while not (sales := sent(desk.wait(500))):
            assert desk.now_ms < before_ms + 60_000
        pauses.append(desk.now_ms - before_ms)
        reject(desk, *sales)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1_000, 30_000)


@pytest.mark.spec("SAFE-3", "ORD-8")
def test_large_position_is_no_dust_whatever_the_venue_says_of_its_worth() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    reject(desk, *sent(bought_without_a_list(desk)))
    for _ in range(5):
        (sale,) = sent(desk.wait(6_000))
        desk.tell(OrderRejected(desk.now_ms, sale.client_order_id, -1013, "Filter failure: NOTIONAL"))
    assert "BTCUSDT" in desk.engine.portfolio.positions


@pytest.mark.spec("SAFE-2")
@pytest.mark.parametrize("price", ["29399", "31201"])
def test_price_that_has_already_passed_the_plan_is_sold_at_once(price: str) -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    (entry,) = desk.enter()
    desk.accept(entry.client_order_id)
    desk.mark(price)
    (sale,) = sent(desk.fill(entry.client_order_id, "0.00666", "30000"))
    assert sale.purpose is Purpose.EXIT


@pytest.mark.spec("SAFE-2", "ORD-3")
def test_fill_that_comes_after_its_round_trip_is_protected_by_a_plan_of_its_own() -> None:
    desk = open_desk()
    entry, target, stop = desk.enter()
    desk.accept(entry.client_order_id)
    desk.fill(entry.client_order_id, "0.003", "30000")
    desk.wait(2_000)
    for order in (entry, target, stop):
        commands = desk.cancel(order.client_order_id)
    legs = sent(commands)
    for leg in legs:
        desk.accept(leg.client_order_id)
    desk.fill(legs[1].client_order_id, "0.003", "29400")
    desk.cancel(legs[0].client_order_id)
    assert desk.engine.plans == {}
    desk.mark("29900")
    commands = desk.fill(entry.client_order_id, "0.002", "30010")
    assert codes(commands) == ["order-alarm"]
    oco = only(SubmitList, commands)
    assert [order.quantity for order in oco.orders] == [dec("0.002")] * 2
    assert (oco.orders[0].price, oco.orders[1].stop_price) == (dec("31210.40"), dec("29409.80"))


@pytest.mark.spec("ORD-8")
def test_dust_of_an_earlier_round_trip_is_sold_along() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    for _ in range(2):
        (entry,) = desk.enter()
        desk.accept(entry.client_order_id)
        assert entry.quantity is not None
        fee = "0.000005"
        target, stop = sent(desk.fill(entry.client_order_id, str(entry.quantity), "30000", fee, "BTC"))
        assert stop.quantity is not None
        desk.accept(stop.client_order_id)
        desk.accept(target.client_order_id)
        desk.fill(stop.client_order_id, str(stop.quantity), "30000")
        desk.cancel(target.client_order_id)
    # 0.000005 stayed behind the first time; with it, the second time, nothing does.
    assert stop.quantity == entry.quantity
    assert desk.engine.portfolio.sellable("BTCUSDT") == 0


# -- restart ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("SAFE-6", "SAFE-2", "ORD-9")
def test_restart_with_a_fill_not_yet_protected_protects_it_first_and_makes_no_entries() -> None:
    desk = open_desk(NO_LISTS_OF_THREE)
    bought_without_a_list(desk)
    while isinstance(desk.journal[-1], SubmitList | WatchPrice):  # the process died before its answer was on the disk
        desk.journal.pop()
    again = desk.restarted()
    assert again.engine.entries_off()
    oco = only(SubmitList, again.link("account"))
    assert (oco.type, [order.quantity for order in oco.orders]) == (ListType.OCO, [dec("0.00666")] * 2)
    assert (oco.orders[0].price, oco.orders[1].stop_price) == (dec(31_200), dec(29_400))
    again.link("market")
    refusal = decision(again.candle("30000", 1.0))
    assert refusal.outcome == "entries-off"
    for order in oco.orders:
        again.accept(order.client_order_id)
    again.true_snapshot()
    assert again.engine.entries_off() is None


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_restart_counts_on_from_when_the_stop_was_gone_and_cancels_what_is_in_the_way_of_the_sale() -> None:
    dead = open_desk()
    target = filled_in_part(dead)
    since_ms = dead.now_ms
    dead.wait(8_000)
    again = dead.restarted()
    again.link("account")
    again.accept(target.client_order_id, executed="0.001")
    assert again.engine.unprotected_since == {"BTCUSDT": since_ms}
    commands = again.wait(2_000)
    assert codes(commands) == ["unprotected"]
    assert only(CancelOrder, commands).client_order_id == target.client_order_id
    (sale,) = sent(again.cancel(target.client_order_id, "0.001"))
    assert (sale.purpose, sale.type, sale.quantity) == (Purpose.EXIT, OrderType.MARKET, dec("0.00566"))


@pytest.mark.spec("SAFE-2", "SAFE-6")
@pytest.mark.parametrize("cancelled", [True, False])
def test_restart_goes_on_at_once_with_the_sale_that_was_decided(cancelled: bool) -> None:
    dead = open_desk()
    target = filled_in_part(dead)
    assert of(CancelOrder, dead.wait(10_000))
    again = dead.restarted()
    again.wait(40_000)
    assert only(QueryOrder, again.link("account")).client_order_id == target.client_order_id
    if not cancelled:  # its request died with the process
        commands = again.accept(target.client_order_id, executed="0.001")
        assert only(CancelOrder, commands).client_order_id == target.client_order_id
    (sale,) = sent(again.cancel(target.client_order_id, "0.001"))
    assert (sale.purpose, sale.quantity) == (Purpose.EXIT, dec("0.00566"))


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_restart_sells_nothing_of_which_it_has_not_heard_whether_a_stop_rests_by_now() -> None:
    dead = open_desk()
    entry, target, stop = resting_entry(dead)
    dead.fill(entry.client_order_id, "0.00666", "30000")
    again = dead.restarted()
    again.wait(2_000)
    commands = again.link("account")
    assert {query.client_order_id for query in of(QueryOrder, commands)} == {
        target.client_order_id,
        stop.client_order_id,
    }
    commands += again.wait(500)
    for leg in (target, stop):
        commands += again.accept(leg.client_order_id, quantity="0.00666")
    commands += again.wait(60_000)
    assert (codes(commands), of(CancelOrder, commands), sent(commands)) == ([], [], [])
    assert again.engine.unprotected_since == {}


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_restart_that_hears_nothing_of_a_silent_stop_sells_past_the_bound() -> None:
    dead = open_desk()
    entry = resting_entry(dead)[0]
    dead.fill(entry.client_order_id, "0.00666", "30000")
    again = dead.restarted()
    again.wait(2_000)
    again.link("account")
    assert codes(again.wait(9_999)) == []
    commands = again.wait(1)
    assert codes(commands) == ["unprotected"]
    assert of(CancelOrder, commands)


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_restart_on_a_machine_whose_clock_was_set_back_waits_for_no_time_of_the_dead_process() -> None:
    dead = open_desk(NO_LISTS_OF_THREE)
    for order in sent(bought_without_a_list(dead)):
        dead.tell(OrderRejected(dead.now_ms, order.client_order_id, -2021, "would trigger"))
    dead.now_ms -= 3_600_000
    again = dead.restarted()
    commands = again.link("account") + again.wait(30_000)
    assert sent(commands)
    assert again.engine.unprotected_since["BTCUSDT"] < dead.now_ms + 1_000


@pytest.mark.spec("SAFE-1", "SAFE-6")
def test_restart_asks_for_what_was_sent_and_not_answered_and_sends_nothing_again() -> None:
    desk = open_desk()
    orders = desk.enter()
    again = desk.restarted()
    assert {order.state for order in again.engine.orders.open_orders()} == {State.IN_DOUBT}
    commands = again.link("account")
    assert {query.client_order_id for query in of(QueryOrder, commands)} == {order.client_order_id for order in orders}
    assert sent(commands + again.wait(10_000)) == []


@pytest.mark.spec("SAFE-6", "SAFE-2")
def test_restart_with_a_resting_stop_knows_it_is_protected_and_asks_for_it() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    again = desk.restarted()
    commands = again.link("account")
    assert again.engine.unprotected_since == {}
    assert [query.client_order_id for query in of(QueryOrder, commands)] == [
        target.client_order_id,
        stop.client_order_id,
    ]
    assert sent(commands + again.wait(60_000)) == []


@pytest.mark.spec("SAFE-6", "ORD-9")
def test_restart_while_the_account_was_being_read_reads_it_again() -> None:
    desk = open_desk()
    desk.wait(300_000)  # the regular comparison is asked for and never answered
    assert isinstance(desk.journal[-1], ReadAccount)
    assert of(ReadAccount, desk.restarted().link("account"))


@pytest.mark.spec("ORD-5")
def test_ids_of_two_process_lives_differ() -> None:
    desk = open_desk()
    first = desk.enter()
    reject(desk, *first)
    again = desk.restarted()
    again.link("market")
    again.link("account")
    again.true_snapshot()
    second = again.enter()
    assert second
    assert not {order.client_order_id for order in first} & {order.client_order_id for order in second}


# -- what was not heard ----------------------------------------------------------------------------------------


@pytest.mark.spec("SAFE-4")
def test_fills_that_the_venue_counts_and_we_did_not_hear_are_read_until_they_are_here() -> None:
    desk = open_desk()
    entry = desk.enter()[0]
    desk.accept(entry.client_order_id, executed="0.003")
    assert of(ReadFills, desk.wait(499)) == []
    read = only(ReadFills, desk.wait(1))
    assert (read.client_order_id, read.order_id) == (entry.client_order_id, desk.order(entry.client_order_id).order_id)
    assert len(of(ReadFills, desk.wait(5_000))) == 1
    desk.fill(entry.client_order_id, "0.003", "30000")
    assert of(ReadFills, desk.wait(60_000)) == []


@pytest.mark.spec("SAFE-4")
def test_fills_owed_by_an_order_whose_venue_id_is_unknown_make_us_ask_for_it_first() -> None:
    desk = open_desk()
    entry = desk.enter()[0]
    desk.tell(OrderCanceled(desk.now_ms, entry.client_order_id, dec("0.003")))
    assert of(QueryOrder, desk.wait(6_000))[0].client_order_id == entry.client_order_id
    assert (
        only(ReadFills, desk.accept(entry.client_order_id, executed="0.003")).client_order_id == entry.client_order_id
    )


@pytest.mark.spec("SAFE-4", "ORD-3")
def test_repeated_order_reports_change_nothing_and_cause_nothing() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    desk.fill(stop.client_order_id, "0.00666", "29400")
    desk.tell(OrderExpired(desk.now_ms, target.client_order_id, dec(0), "OCO_TRIGGER"))
    before = facts(desk.engine)
    heard = [m for m in desk.journal if isinstance(m, OrderAccepted | OrderFilled | OrderExpired)]
    assert len(heard) == 8
    for event in heard:
        assert desk.tell(event) == []
    assert facts(desk.engine) == before


def test_report_about_a_foreign_order_changes_nothing() -> None:
    desk = open_desk()
    before = facts(desk.engine)
    assert desk.tell(OrderAccepted(desk.now_ms, "web_1", 5, True, dec(1), None)) == []
    assert facts(desk.engine) == before


# -- books -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("SAFE-6", "ORD-9")
def test_no_entry_before_the_books_were_compared() -> None:
    desk = Desk()
    desk.begin()
    assert of(ReadAccount, desk.link("account"))
    desk.link("market")
    assert decision(desk.candle("30000", 1.0)).outcome == "entries-off"
    assert only(RecordBooks, desk.snapshot(USDT="1000")).differences == ()
    assert decision(desk.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("SAFE-4", "ORD-9")
def test_difference_that_stands_in_two_readings_stops_entries_and_is_said() -> None:
    desk = open_desk()
    first = desk.snapshot(USDT="990")
    assert (codes(first), of(RecordBooks, first)) == ([], [])
    assert of(ReadAccount, desk.wait(2_000))
    second = desk.snapshot(USDT="990")
    said = "USDT: ledger 1000, venue 990, off by -10"
    assert (codes(second), only(RecordBooks, second).differences) == (["books-differ", "breaker"], (said,))
    refusal = decision(desk.candle("30000", 1.0))
    assert refusal.outcome == "entries-off"
    assert said in refusal.detail
    assert of(ReadAccount, desk.wait(300_000))
    desk.snapshot(USDT="1000")
    assert desk.engine.books is Books.AGREE
    assert decision(desk.candle("30000", 1.0)).outcome == "breaker"  # BRK-4: a person has to look at it first
    desk.tell(BreakerResetRequested(desk.now_ms, "ada", "a withdrawal by hand"))
    assert decision(desk.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("SAFE-4")
def test_balance_that_differs_by_another_amount_each_time_is_a_difference_too() -> None:
    desk = open_desk()
    desk.snapshot(USDT="990")
    desk.wait(2_000)
    assert codes(desk.snapshot(USDT="989")) == ["books-differ", "breaker"]


@pytest.mark.spec("SAFE-4")
def test_standing_difference_is_not_hidden_by_another_one_that_joins_it() -> None:
    desk = open_desk()
    desk.snapshot(USDT="990")
    desk.wait(2_000)
    assert codes(desk.snapshot(USDT="990", BNB="1")) == ["books-differ", "breaker"]


@pytest.mark.spec("ORD-9")
def test_difference_of_one_reading_only_is_no_alarm() -> None:
    desk = open_desk()
    commands = desk.snapshot(USDT="990") + desk.wait(2_000) + desk.snapshot(USDT="1000")
    commands += desk.wait(300_000) + desk.snapshot(USDT="990") + desk.wait(2_000) + desk.snapshot(USDT="1000")
    assert codes(commands) == []
    assert desk.engine.entries_off() is None


@pytest.mark.spec("ORD-9")
def test_books_are_compared_every_five_minutes_and_soon_after_a_fill() -> None:
    desk = open_desk()
    assert of(ReadAccount, desk.wait(299_999)) == []
    assert of(ReadAccount, desk.wait(1))
    desk.true_snapshot()
    desk.hold()
    assert of(ReadAccount, desk.wait(2_000))


@pytest.mark.spec("ORD-9")
def test_snapshot_that_crosses_an_order_on_its_way_is_not_compared() -> None:
    desk = open_desk()
    entry = desk.enter()[0]
    commands = desk.snapshot(USDT="500") + desk.wait(2_000) + desk.snapshot(USDT="500")
    assert (codes(commands), desk.engine.books) == ([], Books.AGREE)
    assert of(ReadAccount, commands) == []
    for order in desk.engine.orders.open_orders():
        desk.accept(order.id, resting=order.id == entry.client_order_id)
    assert of(ReadAccount, desk.wait(2_000))


@pytest.mark.spec("ORD-9", "ORD-4")
def test_order_that_the_venue_no_longer_lists_is_asked_for_and_the_books_wait() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    balances = {asset: str(amount) for asset, amount in desk.engine.portfolio.wallets().items()}
    commands = desk.snapshot((), **balances)
    assert [query.client_order_id for query in of(QueryOrder, commands)] == [
        target.client_order_id,
        stop.client_order_id,
    ]
    assert of(RecordBooks, commands) == []


@pytest.mark.spec("SAFE-4")
def test_deposit_is_booked_and_not_a_difference() -> None:
    desk = open_desk()
    assert codes(desk.tell(BalanceMoved(desk.now_ms, "USDT", dec("500")))) == ["deposit"]
    commands = desk.wait(2_000) + desk.snapshot(USDT="1500")
    assert (codes(commands), desk.engine.equity()) == ([], dec(1500))


@pytest.mark.spec("SAFE-4")
def test_deposit_before_the_books_were_opened_is_counted_once() -> None:
    desk = Desk()
    desk.begin()
    desk.link("market")
    desk.link("account")
    desk.tell(BalanceMoved(desk.now_ms, "USDT", dec("500")))
    desk.snapshot(USDT="1500")
    assert (desk.engine.books, desk.engine.equity()) == (Books.AGREE, dec(1500))


# -- links -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("ORD-9", "NET-5")
def test_lost_account_link_stops_entries_and_its_return_asks_for_every_open_order() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    assert codes(desk.tell(LinkLost(desk.now_ms, "account", "closed"))) == ["link-lost"]
    assert desk.engine.deadline_ms() == desk.now_ms + ALONE_AFTER_MS
    assert decision(desk.candle("30000", 1.0)).detail == "no link to account"
    commands = desk.link("account")
    assert [query.client_order_id for query in of(QueryOrder, commands)] == [
        target.client_order_id,
        stop.client_order_id,
    ]
    assert of(ReadAccount, commands)
    assert decision(desk.candle("30000", 1.0)).outcome == "entries-off"
    desk.true_snapshot()
    assert desk.engine.entries_off() is None


@pytest.mark.spec("SAFE-2", "SAFE-3")
def test_without_the_account_link_what_is_held_is_asked_for_and_sold_only_on_fresh_answers() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    desk.tell(LinkLost(desk.now_ms, "account", "closed"))
    desk.tell(KillRequested(desk.now_ms, "owner", "3 a.m."))
    commands = desk.wait(ALONE_AFTER_MS)
    assert [query.client_order_id for query in of(QueryOrder, commands)] == [
        target.client_order_id,
        stop.client_order_id,
    ]
    assert (sent(commands), len(of(ReadAccount, commands))) == ([], 1)
    desk.wait(500)
    assert sent(desk.accept(target.client_order_id)) == [], "of the stop is not known whether it has fired"
    (sale,) = sent(desk.accept(stop.client_order_id))
    assert (sale.purpose, sale.reason) == (Purpose.EXIT, "kill")


@pytest.mark.spec("SAFE-1")
def test_an_answer_that_has_grown_old_is_not_acted_on_without_the_account_link() -> None:
    desk = open_desk()
    _, target, stop = desk.hold()
    desk.tell(LinkLost(desk.now_ms, "account", "closed"))
    desk.wait(ALONE_AFTER_MS)
    for leg in (target, stop):
        desk.accept(leg.client_order_id)
    desk.wait(FRESH_MS + 1)
    commands = desk.tell(FlattenRequested(desk.now_ms, "owner", "enough"))
    assert sent(commands) == []
    assert len(of(QueryOrder, commands)) == 2, "it is asked again, at once"


def test_nothing_is_asked_without_the_account_link_where_nothing_is_held() -> None:
    desk = open_desk()
    desk.tell(LinkLost(desk.now_ms, "account", "closed"))
    commands = desk.wait(600_000)
    assert (of(QueryOrder, commands), of(ReadAccount, commands)) == ([], [])


def test_lost_market_link_stops_entries() -> None:
    desk = open_desk()
    desk.tell(LinkLost(desk.now_ms, "market", "closed"))
    assert decision(desk.candle("30000", 1.0)).detail == "no link to market"


@pytest.mark.spec("ORD-4")
def test_return_of_the_link_does_not_ask_for_an_order_whose_answer_is_still_to_come() -> None:
    desk = open_desk()
    desk.enter()
    desk.tell(LinkLost(desk.now_ms, "account", "closed"))
    assert of(QueryOrder, desk.link("account") + desk.wait(60_000)) == []


# -- prices and the breaker ------------------------------------------------------------------------------------


@pytest.mark.spec("SAFE-5")
def test_dropped_price_is_an_alarm_and_no_price() -> None:
    desk = open_desk()
    assert codes(desk.tell(PriceDropped(desk.now_ms, "BTCUSDT: -1"))) == ["price-dropped"]
    assert desk.engine.marks == {}


@pytest.mark.spec("DATA-3")
def test_silent_stream_is_an_alarm() -> None:
    desk = open_desk()
    (alarm,) = of(RecordAlarm, desk.tell(StreamSilent(desk.now_ms, "btcusdt@bookTicker", 60_000)))
    assert (alarm.code, alarm.text) == ("stream-silent", "btcusdt@bookTicker for 60 s")


@pytest.mark.spec("NET-2")
@pytest.mark.parametrize(("banned", "code"), [(False, "rate-limited"), (True, "banned")])
def test_limit_and_ban_of_the_venue_are_alarms(banned: bool, code: str) -> None:
    desk = open_desk()
    (alarm,) = of(RecordAlarm, desk.tell(VenueLimited(desk.now_ms, desk.now_ms + 7_000, banned, "429 too much")))
    assert (alarm.code, alarm.text) == (code, "429 too much (7 s to wait)")


@pytest.mark.spec("BRK-1", "BRK-2", "BRK-5")
def test_loss_of_the_day_trips_on_a_mark_and_stops_entries_until_an_operator_lets_go() -> None:
    desk = open_desk()
    desk.hold()
    assert of(RecordTrip, desk.mark("22492.50")) == []
    commands = desk.mark("22492.49")
    assert (len(of(RecordTrip, commands)), codes(commands)) == (1, ["breaker"])
    assert sent(commands) == []
    assert desk.mark("22400") == []
    assert decision(desk.candle("22400", 1.0)).outcome == "breaker"
    desk = desk.restarted()
    for link in ("market", "account"):
        desk.link(link)
    desk.true_snapshot()
    desk.now_ms += MS_PER_DAY
    assert decision(desk.candle("22400", 1.0)).outcome == "breaker"
    reset = only(RecordReset, desk.tell(BreakerResetRequested(desk.now_ms, "ada", "looked at it")))
    assert (reset.who, reset.reason, reset.equity) == ("ada", "looked at it", desk.engine.equity())
    assert decision(desk.candle("22400", 1.0)).outcome == "position"


def test_history_warms_the_strategy_and_is_not_traded_on() -> None:
    desk = open_desk()
    desk.candle("30000")
    candle = of(CandleClosed, desk.journal)[-1].candle
    older = replace(candle, open_ms=candle.open_ms - INTERVAL_MS, close_ms=candle.close_ms - INTERVAL_MS)
    desk.script.target = 1.0
    assert desk.tell(HistoryLoaded(desk.now_ms, (older, candle))) == []
    assert desk.script.warmed == [older, candle]


def test_prices_are_watched_while_something_is_open_and_only_then() -> None:
    desk = open_desk()
    orders = desk.candle("30000", 1.0)
    assert only(WatchPrice, orders).wanted is True
    assert only(WatchPrice, reject(desk, *sent(orders))).wanted is False


def test_alarms_and_decisions_shown_are_bounded() -> None:
    desk = open_desk()
    for _ in range(60):
        desk.candle("30000")
        desk.tell(PriceDropped(desk.now_ms, "x"))
    assert (len(desk.engine.decisions), len(desk.engine.alarms)) == (50, 50)
    assert all(isinstance(alarm, RecordAlarm) for alarm in desk.engine.alarms)
