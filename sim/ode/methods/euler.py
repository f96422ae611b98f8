"""Euler's method: with a fixed step equal to the learning rate, on the exact flow, it *is* full-batch gradient descent.

The difference from Heun's method estimates the error, so that it can choose its steps too; between its points the
output is the cubic with the slopes of the flow at both ends.
"""

from __future__ import annotations

import numpy as np

from .tableau import RungeKutta


def _interpolant(theta: np.ndarray) -> np.ndarray:
    """Weights (m, 2) of the stages at fractions `theta` (m,) of the step."""
    x = np.asarray(theta, dtype=np.float64)
    bend = x * x * (x - 1.0)
    return np.stack([x - bend, bend], axis=-1)


EULER = RungeKutta(
    name="euler",
    order=1,
    error_order=2,
    dense_order=1,
    a=np.zeros((1, 1)),
    b=np.ones(1),
    c=np.zeros(1),
    e=np.array([[-0.5, 0.5]]),
    a_extra=np.zeros((0, 2)),
    c_extra=np.zeros(0),
    interpolant=_interpolant,
    reference="Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.1",
)
