"""The real torch networks: one twin per theory model, weights with the same names and shapes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..theory import model as theory
from ._activation import torch_function


class Network(nn.Module):
    """Base of the twins: one parameter per weight of the theory model, started where the theory starts.

    Parameters
    ----------
    model : theory.Model
        The spec.
    start : mapping
        Weight name -> initial value, the shapes of `model.weights`.
    dtype : torch.dtype
        Precision of the weights; float64 unless asked otherwise.
    """

    def __init__(
        self, model: theory.Model, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        for name, value in model.validate(start).items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=dtype)))

    @abstractmethod
    def forward(self, sequences: Tensor) -> Tensor:
        """Map token sequences (n, n_ctx) to logits (n, d_vocab)."""

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the weights out as float64 arrays."""
        return {name: p.detach().numpy().astype(np.float64) for name, p in self.named_parameters()}


class EmbMLP(Network):
    """Sum of embeddings through one hidden layer: the twin of `smallinit.theory.EmbMLP`."""

    W_E: Tensor
    W_in: Tensor
    W_out: Tensor

    def __init__(
        self, model: theory.EmbMLP, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__(model, start, dtype)
        s = theory.Activation.of(model.activation)
        self.activation = torch_function(s.expr, s.symbol)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return s(sum of embeddings W_in) W_out."""
        h = nn.functional.embedding_bag(sequences, self.W_E, mode="sum")  # (n, d_model)
        z = self.activation(h @ self.W_in)  # (n, d_mlp)
        return z @ self.W_out  # (n, d_vocab)


# A new model needs its theory class, its torch class and one line here.
TWINS: dict[type, type[Network]] = {theory.EmbMLP: EmbMLP}


def network(model: theory.Model, start: Mapping[str, Any], dtype: torch.dtype = torch.float64) -> Network:
    """Build the torch twin of a theory model.

    Parameters
    ----------
    model : theory.Model
        A model whose class is in `TWINS`.
    start : mapping
        Weight name -> initial value.
    dtype : torch.dtype
        Precision of the weights.

    Returns
    -------
    Network
        Its logits at `start` are the model's.

    Raises
    ------
    ValueError
        If the model has no twin or `start` does not fit it.
    """
    if type(model) not in TWINS:
        known = ", ".join(kind.__name__ for kind in TWINS)
        raise ValueError(
            f"`model` must be one of {known}, got {type(model).__name__}: register its torch twin in "
            "`smallinit.compare.networks.TWINS`."
        )
    return TWINS[type(model)](model, start, dtype)
