"""What the benchmarks share: timing by turns, tables, and the machine."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def timed(f, rounds):
    """Times of a call, and its last value."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        value = f()
        times.append(time.perf_counter() - began)
    return times, value


def median(f, rounds=5):
    """Median seconds of a call, the first of which is not counted."""
    f()
    return float(np.median(timed(f, rounds)[0]))


def race(tools, rounds, reference, size, burst=1):
    """Let all take turns of `burst` calls; tool -> (median seconds a call, error relative to `size`).

    What takes microseconds needs bursts: else the caches are those that the tool before has left.
    """
    times = {name: [] for name in tools}
    values = {name: f() for name, f in tools.items()}  # warm
    for _ in range(rounds):
        for name, f in tools.items():
            taken, values[name] = timed(f, burst)
            times[name].append(sum(taken) / burst)
    return {
        name: (float(np.median(times[name])), float(np.max(np.abs(values[name] - reference) / size)))
        for name in tools
    }


def table(results, baseline):
    """Markdown table of a race, with times relative to one of the tools."""
    lines = [f"| tool | median s | time / {baseline} | error |", "|---|---|---|---|"]
    for name, (seconds, error) in results.items():
        lines.append(f"| {name} | {seconds:.3g} | {seconds / results[baseline][0]:.2f} | {error:.1e} |")
    return "\n".join(lines)


def exponent(sizes, costs):
    """Power of the size that the cost grows with, by regression."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def installed(package):
    """Whether a peer is there; tables without it have a row less."""
    return find_spec(package) is not None


def machine():
    """Processor, cores and versions in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    parts = [f"{model}, {os.cpu_count()} cores", f"Python {platform.python_version()}"]
    for package in ("numpy", "scipy", "numba", "torch", "diffrax", "heyoka", "torchdiffeq"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return "; ".join(parts)
