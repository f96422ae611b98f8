"""A sweep's memory is flat: no point leaves large arrays in cycles of references, nor in a cache."""

import gc
import tracemalloc

from smallinit.compare.experiment.layers import load
from smallinit.compare.sweep.workers.point import run_point

POINTS, BYTES = 20, 20_000  # of one point; before, it was a megabyte


def test_points_leave_nothing_behind():
    flags = {"theory.points": 11, "theory.t1": 20.0, "theory.closures": ["softmax"], "model.d_model": 60}
    experiments = [
        load(None, "demo", flags | {"init.seed": seed}).experiment.model_dump(mode="json")
        for seed in range(POINTS + 3)
    ]

    def compute(some):
        for config in some:
            run_point(config, ["simulate"], ["loss", "loss/*", "norm/*"])

    compute(experiments[:3])
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        compute(experiments[2:3])
        before, _ = tracemalloc.get_traced_memory()
        compute(experiments[3:])
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert (after - before) / POINTS < BYTES
