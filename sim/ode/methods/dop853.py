"""DOP853: the 8(5,3) method of Dormand and Prince as coded by Hairer, with dense output of order 7.

E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, sections II.5, II.6 and
II.10.
"""

from __future__ import annotations

import numpy as np

from . import dop853_table as table
from .tableau import RungeKutta

_S, _WIDTH = table.B.size, table.A_EXTRA.shape[1]


def _interpolant_rows() -> np.ndarray:
    """Write the seven coefficients F of Hairer's dense output as weights (7, 16) of the stages."""
    rows = np.zeros((7, _WIDTH))
    first, last = np.eye(_WIDTH)[0], np.eye(_WIDTH)[_S]
    rows[0, :_S] = table.B  # (y_new - y) / h
    rows[1] = first - rows[0]
    rows[2] = 2.0 * rows[0] - first - last
    rows[3:] = table.D
    return rows


_ROWS = _interpolant_rows()


def _interpolant(theta: np.ndarray) -> np.ndarray:
    """Weights (m, 16) of the stages at fractions `theta` (m,) of the step."""
    x = np.asarray(theta, dtype=np.float64)
    # F_0 x + F_1 x (1-x) + F_2 x^2 (1-x) + F_3 x^2 (1-x)^2 + ...: one more factor, in turn x and 1 - x
    factors = [x if i % 2 == 0 else 1.0 - x for i in range(len(_ROWS))]
    return np.cumprod(np.stack(factors, axis=-1), axis=-1) @ _ROWS


DOP853 = RungeKutta(
    name="dop853",
    order=8,
    error_order=8,
    dense_order=7,
    a=table.A,
    b=table.B,
    c=table.C,
    e=table.E,
    a_extra=table.A_EXTRA,
    c_extra=table.C_EXTRA,
    interpolant=_interpolant,
    reference="Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.10",
)
