"""Functions of a matrix without rules of their own about the weight scale: all that is read off their slope."""

import numpy as np
import pytest
import sympy as sp

from smallinit.sim.compile.compiler import compile_sides
from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import apply, hadamard, hadamard_power, product, total
from smallinit.theory.algebra.nodes import MatrixFunction, RowLogSumExp
from smallinit.theory.algebra.scale.cost import ExpansionCost
from smallinit.theory.algebra.scale.counting import Count, members
from smallinit.theory.algebra.scale.cuts import Truncation
from smallinit.theory.algebra.scale.expansion import expand, has_degree
from smallinit.theory.algebra.scale.selection import Selection
from smallinit.theory.algebra.tangent import tangent

A, B = sp.MatrixSymbol("A", 4, 3), sp.MatrixSymbol("B", 4, 3)
V, W = sp.MatrixSymbol("V", 3, 3), sp.MatrixSymbol("W", 3, 3)
RNG = np.random.default_rng(0)
VALUES = {str(s): RNG.normal(size=[int(n) for n in s.shape]) for s in (A, B, V, W)}


class Roughness(MatrixFunction):
    """Row sums of x^2 / (1 + x^2), made of others."""

    word = "roughness"
    shape = property(lambda self: (self.args[0].rows, sp.S.One))

    @property
    def made_of(self):
        x = sp.Symbol("x")
        each = apply(sp.Lambda(x, x / (1 + x)), hadamard_power(self.args[0], sp.Integer(2)))
        return product(each, sp.OneMatrix(self.args[0].cols, 1))


def value(expr, **changed):
    found = evaluate(expr, VALUES | changed, {})
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)


def log_sum_exp(x):
    return np.log(np.exp(x).sum(axis=1, keepdims=True))


def coefficients(function, most):
    """Powers of eps by a trigonometric fit on a circle of complex eps, which knows nothing of derivatives."""
    n = 32
    points = 0.5 * np.exp(2j * np.pi * np.arange(n) / n)
    return (
        np.fft.fft([function(eps) for eps in points], axis=0)[: most + 1].real
        / n
        / 0.5 ** np.arange(most + 1).reshape(-1, 1, 1)
    )


@pytest.mark.parametrize("constant", [False, True])
def test_series_of_a_function_known_by_its_slope_alone(constant):
    a, b, v, w = (VALUES[k] for k in "ABVW")
    expected = coefficients(
        lambda e: log_sum_exp(0.1 * (e * a @ w + b * (e * e * a @ v @ w)) + constant * b), 5
    )
    tenth = sp.Rational(1, 10)
    small = total(product(tenth, A, W), product(tenth, hadamard(B, product(A, V, W))))
    expr = RowLogSumExp(total(small, B) if constant else small)
    found = expand(expr, (V, W), 5)
    for power in range(6):
        term = value(found[power]) if power in found else np.zeros((4, 1))
        assert np.broadcast_to(term, (4, 1)) == pytest.approx(expected[power], rel=1e-9, abs=1e-12)
    counted = Count((V, W), (V, W), Truncation(), 5)
    assert set(found) <= set(members(counted(expr).whole.every))
    assert set(found) <= ExpansionCost((V, W), 5)(expr)


def test_first_terms_of_a_function_known_by_its_slope_alone():
    expr = product(RowLogSumExp(total(product(A, W), B)), sp.OneMatrix(1, 4), A, V)
    count = Count((V, W), (V, W), Truncation(), 8)
    series = expand(expr, (V, W), 3)
    for chosen, power in ((V, 1), (W, 2)):
        found = Selection(count, (chosen,)).term(expr, power, True)
        assert value(found) == pytest.approx(value(series[power]))


def test_degrees_that_a_function_has_about_zero():
    x = sp.MatrixSymbol("X", 4, 3)
    degrees = [k for k in range(12) if has_degree(RowLogSumExp(x), k)]
    assert degrees == list(range(12))
    assert RowLogSumExp(x).at_zero == product(sp.log(3), sp.OneMatrix(4, 1))


def test_a_node_made_of_others_needs_its_class_alone():
    x = product(A, W)
    node, step = Roughness(x), sp.MatrixSymbol("dW", 3, 3)
    square = (VALUES["A"] @ VALUES["W"]) ** 2
    assert value(node) == pytest.approx((square / (1 + square)).sum(axis=1, keepdims=True))
    moved = tangent(node, {W: step})
    d = RNG.normal(size=(3, 3))
    ends = [value(node, W=VALUES["W"] + h * d) for h in (1e-5, -1e-5)]
    slope = (ends[0] - ends[1]) / 2e-5
    assert value(moved, dW=d) == pytest.approx(slope, rel=1e-7)
    summed = product(sp.OneMatrix(1, 4), node)
    assert (value(gradients(summed, (W,))[W]) * d).sum() == pytest.approx(slope.sum(), rel=1e-7)
    assert set(expand(node, (W,), 5)) == {2, 4}
    problem = compile_sides(
        {"W": product(W, sp.OneMatrix(3, 4), node, sp.OneMatrix(1, 3))},
        {"A": VALUES["A"]},
        {"W": (3, 3)},
        {},
        {},
    )
    out = np.zeros(9)
    problem(0.0, problem.pack({"W": VALUES["W"]}), out)
    expected = VALUES["W"] @ np.ones((3, 4)) @ value(node) @ np.ones((1, 3))
    assert problem.unpack(out)["W"] == pytest.approx(expected)


def test_the_adjoint_of_a_function_known_by_its_slope_alone():
    r = RNG.normal(size=(4, 1))
    found = gradients(product(sp.MatrixSymbol("R", 1, 4), RowLogSumExp(A)), (A,))[A]
    p = np.exp(VALUES["A"]) / np.exp(VALUES["A"]).sum(axis=1, keepdims=True)
    assert value(found, R=r.T) == pytest.approx(r * p)
