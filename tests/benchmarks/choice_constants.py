"""The constants by which a method is chosen, measured on this machine, beside those in the code.

    python tests/benchmarks/choice_constants.py [--flows 20]     # a minute

Of `sim/ode/choice/outlook.py`: what a call by rkc takes, fitted over small flows drawn at random (`choice.drawn`) by
what sizes say of it; what bdf does besides an evaluation; and evaluations of bdf against steps of rkc over the same
stretches of flow time (FOLD: the least, which the code doubles). Of `sim/ensemble/lane_ensemble.py`: work of a short
run in lanes that takes as long as a member out of lanes takes beside its calls. Processor time, least of rounds, one
thread. Choices hang on ratios of these, which differ less from machine to machine than they do themselves.
"""

import argparse
import time

import numpy as np
from choice import drawn
from scipy.optimize import nnls

from smallinit.sim import integrate, integrate_ensemble
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.ensemble import lane_ensemble
from smallinit.sim.kernel.work import flops, operations_of
from smallinit.sim.ode.choice import outlook
from smallinit.sim.ode.choice.automatic import STRICT
from smallinit.sim.ode.methods import BDF, RKC
from smallinit.sim.ode.stepper import StepControl
from smallinit.sim.ode.taylor.series_program import series_program

ROUNDS, STEPS, RTOL = 3, 60, 1e-6


def least(run):
    """Least processor time of some rounds, in seconds, and the last result."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        found = run()
        times.append(time.process_time() - began)
    return min(times), found


def calls_and_time(method, problem, y, t1):
    """Calls of so many steps, and the least time that they took."""

    def run():
        stepper = method.begin(problem, y, 0.0, t1, StepControl(RTOL, 1e-3 * RTOL))
        began = time.process_time()
        stepper.advance(t1, STEPS, STEPS)
        return stepper.counts()["rhs_calls"], time.process_time() - began

    runs = [run() for _ in range(ROUNDS)]
    return runs[0][0], min(seconds for _, seconds in runs)


def sizes(problem):
    """What a call is held to be made of: one, operations, numbers written, unknowns, operations of products."""
    operations = sum(1 for _ in operations_of(problem))
    return 1.0, operations, problem.work.size, problem.n, flops(problem)


def costs(cases):
    """Microseconds of a call by sizes, and of what bdf does besides."""
    rows, calls, besides = [], [], []
    for _, flow, data, start, t1, _ in cases:
        problem = compile_flow(flow, data, start)
        y = problem.pack(start)
        number, seconds = calls_and_time(RKC, problem, y, t1)
        rows.append(sizes(problem))
        calls.append(1e6 * seconds / number)
        number, seconds = calls_and_time(BDF, problem, y, t1)
        besides.append(1e6 * seconds / number - calls[-1])
    rows, calls = np.array(rows), np.array(calls)
    fitted, _ = nnls(rows / calls[:, None], np.ones(len(calls)))
    beside = np.polyfit(rows[:, 3], besides, 1)[::-1]
    ratio = calls / (
        rows @ [getattr(outlook, name) for name in ("LEAST", "OPERATION", "NUMBER", "UNKNOWN", "PRODUCT")]
    )
    return fitted, beside, ratio


def evaluations(cases):
    """Evaluations of bdf for each factor of e in flow time, and for each step of rkc at rtol 1."""
    folds, steps = [], []
    for _, flow, data, start, t1, _ in cases:
        problem = compile_flow(flow, data, start)
        middle = t1 / 10.0
        y = problem.pack(integrate(flow, data, start, t1=middle, save_at=1, rtol=RTOL).state())
        counts = {}
        for method, rtol in ((RKC, RTOL), (BDF, STRICT * RTOL)):
            stepper = method.begin(problem, y, middle, t1, StepControl(rtol, 1e-3 * rtol))
            stepper.advance(t1, 10**5, 10**5)
            counts[method.name] = stepper.counts()
        number = counts["bdf"]["rhs_calls"]
        folds.append(number / np.log(10.0))
        steps.append(number / counts["rkc"]["accepted"] / RTOL ** (1.0 / 6.0))
    return np.min(folds), np.median(steps)


def soon(case, members=64):
    """Work in lanes of Taylor series that takes as long as a short run of a member out of lanes beside its calls."""
    _, flow, data, start, _, _ = case
    starts = {name: np.stack([w * (1.0 + 1e-3 * i) for i in range(members)]) for name, w in start.items()}
    known = {"t1": 1.0, "rtol": RTOL, "save_at": 2, "observables": [], "keep_weights": False}
    integrate_ensemble(flow, data, starts, method="taylor", **known)
    lanes, found = least(lambda: integrate_ensemble(flow, data, starts, method="taylor", **known))
    work = series_program(compile_flow(flow, data, start)).work * float(np.sum(found.statistics["rhs_calls"]))
    alone, found = least(lambda: integrate_ensemble(flow, data, starts, method="dop853", **known))
    problem = compile_flow(flow, data, start)
    number, seconds = calls_and_time(RKC, problem, problem.pack(start), 1.0)
    beside = (alone - np.sum(found.statistics["rhs_calls"]) * seconds / number) / members
    return beside, beside * work / lanes


def main():
    """Print each constant as measured, and as it stands in the code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flows", type=int, default=20, metavar="N", help="how many flows are drawn")
    cases = list(drawn(parser.parse_args().flows, 1))
    fitted, beside, ratio = costs(cases)
    fold, step = evaluations(cases[:8])
    member, work = soon(cases[0])
    measured = {
        **dict(zip(("LEAST", "OPERATION", "NUMBER", "UNKNOWN", "PRODUCT"), fitted, strict=True)),
        **dict(zip(("BESIDES", "EACH"), beside, strict=True)),
        "FOLD": fold,
        "STEP": step,
    }
    print("| constant | measured here | in the code |\n|---|---|---|")
    for name, value in measured.items():
        print(f"| {name} | {value:.3g} | {getattr(outlook, name):.3g} |")
    print(f"| SOON | {work:.2g} | {lane_ensemble.SOON:.2g} |")
    low, middle, high = np.quantile(ratio, [0.0, 0.5, 1.0])
    print(
        f"\nA call took {middle:.2f} ({low:.2f} .. {high:.2f}) times what the code's constants say;", end=" "
    )
    print(f"a member out of lanes takes {1e3 * member:.2f} ms beside its calls.")


if __name__ == "__main__":
    main()
