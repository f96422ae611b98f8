"""Models of one's own with normalisations of a fixed eps: predicted powers are measured in the regime they are of."""

from itertools import cycle

import numpy as np
import pytest
import sympy as sp
from own_models import A, B, E, G, U, own
from sympy.matrices.expressions.diagonal import DiagMatrix

from smallinit.compare.proof.check import check
from smallinit.compare.proof.far_norms import eps_of_norms, far_above, flow_far_above, flow_mirrored
from smallinit.compare.proof.residuals import autodiff_gradient, measure_residual
from smallinit.theory import Decoder, RowNorm, RowSoftmax, apply, derive
from smallinit.theory.algebra.adjoint import gradients
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import product
from smallinit.theory.algebra.nodes import Centering
from smallinit.theory.algebra.scale.expansion import expand
from smallinit.theory.algebra.sizes import dimension_sizes
from smallinit.theory.data.inputs import C_MEAN, COUNTS, D_MODEL, N_CTX, ROWS, X_LAST
from smallinit.theory.flows.powers import loss_series

X, LAST, TINY = COUNTS * E, X_LAST * E, sp.Rational(1, 100_000)


def rms(x, eps):
    return RowNorm(x, eps)


def layer(x, eps):
    return RowNorm(x * Centering(D_MODEL), eps)


def hidden(x):
    return apply("tanh", x * A) * B


def formulas(norm, eps):
    """Pre, post, twice, over the embedding alone, with a gain as sympy leaves it, before attention."""
    return {
        "pre": (X + hidden(norm(X, eps))) * U,
        "pre and final": norm(X + hidden(norm(X, eps)), eps) * U,
        "post": norm(X + hidden(X), eps) * U,
        "post, twice": norm(norm(X, eps) + hidden(norm(X, eps)), eps) * U,
        "embedding": norm(X, eps) * U,
        "gain": norm(X, eps) * DiagMatrix(G.T) * A * U,
        "attention": (LAST + RowSoftmax(norm(LAST, eps) * A * E.T, C_MEAN) * E * B) * U,
    }


FAR = ["drive", "leading", "order=3", "softmax", "softmax=6,activation=3"]
NEAR = ["leading", "order=4", "softmax=6,activation=3"]
KINDS = {"rms": rms, "layer": layer}


def held(model, data, closure):
    """Every weight's measured power is the predicted one, as far as float64 leaves a decade."""
    flow = derive(model, closure)
    rng = np.random.default_rng(5)
    direction = {
        w: (w == "g") + rng.normal(0.0, 0.3 if w == "g" else 1.0, s) for w, s in model.weights.items()
    }
    found = measure_residual(flow, data, direction)
    for w in flow.moving:
        predicted, measured = found.predicted[w], found.measured[w]
        assert measured == pytest.approx(predicted, abs=0.1) if predicted < 7 else measured > 6.5, (
            closure,
            w,
        )


@pytest.mark.parametrize(("name", "kind"), [*zip(formulas(rms, 0), cycle(KINDS), strict=False)])
def test_predicted_powers_are_measured_in_both_regimes_of_a_fixed_eps(name, kind):
    """Far above eps neighbouring powers are of one parity under a change of sign, but not along the series."""
    model, data = own(formulas(KINDS[kind], TINY)[name])
    turn = list(formulas(rms, 0)).index(name)  # closures by turns: each is tried with several formulas
    for closure in (FAR + FAR)[turn % 5 : turn % 5 + 3]:
        held(model, data, closure)
    for closure in (NEAR + NEAR)[turn % 3 : turn % 3 + 2]:
        held(*own(formulas(KINDS[kind], sp.Rational(1, 2))[name]), f"{closure},norm=linear")


def coefficients(flow, data, direction, weight, highest, powers):
    """Sizes of what the series of one equation lacks at relative powers 0, 1, .., against its leading term."""
    far = flow_far_above(flow)
    model, values = far.model, dict(far.model.data_matrices(data)) | direction
    (symbol,) = [s for s in model.weight_symbols if s.name == weight]
    whole: dict = {}
    for power, loss in loss_series(model, highest, False).items():
        whole[power - 1] = gradients(product(-1, loss), [symbol])[symbol]
    whole = {d: side for d, side in whole.items() if not isinstance(side, sp.ZeroMatrix)}
    start = min(whole)
    stated = expand(far.right_hand_sides[weight], model.small_weights, start + powers, False, {sp.S.Zero})
    sizes = model.sizes | {ROWS: len(values["omega"]), N_CTX: data.n_ctx}

    def value(expr):
        found = evaluate(expr, values, sizes | dimension_sizes(expr, values))
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found)

    zero = sp.ZeroMatrix(*symbol.shape)
    lacking = [
        value(whole.get(start + k, zero)) - value(stated.get(start + k, zero)) for k in range(powers + 1)
    ]
    return np.array([np.linalg.norm(x) for x in lacking]) / np.linalg.norm(value(whole[start]))


def test_a_power_covered_by_the_next_is_right_by_the_series():
    """Along this direction eps^5 has a coefficient of 110 beside 3e6 of eps^6: alone below eps = 4e-5, in rounding."""
    model, data = own(formulas(rms, TINY)["pre and final"])
    flow = derive(model, "softmax=6,activation=3")
    rng = np.random.default_rng(7)
    direction = {w: rng.normal(0.0, 1.0, s) for w, s in model.weights.items()}
    found = coefficients(flow, data, direction, "W_E", 7, 6)
    assert flow.residual_order["W_E"] == 5
    assert found[:5].max() < 1e-10
    assert 10 < found[5] < 1e-4 * found[6]
    assert found[5] * (found[5] / found[6]) ** 5 < 1e-18


@pytest.mark.parametrize("closure", ["leading", "softmax", "leading,norm=linear", "exact"])
def test_claims_about_models_of_ones_own_are_decided(closure):
    model, data = own(formulas(layer, TINY)["pre and final"])
    flow = derive(model, closure)
    verdict = check({"W_U": flow.right_hand_sides["W_U"]}, model, data)
    assert verdict.status == ("exact" if closure == "exact" else "leading order")
    assert verdict.norm == ("linear" if closure.endswith("linear") else "exact")
    assert verdict.predicted_order == flow.residual_order["W_U"]


def test_a_model_far_above_is_the_same_model_without_eps():
    """Two norms of different eps, and of a Decoder its own class; what has none is left as it is."""
    (model, data), (bare, _) = (own(RowNorm(RowNorm(X, a) * A + X, b) * U) for a, b in ((TINY, 3), (0, 0)))
    far = far_above(model)
    assert eps_of_norms(far) == {0}
    assert far.name == model.name
    assert far.weights == model.weights
    start = model.init(0.5, 0)
    found, expected = autodiff_gradient(far, data, start), autodiff_gradient(bare, data, start)
    assert all(np.array_equal(found[w], expected[w]) for w in expected)
    assert far_above(bare) is bare
    decoder = Decoder(5, 4, 2, 4, 3)
    assert far_above(decoder) == Decoder(5, 4, 2, 4, 3, norm_eps=0.0)
    for closure in ("exact", "softmax,norm=linear"):
        flow = derive(model, closure)
        assert flow_far_above(flow) is flow
        assert flow_mirrored(flow) is flow
