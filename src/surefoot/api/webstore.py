"""`web.sqlite`, beside the journal: users, sessions, the audit trail and what else the web process keeps.

Rules. The web process writes it, and the commands about users and the trail; each change is one transaction that
begins by locking the file, so that two of them never mix. It is on disk when the change is over. One thread uses a
store: routes run in the loop of the web process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pysqlite3.dbapi2 as sqlite

from surefoot.store.journal import Migration, StoreError, check_sqlite, migrate

FILE_NAME = "web.sqlite"
BUSY_WAIT_S = 5.0
WEB_WAIT_S = 0.2  # nothing else happens in the web process meanwhile, exits neither
WebStoreError = sqlite.Error  # of a store that cannot be read or written, as on a full disk


def store_path(journal_path: Path) -> Path:
    """Where the web process of this journal keeps what it knows."""
    return journal_path.parent / FILE_NAME


class WebStore:
    """One connection to the file."""

    def __init__(self, path: Path, wait_s: float = BUSY_WAIT_S) -> None:
        """Open or make the file (mode 0600, its folder 0700) and bring it to this program's version.

        Once it is open, another writer is waited for as long as `wait_s`. Raises StoreError where it cannot be opened.
        """
        check_sqlite(sqlite.sqlite_version_info)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made before SQLite opens it, because the files beside it (-wal, -shm) take over its mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as problem:
            raise StoreError(f"{path}: cannot be opened: {problem.strerror}") from problem
        self._connection = sqlite.connect(str(path), isolation_level=None, timeout=BUSY_WAIT_S)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            migrate(self._connection, migrations())
            self._connection.execute(f"PRAGMA busy_timeout = {round(wait_s * 1_000)}")
        except (sqlite.Error, StoreError) as problem:
            self._connection.close()
            raise StoreError(f"{path}: cannot be opened: {problem}") from problem

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return found

    def row(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first that a query finds."""
        found: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return found

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Change something, inside `change` or as a change of its own; how many rows it touched."""
        return int(self._connection.execute(sql, values).rowcount)

    @contextmanager
    def change(self) -> Iterator[None]:
        """All or nothing of what is run inside; one inside another is a part of it."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def migrations() -> tuple[Migration, ...]:
    """The numbered SQL files of the web process, in order."""
    files = resources.files("surefoot.api").joinpath("migrations").iterdir()
    scripts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".sql")}
    return tuple(Migration(int(name[:4]), name, scripts[name]) for name in sorted(scripts))
