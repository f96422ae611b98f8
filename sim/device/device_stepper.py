"""What steppers whose states stay on a device share: buffers, the start, points of the dense output, stiffness.

Flow times, step sizes and every decision are those of `RegisterStepper`, in its registers on the host; of the device it
asks a few numbers a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ode.explicit import registers as r
from ..ode.explicit.register_stepper import RegisterStepper
from ..ode.stepper import StepControl
from .tensor_program import TensorProgram
from .vectors import mean_square, norm, tolerated

TRIES = 20  # of a first step, and of a spectral radius


class DeviceStepper(RegisterStepper):
    """A `RegisterStepper` with its states and slopes on the device of a program; the other parameters are its."""

    def __init__(
        self, program: TensorProgram, y0: np.ndarray, t0: float, t1: float, method: Any, control: StepControl,
        slopes: int,
    ) -> None:  # fmt: skip
        self.program = program
        self._host: tuple[int, np.ndarray] = (-1, y0)
        super().__init__(program.problem, y0, t0, t1, method, control, slopes)

    def _reserve(self, y0: np.ndarray, slopes: int) -> None:
        options: dict[str, Any] = {"dtype": torch.float64, "device": self.program.device}
        self._states = torch.empty((2, self.problem.n), **options)
        self._states[0].copy_(torch.tensor(y0))
        self._slopes = torch.zeros((slopes, self.problem.n), **options)

    def _norm(self) -> float:
        return norm(self._states[0])

    def _first_slope(self) -> bool:
        self.program(self.t, self._states[0], self._slope(0))
        return bool(torch.isfinite(self._slope(0)).all())

    def _slope(self, index: int) -> Tensor:
        """The slope of that number, wherever it lies."""
        return self._slopes[int(self._rows[index])]

    @property
    def _old(self) -> Tensor:
        return self._states[int(self._cnt[r.CUR])]

    @property
    def _spare(self) -> Tensor:
        return self._states[1 - int(self._cnt[r.CUR])]

    @property
    def y(self) -> np.ndarray:
        """State at `t` (n,), fetched from the device once a step."""
        if self._host[0] != self.accepted:
            self._host = (self.accepted, self._old.to("cpu", copy=True).numpy())
        return self._host[1]

    def _evaluate(self, t: float, y: Tensor, out: Tensor) -> None:
        """Write the slope at a state to `out`, and count it."""
        self.program(t, y, out)
        self._cnt[r.CALLS] += 1

    def _swap(self, end: int) -> None:
        """Make the slope at the end of the last step that at the start of the next, where this is due."""
        if self._cnt[r.SWAP]:
            self._rows[[0, end]] = self._rows[[end, 0]]
            self._cnt[r.SWAP] = 0

    def _first_step(self) -> float:
        """Guess a first step as `step_guess.first_step` does."""
        ctl, old, f0, f1 = self._ctl, self._old, self._slope(0), self._slope(1)
        span = float(ctl[r.T1] - ctl[r.T])
        scale = tolerated(old, old, ctl[r.RTOL], ctl[r.ATOL])
        d0, d1 = (float(mean_square(x, scale).sqrt()) for x in (old, f0))
        h = span if d1 == 0.0 else 0.01 * d0 / d1
        h = min(1e-6 if d0 < 1e-5 else h, span)
        d2 = np.inf
        for _ in range(TRIES):  # a right-hand side that is not finite that far away
            torch.add(old, f0, alpha=h, out=self._spare)
            self._evaluate(self.t + h, self._spare, f1)
            d2 = float(mean_square(f1.sub_(f0), scale).sqrt()) / h
            if np.isfinite(d2) or self._cnt[r.HALT]:
                break
            h *= 0.1
        unit = d0 / d1 if d0 >= 1e-5 and d1 > 0.0 and np.isfinite(d0 / d1) else 1.0
        top = max(d1 * unit, d2 * unit * unit)
        h2 = max(1e-6, 1e-3 * h) if top <= 1e-15 else unit * (0.01 / top) ** (1.0 / int(self._cnt[r.ORDER]))
        return float(min(100.0 * h, h2, span))

    def _interpolate(
        self, lead: np.ndarray, weights: np.ndarray, used: np.ndarray, h: float, out: np.ndarray
    ) -> None:
        for share, row, target in zip(lead.tolist(), weights, out, strict=True):
            point = self._spare * share  # after a step, the state before it
            for weight, index in zip(row.tolist(), used, strict=True):
                point.add_(self._slope(index), alpha=h * weight)
            target[:] = point.cpu().numpy()

    def _spectral_radius(self) -> float:
        y, size = self._old, norm(self._old) or 1.0
        f0, f1 = torch.empty_like(y), torch.empty_like(y)
        self.program(self.t, y, f0)
        direction, rate = self._spare - y, 0.0
        for _ in range(TRIES):
            length = float(torch.linalg.vector_norm(direction))
            if not 0.0 < length < np.inf or self._cnt[r.HALT]:
                break
            self.program(self.t, torch.add(y, direction, alpha=1e-7 * size / length), f1)
            direction = f1 - f0
            rate = float(torch.linalg.vector_norm(direction)) / (1e-7 * size)
        return rate
