import copy
import json
import pickle
from math import inf

import numpy as np
import pytest
from helpers import as_theory

from smallinit.compare import overlay, similarity_overlay, train
from smallinit.compare.overlays.horizon import Horizon
from smallinit.sim.ode.outcome import Outcome, Status
from smallinit.sim.trajectory.trajectory import Trajectory
from smallinit.theory import CompositeTask, EmbMLP


@pytest.fixture(scope="module")
def run(model, data, start):
    return train(model, data, start, steps=40, save_at=9)


def test_a_trajectory_with_itself_is_exact(run):
    both = overlay(as_theory(run), run)
    np.testing.assert_array_equal(both.t, run.t)
    assert {"W_E", "W_in", "W_out", "loss", "loss/memory", "norm/W_E"} <= set(both.relative_error)
    assert all((error == 0).all() for error in both.relative_error.values())
    assert both.horizon(1e-12) == inf


def test_the_errors_show_their_names_and_compute_none(run):
    errors = overlay(as_theory(run), run).relative_error
    assert repr(errors).startswith("RelativeErrors(W_E, W_in, W_out, loss, ")
    assert errors._known == {}


def test_errors_of_weights_and_observables(model, data, start, run):
    other = as_theory(train(model, data, start, steps=40, save_at=9, weight_decay=0.1))
    both = overlay(other, run)
    moved = run.weights["W_in"][-1] - start["W_in"]
    expected = np.linalg.norm(other.weights["W_in"][-1] - run.weights["W_in"][-1]) / np.linalg.norm(moved)
    assert both.relative_error["W_in"][-1] == pytest.approx(expected, rel=1e-12)
    assert both.relative_error["W_in"][0] == 0
    expected = abs(other["loss"][-1] - run["loss"][-1]) / run["loss"][-1]
    assert both.relative_error["loss"][-1] == pytest.approx(expected, rel=1e-12)


def test_horizon_of_a_known_error(synthetic):
    t = np.linspace(0, 10, 21)
    both = overlay(synthetic(t, t + 0.01 * t**2), synthetic(t, t, kind="training"))
    np.testing.assert_allclose(both.relative_error["W"], 0.01 * t, atol=1e-14)
    assert both.horizon(0.05, "W") == pytest.approx(5.0)
    assert both.horizon(0.033, "W") == pytest.approx(3.3)  # between saved times
    assert both.horizon(0.2, "W") == inf


def two_weights(kind, first, second):
    """A trajectory of two 1 x 1 weights with these values at the times 0, 1, .."""
    values = {name: np.reshape(w, (-1, 1, 1)).astype(float) for name, w in (("W_E", first), ("W_Q", second))}
    end = Outcome(Status.REACHED_END, len(first) - 1.0)
    return Trajectory(np.arange(len(first), dtype=float), values, end, kind)


def test_the_horizon_is_that_of_the_first_weight_to_leave_and_says_which():
    t = np.arange(9.0)
    both = overlay(two_weights("theory", t, t + 0.02 * t**2), two_weights("training", t, t))
    first = both.horizon(0.1)
    assert both.horizon(0.1, "W_E") == inf
    assert first == both.horizon(0.1, "W_Q") == pytest.approx(5.0)
    assert (first.cause, both.horizon(0.1, "W_E").cause) == ("W_Q", "")
    assert (str(first), f"{first}", f"{first:.1f}") == ("5 (W_Q)", "5 (W_Q)", "5.0")
    assert str(both.horizon(0.5)) == "never"
    assert json.loads(json.dumps(first)) == first


def test_horizons_travel():
    for made in (Horizon(2.5, "W_Q"), Horizon(inf, "W_Q")):
        for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):  # noqa: S301 - our own bytes
            assert (twin, twin.cause, repr(twin)) == (made, made.cause, repr(made))


def test_every_place_has_its_role(synthetic):
    t = np.linspace(0, 1, 5)
    theory, run = synthetic(t, t), synthetic(t, t, kind="training", label="gd")
    with pytest.raises(
        ValueError, match=r"`theory` is a training run .'gd'.: give what `integrate` returned"
    ):
        overlay(run, theory)
    with pytest.raises(ValueError, match="`theory` is a training run"):
        overlay(run, run)
    with pytest.raises(ValueError, match=r"`training` is a theory .''.: give what `train` returned"):
        overlay(theory, theory)
    with pytest.raises(ValueError, match="`training` is a theory"):
        similarity_overlay(theory, {"softmax": theory})


def test_between_saved_times_the_theory_is_interpolated(synthetic):
    own, t = np.linspace(0, 2, 41), np.linspace(0, 2.5, 18)
    with pytest.warns(UserWarning, match="saved at only 1 of the training's times"):
        both = overlay(synthetic(own, np.exp(own)), synthetic(t, np.exp(t), kind="training"))
    assert both.t[-1] <= 2
    assert len(both.t) == (t <= 2).sum()
    assert both.summary()["compared"]["interpolated"] == (~np.isin(both.t, own)).sum() > 5
    assert 0 < both.relative_error["W"].max() < 1e-5


def test_times_that_differ_by_rounding_are_the_same(synthetic):
    t = 0.1 * np.arange(50)
    both = overlay(synthetic(np.round(t, 1), t**2), synthetic(t, t**2, kind="training"))
    assert both.summary()["compared"]["interpolated"] == 0


