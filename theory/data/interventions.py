"""Changes of a data set that leave all else equal: how to ask what causes the order of learning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..base.arrays import as_array
from ..base.errors import FieldError
from ..base.validate import integer, is_real, kind_of, name_of
from .dataset import Dataset


def subset(data: Dataset, keep: npt.ArrayLike, shares: Mapping[str, float] | None = None) -> Dataset:
    """Keep some rows, and give groups a share of the training weight.

    Parameters
    ----------
    data : Dataset
        What to take them from.
    keep : array_like of bool, shape (n,)
        Rows to keep.
    shares : dict, optional
        Group -> total weight of its training rows; by default what each had before, so that a thinned group counts
        as much as the whole one did.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the mask has the wrong shape, or a group is unknown, loses all its training rows or has a share that is not
        positive.
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    mask = as_array("keep", keep)
    if mask.shape != (len(data),) or mask.dtype != bool:
        raise FieldError("keep", f"must be {len(data)} booleans, got {mask.dtype} of shape {mask.shape}.")
    training = {g: (data.groups == g) & ~data.held_out for g in data.group_names}
    wanted = {g: float(data.weights[rows].sum()) for g, rows in training.items() if rows.any()}
    given = {} if shares is None else kind_of("shares", shares, Mapping, "give a dict of groups to numbers")
    for group, share in given.items():
        if group not in wanted or not is_real(share) or not 0.0 < share < np.inf:
            raise FieldError(
                "shares",
                f"must give positive numbers to groups of {', '.join(wanted)}, got {share!r} for {group!r}.",
            )
        wanted[group] = share
    weights = data.weights.copy()
    for group, share in wanted.items():
        rows = training[group] & mask
        if not rows.any():
            raise FieldError("keep", f"leaves the group {group!r} without training rows; keep at least one.")
        weights[rows] *= share / weights[rows].sum()
    return _with(data, mask, weights, data.labels)


def shuffle_labels(data: Dataset, group: str, seed: int = 0) -> Dataset:
    """Deal the labels of a group's training rows out anew: the same label frequencies, no rule.

    Raises
    ------
    ValueError
        If the group has no training rows.
    """
    kind_of("data", data, Dataset, "Dataset.from_csv(path) makes one")
    name_of("group", group)
    rows = np.flatnonzero((data.groups == group) & ~data.held_out)
    if not rows.size:
        raise FieldError("group", f"{group!r} has no training rows; there are {', '.join(data.group_names)}.")
    labels = data.labels.copy()
    labels[rows] = np.random.default_rng(integer("seed", seed, 0)).permutation(labels[rows])
    return _with(data, np.ones(len(data), dtype=bool), data.weights, labels)


def _with(data: Dataset, mask: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> Dataset:
    columns = (data.sequences[mask], labels[mask], data.d_vocab, weights[mask], data.groups[mask])
    return Dataset(*columns, data.held_out[mask], data.token_groups, data.vocabulary)
