"""What the figures on the composite anchor task share: tasks, times, cosines, small statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....sim.trajectory.observables import singular_values
from ....theory.base.arrays import cosine_matrix, off_diagonal
from ....theory.base.crossings import first_crossing
from ....theory.data.dataset import Dataset
from ....theory.data.inputs import build_inputs
from ....theory.data.label_laws import memory_label_law, reasoning_label_law
from ....theory.data.tasks import CompositeTask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("reasoning-anchors", "memory-anchors")
GROUPS = ("memory", "reasoning-train", "reasoning-test")


def paper_task(length: int) -> CompositeTask:
    """Return A1's main setting: 100 keys, ten anchors of each kind, two orders held out."""
    return CompositeTask(
        range(21, 121), range(1, 11), range(11, 21), length=length, masked=((11, 13), (13, 11))
    )


def half_of_drop(t: np.ndarray, loss: np.ndarray) -> float:
    """Return the flow time at which `loss` has lost half of its drop from the first to the last time; inf without."""
    return (
        float(first_crossing(t, loss, 0.5 * float(loss[0] + loss[-1])))
        if loss[-1] < loss[0]
        else float("inf")
    )


def escape(t: np.ndarray, loss: np.ndarray, part: float) -> float:
    """Return the flow time at which a part of the first loss is gone, as `compare.plots.escapes.escape_times` does."""
    return float(first_crossing(t, loss, (1.0 - part) * float(loss[0])))


def ratio(late: Any, early: Any) -> np.ndarray:
    """Return late / early; inf if only the first is never, nan if both are, or if there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(early, 0.0), np.nan, np.divide(late, early))


def anchor_laws(task: CompositeTask) -> dict[str, np.ndarray]:
    """Return the exact label laws of the anchors on the training data, kind -> (anchors, d_vocab)."""
    memory = np.tile(memory_label_law(task), (len(task.memory_anchors), 1))
    reasoning = [reasoning_label_law(task, anchor, training=True) for anchor in task.reasoning_anchors]
    return {"memory": memory, "reasoning": np.array(reasoning)}


def values_from_laws(data: Dataset) -> dict[str, np.ndarray]:
    """Cosines of anchors with the values' direction that label laws alone predict, before any training.

    Embeddings grow along the rows of the signature (Proposition 1), and values along its top singular vector.
    "uniform": about the uniform law, as in the first steps; "mean": about the mean of all labels, which outputs
    are once the parts that all sequences share have been learnt. "overlap": cosine of the kinds' mean laws
    about the uniform law.
    """
    train = np.flatnonzero(~data.held_out)
    tokens = build_inputs({"C_mean"}, data.sequences[train], data.d_vocab)["C_mean"]
    labels, weights = np.eye(data.d_vocab)[data.labels[train]], data.weights[train, None]
    found: dict[str, np.ndarray] = {}
    for name, outputs in (("uniform", 1.0 / data.d_vocab), ("mean", (weights * labels).sum(axis=0))):
        rows = tokens.T @ (weights * (labels - outputs))  # (d_vocab, d_vocab)
        cosines = direction_cosines(rows, data, np.linalg.svd(rows)[2][0])
        found |= {f"laws/{name}/{kind}": values for kind, values in cosines.items()}
        if name == "uniform":
            laws = np.array([rows[data.token_groups[kind]].mean(axis=0) for kind in KINDS])
            found["overlap"] = cosine_matrix(laws)[0, 1]
    return found


def direction_cosines(embedding: np.ndarray, data: Dataset, direction: np.ndarray) -> dict[str, np.ndarray]:
    """Cosines of anchors' embeddings with a direction, by kind; its sign is that of the reasoning anchors."""
    rows = {kind: embedding[data.token_groups[kind]] for kind in KINDS}
    cosines = {kind: some @ direction / np.linalg.norm(some, axis=1) for kind, some in rows.items()}
    sign = np.sign(cosines[KINDS[0]].mean())
    return {kind: sign * values for kind, values in cosines.items()}  # (n_anchors,)


def centred(laws: np.ndarray) -> np.ndarray:
    """Subtract the uniform law from laws (m, d_vocab)."""
    return laws - 1.0 / laws.shape[1]


def distances(n: int) -> np.ndarray:
    """Return the distances of the entries of a matrix (n, n) from its diagonal, in the order of `off_diagonal`."""
    i = np.arange(n)
    return off_diagonal(np.abs(i[:, None] - i))


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties averaged."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal coordinates (m, 2) of rows and the shares of variance of all."""
    about = rows - rows.mean(axis=0)
    values = singular_values(about[None])[0]
    direction = np.linalg.svd(about, full_matrices=False)[2][:2]
    direction = direction * np.where(direction.sum(axis=1, keepdims=True) < 0.0, -1.0, 1.0)  # a sign to keep
    return about @ direction.T, values**2 / np.sum(values**2)


def show_cosines(ax: Axes, matrix: np.ndarray, title: str, split: int | None = None) -> None:
    """Draw a cosine matrix between -1 and 1; a line after the first `split` rows parts memory from reasoning."""
    ax.imshow(matrix, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    if split is not None:
        ax.axhline(split - 0.5, color="black", lw=0.6)
        ax.axvline(split - 0.5, color="black", lw=0.6)
        middles = ((split - 1) / 2, (split + len(matrix) - 1) / 2)
        for axis, turned in ((ax.xaxis, 0), (ax.yaxis, 90)):
            axis.set_ticks(
                middles, ("memory", "reasoning"), size=6, rotation=turned, ha="center", va="center"
            )
            axis.set_tick_params(length=0, pad=6)


def cosine_bar(figure: Figure, axes: list[Axes]) -> None:
    """Add one colour bar for matrices drawn by `show_cosines`."""
    figure.colorbar(axes[0].images[0], ax=axes, ticks=(-1, 0, 1), shrink=0.8, label="cosine")
