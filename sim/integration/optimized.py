"""Theory moved by an optimizer: the gradient of a closure, the steps of the optimizer, a trajectory in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.base.validate import choice, integer
from ..compile.compiler import compile_flow
from ..ode.events import Event, as_events
from ..ode.methods import Method
from ..ode.outcome import Outcome, Status
from ..ode.solve import relative_tolerance, solve
from ..optimizers.multirate import Multirate
from ..optimizers.optimizer import Optimizer
from ..optimizers.recursion import Steps
from ..optimizers.smooth import DISCRETE, Smooth
from ..trajectory.live_view import LiveView
from ..trajectory.provenance import provenance
from ..trajectory.trajectory import Trajectory
from .absolute import default_atol
from .save_steps import save_steps

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow
    from ..kernel.problem import Problem

METHODS = ("multirate", "steps", "flow")
TOLERANCE = 0.01  # of extrapolated gradients
FLOW_RTOL = 1e-5  # of the ODE, far below what its limit of small rates is off


def integrate_steps(
    flow: Flow,
    data: Dataset,
    weights: Mapping[str, np.ndarray],
    optimizer: Optimizer,
    steps: int,
    save_at: Any,
    method: str | None,
    *,
    tolerance: float | None,
    events: Any,
    max_seconds: float | None,
    progress: Callable[[float], None] | None,
    observables: Sequence[str] | None,
    settings: Mapping[str, Any],
    max_steps: int,
    discrete_start: int | None,
) -> tuple[Trajectory, Outcome]:
    """Move a flow's weights by an optimizer; arguments as in `integrate`, validated weights."""
    steps = integer("steps", steps, 0)
    saves = save_steps(save_at, steps)
    optimizer.of_weights(flow.model.weights)
    chosen = _method(method, optimizer, tolerance, discrete_start)
    clock = optimizer.clock(steps)
    smooth = isinstance(chosen, Smooth)
    time = clock.smooth_time if smooth else clock.time
    problem = compile_flow(flow, data, weights)
    view = None if observables is None else LiveView(flow, data, problem, observables)
    y0, rtol = problem.pack(weights), FLOW_RTOL if tolerance is None else tolerance
    solution = solve(
        problem, y0, t0=0.0, t1=float(steps), method=chosen, save_at=saves.astype(np.float64),
        events=[_in_flow_time(e, time) for e in as_events(events)], max_seconds=max_seconds, view=view,
        progress=None if progress is None else lambda s: progress(float(time(s))),
        **_limits(problem, y0, rtol, max_steps) if smooth else {"max_steps": max(steps, 1) + 1},
    )  # fmt: skip
    outcome = replace(solution.outcome, t=float(time(solution.outcome.t)))
    outcome = outcome if smooth else _diverged(solution.outcome, outcome.t, optimizer)
    sealed(solution.y)
    named = problem.unpack(solution.y) if view is None else {}
    return Trajectory(
        t=time(solution.t),
        weights={name: named[name] for name in flow.model.weights if name in named},
        measured={} if view is None else view.named(solution.y),
        outcome=outcome,
        kind="theory",
        label=f"{flow.closure}, {optimizer}",
        closure=flow.closure,
        statistics=solution.statistics,
        provenance=provenance(**settings, method=chosen.name, optimizer=optimizer.spec()),
        steps=solution.t if np.any(solution.t % 1.0) else solution.t.astype(np.int64),
        model=flow.model,
        data=data,
        events={name: time(times) for name, times in solution.events.items()},
    ), outcome


def _method(
    method: str | None, optimizer: Optimizer, tolerance: float | None, discrete: int | None
) -> Method:
    """What was asked for; by default the fewest gradients that the optimizer allows."""
    name = ("multirate" if optimizer.elementwise else "steps") if method is None else method
    name = choice("method", name, METHODS)
    if discrete is not None and name != "flow":
        raise FieldError("discrete_start", f'belongs to the method "flow", not to {name!r}: leave it out.')
    if name == "flow":
        return Smooth(optimizer, DISCRETE if discrete is None else integer("discrete_start", discrete, 0))
    if name == "steps":
        return Steps(optimizer)
    return Multirate(optimizer, TOLERANCE if tolerance is None else tolerance)


def _limits(problem: Problem, y0: np.ndarray, rtol: float, max_steps: int) -> dict[str, Any]:
    """What bounds the integration of a flow; the other methods have no tolerance in the sense of an ODE."""
    rtol = relative_tolerance(rtol)
    return {"rtol": rtol, "atol": default_atol(problem, y0, rtol), "max_steps": max_steps}


def _in_flow_time(event: Event, time: Callable[[float], Any]) -> Event:
    """An event sees flow time, as everywhere."""
    function = event.function
    return replace(event, function=lambda s, weights: function(float(time(s)), weights))


def _diverged(outcome: Outcome, t: float, optimizer: Optimizer) -> Outcome:
    """Where the run ended, in flow time; a recursion does not blow up, it diverges at a step."""
    if outcome.status in (Status.NON_FINITE, Status.STEP_UNDERFLOW, Status.BLOW_UP):
        detail = (
            f"diverged at step {int(outcome.t)}; lower `learning_rate` (it is {optimizer.learning_rate:g})"
        )
        return Outcome(Status.NON_FINITE, t, detail)
    return replace(outcome, t=t)
