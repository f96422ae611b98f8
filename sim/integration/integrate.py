"""Integrate a flow from given weights: the theory's trajectory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.frozen import sealed
from ...theory.base.validate import flag, kind_of, real
from ...theory.flows.flow import Flow
from ..device.on_device import OnDevice
from ..device.placement import described, placed
from ..ode.asked import checked_tolerances, interval, relative_tolerance, save_times
from ..ode.events import as_events
from ..ode.methods import Method
from ..ode.outcome import IntegrationError, Outcome
from ..ode.record import Limits, Solution
from ..ode.solve import solve
from ..trajectory.provenance import fingerprint, provenance
from ..trajectory.trajectory import Trajectory
from .in_float32 import asked_precision, in_single, in_single_end
from .shrunk_rows import shrunk_rows
from .step_plan import StepPlan, check_asked
from .tolerances import RTOL, default_atol

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ..kernel.problem import Problem
    from ..optimizers.optimizer import Optimizer
    from ..reduced.reduction import Reduction
    from ..trajectory.live_view import LiveView

MAX_STEPS = 100_000


def integrate(
    flow: Flow | Reduction,
    data: Dataset,
    start: Mapping[str, Any],
    t1: float | None = None,
    save_at: Any = None,
    rtol: float | None = None,
    atol: float | None = None,
    method: str | Method | None = None,
    events: Any = (),
    max_steps: int = MAX_STEPS,
    throw: bool = True,
    *,
    t0: float = 0.0,
    first_step: float | None = None,
    fixed_step: float | None = None,
    max_seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
    observables: Sequence[str] | None = None,
    optimizer: Optimizer | None = None,
    steps: int | None = None,
    discrete_start: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: Any = "cpu",
    dtype: str = "float64",
) -> Trajectory:
    """Integrate a flow in flow time (learning_rate x step) from `t0` to `t1`, or by the `steps` of an optimizer.

    A blow-up in finite time is a regular end, and so is a row that shrinks to the eps of its normalisation under a
    closure that counts from its direction: see ``Trajectory.outcome``. Every requested time before it is saved.

    Parameters
    ----------
    flow : Flow or Reduction
        The derived equations, or what `reduce` made of them: the trajectory is then one of the projected weights.
    data : Dataset
        Training data; the loss is its weighted mean cross-entropy.
    start : dict
        Weight name -> array (rows, cols) at `t0`; of the full model, also for a reduced flow.
    t1, t0 : float
        End and start in flow time.
    save_at : None, int or array_like
        Times to save: None 101 even ones, an int that many even ones, or increasing times within [t0, t1].
    rtol : float or None
        Relative tolerance per entry of the weights; None takes 1e-6 (1e-5 in float32), and the
        method's own beside an `optimizer`.
    atol : float or None
        Absolute tolerance per entry. None takes ``1e-3 rtol`` times the RMS entry of the smallest moving
        weight: whatever the scale of initialisation, the early growth is then computed to the same relative
        accuracy.
    method : {"tsit5", "dop853", "rkc", "bdf", "euler", "taylor"}, Method or None
        None takes "dop853" for ``rtol <= 1e-6``, else "tsit5", and changes to "rkc", or "bdf" if a right-hand side is
        dear or many are to come, where stability holds the step down and that is cheaper;
        ``Trajectory.statistics["methods"]`` says what it chose. "taylor" is for smooth flows of small states, and needs
        no first step.
    events : callable, Event or sequence of them
        Zeros of ``function(t, weights)`` to locate; their points are kept among the saved ones.
    max_steps : int
        Most trial steps.
    throw : bool
        Whether an irregular end raises; otherwise ``Trajectory.outcome`` tells.
    first_step, fixed_step : float or None
        First trial step, or the size of all steps whatever their error.
    max_seconds : float or None
        Wall-clock limit.
    progress : callable or None
        Called with t, at most ten times a second.
    optimizer : Optimizer or None
        What moves the weights, the same object that `train` takes; None for gradient flow. With it go `steps` in
        place of `t1`, `save_at` in steps, and as `method` "multirate" (every step's update, the gradient evaluated
        where its extrapolation is off by more than `rtol`; the default, with 0.012), "steps" (one evaluation a step) or
        "flow" (the limit of small rates as an ODE in the step, integrated to `rtol`, 1e-5 unless said).
    steps : int or None
        Number of the optimizer's steps.
    discrete_start : int or None
        How many steps the method "flow" takes one by one before it goes on as an ODE; None for 20.
    batch_size : int or None
        Sequences per minibatch, as in `train`; None for the full batch. Without a `seed` the trajectory is the mean
        path: a minibatch's gradient has the mean g, and the mean of its square, which AdamW's second moment follows,
        is (1 - 1/B) g o g + S/B with S = sum_i omega_i g_i o g_i over the sequences (see `squared_gradients`).
    seed : int or None
        Take the very minibatches that `train` draws with this seed, by the method "steps".
    observables : sequence of str or None
        Observables to keep in place of the weights, such as "loss" or "norm/W_E", computed as the run goes on: where
        all weights at all saved times would fill the memory.
    device : {"cpu", "cuda", "auto"} or torch.device
        Where the steps of gradient flow are taken, in float64 everywhere: "cuda" keeps the state on a GPU and evaluates
        the flow by torch, worth it for `exact` and other flows with large products; "auto" does so where there is a GPU
        and the method runs there (all but "bdf" and "taylor" do). Right-hand sides agree with the CPU's to rounding;
        where stability holds the step down, rounding decides which trial steps are rejected.
    dtype : {"float64", "float32"}
        Precision of the right-hand side's arrays and products; states, errors and moments are float64 either way.
        "float32" is for flows with large products, such as `exact`, at an `rtol` of 2e-6 or more, by default 1e-5;
        ``Trajectory.statistics["rounding"]`` is the largest relative error of a dW/dt at the start.

    Returns
    -------
    Trajectory
        Of kind "theory"; from a balanced start of a reduced flow in closed form (see `balanced_start`).

    Raises
    ------
    ValueError
        For malformed input.
    IntegrationError
        After an irregular end if `throw`; its ``trajectory`` holds what was computed.
    """
    from ..reduced.reduction import Reduction

    kind_of("flow", flow, (Flow, Reduction), "`derive` makes one")
    flow.model.check_data(data)
    flag("throw", throw)
    if rtol is not None:
        relative_tolerance(rtol)  # and all else that can be refused before the work
    Limits(max_steps, max_seconds, progress)
    check_asked(optimizer, batch_size, seed)
    where = placed(device, method, RTOL if rtol is None else rtol, optimizer)
    tolerance = asked_precision(dtype, rtol, flow=flow, method=method, device=where, batch_size=batch_size)
    if optimizer is not None or steps is not None:
        given = {"t1": t1, "t0": real("t0", t0) or None, "atol": atol}
        given |= {"first_step": first_step, "fixed_step": fixed_step}
        given["max_steps"] = None if max_steps == MAX_STEPS or method == "flow" else max_steps
        plan = StepPlan.of(optimizer, steps, save_at, method, rtol, given, discrete_start, batch_size, seed)
        return _by_optimizer(
            flow, data, start, plan, throw, events=events, max_seconds=max_seconds, progress=progress,
            observables=observables, max_steps=max_steps, dtype=dtype,
        )  # fmt: skip
    if discrete_start is not None:
        raise FieldError("discrete_start", 'belongs to an `optimizer` and its method "flow": leave it out.')
    if t1 is None:
        raise FieldError("t1", "is missing: give the end in flow time, or an `optimizer` and its `steps`.")
    return _by_time(
        flow, data, start, (t0, t1), save_at, throw, rtol=tolerance, atol=atol, method=method,
        events=events, max_steps=max_steps, first_step=first_step, fixed_step=fixed_step, max_seconds=max_seconds,
        progress=progress, observables=observables, where=where, dtype=dtype,
    )  # fmt: skip


def _by_time(
    flow: Any, data: Dataset, start: Any, span: tuple[float, float], save_at: Any, throw: bool, *, rtol: float,
    atol: float | None, events: Any, observables: Sequence[str] | None, where: Any, dtype: str, **options: Any,
) -> Trajectory:  # fmt: skip
    """The part of `integrate` that follows gradient flow."""
    from ..reduced.reduction import Reduction

    saves = save_times(save_at, *interval(*span))
    watched = as_events(events)
    reduced, single = isinstance(flow, Reduction), dtype == "float32"
    weights = flow.model.validate(start)
    settings = {"rtol": rtol, "closure": flow.closure, "start": fingerprint(weights), "dtype": dtype}
    settings |= described(where) | ({"modes": flow.modes, "mark": flow.mark} if reduced else {})
    problem, slopes = _compiled(flow, data, weights, single, where)
    held = [problem.pack(flow._project(weights) if reduced else weights)]
    view = _view(flow, data, problem, observables)
    full = weights if reduced else None
    del weights  # of a large vocabulary, each copy counts
    atol = default_atol(problem, held[0], rtol) if atol is None else atol
    checked_tolerances(rtol, atol)
    free = reduced and view is None and not watched
    solution = _in_closed_form(flow, problem, held[0], saves, span, options) if free else None
    noted = {}
    if single:
        problem, noted["rounding"] = in_single(problem, held[0], rtol, slopes)
    if solution is None and where is not None:
        options["method"] = _on_device(problem, where, options["method"])
    shrunk = shrunk_rows(flow, data)
    # Options one by one: passed on as `**options`, they would come in a tuple that holds the start to the end.
    solution = solution or solve(
        problem, held.pop(), t0=span[0], t1=span[1], rtol=rtol, atol=atol, save_at=save_at, events=watched, view=view,
        method=options["method"], max_steps=options["max_steps"], first_step=options["first_step"],
        fixed_step=options["fixed_step"], max_seconds=options["max_seconds"], progress=options["progress"],
        singular=shrunk and shrunk.along(problem),
    )  # fmt: skip
    if single:
        solution = replace(solution, outcome=in_single_end(solution.outcome))
    settings |= {"method": solution.statistics.get("methods", ""), "atol": atol}
    trajectory = _trajectory(solution, problem, flow, data, settings, view, noted, full)
    return _ended(trajectory, solution.outcome, throw)


def _ended(trajectory: Trajectory, outcome: Outcome, throw: bool) -> Trajectory:
    """The trajectory of a run that ended so, if it need not be raised."""
    if throw and not outcome.success:
        raise IntegrationError(str(outcome), trajectory)
    return trajectory


def _compiled(
    flow: Flow | Reduction, data: Dataset, weights: dict[str, np.ndarray], single: bool, where: Any
) -> tuple[Problem, np.ndarray | None]:
    """The problem in float64, and the slopes at the start that float32 is held against, where numpy has them.

    Such slopes are evaluated once, for which nothing is compiled; blocks of rows suit a cache, which no device has.
    """
    from ..compile.compiler import compile_flow
    from ..reduced.reduction import Reduction
    from .by_numpy import derivatives

    if isinstance(flow, Reduction):
        return flow.compile(data, weights), None
    problem = compile_flow(flow, data, weights, blocks=where is None, ready=not single)
    return problem, derivatives(flow, data, weights, problem) if single else None


def _in_closed_form(
    flow: Reduction,
    problem: Problem,
    state: np.ndarray,
    saves: np.ndarray,
    span: tuple[float, float],
    options: Any,
) -> Solution | None:
    """The modes of a balanced start, unless a method or its steps were asked for."""
    from ..reduced.balanced import closed_solution

    if any(options[key] is not None for key in ("method", "first_step", "fixed_step")):
        return None
    return closed_solution(flow, problem, state, saves, *span)


def _on_device(problem: Problem, where: Any, method: str | Method | None) -> Method:
    """The method with its steps on a device, to which the problem is copied."""
    from ..device.tensor_program import TensorProgram

    return OnDevice(TensorProgram(problem, where), method)


def _by_optimizer(
    flow: Any, data: Dataset, start: Any, plan: StepPlan, throw: bool, dtype: str, **options: Any
) -> Trajectory:
    """The part of `integrate` that counts steps."""
    from .optimized import integrate_steps

    weights = flow.model.validate(start)
    settings = {"closure": flow.closure, "start": fingerprint(weights), "dtype": dtype}
    settings |= described(None)
    trajectory, outcome = integrate_steps(flow, data, weights, plan, settings=settings, **options)
    return _ended(trajectory, outcome, throw)


def _view(flow: Any, data: Dataset, problem: Problem, names: Sequence[str] | None) -> LiveView | None:
    """What is to be kept in place of the weights, if anything."""
    from ..reduced.reduction import Reduction
    from ..trajectory.live_view import LiveView

    if names is None:
        return None
    if isinstance(flow, Reduction):
        raise ValueError(
            "`observables` are those of full weights: keep the weights of a reduced flow and `lift` them."
        )
    return LiveView(flow, data, problem, names)


def _trajectory(
    solution: Solution,
    problem: Problem,
    flow: Flow | Reduction,
    data: Dataset,
    settings: dict,
    view: LiveView | None,
    noted: dict,
    full: dict[str, np.ndarray] | None,
) -> Trajectory:
    """What a run has found; that of a reduced flow begins at weights that are no part of it, the `full` ones."""
    sealed(solution.t)
    sealed(solution.y)
    named = problem.unpack(solution.y) if view is None else {}
    return Trajectory(
        t=solution.t,
        weights={name: named[name] for name in flow.model.weights if name in named},
        measured={} if view is None else view.named(solution.y),
        outcome=solution.outcome,
        kind="theory",
        label=flow.closure,
        closure=flow.closure,
        statistics=solution.statistics | noted,
        provenance=provenance(**settings),
        model=flow.model if full is None else None,
        data=data if full is None else None,
        start=None if full is None else {name: sealed(weight) for name, weight in full.items()},
        events=solution.events,
    )
