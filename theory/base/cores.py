"""How many cores there are to work on."""

from __future__ import annotations

import os
import sys
from math import ceil, isfinite
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup")  # where Linux tells what a container may use


def usable_cores() -> int:
    """Cores that this process may use, at least 1: those of its job or container, not all of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(min(there, _quota()), 1)


def _quota() -> int:
    """Processor time over time that a container is allowed, as a whole number of cores; no bound where nothing says."""
    # of both versions of control groups
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            used, period = map(float, " ".join((CONTROL / name).read_text() for name in files).split())
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
        if used > 0.0 and period > 0.0 and isfinite(used / period):  # -1: no limit
            return ceil(used / period)
    return sys.maxsize
