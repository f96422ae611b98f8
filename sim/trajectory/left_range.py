"""Whether a theory trajectory stays where its closure's truncated functions are good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...theory.base.arrays import full_array
from ...theory.flows.ranges import Range, ranges
from ..compile.logits import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...theory.models.model import Model
    from .trajectory import Trajectory

SAMPLE = 512  # training sequences on which sizes are taken


def excursions(trajectory: Trajectory) -> dict[str, np.ndarray]:
    """Largest arguments of the truncated functions over time, in units of their range (1 is its edge).

    Taken over all training sequences, or over 512 evenly spaced ones if there are more.

    Parameters
    ----------
    trajectory : Trajectory
        With model and data.

    Returns
    -------
    dict
        "pre-activations", "scores", "logits" -> (n_t,); only what the closure truncates.

    Raises
    ------
    ValueError
        If the trajectory lacks its model or data.
    """
    model, data = trajectory.model_and_data()
    rows = np.flatnonzero(~data.held_out)
    rows = rows[:: -(-len(rows) // SAMPLE)]
    matrices = model.inputs(data.sequences[rows])
    sizes: dict[str, np.ndarray] = {}
    for found in ranges(model, trajectory.closure):
        states = ({name: w[i] for name, w in trajectory.weights.items()} for i in range(len(trajectory)))
        size = np.array([_largest(found, model, now, matrices) for now in states]) / found.limit
        sizes[found.what] = np.maximum(size, sizes.get(found.what, 0.0))
    return sizes


def _largest(found: Range, model: Model, weights: Mapping[str, np.ndarray], matrices: Mapping) -> float:
    bases = found.bases or (None,) * len(found.expressions)
    largest = 0.0
    for expr, base in zip(found.expressions, bases, strict=True):
        x = full_array(value(expr, model, weights, matrices))
        if base is not None:  # a softmax does not see what all scores of a row have in common
            share = full_array(value(base, model, weights, matrices))
            x = np.where(share > 0.0, x - np.sum(share * x, axis=1, keepdims=True), 0.0)
        elif found.what == "logits":
            x = x - x.mean(axis=1, keepdims=True) if x.shape[1] > 1 else x
        largest = max(largest, float(np.abs(x).max(initial=0.0)))
    return largest
