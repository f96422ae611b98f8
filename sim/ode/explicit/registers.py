"""The registers of the compiled explicit loops, and the right-hand side as they call it.

Everything is passed as arrays, so that one compiled form serves every right-hand side:

- ``y`` (2, n): ``y[cnt[CUR]]`` is the state, the other row the trial state;
- ``k`` (rows, n): slopes; ``rows`` maps what a slope is -> its row, so that the slope at the end of a step becomes
  the one at the start of the next by swapping two numbers;
- ``ctl`` and ``cnt``: floating-point and integer registers, named below;
- ``log`` (m, 3): ring of (t, growth time, log norm) of accepted steps, thinned.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llvmlite import ir
from numba import float64, int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from ...kernel.problem import RHS_SIGNATURE

# fmt: off
# registers of `ctl`; LEAST and RETRY bound and scale the step after one whose error was too large; ROUNDING: unit of
# rounding of the right-hand side
(T, T0, T1, STOP, H, H_OLD, ERR_OLD, T_PREV, H_LAST, RTOL, ATOL, NORM, SAFETY, GAIN, GAIN_OLD, LEAST, RETRY,
 ROUNDING, N_CTL) = range(19)
# registers of `cnt`; RETRIED: the last trial step was rejected; HALT: set from another thread, to return soon
(CUR, ACCEPTED, REJECTED, CALLS, LIMIT, BUDGET, SWAP, BAD, STAGES, ERRORS, ORDER, NEEDS_NEW, FIXED, LOGGED,
 RETRIED, HALT, N_CNT) = range(17)
# fmt: on

LOG = 256
EPS = 2.220446049250313e-16

_RHS = types.FunctionType(RHS_SIGNATURE)
F1, F2, I1 = float64[::1], float64[:, ::1], int64[::1]
RHS_ARGS = (int64, int64, F1, I1, F1)


@lru_cache(maxsize=64)
def addresses(rhs: Any) -> tuple[int, int]:
    """What compiled code calls a right-hand side by; see `as_rhs`."""
    from numba.experimental.function_type import _get_jit_address, _get_wrapper_address

    return _get_wrapper_address(rhs, RHS_SIGNATURE), _get_jit_address(rhs, RHS_SIGNATURE)


@intrinsic
def _intrinsic_rhs(typing_context, c_address, jit_address):
    """Make a first-class function of its two addresses.

    Handing over the dispatcher itself does the same, but looks the addresses up in Python on every call (60
    us).
    """

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        value = cgutils.create_struct_proxy(_RHS)(context, builder)
        value.c_addr = builder.inttoptr(args[0], pointer)
        value.py_addr = ir.Constant(pointer, None)
        value.jit_addr = builder.inttoptr(args[1], pointer)
        return value._getvalue()

    return _RHS(int64, int64), codegen


as_rhs: Any = _intrinsic_rhs  # type checkers see its first argument, which numba supplies
