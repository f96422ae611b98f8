"""Short power series of matrix expressions in the weight scale: {power of eps: matrix expression}.

Series are multiplied and truncated, never expanded as one expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial

import sympy as sp

from ..matrices import diagonal, hadamard, product, total
from ..nodes import Matrix, RowSoftmax
from ..norms import power_of_mean_square
from ..scalars.series_at_zero import taylor

Series = dict[int, Matrix]


def multiply(a: Series, b: Series, order: int, combine=product) -> Series:
    """Product of two series, truncated; `combine` is the matrix or the Hadamard product."""
    out: dict[int, list[Matrix]] = {}
    for i, x in a.items():
        for j, y in b.items():
            if i + j <= order:
                out.setdefault(i + j, []).append(combine(x, y))
    return _collect(out)


def add(*series: Series) -> Series:
    """Sum of series."""
    out: dict[int, list[Matrix]] = {}
    for one in series:
        for degree, term in one.items():
            out.setdefault(degree, []).append(term)
    return _collect(out)


def subtract(a: Series, b: Series) -> Series:
    """Difference of two series."""
    return add(a, scale(sp.S.NegativeOne, b))


def scale(factor: sp.Expr, series: Series) -> Series:
    """A series times a scalar."""
    return {d: product(factor, t) for d, t in series.items()}


def powers(a: Series, order: int) -> Iterator[Series]:
    """Hadamard powers 1, 2, .. of a series that vanishes with the weights, until nothing is left up to the order."""
    if min(a, default=1) < 1:
        raise ValueError(
            f"the term {a[min(a)]} does not vanish with the weights: there is no series about 0."
        )
    raised = {d: t for d, t in a.items() if d <= order}
    while raised:
        yield raised
        raised = multiply(raised, a, order, hadamard)


def compose(function: sp.Lambda, inner: Series, shape: tuple[sp.Expr, sp.Expr], order: int) -> Series:
    """Series of a scalar function of every entry of a matrix of this shape; its value at 0 stands in every entry.

    Raises
    ------
    ValueError
        If the inner series does not vanish with the weights.
    """
    lowest = min(inner, default=order + 1)
    if lowest < 1:
        raise ValueError(
            "an activation is applied to a term that does not vanish with the weights: no series at 0."
        )
    coefficients = taylor(function, max(order // lowest, 1))
    parts = [
        scale(c, raised) for c, raised in zip(coefficients[1:], powers(inner, order), strict=False) if c != 0
    ]
    constant = {0: product(coefficients[0], sp.OneMatrix(*shape))} if coefficients[0] != 0 else {}
    return add(constant, *parts)


def softmax(inner: Series, base: Matrix, order: int) -> Series:
    """Series of the row softmax against a base measure around scores without weights, where it is the base itself.

    base o exp(S) / rowsum = diag(1 / (1 + z)) N with N = sum_k base o S^{o k} / k! and z = (N - base) 1.

    Raises
    ------
    ValueError
        If the rows of the base are not known to sum to one.
    """
    if 0 in inner:  # exp(B + S) against a base is exp(S) against the softmax of B
        base = RowSoftmax(inner[0], base)
        inner = {d: t for d, t in inner.items() if d > 0}
    base = summing_to_one(base)
    if min(inner, default=1) < 1:
        raise ValueError("a softmax is taken of scores that do not vanish with the weights: no series at 0.")
    rise: Series = {}
    for k, raised in enumerate(powers(inner, order), start=1):
        factor = sp.Rational(1, factorial(k))
        rise = add(rise, {d: product(factor, hadamard(base, t)) for d, t in raised.items()})
    ones = sp.OneMatrix(base.cols, 1)
    growth = {d: product(t, ones) for d, t in rise.items()}
    inverse: Series = {}
    for k, raised in enumerate(powers(growth, order), start=1):
        inverse = add(inverse, scale(sp.Integer((-1) ** k), raised))
    weighted = multiply(inverse, {0: base} | rise, order, lambda column, x: product(diagonal(column), x))
    return add({0: base}, rise, weighted)


def base_of(node: RowSoftmax) -> Matrix:
    """The base measure of a softmax, the uniform one if it has none."""
    rows, cols = node.shape
    return product(1 / cols, sp.OneMatrix(rows, cols)) if node.base is None else node.base


def summing_to_one(base: Matrix) -> Matrix:
    """Return a base measure whose rows are known to sum to one: about another there is no series of a softmax.

    Raises
    ------
    ValueError
        If they are not.
    """
    if product(base, sp.OneMatrix(base.cols, 1)) != sp.OneMatrix(base.rows, 1):
        raise ValueError(
            f"the rows of the softmax base {base} are not known to sum to one, so there is no series about it: take "
            "an average such as C_mean, or a StochasticSymbol of your own."
        )
    return base


def direction(inner: Series, eps: sp.Expr, order: int) -> Series:
    """Series of the row norm of x = eps^p (a + b), where b is of higher powers than a: a function of direction.

    (s_a + s_b + eps)^(-1/2) by powers of the part s_b of the mean square that vanishes beside that of a.
    """
    low = min(inner)
    x = {d - low: t for d, t in inner.items()}
    ones = sp.OneMatrix(x[0].cols, 1)
    square = {d: product(1 / ones.rows, t, ones) for d, t in multiply(x, x, order, hadamard).items()}
    inverse = about_first(square, eps, -sp.Rational(1, 2), order)
    return multiply(inverse, x, order, lambda column, t: product(diagonal(column), t))


def about_first(square: Series, eps: sp.Expr, exponent: sp.Expr, order: int) -> Series:
    """Series of (s + eps)^exponent of mean squares s, where eps lies far below them, about the first term of s.

    A first term of power 2 p gives one of power 2 p exponent, in which eps is kept as it stands.
    """
    low = min(square)
    first, rest = square[low], {d - low: t for d, t in square.items() if d > low}

    def root(k: int) -> Matrix:
        return product(sp.binomial(exponent, k), power_of_mean_square(first, eps, exponent - k))

    found: Series = {0: root(0)}
    shift = int(low * exponent)
    for k, raised in enumerate(powers(rest, order - shift), start=1):
        found = add(found, {d: hadamard(root(k), t) for d, t in raised.items()})
    return {d + shift: t for d, t in found.items() if d + shift <= order}


def _collect(terms: dict[int, list[Matrix]]) -> Series:
    summed = {degree: total(*parts) for degree, parts in sorted(terms.items())}
    return {degree: term for degree, term in summed.items() if not isinstance(term, sp.ZeroMatrix)}
