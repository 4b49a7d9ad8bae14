"""The journal in the audit trail: fingerprints of its records, so that orders and fills cannot be edited unseen.

Rules. The journal holds every order, fill, setting and operator's wish, in order. Once a minute, and at the start and
the end of the web process, a row of the trail takes the SHA-256 of the records that have come since the last one. To
verify, the records are read again; where a newer version has rewritten the file since, they cannot be compared, and are
counted apart. Journals of paper runs make room for newer ones, which is no problem of the trail. What cannot be taken
up now is taken up at the next turn.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from surefoot.api.audit import Trail, Verdict
from surefoot.api.webstore import WebStore, store_path
from surefoot.store.journal import JournalReader, StoreError

ACTION, WHO = "journal", "surefoot"
EVERY_S = 60.0
PAPER_PREFIX = "paper-"
_log = logging.getLogger("surefoot.web")


@dataclass(frozen=True, slots=True)
class Checked:
    """A check of trail and journals; `problem` is None when all fits. `gone` are paper journals that made room.

    `records` are those that were compared and are the same; `not_compared`, those that an older version wrote.
    """

    trail: Verdict
    records: int
    not_compared: int
    gone: tuple[str, ...]
    problem: str | None


class Anchors:
    """Writes the fingerprints while it is entered. `problem` is why the last turn did not, in one line."""

    def __init__(self, trail: Trail, journal_path: Path, every_s: float = EVERY_S) -> None:
        self.problem: str | None = None
        self._trail = trail
        self._journal_path = journal_path
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, at: TracebackType | None) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._take_turn()

    async def catch_up(self) -> None:
        """A row for each journal of the folder that has records which no row tells of."""
        problem: str | None = None
        folder = self._journal_path.parent
        for name in dict.fromkeys((*known_journals(self._trail), self._journal_path.name)):
            since_seq = anchored_seq(self._trail, name)
            try:
                found = await asyncio.to_thread(fingerprint_since, folder / name, since_seq)
            except StoreError as trouble:
                problem = f"{name} is not in the audit trail from record {since_seq + 1} on: {trouble}"
                _log.warning("%s", problem)
                continue
            if found is not None:
                last_seq, version, digest = found
                detail = {"file": name, "first_seq": since_seq + 1, "last_seq": last_seq}
                self._trail.add(WHO, ACTION, **detail, version=version, sha256=digest)
        self.problem = problem

    async def _take_turn(self) -> None:
        try:
            await self.catch_up()
        except Exception as trouble:  # such as a full disk: what is missing now comes with the next turn
            _log.exception("the journal cannot be taken up in the audit trail")
            self.problem = f"the journal cannot be taken up in the audit trail: {trouble}"

    async def _go_on(self) -> None:
        while True:
            await self._take_turn()
            await asyncio.sleep(self._every_s)


def known_journals(trail: Trail) -> list[str]:
    """Names of journals that the trail tells of, the newest first."""
    return list(dict.fromkeys(str(row.detail["file"]) for row in trail.every(ACTION)))[::-1]


def anchored_seq(trail: Trail, name: str) -> int:
    """The last record of a journal that the trail tells of; 0 for none."""
    return max((int(row.detail["last_seq"]) for row in trail.every(ACTION) if row.detail["file"] == name), default=0)


def fingerprint_since(path: Path, since_seq: int) -> tuple[int, int, str] | None:
    """Number of the newest record, schema version and SHA-256 of what follows `since_seq`; None where nothing does."""
    if not path.is_file():
        return None
    with JournalReader(path) as reader:
        last_seq = reader.last_seq
        if last_seq <= since_seq:
            return None
        return last_seq, reader.schema_version, reader.fingerprint(since_seq, last_seq)


def check_all(journal_path: Path, noted: str | None = None) -> Checked:
    """Read trail and journals again. `noted` is the hash of some row that was kept elsewhere. Raises StoreError."""
    with WebStore(store_path(journal_path)) as store:
        trail = Trail(store, lambda: 0)
        verdict = trail.verify(noted)
        if verdict.problem is not None:
            return Checked(verdict, 0, 0, (), verdict.problem)
        records, not_compared, gone = 0, 0, dict[str, None]()
        problem: str | None = None
        for row in trail.every(ACTION):
            name, first, last = str(row.detail["file"]), int(row.detail["first_seq"]), int(row.detail["last_seq"])
            path = journal_path.parent / name
            if not path.is_file() and name.startswith(PAPER_PREFIX):
                gone[name] = None
                continue
            if not path.is_file():
                problem = f"row {row.seq}: the journal {name} is gone"
                break
            are_same = _are_same(path, first, last, row.detail)
            if are_same is False:
                problem = f"row {row.seq}: records {first} to {last} of {name} are not what they were"
                break
            records += last - first + 1 if are_same else 0
            not_compared += last - first + 1 if are_same is None else 0
        return Checked(verdict, records, not_compared, tuple(gone), problem)


def _are_same(path: Path, first: int, last: int, told: dict[str, object]) -> bool | None:
    """Whether records are what they were; None where a migration since may have said them in new words."""
    with JournalReader(path) as reader:
        if reader.schema_version != told["version"]:
            return None
        return reader.fingerprint(first - 1, last) == told["sha256"]
