"""The compiled step loop: stages, error norm and step controller; importing compiles it or loads it.

Everything is passed as arrays, so that one compiled form serves every method and every right-hand side:

- ``y`` (2, n): ``y[cnt[CUR]]`` is the state, the other row the trial state;
- ``k`` (s + 1 + x, n): stages; ``rows`` maps stage number -> row, so that the last stage of a step becomes
  the first of the next by swapping two numbers (FSAL);
- ``ptr, col, val``: non-zero entries of the method's rows (see `Method.step_rows`); ``c`` its nodes;
- ``ctl`` and ``cnt``: floating-point and integer registers, named below;
- ``log`` (m, 3): ring of (t, growth time, log norm) of accepted steps, thinned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float64, int64, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..kernel.cache import compiled
from ..kernel.problem import RHS_SIGNATURE
from .arithmetic import BLOCK, accumulate, combine, finish, growth, rms

# fmt: off
# registers of `ctl`
(T, T0, T1, STOP, H, H_OLD, ERR_OLD, T_PREV, H_LAST, RTOL, ATOL, NORM, SAFETY, GAIN, GAIN_OLD,
 N_CTL) = range(16)
# registers of `cnt`
(CUR, ACCEPTED, REJECTED, CALLS, LIMIT, BUDGET, SWAP, BAD, STAGES, ERRORS, ORDER, NEEDS_NEW, FIXED, LOGGED,
 N_CNT) = range(15)
# fmt: on
# return values of `advance`
RUNNING, DONE, OUT_OF_STEPS, UNDERFLOW = range(4)

LOG = 256
_EPS = 2.220446049250313e-16
_MIN_FACTOR, _MAX_FACTOR = 0.2, 6.0

_RHS = types.FunctionType(RHS_SIGNATURE)
_F1, _F2, _I1 = float64[::1], float64[:, ::1], int64[::1]
_RHS_ARGS = (int64, int64, _F1, _I1, _F1)


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


_as_rhs: Any = _intrinsic_rhs  # type checkers see its first argument, which numba supplies


@njit(error_model="numpy", nogil=True)
def _trial(rhs, floats, ints, work, y, k, rows, ptr, col, val, c, ctl, cnt, buf, t_new, h):
    """One trial step into the spare row of `y`; returns the error norm (tolerance = 1)."""
    old, new = y[cnt[CUR]], y[1 - cnt[CUR]]
    s, t = cnt[STAGES], ctl[T]
    for i in range(1, s):
        combine(new, old, k, rows, col, val, ptr[i], ptr[i + 1], h)
        rhs(min(t + c[i] * h, t_new), new, k[rows[i]], floats, ints, work)  # never outside the interval
    cnt[CALLS] += s - 1
    needs_new = cnt[NEEDS_NEW] == 1
    if needs_new:
        combine(new, old, k, rows, col, val, ptr[s], ptr[s + 1], h)
        rhs(t_new, new, k[rows[s]], floats, ints, work)
        cnt[CALLS] += 1
    return finish(
        new, old, k, rows, ptr, col, val, h, ctl[RTOL], ctl[ATOL], s, cnt[ERRORS], not needs_new, buf
    )


@njit(error_model="numpy", nogil=True)
def _factor(ctl, cnt, h, err, retried):
    """Step-size factor after an accepted step.

    The second estimate is Gustafsson's predictive one (Hairer, Wanner II, eq. IV.8.28): it carries on the
    trend of the last two steps, so that a step that has to shrink all the time (blow-up) is not tried too
    large every time.
    """
    exponent = 1.0 / cnt[ORDER]
    err = max(err, 1e-10)
    factor = ctl[SAFETY] * err**-exponent
    if ctl[GAIN] > 0.0 and ctl[H_OLD] > 0.0:
        trend = (h / ctl[H_OLD]) * (err ** -ctl[GAIN] * ctl[ERR_OLD] ** ctl[GAIN_OLD]) ** exponent
        factor = min(factor, ctl[SAFETY] ** (ctl[GAIN] - ctl[GAIN_OLD]) * trend)
    factor = min(_MAX_FACTOR, max(_MIN_FACTOR, factor))
    return min(factor, 1.0) if retried else factor


@njit(error_model="numpy", nogil=True)
def _accept(y, k, rows, ctl, cnt, log, t_new, h, yy, yf):
    """Make the trial state the state and note its growth time |y|^2 / (y . f)."""
    ctl[T_PREV], ctl[T], ctl[H_LAST] = ctl[T], t_new, h
    cnt[CUR] = 1 - cnt[CUR]
    cnt[SWAP] = 1
    cnt[ACCEPTED] += 1
    norm = np.sqrt(yy) * ctl[NORM]
    if norm > 0.0:
        ctl[NORM] = norm
    # The newest row is overwritten as long as the growth time is within a tenth of the row before: 256 rows
    # then span many decades of a blow-up.
    row = cnt[LOGGED]
    if cnt[ACCEPTED] > 1 and (row == 0 or not 0.9 < log[row % LOG, 1] / log[(row - 1) % LOG, 1] < 1.1):
        row += 1
        cnt[LOGGED] = row
    log[row % LOG, 0] = t_new
    log[row % LOG, 1] = yy / yf
    log[row % LOG, 2] = np.log(norm)


@compiled(int64(*_RHS_ARGS, _F2, _F2, _I1, _I1, _I1, _F1, _F1, _F1, _I1, _F2, _F2))
def advance(c_address, jit_address, floats, ints, work, y, k, rows, ptr, col, val, c, ctl, cnt, log, buf):
    """Take steps until t reaches ``ctl[STOP]``, or ``cnt[BUDGET]`` steps were tried, or the solution ends."""
    rhs = _as_rhs(c_address, jit_address)
    s = cnt[STAGES]
    retried = False
    while True:
        t, h = ctl[T], ctl[H]
        if t >= ctl[T1]:
            return DONE
        if t >= ctl[STOP]:
            return RUNNING
        if cnt[ACCEPTED] + cnt[REJECTED] >= cnt[LIMIT]:
            return OUT_OF_STEPS
        if cnt[BUDGET] <= 0 and not retried:
            return RUNNING
        if h <= 16.0 * _EPS * max(abs(t), abs(ctl[T0])) or h <= 0.0:
            return UNDERFLOW
        last = t + 1.01 * h >= ctl[T1]
        t_new = ctl[T1] if last else t + h
        h = t_new - t  # the step that t really takes; matters where h is a few ulp of t
        if cnt[SWAP] == 1:
            rows[0], rows[s] = rows[s], rows[0]
            cnt[SWAP] = 0
        cnt[BUDGET] -= 1
        err = _trial(rhs, floats, ints, work, y, k, rows, ptr, col, val, c, ctl, cnt, buf, t_new, h)
        yy = yf = 0.0
        if np.isfinite(err) and (err <= 1.0 or cnt[FIXED] == 1):
            new = y[1 - cnt[CUR]]
            if cnt[NEEDS_NEW] == 0:
                rhs(t_new, new, k[rows[s]], floats, ints, work)
                cnt[CALLS] += 1
            yy, yf = growth(new, k[rows[s]], ctl[NORM], buf)
        if not (np.isfinite(err) and np.isfinite(np.sqrt(yy) * ctl[NORM]) and np.isfinite(yf)):
            cnt[REJECTED] += 1
            cnt[BAD] += 1
            retried = True
            ctl[H] = 0.25 * h
        elif err <= 1.0 or cnt[FIXED] == 1:
            _accept(y, k, rows, ctl, cnt, log, t_new, h, yy, yf)
            if cnt[FIXED] == 0:
                ctl[H] = h * _factor(ctl, cnt, h, err, retried)
            ctl[H_OLD], ctl[ERR_OLD] = h, max(err, 1e-2)
            cnt[BAD] = 0
            retried = False
        else:
            cnt[REJECTED] += 1
            cnt[BAD] = 0
            retried = True
            ctl[H] = h * max(_MIN_FACTOR, ctl[SAFETY] * err ** (-1.0 / cnt[ORDER]))


@compiled(float64(*_RHS_ARGS, _F2, _F2, _F1, _I1))
def first_step(c_address, jit_address, floats, ints, work, y, k, ctl, cnt):
    """Guess a first step (Hairer, Norsett, Wanner I, II.4); k[0] holds f(t, y), k[1] is overwritten.

    In units of the time scale |y| / |f|: a flow that is slow because its weights are small starts with as long a step
    as the same flow in faster time.
    """
    rhs = _as_rhs(c_address, jit_address)
    old, new, f0, f1 = y[cnt[CUR]], y[1 - cnt[CUR]], k[0], k[1]
    span, rtol, atol, t = ctl[T1] - ctl[T], ctl[RTOL], ctl[ATOL], ctl[T]
    d0, d1 = rms(old, old, rtol, atol), rms(f0, old, rtol, atol)
    h = span if d1 == 0.0 else 0.01 * d0 / d1
    if d0 < 1e-5:
        h = 1e-6
    h = min(h, span)
    d2 = np.inf
    for _ in range(20):  # a right-hand side that is not finite that far away
        for i in range(old.size):
            new[i] = old[i] + h * f0[i]
        rhs(t + h, new, f1, floats, ints, work)
        cnt[CALLS] += 1
        for i in range(old.size):
            f1[i] -= f0[i]
        d2 = rms(f1, old, rtol, atol) / h
        if np.isfinite(d2):
            break
        h *= 0.1
    scale = d0 / d1 if d0 >= 1e-5 and d1 > 0.0 and np.isfinite(d0 / d1) else 1.0
    top = max(d1 * scale, d2 * scale * scale)
    h2 = max(1e-6, 1e-3 * h) if top <= 1e-15 else scale * (0.01 / top) ** (1.0 / cnt[ORDER])
    return min(100.0 * h, h2, span)


@compiled(types.void(*_RHS_ARGS, _F2, _F2, _I1, _I1, _I1, _F1, _F1, _F1, _I1))
def extra_stages(c_address, jit_address, floats, ints, work, y, k, rows, ptr, col, val, c, ctl, cnt):
    """Evaluate the stages that only the dense output of the last accepted step needs; spoils no state."""
    rhs = _as_rhs(c_address, jit_address)
    s, h = cnt[STAGES], ctl[H_LAST]
    old = y[1 - cnt[CUR]]
    point = np.empty_like(old)
    for i in range(c.size):
        combine(point, old, k, rows, col, val, ptr[i], ptr[i + 1], h)
        rhs(ctl[T_PREV] + c[i] * h, point, k[rows[s + 1 + i]], floats, ints, work)
    cnt[CALLS] += c.size


@compiled(types.void(_F2, _F1, _F2, _I1, _I1, _F2, float64))
def interpolate(out, y, k, rows, col, weights, h):
    """Write y + h * sum_j weights_ij k_{col_j} to out_i: points of the dense output, block by block."""
    n = y.size
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        for i in range(out.shape[0]):
            point = out[i, lo:hi]
            for j in range(hi - lo):
                point[j] = y[lo + j]
            accumulate(point, k, rows, col, weights[i], 0, col.size, h, lo)
