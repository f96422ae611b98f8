"""How many cores there are to work on."""

from __future__ import annotations

import os
import sys
from math import ceil, isfinite
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")  # where Linux says what a container may use
# Quota and period in microseconds: version 2 of control groups has both in one file, version 1 one in each.
QUOTA_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def usable_cores() -> int:
    """Cores that this process may use, at least 1: those of its job or container, not all of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    present = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(min(present, _quota()), 1)


def _quota() -> int:
    """Cores that the processor time allowed to a container is worth, rounded up; no bound where none is set."""
    for files in QUOTA_FILES:
        try:
            quota, period = map(float, " ".join((CGROUPS / name).read_text() for name in files).split())
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
        if quota > 0.0 and period > 0.0 and isfinite(quota / period):  # -1: no limit
            return ceil(quota / period)
    return sys.maxsize
