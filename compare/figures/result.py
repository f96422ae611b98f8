"""What a figure of the paper comes to: curves, a drawing, and its claims decided by numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Statistic:
    """One qualitative claim of the paper, decided by a number per seed.

    Attributes
    ----------
    claim : str
        What the paper says, in words.
    definition : str
        The number, its units, and the bound that decides: "... ; reproduced if > 0 for every seed". How bounds were
        chosen: docs/figures.md.
    values : tuple of float
        The number for every seed.
    reproduced : bool
        Whether the bound is met.
    note : str
        What an outcome depends on, where there is something to say.
    """

    claim: str
    definition: str
    values: tuple[float, ...]
    reproduced: bool
    note: str = ""

    @classmethod
    def within(
        cls,
        claim: str,
        number: str,
        values: Iterable[float],
        *,
        above: float | None = None,
        below: float | None = None,
        note: str = "",
    ) -> Statistic:
        """Decide a claim by strict bounds on a number; nan meets none, and no values decide nothing.

        Parameters
        ----------
        claim, number, note : str
            What is said, and the number that decides.
        values : iterable of float
            The number for every seed; infinity lies above every bound.
        above, below : float, optional
            The bounds.
        """
        some = tuple(map(float, values))
        bounds = [f"{s} {bound:g}" for s, bound in ((">", above), ("<", below)) if bound is not None]
        met = bool(some) and not any(
            isnan(v) or (above is not None and v <= above) or (below is not None and v >= below) for v in some
        )
        return cls(claim, f"{number}; reproduced if {' and '.join(bounds)} for every seed", some, met, note)


@dataclass(frozen=True, eq=False)
class FigureResult:
    """A figure of the paper, computed.

    Attributes
    ----------
    name, title, caption : str
        "3b", one line, and what the panels show.
    settings : dict
        Everything that was chosen, JSON-able: model, task, gammas, seeds, optimiser, steps, and what the paper leaves
        open.
    statistics : tuple of Statistic
        The claims.
    draw : callable
        Draws all panels into an empty matplotlib figure.
    arrays : dict
        The curves and matrices behind it, by name, for a user's own plot.
    """

    name: str
    title: str
    caption: str
    settings: Mapping[str, Any]
    statistics: tuple[Statistic, ...]
    draw: Callable[[Figure], None]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def by_seed(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of runs that differ in their seed, name -> (n_seeds, ...)."""
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def listed(values: Iterable[float]) -> str:
    """Return numbers as text, one per seed."""
    return ", ".join(f"{value:.3g}" if value < 10.0 else f"{value:.0f}" for value in values)
