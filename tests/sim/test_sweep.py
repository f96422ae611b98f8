"""Sweeps: what a file may say, identity of points, every engine the same bits, and the faults they survive."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import smallinit.sim.sweep.store as store_module
from smallinit.files import InputError
from smallinit.sim import open_sweep, run_sweep
from smallinit.sim.sweep import read_sweep
from smallinit.sim.sweep.point import run_point

TINY = """
[axes]
"init.gamma" = [0.6, 0.8]
"init.seed" = "0-2"
[task]
keys = "5-9"
memory_anchors = "1-2"
reasoning_anchors = "3-4"
[model]
d_model = 4
d_mlp = 3
[theory]
closures = ["leading", "softmax"]
t1 = 5.0
points = 6
"""


def write(tmp_path, text=TINY, name="sweep.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def same(a, b):
    """Bit for bit, outcomes and all."""
    assert list(a.variables) == list(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def test_a_sweep_is_its_points(tmp_path):
    file = write(tmp_path)
    sweep = run_sweep(file, tmp_path / "out")
    assert str(sweep) == "Sweep(init.gamma (2) x init.seed (3): 6 of 6 points done)"
    data = sweep.to_xarray()
    assert data["loss"].dims == ("init.gamma", "init.seed", "run", "time")
    assert data["loss"].shape == (2, 3, 2, 6)
    assert data.run.values.tolist() == ["leading", "softmax"]
    assert (data["outcome"][..., 1] == "REACHED_END").all()
    assert set(data["outcome"].values.ravel()) == {"REACHED_END", "BLOW_UP"}
    blown = np.nonzero(data["outcome"].values == "BLOW_UP")
    assert np.isnan(data["loss"].values[blown][:, -1]).all()
    plan = read_sweep(file)
    alone = run_point(plan.points[4].config, plan.run, plan.observables)  # gamma .8, seed 1
    np.testing.assert_array_equal(data["norm/W_E"][1, 1, 1], alone["softmax|norm/W_E"])
    np.testing.assert_array_equal(data["t"][1, 1, 0], np.linspace(0.0, 5.0, 6))
    saved = sweep.save(tmp_path / "all.nc")
    import xarray

    with xarray.open_dataset(saved, engine="h5netcdf") as read:
        np.testing.assert_array_equal(read["loss|memory"].values, data["loss/memory"].values)
    with pytest.raises(FileExistsError):
        sweep.save(saved)


def test_training_and_zipped_axes(tmp_path):
    text = TINY.replace(
        '"init.seed" = "0-2"',
        '"init.seed" = [0, 1]\n"training.learning_rate" = {start=0.05, stop=0.1, num=2}',
    )
    text += (
        '[sweep]\nzip = ["init.gamma", "init.seed"]\nrun = ["simulate", "train"]\nobservables = ["loss"]\n'
    )
    sweep = run_sweep(write(tmp_path, text), tmp_path / "out")
    data = sweep.to_xarray()
    assert dict(data["loss"].sizes) == {
        "init_gamma_init_seed": 2,
        "training.learning_rate": 2,
        "run": 3,
        "time": 6,
    }
    assert data.run.values.tolist() == ["leading", "softmax", "training"]
    np.testing.assert_allclose(data["loss"][:, :, 1], data["loss"][:, :, 2], rtol=0.12)
    assert "norm/W_E" not in data
    assert data["init.seed"].values.tolist() == [0, 1]


def test_running_again_computes_nothing_and_extending_reuses(tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = run_sweep(write(tmp_path), out).to_xarray()
    before = {p.name: p.stat().st_mtime_ns for p in (out / "shards").iterdir()}
    seen = []
    run_sweep(write(tmp_path), out, progress=seen.append)
    assert not seen
    more = TINY.replace('"0-2"', "[1, 7, 2, 0]")
    sweep = run_sweep(write(tmp_path, more), out, progress=seen.append)
    assert seen[-1].done == 2  # seed 7 at both gammas
    assert {p.name: p.stat().st_mtime_ns for p in (out / "shards").iterdir()}.items() >= before.items()
    picked = sweep.to_xarray().sel({"init.seed": [0, 1, 2]})
    np.testing.assert_array_equal(picked["loss"], first["loss"])


def test_every_engine_gives_the_same_bits(tmp_path):
    text = TINY + '[sweep]\nrun = ["simulate", "train"]\n'
    file = write(tmp_path, text)
    serial = run_sweep(file, tmp_path / "serial", workers=1).to_xarray()
    same(serial, run_sweep(file, tmp_path / "threads", workers=3).to_xarray())
    same(serial, run_sweep(file, tmp_path / "process", "process", workers=2).to_xarray())
    with ThreadPoolExecutor(2) as pool:
        same(serial, run_sweep(file, tmp_path / "own", pool).to_xarray())
    for i in (2, 1, 3):
        shards = run_sweep(file, tmp_path / "shards", shard=(i, 3))
    same(serial, shards.to_xarray())


def test_dask_gives_the_same_bits_though_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    file = write(tmp_path)
    expected = run_sweep(file, tmp_path / "threads").to_xarray()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killed = []

        def kill_one(progress):
            if not killed:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        sweep = run_sweep(file, tmp_path / "dask", client.get_executor(), progress=kill_one)
    assert killed
    same(expected, sweep.to_xarray())


KILLER = """
import os
from pathlib import Path
from smallinit.theory import EmbMLP

