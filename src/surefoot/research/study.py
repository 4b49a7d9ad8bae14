"""A study on disk: every look that a search took, so that it can go on after any end, and so that looks are counted.

Rules. One SQLite file, one writer. A look is one choice of settings over one period of the data, by one version of one
engine: it is evaluated once and remembered with its figures and daily returns. A search that is started again asks the
same questions and finds the answers here, so that only what was in flight is lost. The exact engine's runs of the best
are kept whole, since each may take minutes; they are no looks. A study is of one data set, one space and one set of
other settings; another one is refused. Looks are counted by different settings: to look again at what is known shows
nothing new.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pysqlite3.dbapi2 as sqlite

from surefoot.research.evaluation import Ledger, Measured, Outcome, Period
from surefoot.research.metrics import Curve
from surefoot.research.space import Point
from surefoot.store.journal import StoreError, check_sqlite

APPLICATION_ID = 0x53465354  # "SFST"
SCHEMA_VERSION = 2
BUSY_WAIT_S = 1.0

_SCHEMA = """
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE searches (id INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, told TEXT NOT NULL) STRICT;
CREATE TABLE looks (
    id INTEGER PRIMARY KEY,
    search INTEGER NOT NULL REFERENCES searches (id),
    purpose TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    lead_ms INTEGER NOT NULL,
    settings TEXT NOT NULL,
    engine TEXT NOT NULL,
    version TEXT NOT NULL,
    score REAL,
    round_trips INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    returns BLOB,
    UNIQUE (from_ms, to_ms, lead_ms, settings, engine, version)
) STRICT;
CREATE TABLE exact_runs (
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    lead_ms INTEGER NOT NULL,
    settings TEXT NOT NULL,
    version TEXT NOT NULL,
    outcome BLOB NOT NULL,
    PRIMARY KEY (from_ms, to_ms, lead_ms, settings, version)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a study is about: hash of the data, digest of the space, digest of the settings that are not searched."""

    data: str
    space: str
    settings: str


# What each part of the identity is called when it is another one.
_TOLD = {
    "data": "other candles",
    "space": "another space",
    "settings": "other settings (--set, --config or --strategy)",
}


class Study:
    """Open one with `Study.open`, as a context manager. Raises StoreError for what the file or disk refuses."""

    def __init__(
        self, path: Path, connection: sqlite.Connection, identity: Identity, engine: str, version: str
    ) -> None:
        self.path = path
        self._connection = connection
        self._identity = identity
        self._engine = engine
        self._version = version
        self._search = 0

    @classmethod
    def open(cls, path: Path, identity: Identity, engine: str, version: str) -> Self:
        """Open the file or make it; looks of another engine or version are counted, but not taken for answers."""
        check_sqlite(sqlite.sqlite_version_info)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite.connect(str(path), isolation_level=None, timeout=BUSY_WAIT_S)
        except (OSError, sqlite.Error) as problem:
            raise StoreError(f"{path}: cannot be opened: {problem}") from None
        try:
            _prepare(path, connection, identity)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, identity, engine, version)

    def begin(self, at_ms: int, told: Mapping[str, object]) -> None:
        """A search begins; `told` is how it was asked for."""
        self._search = self._write(
            "INSERT INTO searches (started_ms, told) VALUES (?, ?)", (at_ms, json.dumps(told, sort_keys=True))
        )

    def known(self, point: Point, period: Period) -> Measured | None:
        """What this engine in this version found before; None when nobody looked."""
        row = self._connection.execute(
            "SELECT returns, round_trips, metrics FROM looks"
            " WHERE from_ms = ? AND to_ms = ? AND lead_ms = ? AND settings = ? AND engine = ? AND version = ?",
            (period.from_ms, period.to_ms, period.lead_ms, text_of(point), self._engine, self._version),
        ).fetchone()
        return None if row is None else _measured(row)

    def record(self, point: Point, period: Period, purpose: str, found: Measured, score: float | None) -> None:
        """On disk when it returns, whatever becomes of this process."""
        returns = None if found.returns is None else found.returns.astype("<f8").tobytes()
        self._write(
            "INSERT INTO looks (search, purpose, data_hash, from_ms, to_ms, lead_ms, settings, engine, version, score,"
            " round_trips, metrics, returns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._search,
                purpose,
                self._identity.data,
                period.from_ms,
                period.to_ms,
                period.lead_ms,
                text_of(point),
                self._engine,
                self._version,
                score,
                found.round_trips,
                json.dumps(found.metrics),
                returns,
            ),
        )

    def known_run(self, point: Point, period: Period) -> Outcome | None:
        """The whole run by the exact engine of this version; None when there was none."""
        row = self._connection.execute(
            "SELECT outcome FROM exact_runs"
            " WHERE from_ms = ? AND to_ms = ? AND lead_ms = ? AND settings = ? AND version = ?",
            (period.from_ms, period.to_ms, period.lead_ms, text_of(point), self._version),
        ).fetchone()
        return None if row is None else _outcome(row[0])

    def record_run(self, point: Point, period: Period, run: Outcome) -> None:
        """On disk when it returns, as with `record`."""
        self._write(
            "INSERT INTO exact_runs (from_ms, to_ms, lead_ms, settings, version, outcome) VALUES (?, ?, ?, ?, ?, ?)",
            (period.from_ms, period.to_ms, period.lead_ms, text_of(point), self._version, _packed(run)),
        )

    def looks(self, period: Period) -> int:
        """How many different settings this period was ever evaluated with, by all searches of this study."""
        (count,) = self._connection.execute(
            "SELECT count(DISTINCT settings) FROM looks WHERE from_ms = ? AND to_ms = ?", (period.from_ms, period.to_ms)
        ).fetchone()
        return int(count)

    def all_known(self, period: Period) -> Iterator[Measured]:
        """Everything that this engine in this version found over a period, oldest first."""
        rows = self._connection.execute(
            "SELECT returns, round_trips, metrics FROM looks"
            " WHERE from_ms = ? AND to_ms = ? AND lead_ms = ? AND engine = ? AND version = ? ORDER BY id",
            (period.from_ms, period.to_ms, period.lead_ms, self._engine, self._version),
        )
        return map(_measured, rows)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            return int(self._connection.execute(statement, values).lastrowid or 0)
        except sqlite.Error as problem:
            raise StoreError(f"{self.path}: cannot be written: {problem}") from None


def text_of(point: Point) -> str:
    """A choice of settings as one text, equal for equal choices."""
    return json.dumps(point, sort_keys=True, separators=(",", ":"))


def _measured(row: tuple[bytes | None, int, str]) -> Measured:
    returns, round_trips, metrics = row
    return Measured(
        None if returns is None else np.frombuffer(returns, "<f8").astype(np.float64), round_trips, json.loads(metrics)
    )


def _packed(run: Outcome) -> bytes:
    """All columns of a run, in NumPy's own form."""
    trips: dict[str, Any] = {field.name: np.array(getattr(run.trips, field.name)) for field in fields(Ledger)}
    room = io.BytesIO()
    np.savez_compressed(room, at_ms=run.curve.at_ms, equity=run.curve.equity, flagged=np.array(run.flagged), **trips)
    return room.getvalue()


def _outcome(packed: bytes) -> Outcome:
    with np.load(io.BytesIO(packed), allow_pickle=False) as kept:
        trips = {field.name: kept[field.name] for field in fields(Ledger)}
        words = {name: tuple(trips[name].tolist()) for name in ("symbol", "reason")}
        return Outcome(Curve(kept["at_ms"], kept["equity"]), Ledger(**trips | words), int(kept["flagged"]))


def _prepare(path: Path, connection: sqlite.Connection, identity: Identity) -> None:
    try:
        # Held until the file is closed: a second search on it is told so, instead of mixing its looks with ours.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # A crash of this program loses nothing; one of the whole machine may lose the newest looks, never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        _check_kind(path, connection)
        _check_identity(path, connection, identity)
        connection.execute("COMMIT")
    except sqlite.OperationalError as problem:
        if "locked" in str(problem):
            raise StoreError(
                f"{path}: another search has this study open; wait for it, or give another --study"
            ) from None
        raise StoreError(f"{path}: cannot be opened: {problem}") from None
    except sqlite.DatabaseError as problem:
        raise StoreError(f"{path}: is not a study: {problem}") from None
    except BaseException:
        with suppress(sqlite.Error):
            connection.execute("ROLLBACK")
        raise


def _check_kind(path: Path, connection: sqlite.Connection) -> None:
    (kind,), (version,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    if kind == APPLICATION_ID and version == SCHEMA_VERSION:
        return
    if kind == APPLICATION_ID:
        raise StoreError(f"{path}: a study of another version ({version}) of this program; give another --study")
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise StoreError(f"{path}: is a database of something else; give another --study")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_identity(path: Path, connection: sqlite.Connection, identity: Identity) -> None:
    ours = {"data": identity.data, "space": identity.space, "settings": identity.settings}
    known = dict(connection.execute("SELECT name, value FROM identity"))
    if not known:
        connection.executemany("INSERT INTO identity (name, value) VALUES (?, ?)", ours.items())
        return
    others = [_TOLD[name] for name, value in ours.items() if known.get(name) != value]
    if others:
        raise StoreError(f"{path}: this study was begun with {' and '.join(others)}; give those, or another --study")
