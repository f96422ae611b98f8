"""A sweep is resumed with the inputs, sources, versions and processor that began it, or says what was accepted."""

import json

import numpy as np
import pytest
from sweeps import TINY, write

from smallinit.compare import run_sweep
from smallinit.compare.commands.sweep_command import sweep as command
from smallinit.compare.sweep import surroundings
from smallinit.compare.sweep.input_files import digests
from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.workers.point import WrongWorker, run_batch, run_point
from smallinit.theory.base.errors import InputError

SMALL = TINY.replace("[0.6, 0.8]", "[0.6]").replace('keys = "5-9"', "")


@pytest.fixture
def with_data(tmp_path):
    """A sweep over data of the user's own, half done."""
    rng = np.random.default_rng(0)

    def save(shift=0):
        np.savez(
            tmp_path / "data.npz", sequences=rng.integers(0, 6, (12, 3)), labels=(np.arange(12) + shift) % 6
        )

    save()
    head, _, tail = TINY.replace("[0.6, 0.8]", "[0.6]").partition("[task]")
    text = head + '[data]\nfile = "data.npz"\n' + tail[tail.index("[model]") :]
    file = write(tmp_path, text)
    run_sweep(file, tmp_path / "out", shard=(1, 3))
    return file, save


def test_a_changed_data_file_is_refused_or_said(tmp_path, with_data):
    file, save = with_data
    out = tmp_path / "out"
    save(shift=1)
    with pytest.raises(
        InputError,
        match=r"begun with other inputs, sources or versions: '?.*data.npz was '[0-9a-f]{64}' and is",
    ):
        run_sweep(file, out)
    sweep = run_sweep(file, out, accept_changes=True)
    told = sweep.to_xarray()["accepted_changes"].values.ravel()
    assert told[0] == ""
    assert all("data.npz was" in text for text in told[1:])
    assert run_sweep(file, out).status == "3 of 3 points done"  # asked once


def test_a_replaced_data_file_is_not_taken_from_memory(tmp_path, with_data):
    file, save = with_data
    plan = read_sweep(file)
    point = plan.points[0]
    now = digests([point.config])
    before = run_point(point.config, plan.run, plan.observables)
    save(shift=1)
    after = run_point(point.config, plan.run, plan.observables)
    assert (before["softmax|loss"] != after["softmax|loss"]).any()
    found, _ = run_batch([("a", point.config)], plan.run, plan.observables, None, now)
    assert "has changed while the sweep was running" in found["a"]


def test_new_files_on_an_axis_are_no_change(tmp_path):
    shapes = {"W_E": (18, 4), "W_in": (4, 3), "W_out": (3, 18)}
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **{w: np.full(s, 0.1) for w, s in shapes.items()})
    text = TINY.replace("[0.6, 0.8]", "[0.6]").replace('"init.seed" = "0-2"', '"init.file" = ["a.npz"]')
    out = tmp_path / "out"
    run_sweep(write(tmp_path, text), out)
    longer = write(tmp_path, text.replace('["a.npz"]', '["a.npz", "b.npz"]'))
    run_sweep(longer, out)
    assert len(json.loads((out / "manifest.json").read_text())["inputs"]) == 2
    np.savez(tmp_path / "b.npz", **{w: np.full(s, 0.2) for w, s in shapes.items()})
    with pytest.raises(InputError, match=r"b\.npz was"):
        run_sweep(longer, out)


@pytest.mark.parametrize("name", ["code", "python", "numpy", "scipy", "sympy", "numba", "cpu"])
def test_other_sources_versions_or_processors_are_refused_or_said(tmp_path, monkeypatch, name):
    file, out = write(tmp_path, TINY.replace("[0.6, 0.8]", "[0.6]")), tmp_path / "out"
    run_sweep(file, out, shard=(1, 3))
    original = surroundings.environment
    assert name in original(torch=False)
    assert "torch" not in original(torch=False)
    assert "torch" in original(torch=True)
    monkeypatch.setattr(surroundings, "environment", lambda torch: original(torch) | {name: "another"})
    with pytest.raises(InputError, match=rf"{name} was '.*' and is 'another'\. .*accept-changes"):
        run_sweep(file, out)
    if name == "code":
        with pytest.raises(InputError, match="accept-changes"):
            command(file, out=out)
        assert command(file, out=out, accept_changes=True) == 0
    else:
        run_sweep(file, out, accept_changes=True)
    told = run_sweep(file, out).to_xarray()["accepted_changes"].values.ravel()
    assert told[0] == ""
    assert all(text.startswith(f"{name} was ") for text in told[1:])


def test_another_experiment_is_never_accepted(tmp_path):
    out = tmp_path / "out"
    run_sweep(write(tmp_path), out, shard=(1, 6))
    changed = write(tmp_path, TINY.replace("t1 = 5.0", "t1 = 6.0"), "changed.toml")
    with pytest.raises(InputError, match=r"theory.t1 was 5.0 and is 6.0"):
        run_sweep(changed, out, accept_changes=True)


def test_a_worker_of_another_kind_is_refused():
    with pytest.raises(
        WrongWorker, match=r"a worker is not like the driver of the sweep .*numpy was '0.1' and is"
    ):
        run_batch(
            [], ["simulate"], ["loss"], None, {}, surroundings.environment(torch=False) | {"numpy": "0.1"}
        )
