"""Numbers for symbolic dimensions: the value of a scalar, and the sizes of the dimensions that arrays fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from .nodes import Matrix, matrix_symbols


def scalar_value(expr: sp.Expr, sizes: Mapping[sp.Symbol, int]) -> float:
    """Value of a scalar made of numbers and dimensions (sympy's `subs` does this at thirty times the cost)."""
    expr = sp.sympify(expr)
    return float(expr if expr.is_Number else expr.xreplace(sizes))


def dimension_sizes(expr: Matrix, values: Mapping[str, Any]) -> dict[sp.Symbol, int]:
    """Symbolic dimension -> number, read off the shapes of the named arrays that stand in an expression."""
    return {
        d: int(size)
        for s in matrix_symbols(expr)
        if s.name in values
        for d, size in zip(s.shape, np.shape(values[s.name]), strict=True)
        if isinstance(d, sp.Symbol)
    }
