"""Loss and accuracy by group, measured on the torch network while it trains; held-out rows included."""

from __future__ import annotations

import numpy as np
import torch

from ...theory.data.dataset import Dataset
from ...theory.models.spec import Spec
from .batches import CHUNK, CHUNK_PER_POSITION, LOSSES
from .networks import Network


class Measure:
    """What `sim.trajectory.observables.losses` computes from symbolic logits, for a network that has none.

    Parameters
    ----------
    model : Spec
        Says which labels belong to a sequence.
    data : Dataset
        All rows are evaluated.
    device : torch.device
        Where the network is.
    """

    def __init__(self, model: Spec, data: Dataset, device: torch.device) -> None:
        self.names = ["", *(f"/{group}" for group in data.group_names)]
        masks = [~data.held_out, *(data.groups == group for group in data.group_names)]
        shares = np.stack([np.where(mask, data.weights, 0.0) for mask in masks])
        self._shares = shares / shares.sum(axis=1, keepdims=True)  # (names, n)
        self._sequences = torch.tensor(data.sequences, device=device)
        labels = model.row_labels(data.sequences, data.labels)
        self._labels = torch.tensor(labels, device=device).reshape(len(data), -1)
        self._size = CHUNK_PER_POSITION if model.per_position else CHUNK
        self._loss = LOSSES[model.loss]

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
        f, flat = network(sequences), labels.flatten()
        right = (f[:, 0] > 0.0) == (flat > 0) if f.shape[1] == 1 else f.argmax(dim=1) == flat
        both = torch.stack([self._loss(f, flat).double(), right.double()])
        return both.unflatten(1, labels.shape).mean(dim=2).cpu().numpy()
