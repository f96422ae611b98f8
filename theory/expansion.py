"""Powers of the weight scale: logits and loss as short series of matrix expressions.

Every weight is scaled by eps. A series is a dict {power of eps: matrix expression}; series are multiplied and
truncated, never expanded as one expression.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import factorial

import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from .activations import taylor
from .matrices import hadamard, product, total, transpose
from .nodes import Centering, Matrix, StochasticSymbol

Series = dict[int, Matrix]


def expand(expr: Matrix, weights: Collection[sp.MatrixSymbol], order: int) -> Series:
    """Series of a matrix expression in the common scale of its weights, up to and including eps^order.

    Raises
    ------
    TypeError
        If the expression contains a node without an expansion rule.
    ValueError
        If an activation is applied to something that does not vanish with the weights.
    """
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        series: Series = {0: sp.Identity(factors[0].rows)}
        for factor in factors:
            series = multiply(series, expand(factor, weights, order), order)
        return {d: product(scalar, t) for d, t in series.items()}
    if isinstance(expr, sp.MatAdd):
        return add(*(expand(t, weights, order) for t in expr.args))
    if isinstance(expr, sp.Transpose):
        return {d: transpose(t) for d, t in expand(expr.arg, weights, order).items()}
    if isinstance(expr, sp.HadamardProduct):
        first, *rest = (expand(a, weights, order) for a in expr.args)
        for series in rest:
            first = multiply(first, series, order, hadamard)
        return first
    if isinstance(expr, sp.HadamardPower):
        return power(expand(expr.base, weights, order), int(expr.exp), order)
    if isinstance(expr, ElementwiseApplyFunction):
        return _compose(expr.function, expand(expr.expr, weights, order), order)
    if isinstance(expr, sp.MatrixSymbol) and expr in weights:
        return {1: expr} if order >= 1 else {}
    if not expr.free_symbols & set(weights):
        return {0: expr}
    raise TypeError(f"no expansion rule for {type(expr).__name__}; add one to theory/expansion.py.")


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


def power(a: Series, exponent: int, order: int) -> Series:
    """Hadamard power of a series, truncated."""
    out = a
    for _ in range(exponent - 1):
        out = multiply(out, a, order, hadamard)
    return out


def _powers(a: Series, order: int) -> Iterator[Series]:
    """Hadamard powers 1, 2, .. of a series, until nothing is left up to the order."""
    raised = a
    while raised:
        yield raised
        raised = multiply(raised, a, order, hadamard)


def _collect(terms: dict[int, list[Matrix]]) -> Series:
    summed = {degree: total(*parts) for degree, parts in sorted(terms.items())}
    return {degree: term for degree, term in summed.items() if not isinstance(term, sp.ZeroMatrix)}


def _compose(function: sp.Lambda, inner: Series, order: int) -> Series:
    lowest = min(inner, default=order + 1)
    if lowest < 1:
        raise ValueError(
            "an activation is applied to a term that does not vanish with the weights: no series at 0."
        )
    coefficients = taylor(function, max(order // lowest, 1))
    parts = [
        {d: product(c, t) for d, t in raised.items()}
        for c, raised in zip(coefficients[1:], _powers(inner, order), strict=False)
        if c != 0
    ]
    return add(*parts) if parts else {}


def linearised(expr: Matrix) -> Matrix:
    """Replace every activation by its tangent at 0 (theory.md 0.4)."""
    if isinstance(expr, ElementwiseApplyFunction):
        slope = taylor(expr.function, 1)[1]
        return product(slope, linearised(expr.expr))
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        return product(scalar, *map(linearised, factors))
    if isinstance(expr, sp.MatAdd):
        return total(*map(linearised, expr.args))
    if isinstance(expr, sp.HadamardProduct):
        return hadamard(*map(linearised, expr.args))
    return expr


def cross_entropy(
    logits: Series, labels: StochasticSymbol, row_weights: sp.MatrixSymbol, order: int
) -> Series:
    """Series of the weighted mean cross-entropy, without its constant log V.

    L - log V = -w^T ((Y o g) 1) + w^T log(1 + sum_{i>=2} mu_i / i!), with g = f Pi the centred logits and
    mu_i = (g^{o i} 1) / V their moments under the uniform law: the cumulant expansion of the softmax.
    """
    d_vocab = labels.cols
    ones = sp.OneMatrix(d_vocab, 1)
    centred = {d: product(t, Centering(d_vocab)) for d, t in logits.items()}
    linear = {d: product(-1, hadamard(labels, g), ones) for d, g in centred.items()}
    columns = add(linear, _log_mean_exp(centred, ones, order))
    return {d: product(transpose(row_weights), column) for d, column in columns.items() if d <= order}


def _log_mean_exp(centred: Series, ones: sp.OneMatrix, order: int) -> Series:
    moments: Series = {}
    for i, raised in enumerate(_powers(centred, order), start=1):
        if i > 1:
            scale = sp.Rational(1, factorial(i)) / ones.rows
            moments = add(moments, {d: product(scale, t, ones) for d, t in raised.items()})
    logarithm: Series = {}
    for k, raised in enumerate(_powers(moments, order), start=1):
        sign = sp.Rational((-1) ** (k + 1), k)
        logarithm = add(logarithm, {d: product(sign, t) for d, t in raised.items()})
    return logarithm
