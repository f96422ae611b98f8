"""Why theory and training part: closure, discretisation, optimiser and sampling, each measured on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sim.integration.integrate import integrate
from ...sim.optimizers.optimizer import GD, Optimizer
from ...sim.optimizers.specs import optimizer_of
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from ...theory.base.frozen import FrozenRecord
from ...theory.base.validate import choice, did_you_mean
from ...theory.flows.flow import derive
from ..training.train import train

if TYPE_CHECKING:
    from jaxtyping import Float

    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model
    from .align import Alignment

PARTS = ("closure", "discretisation", "optimiser", "sampling")
RTOL = 1e-8
ADDS_UP = 0.05  # of the last distance may be unexplained before the step is halved again
LARGEST = 0.1  # and of earlier ones; two losses that cross have next to none, and cost the longer training
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
        return _norm(self.total[self._known(name)])

    def size(self, part: str, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Norm of one part (n_t,), relative to the displacement of the weight or to the loss of training."""
        return _quotient(_norm(self._part(part)[self._known(name)]), self.scale[name])

    def share(self, part: str, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Share of one part in the distance (n_t,): its projection on the total, signed.

        Shares of all parts and of the remainder's projection sum to 1 at every time.
        """
        total = self.total[self._known(name)]
        along = (self._part(part)[name] * total).reshape(len(self.t), -1).sum(axis=1)
        return _quotient(along, self.distance(name) ** 2)

    def remainder(self, name: str = "W_E") -> Float[np.ndarray, " n_t"]:
        """Norm of the total minus the sum of all parts (n_t,), relative to the distance."""
        left = self.total[self._known(name)] - sum(self.parts[part][name] for part in PARTS)
        return _quotient(_norm(left), self.distance(name))

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

    def plot(self, path: str | Path, names: tuple[str, ...] | None = None) -> Path:
        """Draw the sizes of the parts over flow time, a panel for each of `names`, to a .png, .pdf or .svg.

        By default the first weight and the loss.
        """
        from ..plots.overlay_figure import plot_parts

        chosen = names or (next(iter(self.total)), *(["loss"] if "loss" in self.total else []))
        for name in chosen:
            self._known(name)
        return plot_parts(self, path, chosen)

    def _known(self, name: str) -> str:
        if name not in self.total:
            raise FieldError("name", f"{name!r} has no parts here: {did_you_mean(name, self.total)}")
        return name

    def _part(self, part: str) -> States:
        return self.parts[choice("part", part, PARTS)]


def decompose(both: Alignment) -> Decomposition:
    """Split the distance between a theory and a training run by the runs that lie between them.

    The exact flow is integrated, plain GD trained with the learning rate of the training and with half of it, and
    the training's optimiser run on the full batch; a run that is the training itself is not repeated. For plain GD
    that is twice the work of the training and one integration; four times more where the parts leave over 5 % of the
    last distance or 10 % of an earlier one unexplained, and the step is halved again.

    Parameters
    ----------
    both : Alignment
        Of the two trajectories, with model and data; see `overlay`, whose ``decompose=True`` calls this.

    Returns
    -------
    Decomposition
        At the common flow times.

    Raises
    ------
    ValueError
        If the training lacks its model, data, steps or settings.
    IntegrationError
        If one of the runs between diverges.
    """
    theory = _theory(both)
    starts = {name: pair[1] for name, pair in both.starts.items()}
    runs = _runs_between(both, starts)
    parts = _parts(both, theory, starts, runs)
    if "descent" in runs and any(
        parts.remainder(name)[-1] > ADDS_UP or parts.remainder(name).max() > LARGEST for name in parts.total
    ):
        parts = _parts(both, theory, starts, runs | {"quartered": _descent(both, starts, 4)})
    return parts


def _parts(both: Alignment, theory: States, starts: States, runs: Mapping[str, Trajectory]) -> Decomposition:
    """Take the differences of the runs."""
    training = both.training
    values = {key: _values(run, both.rows if run is training else slice(None)) for key, run in runs.items()}
    trained = values["training"]
    names = [name for name in theory if name in trained]

    def step(*terms: tuple[float, str]) -> dict[str, np.ndarray]:
        return {name: np.sum([factor * values[run][name] for factor, run in terms], axis=0) for name in names}

    values["theory"] = dict(theory)
    return Decomposition(
        both.t,
        {
            "closure": step((1.0, "flow"), (-1.0, "theory")),
            "discretisation": step(*_discretisation(runs)),
            "optimiser": step((1.0, "whole"), (-1.0, "descent" if "descent" in runs else "whole")),
            "sampling": step((1.0, "training"), (-1.0, "whole")),
        },
        step((1.0, "training"), (-1.0, "theory")),
        {name: _norm(trained[name] - starts.get(name, 0.0)) for name in names},
        1 + ("quartered" in runs) if "descent" in runs else 0,
        float(sum(run.statistics["seconds"] for run in set(runs.values()) - {training})),
    )


def _discretisation(runs: Mapping[str, Trajectory]) -> list[tuple[float, str]]:
    """What finite steps do, as a sum over runs; with its steps, the exact flow is known itself."""
    if "descent" not in runs:
        return [(1.0, "whole"), (-1.0, "flow")]
    if "quartered" in runs:
        return [(2 / 3, "descent"), (2.0, "halved"), (-8 / 3, "quartered")]
    return [(2.0, "descent"), (-2.0, "halved")]


def _runs_between(both: Alignment, start: States) -> dict[str, Trajectory]:
    """Run what lies between: the exact flow, GD with the training's step and half of it, training on the full batch."""
    training, moved = both.training, both.theory.provenance.get("optimizer")
    model, data, _, record = _parts_of(training)
    rule, full, exact = optimizer_of(record["rule"]), record["batch_size"] is None, derive(model, "exact")
    if moved:
        return _runs_in_steps(both, start, rule)
    own = {"optimizer": rule, "dtype": record["dtype"]}
    if rule.schedule is not None:
        raise FieldError(
            "training",
            "was run with a schedule, beside gradient flow: move the theory by the same `optimizer`, or train at a "
            "constant rate.",
        )
    flow = integrate(exact, data, start, t1=float(both.t[-1]), save_at=both.t, rtol=RTOL)
    plain = rule == GD(rule.learning_rate) and record["dtype"] == "float64"
    runs = {"training": training, "flow": flow, "halved": _descent(both, start, 2)}
    runs["descent"] = training if plain and full else _descent(both, start, 1)
    runs["whole"] = training if full else runs["descent"] if plain else _whole(both, start, own)
    return runs


def _runs_in_steps(both: Alignment, start: States, rule: Optimizer) -> dict[str, Trajectory]:
    """The same beside a theory that an optimizer moves: the exact flow as the theory was moved, and in single steps.

    On the batches of the training, the exact flow in single steps is the training itself.
    """
    training, asked = both.training, both.theory.provenance
    model, data, steps, record = _parts_of(training)
    if (other := optimizer_of(asked["optimizer"])) != rule:
        raise FieldError(
            "training",
            f"was moved by {rule} and the theory by {other}: take the same for both.",
        )
    if asked["batch_size"] not in (None, record["batch_size"]):
        raise FieldError(
            "theory",
            f"is of batches of {asked['batch_size']} and the training of {record['batch_size'] or 'all rows'}: take "
            "the same for both, or all rows for the theory.",
        )
    given = {key: asked[key] for key in ("batch_size", "seed") if asked[key] is not None}
    way = {key: asked[key] for key in ("method", "rtol", "discrete_start") if asked[key]}
    if asked["discrete_start"] is not None:
        way["discrete_start"] = asked["discrete_start"]
    saved = steps[both.rows]

    def exact(**more: Any) -> Trajectory:
        return integrate(
            derive(model, "exact"),
            data,
            start,
            steps=int(saved[-1]),
            optimizer=rule,
            save_at=saved,
            **given,
            **more,
        )

    flow = exact(**way)
    same = asked["batch_size"] == record["batch_size"] and asked["seed"] in (None, record["seed"])
    if same and (asked["seed"] is not None or asked["batch_size"] is None):
        return {"training": training, "flow": flow, "whole": training}
    whole = flow if asked["method"] == "steps" else exact(method="steps")
    return {"training": training, "flow": flow, "whole": whole}


def _descent(both: Alignment, start: States, factor: int) -> Trajectory:
    """Plain descent on the full batch with the training's step divided by a factor, to the same flow times."""
    model, data, steps, record = _parts_of(both.training)
    steps = factor * steps[both.rows]
    rate = record["learning_rate"] / factor
    return train(model, data, start, learning_rate=rate, steps=int(steps[-1]), save_at=steps)


def _whole(both: Alignment, start: States, own: Mapping[str, Any]) -> Trajectory:
    """The training's own optimizer on the full batch."""
    model, data, steps, _ = _parts_of(both.training)
    saved = steps[both.rows]
    return train(model, data, start, steps=int(saved[-1]), save_at=saved, **own)


def _parts_of(training: Trajectory) -> tuple[Model, Dataset, np.ndarray, Mapping[str, Any]]:
    (model, data), steps, record = training.model_and_data(), training.steps, training.provenance
    if steps is None:
        raise FieldError("training", "lacks its steps: take what `train` returns.")
    if record.get("clip") is not None:
        raise FieldError("training", "was run with `clip`, which no theory knows: train without it.")
    if missing := [key for key in ("rule", "learning_rate", "batch_size", "dtype") if key not in record]:
        raise FieldError("training", f"does not say its {missing[0]}: take what `train` returns.")
    return model, data, steps, record


def _values(run: Trajectory, rows: Any = slice(None)) -> dict[str, np.ndarray]:
    losses = [name for name in run.observable_names if name.partition("/")[0] == "loss"]
    return {name: w[rows] for name, w in run.weights.items()} | {name: run[name][rows] for name in losses}


def _theory(both: Alignment) -> dict[str, np.ndarray]:
    losses = [name for name in both.shared_observables if name.partition("/")[0] == "loss"]
    weights = {name: both.weights(name)[0] for name in both.theory.weights}
    return weights | {name: both.observable(name)[0] for name in losses}


def _norm(values: np.ndarray) -> np.ndarray:
    return np.linalg.norm(values.reshape(len(values), -1), axis=1)


def _quotient(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.divide(values, scale, out=np.zeros_like(values), where=scale > 0.0)
