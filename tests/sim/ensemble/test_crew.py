"""Threads of an ensemble end with the one that waits for them."""

import threading

import numpy as np
import pytest
from helpers import small_case

from smallinit.sim import integrate_ensemble
from smallinit.sim.ensemble.crew import Crew
from smallinit.sim.ode import record
from smallinit.sim.ode.taylor.series_steps import SAVED
from smallinit.sim.ode.taylor.switching_lanes import SwitchingLanes
from smallinit.theory import derive


@pytest.mark.parametrize("method", ["tsit5", "rkc", "taylor"])
def test_what_nobody_waits_for_ends_with_the_rest(method):
    """The first member would take years: it ends since another, when done, breaks the whole off."""
    data, model, start = small_case()
    members = 1 + 16  # of series, eight or more make a block
    ends = np.where(np.arange(members) > 0, 1e-3, 1e12)
    starts = {name: np.stack([w] * members) for name, w in start.items()}

    def breaks_off(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        integrate_ensemble(
            derive(model, "exact"), data, starts, ends, method=method, threads=2, max_steps=10**12,
            progress=breaks_off,
        )  # fmt: skip
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_what_failed_is_said_and_not_what_ended_with_it():
    crew, under_way = Crew(2), threading.Event()

    def work(task):
        if task == 0:
            assert under_way.wait(60.0)
            raise ValueError("this one")
        under_way.set()
        while True:
            crew.go_on()

    with pytest.raises(ValueError, match="this one"):
        crew.map(work, range(5))


def test_results_are_in_the_order_of_the_tasks():
    assert Crew(3).map(lambda x: x * x, range(20)) == [x * x for x in range(20)]


def test_a_call_of_lanes_is_short_with_rkc_too(monkeypatch):
    """Between two of them an interrupt is heard: where calls are slow one is a round, or the steps of a look."""
    budgets, saved, plain = [], [], SwitchingLanes.run

    def run(lanes, max_steps, budget):
        before = lanes.count[:, SAVED].copy()
        plain(lanes, max_steps, budget)
        budgets.append(budget)
        saved.append(int((lanes.count[:, SAVED] - before).max()))

    monkeypatch.setattr(record, "_CALL_SECONDS", 0.0)  # every call is a slow one
    monkeypatch.setattr(SwitchingLanes, "run", run)
    data, model, start = small_case()
    starts = {name: np.stack([w] * 2) for name, w in start.items()}
    found = integrate_ensemble(derive(model, "softmax"), data, starts, t1=2e4, save_at=500)
    assert all("rkc" in words for words in found.statistics["methods"])
    assert set(budgets) == {1}
    assert max(saved) < 250  # all but a few are by RKC, in some hundred steps
