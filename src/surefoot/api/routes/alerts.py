"""Alerts: which there were and what became of them, and a test that really sends.

The process that supervises sends them (decision 0019) and keeps them in a file beside the journal, which is read here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from surefoot.alerts import Level
from surefoot.api.guard import Shared, Trader, Viewer
from surefoot.api.once import ActOnce
from surefoot.api.problems import Problem
from surefoot.api.reading import Cursor, Page, TheDesk, told_page
from surefoot.notify import RECENT_MAX, all_alerts, lines_of, send_test

KEPT_MAX = 100_000  # more than a file of alerts holds

router = APIRouter(prefix="/notifications", tags=["alerts"])


@dataclass(frozen=True, slots=True)
class SentTo:
    """What became of an alert at one address; `problem` is null when it is there."""

    service: str
    problem: str | None
    tries: int


@dataclass(frozen=True, slots=True)
class Notification:
    """An alert: `told_ms` is this machine's time, `at_ms` the trader's. `count` of its kind are told in one.

    `by` says who told it, the run or the guardian; `number` counts those of each.
    """

    by: str
    number: int
    told_ms: int
    at_ms: int
    level: str
    kind: str
    title: str
    text: str
    count: int
    deliveries: tuple[SentTo, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a test at each address, in words."""

    text: str


@router.get("", response_model=Page[Notification])
async def notifications(
    person: Viewer,
    desk: TheDesk,
    level: Level | None = None,
    kind: Annotated[str | None, Query(max_length=60)] = None,
    cursor: Cursor | None = None,
    limit: Annotated[int, Query(ge=1, le=RECENT_MAX)] = 50,
) -> Response:
    """Alerts and what became of them, newest first, also by level and kind. Those of one millisecond share a page."""
    path = desk.journal()
    kept = [] if path is None else await asyncio.to_thread(all_alerts, path, KEPT_MAX)
    chosen = [
        alert
        for alert in kept
        if level in (None, alert["level"])
        and kind in (None, alert["kind"])
        and (cursor is None or alert["told_ms"] < cursor)
    ]
    if len(chosen) <= limit:
        return told_page(chosen)
    last_ms = chosen[limit - 1]["told_ms"]
    items = [alert for alert in chosen if alert["told_ms"] >= last_ms]
    return told_page(items, last_ms if len(items) < len(chosen) else None)


@router.post("/test", response_model=Tried)
async def send_a_test(person: Trader, parts: Shared, once: ActOnce) -> Response:
    """Really send a test to every address; levels and quiet hours do not hold it back."""

    async def act() -> Tried:
        deliveries = await asyncio.to_thread(send_test, parts.settings, parts.now_ms(), f"{person.name} (web)")
        if not deliveries:
            raise Problem(409, "no_address", "no address is set: SUREFOOT_ALERT_URLS, or a file of them, names them")
        text = "; ".join(lines_of(deliveries))
        parts.trail.add(person.name, "sent a test alert", result=text)
        return Tried(text)

    return await once.answer(person.name, act)
