"""The journal: every event and command of every run, in one append-only SQLite file.

Rules. One process writes, and holds a lock for it; any number of others read while it does. `append` only buffers;
when `flush` returns, what was appended is on the disk. When the disk refuses, nothing is dropped: the buffer is kept
and the next flush that succeeds writes it. A file that a newer program made is not touched.

The module speaks to SQLite through pysqlite3, never through Python's own sqlite3: versions before 3.51.3 can corrupt a
file in WAL mode when one connection writes while another one does a checkpoint.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pysqlite3.dbapi2 as sqlite

from surefoot.core.messages import HistoryLoaded, MarkPriceTold, PriceMarked, RunStarted, SubmitList, SubmitOrder, Woke
from surefoot.store.records import Edge, Message, RecordError, decode, edge_of, encode

SQLITE_MIN = (3, 51, 3)
BUSY_WAIT_MS = 1_000
PAGE_ROWS = 1_000
SEQ_MAX = 2**63 - 1

# What is written goes to the file's log first, and from there into the file: in a quiet moment after so many flushes,
# of a few pages each; with a flush only where such a moment never comes.
TIDY_AFTER_FLUSHES = 250
TIDY_AT_ONCE_PAGES = 10_000

# What a failing disk may leave in memory, some 200 MB: then the trader has to be told, rather than to be killed.
PENDING_MAX = 500_000

# Docs, decision 0004: price marks and mark prices come many a second and only the newest matters, a wake-up is the
# clock's alone, and history is read again from the venue. None of them is a fact that a restart needs; what they led to
# is a command.
NOT_JOURNALED: frozenset[type[Any]] = frozenset({PriceMarked, MarkPriceTold, Woke, HistoryLoaded})

_INSERT_RUN = "INSERT INTO runs (run, started_ms, mode, version, settings_digest) VALUES (?, ?, ?, ?, ?)"
_INSERT_ENTRY = "INSERT INTO journal (seq, run, at_ms, edge, kind, body) VALUES (?, ?, ?, ?, ?, ?)"


class StoreError(Exception):
    """The store cannot do what was asked; the text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int
    run: str
    at_ms: int
    edge: Edge
    message: Message


@dataclass(frozen=True, slots=True)
class Run:
    """One process life that wrote to the journal."""

    run: str
    started_ms: int
    mode: str
    version: str
    settings_digest: str


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str