mark, original = Path(os.environ["KILL_MARK"]), EmbMLP.init
def init(self, gamma, seed):
    if gamma == 0.8 and seed == 1 and (os.environ.get("KILL_ALWAYS") or not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), 9)
    return original(self, gamma, seed)
EmbMLP.init = init
"""


@pytest.mark.parametrize("always", [False, True])
def test_a_process_worker_that_is_killed(tmp_path, monkeypatch, always):
    """Once: nothing is lost. Always: that point fails, all others are there; a later run makes it good."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import multiprocessing, sys\n"
        "if 'from multiprocessing.spawn' in ' '.join(sys.orig_argv):\n"
        + "".join(f"    {x}\n" for x in KILLER.splitlines())
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("KILL_MARK", str(tmp_path / "mark"))
    if always:
        monkeypatch.setenv("KILL_ALWAYS", "1")
    file = write(tmp_path)
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
    same(sweep.to_xarray(), run_sweep(file, tmp_path / "other").to_xarray())


DRIVER = """
import sys
from smallinit.sim import run_sweep
import smallinit.sim.sweep.engine as engine
if __name__ == "__main__":
    engine.BATCH_SECONDS = 1e-9  # a shard a point
    run_sweep(sys.argv[1], sys.argv[2], workers=2)
"""


def test_the_driver_killed_at_random_moments(tmp_path):
    """Killed and resumed until done: the same bits, no sound shard ever written twice."""
    text = TINY.replace('"0-2"', '"0-19"')
    file, out = write(tmp_path, text), tmp_path / "out"
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    rng = np.random.default_rng(0)
    command = [sys.executable, "-P", str(script), str(file), str(out)]
    written: dict[str, int] = {}
    kills = 0
    for _ in range(60):
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            until = time.monotonic() + 60.0
            start = len(written)
            goal = start + int(rng.integers(1, 4)) if kills < 20 else 10**6
            while process.poll() is None and time.monotonic() < until and len(_shards(out)) < goal:
                time.sleep(0.003)
            time.sleep(float(rng.uniform(0.0, 0.02)))
            if process.poll() is None and kills < 20:
                process.kill()
                kills += 1
        finally:
            code = process.wait(60)
        found = _shards(out)
        assert all(found[name] == stamp for name, stamp in written.items())
        written = found
        if code == 0:
            break
    assert kills >= 5
    sweep = open_sweep(file, out)
    assert sweep.done == 40
    assert sweep.store.n_damaged == 0
    points = [
        p
        for shard in (out / "shards").glob("*.npz")
        for p in np.load(shard)["points.json"].decode().split(",")
    ]
    assert len(points) == 40  # none in two shards
    same(sweep.to_xarray(), run_sweep(file, tmp_path / "whole").to_xarray())


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


