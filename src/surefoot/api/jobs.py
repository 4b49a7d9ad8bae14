"""Backtests that the web process runs beside itself: one at a time, niced, with a place in the queue for some more.

Rules. A backtest is the command `surefoot backtest` in a process of its own, so that it can neither hold up an answer
nor take the trader's processor. Its settings are those in force with the changes that were asked for; files are those
of the configured folder and no others. What it leaves, result and report, is kept in a folder beside the journal. What
goes wrong with one ends that one; the queue goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from surefoot.api.desk import Desk
from surefoot.api.problems import Problem
from surefoot.api.running import as_backtest, end, last_line, started
from surefoot.api.webstore import WebStore, WebStoreError
from surefoot.config import ConfigError, Settings, changed, is_setting

WAITING_MAX = 10
KEPT_MAX = 50
FILES_MAX = 20
SUFFIXES = (".parquet", ".csv", ".zip")
RETRY_S = 5.0

Engine = Literal["fast", "exact", "both"]
State = Literal["waiting", "running", "done", "failed", "canceled"]

_log = logging.getLogger("surefoot.web")
_PROGRESS = re.compile(rb"([0-9,]+) of ([0-9,]+) candles")
_SUMMARY = ("symbols", "interval", "period", "candles", "seconds", "initial_equity", "final_equity", "return_pct")
# Code of one's own is not started from afar, and where things are kept is not a backtest's to say.
_OWN_CODE = ("strategy.name", "ensemble.members")
_NOT_HERE = ("mode", "live_confirmed", "profile", "store.", "web.", "alerts.", "api_", "alert_")


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: names of files in the folder, and settings by dotted key that differ from those in force."""

    files: tuple[str, ...]
    detail: tuple[str, ...]
    settings: Mapping[str, str]
    engine: Engine
    gaps: Literal["refuse", "keep"]
    band: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A backtest that was asked for. `progress_pct` is known of the exact engine while it runs."""

    id: str
    by: str
    state: State
    made_ms: int
    started_ms: int | None
    ended_ms: int | None
    progress_pct: float | None
    request: Request
    summary: dict[str, Any] | None
    problem: str | None


class Jobs:
    """The backtests of a web store. Runs them while it is entered."""

    def __init__(self, store: WebStore, desk: Desk, now_ms: Callable[[], int]) -> None:
        """`strategies` is what was listed of them; None before. `problem` is why the queue waits, in one line."""
        self.problem: str | None = None
        self.strategies: list[dict[str, Any]] | None = None
        self._store = store
        self._desk = desk
        self._now_ms = now_ms
        self._folder = desk.settings.store.journal_path.parent / "backtests"
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._running: str | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._wake.set()
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._worker is not None
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    # -- what may be asked ----------------------------------------------------------------------------------------

    def files(self) -> list[tuple[str, int]]:
        """Candle files of the folder with their sizes in bytes, by name."""
        folder = self._data_folder()
        if folder is None:
            return []
        found = [file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
        return sorted((str(file.relative_to(folder)), file.stat().st_size) for file in found)

    def add(self, by: str, request: Request) -> Job:
        """Put a backtest in the queue. Raises Problem for one that cannot be."""
        settings = self._settings_of(request)
        files, detail = ([self._file(name) for name in names] for names in (request.files, request.detail))
        if self._count("waiting") >= WAITING_MAX:
            raise Problem(429, "too_many_backtests", f"{WAITING_MAX} backtests wait already", {"Retry-After": "30"})
        job_id, now_ms = secrets.token_hex(8), self._now_ms()
        place = self._place(job_id)
        place.mkdir(mode=0o700, parents=True)
        (place / "settings.toml").write_text(as_backtest(settings), "utf-8")
        words = ["backtest", "--config", str(place / "settings.toml"), "--candles", *map(str, files)]
        words += [
            *(("--detail", *map(str, detail)) if detail else ()),
            "--engine",
            request.engine,
            "--gaps",
            request.gaps,
        ]
        words += ["--report", str(place / "report.html"), "--json", "--band" if request.band else "--no-band"]
        (place / "command.json").write_text(json.dumps(words), "utf-8")
        columns = "id, name, state, made_ms, request"
        row = (job_id, by, "waiting", now_ms, json.dumps(asdict(request)))
        self._store.run(f"INSERT INTO backtests ({columns}) VALUES (?, ?, ?, ?, ?)", row)
        self._forget_old()
        self._wake.set()
        return self.job(job_id)

    def _settings_of(self, request: Request) -> Settings:
        given = self._desk.in_force.settings
        for key, text in request.settings.items():
            known = is_setting(key) or key.startswith("strategy.parameters.")
            if not known or "." not in key or key.startswith(_NOT_HERE):
                raise Problem(409, "setting_refused", f"{key} is nothing that a backtest may change")
            if key in _OWN_CODE and not {word.strip() for word in text.split(",")} <= self._strategies(given):
                raise Problem(409, "setting_refused", f"{key}: a strategy that is not known here")
        try:
            return changed(given, request.settings) if request.settings else given
        except ConfigError as problem:
            raise Problem(409, "setting_refused", str(problem)) from None

    def _strategies(self, given: Settings) -> set[str]:
        listed = {each["name"] for each in self.strategies or ()}
        return {*BUILT_IN, *listed, given.strategy.name, *given.ensemble.members}

    def _file(self, name: str) -> Path:
        folder = self._data_folder()
        file = None if folder is None else (folder / name).resolve()
        if folder is None or file is None or not file.is_relative_to(folder.resolve()) or file.suffix not in SUFFIXES:
            raise Problem(404, "file_unknown", "there is no such candle file: see GET backtests/files")
        if not file.is_file():
            raise Problem(404, "file_unknown", "there is no such candle file: see GET backtests/files")
        return file

    def _data_folder(self) -> Path | None:
        name = self._desk.settings.web.data_folder
        return Path(name) if name and Path(name).is_dir() else None

    # -- what there is --------------------------------------------------------------------------------------------

    def page(self, before: str | None, limit: int) -> tuple[list[Job], str | None]:
        """Backtests, newest first, after the one with the id `before`; and the id to go on with."""
        where, values = "", list[object]()
        if before is not None:
            where = "WHERE rowid < (SELECT rowid FROM backtests WHERE id = ?)"
            values.append(before)
        rows = self._store.rows(
            f"SELECT {COLUMNS} FROM backtests {where} ORDER BY rowid DESC LIMIT ?", (*values, limit + 1)
        )
        jobs = [self._job(row) for row in rows]
        return jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None

    def job(self, job_id: str) -> Job:
        """Raises Problem (404) for one that is not known."""
        row = self._store.row(f"SELECT {COLUMNS} FROM backtests WHERE id = ?", (job_id,))
        if row is None:
            raise Problem(404, "backtest_unknown", "there is no such backtest")
        return self._job(row)

    def result(self, job_id: str) -> bytes:
        """The JSON that a backtest that is done left. Raises Problem."""
        return self._left(job_id, "result.json")

    def report(self, job_id: str) -> bytes:
        """Its HTML report. Raises Problem."""
        return self._left(job_id, "report.html")

    def _left(self, job_id: str, name: str) -> bytes:
        job = self.job(job_id)
        if job.state != "done":
            raise Problem(409, "not_done", f"the backtest is {job.state}: it has no {name.partition('.')[0]}")
        try:
            return (self._place(job_id) / name).read_bytes()
        except OSError:
            raise Problem(404, "backtest_unknown", "what the backtest left is not there any more") from None

    def remove(self, job_id: str) -> None:
        """Cancel a backtest that waits or runs, and forget it. Raises Problem (404)."""
        self.job(job_id)
        self._store.run("DELETE FROM backtests WHERE id = ?", (job_id,))
        if self._running == job_id and self._process is not None:
            end(self._process)
        shutil.rmtree(self._place(job_id), ignore_errors=True)

    def _job(self, row: tuple[Any, ...]) -> Job:
        job_id, by, state, made_ms, started_ms, ended_ms, request, summary, problem = row
        return Job(
            id=job_id,
            by=by,
            state=state,
            made_ms=made_ms,
            started_ms=started_ms,
            ended_ms=ended_ms,
            progress_pct=self._progress(job_id) if state == "running" else 100.0 if state == "done" else None,
            request=msgspec.json.decode(request, type=Request),
            summary=None if summary is None else json.loads(summary),
            problem=problem,
        )

    def _progress(self, job_id: str) -> float | None:
        with suppress(OSError):
            told = _PROGRESS.findall((self._place(job_id) / "errors.txt").read_bytes())
            if told:
                done, total = (int(number.replace(b",", b"")) for number in told[-1])
                return round(100 * done / total, 1) if total else None
        return None

    def _place(self, job_id: str) -> Path:
        return self._folder / job_id

    def _count(self, state: str) -> int:
        (count,) = self._store.row("SELECT count(*) FROM backtests WHERE state = ?", (state,)) or (0,)
        return int(count)

    def _forget_old(self) -> None:
        sql = "SELECT id FROM backtests WHERE state NOT IN ('waiting', 'running') ORDER BY rowid DESC LIMIT -1 OFFSET ?"
        for (job_id,) in self._store.rows(sql, (KEPT_MAX,)):
            self.remove(job_id)

    # -- the work -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        sql = "UPDATE backtests SET state = 'failed', problem = ?, ended_ms = ? WHERE state = 'running'"
        await self._keep(sql, ("the web process ended while it ran", self._now_ms()))
        while True:
            await self._wake.wait()
            try:
                await self._take_next()
                self.problem = None
            except Exception as trouble:  # such as a full disk: it waits until it is better
                _log.exception("the queue of backtests waits")
                await self._wait_because(trouble)

    async def _take_next(self) -> None:
        row = self._store.row("SELECT id FROM backtests WHERE state = 'waiting' ORDER BY rowid LIMIT 1")
        if row is None:
            self._wake.clear()
            return
        self._running = row[0]
        try:
            await self._run(row[0])
        finally:
            self._running = self._process = None

    async def _keep(self, sql: str, values: tuple[object, ...]) -> None:
        """Change the store, as soon as that can be."""
        while True:
            try:
                self._store.run(sql, values)
            except WebStoreError as trouble:
                _log.error("the queue of backtests waits: %s", trouble)
                await self._wait_because(trouble)
            else:
                return

    async def _wait_because(self, trouble: Exception) -> None:
        self.problem = f"backtests wait: {trouble}"
        await asyncio.sleep(RETRY_S)

    async def _run(self, job_id: str) -> None:
        place = self._place(job_id)
        self._store.run("UPDATE backtests SET state = 'running', started_ms = ? WHERE id = ?", (self._now_ms(), job_id))
        try:
            words = json.loads((place / "command.json").read_text("utf-8"))
            with (place / "result.json").open("wb") as out, (place / "errors.txt").open("wb") as errors:
                self._process = process = await started(words, out.fileno(), errors.fileno())
                try:
                    code = await process.wait()
                except asyncio.CancelledError:
                    end(process)
                    raise
            state, summary, problem = self._ended(place, code)
        except Exception as trouble:  # it was removed meanwhile, or the disk refuses, or what it left is not whole
            _log.info("a backtest could not be run", exc_info=trouble)
            state, summary = "failed", None
            problem = f"it could not be run: {getattr(trouble, 'strerror', None) or trouble}"
        sql = "UPDATE backtests SET state = ?, summary = ?, problem = ?, ended_ms = ? WHERE id = ?"
        await self._keep(sql, (state, summary, problem, self._now_ms(), job_id))

    def _ended(self, place: Path, code: int) -> tuple[str, str | None, str | None]:
        if code:
            return "failed", None, last_line((place / "errors.txt").read_bytes()) or f"it ended with code {code}"
        result = json.loads((place / "result.json").read_bytes())
        told = {name: result.get(name) for name in _SUMMARY}
        told |= {"round_trips": len(result["round_trips"]), "metrics": result["metrics"], "digest": result["digest"]}
        return "done", json.dumps(told), None


COLUMNS = "id, name, state, made_ms, started_ms, ended_ms, request, summary, problem"
BUILT_IN = ("rsi", "macd", "bollinger", "volume", "stochastic", "ensemble")
