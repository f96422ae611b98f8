"""What a model sees of the data: named data matrices, and how each is computed from the sequences.

=============  ====================  ====================================================================
name           shape                 meaning
=============  ====================  ====================================================================
``C``          (n, d_vocab)          tokens per sequence, with multiplicity
``C_mean``     (n, d_vocab)          C / n_ctx: the uniform average over the positions of a sequence
``X_last``     (n, d_vocab)          one-hot token at the last position
``X_1, X_2``   (n, d_vocab)          one-hot token at the first and second position
``C_pair``     (n, n_pair)           uniform average over the (position, token) pairs of a sequence
``T_pair``     (n_pair, d_vocab)     token of each pair, one-hot; n_pair = n_ctx d_vocab
``P_pair``     (n_pair, n_ctx)       position of each pair, one-hot
``P_last``     (n, n_ctx)            the last position, one-hot
``X``          (n, d_vocab)          one-hot token of each position of each sequence (n = sequences n_ctx)
``P``          (n, n_ctx)            position of each such row, one-hot
``A_causal``   (n, n)                causal uniform average within a sequence
``P_query``    (n_offset, n_ctx)     for every causal pair of positions: the one that looks, one-hot,
``P_key``      (n_offset, n_ctx)     the one looked at, one-hot,
``P_offset``   (n_offset, n_ctx)     and their distance, one-hot; n_offset = n_ctx (n_ctx + 1) / 2
=============  ====================  ====================================================================

n counts the rows of the logits: sequences, or all their positions where a model predicts at every one. ``Y`` (n,
outputs) and ``omega`` (n, 1) are the labels and the weights of these rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp

from ..algebra.matrices import product, transpose
from ..algebra.nodes import Matrix, StochasticSymbol
from ..base.errors import FieldError
from ..base.validate import brief, is_integer
from ..base.weight_names import weight_name
from .frequencies import count_tokens


def dimension(name: str) -> sp.Symbol:
    """Symbolic dimension: one derivation serves every size."""
    return sp.Symbol(name, integer=True, positive=True)


def weight(name: str, rows: str | sp.Symbol, cols: str | sp.Expr | int) -> sp.MatrixSymbol:
    """Symbol of a weight; its dimensions are named like the model's fields, such as "d_vocab"."""
    return sp.MatrixSymbol(weight_name(name), _size("rows", rows), _size("cols", cols))


def _size(name: str, value: Any) -> sp.Expr:
    if isinstance(value, str) and value.isidentifier():
        return dimension(value)
    if not (isinstance(value, sp.Expr) or (is_integer(value) and int(value) > 0)):
        said = f'must name a dimension, such as "d_vocab", or be a positive integer, got {brief(value)}.'
        raise FieldError(name, said)
    return sp.sympify(value)


ROWS, D_VOCAB, D_MODEL = dimension("n"), dimension("d_vocab"), dimension("d_model")
D_MLP, D_HEAD, N_CTX = dimension("d_mlp"), dimension("d_head"), dimension("n_ctx")
PAIRS, OFFSETS = dimension("n_pair"), dimension("n_offset")

COUNTS = sp.MatrixSymbol("C", ROWS, D_VOCAB)
C_MEAN = StochasticSymbol("C_mean", ROWS, D_VOCAB)
X_LAST = StochasticSymbol("X_last", ROWS, D_VOCAB)
X_1 = StochasticSymbol("X_1", ROWS, D_VOCAB)
X_2 = StochasticSymbol("X_2", ROWS, D_VOCAB)
C_PAIR = StochasticSymbol("C_pair", ROWS, PAIRS)
T_PAIR = StochasticSymbol("T_pair", PAIRS, D_VOCAB)
P_PAIR = StochasticSymbol("P_pair", PAIRS, N_CTX)
P_LAST = StochasticSymbol("P_last", ROWS, N_CTX)
X_ALL = StochasticSymbol("X", ROWS, D_VOCAB)
P_ALL = StochasticSymbol("P", ROWS, N_CTX)
A_CAUSAL = StochasticSymbol("A_causal", ROWS, ROWS)
P_QUERY = StochasticSymbol("P_query", OFFSETS, N_CTX)
P_KEY = StochasticSymbol("P_key", OFFSETS, N_CTX)
P_OFFSET = StochasticSymbol("P_offset", OFFSETS, N_CTX)
# Every pair of positions that A_causal joins stands once among the pairs: this matrix is 1 wherever A_causal is not 0.
ONES_WITHIN: dict[Matrix, Matrix] = {
    A_CAUSAL: product(P_ALL, transpose(P_QUERY), P_KEY, transpose(P_ALL)),
}
ROW_WEIGHTS = sp.MatrixSymbol("omega", ROWS, 1)  # weights of the rows, summing to one

