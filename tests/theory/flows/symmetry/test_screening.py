"""The numerical search: small whole coefficients are found, and nothing is taken for one."""

import pytest
import sympy as sp

from smallinit.theory import EmbMLP, derive
from smallinit.theory.algebra.matrices import product, transpose
from smallinit.theory.algebra.nodes import Centering, StochasticSymbol
from smallinit.theory.data.inputs import COUNTS, D_VOCAB, ROWS
from smallinit.theory.flows.symmetry.screening import conserved

MODEL = EmbMLP(7, 5, 6)
W_E, W_IN, W_OUT = MODEL.weight_symbols


def names(equations, model=MODEL):
    return {q.name for q in conserved(model, equations)}


def moving_alone(slope):
    """Equations in which W_E and W_in follow the leading flow, one of them at a rate of its own."""
    sides = dict(derive(MODEL, "leading").right_hand_sides)
    return sides | {"W_E": product(slope, sides["W_E"]), "W_out": sp.ZeroMatrix(*W_OUT.shape)}


@pytest.mark.parametrize(
    ("slope", "name"),
    [
        (sp.Rational(1, 1), "W_E.T*W_E - W_in*W_in.T"),
        (sp.Rational(2, 3), "3*W_E.T*W_E - 2*W_in*W_in.T"),
        (sp.Integer(-1), "W_E.T*W_E + W_in*W_in.T"),
    ],
)
def test_coefficients_are_found(slope, name):
    assert names(moving_alone(slope)) == {name}


@pytest.mark.parametrize("slope", [sp.sqrt(2), D_VOCAB, ROWS, 1 + sp.Rational(1, 10**7)])
def test_other_coefficients_are_not_taken_for_whole_ones(slope):
    """Neither what depends on sizes, which no one set of sizes would show, nor what is nearly 1."""
    assert names(moving_alone(slope)) == set()


@pytest.mark.parametrize(("kind", "expected"), [(StochasticSymbol, {"1.T*W_E"}), (sp.MatrixSymbol, set())])
def test_data_matrices_of_ones_own_are_any(kind, expected):
    """Rows that sum to one, where that is all that is known of them, leave the sum over tokens alone."""
    mine = kind("mine", ROWS, D_VOCAB)
    slope = product(transpose(mine), Centering(ROWS), COUNTS, W_E)
    resting = {w.name: sp.ZeroMatrix(*w.shape) for w in (W_IN, W_OUT)}
    assert names({"W_E": slope} | resting) == expected


def test_a_weight_whose_rate_is_zero_everywhere_rests():
    sides = moving_alone(1) | {"W_out": sp.MatAdd(W_OUT, product(-1, W_OUT))}
    assert names(sides) == {"W_E.T*W_E - W_in*W_in.T"}
