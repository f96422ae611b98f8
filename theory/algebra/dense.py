"""Matrix expressions evaluated on arrays without holes: one rule a node, for numpy and for torch.

The two libraries share the names of what they compute, so that a rule is written once. Each puts its own in place of
it where it knows better: sparse arrays in `evaluate`, fused functions in `compare.training.torch_expression`. Of the
softmax both do.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, ClassVar

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .nodes import Centering, Matrix, MatrixFunction, RowLogSumExp, RowNorm
from .sizes import scalar_value
from .traversal import Traversal, rule

Array = Any  # of the library, always two-dimensional


class DenseValue(Traversal):
    """Value of an expression, in the arrays of a library.

    Attributes
    ----------
    library : module
        ``numpy`` or ``torch``.
    """

    library: ClassVar[Any]

    def __init__(self, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> None:
        super().__init__()
        self.values, self.sizes = values, sizes

    @abstractmethod
    def filled(self, shape: tuple[int, int], value: float) -> Array:
        """An array of one number."""

    @abstractmethod
    def eye(self, size: int) -> Array:
        """The identity."""

    @abstractmethod
    def entrywise(self, function: sp.Lambda) -> Callable[[Array], Array]:
        """The library's function of arrays."""

    def dense(self, node: Matrix) -> Array:
        """The value as an array without holes."""
        return self(node)

    def number(self, scalar: sp.Expr) -> float:
        """Value of a scalar of numbers and dimensions."""
        return scalar_value(scalar, self.sizes)

    def _shape(self, node: Matrix) -> tuple[int, int]:
        rows, cols = node.shape
        return int(self.number(rows)), int(self.number(cols))

    @rule(sp.MatrixSymbol)
    def symbol(self, node: sp.MatrixSymbol) -> Array:
        """What is given."""
        return self.values[node.name]

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Array:
        """Product, in the cheapest order."""
        scalar, factors = node.as_coeff_matrices()
        chain = list(map(self, factors))
        value = self.library.linalg.multi_dot(chain) if len(chain) > 1 else chain[0]
        return value if scalar == 1 else value * self.number(scalar)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Array:
        """Sum."""
        return reduce(operator.add, map(self.dense, node.args))

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Array:
        """Transpose."""
        return self(node.arg).T

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Array:
        """Product, entry by entry."""
        return reduce(operator.mul, map(self, node.args))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Array:
        """Power, entry by entry."""
        return self(node.base) ** int(node.exp)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Array:
        """A function of one variable, entry by entry."""
        return self.entrywise(node.function)(self.dense(node.expr))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Array:
        """A column as a diagonal."""
        return self.library.diag(self.dense(node.args[0]).flatten())

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Array:
        """What it is made of."""
        return self(self.made_of(node))

    @rule(RowLogSumExp)
    def log_sum_exp(self, node: RowLogSumExp) -> Array:
        """Of every row, counted from its largest entry."""
        x = self.dense(node.args[0])
        top = self.library.amax(x, axis=1, keepdims=True)
        return self.library.log(self.library.exp(x - top).sum(axis=1, keepdims=True)) + top

    @rule(RowNorm)
    def norm(self, node: RowNorm) -> Array:
        """Every row over its root mean square."""
        x = self.dense(node.args[0])
        return x / self.library.sqrt((x * x).mean(axis=1, keepdims=True) + float(node.eps))

    @rule(sp.OneMatrix)
    def ones(self, node: sp.OneMatrix) -> Array:
        """All ones."""
        return self.filled(self._shape(node), 1.0)

    @rule(sp.ZeroMatrix)
    def zeros(self, node: sp.ZeroMatrix) -> Array:
        """All zeros."""
        return self.filled(self._shape(node), 0.0)

    @rule(sp.Identity)
    def identity(self, node: sp.Identity) -> Array:
        """The identity."""
        return self.eye(self._shape(node)[0])

    @rule(Centering)
    def centering(self, node: Centering) -> Array:
        """The projector that takes means away."""
        size = self._shape(node)[0]
        return self.eye(size) - 1.0 / size
