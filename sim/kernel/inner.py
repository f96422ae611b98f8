"""Functions that are compiled into others: nothing is made for calls from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .parts import PartCompiler, SubroutineCompiler

# Options of `numba.njit` for what compiled code alone calls, by name or by address, and what makes no arrays.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
_COMMON: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Said of all others: a function that is not told takes it from whoever calls it first.
_CALLED: dict[str, Any] = {"forceinline": False}


def inlined(**options: Any) -> Callable[[Callable], Any]:
    """Compile a function once, with options of its own, and put it wherever it is called; Python cannot call it.

    Parameters
    ----------
    **options
        Of `numba.njit`.
    """
    return njit(pipeline_class=PartCompiler, forceinline=True, **(_COMMON | INNER | options))


def helper(**options: Any) -> Callable[[Callable], Any]:
    """The same of a function that is called, or put where it is called, as the optimiser sees fit.

    Parameters
    ----------
    **options
        Of `numba.njit`; ``_nrt=True`` for one that makes arrays.
    """
    return njit(pipeline_class=PartCompiler, **(_CALLED | _COMMON | INNER | options))


def subroutine(**options: Any) -> Callable[[Callable], Any]:
    """The same of a function that is always called: one with loops, which would grow where loops are around the call.

    Parameters
    ----------
    **options
        Of `numba.njit`.
    """
    return njit(pipeline_class=SubroutineCompiler, **(_CALLED | _COMMON | INNER | options))
