"""Workloads A, B and C beside SciPy, diffrax, torchdiffeq and heyoka, in one process, every answer checked.

    pip install -e .[bench]
    python tests/benchmarks/peers.py            # about five minutes; --only A, B or C

A: the leading flow of a matrix model (88,400 unknowns), to the time where |W_out| has grown tenfold, rtol 1e-6.
B: 10,000 members of 8 three-factor modes, each to .9 of its own blow-up time, rtol 1e-8.
C: one such member, rtol 1e-10.
Times are medians over rounds in which all take turns; errors are relative to the size of the state, against DOP853 at
1e-10 (A) and the Taylor series at 1e-14 (B and C), whose blow-up times are those of the closed form.
"""

import argparse
import os
import time

import numpy as np
from scipy.integrate import solve_ivp

from smallinit.sim import integrate_modes, solve
from smallinit.sim.compile import compile_sides
from smallinit.sim.problem import Problem
from smallinit.theory import EmbMLP, derive
from smallinit.theory.exact import three_factor_blow_up


def timed(f, rounds):
    """Times of a call, and its last value."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        value = f()
        times.append(time.perf_counter() - began)
    return times, value


def race(tools, rounds, reference, relative_to):
    """Let all take turns; print median time, ratio to ours, and error."""
    times = {name: [] for name in tools}
    values = {name: f() for name, f in tools.items()}  # warm
    for _ in range(rounds):
        for name, f in tools.items():
            taken, values[name] = timed(f, 1)
            times[name] += taken
    ours = np.median(next(iter(times.values())))
    print("| tool | median s | times ours | error |\n|---|---|---|---|")
    for name in tools:
        middle = np.median(times[name])
        error = np.max(np.abs(values[name] - reference) / relative_to)
        print(f"| {name} | {middle:.3g} | {middle / ours:.2f} | {error:.1e} |", flush=True)


# --- A ---------------------------------------------------------------------------------------------------------------


def matrix_flow(d_vocab=121, width=200, seed=0):
    """Problem of ours, numpy right-hand side, start, end."""
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(d_vocab, d_vocab))
    M -= M.mean(axis=1, keepdims=True)
    M /= np.linalg.norm(M, 2)
    model = EmbMLP(d_vocab, width, width)
    flow = derive(model, "leading")
    problem = compile_sides(flow.equations, {"M": M}, dict(model.weights), model.sizes, {})
    y0 = problem.pack(model.init(0.8, seed))
    norm = np.linalg.norm(problem.unpack(y0)["W_out"])
    probe = solve(
        problem,
        y0,
        t1=1e3,
        save_at=2,
        rtol=1e-8,
        atol=1e-12,
        events=lambda t, w: np.linalg.norm(w["W_out"]) / norm - 10,
    )
    end = float(next(iter(probe.events.values()))[0])

    def rhs(t, y):
        w = problem.unpack(y)
        right, left = M @ w["W_out"].T, w["W_E"].T @ M
        return np.concatenate(
            [(right @ w["W_in"].T).ravel(), (left @ w["W_out"].T).ravel(), (w["W_in"].T @ left).ravel()]
        )

    return problem, rhs, y0, end, M


def diffrax_matrix(problem, y0, end, M):
    """Diffrax's Tsit5, compiled."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def field(t, y, args):
        E, W1, W2 = y
        right, left = args @ W2.T, E.T @ args
        return right @ W1.T, left @ W2.T, W1.T @ left

    named = problem.unpack(y0)
    start = tuple(jnp.asarray(named[w]) for w in ("W_E", "W_in", "W_out"))
    control = diffrax.PIDController(rtol=1e-6, atol=1e-9)

    @jax.jit
    def run(y, m):
        term, method = diffrax.ODETerm(field), diffrax.Tsit5()
        return diffrax.diffeqsolve(term, method, 0.0, end, None, y, m, stepsize_controller=control).ys

    matrix = jnp.asarray(M)
    return lambda: np.concatenate([np.asarray(x[-1]).ravel() for x in run(start, matrix)])


def torchdiffeq_matrix(problem, y0, end, M):
    """Torchdiffeq's dopri5."""
    import torch
    from torchdiffeq import odeint

    m, sizes = torch.tensor(M), problem.layout

    def field(t, y):
        E, W1, W2 = (y[o : o + s[0] * s[1]].view(*s) for o, s in sizes.values())
        right, left = m @ W2.T, E.T @ m
        return torch.cat([(right @ W1.T).ravel(), (left @ W2.T).ravel(), (W1.T @ left).ravel()])

    start, times = torch.tensor(y0), torch.tensor([0.0, end])
    return lambda: odeint(field, start, times.double(), rtol=1e-6, atol=1e-9, method="dopri5")[-1].numpy()


