"""What the guardian sold, one line each in a file beside the journal: the trader reads it and books it.

The journal has one writer, and that is the trader. A trader that was hung while somebody else sold what it held would
otherwise sell it again, from coins that are not its own. The guardian writes; the trader, once it lives again, reads.
"""

from __future__ import annotations

import os
from pathlib import Path

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
