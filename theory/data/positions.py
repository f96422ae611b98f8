"""What a decoder sees: a row for every position of every sequence, and the rows that predict among them.

=============  =======================  =================================================================
name           shape                    meaning
=============  =======================  =================================================================
``X_all``      (n_all, d_vocab)         one-hot token of each position of each sequence
``P_all``      (n_all, n_ctx)           position of each such row, one-hot
``A_all``      (n_all, n_all)           causal uniform average within a sequence
``R_last``     (n, n_all)               picks the last row of each sequence, one-hot
``A_last``     (n, n_all)               uniform average over the rows of a sequence
``cos_all``    (n_all, d_head)          cosines of the angles by which rotary positions turn a row,
``sin_all``    (n_all, d_head)          and their sines
``turn``       (d_head, d_head)         takes the halves (a, b) of a row to (-b, a)
``head_h``     (n_heads d_head, d_head) picks the columns of head h, one-hot
=============  =======================  =================================================================

Where every position predicts, n_all = n and the first three are ``X``, ``P`` and ``A_causal`` of `theory.data.inputs`.
Padding has no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ..algebra.matrices import hadamard, product, total
from ..algebra.nodes import HeadSymbol, Matrix, StochasticSymbol
from .inputs import A_CAUSAL, D_HEAD, D_VOCAB, N_CTX, P_ALL, ROWS, X_ALL, dimension, one_hot

EVERY = dimension("n_all")
R_LAST = StochasticSymbol("R_last", ROWS, EVERY)
TURN = sp.MatrixSymbol("turn", D_HEAD, D_HEAD)
NAMES = ("X_all", "P_all", "A_all", "R_last", "A_last", "cos_all", "sin_all", "turn")
BASE = 10_000.0  # of the wavelengths of rotary positions (arXiv 2104.09864)


@dataclass(frozen=True)
class Rows:
    """Symbols of a set of rows.

    Attributes
    ----------
    tokens, places : MatrixSymbol
        One-hot token (all rows, d_vocab) and position (all rows, n_ctx) of each row of the stream.
    average : MatrixSymbol
        Uniform average (these rows, all rows) over the positions that a row looks at.
    cosines, sines : Matrix
        Of the angles of rotary positions (these rows, d_head).
    picked : MatrixSymbol or None
        Picks these rows (these rows, all rows); None for all.
    """

    tokens: sp.MatrixSymbol
    places: sp.MatrixSymbol
    average: sp.MatrixSymbol
    cosines: Matrix
    sines: Matrix
    picked: sp.MatrixSymbol | None = None

    def of(self, x: Matrix) -> Matrix:
        """These rows of a matrix with all of them."""
        return x if self.picked is None else product(self.picked, x)

    def turned(self, x: Matrix) -> Matrix:
        """Queries or keys turned by the angles of their positions."""
        return total(hadamard(self.cosines, x), hadamard(self.sines, product(x, TURN)))


def _angles(rows: sp.Symbol) -> tuple[sp.MatrixSymbol, sp.MatrixSymbol]:
    return sp.MatrixSymbol("cos_all", rows, D_HEAD), sp.MatrixSymbol("sin_all", rows, D_HEAD)


ALL = Rows(X_ALL, P_ALL, A_CAUSAL, *_angles(ROWS))
INNER = Rows(
    StochasticSymbol("X_all", EVERY, D_VOCAB),
    StochasticSymbol("P_all", EVERY, N_CTX),
    StochasticSymbol("A_all", EVERY, EVERY),
    *_angles(EVERY),
)
LAST = Rows(
    INNER.tokens,
    INNER.places,
    StochasticSymbol("A_last", ROWS, EVERY),
    *(product(R_LAST, angle) for angle in _angles(EVERY)),
    picked=R_LAST,
)


def head_selector(head: int, n_heads: int) -> Matrix:
    """Matrix that picks the columns of one head; the identity where there is but one."""
    return sp.Identity(D_HEAD) if n_heads == 1 else HeadSymbol(f"head_{head}", n_heads * D_HEAD, D_HEAD)


class Positions:
    """Values of the table above.

    Parameters
    ----------
    tokens : ndarray of int, shape (m, n_ctx)
        Token ids.
    d_vocab : int
        Size of the vocabulary.
    n_heads, d_head : int
        Heads, and their width.
    padding : int or None
        Token that has no row.

    Raises
    ------
    ValueError
        If a sequence is all padding.
    """

    def __init__(
        self, tokens: np.ndarray, d_vocab: int, n_heads: int, d_head: int, padding: int | None = None
    ) -> None:
        self.tokens, self.d_vocab, self.heads = tokens, d_vocab, (n_heads, d_head)
        self.real = np.ones(tokens.shape, dtype=bool) if padding is None else tokens != padding
        if not (long := self.real.any(axis=1)).all():
            raise ValueError(
                f"sequence {int(np.argmin(long))} is all padding: leave it out, there is nothing to predict from."
            )

    @cached_property
    def places(self) -> np.ndarray:
        """Position of every row, counted without padding."""
        return (np.cumsum(self.real, axis=1) - 1)[self.real]

    @cached_property
    def last(self) -> np.ndarray:
        """Row at which each sequence ends."""
        return np.cumsum(self.real.sum(axis=1)) - 1

    @cached_property
    def average(self) -> sparse.csr_array:
        """Every row looks at those before it and at itself, alike."""
        width = self.places + 1
        indptr = np.concatenate([[0], np.cumsum(width)])
        first = np.arange(width.size) - self.places
        indices = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - first, width)
        return sparse.csr_array(
            (np.repeat(1.0 / width, width), indices, indptr), shape=(width.size, width.size)
        )

    def angles(self) -> np.ndarray:
        """Angle of every entry of every row of a head (n_all, d_head)."""
        half = self.heads[1] // 2
        rates = BASE ** (-np.arange(half) / half)
        return np.tile(self.places[:, None] * rates, 2)

    def value(self, name: str) -> Any:
        """Value of the matrix of that name."""
        n_heads, d_head = self.heads
        if name.startswith("head_"):
            mine = int(name.removeprefix("head_")) * d_head + np.arange(d_head)
            return one_hot(mine, n_heads * d_head).T.tocsr()
        if name in ("cos_all", "sin_all"):
            return (np.cos if name == "cos_all" else np.sin)(self.angles())
        if name == "turn":
            half = np.eye(d_head // 2)
            return sparse.csr_array(np.kron([[0.0, 1.0], [-1.0, 0.0]], half))
        if name in ("A_all", "A_causal"):
            return self.average
        if name == "A_last":
            return self.average[self.last]
        if name == "R_last":
            return one_hot(self.last, self.places.size)
        if name in ("X_all", "X"):
            return one_hot(self.tokens[self.real], self.d_vocab)
        return one_hot(self.places, self.tokens.shape[1])


def is_position(symbol: sp.MatrixSymbol) -> bool:
    """Whether a symbol is one of the table's own."""
    return symbol.name in NAMES or isinstance(symbol, HeadSymbol)


def position_inputs(
    names: set[str], tokens: np.ndarray, d_vocab: int, heads: tuple[int, int], padding: int | None
) -> dict[str, Any]:
    """Values of data matrices of the table by name; `heads` are their number and width.

    Raises
    ------
    ValueError
        If a sequence is all padding.
    """
    seen = Positions(tokens, d_vocab, *heads, padding)
    return {name: seen.value(name) for name in sorted(names)}