def workload_a(rounds):
    """One trajectory of 88,400 unknowns."""
    problem, rhs, y0, end, M = matrix_flow()
    reference = solve(problem, y0, t1=end, save_at=1, rtol=1e-10, atol=1e-13).y[-1]
    found = solve(problem, y0, t1=end, save_at=1, rtol=1e-6, atol=1e-9)
    out = np.empty_like(y0)
    bare = np.median(timed(lambda: problem(0.0, y0, out), 50)[0])
    calls = found.statistics["rhs_calls"]
    print(f"\n## A: {y0.size:,} unknowns\n")
    tools = {
        "smallinit": lambda: solve(problem, y0, t1=end, save_at=1, rtol=1e-6, atol=1e-9).y[-1],
        "SciPy DOP853": lambda: solve_ivp(rhs, (0, end), y0, "DOP853", [end], rtol=1e-6, atol=1e-9).y[:, -1],
        "SciPy RK45": lambda: solve_ivp(rhs, (0, end), y0, "RK45", [end], rtol=1e-6, atol=1e-9).y[:, -1],
        "diffrax Tsit5": diffrax_matrix(problem, y0, end, M),
        "torchdiffeq dopri5": torchdiffeq_matrix(problem, y0, end, M),
    }
    race(tools, rounds, reference, np.abs(reference).max())
    whole = np.median(timed(tools["smallinit"], rounds)[0])
    print(
        f"\nsmallinit: {calls} calls of {bare * 1e3:.3f} ms; time over calls x bare call {whole / (calls * bare):.2f}"
    )


# --- B and C ---------------------------------------------------------------------------------------------------------


def modes(batch, r=8, seed=0):
    """Strengths, starts around 1e-2, and .9 of each member's blow-up time."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.5, 1.5, (batch, r))
    y = 1e-2 * np.abs(1.0 + 0.3 * rng.normal(size=(batch, 3, r)))
    stars = [min(three_factor_blow_up(*y[i, :, k], s[i, k]) for k in range(r)) for i in range(batch)]
    return s, y, 0.9 * np.array(stars)


def heyoka_batches(s, y, end, tol, width=16, threads=2):
    """Heyoka's batch mode driven by hand: one integrator a thread, its state and parameters set anew for each batch."""
    from concurrent.futures import ThreadPoolExecutor

    import heyoka as hy

    batch, _, r = y.shape
    names = [hy.make_vars(*(f"{c}{k}" for c in "abc")) for k in range(r)]
    system = []
    for k, (a, b, c) in enumerate(names):
        system += [(a, hy.par[k] * b * c), (b, hy.par[k] * c * a), (c, hy.par[k] * a * b)]
    first = hy.taylor_adaptive_batch(
        system, np.zeros((3 * r, width)), pars=np.ones((r, width)), tol=tol, fast_math=True
    )
    from copy import deepcopy

    integrators = [first, *(deepcopy(first) for _ in range(threads - 1))]
    flat = np.ascontiguousarray(y.transpose(2, 1, 0)).reshape(3 * r, batch)  # a0 b0 c0 a1 ...
    strengths = np.ascontiguousarray(s.T)
    out = np.empty_like(flat)
    blocks = np.array_split(np.arange(0, batch, width), threads)

    def work(index):
        ta = integrators[index]
        for i in blocks[index]:
            ta.set_time(np.zeros(width))
            ta.state[:] = flat[:, i : i + width]
            ta.pars[:] = strengths[:, i : i + width]
            ta.propagate_until(end[i : i + width])
            out[:, i : i + width] = ta.state

    def run():
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        return out.reshape(r, 3, batch).transpose(2, 1, 0).copy()

    return run


def diffrax_modes(s, y, end):
    """Diffrax's Tsit5 under vmap."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def field(t, z, args):
        a, b, c = z
        return args * jnp.stack([b * c, c * a, a * b])

    def one(z, strength, t1):
        control = diffrax.PIDController(rtol=1e-8, atol=1e-12)
        term, method = diffrax.ODETerm(field), diffrax.Tsit5()
        return diffrax.diffeqsolve(term, method, 0.0, t1, None, z, strength, stepsize_controller=control).ys[
            -1
        ]

    run = jax.jit(jax.vmap(one))
    arguments = jnp.asarray(y), jnp.asarray(s), jnp.asarray(end)
    return lambda: np.asarray(run(*arguments))


def scipy_modes(s, y, end, count):
    """SciPy's DOP853 in a loop over the first members."""

    def run():
        found = np.empty_like(y[:count])
        for i in range(count):
            strength = s[i]

            def rhs(t, z, strength=strength):
                a, b, c = z.reshape(3, -1)
                return np.concatenate([strength * b * c, strength * c * a, strength * a * b])

            path = solve_ivp(rhs, (0, end[i]), y[i].ravel(), "DOP853", [end[i]], rtol=1e-8, atol=1e-12)
            found[i] = path.y[:, -1].reshape(3, -1)
        return found

    return run


