"""Functions f(t, y, out) of a user's own: what numba compiles of them, and what is said of those that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature, iscoroutinefunction, isfunction, isgeneratorfunction, signature
from typing import Any

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher

from ...theory.base.errors import FieldError, one_line
from ...theory.base.validate import brief

ARGUMENTS = ("t", "y", "out")


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
    """Refuse what does not take t, y and out, in this order and by place alone, and say what to change."""
    plain = _plain(f)
    own = signature(plain)
    if remedy := _remedy(own):
        raise FieldError(
            "f", f"must be f(t, y, out), which writes dy/dt to `out`, got {plain.__name__}{own}: {remedy}."
        )


def _remedy(own: Signature) -> str:
    """What to change in the arguments of a function; "" if nothing."""
    placed = [p for p in own.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in placed if p.default is p.empty]
    several = any(p.kind is p.VAR_POSITIONAL for p in own.parameters.values())
    by_name = any(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in own.parameters.values())
    if by_name or len(needed) > len(ARGUMENTS):  # numba compiles no argument that is given by name alone
        return "what it needs besides it can read from names outside it, of numbers and arrays"
    if len(placed) < len(ARGUMENTS) and not several:  # SciPy's f(t, y)
        return "give it a third argument `out`, and `out[:] = ...` in place of `return ...`"
    if any(p.name in ARGUMENTS and p.name != name for p, name in zip(placed, ARGUMENTS, strict=False)):
        return "put its arguments in this order"
    return ""


def _plain(f: Any) -> Callable[..., Any]:
    return f.py_func if isinstance(f, Dispatcher) else f


def reason(error: Exception) -> str:
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
