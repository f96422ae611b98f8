"""The peers, each set up as its own documentation advises, as calls without arguments that return the last state."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
from scipy.integrate import solve_ivp


def scipy_matrix(rhs, y0, end, method, rtol):
    """SciPy's solve_ivp on a flat numpy right-hand side."""
    return lambda: solve_ivp(rhs, (0, end), y0, method, [end], rtol=rtol, atol=1e-3 * rtol).y[:, -1]


def diffrax_matrix(start, M, end, method, rtol):
    """A compiled diffrax method on the state (W_E, W_in, W_out)."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def field(t, y, args):
        E, W1, W2 = y
        right, left = args @ W2.T, E.T @ args
        return right @ W1.T, left @ W2.T, W1.T @ left

    control = diffrax.PIDController(rtol=rtol, atol=1e-3 * rtol)

    @jax.jit
    def run(y, m):
        term, solver = diffrax.ODETerm(field), getattr(diffrax, method)()
        return diffrax.diffeqsolve(
            term, solver, 0.0, end, None, y, m, stepsize_controller=control, max_steps=20_000
        ).ys

    first, matrix = tuple(jnp.asarray(start[w]) for w in ("W_E", "W_in", "W_out")), jnp.asarray(M)
    return lambda: np.concatenate([np.asarray(x[-1]).ravel() for x in run(first, matrix)])


def torchdiffeq_matrix(start, M, end, method, rtol):
    """A torchdiffeq method on the flat state."""
    import torch
    from torchdiffeq import odeint

    m, shapes = torch.tensor(M), [start[w].shape for w in ("W_E", "W_in", "W_out")]
    edges = np.cumsum([0, *(a * b for a, b in shapes)])

    def field(t, y):
        E, W1, W2 = (y[edges[i] : edges[i + 1]].view(*shape) for i, shape in enumerate(shapes))
        right, left = m @ W2.T, E.T @ m
        return torch.cat([(right @ W1.T).ravel(), (left @ W2.T).ravel(), (W1.T @ left).ravel()])

    y0 = torch.tensor(np.concatenate([start[w].ravel() for w in ("W_E", "W_in", "W_out")]))
    times = torch.tensor([0.0, end], dtype=torch.float64)
    return lambda: odeint(field, y0, times, rtol=rtol, atol=1e-3 * rtol, method=method)[-1].numpy()


def _heyoka_system(strengths):
    """Variables and right-hand sides of r modes, in the order a0 b0 c0 a1 ..."""
    import heyoka as hy

    system = []
    for k, s in enumerate(strengths):
        a, b, c = hy.make_vars(f"a{k}", f"b{k}", f"c{k}")
        system += [(a, s * b * c), (b, s * c * a), (c, s * a * b)]
    return system


def heyoka_batches(s, y, end, tol, width=16, threads=2):
    """Heyoka's batch mode driven by hand: one integrator a thread, its state and parameters set anew for each batch."""
    import heyoka as hy

    batch, _, r = y.shape
    system = _heyoka_system([hy.par[k] for k in range(r)])
    first = hy.taylor_adaptive_batch(
        system, np.zeros((3 * r, width)), pars=np.ones((r, width)), tol=tol, fast_math=True
    )
    integrators = [first, *(deepcopy(first) for _ in range(threads - 1))]
    flat = np.ascontiguousarray(y.transpose(2, 1, 0)).reshape(3 * r, batch)
    strengths, out = np.ascontiguousarray(s.T), np.empty((3 * r, batch))
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


def heyoka_one(s, y, end, tol):
    """Heyoka's scalar integrator of one member, restarted by hand."""
    import heyoka as hy

    start, r = y[0].T.ravel(), y.shape[2]
    ta = hy.taylor_adaptive(_heyoka_system(s[0]), start, tol=tol)

    def run():
        ta.time = 0.0
        ta.state[:] = start
        ta.propagate_until(end[0])
        return ta.state.reshape(r, 3).T[None].copy()

    return run


def diffrax_modes(s, y, end, rtol):
    """Diffrax's Tsit5 under vmap."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def field(t, z, args):
        a, b, c = z
        return args * jnp.stack([b * c, c * a, a * b])

    def one(z, strength, t1):
        control = diffrax.PIDController(rtol=rtol, atol=1e-4 * rtol)
        term, method = diffrax.ODETerm(field), diffrax.Tsit5()
        solution = diffrax.diffeqsolve(
            term, method, 0.0, t1, None, z, strength, stepsize_controller=control, max_steps=20_000
        )
        return solution.ys[-1]

    run = jax.jit(jax.vmap(one))
    arguments = jnp.asarray(y), jnp.asarray(s), jnp.asarray(end)
    return lambda: np.asarray(run(*arguments))


def scipy_modes(s, y, end, method, rtol, atol):
    """SciPy's solve_ivp in a loop over members."""

    def run():
        found = np.empty_like(y)
        for i, strength in enumerate(s):

            def rhs(t, z, strength=strength):
                a, b, c = z.reshape(3, -1)
                return np.concatenate([strength * b * c, strength * c * a, strength * a * b])

            path = solve_ivp(rhs, (0, end[i]), y[i].ravel(), method, [end[i]], rtol=rtol, atol=atol)
            found[i] = path.y[:, -1].reshape(3, -1)
        return found

    return run
