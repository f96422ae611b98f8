"""Weights called as users call them: refused when the model is made or first used, never after the work."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import sympy as sp
from helpers import random_data, random_weights

from smallinit.compare import check, overlay, train
from smallinit.compare.proof.residuals import autodiff_gradient
from smallinit.sim import integrate, load_trajectory
from smallinit.theory import Model, derive, weight
from smallinit.theory.algebra.matrices import product, total
from smallinit.theory.base.errors import FieldError
from smallinit.theory.data.inputs import C_MEAN, COUNTS, D_MODEL, D_VOCAB

BAD = ["t", "type", "training", "W..0", "W-E", "a/b", "", "Y", "C_mean", "_hidden", "nul\0", "\ud800"]


@dataclass(frozen=True)
class Named(Model):
    """Counts and means through two weights of any names."""

    d_model: int = 3
    names: tuple = field(default=("W_E", "W_U"))

    @property
    def weight_symbols(self):
        return (
            sp.MatrixSymbol(self.names[0], D_VOCAB, D_MODEL),
            sp.MatrixSymbol(self.names[1], D_MODEL, D_VOCAB),
        )

    @property
    def logits(self):
        E, U = self.weight_symbols
        return total(product(COUNTS, E, U), product(C_MEAN, E, U))


FIRST_USES = {
    "weights": lambda model: model.weights,
    "init": lambda model: model.init(0.5, 0),
    "derive": derive,
    "validate": lambda model: model.validate({}),
    "train": lambda model: train(model, random_data(), {}),
}


@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES)
@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_name_that_cannot_be_is_refused_at_first_use(name, use):
    with pytest.raises(FieldError, match="`weight_symbols` have a weight called"):
        use(Named(7, names=(name, "W_U")))


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_name_that_cannot_be_is_refused_where_the_symbol_is_made(name):
    with pytest.raises(FieldError, match="`weight_symbols` have a weight called"):
        weight(name, "d_vocab", "d_model")


def test_names_that_clash_with_one_another_or_with_fields_are_refused():
    with pytest.raises(FieldError, match="have two symbols called 'W': give every one a name of its own"):
        derive(Named(7, names=("W", "W")))
    with pytest.raises(
        FieldError, match="have a weight called 'd_model', which is a field of the model: rename"
    ):
        derive(Named(7, names=("d_model", "W_U")))


@dataclass(frozen=True)
class Sized(Named):
    """A dimension that is called like the number of rows."""

    n: int = 4


def test_a_dimension_that_is_called_like_ours_is_refused():
    with pytest.raises(FieldError, match="`n` is no name for a dimension of a model, it stands for rows"):
        derive(Sized(7))


PAIRS = [("V", "L"), ("r", "M"), ("M", "K"), ("S", "A"), ("s", "eps"), ("E", "x"), ("W_1", "W1")]


@pytest.mark.parametrize("names", PAIRS)
def test_names_that_our_pages_use_too_are_told_apart(names, tmp_path):
    """Every step of the way: derived, evaluated, printed, claimed, integrated, trained, saved."""
    model, data = Named(7, names=names), random_data()
    usual = Named(7)
    there = dict(zip(usual.weights, names, strict=True))
    start = random_weights(usual)
    given = {there[name]: value for name, value in start.items()}
    flow, plain = derive(model, "exact"), derive(usual, "exact")
    expected, found = plain.rhs(data, start), flow.rhs(data, given)
    truth = autodiff_gradient(model, data, given)
    for name, other in there.items():
        np.testing.assert_allclose(found[other], expected[name], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found[other], -truth[other], rtol=1e-9, atol=1e-13)
    assert len({*flow.definitions, *flow.readable, *flow.statistics}) == len(
        [*flow.definitions, *flow.readable, *{s for s in flow.statistics if s not in flow.definitions}]
    )
    leading = str(derive(model, "leading")).splitlines()[1].split(" = ")[1]
    assert check(f"d{names[0]} = {leading}", model, data).status == "leading order"
    theory = integrate(flow, data, given, 0.4, 5)
    training = train(model, data, given, learning_rate=0.1, steps=4, save_at=5)
    assert overlay(theory, training).relative_error[names[0]][-1] < 0.05
    back = load_trajectory(theory.save(tmp_path / "run.nc"), model, data)
    for name in names:
        np.testing.assert_array_equal(back.weights[name], theory.weights[name])
        np.testing.assert_array_equal(back[f"norm/{name}"], theory[f"norm/{name}"])
