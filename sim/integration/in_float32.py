"""Flows in float32: what they go together with, the tolerance that they can keep to, and what they lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.names import DTYPES
from ...theory.base.validate import choice
from ...theory.flows.flow import Flow
from ..kernel.problem import Problem
from ..kernel.single_precision import in_single_precision, rounding_errors
from ..ode.methods.taylor import TaylorMethod
from ..ode.outcome import Outcome, Status
from .tolerances import RTOL

SINGLE_RTOL = 1e-5  # unless said; errors of the trajectory are then those of the method
LEAST_RTOL = 2e-6  # 16 units of rounding; below, steps become short for the sake of noise
OF_STEPS = 1e-3  # rounding of a derivative beyond which steps that have no tolerance are not taken


def asked_precision(
    dtype: Any, rtol: float | None, *, flow: Any, method: Any, device: Any, batch_size: int | None
) -> float:
    """The tolerance of a gradient flow, the one asked for or the precision's own.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of the right-hand side.
    rtol : float or None
        As asked for.
    flow, method, device, batch_size
        As `integrate` takes them; the device is None for the interpreter.

    Raises
    ------
    FieldError
        If there is no such precision, or it does not go with the others.
    """
    if choice("dtype", dtype, DTYPES) == "float64":
        return RTOL if rtol is None else rtol
    for there, what in (
        (not isinstance(flow, Flow), "a reduced flow, which is small"),
        (method == "taylor" or isinstance(method, TaylorMethod), 'the method "taylor"'),
        (device is not None, f'the device "{device}", where steps are taken in float64'),
        (batch_size is not None, "minibatches"),
    ):
        if there:
            raise FieldError("dtype", f'is "float32", which does not go with {what}: leave one of them out.')
    if rtol is not None and rtol < LEAST_RTOL:
        raise FieldError(
            "rtol",
            f"is {rtol:g}, closer than float32 can follow a flow: use {LEAST_RTOL:g} or more, or "
            'dtype="float64".',
        )
    return SINGLE_RTOL if rtol is None else rtol


def in_single(
    problem: Problem, y0: np.ndarray, rtol: float, exact: np.ndarray | None = None
) -> tuple[Problem, float]:
    """The problem in float32, and the largest relative error of a derivative at the start `y0` (n,).

    Parameters
    ----------
    problem : Problem
        In float64.
    y0 : ndarray, shape (n,)
        The start.
    rtol : float
        The tolerance.
    exact : ndarray, shape (n,), or None
        The derivatives at the start in float64, where they are known.

    Raises
    ------
    FieldError
        If that exceeds `rtol`: numbers below 1e-38 or above 3e38, or what is left of a difference of like ones.
    """
    single = in_single_precision(problem)
    found = rounding_errors(problem, single, y0, exact)
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= rtol:
        raise FieldError(
            "dtype",
            f'is "float32", in which d{worst}/dt at the start is off by {found[worst]:.1g} of its size, more than the '
            f'tolerance {rtol:g}: use dtype="float64".',
        )
    return single, found[worst]


def in_single_end(outcome: Outcome) -> Outcome:
    """The end of a run in float32: where steps became too short, its rounding may be why.

    An error estimate of an explicit step takes the rounding of slopes for an error. It grows with the rates of a stiff
    flow, such as behind a normalisation whose rows are small.
    """
    if outcome.status not in (Status.MAX_STEPS, Status.STEP_UNDERFLOW):
        return outcome
    cure = ' In float32 rounding may hold steps down too: try method="bdf", or dtype="float64".'
    return replace(outcome, detail=outcome.detail + cure)
