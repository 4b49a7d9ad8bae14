"""Processes of a run: heard while they live, started again when they fail.

Rules. Children are in sessions of their own, so that a Ctrl-C reaches their parent alone; they end by themselves when
it is gone. One that crashes is started again after a pause that grows.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0  # a process that ran this long has recovered: the next crash pauses shortly again
OUTPUT_GRACE_S = 1.0
LINE_BYTES_MAX = 1 << 20
LOG_LINE = re.compile(r'\{"|\d{4}-\d\d-\d\dT\S+ \[')  # how lines of a log begin, see surefoot.logs


class Child:
    """One process: its lines as they come, its last complaint, and its end."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], on_line: Callable[[str], None]
    ) -> None:
        """`on_line` gets each line of its stdout."""
        self.name = name
        self.complaint = ""  # the last line of its stderr
        self._command = command
        self._env = env
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    async def start(self) -> None:
        """Raises OSError when the system cannot start it."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=dict(self._env),
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(_each_line(self._process.stdout, self._on_line)),
            asyncio.create_task(_each_line(self._process.stderr, self._note_complaint)),
        ]

    async def wait(self) -> int:
        """Its exit code, once it has ended and been heard out; below zero when a signal ended it."""
        assert self._process is not None, f"{self.name} was never started"
        code = await self._process.wait()
        await asyncio.wait(self._readers, timeout=OUTPUT_GRACE_S)
        return code

    async def stop(self, grace_s: float) -> bool:
        """Ask it to end and wait; kill it after `grace_s`. Whether it ended by itself."""
        if self._process is None or self._process.returncode is not None:
            return True
        self._send(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._process.wait()
            return True
        self._send(signal.SIGKILL)
        await self._process.wait()
        return False

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _note_complaint(self, line: str) -> None:
        if LOG_LINE.match(line):
            sys.stderr.write(f"{line}\n")  # its own log, made safe by it
        elif line.strip():
            self.complaint = line.strip()


class Kept:
    """A process that is started again when it fails, after a pause that grows."""

    def __init__(
        self,
        make: Callable[[], Child],
        lasting: Callable[[int], bool],
        report: Callable[[str], None],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """`lasting` says of an exit code that starting again would not help."""
        self.restarts = 0
        self.child: Child | None = None
        self._make = make
        self._lasting = lasting
        self._report = report
        self._pauses_s = pauses_s
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until it is stopped or an end is lasting; the exit code of that end. Who cancels it ends the process."""
        failures = 0
        while True:
            started_s = time.monotonic()
            self.child = self._make()
            await self.child.start()
            if self._stopping.is_set():  # told while it was being started
                await self.child.stop(0)
            try:
                code = await self.child.wait()
            except asyncio.CancelledError:
                await self.child.stop(0)
                raise
            if self._stopping.is_set() or self._lasting(code):
                return code
            failures = 0 if time.monotonic() - started_s >= STEADY_S else failures
            pause_s = self._pauses_s[min(failures, len(self._pauses_s) - 1)]
            failures += 1
            self._report(f"{ended(self.child, code)}; starting it again in {pause_s:g} s")
            if await self._stopped_within(pause_s):
                return code
            self.restarts += 1

    async def stop(self, grace_s: float) -> bool:
        """End it for good; whether it ended by itself."""
        self._stopping.set()
        return self.child is None or await self.child.stop(grace_s)

    async def _stopped_within(self, pause_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        return self._stopping.is_set()


def ended(child: Child, code: int) -> str:
    """How a process ended, in words."""
    try:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    except ValueError:
        how = f"was ended by signal {-code}"
    return f"{child.name} {how}" + (f": {child.complaint}" if child.complaint else "")


async def _each_line(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line without an end: what is read of it is dropped
            continue
        if not line:
            return
        on_line(line.decode(errors="replace").rstrip("\n"))
