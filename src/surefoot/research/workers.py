"""Who does the work of a search: all cores of this machine, or any executor that has `submit`.

The interface is that of concurrent.futures, so that the same search runs unchanged on a cluster: what is given to
`submit` is a plain function of this package with picklable arguments, and answers come by `result` and `done`. Dask's
`client.get_executor()` and Ray's executor have it. A worker of the local pool ends when the process that started it is
gone, however that went.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

ANSWER_LOOK_S = 0.2

Answer_co = TypeVar("Answer_co", covariant=True)
Answer = TypeVar("Answer")


class Pending(Protocol[Answer_co]):
    """An answer to come."""

    def result(self, timeout: float | None = None) -> Answer_co: ...
    def done(self) -> bool: ...
    def cancel(self) -> object: ...


class Executor(Protocol):
    """What work is given to."""

    def submit(self, function: Callable[..., Answer], /, *arguments: Any) -> Pending[Answer]: ...


def local_pool(workers: int) -> ProcessPoolExecutor:
    """Processes of this machine that start clean, without what this one has in memory."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["surefoot.research.evaluation"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_belong_to_parent)


def all_cores() -> int:
    """How many processes can work at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(
    executor: Executor,
    function: Callable[..., Answer],
    tasks: Sequence[tuple[Any, ...]],
    in_flight_max: int,
    take: Callable[[int, Answer], None],
) -> None:
    """Do all tasks; `take` is told each answer soon after it is there, in any order. The first failure ends all."""
    left = iter(enumerate(tasks))
    pending: dict[int, Pending[Answer]] = {}
    try:
        while True:
            for at, arguments in islice(left, in_flight_max - len(pending)):
                pending[at] = executor.submit(function, *arguments)
            if not pending:
                return
            _await_one(pending)
            for at in [at for at, answer in pending.items() if answer.done()]:
                take(at, pending.pop(at).result())
    finally:
        for answer in pending.values():
            answer.cancel()


def _await_one(pending: dict[int, Pending[Answer]]) -> None:
    """The oldest answer, or a short while: another one may be there by then."""
    oldest = next(iter(pending.values()))
    try:
        oldest.result(ANSWER_LOOK_S)
    except TimeoutError:
        if oldest.done():
            raise


def _belong_to_parent() -> None:
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child process"
    wait([parent.sentinel])
    os._exit(1)
