"""What the journal tells: decisions, orders with their life lines, fills, round trips, equity, trips, and itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Path, Query, Response

from surefoot.api.guard import Viewer
from surefoot.api.performance import Performance, performance_of
from surefoot.api.problems import Problem
from surefoot.api.reading import (
    Chosen,
    Limit,
    Ms,
    Page,
    Symbol,
    TheDesk,
    TheRecords,
    told,
    told_curve,
    told_page,
    told_records,
)
from surefoot.api.records import (
    AlarmItem,
    DecisionItem,
    EquityPoint,
    FillItem,
    JournalItem,
    OrderItem,
    RoundTripItem,
    journal_page,
)
from surefoot.chronicle import turns
from surefoot.core.messages import Command, Event
from surefoot.store.journal import SEQ_MAX

router = APIRouter(tags=["past"])

KINDS: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Event) + get_args(Command)}
Kind = StrEnum("Kind", {name: name for name in sorted(KINDS)})  # type: ignore[misc]  # names of the two unions
POINTS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class OrderLife:
    """An order and every record of the journal about it, oldest first."""

    order: OrderItem
    records: tuple[JournalItem, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A trip of the breaker or its reset, with the equity around it: of the hour before by the minute, of the hour
    after as the journal has it. `value` and `limit` are in the rule's unit."""

    at_ms: int
    kind: str
    text: str
    in_force: bool
    equity: Decimal | None
    rule: str | None
    tier: str | None
    value: Decimal | None
    limit: Decimal | None
    who: str | None
    reason: str | None
    before: tuple[tuple[int, Decimal], ...]
    after: tuple[tuple[int, Decimal], ...]


Outcome = Annotated[
    str, Query(max_length=60, description="`approved`, `refused` (by any rule), `none`, or the name of a rule.")
]
Points = Annotated[int, Query(ge=2, le=POINTS_MAX, description="The curve is thinned to at most so many.")]
OrderId = Annotated[str, Path(max_length=64, pattern="^[0-9A-Za-z_.:/-]+$")]


@router.get("/decisions", response_model=Page[DecisionItem])
async def decisions(person: Viewer, records: TheRecords, wanted: Chosen, outcome: Outcome | None = None) -> Response:
    """Every decision with what the rules saw, and which gate refused; newest first."""
    from_ms = records.decisions.from_ms
    return told_records(
        records, "decisions", wanted, outcome, make=lambda: records.decision_page(wanted, outcome), from_ms=from_ms
    )


@router.get("/signals", response_model=Page[DecisionItem])
async def signals(person: Viewer, records: TheRecords) -> Response:
    """The newest signal of each symbol, and what became of it."""
    return told_records(records, "signals", make=lambda: (records.signals(), None), from_ms=None)


@router.get("/orders", response_model=Page[OrderItem])
async def orders(
    person: Viewer, records: TheRecords, wanted: Chosen, is_open: Annotated[bool | None, Query(alias="open")] = None
) -> Response:
    """Orders of ours, newest first; `open` chooses those that something may still come of, or the others. Those that
    were submitted together share a page."""
    from_ms = None if is_open else records.orders_from_ms  # open ones are always kept
    return told_records(
        records, "orders", wanted, is_open, make=lambda: records.order_page(wanted, is_open=is_open), from_ms=from_ms
    )


@router.get("/orders/{client_order_id}", response_model=OrderLife)
async def order(person: Viewer, records: TheRecords, client_order_id: OrderId) -> Response:
    """An order with its life line."""
    found = records.order(client_order_id)
    if found is None:
        raise Problem(404, "order_unknown", "no order of ours has this id, or it is older than what is kept")
    return told({"order": found[0], "records": found[1]})


@router.get("/fills", response_model=Page[FillItem])
async def fills(person: Viewer, records: TheRecords, wanted: Chosen) -> Response:
    """Executions of ours, newest first."""
    return told_records(records, "fills", wanted, make=lambda: records.fill_page(wanted), from_ms=records.fills.from_ms)


@router.get("/round-trips", response_model=Page[RoundTripItem])
async def round_trips(person: Viewer, records: TheRecords, wanted: Chosen) -> Response:
    """From flat to flat, newest first."""
    from_ms = records.round_trips.from_ms
    return told_records(records, "round trips", wanted, make=lambda: records.round_trip_page(wanted), from_ms=from_ms)


@router.get("/alarms", response_model=Page[AlarmItem])
async def alarms(person: Viewer, records: TheRecords, wanted: Chosen) -> Response:
    """What the trader raised, newest first."""
    return told_records(
        records, "alarms", wanted, make=lambda: records.alarm_page(wanted), from_ms=records.alarms.from_ms
    )


@router.get("/equity", response_model=Page[EquityPoint])
async def equity(
    person: Viewer, records: TheRecords, since_ms: Ms | None = None, until_ms: Ms | None = None, points: Points = 500
) -> Response:
    """The equity curve, oldest first."""
    return told_curve(
        records,
        since_ms,
        until_ms,
        points,
        make=lambda: records.equity(since_ms, until_ms, points),
        from_ms=records.curve.from_ms,
    )


@router.get("/metrics", response_model=Performance)
async def metrics(person: Viewer, records: TheRecords) -> Response:
    """How the bot did, from its equity curve and its round trips. What is not defined is null."""
    return told(performance_of(records))


@router.get("/breaker/history", response_model=Page[Turn])
async def breaker_history(person: Viewer, records: TheRecords) -> Response:
    """Trips and resets, oldest first, with the equity around each."""
    curve = [(row.at_ms, row.equity) for row in records.equity_rows] if records.trips else []
    empty = dict.fromkeys(("rule", "tier", "value", "limit", "who", "reason"))
    return told_page([empty | turn for turn in turns(list(records.trips), curve)], from_ms=records.trips.from_ms)


@router.get("/journal", response_model=Page[JournalItem])
async def journal(
    person: Viewer,
    desk: TheDesk,
    records: TheRecords,
    kind: Annotated[list[Kind] | None, Query(max_length=60)] = None,
    since_seq: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    before_seq: Annotated[int | None, Query(ge=0, le=SEQ_MAX)] = None,
    newest_first: bool = False,
    symbol: Symbol | None = None,
    limit: Limit = 100,
) -> Response:
    """Records of the journal after `since_seq` and before `before_seq`, oldest first; `next` is the `since_seq` of the
    page after it, or with `newest_first` the `before_seq` of the one after that way."""
    classes = None if kind is None else [KINDS[name] for name in kind]
    items = await asyncio.to_thread(
        journal_page,
        records.path,
        classes,
        symbol,
        limit + 1,
        since_seq=since_seq,
        before_seq=before_seq,
        newest_first=newest_first,
    )
    return told_page(items[:limit], items[limit - 1].seq if len(items) > limit else None)
