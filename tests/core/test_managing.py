"""A held position and what moves it: stops that follow, parts, times, opposite signals, and the operator's wishes.

Told as stories: prices come, the engine asks the venue for something, the venue answers, or refuses, or is silent. At
no moment is a stop cancelled but by the very request that puts another order in its place.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from surefoot.core.engine import Engine
from surefoot.core.exits import ExitSettings, Take
from surefoot.core.facts import Books
from surefoot.core.messages import (
    BalanceMoved,
    BreakerResetRequested,
    CancelAllRequested,
    CancelOrder,
    CancelRefused,
    ClockRead,
    CloseRequested,
    Command,
    FlattenRequested,
    HistoryLoaded,
    InstrumentsLoaded,
    KillRequested,
    LinkLost,
    LiveSwitched,
    OrderExpired,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    PauseRequested,
    QueryOrder,
    ReadAccount,
    ReadFills,
    RecordAlarm,
    RecordDecision,
    RecordTransfer,
    RecordTrip,
    ReplaceOrder,
    Request,
    ResumeRequested,
    SubmitList,
    SubmitOrder,
    WatchPrice,
)
from surefoot.core.model import Candle, ListType, OrderLimit, OrderRequest, OrderType, Purpose, Tier
from surefoot.core.orders import State
from surefoot.core.view import view_of
from tests.core.desk import (
    BREAKER,
    BTC,
    EXITS,
    FEES,
    INTERVAL_MS,
    LOST_AFTER_MS,
    RISK,
    SETTINGS,
    Desk,
    Script,
    codes,
    dec,
    facts,
    of,
    only,
    sent,
)

TRAILING = replace(EXITS, trail_activate_pct=dec("1.5"), trail_distance_pct=dec(1), trail_step_pct=dec("0.5"))
PARTS = replace(EXITS, takes=(Take(dec(2), dec(50)), Take(dec(3), dec(25))))
ASKING = (QueryOrder, ReadAccount, WatchPrice)


def desk(exits: ExitSettings = EXITS, breaker: Any = None, risk: Any = None) -> Desk:
    """A desk that holds nothing yet; breaker and risk by their changes."""
    settings = replace(
        SETTINGS, exits=exits, breaker=replace(BREAKER, **(breaker or {})), risk=replace(RISK, **(risk or {}))
    )
    made = Desk(settings)
    made.start()
    return made


def holding(exits: ExitSettings = EXITS, breaker: Any = None, risk: Any = None) -> Desk:
    """A desk that bought at 30000: its stop rests at 29400, its target at 31200."""
    made = desk(exits, breaker, risk)
    made.hold()
    return made


def stop_of(at: Desk) -> OrderRequest:
    """The stop that rests, or whose cancel is not answered yet."""
    (stop,) = (
        o.request
        for o in at.engine.orders.open_orders()
        if o.request.purpose is Purpose.STOP and o.resting and not o.finished
    )
    return stop


def held(at: Desk) -> Decimal:
    return at.engine.portfolio.positions["BTCUSDT"].quantity


def replaced(at: Desk, command: ReplaceOrder) -> list[Command]:
    """The venue did it: the old stop is gone, its list with it, and the new order is taken."""
    cancelled(at, command)
    return at.accept(command.order.client_order_id)


def cancelled(at: Desk, command: ReplaceOrder) -> None:
    list_id = at.order(command.cancel_id).list_id
    for member in list(at.engine.orders.list_members(list_id)) if list_id else [at.order(command.cancel_id)]:
        at.cancel(member.id)


def refused(at: Desk, command: ReplaceOrder, code: int | None = -1015, text: str = "no") -> list[Command]:
    """The venue did nothing of it."""
    commands = at.tell(CancelRefused(at.now_ms, command.cancel_id, code, text))
    return commands + at.tell(OrderRejected(at.now_ms, command.order.client_order_id, code, text))


def answered(at: Desk, ms: int) -> list[Command]:
    """Time passes, and of every order that is asked for the venue says that it rests."""
    commands: list[Command] = []
    for _ in range(ms // 500):
        commands += at.wait(500)
        for query in of(QueryOrder, commands[-3:]):
            commands += at.accept(query.client_order_id)
    return commands


def sold(at: Desk, order: OrderRequest, price: str) -> list[Command]:
    """A market order was taken and filled."""
    at.accept(order.client_order_id)
    return at.fill(order.client_order_id, str(order.quantity), price)


def reasons(at: Desk) -> list[str]:
    return [trip.reason for trip in at.engine.portfolio.round_trips]


def fold_is_what_was_lived(at: Desk) -> None:
    again = Engine(at.settings, Script())
    for message in at.journal:
        again.fold(message)
    assert facts(again) == facts(at.engine)


def linked_again(dead: Desk) -> tuple[Desk, list[Command]]:
    """A new process on the journal, up to its links."""
    at = dead.restarted()
    return at, at.link("market") + at.link("account")


def quiet(commands: list[Command]) -> bool:
    """Whether nothing that changes anything at the venue was sent."""
    return not [c for c in commands if isinstance(c, Request) and not isinstance(c, ASKING)]


# ---------------------------------------------------------------------------------------------------------------
# The stop follows


@pytest.mark.spec("EXIT-4", "SAFE-2")
def test_stop_follows_in_one_request_that_never_leaves_the_position_without_one() -> None:
    at = holding(TRAILING)
    old = stop_of(at)
    assert quiet(at.mark("30440"))
    move = only(ReplaceOrder, at.mark("30600"))
    assert (move.cancel_id, move.order.stop_price, move.order.type) == (
        old.client_order_id, dec("30294"), OrderType.STOP_LOSS,
    )  # fmt: skip
    assert move.order.quantity == at.order(old.client_order_id).quantity
    assert not at.engine.unprotected_since
    replaced(at, move)
    assert stop_of(at).stop_price == dec("30294")
    assert not at.engine.unprotected_since
    fold_is_what_was_lived(at)
    assert quiet(at.wait(20_000))


@pytest.mark.spec("EXIT-4")
def test_stop_is_never_loosened_and_moves_only_by_whole_steps() -> None:
    at = holding(TRAILING)
    replaced(at, only(ReplaceOrder, at.mark("30600")))
    for price in ("30500", "30400", "30640", "30740"):
        assert quiet(at.mark(price)), price
    assert only(ReplaceOrder, at.mark("30760")).order.stop_price == dec("30452.4")


@pytest.mark.spec("EXIT-4")
def test_position_that_leaves_by_its_moved_stop_says_so() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    replaced(at, move)
    at.fill(move.order.client_order_id, str(move.order.quantity), "30290")
    assert reasons(at) == ["trail"]


@pytest.mark.spec("EXIT-8", "EXIT-4")
def test_after_one_r_the_stop_pays_entry_and_fees_and_a_later_stop_out_says_break_even() -> None:
    at = holding(replace(EXITS, break_even_after_r=dec(1)))
    assert quiet(at.mark("30599.99"))
    move = only(ReplaceOrder, at.mark("30600"))
    assert move.order.stop_price == dec("30060.1")
    replaced(at, move)
    assert quiet(at.mark("30700")), "there is only one break-even"
    at.fill(move.order.client_order_id, str(move.order.quantity), "30060")
    assert reasons(at) == ["break-even"]


@pytest.mark.spec("EXIT-2")
def test_target_is_watched_once_it_no_longer_rests_and_sold_at_the_market() -> None:
    at = holding(TRAILING)
    replaced(at, only(ReplaceOrder, at.mark("30600")))
    replaced(at, only(ReplaceOrder, at.mark("31200")))  # the target itself is no trade through it yet
    leave = only(ReplaceOrder, at.mark("31200.01"))
    assert (leave.order.type, leave.order.purpose, leave.order.quantity) == (
        OrderType.MARKET, Purpose.EXIT, held(at),
    )  # fmt: skip
    cancelled(at, leave)
    sold(at, leave.order, "31200")
    assert reasons(at) == ["target"]
    fold_is_what_was_lived(at)


@pytest.mark.spec("EXIT-2")
def test_target_that_rests_is_left_to_the_venue() -> None:
    at = holding(TRAILING)
    assert only(ReplaceOrder, at.mark("31300")).order.purpose is Purpose.STOP


@pytest.mark.spec("EXIT-4", "SAFE-1")
def test_no_rule_acts_while_a_move_is_on_its_way_or_in_doubt() -> None:
    at = holding(replace(TRAILING, hold_max_ms=1_000))
    move = only(ReplaceOrder, at.mark("30600"))
    at.now_ms += 2_000
    assert quiet(at.mark("31500"))
    for order_id in (move.cancel_id, move.order.client_order_id):
        at.tell(OutcomeUnknown(at.now_ms, order_id, "timed out"))
    assert quiet(at.mark("31600"))
    assert quiet(at.candle("31700", -1.0))
    asked = {query.client_order_id for query in of(QueryOrder, at.wait(6_000))}
    assert asked >= {move.cancel_id, move.order.client_order_id}, "the venue is asked about both halves"
    assert not at.engine.unprotected_since


@pytest.mark.spec("EXIT-4", "SAFE-1")
def test_move_that_never_arrived_leaves_the_old_stop_and_is_tried_again_once_that_is_certain() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    old = move.cancel_id
    for order_id in (old, move.order.client_order_id):
        at.tell(OutcomeUnknown(at.now_ms, order_id, "timed out"))
    at.wait(LOST_AFTER_MS + 1)
    members = list(at.engine.orders.list_members(at.order(old).list_id or ""))
    at.tell(OrderNotFound(at.now_ms, move.order.client_order_id))
    for member in members:
        at.accept(member.id)
    assert at.order(move.order.client_order_id).state is State.LOST
    assert stop_of(at).client_order_id == old
    assert not at.engine.unprotected_since
    assert only(ReplaceOrder, at.mark("30600")).order.stop_price == dec("30294"), "the stop is where it rests"


@pytest.mark.spec("EXIT-4")
def test_refused_move_is_tried_again_after_a_pause_from_where_the_stop_really_rests() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    assert quiet(refused(at, move))
    assert stop_of(at).stop_price == dec("29400")
    assert quiet(at.mark("30600")), "not at every price"
    assert quiet(answered(at, 6_000))
    again = only(ReplaceOrder, at.mark("30600"))
    assert (again.cancel_id, again.order.stop_price) == (move.cancel_id, dec("30294"))


@pytest.mark.spec("EXIT-4", "BRK-4")
def test_moves_that_are_always_refused_come_ever_more_rarely_and_trip_the_breaker() -> None:
    at = holding(TRAILING, breaker={"refusals_max": 3})
    tries: list[int] = []
    trips: list[RecordTrip] = []
    for _ in range(120):
        commands = at.mark("30600")
        for move in of(ReplaceOrder, commands):
            tries.append(at.now_ms)
            trips += of(RecordTrip, refused(at, move, -2010))
        answered(at, 1_000)
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[-1] >= 16_000 > gaps[0], gaps
    assert [trip.rule for trip in trips] == ["repeated refusals"]
    assert stop_of(at).stop_price == dec("29400")


@pytest.mark.spec("EXIT-4", "SAFE-2")
def test_stop_that_is_cancelled_for_one_that_is_refused_is_protected_again_at_the_new_price() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    cancelled(at, move)
    at.tell(OrderRejected(at.now_ms, move.order.client_order_id, -2010, "no"))
    again = only(SubmitList, at.wait(1_000))
    assert again.type is ListType.OCO
    assert again.orders[1].stop_price == dec("30294")


@pytest.mark.spec("EXIT-4", "SAFE-2")
def test_stop_that_is_cancelled_for_one_that_the_price_has_passed_becomes_a_sale() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    cancelled(at, move)
    at.mark("30200")
    at.tell(OrderRejected(at.now_ms, move.order.client_order_id, -2010, "Order would trigger immediately."))
    assert only(SubmitOrder, at.wait(1_000)).order.purpose is Purpose.EXIT


@pytest.mark.spec("EXIT-4", "SAFE-1")
def test_stop_that_filled_while_it_was_moved_is_asked_for_and_nothing_is_tried_before_the_answer() -> None:
    at = holding(TRAILING)
    move = only(ReplaceOrder, at.mark("30600"))
    refused(at, move, None)
    for _ in range(3):
        assert quiet(at.mark("30600"))
    assert move.cancel_id in {query.client_order_id for query in of(QueryOrder, at.wait(1_000))}
    at.fill(move.cancel_id, str(at.order(move.cancel_id).quantity), "29400")
    for member in list(at.engine.orders.list_members(at.order(move.cancel_id).list_id or "")):
        at.tell(OrderExpired(at.now_ms, member.id, None, ""))
    assert reasons(at) == ["stop"]
    assert not at.engine.orders.busy("BTCUSDT")


@pytest.mark.spec("EXIT-4", "SAFE-6")
@pytest.mark.parametrize("told", [False, True], ids=["before its answer", "after its answer"])
def test_restart_in_the_middle_of_a_move_asks_and_goes_on_from_where_the_stop_rests(told: bool) -> None:
    dead = holding(TRAILING)
    move = only(ReplaceOrder, dead.mark("30600"))
    if told:
        replaced(dead, move)
    at, commands = linked_again(dead)
    assert move.order.client_order_id in {query.client_order_id for query in of(QueryOrder, commands)}
    assert quiet(at.mark("30600")), "still in doubt" if not told else "moved already"
    if not told:
        replaced(at, move)
    else:
        at.accept(move.order.client_order_id)
    assert stop_of(at).stop_price == dec("30294")
    assert only(ReplaceOrder, at.mark("30800")).order.stop_price == dec("30492")


@pytest.mark.spec("EXIT-4")
def test_position_without_a_plan_of_its_own_follows_its_resting_stop_and_never_loosens_it() -> None:
    at = holding(TRAILING)
    replaced(at, only(ReplaceOrder, at.mark("30600")))
    at.engine.plans.clear()
    assert quiet(at.mark("30550"))
    move = only(ReplaceOrder, at.mark("30900"))
    replaced(at, move)
    assert quiet(at.mark("30700"))
    assert stop_of(at).stop_price == move.order.stop_price == dec("30591")


# ---------------------------------------------------------------------------------------------------------------
# Parts


@pytest.mark.spec("EXIT-6", "SAFE-2")
def test_part_is_sold_in_two_steps_the_smaller_stop_first() -> None:
    at = holding(PARTS)
    whole = held(at)
    free = only(ReplaceOrder, at.mark("30600"))
    part = BTC.lots_down(whole / 2)
    assert (free.order.purpose, free.order.quantity, free.order.stop_price) == (
        Purpose.STOP, whole - part, dec("29400"),
    )  # fmt: skip
    assert quiet(at.mark("30600"))
    sale = only(SubmitOrder, replaced(at, free)).order
    assert (sale.purpose, sale.type, sale.quantity, sale.reason) == (
        Purpose.PART, OrderType.MARKET, part, "part",
    )  # fmt: skip
    assert quiet(at.mark("31000")), "one stage at a time"
    sold(at, sale, "30600")
    assert held(at) == whole - part == stop_of(at).quantity
    fold_is_what_was_lived(at)
    second = only(ReplaceOrder, at.mark("30900"))
    assert second.order.quantity == whole - part - BTC.lots_down(whole / 4)
    assert not reasons(at), "one round trip, however many parts"


@pytest.mark.spec("EXIT-6")
def test_refused_part_is_tried_again_and_its_stage_is_not_behind_the_position() -> None:
    at = holding(PARTS)
    free = only(ReplaceOrder, at.mark("30600"))
    assert quiet(refused(at, free))
    assert quiet(answered(at, 6_000))
    again = only(ReplaceOrder, at.mark("30600"))
    assert (again.part, again.stage, again.order.quantity) == (free.part, free.stage, free.order.quantity)


@pytest.mark.spec("EXIT-6", "SAFE-2")
def test_part_whose_smaller_stop_is_refused_after_the_cancel_is_not_sold_before_all_is_protected_again() -> None:
    at = holding(PARTS)
    whole = held(at)
    free = only(ReplaceOrder, at.mark("30600"))
    cancelled(at, free)
    assert quiet(at.tell(OrderRejected(at.now_ms, free.order.client_order_id, -2010, "no")))
    again = only(SubmitList, at.wait(1_000))
    assert [leg.quantity for leg in again.orders] == [whole, whole]


@pytest.mark.spec("EXIT-6", "SAFE-1")
def test_part_in_doubt_holds_up_the_sale_until_the_smaller_stop_is_known_to_rest() -> None:
    at = holding(PARTS)
    free = only(ReplaceOrder, at.mark("30600"))
    for order_id in (free.cancel_id, free.order.client_order_id):
        at.tell(OutcomeUnknown(at.now_ms, order_id, "timed out"))
    assert quiet(at.wait(3_000))
    assert only(SubmitOrder, replaced(at, free)).order.purpose is Purpose.PART


@pytest.mark.spec("EXIT-6", "SAFE-2")
def test_sale_of_a_part_that_is_refused_twice_gives_its_quantity_back_to_the_stop() -> None:
    at = holding(PARTS)
    whole = held(at)
    commands = replaced(at, only(ReplaceOrder, at.mark("30600")))
    for _ in range(2):
        sale = only(SubmitOrder, commands).order
        commands = at.tell(OrderRejected(at.now_ms, sale.client_order_id, -2010, "no")) + at.wait(1_000)
    cover = only(ReplaceOrder, commands)
    assert (cover.order.quantity, cover.order.stop_price, cover.part) == (whole, dec("29400"), "")
    replaced(at, cover)
    assert quiet(at.mark("30600")), "that stage has been tried"
    fold_is_what_was_lived(at)


@pytest.mark.spec("EXIT-6", "SAFE-6")
@pytest.mark.parametrize("moment", ["smaller stop sent", "smaller stop rests", "sale sent"])
def test_restart_in_the_middle_of_a_part_finishes_it_once(moment: str) -> None:
    dead = holding(PARTS)
    whole = held(dead)
    free = only(ReplaceOrder, dead.mark("30600"))
    part = whole - (free.order.quantity or dec(0))
    sales: list[OrderRequest] = []
    if moment != "smaller stop sent":
        sales = sent(replaced(dead, free))
    if moment == "smaller stop rests":  # the decision of the sale was not written any more
        dead.journal = [m for m in dead.journal if not (isinstance(m, SubmitOrder) and m.order in sales)]
        sales = []
    at, commands = linked_again(dead)
    assert quiet([c for c in commands if not isinstance(c, SubmitOrder)])
    if moment == "smaller stop sent":
        commands += replaced(at, free)
    sales += sent(commands)
    assert [(sale.purpose, sale.quantity) for sale in sales] == [(Purpose.PART, part)]
    sold(at, sales[0], "30600")
    assert held(at) == whole - part
    assert quiet(at.mark("30600"))
    assert quiet(at.wait(20_000))


# ---------------------------------------------------------------------------------------------------------------
# Leaving


def reversing() -> Desk:
    return holding(replace(EXITS, reversal_fall_pct=dec("0.5"), reversal_closes=2, reversal_profit_min_pct=dec("0.8")))


def next_candle(at: Desk, close: str, target: float | None = None, score: float = 0.9) -> list[Command]:
    at.now_ms += INTERVAL_MS
    return at.candle(close, target, score)


@pytest.mark.spec("EXIT-5")
def test_profit_that_gives_way_is_taken_on_the_candle_that_confirms_it() -> None:
    at = reversing()
    for close in ("30900", "30700"):
        assert quiet(next_candle(at, close)), close
    assert quiet(at.mark("30500")), "a price alone confirms nothing"
    leave = only(ReplaceOrder, next_candle(at, "30600"))
    cancelled(at, leave)
    sold(at, leave.order, "30600")
    assert reasons(at) == ["reversal"]


@pytest.mark.spec("EXIT-5", "SAFE-6")
def test_restart_knows_the_candles_since_the_entry() -> None:
    dead = reversing()
    for close in ("30900", "30700"):
        next_candle(dead, close)
    at, _ = linked_again(dead)
    for order in list(at.engine.orders.open_orders()):
        at.accept(order.id)
    assert only(ReplaceOrder, next_candle(at, "30600")).order.reason == "reversal"


@pytest.mark.spec("EXIT-7")
def test_position_that_had_its_time_and_does_not_earn_enough_is_left() -> None:
    at = holding(replace(EXITS, hold_max_ms=3_600_000, hold_keep_pct=dec("1.5")))
    at.now_ms += 3_599_999
    assert quiet(at.mark("30100"))
    at.now_ms += 1
    assert quiet(at.mark("30450")), "it earns enough"
    leave = only(ReplaceOrder, at.mark("30449"))
    cancelled(at, leave)
    sold(at, leave.order, "30449")
    assert reasons(at) == ["time"]


@pytest.mark.spec("EXIT-7")
def test_strong_opposite_signal_closes_and_opens_nothing_the_same_moment() -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    assert quiet(next_candle(at, "30100", -1.0, score=0.69))
    commands = next_candle(at, "30100", -1.0, score=0.7)
    leave = only(ReplaceOrder, commands)
    assert leave.order.reason == "opposite"
    assert only(RecordDecision, commands).outcome == "long-only"
    cancelled(at, leave)
    sold(at, leave.order, "30100")
    assert reasons(at) == ["opposite"]
    assert at.enter("30100"), "flat again, and every check of an entry is made anew"


@pytest.mark.spec("EXIT-7")
def test_signal_to_buy_on_the_candle_of_an_exit_buys_nothing() -> None:
    at = holding(replace(EXITS, hold_max_ms=1_000))
    commands = next_candle(at, "30100", 1.0)
    assert only(ReplaceOrder, commands).order.reason == "time"
    assert only(RecordDecision, commands).outcome == "position"


@pytest.mark.spec("EXIT-7")
def test_sale_that_is_refused_stays_decided_and_is_tried_again() -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    leave = only(ReplaceOrder, next_candle(at, "30100", -1.0))
    assert quiet(refused(at, leave)), "the stop rests on, and nothing is sent at once"
    again = only(ReplaceOrder, answered(at, 6_000))
    assert (again.order.purpose, again.order.reason) == (Purpose.EXIT, "opposite")


@pytest.mark.spec("SAFE-2", "SAFE-3")
@pytest.mark.parametrize(
    ("code", "text"), [(-1013, "Filter failure: LOT_SIZE"), (-2010, "Market is closed."), (-1122, ""), (-2010, "no")]
)
def test_sale_that_is_refused_for_anything_but_its_stop_leaves_the_stop_alone(code: int, text: str) -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    commands, tries = next_candle(at, "30100", -1.0), 0
    for _ in range(40):
        for replacement in of(ReplaceOrder, commands):
            tries += 1
            refused(at, replacement, code, text)
        assert not of(CancelOrder, commands)
        commands = answered(at, 1_000)
    assert tries > 4
    assert stop_of(at).stop_price == dec("29400")
    fold_is_what_was_lived(at)


@pytest.mark.spec("SAFE-2", "SAFE-3", "ORD-8")
def test_other_rules_are_obeyed_at_once_and_told() -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    refused(at, only(ReplaceOrder, next_candle(at, "30100", -1.0)), -1013, "Filter failure: LOT_SIZE")
    answered(at, 500)
    coarse = replace(BTC, lot_size=dec("0.001"), quantity_min=dec("0.001"))
    commands = at.tell(InstrumentsLoaded(at.now_ms, (coarse,), ()))
    assert codes(commands) == ["rules-changed"]
    commands += answered(at, 6_000)
    sale = only(ReplaceOrder, commands).order
    assert sale.quantity == coarse.lots_down(held(at)) < held(at)
    assert not codes(at.tell(InstrumentsLoaded(at.now_ms, (coarse,), ())))
    fold_is_what_was_lived(at)


@pytest.mark.spec("SAFE-2")
def test_part_that_is_due_waits_for_its_market_to_open() -> None:
    at = holding(PARTS)
    free = only(ReplaceOrder, at.mark("30600"))
    at.tell(InstrumentsLoaded(at.now_ms, (replace(BTC, trading=False),), ()))
    assert quiet(replaced(at, free) + at.wait(60_000))
    commands = at.tell(InstrumentsLoaded(at.now_ms, (BTC,), ()))
    assert only(SubmitOrder, commands).order.purpose is Purpose.PART


@pytest.mark.spec("ORD-8")
def test_what_can_no_longer_be_sold_under_other_rules_is_dust() -> None:
    at = holding()
    amount, stop = held(at), stop_of(at)
    commands = at.tell(InstrumentsLoaded(at.now_ms, (replace(BTC, notional_min=dec(10_000)),), ()))
    assert codes(commands) == ["rules-changed"]
    assert held(at) == amount, "what its stop sells is no dust"
    for order in list(at.engine.orders.open_orders()):
        at.cancel(order.id)
    assert at.order(stop.client_order_id).state is State.CANCELED
    assert (at.engine.portfolio.positions, at.engine.portfolio.dust) == ({}, {"BTCUSDT": amount})
    fold_is_what_was_lived(at)


@pytest.mark.spec("EXIT-7", "SAFE-2", "SAFE-3")
def test_symbol_that_takes_no_cancel_replace_is_left_by_cancelling_first() -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    commands, tries = next_candle(at, "30100", -1.0), 0
    for _ in range(20):
        for replacement in of(ReplaceOrder, commands):
            tries += 1
            refused(at, replacement, -2010, "Order cancel-replace is not supported for this symbol.")
        cancels = of(CancelOrder, commands)
        if cancels:
            break
        commands = answered(at, 1_000)
    assert tries == 2
    list_id = at.order(cancels[0].client_order_id).list_id
    for member in list(at.engine.orders.list_members(list_id or "")):
        commands += at.cancel(member.id)
    sale = only(SubmitOrder, commands + at.wait(1_000)).order
    assert (sale.purpose, sale.reason) == (Purpose.EXIT, "opposite")
    sold(at, sale, "30100")
    assert reasons(at) == ["opposite"]


@pytest.mark.spec("EXIT-7", "SAFE-2")
def test_sale_that_finds_nobody_is_repeated_and_the_reason_is_kept() -> None:
    at = holding(replace(EXITS, opposite_score_min=0.7))
    leave = only(ReplaceOrder, next_candle(at, "30100", -1.0))
    replaced(at, leave)
    at.tell(OrderExpired(at.now_ms, leave.order.client_order_id, dec(0), "NO_LIQUIDITY"))
    again = only(SubmitOrder, at.wait(6_000)).order
    assert (again.purpose, again.reason, again.quantity) == (Purpose.EXIT, "opposite", held(at))


@pytest.mark.spec("EXIT-7", "SAFE-6")
def test_restart_in_the_middle_of_a_sale_sells_once() -> None:
    dead = holding(replace(EXITS, opposite_score_min=0.7))
    leave = only(ReplaceOrder, next_candle(dead, "30100", -1.0))
    at, commands = linked_again(dead)
    assert quiet(commands)
    assert quiet(at.mark("30100"))
    cancelled(at, leave)
    assert quiet(at.wait(500))
    sold(at, leave.order, "30100")
    assert reasons(at) == ["opposite"]
    assert quiet(at.wait(20_000))


# ---------------------------------------------------------------------------------------------------------------
# A stop that no longer protects


def with_stop_limits() -> Desk:
    """Held on a symbol that offers no plain stops: the stop sells down to 29106."""
    types = tuple(each for each in BTC.order_types if each != "STOP_LOSS")
    at = Desk(SETTINGS, instrument=replace(BTC, order_types=types))
    at.start()
    at.hold()
    return at


@pytest.mark.spec("SAFE-2")
def test_stop_limit_that_the_price_fell_through_protects_no_more_and_the_position_is_sold() -> None:
    at = with_stop_limits()
    assert quiet(at.mark("29106"))
    assert not at.engine.unprotected_since
    at.mark("24000")
    fallen_ms = at.now_ms
    assert at.engine.unprotected_since == {"BTCUSDT": fallen_ms}
    assert quiet(at.wait(9_999)), "it may still come back"
    commands = at.wait(1)
    assert codes(commands) == ["unprotected"]
    for cancel in of(CancelOrder, commands):
        for member in list(at.engine.orders.list_members(at.order(cancel.client_order_id).list_id or "")):
            commands += at.cancel(member.id)
    sale = only(SubmitOrder, commands).order
    assert (sale.type, sale.quantity) == (OrderType.MARKET, held(at))
    at.now_ms += 300
    assert in_all(at) == (10_300, 10_300)
    fold_is_what_was_lived(at)
    at.fill(sale.client_order_id, str(sale.quantity), "24000", "0", "USDT")
    assert at.engine.portfolio.round_trips[-1].unprotected_ms == 10_300
    assert in_all(at) == (0, 10_300)
    fold_is_what_was_lived(at)


def in_all(at: Desk) -> tuple[int, int]:
    """For how long the position, and all positions together, had no resting stop."""
    view = view_of(at.engine, at.now_ms)
    return sum(each.unprotected_in_all_ms for each in view.positions), view.unprotected_in_all_ms


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_the_time_without_a_stop_is_added_up_over_gaps_and_restarts_and_stays_with_the_round_trip() -> None:
    at = desk()
    entry, target, stop = at.enter()
    at.accept(entry.client_order_id)
    for leg in (target, stop):
        at.accept(leg.client_order_id, resting=False)
    at.fill(entry.client_order_id, str(entry.quantity), "30000", "0", "BNB")
    at.now_ms += 150
    assert in_all(at) == (150, 150)
    for leg in (target, stop):
        at.accept(leg.client_order_id, quantity=str(entry.quantity))
    at.now_ms += 60_000
    assert in_all(at) == (150, 150), "a stop rests"
    for leg in (stop, target):
        at.cancel(leg.client_order_id)
    at.now_ms += 2_000
    assert in_all(at) == (2_150, 2_150)
    again, _ = linked_again(at)
    assert in_all(again) == (again.now_ms - at.now_ms + 2_150,) * 2
    again.wait(3_000)  # somebody else cancelled it: the account is looked at first, but not for long
    for order in list(again.engine.orders.open_orders()):
        again.accept(order.id)
    before = in_all(again)
    again.now_ms += 5_000
    assert in_all(again) == before
    fold_is_what_was_lived(again)
    (resting,) = [order for order in again.engine.orders.open_orders() if order.request.purpose is Purpose.STOP]
    again.fill(resting.id, str(held(again)), "29400", "0", "USDT")
    for order in list(again.engine.orders.open_orders()):
        again.cancel(order.id)
    assert again.engine.portfolio.round_trips[-1].unprotected_ms == before[1]
    fold_is_what_was_lived(again)


@pytest.mark.spec("SAFE-2", "SAFE-6")
def test_stop_limit_that_was_being_cancelled_for_a_sale_is_cancelled_by_the_next_process_at_once() -> None:
    dead = with_stop_limits()
    dead.mark("24000")
    assert of(CancelOrder, dead.wait(10_000))
    at, _ = linked_again(dead)
    commands = [command for order in list(at.engine.orders.open_orders()) for command in at.accept(order.id)]
    assert of(CancelOrder, commands)


@pytest.mark.spec("SAFE-2")
def test_stop_limit_that_the_price_comes_back_to_protects_again() -> None:
    at = with_stop_limits()
    at.mark("29000")
    at.wait(5_000)
    at.mark("29200")
    assert quiet(at.wait(60_000))
    assert not at.engine.unprotected_since
    assert in_all(at) == (10_000, 10_000), "that the price came back is seen at the next duty"
    fold_is_what_was_lived(at)


@pytest.mark.spec("SAFE-2", "EXIT-4")
def test_position_of_a_symbol_that_is_no_longer_traded_is_watched_and_its_stop_follows() -> None:
    dead = holding(TRAILING)
    at = Desk(replace(dead.settings, symbols=("ETHUSDT",)), run="r2", journal=list(dead.journal), now_ms=dead.now_ms)
    for message in at.journal:
        at.engine.fold(message)
    commands = at.begin() + at.link("market") + at.link("account")
    assert [watch for watch in of(WatchPrice, commands) if watch.wanted] == [WatchPrice(at.now_ms, "BTCUSDT", True)]
    for order in list(at.engine.orders.open_orders()):
        at.accept(order.id)
    leave_at_stop = only(ReplaceOrder, at.mark("30600"))
    replaced(at, leave_at_stop)
    commands = at.fill(leave_at_stop.order.client_order_id, str(leave_at_stop.order.quantity), "30290")
    assert of(WatchPrice, commands) == [WatchPrice(at.now_ms, "BTCUSDT", False)]


@pytest.mark.spec("SAFE-5")
def test_history_that_is_read_again_does_not_take_a_newer_price_back() -> None:
    at = holding()
    at.mark("30100")
    price = dec(29_000)
    at.tell(
        HistoryLoaded(
            at.now_ms,
            (Candle("BTCUSDT", "15m", at.now_ms - INTERVAL_MS, at.now_ms - 1, price, price, price, price, dec(1)),),
        )
    )
    assert at.engine.marks["BTCUSDT"] == dec(30_100)


# ---------------------------------------------------------------------------------------------------------------
# What breaker and operator want


def tell_flatten(at: Desk) -> list[Command]:
    return at.tell(FlattenRequested(at.now_ms, "ada", "going on holiday"))


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_flatten_sells_what_is_held_with_one_request() -> None:
    at = holding()
    leave = only(ReplaceOrder, tell_flatten(at))
    cancelled(at, leave)
    sold(at, leave.order, "30000")
    assert reasons(at) == ["flatten"]
    assert at.enter("30000"), "entries go on unless paused"
    fold_is_what_was_lived(at)


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_flatten_cancels_an_entry_that_has_not_filled() -> None:
    at = desk()
    entry, *_ = at.enter()
    at.accept(entry.client_order_id)
    assert only(CancelOrder, tell_flatten(at)).client_order_id == entry.client_order_id
    for order in list(at.engine.orders.open_orders()):
        at.cancel(order.id)
    assert not at.engine.orders.busy("BTCUSDT")
    at.now_ms += INTERVAL_MS
    at.hold()
    assert stop_of(at).stop_price == dec("29400")
    assert quiet(at.wait(5_000)), "the wish ended with the entry that it was about"


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_flatten_of_an_entry_that_fills_before_its_cancel_sells_it() -> None:
    at = desk()
    entry, target, stop = at.enter()
    tell_flatten(at)
    at.accept(entry.client_order_id)
    at.fill(entry.client_order_id, str(entry.quantity), "30000")
    commands = at.accept(target.client_order_id, quantity=str(entry.quantity))
    commands += at.accept(stop.client_order_id, quantity=str(entry.quantity))
    assert only(ReplaceOrder, commands).order.reason == "flatten"


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_flatten_waits_for_what_is_on_its_way_and_outlives_a_restart() -> None:
    dead = holding(TRAILING)
    move = only(ReplaceOrder, dead.mark("30600"))
    assert quiet(tell_flatten(dead))
    at, commands = linked_again(dead)
    assert quiet(commands)
    leave = only(ReplaceOrder, replaced(at, move))
    assert (leave.cancel_id, leave.order.reason) == (move.order.client_order_id, "flatten")


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_flatten_takes_a_target_out_of_the_way_that_has_filled_in_part() -> None:
    at = holding()
    (target,) = (o for o in at.engine.orders.open_orders() if o.request.purpose is Purpose.TARGET)
    stop = stop_of(at)
    at.fill(target.id, "0.001", "31200")
    at.tell(OrderExpired(at.now_ms, stop.client_order_id, dec(0), ""))
    assert only(CancelOrder, tell_flatten(at)).client_order_id == target.id
    sale = only(SubmitOrder, at.cancel(target.id, executed="0.001")).order
    assert (sale.purpose, sale.quantity, sale.reason) == (Purpose.EXIT, BTC.lots_down(held(at)), "flatten")


@pytest.mark.spec("OPS-1", "SAFE-3")
def test_close_sells_one_symbol_with_one_request_and_keeps_entries_on() -> None:
    at = holding()
    leave = only(ReplaceOrder, at.tell(CloseRequested(at.now_ms, "ada", "enough of it", "BTCUSDT")))
    cancelled(at, leave)
    sold(at, leave.order, "30000")
    assert reasons(at) == ["close"]
    assert at.enter("30000")
    fold_is_what_was_lived(at)


@pytest.mark.spec("OPS-1")
def test_close_of_what_is_neither_held_nor_on_its_way_sells_nothing_later() -> None:
    at = desk()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert quiet(at.tell(CloseRequested(at.now_ms, "ada", "to be sure", symbol)))
    at.hold()
    at.tell(CloseRequested(at.now_ms, "ada", "to be sure", "ETHUSDT"))
    assert quiet(at.wait(5_000))
    assert stop_of(at).stop_price == dec("29400")


@pytest.mark.spec("OPS-1", "SAFE-2")
def test_cancel_all_cancels_an_entry_and_leaves_what_protects_alone() -> None:
    at = holding()
    assert quiet(at.tell(CancelAllRequested(at.now_ms, "ada", "odd spreads")))
    assert quiet(at.wait(5_000))
    at = desk()
    entry, *_ = at.enter()
    at.accept(entry.client_order_id)
    cancel = only(CancelOrder, at.tell(CancelAllRequested(at.now_ms, "ada", "odd spreads")))
    assert cancel.client_order_id == entry.client_order_id
    for order in list(at.engine.orders.open_orders()):
        at.cancel(order.id)
    fold_is_what_was_lived(at)
    at.now_ms += INTERVAL_MS
    at.hold()
    assert quiet(at.wait(5_000)), "the wish was about the entries of its time"


@pytest.mark.spec("OPS-1", "SAFE-2")
def test_cancel_all_of_an_entry_that_has_bought_something_protects_what_it_bought() -> None:
    at = desk()
    entry, target, stop = at.enter()
    at.accept(entry.client_order_id)
    at.fill(entry.client_order_id, "0.003", "30000")
    at.tell(CancelAllRequested(at.now_ms, "ada", "odd spreads"))
    at.cancel(target.client_order_id)
    at.cancel(stop.client_order_id)
    protection = only(SubmitList, at.cancel(entry.client_order_id, executed="0.003"))
    assert {order.purpose for order in protection.orders} == {Purpose.STOP, Purpose.TARGET}
    assert not at.engine.portfolio.round_trips


@pytest.mark.spec("OPS-1", "SAFE-1")
def test_cancel_all_of_an_entry_that_is_not_answered_waits_for_the_answer_and_outlives_a_restart() -> None:
    dead = desk()
    entry, *_ = dead.enter()
    assert quiet(dead.tell(CancelAllRequested(dead.now_ms, "ada", "odd spreads")))
    at, commands = linked_again(dead)
    assert quiet(commands)
    assert only(CancelOrder, at.accept(entry.client_order_id)).client_order_id == entry.client_order_id


@pytest.mark.spec("OPS-1", "SAFE-3")
def test_kill_switch_sells_all_and_keeps_entries_off_over_a_restart_until_somebody_resumes() -> None:
    at = holding()
    leave = only(ReplaceOrder, at.tell(KillRequested(at.now_ms, "ada", "something is wrong")))
    cancelled(at, leave)
    sold(at, leave.order, "30000")
    assert reasons(at) == ["kill"]
    decision = only(RecordDecision, next_candle(at, "30000", 1.0))
    assert (decision.outcome, decision.detail) == ("paused", "kill switch of ada: something is wrong")
    fold_is_what_was_lived(at)
    at, _ = linked_again(at)
    at.true_snapshot()
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "paused"
    at.tell(ResumeRequested(at.now_ms, "ada", "nothing was"))
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "approved"


@pytest.mark.spec("BRK-3", "BRK-2", "SAFE-3")
def test_tier_that_flattens_sells_on_the_price_that_trips_it() -> None:
    at = holding(breaker={"day_loss": replace(BREAKER.day_loss, value_pct=dec("0.2"), tier=Tier.FLATTEN)})
    at.mark("30000")
    commands = at.mark("29600")
    assert only(RecordTrip, commands).tier is Tier.FLATTEN
    leave = only(ReplaceOrder, commands)
    cancelled(at, leave)
    sold(at, leave.order, "29600")
    assert reasons(at) == ["flatten"]
    assert only(RecordDecision, next_candle(at, "29600", 1.0)).outcome == "breaker"


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_tier_that_shrinks_sells_half_once_and_keeps_the_rest_protected() -> None:
    at = holding(breaker={"day_loss": replace(BREAKER.day_loss, value_pct=dec("0.2"), tier=Tier.SHRINK)})
    whole = held(at)
    at.mark("30000")
    free = only(ReplaceOrder, at.mark("29600"))
    sale = only(SubmitOrder, replaced(at, free)).order
    assert (sale.quantity, sale.reason) == (BTC.lots_down(whole / 2), "shrink")
    sold(at, sale, "29600")
    assert stop_of(at).quantity == held(at)
    fold_is_what_was_lived(at)
    assert quiet(at.mark("29500"))
    assert quiet(at.wait(20_000))


@pytest.mark.spec("BRK-3", "SAFE-3")
def test_shrinking_that_is_refused_is_tried_again() -> None:
    at = holding(breaker={"day_loss": replace(BREAKER.day_loss, value_pct=dec("0.2"), tier=Tier.SHRINK)})
    at.mark("30000")
    free = only(ReplaceOrder, at.mark("29600"))
    refused(at, free)
    again = only(ReplaceOrder, answered(at, 6_000))
    assert (again.part, again.order.quantity) == ("shrink", free.order.quantity)


@pytest.mark.spec("BRK-3")
def test_of_two_trips_at_one_price_the_harder_one_is_done() -> None:
    at = holding(
        breaker={
            "day_loss": replace(BREAKER.day_loss, value_pct=dec("0.2"), tier=Tier.SHRINK),
            "week_loss": replace(BREAKER.week_loss, value_pct=dec("0.2"), tier=Tier.FLATTEN),
        }
    )
    at.mark("30000")
    commands = at.mark("29600")
    assert [trip.tier for trip in of(RecordTrip, commands)] == [Tier.SHRINK, Tier.FLATTEN]
    assert only(ReplaceOrder, commands).order.reason == "flatten"


@pytest.mark.spec("SAFE-3")
@pytest.mark.parametrize("brake", ["trip", "pause", "books", "market link"])
def test_whatever_stops_entries_stops_no_exit(brake: str) -> None:
    at = holding(TRAILING, breaker={"clock_skew_max_ms": 1_000})
    match brake:
        case "trip":
            assert of(RecordTrip, at.tell(ClockRead(at.now_ms, 2_000, 10)))
        case "pause":
            at.tell(PauseRequested(at.now_ms, "ada", "lunch"))
        case "books":
            at.tell(BalanceMoved(at.now_ms, "USDT", dec(1)))
        case _:
            at.tell(LinkLost(at.now_ms, "market", "closed"))
    at.wait(1_000)
    replaced(at, only(ReplaceOrder, at.mark("30600")))
    leave = only(ReplaceOrder, tell_flatten(at))
    cancelled(at, leave)
    sold(at, leave.order, "30600")
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome in ("breaker", "paused", "entries-off")


@pytest.mark.spec("SAFE-3")
def test_pause_stops_entries_until_it_is_taken_back_and_outlives_a_restart() -> None:
    at = desk()
    at.tell(PauseRequested(at.now_ms, "ada", "lunch"))
    decision = only(RecordDecision, at.candle("30000", 1.0))
    assert (decision.outcome, decision.detail) == ("paused", "paused by ada: lunch")
    at, _ = linked_again(at)
    at.snapshot(USDT="1000")
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "paused"
    at.tell(ResumeRequested(at.now_ms, "ada", "back"))
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "approved"


@pytest.mark.spec("SAFE-6", "SAFE-3")
def test_real_money_buys_nothing_before_it_is_switched_on_and_what_is_switched_outlives_a_restart() -> None:
    at = Desk(SETTINGS, mode="live")
    at.start()
    decision = only(RecordDecision, at.candle("30000", 1.0))
    assert (decision.outcome, decision.detail) == ("entries-off", "real money is not switched on yet")
    at, _ = linked_again(at)
    at.snapshot(USDT="1000")
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "entries-off"
    at.tell(LiveSwitched(at.now_ms, "ada", "books agree", on=True))
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "approved"

    at = Desk(SETTINGS, mode="live")
    at.start()
    at.tell(LiveSwitched(at.now_ms, "ada", "books agree", on=True))
    at.hold()
    at, _ = linked_again(at)  # holding, and still on
    at.true_snapshot()
    assert at.engine.live_off is None
    assert stop_of(at).stop_price == dec("29400")
    at.tell(LiveSwitched(at.now_ms, "ada", "away for a week", on=False))
    assert at.engine.entries_off() == "real money was switched off by ada: away for a week"
    replaced(at, leave := only(ReplaceOrder, tell_flatten(at)))  # exits go on
    assert leave.order.purpose is Purpose.EXIT
    at, _ = linked_again(at)
    at.true_snapshot()
    assert at.engine.entries_off() == "real money was switched off by ada: away for a week"


@pytest.mark.spec("SAFE-6")
def test_where_no_real_money_trades_nothing_has_to_be_switched_on() -> None:
    at = desk()
    assert (at.mode, at.engine.live_off) == ("paper", None)
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "approved"


# ---------------------------------------------------------------------------------------------------------------
# The breaker on how things go


def trips(commands: list[Command]) -> list[str]:
    return [trip.rule for trip in of(RecordTrip, commands)]


@pytest.mark.spec("BRK-4")
def test_five_errors_of_the_venue_in_a_minute_trip_and_four_or_slow_ones_do_not() -> None:
    at = desk(breaker={"venue_errors_max": 5})
    found: list[str] = []
    for errors in range(6):
        assert not found
        for leg in at.enter():  # one request, one error
            found += trips(at.tell(OrderRejected(at.now_ms, leg.client_order_id, -1000 - errors, "no")))
        at.now_ms += 10_000
        if errors == 0:
            at.now_ms += 60_000
    assert found == ["venue errors"]
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "breaker"


@pytest.mark.spec("BRK-4")
def test_old_prices_while_holding_trip_by_a_deadline_of_their_own() -> None:
    at = holding(breaker={"stale_data_max_ms": 60_000})
    at.mark("30000")
    assert not trips(at.wait(59_999))
    commands = at.wait(1)
    assert trips(commands) == ["stale data"]
    assert codes(commands) == ["breaker"]
    assert not trips(at.wait(600_000)), "once"


@pytest.mark.spec("BRK-4")
def test_old_prices_are_noticed_with_the_account_link_gone_as_well() -> None:
    at = holding(breaker={"stale_data_max_ms": 60_000})
    at.mark("30000")
    for link in ("market", "account"):
        at.tell(LinkLost(at.now_ms, link, "closed"))
    assert trips(at.wait(60_000)) == ["stale data"]


@pytest.mark.spec("BRK-4")
def test_prices_that_come_or_nothing_held_are_no_stale_data() -> None:
    at = holding(breaker={"stale_data_max_ms": 60_000})
    for _ in range(5):
        assert not trips(at.wait(50_000))
        at.mark("30000")
    empty = desk(breaker={"stale_data_max_ms": 60_000})
    empty.candle("30000")
    assert not trips(empty.wait(600_000))


@pytest.mark.spec("BRK-4", "SAFE-6")
def test_restart_after_an_hour_counts_from_its_own_begin_and_not_from_the_last_price_before() -> None:
    dead = holding(breaker={"stale_data_max_ms": 60_000})
    dead.candle("30000")
    dead.now_ms += 3_600_000
    at, commands = linked_again(dead)
    assert not trips([*commands, *at.wait(59_999)])
    assert trips(at.wait(1)) == ["stale data"]


@pytest.mark.spec("BRK-4")
def test_books_that_differ_trip_and_a_reset_while_they_do_trips_again() -> None:
    at = desk()
    at.candle("30000")
    at.snapshot((), USDT="900")
    at.wait(10_000)
    assert trips(at.snapshot((), USDT="900")) == ["books differ"]
    assert trips(at.tell(BreakerResetRequested(at.now_ms, "ada", "let me trade"))) == ["books differ"]
    at.snapshot((), USDT="1000")
    assert not trips(at.tell(BreakerResetRequested(at.now_ms, "ada", "it agrees now")))
    assert only(RecordDecision, next_candle(at, "30000", 1.0)).outcome == "approved"


@pytest.mark.spec("BRK-4")
@pytest.mark.parametrize(
    ("offset_ms", "error_ms", "trip"), [(999, 0, False), (1_000, 0, True), (-1_500, 500, True), (1_500, 501, False)]
)
def test_clock_skew_trips_when_it_is_certain(offset_ms: int, error_ms: int, trip: bool) -> None:
    at = desk(breaker={"clock_skew_max_ms": 1_000})
    found = trips(at.tell(ClockRead(at.now_ms, offset_ms, error_ms)))
    assert found == (["clock skew"] if trip else [])


@pytest.mark.spec("BRK-4")
def test_the_same_refusal_again_and_again_trips_and_an_accepted_order_ends_the_count() -> None:
    at = desk(breaker={"refusals_max": 3})

    def refuse(code: int) -> list[str]:
        at.now_ms += INTERVAL_MS
        legs = at.enter()
        return [
            rule for leg in legs for rule in trips(at.tell(OrderRejected(at.now_ms, leg.client_order_id, code, "")))
        ]

    assert [refuse(code) for code in (-2010, -2010, -1013, -1013)] == [[], [], [], []]
    at.now_ms += INTERVAL_MS
    entry, *rest = at.enter()
    for order in (entry, *rest):
        at.accept(order.client_order_id)
    for order in (entry, *rest):
        at.cancel(order.client_order_id)
    assert [refuse(-1013), refuse(-1013)] == [[], []], "begun anew"
    assert refuse(-1013) == ["repeated refusals"]


# ---------------------------------------------------------------------------------------------------------------
# Money that comes and goes


@pytest.mark.spec("BRK-1", "BRK-3")
@pytest.mark.parametrize("moved", ["-700", "90000"])
def test_money_that_moves_changes_no_loss_in_per_cent(moved: str) -> None:
    at = desk(breaker={"day_loss": replace(BREAKER.day_loss, value_pct=dec(1))})
    at.hold()
    at.mark("30000")
    assert not trips(at.mark("29000"))
    lost_pct = loss_pct(at)
    commands = at.tell(BalanceMoved(at.now_ms, "USDT", dec(moved)))
    assert only(RecordTransfer, commands).value == dec(moved)
    (told,) = of(RecordAlarm, commands)
    assert (told.code, told.text) == {
        "-700": ("withdrawal", "700 USDT left the account without a trade"),
        "90000": ("deposit", "90000 USDT came into the account without a trade"),
    }[moved]
    assert not trips(commands)
    assert loss_pct(at) == pytest.approx(lost_pct)
    fold_is_what_was_lived(at)


def loss_pct(at: Desk) -> float:
    start, equity = at.engine.breaker.start_of("day loss"), at.engine.equity()
    assert start is not None
    assert equity is not None
    return float((start - equity) * 100 / start)


# ---------------------------------------------------------------------------------------------------------------
# Pauses between entries, and how many orders


@pytest.mark.spec("RISK-1")
def test_orders_for_entries_leave_the_last_part_of_each_limit_to_exits() -> None:
    at = desk()
    at.tell(InstrumentsLoaded(at.now_ms, (BTC,), (("BTCUSDT", FEES),), (OrderLimit(10_000, 7),)))
    at.hold()
    for leg in (stop_of(at),):
        at.fill(leg.client_order_id, str(at.order(leg.client_order_id).quantity), "29400")
    for order in list(at.engine.orders.open_orders()):
        at.tell(OrderExpired(at.now_ms, order.id, None, ""))
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "order-budget"
    at.now_ms += 10_000
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("RISK-1", "SAFE-3")
def test_exits_are_sent_with_the_order_budget_used_up() -> None:
    at = holding()
    at.tell(InstrumentsLoaded(at.now_ms, (BTC,), (("BTCUSDT", FEES),), (OrderLimit(86_400_000, 1),)))
    assert only(ReplaceOrder, tell_flatten(at)).order.purpose is Purpose.EXIT


def lose(at: Desk) -> None:
    at.hold()
    stop = stop_of(at)
    at.fill(stop.client_order_id, str(at.order(stop.client_order_id).quantity), "29400")
    close_list(at)


def win(at: Desk) -> None:
    at.hold()
    (target,) = (o for o in at.engine.orders.open_orders() if o.request.purpose is Purpose.TARGET)
    at.fill(target.id, str(target.quantity), "31200")
    close_list(at)


def close_list(at: Desk) -> None:
    for order in list(at.engine.orders.open_orders()):
        at.tell(OrderExpired(at.now_ms, order.id, None, ""))
    at.now_ms += INTERVAL_MS


@pytest.mark.spec("RISK-4")
def test_three_losses_in_a_row_cool_down_for_an_hour_also_after_a_restart() -> None:
    at = desk(risk={"loss_streak_max": 3})
    for story in (lose, lose, win, lose, lose):
        story(at)
    lost_ms = at.now_ms
    lose(at)
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "cool-down"
    wallets = {asset: str(amount) for asset, amount in at.engine.portfolio.wallets().items()}
    at, _ = linked_again(at)
    at.snapshot((), **wallets)
    at.now_ms = lost_ms + 3_599_999
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "cool-down"
    at.now_ms = lost_ms + 3_600_000
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("RISK-4")
def test_a_win_does_not_end_a_cool_down_and_an_operator_does() -> None:
    at = desk(risk={"loss_streak_max": 1})
    late = at.enter("30000")
    at.engine.cooldown_until_ms = at.now_ms + 3_600_000  # a loss of another symbol, meanwhile
    for order in late:
        at.accept(order.client_order_id, quantity=str(late[0].quantity))
    at.fill(late[0].client_order_id, str(late[0].quantity), "30000")
    at.fill(late[1].client_order_id, str(late[0].quantity), "31200")
    close_list(at)
    assert reasons(at) == ["target"]
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "cool-down"
    at.tell(BreakerResetRequested(at.now_ms, "ada", "I know"))
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("RISK-1")
def test_entries_of_a_symbol_keep_a_distance_also_after_a_restart() -> None:
    at = desk(risk={"entry_gap_min_ms": 300_000})
    begun_ms = at.now_ms
    for order in at.enter():
        at.tell(OrderRejected(at.now_ms, order.client_order_id, -2010, "no"))
    at, _ = linked_again(at)
    at.snapshot(USDT="1000")
    at.now_ms = begun_ms + 299_999
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "too-soon"
    at.now_ms = begun_ms + 300_000
    assert only(RecordDecision, at.candle("30000", 1.0)).outcome == "approved"


@pytest.mark.spec("SAFE-4", "ORD-9")
def test_fills_that_are_owed_for_too_long_no_longer_keep_the_books_from_being_compared() -> None:
    at = holding()
    at.true_snapshot()
    held = at.engine.portfolio.positions["BTCUSDT"].quantity
    (target,) = [order for order in at.engine.orders.open_orders() if order.request.purpose is Purpose.TARGET]
    told = at.tell(OrderExpired(at.now_ms, target.id, held, "done"))  # and no fill of it ever comes
    asked = of(ReadFills, told + at.wait(25_000))
    assert [each.client_order_id for each in asked] == [target.id] * len(asked)
    assert len(asked) > 3
    assert at.engine.books is Books.AGREE
    assert of(ReadAccount, at.wait(10_000))
    at.snapshot(at.resting(), USDT="1000")  # the coins are gone
    assert of(ReadAccount, at.wait(10_000))
    assert "books-differ" in codes(at.snapshot(at.resting(), USDT="1000"))
    assert at.engine.entries_off() is not None


@pytest.mark.spec("SAFE-2", "ORD-8")
def test_what_a_sale_left_for_want_of_buyers_is_sold_again_after_a_second() -> None:
    at = holding()
    leave = only(ReplaceOrder, tell_flatten(at)).order
    held = at.engine.portfolio.positions["BTCUSDT"].quantity
    for order in list(at.engine.orders.open_orders()):
        if order.id != leave.client_order_id:
            at.cancel(order.id)
    at.accept(leave.client_order_id)
    at.fill(leave.client_order_id, "0.001", "30000")
    at.tell(OrderExpired(at.now_ms, leave.client_order_id, dec("0.001"), "INSUFFICIENT_LIQUIDITY"))
    again = only(SubmitOrder, at.wait(1_000)).order
    assert (again.type, again.purpose, again.quantity) == (OrderType.MARKET, Purpose.EXIT, held - dec("0.001"))
