"""Trainings on several threads leave torch as they found it, for themselves and for threads to come."""

import threading

import pytest
import torch
from helpers import small_case

from smallinit.compare import train
from smallinit.compare.sweep.workers.point import single_threaded
from smallinit.compare.training.torch_threads import flushed_denormals, one_torch_thread

DENORMAL = torch.tensor(1e-310, dtype=torch.float64)


def of_a_new_thread(ask):
    found = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join(60)
    return found[0]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Holder(threading.Thread):
    """Holds a limit until it is told to leave, and notes the number of threads it has after that."""

    def __init__(self, limit):
        super().__init__(daemon=True)
        self.limit, self.inside, self.leave, self.after = limit, threading.Event(), threading.Event(), None
        self.start()
        assert self.inside.wait(60)

    def run(self):
        with self.limit():
            assert torch.get_num_threads() == 1
            self.inside.set()
            self.leave.wait(60)
            assert torch.get_num_threads() == 1
        self.after = torch.get_num_threads()

    def end(self):
        self.leave.set()
        self.join(60)
        return self.after


LIMITS = {"train": one_torch_thread, "sweep": lambda: single_threaded(True)}


@pytest.mark.parametrize("limits", [(a, b) for a in LIMITS for b in LIMITS])
@pytest.mark.parametrize("first_out", [0, 1])
def test_overlapping_limits_end_where_they_began(two_threads, limits, first_out):
    holders = [Holder(LIMITS[name]) for name in limits]
    assert holders[first_out].end() == 2
    assert holders[1 - first_out].end() == 2
    assert torch.get_num_threads() == 2
    assert of_a_new_thread(torch.get_num_threads) == 2


def test_nested_limits_end_where_they_began(two_threads):
    with single_threaded(True):
        with one_torch_thread():
            assert torch.get_num_threads() == 1
        assert of_a_new_thread(torch.get_num_threads) == 2 or torch.get_num_threads() == 1
    assert torch.get_num_threads() == of_a_new_thread(torch.get_num_threads) == 2


def test_trainings_on_two_threads_leave_torch_as_it_was(two_threads, monkeypatch):
    """The first begins first and ends first: what the second found was the first one's."""
    data, model, start = small_case()
    turns = {"inside": threading.Barrier(2), "first out": threading.Event()}
    run = __import__("smallinit.compare.training.train", fromlist=["TrainingRun"]).TrainingRun
    advance = run.advance

    def slow(self, *args):
        turns["inside"].wait(60)
        if self.settings.steps == 2:
            turns["first out"].wait(60)
        return advance(self, *args)

    monkeypatch.setattr(run, "advance", slow)
    first, second = (
        threading.Thread(target=train, args=(model, data, start), kwargs={"steps": steps, "dtype": "float32"})
        for steps in (1, 2)
    )
    first.start()
    second.start()
    first.join(60)
    turns["first out"].set()
    second.join(60)
    assert torch.get_num_threads() == of_a_new_thread(torch.get_num_threads) == 2


def test_denormals_are_flushed_in_the_thread_that_asks_alone():
    holder = Holder(lambda: _both())
    assert float(DENORMAL * 1.0) == 1e-310
    assert of_a_new_thread(lambda: float(DENORMAL * 1.0)) == 1e-310
    holder.end()
    assert float(DENORMAL * 1.0) == 1e-310


def _both():
    from contextlib import ExitStack

    stack = ExitStack()
    stack.enter_context(one_torch_thread())
    stack.enter_context(flushed_denormals("float32"))
    assert float(DENORMAL * 1.0) == 0.0
    return stack
