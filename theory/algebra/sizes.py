"""Symbolic dimensions: the value of a scalar, the sizes that arrays give them, and whether matrices fit."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from .nodes import Matrix, matrix_symbols

TERMS = (sp.MatAdd, sp.HadamardProduct)


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


def misfit(expr: Matrix) -> str:
    """Name the first two matrices that do not fit; "" if all do. Sympy takes dimensions of other names for equal."""
    seen: set[sp.Basic] = set()
    stack: list[sp.Basic] = [expr]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack += node.args
        if isinstance(node, (sp.MatMul, *TERMS)):
            parts: list[Any] = [part for part in node.args if getattr(part, "is_Matrix", False)]
            alike = isinstance(node, TERMS)
            for a, b in pairwise(parts):
                if not (_same(a.shape, b.shape) if alike else _same(a.shape[1:], b.shape[:1])):
                    verb = "add or multiply entry by entry" if alike else "multiply"
                    return f"{verb} {a} ({a.rows} x {a.cols}) and {b} ({b.rows} x {b.cols})"
    return ""


def _same(one: Any, other: Any) -> bool:
    """Whether dimensions are equal at all sizes, since equations are evaluated at others than a model's."""
    return all(sp.expand(a - b) == 0 for a, b in zip(one, other, strict=True))