@pytest.mark.parametrize("kind", ["truncated", "empty", "flipped", "swapped"])
def test_damaged_shards_are_put_aside_and_computed_again(tmp_path, kind):
    file, out = write(tmp_path), tmp_path / "out"
    whole = run_sweep(file, out).to_xarray()
    n = damage(kind, out / "shards")
    assert f"{n} damaged shards put aside" in open_sweep(file, out).status
    again = run_sweep(file, out)
    assert again.done == 6
    same(whole, again.to_xarray())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    file, out = write(tmp_path), tmp_path / "out"
    original, calls = store_module.os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        original(handle)

    monkeypatch.setattr(store_module.os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        run_sweep(file, out, workers=1)
    assert not list(out.rglob("*.tmp"))
    kept = open_sweep(file, out).done
    assert 0 < kept < 6
    monkeypatch.undo()
    assert run_sweep(file, out).done == 6


def test_another_configuration_or_other_code_is_refused(tmp_path, monkeypatch):
    file, out = write(tmp_path), tmp_path / "out"
    run_sweep(file, out)
    changed = write(
        tmp_path, TINY.replace("t1 = 5.0", "t1 = 6.0").replace("d_mlp = 3", "d_mlp = 2"), "changed.toml"
    )
    with pytest.raises(
        InputError, match=r"another sweep: model.d_mlp was 3 and is 2; theory.t1 was 5.0 and is 6.0"
    ):
        run_sweep(changed, out)
    monkeypatch.setattr(store_module, "code_hash", lambda: "0" * 16)
    with pytest.raises(InputError, match="other code"):
        run_sweep(file, out)


def test_two_drivers_in_one_directory(tmp_path):
    text = TINY.replace('"0-2"', '"0-9"')
    file, out = write(tmp_path, text), tmp_path / "out"
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    both = [subprocess.Popen([sys.executable, "-P", str(script), str(file), str(out)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    sweep = open_sweep(file, out)
    assert sweep.done == 20
    same(sweep.to_xarray(), run_sweep(file, tmp_path / "one").to_xarray())


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


def test_hostile_and_foreign_directories(tmp_path):
    file = write(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and no sweep"):
        run_sweep(file, foreign)
    assert sorted(p.name for p in foreign.iterdir()) == ["thesis.txt"]
    with pytest.raises(InputError, match="holds no sweep"):
        open_sweep(file, tmp_path / "nothing")
    out = tmp_path / "out"
    run_sweep(file, out)
    (out / "shards" / "evil.npz").write_bytes(b"\x80\x04.")
    assert open_sweep(file, out).store.n_damaged == 1
    (out / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_sweep(file, out)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[axes]", "[axis]", r"needs a table \[axes\]"),
        ('"0-2"', "[]", "axis 'init.seed' must be a list"),
        ('"0-2"', "[1, 1]", "has a value twice"),
        ('"0-2"', '"2-0"', "axis 'init.seed' must be a list"),
        ('"0-2"', "{start=0, stop=1}", "must have start, stop and a whole num"),
        ('"init.seed" = "0-2"', '"init.gamm" = [1.0]', "gamm"),
        ('"init.seed" = "0-2"', "seed = [1]", "must be named section.key"),
        ("[0.6, 0.8]", "[0.6, -0.8]", "on the axes"),
        ("[0.6, 0.8]", "{start=0.0, stop=1.0, num=3, log=true}", "must be positive"),
        ("[task]", '[sweep]\nrun = ["fly"]\n[task]', "`run` must be a list of simulate, train"),
        ("[task]", "[sweep]\nspeed = 1\n[task]", "unknown key 'speed'"),
        ("[task]", '[sweep]\nzip = ["init.gamma", "init.seed"]\n[task]', "must have as many values"),
        ("[task]", '[sweep]\nzip = ["init.gamma", "model.d_mlp"]\n[task]', "must be an axis"),
        ("[task]", '[sweep]\npreset = "dem"\n[task]', "there is no preset"),
        ('"0-2"', '"0-9999999"', "at most"),
    ],
)
def test_bad_files(tmp_path, old, new, message):
    file = write(tmp_path, TINY.replace(old, new))
    with pytest.raises(InputError, match=message):
        run_sweep(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": (0, 2)}, "`shard` must be"),
        ({"workers": 0}, "`workers` must be"),
        ({"executor": "cluster"}, "`executor` must be None"),
    ],
)
def test_bad_arguments(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run_sweep(write(tmp_path), tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-P", "-m", "smallinit", "sweep", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    file = write(tmp_path)
    assert run(file, "--status").returncode == 2
    done = run(file, "--collect", "all.nc", "--shard", "1/2")
    assert done.returncode == 0, done.stderr
    assert "3 of 6 points done" in done.stdout
    assert (tmp_path / "all.nc").is_file()
    assert (
        "wrote all.nc\nresults in results/sweep; for a page of them, smallinit report results/sweep\n"
        in done.stdout
    )
    assert "must end in one of" in run(file, "--picture", "phase.bmp").stderr
    assert run(file, "--collect", "all.nc").returncode == 2
    assert "3 of 6 points done" in run(file, "--status").stdout
    assert run(file, "--theory.t1", "7").returncode == 2
    start = tmp_path / "start.npz"
    np.savez(start, W_E=np.ones((2, 2)))
    failing = write(
        tmp_path, TINY.replace('"init.seed" = "0-2"', f'"init.file" = ["{start}"]'), "failing.toml"
    )
    failed = run(failing)
    assert failed.returncode == 3
    assert "2 of 2 failed" in failed.stdout
    assert "failed: init.gamma = 0.6" in failed.stderr
