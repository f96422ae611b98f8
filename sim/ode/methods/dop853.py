"""DOP853: the 8(5,3) method of Dormand and Prince as coded by Hairer, with dense output of order 7.

E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, sections II.5, II.6 and
II.10. The table is read from the public attributes of `scipy.integrate.DOP853`; the tests check every order
condition.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import DOP853 as _SCIPY

from .tableau import RungeKutta

_S = 12
_B = np.asarray(_SCIPY.B, dtype=np.float64)
_A_EXTRA = np.asarray(_SCIPY.A_EXTRA, dtype=np.float64)
_WIDTH = _A_EXTRA.shape[1]


def _interpolant_rows() -> np.ndarray:
    """Write the seven coefficients F of Hairer's dense output as weights (7, 16) of the stages."""
    rows = np.zeros((7, _WIDTH))
    first, last = np.eye(_WIDTH)[0], np.eye(_WIDTH)[_S]
    rows[0, :_S] = _B  # (y_new - y) / h
    rows[1] = first - rows[0]
    rows[2] = 2.0 * rows[0] - first - last
    rows[3:] = _SCIPY.D
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
    a=np.asarray(_SCIPY.A[:_S, :_S], dtype=np.float64),
    b=_B,
    c=np.asarray(_SCIPY.C[:_S], dtype=np.float64),
    e=np.vstack([_SCIPY.E5, _SCIPY.E3]).astype(np.float64),
    a_extra=_A_EXTRA,
    c_extra=np.asarray(_SCIPY.C_EXTRA, dtype=np.float64),
    interpolant=_interpolant,
    reference="Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.10",
)
