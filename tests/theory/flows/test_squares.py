"""Squares of the gradients of single sequences: their form, pairs of rows, refusals; values in compare/proof."""

import numpy as np
import pytest
import sympy as sp
from own_models import A, E, U, own

from smallinit.theory import AttentionOnly, Decoder, EmbMLP, apply, derive, hadamard, squared_gradients
from smallinit.theory.data.inputs import COUNTS, ROW_WEIGHTS
from smallinit.theory.flows.squares import PAIR_WEIGHTS, row_pairs, sequence_gradients


def test_one_product_has_its_factors_squared():
    model = EmbMLP(6, 5, 4)
    _, W_in, W_out = model.weight_symbols
    flow = derive(model, "leading")
    right = flow.right_hand_sides["W_E"].args[2:]  # after C^T diag(omega)
    expected = sp.MatMul(
        sp.HadamardPower(COUNTS.T, 2), sp.DiagMatrix(ROW_WEIGHTS), sp.HadamardPower(sp.MatMul(*right), 2)
    )
    assert squared_gradients(flow)["W_E"] == expected
    assert {W_in, W_out} <= expected.free_symbols


def test_weights_that_rest_have_none():
    squares = squared_gradients(derive(EmbMLP(6, 5, 4), "drive"))
    assert squares["W_in"] == sp.ZeroMatrix(*EmbMLP(6, 5, 4).weight_symbols[1].shape)


def test_several_rows_are_summed_before_they_are_squared():
    squares = squared_gradients(derive(AttentionOnly(5, 3), "exact"))
    assert all(PAIR_WEIGHTS in s.free_symbols for s in squares.values())


def test_pairs_of_rows_make_the_square_of_a_sum():
    weights, x = np.array([0.2, 0.3, 0.5]), np.random.default_rng(0).normal(size=12)
    first, second, counts = row_pairs(weights, np.array([4, 4, 4])).values()
    found = ((first @ x) * (second @ x)) @ counts.ravel()
    assert found == pytest.approx(weights @ x.reshape(3, 4).mean(axis=1) ** 2, rel=1e-14)


def test_sequences_of_unequal_length_have_pairs_of_their_own():
    weights, x = np.array([0.2, 0.3, 0.5]), np.random.default_rng(0).normal(size=7)
    first, second, counts = row_pairs(weights, np.array([1, 4, 2])).values()
    found = ((first @ x) * (second @ x)) @ counts.ravel()
    means = np.array([x[0], x[1:5].mean(), x[5:].mean()])
    assert found == pytest.approx(weights @ means**2, rel=1e-14)


def test_a_gradient_that_is_no_sum_of_products_is_refused():
    model, _ = own(COUNTS * E * apply("tanh", A * A) * U)
    with pytest.raises(
        ValueError, match=r"the gradient for 'W_A' holds .*leave `batch_size` out, or give a `seed`"
    ):
        squared_gradients(derive(model, "exact"))


def test_a_function_of_a_weight_is_a_mask():
    model, _ = own(COUNTS * hadamard(apply("tanh", E), E) * U)
    assert isinstance(squared_gradients(derive(model, "exact"))["W_E"], (sp.HadamardProduct, sp.MatAdd))


def test_a_long_term_is_refused_by_its_names_at_once():
    flow = derive(Decoder(7, 5, 4, 6, 3, n_layers=1, n_heads=2, biases=True), "exact")
    with pytest.raises(ValueError, match=r"a long term in .*W_U.* no sum of products"):
        sequence_gradients(flow)
