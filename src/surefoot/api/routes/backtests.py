"""Backtests: which files there are, starting one, its progress, result and report; and which strategies are known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from surefoot.api.guard import Shared, Trader, Viewer
from surefoot.api.jobs import FILES_MAX, Engine, Job, Request
from surefoot.api.once import ActOnce
from surefoot.api.plain import JSON, encoded
from surefoot.api.problems import Problem
from surefoot.api.reading import Page, told, told_page
from surefoot.api.running import as_backtest, ran

router = APIRouter(tags=["backtests"])

STRATEGIES_MAX_S = 60.0
# A report is a page with scripts of its own: it gets no origin, so that it can reach nothing of ours.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)

FileName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[0-9A-Za-z_][0-9A-Za-z_./-]*$")]
SettingKey = Annotated[str, Field(max_length=100)]
SettingText = Annotated[str, Field(max_length=500)]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


class Wanted(BaseModel):
    """What to run. `settings` are texts by dotted key, over those in force; `detail` are files of finer candles."""

    model_config = ConfigDict(extra="forbid")

    files: Annotated[list[FileName], Field(min_length=1, max_length=FILES_MAX)]
    detail: Annotated[list[FileName], Field(max_length=FILES_MAX)] = []
    settings: Annotated[dict[SettingKey, SettingText], Field(max_length=100)] = {}
    engine: Engine = "fast"
    gaps: Literal["refuse", "keep"] = "refuse"
    band: bool = True


@dataclass(frozen=True, slots=True)
class CandleFile:
    """A file of the configured folder."""

    name: str
    bytes: int


class Jobs(BaseModel):
    """Part of a list. `next` is the `cursor` of the page after it; null when this is the last."""

    items: list[Job]
    next: str | None


@dataclass(frozen=True, slots=True)
class JobResult:
    """A backtest, and its result as `surefoot backtest --json` prints it; null until it is done."""

    job: Job
    result: dict[str, Any] | None


class Parameter(BaseModel):
    """A number that a strategy is made from."""

    name: str
    default: float
    low: float
    high: float
    whole: bool
    unit: str
    meaning: str


class Rule(BaseModel):
    """A rule of a strategy: its score, and the exposure that it wants; null is no opinion."""

    name: str
    score: float
    target: float | None


class Strategy(BaseModel):
    """A strategy that is known."""

    name: str
    parameters: list[Parameter]
    rules: list[Rule]


@router.get("/backtests/files", response_model=Page[CandleFile])
async def candle_files(person: Viewer, parts: Shared) -> Response:
    """Candle files that a backtest may read."""
    return told_page([CandleFile(name, size) for name, size in parts.jobs.files()])


@router.get("/backtests", response_model=Jobs)
async def backtests(
    person: Viewer,
    parts: Shared,
    cursor: Annotated[str | None, Query(pattern="^[0-9a-f]{16}$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Backtests that were asked for, newest first."""
    items, following = parts.jobs.page(cursor, limit)
    return told({"items": items, "next": following})


@router.post("/backtests", response_model=Job)
async def start_backtest(person: Trader, parts: Shared, once: ActOnce, wanted: Wanted) -> Response:
    """Put a backtest in the queue; one runs at a time, with the least priority."""

    async def act() -> Job:
        request = Request(
            tuple(wanted.files), tuple(wanted.detail), wanted.settings, wanted.engine, wanted.gaps, wanted.band
        )
        job = parts.jobs.add(person.name, request)
        parts.trail.add(person.name, "backtest started", id=job.id, files=wanted.files, settings=wanted.settings)
        return job

    return await once.answer(person.name, act)


@router.get("/backtests/{job_id}", response_model=JobResult)
async def backtest(person: Viewer, parts: Shared, job_id: JobId) -> Response:
    """A backtest, and its result once it is done."""
    job = parts.jobs.job(job_id)
    result = parts.jobs.result(job_id) if job.state == "done" else b"null"
    return Response(b'{"job":%b,"result":%b}' % (encoded(job), result.strip()), media_type=JSON)


@router.get(
    "/backtests/{job_id}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The report"}},
)
async def report(person: Viewer, parts: Shared, job_id: JobId) -> Response:
    """Its report: one self-contained page."""
    headers = {"content-security-policy": REPORT_POLICY}
    return Response(parts.jobs.report(job_id), headers=headers, media_type="text/html")


@router.delete("/backtests/{job_id}", status_code=204, response_class=Response)
async def remove_backtest(person: Trader, parts: Shared, once: ActOnce, job_id: JobId) -> Response:
    """Cancel it if it waits or runs, and forget what it left."""

    async def act() -> None:
        parts.jobs.remove(job_id)
        parts.trail.add(person.name, "backtest removed", id=job_id)

    return await once.answer(person.name, act, 204)


@router.get("/strategies", response_model=Page[Strategy])
async def strategies(person: Viewer, parts: Shared) -> Response:
    """The strategies that are known, with their parameters and rules."""
    known = parts.jobs.strategies
    if known is None:
        try:
            done = await ran(["strategy", "list", "--json", "--config"], as_backtest(parts.settings), STRATEGIES_MAX_S)
        except TimeoutError:
            raise Problem(503, "not_listed", "the strategies could not be listed in time") from None
        if done.code:
            raise Problem(503, "not_listed", done.complaint)
        known = parts.jobs.strategies = json.loads(done.out)
    return told_page(known)
