"""Solve one compiled problem: saved times, events, limits and endings around the compiled step loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.errors import FieldError
from ...theory.base.validate import callback, kind_of
from ..kernel.threads.blas_threads import blas_threads
from ..kernel.threads.team import teamed
from .asked import checked_tolerances, interval, save_times, start_state, step_size
from .choice.automatic import SwitchingStepper
from .codes import DONE, OUT_OF_STEPS, RUNNING
from .collapse import Collapse, Passage, Singularity
from .endings import stuck, used_up
from .events import Watch, as_events
from .methods import Method, default_method, find_method
from .outcome import Outcome, Status
from .record import Limits, Record, Solution, StateMap
from .stepper import REMEDY, StepControl, Stepper

if TYPE_CHECKING:
    from ..kernel.problem import Problem

LOOK = 21  # evaluations that a look at the stiffness takes


def solve(
    problem: Problem,
    y0: Any,
    *,
    t1: float,
    t0: float = 0.0,
    method: str | Method | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    save_at: Any = None,
    events: Any = (),
    max_steps: int = 100_000,
    first_step: float | None = None,
    fixed_step: float | None = None,
    max_seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
    view: StateMap = None,
    singular: Singularity | None = None,
    across: bool = False,
) -> Solution:
    """Integrate ``dy/dt = f(t, y)`` from `t0` to `t1` (flow time = learning_rate x step).

    A step is accepted if the RMS over all entries of ``error / (atol + rtol max(|y|, |y_new|))`` is at most
    1. Near small initialisation `atol` must be small against the entries of `y0`, or the early growth,
    which fixes every later time scale, is computed to no relative accuracy at all; see `integrate`, which
    chooses it so.

    Parameters
    ----------
    problem : Problem
        Compiled right-hand side; ``Problem.from_function(f, n)`` makes one of a system of your own.
    y0 : array_like, shape (n,)
        State at `t0`.
    t1, t0 : float
        End and start in flow time, ``t1 >= t0``.
    method : {"tsit5", "dop853", "rkc", "bdf", "euler", "taylor"}, Method or None
        None takes "dop853" for ``rtol <= 1e-6``, else "tsit5", and changes to "rkc", or "bdf" if a right-hand side is
        dear or many are to come, where stability holds the step down and that is cheaper;
        ``Solution.statistics["methods"]`` says what it chose. "taylor" is for smooth flows of small states, and needs
        no first step.
    rtol, atol : float
        Relative and absolute tolerance per entry of the state.
    save_at : None, int or array_like
        Times to save: None 101 even ones, an int that many even ones, or increasing times within [t0, t1].
    events : callable, Event or sequence of them
        Zeros of ``function(t, weights)`` to locate; their points are kept among the results.
    max_steps : int
        Most trial steps; what was computed until then is kept.
    first_step, fixed_step : float or None
        First trial step, or the size of all steps whatever their error.
    max_seconds : float or None
        Wall-clock limit; what was computed until then is kept.
    progress : callable or None
        Called with t, at most ten times a second.
    view : callable or None
        What to keep in place of the states: maps them, (m, n), to (m, q); ``Solution.y`` has then q columns. The
        states are there until it returns.
    singular : Singularity or None
        Asked, once steps have collapsed, whether the equations are singular at the state reached.
    across : bool, default False
        Whether it is asked after every step, as it always is where their size is fixed: these lead across.

    Returns
    -------
    Solution
        Failures are values too: see ``Solution.outcome``.

    Raises
    ------
    ValueError
        For malformed input, and for a start at which the right-hand side is not finite.
    """
    from ..kernel.problem import Problem

    kind_of("problem", problem, Problem, "Problem.from_function(f, n) makes one of f(t, y, out)")
    t0, t1 = interval(t0, t1)
    rtol, atol = checked_tolerances(rtol, atol)
    saves = save_times(save_at, t0, t1)
    y0 = start_state(y0, problem.n)
    limits = Limits(max_steps, max_seconds, progress)
    callback("view", view)
    first_step, fixed_step = step_size("first_step", first_step), step_size("fixed_step", fixed_step)
    watch = Watch(as_events(events), problem.unpack)
    record = Record(saves, problem.n, view)
    record.note_start(t0, y0)
    watch.start(t0, y0)
    counts: dict[str, Any] = {"accepted": 0, "rejected": 0, "rhs_calls": 0}
    outcome = Outcome(Status.REACHED_END, t1)
    if t1 > t0:
        if not problem.compiled:
            problem.try_out(t0, y0)
            if missed := problem.unwritten(t0, y0.copy()):
                raise FieldError(
                    "problem",
                    f"has a right-hand side that leaves {missed} of `out` as it was: write every one, by = and not by "
                    "+=; what it returns is not used.",
                )
        control = StepControl(rtol, atol, first_step, fixed_step)
        _prepare(problem, method, rtol, fixed_step)
        collapse = None
        limits.start()  # the clock does not run while the step loop is compiled
        with teamed(problem) as shared, blas_threads(problem):
            stepper = _begin(shared, y0, t0, t1, method, control)
            del y0  # the stepper has its own; a state of a large vocabulary is not kept twice
            with limits.watching(stepper):
                if singular is not None:
                    across = across or fixed_step is not None
                    collapse = (Passage if across else Collapse)(t0, singular, stepper.y)
                outcome = _drive(stepper, record, watch, limits, (t0, t1), collapse)
        counts = stepper.counts() | {"methods": stepper.methods}
    return record.solution(outcome, counts | {"seconds": limits.seconds}, watch)


def _prepare(problem: Problem, method: str | Method | None, rtol: float, fixed_step: float | None) -> None:
    """Load what the method needs, so that no clock runs meanwhile."""
    automatic = method is None and fixed_step is None
    (default_method(rtol) if automatic else find_method(method, rtol)).prepare(problem)


def _begin(
    problem: Problem, y0: np.ndarray, t0: float, t1: float, method: str | Method | None, control: StepControl
) -> Stepper:
    """Start with the method asked for, or with an automatic choice."""
    if method is None and control.fixed_step is None:
        return SwitchingStepper(problem, y0, t0, t1, control)
    return find_method(method, control.rtol).begin(problem, y0, t0, t1, control)


def _drive(
    stepper: Stepper,
    record: Record,
    watch: Watch,
    limits: Limits,
    span: tuple[float, float],
    collapse: Collapse | None,
) -> Outcome:
    """Advance from one point of interest to the next until the run ends."""
    (t0, t1), code, single = span, RUNNING, bool(watch.events) or collapse is not None
    while code == RUNNING:
        before = stepper.accepted
        stop = min(record.next_time, t1)
        code = stepper.advance(stop, 1 if single else limits.budget, limits.max_steps)
        if stepper.accepted > before:
            zeros = watch.zeros(stepper.t_before, stepper.t, stepper.y, stepper.dense) if watch.events else []
            final = next((zero for zero in zeros if zero[1].terminal), None)
            end = None if final is None else Outcome(Status.EVENT, final[0], final[1].name)
            if end is None and collapse is not None and code == RUNNING:
                end = collapse.outcome(stepper)
            record.note_step(stepper, stepper.t if end is None else end.t)
            record.note_zeros(zeros)
            if end is not None:
                return end
        if code == RUNNING and limits.exceeded(stepper.t):
            return _too_early(Status.MAX_SECONDS, stepper, t1, f"{limits.max_seconds:g} s", limits)
    if code == DONE:
        return Outcome(Status.REACHED_END, t1)
    if code == OUT_OF_STEPS:
        return _too_early(Status.MAX_STEPS, stepper, t1, f"{limits.max_steps} steps", limits)
    if collapse is not None and (end := collapse.at(stepper)) is not None:
        return end
    star = stepper.blow_up(float(np.spacing(max(abs(stepper.t), abs(t0)))))
    return stuck(stepper.t, star, stepper.last_trial_bad, float(np.max(np.abs(stepper.y))), span)


def _too_early(status: Status, stepper: Stepper, t1: float, used: str, limits: Limits) -> Outcome:
    """A limit came before the end; what would help is looked for unless that takes long itself."""
    remedy = stepper.remedy() if limits.affords(stepper, LOOK) else REMEDY
    return used_up(status, stepper.t, t1, used, stepper.h, remedy)
