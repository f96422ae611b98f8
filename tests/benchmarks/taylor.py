"""Ensembles of small flows: Taylor series in lanes beside tsit5 or dop853 and a SciPy loop, every answer checked.

    python tests/benchmarks/taylor.py        # some minutes; --members, --rounds

Each member runs to 0.9 of the earliest blow-up time of `leading`, or to twice that time where nothing blows up. Times
are medians of processor time over rounds in which all take turns; errors are the largest of any member, relative to its
state, against dop853 at rtol 1e-13.
"""

import argparse
import time
from functools import partial

import numpy as np
from scipy.integrate import solve_ivp

from smallinit.sim import integrate_ensemble
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.integration.tolerances import default_atol
from smallinit.sim.ode.methods import find_method
from smallinit.sim.ode.taylor.series_program import series_program
from smallinit.theory import Dataset, EmbMLP, derive

SIZES = ((3, 2, 2), (6, 4, 4), (8, 6, 6), (12, 8, 8), (16, 12, 12))
LARGEST = {"leading": 5, "softmax": 4, "exact": 4}  # how many of them
RTOLS = (1e-4, 1e-6, 1e-10)


def settings(sizes, members):
    """Flows of each closure with data, starts, ends and problem: twice the time to the first blow-up of `leading`."""
    model, rng = EmbMLP(*sizes), np.random.default_rng(0)
    tokens, labels = rng.integers(0, sizes[0], (4 * sizes[0], 2)), rng.integers(0, sizes[0], 4 * sizes[0])
    data = Dataset(tokens, labels, sizes[0])
    drawn = [model.init(0.8, seed) for seed in range(members)]
    starts = {name: np.stack([weights[name] for weights in drawn]) for name in model.weights}
    probe = integrate_ensemble(derive(model, "leading"), data, starts, t1=1e6, method="taylor")
    first = min(o.t for o in probe.outcomes)
    for closure, count in LARGEST.items():
        if sizes in SIZES[:count]:
            flow = derive(model, closure)
            end = first * (0.9 if closure == "leading" else 2.0)
            yield closure, flow, data, starts, end, compile_flow(flow, data, drawn[0], fold=False)


def final(ensemble):
    """End states, one row a member."""
    return np.concatenate([w[:, -1].reshape(len(ensemble), -1) for w in ensemble.weights.values()], axis=1)


def scipy_loop(flow, starts, end, problem, rtol, count):
    """SciPy's DOP853 with the compiled right-hand side, over the first members."""

    def rhs(t, y):
        out = np.empty_like(y)
        problem(t, y, out)
        return out

    def run():
        found = []
        for i in range(count):
            y = problem.pack({name: value[i] for name, value in starts.items()})
            atol = default_atol(problem, y, rtol)
            path = solve_ivp(rhs, (0.0, end), y, "DOP853", [end], rtol=rtol, atol=atol)
            named = problem.unpack(path.y[:, -1])
            found.append(np.concatenate([named[name].ravel() for name in flow.model.weights]))
        return np.array(found)

    return run


def compare(closure, sizes, problem, run, scipy_run, rounds):
    """Print the rows of the table for one flow; `run` and `scipy_run` make of a tolerance the end states."""
    reference = run(1e-13, "dop853")
    began = time.process_time()
    program = series_program(problem)
    written = 1e3 * (time.process_time() - began)
    size = f"{closure} {'x'.join(map(str, sizes))} | {problem.n} | {program.products} | {program.work}"
    for rtol in RTOLS:
        explicit = find_method(None, rtol).name
        tools = [partial(run, rtol, "taylor"), partial(run, rtol, explicit), scipy_run(rtol)]
        row = [f"{rates:,.0f} ({error:.0e})" for rates, error in measured(tools, reference, rounds, rtol)]
        print(f"| {size} | {written:.0f} | {rtol:g} | {' | '.join(row)} |", flush=True)


def measured(tools, reference, rounds, rtol):
    """Members a second of processor time, and the largest error, of each tool."""
    scale = np.abs(reference).max(axis=1, keepdims=True)
    times, errors = [[] for _ in tools], [0.0 for _ in tools]
    for _ in range(rounds):
        for i, tool in enumerate(tools):
            began = time.process_time()
            found = tool()
            times[i].append((time.process_time() - began) / len(found))
            errors[i] = np.max(np.abs(found - reference[: len(found)]) / scale[: len(found)])
            if not errors[i] < 1e3 * rtol:
                raise SystemExit(f"tool {i} at rtol {rtol:g}: error {errors[i]:.1e}")
    return [(1.0 / np.median(times[i]), errors[i]) for i in range(len(tools))]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.members} members on one thread; members a second of processor time (largest error)\n")
    print(
        "| flow | unknowns | products | work | written out, ms | rtol | taylor | tsit5, dop853 | SciPy loop |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for sizes in SIZES:
        for closure, flow, data, starts, end, problem in settings(sizes, options.members):

            def run(rtol, method, flow=flow, data=data, starts=starts, end=end):
                return final(
                    integrate_ensemble(flow, data, starts, t1=end, rtol=rtol, method=method, threads=1)
                )

            by_scipy = partial(scipy_loop, flow, starts, end, problem, count=min(options.members, 20))
            compare(closure, sizes, problem, run, by_scipy, options.rounds)


if __name__ == "__main__":
    main()
