"""How far a long command is, on stderr: a bar while a person watches, else a line now and then, as a log wants it."""

from __future__ import annotations

import sys
import time
from threading import Event, Lock, Thread
from typing import Protocol, Self

LINE_EVERY_S = 20.0
S_PER_MINUTE = 60


class Progress:
    """Use as a context manager; `show(done, total, part)` moves it. `what` names what is counted.

    Where nobody watches, a line is written when another part of the work begins and every `LINE_EVERY_S`, whether
    something was done or not: what is told is that it is alive.
    """

    def __init__(self, what: str, line_every_s: float = LINE_EVERY_S) -> None:
        self._view: _View = _Bar(what) if sys.stderr.isatty() else _Lines(what, line_every_s)

    def __enter__(self) -> Self:
        self._view.begin()
        return self

    def show(self, done: int, total: int, part: str = "") -> None:
        self._view.show(done, total, part)

    def __exit__(self, *_: object) -> None:
        self._view.end()


class _View(Protocol):
    def begin(self) -> None: ...
    def show(self, done: int, total: int, part: str) -> None: ...
    def end(self) -> None: ...


class _Bar:
    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(what))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, *times, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)

    def begin(self) -> None:
        self._bar.start()

    def show(self, done: int, total: int, part: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=part)

    def end(self) -> None:
        self._bar.stop()


class _Lines:
    def __init__(self, what: str, every_s: float) -> None:
        self._what = what
        self._every_s = every_s
        self._told = ""
        self._part = ""
        self._lock = Lock()
        self._over = Event()
        self._began_s = 0.0
        self._pulse = Thread(target=self._beat, daemon=True, name="progress")

    def begin(self) -> None:
        self._began_s = time.monotonic()
        self._pulse.start()

    def show(self, done: int, total: int, part: str) -> None:
        with self._lock:
            self._told = f"{done:,} of {total:,} {self._what}"
            if part == self._part:
                return
            self._part = part
        self._say()

    def end(self) -> None:
        self._over.set()
        self._pulse.join()

    def _beat(self) -> None:
        while not self._over.wait(self._every_s):
            self._say()

    def _say(self) -> None:
        with self._lock:
            if not self._told:
                return
            minutes, seconds = divmod(int(time.monotonic() - self._began_s), S_PER_MINUTE)
            part = f"{self._part}: " if self._part else ""
            print(f"surefoot: {part}{self._told}, {minutes}:{seconds:02}", file=sys.stderr, flush=True)
