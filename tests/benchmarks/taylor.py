"""Ensembles of a small leading flow: Taylor series in lanes beside dop853 and a SciPy loop, every answer checked.

    python tests/benchmarks/taylor.py        # some minutes; --members, --rounds

Each member runs to 0.9 of the earliest blow-up time. Times are medians over rounds in which all take turns; errors are
the largest of any member, relative to its state, against Taylor series at rtol 1e-13.
"""

import argparse
import os
import time

import numpy as np
from scipy.integrate import solve_ivp

from smallinit.sim import integrate_ensemble
from smallinit.sim.compile.compiler import compile_flow
from smallinit.sim.integration.tolerances import default_atol
from smallinit.sim.ode.taylor.series_program import series_program
from smallinit.theory import Dataset, EmbMLP, derive

SIZES = ((3, 2, 2), (6, 4, 4), (8, 6, 6), (12, 8, 8))
RTOLS = (1e-6, 1e-10)


def setting(sizes, members):
    """Flow, data, starts and end of an ensemble, and its problem."""
    model, rng = EmbMLP(*sizes), np.random.default_rng(0)
    tokens, labels = rng.integers(0, sizes[0], (4 * sizes[0], 2)), rng.integers(0, sizes[0], 4 * sizes[0])
    data, flow = Dataset(tokens, labels, sizes[0]), derive(model, "leading")
    drawn = [model.init(0.8, seed) for seed in range(members)]
    starts = {name: np.stack([weights[name] for weights in drawn]) for name in model.weights}
    probe = integrate_ensemble(flow, data, starts, t1=1e6, method="taylor")
    return (
        flow,
        data,
        starts,
        0.9 * min(o.t for o in probe.outcomes),
        compile_flow(flow, data, drawn[0], fold=False),
    )


def final(ensemble):
    """End states, one row a member."""
    return np.concatenate([w[:, -1].reshape(len(ensemble), -1) for w in ensemble.weights.values()], axis=1)


def scipy_loop(flow, data, starts, end, problem, rtol, count):
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


def compare(sizes, members, rounds):
    """Rows of the table for one size."""
    flow, data, starts, end, problem = setting(sizes, members)
    reference = final(integrate_ensemble(flow, data, starts, t1=end, rtol=1e-13, method="taylor"))
    scale, few = np.abs(reference).max(axis=1, keepdims=True), min(members, 40)
    for rtol in RTOLS:
        tools = {
            name: lambda name=name, rtol=rtol: final(
                integrate_ensemble(flow, data, starts, t1=end, rtol=rtol, method=name)
            )
            for name in ("taylor", "dop853")
        }
        tools["SciPy loop"] = scipy_loop(flow, data, starts, end, problem, rtol, few)
        times = {name: [] for name in tools}
        for _ in range(rounds):
            for name, tool in tools.items():
                began = time.perf_counter()
                found = tool()
                times[name].append((time.perf_counter() - began) / len(found))
                error = np.max(np.abs(found - reference[: len(found)]) / scale[: len(found)])
                if not error < 1e3 * rtol:
                    raise SystemExit(f"{name} at {sizes}, rtol {rtol:g}: error {error:.1e}")
                if len(times[name]) == rounds:
                    rate = 1.0 / np.median(times[name])
                    size = f"{'x'.join(map(str, sizes))} | {problem.n} | {series_program(problem).products}"
                    print(f"| {size} | {rtol:g} | {name} | {rate:,.0f} | {error:.1e} |", flush=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.members} members, {os.cpu_count()} cores\n")
    print(
        "| sizes | unknowns | products | rtol | tool | members / s | error |\n|---|---|---|---|---|---|---|"
    )
    for sizes in SIZES:
        compare(sizes, options.members, options.rounds)


if __name__ == "__main__":
    main()
