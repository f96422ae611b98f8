"""Groups of sequences: names that are sound, training and held-out rows apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.arrays import matching
from ...base.errors import FieldError
from ...base.validate import name_of


def clean_groups(value: Any, held_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.str_]:
    """Return the group of each row, ``"all"`` by default, no group holding training and held-out rows together.

    Parameters
    ----------
    value : array_like of str, shape (n,), or None
        Names as given.
    held_out : ndarray of bool, shape (n,)
        Which rows are held out.

    Returns
    -------
    ndarray of str, shape (n,)
        A group with rows of both kinds is split: those of NAME are called NAME-train and NAME-test.

    Raises
    ------
    FieldError
        If a name is no line of text (see `name_of`), or if a split would take the name of another group.
    """
    names = np.full(len(held_out), "all") if value is None else _names(value, len(held_out))
    both = np.intersect1d(names[held_out], names[~held_out])
    if not both.size:
        return names
    if taken := sorted({f"{name}-{part}" for name in both for part in ("train", "test")} & set(names)):
        name = taken[0].rpartition("-")[0]
        raise FieldError(
            "groups",
            f"{name!r} has training and held-out rows and would be split into '{name}-train' and '{name}-test', "
            f"but {taken[0]!r} is a group already: rename one.",
        )
    parts = np.char.add(names, np.where(held_out, "-test", "-train"))
    return np.where(np.isin(names, both), parts, names)


def _names(value: Any, n: int) -> npt.NDArray[np.str_]:
    array = matching("groups", np.asarray(value, dtype=object), n)
    for name in dict.fromkeys(array.tolist()) if all(isinstance(n, str) for n in array) else array:
        name_of("groups", name)
    return array.astype(str)
