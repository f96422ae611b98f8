"""The outcomes that a run of steps may have, whatever the method."""

from __future__ import annotations

import numpy as np

from .outcome import Outcome, Status

FAR = 100.0  # times a run's length from which its start is so far from 0 that flow time lacks digits


def used_up(status: Status, t: float, t1: float, used: str, h: float, remedy: str) -> Outcome:
    """A limit came first: what was `used` up at `t`, at which step size, and what helps."""
    return Outcome(status, t, f"{used} did not reach t1 = {t1:g}, the step size is {h:.2g}{remedy}")


def stuck(
    t: float, star: float | None, not_finite: bool, largest: float, span: tuple[float, float] = (0.0, 0.0)
) -> Outcome:
    """The step size has fallen to the resolution of flow time.

    Parameters
    ----------
    t : float
        Flow time reached.
    star : float or None
        Blow-up time, if that is what happened.
    not_finite : bool
        Whether the last trial step met values that are not finite.
    largest : float
        Largest absolute entry of the state.
    span : (float, float)
        Flow times of start and end.
    """
    if star is not None:
        return Outcome(Status.BLOW_UP, star)
    if not not_finite and abs(span[0]) > FAR * (span[1] - span[0]):
        return Outcome(
            Status.STEP_UNDERFLOW,
            t,
            f"so far from 0 that is {float(np.spacing(abs(t))):.2g}; let time count from `t0`, with t0 + t in the "
            "right-hand side, so that shorter steps can be told.",
        )
    if not not_finite:
        return Outcome(Status.STEP_UNDERFLOW, t, "the right-hand side may jump or be singular there.")
    if largest > 1e290:
        return Outcome(Status.NON_FINITE, t, f"the state has grown to {largest:.1e}, the range of float64.")
    return Outcome(Status.NON_FINITE, t, "the right-hand side is nan or inf there.")
