"""Runs that come to a place where their equations are singular: steps collapse before it, or one leads across it.

Beside a singular place equations are stiff: a method for such keeps its steps long, each of which is dear.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .outcome import Outcome, Status
from .stepper import Stepper

# Of the flow time elapsed: steps as short as this take a hundred thousand for as much again. One may be the first of a
# method that takes over, so that some are waited for.
SHORT, IN_A_ROW = 1e-5, 16


class Singularity(Protocol):
    """Knows where equations are singular, and says what is, in words; empty where nothing is."""

    def at(self, y: np.ndarray) -> str:
        """What is singular at a state (n,)."""
        ...

    def begin(self, y: np.ndarray) -> None:
        """Note the state (n,) that a run starts from."""
        ...

    def approached(self, y: np.ndarray) -> str:
        """What is singular at a state, and was far from it at the start."""
        ...

    def passed(self, before: np.ndarray, y: np.ndarray) -> str:
        """What is singular on the straight line from one state to another."""
        ...


class Collapse:
    """Asks, once steps have collapsed or a method for stiff equations is in use, whether they are singular.

    Parameters
    ----------
    t0 : float
        Flow time of the start.
    singular : Singularity
        Whom to ask.
    y0 : ndarray, shape (n,), or None
        The start; None if no steps are asked about but by `at`.
    """

    def __init__(self, t0: float, singular: Singularity, y0: np.ndarray | None) -> None:
        self._t0, self._singular, self._held = t0, singular, 0
        if y0 is not None:
            singular.begin(y0)

    def outcome(self, stepper: Stepper) -> Outcome | None:
        """How the run ends after the step just accepted, if it does."""
        longest = max(stepper.t - stepper.t_before, stepper.h)
        short = longest <= SHORT * (stepper.t - self._t0)
        self._held = self._held + 1 if short or stepper.for_stiff else 0
        if self._held < IN_A_ROW:
            return None
        self._held = 0  # held for another reason, steps are asked about from time to time
        if short:
            return self.at(stepper)
        # A method for stiff equations says nothing by itself: it may have been asked for from the start.
        return _end(stepper, self._singular.approached(stepper.y))

    def at(self, stepper: Stepper) -> Outcome | None:
        """The end at the state reached, if the equations are singular there."""
        return _end(stepper, self._singular.at(stepper.y))


def _end(stepper: Stepper, detail: str) -> Outcome | None:
    return Outcome(Status.SINGULAR, stepper.t, detail) if detail else None


class Passage(Collapse):
    """Asks after every step: those of an optimizer, or of a fixed size, do not shorten but lead across.

    Parameters
    ----------
    t0, singular
        As of `Collapse`.
    y0 : ndarray, shape (n,)
        The start.
    """

    def __init__(self, t0: float, singular: Singularity, y0: np.ndarray) -> None:
        super().__init__(t0, singular, None)
        self._before = y0.copy()

    def outcome(self, stepper: Stepper) -> Outcome | None:
        """The end at the last state before the equations were singular."""
        detail = self._singular.passed(self._before, stepper.y)
        np.copyto(self._before, stepper.y)
        return Outcome(Status.SINGULAR, stepper.t_before, detail) if detail else None
