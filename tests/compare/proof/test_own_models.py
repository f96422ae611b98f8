"""What users write and derivations once got wrong: each is derived rightly, measured, or refused by name."""

import pytest
import sympy as sp
from own_models import A, E, U, own

from smallinit.compare.proof.residuals import autodiff_gradient, measure_residual
from smallinit.theory import RowSoftmax, apply, derive, hadamard
from smallinit.theory.algebra.traversal import UnknownNodeError
from smallinit.theory.data.inputs import C_MEAN, COUNTS, D_MODEL, D_VOCAB, ROWS, X_LAST

x = sp.Symbol("x", real=True)
SIGMOID = sp.Lambda(x, 1 / (1 + sp.exp(-x)))
SQUARES = sp.HadamardPower(COUNTS * E, 2) * sp.OneMatrix(D_MODEL, 1) / D_MODEL
SCORES = X_LAST * E * A * E.T


def scaled(root):
    return hadamard(root * sp.OneMatrix(1, D_MODEL), COUNTS * E) * U


MODELS = {
    "gap in a quadratic loss": (apply(x + x**9, COUNTS * E) * U, {"loss": "mse"}),
    "sigmoid gate": (hadamard(apply(SIGMOID, COUNTS * E), COUNTS * E) * U, {}),
    "softmax over the vocabulary": (RowSoftmax(SCORES) * E * U, {}),
    "scores shifted by a constant": (RowSoftmax(SCORES + sp.OneMatrix(ROWS, D_VOCAB), C_MEAN) * E * U, {}),
    "root mean square with an offset": (
        scaled(apply(sp.Lambda(x, 1 / sp.sqrt(x + sp.Rational(1, 10))), SQUARES)),
        {},
    ),
}
PREDICTED = {
    ("gap in a quadratic loss", "order=4"): 8,
    ("gap in a quadratic loss", "softmax=4,activation=1"): 8,
    ("gap in a quadratic loss", "leading"): 2,
    ("sigmoid gate", "leading"): 1,
    ("sigmoid gate", "softmax"): 3,
    ("sigmoid gate", "order=6"): 5,
    ("softmax over the vocabulary", "leading"): 2,
    ("scores shifted by a constant", "leading"): 2,
    ("scores shifted by a constant", "softmax"): 3,
    ("root mean square with an offset", "leading"): 2,
    ("root mean square with an offset", "softmax"): 4,
}


@pytest.mark.parametrize(("name", "closure"), PREDICTED)
def test_powers(name, closure):
    model, data = own(MODELS[name][0], **MODELS[name][1])
    flow = derive(model, closure)
    measured = measure_residual(flow, data, model.init(0.5, 0)).measured
    for weight in flow.moving:
        if flow.residual_order[weight]:
            assert flow.residual_order[weight] == PREDICTED[name, closure]
            assert measured[weight] == pytest.approx(PREDICTED[name, closure], abs=0.1)
    assert any(flow.residual_order.values())


@pytest.mark.parametrize("name", [*MODELS, "root mean square"])
def test_exact_flows_are_gradients(name):
    power = sp.HadamardPower(SQUARES, sp.Rational(-1, 2))
    formula, options = MODELS.get(name, (scaled(power), {}))
    model, data = own(formula, **options)
    weights = model.init(0.3, 0)
    slope, gradient = derive(model, "exact").rhs(data, weights), autodiff_gradient(model, data, weights)
    for weight in slope:
        assert slope[weight] == pytest.approx(-gradient[weight], rel=1e-11, abs=1e-15)


def test_exact_asks_for_no_series():
    model, _ = own(scaled(sp.HadamardPower(SQUARES, sp.Rational(-1, 2))))
    assert set(derive(model, "exact").residual_order.values()) == {float("inf")}
    with pytest.raises(ValueError, match="has no Taylor series at 0, which every closure but 'exact' needs"):
        derive(model, "leading")


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (COUNTS * E * sp.Inverse(sp.Identity(D_MODEL) + A) * A * U, "the power -1 of the matrix"),
        (sp.Trace(A) * COUNTS * E * U, "holds the matrix W_A"),
        (A[0, 0] * COUNTS * E * U, "holds the matrix W_A"),
        (COUNTS * E * sp.KroneckerProduct(U, sp.OneMatrix(1, 1)), "KroneckerProduct"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(formula, words):
    model, _ = own(formula)
    for closure in ("leading", "softmax", "exact"):
        with pytest.raises(UnknownNodeError, match=words):
            derive(model, closure)


def test_a_base_of_counts_has_no_series_but_an_exact_flow():
    model, data = own(RowSoftmax(SCORES, COUNTS) * E * U)
    with pytest.raises(ValueError, match="not known to sum to one"):
        derive(model, "leading")
    mean, _ = own(RowSoftmax(SCORES, C_MEAN) * E * U)
    weights = model.init(0.3, 0)
    counted, averaged = (derive(m, "exact").rhs(data, weights) for m in (model, mean))
    for name in counted:
        assert counted[name] == pytest.approx(averaged[name], rel=1e-12)


def test_averages_that_do_not_sum_to_one_are_refused():
    model, data = own(RowSoftmax(SCORES, C_MEAN) * E * U)

    class Wrong(type(model)):
        def inputs(self, sequences):
            return super().inputs(sequences) | {"C_mean": 2.0 * super().inputs(sequences)["C_mean"]}

    wrong = Wrong(5, formula=model.formula)
    with pytest.raises(
        ValueError, match=r"`inputs` give the averages 'C_mean' a row that sums to 2 \(row 0\)"
    ):
        derive(wrong, "exact").rhs(data, wrong.init(0.3, 0))