class Journal:
    """The writing side: one for a file, in one process, until it is closed or its process ends."""

    def __init__(self, path: Path, lock: _Lock, connection: sqlite.Connection) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._run: str | None = None
        self._next_seq = _last_seq(connection) + 1
        self._pending_runs: list[tuple[str, int, str, str, str]] = []
        self._pending: list[tuple[int, str, int, Edge, str, str]] = []
        self._flushes = 0  # since the last tidying

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the file (mode 0600, its folder 0700), bring it to this program's version and lock it.

        Raises StoreError when another process holds it, when it is not ours or newer, or when the disk refuses.
        """
        check_sqlite(sqlite.sqlite_version_info)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _Lock(path)
        except OSError as problem:
            raise StoreError(f"{path}: cannot be opened: {problem.strerror}") from problem
        try:
            return cls(path, lock, _open_for_writing(path))
        except BaseException:
            lock.release()
            raise

    def append(self, *messages: Message) -> None:
        """Keep messages for the next flush; the first one of a life is its RunStarted.

        Raises RecordError for a message that cannot be written exactly and StoreError when the buffer is full.
        """
        for message in messages:
            if type(message) not in NOT_JOURNALED:
                self._append(message)

    def flush(self) -> None:
        """Write what was appended, in one transaction; on disk when it returns.

        Raises StoreError when the disk refuses: everything is kept for the next call.
        """
        if not self._pending:
            return
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self._pending_runs:
                connection.executemany(_INSERT_RUN, self._pending_runs)
            connection.executemany(_INSERT_ENTRY, self._pending)
            connection.execute("COMMIT")
        except sqlite.Error as problem:
            _roll_back(connection)
            raise StoreError(f"{self._path}: {len(self._pending)} records not written, kept: {problem}") from problem
        self._pending_runs.clear()
        self._pending.clear()
        self._flushes += 1

    def tidy(self) -> bool:
        """For a quiet moment: take over into the file what its log holds, once that is much; whether it was done.

        It waits for nobody, and what is on disk stays so. Where the disk refuses, it is tried again after more flushes.
        """
        if self._flushes < TIDY_AFTER_FLUSHES:
            return False
        self._flushes = 0
        with suppress(sqlite.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return True

    def close(self) -> None:
        """Flush, close the file and let go of the lock, even when the flush raises StoreError."""
        if self._lock.released:
            return
        try:
            self.flush()
        finally:
            self._connection.close()
            self._lock.release()

    @property
    def pending(self) -> int:
        """How many records wait for a flush."""
        return len(self._pending)

    @property
    def last_seq(self) -> int:
        """The sequence number of the newest record on disk; 0 when there is none."""
        return self._next_seq - 1 - len(self._pending)

    @property
    def run_count(self) -> int:
        """How many runs are on disk."""
        return _count_runs(self._connection)

    def last_runs(self, n: int) -> list[Run]:
        """The newest `n` runs on disk, newest first."""
        return _last_runs(self._connection, n)

    def read(
        self,
        *,
        run: str | None = None,
        kinds: Iterable[type[Any]] | None = None,
        since_seq: int = 0,
        symbol: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """What is on disk after `since_seq`, oldest first; see `JournalReader.read`."""
        return _read(self._connection, run, kinds, since_seq, symbol, limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _append(self, message: Message) -> None:
        if len(self._pending) >= PENDING_MAX:
            raise StoreError(f"{self._path}: {PENDING_MAX} records wait for the disk, no more can be kept")
        kind, body = encode(message)
        if isinstance(message, RunStarted):
            self._begin_run(message)
        if self._run is None:
            raise StoreError(f"{self._path}: a run begins with RunStarted, not with {kind}")
        self._pending.append((self._next_seq, self._run, message.at_ms, edge_of(kind), kind, body.decode()))
        self._next_seq += 1

    def _begin_run(self, started: RunStarted) -> None:
        known = any(row[0] == started.run for row in self._pending_runs) or _has_run(self._connection, started.run)
        if known:
            # Client order ids are made from the run's name: the same name twice could send the same id twice.
            raise StoreError(f"{self._path}: run {started.run} is already in this journal")
        self._run = started.run
        self._pending_runs.append((started.run, started.at_ms, started.mode, started.version, started.settings_digest))


class JournalReader:
    """A read-only view for other processes; it works while the trader writes, and never makes it wait."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError when there is no journal, or when its version is not this program's."""
        check_sqlite(sqlite.sqlite_version_info)
        if not path.is_file():
            raise StoreError(f"{path}: there is no journal here yet")
        self._connection = _open_for_reading(path)

    def close(self) -> None:
        self._connection.close()

    @property
    def last_seq(self) -> int:
        """The sequence number of the newest record; 0 when there is none."""
        return _last_seq(self._connection)

    @property
    def run_count(self) -> int:
        return _count_runs(self._connection)

    @property
    def schema_version(self) -> int:
        """That of the file; a migration may say old records in new words."""
        return _schema_version(self._connection)

    def fingerprint(self, since_seq: int, until_seq: int) -> str:
        """SHA-256 of the records after `since_seq` up to `until_seq`, as they are written."""
        digest = hashlib.sha256()
        for row in _rows(self._connection, None, None, since_seq):
            if row[0] > until_seq:
                break
            digest.update(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode())
        return digest.hexdigest()

    def last_runs(self, n: int) -> list[Run]:
        """The newest `n` runs, newest first."""
        return _last_runs(self._connection, n)

    def read(
        self,
        *,
        run: str | None = None,
        kinds: Iterable[type[Any]] | None = None,
        since_seq: int = 0,
        symbol: str | None = None,
        limit: int | None = None,
        before_seq: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Entry]:
        """Entries after `since_seq` and before `before_seq`, oldest first or `newest_first`, up to `limit`, of one run,
        of message classes, of a symbol.

        What concerns a symbol: messages that name it, and those about an order that we placed on it. Rows are fetched
        page by page, so a slow caller holds no transaction open. Raises StoreError for what cannot be read.
        """
        return _read(self._connection, run, kinds, since_seq, symbol, limit, before_seq, newest_first)

    def chosen(self, seqs: Sequence[int]) -> list[Entry]:
        """The entries of these numbers, up to `PAGE_ROWS` of them, oldest first; those that are not there are left
        out. Raises StoreError."""
        marks = ", ".join("?" * len(seqs))
        sql = f"SELECT seq, run, at_ms, edge, kind, body FROM journal WHERE seq IN ({marks}) ORDER BY seq"
        return list(map(_entry, _query(self._connection, sql, seqs)))

    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing when it is whole. Takes a second for some 100 MB."""
        said = [str(row[0]) for row in _query(self._connection, "PRAGMA quick_check(10)")]
        return [] if said == ["ok"] else said

    def counts(self, after_seq: int, up_to_seq: int) -> dict[str, int]:
        """How many records of each kind there are among those numbers, the upper one included."""
        sql = "SELECT kind, count(*) FROM journal WHERE seq > ? AND seq <= ? GROUP BY kind"
        return dict(_query(self._connection, sql, (after_seq, up_to_seq)))

    def counts_by(self, kind: type[Any], field: str, after_seq: int, up_to_seq: int) -> dict[str, int]:
        """The same for one kind, by what a field of the message says."""
        sql = (
            "SELECT json_extract(body, '$.' || ?), count(*) FROM journal "
            "WHERE seq > ? AND seq <= ? AND kind = ? GROUP BY 1"
        )
        return dict(_query(self._connection, sql, (field, after_seq, up_to_seq, kind.__name__)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def check_sqlite(version: tuple[int, ...]) -> None:
    """Raises StoreError for an SQLite whose WAL mode can corrupt the file."""
    if version < SQLITE_MIN:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, SQLITE_MIN))
        raise StoreError(f"SQLite {found} can corrupt a journal (its WAL-reset bug); install pysqlite3 with {needed}")


def migrations() -> tuple[Migration, ...]:
    """The numbered SQL files of this program, in order."""
    files = resources.files("surefoot.store").joinpath("migrations").iterdir()
    scripts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".sql")}
    return tuple(Migration(int(name[:4]), name, scripts[name]) for name in sorted(scripts))


def migrate(connection: sqlite.Connection, steps: Sequence[Migration]) -> None:
    """Bring a file to the version of the last step; each step in a transaction of its own.

    Raises StoreError when the file is newer than the last step, or is a database of something else.
    """
    version = _schema_version(connection)
    _refuse_newer(version, steps)
    for step in steps:
        if step.version > version:
            _apply(connection, step)


class _Lock:
    """One writer for a file. The system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.released = False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode().strip() or "unknown"
            self.release()
            raise StoreError(f"{path}: another trader holds it (pid {holder}); stop that one first") from None
        os.ftruncate(self._fd, 0)
        with suppress(OSError):  # A full disk cannot take the pid; the lock itself needs no space.
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        self.released = True
        os.close(self._fd)


