"""The contract of right-hand sides that every method relies on, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import real_array
from ...theory.base.validate import kind_of, real
from ...theory.flows.flow import Flow
from ..kernel.problem import NO_SLOPE, Problem, entries

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow


def check_flow(
    flow: Flow | Problem, start: Mapping[str, Any] | np.ndarray, data: Dataset | None = None, t: float = 0.0
) -> None:
    """Check a flow, or a `Problem` of one's own, before it is integrated.

    A right-hand side must write every entry of its result, whatever was there before, change neither the state nor its
    data, give the same bits for the same state, and be finite at the start. What breaks this makes methods
    fail late and strangely.

    Parameters
    ----------
    flow : Flow or Problem
        What is to be integrated.
    start : dict or ndarray
        Weights of a flow, or the flat state (n,) of a problem.
    data : Dataset, optional
        Training data of a flow.
    t : float
        Flow time of the check.

    Raises
    ------
    ValueError
        Naming the first rule that is broken, and where.
    """
    problem, y, t = *_prepared(flow, start, data), real("t", t)
    floats, ints, before = problem.floats.copy(), problem.ints.copy(), y.copy()
    problem.try_out(t, y)
    if missed := problem.unwritten(t, y):
        raise ValueError(f"the right-hand side leaves {missed} of `out` unwritten: it must write every one.")
    first, second = np.full(problem.n, NO_SLOPE), np.zeros(problem.n)
    problem(t, y, first)
    if (changed := np.flatnonzero(y != before)).size:
        raise ValueError(
            f"the right-hand side changes {entries(changed)} of the state `y`: it must only read it."
        )
    if not (np.array_equal(floats, problem.floats) and np.array_equal(ints, problem.ints)):
        raise ValueError("the right-hand side changes its data `floats` or `ints`: it must only read them.")
    if (bad := np.flatnonzero(~np.isfinite(first))).size:
        raise ValueError(
            f"the right-hand side is nan or inf at {entries(bad)} at the start: check `start` and the data."
        )
    problem.work[:] = NO_SLOPE
    problem(t, y, second)
    if (other := np.flatnonzero(first != second)).size:
        raise ValueError(
            f"the right-hand side gives other numbers at {entries(other)} when it is called again: it must depend on "
            "nothing but t, y and its data."
        )


def _prepared(flow: Any, start: Any, data: Any) -> tuple[Problem, np.ndarray]:
    if isinstance(flow, Problem):
        y = real_array("start", start, finite=False)
        if y.shape != (flow.n,):
            raise ValueError(f"`start` must have shape ({flow.n},) for this problem, got {y.shape}.")
        return replace(flow, work=flow.work.copy()), y
    kind_of("flow", flow, Flow, "`derive` makes one")
    if data is None:
        raise ValueError("`data` must be given with a flow: its equations hold statistics of the data.")
    from ..compile.compiler import compile_flow

    weights = flow.model.validate(start)
    problem = compile_flow(flow, data, weights)
    return problem, problem.pack(weights)