Tokens = np.ndarray  # token ids (m, n_ctx)


def one_hot(index: np.ndarray, width: int) -> sparse.csr_array:
    """Sparse rows with a one at `index` (m,); shape (m, width)."""
    flat = np.ravel(index).astype(np.int64)
    return sparse.csr_array((np.ones(flat.size), flat, np.arange(flat.size + 1)), shape=(flat.size, width))


def _pairs(tokens: Tokens, d_vocab: int) -> sparse.csr_array:
    n_ctx = tokens.shape[1]
    return count_tokens(tokens + d_vocab * np.arange(n_ctx), d_vocab * n_ctx) / n_ctx


def _causal(tokens: Tokens) -> sparse.csr_array:
    n, n_ctx = tokens.shape
    block = np.tril(np.ones((n_ctx, n_ctx))) / np.arange(1, n_ctx + 1)[:, None]
    return sparse.kron(sparse.eye_array(n), sparse.csr_array(block), format="csr")


def _offsets(tokens: Tokens, which: int) -> sparse.csr_array:
    n_ctx = tokens.shape[1]
    query, key = np.tril_indices(n_ctx)
    return one_hot((query, key, query - key)[which], n_ctx)


def _positions(tokens: Tokens) -> np.ndarray:
    return np.tile(np.arange(tokens.shape[1]), len(tokens))


BUILDERS = {
    "C": count_tokens,
    "C_mean": lambda x, v: count_tokens(x, v) / x.shape[1],
    "X_last": lambda x, v: one_hot(x[:, -1], v),
    "X_1": lambda x, v: one_hot(x[:, 0], v),
    "X_2": lambda x, v: one_hot(x[:, 1], v),
    "C_pair": _pairs,
    "T_pair": lambda x, v: one_hot(np.tile(np.arange(v), x.shape[1]), v),
    "P_pair": lambda x, v: one_hot(np.repeat(np.arange(x.shape[1]), v), x.shape[1]),
    "P_last": lambda x, v: one_hot(np.full(len(x), x.shape[1] - 1), x.shape[1]),
    "X": lambda x, v: one_hot(x, v),
    "P": lambda x, v: one_hot(_positions(x), x.shape[1]),
    "A_causal": lambda x, v: _causal(x),
    "P_query": lambda x, v: _offsets(x, 0),
    "P_key": lambda x, v: _offsets(x, 1),
    "P_offset": lambda x, v: _offsets(x, 2),
}


def build_inputs(names: set[str], tokens: Tokens, d_vocab: int) -> dict[str, sparse.csr_array]:
    """Values of data matrices on sequences.

    Parameters
    ----------
    names : set of str
        Names of the table above.
    tokens : ndarray of int, shape (m, n_ctx)
        Token ids.
    d_vocab : int
        Size of the vocabulary.

    Returns
    -------
    dict
        Name -> sparse float64 matrix, in the table's order.

    Raises
    ------
    ValueError
        If a name is not in the table.
    """
    unknown = sorted(names - set(BUILDERS))
    if unknown:
        raise FieldError(
            "logits",
            f"use the data matrix {unknown[0]!r}, which is none of {', '.join(BUILDERS)}: "
            "override `inputs` in the model to give its value.",
        )
    return {
        name: sparse.csr_array(build(tokens, d_vocab)) for name, build in BUILDERS.items() if name in names
    }
