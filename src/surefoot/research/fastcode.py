"""The fast loop as machine code on disk, loaded by LLVM's linker alone: Numba, which made it, takes longer to load than
most backtests take to run.

A file is good for the source it was made from, the versions of Numba and LLVM, and this processor; its name is a digest
of all of them, and it begins with a digest of itself. It lies beside the source where that can be written, else in
the user's own cache; NUMBA_CACHE_DIR names another place.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm

from surefoot.research.faststate import TABLE

COMPILING = "compiling the fast engine for this machine: once, and again when it, Numba or the processor changes"
# Every file whose text is in the machine code.
SOURCES = (
    "surefoot.core.rules",
    "surefoot.research.fastcompile",
    "surefoot.research.fastengine",
    "surefoot.research.fastloop",
    "surefoot.research.faststate",
    "surefoot.research.fastvenue",
)
DIGEST_BYTES = 32
NAME_END = b"\0"

Say = Callable[[str], None]
Arrays = Sequence[Any]


def run_loop(arrays: Arrays, say: Say | None = None) -> int:
    """Run the loop over its arrays (`faststate.TABLE`); why it ended. `say` hears when it has to be compiled first.

    The interpreter is free for other threads meanwhile.
    """
    table = _table(arrays)
    answer, error = ctypes.c_int64(), ctypes.c_void_p()
    status = _loaded(say)(ctypes.byref(answer), ctypes.byref(error), ctypes.addressof(table))
    if status:
        raise RuntimeError(f"the fast loop ended with status {status}")
    return answer.value


def _table(arrays: Arrays) -> Any:
    """Address, length and width of each array, one after the other; each is checked, since nobody will later."""
    table = (ctypes.c_int64 * (3 * len(TABLE)))()
    for at, (array, (name, (kind, dimensions))) in enumerate(zip(arrays, TABLE.items(), strict=True)):
        if array.dtype != kind or array.ndim != dimensions or not array.flags.c_contiguous:
            raise TypeError(f"{name} is {array.dtype} in {array.ndim} dimensions")
        table[3 * at] = array.ctypes.data
        table[3 * at + 1] = array.shape[0]
        table[3 * at + 2] = array.shape[1] if dimensions == 2 else 1
    return table


# -- loading -----------------------------------------------------------------------------------------------------------

_loading = Lock()
_kept: list[Any] = []  # the machine code lives as long as what loaded it


def _loaded(say: Say | None) -> Any:
    with _loading:
        if not _kept:
            _kept.extend(_load(say))
        return _kept[0]


def _load(say: Say | None) -> tuple[Any, Any]:
    name, _, code = (_from_disk() or _compiled(say)).partition(NAME_END)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return kind(engine.get_function_address(name.decode())), engine


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


def _compiled(say: Say | None) -> bytes:
    """What `fastcompile` makes; of several processes that want it at once, one has it made and the others wait."""
    with _alone():
        body = _from_disk()
        if body is None:
            if say is not None:
                say(COMPILING)
            body = _made()
            _to_disk(body)
        return body


def _made() -> bytes:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"NUMBA_OPT": "0", "PYTHONPATH": paths}
    words = (sys.executable, "-m", "surefoot.research.fastcompile")
    made = subprocess.run(words, capture_output=True, env=environment, check=False)
    if made.returncode:
        raise RuntimeError(f"the fast engine cannot be compiled:\n{made.stderr.decode(errors='replace')}")
    return made.stdout


# -- on disk -----------------------------------------------------------------------------------------------------------


@cache
def _file_name() -> str:
    parts = [version("numba"), llvm.llvm_version_info, llvm.get_host_cpu_name(), _features(), llvm.get_default_triple()]
    digest = hashlib.sha256(repr(parts).encode())
    for source in SOURCES:
        spec = find_spec(source)
        assert spec is not None
        assert spec.origin is not None
        digest.update(Path(spec.origin).read_bytes())
    return f"fastloop-{digest.hexdigest()[:24]}.bin"


def _folders() -> Iterator[Path]:
    """Where the code may lie, best first; NUMBA_CACHE_DIR alone where it is set, as for Numba itself."""
    if "NUMBA_CACHE_DIR" in os.environ:
        yield Path(os.environ["NUMBA_CACHE_DIR"])
        return
    yield Path(__file__).parent / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot"


@contextmanager
def _alone() -> Iterator[None]:
    """Nobody else compiles meanwhile; where no lock can be had, several may, which is only slower."""
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / f"{_file_name()}.lock").open("wb")
        except OSError:
            continue
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            return
    yield


def _from_disk() -> bytes | None:
    """The name of the function and its code, from the first folder that has a whole file."""
    for folder in _folders():
        try:
            content = (folder / _file_name()).read_bytes()
        except OSError:
            continue
        digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(body).digest() == digest:
            return body
    return None


def _to_disk(body: bytes) -> None:
    """Keep the code in the first folder that can be written; without one it is compiled again next time."""
    for folder in _folders():
        part = folder / f"{_file_name()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(body).digest() + body)
            part.replace(folder / _file_name())
        except OSError:
            continue
        return
