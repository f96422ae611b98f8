"""Right-hand sides in float32, and how far that puts them off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import _interpreter
from .alignment import aligned
from .calls._addresses import make_ready
from .problem import Problem
from .work import functions_of

ROUNDING = float(np.finfo(np.float32).eps)


def in_single_precision(problem: Problem) -> Problem:
    """The same table with its data, arrays and products in float32; the state and its derivative stay float64.

    Raises
    ------
    TypeError
        If the right-hand side is no table.
    """
    if problem.rhs is not _interpreter.rhs:
        raise TypeError("only a table of operations can be carried out in float32.")
    from ._single import rhs  # compiled for those who ask

    make_ready(functions_of(problem), single=True)

    numbers = np.zeros(problem.floats.size + problem.floats.size % 2, np.float32)
    with np.errstate(over="ignore"):  # the derivatives show it
        numbers[: problem.floats.size] = problem.floats
    memory = aligned(problem.n + (problem.work.size + 1) // 2)
    return replace(
        problem, rhs=rhs, floats=numbers.view(np.float64), work=memory, rounding=ROUNDING, notes={}
    )


def rounding_errors(
    problem: Problem, single: Problem, y: np.ndarray, exact: np.ndarray | None = None
) -> dict[str, float]:
    """Norm of the error of each dW/dt in float32, over that of dW/dt in float64, at the state `y` (n,).

    Parameters
    ----------
    problem, single : Problem
        A table, and the same in float32.
    y : ndarray, shape (n,)
        State.
    exact : ndarray, shape (n,), or None
        The derivatives in float64, where they are known; None evaluates `problem`.
    """
    off = aligned(problem.n)
    if exact is None:
        make_ready(functions_of(problem))
        exact = aligned(problem.n)
        problem.with_own_memory()(0.0, y, exact)  # memory that is given back
    single(0.0, y, off)
    off -= exact
    sizes, errors = problem.unpack(exact), problem.unpack(off)
    return {name: _ratio(errors[name], sizes[name]) for name in problem.layout}


def _ratio(error: np.ndarray, size: np.ndarray) -> float:
    off, whole = float(np.linalg.norm(error)), float(np.linalg.norm(size))
    if off == 0.0:
        return 0.0
    return off / whole if whole > 0.0 and np.isfinite(off) else np.inf
