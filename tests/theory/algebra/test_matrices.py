"""The canonical constructors must not change a value: raw sympy expressions against simplified ones."""

import numpy as np
import pytest
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix

from smallinit.theory.algebra import matrices as mx
from smallinit.theory.algebra import nodes
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.rebuild import canonical, distribute, factored

n, v = sp.symbols("n v", integer=True, positive=True)
A, B, W = sp.MatrixSymbol("A", n, v), sp.MatrixSymbol("B", n, v), sp.MatrixSymbol("W", v, v)
Y = nodes.StochasticSymbol("Y", n, v)
U, T = sp.MatrixSymbol("u", n, 1), sp.MatrixSymbol("t", v, 1)
ONES, ROW, PI = sp.OneMatrix(v, 1), sp.OneMatrix(1, v), nodes.Centering(v)
SIZES = {n: 4, v: 3}
rng = np.random.default_rng(0)
VALUES = {str(s): rng.normal(size=[int(d.subs(SIZES)) for d in s.shape]) for s in (A, B, W, U, T)}
VALUES["Y"] = rng.dirichlet(np.ones(3), 4)


def value(expr):
    return evaluate(expr, VALUES, SIZES)


def raw(*factors):
    dense = [v.toarray() if hasattr(v := value(f), "toarray") else v for f in factors]
    return np.linalg.multi_dot(dense)


@pytest.mark.parametrize(
    "chain",
    [
        (A, PI, ONES),
        (A, PI, PI, W),
        (Y, ONES),
        (nodes.RowSoftmax(A), ONES),
        (sp.OneMatrix(1, n), DiagMatrix(U), A),
        (DiagMatrix(U), sp.OneMatrix(n, 1)),
        (A, ONES, ROW, W),
        (sp.Transpose(A), A, W),
        (ROW, sp.Transpose(Y), A),
        (A, sp.OneMatrix(v, v), sp.OneMatrix(v, 1)),
    ],
)
def test_products_keep_their_value(chain):
    simplified = mx.product(*chain)
    expected = raw(*chain)
    got = np.zeros(expected.shape) if isinstance(simplified, sp.ZeroMatrix) else value(simplified)
    assert np.allclose(got, expected, atol=1e-14)


@pytest.mark.parametrize("matrix", [A, sp.Identity(n), sp.OneMatrix(1, 1), PI])
def test_nothing_of_a_matrix_is_zero(matrix):
    assert mx.product(0, matrix) == sp.ZeroMatrix(*matrix.shape)


@pytest.mark.parametrize(
    "factors",
    [
        (A, B),
        (A, A, B),
        (sp.HadamardPower(A, 2), A),
        (mx.product(U, ROW), B),
        (mx.product(A, ONES, ROW), B),
        (mx.product(sp.OneMatrix(n, 1), mx.transpose(T)), B, A),
        (mx.product(DiagMatrix(U), A), B),
        (mx.product(3, A), mx.product(sp.Rational(1, 2), B)),
        (mx.total(mx.product(U, ROW), mx.product(2, A, ONES, ROW)), B),
        (mx.total(A, B), A),
    ],
)
def test_hadamard_products_keep_their_value(factors):
    expected = np.prod([np.asarray(value(f)) for f in factors], axis=0)
    assert np.allclose(value(mx.hadamard(*factors)), expected, atol=1e-14)
    assert np.allclose(value(distribute(mx.hadamard(*factors))), expected, atol=1e-14)
    assert np.allclose(value(mx.transpose(mx.hadamard(*factors))), expected.T, atol=1e-14)


def test_like_terms_cancel_and_factors_come_out():
    assert isinstance(mx.total(A, mx.product(-1, A)), sp.ZeroMatrix)
    assert mx.total(mx.product(2, A), B, A) == sp.MatAdd(mx.product(3, A), B)
    both = mx.total(mx.product(DiagMatrix(U), A), mx.product(-1, DiagMatrix(U), B))
    assert factored(both) == mx.product(DiagMatrix(U), mx.total(A, mx.product(-1, B)))


def test_distribute_is_a_normal_form():
    left = mx.product(mx.total(A, B), W)
    right = mx.total(mx.product(A, W), mx.product(B, W))
    assert isinstance(distribute(mx.total(left, mx.product(-1, right))), sp.ZeroMatrix)


def test_own_nodes_evaluate_in_sympy():
    x = sp.ImmutableMatrix([[0, 1], [2, 3]])
    soft = np.array(nodes.RowSoftmax(x).doit().evalf().tolist(), dtype=float)
    assert np.allclose(soft.sum(axis=1), 1)
    assert np.allclose(soft[0, 1] / soft[0, 0], np.e)
    assert sp.ImmutableMatrix(nodes.Centering(2).doit()) == sp.ImmutableMatrix([[1, -1], [-1, 1]]) / 2


@pytest.mark.parametrize("exponent", [-1, sp.Rational(1, 2)])
def test_powers_that_no_product_makes_are_functions_or_refused(exponent):
    X = sp.MatrixSymbol("X", 2, 3)
    power = sp.HadamardPower(X, exponent)
    with pytest.raises(ValueError, match="written as a function of its entries"):
        mx.hadamard_factors(power)
    assert isinstance(canonical(power), ElementwiseApplyFunction)
