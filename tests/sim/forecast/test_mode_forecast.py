"""When modes are learnt: residuals by hand, predicted blow-ups against closed forms."""

import numpy as np
import pytest
from helpers import data_for, small_case
from scipy.special import softmax

from smallinit.compare import train
from smallinit.sim import integrate, learning_times, mode_blow_ups, mode_residuals
from smallinit.theory import Dataset, EmbMLP, ScalarClassifier, derive, signature_modes
from smallinit.theory.data.signature_modes import Modes
from smallinit.theory.exact.blow_up_forms import three_factor_blow_up


def test_residuals_by_hand():
    data, model, start = small_case("tanh", held_out=True)
    path = train(model, data, start, learning_rate=0.1, steps=3)
    modes = signature_modes(data, centring="uniform", n_modes=4)
    left = mode_residuals(path, modes)
    w = np.where(data.held_out, 0.0, data.weights)
    for i in range(len(path)):
        hidden = np.tanh(data.counts @ path.weights["W_E"][i] @ path.weights["W_in"][i])
        error = data.label_matrix.toarray() - softmax(hidden @ path.weights["W_out"][i], axis=1)
        whole = data.counts.T @ (w[:, None] * error)
        expected = np.einsum("sk,sl,lk->k", modes.tokens, whole, modes.labels) / modes.strengths
        np.testing.assert_allclose(left[i], expected, rtol=1e-10, atol=1e-12)


def test_uniform_predictions_have_learnt_nothing():
    data, model, start = small_case("tanh")
    still = {name: 0.0 * w for name, w in start.items()}
    path = train(model, data, still, learning_rate=0.1, steps=1)
    left = mode_residuals(path, signature_modes(data, centring="uniform", n_modes=3))
    np.testing.assert_allclose(left, 1.0, atol=1e-10)


def test_learning_time_is_interpolated_and_infinite_if_never():
    data, model, _ = small_case("identity")
    path = integrate(derive(model, "softmax"), data, model.init(0.8, 0), t1=60.0, save_at=200)
    modes = signature_modes(data, centring="uniform", n_modes=3)
    t, left = learning_times(path, modes), mode_residuals(path, modes)
    for k in range(3):
        i = np.searchsorted(path.t, t[k])
        assert (left[:i, k] >= 0.5).all()
        a, b = left[i - 1 : i + 1, k]
        assert t[k] == pytest.approx(path.t[i - 1] + (a - 0.5) / (a - b) * (path.t[i] - path.t[i - 1]))
    assert np.isinf(learning_times(path, modes, share=-5.0)).all()


def test_blow_up_of_width_one_is_the_closed_form():
    modes = Modes(("all",), "uniform", "C", np.array([0.7, 0.2]), np.eye(3)[:, :2], np.eye(3)[:, :2])
    e, w, o = np.array([[0.3], [0.5], [0.0]]), np.array([[0.4]]), np.array([[0.6, 0.2, 0.0]])
    found = mode_blow_ups(modes, {"W_E": e, "W_in": w, "W_out": o}, t1=1e3)
    expected = [three_factor_blow_up(e[k, 0], w[0, 0], o[0, k], modes.strengths[k]) for k in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_blow_ups_lie_in_their_brackets_and_the_first_is_the_leading_flows():
    data, model, _ = small_case("tanh", sizes=(8, 12, 14), n=60)
    start = model.init(0.7, 0)
    modes = signature_modes(data, centring="uniform", n_modes=4)
    times = mode_blow_ups(modes, start, t1=1e5)
    low, high = modes.blow_up_brackets(start).T
    assert np.all(low <= times)
    assert np.all(times <= high)
    leading = integrate(derive(model, "leading"), data, start, t1=1e5, save_at=2, throw=False)
    assert leading.outcome.t <= times.min() * 1.0000001  # further modes can only help
    assert leading.outcome.t > 0.6 * times.min()


def test_what_modes_cannot_say_is_refused():
    data, model, start = small_case("tanh")
    path = train(model, data, start, learning_rate=0.1, steps=1)
    modes = signature_modes(data)
    object.__setattr__(path, "data", None)
    with pytest.raises(ValueError, match="lacks its model or data"):
        mode_residuals(path, modes)
    scalar = ScalarClassifier(6, 5, 3, 4)
    one = train(scalar, data_for("classifier"), scalar.init(0.5, 0), learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="cross-entropy over one label"):
        mode_residuals(one, modes)


@pytest.mark.parametrize("labels", [[0, 0, 1, 0], [0, 0, 0, 0]])
def test_a_mode_beyond_the_rank_is_never_learnt(labels):
    """Two labels have one mode and one label has none; what rounding makes of the others was learnt at once."""
    data = Dataset([[0, 1], [1, 2], [2, 0], [1, 1]], labels, 3)
    model = EmbMLP(3, 4, 4)
    start = model.init(0.8, 0)
    modes = signature_modes(data)
    rank = len(set(labels)) - 1
    assert modes.strengths.shape == (3,)
    assert (modes.strengths[:rank] > 0.1).all()
    np.testing.assert_array_equal(modes.strengths[rank:], 0.0)
    path = integrate(derive(model, "softmax"), data, start, t1=50.0, save_at=20)
    assert np.isnan(mode_residuals(path, modes)[:, rank:]).all()
    times = learning_times(path, modes)
    assert np.isfinite(times[:rank]).all()
    assert np.isinf(times[rank:]).all()
    assert np.isinf(mode_blow_ups(modes, start, 1e3)[rank:]).all()
    assert np.isinf(modes.blow_up_brackets(start)[rank:]).all()
