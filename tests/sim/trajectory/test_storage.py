"""Files of trajectories: whole, labelled, and refused if anything is wrong with them."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from smallinit.sim import Outcome, Status, Trajectory, load_trajectory
from smallinit.theory import Dataset, EmbMLP
from smallinit.theory.base.disk.sealed import UnsoundFile, append_seal
from smallinit.theory.base.errors import FieldError, InputError


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


@pytest.mark.parametrize("stage", ["open", "flush", "replace"])
def test_failed_write_leaves_the_old_file_and_no_other(trajectory, tmp_path, monkeypatch, stage):
    import h5netcdf

    path = trajectory.save(tmp_path / "run.nc")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        if stage == "open":
            args[0].write(b"half a file")
        raise OSError("disk full")

    target = {
        "open": (h5netcdf, "File"),
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
    replace(trajectory).to_xarray([]).to_netcdf(tmp_path / "unsealed", engine="h5netcdf")
    return ["text", "empty", "truncated", "other", "numbers.npz", "unsealed"]


def test_files_that_are_not_trajectories(tmp_path, trajectory):
    for name in foreign_files(tmp_path, trajectory):
        with pytest.raises(ValueError, match=f"{name}' is damaged or was not written by smallinit") as caught:
            load_trajectory(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.nc"):
        load_trajectory(tmp_path / "absent.nc")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe"):
        load_trajectory(tmp_path / "pipe")


def forged(trajectory, path, change):
    """A file with another content and the right seal."""
    dataset = change(replace(trajectory).to_xarray([])) or replace(trajectory).to_xarray([])
    names = {name: name.replace("/", "|") for name in dataset.variables if "/" in str(name)}
    strange = any(v.dtype.kind == "c" for v in dataset.variables.values())
    dataset.rename(names).to_netcdf(path, engine="h5netcdf", invalid_netcdf=strange)
    append_seal(path)
    return path


def attribute(name, value):
    def change(dataset):
        dataset.attrs[name] = value
        return dataset

    return change


def values(name, value):
    def change(dataset):
        return dataset.assign({name: (dataset[name].dims, value(dataset[name].values), dataset[name].attrs)})

    return change


DEEP = "[" * 100_000 + "]" * 100_000
FORGED = {
    "nan times": values("t", lambda t: t * np.nan),
    "falling times": values("t", lambda t: t[::-1]),
    "complex times": values("t", lambda t: t + 1j),
    "complex weights": values("W_E", lambda w: w + 1j),
    "infinite weights": values("W_E", lambda w: w * np.inf),
    "missing weight": lambda d: d.drop_vars("W_E"),
    "renamed weight": lambda d: d.rename(W_E="W_X"),
    "another shape": lambda d: d.isel(d_model=slice(None, -1)),
    "one time too few": lambda d: d.assign(W_E=(("less", *d["W_E"].dims[1:]), d["W_E"].values[:-1])),
    "no times": lambda d: d.drop_vars(["t", "step"]),
    "falling steps": values("step", lambda s: s[::-1].copy()),
    "fractional steps": values("step", lambda s: s + 0.5),
    "text weights": values("W_E", lambda w: np.full(w.shape, "x")),
    "deep record": attribute("provenance", DEEP),
    "no record": attribute("statistics", "[]"),
    "no outcome": attribute("outcome", "{}"),
    "nan event": attribute("events", '{"half": [NaN]}'),
    "event of text": attribute("events", '{"half": "x"}'),
    "event of lists": attribute("events", '{"half": [[]]}'),
    "kind": attribute("kind", "wish"),
    "kind of numbers": attribute("kind", 3.0),
    "label of numbers": attribute("label", np.zeros(2)),
    "newer version": attribute("format_version", 99),
    "version of text": attribute("format_version", "two"),
    "weights of none": attribute("weights", "null"),
    "another format": attribute("format", "something else"),
}


@pytest.mark.filterwarnings("ignore:You are writing invalid netcdf")
@pytest.mark.parametrize("kind", FORGED)
def test_forged_contents_with_the_right_seal_are_refused(tmp_path, trajectory, kind):
    path = forged(trajectory, tmp_path / "a.nc", FORGED[kind])
    with pytest.raises(
        UnsoundFile, match=r"is not a (complete )?trajectory file|is no netCDF file"
    ) as caught:
        load_trajectory(path)
    assert len(str(caught.value)) < 1000


def test_a_model_says_which_weights_there_must_be(tmp_path, trajectory, model):
    def without(dataset):
        shapes = json.loads(dataset.attrs["weights"])
        dataset.attrs["weights"] = json.dumps({name: shapes[name] for name in ("W_in", "W_out")})
        return dataset.drop_vars("W_E")

    path = forged(trajectory, tmp_path / "a.nc", without)
    assert set(load_trajectory(path).weights) == {"W_in", "W_out"}
    with pytest.raises(UnsoundFile, match="and not the model's"):
        load_trajectory(path, model=model)


@pytest.mark.parametrize("record", ["outcome", "statistics", "model"])
def test_incomplete_file_is_refused(tmp_path, trajectory, record):
    path = forged(trajectory, tmp_path / "a.nc", attribute(record, "{not json"))
    with pytest.raises(ValueError, match="is not a complete trajectory file"):
        load_trajectory(path)


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


def test_events_between_steps_keep_their_place(trajectory, tmp_path):
    """Under an optimizer's flow an event lies between two steps: as a whole number it was that of another time."""
    steps = np.array([0.0, 3.0, 3.509])
    run = Trajectory(trajectory.t, trajectory.weights, trajectory.outcome, "theory", steps=steps)
    loaded = load_trajectory(run.save(tmp_path / "run.nc"))
    np.testing.assert_array_equal(loaded.steps, steps)
    np.testing.assert_array_equal(run.to_xarray([])["step"], steps)
    np.testing.assert_array_equal(run.to_dataframe()["step"], steps)
    whole = Trajectory(trajectory.t, trajectory.weights, trajectory.outcome, steps=np.floor(steps * 2))
    assert load_trajectory(whole.save(tmp_path / "whole.nc")).steps.dtype == np.int64


