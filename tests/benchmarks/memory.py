"""Memory of a sweep of the demo's size, point by point, with the collector of cycles off.

``python tests/benchmarks/memory.py [POINTS]``: prints the resident memory as it goes and what 1,000 points add.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from smallinit.compare.experiment.layers import load
from smallinit.compare.sweep.workers.point import run_point

WARM = 20
OBSERVABLES = ("loss", "loss/*", "norm/*")


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(points: int) -> None:
    """Run that many points of the demo, one seed each."""
    began, first = time.perf_counter(), 0.0
    for seed in range(points + WARM):
        flags = {"init.seed": seed, "theory.t1": 20.0, "theory.points": 11, "theory.closures": ["softmax"]}
        run_point(load(None, "demo", flags).experiment.model_dump(mode="json"), ["simulate"], OBSERVABLES)
        if seed == WARM - 1:
            gc.collect()
            gc.disable()
            first = resident()
            print(f"{0:6d} points: {first:7.1f} MB", flush=True)
        elif seed >= WARM and (seed - WARM + 1) % max(points // 10, 1) == 0:
            print(
                f"{seed - WARM + 1:6d} points: {resident():7.1f} MB, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    print(f"growth: {resident() - first:.1f} MB over {points} points, collector off")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
