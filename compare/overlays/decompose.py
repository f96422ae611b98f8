"""Why theory and training part: closure, discretisation, optimiser and sampling, each measured on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sim.integration.integrate import integrate
from ...sim.optimizers.optimizer import GD, Optimizer
from ...sim.optimizers.specs import optimizer_of
from ...sim.trajectory.trajectory import Trajectory
from ...theory.base.errors import FieldError
from ...theory.flows.flow import derive
from ..training.train import train
from .decomposition import Decomposition, States, norm

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.models.model import Model
    from .align import Alignment

RTOL = 1e-8
ADDS_UP = 0.05  # of the last distance may be unexplained before the step is halved again
LARGEST = 0.1  # and of earlier ones; two losses that cross have next to none, and cost the longer training


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
        {name: norm(trained[name] - starts.get(name, 0.0)) for name in names},
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


def _differing(ours: Optimizer, theirs: Optimizer) -> str:
    """In which settings two optimizers differ, those of the first first."""
    one, other = ours.spec(), theirs.spec()
    if one["name"] != other["name"]:
        return "other settings"
    return ", ".join(f"{key} {one[key]} and {other[key]}" for key in one if one[key] != other[key])


def _runs_in_steps(both: Alignment, start: States, rule: Optimizer) -> dict[str, Trajectory]:
    """The same beside a theory that an optimizer moves: the exact flow as the theory was moved, and in single steps.

    On the batches of the training, the exact flow in single steps is the training itself.
    """
    training, asked = both.training, both.theory.provenance
    model, data, steps, record = _parts_of(training)
    if (other := optimizer_of(asked["optimizer"])) != rule:
        raise FieldError(
            "training",
            f"was moved by {rule} and the theory by {other}, with {_differing(rule, other)}: take the same for both.",
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
