"""What moves the weights of an experiment, in training and, unless gradient flow does, in theory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .layers import Loaded, refused

if TYPE_CHECKING:
    from ...sim.optimizers.optimizer import Optimizer
    from ...sim.optimizers.schedule import Linear, WarmupCosine
    from ...sim.optimizers.step_equations import StepEquations
    from ...theory.flows.flow import Flow
    from ...theory.models.model import Model


def build_optimizer(loaded: Loaded, model: Model) -> Optimizer:
    """Make what moves the weights of a model.

    Raises
    ------
    InputError
        If a setting is out of range, or a rate or decay is of a weight that there is not.
    """
    from ...sim.optimizers.specs import RULES

    training = loaded.experiment.training
    own = ("betas", "eps", "momentum", "nesterov", "rates", "decays")
    given = {key: value for key in own if (value := getattr(training, key)) is not None}
    with refused(loaded, "training"):
        optimizer = RULES[training.optimizer](
            training.learning_rate,
            schedule=build_schedule(loaded),
            weight_decay=training.weight_decay,
            **given,
        )
        optimizer.of_weights(model.weights)
    return optimizer


def build_schedule(loaded: Loaded) -> WarmupCosine | Linear | None:
    """How the learning rate changes over the steps; None if it does not."""
    from ...sim.optimizers.schedule import Linear, WarmupCosine

    training = loaded.experiment.training
    end = training.schedule_end or loaded.experiment.steps
    shape = {} if training.final is None else {"final": training.final}
    if training.schedule == "linear":
        return Linear(end, **shape)
    return None if training.schedule is None else WarmupCosine(training.warmup or 0, end, **shape)


def moved_flows(loaded: Loaded, model: Model, flows: Mapping[str, Flow]) -> dict[str, Flow | StepEquations]:
    """The equations of closures as what moves them has it: gradient flow, or an optimizer."""
    if loaded.experiment.moved_by == "flow":
        return dict(flows)
    optimizer = build_optimizer(loaded, model)
    return {name: flow.under(optimizer) for name, flow in flows.items()}
