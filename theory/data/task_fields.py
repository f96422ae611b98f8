"""Validators of the fields of `CompositeTask`: each returns the clean value or refuses in one sentence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..base.arrays import weights
from ..base.errors import FieldError
from ..base.validate import integer

MOST_TOKENS, LARGEST = 2**20, 2**31  # in a sequence; token, and size of a vocabulary


def token_set(name: str, members: Any) -> tuple[int, ...]:
    """Return distinct tokens in increasing order."""
    try:
        if isinstance(members, str):  # an experiment file says "21-40"; its letters are no tokens
            raise TypeError
        clean = sorted(integer(name, member, 0, LARGEST) for member in members)
    except TypeError:
        raise FieldError(
            name, f"must be a range or a list of integers, such as range(21, 41), got {members!r}."
        ) from None
    if not clean:
        raise FieldError(name, f"must not be empty, got {members!r}.")
    twice = [left for left, right in pairwise(clean) if left == right]
    if twice:
        raise FieldError(name, f"must hold distinct tokens, got {twice[0]} twice.")
    return tuple(clean)


def in_short(members: tuple[int, ...]) -> range | tuple[int, ...]:
    """Show a set of tokens as `token_set` takes it: consecutive ones as a range."""
    row = range(members[0], members[-1] + 1)
    return row if len(members) > 2 and len(row) == len(members) else members


def check_disjoint(sets: dict[str, tuple[int, ...]]) -> None:
    """Refuse two sets that share a token."""
    names = list(sets)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted(set(sets[first]) & set(sets[second]))
            if shared:
                raise FieldError(first, f"and `{second}` must be disjoint, both hold {shared[0]}.")


def sequence_length(value: Any, n_anchors: int) -> int:
    """Return the length, long enough for the anchors and the key before them."""
    length = integer("length", value, 1, MOST_TOKENS)
    if length <= n_anchors:
        raise FieldError("length", f"must be at least `n_anchors` + 1 = {n_anchors + 1}, got {length}.")
    return length


def masked_tuples(value: Any, anchors: tuple[int, ...], n_anchors: int) -> tuple[tuple[int, ...], ...]:
    """Return the distinct held-out tuples in order."""
    try:
        clean = sorted({tuple(integer("masked", member, 0) for member in entry) for entry in value})
    except TypeError:
        raise FieldError("masked", f"must be a list of tuples of integers, got {value!r}.") from None
    for entry in clean:
        if len(entry) != n_anchors or not set(entry) <= set(anchors):
            raise FieldError(
                "masked",
                f"must hold tuples of {n_anchors} reasoning anchors, got {entry}; "
                "`masked=()` holds nothing out.",
            )
    return tuple(clean)


def position_law(value: Any, n_positions: int) -> tuple[float, ...]:
    """Return the law of the key's position, uniform by default."""
    if value is None:
        return (1.0 / n_positions,) * n_positions
    law = weights("positions", value, n_positions, allow_zero=True)
    with np.errstate(over="ignore"):
        total = law.sum()
    if not 0 < total < np.inf:
        raise FieldError("positions", f"must have a positive finite sum, got {total}.")
    return tuple(float(weight) for weight in law / total)


def vocabulary_size(value: Any, clean: dict[str, Any]) -> int:
    """Return the vocabulary size: the smallest that holds every token and label unless one is given."""
    largest_label = clean["keys"][-1] + clean["n_anchors"] * clean["reasoning_anchors"][-1]
    needed = 1 + max(largest_label, clean["memory_anchors"][-1])
    if value is None:
        return needed
    if integer("d_vocab", value, 1, LARGEST) < needed:
        raise FieldError("d_vocab", f"must be at least {needed} to hold every token and label, got {value}.")
    return int(value)
