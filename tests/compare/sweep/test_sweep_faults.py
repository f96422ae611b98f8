"""The faults that a sweep survives: killed workers and drivers, damaged shards, a full disk, other code."""

import builtins
import errno
import io
import os
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from pebble.pool.process import WorkerManager
from sweeps import TINY, same, start_driver, write

from smallinit.cli import run as command
from smallinit.compare import open_sweep, run_sweep
from smallinit.compare.report.directory import page_of
from smallinit.compare.sweep import engine
from smallinit.compare.sweep.run_sweep import recorded_sweep
from smallinit.compare.sweep.workers import executors
from smallinit.theory.base.disk import files
from smallinit.theory.base.errors import InputError

KILLER = """
import os
from pathlib import Path
from smallinit.theory import EmbMLP

mark, original = Path(os.environ["KILL_MARK"]), EmbMLP.init
def init(self, gamma, seed, *more):
    if gamma == 0.8 and seed == 1 and (os.environ.get("KILL_ALWAYS") or not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), 9)
    return original(self, gamma, seed, *more)
EmbMLP.init = init
"""


def in_workers(tmp_path, monkeypatch, code):
    """Run some code in every spawned process before anything else."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import multiprocessing, sys\n"
        "if 'from multiprocessing.spawn' in ' '.join(sys.orig_argv):\n"
        + "".join(f"    {x}\n" for x in code.splitlines())
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)


@pytest.mark.parametrize("always", [False, True])
def test_a_process_worker_that_is_killed(tmp_path, monkeypatch, always):
    """Once: nothing is lost. Always: that point fails, all others are there; a later run makes it good."""
    in_workers(tmp_path, monkeypatch, KILLER)
    monkeypatch.setenv("KILL_MARK", str(tmp_path / "mark"))
    if always:
        monkeypatch.setenv("KILL_ALWAYS", "1")
    file = write(tmp_path)
    whole = run_sweep(file, tmp_path / "other").to_xarray()  # first: the workers find what it has compiled
    sweep = run_sweep(file, tmp_path / "out", "process", workers=2)
    assert (tmp_path / "mark").exists()
    if always:
        assert list(sweep.failures) == ["init.gamma = 0.8, init.seed = 1"]
        assert "its worker died" in next(iter(sweep.failures.values()))
        assert sweep.status == "5 of 6 points done, 1 of 6 failed"
        data = sweep.to_xarray()
        assert np.isnan(data["loss"][1, 1]).all()
        assert (data["outcome"][1, 1] == "").all()
        assert np.isfinite(data["loss"][0, :, 1]).all()
        sweep = run_sweep(file, tmp_path / "out")
    assert not sweep.failures
    same(sweep.to_xarray(), whole)


@pytest.mark.parametrize("ended_by", [None, KeyboardInterrupt])
def test_a_worker_that_still_starts_when_its_pool_ends_says_nothing(tmp_path, monkeypatch, capfd, ended_by):
    """Neither of a sweep that is done before all its workers are there, nor of an interrupted one."""
    in_workers(tmp_path, monkeypatch, "import time\ntime.sleep(0.5)")
    asked, stop = [], WorkerManager.force_stop_workers

    def late(manager):
        asked.extend(manager.workers.values())
        time.sleep(3.0)  # the pool has given up its pipes and locks, and its workers come to ask for them
        stop(manager)

    monkeypatch.setattr(WorkerManager, "force_stop_workers", late)
    with pytest.raises(ended_by) if ended_by else nullcontext(), executors._process_pool(2) as pool:
        executors._schedule(pool, ([], (), (), None, {}, None)).cancel()
        if ended_by:
            raise ended_by
    assert len(asked) == 2
    assert not any(worker.is_alive() for worker in asked)
    assert capfd.readouterr() == ("", "")


def test_workers_do_not_hear_an_interrupt_from_their_first_instant(tmp_path, monkeypatch, capfd):
    """A terminal sends Ctrl-C to all processes; only the driver is to answer."""
    in_workers(tmp_path, monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    monkeypatch.chdir(tmp_path)
    assert command(["sweep", str(write(tmp_path)), "--executor", "process"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert "6 of 6 points done" in said.out


KILLS = 5


def test_the_driver_killed_at_random_moments(tmp_path):
    """Killed and resumed until done: the same bits, no sound shard ever written twice.

    The faults of a writer kill it at each of its calls; here the moments are those between threads.
    """
    text = TINY.replace('"0-2"', '"0-19"')
    file, out = write(tmp_path, text), tmp_path / "out"
    # first: no driver is killed for compiling too long
    whole = run_sweep(file, tmp_path / "whole").to_xarray()
    rng = np.random.default_rng(0)
    written: dict[str, int] = {}
    kills = 0
    for _ in range(60):
        process = start_driver(file, out, batch_seconds=1e-9)  # a shard a point
        try:
            until = time.monotonic() + 60.0
            start = len(written)
            goal = start + int(rng.integers(1, 4)) if kills < KILLS else 10**6
            while process.exitcode is None and time.monotonic() < until and len(_shards(out)) < goal:
                time.sleep(0.003)
            time.sleep(float(rng.uniform(0.0, 0.02)))
            if process.exitcode is None and kills < KILLS:
                process.kill()
                kills += 1
        finally:
            process.join(60)
        found = _shards(out)
        assert all(found[name] == stamp for name, stamp in written.items())
        written = found
        if process.exitcode == 0:
            break
    assert kills >= KILLS - 1
    sweep = open_sweep(file, out)
    assert sweep.done == 40
    assert sweep.store.n_damaged == 0
    points = [
        p
        for shard in (out / "shards").glob("*.npz")
        for p in np.load(shard)["points.json"].decode().split(",")
    ]
    assert len(points) == 40  # none in two shards
    same(sweep.to_xarray(), whole)


def _shards(out):
    return (
        {p.name: p.stat().st_mtime_ns for p in (out / "shards").glob("[0-9a-f]*.npz")} if out.exists() else {}
    )


def damage(kind, shards):
    first, second = sorted(shards.glob("*.npz"))[:2]
    if kind == "truncated":
        first.write_bytes(first.read_bytes()[:-50])
    elif kind == "empty":
        first.write_bytes(b"")
    elif kind == "flipped":
        content = bytearray(first.read_bytes())
        content[len(content) // 2] ^= 1
        first.write_bytes(bytes(content))
    else:
        a, b = first.read_bytes(), second.read_bytes()
        first.write_bytes(b)
        second.write_bytes(a)
    return 2 if kind == "swapped" else 1


def listing(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["truncated", "empty", "flipped", "swapped"])
def test_damaged_shards_are_put_aside_and_computed_again(tmp_path, kind):
    file, out = write(tmp_path), tmp_path / "out"
    whole = run_sweep(file, out).to_xarray()
    n = damage(kind, out / "shards")
    before = listing(out)
    assert f"{n} damaged shard" in open_sweep(file, out).status
    assert listing(out) == before  # a reader moves nothing
    again = run_sweep(file, out)
    assert again.store.n_damaged == n
    assert len(list((out / "damaged").iterdir())) == n
    assert again.done == 6
    same(whole, again.to_xarray())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    file, out = write(tmp_path), tmp_path / "out"
    original, calls = files.os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if (
            len(calls) == 10
        ):  # three folders; each file and its folder: manifest, plan, a shard, half of the next
            raise OSError(28, "No space left on device")
        original(handle)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        run_sweep(file, out, workers=1)
    assert not list(out.rglob("*.tmp"))
    kept = open_sweep(file, out).done
    assert 0 < kept < 6
    monkeypatch.undo()
    assert run_sweep(file, out).done == 6


def test_another_configuration_is_refused(tmp_path):
    file, out = write(tmp_path), tmp_path / "out"
    run_sweep(file, out)
    changed = write(
        tmp_path, TINY.replace("t1 = 5.0", "t1 = 6.0").replace("d_mlp = 3", "d_mlp = 2"), "changed.toml"
    )
    with pytest.raises(
        InputError, match=r"another sweep: model.d_mlp was 3 and is 2; theory.t1 was 5.0 and is 6.0"
    ):
        run_sweep(changed, out)


DRIVERS = 3


def test_drivers_in_one_directory_share_the_work(tmp_path):
    """By the recorded history of who computed what: every point, none of them twice."""
    text = TINY.replace('"0-2"', '"0-29"')
    file, out, log = write(tmp_path, text), tmp_path / "out", tmp_path / "log"
    log.mkdir()
    one = run_sweep(file, tmp_path / "one").to_xarray()
    several = [start_driver(file, out, 0.05, log) for _ in range(DRIVERS)]
    for process in several:
        process.join(200)
    assert [process.exitcode for process in several] == [0] * DRIVERS
    sweep = open_sweep(file, out)
    assert sweep.done == 60
    computed = [name for history in log.iterdir() for name in history.read_text().split()]
    assert sorted(computed) == sorted(point.id for point in sweep.plan.points)
    assert not (out / "claims").exists()
    same(sweep.to_xarray(), one)


@pytest.mark.parametrize(
    "trouble", [OSError(errno.EMFILE, "too many"), OSError(errno.EIO, "io"), MemoryError()]
)
def test_troubles_of_the_system_are_no_damage(tmp_path, monkeypatch, trouble):
    file, out = write(tmp_path), tmp_path / "out"
    run_sweep(file, out)
    before = listing(out)

    def troubled(original):
        def refuse(path, *arguments, **options):
            if str(path).endswith(".npz"):
                raise trouble
            return original(path, *arguments, **options)

        return refuse

    for module in (builtins, io, os):
        monkeypatch.setattr(module, "open", troubled(module.open))
    for read in (open_sweep, run_sweep):
        with pytest.raises(type(trouble)):
            read(file, out)
    monkeypatch.undo()
    assert not (out / "damaged").exists()
    after = listing(out)
    assert {path: after[path] for path in before if path.suffix} == {
        p: t for p, t in before.items() if p.suffix
    }
    assert open_sweep(file, out).done == 6


def refused_in(folder, method):
    def guarded(path, *arguments, **options):
        if path.is_relative_to(folder):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return method(path, *arguments, **options)

    return guarded


def test_a_read_only_archive_with_a_bad_shard_can_be_read(tmp_path, monkeypatch):
    file, out = write(tmp_path), tmp_path / "out"
    run_sweep(file, out)
    damage("truncated", out / "shards")
    before = listing(out)

    for name in ("mkdir", "replace", "rename", "unlink", "touch", "write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, refused_in(out, getattr(Path, name)))
    sweep = open_sweep(file, out)
    assert "1 damaged shard, whose points count as missing" in sweep.status
    assert sweep.done < 6
    assert len(recorded_sweep(out).to_xarray()["loss"]) == 2
    page_of(out)
    assert listing(out) == before


@pytest.mark.parametrize("executor", [None, "process"])
def test_a_point_that_is_too_slow_is_a_failed_point(tmp_path, executor):
    text = TINY + '[sweep]\nrun = ["simulate", "train"]\nmax_seconds = 1e-9\n'
    file, out = write(tmp_path, text), tmp_path / "out"
    sweep = run_sweep(file, out, executor, workers=1)  # each process would load torch
    assert len(sweep.failures) == 6
    assert all("it took longer than 1e-09 s" in reason for reason in sweep.failures.values())
    again = run_sweep(file, out, workers=2, max_seconds=100.0)
    assert again.status == "6 of 6 points done"


HANGER = """
import time
import smallinit.compare.sweep.workers.point, smallinit.sim.integration.integrate
import smallinit.sim.kernel.threads.blas_threads
from smallinit.theory import EmbMLP
original = EmbMLP.init
def init(self, gamma, seed, *more):
    if gamma == 0.8 and seed == 1:
        time.sleep(10**6)
    return original(self, gamma, seed, *more)
