"""The journal for a person: where it is, which records of it were asked for, and what state it leaves.

Rules. Nothing here writes into a journal. A journal of paper mode belongs to one life of the simulated exchange, whose
account begins anew at each start: so each run has a file of its own, named after its start, and the oldest make room.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import msgspec

from surefoot.assembly import build_books
from surefoot.changes import overlaid
from surefoot.config import Loaded, Mode, Settings
from surefoot.control import read_view, socket_path
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    Command,
    Event,
    RecordReset,
    RecordTrip,
    SettingsChanged,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import MS_PER_HOUR, Tier
from surefoot.core.view import View, view_of
from surefoot.store.journal import Entry, JournalReader

PAPER_JOURNALS_KEPT = 10
RUNS_NAMED = 20
LEFT_BESIDE = (".alerts.jsonl", ".guard-alerts.jsonl", ".guard.jsonl", ".guard-sent.json", ".guard.lock")


class AskError(Exception):
    """What was asked of a journal makes no sense for it; one line that says what would."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a journal leaves: the engine, the time of its last record, and how many orders were sent."""

    engine: Engine
    at_ms: int
    orders: int


def fresh_journal(folder: Path, now_s: float) -> Path:
    """A new journal, since the account of a simulated exchange begins anew with it; old ones make room."""
    for old in _paper_journals(folder)[PAPER_JOURNALS_KEPT - 1 :]:
        _remove_unless_in_use(old)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_s))
    return folder / f"paper-{stamp}-{int(now_s * 1_000) % 1_000:03d}.sqlite"


def unused_journal(journal: Path) -> Path:
    """The same path. Raises AskError when a run of another account is in it."""
    if journal.exists():
        text = "holds the run of a simulated exchange that is gone, with its account; name a new file"
        raise AskError(f"--journal {journal}: {text}")
    return journal


def _paper_journals(folder: Path) -> list[Path]:
    """Newest first: their names are times."""
    return sorted(folder.glob("paper-*.sqlite"), reverse=True)


def _remove_unless_in_use(journal: Path) -> None:
    lock = Path(f"{journal}.lock")
    with suppress(OSError), lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for end in ("-wal", "-shm", ".sock", *LEFT_BESIDE, ""):
            Path(f"{journal}{end}").unlink(missing_ok=True)
        lock.unlink()


def journal_path(journal: Path | None, settings: Settings) -> Path:
    """The journal that is meant: the named one, in paper mode the newest run's, else the configured one."""
    if journal is not None:
        return journal
    configured = settings.store.journal_path
    if settings.mode is not Mode.PAPER:
        return configured
    newest = next(iter(_paper_journals(configured.parent)), None)
    if newest is None:
        raise AskError(f"no journal of a paper run in {configured.parent}: start one with surefoot run")
    return newest


def in_force(given: Loaded, journal: Path | None) -> Loaded:
    """Settings with what was changed at run time, as the journal tells. A paper run that is over leaves no changes.

    Raises ConfigError where they do not go together, and StoreError for a journal that cannot be read.
    """
    settings = given.settings
    try:
        path = journal_path(journal, settings)
    except AskError:
        return given
    over = journal is None and settings.mode is Mode.PAPER and read_view(socket_path(path)) is None
    if over or (journal is None and not path.is_file()):
        return given
    with JournalReader(path) as reader:
        changes = [entry.message for entry in reader.read(kinds=[SettingsChanged])]
    return overlaid(given, (change for change in changes if isinstance(change, SettingsChanged)))


def chooser(
    reader: JournalReader, run: str | None, kinds: Sequence[str] | None, symbol: str | None, since: str | None
) -> Callable[[int], Iterator[Entry]]:
    """What reads the chosen entries after a record number. Raises AskError for a choice that cannot be."""
    since_seq, since_ms = _since(since)
    classes = None if kinds is None else [_message_class(kind) for kind in kinds]
    name = _run_name(reader, run)

    def choose(after_seq: int) -> Iterator[Entry]:
        entries = reader.read(run=name, kinds=classes, since_seq=max(after_seq, since_seq), symbol=symbol)
        return (entry for entry in entries if entry.at_ms >= since_ms)

    return choose


def _since(text: str | None) -> tuple[int, int]:
    if text is None or text.isdecimal():
        return int(text or 0), 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AskError(f"--since {text}: give a record number, or a UTC time like 2025-06-01T12:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return 0, int(moment.timestamp() * 1_000)


def _message_class(kind: str) -> type[Any]:
    known: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Event) + get_args(Command)}
    if kind not in known:
        nearest = get_close_matches(kind, known, n=1, cutoff=0)[0]
        raise AskError(f"--kind {kind}: no such kind of record; the nearest is {nearest}")
    return known[kind]


