"""The real torch networks: one twin per theory model, weights with the same names and shapes.

Any model gets its twin from its symbolic logits. Those of `TWINS` have one written by hand besides, position by
position, the way a network is, where the theory speaks of bags of tokens. By it small batches
and above all attention at every position are faster, and no row is as wide as the vocabulary for each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag, one_hot

from ... import theory
from ...theory.algebra.sizes import dimension_sizes
from ...theory.base.arrays import full_array
from ...theory.flows.powers import model_logits
from ...theory.models.model import Model
from .decoder_network import DecoderNetwork
from .decoders.closure_decoder import ClosureDecoder, ClosureDecoderNetwork
from .torch_expression import evaluate
from .twin import Network


class EmbMLPNetwork(Network):
    """Sum of embeddings through one hidden layer: the twin of `smallinit.theory.EmbMLP`."""

    def forward(self, sequences: Tensor) -> Tensor:
        """Return s(sum of embeddings W_in) W_out."""
        h = embedding_bag(sequences, self.W_E, mode="sum")  # (n, d_model)
        z = self.activation(h @ self.W_in)  # (n, d_mlp)
        return z @ self.W_out  # (n, d_vocab)


class EmbedUnembedNetwork(Network):
    """Sum of embeddings, unembedded: the twin of `smallinit.theory.EmbedUnembed`."""

    def forward(self, sequences: Tensor) -> Tensor:
        """Return (sum of embeddings) W_U."""
        return embedding_bag(sequences, self.W_E, mode="sum") @ self.W_U  # (n, d_vocab)


class TwoTokenMLPNetwork(Network):
    """Two untied tokens through one hidden layer: the twin of `smallinit.theory.TwoTokenMLP`."""

    W_E1: Tensor
    W_E2: Tensor

    def forward(self, sequences: Tensor) -> Tensor:
        """Return s(W_E1[first] + W_E2[second]) W_out."""
        h = embedding(sequences[:, 0], self.W_E1) + embedding(sequences[:, 1], self.W_E2)  # (n, d_mlp)
        return self.activation(h) @ self.W_out  # (n, d_vocab)


class OneLayerTransformerNetwork(Network):
    """Attention at the last position, residual, MLP: the twin of `smallinit.theory.OneLayerTransformer`."""

    W_pos: Tensor

    def forward(self, sequences: Tensor) -> Tensor:
        """Return s(u W_in) W_out + u, unembedded if the model says so."""
        x = embedding(sequences, self.W_E)  # (n, n_ctx, d_model)
        if self.model.positions:
            x = x + self.W_pos
        h = x[:, -1]  # (n, d_model)
        q = h @ self.W_Q @ self.W_K.T  # (n, d_model): only the last row asks, so keys need not be formed
        scores = x @ q.unsqueeze(2)  # (n, n_ctx, 1)
        a = torch.softmax(scores / self.model.d_head**0.5, dim=1)
        read = (a.transpose(1, 2) @ x).squeeze(1)  # (n, d_model), averaged before the values
        u = read @ self.W_V @ self.W_O + h  # (n, d_model)
        f = self.activation(u @ self.W_in) @ self.W_out + u
        return f @ self.W_U if self.model.unembed else f


class ScalarClassifierNetwork(Network):
    """Attention over one-hot tokens, one output: the twin of `smallinit.theory.ScalarClassifier`."""

    def forward(self, sequences: Tensor) -> Tensor:
        """Return s(Attn(X) W_in) W_out."""
        q = embedding(sequences[:, -1], self.W_Q)  # (n, d_head)
        scores = embedding(sequences, self.W_K) @ q.unsqueeze(2)  # (n, n_ctx, 1)
        v = (torch.softmax(scores, dim=1) * embedding(sequences, self.W_V)).sum(dim=1)  # (n, d_model)
        return self.activation(v @ self.W_in) @ self.W_out  # (n, 1)


class AttentionOnlyNetwork(Network):
    """Causal attention on a one-hot stream, all positions: the twin of `smallinit.theory.AttentionOnly`."""

    def forward(self, sequences: Tensor) -> Tensor:
        """Return h_L W_U of every position, (n n_ctx, d_vocab)."""
        T = sequences.shape[1]
        position = torch.arange(T, device=sequences.device)
        distance = position[:, None] - position
        h = one_hot(sequences, self.model.d_vocab).to(self.W_U.dtype)  # (n, T, d_vocab)
        for l in range(1, self.model.n_layers + 1):
            W_QK, w_pos, W_OV = (getattr(self, f"{name}_{l}") for name in ("W_QK", "w_pos", "W_OV"))
            scores = h @ W_QK @ h.transpose(1, 2) + w_pos[distance.clamp(min=0), 0]  # (n, T, T)
            a = torch.softmax(scores.masked_fill(distance < 0, -torch.inf), dim=2)
            h = h + a @ h @ W_OV
        return (h @ self.W_U).flatten(0, 1)


class SymbolicNetwork(Network):
    """The twin of any model: its symbolic logits, evaluated by torch."""

    def __init__(
        self, model: theory.Model, start: Mapping[str, Any], dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__(model, start, dtype)
        self.dtype = dtype
        self._expression = model_logits(model)
        self._seen: dict[int, tuple[Tensor, Tensor, dict[str, Tensor], dict]] = {}

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the logits (rows, outputs)."""
        values, sizes = self._inputs(sequences)
        return evaluate(self._expression, values | dict(self.named_parameters()), sizes)

    def _inputs(self, sequences: Tensor) -> tuple[dict[str, Tensor], dict]:
        """Data matrices of a batch; those of the same tensor are built once (full batches come again every step)."""
        seen = self._seen.get(id(sequences))
        if seen is None or not torch.equal(seen[1], sequences):  # somebody may have written to the tensor
            kept = sequences.clone()
            arrays = self.model.inputs(np.array(kept.cpu().numpy()))  # a copy: `inputs` is the user's own
            values = {
                name: torch.tensor(full_array(a), dtype=self.dtype, device=sequences.device)
                for name, a in arrays.items()
            }
            sizes = self.model.sizes | dimension_sizes(self._expression, arrays)
            if len(self._seen) > 64:  # minibatches never come again
                self._seen.clear()
            seen = (sequences, kept, values, sizes)  # the tensor is kept, so that its id stays its own
            self._seen[id(sequences)] = seen
        return seen[2:]


TWINS: dict[type, type[Network]] = {
    theory.EmbMLP: EmbMLPNetwork,
    theory.EmbedUnembed: EmbedUnembedNetwork,
    theory.TwoTokenMLP: TwoTokenMLPNetwork,
    theory.OneLayerTransformer: OneLayerTransformerNetwork,
    theory.ScalarClassifier: ScalarClassifierNetwork,
    theory.AttentionOnly: AttentionOnlyNetwork,
    theory.Decoder: DecoderNetwork,
    ClosureDecoder: ClosureDecoderNetwork,
}


def network(model: Model, start: Mapping[str, Any], dtype: torch.dtype = torch.float64) -> Network:
    """Build the torch network of a spec, which for a theory model is its twin.

    Parameters
    ----------
    model : Model
        Any model: those in `TWINS` have a network of their own, others are evaluated from their symbolic logits.
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
        If `start` does not fit the model.
    """
    twin: Any = TWINS.get(type(model), SymbolicNetwork)
    return twin(model, start, dtype)
