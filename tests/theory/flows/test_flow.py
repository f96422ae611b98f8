"""Derived equations, predicted exponents, dropped terms and invariants."""

import time

import numpy as np
import pytest
import sympy as sp
from helpers import ACTIVATIONS, small_case

from smallinit.theory import EmbMLP, derive
from smallinit.theory.algebra.evaluate import evaluate
from smallinit.theory.algebra.matrices import product, total, transpose
from smallinit.theory.data.inputs import ROWS
from smallinit.theory.flows.powers import loss_series
from smallinit.theory.flows.symmetry.invariants import is_conserved, time_derivative
from smallinit.theory.printing.latex import latex
from smallinit.theory.printing.text import text

MODEL = EmbMLP(7, 5, 6)
W_E, W_IN, W_OUT = MODEL.weight_symbols
JOINED = {"W_E.T*W_E - W_in*W_in.T", "W_in.T*W_in - W_out*W_out.T", "W_out*1"}


def test_leading_equations_are_0_2():
    flow = derive(MODEL, "leading")
    M = sp.MatrixSymbol("M", *(W_E.rows, W_OUT.cols))
    assert flow.equations["W_E"] == product(M, transpose(W_OUT), transpose(W_IN))
    assert flow.equations["W_in"] == product(transpose(W_E), M, transpose(W_OUT))
    assert flow.equations["W_out"] == product(transpose(W_IN), transpose(W_E), M)
    assert set(flow.statistics) == {"M"}


def test_signature_matrix_of_the_equations_is_the_datasets():
    data, model, _ = small_case(held_out=True)
    definition = derive(model, "leading").statistics["M"]
    values = model.data_matrices(data)
    sizes = model.sizes | {ROWS: values["omega"].shape[0]}
    assert np.allclose(evaluate(definition, values, sizes), data.signature(), atol=1e-16)


def test_next_order_of_the_linear_network_is_0_3():
    equation = derive(EmbMLP(7, 5, 6, "identity"), "order=6").equations["W_E"]
    assert text(equation) == "M*W_out.T*W_in.T - 1/d_vocab*K*W_E*W_in*W_out*Pi*W_out.T*W_in.T"


@pytest.mark.parametrize(
    ("activation", "closure", "expected"),
    [
        ("tanh", "leading", 3),
        ("tanh", "softmax", 4),
        ("tanh", "order=6", 4),
        ("tanh", "order=7", 6),
        ("tanh", "order=9", 7),
        ("gelu", "leading", 2),
        ("gelu", "softmax", 2),
        ("identity", "leading", 3),
        ("identity", "softmax", np.inf),
        ("identity", "order=8", 6),
        ("tanh", "exact", np.inf),
    ],
)
def test_predicted_exponents(activation, closure, expected):
    flow = derive(EmbMLP(7, 5, 6, activation), closure)
    assert set(flow.residual_order.values()) == {expected}
    assert bool(flow.dropped) == np.isfinite(expected)


def test_drive_moves_the_embedding_alone():
    flow = derive(MODEL, "drive")
    assert flow.moving == ("W_E",)
    assert flow.residual_order == {"W_E": 3, "W_in": 0, "W_out": 0}
    assert flow.equations["W_E"] == derive(MODEL, "leading").equations["W_E"]
    assert isinstance(flow.equations["W_in"], sp.ZeroMatrix)
    assert flow.invariants == ()


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sin"])
def test_powers_in_the_loss(activation):
    """tanh: 3 (fit), 6 (second cumulant), 7 (cubic), 9 (third cumulant), 10, 11, 12; gelu has a square."""
    expected = {"tanh": {3, 6, 7, 9, 10}, "sin": {3, 6, 7, 9, 10}, "gelu": {3, 5, 6, 8, 9, 10}}[activation]
    assert set(loss_series(EmbMLP(7, 5, 6, activation), 10)) == expected


@pytest.mark.parametrize(
    ("activation", "closure", "names"),
    [
        ("tanh", "leading", JOINED),
        ("tanh", "softmax", JOINED),
        ("tanh", "order=6", JOINED),
        ("tanh", "order=9", JOINED - {"W_in.T*W_in - W_out*W_out.T"}),
        ("tanh", "exact", JOINED - {"W_in.T*W_in - W_out*W_out.T"}),
        ("identity", "order=9", JOINED),
    ],
)
def test_invariants_are_found(activation, closure, names):
    assert {str(i) for i in derive(EmbMLP(7, 5, 6, activation), closure).invariants} == names


