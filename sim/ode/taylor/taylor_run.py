"""One integration by Taylor series in progress, and many side by side in lanes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..methods.taylor import Series
from ..outcome import Outcome, Status

if TYPE_CHECKING:
    from ...kernel.problem import Problem
    from .program import Program

MAX_BYTES = 2**30  # of the coefficients of eight members


def program(problem: Problem) -> Program:
    """Unroll a problem's table of operations, once for all its copies.

    Raises
    ------
    ValueError
        If the flow is not polynomial, or has too many products.
    """
    from ...kernel._interpreter import rhs
    from .unroll import unroll

    if problem.rhs is not rhs:
        raise ValueError(
            '`method` "taylor" needs a flow that was derived and compiled, got a right-hand side given as code;'
            ' use method="dop853".'
        )
    if "program" not in problem.notes:
        problem.notes["program"] = unroll(problem.ints, problem.floats, problem.n, problem.work.size)
    return problem.notes["program"]


class Lanes:
    """Eight lanes with their buffers, and the members that pass through them.

    Parameters
    ----------
    problem : Problem
        The flow.
    order : int
        Order of the series.
    rtol : float
        Relative tolerance.
    starts : ndarray, shape (batch, n)
        States.
    span : ndarray, shape (batch, 3)
        Start and end in flow time, and absolute tolerance, of each.
    saves : ndarray, shape (batch, m)
        Flow times to save.
    """

    def __init__(self, problem: Problem, order: int, rtol: float, starts: Any, span: Any, saves: Any) -> None:
        from . import series_steps as kernel

        self.kernel, self.order, self.rtol = kernel, order, rtol
        unrolled, batch, n = program(problem), *starts.shape
        stride = (order + 1) * kernel.LANES
        if unrolled.slots * stride * 8 > MAX_BYTES:
            raise ValueError(
                f'`method` "taylor" is for small states: {unrolled.slots:,} series of order {order} take more than'
                f' {MAX_BYTES >> 20} MiB; use method="dop853".'
            )
        self.ints, self.floats = unrolled.placed(stride), unrolled.floats
        self.work, self.new = _aligned(unrolled.slots * stride), np.zeros(n * kernel.LANES)
        self.lane, self.mark = (
            np.ones((kernel.N_LANE, kernel.LANES)),
            np.zeros((kernel.N_MARK, kernel.LANES), int),
        )
        self.mark[kernel.MEMBER] = kernel.IDLE
        self.atol, self.size = np.ones(kernel.LANES), np.zeros((kernel.N_SIZE, kernel.LANES))
        self.starts, self.span, self.saves = starts, span, saves
        self.states = np.empty((batch, saves.shape[1], n))
        self.found = np.full((batch, kernel.N_FOUND), np.nan)
        self.count = np.zeros((batch, kernel.N_COUNT), np.int64)
        self.next = 0

    def run(self, max_steps: int, budget: int = 2**62, until: float = math.inf, fixed: float = 0.0) -> None:
        """Carry on until all members are done; or for `budget` rounds, or until one has passed `until`."""
        self.next = self.kernel.run(
            self.ints, self.floats, self.work, self.new, self.order, self.rtol, self.lane, self.mark, self.atol,
            self.size, self.starts, self.span, self.saves, self.states, self.found, self.count,
            self.next, len(self.starts), max_steps, budget, until, fixed,
        )  # fmt: skip

    @property
    def done(self) -> bool:
        """Whether every member has ended."""
        idle = self.mark[self.kernel.MEMBER] == self.kernel.IDLE
        return self.next == len(self.starts) and bool(idle.all())

    def counts(self, m: int = 0) -> dict[str, int]:
        """Steps of a member, and evaluations of the flow: one for each coefficient."""
        _, steps, rounds, _ = (int(i) for i in self.count[m])
        return {"accepted": steps, "rejected": 0, "rhs_calls": rounds * self.order}

    def star(self, m: int = 0) -> float | None:
        """Time of the pole that ended a member, if one did."""
        star = float(self.found[m, self.kernel.STAR])
        return star if math.isfinite(star) else None


def _aligned(size: int) -> np.ndarray:
    """Zeros whose vectors of eight do not cross cache lines."""
    room = np.zeros(size + 8)
    first = (-room.ctypes.data % 64) // 8
    return room[first : first + size]


@dataclass(frozen=True)
class _Fixed:
    """What `solve` wants to know of a method at work."""

    name: str
    order: int


class TaylorRun:
    """One integration in the first lane; same interface as `Run`."""

    def __init__(self, problem, y0, t0, t1, method: Series, rtol, atol, fixed_step=None) -> None:
        self.method = _Fixed(method.name, method.order(rtol))
        slope = np.empty_like(y0)
        problem(t0, y0, slope)
        if not np.all(np.isfinite(slope)):
            raise ValueError(_not_finite(t0))
        span, saves = np.array([[t0, t1, atol]]), np.empty((1, 0))
        self.lanes = Lanes(problem, self.method.order, rtol, y0[None].copy(), span, saves)
        self.fixed, self.t0 = fixed_step or 0.0, t0

    def _lane(self, row: int) -> float:
        return float(self.lanes.lane[row, 0])

    @property
    def t(self) -> float:
        """Flow time reached."""
        return self._lane(self.lanes.kernel.T) if self.accepted else self.t0

    @property
    def t_before(self) -> float:
        """Flow time before the last accepted step."""
        return self._lane(self.lanes.kernel.T_PREV)

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,)."""
        return self.lanes.new[:: self.lanes.kernel.LANES]

    @property
    def h(self) -> float:
        """Size of the last step that the series allowed."""
        return float(self.lanes.found[0, self.lanes.kernel.STEP])

    @property
    def accepted(self) -> int:
        """Number of accepted steps."""
        return int(self.lanes.count[0, self.lanes.kernel.STEPS])

    @property
    def last_trial_bad(self) -> bool:
        """Whether the last trial step met values that are not finite."""
        return int(self.lanes.count[0, self.lanes.kernel.CODE]) == self.lanes.kernel.NOT_FINITE

    def counts(self) -> dict[str, int]:
        """Count accepted and rejected steps and evaluations of the flow."""
        return self.lanes.counts()

    def stiffness(self) -> float:
        """Step size x largest eigenvalue is no limit of its own here: the series sees to accuracy alone."""
        return 0.0

    def blow_up(self, resolution: float) -> float | None:
        """Time of the pole, from the radius of convergence."""
        return self.lanes.star()

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Step until `stop` is passed, `budget` rounds are used or `limit` steps were made in all."""
        kernel = self.lanes.kernel
        self.lanes.run(limit, budget, min(stop, 1e308), self.fixed)
        code = int(self.lanes.count[0, kernel.CODE])
        return kernel.UNDERFLOW if code == kernel.NOT_FINITE else code

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """Write the states at `times` (m,), within the last accepted step, to `out` (m, n)."""
        scale = self._lane(self.lanes.kernel.SCALE)
        for t, row in zip(times, out, strict=True):
            if t == self.t:
                row[:] = self.y
            else:
                x = (t - self.t_before) / scale
                self.lanes.kernel.evaluate(self.lanes.work, self.lanes.order, 0, x, row)


def outcome(lanes: Lanes, m: int, max_steps: int) -> Outcome:
    """How member m ended, in the words of `solve`."""
    kernel = lanes.kernel
    code, t, end = (
        int(lanes.count[m, kernel.CODE]),
        float(lanes.found[m, kernel.AT]),
        float(lanes.span[m, kernel.END]),
    )
    if code == kernel.DONE:
        return Outcome(Status.REACHED_END, end)
    if code == kernel.OUT_OF_STEPS:
        used = f"{max_steps} steps did not reach t1 = {end:g}, the step size is {lanes.found[m, kernel.STEP]:.2g}"
        return Outcome(Status.MAX_STEPS, t, f"{used}; use a larger `rtol` or a higher limit.")
    if (star := lanes.star(m)) is not None:
        return Outcome(Status.BLOW_UP, star)
    if code == kernel.UNDERFLOW:
        return Outcome(Status.STEP_UNDERFLOW, t, "the right-hand side may jump or be singular there.")
    if lanes.count[m, kernel.STEPS] == 0:
        return Outcome(Status.NON_FINITE, t, _not_finite(t))
    largest = float(lanes.found[m, kernel.LARGEST])
    if largest > 1e290:
        return Outcome(Status.NON_FINITE, t, f"the state has grown to {largest:.1e}, the range of float64.")
    return Outcome(Status.NON_FINITE, t, "the right-hand side is nan or inf there.")


def _not_finite(t: float) -> str:
    return (
        f"the right-hand side must be finite at the start, got nan or inf at t = {t:g};"
        " check the size of the start and the data."
    )
