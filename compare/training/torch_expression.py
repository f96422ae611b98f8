"""Matrix expressions evaluated by torch, with gradients: what the twin of a user's model runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce

import sympy as sp
import torch
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix
from torch import Tensor

from ...theory.algebra.nodes import Centering, Matrix, RowSoftmax
from ...theory.algebra.sizes import scalar_value
from .torch_function import torch_function


def evaluate(expr: Matrix, values: Mapping[str, Tensor], sizes: Mapping[sp.Symbol, int]) -> Tensor:
    """Value of a matrix expression.

    Parameters
    ----------
    expr : sympy matrix expression
        In the symbols named by `values`.
    values : mapping
        Symbol name -> dense tensor (rows, cols), all of one dtype.
    sizes : mapping
        Symbolic dimension -> number.

    Returns
    -------
    Tensor
        Of the expression's shape.

    Raises
    ------
    TypeError
        If a node has no rule.
    """

    def visit(node: Matrix) -> Tensor:
        return evaluate(node, values, sizes)

    if isinstance(expr, sp.MatrixSymbol):
        return values[expr.name]
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        value = torch.linalg.multi_dot(chain) if len(chain := [visit(f) for f in factors]) > 1 else chain[0]
        return value if scalar == 1 else value * scalar_value(scalar, sizes)
    if isinstance(expr, sp.MatAdd):
        return reduce(torch.add, map(visit, expr.args))
    if isinstance(expr, sp.Transpose):
        return visit(expr.arg).T
    if isinstance(expr, sp.HadamardProduct):
        return reduce(torch.mul, map(visit, expr.args))
    if isinstance(expr, sp.HadamardPower):
        return visit(expr.base) ** int(expr.exp)
    if isinstance(expr, ElementwiseApplyFunction):
        return _function(expr.function)(visit(expr.expr))
    if isinstance(expr, DiagMatrix):
        return torch.diag(visit(expr.args[0]).flatten())
    if isinstance(expr, RowSoftmax):
        scores = visit(expr.args[0])
        return torch.softmax(scores if expr.base is None else scores + visit(expr.base).log(), dim=1)
    return _constant(expr, next(iter(values.values())), sizes)


def _constant(expr: Matrix, like: Tensor, sizes: Mapping[sp.Symbol, int]) -> Tensor:
    rows, cols = (int(scalar_value(s, sizes)) for s in expr.shape)
    if isinstance(expr, sp.OneMatrix):
        return like.new_ones((rows, cols))
    if isinstance(expr, sp.ZeroMatrix):
        return like.new_zeros((rows, cols))
    eye = torch.eye(rows, dtype=like.dtype)
    if isinstance(expr, sp.Identity):
        return eye
    if isinstance(expr, Centering):
        return eye - 1.0 / rows
    raise TypeError(
        f"no torch rule for {type(expr).__name__}; add one to compare/training/torch_expression.py."
    )


@lru_cache(maxsize=64)
def _function(function: sp.Lambda):
    (symbol,) = function.variables
    return torch_function(function.expr, symbol)
