"""Functions f(t, y, out) of a user's own: what numba compiles of them, and what is said of those that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, iscoroutinefunction, isfunction, isgeneratorfunction, signature
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError

from ...theory.base.errors import FieldError, one_line
from ...theory.base.validate import brief

ARGUMENTS = 3  # t, y, out


def inner_of(f: Any) -> Any:
    """What numba compiles, or has compiled, of a function f(t, y, out).

    Raises
    ------
    FieldError
        If it is no function, or takes other arguments.
    """
    if not isinstance(f, Dispatcher) and (
        not isfunction(f) or isgeneratorfunction(f) or iscoroutinefunction(f)
    ):
        raise FieldError(
            "f",
            f"must be a function f(t, y, out) that writes dy/dt to out, got {brief(f)}; methods and other objects that"
            " can be called go into one.",
        )
    _check_arguments(f)
    if isinstance(f, Dispatcher):
        return f
    alone: Any = {"no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    return njit(**alone)(f)


def _check_arguments(f: Any) -> None:
    """Refuse SciPy's f(t, y), and whatever else cannot be called with three arguments, and say what to change."""
    own = signature(_plain(f))
    try:
        own.bind(*[None] * ARGUMENTS)
    except TypeError:
        taken = [p for p in own.parameters.values() if p.kind is not Parameter.KEYWORD_ONLY]
        remedy = (
            "give it a third argument `out`, and `out[:] = ...` in place of `return ...`"
            if len(taken) < ARGUMENTS
            else "what it needs besides it can read from names outside it, of numbers and arrays"
        )
        name = _plain(f).__name__
        raise FieldError(
            "f", f"must be f(t, y, out), which writes dy/dt to `out`, got {name}{own}: {remedy}."
        ) from None


def _plain(f: Any) -> Callable[..., Any]:
    return f.py_func if isinstance(f, Dispatcher) else f


def reason(error: NumbaError) -> str:
    """The first sentence of a message of numba that says what it cannot; others say where it was when it found out."""
    lines = (one_line(line) for line in str(error).splitlines())
    said = (line for line in lines if line and not line.startswith(("Failed in ", "During: ")))
    first = next(said, type(error).__name__)
    more = f" {next(said, '').removeprefix('>>> ')}" if first.endswith(":") else ""  # of which call
    return f"{first}{more}".rstrip(".")


def trial_of(f: Any) -> Callable[[float, np.ndarray, np.ndarray], Any]:
    """The same function with every index looked at, which compiled code does not: one outside an array ends a process.

    It divides as right-hand sides do, where 1 / 0 is infinite, unless it was compiled to do otherwise. It is compiled
    when it is first called. Functions that it calls are compiled as they are.
    """
    options = f.targetoptions if isinstance(f, Dispatcher) else {}
    return njit(boundscheck=True, error_model=options.get("error_model", "numpy"))(_plain(f))
