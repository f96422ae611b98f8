import os

import pytest

from smallinit.compare.sweep.workers.executors import workers_of
from smallinit.theory.base.cores import usable_cores


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system does not tell the cores of a process"
)
def test_a_job_takes_the_cores_that_it_was_given(monkeypatch):
    """It took all of the machine: 64 threads on the 4 cores of a job."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 3
    with workers_of(None, None, train=False) as (_, number):
        assert number == 3


def test_a_system_that_does_not_tell_has_all_of_them(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