@pytest.mark.parametrize(("part", "value"), [("model", 3), ("data", "mine.csv")])
def test_what_is_no_model_or_data_is_not_laid_at_the_file(trajectory, tmp_path, part, value):
    path = trajectory.save(tmp_path / "run.nc")
    with pytest.raises(FieldError, match=f"`{part}` must be a "):
        load_trajectory(path, **{part: value})


FULL = """
import resource, signal, sys
import numpy as np
from smallinit.sim import Outcome, Status, Trajectory
t = np.arange(200.0)
run = Trajectory(t, {"W_E": np.random.default_rng(0).normal(size=(200, 30, 30))}, Outcome(Status.REACHED_END, 199.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    run.save(sys.argv[1], overwrite=True)
except OSError as error:
    print(error.filename == sys.argv[1], error.strerror)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of files are those of posix")
@pytest.mark.parametrize("room", [0, 1000, 100_000, 1_000_000])
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(trajectory, tmp_path, room):
    """HDF5 tries again when its handles go, and ended in a segmentation fault."""
    path = trajectory.save(tmp_path / "run.nc")
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(room)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True File too large\n", "")
    assert os.listdir(tmp_path) == ["run.nc"]
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_are_kept_by_no_file(trajectory, tmp_path):
    """A training of one's own that has diverged can be drawn; a file of it could not be read again."""
    weights = {"W_E": np.array(trajectory.weights["W_E"])}
    weights["W_E"][-1] = np.nan
    lost = Trajectory(trajectory.t, weights, Outcome(Status.NON_FINITE, 2.0), "training")
    with pytest.raises(
        FieldError, match=r"`weights\['W_E'\]` must be finite, got 20 nan or inf: end .* to save it"
    ):
        lost.save(tmp_path / "lost.nc")
    assert os.listdir(tmp_path) == []
