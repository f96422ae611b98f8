"""Matrix expressions evaluated by torch, with gradients: what the twin of a user's model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import sympy as sp
import torch
from torch import Tensor

from ...theory.algebra.dense import DenseValue
from ...theory.algebra.nodes import Matrix, RowLogSumExp, RowNorm, RowSoftmax
from ...theory.algebra.traversal import rule
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


class _TorchValue(DenseValue):
    """By torch; its fused functions are quicker, and so are their gradients."""

    purpose = "evaluation by torch"
    library = torch

    def __init__(self, values: Mapping[str, Tensor], sizes: Mapping[sp.Symbol, int]) -> None:
        super().__init__(values, sizes)
        self.like = next(iter(values.values()))

    def filled(self, shape: tuple[int, int], value: float) -> Tensor:
        """A tensor of one number."""
        return self.like.new_full(shape, value)

    def eye(self, size: int) -> Tensor:
        """The identity."""
        return torch.eye(size, dtype=self.like.dtype, device=self.like.device)

    def entrywise(self, function: sp.Lambda) -> Callable[[Tensor], Tensor]:
        """A function of tensors."""
        return _function(function)

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


@lru_cache(maxsize=64)
def _function(function: sp.Lambda) -> Callable[[Tensor], Tensor]:
    (symbol,) = function.variables
    return torch_function(function.expr, symbol)
