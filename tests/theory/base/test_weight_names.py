import pytest
import torch

from smallinit.compare.training.networks import TWINS, SymbolicNetwork
from smallinit.theory import Decoder, Model
from smallinit.theory.algebra.nodes import matrix_symbols
from smallinit.theory.base.errors import FieldError
from smallinit.theory.base.names import PREDICT
from smallinit.theory.base.weight_names import DATA, NETWORK, weight_name
from smallinit.theory.data.inputs import BUILDERS


@pytest.mark.parametrize(
    "name",
    [
        "W_E",
        "w",
        "W1",
        "blocks.0.W_Q",
        "ln.w",
        "W_QK_1",
        "A_00",
        "V",
        "r",
        "M",
        "K",
        "S",
        "beta",
        "W__E",
        "y",
    ],
)
def test_plain_names_are_kept(name):
    assert weight_name(name) == name


NO_NAMES = [
    "",
    "W.",
    ".W",
    "W..0",
    "W-E",
    "a/b",
    "1W",
    "_W",
    "W E",
    "W\0",
    "W\ud800",
    "θ",
    "W^{1}",
    "$x^$",
    3,
    None,
]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_what_is_no_plain_name_is_refused(name):
    with pytest.raises(FieldError, match=r"have a weight called .*: give it a letter, then letters, digits"):
        weight_name(name)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("t", "an axis of a trajectory"),
        ("step", "an axis of a trajectory"),
        ("type", "an attribute of torch networks"),
        ("training", "an attribute of torch networks"),
        ("double", "an attribute of torch networks"),
        ("Y", "a data matrix"),
        ("C_mean", "a data matrix"),
        ("omega", "a data matrix"),
        ("n", "a size"),
        ("I", "a sign of printed equations"),
        ("Pi", "a sign of printed equations"),
        ("sum", "a word of observables"),
    ],
)
def test_names_that_mean_something_else_are_refused(name, meaning):
    with pytest.raises(FieldError, match=f"called '{name}', which is {meaning}: give it a name of its own"):
        weight_name(name)


def test_parts_of_names_are_attributes_too():
    with pytest.raises(
        FieldError, match=r"'blocks\.train\.w', of which 'train' is an attribute of torch networks"
    ):
        weight_name("blocks.train.w")


def test_the_lists_are_complete():
    twins = [twin for model, twin in TWINS.items() if issubclass(model, Model)]
    decoders = [
        Decoder(5, 4, 2, 3, 3, positions=p, predict=q) for p in ("learned", "rotary") for q in PREDICT
    ]
    read = {s.name for m in decoders for s in matrix_symbols(m.logits) if s.name not in m.weights}
    assert {*BUILDERS, *read, "Y", "omega"} == set(DATA)
    own = {name for twin in (*twins, SymbolicNetwork) for name in vars(twin) if not name.startswith("_")}
    torch_has = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert torch_has | own | {"model", "activation", "dtype"} <= set(NETWORK)
