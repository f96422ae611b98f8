import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from smallinit.compare import train
from smallinit.compare.training import checkpoint
from smallinit.compare.training.checkpoint import (
    CheckpointError,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
)
from smallinit.theory.base.disk.npz import open_sealed_npz, write_npz

OPTIMIZERS = {
    "gd": {},
    "sgd": {"batch_size": 7},
    "adamw": {"batch_size": 7, "weight_decay": 0.01},
}
SAVES = [0, 5, 12, 20, 30]


@pytest.fixture
def run(model, data, start):
    """``run(steps, **options)``: a short training that saves at the steps of `SAVES`."""

    def call(steps, optimizer="gd", **options):
        saves = [step for step in SAVES if step <= steps]
        arguments = {"learning_rate": 0.05, "save_at": saves} | OPTIMIZERS[optimizer] | options
        return train(model, data, start, optimizer, steps=steps, **arguments)

    return call


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [0, 13, 20])
def test_resumed_run_equals_straight_run_bit_for_bit(run, tmp_path, optimizer, stop):
    path = tmp_path / "run.npz"
    straight = run(30, optimizer)
    run(stop, optimizer, checkpoint=path)
    resumed = run(30, optimizer, checkpoint=path, resume=True)
    np.testing.assert_array_equal(resumed.steps, straight.steps)
    for name, value in straight.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_run_goes_on_from_its_last_checkpoint(run, tmp_path, monkeypatch, optimizer):
    path, straight = tmp_path / "run.npz", run(30, optimizer)

    def killed(self):
        if self.step == 17:
            raise KeyboardInterrupt
        return update(self)

    from smallinit.compare.training.training_run import TrainingRun

    update = TrainingRun._update
    monkeypatch.setattr(TrainingRun, "_update", killed)
    with pytest.raises(KeyboardInterrupt):
        run(30, optimizer, checkpoint=path, checkpoint_every=4)
    monkeypatch.setattr(TrainingRun, "_update", update)
    resumed = run(30, optimizer, checkpoint=path, checkpoint_every=4, resume=True)
    assert resumed.statistics["steps"] == 30 - 16
    for name, value in straight.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)


def test_finished_run_resumes_without_a_step(run, tmp_path):
    first = run(12, checkpoint=tmp_path / "run.npz")
    again = run(12, checkpoint=tmp_path / "run.npz", resume=True)
    assert again.statistics["steps"] == 0
    np.testing.assert_array_equal(again.weights["W_E"], first.weights["W_E"])


def test_resume_without_a_file_starts_afresh(run, tmp_path):
    fresh = run(5, checkpoint=tmp_path / "run.npz", resume=True)
    np.testing.assert_array_equal(fresh.weights["W_E"], run(5).weights["W_E"])


def test_other_settings_are_refused_by_name(run, tmp_path, start):
    path = tmp_path / "run.npz"
    run(5, "sgd", checkpoint=path)
    with pytest.raises(ValueError, match=r"learning_rate was 0.05 and is 0.1, seed was 0 and is 1") as caught:
        run(5, "sgd", checkpoint=path, resume=True, learning_rate=0.1, seed=1)
    assert "batch_size" not in str(caught.value)
    with pytest.raises(ValueError, match="batch_size was 7 and is None"):
        run(5, checkpoint=path, resume=True)


def test_other_start_and_other_model_are_refused(model, data, start, tmp_path):
    path = tmp_path / "run.npz"
    train(model, data, start, steps=2, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"other inputs, sources or versions \(start was '[0-9a-f]{64}' and is"
    ):
        train(model, data, model.init(0.5, seed=9), steps=2, checkpoint=path, resume=True)


def test_steps_and_saves_must_continue_the_run(run, tmp_path):
    path = tmp_path / "run.npz"
    run(20, checkpoint=path)
    with pytest.raises(ValueError, match="`steps` is 12 but the checkpoint is at step 20"):
        run(12, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="`save_at` differs from what the checkpoint saved"):
        run(30, checkpoint=path, resume=True, save_at=[1, 30])


def test_existing_checkpoint_is_not_overwritten(run, tmp_path):
    path = tmp_path / "run.npz"
    run(5, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="exists already: pass resume=True"):
        run(5, checkpoint=path)
    assert path.read_bytes() == before


