"""What figure 6 measures of a run: the first attention, W_V and the anchors along it, how the anchors are pulled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ....sim.forecast.stages import value_direction
from ....sim.trajectory.trajectory import Trajectory
from ....theory.base.arrays import cosine_matrix
from ....theory.base.crossings import first_crossing, first_reached
from ....theory.data.dataset import Dataset
from ....theory.data.frequencies import label_entropy
from ....theory.data.inputs import build_inputs
from ...training.networks import network
from .anchors import GROUPS, KINDS, direction_cosines

Arrays = dict[str, np.ndarray]
SAMPLE = 500  # sequences whose attention is looked at
SEEN = 4000  # sequences whose outputs are
BARE = "no norm/"  # begins the names of what was measured without LayerNorm, as Definition 2 has it
WITH = {"": "with LayerNorm", BARE: "without LayerNorm"}


def drives(run: Trajectory) -> Arrays:
    """How the two kinds of anchors are pulled apart over a run, by the network that was moved.

    "divergence" (n_t,) is KL(marginal law of labels || mean output) in nats, "drive" (n_t,) the cosine of the kinds'
    mean drives, the sums over a kind's anchors of C^T (y - output): what moves their embeddings through later layers.
    """
    model, data = run.model_and_data()
    train = np.flatnonzero(~data.held_out)
    rows = train[:: -(-len(train) // SEEN)]
    sequences, labels = torch.tensor(data.sequences[rows]), np.eye(data.d_vocab)[data.labels[rows]]
    counts = build_inputs({"C_mean"}, data.sequences[rows], data.d_vocab)["C_mean"]
    weights = data.weights[rows] / data.weights[rows].sum()
    kinds = weights * np.array(
        [counts[:, data.token_groups[kind]].sum(axis=1) for kind in KINDS]
    )  # (kinds, rows)
    marginal = weights @ labels
    seen = marginal > 0.0
    found: dict[str, list[float]] = {"divergence": [], "drive": []}
    for i in range(len(run)):
        with torch.no_grad():
            outputs = torch.softmax(network(model, run.state(i), torch.float32)(sequences), dim=1).numpy()
        mean = weights @ outputs
        found["divergence"].append(float(marginal[seen] @ np.log(marginal[seen] / mean[seen])))
        found["drive"].append(float(cosine_matrix(kinds @ (labels - outputs))[0, 1]))
    return {name: np.array(values) for name, values in found.items()}


def attention_of(trained: Trajectory) -> Arrays:
    """The first attention of one run and its distance from the causal average, time first."""
    model, data = trained.model_and_data()
    sequences = torch.tensor(data.sequences[:: -(-len(data) // SAMPLE)])
    average = np.tril(np.ones((data.n_ctx, data.n_ctx))) / np.arange(1, data.n_ctx + 1)[:, None]
    rows: dict[str, list[Any]] = {"largest gap": [], "mean gap": [], "attention": []}
    for i in range(len(trained)):
        net: Any = network(model, trained.state(i), torch.float32)
        attention = net.patterns(sequences)[0].mean(axis=1)  # (m, T, T), over heads
        gap = np.abs(attention - average)[:, average > 0]
        for name, value in zip(rows, (gap.max(), gap.mean(), attention.mean(axis=0)), strict=True):
            rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()}


def values_of(trained: Trajectory) -> Arrays:
    """W_V of one run, anchors along its direction, and losses, time first."""
    model, data = trained.model_and_data()
    rows: dict[str, list[Any]] = {}
    for i in range(len(trained)):
        weights = trained.state(i)
        u, values, _ = np.linalg.svd(weights["blocks.0.W_V"])
        now = {"singular values": values}
        now |= {"predicted alignment": abs(u[:, 0] @ value_direction(model, data, weights))}
        now |= {f"training/{kind}": c for kind, c in direction_cosines(weights["W_E"], data, u[:, 0]).items()}
        for name, value in now.items():
            rows.setdefault(name, []).append(value)
    found = {name: np.array(values) for name, values in rows.items()}
    found |= {f"loss/{group}": trained.measured[f"loss/{group}"] for group in GROUPS}
    return found | drives(trained) | {"early": np.array(early_point(found["loss/reasoning-train"], data))}


def early_point(loss: np.ndarray, data: Dataset) -> int:
    """Saved point at which a network first knows more of reasoning than the frequencies of its labels; -1 if never."""
    return int(first_reached(loss < label_entropy(data, "reasoning-train")))


def crossing(arrays: Arrays, kind: str, side: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Divergences and saved points (n_seeds,) at which the mean drives of the kinds are first at right angles."""
    cosine, divergence = arrays[f"{kind}drive{side}"], arrays[f"{kind}divergence{side}"]
    return first_crossing(divergence, cosine, 0.0), first_reached(cosine <= 0.0)


def at_early(arrays: Arrays, name: str, kind: str = "") -> np.ndarray:
    """Values of every seed at its early point (n_seeds, ...); nan where there is none."""
    values, early = arrays[f"{kind}{name}"], arrays[f"{kind}early"]
    found = values[np.arange(len(early)), early].astype(float)
    found[early < 0] = np.nan
    return found
