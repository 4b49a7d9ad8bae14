"""A bar on stderr while a person watches; nothing otherwise."""

from __future__ import annotations


class Progress:
    """Use as a context manager; `show(done, total)` moves the bar. `what` names what is counted."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (TextColumn(self._what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(self._what, total=None)
        self._bar.start()
        return self

    def show(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
