"""The journal with real files and real processes: what was flushed is there, whatever happens to the writer."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from surefoot.core.messages import (
    CandleClosed,
    HistoryLoaded,
    MarkPriceTold,
    OrderFilled,
    PriceMarked,
    RecordAlarm,
    RecordEquity,
    RecordTrip,
    RunStarted,
    SubmitList,
    Woke,
)
from surefoot.core.model import Tier
from surefoot.store import journal as store
from surefoot.store.journal import Journal, JournalReader, Migration, StoreError, check_sqlite, migrate, migrations
from surefoot.store.records import RecordError
from tests.store.samples import (
    OPEN_MS,
    accepted,
    alarm,
    closed,
    day_of_trading,
    decided,
    entry_list,
    filled,
    started,
)

ROUNDS = 8

# A file as version 1 made it. It never changes: later programs must be able to read what is out there.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT) STRICT;
INSERT INTO schema_version VALUES (1, '0001_journal.sql');
CREATE TABLE runs (
    run TEXT PRIMARY KEY, started_ms INTEGER NOT NULL, mode TEXT NOT NULL, version TEXT NOT NULL,
    settings_digest TEXT NOT NULL
) STRICT;
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (run), at_ms INTEGER NOT NULL,
    edge TEXT NOT NULL CHECK (edge IN ('event', 'command')), kind TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX journal_by_run ON journal (run);
INSERT INTO runs VALUES ('old1', 5, 'paper', '0.1.0', 'abc');
INSERT INTO journal VALUES (1, 'old1', 5, 'event', 'RunStarted',
    '{"at_ms":5,"run":"old1","mode":"paper","symbols":["BTCUSDT"],"settings_digest":"abc","version":"0.1.0"}');
INSERT INTO journal VALUES (2, 'old1', 7, 'command', 'RecordTrip',
    '{"at_ms":7,"day":20717,"loss_pct":"5.10","limit_pct":"5.0"}');
INSERT INTO journal VALUES (3, 'old1', 7200001, 'command', 'RecordDayStart',
    '{"at_ms":7200001,"day":20717,"equity":"1000.50"}');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "surefoot.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        yield opened


def made_by_hand(path: Path, sql: str) -> None:
    connection = sqlite.connect(str(path))
    connection.executescript(sql)
    connection.close()


def start_writer(path: Path, run: str, *words: str) -> subprocess.Popen[bytes]:
    script = str(Path(__file__).with_name("writer.py"))
    command = [sys.executable, script, str(path), run, *words]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"0\n"  # Its run is on disk, and it holds the lock.
    return writer


def kill(writer: subprocess.Popen[bytes]) -> int:
    """Ends the writer at once; returns the last batch that it called durable."""
    writer.kill()
    said, _ = writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    whole_lines = said[: said.rfind(b"\n") + 1].split()
    return int(whole_lines[-1]) if whole_lines else 0


@pytest.mark.spec("DB-1")
def test_what_was_flushed_is_read_back_in_order(journal: Journal) -> None:
    day = day_of_trading()
    journal.append(*day[:3])
    journal.flush()
    journal.append(*day[3:])
    journal.flush()
    entries = list(journal.read())
    assert [entry.message for entry in entries] == list(day)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.edge for entry in entries] == ["event", "event", "command", "command", "event", "event"]
    assert {entry.run for entry in entries} == {"k3f9"}
    assert entries[4].at_ms == OPEN_MS + 40


@pytest.mark.spec("DB-2")
def test_nothing_is_on_disk_before_the_flush_and_everything_after(path: Path, journal: Journal) -> None:
    journal.append(*day_of_trading())
    with JournalReader(path) as reader:
        assert journal.pending == 6
        assert (journal.last_seq, reader.last_seq) == (0, 0)
        journal.flush()
        assert journal.pending == 0
        assert (journal.last_seq, reader.last_seq) == (6, 6)


@pytest.mark.spec("DB-1", "PERF-4")
def test_what_the_log_holds_goes_into_the_file_in_a_quiet_moment_and_with_no_flush(
    path: Path, journal: Journal
) -> None:
    journal.append(started("run1"))
    journal.flush()
    assert not journal.tidy(), "one flush is not much"
    before = path.stat().st_size
    for _ in range(2 * store.TIDY_AFTER_FLUSHES):
        journal.append(closed(), decided())
        journal.flush()
    assert path.stat().st_size == before, "a flush takes nothing over"
    assert journal.tidy()
    assert path.stat().st_size > before
    assert not journal.tidy(), "it is done"


def test_close_writes_what_was_appended(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(*day_of_trading())
    journal.close()  # Twice is harmless.
    with Journal.open(path) as again:
        assert [entry.message for entry in again.read()] == list(day_of_trading())


def test_marks_wakes_and_history_are_not_kept(journal: Journal) -> None:
    marked = PriceMarked(OPEN_MS, "BTCUSDT", filled().fill.price, filled().fill.price, OPEN_MS)
    told = MarkPriceTold(OPEN_MS, "BTCUSDT", filled().fill.price, OPEN_MS)
    journal.append(started(), marked, told, Woke(OPEN_MS), HistoryLoaded(OPEN_MS, (closed().candle,)), closed())
    journal.flush()
    assert [type(entry.message) for entry in journal.read()] == [RunStarted, CandleClosed]


@pytest.mark.spec("DB-1")
def test_reading_narrows_by_run_kind_place_and_count(journal: Journal) -> None:
    journal.append(*day_of_trading("run1"), *day_of_trading("run2"))
    journal.flush()
    assert [entry.seq for entry in journal.read(run="run2")] == [7, 8, 9, 10, 11, 12]
    assert [entry.seq for entry in journal.read(kinds={OrderFilled, SubmitList})] == [4, 6, 10, 12]
    assert [entry.seq for entry in journal.read(kinds=[])] == []
    assert [entry.seq for entry in journal.read(since_seq=10)] == [11, 12]
    assert [entry.seq for entry in journal.read(run="run1", since_seq=2, limit=2)] == [3, 4]


@pytest.mark.spec("DB-2")
def test_the_newest_are_read_first_without_those_before_them(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(*day_of_trading("run1"), *day_of_trading("run2"))
    journal.flush()
    monkeypatch.setattr(store, "PAGE_ROWS", 2)
    with JournalReader(path) as reader:

        def seqs(**wanted: Any) -> list[int]:
            return [entry.seq for entry in reader.read(newest_first=True, **wanted)]

        assert seqs() == list(range(12, 0, -1))
        assert seqs(limit=3) == [12, 11, 10]
        assert seqs(before_seq=10, limit=3) == [9, 8, 7]
        assert seqs(since_seq=7, before_seq=10) == [9, 8]
        assert seqs(kinds={OrderFilled, SubmitList}, before_seq=12) == [10, 6, 4]
        assert seqs(before_seq=1) == []
        assert seqs(symbol="BTCUSDT", limit=2) == seqs(symbol="BTCUSDT")[:2]
        assert [entry.seq for entry in reader.read(before_seq=4)] == [1, 2, 3]


@pytest.mark.spec("DB-1")
def test_reading_by_symbol_finds_reports_that_name_only_the_order(journal: Journal) -> None:
    journal.append(started(), closed("ETHUSDT"), decided(symbol="ETHUSDT"))
    journal.append(entry_list(counter=1, symbol="BTCUSDT"), entry_list(counter=2, symbol="ETHUSDT"))
    journal.append(accepted(counter=1), accepted(counter=2), alarm('"symbol":"ETHUSDT"'))
    journal.append(filled(counter=1), filled(counter=2, symbol="ETHUSDT"))
    journal.flush()
    assert [entry.seq for entry in journal.read(symbol="ETHUSDT")] == [2, 3, 5, 7, 10]
    assert [entry.seq for entry in journal.read(symbol="ETHUSDT", since_seq=5, limit=1)] == [7]
    assert [entry.seq for entry in journal.read(symbol="BTCUSDT")] == [4, 6, 9]


def test_last_runs_are_the_newest_first_even_when_the_clock_went_back(path: Path, journal: Journal) -> None:
    journal.append(started("run1", at_ms=300), started("run2", at_ms=100))
    journal.flush()
    journal.append(started("run3", at_ms=200))
    journal.flush()
    with JournalReader(path) as reader:
        for source in (journal, reader):
            assert [run.run for run in source.last_runs(2)] == ["run3", "run2"]
            assert source.run_count == 3
    run = journal.last_runs(1)[0]
    assert (run.started_ms, run.mode, run.version, run.settings_digest) == (200, "paper", "0.1.0", "9f86d081")


@pytest.mark.spec("DB-1")
def test_a_run_says_its_name_first_and_no_name_comes_twice(path: Path, journal: Journal) -> None:
    with pytest.raises(StoreError, match="begins with RunStarted, not with CandleClosed"):
        journal.append(closed())
    journal.append(started("k3f9"))
    with pytest.raises(StoreError, match="run k3f9 is already"):
        journal.append(started("k3f9"))
    journal.close()
    with Journal.open(path) as again, pytest.raises(StoreError, match="run k3f9 is already"):
        again.append(started("k3f9"))


def test_a_message_that_cannot_be_written_exactly_leaves_the_buffer_as_it_was(journal: Journal) -> None:
    journal.append(started())
    with pytest.raises(RecordError):
        journal.append(decided(rsi=float("nan")))
    journal.append(closed())
    journal.flush()
    assert [entry.seq for entry in journal.read()] == [1, 2]


@pytest.mark.spec("SAFE-4")
def test_history_cannot_be_edited(path: Path, journal: Journal) -> None:
    journal.append(*day_of_trading())
    journal.flush()
    by_hand = sqlite.connect(str(path), isolation_level=None)
    for sql in ("DELETE FROM journal WHERE seq = 3", "UPDATE journal SET body = '{}' WHERE seq = 3"):
        with pytest.raises(sqlite.IntegrityError, match="append-only"):
            by_hand.execute(sql)
    by_hand.close()


@pytest.mark.spec("SAFE-4", "DB-2")
def test_whatever_moment_the_writer_is_killed_at_nothing_flushed_is_lost_and_nothing_is_torn(path: Path) -> None:
    moments = random.Random(20_717)
    durable: dict[str, int] = {}
    for round_ in range(ROUNDS):
        run = f"run{round_}"
        writer = start_writer(path, run, str(round_))
        time.sleep(moments.uniform(0, 0.25))
        durable[run] = kill(writer)
    with Journal.open(path) as journal:
        entries = list(journal.read())
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert journal.run_count == ROUNDS
    for run, of_run in groupby(entries, key=lambda entry: entry.run):
        batches = _batches([entry.message for entry in of_run if isinstance(entry.message, RecordAlarm)])
        assert batches == list(range(1, len(batches) + 1))
        assert len(batches) in (durable[run], durable[run] + 1)  # It may have died between the disk and the word.
    assert sum(durable.values()) > ROUNDS


def _batches(alarms: list[RecordAlarm]) -> list[int]:
    """The numbers of the batches, each of which must be whole."""
    numbers = []
    told = (tuple(map(int, message.text.split()[:3])) for message in alarms)
    for number, parts in groupby(told, key=lambda part: part[0]):
        of_batch = list(parts)
        assert of_batch == [(number, part, of_batch[0][2]) for part in range(1, of_batch[0][2] + 1)]
        numbers.append(number)
    return numbers


@pytest.mark.spec("DB-1")
def test_second_trader_is_refused_with_the_first_ones_pid_until_that_one_is_killed(path: Path) -> None:
    writer = start_writer(path, "first", "0", "hold")
    try:
        with pytest.raises(StoreError, match=rf"surefoot\.sqlite: another trader holds it \(pid {writer.pid}\)"):
            Journal.open(path)
    finally:
        kill(writer)
    with Journal.open(path) as journal:
        assert journal.last_runs(1)[0].run == "first"


def test_reader_in_another_process_sees_whole_batches_while_the_writer_writes(path: Path) -> None:
    writer = start_writer(path, "busy", "1")
    try:
        with JournalReader(path) as reader:
            seen = [reader.last_seq]
            until = time.monotonic() + 10
            while seen[-1] < 200 and time.monotonic() < until:
                alarms = [entry.message for entry in reader.read(kinds=[RecordAlarm])]
                _batches([message for message in alarms if isinstance(message, RecordAlarm)])
                seen.append(reader.last_seq)
    finally:
        kill(writer)
    assert seen == sorted(seen)
    assert len(set(seen)) > 2  # It moved on under the reader's eyes.


def test_reader_reads_what_a_killed_trader_left_before_a_new_one_starts(path: Path) -> None:
    writer = start_writer(path, "crashed", "2")
    time.sleep(0.1)
    durable = kill(writer)
    with JournalReader(path) as reader:
        alarms = [entry.message for entry in reader.read(kinds=[RecordAlarm])]
    assert len(_batches([message for message in alarms if isinstance(message, RecordAlarm)])) >= durable > 0


def test_reader_cannot_write(path: Path, journal: Journal) -> None:
    journal.append(started())
    journal.flush()
    with JournalReader(path) as reader, pytest.raises(sqlite.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM runs")


def test_reader_reads_after_the_trader_has_stopped_and_while_it_appends_from_within(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(started())
        journal.append(*(alarm(str(number)) for number in range(2 * store.PAGE_ROWS)))
        journal.flush()
        with JournalReader(path) as reader:
            entries = reader.read()
            next(entries)
            journal.append(alarm("late"))
            journal.flush()
            texts = [entry.message.text for entry in entries if isinstance(entry.message, RecordAlarm)]
    assert texts == [str(number) for number in range(2 * store.PAGE_ROWS)] + ["late"]
    with JournalReader(path) as reader:
        assert reader.last_seq == 2 * store.PAGE_ROWS + 2


def test_reader_without_a_journal_says_so_and_makes_none(path: Path) -> None:
    with pytest.raises(StoreError, match="no journal here yet"):
        JournalReader(path)
    assert not path.exists()


def test_file_and_folder_are_their_owners_alone(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.append(started())
        journal.flush()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) == {path.name + end for end in ("", "-wal", "-shm", ".lock")}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.spec("DB-2")
def test_disk_that_refuses_loses_nothing_and_takes_everything_when_it_returns(path: Path) -> None:
    # A limit on the size of files fails the write itself, as a full disk does. It is set in a process of its own.
    script = f"""
