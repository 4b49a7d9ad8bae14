"""Futures as stories: long and short, protected at once, moved without a gap, left before the venue takes them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from surefoot.core.exits import ExitSettings, Take
from surefoot.core.messages import (
    AccountSnapshot,
    CancelOrder,
    CancelRefused,
    Command,
    FlattenRequested,
    IncomePaid,
    MarginCalled,
    OrderExpired,
    OrderRejected,
    OutcomeUnknown,
    QueryOrder,
    ReadAccount,
    RecordAlarm,
    RecordDecision,
    RecordTransfer,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import Balance, Income, OrderRequest, OrderType, Purpose, Side, Tier, VenueOrder, VenuePosition
from surefoot.core.orders import State
from surefoot.core.view import view_of
from tests.core.desk import (
    BREAKER,
    EXITS,
    MARGIN,
    PERP,
    RISK,
    SETTINGS,
    Desk,
    codes,
    dec,
    facts,
    fill,
    of,
    only,
    sent,
)

TRAILING = replace(EXITS, trail_activate_pct=dec("1.5"), trail_distance_pct=dec(1), trail_step_pct=dec("0.5"))
TARGETS = pytest.mark.parametrize("target", [1.0, -1.0], ids=["long", "short"])


def desk(exits: ExitSettings = EXITS, margin: Any = MARGIN, balance: str = "10000", **risk: Any) -> Desk:
    settings = replace(SETTINGS, exits=exits, margin=margin, risk=replace(RISK, **risk))
    made = Desk(settings, PERP)
    made.start(USDT=balance)
    return made


def mirrored(price: int | str, target: float, around: int = 30_000) -> str:
    """The same way from 30000, upwards for a long position and downwards for a short one."""
    return str(around + (dec(price) - around) * (1 if target > 0 else -1))


def enter(at: Desk, target: float, price: str = "30000") -> OrderRequest:
    (entry,) = sent(at.candle(price, target))
    at.accept(entry.client_order_id)
    return entry


def hold(at: Desk, target: float) -> tuple[OrderRequest, OrderRequest, OrderRequest]:
    """Entry, stop and target of a position that is protected."""
    entry = enter(at, target)
    stop, goal = sent(at.fill(entry.client_order_id, str(entry.quantity), "30000"))
    at.accept(stop.client_order_id)
    at.accept(goal.client_order_id)
    return entry, stop, goal


def size(order: OrderRequest) -> Decimal:
    assert order.quantity is not None
    return order.quantity


def position(at: Desk) -> Decimal:
    held = at.engine.portfolio.positions.get("BTCUSDT")
    return dec(0) if held is None else held.signed_quantity


@pytest.mark.spec("MODE-3", "ORD-6", "SAFE-2")
@TARGETS
def test_stop_and_target_are_sent_at_once_after_the_entry_is_filled(target: float) -> None:
    at = desk()
    entry = enter(at, target)
    assert (entry.side, entry.type) == ((Side.BUY if target > 0 else Side.SELL), OrderType.LIMIT)
    commands = at.fill(entry.client_order_id, str(entry.quantity), "30000")
    stop, goal = sent(commands)
    out = Side.SELL if target > 0 else Side.BUY
    assert (stop.type, stop.side, stop.quantity) == (OrderType.STOP_MARKET, out, entry.quantity)
    assert stop.stop_price == dec(mirrored(29_400, target))
    assert (goal.type, goal.side, goal.quantity) == (OrderType.TAKE_PROFIT_MARKET, out, entry.quantity)
    assert goal.stop_price == dec(mirrored(31_200, target))
    assert not of(SubmitList, commands) + of(ReplaceOrder, commands)
    assert at.engine.unprotected_since == {"BTCUSDT": at.now_ms}
    at.accept(stop.client_order_id)
    assert at.engine.unprotected_since == {}


@pytest.mark.spec("ORD-6", "ORD-8", "SAFE-2")
@TARGETS
def test_part_of_an_entry_is_protected_while_the_rest_still_waits(target: float) -> None:
    at = desk()
    entry = enter(at, target)
    first, goal = sent(at.fill(entry.client_order_id, "0.010", "30000"))
    assert first.quantity == dec("0.010")
    at.accept(first.client_order_id)
    at.accept(goal.client_order_id)
    whole, all_out = sent(at.fill(entry.client_order_id, str(size(entry) - dec("0.010")), "30000"))
    assert whole.quantity == all_out.quantity == entry.quantity
    cancels = of(CancelOrder, at.accept(whole.client_order_id))
    assert cancels == [CancelOrder(at.now_ms, "BTCUSDT", first.client_order_id, conditional=True)]
    cancels = of(CancelOrder, at.accept(all_out.client_order_id))
    assert [each.client_order_id for each in cancels] == [goal.client_order_id]


@pytest.mark.spec("EXIT-4", "ORD-6")
@TARGETS
def test_a_stop_moves_by_resting_the_new_one_before_the_old_one_is_cancelled(target: float) -> None:
    at = desk(TRAILING)
    _, stop, _ = hold(at, target)
    commands = at.mark(mirrored(30_450, target))
    (moved,) = sent(commands)
    assert (moved.purpose, moved.reason, moved.type) == (Purpose.STOP, "trail", OrderType.STOP_MARKET)
    assert not of(CancelOrder, commands)  # until the new one rests
    cancel = only(CancelOrder, at.accept(moved.client_order_id))
    assert (cancel.client_order_id, cancel.conditional) == (stop.client_order_id, True)
    at.cancel(stop.client_order_id)
    assert at.engine.unprotected_since == {}
    assert at.engine.plans["BTCUSDT"].stop_price == moved.stop_price
    assert sent(at.mark(mirrored(30_900, target)))


@pytest.mark.spec("ORD-6", "SAFE-2")
def test_a_new_stop_that_the_venue_refuses_leaves_the_old_one_alone() -> None:
    at = desk(TRAILING)
    _, stop, _ = hold(at, 1.0)
    (moved,) = sent(at.mark("30450"))
    commands = at.tell(OrderRejected(at.now_ms, moved.client_order_id, -2021, "Order would immediately trigger."))
    assert not sent(commands)
    assert not of(CancelOrder, commands)
    assert at.order(stop.client_order_id).state is State.NEW
    assert at.engine.unprotected_since == {}


@pytest.mark.spec("EXIT-2", "MODE-3")
@TARGETS
@pytest.mark.parametrize("ended_by", ["stop", "target"])
def test_what_is_left_of_the_protection_is_cancelled_when_the_position_is_gone(target: float, ended_by: str) -> None:
    at = desk()
    entry, stop, goal = hold(at, target)
    hit, left = (stop, goal) if ended_by == "stop" else (goal, stop)
    sign = -1 if ended_by == "stop" else 1
    profit = sign * size(entry) * (600 if ended_by == "stop" else 1_200)
    commands = at.fill(hit.client_order_id, str(entry.quantity), str(hit.stop_price), "1", realised=str(profit))
    assert [each.client_order_id for each in of(CancelOrder, commands)] == [left.client_order_id]
    assert not sent(commands)
    assert not at.engine.portfolio.round_trips
    at.cancel(left.client_order_id)
    (trip,) = at.engine.portfolio.round_trips
    assert (trip.side, trip.reason, trip.pnl) == ("long" if target > 0 else "short", ended_by, profit - 1)
    assert at.engine.portfolio.wallet("USDT") == 10_000 + profit - 1


@pytest.mark.spec("EXIT-2", "ORD-3")
def test_an_exit_that_the_venue_cut_to_what_was_held_is_over_when_it_says_so() -> None:
    at = desk()
    entry, stop, goal = hold(at, 1.0)
    part = size(entry) - dec("0.001")
    at.fill(goal.client_order_id, "0.001", "31200", realised="1.2")
    at.cancel(goal.client_order_id)
    assert not of(CancelOrder, at.fill(stop.client_order_id, str(part), "29400", realised="-1"))
    assert at.order(stop.client_order_id).state is State.PARTIALLY_FILLED
    at.tell(OrderExpired(at.now_ms, stop.client_order_id, part, "finished"))
    assert len(at.engine.portfolio.round_trips) == 1


@pytest.mark.spec("EXIT-7", "MODE-3")
@TARGETS
def test_opposite_signal_closes_and_opens_the_other_way_only_when_flat(target: float) -> None:
    at = desk(replace(EXITS, opposite_score_min=0.5))
    entry, stop, goal = hold(at, target)
    commands = at.candle("30010", -target)
    (leaving,) = sent(commands)
    assert (leaving.purpose, leaving.type, leaving.reason) == (Purpose.EXIT, OrderType.MARKET, "opposite")
    assert only(RecordDecision, commands).outcome == "position"
    at.accept(leaving.client_order_id)
    assert not sent(at.candle("30010", -target))
    cancels = of(CancelOrder, at.fill(leaving.client_order_id, str(entry.quantity), "30010", realised="0"))
    assert {each.client_order_id for each in cancels} == {stop.client_order_id, goal.client_order_id}
    assert only(RecordDecision, at.candle("30010", -target)).outcome == "position"  # two orders are still open
    at.cancel(stop.client_order_id)
    at.cancel(goal.client_order_id)
    (other_way,) = sent(at.candle("30010", -target))
    assert (other_way.purpose, other_way.side) == (Purpose.ENTRY, leaving.side)


@pytest.mark.spec("MODE-3")
def test_signal_that_wants_neither_is_recorded_and_enters_nothing() -> None:
    at = desk()
    decision = only(RecordDecision, at.candle("30000", 0.0))
    assert decision.outcome == "flat"


@pytest.mark.spec("EXIT-6")
def test_a_part_is_closed_at_the_market_and_its_stage_is_behind_the_position() -> None:
    at = desk(replace(EXITS, takes=(Take(dec(2), dec(50)), Take(dec(3), dec(25)))))
    entry, stop, _ = hold(at, -1.0)
    command = only(SubmitOrder, at.mark("29400"))
    assert (command.order.purpose, command.order.side, command.taken) == (Purpose.PART, Side.BUY, 1)
    assert command.order.quantity == dec("0.033")  # half of 0.066
    at.accept(command.order.client_order_id)
    assert not sent(at.mark("29400"))
    at.fill(command.order.client_order_id, "0.033", "29400", realised="19.8")
    assert position(at) == -(size(entry) - dec("0.033"))
    assert at.engine.unprotected_since == {}  # the stop covers more than is left, and is cut to it
    assert at.order(stop.client_order_id).state is State.NEW
    assert only(SubmitOrder, at.mark("29100")).taken == 2
    assert at.engine.taken == {"BTCUSDT": 2}


@pytest.mark.spec("OPS-1", "SAFE-3")
def test_flatten_leaves_at_once_beside_the_resting_orders() -> None:
    at = desk()
    entry, *_ = hold(at, -1.0)
    commands = at.tell(FlattenRequested(at.now_ms, "alex", "enough"))
    (leaving,) = sent(commands)
    assert (leaving.purpose, leaving.side, leaving.quantity) == (Purpose.EXIT, Side.BUY, entry.quantity)
    assert not of(CancelOrder, commands)
    refused = at.tell(OrderRejected(at.now_ms, leaving.client_order_id, -1008, "throttled"))
    assert not sent(refused)
    assert len(sent(at.wait(2_000))) == 1  # tried again, once


@pytest.mark.spec("BRK-3")
def test_a_trip_that_shrinks_closes_half() -> None:
    limit = replace(BREAKER.day_loss, value_pct=dec("0.1"), tier=Tier.SHRINK)
    at = Desk(replace(SETTINGS, margin=MARGIN, breaker=replace(BREAKER, day_loss=limit)), PERP)
    at.start(USDT="10000")
    entry, *_ = hold(at, 1.0)
    commands = at.mark("29500")
    part = only(SubmitOrder, commands).order
    assert (part.purpose, part.reason, part.quantity) == (Purpose.PART, "shrink", size(entry) / 2)
    assert not sent(at.mark("29499"))


@pytest.mark.spec("EXIT-1", "SAFE-3")
@TARGETS
@pytest.mark.parametrize("isolated", [True, False])
def test_a_position_is_left_before_the_venue_takes_it(target: float, isolated: bool) -> None:
    far = replace(EXITS, stop_pct_of_price=dec(2), target_pct_of_price=dec(90))
    margin = replace(MARGIN, leverage=20, isolated=isolated)
    at = desk(far, margin, "10000", notional_max_pct_of_equity=dec(300), notional_max_quote=dec(30_000))
    entry, *_ = hold(at, target)
    if not isolated:  # what stood behind it has been withdrawn meanwhile
        left = size(entry) * 30_000 / 20
        withdrawn = left - at.engine.portfolio.wallet("USDT")
        at.tell(IncomePaid(at.now_ms, 1, Income.TRANSFER, "", "USDT", withdrawn, at.now_ms))
    price = at.engine.liquidation_price("BTCUSDT", at.now_ms)
    assert price is not None
    edge = price * (dec("1.01") if target > 0 else dec("0.99"))
    step = 1 if target > 0 else -1
    assert not sent(at.mark(f"{edge + step:.1f}"))
    commands = at.mark(f"{edge - step:.1f}")
    (leaving,) = sent(commands)
    assert (leaving.purpose, leaving.reason, leaving.quantity) == (Purpose.EXIT, "liquidation", entry.quantity)
    assert not sent(at.mark(f"{edge - 2 * step:.1f}"))  # it is on its way


def near_the_end(target: float) -> tuple[Desk, Decimal, int]:
    """A position at leverage 20 far from its stop, how near its liquidation it may come, and which way that is."""
    far = replace(EXITS, stop_pct_of_price=dec(2), target_pct_of_price=dec(90))
    at = desk(far, replace(MARGIN, leverage=20, isolated=True), "10000", notional_max_quote=dec(30_000))
    hold(at, target)
    price = at.engine.liquidation_price("BTCUSDT", at.now_ms)
    assert price is not None
    return at, price * (dec("1.01") if target > 0 else dec("0.99")), 1 if target > 0 else -1


@pytest.mark.spec("EXIT-1", "SAFE-3")
@TARGETS
def test_the_mark_price_decides_how_near_the_liquidation_is_and_not_the_last_price(target: float) -> None:
    at, edge, step = near_the_end(target)
    assert not sent(at.mark_price(f"{edge + step:.1f}"))
    assert not sent(at.mark(f"{edge - step:.1f}"))  # the venue does not look at this one
    at.mark("30000")
    commands = at.mark_price(f"{edge - step:.1f}")
    (leaving,) = sent(commands)
    assert (leaving.purpose, leaving.reason) == (Purpose.EXIT, "liquidation")
    alarm = only(RecordAlarm, commands)
    assert alarm.code == "liquidation-near"
    assert f"mark price {edge - step:.1f}" in alarm.text
    assert not at.mark_price(f"{edge - 2 * step:.1f}")  # it is on its way


@pytest.mark.spec("EXIT-1", "SAFE-3")
@TARGETS
def test_where_the_mark_price_is_old_the_last_price_decides_and_that_is_said_once(target: float) -> None:
    at, edge, step = near_the_end(target)
    at.mark_price("30000")
    most_ms = at.engine.settings.risk.price_age_max_ms
    at.now_ms += most_ms
    assert not codes(at.mark("30000"))
    at.now_ms += 1
    commands = at.mark("30000")
    assert codes(commands) == ["mark-price-missing"]
    assert at.engine.mark_price("BTCUSDT", at.now_ms) is None
    assert not codes(at.mark("30000"))
    at.mark_price("30000")
    at.now_ms += most_ms + 1
    commands = at.mark(f"{edge - step:.1f}")
    assert codes(commands) == ["mark-price-missing"]
    assert sent(commands)[0].reason == "liquidation"


@pytest.mark.spec("EXIT-1", "OPS-1")
def test_the_view_tells_the_mark_price_while_it_is_known() -> None:
    at, _, _ = near_the_end(1.0)
    assert view_of(at.engine, at.now_ms).positions[0].mark_price is None
    at.mark_price("29999.5")
    assert view_of(at.engine, at.now_ms).positions[0].mark_price == dec("29999.5")
    late_ms = at.now_ms + at.engine.settings.risk.price_age_max_ms + 1
    assert view_of(at.engine, late_ms).positions[0].mark_price is None


@pytest.mark.spec("EXIT-1", "PNL-2", "SAFE-4")
def test_what_the_venue_liquidates_is_booked_once_and_said() -> None:
    at = desk()
    entry, stop, goal = hold(at, 1.0)
    taken = replace(
        fill("autoclose-1", 9, str(entry.quantity), "20000", Side.SELL, "8", "USDT"), realised=-10_000 * size(entry)
    )
    commands = at.tell(VenueTraded(at.now_ms, taken, "liquidation"))
    assert codes(commands)[0] == "venue-traded"
    assert {each.client_order_id for each in of(CancelOrder, commands)} == {stop.client_order_id, goal.client_order_id}
    assert position(at) == 0
    wallet = at.engine.portfolio.wallet("USDT")
    assert wallet == 10_000 - size(entry) * 10_000 - 8
    at.tell(VenueTraded(at.now_ms, taken, "liquidation"))
    assert at.engine.portfolio.wallet("USDT") == wallet
    at.cancel(stop.client_order_id)
    at.cancel(goal.client_order_id)
    assert at.engine.portfolio.round_trips[-1].reason == "liquidation"


FORCED = 6071832819


def forced(at: Desk, trade_id: int, quantity: Decimal, executed: Decimal) -> VenueTraded:
    """A trade of one order of the venue, at 20000 of a position that was bought at 30000."""
    fee = str(quantity * 8)
    taken = replace(
        fill("autoclose-1", trade_id, str(quantity), "20000", Side.SELL, fee, "USDT"),
        realised=-10_000 * quantity,
        at_ms=at.now_ms,
    )
    return VenueTraded(at.now_ms, taken, "liquidation", FORCED, executed)


@pytest.mark.spec("EXIT-1", "ORD-9", "PNL-2", "SAFE-4")
@pytest.mark.parametrize(
    "heard",
    [((0, 0),), ((0, 1),), ((0, 2),), ((11, 0),), ((0, 0), (12, 1)), ((0, 0), (0, 1), (0, 2)), ((13, 2), (0, 1))],
    ids=["first", "second", "last", "with its id", "first and second", "all", "out of order"],
)
def test_a_liquidation_that_was_told_in_part_and_without_trade_ids_is_booked_once_when_it_is_read(
    heard: tuple[tuple[int, int], ...],
) -> None:
    at = desk()
    entry, _, _ = hold(at, 1.0)
    half, tenth = size(entry) / 2, size(entry) / 10
    parts = ((half, half), (tenth, half + tenth), (half - tenth, size(entry)))
    for trade_id, which in heard:
        commands = at.tell(forced(at, trade_id, *parts[which]))
        assert codes(commands).count("venue-traded") == 1
    for trade_id, part in enumerate(parts, 11):
        at.tell(forced(at, trade_id, *part))
    assert position(at) == 0
    assert at.engine.portfolio.wallet("USDT") == 10_000 - size(entry) * 10_008
    for trade_id, part in enumerate(parts, 11):
        assert codes(at.tell(forced(at, trade_id, *part))) == []
    assert at.engine.portfolio.wallet("USDT") == 10_000 - size(entry) * 10_008


@pytest.mark.spec("EXIT-1", "ORD-9")
def test_trades_of_an_older_journal_that_does_not_tell_their_order_are_each_booked() -> None:
    at = desk()
    entry, _, _ = hold(at, 1.0)
    for trade_id in (11, 12):
        at.tell(replace(forced(at, trade_id, size(entry) / 2, Decimal(0)), order_id=0))
    assert position(at) == 0
    assert at.engine.portfolio.wallet("USDT") == 10_000 - size(entry) * 10_008


@pytest.mark.spec("EXIT-1")
def test_margin_call_is_an_alarm() -> None:
    at = desk()
    hold(at, 1.0)
    commands = at.tell(MarginCalled(at.now_ms, ("BTCUSDT",)))
    assert codes(commands) == ["margin-call"]
    assert "BTCUSDT" in only(RecordAlarm, commands).text


@pytest.mark.spec("SAFE-2", "SAFE-3")
def test_doubt_about_the_stop_holds_up_the_way_out_for_no_longer_than_the_bound() -> None:
    at = desk()
    entry = enter(at, 1.0)
    stop, goal = sent(at.fill(entry.client_order_id, str(entry.quantity), "30000"))
    at.accept(goal.client_order_id)
    asked = at.tell(OutcomeUnknown(at.now_ms, stop.client_order_id, "no answer", at.now_ms))
    assert not sent(asked)
    commands = at.wait(9_999)
    query = of(QueryOrder, commands)[0]
    assert (query.client_order_id, query.conditional) == (stop.client_order_id, True)
    assert not sent(commands)
    commands = at.wait(1)
    assert codes(commands) == ["unprotected"]
    assert only(SubmitOrder, commands).order.purpose is Purpose.EXIT


@pytest.mark.spec("EXIT-2")
def test_a_target_that_the_venue_refuses_is_watched() -> None:
    at = desk()
    _, _, goal = hold(at, 1.0)
    at.tell(OrderExpired(at.now_ms, goal.client_order_id, dec(0), "rejected"))
    assert not sent(at.mark("31200"))
    assert sent(at.mark("31200.1"))[0].reason == "target"


@pytest.mark.spec("PNL-2", "SAFE-4")
def test_income_is_booked_once_by_its_number_and_only_what_came_after_the_books_opened() -> None:
    at = Desk(replace(SETTINGS, margin=MARGIN), PERP)
    at.begin()
    at.link("market")
    assert only(ReadAccount, at.link("account")).income_since_ms is None
    old = IncomePaid(at.now_ms, 7, Income.FUNDING, "BTCUSDT", "USDT", dec(-1), at.now_ms - 5)
    at.tell(old)
    at.snapshot(USDT="1000")
    at.tell(old)
    assert at.engine.portfolio.wallet("USDT") == 1_000
    for _ in range(2):
        at.tell(IncomePaid(at.now_ms, 8, Income.FUNDING, "BTCUSDT", "USDT", dec("-0.25"), at.now_ms))
    assert at.engine.portfolio.wallet("USDT") == dec("999.75")
    at.tell(IncomePaid(at.now_ms, 8, Income.INSURANCE, "BTCUSDT", "USDT", dec(-1), at.now_ms))
    assert at.engine.portfolio.wallet("USDT") == dec("998.75")
    assert only(ReadAccount, at.wait(300_000)).income_since_ms == at.now_ms - 300_000


@pytest.mark.spec("PNL-2", "SAFE-4", "SAFE-6")
def test_income_that_nobody_heard_is_asked_for_since_the_books_opened_where_none_was_told_before() -> None:
    first = desk(balance="1000")
    opened_ms = first.now_ms
    again = first.restarted()
    again.wait(3_600_000)
    again.link("market")
    assert only(ReadAccount, again.link("account")).income_since_ms == opened_ms
    for number, paid_ms in enumerate((opened_ms - 400_000, opened_ms + 900_000)):
        again.tell(IncomePaid(again.now_ms, number, Income.FUNDING, "BTCUSDT", "USDT", dec("-0.25"), paid_ms))
    assert again.engine.portfolio.wallet("USDT") == dec("999.75"), "what was paid long before is in the books' opening"


@pytest.mark.spec("BRK-1")
def test_a_transfer_among_the_income_is_neither_profit_nor_loss() -> None:
    at = desk(balance="1000")
    at.mark("30000")
    commands = at.tell(IncomePaid(at.now_ms, 8, Income.TRANSFER, "", "USDT", dec(-500), at.now_ms))
    assert only(RecordTransfer, commands) == RecordTransfer(at.now_ms, dec(-500), dec(500))
    assert [told.code for told in of(RecordAlarm, commands)] == ["withdrawal"]
    assert at.engine.entries_off()
    again = at.tell(IncomePaid(at.now_ms, 8, Income.TRANSFER, "", "USDT", dec(-500), at.now_ms))
    assert not of(RecordTransfer, again)
    assert not of(RecordAlarm, again)
    at.true_snapshot()
    assert at.engine.entries_off() is None


@pytest.mark.spec("ORD-9", "SAFE-4")
def test_a_position_that_the_venue_counts_otherwise_stops_entries() -> None:
    at = desk()
    at.true_snapshot()
    assert at.engine.entries_off() is None
    for _ in range(2):
        held = (Balance("USDT", dec(10_000), dec(0)),)
        there = (VenuePosition("BTCUSDT", dec("-0.5"), dec(30_000), None, None),)
        at.tell(AccountSnapshot(at.now_ms, held, (), there))
    assert at.engine.differences == ("BTCUSDT: position here 0, venue -0.5",)
    other = (VenuePosition("XRPUSDT", dec(5), dec(1), None, None),)
    at.tell(AccountSnapshot(at.now_ms, held, (), other))
    assert at.engine.entries_off() is None
    assert at.engine.foreign == ("XRPUSDT: a position of 5",)


@pytest.mark.spec("EXIT-1", "ORD-9", "SAFE-4")
def test_of_a_position_that_the_venue_has_otherwise_its_own_trades_are_asked_for_before_that_counts() -> None:
    at = desk()
    entry, stop, goal = hold(at, 1.0)
    at.true_snapshot()
    opened_ms = at.engine.portfolio.positions["BTCUSDT"].opened_ms
    gone = (Balance("USDT", at.engine.portfolio.wallet("USDT") - 500, dec(0)),)
    resting = tuple(
        VenueOrder(each.client_order_id, 1, "BTCUSDT", each.side, each.type, size(each), dec(0), dec(0), dec(0), True)
        for each in (stop, goal)
    )
    assert only(ReadAccount, at.wait(300_000)).in_question == ()
    at.tell(AccountSnapshot(at.now_ms, gone, resting, ()))
    assert at.engine.entries_off() is None
    assert only(ReadAccount, at.wait(2_000)).in_question == (("BTCUSDT", opened_ms),)
    taken = replace(
        fill("autoclose-1", 9, str(entry.quantity), "25000", Side.SELL, "8", "USDT"),
        realised=dec(-492),
        at_ms=at.now_ms,
    )
    assert "venue-traded" in codes(at.tell(VenueTraded(at.now_ms, taken, "liquidation")))
    assert codes(at.tell(VenueTraded(at.now_ms, taken, "liquidation"))) == []
    for order in (stop, goal):
        at.cancel(order.client_order_id)
    at.tell(AccountSnapshot(at.now_ms, gone, (), ()))
    assert at.engine.differences == ()
    assert position(at) == 0
    assert only(ReadAccount, at.wait(300_000)).in_question == ()


@pytest.mark.spec("ORD-9")
@TARGETS
def test_a_restart_knows_of_futures_what_was_known(target: float) -> None:
    at = desk(TRAILING)
    hold(at, target)
    (moved,) = sent(at.mark(mirrored(30_450, target)))
    at.accept(moved.client_order_id)
    at.tell(IncomePaid(at.now_ms, 3, Income.FUNDING, "BTCUSDT", "USDT", dec("0.5"), at.now_ms))
    again = at.restarted()
    lived, folded = facts(at.engine), facts(again.engine)
    for known in ("ledger", "positions", "plans", "taken", "income", "round trips", "courses"):
        assert lived.get(known) == folded.get(known), known
    commands: list[Command] = again.link("account")
    assert not sent(commands)


@pytest.mark.spec("ORD-6")
def test_a_cancel_of_the_old_stop_that_fails_is_tried_again() -> None:
    at = desk(TRAILING)
    _, stop, _ = hold(at, 1.0)
    (moved,) = sent(at.mark("30450"))
    at.accept(moved.client_order_id)
    at.tell(CancelRefused(at.now_ms, stop.client_order_id, -1008, "throttled"))
    assert of(CancelOrder, at.wait(6_000))[0].client_order_id == stop.client_order_id
