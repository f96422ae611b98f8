"""Closures laid over a decoder's training: losses by group, predicted by the same optimizer before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ....theory.base.crossings import first_crossing
from ....theory.data.dataset import Dataset
from ...plots.marks.palette import BLACK, GREY
from ..arguments import FigureState, resumable
from ..result import Statistic
from .curves import Regime

# The first keeps averages in place of attention: the label laws are all that it can learn while keys are among noise.
# The second keeps attention whole, and of the activation what the first drops up to its cube.
CLOSURES = ("softmax", "activation=3")
LINES = {"softmax": (BLACK, (0, (4, 1.5))), "activation=3": (GREY, (0, (1, 1)))}
WITHIN = 0.1
WHEN = "the first step with a loss below the entropy of its labels"


def laid_over(
    regime: Regime, data: Dataset, gamma: float, seed: int, steps: np.ndarray, groups: Sequence[str],
    state: FigureState | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return predicted losses, "theory/{closure}/{group}" -> (n_t,), and "theory step"."""
    found = {"theory step": steps}
    for closure in CLOSURES:
        kept = resumable(state, "theory", closure, gamma, seed)
        predicted = regime.predict(closure, data, gamma, seed, steps, **kept)
        found |= {f"theory/{closure}/{group}": predicted.measured[f"loss/{group}"] for group in groups}
    return found


@dataclass(frozen=True, eq=False)
class Laid:
    """Losses of some groups, trained and predicted at the same steps.

    Attributes
    ----------
    steps : ndarray, shape (n_t,)
        Optimizer steps.
    trained, predicted : ndarray, shape (groups, n_seeds, n_t)
        In nats.
    levels : ndarray, shape (groups, n_seeds)
        Losses at which a group counts as learnt beyond the frequencies of its labels.
    ordered : tuple of int
        Groups whose order is asked for.
    """

    steps: np.ndarray
    trained: np.ndarray
    predicted: np.ndarray
    levels: np.ndarray
    ordered: tuple[int, ...]

    @classmethod
    def of(
        cls, arrays: Mapping[str, np.ndarray], closure: str, groups: Sequence[str], levels: np.ndarray,
        ending: str, ordered: Sequence[str],
    ) -> Laid:  # fmt: skip
        """Take them from a figure's arrays; levels (n_seeds, groups)."""
        predicted = np.array([arrays[f"theory/{closure}/{group}{ending}"] for group in groups])
        trained = np.array([arrays[f"loss/{group}{ending}"] for group in groups])
        n = predicted.shape[-1]
        places = tuple(list(groups).index(group) for group in ordered)
        return cls(arrays["step"][:n], trained[..., :n], predicted, levels.T, places)

    def crossings(self, side: str) -> np.ndarray:
        """Steps at which the ordered groups of "trained" or "predicted" fall to their levels; inf if not in time."""
        curves, rows = getattr(self, side), list(self.ordered)
        return first_crossing(self.steps, curves[rows], self.levels[rows])  # (ordered, n_seeds)

    def errors(self, until: np.ndarray) -> np.ndarray:
        """Largest relative error of a predicted loss over groups and steps up to one step a seed (n_seeds,)."""
        off = np.abs(self.predicted / self.trained - 1.0).max(axis=0)
        return np.where(self.steps <= until[:, None], off, 0.0).max(axis=1)

    def first_apart(self) -> np.ndarray:
        """Relative error of the step at which the first group falls to its level (n_seeds,); nan without one."""
        trained, predicted = self.crossings("trained"), self.crossings("predicted")
        first = trained.argmin(axis=0), np.arange(trained.shape[1])
        with np.errstate(invalid="ignore"):
            return np.abs(predicted[first] / trained[first] - 1.0)

    def same_order(self) -> np.ndarray:
        """Whether groups fall in the same order on both sides (n_seeds,), those that do not fall last."""
        orders = [self.crossings(side).argsort(axis=0, kind="stable") for side in ("trained", "predicted")]
        fell = np.isfinite(self.crossings("trained")).any(axis=0) & np.isfinite(
            self.crossings("predicted")
        ).any(axis=0)
        return fell & (orders[0] == orders[1]).all(axis=0)


def of_closure(
    closure: str, laid: Laid, when: str = WHEN, until: tuple[np.ndarray, str] | None = None
) -> tuple[Statistic, ...]:
    """Decide whether a closure, moved by the same optimizer, predicted the losses of groups.

    Parameters
    ----------
    closure : str
        Its name.
    laid : Laid
        Losses, and the levels of the crossings.
    when : str
        What a crossing is, in words.
    until : tuple, optional
        Step of each seed (n_seeds,) up to which losses are compared, and its name; by default the first crossing.
    """
    trained, predicted = laid.crossings("trained"), laid.crossings("predicted")
    end, name = until or (trained.min(axis=0), when)
    note = f"trained steps {_steps(trained)}; predicted {_steps(predicted)}"
    return (
        Statistic.within(
            f"The closure {closure}, under the same AdamW, predicts the losses of all groups up to the first crossing.",
            f"Largest relative error of a group's loss up to {name}",
            laid.errors(end),
            below=WITHIN,
        ),
        Statistic.within(
            f"{closure} predicts when the first group crosses.",
            f"Relative error of {when}, of the group that is first",
            laid.first_apart(),
            below=WITHIN,
            note=note,
        ),
        Statistic.within(
            f"{closure} predicts in which order the groups cross.",
            f"1 if both sides have the same order of {when}, otherwise 0",
            laid.same_order(),
            above=0.0,
        ),
    )


def _steps(crossings: np.ndarray) -> str:
    """Steps by seed, groups apart by slashes."""
    return ", ".join("/".join("-" if np.isinf(x) else f"{x:.0f}" for x in seed) for seed in crossings.T)


def theory_lines(ax: Axes, arrays: Mapping[str, np.ndarray], groups: Sequence[str], ending: str = "") -> None:
    """Draw predicted losses, medians over seeds, of every closure."""
    for closure in CLOSURES:
        colour, line = LINES[closure]
        for group in groups:
            curves: Any = arrays[f"theory/{closure}/{group}{ending}"]
            steps = arrays["step"][: curves.shape[1]]
            ax.plot(steps, np.median(curves, axis=0), color=colour, ls=line, lw=0.9, zorder=3)


def theory_handles(ax: Axes) -> tuple[list[Any], list[str]]:
    """Return marks and names of the closures' lines for a legend."""
    lines = [ax.plot([], [], color=colour, ls=line, lw=0.9)[0] for colour, line in LINES.values()]
    return lines, [f"closure {name}" for name in LINES]
