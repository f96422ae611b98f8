"""Where autodiff's gradient is rounding: on data on which what it sums up cancels, to leading order or altogether."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...theory.data.dataset import Dataset
from .motion import MeasuredMotion

if TYPE_CHECKING:
    from jaxtyping import Float

DIGITS = 16 * float(np.finfo(float).eps)  # of a gradient whose sum does not cancel: its own rounding
Gradient = Callable[[float, dict[str, np.ndarray]], Mapping[str, np.ndarray]]  # scale, weights -> gradient


def mixed(data: Dataset) -> Dataset:
    """The same sequences with labels of others, so that nothing that labels have in common cancels."""
    labels = np.random.default_rng(len(data.labels)).permutation(data.labels)
    return Dataset(data.sequences, labels, data.d_vocab, weights=data.weights, held_out=data.held_out)


def rounding(
    moving: Sequence[str],
    scales: Sequence[tuple[float, dict[str, np.ndarray]]],
    truth: Gradient,
    general: Gradient,
    motion: MeasuredMotion | None = None,
) -> dict[str, Float[np.ndarray, " k"]]:
    """Relative size of what may be rounding of a gradient, or of what it makes of a motion, at each scale.

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
    found: dict[str, list[float]] = {name: [] for name in moving}
    norm = np.linalg.norm
    for scale, weights in scales:
        here, there = truth(scale, weights), general(scale, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            if motion is None:
                for name in moving:
                    found[name].append(float(DIGITS * norm(there[name]) / norm(here[name])))
            else:
                size = np.array([DIGITS * motion.parts(weights, there)])
                found[motion.name].append(float(motion.relative(size, weights, here)[0]))
    return {name: np.where(np.isfinite(sizes), sizes, np.nan) for name, sizes in found.items()}
