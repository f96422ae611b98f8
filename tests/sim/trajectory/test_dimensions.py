from dataclasses import dataclass

import numpy as np
import pytest
from helpers import MODELS

from smallinit.sim.trajectory.dimensions import weight_axes
from smallinit.theory import AttentionOnly, Decoder, EmbMLP, Model, OneLayerTransformer, TwoTokenMLP, weight
from smallinit.theory.data.inputs import COUNTS


def axes(model):
    return weight_axes({name: np.zeros((2, *shape)) for name, shape in model.weights.items()}, model)


def test_axes_are_the_models_dimensions():
    assert axes(OneLayerTransformer(6, 7, 3, 4, 3, unembed=False)) == {
        "W_E": ("d_vocab", "d_model"),
        "W_Q": ("d_model", "d_head"),
        "W_K": ("d_model", "d_head"),
        "W_V": ("d_model", "d_head"),
        "W_O": ("d_head", "d_model"),
        "W_in": ("d_model", "d_mlp"),
        "W_out": ("d_mlp", "d_model"),
    }
    assert axes(TwoTokenMLP(6, 5))["W_E2"] == ("d_vocab", "d_mlp")


def test_equal_dimensions_keep_their_names():
    assert axes(EmbMLP(4, 4, 4))["W_in"] == ("d_model", "d_mlp")
    square = axes(AttentionOnly(5, 3))
    assert square["W_QK_1"] == ("d_vocab", "d_vocab_2")
    assert square["w_pos_1"] == ("n_ctx", "w_pos_1_col")


@pytest.mark.parametrize("case", MODELS)
def test_a_name_has_one_size(case):
    model = MODELS[case][0]
    sizes = {}
    for name, (row, col) in axes(model).items():
        assert row != col
        for axis, size in zip((row, col), model.weights[name], strict=True):
            assert sizes.setdefault(axis, size) == size


@dataclass(frozen=True)
class Wide(Model):
    d_wide: int

    @property
    def weight_symbols(self):
        return weight("W_E", "d_vocab", "d_wide"), weight("W_U", "d_wide", "d_vocab")

    @property
    def logits(self):
        return COUNTS * self.weight_symbols[0] * self.weight_symbols[1]


def test_axes_of_ones_own_model_and_of_the_decoder():
    assert axes(Wide(6, 3)) == {"W_E": ("d_vocab", "d_wide"), "W_U": ("d_wide", "d_vocab")}
    decoder = axes(Decoder(7, d_model=8, d_head=3, d_mlp=5, n_ctx=4, n_heads=2))
    assert decoder["blocks.0.W_in"] == ("d_model", "d_mlp")
    assert decoder["blocks.0.W_Q"] == ("d_model", "blocks.0.W_Q_col")  # heads stand side by side
    assert decoder["W_pos"] == ("n_ctx", "d_model")


def test_what_is_not_of_the_models_size_has_a_name_of_its_own():
    model = EmbMLP(6, 5, 4)
    reduced = {"W_E": np.zeros((2, 3, 5)), "W_in": np.zeros((2, 5, 4)), "W_out": np.zeros((2, 4, 3))}
    assert weight_axes(reduced, model) == {
        "W_E": ("W_E_row", "d_model"),
        "W_in": ("d_model", "d_mlp"),
        "W_out": ("d_mlp", "W_out_col"),
    }
