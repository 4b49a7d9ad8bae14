"""A run whose log nobody reads: it goes on, starts again what fails, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.test_commands import PATIENCE_S, child_pids, command, environment, is_gone, wait_for


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4_096)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def logging_to(stderr: int, *words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    logged = ("--no-terminal", "--speed", "60", "--set", "log.level=debug")
    process = subprocess.Popen(
        command("run", *logged, *words), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=cwd, env=environment()
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.spec("OPS-3", "OBS-2")
def test_a_full_pipe_holds_up_neither_a_restart_nor_the_end(tmp_path: Path) -> None:
    with full_pipe() as stderr, logging_to(stderr, cwd=tmp_path) as run:
        wait_for(lambda: "trade" in child_pids(run.pid), "the trader was started")
        trader = child_pids(run.pid)["trade"]
        wait_for(lambda: list((tmp_path / "var").glob("paper-*.sqlite")), "the trader has a journal")
        os.kill(trader, signal.SIGKILL)
        wait_for(lambda: child_pids(run.pid).get("trade", trader) != trader, "the trader was started again")
        wait_for(lambda: "web" in child_pids(run.pid), "the web process was started")
        children = child_pids(run.pid)
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0
        assert all(is_gone(pid) for pid in children.values())
        assert "was ended by SIGKILL; starting it again" in said
