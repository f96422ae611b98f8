"""The torch network of the decoder, written position by position: the twin of `smallinit.theory.Decoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...theory.data.positions import BASE
from ...theory.models.decoder import Decoder
from .torch_function import Function
from .twin import Network


class DecoderPass:
    """A forward pass over sequences (n, T).

    Padding is moved behind the tokens of its sequence, where causal attention never looks; what is computed there is
    not used.
    """

    def __init__(self, net: DecoderNetwork, sequences: Tensor) -> None:
        self.net, self.model, self.w = net, net.model, dict(net.named_parameters())
        self.sequences, self.lengths = sequences, None
        if self.model.padding is not None:
            padded = sequences == self.model.padding
            order = padded.to(torch.uint8).argsort(dim=1, stable=True)
            self.sequences, self.lengths = sequences.gather(1, order), (~padded).sum(dim=1)
            self.present = torch.arange(sequences.shape[1], device=sequences.device) < self.lengths[:, None]

    def embedded(self) -> Tensor:
        """The stream (n, T, d_model) before the first block."""
        x = F.embedding(self.sequences, self.w["W_E"])
        return x + self.w["W_pos"] if "W_pos" in self.w else x

    def block(self, l: int, x: Tensor, last: bool) -> Tensor:
        """Map the stream (n, T, d_model) to that after block l, at all positions or at the last one (n, 1, d_model)."""
        at, pre, post = f"blocks.{l}.", self.model.norm == "pre", self.model.norm == "post"
        h = self.normalised(x, f"{at}ln1") if pre else x
        x = (self.last(x) if last else x) + self.attention(at, h, last)
        x = self.normalised(x, f"{at}ln1") if post else x
        h = self.normalised(x, f"{at}ln2") if pre else x
        z = self.net.activation(self.shifted(h @ self.w[f"{at}W_in"], f"{at}b_in"))  # (n, T or 1, d_mlp)
        x = x + self.shifted(z @ self.w[f"{at}W_out"], f"{at}b_out")
        return self.normalised(x, f"{at}ln2") if post else x

    def attention(self, at: str, h: Tensor, last: bool) -> Tensor:
        """What attention adds to the stream (n, T or 1, d_model) where it reads h (n, T, d_model)."""
        q, k = self.queries_and_keys(at, h, last)
        v = self.heads(h @ self.w[f"{at}W_V"])  # (n, n_heads, T, d_head)
        mask = self.present[:, None, None] if last and self.lengths is not None else None
        z = F.scaled_dot_product_attention(q, k, v, mask, is_causal=not last)
        return z.transpose(1, 2).flatten(2) @ self.w[f"{at}W_O"]

    def queries_and_keys(self, at: str, h: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Queries (n, n_heads, T or 1, d_head) and keys (n, n_heads, T, d_head), turned where positions are rotary."""
        q = self.heads((self.last(h) if last else h) @ self.w[f"{at}W_Q"])
        k = self.heads(h @ self.w[f"{at}W_K"])
        return (self.turned(q, last), self.turned(k, False)) if self.model.positions == "rotary" else (q, k)

    def turned(self, y: Tensor, last: bool) -> Tensor:
        """Halves (a, b) of every row taken to (a cos - b sin, b cos + a sin)."""
        cos, sin = (t.expand(y.shape[0], -1, -1) for t in (self.net.cosines, self.net.sines))
        cos, sin = (self.last(t) if last else t for t in (cos, sin))
        a, b = y.chunk(2, dim=3)
        return y * cos[:, None] + torch.cat([-b, a], dim=3) * sin[:, None]

    def pattern(self, l: int, x: Tensor) -> Tensor:
        """Attention weights (n, n_heads, T, T) of block l on a stream (n, T, d_model)."""
        at = f"blocks.{l}."
        q, k = self.queries_and_keys(
            at, self.normalised(x, f"{at}ln1") if self.model.norm == "pre" else x, False
        )
        scores = q @ k.transpose(2, 3) / self.model.d_head**0.5
        future = torch.ones(scores.shape[2:], dtype=torch.bool, device=x.device).triu(1)
        return torch.softmax(scores.masked_fill(future, -torch.inf), dim=3)

    def normalised(self, x: Tensor, name: str) -> Tensor:
        """LayerNorm or RMSNorm of every row, with the gain and the shift that there are."""
        gain, shift = (None if (p := self.w.get(f"{name}.{part}")) is None else p[0] for part in "wb")
        if self.model.norm_kind == "layer":
            return F.layer_norm(x, x.shape[-1:], gain, shift, self.model.norm_eps)
        return F.rms_norm(x, x.shape[-1:], gain, self.model.norm_eps)

    def shifted(self, x: Tensor, name: str) -> Tensor:
        """The rows of x plus the bias of that name, if there is one."""
        return x + self.w[name] if name in self.w else x

    def heads(self, y: Tensor) -> Tensor:
        """Split (n, T, n_heads d_head) into (n, n_heads, T, d_head)."""
        return y.unflatten(2, (self.model.n_heads, self.model.d_head)).transpose(1, 2)

    def last(self, x: Tensor) -> Tensor:
        """Last position (n, 1, k) that is no padding, of (n, T, k)."""
        if self.lengths is None:
            return x[:, -1:]
        return x.gather(1, (self.lengths - 1)[:, None, None].expand(-1, 1, x.shape[2]))

    def rows(self, x: Tensor) -> Tensor:
        """Rows of the logits of a stream: all that there are, without padding."""
        ragged = self.model.per_position and self.lengths is not None
        return x[self.present] if ragged else x.flatten(0, 1)


class DecoderNetwork(Network):
    """Decoder-only transformer with causal attention: the twin of `smallinit.theory.Decoder`."""

    _passes: type[DecoderPass] = DecoderPass
    activation: Function
    cosines: Tensor
    sines: Tensor

    def __init__(self, model: Decoder, start: Mapping[str, Any], dtype: torch.dtype = torch.float64) -> None:
        super().__init__(model, start, dtype)
        angles = torch.zeros(0, dtype=torch.float64)
        if model.positions == "rotary":
            half = model.d_head // 2
            rates = BASE ** (-torch.arange(half, dtype=torch.float64) / half)
            angles = torch.outer(torch.arange(model.n_ctx), rates).repeat(1, 2)  # (n_ctx, d_head)
        self.register_buffer("cosines", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sines", angles.sin().to(dtype), persistent=False)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return N(x) W_U + b_U, at the last positions (n, d_vocab) or at all but padding (n_all, d_vocab)."""
        model, run = self.model, self._passes(self, sequences)
        x, final = run.embedded(), model.n_layers - 1
        for l in range(model.n_layers):
            x = run.block(l, x, last=l == final and not model.per_position)
        x = run.rows(x)  # (n or n_all, d_model)
        x = run.normalised(x, "ln_final") if model.norm == "pre" else x
        return run.shifted(x @ (run.w["W_E"].T if model.tied else run.w["W_U"]), "b_U")

    @torch.no_grad()
    def patterns(self, sequences: Tensor) -> list[np.ndarray]:
        """Attention weights of every block on sequences (n, T) without padding, each (n, n_heads, T, T)."""
        run, found = self._passes(self, sequences), []
        x = run.embedded()
        for l in range(self.model.n_layers):
            found.append(run.pattern(l, x).cpu().numpy())
            x = run.block(l, x, last=False)
        return found
