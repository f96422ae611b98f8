"""What the cost grows with: nonzeros, vocabulary, width, members, points; what threads gain and what a sweep adds.

`python tests/benchmarks/costs.py`: three minutes. Exponents by regression over medians. A sweep's overhead is
its wall-clock time over that of the batches that its one worker computes.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _race import exponent, machine, median
from large_vocabulary import zipf_bigrams

from smallinit.compare import run_sweep
from smallinit.compare.sweep.plan import read_sweep
from smallinit.compare.sweep.workers.point import run_batch
from smallinit.sim import integrate_ensemble
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.kernel.alignment import aligned
from smallinit.theory import CompositeTask, Dataset, EmbMLP, derive

SWEEP = """
[axes]
"init.gamma" = {start = 0.5, stop = 0.9, num = 4}
"init.seed" = "0-24"
[sweep]
preset = "demo"
observables = ["loss/*"]
[theory]
closures = ["softmax"]
rtol = 1e-3
t1 = 100.0
points = 41
"""


def call_seconds(data, width):
    """Seconds of one right-hand side of the leading flow."""
    model = EmbMLP(data.d_vocab, width, width)
    start = model.init(0.8, 0)
    problem = compile_flow(derive(model, "leading"), data, start)
    y, out = problem.pack(start), aligned(problem.n)
    return median(lambda: problem(0.0, y, out), 7)


def right_hand_sides():
    """Exponents of one call in nonzeros, vocabulary and width."""
    print("| what grows | sizes | seconds a call | exponent |\n|---|---|---|---|")
    whole = zipf_bigrams(5_000, 40_000_000, 4_000_000)
    order = np.argsort(-whole.weights, kind="stable")
    numbers, costs = (500_000, 1_000_000, 2_000_000, len(order)), []
    for n in numbers:
        kept = order[:n]
        data = Dataset(whole.sequences[kept], whole.labels[kept], 5_000, weights=whole.weights[kept])
        costs.append(call_seconds(data, 64))
    line("nonzeros of M (V = 5,000, d = 64)", numbers, costs)
    sizes = (5_000, 10_000, 20_000, 40_000)
    costs = [call_seconds(zipf_bigrams(v, 50 * v, 25 * v), 64) for v in sizes]
    line("V (about 25 nonzeros a token, d = 64)", sizes, costs)
    data, widths = zipf_bigrams(10_000, 2_000_000, 500_000), (64, 128, 256, 512)
    line("d_model = d_mlp (V = 10,000, 5e5 nonzeros)", widths, [call_seconds(data, w) for w in widths])


def line(what, sizes, costs):
    """One row of the table."""
    shown = ", ".join(f"{s:,}" for s in sizes)
    print(
        f"| {what} | {shown} | {', '.join(f'{c:.3g}' for c in costs)} | {exponent(sizes, costs):.2f} |",
        flush=True,
    )


def ensembles():
    """Exponent in members, and what a second thread gains."""
    data = CompositeTask(range(11, 31), range(1, 6), range(6, 11), masked=()).dataset()
    model = EmbMLP(51, 40, 40)
    flow, made = derive(model, "softmax"), [model.init(0.8, seed) for seed in range(64)]
    starts = {w: np.stack([m[w] for m in made]) for w in model.weights}

    def run(n, workers):
        return lambda: integrate_ensemble(
            flow, data, {w: v[:n] for w, v in starts.items()}, t1=50.0, save_at=2, rtol=1e-4, threads=workers,
            observables=["loss"], keep_weights=False,
        )  # fmt: skip

    sizes = (16, 32, 64)
    line("members of an ensemble (one thread)", sizes, [median(run(n, 1), 3) for n in sizes])
    one, two = median(run(64, 1), 5), median(run(64, 2), 5)
    print(f"\nEnsemble, threads 1 -> 2: {one / two:.2f} times faster.")


class Counting(ThreadPoolExecutor):
    """One worker that adds up the time its batches take."""

    seconds = 0.0

    def submit(self, function, *arguments):
        """Run a batch by the clock."""
        return super().submit(self._timed, function, *arguments)

    def _timed(self, function, *arguments):
        began = time.perf_counter()
        found = function(*arguments)
        self.seconds += time.perf_counter() - began
        return found


def clocked(f):
    """Seconds of a call."""
    began = time.perf_counter()
    f()
    return time.perf_counter() - began


def sweeps():
    """What a sweep adds to the time of its points."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.toml").write_text(SWEEP)
        plan = read_sweep(folder / "sweep.toml")
        configs = [(point.id, point.config) for point in plan.points]
        run_batch(configs[:2], plan.run, plan.observables)
        shares, one, two = [], [], []
        for turn in range(3):
            with Counting(1) as worker:
                wall = clocked(
                    lambda turn=turn, worker=worker: run_sweep(plan, folder / f"one{turn}", worker)
                )
            shares.append(wall / worker.seconds - 1)
            one.append(wall)
            two.append(clocked(lambda turn=turn: run_sweep(plan, folder / f"two{turn}", workers=2)))
        sizes = (25, 50, 100)
        costs = [clocked(lambda n=n: run_batch(configs[:n], plan.run, plan.observables)) for n in sizes]
        print(
            f"Sweep of {len(configs)} points, {np.median(one):.1f} s in batches of 1 s on one worker: ",
            end="",
        )
        print(f"{np.median(shares):.2%} more than its batches (median of 3).")
        print(f"Sweep, workers 1 -> 2: {np.median(one) / np.median(two):.2f} times faster.")
        print(f"Cost grows as the number of points to the power {exponent(sizes, costs):.2f}.")


if __name__ == "__main__":
    print(machine() + "\n")
    right_hand_sides()
    ensembles()
    sweeps()
    sys.stdout.flush()
