import pickle

import numpy as np
import pytest

from smallinit.theory.base.errors import FieldError, InputError
from smallinit.theory.base.validate import (
    brief,
    choice,
    did_you_mean,
    fraction,
    integer,
    nearest,
    positive,
    real,
)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_come_back_as_python_ints(value):
    assert type(integer("n", value, 1)) is int


@pytest.mark.parametrize("value", [0, -1, 3.0, True, np.True_, "3", None, np.float64(3.0)])
def test_what_is_no_integer_in_range_is_refused(value):
    with pytest.raises(FieldError, match=r"`n` must be an integer of at least 1, got ") as caught:
        integer("n", value, 1)
    assert caught.value.field == "n"


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1.0), np.int16(1)])
def test_numbers_come_back_as_python_floats(value):
    assert type(real("x", value)) is float


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, np.False_, "1", None, 1j])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(FieldError, match="`x` must be a finite number, got"):
        real("x", value)


def test_ranges():
    assert (positive("x", 2), fraction("x", 0.5)) == (2.0, 0.5)
    with pytest.raises(FieldError, match=r"`x` must be positive, got 0\."):
        positive("x", 0)
    for value in (0.0, 1.0, -0.5):
        with pytest.raises(FieldError, match="`x` must lie between 0 and 1"):
            fraction("x", value)


def test_choices_name_the_nearest_or_all():
    assert choice("optimizer", "gd", ("gd", "sgd")) == "gd"
    with pytest.raises(FieldError, match=r"`optimizer` 'sgdd' is unknown: did you mean 'sgd'\?"):
        choice("optimizer", "sgdd", ("gd", "sgd"))
    with pytest.raises(FieldError, match=r"`optimizer` 3 is unknown: choose one of gd, sgd\."):
        choice("optimizer", 3, ("gd", "sgd"))
    with pytest.raises(FieldError, match="is unknown"):
        choice("optimizer", ["gd"], ("gd", "sgd"))  # what cannot be hashed or compared is no name either


def test_nearest_does_not_mind_capitals():
    assert nearest("ADAMW", ("gd", "adamw")) == "adamw"
    assert nearest("embmlp", ("EmbMLP", "EmbedUnembed")) == "EmbMLP"
    assert nearest("zzz", ("gd",)) is None
    assert did_you_mean("zzz", ("gd",), "leave it out.") == "leave it out."


def test_values_are_shown_in_one_short_line():
    assert brief("a" * 100) == repr("a" * 100)[:57] + "..."
    assert brief(10**5000) == "a huge integer"


@pytest.mark.parametrize("error", [FieldError("n", "is wrong."), InputError("it is wrong.", ("text", "^"))])
def test_errors_survive_their_way_out_of_a_worker(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- of our own making
    assert (str(again), vars(again)) == (str(error), vars(error))
