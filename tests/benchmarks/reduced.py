"""Work against precision of workload A on its modes: ours reduced, and SciPy's DOP853 whole and reduced.

    python tests/benchmarks/reduced.py [--rounds 7]     # two minutes

The flow, the end and the reference are those of A in `peers.py`; the reduced runs are lifted to full weights, whose
errors count. All tools take turns at every tolerance, on one thread; processor time, medians. At equal error means:
the time at which a tool has the error of another one's run, by straight lines between its runs in logarithms.
"""

import argparse
import time

import numpy as np
from _adapters import scipy_matrix
from _race import machine
from peers import MatrixFlow
from threadpoolctl import threadpool_limits

TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
OURS, WHOLE, INSIDE = "smallinit, reduced", "SciPy DOP853", "SciPy DOP853, reduced"


def reduced_rhs(case):
    """The flow on the modes in numpy, products shared: M is a diagonal."""
    strengths = case.reduction.strengths

    def rhs(t, y):
        w = case.inside.unpack(y)
        right, left = strengths[:, None] * w["W_out"].T, w["W_E"].T * strengths
        parts = {"W_E": right @ w["W_in"].T, "W_in": left @ w["W_out"].T, "W_out": w["W_in"].T @ left}
        return case.inside.pack(parts)

    return rhs


def tools(case, rtol):
    """Name -> call that gives the last state of the full weights."""
    own = scipy_matrix(reduced_rhs(case), case.z0, case.end, "DOP853", rtol)
    return {
        OURS: lambda: case.reduced(rtol),
        WHOLE: scipy_matrix(case.rhs, case.y0, case.end, "DOP853", rtol),
        INSIDE: lambda: case.lifted(own()),
    }


def curves(case, rounds):
    """Tool -> (seconds, errors), one of each for every tolerance."""
    reference = case.ours(1e-12)
    size, found = np.abs(reference).max(), {}
    for rtol in TOLERANCES:
        calls = tools(case, rtol)
        errors = {name: float(np.abs(call() - reference).max() / size) for name, call in calls.items()}
        times = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                began = time.process_time()
                call()
                times[name].append(time.process_time() - began)
        for name in calls:
            found.setdefault(name, []).append((float(np.median(times[name])), errors[name]))
    return {name: tuple(np.array(rows).T) for name, rows in found.items()}


def at_error(curve, error):
    """Seconds at which a tool has an error, nan beyond its runs."""
    seconds, errors = curve
    order = np.argsort(errors)
    where = np.log(errors[order])
    found = np.interp(np.log(error), where, np.log(seconds[order]), left=np.nan, right=np.nan)
    return float(np.exp(found))


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with threadpool_limits(1):
        case = MatrixFlow()
        found = curves(case, rounds)
    print(machine() + "\n")
    print(f"{case.y0.size:,} unknowns, {case.z0.size:,} on {case.reduction.modes} modes; one thread\n")
    print("| rtol | " + " | ".join(f"{name}, s | error" for name in found) + " |")
    print("|---" * (1 + 2 * len(found)) + "|")
    for k, rtol in enumerate(TOLERANCES):
        shown = " | ".join(f"{seconds[k]:.3f} | {errors[k]:.1e}" for seconds, errors in found.values())
        print(f"| {rtol:.0e} | {shown} |")
    print(f"\nAt equal error, time of {OURS}, over that of\n")
    print(f"| error | {WHOLE} | {INSIDE} |\n|---|---|---|")
    ratios = {WHOLE: [], INSIDE: []}
    for error in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        now = [at_error(found[OURS], error) / at_error(found[name], error) for name in ratios]
        if not np.isfinite(now).all():  # beyond the runs of one of them
            continue
        for kept, ratio in zip(ratios.values(), now, strict=True):
            kept.append(ratio)
        print(f"| {error:.0e} | " + " | ".join(f"{kept[-1]:.2f}" for kept in ratios.values()) + " |")
    print("| median | " + " | ".join(f"{np.median(kept):.2f}" for kept in ratios.values()) + " |")


if __name__ == "__main__":
    main()
