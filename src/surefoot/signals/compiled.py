"""Plain functions made quick: compiled by Numba, cached on disk, and only where there is enough to do.

Rules and indicators of our own are plain Python, and are called as they are on the bounded window of a live trader.
Over a long history they are compiled first. Numba is imported by the first such call, so that the trader, whose windows
are short, never loads it. A compiled function may call plain functions of its own file, and those are compiled along;
it must not call those of other files, because the cache on disk would not notice that they changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, TypeVar

COMPILED_FROM_CANDLES = 5_000

Function = TypeVar("Function", bound=Callable[..., Any])


def for_length(function: Function, candles: int) -> Function:
    """The function itself, or its compiled form where so many candles make it worth while."""
    return function if candles < COMPILED_FROM_CANDLES else compiled(function)


@cache
def compiled(function: Any) -> Any:
    """The function compiled to machine code, at its first call with each kind of arguments."""
    from numba import njit

    return njit(cache=True)(_with_compiled_callees(function))


@cache
def over_arrays(rule: Callable[..., int]) -> Callable[..., Any]:
    """A rule of scalars as one of whole arrays; scalars among its arguments are spread.

    Raises whatever Numba says, at the first call, for a rule that it cannot compile.
    """
    import numba

    make: Any = numba.vectorize  # it has no types of its own
    ufunc: Callable[..., Any] = make(cache=True)(_with_compiled_callees(rule))
    return ufunc


def why_not_compiled(rule: Callable[..., int], arguments: int) -> str | None:
    """One line about what Numba cannot compile in a rule of so many floats; None when it can."""
    try:
        over_arrays(rule)(*[1.0] * arguments)
    except Exception as error:  # its errors have no type of their own in common
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith("Failed in")), type(error).__name__)
    return None


def _with_compiled_callees(function: Any) -> Any:
    """A copy whose plain callees of the same file are compiled: compiled code cannot call interpreted code."""
    if not isinstance(function, FunctionType):
        return function
    names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    own = {
        name: compiled(value)
        for name, value in names.items()
        if isinstance(value, FunctionType) and value.__globals__ is function.__globals__
    }
    if not own:
        return function
    scope = {**function.__globals__, **own}
    copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
