"""The life of an order, cell by cell: each is reached by events only, and told the next report."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import orders
from surefoot.core.messages import (
    CancelRefused,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
)
from surefoot.core.model import ZERO, Purpose
from surefoot.core.orders import LAG_MS, TABLE, Applied, Note, Order, OrderBook, Report, State
from tests.core.desk import LOST_AFTER_MS, START_MS, dec, fill, request

ID = "sf-r1-1e"
SOON_MS = START_MS + 1_000
PAST_BOUND_MS = START_MS + LOST_AFTER_MS

# The table of the design, written down a second time: next state and note of each cell. "=" stays.
LIFE_CYCLE = """
                  ACCEPTED    FILLED_PART            FILLED_ALL    REJECTED      CANCELED      EXPIRED      CANCEL_REFUSED  OUTCOME_UNKNOWN  NOT_FOUND
SUBMITTED         NEW/FINE    PARTIALLY_FILLED/FINE  FILLED/FINE   REJECTED/FINE CANCELED/FINE EXPIRED/FINE =/ERROR         IN_DOUBT/ASK     =/ERROR
IN_DOUBT          NEW/FINE    PARTIALLY_FILLED/FINE  FILLED/FINE   REJECTED/FINE CANCELED/FINE EXPIRED/FINE =/LATE          =/ASK            LOST/FINE
NEW               =/LATE      PARTIALLY_FILLED/FINE  FILLED/FINE   =/ERROR       CANCELED/FINE EXPIRED/FINE =/LATE          =/LATE           =/ALARM
PARTIALLY_FILLED  =/LATE      =/FINE                 FILLED/FINE   =/ERROR       CANCELED/FINE EXPIRED/FINE =/LATE          =/LATE           =/ALARM
CANCEL_SENT       =/LATE      =/FINE                 FILLED/FINE   =/ERROR       CANCELED/FINE EXPIRED/FINE NEW/ASK         =/ASK            NEW/ALARM
FILLED            =/LATE      =/ALARM                =/ALARM       =/ERROR       =/LATE        =/LATE       =/LATE          =/LATE           =/ALARM
CANCELED          =/LATE      =/ALARM                =/ALARM       =/LATE        =/LATE        =/LATE       =/LATE          =/LATE           =/LATE
EXPIRED           =/LATE      =/ALARM                =/ALARM       =/LATE        =/LATE        =/LATE       =/LATE          =/LATE           =/LATE
REJECTED          NEW/ALARM   PARTIALLY_FILLED/ALARM FILLED/ALARM  =/LATE        =/LATE        =/LATE       =/LATE          =/LATE           =/LATE
LOST              NEW/ALARM   PARTIALLY_FILLED/ALARM FILLED/ALARM  =/LATE        =/LATE        =/LATE       =/LATE          =/LATE           =/LATE
"""  # noqa: E501  a table is read as a table


def cells() -> dict[tuple[State, Report], tuple[State, Note]]:
    header, *rows = LIFE_CYCLE.strip().splitlines()
    table = {}
    for row in rows:
        state, *columns = row.split()
        for report, cell in zip(header.split(), columns, strict=True):
            following, note = cell.split("/")
            table[State(state), Report[report]] = (State(state if following == "=" else following), Note[note])
    return table


def filled(trade_id: int, quantity: str, of: str | None = "2") -> OrderFilled:
    return OrderFilled(SOON_MS, fill(ID, trade_id, quantity), 11, None if of is None else dec(of))


ACCEPTED = OrderAccepted(SOON_MS, ID, 11, True, dec(2), None)
REJECTED = OrderRejected(SOON_MS, ID, -2010, "no")
CANCELED = OrderCanceled(SOON_MS, ID, None)
EXPIRED = OrderExpired(SOON_MS, ID, None, "EXCHANGE_CANCELED")
CANCEL_REFUSED = CancelRefused(SOON_MS, ID, -2011, "Unknown order sent.")
UNKNOWN = OutcomeUnknown(SOON_MS, ID, "timed out")
NOT_FOUND = OrderNotFound(PAST_BOUND_MS, ID)

WAYS: dict[State, list[OrderEvent]] = {
    State.SUBMITTED: [],
    State.IN_DOUBT: [UNKNOWN],
    State.NEW: [ACCEPTED],
    State.PARTIALLY_FILLED: [ACCEPTED, filled(1, "0.5")],
    State.CANCEL_SENT: [ACCEPTED],
    State.FILLED: [ACCEPTED, filled(1, "2")],
    State.CANCELED: [ACCEPTED, CANCELED],
    State.EXPIRED: [ACCEPTED, EXPIRED],
    State.REJECTED: [REJECTED],
    State.LOST: [UNKNOWN, NOT_FOUND],
}

REPORTS: dict[Report, Callable[[Order], OrderEvent]] = {
    Report.ACCEPTED: lambda order: ACCEPTED,
    Report.FILLED_PART: lambda order: filled(77, "0.25"),
    Report.FILLED_ALL: lambda order: filled(77, str(dec(2) - order.filled or dec(2))),
    Report.REJECTED: lambda order: REJECTED,
    Report.CANCELED: lambda order: CANCELED,
    Report.EXPIRED: lambda order: EXPIRED,
    Report.CANCEL_REFUSED: lambda order: CANCEL_REFUSED,
    Report.OUTCOME_UNKNOWN: lambda order: UNKNOWN,
    Report.NOT_FOUND: lambda order: NOT_FOUND,
}


def book_with(*events: OrderEvent, quantity: str | None = "2") -> OrderBook:
    book = OrderBook(LOST_AFTER_MS)
    book.submit(request(ID, quantity=quantity), START_MS)
    for event in events:
        book.apply(event)
    return book


def book_in(state: State) -> OrderBook:
    """A book whose order came into a state by what was heard and done, not by being put there."""
    book = book_with(*WAYS[state])
    if state is State.CANCEL_SENT:
        book.cancel_sent(ID, SOON_MS)
    assert the_order(book).state is state
    return book


def the_order(book: OrderBook) -> Order:
    order = book.get(ID)
    assert order is not None
    return order


def told(book: OrderBook, event: OrderEvent) -> Applied:
    applied = book.apply(event)
    assert applied is not None
    return applied


@pytest.mark.spec("ORD-3")
def test_table_is_complete() -> None:
    every = set(product(State, Report))
    assert set(TABLE) == every
    assert set(cells()) == every


@pytest.mark.spec("ORD-3")
@pytest.mark.parametrize(("state", "report"), list(product(State, Report)), ids=lambda cell: cell.name)
def test_each_state_answers_each_report_as_the_design_says(state: State, report: Report) -> None:
    book = book_in(state)
    before = the_order(book).filled
    event = REPORTS[report](the_order(book))
    applied = told(book, event)
    assert (applied.order.state, applied.note) == cells()[state, report]
    gained = event.fill.quantity if isinstance(event, OrderFilled) else ZERO
    assert applied.order.filled == before + gained
    assert (applied.fill is not None) == isinstance(event, OrderFilled)


@pytest.mark.spec("ORD-3", "SAFE-4")
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_repeated_fill_changes_nothing_in_any_state(state: State) -> None:
    book = book_in(state)
    told(book, filled(77, "0.25"))
    order = the_order(book)
    before = (order.state, order.filled, list(book.open_orders()))
    again = told(book, filled(77, "0.25"))
    assert (again.note, again.fill) == (Note.LATE, None)
    assert (order.state, order.filled, list(book.open_orders())) == before


@pytest.mark.spec("ORD-3", "SAFE-4")
@pytest.mark.parametrize("end", [CANCELED, EXPIRED], ids=["canceled", "expired"])
def test_fill_after_the_end_is_kept_and_reported(end: OrderEvent) -> None:
    book = book_with(ACCEPTED, end)
    applied = told(book, filled(9, "0.5"))
    assert applied.note is Note.ALARM
    assert applied.fill is not None
    assert applied.order.filled == dec("0.5")


@pytest.mark.spec("ORD-3")
def test_fills_that_the_end_announced_are_awaited_and_none_of_them_is_an_alarm() -> None:
    book = book_with(ACCEPTED, OrderCanceled(SOON_MS, ID, dec("1.5")))
    order = the_order(book)
    assert (order.owed, order.settled, book.quiet()) == (dec("1.5"), False, False)
    assert order.read_fills_ms == SOON_MS + orders.STREAM_GRACE_MS
    assert [told(book, filled(trade, "0.5")).note for trade in (1, 2, 3)] == [Note.FINE] * 3
    assert order.read_fills_ms is None
    assert (order.owed, order.settled, book.quiet()) == (ZERO, True, True)
    assert told(book, filled(4, "0.1")).note is Note.ALARM


@pytest.mark.spec("ORD-3")
def test_fill_above_the_quantity_of_a_filled_order_is_an_alarm_and_counts() -> None:
    book = book_with(ACCEPTED, filled(1, "2"))
    applied = told(book, filled(2, "0.5"))
    assert (applied.note, applied.order.state, applied.order.filled) == (Note.ALARM, State.FILLED, dec("2.5"))


@pytest.mark.spec("ORD-3")
def test_fill_that_overtakes_the_acknowledgement_is_booked_and_the_acknowledgement_is_late() -> None:
    book = book_with(filled(1, "0.5"))
    order = the_order(book)
    assert (order.state, order.resting, order.first_fill_ms) == (State.PARTIALLY_FILLED, True, START_MS)
    assert told(book, ACCEPTED).note is Note.LATE
    assert (order.state, order.filled) == (State.PARTIALLY_FILLED, dec("0.5"))


@pytest.mark.spec("ORD-3")
def test_leg_of_unknown_size_is_complete_once_the_venue_told_its_size() -> None:
    book = book_with(filled(1, "1.5", of=None), quantity=None)
    assert the_order(book).state is State.PARTIALLY_FILLED
    told(book, OrderAccepted(SOON_MS, ID, 11, True, dec("1.5"), dec("1.5")))
    assert the_order(book).state is State.FILLED
    assert book.quiet()


@pytest.mark.spec("ORD-4")
def test_not_found_counts_only_past_the_bound() -> None:
    book = book_with(UNKNOWN)
    early = told(book, OrderNotFound(PAST_BOUND_MS - 1, ID))
    assert (early.order.state, early.note) == (State.IN_DOUBT, Note.ASK)
    assert book.busy("BTCUSDT")
    assert told(book, OrderNotFound(PAST_BOUND_MS, ID)).order.state is State.LOST
    assert not book.busy("BTCUSDT")


@pytest.mark.spec("ORD-4")
@pytest.mark.parametrize("end", [[REJECTED], [UNKNOWN, NOT_FOUND]], ids=["rejected", "lost"])
def test_order_given_up_is_reopened_when_it_turns_out_to_live(end: list[OrderEvent]) -> None:
    book = book_with(*end)
    assert not book.busy("BTCUSDT")
    applied = told(book, ACCEPTED)
    assert (applied.note, applied.order.state, applied.order.finished_ms) == (Note.ALARM, State.NEW, None)
    assert book.busy("BTCUSDT")
    assert told(book, filled(1, "2")).order.state is State.FILLED
    assert not book.busy("BTCUSDT")


@pytest.mark.spec("ORD-3")
@pytest.mark.parametrize(
    ("before", "meanwhile", "back"),
    [
        ([ACCEPTED], [], State.NEW),
        ([ACCEPTED, filled(1, "0.5")], [], State.PARTIALLY_FILLED),
        ([ACCEPTED], [filled(1, "0.5")], State.PARTIALLY_FILLED),
    ],
    ids=["new", "partially filled", "filled in part while the cancel was on its way"],
)
def test_refused_cancel_goes_back_to_where_the_order_is(
    before: list[OrderEvent], meanwhile: list[OrderEvent], back: State
) -> None:
    book = book_with(*before)
    book.cancel_sent(ID, SOON_MS)
    for event in meanwhile:
        told(book, event)
    assert the_order(book).state is State.CANCEL_SENT
    applied = told(book, CANCEL_REFUSED)
    assert (applied.order.state, applied.note) == (back, Note.ASK)


@pytest.mark.spec("ORD-3")
def test_order_found_alive_after_its_cancel_was_asked_for_is_open_again() -> None:
    book = book_with(ACCEPTED)
    book.asked(ID, SOON_MS)  # a question from before the cancel says nothing about it
    book.cancel_sent(ID, SOON_MS)
    assert told(book, ACCEPTED).order.state is State.CANCEL_SENT
    told(book, UNKNOWN)
    book.asked(ID, SOON_MS + 5_000)
    assert told(book, ACCEPTED).order.state is State.NEW


@pytest.mark.spec("ORD-3")
def test_cancel_for_an_order_in_doubt_leaves_it_in_doubt() -> None:
    book = book_with(UNKNOWN)
    book.cancel_sent(ID, SOON_MS)
    assert the_order(book).state is State.IN_DOUBT


@pytest.mark.spec("ORD-4", "SAFE-1")
def test_new_process_life_doubts_what_was_sent_and_not_answered() -> None:
    book = book_with()
    book.submit(request("sf-r1-2e"), START_MS)
    told(book, ACCEPTED)
    book.doubt_unanswered(SOON_MS)
    other = book.get("sf-r1-2e")
    assert other is not None
    assert (the_order(book).state, other.state) == (State.NEW, State.IN_DOUBT)


@pytest.mark.spec("ORD-5")
def test_client_order_id_is_never_taken_twice() -> None:
    book = book_with(REJECTED)
    with pytest.raises(ValueError):
        book.submit(request(ID), SOON_MS)


@pytest.mark.spec("ORD-5")
def test_report_about_an_order_of_somebody_else_is_left_alone() -> None:
    book = book_with()
    assert book.apply(OrderAccepted(SOON_MS, "web_4711", 11, True, dec(2), None)) is None
    assert list(book.open_orders()) == [the_order(book)]


def test_only_a_bounded_number_of_finished_orders_is_remembered_and_the_oldest_goes_first() -> None:
    book = OrderBook(LOST_AFTER_MS)
    for number in range(orders.FINISHED_ORDERS_KEPT + 1):
        book.submit(request(f"sf-r1-{number}e"), START_MS)
        book.apply(OrderRejected(SOON_MS, f"sf-r1-{number}e", None, "no"))
    assert book.get("sf-r1-0e") is None
    assert book.get("sf-r1-1e") is not None


def test_list_members_are_those_still_open() -> None:
    book = OrderBook(LOST_AFTER_MS)
    for role in ("e", "t", "s"):
        book.submit(request(f"sf-r1-1{role}", purpose=Purpose.ENTRY), START_MS, "sf-r1-1l")
    book.submit(request("sf-r1-9e"), START_MS)
    book.apply(OrderRejected(SOON_MS, "sf-r1-1t", None, "no"))
    assert [order.id for order in book.list_members("sf-r1-1l")] == ["sf-r1-1e", "sf-r1-1s"]


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[OrderEvent], State, Decimal]:
    """All true reports of one order, in any order and with repeats; what it must come to."""
    parts = draw(st.lists(st.sampled_from(["0.25", "0.5"]), max_size=4))
    ending = draw(st.sampled_from(["whole", "canceled", "expired"]))
    executed = sum((dec(part) for part in parts), ZERO)
    if ending == "whole":
        parts = [*parts, str(dec(3) - executed)]
        executed = dec(3)
    told_size = draw(st.booleans())  # a reading of trades does not carry the order's quantity
    events: list[OrderEvent] = [OrderAccepted(SOON_MS, ID, 11, True, dec(3), None)]
    events += [filled(number, part, of="3" if told_size else None) for number, part in enumerate(parts, start=1)]
    state = State.FILLED
    if ending == "canceled":
        events.append(OrderCanceled(SOON_MS, ID, draw(st.sampled_from([executed, None]))))
        state = State.CANCELED
    elif ending == "expired":
        events.append(OrderExpired(SOON_MS, ID, draw(st.sampled_from([executed, None])), "EXCHANGE_CANCELED"))
        state = State.EXPIRED
    repeats = draw(st.lists(st.sampled_from(events), max_size=4))
    return draw(st.permutations([*events, *repeats])), state, executed


@pytest.mark.spec("ORD-3", "SAFE-4")
@given(stories(), st.sampled_from(["3", None]), st.booleans())
def test_true_reports_in_any_order_and_number_come_to_the_same_end(
    story: tuple[list[OrderEvent], State, Decimal], quantity: str | None, doubted: bool
) -> None:
    events, state, executed = story
    book = book_with(*([UNKNOWN] if doubted else []), quantity=quantity)
    applied = [told(book, event) for event in events]
    order = the_order(book)
    counted = [each.fill.trade_id for each in applied if each.fill is not None]
    assert (order.state, order.filled) == (state, executed)
    assert sorted(counted) == sorted(set(counted)) == sorted(order.trades)
    assert order.settled
    assert book.quiet()
    assert not any(each.note is Note.ERROR for each in applied)


@pytest.mark.spec("ORD-4", "ORD-9")
def test_unknown_since_when_it_was_first_said_and_over_by_the_next_list() -> None:
    book = book_with(ACCEPTED)
    for again_ms in (0, 1_000):
        told(book, OrderNotFound(PAST_BOUND_MS + again_ms, ID))
    (lost,) = book.see_listed([], PAST_BOUND_MS + 500, PAST_BOUND_MS + 1_500)
    assert lost[0].state is State.LOST


@pytest.mark.spec("SAFE-2", "ORD-4")
def test_not_known_so_soon_after_it_was_told_of_proves_nothing() -> None:
    book = book_with(ACCEPTED)
    order = the_order(book)
    order.heard_ms = PAST_BOUND_MS
    assert told(book, OrderNotFound(PAST_BOUND_MS + LAG_MS - 1, ID)).note is Note.ASK
    assert (order.resting, order.missing_ms) == (True, None)
    told(book, OrderNotFound(PAST_BOUND_MS + LAG_MS, ID))
    assert (order.resting, order.missing_ms) == (False, PAST_BOUND_MS + LAG_MS)
