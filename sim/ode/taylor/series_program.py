"""The table of operations of a compiled flow, written out for series once for all its copies."""

from __future__ import annotations

from ...kernel._interpreter import rhs
from ...kernel.problem import Problem
from .program import Program
from .unroll import unroll


def series_program(problem: Problem) -> Program:
    """Unroll a problem's table of operations, once for all its copies.

    Raises
    ------
    ValueError
        If something in the flow has no series, or it has too many products.
    """
    if problem.rhs is not rhs:
        raise ValueError(
            '`method` "taylor" needs a flow that was derived and compiled, got a right-hand side given as code;'
            ' use method="dop853".'
        )
    if "program" not in problem.notes:
        problem.notes["program"] = unroll(problem.ints, problem.floats, problem.n, problem.work.size)
    return problem.notes["program"]
