"""What a compiled loop works on, handed over as one list of places in memory: dozens of arrays are slow to compile for.

A list holds the addresses of arrays and a few numbers, named below. Whoever makes one keeps its arrays as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int64, types
from numba.extending import intrinsic

from ...kernel.calls._operands import part
from ...kernel.inner import helper, inlined
from ...kernel.problem import Problem
from .registers import address_of, call_rhs

# Length of the state; address of the right-hand side, its arrays and their sizes; what `registers` explains; from MORE
# on, what a loop has of its own: that of tables the rows of a step, room for those of a step towards a pole and for the
# forms that they are made of, and `RungeKutta.whole`.
(SIZE, RHS, FLOATS, INTS, WORK, N_FLOATS, N_INTS, N_WORK, STATES, SLOPES, ROWS, CONTROL, COUNTS, RECORD, SCRATCH,
 MORE) = range(16)  # fmt: skip
PLAIN, FITTED, FORMS, ALL_ROWS = MORE, MORE + 5, MORE + 10, MORE + 12
PLACES = types.CPointer(int64)
FIT_SIGNATURE = types.void(PLACES, float64, float64)  # of `pole_rows.fit`


def listed(problem: Problem, *arrays: np.ndarray) -> np.ndarray:
    """The list of a right-hand side, and of the arrays from `STATES` on."""
    data = problem.floats, problem.ints, problem.work
    sizes = [each.size for each in data]
    return np.array([problem.n, address_of(problem.rhs), *begins(*data), *sizes, *begins(*arrays)], np.int64)


def begins(*arrays: np.ndarray) -> list[int]:
    """Where arrays begin in memory."""
    return [each.__array_interface__["data"][0] for each in arrays]


def _array_of(kind: Any) -> Any:
    @intrinsic
    def begin(typing_context, places, k):
        def build(context, builder, signature, args):
            address = builder.load(builder.gep(args[0], [args[1]]))
            return builder.inttoptr(address, context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(places, int64), build

    return begin


reals: Any = _array_of(float64)  # where the k-th array of a list begins, of floating-point numbers
wholes: Any = _array_of(int64)  # the same of integers


@inlined()
def table_at(places, k):
    """The five arrays of a table that stand from the k-th on."""
    return (
        wholes(places, k),
        wholes(places, k + 1),
        reals(places, k + 2),
        reals(places, k + 3),
        reals(places, k + 4),
    )


@helper()
def evaluate(places, t, y, out):
    """Write the right-hand side at t and y to `out`, both by the places where they begin."""
    floats = part(reals(places, FLOATS), 0, places[N_FLOATS])
    ints = part(wholes(places, INTS), 0, places[N_INTS])
    work = part(reals(places, WORK), 0, places[N_WORK])
    n = places[SIZE]
    call_rhs(places[RHS], t, part(y, 0, n), part(out, 0, n), floats, ints, work)
