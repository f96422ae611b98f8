"""Memory data of figure 8: groups of anchors with label ranges of their own, and labels within windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....theory.data.dataset import Dataset
from ....theory.data.tasks import CompositeTask
from .curves import Regime

FIRST, WIDTH = 30, 20  # labels of memory group i: {30 .. 29 + 20 i}
N_RANGES = 4

Labels = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # keys (n,), anchors (n, q), uniform (n,)


def memory_parts(task: CompositeTask, data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of memory sequences (m,), their keys (m,) and their anchors (m, q)."""
    rows = np.flatnonzero(data.groups == "memory")
    sequences = data.sequences[rows]
    is_anchor = np.isin(sequences, task.memory_anchors)
    anchors = sequences[is_anchor].reshape(len(rows), task.n_anchors)
    return rows, sequences[np.arange(len(rows)), is_anchor.argmax(axis=1) - 1], anchors


def drawn_labels(keys: np.ndarray, anchors: np.ndarray, seed: int, law: Labels) -> np.ndarray:
    """One draw per distinct (key, anchors), made by `law` of a uniform number."""
    tuples = np.column_stack([keys, anchors])
    distinct, which = np.unique(tuples, axis=0, return_inverse=True)
    uniform = np.random.default_rng([seed, 8]).random(len(distinct))
    return law(keys, anchors, uniform[which.ravel()])


def range_data(regime: Regime, seed: int) -> Dataset:
    """Memory only, anchors in four groups: labels of group i uniform on 30 .. 29 + 20 i."""
    task = regime.task(seed)
    data = task.sampled(regime.pairs)
    rows, keys, anchors = memory_parts(task, data)
    each = len(task.memory_anchors) // N_RANGES
    group = (anchors - task.memory_anchors[0]) // each
    pure = (group == group[:, :1]).all(axis=1)
    rows, keys, anchors, group = rows[pure], keys[pure], anchors[pure], group[pure, 0]
    sizes = WIDTH * (1 + (anchors[:, 0] - task.memory_anchors[0]) // each)
    labels = drawn_labels(keys, anchors, seed, lambda _k, _a, u: FIRST + (u * sizes).astype(np.int64))
    names = np.array([f"memory {i + 1}" for i in range(N_RANGES)])[group]
    return Dataset(data.sequences[rows], labels, data.d_vocab, data.weights[rows], names)


def window_data(regime: Regime, seed: int) -> dict[str, Dataset]:
    """The composite task as it is, and with memory labels drawn from {z - sum a .. z + sum a}."""
    task = regime.task(seed)
    data = task.sampled(regime.pairs)
    rows, keys, anchors = memory_parts(task, data)
    labels = data.labels.copy()

    def window(z: np.ndarray, a: np.ndarray, u: np.ndarray) -> np.ndarray:
        half = a.sum(axis=1)
        return z - half + (u * (2 * half + 1)).astype(np.int64)

    labels[rows] = drawn_labels(keys, anchors, seed, window)
    return {
        "uniform": data,
        "window": Dataset(
            data.sequences, labels, data.d_vocab, data.weights, data.groups, data.held_out, data.token_groups
        ),
    }


def range_laws(d_vocab: int) -> np.ndarray:
    """Label laws of the four groups (groups, d_vocab)."""
    tokens = np.arange(d_vocab)
    sizes = WIDTH * np.arange(1, N_RANGES + 1)[:, None]
    return ((tokens >= FIRST) & (tokens < FIRST + sizes)) / sizes
