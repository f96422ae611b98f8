import mpmath
import numpy as np
import pytest
import sympy as sp
from helpers import ACTIVATIONS

from smallinit.theory import Activation, EmbMLP
from smallinit.theory.algebra.activations import taylor


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_taylor_coefficients_against_mpmath(name):
    s = Activation.of(name)
    f = sp.lambdify(s.symbol, s.expr, "mpmath")
    with mpmath.workdps(40):
        expected = [float(c) for c in mpmath.taylor(f, 0, 7)]
    assert np.allclose([float(c) for c in taylor(s.lambda_(), 7)], expected, atol=1e-12)
    assert taylor(s.lambda_(), 1) == (0, 1)


def test_user_expression_in_any_symbol():
    z = sp.Symbol("z")
    model = EmbMLP(5, 3, 4, sp.sinh(z))
    assert [float(c) for c in taylor(model.activation.lambda_(), 3)] == [0, 1, 0, pytest.approx(1 / 6)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("relu", "kink"),
        ("leaky_relu", "kink"),
        ("sigmoid", r"s\(0\) = 1/2"),
        (sp.Symbol("x") / (1 + sp.Abs(sp.Symbol("x"))), "kink"),
        (sp.cos(sp.Symbol("x")) - 1, r"s'\(0\) = 0"),
        (2 * sp.tanh(sp.Symbol("x")), r"s'\(0\) = 2"),
        (sp.log(sp.Symbol("x")), "finite"),
        (sp.log(1 + sp.Symbol("x")), "not real and finite on -4"),
        (sp.Symbol("x") + sp.I * sp.Symbol("x") ** 2, "not real and finite"),
        (sp.Si(sp.Symbol("x")), "no numerical form"),
        (sp.Symbol("x") * sp.Symbol("y"), "one free symbol"),
        ("tahn", "did you mean 'tanh'"),
        (3, "must be a name"),
    ],
)
def test_what_breaks_assumption_1_is_refused_with_the_reason(bad, reason):
    with pytest.raises(ValueError, match=reason):
        EmbMLP(5, 3, 4, bad)


def test_cubic_without_bounded_derivative_is_accepted():
    x = sp.Symbol("x")
    assert taylor(Activation.of(x + x**3).lambda_(), 3) == (0, 1, 0, 1)
