"""The methods that `solve` knows by name; a further one is a `Method` in a module here, and its entry in this list."""

from __future__ import annotations

from ....theory.base.errors import FieldError
from ....theory.base.names import known_elsewhere
from ....theory.base.validate import choice
from .bdf import BDF as BDF
from .dop853 import DOP853 as DOP853
from .euler import EULER as EULER
from .method import Method as Method
from .rkc import RKC as RKC
from .tableau import RungeKutta
from .taylor import TAYLOR as TAYLOR
from .tsit5 import TSIT5 as TSIT5

METHODS: dict[str, Method] = {method.name: method for method in (TSIT5, DOP853, RKC, BDF, EULER, TAYLOR)}


def find_method(method: str | Method | None, rtol: float) -> Method:
    """Return the method meant by `method`; None takes order 8 for tight tolerances, order 5 for loose ones.

    Raises
    ------
    ValueError
        If there is no method of that name; for one of another package it says which of ours does the same.
    """
    if method is None:
        return default_method(rtol)
    if isinstance(method, Method):
        return method
    if ours := known_elsewhere(method):
        raise FieldError("method", f"{method!r} is unknown: {ours}.")
    return METHODS[choice("method", method, METHODS)]


def default_method(rtol: float) -> RungeKutta:
    """Explicit method for a tolerance."""
    return DOP853 if rtol <= 1e-6 else TSIT5
