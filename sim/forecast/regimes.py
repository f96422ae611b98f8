"""In which regime each normalisation of a network sits along a run, and when it leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...theory.base.columns import aligned
from ...theory.base.crossings import first_reached
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import kind_of
from ..trajectory.trajectory import Trajectory
from .starts.signals import largest_norm_eps, signals

ABOVE, BELOW = (
    10.0,
    0.1,
)  # mean square over eps from which only direction counts; up to which the norm is linear
NAMES = ("linear", "between", "direction")


@dataclass(frozen=True, eq=False)
class NormRegimes(FrozenRecord):
    """What the normalisations of a network do at the saved times of a run.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Flow time.
    ratios : dict
        Block -> mean square of the rows that its normalisations divide, over eps (n_t,); the mean of all its rows.
    start : dict
        Block -> "linear" (ratio up to 0.1), "direction" (10 and more) or "between", at the first saved time.
    left : dict
        Block -> first saved time at which it is another; infinity if never.
    """

    t: np.ndarray
    ratios: Mapping[str, np.ndarray]
    start: Mapping[str, str]
    left: Mapping[str, float]

    def __str__(self) -> str:
        """A line for each block."""
        rows = [
            (block, self.start[block], f"{ratio[0]:.3g}", f"{ratio[-1]:.3g}", f"{self.left[block]:.3g}")
            for block, ratio in self.ratios.items()
        ]
        head = ("norms of", "regime at the start", "mean square / eps", "at the end", "left at t")
        return aligned(head, rows)


def norm_regimes(trajectory: Trajectory) -> NormRegimes:
    """Look at the normalisations of a network along a run of theory or training.

    Where a mean square lies far above eps, series are expanded about the direction of the stream, as closures take for
    granted; far below, closures with ``norm=linear`` hold.

    Parameters
    ----------
    trajectory : Trajectory
        With its model, its data and weights at some times.

    Returns
    -------
    NormRegimes
        Regimes at the start and when they are left.

    Raises
    ------
    ValueError
        If the model or data are missing, no weights were kept, or the model has no normalisation with an eps.
    """
    kind_of("trajectory", trajectory, Trajectory, "`integrate` and `train` make one")
    model, data = trajectory.model_and_data()
    if not (eps := largest_norm_eps(model)) > 0.0:
        raise FieldError(
            "trajectory",
            f"is one of {model.name} without a normalisation that adds an eps: there are no regimes.",
        )
    if not trajectory.weights:
        raise FieldError(
            "trajectory", 'has kept no weights: run it with keep="weights" or without observables.'
        )
    seen = [signals(model, trajectory.state(i), data) for i in range(len(trajectory.t))]
    blocks = [block for block, kind in seen[0] if kind == "variance"]
    ratios = {b: np.array([float(np.mean(s[b, "variance"])) / eps for s in seen]) for b in blocks}
    kinds = {b: np.digitize(r, [BELOW, ABOVE]) for b, r in ratios.items()}
    first = {b: first_reached(kind != kind[0]) for b, kind in kinds.items()}
    left = {b: float(trajectory.t[i]) if i >= 0 else float("inf") for b, i in first.items()}
    return NormRegimes(trajectory.t, ratios, {b: NAMES[k[0]] for b, k in kinds.items()}, left)
