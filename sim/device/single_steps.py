"""Single decisions of the explicit loops, to be called from Python: for states that no compiled loop reaches."""

from __future__ import annotations

from typing import Any

from numba import float64, int64

from ..kernel.cache import compiled
from ..ode.explicit import acceptance, approach
from ..ode.explicit.registers import F1, F2, I1

_of: Any = compiled  # what is handed to it below has been through numba once
pause = _of(int64(F1, I1))(acceptance.pause.py_func)
landing = _of(float64(F1, float64))(acceptance.landing.py_func)
settle = _of(int64(F1, I1, F2, *[float64] * 5))(acceptance.settle.py_func)
distance = _of(float64(*[float64] * 6))(approach.distance.py_func)
