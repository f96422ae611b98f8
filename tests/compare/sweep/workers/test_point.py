import numpy as np
from sweeps import TINY, write

from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.workers.point import run_batch, run_point

OWN = """
[axes]
"init.gamma" = [0.6, 0.8]
[data]
file = "own.npz"
[model]
d_model = 4
d_mlp = 3
[theory]
closures = ["leading"]
t1 = 5.0
points = 6
"""


def save(path, labels):
    np.savez(path, sequences=[[0, 1], [2, 3]], labels=labels)


def test_a_data_file_replaced_between_two_points_is_read_again(tmp_path):
    plan = read_sweep(write(tmp_path, OWN))
    config = plan.points[0].config
    losses = []
    for labels in ([0, 1], [3, 3], [0, 1]):
        save(tmp_path / "own.npz", labels)
        losses.append(run_point(config, plan.run, plan.observables)["leading|loss"])
    assert not np.array_equal(losses[0], losses[1], equal_nan=True)
    assert np.array_equal(losses[0], losses[2], equal_nan=True)


def test_a_batch_reads_its_data_file_once(tmp_path, monkeypatch):
    save(tmp_path / "own.npz", [0, 1])
    plan, met = read_sweep(write(tmp_path, OWN)), []
    monkeypatch.setattr(
        "smallinit.compare.sweep.workers.point.run_point",
        lambda config, run, names, seconds, files: met.append(id(files)) or {},
    )
    run_batch([(point.id, point.config) for point in plan.points], plan.run, plan.observables)
    assert len(met) == 2
    assert len(set(met)) == 1


def test_points_of_one_task_share_data_and_flows(tmp_path):
    from smallinit.compare.sweep.workers.point import _setup, _shared

    plan = read_sweep(write(tmp_path, TINY))
    first, last = (_shared(_setup(p.config), "") for p in (plan.points[0], plan.points[-1]))
    assert all(a is b for a, b in zip(first, last, strict=True))
