"""Which rows a closure divides by: those of first terms, by the norms that hold them."""

import pytest

from smallinit.theory import Decoder, derive
from smallinit.theory.flows.divided import divided_rows, divides_by_first_terms, readers_of

SIZES = {"d_vocab": 7, "d_model": 4, "d_head": 2, "d_mlp": 4, "n_ctx": 3, "n_layers": 1}


@pytest.mark.parametrize(
    ("options", "closure", "divides"),
    [
        ({}, "leading", True),
        ({}, "drive", True),
        ({}, "order=2", True),
        ({}, "softmax", False),
        ({}, "exact", False),
        ({}, "leading,norm=linear", False),
        ({"norm": None}, "leading", False),
    ],
)
def test_series_about_directions_divide(options, closure, divides):
    flow = derive(Decoder(**SIZES, **options), closure)
    assert divides_by_first_terms(flow) == bool(divided_rows(flow)) == divides


@pytest.mark.parametrize("closure", ["leading", "order=2"])
def test_rows_are_the_embedding_and_know_their_readers(closure):
    flow = derive(Decoder(**SIZES), closure)
    found = divided_rows(flow)
    assert {d.eps for d in found} == {1e-5}
    assert {s.name for d in found for s in d.rows.free_symbols if hasattr(s, "shape")} >= {"W_E", "W_pos"}
    assert {r for d in found for r in readers_of(flow.model, d.square)} <= {
        "blocks.0.ln1.w",
        "blocks.0.ln2.w",
        "ln_final.w",
    }
    assert any(readers_of(flow.model, d.square) for d in found)
