"""Attention layers on a one-hot residual stream (arXiv 2601.19208)."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..algebra.matrices import diagonal, product, total, transpose
from ..algebra.nodes import Matrix, RowSoftmax
from ..data.inputs import A_CAUSAL, P_ALL, P_KEY, P_OFFSET, P_QUERY, X_ALL, weight
from .model import Model


@dataclass(frozen=True)
class AttentionOnly(Model):
    """Causal attention layers on a one-hot residual stream, next-token loss everywhere (arXiv 2601.19208).

    h_0 = X, h_l = h_{l-1} + softmax(mask(h_{l-1} W_QK_l h_{l-1}^T + b_l)) h_{l-1} W_OV_l, f = h_L W_U, where
    b_l[i, j] = w_pos_l[i - j] depends on the distance alone. In the paper's letters W_QK_l is W, W_OV_l is V, W_U is
    W_O and w_pos_l is P.

    Parameters
    ----------
    d_vocab, n_ctx : int
        Vocabulary size, which is also the width of the residual stream; tokens per sequence.
    n_layers : int
        Number of attention layers.
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer.
    """

    n_ctx: int
    n_layers: int = 1

    @property
    def per_position(self) -> bool:
        """The next token is predicted at every position."""
        return True

    @property
    def driven(self) -> tuple[str, ...]:
        """The output matrix, the first to move from zero."""
        return ("W_U",)

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_QK_l, w_pos_l, W_OV_l of every layer l = 1, 2, .., then W_U."""
        layers = range(1, self.n_layers + 1)
        per_layer = (
            (
                weight(f"W_QK_{l}", "d_vocab", "d_vocab"),
                weight(f"w_pos_{l}", "n_ctx", 1),
                weight(f"W_OV_{l}", "d_vocab", "d_vocab"),
            )
            for l in layers
        )
        return (*(w for layer in per_layer for w in layer), weight("W_U", "d_vocab", "d_vocab"))

    def role(self, name: str) -> str:
        """The stream is as wide as the vocabulary: what a weight does shows in its name, not in its dimensions."""
        kinds = {"W_QK": "inner", "w_pos": "embed", "W_OV": "residual"}
        return kinds.get(name.rpartition("_")[0], "unembed")

    @property
    def logits(self) -> Matrix:
        """h_L W_U."""
        *layers, W_U = self.weight_symbols
        h = X_ALL
        for W_QK, w_pos, W_OV in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
            scores = total(product(h, W_QK, transpose(h)), _by_distance(w_pos))
            h = total(h, product(RowSoftmax(scores, A_CAUSAL), h, W_OV))
        return product(h, W_U)


def _by_distance(w_pos: sp.MatrixSymbol) -> Matrix:
    """Score of every causal pair of rows from the weight of its distance, through the (n_ctx, n_ctx) table of pairs."""
    table = product(transpose(P_QUERY), diagonal(product(P_OFFSET, w_pos)), P_KEY)
    return product(P_ALL, table, transpose(P_ALL))
