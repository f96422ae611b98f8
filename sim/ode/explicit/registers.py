"""The registers of the compiled explicit loops, and the right-hand side as they call it.

Everything is passed as arrays, so that one compiled form serves every right-hand side:

- ``y`` (2, n): ``y[cnt[CUR]]`` is the state, the other row the trial state;
- ``k`` (rows, n): slopes; ``rows`` maps what a slope is -> its row, so that the slope at the end of a step becomes
  the one at the start of the next by swapping two numbers;
- ``ctl`` and ``cnt``: floating-point and integer registers, named below;
- ``table``: the non-zero entries of a method's rows, see `RungeKutta.step_table`;
- ``log`` (m, 3): ring of (t, growth time, log norm) of accepted steps, thinned.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import float64, int64, types
from numba.extending import intrinsic

from ...kernel.calls import _operands
from ...kernel.calls._operands import call_at, numbers
from ...kernel.inner import inlined
from ...kernel.problem import RHS_SIGNATURE

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


@inlined()
def places(table):
    """Where the five arrays of a table begin."""
    ptr, col, val, leads, nodes = table
    return numbers(ptr), numbers(col), numbers(val), numbers(leads), numbers(nodes)


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