def _run_name(reader: JournalReader, run: str | None) -> str | None:
    if run is None:
        return None
    runs = [known.run for known in reader.last_runs(RUNS_NAMED)]
    if run == "last" and runs:
        return runs[0]
    if run not in runs and not list(reader.read(run=run, limit=1)):
        raise AskError(f"--run {run}: not in this journal; its newest runs are {', '.join(runs) or 'none'}")
    return run


def entry_json(entry: Entry) -> str:
    """A record as a line of JSON; money is text."""
    return json.dumps(
        {
            "seq": entry.seq,
            "run": entry.run,
            "at_ms": entry.at_ms,
            "edge": entry.edge,
            "kind": type(entry.message).__name__,
            "body": builtins_of(entry.message),
        }
    )


def entry_line(entry: Entry) -> str:
    """A record as a line for a person; safe on a terminal."""
    from surefoot.terminal import moment_text, plain  # with what draws pictures, which most of this module does without

    body = {name: value for name, value in builtins_of(entry.message).items() if name != "at_ms" and value is not None}
    words = (f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in body.items())
    kind = type(entry.message).__name__
    return f"{entry.seq:>7} {moment_text(entry.at_ms)} {entry.edge:<7} {kind:<16} {plain(' '.join(words))}"


def builtins_of(message: object) -> Any:
    """A message as dictionaries, lists and texts; money is text."""
    return msgspec.to_builtins(message)


def folded(path: Path, settings: Settings) -> Left:
    """What the whole journal leaves. Raises StoreError when it cannot be read."""
    engine, at_ms, orders = build_books(settings), 0, 0
    with JournalReader(path) as reader:
        for entry in reader.read():
            engine.fold(entry.message)
            at_ms = entry.at_ms
            match entry.message:
                case SubmitOrder():
                    orders += 1
                case SubmitList(orders=members):
                    orders += len(members)
                case _:
                    pass
    return Left(engine, at_ms, orders)


def view_from_journal(path: Path, settings: Settings) -> View:
    """The picture that a trader left which is not running. Raises StoreError when the journal cannot be read."""
    left = folded(path, settings)
    return replace(view_of(left.engine, left.at_ms), links=(), entries_off="the trader is not running")


def turns_of(path: Path, settings: Settings) -> list[dict[str, Any]]:
    """Trips and resets of the breaker, oldest first, each with the equity around it; money is text.

    `before` is what a trip carries, one point a minute. `after` is the hour that follows, as far as the journal has it:
    at candles, fills and transfers. Raises StoreError when the journal cannot be read.
    """
    from surefoot.research.export import books_of

    with JournalReader(path) as reader:
        turned = (entry.message for entry in reader.read(kinds=[RecordTrip, RecordReset]))
        records = [message for message in turned if isinstance(message, RecordTrip | RecordReset)]
    return turns(records, [(row.at_ms, row.equity) for row in books_of(path, settings).equity_rows]) if records else []


def turns(records: Sequence[RecordTrip | RecordReset], equities: Sequence[tuple[int, Decimal]]) -> list[dict[str, Any]]:
    """The same for records and a curve that are at hand, both oldest first."""
    told: list[dict[str, Any]] = []
    for record in records:
        after = [
            (at_ms, f"{equity:f}") for at_ms, equity in equities if record.at_ms < at_ms <= record.at_ms + MS_PER_HOUR
        ]
        told.append({"at_ms": record.at_ms, **_turn(record), "after": after})
        if isinstance(record, RecordReset):
            for turn in told:
                turn["in_force"] = False
    return told


def _turn(record: RecordTrip | RecordReset) -> dict[str, Any]:
    equity = None if record.equity is None else f"{record.equity:f}"
    if isinstance(record, RecordReset):
        text = f"reset by {record.who}: {record.reason}"
        said = {"kind": "reset", "text": text, "who": record.who, "reason": record.reason}
        return {**said, "equity": equity, "in_force": False, "before": []}
    said = {"kind": "trip", "text": f"{record.text} ({record.tier})", "rule": record.rule, "tier": str(record.tier)}
    numbers = {"value": f"{record.value:f}", "limit": f"{record.limit:f}", "equity": equity}
    before = [(at_ms, f"{equity:f}") for at_ms, equity in record.curve]
    return {**said, **numbers, "in_force": record.tier is not Tier.WARN, "before": before}
