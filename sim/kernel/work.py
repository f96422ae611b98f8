"""How much a right-hand side has to do, counted from its table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._operands import OPERAND
from .operations import DOT

if TYPE_CHECKING:
    from .problem import Problem


def largest_product(problem: Problem) -> float:
    """Floating-point operations of the largest product of dense matrices in a table; 0 where there is none."""
    return max(_products(problem), default=0.0)


def flops(problem: Problem) -> float:
    """Floating-point operations of all products of dense matrices in a table."""
    return sum(_products(problem))


def _products(problem: Problem) -> Iterator[float]:
    ints, p = problem.ints, 2
    if len(ints) <= p:
        return  # no table: a function of its own
    for _ in range(int(ints[0])):
        if ints[p] == DOT:
            out, left = ints[p + 2 : p + 2 + OPERAND], ints[p + 2 + OPERAND : p + 2 + 2 * OPERAND]
            inner = left[2] if left[4] else left[3]
            yield 2.0 * float(out[2]) * float(out[3]) * float(inner)
        p += int(ints[p + 1])
