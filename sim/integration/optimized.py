"""Theory moved by an optimizer: the gradient of a closure, the steps of the optimizer, a trajectory in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.flows.flow import Flow
from ..compile.companions import compile_squares, compile_weighted
from ..compile.compiler import compile_flow
from ..ode.events import Event, as_events
from ..ode.outcome import Outcome
from ..ode.solve import solve
from ..optimizers.minibatches import DrawnBatches, FullBatch, GradientRows, MeanBatches, checked_batch_size
from ..optimizers.optimizer import GD, Momentum, Optimizer
from ..reduced.reduction import Reduction
from ..trajectory.live_view import LiveView
from ..trajectory.provenance import provenance
from ..trajectory.trajectory import Trajectory
from .in_float32 import OF_STEPS, in_single
from .shrunk_rows import shrunk_rows
from .step_plan import StepPlan

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ..kernel.problem import Problem
    from ..ode.record import Solution


def integrate_steps(
    flow: Flow | Reduction,
    data: Dataset,
    weights: Mapping[str, np.ndarray],
    plan: StepPlan,
    *,
    events: Any,
    max_seconds: float | None,
    progress: Callable[[float], None] | None,
    observables: Sequence[str] | None,
    settings: Mapping[str, Any],
    max_steps: int,
) -> tuple[Trajectory, Outcome]:
    """Move a flow's weights by the steps of a plan; arguments as in `integrate`, validated weights."""
    plan.optimizer.of_weights(flow.model.weights)
    time, view = plan.time, None
    if isinstance(flow, Reduction):
        _check_reduced(plan.optimizer, plan, observables)
        method, problem = plan.method(), flow.compile(data, weights)
        y0 = problem.pack(flow._project(weights))
        settings = {**settings, "modes": flow.modes, "mark": flow.mark}
    else:
        method = plan.method(gradient_rows(flow, data, weights, plan))
        problem = compile_flow(flow, data, weights)
        view = None if observables is None else LiveView(flow, data, problem, observables)
        y0 = problem.pack(weights)
    shrunk, noted = shrunk_rows(flow, data), {}
    if settings["dtype"] == "float32":
        problem, noted["rounding"] = in_single(problem, y0, plan.rtol or OF_STEPS)
    solution = solve(
        problem, y0, t0=0.0, t1=float(plan.steps), method=method, save_at=plan.saves.astype(np.float64),
        events=[_in_flow_time(e, time) for e in as_events(events)], max_seconds=max_seconds, view=view,
        progress=None if progress is None else lambda s: progress(float(time(s))),
        singular=shrunk and shrunk.along(problem), across=True,
        **plan.limits(problem, y0, max_steps),
    )  # fmt: skip
    outcome = plan.in_time(solution.outcome, flow)
    solution = replace(solution, statistics=solution.statistics | noted, outcome=outcome)
    record = {**settings, "method": method.name, **_planned_steps(plan)}
    return _in_steps(flow, data, weights, plan, problem, solution, view, record), solution.outcome


def _planned_steps(plan: StepPlan) -> dict[str, Any]:
    """What the provenance says of the steps."""
    return {
        "steps": plan.steps,
        "rtol": plan.rtol,
        "optimizer": plan.optimizer.spec(),
        "batch_size": plan.batch_size,
        "seed": plan.seed,
        "discrete_start": plan.discrete_start if plan.name == "flow" else None,
    }


def _in_steps(
    flow: Flow | Reduction, data: Dataset, weights: Mapping[str, np.ndarray], plan: StepPlan, problem: Problem,
    solution: Solution, view: LiveView | None, record: Mapping[str, Any],
) -> Trajectory:  # fmt: skip
    """The trajectory of a solution whose time counts steps."""
    sealed(solution.y)
    named = problem.unpack(solution.y) if view is None else {}
    reduced = isinstance(flow, Reduction)
    return Trajectory(
        t=plan.time(solution.t),
        weights={name: named[name] for name in flow.model.weights if name in named},
        measured={} if view is None else view.named(solution.y),
        outcome=solution.outcome,
        kind="theory",
        label=f"{flow.closure}, {plan.optimizer}{plan.drawn}",
        closure=flow.closure,
        statistics=solution.statistics,
        provenance=provenance(**record),
        steps=solution.t if np.any(solution.t % 1.0) else solution.t.astype(np.int64),
        model=None if reduced else flow.model,
        data=None if reduced else data,
        start={name: sealed(w) for name, w in weights.items()} if reduced else None,
        events={name: plan.time(times) for name, times in solution.events.items()},
    )


def _check_reduced(optimizer: Optimizer, plan: StepPlan, observables: Any) -> None:
    """Projected weights move as the whole ones do only by steps along the gradient, which lies within the modes."""
    if not isinstance(optimizer, GD | Momentum):
        raise FieldError(
            "optimizer",
            f"is {optimizer.label}, whose steps leave the modes of a reduced flow: use GD or Momentum.",
        )
    if optimizer.weight_decay or any(optimizer.decays.values()):
        raise FieldError(
            "weight_decay",
            "moves what lies outside the modes of a reduced flow: leave it out, or use the flow itself.",
        )
    if plan.batch_size is not None:
        raise FieldError("batch_size", "needs the rows that a reduced flow has no more: use the flow itself.")
    if observables is not None:
        raise FieldError(
            "observables", "are those of full weights: keep the weights of a reduced flow and `lift` them."
        )


def gradient_rows(
    flow: Flow, data: Dataset, weights: Mapping[str, np.ndarray], plan: StepPlan
) -> GradientRows:
    """All rows at every step, the mean over all minibatches, or those of a seed.

    Raises
    ------
    FieldError
        If the batch is larger than the data, or the optimizer has no mean step.
    """
    if plan.batch_size is None:
        return FullBatch()
    train = ~data.held_out
    size = checked_batch_size(plan.batch_size, int(train.sum()))
    if plan.seed is None:
        return MeanBatches(compile_squares(flow, data, weights), size, plan.optimizer)
    counts = flow.model.row_counts(data.sequences[train])
    return DrawnBatches(compile_weighted(flow, data, weights), data.weights[train], counts, size, plan.seed)


def _in_flow_time(event: Event, time: Callable[[float], Any]) -> Event:
    """An event sees flow time, as everywhere."""
    function = event.function
    return replace(event, function=lambda s, weights: function(float(time(s)), weights))
