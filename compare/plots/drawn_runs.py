"""What a panel is given: theories and trainings, told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from .drawable import DrawableOverlay, drawable
from .literal import literal
from .marks.palette import GREY

LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))

Run = Trajectory | DrawableOverlay


@dataclass(frozen=True)
class Runs:
    """What a panel draws: theories as lines, trainings as hollow markers, or as lines where they are alone."""

    theories: tuple[Trajectory, ...]
    trainings: tuple[Trajectory, ...]

    @classmethod
    def of(cls, given: Sequence[Run | Sequence[Run]]) -> Runs:
        """Sort trajectories and the sides of overlays, each once.

        Raises
        ------
        FieldError
            If there are none, too many, or something else is among them.
        """
        found: list[Trajectory] = []
        for run in _flat(given):
            sides = [run] if isinstance(run, Trajectory) else [run.theory, run.training]
            found += [side for side in sides if not any(side is other for other in found)]
        theories = tuple(run for run in found if run.kind == "theory")
        trainings = tuple(run for run in found if run.kind == "training")
        most = max(len(theories), len(trainings))
        if not found or most > len(LINES):
            raise FieldError("runs", f"must be 1 to {len(LINES)} trajectories or overlays, got {most}.")
        return cls(theories, trainings)

    @property
    def all(self) -> tuple[Trajectory, ...]:
        """Theories, then trainings."""
        return (*self.theories, *self.trainings)

    @property
    def reference(self) -> Trajectory:
        """Whose values the limits and the labels follow: a training if there is one."""
        return (*self.trainings, *self.theories)[0]

    def legend_lines(self) -> list[Line2D]:
        """What lines and markers are, whatever their colours: an entry of a legend for every run."""
        # What moved both sides is said once, with the training.
        mover = f", {self.trainings[0].label}" if self.trainings else ""
        entries = []
        for run, line in zip(self.theories, LINES, strict=False):
            words = f"theory: {literal(run.label.removesuffix(mover))}"
            entries.append(Line2D([], [], color=GREY, ls=line, label=words))
        marked: dict[str, Any] = {"marker": "o", "ls": "", "mfc": "none", "mec": GREY, "ms": 3.5, "mew": 0.8}
        for run, line in zip(self.trainings, LINES, strict=False):
            look = marked if self.theories else {"color": GREY, "ls": line}
            entries.append(Line2D([], [], label=f"training: {literal(run.label)}", **look))
        return entries

    def shared(self, names: Iterable[str]) -> list[str]:
        """Those names that all runs have."""
        known = [set(run.observable_names) for run in self.all]
        return [name for name in names if all(name in names_of for names_of in known)]


def _flat(given: Sequence[Run | Sequence[Run]]) -> list[Run]:
    flat: list[Any] = []
    for item in given:
        flat += list(item) if isinstance(item, list | tuple) else [item]
    for item in flat:
        if not isinstance(item, Trajectory) and not hasattr(item, "training"):
            raise FieldError(
                "runs",
                f"must be trajectories or overlays, got {type(item).__name__}: give those of `integrate`, `train`.",
            )
    return flat


def several(overlays: DrawableOverlay | Sequence[DrawableOverlay]) -> tuple[DrawableOverlay, ...]:
    """One overlay or several as several.

    Raises
    ------
    FieldError
        If something else is among them.
    """
    given = overlays if isinstance(overlays, list | tuple) else (overlays,)
    return tuple(drawable("overlays", overlay, DrawableOverlay) for overlay in given)
