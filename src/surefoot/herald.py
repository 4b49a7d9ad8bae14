"""Watches a trader from outside and tells people: its pictures, its journal, and its silence.

Rules. It needs neither the web process nor the trader's help, and costs the trader nothing but a reader of its journal.
What the journal held before the watch began is not told again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from surefoot.alerts import RECORDS, Alert, Level, Watcher
from surefoot.config import Settings
from surefoot.control import ControlError, socket_path, watch_views
from surefoot.core.view import View
from surefoot.notify import PAUSES_S, AlertLog, Notifier, Service, alerts_path
from surefoot.store.journal import JournalReader, StoreError, newest_seq

READ_EVERY_S = 0.5
SILENT_S = 20.0
UNREAD_S = 10.0
LAST_WORDS_S = 10.0
LOOK_AGAIN_S = 1.0


class Herald:
    """Give it pictures by `see` and what only a supervisor knows by `say`; it reads the journal itself."""

    def __init__(
        self,
        settings: Settings,
        journal: Path,
        services: Sequence[Service],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        alerts = settings.alerts
        self._journal = journal
        self._watcher = Watcher(alerts.doubt_max_s * 1_000, daily_summary=alerts.daily_summary)
        self._notifier = Notifier(alerts, services, AlertLog(alerts_path(journal)), pauses_s=pauses_s)
        self._reader: JournalReader | None = None
        self._unread_s: float | None = None  # since when the journal cannot be read; endless once that was told
        self._seen_seq = newest_seq(journal)
        self._heard_s: float | None = None  # when the trader was last seen
        self._view: View | None = None

    def see(self, view: View) -> None:
        """A picture of the trader; what its journal says of the time before is told first."""
        self._heard_s, self._view = time.monotonic(), view

    def gone(self) -> None:
        """The trader is known not to be there: its silence is no news."""
        self._heard_s = None

    def say(self, level: Level, kind: str, title: str, text: str) -> None:
        """Tell what is in no journal."""
        self._notifier.put(Alert(time.time_ns() // 1_000_000, level, kind, title, text))

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notifier.run())
            while True:
                self._look()
                await asyncio.sleep(READ_EVERY_S)

    async def close(self) -> None:
        """Tell what is left, while `run` goes on; back when it is sent, or after some seconds."""
        self._look()
        await self._notifier.close(LAST_WORDS_S)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _look(self) -> None:
        try:
            self._read()
        except StoreError as problem:
            self._tell_unread(str(problem))
        if self._view is not None:
            for alert in self._watcher.look(self._view):
                self._notifier.put(alert)
        self._view = None
        if self._heard_s is not None and time.monotonic() - self._heard_s > SILENT_S:
            self._heard_s = None
            text = f"it has not answered for {SILENT_S:g} s; its stops rest at the venue, but nobody moves them"
            self.say(Level.CRITICAL, "trader-silent", "The trader does not answer", text)

    def _read(self) -> None:
        if self._reader is None:
            if not self._journal.is_file() or not self._journal.stat().st_size:
                return
            self._reader = JournalReader(self._journal)
        last_seq = self._reader.last_seq
        for entry in self._reader.read(kinds=RECORDS, since_seq=self._seen_seq):
            self._seen_seq = entry.seq
            for alert in self._watcher.read(entry.message):
                self._notifier.put(alert)
        self._seen_seq, self._unread_s = max(self._seen_seq, last_seq), None

    def _tell_unread(self, problem: str) -> None:
        """A journal that is just being made cannot be read either, for a moment."""
        if self._unread_s is None:
            self._unread_s = time.monotonic()
        elif time.monotonic() - self._unread_s > UNREAD_S:
            self._unread_s = math.inf
            self.say(Level.WARNING, "journal-unread", "The journal cannot be read", problem)


async def watch_alone(herald: Herald, journal: Path, note: Callable[[str], None]) -> None:
    """Watch a trader that somebody else started, such as another container, until cancelled."""
    running = asyncio.create_task(herald.run())
    try:
        while True:
            with suppress(ControlError):
                async for view in watch_views(socket_path(journal)):
                    herald.see(view)
            if running.done():
                running.result()
            await asyncio.sleep(LOOK_AGAIN_S)
    finally:
        note("stopped watching")
        with suppress(asyncio.CancelledError):
            await herald.close()
        running.cancel()