import resource, sys
from pathlib import Path
from typing import Any
from surefoot.store.journal import Journal, StoreError
from tests.store.samples import alarm, day_of_trading, entry_list
journal = Journal.open(Path({str(path)!r}))
journal.append(*day_of_trading())
journal.flush()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
for attempt in range(3):
    journal.append(*(alarm(f"{{attempt}} {{number}} {{'x' * 10_000}}") for number in range(20)))
    try:
        journal.flush()
    except StoreError as problem:
        print(problem)
    else:
        sys.exit("the flush should have failed")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
journal.append(entry_list(counter=9))
journal.flush()
journal.close()
"""
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()
    assert said == [f"{path}: {count} records not written, kept: disk I/O error" for count in (20, 40, 60)]
    with Journal.open(path) as journal:
        messages = [entry.message for entry in journal.read()]
    assert messages[:6] == list(day_of_trading())
    texts = [message.text.split(" x")[0] for message in messages if isinstance(message, RecordAlarm)]
    assert texts == [f"{attempt} {number}" for attempt in range(3) for number in range(20)]
    assert messages[-1] == entry_list(counter=9)


@pytest.mark.spec("DB-2")
def test_file_locked_by_someone_else_is_an_error_and_the_next_flush_writes_all(path: Path, journal: Journal) -> None:
    other = sqlite.connect(str(path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append(*day_of_trading())
    with pytest.raises(StoreError, match="6 records not written, kept: database is locked"):
        journal.flush()
    assert (journal.pending, journal.last_seq) == (6, 0)
    other.execute("ROLLBACK")
    other.close()
    journal.flush()
    assert [entry.message for entry in journal.read()] == list(day_of_trading())


@pytest.mark.spec("DB-2")
def test_flush_that_fails_half_way_holds_no_lock_on_the_file_and_neither_does_a_failing_close(path: Path) -> None:
    journal = Journal.open(path)
    journal.append(started())
    journal.flush()
    journal.append(closed(), closed())
    other = sqlite.connect(str(path), isolation_level=None)
    taken = "INSERT INTO journal VALUES (3, 'k3f9', 0, 'event', 'Woke', '{\"at_ms\":0}')"
    other.execute(taken)
    with pytest.raises(StoreError, match="2 records not written, kept: UNIQUE constraint failed"):
        journal.flush()
    other.execute("BEGIN IMMEDIATE")  # Fails when the half-done transaction is still open.
    other.execute("ROLLBACK")
    other.close()
    with pytest.raises(StoreError, match="2 records not written, kept"):
        journal.close()
    with Journal.open(path) as again:
        assert [entry.seq for entry in again.read()] == [1, 3]


@pytest.mark.spec("DB-2")
def test_buffer_has_a_bound_and_says_when_it_is_reached(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PENDING_MAX", 3)
    journal.append(started(), closed(), closed())
    with pytest.raises(StoreError, match="3 records wait for the disk"):
        journal.append(closed())
    journal.flush()
    journal.append(closed())
    journal.flush()
    assert journal.last_seq == 4


@pytest.mark.parametrize("place", ["a file/surefoot.sqlite", "a file/deeper/surefoot.sqlite", "a folder"])
def test_place_that_cannot_hold_a_file_is_one_clear_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StoreError, match=rf"^{tmp_path / place}: cannot be opened: .*(exists|directory)$"):
        Journal.open(tmp_path / place)


@pytest.mark.spec("DB-1")
@pytest.mark.parametrize("open_", [Journal.open, JournalReader])
def test_newer_file_is_refused_and_left_alone(path: Path, open_: type[JournalReader]) -> None:
    path.parent.mkdir()
    made_by_hand(path, VERSION_1 + "INSERT INTO schema_version VALUES (99, '0099_from_the_future.sql');")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"version 99, this program knows 2: use the newer program"):
        open_(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("open_", [Journal.open, JournalReader])
def test_file_of_something_else_is_refused_and_left_alone(path: Path, open_: type[JournalReader]) -> None:
    path.parent.mkdir()
    made_by_hand(path, "CREATE TABLE photos (id INTEGER);")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a journal of Surefoot's"):
        open_(path)
    assert path.read_bytes() == before
    path.write_text("no database at all, " * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        open_(path)
    assert path.read_text() == "no database at all, " * 100


@pytest.mark.spec("DB-1")
def test_version_1_file_is_read_and_continued(path: Path) -> None:
    path.parent.mkdir()
    made_by_hand(path, VERSION_1)
    with Journal.open(path) as journal:
        journal.append(started("new1"), closed())
        journal.flush()
        assert [run.run for run in journal.last_runs(9)] == ["new1", "old1"]
        trip, start = (entry.message for entry in journal.read(since_seq=1, limit=2))
    text = "day loss: 5.10 % reached 5.0 %"
    assert trip == RecordTrip(7, "day loss", Tier.NO_ENTRIES, Decimal("5.10"), Decimal("5.0"), None, text)
    assert start == RecordEquity(7_200_001, 2, Decimal("1000.50"), Decimal("1000.50"))
    with JournalReader(path) as reader:
        assert [entry.seq for entry in reader.read()] == [1, 2, 3, 4, 5]


@pytest.mark.spec("DB-1")
def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


@pytest.mark.spec("DB-1")
def test_migration_brings_an_old_file_forward_once_and_a_failing_one_leaves_it_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    made_by_hand(path, VERSION_1)
    connection = sqlite.connect(str(path), isolation_level=None)
    known = migrations()
    migrate(connection, known)
    number = len(known) + 1
    torn = Migration(number, "torn.sql", "ALTER TABLE runs ADD COLUMN host TEXT;\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(sqlite.OperationalError, match="nowhere"):
        migrate(connection, (*known, torn))
    assert "host" not in _columns(connection, "runs")

    whole = Migration(
        number, "hosts.sql", "-- Where it ran.\nALTER TABLE runs ADD COLUMN host TEXT\n    DEFAULT 'desk';\n"
    )
    migrate(connection, (*known, whole))
    migrate(connection, (*known, whole))
    assert "host" in _columns(connection, "runs")
    assert connection.execute("SELECT run, host FROM runs").fetchall() == [("old1", "desk")]
    versions = connection.execute("SELECT * FROM schema_version ORDER BY version").fetchall()
    assert versions == [*((step.version, step.name) for step in known), (number, "hosts.sql")]
    connection.close()
    with pytest.raises(StoreError, match=f"version {number}, this program knows {len(known)}"):
        Journal.open(path)


def _columns(connection: sqlite.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_record_that_this_program_cannot_read_is_named_by_its_number(path: Path) -> None:
    path.parent.mkdir()
    made_by_hand(path, VERSION_1 + "INSERT INTO journal VALUES (4, 'old1', 8, 'event', 'OrderEaten', '{}');")
    with Journal.open(path):
        pass
    with (
        JournalReader(path) as reader,
        pytest.raises(StoreError, match=r"record 4 .*unknown kind of record 'OrderEaten'"),
    ):
        list(reader.read())


@pytest.mark.spec("DB-1")
def test_sqlite_that_can_corrupt_the_file_is_refused() -> None:
    check_sqlite((3, 51, 3))
    check_sqlite(sqlite.sqlite_version_info)
    with pytest.raises(StoreError, match=r"SQLite 3\.51\.2 can corrupt .* pysqlite3 with 3\.51\.3"):
        check_sqlite((3, 51, 2))


def test_hundred_thousand_events_are_written_and_read_back(path: Path) -> None:
    day = (closed(), decided(), entry_list(), accepted(), filled())
    began = time.perf_counter()
    with Journal.open(path) as journal:
        journal.append(started())
        for _ in range(200):
            journal.append(*day * 100)
            journal.flush()
        written = time.perf_counter()
        count = sum(1 for _ in journal.read(since_seq=1))
        read = time.perf_counter()
    assert count == 100_000
    print(f"100 000 events: written in {written - began:.2f} s, read in {read - written:.2f} s, {os.cpu_count()} cores")
