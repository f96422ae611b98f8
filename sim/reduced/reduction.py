"""Flows on the row and column spaces of their signature matrix, whole or cut off after k modes, with an error bound.

The reduced flow is the derived one, projected symbolically (`theory.flows.projection`): W_E = U A + N B with B
constant. With all modes nothing is lost; with k modes M is cut off after its k-th singular value, and
`Reduction.error_bound` bounds what that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse

from ...theory.algebra.evaluate import evaluate
from ...theory.algebra.matrices import product, split
from ...theory.algebra.nodes import Centering
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord, sealed
from ...theory.base.validate import brief, integer, kind_of
from ...theory.data.inputs import N_CTX, ROWS
from ...theory.flows.flow import Flow
from ...theory.flows.projection import MODES, Projection, project
from ..compile.compiler import compile_sides, distinct_rows
from ..kernel.problem import Problem
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model

DENSE = 3000  # signature matrices up to this size are decomposed densely
MARK_ERROR = 1e-6  # between two decompositions of one matrix
Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Signature(FrozenRecord):
    """The signature matrix as it is applied: sparse, its rows centred or not; never written out.

    Attributes
    ----------
    sparse : csr_array, shape (rows, cols)
        M, or what Pi centres from the right.
    centred : bool
        Whether M is `sparse` times Pi.
    """

    sparse: Any
    centred: bool

    def dot(self, x: Array) -> Array:
        """Product M x, for x (cols, m)."""
        return self.sparse @ (x - x.mean(axis=0) if self.centred else x)

    def transposed_dot(self, x: Array) -> Array:
        """Product M^T x, for x (rows, m)."""
        y = self.sparse.T @ x
        return y - y.mean(axis=0) if self.centred else y

    def svd(self, modes: int | None, seed: int = 0) -> tuple[Array, Array, Array]:
        """Singular vectors and values U, s, V, largest first; all nonzero ones, or `modes` + 1 of them."""
        rows, cols = self.sparse.shape
        if max(rows, cols) <= DENSE:
            U, s, Vt = np.linalg.svd(self.dot(np.eye(cols)), full_matrices=False)
            rank = int(np.sum(s > max(rows, cols) * np.finfo(float).eps * s[0])) if s.size else 0
            kept = rank if modes is None else min(modes + 1, rank)
            return U[:, :kept], s[:kept], Vt[:kept].T
        from scipy.sparse.linalg import LinearOperator, svds

        operator = LinearOperator(
            shape=(rows, cols),
            matvec=lambda x: self.dot(x.reshape(-1, 1))[:, 0],
            rmatvec=lambda x: self.transposed_dot(x.reshape(-1, 1))[:, 0],
            matmat=self.dot,
            rmatmat=self.transposed_dot,
            dtype=float,
        )
        # A start vector, as versions of SciPy differ on the name of the argument for a generator.
        v0 = np.random.default_rng(seed).standard_normal(min(rows, cols))
        U, s, Vt = svds(operator, k=int(modes or 0) + 1, v0=v0)
        order = np.argsort(-s)
        return U[:, order], s[order], Vt[order].T


@dataclass(frozen=True, eq=False, repr=False)
class Reduction(FrozenRecord):
    """A flow on the singular modes of its signature matrix.

    Attributes
    ----------
    flow, data : Flow, Dataset
        What was reduced.
    projection : Projection
        The proved equations inside the spaces of M.
    signature : Signature
        M.
    U, V : ndarray, shapes (rows, k), (cols, k)
        Singular vectors, largest value first.
    strengths : ndarray, shape (k,)
        Singular values.
    tail : float
        The largest singular value left out; 0 if none is.
    """

    flow: Flow
    data: Dataset
    projection: Projection
    signature: Signature
    U: Array
    V: Array
    strengths: Array
    tail: float = 0.0

    @property
    def model(self) -> Model:
        """The full model."""
        return self.flow.model

    @property
    def closure(self) -> str:
        """Closure of the flow."""
        return self.flow.closure

    @property
    def modes(self) -> int:
        """Number k of modes kept."""
        return len(self.strengths)

    def __repr__(self) -> str:
        """Sizes and what is left out."""
        cut = f"cut off at {self.tail:.3g}" if self.tail else "exact"
        modes = f"{self.modes} modes of {self.signature.sparse.shape}"
        return f"Reduction({self.model.name}, {self.closure!r}: {modes}, {cut})"

    def project(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """Coordinates of full weights inside the spaces: U^T W_E (k, d), W_out V (f, k), the others as they are."""
        return self._project(self.model.validate(weights))

    def _project(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """As `project`, of weights that are valid already and not copied again."""
        inside = dict(weights)
        for name in self.projection.rows:
            inside[name] = self.U.T @ inside[name]
        for name in self.projection.cols:
            inside[name] = inside[name] @ self.V
        return inside

    @property
    def mark(self) -> list[float]:
        """One number for each mode that changes with its sign and its place: by it trajectories know their basis."""
        return (np.linspace(1.0, 2.0, len(self.U)) @ self.U).tolist()

    def made(self, trajectory: Trajectory) -> bool:
        """Whether `integrate` made a trajectory of this reduction, or of one on the same modes."""
        start, mark = trajectory.start, trajectory.provenance.get("mark", ())
        if start is None or {n: w.shape for n, w in start.items()} != self.model.weights:
            return False
        same = len(mark) == self.modes and np.allclose(mark, self.mark, rtol=0.0, atol=MARK_ERROR)
        return same and all(
            trajectory.weights[n].shape[1:] == w.shape for n, w in self._project(start).items()
        )

    def compile(self, data: Dataset, weights: Mapping[str, Array]) -> Problem:
        """Compile the projected equations; weights that the closure freezes enter as constants.

        Raises
        ------
        ValueError
            If `data` is not the data that was reduced.
        """
        if data is not self.data and data.fingerprint != self.data.fingerprint:
            raise ValueError(
                "`data` must be the data that `reduce` was given: its modes are those of that data."
            )
        inside = self._project(weights)
        frozen = {w: v for w, v in inside.items() if w not in self.flow.moving}
        shapes = {w: (v.shape[0], v.shape[1]) for w, v in inside.items() if w not in frozen}
        values: dict[str, Any] = {"S": sparse.diags_array(self.strengths).tocsr()}
        sizes = self.model.sizes | {MODES: self.modes}
        sides = {w: self.projection.sides[w] for w in shapes}
        return compile_sides(sides, values | frozen, shapes, sizes, frozen)

    def lift(self, trajectory: Trajectory, at: Sequence[int] | slice | None = None) -> Trajectory:
        """Complete the projected weights to full ones, with the complements as they were at the start.

        Parameters
        ----------
        trajectory : Trajectory
            What `integrate` made of this reduction.
        at : slice or sequence of int, optional
            Saved times to lift; all by default. Full weights of a large vocabulary take rows x cols x 8 bytes a time.

        Raises
        ------
        ValueError
            If the trajectory is not one of this reduction, made here or loaded from a file.
        """
        start = trajectory.start
        if start is None or not self.made(trajectory):
            raise ValueError(
                "`trajectory` must be one that `integrate` made of this reduction: reduce the same flow and data "
                "with the same `modes` and `seed`."
            )
        pick = slice(None) if at is None else at
        inside = {w: v[pick] for w, v in trajectory.weights.items()}
        full = dict(inside)
        first = self._project(start)
        for name in self.projection.rows:
            full[name] = start[name] + self.U @ (inside[name] - first[name])
        for name in self.projection.cols:
            full[name] = start[name] + (inside[name] - first[name]) @ self.V.T
        label = f"{trajectory.label}, {self.modes} modes"
        return replace(
            trajectory,
            t=trajectory.t[pick],
            weights={name: sealed(value) for name, value in full.items()},
            label=label,
            model=self.model,
            data=self.data,
            start=None,
        )

    def error_bound(self, trajectory: Trajectory) -> dict[str, Array]:
        """Bound on what cutting off modes has done to each weight, at the saved times.

        A comparison of norms, derived in `sim.reduced.truncation`: rigorous for the flow, apart from the rounding of
        the integrator, if no norm exceeds its larger end within a saved interval. Save densely near a blow-up, where
        the bound is infinite from the time on at which it stops to say anything.

        Returns
        -------
        dict
            Weight name -> Frobenius norms (n_t,).

        Raises
        ------
        ValueError
            If the loss is not a chain of the weights, or the trajectory is not this reduction's.
        """
        from .truncation import truncation_bound

        if not self.projection.chain or not self.made(trajectory):
            raise ValueError(
                '`error_bound` needs a reduced trajectory of a loss -<M, W_1 ... W_p>, such as closure "leading".'
            )
        return truncation_bound(self, trajectory)


def reduce(flow: Flow, data: Dataset, modes: int | None = None, *, seed: int = 0) -> Reduction:
    """Project a flow onto the row and column spaces of its signature matrix.

    Parameters
    ----------
    flow : Flow
        One whose equations hold the data in a single matrix M, such as closure "leading" of `EmbMLP` or `EmbedUnembed`.
    data : Dataset
        Training data.
    modes : int or None
        Number of singular modes to keep; None keeps all, which is exact.
    seed : int
        Of the start vector of the sparse decomposition.

    Returns
    -------
    Reduction
        For `integrate` in the place of the flow.

    Raises
    ------
    ValueError
        If the flow does not close on those spaces, or M is too large to keep all its modes.
    """
    kind_of("flow", flow, Flow, "`derive` makes one")
    if modes is not None:
        integer("modes", modes, 1)
    integer("seed", seed, 0)
    projection = project(flow)
    flow.model.check_data(data)
    signature = _signature(flow, data, projection)
    smaller, larger = sorted(signature.sparse.shape)
    if modes is None and larger > DENSE:
        raise ValueError(
            f"`modes` must be given for a signature matrix of {signature.sparse.shape}: "
            f"all are found only up to a size of {DENSE}."
        )
    if modes is not None and modes >= smaller:
        raise FieldError("modes", f"must be below {smaller}, or None for all, got {brief(modes)}.")
    U, s, V = signature.svd(modes, seed)
    kept = len(s) if modes is None else min(int(modes), len(s))
    tail = float(s[kept]) if len(s) > kept else 0.0
    U, V = (np.ascontiguousarray(x[:, :kept]) for x in (U, V))
    return Reduction(flow, data, projection, signature, U, V, s[:kept], tail)


def _signature(flow: Flow, data: Dataset, projection: Projection) -> Signature:
    values = distinct_rows(flow.model, data)
    sizes = flow.model.sizes | {ROWS: values["omega"].shape[0], N_CTX: data.n_ctx}
    scalar, factors = split(projection.signature)
    centred = isinstance(factors[-1], Centering)
    kept = product(scalar, *(factors[:-1] if centred else factors))
    return Signature(sparse.csr_array(evaluate(kept, values, sizes)), centred)
