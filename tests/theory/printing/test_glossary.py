"""What the letters of a page mean."""

import pytest

from smallinit.theory import AttentionOnly, Decoder, EmbMLP, OneLayerTransformer, derive
from smallinit.theory.algebra.nodes import matrix_symbols
from smallinit.theory.data.inputs import BUILDERS
from smallinit.theory.data.positions import NAMES
from smallinit.theory.printing.glossary import MEANINGS, glossary

MODELS = [
    EmbMLP(12, d_model=4, d_mlp=4),
    AttentionOnly(12, n_ctx=3, n_layers=2),
    Decoder(12, d_model=4, d_head=4, d_mlp=4, n_ctx=3, positions="rotary"),
    OneLayerTransformer(12, d_model=4, d_head=4, d_mlp=4, n_ctx=3),
]


def test_every_data_matrix_has_a_meaning():
    assert {*BUILDERS, *NAMES} <= set(MEANINGS)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
@pytest.mark.parametrize("closure", ["leading", "softmax", "exact"])
def test_no_letter_of_a_page_is_left_unexplained(model, closure):
    flow = derive(model, closure)
    flow.__dict__["invariants"] = ()  # searched for elsewhere
    shown = [*flow.readable.values(), *flow.definitions.values()]
    letters = {s.name for e in shown for s in matrix_symbols(e)}
    own = {*model.weights, *(str(s) for s in flow.definitions)}
    told = {line.split()[0] for line in glossary(str(flow)).splitlines()[1:]}
    assert {name for name in letters - own if not name.startswith("head_")} <= told


def test_only_what_stands_there_is_told():
    page = str(derive(MODELS[0], "leading"))
    assert [line.split()[0] for line in glossary(page).splitlines()] == [
        "where",
        "C",
        "Y",
        "omega",
        "Pi",
        "o",
        "eps",
    ]
    assert glossary("  dA/dt = B") == ""
    assert "C " not in glossary("  dA/dt = C*Pi\n  with C = A")
