"""The decoder-only transformer of the real experiments: no theory of its own, the same training as every model.

Names of weights follow TransformerLens. All are matrices: heads stand side by side in W_Q, W_K, W_V (d_model, n_heads
d_head) and one below another in W_O (n_heads d_head, d_model); gains and shifts of LayerNorms are single rows. Other
biases there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...theory.base.validate import choice, positive
from ...theory.data.dataset import Dataset
from ...theory.models.spec import Spec
from .batches import Batches, loss_and_gradient
from .networks import TWINS, Network

LAYER_NORMS = ("pre", "post")
ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class Decoder(Spec):
    """Decoder-only transformer with learned positions (the full model of arXiv 2502.04375).

    Parameters
    ----------
    d_vocab, d_model, d_head, d_mlp, n_ctx : int
        Vocabulary size, width of the residual stream, of a head, of the hidden layers; tokens per sequence.
    n_layers, n_heads : int
        Blocks, and heads per block.
    layer_norm : {"pre", "post"} or None
        Before each half of a block and before the unembedding, or after each half's residual sum, or not at all.
    positions : bool
        Whether a learned positional embedding W_pos (n_ctx, d_model) is added to the tokens'.
    activation : {"gelu", "relu", "tanh"}
        Of the hidden layers, not rescaled (unlike the theory's "gelu", of slope 1 at 0).
    next_token : bool
        Whether the loss is the mean over all positions, each predicting the next token and the last one the label;
        by default it is that of the label at the last position.
    layer_norm_eps : float
        What a LayerNorm adds to the variance that it divides by; with small weights it may outweigh it.
    loss : str
        See `Spec`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer or a choice is unknown.
    """

    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    n_layers: int = 2
    n_heads: int = 1
    layer_norm: str | None = "pre"
    positions: bool = True
    activation: str = "gelu"
    next_token: bool = False
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        """Check the dimensions and the choices."""
        super().__post_init__()
        choice("activation", self.activation, tuple(ACTIVATIONS))
        if self.layer_norm is not None:
            choice("layer_norm", self.layer_norm, LAYER_NORMS)
        object.__setattr__(self, "layer_norm_eps", positive("layer_norm_eps", self.layer_norm_eps))

    @property
    def weights(self) -> dict[str, tuple[int, int]]:
        """W_E, W_pos, the blocks', W_U; with the LayerNorms' gains w and shifts b where they act."""
        d, heads = self.d_model, self.n_heads * self.d_head
        attention = {"W_Q": (d, heads), "W_K": (d, heads), "W_V": (d, heads), "W_O": (heads, d)}
        hidden = {"W_in": (d, self.d_mlp), "W_out": (self.d_mlp, d)}
        block = self._norm("ln1") | attention | self._norm("ln2") | hidden
        shapes = {"W_E": (self.d_vocab, d)} | ({"W_pos": (self.n_ctx, d)} if self.positions else {})
        shapes |= {f"blocks.{l}.{name}": size for l in range(self.n_layers) for name, size in block.items()}
        return (
            shapes | (self._norm("ln_final") if self.layer_norm == "pre" else {}) | {"W_U": (d, self.d_vocab)}
        )

    def _norm(self, name: str) -> dict[str, tuple[int, int]]:
        return {f"{name}.{p}": (1, self.d_model) for p in "wb"} if self.layer_norm else {}

    @property
    def outputs(self) -> int:
        """Number of logits per row."""
        return self.d_vocab

    @property
    def per_position(self) -> bool:
        """Whether the loss is that of the next token at every position."""
        return self.next_token

    @property
    def positions_read(self) -> int:
        """How many positions of a sequence the widest weights are applied to: all of them."""
        return self.n_ctx

    @property
    def precision(self) -> str:
        """float32: training a network without theory beside it needs no more."""
        return "float32"

    def block(self, name: str) -> str:
        """Block that a weight belongs to, for `init`: "embed", "positions", "blocks.0", ..., "unembed"."""
        outer = {"W_E": "embed", "W_pos": "positions", "W_U": "unembed", "ln_final": "unembed"}
        first, *rest = name.split(".")
        return outer[first] if first in outer else f"{first}.{rest[0]}"

    def role(self, name: str) -> str:
        """W_O and W_out of each block add to the residual stream."""
        return "residual" if name.endswith((".W_O", ".W_out")) else super().role(name)

    def init(
        self, gamma: float | Mapping[str, float], seed: int, convention: str = "rows"
    ) -> dict[str, np.ndarray]:
        """Draw initial weights, see `Spec.init`; LayerNorms start at gain 1 and shift 0."""
        drawn = super().init(gamma, seed, convention)
        constant = {"w": 1.0, "b": 0.0}
        return {
            name: np.full(value.shape, constant[kind])
            if (kind := name.rpartition(".")[2]) in constant
            else value
            for name, value in drawn.items()
        }

    def signals(
        self, weights: Mapping[str, np.ndarray], sequences: np.ndarray
    ) -> dict[tuple[str, str], np.ndarray]:
        """Values in a forward pass by (block, kind), in float64; see `smallinit.sim.scales`."""
        found = DecoderNetwork(self, weights, torch.float64).signals(torch.tensor(sequences))
        return {place: values.numpy() for place, values in found.items()}

    def gradient(self, data: Dataset, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Gradient of the training loss by weight, in float64."""
        network = DecoderNetwork(self, weights, torch.float64)
        loss_and_gradient(network, Batches(self, data, torch.float64, None, 0).full())
        return {name: p.grad.numpy().copy() for name, p in network.named_parameters() if p.grad is not None}


class LayerNorm(nn.Module):
    """Normalise each position, then scale and shift."""

    def __init__(self, w: Tensor, b: Tensor, eps: float) -> None:
        super().__init__()
        self.w, self.b, self.eps = nn.Parameter(w), nn.Parameter(b), eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d_model) to the same shape."""
        return F.layer_norm(x, x.shape[-1:], self.w[0], self.b[0], self.eps)


class DecoderBlock(nn.Module):
    """Causal attention, then a hidden layer, each added to the stream."""

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    W_in: Tensor
    W_out: Tensor

    def __init__(self, model: Decoder, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.activation = model, ACTIVATIONS[model.activation]
        for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"):
            self.register_parameter(name, nn.Parameter(weights[name]))
        self.ln1, self.ln2 = (_norm(model, weights, name) for name in ("ln1", "ln2"))
        self.pre, self.post = model.layer_norm == "pre", model.layer_norm == "post"

    def forward(self, x: Tensor, last: bool = False) -> Tensor:
        """Map the stream (n, T, d_model) to the same shape, or to its last position (n, 1, d_model)."""
        h = self.ln1(x) if self.pre else x
        x = (x[:, -1:] if last else x) + self.attention(h, last)
        x = self.ln1(x) if self.post else x
        h = self.ln2(x) if self.pre else x
        x = x + self.activation(h @ self.W_in) @ self.W_out
        return self.ln2(x) if self.post else x

    def attention(self, h: Tensor, last: bool) -> Tensor:
        """What attention adds to the stream (n, T or 1, d_model)."""
        q = self.heads((h[:, -1:] if last else h) @ self.W_Q)  # (n, n_heads, T or 1, d_head)
        k, v = self.heads(h @ self.W_K), self.heads(h @ self.W_V)  # (n, n_heads, T, d_head)
        z = F.scaled_dot_product_attention(q, k, v, is_causal=not last)
        return z.transpose(1, 2).flatten(2) @ self.W_O

    def pattern(self, x: Tensor) -> Tensor:
        """Attention weights (n, n_heads, T, T) on a stream (n, T, d_model)."""
        scores, future = self.scores(self.ln1(x) if self.pre else x)
        return torch.softmax(scores.masked_fill(future, -torch.inf), dim=3)

    def scores(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (n, n_heads, T, T) of what attention reads (n, T, d_model), and which of them lie ahead (T, T)."""
        q, k = self.heads(h @ self.W_Q), self.heads(h @ self.W_K)
        scores = q @ k.transpose(2, 3) / self.model.d_head**0.5  # (n, n_heads, T, T)
        return scores, torch.ones(scores.shape[2:], dtype=torch.bool, device=h.device).triu(1)

    def signals(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Kind and values of what a stream (n, T, d_model) meets on its way; variances before they are divided by."""
        scores, future = self.scores(self.ln1(x) if self.pre else x)
        shares = (~future).to(x.dtype) / (~future).sum(dim=1, keepdim=True)
        yield "stream", x
        yield "scores", (scores - (shares * scores).sum(dim=3, keepdim=True))[..., ~future]
        middle = x + self.attention(self.ln1(x) if self.pre else x, last=False)
        normed = (x, middle) if self.pre else (middle,) if self.post else ()
        middle = self.ln1(middle) if self.post else middle
        hidden = (self.ln2(middle) if self.pre else middle) @ self.W_in
        yield "pre-activations", hidden
        if self.post:
            normed = (*normed, middle + self.activation(hidden) @ self.W_out)
        if normed:
            yield "variance", torch.stack([v.var(dim=2, unbiased=False) for v in normed])

    def heads(self, y: Tensor) -> Tensor:
        """Split (n, T, n_heads d_head) into (n, n_heads, T, d_head)."""
        return y.unflatten(2, (self.model.n_heads, self.model.d_head)).transpose(1, 2)


class DecoderNetwork(Network):
    """The network of a `Decoder`."""

    W_pos: Tensor
    blocks: Any  # nn.ModuleList of DecoderBlock

    def __init__(self, model: Decoder, start: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> None:
        nn.Module.__init__(self)
        self.model = model
        weights = {name: torch.tensor(value, dtype=dtype) for name, value in model.validate(start).items()}
        for name, value in weights.items():
            if "." not in name:
                self.register_parameter(name, nn.Parameter(value))
        inner = [f"blocks.{l}." for l in range(model.n_layers)]
        self.blocks = nn.ModuleList(DecoderBlock(model, _below(weights, prefix)) for prefix in inner)
        self.ln_final = _norm(model, weights, "ln_final")

    def embed(self, sequences: Tensor) -> Tensor:
        """Map tokens (n, T) to the stream before the first block (n, T, d_model)."""
        x = F.embedding(sequences, self.W_E)
        return x + self.W_pos if self.model.positions else x

    def forward(self, sequences: Tensor) -> Tensor:
        """Logits at the last position (n, d_vocab), or at all of them (n T, d_vocab) if the model predicts there."""
        x = self.embed(sequences)  # (n, T, d_model)
        *inner, final = self.blocks
        for block in inner:
            x = block(x)
        x = self.ln_final(final(x, last=not self.model.next_token))  # (n, T or 1, d_model)
        return x.flatten(0, 1) @ self.W_U

    @torch.no_grad()
    def signals(self, sequences: Tensor) -> dict[tuple[str, str], Tensor]:
        """Values in a forward pass over sequences (n, T), by block and kind, see `smallinit.sim.scales`."""
        x = self.embed(sequences)
        found = {("ends", "embedding"): F.embedding(sequences, self.W_E)}
        for l, block in enumerate(self.blocks):
            found |= {(f"blocks.{l}", kind): values for kind, values in block.signals(x)}
            x = block(x)
        if self.model.layer_norm == "pre":
            found["ends", "variance"] = x.var(dim=2, unbiased=False)
        return found | {("ends", "logits"): self(sequences)}

    @torch.no_grad()
    def patterns(self, sequences: Tensor) -> list[np.ndarray]:
        """Attention weights of every block on sequences (n, T), each (n, n_heads, T, T)."""
        x, found = self.embed(sequences), []
        for block in self.blocks:
            found.append(block.pattern(x).cpu().numpy())
            x = block(x)
        return found


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def _norm(model: Decoder, weights: Mapping[str, Tensor], name: str) -> nn.Module:
    """The LayerNorm of that name, or nothing where there is none."""
    found = _below(weights, f"{name}.")
    return LayerNorm(**found, eps=model.layer_norm_eps) if found else nn.Identity()


TWINS[Decoder] = DecoderNetwork
