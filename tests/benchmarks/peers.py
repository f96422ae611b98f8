"""Workloads A, A2, B and C beside SciPy, diffrax, torchdiffeq and heyoka, in one process, every answer checked.

    pip install -e .[bench]
    python tests/benchmarks/peers.py [--only A] [--rounds 7] [--picture FILE.png]     # six minutes

A: the leading flow on a random signature matrix (88,400 unknowns), to the time where |W_out| has grown tenfold.
A2: the same with V = 2,000 and width 256 (1.1 million unknowns), beside SciPy alone; on request.
B: 10,000 members of 8 three-factor modes, each to 0.9 of its own blow-up time.
C: one such member.
Times are medians over rounds in which all take turns; errors are the largest of the state's, relative to its largest
entry, against DOP853 at 1e-11 (A) and the Taylor series at 1e-14 (B and C), whose blow-up times are in closed form.
"""

import argparse

import numpy as np
from _adapters import (
    diffrax_matrix,
    diffrax_modes,
    heyoka_batches,
    heyoka_one,
    scipy_matrix,
    scipy_modes,
    torchdiffeq_matrix,
)
from _race import exponent, installed, machine, median, race, table, timed

from smallinit.sim import integrate, integrate_modes, reduce, solve
from smallinit.sim.compile.compiler import compile_flow
from smallinit.theory import Dataset, EmbMLP, derive
from smallinit.theory.exact.blow_up_forms import three_factor_blow_up

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)


class MatrixFlow:
    """Workload A: the leading flow on bigrams whose signature is a random matrix with rows that sum to zero."""

    def __init__(self, d_vocab=121, width=200, seed=0):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(d_vocab, d_vocab))
        token, label = np.divmod(np.arange(d_vocab**2), d_vocab)
        weights = (noise - noise.min()).ravel() + 1e-9
        self.data = Dataset(token[:, None], label, d_vocab, weights=weights)
        self.model = EmbMLP(d_vocab, width, width)
        self.flow, self.start = derive(self.model, "leading"), self.model.init(0.8, seed)
        self.M = self.data.signature()
        self.problem = compile_flow(self.flow, self.data, self.start)
        self.y0 = self.problem.pack(self.start)
        self.reduction = reduce(self.flow, self.data)
        self.inside = self.reduction.compile(self.data, self.start)
        self.z0 = self.inside.pack(self.reduction.project(self.start))
        norm = np.linalg.norm(self.start["W_out"])
        grown = integrate(
            self.flow, self.data, self.start, t1=1e9, save_at=2, rtol=1e-8,
            events=lambda t, w: np.linalg.norm(w["W_out"]) / norm - 10,
        )  # fmt: skip
        self.end = float(next(iter(grown.events.values()))[0])

    def rhs(self, t, y):
        """The flow in numpy, products shared."""
        w = self.problem.unpack(y)
        right, left = self.M @ w["W_out"].T, w["W_E"].T @ self.M
        parts = right @ w["W_in"].T, left @ w["W_out"].T, w["W_in"].T @ left
        return np.concatenate([p.ravel() for p in parts])

    def ours(self, rtol):
        """Last state of this package's own run."""
        return solve(self.problem, self.y0, t1=self.end, save_at=1, rtol=rtol, atol=1e-3 * rtol).y[-1]

    def reduced(self, rtol):
        """The same on the modes of M, lifted."""
        last = solve(self.inside, self.z0, t1=self.end, save_at=1, rtol=rtol, atol=1e-3 * rtol).y[-1]
        return self.lifted(last)

    def lifted(self, last):
        """The full weights of a state on the modes."""
        now, before = self.inside.unpack(last), self.inside.unpack(self.z0)
        full = {
            "W_E": self.start["W_E"] + self.reduction.U @ (now["W_E"] - before["W_E"]),
            "W_in": now["W_in"],
            "W_out": self.start["W_out"] + (now["W_out"] - before["W_out"]) @ self.reduction.V.T,
        }
        return self.problem.pack(full)

    def tools(self, rtol):
        """Everyone at one tolerance."""
        at = self.end
        tools = {
            "smallinit": lambda: self.ours(rtol),
            "smallinit, reduced": lambda: self.reduced(rtol),
            "SciPy DOP853": scipy_matrix(self.rhs, self.y0, at, "DOP853", rtol),
            "SciPy RK45": scipy_matrix(self.rhs, self.y0, at, "RK45", rtol),
        }
        if installed("torchdiffeq"):
            tools["torchdiffeq dopri5"] = torchdiffeq_matrix(self.start, self.M, at, "dopri5", rtol)
        for method in ("Tsit5", "Dopri5", "Dopri8") if installed("diffrax") else ():
            tools[f"diffrax {method}"] = diffrax_matrix(self.start, self.M, at, method, rtol)
        return tools


