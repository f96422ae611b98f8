"""How far a flow cut off after k modes can be from the whole one: a bound by comparison of norms.

For the loss -<M, W_1 ... W_p> split the end weights into the part inside the k modes kept and the tail. The tail of
the whole flow is driven through sigma_(k+1) only, and acts back on what is kept through itself squared:

    d_1' <= (|T W_p(0)^T| + sigma_(k+1) d_p) prod(n_j + e_j, j inner),       likewise d_p
    e_i' <= sigma_1 (prod(n_j + e_j, j != i) - prod(n_j, j != i))
            + [i inner] b(d_1, d_p) prod(n_j + e_j, j inner, j != i)

d are Frobenius norms of how far the tails have moved, e those of the errors inside, n spectral norms along the reduced
trajectory (ends: inside only), T the tail of M and b = |W_1(0)^T T W_p(0)^T| + sigma_(k+1) (d_1 |W_p(0)| + |W_1(0)| d_p
+ d_1 d_p). All sides grow in every variable, so the solution of the equalities bounds the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import solve_ivp

if TYPE_CHECKING:
    from ..trajectory.trajectory import Trajectory
    from .reduction import Reduction

Array = np.ndarray
COLUMNS, ROWS = 32, 512  # of a strip of a weight: as much as a sparse product needs to run at full speed


@dataclass(frozen=True)
class _Tail:
    """Norms of the tail at the start: of T W_p^T, T^T W_1, W_1^T T W_p^T (Frobenius), of W_1 and W_p (spectral)."""

    sigma: float
    right: float
    left: float
    both: float
    first: float
    last: float


def truncation_bound(reduction: Reduction, trajectory: Trajectory) -> dict[str, Array]:
    """See `Reduction.error_bound`."""
    chain = reduction.projection.chain
    norms = np.stack([spectral_norms(trajectory.weights[name]) for name in chain], axis=1)
    tail = _tail(reduction, trajectory)
    found = np.zeros((len(trajectory.t), len(chain) + 2))
    for i in range(1, len(found)):
        top = np.maximum(norms[i - 1], norms[i])
        span = float(trajectory.t[i] - trajectory.t[i - 1])
        found[i] = _grow(found[i - 1], span, top, tail, float(reduction.strengths[0]))
    errors = {name: found[:, 2 + j] for j, name in enumerate(chain)}
    errors[chain[0]] = np.hypot(errors[chain[0]], found[:, 0])
    errors[chain[-1]] = np.hypot(errors[chain[-1]], found[:, 1])
    return errors


def _grow(state: Array, span: float, norms: Array, tail: _Tail, strength: float) -> Array:
    """State (d_1, d_p, e_1 .. e_p) after an interval over which no norm exceeds `norms`."""
    inner = range(1, len(norms) - 1)

    def rates(_: float, z: Array) -> list[float]:
        d1, dp, wide = z[0], z[1], norms + z[2:]
        back = tail.both + tail.sigma * (d1 * tail.last + tail.first * dp + d1 * dp)
        gates = prod(wide[j] for j in inner)
        moved = [(tail.right + tail.sigma * dp) * gates, (tail.left + tail.sigma * d1) * gates]
        for i in range(len(norms)):
            rate = strength * (_others(wide, i) - _others(norms, i))
            moved.append(rate + (back * prod(wide[j] for j in inner if j != i) if i in inner else 0.0))
        return moved

    def hopeless(_: float, z: Array) -> float:
        return float(np.max(z)) - 1e3 * float(np.max(norms))

    hopeless.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    if not np.all(np.isfinite(state)):
        return np.full_like(state, np.inf)
    fastest = float(np.max(np.abs(rates(0.0, state))))
    if not fastest:
        return state
    # Of weights at zero the size is what the state grows to: with a tolerance of zero SciPy never ends its first step.
    size = np.max(norms) or span * fastest
    run = solve_ivp(rates, (0.0, span), state, method="DOP853", rtol=1e-8, atol=1e-14 * size, events=hopeless)
    return run.y[:, -1] if run.status == 0 else np.full_like(state, np.inf)


def _others(norms: Array, leave: int) -> float:
    return float(prod(x for j, x in enumerate(norms) if j != leave))


def _tail(reduction: Reduction, trajectory: Trajectory) -> _Tail:
    """Norms at the start, gathered a few columns at a time: nothing of the size of a weight is written out."""
    start, chain = trajectory.start or {}, reduction.projection.chain
    U, V, s, M = reduction.U, reduction.V, reduction.strengths, reduction.signature
    first, last = start[chain[0]], start[chain[-1]].T
    right = left = both = 0.0
    for at in _strips(last.shape[1]):
        strip = np.ascontiguousarray(last[:, at])
        driven = M.dot(strip) - U @ (s[:, None] * (V.T @ strip))
        right += float(np.sum(driven**2))
        both += float(np.sum((first.T @ driven) ** 2))
    for at in _strips(first.shape[1]):
        strip = np.ascontiguousarray(first[:, at])
        driven = M.transposed_dot(strip) - V @ (s[:, None] * (U.T @ strip))
        left += float(np.sum(driven**2))
    return _Tail(reduction.tail, sqrt(right), sqrt(left), sqrt(both), _outside(first, U), _outside(last, V))


def _outside(weight: Array, basis: Array) -> float:
    """Spectral norm of what a weight (rows, cols) has outside the columns of an orthonormal basis (rows, k)."""
    inside, gram = basis.T @ weight, np.zeros((weight.shape[1], weight.shape[1]))
    for at in _strips(weight.shape[0], ROWS):
        rest = weight[at] - basis[at] @ inside
        gram += rest.T @ rest
    return _root(gram)


def _strips(total: int, width: int = COLUMNS) -> Iterator[slice]:
    return (slice(first, first + width) for first in range(0, total, width))


def spectral_norms(stack: Array) -> Array:
    """Largest singular value of every matrix of a stack (n_t, rows, cols)."""
    wide = stack.shape[1] < stack.shape[2]
    return np.array([_root(m @ m.T if wide else m.T @ m) for m in stack])


def _root(gram: Array) -> float:
    """Square root of the largest eigenvalue."""
    return float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)))
