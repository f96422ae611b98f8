"""Binary classifier with attention, the model of the two-stage analysis (arXiv 2510.06954)."""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from ..algebra.matrices import apply, product, transpose
from ..algebra.nodes import Matrix, RowSoftmax
from ..algebra.scalars.activations import Activation
from ..base.errors import FieldError
from ..data.inputs import C_MEAN, X_LAST, weight
from .model import Model


@dataclass(frozen=True)
class ScalarClassifier(Model):
    """Attention, one hidden layer, one output: f = s(Attn(X) W_in) W_out (arXiv 2510.06954).

    Tokens enter one-hot, so the residual stream has the width d_vocab; attention is read at the last position:
    Attn(X) = softmax(x_last W_Q W_K^T X^T) X W_V. Labels are 0 and 1, which the loss reads as y = -1 and +1.

    Parameters
    ----------
    d_vocab, d_model, d_head, d_mlp : int
        Vocabulary size, width of the values, width of keys and queries, hidden width.
    activation : str or sympy.Expr
        As in `EmbMLP`.
    loss : {"exponential", "logistic", "mse"}
        Mean of exp(-y f), log(1 + exp(-y f)) or (f - y)^2 / 2.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer, the activation breaks Assumption 1, or the loss is
        "cross_entropy", which is constant for one output.
    """

    d_model: int
    d_head: int
    d_mlp: int
    activation: Activation | str | sp.Expr = "tanh"
    loss: str = field(default="exponential", kw_only=True)

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        if self.loss == "cross_entropy":
            raise FieldError(
                "loss", "'cross_entropy' is constant for one output: use 'exponential' or 'logistic'."
            )

    @property
    def driven(self) -> tuple[str, ...]:
        """The values, which read the tokens."""
        return ("W_V",)

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_Q, W_K, W_V, W_in, W_out."""
        return (
            weight("W_Q", "d_vocab", "d_head"),
            weight("W_K", "d_vocab", "d_head"),
            weight("W_V", "d_vocab", "d_model"),
            weight("W_in", "d_model", "d_mlp"),
            weight("W_out", "d_mlp", 1),
        )

    @property
    def logits(self) -> Matrix:
        """s(softmax(X_last W_Q W_K^T) W_V W_in) W_out."""
        W_Q, W_K, W_V, W_in, W_out = self.weight_symbols
        attention = RowSoftmax(product(X_LAST, W_Q, transpose(W_K)), C_MEAN)
        return product(apply(self.activation, product(attention, W_V, W_in)), W_out)
