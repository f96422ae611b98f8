"""Theory in AdamW's steps against torch's AdamW to the same step, at the sizes of the demo and of the paper.

`python tests/benchmarks/optimizers.py [demo|paper]`; one thread each, float64, medians of three. Training is timed
without its first steps; compiling the theory's kernel is not counted, and reported.
"""

import sys
import time

import numpy as np
import torch

from smallinit.compare import train
from smallinit.compare.experiment.build import build
from smallinit.compare.experiment.layers import load
from smallinit.sim import AdamW, integrate

ADAM, STEPS, TRAINED = AdamW(1e-3, weight_decay=0.0), 600, 30
REPEATS = 3


def seconds(call) -> float:
    """Wall-clock time of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    preset = sys.argv[1] if len(sys.argv) > 1 else "demo"
    torch.set_num_threads(1)
    built = build(load(None, preset, {"theory.closures": "softmax,exact"}))
    how = {"optimizer": ADAM, "save_at": 1}
    runs = [train(built.model, built.data, built.start, steps=TRAINED, **how) for _ in range(REPEATS)]
    step = float(np.median([run.statistics["seconds_per_step"] for run in runs]))
    print(f"{preset}: training {1e3 * step:.2f} ms a step, {STEPS * step:.1f} s for {STEPS} steps")
    for name, flow in built.flows().items():
        steps = STEPS if name == "softmax" or preset == "demo" else 60

        def run(flow=flow, steps=steps):
            return integrate(flow, built.data, built.start, steps=steps, **how)

        first = seconds(run)
        times = [seconds(run) for _ in range(REPEATS)]
        theory, calls = float(np.median(times)), run().statistics["rhs_calls"]
        print(
            f"  {name}: {theory:.3f} s for {steps} steps ({calls} gradients; {first - theory:.2f} s more at first), "
            f"{steps * step / theory:.1f} times faster"
        )


if __name__ == "__main__":
    main()
