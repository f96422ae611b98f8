"""The batches of a seed are the same for training and for theory."""

import numpy as np
import pytest
from helpers import MODELS, data_for, padded_case, random_weights

from smallinit.compare import overlay, train
from smallinit.sim import GD, AdamW, SignGD, WarmupCosine, integrate
from smallinit.theory import derive

ADAM = AdamW(0.01, weight_decay=0.1, schedule=WarmupCosine(5, 30))


@pytest.mark.parametrize("optimizer", [ADAM, SignGD(0.01, eps=1e-3)], ids=["adam", "sign"])
@pytest.mark.parametrize("name", MODELS)
def test_the_exact_flow_on_the_batches_of_a_seed_is_the_run(name, optimizer):
    model, data = MODELS[name][0], data_for(name, seed=3)
    start = random_weights(model, 4, 0.6)
    options = {"steps": 30, "optimizer": optimizer, "batch_size": 4, "seed": 3, "save_at": [0, 11, 30]}
    run, theory = (
        train(model, data, start, **options),
        integrate(derive(model, "exact"), data, start, **options),
    )
    for w in start:
        np.testing.assert_allclose(theory.weights[w], run.weights[w], rtol=1e-9, atol=1e-12)


def test_padding_has_no_row_in_a_batch_either():
    model, data = padded_case()
    start = random_weights(model, 4, 0.6)
    options = {"steps": 10, "optimizer": GD(0.1), "batch_size": 4, "seed": 3, "save_at": [0, 4, 10]}
    theory = integrate(derive(model, "exact"), data, start, **options)
    run = train(model, data, start, **options)
    for w in start:
        np.testing.assert_allclose(theory.weights[w], run.weights[w], rtol=1e-10, atol=1e-13)


def test_an_overlay_says_the_batch():
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp")
    start = model.init(0.5, 0)
    options = {"steps": 10, "optimizer": ADAM, "batch_size": 5, "save_at": [0, 5, 10]}
    both = overlay(
        integrate(derive(model, "softmax"), data, start, **options), train(model, data, start, **options)
    )
    mover = "AdamW, learning rate 0.01, warm-up and cosine schedule, weight decay 0.1, batches of 5"
    assert f"softmax, {mover} over {mover}" in str(both)
