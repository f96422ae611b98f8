"""Derivatives of a flow by numpy: of one state, where to compile what would compute them takes longer."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ...theory.algebra.evaluate import evaluate_all
from ...theory.base.arrays import full_array
from ..compile.compiler import flow_parts

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow
    from ..kernel.problem import Problem

# Numbers of an array that numpy makes and a table need not, and of a table's memory: one evaluation takes a few
# hundredths of a second then. Such an array is as large as a data matrix with all its zeros: the logits of all rows, or
# what every position could see of every other, of all sequences.
SMALL = 2**20


def derivatives(
    flow: Flow, data: Dataset, weights: Mapping[str, np.ndarray], problem: Problem
) -> np.ndarray | None:
    """dW/dt of a compiled flow in float64, laid out as a state (n,); None where it is too large for numpy.

    Parameters
    ----------
    flow : Flow
        The derived equations.
    data : Dataset
        What `problem` was compiled on.
    weights : dict
        Validated weights.
    problem : Problem
        The same flow on the same data, which says how a state is laid out.
    """
    sides, values, sizes = flow_parts(flow, data, problem.layout)
    if max(problem.work.size, *(prod(value.shape) for value in values.values())) > SMALL:
        return None
    with np.errstate(all="ignore"):  # what is no number stays none
        found = evaluate_all(sides, values | dict(weights), sizes)
    return problem.pack({name: full_array(found[name]) for name in problem.layout})
