"""Two tokens with embeddings of their own through one hidden layer: modular addition of arXiv 2509.20124."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..algebra.matrices import apply, product, total
from ..algebra.nodes import Matrix
from ..algebra.scalars.activations import Activation
from ..data.inputs import X_1, X_2, weight
from .model import Model


@dataclass(frozen=True)
class TwoTokenMLP(Model):
    """Two untied positions into one hidden layer: f = s(X_1 W_E1 + X_2 W_E2) W_out (arXiv 2509.20124).

    Parameters
    ----------
    d_vocab, d_mlp : int
        Vocabulary size, hidden width.
    activation : str or sympy.Expr
        As in `EmbMLP`, or "square", whose mixed term 2 u v joins the two tokens at leading order.
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer, the activation is refused, or sequences do not have two tokens.
    """

    d_mlp: int
    activation: Activation | str | sp.Expr = "square"

    @property
    def n_ctx(self) -> int:
        """Two tokens."""
        return 2

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E1, W_E2, W_out."""
        return (
            weight("W_E1", "d_vocab", "d_mlp"),
            weight("W_E2", "d_vocab", "d_mlp"),
            weight("W_out", "d_mlp", "d_vocab"),
        )

    @property
    def logits(self) -> Matrix:
        """s(X_1 W_E1 + X_2 W_E2) W_out."""
        W_E1, W_E2, W_out = self.weight_symbols
        hidden = total(product(X_1, W_E1), product(X_2, W_E2))
        return product(apply(self.activation, hidden), W_out)
