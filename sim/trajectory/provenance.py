"""What a result was made with: versions, source, machine; no time stamp: equal runs write equal records."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = ("smallinit", "numpy", "scipy", "numba", "sympy", "torch")


def provenance(**extra: Any) -> dict[str, Any]:
    """Record the software, the machine, and what the caller adds (method, tolerances, seed, config hash).

    Returns
    -------
    dict
        JSON-able: versions, ``git_commit`` (of this package's checkout, or None), ``cpu``, ``threads``,
        ``dtype``, and `extra`.
    """
    record: dict[str, Any] = dict(versions())
    record |= {
        "git_commit": git_commit(Path(__file__).parents[2]),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu(),
        "cpu_count": os.cpu_count(),
        "threads": _threads(),
        "dtype": "float64",
    }
    return record | extra


def fingerprint(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(weights[name]).data)
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide bits."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit(root: Path) -> str | None:
    """Commit that `root` has checked out, read from its .git folder; None where there is none."""
    try:
        head = (root / ".git" / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        loose = root / ".git" / ref
        if loose.is_file():
            return loose.read_text().strip()
        packed = (root / ".git" / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {ref}")), None)


@cache
def cpu() -> str:
    """Name of the processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _threads() -> dict[str, int]:
    """Threads of the BLAS libraries loaded now, and of torch if that is loaded."""
    pools = _pools("scipy.linalg" in sys.modules, "torch" in sys.modules).info()
    found = {str(pool["internal_api"]): int(pool["num_threads"]) for pool in pools}
    if "torch" in sys.modules:
        found["torch"] = int(sys.modules["torch"].get_num_threads())
    return found


@cache
def _pools(scipy: bool, torch: bool) -> Any:
    """Libraries with threads of their own, looked for again once one of these has brought its own along.

    A look takes milliseconds, and leaves a cycle of references behind.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
