"""What proofs keep of gradients: shared where all is the same, and dropped where the network is another by now."""

import numpy as np
import pytest
from helpers import random_data, random_weights
from own_models import E, U, own

from smallinit.compare.proof import kept_gradients
from smallinit.compare.proof.kept_gradients import KeptGradients
from smallinit.compare.proof.residuals import Autodiff, measure_residual
from smallinit.theory import Decoder, EmbMLP, derive
from smallinit.theory.data.inputs import COUNTS

MODEL, DATA = EmbMLP(7, 5, 6), random_data()
DIRECTION = random_weights(MODEL, 1, 1.0)
SCALES = (0.5, -0.5, 0.25)


@pytest.fixture
def calls(monkeypatch):
    """How often a gradient was computed; nothing is kept from before."""
    kept_gradients._LATEST.clear()
    counted, compute = [], Autodiff.__call__
    monkeypatch.setattr(Autodiff, "__call__", lambda self, w: counted.append(1) or compute(self, w))
    return counted


def asked(model=MODEL, data=DATA, direction=DIRECTION):
    gradient = KeptGradients(Autodiff, model, data, direction)
    return [gradient(scale, model.scaled(direction, scale)) for scale in SCALES]


def test_a_second_proof_computes_one_gradient(calls):
    """That of the first scale, to see that the network is the same."""
    first, second = asked(), asked(EmbMLP(7, 5, 6), random_data(), random_weights(MODEL, 1, 1.0))
    assert len(calls) == 4
    for ours, scale in zip(second, SCALES, strict=True):
        for w, value in Autodiff(MODEL, DATA)(MODEL.scaled(DIRECTION, scale)).items():
            np.testing.assert_array_equal(ours[w], value)
    assert all(a is b for a, b in zip(first[1:], second[1:], strict=True))


@pytest.mark.parametrize(
    "other",
    [
        {"direction": random_weights(MODEL, 2, 1.0)},
        {"data": random_data(1)},
        {"model": EmbMLP(7, 5, 6, "gelu")},
        {"model": EmbMLP(7, 5, 6, loss="mse")},
    ],
)
def test_another_proof_computes_its_own(calls, other):
    first, second = asked(), asked(**other)
    assert len(calls) == 6
    assert not any(np.array_equal(a["W_in"], b["W_in"]) for a, b in zip(first, second, strict=True))


def test_a_network_that_is_another_by_now_is_computed_again(calls, monkeypatch):
    """Its model says the same: the inputs changed."""
    asked()
    kept = Autodiff.__init__
    monkeypatch.setattr(Autodiff, "__init__", lambda self, model, data: kept(self, model, random_data(1)))
    found = asked()
    assert len(calls) == 6
    expected = Autodiff(MODEL, DATA)(MODEL.scaled(DIRECTION, SCALES[1]))
    np.testing.assert_array_equal(found[1]["W_in"], expected["W_in"])
    asked()
    assert len(calls) == 8


def test_models_that_pad_differently_share_nothing(calls):
    """Their logits are written alike, but not all rows count."""
    models = [Decoder(7, 4, 2, 4, 3, predict="all", padding=padding) for padding in (None, 0)]
    direction = random_weights(models[0], 1, 1.0)
    asked(models[0], direction=direction)
    asked(models[1], direction=direction)
    assert len(calls) == 6


def test_large_networks_keep_nothing(calls, monkeypatch):
    monkeypatch.setattr(kept_gradients, "LARGEST", 10)
    asked()
    asked()
    assert len(calls) == 6


def test_the_oldest_direction_is_forgotten(calls):
    for seed in range(kept_gradients.MOST + 1):
        asked(direction=random_weights(MODEL, seed, 1.0))
    assert len(kept_gradients._LATEST) == kept_gradients.MOST
    calls.clear()
    asked(direction=random_weights(MODEL, 0, 1.0))
    assert len(calls) == 3


@pytest.mark.parametrize("model", [MODEL, own(COUNTS * E * U)[0], Decoder(7, 4, 2, 4, 3, n_layers=1)])
def test_closures_share_their_gradients_and_find_the_same(calls, model):
    data = random_data(d_vocab=model.d_vocab)
    flows, direction = [derive(model, c) for c in ("leading", "softmax")], random_weights(model, 1, 1.0)

    def measured(clear):
        found = []
        for flow in flows:
            if clear:
                kept_gradients._LATEST.clear()
            found.append(measure_residual(flow, data, direction))
        return found

    alone = measured(clear=True)
    needed = len(calls)
    kept_gradients._LATEST.clear()
    calls.clear()
    together = measured(clear=False)
    assert len(calls) < 0.9 * needed
    for a, b in zip(alone, together, strict=True):
        assert a.measured == b.measured
        np.testing.assert_array_equal(a.eps, b.eps)


def test_large_networks_are_not_held_themselves(calls, monkeypatch):
    """Four copies of their weights were, though of their gradients none."""
    monkeypatch.setattr(kept_gradients, "LARGEST", 10)
    asked()
    assert not kept_gradients._LATEST


def test_what_is_kept_cannot_be_changed(calls):
    first = asked()
    with pytest.raises(ValueError, match="read-only"):
        first[0]["W_in"] += 1.0
