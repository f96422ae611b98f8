"""The cheapest order in which to multiply a chain of matrices of mixed storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

# Cost of one operation relative to a flop inside a dense product: sparse and element-wise work is bound by memory.
SPARSE_WEIGHT = 6.0
ELEMENT_WEIGHT = 6.0
INFEASIBLE = float("inf")


class Operand(NamedTuple):
    """What the cost of a product depends on: storage ("dense", "csr", "diag", "centering"), shape, nonzeros."""

    storage: str
    shape: tuple[int, int]
    nnz: int = 0


def product_cost(a: Operand, b: Operand) -> float:
    """Cost of a @ b in dense flops; infinite where no kernel exists (neither operand dense)."""
    (rows, inner), cols = a.shape, b.shape[1]
    if a.storage == b.storage == "dense":
        return 2.0 * rows * inner * cols
    if "dense" not in (a.storage, b.storage):
        return INFEASIBLE
    special, width = (a, cols) if b.storage == "dense" else (b, rows)
    if special.storage == "csr":
        return SPARSE_WEIGHT * 2.0 * special.nnz * width
    return ELEMENT_WEIGHT * rows * cols


class Plan(NamedTuple):
    """Best way to obtain one interval of a chain: its cost, what it yields and where it is split (None: at hand)."""

    cost: float
    result: Operand
    split: int | None


def plan_chain(
    operands: Sequence[Operand], at_hand: Callable[[int, int], Operand | None]
) -> dict[tuple[int, int], Plan]:
    """Dynamic programme over all intervals [i, j) of a chain.

    Parameters
    ----------
    operands : sequence of Operand
        The factors.
    at_hand : callable
        ``at_hand(i, j)`` gives the operand for an interval that costs nothing (already computed, or a product of
        data alone that is folded once), else None.

    Returns
    -------
    dict
        (i, j) -> Plan; the whole chain is (0, len(operands)).
    """
    n = len(operands)
    plans = {(i, i + 1): Plan(0.0, operands[i], None) for i in range(n)}
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            plans[i, i + width] = _best(i, i + width, plans, at_hand)
    return plans


def _best(i: int, j: int, plans: dict[tuple[int, int], Plan], at_hand: Callable) -> Plan:
    free = at_hand(i, j)
    if free is not None:
        return Plan(0.0, free, None)
    left, right, split = plans[i, i + 1], plans[i + 1, j], i + 1
    least = left.cost + right.cost + product_cost(left.result, right.result)
    rows, cols = left.result.shape[0], right.result.shape[1]
    for k in range(i + 2, j):  # the first of equal cost, also where no split has a kernel
        left, right = plans[i, k], plans[k, j]
        if (before := left.cost + right.cost) < least:
            cost = before + product_cost(left.result, right.result)
            if cost < least:
                least, split = cost, k
    return Plan(least, Operand("dense", (rows, cols)), split)
