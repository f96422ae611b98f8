"""A sweep of six small points, and drivers of sweeps as processes that can be killed, for the tests of sweeps."""

import os
from multiprocessing import get_context

import numpy as np

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


def start_driver(file, out, batch_seconds, log=None):
    """A process of its own that runs a sweep; see `_drive`."""
    process = get_context("spawn").Process(
        target=_drive, args=(str(file), str(out), batch_seconds, log and str(log))
    )
    process.start()
    return process


def _drive(file, out, batch_seconds, log):
    """Run a sweep, writing down in a file of this process, in the folder `log`, which points it computes."""
    from smallinit.compare import run_sweep
    from smallinit.compare.sweep import engine
    from smallinit.compare.sweep.workers import executors

    original, engine.BATCH_SECONDS = executors.run_batch, batch_seconds

    def logged(configs, *rest):
        with open(f"{log}/{os.getpid()}", "a") as history:
            history.writelines(name + "\n" for name, _ in configs)
        return original(configs, *rest)

    if log is not None:
        executors.run_batch = logged
    run_sweep(file, out, workers=2)
