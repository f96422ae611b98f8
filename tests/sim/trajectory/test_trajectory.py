"""Trajectories: construction, files, and the observables computed from them."""

import numpy as np
import pytest

from smallinit.sim import Trajectory, load_trajectory
from smallinit.theory import EmbMLP


def network(weights, i, sequences):
    """Logits of the Emb-MLP, written out."""
    embedded = weights["W_E"][i][sequences].sum(axis=1)
    return np.tanh(embedded @ weights["W_in"][i]) @ weights["W_out"][i]


def test_loss_and_accuracy_of_all_groups(trajectory, data):
    for i in range(3):
        z = network(trajectory.weights, i, data.sequences)
        nll = np.log(np.exp(z).sum(axis=1)) - z[np.arange(4), data.labels]
        right = z.argmax(axis=1) == data.labels
        assert trajectory["loss"][i] == pytest.approx(np.average(nll[:3], weights=[1, 2, 1]), rel=1e-13)
        assert trajectory["loss/memory"][i] == pytest.approx(np.average(nll[:2], weights=[1, 2]), rel=1e-13)
        assert trajectory["loss/test"][i] == pytest.approx(nll[3], rel=1e-13)
        assert trajectory["accuracy"][i] == pytest.approx(np.average(right[:3], weights=[1, 2, 1]))
        assert trajectory["accuracy/memory"][i] == pytest.approx(np.average(right[:2], weights=[1, 2]))


def test_all_losses_come_from_one_pass(trajectory, monkeypatch):
    from smallinit.sim.compile import logits as evaluate

    calls = []
    original = evaluate.value
    monkeypatch.setattr(evaluate, "value", lambda *a: calls.append(1) or original(*a))
    for name in trajectory.observable_names:
        if name.startswith(("loss", "accuracy")):
            _ = trajectory[name]
    assert len(calls) == len(trajectory)


def test_chunks_of_sequences_change_nothing(trajectory, monkeypatch):
    from smallinit.sim.compile import logits as evaluate
    from smallinit.sim.trajectory import observables

    whole = observables.losses(trajectory.model, trajectory.weights, trajectory.data)
    monkeypatch.setattr(evaluate, "CHUNK_NUMBERS", 12)
    parts = observables.losses(trajectory.model, trajectory.weights, trajectory.data)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-14)


def test_loss_does_not_overflow():
    from smallinit.theory.models.losses import find_loss

    loss = find_loss("cross_entropy")
    values = loss.values(np.array([[1e5, 0.0, -1e5], [0.0, 0.0, 0.0]]), loss.targets(np.array([2, 0]), 3))
    np.testing.assert_allclose(values, [2e5, np.log(3.0)])


def test_norms_and_spectra(trajectory):
    w = trajectory.weights["W_in"]
    np.testing.assert_allclose(trajectory["norm/W_in"], np.sqrt((w**2).sum(axis=(1, 2))))
    values = trajectory["singular_values/W_in"]
    assert values.shape == (3, 4)
    np.testing.assert_allclose((values**2).sum(axis=1), trajectory["norm/W_in"] ** 2)
    assert np.all((trajectory["effective_rank/W_in"] > 1.0) & (trajectory["effective_rank/W_in"] <= 4.0))


