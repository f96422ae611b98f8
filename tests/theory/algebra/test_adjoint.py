"""Reverse-mode rules against sympy's own derivative where that works, and against finite differences everywhere."""

import numpy as np
import pytest
import sympy as sp

from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import apply, hadamard, product, total, transpose
from smallinit.theory.algebra.nodes import RowLogSumExp, RowSoftmax

n, v, d = sp.symbols("n v d", integer=True, positive=True)
C, Y = sp.MatrixSymbol("C", n, v), sp.MatrixSymbol("Y", n, v)
W1, W2 = sp.MatrixSymbol("W1", v, d), sp.MatrixSymbol("W2", d, v)
U = sp.MatrixSymbol("u", n, 1)
SIZES = {n: 4, v: 3, d: 2}
ONES, x = sp.OneMatrix(v, 1), sp.Symbol("x", real=True)
tanh = sp.Lambda(x, sp.tanh(x))


def scalar(columns):
    return product(transpose(U), columns)


def number(expr, values):
    if isinstance(expr, sp.MatMul) and any(isinstance(a, RowLogSumExp) for a in expr.args):
        inner = next(a for a in expr.args if isinstance(a, RowLogSumExp)).args[0]
        logits = np.asarray(evaluate(inner, values, SIZES))
        return float(values["u"][:, 0] @ np.log(np.exp(logits).sum(axis=1)))
    return float(np.asarray(evaluate(expr, values, SIZES))[0, 0])


F = product(C, W1, W2)
CASES = {
    "chain": scalar(product(hadamard(Y, F), ONES)),
    "power": scalar(product(hadamard(F, F, F), ONES)),
    "sum": scalar(product(hadamard(total(F, product(2, Y)), F), ONES)),
    "map": scalar(product(hadamard(Y, product(apply(tanh, product(C, W1)), W2)), ONES)),
    "transpose": scalar(
        product(hadamard(Y, transpose(product(transpose(W2), transpose(W1), transpose(C)))), ONES)
    ),
    "row sums": scalar(hadamard(product(hadamard(F, F), ONES), product(F, ONES))),
    "softmax": scalar(product(hadamard(Y, RowSoftmax(F)), ONES)),
    "log-sum-exp": scalar(RowLogSumExp(F)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_against_central_differences(name):
    rng = np.random.default_rng(0)
    values = {str(s): rng.normal(size=[int(k.subs(SIZES)) for k in s.shape]) for s in (C, Y, W1, W2, U)}
    for weight, gradient in gradients(CASES[name], (W1, W2)).items():
        derived, numeric = np.asarray(evaluate(gradient, values, SIZES)), np.zeros(values[str(weight)].shape)
        for index in np.ndindex(numeric.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = values[str(weight)].copy()
                moved[index] += step
                sides.append(number(CASES[name], values | {str(weight): moved}))
            numeric[index] = (sides[0] - sides[1]) / 2e-6
        assert np.allclose(derived, numeric, rtol=1e-7, atol=1e-7), (name, weight)


def test_gradient_against_sympy():
    """Plain chains only: sympy 1.14 gives a Hadamard power's derivative with one factor transposed."""
    E = sp.MatrixSymbol("E", v, v)
    inner = product(C, E, W1)
    sympys = sp.Trace(sp.Transpose(Y) * inner * W2).diff(W1)
    own = gradients(scalar(product(hadamard(Y, product(inner, W2)), ONES)), (W1,))[W1]
    rng = np.random.default_rng(1)
    values = {str(s): rng.normal(size=[int(k.subs(SIZES)) for k in s.shape]) for s in (C, E, Y, W1, W2)}
    values["u"] = np.ones((4, 1))  # the trace is the sum over rows
    explicit = {s.subs(SIZES): sp.ImmutableMatrix(values[str(s)]) for s in (C, E, Y, W1, W2)}
    expected = np.array(sympys.subs(SIZES).xreplace(explicit).doit().tolist())
    assert np.allclose(evaluate(own, values, SIZES), expected.astype(float))


def test_a_node_without_a_rule_is_named():
    with pytest.raises(TypeError, match="Inverse"):
        gradients(sp.Trace(sp.Inverse(sp.MatrixSymbol("S", v, v))).arg, (sp.MatrixSymbol("S", v, v),))


def test_independent_weight_has_zero_gradient():
    other = sp.MatrixSymbol("Z", v, d)
    assert isinstance(gradients(CASES["chain"], (other,))[other], sp.ZeroMatrix)
