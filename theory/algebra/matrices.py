"""Matrix expressions in a canonical form: constructors that simplify as they build.

Sympy's own ``doit`` rewrites matrix products slowly and not to one normal form; derivations here compare
expressions by structure, so every product, sum, transpose and Hadamard product is built by these functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..base.validate import is_real
from .nodes import (
    Centering,
    HeadSymbol,
    Matrix,
    MatrixFunction,
    RowSoftmax,
    StochasticSymbol,
    check_matrix,
    shared,
)
from .scalars.activations import Activation
from .traversal import Traversal, rule

# Factors that may merge with what stands before them.
_MERGED = (sp.OneMatrix, Centering, DiagMatrix, HeadSymbol)


Term = tuple[sp.Expr, tuple[Matrix, ...], Matrix]  # coefficient, factors, and what they are together


# The passes over one flow, and flows of like models, build the same nodes from the same parts many times.
_latest = partial(lru_cache, typed=True)  # 2 and 2.0 are not the same factor


@_latest(maxsize=2**15)
def product(*factors: sp.Expr) -> Matrix:
    """Flat product of scalars and matrices; knows Pi 1 = 0, row sums of stochastic matrices, diag(u) 1 = u."""
    scalar, chain, last = sp.S.One, [], None
    for factor in factors:
        coefficient, matrices = split(factor)
        scalar = _times(scalar, coefficient)
        for last in matrices:
            scalar = _times(scalar, _append(chain, last))
    if not chain:  # nothing but identities
        size = sp.S.One if last is None else last.cols
        if scalar == 0:
            return sp.ZeroMatrix(size, size)
        return sp.Identity(size) if scalar == 1 else shared(sp.MatMul, scalar, sp.Identity(size))
    if scalar is sp.S.One:
        return chain[0] if len(chain) == 1 else shared(sp.MatMul, *chain)
    if scalar is sp.S.Zero or scalar == 0:
        return sp.ZeroMatrix(chain[0].rows, chain[-1].cols)
    return shared(sp.MatMul, scalar, *chain)


def _times(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """The product of two scalars, of which most are one."""
    if b is sp.S.One:
        return a
    return b if a is sp.S.One else a * b


def split(expr: sp.Expr) -> tuple[sp.Expr, list[Matrix]]:
    """Scalar coefficient and list of matrix factors of a term."""
    if not getattr(expr, "is_Matrix", False):
        return sp.sympify(expr), []
    if isinstance(expr, sp.MatMul):
        scalar, *matrices = expr.args
        if scalar.is_Matrix:
            scalar, matrices = sp.S.One, [scalar, *matrices]
        if all([m.is_Matrix for m in matrices]):
            return scalar, matrices
        scalar, matrices = expr.as_coeff_matrices()  # of a user, who may write A 2 B
        return scalar, list(matrices)
    if isinstance(expr, sp.ZeroMatrix):
        return sp.S.Zero, [expr]
    return sp.S.One, [expr]


def _append(chain: list[Matrix], matrix: Matrix) -> sp.Expr:
    """Append a factor in place, merging it with the last one where a rule says so; returns the scalar released."""
    if isinstance(matrix, sp.Identity) or (isinstance(matrix, sp.OneMatrix) and matrix.shape == (1, 1)):
        return sp.S.One
    if not chain:
        chain.append(matrix)
        return sp.S.One
    last = chain[-1]
    if not isinstance(matrix, _MERGED) and not isinstance(last, sp.OneMatrix):
        chain.append(matrix)
        return sp.S.One
    if isinstance(matrix, sp.OneMatrix):
        if isinstance(last, Centering):
            chain.append(matrix)
            return sp.S.Zero
        if isinstance(last, (StochasticSymbol, RowSoftmax)):
            chain[-1] = sp.OneMatrix(last.rows, matrix.cols)
            return sp.S.One
        if isinstance(last, sp.OneMatrix):
            chain[-1] = sp.OneMatrix(last.rows, matrix.cols)
            return last.cols
        if isinstance(last, DiagMatrix) and matrix.cols == 1:
            chain.pop()
            return _append(chain, last.args[0])
    if isinstance(last, sp.OneMatrix):
        if isinstance(matrix, Centering):
            chain.append(matrix)
            return sp.S.Zero
        if isinstance(matrix, DiagMatrix) and last.rows == 1:
            chain[-1] = transpose(matrix.args[0])
            return sp.S.One
        if isinstance(matrix, sp.Transpose) and isinstance(matrix.arg, (StochasticSymbol, RowSoftmax)):
            chain[-1] = sp.OneMatrix(last.rows, matrix.cols)
            return sp.S.One
    if isinstance(last, Centering) and isinstance(matrix, Centering):
        return sp.S.One
    if (released := _heads(chain, matrix)) is not None:
        return released
    if isinstance(last, DiagMatrix) and isinstance(matrix, DiagMatrix):
        scalar, columns = split(hadamard(last.args[0], matrix.args[0]))
        chain[-1] = shared(DiagMatrix, product(*columns))
        return scalar
    chain.append(matrix)
    return sp.S.One


def _heads(chain: list[Matrix], matrix: Matrix) -> sp.Expr | None:
    """Scalar that a head's transpose releases with a head, as heads share no columns; None for other factors."""
    last = chain[-1]
    turned = isinstance(last, sp.Transpose) and isinstance(last.arg, HeadSymbol)
    if not (turned and isinstance(matrix, HeadSymbol)):
        return None
    if matrix == last.arg:
        chain.pop()
        return sp.S.One
    chain.append(matrix)
    return sp.S.Zero


