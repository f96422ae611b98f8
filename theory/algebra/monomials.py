"""Sums of monomials: a form of matrix expressions in which equal ones look equal, for proofs that a sum cancels.

It goes further than `distribute`, which derivations are printed in: powers and polynomials of sums are multiplied out
too, diagonal factors leave Hadamard products on both sides and merge. Functions and softmaxes stay whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product as choices
from math import prod

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from .matrices import diagonal, hadamard, hadamard_power, product, split, total, transpose
from .nodes import Matrix, MatrixFunction, RowSoftmax
from .rebuild import Rebuild
from .traversal import rule

LONGEST = 10_000  # terms that one pass may form


class TooLongError(ArithmeticError):
    """Multiplying out takes more terms than a proof is worth."""


class Monomials(Rebuild):
    """A pass that brings expressions to sums of monomials; a ZeroMatrix if everything cancels.

    Parameters
    ----------
    ones : dict, optional
        Facts about data: a matrix of data -> another, which is 1 wherever the first is not 0.
    powers : bool
        Whether powers and polynomials of sums are multiplied out as well; else they stay whole.

    Raises
    ------
    TooLongError
        When called, once more than `LONGEST` terms have been formed.
    """

    purpose = "multiplying out to monomials"

    def __init__(self, ones: Mapping[Matrix, Matrix] | None = None, powers: bool = True) -> None:
        super().__init__()
        ones = dict(ones or {})
        self.ones = ones | {transpose(data): transpose(one) for data, one in ones.items()}
        self.powers, self.formed = powers, 0

    @rule(MatrixFunction)
    def own(self, node: MatrixFunction) -> Matrix:
        """Softmaxes and the like stay whole."""
        return node

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        """Every choice of one term a factor."""
        scalar, factors = node.as_coeff_matrices()
        return self._spread(factors, lambda *chosen: merged(product(scalar, *chosen)))

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        """The same, entry by entry."""
        return self._spread(node.args, self._entrywise)

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        """A product of equal factors."""
        if not self.powers or not (node.exp.is_Integer and node.exp > 0):
            return node
        return self._spread([node.base] * int(node.exp), self._entrywise)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        """A polynomial becomes a sum of powers, a multiple of any power that power."""
        (symbol,), body = node.function.variables, node.function.expr
        factor, power = body.as_independent(symbol)
        if power.is_Pow and power.base == symbol and not power.exp.is_Integer:
            return product(factor, hadamard_power(node.expr, power.exp))
        if not self.powers or not body.is_polynomial(symbol):
            return node
        terms = sp.Poly(body, symbol).terms()
        powers = [product(c, self(hadamard_power(node.expr, sp.Integer(i)))) for (i,), c in terms]
        return total(*powers)

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Matrix:
        """A sum of diagonals."""
        return total(*(merged(diagonal(t)) for t in _terms(self(node.args[0]))))

    def _spread(self, factors: Iterable[Matrix], combine: Callable[..., Matrix]) -> Matrix:
        sums = [_terms(self(f)) for f in factors]
        self.formed += prod(map(len, sums))
        if self.formed > LONGEST:
            raise TooLongError(f"multiplying out takes more than {LONGEST} terms.")
        return total(*(combine(*chosen) for chosen in choices(*sums)))

    def _entrywise(self, *factors: Matrix) -> Matrix:
        """Hadamard product of monomials: diagonal factors leave it on both sides, and u v^T = diag(u) 1 1^T diag(v)."""
        left, right, cores = [], [], []
        for scalar, chain in map(split, factors):
            before, core, after = _stripped(chain)
            left, right = [*left, *before], [*after, *right]
            cores.append((scalar, core))
        known = [self.ones[s] for s in (_support(core) for _, core in cores) if s in self.ones]
        kept = [product(c, sp.OneMatrix(*x.shape) if x in known else x) for c, x in cores]
        return merged(product(*left, hadamard(*kept), *right))


def _support(core: Matrix) -> Matrix | None:
    """A matrix that is 0 wherever this one is: the base measure of a softmax, else itself."""
    if isinstance(core, sp.Transpose) and isinstance(core.arg, RowSoftmax):
        return None if core.arg.base is None else transpose(core.arg.base)
    return core.base if isinstance(core, RowSoftmax) else core


def _stripped(chain: list[Matrix]) -> tuple[list[Matrix], Matrix, list[Matrix]]:
    """A chain as diagonals, what stands between them, diagonals."""
    thin = [i for i in range(1, len(chain)) if chain[i].rows == 1]
    if thin and product(*chain).cols != 1 and chain[0].rows != 1:
        u, v = product(*chain[: thin[0]]), transpose(product(*chain[thin[0] :]))
        return [diagonal(u)], sp.OneMatrix(u.rows, v.rows), [diagonal(v)]
    left, right = [], []
    while len(chain) > 1 and isinstance(chain[0], DiagMatrix):
        left.append(chain.pop(0))
    while len(chain) > 1 and isinstance(chain[-1], DiagMatrix):
        right.insert(0, chain.pop())
    return left, product(*chain), right


def merged(term: Matrix) -> Matrix:
    """A product in which no rule applies any more.

    Those of `product`; diag(u) diag(v) = diag(u o v); diag(1) = I; and diag(u) v = u o v for a column v.
    """
    while True:
        scalar, chain = split(term)
        again = product(scalar, *_joined(chain))
        if again == term:
            return term
        term = again


def _joined(chain: list[Matrix]) -> list[Matrix]:
    out: list[Matrix] = []
    for factor in reversed(chain):
        if isinstance(factor, DiagMatrix) and isinstance(factor.args[0], sp.OneMatrix):
            continue
        if out and isinstance(factor, DiagMatrix) and isinstance(out[0], DiagMatrix):
            out[0] = diagonal(hadamard(factor.args[0], out[0].args[0]))
        elif out and isinstance(factor, DiagMatrix) and out[-1].cols == 1:
            out = [hadamard(factor.args[0], product(*out))]
        else:
            out.insert(0, factor)
    return out or [sp.Identity(chain[0].rows)]


def _terms(expr: Matrix) -> tuple[Matrix, ...]:
    return expr.args if isinstance(expr, sp.MatAdd) else (expr,)
