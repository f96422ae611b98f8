"""The linear model of arXiv 2509.20124: sum of embeddings, unembedded."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from ..algebra.matrices import product
from ..algebra.nodes import Matrix
from ..data.inputs import COUNTS, weight
from .model import Model


@dataclass(frozen=True)
class EmbedUnembed(Model):
    """Sum of embeddings times an unembedding: f = C W_E W_U (arXiv 2509.20124).

    Parameters
    ----------
    d_vocab, d_model : int
        Vocabulary size, embedding width.
    loss : str
        See `Model`.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer.
    """

    d_model: int

    @property
    def weight_symbols(self) -> tuple[sp.MatrixSymbol, ...]:
        """W_E, W_U."""
        return weight("W_E", "d_vocab", "d_model"), weight("W_U", "d_model", "d_vocab")

    @property
    def logits(self) -> Matrix:
        """C W_E W_U."""
        return product(COUNTS, *self.weight_symbols)
