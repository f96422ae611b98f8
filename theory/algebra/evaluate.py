"""Matrix expressions evaluated with numpy and scipy.sparse: data products to fold, logits to observe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..data.inputs import scalar_value
from .chain import Operand, plan_chain
from .nodes import Centering, Matrix, RowLogSumExp, RowSoftmax

Array = Any  # numpy array or scipy sparse array, always two-dimensional


def evaluate(expr: Matrix, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    """Value of a matrix expression.

    Parameters
    ----------
    expr : sympy matrix expression
        In the symbols named by `values`.
    values : dict
        Symbol name -> two-dimensional numpy or scipy.sparse array.
    sizes : dict
        Symbolic dimension -> number.

    Returns
    -------
    ndarray or sparse array
        Sparse only where every factor is.

    Raises
    ------
    TypeError
        If a node has no numerical rule.
    """
    if isinstance(expr, sp.MatrixSymbol):
        return values[expr.name]
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        if len(factors) == 1:
            return scalar_value(scalar, sizes) * evaluate(factors[0], values, sizes)
        return scalar_value(scalar, sizes) * _chain([_factor(f, values, sizes) for f in factors])
    if isinstance(expr, sp.MatAdd):
        return sum(_dense(evaluate(t, values, sizes)) for t in expr.args)
    if isinstance(expr, sp.Transpose):
        return evaluate(expr.arg, values, sizes).T
    if isinstance(expr, sp.HadamardProduct):
        first, *rest = sorted(
            (evaluate(a, values, sizes) for a in expr.args), key=sparse.issparse, reverse=True
        )
        for part in rest:
            first = first.multiply(part).tocsr() if sparse.issparse(first) else first * part
        return first
    if isinstance(expr, sp.HadamardPower):
        base, power = evaluate(expr.base, values, sizes), int(expr.exp)
        return base.power(power) if sparse.issparse(base) else base**power
    if isinstance(expr, ElementwiseApplyFunction):
        return numpy_function(expr.function)(_dense(evaluate(expr.expr, values, sizes)))
    if isinstance(expr, RowSoftmax):
        return _softmax(expr, values, sizes)
    if isinstance(expr, RowLogSumExp):
        x = _dense(evaluate(expr.args[0], values, sizes))
        top = x.max(axis=1, keepdims=True)
        return np.log(np.exp(x - top).sum(axis=1, keepdims=True)) + top
    return _constant(expr, values, sizes)


def _softmax(expr: RowSoftmax, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    base = None if expr.base is None else evaluate(expr.base, values, sizes)
    if not sparse.issparse(base):
        x = _dense(evaluate(expr.args[0], values, sizes))
        e = np.exp(x - x.max(axis=1, keepdims=True)) * (1.0 if base is None else base)
        return e / e.sum(axis=1, keepdims=True)
    base = sparse.csr_array(base)
    rows = np.repeat(np.arange(base.shape[0]), np.diff(base.indptr))
    x = at_places(expr.args[0], rows, base.indices, values, sizes)
    top = np.full(base.shape[0], -np.inf)
    np.maximum.at(top, rows, x)
    e = base.data * np.exp(x - top[rows])
    norm = np.bincount(rows, weights=e, minlength=base.shape[0])
    return sparse.csr_array((e / norm[rows], base.indices, base.indptr), shape=base.shape)


def at_places(
    expr: Matrix,
    rows: np.ndarray,
    cols: np.ndarray,
    values: Mapping[str, Array],
    sizes: Mapping[sp.Symbol, int],
) -> np.ndarray:
    """Entries of an expression at some places (k,), without forming products that are larger than their factors."""
    if isinstance(expr, sp.MatAdd):
        return np.sum([at_places(t, rows, cols, values, sizes) for t in expr.args], axis=0)
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        if len(factors) > 1:
            k = min(range(1, len(factors)), key=lambda k: int(scalar_value(factors[k].rows, sizes)))
            left = _dense(_run(factors[:k], values, sizes))[rows]
            right = _dense(_run(factors[k:], values, sizes).T)[cols]
            return scalar_value(scalar, sizes) * np.einsum("pk,pk->p", left, right)
    return _dense(evaluate(expr, values, sizes))[rows, cols]


def _run(factors: list[Matrix], values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    return evaluate(factors[0] if len(factors) == 1 else sp.MatMul(*factors), values, sizes)


def _constant(expr: Matrix, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    if isinstance(expr, sp.OneMatrix):
        return np.ones([int(scalar_value(s, sizes)) for s in expr.shape])
    if isinstance(expr, DiagMatrix):
        return sparse.diags_array(_dense(evaluate(expr.args[0], values, sizes)).ravel()).tocsr()
    if isinstance(expr, Centering):
        size = int(scalar_value(expr.shape[0], sizes))
        return np.eye(size) - 1.0 / size
    if isinstance(expr, sp.Identity):
        return sparse.eye_array(int(scalar_value(expr.rows, sizes)), format="csr")
    if isinstance(expr, sp.ZeroMatrix):
        return np.zeros([int(scalar_value(s, sizes)) for s in expr.shape])
    raise TypeError(f"no numerical rule for {type(expr).__name__}; add one to theory/algebra/evaluate.py.")


class _Centred:
    """Pi as a factor: applied by subtracting means, never stored."""

    def __init__(self, size: int) -> None:
        self.shape = (size, size)


def _factor(expr: Matrix, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    if isinstance(expr, Centering):
        return _Centred(int(scalar_value(expr.shape[0], sizes)))
    return evaluate(expr, values, sizes)


def _chain(factors: list[Array]) -> Array:
    """Multiply a chain in its cheapest order; runs of sparse factors first."""
    operands = [_operand(f) for f in factors]

    def sparse_run(i: int, j: int) -> Operand | None:
        run = operands[i:j]
        if all(o.storage == "csr" for o in run):
            return Operand("csr", (run[0].shape[0], run[-1].shape[1]), min(o.nnz for o in run))
        return None

    plans = plan_chain(operands, sparse_run)

    def build(i: int, j: int) -> Array:
        if j == i + 1:
            return factors[i]
        split = plans[i, j].split or i + 1
        return _multiply(build(i, split), build(split, j))

    return build(0, len(factors))


def _operand(factor: Array) -> Operand:
    if isinstance(factor, _Centred):
        return Operand("centering", factor.shape)
    if sparse.issparse(factor):
        return Operand("csr", factor.shape, factor.nnz)
    return Operand("dense", factor.shape)


def _multiply(a: Array, b: Array) -> Array:
    if isinstance(a, _Centred):
        b = _dense(b)
        return b - b.mean(axis=0, keepdims=True)
    if isinstance(b, _Centred):
        a = _dense(a)
        return a - a.mean(axis=1, keepdims=True)
    return a @ b


def _dense(x: Array) -> np.ndarray:
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


def numpy_function(function: sp.Lambda) -> Any:
    """A scalar sympy function as a numpy function of arrays."""
    return sp.lambdify(function.variables, function.expr, ["scipy", "numpy"])
