"""The audit trail: who did what, each row holding the hash of the one before it.

Rules. Rows are only added. A row's hash covers everything in it and the hash before, so that a row that was changed,
taken away or moved shows at the next one; the last row is kept once more in a place of its own. Whoever can write the
whole file can write a whole new chain: against that helps a hash that was noted elsewhere (`verify` takes one).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from surefoot.api.webstore import WebStore, WebStoreError

FIRST = "0" * 64  # what the first row holds in the place of the hash before it
PAGE_ROWS = 1_000
_log = logging.getLogger("surefoot.web")


@dataclass(frozen=True, slots=True)
class Row:
    seq: int
    at_ms: int
    who: str
    action: str
    detail: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the trail found; `problem` is None when all of it fits together."""

    rows: int
    head: str
    problem: str | None


class Trail:
    """The trail of a web store."""

    def __init__(self, store: WebStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms

    def add(self, who: str, action: str, **detail: object) -> int:
        """Write that somebody did something; the number of the row. `detail` is JSON, and holds no secret."""
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        with self._store.change():
            last, previous = self._head()
            seq, at_ms = last + 1, self._now_ms()
            own = row_hash(seq, at_ms, who, action, text, previous)
            columns = "seq, at_ms, who, action, detail, previous, hash"
            row = (seq, at_ms, who, action, text, previous, own)
            self._store.run(f"INSERT INTO audit ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._store.run("INSERT OR REPLACE INTO audit_head (one, seq, hash) VALUES (1, ?, ?)", (seq, own))
        return seq

    def try_add(self, who: str, action: str, **detail: object) -> int | None:
        """`add`, for what must not fail because of it: where it cannot be written, a line of the log, and None."""
        try:
            return self.add(who, action, **detail)
        except WebStoreError as problem:
            _log.error(
                "not in the audit trail, because it cannot be written (%s): %s %s %s", problem, who, action, detail
            )
            return None

    def rows(
        self,
        before_seq: int | None,
        limit: int,
        *,
        who: str | None = None,
        action: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[Row]:
        """Rows before a number, newest first; times include `since_ms`, not `until_ms`."""
        asked = {"seq < ?": before_seq, "who = ?": who, "action = ?": action, "at_ms >= ?": since_ms}
        asked["at_ms < ?"] = until_ms
        given = {condition: value for condition, value in asked.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        sql = f"SELECT seq, at_ms, who, action, detail, hash FROM audit {where} ORDER BY seq DESC LIMIT ?"
        return [_row(*found) for found in self._store.rows(sql, (*given.values(), limit))]

    def every(self, action: str) -> list[Row]:
        """All rows of an action, oldest first."""
        sql = "SELECT seq, at_ms, who, action, detail, hash FROM audit WHERE action = ? ORDER BY seq"
        return [_row(*found) for found in self._store.rows(sql, (action,))]

    def verify(self, noted: str | None = None) -> Verdict:
        """Whether every row is as it was written. `noted` is the hash of some row that was kept elsewhere."""
        count, previous, passed = 0, FIRST, noted in (None, FIRST)
        for row in self._pages():
            seq, at_ms, who, action, text, said_previous, said_own = row
            if seq != count + 1:
                return Verdict(count, previous, f"row {count + 1} is missing: after row {count} comes row {seq}")
            if said_previous != previous:
                return Verdict(count, previous, f"row {seq} does not follow row {count}: one of them was changed")
            if row_hash(seq, at_ms, who, action, text, previous) != said_own:
                return Verdict(count, previous, f"row {seq} was changed")
            count, previous = seq, said_own
            passed = passed or said_own == noted
        last, head = self._head()
        if (last, head) != (count, previous):
            return Verdict(count, previous, f"the trail ends with row {count}, but row {last} was the last written")
        if not passed:
            return Verdict(count, previous, "no row has the hash that was noted: the trail was written anew")
        return Verdict(count, previous, None)

    def _head(self) -> tuple[int, str]:
        seq, own = self._store.row("SELECT seq, hash FROM audit_head") or (0, FIRST)
        return int(seq), str(own)

    def _pages(self) -> Any:
        columns, last = "seq, at_ms, who, action, detail, previous, hash", -1
        while page := self._store.rows(
            f"SELECT {columns} FROM audit WHERE seq > ? ORDER BY seq LIMIT {PAGE_ROWS}", (last,)
        ):
            yield from page
            last = page[-1][0]


def _row(seq: int, at_ms: int, who: str, action: str, text: str, own: str) -> Row:
    return Row(seq, at_ms, who, action, json.loads(text), own)


def row_hash(seq: int, at_ms: int, who: str, action: str, detail: str, previous: str) -> str:
    """SHA-256 of a row; `detail` is its text as it is kept."""
    row = json.dumps([seq, at_ms, who, action, detail, previous], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(row.encode()).hexdigest()