def bare_calls(problem, state, rows=13, rounds=50):
    """Seconds of a call: on one state again and again, and as a method has to make it.

    A method writes the state of each stage anew and keeps the slopes of all (`rows`), which no second-level cache
    holds: that much a solver costs whose own arithmetic costs nothing.
    """
    slopes, stage = np.empty((rows, state.size)), np.empty_like(state)

    def a_step():
        for slope in slopes:
            np.copyto(stage, state)
            problem(0.0, stage, slope)

    hot = median(lambda: problem(0.0, state, slopes[0]), rounds)
    return hot, median(a_step, rounds) / rows


def workload_a(rounds, curves):
    """One trajectory of 88,400 unknowns."""
    case = MatrixFlow()
    reference = case.ours(1e-11)
    size = np.abs(reference).max()
    print(f"\n### A: {case.y0.size:,} unknowns, rtol 1e-6\n")
    tools = case.tools(1e-6) | {"smallinit, rtol 3e-7": lambda: case.ours(3e-7)}
    print(table(race(tools, rounds, reference, size), "SciPy DOP853"), flush=True)
    found = solve(case.problem, case.y0, t1=case.end, save_at=1, rtol=1e-6, atol=1e-9)
    calls = found.statistics["rhs_calls"]
    hot, fresh = bare_calls(case.problem, case.y0)
    whole = median(lambda: case.ours(1e-6), rounds)
    print(
        f"\nsmallinit: {calls} calls of {hot * 1e3:.3f} ms; time over calls x bare call {whole / (calls * hot):.2f}."
    )
    print(
        "Calls that take a state just written and keep their slopes, as every explicit method's do: "
        f"{fresh * 1e3:.3f} ms; time over these {whole / (calls * fresh):.2f}."
    )
    if curves is not None:
        curves["A: one matrix flow"] = precision(case.tools, reference, size)


def workload_a2(rounds, _):
    """One trajectory of 1.1 million unknowns, whose time goes into products."""
    case = MatrixFlow(2000, 256)
    reference = case.ours(1e-10)
    print(f"\n### A2: {case.y0.size:,} unknowns, rtol 1e-6\n")
    tools = {
        "smallinit": lambda: case.ours(1e-6),
        "smallinit, rtol 3e-7": lambda: case.ours(3e-7),
        "smallinit, reduced": lambda: case.reduced(1e-6),
        "SciPy DOP853": scipy_matrix(case.rhs, case.y0, case.end, "DOP853", 1e-6),
        "SciPy RK45": scipy_matrix(case.rhs, case.y0, case.end, "RK45", 1e-6),
    }
    print(table(race(tools, min(rounds, 3), reference, np.abs(reference).max()), "SciPy DOP853"), flush=True)
    once = timed(lambda: reduce(case.flow, case.data), 1)[0][0]
    print(f"\nTo find the modes takes {once:.1f} s, once for the data.")


def modes(batch, r=8, seed=0):
    """Strengths, starts around 1e-2, and 0.9 of each member's blow-up time."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.5, 1.5, (batch, r))
    y = 1e-2 * np.abs(1.0 + 0.3 * rng.normal(size=(batch, 3, r)))
    stars = [min(three_factor_blow_up(*y[i, :, k], s[i, k]) for k in range(r)) for i in range(batch)]
    return s, y, 0.9 * np.array(stars)


def ours_modes(s, y, end, rtol, threads=None):
    """Last states of this package's own run."""
    return lambda: integrate_modes(s, y, end, rtol=rtol, atol=1e-4 * rtol, threads=threads).states


