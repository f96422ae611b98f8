"""Integrate one flow from many starts, every member with steps, end and outcome of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.arrays import real_array
from ...theory.base.cores import usable_cores
from ...theory.base.errors import FieldError
from ...theory.base.validate import brief, callback, flag, integer, is_integer, kind_of, names, real
from ...theory.flows.flow import Flow
from ..integration.integrate import MAX_STEPS
from ..integration.shrunk_rows import shrunk_rows
from ..integration.step_plan import StepPlan, check_asked
from ..integration.tolerances import RTOL
from ..kernel.threads.blas_threads import one_blas_thread
from ..ode.asked import checked_tolerances, interval, save_times
from ..ode.methods import TAYLOR, Method
from ..ode.outcome import IntegrationError
from ..ode.record import Limits
from ..trajectory.observables import check_observables, observable_names
from ..trajectory.provenance import fingerprint, provenance
from .crew import Crew
from .ensemble import Ensemble, gather
from .lane_ensemble import choose, in_lanes, over_soon
from .member_batches import MemberBatches
from .member_runs import MemberCount, MemberKeeper, MemberRuns, atols_of

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ..optimizers.optimizer import Optimizer


def integrate_ensemble(
    flow: Flow,
    data: Dataset,
    starts: Mapping[str, Any],
    t1: Any = None,
    save_at: Any = 1,
    rtol: float | None = None,
    atol: float | None = None,
    method: str | Method | None = None,
    *,
    t0: float = 0.0,
    observables: Sequence[str] = (),
    keep_weights: bool = True,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    throw: bool = False,
    optimizer: Optimizer | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: Any = None,
) -> Ensemble:
    """Integrate one flow from many starts, on threads that each take one member, or eight in SIMD lanes, at a time.

    A member has steps and an outcome of its own: its numbers are, bit for bit, those of an ensemble of it alone,
    whatever the number of threads and however the others end.

    Parameters
    ----------
    flow : Flow
        The derived equations.
    data : Dataset
        Training data.
    starts : dict
        Weight name -> (batch, rows, cols) at `t0`.
    t1 : float or array_like, shape (batch,)
        End in flow time, of all or of each.
    save_at : int or array_like
        Number of even times, the last at `t1` (1: the end alone), or times that all members save.
    rtol, atol, method, t0, max_steps
        As in `integrate`; `atol` None is chosen member by member. `method` None takes "taylor", with members in lanes,
        for a small flow of smooth functions at ``rtol <= 1e-4``, and for members of a larger one that are over soon; a
        member that has become stiff leaves its lane to "rkc" where that pays. Members out of lanes do what `integrate`
        does, as all do with `max_seconds`.
        ``statistics["methods"]`` says what each took. A method asked for by name stays.
    observables : sequence of str
        Observables to keep of every member, such as "norm/W_E" or "loss/memory"; see `Trajectory`.
    keep_weights : bool
        Whether weights are kept; a member's are freed after its observables otherwise.
    max_seconds : float or None
        Wall-clock limit of each member.
    threads : int or None
        Threads to use; None takes one per core.
    progress : callable or None
        Called with (members done, members) after each.
    throw : bool
        Whether an irregular end of any member raises, after all are done.
    optimizer, steps
        What moves the weights in place of gradient flow, and by how many steps, as in `integrate`: `save_at` then
        counts steps, and `method` is one of the optimizer's. Neither `t1`, `t0` nor `atol` goes with it.
    batch_size : int or None
        Sequences per minibatch, as in `integrate`: without a `seed` every member is a mean path.
    seed : None, int or array_like of int, shape (batch,)
        Take the minibatches that `train` draws with this seed: the same for all members, or a seed for each. One
        start with many seeds is the noise of a closure, beyond what a mean path or `fluctuations` knows of it.

    Raises
    ------
    ValueError
        For malformed input, before any member starts.
    IntegrationError
        After an irregular end if `throw`; its ``trajectory`` is the ensemble.
    """
    wanted = _checked(
        flow, data, observables, rtol, atol, method, max_steps=max_steps, max_seconds=max_seconds
    )
    check_asked(optimizer, batch_size, seed)
    callback("progress", progress)
    for name, value in (("throw", throw), ("keep_weights", keep_weights)):
        flag(name, value)
    crew = Crew(usable_cores() if threads is None else integer("threads", threads, 1))
    given = {"t1": t1, "t0": real("t0", t0) or None, "atol": atol}
    given["max_steps"] = None if max_steps == MAX_STEPS or method == "flow" else max_steps
    plan = _planned(flow, optimizer, steps, save_at, method, rtol, given, batch_size, seed)
    if plan:
        t1, save_at, rtol = float(plan.steps), plan.saves.astype(np.float64), plan.rtol
    rtol = rtol or RTOL
    members, ends, identity = _members(flow, starts, t1)
    for end in set(ends.tolist()):
        save_times(save_at, *interval(t0, end, empty=False))
    one = {name: weight[None] for name, weight in members[0].items()}
    check_observables(wanted, observable_names(one, flow.model, data))
    keep, report = MemberKeeper(flow, data, wanted, keep_weights), MemberCount(progress, len(members))
    drawn = MemberBatches.of(flow, data, members, plan, seed) if plan and batch_size is not None else None
    settings = {
        "t0": t0,
        "save_at": save_at,
        "rtol": rtol,
        "max_steps": max_steps,
        "max_seconds": max_seconds,
    }
    found, taken = _followed(
        flow, data, members, ends, atol, method, _at_rest(plan, flow), drawn, settings, crew, keep, report
    )
    record = {"method": taken, "rtol": rtol, "atol": atol, "closure": flow.closure, "starts": identity}
    record |= _moved_by(plan, drawn)
    ensemble = gather(found, flow, data, provenance(**record), plan.saves if plan else None)
    if throw:
        _refuse_irregular(ensemble)
    return ensemble


def _checked(
    flow: Flow, data: Dataset, observables: Any, rtol: Any, atol: Any, method: Any, **limits: Any
) -> tuple[str, ...]:
    """Refuse what can be refused before any work; returns the names of the observables."""
    kind_of("flow", flow, Flow, "`derive` makes one")
    flow.model.check_data(data)
    if method is not None:
        kind_of("method", method, (str, Method), 'give the name of one, such as "tsit5"')
    Limits(**limits, progress=None)
    checked_tolerances(RTOL if rtol is None else rtol, 1.0 if atol is None else atol)
    return names("observables", observables)


def _followed(
    flow: Flow, data: Dataset, members: list, ends: np.ndarray, atol: float | None, method: Any, plan: StepPlan | None,
    drawn: MemberBatches | None, settings: dict[str, Any], crew: Crew, keep: MemberKeeper, report: MemberCount,
) -> tuple[list[dict[str, Any]], str]:  # fmt: skip
    """Integrate all members, in lanes or one by one; returns what is kept of each, and the name of the method."""
    from ..compile.compiler import compile_flow

    problem, watched = compile_flow(flow, data, members[0], fold=False), shrunk_rows(flow, data)
    # a wall-clock limit of each member needs a clock of each, rows that shrink somebody who looks at them
    lanes = watched is None and settings["max_seconds"] is None
    table = plan.method() if plan else choose(method, settings["rtol"], problem, lanes)
    series, inside = table, np.full(len(members), table.in_lanes and lanes)
    if lanes and method is None and plan is None and not table.in_lanes:
        series = replace(TAYLOR, switching=True)
        inside = over_soon(problem, members, ends, settings["t0"], settings["rtol"])
    found: list[dict[str, Any]] = [{}] * len(members)
    some, others = np.flatnonzero(inside).tolist(), np.flatnonzero(~inside).tolist()
    if some:
        states = np.stack([problem.pack(members[i]) for i in some])
        kept = in_lanes(problem, states, ends[some], atol, series, settings, crew, report, keep)
        for i, member in zip(some, kept, strict=True):
            found[i] = member
    if others:
        alone, method = [members[i] for i in others], table if plan or method is not None else None
        own = np.full(len(alone), 1.0 if atol is None else atol)
        own = atols_of(problem, alone, settings["rtol"]) if atol is None and plan is None else own
        settings = settings | {"method": method, "progress": crew.go_on}
        run = MemberRuns(problem, alone, ends[others], own, settings, plan, drawn, watched, keep, report)
        for i, member in zip(others, _one_by_one(run, len(alone), crew), strict=True):
            found[i] = member
    return found, ", ".join([series.name] * bool(some) + [table.name] * bool(others))


def _one_by_one(run: MemberRuns, members: int, crew: Crew) -> list[dict[str, Any]]:
    """Integrate members on threads that each take one at a time."""
    size = min(16, -(-members // (8 * crew.workers)))
    tasks = [range(i, min(i + size, members)) for i in range(0, members, size)]
    with one_blas_thread():
        return [member for part in crew.map(run.along, tasks) for member in part]


def _planned(
    flow: Flow, optimizer: Any, steps: Any, save_at: Any, method: Any, rtol: float | None, given: dict[str, Any],
    batch_size: int | None, seed: Any,
) -> StepPlan | None:  # fmt: skip
    """The steps of an optimizer, if one moves the weights."""
    if optimizer is None and steps is None:
        return None
    first = seed if seed is None or is_integer(seed) else 0
    plan = StepPlan.of(optimizer, steps, save_at, method, rtol, given, batch_size=batch_size, seed=first)
    integer("steps", steps, 1)  # as `t1` must lie after `t0`
    plan.optimizer.of_weights(flow.model.weights)
    return plan


def _at_rest(plan: StepPlan | None, flow: Flow) -> StepPlan | None:
    """The plan with no decay of weights that the flow lets rest: of members they are part of the state."""
    rest = dict.fromkeys(set(flow.model.weights) - set(flow.moving), 0.0)
    if plan is None or not rest:
        return plan
    return replace(plan, optimizer=replace(plan.optimizer, decays={**plan.optimizer.decays, **rest}))


def _moved_by(plan: StepPlan | None, drawn: MemberBatches | None) -> dict[str, Any]:
    """What the provenance says of an optimizer and its minibatches."""
    record: dict[str, Any] = {"optimizer": plan.optimizer.spec()} if plan else {}
    if drawn:
        record |= {"batch_size": drawn.plan.batch_size, "seed": drawn.seeds if drawn.drawn else None}
    return record


def _refuse_irregular(ensemble: Ensemble) -> None:
    irregular = [i for i, o in enumerate(ensemble.outcomes) if not o.success]
    if irregular:
        raise IntegrationError(
            f"{len(irregular)} of {len(ensemble)} members ended irregularly, member {irregular[0]} first: "
            f"{ensemble.outcomes[irregular[0]]}",
            ensemble,
        )


def _members(
    flow: Flow, starts: Mapping[str, Any], t1: Any
) -> tuple[list[dict[str, np.ndarray]], np.ndarray, str]:
    """One validated start per member, their ends, and the fingerprint of all starts."""
    if not isinstance(starts, Mapping) or not starts:
        raise FieldError(
            "starts",
            f"must map weight names to arrays, got {brief(starts)}; of several starts make one by "
            "{name: np.stack([start[name] for start in starts]) for name in starts[0]}.",
        )
    arrays = {str(name): real_array(f"starts[{name!r}]", v, finite=False) for name, v in starts.items()}
    sizes = {name: value.shape[:1] for name, value in arrays.items() if value.ndim == 3}
    if len(sizes) != len(arrays) or len(set(sizes.values())) != 1:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
        raise FieldError("starts", f"must have shapes (batch, rows, cols) with one batch size, got {shapes}.")
    batch = next(iter(sizes.values()))[0]
    if batch == 0:
        raise FieldError("starts", "must hold at least one member, got a batch of 0.")
    ends = real_array("t1", t1, finite=False)
    if ends.shape not in ((), (batch,)) or not np.all(np.isfinite(ends)):
        raise FieldError("t1", f"must be a finite flow time or {batch} of them, got shape {ends.shape}.")
    members = []
    for i in range(batch):
        try:
            members.append(flow.model.validate({name: value[i] for name, value in arrays.items()}))
        except ValueError as error:
            raise ValueError(f"member {i} of `starts`: {error}") from None
    return members, np.broadcast_to(ends, (batch,)), fingerprint(arrays)