def test_effective_rank_of_known_spectra():
    from smallinit.sim.trajectory.observables import effective_rank

    spectra = np.array([[1.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(effective_rank(spectra), [1.0, 2.0, 0.0, 3.0])


def test_cosines_of_a_token_group(trajectory):
    rows = trajectory.weights["W_E"][1][[1, 2, 3]]
    expected = rows @ rows.T / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(rows, axis=1))
    np.testing.assert_allclose(trajectory["cosine/keys"][1], expected, rtol=1e-13)


def test_drift_of_invariants_is_relative_to_the_start(trajectory):
    a, b = trajectory.weights["W_E"], trajectory.weights["W_in"]
    value = [a[i].T @ a[i] - b[i] @ b[i].T for i in range(3)]
    size = np.linalg.norm(a[0].T @ a[0]) + np.linalg.norm(b[0] @ b[0].T)
    expected = [np.linalg.norm(v - value[0]) / size for v in value]
    np.testing.assert_allclose(trajectory["invariant/W_E-W_in"], expected, rtol=1e-12)
    assert trajectory["invariant/W_out-sum"][0] == 0.0
    assert "invariant/W_in-W_out" in trajectory.observable_names


def test_unknown_observable_gets_a_suggestion(trajectory):
    with pytest.raises(KeyError, match=r"did you mean \W*loss/memory"):
        trajectory["loss/memry"]


def test_observables_that_need_the_data_say_so(trajectory):
    bare = Trajectory(trajectory.t, trajectory.weights, trajectory.outcome)
    with pytest.raises(KeyError, match="needs the model and the data"):
        bare["loss"]
    measured = Trajectory(
        trajectory.t, trajectory.weights, trajectory.outcome, measured={"loss/food": np.ones(3)}
    )
    with pytest.raises(KeyError, match=r"needs the model and the data: .*; or did you mean 'loss/food'\?"):
        measured["loss/fod"]
    assert bare["norm/W_E"].shape == (3,)


def test_repr_is_one_short_line(trajectory):
    text = repr(trajectory)
    assert text == (
        "Trajectory(training 'gd': 3 times in 0 .. 2; W_E (5, 4), W_in (4, 6), W_out (6, 5);"
        " blow-up at t = 2.500000)"
    )


def test_state_is_a_copy(trajectory):
    state = trajectory.state(1)
    state["W_E"][:] = 0.0
    assert np.all(trajectory.weights["W_E"][1] != 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, '`kind` must be "theory" or "training"'),
        ({"t": np.array([0.0, 0.0, 1.0])}, "`t` must be one-dimensional and increase strictly"),
        ({"t": np.array([0.0, 1.0])}, r"weight `W_E` must have shape \(2, rows, cols\)"),
        ({"steps": np.array([1])}, r"`steps` must have the shape \(3,\) of `t`"),
        (
            {"outcome": None},
            r"`outcome` must be an Outcome, got NoneType: such as Outcome\(Status.REACHED_END",
        ),
        ({"outcome": "done"}, "`outcome` must be an Outcome, got str"),
        ({"t": [0.0, 1.0, [2.0]]}, "`t` must be an ndarray, got list"),
        ({"t": [0.0, 2.0, 1.0]}, "`t` must be one-dimensional and increase strictly"),
        ({"t": [True, False, True]}, "`t` must hold real numbers, got those of type bool"),
        (
            {"weights": {"W_E": [np.zeros((2, 2))] * 3}},
            r"`weights\['W_E'\]` must be an ndarray, got list: .*numpy.stack",
        ),
        ({"weights": [np.zeros((3, 2, 2))]}, "`weights` must be a Mapping, got list: names to arrays"),
        ({"measured": {"loss": [1.0, 0.9, "x"]}}, r"`measured\['loss'\]` must be an ndarray, got list"),
        ({"measured": {"loss": [1.0, 0.9]}}, r"measured `loss` must have one entry .* got shape \(2,\)"),
        ({"measured": {"loss": np.array(1.0)}}, r"measured `loss` must have one entry .* got shape \(\)"),
        ({"t": np.array([0.0, 1.0, np.nan])}, "increase strictly, all of it finite, got"),
        ({"t": np.array([0.0, 1.0, np.inf])}, "increase strictly, all of it finite, got"),
        ({"t": np.array(["0", "1", "2"])}, "`t` must hold real numbers, got those of type <U1"),
        ({"weights": {"W_E": np.zeros((3, 2, 2), complex)}}, r"`weights\['W_E'\]` must hold real numbers"),
        ({"weights": {"W_E": np.zeros((3, 2, 2), np.float16)}}, "must hold real numbers, got .* astype"),
        (
            {"weights": {"W_E": np.full((3, 2, 2), np.nan)}},
            r"`weights\['W_E'\]` must be finite, got 12 nan or inf: end the .*outcome that says so",
        ),
        (
            {"weights": {"W_E": np.broadcast_to([[np.inf, 1.0]], (3, 1, 2))}},
            "must be finite, got 1 nan or inf",
        ),
        ({"measured": {"W_E": np.zeros(3)}}, "`measured` have one called 'W_E', as a weight is: rename it"),
        (
            {"measured": {"start/W": np.zeros(3)}, "start": {"W": np.zeros((2, 2))}},
            "`measured` have one called 'start/W', as a weight is",
        ),
        ({"steps": np.array(["0", "1", "2"])}, "`steps` must hold real numbers, got those of type <U1"),
        (
            {"steps": ["0", "1", "2"]},
            "`steps` must be an ndarray, got list: of a list of numbers numpy.array",
        ),
        ({"steps": [0, 1]}, r"`steps` must have the shape \(3,\) of `t`, got \(2,\)"),
        ({"events": {"half": [[1.0]]}}, r"`events\['half'\]` must be a row of flow times"),
        ({"steps": np.array([0, 2, 1])}, "`steps` must increase strictly, all of them finite"),
        ({"steps": np.array([0, 1, np.nan])}, "`steps` must increase strictly, all of them finite"),
        ({"steps": np.array([0, 1, 1.5]), "kind": "training"}, "`steps` of a training must be whole numbers"),
        ({"model": 3}, r"`model` must be a Model, got int: such as EmbMLP"),
        ({"data": "d"}, r"`data` must be a Dataset, got str: Dataset.from_csv\(path\) makes one, or None"),
        ({"start": [1]}, "`start` must be a Mapping, got list: names to arrays, or None"),
        (
            {"weights": {"start/W": np.zeros((3, 2, 2))}, "start": {"W": np.zeros((2, 2))}},
            "`weights` have one called 'start/W', as a weight is",
        ),
        ({"start": {"W_E": np.array(1.0)}}, r"`start\['W_E'\]` must have two axes"),
        ({"start": {"W_E": np.full((2, 2), np.nan)}}, r"`start\['W_E'\]` must be finite, got 4 nan or inf"),
        ({"start": {"W_E": [[1.0]]}}, r"`start\['W_E'\]` must be an ndarray, got list"),
        (
            {"start": {"W_E": np.zeros(3)}},
            r"`start\['W_E'\]` must have two axes, as a weight has, got .*\(3,\)",
        ),
        ({"statistics": None}, "`statistics` must be a Mapping, got NoneType: a record"),
        ({"provenance": [1]}, "`provenance` must be a Mapping, got list: a record"),
        ({"events": [1]}, "`events` must be a Mapping, got list: names to arrays"),
        ({"events": {"half": "x"}}, r"`events\['half'\]` must be an ndarray, got str"),
        ({"events": {"half": np.array([np.inf])}}, r"`events\['half'\]` must be finite, got 1 nan or inf"),
        ({"label": 0}, "`label` must be a name, got 0"),
        ({"closure": None}, '`closure` must be the name of one, such as "exact", got None'),
        (
            {"model": EmbMLP(5, 4, 6), "closure": "sotfmax"},
            "`closure` 'sotfmax' is unknown: did you mean 'softmax'",
        ),
        ({"model": EmbMLP(5, 4, 6), "closure": "mine"}, "a theory of your own is named by `label`"),
    ],
)
def test_parts_that_do_not_fit_are_refused(trajectory, change, message):
    parts = {"t": trajectory.t, "weights": trajectory.weights, "outcome": trajectory.outcome}
    with pytest.raises(ValueError, match=message):
        Trajectory(**(parts | change))


