"""A training set as the theory sees it: distinct weighted sequences, their labels, and their statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ..base.arrays import matching, tokens
from ..base.disk.files import check_file
from ..base.disk.npz import write_npz
from ..base.errors import FieldError
from ..base.frozen import FrozenRecord, sealed
from ..base.validate import integer, passed_on, path_of
from .frequencies import count_tokens, paired
from .reading.clean_columns import (
    clean_held_out,
    clean_token_groups,
    clean_vocabulary,
    clean_weights,
    merged,
)
from .reading.groups import clean_groups
from .reading.table_columns import table_columns
from .reading.table_rows import csv_rows, frame_rows, jsonl_rows
from .words import Words, read_text

if TYPE_CHECKING:
    import pandas
    from jaxtyping import Bool, Float, Int, Shaped

# The dense signature of a larger vocabulary takes more than 2 GiB.
_DENSE_LIMIT = 2**31


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Dataset(FrozenRecord):
    """Distinct weighted sequences with labels, groups and a held-out mask.

    Rows that agree in sequence, label, group and held-out flag merge into one, their weights added, in the
    order of first occurrence; so a weighted mean over the rows is the mean over the data as given. Nothing of it can be
    written to.

    Parameters
    ----------
    sequences : array_like of int, shape (n, n_ctx)
        Tokens in ``[0, d_vocab)``.
    labels : array_like of int, shape (n,)
        Labels in ``[0, d_vocab)``.
    d_vocab : int
        Size of the vocabulary, which tokens and labels share.
    weights : array_like of float, shape (n,), optional
        Positive; scaled so that the rows that are not held out sum to 1 (held-out rows keep the same
        scale). The default counts each row once.
    groups : array_like of str, shape (n,), optional
        Name of the group of each row, ``"all"`` by default. A group NAME with training and held-out rows becomes two,
        NAME-train and NAME-test: no loss or accuracy of a group mixes them.
    held_out : array_like of bool, shape (n,), optional
        Rows that take no part in the loss or in any statistic, none by default.
    token_groups : mapping of str to array_like of int, optional
        Named sets of tokens, for observables.
    vocabulary : sequence of str, optional
        Names of the tokens 0, 1, ...; at most `d_vocab`. Nothing is computed from them.

    Raises
    ------
    ValueError
        If an array is empty, mis-shaped, of the wrong kind or out of range, or if no row is for training.
    """

    sequences: Int[np.ndarray, "n n_ctx"]
    labels: Int[np.ndarray, " n"]
    d_vocab: int
    weights: Float[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"]
    token_groups: Mapping[str, Int[np.ndarray, " m"]]
    vocabulary: tuple[str, ...] | None

    def __init__(
        self,
        sequences: npt.ArrayLike,
        labels: npt.ArrayLike,
        d_vocab: int,
        weights: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        held_out: npt.ArrayLike | None = None,
        token_groups: Mapping[str, npt.ArrayLike] | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        d_vocab = integer("d_vocab", d_vocab, 1)
        rows = tokens("sequences", sequences, 2, d_vocab)
        n = rows.shape[0]
        hidden = clean_held_out(held_out, n)
        columns = {
            "sequences": rows,
            "labels": matching("labels", tokens("labels", labels, 1, d_vocab), n),
            "weights": clean_weights(weights, n),
            "groups": clean_groups(groups, hidden),
            "held_out": hidden,
        }
        for name, array in merged(columns).items():
            object.__setattr__(self, name, sealed(array))
        object.__setattr__(self, "d_vocab", d_vocab)
        object.__setattr__(self, "token_groups", clean_token_groups(token_groups, d_vocab))
        object.__setattr__(self, "vocabulary", clean_vocabulary(vocabulary, d_vocab))

    @classmethod
    def from_text(
        cls, path: str | Path, n_ctx: int, vocab_size: int | None = None, **options: Any
    ) -> Dataset:
        """Read windows of `n_ctx` words, each labelled with the next one, from a text file.

        `vocab_size`, by default that of all words, and `options` (`task`, `stride`, `max_sequences`, `held_out`) are
        those of `Lexicon.dataset`: ``Lexicon.of(read_text(path), vocab_size)`` knows the words of the tokens.
        """
        asked = passed_on("Dataset.from_text", Words.windows, options, "n_ctx", "vocab_size", "task")
        text = read_text(path)
        return cls(**Words.of(text, vocab_size).windows(text, n_ctx, **asked))

    @classmethod
    def from_csv(cls, path: str | Path, **options: Any) -> Dataset:
        """Read a table with a line for each sequence: ``a,b,label`` in the first line, then its rows.

        The column "label" has the labels; "weight", "group" and "held_out" mean what those arguments do; all others
        are positions, or there is one column "sequence" of tokens parted by blanks. Numbers are taken as they are; as
        soon as one token or label is a name, all are names, numbered in alphabetical order and kept as `vocabulary`.
        Among numbers alone, one that is no token, such as -1 or 1.5, is refused.

        Parameters
        ----------
        path : path
            UTF-8; cells are parted by commas, semicolons or tabs.
        **options
            ``label``, ``group``: names of the columns of labels and of groups. ``columns``: names of those of the
            positions. ``d_vocab``: size of the vocabulary, the smallest by default. ``vocabulary``: names in the order
            of their numbers, such as those of another data set.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            For the first line that cannot be read, with its number, its column and what to do.
        TypeError
            For an unknown option.
        """
        return cls(**table_columns(csv_rows(path), **passed_on("Dataset.from_csv", table_columns, options)))

    @classmethod
    def from_jsonl(cls, path: str | Path, **options: Any) -> Dataset:
        """Read an object a line: ``{"sequence": ["the", "cat"], "label": "sat"}``.

        Keys, options and errors are the columns, options and errors of `from_csv`; a sequence may be a list.
        """
        return cls(
            **table_columns(jsonl_rows(path), **passed_on("Dataset.from_jsonl", table_columns, options))
        )

    @classmethod
    def from_dataframe(cls, frame: Any, **options: Any) -> Dataset:
        """Read a `pandas.DataFrame` whose columns are those of `from_csv`, with the same options and errors."""
        return cls(
            **table_columns(frame_rows(frame), **passed_on("Dataset.from_dataframe", table_columns, options))
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """Rows as a `pandas.DataFrame`, as `from_dataframe` reads it; tokens by name if they have one."""
        from .reading.table_frames import frame_of

        return frame_of(self)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write an .npz of the rows, completely or not at all: what ``[data] file`` of an experiment reads.

        Token groups are not in it.

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        ValueError
            If its name does not end in .npz.
        """
        path = path_of("path", path)
        if path.suffix.lower() != ".npz":
            raise FieldError("path", f"{str(path)!r} must end in .npz.")
        check_file(path, overwrite)
        names = ("sequences", "labels", "weights", "groups", "held_out")
        named = {} if self.vocabulary is None else {"vocabulary": np.array(self.vocabulary)}
        write_npz(path, {name: np.asarray(getattr(self, name)) for name in names} | named)
        return path

    def __repr__(self) -> str:
        """Show the sizes, not the arrays."""
        sizes = f"n={len(self)}, n_ctx={self.n_ctx}, d_vocab={self.d_vocab}, held_out={self.held_out.sum()}"
        return f"Dataset({sizes}, groups={self.group_names})"

    def _repr_html_(self) -> str:
        """Groups and first sequences, for notebooks."""
        from .reading.data_card import data_card

        return data_card(self)

    def __len__(self) -> int:
        """Return the number of distinct rows, held-out ones included."""
        return self.sequences.shape[0]

    @property
    def n_ctx(self) -> int:
        """Length of every sequence."""
        return self.sequences.shape[1]

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups in order of first occurrence."""
        names, first = np.unique(self.groups, return_index=True)
        return tuple(str(names[i]) for i in np.argsort(first))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that the data set holds, row order included, but for the names of tokens."""
        digest = hashlib.sha256(f"{self.d_vocab} {self.sequences.shape}".encode())
        fields = [self.sequences, self.labels, self.weights, self.held_out, *self.token_groups.values()]
        for array in fields:
            digest.update(f"{array.dtype.kind} {array.size} ".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        digest.update(repr([self.groups.tolist(), list(self.token_groups)]).encode())
        return digest.hexdigest()

    @cached_property
    def counts(self) -> csr_array:
        """How often each token occurs in each row: sparse (n, d_vocab) float64, all rows."""
        return sealed(count_tokens(self.sequences, self.d_vocab))

    @cached_property
    def label_matrix(self) -> csr_array:
        """One-hot labels: sparse (n, d_vocab) float64, all rows."""
        n = len(self)
        entries = (np.ones(n), self.labels.copy(), np.arange(n + 1, dtype=np.int64))
        return sealed(csr_array(entries, shape=(n, self.d_vocab)))

    @cached_property
    def training_weights(self) -> Float[np.ndarray, " n"]:
        """Weights with held-out rows set to 0, shape (n,): they sum to 1."""
        return sealed(np.where(self.held_out, 0.0, self.weights))

    @cached_property
    def occurrences(self) -> Float[np.ndarray, " d_vocab"]:
        """Weighted number of occurrences of each token per training sequence (A5's r), shape (d_vocab,).

        A token that stands twice in a sequence counts twice.
        """
        return sealed(self.counts.T @ self.training_weights)

    @cached_property
    def _pair_weights(self) -> csr_array:
        """Return sparse C^T diag(w) Y over the training rows, (d_vocab, d_vocab)."""
        train = np.flatnonzero(~self.held_out)
        return sealed(paired(self.counts[train], self.weights[train], self.label_matrix[train]))

    def signature_parts(self) -> tuple[csr_array, npt.NDArray[np.float64]]:
        """Return the signature matrix without forming it.

        Returns
        -------
        pairs : csr_array, shape (d_vocab, d_vocab)
            ``S = C^T diag(w) Y``: weight of (token occurrence, label) pairs.
        occurrences : ndarray, shape (d_vocab,)
            ``r``, so that ``M = S - r 1 / d_vocab``: sparse minus rank one.
        """
        return self._pair_weights.copy(), self.occurrences.copy()

    def signature(self) -> Float[np.ndarray, "d_vocab d_vocab"]:
        """Return the signature matrix ``M = mean_i c(X_i)^T (y_i - 1/V)`` (A5), dense.

        Row ``s`` is ``r_s (P^s - 1/V)``. Only training rows take part.

        Returns
        -------
        ndarray, shape (d_vocab, d_vocab)

        Raises
        ------
        ValueError
            If it would take more than 2 GiB; `signature_parts` has no such limit.
        """
        if 8 * self.d_vocab**2 > _DENSE_LIMIT:
            size = 8 * self.d_vocab**2 / 2**30
            raise ValueError(
                f"`signature()` is dense and would take {size:.1f} GiB for `d_vocab` = {self.d_vocab}; "
                "use `signature_parts()`."
            )
        pairs, occurrences = self.signature_parts()
        return pairs.toarray() - occurrences[:, None] / self.d_vocab

    def label_law(self, token: int) -> Float[np.ndarray, " d_vocab"]:
        """Return the law ``P^s`` of the labels of the training sequences that contain `token`.

        Sequences count as often as the token occurs in them (A5).

        Parameters
        ----------
        token : int
            In ``[0, d_vocab)``.

        Returns
        -------
        ndarray, shape (d_vocab,)
            Sums to 1.

        Raises
        ------
        ValueError
            If no training sequence contains the token.
        """
        token = integer("token", token, 0)
        if token >= self.d_vocab or self.occurrences[token] == 0.0:
            raise FieldError("token", f"must occur in a training sequence, got {token}.")
        return self._pair_weights[[token]].toarray()[0] / self.occurrences[token]
