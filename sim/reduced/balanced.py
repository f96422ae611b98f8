"""Balanced starts along the singular modes: every layer holds mode k with the same size a_k, and the flow is solved.

For the loss -<M, W_1 ... W_p> and W_1 = U diag(a) R_1, W_j = R_(j-1)^T diag(a) R_j, W_p = R_(p-1)^T diag(a) V^T, with
orthonormal rows R_j, every mode obeys ``a_k' = sigma_k a_k^(p-1)`` on its own: `theory.exact.ascent_mode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...theory.base.arrays import real_array
from ...theory.base.validate import integer, kind_of
from ...theory.exact.closed_forms import ascent_blow_up, ascent_mode
from ..ode.outcome import Outcome, Status
from ..ode.record import Solution

if TYPE_CHECKING:
    from ..kernel.problem import Problem
    from .reduction import Reduction

Array = np.ndarray
_TOLERANCE = 1e-12  # relative to the largest size: what rounding leaves of a product of orthonormal factors


def balanced_start(reduction: Reduction, sizes: npt.ArrayLike, seed: int = 0) -> dict[str, Array]:
    """Full weights that hold mode k with size ``sizes[k]`` in every layer, in random directions.

    Parameters
    ----------
    reduction : Reduction
        From `reduce`, of a flow that is a chain of products.
    sizes : array_like, shape (modes,)
        a_k >= 0; a mode of size 0 stands still.
    seed : int
        Of the directions R_j.

    Returns
    -------
    dict
        Weight name -> array, for `integrate(reduction, data, start, ...)`.

    Raises
    ------
    ValueError
        If the sizes do not fit, a layer is too narrow to hold them, or the flow is no chain.
    """
    from .reduction import Reduction

    kind_of("reduction", reduction, Reduction, "`reduce` makes one")
    a, chain = real_array("sizes", sizes, finite=False), reduction.projection.chain
    if a.shape != (reduction.modes,) or not np.all((a >= 0.0) & np.isfinite(a)):
        raise ValueError(f"`sizes` must be {reduction.modes} numbers >= 0, one for each mode, got {sizes!r}.")
    if not chain:
        raise ValueError(
            f"`reduction` of {reduction.model.name} is no chain of products: it has no balanced modes."
        )
    widths = [reduction.model.weights[name][1] for name in chain[:-1]]
    if min(widths) < reduction.modes:
        raise ValueError(
            f"`reduction` has {reduction.modes} modes, more than the narrowest layer of {min(widths)} can hold "
            "orthogonally: reduce to fewer."
        )
    rng = np.random.default_rng(integer("seed", seed, 0))
    turns = [np.linalg.qr(rng.normal(size=(width, reduction.modes)))[0] for width in widths]
    factors = [reduction.U, *turns, reduction.V]
    return {name: (factors[j] * a) @ factors[j + 1].T for j, name in enumerate(chain)}


def closed_solution(
    reduction: Reduction, problem: Problem, y0: Array, saves: Array, t0: float, t1: float
) -> Solution | None:
    """Solution in closed form if the start is balanced, else None; `saves` lie within [t0, t1]."""
    inside = problem.unpack(y0)
    frame = _frame(reduction, inside)
    if frame is None:
        return None
    sizes, frames = frame
    depth = len(reduction.projection.chain)
    active = np.flatnonzero(sizes)
    strengths = reduction.strengths[active]
    star = t0 + min(
        (ascent_blow_up(depth, s, a) for s, a in zip(strengths, sizes[active], strict=True)), default=np.inf
    )
    outcome = Outcome(Status.BLOW_UP, star) if star <= t1 else Outcome(Status.REACHED_END, t1)
    t = saves[saves < star]
    grown = np.zeros((len(t), len(sizes)))
    for k, s in zip(active, strengths, strict=True):
        grown[:, k] = ascent_mode(t - t0, depth, s, sizes[k]) - sizes[k]
    y = np.tile(y0, (len(t), 1))
    for j, name in enumerate(reduction.projection.chain):
        change = (frames[j][None] * grown[:, None, :]) @ frames[j + 1].T
        offset, shape = problem.layout[name]
        y[:, offset : offset + shape[0] * shape[1]] += change.reshape(len(t), -1)
    counts = {"accepted": 0, "rejected": 0, "rhs_calls": 0, "seconds": 0.0, "methods": "closed form"}
    return Solution(t, y, outcome, counts)


def _frame(reduction: Reduction, inside: Mapping[str, Array]) -> tuple[Array, list[Array]] | None:
    """Sizes (k,) and orthonormal frames of a balanced start, None for any other.

    Frame j holds the columns R_j^T; the first and the last are those of the singular basis itself.
    """
    chain, k = reduction.projection.chain, reduction.modes
    if not chain:
        return None
    sizes = np.linalg.norm(inside[chain[0]], axis=1)
    top = float(sizes.max(initial=0.0))
    sizes[sizes <= _TOLERANCE * top] = 0.0
    inverse = np.divide(1.0, sizes, out=np.zeros(k), where=sizes > 0.0)
    frames, here = [np.eye(k)], np.eye(k)
    for name in chain:
        W = inside[name]
        following = (W.T @ here) * inverse
        if name == chain[-1]:
            following = np.eye(k)
        elif not np.allclose(
            following.T @ following, np.diag((sizes > 0.0) * 1.0), rtol=0.0, atol=_TOLERANCE
        ):
            return None
        left, right = W @ following - here * sizes, W.T @ here - following * sizes
        if max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0)) > _TOLERANCE * top:
            return None
        frames.append(following)
        here = following
    return sizes, frames
