"""A closure's compiled right-hand side wrapped as the flow of an optimizer: weights and moments over steps."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..kernel.alignment import aligned
from ..kernel.problem import Problem
from ..ode.explicit.registers import address_of
from .optimizer import GD, AdamW, Momentum, Optimizer, SignGD, Spectral
from .schedule import Clock


def step_problem(problem: Problem, optimizer: Optimizer, clock: Clock, units: np.ndarray) -> Problem:
    """Wrap a right-hand side.

    Parameters
    ----------
    problem : Problem
        Minus the gradient of a closure.
    optimizer : Optimizer
        What moves its weights.
    clock : Clock
        Rates of the run, of one step at least.
    units : ndarray, shape (weights, 2)
        The state holds moments divided by these, for a tolerance of the weights must suit them.

    Returns
    -------
    Problem
        Of the weights and, in one block each, their moments; time counts steps.
    """
    numbers = optimizer.of_weights((*problem.layout, *problem.frozen))
    kind, three = _kind(optimizer)
    weights = [(low, low + prod(shape), shape[0], prod(shape[1:])) for low, shape in problem.layout.values()]
    head = [kind, address_of(problem.rhs), problem.n, len(problem.work), len(weights), len(clock.rates)]
    paces = [(*numbers[name], *unit) for name, unit in zip(problem.layout, units, strict=True)]
    ends = [len(problem.floats), len(problem.ints)]
    moments = {m: (problem.n * (1 + i), (problem.n, 1)) for i, m in enumerate(optimizer.moments)}
    return replace(
        problem,
        rhs=_right_hand_side(kind),
        layout={**problem.layout, **{f"moment {m}": place for m, place in moments.items()}},
        floats=np.concatenate([problem.floats, three, np.ravel(paces), clock.parabolas().ravel()]),
        ints=np.concatenate([problem.ints, head, np.ravel(weights), ends]).astype(np.int64),
        work=aligned(len(problem.work) + problem.n),
        notes={},
    )


def _kind(o: Optimizer) -> tuple[int, tuple[float, float, float]]:
    """Which rule a kernel is to follow, and the optimizer's numbers."""
    from . import _smooth as kernels  # compiled for those who ask

    if isinstance(o, GD):
        return kernels.GD, (0.0, 0.0, 0.0)
    if isinstance(o, Momentum):
        return (kernels.NESTEROV if o.nesterov else kernels.MOMENTUM), (o.momentum, 0.0, 0.0)
    if isinstance(o, AdamW):
        return kernels.ADAM, (*o.betas, o.eps)
    if isinstance(o, SignGD):
        return kernels.SIGN, (0.0, 0.0, o.eps)
    if isinstance(o, Spectral):
        return kernels.POLAR, (o.momentum, 0.0, o.eps)
    raise TypeError(f"no flow for {type(o).__name__}; add one to sim/optimizers/_smooth.py.")


def _right_hand_side(kind: int):
    from . import _smooth as kernels

    if kind != kernels.POLAR:
        return kernels.elementwise
    from ._smooth_polar import polar

    return polar
