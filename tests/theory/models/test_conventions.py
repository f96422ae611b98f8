"""Conventions of initialisation: standard deviations from roles and widths, and the draws as they were."""

import numpy as np
import pytest
from helpers import MODELS

from smallinit.theory import (
    AttentionOnly,
    Decoder,
    EmbedUnembed,
    EmbMLP,
    OneLayerTransformer,
    ScalarClassifier,
    TwoTokenMLP,
)
from smallinit.theory.base.names import CONVENTIONS
from smallinit.theory.models.conventions import DEVIATIONS

V, D, F, H, N = 300, 200, 250, 150, 9
TRANSFORMER = OneLayerTransformer(V, D, H, F, N, positions=True)
DECODER = Decoder(V, D, H, F, N, n_layers=3, biases=True)
S = np.sqrt
# model -> convention -> weight -> standard deviation at gamma 0.7, worked out by hand
WANTED = {
    TRANSFORMER: {
        "rows": {"W_E": V**-0.7, "W_pos": N**-0.7, "W_Q": D**-0.7, "W_O": H**-0.7, "W_out": F**-0.7, "W_U": D**-0.7},
        "d_model": {"W_E": D**-0.7, "W_pos": D**-0.7, "W_K": D**-0.7, "W_O": D**-0.7 / S(2), "W_U": D**-0.7},
        "gpt2": {"W_E": 0.02, "W_pos": 0.02, "W_V": D**-0.7, "W_in": D**-0.7, "W_out": 0.02 / S(2), "W_U": 0.02},
        "mup": {"W_E": D**-0.2, "W_in": D**-0.7, "W_O": H**-0.7, "W_out": F**-0.7, "W_U": D**-1.2},
    },
    DECODER: {
        "d_model": {"W_E": D**-0.7, "blocks.2.W_Q": D**-0.7, "blocks.1.W_O": D**-0.7 / S(6), "W_U": D**-0.7},
        "gpt2": {"W_pos": 0.02, "blocks.0.W_in": D**-0.7, "blocks.0.W_out": 0.02 / S(6), "W_U": 0.02},
    },
    EmbMLP(V, D, F): {
        "d_model": {"W_E": D**-0.7, "W_in": D**-0.7, "W_out": D**-0.7},
        "gpt2": {"W_E": 0.02, "W_in": D**-0.7, "W_out": 0.02},
        "mup": {"W_E": D**-0.2, "W_in": D**-0.7, "W_out": F**-1.2},
    },
    EmbedUnembed(V, D): {"mup": {"W_E": D**-0.2, "W_U": D**-1.2}},
    TwoTokenMLP(V, F): {"d_model": {"W_E1": F**-0.7, "W_out": F**-0.7}},
    ScalarClassifier(V, D, H, F): {"d_model": {"W_V": D**-0.7}, "mup": {"W_Q": D**-0.2, "W_in": D**-0.7}},
    AttentionOnly(V, N, 2): {"d_model": {"W_QK_1": V**-0.7, "W_OV_2": V**-0.7 / S(2), "W_U": V**-0.7}},
}  # fmt: skip
CASES = [(m, c, w, std) for m, by in WANTED.items() for c, some in by.items() for w, std in some.items()]


@pytest.mark.parametrize(
    ("model", "convention", "name", "std"), CASES, ids=lambda x: getattr(x, "name", str(x))
)
def test_entries_have_the_deviation_of_their_convention(model, convention, name, std):
    w = model.init(0.7, 3, convention)[name]
    assert np.std(w) == pytest.approx(std, rel=5.0 / np.sqrt(w.size))


def test_at_one_half_mup_is_the_maximal_update_parametrisation():
    start = EmbMLP(V, D, F).init(0.5, 0, "mup")
    assert [np.std(start[w]) * s for w, s in (("W_E", 1.0), ("W_in", S(D)), ("W_out", F))] == pytest.approx(
        [1.0, 1.0, 1.0], rel=0.02
    )


def test_the_default_is_that_of_the_paper_to_the_last_bit():
    model = EmbMLP(7, 5, 6)
    streams = np.random.SeedSequence(4).spawn(3)
    by_hand = [
        np.random.default_rng(stream).normal(0.0, float(rows) ** -0.8, (rows, cols))
        for stream, (rows, cols) in zip(streams, ((7, 5), (5, 6), (6, 7)), strict=True)
    ]
    for start in (model.init(0.8, 4), model.init(0.8, 4, "rows")):
        for w, wanted in zip(start.values(), by_hand, strict=True):
            np.testing.assert_array_equal(w, wanted)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_conventions_differ_in_scale_alone(name, convention):
    model = MODELS[name][0]
    plain, other = model.init(0.6, 1), model.init(0.6, 1, convention)
    for w in model.weights:
        factors = other[w] / plain[w]
        np.testing.assert_allclose(factors, factors.flat[0], rtol=1e-12)
        assert factors.flat[0] > 0.0


def test_blocks_keep_exponents_of_their_own():
    model = EmbMLP(V, D, F)
    start = model.init({"W_E": 0.5, "W_in": 0.9, "W_out": 0.7}, 0, "d_model")
    assert [np.std(w) for w in start.values()] == pytest.approx([D**-0.5, D**-0.9, D**-0.7], rel=0.02)


def test_gains_and_shifts_of_a_decoder_are_left_as_they_are():
    start = DECODER.init(0.7, 0, "mup")
    assert np.all(start["ln_final.w"] == 1.0)
    assert np.all(start["blocks.1.ln2.b"] == 0.0)


def test_the_list_of_names_is_that_of_the_conventions():
    assert tuple(DEVIATIONS) == CONVENTIONS


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"`convention` 'd_modl' is unknown: did you mean 'd_model'\?"):
        EmbMLP(5, 4, 3).init(0.8, 0, "d_modl")
