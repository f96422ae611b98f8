"""What a step of a method of low order may err while a state grows: nothing damps its errors, which add up.

An error made while a state grows moves the rest of the solution in time, and with it the time t* of a blow-up. Steps of
`rkc` and `bdf` each make an error near the tolerance (those of methods of high order stay far below), and a blow-up
takes thousands: together they moved t* by a hundred tolerances.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernel.inner import helper

# Most that the growth time |y|^2 / (y . f) rises, over flow time, in what grows like an exponential or faster: that of
# t^m rises by 1/m, and of log(t) by more than 1; towards a pole of the power p it falls by 1/p.
RISE = 0.1
# Where it falls faster than this, over flow time, a state hardly grows, or something fast relaxes.
STEEP = -10.0
ROUNDING = 50.0  # of an error estimate over that of a slope: to spare


def part_of_tolerance(h, elapsed, before, now, rtol, rounding, share):
    """Part of the tolerance that the error estimate of a step of size h may use, by the growth times at its two ends.

    Of a solution that grows like an exponential it is the step's part of an e-fold, so that errors add up to the
    tolerance in each. Towards a pole an error moves t* by less the nearer that is: the root of what is left, over the
    time elapsed, leaves twice that in all and makes steps as long again as the tolerance has them. Of any other
    solution it is all. A method whose errors are larger than its estimates has a `share` of less than 1 in this;
    below `rounding` of slopes no error can be told.
    """
    change = (now - before) / h
    if not (now > 0.0 and change <= RISE):
        return 1.0
    step, least = h / now, math.sqrt(rtol)
    part = share * (least if least > step else step)
    if change < 0.0:
        gone, steep = -change * elapsed / now, change / STEEP
        part *= math.sqrt(gone if gone > 1.0 else 1.0) * (steep * steep if steep > 1.0 else 1.0)
    told = ROUNDING * rounding / rtol
    if told > part:
        part = told
    return part if part < 1.0 else 1.0


part_in_loop = helper()(part_of_tolerance)  # the same, for what is compiled


def growth_row(t: float, y: np.ndarray, slope: np.ndarray) -> tuple[float, float, float]:
    """Flow time, growth time and log norm of a state (n,), as `Stepper.history` has them."""
    top = float(np.abs(y).max()) or 1.0
    with np.errstate(all="ignore"):
        scaled = y / top
        square, product = float(np.sum(scaled**2)), float(np.sum(scaled * (slope / top)))
        return (
            float(t),
            square / product if product else np.inf,
            float(np.log(top) + 0.5 * np.log(square or 1.0)),
        )
