"""How much of autodiff's gradient may be rounding: on data where its sum cancels, to leading order or altogether."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...theory.data.dataset import Dataset
from .motion import MeasuredMotion, Weights

if TYPE_CHECKING:
    from jaxtyping import Float

DIGITS = 16 * float(np.finfo(float).eps)  # relative rounding of a gradient whose sum does not cancel
Gradient = Callable[[float, dict[str, np.ndarray]], Mapping[str, np.ndarray]]  # scale, weights -> gradient


def mixed(data: Dataset) -> Dataset:
    """The same sequences with their labels shuffled, so that what cancels by the labels does so no longer."""
    labels = np.random.default_rng(len(data.labels)).permutation(data.labels)
    return Dataset(data.sequences, labels, data.d_vocab, weights=data.weights, held_out=data.held_out)


def rounding(
    moving: Sequence[str],
    scales: Sequence[tuple[float, dict[str, np.ndarray]]],
    truth: Gradient,
    general: Gradient,
    motion: MeasuredMotion | None = None,
) -> dict[str, Float[np.ndarray, " k"]]:
    """Relative size of what may be rounding of a gradient, or of what a motion makes of it, at each scale.

    Parameters
    ----------
    moving : sequence of str
        The weights, or the name of the motion.
    scales : sequence
        Scales, with the weights at each.
    truth, general : callable
        Gradients on the data and on those with labels `mixed`, whose terms are as large and do not cancel.
    motion : MeasuredMotion, optional
        Something of the weights whose errors these are.

    Returns
    -------
    dict
        Name -> size at each scale, (k,); nan where there is no gradient.
    """
    rows = []
    for scale, weights in scales:
        here, there = truth(scale, weights), general(scale, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append(
                _of_weights(moving, here, there)
                if motion is None
                else _of_motion(motion, weights, here, there)
            )
    sizes = {name: np.array([row[name] for row in rows]) for name in moving}
    return {name: np.where(np.isfinite(size), size, np.nan) for name, size in sizes.items()}


def _of_weights(names: Sequence[str], here: Weights, there: Weights) -> dict[str, float]:
    norm = np.linalg.norm
    return {name: float(DIGITS * norm(there[name]) / norm(here[name])) for name in names}


def _of_motion(motion: MeasuredMotion, weights: Weights, here: Weights, there: Weights) -> dict[str, float]:
    size = np.array([DIGITS * motion.parts(weights, there)])
    return {motion.name: float(motion.relative(size, weights, here)[0])}
