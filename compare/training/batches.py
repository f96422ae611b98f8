"""Rows as torch tensors, made once: the loss of those trained on, their weighted mean, and measures of all."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from ...sim.optimizers.minibatches import drawn_rows
from ...theory.base.arrays import full_array
from ...theory.data.dataset import Dataset
from ...theory.data.inputs import ROWS
from ...theory.models.losses import OUTPUTS, find_loss
from ...theory.models.model import Model
from ...theory.models.spec import Spec
from .networks import Network
from .torch_expression import evaluate

# Rows per forward and backward pass, so that memory does not grow with the data. At paper size on 2 idle
# cores the step takes .30 s, in one piece .32 s, in pieces of 512 rows .27 s; but on a busy machine small
# pieces spend the step waiting for each other's threads (up to 7x slower). The order of sums is fixed.
CHUNK = 4096
CHUNK_PER_POSITION = 256  # a model with a logit at every position may hold (rows, rows) arrays
# Sequences (m, n_ctx), labels (m, most rows of a sequence), NO_ROW where one has fewer, weights (m,).
Chunk = tuple[Tensor, Tensor, Tensor]
NO_ROW = -1


class Batches:
    """The full batch, or minibatches drawn with replacement from the row weights.

    Parameters
    ----------
    model : Model
        Says which labels belong to a sequence.
    data : Dataset
        Held-out rows take no part.
    dtype : torch.dtype
        Precision of the weights.
    batch_size : int or None
        None for the full batch.
    seed : int
        Of the minibatches.
    device : torch.device
        Where the network is.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        dtype: torch.dtype,
        batch_size: int | None,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        rows = ~data.held_out
        weights = data.weights[rows]  # sum to 1
        self._sequences = torch.tensor(data.sequences[rows], dtype=torch.int64, device=device)
        labels = label_table(model, data.sequences[rows], data.labels[rows])
        self._labels = torch.tensor(labels, dtype=torch.int64, device=device)
        self._size = CHUNK_PER_POSITION if model.per_position else CHUNK
        self._weights = torch.tensor(weights, dtype=dtype, device=device)
        self._cumulated = np.cumsum(weights)
        self._batch_size = batch_size
        self.rng = np.random.default_rng(np.random.SeedSequence(seed))
        self._all = self._chunks(self._sequences, self._labels, self._weights)

    def draw(self) -> list[Chunk]:
        """Return the chunks of the next batch; their weights sum to 1."""
        if self._batch_size is None:
            return self._all
        drawn = drawn_rows(self._cumulated, self._batch_size, self.rng)
        rows = torch.from_numpy(drawn).to(self._labels.device)
        weights = self._weights.new_full((self._batch_size,), 1.0 / self._batch_size)
        return self._chunks(self._sequences[rows], self._labels[rows], weights)

    def full(self) -> list[Chunk]:
        """Return the chunks of all training rows."""
        return self._all

    def _chunks(self, *tensors: Tensor) -> list[Chunk]:
        return list(zip(*(tensor.split(self._size) for tensor in tensors), strict=True))


def label_table(model: Model, sequences: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of the rows of each sequence (m, most rows), NO_ROW after the last of one that has fewer."""
    counts = model.row_counts(sequences)
    table = np.full((len(counts), counts.max(initial=1)), NO_ROW)
    table[np.arange(table.shape[1]) < counts[:, None]] = model.row_labels(sequences, labels)
    return table


def loss(network: Network, chunk: Chunk) -> Tensor:
    """Weighted loss of one chunk, cross-entropies in nats; chunks add up to the batch's weighted mean."""
    sequences, labels, weights = chunk
    flat, counts = labels.flatten(), labels.shape[1]
    if getattr(network.model, "padding", None) is not None:
        flat, counts = flat[flat != NO_ROW], (labels != NO_ROW).sum(dim=1)
    rows = row_losses(network.model, network(sequences), flat)
    return rows @ (weights / counts).repeat_interleave(counts)


# Losses that torch has in one piece, which needs no targets written out; others follow from their expressions.
FUSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": partial(nn.functional.cross_entropy, reduction="none")
}


