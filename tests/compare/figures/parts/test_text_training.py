from dataclasses import replace

import numpy as np
import pytest

from smallinit.compare.figures.parts.text_runs import CORPORA, generated
from smallinit.compare.figures.parts.text_training import TextTraining, text_curves

TINY = TextTraining(
    documents=30, held_out=10, vocabulary=300, n_ctx=12, d_model=16, d_head=8, d_mlp=16, epochs=2, saved=4,
    learning_rate=1e-2, batch_size=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return TINY.data(generated(40))


@pytest.mark.parametrize("width", [32, 64, 400])
def test_the_paper_s_exponents_are_matched_in_what_a_layer_does(data, width):
    wide = replace(TINY, d_model=width)
    for gamma in (0.3, 0.8):
        gain = 768.0**-gamma * np.sqrt(768.0)
        assert width ** -wide.exponent(gamma) * np.sqrt(width) == pytest.approx(gain)
        std = wide.start(data, gamma, 0)["W_E"].std()
        assert std * np.sqrt(width) == pytest.approx(gain, rel=0.05)
    assert replace(TINY, d_model=768).exponent(0.8) == pytest.approx(0.8)
    assert replace(TINY, d_model=64).exponent(0.3) == pytest.approx(
        0.181, abs=1e-3
    )  # of the formula sheet, H
    assert replace(TINY, d_model=64).exponent(0.8) == pytest.approx(0.979, abs=1e-3)


def test_the_factors_reach_the_network(data):
    assert "W_U" not in replace(TINY, tied=True).model(data).weights
    assert replace(TINY, norm=None).model(data).norm is None
    assert replace(TINY, norm_eps=1e-12).model(data).norm_eps == 1e-12
    rows = replace(TINY, convention="rows")
    gain = data.d_vocab ** -rows.exponent(0.8)
    assert rows.start(data, 0.8, 0)["W_E"].std() == pytest.approx(gain, rel=0.05)


def test_an_epoch_draws_as_many_windows_as_are_trained_on(data):
    trained_on = int((~data.held_out).sum())
    assert trained_on == pytest.approx(60, abs=3)  # held-out parts are of words, not of documents
    assert TINY.steps_an_epoch(data) == trained_on / 10
    assert TINY.save_at(data)[[0, -1]].tolist() == [0, round(2 * trained_on / 10)]


def test_curves_are_those_of_the_network(data):
    run = TINY.train(data, 0.5, 1)
    curves = text_curves(run, data)
    last = {name: w[-1] for name, w in run.weights.items()}
    for name in CORPORA:
        for kind, group in (("loss", "train"), ("held out", "test")):
            values = curves[f"{kind}/{name}"]
            assert values.shape == run.steps.shape
            np.testing.assert_array_equal(values, run[f"loss/{name}-{group}"])
        rows = last["W_E"][data.token_groups[name]]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        pairs = (unit @ unit.T)[~np.eye(len(rows), dtype=bool)]
        assert curves[f"cosine/{name}"][-1] == pytest.approx(pairs.mean())
    assert curves["loss/narrative"][-1] < curves["loss/narrative"][0] - 0.5
