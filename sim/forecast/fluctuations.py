"""How far gradient descent on minibatches strays from its mean path: the covariance of the weights.

Rows are drawn with replacement, so that the gradient of a batch of B has the covariance
``C = (sum_i omega_i g_i g_i^T - g g^T) / B``. With the Jacobian J of the mean path the deviations of the weights have,
to leading order in the noise, a covariance with ``dSigma/dt = J Sigma + Sigma J^T + eta C``. It is kept
factored, Sigma = sum_k l_k l_k^T over a few directions l_k that J carries along: the leading ones exactly, all others
as random combinations that have the right covariance in the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenDict, FrozenRecord, sealed
from ...theory.base.validate import choice, integer, kind_of
from ..compile.companions import compile_tangent
from ..compile.compiler import compile_flow
from ..integration.integrate import integrate
from ..integration.save_steps import MOST_STEPS, save_steps
from ..kernel.threads.blas_threads import one_blas_thread
from ..optimizers.minibatches import checked_batch_size
from ..optimizers.optimizer import GD
from ..optimizers.schedule import Clock
from ..trajectory.trajectory import Trajectory
from .sequences import SequenceGradients

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow

MOST = 2**20  # directions, and draws
OVERSAMPLED = 8  # random directions beyond the rank, in which the leading ones of a covariance are looked for
# Flow time x fastest rate over which steps are taken together, and how many of them pay; iterations that estimate it.
TOGETHER, FEWEST, LOOKS = 0.5, 8, 6


@dataclass(frozen=True, eq=False, repr=False)
class Fluctuations(FrozenRecord):
    """Covariance of the weights at saved steps; made by `fluctuations`.

    Attributes
    ----------
    mean : Trajectory
        The mean path at the saved steps.
    directions : dict
        Moving weight -> array (n_saved, k, rows, cols): this weight's part of the directions l_1 .. l_k, of all moving
        weights together, with Sigma = sum_k l_k l_k^T.
    """

    mean: Trajectory
    directions: Mapping[str, np.ndarray] = field(repr=False)

    def __repr__(self) -> str:
        """How many directions there are, at how many steps."""
        saved, count = next(iter(self.directions.values())).shape[:2]
        return f"Fluctuations({count} directions at {saved} steps, {self.mean.label})"

    def variance(self, name: str) -> np.ndarray:
        """Variance of each entry of a weight, (n_saved, rows, cols).

        Raises
        ------
        ValueError
            If no weight that moves has that name.
        """
        choice("name", name, self.directions)
        return np.square(self.directions[name]).sum(axis=1)


def fluctuations(
    flow: Flow,
    data: Dataset,
    start: Mapping[str, Any],
    *,
    steps: int,
    optimizer: GD,
    batch_size: int,
    save_at: Any = None,
    rank: int = 16,
    draws: int = 32,
    intervals: int = 60,
    seed: int = 0,
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
    rank, draws : int
        Directions kept exactly, and random ones that stand for all others. More of both leave less to chance, nothing
        where the rank is the number of moving entries.
    intervals : int
        Pieces of the path, of equal numbers of steps, whose states and noise stand for all in between.
    seed : int
        Of the random directions.

    Returns
    -------
    Fluctuations
        The mean path and the directions at the saved steps.

    Raises
    ------
    ValueError
        For malformed input, an optimizer other than `GD`, or a closure whose gradient is no sum over sequences.
    """
    from ...theory.flows.flow import Flow

    kind_of("flow", flow, Flow, "`derive` makes one").model.check_data(data)
    if not isinstance(optimizer, GD):
        raise FieldError(
            "optimizer", f"must be GD(...), whose noise is that of the gradient, got {optimizer!r}."
        )
    steps, pieces = integer("steps", steps, 1, MOST_STEPS), integer("intervals", intervals, 1, MOST_STEPS)
    directions = integer("rank", rank, 1, MOST), integer("draws", draws, 1, MOST), integer("seed", seed, 0)
    size = checked_batch_size(batch_size, int((~data.held_out).sum()))
    saves = save_steps(save_at, steps)
    nodes = np.union1d(np.rint(np.linspace(0, steps, pieces + 1)).astype(np.int64), saves)
    path = integrate(flow, data, start, steps=steps, optimizer=optimizer, save_at=nodes)
    moments = MomentEquation(flow, data, flow.model.validate(start), optimizer, size, *directions)
    kept = np.isin(nodes, saves)
    with one_blas_thread():  # thousands of small products
        rows = np.stack([r for r, k in zip(moments.along(path), kept, strict=True) if k])
    return Fluctuations(
        replace(
            path,
            t=path.t[kept],
            steps=nodes[kept],
            weights={w: v[kept] for w, v in path.weights.items()},
            label=f"{path.label}, batches of {size}",
            provenance={**path.provenance, "batch_size": size},
        ),
        moments.named(rows),
    )


