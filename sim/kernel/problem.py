"""A right-hand side bound to its data: the one thing an ODE method gets to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numba import float64, int64, njit, types

from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, integer
from .alignment import aligned
from .own_function import inner_of, reason, trial_of
from .threads.blas_threads import blas_threads
from .work import in_parts

# `rhs(t, y, out, floats, ints, work)`: every flow compiles to this one type, so that the step loops are compiled
# once and cached on disk; a loop that took each jitted function as its own type would recompile in every process.
RHS_SIGNATURE = types.void(float64, float64[::1], float64[::1], float64[::1], int64[::1], float64[::1])
NO_SLOPE = -1.2345678901234567e300  # what no slope is


@dataclass(frozen=True, eq=False)
class Problem:
    """A compiled right-hand side, its folded data and the layout of its flat state.

    Attributes
    ----------
    rhs : numba function
        ``rhs(t, y, out, floats, ints, work)`` of type `RHS_SIGNATURE`; writes dy/dt (per unit of flow time) to `out`.
    layout : dict
        Moving weight -> (offset in the flat state, shape).
    frozen : dict
        Weights that the flow holds at their initial value.
    floats, ints : ndarray
        Folded data; read only.
    work : ndarray
        Scratch memory. One `Problem` serves one thread at a time.
    rounding : float
        Unit of rounding of the derivative; that of float32 for a table in float32 (see `single_precision`).
    compiled : bool
        Whether `rhs` carries out a table that we compiled; other code is looked at by `solve` before it is used.
    trial : callable or None
        ``trial(t, y, out)`` does the same as `rhs` and looks at every index, where there is such a function.
    notes : dict
        What methods have worked out about the table; shared by copies that differ in `work` alone.
    """

    rhs: Callable[..., None]
    layout: Mapping[str, tuple[int, tuple[int, ...]]]
    floats: np.ndarray = field(default_factory=lambda: np.zeros(1))
    ints: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    work: np.ndarray = field(default_factory=lambda: np.zeros(1))
    frozen: Mapping[str, np.ndarray] = field(default_factory=dict)
    rounding: float = float(np.finfo(np.float64).eps)
    compiled: bool = False
    trial: Callable[..., Any] | None = field(default=None, repr=False)
    notes: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that compiled code, which knows where they begin and no more, would take for others.

        Raises
        ------
        FieldError
            If one is not of float64, or of int64, or has gaps.
        """
        for name, kind in (("floats", "float64"), ("ints", "int64"), ("work", "float64")):
            part = getattr(self, name)
            row = isinstance(part, np.ndarray) and part.ndim == 1 and part.flags.c_contiguous
            if not row or part.dtype != kind:
                raise FieldError(name, f"must be one row of {kind} in memory, got {brief(part)}.")

    @cached_property
    def n(self) -> int:
        """Length of the flat state."""
        return sum(prod(shape) for _, shape in self.layout.values())

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        """Write dy/dt at flow time `t` and state `y` (n,) to `out` (n,)."""
        if not in_parts(self):
            self.rhs(t, y, out, self.floats, self.ints, self.work)
            return
        with blas_threads(self):  # products of parts are no work for several
            self.rhs(t, y, out, self.floats, self.ints, self.work)

    def unwritten(self, t: float, y: np.ndarray) -> str:
        """Name the entries of dy/dt that `rhs` does not write; "" if it writes all."""
        out = np.full(self.n, NO_SLOPE)
        replace(self, work=self.work.copy())(t, y, out)
        missed = np.flatnonzero(out == NO_SLOPE)
        return entries(missed) if missed.size else ""

    def try_out(self, t: float, y: np.ndarray) -> None:
        """Call the right-hand side once, where a fault is still an error: in a step loop it ends the process, or hides.

        Raises
        ------
        FieldError
            If it fails, or reads or writes beyond an array.
        """
        if self.trial is None:
            return
        try:
            self.trial(t, y.copy(), np.full(self.n, NO_SLOPE))
        except Exception as error:  # whatever a function of the user's raises
            with_what = "an index beyond its array" if isinstance(error, IndexError) else type(error).__name__
            raise FieldError(
                "problem",
                f"has a right-hand side that fails at the start, with {with_what} ({error}); `y` and `out` have the "
                f"shape ({self.n},).",
            ) from error

    def with_own_memory(self) -> Problem:
        """The same for another thread: with scratch memory of its own."""
        return replace(self, work=aligned(self.work.size))

    def pack(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Flatten the moving weights into a new state (n,)."""
        y = aligned(self.n)
        for name, (offset, shape) in self.layout.items():
            size = prod(shape)
            y[offset : offset + size] = np.asarray(weights[name], dtype=np.float64).reshape(size)
        return y

    def unpack(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """Name the parts of one state (n,) or of a batch (..., n); frozen weights are broadcast along."""
        lead = y.shape[:-1]
        named = {
            name: y[..., offset : offset + prod(shape)].reshape(lead + tuple(shape))
            for name, (offset, shape) in self.layout.items()
        }
        for name, value in self.frozen.items():
            named[name] = np.broadcast_to(value, lead + value.shape)
        return named

    @classmethod
    def from_function(cls, f: Any, n: int) -> Problem:
        """Make a problem, for `solve`, of a system of your own.

        Parameters
        ----------
        f : function
            ``f(t, y, out)`` writes dy/dt at time t and state y (n,) to `out` (n,), all of float64. Numba compiles it,
            once per process, unless it has. It is given a copy of the state: what it does to `y` changes no trajectory.
            `solve` calls it at the start, with every index looked at, and refuses one that fails there or leaves a part
            of `out` unwritten.
        n : int
            Length of the state, which is one weight "y" of shape (n, 1). An index that leaves it later than at the
            start is an error only where ``NUMBA_BOUNDSCHECK=1``.

        Raises
        ------
        ValueError
            If `f` is no function of three arguments or numba cannot compile it, or `n` is no integer of at least 1.
        """
        integer("n", n, 1)
        inner = inner_of(f)
        outer: dict[str, Any] = {"no_cfunc_wrapper": True}

        def rhs(t, y, out, floats, ints, work):
            inner(t, y.copy(), out)

        try:
            compiled = njit(RHS_SIGNATURE, error_model="numpy", nogil=True, **outer)(rhs)  # pyright: ignore[reportCallIssue]
        except Exception as error:  # numba has others than its own, of what it did not foresee
            raise FieldError(
                "f",
                f"must be f(t, y, out) in numbers and arrays, which numba compiles: {reason(error)}. Functions that it "
                "calls need a `numba.njit` of their own.",
            ) from error
        return cls(rhs=compiled, layout={"y": (0, (n, 1))}, trial=trial_of(f))


def entries(where: np.ndarray) -> str:
    """The first few indices in words."""
    shown = ", ".join(map(str, where[:3]))
    return f"entr{'y' if where.size == 1 else 'ies'} {shown}{' ...' if where.size > 3 else ''}"