@_latest(maxsize=2**14)
def total(*terms: Matrix) -> Matrix:
    """Flat sum with like terms collected; a ZeroMatrix if nothing is left."""
    collected: dict[tuple[Matrix, ...], list[Term]] = {}
    for term in _flat_terms(terms):
        if term[0] is sp.S.One or term[0] != 0:
            collected.setdefault(term[1], []).append(term)
    kept = [term for alike in collected.values() if (term := _together(alike)) is not None]
    if not kept:
        return sp.ZeroMatrix(*terms[0].shape)
    return kept[0] if len(kept) == 1 else shared(sp.MatAdd, *kept)


def _together(alike: list[Term]) -> Matrix | None:
    """Terms with the same factors as one; what is like no other need not be built again."""
    scalar, factors, term = alike[0]
    if len(alike) == 1 and scalar is sp.S.One:
        return term
    for coefficient, _, _ in alike[1:]:
        scalar += coefficient
    if (scalar if scalar.is_Number else sp.expand(scalar)) == 0:
        return None
    return term if len(alike) == 1 else product(scalar, *factors)


def terms_of(expr: Matrix) -> tuple[Matrix, ...]:
    """The terms of a sum; an expression that is none is its own single term, and zero has none."""
    if isinstance(expr, sp.ZeroMatrix):
        return ()
    return expr.args if isinstance(expr, sp.MatAdd) else (expr,)


def _flat_terms(terms: Iterable[Matrix]) -> Iterable[Term]:
    for term in _without_sums(terms):
        yield from _parted(term)


def _without_sums(terms: Iterable[Matrix]) -> Iterable[Matrix]:
    for term in terms:
        if isinstance(term, sp.MatAdd):
            yield from _without_sums(term.args)
        else:
            yield term


@lru_cache(maxsize=2**15)  # sums are built and built again from the same terms
def _parted(term: Matrix) -> tuple[Term, ...]:
    """A term that is no sum, or those of a coefficient times a sum."""
    scalar, matrices = split(term)
    if len(matrices) == 1 and isinstance(matrices[0], sp.MatAdd):
        inner = _without_sums(matrices[0].args)
        return tuple(part for t in inner for part in _parted(product(scalar, t)))
    return ((scalar, tuple(matrices), product(scalar, *matrices)),)


