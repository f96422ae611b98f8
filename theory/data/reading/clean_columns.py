"""Columns of a data set, each checked and cleaned, and equal rows merged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.arrays import as_array, matching, row_codes, tokens, weights
from ...base.errors import FieldError
from ...base.frozen import frozen, sealed
from ...base.validate import brief, name_of


def clean_weights(value: Any, n: int) -> npt.NDArray[np.float64]:
    """Return positive weights, ones by default."""
    return np.ones(n) if value is None else weights("weights", value, n, allow_zero=False)


def clean_held_out(value: Any, n: int) -> npt.NDArray[np.bool_]:
    """Return the held-out mask, all False by default; at least one row must be for training."""
    if value is None:
        return np.zeros(n, dtype=np.bool_)
    array = matching("held_out", as_array("held_out", value), n)
    if array.dtype != np.bool_:
        raise FieldError("held_out", f"must hold booleans, got dtype {array.dtype}.")
    if array.all():
        raise FieldError("held_out", f"must leave at least one training sequence, got all {n} held out.")
    return array.copy()


def clean_token_groups(
    value: Any, d_vocab: int, field: str = "token_groups"
) -> Mapping[str, npt.NDArray[np.int64]]:
    """Return the named token sets, none by default."""
    clean: dict[str, npt.NDArray[np.int64]] = {}
    for name, members in dict(value or {}).items():
        name_of(field, name)
        clean[name] = tokens(f"{field}[{name!r}]", members, 1, d_vocab)
    return frozen({name: sealed(members) for name, members in clean.items()})


def clean_vocabulary(value: Any, d_vocab: int | None = None) -> tuple[str, ...] | None:
    """Return the names of the first tokens."""
    if value is None:
        return None
    names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise FieldError("vocabulary", f"must be distinct names of tokens, got {brief(value)}.")
    if wrong := next((name for name in names if re.search(r"[\ud800-\udfff]", name)), None):
        raise FieldError("vocabulary", f"has a name that is no text, {brief(wrong)}: half of a pair.")
    if d_vocab is not None and len(names) > d_vocab:
        raise FieldError(
            "vocabulary", f"has {len(names)} names for `d_vocab` = {d_vocab} tokens: leave some out."
        )
    return tuple(str(name) for name in names)


def merged(columns: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Merge equal rows (weights added, first occurrence first) and scale training weights to sum 1."""
    group_codes = np.unique(columns["groups"], return_inverse=True)[1].astype(np.int64)
    keys = [*columns["sequences"].T, columns["labels"], group_codes, columns["held_out"].astype(np.int64)]
    _, first, inverse = np.unique(row_codes(keys), return_index=True, return_inverse=True)
    if first.size < inverse.size:
        order = np.argsort(first)
        total = np.bincount(inverse, weights=columns["weights"])[order]
        columns = {name: array[first[order]] for name, array in columns.items()} | {"weights": total}
    with np.errstate(over="ignore"):
        scale = columns["weights"][~columns["held_out"]].sum()
    if not np.isfinite(scale):
        raise FieldError("weights", "must have a finite sum; scale them down.")
    return columns | {"weights": columns["weights"] / scale}
