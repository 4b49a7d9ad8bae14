"""Where lines go that perhaps nobody reads: stdout and stderr of a process that must not wait for a reader.

Rules. Who writes never waits: a thread of its own does. Lines that find no room are lost, and how many is said where
they would have stood. When the reader is gone for good, all lines are.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

LINES_MAX = 10_000
LINES_AT_ONCE = 100
STANDSTILL_S = 5.0  # at the end, a reader who takes nothing for so long is none


def _said(count: int) -> str:
    return f"({count} lines found no reader and are lost)"


class Outlet(io.TextIOBase):
    """Text for a file descriptor. `lost_line` makes the line that tells how many were lost."""

    def __init__(self, descriptor: int, lines_max: int = LINES_MAX) -> None:
        self.lost_line: Callable[[int], str] = _said
        self._descriptor = descriptor
        self._lines_max = lines_max
        self._lines = deque[str]()
        self._part = ""  # of a line that is not whole
        self._lost = 0
        self._is_writing = self._is_broken = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="outlet").start()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        """Keep it for the reader; what is no whole line yet waits for its end."""
        with self._changed:
            *lines, self._part = (self._part + text).split("\n")
            for line in lines:
                self._take(line + "\n")
            self._changed.notify_all()
        return len(text)

    def drain(self, standstill_s: float = STANDSTILL_S) -> None:
        """Let what was written reach its reader, for as long as there is one."""
        with self._changed:
            while self._has_more and self._changed.wait(standstill_s):
                pass

    @property
    def _has_more(self) -> bool:
        return not self._is_broken and bool(self._lines or self._lost or self._is_writing)

    def _take(self, line: str) -> None:
        if self._is_broken:
            return
        if len(self._lines) >= self._lines_max:
            self._lost += 1
            return
        self._tell_lost()
        self._lines.append(line)

    def _tell_lost(self) -> None:
        if self._lost:
            self._lines.append(self.lost_line(self._lost) + "\n")
            self._lost = 0

    def _run(self) -> None:
        while not self._is_broken:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._lost)
                if not self._lines:
                    self._tell_lost()
                text = "".join(self._lines.popleft() for _ in range(min(len(self._lines), LINES_AT_ONCE)))
                self._is_writing = True
            self._write_out(text.encode(errors="replace"))
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    def _write_out(self, left: bytes) -> None:
        while left and not self._is_broken:
            try:
                count = os.write(self._descriptor, left)
            except OSError:
                self._is_broken = True
                return
            left = left[count:]
            with self._changed:
                self._changed.notify_all()


@contextmanager
def unhurried() -> Iterator[None]:
    """Nobody in this process waits for who reads its stdout and stderr; a terminal is written to as ever."""
    before = sys.stdout, sys.stderr
    before[0].flush()
    outlets = [None if stream.isatty() else Outlet(stream.fileno()) for stream in before]
    sys.stdout, sys.stderr = (cast(TextIO, new) if new else old for new, old in zip(outlets, before, strict=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for outlet in outlets:
            if outlet is not None:
                outlet.drain()
