"""A decoder's closure as a network of its own, so that minibatches cost what they cost in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from ....theory.algebra.matrices import apply
from ....theory.algebra.nodes import Matrix
from ....theory.algebra.scale.expansion import truncated
from ....theory.base.errors import FieldError
from ....theory.flows.closure import EXACT, Closure
from ....theory.models.decoder import Decoder
from ..decoder_network import DecoderNetwork, DecoderPass
from ..torch_expression import evaluate


@dataclass(frozen=True)
class ClosureDecoder(Decoder):
    """The network whose gradient a closure of a decoder is, one that cuts activations and may average attention.

    A closure that keeps the loss whole is the gradient of the loss of its own logits. Trained on these it takes the
    steps that `integrate(..., method="steps", batch_size=, seed=)` takes on the derived flow, clipped if training is,
    at the cost of one minibatch a step instead of all data: the squares of single sequences' gradients, which a mean
    path needs, have no closed form where attention mixes the rows of a sequence.

    Parameters
    ----------
    closure : str
        Such as "softmax", "activation=3,attention=0" or "activation=3".

    Raises
    ------
    ValueError
        If the closure keeps activations whole, cuts the loss, or cuts attention anywhere but at the average.
    """

    closure: str = "softmax"

    def __post_init__(self) -> None:
        """Check the closure too."""
        super().__post_init__()
        kept = self.kept
        if not kept.whole_loss or kept.activation == EXACT or kept.attention not in (0, EXACT) or kept.linear:
            raise FieldError(
                "closure",
                f"{self.closure!r} has no network here: take softmax, activation=k or activation=k,attention=0.",
            )

    @classmethod
    def of(cls, model: Decoder, closure: str = "softmax") -> ClosureDecoder:
        """Return the network of a closure of a decoder."""
        return cls(**_fields(model), closure=closure)

    @property
    def kept(self) -> Closure:
        """The closure as an object that knows its parts."""
        return Closure.of(self.closure, Decoder(**_fields(self)))

    @property
    def logits(self) -> Matrix:
        """Those of the closure."""
        return self.kept.logits(Decoder(**_fields(self)))


def _fields(model: Decoder) -> dict[str, Any]:
    return {f.name: getattr(model, f.name) for f in fields(Decoder)}


class AveragePass(DecoderPass):
    """A forward pass whose scores are cut to zero: their softmax is the average of what is looked at."""

    def queries_and_keys(self, at: str, h: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Zeros of width 1; weights of queries and keys are not read."""
        zero = h.new_zeros(len(h), self.model.n_heads, h.shape[1], 1)
        return (zero[:, :, :1] if last else zero), zero


class ClosureDecoderNetwork(DecoderNetwork):
    """The twin of `ClosureDecoder`: a decoder whose activation, and perhaps attention, the closure has cut."""

    def __init__(
        self, model: ClosureDecoder, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__(model, start, dtype)
        kept = model.kept
        self._passes = DecoderPass if kept.attention == EXACT else AveragePass
        x = sp.MatrixSymbol("x", *sp.symbols("rows d_mlp", integer=True))
        polynomial = truncated(apply(model.activation, x), kept.truncation)
        self.activation = lambda entries: evaluate(polynomial, {x.name: entries}, {})
