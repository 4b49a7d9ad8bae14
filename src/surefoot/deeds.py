"""What the guardian sold, one line each in a file beside the journal: the trader reads it and books it.

The journal has one writer, and that is the trader. A trader that was hung while somebody else sold what it held would
otherwise sell it again, from coins that are not its own. The guardian writes; the trader, once it lives again, reads.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from surefoot.core.messages import VenueTraded
from surefoot.store.records import RecordError, decode, encode

WHY = "guardian"  # what a round trip is said to have ended by


def deeds_path(journal: Path) -> Path:
    """The file of the guardian of this journal."""
    return Path(f"{journal}.guard.jsonl")


def add_deed(path: Path, deed: VenueTraded) -> None:
    """Keep it; on disk when this returns. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as file:
        file.write(encode(deed)[1] + b"\n")
        file.flush()
        os.fsync(file.fileno())


class Deeds:
    """The trader's end: looks whether there is anything new, which costs one question to the system."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size_bytes = 0
        self._all: list[VenueTraded] = []

    def read(self) -> list[VenueTraded]:
        """All deeds so far, oldest first; empty when there is none, or the file cannot be read."""
        try:
            size_bytes = self._path.stat().st_size
            if size_bytes != self._size_bytes:
                self._all = [deed for line in self._path.read_bytes().splitlines() if (deed := _deed(line))]
                self._size_bytes = size_bytes
        except OSError:
            return []
        return self._all


def _deed(line: bytes) -> VenueTraded | None:
    try:
        message = decode(VenueTraded.__name__, line)
    except RecordError:  # cut short by a crash
        return None
    return message if isinstance(message, VenueTraded) else None


class Pledges:
    """Sales that were sent and whose answers are not known: until when (UTC ms) each may still arrive at the venue. On
    disk before they are sent, so that a guardian that dies in between does not send them again too soon. Where the disk
    refuses, they are known for as long as the guardian lives: a sale is not held up by that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._until_ms: dict[str, int] = {}
        self._passed_ms: dict[str, int] = {}  # of this guardian's own, by a clock that nobody sets
        with suppress(OSError, msgspec.DecodeError):
            self._until_ms = msgspec.json.decode(path.read_bytes(), type=dict[str, int])

    def left_ms(self, name: str) -> int:
        """For how long it may still arrive; 0 when it cannot."""
        if name in self._passed_ms:
            return max(self._passed_ms[name] - _passed_ms(), 0)
        return max(self._until_ms.get(name, 0) - _now_ms(), 0)

    def make(self, name: str, for_ms: int) -> None:
        """It is about to be sent."""
        self._until_ms[name] = _now_ms() + for_ms
        self._passed_ms[name] = _passed_ms() + for_ms
        self._write()

    def release(self, name: str) -> None:
        """It did not reach the venue's books, and will not."""
        self._until_ms.pop(name, None)
        self._passed_ms.pop(name, None)
        self._write()

    def _write(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with suppress(OSError):
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(self._until_ms))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)


def pledges_path(journal: Path) -> Path:
    """Where the guardian of this journal keeps them."""
    return Path(f"{journal}.guard-sent.json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _passed_ms() -> int:
    return time.monotonic_ns() // 1_000_000
