"""What is there to be told: each topic's newest value as JSON, made once for all who read it, and the newest records.

Rules. A topic has a version, which grows when its value changes: who was sent a version is sent the next one whenever
it has room for it, and never what lay between. Records have the journal's own numbers. Nothing here waits for a reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from surefoot.api.plain import encoded
from surefoot.api.records import journal_item
from surefoot.store.journal import Entry

RECORDS_REMEMBERED = 2_000


@dataclass(slots=True)
class _Told:
    entry: Entry
    text: str | None = None  # made when somebody wants it


class Board:
    """The newest values; `journal` names the journal whose records these are, `life` counts the journals."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.versions: dict[str, int] = {}
        self.journal: str | None = None
        self.life = 0
        self.last_seq = 0
        self._version = 0
        self._records: deque[_Told] = deque(maxlen=RECORDS_REMEMBERED)
        self._waiting: set[asyncio.Event] = set()

    def put(self, topic: str, value: object) -> None:
        """The newest value of a topic."""
        body = encoded(value)
        if self.values.get(topic) == body:
            return
        self._version += 1
        self.values[topic], self.versions[topic] = body, self._version
        self._wake()

    def begin(self, journal: str) -> None:
        """Another journal is followed from here on."""
        self.journal, self.last_seq = journal, 0
        self.life += 1
        self._records.clear()
        self._wake()

    def read_up_to(self, seq: int) -> None:
        """Records up to here are the past; those that come from now on are told."""
        self.last_seq = seq
        self._wake()

    def hear(self, entry: Entry) -> None:
        """A record that was just written."""
        self._records.append(_Told(entry))
        self.last_seq = entry.seq
        self._wake()

    def first_seq(self) -> int:
        """The oldest record that is remembered here; those before it are in the journal."""
        return self._records[0].entry.seq if self._records else self.last_seq + 1

    def records_after(self, seq: int, limit: int) -> tuple[list[str], int]:
        """Up to `limit` remembered records after one, as JSON, and the number of the last of them."""
        told: list[_Told] = []
        for each in reversed(self._records):
            if each.entry.seq <= seq:
                break
            told.append(each)
        chosen = told[::-1][:limit]
        for each in chosen:
            each.text = each.text or encoded(journal_item(each.entry)).decode()
        return [each.text for each in chosen if each.text], chosen[-1].entry.seq if chosen else seq

    @contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever something is new."""
        wake = asyncio.Event()
        self._waiting.add(wake)
        try:
            yield wake
        finally:
            self._waiting.discard(wake)

    def _wake(self) -> None:
        for wake in self._waiting:
            wake.set()
