"""Members of an ensemble, integrated one at a time: what each runs by, and what is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.base.frozen import sealed
from ..integration.tolerances import default_atols
from ..ode.asked import save_times
from ..ode.methods import find_method
from ..ode.outcome import Outcome, Status
from ..ode.solve import solve
from ..ode.stepper import NotFiniteAtStart
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from ...theory.data.dataset import Dataset
    from ...theory.flows.flow import Flow
    from ..integration.shrunk_rows import ShrunkRows
    from ..integration.step_plan import StepPlan
    from ..kernel.problem import Problem
    from .member_batches import MemberBatches


BLOCK = 64


@dataclass(frozen=True, eq=False)
class MemberRuns:
    """Integrates a member when it is called with its number, on any thread.

    Attributes
    ----------
    problem : Problem
        Of all members; every thread has scratch memory of its own.
    members : sequence of dict
        Weight name -> start.
    ends : ndarray, shape (batch,)
        Ends in flow time, or in steps where there is a plan.
    atol : ndarray, shape (batch,)
        Absolute tolerances.
    settings : dict
        What `solve` takes for all members.
    plan : StepPlan or None
        The steps of an optimizer that moves the weights.
    drawn : MemberBatches or None
        Minibatches.
    watched : ShrunkRows or None
        Rows at whose end the equations of the closure end.
    keep, report : callable
        What makes of a member what is kept, and counts it.
    """

    problem: Problem
    members: Sequence[Mapping[str, np.ndarray]]
    ends: np.ndarray
    atol: np.ndarray
    settings: Mapping[str, Any]
    plan: StepPlan | None
    drawn: MemberBatches | None
    watched: ShrunkRows | None
    keep: MemberKeeper
    report: MemberCount
    own: threading.local = field(default_factory=threading.local)

    def along(self, part: range) -> list[dict[str, Any]]:
        """What is kept of some members, one after the other: a small one takes little more than a task."""
        return [self(i) for i in part]

    def __call__(self, i: int) -> dict[str, Any]:
        """What is kept of a member."""
        if not hasattr(self.own, "problem"):
            self.own.problem = self.problem.with_own_memory()
        shared, plan = self.own.problem, self.plan
        here, more = self.drawn.member(i, shared) if self.drawn else (shared, {})
        start = here.pack(self.members[i])
        limits = plan.limits(here, start, self.settings["max_steps"]) if plan else {}
        limits = {"atol": float(self.atol[i])} | limits
        limits |= {"singular": self.watched and self.watched.along(here), "across": plan is not None}
        member = _run(here, start, float(self.ends[i]), {**self.settings, **more, **limits})
        if plan:
            member |= {
                "t": plan.time(member["t"]),
                "outcome": plan.in_time(member["outcome"], self.keep.flow),
            }
        kept = self.keep(member)
        self.report()
        return kept


def atols_of(problem: Problem, members: Sequence[Mapping[str, np.ndarray]], rtol: float) -> np.ndarray:
    """Absolute tolerance of each member, some members at a time: large states are not kept twice."""
    blocks = (members[first : first + BLOCK] for first in range(0, len(members), BLOCK))
    states = (np.stack([problem.pack(member) for member in block]) for block in blocks)
    return np.concatenate([default_atols(problem, some, rtol) for some in states])


def _run(problem: Problem, y0: np.ndarray, t1: float, settings: dict) -> dict:
    """Solve one member; a start that cannot be continued is an outcome too."""
    asked = save_times(settings["save_at"], settings["t0"], t1)
    try:
        solution = solve(problem, y0, **(settings | {"t1": t1, "save_at": asked}))
    except NotFiniteAtStart as error:
        outcome = Outcome(Status.NON_FINITE, settings["t0"], str(error))
        counts = {"accepted": 0, "rejected": 0, "rhs_calls": 1, "seconds": 0.0}
        counts |= {"methods": find_method(settings["method"], settings["rtol"]).name}
        weights = problem.unpack(np.empty((0, problem.n)))
        return {"t": asked, "n": 0, "weights": weights, "outcome": outcome, **counts}
    found = {"t": asked, "n": len(solution.t), "weights": problem.unpack(solution.y)}
    return found | {"outcome": solution.outcome, **solution.statistics}


@dataclass(frozen=True)
class MemberKeeper:
    """What is kept of a member once it is done."""

    flow: Flow
    data: Dataset
    observables: tuple[str, ...]
    keep_weights: bool

    def __call__(self, member: dict[str, Any]) -> dict[str, Any]:
        """Compute the observables, and let go of the rest."""
        weights = {name: sealed(member["weights"][name]) for name in self.flow.model.weights}
        found = {}
        if self.observables:  # of a member that reached no time too, for the shape of what others reach
            path = Trajectory(
                member["t"][: member["n"]], weights, member["outcome"], closure=self.flow.closure,
                model=self.flow.model, data=self.data,
            )  # fmt: skip
            found = {name: path[name] for name in self.observables}
        return member | {"weights": weights if self.keep_weights else {}, "observables": found}


class MemberCount:
    """Counts members, from any thread."""

    def __init__(self, call: Callable[[int, int], None] | None, total: int) -> None:
        self.call, self.total, self.done, self.lock = call, total, 0, threading.Lock()

    def __call__(self, members: int = 1) -> None:
        """Count some more."""
        with self.lock:
            for _ in range(members):
                self.done += 1
                if self.call is not None:
                    self.call(self.done, self.total)
