"""Each peer in an environment of its own, made when first needed, and a process in it that answers for runs.

Everything lies under .bench/, which git ignores: delete it to start anew. What a peer is made of is pinned in
bench/peers/NAME.txt; what it does is bench/peers/run_NAME.py. A peer that cannot be installed or fails is a reason to
print, never a figure.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
PEERS = Path(__file__).resolve().parent / "peers"

INSTALL_MAX_S = 900
ANSWER_MAX_S = 600

# Libraries that would start threads by themselves: a comparison is of one core unless it says otherwise.
THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


class NotMeasured(Exception):
    """Why there is no figure, in one line."""


def python_of(peer: str) -> Path:
    """The Python of the peer's environment, which is made when it is not there. Raises NotMeasured."""
    if peer == "surefoot":
        return Path(sys.executable)
    pins = (PEERS / f"{peer}.txt").read_bytes()
    folder = CACHE / "environments" / f"{peer}-{hashlib.sha256(pins).hexdigest()[:12]}-py{sys.version_info.minor}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").is_file():
        print(f"installing {peer} into {folder.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        install([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        install([*pip, "-r", str(PEERS / f"{peer}.txt")])
        (folder / "ready").touch()
    return python


def install(command: Sequence[str]) -> None:
    """Run one command of an installation. Raises NotMeasured with its error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_MAX_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"could not be installed within {INSTALL_MAX_S} s") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason given"]
        raise NotMeasured(f"could not be installed: {errors[-1]}")


class Process:
    """One process of a peer. `cold_s` is from its start to its first answer: imports, compiling, reading, running."""

    def __init__(self, peer: str, *, threads: int = 1, environment: dict[str, str] | None = None) -> None:
        self.peer = peer
        self.cold_s: float | None = None
        python = python_of(peer)
        settings = {name: str(threads) for name in THREAD_SETTINGS}
        # No version look-ups in the background of a measurement.
        settings |= {"RAPTORBT_NO_VERSION_CHECK": "1", "SUREFOOT_BENCH_THREADS": str(threads)}
        self._log = CACHE / "logs" / f"{peer}.txt"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._began_s = time.perf_counter()
        with self._log.open("w") as complaints:
            self._child = subprocess.Popen(
                [str(python), str(PEERS / f"run_{peer}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=os.environ | settings | (environment or {}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        if kind is not None:
            self._child.kill()
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()

    def ask(self, work: str, candles: Path, rules: dict[str, Any], combinations: Sequence[Any] = ()) -> dict[str, Any]:
        """One run of the work. Raises NotMeasured when the peer fails or takes too long."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        request = {"work": work, "candles": str(candles), "rules": rules, "combinations": list(combinations)}
        watch = threading.Timer(ANSWER_MAX_S, self._child.kill)
        watch.start()
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            raise NotMeasured(self._why())
        if self.cold_s is None:
            self.cold_s = time.perf_counter() - self._began_s
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _why(self) -> str:
        code = self._child.wait()
        lines = [line for line in self._log.read_text().splitlines() if line.strip()]
        said = lines[-1] if lines else "it said nothing"
        return f"ended with {code}, or took over {ANSWER_MAX_S} s: {said}"
