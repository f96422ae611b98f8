"""What flows through networks written by hand, position by position, beside what is read off symbolic logits."""

import time

import numpy as np
import pytest
import torch
from hand_decoder import HandDecoder
from helpers import MODELS, data_for, random_data, random_weights

from smallinit.sim.forecast.starts.signals import SAMPLE, signals
from smallinit.theory import (
    AttentionOnly,
    Dataset,
    Decoder,
    EmbMLP,
    OneLayerTransformer,
    ScalarClassifier,
    TwoTokenMLP,
)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def same_values(a, b):
    """Equal as sets of numbers: the order of tokens in a row is nobody's business."""
    np.testing.assert_allclose(np.sort(np.ravel(a)), np.sort(np.ravel(b)), rtol=1e-12, atol=1e-14)


def distinct_tokens(d_vocab=6, n=12, n_ctx=3):
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(d_vocab)[:n_ctx] for _ in range(n)])
    return Dataset(rows, rng.integers(0, d_vocab, n), d_vocab)


def test_sum_of_embeddings():
    model, data = EmbMLP(7, 5, 6), random_data()
    w = random_weights(model)
    found = signals(model, w, data)
    h = np.stack([sum(w["W_E"][t] for t in row) for row in data.sequences])
    np.testing.assert_allclose(found["ends", "embedding"], h, rtol=1e-12)
    np.testing.assert_allclose(found["layer 1", "pre-activations"], h @ w["W_in"], rtol=1e-12)
    np.testing.assert_allclose(found["ends", "logits"], np.tanh(h @ w["W_in"]) @ w["W_out"], rtol=1e-12)
    assert set(found) == {("ends", "embedding"), ("layer 1", "pre-activations"), ("ends", "logits")}


@pytest.mark.parametrize("positions", [False, True])
def test_one_layer_transformer(positions):
    model, data = OneLayerTransformer(6, 5, 3, 4, 3, positions=positions), distinct_tokens()
    w = random_weights(model)
    found = signals(model, w, data)
    scores, hidden, logits = [], [], []
    for row in data.sequences:
        x = w["W_E"][row] + (w["W_pos"] if positions else 0.0)
        z = (x[-1] @ w["W_Q"]) @ (x @ w["W_K"]).T / np.sqrt(3)
        u = softmax(z) @ x @ w["W_V"] @ w["W_O"] + x[-1]
        scores.append(z - z.mean())
        hidden.append(u @ w["W_in"])
        logits.append((np.tanh(hidden[-1]) @ w["W_out"] + u) @ w["W_U"])
    same_values(found["layer 1", "scores"], scores)
    np.testing.assert_allclose(found["layer 1", "pre-activations"], hidden, rtol=1e-10)
    np.testing.assert_allclose(found["ends", "logits"], logits, rtol=1e-10)
    assert ("layer 2", "stream") in found


def test_two_tokens_have_two_embeddings_and_one_sum_of_pre_activations():
    model, data = TwoTokenMLP(7, 5), random_data(n_ctx=2)
    w, found = random_weights(model), None
    found = signals(model, w, data)
    rows = data.sequences[~data.held_out]
    first, second = w["W_E1"][rows[:, 0]], w["W_E2"][rows[:, 1]]
    assert {key for key in found if "layer" in key[0]} == {("layer 1", "pre-activations")}
    same_values(found["ends", "embedding"], first)
    same_values(found["ends, 2", "embedding"], second)
    same_values(found["layer 1", "pre-activations"], first + second)


def test_classifier_without_positions():
    model, data = ScalarClassifier(6, 5, 3, 4), distinct_tokens()
    data = Dataset(data.sequences, data.labels % 2, 6)
    w = random_weights(model)
    z = [w["W_Q"][row[-1]] @ w["W_K"][row].T for row in data.sequences]
    same_values(signals(model, w, data)["layer 1", "scores"], [s - s.mean() for s in z])


def test_scores_of_attention_at_all_positions():
    model, data = AttentionOnly(5, 3), random_data(d_vocab=5, n=6)
    w = random_weights(model)
    found = signals(model, w, data)["layer 1", "scores"]
    wanted = []
    for row in data.sequences:
        for i in range(3):
            z = np.array([w["W_QK_1"][row[i], row[j]] + w["w_pos_1"][i - j, 0] for j in range(i + 1)])
            wanted += list(z - z.mean())
    same_values(found, wanted)


@pytest.mark.parametrize("positions", ["learned", "rotary", None])
@pytest.mark.parametrize("norm", ["pre", "post", None])
def test_blocks_of_a_decoder(norm, positions):
    model = Decoder(7, 6, 4, 8, 5, n_heads=2, norm=norm, positions=positions, biases=True, predict="all")
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0.0, 0.5, shape) for name, shape in model.weights.items()}
    data = Dataset(rng.integers(0, 7, (8, 5)), rng.integers(0, 7, 8), 7)
    found = signals(model, weights, data)
    hand = HandDecoder(model, {name: torch.tensor(w) for name, w in weights.items()})
    wanted = {("ends", "logits"): [hand.logits(data.sequences)]} | hand.seen
    for key, values in wanted.items():
        same_values(found.pop(key), torch.cat([v.flatten() for v in values]))
    same_values(found.pop(("ends", "embedding")), weights["W_E"][data.sequences])
    assert set(found) == ({("ends", "stream")} if positions == "learned" else set())


def test_only_the_last_position_meets_the_last_block():
    model = Decoder(7, 6, 4, 8, 5, padding=0)
    data = Dataset([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], [1, 2], 7)
    found = signals(model, model.init(0.5, 0), data)
    assert found["blocks.0", "pre-activations"].shape == (5, 8)
    assert found["blocks.1", "pre-activations"].shape == (2, 8)
    assert found["blocks.0", "scores"].size == 6 + 3
    assert found["blocks.1", "scores"].size == 5


def test_a_deep_model_is_looked_through_in_linear_time():
    model = Decoder(7, 4, 2, 4, 3, n_layers=12, n_heads=3)
    began = time.perf_counter()
    found = signals(model, model.init(0.5, 0), random_data())
    assert time.perf_counter() - began < 10.0
    assert ("blocks.11", "scores") in found


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_finite_signals(name):
    model = MODELS[name][0]
    found = signals(model, random_weights(model), data_for(name))
    assert ("ends", "logits") in found
    assert all(v.size and np.isfinite(v).all() for v in found.values())


def test_a_sample_of_the_training_rows_is_looked_at():
    model, data = EmbMLP(7, 5, 6), random_data(n=900, held_out=True)
    found = signals(model, random_weights(model), data)
    assert 0.9 * SAMPLE <= len(found["ends", "logits"]) <= SAMPLE