def workload_b(rounds):
    """Ten thousand small trajectories."""
    s, y, end = modes(10_000)
    reference = integrate_modes(s, y, end, rtol=1e-14, atol=0.0).states
    size = np.abs(reference).max(axis=(1, 2), keepdims=True)
    print("\n## B: 10,000 members of 24 unknowns\n")
    tools = {
        "smallinit, rtol 1e-8": lambda: integrate_modes(s, y, end, rtol=1e-8, atol=1e-12).states,
        "smallinit, rtol 1e-7": lambda: integrate_modes(s, y, end, rtol=1e-7, atol=1e-12).states,
        "heyoka batch 16, fast_math, 2 threads, tol 1e-8": heyoka_batches(s, y, end, 1e-8),
        "heyoka batch 8, fast_math, 2 threads, tol 1e-8": heyoka_batches(s, y, end, 1e-8, width=8),
        "heyoka batch 16, fast_math, 2 threads, tol 1e-9": heyoka_batches(s, y, end, 1e-9),
        "diffrax Tsit5, vmap": diffrax_modes(s, y, end),
    }
    race(tools, rounds, reference, size)
    few = 200
    taken, found = timed(scipy_modes(s, y, end, few), 3)
    ours = np.median(timed(tools["smallinit, rtol 1e-8"], rounds)[0])
    rate = few / np.median(taken)
    error = np.max(np.abs(found - reference[:few]) / size[:few])
    print(f"\nSciPy DOP853 loop: {rate:.0f} members / s (error {error:.1e}); ours {10_000 / ours:,.0f}")
    one, two = (
        np.median(timed(lambda n=n: integrate_modes(s, y, end, threads=n), rounds)[0]) for n in (1, 2)
    )
    print(f"threads 1 -> 2: {one / two:.2f}")
    sizes = np.array([1000, 3000, 10_000])
    times = [
        np.median(timed(lambda n=n: integrate_modes(s[:n], y[:n], end[:n], threads=1), rounds)[0])
        for n in sizes
    ]
    print(f"cost grows as batch size to the power {np.polyfit(np.log(sizes), np.log(times), 1)[0]:.2f}")


def workload_c(rounds):
    """One small trajectory."""
    import heyoka as hy

    s, y, end = modes(1)
    reference = integrate_modes(s, y, end, rtol=1e-14, atol=0.0).states
    names = [hy.make_vars(*(f"{c}{k}" for c in "abc")) for k in range(8)]
    system = []
    for k, (a, b, c) in enumerate(names):
        system += [(a, s[0, k] * b * c), (b, s[0, k] * c * a), (c, s[0, k] * a * b)]
    start = y[0].T.ravel()
    ta = hy.taylor_adaptive(system, start, tol=1e-10)

    def heyoka():
        ta.time = 0.0
        ta.state[:] = start
        ta.propagate_until(end[0])
        return ta.state.reshape(8, 3).T[None].copy()

    strengths = s[0]

    def field(t, z, out):
        for k in range(8):
            a, b, c = z[k], z[8 + k], z[16 + k]
            out[k], out[8 + k], out[16 + k] = strengths[k] * b * c, strengths[k] * c * a, strengths[k] * a * b

    problem = Problem.from_function(field, 24)
    flat = y[0].ravel()
    print("\n## C: one member\n")

    def ours():
        path = solve(problem, flat, t1=end[0], save_at=1, rtol=1e-10, atol=1e-14)
        return path.y[-1].reshape(1, 3, 8)

    tools = {
        "smallinit integrate_modes": lambda: integrate_modes(s, y, end, rtol=1e-10, atol=1e-14).states,
        "smallinit solve": ours,
        "heyoka": heyoka,
        "SciPy DOP853": lambda: solve_ivp(
            lambda t, z: _numpy_field(z, strengths), (0, end[0]), flat, "DOP853", [end[0]], rtol=1e-10, atol=1e-14
        ).y[:, -1].reshape(1, 3, 8),
    }  # fmt: skip
    race(tools, 20 * rounds, reference, np.abs(reference).max())


def _numpy_field(z, strengths):
    a, b, c = z.reshape(3, -1)
    return np.concatenate([strengths * b * c, strengths * c * a, strengths * a * b])


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["A", "B", "C"])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    for name, work in (("A", workload_a), ("B", workload_b), ("C", workload_c)):
        if options.only in (None, name):
            work(options.rounds)


if __name__ == "__main__":
    main()