def row_losses(model: Spec, logits: Tensor, labels: Tensor) -> Tensor:
    """Loss (m,) of each row of logits (m, outputs) with integer labels (m,)."""
    if model.loss in FUSED:
        return FUSED[model.loss](logits, labels)
    m, outputs = logits.shape
    values = {"f": logits, "Y": _targets(model.loss, outputs, logits.dtype, logits.device)[labels]}
    return evaluate(model.loss_function.column, values, {ROWS: m, OUTPUTS: outputs})[:, 0]


@lru_cache(maxsize=16)
def _targets(loss: str, outputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Targets (labels, outputs) of every label."""
    table = find_loss(loss).targets(np.arange(max(outputs, 2)), outputs)
    return torch.tensor(full_array(table), dtype=dtype, device=device)


def loss_and_gradient(network: Network, chunks: list[Chunk]) -> float:
    """Return the loss of a batch and leave its gradient in the parameters' ``grad``: zeros where it is not read."""
    network.zero_grad(set_to_none=True)
    total = 0.0
    for chunk in chunks:
        part = loss(network, chunk)
        part.backward()
        total += part.item()
    for p in network.parameters():
        if p.grad is None:  # an optimizer of torch's would pass it over: no decay, and no moments to keep
            p.grad = torch.zeros_like(p)
    return total


@torch.no_grad()
def full_loss(network: Network, batches: Batches) -> float:
    """Loss of all training rows, without gradients."""
    return sum(loss(network, chunk).item() for chunk in batches.full())


class Measure:
    """What `sim.trajectory.observables.losses` computes from weights, of a network whose weights are not kept.

    Parameters
    ----------
    model : Model
        Says which labels belong to a sequence.
    data : Dataset
        All rows are evaluated.
    device : torch.device
        Where the network is.
    """

    def __init__(self, model: Model, data: Dataset, device: torch.device) -> None:
        self.names = ["", *(f"/{group}" for group in data.group_names)]
        masks = [~data.held_out, *(data.groups == group for group in data.group_names)]
        shares = np.stack([np.where(mask, data.weights, 0.0) for mask in masks])
        self._shares = shares / shares.sum(axis=1, keepdims=True)  # (names, n)
        self._sequences = torch.tensor(data.sequences, device=device)
        labels = label_table(model, data.sequences, data.labels)
        self._labels = torch.tensor(labels, device=device)
        self._size = CHUNK_PER_POSITION if model.per_position else CHUNK
        self._model = model

    @property
    def observables(self) -> list[str]:
        """Names of what is returned."""
        return [f"{kind}{name}" for kind in ("loss", "accuracy") for name in self.names]

    @torch.no_grad()
    def __call__(self, network: Network) -> dict[str, float]:
        """Return ``loss``, ``accuracy`` and those of the groups."""
        parts = zip(self._sequences.split(self._size), self._labels.split(self._size), strict=True)
        rows = np.concatenate([self._rows(network, *part) for part in parts], axis=1)  # (2, n)
        return dict(zip(self.observables, (rows @ self._shares.T).ravel().tolist(), strict=True))

    def _rows(self, network: Network, sequences: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        """Mean loss and accuracy (2, m) of each sequence."""
        f, present = network(sequences), labels != NO_ROW
        flat = labels[present]
        right = (f[:, 0] > 0.0) == (flat > 0) if f.shape[1] == 1 else f.argmax(dim=1) == flat
        both = torch.stack([row_losses(self._model, f, flat).double(), right.double()])
        rows = both.new_zeros(2, *labels.shape)
        rows[:, present] = both
        return (rows.sum(dim=2) / present.sum(dim=1)).cpu().numpy()