class _Transpose(Traversal):
    """Pushes a transpose down to the symbols."""

    purpose = "transposition"
    most = 2**16  # long flows hold the same sub-expressions many times over

    @rule(sp.MatrixSymbol, MatrixFunction)
    def kept(self, node: Matrix) -> Matrix:
        return node if node.shape == (1, 1) else shared(sp.Transpose, node)

    @rule(Centering, DiagMatrix, sp.Identity)
    def symmetric(self, node: Matrix) -> Matrix:
        return node

    @rule(sp.OneMatrix, sp.ZeroMatrix)
    def constant(self, node: Matrix) -> Matrix:
        return type(node)(node.cols, node.rows)

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Matrix:
        if node.shape == (1, 1):
            return node
        scalar, factors = node.as_coeff_matrices()
        return product(scalar, *(self(f) for f in reversed(factors)))

    @rule(sp.MatAdd)
    def mat_add(self, node: sp.MatAdd) -> Matrix:
        return total(*map(self, node.args))

    @rule(sp.Transpose)
    def transposed(self, node: sp.Transpose) -> Matrix:
        return node.arg

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Matrix:
        return node if node.shape == (1, 1) else hadamard(*map(self, node.args))

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Matrix:
        return node if node.shape == (1, 1) else hadamard_power(self(node.base), node.exp)

    @rule(ElementwiseApplyFunction)
    def function(self, node: ElementwiseApplyFunction) -> Matrix:
        return (
            node if node.shape == (1, 1) else shared(ElementwiseApplyFunction, node.function, self(node.expr))
        )


_transpose = _Transpose()


def transpose(expr: Matrix) -> Matrix:
    """Transpose, pushed down to the symbols."""
    return _transpose(expr)


def hadamard(*factors: Matrix) -> Matrix:
    """Element-wise product; broadcasts (u 1^T and diag(u) X) become diagonal factors, equal factors powers."""
    for factor in factors:
        if not (isinstance(factor, sp.Basic) or is_real(factor)):  # sympy would read a text
            check_matrix("factors", factor)
    return _hadamard(*factors)


@_latest(maxsize=2**14)
def _hadamard(*factors: Matrix) -> Matrix:
    scalar, left, right, powers = sp.S.One, [], [], {}
    shape = factors[0].shape
    for factor in _flat_factors(factors):
        coefficient, matrices = split(factor)
        scalar *= coefficient
        while len(matrices) > 1 and isinstance(matrices[0], DiagMatrix):
            left.append(matrices[0].args[0])
            matrices = matrices[1:]
        while len(matrices) > 1 and isinstance(matrices[-1], DiagMatrix):
            right.append(matrices[-1].args[0])
            matrices = matrices[:-1]
        if len(matrices) > 1 and _broadcasts(matrices[-1]):
            left.append(_column(matrices))
            continue
        if len(matrices) > 1 and _broadcasts(transpose(matrices[0])):
            ones, *rest = matrices  # 1 v^T: the row v^T is turned as a whole, for a number b a stays b a
            right.append(transpose(product(*([] if ones.cols == 1 else [sp.OneMatrix(1, ones.cols)]), *rest)))
            continue
        inner = product(*matrices)
        if isinstance(inner, sp.OneMatrix):
            continue
        base, exponent = (inner.base, inner.exp) if isinstance(inner, sp.HadamardPower) else (inner, sp.S.One)
        powers[base] = powers.get(base, sp.S.Zero) + exponent
    if scalar == 0:
        return sp.ZeroMatrix(*shape)
    core = _elementwise(powers, shape)
    return product(scalar, *map(diagonal, left), core, *map(diagonal, right))


def _elementwise(powers: dict[Matrix, sp.Expr], shape: tuple[sp.Expr, sp.Expr]) -> Matrix:
    if not powers:
        return sp.OneMatrix(*shape)
    parts = [hadamard_power(b, e) for b, e in sorted(powers.items(), key=lambda item: rank(item[0]))]
    return parts[0] if len(parts) == 1 else shared(sp.HadamardProduct, *parts)


