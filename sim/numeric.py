"""Matrix expressions evaluated with numpy and scipy.sparse: data products to fold, logits to observe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..theory.nodes import Centering, Matrix, RowSoftmax
from .chain import Operand, plan_chain

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
        return values[str(expr)]
    if isinstance(expr, sp.MatMul):
        scalar, factors = expr.as_coeff_matrices()
        return float(scalar.subs(sizes)) * _chain([_factor(f, values, sizes) for f in factors])
    if isinstance(expr, sp.MatAdd):
        return sum(_dense(evaluate(t, values, sizes)) for t in expr.args)
    if isinstance(expr, sp.Transpose):
        return evaluate(expr.arg, values, sizes).T
    if isinstance(expr, sp.HadamardProduct):
        parts = [_dense(evaluate(a, values, sizes)) for a in expr.args]
        return np.prod(np.broadcast_arrays(*parts), axis=0)
    if isinstance(expr, sp.HadamardPower):
        return _dense(evaluate(expr.base, values, sizes)) ** int(expr.exp)
    if isinstance(expr, ElementwiseApplyFunction):
        return numpy_function(expr.function)(_dense(evaluate(expr.expr, values, sizes)))
    if isinstance(expr, RowSoftmax):
        x = _dense(evaluate(expr.args[0], values, sizes))
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return _constant(expr, values, sizes)


def _constant(expr: Matrix, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    if isinstance(expr, sp.OneMatrix):
        return np.ones([int(s.subs(sizes)) for s in expr.shape])
    if isinstance(expr, DiagMatrix):
        return sparse.diags_array(_dense(evaluate(expr.args[0], values, sizes)).ravel()).tocsr()
    if isinstance(expr, Centering):
        size = int(expr.shape[0].subs(sizes))
        return np.eye(size) - 1.0 / size
    raise TypeError(f"no numerical rule for {type(expr).__name__}; add one to sim/numeric.py.")


class _Centred:
    """Pi as a factor: applied by subtracting means, never stored."""

    def __init__(self, size: int) -> None:
        self.shape = (size, size)


def _factor(expr: Matrix, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> Array:
    if isinstance(expr, Centering):
        return _Centred(int(expr.shape[0].subs(sizes)))
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
