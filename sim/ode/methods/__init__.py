"""The methods that `solve` knows by name."""

from __future__ import annotations

from .dop853 import DOP853 as DOP853
from .euler import EULER as EULER
from .rkc import RKC as RKC
from .rkc import Stabilised as Stabilised
from .tableau import Method as Method
from .taylor import TAYLOR as TAYLOR
from .taylor import Series as Series
from .tsit5 import TSIT5 as TSIT5

AnyMethod = Method | Stabilised | Series

METHODS: dict[str, AnyMethod] = {method.name: method for method in (TSIT5, DOP853, RKC, EULER, TAYLOR)}


def find_method(method: str | AnyMethod | None, rtol: float) -> AnyMethod:
    """Return the method meant by `method`; None takes order 8 for tight tolerances, order 5 for loose ones.

    Raises
    ------
    ValueError
        If there is no method of that name.
    """
    if method is None:
        return default_method(rtol)
    if isinstance(method, AnyMethod):
        return method
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)} or None, got {method!r}.")
    return METHODS[method]


def default_method(rtol: float) -> Method:
    """Explicit method for a tolerance."""
    return DOP853 if rtol <= 1e-6 else TSIT5
