"""Makes machine code of the fast loop: a program of its own, started once by `fastcode`, which runs the code.

The loop is compiled as a function of one number, the address of a table of addresses and lengths, so that whoever runs
it needs nothing of Numba's. Numba optimises each of the hundred helpers before it puts them together; told not to
(NUMBA_OPT=0, which only a process of its own may be), it leaves that to one pass of LLVM over the whole, which is
quicker. See docs/decisions/0012.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np import arrayobj

from surefoot.research import fastcode, fastengine, fastloop, fastvenue
from surefoot.research.faststate import HELPERS, TABLE

ARRAYS: Any = arrayobj  # its functions have no types
# Nothing is allocated in the loop, so that arrays need no counting of references: that alone makes it fivefold.
OPTIONS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip


def main() -> None:
    """Write the name of the function, a zero byte, and its machine code."""
    text, name = compiled_loop()
    machine = fastcode.machine()
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    sys.stdout.buffer.write(name.encode() + fastcode.NAME_END + machine.emit_object(module))


def compiled_loop() -> tuple[str, str]:
    """The loop in LLVM's language, with all its helpers, and the name of its function.

    The function answers with a status that is 0, and takes where its answer goes, where an error would go (there is
    none), and the table: Numba's own calling convention.
    """
    link(fastvenue, fastengine, fastloop)
    entry = numba.njit(**OPTIONS)(_entry_for(fastloop.run))
    entry.compile((types.int64,))
    (made,) = entry.overloads.values()
    return entry.inspect_llvm((types.int64,)), made.fndesc.llvm_func_name


def link(*modules: ModuleType) -> None:
    """Put compiled helpers in the place of plain ones, wherever these modules name them."""
    made = {function: numba.njit(**(OPTIONS | options))(function) for function, options in HELPERS.items()}
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in made:
                setattr(module, name, made[value])


def _array_at(kind: Any, dimensions: int) -> Any:
    """A function that compiled code calls: an array of the loop at an address, with its length and width."""
    array_type = types.Array(numba.from_dtype(np.dtype(kind)), dimensions, "C")

    def array_at(context: Any, address: Any, length: Any, width: Any) -> Any:
        return array_type(types.int64, types.int64, types.int64), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, *shape = arguments[: 1 + dimensions]
        array = ARRAYS.make_array(array_type)(context, builder)
        size = context.get_constant(types.intp, np.dtype(kind).itemsize)
        strides = [size] if dimensions == 1 else [builder.mul(size, shape[1]), size]
        data = builder.inttoptr(address, array.data.type)
        ARRAYS.populate_array(array, data, shape, strides, size, None)
        return array._getvalue()

    return intrinsic(array_at)


def _entry_for(run: Any) -> Any:
    """The function of one number, made of text: one line for each array that the loop takes."""
    lines = ["def entry(address):", "    table = table_at(address, table_length, 1)"]
    for at, name in enumerate(TABLE):
        lines.append(f"    {name} = {name}_at(table[{3 * at}], table[{3 * at + 1}], table[{3 * at + 2}])")
    lines.append(f"    return run({', '.join(TABLE)})")
    scope = {f"{name}_at": _array_at(kind, dimensions) for name, (kind, dimensions) in TABLE.items()}
    scope |= {"run": run, "table_at": _array_at(np.int64, 1), "table_length": 3 * len(TABLE)}
    exec("\n".join(lines), scope)
    return scope["entry"]


if __name__ == "__main__":
    main()
