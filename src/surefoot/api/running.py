"""Commands of `surefoot` that the web process runs beside itself: they may take long, and must not hold it up.

Rules. They run niced, in a session of their own, with settings from a file, and without what the environment holds of
keys and addresses; what they print is read to its end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

from surefoot.config import Mode, Settings, to_toml

NICENESS = 15
PREFIX = "SUREFOOT_"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended; `complaint` is the last line of its stderr."""

    code: int
    out: bytes
    complaint: str


def quiet_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings and secrets: the file says all."""
    return {name: value for name, value in env.items() if not name.startswith(PREFIX)}


def as_backtest(settings: Settings) -> str:
    """Settings as a file that asks for no key: those of a backtest, whatever the mode is."""
    return to_toml(settings.model_copy(update={"mode": Mode.BACKTEST}))


async def started(words: Sequence[str], out: int, errors: int) -> asyncio.subprocess.Process:
    """A command that has begun, out of the way of everything else."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "surefoot", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        env=quiet_environment(os.environ),
        start_new_session=True,
    )
    with suppress(OSError):  # it may have ended already
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    return process


def end(process: asyncio.subprocess.Process) -> None:
    """End a command and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, SIGKILL)


async def ran(words: Sequence[str], settings_toml: str, at_most_s: float) -> Done:
    """Run a command whose last word is followed by the name of a settings file. TimeoutError when it takes longer."""
    with TemporaryDirectory(prefix="surefoot-") as folder:
        file = Path(folder) / "settings.toml"
        file.write_text(settings_toml, "utf-8")
        process = await started([*words, str(file)], asyncio.subprocess.PIPE, asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(at_most_s):
                out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                end(process)
    assert process.returncode is not None
    return Done(process.returncode, out, last_line(errors))


def last_line(errors: bytes) -> str:
    """What a command complained of last."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("surefoot: ") if lines else ""
