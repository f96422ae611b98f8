"""Work against precision of an exact flow (workload D): ours in float64 and float32, and gradient descent in torch.

    python tests/benchmarks/exact_precision.py [--quick] [--picture FILE.png]     # six minutes; --quick one

All go from one start to one flow time, ours at several tolerances, training at several learning rates: it is Euler's
method, whose error falls as the rate. An error is the distance of the last weights from those of DOP853 at rtol 1e-10,
over the distance gone; the largest over the weights. One thread, seconds of the processor.
"""

import argparse
import time

import numpy as np
from _race import machine
from peers import draw
from threadpoolctl import threadpool_limits

from smallinit.compare import train
from smallinit.sim import integrate
from smallinit.theory import CompositeTask, EmbMLP, derive

FLOW_TIME = 200.0
RTOLS = {"float64": (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8), "float32": (1e-3, 1e-4, 1e-5, 2e-6)}
RATES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)


def setting(quick):
    """Data, model and start."""
    keys = range(11, 31) if quick else range(11, 111)
    data = CompositeTask(keys, range(1, 6), range(6, 11), masked=()).dataset()
    model = EmbMLP(data.d_vocab, 64, 128)
    return data, model, model.init(0.8, 0)


def processor_seconds(call):
    """Seconds of the processor, and the value."""
    began = time.process_time()
    value = call()
    return time.process_time() - began, value


def error(weights, reference, start):
    """Distance of last weights from the reference's over the distance gone, the largest over the weights."""
    gaps = (
        np.linalg.norm(weights[w][-1] - reference[w][-1]) / np.linalg.norm(reference[w][-1] - start[w])
        for w in start
    )
    return float(max(gaps))


def runs(data, model, start):
    """(tool, setting, call) of every run, the quick ones first."""
    flow, saves = derive(model, "exact"), [FLOW_TIME]
    options = {"t1": FLOW_TIME, "save_at": saves, "max_steps": 10**6}
    for dtype, tolerances in RTOLS.items():
        for rtol in tolerances:
            yield (
                f"smallinit, {dtype}",
                f"rtol {rtol:g}",
                lambda r=rtol, d=dtype: integrate(flow, data, start, rtol=r, dtype=d, **options),
            )
    for rate in RATES:
        for dtype in RTOLS:
            steps = round(FLOW_TIME / rate)
            yield (
                f"torch, {dtype}",
                f"rate {rate:g}",
                lambda r=rate, n=steps, d=dtype: train(
                    model, data, start, learning_rate=r, steps=n, save_at=[n], dtype=d
                ),
            )


def measured(quick):
    """Tool -> rows (seconds, error); prints each run as it ends."""
    data, model, start = setting(quick)
    flow, curves = derive(model, "exact"), {}
    unknowns = sum(w.size for w in start.values())
    print(f"{len(data.sequences):,} sequences, {unknowns:,} unknowns, to flow time {FLOW_TIME:g}\n")
    for dtype in RTOLS:  # warm
        integrate(flow, data, start, t1=0.1, save_at=[0.1], rtol=1e-4, method="rkc", dtype=dtype)
        train(model, data, start, learning_rate=0.1, steps=2, dtype=dtype)
    reference = integrate(flow, data, start, t1=FLOW_TIME, save_at=[FLOW_TIME], rtol=1e-10, method="dop853")
    print("| tool | at | s of the processor | evaluations | error |\n|---|---|---|---|---|", flush=True)
    for tool, at, call in runs(data, model, start):
        seconds, run = processor_seconds(call)
        off = error(run.weights, reference.weights, start)
        calls = run.statistics.get("rhs_calls", run.statistics.get("steps"))
        print(f"| {tool} | {at} | {seconds:.2f} | {calls} | {off:.1e} |", flush=True)
        curves.setdefault(tool, []).append((seconds, off))
    return curves


def main():
    """Measure, print, and draw if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a fifth of the sequences")
    parser.add_argument("--picture", help="also draw the diagram to this PNG")
    given = parser.parse_args()
    print(machine(), end="\n\n")
    with threadpool_limits(1):
        curves = measured(given.quick)
    if given.picture:
        draw({"D: one exact flow": curves}, given.picture)


if __name__ == "__main__":
    main()
