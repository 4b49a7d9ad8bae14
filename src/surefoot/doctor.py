"""What could keep the bot from doing its work, looked at one by one, with what to do about it.

Rules. Nothing is changed, and nothing is traded. A check that cannot be made says why; it is never passed over. The
checks that need a venue ask it only where there is one: testnet and live, and paper's own when its address is told.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import pairwise
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from surefoot import __version__
from surefoot.binance.dialogue import Keys
from surefoot.config import SECRETS, VENUES, Mode, Settings, is_loopback
from surefoot.control import ControlError, read_view, socket_path
from surefoot.core.messages import CandleClosed
from surefoot.core.model import INTERVAL_MS, MS_PER_DAY
from surefoot.core.view import View
from surefoot.notify import addresses_of
from surefoot.selfcheck import CheckFailed, key_lines, key_verdict
from surefoot.store.journal import JournalReader, StoreError, check_sqlite

PYTHONS = ((3, 11), (3, 13))
DISK_LOW_BYTES = 1_000_000_000
DISK_OUT_BYTES = 100_000_000
OPEN_FILES_MIN = 1_024
NEAR_SHARE_PCT = 80
GAPS_SHOWN = 5
RECORDS_LOOKED_AT = 200_000


class State(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    FAILED = "FAILED"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `advice` is what to do, empty where nothing has to be done."""

    check: str
    state: State
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: settings, the journal that they mean (None when there is none), and the venue.

    `paper_base` is the address of a simulated exchange, `keys` those of the venue; both None where there are none.
    """

    settings: Settings
    journal: Path | None
    env: Mapping[str, str]
    keys: Keys | None
    paper_base: str | None


def examine(patient: Patient) -> list[Finding]:
    """All checks, in the order in which a person would ask; blocks for as long as the venue takes to answer."""
    view, problem = _view(patient.journal)
    return [
        *_versions(),
        *_secrets(patient),
        *_disk(patient.settings.store.journal_path),
        *_store(patient.journal, view, problem),
        *_limits(view),
        *_gaps(patient.journal, patient.settings),
        *_venue(patient),
        *_reach(patient.settings),
    ]


def _view(journal: Path | None) -> tuple[View | None, str]:
    try:
        return (None if journal is None else read_view(socket_path(journal))), ""
    except ControlError as problem:
        return None, str(problem)


# ---------------------------------------------------------------------------------------------------------------
# This machine


def _versions() -> Iterator[Finding]:
    low, high = PYTHONS
    python = platform.python_version()
    if low <= sys.version_info[:2] <= high:
        yield Finding("versions", State.FINE, f"Surefoot {__version__} on Python {python}, {platform.system()}")
    else:
        supported = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
        yield Finding("versions", State.FAILED, f"Python {python} is not supported", f"use Python {supported}")
    try:
        check_sqlite(sqlite.sqlite_version_info)
        yield Finding("versions", State.FINE, f"SQLite {sqlite.sqlite_version}")
    except StoreError as problem:
        yield Finding("versions", State.FAILED, str(problem), "install the locked dependencies again")
    wrong = [*_wrong_packages()]
    if wrong:
        text = f"installed otherwise than this version asks for: {', '.join(wrong)}"
        yield Finding("versions", State.FAILED, text, "install requirements.lock again, as make run does")
    else:
        yield Finding("versions", State.FINE, "every dependency has the version that was asked for")


def _wrong_packages() -> Iterator[str]:
    for line in requires("surefoot") or ():
        name, separator, wanted = line.partition(";")[0].partition("==")
        if not separator:
            continue
        try:
            found = version(name.strip())
        except PackageNotFoundError:
            found = "missing"
        if found != wanted.strip():
            yield f"{name.strip()} {found}, not {wanted.strip()}"


def _secrets(patient: Patient) -> Iterator[Finding]:
    yield Finding("config", State.FINE, f"the settings can be used: mode {patient.settings.mode}")
    for name in SECRETS:
        file = patient.env.get(f"SUREFOOT_{name.upper()}_FILE")
        if file and Path(file).is_file() and stat.S_IMODE(Path(file).stat().st_mode) & 0o077:
            text = f"others may read the file of SUREFOOT_{name.upper()}_FILE"
            yield Finding("keys", State.WARNING, text, "chmod 600 it, or mount it for its owner alone")


def _disk(journal: Path) -> Iterator[Finding]:
    folder = next(each for each in journal.absolute().parents if each.is_dir())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free where the journal is"
    if free < DISK_OUT_BYTES:
        yield Finding("disk", State.FAILED, text, "make room: without a journal there are no entries")
    elif free < DISK_LOW_BYTES:
        yield Finding("disk", State.WARNING, text, "make room soon")
    else:
        yield Finding("disk", State.FINE, text)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("disk", State.FAILED, f"{folder} cannot be written to", "let its owner run Surefoot")
    if folder == journal.absolute().parent and stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield Finding("disk", State.WARNING, f"others may write into {folder}", f"chmod go-w {folder}")


def _limits(view: View | None) -> Iterator[Finding]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < OPEN_FILES_MIN:
        yield Finding("limits", State.WARNING, f"a process may open {files} files", f"ulimit -n {OPEN_FILES_MIN}")
    else:
        yield Finding("limits", State.FINE, f"a process may open {files} files")
    if view is None:
        yield Finding("limits", State.NOT_CHECKED, "the venue's limits: no trader runs that could tell what is used")
        return
    if view.banned_until_ms is not None:
        yield Finding("limits", State.FAILED, "the venue has banned us for a while", "wait; stop what else asks it")
    near = [each for each in view.venue_limits if each.used * 100 >= each.limit * NEAR_SHARE_PCT]
    for each in near:
        text = f"{each.kind} in {each.interval_ms // 1_000} s: {each.used} of {each.limit} are used"
        yield Finding("limits", State.WARNING, text, "does something else use this key or this address?")
    if not near:
        yield Finding("limits", State.FINE, f"no limit of the venue is near, of {len(view.venue_limits)}")


# ---------------------------------------------------------------------------------------------------------------
# What is kept


def _store(journal: Path | None, view: View | None, problem: str) -> Iterator[Finding]:
    if journal is None or not journal.is_file():
        yield Finding("store", State.NOT_CHECKED, "there is no journal yet")
        return
    try:
        with JournalReader(journal) as reader:
            for fault in reader.faults():
                yield Finding("store", State.FAILED, f"{journal}: {fault}", "stop, keep a copy, restore a backup")
                return
            text = f"{journal}: whole, {reader.last_seq} records of {reader.run_count} runs"
            files = (journal, journal.with_name(f"{journal.name}-wal"))
            size = sum(file.stat().st_size for file in files if file.is_file())
            yield Finding("store", State.FINE, f"{text}, {size / 1e6:.1f} MB")
    except StoreError as error:
        yield Finding("store", State.FAILED, str(error), "is it the journal of this version?")
        return
    if problem:
        yield Finding("store", State.WARNING, problem, "restart the trader after an update")
    elif view is None:
        yield Finding("store", State.FINE, "no trader runs on it")
    else:
        yield from _books(view)


def _books(view: View) -> Iterator[Finding]:
    if view.differences:
        advice = "surefoot status shows both; trades from outside?"
        yield Finding("store", State.FAILED, f"ledger and account differ: {'; '.join(view.differences)}", advice)
    off = "" if view.entries_off is None else f", entries off: {view.entries_off}"
    yield Finding("store", State.FINE, f"a trader runs on it, run {view.run}, books {view.books}{off}")


def _gaps(journal: Path | None, settings: Settings) -> Iterator[Finding]:
    """Whether each candle of the last day of the journal is followed by the next."""
    if journal is None or not journal.is_file():
        yield Finding("data", State.NOT_CHECKED, "there is no journal yet that could have gaps")
        return
    opens: dict[str, list[int]] = {}
    interval_ms = INTERVAL_MS[settings.market.interval]
    try:
        with JournalReader(journal) as reader:
            for entry in reader.read(kinds=[CandleClosed], since_seq=max(0, reader.last_seq - RECORDS_LOOKED_AT)):
                message = entry.message
                if isinstance(message, CandleClosed) and message.candle.interval == settings.market.interval:
                    opens.setdefault(message.candle.symbol, []).append(message.candle.open_ms)
    except StoreError as problem:
        yield Finding("data", State.NOT_CHECKED, f"candles: {problem}")
        return
    newest_ms = max((times[-1] for times in opens.values()), default=0)
    gaps = []
    for symbol, times in sorted(opens.items()):
        day = sorted({at_ms for at_ms in times if at_ms > newest_ms - MS_PER_DAY})
        missing = sum((after - before) // interval_ms - 1 for before, after in pairwise(day))
        gaps += [f"{symbol}: {missing}"] if missing else []
    count = sum(map(len, opens.values()))
    if gaps:
        text = f"candles that are missing in the last day of the journal: {', '.join(gaps[:GAPS_SHOWN])}"
        yield Finding("data", State.WARNING, text, "the trader was down, or the venue; surefoot data check tells files")
    elif count:
        yield Finding("data", State.FINE, f"no candle is missing in the last day of the journal, {count} in all")
    else:
        yield Finding("data", State.NOT_CHECKED, f"the journal has no candles of {settings.market.interval} yet")


# ---------------------------------------------------------------------------------------------------------------
# The world outside


def _venue(patient: Patient) -> Iterator[Finding]:
    settings, keys = patient.settings, patient.keys
    if settings.mode not in VENUES and patient.paper_base is None:
        yield Finding("clock", State.NOT_CHECKED, f"mode {settings.mode} has no venue of its own; --rest names one")
        yield Finding("keys", State.NOT_CHECKED, f"mode {settings.mode} has no keys")
        return
    if keys is None:
        yield Finding("keys", State.FAILED, "there are no keys", "see surefoot keys --help")
        return
    try:
        verdict, ahead_ms = asyncio.run(key_verdict(settings, keys, patient.paper_base))
    except CheckFailed as problem:
        told = settings.mode is not Mode.LIVE and "does not tell" in str(problem)
        state = State.NOT_CHECKED if told else State.FAILED
        yield Finding("keys", state, str(problem), "" if told else "surefoot keys check asks again")
        return
    limit_ms = settings.breaker.clock_skew_max_ms
    text = f"the venue's clock is {ahead_ms:+d} ms from ours"
    if limit_ms and abs(ahead_ms) >= limit_ms:
        yield Finding("clock", State.FAILED, text, "let NTP keep this machine's time")
    else:
        yield Finding("clock", State.FINE, text)
    for line in key_lines(verdict, keys.secret, ahead_ms)[:-1]:
        kind, _, said = line.partition(": ")
        state = {"REFUSED": State.FAILED, "warning": State.WARNING}.get(kind, State.FINE)
        yield Finding("keys", state, said, "make another key at the venue" if state is State.FAILED else "")


def _reach(settings: Settings) -> Iterator[Finding]:
    services, problems = addresses_of(settings)
    for problem in problems:
        yield Finding("alerts", State.FAILED, problem, "surefoot alerts test tries every address")
    if services:
        text = f"alerts go to {', '.join(service.name for service in services)}"
        yield Finding("alerts", State.FINE, text, "surefoot alerts test proves it")
    elif not problems:
        state = State.WARNING if settings.mode is Mode.LIVE else State.FINE
        yield Finding("alerts", state, "nobody is told of anything at night", "set SUREFOOT_ALERT_URLS")
    if not is_loopback(settings.web.host):
        advice = "" if settings.web.behind_proxy or settings.web.tls_cert_file else "set TLS, or a proxy in front"
        yield Finding("web", State.WARNING, f"the dashboard listens at {settings.web.host}, for others too", advice)