def workload_b(rounds, curves):
    """Ten thousand small trajectories."""
    s, y, end = modes(10_000)
    reference = integrate_modes(s, y, end, rtol=1e-14, atol=0.0).states
    size = np.abs(reference).max(axis=(1, 2), keepdims=True)

    def tools(tol):
        return {
            "smallinit": ours_modes(s, y, end, tol),
            "heyoka, batch 16": heyoka_batches(s, y, end, tol),
            "heyoka, batch 8": heyoka_batches(s, y, end, tol, width=8),
            "diffrax Tsit5, vmap": diffrax_modes(s, y, end, tol),
        }

    print("\n### B: 10,000 members of 24 unknowns, rtol 1e-8\n")
    more = {"smallinit, rtol 1e-7": ours_modes(s, y, end, 1e-7)}
    results = race(tools(1e-8) | more, rounds, reference, size)
    few = 200
    loop = {"SciPy": scipy_modes(s[:few], y[:few], end[:few], "DOP853", 1e-8, 1e-12)}
    seconds, error = race(loop, 3, reference[:few], size[:few])["SciPy"]
    results["SciPy DOP853, loop (200 members, scaled)"] = (seconds * len(s) / few, error)
    print(table(results, "heyoka, batch 8"), flush=True)
    rate = len(s) / results["smallinit"][0]
    print(f"\nsmallinit: {rate:,.0f} members a second.")
    one, two = (median(ours_modes(s, y, end, 1e-8, n), rounds) for n in (1, 2))
    print(f"Threads 1 -> 2: {one / two:.2f} times faster.")
    sizes = np.array([1000, 3000, 10_000])
    times = [median(ours_modes(s[:n], y[:n], end[:n], 1e-8, 1), rounds) for n in sizes]
    print(f"Cost grows as batch size to the power {exponent(sizes, times):.2f}.")
    if curves is not None:
        curves["B: 10,000 small flows"] = precision(tools, reference, size)


def workload_c(rounds, _):
    """One small trajectory."""
    s, y, end = modes(1)
    reference = integrate_modes(s, y, end, rtol=1e-14, atol=0.0).states
    print("\n### C: one member of 24 unknowns\n")
    tools = {
        "smallinit, rtol 1e-10": ours_modes(s, y, end, 1e-10),
        "smallinit, rtol 1e-9": ours_modes(s, y, end, 1e-9),
        "heyoka, tol 1e-10": heyoka_one(s, y, end, 1e-10),
        "heyoka, tol 1e-12": heyoka_one(s, y, end, 1e-12),
        "SciPy DOP853, rtol 1e-10": scipy_modes(s, y, end, "DOP853", 1e-10, 1e-14),
    }
    print(
        table(race(tools, 3 * rounds, reference, np.abs(reference).max(), burst=100), "heyoka, tol 1e-10"),
        flush=True,
    )


WORKLOADS = {"A": workload_a, "A2": workload_a2, "B": workload_b, "C": workload_c}


def precision(tools, reference, size):
    """Work against precision: tool -> rows (seconds, error), over tolerances."""
    curves = {}
    for tol in TOLERANCES:
        for name, found in race(tools(tol), 3, reference, size).items():
            curves.setdefault(name, []).append(found)
    return curves


def draw(curves, path):
    """Work-precision diagrams, one panel a workload."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(curves), 5.0), layout="constrained")
    for axes, (title, tools) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for name, rows in tools.items():
            seconds, errors = zip(*rows, strict=True)
            ours = name.startswith("smallinit")
            axes.loglog(errors, seconds, "o-" if ours else "x--", label=name, linewidth=2 if ours else 1)
        axes.set(title=title, xlabel="achieved error (relative)", ylabel="seconds")
        axes.invert_xaxis()
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--picture", help="also draw work-precision diagrams of A and B to this PNG")
    options = parser.parse_args()
    print(machine())
    curves = {} if options.picture else None
    for name, work in WORKLOADS.items():
        if options.only == name or (options.only is None and name != "A2"):
            work(options.rounds, curves)
    if curves:
        draw(curves, options.picture)


if __name__ == "__main__":
    main()
