"""The composite anchor task (A1): memory and reasoning anchors after a key, noise keys elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.arrays import row_codes, tokens
from ..base.errors import FieldError
from ..base.validate import integer
from .dataset import Dataset
from .task_fields import (
    MOST_TOKENS,
    check_disjoint,
    in_short,
    masked_tuples,
    position_law,
    sequence_length,
    token_set,
    vocabulary_size,
)

Ints = npt.NDArray[np.int64]

_ROW_LIMIT = 5_000_000
_INDEX_LIMIT = 2**62
# SplitMix64: the golden-ratio increment and the two multipliers of its finaliser.
_INCREMENT, _MIX_1, _MIX_2 = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True, init=False, repr=False)
class CompositeTask:
    """The composite anchor task of the paper's A1, in full generality.

    A sequence of `length` tokens holds `n_anchors` consecutive anchors at positions ``p+1 .. p+q``, all of
    one kind, and keys elsewhere; only the key at ``p`` just before them matters. A reasoning label is that
    key plus the sum of the anchors. A memory label is one uniform draw from `keys` per (key, anchors) tuple.
    Every anchor tuple has the same total weight; keys and noise keys are uniform.

    Parameters
    ----------
    keys, memory_anchors, reasoning_anchors : range or iterable of int
        Distinct non-negative tokens; the three sets are disjoint. Kept as sorted tuples.
    n_anchors : int
        Number of anchors q, at least 1.
    length : int
        Length L of every sequence, at least ``n_anchors + 1``.
    masked : iterable of tuples of int
        Reasoning anchor tuples that are held out as the test set.
    positions : array_like of float, shape (length - n_anchors,), optional
        Non-negative weights of ``p = 1, 2, ...``; uniform by default. Kept as a law, summing to 1.
    seed : int
        Fixes the memory labels: each depends on this seed and on its own (key, anchors) tuple only, so
        `dataset` and every `sampled` agree on it.
    d_vocab : int, optional
        Size of the vocabulary; by default 1 + the largest token or label.

    Raises
    ------
    ValueError
        If sets are empty or overlap, the length is too short, a masked tuple is not a tuple of reasoning
        anchors, or a token or label does not fit in `d_vocab`.
    """

    keys: tuple[int, ...]
    memory_anchors: tuple[int, ...]
    reasoning_anchors: tuple[int, ...]
    n_anchors: int
    length: int
    masked: tuple[tuple[int, ...], ...]
    positions: tuple[float, ...]
    seed: int
    d_vocab: int

    def __init__(
        self,
        keys: Iterable[int] = range(21, 121),
        memory_anchors: Iterable[int] = range(1, 11),
        reasoning_anchors: Iterable[int] = range(11, 21),
        n_anchors: int = 2,
        length: int = 3,
        masked: Iterable[Iterable[int]] = ((11, 13), (13, 11)),
        positions: npt.ArrayLike | None = None,
        seed: int = 0,
        d_vocab: int | None = None,
    ) -> None:
        sets = {"keys": keys, "memory_anchors": memory_anchors, "reasoning_anchors": reasoning_anchors}
        clean: dict[str, Any] = {name: token_set(name, members) for name, members in sets.items()}
        check_disjoint(clean)
        clean["n_anchors"] = integer("n_anchors", n_anchors, 1, MOST_TOKENS)
        clean["length"] = sequence_length(length, clean["n_anchors"])
        clean["masked"] = masked_tuples(masked, clean["reasoning_anchors"], clean["n_anchors"])
        clean["positions"] = position_law(positions, clean["length"] - clean["n_anchors"])
        clean["seed"] = integer("seed", seed, 0)
        clean["d_vocab"] = vocabulary_size(d_vocab, clean)
        for name, value in clean.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """As it is made; consecutive tokens are a range, and uniform positions are left out."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown |= {name: in_short(shown[name]) for name in ("keys", "memory_anchors", "reasoning_anchors")}
        if len(set(self.positions)) == 1:
            del shown["positions"]
        return f"CompositeTask({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def n_noise(self) -> int:
        """Number of noise keys in a sequence."""
        return self.length - self.n_anchors - 1

    @property
    def token_groups(self) -> dict[str, Ints]:
        """Tokens by role: ``"keys"``, ``"memory-anchors"``, ``"reasoning-anchors"``."""
        named = {
            "keys": self.keys,
            "memory-anchors": self.memory_anchors,
            "reasoning-anchors": self.reasoning_anchors,
        }
        return {name: np.array(members) for name, members in named.items()}

    @property
    def n_sequences(self) -> int:
        """Number of distinct sequences of positive probability, held-out ones included."""
        n_tuples = sum(self._n_tuples())
        n_positions = sum(weight > 0 for weight in self.positions)
        return n_tuples * n_positions * len(self.keys) ** (1 + self.n_noise)

    def dataset(self) -> Dataset:
        """Return every distinct sequence with its exact weight.

        Returns
        -------
        Dataset
            With groups ``"memory"``, ``"reasoning-train"`` and ``"reasoning-test"`` (held out).

        Raises
        ------
        ValueError
            If there are more than 5 million sequences; use `sampled` then.
        """
        if self.n_sequences > _ROW_LIMIT:
            # A number of thousands of digits would help nobody (and Python refuses to print it).
            count = f"{self.n_sequences:,}" if self.n_sequences < 10**15 else "more than 10^15"
            raise ValueError(
                f"`dataset()` would enumerate {count} sequences (limit {_ROW_LIMIT:,}); use `sampled(n)`."
            )
        n_keys, law = len(self.keys), np.array(self.positions)
        used = np.flatnonzero(law)
        n_noise = n_keys**self.n_noise
        shape = (sum(self._n_tuples()), used.size, n_keys, n_noise)
        which, position, key, noise = np.unravel_index(np.arange(self.n_sequences), shape)
        # Keys and noise are uniform, so only the position's probability tells rows apart.
        return self._build(
            which, used[position], key, _digits(noise, n_keys, self.n_noise), law[used[position]]
        )

    def sampled(self, n: int, seed: int | None = None, balanced: bool = False) -> Dataset:
        """Return `n` random pairs, equal numbers per anchor tuple (a remainder goes to random tuples).

        Parameters
        ----------
        n : int
            Number of pairs, held-out ones included; equal pairs merge into one weighted row.
        seed : int, optional
            Of the draws of keys, positions and noise; the task's own seed by default. Memory labels
            always come from the task's seed.
        balanced : bool
            Whether numbers are equal per anchor tuple, position and key before the anchors, so that label laws are
            exact from few pairs and only the noise is random. Positions are then weighted by their law. `n` must be a
            multiple of the number of such cells.

        Returns
        -------
        Dataset
        """
        n = integer("n", n, 1)
        rng = np.random.default_rng([self.seed, 1] if seed is None else integer("seed", seed, 0))
        n_keys, n_tuples, law = len(self.keys), sum(self._n_tuples()), np.array(self.positions)
        if balanced:
            used = np.flatnonzero(law)
            cells = n_tuples * used.size * n_keys
            if n % cells:
                near = max(1, round(n / cells)) * cells
                raise FieldError(
                    "n", f"must be a multiple of {cells} where `balanced`, got {n}: take {near}."
                )
            cell = _equal_numbers(n, cells, rng)
            which, position, key = np.unravel_index(cell, (n_tuples, used.size, n_keys))
            position = used[position]
            weight = law[position]
        else:
            which = _equal_numbers(n, n_tuples, rng)
            position = rng.choice(law.size, size=n, p=law)
            key = rng.integers(n_keys, size=n)
            weight = np.ones(n)
        noise = rng.integers(n_keys, size=(n, self.n_noise))
        return self._build(which, position, key, noise, weight)

    def memory_labels(self, keys: npt.ArrayLike, anchors: npt.ArrayLike) -> Ints:
        """Return the memory label of each (key, anchors) tuple, one uniform draw from `keys` each.

        Parameters
        ----------
        keys : array_like of int, shape (n,)
        anchors : array_like of int, shape (n, n_anchors)

        Returns
        -------
        ndarray of int, shape (n,)
        """
        key, others = (
            tokens(n, v, d, self.d_vocab) for n, v, d in (("keys", keys, 1), ("anchors", anchors, 2))
        )
        if others.shape != (key.size, self.n_anchors):
            raise FieldError(
                "anchors", f"must have shape ({key.size}, {self.n_anchors}), got {others.shape}."
            )
        columns = np.column_stack([key, others]).astype(np.uint64)
        return np.array(self.keys)[_hash_rows(columns, self.seed) % np.uint64(len(self.keys))]

    def _n_tuples(self) -> tuple[int, int]:
        """Return the numbers of memory and of reasoning anchor tuples."""
        return len(self.memory_anchors) ** self.n_anchors, len(self.reasoning_anchors) ** self.n_anchors

    def _build(
        self, which: Ints, position: Ints, key: Ints, noise: Ints, weight: npt.NDArray[np.float64]
    ) -> Dataset:
        """Return the data set of the given rows.

        `which` (n,) numbers the anchor tuples, memory first; `position` (n,) is p - 1; `key` (n,) and
        `noise` (n, n_noise) are indices into the keys.
        """
        all_keys, n_memory = np.array(self.keys), self._n_tuples()[0]
        memory = which < n_memory
        anchors = np.empty((which.size, self.n_anchors), dtype=np.int64)
        for rows, first, members in (
            (memory, 0, self.memory_anchors),
            (~memory, n_memory, self.reasoning_anchors),
        ):
            anchors[rows] = np.array(members)[_digits(which[rows] - first, len(members), self.n_anchors)]
        keys = all_keys[key]
        labels = np.where(memory, self.memory_labels(keys, anchors), keys + anchors.sum(axis=1))
        held_out = ~memory & _is_among(anchors, self.masked)
        groups = np.array(["memory", "reasoning-train", "reasoning-test"])[np.where(memory, 0, 1 + held_out)]
        return Dataset(
            _assemble(keys, anchors, all_keys[noise], position),
            labels,
            self.d_vocab,
            weights=weight,
            groups=groups,
            held_out=held_out,
            token_groups=self.token_groups,
        )


