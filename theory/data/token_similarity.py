"""Which tokens the embedding will take for alike, predicted from the corpus alone.

While the other weights still stand at their random start, the leading order moves row s of W_E along
``M_s W_out^T W_in^T``, and a random map keeps angles: rows of W_E get the cosines of rows of the signature matrix M,
whatever the seed. The flow itself, integrated from the weights of a seed, says more; see
`smallinit.compare.similarity_overlay`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..base.arrays import cosine_matrix
from ..base.validate import choice, kind_of
from .dataset import Dataset
from .frequencies import paired
from .inputs import build_inputs
from .signature_modes import STATISTICS

if TYPE_CHECKING:
    from jaxtyping import Float


def signature_similarity(data: Dataset, statistic: str = "C") -> Float[np.ndarray, "d_vocab d_vocab"]:
    """Cosines between the rows ``r_s (P^s - 1/V)`` of the signature matrix.

    Parameters
    ----------
    data : Dataset
        Held-out rows take no part.
    statistic : {"C", "C_mean", "X_last"}
        What the model's logits are linear in at leading order: the counts of the tokens (`EmbMLP`), or the last token
        (`OneLayerTransformer` with an unembedding). For next-token loss at every position, take "X_last" of `bigrams`.

    Returns
    -------
    ndarray, shape (d_vocab, d_vocab)

    Raises
    ------
    ValueError
        If the statistic is unknown.
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    choice("statistic", statistic, STATISTICS)
    phi = build_inputs({statistic}, data.sequences, data.d_vocab)[statistic]
    pairs = paired(phi, data.training_weights, data.label_matrix).toarray()
    return cosine_matrix(pairs - pairs.sum(axis=1, keepdims=True) / data.d_vocab)


def bigrams(data: Dataset) -> Dataset:
    """Every token of the training sequences as a sequence of its own, labelled with the token after it.

    A model that predicts the next token at every position has one row of logits per token. Its shortest path, from the
    embedding straight to the unembedding, has two factors where every path through a head or a hidden layer has four or
    more, so to leading order in the weights ``f = x W_E W_U`` with x the token at the position itself: what M reads is
    one-hot over positions, and row s of M is ``r_s (P^s - 1/V)`` with P^s the law of the word after s, r_s its share
    of all words. That is the statistic "X_last" of these bigrams, their model `EmbedUnembed`. A LayerNorm before the
    unembedding scales each row of the drive and takes out its part along the row itself, which at a wide random start
    turns it but little; and Adam's first steps are the signs of the drive, whose cosines are (2 / pi) arcsin of its
    own: neither changes which pairs of rows are the more alike.

    Parameters
    ----------
    data : Dataset
        Held-out rows take no part; groups are dropped.

    Returns
    -------
    Dataset
        Of `n_ctx` 1; equal pairs are one row.
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    rows = ~data.held_out
    following = np.column_stack([data.sequences[rows, 1:], data.labels[rows]])
    return Dataset(
        data.sequences[rows].reshape(-1, 1),
        following.ravel(),
        data.d_vocab,
        weights=np.repeat(data.weights[rows], data.n_ctx),
        token_groups=data.token_groups,
        vocabulary=data.vocabulary,
    )


def cooccurrence_similarity(data: Dataset) -> Float[np.ndarray, "d_vocab d_vocab"]:
    """Cosines between the rows of the raw co-occurrence counts: what one would guess without any theory.

    Entry (s, u) counts the pairs of different positions of a training sequence that hold s and u.

    Returns
    -------
    ndarray, shape (d_vocab, d_vocab)
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    pairs = paired(data.counts, data.training_weights, data.counts).toarray()
    return cosine_matrix(pairs - np.diag(data.occurrences))
