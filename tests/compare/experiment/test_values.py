"""Values of experiment files and flags that have a form of their own."""

import pytest

from smallinit.compare.experiment.values import check_closures, parse_closures
from smallinit.theory import Decoder
from smallinit.theory.flows.closure import Closure

MODEL = Decoder(7, 4, 2, 3, 3, n_layers=1)


@pytest.mark.parametrize(
    "name",
    ["softmax+norm=linear", "leading+norm=linear", "order=4+norm=linear", "activation=3+attention=0+norm=linear",
     "norm=linear", "exact", "order=7"],
)  # fmt: skip
def test_closures_of_files_are_those_of_the_theory(name):
    (read,) = check_closures(parse_closures(name))
    assert Closure.of(read, MODEL).name == read


@pytest.mark.parametrize("name", ["softmax+norm=half", "norm=linear+softmax", "softmax+softmax"])
def test_other_closures_are_refused(name):
    with pytest.raises(ValueError, match="unknown closure"):
        check_closures(parse_closures(name))
