"""The measured power of eps of every derivation's residual, against autodiff."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import ACTIVATIONS, CLOSURES, relative, small_case

from smallinit.compare.proof.residuals import autodiff_gradient, measure_residual
from smallinit.theory import Dataset, EmbMLP, derive
from smallinit.theory.algebra.matrices import product

CASES = [
    (a, c)
    for a in ACTIVATIONS
    for c in CLOSURES
    if a in ("tanh", "gelu", "identity") or c in ("order=7", "softmax")
]


@pytest.mark.parametrize(("activation", "closure"), CASES)
def test_measured_exponent_is_the_predicted_one(activation, closure):
    data, model, direction = small_case(activation, seed=0)
    result = measure_residual(derive(model, closure), data, direction)
    for weight, predicted in result.predicted.items():
        assert result.decades[weight] >= 1.0
        if np.isfinite(predicted):
            assert result.measured[weight] == pytest.approx(predicted, abs=0.1), weight
        else:
            assert result.measured[weight] == np.inf


@pytest.mark.parametrize(
    ("seed", "sizes", "n", "n_ctx"), [(1, (4, 8, 3), 20, 2), (2, (9, 3, 12), 60, 1), (4, (5, 2, 2), 12, 5)]
)
@pytest.mark.parametrize(("closure", "expected"), [("leading", 3), ("softmax", 4), ("order=9", 7)])
def test_exponents_on_other_shapes(seed, sizes, n, n_ctx, closure, expected):
    data, model, direction = small_case("tanh", seed, sizes, n=n, n_ctx=n_ctx, held_out=True)
    result = measure_residual(derive(model, closure), data, direction)
    assert result.measured == pytest.approx(dict.fromkeys(model.weights, expected), abs=0.1)


@pytest.mark.parametrize("fault", ["factor", "missing term"])
def test_a_wrong_equation_is_caught(fault):
    """The measurement must be able to fail: a leading flow that claims more, or has a wrong factor."""
    data, model, direction = small_case()
    flow = derive(model, "order=6")
    if fault == "factor":
        wrong = product(2, flow.right_hand_sides["W_in"])
    else:
        wrong = derive(model, "leading").right_hand_sides["W_in"]
    flow = replace(flow, right_hand_sides={**flow.right_hand_sides, "W_in": wrong})
    result = measure_residual(flow, data, direction)
    assert abs(result.measured["W_in"] - result.predicted["W_in"]) > 0.5
    assert result.measured["W_E"] == pytest.approx(result.predicted["W_E"], abs=0.1)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sin"])
def test_exact_flow_is_autodiff(activation):
    data, model, weights = small_case(activation, seed=5)
    derived, truth = derive(model, "exact").rhs(data, weights), autodiff_gradient(model, data, weights)
    assert max(relative(derived[w], -truth[w]) for w in derived) < 1e-12


def test_softmax_of_the_linear_network_is_autodiff():
    data, model, weights = small_case("identity", seed=6)
    derived, truth = derive(model, "softmax").rhs(data, weights), autodiff_gradient(model, data, weights)
    assert max(relative(derived[w], -truth[w]) for w in derived) < 1e-12


@pytest.mark.parametrize(("closure", "expected"), [("leading", 0.0), ("softmax", 4.0), ("exact", np.inf)])
def test_rounding_of_a_gradient_that_cancels_is_no_error(closure, expected):
    """Its rounding was taken for the error of every closure, which grew as eps^-3, the exact one's too."""
    pairs = np.divmod(np.arange(25), 5)
    even = Dataset(pairs[0][:, None], pairs[1], 5)  # every label equally often after every token: M = 0
    model = EmbMLP(5, 4, 6, activation="tanh")
    found = measure_residual(derive(model, closure), even, model.init(0.5, 0))
    assert list(found.measured.values()) == pytest.approx([expected] * 3, abs=0.05)
