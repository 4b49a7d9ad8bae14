"""What routes that tell something share: the desk, pages, and answers that are JSON already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from surefoot.api.desk import Desk
from surefoot.api.plain import JSON, encoded
from surefoot.api.problems import Problem
from surefoot.api.records import PAGE_MAX, Records, Wanted
from surefoot.store.journal import SEQ_MAX

PAGES_REMEMBERED = 32
PAGE_BYTES_MAX = 65_536  # of one that is remembered
MS_MAX = 2**53 - 1  # what a number of JavaScript's can hold

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Part of a list. `next` is the `cursor` of the page after it; null when this is the last.

    `from_ms` is since when the list is whole: rows before are no longer kept. Null when all that there were are there.
    """

    items: list[Item]
    next: int | None
    from_ms: int | None = None


async def desk_of(connection: HTTPConnection) -> Desk:
    """What the web process knows of the bot. As what it is made from: nothing here is worth a thread's turn."""
    desk: Desk = connection.app.state.parts.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]


async def records_of(desk: TheDesk) -> Records:
    """The records of the journal. Raises Problem (503) where there is none yet."""
    if desk.records is None:
        raise Problem(503, "no_journal", desk.problem or "there is no journal yet: the trader has not started")
    return desk.records


TheRecords = Annotated[Records, Depends(records_of)]

Symbol = Annotated[str, Query(pattern="^[A-Z0-9_]{2,30}$", description="Like BTCUSDT.")]
Ms = Annotated[int, Query(ge=0, le=MS_MAX, description="UTC milliseconds.")]
Cursor = Annotated[int, Query(ge=0, le=SEQ_MAX, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


async def wanted_of(
    symbol: Symbol | None = None,
    since_ms: Ms | None = None,
    until_ms: Ms | None = None,
    cursor: Cursor | None = None,
    limit: Limit = 50,
) -> Wanted:
    """Which rows of a list, newest first."""
    return Wanted(symbol, since_ms, until_ms, cursor, limit)


Chosen = Annotated[Wanted, Depends(wanted_of)]


def told(value: object) -> Response:
    """A value as the answer."""
    return Response(encoded(value), media_type=JSON)


def told_page(items: object, following: int | None = None, from_ms: int | None = None) -> Response:
    """A page as the answer."""
    return told({"items": items, "next": following, "from_ms": from_ms})


def told_records(
    records: Records, *asked: object, make: Callable[[], tuple[object, int | None]], from_ms: int | None
) -> Response:
    """A page of records as the answer; one that was `asked` for before is made anew only when there are new records."""
    return _remembered(records.told, asked, make, from_ms)


def told_curve(records: Records, *asked: object, make: Callable[[], object], from_ms: int | None) -> Response:
    """The equity curve as the answer; one that was `asked` for before is made anew only when it has a new row."""
    return _remembered(records.told_curves, asked, lambda: (make(), None), from_ms)


def _remembered(
    kept: dict[tuple[object, ...], bytes],
    asked: tuple[object, ...],
    make: Callable[[], tuple[object, int | None]],
    from_ms: int | None,
) -> Response:
    body = kept.get(asked)
    if body is None:
        items, following = make()
        body = encoded({"items": items, "next": following, "from_ms": from_ms})
        if len(body) <= PAGE_BYTES_MAX and len(kept) < PAGES_REMEMBERED:
            kept[asked] = body
    return Response(body, media_type=JSON)


def told_topic(desk: Desk, topic: str) -> Response:
    """A topic as it stands; it was made JSON when it changed."""
    return Response(desk.board.values[topic], media_type=JSON)


def told_topic_page(desk: Desk, topic: str) -> Response:
    """A topic that is a list, as the only page of it. Raises Problem (503) while it is not known."""
    if desk.unknown is not None:
        raise Problem(503, "not_known", desk.unknown)
    return Response(b'{"items":%b,"next":null,"from_ms":null}' % desk.board.values[topic], media_type=JSON)
