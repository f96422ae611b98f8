"""A decoder's closure as a network of its own, so that minibatches cost what they cost in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from ....theory import Activation
from ....theory.algebra.nodes import Matrix
from ....theory.algebra.scalars.series_at_zero import taylor
from ....theory.base.errors import FieldError
from ....theory.flows.closure import EXACT, Closure
from ....theory.models.decoder import Decoder
from ..decoder_network import DecoderNetwork, DecoderPass
from ..torch_function import torch_function


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


class ClosurePass(DecoderPass):
    """A forward pass with the uniform average in place of attention."""

    def attention(self, at: str, h: Tensor, last: bool) -> Tensor:
        """As in a decoder, queries and keys unread."""
        seen = torch.arange(1, h.shape[1] + 1, dtype=h.dtype, device=h.device)
        mean = h.cumsum(dim=1) / seen[:, None]
        return (self.last(mean) if last else mean) @ self.w[f"{at}W_V"] @ self.w[f"{at}W_O"]


class ClosureDecoderNetwork(DecoderNetwork):
    """The twin of `ClosureDecoder`: a Taylor polynomial for the activation, perhaps averages for attention."""

    def __init__(
        self, model: ClosureDecoder, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__(model, start, dtype)
        kept = model.kept
        self.passes = DecoderPass if kept.attention == EXACT else ClosurePass
        s = Activation.unscaled(model.activation)
        degree = kept.truncation.degree(s.lambda_())
        terms = [c * s.symbol**i for i, c in enumerate(taylor(s.lambda_(), int(degree)))]
        self.activation = torch_function(sp.Add(*terms), s.symbol)
