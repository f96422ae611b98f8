"""Single decisions of the explicit loops, to be called from Python: for states that no compiled loop reaches."""

from __future__ import annotations

from typing import Any

from numba import float64, int64, types

from ..kernel.cache import compiled
from ..ode.explicit import acceptance, approach, pole_rows
from ..ode.explicit.registers import F1, F2, I1, TABLE


def alone(signature: Any, part: Any) -> Any:
    """A part of compiled loops, compiled once more as a function that Python can call."""
    return compiled(signature)(part.py_func)


pause = alone(int64(F1, I1), acceptance.pause)
landing = alone(float64(F1, float64), acceptance.landing)
settle = alone(int64(F1, I1, F2, *[float64] * 5), acceptance.settle)
distance = alone(float64(*[float64] * 6), approach.distance)
write_rows = alone(
    types.void(types.Tuple((F2, F2, F1)), float64, float64, TABLE, F2, F2), pole_rows.write_rows
)
