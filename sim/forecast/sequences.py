"""Minus the gradients of a closure on single sequences, kept as factors: what the noise of minibatches is made of."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluate import evaluate_all
from ...theory.algebra.sizes import dimension_sizes
from ...theory.base.arrays import full_array
from ...theory.data.inputs import N_CTX, ROWS
from ...theory.flows.squares import sequence_gradients
from ..compile.compiler import distinct_rows

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow

Factors = list[tuple[np.ndarray, ...]]  # left, right and mask of each sum


class SequenceGradients:
    """Minus the gradient, -g_i, of all training sequences i, as sums of outer products; at one state at a time.

    Parameters
    ----------
    flow : Flow
        The closure.
    data : Dataset
        Training data. Sequences that the model cannot tell apart and whose labels agree count as one.
    """

    def __init__(self, flow: Flow, data: Dataset) -> None:
        model = flow.model
        self._values = distinct_rows(model, data, labels_apart=True)
        self._sums = {w: s for w, s in sequence_gradients(flow).items() if w in flow.moving}
        self._shapes = {w: model.weights[w] for w in self._sums}
        omega = self._values["omega"].ravel()
        train = data.sequences[~data.held_out]
        # Rows of the logits that each sequence has, and where they begin; a merged one has a row.
        self._counts = model.row_counts(train) if model.per_position else np.ones(omega.size, dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self.weights = np.add.reduceat(omega, self._starts)
        self._sizes = model.sizes | {ROWS: omega.size, N_CTX: data.n_ctx}
        self._exprs: dict[str, Any] = {}
        for w, sums in self._sums.items():
            self._sizes |= dimension_sizes(flow.right_hand_sides[w], self._values)
            for k, s in enumerate(sums):
                self._exprs |= {f"{w} {k} {part}": getattr(s, part) for part in ("left", "right", "mask")}
        self._factors: dict[str, Factors] = {}

    def move_to(self, weights: Mapping[str, np.ndarray]) -> None:
        """Evaluate the factors at a state."""
        found = evaluate_all(self._exprs, self._values | dict(weights), self._sizes)
        shape = len(self._values["omega"]), 1

        def dense(name: str) -> np.ndarray:
            value = full_array(found[name])
            return value if name.endswith("mask") or len(value) == shape[0] else np.broadcast_to(value, shape)

        self._factors = {
            w: [tuple(dense(f"{w} {k} {p}") for p in ("left", "right", "mask")) for k in range(len(sums))]
            for w, sums in self._sums.items()
        }

    def combined(self, z: np.ndarray) -> np.ndarray:
        """sum_i z_i g_i (n,) for numbers z (sequences,), in the order of the moving weights."""
        each = np.repeat(z / self._counts, self._counts)[:, None]
        parts = []
        for w, factors in self._factors.items():
            parts.append(np.zeros(self._shapes[w]))
            for a, b, m in factors:
                parts[-1] += m * (a.T @ (each * b))
        return np.concatenate([part.ravel() for part in parts])

    def along(self, direction: np.ndarray) -> np.ndarray:
        """The products <g_i, direction> (sequences,) with a vector (n,)."""
        rows, offset = np.zeros(len(self._values["omega"])), 0
        for w, factors in self._factors.items():
            size = prod(self._shapes[w])
            part = direction[offset : offset + size].reshape(self._shapes[w])
            offset += size
            for a, b, m in factors:
                rows += np.einsum("ij,ij->i", a @ (m * part), b)
        return np.add.reduceat(rows, self._starts) / self._counts
