"""Two stages: the values' direction, the onset of keys and queries, and their prediction from the start alone."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import MODELS, data_for, random_data, random_weights, relative

from smallinit.sim import Outcome, Status, Trajectory, alignment, integrate, onset, predict_stages
from smallinit.sim.forecast.stages import coupling, value_direction
from smallinit.theory import Dataset, EmbMLP, OneLayerTransformer, ScalarClassifier, derive
from smallinit.theory.exact.keys_and_queries import key_query


def classifier(eps, seed=0):
    """Random labels, more than the averaged attention can fit: there is a plateau."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 12, (60, 5)), rng.integers(0, 2, 60), 12)
    model = ScalarClassifier(12, 10, 6, 12)
    draw = np.random.default_rng(seed)
    return model, data, {w: eps * draw.normal(size=shape) for w, shape in model.weights.items()}


def test_direction_of_a_classifier_is_the_signed_mean_token():
    model, data, start = classifier(0.1)
    mean = np.zeros(12)
    for x, y, w in zip(data.sequences, data.labels, data.weights, strict=True):
        np.add.at(mean, x, w * (1 if y else -1))
    v = value_direction(model, data, start)
    assert abs(v @ mean) / np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["classifier", "transformer", "transformer, unembed"])
def test_direction_is_where_the_values_gradient_points(name):
    """The classifier's W_V grows along v exactly; a transformer's along W_E^T M, of which v is the first direction."""
    model, data = MODELS[name][0], data_for(name)
    weights = random_weights(model, scale=1e-3)
    v = value_direction(model, data, weights)
    grown = derive(model, "leading").rhs(data, weights)["W_V"]
    share = np.linalg.norm(v @ grown) / np.linalg.norm(grown)
    assert share > (1 - 1e-9 if name == "classifier" else 0.5)
    assert np.linalg.norm(v) == pytest.approx(1.0)


def test_alignment_by_hand():
    model, data, start = classifier(0.1)
    path = integrate(derive(model, "leading"), data, start, t1=5.0, save_at=3)
    v = value_direction(model, data, start)
    expected = [np.linalg.norm(v @ w) / np.linalg.norm(w) for w in path.weights["W_V"]]
    np.testing.assert_allclose(alignment(path), expected, rtol=1e-12)


def grown(factor_per_time):
    t = np.linspace(0.0, 4.0, 9)
    size = np.exp(factor_per_time * t)[:, None, None] * np.ones((9, 2, 2))
    return Trajectory(t, {"W_Q": size, "W_K": size}, Outcome(Status.REACHED_END, 4.0))


def test_onset_of_exponential_growth_is_exact():
    assert onset(grown(0.3)) == pytest.approx(np.log(2) / 0.3)
    assert onset(grown(0.3), factor=1.1) == pytest.approx(np.log(1.1) / 0.3)
    assert onset(grown(0.1)) == np.inf


@pytest.mark.parametrize(
    "name", ["classifier", "transformer", "transformer, unembed", "transformer, positions"]
)
def test_coupling_is_the_linear_flow_of_keys_and_queries(name):
    """Against the derived flow itself at keys and queries so small that the next order is rounding; any head width."""
    model, data = MODELS[name][0], data_for(name)
    weights = random_weights(model)
    for w in ("W_Q", "W_K"):
        weights[w] = 1e-6 * weights[w]
    F, slope = coupling(model, data, weights), derive(model, "exact").rhs(data, weights)
    assert relative(slope["W_Q"], F @ weights["W_K"]) < 1e-9
    assert relative(slope["W_K"], F.T @ weights["W_Q"]) < 1e-9


def test_coupling_does_not_depend_on_the_head_width_of_a_classifier():
    model, data, start = classifier(0.5)
    wide = replace(model, d_head=12)
    there = start | {w: np.zeros((12, 12)) for w in ("W_Q", "W_K")}
    np.testing.assert_allclose(coupling(model, data, start), coupling(wide, data, there), rtol=1e-12)


def test_predicted_onset_closes_in_as_weights_shrink():
    errors = []
    for eps in (0.1, 0.01):
        model, data, start = classifier(eps)
        stages = predict_stages(model, data, start)
        path = integrate(derive(model, "exact"), data, start, t1=1.5 * stages.onset, save_at=801)
        errors.append(abs(stages.onset / onset(path) - 1.0))
        assert stages.blow_up < stages.onset
        Q, K = key_query(stages.onset - stages.blow_up, stages.coupling, start["W_Q"], start["W_K"])
        size = np.hypot(*(np.linalg.norm(start[w]) for w in ("W_Q", "W_K")))
        assert np.hypot(np.linalg.norm(Q), np.linalg.norm(K)) == pytest.approx(2 * size)
    assert errors[1] < 0.03
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("loss", "label", "other"),
    [
        ("cross_entropy", 2 / 3, -1 / 3),
        ("mse", 1.0, 0.0),
        ("logistic", 1.0, -1.0),
        ("exponential", 1.0, -1.0),
    ],
)
def test_direction_of_a_transformer_follows_its_loss(loss, label, other):
    """The pull of a label on three logits at zero, by hand; margins push all other logits down."""
    rng = np.random.default_rng(3)
    data = Dataset(rng.integers(0, 3, (9, 4)), rng.integers(0, 3, 9), 3, weights=rng.uniform(0.2, 2.0, 9))
    model = OneLayerTransformer(3, 4, 2, 3, n_ctx=4, loss=loss)
    start = random_weights(model, scale=0.3)
    M = np.zeros((3, 3))
    for x, y, w in zip(data.sequences, data.labels, data.weights, strict=True):
        M += w * np.outer(np.bincount(x, minlength=3) / 4, np.where(np.arange(3) == y, label, other))
    expected = np.linalg.svd(start["W_E"].T @ M)[0][:, 0]
    assert abs(value_direction(model, data, start) @ expected) == pytest.approx(1.0, abs=1e-12)


def test_keys_and_queries_at_zero_never_grow():
    model, data, start = classifier(0.1)
    start |= {name: np.zeros_like(start[name]) for name in ("W_Q", "W_K")}
    assert predict_stages(model, data, start).onset == np.inf


def test_bad_input_is_named():
    model, data, start = classifier(0.1)
    with pytest.raises(ValueError, match="`t1` 1: no blow-up"):
        predict_stages(model, data, start, t1=1.0)
    with pytest.raises(ValueError, match="EmbMLP has no W_Q and W_K"):
        predict_stages(EmbMLP(7, 3, 3), random_data(), {})
    with pytest.raises(ValueError, match="`factor` must be above 1"):
        onset(grown(0.1), factor=1.0)
    flat = EmbMLP(7, 3, 3)
    path = integrate(derive(flat, "leading"), random_data(), flat.init(0.8, 0), t1=1.0, save_at=2)
    with pytest.raises(ValueError, match="`trajectory` has no W_Q and W_K"):
        onset(path)
    with pytest.raises(ValueError, match="`trajectory` has no W_V"):
        alignment(path)
    with pytest.raises(ValueError, match="lacks its model or data"):
        alignment(Trajectory(np.arange(2.0), {"W_V": np.ones((2, 2, 2))}, Outcome(Status.REACHED_END, 1.0)))
