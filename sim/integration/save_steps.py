"""Which steps to save: the rules of `integrate` for times, applied to steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...theory.base.arrays import real_array
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, integer, is_integer
from ..ode.record import MOST_TIMES

MOST_STEPS = 10**8  # of which every one has a rate and a time in memory


def save_steps(save_at: Any, steps: int) -> np.ndarray:
    """Resolve `save_at` to increasing steps within 0 .. `steps`.

    None gives step 0 and about 100 evenly spaced steps; a count k > 1 gives k even ones from 0 to `steps`, a
    count of 1 the last; an array gives just its steps. These are the rules of `integrate`, so that equal
    counts share times.
    """
    if save_at is None:
        return np.unique(np.rint(np.linspace(0, steps, 101)).astype(np.int64))
    if is_integer(save_at):
        count = integer("save_at", save_at, 1, MOST_TIMES)
        return np.unique(np.rint(np.linspace(0, steps, count) if count > 1 else [steps]).astype(np.int64))
    return _listed_steps(save_at, steps)


def _listed_steps(save_at: Any, steps: int) -> np.ndarray:
    form = "must be None, a count, or an increasing list of steps"
    try:
        wanted = real_array("save_at", save_at, finite=False)
    except FieldError:
        raise FieldError("save_at", f"{form}, got {brief(save_at)}.") from None
    if wanted.ndim != 1 or wanted.size == 0:
        raise FieldError("save_at", f"{form}, got an array of shape {wanted.shape}.")
    whole = np.isfinite(wanted) & (wanted == np.floor(wanted))
    if not whole.all():
        raise FieldError(
            "save_at", f"{form}, got {wanted[~whole][0]}: divide flow times by the learning rate and round."
        )
    outside = (wanted < 0) | (wanted > steps)
    if outside.any():
        raise FieldError("save_at", f"must lie in [0, steps] = [0, {steps}], got {int(wanted[outside][0])}.")
    if (np.diff(wanted) <= 0).any():
        raise FieldError("save_at", f"{form}, got repeated or unordered steps: apply `numpy.unique` first.")
    return wanted.astype(np.int64)
