"""The operations of a table, and how much a right-hand side has to do by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .calls._operands import OPERAND
from .operations import DOT, DOT_ADDED, PART, TEAM, TEAM_HEAD

if TYPE_CHECKING:
    from .problem import Problem


def operations_of(problem: Problem) -> Iterator[tuple[int, int]]:
    """Code of each operation, and where its numbers begin; see `_interpreter`.

    After a TEAM come its parts, and after each PART its operations. A function of its own has none, whatever its `ints`
    are.
    """
    ints, p = problem.ints, 2
    while problem.compiled and p < ints[1]:
        code = int(ints[p])
        yield code, p + 2
        if code == TEAM:
            p += 2 + TEAM_HEAD + int(ints[p + 2 + TEAM_HEAD - 1])
        elif code == PART:
            p += 3
        else:
            p += int(ints[p + 1])


def in_parts(problem: Problem) -> bool:
    """Whether a table has operations in parts, which threads share."""
    if "parts" not in problem.notes:
        problem.notes["parts"] = any(code == TEAM for code, _ in operations_of(problem))
    return problem.notes["parts"]


def functions_of(problem: Problem) -> Iterator[tuple[int, int]]:
    """Code of each operation, and its first number, which says what function a `MAP` is of."""
    for code, p in operations_of(problem):
        yield code, int(problem.ints[p])


def largest_product(problem: Problem) -> float:
    """Floating-point operations of the largest product of dense matrices in a table; 0 where there is none."""
    if "largest" not in problem.notes:  # lanes ask at each look of a member that has left them
        problem.notes["largest"] = max(_products(problem), default=0.0)
    return problem.notes["largest"]


def flops(problem: Problem) -> float:
    """Floating-point operations of all products of dense matrices in a table."""
    if "flops" not in problem.notes:  # members of an ensemble ask one by one
        problem.notes["flops"] = sum(_products(problem))
    return problem.notes["flops"]


def _products(problem: Problem) -> Iterator[float]:
    for code, p in operations_of(problem):
        if code in (DOT, DOT_ADDED):
            out, left = problem.ints[p : p + OPERAND], problem.ints[p + OPERAND : p + 2 * OPERAND]
            inner = left[2] if left[4] else left[3]
            yield 2.0 * float(out[2]) * float(out[3]) * float(inner)
