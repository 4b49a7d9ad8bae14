"""Makes machine code: a program of its own, started once by `fastcode`, which keeps and runs the code.

    python -m surefoot.research.fastcompile loop
    python -m surefoot.research.fastcompile rule FILE NAME VALUES THRESHOLDS

What is compiled is a function of one number, the address of a table, so that whoever runs it needs nothing of Numba's.
Numba optimises each of the loop's hundred helpers before it puts them together; told not to (NUMBA_OPT=0, which only a
process of its own may be), it leaves that to one pass of LLVM over the whole, which is quicker. See
docs/decisions/0012.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from types import FunctionType, ModuleType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import types
from numba.core.errors import NumbaError
from numba.extending import intrinsic
from numba.np import arrayobj

from surefoot.research import fastcode, fastengine, fastleap, fastloop, fastvenue
from surefoot.research.faststate import HELPERS, TABLE

ARRAYS: Any = arrayobj  # its functions have no types
# Nothing is allocated in the loop, so that arrays need no counting of references: that alone makes it fivefold.
OPTIONS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Write the name of the function, a zero byte, and its machine code; an exit code."""
    try:
        text, name = compiled_loop() if words[0] == "loop" else compiled_rule(*words[1:])
    except NumbaError as error:
        print(error, file=sys.stderr)
        return fastcode.CANNOT_BE_COMPILED if words[0] == "rule" else 1
    machine = fastcode.machine()
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    sys.stdout.buffer.write(name.encode() + fastcode.NAME_END + machine.emit_object(module))
    return 0


def compiled_loop() -> tuple[str, str]:
    """The loop in LLVM's language, with all its helpers, and the name of its function."""
    link(fastvenue, fastengine, fastleap, fastloop)
    return _compiled(_entry_for(fastloop.run))


def compiled_rule(file: str, name: str, values: str, thresholds: str) -> tuple[str, str]:
    """A rule over rows. The table: how many rows, the first that is asked about, the answer for those that are not, how
    many kinds of answer there are; then where answers, what each kind says, the rows that say something, thresholds and
    each column of values are. It answers with how many rows say something."""
    spec = spec_from_file_location("rule_of_a_strategy", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    rule = _with_callees(getattr(module, name))
    columns = range(int(values))
    asks = [*(f"column_{at}[row]" for at in columns), *(f"given[{at}]" for at in range(int(thresholds)))]
    lines = [
        "def entry(address):",
        f"    table = whole_at(address, {8 + len(columns)}, 1)",
        "    rows, none = table[0], table[2]",
        "    answers = short_at(table[4], rows, 1)",
        "    says = tiny_at(table[5], table[3], 1)",
        "    spoken = whole_at(table[6], rows, 1)",
        f"    given = real_at(table[7], {1 + int(thresholds)}, 1)",
        *(f"    column_{at} = real_at(table[{8 + at}], rows, 1)" for at in columns),
        "    count = 0",
        "    for row in range(table[1]):",
        "        answers[row] = none",
        "    for row in range(table[1], rows):",
        "        place = none",
        f"        if {' and '.join(f'column_{at}[row] == column_{at}[row]' for at in columns)}:",
        f"            place = rule({', '.join(asks)})",
        "            if place < 0 or place >= none:",
        "                return -1 - row",
        "        answers[row] = place",
        "        if says[place] != 0:",
        "            spoken[count] = row",
        "            count += 1",
        "    return count",
    ]
    scope = {"rule": rule} | {
        f"{name}_at": _array_at(kind, 1)
        for name, kind in (("whole", np.int64), ("short", np.int32), ("tiny", np.int8), ("real", np.float64))
    }
    return _compiled(_from_text(lines, scope))


def _compiled(entry: Any) -> tuple[str, str]:
    made = numba.njit(**OPTIONS)(entry)
    made.compile((types.int64,))
    (overload,) = made.overloads.values()
    return made.inspect_llvm((types.int64,)), overload.fndesc.llvm_func_name


def _with_callees(function: Any) -> Any:
    """A function compiled with the plain functions of its own file that it calls."""
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = scope.get(name)
        if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
            scope[name] = _with_callees(value)
    return numba.njit(**OPTIONS)(FunctionType(function.__code__, scope, function.__name__, function.__defaults__))


def _from_text(lines: Sequence[str], scope: dict[str, Any]) -> Any:
    exec("\n".join(lines), scope)
    return scope["entry"]


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
    return _from_text(lines, scope | {"run": run, "table_at": _array_at(np.int64, 1), "table_length": 3 * len(TABLE)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
