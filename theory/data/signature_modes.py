"""Singular modes of the signature matrix, by group: what a small initialisation amplifies, and in what order.

Near small weights the loss is log V - <M, W_E W_in W_out>, so each singular mode of M grows on its own at a rate
given by its strength. Which label law is subtracted from the labels (the *centring*) decides
what counts as a mode: with the uniform law, a group's first mode is its label frequencies; with the group's own law,
only what tells its tokens apart is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, svds

from ..base.arrays import real_array
from ..base.errors import FieldError
from ..base.frozen import FrozenRecord
from ..base.validate import choice, integer, kind_of, one_or_more
from ..exact.blow_up_forms import blow_up_bracket
from .dataset import Dataset
from .frequencies import paired
from .inputs import build_inputs

if TYPE_CHECKING:
    from jaxtyping import Float

CENTRINGS = ("uniform", "group", "data")
STATISTICS = ("C", "C_mean", "X_last")
DENSE_ENTRIES = 2**22  # larger signatures are decomposed by products with vectors


@dataclass(frozen=True, eq=False)
class Modes(FrozenRecord):
    """Leading singular modes of ``M_g = sum_{i in g} w_i phi(X_i)^T (y_i - law)``.

    The weights w are those of the whole training set (their sum over all groups is 1), so the signatures of all
    groups, with one centring, add up to that of the data.

    Attributes
    ----------
    groups : tuple of str
        The groups of sequences.
    centring : {"uniform", "group", "data"}
        The label law subtracted: 1/V, that of these groups, or that of all training sequences.
    statistic : {"C", "C_mean", "X_last"}
        phi: counts of the tokens, their mean, or the last token.
    strengths : ndarray, shape (k,)
        Singular values, falling; their units are 1 / (flow time x weight^(factors - 2)). Those beyond the rank, which
        would be rounding alone, are 0: such a mode has nothing to learn.
    tokens, labels : ndarray, shape (d_vocab, k)
        Left and right singular vectors, as columns.
    """

    groups: tuple[str, ...]
    centring: str
    statistic: str
    strengths: Float[np.ndarray, " n_modes"]
    tokens: Float[np.ndarray, "d_vocab n_modes"]
    labels: Float[np.ndarray, "d_vocab n_modes"]

    def overlap(self, other: Modes, n_modes: int) -> npt.NDArray[np.float64]:
        """Norm of the part of each label vector that lies in the span of the other's first ones, shape (k,)."""
        return np.linalg.norm(self.labels.T @ other.labels[:, :n_modes], axis=1)

    def blow_up_brackets(self, weights: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Bounds of the flow time at which each mode alone would blow up, by arXiv 2510.06954.

        Parameters
        ----------
        weights : dict
            Start, with ``W_E``, ``W_in`` and ``W_out`` (an `EmbMLP`'s).

        Returns
        -------
        ndarray, shape (k, 2)
            Lower and upper bound; the upper one is infinite where the mode first has to turn round, and both are for a
            mode of strength 0.
        """
        E, W, O = (real_array(f"weights[{n!r}]", weights[n]) for n in ("W_E", "W_in", "W_out"))
        ends = [self.tokens.T @ E, W, (O @ self.labels).T]
        brackets = [
            blow_up_bracket(np.concatenate([e, ends[1].ravel(), o]), float(e @ ends[1] @ o))
            for e, o in zip(ends[0], ends[2], strict=True)
        ]
        strengths, times = self.strengths[:, None], np.array(brackets)
        return np.divide(times, strengths, out=np.full(times.shape, np.inf), where=strengths > 0.0)


def signature_modes(
    data: Dataset,
    groups: str | Sequence[str] | None = None,
    *,
    centring: str = "group",
    statistic: str = "C",
    n_modes: int = 5,
) -> Modes:
    """Decompose the signature matrix of some groups of the training sequences.

    Parameters
    ----------
    data : Dataset
        Held-out rows take no part.
    groups : str or sequence of str, optional
        Names of groups; all by default.
    centring, statistic
        See `Modes`.
    n_modes : int
        How many modes, at most the size of the vocabulary.

    Returns
    -------
    Modes

    Raises
    ------
    ValueError
        If a group has no training rows, or a choice is unknown.
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    everything = tuple(str(g) for g in dict.fromkeys(data.groups[~data.held_out]))
    names = everything if groups is None else tuple(one_or_more("groups", groups))
    if not names:
        raise FieldError("groups", "must not be empty: leave it out for all groups.")
    choice("centring", centring, CENTRINGS)
    choice("statistic", statistic, STATISTICS)
    n_modes = min(integer("n_modes", n_modes, 1), data.d_vocab)
    weights = _group_weights(data, names)
    phi = build_inputs({statistic}, data.sequences, data.d_vocab)[statistic]
    labels = data.label_matrix
    law = {
        "uniform": np.full(data.d_vocab, 1.0 / data.d_vocab),
        "group": labels.T @ (weights / weights.sum()),
        "data": labels.T @ _group_weights(data, everything),
    }[centring]
    pairs = paired(phi, weights, labels)
    u, s, vt = _decompose(pairs, phi.T @ weights, law, n_modes)
    return Modes(names, centring, statistic, s, u, vt.T)


def _group_weights(data: Dataset, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Training weights of the rows of some groups, zero elsewhere."""
    for name in names:
        if not np.any((data.groups == name) & ~data.held_out):
            raise FieldError(
                "groups",
                f"names {name!r}, which has no training sequences; "
                f"choose from {', '.join(data.group_names)}.",
            )
    return np.where(np.isin(data.groups, names) & ~data.held_out, data.weights, 0.0)


def _decompose(pairs: csr_array, occurrences: Any, law: Any, k: int) -> tuple[Any, Any, Any]:
    """Truncated SVD of sparse minus rank one, the largest first; each label vector's largest entry is positive."""
    if np.prod(pairs.shape) <= DENSE_ENTRIES or k >= min(pairs.shape) - 1:
        u, s, vt = np.linalg.svd(pairs.toarray() - np.outer(occurrences, law))
        u, s, vt = u[:, :k], s[:k], vt[:k]
    else:
        operator = LinearOperator(
            pairs.shape,
            matvec=lambda x: pairs @ x.ravel() - occurrences * (law @ x.ravel()),
            rmatvec=lambda x: pairs.T @ x.ravel() - law * (occurrences @ x.ravel()),
            dtype=np.float64,
        )
        u, s, vt = svds(operator, k=k, v0=np.random.default_rng(0).standard_normal(min(pairs.shape)))
        u, s, vt = u[:, ::-1], s[::-1], vt[::-1]
    signs = np.sign(vt[np.arange(k), np.abs(vt).argmax(axis=1)])
    return u * signs, np.where(s > _rounding(pairs, occurrences, law), s, 0.0), vt * signs[:, None]


def _rounding(pairs: csr_array, occurrences: Any, law: Any) -> float:
    """What rounding leaves of a singular value that is zero, by the sizes of both parts, which may cancel."""
    size = np.linalg.norm(pairs.data) + np.linalg.norm(occurrences) * np.linalg.norm(law)
    return float(max(pairs.shape) * np.finfo(float).eps * size)