EmbMLP.init = init
"""


def test_a_point_that_hangs_ends_with_its_process(tmp_path, monkeypatch):
    """It is waited for as long as a start and its own time may take: here little, as all is imported and compiled."""
    file = write(tmp_path)
    run_sweep(file, tmp_path / "compiled")
    in_workers(tmp_path, monkeypatch, HANGER)
    monkeypatch.setattr(executors, "STARTUP_SECONDS", 12.0)
    monkeypatch.setattr(engine, "BATCH_SECONDS", 1e-9)  # a batch a point
    sweep = run_sweep(file, tmp_path / "out", "process", workers=2, max_seconds=4.0)
    assert list(sweep.failures) == ["init.gamma = 0.8, init.seed = 1"]
    assert "took longer than 4 s (its worker had to be ended)" in next(iter(sweep.failures.values()))
    assert sweep.done == 5


def test_a_point_that_cannot_be_computed(tmp_path):
    start = tmp_path / "start.npz"
    np.savez(start, W_E=np.ones((2, 2)))
    text = TINY.replace('"init.seed" = "0-2"', f'"init.file" = ["{start}"]')
    sweep = run_sweep(write(tmp_path, text), tmp_path / "out")
    assert sweep.done == 0
    assert len(sweep.failures) == 2
    assert "must have shape (18, 4), got (2, 2)" in next(iter(sweep.failures.values()))
    with pytest.raises(ValueError, match="no point of the sweep is done"):
        sweep.to_xarray()
