"""Functions that are compiled into others: nothing is made for calls from Python, which takes most of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .parts import PartCompiler

# Options of `numba.njit` for what compiled code alone calls, by name or by address, and what makes no arrays.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
_COMMON: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def inlined(**options: Any) -> Callable[[Callable], Any]:
    """Make a function part of each that calls it, where that one's options hold.

    Parameters
    ----------
    **options
        Of `numba.njit`; they count where Python calls the function, as tests do.
    """
    return njit(inline="always", **_COMMON, **options)


def helper(**options: Any) -> Callable[[Callable], Any]:
    """Compile a function once for all that call it, with options of its own; Python cannot call it.

    Parameters
    ----------
    **options
        Of `numba.njit`; ``_nrt=True`` for one that makes arrays.
    """
    return njit(pipeline_class=PartCompiler, **(_COMMON | INNER | options))