def _digits(numbers: Ints, base: int, n_digits: int) -> Ints:
    """Return the base-`base` digits of `numbers`, shape (n, n_digits), most significant first."""
    digits = np.empty((numbers.size, n_digits), dtype=np.int64)
    for column in reversed(range(n_digits)):
        numbers, digits[:, column] = np.divmod(numbers, base)
    return digits


def _equal_numbers(n: int, n_tuples: int, rng: np.random.Generator) -> Ints:
    """Return `n` tuple numbers in order, each as often as the others up to a random remainder."""
    if n_tuples > _INDEX_LIMIT:
        raise FieldError("n_anchors", "gives more than 2^62 anchor tuples, too many to number; lower it.")
    each, rest = divmod(n, n_tuples)
    extra = rng.choice(n_tuples, size=rest, replace=False, shuffle=False)
    # With fewer pairs than tuples, never form the list of all tuples.
    full = np.repeat(np.arange(n_tuples), each) if each else np.empty(0, dtype=np.int64)
    return np.sort(np.concatenate([full, extra.astype(np.int64)]), kind="stable")


def _is_among(rows: Ints, members: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.bool_]:
    """Return which rows equal one of `members`."""
    if not members:
        return np.zeros(rows.shape[0], dtype=np.bool_)
    codes = row_codes(list(np.concatenate([np.array(members), rows]).T))
    return np.isin(codes[len(members) :], codes[: len(members)])


def _assemble(keys: Ints, anchors: Ints, noise: Ints, position: Ints) -> Ints:
    """Return the sequences (n, length): key at `position` (from 0), anchors after it, noise elsewhere."""
    n_anchors, length = anchors.shape[1], 1 + anchors.shape[1] + noise.shape[1]
    sequences = np.empty((keys.size, length), dtype=np.int64)
    for p in np.unique(position):
        rows = np.flatnonzero(position == p)
        elsewhere = np.array([j for j in range(length) if not p <= j <= p + n_anchors], dtype=np.int64)
        sequences[rows, p] = keys[rows]
        sequences[rows, p + 1 : p + 1 + n_anchors] = anchors[rows]
        sequences[np.ix_(rows, elsewhere)] = noise[rows]
    return sequences


def _hash_rows(columns: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Hash each row to 64 uniform bits (SplitMix64's finaliser, one round per column).

    A hash instead of a stream of draws: a label then does not depend on which other tuples are present.
    """
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    state: npt.NDArray[np.uint64] = np.repeat(start, columns.shape[0]).astype(np.uint64)
    for column in columns.T:
        state = (state ^ column) + _INCREMENT
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
    return state
