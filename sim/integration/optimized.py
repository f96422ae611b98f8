"""Theory moved by an optimizer: the gradient of a closure, the steps of the optimizer, a trajectory in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.base.validate import choice, integer
from ..compile.companions import compile_squares, compile_weighted
from ..compile.compiler import compile_flow
from ..ode.events import Event, as_events
from ..ode.methods import Method
from ..ode.outcome import Outcome, Status
from ..ode.solve import solve
from ..optimizers.minibatches import DrawnBatches, FullBatch, MeanBatches, checked_batch_size
from ..optimizers.multirate import Multirate
from ..optimizers.optimizer import Optimizer
from ..optimizers.recursion import Steps
from ..optimizers.schedule import Clock
from ..trajectory.live_view import LiveView
from ..trajectory.provenance import provenance
from ..trajectory.trajectory import Trajectory
from .save_steps import save_steps

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow

METHODS = ("multirate", "steps")
TOLERANCE = 0.01  # of extrapolated gradients


def integrate_steps(
    flow: Flow,
    data: Dataset,
    weights: Mapping[str, np.ndarray],
    optimizer: Optimizer,
    steps: int,
    save_at: Any,
    method: str | None,
    *,
    tolerance: float,
    events: Any,
    max_seconds: float | None,
    progress: Callable[[float], None] | None,
    observables: Sequence[str] | None,
    settings: Mapping[str, Any],
    batch_size: int | None,
    seed: int | None,
) -> tuple[Trajectory, Outcome]:
    """Move a flow's weights by an optimizer; arguments as in `integrate`, validated weights."""
    steps = integer("steps", steps, 0)
    saves = save_steps(save_at, steps)
    optimizer.of_weights(flow.model.weights)
    batches, drawn = FullBatch(), ""
    if batch_size is not None:
        batches = _batches(flow, data, weights, optimizer, batch_size, seed)
        drawn = f", batches of {batch_size}" + ("" if seed is None else f", seed {seed}")
    chosen = _method(method, optimizer, tolerance, batches)
    clock = optimizer.clock(steps)
    problem = compile_flow(flow, data, weights)
    view = None if observables is None else LiveView(flow, data, problem, observables)
    solution = solve(
        problem, problem.pack(weights), t0=0.0, t1=float(steps), method=chosen, save_at=saves.astype(np.float64),
        events=[_in_flow_time(e, clock) for e in as_events(events)], max_steps=max(steps, 1) + 1,
        max_seconds=max_seconds, progress=None if progress is None else lambda s: progress(float(clock.time(s))),
        view=view,
    )  # fmt: skip
    outcome = _outcome(solution.outcome, clock, optimizer)
    sealed(solution.y)
    named = problem.unpack(solution.y) if view is None else {}
    return Trajectory(
        t=clock.time(solution.t),
        weights={name: named[name] for name in flow.model.weights if name in named},
        measured={} if view is None else view.named(solution.y),
        outcome=outcome,
        kind="theory",
        label=f"{flow.closure}, {optimizer}{drawn}",
        closure=flow.closure,
        statistics=solution.statistics,
        provenance=provenance(
            **settings, method=chosen.name, optimizer=optimizer.spec(), batch_size=batch_size, seed=seed
        ),
        steps=solution.t if np.any(solution.t % 1.0) else solution.t.astype(np.int64),
        model=flow.model,
        data=data,
        events={name: clock.time(times) for name, times in solution.events.items()},
    ), outcome


def _batches(
    flow: Flow,
    data: Dataset,
    weights: Mapping[str, np.ndarray],
    optimizer: Optimizer,
    size: int,
    seed: int | None,
) -> FullBatch:
    """The mean over all minibatches, or those of a seed."""
    train = ~data.held_out
    size = checked_batch_size(size, int(train.sum()))
    if seed is None:
        return MeanBatches(compile_squares(flow, data, weights), size, optimizer)
    return DrawnBatches(
        compile_weighted(flow, data, weights), data.weights[train], size, integer("seed", seed, 0)
    )


def _method(method: str | None, optimizer: Optimizer, tolerance: float, batches: FullBatch) -> Method:
    """What was asked for; by default the fewest gradients that the optimizer allows."""
    drawn = isinstance(batches, DrawnBatches)
    name = ("multirate" if optimizer.elementwise and not drawn else "steps") if method is None else method
    if choice("method", name, METHODS) == "steps":
        return Steps(optimizer, batches)
    if drawn:
        raise FieldError("seed", f'is {batches.seed}, whose batches "multirate" cannot foresee: use "steps".')
    return Multirate(optimizer, tolerance, batches)


def _in_flow_time(event: Event, clock: Clock) -> Event:
    """An event sees flow time, as everywhere."""
    function = event.function
    return replace(event, function=lambda s, weights: function(float(clock.time(s)), weights))


def _outcome(outcome: Outcome, clock: Clock, optimizer: Optimizer) -> Outcome:
    """Where the run ended, in flow time; a recursion does not blow up, it diverges at a step."""
    t = float(clock.time(outcome.t))
    if outcome.status in (Status.NON_FINITE, Status.STEP_UNDERFLOW, Status.BLOW_UP):
        detail = (
            f"diverged at step {int(outcome.t)}; lower `learning_rate` (it is {optimizer.learning_rate:g})"
        )
        return Outcome(Status.NON_FINITE, t, detail)
    return replace(outcome, t=t)
