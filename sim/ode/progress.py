"""One integration in progress: buffers and registers of the compiled step loop, and its dense output."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..kernel.problem import RHS_SIGNATURE
from .blowup import blow_up_time
from .methods.rkc import Stabilised
from .methods.tableau import Method

# Gains of the predictive controller. Gustafsson's (2, 1) oscillates where the error grows faster with h
# than the order says (y' = y^3 at loose tolerances: 52 steps of 152 rejected, with these 1 of 96); (0, 0)
# switches it off.
_GAINS = (1.6, 0.8)


@lru_cache(maxsize=64)
def _addresses(rhs) -> tuple[int, int]:
    from numba.experimental.function_type import _get_jit_address, _get_wrapper_address

    return _get_wrapper_address(rhs, RHS_SIGNATURE), _get_jit_address(rhs, RHS_SIGNATURE)


def _norm(y: np.ndarray, block: int = 2**16) -> float:
    """Euclidean norm without a copy of the state; squares neither overflow nor underflow."""
    top = max(float(y.max(initial=0.0)), -float(y.min(initial=0.0))) or 1.0
    return top * float(np.sqrt(sum(np.sum((y[i : i + block] / top) ** 2) for i in range(0, y.size, block))))


class Run:
    """Buffers and registers of one integration; advanced by `advance`, read by everything else.

    Parameters
    ----------
    problem : Problem
        The right-hand side.
    y0 : ndarray, shape (n,)
        State at `t0`.
    t0, t1 : float
        Interval of flow time.
    method : Method
        The table.
    rtol, atol : float
        Tolerances.
    first_step : float or None
        First trial step; None estimates one.
    fixed : bool
        Whether every step has the size `first_step`, whatever the error.

    Raises
    ------
    ValueError
        If the right-hand side is not finite at the start.
    """

    def __init__(
        self, problem, y0, t0, t1, method: Method | Stabilised, rtol, atol, first_step=None, fixed=False
    ) -> None:
        from . import arithmetic as _arithmetic
        from . import steps as _step

        n, s = problem.n, method.stages
        self._step, self.method, self.problem = _step, method, problem
        self._rhs = (*_addresses(problem.rhs), problem.floats, problem.ints, problem.work)
        self._y = np.empty((2, n))
        self._y[0] = y0
        self._k = np.zeros((s + 1, n))
        self._rows = np.arange(s + 1 + len(method.c_extra), dtype=np.int64)
        self._ctl, self._cnt = np.zeros(_step.N_CTL), np.zeros(_step.N_CNT, dtype=np.int64)
        self._log = np.zeros((_step.LOG, 3))
        self._buf = np.empty((4, _arithmetic.BLOCK))
        self._dense_ready = -1
        self._radius = np.zeros(2)  # spectral radius and its age, for methods that need them
        self._set_registers(t0, t1, rtol, atol, fixed)
        self._start(first_step)

    def _set_registers(self, t0: float, t1: float, rtol: float, atol: float, fixed: bool) -> None:
        r, ctl, cnt, method = self._step, self._ctl, self._cnt, self.method
        ctl[[r.T, r.T0, r.T_PREV]] = t0
        ctl[[r.T1, r.STOP]] = t1
        ctl[[r.RTOL, r.ATOL]] = rtol, atol
        ctl[[r.SAFETY, r.GAIN, r.GAIN_OLD]] = self.method.safety, *_GAINS
        ctl[r.NORM] = _norm(self._y[0]) or 1.0
        cnt[[r.STAGES, r.ERRORS, r.ORDER]] = method.stages, len(method.e), method.error_order
        cnt[[r.NEEDS_NEW, r.FIXED]] = method.error_needs_new, fixed

    def _start(self, first_step: float | None) -> None:
        r = self._step
        self.problem(self._ctl[r.T], self._y[0], self._k[0])
        self._cnt[r.CALLS] = 1
        if not np.all(np.isfinite(self._k[0])):
            raise ValueError(
                f"the right-hand side must be finite at the start, got nan or inf at t = {self.t:g};"
                " check the size of the start and the data."
            )
        if first_step is None:
            first_step = r.first_step(*self._rhs, self._y, self._k, self._ctl, self._cnt)
        self._ctl[r.H] = first_step

    @property
    def t(self) -> float:
        """Flow time reached."""
        return float(self._ctl[self._step.T])

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return float(self._ctl[self._step.T_PREV])

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,); a view that the next step but one overwrites."""
        return self._y[self._cnt[self._step.CUR]]

    @property
    def h(self) -> float:
        """Size of the next trial step."""
        return float(self._ctl[self._step.H])

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        return int(self._cnt[self._step.ACCEPTED])

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return bool(self._cnt[self._step.BAD])

    def counts(self) -> dict[str, int]:
        """Count accepted steps, rejected steps and calls of the right-hand side."""
        names = {
            "accepted": self._step.ACCEPTED,
            "rejected": self._step.REJECTED,
            "rhs_calls": self._step.CALLS,
        }
        return {name: int(self._cnt[i]) for name, i in names.items()}

    def history(self) -> np.ndarray:
        """Return (t, growth time |y|^2 / (y . f), log norm) of accepted steps (m, 3), thinned."""
        newest, m = int(self._cnt[self._step.LOGGED]), len(self._log)
        if self.accepted == 0:
            return self._log[:0]
        return self._log[np.arange(max(0, newest - m + 1), newest + 1) % m]

    def blow_up(self, resolution: float) -> float | None:
        """Time at which the state becomes infinite, if it does."""
        return blow_up_time(self.history(), resolution)

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Step until `stop` is passed, `budget` trials are used or `limit` trials were made in all."""
        r = self._step
        self._ctl[r.STOP] = stop
        self._cnt[r.BUDGET], self._cnt[r.LIMIT] = budget, limit
        if isinstance(self.method, Stabilised):
            from .rkc_steps import advance

            registers = (self._rows, self._ctl, self._cnt, self._log, self._buf, self._radius)
            return advance(*self._rhs, self._y, self._k, *registers)
        ptr, col, val = self.method.step_rows
        return r.advance(
            *self._rhs, self._y, self._k, self._rows, ptr, col, val, self.method.c, self._ctl, self._cnt,
            self._log, self._buf,
        )  # fmt: skip

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        inside = len(times) - (1 if times[-1] == self.t else 0)
        if inside < len(times):
            out[-1] = self.y
        if inside == 0:
            return
        r = self._step
        self._prepare_dense()
        h = float(self._ctl[r.H_LAST])
        weights = self.method.interpolant((times[:inside] - self.t_before) / h)
        used = np.flatnonzero(weights.any(axis=0))
        old = self._y[1 - self._cnt[r.CUR]]
        weights = np.ascontiguousarray(weights[:, used])
        r.interpolate(out[:inside], old, self._k, self._rows, used, weights, h)

    def stiffness(self) -> float:
        """Estimate step size x largest |eigenvalue| of the Jacobian; methods here are stable up to 3 .. 6."""
        y, t = self.y, self.t
        f0, f1, size = np.empty_like(y), np.empty_like(y), float(np.linalg.norm(y)) or 1.0
        self.problem(t, y, f0)
        direction, rate = self._y[1 - self._cnt[self._step.CUR]] - y, 0.0
        for _ in range(20):
            norm = float(np.linalg.norm(direction))
            if not 0.0 < norm < np.inf:
                break
            direction *= 1e-7 * size / norm
            self.problem(t, y + direction, f1)
            direction = f1 - f0
            rate = float(np.linalg.norm(direction)) / (1e-7 * size)
        return rate * self.h

    def _prepare_dense(self) -> None:
        """Evaluate the extra stages of the last step, once, and only for methods that have some."""
        if (
            isinstance(self.method, Stabilised)
            or not len(self.method.c_extra)
            or self._dense_ready == self.accepted
        ):
            return
        s = self.method.stages
        if len(self._k) == s + 1:
            self._k = np.concatenate([self._k, np.empty((len(self.method.c_extra), self.problem.n))])
        ptr, col, val = self.method.extra_rows
        self._step.extra_stages(
            *self._rhs, self._y, self._k, self._rows, ptr, col, val, self.method.c_extra, self._ctl, self._cnt
        )
        self._dense_ready = self.accepted
