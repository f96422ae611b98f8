"""Matrix expressions evaluated by torch, with gradients: what the twin of a user's model runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce

import sympy as sp
import torch
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix
from torch import Tensor

from ...theory.algebra.nodes import Centering, Matrix, RowLogSumExp, RowNorm, RowSoftmax
from ...theory.algebra.sizes import scalar_value
from ...theory.algebra.traversal import Traversal, rule
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
    UnknownNodeError
        If a node has no rule.
    """
    return _TorchValue(values, sizes)(expr)


class _TorchValue(Traversal):
    purpose = "evaluation by torch"

    def __init__(self, values: Mapping[str, Tensor], sizes: Mapping[sp.Symbol, int]) -> None:
        super().__init__()
        self.values, self.sizes, self.like = values, sizes, next(iter(values.values()))

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> Tensor:
        return self.values[node.name]

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Tensor:
        scalar, factors = node.as_coeff_matrices()
        chain = list(map(self, factors))
        value = torch.linalg.multi_dot(chain) if len(chain) > 1 else chain[0]
        return value if scalar == 1 else value * scalar_value(scalar, self.sizes)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Tensor:
        return reduce(torch.add, map(self, node.args))

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Tensor:
        return self(node.arg).T

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Tensor:
        return reduce(torch.mul, map(self, node.args))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Tensor:
        return self(node.base) ** int(node.exp)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Tensor:
        return _function(node.function)(self(node.expr))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Tensor:
        return torch.diag(self(node.args[0]).flatten())

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Tensor:
        scores = self(node.args[0])
        return torch.softmax(scores if node.base is None else scores + self(node.base).log(), dim=1)

    @rule(RowLogSumExp)
    def log_sum_exp(self, node: RowLogSumExp) -> Tensor:
        return torch.logsumexp(self(node.args[0]), dim=1, keepdim=True)

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Tensor:
        x = self(node.args[0])
        return torch.nn.functional.rms_norm(x, x.shape[1:], eps=float(node.eps))

    @rule(sp.OneMatrix)
    def ones(self, node: sp.OneMatrix) -> Tensor:
        return self.like.new_ones(self._shape(node))

    @rule(sp.ZeroMatrix)
    def zeros(self, node: sp.ZeroMatrix) -> Tensor:
        return self.like.new_zeros(self._shape(node))

    @rule(sp.Identity)
    def identity(self, node: sp.Identity) -> Tensor:
        return torch.eye(self._shape(node)[0], dtype=self.like.dtype, device=self.like.device)

    @rule(Centering)
    def centering(self, node: Centering) -> Tensor:
        size = self._shape(node)[0]
        return torch.eye(size, dtype=self.like.dtype, device=self.like.device) - 1.0 / size

    def _shape(self, node: Matrix) -> tuple[int, int]:
        rows, cols = (int(scalar_value(s, self.sizes)) for s in node.shape)
        return rows, cols


@lru_cache(maxsize=64)
def _function(function: sp.Lambda):
    (symbol,) = function.variables
    return torch_function(function.expr, symbol)
