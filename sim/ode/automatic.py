"""The automatic choice of a method: one of high order while accuracy rules the step, RKC while stability does."""

from __future__ import annotations

from typing import Any

import numpy as np

from .blowup import blow_up_time
from .methods import default_method
from .methods.rkc import RKC, Stabilised
from .methods.tableau import Method
from .progress import Run

CHECK = 40  # accepted steps between two looks at the stiffness
STIFF = 2.0  # step x spectral radius from which an explicit step is taken to be held down by stability


class Automatic:
    """A `Run` that changes its method: to RKC where the problem has become stiff, back if that does not pay.

    A gradient flow is fast and smooth while it leaves the plateau, and slow but stiff afterwards. The choice depends on
    the trajectory alone, so it is the same every time.

    Attributes
    ----------
    run : Run
        The method at work.
    chosen : list of (str, float)
        Names of the methods, and the flow times from which they were used.
    """

    def __init__(
        self, problem: Any, y0: Any, t0: float, t1: float, rtol: float, atol: float, first_step: Any
    ) -> None:
        self._settings = (problem, t1, rtol, atol)
        self.explicit = default_method(rtol)
        self.chosen: list[tuple[str, float]] = []
        self._counts = {"accepted": 0, "rejected": 0, "rhs_calls": 0}
        self._history = np.zeros((0, 3))
        self._cost, self._wait = np.inf, 1
        self._use(self.explicit, y0, t0, first_step)

    def _use(self, method: Method | Stabilised, y: Any, t: float, first_step: float | None) -> None:
        problem, t1, rtol, atol = self._settings
        self.run = Run(problem, y, t, t1, method, rtol, atol, first_step)
        self.chosen.append((method.name, t))
        self._mark, self._look = (t, 0), CHECK

    def __getattr__(self, name: str) -> Any:
        """Everything that is not about the change of methods is the run's."""
        return getattr(self.run, name)

    @property
    def accepted(self) -> int:
        """Number of accepted steps, of all methods."""
        return self._counts["accepted"] + self.run.accepted

    def counts(self) -> dict[str, int]:
        """Count accepted steps, rejected steps and calls of the right-hand side, of all methods."""
        return {name: n + self._counts[name] for name, n in self.run.counts().items()}

    def history(self) -> np.ndarray:
        """Growth of accepted steps, as `Run.history`."""
        return np.concatenate([self._history, self.run.history()])

    def blow_up(self, resolution: float) -> float | None:
        """Time at which the state becomes infinite, if it does."""
        return blow_up_time(self.history(), resolution)

    def advance(self, stop: float, budget: int, limit: int) -> int:
        """Take steps as `Run.advance`, after a look at whether the method is still the right one."""
        if self.run.accepted >= self._look:
            self._look = self.run.accepted + CHECK
            self._consider()
        used = self._counts["accepted"] + self._counts["rejected"]
        # Never past the next look: how many steps a call takes depends on the clock, the choice must not.
        return self.run.advance(stop, min(budget, self._look - self.run.accepted), limit - used)

    def _consider(self) -> None:
        """Change the method where the other one is cheaper per unit of flow time."""
        t, calls = self.run.t, self.run.counts()["rhs_calls"]
        cost = (calls - self._mark[1]) / max(t - self._mark[0], 1e-300)
        self._mark = (t, calls)
        if self.run.method is RKC:
            if cost > self._cost:
                self._change(self.explicit)
                self._wait *= 2  # it may pay later on
                self._look = self._wait * CHECK
        elif self.run.stiffness() > STIFF:
            self._cost = cost
            self._change(RKC)

    def _change(self, method: Method | Stabilised) -> None:
        self._counts = self.counts()
        self._history = self.history()
        self._use(method, self.run.y.copy(), self.run.t, self.run.h)
