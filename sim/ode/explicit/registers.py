"""The registers of the compiled explicit loops, and the right-hand side as they call it.

Everything lies in arrays, so that one compiled form serves every right-hand side:

- ``y`` (2, n): ``y[cnt[CUR]]`` is the state, the other row the trial state;
- ``k`` (rows, n): slopes; ``rows`` maps what a slope is -> its row, so that the slope at the end of a step becomes
  the one at the start of the next by swapping two numbers;
- ``ctl`` and ``cnt``: floating-point and integer registers, named below;
- ``table``: the non-zero entries of a method's rows, see `RungeKutta.step_table`;
- ``log`` (m, 3): ring of (t, growth time, log norm) of accepted steps, thinned.

Loops are handed one list of the places where these begin: dozens of arrays are slow to compile for. Whoever makes such
a list keeps its arrays as long, and sees to it that they are of float64 or int64, row by row without gaps: nobody
compares them with what the loop takes them for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import float64, int64, types
from numba.extending import intrinsic

from ...kernel.calls import _operands
from ...kernel.calls._operands import call_at, part
from ...kernel.inner import inlined, subroutine
from ...kernel.problem import RHS_SIGNATURE, Problem

# fmt: off
# registers of `ctl`; LEAST and RETRY bound and scale the step after one whose error was too large; ROUNDING: unit of
# rounding of the right-hand side; TAU, TAU_END, TAU_LAST: distance of a pole (see `approach`) from t, from the end of
# the trial step, and from the start of the last step; WALL: longest step towards it
(T, T0, T1, STOP, H, H_OLD, ERR_OLD, T_PREV, H_LAST, RTOL, ATOL, NORM, SAFETY, GAIN, GAIN_OLD, LEAST, RETRY,
 ROUNDING, TAU, TAU_END, TAU_LAST, WALL, N_CTL) = range(23)
# registers of `cnt`; RETRIED: the last trial step was rejected; HALT: set from another thread, to return soon; MIDDLE:
# the stage by which a pole is found, 0 for none; FIT: address of `pole_rows.fit`, 0 until it is compiled
(CUR, ACCEPTED, REJECTED, CALLS, LIMIT, BUDGET, SWAP, BAD, STAGES, ERRORS, ORDER, NEEDS_NEW, FIXED, LOGGED,
 RETRIED, HALT, MIDDLE, FIT, N_CNT) = range(19)
# fmt: on

LOG = 256
EPS = 2.220446049250313e-16

F1, F2, I1 = float64[::1], float64[:, ::1], int64[::1]
RHS_ARGS = (int64, F1, I1, F1)
TABLE = types.Tuple((I1, I1, F1, F1, F1))

# Places in the list: length of the state; address of the right-hand side, its arrays and their sizes; what stands
# above; from MORE on, what a loop has of its own: that of tables the rows of a step and `RungeKutta.sharing`, room for
# those of a step towards a pole and for the forms that they are made of, and `RungeKutta.whole`
(SIZE, RHS, FLOATS, INTS, WORK, N_FLOATS, N_INTS, N_WORK, STATES, SLOPES, ROWS, CONTROL, COUNTS, RECORD, SCRATCH,
 MORE) = range(16)  # fmt: skip
SHARING = 5  # after the five arrays of a table, what its rows share
PLAIN, FITTED, FORMS, ALL_ROWS = MORE, MORE + 6, MORE + 12, MORE + 14
PLACES = types.CPointer(int64)
FIT_SIGNATURE = types.void(PLACES, float64, float64)  # of `pole_rows.fit`


@lru_cache(maxsize=64)
def address_of(rhs: Any) -> int:
    """What compiled code calls a right-hand side by, in this process; see `call_rhs`."""
    return _operands.address_of(rhs, RHS_SIGNATURE)


@intrinsic
def _call_rhs(typing_context, address, t, y, out, floats, ints, work):
    """Call what lies at an address; a function as an argument is slow to compile, and to hand over from Python."""
    kinds = RHS_SIGNATURE.args

    def build(context, builder, signature, args):
        return call_at(context, builder, kinds, args)

    return types.none(int64, *kinds), build


call_rhs: Any = _call_rhs  # type checkers see its first argument, which numba supplies


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


@subroutine()
def evaluate(places, t, y, out):
    """Write the right-hand side at t and y to `out`, both by the places where they begin."""
    floats = part(reals(places, FLOATS), 0, places[N_FLOATS])
    ints = part(wholes(places, INTS), 0, places[N_INTS])
    work = part(reals(places, WORK), 0, places[N_WORK])
    n = places[SIZE]
    call_rhs(places[RHS], t, part(y, 0, n), part(out, 0, n), floats, ints, work)
