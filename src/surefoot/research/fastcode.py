"""Machine code on disk, loaded by LLVM's linker alone: Numba, which made it, takes longer to load than most backtests
take to run. The fast loop is kept so, and rules of strategies that are asked about many candles.

A file is good for the source it was made from, the versions of Numba and LLVM, and this processor; its name has a
digest of all of them, and it begins with a digest of itself. It lies beside the source where that can be written, else
in the user's own cache; NUMBA_CACHE_DIR names another place.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import inspect
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from surefoot.research.faststate import TABLE
from surefoot.signals.history import Kinds, Places
from surefoot.signals.window import FloatArray, IntArray

COMPILING = "compiling for this machine: once, and again when the source, Numba or the processor changes"
PROGRAM = "surefoot.research.fastcompile"
# Every module whose text is in the machine code of the loop.
SOURCES = (
    "surefoot.core.rules",
    "surefoot.research.fastengine",
    "surefoot.research.fastleap",
    "surefoot.research.fastloop",
    "surefoot.research.faststate",
    "surefoot.research.fastvenue",
)
# Up to so many candles at once, or so many in all, a rule is asked in Python: to load its machine code takes longer.
ASKED_FROM = 20_000
ASKED_OFTEN_FROM = 250_000
CANNOT_BE_COMPILED = 3  # how `fastcompile` ends then
DIGEST_BYTES = 32
NAME_END = b"\0"

Say = Callable[[str], None]


# -- the loop and the rules --------------------------------------------------------------------------------------------


def run_loop(table: Any, say: Say | None = None) -> int:
    """Run the loop over the arrays of a table; why it ended. `say` hears when it has to be compiled first.

    The interpreter is free for other threads meanwhile.
    """
    function = _loop().function(say)
    assert function is not None, "the loop can be compiled"
    return _call(function, table)


def asked(
    rule: Callable[..., int], values: Sequence[FloatArray], thresholds: Sequence[float], first: int, says: Kinds
) -> tuple[Places, IntArray] | None:
    """What a rule answers for each row of its values, by machine code, and the rows whose answer says something; None
    where it has to be asked in Python. See `history.Ask`."""
    rows = values[0].size
    _questions[rule] += rows
    if rows < ASKED_FROM and _questions[rule] < ASKED_OFTEN_FROM:
        return None
    function = _rule(rule, len(values), len(thresholds)).function(None)
    if function is None:
        return None
    answers, spoken = np.empty(rows, dtype=np.int32), np.empty(rows, dtype=np.int64)
    arrays: list[Any] = [answers, says, spoken, np.array([*thresholds, 0.0])]
    arrays += [np.ascontiguousarray(column, dtype=np.float64) for column in values]
    words = (rows, min(first, rows), says.size - 1, says.size, *(array.ctypes.data for array in arrays))
    count = _call(function, np.array(words, dtype=np.int64))
    if count < 0:
        raise IndexError(f"{rule.__name__} answers with what is no place in its RULES")
    return answers, spoken[:count]


_questions: Counter[Callable[..., int]] = Counter()


def _call(function: Any, table: Any) -> int:
    answer, error = ctypes.c_int64(), ctypes.c_void_p()
    status = function(ctypes.byref(answer), ctypes.byref(error), table.ctypes.data)
    if status:
        raise RuntimeError(f"machine code ended with status {status}")
    return answer.value


def table_of(arrays: Sequence[Any]) -> Any:
    """Address, length and width of each of the loop's arrays (`faststate.TABLE`), one after the other. It is good as
    long as the arrays live."""
    table = np.zeros((len(TABLE), 3), dtype=np.int64)
    fill_table(table, dict(zip(TABLE, arrays, strict=True)))
    return table


def fill_table(table: Any, arrays: Mapping[str, Any]) -> None:
    """Put some of the arrays into a table; each is checked, since nobody will later."""
    for name, array in arrays.items():
        kind, dimensions = TABLE[name]
        if array.dtype != kind or array.ndim != dimensions or not array.flags.c_contiguous:
            raise TypeError(f"{name} is {array.dtype} in {array.ndim} dimensions")
        table[_ROWS[name]] = array.ctypes.data, array.shape[0], array.shape[1] if dimensions == 2 else 1


_ROWS = {name: row for row, name in enumerate(TABLE)}


@cache
def _loop() -> Code:
    return Code("fastloop", [_origin(source) for source in SOURCES], ("loop",))


@cache
def _rule(rule: Callable[..., int], values: int, thresholds: int) -> Code:
    file = Path(inspect.getfile(rule))
    return Code(f"rule-{file.stem}", [file], ("rule", str(file), rule.__name__, str(values), str(thresholds)))


def _origin(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    return Path(str(spec.origin))


# -- loading -----------------------------------------------------------------------------------------------------------


class Code:
    """One function: on disk, or made now by `fastcompile`, told so by `words`; loaded once a process.

    It takes where its answer goes, where an error would go, and an address; it answers with a status, which is 0.
    """

    def __init__(self, label: str, sources: Sequence[Path], words: Sequence[str]) -> None:
        digest = hashlib.sha256(repr((_maker(), tuple(words))).encode())
        for source in (*sources, _origin(PROGRAM)):
            digest.update(source.read_bytes())
        self._file_name = f"{label}-{digest.hexdigest()[:24]}.bin"
        self._words = words
        self._lock = Lock()
        self._loaded: tuple[Any, Any] | None = None  # the function lives as long as what loaded it

    def function(self, say: Say | None) -> Any:
        """What ctypes can call; None where the source cannot be compiled."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load(say)
            return self._loaded[0]

    def _load(self, say: Say | None) -> tuple[Any, Any]:
        body = self.from_disk()
        name, _, code = (self._compiled(say) if body is None else body).partition(NAME_END)
        if not code:
            return None, None
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        return kind(engine.get_function_address(name.decode())), engine

    def _compiled(self, say: Say | None) -> bytes:
        """Of several processes that want it at once, one has it made and the others wait."""
        with self._alone():
            body = self.from_disk()
            if body is None:
                if say is not None:
                    say(COMPILING)
                body = self._made()
                self.to_disk(body)
            return body

    def _made(self) -> bytes:
        """The name of the function and its code, empty where the source cannot be compiled."""
        paths = os.pathsep.join(path for path in sys.path if path)
        words = (sys.executable, "-m", PROGRAM, *self._words)
        made = subprocess.run(
            words, capture_output=True, env=os.environ | {"NUMBA_OPT": "0", "PYTHONPATH": paths}, check=False
        )
        if made.returncode == CANNOT_BE_COMPILED:
            return b""
        if made.returncode:
            raise RuntimeError(f"the fast engine cannot be compiled:\n{made.stderr.decode(errors='replace')}")
        return made.stdout

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else compiles it meanwhile; where no lock can be had, several may, which is only slower."""
        for folder in folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock = (folder / f"{self._file_name}.lock").open("wb")
            except OSError:
                continue
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
                return
        yield

    def from_disk(self) -> bytes | None:
        """What was kept, from the first folder that has a whole file."""
        for folder in folders():
            try:
                content = (folder / self._file_name).read_bytes()
            except OSError:
                continue
            digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            if hashlib.sha256(body).digest() == digest:
                return body
        return None

    def to_disk(self, body: bytes) -> None:
        """Keep it in the first folder that can be written; without one it is compiled again next time."""
        for folder in folders():
            part = folder / f"{self._file_name}.{os.getpid()}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                part.write_bytes(hashlib.sha256(body).digest() + body)
                part.replace(folder / self._file_name)
            except OSError:
                continue
            return


def machine() -> Any:
    """What LLVM makes code for: this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, jit=True, codemodel="jitdefault"
    )


def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


def _maker() -> tuple[Any, ...]:
    triple = llvm.get_default_triple()
    return version("numba"), llvm.llvm_version_info, llvm.get_host_cpu_name(), _features(), triple


def folders() -> Iterator[Path]:
    """Where code may lie, best first; NUMBA_CACHE_DIR alone where it is set, as for Numba itself."""
    if "NUMBA_CACHE_DIR" in os.environ:
        yield Path(os.environ["NUMBA_CACHE_DIR"])
        return
    yield Path(__file__).parent / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot"
