"""What is kept of a model is kept by its equations: the same class and fields can stand for other ones."""

from dataclasses import dataclass

import numpy as np
import pytest
import sympy as sp
from helpers import random_data, random_weights

from smallinit.theory import Closure, Model, derive, weight
from smallinit.theory.algebra.matrices import product
from smallinit.theory.base.errors import FieldError
from smallinit.theory.data.inputs import COUNTS
from smallinit.theory.flows.powers import logit_series, loss_series, model_logits, start_powers
from smallinit.theory.flows.statistics import statistics

E, U = weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")
GAIN = {"now": 1}


@dataclass(frozen=True)
class Gained(Model):
    """As a notebook has them: a number of the cell above stands in the logits."""

    d_model: int = 3

    @property
    def weight_symbols(self):
        return E, U

    @property
    def logits(self):
        return product(GAIN["now"], COUNTS, E, U)


def made(gain):
    GAIN["now"] = gain
    return Gained(7)


@pytest.mark.parametrize("closure", ["leading", "order=4", "softmax", "exact"])
def test_a_number_of_the_notebook_changed_between_two_models_of_equal_fields(closure):
    data, once, thrice = random_data(), made(1), made(3)
    before = derive(once, closure)  # first use: with the gain of that moment
    GAIN["now"] = 1
    first = derive(made(1), closure)
    second = derive(made(3), closure)
    weights = random_weights(once)
    one, three = (flow.rhs(data, weights) for flow in (first, second))
    if closure == "leading":
        assert np.allclose(three["W_E"], 3.0 * one["W_E"])
    assert not np.allclose(three["W_E"], one["W_E"])
    assert dict(before.right_hand_sides) in (dict(first.right_hand_sides), dict(second.right_hand_sides))
    assert thrice == once  # as values of a frozen dataclass they are


@pytest.mark.parametrize(
    "keep",
    [
        model_logits,
        start_powers,
        statistics,
        lambda model: logit_series(model, 3),
        lambda model: loss_series(model, 4),
        lambda model: Closure(2).logits(model),
    ],
)
def test_what_is_kept_is_the_same_object_for_equal_equations_only(keep):
    first = keep(made(2))
    assert keep(made(2)) is first
    assert keep(made(5)) is not first


@pytest.mark.parametrize(
    "keep", [start_powers, statistics, lambda m: logit_series(m, 3), lambda m: loss_series(m, 4)]
)
def test_what_is_kept_cannot_be_changed_by_who_asked_for_it(keep):
    with pytest.raises(TypeError, match="cannot be changed"):
        keep(made(1))["W_E"] = 0


class Bare(Gained):
    """A subclass that is no dataclass, with a number that is no field."""

    def __init__(self, gain):
        super().__init__(7)
        self.gain = gain

    @property
    def logits(self):
        return product(self.gain, COUNTS, E, U)


def test_an_attribute_that_is_no_field_is_refused():
    with pytest.raises(FieldError, match="`gain` is no field of Bare: declare it in the class, under"):
        Bare(2)


@dataclass(frozen=True)
class Masked(Gained):
    """An array of the user's among the fields."""

    mask: object = None
    notes: object = None

    @property
    def logits(self):
        return product(sp.Integer(int(self.mask.sum())), COUNTS, E, U)


def test_arrays_and_lists_among_the_fields_are_the_models_own():
    mask, notes = np.ones(3), {"kept": [1, 2]}
    model = Masked(7, mask=mask, notes=notes)
    mask[:] = 0.0
    notes["kept"].append(3)
    assert model.mask.sum() == 3.0
    assert model.notes == {"kept": (1, 2)}
    with pytest.raises(ValueError, match="read-only"):
        model.mask[0] = 5.0
    derive(model, "leading")  # needs no hash of the array


def test_the_record_of_a_model_tells_long_arrays_apart():
    one, two = np.zeros(5000), np.zeros(5000)
    two[2500] = 1.0  # numpy's text of the two is the same
    records = [Masked(7, mask=mask).spec() for mask in (one, two, one.copy())]
    assert records[0] != records[1]
    assert records[0] == records[2]
