"""Sum of embeddings through one hidden layer (A3 of arXiv 2502.04375)."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..algebra.matrices import apply, product
from ..algebra.nodes import Matrix
from ..algebra.scalars.activations import Activation
from ..data.inputs import COUNTS, weight
from .model import Model


@dataclass(frozen=True)
class EmbMLP(Model):
    """Sum of embeddings through one hidden layer: f = s(C W_E W_in) W_out (A3 of arXiv 2502.04375).

    Parameters
    ----------
    d_vocab, d_model, d_mlp : int
        Vocabulary size, embedding width, hidden width.
    activation : str or sympy.Expr
        A name (tanh, sin, arctan, softsign, gelu, silu, identity) or an expression in one symbol, with s(0) = 0 and
        s'(0) = 1: "gelu" and "silu" are twice torch's, "softsign" is x / sqrt(1 + x^2).
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer or the activation breaks Assumption 1.
    """

    d_model: int
    d_mlp: int
    activation: Activation | str | sp.Expr = "tanh"

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E, W_in, W_out."""
        return (
            weight("W_E", "d_vocab", "d_model"),
            weight("W_in", "d_model", "d_mlp"),
            weight("W_out", "d_mlp", "d_vocab"),
        )

    @property
    def logits(self) -> Matrix:
        """s(C W_E W_in) W_out."""
        W_E, W_in, W_out = self.weight_symbols
        return product(apply(self.activation, product(COUNTS, W_E, W_in)), W_out)
