"""Powers of the weight scale where first terms cancel, or lie deep within a normalisation."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import sympy as sp
from helpers import random_weights, relative

from smallinit.theory import Dataset, Model, apply, derive, escape_exponents, weight
from smallinit.theory.algebra.nodes import Centering, RowNorm, RowSoftmax, StochasticSymbol
from smallinit.theory.data.inputs import COUNTS, D_MODEL, D_VOCAB, ROWS
from smallinit.theory.flows.powers import start_powers

E, U = weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")
A, B = weight("W_A", "d_model", "d_model"), weight("W_B", "d_model", "d_model")
G, S = weight("g", 1, "d_model"), weight("s", "d_vocab", "d_vocab")
SHIFT, X = sp.OneMatrix(ROWS, 1) * G, COUNTS * E
GATED = sp.HadamardProduct(X, SHIFT)


@dataclass(frozen=True)
class Formula(Model):
    """Logits by a formula."""

    d_model: int
    used: tuple = field(repr=False)
    formula: object = field(repr=False)
    at_one: tuple = ()

    @property
    def weight_symbols(self):
        return self.used

    @property
    def logits(self):
        return self.formula

    @property
    def start_values(self):
        return dict.fromkeys(self.at_one, 1.0)


def formula(expr, *used, at_one=()):
    return Formula(6, 4, used, expr, at_one)


CASES = {
    "a sum that cancels": (formula((X + SHIFT) * U - SHIFT * U + GATED * U, E, G, U), {"g": 3}),
    "a mean that is taken off": (
        formula((X + SHIFT * sp.OneMatrix(D_MODEL, D_MODEL)) * Centering(D_MODEL) * U + GATED * U, E, G, U),
        {"g": 3},
    ),
    "a norm of products": (formula(RowNorm(X * A * B, 0) * U, E, A, B, U), dict.fromkeys(("W_E", "W_A"), 1)),
    "a norm whose first terms cancel": (
        formula(RowNorm(X * A - (apply("tanh", X) * A - X * A * B), 0) * U, E, A, B, U),
        {"W_E": 1, "W_U": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_first_terms_are_those_that_are_left(name):
    """On terms that cancel, `leading` would say that a weight rests which the gradient moves."""
    model, starts = CASES[name]
    assert {w: start_powers(model)[w] for w in starts} == starts
    rng = np.random.default_rng(1)
    data = Dataset(rng.integers(0, 6, (8, 3)), rng.integers(0, 6, 8), 6, weights=rng.uniform(0.5, 2.0, 8))
    exact, leading = (derive(model, closure) for closure in ("exact", "leading"))
    previous = dict.fromkeys(model.weights, np.inf)
    for eps in (0.04, 0.01):
        weights = {w: eps * x for w, x in random_weights(model).items()}
        errors = {
            w: relative(leading.rhs(data, weights)[w], true) for w, true in exact.rhs(data, weights).items()
        }
        assert all(errors[w] < 0.3 * previous[w] and errors[w] < 0.5 for w in errors)
        previous = errors


def test_what_enters_with_the_last_power_of_a_normalised_stream_moves():
    """It is counted beyond the powers of the logits, by the one that the direction leaves out."""
    stream = COUNTS * S + apply("tanh", COUNTS * S * S) * S
    assert start_powers(formula(RowNorm(stream, 0) * S, S)) == {"s": 1}
    model = formula(RowNorm(X + apply("tanh", X * A) * B, 0) * U, E, A, B, U)
    assert escape_exponents(model) == {"W_E": -1, "W_A": 1, "W_B": 1, "W_U": -1}


@pytest.mark.parametrize("closure", ["softmax,norm=linear", "leading,norm=linear", "order=4,norm=linear"])
def test_a_norm_of_what_does_not_vanish_is_never_linear(closure):
    model = formula(RowNorm(X + SHIFT, 1) * U, E, G, U, at_one=("g",))
    with pytest.raises(ValueError, match=r"`closure` .* a part that does not vanish with the weights"):
        derive(model, closure)
    with pytest.raises(ValueError, match="`norm` 'linear' takes normalisations as linear, but Formula"):
        escape_exponents(model, "linear")


@pytest.mark.parametrize("closure", ["leading", "drive", "order=2"])
def test_logits_that_do_not_vanish_have_no_expansion(closure):
    model = formula(RowNorm(COUNTS * S, 0), S)
    with pytest.raises(
        ValueError, match=r"`closure` .* expands the loss in the logits, but those of Formula"
    ):
        derive(model, closure)
    assert derive(model, "softmax").moving == ("s",)


def test_scores_that_do_not_vanish_are_dropped_with_attention():
    """The average in their place is wrong at every scale."""
    share = StochasticSymbol("A", D_VOCAB, D_VOCAB)
    scores = sp.HadamardProduct(share, sp.OneMatrix(D_VOCAB, 1) * G * E.T)
    fixed = scores + sp.HadamardProduct(share, sp.OneMatrix(D_VOCAB, 1) * G * G.T * sp.OneMatrix(1, D_VOCAB))
    model = formula(COUNTS * RowSoftmax(fixed, share) * E * U, E, G, U, at_one=("g",))
    assert set(derive(model, "softmax").residual_order.values()) == {0}
    assert min(derive(model, "leading").residual_order.values()) > 0


def test_exponents_of_what_is_no_model_are_refused():
    with pytest.raises(ValueError, match="`model` must be a Model, got int"):
        escape_exponents(3)
