"""How far gradient descent on minibatches strays from its mean path: the covariance of the weights.

Rows are drawn with replacement, so that a batch of B has a gradient of covariance ``C = (sum_i omega_i g_i g_i^T - g g^T)/B``.
With the Jacobian J of the mean path the deviations of the weights have, to leading order in the noise, a covariance with
``dSigma/dt = J Sigma + Sigma J^T + eta C`` (theory.md F). It is kept as its leading directions, which J carries along, and
beside them the variance of every entry that lies outside, which only gathers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenDict, FrozenRecord, sealed
from ...theory.base.validate import integer
from ..compile.compiler import compile_squares, compile_tangent
from ..integration.integrate import integrate
from ..integration.save_steps import save_steps
from ..optimizers.minibatches import checked_batch_size
from ..optimizers.optimizer import GD
from ..optimizers.schedule import Clock
from ..trajectory.trajectory import Trajectory
from .sequences import SequenceGradients

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow

OVERSAMPLED = 8  # random directions beyond the rank, in which the covariance of a gradient is looked at


@dataclass(frozen=True, eq=False, repr=False)
class Fluctuations(FrozenRecord):
    """Covariance of the weights at saved steps; made by `fluctuations`.

    Attributes
    ----------
    mean : Trajectory
        The mean path at the saved steps.
    directions : dict
        Moving weight -> array (n_saved, rank, rows, cols): directions x standard deviation along them, of all moving
        weights together, so that Sigma is the sum of their outer products, plus `outside` on its diagonal.
    outside : dict
        Moving weight -> array (n_saved, rows, cols): variance of each entry outside these directions.
    """

    mean: Trajectory
    directions: Mapping[str, np.ndarray] = field(repr=False)
    outside: Mapping[str, np.ndarray] = field(repr=False)

    def __repr__(self) -> str:
        """How many directions there are, and what they hold at the end."""
        rank = next(iter(self.directions.values())).shape[1]
        return f"Fluctuations({rank} directions with {self.inside[-1]:.0%} of the variance at the end)"

    def variance(self, name: str) -> np.ndarray:
        """Variance of each entry of a weight, (n_saved, rows, cols)."""
        return np.square(self.directions[name]).sum(axis=1) + self.outside[name]

    @property
    def inside(self) -> np.ndarray:
        """Share of the variance of all weights that lies in the directions, (n_saved,); 1 where there is none."""
        out = sum(v.sum(axis=(1, 2)) for v in self.outside.values())
        whole = sum(self.variance(w).sum(axis=(1, 2)) for w in self.outside)
        return 1.0 - np.divide(out, whole, out=np.zeros_like(whole), where=whole > 0.0)


def fluctuations(
    flow: Flow,
    data: Dataset,
    start: Mapping[str, Any],
    *,
    steps: int,
    optimizer: GD,
    batch_size: int,
    save_at: Any = None,
    rank: int = 32,
    intervals: int = 32,
) -> Fluctuations:
    """Covariance of the weights of gradient descent on minibatches, around the mean path of a closure.

    Parameters
    ----------
    flow : Flow
        The closure.
    data : Dataset
        Training data, of which minibatches are drawn with replacement from the row weights.
    start : dict
        Weight name -> array (rows, cols).
    steps : int
        Number of steps.
    optimizer : GD
        Gradient descent, with any rates, decays and schedule.
    batch_size : int
        Sequences per minibatch.
    save_at : None, int or array of int
        Steps to save, as in `integrate`.
    rank : int
        Directions kept; the work grows in proportion.
    intervals : int
        Pieces of the path, of equal numbers of steps, over each of which the covariance takes one Runge-Kutta step.

    Returns
    -------
    Fluctuations
        Directions and variances at the saved steps.

    Raises
    ------
    ValueError
        For malformed input, an optimizer other than `GD`, or a closure whose gradient is no sum over sequences.
    """
    if not isinstance(optimizer, GD):
        raise FieldError("optimizer", f"must be GD(...), whose steps are linear in the gradient, got {optimizer}.")
    steps, rank = integer("steps", steps, 1), integer("rank", rank, 1)
    pieces = integer("intervals", intervals, 1)
    size = checked_batch_size(batch_size, optimizer, int((~data.held_out).sum()))
    saves = save_steps(save_at, steps)
    nodes = np.union1d(np.rint(np.linspace(0, steps, pieces + 1)).astype(np.int64), saves)
    path = integrate(flow, data, start, steps=steps, optimizer=optimizer, save_at=nodes)
    moments = _Moments(flow, data, flow.model.validate(start), optimizer, size, rank)
    kept = np.isin(nodes, saves)
    found = [s for s, keep in zip(moments.along(path, optimizer.clock(steps)), kept, strict=True) if keep]
    directions, outside = (moments.named(np.stack(part)) for part in zip(*found, strict=True))
    return Fluctuations(
        replace(
            path,
            t=path.t[kept],
            steps=nodes[kept],
            weights={w: v[kept] for w, v in path.weights.items()},
            label=f"{path.label}, batches of {size}",
            provenance=path.provenance | {"batch_size": size},
        ),
        directions,
        outside,
    )


class _Moments:
    """The moment equation, carried from node to node of the mean path.

    A state is the pair of directions (rank, n), scaled, and of variances outside them (n,).
    """

    def __init__(
        self,
        flow: Flow,
        data: Dataset,
        start: dict[str, np.ndarray],
        optimizer: GD,
        size: int,
        rank: int,
    ) -> None:
        self.tangent, self.squares = compile_tangent(flow, data, start), compile_squares(flow, data, start)
        self.sequences = SequenceGradients(flow, data)
        self.size, self.rank, self.n = size, rank, self.squares.n
        each = optimizer.of_weights(flow.model.weights)
        self.rates, self.decays = (
            self.squares.pack({w: np.full(flow.model.weights[w], each[w][k]) for w in self.squares.layout})
            for k in (0, 1)
        )
        self._random = np.random.default_rng(0)
        self._out = np.zeros(2 * self.n)

    def named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Parts of flat arrays (..., n) of the moving weights."""
        return FrozenDict({w: sealed(v) for w, v in self.squares.unpack(flat).items() if w in self.squares.layout})

    def along(self, path: Trajectory, clock: Clock) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The state at every saved step of a path."""
        state = np.zeros((self.rank, self.n)), np.zeros(self.n)
        before = None
        for k, step in enumerate(path.steps):
            weights = {w: v[k] for w, v in path.weights.items()}
            y, noise = self.squares.pack(weights), self._noise(weights)
            here = y, self._slope(y), noise
            if before is not None:
                squares = float(np.sum(clock.rates[int(path.steps[k - 1]) : int(step)] ** 2))
                state = self._carry(state, before, here, path.t[k] - path.t[k - 1], squares)
            yield state
            before = here

    def _carry(self, state, before, here, time: float, squares: float):
        """One step of Runge-Kutta 4 for the directions, the noise gathered by the trapezoidal rule."""
        (y_a, f_a, noise_a), (y_b, f_b, noise_b) = before, here
        y_m = 0.5 * (y_a + y_b) + time / 8.0 * (f_a - f_b)  # the cubic through both ends and slopes
        rows, outside = self._gathered(state, noise_a, squares / 2.0)
        k1 = self._jacobian(y_a, rows)
        k2 = self._jacobian(y_m, rows + time / 2.0 * k1)
        k3 = self._jacobian(y_m, rows + time / 2.0 * k2)
        k4 = self._jacobian(y_b, rows + time * k3)
        rows = rows + time / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        outside = outside * np.exp(-2.0 * time * self.rates * self.decays)
        return self._gathered((rows, outside), noise_b, squares / 2.0)

    def _gathered(self, state, noise, part: float) -> tuple[np.ndarray, np.ndarray]:
        """The state with `part` times a covariance added, its directions cut back to the rank."""
        (rows, outside), (more, beyond) = state, noise
        rows = np.concatenate([rows, np.sqrt(part) * more])
        sizes, turns = np.linalg.eigh(rows @ rows.T)
        kept = turns[:, -self.rank :].T @ rows
        dropped = np.square(rows).sum(axis=0) - np.square(kept).sum(axis=0)
        return kept, outside + part * beyond + np.maximum(dropped, 0.0)

    def _slope(self, y: np.ndarray) -> np.ndarray:
        """Velocity of the mean path, per unit of flow time."""
        return self.rates * (self.sequences.combined(self.sequences.weights) - self.decays * y)

    def _jacobian(self, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """J along each of many directions (k, n)."""
        found = np.empty_like(rows)
        for row, out in zip(rows, found, strict=True):
            self.tangent(0.0, np.concatenate([y, row]), self._out)
            out[:] = self.rates * (self._out[self.n :] - self.decays * row)
        return found

    def _noise(self, weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of a batch's gradient at some weights: leading directions (rank, n), and variances outside."""
        self.sequences.move_to(weights)
        roots = np.sqrt(self.sequences.weights)
        mean = self.sequences.combined(self.sequences.weights)
        draws = self._random.standard_normal((self.rank + OVERSAMPLED, len(roots)))
        seen = np.stack([self.sequences.combined(roots * z) - (roots @ z) * mean for z in draws])
        basis = np.linalg.qr(seen.T)[0].T  # of the directions in which gradients vary most
        parts = np.stack([roots * (self.sequences.along(q) - mean @ q) for q in basis])
        sizes, turns = np.linalg.eigh(parts @ parts.T)
        rows = np.sqrt(np.maximum(sizes[-self.rank :], 0.0))[:, None] * (turns[:, -self.rank :].T @ basis)
        whole = np.empty(self.n)
        self.squares(0.0, self.squares.pack(weights), whole)
        beyond = np.maximum(whole - mean**2 - np.square(rows).sum(axis=0), 0.0)
        return rows * self.rates / np.sqrt(self.size), beyond * self.rates**2 / self.size
