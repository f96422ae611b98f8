"""Matrix expressions evaluated with numpy and scipy.sparse: data products to fold, logits to observe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from sympy.matrices.expressions.diagonal import DiagMatrix

from ..base.arrays import full_array
from .chain import Operand, Plan, plan_chain
from .dense import DenseValue
from .nodes import Centering, Matrix, RowSoftmax
from .scalars.numpy_values import numpy_function
from .traversal import Traversal, parts, rule

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
    UnknownNodeError
        If a node has no numerical rule.
    """
    return _Evaluation(values, sizes).of(expr)


def evaluate_all(
    exprs: Mapping[str, Matrix], values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]
) -> dict[str, Array]:
    """Values of several expressions by name, each shared sub-expression once: for arrays small enough to keep all."""
    once = KeptEvaluation(values, sizes)
    return {name: once(expr) for name, expr in exprs.items()}


def at_places(
    expr: Matrix,
    rows: np.ndarray,
    cols: np.ndarray,
    values: Mapping[str, Array],
    sizes: Mapping[sp.Symbol, int],
) -> np.ndarray:
    """Entries of an expression at some places (k,), without forming products that are larger than their factors."""
    return _Evaluation(values, sizes).at_places(expr, rows, cols)


class _Evaluation(DenseValue):
    """By numpy; what is sparse stays so as long as it can."""

    purpose = "numerical evaluation"
    library = np

    def __init__(self, values: Mapping[str, Array], sizes: Mapping[sp.Symbol, int]) -> None:
        super().__init__(values, sizes)
        self.wanted: dict[Matrix, int] = {}

    def of(self, expr: Matrix) -> Array:
        """Value of an expression; what several of its parts share is kept until the last of them has it."""
        self.wanted = _uses(expr)
        return self(expr)

    def __call__(self, node: Matrix) -> Array:
        """The value; values are large, so that none is kept longer than it is wanted."""
        left = self.wanted.get(node, 0) - 1
        found = self.known.pop(node, None)
        value = self.rule_of(node)(node) if found is None else found
        self.wanted[node] = left
        if left > 0:
            self.known[node] = value
        return value

    def filled(self, shape: tuple[int, int], value: float) -> np.ndarray:
        """An array of one number."""
        return np.full(shape, value)

    def eye(self, size: int) -> np.ndarray:
        """The identity, in full."""
        return np.eye(size)

    def entrywise(self, function: sp.Lambda) -> Callable[[np.ndarray], np.ndarray]:
        """A function of arrays."""
        return numpy_function(function)

    def dense(self, node: Matrix) -> np.ndarray:
        """The value as an array without holes."""
        return full_array(self(node))

    @rule(sp.MatMul)
    def mat_mul(self, node: sp.MatMul) -> Array:
        scalar, factors = node.as_coeff_matrices()
        if len(factors) == 1:
            return self.number(scalar) * self(factors[0])
        value = _chain([self._factor(f) for f in factors])
        return value if scalar == 1 and value.dtype == np.float64 else self.number(scalar) * value

    def _factor(self, node: Matrix) -> Array:
        return _Centred(int(self.number(node.rows))) if isinstance(node, Centering) else self(node)

    @rule(sp.HadamardProduct)
    def hadamard_product(self, node: sp.HadamardProduct) -> Array:
        first, *rest = sorted(map(self, node.args), key=sparse.issparse, reverse=True)
        for part in rest:
            first = first.multiply(part).tocsr() if sparse.issparse(first) else first * part
        return first

    @rule(sp.HadamardPower)
    def power(self, node: sp.HadamardPower) -> Array:
        base, power = self(node.base), int(node.exp)
        return base.power(power) if sparse.issparse(base) else base**power

    @rule(RowSoftmax)
    def softmax(self, node: RowSoftmax) -> Array:
        base = None if node.base is None else self(node.base)
        if not sparse.issparse(base):
            x = self.dense(node.args[0])
            e = np.exp(x - x.max(axis=1, keepdims=True)) * (1.0 if base is None else base)
            return e / e.sum(axis=1, keepdims=True)
        base = sparse.csr_array(base)
        rows = np.repeat(np.arange(base.shape[0]), np.diff(base.indptr))
        x = self.at_places(node.args[0], rows, base.indices)
        top = np.full(base.shape[0], -np.inf)
        np.maximum.at(top, rows, x)
        e = base.data * np.exp(x - top[rows])
        norm = np.bincount(rows, weights=e, minlength=base.shape[0])
        return sparse.csr_array((e / norm[rows], base.indices, base.indptr), shape=base.shape)

    @rule(DiagMatrix)
    def diag(self, node: DiagMatrix) -> Array:
        column = self.dense(node.args[0]).ravel()
        if not column.all():
            return sparse.diags_array(column).tocsr()  # which stores no zeros
        places = np.arange(column.size + 1, dtype=np.int32)
        return sparse.csr_array((column, places[:-1], places), shape=(column.size, column.size))

    @rule(sp.Identity)
    def identity(self, node: sp.Identity) -> Array:
        return sparse.eye_array(self._shape(node)[0], format="csr")

    def at_places(self, node: Matrix, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Entries at some places (k,); a chain is cut at its smallest inner dimension and only read there."""
        if isinstance(node, sp.MatAdd):
            return np.sum([self.at_places(t, rows, cols) for t in node.args], axis=0)
        if isinstance(node, sp.MatMul):
            scalar, factors = node.as_coeff_matrices()
            if len(factors) > 1:
                k = min(range(1, len(factors)), key=lambda k: int(self.number(factors[k].rows)))
                left = self.dense(_run(factors[:k]))[rows]
                right = full_array(self(_run(factors[k:])).T)[cols]
                return self.number(scalar) * np.einsum("pk,pk->p", left, right)
        return self.dense(node)[rows, cols]


class KeptEvaluation(_Evaluation):
    """Values and entries of several expressions in the same arrays, each shared part once."""

    def __call__(self, node: Matrix) -> Array:
        """The value, kept."""
        return Traversal.__call__(self, node)


def _uses(expr: Matrix) -> dict[Matrix, int]:
    """In how many places each node stands as part of another."""
    found: dict[Matrix, int] = {expr: 1}
    waiting = [expr]
    while waiting:
        for part in parts(waiting.pop()):
            if part not in found:
                waiting.append(part)
            found[part] = found.get(part, 0) + 1
    return found


def _run(factors: list[Matrix]) -> Matrix:
    return factors[0] if len(factors) == 1 else sp.MatMul(*factors)


class _Centred:
    """Pi as a factor: applied by subtracting means, never stored."""

    def __init__(self, size: int) -> None:
        self.shape = (size, size)


def _chain(factors: list[Array]) -> Array:
    """Multiply a chain in its cheapest order; runs of sparse factors first."""
    if len(factors) == 2:
        return _multiply(*factors)
    operands = [_operand(f) for f in factors]

    def sparse_run(i: int, j: int) -> Operand | None:
        run = operands[i:j]
        if all(o.storage == "csr" for o in run):
            return Operand("csr", (run[0].shape[0], run[-1].shape[1]), min(o.nnz for o in run))
        return None

    plans = plan_chain(operands, sparse_run)

    return _multiplied(factors, plans, 0, len(factors))


def _multiplied(factors: list[Array], plans: Mapping[tuple[int, int], Plan], i: int, j: int) -> Array:
    """Product of the factors from i up to j.

    No function within a function: one that calls itself is a cycle of references, which would keep the factors until
    the next collection.
    """
    if j == i + 1:
        return factors[i]
    split = plans[i, j].split or i + 1
    return _multiply(_multiplied(factors, plans, i, split), _multiplied(factors, plans, split, j))


def _operand(factor: Array) -> Operand:
    if isinstance(factor, _Centred):
        return Operand("centering", factor.shape)
    if sparse.issparse(factor):
        return Operand("csr", factor.shape, factor.nnz)
    return Operand("dense", factor.shape)


def _multiply(a: Array, b: Array) -> Array:
    if isinstance(a, _Centred):
        b = full_array(b)
        return b - b.mean(axis=0, keepdims=True)
    if isinstance(b, _Centred):
        a = full_array(a)
        return a - a.mean(axis=1, keepdims=True)
    return a @ b
