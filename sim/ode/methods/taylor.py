"""Taylor: the series of the solution itself, for polynomial flows of small states.

A. Jorba, M. Zou, A software package for the numerical integration of ODEs by means of high-order Taylor methods,
Experimental Mathematics 14 (2005) 99-117: order from the tolerance, step from the last two coefficients. The loop is in
`smallinit.sim.ode.taylor.series_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """A method whose order follows from the tolerance, or is given.

    Attributes
    ----------
    name, reference : str
        As in `Method`.
    fixed_order : int or None
        Order of the series; None takes it from `rtol`.

    Raises
    ------
    ValueError
        If `fixed_order` is not within [2, 60].
    """

    name: str = "taylor"
    reference: str = "Jorba, Zou, Exp. Math. 14 (2005) 99"
    fixed_order: int | None = None

    def __post_init__(self) -> None:
        """Refuse orders that are none."""
        order = self.fixed_order
        if order is not None and not (isinstance(order, int) and 2 <= order <= 60):
            raise ValueError(f"`fixed_order` must be an integer from 2 to 60 or None, got {order!r}.")

    def order(self, rtol: float) -> int:
        """Order for a relative tolerance: a term less costs more in steps than it saves."""
        return self.fixed_order or max(4, math.ceil(3.0 - 0.5 * math.log(max(rtol, 1e-16))))


TAYLOR = Series()