def test_a_false_invariant_is_not_proved():
    flow = derive(MODEL, "leading")
    assert not is_conserved(flow.right_hand_sides, product(transpose(W_E), W_E))
    assert not is_conserved(
        flow.right_hand_sides, total(product(transpose(W_E), W_E), product(W_IN, transpose(W_IN)))
    )
    growth = time_derivative(flow.right_hand_sides, product(transpose(W_E), W_E))
    assert len(growth.args) == 2  # W_E^T dW_E and its transpose


X = sp.Symbol("x")


@pytest.mark.parametrize(
    ("activation", "closure", "expected"),
    [
        (X + X**13, "softmax", 24),
        (X + X**2, "softmax", 2),
        (X + X**3, "order=10", 9),
        (X + X**13, "order=12", 12),
    ],
)
def test_polynomial_activations_are_not_taken_for_exact(activation, closure, expected):
    assert set(derive(EmbMLP(7, 5, 6, activation), closure).residual_order.values()) == {expected}


def test_equations_are_read_only():
    with pytest.raises(TypeError):
        derive(MODEL, "leading").right_hand_sides["W_E"] = W_E


def test_a_right_hand_side_that_overflows_is_refused():
    data, model, weights = small_case("tanh")
    with pytest.raises(ValueError, match="dW_E/dt is not finite"):
        derive(model, "order=9").rhs(data, {name: 1e200 * w for name, w in weights.items()})


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("closure", ["softmax", "order=9", "exact"])
def test_printing(activation, closure):
    flow = derive(EmbMLP(7, 5, 6, activation), closure)
    shown = str(flow)
    assert "dW_E/dt = " in shown
    assert "flow time" in shown
    assert ("drops of the loss" in shown) == bool(flow.dropped)
    for opening, closing in ("()", "[]"):
        assert shown.count(opening) == shown.count(closing)
    page = flow.latex()
    assert r"\dot{W^{E}} &=" in page
    assert page.count("{") == page.count("}")
    assert page.count(r"\left") == page.count(r"\right")
    assert "W_E" not in page
    assert "DiagMatrix" not in page


@pytest.mark.parametrize(
    ("closure", "message"),
    [
        ("sofmax", "did you mean 'softmax'"),
        ("order=2", "starts at order=3"),
        ("order=x", "'order=x' is unknown: use drive, .*order=k"),
        ("activation=-1", "'activation=-1' is unknown: use drive, .*activation=j"),
        ("nonsense here", "use drive, leading, softmax, exact, order=k or activation=j,attention=m"),
        ("order", "`closure` 'order' is unknown: use drive, .*, order=k or"),
    ],
)
def test_unknown_closures_are_refused(closure, message):
    with pytest.raises(ValueError, match=message):
        derive(MODEL, closure)


def test_wrong_data_are_refused():
    data, model, weights = small_case()
    with pytest.raises(ValueError, match="d_vocab"):
        derive(EmbMLP(8, 5, 6), "leading").rhs(data, EmbMLP(8, 5, 6).init(0.8, 0))
    del weights["W_in"]
    with pytest.raises(ValueError, match="lacks the weight 'W_in'"):
        derive(model, "leading").rhs(data, weights)


def test_latex_of_long_flows_takes_no_minutes_and_brackets_sums_of_factors():
    from smallinit.theory import OneLayerTransformer, ScalarClassifier

    began = time.perf_counter()
    flow = derive(OneLayerTransformer(6, 7, 3, 4, 3, "gelu"), "exact")
    for page in (flow.latex(), *map(latex, flow.equations.values())):
        assert page.count(r"\left") == page.count(r"\right")
    assert time.perf_counter() - began < 30.0  # two minutes when sympy decides on the signs
    assert r"\dot{W_{Q}} &=" in flow.latex()
    equation = derive(ScalarClassifier(6, 5, 3, 4), "softmax").equations["W_V"]
    assert r"C_{mean}^{T} \left(Y \circ \omega" in latex(equation)
