"""The number of BLAS threads is the process's: overlapping limits must not put back each other's."""

import threading

import numpy as np
import pytest
from helpers import small_case
from threadpoolctl import threadpool_info, threadpool_limits

from smallinit.compare.sweep.workers.point import single_threaded
from smallinit.sim import integrate_ensemble
from smallinit.sim.kernel.threads.blas_threads import one_blas_thread
from smallinit.theory import derive


def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        yield blas()


class Holder(threading.Thread):
    """Holds a limit until it is told to leave."""

    def __init__(self, limit):
        super().__init__(daemon=True)
        self.limit, self.inside, self.leave = limit, threading.Event(), threading.Event()
        self.start()
        assert self.inside.wait(60)

    def run(self):
        with self.limit():
            self.inside.set()
            self.leave.wait(60)

    def end(self):
        self.leave.set()
        self.join(60)


LIMITS = {"one_blas_thread": one_blas_thread, "sweep": lambda: single_threaded(False)}


@pytest.mark.parametrize("limits", [(a, b) for a in LIMITS for b in LIMITS])
@pytest.mark.parametrize("first_out", [0, 1])
def test_overlapping_limits_end_where_they_began(two_threads, limits, first_out):
    holders = [Holder(LIMITS[name]) for name in limits]
    assert set(blas()) == {1}
    holders[first_out].end()
    assert set(blas()) == {1}
    holders[1 - first_out].end()
    assert blas() == two_threads


def test_ensembles_on_two_threads_leave_the_number_as_it_was(two_threads):
    data, model, start = small_case()
    flow = derive(model, "softmax")
    starts = {name: np.stack([value] * 3) for name, value in start.items()}
    begun, seen = threading.Barrier(2), []

    def progress(done, total):
        if done == 1:
            begun.wait(60)
        seen.append(set(blas()))

    runs = [
        threading.Thread(
            target=integrate_ensemble,
            args=(flow, data, starts, t1),
            kwargs={"method": "dop853", "progress": progress},
        )
        for t1 in (0.5, 20.0)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert seen == [{1}] * 6
    assert blas() == two_threads
