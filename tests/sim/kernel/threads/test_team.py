"""Right-hand sides in parts: the same bits for any number of threads, and threads that end whatever happens."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import MODELS, data_for, random_weights, small_blocks
from threadpoolctl import threadpool_limits

from smallinit.sim import integrate, integrate_ensemble
from smallinit.sim.compile import compiler
from smallinit.sim.kernel import operations
from smallinit.sim.kernel.calls import _addresses
from smallinit.sim.kernel.single_precision import in_single_precision
from smallinit.sim.kernel.threads import blas_threads as blas_threads_module
from smallinit.sim.kernel.threads import team
from smallinit.sim.kernel.threads.blas_threads import blas_threads, one_blas_thread, threads_given
from smallinit.sim.kernel.work import in_parts
from smallinit.theory import CompositeTask, EmbMLP, derive


@pytest.fixture
def small(monkeypatch):
    """A flow whose few numbers are many parts."""
    small_blocks(monkeypatch)
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp", n=37)
    return derive(model, "exact"), data, random_weights(model)


@pytest.fixture(scope="module")
def large():
    """One with parts that take a millisecond each."""
    task = CompositeTask(range(11, 111), range(1, 6), range(6, 11), masked=())
    model = EmbMLP(131, 30, 400)
    return derive(model, "exact"), task.dataset(), model.init(0.8, 0)


def compiled(flow, data, start):
    problem = compiler.compile_flow(flow, data, start)
    assert in_parts(problem)
    return problem


def slopes(problem, y):
    problem.work[:] = np.nan
    out = np.full(problem.n, np.nan)
    problem(0.0, y, out)
    return out


def of_threads(number, problem, y, calls=1):
    """Slopes by so many threads."""
    with threadpool_limits(number, user_api="blas"), team.teamed(problem) as shared, blas_threads(problem):
        assert len(ours()) == number - 1
        found = [slopes(shared, y) for _ in range(calls)]
    assert all(np.array_equal(each, found[0]) for each in found)
    return found[0]


def ours():
    return [thread for thread in threading.enumerate() if thread.name == team.NAME]


@pytest.mark.parametrize("single", [False, True])
def test_slopes_are_the_same_bits_for_any_number_of_threads(small, single):
    problem = compiled(*small)
    y = problem.pack(small[2])
    if single:
        problem = in_single_precision(problem)
    expected = of_threads(1, problem, y)
    assert np.isfinite(expected).all()
    for number in (2, 3):
        np.testing.assert_array_equal(of_threads(number, problem, y, calls=200), expected)
    assert ours() == []


def test_slopes_of_a_large_flow_are_those_of_its_arrays_as_a_whole(large):
    problem, whole = compiled(*large), compiler.compile_flow(*large, blocks=False)
    y = problem.pack(large[2])
    expected = of_threads(1, problem, y)
    np.testing.assert_array_equal(of_threads(3, problem, y), expected)
    for name, slope in problem.unpack(slopes(whole, y)).items():
        size = np.abs(slope).max()
        np.testing.assert_allclose(problem.unpack(expected)[name], slope, rtol=1e-11, atol=1e-14 * size)


def test_a_call_by_itself_gives_the_same_bits_whatever_blas_is_given(large):
    problem = compiled(*large)
    y = problem.pack(large[2])
    expected = of_threads(1, problem, y)
    with threadpool_limits(2, user_api="blas"):
        np.testing.assert_array_equal(slopes(problem, y), expected)
        assert threads_given() == 2


def test_every_thread_helps(large):
    problem = compiled(*large)
    y, out, until = problem.pack(large[2]), np.empty(problem.n), time.monotonic() + 60
    with threadpool_limits(3, user_api="blas"), team.teamed(problem) as shared, blas_threads(problem):
        team_of = [thread._target.__self__ for thread in ours()]
        for own in team_of[0].own:
            own[:] = np.nan
        while any(np.isnan(own).all() for own in team_of[0].own):
            shared(0.0, y, out)
            assert time.monotonic() < until


@pytest.mark.parametrize("method", ["dop853", "bdf"])
def test_trajectories_are_the_same_bits_for_any_number_of_threads(small, method):
    flow, data, start = small
    found = []
    for number in (1, 2, 3):
        with threadpool_limits(number, user_api="blas"):
            found.append(integrate(flow, data, start, t1=3.0, method=method))
    for name, first in found[0].weights.items():
        assert all(np.array_equal(first, other.weights[name]) for other in found[1:])


def test_flows_without_parts_have_no_team():
    model, data = MODELS["emb-mlp"][0], data_for("emb-mlp")
    problem = compiler.compile_flow(derive(model, "exact"), data, random_weights(model))
    with threadpool_limits(2, user_api="blas"), team.teamed(problem) as shared:
        assert shared is problem


def test_there_is_no_team_where_one_thread_is_asked_for(small):
    problem = compiled(*small)
    with threadpool_limits(2, user_api="blas"), one_blas_thread(), team.teamed(problem) as shared:
        assert shared is problem


class PerThread:
    """A BLAS that counts its threads in each thread that calls it, as OpenBLAS does upon OpenMP."""

    internal_api, threading_layer, user_api = "openblas", "openmp", "blas"

    def __init__(self, number):
        self.number, self.of = number, {}

    def get_num_threads(self):
        return self.of.get(threading.current_thread(), self.number)

    def set_num_threads(self, number):
        self.of[threading.current_thread()] = number


def test_each_thread_has_one_of_blas_that_counts_per_thread(small, monkeypatch):
    problem = compiled(*small)
    blas = PerThread(3)
    monkeypatch.setattr(blas_threads_module, "_libraries", lambda: (blas,))
    with team.teamed(problem) as shared, blas_threads(problem):
        slopes(shared, problem.pack(small[2]))
        helpers = ours()
    assert len(helpers) == 2
    assert [blas.of[thread] for thread in helpers] == [1, 1]
    assert blas.get_num_threads() == 3


def test_members_of_an_ensemble_have_no_teams(small, monkeypatch):
    flow, data, start = small
    monkeypatch.setattr(team, "Team", None)
    starts = {name: np.stack([value, 0.5 * value]) for name, value in start.items()}
    with threadpool_limits(2, user_api="blas"):
        runs = integrate_ensemble(flow, data, starts, t1=1.0, threads=2)
    assert all(outcome.success for outcome in runs.outcomes)


def test_python_without_these_locks_runs_on_one_thread(small, monkeypatch):
    problem = compiled(*small)
    monkeypatch.setattr(team.ctypes, "pythonapi", None)
    with threadpool_limits(2, user_api="blas"), team.teamed(problem) as shared:
        assert shared is problem


def test_no_more_threads_than_can_be_started(small, monkeypatch):
    problem = compiled(*small)
    y, begin, left = problem.pack(small[2]), threading.Thread.start, [None]

    def start(thread):
        if thread.name == team.NAME:
            if not left:
                raise RuntimeError("can't start new thread")
            left.pop()
        begin(thread)

    expected = of_threads(1, problem, y)
    monkeypatch.setattr(threading.Thread, "start", start)
    with threadpool_limits(3, user_api="blas"), team.teamed(problem) as shared, blas_threads(problem):
        assert len(ours()) == 1
        np.testing.assert_array_equal(slopes(shared, y), expected)
    assert ours() == []


def test_the_table_is_left_as_it_was_and_the_shared_one_goes_on_alone(small):
    problem = compiled(*small)
    y, before = problem.pack(small[2]), problem.ints.copy()
    with threadpool_limits(2, user_api="blas"), team.teamed(problem) as shared:
        np.testing.assert_array_equal(problem.ints, before)
        assert not np.array_equal(shared.ints, before)
    np.testing.assert_array_equal(shared.ints, before)
    np.testing.assert_array_equal(slopes(shared, y), slopes(problem, y))


def test_who_finds_the_team_at_work_works_alone(small):
    """Two threads, one team, memory of their own."""
    problem = compiled(*small)
    y = problem.pack(small[2])
    expected = of_threads(1, problem, y)
    with threadpool_limits(3, user_api="blas"), team.teamed(problem) as shared, blas_threads(problem):
        copies = [shared.with_own_memory() for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            found = pool.map(lambda own: [slopes(own, y) for _ in range(300)], copies)
            for each in found:
                assert all(np.array_equal(slope, expected) for slope in each)


def test_two_threads_integrate_at_once(small):
    flow, data, start = small
    with threadpool_limits(2, user_api="blas"):
        alone = integrate(flow, data, start, t1=3.0)
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda _: integrate(flow, data, start, t1=3.0), range(8)))
    for name, weight in alone.weights.items():
        assert all(np.array_equal(run.weights[name], weight) for run in runs)
    assert ours() == []


def test_threads_end_with_an_exception(small):
    flow, data, start = small

    def fail(t, weights):
        if t > 0.0:
            assert len(ours()) == 1
            raise ZeroDivisionError
        return 1.0

    with threadpool_limits(2, user_api="blas"), pytest.raises(ZeroDivisionError):
        integrate(flow, data, start, t1=3.0, events=fail)
    assert ours() == []


@pytest.mark.parametrize("number", [1, 2])
def test_parts_with_an_operation_that_is_missing_are_no_numbers(small, number, monkeypatch):
    problem = compiled(*small)
    y, before = problem.pack(small[2]), _addresses._ADDRESSES.copy()
    monkeypatch.setattr(_addresses, "_SOURCES", {})
    try:
        _addresses._ADDRESSES[_addresses.DOUBLE + operations.SOFTMAX] = 0
        with pytest.warns(RuntimeWarning, match="could not be compiled"):
            found = _by(number, problem, y)
        assert np.isnan(found).all()
    finally:
        _addresses._ADDRESSES[:] = before
    assert np.isfinite(of_threads(number, problem, y)).all()


def _by(number, problem, y):
    with threadpool_limits(number, user_api="blas"), team.teamed(problem) as shared:
        return slopes(shared, y)


BEGINNING = """
import os, signal, sys, threading, time
from smallinit.sim import integrate
from smallinit.sim.kernel.threads import blas_threads as blas_threads_module
from smallinit.sim.kernel.threads import team
from smallinit.theory import CompositeTask, EmbMLP, derive
task = CompositeTask(range(11, 111), range(1, 6), range(6, 11), masked=())
model, data = EmbMLP(131, 30, 400), task.dataset()
flow, start = derive(model, "exact"), model.init(0.8, 0)
integrate(flow, data, start, t1=1e-3)
ours = lambda: [thread for thread in threading.enumerate() if thread.name == team.NAME]
begun = threading.Event()
def run():
    integrate(flow, data, start, t1=1e6, max_steps=10**9, progress=lambda t: begun.set())
"""

INTERRUPTED = """
def interrupt():
    begun.wait(60)
    assert len(ours()) == 1
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    run()
except KeyboardInterrupt:
    print("interrupted", len(ours()))
"""

# After an interrupt in the same process, whose imports and derivation take most of its time.
LEFT_BEHIND = """
begun.clear()
threading.Thread(target=run, daemon=True).start()
assert begun.wait(60)
print("left", len(ours()), flush=True)
"""


def program(end):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGINNING + end)],
        env=os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are sent to a process elsewhere")
def test_an_interrupt_ends_the_run_and_its_threads_and_a_process_ends_while_they_are_at_work():
    code, said, error = program(INTERRUPTED + LEFT_BEHIND)
    assert (code, said.splitlines()) == (0, ["interrupted 0", "left 1"]), error
