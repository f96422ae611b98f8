"""Files of trajectories: whole, labelled, and refused if anything is wrong with them."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from smallinit.sim import Outcome, Status, Trajectory, load_trajectory
from smallinit.theory import Dataset, EmbMLP


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
    frozen = Trajectory(trajectory.t, weights, trajectory.outcome)
    assert frozen.to_xarray()["W_in"].dims == ("d_model", "d_mlp")
    np.testing.assert_array_equal(
        load_trajectory(frozen.save(tmp_path / "a.nc")).weights["W_in"], weights["W_in"]
    )
    assert frozen["singular_values/W_in"].shape == (3, 4)


def test_empty_trajectory_survives(tmp_path):
    empty = Trajectory(np.zeros(0), {"y": np.zeros((0, 2, 1))}, Outcome(Status.REACHED_END, 1.0))
    assert load_trajectory(empty.save(tmp_path / "a.nc")).weights["y"].shape == (0, 2, 1)


def test_xarray_has_labels_and_units(trajectory):
    dataset = trajectory.to_xarray()
    assert dataset["W_E"].dims == ("t", "d_vocab", "d_model")
    assert dataset["W_out"].dims == ("t", "d_mlp", "d_vocab")
    assert dataset["t"].attrs["units"] == "learning_rate x step"
    assert dataset["loss/memory"].attrs["units"] == "nats"
    assert json.loads(dataset.attrs["outcome"])["status"] == "BLOW_UP"
    assert json.loads(dataset.attrs["provenance"])["seed"] == 1
    assert float(dataset["loss/memory"].sel(t=0.5)) == trajectory["loss/memory"][1]


def test_xarray_and_file_do_not_depend_on_what_was_asked_before(trajectory, tmp_path):
    fresh, asked = replace(trajectory), replace(trajectory)
    _ = asked["loss"], asked["cosine/keys"]
    one, other = fresh.to_xarray(), asked.to_xarray()
    assert set(one.data_vars) == {*trajectory.weights, *trajectory.observable_names} == set(other.data_vars)
    assert one.identical(other[list(one.data_vars)])
    assert set(trajectory.to_xarray(["loss"]).data_vars) == {*trajectory.weights, "loss"}
    empty = Trajectory(np.zeros(0), {"y": np.zeros((0, 2, 1))}, Outcome(Status.REACHED_END, 1.0))
    assert set(empty.to_xarray().data_vars) == {"y"}


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
        "flush": (os, "fsync"),
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
    newer = replace(trajectory).to_xarray([]).rename({})
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
    dataset = replace(trajectory).to_xarray([])
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
