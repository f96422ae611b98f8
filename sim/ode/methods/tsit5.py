"""Tsit5: the 5(4) pair of Tsitouras with its free interpolant of order 4.

Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
Computers & Mathematics with Applications 62 (2011) 770-775. The tests check every order condition.
"""

from __future__ import annotations

import numpy as np

from .tableau import RungeKutta

_C = np.array([0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0])
_A = np.zeros((6, 6))
_A[1, :1] = [0.161]
_A[2, :2] = [-0.008480655492356989, 0.335480655492357]
_A[3, :3] = [2.8971530571054935, -6.359448489975075, 4.3622954328695815]
_A[4, :4] = [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525]
_A[5, :5] = [
    5.86145544294642,
    -12.92096931784711,
    8.159367898576159,
    -0.071584973281401,
    -0.028269050394068383,
]
_B = np.array(
    [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774]
)
# difference between the solutions of order 5 and 4; the last column belongs to f(t + h, y_new)
_E = np.array(
    [
        [
            -0.00178001105222577714,
            -0.0008164344596567469,
            0.007880878010261995,
            -0.1447110071732629,
            0.5823571654525552,
            -0.45808210592918697,
            1.0 / 66.0,
        ]
    ]
)


def _interpolant(theta: np.ndarray) -> np.ndarray:
    """Weights (m, 7) of the stages at fractions `theta` (m,) of the step."""
    x = np.asarray(theta, dtype=np.float64)
    x2 = x * x
    return np.stack(
        [
            -1.0530884977290216
            * x
            * (x - 1.3299890189751412)
            * (x2 - 1.4364028541716351 * x + 0.7139816917074209),
            0.1017 * x2 * (x2 - 2.1966568338249754 * x + 1.2949852507374631),
            2.490627285651252793 * x2 * (x2 - 2.38535645472061657 * x + 1.57803468208092486),
            -16.54810288924490272 * (x - 1.21712927295533244) * (x - 0.61620406037800089) * x2,
            47.37952196281928122 * (x - 1.203071208372362603) * (x - 0.658047292653547382) * x2,
            -34.87065786149660974 * (x - 1.2) * (x - 0.666666666666666667) * x2,
            2.5 * (x - 1.0) * (x - 0.6) * x2,
        ],
        axis=-1,
    )


TSIT5 = RungeKutta(
    name="tsit5",
    order=5,
    error_order=5,
    dense_order=4,
    a=_A,
    b=_B,
    c=_C,
    e=_E,
    a_extra=np.zeros((0, 7)),
    c_extra=np.zeros(0),
    interpolant=_interpolant,
    reference="Tsitouras, Comput. Math. Appl. 62 (2011) 770",
    safety=0.85,  # with 0.9 the blow-up time of y' = y^2 at rtol 1e-6 is 1.1e-6 off
)