class MomentEquation:
    """The moment equation along a mean path; directions are rows of arrays (k, n) over the flat state.

    Parameters
    ----------
    flow, data, start
        As in `fluctuations`, validated.
    optimizer, size, rank, draws, seed
        Gradient descent, sequences per batch, and the numbers of `fluctuations`.
    """

    def __init__(
        self,
        flow: Flow,
        data: Dataset,
        start: dict[str, np.ndarray],
        optimizer: GD,
        size: int,
        rank: int,
        draws: int,
        seed: int,
    ) -> None:
        self.problem, self.tangent = compile_flow(flow, data, start), compile_tangent(flow, data, start)
        self.sequences = SequenceGradients(flow, data)
        self.optimizer, self.size, self.rank, self.draws, self.n = (
            optimizer,
            size,
            rank,
            draws,
            self.problem.n,
        )
        each, shapes = optimizer.of_weights(flow.model.weights), flow.model.weights
        self.rates, self.decays = (
            self.problem.pack({w: np.full(shapes[w], each[w][k]) for w in self.problem.layout})
            for k in (0, 1)
        )
        self._random, self._out = np.random.default_rng(seed), np.zeros(2 * self.n)
        self._fastest = self._random.standard_normal(self.n)

    def named(self, flat: np.ndarray) -> FrozenDict:
        """Parts of a flat array (..., n) by weight."""
        parts = self.problem.unpack(flat)
        return FrozenDict({w: sealed(parts[w].copy()) for w in self.problem.layout})

    def along(self, path: Trajectory) -> Iterator[np.ndarray]:
        """Directions at every saved step of a path that begins at rest."""
        steps = np.asarray(path.steps)
        clock: Clock = self.optimizer.clock(int(steps[-1]))
        rows, before = np.zeros((0, self.n)), None
        for k, step in enumerate(steps):
            here = self._node({w: v[k] for w, v in path.weights.items()})
            if before is not None:
                rows = self._carried(rows, before, here, clock.rates[int(steps[k - 1]) : int(step)])
            yield np.concatenate([rows, np.zeros((self.rank + self.draws - len(rows), self.n))])
            before = here

    def _node(self, weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """State, its velocity per unit of flow time, and the noise there."""
        self.sequences.move_to(weights)
        mean, y = self.sequences.combined(self.sequences.weights), self.problem.pack(weights)
        return y, self.rates * (mean - self.decays * y), self.rates * self._noise(mean)

    def _noise(self, mean: np.ndarray) -> np.ndarray:
        """Directions of the covariance of a batch's gradient."""
        roots = np.sqrt(self.sequences.weights / self.size)

        def combined(z: np.ndarray) -> np.ndarray:
            return self.sequences.combined(roots * z) - (roots @ z) * mean

        def normal(count: int) -> np.ndarray:
            return self._random.standard_normal((count, len(roots)))

        seen = np.stack([combined(z) for z in normal(self.rank + OVERSAMPLED)])
        basis = np.linalg.qr(seen.T)[0].T  # of the directions in which gradients vary most
        parts = np.stack([roots * (self.sequences.along(q) - mean @ q) for q in basis])
        # Split among the sequences, not among directions: what two parts of the weights share would be lost there.
        leading = np.linalg.svd(parts, full_matrices=False)[2][: self.rank]
        others = normal(self.draws)
        others -= (others @ leading.T) @ leading
        rest = np.stack([combined(z) for z in others]) / np.sqrt(self.draws)
        return np.concatenate([np.stack([combined(z) for z in leading]), rest])

    def _cut(self, rows: np.ndarray) -> np.ndarray:
        """No more than rank + draws directions: the leading ones, and sums of the others with random signs.

        In these each direction keeps its variance; what is random is the covariance between those of one sum.
        """
        if len(rows) <= self.rank + self.draws:
            return rows
        turned = (np.linalg.eigh(rows @ rows.T)[1].T @ rows)[::-1]  # largest first
        signed = turned * self._random.choice((-1.0, 1.0), len(rows))[:, None]
        others = [signed[self.rank + k :: self.draws].sum(axis=0) for k in range(self.draws)]
        return np.concatenate([turned[: self.rank], others])

    def _carried(self, rows: np.ndarray, before: tuple, here: tuple, rates: np.ndarray) -> np.ndarray:
        """Directions over a piece of the path: steps together where all is slow against them, else one by one."""
        times = np.concatenate([[0.0], np.cumsum(rates)])
        fastest = self._rate(here[0]) * float(rates.max())
        count = int(TOGETHER / fastest) if fastest * len(rates) > TOGETHER else len(rates)
        size = 1 if count < FEWEST else count
        for first in range(0, len(rates), size):
            last = min(first + size, len(rates))
            part = slice(times[first], times[last]), float(times[-1])
            rows = self._moved(rows, before, here, part, rates[first:last])
        return rows

    def _moved(
        self, rows: np.ndarray, before: tuple, here: tuple, part: tuple[slice, float], rates: np.ndarray
    ) -> np.ndarray:
        """One step, (1 + eta J) l with the noise of its batch, or several: the flow, noise by the trapezoidal rule."""
        (span, time), size = part, float(np.sqrt(np.sum(rates**2)))
        middle = (
            span.start if len(rates) == 1 else (span.start + span.stop) / 2.0
        )  # a step has the noise where it begins
        noise = (before if middle < time / 2.0 else here)[2]
        if len(rates) == 1:
            y = _between(before, here, time, span.start / time)
            return self._cut(np.concatenate([rows + rates[0] * self._jacobian(y, rows), size * noise]))
        half, h = size / np.sqrt(2.0), span.stop - span.start
        rows = self._cut(np.concatenate([rows, half * noise]))
        a, m, b = (_between(before, here, time, (span.start + x * h) / time) for x in (0.0, 0.5, 1.0))
        k1 = self._jacobian(a, rows)
        k2 = self._jacobian(m, rows + h / 2.0 * k1)
        k3 = self._jacobian(m, rows + h / 2.0 * k2)
        k4 = self._jacobian(b, rows + h * k3)
        rows = rows + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        return self._cut(np.concatenate([rows, half * noise]))

    def _rate(self, y: np.ndarray) -> float:
        """Fastest rate of the Jacobian, by power iteration from where the last one ended."""
        size = 0.0
        for _ in range(LOOKS):
            self._fastest /= np.linalg.norm(self._fastest) or 1.0
            self._fastest = self._jacobian(y, self._fastest[None])[0]
            size = float(np.linalg.norm(self._fastest))
        return size

    def _jacobian(self, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """J along each of many directions, per unit of flow time."""
        found = np.empty_like(rows)
        for row, out in zip(rows, found, strict=True):
            self.tangent(0.0, np.concatenate([y, row]), self._out)
            out[:] = self.rates * (self._out[self.n :] - self.decays * row)
        return found


def _between(before: tuple, here: tuple, time: float, x: float) -> np.ndarray:
    """State at the part x of a piece of the path: the cubic through both ends and slopes."""
    (y_a, f_a, _), (y_b, f_b, _) = before, here
    gap = y_b - y_a
    return y_a + x * gap + x * (1.0 - x) * ((1.0 - x) * (time * f_a - gap) - x * (time * f_b - gap))