def test_two_saved_times_are_not_interpolated(synthetic):
    t = np.linspace(0, 1, 5)
    both = overlay(synthetic([0, 1], [0, 1]), synthetic(t, t, kind="training"))
    np.testing.assert_array_equal(both.t, [0, 1])


def test_blow_up_limits_the_comparison_and_the_horizon(synthetic):
    own, t = np.linspace(0, 1.9, 20), np.linspace(0, 4, 41)
    theory = synthetic(own, 0.5 * own, Outcome(Status.BLOW_UP, 2.0))
    both = overlay(theory, synthetic(t, 0.5 * t, kind="training"))
    assert both.t[-1] == pytest.approx(1.9)
    assert both.blow_up_time == 2.0
    assert both.horizon(0.1, "W") == both.horizon(0.1) == 2.0
    assert both.horizon(0.1).cause == "blow-up"
    summary = both.summary()
    assert summary["blow_up_time"] == 2.0
    assert summary["compared"]["note"].startswith(
        "the theory ends in a blow-up at t = 2; compared up to t = 1.9"
    )
    before = overlay(theory, synthetic(t[:11], 0.5 * t[:11], kind="training"))
    assert before.horizon(0.1, "W") == inf


def test_start_may_be_missing_in_one(synthetic):
    t = np.linspace(0, 1, 11)
    both = overlay(synthetic(t, 2 + t), synthetic(t[1:], 2 + 1.1 * t[1:], kind="training"))
    np.testing.assert_allclose(both.relative_error["W"], 1 / 11, rtol=1e-9)


def test_summary_is_json(run, model, data, start):
    other = as_theory(train(model, data, start, steps=40, save_at=9, weight_decay=0.1))
    summary = json.loads(json.dumps(overlay(other, run).summary(), allow_nan=False))
    assert summary["horizon"]["W_E"].keys() == {"1%", "5%", "10%"}
    assert summary["error"]["loss/memory"].keys() == {"max", "median", "last"}
    assert summary["compared"]["note"] == "compared over the whole training, up to t = 4"
    assert summary["speed"]["theory_is_faster_by"] > 0


def test_bad_horizon_arguments(run):
    both = overlay(as_theory(run), run)
    with pytest.raises(ValueError, match="`tol` must be positive, got 0"):
        both.horizon(0)
    with pytest.raises(ValueError, match="`name` 'W_e' has no relative error here: did you mean 'W_E'"):
        both.horizon(0.1, "W_e")
    with pytest.raises(KeyError):
        both.relative_error["W_e"]


def test_what_does_not_belong_together_is_refused(run, model, data, start, synthetic):
    with pytest.raises(ValueError, match="`theory` must be a Trajectory, got str"):
        overlay("leading", run)
    with pytest.raises(ValueError, match=r"start from other weights .W_E differs by"):
        overlay(as_theory(train(model, data, model.init(0.5, seed=8), steps=4)), run)
    wide = EmbMLP(data.d_vocab, 7, 6)
    with pytest.raises(ValueError, match=r"hold other weights .W_E 17 x 7"):
        overlay(as_theory(train(wide, data, wide.init(0.5, 0), steps=1)), run)
    sine = EmbMLP(data.d_vocab, 5, 6, "sin")
    with pytest.raises(ValueError, match=r"other models .activation is 'sin' against 'tanh'"):
        overlay(as_theory(train(sine, data, start, steps=1)), run)
    other = CompositeTask(
        keys=range(5, 9), memory_anchors=(1, 2), reasoning_anchors=(3, 4), masked=((3, 4),), seed=1
    ).dataset()
    with pytest.raises(ValueError, match="belong to other datasets"):
        overlay(as_theory(train(model, other, start, steps=1)), run)
    t = np.linspace(1, 2, 5)
    with pytest.raises(ValueError, match="Neither trajectory holds its start: add 0"):
        overlay(synthetic(t, t), synthetic(t, t, kind="training"))
    with pytest.raises(ValueError, match="no common flow time"):
        overlay(synthetic([0, 1], [0, 1]), synthetic([2, 3], [2, 3], kind="training"))
    with pytest.raises(ValueError, match="`theory` has no saved times"):
        overlay(synthetic([], [], Outcome(Status.NON_FINITE, 0.0, "nan")), synthetic(t, t, kind="training"))


def test_a_table_has_what_the_figure_shows(model, data, start, run):
    both = overlay(as_theory(train(model, data, start, steps=20, save_at=5, weight_decay=0.1)), run)
    table = both.to_dataframe()
    assert table.index.name == "t"
    np.testing.assert_array_equal(table.index, both.t)
    np.testing.assert_array_equal(table["step"], run.steps[both.alignment.rows])
    assert len(both.t) < len(run.t)  # common times alone
    for name in ("loss/memory", "norm/W_E"):
        np.testing.assert_array_equal(table[f"{name}/theory"], both.theory[name])
        np.testing.assert_array_equal(table[f"{name}/training"], run[name][both.alignment.rows])
        np.testing.assert_array_equal(table[f"{name}/error"], both.relative_error[name])
    assert "W_E/theory" not in table
    np.testing.assert_array_equal(table["W_E/error"], both.relative_error["W_E"])
    assert list(both.to_dataframe("loss")) == ["step", "loss/theory", "loss/training", "loss/error"]
    with pytest.raises(ValueError, match="`names` 'los' has no relative error: did you mean 'loss'"):
        both.to_dataframe(["los"])
    with pytest.raises(ValueError, match="`names` must be"):
        both.to_dataframe(3)
