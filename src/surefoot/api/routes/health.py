"""Whether the web process is there, has read what there is, and hears the trader."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import APIRouter, Response

from surefoot import __version__
from surefoot.api.guard import Shared, Viewer
from surefoot.api.problems import Problem
from surefoot.api.reading import TheDesk, told

router = APIRouter(tags=["health"])


@dataclass(frozen=True, slots=True)
class Health:
    """`heard_ms` is how long ago the trader's last picture came, `seq` the newest record of the journal that was read.
    `problem` is what is odd now, in one line."""

    version: str
    ready: bool
    trader_running: bool
    heard_ms: int | None
    journal: str | None
    seq: int | None
    problem: str | None


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process runs and answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(desk: TheDesk) -> dict[str, str]:
    """The past is read: what is told is up to date. A trader that is away is no reason not to be ready."""
    if not desk.is_ready:
        raise Problem(503, "not_ready", "the journal is still being read")
    return {"status": "ready"}


@router.get("/health", response_model=Health)
async def health(person: Viewer, desk: TheDesk, parts: Shared) -> Response:
    """What the web process sees of the trader and its journal, and what keeps it from its own work."""
    records = desk.records
    problems = [each for each in (desk.problem, parts.anchors.problem, parts.jobs.problem) if each is not None]
    return told(
        Health(
            version=__version__,
            ready=desk.is_ready,
            trader_running=desk.running,
            heard_ms=None if desk.heard_s is None else round((time.monotonic() - desk.heard_s) * 1_000),
            journal=desk.journal_name,
            seq=None if records is None else records.seq,
            problem="; ".join(problems) or None,
        )
    )
