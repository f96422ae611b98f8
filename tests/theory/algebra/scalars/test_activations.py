import math
import time
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from helpers import ACTIVATIONS

from smallinit.compare.proof.residuals import autodiff_gradient, measure_residual
from smallinit.theory import Activation, Dataset, EmbMLP, Model, apply, derive, weight
from smallinit.theory.algebra.scalars.series_at_zero import taylor
from smallinit.theory.data.inputs import C_MEAN


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
        (
            sp.cos(sp.Symbol("x")) - 1,
            r"s'\(0\) = 0; of functions that start with a higher power, only 'square'",
        ),
        (
            2 * sp.tanh(sp.Symbol("x")),
            r"s'\(0\) = 2; give s\(x\) / \(2\), and .* multiply what `apply` returns by 2\.",
        ),
        (sp.log(sp.Symbol("x")), "finite"),
        (sp.log(1 + sp.Symbol("x")), "not real and finite on -4"),
        (sp.Symbol("x") + sp.I * sp.Symbol("x") ** 2, "not real and finite"),
        (sp.Si(sp.Symbol("x")), "no numerical form"),
        (sp.Symbol("x") * sp.Symbol("y"), "one free symbol"),
        ("tahn", "did you mean 'tanh'"),
        (3, "must be a name"),
        (sp.tanh, r"such as sympy.sin\(x\) with x = sympy.Symbol\('x'\), got tanh"),
        (math.tanh, "must be a name or a sympy expression, such as .*, got <built-in function tanh>"),
    ],
)
def test_what_breaks_assumption_1_is_refused_with_the_reason(bad, reason):
    with pytest.raises(ValueError, match=reason):
        EmbMLP(5, 3, 4, bad)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_torchs_own_activation_is_half_of_what_has_slope_one(name):
    @dataclass(frozen=True)
    class Halved(Model):
        d_model: int

        @property
        def weight_symbols(self):
            return weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")

        @property
        def logits(self):
            W_E, W_U = self.weight_symbols
            return apply(name, C_MEAN * W_E) * sp.Rational(1, 2) * W_U

    sequences, labels = np.array([[0, 1], [2, 2], [3, 1], [2, 0]]), np.array([1, 0, 3, 2])
    model = Halved(4, d_model=3)
    start = model.init(gamma=0.3, seed=0)
    W_E, W_U = (torch.tensor(start[w], requires_grad=True) for w in ("W_E", "W_U"))
    logits = getattr(torch.nn.functional, name)(W_E[sequences].mean(1)) @ W_U
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    slopes = derive(model, "exact").rhs(Dataset(sequences, labels, d_vocab=4), start)
    np.testing.assert_allclose(slopes["W_E"], -W_E.grad.numpy(), atol=1e-15)
    np.testing.assert_allclose(slopes["W_U"], -W_U.grad.numpy(), atol=1e-15)


@pytest.mark.parametrize(
    "activation", ["tanh", "gelu", "square", sp.sin(sp.Symbol("x")), sp.tanh(2 * sp.Symbol("x")) / 2]
)
def test_a_model_shows_its_activation_as_it_takes_it(activation):
    model = EmbMLP(5, 3, 4, activation)
    assert f"activation={activation!r}" in repr(model)
    assert eval(repr(model), {"EmbMLP": EmbMLP, "x": sp.Symbol("x"), "sin": sp.sin, "tanh": sp.tanh}) == model  # noqa: S307


def test_cubic_without_bounded_derivative_is_accepted():
    x = sp.Symbol("x")
    assert taylor(Activation.of(x + x**3).lambda_(), 3) == (0, 1, 0, 1)


x = sp.Symbol("x", real=True)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (sp.tan(x), r"not real and finite on -4 \.\. 4: cos\(x\) is 0, and a divisor, at x = -1\.5708"),
        (x / (1 - x / sp.sqrt(2)), r"is 0, and a divisor, at x = 1\.41421"),
        (x / (1 - x / 3) ** 2, r"and a divisor, at x = 3"),
        (sp.Mod(x, 1), "no numerical form is known of the function Mod"),
        (x + sp.floor(x), "no numerical form is known of the function floor"),
        (x * sp.sinc(x), "no numerical form is known of the function sinc"),
        (x * sp.gamma(x + 6) / 120, "no numerical form is known of the function polygamma"),  # its slope
        (x + sp.cot(x + 5) - sp.cot(5), r"sin\(x \+ 5\) is 0, and a divisor"),
        (2 * (1 - sp.cos(x)) / x, r"x is 0, and a divisor, at x = 0"),
        (sp.Piecewise((x, x < 0), (x + x**2, True)), r"kink at x = 0, where its curvature jumps from 0 to 2"),
        (sp.Piecewise((x, x < 1), (x + 1, True)), r"kink at x = 1, where its value jumps from 1 to 2"),
        (sp.Piecewise((x, sp.Ne(x, 2)), (2, True)), "does more than compare x with a number"),
        (sp.Piecewise((x, x < 1)), "undefined between 1 and oo"),
        (x + sp.Abs(x) * x, r"kink at x = 0, where its curvature jumps from -2 to 2"),
    ],
)
def test_what_has_no_value_somewhere_is_refused(bad, reason):
    started = time.perf_counter()
    with pytest.raises(ValueError, match=reason):
        Activation.of(bad)
    assert time.perf_counter() - started < 10.0  # there was no end to the first of limits and series


BENT = sp.Piecewise((x, x < 1), (x - (x - 1) ** 3 / (1 + x), True))


@pytest.mark.parametrize(
    "good",
    [
        5 * sp.asin(x / 5),
        2 * x / (1 + sp.exp(-x)),
        1.0 * x * (1 + sp.tanh(x)),
        (sp.exp(x) - sp.exp(-x)) / (sp.exp(x) + sp.exp(-x)),
        BENT,
        x + x**2 * sp.Abs(x),
    ],
    ids=str,
)
def test_flows_of_unusual_activations_equal_autodiff(good):
    """Kernel, twin and symbols of one activation agree."""
    model = EmbMLP(6, 4, 5, good)
    data = Dataset(np.random.default_rng(0).integers(0, 6, (12, 3)), np.arange(12) % 6, 6)
    start = model.init(0.3, 0)  # pre-activations of size 1
    flow, truth = derive(model, "exact"), autodiff_gradient(model, data, start)
    for name, motion in flow.rhs(data, start).items():
        np.testing.assert_allclose(motion, -truth[name], rtol=1e-11, atol=1e-14)
    assert str(flow)
    assert flow.latex()


def test_pieces_in_closures():
    data = Dataset([[0, 1], [2, 3]], [1, 2], 4)
    proof = measure_residual(derive(EmbMLP(4, 3, 5, BENT), "order=6"), data, EmbMLP(4, 3, 5).init(0.5, 0))
    assert proof.measured["W_E"] == pytest.approx(proof.predicted["W_E"], abs=0.2)
    with pytest.raises(ValueError, match="its pieces differ there in order 3"):
        derive(EmbMLP(4, 3, 5, x + x**2 * sp.Abs(x)), "order=9")
