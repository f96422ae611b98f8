"""How often tokens and labels occur, alone and together, and what is lost by who knows no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from .dataset import Dataset


def count_tokens(sequences: npt.NDArray[np.int64], d_vocab: int) -> csr_array:
    """How often each token occurs in each sequence (n, n_ctx): sparse (n, d_vocab) float64."""
    n, n_ctx = sequences.shape
    starts = np.arange(n + 1, dtype=np.int64) * n_ctx
    counts = csr_array((np.ones(n * n_ctx), sequences.reshape(-1).copy(), starts), shape=(n, d_vocab))
    counts.sum_duplicates()
    return counts


def paired(left: csr_array, weights: npt.NDArray[np.float64], right: csr_array) -> csr_array:
    """Sparse left^T diag(weights) right (a, b) of sparse left (n, a) and right (n, b)."""
    return csr_array(left.T @ right.multiply(weights[:, None]).tocsr())


def entropy(weights: npt.NDArray[Any]) -> float:
    """Entropy, in nats, of the law that these weights (m,), not negative, have once they are scaled to sum 1."""
    law = weights[weights > 0.0] / weights.sum()
    return float(-(law @ np.log(law)))


def label_entropy(data: Dataset, group: str) -> float:
    """Entropy of a group's labels in nats: the loss of a network that knows their frequencies and nothing else."""
    rows = data.groups == group
    return entropy(np.bincount(data.labels[rows], data.weights[rows]))