@lru_cache(maxsize=2**16)
def rank(expr: sp.Basic) -> tuple[int, str]:
    """Key that sorts expressions the same way in every process: symbols by name, then by size.

    Printing an expression would do, but sympy's printers simplify matrix products first, at a thousand times the cost.
    """
    if not expr.args or isinstance(expr, sp.MatrixSymbol):
        return 1, str(expr)
    parts = [rank(a) for a in expr.args]
    content = type(expr).__name__ + "".join(f"({size} {name})" for size, name in parts)
    return 1 + sum(size for size, _ in parts), sha256(content.encode()).hexdigest()


def hadamard_power(base: Matrix, exponent: sp.Expr) -> Matrix:
    """Element-wise power with its trivial cases resolved."""
    if exponent == 0:
        return sp.OneMatrix(*base.shape)
    return base if exponent == 1 else shared(sp.HadamardPower, base, exponent)


def hadamard_factors(expr: Matrix) -> list[tuple[Matrix, int]]:
    """Factors of a Hadamard product or power, each with its exponent."""
    factors = expr.args if isinstance(expr, sp.HadamardProduct) else (expr,)
    return [(f.base, _whole_power(f)) if isinstance(f, sp.HadamardPower) else (f, 1) for f in factors]


def _whole_power(power: sp.HadamardPower) -> int:
    """The exponent; others than whole positive ones are functions of one entry in normal form."""
    if not (power.exp.is_Integer and power.exp > 0):
        raise ValueError(
            f"{power} must be written as a function of its entries: pass it through `canonical` first."
        )
    return int(power.exp)


def _flat_factors(factors: Iterable[Matrix]) -> Iterable[Matrix]:
    for factor in factors:
        scalar, matrices = split(factor)
        if len(matrices) == 1 and isinstance(matrices[0], sp.HadamardProduct):
            yield product(scalar, matrices[0].args[0])
            yield from matrices[0].args[1:]
        elif isinstance(factor, sp.MatAdd) and all(_ends_in_row_of_ones(t) for t in factor.args):
            columns = [product(c, *matrices[:-1]) for c, matrices in map(split, factor.args)]
            yield product(total(*columns), sp.OneMatrix(1, factor.cols))
        else:
            yield factor


def _ends_in_row_of_ones(term: Matrix) -> bool:
    last = split(term)[1][-1]
    return isinstance(last, sp.OneMatrix) and last.rows == 1 and last.cols != 1


def constant_along_rows(term: Matrix) -> bool:
    """Whether a term has equal entries along each row: it ends in a matrix of ones."""
    matrices = split(term)[1]
    return bool(matrices) and isinstance(matrices[-1], sp.OneMatrix) and term.cols != 1


def _broadcasts(matrix: Matrix) -> bool:
    return isinstance(matrix, sp.OneMatrix) and matrix.cols != 1


def _column(chain: list[Matrix]) -> Matrix:
    """The column u of a chain u 1^T that ends in a matrix of ones."""
    ones = chain[-1]
    return product(*chain[:-1], *([] if ones.rows == 1 else [sp.OneMatrix(ones.rows, 1)]))


def diagonal(column: Matrix) -> Matrix:
    """diag(u) of a column (n, 1), or of a row, as sympy leaves it; scalars of u come to the front, ones leave I."""
    scalar, matrices = split(column)
    inner = product(*matrices)
    if inner.shape == (1, 1):
        return product(scalar, inner)
    inner = transpose(inner) if inner.rows == 1 else inner
    return product(
        scalar, sp.Identity(inner.rows) if isinstance(inner, sp.OneMatrix) else shared(DiagMatrix, inner)
    )


def apply(function: Any, x: Matrix) -> Matrix:
    """A scalar function of every entry: a sympy Lambda, an `Activation`, its name, or an expression in one symbol."""
    function = function if isinstance(function, sp.Lambda) else Activation.of(function).lambda_()
    (symbol,) = function.variables
    check_matrix("x", x)
    return x if function.expr == symbol else shared(ElementwiseApplyFunction, function, x)
