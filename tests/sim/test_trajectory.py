"""Trajectories: construction, files, and the observables computed from them."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from smallinit.sim import Outcome, Status, Trajectory, load_trajectory, storage
from smallinit.theory import Dataset, EmbMLP

TIMES = np.array([0.0, 0.5, 2.0])


@pytest.fixture
def data():
    return Dataset(
        np.array([[1, 2], [2, 3], [3, 1], [1, 1]]),
        np.array([0, 1, 2, 3]),
        d_vocab=5,
        weights=np.array([1.0, 2.0, 1.0, 4.0]),
        groups=np.array(["memory", "memory", "reasoning", "test"]),
        held_out=np.array([False, False, False, True]),
        token_groups={"keys": np.array([1, 2, 3])},
    )


@pytest.fixture
def model():
    return EmbMLP(d_vocab=5, d_model=4, d_mlp=6, activation="tanh")


@pytest.fixture
def trajectory(model, data):
    rng = np.random.default_rng(0)
    return Trajectory(
        t=TIMES,
        weights={name: rng.standard_normal((3, *shape)) for name, shape in shapes(model).items()},
        outcome=Outcome(Status.BLOW_UP, 2.5),
        kind="training",
        label="gd",
        statistics={"accepted": np.int64(3), "seconds": 0.25},
        provenance={"seed": 1, "nested": {"numpy": "2"}},
        steps=np.array([0, 5, 20]),
        model=model,
        data=data,
        events={"half": np.array([0.7])},
    )


def shapes(model):
    return {name: array.shape for name, array in model.init(gamma=0.8, seed=0).items()}


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
    from smallinit.sim import evaluate

    calls = []
    original = evaluate.value
    monkeypatch.setattr(evaluate, "value", lambda *a: calls.append(1) or original(*a))
    for name in trajectory.observable_names:
        if name.startswith(("loss", "accuracy")):
            _ = trajectory[name]
    assert len(calls) == len(trajectory)


def test_chunks_of_sequences_change_nothing(trajectory, monkeypatch):
    from smallinit.sim import evaluate, observables

    whole = observables.losses(trajectory.model, trajectory.weights, trajectory.data)
    monkeypatch.setattr(evaluate, "CHUNK_NUMBERS", 12)
    parts = observables.losses(trajectory.model, trajectory.weights, trajectory.data)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-14)


def test_loss_does_not_overflow():
    from smallinit.theory.losses import find_loss

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
    from smallinit.sim.observables import effective_rank

    spectra = np.array([[1.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(effective_rank(spectra), [1.0, 2.0, 0.0, 3.0])


def test_cosines_of_a_token_group(trajectory):
    rows = trajectory.weights["W_E"][1][[1, 2, 3]]
    expected = rows @ rows.T / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(rows, axis=1))
    np.testing.assert_allclose(trajectory["cosine/keys"][1], expected, rtol=1e-13)


def test_cosine_of_a_zero_row_is_zero():
    from smallinit.sim.observables import cosines

    np.testing.assert_array_equal(cosines(np.array([[[0.0, 0.0], [0.0, 2.0]]])), [[[0.0, 0.0], [0.0, 1.0]]])


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
    ],
)
def test_parts_that_do_not_fit_are_refused(trajectory, change, message):
    parts = {"t": trajectory.t, "weights": trajectory.weights, "outcome": trajectory.outcome}
    with pytest.raises(ValueError, match=message):
        Trajectory(**(parts | change))


def test_file_holds_everything(trajectory, model, data, tmp_path):
    loss, accuracy = trajectory["loss/memory"], trajectory["accuracy"]
    path = trajectory.save(tmp_path / "run.nc")
    assert os.listdir(tmp_path) == ["run.nc"]
    loaded = load_trajectory(path)
    for name, value in trajectory.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], value)
    np.testing.assert_array_equal(loaded.t, trajectory.t)
    np.testing.assert_array_equal(loaded.steps, trajectory.steps)
    assert loaded.outcome == trajectory.outcome
    assert (loaded.kind, loaded.label) == ("training", "gd")
    assert loaded.provenance == trajectory.provenance
    assert loaded.statistics == {"accepted": 3, "seconds": 0.25}
    np.testing.assert_array_equal(loaded.events["half"], [0.7])
    np.testing.assert_array_equal(loaded["loss/memory"], loss)
    np.testing.assert_array_equal(loaded["accuracy"], accuracy)
    again = load_trajectory(path, model=model, data=data)
    np.testing.assert_array_equal(again["loss"], trajectory["loss"])
    np.testing.assert_array_equal(again["cosine/keys"], trajectory["cosine/keys"])
    assert repr(loaded) == repr(trajectory)


def test_frozen_weights_are_stored_once(trajectory, tmp_path):
    weights = dict(trajectory.weights)
    weights["W_in"] = np.broadcast_to(weights["W_in"][0], weights["W_in"].shape)
    frozen = Trajectory(TIMES, weights, trajectory.outcome)
    assert frozen.to_xarray()["W_in"].dims == ("d_model", "d_mlp")
    np.testing.assert_array_equal(
        load_trajectory(frozen.save(tmp_path / "a.nc")).weights["W_in"], weights["W_in"]
    )
    assert frozen["singular_values/W_in"].shape == (3, 4)


def test_empty_trajectory_survives(tmp_path):
    empty = Trajectory(np.zeros(0), {"y": np.zeros((0, 2, 1))}, Outcome(Status.REACHED_END, 1.0))
    assert load_trajectory(empty.save(tmp_path / "a.nc")).weights["y"].shape == (0, 2, 1)


def test_xarray_has_labels_and_units(trajectory):
    _ = trajectory["loss/memory"], trajectory["cosine/keys"]
    dataset = trajectory.to_xarray()
    assert dataset["W_E"].dims == ("t", "d_vocab", "d_model")
    assert dataset["W_out"].dims == ("t", "d_mlp", "d_vocab")
    assert dataset["t"].attrs["units"] == "learning_rate x step"
    assert dataset["loss/memory"].attrs["units"] == "nats"
    assert json.loads(dataset.attrs["outcome"])["status"] == "BLOW_UP"
    assert json.loads(dataset.attrs["provenance"])["seed"] == 1
    assert float(dataset["loss/memory"].sel(t=0.5)) == trajectory["loss/memory"][1]


def test_axes_of_equal_weights_do_not_clash():
    odd = {"W_E": np.zeros((1, 3, 3)), "W_in": np.zeros((1, 4, 3)), "other": np.zeros((1, 2, 2))}
    dataset = Trajectory(np.zeros(1), odd, Outcome(Status.REACHED_END, 0.0)).to_xarray()
    assert dataset["W_in"].dims == ("t", "W_in_row", "d_mlp")
    assert dataset["other"].dims == ("t", "other_row", "other_col")


def test_existing_file_is_not_overwritten(trajectory, tmp_path):
    path = trajectory.save(tmp_path / "run.nc")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        trajectory.save(path)
    assert path.read_bytes() == before
    trajectory.save(path, overwrite=True)


@pytest.mark.parametrize("stage", ["to_netcdf", "flush", "replace"])
def test_failed_write_leaves_the_old_file_and_no_other(trajectory, tmp_path, monkeypatch, stage):
    import xarray

    path = trajectory.save(tmp_path / "run.nc")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        if stage == "to_netcdf":
            args[1].write_bytes(b"half a file")
        raise OSError("disk full")

    target = {
        "to_netcdf": (xarray.Dataset, "to_netcdf"),
        "flush": (storage, "_flush"),
        "replace": (os, "replace"),
    }
    monkeypatch.setattr(*target[stage], fail)
    with pytest.raises(OSError, match="disk full"):
        trajectory.save(path, overwrite=True)
    assert os.listdir(tmp_path) == ["run.nc"]
    assert path.read_bytes() == before


def test_folder_that_does_not_exist_is_named(trajectory, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        trajectory.save(tmp_path / "nowhere" / "run.nc")


def foreign_files(tmp_path, trajectory):
    import xarray

    good = trajectory.save(tmp_path / "good.nc").read_bytes()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "truncated").write_bytes(good[: len(good) // 2])
    xarray.Dataset({"x": ("t", np.zeros(3))}).to_netcdf(tmp_path / "other", engine="h5netcdf")
    np.savez(tmp_path / "numbers.npz", x=np.zeros(3))
    newer = replace(trajectory).to_xarray().rename({})
    newer.attrs["format_version"] = 99
    newer.to_netcdf(tmp_path / "newer", engine="h5netcdf")
    return ["text", "empty", "truncated", "other", "numbers.npz", "newer"]


def test_files_that_are_not_trajectories(tmp_path, trajectory):
    for name in foreign_files(tmp_path, trajectory):
        with pytest.raises(ValueError, match=f"{name} is not a trajectory file") as caught:
            load_trajectory(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.nc"):
        load_trajectory(tmp_path / "absent.nc")


def test_file_that_claims_more_than_it_holds_is_not_read(tmp_path, trajectory):
    h5py = pytest.importorskip("h5py")
    path = trajectory.save(tmp_path / "bomb.nc")
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))
    with pytest.raises(ValueError, match="is not a trajectory file"):
        load_trajectory(path)


@pytest.mark.parametrize("record", ["outcome", "statistics", "model"])
def test_incomplete_file_is_refused(tmp_path, trajectory, record):
    dataset = replace(trajectory).to_xarray()
    dataset.attrs[record] = "{not json"
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="is not a complete trajectory file"):
        load_trajectory(tmp_path / "a.nc")


def test_files_hold_the_observables(tmp_path, trajectory):
    loaded = load_trajectory(replace(trajectory).save(tmp_path / "whole.nc"))
    assert set(trajectory.observable_names) == set(loaded.observable_names)
    for name in ("loss", "accuracy", "norm/W_E", "effective_rank/W_E", "invariant/W_E-W_in"):
        assert np.array_equal(loaded[name], trajectory[name])


def test_model_and_data_must_be_those_of_the_file(tmp_path, trajectory, data):
    path = trajectory.save(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="was made with another `model`"):
        load_trajectory(path, model=EmbMLP(d_vocab=5, d_model=3, d_mlp=6))
    other = Dataset(data.sequences, data.labels, d_vocab=6)
    with pytest.raises(ValueError, match="was made with another `data`"):
        load_trajectory(path, data=other)