def test_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    state = TrainingState(1, {"W": np.ones((2, 2))})
    save_checkpoint(path, {"a": 1}, state)

    def no_space(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, {"a": 1}, TrainingState(2, {"W": np.zeros((2, 2))}))
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    assert load_checkpoint(path, {"a": 1}).step == 1


def members(**changes):
    meta = {"format": 1, "config": {}, "hash": "", "step": 1, "rng": {}, "saved_steps": []} | changes
    return {"meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)}


@pytest.mark.parametrize(
    "kind", ["text", "empty", "truncated", "flipped", "object", "huge", "deflated", "edited"]
)
def test_hostile_files_are_refused(tmp_path, kind):
    path = tmp_path / "run.npz"
    save_checkpoint(path, {"a": 1}, TrainingState(1, {"W": np.arange(4096.0).reshape(64, 64)}))
    content = path.read_bytes()
    if kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif kind == "object":
        np.savez(path, **members(), W=np.array([{}], dtype=object), allow_pickle=True)
    elif kind == "deflated":
        np.savez_compressed(path, **members(), W=np.zeros(10**6))
    elif kind == "edited":
        np.savez(path, **members())
    else:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
        prefix = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("meta.npy", prefix + header + b"\n")
    with pytest.raises(ValueError, match=r"is not a whole checkpoint .*delete it or give another path"):
        load_checkpoint(path, {"a": 1})


@pytest.mark.parametrize("name", ["code", "python", "numpy", "scipy", "sympy", "numba", "torch", "cpu"])
def test_other_sources_versions_or_processors_are_refused_or_said(run, tmp_path, monkeypatch, name):
    path = tmp_path / "run.npz"
    run(12, checkpoint=path)
    original = checkpoint.environment
    monkeypatch.setattr(checkpoint, "environment", lambda torch: original(torch) | {name: "another"})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"{name} was '.*' and is 'another'.*accept_changes=True"):
        run(30, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    resumed = run(20, checkpoint=path, resume=True, accept_changes=True)
    (said,) = resumed.provenance["accepted_changes"]
    assert said.startswith(f"from step 12: {name} was ")
    again = run(30, checkpoint=path, resume=True)  # asked once, said for ever
    assert list(again.provenance["accepted_changes"]) == [said]
    assert "accepted_changes" not in run(12).provenance


def test_other_data_are_refused_or_said_and_other_settings_always_refused(run, model, data, start, tmp_path):
    path = tmp_path / "run.npz"
    run(12, checkpoint=path)
    other = replace(data, weights=data.weights * np.linspace(1.0, 2.0, len(data.weights)))
    more = {"learning_rate": 0.05, "save_at": SAVES, "steps": 30, "checkpoint": path, "resume": True}
    with pytest.raises(ValueError, match=r"\(data was '[0-9a-f]+' and is '[0-9a-f]+'\)"):
        train(model, other, start, **more)
    with pytest.raises(ValueError, match=r"other settings \(learning_rate was 0.05 and is 0.1\)"):
        train(model, data, start, **more | {"learning_rate": 0.1}, accept_changes=True)
    resumed = train(model, other, start, **more, accept_changes=True)
    assert "data was" in resumed.provenance["accepted_changes"][0]


def test_a_run_that_is_out_of_time_is_kept(run, tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(
        RuntimeError, match=r"`max_seconds` used up at t = 0\.05.*came before step 30, at step 1"
    ):
        run(30, checkpoint=path, max_seconds=1e-9)
    cut = run(30, max_seconds=1e-9, throw=False)
    assert cut.outcome.status.name == "MAX_SECONDS"
    assert cut.steps.tolist() == [0]
    resumed, straight = run(30, checkpoint=path, resume=True), run(30)
    for name, value in straight.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)
    with pytest.raises(ValueError, match="`max_seconds` must be positive"):
        run(30, max_seconds=0.0)


def forge(path, **changes):
    """Change members of a checkpoint and seal it anew."""
    with open_sealed_npz(path) as archive:
        content = dict(archive)
    meta = json.loads(content.pop("meta.json").tobytes()) | changes.pop("meta", {})
    write_npz(path, {"meta.json": json.dumps(meta).encode(), **content, **changes})


FORGED = {
    "a weight that would be broadcast": {"weight:W_in": np.ones((1, 1))},
    "a scalar weight": {"weight:W_in": np.array(1.0)},
    "integers": {"weight:W_in": np.ones((4, 6), dtype=np.int64)},
    "another precision": {"weight:W_in": np.ones((4, 6), dtype=np.float32)},
    "nan": {"weight:W_in": np.full((4, 6), np.nan)},
    "unknown weight": {"weight:W_X": np.ones((4, 6))},
    "unknown moment": {"moment:W_in/exp_avg": np.ones((1, 1))},
    "snapshots of another shape": {"saved:W_in": np.ones((4, 1, 1))},
    "fewer snapshots": {"saved:W_in": np.ones((1, 4, 6))},
    "unknown observable": {"measured:loss": np.ones(4)},
    "unknown kind": {"wish:W_in": np.ones((4, 6))},
    "complex": {"weight:W_in": np.ones((4, 6), dtype=complex)},
    "no generator": {"meta": {"rng": []}},
    "another generator": {"meta": {"rng": {"bit_generator": "MT19937"}}},
    "half a generator": {"meta": {"rng": {"bit_generator": "PCG64", "state": {"state": -1, "inc": "x"}}}},
    "steps that fall": {"meta": {"saved_steps": [5, 0, 12, 20]}},
    "steps of text": {"meta": {"saved_steps": "abc"}},
    "no step": {"meta": {"step": None}},
    "an infinite step": {"meta": {"step": float("inf")}},
    "no settings": {"meta": {"config": 3}},
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_checkpoints_with_the_right_seal_are_refused(run, tmp_path, kind):
    path = tmp_path / "run.npz"
    run(20, "sgd", checkpoint=path)
    forge(path, **FORGED[kind])
    with pytest.raises(
        CheckpointError, match=r"is not a whole checkpoint|does not fit this run|holds no state"
    ):
        run(30, "sgd", checkpoint=path, resume=True)


def test_moments_of_other_shapes_are_refused(run, tmp_path):
    path = tmp_path / "run.npz"
    run(20, "adamw", checkpoint=path)
    forge(path, **{"moment:W_in/exp_avg": np.ones((1, 1))})
    with pytest.raises(CheckpointError, match="moment 'W_in/exp_avg' is float64"):
        run(30, "adamw", checkpoint=path, resume=True)


@pytest.mark.parametrize("save_at", [None, 4, 101])
@pytest.mark.parametrize(("first", "more"), [(20, 30), (250, 500), (7, 7), (0, 9)])
def test_a_longer_run_saves_what_was_saved_and_then_its_own_steps(
    model, data, start, tmp_path, save_at, first, more
):
    options = {"learning_rate": 0.05, "save_at": save_at}
    short = train(model, data, start, steps=first, checkpoint=tmp_path / "run.npz", **options)
    resumed = train(model, data, start, steps=more, checkpoint=tmp_path / "run.npz", resume=True, **options)
    straight = train(model, data, start, steps=more, **options)
    later = straight.steps[straight.steps > first]
    assert resumed.steps.tolist() == [*short.steps.tolist(), *later.tolist()]
    np.testing.assert_array_equal(resumed.weights["W_E"][: len(short)], short.weights["W_E"])
    np.testing.assert_array_equal(
        resumed.weights["W_E"][len(short) :], straight.weights["W_E"][straight.steps > first]
    )


def test_a_killed_run_of_evenly_saved_steps_goes_on_as_one(model, data, start, tmp_path):
    straight = train(model, data, start, steps=300, learning_rate=0.05)
    with pytest.raises(Exception, match="s came before step 300"):
        train(
            model,
            data,
            start,
            steps=300,
            learning_rate=0.05,
            checkpoint=tmp_path / "run.npz",
            max_seconds=1e-9,
        )
    resumed = train(
        model, data, start, steps=300, learning_rate=0.05, checkpoint=tmp_path / "run.npz", resume=True
    )
    np.testing.assert_array_equal(resumed.steps, straight.steps)
    np.testing.assert_array_equal(resumed.weights["W_E"], straight.weights["W_E"])
