"""What all torch twins have in common: the parameters, named and started as the theory's weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import theory
from .torch_function import torch_function


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

    W_E: Tensor
    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    W_in: Tensor
    W_out: Tensor
    W_U: Tensor

    def __init__(
        self, model: theory.Model, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        self.model: Any = model
        for name, value in model.validate(start).items():
            *path, leaf = name.split(".")  # blocks.0.W_Q lies in modules of modules, as torch has it
            module: nn.Module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(leaf, nn.Parameter(torch.tensor(value, dtype=dtype)))
        if hasattr(model, "activation"):
            s = theory.Activation.of(self.model.activation)
            self.activation = torch_function(s.expr, s.symbol)

    @abstractmethod
    def forward(self, sequences: Tensor) -> Tensor:
        """Map token sequences (n, n_ctx) to logits (rows, outputs)."""

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the weights out as float64 arrays."""
        return {name: p.detach().cpu().numpy().astype(np.float64) for name, p in self.named_parameters()}