def _open_for_writing(path: Path) -> sqlite.Connection:
    try:
        # Made before SQLite opens it, because the files beside it (-wal, -shm) take over its mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as problem:
        raise StoreError(f"{path}: cannot be opened: {problem.strerror}") from problem

    def prepare(connection: sqlite.Connection) -> None:
        # Looked at before anything is changed, because WAL mode is written into the file, and it may not be ours.
        _refuse_newer(_schema_version(connection), migrations())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {TIDY_AT_ONCE_PAGES}")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection, migrations())

    return _connect(path, str(path), prepare, uri=False)


def _open_for_reading(path: Path) -> sqlite.Connection:
    def prepare(connection: sqlite.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        version, steps = _schema_version(connection), migrations()
        _refuse_newer(version, steps)
        if version < steps[-1].version:
            raise StoreError(f"it has version {version}: start the trader once, it brings it to {steps[-1].version}")

    return _connect(path, path.absolute().as_uri() + "?mode=ro", prepare, uri=True)


def _connect(path: Path, address: str, prepare: Callable[[sqlite.Connection], None], *, uri: bool) -> sqlite.Connection:
    try:
        connection = sqlite.connect(address, uri=uri, isolation_level=None, timeout=BUSY_WAIT_MS / 1_000)
    except sqlite.Error as problem:
        raise StoreError(f"{path}: cannot be opened: {problem}") from problem
    try:
        prepare(connection)
    except (sqlite.Error, StoreError) as problem:
        connection.close()
        raise StoreError(f"{path}: cannot be opened: {problem}") from problem
    return connection


def _schema_version(connection: sqlite.Connection) -> int:
    """The version a file has, 0 for an empty one; raises StoreError for a file of something else."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreError("it is a database, but not a journal of Surefoot's")
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(version)


def _refuse_newer(version: int, steps: Sequence[Migration]) -> None:
    if version > steps[-1].version:
        raise StoreError(f"it has version {version}, this program knows {steps[-1].version}: use the newer program")


def _apply(connection: sqlite.Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name TEXT) STRICT")
        for statement in _statements(step.sql):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version (version, name) VALUES (?, ?)", (step.version, step.name))
        connection.execute("COMMIT")
    except sqlite.Error:
        _roll_back(connection)
        raise


def _statements(sql: str) -> Iterator[str]:
    """The statements of a script one by one: running it whole would end the transaction it belongs to."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite.complete_statement(statement):
            yield statement
            statement = ""


def _roll_back(connection: sqlite.Connection) -> None:
    # SQLite has often rolled back by itself; where it could not, the next BEGIN will say so.
    with suppress(sqlite.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def newest_seq(path: Path) -> int:
    """The sequence number of a journal's newest record; 0 where there is no journal that can be read yet."""
    with suppress(StoreError), JournalReader(path) as reader:
        return reader.last_seq
    return 0


def _query(connection: sqlite.Connection, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql, values).fetchall()
    except sqlite.Error as problem:
        raise StoreError(f"the journal cannot be read: {problem}") from problem
    return rows


def _last_seq(connection: sqlite.Connection) -> int:
    return int(_query(connection, "SELECT coalesce(max(seq), 0) FROM journal")[0][0])


def _count_runs(connection: sqlite.Connection) -> int:
    return int(_query(connection, "SELECT count(*) FROM runs")[0][0])


def _has_run(connection: sqlite.Connection, run: str) -> bool:
    return bool(_query(connection, "SELECT 1 FROM runs WHERE run = ?", (run,)))


def _last_runs(connection: sqlite.Connection, n: int) -> list[Run]:
    columns = "run, started_ms, mode, version, settings_digest"
    # By order of writing, not by time: a clock may have been put back between two runs.
    return [Run(*row) for row in _query(connection, f"SELECT {columns} FROM runs ORDER BY rowid DESC LIMIT ?", (n,))]


def _read(
    connection: sqlite.Connection,
    run: str | None,
    kinds: Iterable[type[Any]] | None,
    since_seq: int,
    symbol: str | None,
    limit: int | None,
    before_seq: int | None = None,
    newest_first: bool = False,
) -> Iterator[Entry]:
    names = None if kinds is None else sorted(cls.__name__ for cls in kinds)
    # No more at a time than are wanted: of a rare kind each one costs a long way through the file.
    at_a_time = min(PAGE_ROWS, PAGE_ROWS if limit is None or symbol is not None else max(limit, 1))
    rows = _rows(connection, run, names, since_seq, before_seq, newest_first, at_a_time)
    if symbol is not None:
        rows = filter(_Concerns(connection, symbol), rows)
    return map(_entry, islice(rows, limit))


def _rows(
    connection: sqlite.Connection,
    run: str | None,
    names: Sequence[str] | None,
    since_seq: int,
    before_seq: int | None = None,
    newest_first: bool = False,
    at_a_time: int = PAGE_ROWS,
) -> Iterator[tuple[Any, ...]]:
    until_seq = SEQ_MAX if before_seq is None else before_seq - 1
    conditions, values = "seq > ? AND seq <= ?", list[object]()
    if run is not None:
        conditions += " AND run = ?"
        values.append(run)
    if names is not None:
        conditions += f" AND kind IN ({', '.join('?' * len(names))})"
        values += names
    order = f"ORDER BY seq {'DESC' if newest_first else 'ASC'} LIMIT {at_a_time}"
    sql = f"SELECT seq, run, at_ms, edge, kind, body FROM journal WHERE {conditions} {order}"
    while page := _query(connection, sql, (since_seq, until_seq, *values)):
        yield from page
        if newest_first:
            until_seq = page[-1][0] - 1
        else:
            since_seq = page[-1][0]


class _Concerns:
    """Whether a row is about a symbol. Reports name only the order, so our orders on the symbol are looked up first."""

    def __init__(self, connection: sqlite.Connection, symbol: str) -> None:
        # A quote inside a text is escaped in JSON, so this can only be the field itself.
        self._needle = f'"symbol":"{symbol}"'
        self._ids: set[str] = set()
        for row in _rows(connection, None, (SubmitOrder.__name__, SubmitList.__name__), 0):
            if self._needle in row[5]:
                self._learn(_entry(row).message)

    def __call__(self, row: tuple[Any, ...]) -> bool:
        body: str = row[5]
        if self._needle in body:
            self._learn(_entry(row).message)
            return True
        return '"client_order_id":' in body and getattr(_entry(row).message, "client_order_id", None) in self._ids

    def _learn(self, message: Message) -> None:
        if isinstance(message, SubmitOrder):
            self._ids.add(message.order.client_order_id)
        elif isinstance(message, SubmitList):
            self._ids.update(order.client_order_id for order in message.orders)


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, run, at_ms, edge, kind, body = row
    try:
        return Entry(seq, run, at_ms, edge, decode(kind, body))
    except RecordError as problem:
        raise StoreError(f"record {seq} of the journal: {problem}") from problem
