"""The distance between a theory and a training as a sum of parts over flow time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import choice, did_you_mean

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

PARTS = ("closure", "discretisation", "optimiser", "sampling")
States = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition(FrozenRecord):
    """The difference training - theory as a sum of parts over flow time; made by `decompose`.

    Every part is the difference of two runs that differ in one respect:

    ==============  ==========================================================================================
    closure         the exact gradient flow, integrated, minus the theory
    discretisation  full-batch GD minus its limit of small steps, by halving the step: ``2 (w(lr) - w(lr/2))``;
                    halved once more, ``(2 w(lr) + 6 w(lr/2) - 8 w(lr/4)) / 3``, where that does not add up
    optimiser       training's own optimiser and weight decay on the full batch minus plain GD
    sampling        training minus the same on the full batch
    ==============  ==========================================================================================

    For a theory that the training's optimizer moves, on the full batch, the mean of all minibatches or those of the
    training, the closure is that of the exact flow moved likewise; the discretisation is the exact flow in single
    steps minus that (nothing for ``method="steps"``); the optimiser is no part of the difference; and the sampling is
    training minus those single steps. A schedule goes with it unless it is a function, which no record holds.

    For gradient flow the discretisation does not know the exact flow: the parts adding up is a test and no identity.
    `remainder` is what they leave unexplained, of second order in the learning rate, of third where the step was
    halved twice.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
        Common flow times.
    parts : dict
        Part -> name of a weight or a loss -> (n_t, ...), signed.
    total : dict
        Name -> training minus theory (n_t, ...).
    scale : dict
        Name -> Frobenius norm of the weight's displacement in training, or the loss of training (n_t,).
    halvings : int
        How often the step was halved: 1 or 2, and 0 beside a theory in steps.
    seconds : float
        Wall-clock time of the extra runs.
    """

    t: Float[np.ndarray, " n_t"]
    parts: Mapping[str, States]
    total: States
    scale: States
    halvings: int
    seconds: float

    def __repr__(self) -> str:
        """Shares in the last distance of the embedding, or of the first weight."""
        name = next(iter(self.total))
        shares = ", ".join(f"{part} {self.share(part, name)[-1]:.1%}" for part in PARTS)
        return (
            f"Decomposition({name} at t = {self.t[-1]:g}: {shares}; remainder {self.remainder(name)[-1]:.1%})"
        )

    def distance(self, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Norm of training minus theory (n_t,), in units of the weight, or nats."""
        return norm(self.total[self._known(name)])

    def size(self, part: str, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Norm of one part (n_t,), relative to the displacement of the weight or to the loss of training."""
        return quotient(norm(self._part(part)[self._known(name)]), self.scale[name])

    def share(self, part: str, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Share of one part in the distance (n_t,): its projection on the total, signed.

        Shares of all parts and of the remainder's projection sum to 1 at every time.
        """
        total = self.total[self._known(name)]
        along = (self._part(part)[name] * total).reshape(len(self.t), -1).sum(axis=1)
        return quotient(along, self.distance(name) ** 2)

    def remainder(self, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Norm of the total minus the sum of all parts (n_t,), relative to the distance."""
        left = self.total[self._known(name)] - sum(self.parts[part][name] for part in PARTS)
        return quotient(norm(left), self.distance(name))

    def table(self, time: float | None = None) -> str:
        """Sizes of the parts at the common flow time nearest to `time`, by default the last, as text.

        Weights count relative to their displacement from the start, losses to the loss of training.
        """
        i = -1 if time is None else int(np.argmin(np.abs(self.t - time)))
        head = (
            f"{f't = {self.t[i]:.4g}':22}"
            + "".join(f"{part:>16}" for part in PARTS)
            + f"{'sum / distance':>16}"
        )
        rows = []
        for name in self.total:
            cells = "".join(f"{self.size(part, name)[i]:>16.3%}" for part in PARTS)
            rows.append(f"{name:22}{cells}{sum(self.share(part, name)[i] for part in PARTS):>16.3f}")
        return "\n".join([head, *rows])

    def plot(
        self, path: str | Path | None = None, names: tuple[str, ...] | None = None, axes: Any = None
    ) -> Figure:
        """Draw the sizes of the parts over flow time, a panel for each of `names`; see `smallinit.compare.plot_parts`.

        By default the first weight and the loss.
        """
        from ..plots.parts_figure import plot_parts

        chosen = names or (next(iter(self.total)), *(["loss"] if "loss" in self.total else []))
        for name in chosen:
            self._known(name)
        return plot_parts(self, path, chosen, axes=axes)

    def _known(self, name: str) -> str:
        if name not in self.total:
            raise FieldError("name", f"{name!r} has no parts here: {did_you_mean(name, self.total)}")
        return name

    def _part(self, part: str) -> States:
        return self.parts[choice("part", part, PARTS)]


def norm(values: np.ndarray) -> np.ndarray:
    """Frobenius norm at each time: (n_t, ...) to (n_t,)."""
    return np.linalg.norm(values.reshape(len(values), -1), axis=1)


def quotient(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values over their scale (n_t,); 0 where that is 0."""
    return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0.0)
