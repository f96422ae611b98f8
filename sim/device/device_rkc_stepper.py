"""The stabilised method RKC on a device: the loop of `rkc_steps`, with vectors that stay there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import float64, int64

from ..ode.codes import RUNNING, UNDERFLOW
from ..ode.explicit import registers as r
from ..ode.explicit import rkc_steps
from ..ode.explicit.acceptance import GO, HALTED, NOT_FINITE, TAKEN
from ..ode.explicit.rkc_steps import (
    END,
    FIXED_LIMIT,
    LIFE,
    LOOKS,
    N_ROWS,
    ONE,
    SHARE,
    SLOPE,
    SPARE,
    START,
    STRETCHED,
    TWO,
    USUAL_STAGES,
)
from ..ode.growing import part_of_tolerance
from ..ode.stepper import StepControl
from .device_stepper import DeviceStepper
from .single_steps import alone, landing, pause, settle
from .tensor_program import TensorProgram
from .vectors import growth_of, mean_square, norm, numbers, tolerated

if TYPE_CHECKING:
    from ..ode.methods.rkc import Stabilised

# here, as a run of another method needs none of them
_longest = alone(float64(float64), rkc_steps.longest)
_number_of_stages = alone(int64(float64, float64), rkc_steps.number_of_stages)
_coefficients = alone(r.F2(float64, int64), rkc_steps.coefficients)


class DeviceRkcStepper(DeviceStepper):
    """One integration by RKC; parameters as in `DeviceStepper`."""

    for_stiff = True

    def __init__(
        self, program: TensorProgram, y0: np.ndarray, t0: float, t1: float, method: Stabilised, control: StepControl
    ) -> None:  # fmt: skip
        self._radius, self._life, self._swept = 0.0, 0, 0.0
        super().__init__(program, y0, t0, t1, method, control, N_ROWS)

    @property
    def radius(self) -> float:
        """Largest |eigenvalue| of the Jacobian, as last estimated."""
        return self._radius / SPARE

    @property
    def swept(self) -> float:
        """Integral of `radius` over flow time."""
        return self._swept / SPARE

    def _loop(self) -> int:
        ctl, cnt = self._ctl, self._cnt
        while (code := pause(ctl, cnt)) == GO:
            self._swap(END)
            if self._life <= 0 and not self._look():
                return RUNNING
            fixed = bool(cnt[r.FIXED])
            t_new = landing(ctl, ctl[r.H] if fixed else min(ctl[r.H], _longest(self._radius)))
            if np.isnan(t_new):
                return UNDERFLOW
            h = t_new - float(ctl[r.T])
            cnt[r.BUDGET] -= 1
            found = (np.nan, 0.0, 0.0)
            if not fixed or h * self._radius <= FIXED_LIMIT:
                s = int(_number_of_stages(h, self._radius))
                cnt[r.BUDGET] -= s // USUAL_STAGES
                found = self._trial(t_new, h, s)
            if found[0] == HALTED:
                return RUNNING
            end = settle(ctl, cnt, self._log, t_new, h, *found)
            self._swept += self._radius * h if end == TAKEN else 0.0
            self._life = self._life - 1 if end == TAKEN else 0 if end == NOT_FINITE else min(self._life, 1)
        return code

    def _trial(self, t_new: float, h: float, s: int) -> tuple[float, float, float]:
        """One step of s stages into the spare state: error norm, or `HALTED`, |y|^2 and y . f."""
        old, new, f0, f1 = self._old, self._spare, self._slope(START), self._slope(END)
        one, two, slope = self._slope(ONE), self._slope(TWO), self._slope(SLOPE)
        table = _coefficients(h, s).tolist()
        two.copy_(old)
        torch.add(old, f0, alpha=table[0][3], out=one)
        for j, (mu, nu, rest, step, a, shift) in enumerate(table[1:], 2):
            self._evaluate(min(self.t + shift, t_new), one, slope)
            if self._cnt[r.HALT]:
                return HALTED, 0.0, 0.0
            torch.mul(one, mu, out=new)
            new.add_(two, alpha=nu).add_(old, alpha=rest).add_(slope.sub_(f0, alpha=a), alpha=step)
            if j < s:
                two.copy_(one)
                one.copy_(new)
        self._evaluate(t_new, new, f1)
        torch.sub(old, new, out=slope).mul_(0.8).add_(f0, alpha=0.4 * h).add_(f1, alpha=0.4 * h)
        torch.sub(new, old, out=one).div_(h)  # what the dense output needs
        square = mean_square(slope, tolerated(old, new, self._ctl[r.RTOL], self._ctl[r.ATOL]))
        err, yy, yf = numbers(square, *growth_of(new, f1, float(self._ctl[r.NORM])))
        elapsed, before = t_new - float(self._ctl[r.T0]), self._before()
        rtol, rounding = float(self._ctl[r.RTOL]), float(self._ctl[r.ROUNDING])
        part = part_of_tolerance(h, elapsed, before, _ratio(yy, yf), rtol, rounding, SHARE)
        return float(np.sqrt(err)) / part, yy, yf

    def _before(self) -> float:
        """Growth time at the start of a step."""
        if self._cnt[r.ACCEPTED]:
            return float(self._log[self._cnt[r.LOGGED] % r.LOG, 1])
        return _ratio(*numbers(*growth_of(self._old, self._slope(START), float(self._ctl[r.NORM]))))

    def _look(self) -> bool:
        """Estimate the largest |eigenvalue| of the Jacobian as `rkc_steps` does; whether nothing broke that off."""
        y, f, point, slope = self._old, self._slope(START), self._slope(ONE), self._slope(SLOPE)
        direction = self._slope(STRETCHED)
        length = norm(direction)
        if length == 0.0:  # f, with something of every direction in it: a slow f must not hide a fast one
            size = norm(f)
            noise = 0.02 * size / np.sqrt(f.numel()) if size > 0.0 else 1.0
            every = torch.arange(f.numel(), device=f.device).mul_(7919).remainder_(13).sub_(6)
            torch.add(f, every.to(f.dtype), alpha=float(noise), out=direction)
            length = norm(direction)
        delta, radius = float(np.sqrt(r.EPS)) * (norm(y) or 1.0), 0.0
        for k in range(LOOKS):
            torch.add(y, direction, alpha=delta / length, out=point)
            self._evaluate(self.t, point, slope)
            length = float(torch.linalg.vector_norm(torch.sub(slope, f, out=direction)))
            before, radius = radius, length / delta
            if length == 0.0 or (k >= 2 and abs(radius - before) <= 0.02 * radius) or self._cnt[r.HALT]:
                break
        self._radius, self._life = SPARE * radius, 0 if self._cnt[r.HALT] else LIFE
        return self._life > 0


def _ratio(yy: float, yf: float) -> float:
    """Growth time; nan or infinite where nothing grows."""
    with np.errstate(all="ignore"):
        return float(np.divide(yy, yf))
