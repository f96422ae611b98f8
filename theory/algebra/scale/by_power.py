"""One rule a kind of node for all that is read off an expression by powers of the weight scale eps.

Series, the powers counted in them, what they cost and their first terms differ in what is kept of a term. How those of
an expression follow from those of its parts does not differ: a subclass says how it multiplies, adds and turns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from copy import copy
from functools import partial
from typing import Generic, Self, TypeVar

import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..matrices import diagonal, hadamard, product, transpose
from ..nodes import Matrix, MatrixFunction, matrix_symbols
from ..traversal import Traversal, rule

Kept = TypeVar("Kept")  # of an expression: its terms by power, the powers alone, ..


class ByPower(Traversal, Generic[Kept]):
    """Rules of the nodes that are linear in each of their parts.

    Parameters
    ----------
    weights : collection of MatrixSymbol
        All weights; what holds none is of power 0.
    order : int
        Highest power.
    """

    def __init__(self, weights: Collection[sp.MatrixSymbol], order: int) -> None:
        super().__init__()
        self.weights, self.order = frozenset(weights), order
        self._others: dict[int, Self] = {order: self}

    def __call__(self, node: Matrix) -> Kept:
        """What is kept of an expression; what holds no weight is of power 0, whatever it is made of."""
        if matrix_symbols(node).isdisjoint(self.weights):
            return self.constant(node)
        return super().__call__(node)

    def to(self, order: int) -> Self:
        """The same pass to another order."""
        if order not in self._others:
            other = self._others[order] = copy(self)
            other.known, other.order = {}, order
        return self._others[order]

    @abstractmethod
    def constant(self, node: Matrix) -> Kept:
        """Of what holds no weight."""

    @abstractmethod
    def multiplied(self, factors: Sequence[Matrix], combine: Callable[..., Matrix]) -> Kept:
        """Of a product of expressions; `combine` is the matrix or the Hadamard product."""

    @abstractmethod
    def added(self, terms: Sequence[Kept]) -> Kept:
        """Of a sum."""

    @abstractmethod
    def turned(self, by: Callable[[Matrix], Matrix], kept: Kept) -> Kept:
        """Of a linear function of one expression."""

    @abstractmethod
    def smooth(self, node: MatrixFunction) -> Kept:
        """Of a function of a matrix that has a power series about every point, found from its slope."""

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Kept:
        """All pairs of powers that add up."""
        scalar, factors = node.as_coeff_matrices()
        found = self.multiplied([sp.Identity(node.rows), *factors], product)
        return found if scalar == 1 else self.turned(partial(product, scalar), found)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Kept:
        """The same, entry by entry."""
        return self.multiplied(node.args, hadamard)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Kept:
        """As a product with itself."""
        return self.multiplied([node.base] * int(node.exp), hadamard)

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Kept:
        """Term by term."""
        return self.added([self(term) for term in node.args])

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Kept:
        """Of the part."""
        return self.turned(transpose, self(node.arg))

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Kept:
        """Of the part."""
        return self.turned(diagonal, self(node.args[0]))

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Kept:
        """Of what it is made of, if it is made of other nodes."""
        return self.smooth(node) if node.made_of is None else self(node.made_of)
