"""One-layer transformer read at the last position (Def. 2 and A9 of arXiv 2502.04375)."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..algebra.matrices import apply, product, total, transpose
from ..algebra.nodes import Matrix, RowSoftmax
from ..algebra.scalars.activations import Activation
from ..data.inputs import C_MEAN, C_PAIR, D_HEAD, P_LAST, P_PAIR, T_PAIR, X_LAST, weight
from .model import Model


@dataclass(frozen=True)
class OneLayerTransformer(Model):
    """Single-head attention, residual, feed-forward; no LayerNorm (Def. 2, A9 of arXiv 2502.04375).

    With H the embeddings of the tokens a sequence holds and h those of its last token,
    u = softmax(h W_Q W_K^T H^T / sqrt(d_head)) H W_V W_O + h and f = s(u W_in) W_out + u, then f W_U if `unembed`.
    The softmax over positions is written over the distinct tokens, each weighted by its share of the sequence.

    Parameters
    ----------
    d_vocab, d_model, d_head, d_mlp, n_ctx : int
        Vocabulary size, width of the residual stream, of the head, of the hidden layer; tokens per sequence.
    activation : str or sympy.Expr
        As in `EmbMLP`.
    unembed : bool
        Whether logits are read through W_U (d_model, d_vocab). Without it they live in the residual stream, so labels
        must lie below d_model.
    positions : bool
        Whether a learned positional embedding W_pos (n_ctx, d_model) is added to the tokens'.
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer or the activation breaks Assumption 1.
    """

    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    activation: Activation | str | sp.Expr = "tanh"
    unembed: bool = True
    positions: bool = False

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E, W_Q, W_K, W_V, W_O, W_in, W_out, then W_U and W_pos if there are such."""
        return (
            weight("W_E", "d_vocab", "d_model"),
            *(weight(name, "d_model", "d_head") for name in ("W_Q", "W_K", "W_V")),
            weight("W_O", "d_head", "d_model"),
            weight("W_in", "d_model", "d_mlp"),
            weight("W_out", "d_mlp", "d_model"),
            *([weight("W_U", "d_model", "d_vocab")] if self.unembed else []),
            *([weight("W_pos", "n_ctx", "d_model")] if self.positions else []),
        )

    def role(self, name: str) -> str:
        """W_O and W_out add to the residual stream."""
        return "residual" if name in ("W_O", "W_out") else super().role(name)

    @property
    def logits(self) -> Matrix:
        """s(u W_in) W_out + u, unembedded if asked."""
        W = {w.name: w for w in self.weight_symbols}
        base, keys, last = C_MEAN, W["W_E"], product(X_LAST, W["W_E"])
        if self.positions:
            base = C_PAIR
            keys = total(product(T_PAIR, W["W_E"]), product(P_PAIR, W["W_pos"]))
            last = total(last, product(P_LAST, W["W_pos"]))
        scores = product(1 / sp.sqrt(D_HEAD), last, W["W_Q"], transpose(W["W_K"]), transpose(keys))
        u = total(product(RowSoftmax(scores, base), keys, W["W_V"], W["W_O"]), last)
        f = total(product(apply(self.activation, product(u, W["W_in"])), W["W_out"]), u)
        return product(f, W["W_U"]) if self.unembed else f