def test_lists_of_numbers_and_short_types_are_kept_exactly(trajectory, tmp_path):
    given = {
        "measured": {"right": np.array([True, False, True]), "half": np.array([0.1, 2.0, 3.0], np.float16)},
        "steps": [0, 1, 2],
        "events": {"none": [], "half": [0.25, 0.5]},
    }
    given["measured"]["listed"] = [[1.0, 2.0]] * 3
    kept = Trajectory([0.0, 1.0, 2.0], trajectory.weights, trajectory.outcome, **given)
    kept.save(tmp_path / "run.nc")
    for one in (kept, load_trajectory(tmp_path / "run.nc")):
        assert one.t.tolist() == [0.0, 1.0, 2.0]
        assert one.steps.tolist() == [0, 1, 2]
        assert (one.events["none"].shape, one.events["half"].tolist()) == ((0,), [0.25, 0.5])
        assert (one["right"].dtype, one["right"].tolist()) == (np.float64, [1.0, 0.0, 1.0])
        assert one["half"].tolist() == [float(np.float16(0.1)), 2.0, 3.0]
        assert one["listed"].shape == (3, 2)


@pytest.mark.parametrize("index", [np.array(1), np.int8(1), 1, -2])
def test_a_state_is_that_of_any_whole_number(trajectory, index):
    np.testing.assert_array_equal(trajectory.state(index)["W_E"], trajectory.weights["W_E"][1])


@pytest.mark.parametrize("index", [np.array([1]), np.array(True), np.array(1.0), True, 1.0, np.array(3)])
def test_other_states_are_refused(trajectory, index):
    with pytest.raises(IndexError, match="`index` must be that of one of 3 saved times"):
        trajectory.state(index)


def test_entries_whose_sum_is_beyond_all_numbers_are_finite(trajectory):
    huge = np.full((3, 2, 2), 1e308)
    kept = Trajectory(trajectory.t, {"W_E": huge}, trajectory.outcome)
    np.testing.assert_array_equal(kept.weights["W_E"], huge)


@pytest.mark.parametrize("name", [0, slice(0, 2), None, ("loss", "accuracy")])
def test_what_is_no_name_is_refused_in_one_sentence(trajectory, name):
    with pytest.raises(TypeError, match=r"`name` must name an observable, got .*a saved time is a row"):
        trajectory[name]


def test_a_trajectory_says_which_names_it_knows(trajectory):
    assert "loss" in trajectory
    assert "lost" not in trajectory
    with pytest.raises(TypeError, match="not iterable"):
        list(trajectory)
