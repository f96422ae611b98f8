import os

import pytest

from smallinit.compare.sweep.workers.executors import workers_of
from smallinit.theory.base import cores
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


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu.max": "6400000 100000\n"}, 16),
        ({"cpu.max": "nonsense"}, 16),
        ({"cpu.max": "inf 100000\n"}, 16),
        ({}, 16),
    ],
)
def test_a_container_takes_the_cores_that_its_quota_is_worth(monkeypatch, tmp_path, files, expected):
    """It took all of the machine, whose scheduler then held each of them up most of the time."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert usable_cores() == expected
