"""Single decisions of the explicit loops, to be called from Python: for states that no compiled loop reaches."""

from __future__ import annotations

from typing import Any

from numba import float64, int64, types

from ...kernel.cache import compiled
from . import acceptance, approach, rkc_steps
from .registers import F1, F2, I1, TABLE
from .table_steps import WHOLE

_of: Any = compiled  # what is handed to it below has been through numba once
pause = _of(int64(F1, I1))(acceptance.pause.py_func)
landing = _of(float64(F1, float64))(acceptance.landing.py_func)
settle = _of(int64(F1, I1, F2, *[float64] * 5))(acceptance.settle.py_func)
longest = _of(float64(float64))(rkc_steps.longest.py_func)
number_of_stages = _of(int64(float64, float64))(rkc_steps.number_of_stages.py_func)
coefficients = _of(F2(float64, int64))(rkc_steps.coefficients.py_func)
forms = _of(types.UniTuple(F2, 2)(F2, F1, float64, float64))(approach.forms.py_func)
fit = _of(types.void(WHOLE, float64, float64, TABLE))(approach.fit.py_func)
distance = _of(float64(float64, float64, float64, float64))(approach.distance.py_func)
