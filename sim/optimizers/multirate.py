"""Every step's update, with the gradient evaluated only where its extrapolation asks for it.

Between evaluations the gradient is extrapolated over the steps: over h steps straight through the last two evaluations,
to find the end of the block and the gradient there, then, from the block's start again, as the parabola through all
three. The relative difference of new and extrapolated gradient grows as h (h + h'), h' being the block before, which
sets the next h; blocks of one step are the optimizer itself.
"""

from __future__ import annotations

import numpy as np

from ..kernel.problem import Problem
from ..ode.codes import DONE, OUT_OF_STEPS, RUNNING, UNDERFLOW
from ..ode.methods.method import Method
from ..ode.stepper import StepControl, Stepper
from .minibatches import GradientRows
from .optimizer import Optimizer
from .recursion import RecursionStepper
from .updates import Polynomial

GROWTH, SAFETY = 2.0, 0.6  # largest growth of a block, and how much of the tolerance the next one may use


class MultirateStepper(RecursionStepper):
    """Time counts steps; an accepted step of the loop is a block of several.

    Parameters
    ----------
    problem, y0, t0, t1, optimizer
        As in `RecursionStepper`.
    tolerance : float
        Largest relative error of the extrapolated gradient at the end of a block.
    batches : GradientRows
        As in `RecursionStepper`; their part of the second moment is evaluated where the gradient is.
    """

    name = "multirate"

    def __init__(
        self,
        problem: Problem,
        y0: np.ndarray,
        t0: float,
        t1: float,
        optimizer: Optimizer,
        tolerance: float,
        batches: GradientRows | None = None,
    ) -> None:
        super().__init__(problem, y0, t0, t1, optimizer, batches)
        self._block_extra = self._extra
        self.tolerance, self.block, self.length = tolerance, 1, 0
        self._ago, self._last_gradient = (
            0,
            self.gradient,
        )  # steps since the evaluation before, and what it gave
        self._moments_before = [m.copy() for m in self.moments]
        self._path = Polynomial(self.gradient)
        self._trial = np.empty_like(y0)
        self.blocks, self.refused = 0, 0
        self._slices = [slice(low, high) for low, high, *_ in self.updates.parts]

    @property
    def t_before(self) -> float:
        """Step at which the last block began."""
        return float(self.step - self.length)

    @property
    def h(self) -> float:
        """Steps of the next block."""
        return float(self.block)

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take whole blocks; the last one may go beyond `stop`, which lies within its dense output."""
        taken = 0
        while self.step < self.last and self.step < stop and taken < budget:
            if self.blocks + self.refused >= limit:
                return OUT_OF_STEPS
            if not self._take_block(min(self.block, self.last - self.step)):
                return UNDERFLOW
            taken += 1
        return DONE if self.step >= self.last else RUNNING

    def _take_block(self, h: int) -> bool:
        while True:
            path = self._line() if h > 1 else Polynomial(self.gradient)
            new = self._gradient_at_end(path, h)
            error = self._error(new, path if h > 1 else self._line(), h) if self._ago or h > 1 else np.inf
            if h == 1 or error <= self.tolerance:
                break
            self.refused += 1
            h = max(1, min(h // 2, self._next(error, h, self._ago)))
        if not np.isfinite(new).all():
            self._bad = True
            return False
        after = self.batches.noise(self._trial)
        # The mean over the block's steps of a line from its start to its end.
        self._block_extra = self._extra + (after - self._extra) * ((h - 1) / (2 * h))
        self._extra = after
        self._accept(path if h == 1 else self._parabola(new, h), h)
        self.block = (
            max(1, min(int(GROWTH * h), self._next(error, h, self._ago))) if np.isfinite(error) else 1
        )
        self._last_gradient, self.gradient, self._ago = self.gradient, new, h
        return True

    def _line(self) -> Polynomial:
        """Extrapolation straight through the last two evaluations; constant before there are two."""
        if not self._ago:
            return Polynomial(self.gradient)
        return Polynomial(self.gradient, (self.gradient - self._last_gradient) / self._ago)

    def _parabola(self, new: np.ndarray, h: int) -> Polynomial:
        """Through the last two evaluations and the new one, h steps ahead."""
        ahead = (new - self.gradient) / h
        if not self._ago:
            return Polynomial(self.gradient, ahead)
        bend = (ahead - (self.gradient - self._last_gradient) / self._ago) / (h + self._ago)
        return Polynomial(self.gradient, ahead - h * bend, bend)

    def _gradient_at_end(self, path: Polynomial, h: int) -> np.ndarray:
        np.copyto(self._trial, self._y)
        moments = [m.copy() for m in self.moments]
        self.updates.take(self._trial, moments, self.step, h, path, self.batches.keep, self._extra)
        return self._evaluate(self._trial) if np.isfinite(self._trial).all() else self._trial * np.nan

    def _error(self, new: np.ndarray, path: Polynomial, h: int) -> float:
        """Relative error of the extrapolated gradient, RMS over the weights; infinity if it is not finite."""
        with np.errstate(all="ignore"):  # of a run that diverges
            gap = new - path.at(h)
            sizes = [(np.linalg.norm(gap[s]), np.linalg.norm(new[s])) for s in self._slices]
            parts = [a / b for a, b in sizes if b > 0.0]
            error = float(np.sqrt(np.mean(np.square(parts)))) if parts else 0.0
        return error if np.isfinite(error) else np.inf

    def _next(self, error: float, h: int, before: int) -> int:
        """Steps over which the error reaches the tolerance, given its size over h after a block of `before`."""
        if not np.isfinite(error):
            return 1
        bend = max(error, 1e-300) / (h * (h + max(before, 1)))
        room = SAFETY * self.tolerance / bend
        return int(min(0.5 * (np.sqrt(h * h + 4.0 * room) - h), 2.0**31))

    def _accept(self, path: Polynomial, h: int) -> None:
        np.copyto(self._before, self._y)
        for kept, moment in zip(self._moments_before, self.moments, strict=True):
            np.copyto(kept, moment)
        self.updates.take(self._y, self.moments, self.step, h, path, self.batches.keep, self._block_extra)
        self._path, self.length, self.step, self.blocks = path, h, self.step + h, self.blocks + 1

    def dense(self, times: np.ndarray, out: np.ndarray) -> None:
        """The steps within the last block, straight lines between them."""
        begin = self.step - self.length
        moments, y, at = [m.copy() for m in self._moments_before], self._before.copy(), begin
        for row, time in zip(out, times, strict=True):
            whole = min(int(np.floor(time)), self.step)
            if whole > at:
                self._go(y, moments, at, whole - at, begin)
                at = whole
            row[:] = self._y if whole == self.step else y
            if time > whole:
                after = y.copy()
                self._go(after, [m.copy() for m in moments], at, 1, begin)
                row += (time - whole) * (after - y)

    def _go(self, y: np.ndarray, moments: list[np.ndarray], at: int, count: int, begin: int) -> None:
        """Take some of the block's steps again, with the gradient's path seen from step `at`."""
        j, p = at - begin, self._path
        if p.order == 0 or j == 0:
            self.updates.take(y, moments, at, count, p, self.batches.keep, self._block_extra)
            return
        bend = p.c2 if p.c2.size else np.zeros_like(p.c0)
        path = Polynomial(p.at(j), p.c1 + 2 * j * bend, bend)
        self.updates.take(y, moments, at, count, path, self.batches.keep, self._block_extra)

    def counts(self) -> dict[str, int]:
        """Blocks, refused ones, and evaluations of the gradient."""
        return {"accepted": self.blocks, "rejected": self.refused, "rhs_calls": self.calls}


class Multirate(Method):
    """The optimizer's steps with fewer gradients, as a method of `solve` whose time counts steps.

    Parameters
    ----------
    optimizer : Optimizer
        What moves the weights, entry by entry.
    tolerance : float
        Largest relative error of the extrapolated gradient.
    batches : GradientRows
        Of which the gradient is the mean; None for the full batch.

    Raises
    ------
    ValueError
        If the optimizer's direction mixes the entries of a gradient.
    """

    name = "multirate"
    reference = "module docstring; multirate predictor-corrector in the sense of Gear, Wells, BIT 24 (1984)"

    def __init__(self, optimizer: Optimizer, tolerance: float, batches: GradientRows | None = None) -> None:
        if not optimizer.elementwise:
            raise ValueError(
                f'`method` "multirate" extrapolates entry by entry, {optimizer.label} does not: use "steps".'
            )
        self.optimizer, self.tolerance, self.batches = optimizer, tolerance, batches

    def begin(self, problem: Problem, y0: np.ndarray, t0: float, t1: float, control: StepControl) -> Stepper:
        """Start with blocks of one step."""
        del control
        return MultirateStepper(problem, y0, t0, t1, self.optimizer, self.tolerance, self.batches)
