import inspect
import pickle

import numpy as np
import pytest
import torch
import xarray

from smallinit import compare, sim, theory
from smallinit.theory import Dataset, Lexicon
from smallinit.theory.base.errors import FieldError, InputError
from smallinit.theory.base.validate import (
    brief,
    choice,
    did_you_mean,
    fraction,
    integer,
    nearest,
    passed_on,
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


# Extra entries are the purpose of the first; the others are sympy's own, and take any hint.
TAKE_ANYTHING = ("provenance", ".doit")


def test_what_is_known_goes_through_and_what_is_near_is_named():
    def inner(rows, *, label="label", columns=None):
        return rows, label, columns

    assert passed_on("f", inner, {"label": "x"}) == {"label": "x"}
    assert passed_on("f", inner, {"size": 3}, "size") == {"size": 3}
    with pytest.raises(TypeError, match=r"`lable` is no option of f: did you mean 'label'\?"):
        passed_on("f", inner, {"lable": "x"})
    with pytest.raises(TypeError, match="`rows` is no option of f: choose one of size, label, columns"):
        passed_on("f", inner, {"rows": 3}, "size")


def passing_on():
    """Public functions and methods, of our own, that take any keyword."""
    for layer in (theory, sim, compare):
        for name in layer.__all__:
            thing = getattr(layer, name)
            members = (
                {name: thing}
                if not inspect.isclass(thing)
                else {f"{name}.{key}": getattr(thing, key) for key in vars(thing) if not key.startswith("_")}
            )
            for said, member in members.items():
                if not inspect.isroutine(member) or not member.__module__.startswith("smallinit"):
                    continue
                if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(member).parameters.values()):
                    yield said, member


@pytest.mark.parametrize(
    ("said", "member"), [pair for pair in passing_on() if not pair[0].endswith(TAKE_ANYTHING)]
)
def test_every_public_function_names_itself(said, member):
    needed = [p for p in inspect.signature(member).parameters.values() if p.default is p.empty]
    given = [object() for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD]
    if said == "Lexicon.dataset":
        given[0] = Lexicon(("<unk>", "a"))
    with pytest.raises(TypeError, match=f"`no_such_option` is no option of {said}: choose one of "):
        member(*given, no_such_option=1)


def test_separators_are_found_and_not_asked_for(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a;label\n1;2\n")
    assert len(Dataset.from_csv(path)) == 1
    with pytest.raises(
        TypeError, match=r"`sep` is no option of Dataset\.from_csv: choose one of label, group, columns"
    ):
        Dataset.from_csv(path, sep=";")


@pytest.mark.parametrize("value", [np.array(1), np.array(1.0), torch.tensor(1.0), xarray.DataArray(1.0)])
def test_numbers_in_arrays_without_axes_are_told_how_to_get_out(value):
    with pytest.raises(
        FieldError, match=r"^`gamma` must be a finite number, got .*: give its `.item\(\)`\.$"
    ):
        real("gamma", value)
    with pytest.raises(FieldError, match=r"at least 1, got .*: give its `.item\(\)`\.$"):
        integer("n", value, 1)
    with pytest.raises(FieldError, match=r"must be a finite number, got nan\.$"):
        real("gamma", float("nan"))
