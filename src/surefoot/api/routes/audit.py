"""The audit trail: what everybody did, and whether it still says so."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from surefoot.api.anchors import check_all
from surefoot.api.guard import Admin, Shared
from surefoot.api.reading import Cursor, Ms

ROWS_MAX = 500

router = APIRouter(tags=["audit"])


class AuditRow(BaseModel):
    seq: int
    at_ms: int
    who: str
    action: str
    detail: dict[str, Any]
    hash: str


class AuditPage(BaseModel):
    items: list[AuditRow]
    next: str | None


class AuditVerdict(BaseModel):
    """`problem` is null when every row, and every record of the journals that could be compared, is as it was written.

    `records_not_compared` were written by an older version, in other words.
    """

    rows: int
    head: str
    records: int
    records_not_compared: int
    journals_gone: list[str]
    problem: str | None


@router.get("/audit")
async def audit(
    person: Admin,
    parts: Shared,
    cursor: Cursor | None = None,
    limit: Annotated[int, Query(ge=1, le=ROWS_MAX)] = 100,
    who: str | None = None,
    action: str | None = None,
    since_ms: Ms | None = None,
    until_ms: Ms | None = None,
) -> AuditPage:
    """Rows of the trail, newest first."""
    found = parts.trail.rows(cursor, limit + 1, who=who, action=action, since_ms=since_ms, until_ms=until_ms)
    rows = [AuditRow(**asdict(row)) for row in found[:limit]]
    return AuditPage(items=rows, next=str(rows[-1].seq) if len(found) > limit else None)


@router.get("/audit/verify")
async def verify(person: Admin, parts: Shared) -> AuditVerdict:
    """Read trail and journals again; the head is worth noting elsewhere."""
    checked = await asyncio.to_thread(check_all, parts.settings.store.journal_path)
    return AuditVerdict(
        rows=checked.trail.rows,
        head=checked.trail.head,
        records=checked.records,
        records_not_compared=checked.not_compared,
        journals_gone=list(checked.gone),
        problem=checked.problem,
    )
