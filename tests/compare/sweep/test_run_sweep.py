"""Sweeps: what a file may say, identity of points, every engine the same bits, and the faults they survive."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sweeps import TINY, same, write

from smallinit.cli import run as command
from smallinit.compare import open_sweep, run_sweep
from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.workers.point import run_point
from smallinit.theory.base.errors import FieldError, InputError


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


MOVERS = """
[axes]
"training.optimizer" = ["gd", "momentum", "adamw"]
"training.batch_size" = [5, 7]
[task]
keys = "5-9"
memory_anchors = "1-2"
reasoning_anchors = "3-4"
[model]
d_model = 4
d_mlp = 3
[training]
learning_rate = 0.01
steps = 5
betas = [0.8, 0.9]
momentum = 0.5
[theory]
closures = ["leading"]
t1 = 0.05
points = 6
"""


def test_keys_of_one_optimizer_on_an_axis_are_for_those_that_take_them(tmp_path):
    plan = read_sweep(write(tmp_path, MOVERS))
    said = [
        [point.config["training"][key] for key in ("betas", "momentum", "batch_size")]
        for point in plan.points
    ]
    assert said[::2] == [[None, None, None], [None, 0.5, 5], [(0.8, 0.9), None, 5]]
    assert said[1::2] == [[None, None, None], [None, 0.5, 7], [(0.8, 0.9), None, 7]]
    sweep = run_sweep(plan, tmp_path / "out")
    assert str(sweep) == "Sweep(training.optimizer (3) x training.batch_size (2): 6 of 6 points done)"
    loss = sweep.to_xarray()["loss"][:, :, 0, -1].values
    assert loss[0, 0] == loss[0, 1]  # gd has no batches: one point, computed once
    assert loss[2, 0] != loss[2, 1]
    again = read_sweep(write(tmp_path, plan.to_toml(), "again.toml"))
    assert [point.id for point in again.points] == [point.id for point in plan.points]
    assert again.fixed == plan.fixed


def test_keys_of_one_model_on_an_axis_are_for_those_that_take_them(tmp_path):
    text = TINY.replace('"init.seed" = "0-2"', '"model.name" = ["EmbMLP", "EmbedUnembed"]')
    plan = read_sweep(write(tmp_path, text))
    assert [point.config["model"].get("d_mlp") for point in plan.points] == [3, None, 3, None]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("momentum = 0.5", "nesterov = true\nmomentum = 0.5", None),
        (
            '["gd", "momentum", "adamw"]',
            '["gd", "momentum"]',
            "`betas` goes with adamw and the optimizer is 'gd'",
        ),
        (
            '["gd", "momentum", "adamw"]',
            '["momentum", "adamw"]',
            "`theory.t1` means nothing beside `training.steps`",
        ),
        ("[5, 7]", "[5, 700]", "`batch_size` is 700 but the data has"),
    ],
)
def test_what_no_point_takes_is_refused_before_any_work(tmp_path, old, new, message):
    file = write(tmp_path, MOVERS.replace(old, new))
    if message is None:
        assert len(read_sweep(file).points) == 6
        return
    with pytest.raises(InputError, match=message):
        run_sweep(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


DECODER = TINY.replace(
    '"init.gamma" = [0.6, 0.8]\n"init.seed" = "0-2"',
    '"model.norm" = ["pre", "none"]\n"model.norm_eps" = [1e-5, 0.1]\n"model.positions" = ["rotary", "none"]',
).replace("[model]\n", '[sweep]\nrun = ["train"]\n[model]\nname = "Decoder"\nd_head = 2\n')


def test_keys_of_a_decoder_are_axes(tmp_path):
    data = run_sweep(write(tmp_path, DECODER), tmp_path / "out").to_xarray()
    loss = data["loss"].sel(run="training").isel(time=-1)
    assert np.isfinite(loss).all()
    bare = loss.sel({"model.norm": "none"})
    assert (bare.sel({"model.norm_eps": 1e-5}) == bare.sel({"model.norm_eps": 0.1})).all()
    assert (loss.sel({"model.norm_eps": 1e-5}) != loss.sel({"model.norm_eps": 0.1})).any()
    gains = data["norm/blocks.0.ln1.w"].sel(run="training")
    assert np.isnan(gains.sel({"model.norm": "none"})).all()
    assert np.isfinite(gains.sel({"model.norm": "pre"})).all()


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
    same(open_sweep(out).to_xarray(), open_sweep(file, out).to_xarray())
    with pytest.raises(ValueError, match="`out` is missing: give the directory of the sweep beside its file"):
        open_sweep(file)
    with pytest.raises(ValueError, match="`flags` change a sweep's file, which is missing"):
        open_sweep(out, flags={"theory.t1": 3.0})
    with pytest.raises(InputError, match="holds no sweep"):
        open_sweep(tmp_path / "nothing")
    (out / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_sweep(file, out)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[axes]", "[axis]", r"needs a table \[axes\]"),
        ('"0-2"', "[]", "axis 'init.seed' must be a list"),
        ('"0-2"', "[1, 1]", "has a value twice"),
        ('"0-2"', '"2-0"', "axis 'init.seed' must count upwards, got '2-0'"),
        ('"0-2"', "{start=0, stop=1}", "must have a whole num of at least 1, got None"),
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


def test_the_command(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        code = command(["sweep", *map(str, arguments)])
        return code, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    file = write(tmp_path)
    assert run(file, "--status")[0] == 2
    code, out, err = run(file, "--collect", "all.nc", "--shard", "1/2")
    assert code == 0, err
    assert "3 of 6 points done" in out
    assert (tmp_path / "all.nc").is_file()
    assert (
        "results in results/sweep; for a page of them, smallinit report results/sweep\nwrote all.nc\n" in out
    )
    assert "must end in one of" in run(file, "--picture", "phase.bmp")[2]
    assert run(file, "--collect", "all.nc")[0] == 2
    assert "3 of 6 points done" in run(file, "--status")[1]
    assert run(file, "--theory.t1", "7")[0] == 2
    start = tmp_path / "start.npz"
    np.savez(start, W_E=np.ones((2, 2)))
    failing = write(
        tmp_path, TINY.replace('"init.seed" = "0-2"', f'"init.file" = ["{start}"]'), "failing.toml"
    )
    code, out, err = run(failing)
    assert code == 3
    assert "2 of 2 failed" in out
    assert "failed: init.gamma = 0.6" in err


def test_a_picture_of_nothing_is_said_after_the_results(tmp_path, monkeypatch, capsys):
    """It ended as bad input, by the name of an argument of Python, and did not say where the results are."""
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, TINY.replace("t1 = 5.0", "t1 = 0.2"))
    assert command(["sweep", str(file), "--picture", "phase.png", "--collect", "all.nc"]) == 3
    out, err = capsys.readouterr()
    assert "results in results/sweep; for a page" in out
    assert "wrote all.nc" in out
    assert "wrote phase.png" not in out
    assert not (tmp_path / "phase.png").exists()
    assert "no phase.png: in no point that is done does a group lose 25% of its loss" in err
    assert "theory.t1" in err
    assert "sweep`" not in err
    longer = write(tmp_path, TINY.replace("t1 = 5.0", "t1 = 300.0"), "longer.toml")
    assert command(["sweep", str(longer), "--picture", "phase.png"]) == 0
    assert "wrote phase.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": 3}, r"`shard` must be \(i, n\), whole numbers with 1 <= i <= n, got 3"),
        ({"shard": (1.0, 2)}, r"`shard` must be \(i, n\), whole numbers"),
        ({"shard": ("1", "2")}, r"`shard` must be \(i, n\), whole numbers"),
        ({"shard": (2, 1)}, r"`shard` must be \(i, n\), whole numbers"),
        ({"progress": 3}, "`progress` must be a function or None, got 3"),
        ({"accept_changes": "no"}, "`accept_changes` must be True or False, got 'no'"),
        ({"flags": 3}, r'`flags` must be a Mapping, got int: such as \{"init.gamma": 0.8\}'),
        (
            {"flags": {"gamma": 3}},
            '`flags` must have keys "section.key", such as "init.gamma", got \'gamma\'',
        ),
        ({"flags": {3: 3}}, '`flags` must have keys "section.key", such as "init.gamma", got 3'),
    ],
)
def test_arguments_of_another_kind_are_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(FieldError, match=message):
        run_sweep(write(tmp_path), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_flags_beside_a_plan_that_is_read_are_refused(tmp_path):
    """They would have changed nothing."""
    plan = read_sweep(write(tmp_path))
    for call in (run_sweep, open_sweep):
        with pytest.raises(FieldError, match=r"`flags` change a sweep's file: .*read_sweep\(file, flags\)"):
            call(plan, tmp_path / "out", flags={"train.steps": 3})
    assert not (tmp_path / "out").exists()
